"""The main job on other people's files, through the command line.

Expected numbers are those of the description of the data, or are computed here from the files with pandas
alone.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from tramway_dask.analyzer.configuration import read_configuration
from tramway_dask.cli import main

GEMSPA = {  # localizations, trajectories, condition
    "Traj_DMSO_AxonLeft_2h_012": (18129, 1267, "axon"),
    "Traj_DMSO_AxonLeft_2h_013": (23771, 1918, "axon"),
    "Traj_DMSO_Soma_2h_001": (38530, 4357, "soma"),
    "Traj_DMSO_Soma_2h_003": (32121, 3543, "soma"),
}
SASPT = {0: (3907, 2387), 1: (5878, 3294), 4: (4173, 1997), 5: (9506, 5786), 6: (7680, 4111), 9: (6336, 3073)}

STAGE = """
[[stages]]
stage = "tessellate_and_infer"
map_label = "d"
discard_static = false
"""


def call(*arguments: Any) -> str:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def run(folder: Path, text: str, *options: Any) -> tuple[Any, pd.DataFrame]:
    """Run a configuration; return its analyzer and what ``maps --csv`` says."""
    config = folder / "config.toml"
    config.write_text(f'results = "results"\n{text}')
    told = call("run", config, "--quiet", *options)
    assert " 0 failed" in told
    table = pd.read_csv(io.StringIO(call("maps", folder / "results", "--csv")))
    assert np.isfinite(table["diffusivity"]).all()
    assert np.isfinite(table.loc[~table["at bound"], "diffusivity se"]).all()
    return read_configuration(config), table


def pictures(folder: Path, count: int, *options: Any) -> list[np.ndarray]:
    """Draw, and return the pixels (height, width, colour) of each picture."""
    from matplotlib.image import imread

    paths = call("plot", folder / "results", *options).split()
    assert len(paths) == count
    made = [imread(p)[..., :3] for p in paths]
    for pixels in made:
        assert min(pixels.shape[:2]) > 300
        assert max(pixels.shape[:2]) < 2000
        coloured = np.ptp(pixels, axis=2) > 0.1
        assert coloured.mean() > 0.01
        assert len(np.unique((pixels[coloured] * 15).astype(int), axis=0)) > 20
        # nothing is cut off: the margins are blank
        edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
        assert all((edge > 0.99).all() for edge in edges)
    return made


def squares(path: Path, n: str, frame: str, pixel_size: float) -> pd.DataFrame:
    """Return squared displacements (µm²) and differences of frame numbers, with pandas alone."""
    table = pd.read_csv(path).sort_values([n, frame])
    steps = table.groupby(n)[["x", "y", frame]].diff().dropna()
    return pd.DataFrame({"r2": (steps[["x", "y"]] ** 2).sum(axis=1) * pixel_size**2, "frames": steps[frame]})


def weighted(table: pd.DataFrame, values: Any = "diffusivity") -> float:
    values = table[values] if isinstance(values, str) else values
    return float(np.average(values, weights=table["n"]))


def test_two_conditions(shared_data: Path, tmp_path: Path) -> None:
    dt, sigma, pixel_size = 0.01, 0.03, 0.11
    a, table = run(
        tmp_path,
        f"""
