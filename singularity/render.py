"""Write the recipe and the requirements of an image: render.py --python 3.11 --folder DIR --wheel FILE.

The versions are those of the Python that runs this script, so that the image fits the client.
"""

from __future__ import annotations

import argparse
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tramway_dask.environments.containers import IMAGE_DATE, container_name, python_tag
from tramway_dask.environments.installed import source_digest

TEMPLATE = Path(__file__).with_name("recipe.template")
EXTRAS = ("matlab", "plot", "rwa")
PINNED = (
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


def requirements() -> str:
    """Return the lines that pin what the image shares with this environment."""
    lines = []
    for name in PINNED:
        try:
            lines.append(f"{name}=={version(name)}\n")
        except PackageNotFoundError:
            raise SystemExit(
                f"{name} is not installed in the Python that builds, whose versions the image takes over: "
                "install this checkout there (pip install .), or name another Python by PYTHON=…"
            ) from None
    return "".join(lines)


def recipe(python: str, wheel: str, date: str = IMAGE_DATE, earlier: str | None = None) -> str:
    """Return the recipe of the image for `python` ("3.11"), which installs the file `wheel`.

    `earlier` is the path of an image to start from, instead of Python's own.
    """
    tag = python_tag(python)
    values = {
        "PYTHON": f"{tag[0]}.{tag[1:]}",
        "BOOTSTRAP": "localimage" if earlier else "docker",
        "FROM": earlier or f"python:{tag[0]}.{tag[1:]}-slim-bookworm",
        "VERSION": version("tramway_dask"),
        "DATE": date,
        "DIGEST": source_digest() or "",
        "WHEEL": wheel,
        "EXTRAS": ",".join(EXTRAS),
    }
    return re.sub(r"@([A-Z]+)@", lambda match: values[match[1]], TEMPLATE.read_text(encoding="utf-8"))


def main() -> None:
    """Write `requirements.txt` and the recipe into a folder, and print the recipe's path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--wheel", required=True, help="name of the wheel, in the folder")
    parser.add_argument("--date", default=IMAGE_DATE, help="YYMMDD, in the name of the image")
    parser.add_argument("--from", dest="earlier", help="an earlier image to start from")
    given = parser.parse_args()
    (given.folder / "requirements.txt").write_text(requirements(), encoding="utf-8")
    path = given.folder / container_name(given.python, given.date).replace(".sif", ".def")
    path.write_text(recipe(given.python, given.wheel, given.date, given.earlier), encoding="utf-8")
    print(path)  # noqa: T201


if __name__ == "__main__":
    main()
