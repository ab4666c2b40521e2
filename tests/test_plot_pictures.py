"""Pictures of errors, regions, time, Bayes factors and fields of view: what is in them."""

from __future__ import annotations

import subprocess
import sys
import time

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from plot_cases import bar_label, close_all, colored, in_space, in_time, made_of, note, results_table, walk

from tramway_dask import RWAnalyzer, plot, stages
from tramway_dask.errors import DataError, SpecificationError, StoreError
from tramway_dask.inference.bayes_factor import BayesFactor
from tramway_dask.inference.maps import Maps
from tramway_dask.inference.models import D
from tramway_dask.plot.courses import weighted_quantile
from tramway_dask.segmentation import Squares

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_all()


@pytest.fixture(scope="module")
def partition():
    return in_space()


@pytest.fixture(scope="module")
def timed():
    return in_time()


def hatched(ax):
    """Return how many cells have hatching over their colours."""
    found = [c for c in ax.collections if c.get_hatch() == "\\\\\\\\\\"]
    return sum(len(c.get_paths()) for c in found)


def test_uncertain_cells_are_hatched(partition):
    error = np.where(np.arange(partition.number_of_cells) < 4, 10.0, 0.001)
    error[5] = np.nan
    ax = plot.map(made_of(partition, **{"diffusivity se": error}), "diffusivity", errors="hatch")
    assert hatched(ax) == 5
    assert f"above 50% of the value (5 of {partition.number_of_cells} cells)" in note(ax)
    # a potential has no zero: its errors are compared with its range
    flat = made_of(partition, potential=np.arange(partition.number_of_cells) * 1e-3 + 100.0)
    assert hatched(plot.map(flat, "potential", errors="hatch")) == partition.number_of_cells
    assert hatched(plot.map(flat, "force", errors="hatch")) == 0
    assert hatched(plot.map(flat, "force", errors="hatch", uncertain=0.05)) == partition.number_of_cells


def test_values_and_errors_side_by_side(partition):
    maps = made_of(partition)
    value, error = plot.map(maps, "force", errors="panel")
    np.testing.assert_allclose(colored(value).get_array(), 1.0)
    np.testing.assert_allclose(colored(error).get_array(), 0.1)
    assert bar_label(error).startswith("standard error of force amplitude")
    assert [type(c) for c in value.collections].count(Quiver) == 1
    pair = Figure().subplots(1, 2)
    assert list(plot.map(maps, errors="panel", ax=pair)) == list(pair)
    with pytest.raises(SpecificationError, match="pair of axes"):
        plot.map(maps, errors="panel", ax=pair[0])
    with pytest.raises(SpecificationError, match="did you mean 'hatch'"):
        plot.map(maps, errors="hatsch")
    with pytest.raises(SpecificationError, match="uncertain"):
        plot.map(maps, errors="hatch", uncertain=0)


def test_few_translocations_do_not_stretch_the_colors(partition):
    counts = partition.location_count
    poor = int(np.argmin(counts))
    assert counts[poor] < 0.005 * counts.sum()
    values = 0.05 + 0.01 * np.arange(len(counts))
    values[poor] = 1000.0
    maps = made_of(partition, diffusivity=values)
    drawn = colored(plot.map(maps, "diffusivity"))
    assert drawn.get_clim()[1] == np.sort(values)[-2]
    assert plot.map(maps, "diffusivity").child_axes[0]._colorbar.extend == "max"
    # a cell with many translocations is shown as it is
    values = np.where(np.arange(len(counts)) == np.argmax(counts), 1000.0, 0.05)
    assert colored(plot.map(made_of(partition, diffusivity=values))).get_clim()[1] == 1000.0


def test_constant_arrows_and_adjacency(partition):
    maps = made_of(partition, **{"force x": np.arange(partition.number_of_cells) + 1.0, "force y": 0.0})
    ax = plot.map(maps, "force", arrows="constant", adjacency=True)
    [arrows] = [c for c in ax.collections if isinstance(c, Quiver)]
    assert np.ptp(arrows.U) < 1e-12 < arrows.U[0]
    [links] = [c for c in ax.collections if isinstance(c, LineCollection)]
    assert len(links.get_segments()) == len(partition.tessellation.pairs)
    lengths = [c for c in plot.map(maps, "force").collections if isinstance(c, Quiver)][0].U
    assert lengths[0] < lengths[5] <= lengths.max() * (1 + 1e-12)


