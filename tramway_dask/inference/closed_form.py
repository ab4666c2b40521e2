"""Closed forms of the most probable D, DD and DF in cells with one distinct Δt.

With s = D Δt + σ², j = 1 with Jeffreys' prior and 0 without, R = S2 − |S1|²/n, dimension d::

    D :  s = S2 / (2 d n + 8 j)
    DD:  s = R / (2 d n + 8 j),   a = S1 / (n Δt)
    DF:  s = R / (2 d n),         F = S1 / (n Δt D)
    DF with Jeffreys' prior: the root above σ² of
         (d n / 2) s² − (R/4 + (d n / 2 + 2) σ²) s + R σ² / 4 = 0
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .likelihood import Groups, Model

__all__ = ["diffusivity"]

FloatArray = NDArray[Any]


def diffusivity(groups: Groups, model: Model, *, jeffreys_prior: bool = False) -> FloatArray:
    """Return the most probable diffusivity per cell (m,), in µm²/s, not bounded.

    Parameters
    ----------
    groups : Groups
        Sums of cells that have one Δt each (``groups.single``).
    model : 'D', 'DD' or 'DF'
    jeffreys_prior : bool
    """
    spread = groups.s2
    if model != "D":
        # rounding may leave a tiny negative value where all displacements are equal
        spread = np.maximum(spread - np.einsum("gk,gk->g", groups.s1, groups.s1) / groups.n, 0.0)
    if model == "DF" and jeffreys_prior:
        half, noise = groups.half, groups.noise
        linear = spread / 4 + (half + 2) * noise
        root = np.sqrt(np.maximum(linear**2 - half * spread * noise, 0.0))
        s = (linear + root) / (2 * half)
    else:
        s = spread / (4 * groups.half + (8 if jeffreys_prior else 0))
    return (s - groups.noise) / groups.dt
