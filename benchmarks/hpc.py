"""Runs on the test site: from the laptop to the first result, submission, memory of the client, upload.

As root, on Debian with what ``tests/site/install.sh`` installs. The laptop and the cluster share this machine.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measure import Row

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

PREAMBLE = """
import time as clock
BEGAN = clock.perf_counter()
import json, os, subprocess, sys, threading
from pathlib import Path
os.chdir(Path.home())
from tramway_dask import simulate
from tramway_dask.analyzer import *

class Lab(environments.SingularitySlurm):
    @classmethod
    def hostname(cls): return "login"
    @classmethod
    def scratch(cls, username): return "/scratch/" + username
    @classmethod
    def remote_dependencies(cls): return "module load singularity"

def lab(**options):
    return Lab(username="alice", container="lab.sif", interface="ib0", walltime="00:30:00", memory="1 GiB", **options)

def analyzer(results, files, side, env):
    folder = Path(f"fields{side}")
    folder.mkdir(exist_ok=True)
    for i in range(files):
        if not (path := folder / f"cell{i:03d}.trxyt").exists():
            walk = simulate.random_walk(diffusivity=0.05, box=((0, 0), (side, side)), trajectory_count=12 * side**2,
                                        duration=1, time_step=0.05, seed=i)
            walk.to_csv(path, sep="\\t", header=False, index=False)
    a = RWAnalyzer(results=results, mapper=models.D(), env=env)
    a.spt_data.from_ascii_files(f"{folder}/*.trxyt")
    a.spt_data.localization_precision = 0.01
    a.roi.from_squares([[i + 0.5, j + 0.5] for i in range(side) for j in range(side)], 0.98)
    a.tesseller = tessellers.Hexagons(resolution=0.4)
    a.pipeline.append_stage(stages.tessellate_and_infer(map_label="d"))
    return a

class Watch:
    'Takes the place of the progress bar.'
    def __init__(self):
        self.times = []
    def __call__(self, plan):
        return self
    def advance(self, result):
        self.times.append(clock.perf_counter() - BEGAN)
    def close(self):
        pass
"""

FIRST = """
analyzer("none", 1, 2, None).run(progress=False)  # writes the file
BEGAN = clock.perf_counter() - IMPORTED
watch = Watch()
report = analyzer(sys.argv[1], 1, 2, lab(worker_count=2)).run(progress=watch)
print(json.dumps([watch.times[0], clock.perf_counter() - BEGAN, report.done]))
"""

SUBMISSION = """
env = lab(worker_count=0, sbatch_options={"begin": "now+1hour"})
with env:
    commands, link = [], env._connection
    plain = link.execute
    async def counted(words, **options):
        if "squeue" not in words:
            commands.append(options["shown"])
        return await plain(words, **options)
    link.execute = counted
    began = clock.perf_counter()
    env.scale(100)
    while sum(job.job_id is not None for job in env.cluster.workers.values()) < 100:
        clock.sleep(0.05)
    print(json.dumps([len(commands), clock.perf_counter() - began]))
"""

MANY = """
import psutil
from tramway_dask.analyzer import running
files, side, workers = map(int, sys.argv[1:])
a = analyzer("many", files, side, lab(worker_count=workers))
rss, watch, me, over = [], Watch(), psutil.Process(), threading.Event()
def sample():
    while not over.wait(0.5):
        rss.append((clock.perf_counter() - BEGAN, len(watch.times), me.memory_info().rss / 1e6))
with a.env:
    a.env.client.wait_for_workers(workers, timeout=300)
    threading.Thread(target=sample, daemon=True).start()
    began = clock.perf_counter()
    report = running.run(a, overwrite=False, on_error="record", progress=watch, batch="auto")
    wall = clock.perf_counter() - began
    over.set()
