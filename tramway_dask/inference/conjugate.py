"""Diffusivity with a conjugate prior: closed form, with credible intervals.

For a cell with n translocations, mean displacement m = S1/n and biased variance (summed over
axes) V = (S2 − |S1|²/n)/n, and V_π the same over all other cells, the prior weighs as much as
n_π = 5 − d translocations. The *apparent* diffusivity, D + σ²/Δt, has for posterior an inverse
gamma distribution cut below σ²/Δt [1]_::

    density ∝ D^(−p−1) exp(−β/D),   p = d (n + n_π − 1)/2 − 1,
    β = (n V + n_π V_π + η² n |m|²)/(4 Δt),   η² = n_π/(n + n_π)

References
----------
.. [1] Serov et al., Statistical tests for force inference in heterogeneous environments,
   Scientific Reports 10, 3783 (2020).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..component import boolean, setting
from ..errors import InferenceError
from .inputs import Inputs
from .intervals import probability
from .maps import Maps, error_column
from .signal import Signal, signal_columns, spurious_columns
from .spatial import Spatial, finish
from .threads import single_threaded

__all__ = ["DConjugatePrior", "Posterior", "log_gammainc", "posterior", "prior_weight"]

FloatArray = NDArray[Any]

# P(p, x) below this is taken from its logarithm
_TINY = 1e-250


def prior_weight(dimension: int) -> int:
    """Return n_π, the number of translocations that the prior is worth."""
    return 5 - dimension


def power(n: FloatArray, dimension: int) -> FloatArray:
    """Return the exponent p."""
    return dimension * (n + prior_weight(dimension) - 1) / 2 - 1


def _log_series(p: FloatArray, x: FloatArray) -> FloatArray:
    """Return log(Σ_k x^k / ((p+1)…(p+k))), x < p, by the continued fraction of γ(p, x) (Lentz)."""
    f = c = p.copy()
    d = np.zeros_like(p)
    for k in range(1, 2000):
        half = (k + 1) // 2
        a = -(p + half - 1) * x if k % 2 else half * x
        d = 1 / (p + k + a * d)
        c = p + k + a / c
        change = c * d
        f = f * change
        if np.abs(change - 1).max(initial=0.0) < 1e-15:
            break
    return np.log(p / f)


def log_gammainc(p: FloatArray, x: FloatArray) -> FloatArray:
    """Return the logarithm of the regularised lower incomplete gamma function P(p, x).

    Unlike ``log(gammainc(p, x))`` this is finite where P underflows.
    """
    from scipy.special import gammainc, gammaln

    p, x = np.broadcast_arrays(np.asarray(p, dtype=float), np.asarray(x, dtype=float))
    value = gammainc(p, x)
    small = (value < _TINY) & (x > 0)
    with np.errstate(divide="ignore"):
        result = np.log(value)
    if small.any():
        q, y = p[small], x[small]
        result[small] = _log_prefactor(q, y, gammaln) + _log_series(q, y)
    return result


def _log_prefactor(p: FloatArray, x: FloatArray, gammaln: Any) -> FloatArray:
    """Return p log x − x − log Γ(p + 1), by Stirling's series where its terms are large."""
    direct = p * np.log(x) - x - gammaln(p + 1)
    ratio = x / p
    stirling = p * (np.log(ratio) + 1 - ratio) - 0.5 * np.log(2 * np.pi * p) - 1 / (12 * p)
    return np.where(p > 1e4, stirling, direct)


@dataclass(frozen=True, eq=False)
class Posterior:
    """Inverse gamma posterior of the apparent diffusivity of each cell.

    Attributes
    ----------
    p : (m,) float
    beta : (m,) float, µm²/s
    least : float, µm²/s
        σ²/Δt: below, the density is 0.
    """

    p: FloatArray
    beta: FloatArray
    least: float

    @property
    def mode(self) -> FloatArray:
        """Most probable diffusivity (m,), the cut being ignored as in TRamWAy."""
        return self.beta / (self.p + 1)

    def quantile(self, q: float) -> FloatArray:
        """Return the diffusivity (m,) below which a fraction q of the probability lies."""
        from scipy.special import gammainc, gammaincinv

        if self.least == 0:
            return self.beta / gammaincinv(self.p, np.full(len(self.p), 1 - q))
        largest = self.beta / self.least
        inside = gammainc(self.p, largest)
        with np.errstate(divide="ignore"):
            found = self.beta / gammaincinv(self.p, (1 - q) * inside)
        small = inside < _TINY
        if small.any():
            found[small] = self.beta[small] / _inverse(self.p[small], largest[small], 1 - q)
        return found

    def error(self) -> FloatArray:
        """Return the standard deviation (m,); NaN where the posterior has none."""
        from scipy.special import gammainc

        if self.least == 0:
            first = second = np.ones(len(self.p))
        else:
            y = self.beta / self.least
            with np.errstate(divide="ignore", invalid="ignore"):
                whole = gammainc(self.p, y)
                low = np.where(self.p > 2, self.p - 2, 1.0)
                first, second = gammainc(self.p - 1, y) / whole, gammainc(low, y) / whole
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = self.beta / (self.p - 1) * first
            square = self.beta**2 / ((self.p - 1) * (self.p - 2)) * second
            return np.sqrt(np.where(self.p > 2, square - mean**2, np.nan))


