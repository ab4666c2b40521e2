"""Manifests: what they say reaches the sources, the tables of results, reports and workers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from cases import analyzer, walk
from click.testing import CliRunner

import tramway_dask as td
from tramway_dask import spt_data
from tramway_dask.analyzer.configuration import from_mapping, read_configuration
from tramway_dask.analyzer.tables import maps_table
from tramway_dask.cli import main
from tramway_dask.errors import DataError, SpecificationError
from tramway_dask.spt_data.manifest import read_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of four files: two in µm and s, two that count pixels and frames."""
    for name, seed in (("a1", 0), ("a2", 1)):
        walk(seed, 5).to_csv(tmp_path / f"{name}.trxyt", sep="\t", header=False, index=False)
    (tmp_path / "treated").mkdir()
    for name, seed in (("b1", 2), ("b2", 3)):
        table = walk(seed, 5)
        frames = (table["t"] / 0.05).round().astype(int)
        mosaic = pd.DataFrame({"Trajectory": table["n"], "Frame": frames, "x": table["x"] / 0.1})
        mosaic["y"] = table["y"] / 0.1
        mosaic.to_csv(tmp_path / "treated" / f"{name}.csv")
    return tmp_path


def write(folder: Path, text: str, name: str = "manifest.csv", encoding: str = "utf-8") -> Path:
    (folder / name).write_text(text, encoding=encoding)
    return folder / name


FULL = """# who, when
file,condition,replicate,dt,pixel_size,localization_precision,roi,note
a1.trxyt,control,1,,,0.02,,
a2.trxyt,control,2,,,,a2 roi.txt,"good, mostly"

# after the drug
treated/b*.csv,drug,1,0.05,0.1,0.03,,
"""


def test_everything_is_set(folder: Path) -> None:
    write(folder, "x min\tx max\ty min\ty max\n0\t0.5\t0\t0.5\n", "a2 roi.txt")
    data = spt_data.from_manifest(write(folder, FULL))
    a1, a2, b1, b2 = data
    assert data.aliases == ["a1", "a2", "b1", "b2"]
    assert [s.condition for s in data] == ["control", "control", "drug", "drug"]
    assert [s.replicate for s in data] == ["1", "2", "1", "1"]
    assert [s.localization_precision for s in data] == [0.02, None, 0.03, 0.03]
    assert [len(s.roi.support_regions()[0].boxes) for s in data] == [0, 1, 0, 0]
    for source, seed in ((a1, 0), (a2, 1), (b1, 2), (b2, 3)):
        expected = walk(seed, 5)[["n", "x", "y", "t"]]
        pd.testing.assert_frame_equal(
            source.dataframe[["n", "x", "y"]], expected[["n", "x", "y"]], check_dtype=False, rtol=1e-12
        )
        assert (source.dataframe["t"] - expected["t"]).abs().max() < 1e-9


@pytest.mark.parametrize(
    "separator, decimal, encoding", [(";", ",", "latin-1"), ("\t", ".", "utf-8-sig"), (",", ".", "utf-8")]
)
def test_spreadsheets_write_them_too(folder: Path, separator: str, decimal: str, encoding: str) -> None:
    rows = [
        ["Condition", "File", "Pixel size (µm)", "dt [s]", "Replicate"],
        ["déf", "treated/b1.csv", "0.1", "0.05", "3"],
    ]
    text = "\r\n".join(separator.join(row).replace("0.", f"0{decimal}") for row in rows)
    (entry,) = read_manifest(write(folder, text, encoding=encoding))
    assert (entry.condition, entry.replicate, entry.pixel_size, entry.dt) == ("déf", "3", 0.1, 0.05)
    assert len(spt_data.from_manifest(folder / "manifest.csv")[0].dataframe) == len(walk(2, 5))


def test_gemspa_sheet(folder: Path) -> None:
    head = "id\tdirectory\tfile name\tmovie file dir\timage file dir\ttype\ttime (m)\tcell"
    text = f"{head}\n1\t{folder}/treated\tb1.csv\t\t\tWT\t4\tx\n2\ttreated\tb2.csv\t\t\trim15\t20\ty\n"
    one, two = spt_data.from_manifest(write(folder, text, "sheet.txt"), dt=0.05, pixel_size=0.1)
    assert (one.condition, two.condition) == ("WT, time (m) = 4", "rim15, time (m) = 20")
    assert len(two.dataframe) == len(walk(3, 5))


def test_gemspa_list_of_conditions(shared_data: Path) -> None:
    with pytest.raises(SpecificationError, match=r"lists the values of conditions \(type, time \(m\)\)"):
        spt_data.from_manifest(shared_data / "gemspa" / "conditions.txt")


