"""Cells around centers drawn at random: Random, and Kohonen, whose centers then learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..component import boolean, count, optional, positive, setting
from ..errors import SegmentationError, SpecificationError
from .calibration import Calibration, Tesseller
from .gas import neighbours_of, pull, visits
from .support import check_cell_count
from .tessellation import Tessellation, coordinates
from .voronoi import clipped_voronoi

__all__ = ["Kohonen", "Random"]

NEIGHBOURS = 10


def _cell_count(name: str, value: Any) -> int:
    if not count(name, value):
        raise SpecificationError(f"{name}: expected a whole number from 1 up, got {value!r}")
    return count(name, value)


def _bound(name: str, value: Any) -> Any:
    if value is None:
        return None
    try:
        bound = tuple(float(v) for v in value)
    except (TypeError, ValueError):
        bound = ()
    if len(bound) not in (2, 3) or not np.isfinite(bound).all():
        raise SpecificationError(f"{name}: expected 2 or 3 coordinates (µm), got {value!r}")
    return bound


def _numbers(*lengths: int) -> Any:
    def check(name: str, value: Any) -> tuple[float, ...]:
        if not isinstance(value, tuple | list) or len(value) not in lengths:
            raise SpecificationError(f"{name}: expected {lengths[0]} numbers, got {value!r}")
        found = tuple(positive(name, v) for v in value)
        return value if value == found else found

    return check


def _number_of_cells(calibration: Calibration, extent: np.ndarray, distance: Any) -> int:
    """Return the number of cells that the count criterion or the resolution asks for."""
    if calibration.avg_probability:
        return max(1, int(1 / calibration.avg_probability * (1 + 1e-12)))
    wide = extent[extent > 0]
    step = distance()
    check_cell_count(extent, step)
    return max(1, round(float(np.prod(wide / step)))) if len(wide) else 1


@dataclass(eq=False, repr=False)
class Random(Tesseller):
    """Cells around centers drawn uniformly from the points' bounding box.

    Parameters
    ----------
    cell_count : int, optional
        Number of centers. Default: as the count criterion or the resolution asks for.
    allow_empty_cells : bool
        Whether cells without points stay.
    lower_bound, upper_bound : sequence of float, optional, µm
        Corners of the box from which centers are drawn.
    seed : int
    **parameters
        See `Tesseller`.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).random((1000, 2))
    >>> Random(cell_count=10).tessellate(points).number_of_cells
    10
    """

    cell_count: int | None = setting(None, check=optional(_cell_count))
    allow_empty_cells: bool = setting(False, check=boolean)
    lower_bound: Any = setting(None, check=_bound)
    upper_bound: Any = setting(None, check=_bound)
    seed: int = setting(0, check=count)

    def _grow(self, points: Any, box: np.ndarray) -> Tessellation:
        xy = coordinates(points)
        lower, upper = self._bounds(xy, box)
        size = self.cell_count
        if size is None:
            calibration = self.calibration(points)
            size = _number_of_cells(calibration, upper - lower, lambda: self._distance(calibration, box))
        centers = np.random.default_rng(self.seed).uniform(lower, upper, (size, xy.shape[1]))
        mesh = Tessellation.from_cells(centers, box, clipped_voronoi(centers, box))
        if self.allow_empty_cells:
            return mesh
        held = np.bincount(mesh.cell_index(xy), minlength=size)
        if held.all():
            return mesh
        centers = centers[held > 0]
        return Tessellation.from_cells(centers, box, clipped_voronoi(centers, box))

    def _bounds(self, xy: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = []
        for name, default in (("lower_bound", xy.min(axis=0)), ("upper_bound", xy.max(axis=0))):
            bound = getattr(self, name)
            if bound is not None and len(bound) != xy.shape[1]:
                raise SegmentationError(
                    f"Random.{name}: expected {xy.shape[1]} coordinates as the data have, got {len(bound)}"
                )
            found.append(default if bound is None else np.clip(bound, *box))
        lower, upper = found
        if (lower > upper).any():
            raise SegmentationError(
                f"Random: lower_bound {lower.tolist()} is above upper_bound {upper.tolist()} within the region"
            )
        return lower, upper


@dataclass(eq=False, repr=False)
class Kohonen(Tesseller):
    """Cells around the nodes of a self-organizing map.

    Nodes start at points drawn with probabilities that follow the density. Then points are drawn, and
    each pulls the nearest node, and less its neighbours, by steps that become smaller.

    Parameters
    ----------
    step_size : (float, float, float)
        First step, step after as many draws as there are points, and exponent of the decrease.
    neighbourhood_weight : (float, float)
        Weight of the step for the nearest node, and for its neighbours.
    pass_count : float
        Draws, in multiples of the number of points.
    seed : int
    **parameters
        See `Tesseller`.

    Notes
    -----
    The neighbours are those of the nodes' first places, as in TRamWAy. The density is that of the ten
    nearest neighbours of each point. Points are shown in mini-batches, as described in `GWR`. The order
    of the rows does not matter.

    References
    ----------
    Kohonen, T. (1982). Self-organized formation of topologically correct feature maps. Biological
    Cybernetics 43, 59-69.
    """

    step_size: tuple[float, float, float] = setting((0.1, 0.01, 0.55), check=_numbers(3))
    neighbourhood_weight: tuple[float, float] = setting((1.0, 0.1), check=_numbers(2))
    pass_count: float = setting(5.0, check=positive)
    seed: int = setting(0, check=count)

    def _grow(self, points: Any, box: np.ndarray) -> Tessellation:
        from scipy.spatial import cKDTree

        xy = coordinates(points)
        xy = np.ascontiguousarray(xy[np.lexsort(xy.T[::-1])])
        calibration = self.calibration(points)
        extent = np.ptp(xy, axis=0)
        wanted = _number_of_cells(calibration, extent, lambda: self._distance(calibration, box))
        rng = np.random.default_rng(self.seed)
        radius = cKDTree(xy).query(xy, k=[min(NEIGHBOURS + 1, len(xy))])[0][:, 0]
        density = 1 / np.maximum(radius, 1e-3 * float(extent.max()) / len(xy) + 1e-300)
        chosen = np.searchsorted(np.cumsum(density), rng.random(wanted) * density.sum())
        nodes = np.unique(xy[np.minimum(chosen, len(xy) - 1)], axis=0)
        self._learn(xy, nodes, clipped_voronoi(nodes, box).pairs, rng)
        return Tessellation.from_cells(nodes, box, clipped_voronoi(nodes, box))

    def _learn(self, xy: np.ndarray, nodes: np.ndarray, pairs: np.ndarray, rng: np.random.Generator) -> None:
        from scipy.spatial import cKDTree

        first, last, exponent = self.step_size
        if last >= first or max(self.neighbourhood_weight) * first >= 1:
            raise SpecificationError(
                "Kohonen: expected steps that decrease, and weight × step below 1, got "
                f"step_size {self.step_size}, neighbourhood_weight {self.neighbourhood_weight}"
            )
        offset = len(xy) / ((last / first) ** (-1 / exponent) - 1)
        weights = np.asarray(self.neighbourhood_weight)
        start, neighbours = neighbours_of(pairs, len(nodes))
        total, done = round(self.pass_count * len(xy)), 0
        while done < total:
            sample = xy[rng.integers(len(xy), size=min(max(32, len(nodes)), total - done))]
            node, time, kind = visits(cKDTree(nodes).query(sample)[1], start, neighbours)
            step = first * (1 + (done + time) / offset) ** -exponent
            pull(nodes, sample, node, time, weights[kind] * step)
            done += len(sample)
