"""Single-particle tracking at scale: segmentation and inference of local dynamics, on Dask."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from . import environments, errors, plot, roi, simulate, spt_data
from .analyzer import RWAnalyzer
from .inference import mapper, models
from .pipeline import stages
from .pipeline.report import RunReport
from .results import Store
from .segmentation import cell_mergers, sampler, tesseller, tessellers, time
from .spt_data import commit_as_analysis, linkers, read, single

try:
    __version__ = version("tramway_dask")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

__all__ = [
    "RWAnalyzer",
    "RunReport",
    "Store",
    "cell_mergers",
    "commit_as_analysis",
    "environments",
    "errors",
    "linkers",
    "mapper",
    "models",
    "plot",
    "read",
    "roi",
    "sampler",
    "simulate",
    "single",
    "spt_data",
    "stages",
    "tesseller",
    "tessellers",
    "time",
]
