"""Spots and links of TrackMate's full XML file, made into trajectories in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from .branches import unbranched
from .scales import is_length, is_time, length_scale, time_scale
from .tables import SPACE

__all__ = ["LINEAGE", "FullFile", "check_interval"]

LINEAGE = ("track", "parent", "heir")
_BLOCK = 1 << 14


def check_interval(interval: float, dt: float | None) -> None:
    """Complain of a frame interval that is not the one that the file states.

    Raises
    ------
    DataError
        If `dt` is given and differs from `interval`; both in s.
    """
    if dt is not None and abs(interval - dt) > 1e-6 * dt:
        raise DataError(
            f"frames are {interval:g} s apart by the file's own word, not dt = {dt:g} s; leave dt= out, "
            "or say that frame numbers are to be multiplied by dt: time='frame'"
        )


class FullFile:
    """Collects the elements of a full file, then makes a table of them.

    Parameters
    ----------
    pixel_size, dt, time
        As `read_trackmate`.
    features : list of str
        Further attributes of spots to keep.
    """

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
        """Take an element."""
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
            if name not in LINEAGE:
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
            check_interval(float(np.median(t[later] / frame[later])), self.given[1])

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
