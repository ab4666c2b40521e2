from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from tramway_dask.errors import DataError, SpecificationError
from tramway_dask.simulate import (
    HarmonicPotential,
    LinearField,
    add_noise,
    gaussian_patches,
    random_walk,
    truth,
    well_potential,
)
from tramway_dask.spt_data.tables import check_trajectories, translocations

BIG = ((-100, -100), (100, 100))


def moments(df):
    """Return mean displacement per time and diffusivity, per dimension."""
    moves = translocations(df)
    d = [c for c in ("dx", "dy", "dz") if c in moves]
    dt = moves["dt"].to_numpy()
    mean = moves[d].sum().to_numpy() / dt.sum()
    return (
        mean,
        ((moves[d].to_numpy() - mean * dt[:, None]) ** 2 / (2 * dt[:, None])).mean(axis=0),
        len(moves),
    )


@pytest.mark.parametrize("d", [2, 3])
def test_uniform_diffusivity_and_noise(d):
    box = (np.full(d, -100), np.full(d, 100))
    options = {"diffusivity": 0.2, "box": box, "trajectory_count": 200, "substeps": 1, "duration": 5}
    df = random_walk(**options)
    assert list(df) == ["n", *"xyz"[:d], "t"]
    drift, diffusivity, n = moments(df)
    assert np.allclose(diffusivity, 0.2, atol=5 * 0.2 * np.sqrt(2 / n))
    assert np.allclose(drift, 0, atol=5 * np.sqrt(2 * 0.2 / 0.05 / n))
    noisy = random_walk(**options, localization_precision=0.1)
    assert noisy.attrs["localization_precision"] == 0.1
    # the apparent diffusivity of noisy steps is D + σ²/dt
    assert np.allclose(moments(noisy)[1], 0.2 + 0.01 / 0.05, rtol=0.05)
    space = list("xyz"[:d])
    assert (noisy[space] - df[space]).to_numpy().std() == pytest.approx(0.1, rel=0.02)


def test_mean_displacement_is_diffusivity_times_force_plus_drift():
    df = random_walk(
        diffusivity=0.1, force=(5, -2), drift=(0.0, 1.0), box=BIG, trajectory_count=400, substeps=2
    )
    mean, diffusivity, n = moments(df)
    assert np.allclose(mean, [0.5, 0.8], atol=5 * np.sqrt(2 * 0.1 / 0.05 / n))
    assert np.allclose(diffusivity, 0.1, rtol=0.03)


def test_both_conventions_where_diffusivity_varies():
    field = LinearField(0.1, [0.1, 0.0])
    options = {"diffusivity": field, "box": ((0, 0), (1, 1)), "time_step": 0.01, "duration": 0.01,
               "trajectory_count": 200_000, "substeps": 1, "boundary": "free"}  # fmt: skip
    error = 5 * np.sqrt(2 * 0.15 / 0.01 / 200_000)
    assert np.allclose(moments(random_walk(**options))[0], [0, 0], atol=error)
    spurious = moments(random_walk(**options, convention="isothermal"))[0]
    assert np.allclose(spurious, [0.1, 0], atol=error)
    numeric = random_walk(**{**options, "diffusivity": lambda r: field(r)}, convention="isothermal")
    np.testing.assert_allclose(moments(numeric)[0], spurious, rtol=1e-6)


@pytest.mark.parametrize(
    ("convention", "weight"), [("ito", lambda x: 1 / (0.05 + 0.2 * x)), ("isothermal", np.ones_like)]
)
@pytest.mark.parametrize("start", ["uniform", "stationary"])
def test_stationary_density_of_varying_diffusivity(convention, weight, start):
    df = random_walk(
        diffusivity=LinearField(0.05, [0.2, 0]), convention=convention, start=start,
        trajectory_count=4000, duration=6.0, time_step=1.0, substeps=200 if start == "uniform" else 50,
    )  # fmt: skip
    last = df.groupby("n").tail(1)
    seen = np.histogram(last.x, bins=4, range=(0, 1))[0] / len(last)
    x = (np.arange(400) + 0.5) / 400
    expected = weight(x).reshape(4, -1).sum(axis=1) / weight(x).sum()
    assert np.allclose(seen, expected, atol=0.035)


