"""Pictures: what is in them, and what bad input gets."""

from __future__ import annotations

import sys
import time

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import LogNorm, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from tramway_dask import RWAnalyzer, Store, plot, stages
from tramway_dask.errors import DataError, MissingDependencyError, SpecificationError, StoreError
from tramway_dask.inference.maps import Maps
from tramway_dask.inference.models import D
from tramway_dask.segmentation import Hexagons, SlidingWindow, Squares, Tessellation, segment
from tramway_dask.spt_data.tables import translocations

mpl.use("Agg")


def walk(count=40, steps=30, d=2, seed=0, size=1.0):
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, size, (count, 1, d))
    places = (start + np.cumsum(rng.normal(0, 0.03, (count, steps, d)), axis=1)) % size
    table = pd.DataFrame(places.reshape(-1, d), columns=list("xyz"[:d]))
    table.insert(0, "n", np.repeat(np.arange(count), steps))
    table["t"] = np.tile(np.arange(steps) * 0.05, count)
    return table


@pytest.fixture(scope="module")
def partition():
    return segment(translocations(walk()), tesseller=Squares(resolution=0.2))


@pytest.fixture
def maps(partition):
    cell = np.arange(partition.number_of_cells)
    table = pd.DataFrame(
        {
            "diffusivity": 0.05 + 0.01 * cell,
            "diffusivity se": 0.01,
            "potential": cell - 3.0,
            "potential se": 0.5,
            "force x": np.sin(cell),
            "force x se": 0.1,
            "force y": np.cos(cell),
            "force y se": 0.1,
            "at bound": False,
        }
    )
    made = Maps(table, "dv")
    made.parent = partition
    return made


def colored(ax):
    return [c for c in ax.collections if c.get_array() is not None and not isinstance(c, Quiver)][-1]


def bar_label(ax):
    return ax.child_axes[0].get_ylabel()


def pixels(path):
    from matplotlib.image import imread

    return imread(path).shape[:2]


def test_one_polygon_per_cell_and_unit(maps, partition):
    ax = plot.map(maps, "diffusivity")
    assert len(colored(ax).get_paths()) == partition.number_of_cells
    np.testing.assert_array_equal(colored(ax).get_array(), maps.table["diffusivity"])
    assert bar_label(ax) == r"diffusivity (µm$^{2}$ s$^{-1}$)"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (µm)", "y (µm)")
    assert ax.get_aspect() == 1
    outline = colored(ax).get_paths()[3].vertices
    for corner in partition.tessellation.polygon(3):
        assert (np.abs(outline - corner).sum(axis=1) < 1e-12).any()


@pytest.mark.parametrize(
    ("variable", "unit", "cmap"),
    [
        ("potential", r"potential ($k_\mathrm{B}T$)", "cividis"),
        ("force", r"force amplitude ($k_\mathrm{B}T$ µm$^{-1}$)", "viridis"),
        ("force x", r"force x ($k_\mathrm{B}T$ µm$^{-1}$)", "RdBu_r"),
        ("density", r"translocations (µm$^{-2}$)", "cividis"),
        ("n", "translocations per cell", "cividis"),
    ],
)
def test_units_and_colors(maps, variable, unit, cmap):
    ax = plot.map(maps, variable)
    assert bar_label(ax) == unit
    assert colored(ax).get_cmap().name == cmap


def test_signed_values_have_symmetric_limits(maps):
    low, high = colored(plot.map(maps, "force y")).get_clim()
    assert low == -high < 0
    assert isinstance(colored(plot.map(maps, "force y", log=True)).norm, SymLogNorm)
    # a potential that passes zero is not signed: its zero means nothing
    assert colored(plot.map(maps, "potential")).get_clim() == (-3.0, maps.table["potential"].max())


def test_vectors_have_arrows(maps):
    ax = plot.map(maps, feature="force")
    [arrows] = [c for c in ax.collections if isinstance(c, Quiver)]
    assert len(maps) == arrows.N
    angle = np.arctan2(arrows.V, arrows.U)
    np.testing.assert_allclose(angle, np.arctan2(maps.table["force y"], maps.table["force x"]))
    np.testing.assert_allclose(colored(ax).get_array(), 1.0)
    assert not [c for c in plot.map(maps, "force", arrows=False).collections if isinstance(c, Quiver)]


def test_cells_without_value_are_hatched(maps, partition):
    maps = Maps(maps.table.iloc[::2].copy(), "dv")
    maps.parent = partition
    ax = plot.map(maps, "diffusivity")
    blank, filled = ax.collections
    assert blank.get_hatch()
    assert len(filled.get_paths()) == len(maps)
    assert len(filled.get_paths()) + len(blank.get_paths()) == partition.number_of_cells


