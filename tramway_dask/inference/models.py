"""The models as components of an analyzer's specification: D, DD, DF, DV and the density."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..component import boolean, non_negative, optional, setting
from .base import Mapper
from .bayes_factor import BayesFactor
from .conjugate import DConjugatePrior
from .coupled import SmoothProblem, solve_smooth
from .densities import LocalDensity, SphericalVolume
from .derived import Curl, Gradients
from .evidence import Term, Tunable
from .gradient import time_penalty
from .inputs import Inputs, localization_precision
from .intervals import exact_intervals
from .likelihood import Groups, Model
from .maps import AT_BOUND, Maps, error_column
from .marginal import Marginal
from .model import BaseModel, add_vector, in_time, report, time_weights, weight
from .pattern import CellOrder
from .potential import DV
from .selection import AUTO, Selection, choose
from .signal import Signal, signal_columns, spurious_columns
from .spatial import finish
from .threads import single_threaded
from .uncoupled import Estimate, Profile, lower_bounds, solve
from .vocabulary import LOST, alias

__all__ = [
    "DD",
    "DF",
    "DV",
    "SNR",
    "BayesFactor",
    "Curl",
    "D",
    "DConjugatePrior",
    "Density",
    "Gradients",
    "LocalDensity",
    "SphericalVolume",
]

FloatArray = NDArray[Any]


@dataclass(eq=False, repr=False, kw_only=True)
class _Local(BaseModel):
    time_prior: Any = setting(None, check=time_weights)
    diffusivity_time_prior: float | str | None = setting(None, check=weight)

    diffusion_time_prior = alias("diffusivity_time_prior")

    _kind: ClassVar[Model] = "D"
    _vector: ClassVar[str] = ""

    def _amplitude_prior(self) -> float | None:
        return None

    @single_threaded
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
        prior = self._amplitude_prior()
        areas = np.where(np.isfinite(inputs.areas) & (inputs.areas > 0), inputs.areas, 1.0)
        amplitude = prior * areas if prior else None
        forms, order = self._forms(inputs)
        automatic = any(value == AUTO for _, value, _ in forms)
        selection = self._select(inputs, groups, amplitude, forms, order) if automatic else None
        chosen = {} if selection is None else selection.weights
        penalty = sum((value * form for name, given, form in forms if (value := chosen.get(name, given))), 0)
        if np.ndim(penalty):
            result, attrs = self._smooth(groups, amplitude, penalty, order)
        else:
            result = solve(
                groups,
                self._kind,
                jeffreys_prior=self.jeffreys_prior,
                amplitude=amplitude,
                min_diffusivity=self.min_diffusivity,
                max_iter=self.max_iter,
                max_runtime=self.max_runtime,
            )
            attrs = report(
                result.objective, result.gradient_norm, result.iterations, result.converged, result.message
            )
        if selection is not None:
            attrs["prior_selection"] = selection.report()
        columns = {"diffusivity": result.diffusivity, error_column("diffusivity"): result.diffusivity_se}
        if result.b is not None and result.b_se is not None:
            add_vector(columns, self._vector, result.b, result.b_se)
        columns[AT_BOUND] = result.at_bound
        return self._finish(inputs, columns, attrs, sigma, began)

    def _intervals(
        self, inputs: Inputs, columns: dict[str, FloatArray], sigma: float
    ) -> dict[str, FloatArray]:
        if self.diffusivity_prior or self.diffusivity_time_prior or self._amplitude_prior():
            return super()._intervals(inputs, columns, sigma)
        assert self.confidence is not None
        groups = Groups(inputs.statistics, sigma)
        bound = lower_bounds(groups, self.min_diffusivity)
        return exact_intervals(groups, self._kind, self.confidence, bound)

    def _forms(self, inputs: Inputs) -> tuple[list[tuple[str, Any, Any]], CellOrder]:
        """Return name, weight and quadratic form of each prior on the roughness, and what they link."""
        order = CellOrder(*inputs.neighbours, inputs.centers)
        space = self.diffusivity_prior
        first = self.time_prior[0] if isinstance(self.time_prior, tuple) else self.time_prior
        absolute, relative = in_time(space, self.diffusivity_time_prior, first, "diffusivity")
        forms: list[tuple[str, Any, Any]] = []
        change: Any = None
        if absolute or relative:
            links = inputs.in_time()
            change = time_penalty(links[2], *links[:2])
            order = order.linked_in_time(*links)
        if space:
            form = self._roughness(inputs, None)
            forms.append(("diffusivity_prior", space, form + relative * change if relative else form))
        if absolute:
            forms.append(("diffusivity_time_prior", absolute, change))
        return forms, order

    def _smooth(
        self, groups: Groups, amplitude: FloatArray | None, penalty: Any, order: CellOrder
    ) -> tuple[Estimate, dict[str, Any]]:
        profile = Profile(groups, self._kind, jeffreys_prior=self.jeffreys_prior, amplitude=amplitude)
        problem = SmoothProblem(profile, penalty, lower_bounds(groups, self.min_diffusivity), order)
        result, o = solve_smooth(problem, self._first_diffusivity(groups), **self._options())
        return result, report(o.objective, o.gradient_norm, o.iterations, o.converged, o.message)

    def _select(
        self,
        inputs: Inputs,
        groups: Groups,
        amplitude: FloatArray | None,
        forms: list[tuple[str, Any, Any]],
        order: CellOrder,
    ) -> Selection:
        def posterior(sums: Groups) -> Marginal:
            return Marginal(sums, self._kind, jeffreys_prior=self.jeffreys_prior, amplitude=amplitude)

        bound = lower_bounds(groups, self.min_diffusivity)
        terms = [Term(name, form) for name, value, form in forms if value == AUTO]
        model = Tunable(
            groups,
            [term for term in terms if term.effective],
            [(Term(name, form), value) for name, value, form in forms if value != AUTO],
            order=order,
            problem=lambda sums, penalty: SmoothProblem(posterior(sums), penalty, bound, order),
            start=self._first_diffusivity(groups),
            loss=lambda whole, part, x: posterior(whole).loss(posterior(part), x),
        )
        void = [term.name for term in terms if not term.effective]
        return choose(model, inputs, void=void, folds=self.cross_validation)


@dataclass(eq=False, repr=False, kw_only=True)
class D(_Local):
    """Diffusivity of each cell, µm²/s; smoothed if a prior is set.

    Parameters
    ----------
    diffusivity_prior : float or 'auto', optional
        Weight of the roughness of the diffusivity; None for independent cells. With 'auto', that of
        the largest evidence; ``maps.attrs["prior_selection"]`` tells why, see `selection.Selection`.
    cross_validation : int
        Folds of trajectories in which weights chosen by 'auto' are cross-validated; 0 for not.
    time_prior : float or 'auto', optional
        Weight of its changes from time segment to time segment, relative to `diffusivity_prior`;
        of a pair the first counts. Without such weight each segment is inferred on its own.
    diffusivity_time_prior : float or 'auto', optional, s²
        The same, absolute.
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
    confidence : float, optional
        Level of confidence intervals, such as 0.95: adds columns ``diffusivity low`` and
        ``diffusivity high``, and likewise for every variable. Without priors they are exact for any
        number of translocations, unlike multiples of the standard error: see `intervals`.
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
    potential_prior = alias("force_prior")

    _mode: ClassVar[str] = "df"
    _kind: ClassVar[Model] = "DF"
    _vector: ClassVar[str] = "force"

    def _amplitude_prior(self) -> float | None:
        return self.force_prior


