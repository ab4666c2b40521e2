"""Confidence intervals that hold at any number of translocations, from pivots.

The most probable diffusivity is biased by 1/n around an own drift and its distribution is
skewed, so that "value ± 1.96 standard errors" covers the truth too rarely in cells with few
translocations (83 % at n = 10 for DD). Instead, with s = D Δt + σ² and â(D) the best drift given D::

    Q(D) = Σ |Δr − â(D) Δt|² / (2 s)  ~  χ² with d (n − 1) degrees of freedom
    Q(D) = Σ |Δr|² / (2 s)            ~  χ² with d n, without drift

at the true D, exactly, whatever the time steps. Q decreases with D, hence the limits of D. With
D_u where Q(D_u) = d (n − 1), the drift has Student's distribution with as many degrees of
freedom, exactly for one time step. The force, drift over D, has for limits the quantiles of its
fiducial distribution: D drawn from the pivot, the drift given D; where D might be 0, they are wide.

Joint models have no pivot: their limits are those of a normal distribution, of log s for D.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecificationError
from .likelihood import Groups, Model
from .maps import error_column

__all__ = ["drift_interval", "exact_intervals", "limits", "normal_intervals", "pivot_inverse", "probability"]

FloatArray = NDArray[Any]

# points of the distribution of D over which that of a force is averaged
_DRAWS = 64
_BISECTIONS = 50


def probability(name: str, value: Any) -> float:
    """Accept a number strictly between 0 and 1."""
    if np.isscalar(value) and not isinstance(value, str | bool) and 0 < value < 1:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    raise SpecificationError(f"{name}: expected a number between 0 and 1, such as 0.95, got {value!r}")


def limits(name: str) -> tuple[str, str]:
    """Return the names of the columns with the limits of a variable's interval."""
    return f"{name} low", f"{name} high"


def _degrees(groups: Groups, drift: bool) -> FloatArray:
    return groups.dimension * (groups.count - 1 if drift else groups.count)


