"""Cells within cells: each cell of a coarse tessellation is divided on its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..component import setting
from ..errors import SegmentationError, SpecificationError
from .calibration import Tesseller
from .locating import Locator, NearestCenter, NestedCells
from .tessellation import Tessellation, coordinates
from .voronoi import Cells, clipped_voronoi

__all__ = ["Nested"]


def _tesseller(name: str, value: Any) -> Tesseller | None:
    value = value() if isinstance(value, type) else value
    if value is None or isinstance(value, Tesseller):
        return value
    raise SpecificationError(f"{name}: expected a tesseller, got {value!r}")


@dataclass(frozen=True)
class _Family:
    """The cells of one parent, within its outline."""

    centers: np.ndarray
    locator: Locator
    areas: np.ndarray
    pairs: np.ndarray
    outlines: list[np.ndarray]


@dataclass(eq=False, repr=False)
class Nested(Tesseller):
    """Two levels of cells: those of a first tesseller are each divided by a second one.

    A cell that holds too few translocations to be divided stays whole. Cells of different
    parents are not linked, so that models with smoothing treat each parent on its own.

    Parameters
    ----------
    parent, child : Tesseller
    **parameters
        Those of a tesseller's size have no effect here: set them on parent and child.

    Notes
    -----
    A translocation belongs to the nearest center among those of its parent cell. Cells are
    numbered parent by parent. Cannot be combined with time windows, as in TRamWAy.

    Examples
    --------
    >>> from tramway_dask.segmentation.tessellers import Squares
    >>> points = np.random.default_rng(0).random((1000, 2))
    >>> nested = Nested(parent=Squares(resolution=0.5), child=Squares(resolution=0.25))
    >>> nested.tessellate(points, box=[[0, 0], [1, 1]]).number_of_cells
    16
    """

    parent: Tesseller | None = setting(None, check=_tesseller)
    child: Tesseller | None = setting(None, check=_tesseller)

    def _grow(self, points: Any, box: np.ndarray) -> Tessellation:
        for name in ("parent", "child"):
            if getattr(self, name) is None:
                raise SpecificationError(f"Nested.{name} is not set: give a tesseller")
        assert self.parent is not None
        parent = self.parent.tessellate(points, box=box)
        owner = parent.cell_index(points)
        order = np.argsort(owner, kind="stable")
        edges = np.searchsorted(owner[order], np.arange(parent.number_of_cells + 1))
        families, failed = [], []
        for u, outline in enumerate(_parents(parent)):
            rows = order[edges[u] : edges[u + 1]]
            inside = points.iloc[rows] if isinstance(points, pd.DataFrame) else points[rows]
            try:
                families.append(self._divided(inside, outline))
            except SegmentationError as error:
                families.append(outline.whole(parent.centers[u]))
                failed.append(error)
        if len(failed) == len(families):
            raise SegmentationError(f"Nested: no cell of the parent can be divided: {failed[0]}") from failed[
                0
            ]
        return _joined(parent, families)

    def _divided(self, points: Any, outline: _Outline) -> _Family:
        assert self.child is not None
        if len(points) < 2 or not (outline.box[1] > outline.box[0]).all():
            raise SegmentationError(f"there are {len(points)} translocations in a cell")
        mesh = self.child.tessellate(points, box=outline.box)
        areas, outlines = outline.clip(mesh)
        kept = areas > 0
        kept[mesh.cell_index(coordinates(points))] = True
        locator: Locator = NearestCenter(mesh.centers[kept])
        if mesh.lattice is not None and not mesh.lattice.by_center:
            kept[:] = True
            locator = mesh.lattice
        number = np.cumsum(kept) - 1
        pairs = number[mesh.pairs[((areas > 0) & kept)[mesh.pairs].all(axis=1)]]
        return _Family(
            mesh.centers[kept],
            locator,
            areas[kept],
            pairs.reshape(-1, 2),
            [outlines[i] for i in np.flatnonzero(kept)],
        )


def _joined(parent: Tessellation, families: list[_Family]) -> Tessellation:
    sizes = [len(f.centers) for f in families]
    starts = np.cumsum([0, *sizes])
    outlines = [outline for f in families for outline in f.outlines]
    cells = Cells(
        np.concatenate([f.areas for f in families]),
        np.concatenate([f.pairs + start for f, start in zip(families, starts, strict=False)]).astype(np.intp),
        np.concatenate(outlines),
        np.cumsum([0, *map(len, outlines)]),
    )
    above = parent.lattice if parent.lattice is not None else NearestCenter(parent.centers)
    locator = NestedCells(above, tuple(f.locator for f in families), starts)
    centers = np.concatenate([f.centers for f in families])
    return Tessellation.from_cells(centers, parent.box, cells, lattice=locator)


class _Outline:
    """The outline of a parent cell, in 2-D a convex polygon."""

    def __init__(self, corners: np.ndarray, area: float) -> None:
        self.corners = corners
        self.area = area
        reach = [corners.min(axis=0), corners.max(axis=0)] if len(corners) else np.zeros((2, 2))
        self.box = np.array(reach)

    def whole(self, center: np.ndarray) -> _Family:
        center = center[None]
        none = np.empty((0, 2), np.intp)
        corners = self.corners if len(center[0]) == 2 else np.empty((0, 2))
        return _Family(center, NearestCenter(center), np.array([self.area]), none, [corners])

    def clip(self, mesh: Tessellation) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return area and outline of each cell within this one."""
        import shapely

        rings = [mesh.polygon(i) for i in range(mesh.number_of_cells)]
        cells = [shapely.Polygon(r) if len(r) > 2 else shapely.Polygon() for r in rings]
        parts = shapely.intersection(np.array(cells, dtype=object), shapely.Polygon(self.corners))
        flat = shapely.get_type_id(parts) != shapely.GeometryType.POLYGON
        parts = np.where(flat | (shapely.area(parts) <= 0), shapely.Polygon(), parts)
        rings = [shapely.get_coordinates(p)[:-1] for p in shapely.normalize(parts)]
        # shapely's rings run clockwise
        return shapely.area(parts), [ring[::-1] for ring in rings]


