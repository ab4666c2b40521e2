"""Files of localizations: recognised, refused as they are, linked where they are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tramway_dask as td
from tramway_dask import linkers
from tramway_dask.analyzer.configuration import read_configuration
from tramway_dask.errors import DataError, SpecificationError
from tramway_dask.simulate import random_walk
from tramway_dask.spt_data import from_files, from_localizations, single
from tramway_dask.spt_data.localizations import localizations

DT, SIGMA = 0.02, 0.02
LINKER = linkers.NonTrackingTracker(search_range=0.4)

RAPIDSTORM = (
    '# <localizations insequence="true" repetitions="variable"><field identifier="Position-0-0" '
    'semantic="position in sample space in X" unit="nanometer" min="0 m" max="2e-5 m" /><field '
    'identifier="Position-1-0" unit="nanometer" /><field identifier="ImageNumber-0-0" unit="frame" />'
    '<field identifier="Amplitude-0-0" unit="A/D count" /></localizations>'
)


def truth(count: int = 40) -> pd.DataFrame:
    """Return trajectories with the column ``frame``, from 1."""
    table = random_walk(
        diffusivity=0.1,
        box=((0, 0), (8, 8)),
        trajectory_count=count,
        duration=1,
        time_step=DT,
        localization_precision=SIGMA,
    )
    table["frame"] = np.rint(table["t"] / DT).astype(int) + 1
    return table.sort_values(["frame", "n"], ignore_index=True)


def write(folder: Path, program: str, table: pd.DataFrame) -> Path:
    """Write a table as a program does."""
    path = folder / f"{program}.csv"
    nm = {c: (table[c] * 1000).round(3) for c in "xy"}
    i = np.arange(1, len(table) + 1)
    if program == "thunderstorm":
        out = {"id": i, "frame": table["frame"], "x [nm]": nm["x"], "y [nm]": nm["y"], "sigma [nm]": 130.0}
        out["uncertainty_xy [nm]"] = np.where(i % 3, 20.0, 90.0)
        text = pd.DataFrame(out).to_csv(index=False, quoting=2)
    elif program == "elyra":
        out = {"Index": i, "First Frame": table["frame"], "Number Frames": 1, "Frames Missing": 0}
        out |= {"Position X [nm]": nm["x"], "Position Y [nm]": nm["y"], "Precision [nm]": 20.0, "Channel": 1}
        text = pd.DataFrame(out).to_csv(index=False, sep="\t")
        text += "\n\nVoxelSizeX : 0.1\nVoxelSizeY : 0.1\nResultType: PALM\n"
    elif program == "nanoimager":
        out = {"Channel": 0, "Frame": table["frame"], "X (nm)": nm["x"], "Y (nm)": nm["y"], "Z (nm)": 0.0}
        out |= {"X precision (nm)": 20.0, "X (pix)": nm["x"] / 117, "Y (pix)": nm["y"] / 117, "Photons": 500}
        text = pd.DataFrame(out).to_csv(index=False)
    elif program == "rapidstorm":
        body = pd.DataFrame({"x": nm["x"], "y": nm["y"], "frame": table["frame"], "a": 1000.0})
        text = RAPIDSTORM + "\n" + body.to_csv(index=False, header=False, sep=" ")
    else:
        out = {"frame": table["frame"], "x": table["x"] / 0.1, "y": table["y"] / 0.1, "score": 1.0}
        text = pd.DataFrame(out).to_csv(index=False)
    path.write_text(text)
    return path


def table_of(collection: Iterable[Any]) -> pd.DataFrame:
    return single(collection).dataframe


PROGRAMS = {
    "thunderstorm": ("ThunderSTORM csv", 0.020),
    "elyra": ("Elyra text", 0.020),
    "nanoimager": ("Nanoimager csv", 0.020),
    "rapidstorm": ("rapidSTORM text", None),
    "other": ("localizations", None),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs(program: str, tmp_path: Path) -> None:
    table = truth(10)
    path = write(tmp_path, program, table)
    title, sigma = PROGRAMS[program]
    options = {"pixel_size": 0.1} if program == "other" else {}
    source = single(from_localizations(path, linker=LINKER, dt=DT, **options))
    assert source.recognition.title == title
    assert not source.recognition.linked
    found = source.dataframe
    assert list(found.columns) == ["n", "x", "y", "t"]
    for each in (found, table):
        each["key"] = [tuple(p) for p in np.rint(each[["x", "y"]] * 1000).astype(int).to_numpy().tolist()]
    merged = found.merge(table[["key", "n", "frame"]].rename(columns={"n": "true"}), on="key")
    assert len(merged) == len(table)
    np.testing.assert_allclose(merged["t"], merged["frame"] * DT)
    assert (merged.groupby("n")["true"].nunique() == 1).mean() > 0.85
    given = (
        None if sigma is None else pytest.approx(0.020 if program != "thunderstorm" else 0.020, abs=0.0021)
    )
    assert source.localization_precision == given
    source.localization_precision = 0.05
    assert source.localization_precision == 0.05


@pytest.mark.parametrize("program", PROGRAMS)
def test_refused_in_a_plain_run(program: str, tmp_path: Path) -> None:
    path = write(tmp_path, program, truth(5))
    with pytest.raises(DataError, match=r"localizations, which are not linked .*from_localizations"):
        table_of(from_files(path, dt=DT))


def write_hdf5(path: Path, program: str, table: pd.DataFrame) -> None:
    """Write what Picasso, SMAP or DECODE would."""
    import h5py

    user = 512 if program == "SMAP" else 0
    with h5py.File(path, "w", userblock_size=user) as file:
        if program == "Picasso":
            locs = table.assign(x=table["x"] / 0.13, y=table["y"] / 0.13, lpx=0.2, lpy=0.2)
            file["locs"] = locs[["frame", "x", "y", "lpx", "lpy"]].to_records(index=False)
            path.with_suffix(".yaml").write_text("Pixelsize: 130\n")
        elif program == "SMAP":
            for name, values in {
                "frame": table["frame"],
                "xnm": table["x"] * 1000,
                "ynm": table["y"] * 1000,
            }.items():
                file[f"saveloc/loc/{name}"] = values.to_numpy()[None]
            file["saveloc/loc/xnmerr"] = np.full((1, len(table)), 26.0)
        else:
            file["data/xyz"] = np.column_stack([table["x"] / 0.13, table["y"] / 0.13, 0 * table["x"]])
            file["data/frame_ix"] = table["frame"].to_numpy()
            file.create_group("meta").attrs.update(xy_unit="px", px_size=[130.0, 130.0])


@pytest.mark.parametrize("program,sigma", [("Picasso", 0.026), ("SMAP", 0.026), ("DECODE", None)])
def test_hdf5(program: str, sigma: float | None, tmp_path: Path) -> None:
    table = truth(10)
    path = tmp_path / ("a_sml.mat" if program == "SMAP" else "a.hdf5")
    write_hdf5(path, program, table)
    with pytest.raises(DataError, match=rf"{program} localizations.*not linked .*from_localizations"):
        table_of(from_files(path, dt=DT))
    with pytest.raises(DataError, match="frames: dt=|frames; dt="):
        table_of(from_localizations(path, linker=LINKER))
    source = single(from_localizations(path, linker=LINKER, dt=DT))
    assert source.recognition.title == f"{program} localizations"
    expected = LINKER.link(table[["frame", "x", "y"]], DT)
    pd.testing.assert_frame_equal(source.dataframe, expected, check_exact=False)
    assert source.localization_precision == (sigma and pytest.approx(sigma))


def test_what_is_missing_or_wrong(tmp_path: Path) -> None:
    path = write(tmp_path, "thunderstorm", truth(5))
    with pytest.raises(DataError, match=r"recognised as ThunderSTORM csv; it counts frames: dt="):
        table_of(from_localizations(path, linker=LINKER))
    with pytest.raises(SpecificationError, match="how far"):
        from_localizations(path, linker=linkers.NonTrackingTracker, dt=DT)
    with pytest.raises(SpecificationError, match=r"expected e\.g\. linkers"):
        from_localizations(path, linker="trackpy", dt=DT)
    other = write(tmp_path, "other", truth(5))
    with pytest.raises(DataError, match=r"unit of lengths; pixel_size="):
        table_of(from_localizations(other, linker=LINKER, dt=DT))
    two = pd.read_csv(write(tmp_path, "nanoimager", truth(5)))
    two["Channel"] = np.arange(len(two)) % 2
    two.to_csv(tmp_path / "two.csv", index=False)
    with pytest.raises(DataError, match=r"channels 0, 1: .* channel=0"):
        table_of(from_localizations(tmp_path / "two.csv", linker=LINKER, dt=DT))
    one = table_of(from_localizations(tmp_path / "two.csv", linker=LINKER, dt=DT, channel=1))
    assert len(one) == len(two) // 2
    (tmp_path / "half.csv").write_text("frame,x [nm],y [nm],sigma [nm]\n1.5,1,1,1\n2,1,1,1\n")
    with pytest.raises(DataError, match=r"half\.csv: localization 1: the frame is 1\.5"):
        table_of(from_localizations(tmp_path / "half.csv", linker=LINKER, dt=DT))
    (tmp_path / "nan.csv").write_text("frame,x [nm],y [nm],sigma [nm]\n1,nan,1,1\n2,1,1,1\n")
    with pytest.raises(DataError, match=r"nan\.csv: line 2: 'x' is 'nan'"):
        table_of(from_localizations(tmp_path / "nan.csv", linker=LINKER, dt=DT))


def test_undefined_uncertainties(tmp_path: Path) -> None:
    header = "frame,x [nm],y [nm],uncertainty [nm]"
    for rows, sigma in (("1,1,1,-\n2,1,1,30\n3,1,1,nan", 0.03), ("1,1,1,-\n2,1,1,-", None)):
        (tmp_path / "some.csv").write_text(f"{header}\n{rows}\n")
        source = single(from_localizations(tmp_path / "some.csv", linker=LINKER, dt=DT))
        assert source.dataframe["n"].nunique() == 1
        assert source.localization_precision == sigma


def test_linked_files_are_not_linked_again_unless_asked(tmp_path: Path) -> None:
    table = truth(5).assign(trajectory=lambda t: t["n"])
    path = tmp_path / "tracks.csv"
    table[["trajectory", "frame", "x", "y"]].to_csv(path, index=False)
    with pytest.raises(DataError, match="holds trajectories, which need no linking"):
        table_of(from_localizations(path, linker=LINKER, dt=DT, pixel_size=1))
    anew = from_localizations(path, linker=LINKER, dt=DT, pixel_size=1, reader="localizations")
    assert len(single(anew).dataframe) == len(table)


def test_times_instead_of_frames() -> None:
    made = localizations(x=[0.0, 1.0], y=[0.0, 1.0], t=[0.1, 0.16], dt=0.02, sigma=[0.01, np.nan])
    assert list(made["frame"]) == [5, 8]
    assert made.attrs == {"frame_interval": 0.02, "localization_precision": 0.01}
    with pytest.raises(DataError, match=r"localization 2 is 2\.5 frames"):
        localizations(x=[0.0, 1.0], y=[0.0, 1.0], t=[0.0, 0.05], dt=0.02)


def analyzer(folder: Path, path: Path, **options: float) -> td.RWAnalyzer:
    a = td.RWAnalyzer()
    a.results = folder / "results"
    a.spt_data.from_localizations(path, linker=LINKER, dt=DT, **options)
    a.tesseller = td.tessellers.Hexagons(resolution=4)
    a.mapper = td.models.D()
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="d"))
    return a


def test_linked_on_workers(tmp_path: Path) -> None:
    path = write(tmp_path, "thunderstorm", truth())
    a = analyzer(tmp_path, path)
    a.env = td.environments.LocalHost(worker_count=1, dashboard_address=None)
    said = (
        "ThunderSTORM csv, lengths in nm (stated in the file), times in frames of 0.02 s (given), linked by "
        "NonTrackingTracker(search_range=0.4), localization precision: the median of 'uncertainty_xy [nm]'"
    )
    source = single(a.spt_data)
    assert f"{source.recognition.title}, {source.units}" == said
    assert {u.status for u in a.plan().units} == {"to do"}
    assert a.run(progress=False).ok
    assert not single(a.spt_data)._checked  # nothing was read here
    maps = a.maps("d")
    assert np.average(maps["diffusivity"], weights=maps["n"]) == pytest.approx(0.1, rel=0.15)
    assert single(a.spt_data).analyses  # loads
    # with the same parameters there is nothing to do, with another linker there is
    again = analyzer(tmp_path, path)
    assert {u.status for u in again.plan().units} == {"done"}
    assert len(table_of(again.spt_data)) > 1000  # nor if the precision in the file is known now
    assert {u.status for u in again.plan().units} == {"done"}
    other = analyzer(tmp_path / "other", path, localization_precision=0.03)
    keys = {u.task.key for u in again.plan().units}
    assert keys.isdisjoint(u.task.key for u in other.plan().units)
    single(again.spt_data).options["linker"] = linkers.NonTrackingTracker(search_range=0.3)
    assert keys.isdisjoint(u.task.key for u in again.plan(overwrite=True).units)


def test_configuration_file(tmp_path: Path) -> None:
    write(tmp_path, "thunderstorm", truth(5))
    text = """
