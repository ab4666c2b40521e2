"""How time and memory grow with the number of cells, and what smoothing in time costs."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cases import SIGMA
from measure import Row, median_time

import tramway_dask as td
from tramway_dask.segmentation import Partition, segment

SIDE = 0.2
PER_CELL = 30
PRIORS = {"diffusivity_prior": 1.0, "potential_prior": 1.0}


def still(count: int, extent: float, duration: float, seed: int = 0) -> pd.DataFrame:
    """Return translocations spread evenly over a square of `extent` µm: quick to make, whatever their number."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"n": np.arange(count) // 10 + 1})
    table["x"], table["y"] = rng.uniform(0, extent, (2, count))
    table["t"] = np.linspace(0, duration, count)
    spread = np.sqrt(2 * (0.05 * 0.05 + SIGMA**2))
    table["dx"], table["dy"] = rng.normal(0, spread, (2, count))
    table["dt"] = 0.05
    return table


def lattice(cells: int, windows: int = 1) -> Partition:
    """Return a partition into about so many squares, over so many windows of 10 s."""
    edge = round(np.sqrt(cells))
    points = still(PER_CELL * edge**2 * windows, SIDE * edge, 10.0 * windows)
    time = td.time.SlidingWindow(duration=10.0) if windows > 1 else None
    return segment(points, tesseller=td.tessellers.Squares(resolution=SIDE), time=time)


def in_time(windows: int, cells: int, *, repeats: int) -> Row:
    """DV smoothed in time, and one window's DV times the number of windows."""
    partition = lattice(cells, windows)
    one = partition.restrict_to_segment(0)
    alone, joint = td.models.DV(**PRIORS), td.models.DV(**PRIORS, time_prior=10.0)
    single, _ = median_time(lambda: alone.infer(one, sigma=SIGMA), repeats)
    whole, calls = median_time(lambda: joint.infer(partition, sigma=SIGMA), repeats)
    value = whole / (windows * single)
    case = f"{windows} windows × {one.number_of_cells} squares"
    note = f"one window alone: {single * 1e3:.3g} ms; median of {calls}"
    return Row("DV smoothed in time", case, value, "×", "< 10 ×", value < 10, whole, None, note)


def scaling(sizes: list[int]) -> Iterator[Row]:
    """Segmentation and DV, each size in a process of its own for the peak of its memory."""
    for size in sizes:
        done = subprocess.run(
            [sys.executable, str(Path(__file__)), str(size)], check=True, capture_output=True, text=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        for name in ("segment", "smoothed D", "DV"):
            seconds, peak, iterations = found[name]
            case = f"{found['cells']:,} squares, {found['rows']:,} translocations"
            note = f"peak of the process {peak:.0f} MB" + (f"; {iterations} iterations" if iterations else "")
            per_cell = 1e6 * seconds / found["cells"]
            yield Row(
                f"scaling of fields: {name}", case, per_cell, "µs per cell", "", None, seconds, None, note
            )


def measure(size: int) -> dict[str, Any]:
    """Time one size once."""

    def clock(function: Any) -> tuple[Any, float, float]:
        began = time.perf_counter()
        result = function()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        return result, time.perf_counter() - began, peak

    edge = round(np.sqrt(size))
    points = still(PER_CELL * edge**2, SIDE * edge, 10.0)
    partition, *taken = clock(lambda: segment(points, tesseller=td.tessellers.Squares(resolution=SIDE)))
    found: dict[str, Any] = {"cells": partition.number_of_cells, "rows": len(points), "segment": [*taken, 0]}
    models = {"smoothed D": td.models.D(diffusivity_prior=1.0), "DV": td.models.DV(**PRIORS)}
    for name, model in models.items():
        maps, *taken = clock(lambda model=model: model.infer(partition, sigma=SIGMA))
        if not maps.attrs["converged"]:
            raise RuntimeError(f"{name} with {size} cells: {maps.attrs['message']}")
        found[name] = [*taken, maps.attrs["iterations"]]
    return found


if __name__ == "__main__":
    # modules are loaded at first use
    measure(64)
    print(json.dumps(measure(int(sys.argv[1]))))
