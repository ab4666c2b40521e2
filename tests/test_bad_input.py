"""Bad input, and what it gets: an error of ours that names what is wrong, and nothing lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cases import CENTERS, SIGMA, analyzer, walk, write_fields

import tramway_dask as td
from tramway_dask.errors import (
    DataError,
    InferenceError,
    SegmentationError,
    SpecificationError,
    StoreError,
    TramwayDaskError,
)

HEADER = "n\tx\ty\tt\n"
ROWS = "1\t0.1\t0.1\t0.0\n1\t0.2\t0.2\t0.1\n1\t0.3\t0.2\t0.2\n"

FILES = {
    "empty": ("", "empty"),
    "header only": (HEADER, r"bad\.txt"),
    "text": (HEADER + "1\t0.1\t0.1\t0.0\n1\tfoo\t0.2\t0.1\n", "line 3.*foo"),
    "missing column": ("n\tx\tt\n1\t0.1\t0.0\n1\t0.2\t0.1\n", "'y'"),
    "nan": (HEADER + "1\t0.1\t0.1\t0.0\n1\tnan\t0.2\t0.1\n1\t0.3\t0.2\t0.2\n", "(?i)line 3|nan"),
    "duplicates": (HEADER + "1\t0.1\t0.1\t0.0\n1\t0.2\t0.2\t0.0\n", "(?i)more than one location"),
    "ragged": (HEADER + "1\t0.1\t0.1\t0.0\n1\t0.2\n", "line 3"),
}


def run(a: td.RWAnalyzer) -> td.RunReport:
    return a.run(progress=False)


def failed(a: td.RWAnalyzer) -> pd.DataFrame:
    table = a.results.read_failures()
    assert table is not None
    return table.to_pandas()


@pytest.mark.parametrize("pattern", ["nothing*.txt", "~/no/such/file", "$HOME/no.txt", ["a.txt", "b*"]])
def test_no_file_matches(pattern: Any) -> None:
    a = td.RWAnalyzer()
    first = pattern if isinstance(pattern, str) else pattern[0]
    with pytest.raises(DataError) as caught:
        # where not even the folder is known here, files may be on a cluster that a.env will name
        a.spt_data.from_ascii_files(pattern).filepaths  # noqa: B018
    assert first in str(caught.value)
    if "/" in first:
        assert "expanded to" in str(caught.value)
    a.env = td.environments.LocalHost
    with pytest.raises(DataError, match="no such file"):
        a.spt_data.from_ascii_file(first)
    with pytest.raises(DataError, match="no file matches"):
        a.spt_data.from_ascii_files(pattern)


@pytest.mark.parametrize("case", FILES)
def test_file_that_cannot_be_used(tmp_path: Path, case: str) -> None:
    text, told = FILES[case]
    (tmp_path / "bad.txt").write_text(text)
    a = td.RWAnalyzer()
    a.spt_data.from_ascii_file(tmp_path / "bad.txt")
    with pytest.raises(DataError, match=told) as caught:
        a.spt_data[0].dataframe  # noqa: B018
    assert "bad.txt" in str(caught.value)


@pytest.mark.parametrize("case", FILES)
def test_bad_file_among_good_ones(tmp_path: Path, case: str) -> None:
    good = write_fields(tmp_path)
    (tmp_path / "bad.txt").write_text(FILES[case][0])
    a = analyzer(tmp_path / "results", [*good, str(tmp_path / "bad.txt")])
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    report = run(a)
    assert report.done == 4, report
    assert report.failed == 2
    table = failed(a)
    assert set(table["source"]) == {"bad"}
    assert set(table["error"]) == {"DataError"}
    assert table["message"].str.contains("bad.txt").all()
    assert table["traceback"].str.contains("Traceback").all()
    assert "bad" in str(report)
    # put right, it is done, and its failures are forgotten
    walk(5).to_csv(tmp_path / "bad.txt", sep="\t", index=False)
    again = run(a)
    assert (again.done, again.skipped, again.failed) == (2, 4, 0)
    assert a.results.read_failures() is None


def test_file_that_disappears(tmp_path: Path) -> None:
    good = write_fields(tmp_path)
    a = analyzer(tmp_path / "results", good)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    os.unlink(good[1])
    report = run(a)
    assert (report.done, report.failed) == (2, 1)
    assert "cell1.trxyt" in failed(a)["message"][0]
    os.unlink(good[0])
    with pytest.raises(DataError, match=r"cell0\.trxyt"):
        run(a)


def test_one_point_trajectories_only(tmp_path: Path) -> None:
    table = pd.DataFrame({"n": range(9), "x": np.linspace(0, 1, 9), "y": 0.5, "t": 0.1})
    a = analyzer(tmp_path, [walk(), table])
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    report = run(a)
    assert (report.done, report.failed) == (2, 2)
    assert set(failed(a)["error"]) == {"DataError"}
    assert failed(a)["message"].str.contains("field1").all()


def test_unsorted_frames_are_sorted(tmp_path: Path) -> None:
    table = walk()
    table.to_csv(tmp_path / "sorted.txt", sep="\t", index=False)
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "unsorted.txt", sep="\t", index=False)
    one, two = (
        td.spt_data.from_ascii_file(tmp_path / f"{n}sorted.txt")[0].translocations for n in ("", "un")
    )
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (walk().drop(columns="y"), "'y'"),
        (walk().assign(x=np.nan), "(?i)nan"),
        (walk().assign(x="foo"), "'x'"),
        (pd.concat([walk(), walk()]), "(?i)more than one location"),
        (walk().iloc[:0], "field0"),
        ([1, 2, 3], "DataFrame"),
    ],
)
def test_table_that_cannot_be_used(tmp_path: Path, table: Any, told: str) -> None:
    a = td.RWAnalyzer(results=tmp_path)
    a.spt_data.from_dataframes([table], alias=["field0"])
    with pytest.raises(TramwayDaskError, match=told):
        a.spt_data[0].translocations  # noqa: B018


def test_region_without_data(tmp_path: Path) -> None:
    a = analyzer(tmp_path, [walk()])
    a.roi.from_squares([*CENTERS, [50, 50]], 0.5)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    report = run(a)
    assert (report.done, report.failed) == (2, 1)
    assert failed(a)["roi"].tolist() == ["roi002"]
    assert "source 'field0', region 'roi002': no translocation" in failed(a)["message"][0]


def test_region_of_static_molecules(tmp_path: Path) -> None:
    a = analyzer(tmp_path, [walk()])
    a.spt_data.localization_precision = 100.0
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    assert run(a).failed == 2
    assert failed(a)["message"].str.contains("discard_static=False").all()


@pytest.mark.parametrize("content", [None, "nonsense\n1\n", "x min\tx max\ty min\ty max\n1\t0\t0\t1\n"])
def test_region_file_missing_or_malformed(tmp_path: Path, content: str | None) -> None:
    good = write_fields(tmp_path)
    (tmp_path / "cell0-roi.txt").write_text("x min\tx max\ty min\ty max\n0\t1\t0\t1\n")
    if content is not None:
        (tmp_path / "cell1-roi.txt").write_text(content)
    a = td.RWAnalyzer(
        tesseller=td.tessellers.Hexagons(0.2), mapper=td.models.D(), results=tmp_path / "results"
    )
    a.spt_data.from_ascii_files(good)
    a.spt_data.localization_precision = SIGMA
    a.roi.from_ascii_files()
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    report = run(a)
    assert (report.done, report.failed) == (1, 1)
    assert failed(a)["error"][0] == "RegionError"
    assert "cell1-roi.txt" in failed(a)["message"][0]
    (tmp_path / "cell1-roi.txt").write_text("x min\tx max\ty min\ty max\n0\t1\t0\t1\n")
    assert (run(a).skipped, a.results.read_failures()) == (1, None)


def test_two_files_of_the_same_name(tmp_path: Path) -> None:
    for folder in ("p", "q"):
        (tmp_path / folder).mkdir()
        write_fields(tmp_path / folder, 1)
    a = td.RWAnalyzer()
    a.spt_data.from_ascii_files(str(tmp_path / "*" / "*.trxyt"))
    assert a.spt_data.aliases == ["p~cell0", "q~cell0"]


@pytest.mark.parametrize("make", [td.tessellers.Hexagons, td.tessellers.Squares, td.tessellers.KMeans])
@pytest.mark.parametrize("resolution", [0, -1, np.nan, np.inf, "fine"])
def test_resolution_that_makes_no_sense(make: Any, resolution: Any) -> None:
    tesseller = make()
    with pytest.raises(SpecificationError, match="resolution"):
        tesseller.resolution = resolution
    with pytest.raises(SpecificationError, match="resolution"):
        make(resolution=resolution)


@pytest.mark.parametrize("make", [td.tessellers.Hexagons, td.tessellers.Squares])
@pytest.mark.parametrize(("resolution", "told"), [(1e-5, "million"), (50.0, "(?i)resolution|larger|region")])
def test_resolution_too_fine_or_coarse(tmp_path: Path, make: Any, resolution: float, told: str) -> None:
    a = analyzer(tmp_path, [walk()], tesseller=make(resolution=resolution))
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    report = run(a)
    if report.ok:  # one cell that holds the whole region is said to be so
        assert resolution == 50.0
        assert len(a.maps("m")) == 2
        assert report.warnings
        return
    assert report.failed == 2
    assert set(failed(a)["error"]) == {SegmentationError.__name__}
    assert failed(a)["message"].str.contains(told).all()


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (None, "NoneType"),
        (3, "int"),
        ({"a": 1}, "dict"),
        (pd.Series([1.0]), "Series"),
        (pd.DataFrame({"v": [1.0]}, index=[10**6]), "1000000"),
        (pd.DataFrame({"v": [1.0, 2.0]}, index=[0, 0]), "duplicates|not one of them"),
        ((1, 2), "int, int"),
    ],
)
def test_mapper_that_returns_the_wrong_thing(tmp_path: Path, result: Any, told: str) -> None:
    def strange(cells: Any) -> Any:
        return result

    a = analyzer(tmp_path, [walk()], mapper=strange)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    assert run(a).failed == 2
    assert set(failed(a)["error"]) == {InferenceError.__name__}
    assert failed(a)["message"].str.contains("strange").all()
    assert failed(a)["message"].str.contains(told).all()
    assert not list(tmp_path.rglob("m/*.parquet"))


def test_mapper_that_raises(tmp_path: Path) -> None:
    def raising(cells: Any) -> Any:
        raise ZeroDivisionError("in the mapper")

    a = analyzer(tmp_path, [walk()], mapper=raising)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    assert run(a).failed == 2
    assert failed(a)["error"].tolist() == ["ZeroDivisionError"] * 2
    assert failed(a)["traceback"].str.contains("raising").all()


@pytest.mark.xdist_group("cluster")
def test_mapper_that_kills_its_worker(tmp_path: Path) -> None:
    def deadly(cells: Any) -> Any:
        if cells.partition.region_label == "roi001":
            os.kill(os.getpid(), signal.SIGKILL)
        return pd.DataFrame({"n": 1.0}, index=list(cells))

    env = td.environments.LocalHost(worker_count=1, dashboard_address=None)
    a = analyzer(tmp_path, [walk()], mapper=deadly, env=env)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    report = run(a)
    assert (report.done, report.failed) == (1, 1)
    assert failed(a)[["roi", "error"]].to_numpy().tolist() == [["roi001", "KilledWorker"]]
    assert not env.is_running


def test_results_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("something else")
    a = analyzer(tmp_path / "results", [walk()])
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    with pytest.raises(StoreError, match="results"):
        run(a)
    assert (tmp_path / "results").read_text() == "something else"


def test_misspelt_options() -> None:
    a = td.RWAnalyzer(tesseller=td.tessellers.Hexagons)
    with pytest.raises(AttributeError, match="did you mean 'resolution'"):
        a.tesseller.resolutoin = 1
    with pytest.raises(AttributeError, match="'tesseller'"):
        a.teseller = td.tessellers.Hexagons
    with pytest.raises(AttributeError, match="'localization_precision'"):
        a.spt_data.localisation_precision = 0.03
    a.spt_data.from_dataframe(walk())
    with pytest.raises(SpecificationError, match="localization_precision"):
        a.spt_data.localization_precision = -1
    with pytest.raises(SpecificationError, match="worker_count"):
        td.environments.LocalHost(worker_count=0)
