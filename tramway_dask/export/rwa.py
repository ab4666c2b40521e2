"""Writer of TRamWAy's ``.rwa`` files, without TRamWAy: what TRamWAy 0.7 loads as an analysis tree.

The file is HDF5: one group per object, its Python type in an attribute. Cells are written as a Voronoi
tessellation of their centers, with our adjacency, areas and outlines, so that TRamWAy has no reason to
compute others.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import MissingDependencyError, StoreError
from ..inference.maps import Maps
from ..segmentation.partition import Partition
from ..segmentation.survey import ReducedPartition
from ..segmentation.tessellation import Tessellation
from ..spt_data.tables import space_columns

if TYPE_CHECKING:
    from ..spt_data.analyses import Analyses

__all__ = ["write_rwa"]


def write_rwa(path: str | os.PathLike[str], data: pd.DataFrame, analyses: Analyses) -> None:
    """Write trajectories, samplings and maps to a file that TRamWAy 0.7 loads.

    Parameters
    ----------
    path : str or path
        Written whole or not at all.
    data : DataFrame
        Trajectories or translocations, at the root of the tree.
    analyses : Analyses
        Samplings and their maps. Standard errors are further columns of the maps.

    Raises
    ------
    StoreError
        If the file cannot be written, or a sampling has kept sums only.
    MissingDependencyError
        If h5py is not installed.

    Notes
    -----
    A label with ``/`` gets ``|`` instead, which HDF5 allows in names. The samplings of several regions
    under one label are told apart by the region: ``<label> - <region>``.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            f'h5py is needed to write {path}: pip install "tramway_dask[rwa]" (or h5py)'
        ) from error
    path = Path(path)
    with _aside(path) as temporary, h5py.File(temporary, "w") as file:
        _write_tree(file, data, analyses)


@contextlib.contextmanager
def _aside(path: Path) -> Iterator[str]:
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".writing-", suffix=".rwa", dir=path.parent)
        os.close(handle)
        yield temporary
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _write_tree(file: Any, data: pd.DataFrame, analyses: Analyses) -> None:
    root = _object(file, "analyses", "tramway.core.analyses.Analyses")
    _put(root, "_data", data)
    items = analyses.items()
    regions: dict[Any, int] = {}
    for label, _, _ in items:
        regions[label] = regions.get(label, 0) + 1
    branches = _branches(root, analyses.comments)
    for label, region, node in items:
        name = str(label) if regions[label] == 1 else f"{label} - {region}"
        branch = _object(branches, _name(name), "tramway.core.analyses.Analyses")
        partition = node.data
        _put_partition(branch, partition, data)
        leaves = _branches(branch, node.comments)
        for map_label, child in node.children():
            leaf = _object(leaves, _name(str(map_label)), "tramway.core.analyses.Analyses")
            _put_maps(leaf, child.data)
            _branches(leaf, {})


def _name(label: str) -> str:
    return label.replace("/", "|")


def _branches(node: Any, comments: Mapping[Any, str]) -> Any:
    """Give a node its comments and metadata, and return the group of the nodes below."""
    _put(node, "_comments", {_name(str(k)): v for k, v in comments.items()})
    _put(node, "_metadata", {})
    children = _object(node, "_instances", "Python.dict", "2").create_group("items")
    children.attrs["key type"] = np.bytes_(b"Python.unicode")
    return children


def _object(group: Any, name: str, kind: str, version: str = "1") -> Any:
    made = group.create_group(name)
    made.attrs["type"], made.attrs["version"] = np.bytes_(kind), np.bytes_(version)
    return made


def _array(group: Any, name: str, values: Any) -> None:
    values = np.ascontiguousarray(values)
    if values.dtype.kind in "OUT":
        values = np.array([str(v).encode() for v in values.flat], dtype=bytes).reshape(values.shape)
    made = group.create_dataset(name, data=values)
    made.attrs["type"], made.attrs["version"] = np.bytes_(b"Python.numpy.ndarray"), np.bytes_(b"1")


def _sequence(group: Any, name: str, values: Sequence[Any], kind: str) -> None:
    """Write a list or tuple of anything."""
    made = _object(group, name, f"Python.{kind}", "2")
    if len(values):
        made.attrs["homogeneous"] = np.bytes_(b"0")
    for i, value in enumerate(values):
        _put(made, str(i), value)


