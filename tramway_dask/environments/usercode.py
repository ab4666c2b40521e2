"""Modules that lie beside the user's script travel to the workers with what uses them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

__all__ = ["modules_by_value", "user_modules"]


def user_modules() -> list[ModuleType]:
    """Return the imported modules and packages that lie in the folder of the script that runs.

    In a notebook or console, the folder is the current one. What is installed does not lie there itself,
    even if the folder holds an environment or a checkout.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    folder = Path(script).parent if script else Path.cwd()
    own = __name__.partition(".")[0]
    found = []
    for name, module in list(sys.modules.items()):
        if (
            "." in name
            or name in ("__main__", "__mp_main__", own)
            or getattr(module, "__name__", None) != name
        ):
            continue
        places = list(getattr(module, "__path__", ())) or [getattr(module, "__file__", None)]
        if any(
            place and os.path.dirname(os.path.abspath(place)) == str(folder.absolute()) for place in places
        ):
            found.append(module)
    return found


@contextlib.contextmanager
def modules_by_value() -> Iterator[None]:
    """Pickle functions and classes of the user's modules whole, as those of the script itself are."""
    import cloudpickle

    already = cloudpickle.list_registry_pickle_by_value()
    modules = [module for module in user_modules() if module.__name__ not in already]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            # a module that the user has dropped meanwhile is not found
            with contextlib.suppress(ValueError):
                cloudpickle.unregister_pickle_by_value(module)
