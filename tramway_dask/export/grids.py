"""Maps of a region as an xarray Dataset: time segments and cells are its dimensions."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import MissingDependencyError, SpecificationError, StoreError, suggest
from ..results.files import to_filename
from ..results.units import unit_of
from ..spt_data.tables import SPACE

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["to_xarray", "write_zarr"]

_ABOUT = ("source", "condition", "replicate", "sampling", "roi")
# one value per cell of space, whatever the segment
_SPATIAL = (*SPACE, "area")


def to_xarray(table: pd.DataFrame, roi: str | None = None) -> xr.Dataset:
    """Return the cells of one region as a Dataset.

    Parameters
    ----------
    table : DataFrame
        Cells of one source, as `maps_with_cells` returns it.
    roi : str, optional
        Region; may be left out if there is only one.

    Returns
    -------
    xarray.Dataset
        Dimensions ``segment, cell`` (a single segment if time was not segmented); coordinates ``x, y[, z],
        area`` over cells and ``t min, t max`` over segments; ``n`` and the mapped variables over both. In 2-D,
        ``outline x`` and ``outline y`` (cell, vertex) hold the vertices, NaN after the last. ``neighbours`` (link,
        2) are pairs of adjacent cells. Names have ``_`` for blanks; the attribute ``units`` of each variable
        tells its unit, those of the dataset source, region and condition.

    Raises
    ------
    SpecificationError
        If the table holds several regions, or none of that name.
    MissingDependencyError
        If xarray is not installed.
    """
    try:
        import xarray
    except ImportError as error:
        raise MissingDependencyError("xarray is needed for this: pip install xarray zarr") from error
    part = _of_region(table, roi)
    segments = np.unique(part["segment"])
    size = len(part) // len(segments)
    part = part.sort_values("cell", kind="stable").reset_index(drop=True)
    if (
        size * len(segments) != len(part)
        or (segments != part["segment"].to_numpy().reshape(-1, size).T).any()
    ):
        raise StoreError(f"the cells of region {part['roi'].iloc[0]!r} are not the same in all time segments")
    dimension = sum(c in part for c in SPACE)
    shape = (len(segments), size)
    coordinates: dict[str, Any] = {"cell": np.arange(size), "segment": segments}
    variables: dict[str, Any] = {}
    for name in part.columns:
        values = part[name].to_numpy()
        if name in (*_ABOUT, "segment", "cell", "polygon", "neighbours"):
            continue
        about = {"units": unit_of(name, dimension)} if unit_of(name, dimension) else {}
        grid = _storable(values).reshape(shape)
        if name in _SPATIAL:
            coordinates[_name(name)] = ("cell", grid[0], about)
        elif name in ("t min", "t max"):
            coordinates[_name(name)] = ("segment", grid[:, 0], about)
        else:
            variables[_name(name)] = (("segment", "cell"), grid, about)
    first = part.iloc[:size]
    if "polygon" in first and first["polygon"].notna().any():
        for axis, values in zip(SPACE, _outlines(first["polygon"]), strict=False):
            coordinates[f"outline_{axis}"] = (("cell", "vertex"), values, {"units": "µm"})
    if "neighbours" in first:
        variables["neighbours"] = (("link", "end"), _links(first["neighbours"], size))
    attributes = {c: str(part[c].iloc[0]) for c in _ABOUT if c in part and part[c].iloc[0] is not None}
    return xarray.Dataset(variables, coordinates, {**attributes, "coordinates_in": "µm", "times_in": "s"})


def _of_region(table: pd.DataFrame, roi: str | None) -> pd.DataFrame:
    known = list(dict.fromkeys(table["roi"]))
    if roi is None and len(known) == 1:
        roi = known[0]
    if roi not in known:
        told = "several regions" if roi is None else f"no region {roi!r}"
        raise SpecificationError(f"to_xarray: {told}; give roi=, {suggest(roi or '', known)}")
    return table[table["roi"] == roi]


def _name(column: str) -> str:
    return column.replace(" ", "_").replace("/", "_per_")


def _storable(values: np.ndarray) -> np.ndarray:
    if values.dtype != object:
        return values
    kinds = {type(v) for v in values if v is not None and v == v}
    if kinds <= {bool, np.bool_}:  # flags; of cells without maps, none
        return np.array([-1 if v is None or v != v else int(v) for v in values], dtype=np.int8)
    return np.array(["" if v is None or v != v else str(v) for v in values])


def _outlines(column: pd.Series) -> np.ndarray:
    """Return the vertices of each outline, (2, cells, vertices), NaN after the last."""
    values = column.to_numpy()
    sizes = np.fromiter((0 if v is None else len(v) for v in values), np.intp, len(values))
    out = np.full((2, len(values), max(int(sizes.max()), 1)), np.nan)
    points = np.concatenate([np.stack(v) for v in values if v is not None and len(v)])
    cell = np.repeat(np.arange(len(values)), sizes)
    vertex = np.arange(len(cell)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    out[:, cell, vertex] = points.T
    return out


def _links(column: pd.Series, size: int) -> np.ndarray:
    values = column.to_numpy()
    sizes = np.fromiter(map(len, values), np.intp, len(values))
    ends = np.concatenate([*values, np.zeros(0, np.int32)]).astype(np.int64)
    pairs = np.column_stack([np.repeat(np.arange(size), sizes), ends])
    return pairs[(pairs[:, 0] < pairs[:, 1]) & (pairs[:, 1] < size)]


def write_zarr(path: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write the cells of several sources as a zarr store: groups ``<source>/<region>``.

    Parameters
    ----------
    path : Path
        Folder to be made; written aside and put in its place as a whole.
    tables : mapping of source to DataFrame

    Raises
    ------
    MissingDependencyError
        If xarray or zarr is not installed.
    """
    try:
        import xarray
        import zarr  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "xarray and zarr are needed for this: pip install xarray zarr"
        ) from error
    groups = {}
    for source, table in tables.items():
        for roi in dict.fromkeys(table["roi"]):
            groups[f"/{to_filename(source)}/{to_filename(roi)}"] = to_xarray(table, roi)
    tree = xarray.DataTree.from_dict(groups)
    with _aside(path) as temporary:
        tree.to_zarr(temporary, mode="w", zarr_format=2)


@contextlib.contextmanager
def _aside(path: Path) -> Iterator[str]:
    """Yield a folder beside the destination, which takes its place at the end."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix=".writing-", dir=path.parent)
        made = Path(temporary) / "new"
        yield str(made)
        if path.exists():
            path.rename(Path(temporary) / "old")
        made.rename(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
