"""Cells in space and time: a tessellation repeated over time segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SegmentationError
from .tessellation import Tessellation

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = [
    "TimeLattice",
    "checked_bounds",
    "frame_duration",
    "rows_of_segments",
    "segment_bounds",
    "segment_label",
]

MAX_SEGMENTS = 1_000_000


def segment_bounds(start: float, stop: float, *, duration: float, shift: float) -> np.ndarray:
    """Return the bounds of the segments of a sliding window.

    There are ``max(1, round((stop - start - duration) / shift) + 1)`` of them, rounded
    half to even, as in TRamWAy: the last one may end after `stop`, or leave out up to
    half a shift.

    Parameters
    ----------
    start, stop : float, s
        First and last time of the data.
    duration, shift : float, s

    Returns
    -------
    ndarray (S, 2), s
        Segment k is ``[start + k shift, start + k shift + duration)``.

    Raises
    ------
    SegmentationError
        If there would be over a million segments.
    """
    count = max(1.0, np.round((stop - start - duration) / shift) + 1)
    if count > MAX_SEGMENTS:
        raise SegmentationError(
            f"a shift of {shift:g} s cuts {stop - start:g} s into {count:.2g} time segments, "
            f"more than {MAX_SEGMENTS}; {(stop - start) / MAX_SEGMENTS:.2g} s would do"
        )
    begin = start + shift * np.arange(int(count))
    return np.column_stack([begin, begin + duration])


def checked_bounds(bounds: Any) -> np.ndarray:
    """Return the bounds of segments as an array, if they are segments in the order of time.

    Parameters
    ----------
    bounds : array_like (S, 2), s
        There may be gaps between segments, and they may overlap.

    Raises
    ------
    SegmentationError
        If a segment has no duration, or begins or ends before the one before it.
    """
    try:
        array = np.array(bounds, dtype=float)
    except (TypeError, ValueError):
        raise SegmentationError(f"expected start and end of each segment, got {bounds!r}") from None
    if array.ndim != 2 or array.shape[1] != 2 or not len(array):
        raise SegmentationError(
            f"expected start and end of each segment, an array of shape (segments, 2), got {array.shape}"
        )
    if not np.isfinite(array).all():
        raise SegmentationError("a segment has a bound that is not a finite number")
    empty = np.flatnonzero(array[:, 1] <= array[:, 0])
    if len(empty):
        raise SegmentationError(f"segment {empty[0]} has no duration: {array[empty[0]].tolist()}")
    steps = np.diff(array, axis=0)
    behind = np.flatnonzero((steps < 0).any(axis=1) | (steps <= 0).all(axis=1))
    if len(behind):
        k = behind[0] + 1
        raise SegmentationError(
            f"segments are not in the order of time: {array[k].tolist()} comes after {array[k - 1].tolist()}"
        )
    array.flags.writeable = False
    return array


def frame_duration(times: np.ndarray) -> float:
    """Return the median interval between distinct times, s.

    Times that differ by rounding errors only are the same.

    Parameters
    ----------
    times : ndarray (N,), s

    Raises
    ------
    SegmentationError
        If all times are the same.
    """
    gaps = np.diff(np.unique(times))
    gaps = gaps[gaps > 1e-9 * max(1.0, float(np.abs(times).max()))]
    if not len(gaps):
        raise SegmentationError("all translocations have the same time: the duration of a frame is not known")
    return float(np.median(gaps))


def rows_of_segments(times: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that lie in each segment, closed start and open end.

    Parameters
    ----------
    times : ndarray (N,), s
    bounds : ndarray (S, 2), s

    Returns
    -------
    rows : ndarray (K,) of intp
        Rows of segment 0, then 1, …; a row may lie in several segments or none.
    counts : ndarray (S,) of intp
    """
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    first = np.searchsorted(ordered, bounds[:, 0], side="left")
    counts = np.maximum(np.searchsorted(ordered, bounds[:, 1], side="left") - first, 0)
    before = np.cumsum(counts) - counts
    rows = order[np.arange(counts.sum()) + np.repeat(first - before, counts)]
    return rows, counts


