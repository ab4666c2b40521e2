"""Bayes factors of a force against the spurious drift of a diffusivity gradient, on vectors.

With the notation of `signal` and `conjugate`, and v = 1 + n_π V_π/(n V), ρ = n V/(4 σ²), the
ratio of the evidence for a force to that for the diffusivity's gradient alone, of unknown
share λ in [0, 1] (the Itô–Stratonovich ambiguity), is [1]_::

    log10 B = log10(I(η²)/I(1)) + d log10 η,   I(E) = ∫₀¹ q^(−p) P(p, ρ q) dλ,
    q(λ) = v + E |zeta_total − λ zeta_spurious|²

The integrand has one maximum, where q is smallest. Each side of it is integrated by
Gauss–Legendre quadrature in τ, λ = λ* ± L sinh τ with L the distance over which q doubles, up to
where the integrand is negligible: 48 nodes give 12 digits, for any width of the peak.

References
----------
.. [1] Serov et al., Statistical tests for force inference in heterogeneous environments,
   Scientific Reports 10, 3783 (2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .conjugate import log_gammainc, power, prior_weight

__all__ = ["Evidence", "minimal_counts"]

FloatArray = NDArray[Any]
IntArray = NDArray[Any]

DIMENSION = 2
_NODES = 48
# 6 digits, enough to find where a threshold is crossed
_SEARCH_NODES = 20
# exponent at which the integrand is given up, twice 40 as the bound on its decrease is half of it
_NEGLIGIBLE = 80.0
_DOUBLINGS = 40


@cache
def _quadrature(nodes: int) -> tuple[FloatArray, FloatArray]:
    x, w = np.polynomial.legendre.leggauss(nodes)
    return (x + 1) / 2, w / 2


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the Bayes factor of each cell depends on, but for the number of translocations.

    Attributes
    ----------
    total, spurious : (m, 2) float
        Signal-to-noise ratios.
    variance, others : (m,) float, µm²
        V and V_π.
    noise : float, µm²
        σ²; may be 0.
    """

    total: FloatArray
    spurious: FloatArray
    variance: FloatArray
    others: FloatArray
    noise: float

    def take(self, rows: IntArray) -> Evidence:
        """Return some of the cells."""
        total, spurious = self.total[rows], self.spurious[rows]
        return Evidence(total, spurious, self.variance[rows], self.others[rows], self.noise)

    def log10(self, n: FloatArray, nodes: int = _NODES) -> FloatArray:
        """Return log10 B (m,) for n translocations in each cell."""
        weight = prior_weight(DIMENSION)
        eta2 = weight / (n + weight)
        with_force = self._log_integral(n, eta2, nodes)
        without = self._log_integral(n, np.ones_like(eta2), nodes)
        return (with_force - without) / np.log(10) + DIMENSION / 2 * np.log10(eta2)

    def _log_integral(self, n: FloatArray, scale: FloatArray, nodes: int) -> FloatArray:
        p = power(n, DIMENSION)
        v = 1 + prior_weight(DIMENSION) / n * self.others / self.variance
        rho = n * self.variance / (4 * self.noise) if self.noise > 0 else np.full(len(n), np.inf)
        c = scale * np.einsum("ik,ik->i", self.spurious, self.spurious)
        cross = scale * np.einsum("ik,ik->i", self.total, self.spurious)
        with np.errstate(divide="ignore", invalid="ignore"):
            peak = np.where(c > 0, np.clip(cross / c, 0.0, 1.0), 0.0)
        rest = self.total - peak[:, None] * self.spurious
        lowest = v + scale * np.einsum("ik,ik->i", rest, rest)
        slope = np.abs(c * peak - cross)
        slope[(peak > 0) & (peak < 1)] = 0.0
        top = _log_integrand(lowest, p, rho)
        sides = [np.where(peak < 1, 1 - peak, 0.0), peak]
        row = np.concatenate([np.flatnonzero(s > 0) for s in sides])
        length = np.concatenate([s[s > 0] for s in sides])
        piece = _one_side(
            lowest[row], slope[row], c[row], length, p[row], rho[row], top[row], _quadrature(nodes)
        )
        return top + np.log(np.bincount(row, weights=piece, minlength=len(n)))


