"""Sources read in blocks: the same results as in memory, and what cannot be done that way."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest

from tramway_dask.errors import DataError, SegmentationError, SpecificationError
from tramway_dask.inference import DD, DF, DV, D, Density
from tramway_dask.pipeline.blockwise import add_pieces, read_piece
from tramway_dask.results.payload import Payload
from tramway_dask.segmentation import survey as surveys
from tramway_dask.spt_data.ascii import read_ascii
from tramway_dask.spt_data.blocks import block_size, read_block, runs_of, shared_trajectory, text_blocks
from tramway_dask.spt_data.sources import Source

import tramway_dask as td  # isort: skip


def walks(trajectories=300, seed=0):
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 25, trajectories)
    n = np.repeat(np.arange(1, trajectories + 1), length)
    steps = rng.normal(0, 0.06, (len(n), 2))
    first = np.r_[True, n[1:] != n[:-1]]
    steps[first] = rng.uniform(0, 2, (trajectories, 2))
    xy = pd.DataFrame(steps).groupby(n).cumsum().to_numpy()
    t = pd.Series(np.full(len(n), 0.04)).groupby(n).cumsum().to_numpy() + 0.2 * n
    return pd.DataFrame({"n": n, "x": xy[:, 0], "y": xy[:, 1], "t": t})


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("blocks") / "walks.txt"
    walks().to_csv(path, sep="\t", index=False, float_format="%.6f")
    return path


@pytest.mark.parametrize("number", [1, 2, 7, 50])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("sep", ["\t", ",", " "])
def test_each_trajectory_is_in_one_block(tmp_path, number, header, sep):
    path = tmp_path / "a.txt"
    text = walks(60).to_csv(sep=sep, index=False, header=header, float_format="%.5f")
    path.write_text(text.rstrip("\n") + "\n\n" * (number == 7))
    whole = read_ascii(path)
    parts = [read_block(str(path), b) for b in text_blocks(str(path), path.stat().st_size // number)]
    read = pd.concat([p for p in parts if len(p)], ignore_index=True)
    pd.testing.assert_frame_equal(read, whole)
    kept = [set(p["n"]) for p in parts]
    assert sum(map(len, kept)) == len(set.union(*kept))


def test_runs_of_trajectories():
    table = pd.DataFrame({"n": [1, 1, 2, 3, 7, 9, 8]})
    assert runs_of(table).tolist() == [[1, 3], [7, 9]]
    assert shared_trajectory(runs_of(table), np.array([[4, 6]])) is None
    assert shared_trajectory(np.array([[1, 3], [7, 9]]), np.array([[5, 7]])) == 7
    assert shared_trajectory(np.array([[1, 9]]), np.array([[3, 3]])) == 3
    assert block_size("blocksize", "1.5 MB") == 1_500_000
    for wrong in ("many", 0, -1, True):
        with pytest.raises(SpecificationError, match="'64 MB'"):
            block_size("blocksize", wrong)


def analyzer(file, folder, blocksize, model, **components):
    a = td.RWAnalyzer(
        tesseller=components.pop("tesseller", td.tessellers.Hexagons()),
        mapper=model,
        results=folder,
        **components,
    )
    a.spt_data.from_ascii_file(file)
    a.spt_data.localization_precision = 0.02
    a.spt_data.blocksize = blocksize
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="m"))
    return a


def maps(*args, **options):
    a = analyzer(*args, **options)
    a.run(progress=False)
    return a.maps("m"), a


MODELS = [D(), DD(), DF(diffusivity_prior=5), DV(diffusivity_prior=5, potential_prior=1), Density(),
          D(diffusivity_prior="auto", cross_validation=0)]  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_same_maps_as_in_memory(tmp_path, file, model):
    whole, _ = maps(file, tmp_path / "whole", None, model)
    blocks, a = maps(file, tmp_path / "blocks", 8_000, model)
    assert file.stat().st_size > 10 * 8_000
    # sums in another order
    pd.testing.assert_frame_equal(blocks, whole, rtol=1e-7, atol=1e-9)
    source = next(iter(a.spt_data))
    again = source.roi.get_support_region(0).get_sampling()
    assert isinstance(again, surveys.ReducedPartition)
    pd.testing.assert_frame_equal(model.infer(again).table, a.mapper.infer(again).table)


@pytest.mark.parametrize("tesseller", [td.tessellers.Squares(), td.tessellers.KMeans(avg_location_count=200)])
def test_windows_and_other_cells(tmp_path, file, tesseller):
    options = {"time": td.time.SlidingWindow(duration=20, shift=10), "tesseller": tesseller}
    model = DV(diffusivity_prior=5, potential_prior=1, time_prior=1)
    whole, _ = maps(file, tmp_path / "whole", None, model, **options)
    blocks, a = maps(file, tmp_path / "blocks", "9 kB", model, **options)
    pd.testing.assert_frame_equal(blocks, whole, rtol=1e-6, atol=1e-8)
    least = {**options, "sampler": td.sampler.VoronoiSampler(min_location_count=30)}
    whole, _ = maps(file, tmp_path / "w", None, D(), **least)
    blocks, _ = maps(file, tmp_path / "b", "9 kB", D(), **least)
    pd.testing.assert_frame_equal(blocks, whole, rtol=1e-7)


def boxed(a):
    a.roi.from_bounding_boxes([([0, 0], [0.8, 0.8]), ([1, 1], [1.9, 1.8]), ([0.5, 0.6], [1.2, 1.4])])
    return a


def tables(result):
    payloads = [Payload.from_bytes(b) for b in result.payloads.values()]
    return {(*r.output, kind): table for p in payloads for r in p.records for kind, table in r.tables.items()}


@pytest.mark.parametrize("where", ["in process", "dask"])
def test_regions_of_interest_are_bit_for_bit_the_same(tmp_path, file, where):
    found = []
    for k, size in enumerate((None, 8_000)):
        a = boxed(analyzer(file, tmp_path / str(k), size, DV(diffusivity_prior=5, potential_prior=1)))
        if where == "dask":
            with dask.config.set(scheduler="synchronous"):
                results = dask.compute(a.delayed())[0]
            assert all(r.ok for r in results.values())
            found.append({place: tables(r) for place, r in results.items()})
        else:
            a.run(progress=False)
            found.append(a.maps("m"))
    if where == "dask":
        assert found[0] == found[1]
    else:
        pd.testing.assert_frame_equal(found[0], found[1], check_exact=True)


def test_blocks_are_tasks_that_add_up_as_a_tree(tmp_path, file):
    a = analyzer(file, tmp_path / "r", 4_000, D())
    (task,) = a.delayed().values()
    names = [str(k) for k in task.dask]
    blocks = len(text_blocks(str(file), 4_000))
    assert sum(n.startswith("survey-") for n in names) == sum(n.startswith("sums-") for n in names) == blocks
    assert any(n.startswith("add-sums-1-") for n in names)
    with dask.config.set(scheduler="synchronous"):
        (result,) = dask.compute(task)
    assert result.ok, result.failure


def test_large_surveys_keep_a_sample_whatever_the_blocks(monkeypatch):
    monkeypatch.setattr(surveys, "SAMPLE", 500)
    from tramway_dask.spt_data.tables import translocations

    table = translocations(walks(400))
    cuts = [
        surveys.survey(table.iloc[i : i + 700]) + surveys.survey(table.iloc[i + 700 : i + 1400])
        for i in (0, 1400)
    ]
    found = cuts[0] + cuts[1] + surveys.survey(table.iloc[2800:])
    whole = surveys.survey(table)
    pd.testing.assert_frame_equal(found.table(), whole.table())
    assert found.count == len(table) and 500 <= len(found.table()) < 520
    for tesseller in (td.tessellers.Hexagons(), td.tessellers.Squares(avg_location_count=40)):
        cells = surveys.lattice_of(found, tesseller=tesseller)
        np.testing.assert_allclose(cells.centers, tesseller.tessellate(table).centers, rtol=1e-12)
    assert surveys.lattice_of(found, tesseller=td.tessellers.KMeans()).number_of_cells > 5
    for refused in (
        {"tesseller": td.tessellers.Hexagons(tilt=0.5)},
        {"tesseller": td.tessellers.Squares(), "time": td.time.SlidingWindow(duration=3, frames=True)},
        {"tesseller": td.tessellers.Squares(post_processing=td.cell_mergers.ByTranslocationCount)},
    ):
        with pytest.raises(SegmentationError, match="read in blocks"):
            surveys.lattice_of(found, **refused)


def test_what_needs_the_points_says_so(tmp_path, file):
    _, a = maps(file, tmp_path / "r", 8_000, D())
    sampling = next(iter(a.spt_data)).roi.get_support_region(0).get_sampling()
    with pytest.raises(SegmentationError, match="blocksize = None"):
        td.mapper.from_callable(lambda cells: [c.dr.sum() for c in cells.values()]).infer(sampling)
    checked = D(diffusivity_prior="auto").infer(sampling).attrs["prior_selection"]["cross_validation"]
    assert "read in blocks" in checked["message"]
    knn = analyzer(file, tmp_path / "knn", 8_000, D(), sampler=td.sampler.Knn(10))
    report = knn.run(progress=False)
    assert report.failed == 1
    assert "VoronoiSampler" in report.failures["message"][0]


def test_a_file_that_is_not_sorted_by_trajectory(tmp_path):
    path = tmp_path / "frames.txt"
    walks(200).sort_values("t").to_csv(path, sep="\t", index=False)
    source = Source(str(path))
    source.blocksize = 5_000
    pieces = [
        read_piece(source, b, [], field=True, discard_static=False) for b in text_blocks(str(path), 5_000)
    ]
    failure = add_pieces(pieces, source.name)
    assert failure.kind == "DataError" and "sort the file by trajectory" in failure.message
    utf16 = tmp_path / "wide.txt"
    walks(20).to_csv(utf16, sep="\t", index=False, encoding="utf-16")
    with pytest.raises(DataError, match="UTF-8"):
        read_block(str(utf16), (0, 100))
