"""Cells as GeoJSON: polygons with what was mapped in them, for maps and drawing programs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from ..results.units import units_of
from ..spt_data.tables import SPACE
from .tables import polygons

__all__ = ["geojson_bytes", "to_geojson"]

NOTE = "coordinates are lengths in µm in the plane of the data (x, y), not longitude and latitude"


def to_geojson(table: pd.DataFrame) -> dict[str, Any]:
    """Return cells as a GeoJSON FeatureCollection.

    Parameters
    ----------
    table : DataFrame
        As `maps_with_cells` returns it.

    Returns
    -------
    dict
        A Polygon per cell, or a Point at its center in 3-D and where there is no outline; the other columns
        are its properties, null where there is no value. Members of the collection beyond those of the
        standard (RFC 7946) are ``units``, of the properties, and ``coordinates_in``.
    """
    return json.loads(geojson_bytes(table))


def geojson_bytes(table: pd.DataFrame) -> bytes:
    """Return cells as a GeoJSON text; see `to_geojson`."""
    space = [c for c in SPACE if c in table.columns]
    properties = table.drop(columns=["polygon", "neighbours"], errors="ignore")
    head = {
        "type": "FeatureCollection",
        "coordinates_in": f"µm; {NOTE}",
        "units": units_of(properties.columns, len(space)),
    }
    start = json.dumps(head, ensure_ascii=False)[:-1]
    features = [
        f'{{"type": "Feature", "id": {number}, "geometry": {shape}, "properties": {about}}}'
        for number, (shape, about) in enumerate(zip(_shapes(table, space), _records(properties), strict=True))
    ]
    listed = ",\n".join(features)
    return f'{start}, "features": [\n{listed}\n]}}\n'.encode()


def _shapes(table: pd.DataFrame, space: list[str]) -> list[str]:
    import shapely

    shapes = np.full(len(table), None, dtype=object)
    if "polygon" in table:
        shapes = polygons(table["polygon"])
    missing = shapely.is_missing(shapes)
    if missing.any():
        shapes[missing] = shapely.points(table.loc[missing, space].to_numpy(dtype=float))
    return list(shapely.to_geojson(shapes))


def _records(table: pd.DataFrame) -> list[str]:
    """Return each row as JSON, numbers with all their digits."""
    columns = {}
    for name, values in table.items():
        if values.dtype.kind == "f":
            known = np.isfinite(values.to_numpy())
            columns[name] = values.astype(object).where(known, None).tolist()
        else:
            columns[name] = values.astype(object).where(values.notna(), None).tolist()
    names = [str(name) for name in columns]
    encode = json.JSONEncoder(ensure_ascii=False).encode
    return [encode(dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)]
