"""Formats of trajectory files: which reader reads which, and what a file was recognised as.

A format is two functions: one that looks at the beginning of a file and says what it is, or
None; and one that reads the whole file. Those of this package are named as text and imported
when needed; others are added by the decorator `reader`, or by installed packages through entry
points of the group ``tramway_dask.readers`` (a module, whose decorators then run).
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..component import positive
from ..errors import DataError, SpecificationError, suggest

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Head",
    "Recognition",
    "check_options",
    "find_reader",
    "formats",
    "look",
    "options_of",
    "reader",
    "recognize",
    "recognize_as",
]

# lengths that no pixel size changes, if the file states them
PHYSICAL = ("nm", "µm", "mm", "m")

WHAT_TO_DO = (
    "it holds localizations, which are not linked in trajectories; link them as they are read: "
    "a.spt_data.from_localizations(..., linker=linkers.NonTrackingTracker(search_range=…)), with the largest "
    "displacement from a frame to the next in µm; or link them in the program that made the file"
)

LEAVE_OUT = "if it holds no trajectories, leave it out: from_files(..., exclude=[its name])"
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

    @classmethod
    def of(cls, path: Path, data: bytes) -> Head:
        """Return the head that the first bytes of a file make: 64 kB and, if there is more, one more."""
        return cls(path, data[:_SAMPLE], len(data) <= _SAMPLE)

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
        Whether the file states the unit of lengths itself; else it is assumed.
    timed : bool
        Whether the file states the unit of times.
    columns : mapping
        Which column of the file is what, where it has names.
    linked : bool
        False for localizations that are not linked in trajectories.
    options : mapping
        Arguments of the reader that the look at the file has decided.
    needs : mapping
        Arguments that the user must give because the file does not tell, and for each the reason, with
        what to give: ``{'pixel_size': 'lengths are in pixels; ...'}``.
    notes : tuple of str
        What else a user should know.
    preview : str
        The first rows, as they stand in the file.
    """

    format: str
    title: str
    length: str = ""
    time: str = ""
    stated: bool = False
    timed: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    linked: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    preview: str = field(default="", repr=False)

    @property
    def scaled(self) -> bool:
        """Whether the file states its lengths in a unit that needs no pixel size."""
        return self.stated and self.length in PHYSICAL

    def units(self, pixel_size: float | None = None, dt: float | None = None) -> str:
        """Return the units in words, with their origin.

        Parameters
        ----------
        pixel_size : float, optional
            As given by the user, in µm.
        dt : float, optional
            As given by the user, in s.
        """
        origin = "stated in the file" if self.stated else "assumed"
        said, pixel_size = ("given", pixel_size) if pixel_size else ("stated", self.options.get("pixel_size"))
        if pixel_size is not None and not self.scaled:
            unit = "px" if self.length == "px" else "units"
            length = f"lengths in {unit} of {pixel_size:g} µm ({said})"
        else:
            length = f"lengths in {self.length} ({origin})" if self.length else "lengths in an unknown unit"
        if self.time not in ("", "frames"):
            return f"{length}, times in {self.time} ({'stated in the file' if self.timed else 'assumed'})"
        said, dt = ("given", dt) if dt else ("stated", self.options.get("dt"))
        every = "an unknown interval" if dt is None else f"{dt:g} s ({said})"
        return f"{length}, times in {'' if self.time else 'consecutive '}frames of {every}"

    def check(self, path: str, given: Collection[str]) -> None:
        """Complain of what the user must say and did not.

        Parameters
        ----------
        path : str
            The file, for the message.
        given : collection of str
            Names of the arguments that the user gave.

        Raises
        ------
        DataError
            If an argument of `needs` is missing.
        """
        lacking = [text for name, text in self.needs.items() if name not in given]
        if not self.linked and "linker" not in given:
            lacking.insert(0, WHAT_TO_DO)
        elif self.linked and "linker" in given:
            lacking.insert(
                0,
                "it holds trajectories, which need no linking: read it with from_files, "
                "or link it anew by reader='localizations'",
            )
        if lacking:
            told = f"{path}: recognised as {self.title}; " + "; ".join(lacking)
            if self.preview and self.preview not in told:
                read_as = ", ".join(f"{role} = {name!r}" for role, name in self.columns.items())
                told += f". Read as {read_as or 'numbers'}; first rows:\n{self.preview}"
            raise DataError(told)


@dataclass(frozen=True)
class _Format:
    name: str
    read: str | Callable[..., pd.DataFrame]
    recognize: str | Callable[..., Recognition | None] | None
    asked: bool = True


_formats: dict[str, _Format] = {}


