"""Analyses in TRamWAy's ``.rwa`` files: its samplings and maps, as those of this package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, SegmentationError
from ..inference.maps import Maps
from ..segmentation.lattice import TimeLattice
from ..segmentation.partition import Partition
from ..segmentation.tessellation import Tessellation
from ..spt_data.analyses import Analyses, Node
from ..spt_data.hdf5 import child, has, open_hdf5
from ..spt_data.rwa import root_table
from ..spt_data.rwaobjects import Decoder, type_of
from ..spt_data.tables import SPACE, at_origins, followed, is_translocations

__all__ = ["read_rwa_analyses"]


def read_rwa_analyses(path: str | Path) -> Analyses:
    """Read the analysis tree of a ``.rwa`` file of TRamWAy.

    Parameters
    ----------
    path : str or Path
        File written by TRamWAy (HDF5; needs h5py).

    Returns
    -------
    Analyses
        ``tree.data`` is the table at the root; ``tree[label].data`` a `Partition`, whose
        ``param['roi']`` has the label and the bounds of its region; and
        ``tree[label][map_label].data`` are `Maps`. Cells are the Voronoi cells of TRamWAy's centers,
        within the bounds of the points; which points they hold is as in the file. A location stands
        for the translocation that starts there.

    Raises
    ------
    DataError
        If the file cannot be read, or holds analyses of an unknown kind.
    MissingDependencyError
        If h5py is not installed.

    Examples
    --------
    >>> tree = read_rwa_analyses("cell07.rwa")  # doctest: +SKIP
    >>> tree["hexagon"]["dv"].data["diffusivity"]  # doctest: +SKIP
    """
    path = Path(path).expanduser()
    try:
        with open_hdf5(path, "rwa") as file:
            decoder = Decoder()
            table = decoder.table(root_table(file))
            tree = Analyses(lambda: table)
            for label, group in _instances(child(file, "analyses"), decoder):
                node = _sampling(group, table, label, decoder)
                if node is not None:
                    tree.attach(label, node.data.region_label, node)
    except (DataError, SegmentationError) as error:
        raise DataError(f"{path}: {error}") from error.__cause__
    return tree


def _instances(group: Any, decoder: Decoder) -> list[tuple[str | int, Any]]:
    """Return the labels and nodes below a node."""
    if not has(group, "_instances"):
        return []
    return decoder.members(child(group, "_instances"))


def _sampling(group: Any, root: pd.DataFrame, label: str | int, decoder: Decoder) -> Node | None:
    if not has(group, "_data"):  # a placeholder
        return None
    stored = child(group, "_data")
    if type_of(stored).split(".")[-1] not in ("Partition", "CellStats"):
        raise DataError(f"the analysis {label!r} is {type_of(stored)}, not a partition")
    partition = _partition(stored, root, decoder)
    node = Node(partition)
    for name, below in _instances(group, decoder):
        if has(below, "_data"):
            maps = child(below, "_data")
            if type_of(maps).split(".")[-1] != "Maps":
                raise DataError(f"the analysis {label!r}/{name!r} is {type_of(maps)}, not maps")
            node.add(_maps(maps, partition, decoder), name, _comment(group, name, decoder))
    return node


def _comment(group: Any, label: str | int, decoder: Decoder) -> str | None:
    if not has(group, "_comments"):
        return None
    return decoder.value(child(group, "_comments")).get(label)


def _partition(group: Any, root: pd.DataFrame, decoder: Decoder) -> Partition:
    points = decoder.table(child(group, "_points")) if has(group, "_points") else root
    rows, cells = _assignment(decoder.value(child(group, "_cell_index")), len(points))
    if not is_translocations(points):
        # a location stands for the translocation that starts there
        origin = np.flatnonzero(followed(points["n"].to_numpy()))
        place = np.full(len(points), -1)
        place[origin] = np.arange(len(origin))
        rows = place[rows]
        rows, cells = rows[rows >= 0], cells[rows >= 0]
        points = at_origins(points, origin, origin + 1)
    name = "_tessellation" if has(group, "_tessellation") else "_tesselation"
    tessellation = _tessellation(child(group, name), points, decoder)
    count = tessellation.number_of_cells
    if len(cells) and cells.max() >= count:
        raise DataError(
            f"the cell {cells.max()} holds points, and there are {count} cells; the file is corrupt"
        )
    order = np.lexsort((rows, cells))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=count))])
    param = decoder.value(child(group, "param")) if has(group, "param") else {}
    return Partition(
        points.reset_index(drop=True),
        tessellation,
        indptr.astype(np.intp),
        rows[order].astype(np.intp),
        _param(param),
    )


def _param(stored: Any) -> dict[str, Any]:
    param = dict(stored) if isinstance(stored, Mapping) else {}
    roi = param.get("roi")
    if isinstance(roi, Mapping) and roi.get("bounding_box") is not None:
        param["roi"] = {**roi, "bounding_box": np.asarray(roi["bounding_box"], float).tolist()}
    return param


def _assignment(stored: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of points and the cells that they are in."""
    if isinstance(stored, np.ndarray) and stored.shape == (count,):
        index = stored.astype(np.int64)
        rows = np.flatnonzero(index >= 0)
        return rows, index[rows]
    if isinstance(stored, list) and len(stored) == 2:
        rows, cells = (np.asarray(s, np.int64).ravel() for s in stored)
        if len(rows) == len(cells) and (
            not len(rows) or (rows.min() >= 0 and rows.max() < count and cells.min() >= 0)
        ):
            return rows, cells
    raise DataError(f"the assignment of {count} points to cells has another form; the file is corrupt")


