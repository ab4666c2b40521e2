"""Scripts written for TRamWAy run after a change of their import line."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tramway_dask import simulate
from tramway_dask.analyzer import RWAnalyzer, models, sampler, single, stages, tessellers
from tramway_dask.results import Store

PRECISION = 0.01
ROI = [((0.0, 0.0), (0.6, 0.6)), ((0.4, 0.4), (1.0, 1.0)), ((1.2, 1.2), (1.9, 1.9))]


def write_experiment(folder: Path, files: int = 2) -> None:
    """Write trajectories as ``cell<i>.rpt.txt`` with regions beside them in ``cell<i>.rpt-roi.txt``."""
    for i in range(files):
        table = simulate.random_walk(
            diffusivity=0.1,
            potential=simulate.well_potential((1.5, 1.5), 2.0, 0.25),
            box=((0.0, 0.0), (2.0, 2.0)),
            trajectory_count=150,
            duration=4.0,
            time_step=0.04,
            localization_precision=PRECISION,
            seed=i,
        )
        table.to_csv(folder / f"cell{i}.rpt.txt", sep="\t", index=False, header=False)
        bounds = {
            f"{axis} {end}": [box[end == "max"][k] for box in ROI]
            for k, axis in enumerate("xy")
            for end in ("min", "max")
        }
        pd.DataFrame(bounds).to_csv(folder / f"cell{i}.rpt-roi.txt", sep="\t", index=False)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiment")
    write_experiment(folder)
    return folder


def run_script(text: str, folder: Path, results: Path) -> str:
    """Run a script as a user would, in the folder of the data."""
    script = results.parent / f"{results.name}.py"
    script.write_text(textwrap.dedent(text))
    environment = {
        **os.environ,
        "DASK_TRAMWAY__RESULTS": str(results),
        "PYTHONWARNINGS": "ignore::DeprecationWarning",
    }
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SETUP = """
import os
from tramway_dask.analyzer import *

a                                 = RWAnalyzer()

a.spt_data.from_ascii_files('*.rpt.txt')
a.spt_data.localization_precision = 0.01

a.roi.from_ascii_files(suffix='roi')

a.tesseller                       = tessellers.Hexagons
a.tesseller.resolution            = 0.15

a.sampler                         = sampler.Knn(10)

a.mapper                          = models.DV('stochastic')
a.mapper.diffusivity_prior        = 20
a.mapper.potential_prior          = 1
a.mapper.worker_count             = None if os.name == 'nt' else 5
a.mapper.max_runtime              = 30

def fresh_start(self):
    for f in self.spt_data:
        output_rwa_file = os.path.splitext(f.source)[0] + '.rwa'
        try:
            os.unlink(output_rwa_file)
        except FileNotFoundError:
            pass
        else:
            f.logger.debug(f'file deleted: {output_rwa_file}')

a.pipeline.append_stage(fresh_start, run_everywhere=True)
"""

LOCAL = """
a.env                             = environments.LocalHost
a.env.worker_count                = 2
a.env.script                      = __file__
"""

READ_BACK = """
a.spt_data.reload_from_rwa_files()
assert [ os.path.basename(f.roi.filepath) for f in a.spt_data ] == ['cell0.rpt-roi.txt', 'cell1.rpt-roi.txt']
n = 0
for f in a.spt_data:
    for roi_index, _ in f.roi.as_individual_roi(return_index=True):
        support_region = f.roi.get_support_region(roi_index)
        sampling = support_region.get_sampling()
        maps = sampling.get_child()
        assert len(maps['force'].columns) == 2
        assert (maps['diffusivity'] > 0).all()
        n += 1
print(n, 'maps')
"""


def test_one_stage_pipeline(experiment: Path, tmp_path: Path) -> None:
    script = (
        SETUP + "a.pipeline.append_stage(stages.tessellate_and_infer())\n" + LOCAL + "a.run()\n" + READ_BACK
    )
    assert "6 maps" in run_script(script, experiment, tmp_path / "one")
    assert Store(tmp_path / "one").labels() == {"segmentation": ["0"]}


def test_multi_stage_pipeline_gives_the_same_maps(experiment: Path, tmp_path: Path) -> None:
    three = """
a.pipeline.append_stage(stages.tessellate())
a.pipeline.append_stage(stages.reload())
a.pipeline.append_stage(stages.infer())
"""
    assert "6 maps" in run_script(
        SETUP + three + LOCAL + "a.run()\n" + READ_BACK, experiment, tmp_path / "three"
    )
    one = "a.pipeline.append_stage(stages.tessellate_and_infer())\n"
    run_script(SETUP + one + "a.run()\n", experiment, tmp_path / "one")
    first, second = (Store(tmp_path / name).table("segmentation", "0") for name in ("one", "three"))
    assert first.equals(second)


def test_own_rewriting_of_the_stage(experiment: Path, tmp_path: Path) -> None:
    own = """
