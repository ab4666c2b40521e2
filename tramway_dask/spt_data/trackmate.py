"""Readers of TrackMate's XML files: the full one, with spots and links, and the simple one, with tracks."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..component import one_of, positive
from ..errors import DataError
from .formats import Head, Recognition
from .scales import is_length, is_time, length_scale, time_scale
from .tables import SPACE, check_trajectories
from .trackmatefull import LINEAGE, FullFile, check_interval
from .xmlstream import Element, first_element, stream_elements

__all__ = ["read_trackmate", "recognize_trackmate"]

_MORE = 1 << 22


def recognize_trackmate(head: Head, options: Mapping[str, Any] | None = None) -> Recognition | None:
    """Recognise the first element of either file, and say its units."""
    framed = (options or {}).get("time") == "frame"
    root = first_element(head.data)
    if root is None or root[0] not in ("TrackMate", "Tracks"):
        return None
    if root[0] == "Tracks":
        return _recognized_simple(root[1], framed)
    # a long log may stand before the model
    model = first_element(head.data, "Model")
    if model is None and not head.complete and head.path.is_file():
        with open(head.path, "rb") as file:
            model = first_element(file.read(_MORE), "Model")
    attributes = model[1] if model else {}
    length, time = attributes.get("spatialunits", ""), attributes.get("timeunits", "")
    calibrated = is_length(length)
    needs = {}
    if not calibrated:
        needs["pixel_size"] = (
            f"its lengths are in {length or 'unknown'} units; pixel_size= says how many µm one is"
        )
    if framed:
        needs["dt"] = "frame numbers are wanted; dt= is the frame interval in s"
    elif not (calibrated and is_time(time)):
        needs["dt"] = "the image was not calibrated; dt= is the frame interval in s"
    return _recognition(
        "trackmate",
        "TrackMate XML",
        length if calibrated else "px",
        "frames" if "dt" in needs else time,
        needs,
        ("tracks that split or merge are cut there; spots in no track are left out",),
    )


def _recognized_simple(attributes: dict[str, str], framed: bool) -> Recognition:
    length, time = attributes.get("spaceUnits", ""), attributes.get("timeUnits", "")
    needs = {}
    if not is_length(length):
        needs["pixel_size"] = (
            f"its lengths are in {length or 'unknown'} units; pixel_size= says how many µm one is"
        )
    if framed:
        needs["dt"] = "frame numbers are wanted; dt= is the frame interval in s"
    elif not is_time(time):
        needs["dt"] = (
            f"it counts frames, and states a frame interval of {attributes.get('frameInterval', '?')} "
            f"{time or '(no unit)'}, which is no time; dt= is the frame interval in s"
        )
    return _recognition(
        "trackmate",
        "TrackMate simple XML",
        length if is_length(length) else "px",
        "frames" if "dt" in needs else time,
        needs,
    )


def _recognition(
    name: str, title: str, length: str, time: str, needs: dict[str, str], notes: tuple[str, ...] = ()
) -> Recognition:
    return Recognition(
        name,
        title,
        "µm" if is_length(length) and length_scale(length, None) == 1 else length,
        "s" if is_time(time) and time_scale(time, None) == 1 else time,
        stated="pixel_size" not in needs,
        timed="dt" not in needs,
        needs=needs,
        notes=notes,
    )


def read_trackmate(
    path: str | Path,
    *,
    pixel_size: float | None = None,
    dt: float | None = None,
    time: str = "file",
    tracks: str = "filtered",
    untracked: str = "drop",
    extra: Sequence[str] = (),
) -> pd.DataFrame:
    """Read the tracks of a TrackMate XML file, full or simple.

    The file is read as a stream: memory is that of the table. A track that splits or merges is cut
    there into trajectories that do not branch. Spots that TrackMate hides are left out, with
    their links.

    Parameters
    ----------
    path : str or Path
        File saved by TrackMate (``<TrackMate>``), or "exported to XML" (``<Tracks>``).
    pixel_size : float, optional
        What lengths are multiplied by, in µm, if the file does not state a unit of length.
    dt : float, optional
        Frame interval in s, if the file does not state it, or states it in no unit of time. A full
        file whose lengths are in pixels was made from an image without calibration: its "seconds"
        are not believed either.
    time : {'file', 'frame'}
        Whether times stated in the file are used, or frame numbers times `dt` all the same.
    tracks : {'filtered', 'all'}
        Whether tracks that TrackMate's filters have hidden are left out. Full files only.
    untracked : {'drop', 'keep'}
        What to do with spots that are in no track: leave them out, or read each as a trajectory of
        one location. Full files only.
    extra : sequence of str
        Further columns, of full files: features of spots by TrackMate's names (``'QUALITY'``),
        ``'track'`` (TrackMate's number of the uncut track, -1 for none), ``'parent'`` and ``'heir'``
        (the trajectory that this one split from, or merged into; 0 for none).

    Returns
    -------
    DataFrame
        Columns ``n`` (from 1), ``x, y[, z]`` (µm), ``t`` (s) and the extra ones, sorted by (``n``,
        ``t``). A ``z`` that is the same everywhere is left out.

    Raises
    ------
    DataError
        If the file cannot be read, is broken or contradicts itself, or its units are not known.
    SpecificationError
        If an argument is wrong.
    """
    path = Path(path).expanduser()
    one_of("file", "frame")("time", time)
    one_of("filtered", "all")("tracks", tracks)
    one_of("drop", "keep")("untracked", untracked)
    pixel_size = None if pixel_size is None else positive("pixel_size", pixel_size)
    dt = None if dt is None else positive("dt", dt)
    try:
        kind = _root(path)[0]
        if kind == "Tracks":
            if extra:
                raise DataError(f"a simple XML file has no {', '.join(map(repr, extra))}; leave extra= out")
            table = _read_simple(path, pixel_size, dt, time)
        elif kind == "TrackMate":
            full = FullFile(pixel_size, dt, time, [e for e in extra if e not in LINEAGE])
            stream_elements(path, full.start)
            return full.table(tracks == "all", untracked == "keep", list(dict.fromkeys(extra)))
        else:
            raise DataError(f"its first element is <{kind}>; TrackMate's are <TrackMate> or <Tracks>")
    except DataError as error:
        raise DataError(f"{path}: {error}") from error.__cause__
    return check_trajectories(table, str(path))


def _root(path: Path) -> Element:
    try:
        with open(path, "rb") as file:
            root = first_element(file.read(1 << 16))
    except OSError as error:
        raise DataError(f"cannot read the file: {error.strerror or error}") from error
    if root is None:
        raise DataError("not an XML file that starts with an element")
    return root


def _read_simple(path: Path, pixel_size: float | None, dt: float | None, time: str) -> pd.DataFrame:
    scales: list[float] = []
    counts = array("q")
    values = array("d")

    def start(name: str, attributes: dict[str, str]) -> None:
        if name == "detection":
            if not counts:
                raise DataError("a <detection> stands outside of any <particle>")
            values.extend([float(attributes[c]) for c in ("x", "y", "z", "t")])
            counts[-1] += 1
        elif name == "particle":
            counts.append(0)
        elif name == "Tracks" and not scales:
            interval, unit = attributes.get("frameInterval", ""), attributes.get("timeUnits", "")
            scales.append(length_scale(attributes.get("spaceUnits", ""), pixel_size))
            scales.append(_interval(interval, unit, dt, time))

    stream_elements(path, start)
    if not values:
        raise DataError("the file holds no tracks")
    points = np.frombuffer(values).reshape(-1, 4)
    table = pd.DataFrame({"n": np.repeat(np.arange(1, len(counts) + 1), np.frombuffer(counts, np.int64))})
    for i, c in enumerate(SPACE):
        if c != "z" or np.ptp(points[:, i]) > 0:
            table[c] = points[:, i] * scales[0]
    table["t"] = points[:, 3] * scales[1]
    return table


def _interval(stated: str, unit: str, dt: float | None, time: str) -> float:
    """Return the frame interval in s of a simple file."""
    if dt is not None and (time == "frame" or not is_time(unit)):
        return dt
    if time == "frame" or not is_time(unit):
        raise DataError(
            f"it counts frames, and states a frame interval of {stated or 'nothing'} {unit or '(no unit)'}, "
            "which is no time; give the frame interval in s: dt="
        )
    interval = positive("frameInterval", float(stated)) * time_scale(unit, None)
    check_interval(interval, dt)
    return interval
