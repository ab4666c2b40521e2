"""Mappers by name and around functions, and the cells that functions see."""

from __future__ import annotations

import pickle
import time
import types

import numpy as np
import pandas as pd
import pytest
from cases import analyzer
from inference_cases import cubes, hexagons
from test_models import partition

import tramway_dask as td
from tramway_dask.errors import InferenceError, SpecificationError, UnknownAttributeError
from tramway_dask.inference import DD, DF, DV, Cells, D, Density, MapperPlugin, from_callable, from_plugin
from tramway_dask.inference.gradient import delta0_penalty, grad1
from tramway_dask.inference.mapper import from_maps, plugins, register


def mean_square(cells, scale=1.0):
    values = [scale * np.mean(np.sum(c.dr**2, axis=1)) for c in cells.values()]
    return pd.DataFrame({"msd": values}, index=list(cells))


def test_names():
    kinds = {
        "d": D,
        "smooth.d": D,
        "unsmooth.ddrift": DD,
        "dd": DD,
        "df": DF,
        "degraded.df": DF,
        "density": Density,
    }
    for name, kind in kinds.items():
        assert type(from_plugin(name)) is kind
    assert from_plugin("dv") == DV("original")
    assert from_plugin("stochastic.dv") == DV("stochastic")
    assert from_plugin("semi.stochastic.dv", potential_prior=1).potential_prior == 1
    assert all(hasattr(from_plugin(name), "infer") for name in plugins())
    with pytest.raises(SpecificationError, match="did you mean 'stochastic.dv'"):
        MapperPlugin("stochastic_dv")


def test_function():
    p = partition()
    mapper = MapperPlugin(mean_square)
    maps = mapper.infer(p)
    assert maps.mode == "mean_square" and maps.features == ["msd"] and maps.parent is p
    assert maps["msd"].iloc[0] == pytest.approx(
        np.mean((p.points.iloc[p.indices[: p.indptr[1]]][["dx", "dy"]].to_numpy() ** 2).sum(axis=1))
    )
    mapper.scale = 3.0
    assert mapper.scale == 3.0
    np.testing.assert_allclose(mapper.infer(p)["msd"], 3 * maps["msd"])
    with pytest.raises(UnknownAttributeError, match="did you mean 'scale'"):
        mapper.scales = 2
    with pytest.raises(UnknownAttributeError, match="no argument 'colour'"):
        from_callable(mean_square, colour=1)
    assert MapperPlugin(mean_square, scale=3.0) == mapper != MapperPlugin(mean_square)
    with pytest.warns(DeprecationWarning, match="environment"):
        mapper.worker_count = 2
    with pytest.raises(SpecificationError):
        from_callable("d")


def test_functions_are_registered_by_name():
    register("msd", scale=2.0)(mean_square)
    assert "msd" in plugins()
    p = partition()
    assert MapperPlugin("msd") == from_plugin("msd", scale=2.0) == MapperPlugin(mean_square, scale=2.0)
    assert MapperPlugin("msd", scale=3.0).scale == 3.0
    np.testing.assert_allclose(
        MapperPlugin("msd").infer(p)["msd"], 2 * MapperPlugin(mean_square).infer(p)["msd"]
    )
    # what travels to a worker is the function, which has no registry there
    assert pickle.loads(pickle.dumps(from_plugin("msd"))) == from_plugin("msd")

    @register("msd")
    def other(cells):
        return mean_square(cells, 5.0)

    assert from_plugin("msd").name == "other"
    with pytest.raises(SpecificationError, match="'dv' is a model of this package"):
        register("dv")(mean_square)
    with pytest.raises(UnknownAttributeError, match="did you mean 'scale'"):
        register("wrong", scales=1)(mean_square)
    assert "wrong" not in plugins()
    with pytest.raises(SpecificationError, match="expected text"):
        register(mean_square)
    with pytest.raises(SpecificationError, match="did you mean 'msd'"):
        from_plugin("mds")


def test_any_option_goes_to_keywords_and_sigma_to_those_who_name_it():
    seen = {}

    def function(cells, sigma, **options):
        seen.update(options, sigma=sigma)
        return mean_square(cells), {"note": "fine"}

    mapper = MapperPlugin(function)
    mapper.anything = 5
    maps = mapper.infer(partition())
    assert seen == {"anything": 5, "sigma": 0.02}
    assert maps.attrs["note"] == "fine"


