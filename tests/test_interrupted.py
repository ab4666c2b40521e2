"""A run that a person interrupts goes on, is found again, and is not done twice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cases import analyzer, walk

import tramway_dask as td
from tramway_dask import environments
from tramway_dask.analyzer import running
from tramway_dask.pipeline.background import going_on

pytestmark = pytest.mark.xdist_group("cluster")
CENTERS = [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


@pytest.fixture(scope="module")
def one() -> Iterator[environments.LocalHost]:
    with environments.LocalHost(worker_count=1, dashboard_address=None) as env:
        yield env


def gated(cells: Any, gate: str = "") -> pd.DataFrame:
    """Map something, once a file is there; each call leaves a file."""
    folder = Path(gate)
    (folder / f"call-{time.time_ns()}").touch()
    while not (folder / "open").exists():
        time.sleep(0.02)
    return pd.DataFrame({"v": 1.0}, index=list(cells))


def calls(folder: Path) -> int:
    return len(list(folder.glob("call-*")))


def made(folder: Path, env: Any) -> td.RWAnalyzer:
    gate = folder / "gate"
    gate.mkdir(exist_ok=True)
    a = analyzer(
        folder / "results",
        [walk()],
        mapper=td.mapper.from_callable(gated, gate=str(gate)),
        roi=td.roi.from_squares(CENTERS, 0.5),
        env=env,
    )
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    return a


def until(true: Any, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def interrupted(a: td.RWAnalyzer, gate: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run until a unit has begun, then interrupt; return what is said."""
    import _thread

    def interrupt() -> None:
        until(lambda: calls(gate) > 0)
        _thread.interrupt_main()

    monkeypatch.setattr(running, "is_interactive", lambda: True)
    waiting = threading.Thread(target=interrupt)
    waiting.start()
    with pytest.raises(KeyboardInterrupt) as error:
        a.run(progress=False, batch=1)
    waiting.join()
    return str(error.value)


def test_run_again(tmp_path: Path, one: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    a, gate = made(tmp_path, one), tmp_path / "gate"
    words = interrupted(a, gate, monkeypatch)
    assert "it goes on" in words
    assert "a.run()" in words
    handle = a.attach()
    assert handle is going_on(a.results.folder)
    assert "going on: 0 done, 0 failed, 4 left" in repr(handle)
    assert "4 left" in handle._repr_html_()
    with pytest.raises(td.errors.ClusterError, match="not over after"):
        handle.wait(0.1, progress=False)
    with pytest.raises(td.errors.StoreError, match="writing to"):
        a.submit()
    # the cell that makes the analyzer is run again as well
    b = made(tmp_path, one)
    (gate / "open").touch()
    report = b.run(progress=False)
    assert (report.done + report.skipped, report.failed) == (4, 0)
    assert calls(gate) == 4, "nothing is done twice"
    assert going_on(a.results.folder) is None
    assert not (a.results.folder / ".lock").exists()
    assert b.run(progress=False).skipped == 4
    assert one.is_running


def test_stored_while_nobody_waits(tmp_path: Path, one: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    a, gate = made(tmp_path, one.client), tmp_path / "gate"
    interrupted(a, gate, monkeypatch)
    (gate / "open").touch()
    report = a.attach().wait(90, progress=False)
    assert (report.done, report.failed) == (4, 0)
    assert a.attach().status() == "over: 4 done, 0 failed, 0 left"
    assert len(a.maps("m")["roi"].unique()) == 4
    assert a.run(progress=False).skipped == 4
    assert calls(gate) == 4


def test_a_cluster_of_the_run_is_found_by_a_new_analyzer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def env() -> environments.LocalHost:
        return environments.LocalHost(worker_count=1, dashboard_address=None)

    a, gate = made(tmp_path, env()), tmp_path / "gate"
    interrupted(a, gate, monkeypatch)
    assert a.env.is_running
    b = made(tmp_path, env())
    (gate / "open").touch()
    report = b.run(progress=False)
    assert (report.done + report.skipped, report.failed) == (4, 0)
    assert calls(gate) == 4
    assert b.env is a.env
    assert not b.env.is_running, "started for the run, closed at its end"


def test_ended_by_hand(tmp_path: Path, one: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    a, gate = made(tmp_path, one), tmp_path / "gate"
    interrupted(a, gate, monkeypatch)
    handle = a.attach()
    handle.cancel()
    assert handle.status().startswith("ended before its time")
    assert not (a.results.folder / ".lock").exists()
    (gate / "open").touch()
    assert a.run(progress=False).done == 4


def test_a_script_stops(tmp_path: Path, one: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    a, gate = made(tmp_path, one), tmp_path / "gate"
    import _thread

    waiting = threading.Thread(target=lambda: (until(lambda: calls(gate) > 0), _thread.interrupt_main()))
    waiting.start()
    with pytest.raises(KeyboardInterrupt):
        a.run(progress=False, batch=1)
    waiting.join()
    assert going_on(a.results.folder) is None
    (gate / "open").touch()
    assert not (a.results.folder / ".lock").exists()


def test_futures_one_by_one(tmp_path: Path, one: Any) -> None:
    a, gate = made(tmp_path, one), tmp_path / "gate"
    futures = a.submit()
    assert set(futures) == {("field0", f"roi{i:03d}") for i in range(4)}
    assert "4 left" in repr(futures)
    assert "roi003" in futures._repr_html_()
    assert a.attach() is futures.run
    (gate / "open").touch()
    seen = []
    for place, result in futures.as_completed():
        assert result.ok
        assert a.results.parts("field0") or a.results.units("field0")
        seen.append(place)
    assert sorted(seen) == sorted(futures)
    assert [place for place, _ in futures.as_completed()] == seen
    assert futures.run.over
    assert futures.run.wait(1, progress=False).done == 4
    assert "4 done" in futures._repr_html_()


def test_the_signal_of_a_notebook(tmp_path: Path) -> None:
    """A notebook interrupts all processes of a group: those of workers are not in it."""
    code = """
import os, signal, sys
from tramway_dask import environments
env = environments.LocalHost(worker_count=1, dashboard_address=None)
before = env.client.submit(os.getpid).result(60)
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.killpg(0, signal.SIGINT)
assert env.client.submit(os.getpid, pure=False).result(60) == before
env.close()
"""
    words = [sys.executable, "-c", code]
    ended = subprocess.run(
        words, start_new_session=True, capture_output=True, text=True, timeout=120, env=os.environ
    )
    assert ended.returncode == 0, ended.stderr
