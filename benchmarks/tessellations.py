"""Tessellations that are grown from the data, beside TRamWAy's on the same translocations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from cases import field, quiet
from measure import Row, ratio

import tramway_dask as td
from tramway_dask.segmentation import segment
from tramway_dask.segmentation.tessellation import nearest

LEAST = {"GWR": 20, "KMeans": 10, "kdtree": 3, "random": 3}


def tessellations(count: int, *, repeats: int) -> Iterator[Row]:
    """Default parameters: cells, and which one each translocation is in."""
    points = field(count, 2.0)
    note = "ours computes areas, outlines and adjacency as well; TRamWAy's are computed when asked for"
    for name, least in LEAST.items():
        tesseller = td.tesseller.from_plugin(name.lower())

        def ours(tesseller: Any = tesseller) -> Any:
            return segment(points, tesseller=tesseller)

        def theirs(name: str = name) -> Any:
            return tramway_cells(points, name)

        case = f"{len(points):,} translocations, {ours().number_of_cells} cells"
        yield ratio(name, case, ours, theirs, least, repeats=repeats, their_repeats=3, note=note)


def equivalence(count: int, seeds: int) -> Iterator[Row]:
    """GWR: whether the numbers of cells, their counts and spacings are distributed as TRamWAy's."""
    from scipy.stats import ks_2samp

    points = field(count, 2.0)
    xy = points[["x", "y"]].to_numpy()
    found: list[list[np.ndarray]] = [[], []]
    for seed in range(seeds):
        found[0].append(td.tessellers.GWR(seed=seed).tessellate(points).centers)
        found[1].append(tramway_tessellation(points, "GWR", seed).cell_centers)
    number = [np.array([len(c) for c in centers]) for centers in found]
    shown = " and ".join(f"{n.mean():.1f} ± {n.std(ddof=1):.1f}" for n in number)
    apart = 100 * abs(number[0].mean() / number[1].mean() - 1)
    case = f"{len(points):,} translocations, {seeds} seeds"
    note = f"ours and TRamWAy's: {shown} (standard deviation over seeds)"
    yield Row("GWR: numbers of cells differ", case, apart, "%", "< 5 %", apart < 5, note=note)

    def held(centers: np.ndarray) -> np.ndarray:
        return np.bincount(nearest(xy, centers), minlength=len(centers))

    def spacing(centers: np.ndarray) -> np.ndarray:
        from scipy.spatial import cKDTree

        return cKDTree(centers).query(centers, k=2)[0][:, 1]

    for name, about in (("translocations per cell", held), ("distances of next centers", spacing)):
        test = ks_2samp(*(np.concatenate([about(c) for c in centers]) for centers in found))
        met = bool(test.pvalue > 1e-3 or test.statistic < 0.05)
        note = f"Kolmogorov-Smirnov, p = {test.pvalue:.2g}"
        yield Row(f"GWR: {name} differ", case, test.statistic, "", "p > 0.001 or < 0.05", met, note=note)


def tramway_tessellation(points: Any, name: str, seed: int = 0) -> Any:
    """Return TRamWAy's tessellation by a class of its analyzer, with default parameters."""
    with quiet():
        from tramway.analyzer import RWAnalyzer, tessellers

        analyzer = RWAnalyzer()
        analyzer.spt_data.from_dataframe(points)
        analyzer.tesseller = getattr(tessellers, name)
        # its only source of random numbers
        np.random.seed(seed)
        return analyzer.tesseller.tessellate(points)


def tramway_cells(points: Any, name: str) -> Any:
    """Return TRamWAy's cells of the translocations."""
    with quiet():
        if name in ("GWR", "KMeans"):
            return tramway_tessellation(points, name).cell_index(points[["x", "y"]])
        from tramway.helper import tessellate

        return tessellate(points, name, verbose=False).cell_index
