"""Detached runs on the test site: started, left alone, looked at from other processes, fetched."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from site_fixtures import Site

pytestmark = pytest.mark.site

IMAGE = "/scratch/alice/batch images/lab.sif"
RUNS = "/scratch/alice/batch runs"

# the user's script: data, a stage of its own, a site
SCRIPT = """
import os
from pathlib import Path
os.chdir(Path.home())
from tramway_dask import simulate
from tramway_dask.analyzer import *

class Lab(environments.SingularitySlurm):
    @classmethod
    def hostname(cls): return "login"
    @classmethod
    def scratch(cls, username): return "/scratch/" + username
    @classmethod
    def remote_dependencies(cls): return "module load singularity"

DELAY = float(os.environ.get("DELAY", 0))

def build(results, files=3, slowly=False, **settings):
    folder = Path("fields")
    folder.mkdir(exist_ok=True)
    for i in range(files):
        path = folder / f"cell{i}.trxyt"
        if not path.exists():
            table = simulate.random_walk(
                diffusivity=.1, box=((0, 0), (2, 2)), trajectory_count=100, duration=4, time_step=.04, seed=i
            )
            table.to_csv(path, sep="\\t", header=False, index=False)
    a = RWAnalyzer(results=results)
    a.spt_data.from_ascii_files([f"fields/cell{i}.trxyt" for i in range(files)])
    a.spt_data.localization_precision = .01
    a.roi.from_squares([[.5, .5], [1.5, 1.5]], .8)
    a.tesseller = tessellers.Hexagons(resolution=.25)
    a.mapper = models.DV(diffusivity_prior=1, potential_prior=.1)
    a.pipeline.append_stage(stages.tessellate())
    if slowly:
        a.pipeline.append_stage(wait_a_little, granularity="roi")
    a.pipeline.append_stage(stages.infer(map_label="dv"))
    common = dict(
        username="alice", container="IMAGE", interface="ib0", queue="main", walltime="00:10:00",
        memory="1 GiB", worker_count=2, working_directory="RUNS", start_timeout=60.,
        reconcile_interval=1.5,
    )
    a.env = Lab(**{**common, **settings})
    return a

def wait_a_little(a):
    from idle import sleep
    for region in a.roi.as_support_regions():
        sleep(DELAY)

def same(a, name):
    b = build(name, len(list(a.spt_data)))
    b.env = None
    assert b.run(progress=False).ok
    for kind in ("cells", "assignment", "dv"):
        assert a.results.table("segmentation", kind).equals(b.results.table("segmentation", kind)), kind
"""


@pytest.fixture(scope="module")
def script(site: Site, image: Path) -> Iterator[str]:
    """Put the image on scratch; return the script."""
    on_login(site, f"mkdir -m 700 -p {shlex.quote(str(Path(IMAGE).parent))}")
    # a module that only the function of the script imports
    (Path(site.info["laptop"]["home_on_machine"]) / "idle.py").write_text("from time import sleep\n")
    machine = Path(site.info["cluster"]["scratch_on_machine"]) / Path(IMAGE).relative_to("/scratch")
    subprocess.run(["cp", str(image), str(machine)], check=True)
    machine.chmod(0o644)
    yield SCRIPT.replace("IMAGE", IMAGE).replace("RUNS", RUNS)
    on_login(site, f"rm -rf {shlex.quote(str(Path(IMAGE).parent))} {shlex.quote(RUNS)}")


def on_login(site: Site, text: str, host: str = "login") -> str:
    return site.run(host, "alice", ["bash", "-lc", text]).stdout


def laptop(site: Site, script: str, text: str, **options: Any) -> str:
    """Run the user's script and some lines more in a new process of the laptop."""
    env = {k: v for k, v in os.environ.items() if k.startswith("DASK_TRAMWAY__")}
    env |= options.pop("env", {})
    return site.python(f"{script}\n{text}", env=env, **options)


def command(site: Site, *words: str, check: bool = True) -> Any:
    """Run the command of the package on the laptop."""
    settings = [f"{k}={v}" for k, v in os.environ.items() if k.startswith("DASK_TRAMWAY__")]
    argv = ["env", *settings, sys.executable, "-c", "from tramway_dask.cli import main; main()", *words]
    return site.run("laptop", "tester", argv, check=check)


def started(site: Site, script: str, results: str, slowly: bool = False, files: int = 3, **env: str) -> str:
    """Start a detached run in a process that ends at once; return its name."""
    text = f"print('RUN', build({results!r}, {files}, {slowly}).run(detach=True).run_id)"
    output = laptop(site, script, text, env=env)
    return output.split("RUN ")[1].split()[0]


