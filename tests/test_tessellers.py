"""Contract of all tessellers, and agreement with TRamWAy's."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramway_dask.errors import SegmentationError, SpecificationError
from tramway_dask.segmentation import (
    Hexagons,
    KMeans,
    Squares,
    Tessellation,
    TessellerPlugin,
    tesseller,
    tessellers,
)
from tramway_dask.segmentation.tessellation import nearest


def table(seed, size=400, dimension=2, scale=1.0):
    rng = np.random.default_rng(seed)
    space = list("xyz"[:dimension])
    df = pd.DataFrame(scale * rng.beta(2, 1.5, (size, dimension)), columns=space)
    df.insert(0, "n", np.arange(size) // 10)
    df["t"] = 0.04 * (np.arange(size) % 10 + 1)
    for c in space:
        df[f"d{c}"] = scale * 0.02 * rng.standard_normal(size)
    df["dt"] = 0.04
    return df


MAKERS = {
    "squares": lambda r: Squares(resolution=r),
    "diagonal": lambda r: Squares(resolution=r, adjacency="diagonal"),
    "squares by count": lambda r: Squares(avg_location_count=30),
    "hexagons": lambda r: Hexagons(resolution=r),
    "tilted": lambda r: Hexagons(resolution=r, tilt=0.4),
    "hexagons by count": lambda r: Hexagons(avg_location_count=30),
    "kmeans": lambda r: KMeans(resolution=r),
    "kmeans random": lambda r: KMeans(resolution=r, initial="random", prune=True),
    "function": lambda r: tesseller.from_callable(centers_of_ten),
}


def centers_of_ten(points):
    space = [c for c in "xyz" if c in points]
    return points[space].to_numpy()[::40]


def brute_force(xy, centers):
    return ((xy[:, None] - centers[None]) ** 2).sum(axis=2)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    dimension=st.sampled_from([2, 3]),
    resolution=st.floats(0.12, 0.5),
    margin=st.sampled_from([0.0, 0.3]),
    size=st.sampled_from([40, 300]),
)
def test_contract(name, seed, dimension, resolution, margin, size):
    maker = MAKERS[name](resolution)
    df = table(seed, size, dimension)
    space = list("xyz"[:dimension])
    xy = df[space].to_numpy()
    if isinstance(maker, Hexagons) and dimension == 3:
        with pytest.raises(SegmentationError, match="2-D"):
            maker.tessellate(df)
        return
    box = np.stack([xy.min(axis=0) - margin, xy.max(axis=0) + margin])
    mesh = maker.tessellate(df, box=box)
    m = mesh.number_of_cells
    index = mesh.cell_index(df)
    distance = brute_force(xy, mesh.centers)
    assert index.shape == (len(df),)
    np.testing.assert_allclose(distance[np.arange(len(df)), index], distance.min(axis=1), atol=1e-12)
    assert np.isfinite(mesh.areas).all() and (mesh.areas >= 0).all()
    np.testing.assert_allclose(mesh.areas.sum(), np.prod(box[1] - box[0]), rtol=1e-9)
    assert (mesh.areas[np.unique(index)] > 0).all()
    adjacency = mesh.adjacency
    assert adjacency.shape == (m, m) and adjacency.dtype == bool and adjacency.has_sorted_indices
    assert (adjacency != adjacency.T).nnz == 0 and not adjacency.diagonal().any()
    if dimension == 2:
        for i in range(m):
            x, y = mesh.polygon(i).T if mesh.areas[i] > 0 else (np.zeros(1), np.zeros(1))
            area = 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))
            assert area == pytest.approx(mesh.areas[i], abs=1e-12)
        assert (mesh.vertices >= box[0]).all() and (mesh.vertices <= box[1]).all()
    again = MAKERS[name](resolution).tessellate(df, box=box)
    np.testing.assert_array_equal(again.centers, mesh.centers)
    np.testing.assert_array_equal(again.areas, mesh.areas)
    assert (again.adjacency != adjacency).nnz == 0


@pytest.mark.parametrize("name", ["squares", "hexagons", "tilted", "kmeans"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_translation_invariance(name, dimension):
    if dimension == 3 and name in ("hexagons", "tilted"):
        return
    df = table(3, 300, dimension)
    shift = np.array([8.0, -4.0, 2.0][:dimension])
    moved = df.copy()
    space = list("xyz"[:dimension])
    moved[space] += shift
    here, there = (MAKERS[name](0.27).tessellate(d) for d in (df, moved))
    np.testing.assert_allclose(here.centers + shift, there.centers, atol=1e-12)
    np.testing.assert_allclose(here.areas, there.areas, atol=1e-12)
    assert (here.adjacency != there.adjacency).nnz == 0
    distance = np.sort(brute_force(df[space].to_numpy(), here.centers), axis=1)
    clear = distance[:, 1] - distance[:, 0] > 1e-9
    np.testing.assert_array_equal(here.cell_index(df)[clear], there.cell_index(moved)[clear])


@pytest.mark.parametrize("dimension", [2, 3])
def test_squares_are_the_voronoi_cells_of_their_centers(dimension):
    df = table(1, 500, dimension)
    box = np.array([[-0.3] * dimension, [1.4] * dimension])
    closed = Squares(resolution=0.2).tessellate(df, box=box)
    voronoi = Tessellation.from_centers(closed.centers, box)
    np.testing.assert_allclose(closed.areas, voronoi.areas, rtol=1e-6 if dimension == 3 else 1e-10)
    assert (closed.adjacency != voronoi.adjacency).nnz == 0
    if dimension == 2:
        for i in range(len(closed)):
            ours, theirs = (np.round(m.polygon(i), 9) + 0.0 for m in (closed, voronoi))
            assert {tuple(p) for p in ours} == {tuple(p) for p in theirs}


@pytest.mark.parametrize("tilt", [0.0, 0.4])
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_hexagons_are_the_voronoi_cells_of_their_centers(tilt, margin):
    df = table(1, 500)
    xy = df[["x", "y"]].to_numpy()
    box = np.stack([xy.min(axis=0) - margin, xy.max(axis=0) + margin])
    closed = Hexagons(resolution=0.13, tilt=tilt).tessellate(df, box=box)
    voronoi = Tessellation.from_centers(closed.centers, box)
    np.testing.assert_allclose(closed.areas, voronoi.areas, atol=1e-12)
    assert margin or (closed.adjacency != voronoi.adjacency).nnz < 0.1 * closed.adjacency.nnz
    np.testing.assert_array_equal(nearest(xy, closed.centers), closed.cell_index(xy))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12),
    st.integers(2, 3),
)
def test_few_collinear_and_repeated_centers(points, dimension):
    centers = np.array(points, dtype=float)
    if dimension == 3:
        centers = np.column_stack([centers, (centers[:, 0] + centers[:, 1]) % 3])
    box = np.array([[0.0] * dimension, [6.0] * dimension])
    mesh = Tessellation.from_centers(centers, box)
    np.testing.assert_allclose(mesh.areas.sum(), 6.0**dimension, rtol=1e-9)
    unique, first = np.unique(centers, axis=0, return_index=True)
    assert set(np.flatnonzero(mesh.areas)) == set(first)
    assert len(unique) == 1 or (np.diff(mesh.adjacency.indptr)[first] > 0).all()


def test_ties_go_to_the_lowest_index():
    centers = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1], [0.0, 5.0]])
    points = np.array([[0.0, 0.0], [0.5, 0.5], [-0.5, -0.5], [0.0, 3.0]])
    np.testing.assert_array_equal(nearest(points, centers), [0, 0, 2, 1])
    circle = np.column_stack([np.cos(np.arange(20)), np.sin(np.arange(20))])
    assert nearest(np.zeros((1, 2)), np.round(circle, 0))[0] == nearest_by_scan(np.round(circle, 0))
    for mesh in (
        Squares(resolution=1).tessellate(np.array([[0.0, 0], [4, 4], [2, 2]])),
        Hexagons(resolution=1).tessellate(np.array([[0.0, 0], [4, 4], [2, 2]])),
    ):
        middles = (mesh.centers[mesh.pairs[:, 0]] + mesh.centers[mesh.pairs[:, 1]]) / 2
        np.testing.assert_array_equal(mesh.cell_index(middles), mesh.pairs[:, 0])


def nearest_by_scan(centers):
    return np.argmin((centers**2).sum(axis=1))


# TRamWAy 0.7 as the oracle


def tramway_mesh(kind, df, **attributes):
    from tramway.analyzer import RWAnalyzer
    from tramway.analyzer import tessellers as theirs

    analyzer = RWAnalyzer()
    analyzer.spt_data.from_dataframe(df)
    analyzer.tesseller = getattr(theirs, kind)
    for key, value in attributes.items():
        setattr(analyzer.tesseller, key, value)
    return analyzer.tesseller.tessellate(df)


trajectories = table(11, 1500)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("attributes", [{"resolution": 0.15}, {"resolution": 0.31}, {}])
def test_squares_as_in_tramway(attributes):
    theirs = tramway_mesh("Squares", trajectories, **attributes)
    ours = Squares(**attributes).tessellate(trajectories)
    np.testing.assert_allclose(ours.centers, theirs.cell_centers, atol=1e-12)
    assert (ours.adjacency != theirs.cell_adjacency.astype(bool)).nnz == 0
    diagonal = Squares(**attributes, adjacency="diagonal").tessellate(trajectories)
    assert (diagonal.adjacency != theirs.diagonal_adjacency.astype(bool)).nnz == 0
    np.testing.assert_array_equal(ours.cell_index(trajectories), theirs.cell_index(trajectories[["x", "y"]]))


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "attributes", [{"resolution": 0.15}, {"resolution": 0.31}, {"resolution": 0.2, "tilt": 0.5}, {}]
)
def test_hexagons_as_in_tramway(attributes):
    theirs = tramway_mesh("Hexagons", trajectories, **attributes)
    ours = Hexagons(**attributes).tessellate(trajectories, box=[[-9, -9], [9, 9]])
    np.testing.assert_allclose(ours.centers, theirs.cell_centers, atol=1e-9)
    assert (ours.adjacency != theirs.cell_adjacency.astype(bool)).nnz == 0
    np.testing.assert_array_equal(ours.cell_index(trajectories), theirs.cell_index(trajectories[["x", "y"]]))


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("attributes", [{"resolution": 0.2}, {}])
def test_kmeans_as_in_tramway(attributes):
    theirs = tramway_mesh("KMeans", trajectories, **attributes)
    ours = KMeans(**attributes).tessellate(trajectories)
    np.testing.assert_allclose(ours.centers, theirs.cell_centers, atol=1e-9)


# parameters


def test_resolution_and_reference_distance():
    cells = Hexagons(resolution=0.05)
    assert cells.ref_distance == 0.025
    cells.ref_distance = 0.1
    assert cells.resolution == 0.2
    assert cells == Hexagons(resolution=0.2) and hash(cells) == hash(Hexagons(resolution=0.2))
    assert repr(cells) == "Hexagons(resolution=0.2)"
    assert pickle.loads(pickle.dumps(cells)) == cells


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["Squares", "Hexagons", "KMeans"])
def test_a_reference_distance_leaves_the_count_criterion_on(name):
    """As in TRamWAy, where it acts through the least distance only."""
    kind = {"Squares": Squares, "Hexagons": Hexagons, "KMeans": KMeans}[name]
    for value in (0.02, 0.3):
        theirs = tramway_mesh(name, trajectories, ref_distance=value)
        ours = kind(ref_distance=value).tessellate(trajectories)
        assert len(ours) == len(theirs.cell_centers)
    assert len(kind(resolution=0.1).tessellate(trajectories)) > 2 * len(
        kind(ref_distance=0.05).tessellate(trajectories)
    )
    cells = kind(ref_distance=0.1)
    assert cells.resolution is None and cells == kind(reference_distance=0.1) != kind()


def test_defaults_are_eighty_points_per_cell():
    df = table(0, 4000)
    for kind in (Squares, Hexagons, KMeans):
        assert len(kind().tessellate(df)) == pytest.approx(50, rel=0.15)
        assert len(kind(min_location_count=40).tessellate(df)) == pytest.approx(25, rel=0.15)
    found = Squares().calibration(df)
    steps = np.hypot(df["dx"], df["dy"]).mean()
    assert found.ref_distance == pytest.approx(steps)
    assert found.min_distance == pytest.approx(0.8 * steps)
    assert found.avg_distance == pytest.approx(2 * steps)
    assert found.max_distance is None
    assert found.min_probability == 20 / 4000 and found.avg_probability == 80 / 4000
    assert Squares(resolution=0.1).calibration(df).avg_probability is None


def test_min_distance_bounds_the_count_criterion():
    df = table(0, 4000)
    assert len(Squares(avg_location_count=1, min_distance=0.25).tessellate(df)) == 16
    assert len(Squares(avg_distance=0.25).tessellate(df)) == 16


def test_calibration_on_each_region_or_the_first():
    first, second = table(0, 4000), table(1, 1000)
    each, once = Squares(), Squares(calibrate="first")
    assert len(each.tessellate(first)) > 2 * len(each.tessellate(second))
    assert len(once.tessellate(first)) == len(once.tessellate(second))
    assert once == Squares(calibrate="first")
    assert len(pickle.loads(pickle.dumps(once)).tessellate(second)) == len(Squares().tessellate(second))
    once.reset()
    assert len(once.tessellate(second)) == len(Squares().tessellate(second))


def test_hexagon_count_criterion_does_not_depend_on_the_unit():
    for scale in (1e-2, 1.0, 1e3):
        df = table(5, 8000, scale=scale)
        assert len(Hexagons().tessellate(df)) == pytest.approx(100, rel=0.12)


def test_a_narrow_region_is_one_cell_across():
    df = table(2, 200)
    df["y"] *= 0.01
    mesh = Squares(resolution=0.25).tessellate(df)
    assert len(mesh) == 4 and len(np.unique(mesh.centers[:, 1])) == 1


def test_collinear_data_in_a_region():
    df = table(2, 200)
    df["y"] = 0.5
    for kind in (Squares, Hexagons, KMeans):
        mesh = kind(resolution=0.25).tessellate(df, box=[[0, 0], [1, 1]])
        assert mesh.areas.sum() == pytest.approx(1)
    with pytest.raises(SegmentationError, match="same y"):
        Squares().tessellate(df)


def test_box_of_the_region():
    df = table(2, 200)
    df.attrs["roi"] = {"label": "roi000", "bounding_box": [[(0.0, 0.0, 1.0), (2.0, 1.0, 9.0)]]}
    np.testing.assert_array_equal(Squares().tessellate(df).box, [[0, 0], [2, 1]])
    df.attrs["roi"]["bounding_box"] = [((0.0, 0.0), (2.0, 1.0)), ((0.0, 0.5), (1.0, 3.0))]
    np.testing.assert_array_equal(Squares().tessellate(df).box, [[0, 0], [2, 3]])


def test_post_processing():
    calls = []
    cells = Squares(resolution=0.3, post_processing=lambda mesh, points: calls.append(len(points)) or mesh)
    cells.tessellate(table(0, 100))
    assert calls == [100]


# errors


@pytest.mark.parametrize("value", [0, -1, float("nan"), "small"])
def test_bad_resolution_is_refused_when_set(value):
    with pytest.raises(SpecificationError, match="resolution"):
        Squares(resolution=value)


def test_errors_say_what_to_do():
    df = table(0, 100)
    with pytest.raises(SegmentationError, match=r"resolution 5 µm exceeds the region's extent 1.2 × 0.9 µm"):
        Squares(resolution=5).tessellate(df.assign(y=0.9 * df["y"]), box=[[-0.1, 0], [1.1, 0.9]])
    for kind in (Squares, Hexagons, KMeans):
        with pytest.raises(
            SegmentationError, match=r"cells, more than a million; a resolution of 0\.0\d+ µm"
        ):
            kind(resolution=1e-4).tessellate(df)
    with pytest.raises(SegmentationError, match="at least 2 translocations in the region, found 0"):
        Squares().tessellate(df[:0])
    same = df.copy()
    same[["x", "y"]] = 1.0
    with pytest.raises(SegmentationError, match="same place"):
        Squares().tessellate(same)
    with pytest.raises(SegmentationError, match="same place"):
        Squares().tessellate(same, box=[[0, 0], [2, 2]])
    with pytest.raises(SegmentationError, match="must lie within the box"):
        Tessellation.from_centers([[0, 0, 0], [2, 2, 2]], [[0, 0, 0], [1, 1, 1]])
    with pytest.raises(SegmentationError, match="not finite"):
        Tessellation.from_centers([[0, np.nan]], [[0, 0], [1, 1]])


def test_a_resolution_just_small_enough():
    df = table(0, 100)
    with pytest.raises(SegmentationError) as caught:
        Squares(resolution=1e-4).tessellate(df)
    advised = float(str(caught.value).rsplit("resolution of ", 1)[1].split()[0])
    assert 0.9e6 < np.prod(np.ptp(df[["x", "y"]].to_numpy(), axis=0)) / advised**2 < 1.05e6


# by name, and user-defined


def test_plugins():
    assert isinstance(tesseller.from_plugin("grid"), tessellers.Squares)
    assert TessellerPlugin("kmeans") == KMeans(tol=1e-6, prune=2.5)
    assert tesseller.from_plugin("kmeans") == KMeans()
    assert TessellerPlugin("hexagon", resolution=0.1) == Hexagons(resolution=0.1)
    assert {"grid", "hexagon", "kmeans"} <= set(tesseller.plugins())
    with pytest.raises(SpecificationError, match="did you mean 'hexagon'"):
        tesseller.from_plugin("hexagn")
    with pytest.raises(SpecificationError, match="did you mean 'resolution'"):
        TessellerPlugin("grid", resolutoin=1)


def test_user_defined_tessellers():
    df = table(0, 100)
    assert tesseller.from_callable(tessellers.Hexagons) == Hexagons()
    mesh = tesseller.from_callable(lambda points: [[0.2, 0.2], [0.8, 0.8]]).tessellate(df)
    assert len(mesh) == 2 and mesh.adjacency.nnz == 2
    same = tesseller.from_callable(lambda points: mesh)
    assert same.tessellate(df) is mesh
    for bad in (lambda p: [1, 2], lambda p: np.zeros((3, 3)), lambda p: "no"):
        with pytest.raises(SegmentationError, match="expected"):
            tesseller.from_callable(bad).tessellate(df)
    for bad in (int, 3):
        with pytest.raises(SpecificationError):
            tesseller.from_callable(bad)


def test_prune_removes_long_links():
    rng = np.random.default_rng(0)
    clumps = np.concatenate([rng.normal(m, 0.1, (300, 2)) for m in (0.0, 5.0)])
    linked, pruned = (KMeans(resolution=0.15, prune=p).tessellate(clumps) for p in (False, True))
    assert pruned.adjacency.nnz < linked.adjacency.nnz
    between = pruned.adjacency.tocoo()
    far = np.abs(pruned.centers[between.row] - pruned.centers[between.col]).max(axis=1) > 2
    assert not far.any()
