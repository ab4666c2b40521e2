"""Mappers made of a user's function."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..component import count, one_of, optional, positive, setting
from ..errors import InferenceError, SpecificationError, UnknownAttributeError, suggest
from .base import Mapper
from .cells import Cells
from .inputs import localization_precision
from .maps import Maps
from .model import LOST
from .threads import single_threaded

__all__ = ["FunctionMapper", "partition_size"]

IntArray = NDArray[Any]


def _callable(name: str, value: Any) -> Callable[..., Any]:
    if not callable(value):
        raise SpecificationError(f"{name}: expected a function of the cells, got {value!r}")
    return value


def _names(name: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(n, str) for n in names):
        raise SpecificationError(f"{name}: expected names of cell attributes, got {value!r}")
    return names


def _size(name: str, value: Any) -> int:
    number = count(name, value)
    if number == 0:
        raise SpecificationError(f"{name}: expected a number of cells from 1 up, got {value!r}")
    return number


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecificationError(f"{name}: expected a dictionary, got {value!r}")
    return dict(value)


@dataclass(eq=False, repr=False)
class FunctionMapper(Mapper):
    """A mapper made of a function.

    The function is called as ``function(cells, **options)``, where `cells` is a `Cells`
    dictionary, and returns a table indexed by the keys of `cells` (cells may be missing), or a
    pair of such a table with a table of posteriors or a dictionary of attributes. Attributes set
    on the mapper become `options`, if the function takes an argument of that name; ``sigma``
    (µm) is passed if the function names it.

    Parameters
    ----------
    function : callable
    returns : sequence of str, optional
        Names of attributes that the function sets on each cell, to be collected instead of what
        it returns.
    input_type : {None, 'partition'}
        'partition' for a function of the `Partition` rather than of cells.
    arguments : mapping
        Names of options that the function accepts beyond its signature (a command-line
        declaration in TRamWAy).
    cell_sampling : {None, 'group', 'connected', 'individual'}
        Call the function once with all cells, once per group of neighbouring cells
        (`max_cell_count`; without it, 'group' is all cells), once per connected component, or
        once per cell. Keys are always global cell numbers.
    options : mapping
        Arguments of the function.
    max_cell_count : int, optional
        Largest size of a group, margins apart; alone, it implies 'group'.
    dilation : int
        Layers of neighbours that a group comes with; what the function returns for these cells
        is dropped.
    max_runtime : float, optional, s
        No further call begins after this time: the cells of calls not made get no row,
        ``maps.attrs["converged"]`` is False and ``maps.attrs["message"]`` begins with INTERRUPTED.
        A call is never cut short; a function with an argument of this name is told the time that
        is left.

    Notes
    -----
    Given the maps of another mapper instead of a partition, each cell has their features as
    attributes: ``cell.diffusivity``, ``cell.force`` (an array).
    """

    function: Any = setting(None, check=_callable)
    returns: Any = setting(None, check=_names)
    input_type: str | None = setting(None, check=one_of(None, "cells", "partition"))
    arguments: Any = setting(default_factory=dict, check=_mapping)
    cell_sampling: str | None = setting(None, check=optional(one_of("group", "connected", "individual")))
    options: Any = setting(default_factory=dict, check=_mapping)
    max_cell_count: int | None = setting(None, check=optional(_size))
    dilation: int = setting(2, check=count)
    max_runtime: float | None = setting(None, check=optional(positive))

    takes_maps: ClassVar[bool] = True
    lost: ClassVar[Mapping[str, str]] = {
        "worker_count": LOST["worker_count"],
        "verbose": "the function may log what it wants",
    }

    def __post_init__(self) -> None:
        if self.function is None:
            raise SpecificationError("a mapper needs a function of the cells")
        for name in self.options:
            self._check_option(name)

    @property
    def name(self) -> str:
        """Name of the function."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def _signature(self) -> tuple[list[str], bool]:
        try:
            parameters = list(inspect.signature(self.function).parameters.values())
        except (TypeError, ValueError):
            return [], True
        keywords = any(p.kind is p.VAR_KEYWORD for p in parameters)
        named = [p.name for p in parameters[1:] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        return named, keywords

    def _check_option(self, name: str) -> None:
        named, keywords = self._signature()
        known = [*named, *self.arguments]
        if name not in known and not keywords:
            raise UnknownAttributeError(
                f"the function {self.name!r} takes no argument {name!r}; "
                f"{suggest(name, [*known, *self.parameters()])}"
            )

    def __setattr__(self, name: str, value: Any) -> None:
        known = name.startswith("_") or name in self.parameters()
        named = not known and "function" in self.__dict__ and name in (*self._signature()[0], *self.arguments)
        if known or (name in self.lost and not named):
            super().__setattr__(name, value)
            return
        self._check_option(name)
        self.options[name] = value
        object.__setattr__(self, name, value)

    @single_threaded
    def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
        """Call the function on the cells of a partition.

        Raises
        ------
        InferenceError
            If no cell holds a translocation, or the function returned something else than
            expected. What the function itself raises is passed on.
        """
        began = time.perf_counter()
        given = partition if isinstance(partition, Maps) else None
        if given is not None:
            partition = given.parent
        if partition is None:
            raise InferenceError("these maps do not know their partition; set `maps.parent = partition`")
        options = dict(self.options)
        named = self._signature()[0]
        if "sigma" in named and "sigma" not in options:
            options["sigma"] = localization_precision(sigma, partition, self.owner)
        cells = Cells(partition, maps=given)
        if len(cells) == 0:
            raise InferenceError(f"no cell holds a translocation, {self.name!r} was not called")
        attrs: dict[str, Any] = {"converged": True}
        tables, missing = [], 0
        for kept, group in self._groups(cells):
            left = np.inf if self.max_runtime is None else self.max_runtime - (time.perf_counter() - began)
            if left <= 0:
                missing += len(kept)
                continue
            if self.max_runtime is not None and "max_runtime" in named:
                options["max_runtime"] = left
            argument = partition if self.input_type == "partition" else group
            result = self.function(argument, **options)
            table = self._collect(group) if self.returns else self._table(result, group, attrs)
            tables.append(table if len(kept) == len(group) else table[table.index.isin(kept)])
        if missing:
            attrs["converged"] = False
            attrs["message"] = f"INTERRUPTED after {self.max_runtime:g} s: {missing} cells were not reached"
        if not tables:
            raise InferenceError(
                f"max_runtime: {self.max_runtime:g} s are over before {self.name!r} was called once"
            )
        table = tables[0] if len(tables) == 1 else pd.concat(tables).sort_index()
        maps = Maps(table.copy(deep=False), self.name, sigma, time.perf_counter() - began, attrs)
        maps.parent = partition
        return maps

    def _groups(self, cells: Cells) -> Iterator[tuple[IntArray, Cells]]:
        """Yield the cells of each call: those whose results are kept, and all."""
        sampling = self.cell_sampling
        if self.input_type == "partition" or (sampling in (None, "group") and self.max_cell_count is None):
            yield cells.indices, cells
        elif sampling == "connected":
            for keys in cells.connected():
                yield keys, cells.restricted(keys)
        elif sampling == "individual":
            for key in cells:
                yield np.array([key]), cells.restricted([key])
        else:
            assert self.max_cell_count is not None
            for keys in cells.blocks(self.max_cell_count):
                yield keys, cells.restricted(cells.dilated(keys, self.dilation))

    def _collect(self, cells: Cells) -> pd.DataFrame:
        columns: dict[str, Any] = {}
        for name in self.returns:
            found = {i: getattr(c, name) for i, c in cells.items() if hasattr(c, name)}
            if not found:
                raise InferenceError(
                    f"{self.name!r} set no attribute {name!r} on any cell, expected by `returns`"
                )
            values = np.array(list(found.values()))
            index = list(found)
            if values.ndim == 1:
                columns[name] = pd.Series(values, index=index)
            else:
                for k, axis in enumerate(cells.space_cols[: values.shape[1]]):
                    columns[f"{name} {axis}"] = pd.Series(values[:, k], index=index)
        return pd.DataFrame(columns)

    def _table(self, result: Any, cells: Cells, attrs: dict[str, Any]) -> pd.DataFrame:
        table = result
        if isinstance(result, tuple) and len(result) == 2:
            table, extra = result
            if isinstance(extra, Mapping):
                attrs.update(extra)
            elif isinstance(extra, pd.DataFrame | pd.Series | np.ndarray | list):
                attrs["posteriors"] = extra
            else:
                self._refuse(result)
        if not isinstance(table, pd.DataFrame):
            self._refuse(result)
        known = set(range(partition_size(cells))) if self.input_type == "partition" else set(cells)
        strange = [i for i in table.index if i not in known]
        if strange or table.index.has_duplicates:
            what = f"{strange[0]!r} is not one of them" if strange else "it has duplicates"
            raise InferenceError(
                f"the function {self.name!r} returned a table whose index should hold keys of `cells`, "
                f"each at most once, but {what}; use `pd.DataFrame(values, index=list(cells))`"
            )
        return table

    def _refuse(self, result: Any) -> None:
        shown = type(result).__name__
        if isinstance(result, tuple):
            shown = f"({', '.join(type(r).__name__ for r in result)})"
        raise InferenceError(
            f"the function {self.name!r} returned {shown}, expected a DataFrame indexed by the keys of "
            "`cells`, or a pair of it with a DataFrame of posteriors or a dictionary of attributes"
        )


def partition_size(cells: Cells) -> int:
    """Return the number of cells of the partition, empty ones included."""
    return len(cells.partition.indptr) - 1
