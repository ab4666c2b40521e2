"""Stages of analysis, planned, turned into a Dask graph and run."""

from __future__ import annotations

from . import stages
from .plan import Plan
from .report import RunReport
from .stages import Stage

__all__ = ["Plan", "RunReport", "Stage", "stages"]