@pytest.mark.parametrize("analytic", [True, False])
def test_boltzmann_density_of_a_trap(analytic):
    trap = HarmonicPotential(np.array([0.5, 0.5]), 50.0)
    df = random_walk(
        diffusivity=0.2, potential=trap if analytic else lambda r: trap(r), trajectory_count=3000,
        duration=0.6, time_step=0.2, substeps=100,
    )  # fmt: skip
    last = df[df.t > 0.5]
    assert np.allclose(last[["x", "y"]].var(), 1 / 50, rtol=0.1)
    assert np.allclose(last[["x", "y"]].mean(), 0.5, atol=5 * np.sqrt(1 / 50 / 3000))


def test_boltzmann_density_of_a_well_is_drawn_and_kept():
    well = well_potential((0.3, 0.6), depth=3, radius=0.1)
    df = random_walk(
        potential=well, start="boltzmann", trajectory_count=10_000, duration=0.4, time_step=0.2, substeps=80
    )
    axis = (np.arange(200) + 0.5) / 200
    nodes = np.column_stack([g.ravel() for g in np.meshgrid(axis, axis, indexing="ij")])
    weight = np.exp(-well(nodes))

    def inside(points):
        return np.hypot(points[:, 0] - 0.3, points[:, 1] - 0.6) < 0.12

    expected = weight[inside(nodes)].sum() / weight.sum()
    for time in df.t.unique():
        seen = inside(df.loc[df.t == time, ["x", "y"]].to_numpy()).mean()
        assert seen == pytest.approx(expected, abs=5 * np.sqrt(expected * (1 - expected) / 10_000))


def test_reflecting_walls_keep_density_uniform():
    df = random_walk(diffusivity=1.0, trajectory_count=4000, duration=0.5, substeps=2)
    assert df[["x", "y"]].min().min() >= 0 and df[["x", "y"]].max().max() <= 1
    last = df[np.isclose(df.t, 0.5)]
    counts = np.histogram2d(last.x, last.y, bins=5, range=[(0, 1)] * 2)[0].ravel()
    assert ((counts - 160) ** 2 / 160).sum() < 60


def test_absorbing_walls_end_trajectories():
    options = {"diffusivity": 0.5, "trajectory_count": 300, "duration": 2.0}
    absorbed = random_walk(**options, boundary="absorb")
    assert absorbed[["x", "y"]].min().min() >= 0 and absorbed[["x", "y"]].max().max() <= 1
    assert len(absorbed) < len(random_walk(**options))
    assert (translocations(absorbed).dt < 0.051).all()
    assert random_walk(**options, boundary="free").x.max() > 1


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 30), st.floats(0.1, 3), st.one_of(st.none(), st.floats(0.02, 2)),
    st.sampled_from(["exponential", "fixed"]), st.sampled_from([2, 3]), st.integers(0, 2**40),
)  # fmt: skip
def test_tables_are_valid_and_seeds_reproduce(count, duration, lifetime, lifetimes, d, seed):
    options = {"trajectory_count": count, "duration": duration, "lifetime": lifetime, "dimension": d,
               "lifetimes": lifetimes, "substeps": 1, "localization_precision": 0.01}  # fmt: skip
    df = random_walk(**options, seed=seed)
    assert_frame_equal(check_trajectories(df, "walk"), df)
    assert df.n.unique().tolist() == list(range(1, count + 1))
    assert df.groupby("n").size().min() >= 2
    assert df.t.min() >= 0 and df.t.max() <= duration + 1e-9
    assert np.allclose(translocations(df).dt, 0.05)
    assert_frame_equal(random_walk(**options, seed=seed), df)
    sequence = np.random.SeedSequence(seed)
    assert_frame_equal(random_walk(**options, seed=sequence), random_walk(**options, seed=sequence))
    assert not random_walk(**options, seed=seed + 1).x.equals(df.x)


