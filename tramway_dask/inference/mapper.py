"""Mappers by name, around functions, and from maps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..component import Component
from ..errors import InferenceError, SpecificationError, suggest
from .functions import FunctionMapper
from .maps import Maps
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

__all__ = [
    "FunctionMapper",
    "MapperPlugin",
    "from_callable",
    "from_maps",
    "from_plugin",
    "plugins",
    "register",
]

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


# functions of the user's, and the fields of `FunctionMapper` that belong to them
_registry: dict[str, tuple[Callable[..., Any], Mapping[str, Any]]] = {}


def _models() -> list[str]:
    return [*(p + name for p in _PREFIXES for name in _FAMILIES), *_POTENTIAL, *_OTHERS]


def plugins() -> list[str]:
    """Return the names that `from_plugin` knows."""
    return sorted({*_models(), *_registry})


def register(name: str, **setup: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that makes a function of the cells known by name.

    Parameters
    ----------
    name : str
        For `from_plugin` and `MapperPlugin`. A later function of the same name replaces the first, as
        when a cell of a notebook is run again.
    **setup
        Fields of `FunctionMapper`, or arguments of the function.

    Raises
    ------
    SpecificationError
        If a model of this package has the name, or the setup does not fit the function.

    Examples
    --------
    >>> import pandas as pd
    >>> @register("count")
    ... def count(cells):
    ...     return pd.DataFrame({"count": [len(cells[i]) for i in cells]}, index=list(cells))
    >>> from_plugin("count").name
    'count'
    """
    if not isinstance(name, str) or not name.strip():
        raise SpecificationError(f"name of a mapper: expected text, got {name!r}")
    if name in _models():
        raise SpecificationError(f"mapper {name!r} is a model of this package: choose another name")

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        from_callable(function, **setup)  # says what does not fit
        _registry[name] = (function, dict(setup))
        return function

    return enter


def from_plugin(plugin: str | Callable[..., Any], **setup: Any) -> Any:
    """Return a mapper by TRamWAy's name of it, or around a function.

    Parameters
    ----------
    plugin : str, callable or module
        A name such as 'd', 'dd', 'df', 'dv', 'stochastic.dv', 'smooth.d', 'density', or one that was
        given to `register`; or a function, see `from_callable`, whose attribute `setup` may hold fields
        of `FunctionMapper`; or a module with such a dictionary `setup` and the function that its entry 'infer' names.
    setup
        For a name, parameters of the model; for a function, see `from_callable`.

    Raises
    ------
    SpecificationError
        If the name is unknown.
    """
    if isinstance(getattr(plugin, "setup", None), Mapping) and not callable(plugin):
        return _of_module(plugin, setup)
    if callable(plugin):
        declared = getattr(plugin, "setup", None)
        known = FunctionMapper.__dataclass_fields__
        declared = {k: v for k, v in declared.items() if k in known} if isinstance(declared, Mapping) else {}
        return from_callable(plugin, **{**declared, **setup})
    if isinstance(plugin, str) and plugin in _registry:
        function, declared = _registry[plugin]
        return from_callable(function, **{**declared, **setup})
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


def from_maps(label_or_maps: Any = None, exclude_attrs: Iterable[str] = (), *, owner: Any = None) -> Any:
    """Return the mapper that made some maps, with its parameters.

    Parameters
    ----------
    label_or_maps : Maps, str, int, or (sampling label, map label)
        Labels are sought in the first region of the analyzer that the mapper belongs to.
    exclude_attrs : iterable of str
        Parameters to be left at their defaults.
    owner : RWAnalyzer, optional

    Raises
    ------
    InferenceError
        If the maps were made by a function, or with a parameter that maps do not keep.
    """
    maps = label_or_maps
    if not isinstance(maps, Maps):
        if owner is None:
            raise InferenceError(
                "from_maps: a label is sought in an analyzer, and this mapper belongs to none"
            )
        path = maps if isinstance(maps, tuple | list) else (None, maps)
        maps = next(iter(owner.roi.as_support_regions())).get_sampling(path[0]).get_child(path[-1])
    settings = {k: v for k, v in maps.attrs.get("settings", {}).items() if k not in set(exclude_attrs)}
    if maps.mode not in _models():
        raise InferenceError(
            f"these maps were made by the function {maps.mode!r}, which they do not hold; use `from_callable`"
        )
    lost = [k for k, v in settings.items() if isinstance(v, Mapping)]
    if lost:
        raise InferenceError(
            f"from_maps: {lost[0]!r} was a large array, which maps do not keep; pass exclude_attrs={lost!r} and set it"
        )
    # the plugin of this name is not the default variant
    model = DV() if maps.mode == "dv" else from_plugin(maps.mode)
    for key, value in settings.items():
        setattr(model, key, value)
    return model


def _of_module(module: Any, setup: dict[str, Any]) -> FunctionMapper:
    """Return the mapper of a module written as a plugin: a dictionary `setup`, and the function it names."""
    declared = dict(module.setup)
    functions = [f for n, f in vars(module).items() if inspect.isfunction(f) and n.startswith("infer")]
    name = declared.get("infer")
    function = getattr(module, name, None) if name else (functions[0] if len(functions) == 1 else None)
    if function is None:
        raise SpecificationError(
            f"plugin {getattr(module, '__name__', module)!r}: setup['infer'] should name its function, got {name!r}"
        )
    kept = {k: declared[k] for k in ("returns", "input_type", "arguments", "cell_sampling") if k in declared}
    if kept.get("input_type") is not None:
        kept["input_type"] = str(kept["input_type"]).lower()
    return from_callable(function, **{**kept, **setup})


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
