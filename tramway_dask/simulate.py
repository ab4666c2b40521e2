"""Simulated trajectories: overdamped Langevin dynamics in given fields.

The position r of a molecule obeys, in the sense of Itô,

    dr = [D(r) F(r) + u(r)] dt + sqrt(2 D(r)) dW,    F = -grad V,

with the diffusivity D (µm²/s), the potential V (kT), the force F (kT/µm) and a drift u (µm/s).
In this convention the mean displacement from a point over a short time is (D F + u) dt and its
variance 2 D dt per dimension, both taken at the origin: this is what the inference models
measure, so the maps they give estimate D and F as they were put in. Where D varies, the
stationary density is exp(-V)/D. With ``convention="isothermal"`` the spurious drift grad D
is added: the stationary density is then Boltzmann's exp(-V), and the force that is inferred
is F + grad(ln D). Both agree where D is uniform.

Fields may change in time: `moving_sink`, `changing_diffusivity`, or any object whose method ``at(t)``
returns the field at time t.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from .errors import DataError, SpecificationError
from .fields import (
    Field,
    GaussianField,
    HarmonicPotential,
    LinearField,
    force_field,
    gaussian_patches,
    scalar_field,
    vector_field,
    well_potential,
)
from .landscapes import Landscape, changing_diffusivity, frozen, moving_sink
from .spt_data.tables import SPACE, is_translocations, space_columns

__all__ = [
    "GaussianField",
    "HarmonicPotential",
    "LinearField",
    "add_noise",
    "changing_diffusivity",
    "gaussian_patches",
    "moving_sink",
    "random_walk",
    "truth",
    "well_potential",
]

Seed = int | np.random.SeedSequence | np.random.Generator | None


def random_walk(
    *,
    diffusivity: float | Field = 0.1,
    potential: Field | None = None,
    force: Field | Sequence[float] | None = None,
    drift: Field | Sequence[float] | None = None,
    box: Any = None,
    dimension: int = 2,
    trajectory_count: int = 100,
    duration: float = 10.0,
    time_step: float = 0.05,
    substeps: int = 10,
    lifetime: float | None = None,
    lifetimes: Literal["exponential", "fixed"] = "exponential",
    min_locations: int = 2,
    start: Literal["uniform", "boltzmann", "stationary"] = "uniform",
    boundary: Literal["reflect", "free", "absorb"] = "reflect",
    localization_precision: float = 0.0,
    convention: Literal["ito", "isothermal"] = "ito",
    seed: Seed = 0,
) -> pd.DataFrame:
    """Simulate random walks (Euler-Maruyama with sub-steps; see the head of this module).

    Parameters
    ----------
    diffusivity : float or callable
        D in µm²/s; a callable takes (N, d) points and returns (N,) values, as the other scalar fields.
        Fields that change in time are constant from frame to frame, as they are in the middle of both.
    potential : callable, optional
        V in kT. Its force is ``potential.force`` if it has one, else by central differences.
    force : callable or (d,) sequence, optional
        F in kT/µm, used instead of the potential's; callables return (N, d).
    drift : callable or (d,) sequence, optional
        Additional velocity u in µm/s.
    box : pair of (d,) sequences, optional
        Lower and upper bounds in µm; default: the unit box of dimension `dimension`.
    dimension : int
        2 or 3; used only if `box` is not given.
    trajectory_count : int
        Number of trajectories.
    duration, time_step : float
        Of the recording and between frames, in s.
    substeps : int
        Number of integration steps per frame.
    lifetime : float, optional
        In s: mean (``lifetimes="exponential"``, a geometric number of locations) or exact
        (``"fixed"``); trajectories then begin at random frames and may be cut by the end of the
        recording. Default: all last for the whole recording.
    min_locations : int
        No trajectory is born with fewer locations (but one that is absorbed may have fewer).
    start : {'uniform', 'boltzmann', 'stationary'}
        Density of the first positions in the box: uniform, ∝ exp(-V), or the stationary density of
        the walk in its convention (without `drift`); with the fields of time 0.
    boundary : {'reflect', 'free', 'absorb'}
        What the box does to a trajectory: sends it back, nothing, or ends it.
    localization_precision : float
        Standard deviation σ of the noise added to every coordinate, in µm.
    convention : {'ito', 'isothermal'}
    seed : int, SeedSequence or Generator
        The same seed gives the same table; the noise has its own stream, so that the true paths do not
        depend on `localization_precision`.

    Returns
    -------
    DataFrame
        Columns ``n`` (from 1), ``x, y[, z]`` (µm), ``t`` (s, from 0), sorted by (``n``, ``t``);
        ``attrs["localization_precision"]`` holds σ.

    Raises
    ------
    SpecificationError
        If an argument is out of range, or a field returns values that cannot be.
    """
    low, high = _box(box, dimension)
    frames = _check(
        duration=duration,
        time_step=time_step,
        substeps=substeps,
        trajectory_count=trajectory_count,
        lifetime=lifetime,
        min_locations=min_locations,
        localization_precision=localization_precision,
    )
    for name, value, known in (
        ("lifetimes", lifetimes, ("exponential", "fixed")),
        ("start", start, ("uniform", "boltzmann", "stationary")),
        ("boundary", boundary, ("reflect", "free", "absorb")),
        ("convention", convention, ("ito", "isothermal")),
    ):
        if value not in known:
            raise SpecificationError(f"{name}: expected one of {known}, got {value!r}")
    given = (diffusivity, potential, force, drift)

    def landscape(t: float) -> Landscape:
        d, v, f, u = (frozen(field, t) for field in given)
        shown = scalar_field("diffusivity", d), v, force_field(v, f, high - low, len(low))
        return Landscape(*shown, vector_field("drift", u, len(low)), high - low, convention)

    fields = landscape(0.0)
    changes = any(callable(getattr(field, "at", None)) for field in given)
    births, path, noise = _streams(seed)
    first, length = _lives(births, trajectory_count, frames, time_step, lifetime, lifetimes, min_locations)
    position = _starts(births, trajectory_count, low, high, fields, start)
    index, frame, place = _walk(
        path,
        position,
        first,
        length,
        low,
        high,
        landscape if changes else lambda t: fields,
        time_step,
        substeps,
        boundary,
    )
    order = np.lexsort((frame, index))
    place = place[order]
    if localization_precision > 0:
        place = place + noise.normal(0.0, localization_precision, place.shape)
    out = pd.DataFrame({"n": index[order].astype(np.int64) + 1})
    for k in range(len(low)):
        out[SPACE[k]] = place[:, k]
    out["t"] = frame[order] * float(time_step)
    out.attrs["localization_precision"] = float(localization_precision)
    return out


def add_noise(table: pd.DataFrame, sigma: float, seed: Seed = 0) -> pd.DataFrame:
    """Return trajectories with localization noise added.

    Parameters
    ----------
    table : DataFrame
        Localizations (not translocations, whose ends share the noise of a location).
    sigma : float
        Standard deviation per coordinate, in µm.
    seed : int, SeedSequence or Generator

    Raises
    ------
    DataError
        If `table` holds translocations.
    SpecificationError
        If `sigma` is negative.
    """
    if is_translocations(table):
        raise DataError("noise is added to localizations, before they are turned into translocations")
    if not (np.isfinite(sigma) and sigma >= 0):
        raise SpecificationError(f"sigma: expected a number of µm that is not negative, got {sigma!r}")
    columns = space_columns(table)
    out = table.copy()
    out[columns] = table[columns] + _generator(seed).normal(0.0, sigma, (len(table), len(columns)))
    known = table.attrs.get("localization_precision") or 0.0
    out.attrs = {**table.attrs, "localization_precision": float(np.hypot(known, sigma))}
    return out


def truth(
    centers: Any,
    *,
    diffusivity: float | Field | None = None,
    potential: Field | None = None,
    force: Field | Sequence[float] | None = None,
    drift: Field | Sequence[float] | None = None,
    t: float | None = None,
) -> pd.DataFrame:
    """Evaluate the simulated fields at the centres of cells.

    Parameters
    ----------
    centers : (m, d) array or object with such an attribute ``centers``
        In µm.
    diffusivity, potential, force, drift
        As for `random_walk`.
    t : float, optional
        Time, in s, for fields that change in time.

    Returns
    -------
    DataFrame
        One row per cell (index ``cell``), columns ``diffusivity``, ``potential``, ``force x``...,
        ``drift x``... for what is given; the force comes from the potential if it is not given.
    """
    points = np.atleast_2d(np.asarray(getattr(centers, "centers", centers), dtype=float))
    size = np.ptp(points, axis=0).max() if len(points) else 0.0
    if t is None and any(callable(getattr(f, "at", None)) for f in (diffusivity, potential, force, drift)):
        raise SpecificationError("t: expected the time (s) of the truth, since these fields change")
    if t is not None:
        diffusivity, potential, force, drift = (frozen(f, t) for f in (diffusivity, potential, force, drift))
    d = points.shape[1]
    data: dict[str, np.ndarray] = {}
    if diffusivity is not None:
        data["diffusivity"] = scalar_field("diffusivity", diffusivity)(points)
    if potential is not None:
        data["potential"] = scalar_field("potential", potential)(points)
    for name, field in (
        ("force", force_field(potential, force, np.full(d, size or 1.0), d)),
        ("drift", vector_field("drift", drift, d)),
    ):
        if field is not None:
            values = field(points)
            data.update({f"{name} {SPACE[k]}": values[:, k] for k in range(d)})
    return pd.DataFrame(data, index=pd.RangeIndex(len(points), name="cell"))


def _walk(
    rng: np.random.Generator,
    position: np.ndarray,
    first: np.ndarray,
    length: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    landscape: Callable[[float], Landscape],
    time_step: float,
    substeps: int,
    boundary: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    last = first + length - 1
    step = time_step / substeps
    indices, places, counts = [], [], []
    for frame in range(int(last.max()) + 1):
        active = np.flatnonzero((first <= frame) & (frame <= last))
        indices.append(active)
        places.append(position[active])
        counts.append(len(active))
        moving = active[last[active] > frame]
        r = position[moving]
        alive = np.ones(len(r), dtype=bool)
        fields = landscape((frame + 0.5) * time_step)
        for _ in range(substeps if len(r) else 0):
            diffusivity = fields.diffusivity(r)
            noise = rng.standard_normal(r.shape) * np.sqrt(2 * step * diffusivity)[:, None]
            r = r + fields.velocity(r, diffusivity) * step + noise
            if boundary == "reflect":
                r = _reflect(r, low, high)
            elif boundary == "absorb":
                alive &= ((r >= low) & (r <= high)).all(axis=1)
                # the dead stay put in the box, where fields are defined
                r = np.where(alive[:, None], r, position[moving])
        position[moving] = r
        last[moving[~alive]] = frame
    return np.concatenate(indices), np.repeat(np.arange(len(counts)), counts), np.concatenate(places)


def _reflect(r: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    size = high - low
    away = np.mod(r - low, 2 * size)
    return low + np.minimum(away, 2 * size - away)


def _lives(
    rng: np.random.Generator,
    count: int,
    frames: int,
    time_step: float,
    lifetime: float | None,
    lifetimes: str,
    least: int,
) -> tuple[np.ndarray, np.ndarray]:
    if frames < least:
        raise SpecificationError(
            f"duration: {frames} frames are fewer than the {least} locations that a trajectory must have"
        )
    if lifetime is None:
        return np.zeros(count, dtype=np.intp), np.full(count, frames)
    first = rng.integers(0, frames - least + 1, count)
    if lifetimes == "fixed":
        length = np.full(count, max(least, 1 + round(lifetime / time_step)))
    else:
        length = least - 1 + rng.geometric(-np.expm1(-time_step / lifetime), count)
    return first, np.minimum(length, frames - first)


def _starts(
    rng: np.random.Generator, count: int, low: np.ndarray, high: np.ndarray, fields: Landscape, start: str
) -> np.ndarray:
    if start == "uniform":
        return rng.uniform(low, high, (count, len(low)))
    if start == "boltzmann" and fields.potential is None:
        raise SpecificationError("start='boltzmann' needs a potential")
    # a fine grid bounds the density; the margin covers what lies between its nodes
    axes = [np.linspace(a, b, 201 if len(low) == 2 else 41) for a, b in zip(low, high, strict=True)]
    nodes = np.column_stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")])
    top = fields.log_density(nodes, start).max() + 0.05
    accepted: list[np.ndarray] = []
    missing = count
    for _ in range(10_000):
        points = rng.uniform(low, high, (max(4096, 4 * missing), len(low)))
        value = fields.log_density(points, start)
        if value.max() > top:
            top, accepted, missing = value.max() + 0.05, [], count
        taken = points[np.log(rng.uniform(size=len(points))) < value - top][:missing]
        accepted.append(taken)
        missing -= len(taken)
        if not missing:
            return np.concatenate(accepted)
    raise SpecificationError(
        f"start={start!r}: the density is too peaked to draw positions from; use a shallower potential"
    )


def _box(box: Any, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    if box is None:
        if dimension not in (2, 3):
            raise SpecificationError(f"dimension: expected 2 or 3, got {dimension!r}")
        return np.zeros(dimension), np.ones(dimension)
    bounds = np.asarray(box, dtype=float)
    fits = bounds.shape in ((2, 2), (2, 3)) and np.isfinite(bounds).all()
    if not (fits and (bounds[0] < bounds[1]).all()):
        raise SpecificationError(
            f"box: expected ((x min, y min[, z min]), (x max, y max[, z max])), got {box!r}"
        )
    return bounds[0], bounds[1]


def _check(**values: Any) -> int:
    for name, value in values.items():
        least = 0 if name == "localization_precision" else np.nextafter(0, 1)
        if name == "lifetime" and value is None:
            continue
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not (number and np.isfinite(value) and value >= least):
            what = "that is not negative" if least == 0 else "above 0"
            raise SpecificationError(f"{name}: expected a number {what}, got {value!r}")
        if name in ("substeps", "trajectory_count", "min_locations") and value != int(value):
            raise SpecificationError(f"{name}: expected a whole number, got {value!r}")
    return int(np.floor(values["duration"] / values["time_step"] + 1e-9)) + 1


def _generator(seed: Seed) -> np.random.Generator:
    if isinstance(seed, np.random.SeedSequence):
        # spawning changes a SeedSequence: a copy keeps repeated calls alike
        seed = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key, pool_size=seed.pool_size)
    return np.random.default_rng(seed)


def _streams(seed: Seed) -> list[np.random.Generator]:
    return _generator(seed).spawn(3)
