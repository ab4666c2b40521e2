"""Runs on local workers: the same maps, through deaths of workers and of the user's process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
from cases import CENTERS, SIGMA, analyzer, same_maps, write_fields

import tramway_dask as td
from tramway_dask import environments
from tramway_dask.environments import installed
from tramway_dask.environments.client_versions import check_client
from tramway_dask.pipeline import waiting
from tramway_dask.pipeline.execute import Recorder
from tramway_dask.pipeline.work import Failure, UnitResult

ROOT = Path(td.__file__).resolve().parents[1]
CLUSTER = pytest.mark.xdist_group("cluster")
pytestmark = CLUSTER


@pytest.fixture(scope="module")
def one() -> Iterator[environments.LocalHost]:
    with environments.LocalHost(worker_count=1, dashboard_address=None) as env:
        yield env


@pytest.fixture(scope="module")
def four() -> Iterator[environments.LocalHost]:
    with environments.LocalHost(worker_count=4, dashboard_address=None) as env:
        yield env


@pytest.fixture(scope="module")
def fields(tmp_path_factory: Any) -> list[str]:
    return write_fields(tmp_path_factory.mktemp("data"), 3)


@pytest.fixture(scope="module")
def expected(fields: list[str], tmp_path_factory: Any) -> SimpleNamespace:
    """Maps made in this process."""
    a = smooth(tmp_path_factory.mktemp("expected"), fields)
    assert run(a).ok
    return SimpleNamespace(maps=a.maps("m"))


def run(a: td.RWAnalyzer, **options: Any) -> td.RunReport:
    return a.run(progress=False, **options)


def smooth(results: Path, data: Any, env: Any = None) -> td.RWAnalyzer:
    a = analyzer(results, data, mapper=td.models.D(diffusivity_prior=1.0), env=env)
    a.pipeline.append_stage(td.stages.tessellate())
    a.pipeline.append_stage(td.stages.infer("m"))
    return a


def alive(which: str, number: int) -> set[str]:
    """Return the worker processes of a parent or session."""
    command = ["ps", "--no-headers", "-o", "pid,stat,args", which, str(number)]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    return {line.split()[0] for line in lines if "dask" in line and line.split()[1][0] != "Z"}


def failures(a: td.RWAnalyzer) -> pd.DataFrame:
    table = a.results.read_failures()
    assert table is not None
    return table.to_pandas().sort_values(["stage", "source", "roi"], ignore_index=True)


@pytest.mark.parametrize("batch", ["auto", 1, 2, 100])
def test_same_maps_on_any_number_of_workers(
    tmp_path: Path, fields: list[str], expected: Any, four: Any, one: Any, batch: Any
) -> None:
    for i, env in enumerate((one, four)):
        a = smooth(tmp_path / str(i), fields, env)
        report = run(a, batch=batch)
        assert (report.done, report.failed) == (12, 0), report
        same_maps(a.maps("m"), expected.maps)
        assert run(a).skipped == 12
    assert four.is_running


def test_one_stage_on_workers(tmp_path: Path, fields: list[str], expected: Any, four: Any) -> None:
    a = analyzer(tmp_path, fields, mapper=td.models.D(diffusivity_prior=1.0), env=four)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    assert run(a).done == 6
    same_maps(a.maps("m"), expected.maps)


def test_tables_in_memory(tmp_path: Path, fields: list[str], expected: Any, four: Any) -> None:
    columns = ["n", "x", "y", "t"]
    tables = [pd.DataFrame(np.loadtxt(path), columns=columns).astype({"n": int}) for path in fields]
    seen = []
    for i, env in enumerate((None, four)):
        a = smooth(tmp_path / str(i), tables, env)
        assert run(a, batch=2).ok
        seen.append(a.maps("m"))
    same_maps(*seen)
    same_maps(seen[0].drop(columns="source"), expected.maps.drop(columns="source"))


def test_user_stages_on_workers(tmp_path: Path, fields: list[str], four: Any) -> None:
    def by_source(self: Any) -> int:
        for f in self.spt_data:
            for r in f.roi.as_support_regions():
                with r.autosaving():
                    r.add_sampling(self.sampler.sample(r.crop(f.dataframe)), "mine")
        return os.getpid()

    def everything(self: Any) -> list[str]:
        assert all(len(f.dataframe) for f in self.spt_data)
        return [r.get_sampling("mine").region_label for r in self.roi.as_support_regions()]

    tables = [pd.read_csv(path, sep="\t", names=["n", "x", "y", "t"]) for path in fields]
    for name, data in (("files", fields), ("tables", tables)):
        a = analyzer(tmp_path / name, data, env=four)
        a.pipeline.append_stage(by_source, granularity="source")
        a.pipeline.append_stage(td.stages.infer("m", sampling_label="mine"))
        a.pipeline.append_stage(everything)
        report = run(a)
        assert report.ok, report
        assert report.returned["everything", "", ""] == ["roi000", "roi001"] * 3
        assert report.returned["by_source", a.spt_data[0].name, ""] != os.getpid()
        assert run(a).skipped == 9


def test_submit_holds_the_results_folder(tmp_path: Path, fields: list[str], one: Any) -> None:
    a = smooth(tmp_path, fields, one)
    futures = a.submit()
    with pytest.raises(td.errors.StoreError, match="writing to"):
        a.submit(overwrite=True)
    one.client.cancel(list(futures.values()))
    deadline = time.monotonic() + 60
    while (tmp_path / ".lock").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run(a).ok


def test_client_that_does_not_fit(tmp_path: Path, fields: list[str], monkeypatch: Any) -> None:
    from distributed import Client

    def told(client: Client, change: dict[str, Any]) -> str:
        real = installed.installed_versions
        with monkeypatch.context() as patch:
            patch.setattr(installed, "installed_versions", lambda: {**real(), **change})
            with pytest.raises(td.errors.ClusterError) as error:
                run(smooth(tmp_path, fields, client))
            return str(error.value)

    # a cluster without this package: its Python sees no other folder than that of its libraries
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f)]\n"
        f"sys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(hidden)}
    words = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    file = tmp_path / "scheduler.json"
    scheduler = subprocess.Popen([*words, "--scheduler-file", str(file)], env=environ, cwd=hidden)
    try:
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            assert "the scheduler of a.env's client cannot import tramway_dask" in told(client, {})
    finally:
        scheduler.kill()
        scheduler.wait()
    with Client(n_workers=1, processes=False, dashboard_address=None, set_as_default=False) as client:
        assert re.search("dask is .* there and 1.0 here", told(client, {"dask": "1.0"}))
        assert "python is" in told(client, {"python": "3.9.1"})
        assert "other source files" in told(client, {"source": "0" * 64})
        assert run(smooth(tmp_path, fields, client)).ok
        assert any(place.startswith("worker ") for place in check_client(client))


def test_submitted_and_delayed_units(tmp_path: Path, fields: list[str], expected: Any, four: Any) -> None:
    a = smooth(tmp_path / "submitted", fields, four)
    futures = a.submit()
    assert len(futures) == 6
    assert ("cell0", "roi001") in futures
    for future in futures.values():
        assert future.result(timeout=200).ok
    deadline = time.monotonic() + 60
    while (a.results.folder / ".lock").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    same_maps(a.maps("m"), expected.maps)
    assert run(a).skipped == 12
    assert a.submit() == {}
    b = smooth(tmp_path / "delayed", fields)
    graph = b.delayed()
    results = dask.compute(*graph.values(), scheduler="synchronous")
    assert all(r.ok and r.payloads for r in results)
    assert not (tmp_path / "delayed").exists()


def test_a_client_of_the_user(
    tmp_path: Path, fields: list[str], expected: Any, four: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = smooth(tmp_path, fields, four.client)
    # its workers were started in another folder
    monkeypatch.chdir(Path(fields[0]).parent)
    a.spt_data.from_ascii_files("*.trxyt")
    a.spt_data.localization_precision = SIGMA
    a.results = "here"
    report = run(a)
    assert report.ok, report
    same_maps(a.maps("m"), expected.maps)
    assert four.client.status == "running"
    with pytest.raises(td.errors.SpecificationError, match="expected an environment"):
        a.env = "localhost"


def test_environment_is_closed_by_the_run(tmp_path: Path, fields: list[str]) -> None:
    before = alive("--ppid", os.getpid())
    a = smooth(tmp_path, fields[:1], environments.LocalHost(worker_count=1, dashboard_address=None))
    assert run(a).ok
    assert not a.env.is_running
    assert alive("--ppid", os.getpid()) == before


def test_mapper_that_kills_its_worker(tmp_path: Path, fields: list[str], expected: Any, four: Any) -> None:
    def deadly(cells: Any) -> pd.DataFrame:
        if cells.partition.region_label == "roi001" and len(cells.partition.points) == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        return pd.DataFrame({"n": [len(c) for c in cells.values()]}, index=list(cells))

    probe = smooth(tmp_path / "probe", fields)
    region = probe.spt_data[1].roi.get_support_region(1)
    victim = len(region.discard_static_trajectories(region.crop()))
    a = analyzer(tmp_path / "results", fields, mapper=deadly, env=four)
    a.pipeline.append_stage(td.stages.tessellate())
    a.pipeline.append_stage(td.stages.infer("m"))
    a.pipeline.append_stage(td.stages.infer("again"))
    report = run(a, batch=2)
    table = failures(a)
    assert sorted(table["error"]) == ["EarlierStageFailed", "KilledWorker"]
    assert set(table["source"] + table["roi"]) == {"cell1roi001"}
    assert report.done == 16, report
    assert "died each time" in table.set_index("error")["message"]["KilledWorker"]
    assert len(a.maps("m")[["source", "roi"]].drop_duplicates()) == 5


def test_mapper_that_misbehaves(tmp_path: Path, fields: list[str], four: Any) -> None:
    def misbehaving(cells: Any) -> Any:
        if cells.partition.region_label == "roi000":
            raise RuntimeError("on a worker")
        return None

    a = analyzer(tmp_path, fields[:1], mapper=misbehaving, env=four)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    assert run(a).failed == 2
    table = failures(a)
    assert table["error"].tolist() == ["RuntimeError", "InferenceError"]
    assert "misbehaving" in table["traceback"][0]
    assert "expected a DataFrame" in table["message"][1]
    with pytest.raises(td.errors.UnitFailedError, match="on a worker|expected a DataFrame"):
        run(a, on_error="raise")


def test_unsendable_return_value_is_a_failure(tmp_path: Path, fields: list[str], four: Any) -> None:
    def stage(self: Any) -> Any:
        for r in self.roi.as_support_regions():
            with r.autosaving():
                r.add_sampling(self.sampler.sample(r.crop()), "mine")
        return threading.Lock()

    a = analyzer(tmp_path, fields[:1], env=four)
    a.pipeline.append_stage(stage, granularity="roi")
    report = run(a)
    assert report.failed == 2
    assert failures(a)["message"].str.contains("pickle|serialize", case=False).all()


SCRIPT = """
import sys
import helper
from tramway_dask.analyzer import *
a = RWAnalyzer(results="results")
a.spt_data.from_ascii_files("*.trxyt")
a.spt_data.localization_precision = 0.01
a.roi.from_squares({centers}, 0.5)
a.tesseller = tessellers.Hexagons
a.tesseller.resolution = 0.15
def infer(cells):
    return helper.table(cells) * FACTOR