[spt_data.from_localizations]
pattern = "*.csv"
dt = 0.02
linker = { type = "NonTrackingTracker", search_range = 0.4, memory = 1 }
[[stages]]
stage = "tessellate"
label = "c"
[tesseller]
type = "Hexagons"
resolution = 1
"""
    config = tmp_path / "config.toml"
    config.write_text(text)
    a = read_configuration(config)
    linker = single(a.spt_data).options["linker"]
    assert linker == linkers.NonTrackingTracker(search_range=0.4, memory=1)
    for wrong, said in (
        ("NonTrackingTraker", r"linker\] type: unknown value"),
        ("Linker", r"linker\] type: unknown value"),
    ):
        config.write_text(text.replace("NonTrackingTracker", wrong))
        with pytest.raises(SpecificationError, match=said):
            read_configuration(config)
    config.write_text(text.replace("memory = 1", "memory = -1"))
    with pytest.raises(SpecificationError, match=r"linker\] NonTrackingTracker\.memory: expected a whole"):
        read_configuration(config)


def test_real_cell_beside_swift(shared_data: Path) -> None:
    folder = shared_data / "sptanalyser_met"
    source = single(
        from_localizations(
            folder / "Fab_CS5_cell02.csv", dt=0.02, linker=linkers.NonTrackingTracker(search_range=0.3)
        )
    )
    ours = source.dataframe
    assert source.localization_precision == pytest.approx(0.0376)
    theirs = pd.read_csv(folder / "Fab_CS5_cell02.tracked.csv").rename(columns={"track.id": "n"})
    theirs = theirs.sort_values(["n", "frame"])
    assert (len(ours), theirs["n"].nunique()) == (len(theirs), 3552)
    assert ours["n"].nunique() == pytest.approx(3552, rel=0.02)

    def moves(n: pd.Series, x: pd.Series, y: pd.Series) -> tuple[set[tuple[float, ...]], np.ndarray]:
        same = (n.diff() == 0).to_numpy()
        xy = np.column_stack([x, y]).round(4)
        ends = np.column_stack([xy[:-1], xy[1:]])[same[1:]]
        return set(map(tuple, ends.tolist())), np.hypot(*(ends[:, :2] - ends[:, 2:]).T)

    known, lengths = moves(theirs["n"], theirs["x [nm]"] / 1000, theirs["y [nm]"] / 1000)
    found, own = moves(ours["n"], ours["x"], ours["y"])
    assert len(known & found) / len(known) > 0.998
    assert len(found - known) / len(found) < 0.01
    np.testing.assert_allclose(
        np.percentile(own, [5, 50, 95]), np.percentile(lengths, [5, 50, 95]), rtol=0.03
    )
