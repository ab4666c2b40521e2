"""The contract of every tesseller, on data as they come: clustered, on a line, repeated, few."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tramway_dask.errors import SegmentationError
from tramway_dask.segmentation import (
    GWR,
    Hexagons,
    KDTree,
    KMeans,
    Kohonen,
    Partition,
    Random,
    Squares,
    Tessellation,
    TessellerPlugin,
    segment,
)
from tramway_dask.segmentation.nesting import Nested
from tramway_dask.segmentation.tesseller import from_callable


def deciles(points):
    """Return the centers of a user's own function: along the data, at their deciles."""
    space = points[[c for c in "xyz" if c in points]]
    return np.unique(space.quantile(np.arange(0.05, 1, 0.1)).to_numpy(), axis=0)


MAKERS = {
    "of the user": lambda r: from_callable(deciles),
    "nested": lambda r: Nested(parent=Squares(resolution=1.5 * r), child=Squares(resolution=r / 2)),
    "squares": lambda r: Squares(resolution=r),
    "hexagons": lambda r: Hexagons(resolution=r, tilt=0.3),
    "kmeans": lambda r: KMeans(resolution=r),
    "kmeans by count": lambda r: KMeans(avg_location_count=20, initial="center"),
    "gwr": lambda r: GWR(resolution=r, batch_size=200),
    "gwr merged": lambda r: GWR(resolution=r, batch_size=200, min_distance=r / 3, complete_delaunay=False),
    "gas": lambda r: TessellerPlugin("gas", resolution=r, batch_size=200),
    "kdtree": lambda r: KDTree(resolution=r, min_location_count=3, max_location_count=10),
    "kdtree deep": lambda r: KDTree(
        min_distance=r / 8, min_location_count=0, max_location_count=1, max_level=2
    ),
    "random": lambda r: Random(cell_count=12),
    "random empty": lambda r: Random(resolution=r, allow_empty_cells=True),
    "kohonen": lambda r: Kohonen(resolution=r, pass_count=2),
}
# cells that do not depend on the order of the rows but for rounding errors
ROUNDED = {"kmeans", "kmeans by count", "hexagons"}


