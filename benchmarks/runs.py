"""Whole runs: the time to import, the overhead of Dask, the memory of a worker."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from cases import SIGMA, field
from measure import Row

import tramway_dask as td

HEAVY = ("matplotlib", "bokeh", "dask_jobqueue")
ROI_TRANSLOCATIONS = 3_000


def imports(repeats: int = 7) -> Iterator[Row]:
    """Import the package in fresh processes, with its bytecode on disk as pip leaves it."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def once(module: str) -> tuple[float, str]:
            code = (
                "import sys, time\nbegan = time.perf_counter()\n"
                f"import {module}\n"
                "print(time.perf_counter() - began)\n"
                f"print(*(m for m in {HEAVY!r} if m in sys.modules))"
            )
            command = [sys.executable, "-c", code]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            seconds, heavy = done.stdout.split("\n")[:2]
            return float(seconds), heavy

        once("tramway_dask")
        taken = {m: [] for m in ("tramway_dask", "pandas")}
        heavy = ""
        for _ in range(repeats):
            for module, times in taken.items():
                seconds, loaded = once(module)
                times.append(seconds)
                heavy = loaded if module == "tramway_dask" else heavy
    ours, pandas = (statistics.median(t) for t in taken.values())
    note = f"`import pandas` alone: {pandas:.2f} s; fastest of {repeats}: {min(taken['tramway_dask']):.2f} s"
    yield Row(
        "import tramway_dask",
        f"median of {repeats} processes",
        ours,
        "s",
        "< 0.5 s",
        ours < 0.5,
        ours,
        note=note,
    )
    wanted = "none of " + ", ".join(HEAVY)
    yield Row("heavy modules imported", "", len(heavy.split()), "", wanted, not heavy, note=heavy)


def write_files(folder: Path, files: int, regions: int) -> None:
    """Write fields of neighbouring square regions, 1 µm and about 3,000 translocations each."""
    base = [field(ROI_TRANSLOCATIONS, 1.0, seed=s) for s in range(4)]
    base = [_locations(t) for t in base]
    for f in range(min(files, 4)):
        parts = []
        for i in range(regions):
            part = base[(f + i) % 4].copy()
            part["x"] += 1.5 * i
            part["n"] += 10_000 * i
            parts.append(part)
        pd.concat(parts).to_csv(folder / f"field{f:02d}.trxyt", sep="\t", header=False, index=False)
    for f in range(4, files):
        shutil.copy(folder / f"field{f % 4:02d}.trxyt", folder / f"field{f:02d}.trxyt")


def _locations(table: pd.DataFrame) -> pd.DataFrame:
    from tramway_dask.spt_data.tables import trajectories

    return trajectories(table)[["n", "x", "y", "t"]]


def analyzer(folder: Path, results: str, regions: int, mapper: Any, resolution: float) -> td.RWAnalyzer:
    """Return an analyzer of the fields, one region per µm."""
    a = td.RWAnalyzer(
        results=folder / results, tesseller=td.tessellers.Hexagons(resolution=resolution), mapper=mapper
    )
    a.spt_data.from_ascii_files(str(folder / "*.trxyt"))
    a.spt_data.localization_precision = SIGMA
    a.roi.from_squares([[0.5 + 1.5 * i, 0.5] for i in range(regions)], 1.2)
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="maps"))
    return a


def overhead(files: int, regions: int, workers: int = 2) -> Iterator[Row]:
    """Run DV over many regions on local workers, and without Dask."""
    units = files * regions
    model = td.models.DV(diffusivity_prior=1.0, potential_prior=1.0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, files, regions)
        a = analyzer(folder, "dask", regions, model, 0.14)
        a.env = td.environments.LocalHost(worker_count=workers)
        with a.env:
            a.env.client.wait_for_workers(workers)
            a.env.client.run(_ready)
            began = time.perf_counter()
            report = a.run(progress=False)
            wall = time.perf_counter() - began
        plain = analyzer(folder, "plain", regions, model, 0.14)
        began = time.perf_counter()
        alone = plain.run(progress=False)
        single = time.perf_counter() - began
    work, work_alone = (sum(r["seconds"] for r in x.rows) for x in (report, alone))
    lost = 1 - work / (wall * workers)
    case = f"{units:,} ROI in {files} files, {workers} workers"
    note = f"{units / wall:.1f} units/s; {1e3 * work / units:.0f} ms per unit; wall {wall:.1f} s"
    if report.failed or report.done != units:
        note += f"; {report.failed} failed"
    yield Row(
        "Dask overhead", case, 100 * lost, "%", "< 20 %", lost < 0.2 and report.done == units, wall, note=note
    )
    lost = 1 - work_alone / single
    note = f"{units / single:.1f} units/s; {1e3 * work_alone / units:.0f} ms per unit; with reading, planning, writing"
    yield Row(
        "overhead in-process", f"{units:,} ROI in {files} files", 100 * lost, "%", "", None, single, note=note
    )


def _ready() -> None:
    import shapely  # noqa: F401
    from scipy import linalg, sparse, spatial  # noqa: F401
    from scipy.sparse import csgraph  # noqa: F401

    import tramway_dask  # noqa: F401


def memory(rows: int, regions: int = 4) -> Row:
    """Compare the peak memory of a worker with its source's table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = rows // regions
        parts = []
        for i in range(regions):
            part = _locations(field(count, 1.0, seed=i))
            part["x"] += 1.5 * i
            part["n"] += 1_000_000 * i
            parts.append(part)
        whole = pd.concat(parts)
        whole.to_csv(folder / "large.trxyt", sep="\t", header=False, index=False, float_format="%.5f")
        size = int(whole.memory_usage(index=False).sum()) * 7 // 4
        total = len(whole)
        del whole, parts
        a = analyzer(folder, "memory", regions, td.models.D(), 0.05)
        a.env = td.environments.LocalHost(worker_count=1, memory_limit=0)
        with a.env:
            client = a.env.client
            client.wait_for_workers(1)
            client.run(_ready)
            (pid,) = client.run(os.getpid).values()
            idle = psutil.Process(pid).memory_info().rss
            with _peak(pid) as peak:
                report = a.run(progress=False)
    if not report.ok:
        raise RuntimeError(str(report))
    factor = (peak[0] - idle) / size
    note = f"table {size / 1e6:.0f} MB; worker {idle / 1e6:.0f} MB idle, {peak[0] / 1e6:.0f} MB at its peak"
    return Row(
        "worker's peak memory / table",
        f"{total:,} rows, {regions} ROI",
        factor,
        "×",
        "< 3 ×",
        factor < 3,
        note=note,
    )


@contextlib.contextmanager
def _peak(pid: int) -> Iterator[list[int]]:
    """Sample the memory of a process; where the system keeps its peak, take that."""
    process, stop, peak = psutil.Process(pid), threading.Event(), [0]

    def sample() -> None:
        while not stop.wait(0.01):
            peak[0] = max(peak[0], process.memory_info().rss)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
        status = Path(f"/proc/{pid}/status")
        if status.exists():
            lines = [x for x in status.read_text().splitlines() if x.startswith("VmHWM")]
            peak[0] = max([peak[0], *(int(x.split()[1]) * 1024 for x in lines)])
