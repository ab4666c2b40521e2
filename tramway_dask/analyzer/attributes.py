"""What an analyzer has where a component is not chosen yet."""

from __future__ import annotations

from typing import Any

from ..cards import badge, card, guarded
from ..errors import SpecificationError, UnknownAttributeError
from ..inference import mapper as mappers
from ..segmentation import tesseller as tessellers
from .plots import MapperPlots, TessellerPlots

__all__ = ["NoMapper", "NoTesseller"]


class _Unset:
    """Place of a component that is not chosen yet."""

    _kind = ""
    _example = ""
    _analyzer: Any

    def __init__(self, analyzer: Any) -> None:
        object.__setattr__(self, "_analyzer", analyzer)

    @property
    def initialized(self) -> bool:
        """Whether a component was chosen."""
        return False

    def __setattr__(self, name: str, value: Any) -> None:
        raise UnknownAttributeError(
            f"no {self._kind} is chosen yet: choose one first, as in `{self._example}`"
        )

    def __repr__(self) -> str:
        return f"(no {self._kind}: choose one, as in `{self._example}`)"

    @guarded
    def _repr_html_(self) -> str:
        return card(self._kind, badge("left", "not chosen"), f"choose one, as in {self._example}")


class NoTesseller(_Unset):
    """Place of the tesseller."""

    _kind = "tesseller"
    _example = "a.tesseller = tessellers.Hexagons"

    @property
    def mpl(self) -> TessellerPlots:
        """Plots of cells."""
        return TessellerPlots()

    def from_plugin(self, name: str, **parameters: Any) -> None:
        """Choose a tesseller by name."""
        self._analyzer.tesseller = tessellers.from_plugin(name, **parameters)

    def from_callable(self, tesseller: Any) -> None:
        """Choose a tesseller's class, or a function of the points that returns centers."""
        self._analyzer.tesseller = tessellers.from_callable(tesseller)

    def from_centers(self, centers: Any) -> None:
        """Choose cells around given centers, µm."""
        self._analyzer.tesseller = tessellers.from_centers(centers)

    def from_tessellation(self, tessellation: Any) -> None:
        """Choose cells that were made before: a tessellation, a sampling, or the path of a file."""
        self._analyzer.tesseller = tessellers.from_tessellation(tessellation)

    def from_partition(self, sampling: Any) -> None:
        """Choose the cells of a sampling."""
        self._analyzer.tesseller = tessellers.from_partition(sampling)


class NoMapper(_Unset):
    """Place of the mapper."""

    _kind = "mapper"
    _example = "a.mapper = models.DV()"

    @property
    def mpl(self) -> MapperPlots:
        """Plots of maps."""
        return MapperPlots()

    def from_plugin(self, plugin: Any, **parameters: Any) -> None:
        """Choose a model by name, or a function of the cells."""
        self._analyzer.mapper = mappers.from_plugin(plugin, **parameters)

    def from_callable(self, function: Any, **parameters: Any) -> None:
        """Choose a function of the cells."""
        self._analyzer.mapper = mappers.from_callable(function, **parameters)

    def from_maps(self, label_or_maps: Any = None, exclude_attrs: Any = ()) -> None:
        """Choose the mapper that made some maps."""
        self._analyzer.mapper = mappers.from_maps(label_or_maps, exclude_attrs, owner=self._analyzer)

    def infer(self, sampling: Any, **options: Any) -> Any:
        """Complain."""
        raise SpecificationError(f"no {self._kind} is chosen yet: choose one first, as in `{self._example}`")
