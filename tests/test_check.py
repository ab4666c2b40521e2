"""The order of tests of a site, what is skipped, and what needs no cluster."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tramway_dask.cli import main
from tramway_dask.environments import LocalHost, SingularitySlurm, Slurm, SlurmOverSSH, check_program
from tramway_dask.environments import check as checks
from tramway_dask.environments.check import (
    CheckResult,
    FailedError,
    NotTriedError,
    Step,
    Visit,
    check_site,
    run_steps,
    split_advice,
    steps_of,
)
from tramway_dask.environments.check_container import data_steps
from tramway_dask.environments.check_slurm import remove_folder, slurm_steps
from tramway_dask.environments.shell import Completed, LocalShell
from tramway_dask.errors import ClusterError, SpecificationError


class FakeShell:
    """Answers commands by what they contain."""

    host = "login"
    username = "ada"

    def __init__(self, answers: dict[str, tuple[str, str, int]] | None = None) -> None:
        self.answers = answers or {}
        self.commands: list[str] = []

    async def run(
        self, command: str, *, input: str | None = None, check: bool = True, timeout: float = 0
    ) -> Completed:
        self.commands.append(command)
        for part, answer in self.answers.items():
            if part in command:
                if check and answer[2]:
                    raise ClusterError(f"login: {part} failed")
                return Completed(*answer)
        return Completed("", "", 0)

    async def home(self) -> str:
        return "/home/ada"


def step(name: str, needs: tuple[str, ...] = (), error: Exception | None = None) -> Step:
    async def test(visit: Visit) -> str:
        if error is not None:
            raise error
        return f"seen after {len(visit.results)}"

    return Step(name, test, needs)


def run(steps: list[Step], shell: Any = None, env: Any = None, report: Any = None) -> list[CheckResult]:
    return asyncio.run(run_steps(steps, Visit(env or Slurm(), shell or FakeShell()), report))


def test_what_needs_a_failed_test_is_not_tried() -> None:
    told: list[CheckResult] = []
    steps = [
        step("a"),
        step("b", ("a", "not in the list")),
        step("c", ("b",), FailedError("broken", "mend it")),
        step("d", ("a", "c")),
        step("e", ("d",)),
        step("f", ("a",)),
    ]
    results = run(steps, report=told.append)
    assert told == results
    assert [r.ok for r in results] == [True, True, False, None, None, True]
    assert results[1].evidence == "seen after 1"
    assert (results[2].evidence, results[2].remedy) == ("broken", "mend it")
    # the first cause, not the next one
    assert results[3].evidence == results[4].evidence == "not tried, since 'c' failed"


def test_what_needs_something_untried_is_not_tried() -> None:
    results = run([step("job", (), NotTriedError("not asked for", "ask")), step("port", ("job",))])
    assert [r.ok for r in results] == [None, None]
    assert (results[0].evidence, results[0].remedy) == ("not asked for", "ask")
    assert results[1].evidence == "not tried, since 'job' was not tried"


@pytest.mark.parametrize(
    ("error", "evidence", "remedy"),
    [
        (ClusterError("lab: refused; check the port"), "lab: refused", "check the port"),
        (ClusterError("key changed\n  old\nask them"), "key changed\n  old", "ask them"),
        (OSError("no route"), "no route", ""),
    ],
)
def test_errors_are_crosses(error: Exception, evidence: str, remedy: str) -> None:
    assert run([step("a", (), error)]) == [CheckResult("a", False, evidence, remedy)]


def test_bugs_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run([step("a", (), ZeroDivisionError())])


def test_advice_is_split_from_what_happened() -> None:
    refusal = "x.sif does not fit this computer: dask is 1 there and 2 here. Either build it or not"
    assert split_advice(refusal)[1] == "Either build it or not"
    assert split_advice("all in one") == ("all in one", "")


def names(env: Any, data: tuple[str, ...] = ()) -> list[str]:
    steps = steps_of(env, data)
    found = [s.name for s in steps]
    # whatever is needed comes before
    for k, one in enumerate(steps):
        assert all(need not in found[k:] for need in one.needs)
    return found


def test_each_environment_has_its_tests() -> None:
    local, ssh = names(Slurm()), names(SlurmOverSSH(host="login"))
    inside = names(SingularitySlurm(host="login"), ("a", "b", "a"))
    assert "host key" not in local
    assert {"host name", "host key", "login", "forwarding", "Python"} <= set(ssh)
    assert {"container executable", "container", "versions", "binds", "data a", "data b"} <= set(inside)
    assert "Python" not in inside
    assert len(inside) == len(set(inside))
    assert "tunnel" not in names(SlurmOverSSH(host="login", scheduler="job"))


def test_only_slurm_is_checked() -> None:
    with pytest.raises(SpecificationError, match="Slurm"):
        check_site(LocalHost())
    with pytest.raises(SpecificationError, match="no site"):
        check_site("nowhere")


def test_an_unknown_host(tmp_path: Path) -> None:
    env = SlurmOverSSH(host="ada@no-such-host.invalid")
    results = {r.name: r for r in check_site(env)}
    assert results["host name"].ok is False
    assert "VPN" in results["host name"].remedy
    assert {r.ok for name, r in results.items() if name not in ("settings", "host name")} == {None}


SINFO = (
    "main*|up|1-00:00:00|n/a|2|idle|16|32000|(null)|n[1-2]\nold|inact|1:00:00|n/a|2|idle|16|32000|(null)|o[1-2]\n"
    "ill|up|1-00:00:00|n/a|1|down*|16|32000|(null)|i1\nill|up|1-00:00:00|n/a|1|drained|16|32000|(null)|i2\n"
)


@pytest.mark.parametrize(
    ("settings", "evidence", "remedy"),
    [
        ({"queue": "fast"}, "no partition 'fast'", "main (at most"),
        ({"sbatch_options": {"p": "fast"}, "queue": "main"}, "no partition 'fast'", "main (at most"),
        ({"queue": "old"}, "takes no jobs", "main"),
        ({"queue": "ill"}, "no node", "main"),
        ({"walltime": "2-00:00:00"}, "allows 1-00:00:00", "a.env.walltime"),
    ],
)
def test_partitions(settings: dict[str, Any], evidence: str, remedy: str) -> None:
    (partition,) = [s for s in slurm_steps() if s.name == "partition"]
    (result,) = run([partition], FakeShell({"sinfo": (SINFO, "", 0)}), Slurm(**settings))
    assert result.ok is False
    assert evidence in result.evidence
    assert remedy in result.remedy


def test_the_default_partition() -> None:
    (partition,) = [s for s in slurm_steps() if s.name == "partition"]
    (result,) = run([partition], FakeShell({"sinfo": (SINFO, "", 0)}))
    assert result.ok
    assert "main (the default one)" in result.evidence


@pytest.mark.parametrize(
    ("said", "ok"),
    [(("bio\nchem\n", "", 0), False), (("Lab\n", "", 0), True), (("", "no accounting", 1), True)],
)
def test_accounts(said: tuple[str, str, int], ok: bool) -> None:
    (account,) = [s for s in slurm_steps() if s.name == "account"]
    (result,) = run([account], FakeShell({"sacctmgr": said}), Slurm(account="lab"))
    assert result.ok is ok
    assert ok or "bio, chem" in result.remedy


def test_scratch_is_left_as_it_was(tmp_path: Path) -> None:
    (scratch,) = [s for s in slurm_steps() if s.name == "scratch"]
    place = tmp_path / "not there/yet more"
    visit = Visit(Slurm(working_directory=str(place)), LocalShell(), home=str(tmp_path))

    async def work() -> CheckResult:
        (result,) = await run_steps([scratch], visit)
        assert (place / visit.name / "tmp").is_dir()
        await remove_folder(visit)
        return result

    result = asyncio.run(work())
    assert result.ok, result
    assert "GB left" in result.evidence
    assert list(tmp_path.iterdir()) == []


def test_scratch_that_is_a_file(tmp_path: Path) -> None:
    (scratch,) = [s for s in slurm_steps() if s.name == "scratch"]
    place = tmp_path / "file"
    place.touch()
    visit = Visit(Slurm(working_directory=str(place)), LocalShell(), home=str(tmp_path))
    (result,) = asyncio.run(run_steps([scratch], visit))
    assert result.ok is False
    assert "a.env.working_directory" in result.remedy


def test_what_cannot_be_removed_is_told() -> None:
    visit = Visit(Slurm(), FakeShell({"rm -rf": ("", "busy", 1)}), folder="/scratch/ada/x")
    result = asyncio.run(checks.tidy_up(visit))
    assert result is not None
    assert result.ok is False
    assert "rm -r /scratch/ada/x" in result.remedy
    assert asyncio.run(checks.tidy_up(Visit(Slurm(), FakeShell()))) is None


def test_data(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    folder.mkdir()
    for k in range(3):
        (folder / f"cell {k}.txt").touch()
    patterns = [str(folder / "cell ?.txt"), str(folder / "*.csv")]
    found, missing = asyncio.run(
        run_steps(data_steps(patterns), Visit(Slurm(), LocalShell(), home=str(tmp_path)))
    )
    assert found.ok
    assert found.evidence.startswith("3 files on this computer, 3 on the cluster")
    assert missing.ok is False
    assert "directory_mapping" in missing.remedy
    away = SlurmOverSSH(host="login", directory_mapping={str(folder): "/data"}, stage_data="never")
    (result,) = asyncio.run(run_steps(data_steps(patterns[:1]), Visit(away, LocalShell(), home="/home/ada")))
    assert result.ok is False
    assert "/data/cell ?.txt" in result.evidence


def test_the_program_finds_itself(tmp_path: Path) -> None:
    heard, called = tmp_path / "listen.json", tmp_path / "call.json"
    listening = threading.Thread(
        target=check_program.listen, args=(str(heard), "lo", "secret", 20), daemon=True
    )
    listening.start()
    ends = time.monotonic() + 10
    while not heard.exists() and time.monotonic() < ends:
        time.sleep(0.02)
    place = json.loads(heard.read_text())
    assert place["host"] == place["interfaces"]["lo"] == "127.0.0.1"
    with socket.create_connection(("127.0.0.1", place["port"]), 5) as stranger:
        stranger.sendall(b"guess\n")
        assert stranger.recv(10) == b""
    words = ["call", str(called), "lo", "secret", "127.0.0.1", str(place["port"])]
    subprocess.run([sys.executable, "-I", str(check_program.__file__), *words], check=True, timeout=30)
    assert json.loads(called.read_text())["reached"] is True
    with socket.create_connection(("127.0.0.1", place["port"]), 5) as link:
        link.sendall(b"secret stop\n")
    listening.join(10)
    assert not listening.is_alive()
    check_program.call(str(called), "lo", "secret", "127.0.0.1", place["port"])
    refused = json.loads(called.read_text())
    assert refused["reached"] is False
    assert "refused" in refused["error"]
    check_program.listen(str(heard), "no-such", "secret", 1)
    assert "no interface" in json.loads(heard.read_text())["error"]


def cli(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["sites", *words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_list_and_show() -> None:
    listed = json.loads(cli("list", "--json"))
    assert {"maestro", "gpulab", "tars"} <= {site["name"] for site in listed}
    assert "maestro.pasteur.fr" in cli("list")
    shown = cli("show", "maestro", "--username", "ada")
    for part in ("module load apptainer", "#SBATCH", "/pasteur/appa/scratch/ada/tramway_dask/runs/RUN"):
        assert part in shown
    assert "did you mean 'maestro'" in cli("show", "mestro", code=2)


def test_check_prints_ticks_and_crosses(monkeypatch: pytest.MonkeyPatch) -> None:
    results = [
        CheckResult("name", True, "seen [bold]"),
        CheckResult("key", False, "changed", "ask"),
        CheckResult("x", None, "not tried"),
    ]

    def fake(env: Any, *, report: Any, **options: Any) -> list[CheckResult]:
        assert env.username == "ada"
        assert options == {"data": ("a*",), "job": False, "job_seconds": 120.0}
        for result in results:
            report(result)
        return results

    monkeypatch.setattr(checks, "check_site", fake)
    words = ("check", "maestro", "--no-job", "--data", "a*", "--username", "ada")
    said = cli(*words, code=1)
    assert "seen [bold]" in said
    assert "→ ask" in said
    assert "1 of 3 tests failed, 1 not tried" in said
    assert json.loads(cli(*words, "--json", code=1))[1]["remedy"] == "ask"
    del results[1]
    assert "No test failed: 1 passed, 1 not tried" in cli(*words)


def test_new_replaces_nothing(tmp_path: Path) -> None:
    there = tmp_path / "lab.yaml"
    there.write_text("mine")
    assert "not replaced" in cli("new", "lab", "--host", "ada@login", "-o", str(there), code=2)
    assert there.read_text() == "mine"
    assert "already" in cli("new", "Maestro", "--host", "ada@login", code=2)
    assert "expected letters" in cli("new", "../lab", "--host", "ada@login", code=2)
    assert "user@host" in cli("new", "lab", "--host", "ada@", "-o", str(tmp_path / "x.yaml"), code=2)


def test_commands_have_help() -> None:
    assert isinstance(main.commands["sites"], click.Group)
    for command in ("list", "show", "check", "new"):
        assert "Usage" in cli(command, "--help")
