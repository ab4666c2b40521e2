"""The models D, DD, DF and DV as components of an analyzer's specification."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from ..component import Component, boolean, count, non_negative, one_of, optional, positive, setting
from ..errors import SpecificationError
from .banded import cell_order
from .coupled import (
    PotentialEstimate,
    PotentialProblem,
    SmoothProblem,
    components,
    solve_potential,
    solve_smooth,
)
from .gradient import Gradient, delta0_penalty, delta1_penalty, grad1, gradient_penalty, time_penalty
from .inputs import Inputs, localization_precision
from .likelihood import Groups, Model
from .maps import AT_BOUND, Maps, error_column
from .uncoupled import Estimate, Profile, lower_bounds, solve

__all__ = ["DD", "DF", "DV", "D", "Density"]

FloatArray = NDArray[np.floating[Any]]

logger = logging.getLogger(__name__)

_DETERMINISTIC = "the optimization is deterministic, and exact to rounding"
_LOST = {
    "worker_count": "a map is inferred by one process; workers belong to the environment, a.env.worker_count",
    "stochastic": _DETERMINISTIC,
    "superlocal": _DETERMINISTIC,
    "ls_step_max": _DETERMINISTIC,
    "low_df_rate": _DETERMINISTIC,
    "update_timeout": _DETERMINISTIC,
    "debug": "set `verbose`, or read `maps.attrs`",
    "compatibility": "set `grad_selection_angle = 0.5` for InferenceMAP's gradient",
    "cell_sampling": "all cells are inferred at once",
    "max_cell_count": "all cells are inferred at once",
    "dilation": "all cells are inferred at once",
}
_ROUGHNESS = {None: None, "grad": "grad", "grad1": "grad", "delta": "delta0", "delta0": "delta0", "delta1": "delta1"}


def _bound(name: str, value: Any) -> float | bool | None:
    if value is None or value is False:
        return value
    if value is True:
        raise SpecificationError(f"{name}: expected a number in µm²/s, None or False, got True")
    if np.isscalar(value) and np.isfinite(value):  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    raise SpecificationError(f"{name}: expected a number in µm²/s, None or False, got {value!r}")


def _start(name: str, value: Any) -> float | FloatArray | None:
    if value is None:
        return None
    array = np.asarray(value, dtype=float)
    if array.ndim > 1 or not np.isfinite(array).all():
        raise SpecificationError(f"{name}: expected a finite number or one per inferred cell, got {value!r}")
    return float(array) if array.ndim == 0 else array


def _time_prior(name: str, value: Any) -> Any:
    if value is None or np.isscalar(value):
        return None if value is None else non_negative(name, value)
    pair = tuple(non_negative(name, v) for v in value)
    if len(pair) != 2:
        raise SpecificationError(f"{name}: expected a number or a pair (for D, for V), got {value!r}")
    return pair


@dataclass(eq=False, repr=False, kw_only=True)
class _Model(Component):
    diffusivity_prior: float | None = setting(None, check=optional(non_negative))
    jeffreys_prior: bool = setting(False, check=boolean)
    min_diffusivity: float | bool | None = setting(None, check=_bound)
    max_iter: int | None = setting(None, check=optional(count))
    ftol: float | None = setting(None, check=optional(positive))
    gtol: float | None = setting(None, check=optional(positive))
    max_runtime: float | None = setting(None, check=optional(positive))
    rgrad: str | None = setting(None, check=one_of(*_ROUGHNESS))
    grad: str | None = setting(None, check=one_of(None, "grad1"))
    grad_selection_angle: float | None = setting(None, check=optional(positive))
    grad_epsilon: float | None = setting(None, check=optional(non_negative))
    D0: Any = setting(None, check=_start)
    export_centers: bool = setting(False, check=boolean)
    verbose: bool = setting(False, check=lambda name, value: boolean(name, bool(value)))

    lost: ClassVar[Mapping[str, str]] = _LOST
    _mode: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """TRamWAy's name of the model."""
        return self._mode

    @property
    def epsilon(self) -> float | None:
        """Alias of `grad_epsilon`, µm."""
        return self.grad_epsilon

    @epsilon.setter
    def epsilon(self, value: float | None) -> None:
        self.grad_epsilon = value

    @property
    def tol(self) -> float | None:
        """Alias of `ftol`."""
        return self.ftol

    @tol.setter
    def tol(self, value: float | None) -> None:
        self.ftol = value

    def _roughness_kind(self) -> str:
        return _ROUGHNESS[self.rgrad] or "grad"

    def _gradient(self, inputs: Inputs) -> Gradient:
        return grad1(inputs.centers, *inputs.neighbours, **self._cone())

    def _cone(self) -> dict[str, float | None]:
        angle = 0.9 if self.grad_selection_angle is None else self.grad_selection_angle
        return {"selection_angle": angle, "epsilon": self.grad_epsilon}

    def _roughness(self, inputs: Inputs, gradient: Gradient | None) -> sp.csr_array:
        kind = self._roughness_kind()
        if kind == "delta0":
            return delta0_penalty(inputs.centers, *inputs.neighbours, inputs.areas)
        if kind == "delta1":
            return delta1_penalty(inputs.centers, *inputs.neighbours, inputs.areas, **self._cone())
        return gradient_penalty(self._gradient(inputs) if gradient is None else gradient, inputs.areas)

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"ftol": self.ftol, "max_runtime": self.max_runtime}
        if self.gtol is not None:
            options["gtol"] = self.gtol
        if self.max_iter:
            options["max_iter"] = self.max_iter
        return options

    def _first_diffusivity(self, groups: Groups) -> FloatArray:
        if self.D0 is not None:
            return _full(self.D0, groups.size, "D0")
        start = groups.sum(groups.s2) / (2 * groups.dimension * groups.count * groups.dt_mean)
        return np.maximum(start, 1e-3 * start.mean() + 1e-12)

    def _finish(
        self, inputs: Inputs, columns: dict[str, FloatArray], attrs: dict[str, Any], sigma: float, began: float
    ) -> Maps:
        table = pd.DataFrame(columns, index=pd.Index(inputs.cells, name="cell"))
        axes = ["x", "y", "z"][: inputs.centers.shape[1]]
        if self.export_centers:
            for k, axis in enumerate(axes):
                table[axis] = inputs.centers[:, k]
        errors = [c for c in columns if c.endswith(" se")]
        attrs["undefined_errors"] = int(table[errors].isna().any(axis=1).sum())
        attrs["priors"] = {
            k: getattr(self, k) for k in self.parameters() if k.endswith("prior") and getattr(self, k)
        }
        maps = Maps(table, self._mode, sigma, time.perf_counter() - began, attrs)
        maps.parent = inputs.partition
        if self.verbose:
            logger.info("%s: %d cells, %s", self._mode, len(table), attrs)
        return maps


