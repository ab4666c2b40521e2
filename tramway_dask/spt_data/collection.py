"""The sources of an experiment, as one collection."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..cards import badge, card, guarded, rows
from ..cards import table as html_table
from ..errors import DataError, SpecificationError, UnknownAttributeError, suggest
from .choices import PerFile, resolve_per_file
from .companions import left_out, named, patterns_of
from .files import Absent, Place, by_name, find_absent, match
from .formats import check_options
from .manifest import Entry, entry_of, match_entries, read_manifest
from .sources import Source

if TYPE_CHECKING:
    from .linkers import Linker

__all__ = [
    "SPTData",
    "from_ascii_file",
    "from_ascii_files",
    "from_dataframe",
    "from_dataframes",
    "from_files",
    "from_localizations",
    "from_manifest",
    "from_mat_file",
    "from_mat_files",
    "from_rwa_file",
    "from_rwa_files",
    "read",
    "single",
]

EMPTY: Mapping[str, Any] = MappingProxyType({})
Alias = str | Callable[[str], str] | None


class SPTData:
    """Ordered collection of the trajectory sources of an analysis.

    Parameters set on the collection are set on every source, those to come
    included; a parameter read from the collection must be the same for all.
    """

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self._held: list[Source] = []
        self._absent: Absent | None = None
        self._left_out: dict[str, str] = {}
        self._defaults: dict[str, Any] = {}
        self._owner: Any = None
        for source in sources:
            self._add(source)
        self._name_sources()

    @classmethod
    def of(cls, sources: Iterable[Source]) -> SPTData:
        """Return the collection of sources that have their names already."""
        made = cls()
        made._held = list(sources)
        return made

    def from_files(
        self,
        pattern: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        reader: str | None = None,
        pixel_size: PerFile = None,
        dt: PerFile = None,
        localization_precision: PerFile = None,
        exclude: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        **options: Any,
    ) -> SPTData:
        """Take files of any known format, recognised by their content.

        Of the files that a pattern matches, those that only accompany others are left out: images,
        documents, settings, Picasso's ``.yaml``, regions; `left_out` says which, and why. A file that is
        named as such is read, whatever its name. Files that are none of these and of no known format
        are told by `RWAnalyzer.plan`, and counted as failed.

        Parameters
        ----------
        pattern : str, path, or list of them
            As for `from_ascii_files`.
        reader : str, optional
            Name of the format of all files (`tramway_dask.spt_data.formats.formats` lists them), instead
            of recognising it.
        pixel_size, dt, localization_precision : float, mapping or callable, optional
            Pixel size (µm) and frame interval (s) of the files that do not state theirs, and standard
            deviation of the positioning error (µm). A mapping gives values by file name, stem or pattern
            (``{'*_60x.csv': 0.107, '*_100x.csv': 0.065}``); a function gets the path. Without a localization
            precision, the median of the uncertainties that a file states is taken.
        exclude : str, path, or list of them, optional
            Patterns of names (or paths) of files to leave out: ``['*_summary.csv', 'old*']``.
        alias : str or callable, optional
            As for `from_ascii_files`.
        **options
            Further arguments of the readers; each goes to the readers that have it.

        Raises
        ------
        DataError
            If a pattern matches no file. What a file is, and whether its units are known, is looked at
            when that is needed first: `RWAnalyzer.plan` says it for all files.
        SpecificationError
            If an argument is not known, or a mapping names no file.
        """
        each = {"pixel_size": pixel_size, "dt": dt, "localization_precision": localization_precision}
        given = {name: value for name, value in each.items() if value is not None}
        for name in ("pixel_size", "dt"):  # is there such an argument?
            check_options(reader, {name: 1} if name in given else {})
        return self._replace_files(pattern, reader, options, each=given, exclude=patterns_of(exclude))

    def from_localizations(
        self,
        pattern: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        linker: Linker | type[Linker],
        **options: Any,
    ) -> SPTData:
        """Take files of localizations, which are linked into trajectories where and when they are read.

        Parameters
        ----------
        pattern : str, path, or list of them
            As for `from_ascii_files`. Files of ThunderSTORM, Elyra, Nanoimager, rapidSTORM, Picasso, SMAP,
            DECODE, or tables with a header and the columns frame, x and y.
        linker : Linker
            One of `tramway_dask.spt_data.linkers`, as ``NonTrackingTracker(search_range=0.3, memory=1)``. It
            is part of what identifies the data: with other parameters, maps are made anew.
        **options
            As for `from_files`: ``dt`` (s) is needed by most, ``pixel_size`` (µm) by those in pixels; see
            `tramway_dask.spt_data.localizations.read_localizations`. Without a ``localization_precision``,
            the median of the uncertainties that a file states is taken.

        Raises
        ------
        DataError
            If a pattern matches no file. Files that hold trajectories already are refused when they are
            looked at, unless ``reader="localizations"`` says that they are to be linked anew.
        SpecificationError
            If an argument is not known, or a parameter of the linker is missing.

        Examples
        --------
        >>> from tramway_dask import RWAnalyzer, linkers
        >>> a = RWAnalyzer()
        >>> linker = linkers.NonTrackingTracker(search_range=0.3, memory=1)
        >>> a.spt_data.from_localizations("storm/*.csv", dt=0.02, linker=linker)  # doctest: +SKIP
        """
        from .linkers import Linker

        if isinstance(linker, type) and issubclass(linker, Linker):
            linker = linker()
        if not isinstance(linker, Linker):
            raise SpecificationError(
                f"linker: expected e.g. linkers.NonTrackingTracker(search_range=0.3), got {linker!r}"
            )
        linker.check()
        return self.from_files(pattern, linker=copy.copy(linker), **options)

    def from_manifest(self, path: str | os.PathLike[str], **options: Any) -> SPTData:
        """Take the files that a manifest lists, each with what the manifest says of it.

        Parameters
        ----------
        path : str or path
            Table with the columns ``file``, ``condition``, ``replicate``, ``reader``, ``dt`` (s), ``pixel_size``
            (µm), ``localization_precision`` (µm), ``roi`` (a file of regions), in any order, all but the first
            optional; see `tramway_dask.spt_data.manifest.read_manifest`. Paths are relative to its folder.
        **options
            As for `from_files`; what the manifest says of a file goes before.

        Raises
        ------
        SpecificationError
            If the manifest holds something wrong; the message names the line and the column.
        DataError
            If a file is not found.
        """
        return self._replace_files((), options.pop("reader", None), options, rows=read_manifest(path))

    def from_ascii_file(self, path: str | os.PathLike[str], **options: Any) -> SPTData:
        """Take one text file; see `from_ascii_files`."""
        return self._replace_files([path], "ascii", options, "no such file:")

    def from_ascii_files(
        self, pattern: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], **options: Any
    ) -> SPTData:
        """Take text files, of this computer or of the cluster that is the analyzer's environment.

        What no file here matches, in a folder that is not here either, is looked for on the cluster when
        the sources are first asked for.

        Parameters
        ----------
        pattern : str, path, or list of them
            File names or glob patterns; ``~`` and environment variables are expanded.
            Sources are sorted by name. Files of regions of interest that a pattern
            also matches are left out.
        alias : str or callable, optional
            Short name, or function of the path that gives it.
        **options
            Arguments of `tramway_dask.spt_data.ascii.read_ascii`: ``columns``, ``header``,
            ``sep``, ``pixel_size`` (µm per pixel), ``dt`` (s per frame), …

        Raises
        ------
        DataError
            If a pattern matches no file; at first use if it may match files of a cluster.
        """
        return self._replace_files(pattern, "ascii", options)

    def from_mat_file(self, path: str | os.PathLike[str], **options: Any) -> SPTData:
        """Take one MATLAB file; see `from_mat_files`."""
        return self._replace_files(path, "mat", options)

    def from_mat_files(self, pattern: str | Sequence[str], **options: Any) -> SPTData:
        """Take MATLAB files; ``options`` are those of `tramway_dask.spt_data.mat.read_mat`."""
        return self._replace_files(pattern, "mat", options)

    def from_rwa_file(self, path: str | os.PathLike[str], **options: Any) -> SPTData:
        """Take the trajectories of one TRamWAy file; see `from_rwa_files`."""
        return self._replace_files(path, "rwa", options)

    def from_rwa_files(self, pattern: str | Sequence[str], **options: Any) -> SPTData:
        """Take the trajectories of TRamWAy's ``.rwa`` files."""
        return self._replace_files(pattern, "rwa", options)

    def from_dataframe(self, table: pd.DataFrame, *, alias: str | None = None) -> SPTData:
        """Take one table with columns ``n, x, y[, z], t``."""
        return self._replace([Source(table=table, alias=alias)])

    def from_dataframes(
        self, tables: Sequence[pd.DataFrame], *, alias: Sequence[str] | None = None
    ) -> SPTData:
        """Take several tables; `alias` names them."""
        names = list(alias) if alias is not None else [None] * len(tables)
        if len(names) != len(tables):
            raise SpecificationError(f"alias: {len(names)} names for {len(tables)} tables")
        return self._replace([Source(table=t, alias=a) for t, a in zip(tables, names, strict=True)])

    def _replace_files(
        self,
        patterns: Any,
        reader: str | None,
        options: dict[str, Any],
        what: str = "no file matches",
        each: Mapping[str, PerFile] = EMPTY,
        rows: Sequence[Entry] = (),
        exclude: Sequence[str] = (),
    ) -> SPTData:
        options = dict(options)
        alias: Alias = options.pop("alias", None)
        check_options(reader, options)
        known = (
            None if self._owner is None or self._owner.env is None else self._owner.elsewhere() is not None
        )
        of: dict[str, Entry] = {}
        if rows:
            found, absent = match_entries(rows, elsewhere=known)
            of = entry_of(rows, found)
            paths = sorted(of, key=by_name)
        else:
            paths, absent = match(patterns, elsewhere=known, what=what)
        wanted = Absent(absent, reader, options, alias, each, rows, exclude)
        self._left_out = {}
        kept = self._without_companions(wanted, paths, named(patterns))
        self._replace(self._made(wanted, kept, alone=not absent, rows=of))
        self._absent = wanted if absent else None
        self._drop_files()
        return self

    def _without_companions(self, of: Absent, paths: Sequence[str], named: Collection[str]) -> list[str]:
        """Return the files without those that are left out, which are remembered.

        Raises
        ------
        DataError
            If no file is left.
        """
        if of.rows:
            return list(paths)
        out = left_out(paths, of.exclude, named, companions=of.reader is None)
        self._left_out.update(out)
        kept = [path for path in paths if path not in out]
        if paths and not kept:
            told = "; ".join(f"{PurePath(path).name}: {why}" for path, why in list(out.items())[:5])
            raise DataError(f"no file of trajectories among the {len(out)} that match ({told})")
        return kept

    @staticmethod
    def _made(
        of: Absent,
        paths: Sequence[str],
        *,
        alone: bool = False,
        rows: Mapping[str, Entry] = EMPTY,
        place: Place | None = None,
    ) -> list[Source]:
        if isinstance(of.alias, str) and len(paths) > 1:
            raise SpecificationError("alias: one name for several files; give a function of the path")
        chosen = {name: resolve_per_file(name, value, paths, alone) for name, value in of.each.items()}
        made = []
        for path in paths:
            own = {name: values[path] for name, values in chosen.items() if path in values}
            precision = own.pop("localization_precision", None)
            alias = of.alias(path) if callable(of.alias) else of.alias
            source = Source(path, reader=of.reader, options={**of.options, **own}, alias=alias)
            source.localization_precision = precision
            if path in rows:
                rows[path].apply(source, place)
            made.append(source)
        return made

    def _drop_files(self) -> None:
        if len(self._held) > 1:
            self.drop_roi_files("roi", ".txt")
            if self._owner is not None:
                self._owner.roi.drop_files_from(self)

    @property
    def _sources(self) -> list[Source]:
        """The sources; those that are not here are looked for on the cluster."""
        absent = self._absent
        if absent is not None:
            place = None if self._owner is None else self._owner.elsewhere()
            if place is None:
                raise absent.complain()
            found = find_absent(absent, place)
            paths = sorted({path for some in found.values() for path in some}, key=by_name)
            paths = self._without_companions(absent, paths, set(absent.patterns))
            rows = entry_of(absent.rows, found)
            place.load([place.translated(entry.roi) for entry in rows.values() if entry.roi is not None])
            for source in self._made(absent, paths, rows=rows, place=place):
                source.elsewhere = True
                self._add(source)
            self._absent = None
            self._held.sort(key=lambda source: by_name(source.source))
            self._name_sources()
            self._drop_files()
        return self._held

    def refresh(self) -> None:
        """See which of the files that are elsewhere have changed."""
        paths = [s.path for s in self._sources if s.elsewhere]
        if paths:
            place = self._owner.elsewhere()
            place.refresh(paths)
            place.load_heads([s.path for s in self._sources if s.elsewhere and s.reader is None])

    def _replace(self, sources: Sequence[Source]) -> SPTData:
        self._held, self._absent = [], None
        for source in sources:
            self._add(source)
        self._name_sources()
        return self

    def _add(self, source: Source) -> None:
        for name, value in self._defaults.items():
            if name not in source.stated:
                setattr(source, name, value)
        source.attach(self._owner)
        self._held.append(source)

    def _name_sources(self) -> None:
        """Give each source the shortest name that no other has: its stem, with folders if need be."""
        paths = [PurePath(s.path) if s.path and not s.alias else None for s in self._held]
        depth = 0
        while True:
            names = [
                s.alias or ("~".join([*p.parts[-1 - depth : -1], p.stem]) if p else "table")
                for s, p in zip(self._held, paths, strict=True)
            ]
            counts = Counter(names)
            clash = [i for i, name in enumerate(names) if counts[name] > 1]
            longest = max((len(p.parts) for p in paths if p), default=0)
            if not any(paths[i] for i in clash) or depth > longest:
                break
            depth += 1
        for i in clash:  # tables, repeated aliases, a.csv beside a.txt
            path = paths[i]
            names[i] = f"{names[i]}{path.suffix}" if path else f"{names[i]}{i:03d}"
        for source, name in zip(self._held, names, strict=True):
            source.name = name

    def attach(self, owner: Any) -> None:
        """Make the collection belong to an analyzer."""
        self._owner = owner
        for source in self._held:
            source.attach(owner)

    @property
    def initialized(self) -> bool:
        """Whether there is any source."""
        return bool(self._held) or self._absent is not None

    @property
    def held(self) -> list[Source]:
        """The sources that are known without looking for files on a cluster."""
        return list(self._held)

    @property
    def filepaths(self) -> list[str]:
        """Paths of the files."""
        return [s.path for s in self._sources if s.path is not None]

    @property
    def left_out(self) -> dict[str, str]:
        """Files that matched a pattern and are no sources, each with the reason."""
        return dict(self._left_out)

    @property
    def aliases(self) -> list[str]:
        """Names of the sources, as in results."""
        return [s.name for s in self._sources]

    def as_dataframes(self, source: str | None = None) -> Iterator[pd.DataFrame]:
        """Iterate over the trajectory tables."""
        for item in self.filter_by_source(source):
            yield item.dataframe

    def filter_by_source(self, source: str | Callable[[str], bool] | None = None) -> Iterator[Source]:
        """Iterate over the sources of a given path, alias or name (or for which a function is true)."""
        yield from (item for item in self._sources if item.matches(source))

    def find(self, name: str) -> Source:
        """Return the source of a given name."""
        for item in self._sources:
            if name in (item.name, item.source):
                return item
        raise DataError(f"no source named {name!r}; {suggest(name, self.aliases)}")

    def reset_origin(self, columns: Sequence[str] | None = None) -> None:
        """Subtract the minimum of each coordinate and of time, per source."""
        for item in self._sources:
            item.reset_origin(columns)

    def discard_static_trajectories(self, min_msd: float | None = None, **options: Any) -> None:
        """Drop the translocations of every source that are shorter than the precision."""
        for item in self._sources:
            kept = item.discard_static_trajectories(item.translocations, min_msd, **options)
            item.dataframe = kept

    def reload_from_rwa_files(self, skip_missing: bool = True) -> SPTData:
        """Attach what the results folder holds to the sources' analysis trees.

        The name is TRamWAy's; results are no longer in ``.rwa`` files. `skip_missing` is accepted
        and has no effect: a source without results has an empty tree.
        """
        for item in self._sources:
            item.forget_analyses()
        return self

    def drop_roi_files(self, suffix: str, extension: str) -> None:
        """Drop the sources that are the region files of other sources."""
        stems = {os.path.splitext(s.path)[0] for s in self._held if s.path is not None}
        ends = tuple(f"{joiner}{suffix}{extension}" for joiner in ("", "-", "_"))

        def belongs(path: str) -> bool:
            return any(path.endswith(e) and path.removesuffix(e) in stems for e in ends)

        kept = [s for s in self._held if s.path is None or not belongs(s.path)]
        if len(kept) < len(self._held):
            gone = {s.path: "regions of interest" for s in self._held if s.path and belongs(s.path)}
            self._left_out.update(gone)
            self._held = kept
            self._name_sources()

    @property
    def bounds(self) -> pd.DataFrame:
        """Rows ``min`` and ``max`` over all sources."""
        each = pd.concat([s.bounds for s in self._sources])
        return pd.DataFrame({"min": each.loc[["min"]].min(), "max": each.loc[["max"]].max()}).T

    @property
    def dataframe(self) -> pd.DataFrame:
        """Table of the only source."""
        return single(self).dataframe

    @property
    def analyses(self) -> Any:
        """Tree of the only source, or list of the trees."""
        trees = [s.analyses for s in self._sources]
        return trees[0] if len(trees) == 1 else trees

    @property
    def mpl(self) -> Any:
        """Plots of trajectories, for a single source."""
        if self._owner is None:
            raise UnknownAttributeError("these data belong to no analyzer: use tramway_dask.plot")
        return self._owner.plots_of(self)

    def _get(self, name: str) -> Any:
        values = {getattr(s, name) for s in self._sources}
        if not values:
            return self._defaults.get(name)
        if len(values) > 1:
            raise UnknownAttributeError(
                f"{name} is not the same for all sources: read it from each, `for f in a.spt_data: f.{name}`"
            )
        return values.pop()

    def _set(self, name: str, value: Any) -> None:
        self._defaults[name] = value
        for source in self._held:
            setattr(source, name, value)

    @property
    def blocksize(self) -> int | None:
        """Bytes of a text file that are read at a time; see `Source.blocksize`."""
        return self._get("blocksize")

    @blocksize.setter
    def blocksize(self, value: int | str | None) -> None:
        self._set("blocksize", value)

    @property
    def localization_precision(self) -> float | None:
        """σ (µm), if the same for all sources; setting it sets all."""
        return self._get("localization_precision")

    @localization_precision.setter
    def localization_precision(self, value: float) -> None:
        self._defaults.pop("localization_error", None)
        self._set("localization_precision", value)

    @property
    def localization_error(self) -> float | None:
        """σ² (µm²), if the same for all sources; setting it sets all."""
        return self._get("localization_error")

    @localization_error.setter
    def localization_error(self, value: float) -> None:
        self._defaults.pop("localization_precision", None)
        self._set("localization_error", value)

    @property
    def frame_interval(self) -> float:
        """Time between frames (s), if the same for all sources; setting it sets all."""
        return self._get("frame_interval")

    @frame_interval.setter
    def frame_interval(self, value: float) -> None:
        self._set("frame_interval", value)

    dt = time_step = frame_interval

    @property
    def temperature(self) -> float | None:
        """Temperature (K), if the same for all sources; setting it sets all."""
        return self._get("temperature")

    @temperature.setter
    def temperature(self, value: float | tuple[float, str]) -> None:
        self._set("temperature", value)

    @property
    def columns(self) -> list[str]:
        """Column names, if the same for all sources; setting them sets all."""
        return list(self._get_columns())

    @columns.setter
    def columns(self, names: Sequence[str]) -> None:
        self._set("columns", list(names))

    def _get_columns(self) -> tuple[str, ...]:
        values = {tuple(s.columns) for s in self._sources}
        if len(values) != 1:
            raise UnknownAttributeError("columns are not the same for all sources")
        return values.pop()

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not isinstance(getattr(type(self), name, None), property):
            known = [n for n, v in vars(SPTData).items() if isinstance(v, property) and v.fset]
            raise UnknownAttributeError(f"spt_data has no parameter {name!r}; {suggest(name, known)}")
        object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, _owner=None)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __copy__(self) -> SPTData:
        made = type(self).of(copy.copy(source) for source in self._held)
        made._absent, made._defaults = self._absent, dict(self._defaults)
        made._left_out = dict(self._left_out)
        return made

    def __iter__(self) -> Iterator[Source]:
        return iter(list(self._sources))

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: int) -> Source:
        return self._sources[index]

    def __repr__(self) -> str:
        names = [s.name for s in self._held]
        names += [f"{p} (not here)" for p in (self._absent.patterns.values() if self._absent else ())]
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        return f"SPTData({len(names)} sources: {shown})" if names else "SPTData(empty)"

    @guarded
    def _repr_html_(self) -> str:
        # what is on a cluster is not looked for, and no file is opened
        if not self.initialized:
            return card(
                "Trajectories", badge("warning", "none yet"), "name them, as in a.spt_data.from_files(...)"
            )
        held, absent = self._held, list(self._absent.patterns.values()) if self._absent else []
        conditions = Counter(s.condition for s in held if s.condition is not None)
        precisions = {s.given_precision for s in held}
        sigma = "not given" if precisions == {None} else "not the same for all"
        if len(precisions) == 1 and None not in precisions:
            sigma = f"{precisions.pop():g} µm"
        lines = [(s.name, s.condition or "", s.replicate or "", s.path or "table in memory") for s in held]
        return card(
            "Trajectories",
            rows(
                [
                    ("conditions", ", ".join(f"{name}: {n}" for name, n in conditions.items()) or None),
                    ("localization precision", sigma if held else None),
                    ("on the cluster", ", ".join(map(str, absent)) or None),
                ]
            ),
            html_table(("name", "condition", "replicate", "file"), lines),
            about=f"{len(held):,} sources",
        )


