"""Helpers to find regions of interest."""

from __future__ import annotations

from .density import density_based_roi

__all__ = ["density_based_roi"]
