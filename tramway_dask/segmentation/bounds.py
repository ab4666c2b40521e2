"""Lower and upper bounds that samplers have, the same for all cells or a function of the cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from ..component import Component, count, positive
from ..errors import SpecificationError
from .lattice import TimeLattice
from .tessellation import Tessellation

__all__ = ["Bounded", "function_of_cell", "limit", "radius_of_cell"]


def limit(name: str, value: Any) -> int | None:
    """Accept a whole number above 0, or None."""
    if value is None:
        return None
    number = count(name, value)
    if number < 1:
        raise SpecificationError(f"{name}: expected a whole number above 0, got {value!r}")
    return number


def radius_of_cell(name: str, value: Any) -> float | None:
    """Accept a number above 0, or None."""
    return None if value is None else positive(name, value)


def function_of_cell(name: str, value: Any) -> Any:
    """Accept a function, or None."""
    if value is None or callable(value):
        return value
    raise SpecificationError(f"{name}: expected a function of the cell's index, got {value!r}")


class Bounded(Component):
    """What samplers share that have a lower and an upper bound, or a function of the cell."""

    # names of the two bounds, and of both of them together
    _names: ClassVar[tuple[str, str, str]]
    # where there is no bound
    _absent: ClassVar[float] = 0
    # what a single number bounds
    _single: ClassVar[tuple[bool, bool]] = (True, False)

    def _set(self, both: Any) -> None:
        low, high, name = self._names
        given = (None, None) if callable(both) else self._pair(both, f"{type(self).__name__}.{name}")
        setattr(self, low, given[0])
        setattr(self, high, given[1])
        self.bounds: Any = both if callable(both) else None
        self._check()

    def _get(self) -> Any:
        if self.bounds is not None:
            return self.bounds
        low, high = (getattr(self, name) for name in self._names[:2])
        return low if self._pair(low, "") == (low, high) else (low, high)

    def _pair(self, value: Any, name: str) -> tuple[Any, Any]:
        if isinstance(value, np.ndarray | tuple | list):
            if len(value) != 2:
                raise SpecificationError(f"{name}: expected a number or a pair (min, max), got {value!r}")
            return value[0], value[1]
        low, high = self._single
        return value if low else None, value if high else None

    def _start(self, both: Any, low: Any, high: Any, bounds: Any, min_location_count: int) -> None:
        """Set what the constructor is given."""
        self.min_location_count: int = min_location_count
        setattr(self, self._names[0], low)
        setattr(self, self._names[1], high)
        self.bounds = bounds
        if both is not None:
            if any(given is not None for given in (low, high, bounds)):
                raise SpecificationError(
                    f"{type(self).__name__}: give either `{self._names[2]}` or `{self._names[0]}` and "
                    f"`{self._names[1]}`, not both"
                )
            self._set(both)
        self._check()

    def _check(self) -> None:
        low, high = (getattr(self, name) for name in self._names[:2])
        if self.bounds is not None and (low is not None or high is not None):
            raise SpecificationError(
                f"{type(self).__name__}: give either the function `bounds`, or numbers, not both"
            )
        self._ordered(low, high, type(self).__name__)

    def _ordered(self, low: Any, high: Any, where: str) -> None:
        if low is not None and high is not None and low > high:
            raise SpecificationError(f"{where}: {self._names[0]} {low} is above {self._names[1]} {high}")

    def _of_cells(self, arguments: Iterable[tuple[Any, ...]], absent: Any) -> dict[str, Any]:
        """Return both bounds, as numbers or of every cell."""
        self._check()
        low, high = self._names[:2]
        if self.bounds is None:
            given = {name: getattr(self, name) for name in (low, high)}
            return {name: value for name, value in given.items() if value is not None}
        settings = {f.name: f.metadata for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        check = settings[low]["check"]
        found = []
        for which in arguments:
            where = f"{type(self).__name__}: the bounds of cell {', '.join(map(str, which))}"
            least, most = (check(where, bound) for bound in self._pair(self.bounds(*which), where))
            self._ordered(least, most, where)
            found.append([absent if bound is None else bound for bound in (least, most)])
        return dict(zip((low, high), np.array(found).reshape(-1, 2).T, strict=True))

    def _limits(self, lattice: Tessellation | TimeLattice) -> dict[str, Any]:
        size = lattice.spatial_mesh.number_of_cells
        return self._of_cells(((i,) for i in range(size)), self._absent)
