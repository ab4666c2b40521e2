"""What an analyzer has where a component is not chosen yet, and its plots by TRamWAy's names."""

from __future__ import annotations

from typing import Any

from ..cards import badge, card, guarded
from ..errors import SpecificationError, UnknownAttributeError
from ..inference import mapper as mappers
from ..segmentation import tesseller as tessellers

__all__ = ["NoMapper", "NoTesseller", "Plots"]


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


class Plots:
    """Plots by the names that they have in TRamWAy: ``a.mapper.mpl``, ``a.tesseller.mpl``, ``a.spt_data.mpl``."""

    def __init__(self, about: str) -> None:
        self._about = about

    def plot(self, thing: Any, *args: Any, **options: Any) -> Any:
        """Plot maps, a partition or tessellation, or trajectories; see `tramway_dask.plot`."""
        from .. import plot

        draw: Any = {"mapper": plot.map, "tesseller": plot.cells, "spt_data": plot.trajectories}[self._about]
        return draw(thing, *args, **_translated(options))

    def plot_cell_indices(self, thing: Any, **options: Any) -> Any:
        """Plot cells with their numbers."""
        from .. import plot

        return plot.cells(thing, **{"locations": False, "indices": True, **_translated(options)})

    def animate(self, *args: Any, **options: Any) -> Any:
        """Animate maps over time segments; see `tramway_dask.plot.animate`."""
        from .. import plot

        if self._about != "mapper":
            raise SpecificationError("only maps can be animated: use `a.mapper.mpl.animate`")
        if args and hasattr(args[0], "savefig"):
            options["figure"], *args = args  # type: ignore[assignment]
        return plot.animate(*args, **_translated(options))


def _translated(options: dict[str, Any]) -> dict[str, Any]:
    """Return TRamWAy's options by their names here; those of its looks are dropped."""
    taken = {
        k: v for k, v in options.items() if k not in ("unit", "aspect", "interior_contour", "composable")
    }
    for theirs, ours in (("axes", "ax"), ("logscale", "log"), ("colormap", "cmap"), ("clabel", "label")):
        if theirs in taken:
            value = taken.pop(theirs)
            taken[ours] = bool(value) if ours == "log" else value
    taken.pop("voronoi_options", None)
    if "delaunay_options" in taken:
        taken["adjacency"] = taken.pop("delaunay_options") is not None
    if "location_options" in taken:
        options_of_dots = taken.pop("location_options")
        taken.setdefault("locations", options_of_dots is not None)
    if isinstance(taken.get("overlay_locations"), dict):
        taken["overlay_locations"] = True
    return taken
