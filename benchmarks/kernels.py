"""Segmentation and inference, beside TRamWAy on the same cells."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from cases import SIGMA, case, field, infer, quiet, tessellate, with_their_geometry
from measure import Row, ratio

import tramway_dask as td
from tramway_dask.segmentation import segment


def segmentation(count: int, cells: int, *, repeats: int) -> Iterator[Row]:
    """Cells and assignment; then with the areas and adjacency that inference needs."""
    points = field(count, 2.0)
    hexagon = float(2.0 / (np.sqrt(cells * np.sqrt(3) / 2) - 1))
    square = 2.0 / round(np.sqrt(cells))
    pairs = [("hexagons", "hexagon", td.tessellers.Hexagons(resolution=hexagon), hexagon)]
    pairs.append(("squares", "grid", td.tessellers.Squares(resolution=square), square))
    for name, method, tesseller, resolution in pairs:

        def ours(tesseller: Any = tesseller) -> Any:
            partition = segment(points, tesseller=tesseller)
            return partition.areas, partition.adjacency()

        def theirs(method: str = method, resolution: float = resolution) -> Any:
            return tessellate(points, method, resolution)

        def theirs_complete(method: str = method, resolution: float = resolution) -> Any:
            cells = tessellate(points, method, resolution).tessellation
            with quiet():
                return cells.cell_volume, cells.cell_adjacency

        number = segment(points, tesseller=tesseller).number_of_cells
        size = f"{len(points):,} translocations, {number} {name}"
        options: dict[str, Any] = {"repeats": repeats, "their_repeats": repeats}
        note = "ours computes areas, outlines and adjacency as well; TRamWAy's are computed when asked for"
        yield ratio(f"{name}: assignment alone", size, ours, theirs, 10, note=note, **options)
        yield ratio(f"{name}: with areas and adjacency", size, ours, theirs_complete, 10, **options)


def independent(count: int, cells: int, *, repeats: int) -> Iterator[Row]:
    """D, DD and DF, cell by cell."""
    data = case(count, cells)
    for name in ("D", "DD", "DF"):
        model = getattr(td.models, name)()
        yield ratio(
            name,
            data,
            lambda model=model: model.infer(data.ours, sigma=SIGMA),
            lambda name=name: infer(data.theirs, name.lower()),
            100,
            repeats=repeats,
            their_repeats=3,
        )


def smoothed(count: int, cells: int, *, repeats: int) -> Row:
    """D with a prior on its roughness."""
    data = case(count, cells)
    model = td.models.D(diffusivity_prior=1.0)
    return ratio(
        "smoothed D",
        data,
        lambda: model.infer(data.ours, sigma=SIGMA),
        lambda: infer(data.theirs, "d", diffusivity_prior=1.0),
        1000,
        repeats=repeats,
        their_repeats=1,
    )


def potential(count: int, cells: int, *, repeats: int) -> Row:
    """DV, with the value of TRamWAy's own objective at both results."""
    data = case(count, cells)
    # areas weigh the priors: with its own the objective is TRamWAy's, but for cells without a full gradient
    partition = with_their_geometry(data)
    model = td.models.DV(diffusivity_prior=1.0, potential_prior=1.0)
    found: list[Any] = []

    def theirs() -> None:
        options = {"stochastic": False, "allow_negative_potential": True}
        found.append(
            infer(data.theirs, "stochastic.dv", diffusivity_prior=1.0, potential_prior=1.0, **options)
        )

    row = ratio(
        "DV",
        data,
        lambda: model.infer(partition, sigma=SIGMA),
        theirs,
        1000,
        repeats=repeats,
        their_repeats=1,
    )
    here = objective(data.theirs, model.infer(partition, sigma=SIGMA).table)
    there = objective(data.theirs, found[-1].maps)
    row.note += f"; TRamWAy's objective: {here:.4f} at our result, {there:.4f} at TRamWAy's"
    row.met = bool(row.met and here <= there + 1e-9)
    return row


def bayes_factors(count: int, cells: int, *, repeats: int) -> Row:
    """Bayes factors and the counts that certainty takes, from maps with a conjugate prior."""
    data = case(count, cells)
    maps = td.models.DConjugatePrior().infer(data.ours, sigma=SIGMA)
    model = td.models.BayesFactor()
    known = maps.table.dropna()
    rows = [
        SimpleNamespace(
            zeta_total=row[["zeta_total x", "zeta_total y"]].to_numpy(),
            zeta_spurious=row[["zeta_spurious x", "zeta_spurious y"]].to_numpy(),
            n=row["n"],
            V=row["V"],
            V_prior=row["V_prior"],
        )
        for _, row in known.iterrows()
    ]

    def theirs() -> None:
        with quiet():
            from tramway.inference.bayes_factors import calculate_bayes_factors_for_one_cell

            for row in rows:
                calculate_bayes_factors_for_one_cell(row, SIGMA**2)

    row = ratio(
        "Bayes factors",
        data,
        lambda: model.infer(maps, sigma=SIGMA),
        theirs,
        100,
        repeats=repeats,
        their_repeats=1,
        note="TRamWAy's grouping, which fails with NumPy 2, is not in its time",
    )
    found = model.infer(maps, sigma=SIGMA).table.loc[known.index, "lg_B"].to_numpy()
    difference = float(np.abs(found - [r.lg_B for r in rows]).max())
    row.note += f"; largest difference of log10 B: {difference:.1e}"
    row.met = bool(row.met and difference < 1e-6)
    return row


def objective(partition: Any, maps: Any) -> float:
    """Return what TRamWAy's `stochastic.dv` minimizes, computed by TRamWAy, at given maps."""
    with quiet():
        from tramway.inference.base import distributed, smooth_infer_init
        from tramway.inference.stochastic_dv import local_dv_neg_posterior

        cells = distributed(partition)
        index, reverse, _, dt_mean, *_ = smooth_infer_init(cells, sigma2=SIGMA**2)
        x = np.concatenate([maps[name].reindex(index).to_numpy() for name in ("diffusivity", "potential")])
        priors = SimpleNamespace(
            diffusivity_spatial_prior=lambda _: 1.0,
            potential_spatial_prior=lambda _: 1.0,
            diffusivity_time_prior=lambda _: None,
            potential_time_prior=lambda _: None,
            undefined_grad=lambda *_: None,
        )
        fixed = (priors, cells, SIGMA**2, False, dt_mean, index, reverse, {})
        return float(sum(local_dv_neg_posterior(j, x, *fixed) for j in range(len(index))))
