"""Readers of structured files: TrackMate XML, HDF5 of several programs, MATLAB arrays and cells, parquet."""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
from pandas.testing import assert_frame_equal

from tramway_dask.errors import DataError, MissingDependencyError, SpecificationError
from tramway_dask.spt_data import read
from tramway_dask.spt_data.formats import Head, look, recognize
from tramway_dask.spt_data.hdf5tables import read_hdf5, read_hdf5_localizations
from tramway_dask.spt_data.mat import read_mat
from tramway_dask.spt_data.parquet import read_parquet
from tramway_dask.spt_data.trackmate import read_trackmate

COLUMNS = ["n", "x", "y", "t"]


def steps(df):
    return df.groupby("n")[["x", "y", "t"]].diff().dropna()


def full_xml(spots, tracks, kept=None, units=("µm", "sec"), head=""):
    """Write ``(id, frame, x, y, visible)`` and ``{track: [(source, target)]}`` as TrackMate does."""
    listed = "".join(
        f'<Spot ID="{i}" FRAME="{f}" POSITION_X="{x}" POSITION_Y="{y}" POSITION_Z="0" POSITION_T="{f * 0.5}" '
        f'QUALITY="{i / 2}" VISIBILITY="{int(v)}"/>'
        for i, f, x, y, v in spots
    )
    edges = "".join(
        f'<Track TRACK_ID="{n}">'
        + "".join(f'<Edge SPOT_SOURCE_ID="{a}" SPOT_TARGET_ID="{b}"/>' for a, b in links)
        + "</Track>"
        for n, links in tracks.items()
    )
    filtered = "" if kept is None else "".join(f'<TrackID TRACK_ID="{n}"/>' for n in kept)
    filtered = "" if kept is None else f"<FilteredTracks>{filtered}</FilteredTracks>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}<TrackMate version="7"><Log>{"x" * 70000}</Log>'
        f'<Model spatialunits="{units[0]}" timeunits="{units[1]}"><AllSpots>{listed}</AllSpots>'
        f"<AllTracks>{edges}</AllTracks>{filtered}</Model></TrackMate>"
    )


#      frame: 0  1  2  3  4       track 7: 1-2, then 2 splits into 3-5 and 4-6, which merge in 8
SPOTS = [
    (1, 0, 0.0, 0.0, True), (2, 1, 0.1, 0.0, True), (3, 2, 0.2, 0.1, True), (4, 2, 0.2, -0.1, True),
    (5, 3, 0.3, 0.1, True), (6, 3, 0.3, -0.1, True), (8, 4, 0.4, 0.0, True), (9, 0, 5.0, 5.0, True),
    (10, 2, 5.1, 5.0, True), (11, 0, 9.0, 9.0, True), (12, 4, 5.2, 5.0, False),
]  # fmt: skip
TRACKS = {7: [(2, 1), (2, 3), (2, 4), (3, 5), (4, 6), (5, 8), (6, 8)], 3: [(9, 10), (10, 12)]}


