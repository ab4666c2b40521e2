"""Regions of interest: definitions, labels, groups, files, and the rows they select."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cases import walk, write_fields
from hypothesis import given, settings
from hypothesis import strategies as st

import tramway_dask as td
from tramway_dask.errors import RegionError
from tramway_dask.roi.boxes import read_boxes

HEADER = "x min\tx max\ty min\ty max"


def field(table: pd.DataFrame | None = None) -> td.RWAnalyzer:
    a = td.RWAnalyzer()
    a.spt_data.from_dataframe(walk() if table is None else table, alias="field")
    return a


def labels(a: td.RWAnalyzer) -> list[str | None]:
    return [r.label for r in a.roi.as_support_regions()]


def test_whole_field_without_regions() -> None:
    a = field()
    (region,) = a.roi.as_support_regions()
    assert region.label is None
    assert region.bounding_box is None
    assert len(region.crop()) == len(a.spt_data[0].translocations)
    (individual,) = a.roi.as_individual_roi()
    assert individual.key == "full"
    assert not a.roi.initialized


def test_constructors_agree() -> None:
    a = field()
    bounds = [([0.0, 0.1], [0.4, 0.5]), ([0.5, 0.5], [0.9, 0.9])]
    table = pd.DataFrame(
        [[0.0, 0.4, 0.1, 0.5], [0.5, 0.9, 0.5, 0.9]], columns=["x min", "x max", "y min", "y max"]
    )
    centers = pd.DataFrame({"x": [0.2, 0.7], "y": [0.3, 0.7]})
    crops = []
    for define in (
        lambda: a.roi.from_bounding_boxes(bounds),
        lambda: a.roi.from_bounding_boxes(table),
        lambda: a.roi.from_squares(centers, 0.4),
        lambda: a.roi.from_squares(centers.to_numpy(), 0.4),
        lambda: setattr(a, "roi", td.roi.from_bounding_boxes(bounds)),
        lambda: setattr(a.spt_data[0], "roi", td.roi.from_squares(centers, 0.4)),
    ):
        a.roi.reset()
        define()
        crops.append([r.crop() for r in a.roi.as_support_regions()])
        assert labels(a) == ["roi000", "roi001"]
    for other in crops[1:]:
        for one, two in zip(crops[0], other, strict=True):
            pd.testing.assert_frame_equal(one, two)


@pytest.mark.parametrize(
    ("boxes", "told"),
    [
        ([], "empty"),
        ([1, 2], "pairs of vectors"),
        ([([0, 0], [1])], "as many lower as upper"),
        ([([0], [1])], "at least x and y"),
        ([([0, 0], [1, 0])], "not below"),
        ([([0, 0], [1, np.nan])], "not a finite number"),
        (pd.DataFrame({"x min": [0.0]}), "x max"),
    ],
)
def test_boxes_that_make_no_sense(boxes: Any, told: str) -> None:
    with pytest.raises(RegionError, match=told):
        td.roi.from_bounding_boxes(boxes)


@pytest.mark.parametrize("side", [0, -1, np.nan, "1"])
def test_side_that_makes_no_sense(side: Any) -> None:
    with pytest.raises((RegionError, td.errors.SpecificationError), match="side"):
        td.roi.from_squares([[0, 0]], side)
    with pytest.raises(RegionError, match="shape"):
        td.roi.from_squares([[0, 0, 0, 0]], 1)


def test_dimension_must_fit_the_data() -> None:
    a = field()
    a.roi.from_bounding_boxes([([0, 0, 0, 0], [1, 1, 1, 1])])
    with pytest.raises(RegionError, match="roi000.*2 dimensions"):
        next(a.roi.as_support_regions()).crop()
    a.roi.from_squares([[0.5, 0.5, 0.5]], 1)
    with pytest.raises(RegionError, match="3 space coordinates"):
        next(a.roi.as_support_regions()).crop()


def test_labels() -> None:
    a = field()
    overlapping = [[0.1, 0.1], [0.8, 0.8], [0.2, 0.2], [0.3, 0.3]]
    a.roi.from_squares(overlapping, 0.15, group_overlapping_roi=True)
    assert labels(a) == ["roi000-002-003", "roi001"]
    assert [r.label for r in a.roi.as_individual_roi()] == ["roi000", "roi001", "roi002", "roi003"]
    a.roi.reset()
    a.roi.from_squares(overlapping, 0.15, "A", group_overlapping_roi=True)
    a.roi.from_squares([[0.15, 0.15], [0.5, 0.9]], 0.01, "B", group_overlapping_roi=True)
    assert labels(a) == ["A 000-002-003 - B 000", "A 001", "B 001"]
    assert [r.label for r in a.roi.as_individual_roi(collection="A")][:2] == ["A roi 000", "A roi 001"]
    a.roi.reset()
    a.roi.from_squares(overlapping, 0.15, "A")
    assert labels(a) == ["A 000", "A 001", "A 002", "A 003"]
    assert [r.label for r in a.roi.as_individual_roi()] == labels(a)
    a.roi.set_num_digits(2)
    assert labels(a)[0] == "A 00"


def test_groups_are_closed_and_timed() -> None:
    a = field()
    touching = [([0, 0], [0.5, 0.5]), ([0.5, 0.5], [1, 1])]
    a.roi.from_bounding_boxes(touching, group_overlapping_roi=True)
    assert labels(a) == ["roi000-001"]
    apart_in_time = [([0, 0, 0], [0.5, 0.5, 1]), ([0, 0, 1.1], [0.5, 0.5, 2])]
    a.roi.from_bounding_boxes(apart_in_time, group_overlapping_roi=True)
    assert labels(a) == ["roi000", "roi001"]
    apart_in_time[1][0][2] = 1
    a.roi.from_bounding_boxes(apart_in_time, group_overlapping_roi=True)
    assert labels(a) == ["roi000-001"]
    (region,) = a.roi.as_support_regions()
    np.testing.assert_array_equal(region.bounding_box, [[0, 0, 0], [0.5, 0.5, 2]])


box = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 5)] * 2)


@settings(max_examples=60, deadline=None)
@given(st.lists(box, min_size=1, max_size=8))
def test_groups_are_the_connected_components(corners: list[tuple[int, ...]]) -> None:
    a = field(walk(count=2))
    boxes = [([x, y], [x + w, y + h]) for x, y, w, h in corners]
    a.roi.from_bounding_boxes(boxes, group_overlapping_roi=True)
    groups = [{i} for i in range(len(boxes))]
    for i, j in itertools.combinations(range(len(boxes)), 2):
        (p, q), (r, s) = boxes[i], boxes[j]
        if all(p[k] <= s[k] and r[k] <= q[k] for k in range(2)):
            one, two = (next(g for g in groups if m in g) for m in (i, j))
            if one is not two:
                groups = [g for g in groups if g not in (one, two)] + [one | two]
    expected = {"roi" + "-".join(f"{m:03d}" for m in sorted(g)) for g in groups}
    assert set(labels(a)) == expected
    for i in range(len(boxes)):
        assert f"{i:03d}" in str(a.spt_data[0].roi.get_support_region(i).label)


def test_crop_of_a_group_is_the_union() -> None:
    a = field()
    table = a.spt_data[0].translocations
    a.roi.from_squares([[0.3, 0.3], [0.5, 0.5]], 0.4, group_overlapping_roi=True)
    (region,) = a.roi.as_support_regions()
    inside = np.zeros(len(table), dtype=bool)
    for low, up in ((0.1, 0.5), (0.3, 0.7)):
        inside |= ((table[["x", "y"]] >= low) & (table[["x", "y"]] <= up)).all(axis=1).to_numpy()
    crop = region.crop()
    values = ["x", "y", "t", "dx", "dy", "dt"]
    np.testing.assert_array_equal(crop[values].to_numpy(), table.loc[inside, values].to_numpy())
    assert not crop.duplicated(values).any()
    n = crop["n"].to_numpy()
    assert set(np.diff(n)) <= {0, 1}
    assert crop.attrs["roi"]["label"] == "roi000-001"
    parts = [r.crop() for r in a.roi.as_individual_roi()]
    assert max(map(len, parts)) < len(crop) < sum(map(len, parts))


def test_time_bounds() -> None:
    a = field()
    a.roi.from_bounding_boxes([([0, 0, 1.0], [1, 1, 2.0])])
    (region,) = a.roi.as_support_regions()
    crop = region.crop()
    assert crop["t"].min() >= 1
    assert (crop["t"] + crop["dt"]).max() <= 2 + 1e-12
    assert len(crop)


def test_iterators_filter() -> None:
    a = td.RWAnalyzer()
    a.spt_data.from_dataframes([walk(0), walk(1)], alias=["p", "q"])
    a.roi.from_squares([[0.2, 0.2], [0.5, 0.5], [0.8, 0.8]], 0.2)
    every = [(r.source.name, i) for i, r in a.roi.as_support_regions(return_index=True)]
    assert every == list(itertools.product("pq", range(3)))
    assert [r.index for r in a.roi.as_support_regions(index=[0, 2], source="q")] == [0, 2]
    assert [r.index for r in a.roi.as_support_regions(index=lambda i: i > 1)] == [2, 2]
    assert [r.source.name for r in a.roi.as_individual_roi(index=1)] == ["p", "q"]
    assert [r.get_support_region().label for r in a.roi.as_individual_roi(source="p")] == labels(a)[:3]
    with pytest.raises(RegionError, match="several sources"):
        a.roi.get_support_region(0)
    with pytest.raises(RegionError, match="p: no region of interest of index 9"):
        a.spt_data[0].roi.get_support_region(9)


def test_random_numbers_of_a_region() -> None:
    a = field()
    a.roi.from_squares([[0.2, 0.2], [0.5, 0.5]], 0.2)
    one, two = (r.rng.random(3) for r in a.roi.as_support_regions())
    assert (one != two).all()
    again = next(a.roi.as_support_regions()).rng.random(3)
    np.testing.assert_array_equal(one, again)
    a.seed = 1
    assert (next(a.roi.as_support_regions()).rng.random(3) != one).all()


@pytest.mark.parametrize("joiner", ["", "-", "_"])
def test_files_beside_the_data(tmp_path: Path, joiner: str) -> None:
    paths = write_fields(tmp_path)
    for i, path in enumerate(paths):
        row = f"0\t0.{5 + i}\t0\t0.5\n"
        Path(path).with_name(f"cell{i}{joiner}roi.txt").write_text(f"{HEADER}\n{row}")
    a = td.RWAnalyzer()
    a.spt_data.from_ascii_files(str(tmp_path / "*"))
    a.roi.from_ascii_files()
    assert a.spt_data.aliases == ["cell0", "cell1"]
    assert [r.bounding_box[1][0] for r in a.roi.as_support_regions()] == [0.5, 0.6]
    assert a.spt_data[0].roi.filepath == str(tmp_path / f"cell0{joiner}roi.txt")


@pytest.mark.parametrize(
    "order", ["data first", "regions first", "regions made apart", "data made apart", "own"]
)
def test_region_files_are_never_data(tmp_path: Path, order: str) -> None:
    for name in ("p", "q"):
        walk(count=5).to_csv(tmp_path / f"{name}.txt", sep="\t", index=False)
        (tmp_path / f"{name}-boxes.txt").write_text(f"{HEADER}\n0\t1\t0\t1\n")
    a, pattern = td.RWAnalyzer(), str(tmp_path / "*.txt")
    if order == "data first":
        a.spt_data.from_ascii_files(pattern)
        a.roi.from_ascii_files(suffix="boxes")
    elif order == "regions first":
        a.roi.from_ascii_files(suffix="boxes")
        a.spt_data.from_ascii_files(pattern)
    elif order == "regions made apart":
        a.spt_data.from_ascii_files(pattern)
        a.roi = td.roi.from_ascii_files(suffix="boxes")
    elif order == "data made apart":
        a.roi.from_ascii_files(suffix="boxes")
        a.spt_data = td.spt_data.from_ascii_files(pattern)
    else:
        a.spt_data.from_ascii_files(pattern)
        for f in a.spt_data:
            f.roi.from_ascii_files(suffix="boxes", skip_missing=True)
    assert a.spt_data.aliases == ["p", "q"]


def test_several_suffixes(tmp_path: Path) -> None:
    (path,) = write_fields(tmp_path, 1)
    (tmp_path / "cell0-soma.txt").write_text(f"{HEADER}\n0\t0.5\t0\t0.5\n")
    (tmp_path / "cell0-axon.txt").write_text("x\ty\n0.75\t0.75\n0.2\t0.8\n")
    a = td.RWAnalyzer()
    a.spt_data.from_ascii_file(path)
    a.roi.from_ascii_files("soma", label="soma")
    a.roi.from_ascii_files("axon", label="axon", size=0.2)
    assert labels(a) == ["soma 000", "axon 000", "axon 001"]


def test_missing_files(tmp_path: Path) -> None:
    paths = write_fields(tmp_path)
    (tmp_path / "cell1_roi.txt").write_text(f"{HEADER}\n0\t1\t0\t1\n")
    a = td.RWAnalyzer()
    a.spt_data.from_ascii_files(paths)
    a.roi.from_ascii_files()
    with pytest.raises(RegionError, match=r"cell0-roi\.txt.*skip_missing"):
        labels(a)
    (tmp_path / "cell0_roi.txt").write_text(f"{HEADER}\n0\t1\t0\t1\n")
    assert labels(a) == ["roi000", "roi000"]
    (tmp_path / "cell1_roi.txt").unlink()
    a.roi.from_ascii_files(skip_missing=True)
    assert labels(a) == ["roi000", None]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "cannot read"),
        (f"{HEADER}\n", "no region of interest below the header"),
        ("a\tb\n1\t2\n", "expected bounds"),
        (f"{HEADER}\n0\t1\t0\tone\n", "expected numbers"),
        (f"{HEADER}\n0\t1\t0\t\n", "line 2"),
        (f"{HEADER}\n0\t1\t0\t1\n1\t0\t0\t1\n", "not below"),
        ("x\ty\n1\t2\n", "size="),
        ("\x00\xff\x00", "bad-roi"),
    ],
)
def test_malformed_files(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "bad-roi.txt"
    path.write_text(text)
    with pytest.raises(RegionError, match=told) as caught:
        read_boxes(str(path))
    assert "bad-roi.txt" in str(caught.value)
