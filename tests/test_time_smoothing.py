"""Smoothing in time: TRamWAy's own objective, and a moving sink recovered better than window by window."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from inference_cases import hexagons
from tramway_cases import SIGMA, _points

from tramway_dask import simulate
from tramway_dask.errors import InferenceError, SpecificationError
from tramway_dask.inference import DD, DF, DV, D
from tramway_dask.inference.gradient import grad1
from tramway_dask.inference.inputs import Inputs
from tramway_dask.inference.likelihood import Groups
from tramway_dask.segmentation import Partition


def lattice(mesh, segments, points, cell):
    """Return a partition of a mesh over time segments."""
    order = np.argsort(cell, kind="stable")
    size = len(segments) * mesh.size
    rows = np.repeat(np.arange(mesh.size), np.diff(mesh.indptr))
    return Partition.from_arrays(
        points=points,
        centers=mesh.centers,
        pairs=np.column_stack([rows, mesh.indices])[rows < mesh.indices],
        areas=mesh.areas,
        box=np.stack([mesh.centers.min(axis=0), mesh.centers.max(axis=0)]),
        indptr=np.searchsorted(cell[order], np.arange(size + 1)),
        indices=order,
        segments=segments,
        param={"localization_precision": SIGMA},
    )


def moving_sink(windows=16, rows=300, seed=0):
    """Simulate a sink of 3 kT that crosses a mesh, and return the partition, the true D and V."""
    mesh = hexagons(8, 8)
    rng = np.random.default_rng(seed)
    operator = grad1(mesh.centers, mesh.indptr, mesh.indices)
    low, high = mesh.centers.min(axis=0), mesh.centers.max(axis=0)
    path = [low + 0.2 * (high - low), low + 0.8 * (high - low)]
    sink = simulate.moving_sink(path, [0.0, 10.0 * (windows - 1)], depth=3, radius=0.35)
    around = SimpleNamespace(at=lambda t: simulate.gaussian_patches(sink.center(t), 0.03, 0.5, 0.05))
    tables, cells, potential, diffusivity = [], [], [], []
    for k in range(windows):
        now = simulate.truth(mesh, potential=sink, diffusivity=around, t=10.0 * k)
        v, d = now["potential"].to_numpy(), now["diffusivity"].to_numpy()
        weight = np.exp(-v / 3)
        cell = rng.choice(mesh.size, rows, p=weight / weight.sum())
        u = d[cell] * 0.2
        dr = rng.normal(size=(rows, 2)) * np.sqrt(2 * (u + SIGMA**2))[:, None]
        dr -= operator.apply(v).T[cell] * u[:, None]
        table = {"n": np.arange(rows), "x": mesh.centers[cell, 0], "y": mesh.centers[cell, 1]}
        times = 10.0 * k + np.sort(rng.uniform(0, 10, rows))
        tables.append(pd.DataFrame({**table, "t": times, "dx": dr[:, 0], "dy": dr[:, 1], "dt": 0.2}))
        cells.append(cell + k * mesh.size)
        potential.append(v - v.mean())
        diffusivity.append(d)
    segments = 10.0 * np.column_stack([np.arange(windows), np.arange(1, windows + 1)])
    partition = lattice(mesh, segments, pd.concat(tables, ignore_index=True), np.concatenate(cells))
    return partition, np.concatenate(diffusivity), np.stack(potential)


def misfit(maps, diffusivity, potential):
    """Root mean square errors of D, and of V less its mean in each window."""
    d = maps["diffusivity"].to_numpy() - diffusivity[maps.table.index]
    v = maps["potential"].reindex(np.arange(potential.size)).to_numpy().reshape(potential.shape)
    known = np.isfinite(v)
    truth = np.where(known, potential, np.nan)
    v = v - np.nanmean(v, axis=1)[:, None] - truth + np.nanmean(truth, axis=1)[:, None]
    return np.sqrt(np.mean(d**2)), np.sqrt(np.nanmean(v**2))


def test_a_moving_sink_is_recovered_better_than_window_by_window():
    partition, diffusivity, potential = moving_sink()
    priors = [(d, v) for d in (300.0, 1000.0, 3000.0) for v in (0.1, 0.3, 1.0)]
    alone = [
        misfit(DV(diffusivity_prior=d, potential_prior=v).infer(partition), diffusivity, potential)
        for d, v in priors
    ]
    model = DV(
        diffusivity_prior=1000, potential_prior=0.3, diffusivity_time_prior=3e5, potential_time_prior=60
    )
    maps = model.infer(partition)
    assert maps.attrs["converged"]
    joint = misfit(maps, diffusivity, potential)
    # better than windows on their own could be, whatever the weights in space
    assert joint[0] < 0.7 * min(d for d, _ in alone)
    assert joint[1] < 0.8 * min(v for _, v in alone)
    # and not by flattening: the priors make the sink shallower by a third
    found, truth = maps["potential"], potential.ravel()[maps.table.index]
    slopes = [
        np.polyfit(truth[k], found.iloc[k], 1)[0]
        for k in maps.table.groupby(maps.table.index // 64).indices.values()
    ]
    assert 0.55 < np.mean(slopes) < 1.1


@pytest.fixture(scope="module")
def tramway_lattice():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tramway.helper import tessellate
        from tramway.inference.base import distributed, smooth_infer_init
        from tramway.inference.time import DynamicCells, DynamicTranslocations

        points = _points(np.random.default_rng(3), 150, True)
        points["t"] = np.random.default_rng(4).uniform(0, 30, len(points))
        sampling = tessellate(
            points,
            "hexagon",
            ref_distance=0.25,
            min_location_count=0,
            verbose=False,
            time_window_duration=10,
            enable_time_regularization=True,
        )
        cells = distributed(sampling, new_cell=DynamicTranslocations, new_group=DynamicCells)
        index, reverse, _, dt_mean, *_ = smooth_infer_init(cells, sigma2=SIGMA**2)
    mesh = sampling.tessellation.spatial_mesh
    links = mesh.cell_adjacency.tocoo()
    pairs = np.column_stack([links.row, links.col])[links.row < links.col]
    assignment = sampling.cell_index
    rows, owner = assignment if isinstance(assignment, tuple) else assignment.nonzero()
    order = np.argsort(owner, kind="stable")
    segments = np.asarray(sampling.tessellation.time_lattice, dtype=float)
    size = len(segments) * mesh.number_of_cells
    volumes = np.array(
        [
            next((cells[i].volume for i in cells if i % mesh.number_of_cells == j), 1.0)
            for j in range(mesh.number_of_cells)
        ]
    )
    centers = np.asarray(mesh.cell_centers)
    ours = Partition.from_arrays(
        points=points,
        centers=centers,
        pairs=pairs,
        areas=volumes,
        box=np.stack([centers.min(axis=0), centers.max(axis=0)]),
        indptr=np.searchsorted(owner[order], np.arange(size + 1)),
        indices=rows[order],
        segments=segments,
        param={"localization_precision": SIGMA},
    )
    return cells, np.array(index), reverse, dt_mean, ours


@pytest.mark.oracle
def test_objective_in_time_equals_tramway(tramway_lattice):
    cells, index, reverse, dt_mean, ours = tramway_lattice
    from tramway.inference.stochastic_dv import local_dv_neg_posterior

    weights = {"diffusivity_prior": 2.0, "potential_prior": 0.5}
    maps = DV(**weights, diffusivity_time_prior=300.0, potential_time_prior=4.0).infer(ours)
    assert maps.attrs["converged"]
    np.testing.assert_array_equal(maps.table.index, index)

    def objective(mu, lam, mu_t, lam_t):
        priors = SimpleNamespace(
            diffusivity_spatial_prior=lambda _: mu,
            potential_spatial_prior=lambda _: lam,
            diffusivity_time_prior=lambda _: mu_t,
            potential_time_prior=lambda _: lam_t,
            undefined_grad=lambda *_: None,
            undefined_time_derivative=lambda *_: None,
        )
        x = np.concatenate([maps["diffusivity"], maps["potential"]])
        fixed = (priors, cells, SIGMA**2, False, dt_mean, index, reverse, {"selection_angle": 0.9})
        return float(sum(local_dv_neg_posterior(j, x, *fixed) for j in range(len(index))))

    whole = objective(2.0, 0.5, 300.0, 4.0)
    assert maps.attrs["objective"] == pytest.approx(whole, rel=1e-10)
    assert whole - objective(2.0, 0.5, None, None) > 0.1


@pytest.mark.parametrize("model", [D, DD, DF])
def test_smoothed_in_time_only(model):
    partition, diffusivity, potential = moving_sink(windows=4, rows=800)
    alone = model().infer(partition)
    joint = model(diffusivity_time_prior=1e5).infer(partition)
    assert joint.attrs["converged"]
    truth = diffusivity[alone.table.index]
    error = [np.sqrt(np.mean((m["diffusivity"] - truth) ** 2)) for m in (alone, joint)]
    assert error[1] < 0.8 * error[0]
    faint = model(diffusivity_time_prior=1e-9).infer(partition)
    both = faint.table["at bound"] | alone.table["at bound"]
    np.testing.assert_allclose(faint["diffusivity"][~both], alone["diffusivity"][~both], rtol=1e-4, atol=1e-6)
    relative = model(diffusivity_prior=10.0, time_prior=(3.0, 1.0)).infer(partition)
    absolute = model(diffusivity_prior=10.0, diffusivity_time_prior=30.0).infer(partition)
    pd.testing.assert_frame_equal(relative.table, absolute.table)


def test_penalty_of_the_optimum_is_the_formula():
    partition, _, _ = moving_sink(windows=3, rows=800)
    maps = D(diffusivity_time_prior=1e4).infer(partition)
    d = maps["diffusivity"].reindex(np.arange(3 * 64)).to_numpy().reshape(3, 64)
    steps = (np.diff(d, axis=0) / 10.0) ** 2
    # each link is seen from both of its ends
    penalty = 1e4 * 2 * np.nansum(steps)
    inputs = Inputs.of(partition)
    likelihood = Groups(inputs.statistics, SIGMA).value(maps["diffusivity"].to_numpy(), None, "D").sum()
    assert maps.attrs["objective"] == pytest.approx(likelihood + penalty, rel=1e-12)


def test_weights_that_mean_nothing_are_refused():
    partition, _, _ = moving_sink(windows=2, rows=200)
    with pytest.raises(SpecificationError, match="relative to diffusivity_prior"):
        D(time_prior=1.0).infer(partition)
    with pytest.raises(SpecificationError, match="relative to diffusivity_prior"):
        DV(time_prior=1.0).infer(partition)
    with pytest.raises(SpecificationError, match="relative to potential_prior"):
        DV(diffusivity_prior=1.0, time_prior=(1.0, 1.0)).infer(partition)
    with pytest.raises(InferenceError, match="time segments"):
        D(diffusivity_time_prior=1.0).infer(partition.restrict_to_segment(0))
    for bad in (-1.0, np.nan, np.inf, "strong"):
        with pytest.raises(SpecificationError, match="diffusivity_time_prior"):
            D(diffusivity_time_prior=bad)


def scattered(keep, windows=4):
    """Return the moving sink with the rows of some cells only; keep(window, cell) tells which."""
    partition, _, _ = moving_sink(windows=windows, rows=400)
    owner = np.empty(len(partition.points), dtype=int)
    owner[partition.indices] = np.repeat(np.arange(partition.number_of_cells), np.diff(partition.indptr))
    rows = np.array([keep(c // 64, c % 64) for c in owner], dtype=bool)
    points = partition.points[rows].reset_index(drop=True)
    return lattice(hexagons(8, 8), np.asarray(partition.segments), points, owner[rows])


def test_cells_alone_in_space_stay_if_a_prior_links_them_in_time():
    # cell 27 is alone in windows 1 and 2; cell 60 in window 0 is alone in both
    alone = {0: lambda c: c < 40 or c == 60, 1: lambda c: c == 27, 2: lambda c: c == 27, 3: lambda c: c < 40}
    partition = scattered(lambda k, c: alone[k](c))
    assert (partition.location_count.reshape(4, 64)[1:3] > 0).sum() == 2
    apart = DV(diffusivity_prior=100, potential_prior=0.3).infer(partition)
    assert apart.attrs["isolated_cells"] == 3
    assert set(apart.table.index // 64) == {0, 3}
    for priors in ({"diffusivity_time_prior": 1e4}, {"time_prior": 10.0}, {"potential_time_prior": 60.0}):
        maps = DV(diffusivity_prior=100, potential_prior=0.3, **priors).infer(partition)
        assert maps.attrs["converged"] and maps.attrs["isolated_cells"] == 1
        added = maps.table.loc[[64 + 27, 128 + 27]]
        assert len(maps.table) == len(apart.table) + 2
        assert (added["diffusivity se"] > 0).all() and added[["force x", "force y"]].isna().all(axis=None)
        # the potential of such a cell is known from the windows around, if something links it to them
        assert np.isfinite(added["potential se"]).all() == ("diffusivity_time_prior" not in priors)
    # without neighbour, its own data and its own past and future decide
    d = maps.table["diffusivity"]
    assert d[64 + 27] > 0


def test_empty_windows_part_a_lattice():
    partition = scattered(lambda k, c: k != 1)
    priors = {"diffusivity_prior": 100.0, "potential_prior": 0.3}
    joint = DV(**priors, diffusivity_time_prior=1e4, potential_time_prior=60.0).infer(partition)
    assert joint.attrs["converged"] and set(joint.table.index // 64) == {0, 2, 3}
    # the window before the gap is as if it were alone, those after it are linked
    apart = DV(**priors).infer(partition)
    first = joint.table.index < 64
    pd.testing.assert_frame_equal(
        joint.table[first], apart.table[apart.table.index < 64], rtol=1e-4, atol=1e-5
    )
    assert np.abs(joint["diffusivity"][~first] - apart["diffusivity"][apart.table.index >= 128]).max() > 1e-3
    smooth = D(diffusivity_time_prior=1e4).infer(partition)
    assert set(smooth.table.index // 64) == {0, 2, 3}


def test_a_lattice_without_data_is_refused():
    partition = scattered(lambda k, c: False)
    for model in (D, DD, DF, DV):
        with pytest.raises(InferenceError, match="no cell holds a translocation"):
            model(diffusivity_time_prior=1.0).infer(partition)
    # each cell alone, in space and in time
    single = scattered(lambda k, c: (k, c) in {(0, 3), (2, 40)})
    maps = DV(diffusivity_time_prior=1.0).infer(single)
    assert len(maps.table) == 0 and maps.attrs["isolated_cells"] == 2
    assert "no two neighbouring cells" in maps.attrs["message"]
    assert len(D(diffusivity_time_prior=1.0).infer(single).table) == 2
