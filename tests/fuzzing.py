"""Fuzzing of every reader: broken files end in this package's own errors, soon and in little memory.

``python tests/fuzzing.py 100000`` makes that many broken files, an equal share of each format, in
processes of their own (so that a crash or a full memory is seen), and prints what came of them.
`tests/test_fuzzing.py` does the same with a few.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.io

from tramway_dask import linkers
from tramway_dask.errors import DataError, MissingDependencyError, SpecificationError, UnitsWarning
from tramway_dask.spt_data import read

OURS = (DataError, MissingDependencyError, SpecificationError)
UNITS = {"pixel_size": 0.1, "dt": 0.02}
ENDLESS = 300  # s, after which an input counts as a crash
SLOW = 10.0  # s, on a machine with other work to do
MEMORY = 2 << 30  # bytes above what the modules take

INTERESTING = [b"", b"\0", b"\xff" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"nan", b"inf", b"1e999", b"-",  # noqa: E501
               b"9" * 30, b"<", b">", b"&", b'"', b"'", b"&lol;", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"]]>", b"\n", b"\t",  # noqa: E501
               b",", b";", b"\xef\xbb\xbf", b"\xff\xfe", b"None", b"1", b"0", b"-1", b"4294967296"]  # fmt: skip


def table():
    rng = np.random.default_rng(0)
    n = np.repeat(np.arange(1, 9), 5)
    t = np.tile(np.arange(1, 6), 8)
    return pd.DataFrame({"n": n, "x": rng.normal(5, 0.1, 40) + n, "y": rng.normal(5, 0.1, 40), "t": t})


def h5(fill, **options):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        fill(file)
    return buffer.getvalue()


def mat(**variables):
    compressed = variables.pop("do_compression", False)
    version = variables.pop("format", "5")
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables, do_compression=compressed, format=version)
    return buffer.getvalue()


def structs(**fields):
    size = len(next(iter(fields.values())))
    out = np.zeros((1, size), dtype=[(name, object) for name in fields])
    for name, items in fields.items():
        for i, item in enumerate(items):
            out[0, i][name] = item
    return out


def trackmate(df):
    spots = "".join(
        f'<SpotsInFrame frame="{t}">'
        + "".join(
            f'<Spot ID="{i}" FRAME="{t}" POSITION_X="{r.x}" POSITION_Y="{r.y}" POSITION_Z="0" POSITION_T="{t * 0.02}" '  # noqa: E501
            f'VISIBILITY="1"/>'
            for i, r in g.iterrows()
        )
        + "</SpotsInFrame>"
        for t, g in df.groupby("t")
    )
    tracks = "".join(
        f'<Track TRACK_ID="{n}">'
        + "".join(f'<Edge SPOT_SOURCE_ID="{a}" SPOT_TARGET_ID="{a + 1}"/>' for a in g.index[:-1])
        + "</Track>"
        for n, g in df.groupby("n")
    )
    kept = "".join(f'<TrackID TRACK_ID="{n}"/>' for n in df.n.unique())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><TrackMate version="7.1"><Model spatialunits="µm" timeunits="sec">'
        f"<AllSpots>{spots}</AllSpots><AllTracks>{tracks}</AllTracks><FilteredTracks>{kept}</FilteredTracks>"
        "</Model></TrackMate>"
    ).encode()


def simple(df):
    particles = "".join(
        "<particle>" + "".join(f'<detection t="{r.t:.0f}" x="{r.x}" y="{r.y}" z="0"/>' for r in g.itertuples())
        + "</particle>"
        for _, g in df.groupby("n")
    )  # fmt: skip
    return (
        f'<?xml version="1.0"?><Tracks spaceUnits="micron" frameInterval="20" timeUnits="ms">{particles}</Tracks>'
    ).encode()


def mat73(file, df):
    file.create_dataset("plist", data=df.to_numpy(float).T).attrs["MATLAB_class"] = np.bytes_("double")


def rwa(file, df):
    root = file.create_group("analyses/_data")
    root.attrs["type"] = np.bytes_("Python.pandas.core.frame.DataFrame")
    for i, c in enumerate(df):
        root[f"data/values/{i}"] = df[c].to_numpy()
        root[f"data/keys/{i}"] = np.bytes_(c)


def diatrack(each):
    """Return trajectories side by side."""
    rows = [[v for g in each for v in (g.t.iloc[0], 0, 0)]]
    rows += [[v for g in each for v in (g.y.iloc[i], g.x.iloc[i], 0)] for i in range(len(each[0]))]
    return "\n".join(["format (columnwise): Frame1 …", *("\t".join(map(str, row)) for row in rows)]) + "\n"


def records(df, **more):
    return df.rename(columns={"t": "frame"}).assign(**more).to_records(index=False)


def linked_here(df):
    """Return files of localizations, and the options with which they are linked."""
    linker = linkers.NonTrackingTracker(search_range=2.0)
    given = {"linker": linker, "dt": 0.02}
    nm = {"frame": df.t, "x [nm]": df.x * 1000, "y [nm]": df.y * 1000}
    thunderstorm = pd.DataFrame({"id": df.index, **nm, "uncertainty_xy [nm]": 20.0}).sort_values("frame")
    elyra = {
        "Index": df.index,
        "First Frame": df.t,
        "Position X [nm]": df.x * 1000,
        "Position Y [nm]": df.y * 1000,
    }
    elyra = pd.DataFrame({**elyra, "Precision [nm]": 20.0, "Channel": 1}).to_csv(index=False, sep="\t")
    oni = pd.DataFrame(
        {"Channel": 0, "Frame": df.t, "X (nm)": df.x * 1000, "Y (nm)": df.y * 1000, "Photons": 9}
    )
    rapidstorm = "<localizations>" + "".join(
        f'<field identifier="{name}" unit="{unit}" />'
        for name, unit in (("Position-0-0", "nanometer"), ("Position-1-0", "nanometer"), ("ImageNumber-0-0", "frame"))
    ) + "</localizations>\n" + (df[["x", "y", "t"]] * [1000, 1000, 1]).to_csv(sep=" ", header=False, index=False)  # fmt: skip  # noqa: E501

    def smap(file):
        for name, values in {"frame": df.t, "xnm": df.x * 1000, "ynm": df.y * 1000}.items():
            file[f"saveloc/loc/{name}"] = values.to_numpy(float)[None]

    def decode(file):
        file["data/xyz"] = np.column_stack([df.x / 0.1, df.y / 0.1, 0 * df.x])
        file["data/frame_ix"] = df.t.to_numpy()
        file.create_group("meta").attrs.update(xy_unit="px", px_size=[100.0, 100.0])

    def storm_analysis(file):
        file.attrs["pixel_size"] = 100.0
        for frame, g in df.groupby("t"):
            for name in ("x", "y"):
                file[f"fr_{frame}/{name}"] = g[name].to_numpy() / 0.1

    locs = records(df[["x", "y", "t"]], lpx=0.1, lpy=0.1)
    return {
        "ThunderSTORM": (thunderstorm.to_csv(index=False, quoting=2).encode(), ".csv", given),
        "Elyra": ((elyra + "\nVoxelSizeX : 0.1\n").encode(), ".txt", given),
        "Nanoimager": (oni.to_csv(index=False).encode(), ".csv", given),
        "rapidSTORM": (rapidstorm.encode(), ".txt", given),
        "Picasso localizations": (
            h5(lambda f: f.create_dataset("locs", data=locs)),
            ".hdf5",
            {**given, "pixel_size": 0.1},
        ),  # noqa: E501
        "SMAP": (h5(smap, userblock_size=512), ".mat", given),
        "DECODE": (h5(decode), ".h5", given),
        "storm-analysis": (h5(storm_analysis), ".hdf5", given),
    }


def icy():
    """Return the only workbook at hand, another's, if it is."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    path = folder / "biotracks_misc" / "icy_track_processor_small.xls"
    return {"Icy": (path.read_bytes(), ".xls", UNITS)} if path.is_file() else {}


