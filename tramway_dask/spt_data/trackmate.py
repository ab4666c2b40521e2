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
from .branches import unbranched
from .formats import Head, Recognition
from .scales import is_length, is_time, length_scale, time_scale
from .tables import SPACE, check_trajectories
from .xmlstream import Element, first_element, stream_elements

__all__ = ["read_trackmate", "recognize_trackmate"]

_LINEAGE = ("track", "parent", "heir")
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
            full = _Full(pixel_size, dt, time, [e for e in extra if e not in _LINEAGE])
            stream_elements(path, full.start)
            table = full.table(tracks == "all", untracked == "keep", extra)
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
    _agree(interval, dt)
    return interval


def _agree(interval: float, dt: float | None) -> None:
    if dt is not None and abs(interval - dt) > 1e-6 * dt:
        raise DataError(
            f"frames are {interval:g} s apart by the file's own word, not dt = {dt:g} s; leave dt= out, "
            "or say that frame numbers are to be multiplied by dt: time='frame'"
        )


class _Full:
    """Collects spots and links of a full file."""

    def __init__(self, pixel_size: float | None, dt: float | None, time: str, features: list[str]) -> None:
        self.given = pixel_size, dt, time
        self.features = features
        self.scale = self.step = 1.0
        self.clock = ""  # which attribute is the time of a spot
        self.ids, self.frames = array("q"), array("i")
        self.values: dict[str, array[float]] = {}
        self.links = array("q")
        # track, and the number of its first link
        self.begun: list[tuple[int, int]] = []
        self.kept: set[int] | None = None
        self.hidden: set[int] = set()

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Spot":
            self._spot(attributes)
        elif name == "Edge":
            if not self.begun:
                raise DataError("an <Edge> stands outside of any <Track>")
            self.links.append(int(attributes["SPOT_SOURCE_ID"]))
            self.links.append(int(attributes["SPOT_TARGET_ID"]))
        elif name == "Track":
            self.begun.append((int(attributes["TRACK_ID"]), len(self.links) // 2))
        elif name == "FilteredTracks":
            self.kept = set()
        elif name == "TrackID":
            if self.kept is not None:
                self.kept.add(int(attributes["TRACK_ID"]))
        elif name == "Model":
            self._model(attributes)

    def _model(self, attributes: dict[str, str]) -> None:
        if self.clock:
            raise DataError("the file has more than one <Model>")
        pixel_size, dt, time = self.given
        unit = attributes.get("spatialunits", "")
        self.scale = length_scale(unit, pixel_size)
        when = attributes.get("timeunits", "")
        if time == "frame" or not (is_length(unit) and is_time(when)):
            self.clock, self.step = "FRAME", time_scale("frames", dt)
        else:
            self.clock, self.step = "POSITION_T", time_scale(when, None)
        names = [f"POSITION_{c.upper()}" for c in SPACE] + ["POSITION_T"] * (self.clock == "POSITION_T")
        self.values = {name: array("d") for name in [*names, *self.features]}

    def _spot(self, attributes: dict[str, str]) -> None:
        if not self.clock:
            raise DataError("a <Spot> stands before the <Model>, which says the units")
        spot = int(attributes["ID"])
        if attributes.get("VISIBILITY", "1") == "0":
            self.hidden.add(spot)
            return
        self.ids.append(spot)
        self.frames.append(int(float(attributes["FRAME"])))
        for name, values in self.values.items():
            values.append(float(attributes[name]))

    def table(self, all_tracks: bool, loose: bool, extra: Sequence[str]) -> pd.DataFrame:
        """Return the trajectories."""
        if not self.ids:
            raise DataError("the file holds no spots" + (" that are not hidden" if self.hidden else ""))
        links, track = self._tracks(all_tracks)
        frames = np.frombuffer(self.frames, np.int32)
        pieces = unbranched(frames, links)
        part = np.full(len(frames), -1, np.int64)
        part[links[:, 0]] = part[links[:, 1]] = track
        used = np.ones(len(frames), bool) if loose else part >= 0
        if not used.any():
            raise DataError(
                "the file has spots and no tracks; link them first, or read each as a trajectory of one "
                "location: untracked='keep'"
            )
        # numbered without holes
        present = np.zeros(len(pieces.parent), bool)
        present[pieces.of[used]] = True
        present[0] = False
        number = np.cumsum(present) * present
        columns: dict[str, Any] = {"n": number[pieces.of[used]]}
        for c in SPACE:
            values = self._column(f"POSITION_{c.upper()}", used)
            if c != "z" or np.ptp(values) > 0:
                columns[c] = values * self.scale
        columns["t"] = self._time(used)
        lineage = {"track": part}
        if "parent" in extra or "heir" in extra:
            lineage |= {
                "parent": number[pieces.parent[pieces.of]],
                "heir": number[pieces.heir[pieces.of]],
            }
        for name in extra:
            columns[name] = lineage[name][used] if name in lineage else self._column(name, used)
        return pd.DataFrame(columns)

    def _column(self, name: str, used: np.ndarray) -> np.ndarray:
        return np.frombuffer(self.values[name])[used]

    def _time(self, used: np.ndarray) -> np.ndarray:
        frames = np.frombuffer(self.frames, np.int32)[used]
        if self.clock == "FRAME":
            return frames * self.step
        t = self._column(self.clock, used) * self.step
        later = frames > 0
        if later.any():
            _agree(float(np.median(t[later] / frames[later])), self.given[1])
        return t

    def _tracks(self, all_tracks: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the links between rows of spots (M, 2), and the track of each."""
        links = np.frombuffer(self.links, np.int64).reshape(-1, 2)
        ids = np.frombuffer(self.ids, np.int64)
        begun = np.array(self.begun, np.int64).reshape(-1, 2)
        track = np.repeat(begun[:, 0], np.diff(begun[:, 1], append=len(links)))
        wanted = np.ones(len(links), bool)
        if self.hidden:
            wanted &= ~np.isin(links, np.fromiter(self.hidden, np.int64)).any(axis=1)
        if self.kept is not None and not all_tracks:
            wanted &= np.isin(track, np.fromiter(self.kept, np.int64, len(self.kept)))
        if not wanted.all():
            links, track = links[wanted], track[wanted]
        order = np.argsort(ids)
        ids = ids[order]
        if (ids[1:] == ids[:-1]).any():
            raise DataError(f"two spots have the ID {ids[:-1][ids[1:] == ids[:-1]][0]}; the file is corrupt")
        at = np.minimum(np.searchsorted(ids, links), len(ids) - 1)
        if (ids[at] != links).any():
            raise DataError(
                f"a track goes through spot {links[ids[at] != links][0]}, which the file does not have"
            )
        rows = order[at]
        if len(np.unique(np.sort(rows, axis=1), axis=0)) < len(rows):
            raise DataError("a track has the same link twice; the file is corrupt")
        return rows, track
