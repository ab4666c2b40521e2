"""Localizations linked into trajectories."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramway_dask.component import fingerprint
from tramway_dask.errors import DataError, SpecificationError, UnknownAttributeError
from tramway_dask.simulate import random_walk
from tramway_dask.spt_data import linkers
from tramway_dask.spt_data.assignment import assign, identify

DT = 0.02


def simulated(count: int, *, seen: float = 1.0, size: float = 10.0, dimension: int = 2) -> pd.DataFrame:
    """Return shuffled localizations with the column ``true``: D = 0.1 µm²/s, σ = 20 nm, 50 frames."""
    box = ((0.0,) * dimension, (size,) * dimension)
    table = random_walk(
        diffusivity=0.1,
        box=box,
        trajectory_count=count,
        duration=1,
        time_step=DT,
        localization_precision=0.02,
    )
    table["frame"] = np.rint(table["t"] / DT).astype(int)
    table = table.rename(columns={"n": "true"}).drop(columns="t")
    return table.sample(frac=seen, random_state=0)


def steps(n: Sequence[int], frame: Sequence[int]) -> set[tuple[int, int]]:
    """Return pairs of row numbers that follow each other in a trajectory."""
    n, frame = np.asarray(n), np.asarray(frame)
    order = np.lexsort((frame, n))
    a, b = order[:-1], order[1:]
    same = n[a] == n[b]
    return set(zip(a[same].tolist(), b[same].tolist(), strict=True))


def found(linker: linkers.Linker, table: pd.DataFrame) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Return the steps that a linker finds, and the true ones."""
    table = table.assign(row=np.arange(len(table)))
    linked = linker.link(table, DT).sort_values("row")
    return steps(linked["n"], linked["t"]), steps(table["true"], table["frame"])


@pytest.mark.parametrize("count,least", [(10, 0.999), (100, 0.98), (400, 0.94)])
def test_the_denser_the_more_links_are_wrong(count: int, least: float) -> None:
    linked, true = found(linkers.NonTrackingTracker(search_range=0.35), simulated(count))
    right = len(linked & true)
    assert right / len(true) > least
    assert right / len(linked) > least


def test_three_dimensions() -> None:
    table = simulated(40, dimension=3, size=4.0)
    linked, true = found(linkers.NonTrackingTracker(search_range=0.4), table)
    assert len(linked & true) / len(true) > 0.99
    result = linkers.NonTrackingTracker(search_range=0.4).link(table, DT)
    assert list(result.columns) == ["n", "x", "y", "z", "t", "true"]
    assert set(np.rint(result["t"] / DT)) == set(table["frame"])


def test_blinking() -> None:
    table = simulated(20, seen=0.8)
    linked, true = found(linkers.NonTrackingTracker(search_range=0.35, memory=3), table)
    assert len(linked & true) / len(true) > 0.97
    alone, _ = found(linkers.NonTrackingTracker(search_range=0.35), table)
    assert len(alone) < 0.9 * len(true)
    # a molecule that is gone for longer is another one
    gone = pd.DataFrame({"frame": [0, 1, 5, 6], "x": 0.0, "y": 0.0})
    for memory, ends in ((2, [1, 1, 2, 2]), (3, [1, 1, 1, 1])):
        assert list(linkers.NonTrackingTracker(search_range=1, memory=memory).link(gone, DT)["n"]) == ends
    # and over k frames diffusion goes √k as far
    for x, ends in ((1.40, [1, 1]), (1.42, [1, 2])):
        far = pd.DataFrame({"frame": [0, 2], "x": [0.0, x], "y": 0.0})
        assert list(linkers.NonTrackingTracker(search_range=1, memory=1).link(far, DT)["n"]) == ends


def brute_force(cost: dict[tuple[int, int], float], limit: float) -> float:
    """Return the least cost over all ways to link."""
    rows, columns = sorted({i for i, _ in cost}), sorted({j for _, j in cost})
    choices: list[int | None] = [*columns, *([None] * len(rows))]
    best = np.inf
    for picked in set(itertools.permutations(choices, len(rows))):
        total = 0.0
        for i, j in zip(rows, picked, strict=True):
            total += limit if j is None else cost.get((i, j), np.inf)
        best = min(best, total)
    return best


