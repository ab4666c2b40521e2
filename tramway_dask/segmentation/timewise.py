"""Which translocations belong to which cells, when cells with too few look farther in time."""

from __future__ import annotations

import numpy as np

from .assignment import to_csr
from .lattice import TimeLattice

__all__ = ["assign_in_time"]


def assign_in_time(
    xy: np.ndarray,
    times: np.ndarray,
    lattice: TimeLattice,
    *,
    min_location_count: int = 0,
    min_nn: int | np.ndarray = 0,
    max_nn: int | np.ndarray = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Assign points to cells; those of a spatial cell may go to several segments.

    A cell of a segment holds the points whose nearest center is that of the cell and
    whose time is within the segment. Then:

    1. cells with fewer than `min_location_count` points lose them and stay out;
    2. cells with more than `max_nn` points keep those nearest in time to the middle of
       the segment;
    3. cells with fewer than `min_nn` points (empty ones too, unless `min_location_count`
       is set) get in addition the points of the same spatial cell, at any time, that are
       nearest in time to the middle of the segment, up to `min_nn`.

    Equal distances are decided in favour of the earlier point, then of the lowest row.

    Parameters
    ----------
    xy : ndarray (N, d), µm
    times : ndarray (N,), s
    lattice : TimeLattice
        M spatial cells, over S segments.
    min_location_count : int
    min_nn, max_nn : int or ndarray (S M,) of int
        0 for no bound.

    Returns
    -------
    indptr : ndarray (S M + 1,) of int64
    indices : ndarray (K,) of int
        Rows of cell i are ``indices[indptr[i]:indptr[i + 1]]``, ascending.
    """
    size, bounds = lattice.spatial_mesh.number_of_cells, lattice.time_lattice
    owner = lattice.spatial_mesh.cell_index(xy)
    order = np.lexsort((times, owner))
    clock, cells = times[order], np.tile(np.arange(size), len(bounds))
    instants, rank = np.unique(clock, return_inverse=True)
    # cells one after the other, and in each of them time: both at once by one search
    key = owner[order] * (len(instants) + 1) + rank
    edges = np.searchsorted(owner[order], np.arange(size + 1))
    first, stop = (
        np.searchsorted(key, cells * (len(instants) + 1) + np.repeat(np.searchsorted(instants, bound), size))
        for bound in bounds.T
    )
    number = np.maximum(stop - first, 0)
    excluded = number < min_location_count if min_location_count else np.zeros(len(cells), bool)
    least, most = np.broadcast_to(min_nn, cells.shape), np.broadcast_to(max_nn, cells.shape)
    whole = edges[cells + 1] - edges[cells]
    width = np.where((most > 0) & (number > most), most, np.maximum(number, np.minimum(least, whole)))
    grown = width >= number
    low = np.where(grown, np.maximum(edges[cells], stop - width), first)
    high = np.where(grown, np.minimum(first, edges[cells + 1] - width), stop - width)
    begin = _nearest_window(clock, np.repeat(bounds.mean(axis=1), size), low, high, width)
    width = np.where(excluded, 0, width)
    before = np.cumsum(width) - width
    place = np.arange(width.sum()) + np.repeat(begin - before, width)
    return to_csr(np.repeat(np.arange(len(cells)), width), order[place], lattice.number_of_cells)


def _nearest_window(
    clock: np.ndarray, middle: np.ndarray, low: np.ndarray, high: np.ndarray, width: np.ndarray
) -> np.ndarray:
    """Return where the `width` times nearest to `middle` begin, between `low` and `high`.

    The first place whose time is as near as the one that would come in at the other end:
    found by bisection, for all windows at once.
    """
    low, high = low.copy(), high.copy()
    while True:
        open_ = np.flatnonzero(low < high)
        if not len(open_):
            return low
        half = (low[open_] + high[open_]) // 2
        early = middle[open_] - clock[half] <= clock[half + width[open_]] - middle[open_]
        high[open_[early]] = half[early]
        low[open_[~early]] = half[~early] + 1
