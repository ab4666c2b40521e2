"""Tables of localizations and of translocations.

Localizations have the columns ``n``, ``x``, ``y`` [, ``z``], ``t`` (trajectory index,
µm, s), one row per location, sorted by (``n``, ``t``). Translocations stand on the row
of their origin and add ``dx``, ``dy`` [, ``dz``], ``dt``; the last location of a
trajectory has no row of its own. Both kinds may hold further columns.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, UnitsWarning, suggest

__all__ = [
    "SPACE",
    "check_steps",
    "check_trajectories",
    "delta_columns",
    "is_translocations",
    "space_columns",
    "trajectories",
    "translocations",
    "with_precision",
]

SPACE = ("x", "y", "z")

# µm; what is outside is most often nm or pixels that were taken for µm
PLAUSIBLE_STEPS = (1e-3, 5.0)
# rows that tell the median well enough for this
ENOUGH_STEPS = 100_000


def space_columns(df: pd.DataFrame) -> list[str]:
    """Return the space columns of a table, in the order x, y[, z].

    Raises
    ------
    DataError
        If ``x`` or ``y`` is missing.
    """
    found = [c for c in SPACE if c in df.columns]
    if found[:2] != ["x", "y"]:
        raise DataError(f"a table needs the columns 'x' and 'y'; it has {_listed(df)}")
    return found


def delta_columns(df: pd.DataFrame) -> list[str]:
    """Return the columns of a translocation table that hold differences: dx, dy[, dz], dt.

    Names are returned only if they are present in `df`.
    """
    return [f"d{c}" for c in (*space_columns(df), "t") if f"d{c}" in df.columns]


def is_translocations(df: pd.DataFrame) -> bool:
    """Tell whether a table holds translocations, i.e. has every delta column.

    Raises
    ------
    DataError
        If the table has some displacement columns and lacks other delta columns.
    """
    space = space_columns(df)
    found = set(delta_columns(df))
    if not found.intersection(f"d{c}" for c in space):
        return False
    missing = [f"d{c}" for c in (*space, "t") if f"d{c}" not in found]
    if missing:
        raise DataError(
            f"the table has the delta columns {sorted(found)} but not {missing}: "
            "give all of them (translocations) or none (localizations)"
        )
    return True


def undefined_deltas(df: pd.DataFrame) -> np.ndarray | None:
    """Return which rows of a table of translocations have a NaN delta, (N,) bool; None if none has."""
    found = [np.isnan(df[c].to_numpy()) for c in delta_columns(df)]
    return np.logical_or.reduce(found) if any(f.any() for f in found) else None


def followed(n: np.ndarray) -> np.ndarray:
    """Return which rows are followed by a row of the same trajectory.

    Parameters
    ----------
    n : (N,) array
        Trajectory indices, rows of a trajectory being contiguous.

    Returns
    -------
    (N,) bool array
    """
    same = np.zeros(len(n), dtype=bool)
    np.equal(n[1:], n[:-1], out=same[:-1])
    return same


def at_origins(df: pd.DataFrame, origin: np.ndarray, destination: np.ndarray) -> pd.DataFrame:
    """Return the translocations between given rows of a table of localizations.

    Parameters
    ----------
    df : DataFrame
        Localizations.
    origin, destination : (M,) int arrays
        Row numbers.

    Returns
    -------
    DataFrame
        M rows: ``n, x, y[, z], t``, their deltas, then any other columns of `df` at the origin.
    """
    columns = [*space_columns(df), "t"]
    data = {"n": df["n"].to_numpy()[origin]}
    deltas = {}
    for c in columns:
        values = df[c].to_numpy()
        data[c] = values[origin]
        deltas[f"d{c}"] = values[destination] - data[c]
    out = pd.DataFrame({**data, **deltas})
    for c in df.columns.difference(out.columns, sort=False):
        out[c] = df[c].array[origin]
    out.attrs = dict(df.attrs)
    return out


def translocations(df: pd.DataFrame) -> pd.DataFrame:
    """Turn trajectories into translocations.

    Two consecutive rows with the same ``n`` make one translocation, whatever the time
    between them: a gap gives a longer ``dt``.

    Parameters
    ----------
    df : DataFrame
        Localizations sorted by (``n``, ``t``), or translocations, which are returned
        without the rows of undefined (NaN) deltas if there are any.

    Returns
    -------
    DataFrame
        Columns ``n, x, y[, z], t, dx, dy[, dz], dt`` and further ones (their value at the
        origin), with a new row index. ``df.attrs`` are kept.

    Examples
    --------
    >>> df = pd.DataFrame({"n": [1, 1], "x": [0.0, 0.5], "y": [0.0, 1.0], "t": [0.0, 0.25]})
    >>> translocations(df)[["dx", "dy", "dt"]].to_numpy().tolist()
    [[0.5, 1.0, 0.25]]
    """
    if is_translocations(df):
        terminal = undefined_deltas(df)
        out = (df if terminal is None else df.loc[~terminal]).reset_index(drop=True)
        out.attrs = dict(df.attrs)
        return out
    origin = np.flatnonzero(followed(df["n"].to_numpy()))
    return at_origins(df, origin, origin + 1)


def trajectories(df: pd.DataFrame) -> pd.DataFrame:
    """Turn translocations back into trajectories.

    The destination of the last translocation of each trajectory becomes its last
    location, and the deltas are dropped, as are further columns, which are not known there.

    Parameters
    ----------
    df : DataFrame
        Translocations, or localizations, which are returned with a new row index only.

    Returns
    -------
    DataFrame
        Columns ``n, x, y[, z], t``.
    """
    if not is_translocations(df):
        out = df.reset_index(drop=True)
        out.attrs = dict(df.attrs)
        return out
    df = translocations(df)
    n = df["n"].to_numpy()
    copies = 2 - followed(n).astype(np.intp)
    take = np.repeat(np.arange(len(n)), copies)
    end = np.cumsum(copies)[copies == 2] - 1
    data = {"n": n[take]}
    for c in (*space_columns(df), "t"):
        data[c] = df[c].to_numpy()[take]
        data[c][end] += df[f"d{c}"].to_numpy()[take[end]]
    out = pd.DataFrame(data)
    out.attrs = dict(df.attrs)
    return out


def check_trajectories(df: pd.DataFrame, where: str) -> pd.DataFrame:
    """Validate a table made elsewhere and put it in order.

    Parameters
    ----------
    df : DataFrame
        Localizations or translocations, in any row order.
    where : str
        What to call the table in messages, e.g. a file name.

    Returns
    -------
    DataFrame
        A new table sorted by (``n``, ``t``), ``n`` as int64, coordinates as floats, the known
        columns first, with a new row index.

    Raises
    ------
    DataError
        If columns or rows are missing, a value is not a finite number, ``n`` is not whole,
        or a trajectory has two rows at the same time.
    """
    if not isinstance(df, pd.DataFrame):
        raise DataError(f"{where}: expected a pandas DataFrame, got {type(df).__name__}")
    missing = [c for c in ("n", "x", "y", "t") if c not in df.columns]
    if missing:
        raise DataError(
            f"{where}: no column {missing[0]!r} ({suggest(missing[0], df.columns)}); "
            "a table needs the columns n, x, y[, z], t (rename yours: df.rename(columns=...))"
        )
    if not df.columns.is_unique:
        raise DataError(f"{where}: column names are used twice: {list(df.columns[df.columns.duplicated()])}")
    if not len(df):
        raise DataError(f"{where}: the table has no rows")
    known = [*space_columns(df), "t", *(delta_columns(df) if is_translocations(df) else [])]
    data = {"n": whole(_numbers(df, "n", where), where), **{c: _numbers(df, c, where) for c in known}}
    out = pd.DataFrame(data)
    for c in df.columns.difference(out.columns, sort=False):
        out[c] = df[c].array
    out.attrs = dict(df.attrs)
    if "dt" in known and (out["dt"].to_numpy() <= 0).any():
        row = int(np.argmax(out["dt"].to_numpy() <= 0))
        raise DataError(f"{where}, row {row}: dt = {out['dt'][row]:g}; translocations need dt above 0")
    return unique_times(in_order(out), where)


def with_precision(df: pd.DataFrame, sigma: Any) -> pd.DataFrame:
    """Return the table with the median of uncertainties as its localization precision.

    Parameters
    ----------
    df : DataFrame
    sigma : array or None
        µm; what is undefined, or no number above 0, is not counted.
    """
    known = np.asarray([] if sigma is None else sigma, dtype=float)
    known = known[np.isfinite(known) & (known > 0)]
    if len(known):
        df.attrs["localization_precision"] = float(np.median(known))
    return df


def in_order(df: pd.DataFrame) -> pd.DataFrame:
    """Return the table sorted by (``n``, ``t``), stably, with a new row index."""
    n, t = df["n"].to_numpy(), df["t"].to_numpy()
    later = (n[1:] > n[:-1]) | ((n[1:] == n[:-1]) & (t[1:] >= t[:-1]))
    if later.all():
        counted = isinstance(df.index, pd.RangeIndex) and df.index.equals(pd.RangeIndex(len(df)))
        return df if counted else df.reset_index(drop=True)
    out = df.take(np.lexsort((t, n))).reset_index(drop=True)
    out.attrs = dict(df.attrs)
    return out


def unique_times(df: pd.DataFrame, where: str, *, keep_first: bool = False, hint: str = "") -> pd.DataFrame:
    """Check that a sorted table has at most one row for each (``n``, ``t``).

    Parameters
    ----------
    df : DataFrame
        Table sorted by (``n``, ``t``).
    where, hint : str
        Start and end of the message.
    keep_first : bool
        Keep the first of each group of rows instead of raising.

    Raises
    ------
    DataError
        If two rows have the same ``n`` and ``t``, unless `keep_first`.
    """
    n, t = df["n"].to_numpy(), df["t"].to_numpy()
    again = np.r_[False, (n[1:] == n[:-1]) & (t[1:] == t[:-1])]
    if not again.any():
        return df
    if keep_first:
        out = df.loc[~again].reset_index(drop=True)
        out.attrs = dict(df.attrs)
        return out
    row = int(np.argmax(again))
    raise DataError(
        f"{where}: trajectory n = {n[row]} has more than one location at t = {t[row]:.10g} "
        f"({again.sum()} such rows in all); a trajectory can be at one place at a time{hint}"
    )


def check_steps(df: pd.DataFrame, where: str, units: str) -> None:
    """Warn if molecules move so little or so much between frames that the unit is likely to be another one.

    Parameters
    ----------
    df : DataFrame
        Trajectories sorted by (``n``, ``t``), or translocations.
    where, units : str
        File and what its units were taken for, for the message.

    Warns
    -----
    UnitsWarning
        If the median step, in the first 100,000 rows, is not 0, and below 1 nm or above 5 µm.
    """
    space = space_columns(df)
    with np.errstate(over="ignore"):  # what is not finite is far above any plausible step
        if is_translocations(df):
            squared = sum(df[f"d{c}"].to_numpy() ** 2 for c in space)
        else:
            same = df["n"].to_numpy()[1:] == df["n"].to_numpy()[:-1]
            squared = sum(np.diff(df[c].to_numpy())[same] ** 2 for c in space)
    step = float(np.sqrt(np.median(squared))) if np.size(squared) else 0.0
    if step and not PLAUSIBLE_STEPS[0] <= step <= PLAUSIBLE_STEPS[1]:
        warnings.warn(
            f"{where}: the median step is {step:.3g} µm; {units}: is that right? "
            "pixel_size= says how many µm the file's unit is",
            UnitsWarning,
            stacklevel=2,
        )


def whole(values: np.ndarray, where: str) -> np.ndarray:
    """Return trajectory indices as int64.

    Raises
    ------
    DataError
        If one of them is not a whole number.
    """
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    broken = (values != np.floor(values)) | (np.abs(values) >= 2.0**63)
    if broken.any():
        row = int(np.argmax(broken))
        raise DataError(
            f"{where}, row {row}: n = {values[row]:.10g}; "
            "the trajectory index 'n' must be a whole number (are the columns in the expected order?)"
        )
    return values.astype(np.int64)


def _numbers(df: pd.DataFrame, column: str, where: str) -> np.ndarray:
    values = df[column]
    if values.dtype.kind in "iuf" and isinstance(values.dtype, np.dtype):
        numbers = values.to_numpy()
        if column != "n" and numbers.dtype.kind != "f":
            numbers = numbers.astype(float)
    else:
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        row = int(np.argmin(np.isfinite(numbers)))
        raise DataError(
            f"{where}, row {row}: column {column!r} holds {values.iloc[row]!r}; "
            "expected a finite number (drop or correct such rows first)"
        )
    return numbers


def _listed(df: pd.DataFrame) -> str:
    return ", ".join(map(repr, df.columns)) or "none"
