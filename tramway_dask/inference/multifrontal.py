"""Cholesky factorization, and entries of the inverse, along a tree of nested dissection.

Every node of the tree holds a dense matrix, its front, over its own unknowns and those of its
ancestors that it is linked with, directly or through nodes below it [1]_. Eliminating its own
unknowns leaves an update for the front of its parent. From the root back to the leaves, the entries
of the inverse in each front follow from those in the front of the parent [2]_. All arithmetic is in
LAPACK's dense kernels.

References
----------
.. [1] I. S. Duff, J. K. Reid, "The multifrontal solution of indefinite sparse symmetric linear
   equations", ACM Transactions on Mathematical Software 9, 302–325, 1983.
.. [2] K. Takahashi, J. Fagan, M.-S. Chin, "Formation of a sparse bus impedance matrix and its
   application to short circuit study", PICA Conference, 1973.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dissection import LEAF, dissect

__all__ = ["TreeFactor", "TreePattern"]

FloatArray = NDArray[Any]
IntArray = NDArray[Any]


@dataclass(frozen=True, eq=False)
class _Front:
    """Own unknowns ``start:stop``, linked ancestors' `border`, places of the border in the parent's front."""

    start: int
    stop: int
    border: IntArray
    into: IntArray
    parent: int
    entries: slice

    @property
    def own(self) -> int:
        return self.stop - self.start

    @property
    def size(self) -> int:
        return self.own + len(self.border)


class TreePattern:
    """Positions of matrix entries in the fronts of a tree; see `pattern.Pattern`.

    The assembled matrix is the array of its lower entries, in the order of elimination.

    Parameters
    ----------
    places : (N, k) float
        Coordinates of the unknowns; see `dissection.dissect`.
    rows, cols : (E,) int
        Entries.
    leaf : int
        See `dissection.dissect`.
    """

    def __init__(self, places: FloatArray, rows: IntArray, cols: IntArray, *, leaf: int = LEAF) -> None:
        self.size = size = len(places)
        own = np.arange(size)
        self.lower = np.flatnonzero(rows >= cols)
        keys = np.concatenate([own * size + own, cols[self.lower] * size + rows[self.lower]])
        found, entry = np.unique(keys, return_inverse=True)
        first, second = np.divmod(found, size)
        apart = first != second
        node, parent = dissect(places, first[apart], second[apart], leaf=leaf)
        order, parent = _postorder(parent)
        node = order[node]
        self.rank = np.empty(size, dtype=np.intp)
        self.rank[np.argsort(node, kind="stable")] = own
        a, b = self.rank[first], self.rank[second]
        a, b = np.minimum(a, b), np.maximum(a, b)
        self._keys = a * size + b
        sort = np.argsort(self._keys)
        self._keys = self._keys[sort]
        position = np.empty(len(sort), dtype=np.intp)
        position[sort] = np.arange(len(sort))
        self._diagonal, self._entry = position[entry[:size]], position[entry[size:]]
        self.fronts, self._slots = _fronts(a[sort], b[sort], np.bincount(node, minlength=len(parent)), parent)

    def assemble(self, values: FloatArray) -> FloatArray:
        """Return the matrix of the entries' values (E,)."""
        return np.bincount(self._entry, weights=values[self.lower], minlength=len(self._keys))

    def add_diagonal(self, matrix: FloatArray, values: FloatArray) -> FloatArray:
        """Return the matrix with `values` (N,) added to its diagonal."""
        result = matrix.copy()
        result[self._diagonal] += values
        return result

    def diagonal(self, matrix: FloatArray) -> FloatArray:
        """Return the diagonal in the order of the unknowns."""
        return matrix[self._diagonal]

    def entries(self, rows: IntArray, cols: IntArray) -> IntArray:
        """Return the positions of entries in the assembled matrix."""
        r, c = self.rank[rows], self.rank[cols]
        return np.searchsorted(self._keys, np.minimum(r, c) * self.size + np.maximum(r, c))

    def factor(self, matrix: FloatArray) -> TreeFactor | None:
        """Return the Cholesky factor, or None if the matrix is not positive definite."""
        from scipy.linalg.blas import dtrsm
        from scipy.linalg.lapack import dpotrf

        pivots, borders = [], []
        waiting: list[list[tuple[IntArray, FloatArray]]] = [[] for _ in self.fronts]
        for k, front in enumerate(self.fronts):
            own = front.own
            full = np.zeros((front.size, front.size))
            full.reshape(-1)[self._slots[front.entries]] = matrix[front.entries]
            for into, update in waiting[k]:
                full[np.ix_(into, into)] += update
            waiting[k] = []
            pivot, border = full[:own, :own].T, full[:own, own:]
            if own:
                # `full` holds the upper triangle by rows, which LAPACK reads as the lower one by columns
                pivot, info = dpotrf(np.array(pivot, order="F"), lower=1, overwrite_a=1, clean=0)
                if info:
                    return None
                border = dtrsm(1.0, pivot, np.array(border, order="F"), side=0, lower=1, overwrite_b=1)
            pivots.append(pivot)
            borders.append(border)
            if len(front.border):
                update = full[own:, own:]
                waiting[front.parent].append((front.into, update - border.T @ border if own else update))
        return TreeFactor(self, pivots, borders)


