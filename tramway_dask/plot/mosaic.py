"""Cells as they are drawn: outlines of one or many regions, and the rows of maps that belong to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..errors import SpecificationError, suggest
from ..inference.maps import Maps
from ..results.store import Store
from ..segmentation.lattice import TimeLattice
from ..segmentation.partition import Partition
from ..segmentation.tessellation import Tessellation
from ..spt_data.analyses import FULL_REGION
from ..spt_data.tables import SPACE
from .stored import Stored, load

__all__ = ["Mosaic", "resolve"]

PLACE = ("roi", "segment", "cell")


@dataclass(frozen=True, eq=False)
class Mosaic:
    """m cells of one or many regions.

    Attributes
    ----------
    centers : ndarray (m, d), µm
    vertices : ndarray (k, 2), µm
    starts, sizes : ndarray (m,) of int
        Outline of cell i: ``vertices[starts[i]:starts[i] + sizes[i]]``; size 0 if there is none.
    counts : ndarray (m,) of int
        Translocations.
    areas : ndarray (m,), µm^d
    segment : ndarray (m,) of int
    region : ndarray (m,) of str
    times : dict
        Bounds (s) of each segment; empty without time segmentation.
    pairs : ndarray (p, 2) of int
        Adjacent cells.
    place : ndarray (m,) of int
        Number of each cell in the space of its region: the same in all time segments.
    """

    centers: np.ndarray
    vertices: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray
    areas: np.ndarray
    segment: np.ndarray
    region: np.ndarray
    times: dict[int, tuple[float, float]]
    pairs: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, cells: Any) -> Mosaic:
        """Return the cells of a partition, tessellation, or table of cells.

        Raises
        ------
        SpecificationError
            If `cells` is none of these.
        """
        if isinstance(cells, Partition):
            mosaic = cls.of(cells.tessellation)
            region = np.full(len(mosaic), cells.region_label, dtype=object)
            single = cells.param.get("segment")
            if single is None:
                return replace(mosaic, counts=cells.location_count, region=region)
            index, times = int(single["index"]), tuple(single["times"])
            segment = np.full(len(mosaic), index)
            return replace(
                mosaic, counts=cells.location_count, region=region, segment=segment, times={index: times}
            )
        if isinstance(cells, Tessellation | TimeLattice):
            return cls._of_mesh(cells)
        if isinstance(cells, pd.DataFrame | pa.Table):
            return cls._of_table(cells)
        raise SpecificationError(
            f"expected a partition, a tessellation or a table of cells, got {type(cells).__name__}"
        )

    @classmethod
    def _of_mesh(cls, cells: Tessellation | TimeLattice) -> Mosaic:
        mesh = cells.spatial_mesh
        assert mesh.polygon_offsets is not None
        repeats, times = 1, {}
        segment = np.zeros(mesh.number_of_cells, int)
        if isinstance(cells, TimeLattice):
            repeats, segment = cells.number_of_segments, cells.segment_of_cell
            times = {k: (float(a), float(b)) for k, (a, b) in enumerate(cells.time_lattice)}
        total = mesh.number_of_cells * repeats
        shift = np.arange(repeats)[:, None, None] * mesh.number_of_cells
        return cls(
            centers=cells.centers,
            vertices=mesh.vertices,
            starts=np.tile(mesh.polygon_offsets[:-1], repeats),
            sizes=np.tile(np.diff(mesh.polygon_offsets), repeats),
            counts=np.zeros(total, int),
            areas=cells.areas,
            segment=segment,
            region=np.full(total, FULL_REGION, dtype=object),
            times=times,
            pairs=(mesh.pairs[None] + shift).reshape(-1, 2),
            place=np.tile(np.arange(mesh.number_of_cells), repeats),
        )

    @classmethod
    def _of_table(cls, cells: pd.DataFrame | pa.Table) -> Mosaic:
        if isinstance(cells, pd.DataFrame):
            cells = pa.Table.from_pandas(cells, preserve_index=False)
        missing = [c for c in ("cell", "x", "y", "n") if c not in cells.column_names]
        if missing:
            raise SpecificationError(f"table of cells: column {missing[0]!r} is missing")
        size = len(cells)

        def column(name: str, default: Any) -> np.ndarray:
            return cells[name].to_numpy() if name in cells.column_names else np.full(size, default)

        vertices, sizes = np.empty((0, 2)), np.zeros(size, int)
        if "polygon" in cells.column_names and cells["polygon"].null_count < size:
            outlines = cells["polygon"].combine_chunks()
            sizes = outlines.value_lengths().fill_null(0).to_numpy().astype(int)
            vertices = outlines.flatten().flatten().to_numpy().reshape(-1, 2)
        segment, region = column("segment", 0).astype(int), column("roi", FULL_REGION).astype(object)
        times = {}
        if "t min" in cells.column_names:
            bounds = pd.DataFrame({"k": segment, "a": column("t min", 0.0), "b": column("t max", 0.0)})
            times = {int(k): (float(a), float(b)) for k, a, b in bounds.drop_duplicates("k").to_numpy()}
        space = [c for c in SPACE if c in cells.column_names]
        return cls(
            centers=np.column_stack([column(c, 0.0) for c in space]),
            vertices=vertices,
            starts=np.r_[0, np.cumsum(sizes)][:-1].astype(int),
            sizes=sizes,
            counts=column("n", 0),
            areas=column("area", np.nan).astype(float),
            segment=segment,
            region=region,
            times=times,
            pairs=_links(cells, region),
            place=_places(cells["cell"].to_numpy().astype(int), segment, region),
        )

    @property
    def dimension(self) -> int:
        """Number of space coordinates."""
        return self.centers.shape[1]

    @property
    def segments(self) -> list[int]:
        """Numbers of the time segments."""
        return [int(k) for k in np.unique(self.segment)]

    @property
    def regions(self) -> list[str]:
        """Labels of the regions, in order of appearance."""
        return list(dict.fromkeys(self.region))

    @property
    def outlined(self) -> np.ndarray:
        """Cells that have an outline, ndarray of int."""
        return np.flatnonzero(self.sizes >= 3)

    @property
    def extent(self) -> np.ndarray:
        """Lower and upper corner of all outlines, or of the centers, ndarray (2, 2), µm."""
        points = self.centers[:, :2]
        if len(self.outlined):
            points = self.polygons(self.outlined).reshape(-1, 2)
        points = points[np.isfinite(points).all(axis=1)]
        if not len(points):
            return np.array([[0.0, 0.0], [1.0, 1.0]])
        low, high = points.min(axis=0), points.max(axis=0)
        if not len(self.outlined):
            room = 0.05 * (high - low).max() or 0.5
            low, high = low - room, high + room
        return np.array([low, high])

    def polygons(self, cells: np.ndarray) -> Any:
        """Return outlines of equal length, the last vertex repeated, ndarray (c, k, 2), µm."""
        sizes = self.sizes[cells]
        steps = np.minimum(np.arange(sizes.max(initial=0)), sizes[:, None] - 1)
        return self.vertices[self.starts[cells][:, None] + steps]

    def take(self, rows: np.ndarray) -> Mosaic:
        """Return some of the cells."""
        number = np.full(len(self), -1)
        number[rows] = np.arange(len(rows))
        pairs = number[self.pairs]
        return replace(
            self,
            centers=self.centers[rows],
            starts=self.starts[rows],
            sizes=self.sizes[rows],
            counts=self.counts[rows],
            areas=self.areas[rows],
            segment=self.segment[rows],
            region=self.region[rows],
            place=self.place[rows],
            pairs=pairs[(pairs >= 0).all(axis=1)],
        )

    def components(self, kept: np.ndarray) -> np.ndarray:
        """Return the connected component of each cell, linked through the cells of a mask only."""
        import scipy.sparse as sp
        from scipy.sparse.csgraph import connected_components

        pairs = self.pairs[kept[self.pairs].all(axis=1)]
        links = sp.csr_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(self),) * 2)
        return connected_components(links, directed=False)[1]

    def __len__(self) -> int:
        return len(self.centers)


def _links(cells: pa.Table, region: np.ndarray) -> np.ndarray:
    """Return adjacent rows; the table numbers the cells of each region from 0."""
    if "neighbours" not in cells.column_names or not len(cells):
        return np.empty((0, 2), int)
    neighbours = cells["neighbours"].combine_chunks()
    row = np.repeat(np.arange(len(cells)), neighbours.value_lengths().fill_null(0).to_numpy())
    code = pd.factorize(region)[0]
    cell = cells["cell"].to_numpy().astype(int)
    width = cell.max() + 1
    key = code * width + cell
    order = np.argsort(key, kind="stable")
    wanted = code[row] * width + neighbours.flatten().to_numpy()
    found = np.minimum(np.searchsorted(key[order], wanted), len(key) - 1)
    pairs = np.column_stack([row, order[found]])[key[order][found] == wanted]
    return pairs[pairs[:, 0] < pairs[:, 1]]


def _places(cell: np.ndarray, segment: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Return numbers in space; the cells of a region are numbered segment after segment."""
    if not len(cell) or not segment.any():
        return cell
    rows = pd.DataFrame({"region": region, "segment": segment, "cell": cell})
    ends = rows.groupby(["region", "segment"])["cell"].agg(["min"]).reset_index()
    # cell c of segment k is k M + c for M cells in space, so that k M is at most the first number of segment k
    later = ends[ends["segment"] > 0]
    size = (later["min"] // later["segment"]).groupby(later["region"]).min()
    return np.asarray(cell - segment * size.reindex(region).fillna(0).to_numpy(int))


def resolve(
    maps: Any, sampling: Any = None, *, cells: Any = None, roi: Any = None
) -> tuple[Mosaic, pd.DataFrame]:
    """Return cells, and a table with one row for each of them, NaN where a cell is not mapped.

    Parameters
    ----------
    maps : Maps, DataFrame, Stored, Store or path
        Maps, a table indexed by cell, a table of the results with columns ``roi``, ``segment``,
        ``cell``, what `load` returns, or a results folder that leaves no choice.
    sampling : Partition or Tessellation, optional
        Cells; default: the partition that the maps were inferred from.
    cells : DataFrame or pyarrow Table, optional
        Table of cells of the results. Without one, the centers of the table of maps are shown.
    roi : str or sequence of str, optional
        Regions to keep.

    Raises
    ------
    SpecificationError
        If the cells are not known, do not fit, or belong to several sources.
    """
    if isinstance(maps, Store | str | Path):
        maps = load(maps)
    if isinstance(maps, Stored):
        maps, cells = maps.table, maps.cells if cells is None else cells
    if isinstance(maps, Maps):
        _check_same_cells(maps, sampling)
        table, sampling = maps.table, sampling if sampling is not None else maps.parent
        if sampling is None:
            raise SpecificationError(
                "these maps do not know their cells: give `sampling=`, the partition they were inferred from"
            )
    elif isinstance(maps, pd.DataFrame):
        table = maps
    else:
        raise SpecificationError(
            f"expected maps, a table of maps or a results folder, got {type(maps).__name__}"
        )
    if sampling is not None:
        mosaic = Mosaic.of(sampling)
        table = _by_number(table, len(mosaic))
    else:
        mosaic, table = _by_place(table, cells)
    if roi is not None:
        wanted = [roi] if isinstance(roi, str) else list(roi)
        unknown = [r for r in wanted if r not in mosaic.regions]
        if unknown:
            raise SpecificationError(
                f"no region {unknown[0]!r} in these maps; {suggest(unknown[0], mosaic.regions)}"
            )
        rows = np.flatnonzero(np.isin(mosaic.region.astype(str), wanted))
        mosaic, table = mosaic.take(rows), table.iloc[rows]
    return mosaic, table


def _check_same_cells(maps: Maps, sampling: Any) -> None:
    own = maps.parent
    if not (isinstance(own, Partition) and isinstance(sampling, Partition)) or own is sampling:
        return
    ours, theirs = own.centers, sampling.centers
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-6, atol=1e-9):
        raise SpecificationError(
            f"the maps were inferred from other cells ({len(ours)}) than those of the sampling ({len(theirs)}): "
            "they do not belong together; leave `sampling` out"
        )


