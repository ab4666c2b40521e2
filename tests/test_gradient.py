"""Gradient operators and penalties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_cases import cubes, hexagons, mesh_of
from tramway_cases import case

from tramway_dask.errors import SpecificationError
from tramway_dask.inference.gradient import (
    delta0_penalty,
    delta1_penalty,
    grad1,
    gradient_penalty,
    restrict,
    time_penalty,
)


def random_mesh(seed: int, size: int = 30):
    return mesh_of(np.random.default_rng(seed).uniform(0, 1, (size, 2)), 0.35, 0.02)


@pytest.fixture(scope="module")
def tramway():
    return case(trajectories=25)


@pytest.mark.parametrize("mesh", [hexagons(6, 5), cubes(3, 4, 3), random_mesh(0)])
def test_exact_on_linear_fields(mesh):
    slope = np.array([2.0, -1.0, 0.5])[: mesh.centers.shape[1]]
    operator = grad1(mesh.centers, mesh.indptr, mesh.indices)
    # a neighbour off axis k contributes its other coordinates, unless both sides balance
    constant = operator.apply(np.full(mesh.size, 3.0))
    np.testing.assert_allclose(constant, 0, atol=1e-9)
    inner = np.diff(mesh.indptr) == np.diff(mesh.indptr).max()
    if len(set(np.diff(mesh.indptr))) < 6:
        found = operator.apply(mesh.centers @ slope)[:, inner]
        np.testing.assert_allclose(found, np.broadcast_to(slope[:, None], found.shape), atol=1e-9)


@pytest.mark.oracle
def test_equals_tramway(tramway):
    from tramway.inference.gradient import grad1 as theirs

    mesh = tramway.mesh
    x = np.random.default_rng(0).normal(size=mesh.size)
    for ours, options in (
        ({}, {"selection_angle": 0.9}),
        ({"selection_angle": 0.5}, {"selection_angle": 0.5}),
        ({"epsilon": 0.05}, {"eps": 0.05}),
    ):
        operator = grad1(mesh.centers, mesh.indptr, mesh.indices, **ours)
        found = np.where(operator.defined, operator.apply(x), np.nan).T
        for row, i in enumerate(tramway.index):
            tramway.cells[i].cache = None
            expected = theirs(tramway.cells, i, x, tramway.reverse, **options)
            np.testing.assert_allclose(found[row], expected, rtol=1e-10, atol=1e-10)
            tramway.cells[i].cache = None


@pytest.mark.oracle
@pytest.mark.parametrize("rgrad", ["delta0", "delta1"])
def test_penalties_equal_tramway(tramway, rgrad):
    from tramway.inference import gradient as theirs

    mesh = tramway.mesh
    x = np.random.default_rng(1).normal(size=mesh.size)
    expected = 0.0
    for i in tramway.index:
        options = {} if rgrad == "delta0" else {"selection_angle": 0.9}
        variation = getattr(theirs, rgrad)(tramway.cells, i, x, tramway.reverse, **options)
        expected += tramway.cells.grad_sum(i, variation**2)
    build = {"delta0": delta0_penalty, "delta1": delta1_penalty}[rgrad]
    form = build(mesh.centers, mesh.indptr, mesh.indices, mesh.areas)
    assert x @ (form @ x) == pytest.approx(expected, rel=1e-11)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_adjoint_matrices_and_forms_agree(seed):
    mesh = random_mesh(seed)
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=mesh.size), rng.normal(size=(2, mesh.size))
    operator = grad1(mesh.centers, mesh.indptr, mesh.indices)
    gradient = operator.apply(x)
    np.testing.assert_allclose(gradient, np.array([g @ x for g in operator.matrices]), atol=1e-8)
    assert np.sum(gradient * y) == pytest.approx(x @ operator.adjoint(y), rel=1e-9, abs=1e-9)
    form = gradient_penalty(operator, mesh.areas)
    assert x @ (form @ x) == pytest.approx(np.sum(mesh.areas * gradient**2), rel=1e-9)
    assert abs(form - form.T).max() < 1e-9 * abs(form).max()


def test_undefined_axes_are_marked_and_skipped():
    pair = mesh_of(np.array([[0.0, 0.0], [1.0, 0.0]]), 1.5, 1.0)
    operator = grad1(pair.centers, pair.indptr, pair.indices)
    assert operator.defined.tolist() == [[True, True], [False, False]]
    np.testing.assert_allclose(operator.apply(np.array([1.0, 3.0])), [[2.0, 2.0], [0.0, 0.0]])


def test_weights_of_missing_areas_are_one():
    mesh = hexagons(3, 3)
    ones = delta0_penalty(mesh.centers, mesh.indptr, mesh.indices, np.ones(9))
    for missing in (0.0, np.nan, np.inf):
        form = delta0_penalty(mesh.centers, mesh.indptr, mesh.indices, np.full(9, missing))
        assert abs(form - ones).max() == 0


def test_restrict_renumbers():
    mesh = hexagons(4, 4)
    keep = np.array([0, 1, 4, 5, 15])
    indptr, indices = restrict(mesh.indptr, mesh.indices, keep)
    full = mesh.adjacency.toarray()[np.ix_(keep, keep)]
    for k in range(len(keep)):
        assert sorted(indices[indptr[k] : indptr[k + 1]]) == np.flatnonzero(full[k]).tolist()


def test_time_penalty_counts_both_directions():
    form = time_penalty(np.array([0.0, 2.0]), np.array([0, 1, 2]), np.array([1, 0]))
    x = np.array([1.0, 5.0])
    assert x @ (form @ x) == pytest.approx(2 * (4 / 2) ** 2)


def test_bad_angle():
    mesh = hexagons(3, 3)
    with pytest.raises(SpecificationError, match="grad_selection_angle"):
        grad1(mesh.centers, mesh.indptr, mesh.indices, selection_angle=1.5)
