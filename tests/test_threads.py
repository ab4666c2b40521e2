"""Linear algebra in one thread: the bits of a direct call are those of a task, and the limit costs nothing."""

from __future__ import annotations

import time

import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import tramway_dask as td
from tramway_dask import simulate
from tramway_dask.inference.threads import one_thread


def blas():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_the_limit_holds_inside_and_ends():
    with threadpool_limits(2):
        with one_thread():
            assert blas() == {1}
            with one_thread():
                assert blas() == {1}
            assert blas() == {1}
        assert blas() == {2}


def test_the_limit_takes_no_time():
    with one_thread():
        pass
    took = []
    for _ in range(20):
        began = time.perf_counter()
        with one_thread():
            pass
        took.append(time.perf_counter() - began)
    assert min(took) < 1e-3


@pytest.mark.parametrize("threads", [1, 2])
def test_direct_calls_give_the_bits_of_tasks(tmp_path, threads):
    table = simulate.random_walk(trajectory_count=40, duration=3.0, localization_precision=0.02, seed=5)
    a = td.RWAnalyzer(
        tesseller=td.tessellers.Hexagons(resolution=0.2),
        sampler=td.sampler.Knn(10),
        mapper=td.models.DV(diffusivity_prior=1.0, potential_prior=1.0),
        results=tmp_path / f"results{threads}",
    )
    a.spt_data.from_dataframe(table)
    a.spt_data.localization_precision = 0.02
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="dv", discard_static=False))
    a.run(progress=False)
    stored = a.maps("dv")
    with threadpool_limits(threads):
        (region,) = a.roi.as_support_regions()
        direct = a.mapper.infer(a.sampler.sample(region.crop())).table
    columns = ["diffusivity", "diffusivity se", "potential", "potential se", "force x", "force y"]
    pd.testing.assert_frame_equal(
        stored[columns].reset_index(drop=True), direct[columns].reset_index(drop=True), check_exact=True
    )
