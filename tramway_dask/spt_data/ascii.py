"""Reader of trajectories in text files, with or without a header."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, SpecificationError
from .columns import Choice, choose_columns, length_factor, split_columns, time_factor
from .formats import PHYSICAL
from .tables import SPACE, in_order, unique_times
from .textlayout import Layout, find_layout
from .textnumbers import read_numbers

__all__ = ["read_ascii", "trajectory_column"]

ASK = (
    "say what the columns are: columns=['n', 'x', 'y', 't'] in file order with '-' for those to ignore, "
    "or columns={'n': 'name in the header', ...}"
)


def read_ascii(
    path: str | Path,
    *,
    columns: str | Sequence[str | None] | Mapping[str, str | int] | None = None,
    header: bool | None = None,
    sep: str | None = None,
    decimal: str = ".",
    pixel_size: float | None = None,
    dt: float | None = None,
    extra: Sequence[str] = (),
    duplicates: str = "raise",
    untracked: str = "raise",
) -> pd.DataFrame:
    """Read trajectories from a text file.

    Files without a header hold ``n x y t`` unless `columns` says otherwise. Columns of files
    with a header are found by their usual names (TrackMate, MOSAIC, trackpy, saSPT, Spot-On,
    swift...), in any case. Units stated in the file (``x [nm]``, ``x_um``) are converted; else
    lengths are µm, unless `pixel_size` is given, and times are s.

    Parameters
    ----------
    path : str or Path
        File to read.
    columns : list, str or mapping, optional
        Names in file order (``['n', 'x', 'y', 't']``, ``'nxyt'``; ``'-'``, None or an unknown name
        for a column to ignore; ``frame`` for frame numbers), or for files with a header, a mapping
        such as ``{'n': 'Trajectory', 't': 'Frame'}``; what the mapping leaves out is found by name,
        and its other keys name further columns to keep.
    header : bool, optional
        True: the first line is a header. False: it is skipped if it is one, not used for
        names. Default: it is one if it has letters other than those of numbers.
    sep : str, optional
        Separator; default: found in the first lines. A space stands for any run of blanks.
    decimal : str
        Decimal mark.
    pixel_size : float, optional
        What space columns are multiplied by, in µm per pixel.
    dt : float, optional
        Frame interval in s, for files that count frames. If there is no column for time at all, the
        rows of a trajectory are taken as consecutive frames from 0. A column in s has priority.
    extra : sequence of str
        Names of further columns to keep.
    duplicates : {'raise', 'first'}
        What to do if a trajectory has several rows for a time: refuse, or keep the first in the file.
    untracked : {'raise', 'drop'}
        What to do with rows whose trajectory index is empty or ``None``.

    Returns
    -------
    DataFrame
        Columns ``n`` (int64), ``x, y[, z]`` (µm), ``t`` (s) and the extra ones, sorted by
        (``n``, ``t``). A ``z`` that was not asked for and is the same everywhere is left out.

    Raises
    ------
    DataError
        If the file cannot be read, or what it holds is not clear; the message says where and why.
    SpecificationError
        If an argument is wrong.
    """
    check_values(pixel_size, dt, duplicates, untracked)
    layout = find_layout(Path(path).expanduser(), header=header, sep=sep, decimal=decimal)
    try:
        choice, certain = choose_in_file(layout, columns, tuple(extra))
    except DataError as error:
        raise DataError(f"{layout.path}: {error}") from None

    def check(table: pd.DataFrame) -> None:
        if choice.weak_id and len(table) > 1 and table["n"].is_unique:
            raise DataError(f"the column 'id' is different in every row: it is no trajectory index; {ASK}")
        if not certain:
            _check_five(layout, table)
        elif layout.names is None and columns is None:
            _check_order(layout, table)

    return read_table(
        layout,
        choice,
        check=check,
        pixel_size=pixel_size,
        dt=dt,
        duplicates=duplicates,
        untracked=untracked,
        keep_z=asked(columns, "z"),
    )


def read_table(
    layout: Layout,
    choice: Choice,
    *,
    check: Callable[[pd.DataFrame], None],
    pixel_size: float | None,
    dt: float | None,
    duplicates: str,
    untracked: str,
    keep_z: bool,
) -> pd.DataFrame:
    """Read the chosen columns of a text file and put them in units and order.

    Parameters
    ----------
    layout : Layout
    choice : Choice
        Without ``n``, the file is one trajectory.
    check : callable
        Gets the table as it stands in the file, and may raise `DataError`.
    pixel_size, dt, duplicates, untracked
        As for `read_ascii`.
    keep_z : bool
        Keep a ``z`` that is the same everywhere.
    """
    try:
        table = read_numbers(layout, choice)
        if "n" not in table:
            table["n"] = 1.0
        check(table)
        table = _physical(layout, table, choice, pixel_size, dt)
        table = _tracked(layout, table, untracked)
    except DataError as error:
        raise DataError(f"{layout.path}: {error}") from None
    if "z" in table and not keep_z:
        z = table["z"].to_numpy()
        # a single location says nothing about its dimension, unless z was never measured
        if np.ptp(z) == 0 and (len(z) > 1 or z[0] == 0):
            table = table.drop(columns="z")
    order = ["n", *(c for c in (*SPACE, "t") if c in table)]
    order += [c for c in table.columns if c not in order]
    if order != list(table.columns):
        table = table[order]
    return unique_times(
        in_order(table),
        str(layout.path),
        keep_first=duplicates == "first",
        hint="; duplicates='first' keeps the first row of each in the file",
    )


def trajectory_column(
    path: str | Path,
    *,
    columns: str | Sequence[str | None] | Mapping[str, str | int] | None = None,
    header: bool | None = None,
    sep: str | None = None,
    decimal: str = ".",
    extra: Sequence[str] = (),
    **_: Any,
) -> tuple[Layout, int]:
    """Return how a file is laid out, and which column names trajectories; arguments as for `read_ascii`."""
    layout = find_layout(Path(path).expanduser(), header=header, sep=sep, decimal=decimal)
    try:
        return layout, choose_in_file(layout, columns, tuple(extra))[0].position["n"]
    except DataError as error:
        raise DataError(f"{layout.path}: {error}") from None


def check_values(pixel_size: float | None, dt: float | None, duplicates: str, untracked: str) -> None:
    """Complain of values that the arguments of a text reader cannot have."""
    for name, value in (("pixel_size", pixel_size), ("dt", dt)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise SpecificationError(f"{name}: expected a number above 0, got {value!r}")
    if duplicates not in ("raise", "first"):
        raise SpecificationError(f"duplicates: expected 'raise' or 'first', got {duplicates!r}")
    if untracked not in ("raise", "drop"):
        raise SpecificationError(f"untracked: expected 'raise' or 'drop', got {untracked!r}")


def asked(columns: Any, name: str) -> bool:
    """Tell whether the user's choice of columns names one."""
    if columns is None:
        return False
    return name in (columns if isinstance(columns, Mapping) else split_columns(columns))


