"""The command line: commands, options, exit codes, and configuration files."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cases import write_fields
from click.testing import CliRunner, Result

import tramway_dask
from tramway_dask.analyzer.configuration import read_configuration
from tramway_dask.cli import main

COMMANDS = ("demo", "maps", "plan", "plot", "run", "simulate")

TOML = """\
results = "out"

[spt_data]
localization_precision = 0.01

[spt_data.from_ascii_files]
pattern = "cell*.trxyt"

[roi.from_squares]
centers = [[0.25, 0.5], [0.75, 0.5]]
side = 0.5

[tesseller]
type = "Hexagons"
resolution = 0.15

[mapper]
type = "D"

[[stages]]
stage = "tessellate_and_infer"
map_label = "d"
"""

YAML = """\
results: out
spt_data:
  localization_precision: 0.01
  from_ascii_files: {pattern: cell*.trxyt}
roi:
  from_squares:
    centers: [[0.25, 0.5], [0.75, 0.5]]
    side: 0.5
tesseller: {type: Hexagons, resolution: 0.15}
mapper: D
stages:
  - stage: tessellate_and_infer
    map_label: d
"""


def call(*arguments: Any, code: int = 0, **options: Any) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments], **options)
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def command(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from tramway_dask.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_fields(tmp_path)
    path = tmp_path / "config.toml"
    path.write_text(TOML)
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an experiment that is analysed."""
    folder = tmp_path_factory.mktemp("done")
    write_fields(folder)
    (folder / "config.toml").write_text(TOML)
    call("run", folder / "config.toml", "--quiet")
    return folder


def edited(config: Path, old: str, new: str) -> Path:
    text = config.read_text()
    assert text.count(old) == 1
    config.write_text(text.replace(old, new))
    return config


