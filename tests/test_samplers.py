"""Samplers, against a plain statement of the rule and against TRamWAy's."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramway_dask.errors import SegmentationError, SpecificationError
from tramway_dask.segmentation import (
    Hexagons,
    Knn,
    SlidingWindow,
    SphericalSampler,
    Squares,
    TimeKnn,
    VoronoiSampler,
    sampler,
    segment,
)


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


def tramway_sets(df, knn, centers_from, floor=0, kind="Knn", window=None):
    from tramway.analyzer import RWAnalyzer, tessellers
    from tramway.analyzer import sampler as samplers

    analyzer = RWAnalyzer()
    analyzer.spt_data.from_dataframe(df)
    analyzer.tesseller = getattr(tessellers, type(centers_from).__name__)
    analyzer.tesseller.resolution = centers_from.resolution
    analyzer.sampler = getattr(samplers, kind)(knn)
    if window is not None:
        analyzer.time.from_sliding_window(*window)
    analyzer.sampler.min_location_count = floor
    partition = analyzer.sampler.sample(df)
    index = partition.cell_index
    size = partition.number_of_cells
    found = [set() for _ in range(size)]
    if isinstance(index, np.ndarray):
        index = (np.flatnonzero(index >= 0), index[index >= 0])
    for row, cell in zip(*index, strict=True):
        found[cell].add(int(row))
    return found


@pytest.mark.oracle
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


def parts(df, partition):
    """Yield each segment's rows and the number of its first cell."""
    size = partition.tessellation.spatial_mesh.number_of_cells
    if partition.segments is None:
        yield np.arange(len(df)), (-np.inf, np.inf), 0
    for k, (start, stop) in enumerate([] if partition.segments is None else partition.segments):
        yield np.flatnonzero((df["t"] >= start) & (df["t"] < stop)), (start, stop), k * size


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([5, 150]),
    dimension=st.sampled_from([2, 3]),
    radii=st.sampled_from([0.3, (0.1, 0.2), (0.2, None), (None, 0.15), lambda i: 0.05 * (i % 4 + 1)]),
    floor=st.sampled_from([0, 6]),
    windows=st.booleans(),
)
def test_balls(seed, size, dimension, radii, floor, windows):
    df = table(seed, size, dimension)
    cells = Squares(resolution=0.3).tessellate(df, box=[[0.0] * dimension, [1.0] * dimension])
    chosen = SphericalSampler(radii, min_location_count=floor)
    partition = segment(df, tesseller=cells, sampler=chosen, time=SlidingWindow(4, 2) if windows else None)
    xy = df[list("xyz"[:dimension])].to_numpy()
    apart = np.sqrt(((xy[:, None] - cells.centers[None]) ** 2).sum(axis=2))
    own = apart.argmin(axis=1)
    for rows, _, first in parts(df, partition):
        for c in range(len(cells)):
            both = radii(c) if callable(radii) else radii
            low, high = both if isinstance(both, tuple) else (both, both)
            mine = rows[own[rows] == c]
            expected = set(mine[apart[mine, c] <= (np.inf if high is None else high)].tolist())
            expected |= set(rows[apart[rows, c] <= (-1 if low is None else low)].tolist())
            if len(mine) < floor or (floor and not len(mine)):
                expected = set()
            assert members(partition, first + c) == expected


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_balls_as_in_tramway():
    df = table(7, 600)
    cells = Hexagons(resolution=0.13)
    # TRamWAy compares distances with the square of a single radius
    expected = tramway_sets(df, 0.1**0.5, cells, kind="SphericalSampler")
    partition = SphericalSampler(0.1).sample(df, cells)
    assert [members(partition, i) for i in range(len(expected))] == expected
    expected = tramway_sets(df, (None, 0.05), cells, kind="SphericalSampler")
    partition = sampler.from_spheres((None, 0.05)).sample(df, cells)
    assert [members(partition, i) for i in range(len(expected))] == expected


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([5, 150]),
    dimension=st.sampled_from([2, 3]),
    bounds=st.sampled_from([7, (5, 9), (None, 3), (40, 50), lambda i, k: (2 + i % 3, 3 + i % 3 + k)]),
    floor=st.sampled_from([0, 3]),
    window=st.sampled_from([(4, 2), (1.5, 2.5), (2, 2)]),
)
def test_nearest_in_time(seed, size, dimension, bounds, floor, window):
    df = table(seed, size, dimension)
    cells = Squares(resolution=0.4).tessellate(df, box=[[0.0] * dimension, [1.0] * dimension])
    chosen = TimeKnn(bounds, min_location_count=floor)
    partition = segment(df, tesseller=cells, sampler=chosen, time=SlidingWindow(*window))
    own, t = cells.cell_index(df), df["t"].to_numpy()
    for k, (rows, times, first) in enumerate(parts(df, partition)):
        for c in range(len(cells)):
            both = bounds(c, k) if callable(bounds) else bounds
            low, high = both if isinstance(both, tuple) else (both, None)
            mine = rows[own[rows] == c]
            every = np.flatnonzero(own == c)
            ranked = every[np.argsort(np.abs(t[every] - np.mean(times)))]
            expected = set(mine.tolist())
            if len(mine) < floor or (floor and not len(mine)):
                expected = set()
            elif high is not None and len(mine) > high:
                expected = set(ranked[:high].tolist())
            elif low is not None and len(mine) < low:
                expected = set(ranked[:low].tolist())
            assert members(partition, first + c) == expected


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("least", "floor"), [(8, 0), (25, 0), (12, 3)])
def test_nearest_in_time_as_in_tramway(least, floor):
    df = table(8, 400)
    cells = Hexagons(resolution=0.3)
    expected = tramway_sets(df, least, cells, floor, "TimeKnn", (3.0, 1.5))
    chosen = TimeKnn(least, min_location_count=floor)
    partition = segment(df, tesseller=cells, sampler=chosen, time=SlidingWindow(3, 1.5))
    assert [members(partition, i) for i in range(len(expected))] == expected