def _full(value: float | FloatArray, size: int, name: str) -> FloatArray:
    array = np.asarray(value, dtype=float)
    if array.ndim and len(array) != size:
        raise SpecificationError(f"{name}: expected one value or one per inferred cell ({size}), got {len(array)}")
    return np.broadcast_to(array, size).astype(float)


def _attrs(objective: float, norm: float, iterations: int, converged: bool, message: str) -> dict[str, Any]:
    return {
        "objective": objective,
        "gradient_norm": norm,
        "iterations": iterations,
        "converged": converged,
        "message": message,
    }


@dataclass(eq=False, repr=False, kw_only=True)
class _Local(_Model):
    _kind: ClassVar[Model] = "D"
    _vector: ClassVar[str] = ""

    def _amplitude_prior(self) -> float | None:
        return None

    def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
        """Infer the maps of a partition.

        Parameters
        ----------
        partition : Partition
        sigma : float, optional, µm
            Localization precision; by default the partition's, else the analyzer's, else 0.03
            with a warning.

        Returns
        -------
        Maps
            One row per non-empty cell. Where the diffusivity stopped at its lower bound (a single
            translocation has no spread around its own drift, for instance), ``at bound`` is set
            and the standard errors are NaN.

        Raises
        ------
        InferenceError
            If no cell holds a translocation, or a time step is zero or undefined.
        """
        began = time.perf_counter()
        sigma = localization_precision(sigma, partition, self.owner)
        inputs = Inputs.of(partition)
        groups = Groups(inputs.statistics, sigma)
        weight = self._amplitude_prior()
        areas = np.where(np.isfinite(inputs.areas) & (inputs.areas > 0), inputs.areas, 1.0)
        amplitude = weight * areas if weight else None
        if self.diffusivity_prior:
            result, attrs = self._smooth(inputs, groups, amplitude)
        else:
            result = solve(
                groups,
                self._kind,
                jeffreys_prior=self.jeffreys_prior,
                amplitude=amplitude,
                min_diffusivity=self.min_diffusivity,
                max_iter=self.max_iter,
            )
            message = "converged" if result.converged else "the limit of iterations was reached"
            attrs = _attrs(result.objective, result.gradient_norm, result.iterations, result.converged, message)
        columns = {"diffusivity": result.diffusivity, error_column("diffusivity"): result.diffusivity_se}
        if result.b is not None and result.b_se is not None:
            _add_vector(columns, self._vector, result.b, result.b_se)
        columns[AT_BOUND] = result.at_bound
        return self._finish(inputs, columns, attrs, sigma, began)

    def _smooth(
        self, inputs: Inputs, groups: Groups, amplitude: FloatArray | None
    ) -> tuple[Estimate, dict[str, Any]]:
        profile = Profile(groups, self._kind, jeffreys_prior=self.jeffreys_prior, amplitude=amplitude)
        penalty = self.diffusivity_prior * self._roughness(inputs, None)
        bound = lower_bounds(groups, self.min_diffusivity)
        problem = SmoothProblem(profile, penalty, bound, cell_order(*inputs.neighbours))
        result, o = solve_smooth(problem, self._first_diffusivity(groups), **self._options())
        return result, _attrs(o.objective, o.gradient_norm, o.iterations, o.converged, o.message)


