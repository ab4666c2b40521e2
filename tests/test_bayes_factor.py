"""Conjugate priors, signal-to-noise ratios and Bayes factors, beside TRamWAy's."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cases import analyzer
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_cases import cubes, displacements, hexagons, partition_of
from scipy.integrate import quad
from tramway_cases import SIGMA, case

import tramway_dask as td
from tramway_dask.errors import InferenceError, PipelineError, SpecificationError
from tramway_dask.inference import DV, SNR, BayesFactor, D, DConjugatePrior, Maps, from_plugin
from tramway_dask.inference.bayes_factor import groups_by_sign
from tramway_dask.inference.conjugate import Posterior, log_gammainc
from tramway_dask.inference.evidence_ratio import Evidence, minimal_counts


@contextlib.contextmanager
def quiet():
    """Keep TRamWAy's warnings from being errors."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def simulated(seed=0, *, rows=1500, mesh=None, force=(0.0, 0.0), true_d=0.05, cell=None, step=0.04):
    """Simulate a constant force over a mesh of 20 cells, or a constant diffusivity."""
    mesh = hexagons(5, 4) if mesh is None else mesh
    rng = np.random.default_rng(seed)
    cell = rng.integers(0, mesh.size, rows) if cell is None else cell
    d = np.broadcast_to(true_d, mesh.size)
    field = np.broadcast_to(np.resize(force, mesh.centers.shape[1]), mesh.centers.shape)
    options = {"force": field, "dimension": mesh.centers.shape[1], "sigma": SIGMA, "steps": (step,)}
    dr, dt = displacements(cell, rng, d, **options)
    return partition_of(mesh, cell, dr, dt, localization_precision=SIGMA)


def partition_like(tramway):
    """Return TRamWAy's cells as a partition."""
    mesh = tramway.mesh
    cells = [tramway.cells[i] for i in tramway.index]
    cell = np.repeat(np.arange(mesh.size), [len(c) for c in cells])
    dr, dt = (np.concatenate([getattr(c, name) for c in cells]) for name in ("dr", "dt"))
    return partition_of(mesh, cell, dr, dt, localization_precision=SIGMA)


@pytest.fixture(scope="module")
def tramway():
    return case(trajectories=40, steps=False, seed=5)


def exact(total, spurious, n, v, v_pi, noise):
    """Return log10 B by adaptive quadrature around the peak of the integrand."""
    p, rho = n + 1, n * v / (4 * noise) if noise else np.inf

    def log_integral(e):
        def value(x):
            q = 1 + 3 / n * v_pi / v + e * np.sum((total - x * spurious) ** 2)
            gamma = 0.0 if noise == 0 else log_gammainc(np.array([p]), np.array([rho * q]))[0]
            return gamma - p * np.log(q)

        peak = np.clip(total @ spurious / (spurious @ spurious), 0, 1)
        top = value(peak)
        away = np.geomspace(1e-6, 1, 25)
        edges = np.unique(np.clip(np.r_[0, 1, peak, peak + away, peak - away], 0, 1))
        pieces = zip(edges[:-1], edges[1:], strict=True)
        return top + np.log(
            sum(quad(lambda x: np.exp(value(x) - top), *ab, epsrel=1e-11)[0] for ab in pieces)
        )

    eta2 = 3 / (n + 3)
    return (log_integral(eta2) - log_integral(1.0)) / np.log(10) + np.log10(eta2)


