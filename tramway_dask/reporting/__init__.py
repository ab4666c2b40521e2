"""Reports of results folders: pages for people."""

from __future__ import annotations

from .page import Written, write_report

__all__ = ["Written", "write_report"]
