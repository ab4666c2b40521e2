"""A partition: translocations, cells, and which translocation belongs to which cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..cards import Html, beside, card, guarded, rows
from ..errors import SegmentationError
from ..spt_data.analyses import Artefact
from ..thumbnails import thumbnail
from .lattice import TimeLattice
from .locating import locator_from
from .tessellation import SPACE, Tessellation
from .voronoi import pairs_to_adjacency

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = ["Partition"]


@dataclass(eq=False, repr=False)
class Partition(Artefact):
    """Translocations assigned to cells.

    With S time segments over M spatial cells there are C = S M cells, and cell j of
    segment k is number k M + j; without, C = M.

    Attributes
    ----------
    points : DataFrame
        Translocations ``n, x, y[, z], t, dx, dy[, dz], dt``, rows numbered from 0.
    tessellation : Tessellation or TimeLattice
    indptr : ndarray (C + 1,) of int
    indices : ndarray of int
        Rows of `points` in cell i are ``indices[indptr[i]:indptr[i + 1]]``, ascending. A
        row may be in several cells, or in none.
    param : dict
        How it was made: ``method``, ``tesseller``, ``sampler``, ``time`` (settings as plain
        values), ``roi`` (``label``, ``bounding_box``), ``localization_precision`` (µm).
    """

    points: pd.DataFrame
    tessellation: Tessellation | TimeLattice
    indptr: np.ndarray
    indices: np.ndarray
    param: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_arrays(
        cls,
        *,
        points: pd.DataFrame,
        centers: Any,
        pairs: Any,
        areas: Any,
        box: Any,
        indptr: Any,
        indices: Any,
        vertices: Any = None,
        polygon_offsets: Any = None,
        segments: Any = None,
        locator: Any = None,
        param: dict[str, Any] | None = None,
    ) -> Partition:
        """Rebuild a partition from stored arrays; the inverse of `to_arrays`.

        Parameters
        ----------
        points : DataFrame
        centers : array_like (M, d), µm
            Of the spatial cells.
        pairs : array_like (p, 2) of int
            Adjacent spatial cells, each pair once.
        areas : array_like (M,), µm^d
        box : array_like (2, d), µm
        indptr : array_like (C + 1,), indices : array_like
            Assignment; C is M, or S M with S time segments.
        vertices : array_like (k, 2), polygon_offsets : array_like (M + 1,), optional
            Outlines of the spatial cells.
        segments : array_like (S, 2), s, optional
        locator : dict, optional
            How the cell of a point is found, if not by the nearest center.
        param : dict, optional

        Raises
        ------
        SegmentationError
            If the arrays do not fit together.
        """
        centers = np.asarray(centers, dtype=float)
        mesh = Tessellation(
            centers,
            pairs_to_adjacency(np.asarray(pairs), len(centers)),
            np.asarray(areas, dtype=float),
            np.asarray(box, dtype=float),
            np.empty((0, 2)) if vertices is None else np.asarray(vertices, dtype=float),
            None if polygon_offsets is None else np.asarray(polygon_offsets, dtype=np.intp),
            None if locator is None else locator_from(locator),
        )
        lattice: Tessellation | TimeLattice = mesh
        if segments is not None:
            lattice = TimeLattice(mesh, np.asarray(segments, dtype=float).reshape(-1, 2))
        indptr, indices = np.asarray(indptr), np.asarray(indices)
        if len(indptr) != lattice.number_of_cells + 1 or indptr[-1] != len(indices):
            raise SegmentationError(
                f"stored assignment does not fit: {len(indptr) - 1} cells and {len(indices)} rows, expected "
                f"{lattice.number_of_cells} cells and {indptr[-1]} rows"
            )
        if len(indices) and (indices.min() < 0 or indices.max() >= len(points)):
            raise SegmentationError(
                f"stored assignment does not fit: it refers to row {indices.max()} of {len(points)}"
            )
        return cls(points.reset_index(drop=True), lattice, indptr, indices, dict(param or {}))

    def to_arrays(self) -> dict[str, Any]:
        """Return the arrays that `from_arrays` takes, but for the points and `param`."""
        mesh = self.tessellation.spatial_mesh
        return {
            "centers": mesh.centers,
            "pairs": mesh.pairs,
            "areas": mesh.areas,
            "box": mesh.box,
            "vertices": mesh.vertices,
            "polygon_offsets": mesh.polygon_offsets,
            "segments": self.segments,
            "locator": mesh.locator,
            "indptr": self.indptr,
            "indices": self.indices,
        }

    @property
    def number_of_cells(self) -> int:
        """Number of cells over all segments, C."""
        return len(self.indptr) - 1

    @property
    def dimension(self) -> int:
        """Number of space coordinates."""
        return self.tessellation.dimension

    @property
    def location_count(self) -> np.ndarray:
        """Number of translocations in each cell, ndarray (C,) of int."""
        return np.diff(self.indptr)

    @property
    def segments(self) -> np.ndarray | None:
        """Bounds of the time segments, ndarray (S, 2) in s, or None without time segmentation."""
        return self.tessellation.time_lattice if isinstance(self.tessellation, TimeLattice) else None

    @property
    def centers(self) -> np.ndarray:
        """Centers of all cells, ndarray (C, d), µm."""
        return self.tessellation.centers

    @property
    def areas(self) -> np.ndarray:
        """Areas (volumes) of all cells, ndarray (C,), µm^d."""
        return self.tessellation.areas

    @property
    def segment_of_cell(self) -> np.ndarray:
        """Time segment of each cell, ndarray (C,) of intp; zeros without time segmentation."""
        if isinstance(self.tessellation, TimeLattice):
            return self.tessellation.segment_of_cell
        return np.zeros(self.number_of_cells, np.intp)

    @property
    def cell_of_assignment(self) -> np.ndarray:
        """Cell of each entry of `indices`, ndarray of intp."""
        return np.repeat(np.arange(self.number_of_cells), self.location_count)

    @property
    def cell_index(self) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Cell of each row of `points`, -1 for none; or (rows, cells) if a row is in several.

        Returns
        -------
        ndarray (N,) of intp, or tuple of two ndarray (K,) of intp
        """
        cells = self.cell_of_assignment
        if len(self.indices) and np.bincount(self.indices).max() > 1:
            return self.indices.astype(np.intp), cells
        index = np.full(len(self.points), -1, np.intp)
        index[self.indices] = cells
        return index

    @property
    def bounding_box(self) -> pd.DataFrame:
        """Bounds of the points in space and time: rows ``min`` and ``max``."""
        columns = [c for c in (*SPACE, "t") if c in self.points.columns]
        return self.points[columns].agg(["min", "max"])

    def rows(self, cell: int) -> np.ndarray:
        """Return the rows of `points` in a cell."""
        return self.indices[self.indptr[cell] : self.indptr[cell + 1]]

    @cached_property
    def _adjacency(self) -> sp.csr_array:
        return self.tessellation.adjacency

    def adjacency(self) -> sp.csr_array:
        """Return the spatial adjacency of all cells, csr_array (C, C) of bool.

        Cells of different time segments are not linked.
        """
        return self._adjacency

    def time_adjacency(self) -> sp.csr_array:
        """Return the links of each cell to itself in the next and previous segment.

        Returns
        -------
        csr_array (C, C) of bool
            Empty without time segmentation.
        """
        import scipy.sparse as sp

        if isinstance(self.tessellation, TimeLattice):
            return self.tessellation.time_adjacency
        return sp.csr_array((self.number_of_cells,) * 2, dtype=bool)

    def active_adjacency(self) -> sp.csr_array:
        """Return the spatial adjacency between cells that hold translocations, csr_array (C, C)."""
        import scipy.sparse as sp

        full = self.location_count > 0
        links = self.adjacency().tocoo()
        row, col = links.row, links.col
        both = full[row] & full[col]
        kept = (np.ones(both.sum(), bool), (row[both], col[both]))
        active = sp.coo_array(kept, shape=links.shape).tocsr()
        active.sort_indices()
        return active

    def restrict_to_segment(self, index: int) -> Partition:
        """Return the partition of one time segment, its cells numbered as in space.

        Parameters
        ----------
        index : int
            Segment, from 0.

        Returns
        -------
        Partition
            With the points of that segment only; ``param["segment"]`` holds ``index`` and
            ``times``. Without time segmentation, the partition itself.

        Raises
        ------
        SegmentationError
            If there is no such segment.
        """
        if self.segments is None:
            if index == 0:
                return self
            raise SegmentationError(f"no time segment {index}: this partition has no time segmentation")
        if not 0 <= index < len(self.segments):
            raise SegmentationError(f"no time segment {index}: there are {len(self.segments)}")
        mesh = self.tessellation.spatial_mesh
        size = mesh.number_of_cells
        start, stop = self.segments[index]
        indptr = self.indptr[index * size : (index + 1) * size + 1]
        indices = self.indices[indptr[0] : indptr[-1]]
        times = self.points["t"].to_numpy()
        inside = (times >= start) & (times < stop)
        inside[indices] = True
        number = np.cumsum(inside) - 1
        points = self.points[inside].reset_index(drop=True)
        param = {**self.param, "segment": {"index": int(index), "times": (float(start), float(stop))}}
        part = Partition(points, mesh, indptr - indptr[0], number[indices].astype(indices.dtype), param)
        part.parent = self.parent
        return part

    def __len__(self) -> int:
        return len(self.indices)

    def __bool__(self) -> bool:
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k != "_adjacency"}

    @property
    def _size(self) -> int:
        return len(self.points)

    def _summary(self) -> dict[str, str]:
        count = self.location_count
        mesh = self.tessellation.spatial_mesh
        extent = " × ".join(f"{e:.3g}" for e in mesh.box[1] - mesh.box[0])
        summary = {
            "region": self.region_label,
            "extent": f"{extent} µm",
            "translocations": f"{self._size}",
            "assignments": f"{len(self)}",
            "cells": f"{mesh.number_of_cells}",
        }
        if self.segments is not None:
            summary["time segments"] = f"{len(self.segments)}"
        summary["empty cells"] = f"{int((count == 0).sum())}"
        full = count[count > 0]
        if len(full):
            summary["per non-empty cell"] = f"{full.min()} to {full.max()}, median {np.median(full):g}"
        return summary

    def __repr__(self) -> str:
        cells = f"{self.tessellation.spatial_mesh.number_of_cells} cells"
        if self.segments is not None:
            cells += f" × {len(self.segments)} segments"
        return f"Partition({len(self.points)} translocations, {cells}, {len(self)} assignments)"

    def picture(self, values: Any = None, label: str = "translocations per cell", **options: Any) -> Html:
        """Return a small picture of the cells, of the first time segment, for notebooks.

        Parameters
        ----------
        values : array_like (C,), optional
            Default: the number of translocations of each cell that has any.
        label : str
        **options
            ``unit`` and ``signed``; see `tramway_dask.thumbnails.thumbnail`.
        """
        mesh = self.tessellation.spatial_mesh
        shown = np.asarray(self.location_count if values is None else values, dtype=float)
        shown = shown[: mesh.number_of_cells]
        if values is None:
            shown = np.where(shown > 0, shown, np.nan)
        if self.segments is not None:
            start, stop = self.segments[0]
            label = f"{label}, {start:g} to {stop:g} s"
        return thumbnail(
            mesh.centers, shown, label=label, vertices=mesh.vertices, offsets=mesh.polygon_offsets, **options
        )

    @guarded
    def _repr_html_(self) -> str:
        told = rows((name, value) for name, value in self._summary().items() if name != "region")
        return card("Partition", beside(self.picture(), told), about=self.region_label)