def _tessellation(group: Any, points: pd.DataFrame, decoder: Decoder) -> Tessellation | TimeLattice:
    if has(group, "_time_lattice"):
        mesh = _tessellation(child(group, "_spatial_mesh"), points, decoder)
        if isinstance(mesh, TimeLattice):
            raise DataError("a time segmentation within a time segmentation")
        return TimeLattice(mesh, np.asarray(decoder.value(child(group, "_time_lattice")), float))
    if not has(group, "_cell_centers"):
        raise DataError(f"a tessellation of {type_of(group)}, without centers of cells, is not read")
    scaler = decoder.value(child(group, "scaler")) if has(group, "scaler") else {}
    if isinstance(scaler, dict) and scaler.keys() & {"center", "factor"}:
        raise DataError("a tessellation of scaled coordinates is not read")
    centers = decoder.value(child(group, "_cell_centers"))
    space = points[[c for c in SPACE if c in points]].to_numpy(float)
    if not isinstance(centers, np.ndarray) or centers.ndim != 2 or centers.shape[1] != space.shape[1]:
        raise DataError("the centers of the cells have not as many coordinates as the points")
    everything = np.concatenate([space, centers])
    return Tessellation.from_centers(centers, np.array([everything.min(axis=0), everything.max(axis=0)]))


def _maps(group: Any, partition: Partition, decoder: Decoder) -> Maps:
    mode = decoder.value(child(group, "mode")) if has(group, "mode") else ""
    name = next((c for c in ("maps", mode, "result") if c and has(group, c)), None)
    if name is None:
        raise DataError(f"maps without a table; they have {', '.join(group)}")
    table = decoder.table(child(group, name), check=False)
    if len(table) and not (table.index.min() >= 0 and table.index.max() < partition.number_of_cells):
        raise DataError("the maps are of cells that the partition does not have; the file is corrupt")
    other = {c: decoder.value(child(group, c)) for c in group if c not in ("maps", "mode", name)}
    maps = Maps(
        table,
        str(mode),
        other.pop("sigma", None),
        float(other.pop("runtime", 0.0)),
        {key.lstrip("_"): value for key, value in other.items() if not key.startswith("_lazy")},
    )
    maps.parent = partition
    return maps
