"""Densities and volumes that are made of the points, not of the cells."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..component import boolean, one_of, setting
from ..errors import InferenceError
from ..segmentation.voronoi import clipped_voronoi
from .base import Mapper
from .inputs import Inputs, space_columns
from .maps import Maps, error_column
from .model import LOST
from .spatial import finish

__all__ = ["LocalDensity", "SphericalVolume", "bounding_spheres"]

FloatArray = NDArray[Any]
IntArray = NDArray[Any]


def _origins(partition: Any) -> FloatArray:
    points = partition.points
    return points[space_columns(points)].to_numpy(dtype=float)


@dataclass(eq=False, repr=False, kw_only=True)
class LocalDensity(Mapper):
    """Density of points (µm⁻ᵈ) by the areas of their own Voronoi cells, averaged in each cell.

    As SR-Tesseler [1]_ and TRamWAy's ``srtesseler.density``, but Voronoi cells end at the
    region's box. Points at the same place share one cell. The average of inverse areas is well
    above the density of points spread at random (1.4 times in 2-D): compare it with itself only.

    Parameters
    ----------
    rank : {0, 1}
        1: density of a point and its neighbours together, which is smoother.
    volume_weighted : bool
        Accepted; has no effect, as in TRamWAy.

    References
    ----------
    .. [1] Levet et al., SR-Tesseler, Nature Methods 12, 1065–1071 (2015).
    """

    rank: int = setting(0, check=one_of(0, 1))
    volume_weighted: bool = setting(True, check=boolean)

    lost: ClassVar[Mapping[str, str]] = {"worker_count": LOST["worker_count"]}

    @property
    def name(self) -> str:
        """TRamWAy's name of the mapper."""
        return "srtesseler.density"

    def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
        """Average the density of the points of each cell; the error is that of the mean."""
        began = time.perf_counter()
        inputs = Inputs.of(partition)
        owner = np.repeat(np.arange(len(partition.indptr) - 1), np.diff(partition.indptr))
        value = np.empty(len(partition.indices))
        segment = np.asarray(partition.segment_of_cell)[owner]
        for k in np.unique(segment):
            own = np.flatnonzero(segment == k)
            rows, position = np.unique(partition.indices[own], return_inverse=True)
            points = _origins(partition)[rows]
            value[own] = self._density(points, partition.tessellation.spatial_mesh.box)[position]
        n = np.bincount(owner)[inputs.cells]
        mean = np.bincount(owner, weights=value)[inputs.cells] / n
        square = np.bincount(owner, weights=value**2)[inputs.cells] / n
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.where(n > 1, np.sqrt(np.maximum(square - mean**2, 0) / (n - 1)), np.nan)
        columns = {"density": mean, error_column("density"): error}
        return finish(
            inputs, columns, {"converged": True, "settings": self._parameters_set()}, self.name, sigma, began
        )

    def _density(self, points: FloatArray, box: FloatArray) -> FloatArray:
        places, number, many = np.unique(points, axis=0, return_inverse=True, return_counts=True)
        if len(places) < 2:
            raise InferenceError("all points are at the same place: their density is not known")
        cells = clipped_voronoi(
            places, np.stack([np.minimum(box[0], places.min(axis=0)), np.maximum(box[1], places.max(axis=0))])
        )
        area, total = cells.areas.copy(), many.astype(float)
        if self.rank:
            i, j = cells.pairs.T
            size = len(places)
            for a, b in ((i, j), (j, i)):
                area += np.bincount(a, weights=cells.areas[b], minlength=size)
                total += np.bincount(a, weights=many[b], minlength=size)
        return (total / area)[number.ravel()]


def bounding_spheres(points: FloatArray, indptr: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return centers (m, d) and radii (m,) of spheres around groups of points, none empty.

    Ritter's algorithm: a sphere on the diameter between two far points grows until no point is
    outside; it is at most some 20 % larger than the smallest.

    Parameters
    ----------
    points : (N, d) float, µm
    indptr : (m + 1,) int
        Group i is ``points[indptr[i]:indptr[i + 1]]``.
    """
    m = len(indptr) - 1
    group = np.repeat(np.arange(m), np.diff(indptr))

    def furthest(center: FloatArray) -> tuple[IntArray, FloatArray]:
        gap = points - center[group]
        squared = np.einsum("nk,nk->n", gap, gap)
        largest = np.maximum.reduceat(squared, indptr[:-1])
        at = np.flatnonzero(squared == largest[group])
        return at[np.searchsorted(group[at], np.arange(m))], np.sqrt(largest)

    one = points[furthest(points[indptr[:-1]])[0]]
    other = points[furthest(one)[0]]
    center = (one + other) / 2
    radius = np.sqrt(np.einsum("mk,mk->m", one - other, one - other)) / 2
    while True:
        at, distance = furthest(center)
        outside = distance > radius * (1 + 1e-12) + 1e-300
        if not outside.any():
            return center, radius
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(outside, (distance - radius) / (2 * distance), 0.0)
        center = center + share[:, None] * (points[at] - center)
        radius = np.where(outside, (distance + radius) / 2, radius)


@dataclass(eq=False, repr=False, kw_only=True)
class SphericalVolume(Mapper):
    """Area or volume (µm^d) of a sphere around the points of each cell.

    The sphere holds the cell's points, and grows up to the nearest point of a neighbouring cell.
    Cells without non-empty neighbour get no row, as in TRamWAy. In 2-D it is the disc's area
    πr², where TRamWAy's ``spherical.volume`` is 4πr³/3 always.
    """

    lost: ClassVar[Mapping[str, str]] = {
        "worker_count": LOST["worker_count"],
        "bounding_sphere": "it is always Ritter's",
    }

    @property
    def name(self) -> str:
        """TRamWAy's name of the mapper."""
        return "spherical.volume"

    def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
        """Return the volumes."""
        began = time.perf_counter()
        inputs = Inputs.of(partition).connected()
        if not len(inputs.cells):
            raise InferenceError("no two neighbouring cells hold points: no sphere has a limit")
        sizes = np.diff(partition.indptr)[inputs.cells]
        indptr = np.r_[0, np.cumsum(sizes)]
        start = np.asarray(partition.indptr)[inputs.cells]
        points = _origins(partition)[partition.indices[_ranges(start, sizes)]]
        center, radius = bounding_spheres(points, indptr)
        near_indptr, near = inputs.neighbours
        cell = np.repeat(np.arange(len(sizes)), np.diff(near_indptr))
        row = np.repeat(cell, sizes[near])
        gap = points[_ranges(indptr[near], sizes[near])] - center[row]
        nearest = np.full(len(sizes), np.inf)
        np.minimum.at(nearest, row, np.sqrt(np.einsum("nk,nk->n", gap, gap)))
        radius = np.maximum(radius, nearest)
        volume = np.pi * radius**2 if points.shape[1] == 2 else 4 / 3 * np.pi * radius**3
        return finish(
            inputs,
            {"volume": volume},
            {"converged": True, "settings": self._parameters_set()},
            self.name,
            sigma,
            began,
        )


def _ranges(start: IntArray, sizes: IntArray) -> IntArray:
    """Return start[0], start[0] + 1, …, for sizes[0] numbers, then start[1], …."""
    shift = np.repeat(start - np.r_[0, np.cumsum(sizes)[:-1]], sizes)
    return np.arange(int(sizes.sum())) + shift
