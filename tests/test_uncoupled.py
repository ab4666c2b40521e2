"""D, DD and DF in independent cells."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_cases import csr, displacements
from tramway_cases import SIGMA, case

from tramway_dask.inference.likelihood import Groups, jeffreys
from tramway_dask.inference.statistics import cell_statistics
from tramway_dask.inference.uncoupled import Profile, lower_bounds, solve

CELLS = 1500
DRIFT = np.array([1.0, -0.5, 0.3])


def simulate(
    seed, model="D", *, cells=CELLS, per_cell=60, steps=(0.04,), dimension=2, true_d=0.05, sigma=SIGMA
):
    rng = np.random.default_rng(seed)
    cell = np.repeat(np.arange(cells), per_cell)
    field = np.broadcast_to(DRIFT[:dimension], (cells, dimension))
    options = {"DD": {"drift": field}, "DF": {"force": 20 * field}}.get(model, {})
    dr, dt = displacements(
        cell, rng, np.full(cells, true_d), steps=steps, dimension=dimension, sigma=sigma, **options
    )
    return dr, dt, cell


def groups_of(dr, dt, cell, sigma=SIGMA):
    s = cell_statistics(dr, dt, *csr(cell, cell.max() + 1))
    return Groups(s.select(s.cells), sigma)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("steps", [(0.04,), (0.04, 0.12)])
@pytest.mark.parametrize("model", ["D", "DD", "DF"])
def test_intervals_cover_and_errors_reach_the_cramer_rao_bound(model, steps, dimension):
    per_cell = 240  # enough for the bias of a variance around an estimated mean, 1/n, not to count
    groups = groups_of(*simulate(5, model, steps=steps, dimension=dimension, per_cell=per_cell))
    found = solve(groups, model)
    assert found.converged and not found.at_bound.any()
    covered = np.abs(found.diffusivity - 0.05) < 1.96 * found.diffusivity_se
    assert 0.93 <= covered.mean() <= 0.97
    dt = np.array(steps)
    information = np.mean(per_cell * dimension * dt**2 / (2 * (0.05 * dt + SIGMA**2) ** 2))
    assert np.mean(found.diffusivity_se) == pytest.approx(information**-0.5, rel=0.1)
    assert np.std(found.diffusivity) == pytest.approx(information**-0.5, rel=0.1)
    if model == "DD":
        covered = np.abs(found.b - DRIFT[:dimension]) < 1.96 * found.b_se
        assert 0.93 <= covered.mean() <= 0.97
        bound = np.mean(per_cell * dt**2 / (2 * (0.05 * dt + SIGMA**2))) ** -0.5
        assert np.mean(found.b_se) == pytest.approx(bound, rel=0.1)
    if model == "DF":
        covered = np.abs(found.b - 20 * DRIFT[:dimension]) < 1.96 * found.b_se
        assert 0.93 <= covered.mean() <= 0.97


@pytest.mark.parametrize("jeffreys_prior", [False, True])
@pytest.mark.parametrize("model", ["D", "DD", "DF"])
def test_closed_forms_are_stationary_and_equal_newton(model, jeffreys_prior):
    groups = groups_of(*simulate(1, model, cells=200, per_cell=20))
    found = solve(groups, model, jeffreys_prior=jeffreys_prior)
    assert found.gradient_norm < 1e-10
    # a vanishing prior on the amplitude forces the iteration
    if model != "D":
        slow = solve(groups, model, jeffreys_prior=jeffreys_prior, amplitude=np.full(groups.size, 1e-14))
        assert slow.iterations > 0 and slow.converged
        np.testing.assert_allclose(slow.diffusivity, found.diffusivity, rtol=1e-9)
        np.testing.assert_allclose(slow.b, found.b, rtol=1e-9)


@pytest.mark.parametrize("model", ["D", "DD", "DF"])
def test_formulas_of_the_documentation(model):
    dr, dt, cell = simulate(2, model, cells=50, per_cell=15)
    found = solve(groups_of(dr, dt, cell), model)
    for i in range(50):
        own = dr[cell == i]
        spread = np.sum(own**2) if model == "D" else np.sum((own - own.mean(axis=0)) ** 2)
        d = (spread / (4 * 15) - SIGMA**2) / 0.04
        assert found.diffusivity[i] == pytest.approx(d, rel=1e-9)
        if model == "DD":
            np.testing.assert_allclose(found.b[i], own.mean(axis=0) / 0.04, rtol=1e-9)
        if model == "DF":
            np.testing.assert_allclose(found.b[i], own.mean(axis=0) / (0.04 * d), rtol=1e-8)


@pytest.mark.parametrize("model", ["D", "DD", "DF"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_derivatives_are_those_of_finite_differences(model, dimension):
    groups = groups_of(*simulate(3, "DD", cells=20, per_cell=12, steps=(0.04, 0.08), dimension=dimension))
    rng = np.random.default_rng(0)
    d = rng.uniform(0.02, 0.1, groups.size)
    b = None if model == "D" else rng.normal(size=(groups.size, dimension))
    t = groups.terms(d, b, model)
    np.testing.assert_allclose(t.value, groups.value(d, b, model), rtol=1e-13)
    h = 1e-6
    up, down = groups.terms(d + h, b, model), groups.terms(d - h, b, model)
    np.testing.assert_allclose((up.value - down.value) / (2 * h), t.d1, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose((up.d1 - down.d1) / (2 * h), t.d2, rtol=1e-5, atol=1e-2)
    if b is None:
        return
    np.testing.assert_allclose((up.b1 - down.b1) / (2 * h), t.db, rtol=1e-5, atol=1e-3)
    for k in range(dimension):
        e = 1e-5 * np.eye(dimension)[k]
        high, low = groups.terms(d, b + e, model), groups.terms(d, b - e, model)
        np.testing.assert_allclose((high.value - low.value) / 2e-5, t.b1[:, k], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose((high.b1 - low.b1)[:, k] / 2e-5, t.b2, rtol=1e-6)


@pytest.mark.parametrize("model", ["D", "DD", "DF"])
@pytest.mark.parametrize("jeffreys_prior", [False, True])
@pytest.mark.parametrize("prior", [None, 0.01])
def test_profile_derivatives(model, jeffreys_prior, prior):
    groups = groups_of(*simulate(4, "DD", cells=20, per_cell=12, steps=(0.04, 0.08)))
    amplitude = None if prior is None else np.full(20, prior)
    profile = Profile(groups, model, jeffreys_prior=jeffreys_prior, amplitude=amplitude)
    d, h = np.random.default_rng(1).uniform(0.02, 0.1, 20), 1e-6
    at, up, down = profile.point(d), profile.point(d + h), profile.point(d - h)
    np.testing.assert_allclose(profile.value(d), at.value, rtol=1e-13)
    np.testing.assert_allclose((up.value - down.value) / (2 * h), at.d1, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose((up.d1 - down.d1) / (2 * h), at.d2, rtol=1e-5, atol=1e-2)


def test_jeffreys_derivatives():
    groups = groups_of(*simulate(4, cells=5, per_cell=5))
    d, h = np.full(5, 0.03), 1e-7
    for force in (False, True):
        value, d1, d2 = jeffreys(groups, d, force=force)
        up, down = jeffreys(groups, d + h, force=force), jeffreys(groups, d - h, force=force)
        np.testing.assert_allclose((up[0] - down[0]) / (2 * h), d1, rtol=1e-6)
        np.testing.assert_allclose((up[1] - down[1]) / (2 * h), d2, rtol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("steps", [False, True])
def test_equals_tramway(steps):
    ours = case(trajectories=40, steps=steps, seed=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tramway.inference.unsmooth_d import infer_D
        from tramway.inference.unsmooth_ddrift import infer_DD
        from tramway.inference.unsmooth_df import infer_DF

        for model, infer, tolerance in (("D", infer_D, 1e-5), ("DD", infer_DD, 1e-3), ("DF", infer_DF, 2e-2)):
            theirs = infer(ours.cells, sigma=SIGMA).loc[ours.index]
            found = solve(ours.groups, model)
            many = ours.groups.count > 10
            np.testing.assert_allclose(
                found.diffusivity[many], theirs["diffusivity"].to_numpy()[many], rtol=tolerance, atol=1e-6
            )
            if model == "DD":
                np.testing.assert_allclose(found.b[many], theirs.iloc[:, 1:].to_numpy()[many], atol=2e-3)


def test_bounds():
    rng = np.random.default_rng(0)
    cell = np.repeat(np.arange(300), 8)
    dr, dt = displacements(cell, rng, np.full(300, 1e-4))
    groups = groups_of(dr, dt, cell)
    free = solve(groups, "D", min_diffusivity=False)
    default = solve(groups, "D")
    zero = solve(groups, "D", min_diffusivity=0)
    assert free.diffusivity.min() < 0
    np.testing.assert_array_equal(free.diffusivity, default.diffusivity)
    np.testing.assert_array_equal(zero.at_bound, free.diffusivity <= 0)
    np.testing.assert_array_equal(zero.diffusivity, np.maximum(free.diffusivity, 0))
    np.testing.assert_array_equal(np.isnan(zero.diffusivity_se), zero.at_bound)
    assert lower_bounds(groups, None)[0] == pytest.approx((1e-16 - SIGMA**2) / 0.04)
    force = solve(groups, "DF", min_diffusivity=0)
    assert np.isnan(force.b[force.at_bound]).all() and np.isfinite(force.b[~force.at_bound]).all()


@pytest.mark.parametrize("steps", [(0.04,), (0.04, 0.08)])
def test_one_translocation(steps):
    rng = np.random.default_rng(0)
    groups = groups_of(rng.normal(size=(20, 2)) * 0.1, rng.choice(steps, 20), np.arange(20))
    d = solve(groups, "D")
    assert not d.at_bound.any() and np.isfinite(d.diffusivity_se).all()
    dd = solve(groups, "DD")
    assert dd.at_bound.all() and np.isnan(dd.diffusivity_se).all()
    np.testing.assert_allclose(dd.b, groups.s1 / groups.dt[:, None])


def test_immobile_points_stop_at_the_bound():
    cell = np.repeat([0, 1], 6)
    dt = np.tile([0.04, 0.08], 6)
    found = solve(groups_of(np.zeros((12, 2)), dt, cell), "D")
    assert found.at_bound.all() and found.converged


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 1000),
    st.sampled_from(["D", "DD", "DF"]),
    st.floats(0.01, 100.0),
    st.floats(0.01, 100.0),
    st.booleans(),
)
def test_units_scale(seed, model, length, duration, jeffreys_prior):
    dr, dt, cell = simulate(seed, "DD", cells=10, per_cell=12, steps=(0.04, 0.08))
    a = solve(groups_of(dr, dt, cell), model, jeffreys_prior=jeffreys_prior, min_diffusivity=False)
    scaled = groups_of(dr * length, dt * duration, cell, SIGMA * length)
    b = solve(scaled, model, jeffreys_prior=jeffreys_prior, min_diffusivity=False)
    np.testing.assert_allclose(b.diffusivity, a.diffusivity * length**2 / duration, rtol=1e-6)
    np.testing.assert_allclose(b.diffusivity_se, a.diffusivity_se * length**2 / duration, rtol=1e-5)
    if model == "DD":
        np.testing.assert_allclose(b.b, a.b * length / duration, rtol=1e-6, atol=1e-9 * length / duration)
    if model == "DF":
        np.testing.assert_allclose(b.b, a.b / length, rtol=1e-5, atol=1e-8 / length)


def test_many_steps_find_the_lowest_point():
    groups = groups_of(*simulate(9, "DD", cells=30, per_cell=25, steps=(0.01, 0.04, 0.5)))
    for model in ("D", "DD", "DF"):
        profile = Profile(groups, model)
        found = solve(groups, model)
        best = profile.value(found.diffusivity)
        for d in np.geomspace(1e-4, 10, 200):
            assert (profile.value(np.full(30, d)) >= best - 1e-9).all()
