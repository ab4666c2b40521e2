from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KernelDensity

from tramway_dask.errors import RegionError, SpecificationError
from tramway_dask.roi import density
from tramway_dask.roi.density import density_based_roi, epanechnikov_density


def theirs():
    """Import TRamWAy, which warns of libraries that it could use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tramway.analyzer.roi.utils as module
    return module


def clusters(seed=0, count=6, each=200, size=4.0, spread=0.05):
    rng = np.random.default_rng(seed)
    centers = rng.uniform(0.5, size - 0.5, (count, 2))
    points = [rng.normal(np.repeat(centers, each, axis=0), spread), rng.uniform(0, size, (300, 2))]
    return centers, pd.DataFrame(np.concatenate(points), columns=["x", "y"])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.floats(0.03, 0.6), st.floats(0.02, 0.2), st.floats(0.02, 0.2))
def test_kernel_density_equals_scikit_learn(seed, bandwidth, step_x, step_y):
    xy = np.random.default_rng(seed).uniform(0, [1.0, 2.0], (150, 2))
    grid_x, grid_y = np.arange(0.1, 0.9, step_x), np.arange(-0.2, 2.2, step_y)
    nodes = np.column_stack([g.ravel() for g in np.meshgrid(grid_x, grid_y, indexing="ij")])
    kde = KernelDensity(bandwidth=bandwidth, kernel="epanechnikov").fit(xy)
    expected = np.exp(kde.score_samples(nodes)).reshape(len(grid_x), len(grid_y))
    got = epanechnikov_density(xy, grid_x, grid_y, bandwidth)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_density_integrates_to_one_in_any_chunks(monkeypatch):
    xy = clusters()[1].to_numpy()
    grid = np.arange(-1, 5, 0.02)
    whole = epanechnikov_density(xy, grid, grid, 0.15)
    assert whole.sum() * 0.02**2 == pytest.approx(1, rel=1e-3)
    monkeypatch.setattr(density, "_CHUNK", 37)
    np.testing.assert_allclose(epanechnikov_density(xy, grid, grid, 0.15), whole, rtol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("options", [{}, {"min_kernel_density": 0.02, "target_pattern_size": 0.4, "dr": 3}])
def test_maxima_equal_tramway(seed, options):
    df = clusters(seed)[1]
    size, dr = options.get("target_pattern_size", 0.3), options.get("dr", 4)
    least = options.get("min_kernel_density", 0.1)
    every = np.array(density_based_roi(df, **{**options, "min_kernel_density": 1e-300}))
    # TRamWAy compares with the threshold the density at a node dr steps before the maximum on both axes
    before = every - dr * 0.1 * size
    at = [epanechnikov_density(df.to_numpy(), c[:1], c[1:], size / 2)[0, 0] for c in before]
    np.testing.assert_allclose(every[np.array(at) >= least], theirs().density_based_roi(df, **options))
    at = [epanechnikov_density(df.to_numpy(), c[:1], c[1:], size / 2)[0, 0] for c in every]
    np.testing.assert_allclose(density_based_roi(df, **options), every[np.array(at) >= least])


def test_clusters_are_found():
    centers, df = clusters(3, count=4)
    found = np.array(density_based_roi(df, min_kernel_density=0.8))
    gap = np.linalg.norm(found[None] - centers[:, None], axis=2).min(axis=1)
    assert len(found) == 4 and (gap < 0.06).all()


def test_messages():
    df = clusters()[1]
    with pytest.raises(RegionError, match="no centre found; the largest density is"):
        density_based_roi(df, min_kernel_density=1e3)
    with pytest.raises(RegionError, match="in µm"):
        density_based_roi(df * 1e5)
    with pytest.raises(RegionError, match="grid steps"):
        density_based_roi(df / 100)
    with pytest.raises(RegionError, match="no locations"):
        density_based_roi(df.iloc[:0])
    with pytest.raises(SpecificationError, match="target_pattern_size"):
        density_based_roi(df, target_pattern_size=0)