@pytest.mark.parametrize("noise", [0.0, 4e-4, 1.0])
@pytest.mark.parametrize("size", [0.3, 50.0])
def test_bayes_factors_are_the_integrals(noise, size):
    rng = np.random.default_rng(1)
    n = np.r_[1.0, 2.0, rng.integers(3, 400, 2)]
    total = rng.normal(size=(4, 2)) * rng.choice([0.05, 0.3, 3], 4)[:, None]
    spurious = rng.normal(size=(4, 2)) * size
    v, v_pi = rng.uniform(0.01, 0.04, (2, 4))
    found = Evidence(total, spurious, v, v_pi, noise).log10(n)
    expected = [exact(total[i], spurious[i], n[i], v[i], v_pi[i], noise) for i in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.oracle
@pytest.mark.parametrize("noise", [0.0, 4e-4, 1e-2])
def test_bayes_factors_and_counts_are_tramways(noise):
    with quiet():
        from tramway.inference.bayes_factors.calculate_bayes_factors import _calculate_one_bayes_factor

    rng = np.random.default_rng(0)
    m = 20
    n = rng.integers(5, 100, m).astype(float)
    total = rng.normal(size=(m, 2)) / np.sqrt(2 * n)[:, None] + 0.2 * rng.normal(size=(m, 2))
    spurious = 0.1 * rng.normal(size=(m, 2))
    spurious[0] = 0
    v, v_pi = 0.0096 * rng.uniform(0.7, 1.3, (2, m))
    evidence = Evidence(total, spurious, v, v_pi, noise)
    found = evidence.log10(n)
    counts = minimal_counts(evidence, n, found, 1.0)
    for i in range(m):
        with quiet():
            lg_b, _, count = _calculate_one_bayes_factor(total[i], spurious[i], n[i], v[i], v_pi[i], noise, 2)
        assert found[i] == pytest.approx(lg_b, abs=1e-6)
        # TRamWAy's search ends within 1 or a thousandth of the root
        assert counts[i] == pytest.approx(count, abs=1 + 2e-3 * count)
    decided = counts > n
    assert decided.any()
    at, before = (evidence.take(np.flatnonzero(decided)).log10((counts - k)[decided]) for k in (0, 1))
    assert (np.abs(at) >= 1).all() and (np.abs(before) < 1).all()


def test_log_gammainc_where_it_underflows():
    from scipy.special import gammainc

    p = np.array([3.0, 50.0, 1e3, 1e3, 1e6, 1e10])
    x = p * np.array([0.5, 0.9, 0.7, 1.2, 0.99, 0.999])
    with np.errstate(divide="ignore"):
        plain = np.log(gammainc(p, x))
    found = log_gammainc(p, x)
    ok = plain > -500
    np.testing.assert_allclose(found[ok], plain[ok], rtol=1e-13)
    assert np.isfinite(found).all() and not ok.all()
    # the derivative by x is the density over P, whatever the size of P
    p, x = np.array([1e3, 2e4]), np.array([300.0, 1.5e4])
    h = 1e-5 * x
    slope = (log_gammainc(p, x + h) - log_gammainc(p, x - h)) / (2 * h)
    terms = [np.cumprod(b / (a + np.arange(1, 2000))) for a, b in zip(p, x, strict=True)]
    np.testing.assert_allclose(slope, p / x / (1 + np.array([t.sum() for t in terms])), rtol=1e-6)


@pytest.mark.oracle
def test_maps_of_the_conjugate_prior_are_tramways(tramway):
    with quiet():
        from tramway.inference.d_conj_prior import infer_d_conj_prior

        theirs = infer_d_conj_prior(tramway.cells, sigma2=SIGMA**2, alpha=0.9).loc[tramway.index]
    ours = DConjugatePrior(alpha=0.9).infer(partition_like(tramway)).table
    assert (theirs["n"] > 1).all()
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9, atol=1e-12, err_msg=name)
    assert ours["n"].to_numpy() == pytest.approx(theirs["n"].to_numpy())


@pytest.mark.oracle
def test_signal_maps_are_tramways(tramway):
    with quiet():
        from tramway.inference.snr import add_snr_extensions

        ours = SNR(diffusivity_prior=1.0).infer(partition_like(tramway)).table
        given = ours[["diffusivity"]].set_axis(tramway.index)
        theirs = add_snr_extensions(tramway.cells, given, {"selection_angle": 0.9})
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.oracle
def test_bayes_factor_maps_are_tramways(tramway):
    with quiet():
        from tramway.inference.bayes_factors import calculate_bayes_factors_for_one_cell

    maps = DConjugatePrior().infer(partition_like(tramway))
    found = BayesFactor(B_threshold=3).infer(maps).table
    for i, row in maps.table.iterrows():
        if maps.table.filter(like="zeta").loc[i].isna().any():
            assert np.isnan(found.loc[i]).all()
            continue

        class Cell:
            zeta_total = row[["zeta_total x", "zeta_total y"]].to_numpy()
            zeta_spurious = row[["zeta_spurious x", "zeta_spurious y"]].to_numpy()
            n, V, V_prior = row["n"], row["V"], row["V_prior"]  # noqa: RUF012

        lg_b, force, count = calculate_bayes_factors_for_one_cell(Cell(), SIGMA**2, B_threshold=3)
        assert found["lg_B"][i] == pytest.approx(lg_b, abs=1e-6)
        assert found["force"][i] == force
        assert found["min_n"][i] == pytest.approx(count, abs=1 + 2e-3 * count)