def test_version_and_help() -> None:
    assert tramway_dask.__version__ in call("--version").output
    told = call("--help").output
    assert "..." not in told.partition("Commands:")[2]  # a summary that was cut
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", told, re.M)
        for flag in ("--help", "-h"):
            text = call(name, flag).output
            assert text.startswith("Usage:")
    for option, names in {"--label": ("maps", "plot"), "--overwrite": ("plan", "run")}.items():
        assert all(option in call(n, "--help").output for n in names)
    assert command("--version").stdout.startswith("tramway-dask, version ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "rnu"),
        (["run"], "CONFIG"),
        (["run", "c.toml", "--worker", "2"], "--workers"),
        (["run", "c.toml", "--workers", "0"], "0"),
        (["simulate", "x", "--files", "two"], "two"),
        (["maps"], "RESULTS"),
        (["run", "nowhere/c.toml"], "nowhere/c.toml"),
        (["plan", "nowhere/c.toml"], "No such file"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    assert said in call(*arguments, code=2).output


def test_run_maps_and_plot(config: Path, tmp_path: Path) -> None:
    assert "4 to do" in call("plan", config).output
    told = call("run", config).output
    assert "4 done, 0 skipped" in told
    assert str(tmp_path / "out") in told
    assert "0 done, 4 skipped" in call("run", config, "--quiet").output
    assert "4 done" in call("plan", config).output
    shown = call("maps", tmp_path / "out").output
    assert "diffusivity se" in shown
    assert "more rows" in shown
    pictures = call("plot", tmp_path / "out").output.split()
    assert [Path(p).name for p in pictures] == ["cell0-d.png", "cell1-d.png"]
    assert all(Path(p).parent == tmp_path / "out" / "pictures" for p in pictures)
    [only] = call(
        *("plot", tmp_path / "out", "--label", "d", "--variable", "diffusivity", "--variable", "density"),
        *("--source", "cell1", "--log", "-o", tmp_path / "elsewhere"),
    ).output.split()
    assert only == str(tmp_path / "elsewhere" / "cell1-d.png")
    assert os.path.getsize(only) > 10_000


def test_quiet(config: Path) -> None:
    assert "unit" in call("run", config).stderr
    assert call("run", config, "--results", config.parent / "other", "--quiet").stderr == ""


def test_overwrite(config: Path) -> None:
    call("run", config, "--quiet")
    edited(config, "0.15", "0.2")
    told = call("run", config, "--quiet", code=2).output
    assert "add --overwrite" in told
    assert "0.15 → 0.2" in call("plan", config, code=2).output
    assert "4 to do" in call("plan", config, "--overwrite").output
    assert "4 done" in call("run", config, "--quiet", "--overwrite").output
    assert "4 skipped" in call("run", config, "--quiet").output


def test_results_and_workers_replace_those_of_the_file(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "another" / "folder"
    call("plan", config, "--results", other)
    assert "4 done" in call("run", config, "--quiet", "--results", other, "--workers", 1).output
    assert not (tmp_path / "out").exists()
    hosts = json.loads((other / "run.json").read_text())
    assert hosts
    call("run", config, "--quiet")
    one, two = (call("maps", f, "--csv").stdout for f in (other, tmp_path / "out"))
    assert one == two


def test_yaml_gives_the_same_plan(config: Path) -> None:
    yaml = config.with_name("config.yaml")
    yaml.write_text(YAML)
    one, two = (read_configuration(p).plan().to_frame() for p in (config, yaml))
    pd.testing.assert_frame_equal(one, two)
    call("run", config, "--quiet")
    assert "4 skipped" in call("run", yaml, "--quiet").output


def test_plan_lists_every_unit(config: Path) -> None:
    centers = [[0.03 * i, 0.5] for i in range(1, 31)]
    edited(config, "[[0.25, 0.5], [0.75, 0.5]]", str(centers))
    assert "40 more rows" in call("plan", config).output
    told = call("plan", config, "--all").output
    assert "more rows" not in told
    assert told.count("roi0") == 60


def test_units_that_fail(config: Path) -> None:
    (config.parent / "cell2.trxyt").write_text("1\t0.1\t0.1\t0.0\n1\tfoo\t0.2\t0.1\n")
    told = call("run", config, "--quiet", code=1).output
    assert "4 done" in told
    assert "cell2.trxyt" in told
    assert "foo" in told
    assert "failed" in told


def test_maps_as_csv(done: Path, tmp_path: Path) -> None:
    written = call("maps", done / "out", "--csv")
    table = pd.read_csv(io.StringIO(written.stdout))
    assert list(table.columns[:2]) == ["source", "roi"]
    assert set(table["source"]) == {"cell0", "cell1"}
    assert set(table["roi"]) == {"roi000", "roi001"}
    assert (table["diffusivity se"] > 0).all()
    path = tmp_path / "made" / "maps.csv"
    told = call("maps", done / "out", "--label", "d", "-o", path).output
    assert f"{len(table)} rows" in told
    pd.testing.assert_frame_equal(pd.read_csv(path), table)
    assert os.listdir(path.parent) == ["maps.csv"]
    text = path.read_bytes()
    call("maps", done / "out", "-o", path / "below.csv", code=1)
    assert path.read_bytes() == text


def test_maps_that_are_not_there(done: Path, tmp_path: Path) -> None:
    assert "no results folder" in call("maps", tmp_path / "nowhere", code=1).output
    assert "no results folder" in call("plot", tmp_path / "nowhere", code=1).output
    assert "no maps" in call("maps", tmp_path, code=1).output
    assert "'d'" in call("maps", done / "out", "--label", "dv", code=1).output
    assert "'diffusivity'" in call("plot", done / "out", "--variable", "diffusivty", code=2).output
    assert "did you mean 'cell0'" in call("plot", done / "out", "--source", "cel0", code=2).output


def test_two_labels(done: Path, tmp_path: Path) -> None:
    edited_config = done / "two.toml"
    edited_config.write_text(TOML.replace('"d"', '"second"').replace('"out"', '"both"'))
    call("run", edited_config, "--quiet")
    edited_config.write_text(TOML.replace('"out"', '"both"'))
    call("run", edited_config, "--quiet")
    told = call("maps", done / "both", code=1).output
    assert "'d', 'second'" in told
    one, two = (call("maps", done / "both", "--csv", "--label", n).stdout for n in ("d", "second"))
    assert one == two


def test_reader_that_goes_away(done: Path) -> None:
    for options in ("--csv", ""):
        tramway = f"{sys.executable} -c 'from tramway_dask.cli import main; main()'"
        line = f"{tramway} maps {done / 'out'} {options} | head -n 1"
        told = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
        assert told.stdout.count("\n") == 1
        assert told.stderr == ""


def test_results_that_cannot_be_written(config: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    edited(config, '"out"', '"taken/out"')
    assert "taken" in call("run", config, "--quiet", code=1).output


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_results(config: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o555)
    assert "out" in call("run", config, "--quiet", code=1).output


def test_full_disk(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    told = call("run", config, "--quiet", code=1).output
    assert "no space is left there" in told


def test_simulate(tmp_path: Path) -> None:
    options = ["--trajectories", 5, "--duration", 1, "--time-step", 0.05, "--diffusivity", 0.2]
    options += ["--well-depth", 2, "--localization-precision", 0.03, "--size", 1.5]
    paths = call("simulate", tmp_path / "a", "--files", 3, "--seed", 4, *options).output.split()
    assert [Path(p).name for p in paths] == ["cell000.trxyt", "cell001.trxyt", "cell002.trxyt"]
    call("simulate", tmp_path / "b", "--files", 1, "--seed", 5, *options)
    assert (tmp_path / "b" / "cell000.trxyt").read_text() == Path(paths[1]).read_text()
    table = pd.read_csv(paths[0], sep="\t", header=None, names=["n", "x", "y", "t"])
    assert table["n"].nunique() == 5
    assert table["t"].max() <= 1 + 1e-9
    assert "exists already" in call("simulate", tmp_path / "a", code=2).output
    for option, value in (("time-step", -1), ("diffusivity", -1), ("size", 0), ("duration", 0)):
        told = call("simulate", tmp_path / "c", f"--{option}", value, code=2).output
        assert f"'--{option}'" in told


def test_relative_paths_belong_to_the_folder_of_the_file(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert "4 done" in call("run", Path("..") / config.name, "--quiet").output
    assert (tmp_path / "out" / "run.json").exists()
    assert not list(elsewhere.iterdir())
    monkeypatch.setenv("MY_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    edited(config, '"cell*', '"$MY_DATA/cell*')
    edited(config, '"out"', '"~/out"')
    moved = elsewhere / "config.toml"
    moved.write_text(config.read_text())
    assert "4 skipped" in call("run", moved, "--quiet").output
    moved.write_text(
        config.read_text().replace('"$MY_DATA/cell*.trxyt"', '["~/cell0.trxyt", "../cell1.trxyt"]')
    )
    assert "4 skipped" in call("run", moved, "--quiet").output


def test_every_section(tmp_path: Path) -> None:
    write_fields(tmp_path)
    (tmp_path / "config.toml").write_text("""
results = "r"
seed = 3
sampler = "Knn"
time = {type = "SlidingWindow", duration = 1.0}
[spt_data]
localization_error = 1e-4
frame_interval = 0.05
temperature = 300
[spt_data.from_ascii_files]
pattern = "cell*.trxyt"
columns = ["n", "x", "y", "t"]
[spt_data.conditions]
control = "cell0*"
treated = ["*1.trxyt"]
[roi.from_bounding_boxes]
boxes = [[[0, 0], [0.5, 0.5]], [[0.5, 0.5], [1, 1]]]
label = "box"
[roi.from_squares]
centers = [[0.25, 0.5]]
side = 0.4
[tesseller]
type = "Squares"
resolution = 0.2
[mapper]
type = "DV"
diffusivity_prior = 2
[env]
type = "LocalHost"
worker_count = 3
[[stages]]
stage = "tessellate"
[[stages]]
stage = "infer"
map_label = "dv"
""")
    a = read_configuration(tmp_path / "config.toml")
    assert a.results.folder == tmp_path / "r"
    assert a.seed == 3
    assert type(a.sampler).__name__ == "Knn"
    assert a.time.duration == 1.0
    assert a.spt_data.localization_precision == pytest.approx(0.01)
    assert a.spt_data.frame_interval == 0.05
    assert a.spt_data.temperature == 300
    assert [s.condition for s in a.spt_data] == ["control", "treated"]
    labels = [r.label for r in a.spt_data[0].roi.as_support_regions()]
    assert labels == ["box 000", "box 001", "roi000"]
    assert a.tesseller.resolution == 0.2
    assert a.mapper.diffusivity_prior == 2
    assert a.env.worker_count == 3
    assert [s.name for s in a.pipeline] == ["tessellate", "infer"]


def test_regions_in_files(config: Path, tmp_path: Path) -> None:
    old = "[roi.from_squares]\ncenters = [[0.25, 0.5], [0.75, 0.5]]\nside = 0.5\n"
    for i in range(2):
        (tmp_path / f"cell{i}-roi.txt").write_text("x min\tx max\ty min\ty max\n0\t0.5\t0\t0.5\n")
    (tmp_path / "all.txt").write_text("x min\tx max\ty min\ty max\n0\t0.5\t0\t0.5\n0.5\t1\t0\t1\n")
    for new, count in (
        ("[roi.from_ascii_files]\nsuffix = 'roi'\n", 2),
        ("[roi.from_ascii_file]\npath = 'all.txt'\n", 4),
        ("[roi.from_density]\nside = 0.3\ntarget_pattern_size = 0.3\n", None),
        ("", 2),
    ):
        config.write_text(TOML.replace(old, new))
        told = call("plan", config).output
        assert count is None or f"{count} to do" in told


WRONG = {
    "section": ("[mapper]", "[maper]", ["maper", "'mapper'"]),
    "top option": ('results = "out"', 'reslts = "out"', ["reslts", "'results'"]),
    "results": ('results = "out"', "results = 3", ["results", "3", "path"]),
    "seed": ('results = "out"', 'seed = "a"', ["seed", "'a'"]),
    "tesseller type": ('"Hexagons"', '"Hexagon"', ["[tesseller]", "type", "'Hexagons'"]),
    "no type": ('type = "Hexagons"', "", ["[tesseller]", "type", "'Hexagons'"]),
    "mapper type": ('type = "D"', 'type = "DX"', ["[mapper]", "'DX'", "'DD'"]),
    "mapper value": ('[mapper]\ntype = "D"', "[mapper]\ntype = 3", ["[mapper]", "3", "'DV'"]),
    "tesseller option": ("resolution", "resolutoin", ["[tesseller]", "resolutoin", "'resolution'"]),
    "tesseller value": ("0.15", "-1", ["[tesseller]", "resolution", "-1"]),
    "tesseller text": ("0.15", '"fine"', ["[tesseller]", "resolution", "fine"]),
    "mapper option": ('type = "D"', 'type = "D"\ndifusivity_prior = 1', ["[mapper]", "'diffusivity_prior'"]),
    "method": ("from_ascii_files", "from_ascii_fils", ["[spt_data]", "'from_ascii_files'"]),
    "data option": (
        "localization_precision",
        "localization_precison",
        ["[spt_data]", "'localization_precision'"],
    ),
    "data value": ("localization_precision = 0.01", "localization_precision = -1", ["[spt_data]", "-1"]),
    "data text": ("localization_precision = 0.01", 'localization_precision = "a"', ["[spt_data]", "'a'"]),
    "missing argument": ("pattern", "patern", ["[spt_data.from_ascii_files]", "'pattern'", "'patern'"]),
    "pattern value": ('"cell*.trxyt"', "3", ["[spt_data.from_ascii_files]", "pattern", "3"]),
    "no file": ('"cell*.trxyt"', '"nothing*.csv"', ["[spt_data.from_ascii_files]", "nothing*.csv"]),
    "reader option": (
        'pattern = "cell',
        'pixel_sise = 2\npattern = "cell',
        ["[spt_data.from_ascii_files]", "pixel_sise", "'pixel_size'"],
    ),
    "reader value": ('pattern = "cell', 'pixel_size = -2\npattern = "cell', ["pixel_size", "-2"]),
    "reader text": ('pattern = "cell', 'dt = "1"\npattern = "cell', ["dt", "'1'"]),
    "condition": (
        "[roi.from_squares]",
        '[spt_data.conditions]\na = "x*"\n[roi.from_squares]',
        ["[spt_data.conditions]", "'x*'", "cell0"],
    ),
    "condition value": (
        "[roi.from_squares]",
        "[spt_data.conditions]\na = 3\n[roi.from_squares]",
        ["[spt_data.conditions]", "3"],
    ),
    "two conditions": (
        "[roi.from_squares]",
        '[spt_data.conditions]\na = "cell*"\nb = "cell0*"\n[roi.from_squares]',
        ["[spt_data.conditions]", "cell0.trxyt", "'a'", "'b'"],
    ),
    "roi argument": ("side = 0.5", "sid = 0.5", ["[roi.from_squares]", "'side'"]),
    "roi value": ("side = 0.5", "side = 0", ["[roi.from_squares]", "side", "0"]),
    "roi text": ("[[0.25, 0.5], [0.75, 0.5]]", '"middle"', ["[roi.from_squares]"]),
    "roi method": ("from_squares", "from_square", ["[roi]", "'from_squares'"]),
    "density option": (
        "[tesseller]",
        "[roi.from_density]\nside = 1\ntarget_size = 3\n[tesseller]",
        ["[roi.from_density]", "'target_pattern_size'"],
    ),
    "roi file": (
        "[tesseller]",
        '[roi.from_ascii_file]\npath = "no.txt"\n[tesseller]',
        ["[roi.from_ascii_file]", "no.txt"],
    ),
    "stage": ("tessellate_and_infer", "tesselate", ["[[stages]]", "'tessellate'"]),
    "stage left out": ('stage = "tessellate_and_infer"', "", ["[[stages]]", "'stage'"]),
    "stage option": ("map_label", "maplabel", ["[[stages]]", "maplabel", "'map_label'"]),
    "stage value": ('map_label = "d"', 'map_label = "cells"', ["[[stages]]", "'cells'"]),
    "environment": (
        "[tesseller]",
        '[env]\ntype = "LocalHosts"\n[tesseller]',
        ["[env]", "'LocalHosts'", "'LocalHost'"],
    ),
    "environment option": (
        "[tesseller]",
        '[env]\ntype = "LocalHost"\nworker_cont = 3\n[tesseller]',
        ["[env]", "'worker_count'"],
    ),
    "environment value": (
        "[tesseller]",
        '[env]\ntype = "LocalHost"\nworker_count = 0\n[tesseller]',
        ["[env]", "worker_count", "0"],
    ),
    "environment of no type": (
        "[tesseller]",
        "[env]\nworker_count = 2\n[tesseller]",
        ["[env]", 'site = "maestro"', "--site NAME", 'type = "LocalHost"'],
    ),
    "unknown site": ("[tesseller]", '[env]\nsite = "maestra"\n[tesseller]', ["[env] site", "'maestro'"]),
    "site and type": (
        "[tesseller]",
        '[env]\nsite = "maestro"\ntype = "LocalHost"\n[tesseller]',
        ["[env]", "one of them"],
    ),
    "option of a site": (
        "[tesseller]",
        '[env]\nsite = "maestro"\nworker_cont = 3\n[tesseller]',
        ["[env]", "'worker_count'"],
    ),
    "time": ("[tesseller]", '[time]\ntype = "Sliding"\n[tesseller]', ["[time]", "'SlidingWindow'"]),
    "sampler": ("[tesseller]", '[sampler]\ntype = "Kn"\n[tesseller]', ["[sampler]", "'Knn'"]),
    "sampler value": (
        "[tesseller]",
        '[sampler]\ntype = "Knn"\nknn = -1\n[tesseller]',
        ["[sampler]", "Knn", "-1"],
    ),
}


def test_site_of_the_environment(config: Path) -> None:
    edited(config, "[tesseller]", '[env]\nsite = "Maestro"\nqueue = "fast"\nworker_count = 7\n[tesseller]')
    env: Any = read_configuration(config).env
    assert (type(env).__name__, env.queue, env.worker_count) == ("Maestro", "fast", 7)
    env = read_configuration(config, site="maestro").env
    assert (type(env).__name__, env.queue) == ("Maestro", "fast")
    # options of another site mean nothing there, unless both have them
    env = read_configuration(config, site="gpulab").env
    assert (type(env).__name__, env.worker_count) == ("GPULab", 7)


@pytest.mark.parametrize("case", WRONG)
def test_wrong_configuration(config: Path, case: str) -> None:
    old, new, said = WRONG[case]
    edited(config, old, new)
    for name in ("plan", "run"):
        told = call(name, config, code=2).output
        assert str(config) in told
        for text in said:
            assert text in told
    assert not (config.parent / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "[spt_data]"),
        ("[spt_data\n", "line 1"),
        ("spt_data = 3", "[spt_data]"),
        ("[spt_data]\nlocalization_precision = 0.1", "no files"),
        ("[spt_data]\nfrom_ascii_files = 3", "[spt_data.from_ascii_files]"),
        ("[spt_data.from_ascii_files]\npattern = 'cell*'", "no stage"),
        ("stages = 3\n[spt_data.from_ascii_files]\npattern = 'cell*'", "stages"),
        ("stages = [3]\n[spt_data.from_ascii_files]\npattern = 'cell*'", "stages"),
        ("roi = 3\n[spt_data.from_ascii_files]\npattern = 'cell*'", "[roi]"),
        ("mapper = 3\n[spt_data.from_ascii_files]\npattern = 'cell*'", "[mapper]"),
    ],
)
def test_files_that_are_no_configuration(config: Path, text: str, said: str) -> None:
    config.write_text(text)
    told = call("plan", config, code=2).output
    assert said in told
    assert str(config) in told


def test_files_of_other_kinds(config: Path, tmp_path: Path) -> None:
    yaml = tmp_path / "bad.yaml"
    yaml.write_text("a: [")
    assert "bad.yaml" in call("run", yaml, code=2).output
    assert "line 1" in call("run", yaml, code=2).output
    yaml.write_text("- a\n- b\n")
    assert "sections" in call("run", yaml, code=2).output
    yaml.write_text("")
    assert "sections" in call("run", yaml, code=2).output
    yaml.write_text(YAML.replace("0.15", "1e-1"))  # a text for YAML 1.1
    assert "[tesseller]" in call("run", yaml, code=2).output
    yaml.write_text("1: 2\n")
    assert "'1'" in call("run", yaml, code=2).output
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    assert "binary.toml" in call("run", binary, code=2).output
    other = tmp_path / "config.json"
    other.write_text("{}")
    assert ".toml" in call("run", other, code=2).output
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    assert "directory" in call("run", folder, code=2).output.lower()


def test_demo(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    told = command("demo", "--workers", 2, "--folder", "my demo", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    # of the workers as well; elapsed time would depend on what else the computer does
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 60
    assert "Traceback" not in told.stderr
    assert "12/12" in told.stderr  # the progress bar
    assert "12 done" in told.stdout
    shares = [float(v) for v in re.findall(r"(\d+)% of \d+ cells within 2", told.stdout)]
    assert len(shares) == 2
    assert min(shares) >= 85
    last = told.stdout.splitlines()[-1]
    assert "'my demo'" in last
    assert "tramway-dask run" in last
    folder = tmp_path / "my demo"
    assert [p.name for p in sorted((folder / "pictures").iterdir())] == [
        "cell0.png",
        "cell1.png",
        "cell2.png",
    ]
    assert min(p.stat().st_size for p in (folder / "pictures").iterdir()) > 50_000
    again = command("run", folder / "config.toml", "--quiet")
    assert again.returncode == 0, again.stderr
    assert "12 skipped" in again.stdout
    assert again.stderr == ""