@dataclass(eq=False, repr=False, kw_only=True)
class SNR(D):
    """Diffusivity as of `D`, and the signal-to-noise ratios that `BayesFactor` needs.

    Adds the columns ``n``, ``V_prior``, ``V`` (µm²), ``zeta_total`` and ``zeta_spurious`` of
    `DConjugatePrior`. Given maps with a diffusivity, these are extended instead. All time steps
    must be equal.
    """

    takes_maps: ClassVar[bool] = True
    _mode: ClassVar[str] = "snr"

    @single_threaded
    def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
        """Infer the maps of a partition, or extend maps; see `D.infer`."""
        began = time.perf_counter()
        if isinstance(partition, Maps):
            maps = partition
            maps["diffusivity"]  # says what there is, if there is none
        else:
            maps = super().infer(partition, sigma=sigma)
        inputs = Inputs.of(maps).only(maps.table.index.to_numpy())
        signal = Signal.of(inputs)
        diffusivity = maps.table["diffusivity"].to_numpy(dtype=float)
        error = np.zeros_like(diffusivity)
        if error_column("diffusivity") in maps.table:
            error = maps.table[error_column("diffusivity")].to_numpy(dtype=float)
        columns = signal_columns(signal) | spurious_columns(
            signal, self._gradient(inputs), diffusivity, error
        )
        table = maps.table.drop(columns=list(columns), errors="ignore")
        columns = {str(c): table[c].to_numpy() for c in table.columns} | columns
        return finish(
            inputs, columns, {**maps.attrs, "settings": self._parameters_set()}, self._mode, maps.sigma, began
        )


@dataclass(eq=False, repr=False)
class Density(Mapper):
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
        "worker_count": LOST["worker_count"],
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
        attrs = {"converged": True, "settings": self._parameters_set()}
        maps = Maps(table, "density", sigma, time.perf_counter() - began, attrs)
        maps.parent = partition
        return maps
