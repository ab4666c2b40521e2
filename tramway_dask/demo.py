"""A small simulated experiment, analysed and compared with the truth."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from . import environments, models, roi, simulate, spt_data, stages, tessellers
from .analyzer import RWAnalyzer
from .errors import DataError, SpecificationError
from .plot import figures
from .results.files import write_atomically

__all__ = ["run_demo", "simulate_files"]

FILES = 3
PRECISION = 0.01  # µm
SIDE = 1.0  # of a region, µm
CENTERS = ((1.0, 1.0), (3.0, 1.0), (1.0, 3.0), (3.0, 3.0))
BOX = ((0.0, 0.0), (4.0, 4.0))
LABEL = "dv"
VARIABLES = ("diffusivity", "potential")


class _Wells:
    """Gaussian wells of different depths, one in the middle of each region."""

    def __init__(self, depth: float) -> None:
        depths = depth * np.linspace(0.5, 1.0, len(CENTERS))
        self.wells = [simulate.well_potential(c, d, 0.25) for c, d in zip(CENTERS, depths, strict=True)]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.sum([well(x) for well in self.wells], axis=0)

    def force(self, x: np.ndarray) -> np.ndarray:
        return np.sum([well.force(x) for well in self.wells], axis=0)


class _Slope:
    """Diffusivity that grows across the field."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.low + (self.high - self.low) * np.clip(x[:, 0] / BOX[1][0], 0, 1)