def _log_integrand(q: FloatArray, p: FloatArray, rho: FloatArray) -> FloatArray:
    value = -p * np.log(q)
    x = rho * q
    # beyond, P(p, x) is 1 to rounding
    counts = x < p + 12 * np.sqrt(p) + 80
    if counts.any():
        value[counts] += log_gammainc(p[counts], x[counts])
    return value


def _furthest(lowest: FloatArray, p: FloatArray, rho: FloatArray) -> FloatArray:
    """Return a value of q beyond which the integrand is negligible.

    The logarithm of q^(−p) P(p, ρq) decreases at least half as fast as min(ρ, p/q).
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        turn = p / rho
        linear = lowest + _NEGLIGIBLE / rho
        left = np.where(turn > lowest, _NEGLIGIBLE - rho * (turn - lowest), _NEGLIGIBLE)
        algebraic = np.maximum(turn, lowest) * np.exp(left / p)
        return np.where(linear < turn, linear, algebraic)


def _one_side(
    lowest: FloatArray,
    b: FloatArray,
    c: FloatArray,
    length: FloatArray,
    p: FloatArray,
    rho: FloatArray,
    top: FloatArray,
    rule: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """Return the integral, relative to its maximum, over a distance `length` from the peak.

    At a distance u, q = lowest + 2 b u + c u².
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = np.minimum(lowest / (b + np.sqrt(b * b + c * lowest)), 1e6)
        rise = _furthest(lowest, p, rho) - lowest
        end = np.minimum(rise / (b + np.sqrt(b * b + c * rise)), length)
    end = np.where(np.isfinite(end), end, length)
    last = np.arcsinh(end / scale)
    tau = last[:, None] * rule[0]
    u = scale[:, None] * np.sinh(tau)
    q = lowest[:, None] + u * (2 * b[:, None] + c[:, None] * u)
    shape = q.shape
    spread = [np.broadcast_to(a[:, None], shape).ravel() for a in (p, rho)]
    value = _log_integrand(q.ravel(), *spread).reshape(shape) - top[:, None]
    return last * scale * np.sum(rule[1] * np.exp(value) * np.cosh(tau), axis=1)


def minimal_counts(evidence: Evidence, n: FloatArray, lg_b: FloatArray, threshold: float) -> FloatArray:
    """Return the number of translocations (m,) from which the evidence would be strong.

    That is n where |log10 B| ≥ `threshold` already; else the smallest whole number of
    translocations that reaches it, all else being the same, in the first of the intervals
    up to n − 1 + 2^k, k ≤ 40, at whose end it is reached; NaN if there is none.
    """
    result = np.where(np.abs(lg_b) >= threshold, n, np.nan)
    todo = np.flatnonzero(np.abs(lg_b) < threshold)
    low, high = n.copy(), np.full(len(n), np.nan)
    sign = np.zeros(len(n))
    for k in range(1, _DOUBLINGS):
        if not todo.size:
            break
        trial = n[todo] - 1 + 2.0**k
        value = evidence.take(todo).log10(trial, _SEARCH_NODES)
        reached = np.abs(value) >= threshold
        found = todo[reached]
        high[found], sign[found] = trial[reached], np.sign(value[reached])
        low[todo[~reached]] = trial[~reached]
        todo = todo[~reached]
    search = np.flatnonzero(np.isfinite(high))
    result[search] = _first_count(evidence, low, high, sign, search, threshold)
    return result


def _first_count(
    evidence: Evidence,
    low: FloatArray,
    high: FloatArray,
    sign: FloatArray,
    rows: IntArray,
    threshold: float,
) -> FloatArray:
    """Bisect on whole numbers between one that does not reach the threshold and one that does."""
    todo = rows[high[rows] - low[rows] > 1]
    while todo.size:
        middle = np.floor((low[todo] + high[todo]) / 2)
        value = evidence.take(todo).log10(middle, _SEARCH_NODES)
        reached = sign[todo] * value >= threshold
        high[todo[reached]] = middle[reached]
        low[todo[~reached]] = middle[~reached]
        todo = todo[high[todo] - low[todo] > 1]
    return high[rows]
