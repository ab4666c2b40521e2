"""k-d trees, k-means and random centers: against geometry, loops, SciPy and TRamWAy."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramway_dask.errors import SegmentationError, SpecificationError
from tramway_dask.segmentation import KDTree, KMeans, Kohonen, Random, TessellerPlugin, tesseller
from tramway_dask.segmentation.lloyd import lloyd


def cloud(size, seed, dimension=2):
    """Return locations around a few places."""
    rng = np.random.default_rng(seed)
    middle = rng.random((4, dimension))
    return middle[rng.integers(4, size=size)] + 0.1 * rng.standard_normal((size, dimension))


def boxes(mesh):
    """Return lower and upper corners of the leaves that have an area."""
    held = np.flatnonzero(mesh.areas)
    corners = np.stack([mesh.polygon(i) for i in held])
    return held, corners.min(axis=1), corners.max(axis=1)


# k-d tree


@pytest.mark.parametrize("seed", range(3))
def test_leaves_hold_their_points_and_share_faces(seed):
    xy = cloud(500, seed)
    mesh = KDTree(resolution=0.02, min_location_count=5).tessellate(xy, box=[[-1, -1], [2, 2]])
    held, low, high = boxes(mesh)
    inside = (xy[:, None] >= low).all(axis=2) & (xy[:, None] < high).all(axis=2)
    assert (inside.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(held[inside.argmax(axis=1)], mesh.cell_index(xy))
    overlap = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    touching = (np.abs(overlap) < 1e-12).sum(axis=2) == 1
    faces = touching & (overlap > -1e-12).all(axis=2) & (overlap > 1e-12).any(axis=2)
    np.testing.assert_array_equal(mesh.adjacency.toarray()[np.ix_(held, held)], faces)
    assert mesh.adjacency.nnz == faces.sum()


def test_leaves_are_small_where_points_are_many():
    xy = np.concatenate([np.random.default_rng(0).random((2000, 3)) * 0.25, [[1.0, 1.0, 1.0]]])
    mesh = KDTree(resolution=0.05, max_location_count=50).tessellate(xy)
    held = np.bincount(mesh.cell_index(xy))
    # a box is halved if one of eight parts would hold more than 50, or all more than 20
    assert 50 < held.max() <= 8 * 50 and mesh.areas[held == held.max()].max() < 0.01
    assert mesh.areas.max() == pytest.approx(0.125, rel=0.1)
    assert mesh.areas.sum() == pytest.approx(np.prod(np.ptp(xy, axis=0)))
    links = mesh.adjacency.tocoo()
    # shared faces: as far apart as half the edges along one axis, less along the others
    apart = np.abs(mesh.centers[links.row] - mesh.centers[links.col])
    assert len(links.row) > 200 and (apart.max(axis=1) > apart.sum(axis=1) / 3).all()


def test_points_on_borders_are_not_lost():
    grid = np.stack(np.meshgrid(np.arange(9), np.arange(9)), axis=-1).reshape(-1, 2) / 8
    mesh = KDTree(min_distance=1 / 8, max_location_count=4, min_location_count=0).tessellate(grid)
    held = np.bincount(mesh.cell_index(grid), minlength=len(mesh))
    assert held.sum() == 81 and held.max() <= 4 and len(mesh) > 16
    # the last row and column belong to the leaves at the border
    far = mesh.cell_index(np.array([[1.0, 1.0], [7.0, 7.0]]))
    assert far[0] == far[1]


def test_levels():
    xy = cloud(300, 0)
    coarse = KDTree(resolution=0.1, min_location_count=1000).tessellate(xy)
    assert len(coarse) == 1 and coarse.adjacency.nnz == 0
    even = KDTree(resolution=0.1, min_location_count=1000, max_level=0).tessellate(xy)
    sides = even.centers[:, 0]
    assert len(even) == len(np.unique(np.round(sides, 9))) ** 2 and np.diff(np.unique(sides)).max() < 0.21
    with pytest.raises(SegmentationError, match="max_level"):
        KDTree(resolution=1e-5, max_level=0).tessellate(xy)
    with pytest.raises(SegmentationError, match="smaller than min_location_count"):
        KDTree(min_location_count=30, max_location_count=20, resolution=0.1).tessellate(xy)
    by_share = KDTree(resolution=0.02, min_probability=0.02, max_probability=0.2).tessellate(xy)
    by_count = KDTree(resolution=0.02, min_location_count=6, max_location_count=60).tessellate(xy)
    np.testing.assert_array_equal(by_share.centers, by_count.centers)


# k-means


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([20, 300, 2000]),
    cells=st.sampled_from([1, 2, 9, 60]),
    dimension=st.integers(2, 3),
    spread=st.sampled_from([0.01, 1.0]),
)
def test_kmeans_as_in_scipy(seed, size, cells, dimension, spread):
    from scipy.cluster.vq import kmeans

    xy = cloud(size, seed, dimension)
    start = 0.5 + spread * (np.random.default_rng(seed).random((cells, dimension)) - 0.5)
    expected, _ = kmeans(xy, start, thresh=1e-7)
    np.testing.assert_allclose(lloyd(xy, start, tol=1e-7), expected, atol=1e-9)


def test_kmeans_settles_at_a_fixed_point():
    xy = cloud(800, 3)
    mesh = KMeans(avg_location_count=20, tol=0.0).tessellate(xy)
    index = mesh.cell_index(xy)
    means = np.stack([xy[index == i].mean(axis=0) for i in range(len(mesh))])
    np.testing.assert_allclose(means, mesh.centers, atol=1e-12)


@pytest.mark.parametrize("initial", ["random", "center"])
def test_random_starts_of_kmeans(initial):
    xy = cloud(800, 3)
    cells = KMeans(initial=initial, avg_location_count=40)
    mesh = cells.tessellate(xy)
    # of centers that start close together, many lose all their points
    assert (10 if initial == "random" else 3) <= len(mesh) <= 20
    assert np.bincount(mesh.cell_index(xy), minlength=len(mesh)).min() > 0
    np.testing.assert_array_equal(mesh.centers, cells.tessellate(xy).centers)
    other = cells.replace(seed=1).tessellate(xy).centers
    assert other.shape != mesh.centers.shape or not np.allclose(other, mesh.centers)


# random centers, and those that learn


def test_random_centers():
    xy = cloud(1000, 0)
    mesh = Random(cell_count=30).tessellate(xy)
    assert len(mesh) <= 30 and np.bincount(mesh.cell_index(xy), minlength=len(mesh)).min() > 0
    full = Random(cell_count=30, allow_empty_cells=True).tessellate(xy)
    assert len(full) == 30
    np.testing.assert_array_equal(
        mesh.centers, full.centers[np.bincount(full.cell_index(xy), minlength=30) > 0]
    )
    assert len(Random(allow_empty_cells=True, avg_location_count=80).tessellate(xy)) == 12
    assert len(Random(allow_empty_cells=True, avg_probability=0.05).tessellate(xy)) == 20
    bounded = Random(cell_count=50, allow_empty_cells=True, lower_bound=(0.4, 0.4), upper_bound=(0.6, 0.5))
    centers = bounded.tessellate(xy).centers
    assert (centers >= [0.4, 0.4]).all() and (centers <= [0.6, 0.5]).all()
    sample = Random(cell_count=4000, allow_empty_cells=True).tessellate(xy).centers
    share = (sample - xy.min(axis=0)) / np.ptp(xy, axis=0)
    np.testing.assert_allclose(
        np.quantile(share, [0.1, 0.5, 0.9], axis=0).T, [[0.1, 0.5, 0.9]] * 2, atol=0.03
    )


def test_bad_parameters():
    xy = cloud(100, 0)
    with pytest.raises(SpecificationError, match="cell_count"):
        Random(cell_count=0)
    with pytest.raises(SpecificationError, match="2 or 3 coordinates"):
        Random(lower_bound=3)
    with pytest.raises(SegmentationError, match="2 coordinates"):
        Random(cell_count=3, lower_bound=(0, 0, 0)).tessellate(xy)
    with pytest.raises(SegmentationError, match="above upper_bound"):
        Random(cell_count=3, lower_bound=(0.9, 0.9), upper_bound=(0.1, 0.1)).tessellate(xy)
    with pytest.raises(SpecificationError, match="step_size"):
        Kohonen(step_size=(1, 2))
    with pytest.raises(SpecificationError, match="decrease"):
        Kohonen(avg_location_count=10, step_size=(0.1, 0.2, 0.5)).tessellate(xy)


def test_kohonen_follows_the_density():
    xy = cloud(2000, 5)
    mesh = Kohonen(avg_location_count=40).tessellate(xy)
    start = Kohonen(avg_location_count=40, pass_count=1e-9).tessellate(xy)

    def distortion(cells):
        return ((xy - cells.centers[cells.cell_index(xy)]) ** 2).sum(axis=1).mean()

    assert distortion(mesh) < 0.9 * distortion(start)
    held = np.bincount(mesh.cell_index(xy), minlength=len(mesh))
    assert len(mesh) == pytest.approx(50, abs=8) and np.median(held) == pytest.approx(40, abs=12)


def test_names():
    assert tesseller.from_plugin("kdtree", max_level=3) == KDTree(max_level=3)
    assert TessellerPlugin("random", cell_count=9) == Random(cell_count=9)
    assert TessellerPlugin("kohonen") == Kohonen() and repr(Kohonen()) == "Kohonen()"
    assert {"gas", "gwr", "kdtree", "kohonen", "random"} <= set(tesseller.plugins())
    with pytest.raises(SpecificationError, match="did you mean 'kdtree'"):
        TessellerPlugin("kd-tree")
    with pytest.raises(SpecificationError, match="did you mean 'max_level'"):
        TessellerPlugin("kdtree", max_levels=3)


# TRamWAy 0.7 as the oracle


def pattern(matrix):
    """Return which elements are stored, zeros included."""
    matrix = matrix.tocsr().copy()
    matrix.data = np.ones(len(matrix.data), bool)
    return matrix


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("attributes", [{}, {"max_level": 1}, {"max_probability": 0.05}])
def test_kdtree_as_in_tramway(dimension, attributes):
    from tramway.tessellation.kdtree import KDTreeMesh

    space = list("xyz"[:dimension])
    df = pd.DataFrame(cloud(1200, 7, dimension), columns=space)
    theirs = KDTreeMesh(avg_distance=0.07, min_probability=0.01, **attributes)
    theirs.tessellate(df)
    ours = KDTree(avg_distance=0.07, min_probability=0.01, max_probability=0.1).replace(**attributes)
    # their root reaches beyond the data: with all of it the links of all leaves count
    lower = df.min().to_numpy()
    mesh = ours.tessellate(df, box=np.stack([lower - 1, lower + 5]))
    np.testing.assert_allclose(mesh.centers, theirs.cell_centers, atol=1e-12)
    index = theirs.cell_index(df)
    known = index >= 0
    assert known.mean() > 0.99
    np.testing.assert_array_equal(mesh.cell_index(df)[known], index[known])
    if dimension == 2:
        assert (mesh.adjacency != pattern(theirs.cell_adjacency)).nnz == 0