def _drift(groups: Groups, diffusivity: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the best drift (m, d) for given D, and its variance (m,)."""
    s = groups.spread(diffusivity) * groups.dt + groups.noise
    weight = groups.sum(groups.n * groups.dt**2 / s)
    return groups.sum((groups.dt / s)[:, None] * groups.s1) / weight[:, None], 2 / weight


def _pivot(groups: Groups, diffusivity: FloatArray, drift: bool) -> FloatArray:
    s = groups.spread(diffusivity) * groups.dt + groups.noise
    q = groups.sum(groups.s2 / (2 * s))
    if drift:
        best, variance = _drift(groups, diffusivity)
        q = q - np.einsum("ik,ik->i", best, best) / variance
    return np.maximum(q, 0.0)


def pivot_inverse(groups: Groups, target: FloatArray, *, drift: bool) -> FloatArray:
    """Return the diffusivity (m,) at which Q equals a target (m,), -inf where Q is less everywhere."""
    if groups.single:
        spread = groups.s2
        if drift:
            spread = np.maximum(spread - np.einsum("gk,gk->g", groups.s1, groups.s1) / groups.n, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (spread / (2 * target) - groups.noise) / groups.dt
    origin = -groups.noise / groups.dt_max
    least = np.log(1e-12 * np.maximum(groups.noise, 1e-12) / groups.dt_max)
    # Q is below S2/2w at D = infimum + w
    with np.errstate(divide="ignore", invalid="ignore"):
        high = np.log(groups.sum(groups.s2 / groups.dt) / (2 * target))
        high = np.where(np.isfinite(high), high, np.nan)
    low, high = least, np.maximum(high, least)
    without = ~(_pivot(groups, origin + np.exp(least), drift) >= target)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        above = _pivot(groups, origin + np.exp(middle), drift) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(without, np.where(np.isnan(target), np.nan, -np.inf), origin + np.exp((low + high) / 2))


def _diffusivity_interval(
    groups: Groups, drift: bool, level: float, bound: FloatArray
) -> tuple[FloatArray, FloatArray]:
    from scipy.special import chdtri

    freedom = _degrees(groups, drift)
    known = np.where(freedom > 0, freedom, np.nan)
    low, high = (
        pivot_inverse(groups, chdtri(known, tail), drift=drift) for tail in ((1 - level) / 2, (1 + level) / 2)
    )
    return np.maximum(low, bound), np.maximum(high, bound)


def drift_interval(groups: Groups, level: float) -> tuple[FloatArray, FloatArray]:
    """Return the limits (m, d) of the drift, µm/s; NaN where the spread is less than any noise makes it."""
    from scipy.special import stdtrit

    freedom = _degrees(groups, drift=True)
    known = np.where(freedom > 0, freedom, np.nan)
    spread = pivot_inverse(groups, known, drift=True)
    best, variance = _drift(groups, np.where(np.isfinite(spread), spread, np.nan))
    half = (stdtrit(known, (1 + level) / 2) * np.sqrt(variance))[:, None]
    return best - half, best + half


def _force_interval(groups: Groups, level: float) -> tuple[FloatArray, FloatArray]:
    from scipy.special import chdtri

    freedom = _degrees(groups, drift=True)
    known = np.where(freedom > 0, freedom, np.nan)
    mean, deviation, weight = [], [], []
    for tail in (np.arange(_DRAWS) + 0.5) / _DRAWS:
        d = pivot_inverse(groups, chdtri(known, tail), drift=True)
        positive = d > 0
        d = np.where(positive, d, 1.0)
        best, variance = _drift(groups, d)
        mean.append(best / d[:, None])
        deviation.append((np.sqrt(variance) / d)[:, None])
        weight.append(positive[:, None])
    center, spread, counts = np.array(mean), np.array(deviation), np.array(weight, dtype=float)
    total = counts.sum(axis=0)
    counts = np.where(total > 0, counts / np.where(total > 0, total, 1.0), np.nan)
    return _mixture_quantile(center, spread, counts, (1 - level) / 2), _mixture_quantile(
        center, spread, counts, (1 + level) / 2
    )


def _mixture_quantile(center: FloatArray, spread: FloatArray, weight: FloatArray, q: float) -> FloatArray:
    """Return a quantile (m, d) of mixtures, along the first axis, of normal distributions."""
    from scipy.special import ndtr

    used = weight > 0
    low = np.where(used, center - 9 * spread, np.inf).min(axis=0)
    high = np.where(used, center + 9 * spread, -np.inf).max(axis=0)
    undefined = ~np.isfinite(weight).all(axis=0) | ~np.isfinite(low)
    low, high = np.where(undefined, 0.0, low), np.where(undefined, 1.0, high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = np.sum(weight * ndtr((middle - center) / spread), axis=0) < q
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(undefined, np.nan, (low + high) / 2)


def exact_intervals(groups: Groups, model: Model, level: float, bound: FloatArray) -> dict[str, FloatArray]:
    """Return the columns with the limits of D, and of drift or force, in independent cells.

    They follow from the data alone, whatever the prior. Limits of D are at `bound` (m,) at least.
    """
    pairs = {"diffusivity": _diffusivity_interval(groups, model != "D", level, bound)}
    if model != "D":
        name, find = ("drift", drift_interval) if model == "DD" else ("force", _force_interval)
        low, high = find(groups, level)
        for k, axis in enumerate("xyz"[: groups.dimension]):
            pairs[f"{name} {axis}"] = low[:, k], high[:, k]
    columns: dict[str, FloatArray] = {}
    for name, pair in pairs.items():
        columns |= dict(zip(limits(name), pair, strict=True))
    return columns


def normal_intervals(
    columns: dict[str, FloatArray], level: float, dt: FloatArray, noise: float
) -> dict[str, FloatArray]:
    """Return the columns with the limits of every variable that has a standard error.

    Parameters
    ----------
    columns : dict
        Variables and their errors.
    level : float
    dt : (m,) float, s
        Mean time step of each cell.
    noise : float, µm²
        σ².
    """
    from scipy.special import ndtri

    z = float(ndtri((1 + level) / 2))
    found: dict[str, FloatArray] = {}
    for name, value in columns.items():
        if error_column(name) not in columns:
            continue
        error = columns[error_column(name)]
        low, high = value - z * error, value + z * error
        if name == "diffusivity":
            s = value * dt + noise
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                factor = np.exp(z * error * dt / s)
                low, high = (s / factor - noise) / dt, (s * factor - noise) / dt
        found |= dict(zip(limits(name), (low, high), strict=True))
    return found