print(json.dumps([report.done, report.failed, wall, rss]))
"""

UPLOAD = """
import logging
from tramway_dask.environments.digests import file_digest
size = int(sys.argv[1])
path = Path("large").absolute()
path.write_bytes(os.urandom(size))
def scp(*options):
    began = clock.perf_counter()
    command = ["scp", "-q", *options, str(path), "alice@login:/scratch/alice/large.scp"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return clock.perf_counter() - began
env, found = lab(), []
connection, _ = env.connection()
cipher = connection._link.get_extra_info("send_cipher")
for i in range(5):
    env.call(connection.run("rm -rf /scratch/alice/tramway_dask/data"))
    digest = {str(path): file_digest(path)}  # which the plan has read
    began = clock.perf_counter()
    env.bring([str(path)], digest)
    found.append([clock.perf_counter() - began, scp("-c", cipher), scp()])
sent = []
upload = connection.upload
async def noted(local, *words, **options):
    sent.append(local.stat().st_size)
    return await upload(local, *words, **options)
connection.upload = noted
env.bring([str(path)])
env.close()
print(json.dumps([cipher, found, sum(sent)]))
"""


@contextmanager
def _site() -> Iterator[Any]:
    """Start a test site whose user has the container of this checkout in the home folder."""
    import site_fixtures

    obstacle = site_fixtures._obstacle()
    if obstacle is not None:
        raise SystemExit(f"the group hpc needs the test site: {obstacle}")
    with tempfile.TemporaryDirectory() as folder:
        running = site_fixtures.Site(Path(folder) / "up")
        running.call("up")
        try:
            image = site_fixtures.image.__wrapped__(running)
            there = Path(running.info["cluster"]["home_on_machine"]) / "alice/lab.sif"
            shutil.copy(image, there)
            there.chmod(0o644)
            yield running
        finally:
            running.call("down")


def hpc(quick: bool) -> Iterator[Row]:
    """Measure what a laptop and a cluster do together."""
    with _site() as site:

        def laptop(text: str, *words: object, timeout: float = 1800) -> Any:
            text = (
                f"{PREAMBLE}\nIMPORTED = clock.perf_counter() - BEGAN\nif __name__ == '__main__':\n"
                + "".join(f"    {line}\n" for line in text.splitlines())
            )
            return json.loads(site.python(text, *map(str, words), timeout=timeout).splitlines()[-1])

        laptop(FIRST, "cold")
        first = sorted(laptop(FIRST, f"warm{i}") for i in range(1 if quick else 3))
        seconds, whole, done = first[len(first) // 2]
        yield Row(
            "laptop to first result", "2 workers, container used before", seconds, "s", "< 15 s",
            seconds < 15 and done == 4, seconds,
            note=f"import, login, scheduler, 2 jobs; until everything is closed again {whole:.1f} s; "
            f"median of {len(first)}",
        )  # fmt: skip
        count, seconds = laptop(SUBMISSION)
        yield Row(
            "SSH commands of a submission", "100 workers", count, "", "≤ 3", count <= 3, seconds,
            note="but for squeue, which is asked every 15 s",
        )  # fmt: skip
        yield _memory(laptop, *((20, 7, 4) if quick else (100, 10, 8)))
        yield from _upload(laptop, 50_000_000 if quick else 200_000_000)


def _memory(laptop: Any, files: int, side: int, workers: int) -> Row:
    done, failed, wall, rss = laptop(MANY, files, side, workers)
    units = files * side**2
    parts = [[m for _, k, m in rss if low * units <= k <= up * units] for low, up in ((0.1, 0.4), (0.7, 1.0))]
    early, late = (max(p) if p else float("nan") for p in parts)
    shown = ", ".join(f"{m:.0f} MB at {k}" for _, k, m in rss[:: max(1, len(rss) // 8)])
    growth = late - early
    return Row(
        "growth of the client's memory", f"{units:,} ROI in {files} files, {workers} workers", growth, "MB",
        "< 30 MB", growth < 30 and done == units, wall,
        note=f"highest from 70 to 100 % of the units, less that from 10 to 40 %; {done / wall:.0f} units/s, "
        f"{failed} failed; {shown}",
    )  # fmt: skip


def _upload(laptop: Any, size: int) -> Iterator[Row]:
    cipher, found, again = laptop(UPLOAD, size)
    ours, same, default = (sorted(times)[len(times) // 2] for times in zip(*found, strict=True))
    case = f"{size / 1e6:.0f} MB"
    yield Row(
        "upload / scp", case, same / ours, "×", "≥ 0.8 ×", same / ours >= 0.8, ours,
        note=f"with checksum, medians of {len(found)} in turn: {ours:.2f} s, scp {same:.2f} s with the same cipher "
        f"({cipher}), {default:.2f} s with its own choice",
    )  # fmt: skip
    yield Row("bytes uploaded the second time", case, again, "", "0", again == 0)