class _Solid(_Outline):
    """The outline of a parent cell in 3-D: the half-spaces ``normals · x <= limits``."""

    def __init__(self, normals: np.ndarray, limits: np.ndarray, volume: float) -> None:
        super().__init__(_corners(normals, limits), volume)
        self.normals, self.limits = normals, limits

    def clip(self, mesh: Tessellation) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the volume of each cell within this one; there are no outlines in 3-D."""
        from scipy.spatial import ConvexHull

        if mesh.lattice is not None and not mesh.lattice.by_center:
            raise SpecificationError(f"Nested: cells of kind {mesh.lattice.kind!r} cannot be nested in 3-D")
        faces = clipped_voronoi(mesh.centers, mesh.box).pairs
        volumes = np.zeros(mesh.number_of_cells)
        for i in range(mesh.number_of_cells):
            rivals = np.concatenate([faces[faces[:, 0] == i, 1], faces[faces[:, 1] == i, 0]])
            normals, limits = _nearer(mesh.centers[i], mesh.centers[rivals])
            corners = _corners(np.concatenate([self.normals, normals]), np.concatenate([self.limits, limits]))
            if len(corners) > 3:
                volumes[i] = ConvexHull(corners).volume
        return volumes, [np.empty((0, 2))] * mesh.number_of_cells


def _parents(mesh: Tessellation) -> list[_Outline]:
    if mesh.dimension == 2:
        return [_Outline(mesh.polygon(i), mesh.areas[i]) for i in range(mesh.number_of_cells)]
    if mesh.lattice is not None and not mesh.lattice.by_center:
        raise SpecificationError(f"Nested: cells of kind {mesh.lattice.kind!r} cannot be parents in 3-D")
    faces = clipped_voronoi(mesh.centers, mesh.box).pairs
    axes = np.eye(mesh.dimension)
    outlines: list[_Outline] = []
    for u in range(mesh.number_of_cells):
        rivals = np.concatenate([faces[faces[:, 0] == u, 1], faces[faces[:, 1] == u, 0]])
        normals, limits = _nearer(mesh.centers[u], mesh.centers[rivals])
        normals = np.concatenate([axes, -axes, normals])
        limits = np.concatenate([mesh.box[1], -mesh.box[0], limits])
        outlines.append(_Solid(normals, limits, mesh.areas[u]))
    return outlines


def _nearer(center: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the half-spaces of what is nearer to a center than to others."""
    away = others - center
    lengths = np.sqrt((away**2).sum(axis=1))
    return away / lengths[:, None], ((others + center) * away).sum(axis=1) / (2 * lengths)


def _corners(normals: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return the corners of a convex body; none if it is empty or flat."""
    from scipy.optimize import linprog
    from scipy.spatial import HalfspaceIntersection

    # the center of the largest ball inside
    cost = np.append(np.zeros(normals.shape[1]), -1)
    grown = np.column_stack([normals, np.ones(len(normals))])
    free = [(None, None)] * normals.shape[1] + [(0, None)]
    ball = linprog(cost, A_ub=grown, b_ub=limits, bounds=free)
    if not ball.success or ball.x[-1] <= 1e-9:
        return np.empty((0, normals.shape[1]))
    return HalfspaceIntersection(np.column_stack([normals, -limits]), ball.x[:-1]).intersections
