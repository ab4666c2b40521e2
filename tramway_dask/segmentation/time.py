"""Time segments: sliding windows, and segments given by their bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..component import Component, boolean, optional, positive, setting
from ..errors import SegmentationError, SpecificationError
from .lattice import TimeLattice, checked_bounds, frame_duration, segment_bounds
from .segments import Index, as_time_segments, combine_segments, n_time_segments, partition_of, segment_label
from .tessellation import Tessellation

__all__ = [
    "Segments",
    "SlidingWindow",
    "Time",
    "as_time_segments",
    "combine_segments",
    "from_sampling",
    "from_segments",
    "from_sliding_window",
    "n_time_segments",
    "segment_label",
]

# by how much of a frame segments begin earlier, so that rounding errors do not decide
EARLIER = 1e-6


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

    def from_segments(self, bounds: Any, frames: bool = False) -> Component:
        """Let given `Segments` take the place of this one in the analyzer, and return them."""
        return self.become(Segments(bounds, frames))

    def from_sampling(self, sampling: Any = None) -> Component:
        """Let the time segmentation of a sampling take the place of this one, and return it.

        Parameters
        ----------
        sampling : Partition, Node or label, optional
            Default: the only sampling of the first region. A label: of the first region.
        """
        if sampling is None or isinstance(sampling, str | int):
            if self.owner is None:
                raise SpecificationError("from_sampling: give a sampling, there is no analyzer to look in")
            sampling = next(iter(self.owner.roi.as_support_regions())).get_sampling(sampling)
        return self.become(from_sampling(sampling))

    def n_time_segments(self, sampling: Any) -> int:
        """Return the number of time segments of a sampling."""
        return n_time_segments(sampling)

    def get_time_segments(self, sampling: Any) -> np.ndarray | None:
        """Return the bounds of the segments, ndarray (S, 2) in s, or None."""
        return partition_of(sampling).segments

    def time_support(self, sampling: Any) -> tuple[float, float]:
        """Return the start of the first segment and the end of the last one, s."""
        partition = partition_of(sampling)
        if partition.segments is None:
            times = partition.points["t"]
            return float(times.min()), float(times.max())
        return float(partition.segments[0, 0]), float(partition.segments[-1, 1])

    def get_spatial_segmentation(self, sampling: Any, segment: int | None = None) -> Tessellation:
        """Return the spatial cells of a sampling, tessellation or time lattice.

        They are the same for all segments; `segment` is checked and has no other effect.
        """
        if not isinstance(sampling, Tessellation | TimeLattice):
            sampling = partition_of(sampling).tessellation
        number = sampling.number_of_segments if isinstance(sampling, TimeLattice) else 1
        if segment is not None and not -number <= segment < number:
            raise SegmentationError(f"no time segment {segment}: there are {number}, numbered from 0")
        return sampling.spatial_mesh

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


def _points_in_time(points: Any) -> np.ndarray:
    """Return the times of translocations, s."""
    if not isinstance(points, pd.DataFrame) or "t" not in points or not len(points):
        raise SegmentationError("time segments need translocations with a column 't' (s)")
    return points["t"].to_numpy(dtype=float)


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
    frames : bool
        Whether `duration` and `shift` are whole numbers of frames; a frame lasts as long as the
        median interval between the distinct times of the region's data.

    Notes
    -----
    Segment k is ``[start + k shift, start + k shift + duration)``; their number is
    ``max(1, round((last - start - duration) / shift) + 1)``, so that up to half a shift
    may be left out at the end, or the last segment may end later than the data.
    """

    duration: float | None = setting(None, check=optional(positive))
    shift: float | None = setting(None, check=optional(positive))
    start_time: float | str | None = setting(None, check=_start_time)
    frames: bool = setting(False, check=boolean)

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
        times = _points_in_time(points)
        first, last = float(times.min()), float(times.max())
        start = self._first_time() if self.start_time == "sync" else self.start_time
        start = first if start is None else float(start)
        if start > last:
            raise SegmentationError(
                f"SlidingWindow.start_time is {start:g} s, after the last translocation at {last:g} s"
            )
        duration, shift = self.duration, self.duration if self.shift is None else self.shift
        early = 0.0
        if self.frames:
            if duration != int(duration) or shift != int(shift):
                raise SpecificationError(
                    f"SlidingWindow: with frames=True, duration and shift are whole numbers of frames; got "
                    f"{duration:g} and {shift:g}"
                )
            unit = frame_duration(times)
            duration, shift, early = duration * unit, shift * unit, EARLIER * unit
        bounds = segment_bounds(start, last, duration=duration, shift=shift)
        return TimeLattice(tessellation, bounds - early)