def _truth(number: int) -> tuple[_Slope, _Wells]:
    return _Slope(0.05, 0.10 + 0.02 * number), _Wells(2.0 + number)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write trajectories as headerless tab-separated text: n, x, y[, z], t."""
    text = table.to_csv(sep="\t", header=False, index=False, float_format="%.6f")
    write_atomically(path, text.encode())


def simulate_files(
    folder: Path,
    *,
    files: int,
    seed: int,
    trajectories: int = 500,
    duration: float = 10.0,
    time_step: float = 0.02,
    diffusivity: float = 0.1,
    well_depth: float = 0.0,
    localization_precision: float = 0.02,
    size: float = 2.0,
) -> list[Path]:
    """Write files of simulated trajectories in a square field with a potential well in its middle.

    Parameters
    ----------
    folder : Path
    files, trajectories : int
        Number of files, and of trajectories in each.
    duration, time_step : float
        s.
    diffusivity : float
        µm²/s.
    well_depth : float
        kT.
    localization_precision, size : float
        µm.

    Returns
    -------
    list of Path

    Raises
    ------
    SpecificationError
        If a file exists already.
    """
    paths = [folder / f"cell{i:03d}.trxyt" for i in range(files)]
    present = [p for p in paths if p.exists()]
    if present:
        raise SpecificationError(f"{present[0]} exists already; choose another folder")
    well = simulate.well_potential((size / 2, size / 2), well_depth, size / 8) if well_depth else None
    for i, path in enumerate(paths):
        table = simulate.random_walk(
            diffusivity=diffusivity,
            potential=well,
            box=((0.0, 0.0), (size, size)),
            trajectory_count=trajectories,
            duration=duration,
            time_step=time_step,
            localization_precision=localization_precision,
            seed=seed + i,
        )
        write_table(path, table)
    return paths


def run_demo(
    folder: Path,
    *,
    workers: int | None = None,
    seed: int = 0,
    say: Callable[[str], Any] = click.echo,
) -> bool:
    """Simulate, map, draw and compare.

    Parameters
    ----------
    folder : Path
        Gets ``data``, ``results`` and ``pictures``.
    workers : int, optional
        Worker processes; default: the number of CPUs, at most 4.
    seed : int

    Returns
    -------
    bool
        Whether all units are done.

    Raises
    ------
    MissingDependencyError
        Without matplotlib, which draws the pictures.
    """
    figures.require()
    say(f"Simulating {FILES} files of trajectories with known diffusivity and potential …")
    for i in range(FILES):
        path = folder / "data" / f"cell{i}.trxyt"
        if not path.exists():
            write_table(path, _simulated(i, seed))
    a = RWAnalyzer(results=folder / "results", seed=seed)
    a.spt_data = spt_data.from_ascii_files(folder / "data" / "*.trxyt")
    a.spt_data.localization_precision = PRECISION
    a.roi = roi.from_squares(CENTERS, SIDE)
    a.tesseller = tessellers.Hexagons(resolution=0.1)
    a.mapper = models.DV(diffusivity_prior=10.0, potential_prior=0.5)
    # every simulated molecule moves, so that no static one need be left out
    a.pipeline.append_stage(stages.tessellate_and_infer(map_label=LABEL, discard_static=False))
    a.env = environments.LocalHost(worker_count=workers or min(4, os.cpu_count() or 1))
    say(f"Mapping {FILES} × {len(CENTERS)} regions on {a.env.number_of_workers()} workers …")
    with a.env:
        say(f"Maps as they come: {a.env.live_page or a.env.dashboard_link}")
        report = a.run()
    say(report.summary())
    if not report.ok:
        return False
    compared = compare(a)
    pictures = _draw(a, compared, folder / "pictures")
    say(_verdict(compared))
    say("Pictures beside the truth: " + ", ".join(str(p) for p in pictures))
    say(
        f"Everything is in {shlex.quote(str(folder))}. For your own files, write a configuration like "
        f"{shlex.quote(str(_write_config(folder)))} and type: tramway-dask run my-config.toml"
    )
    return True


def _simulated(number: int, seed: int) -> pd.DataFrame:
    diffusivity, wells = _truth(number)
    return simulate.random_walk(
        diffusivity=diffusivity,
        potential=wells,
        box=BOX,
        trajectory_count=900,
        duration=4.0,
        time_step=0.02,
        substeps=5,
        start="stationary",
        localization_precision=PRECISION,
        seed=seed + number,
    )


def compare(a: RWAnalyzer) -> pd.DataFrame:
    """Return the maps with the true value of each variable and the distance in standard errors.

    A potential is defined up to a constant: estimate and truth are compared after subtracting the
    mean over each region.
    """
    maps = a.maps(LABEL)
    parts = []
    for (source, region), part in maps.groupby(["source", "roi"], sort=False):
        part = part.copy()
        fields: Sequence[Callable[[np.ndarray], np.ndarray]] = _truth(_number(str(source)))
        where = part[["x", "y"]].to_numpy()
        for name, field in zip(VARIABLES, fields, strict=True):
            truth = field(where)
            if name == "potential":
                part[name] -= part[name].mean()
                truth = truth - truth.mean()
            part[f"{name} truth"] = truth
            part[f"{name} z"] = (part[name] - truth) / part[f"{name} se"]
        parts.append(part.assign(roi=region))
    return pd.concat(parts, ignore_index=True)


def _number(source: str) -> int:
    try:
        return int(source.removeprefix("cell"))
    except ValueError:
        raise DataError(f"the folder of the demo holds {source!r}, which the demo has not made") from None


def _verdict(compared: pd.DataFrame) -> str:
    told = []
    for name in VARIABLES:
        z = compared[f"{name} z"].abs()
        told.append(
            f"{name}: median {z.median():.2f} standard errors from the truth, {(z < 2).mean():.0%} of "
            f"{len(z)} cells within 2"
        )
    return "\n".join(told)


def _draw(a: RWAnalyzer, compared: pd.DataFrame, folder: Path) -> Sequence[Path]:
    from . import plot

    paths = []
    for source in a.spt_data:
        part: Any = compared[compared["source"] == source.name]
        figure = plot.against_truth(a.results, LABEL, source.name, part, VARIABLES)
        path = folder / f"{source.name}.png"
        plot.save(figure, path)
        paths.append(path)
    return paths


CONFIG = """\
# an analysis for `tramway-dask run`
results = "results"

[spt_data]
localization_precision = 0.01  # µm

[spt_data.from_ascii_files]
pattern = "data/*.trxyt"       # n, x, y, t in µm and s; for csv with a header, also: pixel_size, dt, columns

[roi.from_squares]             # leave this section out for the whole field of view
centers = [[1.0, 1.0], [3.0, 1.0], [1.0, 3.0], [3.0, 3.0]]
side = 1.0                     # µm

[tesseller]
type = "Hexagons"
resolution = 0.1               # µm

[mapper]
type = "DV"                    # or D, DD, DF
diffusivity_prior = 10.0
potential_prior = 0.5

[[stages]]
stage = "tessellate_and_infer"
map_label = "dv"
discard_static = false

[env]
type = "LocalHost"
"""


def _write_config(folder: Path) -> Path:
    path = folder / "config.toml"
    write_atomically(path, CONFIG.encode())
    return path
