"""The tessellers: squares (or cubes), hexagons, k-means, and those of other modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..component import boolean, count, fraction, non_negative, one_of, positive, setting
from ..errors import SegmentationError
from .calibration import Tesseller
from .centers import (
    grid_centers,
    grid_edges,
    grid_lattice,
    hexagon_centers,
    hexagon_corners,
    hexagon_lattice,
    hexagon_pairs,
    hexagon_radius,
    hexagon_rows,
)
from .drawn import Kohonen, Random
from .gwr import GWR
from .kdtree import KDTree
from .lloyd import lloyd
from .support import check_cell_count
from .tessellation import Tessellation, coordinates
from .voronoi import Cells, box_edges, clipped_hexagons, clipped_voronoi, cuboids

__all__ = ["GWR", "Hexagons", "KDTree", "KMeans", "Kohonen", "Random", "Squares", "Tesseller"]


@dataclass(eq=False, repr=False)
class Squares(Tesseller):
    """Regular grid of rectangles (2-D) or cuboids (3-D) that tiles the points' bounding box.

    Parameters
    ----------
    adjacency : {'faces', 'diagonal'}
        Whether neighbours share a face (4 in 2-D), or also only a corner (8 in 2-D).
    **parameters
        See `Tesseller`.

    Notes
    -----
    The edge is the resolution, or ``(bounding area × avg_location_count / N) ** (1/d)``,
    at least `min_distance`; each extent is cut into ``round(extent / edge)`` equal
    parts, at least one, so that cells are not exactly square. If the region is larger
    than the points' bounding box, the outer cells extend to it.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).random((1000, 2))
    >>> Squares(resolution=0.25).tessellate(points, box=[[0, 0], [1, 1]]).number_of_cells
    16
    """

    adjacency: str = setting("faces", check=one_of("faces", "diagonal"))

    def _grow(self, points: Any, box: np.ndarray) -> Tessellation:
        xy = coordinates(points)
        increment = self._increment(self.calibration(points), xy, box)
        edges = grid_edges(xy.min(axis=0), xy.max(axis=0), increment)
        cells = cuboids(box_edges(edges, box), diagonal=self.adjacency == "diagonal")
        return Tessellation.from_cells(grid_centers(edges), box, cells, lattice=grid_lattice(edges))


@dataclass(eq=False, repr=False)
class Hexagons(Tesseller):
    """Regular hexagons that cover the points' bounding box, in 2-D.

    Parameters
    ----------
    tilt : float
        Rotation about the mean of the points, in units of 30°, from 0 to 1.
    **parameters
        See `Tesseller`.

    Notes
    -----
    The resolution is the distance between centers, twice the inscribed radius. With the
    count criterion the radius is chosen for ``N / avg_location_count`` cells, and is at
    least half of `min_distance`. Some centers, and whole cells of the last rows, may lie
    outside the region: their area is that of the part inside, possibly none.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).random((1000, 2))
    >>> Hexagons(resolution=0.5).tessellate(points, box=[[0, 0], [1, 1]]).number_of_cells
    8
    """

    tilt: float = setting(0.0, check=fraction)

    def _grow(self, points: Any, box: np.ndarray) -> Tessellation:
        xy = coordinates(points)
        if xy.shape[1] != 2:
            raise SegmentationError(
                f"Hexagons are for 2-D data, these have {xy.shape[1]} space coordinates; "
                "use Squares or KMeans"
            )
        calibration = self.calibration(points)
        lower, upper = xy.min(axis=0), xy.max(axis=0)
        if calibration.avg_probability:
            radius = hexagon_radius(upper - lower, 1 / calibration.avg_probability)
            radius = max(radius, (calibration.min_distance or 0.0) / 2)
        else:
            radius = self._distance(calibration, box) / 2
        check_cell_count(upper - lower, 2 * radius, cell=3**0.5 / 2)
        # summed row by row, as TRamWAy does: the same digits
        pivot = np.ascontiguousarray(xy).mean(axis=0)
        centers = hexagon_centers(lower, upper, radius, tilt=self.tilt, pivot=pivot)
        return Tessellation.from_cells(
            centers,
            box,
            clipped_hexagons(centers, hexagon_corners(radius, tilt=self.tilt), box),
            pairs=hexagon_pairs(*hexagon_rows(upper - lower, radius)),
            lattice=hexagon_lattice(lower, upper, radius, tilt=self.tilt, pivot=pivot),
        )


def _prune(name: str, value: Any) -> bool | float:
    return boolean(name, value) if isinstance(value, bool | np.bool_) else positive(name, value)


@dataclass(eq=False, repr=False)
class KMeans(Tesseller):
    """Cells around the centers of clusters of points.

    Parameters
    ----------
    tol : float, µm
        The iterations stop when the mean distance of points to their center changes by
        no more than this.
    prune : bool or float
        Remove links between cells whose *squared* length exceeds this many times the
        median squared length; True is 2.5.
    initial : {'grid', 'random', 'center'}
        Starting centers: those of `Squares`, uniformly random in the bounding box, or
        random around its middle.
    seed : int
        Seed of the random starting centers.
    **parameters
        See `Tesseller`; they set the grid, or the number of random centers.
    """

    tol: float = setting(1e-7, check=non_negative)
    prune: bool | float = setting(False, check=_prune)
    initial: str = setting("grid", check=one_of("grid", "random", "center"))
    seed: int = setting(0, check=count)

    def _grow(self, points: Any, box: np.ndarray) -> Tessellation:
        xy = coordinates(points)
        centers = lloyd(xy, self._start(points, xy, box), tol=self.tol)
        cells = clipped_voronoi(centers, box)
        if self.prune:
            cells = _pruned(centers, cells, 2.5 if self.prune is True else float(self.prune))
        return Tessellation.from_cells(centers, box, cells)

    def _start(self, points: Any, xy: np.ndarray, box: np.ndarray) -> np.ndarray:
        calibration = self.calibration(points)
        lower, upper = xy.min(axis=0), xy.max(axis=0)
        centers = grid_centers(grid_edges(lower, upper, self._increment(calibration, xy, box)))
        if self.initial == "grid":
            return centers
        rng = np.random.default_rng(self.seed)
        size = len(centers)
        if calibration.avg_probability:
            size = max(1, round(1 / calibration.avg_probability))
        if self.initial == "random":
            return rng.uniform(lower, upper, (size, xy.shape[1]))
        return np.ascontiguousarray(xy).mean(axis=0) + 0.01 * (upper - lower) * rng.standard_normal(
            (size, xy.shape[1])
        )


def _pruned(centers: np.ndarray, cells: Cells, limit: float) -> Cells:
    pairs = cells.pairs
    squared = ((centers[pairs[:, 0]] - centers[pairs[:, 1]]) ** 2).sum(axis=1)
    if len(pairs):
        pairs = pairs[squared <= limit * np.median(squared)]
    return Cells(cells.areas, pairs, cells.vertices, cells.polygon_offsets)
