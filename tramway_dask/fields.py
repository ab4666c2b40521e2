"""Small fields of diffusivity and potential, for simulations and demonstrations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import SpecificationError

__all__ = [
    "CheckedField",
    "Field",
    "GaussianField",
    "HarmonicPotential",
    "LinearField",
    "force_field",
    "gaussian_patches",
    "gradient_of",
    "scalar_field",
    "vector_field",
    "well_potential",
]

Field = Callable[[np.ndarray], np.ndarray]


class _ScalarField:
    """A function of points with an analytic gradient; as a potential it has a force."""

    def gradient(self, points: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def force(self, points: np.ndarray) -> np.ndarray:
        """Return minus the gradient, (N, d): the force in kT/µm if the field is a potential in kT."""
        return -self.gradient(points)


@dataclass(frozen=True, eq=False)
class GaussianField(_ScalarField):
    """A constant plus isotropic Gaussian bumps: ``offset + Σ a exp(-|r - c|²/(2 w²))``.

    Attributes
    ----------
    centers : (k, d) array
        In µm.
    amplitudes : (k,) array
        Heights; negative for wells.
    radii : (k,) array
        Standard deviations w of the bumps, in µm.
    offset : float
    """

    centers: np.ndarray
    amplitudes: np.ndarray
    radii: np.ndarray
    offset: float = 0.0

    def _bumps(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        away = np.asarray(points, dtype=float)[:, None, :] - self.centers
        return away, self.amplitudes * np.exp(-0.5 * (away**2).sum(axis=2) / self.radii**2)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return the values at (N, d) points, (N,)."""
        return self.offset + self._bumps(points)[1].sum(axis=1)

    def gradient(self, points: np.ndarray) -> np.ndarray:
        """Return the gradient at (N, d) points, (N, d)."""
        away, bumps = self._bumps(points)
        return -((bumps / self.radii**2)[:, :, None] * away).sum(axis=1)


@dataclass(frozen=True, eq=False)
class HarmonicPotential(_ScalarField):
    """A harmonic trap, ``k |r - c|²/2``.

    Attributes
    ----------
    center : (d,) array
        In µm.
    stiffness : float
        k, in kT/µm².
    """

    center: np.ndarray
    stiffness: float

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return the potential in kT at (N, d) points, (N,)."""
        return 0.5 * self.stiffness * ((np.asarray(points) - self.center) ** 2).sum(axis=1)

    def gradient(self, points: np.ndarray) -> np.ndarray:
        """Return the gradient at (N, d) points, (N, d)."""
        return self.stiffness * (np.asarray(points) - self.center)


@dataclass(frozen=True, eq=False)
class LinearField(_ScalarField):
    """A field that varies linearly, ``value + slope · (r - origin)``.

    Attributes
    ----------
    value : float
        At the origin.
    slope : (d,) array
        Its gradient, per µm.
    origin : (d,) array or 0
        In µm.
    """

    value: float
    slope: np.ndarray
    origin: np.ndarray | float = 0.0

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return the values at (N, d) points, (N,)."""
        return self.value + (np.asarray(points) - self.origin) @ np.asarray(self.slope, dtype=float)

    def gradient(self, points: np.ndarray) -> np.ndarray:
        """Return the gradient at (N, d) points, (N, d)."""
        return np.tile(np.asarray(self.slope, dtype=float), (len(points), 1))


def well_potential(
    center: Sequence[Any] | np.ndarray,
    depth: float | Sequence[float] = 4.0,
    radius: float | Sequence[float] = 0.1,
) -> GaussianField:
    """Return a potential of Gaussian wells, callable, with ``.force``.

    Parameters
    ----------
    center : (d,) or (k, d) array-like
        Centre, or centres, in µm.
    depth : float or (k,) sequence
        Depths in kT.
    radius : float or (k,) sequence
        Standard deviations of the wells in µm; the force is largest there, depth/(radius sqrt(e)).
    """
    depths = np.atleast_1d(np.asarray(depth, dtype=float))
    return gaussian_patches(center, (-depths).tolist(), radius)