def test_full_xml_is_cut_where_tracks_branch(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(full_xml(SPOTS, TRACKS, [7, 3]), encoding="utf-8")
    df = read_trackmate(path, extra=["QUALITY", "track", "parent", "heir"])
    # the link to a hidden spot is left out, and so is the spot in no track
    assert len(df) == 9
    by = {tuple(g.QUALITY * 2): g for _, g in df.groupby("n")}
    assert set(by) == {(1, 2), (3, 5), (4, 6), (8,), (9, 10)}
    n = {spots: g.n.iloc[0] for spots, g in by.items()}
    for branch in ((3, 5), (4, 6)):
        assert set(by[branch].parent) == {n[1, 2]}
        assert set(by[branch].heir) == {n[8,]}
    for spots in ((1, 2), (8,), (9, 10)):
        assert set(by[spots].parent) == {0}
    assert set(df.track) == {7, 3}
    np.testing.assert_allclose(by[9, 10].t, [0, 1.0])  # a gap; seconds of the file
    assert "z" not in df
    assert read_trackmate(path, untracked="keep").n.nunique() == 6
    assert read_trackmate(path, time="frame", dt=0.02).t.max() == pytest.approx(0.08)
    for options, match in (
        ({"dt": 0.02}, "0.5 s apart.*time='frame'"),
        ({"pixel_size": 0.1}, "in µm.*leave"),
    ):
        with pytest.raises(DataError, match=match):
            read_trackmate(path, **options)
    with pytest.raises(SpecificationError, match="tracks"):
        read_trackmate(path, tracks="some")

    path.write_text(full_xml(SPOTS, TRACKS, [3]), encoding="utf-8")
    assert len(read_trackmate(path)) == 2
    assert len(read_trackmate(path, tracks="all")) == 9
    # the model stands behind 64 kB of log
    assert recognize(path).length == "µm"
    assert recognize(path).timed


def test_xml_that_contradicts_itself(tmp_path):
    path = tmp_path / "a.xml"
    for tracks, match in (
        ({1: [(1, 99)]}, "spot 99, which the file does not have"),
        ({1: [(3, 4)]}, "join locations of the same time"),
        ({1: [(1, 2), (1, 2)]}, "same link twice"),
        ({}, "untracked='keep'"),
    ):
        path.write_text(full_xml(SPOTS, tracks), encoding="utf-8")
        with pytest.raises(DataError, match=match):
            read_trackmate(path)
    path.write_text(full_xml([*SPOTS, SPOTS[0]], TRACKS), encoding="utf-8")
    with pytest.raises(DataError, match="two spots have the ID 1"):
        read_trackmate(path)
    path.write_text(full_xml(SPOTS, TRACKS, units=("pixel", "sec")))
    with pytest.raises(DataError, match="pixel_size=.*dt="):
        read(path)
    with pytest.raises(DataError, match="frame interval in s: dt="):
        read_trackmate(path, pixel_size=0.1)


def test_no_entity_is_expanded(tmp_path):
    path = tmp_path / "a.xml"
    (tmp_path / "secret").write_text("secret")
    bomb = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(30))
    for dtd in (
        f'<!DOCTYPE TrackMate [<!ENTITY l0 "lol">{bomb}]>',
        f'<!DOCTYPE TrackMate [<!ENTITY e SYSTEM "{(tmp_path / "secret").as_uri()}">]>',
        f'<!DOCTYPE TrackMate SYSTEM "{(tmp_path / "secret").as_uri()}">',
    ):
        path.write_text(full_xml(SPOTS, TRACKS, head=dtd), encoding="utf-8")
        with pytest.raises(DataError, match="not XML|not an XML|document type"):
            read_trackmate(path)
        with pytest.raises(DataError, match="not a format"):
            recognize(path)


@pytest.mark.parametrize(
    "number, spots, in_tracks, tracks, pieces",
    [("v3_example1", 243, 233, 4, 13), ("example2", 133, 133, 5, 5)],
)
def test_real_full_xml(shared_data, number, spots, in_tracks, tracks, pieces):
    path = shared_data / "trackmate_xml" / f"FakeTracks_{number}.xml"
    with pytest.raises(DataError, match="pixel_size=.*dt="):
        read(path)
    df = read_trackmate(path, pixel_size=0.1, dt=0.02, extra=["track", "parent", "heir", "POSITION_T"])
    assert len(df) == in_tracks
    assert df.track.nunique() == tracks
    assert df.n.nunique() == df.n.max() == pieces
    np.testing.assert_allclose(df.t, df.POSITION_T * 0.02)
    loose = read_trackmate(path, pixel_size=0.1, dt=0.02, untracked="keep")
    assert len(loose) == spots
    assert loose.n.nunique() == pieces + spots - in_tracks
    if number == "example2":
        return
    # 230 links, of which those at 3 splits and 2 merges are cut: two each
    first = df.groupby("n")[["parent", "heir"]].first()
    assert (first.parent > 0).sum() == 2 * 3
    assert (first.heir > 0).sum() == 2 * 2
    assert len(steps(df)) == 230 - 2 * 3 - 2 * 2


def test_real_simple_xml(shared_data, tmp_path):
    path = shared_data / "spoton_samples" / "TrackMate.xml"
    with pytest.raises(DataError, match="frame interval of 0.001 frame, which is no time; .*dt="):
        read(path)
    df = read(path, dt=0.01)
    assert (len(df), df.n.nunique()) == (215, 22)
    np.testing.assert_allclose(df.iloc[0][["x", "y", "t"]], [10.873488033418585, 4.617472118777522, 0.15])
    # the same with units that are right
    stated = path.read_text().replace('timeUnits="frame"', 'timeUnits="sec"')
    (tmp_path / "a.xml").write_text(stated)
    np.testing.assert_allclose(read(tmp_path / "a.xml").t, df.t / 10)
    with pytest.raises(DataError, match="0.001 s apart.*not dt = 0.01"):
        read(tmp_path / "a.xml", dt=0.01)