@given(
    st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.floats(0, 1), min_size=1, max_size=9)
)
@settings(max_examples=60, deadline=None)
def test_the_assignment_is_optimal(cost: dict[tuple[int, int], float]) -> None:
    row, column = (np.array(v) for v in zip(*cost, strict=True))
    values = np.array(list(cost.values()))
    kept = assign(row, column, values, 1.0)
    assert len(set(row[kept])) == len(set(column[kept])) == len(kept)
    total = values[kept].sum() + (len(set(row)) - len(kept))
    assert total == pytest.approx(brute_force(cost, 1.0))


def test_large_groups_stay_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    table = simulated(1000, size=8.0)
    table = table[table["frame"] < 4]
    dense, _ = found(linkers.NonTrackingTracker(search_range=0.35), table)
    monkeypatch.setattr("tramway_dask.spt_data.assignment._DENSE", 0)
    sparse, _ = found(linkers.NonTrackingTracker(search_range=0.35), table)
    assert dense == sparse


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    table = simulated(60, seen=0.9)
    linker = linkers.NonTrackingTracker(search_range=0.35, memory=1)
    whole = linker.link(table, DT)
    monkeypatch.setattr("tramway_dask.spt_data.assignment._CHUNK", 100)
    pd.testing.assert_frame_equal(linker.link(table, DT), whole)


def test_single_particle() -> None:
    table = pd.DataFrame({"frame": [4, 2], "x": [1.0, 2.0], "y": 0.0, "photons": [10, 20]})
    linked = linkers.SingleParticleTracker().link(table, DT)
    assert linked.to_dict("list") == {
        "n": [1, 1], "x": [2.0, 1.0], "y": [0.0, 0.0], "t": [0.04, 0.08], "photons": [20, 10],
    }  # fmt: skip
    with pytest.raises(DataError, match=r"here: frame 2 has more than one localization \(so have 1 frames\)"):
        linkers.SingleParticleTracker().link(table.assign(frame=2), DT, "here")


def test_order_of_rows_and_duplicates() -> None:
    table = simulated(30)
    again = table.sample(frac=1, random_state=1)
    linker = linkers.NonTrackingTracker(search_range=0.35)
    a, b = (linker.link(t, DT).sort_values(["true", "t"])["x"].to_numpy() for t in (table, again))
    np.testing.assert_array_equal(a, b)
    # the same place twice in a frame: two molecules
    twice = pd.DataFrame({"frame": [0, 0, 1, 1], "x": 0.0, "y": 0.0})
    assert list(linker.link(twice, DT)["n"]) == [1, 1, 2, 2]
    assert len(linker.link(twice[:0], DT)) == 0
    assert list(identify(np.zeros((1, 2)), np.zeros(1, dtype=int), 1.0, 3)) == [1]


def test_thousands_in_a_frame() -> None:
    rng = np.random.default_rng(0)
    first = rng.uniform(0, 100, (20_000, 2))
    points = np.concatenate([first, first + rng.normal(0, 0.05, first.shape)])
    n = identify(points, np.repeat([0, 1], 20_000), 0.25)
    assert (n[:20_000] == n[20_000:]).mean() > 0.98
    with pytest.raises(DataError, match="smaller search_range"):
        identify(points, np.repeat([0, 1], 20_000), 20.0)


def test_parameters() -> None:
    a = linkers.NonTrackingTracker(search_range=0.5, memory=2)
    assert repr(a) == "NonTrackingTracker(search_range=0.5, memory=2)"
    assert a.estimated_large_length == 0.5
    assert fingerprint(a) != fingerprint(linkers.NonTrackingTracker(search_range=0.5))
    with pytest.raises(SpecificationError, match="above 0"):
        linkers.Trackpy(search_range=-1)
    with pytest.raises(SpecificationError, match="how far"):
        linkers.LapTrack().check()
    with pytest.raises(SpecificationError, match="say the same"):
        linkers.NonTrackingTracker(search_range=1, estimated_high_diffusivity=1).check()
    with pytest.raises(UnknownAttributeError, match="memory"):
        a.memori = 1
    with pytest.warns(DeprecationWarning, match="no parameters of the data"):
        a.localization_precision = 0.03
    with pytest.raises(DataError, match="finite"):
        a.link(pd.DataFrame({"frame": [0], "x": [np.nan], "y": [0.0]}), DT)
    with pytest.raises(DataError, match="'frame'"):
        a.link(pd.DataFrame({"x": [0.0], "y": [0.0]}), DT)