def choose_in_file(layout: Layout, columns: Any, extra: tuple[str, ...]) -> tuple[Choice, bool]:
    """Return the columns, and whether a table without a header can be relied upon to have them."""
    mapping = columns if isinstance(columns, Mapping) else None
    names = layout.names
    certain = True
    if columns is not None and mapping is None:
        names = split_columns(columns)
        if len(names) != layout.width:
            raise DataError(
                f"columns= names {len(names)} columns and the file has {layout.width}; name each of them, "
                f"'-' for those to ignore. First rows:\n{layout.preview()}"
            )
    elif names is None and mapping is not None:
        names = [f"column {i}" for i in range(layout.width)]
    elif names is None:
        if layout.width not in (4, 5):
            raise DataError(
                f"{layout.width} columns without a header cannot be told apart; {ASK}. "
                f"First rows:\n{layout.preview()}"
            )
        certain = layout.width == 4
        names = list("nxyt" if certain else "nxyzt")
    units = layout.units if columns is None or mapping is not None else None
    choice = choose_columns(names, units, mapping, extra)
    missing = [role for role in ("n", "x", "y") if role not in choice.position]
    if missing:
        found = ", ".join(repr(n) for n in names)
        hint = " (locations that are not linked in trajectories cannot be analysed)" if "n" in missing else ""
        raise DataError(f"no column found for {', '.join(map(repr, missing))} among {found}{hint}; {ASK}")
    return choice, certain


