"""Cell mergers: thresholds hold, and the order of deletion is the stated one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramway_dask.analyzer import RWAnalyzer, cell_mergers, tessellers
from tramway_dask.errors import SegmentationError, SpecificationError
from tramway_dask.segmentation.cell_mergers import ByTranslocationCount, _deleted
from tramway_dask.segmentation.tessellation import Tessellation


def cloud(seed: int, size: int = 600, dimension: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).random((size, dimension)) ** 2


def one_by_one(mesh: Tessellation, counts: np.ndarray, threshold: int) -> np.ndarray:
    """Walk through the cells below the threshold, the fullest first."""
    chosen, saved = np.zeros(len(counts), bool), np.zeros(len(counts), bool)
    for cell in sorted(np.flatnonzero(counts < threshold), key=lambda i: (-counts[i], i)):
        if not saved[cell]:
            chosen[cell] = True
            saved[mesh.neighbours(cell)] = True
    return chosen


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.booleans())
def test_no_cell_is_below_the_threshold(seed: int, threshold: int, update: bool) -> None:
    points = cloud(seed)
    grown = tessellers.Hexagons(resolution=0.15).tessellate(points)
    merged = ByTranslocationCount(threshold, update).post_process(grown, points)
    counts = np.bincount(merged.cell_index(points), minlength=merged.number_of_cells)
    assert counts.min() >= threshold
    assert merged.areas.sum() == pytest.approx(np.prod(merged.box[1] - merged.box[0]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_the_fullest_goes_first_and_saves_its_neighbours(seed: int, threshold: int) -> None:
    points = cloud(seed)
    mesh = tessellers.Squares(resolution=0.12).tessellate(points)
    counts = np.bincount(mesh.cell_index(points), minlength=mesh.number_of_cells)
    np.testing.assert_array_equal(_deleted(mesh, counts, threshold), one_by_one(mesh, counts, threshold))


def lloyd(xy: np.ndarray, centers: np.ndarray, limit: int) -> np.ndarray:
    """Move centers to the mean of their points, one by one."""
    for _ in range(limit):
        index = ((xy[:, None] - centers[None]) ** 2).sum(axis=2).argmin(axis=1)
        moved = [xy[index == i].mean(axis=0) if (index == i).any() else c for i, c in enumerate(centers)]
        if np.array_equal(moved, centers):
            break
        centers = np.array(moved)
    return centers


@pytest.mark.parametrize("update", [1, 2, 5, True])
@pytest.mark.parametrize("dimension", [2, 3])
def test_centroids(update: int | bool, dimension: int) -> None:
    points = cloud(4, 500, dimension)
    mesh = tessellers.Squares(resolution=0.15 * dimension - 0.1).tessellate(points)
    threshold = 8
    expected = mesh
    while True:
        counts = np.bincount(expected.cell_index(points), minlength=len(expected))
        if counts.min() >= threshold:
            break
        kept = expected.centers[~one_by_one(expected, counts, threshold)]
        expected = Tessellation.from_centers(lloyd(points, kept, 999 if update is True else update), mesh.box)
    assert len(expected) < len(mesh)
    merged = ByTranslocationCount(threshold, update).post_process(mesh, points)
    np.testing.assert_allclose(merged.centers, expected.centers, atol=1e-12)
    index = merged.cell_index(points)
    means = [points[index == i].mean(axis=0) for i in range(len(merged))]
    if update is True or update == 1:
        assert np.allclose(merged.centers, means, atol=1e-12) == (update is True)
    unmoved = ByTranslocationCount(threshold).post_process(mesh, points)
    assert {*map(tuple, unmoved.centers)} <= {*map(tuple, mesh.centers)}


def test_three_dimensions() -> None:
    points = cloud(0, 2000, 3)
    mesh = tessellers.Squares(resolution=0.3, post_processing=ByTranslocationCount(15)).tessellate(points)
    assert np.bincount(mesh.cell_index(points)).min() >= 15


def test_set_as_in_scripts() -> None:
    a = RWAnalyzer()
    a.tesseller = tessellers.Hexagons
    a.tesseller.resolution = 0.15
    a.tesseller.post_processing = cell_mergers.ByTranslocationCount
    a.tesseller.post_processing.count_threshold = 20
    points = cloud(1)
    assert np.bincount(a.tesseller.tessellate(points).cell_index(points)).min() >= 20
    other = tessellers.Hexagons(resolution=0.15)
    assert other.fingerprint() != a.tesseller.fingerprint()


def test_bad_input() -> None:
    points = cloud(2, 40)
    mesh = tessellers.Squares(resolution=0.2).tessellate(points)
    with pytest.raises(SpecificationError, match="count_threshold"):
        ByTranslocationCount().post_process(mesh, points)
    with pytest.raises(SegmentationError, match="would leave"):
        ByTranslocationCount(30).post_process(mesh, points)
    with pytest.raises(SpecificationError, match="count_threshold"):
        ByTranslocationCount(-1)
