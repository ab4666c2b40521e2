"""Gradient by a local polynomial of degree 2, as a sparse operator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gradient import Gradient, insert_diagonal

__all__ = ["gradn"]

FloatArray = NDArray[Any]
IntArray = NDArray[Any]

# scale of the quadratic terms: what few neighbours do not tell apart is taken for a slope
_CURVATURE = 1e-4
_RANK = 1e-10
_DETERMINED = 1e-3
# rows per batch of singular value decompositions
_BATCH = 20_000


def gradn(centers: FloatArray, indptr: IntArray, indices: IntArray) -> Gradient:
    """Build the gradient operator of local least squares.

    For each cell i, the polynomial ``X_i + g·δ + δᵀHδ/2`` is fitted to its neighbours at
    offsets δ, and the gradient is g: exact on quadratic fields where there are at least
    d (d + 3)/2 neighbours in general position, and on linear ones where there are fewer but
    they span the space. On axes that the neighbours do not determine it is undefined. TRamWAy
    fits the same polynomial, but mistakes its coefficients for one another.

    Parameters
    ----------
    centers : (m, d) float, µm
    indptr, indices : (m + 1,), (E,) int
        Neighbours of each cell in CSR form, without the cell itself.
    """
    m, d = centers.shape
    counts = np.diff(indptr)
    off = np.zeros((d, len(indices)))
    diagonal = np.zeros((d, m))
    defined = np.zeros((d, m), dtype=bool)
    for count in np.unique(counts[counts > 0]):
        same = np.flatnonzero(counts == count)
        for rows in np.array_split(same, -(-len(same) // _BATCH)):
            edges = indptr[rows][:, None] + np.arange(count)
            weights, known = _fit(centers[indices[edges]] - centers[rows][:, None, :])
            off[:, edges] = weights.transpose(1, 0, 2)
            diagonal[:, rows] = -weights.sum(axis=2).T
            defined[:, rows] = known.T
    off[~defined[:, np.repeat(np.arange(m), counts)]] = 0.0
    diagonal[~defined] = 0.0
    return Gradient(*insert_diagonal(indptr, indices, off, diagonal), defined)


def _fit(offsets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the weights (r, d, k) of k neighbours at offsets (r, k, d), and whether axes are determined."""
    d = offsets.shape[2]
    scale = np.sqrt(np.mean(np.sum(offsets**2, axis=2), axis=1))[:, None, None]
    scale[scale == 0] = 1.0
    x = offsets / scale
    u, v = np.triu_indices(d)
    design = np.concatenate([x, _CURVATURE * x[:, :, u] * x[:, :, v]], axis=2)
    inverse = np.linalg.pinv(design, rcond=_RANK)[:, :d]
    resolution = np.einsum("rdk,rkd->rd", inverse, design[:, :, :d])
    return inverse / scale, resolution > 1 - _DETERMINED
