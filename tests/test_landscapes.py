"""Simulated landscapes that change in time: the truth, and that walks feel it; recovered from trajectories."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from pandas.testing import assert_frame_equal

from tramway_dask import simulate
from tramway_dask.errors import SpecificationError
from tramway_dask.inference import DV
from tramway_dask.segmentation import sampler, segment, tessellers
from tramway_dask.segmentation import time as windows
from tramway_dask.spt_data.tables import translocations


def test_a_field_that_rests_is_the_field():
    options = {"trajectory_count": 5, "duration": 1.0, "seed": 3}
    well = simulate.well_potential((0.5, 0.5), 3, 0.2)
    still = simulate.random_walk(diffusivity=0.1, potential=well, start="stationary", **options)
    resting = simulate.random_walk(
        diffusivity=simulate.changing_diffusivity(0.1, lambda t: 1.0),
        potential=simulate.moving_sink([(0.5, 0.5)], [0.0], depth=3, radius=0.2),
        start="stationary",
        **options,
    )
    assert_frame_equal(still, resting)


def test_truth_of_a_moving_sink():
    sink = simulate.moving_sink([(0, 0, 0), (1, 0, 2)], [1, 3], depth=2, radius=0.3)
    centers = np.array([[0.5, 0.0, 1.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(sink.center(2.0), centers[0])
    for t, deepest in ((2.0, 0), (0.0, 1), (-5.0, 1)):
        found = simulate.truth(centers, potential=sink, t=t)
        assert found["potential"].idxmin() == deepest and found["potential"].min() == -2
        np.testing.assert_allclose(found.loc[deepest, ["force x", "force y", "force z"]], 0, atol=1e-12)
    with pytest.raises(SpecificationError, match="expected the time"):
        simulate.truth(centers, potential=sink)
    # what does not change is the same at any time
    d = simulate.truth(centers, diffusivity=0.2, t=4.0)
    assert d["diffusivity"].tolist() == [0.2, 0.2]


def test_a_diffusivity_that_grows():
    d = simulate.changing_diffusivity(0.1, lambda t: 1 + t)
    df = simulate.random_walk(
        diffusivity=d, trajectory_count=400, duration=4.0, time_step=0.1, substeps=1, boundary="free", seed=1
    )
    moves = translocations(df)
    middle = moves["t"].to_numpy() + 0.05
    scaled = moves[["dx", "dy"]].to_numpy() / np.sqrt(2 * 0.1 * (1 + middle) * 0.1)[:, None]
    # Gaussian of unit variance throughout
    for part in np.array_split(np.argsort(middle), 4):
        assert scaled[part].var() == pytest.approx(1, abs=5 * np.sqrt(2 / scaled[part].size))
    assert simulate.truth([[0.0, 0.0]], diffusivity=d, t=3.0)["diffusivity"][0] == pytest.approx(0.4)


def test_walkers_follow_a_sink():
    sink = simulate.moving_sink([(0.2, 0.2), (0.8, 0.8)], [0, 10], depth=6, radius=0.1)
    df = simulate.random_walk(
        diffusivity=0.1, potential=sink, trajectory_count=100, duration=10, start="boltzmann", seed=2
    )
    for t in (0.0, 5.0, 10.0):
        now = df.loc[np.isclose(df["t"], t), ["x", "y"]].to_numpy()
        near = np.sqrt(((now - sink.center(t)) ** 2).sum(axis=1)) < 0.3
        assert near.mean() > 0.7


def test_a_sink_is_recovered_from_trajectories_better_than_window_by_window():
    sink = simulate.moving_sink([(0.3, 0.3), (0.7, 0.7)], [0, 20], depth=3, radius=0.15)
    df = simulate.random_walk(
        diffusivity=0.05,
        potential=sink,
        trajectory_count=20,
        duration=20,
        substeps=5,
        start="boltzmann",
        localization_precision=0.01,
        seed=1,
    )
    cells = segment(
        translocations(df),
        tesseller=tessellers.Hexagons(resolution=0.15),
        sampler=sampler.VoronoiSampler(),
        time=windows.SlidingWindow(duration=1.0),
    )
    window = np.asarray(cells.segment_of_cell)
    count = np.asarray(cells.location_count)

    def misfit(**priors):
        maps = DV(diffusivity_prior=100, **priors).infer(cells, sigma=0.01)
        assert maps.attrs["converged"]
        total = 0.0
        for k, (begin, end) in enumerate(cells.segments):
            rows = maps.table.index[window[maps.table.index] == k]
            true = simulate.truth(cells.centers[rows], potential=sink, t=(begin + end) / 2)["potential"]
            apart = maps["potential"][rows].to_numpy() - true.to_numpy()
            apart -= np.average(apart, weights=count[rows])
            total += np.average(apart**2, weights=count[rows])
        return np.sqrt(total / len(cells.segments))

    alone = min(misfit(potential_prior=w) for w in (0.3, 1.0, 3.0))
    joint = misfit(potential_prior=0.3, potential_time_prior=3.0, diffusivity_time_prior=1e4)
    assert joint < 0.8 * alone


@pytest.mark.parametrize(
    "path, times, options, message",
    [
        ([(0, 0), (1, 1)], [0], {}, "one place"),
        ([0, 1], [0, 1], {}, "one place"),
        ([(0, 0), (1, 1)], [1, 0], {}, "ascend"),
        ([(0, 0), (1, np.nan)], [0, 1], {}, "finite"),
        ([(0, 0)], [0], {"radius": 0.0}, "radius"),
        ([(0, 0)], [0], {"depth": np.inf}, "depth"),
    ],
)
def test_sinks_that_cannot_be(path, times, options, message):
    with pytest.raises(SpecificationError, match=message):
        simulate.moving_sink(path, times, **options)


def test_fields_that_cannot_be():
    with pytest.raises(SpecificationError, match="function of the time"):
        simulate.changing_diffusivity(0.1, 3.0)
    small = {"trajectory_count": 2, "duration": 1.0}
    for factor, message in ((lambda t: np.nan, "finite number at t ="), (lambda t: -1.0, "diffusivity")):
        with pytest.raises(SpecificationError, match=message):
            simulate.random_walk(diffusivity=simulate.changing_diffusivity(0.1, factor), **small)
    with pytest.raises(SpecificationError, match="potential"):
        simulate.random_walk(potential=SimpleNamespace(at=lambda t: 3), **small)
