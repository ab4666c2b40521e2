"""What text files are recognised as: other people's files, each format's header, and any order of columns."""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import tramway_dask as td
from tramway_dask.cli import main
from tramway_dask.environments.remotefiles import RemoteFiles
from tramway_dask.errors import DataError, RegionError, SpecificationError, UnitsWarning
from tramway_dask.spt_data import from_files
from tramway_dask.spt_data.formats import Head, Recognition, look, reader, recognize
from tramway_dask.spt_data.headerless import Order, orders

PX = {"pixel_size": 0.16, "dt": 0.00748}
GEM = {"pixel_size": 0.11, "dt": 0.01}


def write(folder: Path, text: str, name: str = "a.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def steps(table: pd.DataFrame) -> np.ndarray:
    moves = table.groupby("n")[[c for c in "xyz" if c in table]].diff().dropna()
    return np.sqrt((moves**2).sum(axis=1).to_numpy())


# file, what it must be recognised as, what the user must say; localizations, trajectories, 5/50/95 % of the
# steps in µm: the numbers of the data's own documentation, to its digits (None: it has none)
REAL: list[tuple[str, str, dict[str, Any], int, int, tuple[float | None, ...]]] = [
    ("sptanalyser_met/Fab_CS5_cell02.tracked.csv", "swift", {"dt": 0.02}, 12465, 3552, (0.016, 0.079, 0.201)),
    *(
        (f"saspt/region_{i}_7ms_trajs.csv", "saSPT", PX, n, k, ())
        for i, n, k in (
            (0, 3907, 2387), (1, 5878, 3294), (4, 4173, 1997), (5, 9506, 5786), (6, 7680, 4111), (9, 6336, 3073)
        )
    ),
    *(
        (f"saspt/small_tracks_{i}.csv", "saSPT", PX, n, k, ())
        for i, n, k in ((0, 240, 46), (1, 214, 58), (2, 213, 50), (3, 230, 56))
    ),
    ("saspt/sample_tracks_2.csv", "saSPT", PX, 496, 100, ()),
    ("gemspa/Traj_DMSO_AxonLeft_2h_012.csv", "MOSAIC", GEM, 18129, 1267, ()),
    ("gemspa/Traj_DMSO_AxonLeft_2h_013.csv", "MOSAIC", GEM, 23771, 1918, ()),
    ("gemspa/Traj_DMSO_Soma_2h_001.csv", "MOSAIC", GEM, 38530, 4357, ()),
    ("gemspa/Traj_DMSO_Soma_2h_003.csv", "MOSAIC", GEM, 32121, 3543, ()),
    ("diffmapgp/dataset004.txt", "DiffMAP-GP", {"pixel_size": 1, "dt": 1 / 30}, 160_772, 7529, ()),
    ("trait2d/onerealtrack.csv", "TRAIT2D", {}, 3996, 1, (0.006, 0.026, 0.059)),
    ("trait2d/three_tracks.csv", "TRAIT2D", {}, 3000, 3, ()),
    ("spoton_samples/standard_csv.csv", "Spot-On", {}, 9383, 3151, ()),
    ("spoton_samples/MOSAIC.csv", "MOSAIC", PX, 1957, 643, ()),
    ("spoton_samples/TrackMate.csv", "TrackMate", PX, 215, 22, ()),
    ("spoton_samples/evalSPT.txt", "without header", PX, 25_624, 5686, ()),
    ("biotracks_misc/mosaic_tracks.csv", "MOSAIC", PX, 181, 6, ()),
    ("trackmate_v7/AC0-spots_head.csv", "version 7", {"pixel_size": 0.102, "dt": 0.02}, 13, 3, ()),
    ("minflux_kinesin/minflux_head.csv", "MINFLUX", {}, 18, 4, ()),
    ("tramway/trajectories.txt", "without header", {}, 2358, 400, ()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "title", "options", "rows", "tracks", "quantiles"), REAL)
def test_real_files(
    shared_data: Path, name: str, title: str, options: Any, rows: int, tracks: int, quantiles: Any
) -> None:
    path = shared_data / name
    found = recognize(path)
    assert title in found.title
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitsWarning)
        table = td.read(path, **options)
        # nothing that was given is superfluous: without it, it is asked for
        for option in options:
            with pytest.raises(DataError, match=f"{option}="):
                td.read(path, **{k: v for k, v in options.items() if k != option})
    assert list(table) == ["n", "x", "y", "t"]
    assert (len(table), table["n"].nunique()) == (rows, tracks)
    if quantiles:
        # one in the last digit: 0.02547 is written as 0.026
        assert np.percentile(steps(table), [5, 50, 95]) == pytest.approx(quantiles, abs=1e-3)


def test_every_text_file_is_in_a_test(shared_data: Path) -> None:
    listed = {
        f
        for entry in json.loads((shared_data / "manifest.json").read_text()).values()
        for f in entry["files"]
    }
    tested = {name for name, *_ in REAL} | {name for name, _ in ASKED}
    elsewhere = (".mat", ".xml", ".h5", ".xls")  # readers of their own
    assert {f for f in listed if not f.endswith(elsewhere)} - tested == {
        "bead3d_multifocal/BeadExample_Spots_CMFPT_10_10_s.txt",  # below
        "trait2d/onerealtrack_shorter.csv",
    }


