"""What every model must obey, whatever it maps."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from inference_cases import FakePartition, cubes, displacements, hexagons, partition_of

from tramway_dask.errors import InferenceError
from tramway_dask.inference.models import (
    DD,
    DF,
    DV,
    SNR,
    BayesFactor,
    Curl,
    D,
    DConjugatePrior,
    Density,
    Gradients,
    SphericalVolume,
)

SIGMA = 0.02


class Chain:
    """A model that is inferred from the maps of another one."""

    def __init__(self, first, second):
        self.first, self.second = first, second

    def infer(self, partition, *, sigma=None):
        return self.second.infer(self.first.infer(partition, sigma=sigma))

    def __repr__(self):
        return f"{self.second} of {self.first}"


TRANSLATED = [
    D(),
    DD(confidence=0.9),
    DF(),
    D(jeffreys_prior=True),
    D(diffusivity_prior=20.0),
    D(diffusivity_prior=20.0, grad="gradn"),
    DD(diffusivity_prior=20.0, rgrad="delta1"),
    DF(diffusivity_prior=20.0, rgrad="delta0_without_scaling"),
    DV(potential_prior=1.0),
    DV("original", diffusivity_prior=20.0, potential_prior=1.0),
    Density(),
    SNR(),
    DConjugatePrior(),
    BayesFactor(),
    SphericalVolume(),
    Chain(D(), Gradients("diffusivity")),
    Chain(DF(), Curl()),
]
# powers of length and time of each quantity
DIMENSIONS = {
    "diffusivity": (2, -1),
    "drift": (1, -1),
    "force": (-1, 0),
    "potential": (0, 0),
    "density": ("-d", 0),
    "volume": ("d", 0),
    "V": (2, 0),
    "V_prior": (2, 0),
    "ci low": (2, -1),
    "ci high": (2, -1),
    "curl<force>_1": (-2, 0),
}


def simulated(mesh=None, seed=0, *, rows=900, cell=None):
    mesh = hexagons(5, 4) if mesh is None else mesh
    rng = np.random.default_rng(seed)
    cell = rng.integers(0, mesh.size, rows) if cell is None else cell
    dimension = mesh.centers.shape[1]
    dr, dt = displacements(cell, rng, np.full(mesh.size, 0.05), dimension=dimension, sigma=SIGMA)
    p = partition_of(mesh, cell, dr, dt)
    axes = ["x", "y", "z"][:dimension]
    p.points[axes] += rng.uniform(-0.1, 0.1, (len(p.points), dimension))
    return p


def axes_of(partition):
    return [c for c in "xyz" if c in partition.points]


def changed(partition, *, matrix=None, shift=0.0, length=1.0, duration=1.0):
    """Return the same experiment turned, moved, or in other units."""
    axes = axes_of(partition)
    d = len(axes)
    matrix = np.eye(d) if matrix is None else matrix
    points = partition.points.copy()
    points[axes] = length * (points[axes].to_numpy() @ matrix.T) + shift
    deltas = [f"d{a}" for a in axes]
    points[deltas] = length * points[deltas].to_numpy() @ matrix.T
    points[["t", "dt"]] *= duration
    mesh = partition.mesh
    centers = length * mesh.centers @ matrix.T + shift
    moved = type(mesh)(centers, mesh.indptr, mesh.indices, mesh.areas * length**d)
    return FakePartition(points, moved, partition.indptr, partition.indices)


def infer(model, partition, sigma=SIGMA):
    return model.infer(partition, sigma=sigma)


def same(a, b, *, rtol=1e-5, atol=1e-6):
    pd.testing.assert_frame_equal(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("model", TRANSLATED, ids=repr)
@pytest.mark.parametrize("space", [2, 3])
def test_the_place_of_the_origin_and_the_order_of_rows_do_not_matter(model, space):
    if space == 3 and ("BayesFactor" in repr(model) or "Curl" in repr(model)):
        with pytest.raises(InferenceError, match="plane"):
            infer(model, simulated(cubes(3, 3, 2)))
        return
    p = simulated(hexagons(5, 4) if space == 2 else cubes(3, 3, 2))
    a = infer(model, p)
    assert len(a) == p.mesh.size and a.table.index.name == "cell"
    assert a.attrs.get("converged") is True
    same(a.table, infer(model, changed(p, shift=13.0)).table)
    order = np.random.default_rng(1).permutation(len(p.points))
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    shuffled = FakePartition(p.points.iloc[order].reset_index(drop=True), p.mesh, p.indptr, rank[p.indices])
    same(a.table, infer(model, shuffled).table)


@pytest.mark.parametrize("model", TRANSLATED, ids=repr)
def test_a_quarter_turn_turns_vectors_and_leaves_numbers(model):
    p = simulated(cubes(5, 4, 1))
    flat = FakePartition(
        p.points.drop(columns=["z", "dz"]),
        type(p.mesh)(p.mesh.centers[:, :2], p.mesh.indptr, p.mesh.indices, p.mesh.areas / 0.2),
        p.indptr,
        p.indices,
    )
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    a, b = infer(model, flat), infer(model, changed(flat, matrix=turn))
    for name in a.features:
        one, other = np.asarray(a[name], dtype=float), np.asarray(b[name], dtype=float)
        expected = one @ turn.T if one.ndim == 2 else one
        if one.ndim == 2:  # an undefined component stays one, on the other axis
            expected = np.column_stack([-one[:, 1], one[:, 0]])
        np.testing.assert_allclose(other, expected, rtol=1e-4, atol=1e-5, err_msg=name)


def powers(name, dimension):
    if name == "force":  # 1, 0 or -1
        return 0, 0
    if name.startswith(("diffusivity ", "drift ", "force ", "zeta")):
        name = name.rsplit(" ", 1)[0]
    length, time = DIMENSIONS.get(name, (0, 0))
    return {"d": dimension, "-d": -dimension}.get(length, length), time


# weights of priors have units: a model with priors is not the same in other units
UNITS = [m for m in TRANSLATED if "_prior=" not in repr(m).replace("jeffreys_prior", "")]


@pytest.mark.parametrize("model", UNITS, ids=repr)
@pytest.mark.parametrize(("length", "duration"), [(1000.0, 1.0), (1.0, 1000.0)])
def test_units(model, length, duration):
    p = simulated()
    a = infer(model, p)
    b = infer(model, changed(p, length=length, duration=duration), sigma=SIGMA * length)
    for name in a.variables:
        of_length, of_time = powers(name, 2)
        if isinstance(model, Chain) and name.startswith("diffusivity"):
            of_length, of_time = 1, -1  # a gradient
        factor = length**of_length * duration**of_time
        for column in (name, f"{name} se", f"{name} low", f"{name} high"):
            if column in a.table:
                np.testing.assert_allclose(
                    b.table[column], factor * a.table[column], rtol=1e-5, atol=1e-7 * factor, err_msg=column
                )


@pytest.mark.parametrize(
    ("smooth", "plain"),
    [
        (D(diffusivity_prior=1e-9), D()),
        (DD(diffusivity_prior=1e-9, rgrad="delta0"), DD()),
        (DF(diffusivity_prior=1e-9, force_prior=1e-12), DF()),
        (SNR(diffusivity_prior=1e-9), SNR()),
    ],
    ids=repr,
)
def test_a_vanishing_prior_is_none(smooth, plain):
    p = simulated()
    same(infer(smooth, p).table, infer(plain, p).table, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", TRANSLATED, ids=repr)
def test_empty_and_one_point_cells(model):
    mesh = hexagons(6, 4)
    cell = np.concatenate([np.repeat(np.arange(12), 40), np.arange(12, 16)])
    maps = infer(model, simulated(mesh, cell=cell))
    assert maps.table.index.tolist() == list(range(16))
    table = maps.table.drop(columns="at bound", errors="ignore")
    full = table.loc[:11, [c for c in maps.variables if "curl" not in c and "min_n" not in c]]
    assert full.notna().all(axis=None)
    undefined = table.isna().any(axis=1).sum()
    told = max(maps.attrs.get("undefined_errors", 0), maps.attrs.get("undefined_values", 0))
    # what is missing is said
    assert undefined == 0 or told > 0
    assert not np.isinf(table.to_numpy(dtype=float)).any()


@pytest.mark.parametrize("model", TRANSLATED, ids=repr)
def test_no_translocation_is_an_error_that_says_so(model):
    with pytest.raises(InferenceError, match="holds a translocation"):
        infer(model, simulated(cell=np.zeros(0, dtype=int)))


def test_nothing_warns_of_what_is_regular():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in TRANSLATED:
            infer(model, simulated(rows=400))