def test_symmetric_logarithm_has_few_ticks(partition):
    values = np.geomspace(1e-3, 1e3, partition.number_of_cells)
    ax = plot.map(
        made_of(partition, **{"force x": values * np.sign(np.sin(values * 99))}), "force x", log=True
    )
    ticks = ax.child_axes[0].get_yticks()
    assert 0 in ticks
    np.testing.assert_allclose(np.sort(-ticks), ticks)
    assert len(ticks) <= 7


def test_other_cells_are_refused(partition):
    with pytest.raises(SpecificationError, match="do not belong together"):
        plot.map(made_of(partition), sampling=in_space(resolution=0.25))
    plot.map(made_of(partition), sampling=in_space())  # the same cells, made again


def test_panels_have_common_limits(partition):
    first = made_of(partition)
    second = made_of(partition, diffusivity=5.0 + np.arange(partition.number_of_cells))
    axes = plot.panels({"one": first, "two": second}, "diffusivity", title="Both")
    assert [ax.get_title() for ax in axes] == ["one", "two"]
    limits = {colored(ax).get_clim() for ax in axes}
    assert limits == {(0.05, 4.0 + len(first) - 0.0 + 0.0)} or limits == {(0.05, 5.0 + len(first) - 1)}
    assert limits == {plot.common_limits([first, second], "diffusivity")}
    bar = axes[0].figure.axes[-1]
    assert bar.get_ylabel() == r"diffusivity (µm$^{2}$ s$^{-1}$)"
    for ax in axes:
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (µm)", "y (µm)")
    with pytest.raises(SpecificationError, match="go with a single map"):
        plot.panels([first], sampling=partition)
    with pytest.raises(SpecificationError, match="no cell"):
        plot.panels({})


def test_panels_of_regions_and_segments(partition, timed):
    table, cells = results_table(made_of(partition), ["a", "b", "c"])
    axes = plot.panels(table, "force", cells=cells)
    assert [ax.get_title() for ax in axes] == ["a", "b", "c"]
    assert [len(colored(ax).get_paths()) for ax in axes] == [partition.number_of_cells] * 3
    few = plot.panels(table, "diffusivity", cells=cells, max_panels=2)
    assert [ax.get_title() for ax in few] == ["a", "c"]
    assert few[0].figure._supxlabel.get_text() == "2 of 3 panels"
    assert len(plot.panels(table, "diffusivity", cells=cells, roi="b")) == 1
    by_time = plot.panels(made_of(timed), "diffusivity", columns=2)
    assert [ax.get_title() for ax in by_time] == ["0–0.5 s", "0.5–1 s", "1–1.5 s"]
    with pytest.raises(SpecificationError, match="by: unknown value 'time'"):
        plot.panels(table, cells=cells, by="time")


def test_time_course_of_cells(timed):
    maps = made_of(timed)
    size = timed.tessellation.spatial_mesh.number_of_cells
    ax = plot.time_course(maps, "diffusivity", at=[3, 5], confidence=0.95)
    first, second = ax.lines
    np.testing.assert_allclose(first.get_xdata(), [0.25, 0.75, 1.25])
    np.testing.assert_allclose(first.get_ydata(), 0.05 + 0.01 * (3 + size * np.arange(3)))
    np.testing.assert_allclose(second.get_ydata() - first.get_ydata(), 0.02)
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    middle = 0.05 + 0.01 * 3
    assert np.isclose(band, middle + 1.959964 * 0.01, atol=1e-6).any()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("t (s)", r"diffusivity (µm$^{2}$ s$^{-1}$)")
    x, y = timed.centers[3]
    near = plot.time_course(maps, "diffusivity", at=[(x + 0.01, y)])
    np.testing.assert_allclose(near.lines[0].get_ydata(), first.get_ydata())
    assert "zero of a potential" in note(plot.time_course(maps, "potential", at=3))
    for wrong, told in (
        ([99], "no cell 99"),
        ([(9.0, 9.0)], "outside"),
        (["a"], "expected numbers"),
        ([], "1 to 7"),
    ):
        with pytest.raises(SpecificationError, match=told):
            plot.time_course(maps, "diffusivity", at=wrong)


def test_time_course_of_cells_with_intervals_and_gaps(timed):
    size = timed.tessellation.spatial_mesh.number_of_cells
    maps = made_of(timed, **{"diffusivity low": 0.01, "diffusivity high": 0.9})
    maps.table.loc[size + 3, "diffusivity"] = np.nan
    ax = plot.time_course(maps, "diffusivity", at=[3], log=True)
    assert np.isnan(ax.lines[0].get_ydata()[1])
    assert set(ax.collections[0].get_paths()[0].vertices[:, 1]) == {0.01, 0.9}
    assert ax.get_yscale() == "log"
    assert "confidence interval of the maps" in note(ax)


