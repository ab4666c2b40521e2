"""Which localization is followed by which: optimal assignments between frames.

Candidates are pairs that are near enough, found through a grid of cells; those that compete for
no localization fall apart into independent groups, most of which are solved at once, as arrays.
Memory grows with the number of candidates, not with the square of localizations in a frame.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import DataError

__all__ = ["assign", "identify"]

# localizations whose candidates are looked for at a time
_CHUNK = 1 << 18
# candidates per localization beyond which a choice among them means nothing
_CROWD = 64
# largest cost matrix of a group that is filled in; larger ones stay sparse
_DENSE = 1 << 22


def identify(points: np.ndarray, frame: np.ndarray, reach: float, memory: int = 0) -> np.ndarray:
    """Link localizations, and return which trajectory each is in.

    Localizations of consecutive frames are linked first, then ends of trajectories with later beginnings.

    Parameters
    ----------
    points : (N, d) array
        µm.
    frame : (N,) int array
        In ascending order.
    reach : float
        Largest displacement from a frame to the next, in µm; over k frames it is √k times as large.
    memory : int
        Largest number of frames in which a molecule may be missed.

    Returns
    -------
    (N,) int array
        From 1, in the order of first localizations.

    Raises
    ------
    DataError
        If there are so many candidates that linking means nothing.
    """
    before = np.full(len(points), -1)
    begin = np.flatnonzero(np.r_[True, frame[1:] != frame[:-1]]) if len(frame) else np.empty(0, int)
    for rows in _runs(begin, len(points)):
        origin, destination, cost = _candidates(points, frame, rows, np.arange(len(points)), reach, 1)
        kept = assign(origin, destination, cost, reach**2)
        before[destination[kept]] = origin[kept]
    if memory:
        followed = np.zeros(len(points), dtype=bool)
        followed[before[before >= 0]] = True
        ends, starts = np.flatnonzero(~followed), np.flatnonzero(before < 0)
        found = [_candidates(points, frame, ends, starts, reach, k) for k in range(2, memory + 2)]
        origin, destination, cost = (np.concatenate(parts) for parts in zip(*found, strict=True))
        kept = assign(origin, destination, cost, reach**2)
        before[destination[kept]] = origin[kept]
    # the first localization of each trajectory: each turn doubles how far back is looked
    first = np.where(before < 0, np.arange(len(points)), before)
    while (first[first] != first).any():
        first = first[first]
    return np.unique(first, return_inverse=True)[1] + 1


def _runs(begin: np.ndarray, total: int) -> Iterator[np.ndarray]:
    """Yield row numbers of whole frames, about `_CHUNK` at a time."""
    start = 0
    while start < total:
        later = begin[np.searchsorted(begin, start + _CHUNK) :]
        stop = int(later[0]) if len(later) else total
        yield np.arange(start, stop)
        start = stop


def _candidates(
    points: np.ndarray, frame: np.ndarray, origins: np.ndarray, others: np.ndarray, reach: float, gap: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs `gap` frames apart and near enough, as origins, destinations, and cost (squared µm).

    The cost is the squared distance per frame, which is what diffusion makes comparable.
    """
    radius = reach * np.sqrt(gap)
    times = np.unique(frame[others])
    rank = np.searchsorted(times, frame[origins] + gap)
    here = rank < len(times)
    here[here] = times[rank[here]] == frame[origins][here] + gap
    origins, rank = origins[here], rank[here]
    low = points.min(axis=0)
    # no more cells than a whole number can count, which may make them larger than needed
    most = 2 ** ((61 - len(times).bit_length()) // points.shape[1])
    size = np.maximum(radius, np.ptp(points, axis=0) / (most - 3))
    cells = np.floor((points - low) / size).astype(np.int64) + 1
    count = cells.max(axis=0) + 2

    def key(rank: np.ndarray, cell: np.ndarray) -> np.ndarray:
        for k in range(cell.shape[1]):
            rank = rank * count[k] + cell[:, k]
        return rank

    keys = key(np.searchsorted(times, frame[others]), cells[others])
    order = np.argsort(keys, kind="stable")
    keys, sorted_others = keys[order], others[order]
    shape = (3,) * (points.shape[1] - 1)
    pairs = []
    for offset in np.ndindex(shape):
        # neighbours along the last axis follow each other
        middle = key(rank, cells[origins] + [*(np.array(offset) - 1), 0])
        start = np.searchsorted(keys, middle - 1, "left")
        number = np.searchsorted(keys, middle + 1, "right") - start
        pairs.append(_near(points, origins, sorted_others, start, number, radius))
    origin, destination, squared = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return origin, destination, squared / gap


def _near(
    points: np.ndarray,
    origins: np.ndarray,
    others: np.ndarray,
    start: np.ndarray,
    number: np.ndarray,
    radius: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    total = int(number.sum())
    if total > _CROWD * max(len(origins), 1000):
        raise DataError(
            f"within {radius:.3g} µm a localization has tens of candidates for the next frame "
            f"({total / len(origins):.0f} on average in a part of its surroundings): no choice among them means "
            "anything; give a smaller search_range, or leave out the frames that are too dense"
        )
    row = np.repeat(np.arange(len(origins)), number)
    at = np.arange(total) - np.repeat(np.cumsum(number) - number, number) + start[row]
    origin, destination = origins[row], others[at]
    squared = ((points[destination] - points[origin]) ** 2).sum(axis=1)
    near = squared <= radius**2
    return origin[near], destination[near], squared[near]


def assign(origin: np.ndarray, destination: np.ndarray, cost: np.ndarray, limit: float) -> np.ndarray:
    """Choose links such that none shares an end, at least total cost; a missing link costs `limit`.

    This is the assignment of Crocker and Grier (J. Colloid Interface Sci. 179, 1996, 298), solved
    for each group of pairs that compete.

    Parameters
    ----------
    origin, destination : (M,) int arrays
        Ends of the candidates.
    cost : (M,) array
        Not above `limit`.
    limit : float

    Returns
    -------
    (K,) int array
        Numbers of the chosen candidates.
    """
    if not len(origin):
        return np.empty(0, dtype=np.intp)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    row, column = (np.unique(v, return_inverse=True)[1] for v in (origin, destination))
    rows, columns = int(row.max()) + 1, int(column.max()) + 1
    graph = coo_array((np.ones(len(row), dtype=bool), (row, column + rows)), shape=(rows + columns,) * 2)
    groups, group = connected_components(graph, directed=False)
    by_edge = group[row]
    single = np.minimum(
        np.bincount(group[:rows], minlength=groups), np.bincount(group[rows:], minlength=groups)
    )
    alone = single[by_edge] == 1
    # of pairs that share one end, the nearest; equal ones in the order of the file
    edges = np.flatnonzero(alone)
    edges = edges[np.lexsort((column[edges], row[edges], cost[edges], by_edge[edges]))]
    chosen = [edges[np.r_[True, np.diff(by_edge[edges]) != 0][: len(edges)]]]
    edges = np.flatnonzero(~alone)
    edges = edges[np.lexsort((column[edges], row[edges], by_edge[edges]))]
    if len(edges):
        for part in np.split(edges, np.flatnonzero(np.diff(by_edge[edges])) + 1):
            chosen.append(part[_solve(row[part], column[part], cost[part] / limit)])
    return np.sort(np.concatenate(chosen))


def _solve(row: np.ndarray, column: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Return the numbers of the chosen candidates of one group; a missing link costs 1."""
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    first, row = np.unique(row, return_inverse=True)
    second, column = np.unique(column, return_inverse=True)
    shape = len(first), len(second)
    # at the limit itself, a link is better than none
    gain = cost - (1 + 1e-9)
    if shape[0] * shape[1] <= _DENSE:
        matrix = np.zeros(shape)
        matrix[row, column] = gain
        took = np.full(shape[0], -1)
        at, to = linear_sum_assignment(matrix)
        took[at] = to
    else:
        # as many columns more as there are rows: no link; explicit zeros would be dropped
        nothing = np.arange(shape[0])
        matrix = csr_array(
            (
                np.r_[gain, np.zeros(shape[0])] + 2,
                (np.r_[row, nothing], np.r_[column, shape[1] + nothing]),
            ),
            shape=(shape[0], shape[0] + shape[1]),
        )
        took = min_weight_full_bipartite_matching(matrix)[1]
    return np.flatnonzero(took[row] == column)
