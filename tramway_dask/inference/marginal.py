"""Posteriors of D with the drift or force of each cell integrated out.

The likelihood is Gaussian in the drift or force b, so that the integral over b of a cell is
exact: with the curvature c(D) along b in dimension d, the negative log of the integral is the
profile plus (d / 2) log c, up to a constant. Unlike the profile it has no spurious minimum where
a cell holds a single translocation, and is what prior weights are compared with.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .uncoupled import Point, Profile

__all__ = ["Marginal"]

FloatArray = NDArray[Any]


class Marginal(Profile):
    """Negative log posterior of each cell as a function of D alone; parameters are those of `Profile`.

    A flat prior is assumed on the drift, and, without `amplitude`, on D times the force.
    """

    def _curvature(self, diffusivity: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        g = self.groups
        s = g.spread(diffusivity) * g.dt + g.noise
        if self.model == "DF" and self.amplitude is not None:
            # u²/2s with u = s − σ²
            c = g.sum(g.n * (s - 2 * g.noise + g.noise**2 / s) / 2)
            c1 = g.sum(g.n * g.dt * (1 - (g.noise / s) ** 2) / 2)
            c2 = g.sum(g.n * g.dt**2 * g.noise**2 / s**3)
        else:
            c = g.sum(g.n * g.dt**2 / (2 * s))
            c1 = -g.sum(g.n * g.dt**3 / (2 * s**2))
            c2 = g.sum(g.n * g.dt**4 / s**3)
        if self.amplitude is not None:
            c = c + 2 * self.amplitude
        return np.where(g.count > 0, c, 1.0), c1, c2

    def value(self, diffusivity: FloatArray) -> FloatArray:
        """Return the objective per cell (m,)."""
        value = super().value(diffusivity)
        if self.model == "D":
            return value
        return value + 0.5 * self.groups.dimension * np.log(self._curvature(diffusivity)[0])

    def point(self, diffusivity: FloatArray) -> Point:
        """Return the objective and its derivatives."""
        at = super().point(diffusivity)
        if self.model == "D":
            return at
        c, c1, c2 = self._curvature(diffusivity)
        half, slope = 0.5 * self.groups.dimension, c1 / c
        return replace(
            at,
            value=at.value + half * np.log(c),
            d1=at.d1 + half * slope,
            d2=at.d2 + half * (c2 / c - slope**2),
        )

    def loss(self, part: Marginal, diffusivity: FloatArray) -> FloatArray:
        """Return minus the log probability, per cell, of what is here and not in `part`, given `part`.

        A drift or force is not predicted where `part` is empty: 0 there.
        """
        loss = self.value(diffusivity) - part.value(diffusivity)
        return loss if self.model == "D" else np.where(part.groups.count > 0, loss, 0.0)
