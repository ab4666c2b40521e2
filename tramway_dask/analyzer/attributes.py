"""What an analyzer has where a component is not chosen yet, and its plots by TRamWAy's names."""

from __future__ import annotations

from typing import Any

from ..errors import SpecificationError, UnknownAttributeError
from ..inference import mapper as mappers
from ..segmentation import tesseller as tessellers

__all__ = ["NoMapper", "NoTesseller", "Plots"]


class _Unset:
    """Place of a component that is not chosen yet."""

    _kind = ""
    _example = ""

    def __init__(self, analyzer: Any) -> None:
        object.__setattr__(self, "_analyzer", analyzer)

    @property
    def initialized(self) -> bool:
        """Whether a component was chosen."""
        return False

    def __setattr__(self, name: str, value: Any) -> None:
        raise UnknownAttributeError(f"no {self._kind} is chosen yet: choose one first, as in `{self._example}`")

    def __repr__(self) -> str:
        return f"(no {self._kind}: choose one, as in `{self._example}`)"


class NoTesseller(_Unset):
    """Place of the tesseller."""

    _kind = "tesseller"
    _example = "a.tesseller = tessellers.Hexagons"

    def from_plugin(self, name: str, **parameters: Any) -> None:
        """Choose a tesseller by name."""
        self._analyzer.tesseller = tessellers.from_plugin(name, **parameters)

    def from_callable(self, tesseller: Any) -> None:
        """Choose a tesseller's class, or a function of the points that returns centers."""
        self._analyzer.tesseller = tessellers.from_callable(tesseller)


class NoMapper(_Unset):
    """Place of the mapper."""

    _kind = "mapper"
    _example = "a.mapper = models.DV()"

    def from_plugin(self, plugin: Any, **parameters: Any) -> None:
        """Choose a model by name, or a function of the cells."""
        self._analyzer.mapper = mappers.from_plugin(plugin, **parameters)

    def from_callable(self, function: Any, **parameters: Any) -> None:
        """Choose a function of the cells."""
        self._analyzer.mapper = mappers.from_callable(function, **parameters)

    def infer(self, sampling: Any, **options: Any) -> Any:
        """Complain."""
        raise SpecificationError(f"no {self._kind} is chosen yet: choose one first, as in `{self._example}`")


class Plots:
    """Plots by the names that they have in TRamWAy: ``a.mapper.mpl``, ``a.tesseller.mpl``, ``a.spt_data.mpl``."""

    def __init__(self, about: str) -> None:
        self._about = about

    def plot(self, thing: Any, *args: Any, **options: Any) -> Any:
        """Plot maps, a partition or tessellation, or trajectories; see `tramway_dask.plot`."""
        from .. import plot

        axes = options.pop("axes", None)
        if axes is not None:
            options["ax"] = axes
        for ignored in ("unit", "aspect", "interior_contour"):
            options.pop(ignored, None)
        draw = {"mapper": plot.map, "tesseller": plot.cells, "spt_data": plot.trajectories}[self._about]
        if "logscale" in options:
            options["log"] = options.pop("logscale")
        return draw(thing, *args, **options)

    def plot_cell_indices(self, thing: Any, **options: Any) -> Any:
        """Plot cells with their numbers."""
        from .. import plot

        axes = options.pop("axes", None)
        return plot.cells(thing, indices=True, **({} if axes is None else {"ax": axes}), **options)

    def animate(self, *args: Any, **options: Any) -> Any:
        """Animate maps over time segments; see `tramway_dask.plot.animate`."""
        from .. import plot

        return plot.animate(*args, **options)