@dataclass(frozen=True, eq=False)
class TreeFactor:
    """The Cholesky factor along a tree; see `pattern.Factor`.

    Attributes
    ----------
    pattern : TreePattern
    pivots : list of (s, s) float
        Per front, lower factor of its own unknowns.
    borders : list of (s, b) float
        Transposed factor between its own unknowns and its border.
    """

    pattern: TreePattern
    pivots: list[FloatArray]
    borders: list[FloatArray]

    def solve(self, right: FloatArray) -> FloatArray:
        """Solve for one right-hand side (N,), given and returned in the order of the unknowns."""
        from scipy.linalg.blas import dtrsv

        x = np.empty(len(right))
        x[self.pattern.rank] = right
        parts = list(zip(self.pattern.fronts, self.pivots, self.borders, strict=True))
        for front, pivot, border in parts:
            if front.own:
                x[front.start : front.stop] = y = dtrsv(pivot, x[front.start : front.stop], lower=1)
                x[front.border] -= y @ border
        for front, pivot, border in reversed(parts):
            if front.own:
                y = x[front.start : front.stop] - border @ x[front.border]
                x[front.start : front.stop] = dtrsv(pivot, y, lower=1, trans=1)
        return x[self.pattern.rank]

    def logdet(self) -> float:
        """Return the logarithm of the determinant."""
        return 2 * float(sum(np.log(np.diagonal(pivot)).sum() for pivot in self.pivots))

    def inverse_entries(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return entries of the inverse, all at places where the matrix may be non-zero."""
        from scipy.linalg.blas import dtrsm
        from scipy.linalg.lapack import dpotri

        fronts, slots = self.pattern.fronts, self.pattern._slots
        found = np.empty(len(slots))
        inverses: dict[int, FloatArray] = {}
        children = np.bincount([f.parent + 1 for f in fronts], minlength=len(fronts) + 1)[1:]
        for k in range(len(fronts) - 1, -1, -1):
            front, own = fronts[k], fronts[k].own
            inverse = np.empty((front.size, front.size))
            if len(front.border):
                inverse[own:, own:] = inverses[front.parent][np.ix_(front.into, front.into)]
            if front.parent >= 0:
                children[front.parent] -= 1
                if not children[front.parent]:
                    del inverses[front.parent]
            if own:
                # G = L_ss⁻ᵀ L_bsᵀ; Z_sb = −G Z_bb; Z_ss = (L_ss L_ssᵀ)⁻¹ − Z_sb Gᵀ
                gain = dtrsm(1.0, self.pivots[k], self.borders[k], side=0, lower=1, trans_a=1)
                beside = -(gain @ inverse[own:, own:])
                alone, _ = dpotri(self.pivots[k], lower=1)
                alone = np.tril(alone) + np.tril(alone, -1).T
                inverse[:own, :own] = alone - beside @ gain.T
                inverse[:own, own:] = beside
                inverse[own:, :own] = beside.T
                found[front.entries] = inverse.reshape(-1)[slots[front.entries]]
            if children[k]:
                inverses[k] = inverse
        return found[self.pattern.entries(rows, cols)]


def _postorder(parent: IntArray) -> tuple[IntArray, IntArray]:
    """Return numbers of the nodes that make each subtree contiguous, its root last, and the parents."""
    below = np.ones(len(parent), dtype=np.intp)
    for k in range(len(parent) - 1, 0, -1):
        below[parent[k]] += below[k]
    number = np.empty(len(parent), dtype=np.intp)
    free = np.zeros(len(parent), dtype=np.intp)
    for k, p in enumerate(parent):
        start = 0 if p < 0 else free[p]
        if p >= 0:
            free[p] += below[k]
        free[k] = start
        number[k] = start + below[k] - 1
    renumbered = np.empty_like(number)
    renumbered[number] = np.where(parent < 0, -1, number[parent])
    return number, renumbered


def _fronts(
    first: IntArray, second: IntArray, counts: IntArray, parent: IntArray
) -> tuple[list[_Front], IntArray]:
    """Return the fronts, and where each entry of the matrix lies in the rows of its front.

    Entries are given by the ranks of their unknowns, sorted, the smaller first.
    """
    stops = np.cumsum(counts)
    starts = stops - counts
    bounds = np.searchsorted(first, np.append(starts, stops[-1:]))
    slots = np.empty(len(first), dtype=np.intp)
    borders: list[list[IntArray]] = [[] for _ in parent]
    numbers: list[IntArray] = []
    for k, p in enumerate(parent):
        entries = slice(bounds[k], bounds[k + 1])
        linked = second[entries]
        border = np.unique(np.concatenate([linked[linked >= stops[k]], *borders[k]]))
        borders[k] = []
        border = border[np.searchsorted(border, stops[k]) :]
        if p >= 0 and len(border):
            borders[p].append(border)
        number = np.concatenate([np.arange(starts[k], stops[k]), border])
        slots[entries] = (first[entries] - starts[k]) * len(number) + np.searchsorted(number, linked)
        numbers.append(number)
    fronts = []
    for k, p in enumerate(parent):
        own = counts[k]
        border = numbers[k][own:]
        into = np.searchsorted(numbers[p], border) if p >= 0 else border
        fronts.append(_Front(starts[k], stops[k], border, into, p, slice(bounds[k], bounds[k + 1])))
    return fronts, slots
