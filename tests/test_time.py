"""Time windows, segments and their labels."""

import numpy as np
import pandas as pd
import pytest

from tramway_dask.analyzer import RWAnalyzer, stages
from tramway_dask.errors import LabelConflictError, SegmentationError, SpecificationError
from tramway_dask.inference.maps import Maps
from tramway_dask.results.artefacts import partition_record, to_partition
from tramway_dask.segmentation import Hexagons, Knn, SlidingWindow, Squares, TimeLattice, segment, time
from tramway_dask.segmentation.lattice import frame_duration, segment_bounds
from tramway_dask.spt_data.analyses import Analyses, Artefact


def table(seed=0, size=600, first=0.76, last=81.28):
    rng = np.random.default_rng(seed)
    df = pd.DataFrame({"n": np.arange(size) // 10, "x": rng.random(size), "y": rng.random(size)})
    df["t"] = np.linspace(first, last, size)
    df["dx"], df["dy"], df["dt"] = 0.02, -0.01, 0.04
    return df


class FakeMaps(Artefact):
    def __init__(self, table, runtime=1.0):
        self.table, self.runtime = table, runtime


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("duration", "shift", "count"), [(20, 20, 4), (20, 10, 7), (30, 20, 4), (100, None, 1), (37, 5, 10)]
)
@pytest.mark.filterwarnings("ignore")
def test_number_and_bounds_of_segments(duration, shift, count):
    from tramway.tessellation.window import SlidingWindow as Theirs

    df = table()
    lattice = SlidingWindow(duration, shift).segment(df, Squares(resolution=0.3).tessellate(df))
    assert lattice.number_of_segments == count
    theirs = Theirs(duration=float(duration), shift=None if shift is None else float(shift))
    theirs.cell_index(df[["x", "y", "t"]])
    np.testing.assert_allclose(lattice.time_lattice, theirs.time_lattice, atol=1e-9)
    assert lattice.time_lattice[0, 0] == 0.76
    if (duration, shift) == (30, 20):
        assert lattice.time_lattice[-1, 1] == pytest.approx(90.76)


def test_segments_are_closed_at_the_start_and_open_at_the_end():
    df = table(size=11, first=0.0, last=10.0)
    partition = segment(df, tesseller=Squares(resolution=0.9), time=SlidingWindow(5, 5))
    rows = [set(p.points["t"]) for p in time.as_time_segments(partition, return_times=False)]
    assert rows == [{0.0, 1.0, 2.0, 3.0, 4.0}, {5.0, 6.0, 7.0, 8.0, 9.0}]
    overlapping = segment(df, tesseller=Squares(resolution=0.9), time=SlidingWindow(5, 1))
    assert overlapping.location_count.sum() == 5 * 6
    points, cells = overlapping.cell_index
    assert len(points) == len(cells) == 30


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_assignment_as_in_tramway():
    from tramway.analyzer import RWAnalyzer
    from tramway.analyzer import tessellers as theirs

    df = table(4)
    analyzer = RWAnalyzer()
    analyzer.spt_data.from_dataframe(df)
    analyzer.tesseller = theirs.Hexagons
    analyzer.tesseller.resolution = 0.2
    analyzer.time.from_sliding_window(20, 10)
    analyzer.sampler.from_voronoi()
    expected = set(zip(*analyzer.sampler.sample(df).cell_index, strict=True))
    ours = segment(df, tesseller=Hexagons(resolution=0.2), time=SlidingWindow(20, 10))
    assert set(zip(*ours.cell_index, strict=True)) == expected


def test_start_time():
    df = table()
    mesh = Squares(resolution=0.3).tessellate(df)
    window = SlidingWindow(20, start_time=0)
    assert window.segment(df, mesh).time_lattice.tolist() == [[0, 20], [20, 40], [40, 60], [60, 80]]
    with pytest.raises(SegmentationError, match="after the last translocation"):
        SlidingWindow(20, start_time=100).segment(df, mesh)
    window.start_time = "sync"
    with pytest.raises(SpecificationError, match="needs the data"):
        window.segment(df, mesh)

    class Analyzer:
        class spt_data:  # noqa: N801
            bounds = pd.DataFrame({"t": [0.5, 90.0]}, index=["min", "max"])

    analyzer = Analyzer()
    window.bind(analyzer)
    assert window.segment(df, mesh).time_lattice[0, 0] == 0.5
    window.sync_start_times()
    assert window.start_time == 0.5


def test_window_parameters():
    window = time.from_sliding_window(30)
    assert (window.window_duration, window.window_shift, window.shift) == (30, 30, None)
    window.window_shift = 10
    assert window == SlidingWindow(30, 10)
    for bad in ({"duration": 0}, {"duration": 1, "shift": -1}, {"duration": 1, "start_time": "now"}):
        with pytest.raises(SpecificationError):
            SlidingWindow(**bad)
    with pytest.raises(SpecificationError, match="duration is not set"):
        segment(table(), tesseller=Squares(resolution=0.3), time=SlidingWindow())
    with pytest.raises(SegmentationError, match="time segments, more than"):
        segment_bounds(0, 100, duration=1e-5, shift=1e-5)
    with pytest.raises(SegmentationError, match="column 't'"):
        segment(
            np.random.default_rng(0).random((9, 2)), tesseller=Squares(resolution=0.3), time=SlidingWindow(1)
        )


def test_labels():
    df = table()
    partition = segment(df, tesseller=Squares(resolution=0.3), time=SlidingWindow(20))
    assert time.segment_label("map", (0.76, 20.76)) == "map -- t=0.76-20.76s"
    assert time.segment_label("map", 1, partition) == "map -- t=20.76-40.76s"
    assert time.segment_label("", (0, 100.0)) == "t=0-100s"
    assert SlidingWindow(20).segment_label(None, (0.12345, 7), partition) == "t=0.123-7s"


def test_iteration_over_segments():
    df = table()
    window = SlidingWindow(20)
    partition = segment(df, tesseller=Squares(resolution=0.3), time=window, sampler=Knn(5))
    size = partition.tessellation.spatial_mesh.number_of_cells
    maps = pd.DataFrame({"diffusivity": np.arange(4.0 * size)}, index=pd.RangeIndex(4 * size, name="cell"))
    assert window.n_time_segments(partition) == time.n_time_segments(partition) == 4
    listed = list(window.as_time_segments(partition, maps, return_index=True))
    assert [item[0] for item in listed] == [0, 1, 2, 3]
    for k, times, part, m in listed:
        assert times == tuple(partition.segments[k])
        assert part.segments is None and part.number_of_cells == size and part.location_count.min() >= 5
        assert ((part.points["t"] >= times[0]) & (part.points["t"] < times[1])).all()
        assert m.index.tolist() == list(range(size)) and m["diffusivity"].iloc[0] == k * size
        for cell in range(size):
            whole = partition.points.iloc[partition.rows(k * size + cell)]
            pd.testing.assert_frame_equal(
                part.points.iloc[part.rows(cell)].reset_index(drop=True), whole.reset_index(drop=True)
            )
    (times, part), *_ = window.as_time_segments(partition)
    assert times == (0.76, 20.76) and len(part) == len(listed[0][2])
    assert [
        i for i, _ in window.as_time_segments(partition, index=[2, -1], return_index=True, return_times=False)
    ] == [2, 3]
    assert len(list(window.as_time_segments(partition, index=lambda k: k > 0))) == 3
    with pytest.raises(SegmentationError, match="no time segment 9"):
        list(window.as_time_segments(partition, index=9))


def test_without_windows_there_is_one_segment():
    df = table()
    partition = segment(df, tesseller=Squares(resolution=0.3))
    none = time.Time()
    assert none.n_time_segments(partition) == 1
    ((index, times, part),) = none.as_time_segments(partition, return_index=True)
    assert (index, times) == (0, (0.76, 81.28)) and part is partition
    assert none.time_support(partition) == (0.76, 81.28)
    assert none.get_spatial_segmentation(partition) is partition.tessellation
    assert none.segment(df, partition.tessellation) is partition.tessellation


def test_support_and_space():
    df = table()
    window = SlidingWindow(30, 20)
    partition = segment(df, tesseller=Squares(resolution=0.3), time=window)
    assert window.time_support(partition) == pytest.approx((0.76, 90.76))
    assert isinstance(partition.tessellation, TimeLattice)
    assert window.get_spatial_segmentation(partition) is partition.tessellation.spatial_mesh
    assert window.get_spatial_segmentation(partition.tessellation) is partition.tessellation.spatial_mesh
    assert len(window.get_time_segments(partition)) == 4


def stored(partition, window, skip=()):
    tree = Analyses()
    tree["cells"] = partition
    size = partition.tessellation.spatial_mesh.number_of_cells
    for k, times, _ in window.as_time_segments(partition, return_index=True):
        if k not in skip:
            frame = pd.DataFrame({"D": [k + 0.5]}, index=pd.Index([k % size], name="cell"))
            tree["cells"][window.segment_label("maps", times, partition)] = FakeMaps(frame)
    return tree, size


def test_combine_segments():
    window = SlidingWindow(20)
    partition = segment(table(), tesseller=Squares(resolution=0.3), time=window)
    tree, size = stored(partition, window)
    combined = window.combine_segments("maps", partition, commit=False)
    assert combined.table.index.tolist() == [k * size + k % size for k in range(4)]
    assert combined.table["D"].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert combined.table.index.name == "cell" and combined.runtime == 4
    assert len(tree["cells"].labels) == 4
    window.combine_segments("maps", tree["cells"])
    assert tree["cells"].labels == ["maps"]
    assert partition.get_child().table["D"].tolist() == [0.5, 1.5, 2.5, 3.5]
    parts = [m.table["D"].tolist() for _, _, m in window.as_time_segments(partition, partition.get_child())]
    assert parts == [[0.5], [1.5], [2.5], [3.5]]


def test_combined_maps_say_whether_all_segments_converged():
    window = SlidingWindow(20)
    partition = segment(table(), tesseller=Squares(resolution=0.3), time=window)
    tree, _ = stored(partition, window)
    for k, name in enumerate(tree["cells"].labels):
        node = tree["cells"][name]
        node.data = Maps(node.data.table, "d", 0.03, 1.0, {"converged": k != 2, "objective": k, "prior": 1})
    combined = window.combine_segments("maps", partition)
    assert combined.attrs == {"converged": False, "objective": [0, 1, 2, 3], "prior": 1}
    assert combined.runtime == 4 and combined.mode == "d" and combined.parent is partition


def test_combine_segments_needs_all_of_them():
    window = SlidingWindow(20)
    partition = segment(table(), tesseller=Squares(resolution=0.3), time=window)
    tree, _ = stored(partition, window, skip=[1])
    with pytest.raises(
        SegmentationError, match=r"1 of 4 segments have no maps, the first is 'maps -- t=20.76"
    ):
        window.combine_segments("maps", partition)
    with pytest.warns(UserWarning, match="1 of 4"):
        assert window.combine_segments("maps", partition, permissive=True) is None
    assert window.combine_segments("other", partition, permissive=True) is None
    assert len(tree["cells"].labels) == 3


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("duration", "shift"), [(20, 20), (20, 7), (50, None), (3, 10)])
def test_frames_as_in_tramway(duration, shift):
    from tramway.tessellation.window import SlidingWindow as Theirs

    df = table(5)
    df["t"] = 0.5 + 0.04 * np.sort(np.random.default_rng(0).integers(0, 200, len(df)))
    lattice = SlidingWindow(duration, shift, frames=True).segment(df, Squares(resolution=0.3).tessellate(df))
    theirs = Theirs(duration=duration, shift=shift, frames=True)
    theirs.cell_index(df[["x", "y", "t"]])
    np.testing.assert_allclose(lattice.time_lattice, theirs.time_lattice, atol=1e-6)


