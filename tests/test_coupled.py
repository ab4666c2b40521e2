"""Joint posteriors: derivatives, optimum, errors, and TRamWAy's own objectives."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_cases import csr, cubes, displacements, hexagons
from tramway_cases import SIGMA, case

from tramway_dask.inference.banded import BandPattern
from tramway_dask.inference.coupled import (
    PotentialProblem,
    SmoothProblem,
    components,
    solve_potential,
    solve_smooth,
)
from tramway_dask.inference.gradient import delta0_penalty, grad1, gradient_penalty
from tramway_dask.inference.likelihood import Groups
from tramway_dask.inference.newton import minimize
from tramway_dask.inference.pattern import CellOrder
from tramway_dask.inference.statistics import cell_statistics
from tramway_dask.inference.uncoupled import Profile, lower_bounds, solve


def simulate(mesh, seed=0, *, rows=1500, potential=None, steps=(0.04, 0.08), true_d=None):
    rng = np.random.default_rng(seed)
    potential = np.zeros(mesh.size) if potential is None else potential
    true_d = np.full(mesh.size, 0.05) if true_d is None else true_d
    weight = np.exp(-potential)
    cell = np.sort(rng.choice(mesh.size, rows, p=weight / weight.sum()))
    force = -grad1(mesh.centers, mesh.indptr, mesh.indices).apply(potential).T
    dimension = mesh.centers.shape[1]
    dr, dt = displacements(cell, rng, true_d, force=force, steps=steps, dimension=dimension)
    return Groups(cell_statistics(dr, dt, *csr(cell, mesh.size)), SIGMA)


def potential_problem(mesh, groups, *, mu=5.0, lam=1.0, rgrad="delta0", counted=None, **options):
    operator = grad1(mesh.centers, mesh.indptr, mesh.indices)
    if rgrad == "delta0":
        form = delta0_penalty(mesh.centers, mesh.indptr, mesh.indices, mesh.areas, rows=counted)
    else:
        form = gradient_penalty(operator, mesh.areas, rows=counted)
    return PotentialProblem(
        groups,
        operator,
        diffusivity_penalty=mu * form if mu else None,
        potential_penalty=lam * form if lam else None,
        bound=lower_bounds(groups, None),
        component=components(mesh.indptr, mesh.indices)[1],
        order=order(mesh),
        counted=counted,
        **options,
    )


def order(mesh):
    return CellOrder(mesh.indptr, mesh.indices, mesh.centers)


def start(groups):
    d = groups.sum(groups.s2) / (2 * groups.dimension * groups.count * groups.dt_mean)
    return np.concatenate([d, np.log(groups.count.max() / groups.count)])


def dense(pattern: BandPattern, band: np.ndarray) -> np.ndarray:
    full = np.zeros((pattern.size, pattern.size))
    for k in range(band.shape[0]):
        for c in range(pattern.size - k):
            full[c + k, c] = full[c, c + k] = band[k, c]
    return full[np.ix_(pattern.rank, pattern.rank)]


def check_derivatives(problem, x, scale):
    value, gradient, state = problem.derivatives(x)
    assert value == pytest.approx(problem.value(x), rel=1e-13)
    hessian = dense(problem.pattern, problem.hessian(state, exact=True))
    for k in range(len(x)):
        e = np.zeros(len(x))
        e[k] = scale[k]
        (f1, g1, _), (f0, g0, _) = problem.derivatives(x + e), problem.derivatives(x - e)
        assert (f1 - f0) / (2 * scale[k]) == pytest.approx(gradient[k], rel=1e-4, abs=1e-3 / scale[k] * 1e-5)
        np.testing.assert_allclose(
            (g1 - g0) / (2 * scale[k]), hessian[k], rtol=1e-4, atol=1e-6 * np.abs(hessian[k]).max()
        )


@pytest.mark.parametrize("mesh", [hexagons(4, 3), cubes(2, 3, 2)])
@pytest.mark.parametrize("rgrad", ["delta0", "grad"])
@pytest.mark.parametrize("jeffreys_prior", [False, True])
def test_derivatives_of_dv(mesh, rgrad, jeffreys_prior):
    groups = simulate(mesh)
    problem = potential_problem(mesh, groups, rgrad=rgrad, jeffreys_prior=jeffreys_prior)
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(0.03, 0.08, mesh.size), rng.normal(size=mesh.size)])
    check_derivatives(problem, x, np.repeat([1e-6, 1e-4], mesh.size))
    _, _, state = problem.derivatives(x)
    substitute = dense(problem.pattern, problem.hessian(state, exact=False))
    assert np.linalg.eigvalsh(substitute).min() > -1e-9 * np.abs(substitute).max()
    np.testing.assert_allclose(np.diag(substitute), problem.curvature(state), rtol=1e-10)


@pytest.mark.parametrize("model", ["D", "DD", "DF"])
@pytest.mark.parametrize("amplitude", [False, True])
def test_derivatives_of_smoothed_models(model, amplitude):
    mesh = hexagons(4, 3)
    groups = simulate(mesh)
    profile = Profile(groups, model, amplitude=0.1 * mesh.areas if amplitude and model != "D" else None)
    problem = smooth_problem(mesh, profile)
    x = np.random.default_rng(1).uniform(0.03, 0.08, mesh.size)
    check_derivatives(problem, x, np.full(mesh.size, 1e-6))


def smooth_problem(mesh, profile, mu=50.0):
    form = delta0_penalty(mesh.centers, mesh.indptr, mesh.indices, mesh.areas)
    return SmoothProblem(profile, mu * form, lower_bounds(profile.groups, None), order(mesh))


@pytest.mark.parametrize("mesh", [hexagons(9, 8), cubes(4, 3, 4)])
def test_band_of_the_inverse(mesh):
    problem = potential_problem(mesh, simulate(mesh, rows=4000))
    _, _, state = problem.derivatives(start(problem.groups))
    band = problem.pattern.add_diagonal(problem.hessian(state, exact=False), np.full(2 * mesh.size, 1.0))
    inverse = np.linalg.inv(dense(problem.pattern, band))
    p, q = problem.gradient.pairs
    rows = np.r_[np.arange(2 * mesh.size), mesh.size + problem.gradient.indices[p]]
    cols = np.r_[np.arange(2 * mesh.size), mesh.size + problem.gradient.indices[q]]
    factor = problem.pattern.factor(band)
    found = factor.inverse_entries(rows, cols)
    np.testing.assert_allclose(found, inverse[rows, cols], rtol=1e-7, atol=1e-10 * np.abs(inverse).max())
    right = np.random.default_rng(0).normal(size=2 * mesh.size)
    np.testing.assert_allclose(factor.solve(right), inverse @ right, rtol=1e-7, atol=1e-9)
    assert factor.logdet() == pytest.approx(-np.linalg.slogdet(inverse)[1], rel=1e-12)
    assert problem.pattern.factor(problem.pattern.add_diagonal(band, np.full(2 * mesh.size, -1e9))) is None


def test_errors_are_those_of_the_whole_covariance():
    mesh = hexagons(5, 4)
    problem = potential_problem(mesh, simulate(mesh, rows=3000))
    found = solve_potential(problem, start(problem.groups))
    m = mesh.size
    _, _, state = problem.derivatives(found.optimum.x)
    covariance = np.linalg.pinv(dense(problem.pattern, problem.hessian(state, exact=True)), rcond=1e-11)
    np.testing.assert_allclose(found.diffusivity_se, np.sqrt(np.diag(covariance)[:m]), rtol=1e-5)
    centre = np.eye(m) - 1 / m
    potential = centre @ covariance[m:, m:] @ centre
    np.testing.assert_allclose(found.potential_se, np.sqrt(np.diag(potential)), rtol=1e-5)
    for k, g in enumerate(problem.gradient.matrices):
        force = g @ covariance[m:, m:] @ g.T
        np.testing.assert_allclose(found.force_se[:, k], np.sqrt(np.diag(force)), rtol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("rgrad", ["delta0", "grad"])
def test_objective_equals_tramway_and_our_optimum_is_not_higher(rgrad):
    ours = case(0.3, trajectories=8)
    from tramway.inference import dv

    mesh, size = ours.mesh, ours.mesh.size
    assert 6 <= size <= 14
    counted = grad1(mesh.centers, mesh.indptr, mesh.indices).defined.all(axis=0)
    function = dv.dv_neg_posterior if rgrad == "grad" else dv.dv_neg_posterior1

    def objective(x, jeffreys_prior=False):
        model = dv.DV(x[:size].copy(), x[size:].copy(), 2.0, 0.5, None)
        arguments = (ours.index, ours.reverse, {"selection_angle": 0.9}, 0.0, False, [])
        return function(x, model, ours.cells, SIGMA**2, jeffreys_prior, ours.dt_mean, *arguments)

    rng = np.random.default_rng(0)
    for jeffreys_prior in (False, True):
        problem = potential_problem(
            mesh, ours.groups, mu=2.0, lam=0.5, rgrad=rgrad, counted=counted, jeffreys_prior=jeffreys_prior
        )
        for _ in range(3):
            x = np.concatenate([rng.uniform(0.01, 0.1, size), rng.normal(size=size)])
            assert problem.value(x) == pytest.approx(objective(x, jeffreys_prior), rel=1e-9)
    problem = potential_problem(mesh, ours.groups, mu=2.0, lam=0.5, rgrad=rgrad, counted=counted)
    optimum = minimize(problem, start(ours.groups))
    assert optimum.converged
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, _ = dv.inferDV(
            ours.cells, diffusivity_prior=2.0, potential_prior=0.5, sigma=SIGMA, verbose=False, rgrad=rgrad
        )
    reached = objective(np.concatenate([theirs["diffusivity"], theirs["potential"]]))
    assert objective(optimum.x) <= reached + 1e-9
    # the two agree on where the optimum is as far as theirs has converged
    assert reached - objective(optimum.x) < 0.05
    np.testing.assert_allclose(optimum.x[:size], theirs["diffusivity"], rtol=0.05, atol=1e-3)


@pytest.mark.oracle
@pytest.mark.parametrize("model", ["D", "DF"])
@pytest.mark.parametrize("rgrad", ["delta0", "grad"])
def test_smoothed_objective_equals_tramway(model, rgrad):
    ours = case(0.25, trajectories=25)
    from tramway.core import ChainArray
    from tramway.inference import standard_d, standard_df

    mesh, size = ours.mesh, ours.mesh.size
    operator = grad1(mesh.centers, mesh.indptr, mesh.indices)
    assert operator.defined.all()
    form = delta0_penalty(mesh.centers, mesh.indptr, mesh.indices, mesh.areas)
    form = form if rgrad == "delta0" else gradient_penalty(operator, mesh.areas)
    profile = Profile(ours.groups, model)
    problem = SmoothProblem(profile, 3.0 * form, lower_bounds(ours.groups, None), order(mesh))
    x = np.random.default_rng(0).uniform(0.01, 0.1, size)
    tail = (ours.dt_mean, None, ours.index, ours.reverse, {"selection_angle": 0.9})
    if model == "D":
        function = standard_d.d_neg_posterior1 if rgrad == "delta0" else standard_d.smooth_d_neg_posterior
        theirs = function(x, ours.cells, SIGMA**2, 3.0, False, *tail)
    else:
        function = standard_df.df_neg_posterior1 if rgrad == "delta0" else standard_df.smooth_df_neg_posterior
        force = profile.best(x)
        vector = ChainArray("D", x, "F", force)
        theirs = function(vector.combined, vector, ours.cells, SIGMA**2, 3.0, None, False, *tail)
    assert problem.value(x) == pytest.approx(theirs, rel=1e-9)


def test_a_simulated_well_is_recovered():
    mesh = hexagons(12, 12)
    centred = mesh.centers - mesh.centers.mean(axis=0)
    distance = np.sqrt((centred**2).sum(axis=1))
    well = 2.0 * (distance / distance.max()) ** 2
    true_d = 0.05 + 0.02 * centred[:, 0] / distance.max()
    groups = simulate(mesh, 3, rows=600_000, potential=well, true_d=true_d, steps=(0.04,))
    problem = potential_problem(mesh, groups, mu=1.0, lam=0.02)
    found = solve_potential(problem, start(groups))
    assert found.optimum.converged and found.exact_errors
    error = (found.potential - found.potential.mean()) - (well - well.mean())
    assert np.corrcoef(found.potential, well)[0, 1] > 0.93
    assert 0.85 < np.sqrt(np.mean((error / found.potential_se) ** 2)) < 1.15
    covered = np.abs(found.diffusivity - true_d) < 1.96 * found.diffusivity_se
    assert covered.mean() > 0.9
    force = -problem.gradient.apply(well).T
    covered = np.abs(found.force - force) < 1.96 * found.force_se
    assert 0.92 < covered.mean() < 0.99


def test_intervals_of_dv_cover_over_many_cells():
    mesh = hexagons(30, 34)
    groups = simulate(mesh, 4, rows=80_000, steps=(0.04,))
    found = solve_potential(potential_problem(mesh, groups, mu=0, lam=0), start(groups))
    assert found.optimum.converged
    ok = np.isfinite(found.force_se)
    assert 0.93 < (np.abs(found.force) < 1.96 * found.force_se)[ok].mean() < 0.97
    assert 0.92 < (np.abs(found.diffusivity - 0.05) < 1.96 * found.diffusivity_se).mean() < 0.97


@pytest.mark.parametrize("model", ["D", "DD", "DF"])
def test_vanishing_prior_is_uncoupled(model):
    mesh = hexagons(5, 5)
    groups = simulate(mesh)
    alone = solve(groups, model)
    together, optimum = solve_smooth(
        smooth_problem(mesh, Profile(groups, model), 1e-12), start(groups)[: mesh.size], gtol=1e-9
    )
    assert optimum.converged
    np.testing.assert_allclose(together.diffusivity, alone.diffusivity, rtol=1e-6)
    np.testing.assert_allclose(together.diffusivity_se, alone.diffusivity_se, rtol=1e-6)
    if model != "D":
        np.testing.assert_allclose(together.b_se, alone.b_se, rtol=1e-5)


def test_strong_prior_flattens():
    mesh = hexagons(5, 5)
    groups = simulate(mesh)
    found, optimum = solve_smooth(smooth_problem(mesh, Profile(groups, "D"), 1e9), start(groups)[: mesh.size])
    assert optimum.converged
    assert np.ptp(found.diffusivity) < 1e-5
    assert found.diffusivity_se.max() < solve(groups, "D").diffusivity_se.min()


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.floats(0.1, 10.0), st.floats(0.1, 10.0))
def test_units_scale_and_translation(seed, length, duration):
    mesh = hexagons(4, 4)
    groups = simulate(mesh, seed, rows=800)
    a = solve_potential(potential_problem(mesh, groups, mu=0, lam=0.1), start(groups), gtol=1e-8)
    mesh2 = hexagons(4, 4)
    mesh2.centers = mesh.centers * length + 17.0
    # areas fixed: the penalty on V then scales with 1/length², so its weight is scaled back
    scaled = Groups.__new__(Groups)
    scaled.__dict__.update(groups.__dict__)
    scaled.s1, scaled.s2 = groups.s1 * length, groups.s2 * length**2
    for name in ("dt", "dt_mean", "dt_max"):
        setattr(scaled, name, getattr(groups, name) * duration)
    scaled.noise = groups.noise * length**2
    problem = potential_problem(mesh2, scaled, mu=0, lam=0.1 * length**2)
    b = solve_potential(problem, start(scaled), gtol=1e-8)
    assert a.optimum.converged and b.optimum.converged
    np.testing.assert_allclose(b.diffusivity, a.diffusivity * length**2 / duration, rtol=1e-5)
    np.testing.assert_allclose(b.potential, a.potential, atol=1e-5)
    np.testing.assert_allclose(b.potential_se, a.potential_se, rtol=1e-4)
    np.testing.assert_allclose(b.force_se, a.force_se / length, rtol=1e-4)


def test_limits_stop_the_iteration_and_say_so():
    mesh = hexagons(5, 5)
    problem = potential_problem(mesh, simulate(mesh))
    stopped = minimize(problem, start(problem.groups), max_iter=1)
    assert not stopped.converged and "iterations" in stopped.message
    interrupted = minimize(problem, start(problem.groups), max_runtime=1e-9)
    assert not interrupted.converged and interrupted.message == "INTERRUPTED"
    assert minimize(problem, start(problem.groups), ftol=10.0).converged


def test_what_the_data_do_not_determine_has_no_error():
    mesh = hexagons(4, 4)
    groups = simulate(mesh, rows=2000)
    groups.n[:], groups.half[:] = 0.0, 0.0
    groups.s1[:], groups.s2[:] = 0.0, 0.0
    problem = potential_problem(mesh, groups, mu=1.0, lam=0.0)
    x = np.concatenate([np.full(16, 0.05), np.zeros(16)])
    found = solve_potential(problem, x)
    assert np.isnan(found.potential_se).all()


@pytest.mark.parametrize("model", ["D", "DD"])
def test_a_cell_of_negative_curvature_does_not_stall_the_others(model):
    mesh = hexagons(8, 8)
    groups = simulate(mesh, rows=4000, steps=(0.04,))
    # a single translocation, far shorter than its neighbours', hardly tied to them: the likelihood is concave
    groups.n[5], groups.half[5], groups.s2[5], groups.s1[5] = 1.0, 1.0, 2e-4, 0.0
    problem = smooth_problem(mesh, Profile(groups, model), mu=1.0)
    x = start(groups)[: mesh.size]
    x[5] = 0.05
    _, _, state = problem.derivatives(x)
    diagonal = problem.pattern.diagonal(problem.hessian(state, exact=True))
    assert diagonal[5] < 0 and (np.delete(diagonal, 5) > 0).all()
    optimum = minimize(problem, x)
    assert optimum.converged and optimum.iterations < 20
