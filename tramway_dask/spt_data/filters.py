"""Filters of trajectories and translocations: static ones, gaps, origin, crop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, RegionError, SpecificationError, suggest
from .tables import (
    SPACE,
    at_origins,
    followed,
    in_order,
    is_translocations,
    space_columns,
    translocations,
    undefined_deltas,
)

__all__ = ["crop", "discard_static_trajectories", "reindex_trajectories", "reset_origin"]


def discard_static_trajectories(
    df: pd.DataFrame, min_msd: float | None = None, full_trajectory: bool | float = False
) -> pd.DataFrame:
    """Remove translocations that are too short to be told from localization noise.

    A translocation is static if the mean *over dimensions* of its squared displacement,
    e.g. (dx² + dy²)/2, is below `min_msd`. Removing them biases the diffusivity upwards
    wherever sqrt(2 D dt) is comparable to the localization precision.

    Parameters
    ----------
    df : DataFrame
        Trajectories (rows of static destinations are removed, then trajectories of a single
        location) or translocations (rows of static translocations are removed).
    min_msd : float, optional
        Threshold in µm²; default: the square of ``df.attrs["localization_precision"]``.
    full_trajectory : bool or float
        True: remove the whole trajectories that have a static translocation. A number in
        (0, 1]: remove those where at least this fraction of the translocations is static.

    Returns
    -------
    DataFrame
        In the same row order, with a new row index; trajectory indices are kept.

    Raises
    ------
    SpecificationError
        If `min_msd` is missing or negative, or `full_trajectory` is out of range.
    """
    min_msd = _threshold(df, min_msd)
    n = df["n"].to_numpy()
    moving = is_translocations(df)
    if moving:
        squares = df[[f"d{c}" for c in space_columns(df)]].to_numpy() ** 2
        static = ~(squares.mean(axis=1) >= min_msd)
    else:
        squares = np.diff(df[space_columns(df)].to_numpy(), axis=0) ** 2
        static = np.zeros(len(n), dtype=bool)
        static[1:] = (n[1:] == n[:-1]) & ~(squares.mean(axis=1) >= min_msd)
    _, track, size = np.unique(n, return_inverse=True, return_counts=True)
    least = 1 if moving else 2
    if full_trajectory is False or full_trajectory is np.False_:
        keep = ~static
        keep &= (np.bincount(track[keep], minlength=len(size)) >= least)[track]
    else:
        number = np.bincount(track[static], minlength=len(size))
        steps = size if moving else size - 1
        if isinstance(full_trajectory, bool | np.bool_):
            dropped = number > 0
        else:
            if not 0 < full_trajectory <= 1:
                raise SpecificationError(
                    f"full_trajectory: expected True, False or a fraction in (0, 1], got {full_trajectory!r}"
                )
            dropped = number >= full_trajectory * steps
        keep = (~dropped & (size >= least))[track]
    return _like(df, df[keep].reset_index(drop=True))


def reindex_trajectories(df: pd.DataFrame, dt: float | None = None) -> pd.DataFrame:
    """Split trajectories where frames are missing, and number them from 1.

    Parameters
    ----------
    df : DataFrame
        Trajectories (split where a step lasts 1.5 frame intervals or more) or translocations
        (split after, and where rows are missing for, 1.1 intervals or more).
    dt : float, optional
        Frame interval in s; default: the smallest step of the first trajectory that has one.

    Returns
    -------
    DataFrame
        Same rows, sorted by (``n``, ``t``).

    Raises
    ------
    SpecificationError
        If `dt` is not above 0.
    DataError
        If `dt` must be found and two rows of a trajectory have the same time.
    """
    df = in_order(df)
    n, t = df["n"].to_numpy(), df["t"].to_numpy()
    moving = is_translocations(df)
    if dt is None:
        dt = _first_step(n, df["dt"].to_numpy() if moving else np.diff(t), moving)
    if dt is not None and not (np.isfinite(dt) and dt > 0):
        raise SpecificationError(f"dt: expected a frame interval above 0 s, got {dt!r}")
    first = np.ones(len(n), dtype=bool)
    first[1:] = n[1:] != n[:-1]
    if dt is not None and len(n):
        steps = np.diff(t)
        if moving:
            first[1:] |= (steps >= 1.1 * dt) | (df["dt"].to_numpy()[:-1] >= 1.1 * dt)
        else:
            first[1:] |= np.round(steps / dt) > 1
    out = df.copy()
    out["n"] = np.cumsum(first, dtype=np.int64)
    return _like(df, out)


def reset_origin(df: pd.DataFrame, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Subtract from coordinates and time their smallest value.

    Parameters
    ----------
    df : DataFrame
        Trajectories or translocations.
    columns : iterable of str, optional
        Which columns, of x, y, z, t; default: all that are present.

    Returns
    -------
    DataFrame
        A new table. A region's bounding box in ``df.attrs`` is forgotten, as it no longer fits.

    Raises
    ------
    DataError
        If a column is unknown.
    """
    known = [c for c in (*SPACE, "t") if c in df.columns]
    columns = known if columns is None else list(columns)
    for c in columns:
        if c not in known:
            raise DataError(f"reset_origin: no coordinate {c!r} in the table; {suggest(c, known)}")
    out = df.copy()
    out[columns] = df[columns] - df[columns].min()
    out = _like(df, out)
    if isinstance(out.attrs.get("roi"), dict):
        out.attrs["roi"] = {**out.attrs["roi"], "bounding_box": None}
    return out


