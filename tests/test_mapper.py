"""Mappers by name and around functions, and the cells that functions see."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from inference_cases import cubes, hexagons
from test_models import partition

from tramway_dask.errors import InferenceError, SpecificationError, UnknownAttributeError
from tramway_dask.inference import DD, DF, DV, Cells, D, Density, MapperPlugin, from_callable, from_plugin
from tramway_dask.inference.gradient import delta0_penalty, grad1
from tramway_dask.inference.mapper import plugins


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
