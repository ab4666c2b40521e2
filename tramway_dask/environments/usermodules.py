"""Modules of the user's that functions import when they run: found, and brought to where they run.

A function that travels takes along what its module has imported. What it imports itself, in its body, must be
importable where it runs: the files of such modules go there, with those that they import in their turn.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import importlib
import importlib.util
import io
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ..errors import SpecificationError

__all__ = ["install", "modules_digest", "user_files"]

# bytes, of all files of a module, and of one that is no code: larger ones are data, which do not travel
LARGEST = 100_000_000
LARGEST_ASIDE = 1_000_000
OWN = __name__.partition(".")[0]


def user_files(*objects: Any) -> dict[str, bytes]:
    """Return the files of the user's modules that objects need when they are unpickled and used.

    Parameters
    ----------
    *objects
        Analyzers, stages, functions. Their code is looked at, not run: a module whose name is made up
        while the function runs is not found.

    Returns
    -------
    dict of str to bytes
        Contents by relative path, as below a folder of `sys.path`.

    Raises
    ------
    SpecificationError
        If a module of the user's cannot travel.
    """
    files: dict[str, bytes] = {}
    seen: set[str] = set()
    left = sorted(_needed(objects))
    while left:
        name = left.pop().partition(".")[0]
        if name in seen:
            continue
        seen.add(name)
        for path, content in _files_of(name):
            files[path] = content
            if path.endswith(".py"):
                left += sorted(_imported_by_source(content))
    return files


def _needed(objects: Iterable[Any]) -> set[str]:
    """Return the names of the modules that objects name or import."""
    import cloudpickle

    names: set[str] = set()

    class Looking(cloudpickle.Pickler):
        """Sees whatever would travel."""

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, ModuleType):
                names.add(obj.__name__)
            elif isinstance(obj, FunctionType | type):
                name = getattr(obj, "__module__", None) or ""
                if name.partition(".")[0] != OWN:
                    names.add(name)
                if isinstance(obj, FunctionType) and (name == "__main__" or _place(name)):
                    names.update(_imported_by_code(obj.__code__))
            return super().reducer_override(obj)

    Looking(io.BytesIO()).dump(objects)
    return names


def _imported_by_code(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME" and step.argval:
            yield step.argval
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _imported_by_code(inner)


def _imported_by_source(content: bytes) -> set[str]:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


@cache
def _installed() -> tuple[str, ...]:
    """Return the folders of what is installed, or comes with Python."""
    folders = [sysconfig.get_paths()[n] for n in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [*site.getsitepackages(), site.getusersitepackages()]
    return tuple(os.path.realpath(folder) + os.sep for folder in folders)


def _place(name: str) -> tuple[bool, list[str]] | None:
    """Return whether a top-level module is a package, and its file or folders; None if it is not the user's."""
    name = name.partition(".")[0]
    if name in ("", OWN, "__main__", "__mp_main__") or name in sys.builtin_module_names:
        return None
    if name in sys.stdlib_module_names:
        return None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    package = spec.submodule_search_locations is not None
    places = list(spec.submodule_search_locations or [spec.origin or ""])
    if not package and spec.origin in ("built-in", "frozen"):
        return None
    own = [p for p in places if not os.path.realpath(p).startswith(_installed())]
    return (package, own) if own else None


def _files_of(name: str) -> Iterator[tuple[str, bytes]]:
    found = _place(name)
    if found is None:
        return
    package, places = found
    size = 0
    for place in map(Path, places):
        paths = sorted(p for p in place.rglob("*") if p.is_file()) if package else [place]
        base = place.parent
        for path in paths:
            relative = path.relative_to(base)
            if "__pycache__" in relative.parts or any(part.startswith(".") for part in relative.parts):
                continue
            if not path.is_file():
                raise SpecificationError(
                    f"module {name!r} cannot travel to the cluster: it is no file or folder ({path}); unpack it, or "
                    "install it in the container"
                )
            if path.suffix in (".so", ".pyd", ".dylib"):
                raise SpecificationError(
                    f"module {name!r} cannot travel to the cluster: {path} is compiled for this computer; install it "
                    "in the container (see singularity/README.md)"
                )
            if path.suffix != ".py" and path.stat().st_size > LARGEST_ASIDE:
                continue
            size += path.stat().st_size
            if size > LARGEST:
                raise SpecificationError(
                    f"module {name!r} cannot travel to the cluster: the files in {place} are larger than "
                    f"{LARGEST / 1e6:.0f} MB; keep data apart from it, or install it in the container"
                )
            yield relative.as_posix(), path.read_bytes()


def modules_digest(files: dict[str, bytes]) -> str:
    """Return a name for a set of files."""
    digest = hashlib.blake2b(digest_size=8)
    for path, content in sorted(files.items()):
        digest.update(f"{len(path)} {path} {len(content)} ".encode() + content)
    return digest.hexdigest()


def install(files: dict[str, bytes], folder: Path) -> None:
    """Make modules importable in this process; earlier versions of them are forgotten.

    Parameters
    ----------
    files : dict of str to bytes
        As from `user_files`.
    folder : Path
        Where they are written; private.
    """
    for path, content in files.items():
        at = folder / path
        at.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        at.write_bytes(content)
    tops = {path.partition("/")[0].removesuffix(".py") for path in files}
    for name in [n for n in sys.modules if n.partition(".")[0] in tops]:
        del sys.modules[name]
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
