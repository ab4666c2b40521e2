from __future__ import annotations

import os
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from tramway_dask.errors import DataError, SpecificationError
from tramway_dask.spt_data.ascii import read_ascii
from tramway_dask.spt_data.tables import translocations


def table(seed=0, lengths=(3, 1, 4), d=2):
    rng = np.random.default_rng(seed)
    n = np.repeat(np.arange(1, len(lengths) + 1), lengths)
    data = {"n": n, **{c: rng.normal(5, 2, len(n)).round(4) for c in "xyz"[:d]}}
    data["t"] = np.concatenate([np.arange(k) * 0.05 for k in lengths]).round(4)
    return pd.DataFrame(data).astype({"n": "int64"})


def write(tmp_path, text, name="a.txt", **kwargs):
    path = tmp_path / name
    path.write_text(text, **kwargs)
    return path


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 999),
    st.sampled_from(["\t", " ", "  ", ",", ";", ", "]),
    st.booleans(),
    st.permutations(["n", "x", "y", "t", "snr"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
)
def test_any_layout_gives_the_same_table(
    tmp_path_factory, seed, sep, header, order, newline, shuffled, encoding
):
    df = table(seed)
    rows = df.assign(snr=1.5, n=df.n.astype(float)).sample(
        frac=1 if shuffled else 0.999999, random_state=seed
    )
    if not shuffled:
        rows = rows.sort_index()
    lines = [sep.join(map(str, row)) for row in rows[order].itertuples(index=False)]
    names = {
        "n": "Trajectory",
        "x": "X",
        "y": "pos_y",
        "t": "time [s]" if sep in "\t,;" else "t",
        "snr": "snr",
    }
    if header:
        lines.insert(0, sep.join(names[c] for c in order))
    path = tmp_path_factory.mktemp("any") / "a.txt"
    path.write_bytes((newline.join(lines) + newline).encode(encoding))
    out = read_ascii(path) if header else read_ascii(path, columns=order)
    assert_frame_equal(out, df)


@pytest.mark.parametrize("name", ["a.trxyt", "a.rpt.txt", "a.xyt"])
@pytest.mark.parametrize("sep", ["\t", " ", "   "])
def test_headerless_nxyt(tmp_path, name, sep):
    df = table()
    lines = [sep.join(map(str, row)) for row in df.itertuples(index=False)]
    assert_frame_equal(read_ascii(write(tmp_path, "\n".join(lines), name)), df)
    assert_frame_equal(read_ascii(write(tmp_path, "\n".join(f" {line} " for line in lines), name)), df)
    assert_frame_equal(read_ascii(write(tmp_path, "\n\n".join(lines) + "\n\n", name)), df)


def test_headerless_3d(tmp_path):
    df = table(d=3)
    text = df.to_csv(sep="\t", header=False, index=False)
    path = write(tmp_path, text)
    assert_frame_equal(read_ascii(path), df)
    assert_frame_equal(read_ascii(path, columns="nxyzt"), df)
    assert_frame_equal(read_ascii(path, columns="n x y - t"), df.drop(columns="z"))
    with pytest.raises(DataError, match="columns="):
        read_ascii(write(tmp_path, df.assign(z=7.0).to_csv(sep="\t", header=False, index=False)))


def test_order_is_not_guessed(tmp_path):
    df = table(lengths=(9, 9))
    holcman = df[["n", "t", "x", "y"]].to_csv(header=False, index=False)
    with pytest.raises(DataError, match="columns="):
        read_ascii(write(tmp_path, holcman))
    assert_frame_equal(read_ascii(write(tmp_path, holcman), columns="ntxy"), df)
    with pytest.raises(DataError, match="line 1.*not a whole number.*columns="):
        read_ascii(write(tmp_path, df[["x", "y", "t", "n"]].to_csv(header=False, index=False)))


def test_header_option(tmp_path):
    df = table()
    plain = df.to_csv(sep="\t", header=False, index=False)
    assert_frame_equal(read_ascii(write(tmp_path, plain), header=False), df)
    named = "a b c d\n" + df.to_csv(sep=" ", header=False, index=False)
    assert_frame_equal(read_ascii(write(tmp_path, named), header=False), df)
    assert_frame_equal(read_ascii(write(tmp_path, named), columns="nxyt"), df)
    assert_frame_equal(read_ascii(write(tmp_path, "0 1 2 3\n" + plain), header=True, columns="nxyt"), df)
    comment = "# made by hand\n# n x y t\n" + df.to_csv(sep=" ", header=False, index=False)
    assert_frame_equal(read_ascii(write(tmp_path, comment)), df)


def test_frames_pixels_units_and_extra(tmp_path):
    text = "particle,frame,x,y,mass\n1,0,10,20,a\n1.0,2,11,21,b\n"
    path = write(tmp_path, text)
    out = read_ascii(path, dt=0.5, pixel_size=0.1, extra=["mass"])
    assert out.to_dict("list") == {
        "n": [1, 1], "x": [1.0, 1.1], "y": [2.0, 2.1], "t": [0.0, 1.0], "mass": ["a", "b"],
    }  # fmt: skip
    with pytest.raises(DataError, match=r"frames.*dt="):
        read_ascii(path)
    assert read_ascii(path, dt=0.5, columns={"m": "mass"}).columns.tolist()[-1] == "m"
    nm = write(tmp_path, "track.id,x [nm],y [nm],t (ms)\n1,1000,2000,20\n")
    assert read_ascii(nm).iloc[0].tolist() == [1, 1.0, 2.0, 0.02]
    with pytest.raises(DataError, match="nm.*pixel_size"):
        read_ascii(nm, pixel_size=0.16)
    with pytest.raises(DataError, match="pixel_size="):
        read_ascii(write(tmp_path, "n,x (pixel),y (pixel),t\n1,1,1,1\n"))
    with pytest.raises(DataError, match="line 3.*frame is 0.5"):
        read_ascii(write(tmp_path, "n,x,y,frame\n1,1,1,0\n1,1,1,0.5\n"), dt=1)


def test_decimal_comma(tmp_path):
    path = write(tmp_path, "n;x;y;t\n1;0,5;1,5;0\n1;0,25;1;0,1\n")
    assert read_ascii(path, decimal=",").x.tolist() == [0.5, 0.25]
    with pytest.raises(DataError, match=r"line 2: '0,5'.*decimal=','"):
        read_ascii(path)


def test_constant_z_is_dropped_unless_asked_for(tmp_path):
    path = write(tmp_path, "n,x,y,z,t\n1,1,2,0,0\n1,2,3,0,1\n")
    assert list(read_ascii(path)) == ["n", "x", "y", "t"]
    assert list(read_ascii(path, columns={"z": "z"})) == ["n", "x", "y", "z", "t"]


def test_duplicates(tmp_path):
    path = write(tmp_path, "1 0 0 0\n1 5 5 1\n1 6 6 1\n2 0 0 1\n")
    with pytest.raises(DataError, match=r"a\.txt: .*n = 1 .*t = 1 \(1 such.*duplicates='first'"):
        read_ascii(path)
    assert read_ascii(path, duplicates="first").x.tolist() == [0, 5, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("n x y t\n", "header.*no rows"),
        ("n x y t\n1 2 3 4\n1 2 abc 5\n", "line 3: 'abc'.*'y'"),
        ("1,2,3,4\n1,2,3x,4\n", "line 2: '3x'"),
        ("1\t2\t3\t4\n\n1\t2\tnan\t4\n", "line 3: 'y' is 'nan'"),
        ("1 2 3 4\n1 2 inf 4\n", "line 2: 'y' is 'inf'"),
        ("1 2 3 4\n1 2 3\n", "line 2: 3 columns where 4"),
        ("1 2 3 4\n1 2 3 4 5\n", "line 2: 5 columns where 4"),
        ("1,2,3,4\n1,2,3,4,5\n", "line 2: 5 columns where 4"),
        ("1  2 3 4\n1 2 3 4 5\n", "line 2: 5 columns where 4"),
        ("1 2 3\n1 2 4\n", "3 columns without a header.*columns="),
        ("x,y,t\n1,2,3\n", "no column found for 'n' among 'x', 'y', 't'"),
        ("n,particle,trajectory,X,y,t\n1,1,1,1,1,1\n", None),
        ("particle,trajectory,x,y,t\n1,1,1,1,1\n", "'particle', 'trajectory'.*columns="),
        ("id,x,y,t\n1,1,1,1\n2,1,1,1\n", "'id' is different in every row"),
        ("n,x,y,t\n1,1,1,1\nNone,1,1,1\n", "line 3.*untracked='drop'"),
        ("n,x,y,t\n1,1\n", "header has 4 names.*sep="),
        ("<xml>\n", "XML"),
    ],
)
def test_messages(tmp_path, text, message):
    path = write(tmp_path, text)
    if message is None:
        assert len(read_ascii(path)) == 1
        return
    with pytest.raises(DataError, match=message) as caught:
        read_ascii(path)
    assert "a.txt" in str(caught.value)