FACTOR = 2
a.mapper.from_plugin(infer)
a.pipeline.append_stage(stages.tessellate_and_infer(map_label="m"))
a.env = environments.LocalHost
a.env.worker_count = 2
a.env.script = __file__
report = a.run(progress=False)
print("STARTED ONCE", report.done, report.failed)
"""
HELPER = """
import pandas
def table(cells):
    return pandas.DataFrame({"count": [len(c) for c in cells.values()]}, index=list(cells))
"""


def test_script_as_users_write_it(tmp_path: Path) -> None:
    write_fields(tmp_path)
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "script.py").write_text(SCRIPT.format(centers=CENTERS))
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "script.py"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == "STARTED ONCE 4 0\n"
    assert not err.strip(), err
    table = td.RWAnalyzer(results=tmp_path / "results").maps("m")
    assert (table["count"] == 2 * table["n"]).all()
    assert not alive("-s", process.pid)
    made = {p.name for p in tmp_path.iterdir()} - {"__pycache__"}
    assert made == {"cell0.trxyt", "cell1.trxyt", "helper.py", "results", "script.py"}


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from cases import analyzer
import tramway_dask as td
a = analyzer({results!r}, {fields!r}, mapper=td.models.D(diffusivity_prior=1.0))
a.pipeline.append_stage(td.stages.tessellate())
a.pipeline.append_stage(td.stages.infer("m"))
from tramway_dask.pipeline.execute import Recorder
take, seen = Recorder.take, []
def dying(self, result):
    take(self, result)
    seen.append(result)
    if len(seen) == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
Recorder.take = dying
a.run(progress=False)
"""