def test_step_statistics_of_groups(shared_data: Path) -> None:
    for path in sorted((shared_data / "gemspa").glob("*.csv")):
        assert 0.073 <= round(float(np.median(steps(td.read(path, **GEM)))), 3) <= 0.093
    fields = [steps(td.read(p, **PX)) for p in sorted((shared_data / "saspt").glob("region*.csv"))]
    low, middle, high = np.percentile(np.concatenate(fields), [5, 50, 95])
    # of 11 fields; 6 are here
    assert (low, middle, high) == pytest.approx((0.04, 0.3, 1.07), abs=0.01)
    tramway = td.read(shared_data / "tramway/trajectories.txt")
    assert np.mean(steps(tramway) ** 2) / (4 * 0.05) == pytest.approx(0.104, abs=5e-4)
    mosaic = td.read(shared_data / "spoton_samples/MOSAIC.csv", pixel_size=0.16, dt=1)
    assert (mosaic.groupby("n")["t"].diff() > 1).sum() == 785
    minflux = td.read(shared_data / "minflux_kinesin/minflux_head.csv")
    dt = minflux.groupby("n")["t"].diff().dropna()
    assert dt.min().round(5) >= 0.47e-3 and dt.max() < 11.5e-3 and dt.max() > 10 * dt.min()


def test_bead_with_decimal_commas(shared_data: Path) -> None:
    path = shared_data / "bead3d_multifocal/BeadExample_Spots_CMFPT_10_10_s.txt"
    with pytest.raises(DataError, match="one_trajectory=True"):
        td.read(path)
    # T counts frames, which its whole numbers tell
    with pytest.raises(DataError, match=r"'T' holds whole numbers.*dt="):
        td.read(path, one_trajectory=True)
    source = from_files(path, one_trajectory=True, dt=1, columns={"z": "Z average (µm)"})[0]
    table = source.dataframe
    assert list(table) == ["n", "x", "y", "z", "t"] and len(table) == 1000
    assert "µm (stated in the file)" in source.units
    assert (table[["x", "y", "z"]].diff() ** 2).mean().round([5, 5, 4][0]).tolist() == pytest.approx(
        [0.00305, 0.00303, 0.0191], rel=5e-3
    )
    flat = from_files(path, one_trajectory=True, dt=1)[0]
    assert list(flat.dataframe) == ["n", "x", "y", "t"]
    assert any("Z average" in note for note in flat.recognition.notes)


def test_what_goes_wrong_elsewhere(shared_data: Path, tmp_path: Path) -> None:
    frames_from_1 = td.read(shared_data / "spoton_samples/evalSPT.txt", pixel_size=0.16, dt=1)
    assert (frames_from_1.t.min(), frames_from_1.t.max()) == (1, 300)
    raw = np.loadtxt(shared_data / "spoton_samples/evalSPT.txt")
    assert sorted(frames_from_1.x) == pytest.approx(sorted(raw[:, 0] * 0.16))
    unsorted = td.read(shared_data / "trackmate_v7/AC0-spots_head.csv", pixel_size=0.102, dt=0.02)
    assert (unsorted.groupby("n").t.diff().dropna() > 0).all()
    y_before_x = td.read(shared_data / "saspt/region_0_7ms_trajs.csv", **PX)
    raw = pd.read_csv(shared_data / "saspt/region_0_7ms_trajs.csv").sort_values(["trajectory", "frame"])
    assert np.allclose(y_before_x[["x", "y"]], raw[["x", "y"]] * 0.16)
    assert y_before_x.n.value_counts().median() == 1  # tracks of a point are kept
    largest = pd.read_csv(shared_data / "spoton_samples/MOSAIC.csv").NPscore.max()
    assert largest == 3.4e38
    score = td.read(shared_data / "spoton_samples/MOSAIC.csv", extra=["NPscore"], **PX).NPscore
    assert score.max() == 3.4e38  # as it is, where it is asked for
    same_ids = from_files(shared_data / "saspt/small_tracks_*.csv", **PX)
    assert [s.dataframe.n.min() for s in same_ids] == [0] * 4
    assert len(set(same_ids.aliases)) == 4
    swift = shared_data / "sptanalyser_met/Fab_CS5_cell02.tracked.csv"
    assert td.read(swift, dt=0.02, columns={"n": "seg.id"}).n.nunique() == 3611
    origin = write(tmp_path, "track,x_um,y_um,t\n1,0,0,0\n1,0,0,.5\n1,0.5,0,1\n")
    assert td.read(origin).x.tolist() == [0, 0, 0.5]


ASKED = [
    ("biotracks_misc/cellmia_tracking.txt", r"'cell row'.*columns=\{"),
    ("biotracks_misc/cellprofiler_spots.csv", r"TrackObjects_TrajectoryX_15.*columns=\{"),
    ("trait2d/extrack_tracked.csv", "header.*no rows"),
    ("trait2d/track1.csv", "one_trajectory=True"),
    ("sptanalyser_met/Fab_CS2_cell01.csv", "not linked"),
    ("sptanalyser_met/Fab_CS5_cell02.csv", "not linked"),
    ("bead3d_multifocal/log.txt", "not a format"),
    ("gemspa/conditions.txt", "no names that are known"),
]


