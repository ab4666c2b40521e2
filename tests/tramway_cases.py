"""Cells of TRamWAy 0.7 and the same arrays for our solvers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from inference_cases import Mesh

from tramway_dask.inference.gradient import restrict
from tramway_dask.inference.likelihood import Groups
from tramway_dask.inference.statistics import cell_statistics

SIGMA = 0.02


@dataclass
class Case:
    """TRamWAy's cells, and what we make of their arrays."""

    cells: Any
    index: np.ndarray
    reverse: np.ndarray
    dt_mean: np.ndarray
    start: np.ndarray
    mesh: Mesh
    groups: Groups


def case(side: float = 0.25, *, trajectories: int = 25, steps: bool = True, seed: int = 3) -> Case:
    """Simulate a few random walks and sample them with TRamWAy's hexagons."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tramway.helper import tessellate
        from tramway.inference.base import distributed, smooth_infer_init

        points = _points(np.random.default_rng(seed), trajectories, steps)
        sampling = tessellate(points, "hexagon", ref_distance=side, min_location_count=0, verbose=False)
        cells = distributed(sampling)
        init = smooth_infer_init(cells, sigma2=SIGMA**2)
    index = np.array(init[0])
    adjacency = cells.adjacency.tocsr()
    indptr, indices = restrict(adjacency.indptr, adjacency.indices, index)
    centers = np.array([cells[i].center for i in index])
    areas = np.array([cells[i].volume for i in index])
    counts = [len(cells[i]) for i in index]
    dr = np.concatenate([cells[i].dr for i in index])
    dt = np.concatenate([cells[i].dt for i in index])
    sums = cell_statistics(dr, dt, np.r_[0, np.cumsum(counts)], np.arange(len(dr)))
    return Case(
        cells, index, init[1], init[3], init[4], Mesh(centers, indptr, indices, areas), Groups(sums, SIGMA)
    )


def _points(rng: np.random.Generator, trajectories: int, steps: bool) -> pd.DataFrame:
    blocks = []
    for n in range(1, trajectories + 1):
        dt = np.where(rng.random(15) < 0.3, 0.08, 0.04) if steps else np.full(15, 0.04)
        dr = rng.normal(size=(15, 2)) * np.sqrt(2 * (0.05 * dt + SIGMA**2))[:, None]
        r = rng.uniform(0, 0.7, 2) + np.concatenate([np.zeros((1, 2)), np.cumsum(dr, axis=0)[:-1]])
        t = np.r_[0, np.cumsum(dt)[:-1]]
        blocks.append(np.column_stack([np.full(15, n), r, t, dr, dt]))
    table = pd.DataFrame(np.concatenate(blocks), columns=["n", "x", "y", "t", "dx", "dy", "dt"])
    return table.astype({"n": int})
