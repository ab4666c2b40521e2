"""What the live page of the dashboard costs a run."""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from measure import Row
from runs import _ready, analyzer, write_files

import tramway_dask as td

# tiles in sight, whose maps a browser asks for
IN_SIGHT = 40


def page(files: int, regions: int, workers: int = 2, repeats: int = 3) -> Iterator[Row]:
    """Run DV over many regions without the page, with it, and while it is looked at.

    Processor time is compared, since wall time varies by more than the page costs: that of the process with
    client and scheduler, where all that the page does is done, over that of the whole run.
    """
    units = files * regions
    model = td.models.DV(diffusivity_prior=1.0, potential_prior=1.0)
    modes = ("off", "nobody looks", "looked at")
    taken: dict[str, list[tuple[float, float, float]]] = {mode: [] for mode in modes}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, files, regions)
        env = td.environments.LocalHost(worker_count=workers)
        with env:
            env.client.wait_for_workers(workers)
            env.client.run(_ready)
            for i in range(repeats):
                for mode in modes:
                    a = analyzer(folder, f"{mode} {i}", regions, model, 0.14)
                    a.env = env
                    taken[mode].append(_run(a, env, mode))
    medians = {
        mode: [statistics.median(column) for column in zip(*rows, strict=True)]
        for mode, rows in taken.items()
    }
    own, whole, wall = medians["off"]
    for mode in modes[1:]:
        mine, _, seconds = medians[mode]
        cost = 100 * (mine - own) / whole
        note = (
            f"client and scheduler {mine:.2f} s of processor time, {own:.2f} s without the page; the whole run "
            f"{whole:.1f} s; wall {seconds:.1f} s, {wall:.1f} s without; median of {repeats}"
        )
        case = f"{units:,} ROI in {files} files, {workers} workers"
        yield Row(f"live page: {mode}", case, cost, "%", "≤ 3 %", cost <= 3, note=note)


def _run(a: td.RWAnalyzer, env: Any, mode: str) -> tuple[float, float, float]:
    """Return processor time of this process, of it and the workers, and wall time."""
    address = env.live_page
    with _looking(address) if mode == "looked at" else contextlib.nullcontext():
        if mode == "off":
            vars(env).update(show=lambda run: None, show_end=lambda run: None)
        else:
            vars(env).pop("show", None)
            vars(env).pop("show_end", None)
        before, began = _processor_time(), time.perf_counter()
        report = a.run(progress=False)
        wall = time.perf_counter() - began
        after = _processor_time()
    if report.failed:
        raise RuntimeError(str(report))
    return after[0] - before[0], after[1] - before[1], wall


def _processor_time() -> tuple[float, float]:
    here = psutil.Process()
    mine = sum(here.cpu_times()[:2])
    return mine, mine + sum(sum(child.cpu_times()[:2]) for child in here.children(recursive=True))


@contextlib.contextmanager
def _looking(address: str) -> Iterator[None]:
    """Ask as the page does, from another process: a browser is on another computer, or a process of its own."""
    import multiprocessing

    process = multiprocessing.get_context("spawn").Process(target=_browse, args=(address,), daemon=True)
    process.start()
    time.sleep(1.0)
    try:
        yield
    finally:
        process.kill()
        process.join()


def _browse(address: str) -> None:
    def get(query: str) -> Any:
        with urllib.request.urlopen(address + query, timeout=30) as answer:
            return json.load(answer)

    run, version, have, done = "", -1, set(), set()
    while True:
        told = get(f"/state?run={run}&since={version}")
        if told.get("run") and told["runs"][-1][0] != run:
            run, version, have, done = told["runs"][-1][0], -1, set(), set()
            told = get(f"/state?run={run}&since=-1")
        if run:
            version = told["version"]
            done |= {row[0] for row in told["changes"] if row[1] != "failed"}
            # the tiles in sight; the others are asked for when somebody scrolls to them
            wanted = sorted(i for i in done - have if i < IN_SIGHT)
            if wanted:
                have |= {int(i) for i in get(f"/maps?run={run}&units={','.join(map(str, wanted))}")}
        time.sleep(1.0)


if __name__ == "__main__":
    import sys

    from measure import table

    size = [int(word) for word in sys.argv[1:]] or [20, 50]
    rows = list(page(*size))
    print(table(rows))
    for row in rows:
        print("-", row.name, row.note)
