"""Reader of the text files of Diatrack, which have a trajectory in each three columns."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd

from ..component import positive
from ..errors import DataError
from .formats import Head, Recognition
from .tables import check_trajectories
from .textnumbers import EXACT

__all__ = ["read_diatrack", "recognize_diatrack"]

_BEGIN = "format (columnwise):"


def recognize_diatrack(head: Head) -> Recognition | None:
    """Recognise the first line, which describes the columns."""
    if not head.data.lstrip(b"\xef\xbb\xbf").startswith(_BEGIN.encode()):
        return None
    needs = {
        "pixel_size": "its lengths are in pixels; pixel_size= says how many µm a pixel is",
        "dt": "it counts frames; dt= is the frame interval in s",
    }
    notes = ("a trajectory in each three columns: y, x, z, as its first line says",)
    return Recognition("diatrack", "Diatrack text", "px", "frames", needs=needs, notes=notes)


def read_diatrack(
    path: str | Path, *, pixel_size: float | None = None, dt: float | None = None
) -> pd.DataFrame:
    """Read the trajectories of a text file of Diatrack.

    The first line is a description, the second one tells the frame in which each trajectory begins;
    below, each three columns are y, x, z of a trajectory in consecutive frames, with zeros below its end.

    Parameters
    ----------
    path : str or Path
    pixel_size : float
        µm per pixel.
    dt : float
        Frame interval in s.

    Returns
    -------
    DataFrame
        Columns ``n`` (from 1, in the order of the file), ``x, y[, z], t``; µm and s. A ``z`` that is 0
        everywhere is left out.

    Raises
    ------
    DataError
        If the file cannot be read, is no such file, or `pixel_size` or `dt` is missing.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read: {error.strerror or error}") from error
    first, _, body = text.partition("\n")
    if not first.startswith(_BEGIN):
        raise DataError(f"{path}: no text of Diatrack: it does not start with {_BEGIN!r}")
    if pixel_size is None or dt is None:
        lacking = [a for a, v in (("pixel_size= (µm)", pixel_size), ("dt= (s)", dt)) if v is None]
        raise DataError(f"{path}: Diatrack writes pixels and frames; give {' and '.join(lacking)}")
    pixel_size, dt = positive("pixel_size", pixel_size), positive("dt", dt)
    begin, points = _arrays(path, body)
    # zeros may be a coordinate of a location, but not all three of them
    there = (points != 0).any(axis=2)
    step, track = np.nonzero(there)
    if not len(step):
        raise DataError(f"{path}: the file holds no locations")
    if (there[1:] & ~there[:-1]).any():
        broken = int(np.flatnonzero((there[1:] & ~there[:-1]).any(axis=0))[0])
        raise DataError(f"{path}: trajectory {broken + 1} goes on below zeros; the file is corrupt")
    table = pd.DataFrame(points[step, track][:, [1, 0, 2]] * pixel_size, columns=["x", "y", "z"])
    table["n"], table["t"] = track + 1, (begin[track] + step) * dt
    if not table["z"].any():
        table = table.drop(columns="z")
    return check_trajectories(table, str(path))


def _arrays(path: Path, body: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the first frame of each trajectory (k,), and the locations (rows, k, 3)."""
    try:
        table = pd.read_csv(
            io.StringIO(body.replace(",", "\t")), sep=r"\s+", header=None, engine="c", dtype=float, **EXACT
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: expected rows of numbers below the first line ({error})") from error
    values = table.dropna(axis="columns", how="all").to_numpy()
    if len(values) < 2 or not values.shape[1] or values.shape[1] % 3 or not np.isfinite(values).all():
        raise DataError(
            f"{path}: expected three columns for each trajectory, all of numbers, below a line of first frames; "
            f"found {values.shape[0]} rows of {values.shape[1]} columns"
        )
    begin = values[0, ::3]
    if (begin != np.floor(begin)).any() or values[0].reshape(-1, 3)[:, 1:].any():
        raise DataError(
            f"{path}: the second line must hold the first frame of each trajectory, and two zeros"
        )
    return begin, values[1:].reshape(len(values) - 1, -1, 3)
