"""Pictures of cells, maps and trajectories; they need matplotlib.

Every function takes axes to draw in (``ax=``), or makes a figure of a fitting size. Lengths are
in µm with equal aspect, colour bars name the unit, colours can be told apart by the colour-blind.
"""

from __future__ import annotations

from .bayes import bayes_factor
from .comparison import against_truth, compare
from .conditions import conditions
from .courses import time_course
from .fields import overview
from .figures import save
from .folder import results
from .mapping import map
from .movies import animate, animate_cells, animate_trajectories
from .outlines import cells
from .panels import common_limits, panels
from .points import density, localizations
from .selection import prior_selection
from .stored import Stored, load
from .tracks import trajectories

__all__ = [
    "Stored",
    "against_truth",
    "animate",
    "animate_cells",
    "animate_trajectories",
    "bayes_factor",
    "cells",
    "common_limits",
    "compare",
    "conditions",
    "density",
    "load",
    "localizations",
    "map",
    "overview",
    "panels",
    "prior_selection",
    "results",
    "save",
    "time_course",
    "trajectories",
]
