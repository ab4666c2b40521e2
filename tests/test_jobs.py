"""Job scripts and their submission, without a cluster."""

from __future__ import annotations

import asyncio
import os
import pickle
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramway_dask.analyzer import RWAnalyzer, environments, mapper
from tramway_dask.analyzer.env.environments import SingularitySlurm
from tramway_dask.environments import GPULab, Maestro, Slurm, SlurmOverSSH, Tars
from tramway_dask.environments.jobs import JobSettings, directives, scheduler_script, worker_script
from tramway_dask.environments.remote import SlurmPool
from tramway_dask.environments.runfolder import RunFolder, new_run_id
from tramway_dask.environments.session import check_timeouts
from tramway_dask.environments.shell import Completed
from tramway_dask.environments.slurmtext import PLAIN
from tramway_dask.environments.submission import Submitter, job_states, parse_job_id
from tramway_dask.environments.usercode import modules_by_value, user_modules
from tramway_dask.environments.usermodules import user_files
from tramway_dask.errors import ClusterError, SpecificationError, UnknownAttributeError

SETTINGS = JobSettings(
    name="tramway-1", folder="/scratch/me/runs/1", python="env A=1 python3 -s", walltime="01:00:00"
)
HOSTILE = """it's; touch /tmp/bad $(x) `y` "z" \\ * é"""

GOLDEN = r"""#!/usr/bin/env bash

#SBATCH -J tramway-1
#SBATCH -n 1
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH -t 01:00:00
#SBATCH --output=/scratch/me/runs/1/logs/%x-%A_%a.log
#SBATCH --nodes=1
#SBATCH --no-requeue
#SBATCH --open-mode=append
names=(w-0 w-1)
export TRAMWAY_WORKER="${names[${SLURM_ARRAY_TASK_ID:-0}]}"
"""


def words_of(script: str) -> list[str]:
    """Return the words of the line that starts Python, as a shell reads them."""
    (line,) = [s for s in script.splitlines() if "distributed.cli.dask_worker" in s]
    return shlex.split(line)


def checked(script: str) -> str:
    """Have Bash read a script without running it."""
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    return script


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def test_worker_script() -> None:
    script = checked(worker_script(SETTINGS, names=("w-0", "w-1"), address="tls://10.0.0.1:8786"))
    assert script.startswith(GOLDEN)
    words = words_of(script)
    assert words[:8] == [
        *("env", "A=1", "python3", "-s", "-m", "distributed.cli.dask_worker"),
        *("tls://10.0.0.1:8786", "--name"),
    ]
    assert after(words, "--nthreads") == "1"
    assert after(words, "--memory-limit") == "4.00GiB"
    assert after(words, "--death-timeout") == "300"
    assert after(words, "--protocol") == "tls://"
    for option, name in (("--tls-ca-file", "ca"), ("--tls-cert", "cert"), ("--tls-key", "key")):
        assert after(words, option) == f"/scratch/me/runs/1/tls/{name}.pem"
    assert "--nanny" in words
    assert "--no-dashboard" in words
    assert words[words.index("--dashboard-address") + 1] == "127.0.0.1:0"
    assert "--interface" not in words
    assert "-- None" not in script


def test_lines_come_in_order() -> None:
    script = worker_script(replace(SETTINGS, prologue=["module load x"], before_python=["export Y=1"]))
    lines = script.splitlines()
    where = [next(i for i, s in enumerate(lines) if s.startswith(p)) for p in
             ("#SBATCH", "module load x", "names=", "ends=", "export Y=1", "cd ", "env A=1")]  # fmt: skip
    assert where == sorted(where)
    last_directive = max(i for i, s in enumerate(lines) if s.startswith("#SBATCH"))
    assert all(s.startswith("#") or not s for s in lines[:last_directive]), (
        "sbatch stops at the first command"
    )


def test_worker_name_is_that_of_its_place_in_the_array(tmp_path: Path) -> None:
    script = worker_script(
        replace(SETTINGS, folder=str(tmp_path), python="echo"),
        names=("w 0", "w'1", "$w"),
        address="tls://a:1",
    )
    for k, name in enumerate(("w 0", "w'1", "$w")):
        environ = {**os.environ, "SLURM_ARRAY_TASK_ID": str(k), "SLURM_JOB_ID": "1"}
        done = subprocess.run(
            ["bash", "-s"], input=script, env=environ, capture_output=True, text=True, check=True
        )
        assert f"--name {name} --nthreads" in done.stdout