def test_time_course_of_regions(timed):
    maps = made_of(timed)
    size = timed.tessellation.spatial_mesh.number_of_cells
    counts = timed.location_count
    ax = plot.time_course(maps, "diffusivity")
    values = maps.table["diffusivity"].to_numpy()
    expected = [
        np.average(values[k * size : (k + 1) * size], weights=counts[k * size : (k + 1) * size])
        for k in range(3)
    ]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected)
    regions = [f"r{k}" for k in range(9)]
    table, cells = results_table(maps, regions, segments=True)
    many = plot.time_course(table, "diffusivity", cells=cells)
    assert len(many.lines) == 9 + 1
    assert many.lines[-1].get_label() == "median of 9 regions"
    few = plot.time_course(table, "diffusivity", cells=cells, roi=["r1", "r2"])
    assert [line.get_label() for line in few.lines] == ["r1", "r2"]
    one = plot.time_course(table, "diffusivity", cells=cells, roi="r1", at=4)
    np.testing.assert_allclose(one.lines[0].get_ydata(), values[4::size])
    with pytest.raises(SpecificationError, match="9 regions; choose one"):
        plot.time_course(table, "diffusivity", cells=cells, at=4)
    with pytest.raises(SpecificationError, match="no time segments"):
        plot.time_course(made_of(in_space()), "diffusivity")


def test_weighted_quantile_is_that_of_repeated_values():
    rng = np.random.default_rng(3)
    values, weights = rng.normal(size=60), rng.integers(0, 5, 60)
    group = rng.integers(0, 3, 60)
    values[7] = np.nan
    found = weighted_quantile(values, weights.astype(float), group, 4, 0.25)
    for k in range(3):
        here = (group == k) & np.isfinite(values)
        repeated = np.repeat(values[here], weights[here])
        assert found[k] == np.quantile(repeated, 0.25, method="inverted_cdf")
    assert np.isnan(found[3])


def test_bayes_factors(partition):
    factors = BayesFactor().infer(partition, sigma=0.01)
    factors.parent = partition
    left, right = plot.bayes_factor(factors)
    low, high = colored(left).get_clim()
    assert low == -high
    assert bar_label(left) == r"$\log_{10}$ Bayes factor of a force"
    decided = factors.table["force"].dropna()
    np.testing.assert_array_equal(colored(right).get_array(), decided)
    assert [t.get_text() for t in right.child_axes[0].get_yticklabels()] == ["no force", "undecided", "force"]
    counts = [int((decided == v).sum()) for v in (1, -1, 0)]
    assert note(right) == f"force in {counts[0]} cells, none in {counts[1]}, undecided in {counts[2]}"
    colors = colored(right).to_rgba(np.array([-1.0, 0.0, 1.0]))
    assert len({tuple(c) for c in colors}) == 3
    ax = plot.map(factors, "force")
    assert [t.get_text() for t in ax.child_axes[0].get_yticklabels()][0] == "no force"
    assert plot.bayes_factor(factors, groups=True, ax=Figure().subplots(1, 2)).shape == (2,)
    with pytest.raises(SpecificationError, match=r"models\.BayesFactor"):
        plot.bayes_factor(made_of(partition))


def test_localizations_and_density():
    table = walk()
    ax = plot.localizations(table, color="t")
    assert colored(ax).get_offsets().shape == (len(table), 2)
    np.testing.assert_array_equal(colored(ax).get_array(), table["t"])
    assert bar_label(ax) == "t (s)"
    few = plot.localizations(table, max_points=100)
    assert len(few.collections[0].get_offsets()) == 100
    assert note(few) == f"100 of {len(table)} localizations"
    drawn = plot.density(table, bin=0.1)
    [image] = drawn.images
    assert image.get_array().sum() * 0.1**2 == pytest.approx(len(table))
    assert bar_label(drawn) == r"localizations (µm$^{-2}$)"
    assert "pixels of 100 nm" in note(drawn)
    x, y = table.loc[17, ["x", "y"]]
    left, right, low, high = image.get_extent()
    column, row = int((x - left) / 0.1), int((y - low) / 0.1)
    inside = table[
        table["x"].between(left + column * 0.1, left + column * 0.1 + 0.1)
        & table["y"].between(low + row * 0.1, low + row * 0.1 + 0.1)
    ]
    assert image.get_array()[row, column] * 0.1**2 == pytest.approx(len(inside))
    assert isinstance(plot.density(table, log=True).images[0].norm, LogNorm)