def crop(
    df: pd.DataFrame,
    lower: Sequence[float] | np.ndarray,
    upper: Sequence[float] | np.ndarray,
    tmin: float | None = None,
    tmax: float | None = None,
) -> pd.DataFrame:
    """Return the translocations whose origin lies in a closed box.

    Locations outside ``tmin ≤ t ≤ tmax`` are removed first; two consecutive locations of
    what remains make a translocation, which is kept if its origin is in the box, wherever
    its destination is. Trajectories are split where locations are out of the box, and
    numbered consecutively from the first value.

    Parameters
    ----------
    df : DataFrame
        Trajectories, or translocations, sorted by (``n``, ``t``).
    lower, upper : (d,) array-like
        Bounds in µm, in the order x, y[, z]; infinite bounds are allowed.
    tmin, tmax : float, optional
        Bounds in s.

    Returns
    -------
    DataFrame
        Translocations, with a new row index and the ``attrs`` of `df`; it may have no rows.

    Raises
    ------
    RegionError
        If the bounds do not have the dimension of the data or are not in order.
    """
    space = space_columns(df)
    low, high = _bounds(space, lower, upper)
    if tmin is not None and tmax is not None and not tmin <= tmax:
        raise RegionError(f"the time bounds must be in order, got tmin = {tmin} and tmax = {tmax}")
    moving = is_translocations(df)
    # a source's table has many regions: it is copied only if it has rows to drop
    if moving and undefined_deltas(df) is not None:
        df = translocations(df)
    within = np.ones(len(df), dtype=bool)
    for c, a, b in zip(space, low, high, strict=True):
        values = df[c].to_numpy()
        within &= (values >= a) & (values <= b)
    rows = _rows_in_time(df, tmin, tmax, moving)
    if rows is None:
        inside, n = within, df["n"].to_numpy()
    else:
        inside, n = within[rows], df["n"].to_numpy()[rows]
    kept = np.flatnonzero(inside if moving else inside & followed(n))
    if moving:
        out = df.take(kept if rows is None else rows[kept]).reset_index(drop=True)
    else:
        origin, destination = (kept, kept + 1) if rows is None else (rows[kept], rows[kept + 1])
        out = at_origins(df, origin, destination)
    out["n"] = _split(n[kept], kept)
    return _like(df, out)


