"""Symmetric banded matrices: assembly, Cholesky, and the band of the inverse.

The Hessians of coupled models link each cell with its neighbours and theirs. Numbered along
the reverse Cuthill–McKee order they have a narrow band, so that LAPACK's banded Cholesky
factorization takes milliseconds, and tells whether the matrix is positive definite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BandFactor", "BandPattern"]

FloatArray = NDArray[Any]
IntArray = NDArray[Any]


class BandPattern:
    """Positions of matrix entries within the lower band; see `pattern.Pattern`.

    Parameters
    ----------
    rank : (N,) int
        Position of each unknown along the band.
    rows, cols : (E,) int
        Entries.
    """

    def __init__(self, rank: IntArray, rows: IntArray, cols: IntArray) -> None:
        self.rank, self.size = rank, len(rank)
        r, c = rank[rows], rank[cols]
        self.lower = np.flatnonzero(r >= c)
        r, c = r[self.lower], c[self.lower]
        self.width = int((r - c).max(initial=0)) + 1
        self._slots = c * self.width + (r - c)

    def assemble(self, values: FloatArray) -> FloatArray:
        """Return the lower band (width, N), in LAPACK's layout, of the entries' values (E,)."""
        flat = np.bincount(self._slots, weights=values[self.lower], minlength=self.size * self.width)
        return flat.reshape(self.size, self.width).T

    def add_diagonal(self, matrix: FloatArray, values: FloatArray) -> FloatArray:
        """Return the band with `values` (N,), in the order of the unknowns, added to its diagonal."""
        result = matrix.copy(order="F")
        result[0, self.rank] += values
        return result

    def diagonal(self, matrix: FloatArray) -> FloatArray:
        """Return the diagonal in the order of the unknowns."""
        return matrix[0, self.rank]

    def factor(self, matrix: FloatArray) -> BandFactor | None:
        """Return the banded Cholesky factor, or None if the matrix is not positive definite."""
        from scipy.linalg.lapack import dpbtrf

        factor, info = dpbtrf(matrix, lower=1)
        return BandFactor(self.rank, matrix, factor) if info == 0 else None


@dataclass(frozen=True, eq=False)
class BandFactor:
    """The Cholesky factor of a banded matrix; see `pattern.Factor`.

    Attributes
    ----------
    rank : (N,) int
    band, lower : (width, N) float
        The matrix and its factor.
    """

    rank: IntArray
    band: FloatArray
    lower: FloatArray

    def solve(self, right: FloatArray) -> FloatArray:
        """Solve for one right-hand side (N,), given and returned in the order of the unknowns."""
        from scipy.linalg.lapack import dpbtrs

        permuted = np.empty(len(self.rank))
        permuted[self.rank] = right
        solution, _ = dpbtrs(self.lower, permuted, lower=1)
        return solution[self.rank]

    def logdet(self) -> float:
        """Return the logarithm of the determinant."""
        return 2 * float(np.log(self.lower[0]).sum())

    def inverse_entries(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return entries of the inverse, all within the band.

        The matrix is taken as block tridiagonal; the blocks of its inverse next to the
        diagonal follow from a forward and a backward recursion [1]_, at the cost of a few
        factorizations, whereas the whole inverse costs N³.

        References
        ----------
        .. [1] K. Takahashi, J. Fagan, M.-S. Chin, "Formation of a sparse bus impedance matrix
           and its application to short circuit study", PICA Conference, 1973.
        """
        from scipy.linalg.lapack import dpotrf, dpotri

        width, size = self.band.shape
        step = min(max(width, 48), size)
        blocks = -(-size // step)
        diagonal, below = _split(self.band, step, blocks)
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
