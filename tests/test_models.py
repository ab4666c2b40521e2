"""Models as components: from partitions to maps."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_cases import FakePartition, cubes, displacements, hexagons, mesh_of, partition_of

from tramway_dask.errors import (
    InferenceError,
    LocalizationPrecisionWarning,
    SpecificationError,
    UnknownAttributeError,
)
from tramway_dask.inference import DD, DF, DV, D, Density, Maps

MODELS = [
    D(),
    DD(),
    DF(),
    D(diffusivity_prior=20),
    DD(diffusivity_prior=20, drift_prior=0.1),
    DF(diffusivity_prior=20, force_prior=0.001, rgrad="delta0"),
    DV(diffusivity_prior=20, potential_prior=1),
    DV("original", diffusivity_prior=20, potential_prior=1),
]


def partition(mesh=None, seed=0, rows=1200, cell=None, **param):
    mesh = hexagons(5, 4) if mesh is None else mesh
    rng = np.random.default_rng(seed)
    cell = rng.integers(0, mesh.size, rows) if cell is None else cell
    dimension = mesh.centers.shape[1]
    dr, dt = displacements(cell, rng, np.full(mesh.size, 0.05), dimension=dimension, steps=(0.04, 0.08))
    return partition_of(mesh, cell, dr, dt, **{"localization_precision": 0.02, **param})


@pytest.mark.parametrize("mesh", [hexagons(5, 4), cubes(3, 3, 2)])
@pytest.mark.parametrize("model", MODELS)
def test_maps_of_every_model(model, mesh):
    p = partition(mesh)
    maps = model.infer(p)
    assert isinstance(maps, Maps) and maps.parent is p
    assert maps.sigma == 0.02 and maps.runtime > 0
    assert maps.attrs["converged"] is True and maps.attrs["message"] == "converged"
    assert maps.table.index.name == "cell" and len(maps) == mesh.size
    assert maps.table["at bound"].dtype == bool
    values = maps.table.drop(columns="at bound")
    assert np.isfinite(values.to_numpy()).all()
    for variable in maps.variables:
        assert (maps.table[f"{variable} se"] > 0).all()
    assert maps["diffusivity"].median() == pytest.approx(0.05, rel=0.15)


def test_columns():
    p = partition()
    assert list(DD().infer(p).table) == [
        *("diffusivity", "diffusivity se", "drift x", "drift x se", "drift y", "drift y se", "at bound")
    ]
    maps = DV(diffusivity_prior=1, potential_prior=1).infer(p)
    assert maps.features == ["diffusivity", "potential", "force"]
    assert maps["potential"].min() == 0
    exported = D(export_centers=True).infer(p)
    np.testing.assert_array_equal(exported.table[["x", "y"]], p.centers)


def test_maps_table(tmp_path):
    maps = DF().infer(partition())
    assert maps.variables == ["diffusivity", "force x", "force y"] and list(maps) == maps.features
    assert list(maps["force"].columns) == ["force x", "force y"]
    assert isinstance(maps["diffusivity"], pd.Series)
    assert list(maps.errors("force").columns) == ["force x", "force y"]
    pd.testing.assert_series_equal(
        maps.errors("diffusivity"), maps.table["diffusivity se"].rename("diffusivity")
    )
    assert "force" in maps and "potential" not in maps
    with pytest.raises(InferenceError, match="did you mean 'force'"):
        maps["forces"]
    maps.to_ascii_file(tmp_path / "m.txt", add_coordinates=True)
    read = pd.read_csv(tmp_path / "m.txt", sep="\t", index_col=0)
    assert list(read.columns[-2:]) == ["x", "y"]
    copy = pickle.loads(pickle.dumps(maps))
    pd.testing.assert_frame_equal(copy.table, maps.table)
    assert copy.parent is None and "2" in repr(maps) and "localization precision" in maps._repr_html_()
    with pytest.raises(InferenceError, match="do not know their partition"):
        copy.to_ascii_file(tmp_path / "n.txt", add_coordinates=True)
    with pytest.raises(InferenceError, match="no standard error"):
        Maps(pd.DataFrame({"density": [1.0]}), "density").errors("density")


@pytest.mark.parametrize("model", MODELS)
def test_empty_and_isolated_cells(model):
    mesh = hexagons(6, 4)
    # cells 0–11 are the left half; 23 is a corner without non-empty neighbour
    cell = np.concatenate([np.repeat(np.arange(12), 40), np.full(30, 23), [0]])
    maps = model.infer(partition(mesh, cell=cell))
    if isinstance(model, DV):
        assert maps.table.index.tolist() == list(range(12))
        assert maps.attrs["isolated_cells"] == 1
    else:
        assert maps.table.index.tolist() == [*range(12), 23]
        assert np.isfinite(maps.table.loc[23, "diffusivity"])


@pytest.mark.parametrize("model", MODELS)
def test_one_point_cells(model):
    mesh = hexagons(5, 4)
    cell = np.concatenate([np.repeat(np.arange(10), 50), np.arange(10, 20)])
    maps = model.infer(partition(mesh, cell=cell))
    assert maps.attrs["converged"], maps.attrs
    assert len(maps) == 20
    flagged = maps.table["at bound"].to_numpy()
    assert np.isnan(maps.table["diffusivity se"].to_numpy()[flagged]).all()
    if model in (DD(), DF()):
        assert flagged.tolist() == [False] * 10 + [True] * 10
        assert maps.attrs["undefined_errors"] == 10


def test_only_isolated_cells_give_no_potential():
    mesh = hexagons(6, 4)
    maps = DV().infer(partition(mesh, cell=np.repeat([0, 23], 30)))
    assert len(maps) == 0 and maps.attrs["isolated_cells"] == 2
    assert "no potential" in maps.attrs["message"]
    assert maps.features == ["diffusivity", "potential", "force"]


@pytest.mark.parametrize("model", [*MODELS, Density()])
def test_no_translocation_at_all(model):
    empty = partition(cell=np.zeros(0, dtype=int), roi={"label": "north", "bounding_box": None})
    with pytest.raises(InferenceError, match="region 'north' holds a translocation"):
        model.infer(empty)


def test_a_row_of_cells_has_no_force_across():
    line = mesh_of(np.stack([np.arange(6) * 0.2, np.zeros(6)], axis=1), 0.21, 0.04)
    maps = DV(diffusivity_prior=1, potential_prior=1).infer(partition(line))
    assert maps.table["force y"].isna().all() and maps.table["force x"].notna().all()
    assert maps.attrs["converged"]


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.sampled_from(MODELS))
def test_translation_and_order_of_rows(seed, model):
    p = partition(seed=seed)
    a = model.infer(p).table
    moved = partition(seed=seed)
    moved.mesh.centers = p.centers + np.array([3.0, -7.0])
    # cells of the grid keep their directions only up to rounding: 60° and 90° are far from the limit of 81°
    b = model.infer(moved).table
    pd.testing.assert_frame_equal(a, b, rtol=1e-5, atol=1e-7)
    order = np.random.default_rng(seed).permutation(len(p.points))
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    shuffled = FakePartition(
        p.points.iloc[order].reset_index(drop=True), p.mesh, p.indptr, rank[p.indices], param=p.param
    )
    pd.testing.assert_frame_equal(a, model.infer(shuffled).table, rtol=1e-6, atol=1e-8)


def test_sigma_is_found_or_assumed_aloud():
    p = partition()
    assert D().infer(p, sigma=0.01).sigma == 0.01
    p.param["localization_precision"] = None
    with pytest.warns(LocalizationPrecisionWarning, match="0.03"):
        assert D().infer(p).sigma == 0.03

    class Analyzer:
        class spt_data:  # noqa: N801
            localization_precision = 0.015

    owner, model = Analyzer(), D()
    model.bind(owner)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.infer(p).sigma == 0.015
    with pytest.raises(InferenceError, match="sigma"):
        D().infer(p, sigma=-1.0)


def test_options_of_tramway():
    model = DV("stochastic")
    assert model._roughness_kind() == "delta0"
    assert DV("naive")._roughness_kind() == "delta0" and DV("original")._roughness_kind() == "grad"
    assert DV(start="stochastic")._roughness_kind() == "delta0"
    model.rgrad = "grad"
    assert model._roughness_kind() == "grad"
    model.epsilon = 0.01
    assert model.grad_epsilon == 0.01 and model.epsilon == 0.01
    model.tol = 1e-3
    assert model.ftol == 1e-3
    model.verbose = 1
    with pytest.warns(DeprecationWarning, match=r"a\.env\.worker_count"):
        model.worker_count = 4
    with pytest.raises(UnknownAttributeError, match="diffusivity_prior"):
        model.difusivity_prior = 3
    for bad in ({"rgrad": "gradn"}, {"min_diffusivity": True}, {"V0": np.nan}, {"time_prior": (1, 2, 3)}):
        with pytest.raises(SpecificationError):
            DV(**bad)
    with pytest.raises(SpecificationError, match="semi-stochastic"):
        DV("stochastics")
    assert DV(diffusivity_prior=1) == DV(diffusivity_prior=1.0) != DV()
    assert pickle.loads(pickle.dumps(model)) == model


def test_all_variants_find_the_same_optimum():
    p = partition()
    tables = [
        DV(variant, start=start, diffusivity_prior=5, potential_prior=1, V0=v0).infer(p).table
        for variant, start, v0 in (
            ("standard", None, None),
            ("semi-stochastic", "stochastic", 0.0),
            ("naive", None, 1.0),
        )
    ]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], rtol=1e-4, atol=1e-5)


def test_starts_of_the_wrong_size_are_refused():
    with pytest.raises(SpecificationError, match=r"V0: .*\(20\), got 3"):
        DV(V0=[1.0, 2.0, 3.0]).infer(partition())


@pytest.mark.parametrize("model", MODELS[3:])
def test_not_converged_is_said(model):
    maps = model.replace(max_iter=1).infer(partition())
    assert maps.attrs["converged"] is False and "iterations" in maps.attrs["message"]
    assert "not converged" in repr(maps)
    maps = model.replace(max_runtime=1e-9).infer(partition())
    assert maps.attrs["converged"] is False and maps.attrs["message"].startswith("INTERRUPTED")


def test_without_prior_dv_has_forces():
    maps = DV().infer(partition(rows=4000))
    assert maps.attrs["converged"]
    assert np.isfinite(maps["force"].to_numpy()).all()
    assert np.isfinite(maps.errors("force").to_numpy()).all()


def test_minimum_diffusivity():
    mesh = hexagons(5, 4)
    rng = np.random.default_rng(0)
    cell = rng.integers(0, 20, 200)
    dr, dt = displacements(cell, rng, np.full(20, 1e-4))
    p = partition_of(mesh, cell, dr, dt, localization_precision=0.02)
    for model in MODELS:
        table = model.replace(min_diffusivity=0).infer(p).table
        assert table["diffusivity"].min() >= 0
        assert (table.loc[table["at bound"], "diffusivity"] <= 1e-14).all()
        assert table["at bound"].any()
        assert table.loc[table["at bound"], "diffusivity se"].isna().all()
    for model in MODELS[:3]:
        assert model.replace(min_diffusivity=False).infer(p).table["diffusivity"].min() < 0
    for model in MODELS:
        free = model.replace(min_diffusivity=False).infer(p)
        assert free.attrs["converged"] and not free.table["at bound"].any()
        pd.testing.assert_frame_equal(free.table, model.infer(p).table, rtol=1e-4, atol=1e-5)


def test_a_start_outside_of_the_domain_is_brought_inside():
    p = partition()
    for prior in (False, True):
        model = DV(diffusivity_prior=1, potential_prior=1, jeffreys_prior=prior)
        found = model.replace(D0=-5.0).infer(p)
        assert found.attrs["converged"]
        pd.testing.assert_frame_equal(found.table, model.infer(p).table, rtol=1e-3, atol=1e-4)


class Windows(FakePartition):
    """Two segments over one mesh."""

    @property
    def centers(self):
        return np.tile(self.mesh.centers, (2, 1))

    @property
    def areas(self):
        return np.tile(self.mesh.areas, 2)

    @property
    def segment_of_cell(self):
        return np.repeat([0, 1], self.mesh.size)

    def active_adjacency(self):
        return sp.csr_array(sp.block_diag([self.mesh.adjacency.astype(float)] * 2))

    def time_adjacency(self):
        size = self.mesh.size
        return sp.diags_array(
            [np.ones(size), np.ones(size)], offsets=[size, -size], shape=(2 * size,) * 2
        ).tocsr()


def windows():
    mesh = hexagons(4, 3)
    a, b = partition(mesh, 1), partition(mesh, 2)
    points = pd.concat([a.points, b.points], ignore_index=True)
    indptr = np.concatenate([a.indptr, b.indptr[1:] + a.indptr[-1]])
    indices = np.concatenate([a.indices, b.indices + len(a.points)])
    segments = np.array([[0.0, 10.0], [10.0, 20.0]])
    return a, b, Windows(points, mesh, indptr, indices, segments, {"localization_precision": 0.02})


@pytest.mark.parametrize("model", MODELS)
def test_segments_are_independent_without_time_prior(model):
    a, b, both = windows()
    table = model.infer(both).table
    expected = pd.concat([model.infer(a).table, model.infer(b).table.set_axis(range(12, 24))])
    expected.index.name = "cell"
    pd.testing.assert_frame_equal(table, expected, rtol=1e-4, atol=1e-5)


def test_time_prior_brings_segments_together():
    _, _, both = windows()
    model = DV(diffusivity_prior=1, potential_prior=1)

    def gap(**options):
        d = model.replace(**options).infer(both)["diffusivity"].to_numpy()
        return np.abs(d[:12] - d[12:]).max()

    assert gap(diffusivity_time_prior=1e9) < 1e-5 < gap()
    assert gap(time_prior=(1e9, 0.0)) < 1e-5
    strong = model.replace(time_prior=1e9).infer(both)
    v = strong["potential"].to_numpy()
    np.testing.assert_allclose(v[:12], v[12:], atol=1e-4)
    assert strong.attrs["converged"]
    with pytest.raises(InferenceError, match="time segments"):
        model.replace(time_prior=1.0).infer(partition())


def test_density():
    p = partition()
    maps = Density().infer(p)
    n = np.diff(p.indptr)
    np.testing.assert_allclose(maps["density"], n / p.areas)
    np.testing.assert_allclose(maps.errors("density"), np.sqrt(n) / p.areas)


def test_not_translocations():
    p = partition()
    p.points = p.points[["n", "x", "y", "t"]]
    with pytest.raises(InferenceError, match="expected translocations"):
        D().infer(p)


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("model", [DD(), DV(diffusivity_prior=1, potential_prior=1, time_prior=None)])
def test_on_a_partition(model, windowed):
    from tramway_dask.segmentation import SlidingWindow, segment, tessellers

    rng = np.random.default_rng(0)
    n = 4000
    points = pd.DataFrame({"n": np.arange(n), "x": rng.uniform(0, 1, n), "y": rng.uniform(0, 1, n)})
    points["t"] = np.sort(rng.uniform(0, 30, n))
    dr = rng.normal(size=(n, 2)) * np.sqrt(2 * (0.05 * 0.04 + 0.02**2))
    points["dx"], points["dy"], points["dt"] = dr[:, 0], dr[:, 1], 0.04
    time = SlidingWindow(duration=10) if windowed else None
    p = segment(points, tesseller=tessellers.Hexagons(resolution=0.25), time=time)
    p.param["localization_precision"] = 0.02
    maps = model.infer(p)
    assert maps.attrs["converged"]
    counts = np.asarray(p.location_count)
    assert len(maps) + maps.attrs.get("isolated_cells", 0) == (counts > 0).sum()
    large = counts[maps.table.index] > 100
    np.testing.assert_allclose(maps["diffusivity"][large], 0.05, rtol=0.5)
    if windowed and isinstance(model, DV):
        linked = model.replace(time_prior=10.0).infer(p)
        assert linked.attrs["converged"] and len(linked) == len(maps)