def tessellate_and_infer(map_label=None, sampling_label=None):

    def _tessellate_and_infer(self):
        for r in self.roi.as_support_regions():
            translocations = r.crop()
            translocations = r.discard_static_trajectories(translocations)
            sampling = self.sampler.sample(translocations)
            maps = self.mapper.infer(sampling)
            with r.autosaving():
                sampling = commit_as_analysis(sampling_label, sampling, parent=r)
                maps     = commit_as_analysis(map_label, maps, parent=sampling)

    return _tessellate_and_infer

a.pipeline.append_stage(tessellate_and_infer(), granularity='roi')
"""
    assert "6 maps" in run_script(SETUP + own + LOCAL + "a.run()\n" + READ_BACK, experiment, tmp_path / "own")
    one = "a.pipeline.append_stage(stages.tessellate_and_infer())\n"
    run_script(SETUP + one + "a.run()\n", experiment, tmp_path / "one")
    first, second = (Store(tmp_path / name).table("segmentation", "0") for name in ("one", "own"))
    assert first.equals(second)


def test_segment_by_segment_with_overlapping_regions(experiment: Path, tmp_path: Path) -> None:
    script = """
import numpy, pandas
from tramway_dask.analyzer import *
from tramway_dask.analyzer import BasicLogger
a = RWAnalyzer()
a._logger = BasicLogger()
a.spt_data.from_ascii_file('cell0.rpt.txt')
a.spt_data.localization_precision = 1e-4
centers = numpy.array([[.5, .5], [1.5, 1.5], [.8, .7], [.3, .6]])
a.roi.from_squares(centers, .4, group_overlapping_roi=True)
assert [ r.label for r in a.roi.as_support_regions() ] == ['roi000-002-003', 'roi001']
a.tesseller = tessellers.Hexagons
a.time.from_sliding_window(1.5)
a.time.window_shift = 1

def infer(cells):
    i, n = zip(*[ (cell.index, len(cell)) for cell in cells.values() ])
    return pandas.DataFrame(dict(n=list(n)), index=list(i))

a.mapper.from_plugin(infer)

def tessellate(self):
    for f in self.spt_data:
        with f.autosaving() as tree:
            for r in f.roi.as_support_regions():
                sampling = self.sampler.sample(r.crop())
                tree[r.label] = sampling
                assert tree.modified
                self.logger.info(f'#segments: {len(sampling.tessellation.time_lattice)}')

def reload(self):
    self.spt_data.reload_from_rwa_files()

def map(self):
    for r in self.roi.as_support_regions():
        with r.autosaving() as tree:
            sampling = r.get_sampling()
            for ts, s in self.time.as_time_segments(sampling):
                tree[r.label][self.time.segment_label('n', ts, s)] = self.mapper.infer(s)

a.pipeline.append_stage(tessellate, granularity='roi')
a.pipeline.append_stage(reload, requires_mutability=True)
a.pipeline.append_stage(map, granularity='time segment')
a.env = environments.LocalHost
a.env.worker_count = 2
report = a.run()
assert report.ok, report

a.spt_data.reload_from_rwa_files()
for r in a.roi.as_support_regions():
    sampling = r.get_sampling()
    assert sorted(sampling.subtree.labels) == [f'n -- t={k}-{k + 1.5:.3g}s' for k in range(3)], sampling.subtree.labels
    counts = pandas.Series(sampling.location_count)
    with r.autosaving():
        maps = a.time.combine_segments('n', sampling, True)
    filled = counts[counts > 0]
    assert (maps.maps['n'] == filled.loc[maps.maps.index]).all()

a.spt_data.reload_from_rwa_files()
print(single(a.spt_data).analyses)
"""
    out = run_script(script, experiment, tmp_path / "segments")
    tree = out[out.index("<DataFrame>") :].strip().splitlines()
    expected = ["'roi000-002-003' <Partition>", "'n' <Maps>", "'roi001' <Partition>", "'n' <Maps>"]
    assert [line.strip() for line in tree[1:]] == expected


def test_labelled_sampling_without_regions(experiment: Path, tmp_path: Path) -> None:
    script = """
import numpy, pandas
from tramway_dask.analyzer import *
a = RWAnalyzer()
a.spt_data.from_ascii_files('cell0.rpt.txt')
a.spt_data.localization_precision = 1e-4
a.tesseller = tessellers.Squares
a.time.from_sliding_window(2)
a.time.window_shift = 1
trajectories = single(a.spt_data).dataframe

def infer(cells):
    ids, tlen = [], []
    for i in cells:
        lengths = [ numpy.sum(trajectories['n'].values == n) for n in numpy.unique(cells[i].n) ]
        if lengths:
            ids.append(i)
            tlen.append(numpy.mean(lengths))
    return pandas.DataFrame({'traj. len.': tlen}, index=ids)