def _bounds(name: str, value: Any) -> np.ndarray | None:
    if value is None:
        return None
    try:
        return checked_bounds(value)
    except SegmentationError as error:
        raise SpecificationError(f"{name}: {error}") from None


@dataclass(eq=False, repr=False)
class Segments(Time):
    """Segments given by their bounds; there may be gaps between them, and they may overlap.

    Parameters
    ----------
    bounds : array_like (S, 2), s
        Start and end of each segment, closed start and open end, in the order of time.
    frames : bool
        Whether the bounds count frames from the first time of the region's data, instead of
        seconds; a frame lasts as long as the median interval between distinct times.

    Examples
    --------
    >>> Segments([(0, 10), (20, 30)]).bounds.tolist()
    [[0.0, 10.0], [20.0, 30.0]]
    """

    bounds: np.ndarray | None = setting(None, check=_bounds)
    frames: bool = setting(False, check=boolean)

    def segment(self, points: Any, tessellation: Tessellation) -> TimeLattice:
        """Combine the spatial cells with the segments.

        Parameters
        ----------
        points : DataFrame
            Translocations, with a column ``t`` (s).
        tessellation : Tessellation

        Raises
        ------
        SegmentationError
            If the data have no time, or all of them lie outside of the segments.
        """
        if self.bounds is None:
            raise SpecificationError("Segments.bounds is not set: give start and end of each segment, in s")
        times = _points_in_time(points)
        bounds = self.bounds
        if self.frames:
            bounds = times.min() + (bounds - EARLIER) * frame_duration(times)
        inside = np.zeros(len(times), bool)
        for start, stop in bounds:
            inside |= (times >= start) & (times < stop)
        if not inside.any():
            raise SegmentationError(
                f"no translocation is within the time segments: they span {bounds[0, 0]:g} to "
                f"{bounds[:, 1].max():g} s, the data {times.min():g} to {times.max():g} s"
            )
        return TimeLattice(tessellation, bounds)

    def __repr__(self) -> str:
        if self.bounds is None or len(self.bounds) <= 4:
            shown = None if self.bounds is None else self.bounds.tolist()
            return f"Segments({shown}{', frames=True' if self.frames else ''})"
        unit = "frames" if self.frames else "s"
        return (
            f"Segments({len(self.bounds)} from {self.bounds[0, 0]:g} to {self.bounds[:, 1].max():g} {unit})"
        )


def from_sliding_window(
    duration: float | None = None,
    shift: float | None = None,
    start_time: float | str | None = None,
    frames: bool = False,
) -> SlidingWindow:
    """Return a `SlidingWindow`, from its parameters."""
    return SlidingWindow(duration, shift, start_time, frames)


def from_segments(bounds: Any, frames: bool = False) -> Segments:
    """Return `Segments` with given bounds, array_like (S, 2) in s."""
    return Segments(bounds, frames)


def from_sampling(sampling: Any) -> Time:
    """Return the time segmentation that a sampling was made with.

    Parameters
    ----------
    sampling : Partition or Node

    Returns
    -------
    Time
        With the parameters that the sampling remembers. If it remembers none: the sliding window
        that gives its segments, or else the segments themselves.
    """
    partition = partition_of(sampling)
    segments, made = partition.segments, partition.param.get("time")
    if segments is None:
        return Time()
    kinds = {cls.__name__: cls for cls in (SlidingWindow, Segments)}
    if isinstance(made, dict) and made.get("type") in kinds:
        parameters = {name: value for name, value in made.items() if name != "type"}
        if not isinstance(parameters.get("bounds"), dict):  # a digest, of many
            return kinds[made["type"]](**parameters)
    spans, shifts = np.diff(segments, axis=1).ravel(), np.diff(segments[:, 0])
    regular = np.ptp(spans) <= 1e-9 * spans.max() and (
        len(shifts) < 2 or np.ptp(shifts) <= 1e-9 * shifts.max()
    )
    times = partition.points["t"]
    start, first, last = float(segments[0, 0]), float(times.min()), float(times.max())
    duration = float(spans[0])
    shift = float(shifts[0]) if len(shifts) else duration
    if not regular or len(segment_bounds(start, last, duration=duration, shift=shift)) != len(segments):
        return Segments(segments)
    return SlidingWindow(duration, shift, None if start == first else start)
