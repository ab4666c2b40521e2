"""Helpers that bound, match and measure regions, against TRamWAy's and plain statements of the rules."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tramway_dask as td
from tramway_dask.errors import RegionError
from tramway_dask.roi.utils import distance_to_roi_center, group_roi, set_contiguous_time_support_by_count
from tramway_dask.segmentation import SlidingWindow, Squares, segment

BOXES = [([0.0, 0.0], [0.5, 0.5]), ([0.4, 0.4], [1.0, 1.0]), ([0.6, 0.0], [0.9, 0.3])]


def bursts(seed: int = 0, size: int = 1500) -> pd.DataFrame:
    """Return translocations, one per trajectory, denser in the middle of the record."""
    rng = np.random.default_rng(seed)
    df = pd.DataFrame({"x": rng.random(size), "y": rng.random(size), "t": np.sort(rng.normal(50, 15, size))})
    df.insert(0, "n", np.arange(1, size + 1))
    return df.assign(dx=0.01, dy=0.0, dt=0.04)


def arrays(boxes):
    return [(np.array(lower), np.array(upper)) for lower, upper in boxes]


def equal(ours, theirs):
    assert len(ours) == len(theirs)
    for (a, b), (c, d) in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.r_[a, b], np.r_[c, d], rtol=1e-12)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize(
    ("window", "count", "segments"),
    [(10, 30, 1), ((10, 5), 60, 3), ((4, 3), 25, 2), (10, 95, 2), (10, 500, 1)],
)
def test_time_support_as_in_tramway(window, count, segments, group):
    from tramway.analyzer.roi import utils as theirs

    # one trajectory: TRamWAy drops those with a single translocation
    df = bursts().assign(n=1)
    space = {"": arrays(BOXES[:2]), "spot": arrays(BOXES[2:])}
    expected = theirs.set_contiguous_time_support_by_count(df, space, window, count, segments, group)
    shuffled = df.sample(frac=1, random_state=0)
    found = set_contiguous_time_support_by_count(shuffled, space, window, count, segments, group)
    assert set(found) == set(expected) == {"", "spot"}
    for label in expected:
        equal(found[label], expected[label])
    assert (count == 500) == (not found[""])


def test_time_support_holds_what_it_promises():
    df = bursts(1)
    found = set_contiguous_time_support_by_count(df, BOXES, (8, 4), 40, min_segments=2)
    assert 0 < len(found) < 3
    a = td.RWAnalyzer()
    a.spt_data.from_dataframe(df)
    a.roi.from_bounding_boxes(found)
    a.tesseller, a.time = Squares(resolution=0.25), SlidingWindow(8, 4)
    for region in a.roi.as_support_regions():
        partition = a.sampler.sample(region.crop())
        counts = [len(part.points) for part in a.time.as_time_segments(partition, return_times=False)]
        # the window slides from the first translocation, not from the start of the support
        assert len(counts) >= 2 and min(counts) >= 30


def test_holes_end_a_support():
    df = bursts(2)
    df = df[(df["t"] < 45) | (df["t"] > 58)]
    whole = set_contiguous_time_support_by_count(df, BOXES[:1], 5, 20)
    ((lower, upper),) = set_contiguous_time_support_by_count(df, BOXES[:1], 5, 4, start_stop_min_points=20)
    assert whole[0][0][2] < 45 and whole[0][1][2] > 58
    assert (upper[2] < 50) != (lower[2] > 55)
    frame = pd.DataFrame([[0, 0.5, 0, 0.5]], columns=["x min", "x max", "y min", "y max"])
    equal(set_contiguous_time_support_by_count(df, frame, 5, 20), whole)


@pytest.mark.parametrize(
    "options",
    [
        {"time_window": 0},
        {"time_window": (5, -1)},
        {"min_points": 0},
        {"min_points": 9, "start_stop_min_points": 4},
    ],
)
def test_time_support_of_nonsense(options):
    with pytest.raises(RegionError):
        set_contiguous_time_support_by_count(
            bursts(), BOXES, **{"time_window": 5, "min_points": 9, **options}
        )


def random_boxes(seed, count, dimension):
    rng = np.random.default_rng(seed)
    lower = rng.random((count, dimension))
    return [(a, a + b) for a, b in zip(lower, rng.uniform(0.2, 0.6, (count, dimension)), strict=True)]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    dimension=st.sampled_from([2, 3]),
    overlap=st.sampled_from([0.2, 0.5, 0.75]),
    only=st.booleans(),
    two=st.booleans(),
)
def test_groups_as_in_tramway(seed, dimension, overlap, only, two):
    from tramway.analyzer.roi import utils as theirs

    lists = [random_boxes(seed, 8, dimension)]
    if two:
        lists.append(random_boxes(seed + 1, 5, dimension))
    options = {"overlap": overlap, "return_matches_only": only}
    equal(group_roi(*lists, **options), theirs.group_roi(*lists, **options))


def test_groups_of_nonsense():
    for bad in (
        lambda: group_roi(BOXES, BOXES, BOXES),
        lambda: group_roi(BOXES, overlap=0),
        lambda: group_roi(BOXES, random_boxes(0, 2, 3)),
        lambda: group_roi([*BOXES, *random_boxes(0, 2, 3)]),
    ):
        with pytest.raises(RegionError):
            bad()


def test_distance_to_the_center():
    a = td.RWAnalyzer()
    a.spt_data.from_dataframe(bursts())
    a.roi.from_bounding_boxes([([0, 0, 40], [0.5, 0.5, 60])])
    region = next(iter(a.roi.as_individual_roi()))
    for window in (None, SlidingWindow(5)):
        partition = segment(region.crop(), tesseller=Squares(resolution=0.1), time=window)
        mesh = partition.tessellation.spatial_mesh
        expected = np.hypot(*(mesh.centers - 0.25).T)
        for sampling in (partition, mesh):
            np.testing.assert_allclose(distance_to_roi_center(region, sampling), expected)
    whole = td.RWAnalyzer()
    whole.spt_data.from_dataframe(bursts())
    with pytest.raises(RegionError, match="whole field"):
        distance_to_roi_center(next(iter(whole.roi.as_support_regions())), mesh)
