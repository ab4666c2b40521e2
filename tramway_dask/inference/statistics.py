"""Sums that replace the translocations: all that the D, DD, DF and DV likelihoods need.

For each cell and each distinct time step Δt, the likelihood of every model depends
on the displacements Δr through n, S1 = Σ Δr and S2 = Σ |Δr|² only. Sums add up over
blocks of data, so that a file too large for memory reduces to the same arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InferenceError

__all__ = ["CellStatistics", "cell_statistics", "merge"]

FloatArray = NDArray[Any]
IntArray = NDArray[Any]


@dataclass(frozen=True, eq=False)
class CellStatistics:
    """Sums of displacements per (cell, distinct Δt), sorted by cell, then by Δt.

    Attributes
    ----------
    cell : (G,) int
        Cell of each group.
    dt : (G,) float, s
        Time step of each group.
    n : (G,) float
        Number of translocations.
    s1 : (G, d) float, µm
        Sum of displacements.
    s2 : (G,) float, µm²
        Sum of squared lengths of displacements.
    number_of_cells : int
        Cells in all, empty ones included.
    """

    cell: IntArray
    dt: FloatArray
    n: FloatArray
    s1: FloatArray
    s2: FloatArray
    number_of_cells: int

    @property
    def dimension(self) -> int:
        """Number of space columns."""
        return self.s1.shape[1]

    @property
    def cells(self) -> IntArray:
        """Cells that hold at least one translocation, ascending."""
        if self.cell.size == 0:
            return self.cell
        return self.cell[np.r_[True, self.cell[1:] != self.cell[:-1]]]

    def select(self, cells: IntArray) -> CellStatistics:
        """Keep some cells and renumber them from 0 in the given (ascending) order."""
        position = np.full(self.number_of_cells, -1, dtype=np.intp)
        position[cells] = np.arange(len(cells))
        renumbered = position[self.cell]
        keep = renumbered >= 0
        if keep.all():
            return CellStatistics(renumbered, self.dt, self.n, self.s1, self.s2, len(cells))
        return CellStatistics(
            renumbered[keep], self.dt[keep], self.n[keep], self.s1[keep], self.s2[keep], len(cells)
        )


def cell_statistics(dr: FloatArray, dt: FloatArray, indptr: IntArray, indices: IntArray) -> CellStatistics:
    """Reduce translocations to sums per (cell, distinct Δt).

    Time steps closer to each other than min(1 µs, a thousandth of the shortest one) count
    as one; its value is their mean. A negative time step is flipped, with its displacement.

    Parameters
    ----------
    dr : (N, d) float, µm
        Displacements.
    dt : (N,) float, s
        Time steps.
    indptr, indices : (C + 1,), (A,) int
        Assignment: the rows of cell i are ``indices[indptr[i]:indptr[i + 1]]``.

    Raises
    ------
    InferenceError
        If an assigned translocation has a zero or undefined time step, or an undefined displacement.

    Examples
    --------
    >>> import numpy as np
    >>> s = cell_statistics(np.ones((3, 2)), np.full(3, 0.1), np.array([0, 2, 3]), np.array([0, 1, 2]))
    >>> s.n.tolist(), s.s2.tolist()
    ([2.0, 1.0], [4.0, 2.0])
    """
    indptr, indices = np.asarray(indptr), np.asarray(indices)
    dr = np.asarray(dr, dtype=float)[indices]
    dt = np.asarray(dt, dtype=float)[indices]
    cells = len(indptr) - 1
    if len(indices) == 0:
        empty = np.zeros(0)
        return CellStatistics(np.zeros(0, np.intp), empty, empty, np.zeros((0, dr.shape[1])), empty, cells)
    dr, dt = _checked(dr, dt, indices)
    cell = np.repeat(np.arange(cells), np.diff(indptr))
    s2 = np.einsum("ij,ij->i", dr, dr)
    return _sums(cell, dt, np.ones(len(dt)), dr, s2, cells)


def merge(a: CellStatistics, b: CellStatistics) -> CellStatistics:
    """Add the sums of two blocks of data over the same cells.

    Raises
    ------
    InferenceError
        If the two do not have the same number of cells or of dimensions.
    """
    if a.number_of_cells != b.number_of_cells or a.dimension != b.dimension:
        raise InferenceError(
            f"cannot merge sums over {a.number_of_cells} cells in {a.dimension}-D with sums over "
            f"{b.number_of_cells} cells in {b.dimension}-D; both blocks must use the same cells"
        )
    if a.cell.size + b.cell.size == 0:
        return a
    cell, dt, n, s1, s2 = (
        np.concatenate([getattr(a, k), getattr(b, k)]) for k in ("cell", "dt", "n", "s1", "s2")
    )
    return _sums(cell, dt, n, s1, s2, a.number_of_cells)


def _checked(dr: FloatArray, dt: FloatArray, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    smallest = dt.min()
    if not (smallest > 0 and np.isfinite(dt.max())):
        bad = ~np.isfinite(dt) | (dt == 0)
        if bad.any():
            raise InferenceError(
                f"{int(bad.sum())} translocations have a zero or undefined time step, the first at row "
                f"{int(rows[bad][0])}; expected dt in seconds, not zero: check the column t of the data"
            )
        sign = np.sign(dt)
        dr, dt = dr * sign[:, None], np.abs(dt)
    if not np.isfinite(dr.sum()):
        bad = ~np.isfinite(dr).all(axis=1)
        if bad.any():
            raise InferenceError(
                f"{int(bad.sum())} translocations have an undefined displacement, the first at row "
                f"{int(rows[bad][0])}; expected finite coordinates in µm"
            )
    return dr, dt


def _cluster(dt: FloatArray, weight: FloatArray) -> tuple[IntArray, FloatArray]:
    shortest = dt.min()
    tolerance = min(1e-6, 1e-3 * shortest)
    if dt.max() - shortest <= tolerance:
        # offsets from the shortest keep a constant Δt exact
        mean = shortest + np.dot(dt - shortest, weight) / weight.sum()
        return np.zeros(len(dt), dtype=np.intp), np.array([mean])
    order = np.argsort(dt, kind="stable")
    ordered = dt[order]
    step = np.concatenate([[0], np.cumsum(np.diff(ordered) > tolerance)])
    label = np.empty(len(dt), dtype=np.intp)
    label[order] = step
    first = ordered[np.searchsorted(step, np.arange(step[-1] + 1))]
    offset = np.bincount(label, weights=(dt - first[label]) * weight)
    return label, first + offset / np.bincount(label, weights=weight)


def _sums(
    cell: IntArray, dt: FloatArray, n: FloatArray, s1: FloatArray, s2: FloatArray, cells: int
) -> CellStatistics:
    label, values = _cluster(dt, n)
    steps = len(values)
    key = cell if steps == 1 else cell * steps + label
    if cells * steps <= max(4 * len(key), 1024):
        size = cells * steps
        present = np.flatnonzero(np.bincount(key, minlength=size))
        count = np.bincount(key, weights=n, minlength=size)[present]
        sums = [np.bincount(key, weights=s, minlength=size)[present] for s in (*s1.T, s2)]
    else:
        present, inverse = np.unique(key, return_inverse=True)
        count = np.bincount(inverse, weights=n)
        sums = [np.bincount(inverse, weights=s) for s in (*s1.T, s2)]
    return CellStatistics(
        present // steps, values[present % steps], count, np.stack(sums[:-1], axis=1), sums[-1], cells
    )