def test_unreadable_paths(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"b\.txt: there is no such file"):
        read_ascii(tmp_path / "b.txt")
    with pytest.raises(DataError, match="folder"):
        read_ascii(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="regular"):
        read_ascii(tmp_path / "pipe")
    with pytest.raises(DataError, match="binary"):
        read_ascii(write(tmp_path, "MATLAB\0\0"))

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        read_ascii(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "option",
    [{"dt": 0}, {"pixel_size": -1}, {"duplicates": "no"}, {"untracked": "no"}, {"sep": "ab"},
     {"decimal": ";"}, {"columns": "abc"}],
)  # fmt: skip
def test_bad_options(tmp_path, option):
    with pytest.raises(SpecificationError, match=next(iter(option))):
        read_ascii(write(tmp_path, "1 2 3 4\n"), **option)


def test_columns_must_fit(tmp_path):
    path = write(tmp_path, "n,x,y,t\n1,2,3,4\n")
    with pytest.raises(DataError, match="names 3 columns and the file has 4"):
        read_ascii(path, columns="nxy")
    with pytest.raises(DataError, match="no column 'Tracks'"):
        read_ascii(path, columns={"n": "Tracks"})
    with pytest.raises(DataError, match="column number 9"):
        read_ascii(path, columns={"n": 9})


