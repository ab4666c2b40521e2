"""Time segments: the sliding window, and what is done segment by segment."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..component import Component, optional, positive, setting
from ..errors import SegmentationError, SpecificationError
from .lattice import TimeLattice, segment_bounds
from .lattice import segment_label as _segment_label
from .partition import Partition
from .tessellation import Tessellation

__all__ = [
    "SlidingWindow",
    "Time",
    "as_time_segments",
    "combine_segments",
    "from_sliding_window",
    "n_time_segments",
    "segment_label",
]

Index = int | Iterable[int] | Callable[[int], bool] | None


def _partition(sampling: Any) -> Partition:
    found = sampling if isinstance(sampling, Partition) else getattr(sampling, "data", sampling)
    if not isinstance(found, Partition):
        raise SpecificationError(f"expected a sampling (a Partition), got a {type(sampling).__name__}")
    return found


def n_time_segments(sampling: Any) -> int:
    """Return the number of time segments of a sampling; 1 if it has no time segmentation.

    Parameters
    ----------
    sampling : Partition or Node
    """
    segments = _partition(sampling).segments
    return 1 if segments is None else len(segments)


def segment_label(map_label: Any, times: Any, sampling: Any = None) -> str:
    """Return the label of the maps of one segment: ``<map label> -- t=<start>-<stop>s``.

    Parameters
    ----------
    map_label : str or None
    times : pair of float, or int
        Bounds of the segment, s; or its index in `sampling`.
    sampling : Partition or Node, optional
    """
    if isinstance(times, int | np.integer):
        segments = _partition(sampling).segments
        if segments is None:
            raise SegmentationError("the sampling has no time segments: give the bounds instead of an index")
        times = segments[times]
    return _segment_label(map_label, times)


def _chosen(number: int, index: Index) -> Iterator[int]:
    if index is None:
        yield from range(number)
    elif callable(index):
        yield from filter(index, range(number))
    else:
        listed = [index] if isinstance(index, int | np.integer) else list(index)
        for k in listed:
            if not -number <= k < number:
                raise SegmentationError(f"no time segment {k}: there are {number}, numbered from 0")
            yield int(k) % number


def _with_table(maps: Any, table: pd.DataFrame, **changes: Any) -> Any:
    if isinstance(maps, pd.DataFrame):
        return table
    if dataclasses.is_dataclass(maps) and not isinstance(maps, type):
        known = {f.name for f in dataclasses.fields(maps) if f.init}
        kept = {k: v for k, v in changes.items() if k in known}
        return dataclasses.replace(maps, table=table, **kept)
    changed = copy.copy(maps)
    for name, value in {"table": table, **changes}.items():
        if hasattr(changed, name):
            setattr(changed, name, value)
    return changed


def as_time_segments(
    sampling: Any,
    maps: Any = None,
    index: Index = None,
    return_index: bool = False,
    return_times: bool = True,
) -> Iterator[Any]:
    """Iterate over the time segments of a sampling.

    Parameters
    ----------
    sampling : Partition or Node
    maps : Maps, DataFrame or Node, optional
        Maps of the whole sampling, to be split as well.
    index : int, iterable of int or callable, optional
        Only these segments.
    return_index, return_times : bool
        Whether the segment's index, and its bounds, come along.

    Yields
    ------
    tuple or Partition
        ``[index,] [(start, stop),] partition[, maps]``; the bare partition if that is all
        there is. Partition and maps are those of the segment alone, cells numbered as in
        the spatial tessellation.
    """
    partition = _partition(sampling)
    segments = partition.segments
    if segments is None:
        times = partition.points["t"] if "t" in partition.points else np.array([np.nan])
        segments = np.array([[times.min(), times.max()]])
    size = partition.tessellation.spatial_mesh.number_of_cells
    if maps is not None and not isinstance(maps, pd.DataFrame) and not hasattr(maps, "table"):
        maps = getattr(maps, "data", maps)
    for k in _chosen(len(segments), index):
        item: list[Any] = [k] if return_index else []
        if return_times:
            item.append((float(segments[k, 0]), float(segments[k, 1])))
        item.append(partition.restrict_to_segment(k))
        if maps is not None:
            table = maps if isinstance(maps, pd.DataFrame) else maps.table
            part = table[(table.index >= k * size) & (table.index < (k + 1) * size)].copy()
            part.index = part.index - k * size
            item.append(_with_table(maps, part))
        yield item[0] if len(item) == 1 else tuple(item)


def _merged(attrs: list[dict[str, Any]]) -> dict[str, Any]:
    """Keep what all segments agree on; list the rest segment by segment."""
    names = dict.fromkeys(name for a in attrs for name in a)
    listed = {name: [a.get(name) for a in attrs] for name in names}
    merged = {n: v[0] if len(set(map(repr, v))) == 1 else v for n, v in listed.items()}
    return merged | ({"converged": all(listed["converged"])} if "converged" in listed else {})


def combine_segments(label: str, sampling: Any, commit: bool = True, permissive: bool = False) -> Any:
    """Concatenate maps that were inferred and stored segment by segment.

    Parameters
    ----------
    label : str
        Map label, without the segments' suffix.
    sampling : Partition or Node
        Sampling of all segments, in an analysis tree; the maps of segment k are stored
        below it under ``segment_label(label, k, sampling)``.
    commit : bool
        Whether to store the result under `label`, in place of the segments' maps.
    permissive : bool
        Whether to return None, instead of raising, if maps are missing.

    Returns
    -------
    Maps or None
        Indexed by global cell: k times the number of spatial cells is added to the
        index of segment k.

    Raises
    ------
    SegmentationError
        If the maps of some segments are missing.
    """
    partition = _partition(sampling)
    tree = partition.subtree
    segments = partition.segments
    if segments is None:
        raise SegmentationError(f"{label!r}: the sampling has no time segments to combine")
    labels = [_segment_label(label, times) for times in segments]
    missing = [name for name in labels if name not in tree]
    if missing:
        message = (
            f"cannot combine {label!r}: {len(missing)} of {len(labels)} segments have no maps, "
            f"the first is {missing[0]!r}; found: {list(tree.labels)}"
        )
        if not permissive:
            raise SegmentationError(message)
        if len(missing) < len(labels):
            warnings.warn(message, UserWarning, stacklevel=2)
        return None
    single = [tree[name].data for name in labels]
    kinds = {type(m) for m in single}
    if len(kinds) > 1 or not all(hasattr(m, "table") for m in single):
        names = ", ".join(sorted(k.__name__ for k in kinds))
        raise SegmentationError(f"cannot combine {label!r}: expected maps in every segment, found {names}")
    size = partition.tessellation.spatial_mesh.number_of_cells
    tables = [m.table.set_axis(m.table.index + k * size, axis=0) for k, m in enumerate(single)]
    runtimes = [getattr(m, "runtime", None) for m in single]
    total = sum(runtimes) if all(r is not None for r in runtimes) else None  # type: ignore[arg-type]
    changes = {"runtime": total, "attrs": _merged([getattr(m, "attrs", None) or {} for m in single])}
    combined = _with_table(single[0], pd.concat(tables), **changes)
    combined.parent = partition
    if commit:
        for name in labels:
            del tree[name]
        tree[label] = combined
    return combined


@dataclass(eq=False, repr=False)
class Time(Component):
    """No time segmentation: a single segment that holds everything."""

    def segment(self, points: Any, tessellation: Tessellation) -> Tessellation | TimeLattice:
        """Combine the spatial cells with the time segments of the data.

        Parameters
        ----------
        points : DataFrame
            Translocations, with a column ``t`` (s).
        tessellation : Tessellation

        Returns
        -------
        Tessellation or TimeLattice
        """
        return tessellation

    def from_sliding_window(self, *window: Any, **settings: Any) -> Component:
        """Let a `SlidingWindow` take the place of this one in the analyzer, and return it."""
        return self.become(SlidingWindow(*window, **settings))

    def n_time_segments(self, sampling: Any) -> int:
        """Return the number of time segments of a sampling."""
        return n_time_segments(sampling)

    def get_time_segments(self, sampling: Any) -> np.ndarray | None:
        """Return the bounds of the segments, ndarray (S, 2) in s, or None."""
        return _partition(sampling).segments

    def time_support(self, sampling: Any) -> tuple[float, float]:
        """Return the start of the first segment and the end of the last one, s."""
        partition = _partition(sampling)
        if partition.segments is None:
            times = partition.points["t"]
            return float(times.min()), float(times.max())
        return float(partition.segments[0, 0]), float(partition.segments[-1, 1])

    def get_spatial_segmentation(self, sampling: Any) -> Tessellation:
        """Return the spatial cells of a sampling, tessellation or time lattice."""
        if isinstance(sampling, Tessellation | TimeLattice):
            return sampling.spatial_mesh
        return _partition(sampling).tessellation.spatial_mesh

    def as_time_segments(
        self,
        sampling: Any,
        maps: Any = None,
        index: Index = None,
        return_index: bool = False,
        return_times: bool = True,
    ) -> Iterator[Any]:
        """Iterate over the time segments of a sampling; see `time.as_time_segments`."""
        return as_time_segments(sampling, maps, index, return_index, return_times)

    def segment_label(self, map_label: Any, times: Any, sampling: Any = None) -> str:
        """Return the label of the maps of one segment; see `time.segment_label`."""
        return segment_label(map_label, times, sampling)

    def combine_segments(
        self, label: str, sampling: Any, commit: bool = True, permissive: bool = False
    ) -> Any:
        """Concatenate maps stored segment by segment; see `time.combine_segments`."""
        return combine_segments(label, sampling, commit, permissive)


def _start_time(name: str, value: Any) -> float | str | None:
    if value is None or (isinstance(value, str) and value == "sync"):
        return value
    if not isinstance(value, int | float | np.number) or isinstance(value, bool) or not np.isfinite(value):
        raise SpecificationError(f"{name}: expected a time in seconds, 'sync' or None, got {value!r}")
    return float(value)


@dataclass(eq=False, repr=False)
class SlidingWindow(Time):
    """Segments of equal duration, at regular intervals.

    Parameters
    ----------
    duration : float, s
        Also `window_duration`.
    shift : float, s
        From the start of a segment to the start of the next one; default: `duration`.
        Also `window_shift`.
    start_time : float, s, or 'sync', optional
        Start of the first segment. Default: the first time in the region's data. 'sync':
        the first time over all sources.

    Notes
    -----
    Segment k is ``[start + k shift, start + k shift + duration)``; their number is
    ``max(1, round((last - start - duration) / shift) + 1)``, so that up to half a shift
    may be left out at the end, or the last segment may end later than the data.
    """

    duration: float | None = setting(None, check=optional(positive))
    shift: float | None = setting(None, check=optional(positive))
    start_time: float | str | None = setting(None, check=_start_time)

    @property
    def window_duration(self) -> float | None:
        """Alias of `duration`, s."""
        return self.duration

    @window_duration.setter
    def window_duration(self, value: float | None) -> None:
        self.duration = value

    @property
    def window_shift(self) -> float | None:
        """Alias of `shift`, s; reads as `duration` if it is not set."""
        return self.duration if self.shift is None else self.shift

    @window_shift.setter
    def window_shift(self, value: float | None) -> None:
        self.shift = value

    def sync_start_times(self) -> None:
        """Set `start_time` to the first time over all sources of the analyzer.

        This reads the files, unless the bounds are known.
        """
        self.start_time = self._first_time()

    def _first_time(self) -> float:
        data = getattr(self.owner, "spt_data", None)
        if data is None:
            raise SpecificationError(
                "SlidingWindow.start_time='sync' needs the data of an analyzer: give a time in seconds"
            )
        return float(data.bounds.loc["min", "t"])

    def segment(self, points: Any, tessellation: Tessellation) -> TimeLattice:
        """Combine the spatial cells with the window's segments over the data.

        Parameters
        ----------
        points : DataFrame
            Translocations, with a column ``t`` (s).
        tessellation : Tessellation

        Returns
        -------
        TimeLattice

        Raises
        ------
        SegmentationError
            If the data have no time, end before `start_time`, or would make over a
            million segments.
        """
        if self.duration is None:
            raise SpecificationError("SlidingWindow.duration is not set: give it in seconds")
        if not isinstance(points, pd.DataFrame) or "t" not in points or not len(points):
            raise SegmentationError("time segments need translocations with a column 't' (s)")
        first, last = float(points["t"].min()), float(points["t"].max())
        start = self._first_time() if self.start_time == "sync" else self.start_time
        start = first if start is None else float(start)
        if start > last:
            raise SegmentationError(
                f"SlidingWindow.start_time is {start:g} s, after the last translocation at {last:g} s"
            )
        shift = self.duration if self.shift is None else self.shift
        return TimeLattice(tessellation, segment_bounds(start, last, duration=self.duration, shift=shift))


def from_sliding_window(
    duration: float | None = None, shift: float | None = None, start_time: float | str | None = None
) -> SlidingWindow:
    """Return a `SlidingWindow`, from its parameters."""
    return SlidingWindow(duration, shift, start_time)
