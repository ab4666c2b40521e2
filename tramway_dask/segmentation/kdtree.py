"""KDTree: boxes halved along all axes until they hold few enough points (a quad-tree in 2-D)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..component import count, optional, setting
from ..errors import SegmentationError
from .calibration import Tesseller
from .locating import Locator
from .support import MAX_CELLS
from .tessellation import Tessellation, coordinates
from .voronoi import Cells

__all__ = ["KDTree", "Leaves"]

MAX_DEPTH = 50
MIN_COUNT = 20


@dataclass(frozen=True, eq=False)
class Leaves(Locator):
    """Leaves of a tree of boxes, in the order of their place along a Morton curve.

    Points outside of the root belong to the leaf at its border. A box holds its lower faces.

    Attributes
    ----------
    origin : ndarray (d,), µm
        Lower corner of the root.
    edge : ndarray (), µm
        Edge of the smallest box.
    depth : ndarray () of int
        The root has ``2 ** depth`` times that edge.
    starts : ndarray (m,) of int64
        Code of the first smallest box in each leaf.
    """

    kind: ClassVar[str] = "leaves"

    origin: np.ndarray
    edge: np.ndarray
    depth: np.ndarray
    starts: np.ndarray

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Return the leaf that holds each point."""
        depth = int(self.depth)
        codes = _code(_boxes(points, self.origin, float(self.edge), depth), depth)
        return np.searchsorted(self.starts, codes, side="right") - 1


