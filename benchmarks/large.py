"""Priors chosen by the evidence, and sources read in blocks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from cases import SIGMA, field
from measure import Row, median_time
from runs import _locations, _peak, _ready

import tramway_dask as td
from tramway_dask.segmentation import segment


def automatic(count: int, cells: int, repeats: int) -> Iterator[Row]:
    """Compare an inference that chooses its priors with one that is given them."""
    points = field(count, 2.0)
    sampling = segment(points, tesseller=td.tessellers.Hexagons(resolution=2.1 / cells**0.5))
    for name, kind, names in (
        ("D", td.models.D, ["diffusivity_prior"]),
        ("DV", td.models.DV, ["diffusivity_prior", "potential_prior"]),
    ):
        auto = kind(**dict.fromkeys(names, "auto"))
        chosen = auto.infer(sampling).attrs["prior_selection"]
        given = kind(**chosen["weights"])
        alone, _ = median_time(lambda m=given: m.infer(sampling), repeats)
        together, _ = median_time(lambda m=auto: m.infer(sampling), max(1, repeats // 3))
        unverified, _ = median_time(
            lambda m=auto: m.replace(cross_validation=0).infer(sampling), max(1, repeats // 3)
        )
        ratio = together / alone
        yield Row(
            f"automatic priors of {name}",
            f"{count:,} translocations, {sampling.number_of_cells} cells",
            ratio,
            "×",
            "< 30 ×",
            ratio < 30,
            together,
            note=f"one inference {1e3 * alone:.0f} ms; without cross-validation {unverified / alone:.1f} ×; "
            f"{chosen['evaluations']} evidences, {chosen['iterations']} Newton iterations",
        )


def blocks(rows: int, parts: int = 20) -> Row:
    """Compare the memory of a worker that reads a source in blocks with one that reads it whole."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "large.trxyt"
        for seed in range(8):
            part = _locations(field(rows // 8, 2.0, seed=seed))
            part["n"] += 1_000_000 * seed
            part.to_csv(
                path, sep="\t", header=False, index=False, float_format="%.5f", mode="a" if seed else "w"
            )
        size = path.stat().st_size
        peaks = {b: _worker(folder, path, b) for b in (None, size // parts)}
    whole, little = peaks.values()
    return Row(
        "worker's memory, in blocks",
        f"{rows:,} translocations, whole field, {parts} blocks",
        little / whole,
        "×",
        "< 0.3 ×",
        little < 0.3 * whole,
        note=f"file {size / 1e6:.0f} MB, blocks {size / parts / 1e6:.1f} MB; above the idle worker "
        f"{whole / 1e6:.0f} MB read whole, {little / 1e6:.0f} MB in blocks",
    )


def _worker(folder: Path, path: Path, blocksize: int | None) -> int:
    a = td.RWAnalyzer(
        results=folder / f"results{blocksize}",
        tesseller=td.tessellers.Hexagons(resolution=0.1),
        mapper=td.models.DV(diffusivity_prior=10, potential_prior=1),
    )
    a.spt_data.from_ascii_file(path)
    a.spt_data.localization_precision = SIGMA
    a.spt_data.blocksize = blocksize
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="maps"))
    a.env = td.environments.LocalHost(worker_count=1, memory_limit=0)
    with a.env:
        client: Any = a.env.client
        client.wait_for_workers(1)
        client.run(_ready)
        (pid,) = client.run(os.getpid).values()
        idle = psutil.Process(pid).memory_info().rss
        with _peak(pid) as peak:
            report = a.run(progress=False)
    if not report.ok:
        raise RuntimeError(str(report))
    return peak[0] - idle
