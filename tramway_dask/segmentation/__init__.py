"""Segmentation: translocations divided into cells in space, and segments in time.

The submodules `tessellers`, `tesseller`, `sampler` and `time` are those that users name.
"""

from __future__ import annotations

from . import sampler, tesseller, tessellers, time
from .lattice import TimeLattice
from .partition import Partition
from .sampler import Knn, SphericalSampler, TimeKnn, VoronoiSampler
from .segmenting import segment
from .tessellation import Tessellation
from .tesseller import GivenCenters, GivenTessellation, Nested, TessellerPlugin
from .tessellers import GWR, Hexagons, KDTree, KMeans, Kohonen, Random, Squares, Tesseller
from .time import SlidingWindow

__all__ = [
    "GWR",
    "GivenCenters",
    "GivenTessellation",
    "Hexagons",
    "KDTree",
    "KMeans",
    "Knn",
    "Kohonen",
    "Nested",
    "Partition",
    "Random",
    "SlidingWindow",
    "SphericalSampler",
    "Squares",
    "Tessellation",
    "Tesseller",
    "TessellerPlugin",
    "TimeKnn",
    "TimeLattice",
    "VoronoiSampler",
    "sampler",
    "segment",
    "tesseller",
    "tessellers",
    "time",
]
