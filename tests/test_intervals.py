"""Confidence intervals: coverage on simulations, from one translocation per cell up."""

from __future__ import annotations

import numpy as np
import pytest
from inference_cases import csr, displacements, hexagons, partition_of
from scipy.stats import chi2
from test_coupled import potential_problem, simulate, start
from test_models import partition

from tramway_dask.errors import InferenceError, SpecificationError
from tramway_dask.inference import DD, DF, DV, D
from tramway_dask.inference.coupled import solve_potential
from tramway_dask.inference.intervals import exact_intervals, normal_intervals, pivot_inverse
from tramway_dask.inference.likelihood import Groups
from tramway_dask.inference.statistics import cell_statistics
from tramway_dask.inference.uncoupled import lower_bounds, solve

TRUE_D = 0.05
DRIFT = np.array([1.0, -0.5, 0.3])


def groups_of(per_cell, model, *, steps=(0.04,), dimension=2, cells=3000, sigma=0.02, seed=0):
    rng = np.random.default_rng(seed)
    cell = np.repeat(np.arange(cells), per_cell)
    field = np.broadcast_to(DRIFT[:dimension], (cells, dimension))
    options = {"DD": {"drift": field}, "DF": {"force": 20 * field}}.get(model, {})
    d = np.full(cells, TRUE_D)
    dr, dt = displacements(cell, rng, d, steps=steps, dimension=dimension, sigma=sigma, **options)
    return Groups(cell_statistics(dr, dt, *csr(cell, cells)), sigma)


def inside(columns, name, truth):
    return np.mean((columns[f"{name} low"] <= truth) & (columns[f"{name} high"] >= truth))


@pytest.mark.parametrize("per_cell", [2, 5, 10, 40])
@pytest.mark.parametrize("steps", [(0.04,), (0.04, 0.12)])
@pytest.mark.parametrize(("model", "dimension"), [("D", 2), ("DD", 2), ("DD", 3)])
def test_intervals_cover_at_any_number_of_translocations(model, dimension, steps, per_cell):
    groups = groups_of(per_cell, model, steps=steps, dimension=dimension)
    found = exact_intervals(groups, model, 0.95, lower_bounds(groups, None))
    # 3000 cells: the standard error of the coverage is 0.004
    assert inside(found, "diffusivity", TRUE_D) == pytest.approx(0.95, abs=0.015)
    if model == "DD" and (len(steps) == 1 or per_cell >= 5):
        for k, axis in enumerate("xyz"[:dimension]):
            assert inside(found, f"drift {axis}", DRIFT[k]) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("sigma", [0.02, 0.05])
@pytest.mark.parametrize("per_cell", [3, 10])
def test_intervals_of_forces_cover(per_cell, sigma):
    groups = groups_of(per_cell, "DF", cells=1000, sigma=sigma)
    found = exact_intervals(groups, "DF", 0.9, lower_bounds(groups, None))
    for k, axis in enumerate("xy"):
        # with σ² beyond DΔt, D is not well apart from 0, nor is the force then bounded
        assert inside(found, f"force {axis}", 20 * DRIFT[k]) == pytest.approx(0.9, abs=0.035)


def test_multiples_of_the_standard_error_cover_less():
    groups = groups_of(10, "DD")
    found = solve(groups, "DD")
    covered = np.mean(np.abs(found.diffusivity - TRUE_D) < 1.96 * found.diffusivity_se)
    assert 0.8 < covered < 0.86  # why `confidence` exists


@pytest.mark.parametrize("drift", [False, True])
def test_pivot_of_several_steps_is_that_of_one(drift):
    groups = groups_of(12, "DD", cells=50)
    target = np.full(50, 17.0)
    single = pivot_inverse(groups, target, drift=drift)
    groups.single = False
    np.testing.assert_allclose(pivot_inverse(groups, target, drift=drift), single, rtol=1e-9)
    expected = groups.s2 - drift * np.einsum("ik,ik->i", groups.s1, groups.s1) / groups.n
    np.testing.assert_allclose(single, (expected / 34 - 0.02**2) / 0.04, rtol=1e-12)


def test_formula_of_the_variance():
    groups = groups_of(7, "D", cells=20)
    found = exact_intervals(groups, "D", 0.9, np.full(20, -np.inf))
    low = (groups.s2 / (2 * chi2.ppf(0.95, 14)) - 0.02**2) / 0.04
    np.testing.assert_allclose(found["diffusivity low"], low, rtol=1e-10)


def test_intervals_of_dv_cover():
    mesh = hexagons(26, 24)
    groups = simulate(mesh, 4, rows=25_000, steps=(0.04,))
    found = solve_potential(potential_problem(mesh, groups, mu=0, lam=0), start(groups))
    columns = {"diffusivity": found.diffusivity, "diffusivity se": found.diffusivity_se}
    for k, axis in enumerate("xy"):
        columns |= {f"force {axis}": found.force[:, k], f"force {axis} se": found.force_se[:, k]}
    limits = normal_intervals(columns, 0.95, groups.dt_mean, 0.02**2)
    assert 0.92 < inside(limits, "diffusivity", 0.05) < 0.97
    for axis in "xy":
        assert 0.93 < inside(limits, f"force {axis}", 0.0) < 0.97


@pytest.mark.parametrize(
    "model",
    [
        D(),
        DD(),
        DF(),
        D(diffusivity_prior=20),
        DD(drift_prior=0.1),
        DV(diffusivity_prior=20, potential_prior=1),
    ],
)
def test_columns(model):
    p = partition()
    plain = model.infer(p)
    maps = model.replace(confidence=0.95).infer(p)
    assert maps.variables == plain.variables and maps.features == plain.features
    assert maps.attrs["confidence"] == 0.95
    for name in maps.variables:
        at = list(maps.table).index(name)
        assert list(maps.table)[at : at + 4] == [name, f"{name} se", f"{name} low", f"{name} high"]
        low, high = maps.interval(name).to_numpy().T
        assert (low < maps[name]).all() and (maps[name] < high).all()
        half = model.replace(confidence=0.5).infer(p).interval(name).to_numpy().T
        assert (low < half[0]).all() and (half[1] < high).all()
    assert maps.table[list(plain.table)].equals(plain.table)
    with pytest.raises(InferenceError, match="confidence=0.95"):
        plain.interval("diffusivity")
    with pytest.raises(SpecificationError, match="between 0 and 1"):
        model.replace(confidence=95)


def test_a_single_translocation_has_no_interval_around_its_own_drift():
    mesh = hexagons(5, 4)
    cell = np.concatenate([np.repeat(np.arange(10), 50), np.arange(10, 20)])
    p = partition(mesh, cell=cell)
    table = DD(confidence=0.9).infer(p).table
    assert table.loc[10:, ["diffusivity low", "drift x high"]].isna().all(axis=None)
    assert table.loc[:9].notna().all(axis=None)
    assert D(confidence=0.9).infer(p).table.notna().all(axis=None)


def test_bounds_hold_for_intervals():
    rng = np.random.default_rng(0)
    cell = rng.integers(0, 20, 200)
    dr, dt = displacements(cell, rng, np.full(20, 1e-4))
    p = partition_of(hexagons(5, 4), cell, dr, dt, localization_precision=0.02)
    table = D(confidence=0.9, min_diffusivity=0).infer(p).table
    assert (table["diffusivity low"] >= 0).all() and table["at bound"].any()
    assert (table["diffusivity low"] <= 1e-4).mean() > 0.8 and (
        table["diffusivity high"] >= 1e-4
    ).mean() > 0.8
