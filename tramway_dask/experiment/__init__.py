"""Experiments of several files: summaries per file, and the comparison of conditions."""

from __future__ import annotations

from .comparing import Comparison, compare
from .summaries import per_file, per_replicate

__all__ = ["Comparison", "compare", "per_file", "per_replicate"]
