"""Partitions and maps as tables, and back.

``cells`` has one row per cell, ``assignment`` one per (cell, translocation), with
cell -1 for a translocation in none, and maps one row per mapped cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..component import Component
from ..errors import StoreError
from ..inference.maps import Maps
from ..inference.statistics import CellStatistics
from ..segmentation.partition import Partition
from ..segmentation.survey import ReducedPartition
from ..spt_data.analyses import Analyses, Label, Node
from ..spt_data.tables import SPACE
from .payload import Record
from .store import UNLABELLED

__all__ = [
    "attach",
    "collect",
    "folder_of",
    "label_of",
    "maps_record",
    "partition_record",
    "remarks",
    "removed",
    "to_maps",
    "to_partition",
]

# columns of a table of maps that are not mapped variables
_KEYS = ("source", "condition", "replicate", "sampling", "roi", "segment", "cell")
KEYS = (*_KEYS, *SPACE, "t min", "t max", "n")
POLYGON = pa.list_(pa.list_(pa.float64()))


def folder_of(label: Label, region: str) -> str:
    """Return the sampling folder of a tree label: samplings labelled after their region share one."""
    if label == region:
        return UNLABELLED
    if str(label) == UNLABELLED:
        raise StoreError(
            f"samplings cannot be labelled {UNLABELLED!r}: those without a label of their own are there; choose another"
        )
    return str(label)


def label_of(folder: str, region: str) -> Label:
    """Return the tree label of a sampling folder."""
    return region if folder == UNLABELLED else _number_if_whole(folder)


def _number_if_whole(text: str) -> Label:
    return int(text) if text.isdecimal() and str(int(text)) == text else text


def _cell_table(partition: Partition) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "segment": partition.segment_of_cell.astype(np.int32),
        "cell": np.arange(partition.number_of_cells, dtype=np.int64),
    }
    columns |= dict(zip(SPACE, partition.centers.T, strict=False))
    single = partition.param.get("segment")
    if single is not None:
        columns["segment"] = np.full(partition.number_of_cells, single["index"], np.int32)
        start, stop = single["times"]
        columns |= {k: np.full(partition.number_of_cells, t) for k, t in (("t min", start), ("t max", stop))}
    elif partition.segments is not None:
        bounds = partition.segments[partition.segment_of_cell]
        columns |= {"t min": bounds[:, 0], "t max": bounds[:, 1]}
    columns["n"] = partition.location_count.astype(np.int64)
    return columns


def partition_record(partition: Partition, label: Label) -> Record:
    """Return a partition as tables."""
    arrays = partition.to_arrays()
    cells = _cell_table(partition)
    cells["area"] = partition.areas
    repeats = 1 if partition.segments is None else len(partition.segments)
    cells["polygon"] = _polygons(arrays["vertices"], arrays["polygon_offsets"], repeats)
    links = partition.adjacency()
    cells["neighbours"] = pa.ListArray.from_arrays(
        pa.array(links.indptr.astype(np.int32)), pa.array(links.indices.astype(np.int32))
    )
    if isinstance(partition, ReducedPartition):
        assignment = _sums_table(partition.statistics)
    else:
        assignment = _assignment_table(partition)
    region = partition.region_label
    attrs = {
        "box": arrays["box"].tolist(),
        "segments": None if partition.segments is None else partition.segments.tolist(),
        "locator": arrays["locator"],
        "param": plain(partition.param),
        "reduced": isinstance(partition, ReducedPartition),
    }
    tables = {"cells": pa.table(cells), "assignment": assignment}
    return Record(folder_of(label, region), None, region, tables, attrs)


def _assignment_table(partition: Partition) -> pa.Table:
    owner = partition.cell_of_assignment
    free = np.setdiff1d(np.arange(len(partition.points)), partition.indices)
    row = np.concatenate([partition.indices, free]).astype(np.int64)
    cell = np.concatenate([owner, np.full(len(free), -1)]).astype(np.int32)
    order = np.lexsort((cell, row))
    own = ("cell", "translocation", "source", "roi")
    points = partition.points.take(row[order]).reset_index(drop=True).drop(columns=[*own], errors="ignore")
    points.insert(0, "translocation", row[order])
    points.insert(0, "cell", cell[order])
    points.attrs = {}
    return pa.Table.from_pandas(points, preserve_index=False)


def _sums_table(sums: CellStatistics) -> pa.Table:
    columns: dict[str, Any] = {"cell": sums.cell.astype(np.int32), "dt": sums.dt, "n": sums.n}
    columns |= {f"sum d{c}": column for c, column in zip(SPACE, sums.s1.T, strict=False)}
    return pa.table({**columns, "sum dr²": sums.s2})


def _polygons(vertices: np.ndarray, offsets: np.ndarray, repeats: int) -> pa.Array:
    if not len(vertices):
        return pa.nulls((len(offsets) - 1) * repeats, POLYGON)
    flat = pa.array(np.tile(vertices, (repeats, 1)).ravel())
    pairs = pa.ListArray.from_arrays(pa.array(np.arange(0, len(flat) + 1, 2, dtype=np.int32)), flat)
    sizes = np.tile(np.diff(offsets), repeats)
    return pa.ListArray.from_arrays(pa.array(np.r_[0, np.cumsum(sizes)].astype(np.int32)), pairs)


def to_partition(record: Record) -> Partition:
    """Rebuild a partition."""
    try:
        cells, assignment = record.tables["cells"], record.tables["assignment"].to_pandas()
        segments = record.attrs["segments"]
        size = len(cells) // (len(segments) if segments else 1)
        space = [c for c in SPACE if c in cells.column_names]
        spatial = cells.slice(0, size)
        centers = np.column_stack([spatial[c].to_numpy() for c in space])
        neighbours = spatial["neighbours"].combine_chunks()
        row = np.repeat(np.arange(size), np.diff(neighbours.offsets.to_numpy()))
        links = np.column_stack([row, neighbours.flatten().to_numpy()])
        polygons = spatial["polygon"].combine_chunks()
        vertices = offsets = None
        if polygons.null_count < len(polygons):
            offsets = polygons.offsets.to_numpy() - polygons.offsets[0].as_py()
            vertices = polygons.flatten().flatten().to_numpy().reshape(-1, 2)
        param = dict(record.attrs["param"])
        common = {
            "centers": centers,
            "pairs": links[links[:, 0] < links[:, 1]],
            "areas": spatial["area"].to_numpy(),
            "box": record.attrs["box"],
            "vertices": vertices,
            "polygon_offsets": offsets,
            "segments": segments,
            "locator": record.attrs.get("locator"),
            "param": param,
        }
        if record.attrs.get("reduced"):
            return _to_reduced(cells["n"].to_numpy(), assignment, common, space)
        points = assignment.drop_duplicates("translocation").sort_values("translocation")
        points = points.drop(columns=["cell", "translocation", "source", "roi"], errors="ignore")
        inside = assignment[assignment["cell"] >= 0].sort_values(["cell", "translocation"])
        counts = np.bincount(inside["cell"], minlength=len(cells))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise StoreError(
            f"the stored sampling {record.label!r} of region {record.roi!r} is incomplete: {error!r}"
        ) from error
    points = points.reset_index(drop=True)
    points.attrs = {
        "roi": param.get("roi"),
        "localization_precision": param.get("localization_precision"),
    }
    indptr = np.r_[0, np.cumsum(counts)]
    return Partition.from_arrays(
        points=points, indptr=indptr, indices=inside["translocation"].to_numpy(), **common
    )


def _to_reduced(
    counts: np.ndarray, table: pd.DataFrame, common: dict[str, Any], space: list[str]
) -> Partition:
    none = np.zeros(len(counts) + 1, np.int64)
    empty = Partition.from_arrays(points=pd.DataFrame(), indptr=none, indices=none[:0], **common)
    sums = CellStatistics(
        table["cell"].to_numpy(np.intp),
        table["dt"].to_numpy(float),
        table["n"].to_numpy(float),
        table[[f"sum d{c}" for c in space]].to_numpy(float),
        table["sum dr²"].to_numpy(float),
        len(counts),
    )
    return ReducedPartition(empty.tessellation, counts, sums, common["param"])


def maps_record(maps: Maps, label: Label, map_label: Label, region: str, partition: Partition) -> Record:
    """Return maps as a table, with the place, time and count of each cell."""
    if isinstance(maps.parent, Partition):
        partition = maps.parent  # that of one time segment, maybe
    where = pd.DataFrame(_cell_table(partition))
    cells = maps.table.index.to_numpy()
    unknown = np.setdiff1d(cells, where["cell"])
    if len(unknown):
        raise StoreError(
            f"maps {map_label!r} have rows for cells {unknown[:5].tolist()}, which the sampling does not have: "
            f"it has cells 0 to {len(where) - 1}"
        )
    values = maps.table.reset_index(drop=True)
    taken = [str(c) for c in values.columns if c in KEYS]
    values = values.rename(columns={c: f"{c} mapped" for c in taken}).rename(columns=str)
    table = pd.concat([where.iloc[cells].reset_index(drop=True), values], axis=1)
    attrs = {
        "mode": maps.mode,
        "sigma": maps.sigma,
        "runtime": maps.runtime,
        "attrs": plain(maps.attrs),
        "renamed": taken,
    }
    try:
        tables = {"maps": pa.Table.from_pandas(table, preserve_index=False)}
    except (pa.ArrowException, ValueError) as error:
        told = "; ".join(map(str, error.args))
        raise StoreError(
            f"maps {map_label!r} of region {region!r} cannot be stored: {told}; a mapped variable is a column of "
            "its own name that holds numbers, booleans or texts"
        ) from error
    return Record(folder_of(label, region), str(map_label), region, tables, attrs)


def to_maps(record: Record) -> Maps:
    """Rebuild maps."""
    table = record.tables["maps"].to_pandas()
    table = table.set_index("cell")
    values = table.drop(columns=[c for c in KEYS if c in table.columns])
    values = values.rename(columns={f"{c} mapped": c for c in record.attrs.get("renamed", ())})
    return Maps(
        values,
        mode=record.attrs["mode"],
        sigma=record.attrs["sigma"],
        runtime=record.attrs["runtime"],
        attrs=dict(record.attrs["attrs"]),
    )


def remarks(record: Record) -> list[str]:
    """Say what should be looked at in maps: no convergence, a prior at its limit."""
    about = record.attrs.get("attrs", {})
    found = []
    if about.get("converged") is False:
        found.append(f"maps {record.map_label!r} have not converged: {about.get('message', '')}")
    flags = (about.get("prior_selection") or {}).get("flags") or {}
    return found + [f"{name}: {reason}" for name, reason in flags.items()]


def plain(value: Any) -> Any:
    """Return a value as JSON types; what has no such form becomes its text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | np.floating):
        return float(value)
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Component):
        return plain(value.to_dict())
    if isinstance(value, pd.DataFrame | pd.Series):
        return plain(value.to_dict("list") if isinstance(value, pd.DataFrame) else value.tolist())
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    return repr(value)


