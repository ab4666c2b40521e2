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
    # a pair that is there twice counts once
    table = sp.coo_array((np.ones(len(rows), bool), (cells, rows)), shape=(number_of_cells, width)).tocsr()
    table.sort_indices()
    small = width < np.iinfo(np.int32).max
    return table.indptr.astype(np.int64), table.indices.astype(np.int32 if small else np.int64)


def assign(
    xy: np.ndarray,
    times: np.ndarray | None,
    lattice: Tessellation | TimeLattice,
    *,
    min_location_count: int = 0,
    min_nn: int | np.ndarray | None = None,
    max_nn: int | np.ndarray | None = None,
    min_radius: float | np.ndarray | None = None,
    max_radius: float | np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Assign points to cells, each time segment on its own.

    Every point belongs to the cell of the nearest center. Then, in this order:

    1. cells with fewer than `min_location_count` points lose them and stay out;
    2. cells with more than `max_nn` points keep the nearest ones to their center;
    3. cells keep the points that are no farther than `max_radius` from their center;
    4. cells with fewer than `min_nn` points get in addition the nearest other points of
       the segment, up to `min_nn`;
    5. cells get all points of the segment that are no farther than `min_radius`.

    In the last two, cells without any point take part unless `min_location_count` is set.
    Equal distances are decided in favour of the lowest row.

    Parameters
    ----------
    xy : ndarray (N, d), µm
    times : ndarray (N,), s
        Needed with time segments only.
    lattice : Tessellation or TimeLattice
        M spatial cells, over S segments.
    min_location_count : int
    min_nn, max_nn : int or ndarray (M,) of int, optional
        0 for no bound.
    min_radius, max_radius : float or ndarray (M,), µm, optional
        NaN for no bound.

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
    cells = np.repeat(np.arange(len(counts)) * size, counts) + nearest[rows]
    number = np.bincount(cells, minlength=len(counts) * size)
    excluded = number < min_location_count
    growing = ~excluded & (number > 0) if min_location_count else np.ones_like(excluded)
    kept = ~excluded[cells]
    if max_nn is not None:
        limit = _of_all_cells(max_nn, size, counts)
        if ((number > limit) & (limit > 0) & ~excluded).any():
            kept[kept] = _nearest_of_each(xy, mesh.centers, rows[kept], cells[kept], limit)
    if max_radius is not None:
        beyond = _distances(xy, mesh.centers, rows, cells) > _of_all_cells(max_radius, size, counts)[cells]
        kept &= ~beyond
    found_cells, found_rows = [cells[kept]], [rows[kept]]
    starts = np.cumsum(counts) - counts
    if min_nn is not None:
        least = _of_all_cells(min_nn, size, counts)
        small = ((number < least) & growing).reshape(-1, size)
        assigned = np.where(kept, cells, -1)
        for k in np.flatnonzero(small.any(axis=1) & (counts > 0)):
            part = slice(starts[k], starts[k] + counts[k])
            own = assigned[part] - k * size
            chosen = np.flatnonzero(small[k])
            index, more = _completion(xy[rows[part]], rows[part], own, mesh.centers, chosen, least[:size])
            found_cells.append(more + k * size)
            found_rows.append(rows[part][index])
    if min_radius is not None:
        reach = _of_all_cells(min_radius, size, counts)[:size]
        for k in np.flatnonzero(counts):
            chosen = np.flatnonzero(growing[k * size : (k + 1) * size] & (reach > 0))
            mine = rows[starts[k] : starts[k] + counts[k]]
            index, more = _within(xy[mine], mesh.centers, chosen, reach)
            found_cells.append(more + k * size)
            found_rows.append(mine[index])
    return to_csr(np.concatenate(found_cells), np.concatenate(found_rows), lattice.number_of_cells)


def _of_all_cells(bound: float | np.ndarray, size: int, counts: np.ndarray) -> np.ndarray:
    """Return a bound, of each spatial cell, for the cells of all segments."""
    return np.tile(np.broadcast_to(bound, (size,)), len(counts))


def _distances(xy: np.ndarray, centers: np.ndarray, rows: np.ndarray, cells: np.ndarray) -> np.ndarray:
    return np.sqrt(((xy[rows] - centers[cells % len(centers)]) ** 2).sum(axis=1))


def _nearest_of_each(
    xy: np.ndarray, centers: np.ndarray, rows: np.ndarray, cells: np.ndarray, limit: np.ndarray
) -> np.ndarray:
    """Return a mask of the points nearest to the center in each cell, up to its limit if above 0."""
    order = np.lexsort((rows, _distances(xy, centers, rows, cells), cells))
    ordered = cells[order]
    first = np.searchsorted(ordered, ordered, side="left")
    mask = np.zeros(len(rows), bool)
    mask[order] = (np.arange(len(rows)) - first < limit[ordered]) | (limit[ordered] <= 0)
    return mask


def _completion(
    xy: np.ndarray,
    rows: np.ndarray,
    own: np.ndarray,
    centers: np.ndarray,
    cells: np.ndarray,
    wanted: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (point, cell) pairs that bring `cells` up to the `wanted` points of each.

    Points farther than the `wanted` nearest are never needed: a cell's own points
    replace at most as many of those as there are own points.
    """
    ball = _ball(xy, rows, centers[cells], min(int(wanted[cells].max()), len(xy)))
    other = own[ball] != cells[:, None]
    missing = wanted[cells] - np.bincount(own[own >= 0], minlength=len(centers))[cells]
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


def _within(
    xy: np.ndarray, centers: np.ndarray, cells: np.ndarray, reach: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (point, cell) pairs no farther apart than the reach of the cell."""
    from scipy.spatial import cKDTree

    # a little farther, for what is exactly as far: the tree rounds in its own way
    tree = cKDTree(xy, balanced_tree=False, compact_nodes=False)  # faster to grow, for a single search
    near = tree.query_ball_point(centers[cells], reach[cells] * (1 + 1e-9), return_sorted=False)
    sizes = np.fromiter(map(len, near), np.intp, len(near))
    if not sizes.sum():
        return np.empty(0, np.intp), np.empty(0, np.intp)
    points, owner = np.concatenate([np.array(n, np.intp) for n in near]), np.repeat(cells, sizes)
    inside = _distances(xy, centers, points, owner) <= reach[owner]
    return points[inside], owner[inside]
