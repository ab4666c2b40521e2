"""Small experiments that several tests analyse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tramway_dask as td

SIGMA = 0.01
CENTERS = [[0.25, 0.5], [0.75, 0.5]]


def walk(seed: int = 0, count: int = 30, **options: Any) -> pd.DataFrame:
    """Return a small simulated field, one µm wide."""
    options = {"duration": 3, "diffusivity": 0.05, "localization_precision": SIGMA, **options}
    return td.simulate.random_walk(trajectory_count=count, seed=seed, **options)


def write_fields(folder: Path, count: int = 2, **options: Any) -> list[str]:
    """Write fields as text files without header, and return their paths."""
    paths = []
    for i in range(count):
        path = folder / f"cell{i}.trxyt"
        walk(i, **options).to_csv(path, sep="\t", header=False, index=False)
        paths.append(str(path))
    return paths


def analyzer(results: Path, data: Any = None, **settings: Any) -> td.RWAnalyzer:
    """Return an analyzer with two regions per source, hexagons and the model D."""
    parts = {"tesseller": td.tessellers.Hexagons(resolution=0.15), "mapper": td.models.D(), **settings}
    a = td.RWAnalyzer(results=results, **parts)
    if data is None:
        data = [walk(0), walk(1)]
    if all(isinstance(d, pd.DataFrame) for d in data):
        a.spt_data.from_dataframes(data, alias=[f"field{i}" for i in range(len(data))])
    else:
        a.spt_data.from_ascii_files(data)
    a.spt_data.localization_precision = SIGMA
    if "roi" not in settings:
        a.roi.from_squares(CENTERS, 0.5)
    return a


def same_maps(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Assert that two tables of maps are the same, bit for bit."""
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def same_partition(one: Any, other: Any) -> None:
    """Assert that two partitions hold the same arrays."""
    pd.testing.assert_frame_equal(one.points, other.points, check_exact=True)
    assert type(one.tessellation) is type(other.tessellation)
    a, b = one.to_arrays(), other.to_arrays()
    assert set(a) == set(b)
    for name, value in a.items():
        if value is None:
            assert b[name] is None, name
        else:
            np.testing.assert_array_equal(value, b[name], err_msg=name)
    np.testing.assert_array_equal(one.location_count, other.location_count)
    assert (one.adjacency() != other.adjacency()).nnz == 0
    assert one.region_label == other.region_label
