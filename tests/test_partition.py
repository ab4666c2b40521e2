"""The partition: arrays, adjacency, copies."""

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
    Knn,
    Partition,
    SlidingWindow,
    Squares,
    VoronoiSampler,
    segment,
)


def table(seed=0, size=500, dimension=2):
    rng = np.random.default_rng(seed)
    space = list("xyz"[:dimension])
    df = pd.DataFrame(rng.beta(2, 1.5, (size, dimension)), columns=space)
    df.insert(0, "n", np.arange(size) // 10)
    df["t"] = rng.uniform(0, 10, size)
    for c in space:
        df[f"d{c}"] = 0.02 * rng.standard_normal(size)
    df["dt"] = 0.04
    df.index = df.index[::-1]
    df.attrs = {"roi": {"label": "roi007", "bounding_box": None}, "localization_precision": 0.02}
    return df


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    dimension=st.sampled_from([2, 3]),
    kind=st.sampled_from([Squares, KMeans, Hexagons]),
    window=st.sampled_from([None, SlidingWindow(3), SlidingWindow(4, 1)]),
)
def test_every_point_is_in_one_cell_per_segment(seed, dimension, kind, window):
    if kind is Hexagons and dimension == 3:
        return
    df = table(seed, 200, dimension)
    partition = segment(df, tesseller=kind(resolution=0.3), time=window)
    cells = partition.cell_of_assignment
    mesh = partition.tessellation.spatial_mesh
    nearest = mesh.cell_index(partition.points)
    np.testing.assert_array_equal(cells % len(mesh), nearest[partition.indices])
    pairs = np.column_stack([cells // len(mesh), partition.indices])
    assert len(np.unique(pairs, axis=0)) == len(partition) == partition.location_count.sum()
    times = partition.points["t"].to_numpy()
    if window is None:
        assert (partition.cell_index == nearest).all()
    else:
        inside = [(times >= a) & (times < b) for a, b in partition.segments]
        assert np.sum(inside) == len(partition)
    again = segment(df, tesseller=kind(resolution=0.3), time=window)
    np.testing.assert_array_equal(again.indices, partition.indices)


def test_attributes():
    df = table()
    partition = segment(df, tesseller=Hexagons(resolution=0.2))
    assert isinstance(partition.points.index, pd.RangeIndex)
    assert partition.number_of_cells == len(partition.centers) == len(partition.areas)
    assert partition.segments is None and not partition.segment_of_cell.any()
    assert partition.time_adjacency().nnz == 0
    assert partition.bounding_box.loc["max", "x"] == df["x"].max()
    assert list(partition.bounding_box.columns) == ["x", "y", "t"]
    assert partition.param["method"] == "Hexagons"
    assert partition.param["tesseller"]["resolution"] == 0.2
    assert partition.param["roi"]["label"] == "roi007" and partition.region_label == "roi007"
    assert partition.param["localization_precision"] == 0.02
    assert repr(partition).startswith("Partition(500 translocations, ")
    assert "<td>500</td>" in partition._repr_html_() and len(partition._repr_html_()) < 10_000


def test_cell_index_marks_unassigned_points():
    partition = segment(table(), tesseller=Squares(resolution=0.2), sampler=VoronoiSampler(20))
    index = partition.cell_index
    assert (index == -1).sum() == len(partition.points) - len(partition) > 0


def test_adjacency_over_segments():
    partition = segment(table(), tesseller=Squares(resolution=0.25), time=SlidingWindow(3))
    mesh, count = partition.tessellation.spatial_mesh, len(partition.segments)
    size = len(mesh)
    dense = mesh.adjacency.toarray()
    np.testing.assert_array_equal(partition.adjacency().toarray(), np.kron(np.eye(count, dtype=bool), dense))
    links = np.eye(count, k=1) + np.eye(count, k=-1)
    np.testing.assert_array_equal(partition.time_adjacency().toarray(), np.kron(links, np.eye(size)) > 0)
    np.testing.assert_array_equal(partition.segment_of_cell, np.repeat(np.arange(count), size))
    np.testing.assert_array_equal(partition.centers, np.tile(mesh.centers, (count, 1)))
    assert partition.areas.sum() == pytest.approx(count * mesh.areas.sum())


def test_active_adjacency_leaves_out_empty_cells():
    partition = segment(table(size=60), tesseller=Squares(resolution=0.1))
    active = partition.active_adjacency().toarray()
    full = partition.location_count > 0
    assert 0 < full.sum() < len(full)
    np.testing.assert_array_equal(active, partition.adjacency().toarray() & full & full[:, None])


@pytest.mark.parametrize("window", [None, SlidingWindow(4, 2)])
@pytest.mark.parametrize("dimension", [2, 3])
def test_arrays_and_pickles_give_the_same_partition(window, dimension):
    df = table(1, dimension=dimension)
    partition = segment(df, tesseller=KMeans(resolution=0.3), time=window, sampler=Knn(10))
    partition.adjacency()
    rebuilt = Partition.from_arrays(points=partition.points, param=partition.param, **partition.to_arrays())
    for other in (rebuilt, pickle.loads(pickle.dumps(partition))):
        np.testing.assert_array_equal(other.indices, partition.indices)
        np.testing.assert_array_equal(other.indptr, partition.indptr)
        np.testing.assert_array_equal(other.areas, partition.areas)
        assert (other.adjacency() != partition.adjacency()).nnz == 0
        assert other.param == partition.param and repr(other) == repr(partition)
        for i in range(other.tessellation.spatial_mesh.number_of_cells):
            mine, theirs = (p.tessellation.spatial_mesh.polygon(i) for p in (partition, other))
            np.testing.assert_array_equal(mine, theirs)
        pd.testing.assert_frame_equal(other.points, partition.points)
    assert len(pickle.dumps(partition)) < 2e5


def test_arrays_that_do_not_fit():
    partition = segment(table(), tesseller=Squares(resolution=0.3))
    arrays = partition.to_arrays()
    with pytest.raises(SegmentationError, match="does not fit"):
        Partition.from_arrays(points=partition.points, **{**arrays, "indptr": arrays["indptr"][:-1]})
    with pytest.raises(SegmentationError, match="refers to row"):
        Partition.from_arrays(points=partition.points[:10], **arrays)


def test_one_segment():
    partition = segment(table(), tesseller=Squares(resolution=0.3), time=SlidingWindow(4, 2), sampler=Knn(6))
    part = partition.restrict_to_segment(1)
    size = part.number_of_cells
    np.testing.assert_array_equal(part.location_count, partition.location_count[size : 2 * size])
    assert part.param["segment"]["index"] == 1 and part.tessellation is partition.tessellation.spatial_mesh
    assert part.restrict_to_segment(0) is part
    for bad in (lambda: partition.restrict_to_segment(9), lambda: part.restrict_to_segment(1)):
        with pytest.raises(SegmentationError, match="no time segment"):
            bad()


def test_what_can_be_given():
    df = table()
    mesh = Squares(resolution=0.3).tessellate(df)
    assert segment(df, tesseller=mesh).tessellation is mesh
    assert len(segment(df, tesseller=Squares).param["tesseller"]) > 1
    assert segment(df, tesseller=Squares(resolution=0.3), sampler=VoronoiSampler).number_of_cells == len(mesh)
    whole = segment(df, tesseller=None, time=SlidingWindow(2))
    assert whole.number_of_cells == len(whole.segments) == 5
    assert segment(df[["x", "y"]].to_numpy(), tesseller=mesh).location_count.sum() == 500
    with pytest.raises(SpecificationError, match="no tesseller"):
        segment(df, tesseller=None)
    with pytest.raises(SegmentationError, match="no translocation in region 'roi007'"):
        segment(df[:0], tesseller=mesh)
    with pytest.raises(SegmentationError, match="3 space coordinates, the cells have 2"):
        segment(table(dimension=3), tesseller=mesh)
