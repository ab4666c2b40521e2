"""Localizations read and linked into trajectories: the reader of files that hold no trajectories."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..component import positive
from ..errors import DataError, suggest
from .columns import length_factor, time_factor
from .formats import PHYSICAL, WHAT_TO_DO, look
from .hdf5 import is_hdf5
from .tables import SPACE, with_precision
from .textnumbers import EXACT, as_numbers, read_numbers
from .unlinked import Table, understand_localizations

if TYPE_CHECKING:
    from .linkers import Linker

__all__ = ["localizations", "read_localizations"]

# µm; squares of distances must be finite numbers
_FARTHEST = 1e100


def read_localizations(
    path: str | Path,
    *,
    linker: Linker | None = None,
    columns: Mapping[str, str | int] | None = None,
    sep: str | None = None,
    decimal: str = ".",
    pixel_size: float | None = None,
    dt: float | None = None,
    channel: float | None = None,
    extra: Sequence[str] = (),
) -> pd.DataFrame:
    """Read localizations and link them into trajectories.

    Parameters
    ----------
    path : str or Path
        File of ThunderSTORM, Elyra, Nanoimager, rapidSTORM, Picasso, SMAP, DECODE or storm-analysis, or
        another text table with a header and the columns frame (or time), x and y. Trajectories that it may
        have already are not looked at.
    linker : Linker
        One of `tramway_dask.spt_data.linkers`.
    columns : mapping, optional
        Which column is what, as ``{'frame': 'Slice', 'x': 'X', 'sigma': 'err'}``, for text of other programs.
    sep, decimal : str
        As for `tramway_dask.spt_data.ascii.read_ascii`.
    pixel_size : float, optional
        µm per pixel, for files that do not state lengths.
    dt : float
        Frame interval in s.
    channel : float, optional
        The channel to read, where a text file has several.
    extra : sequence of str
        Names of further columns of a text file to keep.

    Returns
    -------
    DataFrame
        Columns ``n, x, y[, z], t`` and the extra ones, in µm and s, sorted by (``n``, ``t``).
        ``attrs["localization_precision"]`` is the median of the uncertainties (µm) in the plane, if the file
        states them.

    Raises
    ------
    DataError
        If the file cannot be read or linked; the message says why, and what to do.
    """
    path = Path(path).expanduser()
    if linker is None:
        raise DataError(f"{path}: {WHAT_TO_DO}")
    try:
        head = look(path)
        if is_hdf5(head.data):
            table = _of_hdf5(path, pixel_size, dt)
        else:
            known = understand_localizations(head, {"columns": columns, "sep": sep, "decimal": decimal})
            table = _of_text(known, pixel_size, dt, channel, extra)
    except DataError as error:
        text = str(error)
        raise DataError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    return linker.link(table, table.attrs["frame_interval"], str(path))


def _of_hdf5(path: Path, pixel_size: float | None, dt: float | None) -> pd.DataFrame:
    from .hdf5tables import read_hdf5_localizations

    table = read_hdf5_localizations(path, pixel_size=pixel_size)
    known = {str(c): table[c] for c in ("frame", *SPACE) if c in table}
    return localizations(**known, sigma=table.get("precision"), dt=dt)


def _of_text(
    known: Table, pixel_size: float | None, dt: float | None, channel: float | None, extra: Sequence[str]
) -> pd.DataFrame:
    names, choice = known.names, known.choice
    for name in extra:
        if name not in names:
            raise DataError(f"there is no column {name!r}; {suggest(name, names)}")
        choice.position.setdefault(name, names.index(name))
    if known.program == "Elyra text":
        table = _before_notes(known)
    else:
        table = read_numbers(known.layout, choice)
    if "channel" in table:
        table = _one_channel(table, channel)
    if "sigma" in table:  # may be undefined in places
        table["sigma"] = as_numbers(table["sigma"])
    for role in (*SPACE, "sigma"):
        if role not in table:
            continue
        unit = choice.unit.get(role) or choice.unit.get("x")
        if unit is None and pixel_size is None:
            raise DataError(
                f"the file does not say the unit of {names[choice.position[role]]!r}; pixel_size= says how "
                "many µm it is (1 if µm, 0.001 if nm)"
            )
        table[role] = table[role] * length_factor(role, unit, None if unit in PHYSICAL else pixel_size)
    if "t" in table:
        table["t"] = table["t"] * time_factor(choice.unit.get("t"))
    made = localizations(dt=dt, **{str(c): table[c].to_numpy() for c in table.columns if c not in extra})
    for name in extra:
        made[name] = table[name].array
    return made


def localizations(
    *,
    x: Any,
    y: Any,
    z: Any = None,
    frame: Any = None,
    t: Any = None,
    sigma: Any = None,
    dt: float | None = None,
) -> pd.DataFrame:
    """Return a table of localizations as linkers take it.

    Parameters
    ----------
    x, y, z : (N,) arrays
        µm; a `z` that is the same everywhere is left out.
    frame : (N,) array, optional
        Whole numbers.
    t : (N,) array, optional
        Time in s, instead.
    sigma : (N,) array, optional
        Uncertainty of the position in the plane, in µm; undefined values are not counted.
    dt : float
        Frame interval in s.

    Raises
    ------
    DataError
        If `dt` is missing, a coordinate is not a finite number, or a frame is not a whole number.
    """
    if dt is None:
        raise DataError("localizations are linked from frame to frame: dt= is the frame interval in s")
    dt = positive("dt", dt)
    made = {"x": x, "y": y} if z is None else {"x": x, "y": y, "z": z}
    data = {name: np.asarray(values, dtype=float) for name, values in made.items()}
    if not len(data["x"]):
        raise DataError("there are no localizations")
    for name, values in data.items():
        if not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values)))
            raise DataError(
                f"localization {row + 1}: {name!r} is {values[row]}; leave such localizations out"
            )
        if np.abs(values).max() > _FARTHEST:
            raise DataError(f"{name!r} goes up to {np.abs(values).max():g} µm, which cannot be")
    if "z" in data and np.ptp(data["z"]) == 0:
        del data["z"]
    if frame is None:
        if t is None:
            raise DataError("there is no column for frame or time: nothing tells what follows what")
        times = np.asarray(t, dtype=float) / dt
        frames = np.rint(times)
        wrong = ~(np.abs(times - frames) <= 0.05)
        if wrong.any():
            raise DataError(
                f"localization {int(np.argmax(wrong)) + 1} is {times[np.argmax(wrong)]:.6g} frames of dt = {dt:g} s "
                "after 0, which is no whole number; give another dt="
            )
    else:
        frames = np.asarray(frame, dtype=float)
        wrong = ~(np.floor(frames) == frames)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(f"localization {row + 1}: the frame is {frames[row]}, not a whole number")
    if np.abs(frames).max() >= 2.0**53:
        raise DataError(f"frame numbers go up to {np.abs(frames).max():g}, which cannot be")
    table = pd.DataFrame({"frame": frames.astype(np.int64), **data})
    table["t"] = table["frame"].to_numpy() * dt if t is None else np.asarray(t, dtype=float)
    table.attrs["frame_interval"] = dt
    return with_precision(table, sigma)


def _before_notes(known: Table) -> pd.DataFrame:
    """Read a table below which there are notes."""
    layout, choice = known.layout, known.choice
    kept = []
    for _, line in layout.lines():
        if line.count(layout.sep) != layout.width - 1 or not line[:1].isdigit():
            break
        kept.append(line)
    if not kept:
        raise DataError("the file has no rows of data")
    try:
        read = pd.read_csv(
            io.StringIO("\n".join(kept)),
            sep=layout.sep,
            header=None,
            usecols=list(choice.position.values()),
            dtype={at: float for role, at in choice.position.items() if role in (*SPACE, "frame", "sigma")},
            **EXACT,
        )
    except ValueError as error:
        raise DataError(f"the file is not a regular table of numbers: {error}") from error
    return pd.DataFrame({role: read[at].array for role, at in choice.position.items()})


def _one_channel(table: pd.DataFrame, channel: float | None) -> pd.DataFrame:
    known = as_numbers(table["channel"])
    there = np.unique(known[np.isfinite(known)])
    if channel is None and len(there) > 1:
        raise DataError(
            f"the file has localizations of the channels {', '.join(f'{c:g}' for c in there)}: molecules of one are "
            f"not those of another; say which: channel={there[0]:g}"
        )
    if channel is not None:
        table = table[known == channel].reset_index(drop=True)
        if not len(table):
            raise DataError(f"there is no channel {channel:g}; {suggest(f'{channel:g}', map(str, there))}")
    return table.drop(columns="channel")
