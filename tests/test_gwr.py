"""GWR: its steps against loops, its cells against TRamWAy's."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from tramway_dask.errors import SegmentationError, SpecificationError
from tramway_dask.segmentation import GWR, TessellerPlugin, tesseller
from tramway_dask.segmentation.gas import _first_come, neighbours_of, pull, visits
from tramway_dask.segmentation.gwr import local_radius, touching
from tramway_dask.segmentation.tessellation import nearest


def field(size, seed, *, slow=0.03, fast=0.09):
    """Return translocations, longer and fewer in the right half."""
    rng = np.random.default_rng(seed)
    right = np.arange(size) % 4 == 0
    x = rng.random(size) + right
    length = np.where(right, fast, slow)
    dx, dy = rng.standard_normal((2, size)) * length
    return pd.DataFrame(
        {"n": 0, "x": x, "y": rng.random(size), "t": np.arange(size) * 0.04, "dx": dx, "dy": dy, "dt": 0.04}
    )


# steps


@pytest.mark.parametrize("seed", range(5))
def test_points_near_to_one_taken_before_are_not_taken(seed):
    rng = np.random.default_rng(seed)
    points, threshold = rng.random((80, 2)), rng.uniform(0.05, 0.3, 80)
    taken = []
    for i, point in enumerate(points):
        if all(np.hypot(*(point - points[j])) > threshold[i] for j in taken):
            taken.append(i)
    np.testing.assert_array_equal(np.flatnonzero(_first_come(points, threshold)), taken)


def test_moves_are_those_of_the_sequence():
    rng = np.random.default_rng(0)
    nodes, sample = rng.random((6, 3)), rng.random((40, 3))
    pairs = np.array([[0, 1], [1, 2], [2, 4], [3, 4]])
    near = nearest(sample, nodes)
    node, time, kind = visits(near, *neighbours_of(pairs, len(nodes)))
    rate = rng.uniform(0, 0.4, len(node))
    expected, number = nodes.copy(), 0
    for t, s in enumerate(near):
        around = {s, *pairs[pairs[:, 0] == s, 1], *pairs[pairs[:, 1] == s, 0]}
        for i in around:
            visit = np.flatnonzero((node == i) & (time == t))
            assert len(visit) == 1 and kind[visit] == (i != s)
            expected[i] += rate[visit] * (sample[t] - expected[i])
            number += 1
    assert number == len(node)
    pull(nodes, sample, node, time, rate)
    np.testing.assert_allclose(nodes, expected, rtol=1e-13)


def test_local_length_is_the_median_around():
    df = field(4000, 0)
    xy, length = df[["x", "y"]].to_numpy(), np.hypot(df["dx"], df["dy"]).to_numpy()
    radius = local_radius(xy, length, 0.01, 1.0, 20)
    some = np.flatnonzero(np.abs(xy[:, 0] - 1) > 0.2)[::37]
    for i in some:
        ball = np.argsort(((xy - xy[i]) ** 2).sum(axis=1), kind="stable")[:50]
        assert radius[i] == np.median(length[ball])
    # dense everywhere: no more than the least
    assert (local_radius(xy, length, 0.5, 1.0, 20) == 0.5).all()
    density = local_radius(xy, None, 0.01, 1.0, 20)
    i = some[0]
    assert density[i] == np.sort(np.sqrt(((xy - xy[i]) ** 2).sum(axis=1)))[50]


def test_gaps_between_cells():
    rng = np.random.default_rng(0)
    xy = rng.random((900, 2)) * [3, 1]
    xy[:, 0] += 0.8 * (xy[:, 0] > 2)
    centers = np.array([[0.5, 0.5], [1.5, 0.5], [3.3, 0.5], [9.0, 9.0]])
    pairs = np.array([[0, 1], [1, 2], [2, 3]])
    np.testing.assert_array_equal(
        touching(xy, nearest(xy, centers), centers, pairs, 1e-9), [True, False, False]
    )


# cells


@pytest.mark.parametrize("size", [2, 30, 1667, 2500, 3333])
def test_any_number_of_points(size):
    mesh = GWR(resolution=0.3).tessellate(field(size, 0))
    assert mesh.areas.sum() == pytest.approx(np.prod(mesh.box[1] - mesh.box[0]))
    assert size == 2 or 8 < len(mesh) < 100


def test_cells_are_larger_where_translocations_are_long():
    mesh = GWR(avg_distance=0.08, max_distance=0.6).tessellate(field(3000, 1))
    spacing = np.sqrt(mesh.areas)
    left, right = mesh.centers[:, 0] < 0.9, mesh.centers[:, 0] > 1.1
    assert np.median(spacing[right]) > 1.5 * np.median(spacing[left])


def test_parameters_have_an_effect():
    df = field(500, 2)
    cells = GWR(resolution=0.2, batch_size=500)
    number = len(cells.tessellate(df))
    assert len(cells.replace(min_distance=0.2).tessellate(df)) < number
    assert len(cells.replace(pass_count=(1, 1)).tessellate(df)) < number
    assert len(cells.replace(topology="approximate density").tessellate(df)) != number
    centers = cells.tessellate(df).centers
    for change in ({"seed": 1}, {"trust": 0.0}, {"tau": (100.0, 50.0)}, {"lifetime": 200}):
        found = cells.replace(**change).tessellate(df).centers
        assert found.shape != centers.shape or not np.allclose(found, centers)
    linked = cells.replace(complete_delaunay=False, alpha_risk=0.99).tessellate(df)
    np.testing.assert_array_equal(linked.centers, centers)
    assert linked.adjacency.nnz < cells.tessellate(df).adjacency.nnz


def test_bad_parameters():
    df = field(200, 0)
    with pytest.raises(SegmentationError, match="max_distance"):
        GWR(avg_distance=0.2, max_distance=0.1).tessellate(df)
    with pytest.raises(SegmentationError, match="no displacements"):
        GWR(resolution=0.2, topology="displacement length").tessellate(df[["x", "y"]])
    with pytest.raises(SegmentationError, match="no displacement; set `resolution`"):
        GWR().tessellate(df[["x", "y"]])
    with pytest.raises(SegmentationError, match="too small"):
        GWR(resolution=1e-11).tessellate(df)
    with pytest.raises(SpecificationError, match="displacement length"):
        GWR(topology="displacement lenght")
    for bad in ({"batch_size": 0}, {"tau": -1}, {"pass_count": (3, 1)}, {"trust": 2}, {"lifetime": 0}):
        with pytest.raises(SpecificationError, match=next(iter(bad))):
            GWR(**bad)
    with pytest.warns(DeprecationWarning, match="verbose"):
        GWR().verbose = True


def test_names():
    assert tesseller.from_plugin("gwr", resolution=0.2) == GWR(resolution=0.2)
    plugin = TessellerPlugin("gas", resolution=0.2)
    assert (plugin.min_distance, plugin.complete_delaunay, plugin.topology) == (
        None,
        False,
        "approximate density",
    )
    assert repr(GWR()) == "GWR()"


# TRamWAy 0.7 as the oracle


def tramway_centers(df, seed, **attributes):
    from tramway.analyzer import RWAnalyzer
    from tramway.analyzer import tessellers as theirs

    analyzer = RWAnalyzer()
    analyzer.spt_data.from_dataframe(df)
    analyzer.tesseller = theirs.GWR
    for key, value in attributes.items():
        setattr(analyzer.tesseller, key, value)
    np.random.seed(seed)
    return analyzer.tesseller.tessellate(df).cell_centers


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_cells_are_distributed_as_in_tramway():
    df = field(600, 3)
    xy = df[["x", "y"]].to_numpy()
    attributes = {"resolution": 0.2, "batch_size": 600, "error_count_tol": 0.0}
    theirs = [tramway_centers(df, seed, **attributes) for seed in range(4)]
    ours = [GWR(**attributes, seed=seed).tessellate(df).centers for seed in range(8)]
    number, number_2 = (np.array([len(c) for c in centers]) for centers in (ours, theirs))
    error = np.sqrt(number.var(ddof=1) / 8 + number_2.var(ddof=1) / 4)
    assert abs(number.mean() - number_2.mean()) < 3.5 * error
    assert abs(number.mean() / number_2.mean() - 1) < 0.05

    def counts(centers):
        return np.bincount(nearest(xy, centers), minlength=len(centers))

    def spacings(centers):
        return np.sort(((centers[:, None] - centers[None]) ** 2).sum(axis=2), axis=1)[:, 1]

    def residuals(centers):
        return ((xy - centers[nearest(xy, centers)]) ** 2).sum(axis=1)

    for about in (counts, spacings, residuals):
        found = ks_2samp(*(np.concatenate([about(c) for c in centers]) for centers in (ours, theirs)))
        assert found.pvalue > 1e-3 or found.statistic < 0.05, about.__name__
