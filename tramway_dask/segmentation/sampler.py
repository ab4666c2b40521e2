"""Samplers: which translocations belong to which cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..component import Component, count, setting
from ..errors import SegmentationError, SpecificationError
from .assignment import assign
from .bounds import Bounded, function_of_cell, limit, radius_of_cell
from .calibration import Tesseller
from .lattice import TimeLattice
from .partition import Partition
from .segmenting import sample, segment
from .tessellation import Tessellation, coordinates
from .time import Time
from .timewise import assign_in_time

__all__ = [
    "BaseSampler",
    "Knn",
    "SphericalSampler",
    "TimeKnn",
    "VoronoiSampler",
    "from_nearest_neighbors",
    "from_nearest_time_neighbors",
    "from_spheres",
    "from_voronoi",
]


@dataclass(eq=False, repr=False)
class BaseSampler(Component):
    """Base class of the samplers.

    Parameters
    ----------
    min_location_count : int
        Cells with fewer translocations nearest to their center (per time segment) than
        this lose them, before anything else.
    """

    min_location_count: int = setting(0, check=lambda name, n: 0 if n is None else count(name, n))

    def assign(self, points: Any, lattice: Tessellation | TimeLattice) -> tuple[np.ndarray, np.ndarray]:
        """Return the assignment of translocations to cells.

        Parameters
        ----------
        points : DataFrame
            Translocations, rows numbered from 0.
        lattice : Tessellation or TimeLattice

        Returns
        -------
        indptr : ndarray (cells + 1,) of int64
        indices : ndarray of int
            Rows of cell i are ``indices[indptr[i]:indptr[i + 1]]``.
        """
        times = points["t"].to_numpy() if "t" in points.columns else None
        limits = self._limits(lattice)
        return assign(
            coordinates(points), times, lattice, min_location_count=self.min_location_count, **limits
        )

    def _limits(self, lattice: Tessellation | TimeLattice) -> dict[str, Any]:
        """Return the bounds, for all cells or each of them, that `assign` takes."""
        return {}

    def from_voronoi(self) -> Component:
        """Let a `VoronoiSampler` take the place of this one in the analyzer, and return it."""
        return self.become(VoronoiSampler())

    def from_nearest_neighbors(self, knn: Any) -> Component:
        """Let a `Knn` take the place of this one in the analyzer, and return it."""
        return self.become(Knn(knn))

    def from_spheres(self, radius: Any) -> Component:
        """Let a `SphericalSampler` take the place of this one in the analyzer, and return it."""
        return self.become(SphericalSampler(radius))

    def from_nearest_time_neighbors(self, knn: Any) -> Component:
        """Let a `TimeKnn` take the place of this one in the analyzer, and return it."""
        return self.become(TimeKnn(knn))

    def sample(self, df: Any, segmentation: Any = None) -> Partition:
        """Assign translocations to cells.

        Parameters
        ----------
        df : DataFrame
            Trajectories or translocations of a region.
        segmentation : Tessellation, TimeLattice or Tesseller, optional
            The cells. Default: those that the tesseller and the time window of the
            analyzer make.

        Returns
        -------
        Partition

        Raises
        ------
        SpecificationError
            If there is neither a segmentation nor an analyzer with a tesseller.
        """
        if isinstance(segmentation, Tessellation | TimeLattice):
            return sample(df, segmentation, sampler=self, param={"method": type(segmentation).__name__})
        tesseller = segmentation if segmentation is not None else getattr(self.owner, "tesseller", None)
        time = getattr(self.owner, "time", None)
        time = time if isinstance(time, Time) else None
        if not isinstance(tesseller, Tesseller):
            tesseller = None
            if not time or type(time) is Time:
                raise SpecificationError(
                    "no tesseller: choose one, as in `a.tesseller = tessellers.Hexagons`, or give the cells: "
                    "`sampler.sample(df, tessellation)`"
                )
        return segment(df, tesseller=tesseller, sampler=self, time=time)


@dataclass(eq=False, repr=False)
class VoronoiSampler(BaseSampler):
    """Each translocation belongs to the cell whose center is nearest to its origin.

    Parameters
    ----------
    min_location_count : int
        Cells with fewer translocations than this lose them.
    """


@dataclass(eq=False, repr=False, init=False)
class Knn(Bounded, BaseSampler):
    """Nearest-center assignment, corrected so that cells hold neither too few nor too many.

    Cells with fewer than `min_nn` translocations (empty ones too, unless
    `min_location_count` is set) get in addition those nearest to their center, wherever
    they are, up to `min_nn`; cells with more than `max_nn` keep the nearest ones. So
    cells may overlap. With time windows this is done within each segment; a segment
    with fewer than `min_nn` translocations gives all of them to every cell.

    Parameters
    ----------
    knn : int, (int, int) or function
        `min_nn`, or the pair (`min_nn`, `max_nn`); either may be None. Or a function of the
        index of the (spatial) cell that returns one of these.
    min_nn, max_nn : int, optional
    bounds : function, optional
        As for `knn`.
    min_location_count : int

    Examples
    --------
    >>> Knn(10)
    Knn(min_nn=10)
    >>> Knn((50, 100)).knn
    (50, 100)
    """

    _names = ("min_nn", "max_nn", "knn")

    min_nn: int | None = setting(None, check=limit)
    max_nn: int | None = setting(None, check=limit)
    bounds: Callable[[int], Any] | None = setting(None, check=function_of_cell)

    def __init__(
        self,
        knn: Any = None,
        *,
        min_nn: int | None = None,
        max_nn: int | None = None,
        bounds: Callable[[int], Any] | None = None,
        min_location_count: int = 0,
    ) -> None:
        self._start(knn, min_nn, max_nn, bounds, min_location_count)

    @property
    def knn(self) -> Any:
        """`min_nn`, or the pair (`min_nn`, `max_nn`), or the function that gives them."""
        return self._get()

    @knn.setter
    def knn(self, value: Any) -> None:
        self._set(value)


@dataclass(eq=False, repr=False, init=False)
class TimeKnn(Bounded, BaseSampler):
    """Nearest-center assignment within windows, corrected by looking farther in time.

    Of the translocations of a spatial cell, a segment with fewer than `min_nn` gets in
    addition those nearest in time to the middle of the segment, up to `min_nn` (or all that
    there are); a segment with more than `max_nn` keeps the nearest ones. So segments may
    share translocations. Empty ones take part, unless `min_location_count` is set.

    Parameters
    ----------
    knn : int, (int, int) or function
        `min_nn`, or the pair (`min_nn`, `max_nn`); either may be None. Or a function
        ``function(i, k)`` of the spatial cell and the segment that returns one of these.
    min_nn, max_nn : int, optional
    bounds : function, optional
        As for `knn`.
    min_location_count : int

    Notes
    -----
    Time windows are needed: ``a.time = time.SlidingWindow(duration)``.
    """

    _names = ("min_nn", "max_nn", "knn")

    min_nn: int | None = setting(None, check=limit)
    max_nn: int | None = setting(None, check=limit)
    bounds: Callable[[int, int], Any] | None = setting(None, check=function_of_cell)

    def __init__(
        self,
        knn: Any = None,
        *,
        min_nn: int | None = None,
        max_nn: int | None = None,
        bounds: Callable[[int, int], Any] | None = None,
        min_location_count: int = 0,
    ) -> None:
        self._start(knn, min_nn, max_nn, bounds, min_location_count)

    @property
    def knn(self) -> Any:
        """`min_nn`, or the pair (`min_nn`, `max_nn`), or the function that gives them."""
        return self._get()

    @knn.setter
    def knn(self, value: Any) -> None:
        self._set(value)

    def assign(self, points: Any, lattice: Tessellation | TimeLattice) -> tuple[np.ndarray, np.ndarray]:
        """Return the assignment of translocations to cells; see `BaseSampler.assign`.

        Raises
        ------
        SegmentationError
            Without time segments.
        """
        if not isinstance(lattice, TimeLattice):
            raise SegmentationError(
                "TimeKnn looks farther in time where translocations are few: it needs time segments, as in "
                "`a.time = time.SlidingWindow(duration)`; without them, use Knn"
            )
        size, segments = lattice.spatial_mesh.number_of_cells, lattice.number_of_segments
        limits = self._of_cells(((i, k) for k in range(segments) for i in range(size)), 0)
        return assign_in_time(
            coordinates(points),
            points["t"].to_numpy(),
            lattice,
            min_location_count=self.min_location_count,
            **limits,
        )


@dataclass(eq=False, repr=False, init=False)
class SphericalSampler(Bounded, BaseSampler):
    """Translocations that start near the center of a cell.

    Each cell holds all translocations up to `min_radius` from its center, and those for
    which it is the nearest cell up to `max_radius`. So cells may overlap. With time windows
    this is done within each segment.

    Parameters
    ----------
    radius : float, (float, float) or function, µm
        Both bounds at once: cells are balls of this radius. Or the pair
        (`min_radius`, `max_radius`); either may be None. Or a function of the index of the
        (spatial) cell that returns one of these.
    min_radius, max_radius : float, µm, optional
    bounds : function, optional
        As for `radius`.
    min_location_count : int
        Cells with fewer translocations nearest to their center than this, and empty ones,
        stay empty.

    Notes
    -----
    TRamWAy 0.7 compares the distance with the square of a single radius, and with a pair
    drops what lies between the two radii.
    """

    _names = ("min_radius", "max_radius", "radius")
    _single = (True, True)
    _absent = np.nan

    min_radius: float | None = setting(None, check=radius_of_cell)
    max_radius: float | None = setting(None, check=radius_of_cell)
    bounds: Callable[[int], Any] | None = setting(None, check=function_of_cell)

    def __init__(
        self,
        radius: Any = None,
        *,
        min_radius: float | None = None,
        max_radius: float | None = None,
        bounds: Callable[[int], Any] | None = None,
        min_location_count: int = 0,
    ) -> None:
        self._start(radius, min_radius, max_radius, bounds, min_location_count)

    @property
    def radius(self) -> Any:
        """The radius, or the pair (`min_radius`, `max_radius`), or the function that gives them."""
        return self._get()

    @radius.setter
    def radius(self, value: Any) -> None:
        self._set(value)

    def _limits(self, lattice: Tessellation | TimeLattice) -> dict[str, Any]:
        limits = super()._limits(lattice)
        if not limits:
            raise SpecificationError("SphericalSampler.radius is not set: give it in µm")
        return limits


def from_voronoi() -> VoronoiSampler:
    """Return a `VoronoiSampler`."""
    return VoronoiSampler()


def from_nearest_neighbors(knn: Any) -> Knn:
    """Return a `Knn` sampler.

    Parameters
    ----------
    knn : int, (int, int) or function
        Least number, or least and largest number, of translocations per cell.
    """
    return Knn(knn)


def from_nearest_time_neighbors(knn: Any) -> TimeKnn:
    """Return a `TimeKnn` sampler.

    Parameters
    ----------
    knn : int, (int, int) or function
        Least number, or least and largest number, of translocations per cell and segment.
    """
    return TimeKnn(knn)


def from_spheres(radius: Any) -> SphericalSampler:
    """Return a `SphericalSampler`.

    Parameters
    ----------
    radius : float, (float, float) or function, µm
        Radius, or least and largest radius.
    """
    return SphericalSampler(radius)
