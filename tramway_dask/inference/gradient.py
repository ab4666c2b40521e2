"""Spatial operators on cells, as sparse matrices: all are linear in the mapped variable.

`grad1` and the penalties follow TRamWAy's definitions. For cell i at x_i, with its
neighbours j taken as *below* or *above* on axis k when the direction to j lies within
``selection_angle``·90° of that axis, and a < 0 < b their mean offsets on that axis:

- both sides: derivative at 0 of the parabola through (a, mean below), (0, X_i), (b, mean above);
- one side: the slope to the mean of that side;
- none: undefined.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecificationError

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = [
    "Gradient",
    "delta0_penalty",
    "delta1_penalty",
    "grad1",
    "gradient_penalty",
    "insert_diagonal",
    "restrict",
    "time_penalty",
]

FloatArray = NDArray[Any]
IntArray = NDArray[Any]
BoolArray = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Gradient:
    """The gradient on all axes, on one sparsity pattern: neighbours and the cell itself.

    Attributes
    ----------
    indptr, indices : (m + 1,), (nnz,) int
        Pattern in CSR form; no row is empty.
    data : (d, nnz) float, 1/µm
        Values per axis; zeros where the gradient is undefined.
    defined : (d, m) bool
        False where a cell has no neighbour on either side of an axis.
    """

    indptr: IntArray
    indices: IntArray
    data: FloatArray
    defined: BoolArray

    @cached_property
    def rows(self) -> IntArray:
        """Row of each stored value."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    @cached_property
    def pairs(self) -> tuple[IntArray, IntArray]:
        """All ordered pairs (p, q) of stored values that share a row, sorted by row."""
        counts = np.diff(self.indptr)
        per_value = counts[self.rows]
        p = np.repeat(np.arange(len(self.indices)), per_value)
        start = np.cumsum(per_value) - per_value
        q = np.arange(len(p)) - np.repeat(start, per_value) + self.indptr[self.rows[p]]
        return p, q

    @property
    def matrices(self) -> list[sp.csr_array]:
        """One (m, m) sparse matrix per axis."""
        import scipy.sparse as sp

        m = len(self.indptr) - 1
        return [sp.csr_array((v, self.indices, self.indptr), shape=(m, m)) for v in self.data]

    def apply(self, x: FloatArray) -> FloatArray:
        """Return the gradient (d, m) of the values x (m,); zero where undefined."""
        if self.data.shape[1] == 0:
            return np.zeros((len(self.data), 0))
        return np.add.reduceat(self.data * x[self.indices], self.indptr[:-1], axis=1)

    def adjoint(self, y: FloatArray) -> FloatArray:
        """Return Σ_k G_kᵀ y_k (m,) for y (d, m)."""
        weights = np.einsum("kp,kp->p", self.data, y[:, self.rows])
        return np.bincount(self.indices, weights=weights, minlength=len(self.indptr) - 1)


def restrict(indptr: IntArray, indices: IntArray, keep: IntArray) -> tuple[IntArray, IntArray]:
    """Restrict an adjacency (CSR) to the cells `keep` and renumber them from 0."""
    total = len(indptr) - 1
    position = np.full(total, -1, dtype=np.intp)
    position[keep] = np.arange(len(keep))
    rows = position[np.repeat(np.arange(total), np.diff(indptr))]
    cols = position[indices]
    valid = (rows >= 0) & (cols >= 0) & (rows != cols)
    rows, cols = rows[valid], cols[valid]
    if rows.size and np.any(rows[1:] < rows[:-1]):
        order = np.argsort(rows, kind="stable")
        rows, cols = rows[order], cols[order]
    counts = np.bincount(rows, minlength=len(keep))
    return np.concatenate([[0], np.cumsum(counts)]), cols


@dataclass(frozen=True, eq=False)
class _Sides:
    rows: IntArray
    offset: FloatArray
    select: tuple[BoolArray, BoolArray]
    count: tuple[FloatArray, FloatArray]
    mean: tuple[FloatArray, FloatArray]


