"""TRamWAy's plots, by its names and with its arguments."""

from __future__ import annotations

import inspect
import warnings
from importlib import import_module

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from plot_cases import bar_label, close_all, in_space, in_time, made_of, walk

from tramway_dask import RWAnalyzer, tessellers
from tramway_dask.analyzer.dataplots import RegionPlots, SourcePlots
from tramway_dask.analyzer.plots import MapperPlots, TessellerPlots
from tramway_dask.errors import SpecificationError, UnknownAttributeError
from tramway_dask.inference.models import D
from tramway_dask.spt_data.sources import Source

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_all()


@pytest.fixture(scope="module")
def a():
    made = RWAnalyzer()
    made.spt_data.from_dataframe(walk())
    made.roi.from_squares([[0.3, 0.5], [0.7, 0.5]], 0.3)
    made.time = 0.5
    made.mapper = D()
    made.tesseller = tessellers.Squares(resolution=0.2)
    return made


@pytest.fixture
def ax():
    return Figure((3, 3)).add_subplot()


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("module", "ours"),
    [("mapper", MapperPlots), ("tesseller", TessellerPlots), ("spt_data", SourcePlots), ("roi", RegionPlots)],
)
def test_arguments_are_those_of_tramway(module, ours):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = import_module(f"tramway.analyzer.{module}.mpl").Mpl
    for name in ("plot", "animate", "plot_cell_indices"):
        if name not in vars(theirs):
            continue
        expected = [p for p in inspect.signature(getattr(theirs, name)).parameters if p != "kwargs"]
        given = [p for p in inspect.signature(getattr(ours, name)).parameters if p != "options"]
        assert given[: len(expected)] == expected, f"{module}.mpl.{name}"


def test_maps(a, ax):
    maps = made_of(in_space())
    drawn = a.mapper.mpl.plot(
        maps,
        feature="diffusivity",
        axes=ax,
        unit="std",
        logscale="log10",
        colormap="plasma",
        clim=[0.1, 0.2],
        aspect="auto",
        xlim=(0.2, 0.8),
        interior_contour=dict(margin=0.02, linewidth=2),
        overlay_locations=dict(color="k", alpha=0.3, markersize=2),
        delaunay=True,
        title=False,
    )
    assert drawn is ax
    filled = [c for c in ax.collections if isinstance(c, PolyCollection) and c.get_array() is not None][0]
    assert isinstance(filled.norm, LogNorm)
    assert filled.get_clim() == (0.1, 0.2)
    assert filled.get_cmap().name == "plasma"
    assert ax.get_aspect() == "auto"
    assert ax.get_xlim() == (0.2, 0.8)
    assert ax.get_title() == ""
    [contour] = ax.lines
    assert contour.get_linewidth() == 2
    box = maps.parent.tessellation.polygon
    low = np.min([box(c).min(axis=0) for c in range(maps.parent.number_of_cells)], axis=0)
    assert contour.get_xdata().min() > low[0]
    [links] = [c for c in ax.collections if isinstance(c, LineCollection)]
    assert len(links.get_segments()) == len(maps.parent.tessellation.pairs)
    dots = ax.collections[[c.get_zorder() for c in ax.collections].index(2)]
    assert dots.get_alpha() == 0.3


def test_options_of_maps(a, tmp_path):
    maps = made_of(in_space())
    plots = RWAnalyzer().mapper.mpl  # as TRamWAy says, any analyzer will do
    assert bar_label(plots.plot(maps, "force", unit="kT")) == "kT"
    assert bar_label(plots.plot(maps, "force", unit={"force": "kT"}, clip=0.9)) == "kT"
    constant = plots.plot(maps, "force", inferencemap=True)
    [arrows] = [c for c in constant.collections if isinstance(c, Quiver)]
    np.testing.assert_allclose(np.hypot(arrows.U, arrows.V), np.hypot(arrows.U[0], arrows.V[0]))
    each = plots.plot(maps, ["diffusivity", "force"], figsize=(3, 3))
    assert [tuple(x.figure.get_size_inches()) for x in each] == [(3, 3), (3, 3)]
    plots.plot(maps, "diffusivity", output_file=tmp_path / "map", fig_format=".png", dpi=50, show=False)
    assert (tmp_path / "map.png").exists()
    figure = Figure()
    assert plots.plot(maps, "diffusivity", figure=figure).figure is figure
    with pytest.warns(DeprecationWarning, match="markercolor does nothing here"):
        plots.plot(maps, "force", markercolor="y")
    with pytest.raises(SpecificationError, match="no argument 'colourmap'; did you mean"):
        plots.plot(maps, "force", colourmap="jet")
    with pytest.raises(SpecificationError, match="expected 'log' or 'log10'"):
        plots.plot(maps, "force", transform=np.sqrt)
    with pytest.raises(SpecificationError, match="axes each"):
        plots.plot(maps, ["diffusivity", "force"], axes=figure.gca())


