"""DV: diffusivity and potential, inferred jointly, as a component of a specification."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..component import boolean, non_negative, one_of, optional, setting
from ..errors import SpecificationError
from .coupled import PotentialEstimate, PotentialProblem, components, solve_potential
from .gradient import time_penalty
from .inputs import Inputs, localization_precision
from .likelihood import Groups
from .maps import AT_BOUND, Maps, error_column
from .model import ROUGHNESS, BaseModel, add_vector, full, report, start_values
from .pattern import CellOrder
from .uncoupled import lower_bounds

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = ["DV"]

FloatArray = NDArray[Any]


def _time_prior(name: str, value: Any) -> Any:
    if value is None or np.isscalar(value):
        return None if value is None else non_negative(name, value)
    pair = tuple(non_negative(name, v) for v in value)
    if len(pair) != 2:
        raise SpecificationError(f"{name}: expected a number or a pair (for D, for V), got {value!r}")
    return pair


_VARIANTS = {
    "standard": "delta0",
    "stochastic": "delta0",
    "semi-stochastic": "delta0",
    "semi.stochastic": "delta0",
    "naive": "delta0",
    "original": "grad",
}


@dataclass(eq=False, repr=False, kw_only=True)
class _Potential(BaseModel):
    potential_prior: float | None = setting(None, check=optional(non_negative))
    time_prior: Any = setting(None, check=_time_prior)
    diffusivity_time_prior: float | None = setting(None, check=optional(non_negative))
    potential_time_prior: float | None = setting(None, check=optional(non_negative))
    V0: Any = setting(None, check=start_values)
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
        return ROUGHNESS[self.rgrad] or _VARIANTS[self.variant]

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
            attrs = report(0.0, 0.0, 0, True, "no two neighbouring cells hold translocations: no potential")
            columns = _empty_columns(everything.centers.shape[1])
        else:
            groups = Groups(inputs.statistics, sigma)
            problem = self._problem(inputs, groups)
            start = np.concatenate([self._first_diffusivity(groups), self._first_potential(inputs, groups)])
            result = solve_potential(problem, start, **self._options())
            o = result.optimum
            attrs = report(o.objective, o.gradient_norm, o.iterations, o.converged, o.message)
            if not result.exact_errors:
                attrs["message"] += "; standard errors are approximate: the optimum is not well determined"
            columns = _potential_columns(result)
        attrs["isolated_cells"] = isolated
        attrs["rgrad"] = self._roughness_kind()
        return self._finish(inputs, columns, attrs, sigma, began)

    def _first_potential(self, inputs: Inputs, groups: Groups) -> FloatArray:
        if self.V0 is not None:
            return full(self.V0, groups.size, "V0")
        areas = inputs.areas
        usable = np.isfinite(areas).all() and (areas > 0).all()
        density = groups.count / areas if usable else groups.count
        return np.log(density.max()) - np.log(density)

    def _problem(self, inputs: Inputs, groups: Groups) -> PotentialProblem:
        gradient = self._gradient(inputs)
        mu, lam = self.diffusivity_prior or 0.0, self.potential_prior or 0.0
        roughness = self._roughness(inputs, gradient) if mu or lam else None
        in_d, in_v = (_plus(None, w, roughness) for w in (mu, lam))
        space = inputs.neighbours
        links, number, places = space, components(*space)[1], inputs.centers
        mu_t, lam_t = self._time_weights(mu, lam)
        if mu_t or lam_t:
            indptr, indices, times = inputs.in_time()
            change = time_penalty(times, indptr, indices)
            in_d, in_v = _plus(in_d, mu_t, change), _plus(in_v, lam_t, change)
            links = _union(space, (indptr, indices))
            places = np.column_stack([places, times])
            number = components(*links)[1] if lam_t else number
        return PotentialProblem(
            groups,
            gradient,
            diffusivity_penalty=in_d,
            potential_penalty=in_v,
            bound=lower_bounds(groups, self.min_diffusivity),
            component=number,
            order=CellOrder(*links, places),
            jeffreys_prior=self.jeffreys_prior,
        )

    def _time_weights(self, mu: float, lam: float) -> tuple[float, float]:
        prior = self.time_prior
        relative = prior if isinstance(prior, tuple) else (prior or 0.0, prior or 0.0)
        mu_t, lam_t = self.diffusivity_time_prior, self.potential_time_prior
        return relative[0] * mu if mu_t is None else mu_t, relative[1] * lam if lam_t is None else lam_t


def _plus(penalty: sp.csr_array | None, weight: float, other: Any) -> sp.csr_array | None:
    if not weight:
        return penalty
    return weight * other if penalty is None else penalty + weight * other


def _union(a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Any, Any]:
    import scipy.sparse as sp

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
    add_vector(columns, "force", result.force, result.force_se)
    columns[AT_BOUND] = result.at_bound
    return columns


def _empty_columns(dimension: int) -> dict[str, FloatArray]:
    empty = np.zeros(0)
    columns = {"diffusivity": empty, "diffusivity se": empty, "potential": empty, "potential se": empty}
    add_vector(columns, "force", np.zeros((0, dimension)), np.zeros((0, dimension)))
    columns[AT_BOUND] = np.zeros(0, dtype=bool)
    return columns
