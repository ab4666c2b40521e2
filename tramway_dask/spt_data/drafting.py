"""First manifests of folders: what is recognised there, and what has to be said."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import DataError, TramwayDaskError
from .files import expand
from .formats import recognize
from .manifest import COLUMNS

__all__ = ["draft"]

_MARK = b"# One row per file."


def draft(
    folder: str | os.PathLike[str],
    *,
    recursive: bool = True,
    relative_to: str | os.PathLike[str] | None = None,
) -> str:
    """Return a first manifest of a folder, to be filled in.

    Each file that is recognised is a row; above it, a comment says what it was recognised as and what
    has to be given. Files that are not trajectories are comments only.

    Parameters
    ----------
    folder : str or path
    recursive : bool
        Look into the folders below as well. Their names are the conditions of what is in them.
    relative_to : str or path, optional
        Where the manifest shall be; default: in the folder.

    Raises
    ------
    DataError
        If there is no such folder, or no file in it is recognised.
    """
    folder = Path(expand(folder))
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder")
    files = sorted(p for p in (folder.rglob("*") if recursive else folder.glob("*")) if p.is_file())
    files = [p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    lines = [
        "# One row per file. Fill in what you know; an empty cell says nothing. Lines with # are comments.",
        "# dt: frame interval in s. pixel_size, localization_precision: in µm. roi: a file of regions.",
        ",".join(COLUMNS),
    ]
    start = folder if relative_to is None else Path(relative_to)
    named = {p: Path(os.path.relpath(p, start)).as_posix() for p in files}
    found = 0
    for path, told, row in _described(files, folder, named):
        lines.append(" ".join(f"# {named[path]}: {told}".split()))
        if row is not None:
            lines.append(row)
            found += 1
    if not found:
        raise DataError(f"{folder}: no file with trajectories is recognised in it ({len(files)} files)")
    return "\n".join(lines) + "\n"


def _described(
    files: Iterable[Path], folder: Path, named: Mapping[Path, str]
) -> Iterable[tuple[Path, str, str | None]]:
    """Yield each file with what it is, and its row, if it can be read."""
    for path in files:
        if _is_manifest(path):
            continue
        try:
            known = recognize(path)
        except TramwayDaskError as error:
            yield path, f"not recognised ({str(error).splitlines()[0].removeprefix(f'{path}: ')})", None
            continue
        told = [known.title, known.units(), *known.notes, *known.needs.values()]
        text = "; ".join(word for word in told if word)
        if not known.linked:
            text += "; localizations only: they must be linked in trajectories"
        if not known.needs.keys() <= {"dt", "pixel_size"}:
            yield path, f"left out; {text}", None
            continue
        if len(named[path].splitlines()) > 1:
            yield path, "left out: there is a line break in its name", None
            continue
        below = path.relative_to(folder).parent
        shown = named[path] if not named[path].startswith("#") else f"./{named[path]}"
        values = {"file": shown, "condition": "" if below == Path() else below.parts[0]}
        yield path, text, ",".join(_quoted(values.get(c, "")) for c in COLUMNS)


def _is_manifest(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(_MARK)) == _MARK
    except OSError:
        return False


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"') else text