def test_log_scale_blanks_what_is_not_positive(maps):
    maps.table.loc[[2, 5], "diffusivity"] = [0.0, -0.1]
    ax = plot.map(maps, "diffusivity", log=True)
    assert isinstance(colored(ax).norm, LogNorm)
    assert len(colored(ax).get_paths()) == len(maps) - 2
    assert any("2 cells ≤ 0 left blank" in t.get_text() for t in ax.texts)


def test_limits(maps):
    assert colored(plot.map(maps, "diffusivity", clim=(0, 1))).get_clim() == (0, 1)
    assert colored(plot.map(maps, "diffusivity", clim=(None, 1))).get_clim() == (0.05, 1)
    maps.table.loc[3, "diffusivity"] = 100.0
    values = maps.table["diffusivity"]
    first, median, third = values.quantile([0.25, 0.5, 0.75])
    ax = plot.map(maps, "diffusivity", clip=2)
    assert colored(ax).get_clim()[1] == pytest.approx(median + 2 * (third - first))


def test_errors_title_label_and_given_axes(maps):
    ax = Figure().add_subplot()
    assert plot.map(maps, "diffusivity", errors=True, ax=ax, title="A", overlay_locations=True) is ax
    assert ax.get_title() == "A"
    assert bar_label(ax).startswith("standard error of diffusivity")
    assert (colored(ax).get_array() == 0.01).all()
    error = plot.map(maps, "force", errors=True)
    np.testing.assert_allclose(colored(error).get_array(), 0.1)
    assert bar_label(plot.map(maps, label="D")) == "D"
    assert not plot.map(maps, colorbar=False).child_axes


def test_bar_is_as_high_as_the_axes(maps):
    ax = plot.map(maps)
    ax.figure.draw_without_rendering()
    bar = ax.child_axes[0].get_window_extent()
    box = ax.get_window_extent()
    assert (bar.y0, bar.y1) == pytest.approx((box.y0, box.y1), abs=1.5)


def test_degenerate_maps(maps, partition):
    nothing = Maps(maps.table.iloc[:0].copy(), "dv")
    nothing.parent = partition
    ax = plot.map(nothing, "diffusivity")
    assert not ax.child_axes
    assert any("no cell has a value" in t.get_text() for t in ax.texts)
    maps.table["diffusivity"] = np.nan
    assert not plot.map(maps, "diffusivity", log=True).child_axes
    single = Tessellation.from_centers([[0.5, 0.5]], [[0, 0], [1, 1]])
    table = pd.DataFrame({"diffusivity": [0.1]})
    ax = plot.map(table, sampling=single)
    assert len(colored(ax).get_paths()) == 1
    low, high = colored(ax).get_clim()
    assert low < 0.1 < high


def test_three_dimensions(tmp_path):
    made = segment(translocations(walk(d=3)), tesseller=Squares(resolution=0.5))
    maps = D().infer(made, sigma=0.01)
    maps.parent = made
    ax = plot.map(maps)
    assert "projected" in ax.get_title()
    assert bar_label(plot.map(maps, "density")) == r"translocations (µm$^{-3}$)"
    plot.save(plot.cells(made), tmp_path / "cells.png")


def test_time_segments(tmp_path):
    made = segment(
        translocations(walk()), tesseller=Squares(resolution=0.25), time=SlidingWindow(duration=0.5)
    )
    count = len(made.segments)
    maps = Maps(pd.DataFrame({"diffusivity": np.arange(made.number_of_cells) + 1.0}), "d")
    maps.parent = made
    mesh = made.tessellation.spatial_mesh.number_of_cells
    ax = plot.map(maps, segment=1)
    assert "0.5–1 s" in ax.get_title()
    assert len(colored(ax).get_paths()) == mesh
    assert colored(ax).get_array()[0] == mesh + 1
    assert colored(ax).get_clim() == (1, made.number_of_cells)
    with pytest.raises(
        SpecificationError, match=f"no time segment 7: these maps have segments 0 to {count - 1}"
    ):
        plot.map(maps, segment=7)
    movie = plot.animate(maps, "diffusivity")
    movie.save(tmp_path / "maps.gif", writer="pillow", dpi=40)
    assert (tmp_path / "maps.gif").stat().st_size > 1000


