"""Results and trajectories in the formats of other programs."""

from __future__ import annotations

from .files import MAP_FORMATS, TRACK_FORMATS, export_maps, export_tracks
from .geojson import to_geojson
from .grids import to_xarray
from .rwa import write_rwa
from .tables import maps_with_cells
from .tracks import to_napari, to_trackpy

__all__ = [
    "MAP_FORMATS",
    "TRACK_FORMATS",
    "export_maps",
    "export_tracks",
    "maps_with_cells",
    "to_geojson",
    "to_napari",
    "to_trackpy",
    "to_xarray",
    "write_rwa",
]
