"""Formats of trajectory files: which reader reads which, and what a file was recognised as.

A format is two functions: one that looks at the beginning of a file and says what it is, or
None; and one that reads the whole file. Those of this package are named as text and imported
when needed; others are added by the decorator `reader`, or by installed packages through entry
points of the group ``tramway_dask.readers`` (a module, whose decorators then run).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, SpecificationError, suggest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Head", "Recognition", "find_reader", "formats", "look", "reader", "recognize"]

_SAMPLE = 1 << 16

ENTRY_POINTS = "tramway_dask.readers"


@dataclass(frozen=True)
class Head:
    """The beginning of a file.

    Attributes
    ----------
    path : Path
    data : bytes
        The first 64 kB.
    complete : bool
        Whether that is all.
    """

    path: Path
    data: bytes
    complete: bool

    @property
    def suffix(self) -> str:
        """Last extension of the file's name, in lower case, with its dot."""
        return self.path.suffix.lower()


@dataclass(frozen=True)
class Recognition:
    """What a file was recognised as.

    Attributes
    ----------
    format : str
        Name of the reader.
    title : str
        What a person calls it: ``'TrackMate csv'``.
    length, time : str
        Units of the file: ``'µm'``, ``'nm'``, ``'px'``; ``'s'``, ``'ms'``, ``'frames'``; empty if the
        file has no such column.
    stated : bool
        Whether the file says its units itself; else they are assumed.
    columns : mapping
        Which column of the file is what, where it has names.
    linked : bool
        False for localizations that are not linked in trajectories.
    options : mapping
        Arguments of the reader that the look at the file has decided.
    notes : tuple of str
        What else a user should know.
    """

    format: str
    title: str
    length: str = ""
    time: str = ""
    stated: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    linked: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def units(self) -> str:
        """Return the units in words, with their origin."""
        words = [word for word in (self.length, self.time) if word]
        return f"{', '.join(words)} ({'stated in the file' if self.stated else 'assumed'})"


@dataclass(frozen=True)
class _Format:
    name: str
    read: str | Callable[..., pd.DataFrame]
    recognize: str | Callable[[Head], Recognition | None] | None


_formats: dict[str, _Format] = {}


def reader(
    name: str, *, recognize: str | Callable[[Head], Recognition | None] | None = None
) -> Callable[[Callable[..., pd.DataFrame]], Callable[..., pd.DataFrame]]:
    """Return a decorator that makes a function the reader of a format.

    Parameters
    ----------
    name : str
        Name of the format.
    recognize : callable, optional
        ``recognize(head)`` gets a `Head` and returns a `Recognition`, or None if the file is of
        another format. Without it the format is only read when it is asked for by name.

    Notes
    -----
    The function is called ``read(path, **options)`` and returns trajectories: columns
    ``n, x, y[, z], t``, in µm and s, sorted by (``n``, ``t``). Its keyword arguments are the
    options that a user can give; those called ``pixel_size`` (µm), ``dt`` (s) come from the
    source's own parameters as well.
    """

    def enter(function: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
        _formats[name] = _Format(name, function, recognize)
        return function

    return enter


def _built_in(name: str, read: str, recognize: str | None = None) -> None:
    _formats[name] = _Format(
        name, f"tramway_dask.spt_data.{read}", recognize and f"tramway_dask.spt_data.{recognize}"
    )


# in the order in which they are asked: what has a signature first, text last
_built_in("rwa", "rwa:read_rwa")
_built_in("mat", "mat:read_mat")
_built_in("ascii", "ascii:read_ascii")


def _resolve(function: str | Callable[..., Any]) -> Callable[..., Any]:
    if callable(function):
        return function
    module, name = function.split(":")
    return getattr(importlib.import_module(module), name)


def _load_entry_points() -> None:
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        point.load()


def formats() -> list[str]:
    """Return the names of the known formats."""
    _load_entry_points()
    return list(_formats)


def find_reader(name: str) -> Callable[..., pd.DataFrame]:
    """Return the function that reads a format.

    Raises
    ------
    SpecificationError
        If the name is unknown.
    """
    if name not in _formats:
        _load_entry_points()
    if name not in _formats:
        raise SpecificationError(f"unknown format {name!r}; {suggest(name, _formats)}")
    return _resolve(_formats[name].read)


def options_of(name: str) -> list[str]:
    """Return the names of the options of a format's reader."""
    return [n for n in inspect.signature(find_reader(name)).parameters if n != "path"]


def look(path: str | Path) -> Head:
    """Return the beginning of a file.

    Raises
    ------
    DataError
        If there is no such readable file.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            data = file.read(_SAMPLE)
            return Head(path, data, not file.read(1))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def recognize(path: str | Path) -> Recognition:
    """Look at the content of a file and say what format it has.

    Raises
    ------
    DataError
        If the file cannot be read, or no format claims it.
    """
    head = look(path)
    _load_entry_points()
    for known in _formats.values():
        found = _resolve(known.recognize)(head) if known.recognize else None
        if found is not None:
            return found
    raise DataError(
        f"{path}: not a format that is known here ({', '.join(_formats)}); "
        "export it as text with columns n, x, y, t, or read it yourself and use from_dataframe"
    )