@pytest.mark.parametrize("sampling", [None, "group", "connected", "individual"])
def test_cell_sampling(sampling):
    mesh = hexagons(6, 4)
    p = partition(mesh, cell=np.concatenate([np.repeat(np.arange(12), 10), np.full(5, 23)]))
    calls = []

    def function(cells):
        calls.append(len(cells))
        return mean_square(cells)

    maps = MapperPlugin(function, cell_sampling=sampling).infer(p)
    assert maps.table.index.tolist() == [*range(12), 23]
    assert sorted(calls) == {"connected": [1, 12], "individual": [1] * 13}.get(sampling, [13])


def test_returns_and_partition_input():
    p = partition()

    def set_attributes(cells):
        for cell in cells.values():
            cell.count, cell.mean = len(cell), cell.dr.mean(axis=0)

    maps = MapperPlugin(set_attributes, returns=["count", "mean"]).infer(p)
    assert maps.variables == ["count", "mean x", "mean y"]
    assert maps["count"].sum() == len(p.points)
    with pytest.raises(InferenceError, match="set no attribute 'missing'"):
        MapperPlugin(set_attributes, returns="missing").infer(p)

    def of_partition(sampling):
        assert sampling is p
        return pd.DataFrame({"n": np.diff(sampling.indptr)})

    assert len(MapperPlugin(of_partition, input_type="partition").infer(p)) == 20


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "'bad' returned NoneType, expected a DataFrame"),
        (np.zeros(3), "returned ndarray"),
        ((pd.DataFrame(), 3), r"returned \(DataFrame, int\)"),
        (pd.DataFrame({"a": [1.0]}, index=[99]), "99 is not one of them"),
        (pd.DataFrame({"a": [1.0, 2.0]}, index=[1, 1]), "duplicates"),
    ],
)
def test_bad_results_are_named(result, message):
    def bad(cells):
        return result

    with pytest.raises(InferenceError, match=message):
        MapperPlugin(bad).infer(partition())


def test_posteriors_and_own_errors():
    def pair(cells):
        return mean_square(cells), pd.DataFrame({"fit": [1.0]})

    assert MapperPlugin(pair).infer(partition()).attrs["posteriors"]["fit"].tolist() == [1.0]

    def broken(cells):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        MapperPlugin(broken).infer(partition())
    with pytest.raises(InferenceError, match="'mean_square' was not called"):
        MapperPlugin(mean_square).infer(partition(cell=np.zeros(0, dtype=int)))


@pytest.mark.parametrize("mesh", [hexagons(5, 4), cubes(3, 3, 2)])
def test_cells(mesh):
    p = partition(mesh)
    cells = Cells(p)
    d = mesh.centers.shape[1]
    assert cells.dim == d and cells.space_cols == ["x", "y", "z"][:d]
    assert list(cells) == list(cells.keys()) == list(range(mesh.size)) and len(cells) == mesh.size
    assert 3 in cells and 999 not in cells and cells[3] is cells[3]
    cell = cells[3]
    rows = p.points.iloc[p.indices[p.indptr[3] : p.indptr[4]]]
    assert cell.index == 3 and len(cell) == len(rows) and cell.dim == d and bool(cell)
    np.testing.assert_array_equal(cell.dt, rows["dt"])
    np.testing.assert_array_equal(cell.t, rows["t"])
    np.testing.assert_array_equal(cell.n, rows["n"])
    np.testing.assert_array_equal(cell.r, rows[cells.space_cols])
    np.testing.assert_allclose(cell.destinations["x"] - cell.origins["x"], rows["dx"])
    np.testing.assert_array_equal(cell.center, mesh.centers[3])
    assert cell.volume == mesh.areas[3] and cell.dr.shape == (len(cell), d)
    near = cells.neighbours(3)
    assert sorted(near) == mesh.indices[mesh.indptr[3] : mesh.indptr[4]].tolist()
    np.testing.assert_allclose(cell.span, mesh.centers[near] - mesh.centers[3])
    assert (cells.adjacency.toarray() == mesh.adjacency.toarray()).all()
    assert "Cells" in repr(cells) and "Cell(3" in repr(cell)


