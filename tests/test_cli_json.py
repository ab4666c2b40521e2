"""The command for programs and for hands: JSON, exit codes, sections of the help, completion, colours."""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tramway_dask import environments
from tramway_dask.cli import main
from tramway_dask.cli_sites import sites
from tramway_dask.pipeline import progress
from tramway_dask.pipeline.progress import Progress

TOML = """
results = "out"

[spt_data]
localization_precision = 0.02

[spt_data.from_manifest]
path = "manifest.csv"

[tesseller]
type = "Squares"
resolution = 0.5

[mapper]
type = "D"

[[stages]]
stage = "tessellate_and_infer"
map_label = "d"
"""


def call(*arguments: Any, code: int = 0) -> Any:
    """Return the JSON document that a command prints, and nothing else."""
    ended = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert isinstance(ended.exception, SystemExit | None), ended.exception
    assert ended.exit_code == code, ended.output
    return json.loads(ended.stdout, parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))


def error(*arguments: Any, code: int) -> Any:
    ended = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert ended.exit_code == code
    assert ended.stdout == ""
    (about,) = json.loads(ended.stderr).values()
    assert about["exit_code"] == code
    return about


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an experiment of two files in two conditions, that is analysed."""
    there = tmp_path_factory.mktemp("json")
    made = call("simulate", there / "data", "--trajectories", 60, "--duration", 2)
    assert [Path(p).name for p in made["files"]] == ["cell000.trxyt", "cell001.trxyt"]
    (there / "manifest.csv").write_text(
        "path,condition\ndata/cell000.trxyt,wild type\ndata/cell001.trxyt,mutant\n"
    )
    (there / "config.toml").write_text(TOML)
    planned = call("plan", there / "config.toml")
    assert planned["counts"] == {"to do": 2}
    assert {u["source"] for u in planned["units"]} == {"cell000", "cell001"}
    report = call("run", there / "config.toml", "--quiet")
    assert (report["ok"], report["done"], report["failures"]) == (True, 2, [])
    return there


def commands(group: click.Group, before: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += commands(command, (*before, name))
        else:
            found.append(((*before, name), command))
    return found


@pytest.mark.parametrize(
    ("words", "command"), commands(main), ids=lambda v: " ".join(v) if isinstance(v, tuple) else ""
)
def test_every_command_has_json_and_a_short_summary(words: tuple[str, ...], command: click.Command) -> None:
    if words != ("completion",):
        assert "--json" in [o for p in command.params for o in p.opts]
    ended = CliRunner().invoke(main, [*words, "--help"], terminal_width=80)
    assert ended.exit_code == 0
    assert max(map(len, ended.output.splitlines())) <= 80
    assert not command.get_short_help_str(72).endswith("...")


def test_help_has_sections_and_exit_codes() -> None:
    told = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    assert "Others:" not in told
    assert (
        told.index("Analyse:") < told.index("  run ") < told.index("Look at results:") < told.index("  maps ")
    )
    assert "Exit codes: 0 all done" in told
    assert "..." not in told.partition("Options:")[2]
    for name in main.commands:
        assert f"\n  {name} " in told


def test_results_as_json(folder: Path, tmp_path: Path) -> None:
    out = folder / "out"
    maps = call("maps", out)
    assert maps["units"]["diffusivity"] == "µm²/s"
    assert maps["rows"] == len(maps["maps"]) > 10
    assert {"source", "condition", "diffusivity", "diffusivity se"} <= maps["maps"][0].keys()
    written = call("maps", out, "-o", tmp_path / "maps.csv")
    assert "maps" not in written
    assert Path(written["file"]).read_text().count("\n") == maps["rows"] + 1
    assert [Path(p).is_file() for p in call("plot", out, "-o", tmp_path)["pictures"]] == [True, True]
    compared = call("compare", out)
    assert [c["condition"] for c in compared["conditions"]] == ["mutant", "wild type"]
    assert compared["tests"][0]["p"] is None  # not NaN
    assert len(compared["files"]) == 2
    exported = call("export", out, "--format", "csv", "-o", tmp_path / "e.csv")["files"]
    assert str(tmp_path / "e.csv") in exported
    assert all(Path(p).is_file() for p in exported)
    page = call("report", out, "-o", tmp_path / "r.html", "--pictures", 0)
    assert page["bytes"] == Path(page["report"]).stat().st_size
    assert page["pictures"] == 0 < page["left_out"]
    listed = call("manifest", folder / "data", "-o", tmp_path / "m.csv")
    assert listed["files"] == 2
    again = call("run", folder / "config.toml")
    assert (again["done"], again["skipped"]) == (0, 2)


def test_info_as_json(folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_text("no numbers\n")
    good, broken = call("info", folder / "data" / "cell000.trxyt", bad, code=2)
    assert good["kind"] == "localizations"
    assert good["rows"] > 60 and good["dimensions"] == 2
    assert good["steps"]["q5"] < good["steps"]["median"] < good["steps"]["q95"]
    assert good["error"] is None and len(good["first_rows"]) == 3
    assert good.keys() == broken.keys()
    assert broken["error"] and broken["rows"] is None


def test_runs_and_sites_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert call("runs") == []
    listed = call("sites", "list")
    assert {"name", "hostname", "origin", "problem"} <= listed[0].keys()
    shown = call("sites", "show", listed[0]["name"])
    assert "job_script" in shown


def test_errors_as_json(folder: Path, tmp_path: Path) -> None:
    assert "no results folder" in error("maps", tmp_path / "none", code=1)["message"]
    told = error("maps", folder / "out", "--label", "e", code=1)
    assert told["type"] == "StoreError" and "'d'" in told["message"]
    assert error("compare", folder / "out", "--variable", "nothing", code=2)["type"] == "SpecificationError"
    usage = error("maps", "--nonsense", code=2)
    assert usage["type"] == "UsageError" and "--nonsense" in usage["message"]
    assert error("nonsense", code=2)["type"] == "UsageError"


def test_plain_errors_stay_plain(tmp_path: Path) -> None:
    ended = CliRunner().invoke(main, ["maps", "--nonsense"])
    assert ended.exit_code == 2 and "Usage:" in ended.stderr
    ended = CliRunner().invoke(main, ["maps", str(tmp_path / "none")])
    assert ended.exit_code == 1 and ended.stderr.startswith("Error: no results folder")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the command under its name, as an installation puts it on the PATH."""
    there = tmp_path_factory.mktemp("bin")
    path = there / "tramway-dask"
    path.write_text(f"#!{sys.executable}\nfrom tramway_dask.cli import main\nmain()\n")
    path.chmod(0o755)
    return there


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes(program: Path) -> None:
    site = next(iter(environments.sites))
    expected = {
        "re": {"report", "resume"},
        f"sites show {site[:-1]}": {name for name in environments.sites if name.startswith(site[:-1])},
    }
    script = ['eval "$(tramway-dask completion bash)"', "complete -p tramway-dask >&2"]
    for line in expected:
        words = ["tramway-dask", *line.split(" ")]
        script += [
            f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}",
            # what bash itself calls when the key is pressed
            "COMPREPLY=(); _tramway_dask_completion tramway-dask",
            'echo "${COMPREPLY[@]}"',
        ]
    env = {**os.environ, "PATH": f"{program}:{os.environ['PATH']}"}
    ended = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(script)], capture_output=True, text=True, env=env, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    assert "_tramway_dask_completion" in ended.stderr
    assert [set(line.split()) for line in ended.stdout.splitlines()] == list(expected.values())


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script(shell: str) -> None:
    ended = CliRunner().invoke(main, ["completion", shell])
    assert ended.exit_code == 0
    assert f"_TRAMWAY_DASK_COMPLETE={shell}_complete" in ended.output


