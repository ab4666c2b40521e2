"""Which versions are installed here, as JSON: also run by a container's Python, which gets this text.

Only the standard library is imported, and nothing of this package.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import sys
from pathlib import Path

__all__ = ["installed_versions", "source_digest"]

PACKAGES = (
    "tramway_dask",
    "dask",
    "distributed",
    "cloudpickle",
    "msgpack",
    "tornado",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "shapely",
)
SOURCES = (".py", ".sh", ".yaml")


def source_digest(folder: Path | None = None) -> str | None:
    """Return a digest of the source files of this package.

    Parameters
    ----------
    folder : Path, optional
        Folder of the package; default: where Python finds ``tramway_dask``.

    Returns
    -------
    str or None
        64 hexadecimal digits, independent of where the package lies and of line ends; None where the
        package is not installed.
    """
    if folder is None:
        spec = importlib.util.find_spec("tramway_dask")
        if spec is None or not spec.submodule_search_locations:
            return None
        folder = Path(next(iter(spec.submodule_search_locations)))
    files = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.suffix in SOURCES and path.is_file()
    }
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name].read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def installed_versions() -> dict[str, str | None]:
    """Return the version of Python and of each package, None for what is not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    versions["source"] = source_digest()
    return versions


if __name__ == "__main__":
    sys.stdout.write(json.dumps(installed_versions()) + "\n")
