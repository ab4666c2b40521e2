"""Sums per (cell, distinct Δt)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_cases import csr

from tramway_dask.errors import InferenceError
from tramway_dask.inference.statistics import cell_statistics, merge

STEPS = np.array([0.02, 0.04, 0.06])


def draw(seed: int, rows: int = 200, cells: int = 7, dimension: int = 2):
    rng = np.random.default_rng(seed)
    dr = rng.normal(size=(rows, dimension))
    dt = rng.choice(STEPS, rows) + rng.uniform(-1e-8, 1e-8, rows)
    return dr, dt, rng.integers(0, cells, rows)


@pytest.mark.parametrize("dimension", [2, 3])
def test_sums_are_those_of_a_loop(dimension):
    dr, dt, cell = draw(0, dimension=dimension)
    s = cell_statistics(dr, dt, *csr(cell, 7))
    assert s.number_of_cells == 7 and s.dimension == dimension
    for k in range(len(s.cell)):
        rows = (cell == s.cell[k]) & (np.abs(dt - s.dt[k]) < 1e-6)
        assert s.n[k] == rows.sum() > 0
        np.testing.assert_allclose(s.s1[k], dr[rows].sum(axis=0), atol=1e-12)
        np.testing.assert_allclose(s.s2[k], (dr[rows] ** 2).sum())
    assert s.n.sum() == len(dr)


def test_equal_steps_keep_their_value():
    s = cell_statistics(np.ones((3, 2)), np.full(3, 0.04), *csr(np.array([0, 0, 1]), 3))
    assert s.dt.tolist() == [0.04, 0.04]
    assert s.cells.tolist() == [0, 1]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 199))
def test_blocks_add_up(seed, cut):
    dr, dt, cell = draw(seed)
    whole = cell_statistics(dr, dt, *csr(cell, 7))
    parts = [cell_statistics(dr[s], dt[s], *csr(cell[s], 7)) for s in (slice(cut), slice(cut, None))]
    both = merge(*parts)
    np.testing.assert_array_equal(both.cell, whole.cell)
    for name in ("dt", "n", "s1", "s2"):
        np.testing.assert_allclose(getattr(both, name), getattr(whole, name), rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_order_of_rows_does_not_matter(seed):
    dr, dt, cell = draw(seed)
    order = np.random.default_rng(seed + 1).permutation(len(dr))
    a = cell_statistics(dr, dt, *csr(cell, 7))
    b = cell_statistics(dr[order], dt[order], *csr(cell[order], 7))
    np.testing.assert_array_equal(a.n, b.n)
    np.testing.assert_allclose(a.s1, b.s1, atol=1e-12)
    np.testing.assert_allclose(a.dt, b.dt, rtol=1e-14)


def test_a_negative_step_is_flipped_with_its_displacement():
    dr, dt, cell = draw(1)
    sign = np.where(np.arange(len(dr)) % 3, 1.0, -1.0)
    a = cell_statistics(dr, dt, *csr(cell, 7))
    b = cell_statistics(dr * sign[:, None], dt * sign, *csr(cell, 7))
    np.testing.assert_allclose(a.s1, b.s1, atol=1e-12)


def test_many_distinct_steps():
    rng = np.random.default_rng(2)
    dt = rng.uniform(0.01, 1.0, 300)
    s = cell_statistics(rng.normal(size=(300, 2)), dt, *csr(rng.integers(0, 50, 300), 50))
    assert s.n.sum() == 300
    np.testing.assert_allclose(np.dot(s.n, s.dt), dt.sum())


def test_a_row_may_lie_in_several_cells_or_none():
    dr, dt = np.eye(2), np.full(2, 0.1)
    s = cell_statistics(dr, dt, np.array([0, 1, 2, 2]), np.array([0, 0]))
    assert s.cell.tolist() == [0, 1]
    assert s.s1.tolist() == [[1.0, 0.0], [1.0, 0.0]]


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_bad_step_is_named(value):
    dt = np.array([0.1, value, 0.1])
    with pytest.raises(InferenceError, match="1 translocations .* row 1"):
        cell_statistics(np.ones((3, 2)), dt, np.array([0, 3]), np.arange(3))


def test_bad_displacement_is_named():
    dr = np.array([[0.0, 1.0], [np.nan, 1.0]])
    with pytest.raises(InferenceError, match="undefined displacement, the first at row 1"):
        cell_statistics(dr, np.full(2, 0.1), np.array([0, 2]), np.arange(2))


def test_no_assignment_and_unlike_blocks():
    empty = cell_statistics(np.zeros((0, 2)), np.zeros(0), np.zeros(4, int), np.zeros(0, int))
    assert empty.number_of_cells == 3 and len(empty.cells) == 0
    assert merge(empty, empty) is empty
    other = cell_statistics(np.zeros((0, 2)), np.zeros(0), np.zeros(9, int), np.zeros(0, int))
    with pytest.raises(InferenceError, match="same cells"):
        merge(empty, other)
