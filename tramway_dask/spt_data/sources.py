"""One source of trajectories: a file or a table, with its parameters.

A source reads its table at first use and keeps it. It knows its regions and its
analysis tree; it does not know how work is organised or where results go.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..cards import card, guarded, rows
from ..component import fingerprint, non_negative, positive
from ..errors import DataError, SpecificationError, UnknownAttributeError, suggest
from . import filters
from .analyses import Analyses, Artefact, Label
from .blocks import block_size
from .files import FileDigest, Place
from .formats import Head, Recognition, find_reader, options_of, recognize, recognize_as
from .tables import check_steps, check_trajectories, is_translocations, space_columns, translocations

if TYPE_CHECKING:
    from ..roi.regions import Regions

__all__ = ["Source"]

ZERO_CELSIUS = 273.15  # K


class Source:
    """A file of trajectories, or a table given in memory.

    Parameters
    ----------
    path : str, optional
        The file. Expanded, not resolved.
    table : DataFrame, optional
        Trajectories or translocations, if there is no file.
    reader : str, optional
        Name of the format; default: as the content of the file says.
    options : dict, optional
        Arguments of the reader. Where the format is recognised, each goes to the readers that have it, and a
        pixel size to files that do not state their unit of length.
    alias : str, optional
        Short name.

    Attributes
    ----------
    name : str
        Key of the source in results; unique within its collection.
    condition : str or None
        Experimental condition; a column of the tables of maps.
    replicate : str or None
        Which repetition of the experiment; a column as well.
    stated : frozenset of str
        Parameters that were said of this very source: those of the collection leave them as they are.
    elsewhere : bool
        Whether the file is on the cluster of the analyzer's environment, and not here.
    """

    def __init__(
        self,
        path: str | None = None,
        table: pd.DataFrame | None = None,
        *,
        reader: str | None = "ascii",
        options: dict[str, Any] | None = None,
        alias: str | None = None,
    ) -> None:
        if (path is None) == (table is None):
            raise SpecificationError("a source is either a file or a table: give one of path and table")
        self.path = path
        self.reader = reader
        self.options = dict(options or {})
        self.alias = alias
        self.name = alias or (Path(path).stem if path else "table")
        self._table = table
        self._checked = False
        self._content: str | None = None
        self._recognition: Recognition | None = None
        self._translocations: pd.DataFrame | None = None
        self._frame_interval: float | None = None
        self._localization_precision: float | None = None
        self._stated_precision: float | None = None
        self._temperature: float | None = None
        self._blocksize: int | None = None
        self.condition: str | None = None
        self.replicate: str | None = None
        self.stated: frozenset[str] = frozenset()
        self.elsewhere = False
        self._digest = FileDigest(path or "")
        self._reset_origin: list[str] | None = None
        self._analyses: Analyses | None = None
        self._regions: Regions | None = None
        self._owner: Any = None

    @property
    def groups(self) -> dict[str, str]:
        """Condition and replicate, those that are known."""
        both = {"condition": self.condition, "replicate": self.replicate}
        return {name: value for name, value in both.items() if value is not None}

    def record(self) -> dict[str, Any]:
        """Return what the record of a run keeps of the source: enough to read it again."""
        about: dict[str, Any] = {"path": self.path, **self.groups}
        if self.path is not None:
            about |= {"reader": self.reader, "options": self._given()}
            about["host"] = None if self.place is None else self.place.name
        kept = {name: value for name, value in about.items() if value is not None and value != {}}
        return {"path": self.path, "condition": self.condition, **kept}

    def matches(self, wanted: str | Callable[[str], bool] | None) -> bool:
        """Tell whether this is the source of a path, alias or name (or for which a function is true)."""
        if wanted is None or callable(wanted):
            return wanted is None or bool(wanted(self.source))
        if self.path is not None and os.path.abspath(wanted) == os.path.abspath(self.path):
            return True
        return wanted in (self.source, self.alias, self.name)

    @property
    def source(self) -> str:
        """Path of the file, or the name of an in-memory table."""
        return self.path if self.path is not None else self.name

    @property
    def place(self) -> Place | None:
        """Where the file is; None if it is on this computer."""
        if not self.elsewhere:
            return None
        place = None if self._owner is None else self._owner.elsewhere()
        if place is None:
            raise DataError(f"{self.path} is on a cluster: set a.env to it")
        return place

    @property
    def where(self) -> str:
        """Path of the file, with the host if it is elsewhere; empty for a table."""
        if self.place is None:
            return self.path or ""
        return f"{self.place.name}:{self.path}"

    @property
    def filepath(self) -> str | None:
        """Path of the file; None for a table."""
        return self.path

    @property
    def logger(self) -> logging.Logger:
        """Logger of the analyzer, or the package's."""
        return logging.getLogger("tramway_dask") if self._owner is None else self._owner.logger

    @property
    def mpl(self) -> Any:
        """Plots of its trajectories, by TRamWAy's names."""
        if self._owner is None:
            raise UnknownAttributeError("this source belongs to no analyzer: use tramway_dask.plot")
        return self._owner.plots_of(self)

    @property
    def dataframe(self) -> pd.DataFrame:
        """Trajectories (or translocations, if that is what was given), read at first use.

        Columns ``n, x, y[, z], t``; µm and s.
        """
        if not self._checked:
            self._table = self._read()
            self._checked = True
        assert self._table is not None
        return self._table

    @dataframe.setter
    def dataframe(self, table: pd.DataFrame) -> None:
        self._table = table
        self._checked = False
        self._content = None
        self._translocations = None
        self.path = None

    def _read(self) -> pd.DataFrame:
        if self.path is None:
            table = self._table
            if self._content is None:
                self._content = fingerprint(table)
            if table is None:
                raise DataError(f"{self.name}: the table of this source stayed in the user's process")
            if not isinstance(table, pd.DataFrame):
                raise DataError(f"{self.name}: expected a pandas DataFrame, got {type(table).__name__}")
            if not is_translocations(table):
                table = check_trajectories(table, self.name)
        else:
            self.check_readable()
            place, read = self.place, find_reader(self.format)
            with contextlib.nullcontext(self.path) if place is None else place.fetched(self.path) as path:
                table = read(path, **self.reading_options())
            self.learn(table)
            if self.reader is None:
                check_steps(table, self.path, self.units)
        if self._reset_origin is not None:
            table = filters.reset_origin(table, self._reset_origin or None)
        return table

    @property
    def recognition(self) -> Recognition:
        """What the file was recognised as, by its first 64 kB.

        Raises
        ------
        DataError
            If the file cannot be read, or its format is unknown.
        """
        if self.path is None:
            return Recognition("table", "table in memory", "µm", "s")
        if self._recognition is None:
            file: str | Head = self.path
            if self.place is not None:
                file = Head.of(Path(self.path), self.place.head(self.path))
            given = self._given()
            if self.reader is None:
                self._recognition = recognize(file, given)
            else:
                self._recognition = recognize_as(self.reader, file, given)
        return self._recognition

    @property
    def format(self) -> str:
        """Name of the format: as given, else as recognised."""
        return self.recognition.format if self.reader is None else self.reader

    @property
    def units(self) -> str:
        """Units of the file in words: stated in it, given or assumed; and how localizations are linked."""
        given = self._given()
        return self.recognition.units(given.get("pixel_size"), given.get("dt")) + self._linked()

    def _linked(self) -> str:
        """Return how localizations are linked, and where the localization precision is from, in words."""
        linker = self.options.get("linker")
        words = "" if linker is None else f", linked by {linker!r}"
        sigma = self.recognition.columns.get("sigma")
        if self._localization_precision is not None or sigma is None or self.reader == "ascii":
            return words
        return f"{words}, localization precision: the median of {sigma!r}"

    def learn(self, table: Any) -> None:
        """Take the localization precision that a file states, if none is given."""
        if self.path is not None and isinstance(table, pd.DataFrame):
            self._stated_precision = table.attrs.get("localization_precision")

    def described(self) -> str:
        """Return the format and units of the file in words; empty if they are not known."""
        if self.reader is not None and self.elsewhere:
            # its beginning is not at hand
            given = self._given()
            guess = Recognition(self.reader, self.reader, "µm", "frames" if "dt" in given else "s")
            words = guess.units(given.get("pixel_size"), given.get("dt"))
            return f"read as {self.reader!r}, {words}, where the file states no other"
        try:
            return f"{self.recognition.title}, {self.units}"
        except (DataError, SpecificationError):  # said when the file is read
            return ""

    def check_readable(self) -> None:
        """Complain of what the user must say and did not, before the file is read.

        Raises
        ------
        DataError
            If the format is to be recognised and is unknown, or leaves something open.
        """
        if self.path is not None and self.reader is None:
            self.recognition.check(self.path, self._given())

    def _given(self) -> dict[str, Any]:
        """Return the arguments that the user gave, the frame interval included."""
        given = {name: value for name, value in self.options.items() if value is not None}
        if self._frame_interval is not None:
            given.setdefault("dt", self._frame_interval)
        return given

    def reading_options(self) -> dict[str, Any]:
        """Return the arguments that the reader gets."""
        known = options_of(self.format)
        if self.reader is not None:
            options = dict(self.options)
            if self._frame_interval is not None and "dt" in known:
                options.setdefault("dt", self._frame_interval)
            return options
        options = {**self.recognition.options, **self._given()}
        if self.recognition.scaled:
            options.pop("pixel_size", None)
        return {name: value for name, value in options.items() if name in known}

    def hold(self, table: pd.DataFrame) -> None:
        """Keep a table that was read elsewhere."""
        self.learn(table)
        self._table = table
        self._checked = True
        self._translocations = None

    def start_unit(self) -> None:
        """Begin as part of a unit of work: no analysis tree, own regions."""
        from ..roi.regions import Regions

        former, self._regions = self._regions, Regions(self)
        if former is not None:
            self._regions.take(former)
        self._analyses = None

    def without_table(self) -> Source:
        """Return a copy that holds no data, to travel."""
        light = copy.copy(self)
        light.attach(None)
        if light.path is not None:  # where it goes, the current folder may be another
            light.path = os.path.abspath(light.path)
        light.elsewhere = False  # there, it is not
        light._table, light._checked, light._translocations = None, False, None
        light._analyses = light._regions = None
        return light

    @property
    def translocations(self) -> pd.DataFrame:
        """Translocations of the whole field: columns ``n, x, y[, z], t, dx, dy[, dz], dt``."""
        if self._translocations is None:
            table = self.dataframe
            self._translocations = table if is_translocations(table) else translocations(table)
        return self._translocations

    @property
    def columns(self) -> list[str]:
        """Column names; may be set before a headerless file is read."""
        given = self.options.get("columns")
        if not self._checked and isinstance(given, list | tuple):
            return list(given)
        return list(self.dataframe.columns)

    @columns.setter
    def columns(self, names: Sequence[str]) -> None:
        self.options["columns"] = list(names)
        self._forget()

    def _forget(self) -> None:
        self._stated_precision = None
        self._recognition = None
        if self.path is not None:
            self._table = None
            self._checked = False
        self._translocations = None

    @property
    def bounds(self) -> pd.DataFrame:
        """Rows ``min`` and ``max`` of every column of coordinates and time."""
        table = self.dataframe
        return table[[*space_columns(table), "t"]].agg(["min", "max"])

    @property
    def frame_interval(self) -> float:
        """Time between frames (s): as set, else the median time step within trajectories."""
        if self._frame_interval is None:
            return float(np.median(self.translocations["dt"]))
        return self._frame_interval

    @frame_interval.setter
    def frame_interval(self, seconds: float) -> None:
        self._frame_interval = positive("frame_interval", seconds)
        if "dt" not in self.options:
            self._forget()

    dt = time_step = frame_interval

    @property
    def localization_precision(self) -> float | None:
        """Standard deviation σ of the positioning error (µm); None if unknown.

        If none is given, that of the file, once it is read, if it states uncertainties: their median.
        """
        given = self._localization_precision
        return self._stated_precision if given is None else given

    @localization_precision.setter
    def localization_precision(self, sigma: float | None) -> None:
        if sigma is not None:
            sigma = non_negative("localization_precision", sigma)
        self._localization_precision = sigma

    @property
    def given_precision(self) -> float | None:
        """The localization precision (µm) as set; None if it is unknown or to be read from the file."""
        return self._localization_precision

    @property
    def localization_error(self) -> float | None:
        """Variance σ² of the positioning error (µm²); None if unknown."""
        sigma = self.localization_precision
        return None if sigma is None else sigma**2

    @localization_error.setter
    def localization_error(self, variance: float | None) -> None:
        if variance is not None:
            variance = non_negative("localization_error", variance) ** 0.5
        self._localization_precision = variance

    @property
    def blocksize(self) -> int | None:
        """Bytes of a text file that are read at a time, for files larger than memory; None for all.

        May be set as a text, such as ``'64 MB'``. The rows of a trajectory must follow each other in the
        file. Of the whole field of view only sums are kept, see `ReducedPartition`.
        """
        return self._blocksize

    @blocksize.setter
    def blocksize(self, size: int | str | None) -> None:
        self._blocksize = block_size("blocksize", size)

    @property
    def temperature(self) -> float | None:
        """Temperature (K); may be set as ``(value, 'C' | 'F' | 'K')``."""
        return self._temperature

    @temperature.setter
    def temperature(self, value: float | tuple[float, str]) -> None:
        if isinstance(value, tuple | list):
            number, unit = value
            scales = {
                "K": number,
                "C": number + ZERO_CELSIUS,
                "F": (number - 32) * 5 / 9 + ZERO_CELSIUS,
            }
            if unit not in scales:
                raise SpecificationError(f"temperature: unknown unit {unit!r}; {suggest(unit, scales)}")
            value = scales[unit]
        self._temperature = positive("temperature", value)

    def reset_origin(self, columns: Sequence[str] | None = None) -> None:
        """Subtract the minimum of each of ``x, y[, z], t`` (or of `columns`) from the data."""
        self._reset_origin = list(columns or [])
        if self._checked:
            self._table = filters.reset_origin(self.dataframe, columns)
            self._translocations = None

    @property
    def resets_origin(self) -> bool:
        """Whether the smallest coordinates are subtracted."""
        return self._reset_origin is not None

    def discard_static_trajectories(
        self, table: pd.DataFrame | None = None, min_msd: float | None = None, **options: Any
    ) -> pd.DataFrame:
        """Drop translocations shorter than the localization precision.

        With neither `min_msd` nor a known precision, nothing is dropped.
        """
        table = self.dataframe if table is None else table
        min_msd = self.localization_error if min_msd is None else min_msd
        if min_msd is None:
            return table
        return filters.discard_static_trajectories(table, min_msd, **options)

    def content_fingerprint(self) -> str:
        """Return a digest of the data as this source reads them.

        A file counts by its bytes and the reader's options, not by its path or date.
        """
        reading = {
            "reader": self.format,
            "options": self.options,
            "dt": self._frame_interval,
            "reset_origin": self._reset_origin,
        }
        if self.path is None:
            # that of the table as it was given: reading puts it in order
            content = self._content if self._content is not None else fingerprint(self._table)
            return fingerprint({**reading, "table": content})
        return fingerprint({**reading, "bytes": self.file_digest()})

    def file_digest(self) -> str:
        """Return the BLAKE2b checksum of the file."""
        assert self.path is not None
        if self.place is not None:
            return self.place.digest(self.path)
        if self._digest.path != self.path:
            self._digest = FileDigest(self.path)
        return self._digest.get()

    @property
    def roi(self) -> Regions:
        """Regions of interest of this source: its own, else those of the analyzer."""
        if self._regions is None:
            from ..roi.regions import Regions

            self._regions = Regions(self)
        return self._regions

    @roi.setter
    def roi(self, regions: Regions) -> None:
        self.roi.take(regions)

    @property
    def analyses(self) -> Analyses:
        """Samplings and maps of this source, by label."""
        if self._analyses is None:
            tree = Analyses(lambda: self.dataframe)
            if self._owner is not None:
                self._owner.load_analyses(self, tree)
            self._analyses = tree
        return self._analyses

    @property
    def has_analyses(self) -> bool:
        """Whether the analysis tree has been looked at."""
        return self._analyses is not None

    def forget_analyses(self) -> None:
        """Let the analysis tree be loaded again at its next use."""
        self._analyses = None

    @contextlib.contextmanager
    def autosaving(self) -> Iterator[Analyses]:
        """Yield the analysis tree and store at the end what was set in it."""
        yield self.analyses
        if self._owner is not None:
            self._owner.save_analyses(self)

    def add_sampling(
        self, sampling: Artefact, label: Label | None = None, comment: str | None = None
    ) -> None:
        """Store a partition of the whole field in the tree."""
        self.analyses.add(sampling, label, comment)

    def get_sampling(self, label: Label | None = None) -> Any:
        """Return a partition from the tree."""
        return self.analyses[label].data

    def get_image(self, *_: Any) -> None:
        """Images are not handled by this package."""
        raise SpecificationError("images are not handled by tramway_dask")

    def attach(self, owner: Any) -> None:
        """Make the source belong to an analyzer."""
        self._owner = owner

    def __getstate__(self) -> dict[str, Any]:
        read_again = {} if self.path is None else {"_table": None, "_checked": False}
        return dict(self.__dict__, _owner=None, _analyses=None, _translocations=None, **read_again)

    def __repr__(self) -> str:
        return f"Source({os.fspath(self.source)!r})"

    @guarded
    def _repr_html_(self) -> str:
        # the file is not opened
        table, sigma, interval = self._table, self.localization_precision, self._frame_interval
        extent = None
        if table is not None and len(table) and {"x", "y"} <= set(table.columns):
            size = np.ptp(
                table[[c for c in ("x", "y", "z") if c in table.columns]].to_numpy(dtype=float), axis=0
            )
            extent = " × ".join(f"{s:.3g}" for s in size) + " µm"
        kind = self.reader or "recognised by its content"
        return card(
            "Source",
            rows(
                [
                    ("file", self.path or "none: a table in memory"),
                    ("place", "on the cluster" if self.elsewhere else None),
                    ("format", None if self.path is None else kind),
                    ("condition", self.condition),
                    ("replicate", self.replicate),
                    ("localization precision", "not given" if sigma is None else f"{sigma:g} µm"),
                    ("frame interval", None if interval is None else f"{interval:g} s"),
                    ("rows", "not read yet" if table is None else f"{len(table):,}"),
                    ("extent", extent),
                    ("regions", repr(self.roi)),
                ]
            ),
            about=self.name,
        )