def test_lifetime_ends_before_the_job(tmp_path: Path) -> None:
    fake = tmp_path / "squeue"
    script = worker_script(
        replace(SETTINGS, folder=str(tmp_path), python="echo L=$DASK_DISTRIBUTED__WORKER__LIFETIME__DURATION")
    )
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "1"}
    environ |= {"SLURM_TIME_FORMAT": "relative", "SQUEUE_STATES": "PENDING"}  # of a person's profile
    for answer, low, high in (
        ("$(date -d '+1 hour' +%FT%T)", 3470, 3481),
        ("$(date -d '+100 seconds' +%FT%T)", 75, 81),
    ):
        fake.write_text(
            f'#!/bin/bash\n[ "$SLURM_TIME_FORMAT$SQUEUE_STATES" = standard ] && echo "{answer}"\n'
        )
        fake.chmod(0o755)
        done = subprocess.run(
            ["bash", "-s"], input=script, env=environ, capture_output=True, text=True, check=True
        )
        assert low <= int(done.stdout.split()[0][2:-1]) <= high
    for answer in ("N/A", "UNLIMITED", ""):
        fake.write_text(f'#!/bin/bash\necho "{answer}"\n')
        done = subprocess.run(
            ["bash", "-s"], input=script, env=environ, capture_output=True, text=True, check=True
        )
        assert done.stdout.split()[0] == "L="


