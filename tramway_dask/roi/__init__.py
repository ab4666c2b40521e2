"""Regions of interest."""

from __future__ import annotations

from typing import Any

from . import utils
from .regions import Regions
from .support import FullRegion, IndividualRegion, SupportRegion

__all__ = [
    "FullRegion",
    "IndividualRegion",
    "Regions",
    "SupportRegion",
    "from_ascii_file",
    "from_ascii_files",
    "from_bounding_boxes",
    "from_density",
    "from_squares",
    "utils",
]


def from_bounding_boxes(boxes: Any, label: str = "", group_overlapping_roi: bool = False) -> Regions:
    """Return regions defined by their bounds; see `Regions.from_bounding_boxes`."""
    return Regions().from_bounding_boxes(boxes, label, group_overlapping_roi)


def from_squares(centers: Any, side: float, label: str = "", group_overlapping_roi: bool = False) -> Regions:
    """Return square regions; see `Regions.from_squares`."""
    return Regions().from_squares(centers, side, label, group_overlapping_roi)


def from_density(
    side: float, label: str = "", group_overlapping_roi: bool = False, **options: float
) -> Regions:
    """Return squares around the places where localizations are dense; see `Regions.from_density`."""
    return Regions().from_density(side, label, group_overlapping_roi, **options)


def from_ascii_file(path: Any, *args: Any, **options: Any) -> Regions:
    """Return the regions of one file; see `Regions.from_ascii_file`."""
    return Regions().from_ascii_file(path, *args, **options)


def from_ascii_files(*args: Any, **options: Any) -> Regions:
    """Return regions read from a file beside each source; see `Regions.from_ascii_files`."""
    return Regions().from_ascii_files(*args, **options)