@pytest.mark.parametrize(
    "cell, rows, tracks, segments", [("CS2_cell01", 9965, 142, 161), ("CS5_cell02", 5021, 84, 104)]
)
def test_sptanalyser(shared_data, cell, rows, tracks, segments):
    path = shared_data / "sptanalyser_met" / f"Fab_{cell}.h5"
    df = read(path)
    assert df.attrs["units"].startswith("lengths in µm (stated in the file), times in s (stated")
    assert (len(df), df.n.nunique()) == (rows, tracks)
    cut = read(path, by="segment")
    assert (len(cut), cut.n.nunique()) == (rows, segments)
    # the program's own diffusion coefficients: a line through the first four lags of each segment
    with h5py.File(path) as file:
        stored = file["diffusion/diffusionInfos"][()].ravel()
    segment = next(g for n, g in cut.groupby("n") if n == stored[stored.dtype.names[0]][0])
    frame = np.rint(segment.t / 0.02).astype(int).to_numpy()
    at = {f: p for f, p in zip(frame, segment[["x", "y"]].to_numpy(), strict=True)}
    msd = [
        np.mean([((at[f + lag] - p) ** 2).sum() for f, p in at.items() if f + lag in at])
        for lag in (1, 2, 3, 4)
    ]
    slope = np.polyfit(0.02 * np.arange(1, 5), msd, 1)[0]
    assert slope / 4 == pytest.approx(stored[stored.dtype.names[1]][0], rel=1e-9)
    with pytest.raises(DataError, match="0.02 s apart"):
        read_hdf5(path, dt=0.01)


def table():
    rng = np.random.default_rng(0)
    n, t = np.repeat([1, 2, 3], 8), np.tile(np.arange(1.0, 9), 3)
    x, y = rng.normal(0, 0.1, (2, 24))
    return pd.DataFrame({"n": n, "x": 2.0 * n + x, "y": y, "t": t * 0.02})


def pixels(df):
    return df.assign(x=df.x / 0.13, y=df.y / 0.13, frame=np.rint(df.t / 0.02).astype(np.uint32)).drop(
        columns="t"
    )


def test_picasso(tmp_path):
    df = table()
    path = tmp_path / "a_locs.hdf5"
    locs = pixels(df).rename(columns={"n": "track_id"}).assign(lpx=0.1, lpy=0.1, photons=100.0, z=50.0)

    def save(locs):
        with h5py.File(path, "w") as file:
            file["locs"] = locs.to_records(index=False)

    save(locs)
    with pytest.raises(DataError, match=r"a_locs\.yaml.*pixel_size="):
        read(path, dt=0.02)
    assert_frame_equal(read(path, dt=0.02, pixel_size=0.13)[COLUMNS], df, check_like=True)
    path.with_suffix(".yaml").write_text(
        "Byte Order: <\nFrames: 9\n---\nPixelsize: 130\nGenerated by: Picasso\n"
    )
    out = read(path, dt=0.02)
    assert_frame_equal(out[COLUMNS], df, check_like=True)
    np.testing.assert_allclose(out.z, 0.05)
    assert "px of 0.13 µm" in out.attrs["units"] or recognize(path).options["pixel_size"] == 0.13
    path.with_suffix(".yaml").write_text("Pixelsize: 130\n---\nPixelsize: 160\n")
    with pytest.raises(DataError, match=r"states the pixel sizes \[130.0, 160.0\]"):
        read(path, dt=0.02)
    path.with_suffix(".yaml").write_text("[" * 300)
    with pytest.raises(DataError, match="cannot be read"):
        read(path, dt=0.02)
    path.with_suffix(".yaml").write_text("Pixelsize: 130\n")

    save(locs.rename(columns={"track_id": "group"}))
    with pytest.raises(DataError, match="picked areas.*track='group'"):
        read(path, dt=0.02)
    assert_frame_equal(read(path, dt=0.02, track="group")[COLUMNS], df, check_like=True)

    save(locs.drop(columns="track_id"))
    known = recognize(path)
    assert not known.linked
    assert "from_localizations" in known.notes[0]
    with pytest.raises(DataError, match="not linked in trajectories"):
        read_hdf5(path, dt=0.02)
    found = read_hdf5_localizations(path)
    np.testing.assert_allclose(found.x, df.x)
    np.testing.assert_allclose(found.precision, 0.013)
    assert list(found.frame) == list(locs.frame)


