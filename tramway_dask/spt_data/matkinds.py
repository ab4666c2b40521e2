"""What a MATLAB file is, by its variables, and what the columns of its arrays are, by their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from .formats import Head, Recognition
from .hdf5 import is_hdf5
from .headerless import holds, orders, question
from .matfile import CELLS, Struct, load_variable, stored_variables

__all__ = ["ARRAYS", "SPOT_ON", "U_TRACK", "find_order", "recognize_mat", "stacked"]

SPOT_ON = "trackedPar"
U_TRACK = "tracksFinal"
SMAP = "saveloc"
# arrays of locations: TRamWAy's, and those after Crocker and Grier
ARRAYS = ("plist", "tr")

_SAMPLE = 20000


def recognize_mat(head: Head, options: Mapping[str, Any] | None = None) -> Recognition | None:
    """Recognise MATLAB files of any version, by their header; of version 4 by their name."""
    given = options or {}
    named = head.suffix == ".mat"
    if not (head.data.startswith(b"MATLAB") or (named and (is_hdf5(head.data) or 0 in head.data[:4]))):
        return None
    if not head.complete and not head.path.is_file():
        return Recognition("mat", "MATLAB file", notes=("what it holds is found when it is read",))
    content = head.data if head.complete else head.path
    try:
        found = stored_variables(content)
        if given.get("variable") in found and given.get("variable") not in (SPOT_ON, U_TRACK, SMAP):
            return _recognized_variable(content, given["variable"], given)
        if SPOT_ON in found:
            return Recognition("mat", "Spot-On (DiaTrack) trackedPar", "µm", "s", stated=True, timed=True)
        if U_TRACK in found:
            needs = {
                "pixel_size": "its lengths are in pixels; pixel_size= says how many µm a pixel is",
                "dt": "it counts frames; dt= is the frame interval in s",
            }
            notes = ("each branch of a track that merges or splits is a trajectory",)
            return Recognition(
                "mat",
                "u-track tracksFinal",
                "px",
                "frames",
                columns={"sigma": "tracksCoordAmpCG"},
                needs=needs,
                notes=notes,
            )
        if SMAP in found:
            note = (
                "its localizations are not linked in trajectories: link them when reading "
                "(spt_data.from_localizations), or in SMAP"
            )
            return Recognition(
                "hdf5", "SMAP localizations", "nm", "frames", stated=True, linked=False, notes=(note,)
            )
        name = next((name for name in ARRAYS if name in found), None)
        if name is None:
            listed = ", ".join(f"{name!r} ({what})" for name, what in found.items()) or "no variables"
            needs = {"variable": f"it has {listed}; say which one holds the trajectories: variable="}
            return Recognition("mat", "MATLAB file", needs=needs)
        return _recognized_variable(content, name, given)
    except DataError as error:
        raise DataError(f"{head.path}: {error}") from error.__cause__


def _recognized_variable(content: Path | bytes, name: str, given: Mapping[str, Any]) -> Recognition:
    title = f"MATLAB array {name!r}"
    if given.get("columns") is not None:
        scaled = any(given.get(option) is not None for option in ("pixel_size", "coord_scale"))
        time = "s" if given.get("dt") is None else "frames"
        return Recognition("mat", title, "px" if scaled else "µm", time, options={"variable": name})
    value = load_variable(content, name, ())
    values = value if isinstance(value, np.ndarray) else stacked(value, name)
    try:
        columns = find_order(values, name)
    except DataError as error:
        return Recognition("mat", title, needs={"columns": str(error)})
    options = {"variable": name}
    if "frame" not in columns:
        return Recognition("mat", title, "µm", "s", options=options)
    needs = {
        "pixel_size": "it does not say the unit of its lengths; pixel_size= says how many µm their unit is",
        "dt": f"time is counted in frames (read as columns={columns}): dt= is the frame interval in s",
    }
    return Recognition("mat", title, "px", "frames", options=options, needs=needs)


def stacked(cells: Struct, name: str) -> np.ndarray:
    """Return the arrays of a cell array as one, below each other, behind a column of their numbers.

    Raises
    ------
    DataError
        If the variable is none of arrays with the same number of columns.
    """
    arrays = [(i, a) for i, a in enumerate(cells.get(CELLS, ()), 1) if a.size]
    if not arrays:
        raise DataError(f"variable {name!r} holds no trajectories")
    widths = {a.shape[1] if a.ndim == 2 else 0 for _, a in arrays}
    if len(widths) > 1 or 0 in widths:
        raise DataError(f"the cells of {name!r} differ in their number of columns: {sorted(widths)}")
    values = np.concatenate([a for _, a in arrays]).astype(float)
    return np.column_stack([np.repeat([i for i, _ in arrays], [len(a) for _, a in arrays]), values])


def find_order(values: np.ndarray, name: str) -> list[str]:
    """Return what the columns of an array are, if its numbers leave no doubt.

    Raises
    ------
    DataError
        If they do, with what to say.
    """
    size = "x".join(map(str, values.shape))
    if values.ndim != 2 or not values.size:
        raise DataError(f"variable {name!r} is {size}; expected a row per location")
    readings, certain = orders(values[:_SAMPLE].astype(float)) if values.shape[1] < 100 else ([], False)
    if certain:
        columns = list(readings[0].columns)
        n, t = columns.index("n"), columns.index("frame" if "frame" in columns else "t")
        certain = holds(values[:, n], values[:, t])
    if not certain:
        preview = pd.DataFrame(values[:3]).to_string(index=False, header=False)
        raise DataError(f"variable {name!r} is {size}; {question(readings, preview)}")
    return columns