def _sides(
    centers: FloatArray,
    indptr: IntArray,
    indices: IntArray,
    selection_angle: float | None,
    epsilon: float | None,
) -> _Sides:
    m, d = centers.shape
    rows = np.repeat(np.arange(m), np.diff(indptr))
    offset = (centers[indices] - centers[rows]).T
    if epsilon is not None:
        below, above = offset < -epsilon, offset > epsilon
    elif selection_angle == 0.5 and d == 2:
        axis = np.argmax(np.abs(offset), axis=0) == np.arange(d)[:, None]
        below, above = axis & (offset < 0), axis & (offset > 0)
    else:
        alpha = 0.9 if selection_angle is None else selection_angle
        if not 0 < alpha <= 1:
            raise SpecificationError(f"grad_selection_angle: expected a number in (0, 1], got {alpha!r}")
        length = np.sqrt(np.einsum("ke,ke->e", offset, offset))
        length[length == 0] = np.inf
        angle = 1 - 2 * np.arccos(np.clip(offset / length, -1, 1)) / np.pi
        below, above = angle < alpha - 1, angle > 1 - alpha
    counts, means = [], []
    for side in (below, above):
        count = np.stack([np.bincount(rows, weights=s, minlength=m) for s in side])
        total = np.stack(
            [np.bincount(rows, weights=s * o, minlength=m) for s, o in zip(side, offset, strict=True)]
        )
        counts.append(count)
        means.append(total / np.maximum(count, 1))
    return _Sides(rows, offset, (below, above), (counts[0], counts[1]), (means[0], means[1]))


