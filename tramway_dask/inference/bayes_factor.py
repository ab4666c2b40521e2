"""Bayes factors as a component: forces told from the drift of a diffusivity gradient."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..component import boolean, positive, setting
from ..errors import InferenceError, SpecificationError
from .conjugate import DConjugatePrior
from .evidence_ratio import DIMENSION, Evidence, minimal_counts
from .gradient import restrict
from .maps import Maps
from .spatial import Spatial
from .threads import single_threaded

__all__ = ["BayesFactor", "groups_by_sign"]

FloatArray = NDArray[Any]
IntArray = NDArray[Any]

_REQUIRED = ("n", "V", "V_prior", "zeta_total", "zeta_spurious")


def groups_by_sign(lg_b: FloatArray, indptr: IntArray, indices: IntArray) -> tuple[FloatArray, FloatArray]:
    """Join neighbouring cells whose Bayes factors favour the same side.

    Parameters
    ----------
    lg_b : (m,) float
        log10 of the Bayes factors; cells with NaN are in no group.
    indptr, indices : (m + 1,), (E,) int
        Neighbours of each cell in CSR form.

    Returns
    -------
    groups, group_lg_b : (m,) float
        Number of each cell's group, from 0 in the order of their first cells, and the sum of the
        group's log10 Bayes factors.
    """
    import scipy.sparse as sp
    from scipy.sparse.csgraph import connected_components

    m = len(lg_b)
    sign = np.sign(lg_b)
    rows = np.repeat(np.arange(m), np.diff(indptr))
    same = sign[rows] == sign[indices]
    links = sp.csr_array((np.ones(same.sum(), np.int8), (rows[same], indices[same])), shape=(m, m))
    label = connected_components(links, directed=False)[1]
    known = ~np.isnan(lg_b)
    groups, total = np.full(m, np.nan), np.full(m, np.nan)
    _, first, number = np.unique(label[known], return_index=True, return_inverse=True)
    groups[known] = np.argsort(np.argsort(first))[number]
    total[known] = np.bincount(number, weights=lg_b[known])[number]
    return groups, total


def _threshold(name: str, value: Any) -> float:
    number = positive(name, value)
    if number <= 1:
        raise SpecificationError(f"{name}: expected a Bayes factor above 1, such as 10, got {value!r}")
    return number


@dataclass(eq=False, repr=False, kw_only=True)
class BayesFactor(Spatial):
    """Bayes factor of a force against the spurious drift of a diffusivity gradient, in 2-D.

    Maps ``lg_B``, its decimal logarithm; ``force``, 1 if a force is certain, -1 if it is certain
    that there is none, else 0; ``min_n``, the number of translocations from which it would be
    certain, had the cell the same ratios; ``groups`` of neighbouring cells whose Bayes factors
    agree in sign, with ``group_lg_B`` and ``group_forces``. Cells with one translocation, or
    without the gradient of diffusivity on some axis, have NaN.

    It is inferred from the maps of `SNR` or `DConjugatePrior` (``infer(maps)``, or
    ``stages.infer(..., input_label=...)``), or from a partition: then a `DConjugatePrior` map is
    made first, and its columns are returned along.

    Parameters
    ----------
    B_threshold : float
        Certainty: a Bayes factor of this or more, or of its inverse or less.
    need_min_n : bool
        Compute ``min_n``, which takes most of the time.
    grad, grad_selection_angle, grad_epsilon
        See `gradient.grad1`; used if there are no input maps.
    """

    B_threshold: float = setting(10.0, check=_threshold)
    need_min_n: bool = setting(True, check=boolean)

    takes_maps: ClassVar[bool] = True
    lost: ClassVar[Mapping[str, str]] = {
        "worker_count": "a map is inferred by one process; workers belong to the environment, a.env.worker_count",
        "verbose": "there is no progress to show",
    }

    @property
    def name(self) -> str:
        """TRamWAy's name of the model."""
        return "bayes_factor"

    @single_threaded
    def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
        """Compute Bayes factors.

        Parameters
        ----------
        partition : Partition or Maps
            Maps with the columns of `SNR` or `DConjugatePrior`, or a partition.
        sigma : float, optional, µm
            Localization precision; by default that of the maps, the partition's, or the
            analyzer's. There is no other default; 0 is allowed.

        Raises
        ------
        InferenceError
            If σ is unknown, space is not a plane, or the maps lack a column.
        """
        began = time.perf_counter()
        if isinstance(partition, Maps):
            maps, extra = partition, None
            sigma = maps.sigma if sigma is None else sigma
        else:
            self._check_dimension(np.asarray(partition.centers).shape[1])
            source = DConjugatePrior(
                grad=self.grad,
                grad_selection_angle=self.grad_selection_angle,
                grad_epsilon=self.grad_epsilon,
            ).bind(self.owner)
            maps = source.infer(partition, sigma=sigma)
            extra, sigma = maps.table, maps.sigma
        if maps.parent is None:
            raise InferenceError(
                "these maps do not know their partition, which tells the neighbours of each cell; "
                "set `maps.parent = partition`, or take the maps from the analysis tree"
            )
        sigma = self._precision(sigma, maps.parent)
        columns = self._columns(maps, sigma)
        table = pd.DataFrame(columns, index=maps.table.index)
        attrs = {
            "converged": True,
            "B_threshold": self.B_threshold,
            "settings": self._parameters_set(),
            "undefined_values": int(table["lg_B"].isna().sum()),
        }
        if extra is not None:
            table = pd.concat([table, extra], axis=1)
        result = Maps(table, self.name, sigma, time.perf_counter() - began, attrs)
        result.parent = maps.parent
        return result

    def _check_dimension(self, dimension: int) -> None:
        if dimension != DIMENSION:
            raise InferenceError(
                f"Bayes factors are known for planes only, these data are {dimension}-D; "
                "leave out the column z to analyse the projection"
            )

    def _columns(self, maps: Maps, sigma: float) -> dict[str, FloatArray]:
        for name in _REQUIRED:
            if name not in maps:
                raise InferenceError(
                    f"Bayes factors need maps of signal-to-noise ratios, and these of mode {maps.mode!r} have no "
                    f"{name!r}; make them with models.SNR() or models.DConjugatePrior()"
                )
        total, spurious = (np.asarray(maps[name], dtype=float) for name in _REQUIRED[3:])
        self._check_dimension(1 if total.ndim == 1 else total.shape[1])
        n, v, others = (maps.table[name].to_numpy(dtype=float) for name in _REQUIRED[:3])
        known = np.isfinite(np.column_stack([n, v, others, total, spurious])).all(axis=1)
        rows = np.flatnonzero(known & (v > 0))
        evidence = Evidence(total[rows], spurious[rows], v[rows], others[rows], sigma**2)
        level = np.log10(self.B_threshold)
        lg_b, least = np.full(len(n), np.nan), np.full(len(n), np.nan)
        lg_b[rows] = evidence.log10(n[rows])
        adjacency = maps.parent.active_adjacency().tocsr()  # type: ignore[union-attr]
        near = restrict(adjacency.indptr, adjacency.indices, maps.table.index.to_numpy())
        groups, group_lg_b = groups_by_sign(lg_b, *near)
        columns = {"lg_B": lg_b, "force": _decided(lg_b, level)}
        if self.need_min_n:
            least[rows] = minimal_counts(evidence, n[rows], lg_b[rows], level)
            columns["min_n"] = least
        return {
            **columns,
            "groups": groups,
            "group_lg_B": group_lg_b,
            "group_forces": _decided(group_lg_b, level),
        }


def _decided(lg_b: FloatArray, level: float) -> FloatArray:
    decided = (lg_b >= level).astype(float) - (lg_b <= -level)
    return np.where(np.isnan(lg_b), np.nan, decided)
