"""Where TRamWAy's scripts look for environments."""

from __future__ import annotations

from . import environments

__all__ = ["environments"]
