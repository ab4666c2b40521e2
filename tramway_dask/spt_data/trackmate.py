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
_BLOCK = 1 << 14


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
    _agree(interval, dt)
    return interval


def _agree(interval: float, dt: float | None) -> None:
    if dt is not None and abs(interval - dt) > 1e-6 * dt:
        raise DataError(
            f"frames are {interval:g} s apart by the file's own word, not dt = {dt:g} s; leave dt= out, "
            "or say that frame numbers are to be multiplied by dt: time='frame'"
        )


class _Full:
    """Collects spots and links of a full file, in little memory."""

    def __init__(self, pixel_size: float | None, dt: float | None, time: str, features: list[str]) -> None:
        self.given = pixel_size, dt, time
        self.features = features
        self.scale = self.step = 1.0
        self.clock = ""  # which attribute is the time of a spot
        self.ids = array("q")
        self.values: dict[str, array[float]] = {}
        # z is kept from where it is not that of the first spot
        self.level: float | None = None
        self.links = array("q")
        # tracks, and the number of the first link of each
        self.tracks, self.begun = array("q"), array("q")
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
            self.tracks.append(int(attributes["TRACK_ID"]))
            self.begun.append(len(self.links) // 2)
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
        names = [
            "POSITION_X",
            "POSITION_Y",
            self.clock,
            *(["FRAME"] if dt is not None else []),
            *self.features,
        ]
        self.values = {name: array("d") for name in names}

    def _spot(self, attributes: dict[str, str]) -> None:
        if not self.clock:
            raise DataError("a <Spot> stands before the <Model>, which says the units")
        spot = int(attributes["ID"])
        if attributes.get("VISIBILITY", "1") == "0":
            self.hidden.add(spot)
            return
        z = float(attributes["POSITION_Z"])
        if self.level is None:
            self.level = z
        elif z != self.level and "POSITION_Z" not in self.values:
            self.values["POSITION_Z"] = array("d", [self.level]) * len(self.ids)
        self.ids.append(spot)
        for name, values in self.values.items():
            values.append(float(attributes[name]))

    def table(self, all_tracks: bool, loose: bool, extra: Sequence[str]) -> pd.DataFrame:
        """Return the trajectories, sorted; what was collected is let go."""
        if not self.ids:
            raise DataError("the file holds no spots" + (" that are not hidden" if self.hidden else ""))
        for name, values in self.values.items():
            if not np.isfinite(np.frombuffer(values)).all():
                raise DataError(f"a spot has a {name} that is no finite number")
        size = len(self.ids)
        links, track = self._tracks(all_tracks)
        pieces = unbranched(np.frombuffer(self.values[self.clock]), links)
        part: np.ndarray = np.full(size, -1, np.int64 if "track" in extra else np.int8)
        part[links[:, 0]] = part[links[:, 1]] = track if "track" in extra else 0
        del links, track
        used = np.flatnonzero(part >= 0) if not loose else np.arange(size)
        if not len(used):
            raise DataError(
                "the file has spots and no tracks; link them first, or read each as a trajectory of one "
                "location: untracked='keep'"
            )
        used = used[np.lexsort((np.frombuffer(self.values[self.clock])[used], pieces.of[used]))]
        present = np.zeros(len(pieces.parent), bool)
        present[pieces.of[used]] = True
        number = np.cumsum(present) * present  # without holes
        self._check_interval(used)
        columns: dict[str, Any] = {"n": number[pieces.of[used]]}
        lineage = {}
        if "parent" in extra or "heir" in extra:
            lineage = {
                "parent": number[pieces.parent[pieces.of[used]]],
                "heir": number[pieces.heir[pieces.of[used]]],
            }
        for name in extra:
            if name not in _LINEAGE:
                columns[name] = np.frombuffer(self.values[name])[used]
        del pieces, present
        for c in SPACE:
            name = f"POSITION_{c.upper()}"
            if name in self.values:
                columns[c] = np.frombuffer(self.values.pop(name))[used]
                columns[c] *= self.scale
        columns["t"] = np.frombuffer(self.values.pop(self.clock))[used]
        columns["t"] *= self.step
        if "track" in extra:
            columns["track"] = part[used]
        columns |= lineage
        order = ["n", *(c for c in SPACE if c in columns), "t", *extra]
        return pd.DataFrame({name: columns[name] for name in order}, copy=False)

    def _check_interval(self, used: np.ndarray) -> None:
        if self.clock == "FRAME" or self.given[1] is None:
            return
        frame = np.frombuffer(self.values["FRAME"])[used]
        later = frame > 0
        if later.any():
            t = np.frombuffer(self.values[self.clock])[used] * self.step
            _agree(float(np.median(t[later] / frame[later])), self.given[1])

    def _tracks(self, all_tracks: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the links between rows of spots (M, 2), and the track of each."""
        links = np.frombuffer(self.links, np.int64).reshape(-1, 2)
        tracks, begun = np.frombuffer(self.tracks, np.int64), np.frombuffer(self.begun, np.int64)
        wanted = np.ones(len(tracks), bool)
        if self.kept is not None and not all_tracks:
            wanted = np.isin(tracks, np.fromiter(self.kept, np.int64, len(self.kept)))
        counts = np.diff(begun, append=len(links))
        chosen = np.repeat(wanted, counts)
        if self.hidden:
            chosen &= ~np.isin(links, np.fromiter(self.hidden, np.int64)).any(axis=1)
        if not chosen.all():
            links = links[chosen]
        rows = _rows(np.frombuffer(self.ids, np.int64), links)
        del links
        self.links, self.ids = array("q"), array("q")
        key = rows.min(axis=1).astype(np.int64) << 32
        key |= rows.max(axis=1)
        key.sort()
        if (key[1:] == key[:-1]).any():
            raise DataError("a track has the same link twice; the file is corrupt")
        return rows, np.repeat(tracks, counts)[chosen]


def _rows(ids: np.ndarray, links: np.ndarray) -> np.ndarray:
    """Return the rows of the spots that links name, (M, 2) int32."""
    order = None if (ids[1:] > ids[:-1]).all() else np.argsort(ids)
    if order is not None:
        ids = ids[order]
        again = ids[1:] == ids[:-1]
        if again.any():
            raise DataError(f"two spots have the ID {ids[:-1][again][0]}; the file is corrupt")
    rows = np.empty(links.shape, np.int32)
    for first in range(0, len(links), _BLOCK):
        block = links[first : first + _BLOCK]
        at = np.minimum(np.searchsorted(ids, block), len(ids) - 1)
        if (ids[at] != block).any():
            missing = block[ids[at] != block][0]
            raise DataError(f"a track goes through spot {missing}, which the file does not have")
        rows[first : first + _BLOCK] = at if order is None else order[at]
    return rows
