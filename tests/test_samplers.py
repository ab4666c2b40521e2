"""Samplers, against a plain statement of the rule and against TRamWAy's."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramway_dask.errors import SpecificationError
from tramway_dask.segmentation import Hexagons, Knn, SlidingWindow, Squares, VoronoiSampler, sampler, segment


def table(seed, size=400, dimension=2, decimals=None):
    rng = np.random.default_rng(seed)
    space = list("xyz"[:dimension])
    df = pd.DataFrame(rng.beta(2, 1.2, (size, dimension)), columns=space)
    df.insert(0, "n", np.arange(size) // 10)
    df["t"] = rng.uniform(0, 10, size)
    for c in space:
        df[f"d{c}"] = 0.02 * rng.standard_normal(size)
    df["dt"] = 0.04
    return df if decimals is None else df.round({c: decimals for c in space})


def members(partition, cell):
    return set(partition.rows(cell).tolist())


def rule(xy, centers, least, most, floor):
    """Return the set of rows of each cell, by the rule applied cell by cell."""
    squared = ((xy[:, None] - centers[None]) ** 2).sum(axis=2)
    own = [np.flatnonzero(squared.argmin(axis=1) == c) for c in range(len(centers))]
    found = []
    for c, rows in enumerate(own):
        count = len(rows)
        rank = np.lexsort((np.arange(len(xy)), squared[:, c]))
        if count < floor:
            found.append(set())
            continue
        if most is not None and count > most:
            rows = [i for i in rank if i in set(rows)][:most]
        rows = set(int(i) for i in rows)
        if least is not None and count < least and (count or not floor):
            others = [int(i) for i in rank[:least] if i not in rows]
            rows |= set(others[: least - count])
        found.append(rows)
    return found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([5, 60, 300]),
    dimension=st.sampled_from([2, 3]),
    decimals=st.sampled_from([None, 1]),
    least=st.sampled_from([None, 1, 7, 30]),
    extra=st.sampled_from([None, 0, 10]),
    floor=st.sampled_from([0, 3, 10]),
    windows=st.booleans(),
)
def test_rule(seed, size, dimension, decimals, least, extra, floor, windows):
    df = table(seed, size, dimension, decimals)
    most = None if extra is None else (least or 1) + extra
    chosen = Knn((least, most), min_location_count=floor) if least or most else VoronoiSampler(floor)
    cells = Squares(resolution=0.3).tessellate(df, box=[[0.0] * dimension, [1.0] * dimension])
    # rounded coordinates make exact ties, which the plain rule decides by its own arithmetic
    time = SlidingWindow(4, 2) if windows else None
    partition = segment(df, tesseller=cells, sampler=chosen, time=time)
    m = len(cells)
    bounds = [(-np.inf, np.inf)] if partition.segments is None else partition.segments
    xy = df[list("xyz"[:dimension])].to_numpy()
    for k, (start, stop) in enumerate(bounds):
        rows = np.flatnonzero((df["t"] >= start) & (df["t"] < stop))
        if not len(rows):
            assert partition.location_count[k * m : (k + 1) * m].sum() == 0
            continue
        expected = rule(xy[rows], cells.centers, least, most, floor)
        for c in range(m):
            got = members(partition, k * m + c)
            if decimals is None:
                assert got == set(rows[sorted(expected[c])].tolist())
            elif len(got) != len(expected[c]):
                assert tied(xy[rows], cells.centers)


def tied(xy, centers):
    squared = np.sort(((xy[:, None] - centers[None]) ** 2).sum(axis=2), axis=1)
    return (squared[:, 1] - squared[:, 0] < 1e-12).any()


def tramway_sets(df, knn, centers_from, floor=0):
    from tramway.analyzer import RWAnalyzer, tessellers
    from tramway.analyzer import sampler as samplers

    analyzer = RWAnalyzer()
    analyzer.spt_data.from_dataframe(df)
    analyzer.tesseller = getattr(tessellers, type(centers_from).__name__)
    analyzer.tesseller.resolution = centers_from.resolution
    analyzer.sampler = samplers.Knn(knn)
    analyzer.sampler.min_location_count = floor
    partition = analyzer.sampler.sample(df)
    index = partition.cell_index
    size = len(partition.tessellation.cell_centers)
    found = [set() for _ in range(size)]
    if isinstance(index, np.ndarray):
        index = (np.flatnonzero(index >= 0), index[index >= 0])
    for row, cell in zip(*index, strict=True):
        found[cell].add(int(row))
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cells", [Squares(resolution=0.11), Hexagons(resolution=0.13)])
@pytest.mark.parametrize(
    ("knn", "floor"), [(10, 0), (40, 0), ((10, 20), 0), ((30, 35), 0), (20, 4), ((9, 12), 3)]
)
def test_knn_as_in_tramway(cells, knn, floor):
    df = table(7, 1200)
    expected = tramway_sets(df, knn, cells, floor)
    partition = Knn(knn, min_location_count=floor).sample(df, cells)
    assert [members(partition, i) for i in range(len(expected))] == expected


@pytest.mark.filterwarnings("ignore")
def test_fewer_points_than_asked_for_go_to_all_cells():
    df = table(3, 20)
    expected = tramway_sets(df, 50, Squares(resolution=0.3))
    partition = Knn(50).sample(df, Squares(resolution=0.3))
    assert [members(partition, i) for i in range(len(expected))] == expected
    assert (partition.location_count == 20).all()


def test_counts_are_within_the_bounds():
    df = table(4, 3000)
    counts = Knn((50, 100)).sample(df, Hexagons(resolution=0.2)).location_count
    assert counts.min() == 50 and counts.max() == 100


def test_min_location_count_with_windows_keeps_segments_apart():
    df = table(5, 2000)
    cells = Squares(resolution=0.15)
    window = SlidingWindow(2.5)
    free = segment(df, tesseller=cells, time=window)
    strict = segment(df, tesseller=cells, time=window, sampler=VoronoiSampler(min_location_count=12))
    kept = free.location_count >= 12
    np.testing.assert_array_equal(strict.location_count, np.where(kept, free.location_count, 0))
    size = strict.tessellation.spatial_mesh.number_of_cells
    cells_of = strict.cell_of_assignment
    bounds = strict.segments[cells_of // size]
    times = df["t"].to_numpy()[strict.indices]
    assert ((bounds[:, 0] <= times) & (times < bounds[:, 1])).all()
    nearest = strict.tessellation.spatial_mesh.cell_index(df)
    np.testing.assert_array_equal(cells_of % size, nearest[strict.indices])


def test_knn_parameters():
    assert Knn(10) == Knn(min_nn=10) == Knn((10, None)) == sampler.from_nearest_neighbors(10)
    assert Knn((5, 9)) == Knn(min_nn=5, max_nn=9) != Knn(5)
    cells = Knn(10)
    cells.knn = (3, 6)
    assert (cells.min_nn, cells.max_nn, cells.knn) == (3, 6, (3, 6))
    assert pickle.loads(pickle.dumps(cells)) == cells
    assert cells.replace(max_nn=8) == Knn((3, 8))
    assert repr(Knn(10)) == "Knn(min_nn=10)"
    assert sampler.from_voronoi() == VoronoiSampler()
    for bad in (
        lambda: Knn((9, 5)),
        lambda: Knn(0),
        lambda: Knn(3, min_nn=2),
        lambda: Knn(len),
        lambda: Knn((1, 2, 3)),
    ):
        with pytest.raises(SpecificationError):
            bad()


def test_sample_takes_trajectories_and_needs_cells():
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"n": np.repeat(np.arange(20), 5), "x": rng.random(100), "y": rng.random(100)})
    df["t"] = np.tile(0.04 * np.arange(5), 20)
    partition = VoronoiSampler().sample(df, Squares(resolution=0.3))
    assert len(partition) == 80 and "dx" in partition.points
    with pytest.raises(SpecificationError, match="no tesseller"):
        VoronoiSampler().sample(df)

    class Analyzer:
        tesseller = Squares(resolution=0.3)
        time = SlidingWindow(0.03, 0.06)

    analyzer = Analyzer()
    partition = VoronoiSampler().bind(analyzer).sample(df)
    assert len(partition.segments) == 3 and partition.param["time"]["duration"] == 0.03
