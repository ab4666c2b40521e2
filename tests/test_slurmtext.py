from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramway_dask.environments.refusals import REFUSALS, explain_refusal
from tramway_dask.environments.slurmtext import (
    normal_state,
    parse_config,
    parse_modules,
    parse_records,
    parse_sinfo,
    parse_squeue,
    parse_test_only,
    task_numbers,
)
from tramway_dask.environments.slurmunits import (
    format_duration,
    format_memory,
    parse_duration,
    parse_memory,
    parse_time,
)
from tramway_dask.environments.slurmwords import REASONS, explain_end, explain_log, explain_waiting

# printed by Slurm 22.05.8 on the test site
REAL: dict[str, Any] = json.loads((Path(__file__).parent / "slurm_outputs.json").read_text())
SLURMISH = st.text(
    st.sampled_from("0123456789|_[]-,%:=.+*()\n NJobIdPartitionNameUNKNOWNsbatcherror: /"), max_size=200
)
ANY_TEXT = st.one_of(st.text(max_size=200), SLURMISH)


def test_jobs_of_squeue() -> None:
    jobs = {job.id: job for job in parse_squeue("Welcome to login\n\n" + REAL["squeue"])}
    assert list(jobs) == ["11_50", "12", "13", "14", "11_33", "9"]
    running = jobs["11_33"]
    assert (running.array, running.task, running.state, running.nodes) == ("11", 33, "RUNNING", "node1")
    assert (running.start, running.end, running.elapsed, running.limit) == (1795309676, 1795311476, 3, 1800)
    assert (jobs["9"].state, jobs["9"].reason, jobs["9"].task) == ("TIMEOUT", "TimeLimit", None)
    assert jobs["14"].start is None


def test_waiting_arrays_become_jobs() -> None:
    jobs = parse_squeue(REAL["squeue_unexpanded"])
    assert [job.task for job in jobs] == list(range(2, 51))
    assert {job.throttle for job in jobs} == {3}
    assert jobs[0].id == "11_2"


def test_names_may_hold_bars_and_times_may_be_local() -> None:
    line = "7|PD|(ReqNodeNotAvail, UnavailableNodes:n1)|2026-11-22T03:00:00|N/A|0:00|UNLIMITED|a,b||x|y"
    (job,) = parse_squeue(line, utc_offset=7200)
    assert (job.name, job.state, job.limit) == ("x|y", "PENDING", math.inf)
    assert job.start == parse_time("2026-11-22T01:00:00") == parse_time("2026-11-22T03:00:00+02:00")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4-7%2", ([4, 5, 6, 7], 2)),
        ("[0,2,9-10]", ([0, 2, 9, 10], None)),
        ("0-8:4", ([0, 4, 8], None)),
        ("1,2,5-...", ([1, 2], None)),
        ("", ([], None)),
        ("0-999999999", ([], None)),
        ("5-2", ([], None)),
    ],
)
def test_tasks(text: str, expected: tuple[list[int], int | None]) -> None:
    assert task_numbers(text) == expected


def test_nodes_of_sinfo() -> None:
    main, short = parse_sinfo(REAL["commands"]["sinfo"])
    assert (main.partition, main.default, main.up, main.limit, main.count) == ("main", True, True, 86400, 2)
    assert (main.cores, main.memory, main.state, main.gres) == (16, 32000 * 2**20, "idle", "")
    assert (short.default, short.limit, short.default_time) == (False, 600, 120)
    (mixed,) = parse_sinfo("gpu|up|infinite|n/a|3|down*|48+|192000+|gpu:a100:4|g[1-3]")
    assert (mixed.limit, mixed.state, mixed.cores, mixed.gres) == (math.inf, "down", 48, "gpu:a100:4")


def test_config() -> None:
    config = parse_config(REAL["commands"]["config"])
    assert (config["MaxArraySize"], config["SLURM_VERSION"], config["Licenses"]) == ("121", "22.05.8", "")
    assert config["SlurmctldHost[0]"] == "login(10.77.2.1)"
    assert config["SchedulerParameters"].startswith("sched_min_interval=200000,")


def test_partitions_on_one_or_several_lines() -> None:
    several = parse_records(REAL["partitions_lines"], "PartitionName")
    one = parse_records(REAL["commands"]["partitions"], "PartitionName")
    assert several == one
    assert (one[0]["Default"], one[0]["TRES"], one[0]["QoS"]) == (
        "YES",
        "cpu=32,mem=62.50G,node=2,billing=32",
        "",
    )