def collect(tree: Analyses) -> list[Record]:
    """Return what was set in a tree since it was made or filled from the store."""
    records = []
    for label, region, node in tree.items():
        if node.modified:
            records.append(partition_record(node.data, label))
        for map_label, child in node.children():
            if child.modified:
                records.append(maps_record(child.data, label, map_label, region, node.data))
    return records


def removed(tree: Analyses) -> list[list[str | None]]:
    """Return what was deleted from a tree: (sampling folder, map label, region) of each artefact.

    Maps below a sampling that was set are not among them: the results folder drops them if the
    sampling has changed.
    """
    present: set[tuple[str, str | None, str]] = set()
    for label, region, node in tree.items():
        folder = folder_of(label, region)
        present.add((folder, None, region))
        if not node.stored:
            present |= {output for output in tree.stored if (output[0], output[2]) == (folder, region)}
        present |= {(folder, str(map_label), region) for map_label in node.labels}
    return sorted(([*output] for output in tree.stored - present), key=str)


def attach(tree: Analyses, record: Record, load: Any = None) -> None:
    """Hang a stored artefact into a tree; it is rebuilt at first use.

    Parameters
    ----------
    tree : Analyses
    record : Record
        May be without tables if `load` is given.
    load : callable, optional
        Returns the record with its tables.
    """
    label = label_of(record.label, record.roi)
    tree.stored.add(record.output)
    read = load if load is not None else lambda: record
    if record.map_label is None:
        tree.attach(label, record.roi, Node(loader=lambda: to_partition(read())))
    else:
        node = tree.of_region(label, record.roi)
        node.attach(_number_if_whole(record.map_label), Node(loader=lambda: to_maps(read())))