@settings(max_examples=25, deadline=None)
@given(
    st.text(
        st.characters(exclude_characters="\x00\n\r", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20
    )
)
def test_hostile_words_stay_words(text: str) -> None:
    settings_ = replace(SETTINGS, folder=f"/scratch/{text}", local_directory=f"/tmp/{text}", interface=text)
    script = checked(worker_script(settings_, names=(text,)))
    words = words_of(script)
    assert after(words, "--interface") == text
    assert after(words, "--local-directory") == f"/tmp/{text}"
    assert after(words, "--tls-key") == f"/scratch/{text}/tls/key.pem"
    (names,) = [s for s in script.splitlines() if s.startswith("names=(")]
    assert shlex.split(names[len("names=(") : -1]) == [text]


def test_hostile_words_run(tmp_path: Path) -> None:
    folder = tmp_path / "it's $(touch bad); `touch bad`"
    folder.mkdir()
    script = worker_script(replace(SETTINGS, folder=str(folder), python="pwd; echo"), names=(HOSTILE,))
    done = subprocess.run(
        ["bash", "-s"], input=script, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[0] == str(folder)
    assert HOSTILE in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]
    assert not list(folder.iterdir())


def test_directives() -> None:
    options = {"qos": "fast", "p": "long", "exclusive": True, "hold": False, "mail_user": "a b", "x": None}
    assert directives(options) == ["--qos=fast", "-p long", "--exclusive", "--mail-user='a b'"]
    for name in ("array", "a", "output", "o", "error", "wrap", "parsable", "dependency", "d"):
        with pytest.raises(SpecificationError, match=f"'{name}' is set by the package"):
            directives({name: 1})


@pytest.mark.parametrize(
    ("name", "value", "gone", "line"),
    [
        ("p", "gpu", "#SBATCH -p main", "#SBATCH -p gpu"),
        ("partition", "gpu", "#SBATCH -p main", "#SBATCH --partition=gpu"),
        ("c", 4, "#SBATCH --cpus-per-task=1", "#SBATCH -c 4"),
        ("cpus_per_task", 4, "#SBATCH --cpus-per-task=1", "#SBATCH --cpus-per-task=4"),
        ("mem", "9G", "#SBATCH --mem=4G", "#SBATCH --mem=9G"),
        ("t", "1-0", "#SBATCH -t 01:00:00", "#SBATCH -t 1-0"),
        ("A", "lab", "#SBATCH -A mine", "#SBATCH -A lab"),
    ],
)
def test_options_of_sbatch_replace_ours(name: str, value: Any, gone: str, line: str) -> None:
    plain = replace(SETTINGS, queue="main", account="mine", walltime="01:00:00")
    lines = worker_script(plain).splitlines()
    assert gone in lines
    assert line not in lines
    lines = worker_script(replace(plain, options={name: value})).splitlines()
    assert line in lines
    assert gone not in lines


def test_first_import_outside_the_main_thread() -> None:
    program = """
import signal, threading
from tramway_dask.environments.jobs import JobSettings, worker_script
settings = JobSettings("name", "/folder", "python3")
before, install = signal.getsignal(signal.SIGINT), signal.signal
made = []
thread = threading.Thread(target=lambda: made.append(worker_script(settings)))
thread.start()
thread.join()
made.append(worker_script(settings))
assert made[0] == made[1] and "dask_worker" in made[0], made
assert signal.getsignal(signal.SIGINT) is before and signal.signal is install
"""
    subprocess.run([sys.executable, "-W", "error::ResourceWarning", "-c", program], check=True)


def test_scheduler_script() -> None:
    script = checked(
        scheduler_script(
            replace(SETTINGS, prologue=["module load x"], walltime="02:00:00"),
            "exec run it",
            walltime="03:00:00",
        )
    )
    assert "#SBATCH -t 03:00:00\n" in script
    assert "--array" not in script
    assert script.endswith("module load x\ncd /scratch/me/runs/1 || exit 1\nexec run it\n")


def test_adapter_of_the_documentation() -> None:
    class Maestro(SingularitySlurm):
        @classmethod
        def hostname(cls): return 'maestro.pasteur.fr'  # fmt: skip

        @classmethod
        def scratch(cls, username): return os.path.join('/pasteur/sonic/scratch/users', username)  # fmt: skip

        @classmethod
        def singularity_options(cls): return '-B /pasteur'  # fmt: skip

        @classmethod
        def remote_dependencies(cls): return 'module load singularity'  # fmt: skip

    def my_func(cells): ...

    a = RWAnalyzer()
    a.mapper = mapper.MapperPlugin(my_func)
    a.env = Maestro
    a.env.username = "ada"
    a.env.container = "my_container.sif"
    script = checked(a.env.job_script())
    assert "\nmodule load singularity\n" in script
    words = words_of(script)
    runs = "/pasteur/sonic/scratch/users/ada/tramway_dask"
    assert words[:2] == ["singularity", "exec"]
    assert after(words, "-H") == f"{runs}/runs/RUN/home"
    assert (words[words.index("python") - 3 : words.index("python") + 4]) == [
        "-B",
        "/pasteur",
        "/home/ada/my_container.sif",
        "python",
        "-s",
        "-m",
        "distributed.cli.dask_worker",
    ]
    assert "-B /home/ada" in script
    assert a.env.login_node() == ("maestro.pasteur.fr", "ada")
    a.env.container = a.env.default_container(python_version="311")
    assert a.env.container.endswith("-py311.sif")
    assert "-py311.sif python -s" in a.env.job_script()
    assert not a.env.is_running


@pytest.mark.parametrize(
    ("env", "executable", "place"),
    [(Maestro, "apptainer", "/pasteur/appa/scratch/ada"), (Tars, "singularity", "/pasteur/scratch/users/ada"),
     (GPULab, "singularity", "/master/home/ada/scratch")],
)  # fmt: skip
def test_known_sites(env: Any, executable: str, place: str) -> None:
    e = env(username="ada")
    script = checked(e.job_script())
    words = words_of(script)
    assert words[:3] == [executable, "exec", "--cleanenv"]
    assert after(words, "-H").startswith(place)
    assert f"{executable.upper()}ENV_" in script


def test_slurm_with_and_without_ssh() -> None:
    options = {"queue": "long", "account": "lab", "interface": "ib0", "cores": 2, "memory": "3 GiB",
               "walltime": "1-02:00:00", "python": "/opt/python/bin/python"}  # fmt: skip
    for env in (Slurm(**options), SlurmOverSSH(host="ada@login", **options)):
        script = checked(env.job_script())
        for line in ("-p long", "-A lab", "--cpus-per-task=2", "--mem=3G", "-t 1-02:00:00"):
            assert f"#SBATCH {line}\n" in script
        words = words_of(script)
        assert words[:4] == ["env", "PYTHONNOUSERSITE=1", "/opt/python/bin/python", "-s"]
        assert after(words, "--nthreads") == "2"
        assert after(words, "--interface") == "ib0"
    assert "/home/ada/.tramway_dask/runs/RUN" in script


def test_aliases() -> None:
    e = SlurmOverSSH(host="ada@login")
    e.wc, e.wd, e.partition = 7, "work", "long"
    assert (e.worker_count, e.working_directory, e.queue) == (7, "work", "long")
    assert "/home/ada/work/runs/RUN" in e.job_script()
    with pytest.warns(DeprecationWarning, match="srun"):
        e.srun_options = {"p": "x"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("walltime", "4 hours"), ("walltime", 3600), ("memory", "lots"), ("cores", 0), ("worker_count", -1),
        ("sbatch_options", "-p main"), ("sbatch_options", {"array": "0-3"}), ("scheduler", "here"),
        ("directory_mapping", ["/a"]), ("stage_data", "often"), ("max_array", 0), ("port", 0),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_at_once(name: str, value: Any) -> None:
    with pytest.raises(SpecificationError, match=name):
        setattr(SlurmOverSSH(host="login"), name, value)


def test_misspelt_option() -> None:
    with pytest.raises(UnknownAttributeError, match="walltime"):
        SlurmOverSSH(host="login").waltime = "01:00:00"


@pytest.mark.parametrize(
    ("env", "settings_", "match"),
    [
        (SlurmOverSSH, {}, "no host"),
        (Maestro, {"username": "ada", "container": "https://"}, "container|address|URL|name"),
        (environments.SingularitySlurm, {"container": "x.sif"}, "no host"),
    ],
)
def test_wrong_options_fail_before_anything_is_started(
    env: Any, settings_: dict[str, Any], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    e = env(**settings_)
    monkeypatch.setattr("tramway_dask.environments.ssh.Connection", lambda *_, **__: pytest.fail("connected"))
    with pytest.raises((SpecificationError, ClusterError), match=match):
        e.start()


def test_job_id_below_a_banner() -> None:
    assert parse_job_id("123\n") == "123"
    assert parse_job_id("123;cluster\n") == "123"
    assert parse_job_id("** Welcome 2024 **\nQuota: 12\n\n 456 \n") == "456"
    for text in ("", "Submitted batch job\n", "12 34"):
        with pytest.raises(ClusterError, match="did not say the number"):
            parse_job_id(text)


class Shell:
    """A shell that answers as told, and remembers what it was asked."""

    host = "login"

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str | None]] = []

    async def run(
        self, command: str, *, input: str | None = None, check: bool = True, timeout: float = 60
    ) -> Any:
        self.asked.append((command, input))
        answer = self.answers.pop(0) if self.answers else Completed("", "", 0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def submitter(shell: Shell, max_array: int = 1000) -> Submitter:
    return Submitter(RunFolder(shell, "1", "/scratch/me/runs/1", SETTINGS, None), max_array)


def submit(shell: Shell, count: int, **options: Any) -> list[Any]:
    async def work() -> list[Any]:
        s = submitter(shell, **options)
        return await asyncio.gather(*(s.submit(f"w-{k}") for k in range(count)), return_exceptions=True)

    return asyncio.run(work())


def test_one_command_for_all_workers() -> None:
    shell = Shell(Completed("banner\n77\n", "", 0))
    assert submit(shell, 100) == [f"77_{k}" for k in range(100)]
    ((command, script),) = shell.asked
    names = " ".join(f"w-{k}" for k in range(100))
    noted = f"umask 077 && echo 'tramway-1-0 {names}' >> /scratch/me/runs/1/jobs.txt"
    assert command == f"{PLAIN}{noted} && sbatch --parsable --array=0-99"
    assert script is not None
    assert "w-99" in checked(script)


def test_arrays_within_the_limit() -> None:
    shell = Shell(Completed("7\n", "", 0), Completed("8\n", "", 0), Completed("9\n", "", 0))
    assert submit(shell, 100, max_array=40) == [
        *(f"7_{k}" for k in range(40)), *(f"8_{k}" for k in range(40)), *(f"9_{k}" for k in range(20)),
    ]  # fmt: skip
    assert [c.rpartition("=")[2] for c, _ in shell.asked] == ["0-39", "0-39", "0-19"]
    names = [s.split("-J ")[1].split()[0] for _, s in shell.asked if s]
    assert len(set(names)) == 3, "each array is found by its name"


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ("sbatch: error: invalid partition specified: fast\nsbatch: error: Batch job submission failed: "
         "Invalid partition name specified", "partition"),
        ("sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some "
         "limit)", "time"),
        ("bash: sbatch: command not found", "no Slurm"),
        ("something new", "something new"),
    ],
)  # fmt: skip
def test_refusals_are_told(said: str, match: str) -> None:
    shell = Shell(Completed("", said, 1))
    errors = submit(shell, 3)
    assert all(isinstance(e, ClusterError) for e in errors)
    assert all(match in str(e) for e in errors)
    assert len(shell.asked) == 1, "not tried again"