def _by_number(table: pd.DataFrame, size: int) -> pd.DataFrame:
    number = np.asarray(table["cell"] if "cell" in table.columns else table.index)
    if number.dtype.kind not in "iu" or len(np.unique(number)) != len(number):
        raise SpecificationError("expected one row per cell, indexed by the number of the cell")
    if len(number) and not 0 <= number.min() <= number.max() < size:
        raise SpecificationError(
            f"the maps have a row for cell {number.max()}, the sampling has cells 0 to {size - 1}: "
            "they do not belong together"
        )
    return table.set_axis(pd.Index(number), axis=0).reindex(range(size))


def _by_place(table: pd.DataFrame, cells: Any) -> tuple[Mosaic, pd.DataFrame]:
    missing = [c for c in (*PLACE, "x", "y") if c not in table.columns]
    if missing:
        raise SpecificationError(
            f"table of maps: column {missing[0]!r} is missing; give `sampling=`, "
            "or a table as `a.maps(label)` gives"
        )
    sources = list(table["source"].unique()) if "source" in table.columns else []
    if len(sources) > 1:
        raise SpecificationError(
            f"the table holds the maps of {len(sources)} sources ({', '.join(map(str, sources[:3]))}…): "
            "choose one, as in `table[table['source'] == name]`"
        )
    if cells is None:
        cells = table[[c for c in (*PLACE, *SPACE, "n", "t min", "t max") if c in table.columns]]
        cells = cells if "n" in cells.columns else cells.assign(n=0)
    if isinstance(cells, pd.DataFrame):
        cells = pa.Table.from_pandas(cells, preserve_index=False)
    if sources and "source" in cells.column_names:
        import pyarrow.compute as pc

        cells = cells.filter(pc.equal(cells["source"], sources[0]))
    mosaic = Mosaic.of(cells)
    mapped = set(zip(table["roi"], table["segment"], strict=True))
    here = pd.MultiIndex.from_arrays([mosaic.region, mosaic.segment])
    rows = np.flatnonzero(here.isin(mapped)) if mapped else np.arange(len(mosaic))
    mosaic, number = mosaic.take(rows), cells["cell"].to_numpy()[rows]
    places = pd.MultiIndex.from_frame(table[list(PLACE)].astype({"roi": object}))
    if not places.is_unique:
        raise SpecificationError("table of maps: several rows for one cell of one region and segment")
    wanted = pd.MultiIndex.from_arrays([mosaic.region, mosaic.segment, number], names=PLACE)
    where = places.get_indexer(wanted)
    if len(places) and (np.bincount(where[where >= 0], minlength=len(places)) == 0).any():
        raise SpecificationError(
            "the tables of maps and of cells do not belong together: some cells are not in both"
        )
    aligned = table.reset_index(drop=True).reindex(where)
    return mosaic, aligned.reset_index(drop=True)