def test_every_frame_is_in_its_window():
    rng = np.random.default_rng(1)
    frame = np.sort(rng.integers(0, 300, 2000))
    df = table(size=2000).assign(t=1e3 + frame * 0.02 + rng.uniform(-1e-12, 1e-12, 2000))
    frame -= frame.min()
    mesh = Squares(resolution=0.4).tessellate(df)
    for chosen, bounds in (
        (SlidingWindow(30, 10, frames=True), [(10 * k, 10 * k + 30) for k in range(28)]),
        (time.Segments([(0, 5), (40, 60), (50, 290)], frames=True), [(0, 5), (40, 60), (50, 290)]),
    ):
        partition = segment(df, tesseller=mesh, time=chosen)
        for k, (start, stop) in enumerate(bounds):
            part = partition.restrict_to_segment(k)
            assert len(part.points) == ((frame >= start) & (frame < stop)).sum()
    assert frame_duration(df["t"].to_numpy()) == pytest.approx(0.02)


def test_given_segments():
    df = table()
    bounds = [(0, 10), (5, 20), (60, 61)]
    chosen = time.Segments(bounds)
    partition = segment(df, tesseller=Squares(resolution=0.3), time=chosen, sampler=Knn(4))
    np.testing.assert_array_equal(partition.segments, bounds)
    listed = list(chosen.as_time_segments(partition))
    for (start, stop), part in listed:
        assert len(part.points) == ((df["t"] >= start) & (df["t"] < stop)).sum()
    assert [times for times, _ in listed] == bounds
    assert chosen.time_support(partition) == (0, 61)
    assert chosen == time.from_segments(np.array(bounds)) != time.Segments(bounds[:2])
    assert repr(chosen) == "Segments([[0.0, 10.0], [5.0, 20.0], [60.0, 61.0]])"
    many = np.column_stack([np.arange(50.0), np.arange(50.0) + 2])
    assert repr(time.Segments(many)) == "Segments(50 from 0 to 51 s)"
    again = to_partition(partition_record(partition, "s"))
    np.testing.assert_array_equal(again.segments, bounds)
    np.testing.assert_array_equal(again.indices, partition.indices)
    tree, size = stored(partition, chosen)
    combined = chosen.combine_segments("maps", tree["cells"])
    assert combined.table.index.tolist() == [k * size + k % size for k in range(3)]


