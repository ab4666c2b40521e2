"""Copies of an analyzer: neither takes anything from the other."""

from __future__ import annotations

import copy

import pytest

import tramway_dask as td
from tramway_dask import simulate


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_components_stay_with_their_analyzer(copied):
    a = td.RWAnalyzer(tesseller=td.tessellers.Hexagons(resolution=0.2), mapper=td.models.D())
    a.spt_data.from_dataframe(simulate.random_walk(trajectory_count=20, duration=2.0))
    a.spt_data.localization_precision = 0.02
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="d"))
    b = copied(a)
    for one in (a, b):
        for held in (one.tesseller, one.time, one.sampler, one.mapper):
            assert held.owner is one
        assert all(source._owner is one for source in one.spt_data)
    assert b.tesseller == a.tesseller and b.mapper == a.mapper
    b.tesseller.resolution = 0.3
    b.mapper.from_plugin("dv")
    b.spt_data.localization_precision = 0.05
    assert a.tesseller.resolution == 0.2 and type(a.mapper) is td.models.D
    assert a.spt_data.localization_precision == 0.02
    if copied is copy.copy:
        assert [stage.name for stage in b.pipeline] == ["tessellate_and_infer"]
        b.pipeline.reset()
    assert len(list(a.pipeline)) == 1
    # what belongs to the original still finds its data
    found = a.mapper.infer(a.sampler.sample(next(iter(a.roi.as_support_regions())).crop()))
    assert found.sigma == 0.02
    del a
    cells = b.sampler.sample(next(iter(b.roi.as_support_regions())).crop())
    assert b.mapper.infer(cells).sigma == 0.05
