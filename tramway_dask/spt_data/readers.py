"""The readers of the kinds of files, found when a file of that kind is first read."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from ..component import positive
from ..errors import SpecificationError, suggest

__all__ = ["check_reader_options", "reader_of"]

# reader name -> where the function is
READERS = {
    "ascii": ("tramway_dask.spt_data.ascii", "read_ascii"),
    "mat": ("tramway_dask.spt_data.mat", "read_mat"),
    "rwa": ("tramway_dask.spt_data.rwa", "read_rwa"),
}


def reader_of(name: str) -> Callable[..., pd.DataFrame]:
    """Return the function that reads a kind of files."""
    module, function = READERS[name]
    return getattr(importlib.import_module(module), function)


def check_reader_options(reader: str, options: Mapping[str, Any]) -> None:
    """Complain of arguments that a reader does not have, before any file is read."""
    known = [n for n in inspect.signature(reader_of(reader)).parameters if n != "path"]
    for name in options:
        if name not in known:
            raise SpecificationError(
                f"unknown argument {name!r} of the reader; {suggest(name, [*known, 'alias'])}"
            )
    for name in ("pixel_size", "dt"):
        if options.get(name) is not None:
            positive(name, options[name])
