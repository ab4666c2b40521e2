"""Samplers: which translocations belong to which cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..component import Component, count, setting
from ..errors import SpecificationError
from .assignment import assign
from .calibration import Tesseller
from .lattice import TimeLattice
from .partition import Partition
from .segmenting import sample, segment
from .tessellation import Tessellation, coordinates
from .time import Time

__all__ = ["BaseSampler", "Knn", "VoronoiSampler", "from_nearest_neighbors", "from_voronoi"]


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
        least, most = self._bounds()
        return assign(
            coordinates(points),
            times,
            lattice,
            min_location_count=self.min_location_count,
            min_nn=least,
            max_nn=most,
        )

    def _bounds(self) -> tuple[int | None, int | None]:
        return None, None

    def from_voronoi(self) -> Component:
        """Let a `VoronoiSampler` take the place of this one in the analyzer, and return it."""
        return self.become(VoronoiSampler())

    def from_nearest_neighbors(self, knn: Any) -> Component:
        """Let a `Knn` take the place of this one in the analyzer, and return it."""
        return self.become(Knn(knn))

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


def _limit(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if callable(value):
        raise SpecificationError(
            f"{name}: bounds that depend on the cell are not supported; give one number for all cells"
        )
    number = count(name, value)
    if number < 1:
        raise SpecificationError(f"{name}: expected a whole number above 0, got {value!r}")
    return number


@dataclass(eq=False, repr=False, init=False)
class Knn(BaseSampler):
    """Nearest-center assignment, corrected so that cells hold neither too few nor too many.

    Cells with fewer than `min_nn` translocations (empty ones too, unless
    `min_location_count` is set) get in addition those nearest to their center, wherever
    they are, up to `min_nn`; cells with more than `max_nn` keep the nearest ones. So
    cells may overlap. With time windows this is done within each segment; a segment
    with fewer than `min_nn` translocations gives all of them to every cell.

    Parameters
    ----------
    knn : int or (int, int)
        `min_nn`, or the pair (`min_nn`, `max_nn`); either may be None.
    min_nn, max_nn : int, optional
    min_location_count : int

    Examples
    --------
    >>> Knn(10)
    Knn(min_nn=10)
    >>> Knn((50, 100)).knn
    (50, 100)
    """

    min_nn: int | None = setting(None, check=_limit)
    max_nn: int | None = setting(None, check=_limit)

    def __init__(
        self,
        knn: Any = None,
        *,
        min_nn: int | None = None,
        max_nn: int | None = None,
        min_location_count: int = 0,
    ) -> None:
        self.min_location_count = min_location_count
        self.min_nn = min_nn
        self.max_nn = max_nn
        if knn is not None:
            if min_nn is not None or max_nn is not None:
                raise SpecificationError("Knn: give either `knn` or `min_nn` and `max_nn`, not both")
            self.knn = knn
        self._bounds()

    @property
    def knn(self) -> int | tuple[int | None, int | None] | None:
        """`min_nn`, or the pair (`min_nn`, `max_nn`)."""
        return self.min_nn if self.max_nn is None else (self.min_nn, self.max_nn)

    @knn.setter
    def knn(self, value: Any) -> None:
        if isinstance(value, tuple | list):
            if len(value) != 2:
                raise SpecificationError(f"Knn.knn: expected a number or a pair (min, max), got {value!r}")
            self.min_nn, self.max_nn = value
        else:
            self.min_nn, self.max_nn = value, None

    def _bounds(self) -> tuple[int | None, int | None]:
        if self.min_nn is not None and self.max_nn is not None and self.min_nn > self.max_nn:
            raise SpecificationError(f"Knn: min_nn {self.min_nn} is above max_nn {self.max_nn}")
        return self.min_nn, self.max_nn


def from_voronoi() -> VoronoiSampler:
    """Return a `VoronoiSampler`."""
    return VoronoiSampler()


def from_nearest_neighbors(knn: Any) -> Knn:
    """Return a `Knn` sampler.

    Parameters
    ----------
    knn : int or (int, int)
        Least number, or least and largest number, of translocations per cell.
    """
    return Knn(knn)
