"""Defaults, through Dask's configuration (section ``tramway``)."""

from __future__ import annotations

from typing import Any

__all__ = ["DEFAULTS", "setting_of"]

DEFAULTS: dict[str, Any] = {
    # results folder of an analyzer that names none
    "results": "results",
    # images for workers: file name → address, or path on this computer
    "containers": {},
    # whether workers may run other source files of this package than the client, of the same version
    "accept_other_source": False,
    # where this computer keeps the records of detached runs
    "runs-folder": "~/.tramway_dask/runs",
}


def setting_of(name: str) -> Any:
    """Return a setting: from Dask's configuration files or environment, else the default.

    Examples
    --------
    >>> setting_of("results")
    'results'
    """
    import dask.config

    return dask.config.get(f"tramway.{name}", DEFAULTS[name])
