"""Whether a person sits before this process, and how."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["in_notebook", "is_interactive"]


def _shell() -> Any:
    module = sys.modules.get("IPython")
    found = getattr(module, "get_ipython", None)
    return None if found is None else found()


def in_notebook() -> bool:
    """Tell whether output is shown by a notebook."""
    return getattr(_shell(), "kernel", None) is not None


def is_interactive() -> bool:
    """Tell whether the process goes on after an interruption: a notebook, IPython, or Python's own prompt."""
    return _shell() is not None or hasattr(sys, "ps1")