def inside(
    df: pd.DataFrame,
    lower: Sequence[float] | np.ndarray,
    upper: Sequence[float] | np.ndarray,
    tmin: float | None = None,
    tmax: float | None = None,
) -> np.ndarray:
    """Tell which translocations `crop` would keep.

    Parameters
    ----------
    df : DataFrame
        Translocations.
    lower, upper, tmin, tmax
        As in `crop`.

    Returns
    -------
    (N,) bool array
    """
    space = space_columns(df)
    low, high = _bounds(space, lower, upper)
    within = np.ones(len(df), dtype=bool)
    for c, a, b in zip(space, low, high, strict=True):
        values = df[c].to_numpy()
        within &= (values >= a) & (values <= b)
    rows = _rows_in_time(df, tmin, tmax, True)
    if rows is not None:
        in_time = np.zeros(len(df), dtype=bool)
        in_time[rows] = True
        within &= in_time
    return within


def select_origins(df: pd.DataFrame, kept: np.ndarray) -> pd.DataFrame:
    """Return some translocations; trajectories are split where rows are left out.

    Parameters
    ----------
    df : DataFrame
        Translocations, sorted by (``n``, ``t``).
    kept : (N,) bool array

    Returns
    -------
    DataFrame
        With a new row index, ``n`` numbered consecutively from its first value, and the ``attrs``
        of `df`.
    """
    rows = np.flatnonzero(kept)
    out = df.take(rows).reset_index(drop=True)
    out["n"] = _split(df["n"].to_numpy()[rows], rows)
    return _like(df, out)


def _rows_in_time(
    df: pd.DataFrame, tmin: float | None, tmax: float | None, moving: bool
) -> np.ndarray | None:
    if tmin is None and tmax is None:
        return None
    t = df["t"].to_numpy()
    ok = np.ones(len(t), dtype=bool)
    if tmin is not None:
        ok &= t >= tmin
    if tmax is not None:
        ok &= t <= tmax
        if moving:
            # t + dt is known to rounding only: a destination at tmax itself is in time
            end = t + df["dt"].to_numpy()
            ok &= end <= tmax + 4 * np.spacing(np.maximum(np.abs(t), abs(tmax)))
    return np.flatnonzero(ok)


def _split(n: np.ndarray, position: np.ndarray) -> np.ndarray:
    if not len(n):
        return np.empty(0, dtype=np.int64)
    new = (np.diff(n) != 0) | (np.diff(position) != 1)
    return int(n[0]) + np.r_[0, np.cumsum(new, dtype=np.int64)]


def _bounds(space: list[str], lower: Any, upper: Any) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.asarray(lower, dtype=float), np.asarray(upper, dtype=float)
    if low.shape != (len(space),) or high.shape != low.shape:
        raise RegionError(
            f"a box needs {len(space)} lower and upper bounds ({', '.join(space)}), "
            f"got {low.tolist()} and {high.tolist()}"
        )
    if not (low <= high).all():
        raise RegionError(
            f"each lower bound must be at most its upper bound, got {low.tolist()}, {high.tolist()}"
        )
    return low, high


def _threshold(df: pd.DataFrame, min_msd: float | None) -> float:
    if min_msd is None:
        precision = df.attrs.get("localization_precision")
        if precision is None:
            raise SpecificationError(
                "min_msd: the threshold is unknown; give min_msd= (µm²) or set the localization precision"
            )
        min_msd = float(precision) ** 2
    if not min_msd >= 0:
        raise SpecificationError(f"min_msd: expected a number of µm² that is not negative, got {min_msd!r}")
    return float(min_msd)


def _first_step(n: np.ndarray, steps: np.ndarray, moving: bool) -> float | None:
    if not moving:
        steps, n = steps[n[1:] == n[:-1]], n[1:][n[1:] == n[:-1]]
    if not len(n):
        return None
    dt = float(steps[n == n[0]].min())
    if dt <= 0:
        raise DataError(
            f"trajectory n = {n[0]} has two rows at the same time: the frame interval is unknown; give dt="
        )
    return dt


def _like(df: pd.DataFrame, out: pd.DataFrame) -> pd.DataFrame:
    out.attrs = dict(df.attrs)
    return out