@pytest.mark.parametrize(("name", "message"), ASKED)
def test_real_files_asked_about(shared_data: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=f"(?s){message}") as caught:
        td.read(shared_data / name)
    assert Path(name).name in str(caught.value)


def molecules(
    seed: int = 0, lengths: tuple[int, ...] = (9, 7, 8), d: int = 2, first: int = 0
) -> pd.DataFrame:
    """Return trajectories far from each other, with all of n, x, y[, z], frame and t."""
    rng = np.random.default_rng(seed)
    n = np.repeat(np.arange(1, len(lengths) + 1), lengths)
    data: dict[str, Any] = {"n": n}
    for c in "xyz"[:d]:
        walk = [rng.uniform(5, 45) + rng.normal(0, 0.2, k).cumsum() for k in lengths]
        data[c] = np.concatenate(walk).round(4)
    data["frame"] = np.concatenate([first + rng.integers(0, 5) + np.arange(k) for k in lengths])
    data["t"] = (data["frame"] * 0.02).round(4)
    return pd.DataFrame(data)


def scaled(table: pd.DataFrame, pixel_size: float = 1, dt: float | None = None) -> pd.DataFrame:
    out = table[["n", *(c for c in "xyz" if c in table)]].copy()
    for c in out.columns[1:]:
        out[c] *= pixel_size
    out["t"] = table["t"] if dt is None else table["frame"] * dt
    return out.astype({"n": "int64", "t": float})


# title, unit of lengths in µm, frames or s, and the header; what stands for what is in braces
HEADERS = [
    ("MOSAIC", "px", "frame", " ,{n}Trajectory,{frame}Frame,{x}x,{y}y,z,m0,m1,NPscore"),
    ("Spot-On", "µm", "t", ",{frame}frame,{t}t,{n}trajectory,{x}x,{y}y"),
    ("saSPT", "px", "frame", "{n}trajectory,{frame}frame,{y}y,{x}x,x_err,y_err,error_flag"),
    ("trackpy", "px", "frame", ",{y}y,{x}x,mass,size,ecc,signal,raw_mass,ep,{frame}frame,{n}particle"),
    ("palmari", "µm", "t", "{frame}frame,{x}x,{y}y,{t}t,{n}n"),
    ("FreeTrace", "px", "frame", "{n}traj_idx,{frame}frame,{x}x,{y}y,z"),
    ("AnDi", "px", "frame", "{n}traj_idx,{frame}frame,{x}x,{y}y,alpha,D,state"),
    ("TRAIT2D", "µm", "t", "{t}t,{x}x,{y}y,{n}id"),
    ("swift", "nm", "frame", '"id",{frame}"frame",{x}"x [nm]",{y}"y [nm]","jd","dt","id","seg.id",{n}"track.id"'),
    ("TrackMate", "", "frame", " ,Label,ID,{n}TRACK_ID,QUALITY,{x}POSITION_X,{y}POSITION_Y,{frame}POSITION_T"),
    ("MINFLUX", "µm", "t", "{n}track_id,{t}time,{x}x_um,{y}y_um,z_um,sigma_x_um"),
    ("DiffMAP-GP", "", "", "{n}particle#, {x}xPos, {y}yPos"),
]  # fmt: skip


@pytest.mark.parametrize(("title", "length", "clock", "header"), HEADERS, ids=[h[0] for h in HEADERS])
def test_headers_of_programs(tmp_path: Path, title: str, length: str, clock: str, header: str) -> None:
    table = molecules()
    names, values = [], []
    for field in header.split(","):
        role, _, name = field.strip(" ").rpartition("}")
        names.append(name)
        column = table.get(role.strip("{ "))
        values.append(np.arange(len(table)) if "id" in name.lower() and column is None else column)
    rows = [
        ",".join("0" if v is None else str(v.iloc[i] if hasattr(v, "iloc") else v[i]) for v in values)
        for i in range(len(table))
    ]
    path = write(tmp_path, "\n".join([",".join(names), *rows]) + "\n")
    found = recognize(path)
    assert title in found.title and found.length == length
    given: dict[str, Any] = {}
    if length not in ("µm", "nm"):
        given["pixel_size"] = 0.1
    if clock != "t":
        given["dt"] = 0.02
    for option in given:
        with pytest.raises(DataError, match=f"{option}="):
            td.read(path, **{k: v for k, v in given.items() if k != option})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitsWarning)
        got = td.read(path, **given)
    wanted = scaled(table, 1e-3 if length == "nm" else given.get("pixel_size", 1))
    if not clock:  # frames without a number are consecutive
        wanted["t"] = wanted.groupby("n").cumcount() * 0.02
    got.attrs.clear()
    assert_frame_equal(got, wanted)