def _numbers(group: Any, name: str, values: Sequence[int], kind: str) -> None:
    """Write a list or tuple of whole numbers."""
    made = group.create_dataset(name, data=np.asarray(values, dtype=np.int64))
    made.attrs["type"], made.attrs["version"] = np.bytes_(f"Python.{kind}"), np.bytes_(b"2")
    made.attrs["homogeneous"], made.attrs["element type"] = np.bytes_(b"1"), np.bytes_(b"Python.int")


def _put(group: Any, name: str, value: Any) -> None:
    """Write a value of a plain type; None is not written."""
    if value is None:
        return
    if isinstance(value, pd.DataFrame):
        _table(group, name, value)
    elif isinstance(value, np.ndarray):
        _array(group, name, value)
    elif isinstance(value, bool | int | float | np.number | np.bool_):
        group.create_dataset(name, data=value)
    elif isinstance(value, str):
        text = value.encode()
        made = group.create_dataset(name, data=np.bytes_(text or b"\0"))
        made.attrs["type"], made.attrs["version"] = np.bytes_(b"Python.unicode"), np.bytes_(b"1")
    elif isinstance(value, Mapping):
        made = _object(group, name, "Python.dict", "2")
        if value:
            items = made.create_group("items")
            items.attrs["key type"] = np.bytes_(b"Python.unicode")
            for key, item in value.items():
                _put(items, _name(str(key)), item)
    elif isinstance(value, list | tuple):
        _sequence(
            group, name, [v for v in value if v is not None], "tuple" if isinstance(value, tuple) else "list"
        )
    else:
        _put(group, name, str(value))


def _table(group: Any, name: str, table: pd.DataFrame) -> None:
    made = _object(group, name, "Python.pandas.core.frame.DataFrame", "2")
    data = _object(made, "data", "Python.collections.OrderedDict", "2")
    for part in ("keys", "values"):
        data.create_group(part).attrs["homogeneous"] = np.bytes_(b"0")
    for i, column in enumerate(table.columns):
        _put(data["keys"], str(i), str(column))
        _array(data["values"], str(i), table[column].to_numpy())
    index = table.index
    if isinstance(index, pd.RangeIndex):
        rows = _object(made, "index", "Python.pandas.core.index.RangeIndex")
        for part, value in (("_start", index.start), ("_stop", index.stop), ("_step", index.step)):
            rows.create_dataset(part, data=value)
    else:
        rows = _object(made, "index", "Python.pandas.core.index.Index")
        _numbers(rows, "data", index.tolist(), "list")


def _lazy(group: Any, **which: bool) -> None:
    """Say which attributes TRamWAy has to compute when they are asked for."""
    _put(group, "_lazy", which)


def _put_partition(branch: Any, partition: Partition, data: pd.DataFrame) -> None:
    if isinstance(partition, ReducedPartition):
        raise StoreError(
            f"the sampling of region {partition.region_label!r} has kept sums only, not its translocations "
            "(it was read in blocks): it cannot be written as .rwa; export its maps as parquet instead"
        )
    made = _object(branch, "_data", "tramway.tessellation.base.Partition")
    points = partition.points
    if not points.equals(data):
        _put(made, "_points", points.reset_index(drop=True))
    _put_assignment(made, partition)
    _array(made, "_location_count", partition.location_count.astype(np.int64))
    _lazy(made, bounding_box=True, cell_index=False, location_count=False)
    mesh, name = partition.tessellation, "_tessellation"
    columns = space_columns(points)
    if partition.segments is not None:
        made_mesh = _object(made, name, "tramway.tessellation.time.TimeLattice")
        _array(made_mesh, "_time_lattice", partition.segments)
        parts = ("adjacency_label", "cell_adjacency", "cell_centers", "cell_label", "cell_volume")
        _lazy(made_mesh, **dict.fromkeys(parts, True))
        _put_scaler(made_mesh, [], init=True)
        _put_mesh(made_mesh, "_spatial_mesh", mesh.spatial_mesh, columns)
    else:
        _put_mesh(made, name, mesh.spatial_mesh, columns)
    _put(made, "param", _parameters(partition))


