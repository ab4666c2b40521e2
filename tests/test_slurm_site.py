"""Runs on Slurm, from a laptop that reaches the login node only: the same maps, whatever happens."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from site_fixtures import Site
from site_sessions import (
    BESIDE,
    BESIDE_TOO,
    ROOT,
    RUNS,
    SESSION,
    Session,
    executions,
    jobs,
    nothing_left,
    on_login,
    processes,
    some_done,
    until,
)  # fmt: skip

pytestmark = pytest.mark.site


@pytest.fixture(scope="module")
def lab(cluster: Site) -> Iterator[Session]:
    """Open an environment of two workers in containers, which the tests share."""
    session = Session(cluster)
    try:
        # its jobs outlast the tests: that they are replaced at their walltime would look like jobs left behind
        session.do(
            "env = configured(Lab(), walltime='02:00:00'); env.__enter__(); started = clock.perf_counter() - BEGAN"
        )
        yield session
        session.do("env.close()")
        nothing_left(cluster)
    finally:
        session.close()


def test_same_maps_as_on_the_laptop(lab: Session) -> None:
    found = lab.do(
        """
        made = []
        for name, where in (("cluster", env), ("here", None)):
            a = analyzer(f"dv-{name}", models.DV(diffusivity_prior=1, potential_prior=0.1), where, fields(3))
            r = a.run(progress=False)
            made.append(a.results.table("segmentation", "m"))
            if where is env:
                first = clock.perf_counter() - BEGAN
        answer = [r.done, r.failed, made[0].equals(made[1]), made[0].num_rows, started, first]
        """
    )
    assert found[:3] == [6, 0, True]
    assert found[3] > 50
    print(f"environment after {found[4]:.1f} s, first result after {found[5]:.1f} s")
    assert found[5] < 45  # seconds from the start of Python to the maps; a loaded machine is slow


def test_stage_over_all_files(lab: Session) -> None:
    returned, expected = lab.do(
        """
        def lengths(a):
            return [(s.path, len(s.dataframe)) for s in a.spt_data]

        a = analyzer("all-files", models.D(), env)
        a.pipeline.append_stage(lengths, granularity="full dataset")
        r = a.run(progress=False)
        answer = [r.returned.get(("lengths", "", ""), str(r)), [len(s.dataframe) for s in a.spt_data]]
        """
    )
    assert [n for _, n in returned] == expected, returned
    assert all(path.startswith("/scratch/alice/") for path, _ in returned)


def test_functions_of_the_script_and_of_modules_beside_it(lab: Session) -> None:
    found = lab.do(
        """
        Path("lib/tools/inner").mkdir(parents=True)
        Path("lib/tools/__init__.py").write_text("")
        Path("lib/tools/inner/__init__.py").write_text("import tools_too\\nSTEP = tools_too.STEP\\n")
        Path("lib/tools_too.py").write_text("STEP = 3.0\\n")
        sys.path.append(os.path.abspath("lib"))

        def imports_inside(cells):
            from tools.inner import STEP
            return beside.count(cells) * STEP

        answer = []
        for function in (from_main, beside.count, imports_inside):
            made = []
            for name, where in (("cluster", env), ("here", None)):
                a = analyzer(f"{function.__name__}-{name}", mapper.MapperPlugin(function), where)
                r = a.run(progress=False)
                made.append(a.results.table("segmentation", "m") if r.ok else str(r))
            answer.append(made[0] if isinstance(made[0], str) else bool(made[0].equals(made[1])))
        """
    )
    assert found == [True, True, True]


def test_files_are_sent_once(cluster: Site, lab: Session) -> None:
    lab.do(
        """
        files = [*fields(1, "one", 60), *fields(1, "two", 61)]
        first = env.stage(files)
        sent = []
        upload = env._connection.upload
        async def counted(local, remote, **options):
            sent.append(str(remote))
            return await upload(local, remote, **options)
        env._connection.upload = counted
        """
    )
    paths, sent = lab.do("answer = [list(env.stage(files).values()), sent]")
    assert sent == []
    assert len(set(paths)) == 2, "files of the same name"
    assert {p.rpartition("/")[2] for p in paths} == {"cell0.trxyt"}
    assert cluster.mode(paths[0]) == "600"
    # a copy that is there already is used, if its content is the same
    on_login(
        cluster, f"mkdir -p /scratch/alice/tramway_dask/own && cp {paths[0]} /scratch/alice/tramway_dask/own/"
    )
    mapped = lab.do(
        """
        env.directory_mapping = {"~/one": "/scratch/alice/tramway_dask/own", "~/two": "/scratch/alice/tramway_dask/own"}
        answer = list(env.stage(files).values())
        """
    )
    assert mapped == ["/scratch/alice/tramway_dask/own/cell0.trxyt", paths[1]]
    kind, message = lab.do(
        """
        env.stage_data = "never"
        try:
            env.stage(fields(1, "three", 62))
        except TramwayDaskError as error:
            answer = [type(error).__name__, str(error)]
        env.stage_data, env.directory_mapping = "auto", {}
        env._connection.upload = upload
        """
    )
    assert kind == "DataError"
    assert "three/cell0.trxyt" in message
    assert "stage_data" in message


def test_files_that_only_the_cluster_has(cluster: Site, lab: Session) -> None:
    there = Path(cluster.info["cluster"]["scratch_on_machine"]) / "alice/tramway_dask/own"
    found = lab.do(
        """
        texts = [Path(p).read_text() for p in fields(2)]
        roi = "x\\ty\\n0.5\\t0.5\\n1.5\\t1.5\\n"
        answer = texts
        """
    )
    folder = there / "a day"
    on_login(cluster, "mkdir -p '/scratch/alice/tramway_dask/own/a day'")
    for i, text in enumerate(found):
        (folder / f"cell{i}.trxyt").write_text(text)
        (folder / f"cell{i}_roi.txt").write_text("x\ty\n0.5\t0.5\n1.5\t1.5\n")
    found = lab.do(
        """
        env.directory_mapping = {"~/mirrored": "/scratch/alice/tramway_dask/own"}
        sent, asked = [], []
        link = env._connection
        upload, plain = link.upload, link.run
        async def counted(local, remote, **options):
            sent.append(str(remote))
            return await upload(local, remote, **options)
        async def noted(command, **options):
            asked.append(command)
            return await plain(command, **options)
        link.upload, link.run = counted, noted

        def of(results, pattern, where):
            a = RWAnalyzer(results=results, mapper=models.D())
            a.spt_data.from_ascii_files(pattern)
            a.spt_data.localization_precision = 0.01
            a.roi.from_ascii_files(suffix="roi", size=0.8)
            a.tesseller = tessellers.Hexagons(resolution=0.2)
            a.pipeline.append_stage(stages.tessellate_and_infer(map_label="m"))
            a.env = where
            return a

        a = of("far", "~/mirrored/a day/cell*.*", env)
        planned = a.plan()
        plan = planned.to_frame()
        pool = ("squeue", "sacct", "scontrol", "sbatch")  # what the pool of workers asks for at any time
        questions = [c for c in asked if not any(word in c for word in pool)]
        report = a.run(progress=False)
        keys = sorted(u.task.key for u in planned)
        left = [sorted(key for _, key, _ in env.parts(wanted)) == wanted for wanted in (keys, keys[:1], [])]
        for i, name in enumerate(fields(2, "near")):
            Path(name).with_name(f"cell{i}_roi.txt").write_text(roi)
        b = of("near-results", "near/cell*.trxyt", None)
        b.run(progress=False)
        again = of("far", "near/cell*.trxyt", None).plan().to_frame()
        tables = [x.results.table("segmentation", "m") for x in (a, b)]
        c = of("far", "~/mirrored/nobody/*.csv", env)
        try:
            c.plan()
        except DataError as error:
            told = str(error)
        answer = [
            a.spt_data.aliases, plan["file"].unique().tolist(), questions, [report.done, report.failed], sent,
            tables[0].equals(tables[1]), set(again["status"]) == {"done"},
            a.spt_data[0].dataframe.equals(b.spt_data[0].dataframe), told, left,
        ]
        link.upload, link.run, env.directory_mapping = upload, plain, {}
        """
    )
    names, files, questions, report, sent, same, done, read, told, left = found
    assert names == ["cell0", "cell1"], "not the files of regions"
    assert files == [f"alice@login:/scratch/alice/tramway_dask/own/a day/cell{i}.trxyt" for i in range(2)]
    assert len(questions) == 3, f"not: list, compare, read regions, but {questions}"
    assert (report, sent) == ([4, 0], [])
    assert same, "the same maps as from the same files on the laptop"
    assert done, "and the same results: neither names nor keys tell where a file was"
    assert read, "looked at on the laptop, a table is fetched"
    assert left == [True] * 3, "copies of these results, and of no others"
    assert "neither here nor on alice@login" in told
    assert "/scratch/alice/tramway_dask/own/nobody/*.csv" in told


def test_others_are_kept_out(cluster: Site, lab: Session) -> None:
    run, address = lab.do("answer = [env.cluster.run.path, env.cluster.scheduler.address]")
    for name in ("", "/tls", "/parts", "/logs"):
        assert cluster.mode(run + name) == "700", name
    for name in ("key", "cert", "ca"):
        assert cluster.mode(f"{run}/tls/{name}.pem") == "600"
    assert cluster.mode(f"{run}/scheduler.yaml") == "600"
    open_to_others = on_login(cluster, f"find {run} ! -type l -perm /077")
    assert open_to_others.split() == []
    for command in (f"ls {run}", f"cat {run}/tls/key.pem", f"cat {run}/scheduler.json"):
        assert cluster.run("login", "bob", ["bash", "-c", command], check=False).returncode
    program = f"""
