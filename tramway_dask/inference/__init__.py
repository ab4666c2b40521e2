"""Maps of diffusivity, drift, force and potential from the translocations of cells.

Statistics, operators, likelihood and solvers work on plain arrays; models and mappers adapt
them to a `Partition`. Nothing here knows of files, regions' files or Dask.
"""

from __future__ import annotations

from .cells import Cell, Cells
from .mapper import FunctionMapper, MapperPlugin, from_callable, from_plugin
from .maps import Maps
from .models import DD, DF, DV, SNR, BayesFactor, D, DConjugatePrior, Density

__all__ = [
    "Cell",
    "Cells",
    "D",
    "DConjugatePrior",
    "DD",
    "DF",
    "DV",
    "SNR",
    "BayesFactor",
    "Density",
    "FunctionMapper",
    "MapperPlugin",
    "Maps",
    "from_callable",
    "from_plugin",
]