def in_terminal(program: Path, *words: str, **env: str) -> str:
    """Run the command with a terminal as standard output."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(leader, (24, 100))
    settings = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    settings |= {"TERM": "xterm-256color", **env}
    running = subprocess.Popen(
        [program / "tramway-dask", *words], stdout=follower, stderr=follower, stdin=follower, env=settings
    )
    os.close(follower)
    told = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # its last user has closed it
            break
        told += piece
    os.close(leader)
    assert running.wait(300) == 0
    return told.decode()


def test_colours_are_for_terminals_that_want_them(program: Path, folder: Path) -> None:
    words = ("sites", "list")
    assert "\x1b[1m" in in_terminal(program, *words)
    # bold is no colour; of colours there are none
    assert "\x1b[3" not in in_terminal(program, *words, NO_COLOR="1")
    piped = CliRunner().invoke(main, words)
    assert "\x1b" not in piped.output
    assert piped.exit_code == 0


def test_bar_in_a_terminal_tells_rate_and_rest(program: Path, folder: Path, tmp_path: Path) -> None:
    told = in_terminal(program, "run", str(folder / "config.toml"), "--results", str(tmp_path / "out"))
    assert "2/2" in told
    assert "unit/s" in told or "s/unit" in told
    assert "<" in told  # time taken < time left


def test_lines_in_a_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    shown = Progress(100)
    for done in range(1, 101):
        clock[0] += 1.0
        shown.show(done, 0)
    shown.close()
    lines = capsys.readouterr().err.splitlines()
    assert 10 <= len(lines) <= 12
    assert lines[4].startswith("50/100 units (50 %), 0 failed, 1 units/s, 50 s left")
    assert lines[-1].startswith("100/100 units (100 %)")
    Progress(100, shown=False).close()
    assert capsys.readouterr().err == ""


def test_sites_are_a_group() -> None:
    assert main.commands["sites"] is sites
