"""D, DD and DF in all cells at once, each cell on its own.

Cells with one Δt have a closed form. Others, and those with a prior on the amplitude of
drift or force, are solved together by a safeguarded Newton iteration in D alone: for a given
D the best drift or force is explicit, and so are the derivatives of what remains.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import closed_form
from .likelihood import Groups, Model, jeffreys
from .newton import CONVERGED, EXHAUSTED, INTERRUPTED

__all__ = ["Estimate", "Profile", "lower_bounds", "solve"]

FloatArray = NDArray[Any]
BoolArray = NDArray[Any]

_SMALLEST_VARIANCE = 1e-16


def lower_bounds(groups: Groups, min_diffusivity: float | bool | None) -> FloatArray:
    """Return the smallest diffusivity (m,) allowed in each cell.

    None keeps D·Δt + σ² ≥ 1e-16 µm² for the largest Δt of the cell; a number is the bound
    itself (raised where D·Δt + σ² would not be positive); False sets no bound.
    """
    least = (_SMALLEST_VARIANCE - groups.noise) / groups.dt_max
    if min_diffusivity is None:
        return least
    if min_diffusivity is False:
        return np.full(groups.size, -np.inf)
    return np.maximum(float(min_diffusivity), least)


@dataclass(frozen=True, eq=False)
class Point:
    """The profile objective at some D: value, two derivatives by D, curvature scale, best b."""

    value: FloatArray
    d1: FloatArray
    d2: FloatArray
    fisher: FloatArray
    b: FloatArray | None
    curvature: FloatArray | None
    cross: FloatArray | None


class Profile:
    """Negative log posterior of each cell as a function of D, at the best drift or force.

    Parameters
    ----------
    groups : Groups
    model : 'D', 'DD' or 'DF'
    jeffreys_prior : bool
    amplitude : (m,) float, optional
        Weight of |b|² per cell: prior on the drift or force times the area.
    """

    def __init__(
        self,
        groups: Groups,
        model: Model,
        *,
        jeffreys_prior: bool = False,
        amplitude: FloatArray | None = None,
    ) -> None:
        self.groups, self.model, self.jeffreys_prior = groups, model, jeffreys_prior
        self.amplitude = amplitude
        self.positive = jeffreys_prior and model == "DF"

    @property
    def infimum(self) -> FloatArray:
        """Value of D (m,) at which the posterior ceases to be defined."""
        g = self.groups
        return np.zeros(g.size) if self.positive else -g.noise / g.dt_max

    def best(self, diffusivity: FloatArray) -> FloatArray | None:
        """Return the best drift or force (m, d) for given D; NaN for a force where D is 0."""
        if self.model == "D":
            return None
        g = self.groups
        s = g.spread(diffusivity) * g.dt + g.noise
        if self.amplitude is None:
            linear = g.sum((g.dt / s)[:, None] * g.s1)
            drift = linear / _or_one(g.sum(g.n * g.dt**2 / s))[:, None]
            if self.model == "DD":
                return drift
            return drift / np.where(diffusivity == 0, np.nan, diffusivity)[:, None]
        tau = g.dt if self.model == "DD" else g.spread(diffusivity) * g.dt
        linear = g.sum((tau / (2 * s))[:, None] * g.s1)
        return linear / _or_one(g.sum(g.n * tau**2 / (2 * s)) + 2 * self.amplitude)[:, None]

    def value(self, diffusivity: FloatArray) -> FloatArray:
        """Return the objective per cell (m,)."""
        g = self.groups
        model: Model = "DD" if self.model == "DF" and self.amplitude is None else self.model
        b = Profile(g, model, amplitude=self.amplitude).best(diffusivity)
        value = g.value(diffusivity, b, model)
        if b is not None and self.amplitude is not None:
            value = value + self.amplitude * np.einsum("ik,ik->i", b, b)
        if self.jeffreys_prior:
            value = value + jeffreys(g, diffusivity, force=self.model == "DF")[0]
        return value

    def point(self, diffusivity: FloatArray) -> Point:
        """Return the objective and its derivatives along the profile."""
        g = self.groups
        # without a prior on its amplitude a force is a drift divided by D: same profile, no pole at 0
        model: Model = "DD" if self.model == "DF" and self.amplitude is None else self.model
        b = Profile(g, model, amplitude=self.amplitude).best(diffusivity)
        t = g.terms(diffusivity, b, model)
        value, d1, d2 = t.value, t.d1, t.d2
        curvature = t.b2
        if b is not None:
            if self.amplitude is not None:
                value = value + self.amplitude * np.einsum("ik,ik->i", b, b)
                curvature = curvature + 2 * self.amplitude
            d2 = d2 - np.einsum("ik,ik->i", t.db, t.db) / _or_one(curvature)
        if self.jeffreys_prior:
            j0, j1, j2 = jeffreys(g, diffusivity, force=self.model == "DF")
            value, d1, d2 = value + j0, d1 + j1, d2 + j2
        return Point(value, d1, d2, t.fisher, b, curvature, t.db)

    def errors(self, diffusivity: FloatArray, variance: FloatArray) -> FloatArray | None:
        """Return the standard errors (m, d) of drift or force, given the variances (m,) of D."""
        if self.model == "D":
            return None
        t = self.groups.terms(diffusivity, self.best(diffusivity), self.model)
        curvature = t.b2 if self.amplitude is None else t.b2 + 2 * self.amplitude
        with np.errstate(divide="ignore", invalid="ignore"):
            own = 1 / curvature
            squared = own[:, None] + (t.db * own[:, None]) ** 2 * variance[:, None]
        return _root(squared)


@dataclass(frozen=True, eq=False)
class Estimate:
    """Values per cell and their standard errors.

    Attributes
    ----------
    diffusivity, diffusivity_se : (m,) float, µm²/s
    b, b_se : (m, d) float or None
        Drift (µm/s) or force (kT/µm).
    at_bound : (m,) bool
        Cells whose diffusivity stopped at its lower bound; their standard errors are NaN.
    objective : float
    iterations : int
    converged : bool
    message : str
        Why the iteration ended.
    """

    diffusivity: FloatArray
    diffusivity_se: FloatArray
    b: FloatArray | None
    b_se: FloatArray | None
    at_bound: BoolArray
    objective: float
    gradient_norm: float
    iterations: int
    converged: bool
    message: str = ""


def _root(squared: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.where((squared > 0) & np.isfinite(squared), squared, np.nan))


def _or_one(curvature: FloatArray) -> FloatArray:
    # cells from which cross-validation took all translocations
    return np.where(curvature == 0, 1.0, curvature)


def solve(
    groups: Groups,
    model: Model,
    *,
    jeffreys_prior: bool = False,
    amplitude: FloatArray | None = None,
    min_diffusivity: float | bool | None = None,
    max_iter: int | None = None,
    max_runtime: float | None = None,
) -> Estimate:
    """Infer D, DD or DF in every cell.

    Parameters
    ----------
    groups : Groups
    model : 'D', 'DD' or 'DF'
    jeffreys_prior : bool
    amplitude : (m,) float, optional
        Weight of |drift|² or |force|² per cell.
    min_diffusivity : float, False or None
        See `lower_bounds`.
    max_iter : int, optional
        Limit to Newton's iterations, by default 100.
    max_runtime : float, optional, s
        After which Newton's iterations are interrupted.
    """
    profile = Profile(groups, model, jeffreys_prior=jeffreys_prior, amplitude=amplitude)
    bound = lower_bounds(groups, min_diffusivity)
    if groups.single and amplitude is None:
        diffusivity = closed_form.diffusivity(groups, model, jeffreys_prior=jeffreys_prior)
        iterations, message = 0, CONVERGED
    else:
        diffusivity, iterations, message = _newton(profile, bound, max_iter or 100, max_runtime)
    floor = np.maximum(bound, profile.infimum + _SMALLEST_VARIANCE / groups.dt_max)
    at_bound = diffusivity <= np.maximum(bound, floor)
    diffusivity = np.where(diffusivity < floor, floor, diffusivity)
    converged = message == CONVERGED
    found = estimate(profile, diffusivity, at_bound, iterations=iterations, converged=converged)
    return replace(found, message=message)


def estimate(
    profile: Profile,
    diffusivity: FloatArray,
    at_bound: BoolArray,
    *,
    iterations: int,
    converged: bool,
) -> Estimate:
    """Complete the diffusivities with drift or force, and with errors from the observed information."""
    at = profile.point(diffusivity)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(at_bound | ~(at.d2 > 0), np.nan, 1 / at.d2)
        gradient = np.where(at_bound, 0.0, np.abs(at.d1) / np.sqrt(np.maximum(at.d2, 1e-3 * at.fisher)))
    return Estimate(
        diffusivity,
        _root(variance),
        profile.best(diffusivity),
        profile.errors(diffusivity, variance),
        at_bound,
        float(at.value.sum()),
        float(gradient.max(initial=0.0)),
        iterations,
        converged,
    )


def _newton(
    profile: Profile, bound: FloatArray, max_iter: int, max_runtime: float | None
) -> tuple[FloatArray, int, str]:
    # in y = log(D − infimum) the likelihood of a single Δt is convex, so Newton is safe far from the root
    g = profile.groups
    origin = profile.infimum
    floor = np.maximum(bound - origin, _SMALLEST_VARIANCE / g.dt_max)
    lowest = np.log(floor)
    start = g.sum(g.s2) / (2 * g.dimension * g.count * g.dt_mean)
    y = np.maximum(np.log(np.maximum(start, floor)), lowest)
    low, high = lowest.copy(), np.full(g.size, np.inf)
    began = time.perf_counter()
    for iteration in range(1, max_iter + 1):
        if max_runtime is not None and time.perf_counter() - began > max_runtime:
            return origin + np.exp(y), iteration - 1, INTERRUPTED
        w = np.exp(y)
        at = profile.point(origin + w)
        slope = w * at.d1
        curvature = w * w * at.d2 + slope
        low = np.where(slope < 0, y, low)
        high = np.where(slope > 0, y, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.where(curvature > 0, -slope / curvature, -np.sign(slope))
        target = np.maximum(y + np.clip(step, -2.0, 2.0), lowest)
        middle = np.where(np.isfinite(high), (low + high) / 2, y + 2.0)
        target = np.where((target < low) | (target > high), middle, target)
        moved = np.abs(target - y)
        y = target
        if moved.max() <= 1e-12 * max(1.0, np.abs(y).max()):
            return origin + np.exp(y), iteration, CONVERGED
    return origin + np.exp(y), max_iter, CONVERGED if moved.max() < 1e-6 else EXHAUSTED
