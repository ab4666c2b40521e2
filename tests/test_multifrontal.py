"""Nested dissection and factorization along its tree, against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_cases import Mesh, cubes, hexagons

from tramway_dask.inference.banded import BandPattern
from tramway_dask.inference.dissection import dissect
from tramway_dask.inference.multifrontal import TreePattern
from tramway_dask.inference.pattern import CellOrder, matrix_pattern


def links(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    rows = np.repeat(np.arange(mesh.size), np.diff(mesh.indptr))
    return rows[rows < mesh.indices], mesh.indices[rows < mesh.indices]


def paths(node, parent):
    """Nodes from the node of each unknown up to the root, as sets."""
    ups = []
    for k in range(len(parent)):
        ups.append({k} | (ups[parent[k]] if parent[k] >= 0 else set()))
    return [ups[k] for k in node]


@pytest.mark.parametrize("mesh", [hexagons(20, 15), cubes(7, 6, 8), hexagons(1, 300)])
def test_unrelated_nodes_are_not_linked(mesh):
    first, second = links(mesh)
    node, parent = dissect(mesh.centers, first, second, leaf=10)
    assert (parent[1:] < np.arange(1, len(parent))).all() and (parent[1:] >= 0).all() and parent[0] == -1
    above = paths(node, parent)
    assert all(node[a] in above[b] or node[b] in above[a] for a, b in zip(first, second, strict=True))
    # separators are lines or planes, and what they leave is halved
    assert np.bincount(node)[0] <= 2 * mesh.size ** (1 - 1 / mesh.centers.shape[1])
    assert np.bincount(node).max() <= max(10, 2 * mesh.size ** (1 - 1 / mesh.centers.shape[1]))


def random_matrix(rng, size, links_per_unknown):
    rows = rng.integers(0, size, size * links_per_unknown)
    cols = rng.integers(0, size, size * links_per_unknown)
    # repeated entries add up; both halves are given
    rows, cols = np.r_[rows, cols], np.r_[cols, rows]
    half = rng.normal(size=len(rows) // 2)
    own = np.arange(size)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (rows, cols), np.r_[half, half])
    weight = np.abs(matrix).sum(axis=1) + rng.uniform(0.1, 1, size)
    matrix[own, own] += weight
    return np.r_[rows, own], np.r_[cols, own], np.r_[half, half, weight], matrix


def check(pattern, rows, cols, values, expected):
    matrix = pattern.assemble(values)
    np.testing.assert_allclose(pattern.diagonal(matrix), np.diag(expected), rtol=1e-13)
    added = pattern.add_diagonal(matrix, np.arange(len(expected)) / len(expected))
    expected = expected + np.diag(np.arange(len(expected)) / len(expected))
    factor = pattern.factor(added)
    inverse = np.linalg.inv(expected)
    scale = np.abs(inverse).max()
    right = np.random.default_rng(0).normal(size=len(expected))
    np.testing.assert_allclose(factor.solve(right), inverse @ right, rtol=1e-9, atol=1e-11 * scale)
    assert factor.logdet() == pytest.approx(np.linalg.slogdet(expected)[1], rel=1e-11)
    found = factor.inverse_entries(rows, cols)
    np.testing.assert_allclose(found, inverse[rows, cols], rtol=1e-8, atol=1e-12 * scale)
    lowest = np.linalg.eigvalsh(expected)[0]
    assert pattern.factor(pattern.add_diagonal(added, np.full(len(expected), -1.01 * lowest))) is None
    assert pattern.factor(pattern.add_diagonal(added, np.full(len(expected), -0.99 * lowest))) is not None


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(0, 3), st.integers(1, 30), st.integers(1, 3))
def test_any_matrix(seed, size, links_per_unknown, leaf, dimension):
    rng = np.random.default_rng(seed)
    entries = random_matrix(rng, size, links_per_unknown)
    # many at the same place, too
    places = rng.integers(0, 4, (size, dimension)).astype(float)
    check(TreePattern(places, *entries[:2], leaf=leaf), *entries)
    check(BandPattern(rng.permutation(size), *entries[:2]), *entries)


@pytest.mark.parametrize("mesh", [hexagons(12, 14), cubes(6, 5, 5)])
def test_meshes_in_parts(mesh):
    first, second = links(mesh)
    # two halves that do not touch, and a cell on its own
    apart = (mesh.centers[first, 0] < 0.51) == (mesh.centers[second, 0] < 0.51)
    apart &= (first > 0) & (second > 0)
    first, second = first[apart], second[apart]
    rng = np.random.default_rng(1)
    own = np.arange(mesh.size)
    value = rng.normal(size=len(first))
    rows, cols = np.r_[first, second, own], np.r_[second, first, own]
    values = np.r_[value, value, np.full(mesh.size, 12.0)]
    matrix = np.zeros((mesh.size, mesh.size))
    np.add.at(matrix, (rows, cols), values)
    check(TreePattern(mesh.centers, rows, cols, leaf=20), rows, cols, values, matrix)


def test_fill_grows_as_it_should():
    entries = []
    for side in (40, 80):
        mesh = hexagons(side, side)
        first, second = links(mesh)
        own = np.arange(mesh.size)
        pattern = TreePattern(mesh.centers, np.r_[first, second, own], np.r_[second, first, own])
        entries.append(sum(f.own * (f.own + 1) // 2 + f.own * len(f.border) for f in pattern.fronts))
    # four times the cells: N log N makes about 5 times the fill, a band 8 times
    assert entries[1] < 5.5 * entries[0]


def test_the_order_suits_the_size():
    def pattern(side):
        mesh = hexagons(side, side)
        first, second = links(mesh)
        own = np.arange(mesh.size)
        order = CellOrder(mesh.indptr, mesh.indices, mesh.centers)
        return matrix_pattern(order, 1, np.r_[first, second, own], np.r_[second, first, own])

    assert isinstance(pattern(10), BandPattern) and isinstance(pattern(120), TreePattern)