def test_unknown_and_wrong(maps, partition):
    with pytest.raises(SpecificationError, match="did you mean 'diffusivity'.*force x"):
        plot.map(maps, "difusivity")
    with pytest.raises(SpecificationError, match="lower < upper"):
        plot.map(maps, clim=(2, 1))
    with pytest.raises(SpecificationError, match="expected .lower, upper."):
        plot.map(maps, clim=3)
    with pytest.raises(SpecificationError, match="positive limits"):
        plot.map(maps, clim=(0, 1), log=True)
    with pytest.raises(SpecificationError, match="mean the same"):
        plot.map(maps, "force", feature="potential")
    with pytest.raises(SpecificationError, match="no region 'b'"):
        plot.map(maps, roi="b")
    with pytest.raises(SpecificationError, match="no standard error"):
        plot.map(maps.table[["diffusivity"]], sampling=partition, errors=True)
    with pytest.raises(SpecificationError, match="do not know their cells"):
        plot.map(Maps(maps.table, "d"))
    with pytest.raises(SpecificationError, match="do not belong together"):
        plot.map(maps, sampling=Tessellation.from_centers([[0.5, 0.5]], [[0, 0], [1, 1]]))
    with pytest.raises(SpecificationError, match="got dict"):
        plot.map({})
    with pytest.raises(SpecificationError, match="got int"):
        plot.cells(3)
    with pytest.raises(DataError, match="'t' is missing"):
        plot.trajectories(pd.DataFrame({"n": [], "x": [], "y": []}))
    with pytest.raises(DataError, match="empty"):
        plot.overview(walk().iloc[:0])


def test_cells(partition):
    ax = plot.cells(partition, indices=True, adjacency=True)
    [outlines] = [c for c in ax.collections if isinstance(c, PolyCollection)]
    [links] = [c for c in ax.collections if isinstance(c, LineCollection)]
    assert len(outlines.get_paths()) == partition.number_of_cells == len(ax.texts)
    assert len(links.get_segments()) == len(partition.tessellation.pairs)
    assert ax.collections[0].get_offsets().shape == (len(partition.points), 2)
    counted = plot.cells(partition, counts=True, locations=False)
    np.testing.assert_array_equal(colored(counted).get_array(), partition.location_count)


def test_trajectories_and_overview():
    table = walk()
    by_name = plot.trajectories(table)
    assert len(by_name.collections[0].get_segments()) == 40
    few = plot.trajectories(table, max_trajectories=10)
    assert len(few.collections[0].get_segments()) == 10
    assert few.texts[0].get_text() == "10 of 40 trajectories"
    steps = plot.trajectories(translocations(table), color="t")
    assert len(steps.collections[0].get_segments()) == 40 * 29
    assert bar_label(steps) == "t (s)"
    seen = plot.overview(table, [((0.1, 0.1), (0.4, 0.4))])
    assert len(seen.collections[-1].get_paths()) == 1
    with pytest.raises(SpecificationError, match="expected boxes"):
        plot.overview(table, [1, 2])


def test_compare(maps):
    truth = maps.table[["diffusivity", "potential"]] + [0.02, 7.0]
    figure = plot.compare(maps, truth)
    assert len([ax for ax in figure.axes if ax.get_xlabel() or ax.get_title()]) == 6
    estimate, true, z = figure.axes[:3]
    assert colored(estimate).get_clim() == colored(true).get_clim()
    np.testing.assert_allclose(colored(z).get_array(), -2.0)
    # the constant of a potential does not count
    np.testing.assert_allclose(colored(figure.axes[5]).get_array(), 0.0, atol=1e-12)
    with pytest.raises(SpecificationError, match="truth of no variable"):
        plot.compare(maps)
    with pytest.raises(SpecificationError, match="no row for cell"):
        plot.compare(maps, truth.iloc[:3])


