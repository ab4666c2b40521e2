"""Files that lie beside those of trajectories, and are none: told by their names alone."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePath

from .files import expand

__all__ = ["companion_of", "left_out", "named", "patterns_of"]

_KINDS = {
    "an image": (
        ".avi .bmp .czi .dax .dv .fits .gif .ims .jpeg .jpg .lif .lsm .mov .mp4 .nd2 .oib .oif .png .sif .spe .stk "
        ".svg .tif .tiff"
    ),
    "regions of ImageJ, which a.roi does not read": ".roi",
    "an archive": ".7z .bz2 .gz .rar .tar .tgz .zip",
    "a document": ".doc .docx .htm .html .md .odt .pdf .ppt .pptx .rst .rtf",
    "a program": ".ijm .ipynb .m .py .r .sh",
    "settings": ".cfg .inf .ini .json .toml .yaml .yml",
    "a log": ".log",
}
_KIND_OF = {suffix: kind for kind, suffixes in _KINDS.items() for suffix in suffixes.split()}
_NOTES = ("readme", "license", "licence", "copying", "citation", "changelog")
# what describes a file of the same name: extension of the former, extensions of the latter
_BESIDE = {".yaml": (".hdf5", ".h5"), ".xml": (".dax", ".inf")}


def companion_of(path: str, others: Collection[str]) -> str:
    """Return what a file is that holds no trajectories, by its name; empty if its content must tell.

    Parameters
    ----------
    path : str
    others : collection of str
        The files that were found with it.
    """
    name = PurePath(path)
    suffix = name.suffix.lower()
    for ending in _BESIDE.get(suffix, ()):
        beside = os.path.splitext(path)[0] + ending
        if beside in others:
            return f"belongs to {PurePath(beside).name}"
    if suffix in _KIND_OF:
        return _KIND_OF[suffix]
    stem = name.stem.lower()
    if stem.startswith(_NOTES) and suffix in ("", ".txt"):
        return "notes"
    if stem == "manifest" and suffix in (".csv", ".tsv", ".txt"):
        return "a manifest, which from_manifest reads"
    return ""


def patterns_of(exclude: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None) -> list[str]:
    """Return one or several patterns as a list."""
    if exclude is None:
        return []
    return [os.fspath(p) for p in ([exclude] if isinstance(exclude, str | os.PathLike) else exclude)]


def named(patterns: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> set[str]:
    """Return the patterns that are the names of files here, expanded."""
    return {path for path in map(expand, patterns_of(patterns)) if os.path.isfile(path)}


def left_out(
    paths: Sequence[str], exclude: Sequence[str] = (), named: Collection[str] = (), companions: bool = True
) -> dict[str, str]:
    """Return the files that are no sources, each with the reason.

    Parameters
    ----------
    paths : sequence of str
    exclude : sequence of str
        Patterns of file names, or of paths.
    named : collection of str
        Files that were asked for by their own names: no companions.
    companions : bool
        Whether files are left out for what their names say.
    """
    found = {}
    known = set(paths)
    for path in paths:
        name = PurePath(path).name
        if any(fnmatch.fnmatchcase(name, p) or fnmatch.fnmatchcase(path, p) for p in exclude):
            found[path] = "excluded"
        elif companions and path not in named and (why := companion_of(path, known)):
            found[path] = why
    return found
