"""Exports as files: one per source, or one for all, each written whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError, suggest
from ..results.files import to_filename, write_atomically
from ..results.store import Store
from ..results.units import units_of
from ..spt_data.tables import SPACE
from .geojson import geojson_bytes
from .grids import write_zarr
from .tables import csv_bytes, csv_metadata, maps_with_cells, parquet_bytes, stacked, the_sampling
from .tracks import to_napari, to_trackpy, trxyt_bytes

__all__ = ["MAP_FORMATS", "TRACK_FORMATS", "export_maps", "export_tracks"]

MAP_FORMATS = ("parquet", "csv", "geojson", "zarr")
TRACK_FORMATS = ("trxyt", "tracks", "trackpy", "napari")


def export_maps(
    store: Store,
    format: str,
    path: str | Path,
    label: str,
    *,
    sampling: str | None = None,
    sources: Sequence[str] | None = None,
    groups: Mapping[str, Mapping[str, str | None]] | None = None,
) -> list[Path]:
    """Write maps with their cells.

    Parameters
    ----------
    store : Store
    format : {'parquet', 'csv', 'geojson', 'zarr'}
        ``parquet``, ``csv`` and ``zarr``: one file (folder) for all sources. ``geojson``: one file per source
        in a folder, since each source has its own plane.
    path : str or Path
        The file, or the folder.
    label : str
        Of the maps.
    sampling : str, optional
    sources : sequence of str, optional
        Default: all.
    groups : mapping, optional
        Condition and replicate of each source.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    SpecificationError
        If a name is not known.
    StoreError
        If a file cannot be written; no file is left half written.
    """
    if format not in MAP_FORMATS:
        raise SpecificationError(f"format: unknown value {format!r}; {suggest(format, MAP_FORMATS)}")
    sampling, path = the_sampling(store, label, sampling), Path(path)
    chosen = _chosen(store.sources(sampling, label), sources)
    tables = {s: maps_with_cells(store, label, s, sampling=sampling, groups=groups) for s in chosen}
    if format == "zarr":
        write_zarr(path, tables)
        return [path]
    if format == "geojson":
        names = {source: path / f"{to_filename(source)}.geojson" for source in tables}
        for source, table in tables.items():
            write_atomically(names[source], geojson_bytes(table))
        return list(names.values())
    table = stacked(list(tables.values()))
    dimension = sum(c in table for c in SPACE)
    if format == "parquet":
        write_atomically(path, parquet_bytes(table, units_of(table.columns, dimension)))
        return [path]
    beside = path.with_name(f"{path.name}-metadata.json")
    write_atomically(path, csv_bytes(table))
    write_atomically(beside, csv_metadata(path.name, table, dimension))
    return [path, beside]


def _chosen(known: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    for name in wanted or ():
        if name not in known:
            raise SpecificationError(f"no source {name!r} here; {suggest(name, known)}")
    return [s for s in known if wanted is None or s in wanted]


def export_tracks(
    sources: Iterable[Any],
    format: str,
    folder: str | Path,
    *,
    pixel_size: float | None = None,
    dt: float | None = None,
) -> list[Path]:
    """Write trajectories, one file per source.

    Parameters
    ----------
    sources : iterable of Source
    format : {'trxyt', 'tracks', 'trackpy', 'napari'}
        ``trxyt``: text ``n, x, y[, z], t``. ``tracks``: parquet, with units in the metadata. ``trackpy``: csv of
        `to_trackpy`. ``napari``: npz with ``data``, ``scale`` and one array ``feature <name>`` per feature; see
        `to_napari`.
    folder : str or Path
    pixel_size : float, optional
        µm; lengths in pixels for ``trackpy`` and ``napari``.
    dt : float, optional
        Frame interval (s) for these; default: that of each source.

    Returns
    -------
    list of Path
    """
    if format not in TRACK_FORMATS:
        raise SpecificationError(f"format: unknown value {format!r}; {suggest(format, TRACK_FORMATS)}")
    endings = {"trxyt": ".trxyt", "tracks": ".parquet", "trackpy": ".trackpy.csv", "napari": ".napari.npz"}
    options = {"pixel_size": pixel_size, "dt": dt}
    made: dict[str, Callable[[pd.DataFrame], bytes]] = {
        "trxyt": trxyt_bytes,
        "tracks": lambda table: parquet_bytes(table, units_of(table.columns)),
        "trackpy": lambda table: to_trackpy(table, **options).to_csv(index=False).encode(),
        "napari": lambda table: _packed(to_napari(table, **options)),
    }
    written = []
    for source in sources:
        path = Path(folder) / f"{to_filename(source.name)}{endings[format]}"
        write_atomically(path, made[format](source.dataframe))
        written.append(path)
    return written


def _packed(layer: Mapping[str, Any]) -> bytes:
    sink = io.BytesIO()
    features = {f"feature {c}": v.to_numpy() for c, v in layer["features"].items() if v.dtype.kind != "O"}
    np.savez_compressed(sink, data=layer["data"], scale=np.array(layer["scale"]), **features)
    return sink.getvalue()