def test_save(tmp_path, maps):
    ax = plot.map(maps)
    for kind, magic in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        path = plot.save(ax, tmp_path / f"map.{kind}", dpi=100)
        assert path.read_bytes().startswith(magic)
    width, height = ax.figure.get_size_inches()
    # the page is cut to what is drawn, and grows where labels need it
    assert np.allclose(pixels(tmp_path / "map.png"), (height * 100, width * 100), rtol=0.1)
    with pytest.raises(SpecificationError, match="no known picture format; known: .*png"):
        plot.save(ax, tmp_path / "map.docx")
    with pytest.raises(SpecificationError, match="expected a figure"):
        plot.save(3, tmp_path / "map.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        plot.save(ax, tmp_path / "file" / "map.png")


def test_figures_are_not_kept_without_pyplot(maps, monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    plot.map(maps)
    assert "matplotlib.pyplot" not in sys.modules


def test_pyplot_shows_figures_where_it_is_in_use(maps):
    import matplotlib.pyplot as plt

    ax = plot.map(maps)
    try:
        assert plt.gcf() is ax.figure
    finally:
        plt.close("all")


def test_without_matplotlib(maps, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match="pip install matplotlib"):
        plot.map(maps)


def test_many_cells_are_fast(tmp_path):
    side = np.arange(142) / 142
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    mesh = Tessellation.from_centers(
        grid + 0.003 * np.sin(np.arange(grid.size)).reshape(-1, 2), [[-1, -1], [2, 2]]
    )
    table = pd.DataFrame({"diffusivity": 0.1 + grid[:, 0], "force x": grid[:, 0], "force y": grid[:, 1]})
    started = time.perf_counter()
    plot.save(plot.map(table, "diffusivity", mesh), tmp_path / "many.png")
    assert time.perf_counter() - started < 4.0  # about 1 s alone
    assert plot.map(table, "force", mesh).collections[-1].N <= 1500


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    a = RWAnalyzer(results=root / "results")
    tables = [walk(seed=k) for k in range(2)]
    for k, table in enumerate(tables):
        table.to_csv(root / f"c{k}.trxyt", sep="\t", header=False, index=False)
    a.spt_data.from_ascii_files(str(root / "*.trxyt"))
    a.spt_data.localization_precision = 0.001
    a.roi.from_squares([[0.25, 0.5], [0.75, 0.5]], 0.4)
    a.tesseller = Hexagons(resolution=0.1)
    a.mapper = D()
    a.pipeline.append_stage(stages.tessellate_and_infer(map_label="d"))
    assert a.run(progress=False).ok
    return a


def test_results(folder, tmp_path):
    paths = plot.results(folder.results, "d", out_dir=tmp_path)
    assert [p.name for p in paths] == ["c0-d.png", "c1-d.png"]
    assert min(pixels(paths[0])) > 300
    assert [p.name for p in plot.results(folder.results.folder, "d", sources=["c1"], out_dir=tmp_path)] == [
        "c1-d.png"
    ]
    with pytest.raises(SpecificationError, match="of source 'c9'"):
        plot.results(folder.results, "d", sources=["c9"], out_dir=tmp_path)
    with pytest.raises(SpecificationError, match="no variable 'potential'"):
        plot.results(folder.results, "d", variables=["potential"], out_dir=tmp_path)
    with pytest.raises(StoreError, match="no maps labelled 'dv'"):
        plot.results(Store(folder.results.folder), "dv", out_dir=tmp_path)


def test_table_of_a_source(folder, tmp_path):
    table = folder.maps("d")
    sampling = folder.results.samplings_of("d")[0]
    cells = folder.results.table(sampling, "cells")
    one = table[table["source"] == "c0"]
    for given in (cells, cells.to_pandas()):
        ax = plot.map(one, "diffusivity", cells=given)
        assert len(colored(ax).get_paths()) == one["diffusivity"].notna().sum()
    half = plot.map(one, "diffusivity", cells=cells, roi="roi001")
    assert half.get_title() == "roi001"
    assert colored(plot.map(one, "diffusivity")).get_offsets().shape == (len(one), 2)
    truth = one.assign(**{"diffusivity truth": one["diffusivity"] + one["diffusivity se"]})
    figure = plot.against_truth(folder.results, "d", "c0", truth, ["diffusivity"])
    np.testing.assert_allclose(colored(figure.axes[2]).get_array(), -1.0)
    with pytest.raises(SpecificationError, match="maps of 2 sources"):
        plot.map(table, "diffusivity", cells=cells)


def test_names_of_tramway(folder):
    f = next(iter(folder.spt_data))
    sampling = f.roi.get_support_region(0).get_sampling()
    maps = sampling.get_child()
    ax = Figure().add_subplot()
    assert folder.mapper.mpl.plot(maps, feature="diffusivity", unit="std", axes=ax, logscale="log") is ax
    assert folder.mapper.mpl.plot(maps, "diffusivity", sampling, aspect="equal") is not None
    assert (
        folder.tesseller.mpl.plot(sampling, voronoi_options={}, delaunay_options={}, location_options={})
        is not None
    )
    assert folder.tesseller.mpl.plot_cell_indices(sampling).texts
    assert folder.spt_data.mpl.plot(f.dataframe) is not None
    movie = folder.mapper.mpl.animate(Figure(), maps, feature="diffusivity", sampling=sampling)
    assert movie.to_jshtml()
    assert (
        len(folder.spt_data.mpl.animate(Figure(), f.dataframe, xlim=(0, 1), ylim=(0, 1), interval=50)) == 30
    )
