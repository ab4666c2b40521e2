"""Sessions that change hands: units submitted by one process, and done by another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from site_fixtures import Site
from site_sessions import (
    BESIDE,
    BESIDE_TOO,
    ROOT,
    RUNS,
    SESSION,
    jobs,
    on_login,
    processes,
    until,
)  # fmt: skip

pytestmark = pytest.mark.site

PLAIN = f"""
settings = dict(
    python={sys.executable!r}, working_directory="/scratch/alice/tramway_dask",
    prologue=("export PYTHONPATH={ROOT}",), alone_timeout="5 min",
)

def sometimes(cells, pause, mark):
    found = slow(cells, pause, mark)
    if cells.partition.region_label in ("roi003", "roi011"):
        raise ValueError("no map of this region can be made")
    return found

def made(mark, env, pause):
    return analyzer(mark, mapper.from_callable(sometimes, pause=pause, mark=mark), env, squares=GRID)
"""


def test_session_of_the_submit_host(cluster: Site, mark: str) -> None:
    home = Path(cluster.info["cluster"]["home_on_machine"]) / "alice"
    before = set(processes(cluster))
    common = (
        SESSION.partition("def main")[0]
        + PLAIN
        + """
settings.update(
    worker_count=1, memory="1 GiB", walltime="00:10:00", interface="ib0", queue="main", reconcile_interval=1.5
)
"""
    )
    first = f"""
if __name__ == "__main__":
    env = Slurm(**settings)
    futures = made({mark!r}, env, 0.3).submit()
    print(env.run_id, flush=True)
    while len(list(Path("/scratch/alice/tramway_dask/marks/{mark}").glob("*"))) < 5:
        clock.sleep(0.1)
    os._exit(9)
"""
    second = f"""
if __name__ == "__main__":
    a = made({mark!r}, None, 0.3)
    a.attach(sys.argv[1])
    r = a.run(progress=False)
    print(type(a.env).__name__, r.done + r.skipped, r.failed)
    a.env.close()
"""
    for name, text in (
        ("beside.py", BESIDE),
        ("beside_too.py", BESIDE_TOO),
        ("first.py", common + first),
        ("second.py", common + second),
    ):
        (home / name).write_text(text)
        (home / name).chmod(0o644)
    words: list[Any] = ["env", f"PYTHONPATH={ROOT}", "OMP_NUM_THREADS=1", sys.executable]
    done = cluster.run("login", "alice", [*words, "/home/alice/first.py"], check=False)
    assert done.returncode == 9, done.stderr[-3000:]
    run = done.stdout.split()[-1]
    assert jobs(cluster)
    said = cluster.run("login", "alice", [*words, "/home/alice/second.py", run], timeout=200).stdout
    assert said.split()[-3:] == ["Slurm", "44", "4"], said
    until(lambda: not jobs(cluster), what="no job in squeue")
    until(lambda: set(processes(cluster)) <= before, 60, "no process of the test on login")
    assert on_login(cluster, f"find {RUNS} -name '*.pem'", check=False) == ""
