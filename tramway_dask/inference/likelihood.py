"""The likelihood of displacements, from their sums, with its first and second derivatives.

Overdamped Langevin motion with diffusivity D and Gaussian positioning noise of standard
deviation σ: a displacement Δr in time Δt has variance 2 s per axis, with s = D Δt + σ².
For the groups of one (cell, Δt), with u = D Δt and sums n, S1 = ΣΔr, S2 = Σ|Δr|², the
negative log-likelihood in dimension d is::

    L = (d n / 2) log(4π s) + q / (4 s),    q = S2 − 2 τ b·S1 + n τ² |b|²

========  ===========  =====  =======================================
model     b            τ      meaning of b
========  ===========  =====  =======================================
D         none                 pure diffusion, q = S2
DD        a            Δt     drift, µm/s
DF        F            u      force, kT/µm
DV        F = −∇V      u      force that derives from a potential, kT
========  ===========  =====  =======================================

Writing ' for derivatives by D (τ' = 0 for DD, Δt for DF; s' = Δt)::

    q_b = 2 τ (n τ b − S1)            q' = 2 τ' (n τ |b|² − b·S1)        q'' = 2 τ'² n |b|²
    L_b = q_b / 4s                    L_bb = (n τ² / 2s) identity
    L'  = Δt (d n / 2s − q / 4s²) + q' / 4s
    L'' = Δt² (q / 2s³ − d n / 2s²) − Δt q' / 2s² + q'' / 4s
    L'_b = τ' (2 n τ b − S1) / 2s − Δt q_b / 4s²

In 2-D this is TRamWAy's likelihood; there its normalisation is used in 3-D too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .statistics import CellStatistics

__all__ = ["Groups", "Model", "Terms", "jeffreys"]

FloatArray = NDArray[Any]
Model = Literal["D", "DD", "DF"]


@dataclass(frozen=True, eq=False)
class Terms:
    """Negative log-likelihood per cell, and its derivatives by D and by b.

    Attributes
    ----------
    value, d1, d2 : (m,) float
        L, ∂L/∂D, ∂²L/∂D².
    fisher : (m,) float
        Σ d n Δt² / 2s², the expected ∂²L/∂D² without drift: positive.
    b1, db : (m, d) float or None
        ∂L/∂b and ∂²L/∂D∂b.
    b2 : (m,) float or None
        ∂²L/∂b², times the identity.
    """

    value: FloatArray
    d1: FloatArray
    d2: FloatArray
    fisher: FloatArray
    b1: Any
    b2: Any
    db: Any


class Groups:
    """Sums of cells numbered 0…m−1, none empty, ready for repeated evaluation.

    Parameters
    ----------
    statistics : CellStatistics
        Sorted by cell; each cell present (see `CellStatistics.select`).
    sigma : float, µm
        Localization precision.
    """

    def __init__(self, statistics: CellStatistics, sigma: float) -> None:
        self.cell, self.dt, self.n = statistics.cell, statistics.dt, statistics.n
        self.s1, self.s2 = statistics.s1, statistics.s2
        self.noise = float(sigma) ** 2
        self.dimension = statistics.dimension
        self.size = statistics.number_of_cells
        self.starts = np.searchsorted(self.cell, np.arange(self.size))
        self.single = len(self.cell) == self.size
        self.half = 0.5 * self.dimension * self.n
        self.count = self.sum(self.n)
        self.dt_mean = self.sum(self.n * self.dt) / self.count
        self.dt_max = self.dt if self.single else np.maximum.reduceat(self.dt, self.starts)

    def sum(self, values: FloatArray) -> FloatArray:
        """Add up the groups of each cell."""
        return values if self.single else np.add.reduceat(values, self.starts, axis=0)

    def spread(self, values: FloatArray) -> FloatArray:
        """Repeat the value of a cell for each of its groups."""
        return values if self.single else values[self.cell]

    def take(self, cells: FloatArray) -> Groups:
        """Return the groups of some cells, renumbered from 0 (ascending)."""
        statistics = CellStatistics(self.cell, self.dt, self.n, self.s1, self.s2, self.size)
        return Groups(statistics.select(cells), self.noise**0.5)

    def value(self, diffusivity: FloatArray, b: FloatArray | None, model: Model) -> FloatArray:
        """Return the negative log-likelihood per cell (m,)."""
        u = self.spread(diffusivity) * self.dt
        s = u + self.noise
        q = self.s2
        if b is not None:
            b = self.spread(b)
            tau = self.dt if model == "DD" else u
            q = q + tau * (self.n * tau * np.einsum("gk,gk->g", b, b) - 2 * np.einsum("gk,gk->g", b, self.s1))
        return self.sum(self.half * np.log(4 * np.pi * s) + q / (4 * s))

    def terms(self, diffusivity: FloatArray, b: FloatArray | None, model: Model) -> Terms:
        """Return the negative log-likelihood per cell with all derivatives.

        Parameters
        ----------
        diffusivity : (m,) float, µm²/s
        b : (m, d) float or None
            Drift (µm/s) for DD, force (kT/µm) for DF, None for D.
        model : 'D', 'DD' or 'DF'
        """
        dt, n, half = self.dt, self.n, self.half
        u = self.spread(diffusivity) * dt
        s = u + self.noise
        r = dt / s
        if b is None:
            e = self.s2 / (4 * s)
            value = half * np.log(4 * np.pi * s) + e
            fisher = half * r * r
            d1, d2 = r * (half - e), 2 * e * r * r - fisher
            return self._terms(value, d1, d2, fisher, None, None, None)
        b = self.spread(b)
        tau = dt if model == "DD" else u
        bb = np.einsum("gk,gk->g", b, b)
        bs = np.einsum("gk,gk->g", b, self.s1)
        e = (self.s2 + tau * (n * tau * bb - 2 * bs)) / (4 * s)
        value = half * np.log(4 * np.pi * s) + e
        fisher = half * r * r
        b1 = (tau / (2 * s))[:, None] * ((n * tau)[:, None] * b - self.s1)
        b2 = n * tau * tau / (2 * s)
        d1, d2 = r * (half - e), 2 * e * r * r - fisher
        db = -r[:, None] * b1
        if model == "DF":
            q1 = r * (n * tau * bb - bs) / 2
            d1 = d1 + q1
            d2 = d2 + r * (dt * n * bb / 2 - 2 * q1)
            db = db + (r / 2)[:, None] * ((2 * n * tau)[:, None] * b - self.s1)
        return self._terms(value, d1, d2, fisher, b1, b2, db)

    def _terms(self, *groups: FloatArray | None) -> Terms:
        value, d1, d2, fisher, b1, b2, db = (None if g is None else self.sum(g) for g in groups)
        return Terms(value, d1, d2, fisher, b1, b2, db)  # type: ignore[arg-type]


def jeffreys(
    groups: Groups, diffusivity: FloatArray, *, force: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return Jeffreys' prior per cell, as added to the negative log posterior, and two derivatives by D.

    ``2 log(D·mean(Δt) + σ²)``, less ``2 log D`` for the models with a force.
    """
    rate = groups.dt_mean / (diffusivity * groups.dt_mean + groups.noise)
    value = 2 * np.log(groups.dt_mean / rate)
    d1, d2 = 2 * rate, -2 * rate**2
    if force:
        value, d1, d2 = value - 2 * np.log(diffusivity), d1 - 2 / diffusivity, d2 + 2 / diffusivity**2
    return value, d1, d2