def test_lifetimes():
    options = {"trajectory_count": 3000, "duration": 250.0, "lifetime": 0.5, "substeps": 1}
    steps = random_walk(**options, min_locations=1).groupby("n").size()
    assert steps.mean() == pytest.approx(1 / (1 - np.exp(-0.1)), rel=0.08)
    fixed = random_walk(**options, lifetimes="fixed").groupby("n").size()
    assert fixed.median() == 11 and fixed.max() == 11


@pytest.mark.parametrize(
    "field",
    [
        well_potential([[0.2, 0.3], [0.7, 0.5]], depth=[3, 4], radius=[0.1, 0.2]),
        well_potential((0.2, 0.3, 0.5), depth=2, radius=0.3),
        HarmonicPotential(np.array([0.1, 0.2]), 3.0),
        gaussian_patches((0.5, 0.5), 0.3, 0.1, background=0.1),
        LinearField(0.1, np.array([0.2, 0.3])),
    ],
)
def test_forces_of_fields_are_their_slopes(field):
    d = 3 if np.shape(getattr(field, "centers", np.zeros((1, 2))))[1] == 3 else 2
    points = np.random.default_rng(0).uniform(0, 1, (50, d))
    for k in range(d):
        h = np.eye(d)[k] * 1e-6
        slope = (field(points + h) - field(points - h)) / 2e-6
        np.testing.assert_allclose(field.force(points)[:, k], -slope, atol=1e-6)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(field))(points), field(points))


def test_truth():
    well = well_potential((0.5, 0.5), 3, 0.2)
    centers = np.array([[0.5, 0.5], [0.7, 0.5]])
    out = truth(centers, diffusivity=0.1, potential=well, drift=(1, 2))
    assert list(out) == ["diffusivity", "potential", "force x", "force y", "drift x", "drift y"]
    assert out.index.name == "cell"
    assert out.potential[0] == -3
    assert out["force x"][1] == pytest.approx(-3 / 0.2 * np.exp(-0.5))
    numeric = truth(centers, potential=lambda r: well(r))
    np.testing.assert_allclose(numeric["force x"], out["force x"], atol=1e-5)


def test_add_noise():
    df = random_walk(trajectory_count=200, localization_precision=0.03)
    out = add_noise(df, 0.04, seed=1)
    assert out.attrs["localization_precision"] == pytest.approx(0.05)
    assert (out[["x", "y"]] - df[["x", "y"]]).to_numpy().std() == pytest.approx(0.04, rel=0.02)
    assert_frame_equal(add_noise(df, 0.04, seed=1), out)
    with pytest.raises(DataError, match="localizations"):
        add_noise(translocations(df), 0.1)
    with pytest.raises(SpecificationError, match="sigma"):
        add_noise(df, -1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"diffusivity": -1}, "diffusivity"),
        ({"diffusivity": lambda r: r}, "shape"),
        ({"diffusivity": lambda r: -r[:, 0]}, "diffusivity: the function gives"),
        ({"force": (1, 2, 3)}, "force: expected 2"),
        ({"force": lambda r: r[:, 0]}, "shape"),
        ({"potential": 3.0}, "potential"),
        ({"box": ((0, 0), (0, 1))}, "box"),
        ({"dimension": 4}, "dimension"),
        ({"duration": 0.01}, "duration"),
        ({"time_step": 0}, "time_step"),
        ({"substeps": 1.5}, "substeps"),
        ({"trajectory_count": 0}, "trajectory_count"),
        ({"lifetime": -1}, "lifetime"),
        ({"start": "boltzmann"}, "potential"),
        ({"boundary": "periodic"}, "boundary"),
        ({"convention": "x"}, "convention"),
    ],
)
def test_messages(options, message):
    with pytest.raises(SpecificationError, match=message):
        random_walk(**options)
    with pytest.raises(SpecificationError, match="radius"):
        well_potential((0, 0), radius=0)
