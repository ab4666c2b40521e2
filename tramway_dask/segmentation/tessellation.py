"""The spatial cells: centers, adjacency, areas and outlines, within a box."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..component import fingerprint
from ..errors import SegmentationError
from .locating import Locator, RegularLattice, locator_from, nearest
from .voronoi import Cells, clipped_voronoi, pairs_to_adjacency

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = ["RegularLattice", "Tessellation", "coordinates", "nearest"]

SPACE = ("x", "y", "z")
FORMAT = 1


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


@dataclass(frozen=True, eq=False, repr=False)
class Tessellation:
    """Division of space into cells.

    A point belongs to the cell whose center is nearest (unless `lattice` says otherwise);
    areas and outlines are those of the cells clipped to `box`.

    It never changes: what edits it returns another one.

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
    lattice : Locator, optional
        How to find the cell of a point, faster than by the nearest center or otherwise.
    """

    centers: np.ndarray
    adjacency: sp.csr_array
    areas: np.ndarray
    box: np.ndarray
    vertices: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    polygon_offsets: np.ndarray | None = None
    lattice: Locator | None = None

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
        lattice: Locator | None = None,
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
        lattice : Locator, optional
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

    def set_adjacency(self, i: Any, j: Any, label: Any = True) -> Tessellation:
        """Return the tessellation with cells linked, or no longer linked.

        Parameters
        ----------
        i, j : int or array_like of int
            Cells; cell ``i[k]`` and cell ``j[k]`` if there are several.
        label : bool or number
            Whether they are neighbours; numbers above 0 mean that they are, as in TRamWAy.

        Raises
        ------
        SegmentationError
            If there is no such cell, or a cell would be its own neighbour.
        """
        first, second = np.broadcast_arrays(self._cells(i), self._cells(j))
        if (first == second).any():
            raise SegmentationError(f"cell {first[first == second][0]} cannot be its own neighbour")
        changed = np.sort(np.column_stack([first, second]), axis=1)
        pairs, size = self.pairs, self.number_of_cells
        touched = np.isin(pairs @ [size, 1], changed @ [size, 1])
        pairs = np.concatenate([pairs[~touched], changed]) if label > 0 else pairs[~touched]
        return replace(self, adjacency=pairs_to_adjacency(pairs, size))

    def delete_cells(self, cells: Any) -> Tessellation:
        """Return the tessellation without some cells, whose place is taken by their neighbours.

        Links between the other cells stay as they are; cells that did not touch and now do are
        linked. The other cells are numbered anew, in the same order.

        Parameters
        ----------
        cells : int, array_like of int, or of bool (m,)

        Raises
        ------
        SegmentationError
            If there is no such cell, none would be left, or the cells are not those of the nearest
            center.
        """
        if self.lattice is not None and not self.lattice.by_center:
            raise SegmentationError(
                f"cells of kind {self.lattice.kind!r} cannot be deleted: points would not go to the nearest center"
            )
        kept = np.ones(self.number_of_cells, bool)
        kept[self._cells(cells)] = False
        if not kept.any():
            raise SegmentationError("all cells would be deleted")
        number = np.cumsum(kept) - 1
        mesh = Tessellation.from_centers(self.centers[kept], self.box)
        size = mesh.number_of_cells

        def coded(pairs: np.ndarray) -> np.ndarray:
            return number[pairs[kept[pairs].all(axis=1)]] @ [size, 1]

        touching = mesh.pairs @ [size, 1]
        new = np.setdiff1d(touching, coded(clipped_voronoi(self.centers, self.box).pairs))
        codes = np.union1d(coded(self.pairs), new)
        return replace(mesh, adjacency=pairs_to_adjacency(np.column_stack(np.divmod(codes, size)), size))

    def freeze(self) -> Tessellation:
        """Return the tessellation: it holds nothing that only its growth needed."""
        return self

    def _cells(self, cells: Any) -> np.ndarray:
        """Return cells given by number or by a mask as numbers, checked."""
        given, size = np.atleast_1d(np.asarray(cells)), self.number_of_cells
        if given.dtype == bool and given.shape == (size,):
            return np.flatnonzero(given)
        if not given.size:
            return given.astype(np.intp)
        if given.dtype.kind not in "iu" or given.ndim != 1 or given.min() < 0 or given.max() >= size:
            raise SegmentationError(f"expected numbers of cells from 0 to {size - 1}, got {cells!r}")
        return given.astype(np.intp)

    @property
    def locator(self) -> dict[str, Any] | None:
        """How to find the cell of a point, as plain values; None if by the nearest center."""
        return None if self.lattice is None or self.lattice.by_center else self.lattice.to_dict()

    def fingerprint(self) -> str:
        """Return a digest of the cells: centers, links, areas, box."""
        about = {"centers": self.centers, "pairs": self.pairs, "areas": self.areas, "box": self.box}
        return fingerprint({**about, "locator": self.locator})

    def save(self, path: str | Path) -> None:
        """Write the tessellation to a file, from which `load` reads it back bit for bit.

        Parameters
        ----------
        path : path
            An ``.npz`` file of numpy arrays, readable without this package.
        """
        about = {"format": FORMAT, "type": "Tessellation", "locator": self.locator}
        sink = io.BytesIO()
        np.savez_compressed(
            sink,
            about=np.array(json.dumps(about)),
            centers=self.centers,
            pairs=self.pairs,
            areas=self.areas,
            box=self.box,
            vertices=self.vertices,
            polygon_offsets=self.polygon_offsets,  # type: ignore[arg-type]
        )
        path = Path(path).expanduser()
        aside = path.with_name(f".{path.name}.part")
        aside.write_bytes(sink.getvalue())
        aside.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> Tessellation:
        """Read a tessellation that `save` has written.

        Raises
        ------
        SegmentationError
            If the file cannot be read, or does not hold a tessellation.
        """
        path = Path(path).expanduser()
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                about = json.loads(str(stored["about"]))
                arrays = {name: stored[name] for name in stored.files if name != "about"}
            if about["type"] != "Tessellation" or about["format"] > FORMAT:
                raise ValueError(f"it holds a {about['type']} in format {about['format']}")
            centers, state = arrays["centers"], about["locator"]
            return cls(
                centers,
                pairs_to_adjacency(arrays["pairs"], len(centers)),
                arrays["areas"],
                arrays["box"],
                arrays["vertices"],
                arrays["polygon_offsets"],
                None if state is None else locator_from(state),
            )
        except FileNotFoundError:
            raise SegmentationError(f"no file of a tessellation {path}") from None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise SegmentationError(f"{path} is no file of a tessellation: {error}") from error

    def __len__(self) -> int:
        return self.number_of_cells

    def __repr__(self) -> str:
        extent = " × ".join(f"{e:.3g}" for e in self.box[1] - self.box[0])
        return f"Tessellation({self.number_of_cells} cells, {extent} µm)"