def test_localizations_of_other_programs(tmp_path):
    df = table()
    frame = np.rint(df.t / 0.02)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["data/xyz"] = np.column_stack([df.x / 0.13, df.y / 0.13, 0 * df.x])
        file["data/frame_ix"] = frame.to_numpy()
        file.create_group("meta").attrs.update(xy_unit="px", px_size=[130.0, 130.0])
    with h5py.File(tmp_path / "s_sml.mat", "w", userblock_size=512) as file:
        for name, values in (("xnm", df.x * 1000), ("ynm", df.y * 1000), ("frame", frame)):
            file[f"saveloc/loc/{name}"] = values.to_numpy()[None]
    with h5py.File(tmp_path / "sa.hdf5", "w") as file:
        file.attrs["pixel_size"] = 130.0
        for f, g in df.groupby(frame):
            file[f"fr_{f:.0f}/x"], file[f"fr_{f:.0f}/y"] = g.x / 0.13, g.y / 0.13
    for name, title in (("d.h5", "DECODE"), ("s_sml.mat", "SMAP"), ("sa.hdf5", "storm-analysis")):
        path = tmp_path / name
        known = recognize(path)
        assert title in known.title
        assert not known.linked
        found = read_hdf5_localizations(path).sort_values(["frame", "x"])
        expected = df.assign(frame=frame).sort_values(["frame", "x"])
        np.testing.assert_allclose(found[["frame", "x", "y"]], expected[["frame", "x", "y"]])
        with pytest.raises(DataError, match="not linked in trajectories"):
            read_hdf5(path)
    with h5py.File(tmp_path / "u.h5", "w") as file:
        file["other"] = 1
    with pytest.raises(DataError, match="it has other at its root"):
        read(tmp_path / "u.h5")


@pytest.mark.parametrize(
    "order", [["x", "y", "frame", "n"], ["n", "frame", "x", "y"], ["n", "x", "y", "frame"]]
)
def test_tr_arrays(tmp_path, order):
    df = table()
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"tr": pixels(df)[order].to_numpy(float)})
    with pytest.raises(DataError, match="pixel_size=.*dt="):
        read(path)
    assert_frame_equal(read(path, pixel_size=0.13, dt=0.02), df)
    assert_frame_equal(read_mat(path, pixel_size=0.13, dt=0.02), df)
    shuffled = pixels(df)[order].sample(frac=1, random_state=0)
    scipy.io.savemat(path, {"tr": shuffled.to_numpy(float)})
    with pytest.raises(DataError, match="columns="):
        read(path, pixel_size=0.13, dt=0.02)
    assert_frame_equal(read(path, pixel_size=0.13, dt=0.02, columns=order), df)


def test_cells_of_arrays(tmp_path):
    df = table()
    cells = np.empty(3, object)
    cells[:] = [g[["x", "y", "frame"]].to_numpy(float) for _, g in pixels(df).groupby("n")]
    scipy.io.savemat(tmp_path / "a.mat", {"tr": cells})
    with h5py.File(tmp_path / "b.mat", "w", userblock_size=512) as file:
        made = [file.create_dataset(f"#refs#/{i}", data=c.T) for i, c in enumerate(cells)]
        file.create_dataset(
            "tr", data=np.array([[m.ref] for m in made], h5py.ref_dtype), dtype=h5py.ref_dtype
        )
        file["tr"].attrs["MATLAB_class"] = np.bytes_("cell")
    for name in ("a.mat", "b.mat"):
        for columns in (None, ["x", "y", "frame"]):
            assert_frame_equal(read_mat(tmp_path / name, pixel_size=0.13, dt=0.02, columns=columns), df)
        assert_frame_equal(read(tmp_path / name, pixel_size=0.13, dt=0.02), df)


def test_parquet(tmp_path):
    df = table()
    path = tmp_path / "a.parquet"
    df.sample(frac=1, random_state=0).to_parquet(path)
    assert_frame_equal(read(path), df)
    trackpy = pixels(df).rename(columns={"n": "particle"}).assign(mass=1.0)
    trackpy.to_parquet(path)
    with pytest.raises(DataError, match="trackpy parquet.*pixel_size=.*dt="):
        read(path)
    assert_frame_equal(read(path, pixel_size=0.13, dt=0.02), df)
    df.rename(columns={"n": "cluster", "x": "x [nm]"}).assign(**{"x [nm]": df.x * 1000}).to_parquet(path)
    with pytest.raises(DataError, match="no column of a known name for 'n'"):
        read_parquet(path)
    trackpy.drop(columns="particle").to_parquet(path)
    assert not recognize(path).linked
    path.write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(DataError, match=r"a\.parquet: not a complete parquet file"):
        read(path)


def test_files_out_of_reach_are_recognised_as_far_as_they_can_be(tmp_path, monkeypatch):
    here = tmp_path / "a.parquet"
    table().to_parquet(here)
    away = Head(tmp_path / "elsewhere" / "a.parquet", look(here).data[:100], False)
    assert recognize(away).title == "parquet table"
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["locs"] = table().to_records(index=False)
    with pytest.raises(DataError, match="cannot be told from its beginning"):
        recognize(Head(tmp_path / "elsewhere" / "a.h5", look(tmp_path / "a.h5").data[:600], False))
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingDependencyError, match="h5py"):
        recognize(tmp_path / "a.h5")