def insert_diagonal(
    indptr: IntArray, indices: IntArray, off: FloatArray, diagonal: FloatArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """Add the cell itself to each row of a pattern: the new pattern, and values (d, nnz) on it."""
    m = len(indptr) - 1
    pattern = indptr + np.arange(m + 1)
    at_diagonal = pattern[1:] - 1
    columns = np.empty(len(indices) + m, dtype=np.intp)
    neighbour = np.ones(len(columns), dtype=bool)
    neighbour[at_diagonal] = False
    columns[neighbour], columns[at_diagonal] = indices, np.arange(m)
    data = np.empty((len(off), len(columns)))
    data[:, neighbour], data[:, at_diagonal] = off, diagonal
    return pattern, columns, data


def grad1(
    centers: FloatArray,
    indptr: IntArray,
    indices: IntArray,
    *,
    selection_angle: float | None = 0.9,
    epsilon: float | None = None,
) -> Gradient:
    """Build the gradient operator.

    Parameters
    ----------
    centers : (m, d) float, µm
        Centres of the cells.
    indptr, indices : (m + 1,), (E,) int
        Neighbours of each cell in CSR form, without the cell itself.
    selection_angle : float
        Half-opening of the cones that select neighbours, in units of 90°; 0.5 in 2-D gives
        each neighbour to the axis of its largest projection only.
    epsilon : float, optional, µm
        Select half-spaces beyond this distance instead of cones.
    """
    s = _sides(centers, indptr, indices, selection_angle, epsilon)
    (below, above), (n_below, n_above), (a, b) = s.select, s.count, s.mean
    has_below, has_above = n_below > 0, n_above > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(has_above, -b / (a * (a - b)), 1 / a)
        high = np.where(has_below, -a / (b * (b - a)), 1 / b)
    low = np.where(has_below, low, 0.0)
    high = np.where(has_above, high, 0.0)
    off = (
        below * (low / np.maximum(n_below, 1))[:, s.rows] + above * (high / np.maximum(n_above, 1))[:, s.rows]
    )
    pattern, columns, data = insert_diagonal(indptr, indices, off, -(low + high))
    return Gradient(pattern, columns, data, has_below | has_above)


def _weights(areas: FloatArray) -> FloatArray:
    return np.where(np.isfinite(areas) & (areas > 0), areas, 1.0)


def gradient_penalty(gradient: Gradient, areas: FloatArray, *, rows: BoolArray | None = None) -> sp.csr_array:
    """Return Q with XᵀQX = Σ_i A_i |(G X)_i|²; undefined components count for nothing.

    Parameters
    ----------
    areas : (m,) float, µm^d
        Weights of the cells; where null or undefined, 1.
    rows : (m,) bool, optional
        Cells that count.
    """
    import scipy.sparse as sp

    weight = _weights(areas) if rows is None else _weights(areas) * rows
    p, q = gradient.pairs
    m = len(areas)
    values = np.einsum("kp,kp->p", gradient.data[:, p], gradient.data[:, q]) * weight[gradient.rows[p]]
    return sp.csr_array((values, (gradient.indices[p], gradient.indices[q])), shape=(m, m))


def _laplacian(rows: IntArray, cols: IntArray, weight: FloatArray, m: int) -> sp.csr_array:
    import scipy.sparse as sp

    i = np.concatenate([rows, cols, rows, cols])
    j = np.concatenate([rows, cols, cols, rows])
    return sp.csr_array((np.concatenate([weight, weight, -weight, -weight]), (i, j)), shape=(m, m))


def delta0_penalty(
    centers: FloatArray,
    indptr: IntArray,
    indices: IntArray,
    areas: FloatArray,
    *,
    rows: BoolArray | None = None,
    mean: bool = True,
) -> sp.csr_array:
    """Return Q with XᵀQX = Σ_i A_i/|N_i| Σ_{j in N_i} ((X_j − X_i)/d_ij)².

    Other parameters are those of `grad1` and `gradient_penalty`.

    Parameters
    ----------
    mean : bool
        Whether to divide by the number of neighbours |N_i|; TRamWAy's
        ``delta0_without_scaling`` does not.
    """
    m = len(centers)
    count = np.diff(indptr)
    i = np.repeat(np.arange(m), count)
    gap = centers[indices] - centers[i]
    squared = np.einsum("ek,ek->e", gap, gap)
    weight = _weights(areas) if rows is None else _weights(areas) * rows
    with np.errstate(divide="ignore"):
        weight = weight / np.maximum(count, 1) if mean else weight
        edge = np.where(squared > 0, weight[i] / squared, 0.0)
    return _laplacian(i, indices, edge, m)


def delta1_penalty(
    centers: FloatArray,
    indptr: IntArray,
    indices: IntArray,
    areas: FloatArray,
    *,
    selection_angle: float | None = 0.9,
    epsilon: float | None = None,
) -> sp.csr_array:
    """Return Q with XᵀQX = Σ_i A_i Σ (one-sided slopes of i, below and above on each axis)²."""
    s = _sides(centers, indptr, indices, selection_angle, epsilon)
    total: sp.csr_array | None = None
    for side, count, mean in zip(s.select, s.count, s.mean, strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(count > 0, 1 / mean, 0.0)
        off = side * (slope / np.maximum(count, 1))[:, s.rows]
        one = Gradient(*insert_diagonal(indptr, indices, off, -slope), count > 0)
        term = gradient_penalty(one, areas)
        total = term if total is None else total + term
    return total


def time_penalty(times: FloatArray, indptr: IntArray, indices: IntArray) -> sp.csr_array:
    """Return Q with XᵀQX = Σ_i Σ_{k before or after i} ((X_k − X_i)/(t_k − t_i))².

    Parameters
    ----------
    times : (m,) float, s
        Mid-time of the segment of each cell.
    indptr, indices : (m + 1,), (E,) int
        The same cell in the segments before and after.
    """
    m = len(times)
    i = np.repeat(np.arange(m), np.diff(indptr))
    gap = times[indices] - times[i]
    with np.errstate(divide="ignore"):
        edge = np.where(gap != 0, 1 / gap**2, 0.0)
    return _laplacian(i, indices, edge, m)