def _add_vector(columns: dict[str, FloatArray], name: str, values: FloatArray, errors: FloatArray) -> None:
    for k, axis in enumerate(["x", "y", "z"][: values.shape[1]]):
        columns[f"{name} {axis}"] = values[:, k]
        columns[error_column(f"{name} {axis}")] = errors[:, k]


@dataclass(eq=False, repr=False, kw_only=True)
class D(_Local):
    """Diffusivity of each cell, µm²/s; smoothed if a prior is set.

    Parameters
    ----------
    diffusivity_prior : float, optional
        Weight of the roughness of the diffusivity; None for independent cells.
    jeffreys_prior : bool
        Add Jeffreys' prior.
    min_diffusivity : float, False or None
        Lower bound in µm²/s; None keeps D·Δt + σ² above 0 (D may be slightly negative), False
        sets no bound.
    max_iter, ftol, gtol, max_runtime
        When to stop (iterations; decrease of the objective; projected gradient in units of
        standard errors; seconds).
    rgrad : {'grad', 'delta0', 'delta1'}, optional
        Measure of roughness: gradients (default), slopes to all neighbours, one-sided slopes.
    grad_selection_angle, grad_epsilon
        See `gradient.grad1`.
    D0 : float or array, optional
        Start of the iteration for smoothed models, µm²/s.
    export_centers : bool
        Add columns with the cells' centres, µm.
    verbose : bool
        Log a line per map.
    """

    _mode: ClassVar[str] = "d"


@dataclass(eq=False, repr=False, kw_only=True)
class DD(_Local):
    """Diffusivity (µm²/s) and drift (µm/s) of each cell; parameters as for `D`.

    Parameters
    ----------
    drift_prior : float, optional
        Weight of the cell's area times the squared drift.
    """

    drift_prior: float | None = setting(None, check=optional(non_negative))

    _mode: ClassVar[str] = "dd"
    _kind: ClassVar[Model] = "DD"
    _vector: ClassVar[str] = "drift"

    def _amplitude_prior(self) -> float | None:
        return self.drift_prior


@dataclass(eq=False, repr=False, kw_only=True)
class DF(_Local):
    """Diffusivity (µm²/s) and force (kT/µm) of each cell; parameters as for `D`.

    With Jeffreys' prior the diffusivity is positive. Where it stops at 0 exactly
    (``min_diffusivity=0``) the force is undefined: NaN, and ``at bound`` is set.

    Parameters
    ----------
    force_prior : float, optional
        Weight of the cell's area times the squared force.
    """

    force_prior: float | None = setting(None, check=optional(non_negative))

    _mode: ClassVar[str] = "df"
    _kind: ClassVar[Model] = "DF"
    _vector: ClassVar[str] = "force"

    def _amplitude_prior(self) -> float | None:
        return self.force_prior