def seeds():
    """Return, for each format, (content, suffix, options)."""
    df = table()
    each = [g for _, g in df.groupby("n")]
    u_track = [np.pad(g[["x", "y"]].to_numpy(), ((0, 0), (0, 6))).reshape(1, -1) for g in each]
    events = [np.array([[1, 1, 1, np.nan], [5, 2, 1, np.nan]])] * len(each)
    parquet = io.BytesIO()
    df.to_parquet(parquet)
    head = [["LABEL", "ID", "TRACK_ID", "POSITION_X", "POSITION_Y", "FRAME"], ["Label", "Spot ID", "Track ID", "X", "Y", "Frame"],  # noqa: E501
            ["Label", "Spot ID", "Track ID", "X", "Y", "Frame"], ["", "", "", "(micron)", "(micron)", ""]]  # fmt: skip  # noqa: E501
    rows = [[f"ID{i}", i, r.n, r.x, r.y, r.t] for i, r in enumerate(df.itertuples())]
    trackmate7 = "\n".join(",".join(map(str, row)) for row in [*head, *rows]).encode()
    mdf = "MTrackJ 1.5.1 Data File\nAssembly 1\nCluster 1\n" + "".join(
        f"Track {i}\n" + "".join(f"Point {r.t} {r.x} {r.y} 1.0 {r.t:.1f} 1.0\n" for r in g.itertuples())
        for i, g in enumerate(each)
    )
    columns = {"columns": "nxyt", "pixel_size": 0.1}
    return {
        "trackmate": (trackmate(df), ".xml", {}),
        "trackmate simple": (simple(df), ".xml", {}),
        "mat 4": (mat(plist=df.to_numpy(float), format="4"), ".mat", columns),
        "mat 5": (mat(plist=df.to_numpy(float)), ".mat", columns),
        "mat 7": (mat(plist=df.to_numpy(float), do_compression=True), ".mat", columns),
        "mat 7.3": (h5(lambda f: mat73(f, df)), ".mat", columns),
        "mat cells": (mat(tr=np.array([None, *[g[["x", "y", "t"]].to_numpy() for g in each]], object)[1:]), ".mat", UNITS),  # noqa: E501
        "Spot-On": (
            mat(trackedPar=structs(xy=[g[["x", "y"]].to_numpy() for g in each], TimeStamp=[g[["t"]].to_numpy() for g in each])),  # noqa: E501
            ".mat", {},
        ),
        "u-track": (mat(tracksFinal=structs(tracksCoordAmpCG=u_track, seqOfEvents=events)), ".mat", UNITS),
        "rwa": (h5(lambda f: rwa(f, df)), ".rwa", {}),
        "Picasso": (h5(lambda f: f.create_dataset("locs", data=records(df, track_id=df.n))), ".hdf5", UNITS),
        "SPTAnalyser": (
            h5(lambda f: (
                f.create_dataset("trc/trcType", data=df.rename(columns={
                    "n": "track id", "t": "frame", "x": "x position [μm]", "y": "y position [μm]"}).to_records(index=False)),  # noqa: E501
                f.create_dataset("settings/settings", data=np.array([(0.02,)], [("dt [s]", float)])),
            )),
            ".h5", {},
        ),
        "parquet": (parquet.getvalue(), ".parquet", {}),
        "MTrackJ": (mdf.encode(), ".mdf", UNITS),
        "trxyt": (df.assign(t=df.t * 0.02).to_csv(sep="\t", header=False, index=False).encode(), ".trxyt", {}),
        "TrackMate 7 csv": (trackmate7, ".csv", {"dt": 0.02}),
        "decimal comma": (
            df.rename(columns={"x": "x [µm]", "y": "y [µm]", "t": "t [s]"}).to_csv(sep=";", decimal=",", index=False).encode("latin-1"),  # noqa: E501
            ".csv", {},
        ),
        "PALMTracer": (
            ("Width\tPixel_Size(um)\tFrame_Duration(s)\n9\t0.1\t0.02\n" + df[["n", "t", "x", "y"]].to_csv(
                sep="\t", index=False, header=["Track", "Plane", "CentroidX(px)", "CentroidY(px)"])).encode(), ".txt", {},  # noqa: E501
        ),
        "Diatrack": (diatrack(each).encode(), ".txt", UNITS),
        "saSPT": (
            df.rename(columns={"n": "trajectory", "t": "frame"}).assign(x_err=0.2, y_err=0.2).to_csv(index=False).encode(),  # noqa: E501
            ".csv", UNITS,
        ),
        "evalSPT": (
            df[["x", "y", "t", "n"]].assign(a=1.5, b=2, c=3, d=4).to_csv(sep="\t", index=False, header=False).encode(),
            ".txt", {**UNITS, "columns": ["x", "y", "frame", "n", "-", "-", "-", "-"]},
        ),
        **linked_here(df),
        **icy(),
        "UTF-16": (df.rename(columns={"n": "Trajectory", "t": "Frame"}).to_csv(index=False).encode("utf-16"), ".csv", UNITS),  # noqa: E501
    }  # fmt: skip