def test_job_records() -> None:
    jobs = {job["JobId"]: job for job in parse_records(REAL["jobs"], "JobId")}
    assert (jobs["11"]["ArrayTaskId"], jobs["11"]["JobState"]) == ("2-50%3", "PENDING")
    assert (jobs["10"]["ExitCode"], jobs["10"]["MinMemoryNode"], jobs["10"]["CPUs/Task"]) == (
        "0:9",
        "100M",
        "1",
    )
    end = explain_end(
        jobs["10"]["JobState"], exit_code="0:9", reason=jobs["10"]["Reason"], log=REAL["logs"]["memory"]
    )
    assert end.kind == "memory limit"
    assert (
        explain_end(jobs["8"]["JobState"], exit_code="0:53", reason="JobLaunchFailure").kind
        == "launch failure"
    )
    assert explain_end(jobs["7"]["JobState"], exit_code="0:0").kind == "done"
    assert explain_end(jobs["9"]["JobState"]).kind == "active"


LMOD = """
---------------------------- /opt/apps/modulefiles ----------------------------
   apptainer/1.1.9        gcc/12.2.0 (D)    singularity-ce/3.11.4 (L,D)
   apptainer/1.2.2 (D)    gcc/9.3.0         python/3.11 <aL>

  Where:
   D:  Default Module

If the avail list is too long consider trying:
"module --default avail" or "ml -d av" to just list the default modules.
Use "module spider" to find all possible modules and extensions.
"""


def test_modules() -> None:
    terse = parse_modules(REAL["commands"]["modules"])
    assert terse == [
        "singularity/4.1.0-standin",
        "dot",
        "module-git",
        "module-info",
        "modules",
        "null",
        "use.own",
    ]
    assert parse_modules(REAL["modules_columns"]) == terse
    names = parse_modules(LMOD)
    assert set(names) == {
        *(
            "apptainer/1.1.9",
            "apptainer/1.2.2",
            "gcc/12.2.0",
            "gcc/9.3.0",
            "singularity-ce/3.11.4",
            "python/3.11",
        )
    }
    assert parse_modules("/opt/modules/all:\ngcc/\ngcc/12.2.0(default)\n") == ["gcc", "gcc/12.2.0"]
    assert parse_modules('No module(s) or extension(s) found!\nUse "module spider"') == []


def test_test_only() -> None:
    expected = parse_test_only(REAL["test_only"])
    assert expected is not None
    assert (expected["nodes"], expected["partition"], expected["cores"]) == ("node1", "main", 1)
    assert expected["start"] == parse_time("2026-11-22T01:02:22")
    old = parse_test_only("sbatch: Job 7 to start at 2020-01-01T00:00:00 using 4 processors on n[1-2]")
    assert old is not None
    assert old["partition"] is None
    assert parse_test_only("allocation failure: Invalid qos specification") is None


REAL_KINDS = {
    "sbatch --test-only -p nopart": "partition",
    "sbatch --test-only -p closed": "permission",
    "sbatch --test-only -p short -t": "time limit",
    "sbatch -p short -t": "time limit",
    "sbatch --test-only --mem=900G": "nodes",
    "sbatch --mem=900G": "memory",
    "sbatch --test-only -c 99": "cores",
    "sbatch --mem=abc": "memory",
    "sbatch -t abc": "time limit",
    "sbatch --array=0-500": "array size",
    "sbatch --foo": "option",
    "sbatch --gres": "gres",
    "sbatch -C bigmem": "features",
    "sbatch -w node9": "nodes",
    "sbatch /nonexistent": "script",
    "printf": "script",
    "sbatch -L": "licence",
    "sbatch -N 9": "nodes",
}