def cloud(kind, size, dimension, seed):
    """Return translocations of which some are on numbers with few digits, so that shifts are exact."""
    rng = np.random.default_rng(seed)
    xy = rng.random((size, dimension))
    if kind == "clustered":
        xy = rng.random((5, dimension))[rng.integers(5, size=size)] + 0.03 * rng.standard_normal(
            (size, dimension)
        )
    elif kind == "on a line":
        xy[:, 1] = 0.25
    elif kind == "repeated":
        xy = np.round(4 * xy) / 4
    xy = np.round(xy * 2**12) / 2**12
    df = pd.DataFrame(xy, columns=list("xyz"[:dimension]))
    df.insert(0, "n", np.arange(size) // 10)
    df["t"] = 0.04 * (np.arange(size) % 10 + 1)
    for c in "xyz"[:dimension]:
        df[f"d{c}"] = np.round(0.1 * rng.standard_normal(size) * 2**12) / 2**12
    df["dt"] = 0.04
    return df


def same(one, other, *, shift=0.0, scale=1.0):
    """Compare tessellations, one of them moved and scaled."""
    tolerance = {"rtol": 1e-9, "atol": 1e-9 * scale}
    np.testing.assert_allclose(scale * one.centers + shift, other.centers, **tolerance)
    np.testing.assert_allclose(scale**one.dimension * one.areas, other.areas, rtol=1e-7, atol=1e-9)
    assert (one.adjacency != other.adjacency).nnz == 0


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=4, deadline=None)
@given(
    kind=st.sampled_from(["even", "clustered", "on a line", "repeated"]),
    size=st.sampled_from([3, 25, 150]),
    dimension=st.sampled_from([2, 3]),
    resolution=st.sampled_from([0.25, 0.5]),
    seed=st.integers(0, 1000),
)
@example("clustered", 150, 2, 0.25, 0)
@example("repeated", 150, 3, 0.5, 1)
@example("on a line", 25, 2, 0.25, 2)
def test_contract(name, kind, size, dimension, resolution, seed):
    if name == "nested":
        size = max(size, 25)  # fewer than two in every cell cannot be divided
    df = cloud(kind, size, dimension, seed)
    space = list("xyz"[:dimension])
    box = np.array([[-0.5] * dimension, [1.5] * dimension])
    tesseller = MAKERS[name](resolution)
    if dimension == 3 and name == "hexagons":
        with pytest.raises(SegmentationError, match="2-D"):
            tesseller.tessellate(df, box=box)
        return
    mesh = tesseller.tessellate(df, box=box)
    size_of_mesh = mesh.number_of_cells
    assert (mesh.box[0] <= -0.5).all() and (mesh.box[1] >= 1.5).all()
    partition = segment(df, tesseller=tesseller, box=box)
    # every translocation in one cell, which has an area
    index = mesh.cell_index(df)
    assert index.min() >= 0 and index.max() < size_of_mesh
    np.testing.assert_array_equal(partition.cell_index, index)
    assert (mesh.areas[index] > 0).all() and len(partition) == len(df)
    assert np.isfinite(mesh.areas).all() and (mesh.areas >= 0).all()
    np.testing.assert_allclose(mesh.areas.sum(), np.prod(mesh.box[1] - mesh.box[0]), rtol=1e-9)
    # neighbours
    assert mesh.adjacency.dtype == bool and mesh.adjacency.shape == (size_of_mesh, size_of_mesh)
    assert (mesh.adjacency != mesh.adjacency.T).nnz == 0 and not mesh.adjacency.diagonal().any()
    assert not mesh.adjacency[mesh.areas == 0].nnz
    if dimension == 2:
        for i in np.flatnonzero(mesh.areas):
            x, y = mesh.polygon(i).T
            area = 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))
            assert area == pytest.approx(mesh.areas[i], abs=1e-9)
    # the same again, from a copy and from the file
    again = pickle.loads(pickle.dumps(tesseller)).tessellate(df, box=box)
    same(mesh, again)
    np.testing.assert_array_equal(mesh.centers, again.centers)
    copy = pickle.loads(pickle.dumps(mesh.freeze()))
    same(mesh, copy)
    np.testing.assert_array_equal(copy.cell_index(df), index)
    # rows in another order
    order = np.random.default_rng(seed).permutation(len(df))
    shuffled = tesseller.tessellate(df.iloc[order].reset_index(drop=True), box=box)
    if name not in ROUNDED or kind == "even":
        same(mesh, shuffled)
    # elsewhere, and in another unit
    moved = df.copy()
    shift = np.array([4.0, -2.0, 8.0])[:dimension]
    moved[space] += shift
    if kind not in ("repeated", "on a line"):
        same(mesh, tesseller.tessellate(moved, box=box + shift), shift=shift)
    scaled = df.copy()
    scaled[space + [f"d{c}" for c in space]] *= 4.0
    larger = MAKERS[name](4 * resolution)
    if larger.min_distance:
        larger.min_distance = 4 * tesseller.min_distance
    if kind not in ("repeated", "on a line"):
        same(mesh, larger.tessellate(scaled, box=4 * box), scale=4.0)


@pytest.mark.parametrize("name", MAKERS)
def test_saved_and_applied_to_other_data(name, tmp_path):
    first, second = cloud("clustered", 200, 2, 0), cloud("even", 300, 2, 1)
    mesh = MAKERS[name](0.2).tessellate(first)
    mesh.save(tmp_path / "cells.npz")
    read = Tessellation.load(tmp_path / "cells.npz")
    same(mesh, read)
    np.testing.assert_array_equal(read.cell_index(second), mesh.cell_index(second))
    assert isinstance(segment(second, tesseller=read), Partition)


@pytest.mark.parametrize("name", [n for n in MAKERS if n not in ("random", "random empty")])
def test_points_at_the_same_place(name):
    df = cloud("even", 30, 2, 0)
    df[["x", "y"]] = 0.5
    with pytest.raises(SegmentationError, match="same place"):
        MAKERS[name](0.2).tessellate(df)
    with pytest.raises(SegmentationError, match="at least 2 translocations"):
        MAKERS[name](0.2).tessellate(df[:1])


def test_more_cells_than_32_bits_number_their_corners():
    centers = np.random.default_rng(0).random((40_000, 2))
    mesh = Tessellation.from_centers(centers, np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert mesh.areas.sum() == pytest.approx(1.0, rel=1e-9)
    assert (mesh.areas > 0).all()
