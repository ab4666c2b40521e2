"""Which translocations belong to which cells, for all cells at once."""

from __future__ import annotations

import numpy as np

from .lattice import TimeLattice, rows_of_segments
from .tessellation import Tessellation

__all__ = ["assign", "to_csr"]

BLOCK = 4_000_000


def to_csr(cells: np.ndarray, rows: np.ndarray, number_of_cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Return assignments grouped by cell, rows ascending.

    Parameters
    ----------
    cells, rows : ndarray (K,) of int
        Row `rows[i]` belongs to cell `cells[i]`.
    number_of_cells : int

    Returns
    -------
    indptr : ndarray (number_of_cells + 1,) of int64
    indices : ndarray (K,) of int32 (int64 for over two thousand million rows)
    """
    import scipy.sparse as sp

    width = int(rows.max()) + 1 if len(rows) else 1
    table = sp.coo_array((np.ones(len(rows), np.int8), (cells, rows)), shape=(number_of_cells, width)).tocsr()
    table.sort_indices()
    small = width < np.iinfo(np.int32).max
    return table.indptr.astype(np.int64), table.indices.astype(np.int32 if small else np.int64)


def assign(
    xy: np.ndarray,
    times: np.ndarray | None,
    lattice: Tessellation | TimeLattice,
    *,
    min_location_count: int = 0,
    min_nn: int | None = None,
    max_nn: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Assign points to cells, each time segment on its own.

    Every point belongs to the cell of the nearest center. Then, in this order:

    1. cells with fewer than `min_location_count` points lose them and stay out;
    2. cells with more than `max_nn` points keep the nearest ones to their center;
    3. cells with fewer than `min_nn` points (empty ones too, unless
       `min_location_count` is set) get in addition the nearest other points of the
       segment, up to `min_nn`.

    Equal distances are decided in favour of the lowest row.

    Parameters
    ----------
    xy : ndarray (N, d), µm
    times : ndarray (N,), s
        Needed with time segments only.
    lattice : Tessellation or TimeLattice
        M spatial cells, over S segments.
    min_location_count : int
    min_nn, max_nn : int, optional

    Returns
    -------
    indptr : ndarray (S M + 1,) of int64
    indices : ndarray (K,) of int
        Rows of cell i are ``indices[indptr[i]:indptr[i + 1]]``, ascending.
    """
    mesh = lattice.spatial_mesh
    size = mesh.number_of_cells
    nearest = mesh.cell_index(xy)
    if isinstance(lattice, TimeLattice):
        assert times is not None
        rows, counts = rows_of_segments(times, lattice.time_lattice)
    else:
        rows, counts = np.arange(len(xy)), np.array([len(xy)])
    segments = np.repeat(np.arange(len(counts)), counts)
    cells = segments * size + nearest[rows]
    number = np.bincount(cells, minlength=len(counts) * size)
    excluded = number < min_location_count
    kept = ~excluded[cells]
    if max_nn is not None and (number[~excluded] > max_nn).any():
        kept[kept] = _nearest_of_each(xy, mesh.centers, rows[kept], cells[kept], max_nn)
    assigned = np.where(kept, cells, -1)
    found_cells, found_rows = [cells[kept]], [rows[kept]]
    if min_nn:
        small = (number < min_nn) & ~(excluded if min_location_count else np.zeros_like(excluded))
        if min_location_count:
            small &= number > 0
        starts = np.cumsum(counts) - counts
        for k in np.flatnonzero(small.reshape(len(counts), size).any(axis=1) & (counts > 0)):
            part = slice(starts[k], starts[k] + counts[k])
            own = assigned[part] - k * size
            chosen = np.flatnonzero(small[k * size : (k + 1) * size])
            index, more = _completion(xy[rows[part]], rows[part], own, mesh.centers, chosen, min_nn)
            found_cells.append(more + k * size)
            found_rows.append(rows[part][index])
    return to_csr(np.concatenate(found_cells), np.concatenate(found_rows), lattice.number_of_cells)


def _nearest_of_each(
    xy: np.ndarray, centers: np.ndarray, rows: np.ndarray, cells: np.ndarray, limit: int
) -> np.ndarray:
    """Return a mask of the `limit` points nearest to the center in each cell."""
    squared = ((xy[rows] - centers[cells % len(centers)]) ** 2).sum(axis=1)
    order = np.lexsort((rows, squared, cells))
    ordered = cells[order]
    first = np.searchsorted(ordered, ordered, side="left")
    mask = np.zeros(len(rows), bool)
    mask[order] = np.arange(len(rows)) - first < limit
    return mask


def _completion(
    xy: np.ndarray, rows: np.ndarray, own: np.ndarray, centers: np.ndarray, cells: np.ndarray, wanted: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (point, cell) pairs that bring `cells` up to `wanted` points.

    Points farther than the `wanted` nearest are never needed: a cell's own points
    replace at most as many of those as there are own points.
    """
    ball = _ball(xy, rows, centers[cells], min(wanted, len(xy)))
    other = own[ball] != cells[:, None]
    missing = wanted - np.bincount(own[own >= 0], minlength=len(centers))[cells]
    taken = other & (np.cumsum(other, axis=1) <= missing[:, None])
    return ball[taken], np.broadcast_to(cells[:, None], ball.shape)[taken]


def _ball(xy: np.ndarray, rows: np.ndarray, centers: np.ndarray, k: int) -> np.ndarray:
    """Return the k points nearest to each center, ordered by distance and then by row."""
    from scipy.spatial import cKDTree

    more = min(k + 1, len(xy))
    distance, index = cKDTree(xy).query(centers, k=np.arange(1, more + 1))
    tied = np.flatnonzero((distance[:, 1:] <= distance[:, :-1]).any(axis=1))
    index = index[:, :k]
    by_row = np.argsort(rows, kind="stable")
    step = max(1, BLOCK // len(xy))
    for start in range(0, len(tied), step):
        some = tied[start : start + step]
        squared = ((centers[some, None, :] - xy[None, by_row, :]) ** 2).sum(axis=2)
        index[some] = by_row[np.argsort(squared, axis=1, kind="stable")[:, :k]]
    return index