_VARIANTS = {
    "standard": "delta0",
    "stochastic": "delta0",
    "semi-stochastic": "delta0",
    "semi.stochastic": "delta0",
    "naive": "delta0",
    "original": "grad",
}


@dataclass(eq=False, repr=False, kw_only=True)
class _Potential(_Model):
    potential_prior: float | None = setting(None, check=optional(non_negative))
    time_prior: Any = setting(None, check=_time_prior)
    diffusivity_time_prior: float | None = setting(None, check=optional(non_negative))
    potential_time_prior: float | None = setting(None, check=optional(non_negative))
    V0: Any = setting(None, check=_start)
    allow_negative_potential: bool = setting(True, check=boolean)


@dataclass(eq=False, repr=False)
class DV(_Potential):
    """Diffusivity (µm²/s), potential (kT) and force (kT/µm); other parameters as for `D`.

    Cells without non-empty neighbour have no gradient and get no row; their number is in
    ``maps.attrs["isolated_cells"]``. The potential has minimum 0 in each connected component
    of cells; its standard error is that of the difference to the component's mean. On an axis
    without neighbour the force is NaN, and counts as 0 in the likelihood.

    Parameters
    ----------
    variant : {'standard', 'stochastic', 'semi-stochastic', 'naive', 'original'}
        TRamWAy's name of the optimization. All find the same optimum here; 'original' measures
        roughness by gradients, the others by slopes to neighbours (see `rgrad`).
    start : {None, 'stochastic'}
        Accepted for TRamWAy's scripts; has no effect.
    diffusivity_prior, potential_prior : float, optional
        Weights of the roughness of D and of V.
    time_prior : float or (float, float), optional
        Weights of the roughness in time, relative to the spatial ones.
    diffusivity_time_prior, potential_time_prior : float, optional
        The same, absolute.
    V0 : float or array, optional
        Start of the iteration, kT; by default from the density of points.
    allow_negative_potential : bool
        Accepted for TRamWAy's scripts: the potential is only defined up to a constant.
    """

    variant: str = setting("standard", check=one_of(*_VARIANTS))
    start: str | None = setting(None, check=one_of(None, "stochastic"))

    _mode: ClassVar[str] = "dv"

    def _roughness_kind(self) -> str:
        return _ROUGHNESS[self.rgrad] or _VARIANTS[self.variant]

    def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
        """Infer the maps of a partition; see `D.infer`.

        ``maps.attrs`` tells whether the iteration converged, and why not. Standard errors are NaN
        where the data do not determine a value (a potential without prior, for instance).
        """
        began = time.perf_counter()
        sigma = localization_precision(sigma, partition, self.owner)
        everything = Inputs.of(partition)
        inputs = everything.connected()
        isolated = len(everything.cells) - len(inputs.cells)
        if len(inputs.cells) == 0:
            attrs = _attrs(0.0, 0.0, 0, True, "no two neighbouring cells hold translocations: no potential")
            columns = _empty_columns(everything.centers.shape[1])
        else:
            groups = Groups(inputs.statistics, sigma)
            problem = self._problem(inputs, groups)
            start = np.concatenate([self._first_diffusivity(groups), self._first_potential(inputs, groups)])
            result = solve_potential(problem, start, **self._options())
            o = result.optimum
            attrs = _attrs(o.objective, o.gradient_norm, o.iterations, o.converged, o.message)
            if not result.exact_errors:
                attrs["message"] += "; standard errors are approximate: the optimum is not well determined"
            columns = _potential_columns(result)
        attrs["isolated_cells"] = isolated
        attrs["rgrad"] = self._roughness_kind()
        return self._finish(inputs, columns, attrs, sigma, began)

    def _first_potential(self, inputs: Inputs, groups: Groups) -> FloatArray:
        if self.V0 is not None:
            return _full(self.V0, groups.size, "V0")
        areas = inputs.areas
        usable = np.isfinite(areas).all() and (areas > 0).all()
        density = groups.count / areas if usable else groups.count
        return np.log(density.max()) - np.log(density)

    def _problem(self, inputs: Inputs, groups: Groups) -> PotentialProblem:
        gradient = self._gradient(inputs)
        mu, lam = self.diffusivity_prior or 0.0, self.potential_prior or 0.0
        roughness = self._roughness(inputs, gradient) if mu or lam else None
        in_d, in_v = (w * roughness if w else None for w in (mu, lam))
        space = inputs.neighbours
        links, number = space, components(*space)[1]
        mu_t, lam_t = self._time_weights(mu, lam)
        if mu_t or lam_t:
            indptr, indices, times = inputs.in_time()
            change = time_penalty(times, indptr, indices)
            in_d, in_v = _plus(in_d, mu_t, change), _plus(in_v, lam_t, change)
            links = _union(space, (indptr, indices))
            number = components(*links)[1] if lam_t else number
        return PotentialProblem(
            groups,
            gradient,
            diffusivity_penalty=in_d,
            potential_penalty=in_v,
            bound=lower_bounds(groups, self.min_diffusivity),
            component=number,
            rank=cell_order(*links),
            jeffreys_prior=self.jeffreys_prior,
        )

    def _time_weights(self, mu: float, lam: float) -> tuple[float, float]:
        prior = self.time_prior
        relative = prior if isinstance(prior, tuple) else (prior or 0.0, prior or 0.0)
        mu_t, lam_t = self.diffusivity_time_prior, self.potential_time_prior
        return relative[0] * mu if mu_t is None else mu_t, relative[1] * lam if lam_t is None else lam_t