def single(collection: Iterable[Any]) -> Any:
    """Return the only item of a collection.

    Raises
    ------
    DataError
        If there is none, or more than one.
    """
    items = list(collection)
    if len(items) != 1:
        raise DataError(f"expected a single item, found {len(items)}")
    return items[0]


def from_files(pattern: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], **options: Any) -> SPTData:
    """Return the collection of files of any known format; see `SPTData.from_files`."""
    return SPTData().from_files(pattern, **options)


def from_localizations(
    pattern: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    linker: Linker | type[Linker],
    **options: Any,
) -> SPTData:
    """Return the collection of files of localizations, linked; see `SPTData.from_localizations`."""
    return SPTData().from_localizations(pattern, linker=linker, **options)


def read(path: str | os.PathLike[str], **options: Any) -> pd.DataFrame:
    """Read trajectories from a file of any known format, recognised by its content.

    Parameters
    ----------
    path : str or path
    **options
        Those of `SPTData.from_files`: ``pixel_size`` (µm), ``dt`` (s), ``reader``, ``columns``…

    Returns
    -------
    DataFrame
        Columns ``n, x, y[, z], t``; µm and s; sorted by (``n``, ``t``). Its ``attrs`` tell the format,
        and the units with their origin.

    Raises
    ------
    DataError
        If the file cannot be read, or what it holds is not clear; the message says which argument decides.

    Warns
    -----
    UnitsWarning
        If steps are so small or large that lengths may be in another unit.

    Examples
    --------
    >>> read("cell1.trxyt")  # doctest: +SKIP
    >>> read("mosaic.csv", pixel_size=0.107, dt=0.02)  # doctest: +SKIP
    """
    source = single(SPTData().from_files(path, **options))
    table = source.dataframe
    table.attrs.update(format=source.recognition.title, units=source.units)
    return table


