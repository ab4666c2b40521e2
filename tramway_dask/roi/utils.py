"""Helpers to find regions of interest."""

from __future__ import annotations

from .density import density_based_roi
from .duration import set_contiguous_time_support_by_count
from .matching import distance_to_roi_center, group_roi

__all__ = [
    "density_based_roi",
    "distance_to_roi_center",
    "group_roi",
    "set_contiguous_time_support_by_count",
]
