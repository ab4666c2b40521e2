"""Time of tessellation and assignment over 10³ to 10⁷ translocations: ``python benchmarks/scaling.py``."""

from __future__ import annotations

import os

os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")})

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

import tramway_dask as td  # noqa: E402
from tramway_dask.segmentation import segment  # noqa: E402

HERE = Path(__file__).parent
METHODS = ("squares", "hexagons", "kmeans", "gwr", "kdtree", "random", "kohonen")
STEP = 0.07
DENSITY = 4_000.0


def points_of(count: int, seed: int = 0) -> pd.DataFrame:
    """Return translocations, half of them in clusters, in a field that grows with their number."""
    rng = np.random.default_rng(seed)
    extent = (count / DENSITY) ** 0.5
    xy = extent * rng.random((count, 2))
    middle = extent * rng.random((max(1, count // 2_000), 2))
    half = count // 2
    xy[:half] = middle[rng.integers(len(middle), size=half)] + 0.2 * rng.standard_normal((half, 2))
    steps = STEP / 1.2533 * rng.standard_normal((count, 2))
    return pd.DataFrame(
        {"x": xy[:, 0], "y": xy[:, 1], "dx": steps[:, 0], "dy": steps[:, 1], "dt": 0.05, "t": 0.0, "n": 0}
    )


def measured(method: str, points: pd.DataFrame) -> dict[str, Any]:
    """Return the time that a method takes with its default parameters, s, and the number of cells."""
    tesseller = td.tesseller.from_plugin(method)
    began = time.perf_counter()
    partition = segment(points, tesseller=tesseller)
    taken = time.perf_counter() - began
    return {
        "method": method,
        "translocations": len(points),
        "cells": partition.number_of_cells,
        "seconds": taken,
    }


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw time against the number of translocations."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    drawn, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    for method in METHODS:
        mine = [r for r in rows if r["method"] == method]
        if mine:
            axes.loglog([r["translocations"] for r in mine], [r["seconds"] for r in mine], "o-", label=method)
    axes.set(xlabel="translocations", ylabel="tessellation and assignment (s)")
    axes.grid(alpha=0.3)
    axes.legend()
    drawn.savefig(path, dpi=150)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the times as a Markdown table, a row for each number of translocations."""
    methods = [m for m in METHODS if any(r["method"] == m for r in rows)]
    lines = ["| translocations | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
    for count in sorted({r["translocations"] for r in rows}):
        cells = {
            r["method"]: f"{r['seconds']:.3g} s ({r['cells']:,})"
            for r in rows
            if r["translocations"] == count
        }
        lines.append(f"| {count:,} | " + " | ".join(cells.get(m, "") for m in methods) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write the JSON file and, if asked for, the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=float, default=1e7, help="greatest number of translocations")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=METHODS, help="some methods only")
    parser.add_argument("--limit", type=float, default=600.0, help="leave a method out above so many seconds")
    parser.add_argument("--output", type=Path, default=HERE / "scaling.json", metavar="FILE.json")
    parser.add_argument("--figure", type=Path, metavar="FILE.png")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    late: set[str] = set()
    count = 1_000
    # the first call imports what it needs
    for method in options.only:
        measured(method, points_of(count))
    while count <= options.most:
        points = points_of(count)
        for method in (m for m in options.only if m not in late):
            rows.append(measured(method, points))
            sys.stderr.write(f"{method}, {count:,}: {rows[-1]['seconds']:.3g} s\n")
            if 10 * rows[-1]["seconds"] > options.limit:
                late.add(method)
        count *= 10
    print(table(rows), "\n\nIn parentheses: the number of cells.")
    options.output.write_text(json.dumps(rows, indent=1) + "\n")
    if options.figure:
        figure(rows, options.figure)


if __name__ == "__main__":
    main()