def test_credible_intervals_hold_their_share():
    p, beta, least = np.array([3.0, 40.0, 400.0]), np.array([0.1, 2.0, 4.0]), 0.01
    posterior = Posterior(p, beta, least)
    for i in range(3):

        def density(y, p=p[i]):
            return np.exp((p - 1) * np.log(y / p) - y + p)

        largest = beta[i] / least
        points = [y for y in (p[i] * np.linspace(0.2, 3, 15)) if y < largest]
        whole = quad(density, 0, largest, points=points, limit=200)[0]
        for q in (0.025, 0.5, 0.975):
            y = beta[i] / posterior.quantile(q)[i]
            inside = quad(density, 0, y, points=[x for x in points if x < y], limit=200)[0]
            assert inside / whole == pytest.approx(1 - q, rel=1e-6)
        moments = [
            quad(
                lambda y, k=k, b=beta[i], density=density: density(y) * (b / y) ** k,
                1e-9,
                largest,
                points=points,
                limit=200,
            )[0]
            for k in (1, 2)
        ]
        variance = moments[1] / whole - (moments[0] / whole) ** 2
        assert posterior.error()[i] == pytest.approx(np.sqrt(variance), rel=1e-5)
    # displacements far shorter than the localization error: the posterior hugs its lower limit
    immobile = Posterior(np.array([2000.0]), np.array([5.0]), 0.01)
    for q in (0.025, 0.975):
        y = 5.0 / immobile.quantile(q)
        share = log_gammainc(immobile.p, y) - log_gammainc(immobile.p, np.array([500.0]))
        np.testing.assert_allclose(np.exp(share), 1 - q, rtol=1e-9)


def test_credible_intervals_cover():
    covered = []
    for seed in range(40):
        maps = DConjugatePrior(subtract_noise=True).infer(simulated(seed, rows=300))
        low, high = maps.table["ci low"], maps.table["ci high"]
        covered.append(((low <= 0.05) & (high >= 0.05)).mean())
    assert 0.92 < np.mean(covered) < 0.99


def test_a_force_is_found_and_its_absence_too():
    pushed = BayesFactor().infer(simulated(rows=4000, force=(15.0, 0.0))).table
    assert (pushed["force"] == 1).mean() > 0.9 and (pushed["group_forces"] == 1).mean() > 0.9
    free = BayesFactor().infer(simulated(rows=4000)).table
    assert (free["force"] == 1).sum() == 0 and (free["lg_B"] < 0).mean() > 0.8
    assert (free["group_forces"] == -1).mean() > 0.8
    assert (free["min_n"] >= free["n"]).all()


def test_maps_of_earlier_models_may_be_given():
    p = simulated(rows=2000)
    at_once = BayesFactor().infer(p)
    in_two = BayesFactor().infer(DConjugatePrior().infer(p))
    pd.testing.assert_frame_equal(at_once.table[list(in_two.table)], in_two.table)
    assert in_two.parent is p and in_two.mode == "bayes_factor"
    of_dv = SNR().infer(DV(diffusivity_prior=1, potential_prior=1).infer(p))
    assert {"potential", "zeta_spurious"} <= set(of_dv.features)
    assert len(BayesFactor().infer(of_dv)) == 20
    plain = D().infer(p)
    with pytest.raises(InferenceError, match="no 'n'; make them with"):
        BayesFactor().infer(plain)
    plain.parent = None
    with pytest.raises(InferenceError, match="do not know their partition"):
        SNR().infer(plain)