[spt_data]
localization_precision = {sigma}
[spt_data.from_ascii_files]
pattern = "{shared_data}/gemspa/*.csv"
pixel_size = {pixel_size}
dt = {dt}
[spt_data.conditions]
axon = "*Axon*"
soma = "*Soma*"
[tesseller]
type = "Hexagons"
resolution = 0.5
[mapper]
type = "D"
[env]
type = "LocalHost"
worker_count = 2
{STAGE}""",
    )
    assert a.spt_data.aliases == sorted(GEMSPA)
    assert set(table["source"]) == set(GEMSPA)
    for source in a.spt_data:
        locations, trajectories, condition = GEMSPA[source.name]
        data = source.dataframe
        assert list(data.columns) == ["n", "x", "y", "t"]  # z is 0 everywhere
        assert (len(data), data["n"].nunique()) == (locations, trajectories)
        part = table[table["source"] == source.name]
        assert set(part["condition"]) == {condition}
        steps = squares(Path(source.path), "Trajectory", "Frame", pixel_size)
        assert (steps["frames"] == 1).all()  # so there is a single Δt: a step per localization but the last
        assert part["n"].sum() == len(steps) == locations - trajectories
        # D is free below 0 unless min_diffusivity forbids, and D + σ²/Δt is Σr²/4nΔt in each cell. At its
        # own bound, DΔt + σ² = 1e-16 µm², this holds to 1e-14 as well
        apparent = weighted(part, part["diffusivity"] + sigma**2 / dt)
        assert apparent == pytest.approx(steps["r2"].mean() / (4 * dt), rel=1e-6)
    pictures(tmp_path, 4)


def test_cells_at_the_bound_raise_the_mean(shared_data: Path, tmp_path: Path) -> None:
    dt, sigma = 0.01, 0.05
    _, table = run(
        tmp_path,
        f"""
[spt_data]
localization_precision = {sigma}
[spt_data.from_ascii_files]
pattern = "{shared_data}/gemspa/*012.csv"
pixel_size = 0.11
dt = {dt}
[tesseller]
type = "Squares"
resolution = 0.4
[mapper]
type = "D"
min_diffusivity = 0
{STAGE}""",
    )
    bound = table["at bound"]
    assert 0 < bound.sum() < len(table) / 2
    assert (table.loc[bound, "diffusivity"].abs() < 1e-9).all()
    assert (table.loc[~bound, "diffusivity"] > 0).all()
    steps = squares(shared_data / "gemspa" / "Traj_DMSO_AxonLeft_2h_012.csv", "Trajectory", "Frame", 0.11)
    apparent = weighted(table, table["diffusivity"] + sigma**2 / dt)
    assert apparent > steps["r2"].mean() / (4 * dt) * 1.0001


DENSE = (
    """
[spt_data]
localization_precision = 0
[spt_data.from_ascii_files]
pattern = "{data}/diffmapgp/dataset004.txt"
pixel_size = 1  # not known: what is called µm is pixels, what is called s is frames
dt = 1
{roi}
[tesseller]
type = "Hexagons"
resolution = 2
[mapper]
type = "D"
"""
    + STAGE
)


def test_dense_field(shared_data: Path, tmp_path: Path) -> None:
    a, table = run(tmp_path, DENSE.format(data=shared_data, roi=""))
    data = a.spt_data.dataframe
    assert (len(data), data["n"].nunique()) == (160_772, 7529)
    assert table["n"].sum() == 160_772 - 7529
    assert table["roi"].unique().tolist() == ["full"]
    # The covariance-based estimate is <dx²>/2 + <dx dx'>, where dx' follows dx, and its σ² is -<dx dx'>.
    # Here the covariance is positive, σ² would be negative, and no noise (σ = 0) is the nearest there is.
    # What the maps then hold is <dx²>/2: the covariance less than 0.156 px²/frame.
    steps = data.groupby("n")[["x", "y"]].diff()
    following = steps.groupby(data["n"]).shift(-1)
    covariance = (steps * following).mean().mean()
    assert covariance > 0
    assert weighted(table) + covariance == pytest.approx(0.156, abs=0.001)
    assert weighted(table) == pytest.approx(0.156, rel=0.08)
    pictures(tmp_path, 1, "--log")


@pytest.mark.parametrize("grouped", [False, True])
def test_regions_where_localizations_are_dense(shared_data: Path, tmp_path: Path, grouped: bool) -> None:
    roi = f"""
