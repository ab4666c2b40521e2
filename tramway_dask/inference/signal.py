"""Signal-to-noise ratios of forces: what Bayes factors are made of.

Per cell, with n translocations, sums S1 and S2 of displacements and of their squares::

    m = S1/n,   V = (S2 − |S1|²/n)/n,   V_π = the same, pooled over all other cells
    zeta_total = m/√V,   zeta_spurious = Δt ∇D/√V
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InferenceError
from .gradient import Gradient
from .inputs import Inputs
from .maps import error_column

__all__ = ["Signal", "signal_columns", "spurious_columns"]

FloatArray = NDArray[Any]
_AXES = ("x", "y", "z")
# time steps that differ by rounding of the file's times count as one
_JITTER = 0.02


@dataclass(frozen=True, eq=False)
class Signal:
    """Moments of the displacements of each cell.

    Attributes
    ----------
    n : (m,) float
    mean : (m, d) float, µm
    variance, others : (m,) float, µm²
        V and V_π, biased and summed over axes.
    dt : float, s
    """

    n: FloatArray
    mean: FloatArray
    variance: FloatArray
    others: FloatArray
    dt: float

    @classmethod
    def of(cls, inputs: Inputs) -> Signal:
        """Compute the moments.

        Raises
        ------
        InferenceError
            If there are less than two cells, or several time steps.
        """
        s = inputs.statistics
        m = len(inputs.cells)
        if m < 2:
            raise InferenceError(
                "only one cell holds translocations: the prior is made of the other cells; "
                "choose a larger region or smaller cells"
            )
        dt = float(np.average(s.dt, weights=s.n))
        if np.ptp(s.dt) > _JITTER * dt:
            steps = ", ".join(f"{t:g}" for t in np.unique(s.dt)[:5])
            raise InferenceError(
                f"translocations have several time steps ({steps} s), and variances of different steps do not "
                "compare; split trajectories at missing frames with `spt_data.filters.reindex_trajectories`"
            )
        n = np.bincount(s.cell, weights=s.n, minlength=m)
        s1 = np.stack([np.bincount(s.cell, weights=v, minlength=m) for v in s.s1.T], axis=1)
        s2 = np.bincount(s.cell, weights=s.s2, minlength=m)
        return cls(n, s1 / n[:, None], _spread(n, s1, s2), _spread(*_others(n, s1, s2)), dt)

    @property
    def deviation(self) -> FloatArray:
        """√V (m,), µm; NaN where n is 1 or V null."""
        known = (self.n > 1) & (self.variance > 0)
        return np.sqrt(np.where(known, self.variance, np.nan))

    @property
    def relative_error(self) -> FloatArray:
        """Standard error of V relative to V (m,)."""
        return np.sqrt(2 / (self.mean.shape[1] * np.maximum(self.n - 1, 0.5)))


def _others(n: FloatArray, s1: FloatArray, s2: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    return n.sum() - n, s1.sum(axis=0) - s1, s2.sum() - s2


def _spread(n: FloatArray, s1: FloatArray, s2: FloatArray) -> FloatArray:
    spread = (s2 - np.einsum("ik,ik->i", s1, s1) / n) / n
    # equal displacements differ by rounding
    return np.where((n > 1) & (spread > 1e-14 * s2 / n), spread, 0.0)


def _vector(name: str, values: FloatArray, errors: FloatArray) -> dict[str, FloatArray]:
    columns = {}
    for k, axis in enumerate(_AXES[: values.shape[1]]):
        columns[f"{name} {axis}"] = values[:, k]
        columns[error_column(f"{name} {axis}")] = errors[:, k]
    return columns


def signal_columns(signal: Signal) -> dict[str, FloatArray]:
    """Return the columns n, V_prior, V and zeta_total, with errors to first order."""
    sd = signal.deviation
    variance = np.where(np.isnan(sd), np.nan, signal.variance)
    zeta = signal.mean / sd[:, None]
    d = signal.mean.shape[1]
    own = 1 / (d * np.maximum(signal.n - 1, 0.5))
    error = np.sqrt(own[:, None] + (zeta * signal.relative_error[:, None] / 2) ** 2)
    return {
        "n": signal.n,
        "V_prior": signal.others,
        "V": variance,
        error_column("V"): variance * signal.relative_error,
        **_vector("zeta_total", zeta, np.where(np.isnan(zeta), np.nan, error)),
    }


def spurious_columns(
    signal: Signal, gradient: Gradient, diffusivity: FloatArray, error: FloatArray
) -> dict[str, FloatArray]:
    """Return the columns zeta_spurious; NaN on axes without neighbour.

    Parameters
    ----------
    signal : Signal
    gradient : Gradient
    diffusivity, error : (m,) float, µm²/s
        Map and standard errors, taken as independent.
    """
    ratio = (signal.dt / signal.deviation)[:, None]
    slope = np.where(gradient.defined, gradient.apply(diffusivity), np.nan).T
    start = gradient.indptr[:-1]
    spread = np.sqrt(np.add.reduceat(gradient.data**2 * error[gradient.indices] ** 2, start, axis=1)).T
    zeta = ratio * slope
    errors = np.sqrt((ratio * spread) ** 2 + (zeta * signal.relative_error[:, None] / 2) ** 2)
    return _vector("zeta_spurious", zeta, np.where(np.isnan(zeta), np.nan, errors))