def test_operators_of_cells():
    mesh = hexagons(5, 4)
    cells = Cells(partition(mesh))
    x = np.random.default_rng(0).normal(size=mesh.size)
    operator = grad1(mesh.centers, mesh.indptr, mesh.indices)
    form = delta0_penalty(mesh.centers, mesh.indptr, mesh.indices, mesh.areas)
    total = 0.0
    for i in cells:
        np.testing.assert_allclose(cells.grad(i, x), operator.apply(x)[:, i])
        np.testing.assert_allclose(cells.grad(i, pd.Series(x)), operator.apply(x)[:, i])
        total += cells.grad_sum(i, cells.local_variation(i, x) ** 2)
    assert total == pytest.approx(x @ (form @ x))
    with pytest.raises(InferenceError, match="one value per cell"):
        cells.grad(0, x[:3])
    # a map of cell 0 and its neighbours only
    index_map = np.full(mesh.size, -1)
    kept = np.r_[0, cells.neighbours(0)]
    index_map[kept] = np.arange(len(kept))
    np.testing.assert_allclose(cells.grad(0, x[kept], index_map), cells.grad(0, x))
    alone = np.where(np.arange(mesh.size) == 0, 0, -1)
    assert cells.grad(0, x[:1], alone) is None and cells.local_variation(0, x[:1], alone) is None


def test_groups_of_neighbouring_cells():
    mesh = hexagons(8, 6)
    p = partition(mesh)
    seen = []

    def of_neighbours(cells):
        seen.append(len(cells))
        near = [sum(len(cells[j]) for j in cells.neighbours(i)) for i in cells]
        return pd.DataFrame({"near": near}, index=list(cells))

    at_once = MapperPlugin(of_neighbours).infer(p).table
    seen.clear()
    mapper = MapperPlugin(of_neighbours, max_cell_count=10, dilation=1)
    # with a margin of one layer, cells of a group see all of their neighbours
    pd.testing.assert_frame_equal(mapper.infer(p).table, at_once)
    assert len(seen) == 8 and min(seen) > 6
    mapper.dilation = 0
    seen.clear()
    alone = mapper.infer(p).table
    assert sum(seen) == 48 and max(seen) <= 10 and (alone["near"] <= at_once["near"]).all()
    for bad in ({"max_cell_count": 0}, {"dilation": -1}, {"max_runtime": 0}):
        with pytest.raises(SpecificationError):
            MapperPlugin(of_neighbours, **bad)


def test_setup_of_plugins_is_honoured():
    calls = []

    def infer_size(cells):
        calls.append(len(cells))
        for cell in cells.values():
            cell.size = len(cell)

    infer_size.setup = {"name": "size", "cell_sampling": "individual", "returns": "size"}
    maps = MapperPlugin(infer_size).infer(partition())
    assert calls == [1] * 20 and maps.variables == ["size"]
    assert MapperPlugin(infer_size, cell_sampling="connected").cell_sampling == "connected"
    module = types.ModuleType("mine")
    module.setup = {"name": "size", "infer": "infer_size", "returns": ["size"], "cell_sampling": "connected"}
    module.infer_size = infer_size
    made = MapperPlugin(module)
    assert made.cell_sampling == "connected" and len(made.infer(partition())) == 20
    module.setup["infer"] = "other"
    with pytest.raises(SpecificationError, match=r"setup\['infer'\] should name"):
        MapperPlugin(module)


def test_max_runtime_stops_between_calls():
    def slow(cells):
        time.sleep(0.02)
        return mean_square(cells)

    mapper = MapperPlugin(slow, cell_sampling="individual", max_runtime=0.1)
    maps = mapper.infer(partition())
    assert 1 <= len(maps) < 20 and maps.attrs["converged"] is False
    assert maps.attrs["message"] == f"INTERRUPTED after 0.1 s: {20 - len(maps)} cells were not reached"
    mapper.max_runtime = 60
    assert len(mapper.infer(partition())) == 20
    left = []

    def told(cells, max_runtime=None):
        left.append(max_runtime)
        return mean_square(cells)

    MapperPlugin(told, max_runtime=5).infer(partition())
    assert 4 < left[0] <= 5