@pytest.mark.parametrize("start", REAL_KINDS)
def test_real_refusals(start: str) -> None:
    (text,) = [t for command, t in REAL["refusals"].items() if command.startswith(start)]
    refusal = explain_refusal("Welcome!\n" + text)
    assert refusal.kind == REAL_KINDS[start]
    assert not refusal.maybe_submitted
    assert "Welcome" not in str(refusal)
    assert refusal.remedy in str(refusal)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "Batch job submission failed: Invalid account or account/partition combination specified",
            "account",
        ),
        ("Batch job submission failed: Invalid qos specification", "qos"),
        (
            "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size "
            "and/or time limits)",
            "submit limit",
        ),
        ("error: AssocMaxSubmitJobLimit", "submit limit"),
        ("Batch job submission failed: Unable to contact slurm controller (connect failure)", "controller"),
        ("Batch job submission failed: Access/permission denied", "permission"),
        ("Batch job submission failed: Required node not available (down, drained or reserved)", "nodes"),
        ("Batch job submission failed: Job dependency problem", "dependency"),
        ("fatal: Unable to process configuration file", "controller"),
        ("error: the moon is full", "unknown"),
    ],
)
def test_refusals_of_other_sites(text: str, kind: str) -> None:
    assert explain_refusal(f"sbatch: error: {text}").kind == kind


def test_lost_answer_is_not_a_refusal() -> None:
    refusal = explain_refusal(
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"
    )
    assert (refusal.kind, refusal.maybe_submitted) == ("unknown outcome", True)
    assert "by its name" in refusal.remedy


def test_no_slurm_there() -> None:
    assert explain_refusal("bash: line 1: sbatch: command not found").kind == "no sbatch"
    assert explain_refusal("").kind == "unknown"


def test_every_refusal_says_what_to_do() -> None:
    assert all(sentence and remedy for _, _, sentence, remedy in REFUSALS)
    assert len({kind for kind, *_ in REFUSALS}) == len(REFUSALS)


@pytest.mark.parametrize(
    ("reason", "kind", "stuck", "words"),
    [
        ("Priority", "queue", False, "other jobs come first"),
        ("(Resources)", "queue", False, "next in line"),
        ("None", "queue", False, "not looked"),
        ("QOSMaxJobsPerUserLimit", "limit", False, "running jobs of one user"),
        ("QOSGrpCpuLimit", "limit", False, "cores of all its users together"),
        ("AssocGrpCPUMinutesLimit", "limit", False, "computing time"),
        ("AssocGrpMemLimit", "limit", False, "your account has reached its limit of memory"),
        ("AssocMaxJobsLimit", "limit", False, "running jobs"),
        ("AssocGrpGRES", "limit", False, "GPUs"),
        ("QOSMaxWallDurationPerJobLimit", "impossible", True, "walltime"),
        ("AssocMaxCpuPerJobLimit", "impossible", True, "cores"),
        ("QOSMinMemory", "impossible", True, "memory"),
        ("ReqNodeNotAvail, UnavailableNodes:node[1-2]", "nodes", False, "(node[1-2])"),
        ("ReqNodeNotAvail, Reserved for maintenance", "nodes", False, "maintenance"),
        ("Dependency", "dependency", False, "another job"),
        ("DependencyNeverSatisfied", "impossible", True, "failed or was cancelled"),
        ("JobArrayTaskLimit", "array", False, "at once"),
        ("BeginTime", "time", False, "later"),
        ("Licenses", "licence", False, "licences"),
        ("PartitionTimeLimit", "impossible", True, "longer than the partition"),
        ("JobHeldUser", "held", True, "held"),
        ("launch failed requeued held", "held", True, "held"),
        ("FullMoon", "unknown", False, "'FullMoon'"),
        ("", "unknown", False, "no reason"),
    ],
)
def test_waiting(reason: str, kind: str, stuck: bool, words: str) -> None:
    waiting = explain_waiting(reason)
    assert (waiting.kind, waiting.stuck) == (kind, stuck)
    assert words in str(waiting)
    assert str(waiting).startswith("cannot start: " if stuck else "waiting: ")


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (10, "within a minute"),
        (1200, "in about 20 min"),
        (7200, "in about 2 h"),
        (3 * 86400, "in about 3 days"),
    ],
)
def test_expected_start(after: float, words: str) -> None:
    waiting = explain_waiting("Priority", start=1795311476.0 + after, now=1795311476.0)
    assert f"expected to start {words}" in waiting.sentence
    assert "expected to start 20" in explain_waiting("Priority", start=1795311476.0).sentence
    assert "expected" not in explain_waiting("JobHeldUser", start=1795311476.0).sentence


def test_every_reason_has_words() -> None:
    assert all(sentence and (remedy or not stuck) for _, sentence, remedy, stuck in REASONS.values())


