"""Results on disk."""

from __future__ import annotations

from .rwatree import read_rwa_analyses
from .store import Store

__all__ = ["Store", "read_rwa_analyses"]