def test_features_of_given_maps_are_attributes_of_cells():
    p = partition()
    maps = DF().infer(p)

    def power(cells):
        values = [c.diffusivity * np.sum(c.force**2) for c in cells.values()]
        return pd.DataFrame({"power": values}, index=list(cells))

    found = MapperPlugin(power).infer(maps)
    expected = maps["diffusivity"] * (maps["force"] ** 2).sum(axis=1)
    np.testing.assert_allclose(found["power"], expected)
    assert found.parent is p
    individual = MapperPlugin(power, cell_sampling="individual").infer(maps)
    np.testing.assert_allclose(individual["power"], expected)
    with pytest.raises(AttributeError, match="diffusivity"):
        MapperPlugin(power).infer(p)


@pytest.mark.parametrize(
    "model",
    [
        D(diffusivity_prior=2.0, confidence=0.9),
        DV(diffusivity_prior=1, potential_prior=2),
        DV("original", potential_prior=2, time_prior=(0.0, 0.0)),
        DF(D0=[0.05] * 20, min_diffusivity=0.0),
        Density(scale=True),
        from_plugin("snr", diffusivity_prior=1.0),
        from_plugin("bayes_factor", B_threshold=3),
        from_plugin("d.conj_prior", grad_selection_angle=0.5),
    ],
)
def test_the_mapper_of_maps_is_found_again(model):
    p = partition()
    p.points["dt"] = 0.04
    maps = model.infer(p)
    assert from_maps(maps) == model
    stored = pickle.loads(pickle.dumps(maps))
    assert from_maps(stored) == model


def test_mappers_that_maps_do_not_tell():
    maps = MapperPlugin(mean_square).infer(partition())
    with pytest.raises(InferenceError, match="made by the function 'mean_square'"):
        from_maps(maps)
    large = DF(D0=np.full(100, 0.05), diffusivity_prior=1.0).infer(partition(hexagons(10, 10)))
    with pytest.raises(InferenceError, match="'D0' was a large array"):
        from_maps(large)
    assert from_maps(large, exclude_attrs=["D0"]) == DF(diffusivity_prior=1.0)
    with pytest.raises(InferenceError, match="belongs to none"):
        D().from_maps("dv")


def test_from_maps_and_text_in_an_analyzer(tmp_path):
    a = analyzer(tmp_path / "results", mapper=D(diffusivity_prior=3.0))
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    assert a.run(progress=False).ok
    b = analyzer(tmp_path / "results")
    b.mapper.from_maps("m")
    assert b.mapper == D(diffusivity_prior=3.0)
    sampling = next(iter(b.roi.as_support_regions())).get_sampling()
    b.mapper.to_ascii_file(tmp_path / "m.txt", sampling.get_child("m"), add_coordinates=True)
    text = pd.read_csv(tmp_path / "m.txt", sep="\t", index_col="cell")
    np.testing.assert_allclose(text[["x", "y"]], sampling.centers[text.index], atol=1e-4)


def test_time_profiles():
    a = td.RWAnalyzer(
        tesseller=td.tessellers.Squares(0.4), time=td.segmentation.SlidingWindow(duration=1), mapper=D()
    )
    points = td.simulate.random_walk(trajectory_count=60, diffusivity=0.05, duration=3, seed=1)
    sampling = a.sampler.sample(points)
    maps = a.mapper.infer(sampling, sigma=0.02)
    size = sampling.number_of_cells // 3
    cells = set()
    for j, times, profile in a.mapper.as_time_profiles(
        sampling, maps, return_times=True, return_bin_index=True
    ):
        cells.add(j)
        np.testing.assert_array_equal(times, sampling.segments[profile.index])
        pd.testing.assert_series_equal(
            profile["diffusivity"].reset_index(drop=True),
            maps["diffusivity"].loc[profile.index * size + j].reset_index(drop=True),
        )
    assert cells == set((maps.table.index % size).tolist())
    one = a.mapper.get_time_profile(sampling, maps, 3, segment_indices=[0, -1])
    assert one.index.tolist() == [0, 2]
    with pytest.raises(InferenceError, match="mapped in none of these segments"):
        a.mapper.get_time_profile(sampling, maps, 999)
    with pytest.raises(InferenceError, match="there are 3 time segments"):
        a.mapper.get_time_profile(sampling, maps, 3, segment_indices=7)
    with pytest.raises(InferenceError, match="need time segments"):
        a.mapper.get_time_profile(sampling.restrict_to_segment(0), maps, 3)
