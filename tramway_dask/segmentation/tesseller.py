"""Tessellers by name, and user-defined ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from ..component import setting
from ..errors import SegmentationError, SpecificationError, suggest
from .calibration import Tesseller
from .tessellation import Tessellation, coordinates
from .tessellers import Hexagons, KMeans, Squares

__all__ = [
    "CallableTesseller",
    "Tesseller",
    "TessellerPlugin",
    "from_callable",
    "from_plugin",
    "plugins",
    "register",
]


@dataclass(frozen=True)
class _Plugin:
    tesseller: type[Tesseller]
    defaults: Mapping[str, Any]


_registry: dict[str, _Plugin] = {}


def register(*names: str, defaults: Mapping[str, Any] | None = None) -> Callable[[type], type]:
    """Return a class decorator that makes a tesseller known by name.

    Parameters
    ----------
    *names : str
        Names for `from_plugin` and `TessellerPlugin`.
    defaults : mapping, optional
        Parameters that `TessellerPlugin` sets and `from_plugin` does not.
    """

    def enter(cls: type) -> type:
        for name in names:
            _registry[name] = _Plugin(cls, MappingProxyType(dict(defaults or {})))
        return cls

    return enter


register("grid", "squares")(Squares)
register("hexagon", "hexagons")(Hexagons)
register("kmeans", defaults={"tol": 1e-6, "prune": 2.5})(KMeans)


def plugins() -> list[str]:
    """Return the names of the known tessellers."""
    return sorted(_registry)


def _plugin(name: Any) -> _Plugin:
    if not isinstance(name, str) or name not in _registry:
        raise SpecificationError(f"unknown tesseller {name!r}; {suggest(name, _registry)}")
    return _registry[name]


def TessellerPlugin(name: str, **parameters: Any) -> Tesseller:
    """Return a tesseller by name, with the defaults of TRamWAy's plugin of that name.

    Parameters
    ----------
    name : {'grid', 'hexagon', 'kmeans'}
    **parameters
        Parameters of the tesseller.

    Raises
    ------
    SpecificationError
        If the name or a parameter is unknown.
    """
    plugin = _plugin(name)
    return _made(plugin.tesseller, {**plugin.defaults, **parameters})


def from_plugin(name: str, **parameters: Any) -> Tesseller:
    """Return a tesseller by name, with the defaults of its class.

    Parameters
    ----------
    name : {'grid', 'hexagon', 'kmeans'}
    **parameters
        Parameters of the tesseller.

    Raises
    ------
    SpecificationError
        If the name or a parameter is unknown.
    """
    return _made(_plugin(name).tesseller, parameters)


def _made(cls: type[Tesseller], parameters: Mapping[str, Any]) -> Tesseller:
    for name in parameters:
        if name not in cls.parameters():
            raise SpecificationError(
                f"{cls.__name__} has no parameter {name!r}; {suggest(name, cls.parameters())}"
            )
    tesseller = cls()
    for name, value in parameters.items():
        setattr(tesseller, name, value)
    return tesseller


def _function(name: str, value: Any) -> Any:
    if value is not None and not callable(value):
        raise SpecificationError(f"{name}: expected a function of the points, got {value!r}")
    return value


@dataclass(eq=False, repr=False)
class CallableTesseller(Tesseller):
    """A tesseller made of a user's function.

    Parameters
    ----------
    function : callable
        ``function(points)`` gets the table of translocations and returns the centers,
        array_like (m, d) in µm, or a `Tessellation`.
    """

    function: Callable[..., Any] | None = setting(None, check=_function)

    def _grow(self, points: Any, box: np.ndarray) -> Tessellation:
        if self.function is None:
            raise SpecificationError("CallableTesseller.function is not set")
        found = self.function(points)
        if isinstance(found, Tessellation):
            return found
        name = getattr(self.function, "__name__", "the function")
        try:
            centers = np.asarray(found, dtype=float)
        except (TypeError, ValueError):
            raise SegmentationError(
                f"tesseller {name}: expected an array of centers or a Tessellation, "
                f"got a {type(found).__name__}"
            ) from None
        expected = coordinates(points).shape[1]
        if centers.ndim != 2 or centers.shape[1] != expected or not len(centers):
            raise SegmentationError(
                f"tesseller {name}: expected centers of shape (cells, {expected}), got {centers.shape}"
            )
        return Tessellation.from_centers(centers, box)


def from_callable(tesseller: Any) -> Tesseller:
    """Return a tesseller from a class, an instance, or a function of the points.

    Parameters
    ----------
    tesseller : type, Tesseller or callable
        A class such as ``tessellers.Hexagons``, or a function as in `CallableTesseller`.

    Raises
    ------
    SpecificationError
        If it is none of these.
    """
    if isinstance(tesseller, Tesseller):
        return tesseller
    if isinstance(tesseller, type):
        if issubclass(tesseller, Tesseller):
            return tesseller()
        raise SpecificationError(
            f"{tesseller.__name__} is not a tesseller; use Squares, Hexagons, KMeans or a function"
        )
    if callable(tesseller):
        return CallableTesseller(function=tesseller)
    raise SpecificationError(f"expected a tesseller or a function of the points, got {tesseller!r}")
