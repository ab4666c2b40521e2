"""Trajectories in the forms of other programs: trackpy, napari, text."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd

from ..component import positive
from ..errors import DataError, SpecificationError
from ..spt_data.tables import SPACE, followed, space_columns, trajectories

__all__ = ["frames_of", "to_napari", "to_trackpy", "to_trxyt", "trxyt_bytes"]


def frames_of(table: pd.DataFrame, dt: float | None = None, where: str = "trajectories") -> np.ndarray:
    """Return the frame number of each localization, (N,) of int64, the first time being frame 0.

    Parameters
    ----------
    table : DataFrame
        Trajectories.
    dt : float, optional
        Frame interval, s; default: that of the time steps.
    where : str
        What to call the table in messages.

    Raises
    ------
    DataError
        If times are not multiples of the interval, within a quarter of it, or two localizations of a
        trajectory would be in one frame.
    """
    t, n = table["t"].to_numpy(dtype=float), table["n"].to_numpy()
    if not len(t):
        return np.zeros(0, dtype=np.int64)
    interval = interval_of(table, where) if dt is None else positive("dt", dt)
    ratio = (t - t.min()) / interval
    frames = np.round(ratio)
    apart = bool((np.diff(frames)[followed(n)[:-1]] >= 1).all())
    if not apart or np.abs(ratio - frames).max() >= 0.25:
        raise DataError(
            f"{where}: times are not multiples of {interval:g} s, so that there are no frames; give the frame "
            "interval: dt=, or export to a format with times (trxyt, parquet)"
        )
    return frames.astype(np.int64)


def interval_of(table: pd.DataFrame, where: str = "trajectories") -> float:
    """Return the frame interval (s) that makes the time steps of trajectories whole numbers.

    Times that were rounded, such as 0.03, 0.07, 0.10, have steps of different lengths: it is their sum that
    counts.

    Raises
    ------
    DataError
        If no trajectory has two localizations.
    """
    steps = np.diff(table["t"].to_numpy(dtype=float))[followed(table["n"].to_numpy())[:-1]]
    if not len(steps) or not steps.min() > 0:
        raise DataError(f"{where}: no trajectory has two localizations; give the frame interval: dt=")
    counts = np.round(steps / steps.min())
    interval = float(np.median(steps / counts))
    return float(steps.sum() / np.maximum(np.round(steps / interval), 1).sum())


def to_trackpy(
    table: pd.DataFrame, *, pixel_size: float | None = None, dt: float | None = None
) -> pd.DataFrame:
    """Return trajectories as trackpy has them.

    Parameters
    ----------
    table : DataFrame
        Trajectories (or translocations); µm, s.
    pixel_size : float, optional
        µm per pixel: coordinates are divided by it. Without, they stay in µm, for which ``mpp=1`` is
        what trackpy's functions want.
    dt : float, optional
        Frame interval, s; default: that of the time steps.

    Returns
    -------
    DataFrame
        ``[z, ]y, x, frame, particle``, and further columns of the table, sorted by frame.
        ``attrs`` hold the unit, ``mpp`` (µm per unit of length) and ``fps``.

    Raises
    ------
    DataError
        If times are not those of frames.
    """
    table = trajectories(table)
    scale = 1.0 if pixel_size is None else positive("pixel_size", pixel_size)
    frames = frames_of(table, dt)
    out = pd.DataFrame({c: table[c].to_numpy() / scale for c in reversed(space_columns(table))})
    out["frame"], out["particle"] = frames, table["n"].to_numpy()
    for c in table.columns.difference([*SPACE, "t", "n"], sort=False):
        out[c] = table[c].array
    out = out.sort_values(["frame", "particle"], kind="stable", ignore_index=True)
    interval = interval_of(table) if dt is None else dt
    unit = "µm" if pixel_size is None else "px"
    out.attrs = {"unit": unit, "mpp": scale if pixel_size is not None else 1.0, "fps": 1 / interval}
    return out


def to_napari(
    table: pd.DataFrame, *, pixel_size: float | None = None, dt: float | None = None
) -> dict[str, Any]:
    """Return trajectories as the arguments of napari's ``Viewer.add_tracks``.

    Parameters
    ----------
    table, pixel_size, dt
        As for `to_trackpy`.

    Returns
    -------
    dict
        ``data``: ndarray (N, 4 or 5), columns ID, T (frame), (Z), Y, X, sorted by ID and T. ``features``:
        table of N rows with the time (s) and further columns. ``scale``: of one unit of T (s), (Z), Y, X
        (µm), so that the layer lies in seconds and µm. ``graph``: empty, for there are no merges.

    Examples
    --------
    >>> viewer.add_tracks(**to_napari(table, pixel_size=0.107))  # doctest: +SKIP
    """
    table = trajectories(table)
    table = table.sort_values(["n", "t"], kind="stable", ignore_index=True)
    scale = 1.0 if pixel_size is None else positive("pixel_size", pixel_size)
    space = space_columns(table)
    frames = frames_of(table, dt)
    columns = [table["n"].to_numpy(), frames, *(table[c].to_numpy() / scale for c in reversed(space))]
    features = {"t": table["t"].to_numpy()}
    features |= {str(c): table[c].array for c in table.columns.difference([*SPACE, "t", "n"], sort=False)}
    interval = interval_of(table) if dt is None else dt
    return {
        "data": np.column_stack(columns).astype(float),
        "features": pd.DataFrame(features),
        "graph": {},
        "scale": (interval, *[scale] * len(space)),
    }


def to_trxyt(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of a ``.trxyt`` file: ``n, x, y[, z], t``."""
    table = trajectories(table)
    return table[["n", *space_columns(table), "t"]]


def trxyt_bytes(table: pd.DataFrame) -> bytes:
    """Return trajectories as text without header, tab-separated, that reads back bit for bit."""
    sink = io.StringIO()
    # without format, floats are written with as many digits as they need
    to_trxyt(table).to_csv(sink, sep="\t", header=False, index=False, lineterminator="\n")
    text = sink.getvalue()
    if not text:
        raise SpecificationError("there are no trajectories to export")
    return text.encode()