@pytest.mark.parametrize("after", [3, 5])
def test_killed_run_is_continued(tmp_path: Path, fields: list[str], expected: Any, after: int) -> None:
    code = KILLED.format(
        tests=str(Path(__file__).parent), results=str(tmp_path / "results"), fields=fields, after=after
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert (tmp_path / "results" / ".lock").exists()
    a = smooth(tmp_path / "results", fields)
    report = run(a)
    assert (report.done, report.skipped) == (12 - after, after)
    same_maps(a.maps("m"), expected.maps)
    assert not list((tmp_path / "results").rglob("*.zip"))


def test_results_lost_with_their_worker(
    tmp_path: Path, fields: list[str], expected: Any, monkeypatch: Any
) -> None:
    """A worker dies when its tasks are done, and their results are not here yet: they are done again."""
    taken = []

    def take(self: Recorder, result: Any) -> None:
        if not taken:
            taken.append(result)
            client = env.client
            until_all(lambda: [s.status == "finished" for s in ours(client)])
            (pid,) = client.run(os.getpid).values()
            os.kill(pid, signal.SIGKILL)
            until_all(lambda: [s.status != "finished" for s in ours(client)])
        plain(self, result)

    def ours(client: Any) -> list[Any]:
        return [state for key, state in list(client.futures.items()) if str(key).startswith("tessellate")]

    def until_all(look: Any) -> None:
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            if all(look()):
                return
            time.sleep(0.02)
        raise AssertionError("not within 60 s")

    plain = Recorder.take
    monkeypatch.setattr(Recorder, "take", take)
    with environments.LocalHost(worker_count=1, dashboard_address=None) as env:
        a = analyzer(tmp_path, fields, mapper=td.models.D(diffusivity_prior=1.0), env=env)
        a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
        report = run(a, batch=1)
        assert (report.done, report.failed, len(report.rows)) == (6, 0, 6), report
        same_maps(a.maps("m"), expected.maps)
        taken.clear()
        b = analyzer(tmp_path / "submitted", fields, mapper=td.models.D(diffusivity_prior=1.0), env=env)
        b.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
        b.submit()
        until_all(lambda: [not (tmp_path / "submitted/.lock").exists()])
        same_maps(b.maps("m"), expected.maps)


def test_slow_return_of_a_worker(tmp_path: Path, fields: list[str]) -> None:
    """On a busy machine, to start a worker again takes longer than Dask waits before it gives it up."""

    def deadly(cells: Any) -> Any:
        if not (tmp_path / "dead").exists():
            (tmp_path / "dead").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return pd.DataFrame({"n": 1.0}, index=list(cells))

    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10ms"}),
        environments.LocalHost(worker_count=1, dashboard_address=None) as env,
    ):
        a = analyzer(tmp_path / "a", fields, mapper=deadly, env=env)
        a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
        assert run(a).done == 6
        # nor does it matter that what starts workers again is gone itself
        (worker,) = env.cluster.workers.values()
        first = worker.process.pid
        os.kill(first, signal.SIGKILL)
        b = analyzer(tmp_path / "b", fields, mapper=deadly, env=env)
        b.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
        assert run(b).done == 6
        assert (worker.started_again, worker.process.pid != first) == (1, True)


