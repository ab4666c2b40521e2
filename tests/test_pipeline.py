"""Plans, stages and their edges, repeated runs, and the same maps wherever they are made."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cases import CENTERS, SIGMA, analyzer, same_maps, walk, write_fields

import tramway_dask as td
from tramway_dask.errors import LabelConflictError, PipelineError, SpecificationError, UnitFailedError
from tramway_dask.pipeline.graph import make_batches

INFER = td.stages.infer


def run(a: td.RWAnalyzer, **options: Any) -> td.RunReport:
    return a.run(progress=False, **options)


def failures(a: td.RWAnalyzer) -> pd.DataFrame | None:
    table = a.results.read_failures()
    return None if table is None else table.to_pandas()


def sample(self: Any) -> None:
    """Segment each region, as a user would write it."""
    for r in self.roi.as_support_regions():
        with r.autosaving():
            r.add_sampling(self.sampler.sample(r.crop()), "mine")


def count(cells: Any) -> pd.DataFrame:
    return pd.DataFrame({"count": [float(len(c)) for c in cells.values()]}, index=list(cells))


def test_granularities_are_known_by_several_names() -> None:
    assert td.stages.granularity("Region_of_interest") == "roi"
    assert td.stages.granularity("min:source") == "source"
    assert td.stages.granularity(None) == "full dataset"
    with pytest.raises(SpecificationError, match="did you mean 'roi'"):
        td.stages.granularity("rois")


def test_plan_and_statuses(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    a.pipeline.append_stage(td.stages.tessellate(label="s"))
    a.pipeline.append_stage(td.stages.reload())
    a.pipeline.append_stage(INFER("m", sampling_label="s"))
    plan = a.plan()
    table = plan.to_frame()
    assert len(plan) == len(table) == 8
    assert list(table.columns) == ["stage", "source", "roi", "label", "status", "why", "file"]
    assert table["label"].tolist() == ["s"] * 4 + ["s/m"] * 4
    assert set(table["status"]) == {"to do"}
    assert "tessellate: 4 to do (4 units in 2 sources)" in str(plan)
    assert "reload: nothing to do here" in str(plan)
    assert "<table" in plan._repr_html_()
    assert not any(tmp_path.iterdir())  # to plan is to write nothing
    report = run(a)
    assert (report.done, report.skipped, report.failed) == (8, 0, 0)
    assert set(a.plan().to_frame()["status"]) == {"done"}
    a.spt_data.from_dataframes([walk(0), walk(1), walk(2)], alias=["field0", "field1", "field2"])
    assert a.plan().to_frame().groupby("source")["status"].first().tolist() == ["done", "done", "to do"]


def test_what_cannot_be_planned(tmp_path: Path) -> None:
    a = td.RWAnalyzer(results=tmp_path / "results")
    with pytest.raises(PipelineError, match="no stage"):
        run(a)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    with pytest.raises(PipelineError, match="no data"):
        run(a)
    a = analyzer(tmp_path / "results")
    a.pipeline.append_stage(INFER("m"))
    plan = a.plan().to_frame()
    assert set(plan["status"]) == {"failed"}
    assert "add stages.tessellate() before it" in plan["why"][0]
    with pytest.raises(SpecificationError, match="on_error"):
        run(a, on_error="stop")
    with pytest.raises(SpecificationError, match="batch"):
        run(a, batch=0)
    with pytest.raises(SpecificationError, match="unknown argument 'roi_indx'.*'roi_index'"):
        td.stages.infer("m", roi_indx=0)
    with pytest.raises(SpecificationError, match="a stage is a function"):
        a.pipeline.append_stage("tessellate")
    assert not (tmp_path / "results").exists()


def test_batches_have_one_stage_and_source(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    a.roi.from_squares([[x / 20, 0.5] for x in range(1, 20)], 0.2)
    a.pipeline.append_stage(td.stages.tessellate())
    a.pipeline.append_stage(INFER("m"))
    units = a.plan().todo
    for size, expected in ((1, 76), (7, 12), (100, 4), ("auto", 76)):
        batches = make_batches(units, size, 2)
        assert len(batches) == expected
        assert [u for b in batches for u in b.units] == units
        assert all(len({(u.task.stage, u.task.source) for u in b.units}) == 1 for b in batches)
        assert len({b.key for b in batches}) == len(batches)


def test_two_stages_give_the_maps_of_one(tmp_path: Path) -> None:
    one, two = analyzer(tmp_path / "one"), analyzer(tmp_path / "two")
    one.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    two.pipeline.append_stage(td.stages.tessellate())
    two.pipeline.append_stage(INFER("m"))
    assert run(one).ok
    assert run(two).ok
    same_maps(one.maps("m"), two.maps("m"))


def test_the_same_inference_under_two_labels(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    a.pipeline.append_stage(td.stages.tessellate())
    a.pipeline.append_stage(INFER("m"))
    a.pipeline.append_stage(INFER("again"))
    assert run(a).done == 12
    same_maps(a.maps("m"), a.maps("again"))
    assert run(a).skipped == 12


def test_filters_of_preset_stages(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m", roi_index=1, spt_source="field0"))
    report = run(a)
    assert failures(a) is None, report
    assert a.maps("m")[["source", "roi"]].drop_duplicates().to_numpy().tolist() == [["field0", "roi001"]]
    assert run(a).done == 0


def test_roi_expected_skips_whole_fields(tmp_path: Path) -> None:
    a = td.RWAnalyzer(tesseller=td.tessellers.Hexagons(0.2), mapper=td.models.D(), results=tmp_path)
    a.spt_data.from_dataframes([walk(0), walk(1)], alias=["p", "q"])
    a.spt_data.localization_precision = SIGMA
    a.spt_data[0].roi.from_squares(CENTERS, 0.5)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m", roi_expected=True))
    report = run(a)
    assert report.ok, report
    assert set(a.maps("m")["source"]) == {"p"}


def test_later_stage_sees_a_source_stage(tmp_path: Path) -> None:
    a = analyzer(tmp_path)

    def by_source(self: Any) -> str:
        (source,) = self.spt_data
        assert len(list(source.roi.as_support_regions())) == 2
        sample(self)
        return source.name

    def by_region(self: Any) -> None:
        (region,) = self.roi.as_support_regions()
        self.mapper.infer(region.get_sampling("mine")).commit_as_analysis("again")

    a.pipeline.append_stage(by_source, granularity="source")
    a.pipeline.append_stage(INFER("m", sampling_label="mine"))
    a.pipeline.append_stage(by_region, granularity="roi")
    report = run(a)
    assert report.ok, report
    assert report.done == 10
    assert report.returned == {("by_source", n, ""): n for n in ("field0", "field1")}
    values = ["diffusivity", "diffusivity se"]
    same_maps(a.maps("m")[values], a.maps("again")[values])
    again = run(a)
    assert (again.done, again.skipped) == (0, 10)


def test_full_dataset_stage(tmp_path: Path) -> None:
    a = analyzer(tmp_path)

    def everything(self: Any) -> int:
        sample(self)
        return len(list(self.roi.as_support_regions()))

    a.pipeline.append_stage(everything)
    a.pipeline.append_stage(INFER("m", sampling_label="mine"))
    report = run(a)
    assert report.ok, report
    assert report.returned == {("everything", "", ""): 4}
    assert len(a.maps("m")[["source", "roi"]].drop_duplicates()) == 4
    assert run(a).skipped == 4  # but a stage over everything, which may look at anything, runs again


def test_stage_in_this_process_between_others(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    a.roi.reset()

    def define(self: Any) -> None:
        for f in self.spt_data:
            f.roi.from_squares(f.dataframe[["x", "y"]].mean().to_numpy()[None], 0.4, label="middle")

    a.pipeline.append_stage(define, requires_mutability=True)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    report = run(a)
    assert report.ok, report
    assert set(a.maps("m")["roi"]) == {"middle 000"}
    assert report.done == 3
    assert run(a).skipped == 2
    assert set(a.plan().to_frame()["status"]) == {"done"}


def test_stage_in_this_process_may_store(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    a.pipeline.append_stage(sample, requires_mutability=True)
    a.pipeline.append_stage(INFER("m", sampling_label="mine"))
    assert set(a.plan().to_frame()["status"]) == {"to do"}
    assert run(a).ok
    assert len(a.maps("m")[["source", "roi"]].drop_duplicates()) == 4


def test_stages_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    def labelled(label: str) -> Any:
        def stage(self: Any) -> None:
            for r in self.roi.as_support_regions():
                with r.autosaving():
                    r.add_sampling(self.sampler.sample(r.crop()), label)

        return stage

    a = analyzer(tmp_path)
    a.pipeline.append_stage(labelled("p"), granularity="roi")
    a.pipeline.append_stage(lambda self: None, requires_mutability=True)
    a.pipeline.append_stage(labelled("q"), granularity="roi")
    assert run(a).done == 9
    assert set(a.plan().to_frame()["status"]) == {"done"}
    assert (run(a).skipped, set(a.results.labels())) == (8, {"p", "q"})


def test_time_segment_stage(tmp_path: Path) -> None:
    a = analyzer(tmp_path, mapper=count)
    a.roi.from_squares([[0.2, 0.2], [0.7, 0.7], [0.3, 0.3]], 0.3, group_overlapping_roi=True)
    a.time.from_sliding_window(1)

    def fresh_start(self: Any) -> None:
        for f in self.spt_data:
            f.logger.info(f.source)

    def tessellate(self: Any) -> None:
        for f in self.spt_data:
            with f.autosaving() as tree:
                for r in f.roi.as_support_regions():
                    tree[r.label] = self.sampler.sample(r.crop())
                    assert tree.modified

    def reload(self: Any) -> None:
        self.spt_data.reload_from_rwa_files()

    def infer(self: Any) -> None:
        for r in self.roi.as_support_regions():
            with r.autosaving() as tree:
                sampling = r.get_sampling()
                assert self.time.n_time_segments(sampling) == 3
                for times, segment in self.time.as_time_segments(sampling):
                    maps = self.mapper.infer(segment)
                    tree[r.label][self.time.segment_label("n", times, segment)] = maps

    a.pipeline.append_stage(fresh_start, run_everywhere=True)
    a.pipeline.append_stage(tessellate, granularity="roi")
    a.pipeline.append_stage(reload, requires_mutability=True)
    a.pipeline.append_stage(infer, granularity="time segment")
    report = run(a)
    assert report.ok, report
    labels = [f"n -- t={k}-{k + 1}s" for k in range(3)]
    tree = a.spt_data[0].analyses
    assert tree.labels == ["roi000-002", "roi001"]
    assert sorted(tree["roi001"].labels) == labels
    for r in a.roi.as_support_regions():
        with r.autosaving():
            sampling = r.get_sampling()
            each = [sampling.get_child(label).table["count"].sum() for label in labels]
            maps = a.time.combine_segments("n", sampling, True)
            assert maps.table["count"].sum() == sum(each)
            assert (maps.table["count"] == sampling.location_count[maps.table.index]).all()
    a.spt_data.reload_from_rwa_files()
    assert a.spt_data[0].analyses["roi001"].labels == ["n"]
    table = a.maps("n")
    assert sorted(table["segment"].unique()) == [0, 1, 2]
    assert (table["count"] == table["n"]).all()


def test_run_everywhere_runs_once_where_files_are_shared(tmp_path: Path) -> None:
    a = analyzer(tmp_path / "results")
    seen = tmp_path / "seen"

    def note(self: Any) -> None:
        with seen.open("a") as file:
            file.write("x")

    a.pipeline.append_stage(note, run_everywhere=True)
    assert run(a).done == 1
    assert seen.read_text() == "x"


def test_failure_of_one_region(tmp_path: Path) -> None:
    switch = tmp_path / "healthy"

    def delicate(cells: Any) -> pd.DataFrame:
        if not switch.exists() and cells.partition.region_label == "roi001":
            raise RuntimeError("no such thing")
        return count(cells)

    a = analyzer(tmp_path / "results", mapper=delicate)
    a.pipeline.append_stage(td.stages.tessellate())
    a.pipeline.append_stage(INFER("m"))
    report = run(a)
    assert (report.done, report.failed, report.ok) == (6, 2, False)
    assert "no such thing" in str(report)
    assert report.failures["roi"].tolist() == ["roi001", "roi001"]
    table = failures(a)
    assert table is not None
    assert table["roi"].tolist() == ["roi001", "roi001"]
    assert table["error"].tolist() == ["RuntimeError"] * 2
    assert all("delicate" in t and "no such thing" in t for t in table["traceback"])
    assert set(a.maps("m")["roi"]) == {"roi000"}
    # another label fails or succeeds on its own
    a.pipeline.reset()
    switch.touch()
    a.pipeline.append_stage(INFER("other"))
    assert run(a).ok
    table = failures(a)
    assert table is not None
    assert len(table) == 2
    a.pipeline.reset()
    a.pipeline.append_stage(INFER("m"))
    again = run(a)
    assert (again.done, again.skipped) == (2, 2)
    assert failures(a) is None
    assert not (tmp_path / "results" / "failures.parquet").exists()


def test_failure_is_handed_down(tmp_path: Path) -> None:
    def broken(self: Any) -> None:
        (region,) = self.roi.as_support_regions()
        if region.label == "roi001":
            raise RuntimeError("not here")
        sample(self)

    a = analyzer(tmp_path)
    a.pipeline.append_stage(broken, granularity="roi")
    a.pipeline.append_stage(INFER("m", sampling_label="mine"))
    report = run(a)
    assert (report.done, report.failed) == (4, 4)
    table = failures(a)
    assert table is not None
    assert sorted(table["error"]) == ["EarlierStageFailed"] * 2 + ["RuntimeError"] * 2
    told = table[table["error"] == "EarlierStageFailed"]
    assert told["message"].str.contains("not here").all()
    assert told["traceback"].str.contains("not here").all()


def test_on_error_raise(tmp_path: Path) -> None:
    def failing(cells: Any) -> None:
        raise RuntimeError("at once")

    a = analyzer(tmp_path, mapper=failing)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    with pytest.raises(UnitFailedError, match="source 'field0', region 'roi000'.*at once"):
        run(a, on_error="raise")
    table = failures(a)
    assert table is not None
    assert len(table) == 1
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("leave", [SystemExit, RecursionError, MemoryError])
def test_mapper_that_leaves_rudely(tmp_path: Path, leave: type[BaseException]) -> None:
    def rude(cells: Any) -> None:
        raise leave("bye")

    a = analyzer(tmp_path, mapper=rude)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    assert run(a).failed == 4


def test_repeated_run_does_nothing(tmp_path: Path) -> None:
    a = analyzer(tmp_path / "results", write_fields(tmp_path))
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    assert run(a).done == 4

    def files() -> dict[Path, int]:
        held = (tmp_path / "results").rglob("*.parquet")
        return {p: p.stat().st_mtime_ns for p in held}

    before = files()
    fresh = analyzer(tmp_path / "results", [str(tmp_path / f"cell{i}.trxyt") for i in range(2)])
    fresh.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    report = run(fresh)
    assert (report.done, report.skipped) == (0, 4)
    assert files() == before


def test_table_in_any_order_is_the_same_table(tmp_path: Path) -> None:
    a = analyzer(tmp_path, [walk(0).sample(frac=1, random_state=0)])
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    assert run(a).done == 2
    assert run(a).skipped == 2  # that it was put in order meanwhile changes nothing
    a.spt_data[0].dataframe = walk(1)
    with pytest.raises(LabelConflictError, match="data changed"):
        run(a)


@pytest.mark.parametrize("which", ["m", "cells", "assignment"])
def test_deleted_file_is_made_again(tmp_path: Path, which: str) -> None:
    a = analyzer(tmp_path)
    a.pipeline.append_stage(td.stages.tessellate())
    a.pipeline.append_stage(INFER("m"))
    run(a)
    before = a.maps("m")
    (tmp_path / "segmentation" / which / "field1.parquet").unlink()
    report = run(a)
    assert (report.done, report.skipped) == (2, 6)
    same_maps(a.maps("m"), before)
    tree = a.spt_data[1].analyses
    assert len(tree.of_region("roi000", "roi000").data.points)


def test_changed_parameter_is_a_conflict(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    a.pipeline.append_stage(td.stages.tessellate())
    a.pipeline.append_stage(INFER("m"))
    run(a)
    before = a.maps("m")
    a.tesseller.resolution = 0.2
    with pytest.raises(LabelConflictError, match=r"tesseller\.resolution: 0\.15 → 0\.2") as caught:
        run(a)
    assert "overwrite=True" in str(caught.value)
    same_maps(a.maps("m"), before)
    assert run(a, overwrite=True).done == 8
    assert len(a.maps("m")) < len(before)
    a.mapper.min_diffusivity = 0
    with pytest.raises(LabelConflictError, match=r"mapper\.min_diffusivity: None → 0"):
        run(a)
    a.mapper.min_diffusivity = None
    a.spt_data.localization_precision = 0.02
    with pytest.raises(LabelConflictError, match=r"localization_precision: 0\.01 → 0\.02"):
        run(a)
    a.spt_data.localization_precision = SIGMA
    a.roi.from_squares(CENTERS, 0.4)
    with pytest.raises(LabelConflictError, match="regions"):
        run(a)
    a.roi.from_squares(CENTERS, 0.5)
    assert run(a).skipped == 8


def test_changed_function_is_a_conflict(tmp_path: Path) -> None:
    def mapped(factor: float) -> Any:
        return lambda cells: count(cells) * factor

    a = analyzer(tmp_path, mapper=mapped(1.0))
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    run(a)
    a.mapper = mapped(1.0)
    assert run(a).skipped == 4
    a.mapper = mapped(2.0)
    with pytest.raises(LabelConflictError, match="code changed"):
        run(a)
    assert run(a, overwrite=True).done == 4
    assert (a.maps("m")["count"] == 2 * a.maps("m")["n"]).all()


def test_stage_after_one_that_changed_is_done_again(tmp_path: Path) -> None:
    def thinned(step: int) -> Any:
        def stage(self: Any) -> None:
            for r in self.roi.as_support_regions():
                with r.autosaving():
                    r.add_sampling(self.sampler.sample(r.crop().iloc[::step]), "mine")

        return stage

    def infer(self: Any) -> None:
        for r in self.roi.as_support_regions():
            with r.autosaving():
                self.mapper.infer(r.get_sampling("mine")).commit_as_analysis("m")

    a = analyzer(tmp_path)
    for step in (1, 2):
        a.pipeline.reset()
        a.pipeline.append_stage(thinned(step), granularity="roi")
        a.pipeline.append_stage(infer, granularity="roi")
        if step == 2:
            with pytest.raises(LabelConflictError):
                run(a)
        assert run(a, overwrite=True).done == 8
    whole = analyzer(tmp_path / "whole")
    whole.pipeline.append_stage(td.stages.tessellate_and_infer("m", discard_static=False))
    run(whole)
    assert abs(a.maps("m")["n"].sum() / whole.maps("m")["n"].sum() - 0.5) < 0.01


def test_labels_that_are_chosen(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    a.pipeline.append_stage(td.stages.tessellate())
    a.pipeline.append_stage(INFER())
    run(a)
    assert a.results.labels() == {"segmentation": ["0"]}
    assert run(a).skipped == 8
    a.mapper = td.models.DD()
    report = run(a)
    assert (report.done, report.skipped) == (4, 4)
    assert a.results.labels() == {"segmentation": ["0", "1"]}
    assert "drift x" in a.maps(1)
    assert (
        a.spt_data[0].roi.get_support_region(0).get_sampling().get_child(1).mode
        == a.spt_data[1].analyses["roi001"][1].data.mode
    )
    a.mapper = td.models.D()
    assert run(a).skipped == 8


def test_label_may_be_a_function_of_the_region(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    names = {"roi000": "left", "roi001": "right"}
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m", sampling_label=names.__getitem__))
    assert run(a).ok
    assert set(a.results.labels()) == {"left", "right"}
    assert set(a.maps("m")["sampling"]) == {"left", "right"}


def test_files_of_the_same_name(tmp_path: Path) -> None:
    for name in ("day1", "day2"):
        (tmp_path / name).mkdir()
        write_fields(tmp_path / name, count=1, diffusivity=0.05 if name == "day1" else 0.1)
    a = analyzer(tmp_path / "results", [str(tmp_path / "day*" / "*.trxyt")])
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    assert run(a).ok
    means = a.maps("m").groupby("source")["diffusivity"].mean()
    assert list(means.index) == ["day1~cell0", "day2~cell0"]
    assert means.iloc[1] > 1.5 * means.iloc[0]


def test_unknown_precision_is_told(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    a.spt_data.localization_precision = None
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    report = run(a)
    assert report.ok, report
    assert any("LocalizationPrecisionWarning" in w and "0.03" in w for w in report.warnings)
    assert "0.03" in str(report)
    assert a.spt_data[0].roi.get_support_region(0).get_sampling().get_child().sigma == 0.03


def test_regionless_run(tmp_path: Path) -> None:
    a = td.RWAnalyzer(tesseller=td.tessellers.Hexagons(0.2), mapper=td.models.D(), results=tmp_path)
    a.spt_data.from_dataframe(walk())
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    assert run(a).ok
    assert set(a.maps("m")["roi"]) == {"full"}
    assert a.spt_data[0].get_sampling("full").number_of_cells > 5


def test_columns_of_the_user_are_no_trouble(tmp_path: Path) -> None:
    a = analyzer(tmp_path, [walk().assign(cell=1, roi="x", source=3, colour="red")])
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    report = run(a)
    assert report.ok, report


def test_mapped_variables_of_changing_type(tmp_path: Path) -> None:
    def either(cells: Any) -> pd.DataFrame:
        value = "text" if cells[min(cells)].center[0] < 0.45 else 1.5
        return pd.DataFrame({"v": [value] * len(cells), "condition": 2.0}, index=list(cells))

    a = analyzer(tmp_path, mapper=either)
    a.spt_data[0].condition = "control"
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    assert run(a).ok
    assert set(a.maps("m")["v"]) == {"text", "1.5"}
    assert set(a.maps("m")["condition"].dropna()) == {"control"}
    assert set(a.maps("m")["condition mapped"]) == {2.0}


def test_specification_is_small() -> None:
    table = walk(count=400)
    a = analyzer(Path("results"), [table])
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    assert len(a.spt_data[0].translocations) > 20_000
    held = len(pickle.dumps(a.specification()))
    assert held < 10_000
    assert pickle.loads(pickle.dumps(a.specification())).spt_data[0].name == "field0"


def test_a_plan_reads_no_trajectories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = analyzer(tmp_path / "results", write_fields(tmp_path))
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    monkeypatch.setattr(td.spt_data.Source, "_read", lambda self: pytest.fail("a file was read"))
    assert len(a.plan().todo) == 4


def test_run_record(tmp_path: Path) -> None:
    a = analyzer(tmp_path)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    run(a)
    run(a)
    record = a.results.read_run()
    first, second = record["runs"]
    assert first["units"] == {"done": 4, "skipped": 0, "failed": 0}
    assert second["units"] == {"done": 0, "skipped": 4, "failed": 0}
    assert first["specification"]["tesseller"]["resolution"] == 0.15
    assert {"tramway_dask", "dask", "numpy"} <= set(first["versions"])
    assert set(record["sources"]) == {"field0", "field1"}
