"""What every mapper has: it can be replaced in its analyzer, and it infers maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ..component import Component
from .maps import Maps

__all__ = ["Mapper"]


class Mapper(Component):
    """Base class of the models and of mappers made of functions.

    Attributes
    ----------
    takes_maps : bool
        Whether `infer` also takes the maps of another mapper.
    """

    takes_maps: ClassVar[bool] = False

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

    def from_callable(self, function: Callable[..., Any], **setup: Any) -> Any:
        """Put a mapper made of a function in the place of this one; see `mapper.from_callable`."""
        from .mapper import from_callable

        return self.become(from_callable(function, **setup))