from distributed import Client
from distributed.security import Security
for address, security in (({address.replace("tls://", "tcp://")!r}, None), ({address!r}, Security.temporary())):
    try:
        Client(address, security=security, timeout=4)
    except Exception as error:
        print("refused", type(error).__name__)
"""
    said = cluster.run("login", "bob", [sys.executable, "-c", program]).stdout
    assert [line.split()[0] for line in said.splitlines()] == ["refused", "refused"]


def test_scale_while_running(cluster: Site, lab: Session, mark: str) -> None:
    lab.do(f"run = Running({mark!r}, env); env.scale(3)")
    some_done(cluster, mark, 4)
    until(lambda: len(jobs(cluster)) == 3, what="three jobs")
    until(lambda: lab.do("answer = len(env.client.scheduler_info()['workers'])") == 3, what="three workers")
    lab.do("env.scale(1)")
    until(lambda: len(jobs(cluster)) == 1, what="one job")
    lab.do("env.scale(2)")
    found = lab.do("answer = run.wait()")
    assert (found["done"], found["failed"], found["error"]) == (48, 0, None), found
    counts = executions(cluster, mark)
    assert len(counts) == 48
    assert sum(counts) <= 48 + 4, "only what was running is done again"


def test_killed_workers_are_replaced(cluster: Site, lab: Session, mark: str) -> None:
    until(lambda: len(jobs(cluster)) == 2, what="two jobs")
    lab.do(f"run = Running({mark!r}, env)")
    some_done(cluster, mark, 3)
    first, second = jobs(cluster)
    on_login(cluster, f"scancel {first}")
    on_login(cluster, f"scancel --signal=KILL --full {second}")
    found = lab.do("answer = run.wait()")
    assert (found["done"], found["failed"], found["error"]) == (48, 0, None), found
    until(lambda: len(jobs(cluster)) == 2, what="two jobs again")
    assert not {first, second} & set(jobs(cluster))


def test_link_silent_for_20_seconds(cluster: Site, lab: Session, mark: str) -> None:
    lab.do(f"run = Running({mark!r}, env, 0.6)")
    some_done(cluster, mark, 3)
    cluster.cut("on")
    try:
        time.sleep(20)
    finally:
        cluster.cut("off")
    found = lab.do("answer = run.wait()")
    assert (found["done"] + found["skipped"], found["failed"], found["error"]) == (48, 0, None), found
    assert len(executions(cluster, mark)) == 48


def test_link_reset(cluster: Site, lab: Session, mark: str) -> None:
    lab.do(f"run = Running({mark!r}, env, 0.6)")
    some_done(cluster, mark, 6)
    cluster.cut("reset")
    try:
        time.sleep(4)
    finally:
        cluster.cut("off")
    found = lab.do("answer = run.wait()")
    assert (found["error"], found["failed"]) == (None, 0), found
    counts = executions(cluster, mark)
    assert len(counts) == 48
    assert sum(counts) <= 48 + 6, "only what was running is done again"


@pytest.fixture(scope="module")
def other(cluster: Site) -> Iterator[Session]:
    """A second session, for what goes wrong."""
    session = Session(cluster)
    yield session
    session.close()


@pytest.fixture
def clean(cluster: Site, lab: Session) -> Iterator[set[str]]:
    """Check that a test leaves nothing, beside the shared environment."""
    before = (set(jobs(cluster)), set(processes(cluster)), set(on_login(cluster, f"ls {RUNS}").split()))
    yield before[0]
    until(lambda: set(jobs(cluster)) <= before[0], what="no job of the test")
    until(lambda: len(processes(cluster)) <= len(before[1]), 60, "no process of the test")
    left = set(on_login(cluster, f"ls {RUNS}").split()) - before[2]
    for name in left:  # logs of a run that went wrong may stay, keys may not
        assert on_login(cluster, f"ls {RUNS}/{name}").split().count("tls") == 0
        on_login(cluster, f"rm -rf {RUNS}/{name}")


WRONG = {
    "user": ("username='nobody'", "ClusterError", r"nobody|refuse"),
    "container": ("container='absent.sif'", "ClusterError", r"absent\.sif"),
    "scratch": ("working_directory='/proc/alice'", "ClusterError", r"cannot write to /proc/alice"),
    "partition": ("queue='fast'", "ClusterError", r"partition"),
    "closed": ("queue='closed'", "ClusterError", r"partition"),
    "walltime": ("queue='short', walltime='00:30:00'", "ClusterError", r"time"),
    "job": ("queue='fast', scheduler='job'", "ClusterError", r"no job for the scheduler.*partition"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told(clean: Any, other: Session, what: str) -> None:
    settings, kind, pattern = WRONG[what]
    found = other.do(f"answer = trial(configured(Lab(), {settings}))")
    assert found[0] == kind, found
    assert re.search(pattern, found[1], re.I | re.S), found
    assert "Traceback" not in found[1]


def test_wrong_host_key(cluster: Site, clean: Any, other: Session) -> None:
    known = Path(cluster.info["laptop"]["home_on_machine"]) / ".ssh/known_hosts"
    before = known.read_text()
    key = subprocess.run(
        "f=$(mktemp -u); ssh-keygen -q -t ed25519 -N '' -f $f && cut -d' ' -f1,2 $f.pub; rm -f $f $f.pub",
        shell=True, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    names = before.split()[0]
    try:
        known.write_text(f"{names} {key}")
        found = other.do("answer = trial(configured(Lab()))")
    finally:
        known.write_text(before)
    assert found[0] == "ClusterError"
    assert "key" in found[1]


def test_version_drift(clean: Any, other: Session) -> None:
    found = other.do(
        """
        from tramway_dask.environments import singularity
        true = singularity.installed_versions
        singularity.installed_versions = lambda: {**true(), "dask": "2020.1.0"}
        try:
            answer = trial(configured(Lab()))
        finally:
            singularity.installed_versions = true
        """
    )
    assert found[0] == "ClusterError"
    assert "dask is" in found[1]
    assert "2020.1.0 here" in found[1]


def test_budget_exhausted(clean: Any, other: Session) -> None:
    found = other.do(
        """
        answer = trial(configured(Lab(), worker_count=1, max_resubmits=1, prologue=(
            '[ -z "$SLURM_JOB_ID" ] || { echo the disk is full >&2; exit 3; }',)))
        """
    )
    assert found[0] == "ClusterError", found
    assert "2 worker jobs have ended before their time" in found[1]
    assert "disk is full" in found[1]


def test_walltime_reached(cluster: Site, clean: set[str], other: Session, mark: str) -> None:
    # a worker ends some seconds before its job; the next one takes over, which costs nothing of the budget
    found = other.do(
        f"""
        with configured(Lab(), worker_count=1, walltime="00:01:00", max_resubmits=0) as env6:
            answer = [Running({mark!r}, env6, 1.1).wait(), env6.cluster._serial, env6.cluster.problem]
        """
    )
    assert (found[0]["done"], found[0]["failed"], found[0]["error"]) == (48, 0, None), found
    assert found[1:] == [2, None]


def test_a_hundred_workers_in_three_commands(cluster: Site, clean: set[str], other: Session) -> None:
    found = other.do(
        """
        env2 = configured(Lab(), worker_count=1, max_array=60, max_jobs=101, sbatch_options={"begin": "now+1hour"})
        env2.__enter__()
        clock.sleep(1)
        commands = []
        link = env2._connection
        plain = link.run
        async def counted(command, **options):
            if "squeue" not in command.partition("; ")[2]:
                commands.append(command)
            return await plain(command, **options)
        link.run = counted
        env2.scale(101)
        clock.sleep(4)
        answer = commands
        """
    )
    assert ["sbatch" in c for c in found] == [True, True]
    assert [c.rpartition("--array=")[2] for c in found] == ["0-59", "0-39"]
    assert len(set(jobs(cluster)) - clean) == 101
    other.do("env2.close()")


def test_scheduler_killed(cluster: Site, clean: set[str], other: Session, mark: str) -> None:
    pid = other.do(
        f"env3 = configured(Lab()); env3.__enter__(); run = Running({mark!r}, env3); "
        "answer = env3.cluster.scheduler.pid"
    )
    some_done(cluster, mark, 8)
    on_login(cluster, f"kill -9 {pid}; pkill -9 -g {pid}", check=False)
    found = other.do("answer = run.wait()")
    assert found["error"] == "ClusterError", found
    assert "run again" in found["message"]
    other.do("env3.close()")
    done = sum(executions(cluster, mark))
    found = other.do(f"with configured(Lab()) as env3: answer = (again := Running({mark!r}, env3)).wait()")
    assert (found["error"], found["failed"]) == (None, 0), found
    assert found["skipped"] >= 6
    counts = executions(cluster, mark)
    assert len(counts) == 48
    assert sum(counts) <= 48 + 8, f"{done} before"


def test_scheduler_in_a_job(cluster: Site, clean: set[str], other: Session) -> None:
    found = other.do(
        """
        import urllib.request
        with configured(Lab(), scheduler="job", scheduler_walltime="00:20:00", worker_count=1) as env4:
            a = analyzer("in-job", models.D(), env4)
            r = a.run(progress=False)
            page = urllib.request.urlopen(env4.dashboard_link).status
            live = json.load(urllib.request.urlopen(env4.live_page + "/state"))
            maps = json.load(urllib.request.urlopen(f"{env4.live_page}/maps?units=0&run={live['run']}"))
            shown = [len(live["changes"]), maps["0"][0]["name"]]
            answer = [r.done, r.failed, env4.cluster.scheduler.address, page, *shown]
        """
    )
    assert found[:2] == [4, 0]
    assert found[2].startswith("tls://10.77.2.1")
    assert found[2].split(":")[1] != "//10.77.2.1", "not the login node"
    assert found[3:] == [200, 4, "m"]


def test_without_container(cluster: Site, clean: set[str], other: Session) -> None:
    python = repr(sys.executable)
    found = other.do(
        f"""
        plain = dict(python={python}, worker_count=1, working_directory="/scratch/alice/tramway_dask",
                     prologue=("export PYTHONPATH={ROOT}",))
        with configured(SlurmOverSSH(host="alice@login"), **plain) as env5:
            a = analyzer("plain", mapper.MapperPlugin(from_main), env5)
            r = a.run(progress=False)
        answer = [r.done, r.failed]
        """
    )
    assert found == [4, 0]


def test_on_the_login_node(cluster: Site, clean: set[str]) -> None:
    home = Path(cluster.info["cluster"]["home_on_machine"]) / "alice"
    program = (
        SESSION.partition("def main")[0]
        + f"""
env = Slurm(worker_count=1, memory="1 GiB", walltime="00:10:00", interface="ib0", queue="main",
            working_directory="/scratch/alice/tramway_dask", python={sys.executable!r},
            prologue=("export PYTHONPATH={ROOT}",), reconcile_interval=2.0)
if __name__ == "__main__":
    a = analyzer("/scratch/alice/tramway_dask/on-login", mapper.MapperPlugin(from_main), env)
    r = a.run(progress=False)
    print("report", r.done, r.failed, r)
"""
    )
    for name, text in (("beside.py", BESIDE), ("beside_too.py", BESIDE_TOO), ("on_login.py", program)):
        (home / name).write_text(text)
        (home / name).chmod(0o644)
    words = ["env", f"PYTHONPATH={ROOT}", "OMP_NUM_THREADS=1", sys.executable, "/home/alice/on_login.py"]
    said = cluster.run("login", "alice", words).stdout
    assert "report 4 0" in said