def gaussian_patches(
    center: Sequence[Any] | np.ndarray,
    amplitude: float | Sequence[float],
    radius: float | Sequence[float],
    background: float = 0.0,
) -> GaussianField:
    """Return a background with Gaussian patches, e.g. of higher or lower diffusivity.

    Parameters
    ----------
    center : (d,) or (k, d) array-like
        In µm.
    amplitude, radius : float or (k,) sequence
        Height above the background, and standard deviation in µm.
    background : float

    Raises
    ------
    SpecificationError
        If a radius is not above 0, or the lengths disagree.
    """
    centers = np.atleast_2d(np.asarray(center, dtype=float))
    try:
        amplitudes = np.broadcast_to(np.asarray(amplitude, dtype=float), (len(centers),)).copy()
        radii = np.broadcast_to(np.asarray(radius, dtype=float), (len(centers),)).copy()
    except ValueError:
        raise SpecificationError(
            f"there are {len(centers)} centres: give one depth or amplitude and one radius, or as many"
        ) from None
    if not (radii > 0).all():
        raise SpecificationError(f"radius: expected numbers above 0 µm, got {radii.tolist()}")
    return GaussianField(centers, amplitudes, radii, float(background))


def gradient_of(field: Field, points: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the gradient of a scalar field, (N, d): its own ``gradient``, or central differences.

    Parameters
    ----------
    field : callable
    points : (N, d) array
    size : (d,) array
        Extent of the domain; the step of the differences is 1e-4 of it.
    """
    analytic = getattr(getattr(field, "source", field), "gradient", None)
    if callable(analytic):
        return np.asarray(analytic(points))
    out = np.empty_like(points)
    for k, h in enumerate(1e-4 * size):
        step = np.zeros(points.shape[1])
        step[k] = h
        out[:, k] = (field(points + step) - field(points - step)) / (2 * h)
    return out


@dataclass(frozen=True)
class CheckedField:
    """A field that says which value cannot be, instead of spreading it."""

    name: str
    source: Any
    dimension: int | None

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return the values at (N, d) points; raise `SpecificationError` if they cannot be."""
        shape = (len(points),) if self.dimension is None else (len(points), self.dimension)
        values = np.asarray(self.source(points) if callable(self.source) else self.source, dtype=float)
        if not callable(self.source):
            return np.broadcast_to(values, shape)
        if values.shape != shape:
            raise SpecificationError(
                f"{self.name}: for {len(points)} points the function must return an array of shape {shape}, "
                f"it returned {values.shape}"
            )
        bad = ~np.isfinite(values) if self.name != "diffusivity" else ~(np.isfinite(values) & (values >= 0))
        if bad.any():
            at = int(np.argwhere(bad)[0][0])
            raise SpecificationError(f"{self.name}: the function gives {values[at]} at {points[at].tolist()}")
        return values


def scalar_field(name: str, field: Any) -> Field:
    """Return a checked scalar field from a number or a function of (N, d) points.

    Raises
    ------
    SpecificationError
        If `field` is neither, or is negative.
    """
    number = isinstance(field, int | float | np.number) and np.isfinite(field) and field >= 0
    if not callable(field) and not number:
        raise SpecificationError(
            f"{name}: expected a number that is not negative or a function, got {field!r}"
        )
    return field if isinstance(field, CheckedField) else CheckedField(name, field, None)


def vector_field(name: str, field: Any, d: int) -> Field | None:
    """Return a checked vector field from d components or a function, or None.

    Raises
    ------
    SpecificationError
        If `field` is neither.
    """
    if field is None:
        return None
    if not callable(field) and (np.shape(field) != (d,) or not np.isfinite(field).all()):
        raise SpecificationError(f"{name}: expected {d} finite components or a function, got {field!r}")
    return CheckedField(name, field, d)


def force_field(potential: Any, force: Any, size: np.ndarray, d: int) -> Field | None:
    """Return the force to use, in kT/µm: `force` if given, else minus the gradient of `potential`.

    Raises
    ------
    SpecificationError
        If `potential` is not a function, or `force` cannot be used.
    """
    if force is not None or potential is None:
        return vector_field("force", force, d)
    if not callable(potential):
        raise SpecificationError(f"potential: expected a function of (N, d) points, got {potential!r}")
    if callable(getattr(potential, "force", None)):
        return vector_field("force", potential.force, d)
    checked = scalar_field("potential", potential)
    return lambda points: -gradient_of(checked, points, size)