def test_units_that_are_stated_are_not_scaled(tmp_path: Path) -> None:
    path = write(tmp_path, "track,x [nm],y [nm],t [ms]\n1,1000,2000,20\n1,1010,2000,40\n")
    source = from_files(path, pixel_size=0.1, dt=3)[0]
    assert source.dataframe.to_numpy().tolist() == [[1, 1.0, 2.0, 0.02], [1, 1.01, 2.0, 0.04]]
    assert source.units == "lengths in nm (stated in the file), times in ms (stated in the file)"


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("µm", 1), ("μm", 1), ("um", 1), ("?m", 1), ("micron", 1), ("nm", 1e-3), ("mm", 1e3), ("m", 1e6)],
)
def test_spellings_of_units(tmp_path: Path, unit: str, factor: float) -> None:
    path = write(tmp_path, f"track,X ({unit}),Y ({unit}),T (sec)\n1,1,2,0\n1,1,3,.5\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitsWarning)
        assert td.read(path).y.tolist() == pytest.approx([2 * factor, 3 * factor])
    assert recognize(path).stated
    with pytest.raises(DataError, match=r"'inch'.*pixel_size="):
        td.read(write(tmp_path, "track,X (inch),Y (inch),T (s)\n1,1,2,0\n"))
    with pytest.raises(DataError, match="'fortnight'"):
        td.read(write(tmp_path, "track,x_um,y_um,t (fortnight)\n1,1,2,0\n"))


def test_trackmate_7_says_its_units_in_the_fourth_line(tmp_path: Path) -> None:
    text = (
        "LABEL,ID,TRACK_ID,QUALITY,POSITION_X,POSITION_Y,POSITION_T,FRAME\nL,ID,T,Q,X,Y,T,F\nL,ID,T,Q,X,Y,T,F\n"
        ",,,(quality),(micron),(micron),(sec),\nID7,7,0,1,1.0,2.0,0.5,1\nID3,3,0,1,1.1,2.0,0.0,0\n"
        "ID9,9,None,1,5,5,0.5,1\n"
    )
    table = td.read(write(tmp_path, text))
    assert table.to_numpy().tolist() == [[0, 1.1, 2.0, 0.0], [0, 1.0, 2.0, 0.5]]
    assert table.attrs["units"] == "lengths in µm (stated in the file), times in s (stated in the file)"


def test_imaris(tmp_path: Path) -> None:
    header = "Position X,Position Y,Position Z,Unit,Category,Collection,Time,TrackID,ID\n"
    rows = "1.0,2.0,3.0,um,Spot,Position,1,1000000000,0\n1.1,2.0,3.5,um,Spot,Position,2,1000000000,1\n"
    path = write(tmp_path, f"\nPosition\n====================\n{header}{rows}")
    table = td.read(path, dt=0.5)
    assert table.to_numpy().tolist() == [
        [1_000_000_000, 1.0, 2.0, 3.0, 0.5],
        [1_000_000_000, 1.1, 2.0, 3.5, 1.0],
    ]
    assert "µm (stated in the file)" in table.attrs["units"]
    with pytest.raises(DataError, match="dt="):
        td.read(path)


def test_mtrackj(tmp_path: Path) -> None:
    text = (
        "MTrackJ 1.5.1 Data File\nAssembly 1 FF0000\nCluster 1\nTrack 1\nPoint 1 10 20 1.0 1.0 1.0\n"
        "Point 2 11 20 1.0 3.0 1.0\nCluster 2\nTrack 1\nPoint 1 50 20 1.0 2.0 1.0\nEnd of MTrackJ Data File\n"
    )
    path = write(tmp_path, text, "a.mdf")
    table = td.read(path, pixel_size=0.1, dt=0.5)
    assert table.to_numpy().tolist() == [[1, 1.0, 2.0, 0.0], [1, 1.1, 2.0, 1.0], [2, 5.0, 2.0, 0.5]]
    for text in ("MTrackJ 1", "MTrackJ\nTrack 1\nPoint 1 a b c d e\n", "MTrackJ\nTrack 1\nPoint 1 2\n"):
        with pytest.raises(DataError, match=r"a\.mdf"):
            td.read(write(tmp_path, text, "a.mdf"), pixel_size=0.1, dt=0.5)
    with pytest.raises(DataError, match="pixel_size=.*dt="):
        td.read(path)


@pytest.mark.parametrize("lines", ["", "made by me\n", "made by me\non a Monday\n"])
def test_lines_before_the_table(tmp_path: Path, lines: str) -> None:
    table = molecules()
    rows = table[["n", "t", "x", "y"]].to_csv(header=False, index=False)
    path = write(tmp_path, lines + rows)
    got = td.read(path)
    got.attrs.clear()
    assert_frame_equal(got, scaled(table))
    assert any("lines before" in note for note in recognize(path).notes) == bool(lines)
    named = write(tmp_path, lines + table[["n", "t", "x", "y"]].to_csv(index=False))
    assert len(td.read(named)) == len(table)


def test_unknown_names_are_asked_about(tmp_path: Path) -> None:
    text = molecules()[["n", "x", "y", "t"]].to_csv(index=False, header=["a", "b", "c", "d"])
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=r"(?s)'a', 'b', 'c', 'd'.*columns=\{.*First rows:\n  1,"):
        td.read(path)
    assert len(td.read(path, columns="nxyt")) == 24


