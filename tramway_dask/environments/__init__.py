"""Where the work is done."""

from __future__ import annotations

from .base import Environment, GivenClient
from .local import LocalHost

__all__ = ["Environment", "GivenClient", "LocalHost"]
