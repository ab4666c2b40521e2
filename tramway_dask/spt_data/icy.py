"""Reader of the workbooks (``.xls``) in which Icy's track processors save tracks; needs xlrd."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..component import positive
from ..errors import DataError, MissingDependencyError
from .formats import Head, Recognition
from .tables import check_trajectories

__all__ = ["read_icy", "recognize_workbook"]

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = b"PK\x03\x04"
_TRACK = "track #"
_AS_TEXT = "save the sheet that holds the trajectories as csv, and read that"
_BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    struct.error,
    TypeError,
    ValueError,
)


def recognize_workbook(head: Head) -> Recognition | None:
    """Recognise workbooks: those of Icy by their first sheet, others to say what to do."""
    if head.data.startswith(_ZIP) and b"[Content_Types].xml" in head.data:
        return Recognition("icy", "workbook", needs={"": _AS_TEXT})
    if not head.data.startswith(_OLE):
        return None
    needs = {
        "pixel_size": "its lengths are in pixels; pixel_size= says how many µm a pixel is (1 if the image was "
        "calibrated in µm)",
        "dt": "it counts frames; dt= is the frame interval in s",
    }
    notes = ("locations that Icy marks as virtual are left out",)
    return Recognition("icy", "Icy tracks (.xls)", "px", "frames", needs=needs, notes=notes)


def read_icy(path: str | Path, *, pixel_size: float | None = None, dt: float | None = None) -> pd.DataFrame:
    """Read the tracks that Icy has saved as a workbook.

    Parameters
    ----------
    path : str or Path
    pixel_size : float
        What coordinates are multiplied by, in µm.
    dt : float
        Frame interval in s.

    Returns
    -------
    DataFrame
        Columns ``n`` (from 1, in the order of the file), ``x, y[, z], t``; µm and s. A ``z`` that is the
        same everywhere is left out, and so are locations that are marked as virtual.

    Raises
    ------
    DataError
        If the file cannot be read, is no such workbook, or `pixel_size` or `dt` is missing.
    MissingDependencyError
        If xlrd is not installed.
    """
    path = Path(path).expanduser()
    if pixel_size is None or dt is None:
        lacking = [a for a, v in (("pixel_size= (µm)", pixel_size), ("dt= (s)", dt)) if v is None]
        raise DataError(f"{path}: Icy writes pixels and frames; give {' and '.join(lacking)}")
    pixel_size, dt = positive("pixel_size", pixel_size), positive("dt", dt)
    values, track = _points(path, _rows(path))
    table = pd.DataFrame(values[:, 1:4] * pixel_size, columns=["x", "y", "z"])
    table["n"], table["t"] = track, values[:, 0] * dt
    if np.ptp(values[:, 3]) == 0:
        table = table.drop(columns="z")
    return check_trajectories(table, str(path))


def _rows(path: Path) -> list[list[Any]]:
    """Return the values of the first sheet."""
    try:
        import xlrd
    except ImportError as error:
        raise MissingDependencyError(
            f'{path} is a workbook, and xlrd is needed to read it: pip install "tramway_dask[icy]" (or xlrd)'
        ) from error
    broken = (*_BROKEN, xlrd.XLRDError, xlrd.compdoc.CompDocError)
    try:
        data = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = xlrd.open_workbook(
                file_contents=data, logfile=io.StringIO(), on_demand=True, ragged_rows=True
            )
            sheet = book.sheet_by_index(0)
        return [sheet.row_values(i) for i in range(sheet.nrows)]
    except broken as error:
        raise DataError(
            f"{path}: the workbook cannot be read; it is truncated or corrupt ({error})"
        ) from error


def _points(path: Path, rows: list[list[Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Return t, x, y, z of the locations (m, 4), and their tracks (m,)."""
    where: dict[str, int] = {}
    values: list[list[float]] = []
    track: list[int] = []
    tracks = 0
    for i, row in enumerate(rows, 1):
        texts = [str(cell).strip().lower() for cell in row]
        if texts[:1] == [_TRACK]:
            tracks, where = tracks + 1, {}
        elif {"t", "x", "y", "z"} <= set(texts):
            where = {name: texts.index(name) for name in ("t", "x", "y", "z", "virtual") if name in texts}
        elif where and tracks and any(texts):
            try:
                found = {name: float(row[at]) for name, at in where.items()}
            except (ValueError, IndexError):
                raise DataError(
                    f"{path}: row {i} of the sheet: expected {', '.join(where)}, got {row}"
                ) from None
            if not found.get("virtual"):
                values.append([found[name] for name in ("t", "x", "y", "z")])
                track.append(tracks)
    if not values:
        raise DataError(
            f"{path}: no sheet of Icy's tracks, which has rows '{_TRACK}' and t, x, y, z; {_AS_TEXT}"
        )
    return np.array(values), np.array(track)