def test_identifiers_that_may_number_locations(tmp_path: Path) -> None:
    table = molecules(lengths=(8, 8, 8))
    table["frame"] = np.tile(np.arange(8), 3)
    table["t"] = table["frame"] * 0.02
    named = table.rename(columns={"n": "id"})[["t", "x", "y", "id"]]
    assert td.read(write(tmp_path, named.to_csv(index=False))).n.nunique() == 3
    # the same rows by frame: 1, 2, 3 in each may be a number within the frame
    by_frame = write(tmp_path, named.sort_values(["t", "id"]).to_csv(index=False), "b.csv")
    with pytest.raises(DataError, match=r"locations of each frame.*columns=\{'n': 'id'\}"):
        td.read(by_frame)
    assert td.read(by_frame, columns={"n": "id"}).n.nunique() == 3
    distinct = named.assign(id=np.arange(24))
    with pytest.raises(DataError, match="not linked"):
        td.read(write(tmp_path, distinct.to_csv(index=False)))


def test_locations_in_no_trajectory(tmp_path: Path) -> None:
    table = molecules()
    table.loc[3, "n"] = -1
    path = write(tmp_path, table[["n", "x", "y", "t"]].to_csv(index=False))
    with pytest.raises(DataError, match="-1 in 1 rows of 24.*untracked='drop'"):
        td.read(path)
    assert (td.read(path, untracked="drop").n > 0).all()
    with pytest.raises(DataError, match="so large"):
        td.read(write(tmp_path, f"n,x,y,t\n{2**60},1,1,0\n{2**60 + 1},1,1,0.5\n"))


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "latin-1")
NAMES = {
    "n": ["trajectory", "TRACK_ID", "particle", "track.id", "traj_idx", "Track ID"],
    "x": ["x", "POSITION_X", "Position X", "x_pos"],
    "y": ["y", "POSITION_Y", "Position Y", "y_pos"],
    "frame": ["frame", "FRAME", "Frame number", "t_stamp"],
    "t": ["t", "time", "POSITION_T", "Timestamp"],
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_table_with_names_is_read_right(tmp_path: Path, data: Any) -> None:
    draw = data.draw
    clock = draw(st.sampled_from(["frame", "t"]))
    table = molecules(draw(st.integers(0, 99)), first=draw(st.sampled_from([0, 1, 100])))
    table["snr"] = 1.5
    sep = draw(st.sampled_from([",", ";", "\t", ", "]))
    comma = "," not in sep and draw(st.booleans())
    order = draw(st.permutations(["n", "x", "y", clock, "snr"]))
    unit, factor = draw(
        st.sampled_from([("", None), (" [nm]", 1e-3), (" (µm)", 1), ("_um", 1), (" (pixel)", None)])
    )
    names = {role: draw(st.sampled_from(found)) for role, found in NAMES.items()} | {"snr": "snr"}
    if unit == "_um":
        names |= {"x": "x", "y": "y"}
    names |= {c: names[c] + unit for c in "xy"}
    rows = table[order].sample(frac=1, random_state=draw(st.integers(0, 9)))
    text = sep.join(names[c] for c in order) + "\n"
    text += (
        rows.astype(float)
        .map(repr)
        .agg(sep.join, axis=1)
        .str.cat(sep="\n")
        .replace(".", "," if comma else ".")
    )
    path = write(tmp_path, text + "\n", encoding=draw(st.sampled_from(ENCODINGS)))
    options = {"pixel_size": 0.1, "dt": 0.02}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitsWarning)
        got = td.read(path, **options)
    assert_frame_equal(got, scaled(table, 0.1 if factor is None else factor), check_exact=False)
    # without units, only what is written with its time may be taken for µm
    if factor is None and (clock == "frame" or unit):
        with pytest.raises(DataError, match="pixel_size="):
            td.read(path, dt=0.02)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_table_without_names_is_read_right_or_asked_about(tmp_path: Path, data: Any) -> None:
    draw = data.draw
    lengths = tuple(draw(st.lists(st.integers(1, 12), min_size=1, max_size=8)))
    clock = draw(st.sampled_from(["t", "frame"]))
    table = molecules(draw(st.integers(0, 99)), lengths, first=draw(st.sampled_from([0, 1, 100])))
    if draw(st.booleans()):
        table["n"] = draw(st.permutations(range(10, 10 + len(lengths))))[0] + table["n"] * 3
    by = draw(st.sampled_from(["trajectory", "frame", "nothing"]))
    if by == "frame":
        table = table.sort_values(["frame", "n"])
    elif by == "nothing":
        table = table.sample(frac=1, random_state=draw(st.integers(0, 9)))
    more = draw(st.lists(st.sampled_from(["index", "photons", "brightness", "state", "zero"]), unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    columns = table.assign(
        index=np.arange(len(table)),
        photons=rng.normal(900, 90, len(table)).round(2),
        brightness=(table["n"] * 50 + rng.normal(0, 5, len(table))).round(2),
        zero=0,
        state=rng.integers(0, 2, len(table)),
    )
    # x stands before y: nothing tells them apart
    order = draw(st.permutations(["n", "x", "y", clock, *more]).filter(lambda o: o.index("x") < o.index("y")))
    sep = draw(st.sampled_from([",", ";", "\t", " "]))
    comma = sep != "," and draw(st.booleans())
    text = columns[order].to_csv(sep=sep, header=False, index=False, decimal="," if comma else ".")
    path = write(tmp_path, text, encoding=draw(st.sampled_from(ENCODINGS)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitsWarning)
        try:
            got = td.read(path, pixel_size=0.1, dt=0.02)
        except DataError as error:
            told = str(error)
        else:
            told = ""
    if told:
        assert "columns=" in told
        assert "First rows" in told
        return
    wanted = scaled(table, 0.1).sort_values(["n", "t"]).reset_index(drop=True)
    assert_frame_equal(got, wanted, check_exact=False)
    assert by == "trajectory" or len(lengths) == 1 or (table["n"].diff() != 0).sum() == len(lengths)


@pytest.mark.parametrize("order", ["nxyt", "ntxy", "xytn", "txyn", "tnxy"])
@pytest.mark.parametrize("clock", ["t", "frame"])
def test_plain_orders_need_not_be_said(tmp_path: Path, order: str, clock: str) -> None:
    table = molecules(lengths=(9, 1, 8, 2, 7))
    columns = [clock if c == "t" else c for c in order]
    path = write(tmp_path, table[columns].to_csv(sep="\t", header=False, index=False), "a.txt")
    options = {} if clock == "t" else {"pixel_size": 0.1, "dt": 0.02}
    got = td.read(path, **options)
    assert_frame_equal(got, scaled(table, options.get("pixel_size", 1)), check_exact=False)
    assert f"columns, as their numbers tell: {', '.join(columns)}" in recognize(path).notes


def test_what_only_looks_like_trajectories(tmp_path: Path) -> None:
    table = molecules(lengths=(9, 8, 9, 8))
    by_frame = table.sort_values(["frame", "n"])
    # molecules in frames look like frames of molecules, but for the lengths of steps
    path = write(tmp_path, by_frame[["frame", "x", "y", "n"]].to_csv(header=False, index=False))
    with pytest.raises(DataError, match=r"may be read as .* or .*First rows"):
        td.read(path, pixel_size=0.1, dt=0.02)
    three = molecules(d=3)[["n", "x", "y", "z", "t"]]
    path = write(tmp_path, three.to_csv(header=False, index=False))
    with pytest.raises(DataError, match="columns='nxyzt' or columns='nxy-t'"):
        td.read(path)
    assert list(td.read(path, columns="nxyzt")) == ["n", "x", "y", "z", "t"]
    ms = table.assign(t=table["frame"] * 20)[["n", "x", "y", "t"]]
    path = write(tmp_path, ms.to_csv(header=False, index=False))
    with pytest.raises(DataError, match=r"multiples of 20.*columns=\['n', 'x', 'y', 't \[ms\]'\]"):
        td.read(path, pixel_size=1, dt=0.02)
    got = td.read(path, columns=["n", "x", "y", "t [ms]"])
    assert got.t.max() == pytest.approx(table.t.max())
    one = table[table.n == 1][["x", "y", "t"]]
    path = write(tmp_path, one.to_csv(header=False, index=False))
    with pytest.raises(DataError, match="one_trajectory=True"):
        td.read(path)
    long = molecules(lengths=(30,))[["x", "y", "t"]].to_csv(header=False, index=False)
    assert td.read(write(tmp_path, long, "a.xyt")).n.tolist() == [1] * 30


def test_rule_must_hold_for_the_whole_file(tmp_path: Path) -> None:
    table = molecules(lengths=(20,) * 250)
    assert len(table[["n", "x", "y", "t"]].to_csv(header=False, index=False)) > 1 << 16
    broken = pd.concat([table, table.iloc[:1]])
    path = write(tmp_path, broken[["n", "x", "y", "t"]].to_csv(header=False, index=False))
    with pytest.raises(DataError, match=r"(?s)further down.*columns=.*First rows"):
        td.read(path)


def test_orders_of_a_single_trajectory() -> None:
    values = molecules(lengths=(15,))[["t", "x", "y", "n"]].to_numpy()
    assert orders(values) == ([Order(("t", "x", "y", "n"))], True)
    assert orders(values[:5]) == ([Order(("t", "x", "y", "n"))], False)
    assert orders(np.full((9, 4), np.nan)) == ([], False)


def test_steps_too_small_or_large(tmp_path: Path) -> None:
    table = molecules()
    nm = table.assign(x=table.x * 1000, y=table.y * 1000)[["n", "x", "y", "t"]]
    path = write(tmp_path, nm.to_csv(header=False, index=False))
    with pytest.warns(UnitsWarning, match=r"median step is \d+.* µm; lengths in µm \(assumed\).*pixel_size="):
        td.read(path)
    assert len(td.read(path, pixel_size=0.001)) == len(table)
    with pytest.warns(UnitsWarning):
        td.read(path, pixel_size=1e-7)


def test_values_by_file(tmp_path: Path) -> None:
    table = molecules()
    for name in ("a_60x.csv", "b_60x.csv", "c_100x.csv"):
        write(
            tmp_path,
            as_trackpy(table),
            name,
        )
    data = from_files(
        tmp_path / "*.csv",
        pixel_size={"*_60x.csv": 0.1, "c_100x": 0.05, "b_60x.csv": 0.2},
        dt=lambda path: 0.01 if "100x" in path else 0.02,
        localization_precision={"*": 0.03},
    )
    assert [s.options["pixel_size"] for s in data] == [0.1, 0.2, 0.05]
    assert [s.dataframe.x[0] / table.x[0] for s in data] == pytest.approx([0.1, 0.2, 0.05])
    assert [s.frame_interval for s in data] == pytest.approx([0.02, 0.02, 0.01])
    assert data.localization_precision == 0.03
    assert len({s.content_fingerprint() for s in data}) == 3
    later = from_files(tmp_path / "a*.csv", pixel_size=0.1)
    with pytest.raises(DataError, match="dt="):
        later[0].check_readable()
    later.frame_interval = 0.5
    assert later.dataframe.t.max() == table.frame.max() * 0.5
    with pytest.raises(SpecificationError, match="'d.csv' is the name of no file"):
        from_files(tmp_path / "*.csv", dt={"d.csv": 1})
    with pytest.raises(SpecificationError, match="several patterns"):
        from_files(tmp_path / "*.csv", dt={"a*": 1, "*60x*": 2})
    with pytest.raises(SpecificationError, match="pixel_size.*above 0"):
        from_files(tmp_path / "*.csv", pixel_size={"a*": 0})
    with pytest.raises(SpecificationError, match="did you mean 'columns'"):
        from_files(tmp_path / "*.csv", colums="nxyt")
    with pytest.raises(SpecificationError, match="unknown format 'txt'"):
        from_files(tmp_path / "*.csv", reader="txt")


def as_trackpy(table: pd.DataFrame) -> str:
    return table.rename(columns={"n": "particle"})[["particle", "frame", "x", "y"]].to_csv(index=False)


CONFIG = """
results = "out"
[spt_data.from_files]
pattern = "*.csv"
dt = 0.02
[spt_data.from_files.pixel_size]
"a.csv" = 0.1
[tesseller]
type = "Hexagons"
resolution = 2
[mapper]
type = "D"
[[stages]]
stage = "tessellate_and_infer"
map_label = "d"
"""


def test_units_are_told_everywhere(tmp_path: Path) -> None:
    table = molecules()
    write(tmp_path, as_trackpy(table))
    write(tmp_path, table[["n", "x", "y", "t"]].to_csv(header=False, index=False), "b.csv")
    write(
        tmp_path,
        as_trackpy(table),
        "c.csv",
    )
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)

    def call(*arguments: Any, code: int = 0) -> str:
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        assert result.exit_code == code, result.output
        return result.output

    px = "trackpy table, lengths in px of 0.1 µm (given), times in frames of 0.02 s (given)"
    um = "text without header, lengths in µm (assumed), times in s (assumed)"
    planned = call("plan", config)
    assert f"1 source: {px}" in planned and f"1 source: {um}" in planned
    assert "pixel_size=" in " ".join(planned.split())  # what is lacking is said before the run
    told = call("run", config, "--quiet", code=1)
    assert f"1 source: {px}" in told and f"1 source: {um}" in told and "1 failed" in told
    recorded = json.loads((tmp_path / "out/run.json").read_text())["sources"]
    assert recorded["a"]["read_as"] == px and recorded["b"]["read_as"] == um
    from tramway_dask.plot import folder
    from tramway_dask.results import Store

    notes: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "add_note", lambda ax, text: notes.append(" ".join(text.split())))
        folder.results(Store(tmp_path / "out"), "d", out_dir=tmp_path / "pictures")
    assert notes == [px, um]
    shown = call("info", tmp_path / "a.csv", "--pixel-size", "0.1", "--dt", "0.02")
    assert "trackpy table" in shown and "24 localizations, 3 trajectories" in shown
    assert "0.02 s (given)" in shown and "first rows" in shown and "n = 'particle'" in shown
    assert "reader 'ascii'" in call("info", tmp_path / "b.csv", "--format", "ascii", "--columns", "nxyt")
    lacking = call("info", tmp_path / "a.csv", code=2)
    assert "trackpy table" in lacking and "pixel_size=" in lacking and "dt=" in lacking


class Cluster:
    """A connection whose far end is a folder of this computer, seen under another name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []

    def login_node(self) -> tuple[str, None]:
        return "far", None

    def connection(self) -> tuple[Cluster, None]:
        return self, None

    def mapped(self, path: str, username: None) -> str:
        return path.replace("/far/away", str(self.folder))

    def run(self, script: str, *, input: str, **_: Any) -> subprocess.CompletedProcess[str]:
        self.asked.append(script)
        return subprocess.run(["bash", "-c", script], input=input, capture_output=True, text=True, check=True)

    def download(self, path: str, local: Path) -> None:
        shutil.copyfile(path, local)

    def call(self, done: Any) -> Any:
        return done


def test_files_of_a_cluster_are_recognised_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = molecules()
    write(tmp_path, as_trackpy(table))
    large = molecules(lengths=(20,) * 300)[["n", "x", "y", "t"]].to_csv(header=False, index=False)
    assert len(large) > 1 << 16
    write(tmp_path, large, "b.csv")
    cluster = Cluster(tmp_path)
    files = RemoteFiles(cluster)  # type: ignore[arg-type]
    a = td.RWAnalyzer()
    monkeypatch.setattr(td.RWAnalyzer, "elsewhere", lambda self: files)
    a.spt_data.from_files("/far/away/*.csv", pixel_size={"a.csv": 0.1}, dt=0.02)
    assert a.spt_data.aliases == ["a", "b"]
    a.spt_data.refresh()
    asked = len(cluster.asked)
    assert [s.recognition.title for s in a.spt_data] == ["trackpy table", "text without header"]
    assert a.spt_data[0].units == "lengths in px of 0.1 µm (given), times in frames of 0.02 s (given)"
    assert a.spt_data[1].units == "lengths in µm (assumed), times in s (assumed)"
    assert len(cluster.asked) == asked  # the beginnings of all files came in one command
    got = a.spt_data[0].dataframe
    assert_frame_equal(got, scaled(table, 0.1, 0.02), check_exact=False)
    assert len(a.spt_data[1].dataframe) == 6000
    (tmp_path / "b.csv").unlink()
    with pytest.raises(DataError, match=r"b\.csv on far: it is gone"):
        _ = RemoteFiles(cluster).head(str(tmp_path / "b.csv"))  # type: ignore[arg-type]


def test_manifest_of_files_of_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = tmp_path / "far"
    far.mkdir()
    table = molecules()
    for name in ("a.csv", "b.csv"):
        write(far, as_trackpy(table), name)
    write(far, "x min\tx max\ty min\ty max\n0\t2.5\t0\t5\n", "cell.txt")
    write(far, "no table", "notes.pdf")
    manifest = write(
        tmp_path,
        "file,condition,dt,pixel_size,roi\n/far/away/a.csv,wild,0.02,0.1,/far/away/cell.txt\n/far/away/b*,drug,0.04,0.2,\n",
        "manifest.csv",
    )
    files = RemoteFiles(Cluster(far))  # type: ignore[arg-type]
    monkeypatch.setattr(td.RWAnalyzer, "elsewhere", lambda self: files)
    a = td.RWAnalyzer()
    a.spt_data.from_manifest(manifest)
    assert [(s.name, s.condition, s.elsewhere) for s in a.spt_data] == [
        ("a", "wild", True),
        ("b", "drug", True),
    ]
    assert_frame_equal(a.spt_data[0].dataframe, scaled(table, 0.1, 0.02), check_exact=False)
    assert_frame_equal(a.spt_data[1].dataframe, scaled(table, 0.2, 0.04), check_exact=False)
    [region] = a.spt_data[0].roi.as_support_regions()
    assert region.bounding_box[1].tolist() == [2.5, 5]
    assert "px of 0.2 µm (given)" in a.spt_data[1].described()
    # what accompanies files there is left out as it is here
    b = td.RWAnalyzer()
    b.spt_data.from_files("/far/away/*", exclude="cell.txt", pixel_size=0.1, dt=0.02)
    assert b.spt_data.aliases == ["a", "b"]
    assert {Path(p).name: why for p, why in b.spt_data.left_out.items()} == {
        "cell.txt": "excluded",
        "notes.pdf": "a document",
    }
    write(tmp_path, "file,roi\n/far/away/a.csv,/far/away/none.txt\n", "manifest.csv")
    c = td.RWAnalyzer()
    c.spt_data.from_manifest(manifest)
    with pytest.raises(RegionError, match=r"manifest\.csv, line 2, column 'roi': .*none\.txt on far"):
        len(c.spt_data)
    # where nothing is looked at, what is assumed is told nevertheless
    d = td.RWAnalyzer()
    d.spt_data.from_ascii_files("/far/away/a.csv", dt=0.02)
    assert d.spt_data[0].described() == (
        "read as 'ascii', lengths in µm (assumed), times in frames of 0.02 s (given), where the file states no other"
    )


def test_formats_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tramway_dask.spt_data import formats

    monkeypatch.setattr(formats, "_formats", dict(formats._formats))

    def mine(head: Head) -> Recognition | None:
        return Recognition("mine", "my own", "µm", "s") if head.data.startswith(b"n,x,y,t,mine") else None

    @reader("mine", recognize=mine)
    def read_mine(path: str, *, twice: bool = False) -> pd.DataFrame:
        return pd.DataFrame({"n": [1, 1], "x": [0.0, 0.5], "y": [0.0, 0.1], "t": [0.0, 1.0 + twice]})

    path = write(tmp_path, "n,x,y,t,mine\n1,1,1,1,1\n")
    assert td.read(path, twice=True).t.tolist() == [0, 2]
    assert recognize(path).title == "my own" and look(path).complete
    assert "mine" in formats.formats()


def test_what_is_no_file_of_trajectories(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv: the file is empty"):
        td.read(write(tmp_path, ""))
    for text in ("\n\n", "Dear reader,\nthis is a letter.\n", "1 2\n3 4\n", "{}", "a,b,c\n", "1,2,3\n"):
        with pytest.raises(DataError, match=r"a\.csv"):
            td.read(write(tmp_path, text))
    with pytest.raises(DataError, match="columns= names 3 columns and the file has 4"):
        td.read(write(tmp_path, "n,x,y,t\n1,1,1,1\n"), columns="nxy")
    for wrong in ({"sep": "ab"}, {"decimal": ";"}, {"columns": "abc"}, {"untracked": "no"}):
        with pytest.raises(SpecificationError, match=next(iter(wrong))):
            td.read(write(tmp_path, "n,x,y,t\n1,1,1,0.5\n"), **wrong)
