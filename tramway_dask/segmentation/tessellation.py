"""The spatial cells: centers, adjacency, areas and outlines, within a box."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import SegmentationError
from .voronoi import Cells, clipped_voronoi, pairs_to_adjacency

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = ["RegularLattice", "Tessellation", "coordinates", "nearest"]

SPACE = ("x", "y", "z")


def coordinates(points: Any) -> np.ndarray:
    """Return the space coordinates of a table, or the array as it is.

    Parameters
    ----------
    points : DataFrame or array_like (N, d)

    Returns
    -------
    ndarray (N, d) of float, µm
    """
    if isinstance(points, pd.DataFrame):
        columns = [c for c in SPACE if c in points.columns]
        # axis by axis in memory: bounds and distances are taken along the axes
        return np.stack([points[c].to_numpy(dtype=float) for c in columns]).T
    return np.asarray(points, dtype=float)


def nearest(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return for each point the index of the nearest center; the lowest one if several are.

    Parameters
    ----------
    points : ndarray (N, d)
    centers : ndarray (m, d)

    Returns
    -------
    ndarray (N,) of intp
    """
    from scipy.spatial import cKDTree

    size = len(centers)
    if size == 1 or not len(points):
        return np.zeros(len(points), np.intp)
    tree = cKDTree(centers)
    index = np.empty(len(points), np.intp)
    todo, k = np.arange(len(points)), 2
    while len(todo):
        k = min(k, size)
        distance, found = tree.query(points[todo], k=k)
        tied = distance <= distance[:, :1]
        index[todo] = np.where(tied, found, size).min(axis=1)
        if k == size:
            break
        todo, k = todo[tied[:, -1]], 4 * k
    return index


