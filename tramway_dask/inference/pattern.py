"""Sparse symmetric matrices of coupled models: what solvers ask of them, and how they are chosen.

Whatever the order in which unknowns are eliminated, the same few operations are enough for
Newton's method, for standard errors and for the evidence: `Pattern` and `Factor` name them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["CellOrder", "Factor", "Pattern", "matrix_pattern"]

FloatArray = NDArray[Any]
IntArray = NDArray[Any]

# operations beyond which a tree of nested dissection beats the band, by measurement
_BANDED = 2e7


class Factor(Protocol):
    """The Cholesky factor of a positive definite matrix; unknowns are numbered as in the matrix."""

    def solve(self, right: FloatArray) -> FloatArray:
        """Solve for one right-hand side (N,)."""

    def logdet(self) -> float:
        """Return the logarithm of the determinant."""

    def inverse_entries(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return the entries (E,) of the inverse at places where the matrix may be non-zero."""


class Pattern(Protocol):
    """Where a symmetric matrix (N, N) may be non-zero, found once for many assemblies.

    It is made of the places of entries, in any order; several may fall on one place and add up.
    Both halves of the matrix are given; the upper one is dropped. An assembled matrix is an
    array that only its pattern can read.
    """

    size: int

    def assemble(self, values: FloatArray) -> FloatArray:
        """Return the matrix made of the values (E,) of the entries."""

    def add_diagonal(self, matrix: FloatArray, values: FloatArray) -> FloatArray:
        """Return a copy of the matrix with `values` (N,) added to its diagonal."""

    def diagonal(self, matrix: FloatArray) -> FloatArray:
        """Return the diagonal (N,)."""

    def factor(self, matrix: FloatArray) -> Factor | None:
        """Return the Cholesky factor, or None if the matrix is not positive definite."""


@dataclass(frozen=True, eq=False)
class CellOrder:
    """What orders of elimination are made of: cells' links and places.

    Attributes
    ----------
    indptr, indices : (m + 1,), (E,) int
        Linked cells in CSR form.
    places : (m, k) float
        Coordinates, of any unit each: centers, and times where cells are linked in time.
    """

    indptr: IntArray
    indices: IntArray
    places: FloatArray

    @cached_property
    def rank(self) -> IntArray:
        """Rank (m,) of each cell along the reverse Cuthill–McKee order of the links."""
        import scipy.sparse as sp
        from scipy.sparse.csgraph import reverse_cuthill_mckee

        m = len(self.indptr) - 1
        ones = np.ones(len(self.indices), dtype=np.int8)
        links = self.indices.astype(np.int32), self.indptr.astype(np.int32)
        rank = np.empty(m, dtype=np.intp)
        graph = sp.csr_array((ones, *links), shape=(m, m))
        rank[reverse_cuthill_mckee(graph, symmetric_mode=True)] = np.arange(m)
        return rank

    def linked_in_time(self, indptr: IntArray, indices: IntArray, times: FloatArray) -> CellOrder:
        """Return the order with links in time added, and the times (m,) as another coordinate."""
        import scipy.sparse as sp

        m = len(self.indptr) - 1
        space, time = (
            sp.csr_array((np.ones(len(i)), i, p), shape=(m, m))
            for p, i in ((self.indptr, self.indices), (indptr, indices))
        )
        total = sp.csr_array(space + time)
        return CellOrder(total.indptr, total.indices, np.column_stack([self.places, times]))


def matrix_pattern(order: CellOrder, fields: int, rows: IntArray, cols: IntArray) -> Pattern:
    """Return the pattern of a matrix over `fields` unknowns per cell.

    Parameters
    ----------
    order : CellOrder
    fields : int
        Unknown k of cell i, of m cells, is number k m + i.
    rows, cols : (E,) int
        Entries, see `Pattern`.
    """
    from .banded import BandPattern

    rank = np.concatenate([fields * order.rank + k for k in range(fields)])
    width = int(np.abs(rank[rows] - rank[cols]).max(initial=0)) + 1
    if len(rank) * width**2 <= _BANDED:
        return BandPattern(rank, rows, cols)
    from .multifrontal import TreePattern

    return TreePattern(np.tile(order.places, (fields, 1)), rows, cols)
