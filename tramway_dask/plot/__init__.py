"""Pictures of cells, maps and trajectories; they need matplotlib.

Every function takes axes to draw in (``ax=``), or makes a figure of a fitting size. Lengths are
in µm with equal aspect, colour bars name the unit, colours can be told apart by the colour-blind.
"""

from __future__ import annotations

from .comparison import against_truth, compare
from .conditions import conditions
from .figures import save
from .folder import results
from .mapping import map
from .movies import animate
from .outlines import cells
from .selection import prior_selection
from .tracks import overview, trajectories

__all__ = [
    "against_truth",
    "animate",
    "cells",
    "compare",
    "conditions",
    "map",
    "overview",
    "prior_selection",
    "results",
    "save",
    "trajectories",
]
