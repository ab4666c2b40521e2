"""Lloyd's algorithm (k-means), without the distances that cannot matter."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["lloyd"]

MAX_ITERATIONS = 10_000
# rivals of a center that are looked at; what they do not decide, a search among all does
RIVALS = 12
BLOCK = 16_384


def lloyd(points: np.ndarray, centers: np.ndarray, *, tol: float) -> np.ndarray:
    """Move centers to the means of their points until the mean distance settles.

    Lloyd's algorithm with the stopping rule of `scipy.cluster.vq.kmeans`: until the
    mean distance to the nearest center changes by at most `tol`. Centers that lose
    all their points are dropped. The iterates are those of the plain algorithm: only
    points that may have changed cells are compared with centers (the bound of Hamerly,
    2010), and first with those near to their own.

    Parameters
    ----------
    points : ndarray (N, d), µm
    centers : ndarray (m, d), µm
        Where to start.
    tol : float, µm

    Returns
    -------
    ndarray (<= m, d), µm

    References
    ----------
    Hamerly, G. (2010). Making k-means even faster. SIAM International Conference on
    Data Mining, 130-140.
    """
    axes = [np.ascontiguousarray(axis) for axis in points.T]
    index, distance, lower = _nearest(axes, centers)
    rivals, reach, gap = _rivals(centers)
    previous, fresh = math.inf, reach
    for iteration in range(MAX_ITERATIONS):
        if iteration:
            # points nearer to their center than any other can be keep it
            doubtful = np.flatnonzero(distance >= np.maximum(lower, gap[index] / 2) * (1 - 1e-12))
            _reassign(axes, centers, rivals, reach, doubtful, index, distance, lower)
        mean = float(distance.mean())
        count = np.bincount(index, minlength=len(centers))
        sums = [np.bincount(index, weights=axis, minlength=len(centers)) for axis in axes]
        kept = count > 0
        moved = np.where(kept[:, None], np.column_stack(sums) / np.maximum(count, 1)[:, None], centers)
        step = np.sqrt(((moved - centers) ** 2).sum(axis=1))
        # rivals came nearer by their steps, all others by the longest step
        near, far = step[rivals].max(axis=1), step.max()
        lower -= near[index]
        np.minimum(lower, (reach - far)[index] - distance, out=lower)
        centers, reach = moved, reach - far - step
        gap = np.minimum(gap - near - step, reach)
        if not kept.all():
            centers, index = moved[kept], (np.cumsum(kept) - 1)[index]
        if not kept.all() or (reach < 0.9 * fresh).any():
            rivals, reach, gap = _rivals(centers)
            fresh = reach
        distance = _distance(axes, centers, index)
        previous, change = mean, abs(previous - mean)
        if change <= tol:
            break
    return centers


def _rivals(centers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the centers near to each, the distance beyond which all others are, and to the nearest."""
    from scipy.spatial import cKDTree

    size = len(centers)
    width = min(RIVALS + 1, size)
    more = min(width + 1, size)
    lengths, near = cKDTree(centers).query(centers, k=np.arange(1, more + 1))
    reach = lengths[:, width] if more > width else np.full(size, math.inf)
    gap = lengths[:, 1] if size > 1 else np.full(size, math.inf)
    return np.sort(near[:, :width], axis=1), reach, gap


def _distance(axes: list[np.ndarray], centers: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return the distance of each point to its center."""
    squared = np.zeros(len(index))
    for axis, column in zip(axes, centers.T, strict=True):
        apart = axis - column[index]
        apart *= apart
        squared += apart
    return np.sqrt(squared, out=squared)


def _nearest(axes: list[np.ndarray], centers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the nearest center (the first of equals), and the distances to it and to the next."""
    from scipy.spatial import cKDTree

    size = len(axes[0])
    if len(centers) == 1:
        index = np.zeros(size, np.intp)
        return index, _distance(axes, centers, index), np.full(size, math.inf)
    distance, found = cKDTree(centers).query(np.column_stack(axes), k=2)
    index = found[:, 0].copy()
    tied = np.flatnonzero(distance[:, 0] == distance[:, 1])
    if len(tied):
        from .tessellation import nearest

        index[tied] = nearest(np.column_stack([axis[tied] for axis in axes]), centers)
    return index, distance[:, 0].copy(), distance[:, 1].copy()


def _reassign(
    axes: list[np.ndarray],
    centers: np.ndarray,
    rivals: np.ndarray,
    reach: np.ndarray,
    rows: np.ndarray,
    index: np.ndarray,
    distance: np.ndarray,
    lower: np.ndarray,
) -> None:
    """Bring the state of some points up to date."""
    columns = [np.ascontiguousarray(column) for column in centers.T]
    unclear = [rows[:0]]
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        own = index[some]
        mine = [axis[some] for axis in axes]
        best, second = np.full((2, len(some)), math.inf)
        chosen = own.copy()
        for column in rivals.T:
            rival = column[own]
            squared = np.zeros(len(some))
            for axis, coordinate in zip(mine, columns, strict=True):
                apart = coordinate[rival]
                apart -= axis
                apart *= apart
                squared += apart
            closer = squared < best
            np.minimum(second, np.maximum(best, squared), out=second)
            np.minimum(best, squared, out=best)
            np.copyto(chosen, rival, where=closer)
        best, second = np.sqrt(best), np.sqrt(second)
        others = (reach[own] - distance[some]) * (1 - 1e-12)
        index[some], distance[some], lower[some] = chosen, best, np.minimum(second, others)
        unclear.append(some[best >= others])
    left = np.concatenate(unclear)
    if len(left):
        index[left], distance[left], lower[left] = _nearest([axis[left] for axis in axes], centers)
