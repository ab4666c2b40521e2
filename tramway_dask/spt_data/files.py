"""Names of files: expanded, matched here, or left to be looked for on a cluster."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from ..errors import DataError

__all__ = ["Absent", "FileDigest", "Place", "by_name", "expand", "find_absent", "match"]


class Place(Protocol):
    """Files of another computer, which the workers read."""

    @property
    def name(self) -> str:
        """What people call it."""

    def find(self, patterns: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Return the files there that match each pattern; local names are translated."""

    def translated(self, pattern: str) -> str:
        """Return what is looked for there in the place of a local name."""

    def refresh(self, paths: Sequence[str]) -> None:
        """See which files have changed; forget what was read beside them."""

    def digest(self, path: str) -> str:
        """Return the BLAKE2b checksum of a file."""

    def load(self, paths: Sequence[str]) -> None:
        """Read small files, those of them that exist, all at once."""

    def knows(self, path: str) -> bool:
        """Tell whether `load` was asked for a file."""

    def is_file(self, path: str) -> bool:
        """Tell whether there is a small file of this name."""

    def open(self, path: str) -> IO[bytes]:
        """Return the content of a small file."""

    def load_heads(self, paths: Sequence[str]) -> None:
        """Read the first 64 kB of files, all at once."""

    def head(self, path: str) -> bytes:
        """Return the first 64 kB of a file and, if there is more, one byte more."""

    def fetched(self, path: str) -> AbstractContextManager[str]:
        """Return the path of a copy here, which is deleted at the end of the block."""


@dataclass
class FileDigest:
    """The checksum of a file of this computer; it is read again when its size or date has changed."""

    path: str
    stamp: tuple[int, int] | None = None
    digest: str = ""

    def get(self) -> str:
        """Return the BLAKE2b checksum, as 128 hexadecimal digits."""
        try:
            info = os.stat(self.path)
            stamp = (info.st_size, info.st_mtime_ns)
            if stamp != self.stamp:
                with open(self.path, "rb") as file:
                    self.digest = hashlib.file_digest(file, "blake2b").hexdigest()
                self.stamp = stamp
        except OSError as error:
            raise DataError(f"cannot read {self.path}: {error.strerror or error}") from error
        return self.digest


@dataclass(frozen=True)
class Absent:
    """Patterns that match nothing here (absolute: as given), with what the sources shall be made of."""

    patterns: Mapping[str, str]
    reader: str | None
    options: dict[str, Any]
    alias: Any
    each: Mapping[str, Any]
    rows: Sequence[Any] = ()
    exclude: Sequence[str] = ()

    def complain(self) -> DataError:
        """Return the error if there is no other place to look at."""
        given = next(iter(self.patterns.values()))
        return DataError(f"no file matches {given!r}{_note(given)}; if it is on a cluster, set a.env to it")


def expand(path: str | os.PathLike[str]) -> str:
    """Expand ``~`` and environment variables."""
    return os.path.expandvars(os.path.expanduser(os.fspath(path)))


def _note(path: str) -> str:
    expanded = expand(path)
    return f" (expanded to {expanded})" if expanded != path else ""


def by_name(path: str) -> tuple[str, str]:
    """Return the key by which files are sorted."""
    return Path(path).name, path


def match(
    patterns: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    elsewhere: bool | None,
    what: str = "no file matches",
) -> tuple[list[str], dict[str, str]]:
    """Return the files here that match names or patterns, and the patterns that no file here matches.

    Those are absolute, each with what was given.

    Parameters
    ----------
    patterns : str, path, or sequence of them
    elsewhere : bool or None
        Whether files may also be somewhere else; None if that is not known yet. They may then if even the
        folder is unknown here.
    what : str
        How the error begins.

    Raises
    ------
    DataError
        If a pattern matches no file and can match none elsewhere.
    """
    found: dict[str, None] = {}
    absent = {}
    for item in [patterns] if isinstance(patterns, str | os.PathLike) else list(patterns):
        name, expanded = os.fspath(item), expand(item)
        paths = [expanded] if os.path.isfile(expanded) else glob.glob(expanded, recursive=True)
        paths = [p for p in paths if os.path.isfile(p)]
        found.update(dict.fromkeys(paths))
        if paths:
            continue
        if elsewhere is False or (elsewhere is None and os.path.isdir(_folder(expanded))):
            hint = "" if elsewhere is False else "; if it is on a cluster, set a.env first"
            if os.path.isdir(expanded):
                hint = _of_folder(expanded)
            raise DataError(f"{what} {name!r}{_note(name)}{hint}")
        # the current folder may be another one when it is looked for
        absent[name if expanded.startswith("$") else os.path.abspath(expanded)] = name
    return sorted(found, key=by_name), absent


def _of_folder(path: str) -> str:
    """Return what to do with a folder that was given in the place of a file."""
    if any(os.path.isfile(os.path.join(path, name)) for name in ("zarr.json", ".zgroup")):
        return (
            ": a zarr folder, as of geff; such graphs are not read here: make a table with the columns n, x, y, t of "
            "it (by the package geff) and use from_dataframe"
        )
    return f": it is a folder; for the files in it, say {os.path.join(path, '*')!r}"


def _folder(pattern: str) -> str:
    """Return the folder before the first part with wildcards."""
    folder = os.path.dirname(pattern)
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)
    return folder or "."


def find_absent(absent: Absent, place: Place) -> Mapping[str, Sequence[str]]:
    """Return the files at another place, by pattern.

    Raises
    ------
    DataError
        If a pattern matches nothing there.
    """
    found = place.find(list(absent.patterns))
    for pattern, given in absent.patterns.items():
        if not found[pattern]:
            asked = place.translated(pattern)
            raise DataError(
                f"no file matches {given!r}, neither here nor on {place.name}"
                + (f" (where {asked!r} was looked for)" if asked != given else "")
                + "; see a.env.directory_mapping for folders that have other names there"
            )
    return {pattern: found[pattern] for pattern in absent.patterns}