def test_equal_times_go_to_the_earlier_and_lower_row():
    df = table(1, 12)
    df["t"] = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    cells = Squares(resolution=2)
    cells = cells.tessellate(df, box=[[-2, -2], [2, 2]])
    assert len(cells) == 1
    counts = {m: TimeKnn(m) for m in (3, 4, 5)}
    rows = {
        m: segment(df, tesseller=cells, sampler=s, time=SlidingWindow(1, 2, start_time=2)).rows(0).tolist()
        for m, s in counts.items()
    }
    # the first segment is [2, 3); its middle 2.5 is as far from 2 as from 3, from 1 as from 4
    assert rows == {3: [4, 5, 6], 4: [4, 5, 6, 7], 5: [3, 4, 5, 6, 7]}


def test_nearest_in_time_needs_segments():
    with pytest.raises(SegmentationError, match="TimeKnn looks farther in time .* needs time segments"):
        segment(table(1), tesseller=Squares(resolution=0.3), sampler=TimeKnn(5))


def test_a_function_of_the_cell_gives_the_bounds():
    df = table(6, 900)
    cells = Hexagons(resolution=0.2).tessellate(df)
    for window in (None, SlidingWindow(5)):
        same = segment(df, tesseller=cells, sampler=Knn((8, 20)), time=window)
        given_by_cell = segment(df, tesseller=cells, sampler=Knn(lambda i: (8, 20)), time=window)
        np.testing.assert_array_equal(same.indices, given_by_cell.indices)
        np.testing.assert_array_equal(same.indptr, given_by_cell.indptr)
    some = segment(df, tesseller=cells, sampler=Knn(lambda i: None if i % 2 else (5 * i + 1, None)))
    voronoi = segment(df, tesseller=cells)
    expected = [max(n, 0 if i % 2 else 5 * i + 1) for i, n in enumerate(voronoi.location_count)]
    assert some.location_count.tolist() == expected


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_functions_as_in_tramway():
    df = table(7, 1200)
    cells = Squares(resolution=0.11)

    def most(i):
        return None, 3 + i % 5

    expected = tramway_sets(df, most, cells)
    partition = Knn(most).sample(df, cells)
    assert [members(partition, i) for i in range(len(expected))] == expected


@pytest.mark.oracle
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
        lambda: Knn("many"),
        lambda: Knn((1, 2, 3)),
    ):
        with pytest.raises(SpecificationError):
            bad()


def test_parameters_of_balls_and_times():
    ball = SphericalSampler(0.2)
    assert ball == SphericalSampler((0.2, 0.2)) == SphericalSampler(min_radius=0.2, max_radius=0.2)
    assert ball.radius == 0.2 and repr(ball) == "SphericalSampler(min_radius=0.2, max_radius=0.2)"
    ball.radius = (0.1, None)
    assert (ball.min_radius, ball.max_radius, ball.radius) == (0.1, None, (0.1, None))

    def near(i):
        return 0.1

    def far(i):
        return 0.2

    ball.radius = near
    assert ball.radius is near and ball.min_radius is None
    assert ball.to_dict()["bounds"]["function"].endswith("near")
    assert ball == SphericalSampler(near) != SphericalSampler(far)
    ball.radius = 0.2
    assert ball == SphericalSampler(0.2)
    assert TimeKnn((3, 5)) == sampler.from_nearest_time_neighbors((3, 5)) != Knn((3, 5))
    assert TimeKnn((3, 5)).replace(max_nn=7).knn == (3, 7)
    assert pickle.loads(pickle.dumps(TimeKnn((3, 5), min_location_count=2))).min_location_count == 2


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (lambda: SphericalSampler(-1), "min_radius: expected a number above 0"),
        (lambda: SphericalSampler((0.2, 0.1)), "min_radius 0.2 is above max_radius 0.1"),
        (lambda: SphericalSampler(0.2, max_radius=0.3), "either `radius` or `min_radius` and `max_radius`"),
        (lambda: SphericalSampler("small"), "expected a number"),
        (lambda: TimeKnn((9, 5)), "min_nn 9 is above max_nn 5"),
        (lambda: TimeKnn(2.5), "whole number"),
        (lambda: Knn(min_nn=2, bounds=len), "either the function `bounds`, or numbers"),
        (lambda: sampled(SphericalSampler()), "radius is not set"),
        (lambda: sampled(Knn(lambda i: (9, 5))), "cell 0: min_nn 9 is above max_nn 5"),
        (lambda: sampled(Knn(lambda i: -i)), "bounds of cell 0: expected a whole number above 0"),
        (lambda: sampled(SphericalSampler(lambda i: "a")), "bounds of cell 0"),
    ],
)
def test_bounds_that_cannot_be(bad, match):
    with pytest.raises(SpecificationError, match=match):
        bad()


def sampled(chosen):
    return chosen.sample(table(0), Squares(resolution=0.3))


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
