"""Tessellers by name, user-defined ones, and cells that are given.

A tesseller of one's own is a subclass of `Tesseller` with a method ``grow(points, box)``;
if it has parameters, it is a dataclass of settings like the ones in this package::

    @dataclass(eq=False, repr=False)
    class Disks(tesseller.Tesseller):
        number: int = setting(20, check=count)

        def grow(self, points, box):
            rows = points.sample(self.number, random_state=0)
            return rows[["x", "y"]]     # centers; or a whole Tessellation
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from ..component import setting
from ..errors import SpecificationError, suggest
from .calibration import Tesseller
from .given import GivenCenters, GivenTessellation, cells_of
from .nesting import Nested
from .tessellers import GWR, Hexagons, KDTree, KMeans, Kohonen, Random, Squares

__all__ = [
    "CallableTesseller",
    "GivenCenters",
    "GivenTessellation",
    "Nested",
    "Tesseller",
    "TessellerPlugin",
    "from_callable",
    "from_centers",
    "from_partition",
    "from_plugin",
    "from_tessellation",
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
register(
    "gwr",
    "gas",
    defaults={
        "min_distance": None,
        "lifetime": 50,
        "complete_delaunay": False,
        "topology": "approximate density",
    },
)(GWR)
register("kdtree")(KDTree)
register("random")(Random)
register("kohonen")(Kohonen)


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
    name : {'grid', 'hexagon', 'kmeans', 'gwr', 'gas', 'kdtree', 'random', 'kohonen'}
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
    name : {'grid', 'hexagon', 'kmeans', 'gwr', 'gas', 'kdtree', 'random', 'kohonen'}
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

    def grow(self, points: Any, box: np.ndarray) -> Any:
        """Return what the function makes of the points."""
        if self.function is None:
            raise SpecificationError("CallableTesseller.function is not set")
        return self.function(points)


def from_callable(tesseller: Any) -> Tesseller:
    """Return a tesseller from a class, an instance, a function of the points, or cells.

    Parameters
    ----------
    tesseller : type, Tesseller, callable, Tessellation or Partition
        A class such as ``tessellers.Hexagons``, or a function as in `CallableTesseller`, or
        cells that are the same for all data.

    Raises
    ------
    SpecificationError
        If it is none of these.
    """
    if isinstance(tesseller, Tesseller):
        return tesseller
    if cells_of(tesseller) is not None:
        return GivenTessellation(tessellation=tesseller)
    if isinstance(tesseller, type):
        if issubclass(tesseller, Tesseller):
            return tesseller()
        raise SpecificationError(
            f"{tesseller.__name__} is not a tesseller; use Squares, Hexagons, KMeans, GWR, KDTree, Random, a function, "
            "or a subclass of tesseller.Tesseller"
        )
    if callable(tesseller):
        return CallableTesseller(function=tesseller)
    raise SpecificationError(f"expected a tesseller or a function of the points, got {tesseller!r}")


def from_centers(centers: Any) -> GivenCenters:
    """Return a tesseller whose cells are around given centers.

    Parameters
    ----------
    centers : array_like (m, d) or DataFrame with columns x, y[, z], µm
    """
    return GivenCenters(centers=centers)


def from_tessellation(tessellation: Any) -> GivenTessellation:
    """Return a tesseller that gives the same cells to all data.

    Parameters
    ----------
    tessellation : Tessellation, TimeLattice, Partition, Node or path
        Cells, the sampling that they were made for, or the file where they were saved.

    Examples
    --------
    >>> from tramway_dask.segmentation import KMeans, segment
    >>> one, other = np.random.default_rng(0).random((2, 1000, 2))
    >>> cells = from_tessellation(segment(one, tesseller=KMeans(resolution=0.2)))
    >>> segment(other, tesseller=cells).tessellation is cells.tessellation
    True
    """
    return GivenTessellation(tessellation=tessellation)


def from_partition(sampling: Any) -> GivenTessellation:
    """Return a tesseller that gives the cells of a sampling to all data; see `from_tessellation`."""
    if cells_of(sampling) is None:
        raise SpecificationError(f"from_partition: expected a sampling (a Partition), got {sampling!r}")
    return GivenTessellation(tessellation=sampling)
