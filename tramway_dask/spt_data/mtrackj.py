"""Reader of MTrackJ's files of tracks (``.mdf``)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from ..component import positive
from ..errors import DataError
from .formats import Head, Recognition
from .tables import SPACE, check_trajectories

__all__ = ["read_mtrackj", "recognize_mtrackj"]

_POINT = re.compile(r"^Point\s+\S+\s+(.*)$", re.MULTILINE)


def recognize_mtrackj(head: Head) -> Recognition | None:
    """Recognise the first line of MTrackJ."""
    if not head.data.startswith(b"MTrackJ"):
        return None
    needs = {
        "pixel_size": "the file does not say whether its lengths are in pixels; pixel_size= says how many µm "
        "their unit is (1 if the image was calibrated in µm)",
        "dt": "points have frame numbers: dt= is the frame interval in s",
    }
    return Recognition("mtrackj", "MTrackJ tracks", "px", "frames", needs=needs)


def read_mtrackj(
    path: str | Path, *, pixel_size: float | None = None, dt: float | None = None
) -> pd.DataFrame:
    """Read the tracks that MTrackJ has saved.

    Track numbers start again in each cluster: here tracks are numbered from 1 in the order of the file.

    Parameters
    ----------
    path : str or Path
    pixel_size : float
        What coordinates are multiplied by, in µm.
    dt : float
        Frame interval in s; the first frame is at 0.

    Returns
    -------
    DataFrame
        Columns ``n, x, y[, z], t``; µm and s. A ``z`` that is the same everywhere is left out.

    Raises
    ------
    DataError
        If the file cannot be read, is no such file, or `pixel_size` or `dt` is missing.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read: {error.strerror or error}") from error
    if not text.startswith("MTrackJ"):
        raise DataError(f"{path}: no MTrackJ file: it does not start with 'MTrackJ'")
    if pixel_size is None or dt is None:
        lacking = [a for a, v in (("pixel_size= (µm)", pixel_size), ("dt= (s)", dt)) if v is None]
        raise DataError(f"{path}: an MTrackJ file does not say its units; give {' and '.join(lacking)}")
    pixel_size, dt = positive("pixel_size", pixel_size), positive("dt", dt)
    pieces = re.split(r"^Track\b.*$", text, flags=re.MULTILINE)[1:]
    points = [_POINT.findall(piece) for piece in pieces]
    counts = [len(found) for found in points]
    if not sum(counts):
        raise DataError(f"{path}: the file holds no points")
    try:
        values = np.array([line.split()[:4] for found in points for line in found], dtype=float)
    except ValueError:
        raise DataError(f"{path}: expected lines 'Point id x y z t channel', with numbers") from None
    if values.shape[1:] != (4,):
        raise DataError(f"{path}: expected lines 'Point id x y z t channel', of 6 numbers")
    table = pd.DataFrame(values[:, :3] * pixel_size, columns=list(SPACE))
    table["n"] = np.repeat(np.arange(1, len(counts) + 1), counts)
    table["t"] = (values[:, 3] - 1) * dt
    if np.ptp(values[:, 2]) == 0:
        table = table.drop(columns="z")
    return check_trajectories(table, str(path))
