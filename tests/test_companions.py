"""What lies beside files of trajectories: left out and told, or a reason to ask; and what files say of their errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tramway_dask as td
from tramway_dask import linkers
from tramway_dask.errors import DataError, RegionError, SpecificationError
from tramway_dask.simulate import random_walk
from tramway_dask.spt_data import from_files, from_localizations, single
from tramway_dask.spt_data.blocks import read_block, text_blocks
from tramway_dask.spt_data.companions import companion_of


def walks(seed: int = 0, count: int = 30) -> pd.DataFrame:
    return random_walk(
        diffusivity=0.1, box=((0, 0), (4, 4)), trajectory_count=count, duration=0.4, time_step=0.02, seed=seed
    )[["n", "x", "y", "t"]]


def write(path: Path, table: pd.DataFrame, **options: object) -> Path:
    table.to_csv(path, index=False, **options)
    return path


def picasso(path: Path, table: pd.DataFrame, sigma: float = 0.2) -> None:
    import h5py

    locs = table.assign(
        frame=np.rint(table["t"] / 0.02).astype(int), track_id=table["n"], lpx=sigma, lpy=sigma
    )
    locs[["x", "y"]] /= 0.13
    with h5py.File(path, "w") as file:
        file["locs"] = locs[["frame", "x", "y", "lpx", "lpy", "track_id"]].to_records(index=False)
    path.with_suffix(".yaml").write_text("Pixelsize: 130\n")


def analyzer(folder: Path) -> td.RWAnalyzer:
    a = td.RWAnalyzer(results=folder / "results")
    a.tesseller = td.tessellers.Hexagons(resolution=1)
    a.mapper = td.models.D()
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="d"))
    return a


BESIDE = [
    "README.md",
    "LICENSE.txt",
    "a.tif",
    "RoiSet.zip",
    "cell.roi",
    "notes.pdf",
    "script.py",
    "camera.json",
]


def test_companions_are_left_out_and_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write(data / "a.csv", walks())
    write(data / "a-roi.txt", pd.DataFrame({"x": [2], "y": [2]}), sep="\t")
    picasso(data / "b.hdf5", walks(1))
    for name in [*BESIDE, "manifest.csv"]:
        (data / name).write_text("file\nnothing.csv\n")
    a = analyzer(tmp_path)
    a.spt_data.from_files(data / "*", dt={"b*": 0.02})
    assert a.spt_data.aliases == ["a", "b"]
    out = {Path(path).name: why for path, why in a.spt_data.left_out.items()}
    assert set(out) == {*BESIDE, "manifest.csv", "b.yaml", "a-roi.txt"}
    assert out["b.yaml"] == "belongs to b.hdf5"
    assert out["a.tif"] == "an image"
    assert out["a-roi.txt"] == "regions of interest"
    assert "from_manifest" in out["manifest.csv"]
    assert "a.roi does not read" in out["cell.roi"]
    plan = a.plan()
    assert "left out: b.yaml: belongs to b.hdf5" in plan.summary()
    assert "left out: RoiSet.zip: an archive" in plan.summary()
    report = a.run(progress=False)
    assert report.ok
    assert report.done == 2


def test_other_files_are_told_with_what_to_do(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", walks())
    (tmp_path / "protocol.txt").write_text("Dear all,\nthe cells were fed.\n")
    write(tmp_path / "summary.csv", pd.DataFrame({"cell": ["u", "v"], "area": [1.5, 2.5], "count": [3, 4]}))
    a = analyzer(tmp_path)
    a.spt_data.from_files(tmp_path / "*.*")
    plan = " ".join(a.plan().summary().split())
    for name in ("protocol.txt", "summary.csv"):
        assert f"{name}: " in plan
    assert plan.count("exclude=") == 2
    report = a.run(progress=False)
    assert not report.ok
    assert sorted(report.failures["source"]) == ["protocol", "summary"]
    a.spt_data.from_files(tmp_path / "*.*", exclude=["protocol*", "summary.csv"])
    assert a.spt_data.aliases == ["a"]
    assert set(a.spt_data.left_out.values()) == {"excluded"}
    with pytest.raises(
        DataError, match=r"no file of trajectories among the 1 that match \(protocol.txt: excluded"
    ):
        a.spt_data.from_files(tmp_path / "*.txt", exclude="*.txt")


def test_named_files_are_read_whatever_their_names(tmp_path: Path) -> None:
    table = walks()
    path = write(tmp_path / "readme.txt", table)
    assert len(td.read(path)) == len(table)
    write(tmp_path / "b.csv", table)
    assert from_files([path, tmp_path / "*.csv"]).aliases == ["b", "readme"]
    assert from_files(tmp_path / "*").aliases == ["b"]
    # the user's word on the format goes before names
    write(tmp_path / "c.log", table)
    assert from_files(tmp_path / "*.log", reader="text").aliases == ["c"]
    assert companion_of("a.xml", ["a.xml", "b.dax"]) == ""
    assert companion_of("a.xml", ["a.dax", "a.xml"]) == "belongs to a.dax"


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"it is a folder; for the files in it, say '.*\*'"):
        from_files(tmp_path)
    (tmp_path / "zarr.json").write_text("{}")
    with pytest.raises(DataError, match=r"a zarr folder, as of geff.*from_dataframe"):
        from_files(tmp_path)


def test_precision_of_text(tmp_path: Path) -> None:
    table = walks()
    nm = pd.DataFrame(
        {
            "track": table["n"],
            "x [nm]": table["x"] * 1000,
            "y [nm]": table["y"] * 1000,
            "t [s]": table["t"],
            "uncertainty_xy [nm]": np.where(np.arange(len(table)) % 3, 25.0, 400.0),
        }
    )
    path = write(tmp_path / "a.csv", nm)
    source = single(from_files(path))
    assert "localization precision: the median of 'uncertainty_xy [nm]'" in source.units
    assert source.localization_precision is None  # nothing is read yet
    assert list(source.dataframe) == ["n", "x", "y", "t"]
    assert source.localization_precision == pytest.approx(0.025)
    given = single(from_files(path, localization_precision=0.04))
    assert given.dataframe is not None
    assert given.localization_precision == 0.04
    assert "uncertainty" not in given.units
    kept = td.read(path, columns={"sigma": "uncertainty_xy [nm]"})
    assert sorted(kept["sigma"].unique()) == pytest.approx([0.025, 0.4])
    undefined = write(tmp_path / "b.csv", nm.assign(**{"uncertainty_xy [nm]": "-"}))
    lost = single(from_files(undefined))
    assert len(lost.dataframe) == len(table)
    assert lost.localization_precision is None
    # in pixels where the file says nothing else
    px = table.rename(columns={"n": "trajectory", "t": "frame"}).assign(x_err=0.2, y_err=0.2)
    px["frame"] = np.rint(px["frame"] / 0.02).astype(int)
    assert td.read(write(tmp_path / "c.csv", px), pixel_size=0.16, dt=0.02).attrs[
        "localization_precision"
    ] == pytest.approx(0.032)
    # the width of a spot is no error of its position
    width = td.read(write(tmp_path / "d.csv", nm.rename(columns={"uncertainty_xy [nm]": "sigma [nm]"})))
    assert "localization_precision" not in width.attrs


def test_precision_is_used(tmp_path: Path) -> None:
    table = walks(count=200).assign(sigma_x_um=0.05).rename(columns={"x": "x_um", "y": "y_um"})
    path = write(tmp_path / "a.csv", table)
    maps = []
    for k, given in enumerate([{}, {"localization_precision": 0.05}, {"localization_precision": 0.0}]):
        a = analyzer(tmp_path / str(k))
        a.spt_data.from_files(path, **given)
        assert a.run(progress=False).ok
        maps.append(a.maps("d")["diffusivity"].to_numpy())
    np.testing.assert_array_equal(maps[0], maps[1])
    assert (maps[0] < maps[2]).all()


def test_precision_of_other_formats(shared_data: Path, tmp_path: Path) -> None:
    expected = {
        "sptanalyser_met/Fab_CS5_cell02.tracked.csv": ({"dt": 0.02}, (0.027, 0.038)),
        "sptanalyser_met/Fab_CS5_cell02.h5": ({}, (0.033, 0.0351)),
        "saspt/region_0_7ms_trajs.csv": ({"pixel_size": 0.16, "dt": 0.00748}, (0.032, 0.040)),
        "minflux_kinesin/minflux_head.csv": ({}, (0.0755, 0.0757)),
        "spoton_samples/utrack.mat": ({"pixel_size": 0.16, "dt": 1}, (0.02, 0.05)),
    }
    for name, (options, (low, high)) in expected.items():
        source = single(from_files(shared_data / name, **options))
        assert "localization precision: the median of" in source.units, name
        assert source.dataframe is not None
        assert low <= source.localization_precision <= high, name
    picasso(tmp_path / "a.hdf5", walks())
    linked = single(from_files(tmp_path / "a.hdf5", dt=0.02))
    assert "px of 0.13 µm (stated)" in linked.units
    assert "the median of 'lpx, lpy'" in linked.units
    assert linked.dataframe is not None
    assert linked.localization_precision == pytest.approx(0.026)


def test_recognised_text_in_blocks(tmp_path: Path) -> None:
    table = walks(count=300)
    lines = table[["t", "n", "x", "y"]].to_csv(sep="\t", index=False, header=False)
    headerless = tmp_path / "a.txt"
    headerless.write_text(lines)
    comma = table.rename(columns={"n": "Track", "x": "x [nm]", "y": "y [nm]", "t": "t [s]"})
    comma[["x [nm]", "y [nm]"]] *= 1000
    decimal = write(tmp_path / "b.csv", comma, sep=";", decimal=",", encoding="latin-1")
    for path in (headerless, decimal):
        whole = td.read(path)
        whole.attrs.clear()
        parts = [read_block(str(path), block, reader="text") for block in text_blocks(str(path), 20_000)]
        assert len(parts) > 5
        pd.testing.assert_frame_equal(pd.concat([p for p in parts if len(p)], ignore_index=True), whole)
    a, b = analyzer(tmp_path / "whole"), analyzer(tmp_path / "blocks")
    a.spt_data.from_files(headerless)
    b.spt_data.from_files(headerless)
    b.spt_data.blocksize = "20 kB"
    assert a.run(progress=False).ok
    assert b.run(progress=False).ok
    np.testing.assert_allclose(a.maps("d")["diffusivity"], b.maps("d")["diffusivity"], rtol=1e-9)


def test_what_cannot_be_read_in_blocks(tmp_path: Path) -> None:
    table = walks().assign(sigma_x_um=0.05)
    picasso(tmp_path / "a.hdf5", walks())
    for name, message in (
        ("a.hdf5", "it is a text file of trajectories .it is recognised as Picasso trajectories"),
        (
            "b.csv",
            r"its localization precision is given: of 'sigma_x_um', .*a.spt_data.localization_precision",
        ),
    ):
        write(tmp_path / "b.csv", table)
        a = analyzer(tmp_path)
        a.spt_data.from_files(tmp_path / name, **({"dt": 0.02} if name == "a.hdf5" else {}))
        a.spt_data.blocksize = 1000
        with pytest.raises(SpecificationError, match=message):
            a.run(progress=False)
    a.spt_data.localization_precision = 0.05
    assert a.run(progress=False).ok
    alone = write(tmp_path / "c.csv", walks(count=1)[["x", "y", "t"]])
    with pytest.raises(DataError, match="one trajectory, which cannot be cut"):
        read_block(str(alone), (0, 100), reader="text", one_trajectory=True)


def test_units_are_told_of_tables_too(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    a.spt_data.from_dataframe(walks())
    said = "table in memory, lengths in µm (assumed), times in s (assumed)"
    assert said in a.plan().summary()
    report = a.run(progress=False)
    assert list(report.units_of_data.values()) == [said]
    again = a.run(progress=False)
    assert list(again.units_of_data.values()) == [said]


def test_first_rows_are_shown(tmp_path: Path) -> None:
    table = walks()
    mosaic = table.rename(columns={"n": "Trajectory", "t": "Frame"}).assign(NPscore=1.0)
    mosaic["Frame"] = np.rint(mosaic["Frame"] / 0.02).astype(int)
    path = write(tmp_path / "a.csv", mosaic)
    with pytest.raises(DataError, match="pixel_size=") as px:
        td.read(path, dt=0.02)
    timeless = write(tmp_path / "b.csv", table[["n", "x", "y"]])
    with pytest.raises(DataError, match="no column for time: dt=") as time:
        td.read(timeless, pixel_size=1)
    unlinked = write(tmp_path / "c.csv", table[["x", "y", "t"]])
    with pytest.raises(DataError, match="one_trajectory=True") as track:
        td.read(unlinked)
    for caught, file in ((px, path), (time, timeless), (track, unlinked)):
        assert file.read_text().splitlines()[1] in str(caught.value)
        assert "x = 'x', y = 'y'" in str(caught.value)
    storm = write(tmp_path / "d.csv", pd.DataFrame({"frame": [1], "x [nm]": [12.5], "y [nm]": [7.5]}))
    with pytest.raises(DataError, match=r"(?s)dt=.*1,12\.5,7\.5"):
        single(from_localizations(storm, linker=linkers.NonTrackingTracker(search_range=1))).check_readable()


def test_palmtracer(tmp_path: Path) -> None:
    table = walks()
    frame = np.rint(table["t"] / 0.02).astype(int)
    rows = pd.DataFrame({"Track": table["n"], "Plane": frame, "CentroidX(px)": table["x"] / 0.106})
    rows = rows.assign(
        **{"CentroidY(px)": table["y"] / 0.106, "CentroidZ(um)": 0, "id": 7, "Pair_Distance(px)": 0}
    )
    path = tmp_path / "a.txt"
    body = rows.to_csv(sep="\t", index=False)
    path.write_text("Width\tPixel_Size(um)\tFrame_Duration(s)\tSpectral\n329\t0.106\t0.02\tFalse\n" + body)
    source = single(from_files(path))
    assert source.recognition.title == "PALMTracer text"
    assert source.units == "lengths in px of 0.106 µm (stated), times in frames of 0.02 s (stated)"
    expected = table.assign(t=frame * 0.02)
    pd.testing.assert_frame_equal(source.dataframe, expected, check_exact=False)
    assert td.read(path, pixel_size=0.212)["x"].max() == pytest.approx(2 * table["x"].max())
    path.write_text(body)
    with pytest.raises(DataError, match="(?s)dt=.*pixel_size="):
        td.read(path)
    # its z is in µm, whatever the pixels
    deep = rows.assign(**{"CentroidZ(um)": table["x"] / 2})
    deep.to_csv(path, sep="\t", index=False)
    z = td.read(path, pixel_size=0.106, dt=0.02)
    np.testing.assert_allclose(z["z"], z["x"] / 2)


DIATRACK = "format (columnwise): Frame1 row n+1: (y(tn) x(tn) z(tn)), ...\n"


def test_diatrack(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(DIATRACK + "3\t0\t0\t5\t0\t0\t\n1.5\t2.5\t0\t7\t8\t0\t\n1.6\t2.6\t0\t0\t0\t0\t\n")
    table = td.read(path, pixel_size=0.1, dt=0.02)
    np.testing.assert_allclose(table, [[1, 0.25, 0.15, 0.06], [1, 0.26, 0.16, 0.08], [2, 0.8, 0.7, 0.1]])
    with pytest.raises(DataError, match="(?s)pixel_size=.*dt="):
        td.read(path)
    for body, message in (
        ("3\t0\n1\t2\n", "three columns"),
        ("3\t0\t0\na\tb\tc\n", "rows of numbers"),
        ("3.5\t0\t0\n1\t2\t0\n", "first frame"),
        ("3\t0\t0\n0\t0\t0\n", "no locations"),
        ("3\t0\t0\n1\t2\t0\n0\t0\t0\n1\t2\t0\n", "goes on below zeros"),
    ):
        path.write_text(DIATRACK + body)
        with pytest.raises(DataError, match=message):
            td.read(path, pixel_size=0.1, dt=0.02)


def test_icy(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared_data / "biotracks_misc/icy_track_processor_small.xls"
    table = td.read(path, pixel_size=0.1, dt=0.5)
    assert (len(table), table["n"].nunique(), list(table)) == (155, 8, ["n", "x", "y", "t"])
    np.testing.assert_allclose(table.iloc[1], [1, 11.622222222222222, 11.618518518518519, 0.5])
    with pytest.raises(DataError, match="(?s)pixel_size=.*dt="):
        td.read(path)
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml")
    with pytest.raises(DataError, match="as csv"):
        td.read(tmp_path / "a.xlsx")
    monkeypatch.setitem(__import__("sys").modules, "xlrd", None)
    with pytest.raises(td.errors.MissingDependencyError, match=r"tramway_dask\[icy\]"):
        td.read(path, pixel_size=0.1, dt=0.5)


def test_lists_without_end_in_hdf5(tmp_path: Path) -> None:
    """libhdf5 would follow the free list of such a heap until no memory is left."""
    path = tmp_path / "a.hdf5"
    picasso(path, walks())
    assert len(td.read(path, dt=0.02)) > 100
    data = bytearray(path.read_bytes())
    at = data.index(b"HEAP")
    free, place = (int.from_bytes(data[at + k : at + k + 8], "little") for k in (16, 24))
    assert int.from_bytes(data[place + free : place + free + 8], "little") == 1  # the end of the list
    data[place + free : place + free + 8] = free.to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.hdf5: not a complete HDF5 file"):
        td.read(path, dt=0.02)


def test_objects_without_size_in_hdf5(tmp_path: Path) -> None:
    """libhdf5 would go through such a collection of texts for ever."""
    import h5py

    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["data/xyz"] = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
        file["data/frame_ix"] = [1, 2, 3]
        file.create_group("meta").attrs["xy_unit"] = "nm"
    linker = linkers.NonTrackingTracker(search_range=1)
    assert len(td.read(path, linker=linker, dt=0.02)) == 3
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 16 + 16 + 8  # header, and the first object
    left = int.from_bytes(data[at + 8 : at + 16], "little")
    assert not any(data[at : at + 8])
    assert left > 100
    for wrong in (0, left - 48, 1 << 63):
        data[at + 8 : at + 16] = wrong.to_bytes(8, "little")
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"a\.h5: not a complete HDF5 file"):
            td.read(path, linker=linker, dt=0.02)


def test_exponents_that_stop_pandas(tmp_path: Path) -> None:
    """Before version 3, its parsers of text read out of their memory at some exponents."""
    for digits in ("1e9991588203", "-1e-9991588203", "9e99999999999999999999"):
        path = tmp_path / "a.txt"
        path.write_text(DIATRACK + f"3\t0\t0\n{digits}\t2\t0\n")
        if "e-" in digits:
            assert td.read(path, pixel_size=0.1, dt=0.02)["y"].tolist() == [0]
        else:
            with pytest.raises(DataError, match=r"a\.txt"):
                td.read(path, pixel_size=0.1, dt=0.02)
        named = write(tmp_path / "b.csv", walks().assign(uncertainty="-"))
        text = named.read_text().replace("-\n", f"{digits}\n", 3)
        named.write_text(text)
        assert len(td.read(named)) == len(walks())


def test_places_too_far_to_be_linked(tmp_path: Path) -> None:
    rows = pd.DataFrame({"frame": [1, 1, 2], "x [nm]": [0, 1e200, 1], "y [nm]": [0, 0, 1]})
    path = write(tmp_path / "a.csv", rows)
    with pytest.raises(DataError, match=r"a\.csv: 'x' goes up to 1e\+197 µm, which cannot be"):
        td.read(path, dt=0.02, linker=linkers.NonTrackingTracker(search_range=1))


def test_numbers_of_regions_are_exact(tmp_path: Path) -> None:
    """Before version 3, the parser that pandas chooses by itself reads out of its memory here."""
    path = tmp_path / "roi.txt"
    path.write_text("x min\tx max\ty min\ty max\n0\t1e9991588203\t0\t1\n")
    data = from_files(write(tmp_path / "a.csv", walks()))
    with pytest.raises(RegionError, match="infinite|finite|number"):
        data[0].roi.from_ascii_file(path)
    path.write_text("x min\tx max\ty min\ty max\n0.1\t0.30000000000000004\t0\t1\n")
    data[0].roi.from_ascii_file(path)
    [region] = data[0].roi.as_support_regions()
    assert region.bounding_box[1][0] == 0.30000000000000004
