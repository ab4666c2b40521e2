"""Cells that are given, cells within cells, and tessellers of the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cases import analyzer, same_maps, same_partition, walk, write_fields
from hypothesis import given, settings
from hypothesis import strategies as st

import tramway_dask as td
from tramway_dask.analyzer.configuration import from_mapping
from tramway_dask.component import count, setting
from tramway_dask.errors import LabelConflictError, SegmentationError, SpecificationError
from tramway_dask.results.artefacts import partition_record, to_partition
from tramway_dask.segmentation import (
    Hexagons,
    KMeans,
    Knn,
    Partition,
    SlidingWindow,
    Squares,
    Tessellation,
    Tesseller,
    segment,
    tesseller,
)
from tramway_dask.segmentation.cell_mergers import ByTranslocationCount
from tramway_dask.segmentation.tesseller import GivenCenters, GivenTessellation, Nested

CENTERS = np.random.default_rng(1).random((9, 2))


def table(seed: int = 0, size: int = 500, dimension: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    df = pd.DataFrame(rng.random((size, dimension)), columns=list("xyz"[:dimension]))
    df.insert(0, "n", np.arange(size) // 10)
    df["t"] = rng.uniform(0, 10, size)
    for c in "xyz"[:dimension]:
        df[f"d{c}"] = 0.02 * rng.standard_normal(size)
    return df.assign(dt=0.04)


def test_given_centers() -> None:
    df = table()
    cells = tesseller.from_centers(CENTERS)
    mesh = cells.tessellate(df, box=[[0, 0], [1, 1]])
    np.testing.assert_array_equal(mesh.centers, CENTERS)
    apart = ((df[["x", "y"]].to_numpy()[:, None] - CENTERS[None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(mesh.cell_index(df), apart.argmin(axis=1))
    assert mesh.areas.sum() == pytest.approx(1)
    frame = pd.DataFrame(CENTERS, columns=["x", "y"]).assign(t=1.0)
    assert GivenCenters(centers=frame) == GivenCenters(centers=CENTERS.tolist()) == cells
    assert cells.fingerprint() != tesseller.from_centers(CENTERS + 1e-9).fingerprint()
    assert repr(cells) == "GivenCenters(9 centers in 2-D)"
    solid = tesseller.from_centers([[0.2, 0.5, 0.5], [0.8, 0.5, 0.5]]).tessellate(table(dimension=3))
    assert solid.number_of_cells == 2 and solid.pairs.tolist() == [[0, 1]]
    merged = GivenCenters(centers=CENTERS, post_processing=ByTranslocationCount(40)).tessellate(df)
    assert np.bincount(merged.cell_index(df)).min() >= 40


def test_cells_of_one_file_for_another(tmp_path: Path) -> None:
    one, other = table(0), table(1)
    made = segment(one, tesseller=KMeans(resolution=0.3), time=SlidingWindow(5), sampler=Knn(5))
    mesh = made.tessellation.spatial_mesh
    mesh.save(tmp_path / "cells.npz")
    ways = [made, made.tessellation, mesh, tmp_path / "cells.npz", str(tmp_path / "cells.npz")]
    cells = [tesseller.from_tessellation(way) for way in ways]
    assert len({c.fingerprint() for c in cells}) == 1
    assert tesseller.from_partition(made) == cells[0] != tesseller.from_tessellation(mesh.delete_cells(0))
    for c in cells:
        partition = segment(other, tesseller=c)
        np.testing.assert_array_equal(partition.centers, mesh.centers)
        np.testing.assert_array_equal(partition.cell_index, mesh.cell_index(other))
    assert segment(other, tesseller=made).tessellation is mesh
    assert repr(cells[0]).startswith("GivenTessellation(tessellation=Tessellation(")
    assert len(segment(other[:1], tesseller=cells[0])) == 1


def test_given_to_an_analyzer() -> None:
    made = segment(table(), tesseller=Hexagons(resolution=0.3))
    a = td.RWAnalyzer()
    a.tesseller = made
    assert a.tesseller == tesseller.from_partition(made)
    a.tesseller.from_centers(CENTERS)
    assert isinstance(a.tesseller, GivenCenters) and "9 centers" in repr(a)
    a.tesseller.from_partition(made)
    assert a.tesseller.tessellation is made.tessellation
    b = td.RWAnalyzer()
    b.tesseller.from_centers(CENTERS)
    b.sampler.from_spheres(0.2)
    assert b.tesseller == GivenCenters(centers=CENTERS)
    assert b.sampler.sample(table()).param["tesseller"]["type"] == "GivenCenters"
    b.tesseller.post = ByTranslocationCount
    b.tesseller.post.count_threshold = 30
    assert b.tesseller.post_processing == ByTranslocationCount(30)


@pytest.mark.parametrize(
    ("bad", "error", "match"),
    [
        (lambda: GivenCenters(centers=[[0, 1], [np.nan, 1]]), SpecificationError, "not finite"),
        (lambda: GivenCenters(centers=[1, 2]), SpecificationError, r"shape \(cells, 2\)"),
        (lambda: GivenCenters(centers="here"), SpecificationError, "expected coordinates"),
        (lambda: GivenCenters().tessellate(table()), SpecificationError, "centers is not set"),
        (lambda: tesseller.from_centers(CENTERS).tessellate(table(dimension=3)), SegmentationError, "data 3"),
        (lambda: GivenTessellation().tessellate(table()), SpecificationError, "is not set"),
        (lambda: GivenTessellation(tessellation=3), SpecificationError, "expected a tessellation"),
        (lambda: GivenTessellation(tessellation="no.npz"), SegmentationError, "no file of a tessellation"),
        (lambda: tesseller.from_partition(CENTERS), SpecificationError, "expected a sampling"),
        (lambda: GivenCenters(centers=CENTERS, resolution=0.1), SpecificationError, "would have no effect"),
        (lambda: far().tessellate(table()), SegmentationError, "no translocation is where the cells are"),
        (lambda: far().tessellate(table(dimension=3)), SegmentationError, "2 coordinates, the data 3"),
        (lambda: Nested(parent=3), SpecificationError, "expected a tesseller"),
        (lambda: Nested(parent=Squares).tessellate(table()), SpecificationError, "child is not set"),
        (lambda: nested().replace(child=Hexagons(resolution=2)).tessellate(table()), SegmentationError,
         "no cell of the parent can be divided"),
        (lambda: segment(table(), tesseller=nested(), time=SlidingWindow(2)), SegmentationError,
         "nested cells cannot be combined with time windows"),
        (lambda: Empty().tessellate(table()), SpecificationError, r"Empty .* no method grow"),
        (lambda: Disks(number=-1), SpecificationError, "whole number"),
    ],
)  # fmt: skip
def test_bad_input(bad: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        bad()


def far() -> GivenTessellation:
    return tesseller.from_tessellation(Tessellation.from_centers(CENTERS + 5, [[5, 5], [6, 6]]))


def nested(**options: Any) -> Nested:
    parts = {"parent": Squares(resolution=0.5), "child": KMeans(resolution=0.15), **options}
    return Nested(**parts)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    parent=st.sampled_from([Squares(resolution=0.5), Hexagons(resolution=0.5), KMeans(resolution=0.4)]),
    child=st.sampled_from([Squares(resolution=0.13), Hexagons(resolution=0.2), KMeans(resolution=0.2)]),
)
def test_nested_cells(seed: int, parent: Tesseller, child: Tesseller) -> None:
    df, box = table(seed, 300), [[-0.1, 0.0], [1.0, 1.2]]
    mesh = Nested(parent=parent, child=child).tessellate(df, box=box)
    above = parent.tessellate(df, box=box)
    index, owner = mesh.cell_index(df), above.cell_index(df)
    assert len(np.unique(np.column_stack([index, owner]), axis=0)) == len(np.unique(index))
    assert mesh.areas.sum() == pytest.approx(1.1 * 1.2, rel=1e-9)
    starts = mesh.lattice.starts
    family = np.repeat(np.arange(len(above)), np.diff(starts))
    np.testing.assert_array_equal(family[index], owner)
    for u in range(len(above)):
        mine = family == u
        assert mesh.areas[mine].sum() == pytest.approx(above.areas[u], abs=1e-9)
        rows = np.flatnonzero(owner == u)
        apart = ((df[["x", "y"]].to_numpy()[rows, None] - mesh.centers[None, mine]) ** 2).sum(axis=2)
        np.testing.assert_array_equal(index[rows], starts[u] + apart.argmin(axis=1))
    pairs = mesh.pairs
    assert (family[pairs[:, 0]] == family[pairs[:, 1]]).all()
    assert (mesh.adjacency != mesh.adjacency.T).nnz == 0
    for i in np.flatnonzero(mesh.areas > 1e-9):
        x, y = mesh.polygon(i).T
        assert (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2 == pytest.approx(mesh.areas[i], abs=1e-9)
    again = Nested(parent=parent, child=child).tessellate(df, box=box)
    assert again.fingerprint() == mesh.fingerprint()


def test_nested_cells_in_three_dimensions() -> None:
    df, box = table(3, 400, 3), np.array([[0.0] * 3, [1.0] * 3])
    parent = KMeans(resolution=0.6)
    mesh = nested(parent=parent, child=Squares(resolution=0.35)).tessellate(df, box=box)
    above = parent.tessellate(df, box=box)
    starts = mesh.lattice.starts
    assert mesh.areas.sum() == pytest.approx(1)
    sums = np.add.reduceat(mesh.areas, starts[:-1])
    np.testing.assert_allclose(sums, above.areas, rtol=1e-9)
    # volumes by counting
    dense = np.random.default_rng(0).random((200_000, 3))
    share = np.bincount(mesh.cell_index(dense), minlength=len(mesh)) / len(dense)
    np.testing.assert_allclose(share, mesh.areas, atol=5 * np.sqrt(mesh.areas.max() / len(dense)))


def test_what_cannot_be_divided_stays_whole() -> None:
    df = table(2, 200)
    df = df[(df["x"] < 0.45) | (df["y"] < 0.45)]
    df = pd.concat([df, table(9, 1).assign(x=0.75, y=0.75)])
    mesh = nested().tessellate(df, box=[[0, 0], [1, 1]])
    above = Squares(resolution=0.5).tessellate(df, box=[[0, 0], [1, 1]])
    assert mesh.centers[-1].tolist() == above.centers[-1].tolist() and mesh.areas[-1] == above.areas[-1]
    assert not len(mesh.neighbours(len(mesh) - 1)) and len(mesh.neighbours(0))
    partition = segment(df, tesseller=nested())
    again = to_partition(partition_record(partition, "nested"))
    same_partition(again, partition)
    other = table(5)
    np.testing.assert_array_equal(
        again.tessellation.cell_index(other), partition.tessellation.cell_index(other)
    )
    assert Partition.from_arrays(points=partition.points, **partition.to_arrays()).tessellation.lattice


@dataclass(eq=False, repr=False)
class Disks(Tesseller):
    """A tesseller as a user would write it."""

    number: int = setting(20, check=count)

    def grow(self, points: Any, box: np.ndarray) -> Any:
        return points[["x", "y"]].iloc[: self.number]


class Empty(Tesseller):
    """Not finished."""


def test_tesseller_of_ones_own() -> None:
    df = table()
    disks = Disks(number=7)
    np.testing.assert_array_equal(disks.tessellate(df).centers, df[["x", "y"]].to_numpy()[:7])
    assert tesseller.from_callable(Disks).tessellate(df).number_of_cells == 20
    assert "grow" in str(disks.to_dict()["code"]) and disks == Disks(number=7) != Disks(number=8)

    class Changed(Disks):
        def grow(self, points: Any, box: np.ndarray) -> Any:
            return points[["x", "y"]].iloc[-self.number :]

    Changed.__name__ = "Disks"
    assert Changed(number=7).fingerprint() != disks.fingerprint()
    assert "code" not in Squares().to_dict()
    tesseller.register("disks")(Disks)
    assert td.tesseller.from_plugin("disks", number=3).tessellate(df).number_of_cells == 3


def test_written_in_a_file(tmp_path: Path) -> None:
    Tessellation.from_centers(CENTERS, [[0, 0], [1, 1]]).save(tmp_path / "cells.npz")
    write_fields(tmp_path, 1)

    def read(**sections: Any) -> td.RWAnalyzer:
        data = {"from_ascii_files": {"pattern": "*.trxyt"}}
        stages = [{"stage": "tessellate"}]
        return from_mapping({"spt_data": data, "stages": stages, **sections}, tmp_path)

    a = read(
        tesseller={"type": "GivenTessellation", "tessellation": "cells.npz"},
        sampler={"type": "TimeKnn", "knn": [5, 9]},
    )
    assert a.tesseller.tessellation.number_of_cells == 9 and a.sampler == td.sampler.TimeKnn((5, 9))
    merger = {"type": "ByTranslocationCount", "count_threshold": 9, "update_centroids": True}
    b = read(
        tesseller={"type": "GivenCenters", "centers": CENTERS.tolist(), "post": merger},
        sampler={"type": "SphericalSampler", "radius": 0.2},
    )
    assert b.tesseller == GivenCenters(centers=CENTERS, post_processing=ByTranslocationCount(9, True))
    assert b.sampler == td.sampler.SphericalSampler(0.2)
    parts = {
        "parent": {"type": "Squares", "resolution": 0.5},
        "child": {"type": "Hexagons", "resolution": 0.1},
    }
    c = read(tesseller={"type": "Nested", **parts})
    assert c.tesseller == Nested(parent=Squares(resolution=0.5), child=Hexagons(resolution=0.1))
    with pytest.raises(SpecificationError, match=r"\[tesseller.child\] type: unknown value 'Hexagon'"):
        read(tesseller={"type": "Nested", "child": {"type": "Hexagon"}})


def test_in_processes_as_in_this_one(tmp_path: Path) -> None:
    made = segment(walk(0), tesseller=KMeans(resolution=0.2))
    choices: list[dict[str, Any]] = [
        {"tesseller": made, "sampler": td.sampler.TimeKnn((10, 30)), "time": SlidingWindow(1)},
        {"tesseller": nested(child=Hexagons(resolution=0.1)), "sampler": td.sampler.SphericalSampler(0.1)},
        {"tesseller": Disks(number=9), "sampler": Knn(lambda i: 10 + i)},
    ]
    with td.environments.LocalHost(worker_count=1) as env:
        for i, chosen in enumerate(choices):
            here, there = (analyzer(tmp_path / f"{place}{i}", **chosen) for place in ("here", "there"))
            there.env = env
            for a in (here, there):
                a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
                report = a.run(progress=False)
                assert (report.done, report.failed) == (4, 0)
            same_maps(here.maps("m"), there.maps("m"))
            assert set(there.plan().to_frame()["status"]) == {"done"}
            there.tesseller = made.tessellation.delete_cells(0)
            with pytest.raises(LabelConflictError):
                there.plan()
