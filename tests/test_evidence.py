"""Priors chosen by the evidence: determinants, derivatives, oracles, cross-validation, the way to the store."""

from __future__ import annotations

import json
import logging

import numpy as np
import pandas as pd
import pytest
from inference_cases import displacements, hexagons, mesh_of, partition_of

import tramway_dask as td
from tramway_dask.errors import LabelConflictError, SpecificationError
from tramway_dask.inference import DD, DF, DV, D
from tramway_dask.inference.coupled import PotentialProblem, SmoothProblem, components
from tramway_dask.inference.evidence import Combination, Evidence, Term, Tunable
from tramway_dask.inference.folds import without_folds
from tramway_dask.inference.gradient import delta0_penalty, grad1, gradient_penalty
from tramway_dask.inference.inputs import Inputs
from tramway_dask.inference.likelihood import Groups
from tramway_dask.inference.marginal import Marginal
from tramway_dask.inference.pattern import CellOrder
from tramway_dask.inference.selection import select
from tramway_dask.inference.uncoupled import lower_bounds
from tramway_dask.plot import prior_selection

MESH = hexagons(7, 6)
ORDER = CellOrder(MESH.indptr, MESH.indices, MESH.centers)


def field(mesh=MESH, rows=2500, amplitude=0.03, depth=0.0, seed=0, steps=(0.04,)):
    """Return a partition whose diffusivity is a wave, and the diffusivity."""
    rng = np.random.default_rng(seed)
    centred = mesh.centers - mesh.centers.mean(axis=0)
    truth = 0.05 + amplitude * np.sin(2 * np.pi * centred[:, 0] / np.ptp(centred[:, 0]))
    well = depth * (centred**2).sum(axis=1) / (centred**2).sum(axis=1).max()
    cell = np.sort(rng.choice(mesh.size, rows, p=np.exp(-well) / np.exp(-well).sum()))
    force = -grad1(mesh.centers, mesh.indptr, mesh.indices).apply(well).T
    dr, dt = displacements(cell, rng, truth, force=force, steps=steps)
    partition = partition_of(mesh, cell, dr, dt, localization_precision=0.02)
    partition.points["n"] = rng.integers(0, rows // 8, rows)
    return partition, truth


def forms(mesh=MESH):
    slopes = delta0_penalty(mesh.centers, mesh.indptr, mesh.indices, mesh.areas)
    return slopes, gradient_penalty(grad1(mesh.centers, mesh.indptr, mesh.indices), mesh.areas)


def tunable(terms, given=(), *, model="D", rows=2500, order=ORDER):
    inputs = Inputs.of(field(rows=rows, depth=1.0, steps=(0.04, 0.06))[0])
    groups = Groups(inputs.statistics, 0.02)
    first = np.full(groups.size, 0.05)
    bound = lower_bounds(groups, None)
    if model == "DV":
        operator = grad1(MESH.centers, MESH.indptr, MESH.indices)
        number = components(MESH.indptr, MESH.indices)[1]

        def problem(sums, in_d, in_v):
            return PotentialProblem(
                sums, operator, diffusivity_penalty=in_d, potential_penalty=in_v, bound=bound,
                component=number, order=order,
            )  # fmt: skip

        first = np.concatenate([first, np.zeros(groups.size)])
    else:

        def problem(sums, penalty):
            return SmoothProblem(Marginal(sums, model), penalty, bound, order)

    return Tunable(groups, terms, given, order=order, problem=problem, start=first, loss=None)


def dense(model, weights, x):
    """Return the Hessian column by column from the gradient, and the precisions of the priors."""
    problem = model.problem(np.asarray(weights))
    size = len(x)
    hessian = np.empty((size, size))
    for k in range(size):
        step = np.where(np.arange(size) == k, 1e-6 if k < problem.cells else 1e-4, 0.0)
        ahead, behind = problem.derivatives(x + step)[1], problem.derivatives(x - step)[1]
        hessian[k] = (ahead - behind) / (2 * step[k])
    precisions = []
    for free, fixed, combination in model.blocks:
        if combination is not None:
            total = combination.total(np.concatenate([np.asarray(weights)[free], fixed]))
            precisions.append(2 * total.toarray())
    return (hessian + hessian.T) / 2, precisions


def log_pseudo_determinant(matrix):
    values = np.linalg.eigvalsh(matrix)
    return np.log(values[values > 1e-9 * values.max()]).sum()


CASES = {
    "D": lambda q, g: tunable([Term("a", q)]),
    "DD": lambda q, g: tunable([Term("a", g)], model="DD"),
    "DF": lambda q, g: tunable([Term("a", q)], model="DF"),
    "two forms": lambda q, g: tunable([Term("a", q), Term("b", g)]),
    "one of two given": lambda q, g: tunable([Term("a", q)], [(Term("b", g), 300.0)]),
    "DV": lambda q, g: tunable([Term("a", q, 0), Term("b", q, 1)], model="DV"),
    "DV by gradients": lambda q, g: tunable([Term("a", g, 0), Term("b", g, 1)], model="DV"),
    "potential alone": lambda q, g: tunable([Term("b", q, 1)], [(Term("a", q, 0), 500.0)], model="DV"),
}


@pytest.mark.parametrize("case", CASES)
def test_evidence_is_that_of_dense_matrices(case):
    model = CASES[case](*forms())
    evidence = Evidence(model, np.zeros(len(model.terms)))
    found, expected = [], []
    for theta in (np.array([5.0, 1.0]), np.array([8.0, 2.0]), np.array([10.0, -1.0])):
        theta = theta[: len(model.terms)]
        point = evidence.at(theta, model.start, gtol=1e-8)
        hessian, precisions = dense(model, np.exp(theta), point.x)
        objective = model.problem(np.exp(theta)).value(point.x)
        prior = sum(map(log_pseudo_determinant, precisions))
        if len(model.start) > model.groups.size:  # the gauge of V counts for nothing
            hessian[-1, :], hessian[:, -1] = 0.0, 0.0
            hessian[-1, -1] = 1.0
        found.append(point.value)
        expected.append(-objective + 0.5 * prior - 0.5 * np.linalg.slogdet(hessian)[1])
    np.testing.assert_allclose(np.diff(found), np.diff(expected), atol=2e-3, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_slope_of_the_evidence(case):
    model = CASES[case](*forms())
    evidence = Evidence(model, np.zeros(len(model.terms)))
    theta = np.array([8.0, 1.0])[: len(model.terms)]
    point = evidence.at(theta, model.start, slope=True, gtol=1e-9)
    for k in range(len(theta)):
        h = np.where(np.arange(len(theta)) == k, 1e-2, 0.0)
        ahead, behind = (evidence.at(theta + s * h, point.x, gtol=1e-9).value for s in (1, -1))
        assert (ahead - behind) / 2e-2 == pytest.approx(point.slope[k], rel=2e-3, abs=2e-3)


class _Gaussian:
    """Data y of unit variance around the unknowns: the evidence is exact."""

    def __init__(self, y, penalty):
        from tramway_dask.inference.pattern import matrix_pattern

        self.y, self.penalty, self.cells = y, penalty, len(y)
        self.bound, self.infimum = np.full(len(y), -np.inf), np.full(len(y), -1e9)
        self.pinned = np.zeros(len(y))
        own, entries = np.arange(len(y)), penalty.tocoo()
        self.pattern = matrix_pattern(ORDER, 1, np.r_[own, entries.row], np.r_[own, entries.col])

    def reweighted(self, penalty):
        return _Gaussian(self.y, penalty)

    def value(self, x):
        return float(0.5 * ((x - self.y) ** 2).sum() + x @ (self.penalty @ x))

    def derivatives(self, x):
        return self.value(x), x - self.y + 2 * self.penalty @ x, None

    def hessian(self, state, *, exact):
        return self.pattern.assemble(np.r_[np.ones(self.cells), 2 * self.penalty.tocoo().data])

    def curvature(self, state):
        return 1 + 2 * self.penalty.diagonal()


def test_gaussian_data_have_their_exact_marginal_likelihood():
    slopes, _ = forms()
    y = 3 * np.sin(4 * MESH.centers[:, 0]) + np.random.default_rng(0).normal(size=MESH.size)
    groups = Groups(Inputs.of(field()[0]).statistics, 0.02)
    model = Tunable(
        groups,
        [Term("a", slopes)],
        order=ORDER,
        problem=lambda sums, penalty: _Gaussian(y, penalty),
        start=np.zeros(MESH.size),
        loss=None,
    )
    values, vectors = np.linalg.eigh(slopes.toarray())
    projected = (vectors.T @ y)[1:]  # the constant is left to a flat prior

    def exact(theta):
        variance = 1 + 1 / (2 * np.exp(theta) * values[1:])
        return -0.5 * (np.log(variance) + projected**2 / variance).sum()

    evidence = Evidence(model, np.zeros(1))
    theta = np.linspace(-3, 6, 5)
    found = [evidence.at(np.array([t]), y).value for t in theta]
    np.testing.assert_allclose(np.diff(found), np.diff([exact(t) for t in theta]), rtol=1e-8)
    grid = np.linspace(-6, 9, 3001)
    best = grid[np.argmax([exact(t) for t in grid])]
    assert np.log(select(model).weights["a"]) == pytest.approx(best, abs=0.05)


def test_null_spaces_are_counted():
    slopes, _ = forms()
    model = tunable([Term("a", slopes)])
    assert Evidence(model, np.zeros(1)).ranks == [MESH.size - 1]
    # two islands, and central differences, which do not see a chessboard
    line = mesh_of(np.stack([np.arange(8) * 0.2 + (np.arange(8) > 3), np.zeros(8)], axis=1), 0.21, 0.04)
    form = delta0_penalty(line.centers, line.indptr, line.indices, line.areas)
    assert 8 - np.linalg.matrix_rank(form.toarray()) == 2
    combined = Combination([form, 2 * form])
    np.testing.assert_allclose(combined.total(np.array([1.0, 3.0])).toarray(), 7 * form.toarray())


@pytest.mark.parametrize("model", ["DD", "DF"])
@pytest.mark.parametrize("amplitude", [None, 2.0])
def test_drift_and_force_are_integrated_out(model, amplitude):
    inputs = Inputs.of(field(rows=300, steps=(0.04, 0.08))[0])
    groups = Groups(inputs.statistics, 0.02)
    prior = None if amplitude is None else np.full(groups.size, amplitude)
    marginal = Marginal(groups, model, amplitude=prior)
    d = np.full(groups.size, 0.06)
    # along one axis at a time: the likelihood is separable
    kind = "DD" if amplitude is None else model
    at = marginal.best(d) if kind == model else marginal.best(d) * d[:, None]
    grid = np.linspace(-100, 100, 2001) * (0.1 if kind == "DD" else 1.0)
    total = np.zeros(groups.size)
    for axis in range(2):
        values = []
        for step in grid:
            b = at.copy()
            b[:, axis] += step
            value = groups.value(d, b, kind)
            values.append(value if prior is None else value + prior * (b**2).sum(axis=1))
        values = np.array(values)
        low = values.min(axis=0)
        total += -np.log(np.exp(low - values).sum(axis=0) * (grid[1] - grid[0]))
    expected = low + total
    found = marginal.value(d)
    np.testing.assert_allclose(np.diff(found), np.diff(expected), rtol=1e-6, atol=1e-6)
    h = 1e-5
    ahead, here, behind = (marginal.point(d + s * h) for s in (1, 0, -1))
    np.testing.assert_allclose((ahead.value - behind.value) / (2 * h), here.d1, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose((ahead.d1 - behind.d1) / (2 * h), here.d2, rtol=1e-4, atol=1.0)


def error(maps, truth):
    return np.sqrt(np.mean((maps["diffusivity"] - truth) ** 2))


@pytest.mark.parametrize(
    ("model", "amplitude"),
    [(D(rgrad="delta0"), 0.005), (D(), 0.03), (DD(), 0.03), (DF(), 0.02), (DV(potential_prior=3.0), 0.03)],
)
def test_close_to_the_best_weight(model, amplitude):
    partition, truth = field(hexagons(11, 10), 6000, amplitude, seed=3)
    auto = model.replace(diffusivity_prior="auto", cross_validation=0).infer(partition)
    known = [
        error(model.replace(diffusivity_prior=w).infer(partition), truth) for w in np.logspace(2, 6.5, 10)
    ]
    assert error(auto, truth) < 1.12 * min(known)
    assert min(known) < 0.95 * min(known[0], known[-1])
    about = auto.attrs["prior_selection"]
    assert not about["flags"] and auto.attrs["priors"].items() >= about["weights"].items()
    # the map is that of the chosen weight, to the last bit
    same = model.replace(diffusivity_prior=about["weights"]["diffusivity_prior"]).infer(partition)
    assert same.table.equals(auto.table)


def test_all_weights_of_dv_together_and_their_verification(caplog):
    partition, truth = field(hexagons(9, 9), 4_000, depth=3.0, seed=1)
    model = DV(diffusivity_prior="auto", potential_prior="auto")
    with caplog.at_level(logging.WARNING):
        maps = model.infer(partition)
    assert not caplog.records
    assert error(maps, truth) < 0.8 * error(DV(potential_prior=1.0).infer(partition), truth)
    about = maps.attrs["prior_selection"]
    assert set(about["weights"]) == {"diffusivity_prior", "potential_prior"}
    for name, curve in about["evidence"].items():
        assert max(curve["log_evidence"]) == pytest.approx(0, abs=0.05)
        assert curve["weight"] == sorted(curve["weight"])
        assert about["weights"][name] == pytest.approx(
            curve["weight"][int(np.argmax(curve["log_evidence"]))], rel=0.05
        )
    checked = about["cross_validation"]
    assert checked["agrees"] is True and checked["folds"] == 5
    assert checked["curves"]["diffusivity_prior"]["score"][0] < -5
    # deterministic, and fit for the store
    again = model.infer(partition)
    assert json.dumps(again.attrs["prior_selection"]) == json.dumps(about)
    figure = prior_selection(maps)
    assert [ax.get_title().partition(" = ")[0] for ax in figure.axes] == list(about["weights"])
    with pytest.raises(SpecificationError, match="'auto'"):
        prior_selection(D().infer(partition))


def test_score_is_the_probability_of_left_out_trajectories():
    partition, _ = field(rows=900, steps=(0.04, 0.08))
    inputs = Inputs.of(partition)
    groups = Groups(inputs.statistics, 0.02)
    parts = without_folds(inputs, groups, 4)
    d = np.full(groups.size, 0.06)
    left_out = sum(groups.value(d, None, "D") - part.value(d, None, "D") for part in parts)
    np.testing.assert_allclose(left_out, groups.value(d, None, "D"), rtol=1e-9)
    # the sums without a fold are those of a table without its trajectories
    fold = np.random.default_rng(0).permutation(partition.points["n"].nunique()) % 4
    keep = fold[np.unique(partition.points["n"], return_inverse=True)[1]] != 1
    cell = np.repeat(np.arange(MESH.size), np.diff(partition.indptr))
    rest = partition.points.iloc[partition.indices[keep[partition.indices]]]
    counted = np.bincount(cell[keep[partition.indices]], minlength=MESH.size)
    np.testing.assert_array_equal(parts[1].count, counted)
    assert parts[1].s2.sum() == pytest.approx((rest[["dx", "dy"]] ** 2).to_numpy().sum(), rel=1e-10)


def test_a_flat_field_is_flagged(caplog):
    partition, _ = field(hexagons(9, 9), 3000, 0.0, seed=5)
    with caplog.at_level(logging.WARNING):
        maps = D(diffusivity_prior="auto", cross_validation=0).infer(partition)
    assert np.ptp(maps["diffusivity"]) < 0.004
    flags = maps.attrs["prior_selection"]["flags"]
    assert "upper limit" in flags["diffusivity_prior"] and "upper limit" in caplog.text
    assert prior_selection(maps).axes


def test_what_has_no_evidence_falls_back_aloud(caplog):
    apart = mesh_of(np.array([[0.0, 0.0], [5.0, 0.0]]), 0.5, 0.04)
    rng = np.random.default_rng(0)
    cell = np.repeat([0, 1], 50)
    dr, dt = displacements(cell, rng, np.full(2, 0.05))
    lonely = D(diffusivity_prior="auto").infer(partition_of(apart, cell, dr, dt, localization_precision=0.02))
    assert lonely.attrs["prior_selection"]["weights"] == {"diffusivity_prior": 0.0}
    assert "no two cells are linked" in caplog.text
    assert lonely.table.equals(
        D().infer(partition_of(apart, cell, dr, dt, localization_precision=0.02)).table
    )
    assert prior_selection(lonely).axes
    cell = np.repeat(np.arange(MESH.size), 5)
    still = partition_of(
        MESH, cell, np.zeros((len(cell), 2)), np.full(len(cell), 0.04), localization_precision=0.02
    )
    for model in (D(), DD(), DV()):
        maps = model.replace(diffusivity_prior="auto").infer(still)
        assert maps.attrs["prior_selection"]["flags"]["diffusivity_prior"]
    few, _ = field(rows=600)
    few.points["n"] = 1
    told = D(diffusivity_prior="auto").infer(few).attrs["prior_selection"]["cross_validation"]
    assert told["agrees"] is None and "trajectories" in told["message"]


def test_weights_in_space_and_time(caplog):
    rng = np.random.default_rng(2)
    rows = 6000
    x, t = rng.random((rows, 2)) * 1.2, rng.random(rows) * 60
    d = 0.05 + 0.03 * np.sin(2 * np.pi * x[:, 0] / 1.2 + t / 15)
    dr = rng.normal(size=(rows, 2)) * np.sqrt(2 * (d * 0.04 + 0.02**2))[:, None]
    columns = {
        "n": rng.integers(0, 900, rows),
        "x": x[:, 0],
        "y": x[:, 1],
        "t": t,
        "dx": dr[:, 0],
        "dy": dr[:, 1],
    }
    partition = td.segmentation.segment(
        pd.DataFrame({**columns, "dt": 0.04}),
        tesseller=td.tessellers.Hexagons(resolution=0.24),
        time=td.time.SlidingWindow(duration=12),
        box=[[0, 0], [1.2, 1.2]],
    )
    model = DV(diffusivity_prior="auto", time_prior=("auto", 0), potential_prior=5.0, cross_validation=2)
    maps = model.infer(partition, sigma=0.02)
    about = maps.attrs["prior_selection"]
    assert list(about["weights"]) == ["diffusivity_prior", "diffusivity_time_prior"]
    cells = maps.table.index.to_numpy()
    middle = partition.segments.mean(axis=1)[partition.segment_of_cell[cells]]
    truth = 0.05 + 0.03 * np.sin(2 * np.pi * partition.centers[cells, 0] / 1.2 + middle / 15)
    known = []
    for w in (1e3, 1e4):
        for v in (1e4, 1e5, 1e6):
            fixed = DV(diffusivity_prior=w, diffusivity_time_prior=v, potential_prior=5.0)
            known.append(error(fixed.infer(partition, sigma=0.02), truth))
    assert error(maps, truth) < 1.15 * min(known)
    # relative to a spatial weight that is chosen, there is one weight
    relative = DV(diffusivity_prior="auto", time_prior=50.0, cross_validation=0).infer(partition, sigma=0.02)
    weight = relative.attrs["priors"]["diffusivity_prior"]
    same = DV(diffusivity_prior=weight, time_prior=50.0).infer(partition, sigma=0.02)
    np.testing.assert_allclose(same["diffusivity"], relative["diffusivity"], rtol=1e-7)


def test_the_choice_survives_the_run_and_counts_as_a_setting(tmp_path):
    table = td.simulate.random_walk(
        diffusivity=0.05, box=((0, 0), (1, 1)), trajectory_count=150, duration=1.0, seed=0
    )
    mapper = D(diffusivity_prior="auto", cross_validation=2)
    a = td.RWAnalyzer(tesseller=td.tessellers.Hexagons(resolution=0.2), mapper=mapper, results=tmp_path)
    a.spt_data.from_dataframe(table)
    a.spt_data.localization_precision = 0.02
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="d"))
    assert "diffusivity_prior='auto'" in repr(a)
    assert a.run(progress=False).done == 1
    assert a.run(progress=False).skipped == 1
    region = next(iter(a.roi.as_support_regions()))
    stored = region.get_sampling().get_child("d")
    fresh = mapper.infer(region.get_sampling())
    assert stored.attrs["prior_selection"] == fresh.attrs["prior_selection"]
    assert prior_selection(stored).axes
    a.mapper.diffusivity_prior = 3.0
    with pytest.raises(LabelConflictError):
        a.plan()


def test_words_other_than_auto():
    for name in ("diffusivity_prior", "potential_prior", "time_prior", "potential_time_prior"):
        setattr(model := DV(), name, "auto")
        assert f"{name}='auto'" in repr(model) and model != DV()
        with pytest.raises(SpecificationError, match="'auto'"):
            setattr(model, name, "automatic")
        with pytest.raises(SpecificationError):
            setattr(model, name, -1.0)
    with pytest.raises(SpecificationError, match="2 folds"):
        D(cross_validation=1)
    assert DV(time_prior=("auto", 2)).time_prior == ("auto", 2.0)
