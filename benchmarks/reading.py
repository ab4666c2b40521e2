"""Reading text beside pandas, and planning a folder of many files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from measure import Row, median_time

import tramway_dask as td

LENGTH = 20
RECORD = {"pixel_size": 0.1, "dt": 0.05}


def _trajectories(count: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = np.tile(np.arange(LENGTH), count // LENGTH)
    steps = rng.normal(0, 0.1, (2, len(frame)))
    x, y = np.where(frame == 0, rng.uniform(0, 50, steps.shape), 0) + steps.cumsum(axis=1)
    n = np.repeat(np.arange(count // LENGTH), LENGTH)
    return pd.DataFrame({"trajectory": n, "frame": frame, "x": x.round(4), "y": y.round(4)})


def _write(table: pd.DataFrame, path: Path, *, names: bool) -> None:
    if names:
        table.to_csv(path, index=False)
    else:
        timed = table.assign(t=(table["frame"] * 0.05 + 0.05).round(4))
        timed[["trajectory", "x", "y", "t"]].to_csv(path, sep="\t", header=False, index=False)


def text(count: int, repeats: int) -> Iterator[Row]:
    """Compare `tramway_dask.read` with pandas' fastest parser on the same file."""
    with tempfile.TemporaryDirectory() as folder:
        for names in (True, False):
            path = Path(folder) / "a.txt"
            _write(_trajectories(count), path, names=names)
            how = {} if names else {"sep": "\t", "header": None}

            def bare(path: Path = path, how: dict = how) -> object:
                return pd.read_csv(path, engine="pyarrow", **how)

            def ours(path: Path = path) -> object:
                return td.read(path, **RECORD)

            bare(), ours()
            # in turn, so that what else the machine does weighs on both
            pairs = [(median_time(bare, 1)[0], median_time(ours, 1)[0]) for _ in range(repeats)]
            there, here = map(float, np.median(pairs, axis=0))
            yield Row(
                "text / pandas",
                f"{count:,} rows, {'with' if names else 'without'} a header",
                100 * there / here,
                "%",
                "≥ 60 %",
                there / here >= 0.6,
                here,
                note=f'pandas.read_csv(engine="pyarrow"): {there * 1e3:.0f} ms; ours recognises, sorts and checks',
            )


def folder(files: int, count: int) -> Row:
    """Time listing, recognising and planning a folder; half of its files have a header."""
    with tempfile.TemporaryDirectory() as place:
        whole = _trajectories(count)
        for i in range(files):
            path = Path(place) / f"cell{i:04d}.csv"
            if i < 2:
                _write(whole, path, names=bool(i))
            else:  # they are read all the same
                os.link(path.with_name(f"cell{i % 2:04d}.csv"), path)
        analyzer = td.RWAnalyzer(
            tesseller=td.tessellers.Hexagons(resolution=0.2), mapper=td.models.D(), results=f"{place}/results"
        )
        analyzer.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="d"))

        def plan() -> None:
            analyzer.spt_data.from_files(f"{place}/*.csv", **RECORD)
            analyzer.spt_data.localization_precision = 0.03
            assert len(analyzer.plan()) == files

        taken, _ = median_time(plan, 3)
    return Row(
        "folder planned", f"{files:,} files of {count:,} rows", taken, "s", "< 10 s", taken < 10, taken
    )