def from_manifest(path: str | os.PathLike[str], **options: Any) -> SPTData:
    """Return the collection of the files that a manifest lists; see `SPTData.from_manifest`."""
    return SPTData().from_manifest(path, **options)


def from_ascii_file(path: str | os.PathLike[str], **options: Any) -> SPTData:
    """Return the collection of one text file; see `SPTData.from_ascii_files`."""
    return SPTData().from_ascii_file(path, **options)


def from_ascii_files(pattern: str | os.PathLike[str] | Sequence[str], **options: Any) -> SPTData:
    """Return the collection of text files; see `SPTData.from_ascii_files`."""
    return SPTData().from_ascii_files(pattern, **options)


def from_mat_file(path: str | os.PathLike[str], **options: Any) -> SPTData:
    """Return the collection of one MATLAB file; see `SPTData.from_mat_files`."""
    return SPTData().from_mat_file(path, **options)


def from_mat_files(pattern: str | Sequence[str], **options: Any) -> SPTData:
    """Return the collection of MATLAB files; see `SPTData.from_mat_files`."""
    return SPTData().from_mat_files(pattern, **options)


def from_rwa_file(path: str | os.PathLike[str], **options: Any) -> SPTData:
    """Return the collection of one TRamWAy file; see `SPTData.from_rwa_files`."""
    return SPTData().from_rwa_file(path, **options)


def from_rwa_files(pattern: str | Sequence[str], **options: Any) -> SPTData:
    """Return the collection of TRamWAy files; see `SPTData.from_rwa_files`."""
    return SPTData().from_rwa_files(pattern, **options)


def from_dataframe(table: pd.DataFrame, *, alias: str | None = None) -> SPTData:
    """Return the collection of one table; see `SPTData.from_dataframe`."""
    return SPTData().from_dataframe(table, alias=alias)


def from_dataframes(tables: Sequence[pd.DataFrame], *, alias: Sequence[str] | None = None) -> SPTData:
    """Return the collection of several tables; see `SPTData.from_dataframes`."""
    return SPTData().from_dataframes(tables, alias=alias)