def test_tables_that_cannot_be_drawn():
    table = walk(count=3)
    with pytest.raises(SpecificationError, match="neither a colour nor a column"):
        plot.localizations(table, color="tt")
    with pytest.raises(SpecificationError, match="make them larger"):
        plot.density(table, bin=1e-6)
    for wrong in (0, -1.0, "a", np.nan):
        with pytest.raises(SpecificationError, match="length above 0"):
            plot.density(table, bin=wrong)
    broken = table.assign(x=np.where(np.arange(len(table)) == 4, np.nan, table["x"]))
    with pytest.raises(DataError, match="1 rows .* first is row 4"):
        plot.localizations(broken)
    with pytest.raises(SpecificationError, match="expected 'n', 't' or a colour"):
        plot.trajectories(table, color="nn")
    single = plot.density(table.iloc[:1])
    assert single.images[0].get_array().shape == (1, 1)
    plot.localizations(table.iloc[:1], color="t")


def test_overview_with_thumbnails(partition):
    table, cells = results_table(made_of(partition), [f"r{k}" for k in range(5)])
    ax = plot.overview(walk(), maps=table, cells=cells, variable="diffusivity")
    thumbnails = ax.figure.axes[1:6]
    assert [small.get_title() for small in thumbnails] == [f"r{k}" for k in range(5)]
    assert len({colored(small).get_clim() for small in thumbnails}) == 1
    assert all("nm" in note(small) or "µm" in note(small) for small in thumbnails)
    [boxes] = [c for c in ax.collections if isinstance(c, PolyCollection)]
    assert len(boxes.get_paths()) == 5
    few = plot.overview(walk(), maps=table, cells=cells, max_thumbnails=2)
    assert "thumbnails of 2 of 5 regions" in note(few)
    with pytest.raises(SpecificationError, match="figure of their own"):
        plot.overview(walk(), maps=table, cells=cells, ax=ax)


def test_overview_of_thousands_of_regions(tmp_path):
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 50, (5000, 2))
    places = pd.DataFrame(rng.uniform(0, 50, (400_000, 2)), columns=["x", "y"]).assign(n=0, t=0.0)
    started = time.process_time()
    ax = plot.overview(places, np.stack([low, low + 0.3], axis=1))
    plot.save(ax, tmp_path / "field.png", dpi=80)
    assert time.process_time() - started < 6.0  # about 1 s
    assert ax.images  # so many dots are shown by their density
    assert "5000 regions" in note(ax)
    assert len(ax.texts) == 1


def test_maps_of_a_results_folder(tmp_path):
    a = RWAnalyzer(results=tmp_path / "results")
    a.spt_data.from_dataframes([walk(seed=1), walk(seed=2)], alias=["c0", "c1"])
    a.spt_data.localization_precision = 0.001
    a.tesseller = Squares(resolution=0.25)
    a.mapper = D()
    a.pipeline.append_stage(stages.tessellate_and_infer(map_label="d"))
    assert a.run(progress=False).ok
    stored = plot.load(a.results, "d", "c0")
    assert (stored.label, stored.source) == ("d", "c0")
    ax = plot.map(stored, "diffusivity")
    assert len(colored(ax).get_paths()) == stored.table["diffusivity"].notna().sum()
    assert repr(stored).startswith("Stored(label='d', source='c0'")
    with pytest.raises(SpecificationError, match=r"2 sources \('c0', 'c1'\): choose one"):
        plot.map(tmp_path / "results", "diffusivity")
    with pytest.raises(SpecificationError, match="no source 'c9'"):
        plot.load(a.results, "d", "c9")
    with pytest.raises(StoreError, match="no maps labelled 'dv'"):
        plot.load(a.results, "dv")
    with pytest.raises(SpecificationError, match="holds no maps"):
        plot.load(tmp_path / "nothing")