@pytest.mark.parametrize(
    "lost",
    [
        Completed(
            "", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", 1
        ),
        ClusterError("the link broke: it may have been carried out or not"),
    ],
)
def test_a_lost_answer_is_looked_up(lost: Any) -> None:
    shell = Shell(lost, Completed("55\n55\n", "", 0))
    assert submit(shell, 2) == ["55_0", "55_1"]
    assert "--name=tramway-1-0" in shell.asked[1][0]
    errors = submit(Shell(lost, Completed("", "", 0)), 2)
    assert all("nothing was submitted" in str(e) for e in errors)


def test_jobs_are_cancelled_together() -> None:
    shell = Shell()

    async def work() -> None:
        s = submitter(shell)
        await asyncio.gather(*(s.cancel(f"7_{k}") for k in range(50)))

    asyncio.run(work())
    ((command, _),) = shell.asked
    assert command.split() == ["scancel", *(f"7_{k}" for k in range(50))]


def test_states_of_jobs() -> None:
    shell = Shell(
        Completed("7_0|tramway-1-0|RUNNING|None|2026-01-01T00:00:00\n7_1|tramway-1-0|PENDING|Resources|N/A\n"
                  "9|other|RUNNING|None|x\nnonsense\n", "", 0)
    )  # fmt: skip
    assert asyncio.run(job_states(shell, "tramway-1")) == {
        "7_0": ("RUNNING", "None", "2026-01-01T00:00:00"),
        "7_1": ("PENDING", "Resources", "N/A"),
    }