def until(site: Site, run: str, wanted: Any, timeout: float = 240) -> dict[str, Any]:
    ends = time.monotonic() + timeout
    while True:
        done = command(site, "status", run, "--json", check=False)
        assert done.stdout, done.stderr
        status = json.loads(done.stdout)
        if wanted(status):
            return status
        assert time.monotonic() < ends, status
        time.sleep(1)


def count(status: dict[str, Any], what: str) -> int:
    return sum(row[what] for row in status["units"])


def left_behind(site: Site, run: str) -> str:
    """Return jobs and processes of a run."""
    jobs = on_login(site, f"squeue --noheader --me --format='%i %j %T' | grep {run} || true")
    processes = [
        on_login(site, f"ps -u alice -o pid,args | grep '[p]ython.*{run}' || true", host)
        for host in ("login", "node1", "node2")
    ]
    return jobs + "".join(processes)


def test_run_goes_on_while_nobody_is_there(site: Site, script: str) -> None:
    run = started(site, script, "res-a")
    folder = f"{RUNS}/runs/{run}"
    assert site.mode(folder) == "700"
    assert {site.mode(f"{folder}/{name}") for name in ("analyzer.pkl", "tls/key.pem", "driver.json")} == {
        "600"
    }
    record = f"{site.info['laptop']['home']}/.tramway_dask/runs/{run}.json"
    assert site.mode(record, "laptop") == "600"
    # the laptop's process has ended; now its network goes as well
    site.cut("on")
    try:
        ends = time.monotonic() + 90
        while '"state": "done"' not in on_login(
            site, f"cat {shlex.quote(folder)}/status.json 2>/dev/null || true"
        ):
            assert time.monotonic() < ends, on_login(site, f"tail -n 40 {shlex.quote(folder)}/logs/*")
            time.sleep(1)
    finally:
        site.cut("off")
    status = until(site, run, lambda s: s["over"])
    assert status["state"] == "done"
    assert (count(status, "done"), count(status, "failed"), count(status, "left")) == (12, 0, 0)
    assert f"run {run}: done" in command(site, "status", run[-6:]).stdout
    output = laptop(
        site,
        script,
        f"""
a = build("res-a")
h = a.attach({run!r})
status = h.fetch()
assert status.state == "done", status
report = a.plan()
assert not report.todo, report
same(a, "res-a-local")
h.fetch()  # again, to no effect
print(len(a.maps("dv")), h.logs())
""",
    )
    assert "no unit has failed" in output
    listed = json.loads(command(site, "runs", "--json").stdout)
    assert [r for r in listed if r["run_id"] == run and r["fetched"]]
    command(site, "clean", run)
    assert not left_behind(site, run)
    assert run not in on_login(site, f"ls {shlex.quote(RUNS)}/runs")
    assert "no run" in command(site, "status", run, check=False).stderr


def test_cancelled_run_leaves_nothing(site: Site, script: str) -> None:
    run = started(site, script, "res-b", slowly=True, DELAY="20")
    status = until(site, run, lambda s: s["state"] == "running" and count(s, "done") > 0)
    assert status["workers"] > 0
    assert "still in the queue" in command(site, "clean", run, check=False).stderr
    command(site, "cancel", run)
    assert not left_behind(site, run)
    assert "key.pem" not in on_login(site, f"find {shlex.quote(RUNS)}/runs/{run}")
    status = json.loads(command(site, "status", run, "--json", check=False).stdout)
    assert status["state"] == "cancelled", status
    done = laptop(site, script, f"a = build('res-b'); a.attach({run!r}).fetch(); print(len(a.plan().todo))")
    assert 0 < int(done) < 12
    command(site, "clean", run)
    assert run not in on_login(site, f"find {shlex.quote(RUNS)}")


def job_of(status: dict[str, Any], what: str, state: str = "RUNNING") -> str:
    return next(j["id"] for j in status["jobs"] if (j["what"], j["state"]) == (what, state))