@pytest.mark.parametrize(
    ("bounds", "match"),
    [
        ([(0, 1), (2, 2)], "segment 1 has no duration"),
        ([(3, 1)], "segment 0 has no duration"),
        ([(5, 6), (0, 1)], "not in the order of time"),
        ([(0, 1), (0, 1)], "not in the order of time"),
        ([(0, np.inf)], "not a finite number"),
        ([], "array of shape"),
        ([1, 2], "array of shape"),
        ("now", "start and end of each"),
    ],
)
def test_segments_that_cannot_be(bounds, match):
    with pytest.raises(SpecificationError, match=f"Segments.bounds: .*{match}"):
        time.Segments(bounds)
    df = table()
    with pytest.raises(SegmentationError, match=match):
        TimeLattice(Squares(resolution=0.3).tessellate(df), bounds)


def test_windows_without_data():
    df = table()
    for chosen, error, match in (
        (time.Segments([(100, 200)]), SegmentationError, "they span 100 to 200 s, the data 0.76 to 81.28 s"),
        (time.Segments(), SpecificationError, "bounds is not set"),
        (SlidingWindow(2.5, frames=True), SpecificationError, "whole numbers of frames"),
        (SlidingWindow(2, 0.5, frames=True), SpecificationError, "whole numbers of frames"),
    ):
        with pytest.raises(error, match=match):
            segment(df, tesseller=Squares(resolution=0.3), time=chosen)
    with pytest.raises(SegmentationError, match="duration of a frame is not known"):
        segment(df.assign(t=1.0), tesseller=Squares(resolution=0.3), time=SlidingWindow(2, frames=True))


