from __future__ import annotations

import sys
import warnings

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from tramway_dask.analyzer import RWAnalyzer
from tramway_dask.errors import DataError, MissingDependencyError, SpecificationError
from tramway_dask.spt_data.mat import read_mat
from tramway_dask.spt_data.rwa import read_rwa
from tramway_dask.spt_data.tables import translocations


def table(d=2, dt=0.02):
    rng = np.random.default_rng(0)
    lengths = (3, 1, 4)
    data = {"n": np.repeat([1, 2, 7], lengths).astype(np.int64)}
    data |= {c: rng.normal(5, 2, 8) for c in "xyz"[:d]}
    data["frame"] = np.concatenate([np.arange(k) + 1 for k in lengths])
    df = pd.DataFrame(data)
    df["t"] = df.pop("frame") * dt
    return df


def frames(df, dt=0.02):
    return df.assign(t=np.rint(df.t / dt))


def save73(path, **variables):
    """Write as MATLAB does: 512 bytes of its own, arrays turned, struct arrays by reference."""
    with h5py.File(path, "w", userblock_size=512) as f:
        refs = f.create_group("#refs#")
        for name, value in variables.items():
            if isinstance(value, dict):
                group = f.create_group(name)
                group.attrs["MATLAB_class"] = np.bytes_("struct")
                for field, items in value.items():
                    made = [refs.create_dataset(f"{name}{field}{i}", data=v.T) for i, v in enumerate(items)]
                    stored = np.array([[m.ref] for m in made], dtype=h5py.ref_dtype)
                    group.create_dataset(field, data=stored, dtype=h5py.ref_dtype)
            else:
                f.create_dataset(name, data=value.T).attrs["MATLAB_class"] = np.bytes_("double")
    with open(path, "r+b") as f:
        f.write(b"MATLAB 7.3 MAT-file, Platform: TEST".ljust(124) + b"\0\2IM")


def save5(path, **variables):
    scipy.io.savemat(path, {k: as_struct(v) if isinstance(v, dict) else v for k, v in variables.items()})


def save7(path, **variables):
    scipy.io.savemat(path, variables, do_compression=True)


def save4(path, **variables):
    scipy.io.savemat(path, variables, format="4")


def as_struct(fields):
    size = len(next(iter(fields.values())))
    out = np.zeros((1, size), dtype=[(name, object) for name in fields])
    for name, items in fields.items():
        for i, item in enumerate(items):
            out[0, i][name] = item
    return out


@pytest.mark.parametrize("save", [save4, save5, save7, save73])
@pytest.mark.parametrize("d", [2, 3])
def test_array_in_frames_and_pixels(tmp_path, save, d):
    df = table(d)
    space = list("xyz"[:d])
    stored = frames(df)
    stored[space] /= 0.16
    order = ["t", *reversed(space), "n"]
    path = tmp_path / "a.mat"
    save(path, plist=stored[order].sample(frac=1, random_state=1).to_numpy(float))
    for scale in ({"pixel_size": 0.16}, {"coord_scale": 0.16}):
        assert_frame_equal(read_mat(path, columns=order, dt=0.02, **scale), df)


@pytest.mark.parametrize("save", [save5, save73])
def test_array_as_it_is(tmp_path, save):
    df = table()
    path = tmp_path / "a.mat"
    save(path, tracks=df.assign(snr=np.arange(8.0) * 2, junk=1.0).to_numpy(float), other=np.eye(2))
    out = read_mat(path, variable="tracks", columns=["n", "x", "y", "t", "snr", "-"])
    assert_frame_equal(out, df.assign(snr=np.arange(8.0) * 2))
    with pytest.raises(DataError, match=r"a\.mat: no variable 'plist'.*'tracks' \(8x6 double\).*variable="):
        read_mat(path, columns="nxyt--")
    mapping = {"n": 0, "x": 2, "y": 1, "t": 3}
    assert_frame_equal(
        read_mat(path, variable="tracks", columns=mapping)[["n", "x", "y", "t"]].rename(
            columns={"x": "y", "y": "x"}
        )[["n", "x", "y", "t"]],
        df,
    )


def test_units_in_names_and_translocations(tmp_path):
    df = translocations(table())
    stored = df.assign(x=df.x * 1000, dx=df.dx * 1000, y=df.y * 1000, dy=df.dy * 1000)
    stored[["t", "dt"]] = np.rint(stored[["t", "dt"]] / 0.02)
    path = tmp_path / "a.mat"
    save5(path, plist=stored.to_numpy(float))
    names = ["n", "x [nm]", "y [nm]", "frame", "dx", "dy", "dt"]
    with pytest.raises(DataError, match="dt="):
        read_mat(path, columns=names)
    names[3] = "t"
    assert_frame_equal(read_mat(path, columns=names, dt=0.02), df)
    names[3] = "t [ms]"
    out = read_mat(path, columns=names)
    np.testing.assert_allclose(out[["t", "dt"]], stored[["t", "dt"]] / 1000)


