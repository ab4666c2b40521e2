"""A person's session on the laptop of the test site, and looks at its cluster."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from site_fixtures import Site

ROOT = Path(__file__).resolve().parents[1]
RUNS = "/scratch/alice/tramway_dask/runs"
ANSWERS_WITHIN = 240.0  # s

BESIDE = """
import beside_too

class Counter:
    step = 2.0

def count(cells):
    return beside_too.table(cells) * Counter.step
"""
BESIDE_TOO = """
import pandas as pd

def table(cells):
    return pd.DataFrame({"count": [float(len(cells[i])) for i in cells]}, index=list(cells))
"""

# what a person would have in a script; the tests then go on in it, as in a console
SESSION = '''
import json, logging, os, sys, threading, time as clock, traceback
from pathlib import Path

BEGAN = clock.perf_counter()
os.chdir(os.path.expanduser("~"))
import beside
import pandas as pd
from tramway_dask import simulate
from tramway_dask.analyzer import *
from tramway_dask.analyzer.env.environments import SingularitySlurm
from tramway_dask.environments import Slurm, SlurmOverSSH
from tramway_dask.errors import *

logging.getLogger("asyncssh").setLevel("ERROR")


class Lab(SingularitySlurm):
    @classmethod
    def hostname(cls):
        return "login"

    @classmethod
    def scratch(cls, username):
        return os.path.join("/scratch", username)

    @classmethod
    def remote_dependencies(cls):
        return "module load singularity"


OFFSET = 1.0


def from_main(cells):
    return beside.count(cells) + OFFSET


def slow(cells, pause=0.5, mark="x"):
    """Say that a unit is done, in a file that the workers share."""
    clock.sleep(pause)
    folder = Path("/scratch/alice/tramway_dask/marks") / mark
    folder.mkdir(parents=True, exist_ok=True)
    unit = "-".join(str(len(cells[i])) for i in cells)
    with open(folder / unit, "a") as file:
        file.write("once\\n")
    return pd.DataFrame({"count": [float(len(cells[i])) for i in cells]}, index=list(cells))


def configured(env, **settings):
    common = dict(
        username="alice", container="lab.sif", interface="ib0", worker_count=2, memory="1 GiB",
        walltime="00:10:00", reconcile_interval=1.5,
    )
    for name, value in {**common, **settings}.items():
        if name != "container" or hasattr(env, "container"):
            setattr(env, name, value)
    return env


def fields(count=2, folder="data", number=120):
    paths = [Path(folder) / f"cell{i}.trxyt" for i in range(count)]
    for i, path in enumerate(paths):
        if not path.exists():
            path.parent.mkdir(exist_ok=True, parents=True)
            walk = simulate.random_walk(
                diffusivity=0.1, box=((0, 0), (2, 2)), trajectory_count=number, duration=2, time_step=0.04, seed=i
            )
            walk.to_csv(path, sep="\\t", header=False, index=False)
    return [str(p) for p in paths]


def analyzer(results, mapper_, env, files=None, squares=((0.5, 0.5), (1.5, 1.5))):
    a = RWAnalyzer(results=results, mapper=mapper_, env=env)
    a.spt_data.from_ascii_files(files or fields())
    a.spt_data.localization_precision = 0.01
    a.roi.from_squares([list(s) for s in squares], 0.8)
    a.tesseller = tessellers.Hexagons(resolution=0.2)
    a.pipeline.append_stage(stages.tessellate_and_infer(map_label="m"))
    return a


GRID = [(0.45 + 0.22 * i, 0.45 + 0.22 * j) for i in range(6) for j in range(4)]


class Running:
    """A run in a thread, of 48 units of some tenths of a second."""

    def __init__(self, mark, env, pause=0.4):
        self.a = analyzer(mark, mapper.from_callable(slow, pause=pause, mark=mark), env, squares=GRID)
        self.error = self.report = None
        self.thread = threading.Thread(target=self.go, daemon=True)
        self.thread.start()

    def go(self):
        try:
            self.report = self.a.run(progress=False)
        except BaseException as error:
            self.error = error

    def wait(self, timeout=240):
        self.thread.join(timeout)
        alive = self.thread.is_alive()
        r = self.report
        return dict(
            alive=alive, error=type(self.error).__name__ if self.error else None, message=str(self.error),
            done=r and r.done, failed=r and r.failed, skipped=r and r.skipped,
        )


def trial(env):
    """Start an environment that cannot work; return what it says, and how long it took."""
    began = clock.perf_counter()
    try:
        with env:
            analyzer("never", mapper.from_callable(slow, pause=0.0, mark="never"), env).run(progress=False)
    except TramwayDaskError as error:
        return [type(error).__name__, str(error), clock.perf_counter() - began]
    return ["nothing", "", clock.perf_counter() - began]


def main():
    sys.stdout.flush()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            globals()["answer"] = None
            exec(json.loads(line), globals())
            answer = ["ok", globals()["answer"]]
        except BaseException:
            answer = ["error", traceback.format_exc()]
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
'''


class Session:
    """A Python on the laptop that goes on while the tests do something to the cluster."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.log = Path(site.info["laptop"]["home_on_machine"]) / f"session-{time.monotonic_ns()}.log"
        home = self.log.parent
        (home / "beside.py").write_text(BESIDE)
        (home / "beside_too.py").write_text(BESIDE_TOO)
        words = site.python_words(SESSION, env={"PYTHONPATH": str(ROOT)})
        self._errors = self.log.open("w")
        self.process = site.popen("laptop", "tester", words, stderr=self._errors)
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def send(self, code: str) -> None:
        """Start a piece of code."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(textwrap.dedent(code)) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """Return what the code has set `answer` to."""
        try:
            line = self._answers.get(timeout=ANSWERS_WITHIN)
        except queue.Empty:
            raise AssertionError(
                f"no answer within {ANSWERS_WITHIN:g} s:\n{self.log.read_text()[-4000:]}"
            ) from None
        assert line, f"the session has ended:\n{self.log.read_text()[-4000:]}"
        state, value = json.loads(line)
        assert state == "ok", f"{value}\n{self.log.read_text()[-3000:]}"
        return value

    def do(self, code: str) -> Any:
        """Run code to its end."""
        self.send(code)
        return self.answer()

    def close(self) -> None:
        """End the session as a person does."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=90)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        self.site.kill(self.process)
        self.process.wait(timeout=10)
        self._reader.join(timeout=10)
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            assert stream is not None
            stream.close()