@dataclass(eq=False, repr=False)
class KDTree(Tesseller):
    """Boxes, halved along all axes as long as they hold many points: a quad-tree, in any dimension.

    Parameters
    ----------
    max_level : int, optional
        Boxes larger than ``2 ** (max_level + 1)`` times the smallest are halved in any case.
    **parameters
        See `Tesseller`. The smallest boxes have the edge `avg_distance` (the resolution) or, if only
        that is set, at least `min_distance`. A box is halved while a part would hold more than
        `max_location_count` points (ten times the minimum), or all parts more than
        `min_location_count` (20).

    Notes
    -----
    As in TRamWAy (and InferenceMAP), but that points on a border are not lost: a box holds its lower
    faces. Points are assigned to the box that holds them, which is not always that of the nearest
    center. Boxes at the border are cut at that of the region, or reach to it: the areas add up.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).random((1000, 2))
    >>> KDTree(resolution=0.1).tessellate(points, box=[[0, 0], [1, 1]]).number_of_cells
    19
    """

    max_level: int | None = setting(None, check=optional(count))

    def _grow(self, points: Any, box: np.ndarray) -> Tessellation:
        xy = coordinates(points)
        size, dimension = xy.shape
        least, most = self._counts(size)
        lower, upper = xy.min(axis=0), xy.max(axis=0)
        half = float((upper - lower).max()) / 2
        if not half:
            raise SegmentationError("all points are at the same place: KDTree has nothing to divide")
        edge, depth = self._levels(points, half, box)
        shallow = min(62 // dimension, MAX_DEPTH)
        if depth > shallow:
            edge, depth = edge * 2.0 ** (depth - shallow), shallow
        # TRamWAy's root has its lower corner at that of the smallest cube around the data
        origin = (lower + upper) / 2 - half
        codes = np.sort(_code(_boxes(xy, origin, edge, depth), depth))
        forced = 0 if self.max_level is None else max(0, depth - self.max_level - 1)
        starts, levels = _split(codes, depth, dimension, least, most, forced)
        return _mesh(Leaves(origin, np.asarray(edge), np.asarray(depth), starts), levels, box)

    def _counts(self, size: int) -> tuple[int, int]:
        """Return the numbers of points that decide on halving."""
        least = MIN_COUNT if self.min_location_count is None else self.min_location_count
        if self.min_probability is not None:
            least = round(self.min_probability * size)
        most = 10 * least if self.max_location_count is None else self.max_location_count
        if self.max_probability is not None:
            most = round(self.max_probability * size)
        if most < least:
            raise SegmentationError(
                f"KDTree: max_location_count {most} is smaller than min_location_count {least}"
            )
        return least, most

    def _levels(self, points: Any, half: float, box: np.ndarray) -> tuple[float, int]:
        """Return the edge of the smallest boxes, and how often the root may be halved."""
        calibration = self.calibration(points)
        free = self.resolution is None and self.avg_distance is None and self.rel_avg_distance is None
        if free and self.min_distance:
            depth = max(0, math.ceil(math.log2(half / self.min_distance)) + 1)
            return 2 * half * 2.0**-depth, depth
        if calibration.avg_distance is None:
            return 2 * half * 2.0**-MAX_DEPTH, MAX_DEPTH
        edge = self._distance(calibration, box)
        return edge, max(0, math.ceil(math.log2(half / edge)) + 1)


def _boxes(points: np.ndarray, origin: np.ndarray, edge: float, depth: int) -> np.ndarray:
    """Return the place of the smallest box of each point along each axis, within the root."""
    return np.clip(np.floor((points - origin) / edge), 0, 2.0**depth - 1).astype(np.int64)


def _code(place: np.ndarray, depth: int) -> np.ndarray:
    """Return numbers along a Morton curve: the bits of all axes in turn, the first axis in front."""
    dimension = place.shape[1]
    code = np.zeros(len(place), np.int64)
    for bit in range(depth):
        for axis in range(dimension):
            code |= ((place[:, axis] >> bit) & 1) << (bit * dimension + dimension - 1 - axis)
    return code


def _place(code: np.ndarray, depth: int, dimension: int) -> np.ndarray:
    """Return the coordinates along each axis of numbers along a Morton curve."""
    place = np.zeros((len(code), dimension), np.int64)
    for bit in range(depth):
        for axis in range(dimension):
            place[:, axis] |= ((code >> (bit * dimension + dimension - 1 - axis)) & 1) << bit
    return place


def _split(
    codes: np.ndarray, depth: int, dimension: int, least: int, most: int, forced: int
) -> tuple[np.ndarray, np.ndarray]:
    """Halve boxes, level by level.

    Parameters
    ----------
    codes : ndarray (N,) of int64
        Of the points, sorted.
    depth, dimension : int
    least, most : int
        Halve if any part holds more than `most` points, or all parts more than `least`.
    forced : int
        Number of levels at which all boxes are halved.

    Returns
    -------
    starts : ndarray (m,) of int64, sorted
    levels : ndarray (m,) of int
        How often the root was halved to make each leaf.
    """
    starts, levels = [np.empty(0, np.int64)], [np.empty(0, np.intp)]
    open_: np.ndarray = np.zeros(1, np.int64)
    parts, number = 2**dimension, 0
    for level in range(depth + 1):
        split = np.zeros(len(open_), bool)
        if level < depth:
            width = np.int64(1) << (dimension * (depth - level - 1))
            edges = open_[:, None] + width * np.arange(parts + 1)
            held = np.diff(np.searchsorted(codes, edges), axis=1)
            split = (held.sum(axis=1) > least) & ((held > most).any(axis=1) | (held > least).all(axis=1))
            split |= level < forced
        leaves = open_[~split]
        starts.append(leaves)
        levels.append(np.full(len(leaves), level))
        number += len(leaves)
        if number + parts * int(split.sum()) > MAX_CELLS:
            raise SegmentationError(
                f"KDTree: max_level and the resolution would make over {MAX_CELLS:,} cells; raise one of them"
            )
        if not split.any():
            break
        open_ = edges[split, :-1].ravel()
    start, found = np.concatenate(starts), np.concatenate(levels)
    order = np.argsort(start)
    return start[order], found[order]


def _mesh(leaves: Leaves, levels: np.ndarray, box: np.ndarray) -> Tessellation:
    """Return the tessellation of the leaves, cut at the box."""
    depth, dimension, edge = int(leaves.depth), len(leaves.origin), float(leaves.edge)
    size = np.int64(1) << (depth - levels)
    corner = _place(leaves.starts, depth, dimension)
    lower = leaves.origin + edge * corner
    upper = leaves.origin + edge * (corner + size[:, None])
    centers = (lower + upper) / 2
    # points outside of the root belong to the leaf at its border
    low = np.clip(np.where(corner == 0, -np.inf, lower), *box)
    high = np.clip(np.where(corner + size[:, None] == 1 << depth, np.inf, upper), *box)
    areas = np.prod(high - low, axis=1)
    vertices, offsets = np.empty((0, 2)), np.zeros(len(areas) + 1, np.intp)
    if dimension == 2:
        (left, bottom), (right, top) = low.T, high.T
        outlines = np.stack([left, bottom, right, bottom, right, top, left, top], axis=1).reshape(-1, 4, 2)
        vertices = outlines[areas > 0].reshape(-1, 2)
        offsets = np.append(0, 4 * np.cumsum(areas > 0)).astype(np.intp)
    pairs = _faces(leaves, levels, corner, size)
    return Tessellation.from_cells(
        centers, box, Cells(areas, pairs, vertices, offsets), pairs=pairs, lattice=leaves
    )


def _faces(leaves: Leaves, levels: np.ndarray, corner: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the pairs of leaves that share a face: each leaf and those beyond its faces, if not smaller."""
    depth, dimension = int(leaves.depth), corner.shape[1]
    pairs = [np.empty((0, 2), np.intp)]
    for axis in range(dimension):
        for step in (-np.ones_like(size), size):
            beyond = corner.copy()
            beyond[:, axis] += step
            rows = np.flatnonzero((beyond[:, axis] >= 0) & (beyond[:, axis] < 1 << depth))
            found = np.searchsorted(leaves.starts, _code(beyond[rows], depth), side="right") - 1
            larger = levels[found] <= levels[rows]
            pairs.append(np.sort(np.column_stack([rows, found])[larger], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)