WRONG = {
    "no file column": ("condition\nx\n", r"line 1: there is no column 'file'"),
    "unknown column": ("file,conditoin\na1.trxyt,x\n", r"line 1: unknown column 'conditoin'.*'condition'"),
    "twice": ("file,path\na1.trxyt,a1.trxyt\n", r"line 1: the columns 'file' and 'path' are both 'file'"),
    "number": ("#\nfile,dt\na1.trxyt,20 ms\n", r"line 3, column 'dt': expected a number, got '20 ms'"),
    "sign": ("file,Pixel size\na1.trxyt,-1\n", r"line 2, column 'Pixel size': expected a number above 0"),
    "nan": ("file,sigma\na1.trxyt,nan\n", r"line 2, column 'sigma': expected a finite number"),
    "no name": ("file,condition\n,x\n", r"line 2, column 'file': no file is named"),
    "cells": ("file,condition\na1.trxyt,x,y\n", r"line 2: 3 cells, but the header has 2"),
    "reader": ("file,reader\na1.trxyt,txt\n", r"line 2, column 'reader': unknown format 'txt'.*'text'"),
    "same row": ("file\na1.trxyt\n./a1.trxyt\n", r"line 3, column 'file': .*a1.trxyt is in .*line 2 already"),
    "both": ("file\na*.trxyt\na1.trxyt\n", r"line 3, column 'file'.*line 2.*one row only"),
    "empty": ("# nothing\n", "the manifest is empty"),
    "header only": ("file,dt\n", "names no file"),
    "quotes": ('file\n"a1.trxyt\n', "line 2: "),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(folder: Path, case: str) -> None:
    text, message = WRONG[case]
    path = write(folder, text)
    with pytest.raises(SpecificationError, match=message) as raised:
        spt_data.from_manifest(path)
    assert str(path) in str(raised.value)


def test_files_that_are_not_there(folder: Path) -> None:
    with pytest.raises(DataError, match=r"manifest.csv, line 3, column 'file': no such file: .*c.trxyt"):
        spt_data.from_manifest(write(folder, "file\na1.trxyt\nc.trxyt\n"))
    with pytest.raises(DataError, match="cannot read the manifest"):
        spt_data.from_manifest(folder / "none.csv")
    (folder / "x.csv").write_bytes(b"\0\1\2")
    with pytest.raises(DataError, match="it is no text"):
        spt_data.from_manifest(folder / "x.csv")
    with pytest.raises(ValueError, match=r"line 2, column 'roi': .*no-roi.txt"):
        spt_data.from_manifest(write(folder, "file,roi\na1.trxyt,no-roi.txt\n"))


def test_brackets_in_names(tmp_path: Path) -> None:
    inside = tmp_path / "day [1]"
    inside.mkdir()
    for name in ("a[2].trxyt", "b.trxyt"):
        walk(0, 5).to_csv(inside / name, sep="\t", header=False, index=False)
    data = spt_data.from_manifest(write(inside, "file,condition\na[2].trxyt,x\n[b]*.trxyt,y\n"))
    assert {s.name: s.condition for s in data} == {"a[2]": "x", "b": "y"}


def test_groups_travel(folder: Path) -> None:
    write(folder, FULL.replace("a2 roi.txt", ""))
    a = analyzer(folder / "results", [walk(0, 5)], roi=None)
    a.spt_data.from_manifest(folder / "manifest.csv")
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="d"))
    expected = {"a1": ("control", "1"), "a2": ("control", "2"), "b1": ("drug", "1"), "b2": ("drug", "1")}

    def groups(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
        rows = table[["source", "condition", "replicate"]].drop_duplicates()
        return {source: tuple(known) for source, *known in rows.itertuples(index=False)}

    assert groups(a.plan().to_frame()) == expected
    assert groups(a.run(progress=False).to_frame()) == expected
    assert groups(a.maps("d")) == expected
    assert list(a.maps("d").columns[:4]) == ["source", "condition", "replicate", "roi"]
    lazy = a.maps("d", lazy=True)
    assert list(lazy.columns) == list(a.maps("d").columns)
    assert groups(lazy.compute()) == expected
    # a later session knows the folder only
    assert groups(maps_table(td.Store(folder / "results"), "d")) == expected
    light = a.specification().spt_data
    assert {s.name: (s.condition, s.replicate) for s in light} == expected


def test_from_toml(folder: Path) -> None:
    write(folder, FULL.replace("a2 roi.txt", ""))
    config = folder / "config.toml"
    config.write_text(
        '[spt_data]\nlocalization_precision = 0.05\n[spt_data.from_manifest]\npath = "manifest.csv"\n'
        '[[stages]]\nstage = "tessellate"\n'
    )
    a = read_configuration(config)
    # what is said of a file goes before what is said of all
    assert [s.localization_precision for s in a.spt_data] == [0.02, 0.05, 0.03, 0.03]
    a.spt_data.localization_precision = 0.01
    assert [s.localization_precision for s in a.spt_data] == [0.01] * 4
    with pytest.raises(SpecificationError, match=r"\[spt_data.from_manifest\] 'path' is missing"):
        from_mapping({"spt_data": {"from_manifest": {}}}, folder)


def test_first_manifest(folder: Path) -> None:
    (folder / "notes.docx").write_bytes(b"PK\3\4\0\0")
    ran = CliRunner().invoke(main, ["manifest", str(folder)])
    assert ran.exit_code == 0, ran.output
    text = (folder / "manifest.csv").read_text()
    assert "4 files listed" in ran.output
    assert "lengths in px" in text
    assert "dt= is the frame interval" in text
    assert "# notes.docx: not recognised" in text
    entries = read_manifest(folder / "manifest.csv")
    assert [Path(e.file).name for e in entries] == ["a1.trxyt", "a2.trxyt", "b1.csv", "b2.csv"]
    assert [e.condition for e in entries] == [None, None, "treated", "treated"]
    assert {e.dt for e in entries} == {None}
    # it is not listed in the next, and never lost
    again = CliRunner().invoke(main, ["manifest", str(folder)])
    assert again.exit_code == 2
    assert "--overwrite" in again.output
    assert (folder / "manifest.csv").read_text() == text
    again = CliRunner().invoke(main, ["manifest", str(folder), "--overwrite"])
    assert again.exit_code == 0
    assert (folder / "manifest.csv").read_text() == text
    elsewhere = folder / "lists" / "m.csv"
    ran = CliRunner().invoke(main, ["manifest", str(folder), "--flat", "-o", str(elsewhere)])
    assert [e.file for e in read_manifest(elsewhere)] == [str(folder / f"a{i}.trxyt") for i in (1, 2)]
    ran = CliRunner().invoke(main, ["manifest", str(folder / "lists")])
    assert ran.exit_code == 2
    assert "no file with trajectories" in ran.output