def on_login(site: Site, text: str, user: str = "alice", check: bool = True) -> str:
    return site.run("login", user, ["bash", "-lc", text], check=check).stdout


def until(condition: Callable[[], Any], timeout: float = 120, what: str = "") -> Any:
    ends = time.monotonic() + timeout
    while time.monotonic() < ends:
        found = condition()
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError(f"not within {timeout} s: {what}")


def jobs(site: Site) -> list[str]:
    return on_login(site, "env -u SQUEUE_STATES squeue --noheader --me --array --format=%i").split()


def processes(site: Site) -> list[str]:
    """Return what runs as alice on the login node, but for connections."""
    lines = site.run("login", "root", ["ps", "-u", "alice", "-o", "args="], check=False).stdout.splitlines()
    return [line for line in lines if not line.startswith(("sshd", "ps ", "bash -lc"))]


def nothing_left(site: Site) -> None:
    """Assert that no job, process, run folder or key is there."""
    until(lambda: not jobs(site), what="no job in squeue")
    until(lambda: not processes(site), 60, "no process on login")
    assert on_login(site, f"find {RUNS} /home/alice -name '*.pem' 2>/dev/null", check=False) == ""
    assert on_login(site, f"ls {RUNS} 2>/dev/null", check=False) == ""


@pytest.fixture(scope="module")
def cluster(site: Site, image: Path) -> Iterator[Site]:
    """Put the image in the user's home folder."""
    home = Path(site.info["cluster"]["home_on_machine"]) / "alice"
    shutil.copy(image, home / "lab.sif")
    (home / "lab.sif").chmod(0o644)
    yield site
    site.cut("off")
    subprocess.run(["rm", "-f", str(home / "lab.sif")], check=True)
    on_login(site, "rm -rf /scratch/alice/tramway_dask")


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> str:
    return request.node.name.removeprefix("test_")


def executions(site: Site, mark: str) -> list[int]:
    """Return how many times each unit was executed."""
    folder = f"/scratch/alice/tramway_dask/marks/{mark}"
    text = on_login(site, f"[ -d {folder} ] && wc -l {folder}/*", check=False)
    return [int(line.split()[0]) for line in text.splitlines() if "total" not in line]


def some_done(site: Site, mark: str, count: int) -> None:
    until(lambda: len(executions(site, mark)) >= count, what=f"{count} units of {mark}")