@pytest.mark.parametrize(
    "chosen",
    [
        SlidingWindow(20),
        SlidingWindow(20, 7, 0.5),
        SlidingWindow(40, 20, frames=True),
        time.Segments([(0, 10), (20, 30)]),
        time.Segments(np.column_stack([np.arange(40.0) ** 1.1, np.arange(40.0) ** 1.1 + 2])),
    ],
)
def test_time_of_a_sampling(chosen):
    df = table()
    partition = segment(df, tesseller=Squares(resolution=0.3), time=chosen)
    if len(partition.segments) < 40:
        assert time.from_sampling(to_partition(partition_record(partition, "s"))) == chosen
    partition.param["time"] = None
    found = time.from_sampling(partition).segment(df, partition.tessellation.spatial_mesh)
    np.testing.assert_allclose(found.time_lattice, partition.segments, atol=1e-9)
    assert type(time.from_sampling(partition)) is type(chosen)
    assert type(time.from_sampling(segment(df, tesseller=Squares(resolution=0.3)))) is time.Time


def test_segment_of_spatial_cells():
    partition = segment(table(), tesseller=Squares(resolution=0.3), time=SlidingWindow(20))
    none = time.Time()
    assert none.get_spatial_segmentation(partition, 3) is partition.tessellation.spatial_mesh
    with pytest.raises(SegmentationError, match="no time segment 4"):
        none.get_spatial_segmentation(partition, 4)


def test_in_an_analyzer(tmp_path):
    late = table(1).assign(t=lambda df: df["t"] + 5)

    def specified(*tables):
        a = RWAnalyzer(results=tmp_path)
        a.spt_data.from_dataframes(list(tables), alias=[f"f{i}" for i in range(len(tables))])
        a.spt_data.localization_precision = 0.01
        a.tesseller = Squares(resolution=0.3)
        a.time.from_sliding_window(30, start_time="sync")
        a.pipeline.append_stage(stages.tessellate("s"))
        return a

    a = specified(late)
    assert a.run(progress=False).done == 1
    assert a.time.start_time == "sync"
    # an earlier file moves the common start: what was made with the other one is not the same
    b = specified(late, table(0))
    with pytest.raises(LabelConflictError):
        b.plan()
    assert b.run(progress=False, overwrite=True).done == 2
    bounds = [f.analyses["s"].data.segments[0].tolist() for f in b.spt_data]
    assert bounds == [[0.76, 30.76]] * 2
    assert b.time.from_sampling("s") == b.time == SlidingWindow(30, start_time=0.76)
    b.time.from_segments([(0, 50), (60, 70)])
    assert b.sampler.sample(late).segments.tolist() == [[0, 50], [60, 70]]