def test_what_is_unclear_is_asked(tmp_path):
    path = tmp_path / "a.mat"
    save5(
        path, plist=table().to_numpy(float), s={"a": [np.eye(2)]}, text="abc", cell=np.array([1, "a"], object)
    )
    for columns, match in [
        (None, "8x4.*columns="),
        ("nxy", "names 3 columns.*8x4"),
        ("nxyt----", "transposed"),
        ("-xyt", "does not name 'n'"),
        ("nxy-", "does not name 't'"),
    ]:
        with pytest.raises(DataError, match=match):
            read_mat(path, columns=columns)
    with pytest.raises(DataError, match="is not a frame number.*t \\[s\\]"):
        read_mat(path, columns="nxyt", dt=0.05)
    for name, match in [("s", "unknown kind"), ("text", "real numbers"), ("cell", "real numbers")]:
        with pytest.raises(DataError, match=match):
            read_mat(path, variable=name, columns="nxyt")
    with pytest.raises(SpecificationError, match="two names"):
        read_mat(path, columns="nxyt", coord_scale=1, pixel_size=1)
    with pytest.raises(SpecificationError, match="dt"):
        read_mat(path, columns="nxyt", dt=0)
    with pytest.raises(DataError, match="cannot read"):
        read_mat(tmp_path / "none.mat")


def test_spot_on_sample(shared_data):
    df = read_mat(shared_data / "spoton_samples" / "anders.mat", dt=1.0)
    assert list(df) == ["n", "x", "y", "t"]
    assert (len(df), df.n.nunique(), df.n.max()) == (9102, 4221, 4221)
    np.testing.assert_allclose(df.x[:4], [1.03206063, 2.25769, 3.291809, 3.8372398], rtol=1e-6)
    frame = df.t / 0.0075
    assert np.abs(frame - frame.round()).max() < 1e-6
    with pytest.raises(DataError, match="in µm.*leave"):
        read_mat(shared_data / "spoton_samples" / "anders.mat", pixel_size=0.16)


def test_u_track_sample(shared_data):
    path = shared_data / "spoton_samples" / "utrack.mat"
    with pytest.raises(DataError, match="pixels and frames; give pixel_size=.*dt="):
        read_mat(path)
    df = read_mat(path, pixel_size=0.1, dt=0.01)
    raw = scipy.io.loadmat(path)["tracksFinal"].ravel()
    assert df.n.nunique() == len(raw) == 16
    located = sum(int((~np.isnan(r["tracksCoordAmpCG"][:, ::8])).sum()) for r in raw)
    assert len(df) == located == 35
    np.testing.assert_allclose(
        df.loc[df.n == 1, ["x", "y", "t"]].to_numpy()[0], [7.00833959, 3.28836464, 0.01]
    )


@pytest.mark.parametrize("save", [save5, save73])
def test_spot_on_and_u_track_of_either_version(tmp_path, save):
    df = table(3)
    each = [g for _, g in df.groupby("n")]
    spot_on = {
        "xy": [g[["x", "y", "z"]].to_numpy() for g in each],
        "TimeStamp": [g[["t"]].to_numpy() for g in each],
        "Frame": [g[["t"]].to_numpy() / 0.02 for g in each],
    }
    n = np.repeat([1, 2, 3], [3, 1, 4])
    save(tmp_path / "a.mat", trackedPar=spot_on)
    assert_frame_equal(read_mat(tmp_path / "a.mat"), df.assign(n=n))
    del spot_on["TimeStamp"]
    save(tmp_path / "a.mat", trackedPar=spot_on)
    assert_frame_equal(read_mat(tmp_path / "a.mat", dt=0.02), df.assign(n=n))
    with pytest.raises(DataError, match="TimeStamp.*dt="):
        read_mat(tmp_path / "a.mat")

    # a track that splits, with a gap in its first branch, then one of a single location
    one = np.full((2, 8 * 4), np.nan)
    one[0, [0, 1, 2]], one[0, [16, 17, 18]] = (10, 20, 0), (11, 21, 0)
    one[1, [16, 17, 18]], one[1, [24, 25, 26]] = (12, 22, 0), (13, 23, 0)
    two = np.zeros((1, 8))
    events = [np.array([[5, 1, 1, np.nan], [8, 2, 1, np.nan]]), np.array([[9.0, 1, 1, np.nan]])]
    save(tmp_path / "u.mat", tracksFinal={"tracksCoordAmpCG": [one, two], "seqOfEvents": events})
    expected = pd.DataFrame(
        {
            "n": [1, 1, 2, 2, 3],
            "x": [1, 1.1, 1.2, 1.3, 0],
            "y": [2, 2.1, 2.2, 2.3, 0],
            "t": [0.5, 0.7, 0.7, 0.8, 0.9],
        }
    )
    assert_frame_equal(read_mat(tmp_path / "u.mat", coord_scale=0.1, dt=0.1), expected)


