"""Simulated experiments for the benchmarks, and the cells of TRamWAy and of this package on them."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import tramway_dask as td
from tramway_dask.segmentation import Partition, segment
from tramway_dask.spt_data.tables import translocations

SIGMA = 0.02
STEPS = 80


def field(count: int, extent: float, seed: int = 0) -> pd.DataFrame:
    """Return about `count` translocations of molecules in a well of 2 kT, in a square of `extent` µm."""
    trajectories = td.simulate.random_walk(
        diffusivity=0.05,
        potential=td.simulate.well_potential((extent / 2, extent / 2), 2, extent / 4),
        box=((0, 0), (extent, extent)),
        trajectory_count=round(count / STEPS),
        duration=0.05 * (STEPS + 0.8),
        localization_precision=SIGMA,
        seed=seed,
    )
    table = translocations(trajectories)
    table.attrs = {"localization_precision": SIGMA}
    return table


@dataclass
class Case:
    """The same translocations in the same cells, for both packages."""

    points: pd.DataFrame
    resolution: float
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        return f"{len(self.points):,} translocations, {self.ours.number_of_cells} hexagons"


def case(count: int, cells: int, seed: int = 0) -> Case:
    """Simulate a field and divide it into about so many hexagons, by both packages."""
    extent = 2.0
    points = field(count, extent, seed)
    # a hexagonal lattice covers the box with some margin
    resolution = float(extent / (np.sqrt(cells * np.sqrt(3) / 2) - 1))
    ours = segment(points, tesseller=td.tessellers.Hexagons(resolution=resolution))
    theirs = tessellate(points, "hexagon", resolution)
    if not np.array_equal(theirs.cell_index, ours.cell_index):
        raise RuntimeError("the two packages do not work on the same cells")
    return Case(points, resolution, ours, theirs)


@contextlib.contextmanager
def quiet() -> Any:
    """Keep TRamWAy's messages from the table."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        with np.errstate(all="ignore"):
            yield


def with_their_geometry(data: Case) -> Any:
    """Return our partition with the areas and links that TRamWAy works with, which differ at the border."""
    with quiet():
        from tramway.inference.base import distributed

        cells = distributed(data.theirs)
        links = cells.adjacency.tocoo()
        arrays = data.ours.to_arrays()
        areas = np.array(arrays["areas"])
        for i in cells:
            areas[i] = cells[i].volume
    below = links.row < links.col
    arrays |= {"areas": areas, "pairs": np.column_stack([links.row, links.col])[below]}
    return Partition.from_arrays(points=data.ours.points, param=data.ours.param, **arrays)


def tessellate(points: pd.DataFrame, method: str, resolution: float) -> Any:
    """Return TRamWAy's partition into squares (``grid``) or hexagons."""
    with quiet():
        from tramway.helper import tessellate

        size = {"ref_distance": resolution / 2}
        if method == "grid":
            size["avg_distance"] = resolution
        return tessellate(points, method, min_location_count=0, verbose=False, **size)


def infer(partition: Any, mode: str, **options: Any) -> Any:
    """Return TRamWAy's maps."""
    with quiet():
        from tramway.helper.inference import infer

        return infer(partition, mode, sigma=SIGMA, verbose=False, **options)
