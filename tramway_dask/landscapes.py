"""Landscapes that change in time: a sink that moves, a diffusivity that rises and falls.

Such a field is given to `simulate.random_walk` and `simulate.truth` as one that does not change; it
differs by its method ``at(t)``, which returns the field at time t (s). Any object with that method will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import SpecificationError
from .fields import Field, GaussianField, gradient_of, scalar_field, well_potential

__all__ = ["ChangingField", "MovingSink", "changing_diffusivity", "frozen", "moving_sink"]


@dataclass(frozen=True, eq=False)
class MovingSink:
    """A Gaussian well that goes along a path at given times, and in straight lines between them.

    Attributes
    ----------
    times : (k,) array
        Ascending, in s; before the first and after the last the well rests.
    path : (k, d) array
        Centres at these times, in µm.
    depth : float
        In kT.
    radius : float
        Standard deviation of the well, in µm.
    """

    times: np.ndarray
    path: np.ndarray
    depth: float
    radius: float

    def center(self, t: float) -> np.ndarray:
        """Return the centre of the well at time t, (d,), µm."""
        return np.array([np.interp(t, self.times, axis) for axis in self.path.T])

    def at(self, t: float) -> GaussianField:
        """Return the potential at time t (s)."""
        return well_potential(self.center(t), self.depth, self.radius)


@dataclass(frozen=True, eq=False)
class ChangingField:
    """A field times a factor that depends on time.

    Attributes
    ----------
    field : callable
        (N, d) points to (N,) values.
    factor : callable
        Time (s) to a number.
    """

    field: Field
    factor: Callable[[float], float]

    def at(self, t: float) -> Field:
        """Return the field at time t (s)."""
        factor = float(self.factor(t))
        if not np.isfinite(factor):
            raise SpecificationError(f"factor: expected a finite number at t = {t:g} s, got {factor!r}")
        return lambda points: factor * np.asarray(self.field(points))


def moving_sink(
    path: Sequence[Any] | np.ndarray,
    times: Sequence[float] | np.ndarray,
    *,
    depth: float = 4.0,
    radius: float = 0.1,
) -> MovingSink:
    """Return a potential well that moves, for the argument `potential` of `simulate.random_walk`.

    Parameters
    ----------
    path : (k, d) array_like
        Places of the centre, in µm.
    times : (k,) array_like
        When it is there, ascending, in s.
    depth : float
        In kT.
    radius : float
        Standard deviation of the well, in µm.

    Raises
    ------
    SpecificationError
        If places and times do not fit together, or a number cannot be used.

    Examples
    --------
    >>> sink = moving_sink([(0, 0), (1, 0)], [0, 10], depth=3)
    >>> sink.center(5.0)
    array([0.5, 0. ])
    """
    places, when = np.asarray(path, dtype=float), np.asarray(times, dtype=float)
    if places.ndim != 2 or places.shape[1] not in (2, 3) or when.shape != (len(places),) or not len(when):
        raise SpecificationError(
            f"path, times: expected one place (x, y[, z]) per time, got shapes {places.shape} and {when.shape}"
        )
    if not (np.isfinite(places).all() and np.isfinite(when).all() and (np.diff(when) > 0).all()):
        raise SpecificationError("path, times: expected finite numbers, and times that ascend")
    for name, value, allowed in (("depth", depth, np.isfinite(depth)), ("radius", radius, radius > 0)):
        if not allowed:
            raise SpecificationError(f"{name}: expected a finite number, a radius above 0; got {value!r}")
    return MovingSink(when, places, float(depth), float(radius))


def changing_diffusivity(field: float | Field, factor: Callable[[float], float]) -> ChangingField:
    """Return a diffusivity that changes in time, for `simulate.random_walk`.

    Parameters
    ----------
    field : float or callable
        Diffusivity where the factor is 1, in µm²/s.
    factor : callable
        ``factor(t)`` for the time t in s, not negative.

    Examples
    --------
    >>> slower = changing_diffusivity(0.1, lambda t: 1 / (1 + t))
    >>> slower.at(1.0)(np.zeros((1, 2)))
    array([0.05])
    """
    if not callable(factor):
        raise SpecificationError(f"factor: expected a function of the time (s), got {factor!r}")
    return ChangingField(scalar_field("diffusivity", field), factor)


def frozen(field: Any, t: float) -> Any:
    """Return the field at time t, which is the field itself if it does not change."""
    return field.at(t) if callable(getattr(field, "at", None)) else field


@dataclass(frozen=True)
class Landscape:
    """The fields of a walk at one time."""

    diffusivity: Field
    potential: Field | None
    force: Field | None
    drift: Field | None
    size: np.ndarray
    convention: str

    def velocity(self, points: np.ndarray, diffusivity: np.ndarray) -> np.ndarray | float:
        """Return D F + u, and the spurious drift if the convention has one, µm/s."""
        velocity: Any = 0.0
        if self.force is not None:
            velocity = diffusivity[:, None] * self.force(points)
        if self.drift is not None:
            velocity = velocity + self.drift(points)
        if self.convention == "isothermal":
            velocity = velocity + gradient_of(self.diffusivity, points, self.size)
        return velocity

    def log_density(self, points: np.ndarray, start: str) -> np.ndarray:
        """Return the logarithm of the density of first positions, up to a constant."""
        value = np.zeros(len(points))
        if self.potential is not None:
            value = value - scalar_field("potential", self.potential)(points)
        if start == "stationary" and self.convention == "ito":
            value = value - np.log(self.diffusivity(points))
        return value