def _parameters(partition: Partition) -> dict[str, Any]:
    """Return TRamWAy's description of a sampling."""
    param = dict(partition.param)
    roi = dict(param.get("roi") or {})
    described: dict[str, Any] = {"method": str(param.get("method") or "voronoi")}
    if roi.get("label"):
        described["roi"] = {"label": str(roi["label"])}
    return described


def _put_assignment(made: Any, partition: Partition) -> None:
    cells, rows = partition.cell_of_assignment, partition.indices
    if len(np.unique(rows)) == len(rows):
        index = np.full(len(partition.points), -1, dtype=np.int64)
        index[rows] = cells
        _array(made, "_cell_index", index)
        return
    order = np.lexsort((cells, rows))
    _sequence(made, "_cell_index", (rows[order].astype(np.int64), cells[order].astype(np.int64)), "tuple")


def _put_scaler(group: Any, columns: Sequence[str], *, init: bool) -> None:
    scaler = _object(group, "scaler", "tramway.core.scaler.Scaler")
    scaler.create_dataset("init", data=init)
    _sequence(scaler, "columns", columns, "list")
    if columns:
        _sequence(scaler, "euclidean", columns, "list")


def _put_mesh(group: Any, name: str, mesh: Tessellation, columns: Sequence[str]) -> None:
    made = _object(group, name, "tramway.tessellation.base.Voronoi")
    _array(made, "_cell_centers", mesh.centers)
    _sparse(made, "_cell_adjacency", mesh.adjacency)
    _array(made, "_cell_volume", mesh.areas)
    outlined = len(mesh.vertices) > 0
    if outlined:
        _put_outlines(made, mesh)
    lazy = dict.fromkeys(("vertices", "cell_vertices", "vertex_adjacency"), not outlined)
    _lazy(made, cell_adjacency=False, cell_volume=False, **lazy)
    _put_scaler(made, columns, init=False)


def _sparse(group: Any, name: str, matrix: Any) -> None:
    made = _object(group, name, "Python.scipy.sparse.csr.csr_matrix")
    _array(made, "data", matrix.data.astype(bool))
    _array(made, "indices", matrix.indices.astype(np.int32))
    _array(made, "indptr", matrix.indptr.astype(np.int32))
    _numbers(made, "shape", matrix.shape, "tuple")


def _put_outlines(made: Any, mesh: Tessellation) -> None:
    """Write vertices once each, with the cells and edges that join them."""
    offsets = np.asarray(mesh.polygon_offsets)
    size = float(np.ptp(mesh.box, axis=0).max())
    _, first, number = np.unique(
        np.round(mesh.vertices / (1e-9 * size)).astype(np.int64),
        axis=0,
        return_index=True,
        return_inverse=True,
    )
    number = number.ravel()
    _array(made, "_vertices", mesh.vertices[first])
    cells = _object(made, "_cell_vertices", "Python.dict", "2").create_group("items")
    cells.attrs["key type"] = np.bytes_(b"Python.int")
    for cell, (start, stop) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
        _array(cells, str(cell), number[start:stop].astype(np.int64))
    following = np.arange(1, len(number) + 1)
    following[offsets[1:][np.diff(offsets) > 0] - 1] = offsets[:-1][np.diff(offsets) > 0]
    edges = np.sort(np.column_stack([number, number[following]]), axis=1)
    edges = np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0)
    both = np.concatenate([edges, edges[:, ::-1]])
    links = _object(made, "_vertex_adjacency", "Python.scipy.sparse.coo.coo_matrix")
    _array(links, "data", np.ones(len(both), dtype=bool))
    _array(links, "row", both[:, 0].astype(np.int32))
    _array(links, "col", both[:, 1].astype(np.int32))
    _numbers(links, "shape", (len(first), len(first)), "tuple")


def _put_maps(leaf: Any, maps: Maps) -> None:
    made = _object(leaf, "_data", "tramway.inference.base.Maps")
    _put(made, "maps", maps.table)
    _put(made, "mode", str(maps.mode))
    _put(made, "runtime", float(maps.runtime))
    if maps.sigma is not None:
        # TRamWAy's name of the variance
        _put(made, "localization_error", float(maps.sigma) ** 2)
    for name in ("diffusivity_prior", "potential_prior", "min_diffusivity"):
        value = maps.attrs.get(name)
        if isinstance(value, int | float):
            _put(made, name, float(value))
