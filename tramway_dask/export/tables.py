"""Maps and their cells as one table, and tables as files that say their units."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import SpecificationError, StoreError, suggest
from ..results.store import Store, with_groups
from ..results.units import units_of

__all__ = ["csv_bytes", "csv_metadata", "maps_with_cells", "parquet_bytes", "with_texts"]

_OF_CELLS = ("area", "polygon", "neighbours")
_KEYS = ["roi", "cell"]


def maps_with_cells(
    store: Store,
    label: str,
    source: str,
    *,
    sampling: str | None = None,
    groups: Mapping[str, Mapping[str, str | None]] | None = None,
) -> pd.DataFrame:
    """Return every cell of a source with what was mapped in it.

    Parameters
    ----------
    store : Store
    label : str
        Of the maps.
    source : str
    sampling : str, optional
        Label of the sampling; default: the only one with such maps.
    groups : mapping, optional
        Condition and replicate of each source.

    Returns
    -------
    DataFrame
        One row per (roi, segment, cell), those without maps included (their variables are NaN): place
        (µm), ``n``, ``area``, ``polygon`` (list of [x, y], not closed; None in 3-D), ``neighbours`` (list of
        numbers of cells), the mapped variables and their errors.
    """
    sampling = the_sampling(store, label, sampling)
    cells = store.table(sampling, "cells", source)
    maps = store.table(sampling, label, source)
    new = [c for c in maps.column_names if c not in cells.column_names]
    table = cells.to_pandas()
    mapped = maps.select([*_KEYS, *new]).to_pandas()
    table = table.merge(mapped, on=_KEYS, how="left", validate="one_to_one")
    order = [c for c in table.columns if c not in _OF_CELLS or c == "area"]
    table = table[[*order, *(c for c in _OF_CELLS[1:] if c in table.columns)]]
    return with_groups(table, groups or {})


def the_sampling(store: Store, label: str, sampling: str | None) -> str:
    """Return the sampling that maps of a label belong to.

    Raises
    ------
    SpecificationError
        If there are several and none was chosen, or the chosen one has no such maps.
    """
    known = store.samplings_of(label)
    if sampling is None:
        if len(known) > 1:
            raise SpecificationError(
                f"the maps {label!r} belong to {len(known)} samplings ({', '.join(map(repr, known))}); choose "
                "one: sampling="
            )
        return known[0]
    if sampling not in known:
        raise SpecificationError(f"no maps {label!r} of sampling {sampling!r}; {suggest(sampling, known)}")
    return sampling


def with_texts(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with outlines as WKT and lists as numbers with blanks between them."""
    import shapely

    out = table.copy()
    if "polygon" in out:
        shapes = polygons(out["polygon"])
        out["polygon"] = pd.Series(
            shapely.to_wkt(shapes, rounding_precision=-1), index=out.index, dtype=object
        )
        out.loc[shapely.is_missing(shapes), "polygon"] = None
    if "neighbours" in out:
        out["neighbours"] = [" ".join(map(str, cells)) for cells in out["neighbours"]]
    return out


def polygons(outlines: pd.Series) -> np.ndarray:
    """Return outlines as an array of shapely polygons; None where there is none.

    Parameters
    ----------
    outlines : Series of lists of [x, y]
    """
    import shapely

    values = outlines.to_numpy()
    sizes = np.fromiter((0 if v is None else len(v) for v in values), np.intp, len(values))
    shapes = np.full(len(values), None, dtype=object)
    known = np.flatnonzero(sizes >= 3)
    if len(known):
        points = np.concatenate([np.stack(values[i]) for i in known])
        of = np.repeat(np.arange(len(known)), sizes[known])
        shapes[known] = shapely.polygons(shapely.linearrings(points, indices=of))
    return shapes


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as csv: UTF-8, a header, an empty cell where there is no value."""
    return with_texts(table).to_csv(index=False).encode()


def csv_metadata(name: str, table: pd.DataFrame, dimension: int) -> bytes:
    """Return what says the units of a csv file, in the format "CSV on the Web" of the W3C.

    It stands beside the file, as ``<name>-metadata.json``.
    """
    units = units_of(table.columns, dimension)
    columns: list[dict[str, Any]] = []
    for column, kind in table.dtypes.items():
        types = {"i": "integer", "u": "integer", "f": "double", "b": "boolean"}
        about = {"titles": str(column), "datatype": types.get(kind.kind, "string")}
        if str(column) in units:
            about["unit"] = units[str(column)]
        columns.append(about)
    content = {"@context": "http://www.w3.org/ns/csvw", "url": name, "tableSchema": {"columns": columns}}
    return json.dumps(content, ensure_ascii=False, indent=1).encode()


def parquet_bytes(table: pd.DataFrame | pa.Table, units: Mapping[str, str]) -> bytes:
    """Return a table as parquet, with the unit of each column in the metadata of its field."""
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    fields = [
        field.with_metadata({"unit": units[field.name]}) if field.name in units else field
        for field in table.schema
    ]
    sink = io.BytesIO()
    pq.write_table(table.cast(pa.schema(fields)), sink)
    return sink.getvalue()


def stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the tables of several sources as one."""
    if not tables:
        raise StoreError("there is nothing to export: no source has such maps")
    return pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