# files, options, rows, trajectories: the counts are those of the data's own documentation
REAL = [
    ("saspt/region_0_7ms_trajs.csv", {"dt": 0.00748, "pixel_size": 0.16}, 3907, 2387),
    ("saspt/small_tracks_1.csv", {"dt": 1}, 214, 58),
    ("saspt/sample_tracks_2.csv", {"dt": 1}, 496, 100),
    ("gemspa/Traj_DMSO_AxonLeft_2h_012.csv", {"dt": 0.01, "pixel_size": 0.11}, 18129, 1267),
    ("diffmapgp/dataset004.txt", {"dt": 1 / 30}, 160772, 7529),
    ("tramway/trajectories.txt", {"columns": ["-", "n", "x", "y", "t"]}, 2358, 400),
    ("spoton_samples/standard_csv.csv", {}, 9383, 3151),
    ("spoton_samples/MOSAIC.csv", {"dt": 1}, 1957, 643),
    ("spoton_samples/evalSPT.txt", {"columns": ["x", "y", "frame", "n", *"----"], "dt": 1}, 25624, 5686),
    ("spoton_samples/TrackMate.csv", {"untracked": "drop"}, 215, 22),
    ("sptanalyser_met/Fab_CS5_cell02.tracked.csv", {"dt": 0.02}, 12465, 3552),
    ("biotracks_misc/mosaic_tracks.csv", {"dt": 1}, 181, 6),
    ("trait2d/three_tracks.csv", {}, 3000, 3),
    ("trait2d/onerealtrack.csv", {}, 3996, 1),
    ("trackmate_v7/AC0-spots_head.csv", {"dt": 0.02, "pixel_size": 0.102}, 13, 3),
    ("minflux_kinesin/minflux_head.csv", {}, 18, 4),
]


@pytest.mark.parametrize(("name", "options", "rows", "tracks"), REAL)
def test_real_files(shared_data, name, options, rows, tracks):
    df = read_ascii(shared_data / name, **options)
    assert list(df) == ["n", "x", "y", "t"]
    assert (len(df), df.n.nunique()) == (rows, tracks)
    assert df.n.dtype == "int64" and np.isfinite(df).all(axis=None)
    assert (translocations(df).dt > 0).all()


def test_real_values(shared_data):
    df = read_ascii(shared_data / "saspt/small_tracks_0.csv", dt=0.5, pixel_size=0.16)
    raw = pd.read_csv(shared_data / "saspt/small_tracks_0.csv").sort_values(["trajectory", "frame"])
    assert np.allclose(df.x, raw.x * 0.16) and np.allclose(df.y, raw.y * 0.16)
    assert np.allclose(df.t, raw.frame * 0.5)
    swift = read_ascii(shared_data / "sptanalyser_met/Fab_CS5_cell02.tracked.csv", dt=0.02)
    moves = translocations(swift)
    assert np.median(np.hypot(moves.dx, moves.dy)) == pytest.approx(0.079, abs=0.002)
    segments = read_ascii(
        shared_data / "sptanalyser_met/Fab_CS5_cell02.tracked.csv", dt=0.02, columns={"n": "seg.id"}
    )
    assert segments.n.nunique() == 3611


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tramway/trajectories.txt", "0\t1\t-0.478.*"),
        ("diffmapgp/dataset004.txt", "no column for time.*dt="),
        ("trait2d/extrack_tracked.csv", "header.*no rows"),
        ("trait2d/track1.csv", "no column found for 'n'"),
        ("spoton_samples/evalSPT.txt", "8 columns without a header.*columns="),
        ("spoton_samples/TrackMate.csv", "line 2.*57 rows of 272"),
        ("sptanalyser_met/Fab_CS5_cell02.csv", "'id' is different"),
        ("trackmate_v7/AC0-spots_head.csv", "pixel_size="),
        ("spoton_samples/anders.mat", "binary"),
        ("biotracks_misc/cellmia_tracking.txt", "no column found"),
    ],
)
def test_real_files_refused(shared_data, name, message):
    with pytest.raises(DataError, match=f"(?s){message}") as caught:
        read_ascii(shared_data / name)
    if name.startswith("tramway"):
        assert "columns=" in str(caught.value)


def test_speed_is_near_that_of_the_bare_parser(tmp_path):
    csv = pytest.importorskip("pyarrow.csv")
    df = table(lengths=(20,) * 10_000)
    path = tmp_path / "big.trxyt"
    df.to_csv(path, sep="\t", header=False, index=False)
    options = csv.ParseOptions(delimiter="\t")

    def best(f):
        f()
        times = []
        for _ in range(3):
            start = time.perf_counter()
            f()
            times.append(time.perf_counter() - start)
        return min(times)

    bare = best(lambda: csv.read_csv(path, parse_options=options).to_pandas())
    # loose: machines that run tests are shared
    assert best(lambda: read_ascii(path)) < 4 * bare + 0.05
