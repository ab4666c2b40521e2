from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from tramway_dask.errors import DataError, RegionError, SpecificationError
from tramway_dask.spt_data.filters import (
    crop,
    discard_static_trajectories,
    reindex_trajectories,
    reset_origin,
)
from tramway_dask.spt_data.tables import (
    check_trajectories,
    delta_columns,
    is_translocations,
    space_columns,
    trajectories,
    translocations,
)


def xyt():
    """Import TRamWAy, which warns of libraries that it could use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tramway.core.xyt as module
    return module


def walk(lengths, seed=0, d=2, gaps=False, first=1, step=0.3):
    rng = np.random.default_rng(seed)
    n = np.repeat(np.arange(first, first + len(lengths)), lengths)
    data = {"n": n}
    for c in "xyz"[:d]:
        data[c] = rng.normal(0.5, step, len(n))
    frames = [np.cumsum(rng.integers(1, 4 if gaps else 2, k)) + rng.integers(0, 5) for k in lengths]
    data["t"] = np.concatenate([*frames, np.empty(0, int)]) * 0.25
    df = pd.DataFrame(data).astype({"n": "int64"})
    df.attrs["localization_precision"] = 0.02
    return df


tables = st.builds(
    walk,
    st.lists(st.integers(1, 7), min_size=1, max_size=8),
    seed=st.integers(0, 2**16),
    d=st.sampled_from([2, 3]),
    gaps=st.booleans(),
    first=st.integers(0, 50),
)


def slow_crop(df, lower, upper, tmin=-np.inf, tmax=np.inf):
    """Apply the rule row by row."""
    space = [c for c in "xyz" if c in df.columns]
    rows, number, previous = [], None, None
    df = df[(df.t >= tmin) & (df.t <= tmax)].reset_index(drop=True)
    for i in range(len(df) - 1):
        inside = all(lo <= df[c][i] <= up for c, lo, up in zip(space, lower, upper, strict=True))
        if not inside or df.n[i] != df.n[i + 1]:
            continue
        if number is None:
            number = df.n[i]
        elif previous != (i - 1, df.n[i]):
            number += 1
        previous = (i, df.n[i])
        deltas = [df[c][i + 1] - df[c][i] for c in (*space, "t")]
        rows.append([number, *(df[c][i] for c in (*space, "t")), *deltas])
    columns = ["n", *space, "t", *(f"d{c}" for c in (*space, "t"))]
    return pd.DataFrame(rows, columns=columns, dtype=float).astype({"n": "int64"})


@pytest.mark.oracle
@settings(max_examples=40, deadline=None)
@given(tables)
def test_translocations_equal_tramway(df):
    mine = translocations(df)
    theirs = xyt().trajectories_to_translocations(df)
    assert_frame_equal(mine, theirs, check_dtype=False)
    assert mine.attrs == df.attrs
    assert_frame_equal(translocations(mine), mine)


@settings(max_examples=40, deadline=None)
@given(tables)
def test_trajectories_invert_translocations(df):
    tracked = df[df.groupby("n").n.transform("size") > 1].reset_index(drop=True)
    back = trajectories(translocations(df))
    assert_frame_equal(back, tracked, check_dtype=False)
    assert back.attrs == df.attrs
    assert_frame_equal(trajectories(df), df)


def test_translocations_keep_other_columns_and_drop_undefined_ends():
    df = walk([3, 2]).assign(snr=np.arange(5.0), dt=7.0)
    out = translocations(df)
    assert list(out) == ["n", "x", "y", "t", "dx", "dy", "dt", "snr"]
    assert out.snr.tolist() == [0, 1, 3]
    assert (out.dt == 0.25).all()
    ends = out.copy()
    ends.loc[1, ["dx", "dy", "dt"]] = np.nan
    assert len(translocations(ends)) == 2


def test_names_of_columns():
    df = walk([3], d=3)
    assert space_columns(df) == ["x", "y", "z"]
    assert not is_translocations(df) and delta_columns(df) == []
    assert delta_columns(translocations(df)) == ["dx", "dy", "dz", "dt"]
    with pytest.raises(DataError, match="'x' and 'y'"):
        space_columns(pd.DataFrame({"x": []}))
    with pytest.raises(DataError, match="dt"):
        is_translocations(translocations(df).drop(columns="dt"))


boxes = st.tuples(*[st.floats(-0.2, 1.2)] * 6)


@settings(max_examples=60, deadline=None)
@given(tables, boxes, st.one_of(st.none(), st.tuples(st.floats(0, 2), st.floats(0, 4))))
def test_crop_follows_the_rule(df, corners, times):
    d = len(space_columns(df))
    lower, upper = np.sort(np.reshape(corners, (2, 3)), axis=0)[:, :d]
    tmin, tmax = (None, None) if times is None else (min(times), max(times))
    expected = slow_crop(df, lower, upper, *(() if times is None else (tmin, tmax)))
    for table in (df, translocations(df)):
        out = crop(table, lower, upper, tmin, tmax)
        assert out.attrs == df.attrs
        assert_frame_equal(out, expected, check_dtype=False, check_column_type=False)


@pytest.mark.oracle
@settings(max_examples=40, deadline=None)
@given(tables, boxes)
def test_crop_equals_tramway_but_for_its_lost_first_locations(df, corners):
    d = len(space_columns(df))
    lower, upper = np.sort(np.reshape(corners, (2, 3)), axis=0)[:, :d]
    mine = crop(df, lower, upper)
    theirs = xyt().crop(df, np.r_[lower, upper - lower]).drop(columns="n")
    both = mine.drop(columns="n").merge(theirs.drop_duplicates(), how="outer", indicator=True)
    assert not (both["_merge"] == "right_only").any()
    lost = both.loc[both["_merge"] == "left_only", ["x", "y", "t"]]
    # what TRamWAy loses are first locations of trajectories whose successor is outside
    firsts = df.groupby("n").head(1)[["x", "y", "t"]]
    assert len(lost.merge(firsts)) == len(lost)


def test_crop_keeps_leaving_translocations_and_splits():
    df = pd.DataFrame({"n": 5, "x": [0.5, 2.0, 0.5, 0.6, 2.0], "y": 0.5, "t": np.arange(5.0)})
    out = crop(df, (0, 0), (1, 1))
    assert out.t.tolist() == [0, 2, 3]
    assert out.n.tolist() == [5, 6, 6]
    assert crop(df, (0, 0), (1, 1), 0, 3).t.tolist() == [0, 2]
    assert crop(translocations(df), (0, 0), (1, 1), 0, 3).t.tolist() == [0, 2]


def test_crop_includes_the_bounds_and_may_be_empty():
    df = pd.DataFrame({"n": 1, "x": [1.0, 1.0], "y": [0.0, 0.5], "t": [0.1, 0.3]})
    assert len(crop(df, (1, 0), (1, 0), 0.1, 0.3)) == 1
    assert len(crop(translocations(df), (1, 0), (1, 0), 0.1, 0.3)) == 1
    empty = crop(df, (5, 5), (6, 6))
    assert list(empty) == ["n", "x", "y", "t", "dx", "dy", "dt"]
    assert empty.n.dtype == "int64" and empty.dx.dtype == float
    assert len(crop(df, (-np.inf,) * 2, (np.inf,) * 2)) == 1


@pytest.mark.parametrize(
    "box", [((0,), (1,)), ((0, 0, 0), (1, 1, 1)), ((0, 1), (1, 0)), ((0, np.nan), (1, 1))]
)
def test_crop_refuses_bad_boxes(box):
    with pytest.raises(RegionError, match="bound"):
        crop(walk([3]), *box)
    with pytest.raises(RegionError, match="tmin"):
        crop(walk([3]), (0, 0), (1, 1), 2, 1)


@pytest.mark.oracle
@settings(max_examples=40, deadline=None)
@given(tables, st.floats(0.001, 0.2), st.booleans(), st.booleans())
def test_static_filter_equals_tramway(df, min_msd, full, moving):
    table = translocations(df) if moving else df
    if not len(table):
        return
    theirs = xyt().discard_static_trajectories(table, min_msd, full_trajectory=full)
    mine = discard_static_trajectories(table, min_msd, full_trajectory=full)
    theirs = theirs.sort_values(["n", "t"]).reset_index(drop=True)
    assert_frame_equal(mine, theirs, check_dtype=False)
    assert mine.attrs == df.attrs


def test_static_fraction_and_default_threshold():
    df = translocations(walk([6, 6]))
    df.loc[:, ["dx", "dy"]] = 1.0
    df.loc[[0, 1, 5], "dx"] = df.loc[[0, 1, 5], "dy"] = 0.001
    kept = {
        r: discard_static_trajectories(df, full_trajectory=r).n.unique().tolist() for r in (0.2, 0.3, 1.0)
    }
    assert kept == {0.2: [], 0.3: [2], 1.0: [1, 2]}
    raw = trajectories(df)
    raw.attrs = {}
    with pytest.raises(SpecificationError, match="min_msd"):
        discard_static_trajectories(raw)
    with pytest.raises(SpecificationError, match="full_trajectory"):
        discard_static_trajectories(df, 0.1, full_trajectory=2.0)


@pytest.mark.oracle
@settings(max_examples=40, deadline=None)
@given(tables, st.booleans())
def test_reindex_equals_tramway(df, moving):
    table = translocations(df) if moving else df
    if not len(table):
        return
    mine = reindex_trajectories(table, dt=0.25)
    assert_frame_equal(mine, xyt().reindex_trajectories(table, dt=0.25), check_dtype=False)
    rows = translocations(mine)
    if not moving:
        assert np.allclose(rows.dt, 0.25)


def test_reindex_finds_the_interval():
    df = pd.DataFrame({"n": [1, 2, 2, 2], "x": 0.0, "y": 0.0, "t": [0.0, 0.0, 0.1, 0.3]})
    assert reindex_trajectories(df).n.tolist() == [1, 2, 2, 3]
    assert reindex_trajectories(df.iloc[:1]).n.tolist() == [1]
    with pytest.raises(DataError, match="same time"):
        reindex_trajectories(df.assign(t=0.0))
    with pytest.raises(SpecificationError, match="dt"):
        reindex_trajectories(df, dt=0)


def test_reset_origin():
    df = walk([4, 3])
    df.attrs["roi"] = {"label": "a", "bounding_box": [[(0, 0), (1, 1)]]}
    out = reset_origin(df)
    assert (out[["x", "y", "t"]].min() == 0).all()
    assert out.attrs["roi"] == {"label": "a", "bounding_box": None}
    assert df.attrs["roi"]["bounding_box"] is not None
    only = reset_origin(df, ["t"])
    assert only.t.min() == 0 and (only.x == df.x).all()
    with pytest.raises(DataError, match="no coordinate 'u'"):
        reset_origin(df, ["u"])


def test_check_puts_in_order():
    df = walk([4, 3, 2])
    mixed = df.sample(frac=1, random_state=1)[["t", "y", "x", "n"]].astype({"n": float})
    mixed["n"] = mixed["n"].astype(object)
    mixed["name"] = "a"
    out = check_trajectories(mixed, "test")
    assert list(out) == ["n", "x", "y", "t", "name"]
    assert_frame_equal(out[["n", "x", "y", "t"]], df)
    moving = translocations(df)
    assert_frame_equal(check_trajectories(moving, "test"), moving)


def _broken(kind):
    df = walk([3, 2])
    if kind == "text":
        return df.astype({"x": object}).replace({"x": {df.x[1]: "abc"}}), "row 1.*'x' holds 'abc'"
    if kind == "nan":
        return df.assign(y=[0, 0, np.nan, 0, 0]), "row 2.*'y'"
    if kind == "n":
        return df.assign(n=[1, 1, 1.5, 2, 2]), "row 2: n = 1.5.*whole"
    if kind == "twice":
        return df.assign(t=[0, 0, 1, 2, 2.0]), r"n = 1 .*t = 0 \(2 such"
    if kind == "missing":
        return df.rename(columns={"n": "N"}), "no column 'n'"
    if kind == "names":
        return df.set_axis(["n", "x", "y", "x"], axis=1).assign(t=0.0), "used twice"
    if kind == "dt":
        return translocations(df).assign(dt=[0.25, 0.0, 1]), "dt = 0"
    return (df.iloc[:0], "no rows") if kind == "empty" else ([1], "DataFrame")


@pytest.mark.parametrize("kind", ["text", "nan", "n", "twice", "missing", "names", "dt", "empty", "list"])
def test_check_says_what_is_wrong(kind):
    df, message = _broken(kind)
    with pytest.raises(DataError, match=f"my table.*{message}"):
        check_trajectories(df, "my table")