def broken(rng, content):
    """Return a truncated or changed copy of a file."""
    data = bytearray(content)
    kind = rng.random()
    if kind < 0.15:
        return bytes(data[: rng.randrange(len(data))])
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(min(len(data), rng.choice((256, 2048, len(data)))) or 1)
        action = rng.random()
        if action < 0.35:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif action < 0.55:
            data[at : at + 1] = bytes([data[at] ^ (1 << rng.randrange(8))]) if at < len(data) else b""
        elif action < 0.75:
            token = rng.choice(INTERESTING)
            data[at : at + (len(token) if rng.random() < 0.6 else 0)] = token
        elif action < 0.85:
            del data[at : at + rng.choice((1, 2, 4, 8, 64))]
        else:
            start = rng.randrange(len(data) or 1)
            data[at:at] = data[start : start + rng.choice((1, 4, 16, 64))]
        if not data:
            break
    return bytes(data)


def recompressed(rng, content):
    """Return a copy of a compressed MATLAB file whose compressed part is changed, and is valid as such."""
    size = int.from_bytes(content[132:136], "little")
    inner = zlib.compress(broken(rng, zlib.decompress(content[136 : 136 + size])))
    return content[:132] + len(inner).to_bytes(4, "little") + inner


def outcome(path, options):
    """Read a file, check what was read, and return ``'read'`` or the name of our error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UnitsWarning)
        df, refusal = None, None
        try:
            df = read(path, **options)
        except OURS as error:
            refusal = error
    if df is None:
        assert str(path) in str(refusal), f"does not name the file: {refusal}"
        return type(refusal).__name__
    assert df.n.dtype == np.int64
    assert len(df)
    assert np.isfinite(df[["x", "y", "t"]].to_numpy()).all()
    n, t = df.n.to_numpy(), df.t.to_numpy()
    assert ((n[1:] > n[:-1]) | ((n[1:] == n[:-1]) & (t[1:] > t[:-1]))).all()
    return "read"


def made(name, seed, number):
    """Return the content of a broken file."""
    content, _, _ = SEEDS[name]
    rng = random.Random(f"{name} {seed} {number}")
    if name == "mat 7" and rng.random() < 0.7:
        return recompressed(rng, content)
    return broken(rng, content)


SEEDS = seeds()


def run(name, first, count, seed, folder, limited=False):
    """Read `count` broken files of a format; return how they ended."""
    _, suffix, options = SEEDS[name]
    path = Path(folder) / f"input{suffix}"
    ended = collections.Counter()
    slowest = 0.0
    for number in range(first, first + count):
        path.write_bytes(made(name, seed, number))
        if limited:
            signal.alarm(ENDLESS)  # ends the process
        began = time.perf_counter()
        try:
            ended[outcome(path, options)] += 1
        except Exception:
            ended["WRONG"] += 1
            if ended["WRONG"] < 6:
                print(f"{name} {seed} {number}\n{traceback.format_exc(limit=-4)}", file=sys.stderr)
        slowest = max(slowest, time.perf_counter() - began)
    if limited:
        signal.alarm(0)
    return {"ended": dict(ended), "slowest": round(slowest, 3)}


def _limit():
    # what is mapped, not what is resident: stacks of threads and pools of allocators count
    told = Path("/proc/self/status")
    if told.exists():
        mapped = next(
            int(line.split()[1]) for line in told.read_text().splitlines() if line.startswith("VmData")
        )
        resource.setrlimit(resource.RLIMIT_DATA, (mapped * 1024 + MEMORY,) * 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=sorted(SEEDS))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--folder", help="of one process: where to write")
    given = parser.parse_args()
    if given.folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome_of_seed = outcome_once(given.format, given.folder)
        assert outcome_of_seed == "read", (given.format, outcome_of_seed)
        _limit()
        print(json.dumps(run(given.format, given.first, given.count, given.seed, given.folder, limited=True)))
        return
    names = [given.format] if given.format else list(SEEDS)
    share = -(-given.count // len(names))
    total = 0
    for name in names:
        ended, slowest, crashes = collections.Counter(), 0.0, 0
        for first in range(0, share, 1000):
            with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
                count = min(1000, share - first)
                command = [sys.executable, __file__, str(count), "--seed", str(given.seed), "--format", name]
                command += ["--first", str(first), "--folder", folder]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=3600)
                if done.returncode:
                    crashes += 1
                    for left in Path(folder).iterdir():
                        shutil.copy(left, Path(tempfile.gettempdir()) / f"crash-{name}-{first}{left.suffix}")
                    continue
                told = json.loads(done.stdout)
                ended.update(told["ended"])
                slowest = max(slowest, told["slowest"])
        total += sum(ended.values())
        print(
            f"{name}: {sum(ended.values())} {dict(ended)}, slowest {slowest} s, {crashes} crashes", flush=True
        )
    print(f"{total} in all")


def outcome_once(name, folder):
    """Return how the intact file ends."""
    content, suffix, options = SEEDS[name]
    path = Path(folder) / f"intact{suffix}"
    path.write_bytes(content)
    return outcome(path, options)


if __name__ == "__main__":
    main()