a.mapper.from_plugin(infer)
a.pipeline.append_stage(stages.tessellate(label='squares'))
a.pipeline.append_stage(stages.reload())
a.pipeline.append_stage(stages.infer('traj. features', sampling_label='squares'))
a.env = environments.LocalHost
a.env.worker_count = 2
a.run()
a.spt_data.reload_from_rwa_files()
print(str(single(a.spt_data).analyses))
"""
    out = run_script(script, experiment, tmp_path / "squares")
    assert out.strip().endswith("'squares' <Partition>\n\t\t'traj. features' <Maps>")


def test_every_call_of_the_documentation(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Walk through the names that a user's script may hold."""
    from tramway_dask.analyzer import mapper, roi, spt_data, tesseller, time

    monkeypatch.chdir(experiment)
    a = RWAnalyzer(results=tmp_path / "r")
    a.spt_data = spt_data.from_ascii_files("*.rpt.txt")
    assert a.spt_data.filepaths == ["cell0.rpt.txt", "cell1.rpt.txt"]
    for f in a.spt_data:
        f.localization_precision = 0.02
        f.roi = roi.from_bounding_boxes(ROI, label="A", group_overlapping_roi=True)
        assert f.alias is None
        assert list(f.bounds.index) == ["min", "max"]
        assert len(f.dataframe) > 100
        f.logger.debug("read")
    assert a.spt_data.localization_error == pytest.approx(4e-4)
    assert [r.label for r in next(iter(a.spt_data)).roi.as_support_regions()] == ["A 000-001", "A 002"]
    a.spt_data = spt_data.from_dataframe(single(spt_data.from_ascii_file("cell0.rpt.txt")).dataframe)
    f = single(a.spt_data)
    f.reset_origin()
    assert f.bounds.loc["min", "t"] == 0
    f.roi.from_squares([[0.5, 0.5]], 0.5)
    a.spt_data.localization_precision = PRECISION
    a.tesseller = tesseller.TessellerPlugin("hexagon")
    a.tesseller.from_plugin("grid")
    a.tesseller.from_callable(tessellers.Hexagons)
    a.tesseller.ref_distance = 0.05
    assert a.tesseller.ref_distance == 0.05
    a.time = time.SlidingWindow(duration=2)
    a.time.from_sliding_window(2)
    a.time.window_shift = 1
    a.sampler = sampler.Knn(10)
    a.sampler.from_voronoi()
    a.sampler.min_location_count = 3
    a.mapper = mapper.MapperPlugin("dd")
    a.mapper.from_plugin("df")
    a.mapper = models.DV(start="stochastic")
    a.mapper.from_plugin("d")
    (index, r), *_ = a.roi.as_support_regions(return_index=True)
    assert index == 0
    (i, box), *_ = f.roi.as_individual_roi(return_index=True)
    assert (i, box.label) == (0, "roi000")
    df = r.discard_static_trajectories(r.crop())
    assert {"dx", "dy", "dt"} <= set(df.columns)
    np.testing.assert_allclose(r.bounding_box, [[0.25, 0.25], [0.75, 0.75]])
    sampling = a.sampler.sample(df)
    assert len(sampling.points) == len(df)
    assert sampling.number_of_cells == len(sampling.location_count)
    assert list(sampling.bounding_box.index) == ["min", "max"]
    assert sampling.param["roi"]["label"] == "roi000"
    with r.autosaving() as tree:
        r.add_sampling(sampling, label="hex", comment="by hand")
        maps = a.mapper.infer(sampling)
        maps.commit_as_analysis("d")
        assert tree["hex"].labels == ["d"]
        assert tree.comments["hex"] == "by hand"
        assert tree.metadata == {}
    assert a.time.n_time_segments(sampling) == len(list(a.time.as_time_segments(sampling, return_index=True)))
    again = r.get_sampling("hex")
    pd.testing.assert_frame_equal(again.get_child("d").maps, maps.maps)
    pd.testing.assert_series_equal(again.subtree["d"].data["diffusivity"], maps["diffusivity"])
    assert f.analyses["hex"]["d"].data.mode == maps.mode
    a.pipeline.append_stage(stages.restore_spt_data())
    a.pipeline.append_stage(stages.infer(single_path=True), update_existing_rwa_files=True)
    a.pipeline.add_collectible("picture.png")
    a.pipeline.reset()
    assert not len(a.pipeline)


def test_lost_meanings_are_said_and_misspellings_are_errors() -> None:
    a = RWAnalyzer()
    a.mapper = models.DV()
    with pytest.warns(DeprecationWarning, match="worker_count"):
        a.mapper.worker_count = 4
    with pytest.raises(AttributeError, match="diffusivity_prior"):
        a.mapper.difusivity_prior = 3
    with pytest.raises(AttributeError, match="tesseller"):
        a.teseller = tessellers.Hexagons
    with pytest.raises(AttributeError, match="localization_precision"):
        a.spt_data.localisation_precision = 0.03
    with pytest.raises(AttributeError, match="tessellers.Hexagons"):
        a.tesseller.resolution = 0.1