def test_jobs_that_are_lost_are_replaced(site: Site, script: str) -> None:
    run = started(site, script, "res-c", slowly=True, files=6, DELAY="6")
    logs = f"{shlex.quote(RUNS)}/runs/{run}/logs"
    status = until(site, run, lambda s: count(s, "done") >= 3)
    assert "takes over if the driver is lost" in str(status["jobs"])
    # the workers, those in reserve as well
    on_login(site, f"scancel --name=tramway-{run}-workers")
    status = until(site, run, lambda s: "more" in on_login(site, f"cat {logs}/*-driver-*.log"))
    assert "worker jobs more" in on_login(site, f"cat {logs}/*-driver-*.log")
    # the driver, as if it had used too much memory; then its successor, by its time limit
    for node in ("node1", "node2"):
        site.run(node, "alice", ["pkill", "-KILL", "-f", f"environments.driver .*{run}"], check=False)
    status = until(site, run, lambda s: s["drivers"] == 2 and s["workers"])
    assert "by driver 2" in status["why"]
    second = job_of(status, "driver")
    on_login(site, f"scontrol update jobid={second} timelimit=0")
    status = until(site, run, lambda s: s["drivers"] == 3 or s["over"])
    assert not status["over"], status
    status = until(site, run, lambda s: s["over"])
    assert status["state"] == "done", status
    assert "TIME LIMIT" in on_login(site, f"cat {logs}/*-driver-{second}.log")
    laptop(
        site,
        script,
        f"a = build('res-c', 6); a.attach({run!r}).fetch(); same(a, 'res-c-local'); a.attach().clean()",
    )
    assert not left_behind(site, run)


def test_stopped_run_is_resumed_or_repeated(site: Site, script: str) -> None:
    run = started(site, script, "res-g", slowly=True, DELAY="20")
    status = until(site, run, lambda s: count(s, "done") >= 3)
    assert "goes on" in command(site, "resume", run, check=False).stderr
    # as somebody would who knows only Slurm; nobody takes over from who was cancelled
    on_login(site, f"scancel {job_of(status, 'driver')}")
    status = until(site, run, lambda s: s["over"])
    assert status["state"] == "cancelled", status
    deadline = time.monotonic() + 30
    while left_behind(site, run) and time.monotonic() < deadline:
        time.sleep(1)
    assert not left_behind(site, run)
    assert "key.pem" not in on_login(site, f"find {shlex.quote(RUNS)}/runs/{run}")
    # another process, which knows the latest run only
    left = int(
        laptop(
            site,
            script,
            "a = build('res-g', slowly=True); h = a.attach(); h.fetch(); print(len(a.plan().todo))",
        )
    )
    assert 0 < left < 18
    command(site, "resume", run)
    status = until(site, run, lambda s: s["state"] == "running" and count(s, "skipped") == 18 - left)
    command(site, "cancel", run)
    second = started(site, script, "res-g", slowly=True, DELAY="0")
    status = until(site, second, lambda s: s["over"])
    assert status["state"] == "done", status
    assert count(status, "done") == left
    laptop(
        site,
        script,
        f"""
a = build("res-g")
h = a.attach({second!r})
h.fetch()
same(a, "res-g-local")
try:
    a.run(detach=True)
except Exception as error:
    assert "nothing is to be done" in str(error), error
else:
    raise AssertionError("it was submitted")
for handle in (h, a.attach({run!r})):
    handle.clean()
""",
    )
    assert not left_behind(site, second)


def test_failed_units(site: Site, script: str) -> None:
    broken = (
        script
        + """
def broken(a):
    for region in a.roi.as_support_regions():
        if region.index == 1:
            raise ValueError("this region is too blue")

a = build("res-d")
a.pipeline.append_stage(broken, granularity="roi")
"""
    )
    run = laptop(site, broken, "print('RUN', a.run(detach=True).run_id)").split("RUN ")[1].split()[0]
    status = until(site, run, lambda s: s["over"])
    assert (status["state"], count(status, "failed")) == ("failed", 3)
    told = command(site, "logs", run).stdout
    assert "too blue" in told
    assert told.count("in broken") == 3
    assert command(site, "fetch", run, check=False).returncode == 1
    laptop(site, broken, "assert len(a.results.read_failures()) == 3; assert len(a.maps('dv')) > 0")
    command(site, "clean", run)


# settings of the environment, and what is said; of interactive runs, most is in test_slurm_site.py
WRONG = {
    "user": ("username='nobody'", "nobody@login: login refused"),
    "host key": ("ssh_options={'known_hosts': OTHER_KEY}", "HOST KEY HAS CHANGED"),
    "scratch": ("working_directory='/proc/alice'", "cannot write to /proc/alice"),
    "partition": ("queue='fast'", "partition"),
    "forbidden": ("queue='closed'", "partition"),
    "time": ("queue='short', walltime='00:30:00', scheduler_walltime='00:30:00'", "time"),
    "container": ("container='absent.sif'", "absent.sif' is neither at"),
    "checksum": ("container='http://127.0.0.1:18801/small.sif#sha256=' + 64 * '0'", "its checksum is not"),
    "python": ("container=environments.SingularitySlurm.default_container('312')", "is for Python 3.12"),
    "drift": ("local_directory='/tmp'", "2020.1.0 here"),
}