def test_groups_are_components_of_equal_sign():
    lg_b = np.array([1.0, 0.5, -1.0, -2.0, np.nan, 3.0])
    indptr = np.array([0, 1, 3, 5, 7, 9, 10])
    indices = np.array([1, 0, 2, 1, 3, 2, 4, 3, 5, 4])
    groups, total = groups_by_sign(lg_b, indptr, indices)
    np.testing.assert_array_equal(groups, [0, 0, 1, 1, np.nan, 2])
    np.testing.assert_allclose(total, [1.5, 1.5, -3, -3, np.nan, 3])


def test_one_translocation_and_missing_gradients_are_flagged():
    mesh = hexagons(6, 4)
    cell = np.concatenate([np.repeat(np.arange(12), 40), np.full(30, 23), [13]])
    maps = BayesFactor().infer(simulated(mesh=mesh, cell=cell))
    assert maps.table["lg_B"].isna().sum() == maps.attrs["undefined_values"] > 0
    assert np.isnan(maps.table["lg_B"][[13, 23]]).all()
    assert np.isfinite(maps.table["diffusivity"]).all()
    assert np.isnan(maps.table["force"][13]) and np.isnan(maps.table["groups"][23])
    assert maps.table["groups"].max() == len(set(maps.table["groups"].dropna())) - 1


def test_what_cannot_be_inferred():
    p = simulated()
    p.param.clear()
    for model in (DConjugatePrior(), BayesFactor()):
        with pytest.raises(InferenceError, match="needs the localization precision"):
            model.infer(p)
    assert BayesFactor().infer(p, sigma=0).sigma == 0
    p = simulated(mesh=cubes(3, 3, 2))
    assert len(DConjugatePrior().infer(p)) == 18
    with pytest.raises(InferenceError, match="planes only"):
        BayesFactor().infer(p)
    p = simulated()
    p.points.loc[3, "dt"] = 0.08
    with pytest.raises(InferenceError, match=r"several time steps \(0.04, 0.08 s\)"):
        SNR().infer(p)
    with pytest.raises(InferenceError, match="only one cell"):
        DConjugatePrior().infer(simulated(cell=np.zeros(10, dtype=int)))
    for bad in ({"B_threshold": 0.5}, {"B_threshold": -1}, {"need_min_n": 2}):
        with pytest.raises(SpecificationError):
            BayesFactor(**bad)
    with pytest.raises(SpecificationError, match="alpha"):
        DConjugatePrior(alpha=95)
    assert type(from_plugin("d.snr")) is SNR and from_plugin("d.conj_prior", alpha=0.9).alpha == 0.9
    with pytest.warns(DeprecationWarning, match="closed form"):
        from_plugin("d.conj_prior", trust=True)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 100), st.floats(0.01, 1000.0), st.floats(0.01, 1000.0))
def test_bayes_factors_have_no_unit(seed, length, duration):
    p = simulated(seed, rows=300)
    a = BayesFactor().infer(p).table
    q = simulated(seed, rows=300)
    q.points[["dx", "dy"]] *= length
    q.points["dt"] *= duration
    q.mesh.centers = q.mesh.centers * length
    b = BayesFactor().infer(q, sigma=SIGMA * length).table
    for name in ("lg_B", "force", "groups", "group_lg_B", "zeta_total x", "zeta_spurious y"):
        np.testing.assert_allclose(b[name], a[name], rtol=1e-6, atol=1e-8, err_msg=name)
    for name in ("diffusivity", "diffusivity se", "ci low", "ci high"):
        np.testing.assert_allclose(b[name], a[name] * length**2 / duration, rtol=1e-8, err_msg=name)


def chain(folder: Path, **options: Any) -> td.RWAnalyzer:
    a = analyzer(folder, mapper=td.models.DConjugatePrior())
    a.pipeline.append_stage(td.stages.tessellate())
    a.pipeline.append_stage(td.stages.infer("snr"))
    a.pipeline.append_stage(td.stages.infer("bf", input_label="snr", mapper=td.models.BayesFactor(**options)))
    return a


