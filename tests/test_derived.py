"""Gradients and curls of maps, densities of points, and the gradient operators behind them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_cases import cubes, hexagons, mesh_of
from test_models import partition
from tramway_cases import case

import tramway_dask as td
from tramway_dask.errors import InferenceError, SpecificationError
from tramway_dask.inference import D, Maps, from_plugin
from tramway_dask.inference.densities import bounding_spheres
from tramway_dask.inference.derived import contour_curl
from tramway_dask.inference.gradient import delta0_penalty, grad1
from tramway_dask.inference.gradn import gradn
from tramway_dask.inference.models import DV, Curl, Gradients, LocalDensity, SphericalVolume

SLOPE = np.array([2.0, -1.0, 0.5])


def scattered(seed: int, size: int = 40, dimension: int = 2):
    """Return random cells with at least a few neighbours each."""
    return mesh_of(np.random.default_rng(seed).uniform(0, 1, (size, dimension)), 0.45, 0.02)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.sampled_from([2, 3]))
def test_gradn_is_exact_on_quadratic_fields(seed, dimension):
    mesh = scattered(seed, 60, dimension)
    rng = np.random.default_rng(seed)
    curvature = rng.normal(size=(dimension, dimension))
    x = mesh.centers
    values = 3 + x @ SLOPE[:dimension] + np.einsum("ik,kl,il->i", x, curvature, x) / 2
    expected = SLOPE[:dimension] + x @ (curvature + curvature.T) / 2
    operator = gradn(x, mesh.indptr, mesh.indices)
    enough = np.diff(mesh.indptr) >= dimension * (dimension + 3) // 2 + 2
    assert enough.any() and operator.defined[:, enough].all()
    np.testing.assert_allclose(operator.apply(values).T[enough], expected[enough], rtol=1e-5, atol=1e-5)
    # the operator does not depend on where the cells are
    moved = gradn(x + 100.0, mesh.indptr, mesh.indices)
    np.testing.assert_allclose(moved.data, operator.data, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mesh", [hexagons(6, 5), cubes(3, 4, 3), scattered(1)])
def test_gradn_is_exact_on_linear_fields_at_the_border_too(mesh):
    slope = SLOPE[: mesh.centers.shape[1]]
    operator = gradn(mesh.centers, mesh.indptr, mesh.indices)
    found = np.where(operator.defined, operator.apply(mesh.centers @ slope), slope[:, None])
    np.testing.assert_allclose(found, np.broadcast_to(slope[:, None], found.shape), rtol=1e-6, atol=1e-6)
    assert operator.defined.mean() > 0.9


def test_gradn_leaves_out_what_neighbours_do_not_tell():
    line = mesh_of(np.array([[0.0, 0], [1, 0], [2, 0], [9, 9]]), 1.1, 1.0)
    operator = gradn(line.centers, line.indptr, line.indices)
    assert operator.defined.tolist() == [[True, True, True, False], [False] * 4]
    found = operator.apply(np.array([0.0, 1.0, 4.0, 5.0]))
    np.testing.assert_allclose(found, [[1, 2, 3, 0], [0, 0, 0, 0]], atol=1e-5)
    oblique = mesh_of(np.array([[0.0, 0], [1, 1], [2, 2]]), 1.5, 1.0)
    assert not gradn(oblique.centers, oblique.indptr, oblique.indices).defined.any()


def test_models_use_the_gradient_that_is_chosen():
    p = partition()
    tables = {
        grad: DV(diffusivity_prior=1, potential_prior=1, grad=grad, rgrad="grad").infer(p)
        for grad in ("grad1", "gradn")
    }
    for maps in tables.values():
        assert maps.attrs["converged"]
    a, b = (m.table["force x"] for m in tables.values())
    assert 0.5 < np.corrcoef(a, b)[0, 1] < 0.999
    unscaled = D(diffusivity_prior=1, rgrad="delta0_without_scaling").infer(p)
    assert unscaled.attrs["converged"]
    model = D()
    model.gradient = "gradn"
    assert model == D(grad="gradn")


@pytest.mark.oracle
def test_unscaled_slopes_equal_tramway():
    tramway = case(trajectories=25)
    from tramway.inference.gradient import delta0_without_scaling

    mesh = tramway.mesh
    x = np.random.default_rng(1).normal(size=mesh.size)
    expected = 0.0
    for i in tramway.index:
        tramway.cells[i].cache = None
        slopes = delta0_without_scaling(tramway.cells, i, x, tramway.reverse)
        expected += tramway.cells.grad_sum(i, slopes**2)
    form = delta0_penalty(mesh.centers, mesh.indptr, mesh.indices, mesh.areas, mean=False)
    assert x @ (form @ x) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("grad", ["grad1", "gradn"])
def test_gradient_of_a_feature(grad):
    p = partition()
    maps = D().infer(p)
    found = Gradients("diffusivity", grad=grad).infer(maps)
    build = {"grad1": grad1, "gradn": gradn}[grad]
    operator = build(p.centers, p.mesh.indptr, p.mesh.indices)
    expected = operator.apply(maps["diffusivity"].to_numpy())
    np.testing.assert_allclose(found["diffusivity"].to_numpy().T, expected, rtol=1e-10)
    variance = maps.errors("diffusivity").to_numpy() ** 2
    for k, axis in enumerate("xy"):
        matrix = operator.matrices[k]
        np.testing.assert_allclose(
            found.table[f"diffusivity {axis} se"] ** 2, matrix.toarray() ** 2 @ variance, rtol=1e-10
        )
    assert found.parent is p and found.mode == "gradient"


def test_gradient_skips_cells_without_value():
    maps = D().infer(partition())
    maps.table.loc[3, "diffusivity"] = np.nan
    maps.table["twice"] = 2 * maps.table["diffusivity"]
    found = Gradients("diffusivity, twice").infer(maps)
    assert found.table.loc[3].isna().all() and found.attrs["undefined_values"] >= 1
    near = found.table.drop(3)
    np.testing.assert_allclose(near["twice x"], 2 * near["diffusivity x"])
    assert near["twice x se"].isna().all()  # no errors are known of it
    with pytest.raises(InferenceError, match="did you mean 'diffusivity'"):
        Gradients("difusivity").infer(maps)
    with pytest.raises(InferenceError, match="feature is not set"):
        Gradients().infer(maps)
    with pytest.raises(InferenceError, match="computed from maps, got a FakePartition"):
        Gradients("diffusivity").infer(partition())
    with pytest.raises(SpecificationError, match="names of features"):
        Gradients([])


def vortex(centers, strength=3.0):
    """Return a linear field whose curl is twice `strength`, and a gradient field on top."""
    x, y = centers.T
    return np.column_stack([-strength * y + 2 * x + y, strength * x + x - 5 * y])


@pytest.mark.parametrize("distance", [1, 2])
@pytest.mark.parametrize(
    "mesh", [hexagons(9, 8), mesh_of(np.mgrid[:7, :6].reshape(2, -1).T * 0.2, 0.21, 0.04)]
)
def test_curl_is_exact_on_linear_fields(mesh, distance):
    field = vortex(mesh.centers)
    curl, error = contour_curl(
        mesh.centers, mesh.indptr, mesh.indices, field, np.full_like(field, 0.01), distance=distance
    )
    inside = np.isfinite(curl)
    assert 0.2 < inside.mean() < 1
    np.testing.assert_allclose(curl[inside], 6.0, rtol=1e-10)
    assert (error[inside] > 0).all()


def test_error_of_the_curl_is_that_of_simulations():
    mesh = hexagons(7, 6)
    rng = np.random.default_rng(0)
    curls = []
    for _ in range(300):
        noise = 0.1 * rng.normal(size=(mesh.size, 2))
        curl, error = contour_curl(
            mesh.centers, mesh.indptr, mesh.indices, noise, np.full((mesh.size, 2), 0.01)
        )
        curls.append(curl)
    inside = np.isfinite(error)
    assert np.mean(np.var(curls, axis=0)[inside] / error[inside] ** 2) == pytest.approx(1, abs=0.05)


@pytest.mark.oracle
def test_curl_of_tramway():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tramway.feature.curl import Curl as Theirs
        from tramway.helper import tessellate

        points = td.simulate.random_walk(
            trajectory_count=60, diffusivity=0.05, duration=3, seed=2, box=((0, 0), (1, 1))
        )
        cells = tessellate(points[["n", "x", "y", "t"]], "hexagon", ref_distance=0.08, min_location_count=0)
        centers = cells.tessellation.cell_centers
        table = pd.DataFrame(vortex(centers), columns=["force x", "force y"])
        theirs = Theirs(cells, table).extract("curl", "force", 1)["curl"]
    links = cells.tessellation.simplified_adjacency().tocsr()
    areas = np.asarray(cells.tessellation.cell_volume, dtype=float)
    curl, _ = contour_curl(
        centers, links.indptr, links.indices, vortex(centers), np.zeros((len(centers), 2)), areas=areas
    )
    whole = [i for i in theirs.index if np.diff(links.indptr)[i] == 6]
    assert len(whole) > 5
    np.testing.assert_allclose(np.abs(theirs[whole]), np.abs(curl[whole]), rtol=1e-6)


def test_curl_as_a_mapper():
    p = partition(hexagons(8, 7), rows=4000)
    forces = DV(diffusivity_prior=1, potential_prior=1).infer(p)
    maps = Curl().infer(forces)
    assert maps.features == ["curl<force>_1"] and maps.parent is p
    ok = maps.table.dropna()
    assert len(ok) > 15 and maps.attrs["undefined_values"] == len(maps) - len(ok)
    # a force that derives from a potential: no curl beyond the difference of two discretizations
    assert (ok["curl<force>_1"].abs() < 3 * ok["curl<force>_1 se"]).mean() > 0.95
    of_cells = Curl(area="cells").infer(forces).table["curl<force>_1"].dropna()
    inner = ok.index[np.diff(p.mesh.indptr)[ok.index] == 6]
    np.testing.assert_allclose(of_cells[inner], 3 * ok["curl<force>_1"][inner], rtol=1e-9)
    with pytest.raises(InferenceError, match="set Curl.feature: .* have the vectors"):
        Curl().infer(D().infer(p))
    with pytest.raises(InferenceError, match="no vector 'drift'"):
        Curl("drift").infer(forces)
    with pytest.raises(InferenceError, match="in a plane"):
        Curl().infer(DV(potential_prior=1).infer(partition(cubes(3, 3, 2))))
    with pytest.raises(SpecificationError, match="from 1 up"):
        Curl(distance=0)


@pytest.fixture(scope="module")
def points():
    return td.simulate.random_walk(trajectory_count=40, diffusivity=0.05, duration=2, seed=1)


@pytest.fixture(scope="module")
def sampled(points):
    a = td.RWAnalyzer(tesseller=td.tessellers.Hexagons(0.2))
    return a.sampler.sample(points)


def test_spheres_hold_their_points():
    rng = np.random.default_rng(0)
    for dimension in (2, 3):
        sizes = rng.integers(1, 30, 50)
        indptr = np.r_[0, np.cumsum(sizes)]
        cloud = rng.normal(size=(indptr[-1], dimension))
        center, radius = bounding_spheres(cloud, indptr)
        gap = np.linalg.norm(cloud - np.repeat(center, sizes, axis=0), axis=1)
        assert (gap <= np.repeat(radius, sizes) * (1 + 1e-9)).all()
        assert (radius[sizes == 1] == 0).all()
        for i in np.flatnonzero(sizes > 1):
            own = cloud[indptr[i] : indptr[i + 1]]
            diameter = np.linalg.norm(own[:, None] - own[None], axis=2).max()
            assert diameter / 2 <= radius[i] * (1 + 1e-9) <= 1.25 * diameter / np.sqrt(3)


@pytest.mark.oracle
def test_spherical_volume_of_tramway():
    tramway = case(trajectories=25)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tramway.inference.spherical_volume import spherical_volume

        theirs = spherical_volume(tramway.cells).loc[tramway.index]
    radius = (theirs.to_numpy() * 3 / 4 / np.pi) ** (1 / 3)
    mesh = tramway.mesh
    cells = [tramway.cells[i] for i in tramway.index]
    p = partition(mesh, cell=np.repeat(np.arange(mesh.size), [len(c) for c in cells]))
    p.points[["x", "y"]] = np.concatenate([c.r for c in cells])
    ours = SphericalVolume().infer(p)
    assert ours.table.index.tolist() == list(range(mesh.size))
    np.testing.assert_allclose(np.sqrt(ours["volume"] / np.pi), radius, rtol=1e-6)


@pytest.mark.parametrize("rank", [0, 1])
def test_local_density_of_tramway(sampled, rank):
    ours = LocalDensity(rank=rank).infer(sampled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scipy.spatial import ConvexHull, Voronoi
    # as TRamWAy does: inverse areas of the Voronoi cells of the points, averaged
    xy = sampled.points[["x", "y"]].to_numpy()
    diagram = Voronoi(xy)
    regions = [diagram.regions[k] for k in diagram.point_region]
    box = sampled.tessellation.spatial_mesh.box
    area = np.full(len(xy), np.nan)
    for i, corners in enumerate(regions):
        at = diagram.vertices[corners]
        if -1 not in corners and (at > box[0]).all() and (at < box[1]).all():
            area[i] = ConvexHull(at).volume
    total, many = area.copy(), np.ones(len(xy))
    if rank:
        for i, j in diagram.ridge_points:
            total[i] += area[j]
            total[j] += area[i]
            many[[i, j]] += 1
    density = many / total
    whole = 0
    for i in ours.table.index:
        own = density[sampled.rows(i)]
        if np.isfinite(own).all():
            assert ours["density"][i] == pytest.approx(own.mean(), rel=1e-6)
            whole += 1
    assert whole > 5


def test_local_density_of_uniform_points_and_repeated_ones():
    rng = np.random.default_rng(3)
    n = 3000
    table = pd.DataFrame({"n": np.arange(n), "x": rng.uniform(0, 1, n), "y": rng.uniform(0, 1, n)})
    table["t"], table["dx"], table["dy"], table["dt"] = 0.0, 0.01, 0.01, 0.05
    p = td.segmentation.segment(table, tesseller=td.tessellers.Squares(0.25))
    once = LocalDensity(rank=1).infer(p)["density"]
    assert once.mean() == pytest.approx(n, rel=0.2)
    twice = td.segmentation.segment(pd.concat([table, table]), tesseller=td.tessellers.Squares(0.25))
    np.testing.assert_allclose(LocalDensity(rank=1).infer(twice)["density"], 2 * once, rtol=1e-6)
    windows = td.RWAnalyzer(
        tesseller=td.tessellers.Squares(0.25), time=td.segmentation.SlidingWindow(duration=1)
    )
    moved = table.assign(t=np.where(np.arange(n) % 3 == 0, 0.0, 1.9))
    parts = LocalDensity().infer(windows.sampler.sample(moved))["density"]
    assert parts[parts.index < 16].mean() == pytest.approx(parts[parts.index >= 16].mean() / 2, rel=0.2)


def test_names():
    assert from_plugin("gradient", feature="diffusivity").feature == ("diffusivity",)
    assert isinstance(from_plugin("curl", distance=2), Curl)
    assert from_plugin("srtesseler.density", rank=1).rank == 1
    assert isinstance(from_plugin("spherical.volume"), SphericalVolume)
    lost = Maps(pd.DataFrame({"force x": [1.0], "force y": [1.0]}), "df")
    with pytest.raises(InferenceError, match="do not know their partition"):
        Curl().infer(lost)