def _tracked(layout: Layout, table: pd.DataFrame, untracked: str) -> pd.DataFrame:
    n = table["n"].to_numpy()
    known = np.isfinite(n)
    if not known.all():
        if untracked == "raise":
            line = layout.line_of(int(np.argmin(known)))
            raise DataError(
                f"line {line}: no trajectory index (so in {np.sum(~known)} rows of {len(n)}); "
                "untracked='drop' leaves out the locations that are in no trajectory"
            )
        table = table[known].reset_index(drop=True)
        n = n[known]
        if not len(n):
            raise DataError("no location is in a trajectory")
    broken = n != np.floor(n)
    if broken.any():
        row = int(np.argmax(broken))
        raise DataError(
            f"line {layout.line_of(int(np.flatnonzero(known)[row]))}: the trajectory index is {n[row]:.10g}, "
            f"which is not a whole number; {ASK}. First rows:\n{layout.preview()}"
        )
    table["n"] = n.astype(np.int64)
    return table


def _physical(
    layout: Layout, table: pd.DataFrame, choice: Choice, pixel_size: float | None, dt: float | None
) -> pd.DataFrame:
    # some programs write x and y in pixels, and z in µm
    mixed = choice.unit.get("x") == "px"
    for c in SPACE:
        if c in table:
            unit = choice.unit.get(c)
            factor = length_factor(c, unit, None if mixed and unit in PHYSICAL else pixel_size)
            if factor != 1:
                table[c] = table[c] * factor
    if "t" in table:
        factor = time_factor(choice.unit.get("t"))
        if factor != 1:
            table["t"] = table["t"] * factor
        return table
    if dt is None:
        what = "counts frames and has no time in s" if "frame" in table else "has no column for time"
        raise DataError(f"the file {what}; give the frame interval in s: dt= (or say which column is t)")
    if "frame" not in table:
        table["t"] = table.groupby("n", sort=False).cumcount().to_numpy() * dt
        return table
    frame = table["frame"].to_numpy()
    if (frame != np.floor(frame)).any():
        row = int(np.argmax(frame != np.floor(frame)))
        raise DataError(
            f"line {layout.line_of(row)}: the frame is {frame[row]:.10g}, not a whole number; "
            "if the column is a time in s, say so: columns={'t': <its name>}"
        )
    table["t"] = frame * dt
    return table.drop(columns="frame")


def _increases(values: np.ndarray, same: np.ndarray) -> bool:
    return bool((np.diff(values)[same] > 0).all())


def _check_five(layout: Layout, table: pd.DataFrame) -> None:
    n = table["n"].to_numpy()
    same = n[1:] == n[:-1]
    inner = [table[c].to_numpy() for c in "xyz"]
    plain = (
        (n == np.floor(n)).all()
        and same.any()
        and len(np.unique(n)) == 1 + np.sum(~same)
        and _increases(table["t"].to_numpy(), same)
        and not any((v == np.floor(v)).all() or _increases(v, same) for v in inner)
    )
    if not plain:
        raise DataError(
            f"five columns without a header may be n, x, y, z, t or n, x, y, t and another one, in whatever "
            f"order; {ASK}. First rows:\n{layout.preview()}"
        )


def _check_order(layout: Layout, table: pd.DataFrame) -> None:
    n = table["n"].to_numpy()
    same = n[1:] == n[:-1]
    if same.sum() < 10 or _increases(table["t"].to_numpy(), same):
        return
    if any(_increases(table[c].to_numpy(), same) for c in "xy"):
        raise DataError(
            "read as n, x, y, t, time goes back while another column always increases; "
            f"{ASK}. First rows:\n{layout.preview()}"
        )
