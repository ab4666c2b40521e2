"""DV: diffusivity and potential, inferred jointly, as a component of a specification."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..component import boolean, one_of, setting
from ..errors import SpecificationError
from .coupled import PotentialEstimate, PotentialProblem, components, solve_potential
from .evidence import Term, Tunable
from .gradient import Gradient, time_penalty
from .inputs import Inputs, localization_precision
from .likelihood import Groups
from .maps import AT_BOUND, Maps, error_column
from .model import ROUGHNESS, BaseModel, add_vector, full, in_time, report, start_values, time_weights, weight
from .pattern import CellOrder
from .selection import AUTO, Selection, choose
from .uncoupled import lower_bounds
from .vocabulary import alias

if TYPE_CHECKING:
    import scipy.sparse as sp
from .threads import single_threaded

__all__ = ["DV"]

FloatArray = NDArray[Any]
IntArray = NDArray[Any]


_NAMES = (("diffusivity_prior", "diffusivity_time_prior"), ("potential_prior", "potential_time_prior"))
_VARIANTS = {
    "standard": "delta0",
    "stochastic": "delta0",
    "semi-stochastic": "delta0",
    "semi.stochastic": "delta0",
    "naive": "delta0",
    "original": "grad",
}


@dataclass(frozen=True, eq=False)
class _Operators:
    gradient: Gradient
    roughness: Any
    change: Any
    component: IntArray
    order: CellOrder


@dataclass(eq=False, repr=False, kw_only=True)
class _Potential(BaseModel):
    potential_prior: float | str | None = setting(None, check=weight)
    time_prior: Any = setting(None, check=time_weights)
    diffusivity_time_prior: float | str | None = setting(None, check=weight)
    potential_time_prior: float | str | None = setting(None, check=weight)
    V0: Any = setting(None, check=start_values)
    allow_negative_potential: bool = setting(True, check=boolean)

    diffusion_time_prior = alias("diffusivity_time_prior")
    potential_spatial_prior = alias("potential_prior")

    @property
    def x0(self) -> FloatArray | None:
        """Start of the iteration, `D0` then `V0`, (2 m,)."""
        if self.D0 is None or self.V0 is None:
            return None
        return np.concatenate(np.broadcast_arrays(*np.atleast_1d(self.D0, self.V0)))

    @x0.setter
    def x0(self, value: Any) -> None:
        start = start_values("DV.x0", value)
        if start is not None and np.size(start) % 2:
            raise SpecificationError(
                f"DV.x0: expected D, then V, of all inferred cells; got {np.size(start)} values"
            )
        self.D0, self.V0 = (None, None) if start is None else np.split(np.asarray(start), 2)


@dataclass(eq=False, repr=False)
class DV(_Potential):
    """Diffusivity (µm²/s), potential (kT) and force (kT/µm); other parameters as for `D`.

    A cell takes part if a neighbour holds translocations as it does; with a prior in time, also if
    it does so itself in the segment before or after. Others have neither gradient nor prior and
    get no row; their number is in ``maps.attrs["isolated_cells"]``. Segments that follow each other
    are linked, not those on both sides of an empty one. The potential has minimum 0 in each
    component of cells that neighbourhood, or a prior on V in time, connects; its standard error
    is that of the difference to the component's mean. On an axis without neighbour the force is
    NaN, and counts as 0 in the likelihood.

    Parameters
    ----------
    variant : {'standard', 'stochastic', 'semi-stochastic', 'naive', 'original'}
        TRamWAy's name of the optimization. All find the same optimum here; 'original' measures
        roughness by gradients, the others by slopes to neighbours (see `rgrad`).
    start : {None, 'stochastic'}
        Accepted for TRamWAy's scripts; has no effect.
    diffusivity_prior, potential_prior : float or 'auto', optional
        Weights of the roughness of D and of V. Each 'auto' is chosen by the evidence, together.
    time_prior : float, 'auto', or a pair of them (for D, for V), optional
        Weights of the roughness in time, relative to the spatial ones; those chosen by 'auto' are
        absolute.
    diffusivity_time_prior, potential_time_prior : float or 'auto', optional
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

    @single_threaded
    def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
        """Infer the maps of a partition; see `D.infer`.

        ``maps.attrs`` tells whether the iteration converged, and why not. Standard errors are NaN
        where the data do not determine a value (a potential without prior, for instance).
        """
        began = time.perf_counter()
        sigma = localization_precision(sigma, partition, self.owner)
        everything = Inputs.of(partition)
        inputs = everything.connected(in_time=self._linked_in_time())
        isolated = len(everything.cells) - len(inputs.cells)
        if len(inputs.cells) == 0:
            attrs = report(0.0, 0.0, 0, True, "no two neighbouring cells hold translocations: no potential")
            columns = _empty_columns(everything.centers.shape[1])
        else:
            groups = Groups(inputs.statistics, sigma)
            operators = self._operators(inputs)
            start = np.concatenate([self._first_diffusivity(groups), self._first_potential(inputs, groups)])
            selection = self._select(inputs, groups, operators, start)
            problem = self._problem(groups, operators, *self._penalties(operators, selection.weights))
            result = solve_potential(problem, start, **self._options())
            o = result.optimum
            attrs = report(o.objective, o.gradient_norm, o.iterations, o.converged, o.message)
            if not result.exact_errors:
                attrs["message"] += "; standard errors are approximate: the optimum is not well determined"
            columns = _potential_columns(result)
            if selection.weights:
                attrs["prior_selection"] = selection.report()
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

    def _linked_in_time(self) -> bool:
        return any(t or (s and r) for s, t, r in self._settings())

    def _operators(self, inputs: Inputs) -> _Operators:
        gradient = self._gradient(inputs)
        settings = self._settings()
        roughness = self._roughness(inputs, gradient) if any(s for s, _, _ in settings) else None
        order, number = CellOrder(*inputs.neighbours, inputs.centers), components(*inputs.neighbours)[1]
        change = None
        if self._linked_in_time():
            indptr, indices, times = inputs.in_time()
            change = time_penalty(times, indptr, indices)
            order = order.linked_in_time(indptr, indices, times)
            space, absolute, relative = settings[1]
            linked = absolute or (space and relative)
            number = components(order.indptr, order.indices)[1] if linked else number
        return _Operators(gradient, roughness, change, number, order)

    def _settings(self) -> list[tuple[Any, Any, float]]:
        """Return the weights in space, in time, and in time relative to space; for D and for V."""
        space = (self.diffusivity_prior, self.potential_prior)
        absolute = (self.diffusivity_time_prior, self.potential_time_prior)
        prior = self.time_prior
        # one number is for both, as far as they are smoothed in space
        pair = (
            prior
            if isinstance(prior, tuple)
            else tuple(prior if s or not any(space) else None for s in space)
        )
        return [
            (s, *in_time(s, t, r, name))
            for s, t, r, name in zip(space, absolute, pair, ("diffusivity", "potential"), strict=True)
        ]

    def _forms(self, operators: _Operators) -> list[list[tuple[str, Any, sp.csr_array]]]:
        """Return name, weight and quadratic form of each prior, for D and for V."""
        forms = []
        for (space, absolute, relative), names in zip(self._settings(), _NAMES, strict=True):
            own: list[tuple[str, Any, Any]] = []
            if space:
                form = operators.roughness
                own.append((names[0], space, form + relative * operators.change if relative else form))
            if absolute:
                own.append((names[1], absolute, operators.change))
            forms.append(own)
        return forms

    def _penalties(self, operators: _Operators, chosen: dict[str, float]) -> list[sp.csr_array | None]:
        penalties = []
        for own in self._forms(operators):
            total = None
            for name, value, form in own:
                total = _plus(total, chosen.get(name, value), form)
            penalties.append(total)
        return penalties

    def _problem(
        self, groups: Groups, operators: _Operators, in_d: sp.csr_array | None, in_v: sp.csr_array | None
    ) -> PotentialProblem:
        return PotentialProblem(
            groups,
            operators.gradient,
            diffusivity_penalty=in_d,
            potential_penalty=in_v,
            bound=lower_bounds(groups, self.min_diffusivity),
            component=operators.component,
            order=operators.order,
            jeffreys_prior=self.jeffreys_prior,
        )

    def _select(self, inputs: Inputs, groups: Groups, operators: _Operators, start: FloatArray) -> Selection:
        terms, given = [], []
        for block, own in enumerate(self._forms(operators)):
            for name, value, form in own:
                term = Term(name, form, block)
                if value == AUTO:
                    terms.append(term)
                else:
                    given.append((term, value))
        if not terms:
            return Selection({})

        def loss(whole: Groups, part: Groups, x: FloatArray) -> FloatArray:
            diffusivity, potential = x[: groups.size], x[groups.size :]
            force = -operators.gradient.apply(potential).T
            return whole.value(diffusivity, force, "DF") - part.value(diffusivity, force, "DF")

        model = Tunable(
            groups,
            [t for t in terms if t.effective],
            given,
            order=operators.order,
            problem=lambda sums, in_d, in_v: self._problem(sums, operators, in_d, in_v),
            start=start,
            loss=loss,
        )
        void = [t.name for t in terms if not t.effective]
        return choose(model, inputs, void=void, folds=self.cross_validation)


def _plus(penalty: sp.csr_array | None, weight: float, other: Any) -> sp.csr_array | None:
    if not weight:
        return penalty
    return weight * other if penalty is None else penalty + weight * other


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
