"""Picasso's ``.hdf5`` files of localizations, with the ``.yaml`` beside them that knows the pixel size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from .formats import Recognition
from .hdf5 import child, record

__all__ = ["picasso_pixel_size", "picasso_table", "recognized_picasso"]

_TRACKS = ("track_id", "track", "trackid", "particle", "trajectory")
_LONGEST = 1 << 22


def recognized_picasso(path: Path, file: Any, given: Mapping[str, Any]) -> Recognition:
    """Return what a Picasso file is.

    Parameters
    ----------
    path : Path
    file : h5py.File
    given : mapping
        Arguments that the user gave.
    """
    names = getattr(getattr(child(file, "locs"), "dtype", None), "names", None) or ()
    known = None if given.get("pixel_size") else picasso_pixel_size(path)
    needs = {"dt": "it counts frames; dt= is the frame interval in s"}
    options: dict[str, Any] = {}
    if known is None:
        needs["pixel_size"] = (
            f"its lengths are in pixels, and {path.with_suffix('.yaml').name}, which would say their size, is "
            "not beside it; pixel_size= says how many µm a pixel is"
        )
    else:
        options["pixel_size"] = known
    linked = bool(given.get("track")) or any(name in names for name in _TRACKS)
    note = ""
    if not linked and "group" in names:
        linked = True
        needs["track"] = (
            "its column 'group' may number tracks, or picked areas; track='group' says that it is tracks"
        )
    elif not linked:
        merged = {"len", "n"} <= set(names)
        note = (
            "each of its localizations is the mean of a linked event, so that no steps are left; use the file "
            "from before linking"
            if merged
            else "its localizations are not linked in trajectories: link them when reading "
            "(spt_data.from_localizations), or in the program that wrote it"
        )
    return Recognition(
        "hdf5",
        "Picasso trajectories" if linked else "Picasso localizations",
        "px",
        "frames",
        columns={"sigma": "lpx, lpy"} if {"lpx", "lpy"} <= set(names) else {},
        linked=linked,
        options=options,
        needs=needs,
        notes=(note,) if note else (),
    )


def picasso_pixel_size(path: Path) -> float | None:
    """Return the pixel size in µm of the ``.yaml`` beside a file, or None.

    Raises
    ------
    DataError
        If the ``.yaml`` is there and cannot be read, or states several.
    """
    import yaml

    beside = path.with_suffix(".yaml")
    try:
        if not beside.is_file():
            return None
        with open(beside, "rb") as file:
            text = file.read(_LONGEST)
        documents = list(yaml.safe_load_all(text))
        stated = {
            float(document["Pixelsize"])
            for document in documents
            if isinstance(document, dict) and document.get("Pixelsize")
        }
    except (OSError, yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise DataError(f"{beside} cannot be read ({error}); say the pixel size: pixel_size=") from error
    if len(stated) > 1 or not all(0 < size < np.inf for size in stated):
        raise DataError(f"{beside} states the pixel sizes {sorted(stated)} nm; say which: pixel_size=")
    return stated.pop() / 1000 if stated else None


def picasso_table(file: Any, track: str | None) -> tuple[pd.DataFrame, str | None]:
    """Return the localizations, and the name of the column of tracks if there is one.

    Parameters
    ----------
    file : h5py.File
    track : str, optional
        What the user says.

    Raises
    ------
    DataError
        If columns are missing.
    """
    columns = record(child(file, "locs"))
    missing = [c for c in ("frame", "x", "y") if c not in columns]
    if missing:
        raise DataError(f"'locs' has no {missing[0]!r}; it has {', '.join(columns) or 'no columns'}")
    if track is not None and track not in columns:
        raise DataError(f"'locs' has no {track!r}; it has {', '.join(columns)}")
    found = track or next((name for name in _TRACKS if name in columns), None)
    return pd.DataFrame(columns), found
