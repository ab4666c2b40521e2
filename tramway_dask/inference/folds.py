"""Parts of the data without some of the trajectories, for cross-validation.

The likelihood needs sums only, and sums subtract: what is left without a fold of trajectories
is the sums of all less those of the fold.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InferenceError
from .inputs import Inputs, space_columns
from .likelihood import Groups
from .statistics import cell_statistics

__all__ = ["without_folds"]

FloatArray = NDArray[Any]


def without_folds(inputs: Inputs, groups: Groups, folds: int, *, seed: int = 0) -> list[Groups]:
    """Return the sums without each fold of trajectories, on the same groups; some may be empty.

    Parameters
    ----------
    inputs : Inputs
    groups : Groups
        Of these inputs.
    folds : int
        Trajectories are dealt to so many folds at random, as equal in number as can be.
    seed : int

    Raises
    ------
    InferenceError
        If there are fewer trajectories than folds, or the points do not tell trajectories.
    """
    partition = inputs.partition
    if getattr(partition, "statistics", None) is not None:
        raise InferenceError(
            "cross-validation leaves out trajectories: those of a source read in blocks are not in memory"
        )
    points = partition.points
    if "n" not in points.columns:
        raise InferenceError("cross-validation leaves out trajectories: the points need a column 'n'")
    _, trajectory = np.unique(points["n"].to_numpy(), return_inverse=True)
    total = int(trajectory.max(initial=-1)) + 1
    if total < folds:
        raise InferenceError(f"cross-validation in {folds} folds needs as many trajectories, found {total}")
    fold_of = np.random.default_rng(seed).permutation(total) % folds
    cells = len(partition.indptr) - 1
    cell = np.repeat(np.arange(cells), np.diff(partition.indptr))
    key = fold_of[trajectory[partition.indices]] * cells + cell
    order = np.argsort(key, kind="stable")
    indptr = np.r_[0, np.cumsum(np.bincount(key, minlength=folds * cells))]
    dr = points[[f"d{c}" for c in space_columns(points)]].to_numpy(dtype=float)
    dt = points["dt"].to_numpy(dtype=float)
    parts = cell_statistics(dr, dt, indptr, np.asarray(partition.indices)[order])
    position = np.full(cells, -1)
    position[inputs.cells] = np.arange(len(inputs.cells))
    # the same time steps count as one in all folds together as in the whole
    own, steps = _numbered(parts.dt), int(_numbered(groups.dt).max()) + 1
    here = groups.cell * steps + _numbered(groups.dt)
    fold, place = parts.cell // cells, position[parts.cell % cells]
    result = []
    for k in range(folds):
        at = np.flatnonzero((fold == k) & (place >= 0))
        to = np.searchsorted(here, place[at] * steps + own[at])
        n, s1, s2 = groups.n.copy(), groups.s1.copy(), groups.s2.copy()
        n[to] -= parts.n[at]
        s1[to] -= parts.s1[at]
        s2[to] -= parts.s2[at]
        nothing = n == 0
        s1[nothing], s2[nothing] = 0.0, 0.0
        result.append(_with_sums(groups, n, s1, np.maximum(s2, 0.0)))
    return result


def _numbered(values: FloatArray) -> NDArray[np.intp]:
    return np.unique(values, return_inverse=True)[1]


def _with_sums(groups: Groups, n: FloatArray, s1: FloatArray, s2: FloatArray) -> Groups:
    part = copy.copy(groups)
    part.n, part.s1, part.s2 = n, s1, s2
    part.half = 0.5 * groups.dimension * n
    part.count = groups.sum(n)
    return part