def _inverse(p: FloatArray, x: FloatArray, fraction: float) -> FloatArray:
    """Return y with P(p, y) = fraction P(p, x), where P underflows; Newton's iteration on log y."""
    from scipy.special import gammaln

    target = _log_prefactor(p, x, gammaln) + _log_series(p, x) + np.log(fraction)
    log_y = np.log(x) + np.log(fraction) / p
    for _ in range(50):
        y = np.exp(log_y)
        series = _log_series(p, y)
        step = (target - _log_prefactor(p, y, gammaln) - series) * np.exp(series) / p
        log_y = np.minimum(log_y + step, np.log(x))
        if np.abs(step).max() < 1e-14:
            break
    return np.exp(log_y)


def posterior(signal: Signal, sigma: float) -> Posterior:
    """Return the posterior of the apparent diffusivity in every cell."""
    d = signal.mean.shape[1]
    n, weight = signal.n, prior_weight(d)
    square = np.einsum("ik,ik->i", signal.mean, signal.mean)
    eta2 = weight / (n + weight)
    total = n * signal.variance + weight * signal.others + eta2 * n * square
    return Posterior(power(n, d), total / (4 * signal.dt), sigma**2 / signal.dt)


@dataclass(eq=False, repr=False, kw_only=True)
class DConjugatePrior(Spatial):
    """Diffusivity (µm²/s) with a conjugate prior, and its credible interval ``ci low``, ``ci high``.

    The diffusivity is the apparent one, noise included, as in TRamWAy's ``d.conj_prior``. The
    maps also hold what `BayesFactor` needs: ``n``, ``V_prior``, ``V`` (µm²), ``zeta_total`` and
    ``zeta_spurious``, the signal-to-noise ratios of the total force and of the diffusivity's
    gradient. These are NaN in cells with one translocation, the second one also without neighbour.

    Parameters
    ----------
    alpha : float
        Probability of the credible interval.
    return_zeta_spurious : bool
    subtract_noise : bool
        Subtract σ²/Δt from the diffusivity and its interval.
    grad, grad_selection_angle, grad_epsilon
        See `gradient.grad1`.
    """

    alpha: float = setting(0.95, check=probability)
    return_zeta_spurious: bool = setting(True, check=boolean)
    subtract_noise: bool = setting(False, check=boolean)

    lost: ClassVar[Mapping[str, str]] = {
        "worker_count": "a map is inferred by one process; workers belong to the environment, a.env.worker_count",
        "trust": "quantiles are computed in closed form, no search can fail",
    }

    @property
    def name(self) -> str:
        """TRamWAy's name of the model."""
        return "d.conj_prior"

    @single_threaded
    def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
        """Infer the maps of a partition.

        Parameters
        ----------
        partition : Partition
        sigma : float, optional, µm
            Localization precision; by default the partition's, else the analyzer's. There is no
            other default.

        Raises
        ------
        InferenceError
            If σ is unknown, less than two cells hold translocations, or time steps differ.
        """
        began = time.perf_counter()
        sigma = self._precision(sigma, partition)
        inputs = Inputs.of(partition)
        signal = Signal.of(inputs)
        if not np.all(signal.variance + signal.others > 0):
            raise InferenceError("all translocations of the region are equal: there is no diffusion to infer")
        found = posterior(signal, sigma)
        error = found.error()
        columns = signal_columns(signal)
        if self.return_zeta_spurious:
            columns |= spurious_columns(signal, self._gradient(inputs), found.mode, error)
        shift = found.least if self.subtract_noise else 0.0
        columns["diffusivity"] = found.mode - shift
        columns[error_column("diffusivity")] = error
        columns["ci low"] = found.quantile((1 - self.alpha) / 2) - shift
        columns["ci high"] = found.quantile((1 + self.alpha) / 2) - shift
        attrs = {"converged": True, "alpha": self.alpha, "settings": self._parameters_set()}
        return finish(inputs, columns, attrs, self.name, sigma, began)