def test_pipeline_of_bayes_factors_from_stored_maps(tmp_path):
    a = chain(tmp_path)
    report = a.run(progress=False)
    assert report.ok, report
    r = next(iter(a.roi.as_support_regions()))
    sampling = r.get_sampling()
    expected = BayesFactor().infer(DConjugatePrior().infer(sampling))
    stored = sampling.get_child("bf")
    assert isinstance(stored, Maps) and stored.mode == "bayes_factor"
    pd.testing.assert_frame_equal(stored.table, expected.table)
    assert len(a.maps("bf")) == len(a.maps("snr")) and "lg_B" in a.maps("bf")
    assert a.run(progress=False).skipped == 12
    # maps made otherwise are another input
    a.mapper.alpha = 0.5
    from tramway_dask.errors import LabelConflictError

    with pytest.raises(LabelConflictError, match=r"mapper\.alpha"):
        a.run(progress=False)
    assert a.run(progress=False, overwrite=True).done == 8
    # the script of a later day starts from what is stored
    b = analyzer(tmp_path, mapper="bayes_factor")
    b.pipeline.append_stage(td.stages.infer("again", input_label="snr"))
    assert b.run(progress=False).ok
    pd.testing.assert_series_equal(b.maps("again")["lg_B"], a.maps("bf")["lg_B"])


def test_pipeline_of_bayes_factors_on_local_workers(tmp_path):
    here = chain(tmp_path / "here")
    here.run(progress=False)
    a = chain(tmp_path / "there")
    a.env = td.environments.LocalHost(worker_count=1)
    report = a.run(progress=False)
    assert report.ok, report
    pd.testing.assert_frame_equal(a.maps("bf"), here.maps("bf"))


def test_workers_that_cannot_read_the_results_are_given_the_maps(tmp_path):
    from tramway_dask.pipeline.graph import Reach, delayed_units

    a = chain(tmp_path)
    a.run(progress=False)
    a.pipeline.append_stage(td.stages.infer("first", mapper="snr"))
    a.pipeline.append_stage(td.stages.infer("second", input_label="snr", mapper="bayes_factor"))
    a.pipeline.append_stage(td.stages.infer("third", input_label="first", mapper="bayes_factor"))
    units = delayed_units(a.plan(), a, Reach(), stored=a.results)
    done = [unit.compute(scheduler="sync") for unit in units.values()]
    assert len(done) == 12 and [str(r.failure) for r in done if not r.ok] == []


def test_input_maps_that_do_not_fit(tmp_path):
    a = analyzer(tmp_path)
    a.pipeline.append_stage(td.stages.tessellate())
    a.pipeline.append_stage(td.stages.infer("bf", input_label="snr", mapper="bayes_factor"))
    plan = a.plan().to_frame()
    assert plan["why"].str.contains("needs the maps 'snr' of sampling").any()
    a = analyzer(tmp_path)
    a.pipeline.append_stage(td.stages.tessellate())
    a.pipeline.append_stage(td.stages.infer("m"))
    a.pipeline.append_stage(td.stages.infer("n", input_label="m"))
    report = a.run(progress=False)
    assert report.failures["message"].str.contains("D is inferred from translocations alone").all()
    assert issubclass(PipelineError, Exception)


def test_maps_can_be_plotted():
    from tramway_dask import plot

    points = td.simulate.random_walk(trajectory_count=40, diffusivity=0.05, duration=2, seed=1)
    p = td.RWAnalyzer(tesseller=td.tessellers.Hexagons(0.3)).sampler.sample(points)
    maps = BayesFactor().infer(p, sigma=SIGMA)

    def label(name):
        ax = plot.map(maps, name, sampling=p)
        axes = [*ax.figure.axes, *ax.child_axes]
        ticks = [tick.get_text() for inset in axes for tick in inset.get_yticklabels()]
        return " ".join([*(inset.get_ylabel() for inset in axes), *ticks])

    assert "Bayes factor" in label("lg_B")
    assert "decision of the cell" in label("force") and "undecided" in label("force")
    assert "amplitude" in label("zeta_total")
    assert "s$^{-1}$" in label("ci low")
