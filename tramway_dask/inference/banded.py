"""Symmetric banded matrices: ordering, assembly, Cholesky, and the band of the inverse.

The Hessians of coupled models link each cell with its neighbours and theirs. Numbered along
the reverse Cuthill–McKee order they have a narrow band, so that LAPACK's banded Cholesky
factorization takes milliseconds, and tells whether the matrix is positive definite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BandPattern", "cell_order"]

FloatArray = NDArray[Any]
IntArray = NDArray[Any]


def cell_order(indptr: IntArray, indices: IntArray) -> IntArray:
    """Return the rank (m,) of each cell along the reverse Cuthill–McKee order of the graph."""
    import scipy.sparse as sp
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    m = len(indptr) - 1
    ones = np.ones(len(indices), dtype=np.int8)
    graph = sp.csr_array((ones, indices.astype(np.int32), indptr.astype(np.int32)), shape=(m, m))
    rank = np.empty(m, dtype=np.intp)
    rank[reverse_cuthill_mckee(graph, symmetric_mode=True)] = np.arange(m)
    return rank


class BandPattern:
    """Positions of matrix entries within the lower band, found once for many assemblies.

    Parameters
    ----------
    rank : (N,) int
        Position of each unknown along the band.
    rows, cols : (E,) int
        Entries, in any order; several may fall on one position and add up. Both halves of
        the symmetric matrix are given; the upper one is dropped.
    """

    def __init__(self, rank: IntArray, rows: IntArray, cols: IntArray) -> None:
        self.rank, self.size = rank, len(rank)
        r, c = rank[rows], rank[cols]
        self.lower = np.flatnonzero(r >= c)
        r, c = r[self.lower], c[self.lower]
        self.width = int((r - c).max(initial=0)) + 1
        self._slots = c * self.width + (r - c)

    def band(self, values: FloatArray) -> FloatArray:
        """Assemble the lower band (width, N), in LAPACK's layout, from the entries' values (E,)."""
        flat = np.bincount(self._slots, weights=values[self.lower], minlength=self.size * self.width)
        return flat.reshape(self.size, self.width).T

    def add_diagonal(self, band: FloatArray, values: FloatArray) -> FloatArray:
        """Return the band with `values` (N,), in the order of the unknowns, added to its diagonal."""
        result = band.copy(order="F")
        result[0, self.rank] += values
        return result

    def diagonal(self, band: FloatArray) -> FloatArray:
        """Return the diagonal in the order of the unknowns."""
        return band[0, self.rank]

    def factor(self, band: FloatArray) -> FloatArray | None:
        """Return the banded Cholesky factor, or None if the matrix is not positive definite."""
        from scipy.linalg.lapack import dpbtrf

        factor, info = dpbtrf(band, lower=1)
        return factor if info == 0 else None

    def solve(self, factor: FloatArray, right: FloatArray) -> FloatArray:
        """Solve for one right-hand side (N,), given and returned in the order of the unknowns."""
        from scipy.linalg.lapack import dpbtrs

        permuted = np.empty(self.size)
        permuted[self.rank] = right
        solution, _ = dpbtrs(factor, permuted, lower=1)
        return solution[self.rank]

    def inverse_entries(self, band: FloatArray, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return entries of the inverse of a positive definite matrix, all within the band.

        The matrix is taken as block tridiagonal; the blocks of its inverse next to the
        diagonal follow from a forward and a backward recursion [1]_, at the cost of a few
        factorizations, whereas the whole inverse costs N³.

        References
        ----------
        .. [1] K. Takahashi, J. Fagan, M.-S. Chin, "Formation of a sparse bus impedance matrix
           and its application to short circuit study", PICA Conference, 1973.
        """
        from scipy.linalg.lapack import dpotrf, dpotri

        step = min(max(self.width, 48), self.size)
        blocks = -(-self.size // step)
        diagonal, below = _split(band, step, blocks)
        inverses = np.empty_like(diagonal)
        for k in range(blocks):
            pivot = diagonal[k]
            if k:
                pivot = pivot - below[k - 1] @ inverses[k - 1] @ below[k - 1].T
            inverse, _ = dpotri(dpotrf(pivot, lower=1)[0], lower=1)
            inverses[k] = np.tril(inverse) + np.tril(inverse, -1).T
        beside = np.zeros_like(diagonal)
        for k in range(blocks - 2, -1, -1):
            gain = inverses[k] @ below[k].T
            beside[k] = -(inverses[k + 1] @ gain.T)
            inverses[k] -= gain @ beside[k]
        r, c = self.rank[rows], self.rank[cols]
        r, c = np.maximum(r, c), np.minimum(r, c)
        kr, kc = r // step, c // step
        return np.where(kr == kc, inverses[kc, r % step, c % step], beside[kc, r % step, c % step])


def _split(band: FloatArray, step: int, blocks: int) -> tuple[FloatArray, FloatArray]:
    width, size = band.shape
    padded = np.zeros((width, blocks * step))
    padded[:, :size] = band
    padded[0, size:] = 1.0
    columns = np.broadcast_to(np.arange(blocks * step), padded.shape)
    offsets = np.broadcast_to(np.arange(width)[:, None], padded.shape)
    block, local = columns // step, columns % step
    row = local + offsets
    inside = row < step
    diagonal = np.zeros((blocks, step, step))
    below = np.zeros((blocks, step, step))
    diagonal[block[inside], row[inside], local[inside]] = padded[inside]
    diagonal[block[inside], local[inside], row[inside]] = padded[inside]
    outside = ~inside & (block < blocks - 1)
    below[block[outside], row[outside] - step, local[outside]] = padded[outside]
    return diagonal, below