WITHOUT = """\
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
import numpy as np
import tramway_dask as td
from tramway_dask import RWAnalyzer, models, plot, simulate, stages, tessellers
from tramway_dask.errors import MissingDependencyError

a = RWAnalyzer(results=sys.argv[1])
walks = simulate.random_walk(box=[[0, 0], [1, 1]], trajectory_count=20, duration=1.0)
a.spt_data.from_dataframe(walks)
a.tesseller = tessellers.Squares(resolution=0.5)
a.mapper = models.D()
a.pipeline.append_stage(stages.tessellate_and_infer(map_label="d"))
assert a.run(progress=False).ok
maps = plot.load(a.results)
for draw in (
    lambda: plot.map(maps), lambda: plot.panels(maps), lambda: plot.time_course(maps),
    lambda: plot.trajectories(walks), lambda: plot.localizations(walks), lambda: plot.density(walks),
    lambda: plot.overview(walks), lambda: plot.animate(maps), lambda: plot.animate_trajectories(walks),
    lambda: plot.bayes_factor(maps), lambda: plot.cells(maps.cells), lambda: plot.common_limits(maps),
    lambda: a.mapper.mpl.plot(maps, "diffusivity"), lambda: a.spt_data.mpl.plot(),
    lambda: a.spt_data.mpl.animate(None), lambda: a.tesseller.mpl.plot(maps.cells),
):
    try:
        draw()
    except MissingDependencyError as error:
        assert "pip install 'tramway_dask[plot]'" in str(error), error
    else:
        raise AssertionError("drawn without matplotlib")
assert "matplotlib" not in sys.modules
print("fine")
"""


def test_an_analysis_needs_no_matplotlib(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT, str(tmp_path / "results")],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stdout.strip().endswith("fine"), done.stderr


def test_a_backend_without_display_is_no_hindrance(tmp_path):
    script = (
        "import os, sys; os.environ.pop('DISPLAY', None); os.environ['MPLBACKEND'] = 'tkagg'\n"
        "import matplotlib; matplotlib.rcParams['backend_fallback'] = False\n"
        "import matplotlib.pyplot, pandas as pd\n"
        "from tramway_dask import plot\n"
        "t = pd.DataFrame({'n': 0, 'x': [0., 1.], 'y': [0., 1.], 't': [0., 1.]})\n"
        "plot.save(plot.trajectories(t), sys.argv[1])\n"
        "print(matplotlib.rcParams['backend'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "t.png")],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (tmp_path / "t.png").exists(), done.stderr
    assert done.stdout.strip().lower() == "tkagg"  # the user's choice stays


def test_maps_without_values(partition, timed):
    nothing = Maps(made_of(partition).table.iloc[:0].copy(), "dv")
    nothing.parent = partition
    for draw in (plot.map, plot.panels):
        assert draw(nothing, "diffusivity") is not None
    void = made_of(timed, **{"diffusivity": np.nan, "diffusivity se": np.nan})
    assert "no cell has a value" in note(plot.map(void, "diffusivity", errors="hatch"))
    plot.map(void, "diffusivity", errors="panel")
    plot.time_course(void, "diffusivity")
    plot.panels(void, "diffusivity", log=True)
    constant = made_of(partition, diffusivity=0.1)
    for log in (False, True):
        low, high = colored(plot.map(constant, "diffusivity", log=log)).get_clim()
        assert low < 0.1 < high


def test_three_dimensions():
    maps = made_of(in_space(resolution=0.5, d=3))
    assert len(plot.panels({"3-D": maps}, "diffusivity")) == 1
    assert "projected" in plot.map(maps, "diffusivity", errors="hatch").get_title()
    plot.density(walk(d=3))
    plot.localizations(walk(d=3), color="z")


def test_real_trajectories(shared_data, tmp_path):
    import tramway_dask as td

    table = td.read(shared_data / "gemspa" / "Traj_DMSO_Soma_2h_001.csv", pixel_size=0.11, dt=0.01)
    for draw in (plot.localizations, plot.density, plot.trajectories, plot.overview):
        ax = draw(table)
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (µm)", "y (µm)")
        assert plot.save(ax, tmp_path / f"{draw.__name__}.png", dpi=50).stat().st_size > 2000


def test_curves_of_priors_in_given_axes():
    curve = {"weight": [0.1, 1.0, 10.0], "log_evidence": [-9.0, 0.0, -4.0]}
    about = {"weights": {"diffusivity_prior": 1.0}, "evidence": {"diffusivity_prior": curve}}
    ax = Figure().add_subplot()
    assert plot.prior_selection(about, ax=ax) is ax.figure
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), curve["log_evidence"])
    assert ax.get_ylabel() == "relative to the best (nats)"
    with pytest.raises(SpecificationError, match="1 weights need as many axes, got 2"):
        plot.prior_selection(about, ax=Figure().subplots(1, 2))