@dataclass(frozen=True, eq=False)
class RegularLattice:
    """Centers on rectangular lattices, where the nearest one is found by rounding.

    Attributes
    ----------
    origins : ndarray (l, d), µm
        First center of each of l lattices, in the rotated frame.
    steps : ndarray (d,), µm
    counts : ndarray (l, d) of int
        Centers along each axis.
    strides : ndarray (l, d) of int, starts : ndarray (l,) of int
        A center at position ``k`` of lattice ``l`` has the index ``starts[l] + strides[l] @ k``.
    pivot : ndarray (d,), µm
    rotation : ndarray (d, d)
        The frame's coordinates are ``(points - pivot) @ rotation``.
    """

    origins: np.ndarray
    steps: np.ndarray
    counts: np.ndarray
    strides: np.ndarray
    starts: np.ndarray
    pivot: np.ndarray
    rotation: np.ndarray

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Return the index of the nearest center; the lowest one if several are as near."""
        local = points - self.pivot
        if not np.array_equal(self.rotation, np.eye(len(self.pivot))):
            local = local @ self.rotation
        index = np.empty(0, np.intp)
        best = np.empty(0)
        for origin, count, stride, start in zip(
            self.origins, self.counts, self.strides, self.starts, strict=True
        ):
            number = np.full(len(points), start, np.intp)
            squared = np.zeros(len(points))
            for axis, step in enumerate(self.steps):
                place = (local[:, axis] - origin[axis]) / step
                # half-way belongs to the lower center
                rounded = np.clip(np.ceil(place - 0.5), 0, count[axis] - 1)
                squared += ((place - rounded) * step) ** 2
                number += stride[axis] * rounded.astype(np.intp)
            if not len(best):
                index, best = number, squared
                continue
            # as good but for rounding errors is a tie
            apart = squared - best
            near = np.abs(apart) <= 1e-13 * self.steps.max() ** 2
            index = np.where(near, np.minimum(index, number), np.where(apart < 0, number, index))
            best = np.minimum(best, squared)
        return index


@dataclass(frozen=True, eq=False, repr=False)
class Tessellation:
    """Division of space into cells.

    A point belongs to the cell whose center is nearest; areas and outlines are
    those of the cells clipped to `box`.

    Attributes
    ----------
    centers : ndarray (m, d), µm
    adjacency : csr_array (m, m) of bool
        Symmetric, empty diagonal, sorted indices.
    areas : ndarray (m,), µm^d
        Finite, not negative; they sum to the area (volume) of the box.
    box : ndarray (2, d), µm
        Lower and upper corner of the support.
    vertices : ndarray (k, 2), µm
        Outlines of the cells, counter-clockwise, one after the other; empty in 3-D.
    polygon_offsets : ndarray (m + 1,) of intp
        Cell i has ``vertices[polygon_offsets[i]:polygon_offsets[i + 1]]``.
    lattice : RegularLattice, optional
        If the centers are regular: how to find the nearest one fast.
    """

    centers: np.ndarray
    adjacency: sp.csr_array
    areas: np.ndarray
    box: np.ndarray
    vertices: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    polygon_offsets: np.ndarray | None = None
    lattice: RegularLattice | None = None

    def __post_init__(self) -> None:
        if self.polygon_offsets is None:
            object.__setattr__(self, "polygon_offsets", np.zeros(len(self.centers) + 1, np.intp))

    @classmethod
    def from_cells(
        cls,
        centers: np.ndarray,
        box: np.ndarray,
        cells: Cells,
        *,
        pairs: np.ndarray | None = None,
        lattice: RegularLattice | None = None,
    ) -> Tessellation:
        """Build a tessellation from the geometry of its cells.

        Parameters
        ----------
        centers : ndarray (m, d), µm
        box : ndarray (2, d), µm
        cells : Cells
        pairs : ndarray (p, 2) of int, optional
            Neighbours, if they are not the cells that share a face within the box.
            Cells that do not reach into the box lose theirs.
        lattice : RegularLattice, optional
        """
        pairs = cells.pairs if pairs is None else pairs[(cells.areas[pairs] > 0).all(axis=1)]
        adjacency = pairs_to_adjacency(pairs, len(centers))
        return cls(centers, adjacency, cells.areas, box, cells.vertices, cells.polygon_offsets, lattice)

    @classmethod
    def from_centers(cls, centers: Any, box: Any) -> Tessellation:
        """Build the Voronoi tessellation of any centers, clipped to a box.

        Parameters
        ----------
        centers : array_like (m, d), µm
            d is 2 or 3.
        box : array_like (2, d), µm
            Lower and upper corner.

        Raises
        ------
        SegmentationError
            If there is no center, one is not finite, the shapes do not fit, or the
            box has no extent.
        """
        centers, box = np.array(centers, dtype=float), np.array(box, dtype=float)
        if centers.ndim != 2 or centers.shape[1] not in (2, 3) or not len(centers):
            raise SegmentationError(
                f"centers: expected an array of shape (cells, 2) or (cells, 3), got {centers.shape}"
            )
        if not np.isfinite(centers).all():
            raise SegmentationError("centers: some coordinates are not finite")
        if box.shape != (2, centers.shape[1]) or not (box[1] > box[0]).all():
            raise SegmentationError(
                f"box: expected a lower and an upper corner with {centers.shape[1]} coordinates each, "
                f"lower < upper, got {box.tolist()}"
            )
        return cls.from_cells(centers, box, clipped_voronoi(centers, box))

    @property
    def number_of_cells(self) -> int:
        """Number of cells, m."""
        return len(self.centers)

    @property
    def dimension(self) -> int:
        """Number of space coordinates."""
        return self.centers.shape[1]

    @property
    def spatial_mesh(self) -> Tessellation:
        """The tessellation itself: it has no time segments."""
        return self

    @property
    def cell_centers(self) -> np.ndarray:
        """Alias of `centers`."""
        return self.centers

    @property
    def cell_adjacency(self) -> sp.csr_array:
        """Alias of `adjacency`."""
        return self.adjacency

    @property
    def cell_volume(self) -> np.ndarray:
        """Alias of `areas`."""
        return self.areas

    @property
    def pairs(self) -> np.ndarray:
        """Adjacent cells i < j, ndarray (p, 2)."""
        import scipy.sparse as sp

        upper = sp.triu(self.adjacency, k=1, format="coo")
        pairs = np.column_stack([upper.row, upper.col])
        return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]

    def cell_index(self, points: Any) -> np.ndarray:
        """Return the cell of each point: the nearest center, the lowest index if several are.

        Parameters
        ----------
        points : DataFrame or array_like (N, d), µm

        Returns
        -------
        ndarray (N,) of intp
        """
        xy = coordinates(points)
        if self.lattice is not None and len(xy):
            return self.lattice.nearest(xy)
        return nearest(xy, self.centers)

    def neighbours(self, cell: int) -> np.ndarray:
        """Return the indices of the cells adjacent to `cell`."""
        return self.adjacency.indices[self.adjacency.indptr[cell] : self.adjacency.indptr[cell + 1]]

    def polygon(self, cell: int) -> np.ndarray:
        """Return the outline of `cell`, ndarray (k, 2), counter-clockwise, not closed."""
        assert self.polygon_offsets is not None
        return self.vertices[self.polygon_offsets[cell] : self.polygon_offsets[cell + 1]]

    def __len__(self) -> int:
        return self.number_of_cells

    def __repr__(self) -> str:
        extent = " × ".join(f"{e:.3g}" for e in self.box[1] - self.box[0])
        return f"Tessellation({self.number_of_cells} cells, {extent} µm)"