def reader(
    name: str, *, recognize: str | Callable[..., Recognition | None] | None = None
) -> Callable[[Callable[..., pd.DataFrame]], Callable[..., pd.DataFrame]]:
    """Return a decorator that makes a function the reader of a format.

    Parameters
    ----------
    name : str
        Name of the format.
    recognize : callable, optional
        ``recognize(head)`` gets a `Head` and returns a `Recognition`, or None if the file is of
        another format; ``recognize(head, options)`` gets also what the user has said. Without it
        the format is only read when it is asked for by name.

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


def _built_in(name: str, read: str, recognize: str | None = None, *, asked: bool = True) -> None:
    within = "tramway_dask.spt_data."
    _formats[name] = _Format(name, within + read, recognize and within + recognize, asked)


# in the order in which they are asked: what has a signature first, text last
_built_in("localizations", "localizations:read_localizations", "unlinked:recognize_localizations")
_built_in("trackmate", "trackmate:read_trackmate", "trackmate:recognize_trackmate")
_built_in("mat", "mat:read_mat", "matkinds:recognize_mat")
_built_in("rwa", "rwa:read_rwa", "hdf5kinds:recognize_rwa")
_built_in("hdf5", "hdf5tables:read_hdf5", "hdf5kinds:recognize_hdf5")
_built_in("parquet", "parquet:read_parquet", "parquet:recognize_parquet")
_built_in("mtrackj", "mtrackj:read_mtrackj", "mtrackj:recognize_mtrackj")
_built_in("diatrack", "diatrack:read_diatrack", "diatrack:recognize_diatrack")
_built_in("icy", "icy:read_icy", "icy:recognize_workbook")
_built_in("text", "text:read_text", "textformats:recognize_text")
# for those who know that it is text, and what its columns are; never found by itself
_built_in("ascii", "ascii:read_ascii", "text:recognize_ascii", asked=False)


def _resolve(function: str | Callable[..., Any]) -> Callable[..., Any]:
    if callable(function):
        return function
    module, name = function.split(":")
    return getattr(importlib.import_module(module), name)


@functools.cache  # installed packages are looked for in every folder of Python's path
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
    return _resolve(_find(name).read)


def _find(name: str) -> _Format:
    if name not in _formats:
        _load_entry_points()
    if name not in _formats:
        raise SpecificationError(f"unknown format {name!r}; {suggest(name, _formats)}")
    return _formats[name]


def options_of(name: str) -> list[str]:
    """Return the names of the options of a format's reader."""
    return [n for n in inspect.signature(find_reader(name)).parameters if n != "path"]


def check_options(name: str | None, options: Mapping[str, Any]) -> None:
    """Complain of arguments that a reader does not have, before any file is read.

    Parameters
    ----------
    name : str or None
        Name of the format; None: any of them may be meant.
    options : mapping

    Raises
    ------
    SpecificationError
        If an argument is unknown, or `pixel_size` or `dt` is not a number above 0.
    """
    known: set[str] = set()
    for form in ("text", *formats()) if name is None else (name,):
        if name is None and known.issuperset(options):  # the others need not be imported
            break
        known.update(options_of(form))
    for option in options:
        if option not in known:
            raise SpecificationError(
                f"unknown argument {option!r} of the reader; {suggest(option, {*known, 'alias'})}"
            )
    for option in ("pixel_size", "dt"):
        if options.get(option) is not None:
            positive(option, options[option])


def look(path: str | Path) -> Head:
    """Return the beginning of a file.

    Raises
    ------
    DataError
        If there is no such readable file.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise DataError(f"{path}: expected a file of trajectories, this is {what}")
        with open(path, "rb") as file:
            return Head.of(path, file.read(_SAMPLE + 1))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read: {error.strerror or error}") from error


@functools.lru_cache(maxsize=256)
def _takes_options(function: Callable[..., Any]) -> bool:
    return len(inspect.signature(function).parameters) > 1


def _ask(known: _Format, head: Head, options: Mapping[str, Any] | None) -> Recognition | None:
    if known.recognize is None:
        return None
    function = _resolve(known.recognize)
    if not _takes_options(function):
        return function(head)
    return function(head, dict(options or {}))


def recognize(file: str | Path | Head, options: Mapping[str, Any] | None = None) -> Recognition:
    """Look at the content of a file and say what format it has.

    Parameters
    ----------
    file : path or Head
    options : mapping, optional
        Arguments that the user gave for the reader.

    Raises
    ------
    DataError
        If the file cannot be read, or no format claims it.
    """
    head = file if isinstance(file, Head) else look(file)
    if not head.data:
        raise DataError(f"{head.path}: the file is empty")
    _load_entry_points()
    for known in sorted(_formats.values(), key=lambda f: f.name == "text"):  # so, text after plug-ins
        found = _ask(known, head, options) if known.asked else None
        if found is not None:
            return found
    raise DataError(
        f"{head.path}: not a format that is known here ({', '.join(_formats)}); "
        f"export it as text with columns n, x, y, t, or read it yourself and use from_dataframe; {LEAVE_OUT}"
    )


def recognize_as(name: str, file: str | Path | Head, options: Mapping[str, Any] | None = None) -> Recognition:
    """Say what a file looks like to one format, that the user has named.

    Where the format has nothing to say, µm and s are assumed, as everywhere in this package.

    Raises
    ------
    DataError
        If the file cannot be read.
    SpecificationError
        If there is no such format.
    """
    known = _find(name)
    head = file if isinstance(file, Head) else look(file)
    found = _ask(known, head, options)
    return found if found is not None else Recognition(name, name, "µm", "s")