def test_run_without_workers_ends(
    tmp_path: Path, fields: list[str], monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(waiting, "CHECK_EVERY", 0.1)
    monkeypatch.setattr(waiting, "TELL_AFTER", 0.2)
    with environments.LocalHost(worker_count=1, dashboard_address=None, worker_timeout=1.0) as env:
        env.scale(0)
        a = smooth(tmp_path, fields, env)
        with pytest.raises(td.errors.ClusterError, match=r"no worker has been there.*a\.env\.scale\(n\)"):
            run(a)
        told = [r.message for r in caplog.records if "no worker has been there" in r.message]
        assert "a.env.scale(n)" in told[0]
        assert len(told) < 4, "each time later"
        submitted = a.submit()
        with pytest.raises(td.errors.ClusterError, match=r"no worker has been there.*a\.env\.scale\(n\)"):
            submitted.run.wait(progress=False)
        with pytest.raises(td.errors.ClusterError, match="no worker has been there"):
            list(submitted.as_completed())
        env.worker_timeout = 300.0
        env.scale(1)
        assert len(list(submitted.as_completed())) == 6


def test_cluster_lost_while_a_unit_runs_alone(tmp_path: Path, fields: list[str], one: Any) -> None:
    """It is not the unit that has failed."""
    from distributed import Client

    a = smooth(tmp_path, fields, one)
    plan = a.plan()
    with Client(one.cluster.scheduler_address, set_as_default=False) as client:
        future = client.submit(time.sleep, 20, pure=False)
        threading.Timer(0.5, client.cancel, ([future],)).start()
        with pytest.raises(td.errors.LostClusterError, match="forgotten"):
            waiting.Watch(client).unit(future, plan.todo[0])


def test_report_counts_what_was_done_out_of_reach(tmp_path: Path, fields: list[str]) -> None:
    a = smooth(tmp_path, fields)
    plan = a.plan()
    report = td.RunReport(tmp_path)
    first, second, third, *_ = (u.task for u in plan.units)
    report.add(UnitResult(first))
    report.add(UnitResult(third, failure=Failure("Error", "bad luck", "", "")))
    report.go_on([first, second], [third])
    assert (report.done, report.failed, len(report.rows)) == (2, 0, 2)