[roi.from_density]
side = 20
target_pattern_size = 20
min_kernel_density = 2e-5
group_overlapping_roi = {str(grouped).lower()}
"""
    _, table = run(tmp_path, DENSE.format(data=shared_data, roi=roi))
    regions = table["roi"].unique()
    members = [r.removeprefix("roi").split("-") for r in regions]
    assert len(members) >= 3
    if grouped:
        assert max(map(len, members)) > 1
        # places that several boxes have in common are mapped once
        assert table["n"].sum() <= 160_772 - 7529
    else:
        assert max(map(len, members)) == 1
        assert len(members) >= 20
    assert sorted(i for m in members for i in m) == [f"{i:03d}" for i in range(sum(map(len, members)))]
    # dense places are where molecules are slow: less than the covariance-based 0.156 of the whole field
    assert weighted(table) == pytest.approx(0.156, rel=0.25)
    [pixels] = pictures(tmp_path, 1)
    assert pixels.shape[1] < 1.5 * pixels.shape[0]  # however long the label of a group is


SASPT_DATA = (
    """
[spt_data]
localization_precision = {sigma}
[spt_data.from_ascii_files]
pattern = "{data}/saspt/region_*.csv"
pixel_size = 0.16
dt = 0.00748
[tesseller]
type = "KMeans"
resolution = 1
[mapper]
type = "D"
"""
    + STAGE
)


def test_short_trajectories(shared_data: Path, tmp_path: Path) -> None:
    a, table = run(tmp_path, SASPT_DATA.format(data=shared_data, sigma=0))
    apparent = []
    for source in a.spt_data:
        locations, trajectories = SASPT[int(source.name.split("_")[1])]
        assert (len(source.dataframe), source.dataframe["n"].nunique()) == (locations, trajectories)
        part = table[table["source"] == source.name]
        steps = squares(Path(source.path), "trajectory", "frame", 0.16)
        assert (steps["frames"] == 1).all()
        assert part["n"].sum() == len(steps) == locations - trajectories
        apparent.append(steps["r2"].mean() / (4 * 0.00748))
        assert weighted(part) == pytest.approx(apparent[-1], rel=1e-6)
    assert len(apparent) == 6
    # by its definition, <r²>/4Δt, what is stated as 9.9 µm²/s is 8.8 to 9.4 in these fields, 9.1 in all
    assert min(apparent) > 8.7
    assert max(apparent) < 9.4
    assert weighted(table) == pytest.approx(9.10, abs=0.005)
    assert weighted(table) == pytest.approx(9.9, rel=0.1)


def test_nearest_neighbours(shared_data: Path, tmp_path: Path) -> None:
    _, table = run(
        tmp_path, SASPT_DATA.format(data=shared_data, sigma=0.035) + '[sampler]\ntype = "Knn"\nknn = 10\n'
    )
    assert table["source"].nunique() == 6
    # every cell gets its translocations, those that are near to several are counted in each
    assert (table["n"] >= 10).all()
    assert table["n"].sum() >= sum(n - k for n, k in SASPT.values())
    relative = (table["diffusivity se"] / (table["diffusivity"] + 0.035**2 / 0.00748)).to_numpy()
    np.testing.assert_allclose(relative, 1 / np.sqrt(table["n"]), rtol=1e-6)
    assert 3 < table["diffusivity"].median() < 12
    pictures(tmp_path, 6)


def test_columns_without_names(shared_data: Path, tmp_path: Path) -> None:
    a, table = run(
        tmp_path,
        f"""
[spt_data]
localization_precision = 0
[spt_data.from_ascii_files]
pattern = "{shared_data}/tramway/trajectories.txt"
columns = ["-", "n", "x", "y", "t"]
[tesseller]
type = "Hexagons"
[mapper]
type = "D"
{STAGE}""",
    )
    data = a.spt_data.dataframe
    assert (len(data), data["n"].nunique()) == (2358, 400)
    assert a.spt_data.frame_interval == pytest.approx(0.05)
    assert table["n"].sum() == 2358 - 400
    assert weighted(table) == pytest.approx(0.104, abs=0.0005)
    pictures(tmp_path, 1, "--variable", "diffusivity", "--variable", "density")