def test_runs_have_names_of_their_own() -> None:
    assert len({new_run_id() for _ in range(50)}) == 50


def test_modules_beside_the_script_travel(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").write_text("from . import inner\n")
    (tmp_path / "package/inner.py").write_text("SCALE = 3\ndef times(x):\n    return SCALE * x\n")
    (tmp_path / "module.py").write_text("import package\ndef f(x):\n    return package.inner.times(x)\n")
    (tmp_path / "script.py").write_text(
        "import pickle, sys\n"
        "import module, numpy, tramway_dask\n"
        "from distributed.protocol.serialize import serialize\n"
        "from tramway_dask.environments.usercode import modules_by_value, user_modules\n"
        "print(sorted(m.__name__ for m in user_modules()))\n"
        "import cloudpickle\n"
        "with modules_by_value():\n"
        "    data = cloudpickle.dumps(module.f)\n"
        "print(sorted(cloudpickle.list_registry_pickle_by_value()))\n"
        "open('f.pickle', 'wb').write(data)\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    python = sys.executable
    done = subprocess.run(
        [python, "script.py"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["['module', 'package']", "[]"], done.stderr
    reader = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb'))(2))"
    done = subprocess.run(
        [python, "-c", reader, str(tmp_path / "f.pickle")],
        cwd="/",
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "6\n", done.stderr


def test_modules_that_functions_import_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_package/part").mkdir(parents=True)
    (tmp_path / "own_package/__init__.py").write_text("")
    (tmp_path / "own_package/table.csv").write_text("1,2\n")
    (tmp_path / "own_package/part/__init__.py").write_text(
        "def g():\n    import own_other\n    return own_other.V\n"
    )
    (tmp_path / "own_other.py").write_text("import json, numpy\nV = 7\n")
    (tmp_path / "own_unused.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def function(x: float) -> Any:
        def inner() -> Any:
            from own_package.part import g

            return g()

        import numpy as np

        return np.sum(x) + inner()

    function.__module__ = "__main__"  # as in a notebook
    files = user_files({"stage": [function]})
    assert sorted(files) == [
        "own_other.py", "own_package/__init__.py", "own_package/part/__init__.py", "own_package/table.csv",
    ]  # fmt: skip
    assert user_files(len, np.sum, Slurm()) == {}
    program = (
        "import pickle, sys; from pathlib import Path; from tramway_dask.environments.usermodules import install\n"
        "install(pickle.load(open(sys.argv[1], 'rb')), Path(sys.argv[2]))\n"
        "from own_package.part import g; print(g())"
    )
    (tmp_path / "files").write_bytes(pickle.dumps(files))
    words = [sys.executable, "-c", program, str(tmp_path / "files"), str(tmp_path / "there")]
    done = subprocess.run(words, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.stdout == "7\n", done.stderr
    (tmp_path / "own_package/fast.cpython-311.so").write_bytes(b"")
    with pytest.raises(SpecificationError, match=r"'own_package' cannot travel.*fast.*compiled"):
        user_files(function)


def test_installed_packages_do_not_travel() -> None:
    names = {m.__name__ for m in user_modules()}
    assert not names & {"numpy", "dask", "tramway_dask", "pytest"}
    with modules_by_value():
        pass


def test_timeouts_that_break_connections_are_refused() -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.tcp": "5s"}),
        pytest.raises(SpecificationError, match=r"comm\.timeouts\.tcp is 5s"),
    ):
        check_timeouts()
    check_timeouts()


def test_times_alone() -> None:
    assert [Slurm(alone_timeout=t).alone_for() for t in ("30 min", "90 s", "1 hour")] == [1800, 90, 3600]


def test_not_more_workers_than_units() -> None:
    env = Slurm(worker_count=5)
    assert env._asked_for() == 5
    env.expect(3)
    assert (env._asked_for(), env._capped) == (3, 3)
    asked = []
    env._cluster = SimpleNamespace(scale=asked.append)
    for units in (2, 4, 90):
        env.expect(units)
    assert asked == [4, 5]
    env._cluster = None
    env.expect(90)
    assert (env._asked_for(), env._capped) == (5, None)
    assert env._asked_for() == 5, "of another start, nothing is known"


def test_why_there_is_no_worker() -> None:
    def pool(*states: Any) -> Any:
        jobs = {str(i): SimpleNamespace(job_id=f"7_{i}") for i in range(len(states))}
        run = SimpleNamespace(inside=lambda name: f"/runs/x/{name}")
        known = {f"7_{i}": state for i, state in enumerate(states) if state}
        return SimpleNamespace(worker_spec=jobs, workers=jobs, states=known, _unreadable="", run=run)

    busy = pool(("PENDING", "Resources", ""), ("PENDING", "Resources", ""), ("RUNNING", "None", ""))
    why, hopeless = SlurmPool.absent(busy)
    assert "2 worker jobs waiting: the nodes are busy" in why
    assert "a worker job running, its worker is not connected (its log is in /runs/x/logs)" in why
    assert not hopeless
    why, hopeless = SlurmPool.absent(pool(("PENDING", "ReservationDeleted", "")))
    assert "reservation was deleted" in why
    assert hopeless
    assert SlurmPool.absent(pool(None)) == ("a worker job not in the queue", False)
    assert SlurmPool.absent(pool()) == ("none was asked for: a.env.scale(n) asks for n", False)
    env = Slurm(worker_timeout=60.0)
    env._cluster = SimpleNamespace(absent=lambda: (why, False))
    assert env.absent(59) == why
    with pytest.raises(ClusterError, match="61 s: .*reservation was deleted"):
        env.absent(61)
