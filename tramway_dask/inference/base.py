"""What every mapper has: it can be replaced in its analyzer, and it infers maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from ..component import Component
from ..errors import UnknownAttributeError
from .maps import Maps
from .profiles import as_time_profiles, get_time_profile

__all__ = ["Mapper"]


class Mapper(Component):
    """Base class of the models and of mappers made of functions.

    Attributes
    ----------
    takes_maps : bool
        Whether `infer` also takes the maps of another mapper.
    """

    takes_maps: ClassVar[bool] = False

    @property
    def localization_precision(self) -> float | None:
        """σ of the analyzer's data, µm."""
        return self._data().localization_precision

    @localization_precision.setter
    def localization_precision(self, value: float) -> None:
        self._data().localization_precision = value

    @property
    def localization_error(self) -> float | None:
        """σ² of the analyzer's data, µm²."""
        sigma = self.localization_precision
        return None if sigma is None else sigma**2

    @localization_error.setter
    def localization_error(self, value: float) -> None:
        self.localization_precision = float(value) ** 0.5

    def _data(self) -> Any:
        if self.owner is None:
            raise UnknownAttributeError(
                f"{type(self).__name__} belongs to no analyzer, whose data have a localization precision; "
                "pass `sigma` (µm) to `infer`"
            )
        return self.owner.spt_data

    def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
        """Infer maps from a partition.

        Parameters
        ----------
        partition : Partition
        sigma : float, optional
            Localization precision (µm); default: that of the partition's data.
        """
        raise NotImplementedError

    def from_plugin(self, plugin: str | Callable[..., Any], **setup: Any) -> Any:
        """Put another mapper in the place of this one; see `mapper.from_plugin`."""
        from .mapper import from_plugin

        return self.become(from_plugin(plugin, **setup))

    def from_maps(self, label_or_maps: Any = None, exclude_attrs: Iterable[str] = ()) -> Any:
        """Put the mapper that made some maps in the place of this one; see `mapper.from_maps`."""
        from .mapper import from_maps

        return self.become(from_maps(label_or_maps, exclude_attrs, owner=self.owner))

    def to_ascii_file(self, path: str | Path, maps: Maps, **options: Any) -> None:
        """Write maps as tab-separated text; see `Maps.to_ascii_file`."""
        maps.to_ascii_file(path, **options)

    def as_time_profiles(self, sampling: Any, maps: Any, *args: Any, **options: Any) -> Iterator[Any]:
        """Iterate over the time profiles of spatial cells; see `profiles.as_time_profiles`."""
        return as_time_profiles(sampling, maps, *args, **options)

    def get_time_profile(self, sampling: Any, maps: Any, *args: Any, **options: Any) -> Any:
        """Return the time profile of a spatial cell; see `profiles.get_time_profile`."""
        return get_time_profile(sampling, maps, *args, **options)

    def _parameters_set(self) -> dict[str, Any]:
        """Return the parameters that differ from their defaults, as maps keep them."""
        default = type(self)().to_dict()
        return {k: v for k, v in self.to_dict().items() if k != "type" and v != default[k]}

    def from_callable(self, function: Callable[..., Any], **setup: Any) -> Any:
        """Put a mapper made of a function in the place of this one; see `mapper.from_callable`."""
        from .mapper import from_callable

        return self.become(from_callable(function, **setup))
