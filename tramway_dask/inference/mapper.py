"""Mappers by name, and mappers made of a user's function."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from ..component import Component, one_of, optional, setting
from ..errors import InferenceError, SpecificationError, UnknownAttributeError, suggest
from .base import Mapper
from .cells import Cells
from .inputs import localization_precision
from .maps import Maps
from .model import LOST
from .models import (
    DD,
    DF,
    DV,
    SNR,
    BayesFactor,
    Curl,
    D,
    DConjugatePrior,
    Density,
    Gradients,
    LocalDensity,
    SphericalVolume,
)

__all__ = ["FunctionMapper", "MapperPlugin", "from_callable", "from_plugin", "plugins"]

_FAMILIES: Mapping[str, type[Component]] = {"d": D, "dd": DD, "ddrift": DD, "df": DF}
_PREFIXES = ("", "standard.", "smooth.", "regularized.", "unsmooth.", "degraded.")
_OTHERS: Mapping[str, type[Component]] = {
    "bayes_factor": BayesFactor,
    "curl": Curl,
    "d.conj_prior": DConjugatePrior,
    "d.snr": SNR,
    "density": Density,
    "gradient": Gradients,
    "snr": SNR,
    "spherical.volume": SphericalVolume,
    "srtesseler.density": LocalDensity,
}
_POTENTIAL: Mapping[str, str] = {
    "dv": "original",
    "naive": "original",
    "stochastic.dv": "stochastic",
    "semi.stochastic.dv": "semi-stochastic",
}


def plugins() -> list[str]:
    """Return the names that `from_plugin` knows."""
    return sorted([p + name for p in _PREFIXES for name in _FAMILIES] + [*_POTENTIAL, *_OTHERS])


def from_plugin(plugin: str | Callable[..., Any], **setup: Any) -> Any:
    """Return a mapper by TRamWAy's name of it, or around a function.

    Parameters
    ----------
    plugin : str or callable
        A name such as 'd', 'dd', 'df', 'dv', 'stochastic.dv', 'smooth.d', 'density'; or a function,
        see `from_callable`.
    setup
        For a name, parameters of the model; for a function, see `from_callable`.

    Raises
    ------
    SpecificationError
        If the name is unknown.
    """
    if callable(plugin):
        return from_callable(plugin, **setup)
    if plugin not in plugins():
        raise SpecificationError(f"unknown mapper {plugin!r}; {suggest(plugin, plugins())}")
    if plugin in _OTHERS:
        model: Component = _OTHERS[plugin]()
    elif plugin in _POTENTIAL:
        model = DV(_POTENTIAL[plugin])
    else:
        model = _FAMILIES[plugin.rpartition(".")[2]]()
    for name, value in setup.items():
        setattr(model, name, value)
    return model


def from_callable(function: Callable[..., Any], **setup: Any) -> FunctionMapper:
    """Return a mapper around a function.

    Parameters
    ----------
    function : callable
        ``function(cells, **arguments)``, see `FunctionMapper`.
    setup
        Fields of `FunctionMapper`, or arguments of the function.
    """
    if not callable(function):
        raise SpecificationError(f"expected a function of the cells, got {function!r}")
    fields = {k: v for k, v in setup.items() if k in FunctionMapper.__dataclass_fields__}
    mapper = FunctionMapper(function, **fields)
    for name, value in setup.items():
        if name not in fields:
            setattr(mapper, name, value)
    return mapper


def MapperPlugin(plugin: str | Callable[..., Any], **setup: Any) -> Any:
    """Return a mapper by name or around a function; see `from_plugin`."""
    return from_plugin(plugin, **setup)


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
        Call the function once with all cells (None, 'group'), once per connected component, or
        once per cell. Keys are always global cell numbers.
    options : mapping
        Arguments of the function.
    """

    function: Any = setting(None, check=_callable)
    returns: Any = setting(None, check=_names)
    input_type: str | None = setting(None, check=one_of(None, "cells", "partition"))
    arguments: Any = setting(default_factory=dict, check=_mapping)
    cell_sampling: str | None = setting(None, check=optional(one_of("group", "connected", "individual")))
    options: Any = setting(default_factory=dict, check=_mapping)

    lost: ClassVar[Mapping[str, str]] = {
        "worker_count": LOST["worker_count"],
        "max_cell_count": "cells are not split into groups",
        "dilation": "cells are not split into groups",
        "verbose": "the function may log what it wants",
        "max_runtime": "the function decides when to stop",
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

    def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
        """Call the function on the cells of a partition.

        Raises
        ------
        InferenceError
            If no cell holds a translocation, or the function returned something else than
            expected. What the function itself raises is passed on.
        """
        began = time.perf_counter()
        options = dict(self.options)
        if "sigma" in self._signature()[0] and "sigma" not in options:
            options["sigma"] = localization_precision(sigma, partition, self.owner)
        cells = Cells(partition)
        if len(cells) == 0:
            raise InferenceError(f"no cell holds a translocation, {self.name!r} was not called")
        attrs: dict[str, Any] = {"converged": True}
        tables = []
        for group in self._groups(partition, cells):
            argument = partition if self.input_type == "partition" else group
            result = self.function(argument, **options)
            table = self._collect(group) if self.returns else self._table(result, group, attrs)
            tables.append(table)
        table = tables[0] if len(tables) == 1 else pd.concat(tables).sort_index()
        maps = Maps(table.copy(deep=False), self.name, sigma, time.perf_counter() - began, attrs)
        maps.parent = partition
        return maps

    def _groups(self, partition: Any, cells: Cells) -> Iterable[Cells]:
        if self.input_type == "partition" or self.cell_sampling in (None, "group"):
            return [cells]
        if self.cell_sampling == "connected":
            return [Cells(partition, keys) for keys in cells.connected()]
        return [Cells(partition, [key]) for key in cells]

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