def _seconds(time: float) -> str:
    text = f"{time:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def segment_label(map_label: Any, times: Any) -> str:
    """Return the label of a segment's maps, as TRamWAy writes it.

    Parameters
    ----------
    map_label : str or None
    times : pair of float, s

    Examples
    --------
    >>> segment_label("map", (0.76, 20.76))
    'map -- t=0.76-20.76s'
    >>> segment_label(None, (0, 1.5))
    't=0-1.5s'
    """
    start, stop = times
    span = f"t={_seconds(float(start))}-{_seconds(float(stop))}s"
    return f"{map_label} -- {span}" if map_label else span


@dataclass(frozen=True, eq=False, repr=False)
class TimeLattice:
    """A tessellation repeated over S time segments; cell j of segment k is number k M + j.

    Attributes
    ----------
    spatial_mesh : Tessellation
        The M spatial cells, common to all segments.
    time_lattice : ndarray (S, 2), s
        Bounds of the segments, closed start and open end.
    """

    spatial_mesh: Tessellation
    time_lattice: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_lattice", checked_bounds(self.time_lattice))

    @property
    def number_of_segments(self) -> int:
        """Number of time segments, S."""
        return len(self.time_lattice)

    @property
    def number_of_cells(self) -> int:
        """Number of cells over all segments, S M."""
        return self.number_of_segments * self.spatial_mesh.number_of_cells

    @property
    def dimension(self) -> int:
        """Number of space coordinates."""
        return self.spatial_mesh.dimension

    @property
    def box(self) -> np.ndarray:
        """Lower and upper corner in space, ndarray (2, d), µm."""
        return self.spatial_mesh.box

    @property
    def centers(self) -> np.ndarray:
        """Spatial centers of all cells, ndarray (S M, d), µm."""
        return np.tile(self.spatial_mesh.centers, (self.number_of_segments, 1))

    @property
    def areas(self) -> np.ndarray:
        """Areas (volumes) of all cells, ndarray (S M,), µm^d."""
        return np.tile(self.spatial_mesh.areas, self.number_of_segments)

    @property
    def segment_of_cell(self) -> np.ndarray:
        """Segment of each cell, ndarray (S M,) of intp."""
        return np.repeat(np.arange(self.number_of_segments), self.spatial_mesh.number_of_cells)

    @property
    def adjacency(self) -> sp.csr_array:
        """Spatial adjacency, one block per segment, csr_array (S M, S M) of bool."""
        import scipy.sparse as sp

        block, repeats = self.spatial_mesh.adjacency, self.number_of_segments
        size, entries = block.shape[0], block.nnz
        shift = np.repeat(np.arange(repeats) * size, entries)
        indices = np.tile(block.indices, repeats).astype(np.int64) + shift
        steps = np.tile(np.diff(block.indptr), repeats)
        indptr = np.concatenate([[0], np.cumsum(steps)])
        total = repeats * size
        return sp.csr_array((np.ones(len(indices), bool), indices, indptr), shape=(total, total))

    @property
    def time_adjacency(self) -> sp.csr_array:
        """Links between the same spatial cell in successive segments, csr_array (S M, S M) of bool."""
        import scipy.sparse as sp

        size, total = self.spatial_mesh.number_of_cells, self.number_of_cells
        if self.number_of_segments == 1:
            return sp.csr_array((total, total), dtype=bool)
        here = np.arange(total - size)
        row, col = np.concatenate([here, here + size]), np.concatenate([here + size, here])
        return sp.csr_array((np.ones(len(row), bool), (row, col)), shape=(total, total))

    def __len__(self) -> int:
        return self.number_of_cells

    def __repr__(self) -> str:
        return f"TimeLattice({self.number_of_segments} segments × {self.spatial_mesh!r})"
