"""Detached runs without a cluster: records, scripts, what a status says, merging, and the driver itself."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import pytest
from cases import CENTERS, SIGMA, analyzer, same_maps, walk, write_fields

import tramway_dask as td
from tramway_dask import environments
from tramway_dask.analyzer.detached import RunHandle, _pickle, _sources_needed, attach
from tramway_dask.environments.batch import _send, remove_run
from tramway_dask.environments.batch_scripts import array_size, driver_script, workers_script
from tramway_dask.environments.driver import BatchClient, Watch, cluster, read_private
from tramway_dask.environments.inspection import inspect_run, job_logs, judge
from tramway_dask.environments.records import RunRecord, find_record, plain, read_records
from tramway_dask.environments.runfolder import RunFolder, new_security
from tramway_dask.environments.shell import LocalShell
from tramway_dask.environments.slurmtext import Job
from tramway_dask.errors import ClusterError, LabelConflictError, PipelineError, StoreError
from tramway_dask.results.archive import merge, pack, unpack
from tramway_dask.results.payload import Payload
from tramway_dask.results.store import Store

NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def records(tmp_path: Path) -> Any:
    with dask.config.set({"tramway.runs-folder": str(tmp_path / "records")}):
        yield tmp_path / "records"


def record(run_id: str = "261122-010203-abcdef", **about: Any) -> RunRecord:
    given = {
        "environment": "Maestro",
        "kind": "ssh",
        "folder": "/s/runs/" + run_id,
        "results": "res",
        **about,
    }
    return RunRecord(run_id, jobs={"driver": "7", "workers": "8"}, **given)


def staged(results: Path, data: Any = None, model: Any = None) -> td.RWAnalyzer:
    a = analyzer(results, data, mapper=model or td.models.D(diffusivity_prior=1.0))
    a.pipeline.append_stage(td.stages.tessellate())
    a.pipeline.append_stage(td.stages.infer("m"))
    return a


def test_record_is_private_and_found_again(records: Path) -> None:
    one, two = record(), record("261122-020304-fedcba")
    one.save()
    two.save()
    assert stat.S_IMODE(one.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(records.stat().st_mode) == 0o700
    assert find_record() == two
    assert find_record("abcdef") == find_record("261122-0102") == one
    with pytest.raises(ClusterError, match="several runs '261122'"):
        find_record("261122")
    with pytest.raises(ClusterError, match="no run 'x'"):
        find_record("x")
    (records / "261122-030405-aaaaaa.json").write_text("{")
    (records / "261122-030405-bbbbbb.json").write_text(one.path.read_text())
    (records / "notes.json").write_text("{}")
    assert read_records() == [one, two]
    with pytest.raises(ClusterError, match="no record of a run"):
        find_record("261122-030405-aaaaaa")
    one.forget()
    assert read_records() == [two]
    assert attach().results.folder == Path("res")
    assert two.run_id in repr(attach("fedcba"))


def test_no_secret_is_kept() -> None:
    given = {"password": "x", "passphrase": "y", "port": 3, "prompt": print, "key": Path("/k")}
    assert plain(given) == {"port": 3, "key": "/k"}


def test_no_record_can_be_written(records: Path) -> None:
    records.parent.mkdir(exist_ok=True)
    records.write_text("a file")
    with pytest.raises(ClusterError, match="runs-folder"):
        record().save()
    records.unlink()
    with pytest.raises(ClusterError, match="no run is known"):
        attach()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"worker_count": 3}, (6, 3)),
        ({"worker_count": 3, "scheduler_walltime": "03:30:00"}, (15, 3)),
        ({"worker_count": 40, "max_array": 50}, (50, 40)),
        ({"worker_count": 40, "max_jobs": 10}, (8, 8)),
        ({"worker_count": 40, "max_resubmits": 1}, (41, 40)),
    ],
)
def test_size_of_the_array(settings: dict[str, Any], expected: tuple[int, int]) -> None:
    assert array_size(environments.Slurm(**settings)) == expected


def run_folder(path: Path, python: str = sys.executable) -> RunFolder:
    env = environments.Slurm(python=python, interface="lo", memory="1 GiB", local_directory=str(path.parent))
    settings = env._settings("261122-010203-abcdef", str(path), str(path.parent))
    return RunFolder(LocalShell(), "261122-010203-abcdef", str(path), settings, new_security())


def test_scripts_are_quoted(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "a b's $(run)")
    env = environments.Slurm(scheduler_walltime="02:00:00")
    for text in (workers_script(run), driver_script(run, env)):
        done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert "$(run)'" in text
    assert "-t 02:00:00" in driver_script(run, env)


def job(part: str, state: str, reason: str = "None", **about: Any) -> Job:
    number = "7" if part == "driver" else "8"
    return Job(number, number, None, state, reason, name=f"tramway-261122-010203-abcdef-{part}", **about)


def told(state: str, **about: Any) -> str:
    units = [
        {"stage": "infer", "source": "a", "done": 3, "skipped": 2, "failed": 1, "left": 4, "running": 2},
        {"stage": "infer", "source": "b", "done": 0, "skipped": 0, "failed": 0, "left": 10, "running": 0},
    ]
    return json.dumps({"state": state, "units": units, "workers": 2, **about})


@pytest.mark.parametrize(
    ("about", "state", "words"),
    [
        (
            {"jobs": [job("driver", "PENDING", "Priority", start=NOW + 600)]},
            "waiting",
            "other jobs come first; exp",
        ),
        (
            {"jobs": [job("driver", "RUNNING")], "told": told("running")},
            "running",
            "5 done, 2 running, 2 waiting, 1 fa",
        ),
        ({"jobs": [job("driver", "RUNNING")]}, "waiting", "the driver is starting"),
        (
            {"jobs": [job("driver", "RUNNING"), job("workers", "PENDING")], "told": told("waiting")},
            "waiting",
            "for its worker jobs to start",
        ),
        ({"told": told("done")}, "done", "units: 5 done"),
        ({"told": told("failed")}, "failed", "1 units have failed"),
        (
            {"told": told("running"), "jobs": [job("driver", "TIMEOUT")]},
            "stopped",
            "time limit was reached; raise",
        ),
        ({"told": told("running"), "log": "DUE TO TIME LIMIT"}, "stopped", "time limit"),
        ({"told": told("running"), "jobs": [job("driver", "OUT_OF_MEMORY")]}, "stopped", "more memory"),
        ({"told": told("stopped", error="no space"), "ended": "1"}, "stopped", "no space"),
        ({"told": told("running"), "jobs": [job("driver", "CANCELLED")]}, "cancelled", "was cancelled"),
        ({"told": told("running")}, "stopped", "its node went down"),
        ({"told": told("running"), "jobs": [job("workers", "PENDING")]}, "stopped", "left in the queue"),
        ({"ended": "3", "log": "FATAL:  could not open image"}, "stopped", "container could not be started"),
        ({"here": False}, "gone", "does not exist any more"),
        ({"told": '{"state": "run'}, "stopped", "no word"),
    ],
)
def test_status_in_plain_words(about: dict[str, Any], state: str, words: str) -> None:
    given = {"here": True, "jobs": [], "told": "", "ended": "", "log": "", **about}
    found = judge(record(), now=NOW, **given)
    assert found.state == state, found
    assert words in str(found)
    json.dumps(found.to_dict())


def test_jobs_that_wait_are_explained() -> None:
    jobs = [
        job("driver", "RUNNING", nodes="n1"),
        job("workers", "PENDING", "QOSMaxJobsPerUserLimit"),
        job("workers", "PENDING", "PartitionTimeLimit"),
        job("workers", "PENDING", "JobArrayTaskLimit"),
    ]
    found = judge(record(), here=True, jobs=jobs, told=told("waiting"), ended="", log="", now=NOW)
    text = str(found)
    assert "running on n1" in text
    assert "limit of running jobs of one user" in text
    assert "cannot start: its walltime is longer" in text
    assert "in reserve" in text
    assert [j["stuck"] for j in found.jobs] == [False, False, True, False]


def test_unfinished_results_are_merged(tmp_path: Path) -> None:
    expected, there, here = (staged(tmp_path / name) for name in ("expected", "there", "here"))
    for a in (expected, there):
        assert a.run(progress=False).ok
    # as a driver that was killed leaves it: parts that no table holds
    store = Store(tmp_path / "partial")
    for source in ("field0", "field1"):
        for unit in there.results.units(source).values():
            if not unit["outputs"][0][1] or source == "field0":
                label, maps, roi, key = unit["outputs"][0]
                payload = Payload(unit, [there.results.record(label, maps, roi, source)])
                store.write_part(source, key, payload.to_bytes())
    assert merge(here.results, store) == 6
    assert merge(here.results, store) == 0
    report = here.run(progress=False)
    assert (report.done, report.skipped) == (2, 6)
    same_maps(here.maps("m"), expected.maps("m"))
    assert merge(here.results, there.results) == 0


def test_failures_are_merged(tmp_path: Path) -> None:
    def broken(a: Any) -> None:
        raise ValueError("too blue")

    here, there, good = (staged(tmp_path / name) for name in ("here", "there", "good"))
    for a in (here, there):
        a.pipeline.append_stage(broken, granularity="roi")
        a.run(progress=False)
    table = there.results.read_failures()
    assert len(table) == 4
    other = Store(tmp_path / "other")
    merge(other, there.results)
    assert other.read_failures().equals(table)
    merge(other, here.results)
    assert len(other.read_failures()) == 4
    assert len(other.read_run()["runs"]) >= 1
    good.run(progress=False)
    rows = [dict(table.to_pylist()[0], unit=next(iter(good.results.units("field0"))), source="field0")]
    other.write_failures(rows)
    good_again = Store(tmp_path / "good")
    merge(other, good_again)
    assert other.read_failures() is None


def test_newer_results_are_not_replaced_unasked(tmp_path: Path) -> None:
    here, there = staged(tmp_path / "here", model=td.models.DD()), staged(tmp_path / "there")
    for a in (here, there):
        a.run(progress=False)
    before = here.maps("m")
    with pytest.raises(LabelConflictError, match="overwrite=True"):
        merge(here.results, there.results)
    same_maps(here.maps("m"), before)
    assert merge(here.results, there.results, overwrite=True) > 0
    here.refresh()
    same_maps(here.maps("m"), there.maps("m"))


def test_archive(tmp_path: Path) -> None:
    a = staged(tmp_path / "res")
    assert not pack(a.results, ["field0"], tmp_path / "x.tar")
    a.run(progress=False)
    assert pack(a.results, ["field1"], tmp_path / "x.tar")
    unpack(tmp_path / "x.tar", tmp_path / "out")
    copy = Store(tmp_path / "out")
    assert copy.units("field1") == a.results.units("field1")
    assert copy.table("segmentation", "m").equals(a.results.table("segmentation", "m", "field1"))
    (tmp_path / "bad.tar").write_bytes(b"no archive")
    with pytest.raises(StoreError, match="cannot be unpacked"):
        unpack(tmp_path / "bad.tar", tmp_path / "bad")


def test_only_private_files_are_unpickled(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    path = folder / "analyzer.pkl"
    path.write_bytes(b"1")
    path.chmod(0o600)
    assert read_private(path) == b"1"
    path.chmod(0o620)
    with pytest.raises(ClusterError, match="others"):
        read_private(path)
    path.chmod(0o600)
    folder.chmod(0o777)
    with pytest.raises(ClusterError, match="others"):
        read_private(path)
    folder.chmod(0o700)
    (folder / "link").symlink_to(path)
    with pytest.raises(ClusterError, match="others"):
        read_private(folder / "link")
    with pytest.raises(ClusterError, match="cannot read"):
        read_private(folder / "absent")


def test_driver_gives_up_without_workers(tmp_path: Path) -> None:
    client = BatchClient(SimpleNamespace(), tmp_path / "gave-up")
    client.check()
    (tmp_path / "gave-up").write_text("22 worker jobs have ended before their time\n")
    with pytest.raises(ClusterError, match="22 worker jobs have ended before their time; see their logs"):
        client.check()


def test_watch_counts(tmp_path: Path) -> None:
    a = staged(tmp_path / "res")
    watch = Watch(tmp_path / "status.json", "x")
    a.run(progress=watch)  # type: ignore[call-overload]
    tasks = [SimpleNamespace(key=f"infer-{16 * '0'}-field1-roi000"), SimpleNamespace(key="other")]
    workers = {"w": SimpleNamespace(processing=dict.fromkeys(map(str, range(2))))}
    workers["w"].processing = tasks
    watch(a.plan())
    watch._counts["infer", "field1"]["left"] = 2
    watch.scheduler = SimpleNamespace(workers=workers)
    watch.tell("waiting")
    content = json.loads((tmp_path / "status.json").read_text())
    assert content["state"] == "running"
    assert content["workers"] == 1
    rows = {(r["stage"], r["source"]): r for r in content["units"]}
    assert rows["infer", "field1"]["running"] == 1
    assert rows["tessellate", "field0"]["skipped"] == 2
    assert stat.S_IMODE((tmp_path / "status.json").stat().st_mode) == 0o600


def test_regions_tables_and_labels_travel(tmp_path: Path) -> None:
    a = td.RWAnalyzer(
        results=tmp_path / "res", tesseller=td.tessellers.Hexagons(resolution=0.15), mapper=td.models.D()
    )
    a.spt_data.from_dataframes([walk(0), walk(1)], alias=["one", "two"])
    a.spt_data.localization_precision = SIGMA
    a.roi.from_squares(CENTERS, 0.5)
    a.pipeline.append_stage(td.stages.tessellate_and_infer())
    plan = a.plan()
    _pickle(a, plan, list(a.spt_data), {}, tmp_path / "a.pkl")
    b = pickle.loads((tmp_path / "a.pkl").read_bytes()).unpack(tmp_path / "modules")
    b.results = tmp_path / "there"
    assert [u.task.key for u in b.plan()] == [u.task.key for u in plan]
    a.run(progress=False)
    b.run(progress=False)
    same_maps(a.maps(), b.maps())


def test_done_sources_stay_at_home(tmp_path: Path) -> None:
    a = staged(tmp_path / "res", [walk(0)])
    a.run(progress=False)
    a.spt_data.from_dataframes([walk(0), walk(1)], alias=["field0", "field1"])
    a.spt_data.localization_precision = SIGMA
    assert [s.name for s in _sources_needed(a, a.plan(), False)] == ["field1"]
    assert len(_sources_needed(a, a.plan(), True)) == 2


def test_detached_needs_slurm_and_work(tmp_path: Path) -> None:
    a = staged(tmp_path / "res")
    with pytest.raises(PipelineError, match="needs a cluster with Slurm"):
        a.run(detach=True)
    a.run(progress=False)
    a.env = environments.SlurmOverSSH(host="nowhere.invalid")
    with pytest.raises(PipelineError, match="nothing is to be done"):
        a.run(detach=True)


def test_pages_of_a_driver_are_not_open_to_the_network(tmp_path: Path) -> None:
    """Distributed serves logs and calls even without a dashboard, unencrypted, where the scheduler listens."""
    path = tmp_path / "runs" / "261122-010203-abcdef"
    path.parent.mkdir(mode=0o700)
    run = run_folder(path)
    asyncio.run(run.make())
    with cluster(path, None) as made:
        assert made.scheduler.address.startswith("tls://")
        assert made.scheduler.http_server.address == "127.0.0.1"


def test_driver_and_workers_as_the_jobs_run_them(tmp_path: Path) -> None:
    """The scripts of the jobs, run by Bash instead of Slurm."""
    a = staged(tmp_path / "res", write_fields(tmp_path, 2))
    path = tmp_path / "my runs" / "261122-010203-abcdef"
    path.parent.mkdir(mode=0o700)
    run = run_folder(path)
    plan = a.plan()
    _pickle(a, plan, list(a.spt_data), {}, tmp_path / "a.pkl")
    settings = {
        "run_id": run.run_id,
        "interface": "lo",
        "overwrite": False,
        "status_interval": 0.2,
    }
    settings |= {"on_error": "record", "batch": "auto"}

    async def prepare() -> None:
        await run.make()
        await _send(run, tmp_path / "a.pkl", None, settings, [])

    asyncio.run(prepare())
    environ = {**os.environ, "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "1", "OMP_NUM_THREADS": "1"}
    log = path / "logs" / f"tramway-{run.run_id}-driver-7.log"
    started = []
    try:
        with open(log, "w") as output, open(path / "logs/worker.log", "w") as other:
            for text, place in (
                (workers_script(run), other),
                (driver_script(run, environments.Slurm()), output),
            ):
                process = subprocess.Popen(
                    ["bash", "-s"], stdin=subprocess.PIPE, stdout=place, stderr=place, text=True, env=environ
                )
                started.append(process)
                assert process.stdin is not None
                process.stdin.write(text)
                process.stdin.close()
        ends = time.monotonic() + 60
        while not (path / "driver.ended").exists():
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.2)
        assert (path / "driver.ended").read_text().strip() == "0", log.read_text()
        assert started[0].wait(20) is not None
        assert (path / "ended/0_0").exists()
        assert started[1].wait(20) == 0
        assert not (path / "tls").exists()
    finally:
        for process in started:
            process.terminate()
            process.wait(30)
    mine = record(kind="local", folder=str(path), results=str(tmp_path / "res"))
    found = asyncio.run(inspect_run(LocalShell(), mine))
    assert (found.state, found.count("done")) == ("done", 8)
    assert asyncio.run(job_logs(LocalShell(), mine, state="done")) == []
    handle = RunHandle(mine)
    assert handle.fetch().state == "done"
    expected = staged(tmp_path / "expected", a.spt_data.filepaths)
    expected.run(progress=False)
    same_maps(a.maps("m"), expected.maps("m"))
    assert not a.plan().todo
    (path / ".tramway-dask-run").write_text("another")
    with pytest.raises(ClusterError, match="no marker"):
        asyncio.run(remove_run(LocalShell(), mine))
    (path / ".tramway-dask-run").write_text(run.run_id)
    assert asyncio.run(remove_run(LocalShell(), mine))
    assert not path.exists()
    assert not asyncio.run(remove_run(LocalShell(), mine))


def test_only_what_is_missing_is_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = tmp_path / "run"
    for name in ("tmp", "results"):
        (run / name).mkdir(parents=True)
    there = staged(run / "results", model=td.models.DD())
    assert there.run(progress=False).ok
    (run / "status.json").write_text(told("done"))
    (run / "notes.txt").write_text("one")
    (tmp_path / "picture.png").write_text("two")
    mine = record(
        kind="local", folder=str(run), results=str(tmp_path / "res"), directory=str(tmp_path / "here"),
        collectibles=["notes.txt", str(tmp_path / "picture.png"), "absent.txt"],
    )  # fmt: skip
    here = Store(tmp_path / "res")

    def received() -> int:
        handle = RunHandle(mine)
        handle.fetch()
        same_maps(there.maps("m"), td.RWAnalyzer(results=here.folder).maps("m"))
        return handle.received

    first = received()
    assert first > 0
    assert (tmp_path / "here/notes.txt").read_text() == "one"
    assert (here.folder / "collected/picture.png").read_text() == "two"
    assert "has not written absent.txt" in caplog.text
    # nothing has changed
    assert received() == 0
    # a file is lost here: the tables of its source come again
    lost = here.files("segmentation", "m")[0]
    lost.unlink()
    again = received()
    assert 0 < again < first
    # a stage more, for all sources
    there.pipeline.append_stage(td.stages.infer("n"))
    there.run(progress=False)
    assert 0 < received() <= first * 2
    assert received() == 0
    assert len(there.maps("n")) == len(td.RWAnalyzer(results=here.folder).maps("n"))
    RunHandle(mine)._forget()
    assert not (here.folder / ".fetched").exists()


def test_running_results_are_sent_in_parts(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "tmp").mkdir(parents=True)
    whole = staged(tmp_path / "whole")
    assert whole.run(progress=False).ok
    there = Store(run / "results")
    payloads = []
    units = whole.results.units("field0").values()
    for unit in sorted(units, key=lambda unit: unit["outputs"][0][1] is not None):
        label, maps, roi, key = unit["outputs"][0]
        payloads.append((key, Payload(unit, [whole.results.record(label, maps, roi, "field0")])))
    (run / "status.json").write_text(told("running"))
    mine = record(kind="local", folder=str(run), results=str(tmp_path / "res"))
    here, sizes = Store(tmp_path / "res"), []
    for key, payload in payloads:
        there.write_part("field0", key, payload.to_bytes())
        handle = RunHandle(mine)
        handle.fetch()
        sizes.append(handle.received)
        assert payload.unit["id"] in here.units("field0")
    assert len(sizes) == 4
    assert sizes[1] < 1.5 * sizes[0], "the second part came alone"
    assert max(sizes[2:]) < sizes[0] / 2, "maps are small"
    there.merge("field0")
    handle.fetch()
    handle.fetch()
    assert handle.received == 0
    assert len(here.units("field0")) == len(payloads)
    for kind in ("cells", "assignment", "m"):
        assert here.table("segmentation", kind).equals(whole.results.table("segmentation", kind, "field0"))


def test_status_shows_what_was_told_before(tmp_path: Path) -> None:
    """A driver that is lost before it has a plan leaves what the one before, or the user's computer, has told."""
    row = {"stage": "s", "source": "a", "done": 1, "skipped": 0, "failed": 0, "left": 3, "running": 2}
    path = tmp_path / "status.json"
    path.write_text(json.dumps({"units": [row]}))
    Watch(path, "x").write()
    assert json.loads(path.read_text())["units"] == [{**row, "running": 0}]
    path.write_text("cut sh")
    Watch(path, "x").write()
    assert json.loads(path.read_text())["units"] == []