def test_movies_of_maps(a):
    maps = made_of(in_time())
    figure = Figure((4, 2), dpi=40)
    left, right = figure.subplots(1, 2)
    movie = a.mapper.mpl.animate(
        figure, maps, feature="diffusivity", unit="std", axes=left, overlay_locations=True, composable=True
    )
    movie = a.mapper.mpl.animate(
        movie, maps, "force", axes=right, interval="rt", blit=True, save_count=3, repeat=False
    )
    assert len(movie) == 3
    rt = a.mapper.mpl.animate(
        Figure(), maps, "force", maps.parent, interval="rt", logscale=True, aspect="auto"
    )
    assert rt.interval == pytest.approx(500.0)
    assert rt.figure.axes[0].get_aspect() == "auto"
    assert len(a.mapper.mpl.animate(maps, "force")) == 3
    with pytest.raises(SpecificationError, match="milliseconds or 'rt'"):
        a.mapper.mpl.animate(Figure(), maps, "force", interval="fast")


def test_cells(a, ax):
    partition = in_space()
    drawn = a.tesseller.mpl.plot(
        partition,
        axes=ax,
        voronoi_options=dict(color="gggg", linewidth=3, centroid_style=None),
        delaunay_options={},
        location_options=dict(color="r", alpha=0.5, size=4),
    )
    assert drawn is ax
    dots, outlines, links = ax.collections
    np.testing.assert_allclose(dots.get_facecolor()[0], to_rgba("r", 0.5))
    np.testing.assert_allclose(outlines.get_edgecolor()[0], to_rgba("g"))
    assert outlines.get_linewidth() == 3
    assert len(links.get_segments()) == len(partition.tessellation.pairs)
    plain = RWAnalyzer().tesseller.mpl.plot(partition, location_options=None, delaunay_options=False)
    assert len(plain.collections) == 1
    numbers = a.tesseller.mpl.plot_cell_indices(partition, font_size=7, shift_indices=True, color="b")
    assert [t.get_text() for t in numbers.texts] == [str(k + 1) for k in range(partition.number_of_cells)]
    assert {t.get_fontsize() for t in numbers.texts} == {7}
    with pytest.raises(SpecificationError, match="plot_cell_indices"):
        a.tesseller.mpl.plot_cell_indices(partition, colour="b")
    with pytest.warns(DeprecationWarning, match="location_count_hist does nothing here"):
        a.tesseller.mpl.plot(partition, location_count_hist=True)
    assert len(a.tesseller.mpl.animate(Figure(), in_time(), interval="rt")) == 3


def test_trajectories(a, ax):
    [source] = a.spt_data
    drawn = source.mpl.plot(axes=ax)
    assert list(drawn) == ["loc", "trj", "roi", "sup"]
    assert drawn["trj"] is drawn["sup"] is None
    assert len(drawn["loc"].get_xdata()) == len(source.dataframe)
    assert np.isnan(drawn["roi"].get_xdata()).sum() == 2
    assert ax.get_xlabel() == "x (µm)"
    drawn = source.mpl.plot(axes=ax, trj_linewidth=2, roi_color=None)
    assert drawn["loc"] is drawn["roi"] is None
    assert drawn["trj"].get_linewidth() == 2
    assert np.isnan(drawn["trj"].get_xdata()).sum() == 40 - 1
    both = a.spt_data.mpl.plot(source.dataframe, axes=ax, loc_color="k", trj_color="r", sup_color="b")
    assert all(both[kind] is not None for kind in both)
    assert a.spt_data.mpl.plot(source, ax=ax, title="all") is ax  # the arguments of tramway_dask.plot
    with pytest.raises(SpecificationError, match="loc_linewidth: localizations have no lines"):
        source.mpl.plot(axes=ax, loc_linewidth=2)
    with pytest.raises(SpecificationError, match="no argument 'colour': expected a prefix"):
        source.mpl.plot(axes=ax, colour="k")


def test_movies_of_trajectories(a):
    [source] = a.spt_data
    movie = source.mpl.animate(Figure((2, 2)))
    assert movie.interval == pytest.approx(50.0)
    assert len(movie) == 30
    slow = source.mpl.animate(Figure((2, 2)), interval="2x", lw=3)
    assert slow.interval == pytest.approx(100.0)
    assert source.mpl.animate(Figure((2, 2)), interval=lambda dt: 4 * dt).interval == pytest.approx(200.0)
    region = next(iter(a.roi.as_support_regions()))
    (low, high), inside = region.bounding_box, region.mpl.animate(Figure((2, 2)))
    assert inside.figure.axes[0].get_xlim() == pytest.approx((low[0], high[0]))
    box = next(iter(a.roi.as_individual_roi()))
    assert len(box.mpl.plot(axes=Figure().gca())["loc"].get_xdata()) >= len(box.crop())
    with pytest.raises(SpecificationError, match="'2x', got 'x2'"):
        source.mpl.animate(Figure(), interval="x2")
    with pytest.raises(SpecificationError, match="no argument 'linewith'"):
        source.mpl.animate(Figure(), linewith=2)


def test_what_has_no_plots(a):
    with pytest.raises(UnknownAttributeError, match=r"has no plots: maps over time are `a\.mapper\.mpl"):
        _ = a.time.mpl
    with pytest.raises(UnknownAttributeError, match="belongs to no analyzer"):
        _ = Source(table=walk()).mpl
    two = RWAnalyzer()
    two.spt_data.from_dataframes([walk(), walk(seed=1)], alias=["a", "b"])
    with pytest.raises(SpecificationError, match="2 sources"):
        two.spt_data.mpl.plot()