@pytest.mark.parametrize(
    ("state", "log", "kind", "again"),
    [
        ("COMPLETED", "", "done", False),
        ("TIMEOUT", "", "time limit", True),
        ("TO", "", "time limit", True),
        ("OUT_OF_ME+", "", "memory limit", False),
        ("NODE_FAIL", "", "node failure", True),
        ("PREEMPTED", "", "preempted", True),
        ("CANCELLED by 1000", "", "cancelled", True),
        ("CANCELLED", REAL["logs"]["time"], "time limit", True),
        ("CANCELLED", REAL["logs"]["memory"], "memory limit", False),
        ("FAILED", REAL["logs"]["memory"], "memory limit", False),
        (
            "FAILED",
            "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=3.batch.",
            "memory limit",
            False,
        ),
        ("FAILED", "/var/spool/slurmd/job7/slurm_script: line 9:  812 Killed   python x.py", "killed", False),
        ("FAILED", "OSError: [Errno 28] No space left on device", "disk full", False),
        ("FAILED", "ERROR: Unable to locate a modulefile for 'apptainer'", "module", False),
        ("FAILED", "FATAL:   could not open image /x.sif: no such file", "container", False),
        (
            "FAILED",
            "*** JOB 5 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO PREEMPTION ***",
            "preempted",
            True,
        ),
        ("FAILED", "all is well", "failed", False),
        ("RUNNING", "oom-kill", "active", False),
        ("", "", "unknown", False),
    ],
)
def test_ends(state: str, log: str, kind: str, again: bool) -> None:
    end = explain_end(state, exit_code="1:0", log=log)
    assert (end.kind, end.again) == (kind, again)
    assert end.sentence in str(end)


def test_killed_without_words() -> None:
    assert explain_end("FAILED", exit_code="0:9").kind == "killed"
    assert explain_end("FAILED", exit_code="137:0").kind == "killed"
    assert explain_log("the process was killed by nobody") is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:00", 0),
        ("30", 1800),
        ("30:00", 1800),
        ("04:00:00", 14400),
        ("1-12:00:00", 129600),
        ("2-6", 194400),
        ("2-6:30", 196200),
        ("infinite", math.inf),
        ("N/A", None),
        ("Partition_Limit", None),
        ("", None),
        ("1:2:3:4", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("32000", 32000 * 2**20),
        ("32000+", 32000 * 2**20),
        ("62.50G", 62.5 * 2**30),
        ("4Gn", 4 * 2**30),
        ("500Mc", 500 * 2**20),
        ("2T", 2 * 2**40),
        ("512K", 512 * 2**10),
        ("4GiB", 4 * 2**30),
        ("UNLIMITED", math.inf),
        ("much", None),
    ],
)
def test_memory(text: str, size: float | None) -> None:
    assert parse_memory(text) == size


@given(st.integers(0, 10**8))
def test_durations_come_back(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(0, 10**7))
def test_memory_comes_back(megabytes: int) -> None:
    assert parse_memory(format_memory(megabytes * 2**20)) == megabytes * 2**20


@given(st.sets(st.integers(0, 2000), max_size=30))
def test_tasks_come_back(tasks: set[int]) -> None:
    assert task_numbers(",".join(map(str, sorted(tasks)))) == (sorted(tasks), None)


@given(ANY_TEXT)
def test_garbage_does_no_harm(text: str) -> None:
    for parse in (parse_squeue, parse_sinfo, parse_config, parse_modules, parse_test_only, task_numbers):
        parse(text)  # type: ignore[operator]
    for parse in (parse_duration, parse_memory, parse_time, normal_state, explain_refusal, explain_log):
        parse(text)  # type: ignore[operator]
    assert parse_records(f"JobId={text}", "JobId")
    assert str(explain_end(text, exit_code=text, reason=text, log=text))


@given(ANY_TEXT, st.one_of(st.none(), st.floats()), st.one_of(st.none(), st.floats(allow_nan=False)))
def test_any_reason_is_explained(reason: str, start: float | None, now: float | None) -> None:
    assert explain_waiting(reason, start=start, now=now).sentence


@given(
    st.lists(
        st.one_of(ANY_TEXT, st.sampled_from(["9", "9_1", "9_[1-3%2]", "PENDING", "1795311476"])), max_size=12
    )
)
def test_lines_like_those_of_squeue(parts: list[str]) -> None:
    parse_squeue("|".join(parts))
    parse_sinfo("|".join(parts))
