"""Sessions that go on without the laptop: its process killed, its link cut for good, and taken up again."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from site_fixtures import Site
from site_sessions import (
    ROOT,
    RUNS,
    Session,
    executions,
    jobs,
    nothing_left,
    on_login,
    processes,
    some_done,
    until,
)  # fmt: skip

pytestmark = pytest.mark.site

# of a person who wants other times from Slurm than programs do
PROFILE = "export SLURM_TIME_FORMAT=relative SQUEUE_FORMAT=%j SQUEUE_STATES=PENDING SBATCH_JOB_NAME=mine\n"


def command(site: Site, *words: str, check: bool = True) -> Any:
    """Run the command of the package on the laptop."""
    settings = [f"{k}={v}" for k, v in os.environ.items() if k.startswith("DASK_TRAMWAY__")]
    argv = [
        "env",
        f"PYTHONPATH={ROOT}",
        *settings,
        sys.executable,
        "-c",
        "from tramway_dask.cli import main; main()",
        *words,
    ]
    return site.run("laptop", "tester", argv, check=check)


def status(site: Site, run: str) -> dict[str, Any]:
    done = command(site, "status", run, "--json", check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def count(found: dict[str, Any], what: str) -> int:
    return sum(row[what] for row in found["units"])


@pytest.fixture(scope="module")
def profile(cluster: Site) -> Iterator[None]:
    """Give the user of the cluster settings of her own."""
    file = Path(cluster.info["cluster"]["home_on_machine"]) / "alice/.bash_profile"
    before = file.read_text() if file.exists() else ""
    file.write_text(before + PROFILE)
    yield
    file.write_text(before)


def test_killed_and_taken_up_again(cluster: Site, profile: None, mark: str) -> None:
    first, second = Session(cluster), Session(cluster)
    try:
        second.do("answer = 1")  # what takes long to start is there
        run, folder = first.do(
            f"""
            env = configured(Lab(), alone_timeout="16 s")
            run = Running({mark!r}, env, 0.4)
            while not env.is_running or not env.__dict__.get("_batches"):
                clock.sleep(0.1)
            answer = [env.run_id, env.cluster.run.path]
            """
        )
        some_done(cluster, mark, 3)
        before = set(jobs(cluster))
    finally:
        first.kill()
    # its keys stay, for this user alone
    assert cluster.mode(f"{cluster.info['laptop']['home']}/.tramway_dask/runs/{run}.json", "laptop") == "600"
    assert on_login(cluster, f"find {folder} ! -type l -perm /077") == ""
    for name in ("tls/key.pem", "session.json", "scheduler.json", "jobs.txt"):
        assert cluster.run("login", "bob", ["cat", f"{folder}/{name}"], check=False).returncode
    assert cluster.run("login", "bob", ["ls", f"{folder}/parts"], check=False).returncode
    done = len(executions(cluster, mark))
    some_done(cluster, mark, done + 3)  # the work goes on
    found = status(cluster, run)
    assert found["state"] == "running", found
    assert found["workers"] == 2
    assert "no client is connected" in found["why"]
    assert count(found, "done") > 3
    try:
        told = second.do(
            f"""
            slowly = mapper.from_callable(slow, pause=0.4, mark={mark!r})
            a = analyzer({mark!r}, slowly, configured(Lab()), squares=GRID)
            handle = a.attach({run!r})
            r = a.run(progress=False)
            answer = [a.env.run_id, r.done, r.skipped, r.failed, str(handle.status()), repr(handle)]
            """
        )
        assert told[0] == run
        assert told[1] + told[2] == 48
        assert told[2] >= 6
        assert told[3] == 0
        counts = executions(cluster, mark)
        assert (len(counts), sum(counts)) == (48, 48), "what was going on was joined"
        assert set(jobs(cluster)) == before
        assert "nothing is left to be done" in told[4]
        killed = time.monotonic()
        assert f"{run}  interactive  Lab" in command(cluster, "runs", "--status").stdout
        # and gone again, for good this time: everything ends by itself
    finally:
        second.kill()
    until(lambda: not jobs(cluster), 120, "no job in squeue")
    until(lambda: not processes(cluster), 60, "no process on login")
    assert time.monotonic() - killed > 12
    assert on_login(cluster, f"find {RUNS} -name '*.pem'", check=False) == ""
    found = status(cluster, run)
    assert (found["state"], count(found, "done"), count(found, "left")) == ("done", 48, 0)
    fetched = command(cluster, "fetch", run, "--results", "fetched").stdout
    assert "48 done" in fetched
    assert "no unit has failed" in command(cluster, "logs", run).stdout
    command(cluster, "clean", run)
    assert run not in command(cluster, "runs").stdout
    nothing_left(cluster)


@pytest.fixture(scope="module")
def live(cluster: Site, profile: None) -> Iterator[Session]:
    """Open a session whose link is soon known to be lost, and whose nodes are."""
    session = Session(cluster)
    try:
        session.do(
            """
            env = configured(
                Lab(), worker_count=0, alone_timeout="60 s", reconnect_for=5.0,
                ssh_options=dict(keepalive_interval=2, keepalive_count_max=4),
                prologue=("export DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP=12s",),
            )
            env.__enter__()
            """
        )
        yield session
        session.do("env.close()")
        nothing_left(cluster)
    finally:
        cluster.cut("off")
        session.close()


def test_workers_follow_the_work(cluster: Site, live: Session, mark: str) -> None:
    live.do(f"env.adapt(0, 2, interval='1s', wait_count=2); run = Running({mark!r}, env, 0.3)")
    until(lambda: len(jobs(cluster)) == 2, what="two jobs")
    found = live.do("answer = run.wait()")
    assert (found["done"], found["failed"], found["error"]) == (48, 0, None), found
    until(lambda: not jobs(cluster), what="no job any more")
    counts = executions(cluster, mark)
    assert (len(counts), sum(counts)) == (48, 48)


def test_interrupted_run_goes_on(cluster: Site, live: Session, mark: str) -> None:
    found = live.do(
        f"""
        import signal
        a = analyzer({mark!r}, mapper.from_callable(slow, pause=0.5, mark={mark!r}), env, squares=GRID)
        threading.Timer(4, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            a.run(progress=False)
        except KeyboardInterrupt:
            handle = a.attach(env.run_id)
            first, ends = handle.status().count("done"), clock.monotonic() + 40
            while handle.status().count("done") == first and clock.monotonic() < ends:
                clock.sleep(0.5)
            second = handle.status().count("done")
            r = a.run(progress=False)
            answer = [first, second, r.done, r.skipped, r.failed]
        """
    )
    assert found is not None, "it was not interrupted"
    assert 0 <= found[0] < found[1]
    assert (found[2] + found[3], found[4]) == (48, 0)
    counts = executions(cluster, mark)
    assert (len(counts), sum(counts)) == (48, 48)


def test_node_without_power(cluster: Site, live: Session, mark: str) -> None:
    run = live.do("env.cluster.adapt(minimum=2, maximum=2).stop(); env.scale(2); answer = env.run_id")
    until(lambda: live.do("answer = len(env.client.scheduler_info()['workers'])") == 2, what="two workers")
    live.do(f"run = Running({mark!r}, env, 0.5)")
    some_done(cluster, mark, 3)
    cluster.power("off", "node2")
    try:
        told = until(
            lambda: [note for note in status(cluster, run)["notes"] if "node2" in note], 60, "a note"
        )
        assert told == ["node2 went down: what ran there is done again elsewhere"]
        found = live.do("answer = run.wait()")
    finally:
        cluster.power("on", "node2")
    assert (found["done"], found["failed"], found["error"]) == (48, 0, None), found
    counts = executions(cluster, mark)
    assert len(counts) == 48
    assert sum(counts) <= 48 + 2, "only what was running there is done again"


def test_link_cut_for_good(cluster: Site, live: Session, mark: str) -> None:
    live.do(f"run = Running({mark!r}, env, 0.4)")
    some_done(cluster, mark, 3)
    run = live.do("answer = env.run_id")
    began = time.monotonic()
    cluster.cut("on")
    found = live.do("answer = run.wait()")
    assert time.monotonic() - began < 45
    assert found["error"] == "LostClusterError", found
    assert f"a.attach({run!r})" in found["message"]
    assert "Traceback" not in found["message"]
    cluster.cut("off")
    found = live.do(
        f"""
        a = run.a
        handle = a.attach({run!r})
        r = a.run(progress=False)
        answer = [r.done + r.skipped, r.failed, a.env.run_id]
        """
    )
    assert found == [48, 0, run]
    counts = executions(cluster, mark)
    assert (len(counts), sum(counts)) == (48, 48)