def _plus(penalty: sp.csr_array | None, weight: float, other: sp.csr_array) -> sp.csr_array | None:
    if not weight:
        return penalty
    return weight * other if penalty is None else penalty + weight * other


def _union(a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Any, Any]:
    m = len(a[0]) - 1
    graphs = [sp.csr_array((np.ones(len(i)), i, p), shape=(m, m)) for p, i in (a, b)]
    total = sp.csr_array(graphs[0] + graphs[1])
    return total.indptr, total.indices


def _potential_columns(result: PotentialEstimate) -> dict[str, FloatArray]:
    columns = {
        "diffusivity": result.diffusivity,
        error_column("diffusivity"): result.diffusivity_se,
        "potential": result.potential,
        error_column("potential"): result.potential_se,
    }
    _add_vector(columns, "force", result.force, result.force_se)
    columns[AT_BOUND] = result.at_bound
    return columns


def _empty_columns(dimension: int) -> dict[str, FloatArray]:
    empty = np.zeros(0)
    columns = {"diffusivity": empty, "diffusivity se": empty, "potential": empty, "potential se": empty}
    _add_vector(columns, "force", np.zeros((0, dimension)), np.zeros((0, dimension)))
    columns[AT_BOUND] = np.zeros(0, dtype=bool)
    return columns


@dataclass(eq=False, repr=False)
class Density(Component):
    """Number of translocations per unit of area (µm⁻ᵈ) in each non-empty cell.

    Parameters
    ----------
    scale : bool
        Multiply by the mean area of the cells.
    """

    scale: bool = setting(False, check=boolean)

    lost: ClassVar[Mapping[str, str]] = {
        "convex_hull": "areas are always those of the cells clipped to the region",
        "trust_volume": "areas are always those of the cells clipped to the region",
        "min_volume": "areas are always those of the cells clipped to the region",
        "volume": "areas are always those of the cells clipped to the region",
        "worker_count": _LOST["worker_count"],
    }

    @property
    def name(self) -> str:
        """TRamWAy's name of the mapper."""
        return "density"

    def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
        """Count the translocations of each cell; standard errors are Poisson's."""
        began = time.perf_counter()
        inputs = Inputs.of(partition)
        n = np.bincount(inputs.statistics.cell, weights=inputs.statistics.n)
        factor = inputs.areas.mean() if self.scale else 1.0
        with np.errstate(divide="ignore"):
            columns = {"density": factor * n / inputs.areas, "density se": factor * np.sqrt(n) / inputs.areas}
        table = pd.DataFrame(columns, index=pd.Index(inputs.cells, name="cell"))
        maps = Maps(table, "density", sigma, time.perf_counter() - began, {"converged": True})
        maps.parent = partition
        return maps
