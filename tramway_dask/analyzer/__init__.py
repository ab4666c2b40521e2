"""Names for scripts: ``from tramway_dask.analyzer import *`` as with TRamWAy."""

from __future__ import annotations

from .. import environments, roi, spt_data
from ..inference import mapper, models
from ..pipeline import stages
from ..segmentation import cell_mergers, sampler, tesseller, tessellers, time
from ..spt_data import commit_as_analysis, single
from .detached import attach
from .logger import BasicLogger
from .rwanalyzer import RWAnalyzer

# BasicLogger is imported by name, as with TRamWAy
__all__ = [
    "RWAnalyzer",
    "cell_mergers",
    "attach",
    "commit_as_analysis",
    "environments",
    "mapper",
    "models",
    "roi",
    "sampler",
    "single",
    "spt_data",
    "stages",
    "tesseller",
    "tessellers",
    "time",
]

_ = BasicLogger