INTERACTIVE = ("checksum", "python")
TRIALS = """
import json
from tramway_dask.environments import singularity
from tramway_dask.errors import TramwayDaskError
OTHER_KEY = b"login " + Path(".ssh/id_bob.pub").read_bytes()
true = singularity.installed_versions
found = []
for name, settings in WRONG.items():
    for detach in (True, False) if name in INTERACTIVE else (True,):
        a = build("res-e", 1, **eval(f"dict({settings})"))
        if name == "drift":
            singularity.installed_versions = lambda: {**true(), "dask": "2020.1.0"}
        try:
            a.run(**(dict(detach=True) if detach else dict(progress=False)))
        except TramwayDaskError as error:
            found.append([name, detach, type(error).__name__, str(error)])
        else:
            found.append([name, detach, "nothing", ""])
        a.env.close()
print("FOUND", json.dumps(found))
"""


def test_what_is_wrong_is_told_and_leaves_nothing(site: Site, script: str) -> None:
    home = Path(site.info["laptop"]["home_on_machine"])
    public = site.folder / "keys/bob.pub"
    (home / ".ssh/id_bob.pub").write_text(" ".join(public.read_text().split()[:2]) + "\n")
    served = f"{RUNS}/web"
    look = (
        "squeue --noheader --me; find /home/alice /scratch/alice -name '*.pem'; ps -u alice -o args= | grep "
        f"'[p]ython'; ls {shlex.quote(RUNS)}/runs 2>/dev/null; true"
    )
    on_login(site, f"mkdir -p {shlex.quote(served)} && echo hello > {shlex.quote(served)}/small.sif")
    server = site.popen(
        *("login", "alice", ["python3", "-m", "http.server", "18801", "--bind", "127.0.0.1", "--directory", served]),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        on_login(site, "until curl -s -o /dev/null http://127.0.0.1:18801/; do sleep 0.1; done")
        before = on_login(site, look)
        wrong = {name: settings for name, (settings, _) in WRONG.items()}
        output = laptop(
            site, script, f"WRONG = {wrong!r}\nINTERACTIVE = {INTERACTIVE!r}\n{TRIALS}", timeout=300
        )
        found = json.loads(output.split("FOUND ")[1])
        assert len(found) == len(WRONG) + len(INTERACTIVE)
        for name, detach, kind, message in found:
            assert kind in ("ClusterError", "UnreachableError", "SpecificationError"), (name, detach, kind)
            assert WRONG[name][1] in message, (name, detach, message)
            assert "Traceback" not in message
        assert len(message) < 2000
        deadline = time.monotonic() + 30
        while on_login(site, look) != before and time.monotonic() < deadline:
            time.sleep(1)
        # logs of a scheduler whose jobs were refused may stay
        assert set(on_login(site, look).splitlines()) - set(before.splitlines()) <= set(
            on_login(site, f"ls {shlex.quote(RUNS)}/runs").split()
        )
    finally:
        site.kill(server)
        server.wait(timeout=10)
        on_login(site, f"rm -rf {shlex.quote(served)}")
    records = home / ".tramway_dask/runs"
    assert not [path for path in records.glob("*.json") if "res-e" in path.read_text()]


ROOT = Path(__file__).resolve().parents[1]
PLAIN = f"""
from tramway_dask.environments import Slurm, SlurmOverSSH
def plainly(a, cls, **settings):
    a.env = cls(
        interface="ib0", queue="main", memory="1 GiB", walltime="00:10:00", worker_count=1, python={sys.executable!r},
        prologue=("export PYTHONPATH={ROOT}",), reconcile_interval=1.5, working_directory={RUNS!r}, **settings,
    )
    a.pipeline.append_stage(leave_word, granularity="source")
    a.pipeline.add_collectible("word.txt")
    a.pipeline.add_collectible("/scratch/alice/word too.txt")
    return a

def leave_word(a):
    Path("word.txt").write_text("from a worker")
    Path("/scratch/alice/word too.txt").write_text("too")
"""


def test_without_container(site: Site, script: str) -> None:
    """Detached, over SSH and on the login node itself; both at once."""
    text = f"{script}\n{PLAIN}"
    on_laptop = laptop(
        site,
        text,
        "print('RUN', plainly(build('res-h', 1), SlurmOverSSH, host='alice@login').run(detach=True).run_id)",
    )
    home = Path(site.info["cluster"]["home_on_machine"]) / "alice"

    def here(more: str) -> str:
        """Run it on the login node, as a user would who has a Python there."""
        (home / "there.py").write_text(f"{text}\n{more}")
        (home / "there.py").chmod(0o644)
        words = ["env", f"PYTHONPATH={ROOT}", "OMP_NUM_THREADS=1", sys.executable, "/home/alice/there.py"]
        return site.run("login", "alice", words).stdout

    there = here("print('RUN', plainly(build('res-h', 1), Slurm).run(detach=True).run_id)")
    first, second = (output.split("RUN ")[1].split()[0] for output in (on_laptop, there))
    end = """
a = build('res-h', 1)
h = a.attach()
status = h.wait(90, interval=1)
assert status.state == "done", (status, h.logs())
h.fetch()
assert h.received > 0
same(a, "res-h-local")
assert Path("word.txt").read_text() == "from a worker"
assert (a.results.folder / "collected/word too.txt").read_text() == "too"
h.fetch()
print("RECEIVED", h.received, h.run_id)
h.clean()
"""
    assert f"RECEIVED 0 {first}" in laptop(site, text, end)
    assert f"RECEIVED 0 {second}" in here(end)
    for run in (first, second):
        assert not left_behind(site, run)
    on_login(
        site, "rm -rf ~/there.py ~/fields ~/res-h* ~/word.txt ~/.tramway_dask '/scratch/alice/word too.txt'"
    )


def test_run_of_a_configuration(site: Site, script: str) -> None:
    home = Path(site.info["laptop"]["home_on_machine"])
    sites = home / ".config/dask"
    # files that only the cluster has, with their regions beside them
    laptop(site, script, "build('res-f')")
    owned = Path(site.info["cluster"]["scratch_on_machine"]) / "alice/own data"
    owned.mkdir()
    for path in (home / "fields").glob("cell[0-2].trxyt"):  # other tests make more
        (owned / path.name).write_bytes(path.read_bytes())
        (owned / f"{path.stem}-roi.txt").write_text(
            "x min\tx max\ty min\ty max\n0.1\t0.9\t0.1\t0.9\n1.1\t1.9\t1.1\t1.9\n"
        )
    sites.mkdir(parents=True, exist_ok=True)
    settings = {
        "hostname": "alice@login",
        "scratch": "/scratch/{username}",
        "remote_dependencies": "module load singularity",
        "container": IMAGE,
        "interface": "ib0",
        "queue": "main",
        "memory": "1 GiB",
        "working_directory": RUNS,
    }
    (sites / "sites.yaml").write_text(json.dumps({"tramway": {"sites": {"lab": settings}}}))
    (home / "run.toml").write_text(
        """
results = "res-f"
[spt_data]
localization_precision = 0.01
[spt_data.from_ascii_files]
pattern = "/scratch/alice/own data/*.trxyt"
[roi.from_ascii_files]
suffix = "roi"
[tesseller]
type = "Hexagons"
resolution = 0.25
[mapper]
type = "D"
diffusivity_prior = 1.0
[env]
type = "SingularitySlurm"
worker_count = 1
walltime = "00:05:00"
[[stages]]
stage = "tessellate_and_infer"
map_label = "d"
"""
    )
    toml = f"{site.info['laptop']['home']}/run.toml"
    data = on_login(site, f"ls '{RUNS}/data' 2>/dev/null || true")
    try:
        planned = command(site, "plan", toml, "--site", "lab").stdout
        assert "alice@login:/scratch/alice/own data/cell0.trxyt" in planned
        assert "files: 3 on alice@login, 0 here" in planned
        output = command(site, "run", toml, "--site", "lab", "--detach").stdout
        run = output.split("run ")[1].split()[0]
        listed = {r["run_id"]: r for r in json.loads(command(site, "runs", "--json").stdout)}
        assert listed[run]["workers"] == 1
        assert listed[run]["parameters"]["walltime"] == "00:05:00"
        assert run in command(site, "status", run, "--wait").stdout
        assert "done" in command(site, "fetch", run).stdout
        assert "6 done" in command(site, "plan", toml, "--site", "lab").stdout
        assert on_login(site, f"ls '{RUNS}/data' 2>/dev/null || true") == data, "nothing was uploaded"
        command(site, "clean", run)
    finally:
        (sites / "sites.yaml").unlink()