def write_rwa(path, root, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tramway.core.analyses.base import Analyses
        from tramway.core.hdf5.store import save_rwa

        save_rwa(str(path), Analyses(root), force=True, **options)


@pytest.mark.oracle
@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("kind", ["trajectories", "translocations"])
def test_rwa_written_by_tramway(tmp_path, d, kind):
    df = table(d).assign(snr=np.arange(8.0))
    df = translocations(df) if kind == "translocations" else df
    write_rwa(tmp_path / "a.rwa", df)
    assert_frame_equal(read_rwa(tmp_path / "a.rwa"), df)
    # rows out of order under labels of their own, single precision, as cropping and saving leave them
    part = df.sample(frac=0.7, random_state=0).astype({c: "float32" for c in df if c != "n"})
    write_rwa(tmp_path / "b.rwa", part.astype({"n": "int32"}))
    expected = part.astype({c: float for c in df if c not in ("n", "snr")}).sort_values(["n", "t"])
    assert_frame_equal(read_rwa(tmp_path / "b.rwa"), expected.reset_index(drop=True))


@pytest.mark.oracle
def test_rwa_with_samplings_and_maps(tmp_path):
    from tramway_dask import simulate

    df = simulate.random_walk(diffusivity=0.1, box=((0, 0), (1, 1)), trajectory_count=40, duration=1, seed=0)
    df = df[["n", "x", "y", "t"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tramway.helper import infer, tessellate

        path = str(tmp_path / "a.rwa")
        tree = tessellate(df, "grid", output_file=path, label="grid", ref_distance=0.3, force=True)
        assert tree is not None
        infer(path, "d", input_label="grid", output_label="d", output_file=path, force=True)
    with h5py.File(path) as f:
        assert "grid" in f["analyses/_instances/items"]
    assert_frame_equal(read_rwa(path), df, check_exact=True)


@pytest.mark.parametrize("layout", ["pytables", "dict", "items"])
def test_rwa_of_old(tmp_path, layout):
    df = table()
    path = tmp_path / "a.rwa"
    with h5py.File(path, "w") as f:
        root = f.create_group("analyses/_data")
        root.attrs["type"] = np.bytes_("Python.pandas.core.frame.DataFrame")
        if layout == "pytables":
            root["root/axis0"] = np.array([b"n", b"x", b"y", b"t"])
            root["root/block0_items"] = np.array([b"x", b"y", b"t"])
            root["root/block0_values"] = df[["x", "y", "t"]].to_numpy()
            root["root/block1_items"] = np.array([b"n"])
            root["root/block1_values"] = df[["n"]].to_numpy()
        else:
            data = root.create_group("data/items" if layout == "items" else "data")
            for c in df:
                data[c] = df[c].to_numpy().astype(">f8")
    assert_frame_equal(read_rwa(path)[["n", "x", "y", "t"]], df)


@pytest.mark.oracle
def test_rwa_without_trajectories(tmp_path):
    path = tmp_path / "a.rwa"
    write_rwa(path, None)
    with pytest.raises(DataError, match=r"a\.rwa: .*without the trajectories.*from_ascii_file"):
        read_rwa(path)
    with h5py.File(path, "w") as f:
        f["other"] = 1
    with pytest.raises(DataError, match="no 'analyses' at its root, which has other"):
        read_rwa(path)
    path.write_text("n x y t\n1 0 0 0\n")
    with pytest.raises(DataError, match="not a .rwa file"):
        read_rwa(path)
    with pytest.raises(DataError, match="cannot read"):
        read_rwa(tmp_path / "none.rwa")


@pytest.mark.oracle
def test_links_out_of_the_file_are_not_followed(tmp_path):
    df = table()
    write_rwa(tmp_path / "real.rwa", df)
    save73(tmp_path / "real.mat", plist=df.to_numpy(float))
    layout = h5py.VirtualLayout(shape=(4, 8), dtype=float)
    layout[:] = h5py.VirtualSource(str(tmp_path / "real.mat"), "plist", shape=(4, 8))
    with h5py.File(tmp_path / "a.mat", "w") as f:
        f["plist"] = h5py.ExternalLink(str(tmp_path / "real.mat"), "plist")
        f["soft"] = h5py.SoftLink("/nowhere")
        f.create_virtual_dataset("virtual", layout)
        f.create_dataset(
            "external", shape=(4, 8), dtype=float, external=[(str(tmp_path / "real.rwa"), 0, 256)]
        )
    for name in ("plist", "soft", "virtual", "external"):
        with pytest.raises(DataError, match="not followed"):
            read_mat(tmp_path / "a.mat", variable=name, columns="nxyt")
    with h5py.File(tmp_path / "a.rwa", "w") as f:
        f["analyses"] = h5py.ExternalLink(str(tmp_path / "real.rwa"), "analyses")
    with pytest.raises(DataError, match="not followed"):
        read_rwa(tmp_path / "a.rwa")


@pytest.mark.oracle
def test_h5py_is_asked_for(tmp_path, monkeypatch):
    df = table()
    write_rwa(tmp_path / "a.rwa", df)
    save73(tmp_path / "a.mat", plist=df.to_numpy(float))
    save5(tmp_path / "b.mat", plist=df.to_numpy(float))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "tramway_dask\[matlab\]"'):
        read_mat(tmp_path / "a.mat", columns="nxyt")
    with pytest.raises(MissingDependencyError, match=r'pip install "tramway_dask\[rwa\]"'):
        read_rwa(tmp_path / "a.rwa")
    assert_frame_equal(read_mat(tmp_path / "b.mat", columns="nxyt"), df)


@pytest.mark.oracle
def test_from_the_analyzer(tmp_path):
    df = table()
    pixels = frames(df).assign(x=df.x / 0.16, y=df.y / 0.16)
    for name, save in (("a.mat", save5), ("b.mat", save73)):
        save(tmp_path / name, plist=pixels.to_numpy(float))
    a = RWAnalyzer()
    a.spt_data.from_mat_file(tmp_path / "a.mat", columns=["n", "x", "y", "t"], dt=0.02, coord_scale=0.16)
    assert_frame_equal(a.spt_data.dataframe, df)
    a = RWAnalyzer()
    a.spt_data.from_mat_files(str(tmp_path / "*.mat"), columns=["n", "x", "y", "t"], coord_scale=0.16)
    for f in a.spt_data:
        f.frame_interval = 0.02
    for f in a.spt_data:
        assert_frame_equal(f.dataframe, df)
    assert len(a.spt_data) == 2

    for name in ("a.rwa", "b.rwa"):
        write_rwa(tmp_path / name, df)
    a = RWAnalyzer()
    a.spt_data.from_rwa_files(str(tmp_path / "*.rwa"))
    a.spt_data.frame_interval = 0.02
    for f in a.spt_data:
        assert_frame_equal(f.dataframe, df)
    assert a.spt_data.aliases == ["a", "b"]


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("intact")
    df = table()
    array = df.to_numpy(float)
    for name, save in (("4", save4), ("5", save5), ("7", save7), ("73", save73)):
        save(folder / f"{name}.mat", plist=array)
    save5(
        folder / "struct.mat", trackedPar={"xy": [array[:, 1:3]], "TimeStamp": [array[:, 3:]], "c": ["text"]}
    )
    with h5py.File(folder / "gzip.mat", "w") as f:
        f.create_dataset("plist", data=array.T, chunks=True, compression="gzip")
    write_rwa(folder / "a.rwa", df)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.oracle
@settings(max_examples=250, deadline=2000)
@given(st.data())
def test_broken_files_are_refused(tmp_path_factory, intact, data):
    name = data.draw(st.sampled_from(sorted(intact)))
    content = bytearray(intact[name])
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        places = st.integers(0, data.draw(st.sampled_from([1024, len(content)])) - 1)
        for at, byte in data.draw(
            st.dictionaries(places, st.integers(0, 255), min_size=1, max_size=5)
        ).items():
            content[min(at, len(content) - 1)] = byte
    path = tmp_path_factory.getbasetemp() / f"broken-{name}"
    path.write_bytes(content)
    df = None
    try:
        df = read_rwa(path) if name.endswith("rwa") else read_mat(path, columns="nxyt")
    except DataError as error:
        message = str(error)
    if df is None:
        assert str(path) in message
        return
    assert df.n.dtype == np.int64
    assert np.isfinite(df[["x", "y", "t"]].to_numpy()).all()
    assert (df.groupby("n").t.diff().dropna() > 0).all()
    assert df.n.is_monotonic_increasing


@pytest.mark.oracle
@pytest.mark.parametrize("code", [0, 8, 14, 19, 200, 0xFF01])
def test_type_codes_that_stop_scipy(tmp_path, intact, code):
    content = bytearray(intact["5.mat"])
    at = len(content) - 8 * 8 * 4 - 8
    assert content[at : at + 8] == np.array([9, 256], "<u4").tobytes()
    content[at : at + 4] = np.array([code], "<u4").tobytes()
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.mat: .*corrupt"):
        read_mat(tmp_path / "a.mat", columns="nxyt")
