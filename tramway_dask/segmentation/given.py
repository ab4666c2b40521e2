"""Tessellers that do not grow anything: centers or cells given by the user."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..component import setting
from ..errors import SegmentationError, SpecificationError
from .calibration import Tesseller, as_translocations
from .lattice import TimeLattice
from .partition import Partition
from .tessellation import Tessellation, coordinates

__all__ = ["GivenCenters", "GivenTessellation", "cells_of"]

# parameters of a tesseller that say how large its cells are
SIZES = tuple(n for n in Tesseller.parameters() if n not in ("calibrate", "post_processing", "post"))


def _centers(name: str, value: Any) -> np.ndarray | None:
    if value is None:
        return None
    try:
        centers = np.array(coordinates(value) if isinstance(value, pd.DataFrame) else value, dtype=float)
    except (TypeError, ValueError):
        raise SpecificationError(f"{name}: expected coordinates (µm), got {value!r}") from None
    if centers.ndim != 2 or centers.shape[1] not in (2, 3) or not len(centers):
        raise SpecificationError(
            f"{name}: expected an array of shape (cells, 2) or (cells, 3), got {centers.shape}"
        )
    if not np.isfinite(centers).all():
        raise SpecificationError(f"{name}: some coordinates are not finite numbers")
    centers.flags.writeable = False
    return centers


def cells_of(value: Any) -> Tessellation | None:
    """Return the spatial cells of a tessellation, a time lattice or a sampling; None of anything else."""
    value = getattr(value, "data", value)
    value = value.tessellation if isinstance(value, Partition) else value
    return value.spatial_mesh if isinstance(value, Tessellation | TimeLattice) else None


def _tessellation(name: str, value: Any) -> Tessellation | None:
    if isinstance(value, str | os.PathLike):
        return Tessellation.load(Path(value))
    found = cells_of(value)
    if found is None and value is not None:
        raise SpecificationError(
            f"{name}: expected a tessellation, a sampling or the path of a saved tessellation, got {value!r}"
        )
    return found


class _Given(Tesseller):
    """A tesseller whose cells have their size already."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in SIZES and value is not None:
            raise SpecificationError(
                f"{type(self).__name__}.{name} cannot be set: the cells are given, it would have no effect"
            )
        super().__setattr__(name, value)


@dataclass(eq=False, repr=False)
class GivenCenters(_Given):
    """Cells around given centers, the same for all regions.

    Parameters
    ----------
    centers : array_like (m, d) or DataFrame with columns x, y[, z], µm
    post_processing : object, optional
        See `Tesseller`.

    Examples
    --------
    >>> points = np.random.default_rng(0).random((1000, 2))
    >>> GivenCenters(centers=[[0.2, 0.5], [0.8, 0.5]]).tessellate(points).number_of_cells
    2
    """

    centers: np.ndarray | None = setting(None, check=_centers)

    def _grow(self, points: Any, box: np.ndarray) -> Tessellation:
        if self.centers is None:
            raise SpecificationError("GivenCenters.centers is not set: give an array of coordinates (µm)")
        dimension = box.shape[1]
        if self.centers.shape[1] != dimension:
            raise SegmentationError(
                f"GivenCenters: the centers have {self.centers.shape[1]} coordinates, the data {dimension}"
            )
        return Tessellation.from_centers(self.centers, box)

    def __repr__(self) -> str:
        if self.centers is None or len(self.centers) <= 4:
            return super().__repr__()
        return f"GivenCenters({len(self.centers)} centers in {self.centers.shape[1]}-D)"


@dataclass(eq=False, repr=False)
class GivenTessellation(_Given):
    """Cells made before, on other data, the same for all regions.

    Translocations outside of their box belong to the cell of the nearest center, like all
    others; areas are those within the box.

    Parameters
    ----------
    tessellation : Tessellation, TimeLattice, Partition or path
        The cells, or where they were saved (`Tessellation.save`). A file is read at once.
    post_processing : object, optional
        See `Tesseller`.
    """

    tessellation: Tessellation | None = setting(None, check=_tessellation)

    def tessellate(self, points: Any, *, box: Any = None) -> Tessellation:
        """Return the given cells.

        Parameters
        ----------
        points : DataFrame or array_like (N, d), µm
        box : array_like (2, d), optional
            Not used.

        Raises
        ------
        SegmentationError
            If the points have another dimension than the cells, or none of them is where the
            cells are.
        """
        mesh = self.tessellation
        if mesh is None:
            raise SpecificationError(
                "GivenTessellation.tessellation is not set: give cells, or the path of a saved tessellation"
            )
        points = as_translocations(points)
        xy = coordinates(points)
        if xy.ndim != 2 or xy.shape[1] != mesh.dimension:
            raise SegmentationError(
                f"GivenTessellation: the cells have {mesh.dimension} coordinates, the data {xy.shape[-1]}"
            )
        if len(xy) and not ((xy >= mesh.box[0]) & (xy <= mesh.box[1])).all(axis=1).any():
            seen = np.round([xy.min(axis=0), xy.max(axis=0)], 3).tolist()
            raise SegmentationError(
                f"GivenTessellation: no translocation is where the cells are: the data span {seen}, the cells "
                f"{np.round(mesh.box, 3).tolist()} µm"
            )
        return self._post_process(mesh, points)
