"""Linking by trackpy and laptrack, which the extra ``linking`` installs."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from test_linking import DT, found, simulated

from tramway_dask.errors import DataError
from tramway_dask.spt_data import linkers


def test_agrees_with_trackpy() -> None:
    table = simulated(300)
    ours, _ = found(linkers.NonTrackingTracker(search_range=0.35), table)
    theirs, _ = found(linkers.Trackpy(search_range=0.35), table)
    assert ours == theirs
    # frames without localizations, duplicate places, one trajectory that blinks
    table = pd.DataFrame(
        {
            "frame": [3, 4, 4, 6, 1000, 1001],
            "x": [0.0, 0.1, 2.0, 0.1, 0.1, 0.1],
            "y": [0.0, 0.0, 0.0, 0.1, 0.1, 0.1],
        }
    )
    for linker in (linkers.Trackpy, linkers.NonTrackingTracker):
        linked = linker(search_range=0.5, memory=1).link(table, DT)
        assert list(linked["n"]) == [1, 1, 1, 2, 3, 3]
        assert list(linked["t"]) == [f * DT for f in (3, 4, 6, 4, 1000, 1001)]


def test_agrees_with_laptrack() -> None:
    table = simulated(5, seen=0.9)
    table = table[table["frame"] < 20]
    ours, true = found(linkers.NonTrackingTracker(search_range=0.3), table)
    theirs, _ = found(linkers.LapTrack(search_range=0.3), table)
    assert ours == theirs < true
    theirs, _ = found(linkers.LapTrack(search_range=0.3, memory=1), table)
    assert ours < theirs <= true


def test_too_many_candidates_for_trackpy() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.uniform(0, 1, (120, 2)), columns=["x", "y"]).assign(frame=np.repeat([0, 1], 60))
    with pytest.raises(DataError, match=r"here: trackpy finds too many candidates within 0.3 µm"):
        linkers.Trackpy(search_range=0.3).link(table, DT, "here")
    assert len(linkers.Trackpy(search_range=0.3, adaptive_stop=0.01).link(table, DT)) == 120
    assert len(linkers.NonTrackingTracker(search_range=0.3).link(table, DT)) == 120


@pytest.mark.parametrize("library,linker", [("trackpy", linkers.Trackpy), ("laptrack", linkers.LapTrack)])
def test_missing_libraries(library: str, linker: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"linkers.{linker.__name__} needs {library}: pip install"):
        linker(search_range=0.3).link(simulated(2), DT)
