"""How a detached run is: what the driver tells, what Slurm tells, what the logs tell."""

from __future__ import annotations

import json
import secrets
import shlex
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .records import RunRecord
from .slurmtext import DOWN, SQUEUE, Job, parse_squeue
from .slurmwords import ACTIVE, explain_end, explain_log, explain_waiting

__all__ = ["OVER", "BatchStatus", "JobLog", "inspect_run", "job_logs", "lost_nodes", "shown_jobs"]

# states of a run in which nothing more happens
OVER = ("done", "failed", "stopped", "cancelled", "gone")
LOG_SHOWN = 4000  # bytes
EXCERPT = 15  # lines
# Slurm forgets jobs, and shows new ones with a delay
SETTLED = 60.0  # s


@dataclass(frozen=True)
class JobLog:
    """The end of the log of a job, and what it means."""

    name: str
    text: str
    meaning: str = ""


@dataclass
class BatchStatus:
    """How a detached run is; printed, it is said in plain words.

    Attributes
    ----------
    run_id : str
    state : str
        ``"waiting"`` for jobs to start, ``"running"``, ``"done"``, ``"failed"`` (some units did),
        ``"stopped"`` before its end, ``"cancelled"``, or ``"gone"`` (its folder is).
    why : str
        What there is to say about the state.
    units : list of dict
        Per stage and source: done (also by earlier runs: skipped), running, left, failed.
    failures : list of dict
        The first failed units: stage, source, roi, message.
    jobs : list of dict
        Jobs that are in the queue: id, state, and why they wait.
    workers : int
        Connected workers.
    drivers : int
        How many there were: the job of a driver that is lost is taken over by another one.
    notes : list of str
        What has happened to its nodes.
    start, end, updated : str
    """

    run_id: str
    state: str
    why: str = ""
    units: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    workers: int = 0
    drivers: int = 0
    notes: list[str] = field(default_factory=list)
    start: str = ""
    end: str = ""
    updated: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more happens."""
        return self.state in OVER

    def count(self, status: str) -> int:
        """Return the number of units that are done, skipped, failed, running or left."""
        return sum(int(row.get(status, 0)) for row in self.units)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {**vars(self), "over": self.over}

    def __str__(self) -> str:
        lines = [f"run {self.run_id}: {self.state}" + (f", {self.why}" if self.why else "")]
        if self.units:
            lines.append(_counts(self))
            by_source = _by_source(self.units)
            wide = max(len(name) for name in by_source)
            lines += [
                f"  {name:<{wide}}  {_counts_of(counts)}" for name, counts in list(by_source.items())[:50]
            ]
            if len(by_source) > 50:
                lines.append(f"  … and {len(by_source) - 50} more files")
        lines += self.notes
        if self.workers:
            lines.append(f"{self.workers} workers are connected")
        lines += [f"job {job['id']} ({job['what']}): {job['told']}" for job in self.jobs]
        lines += [
            f"failed: {f['source']} {f['roi']} ({f['stage']}): {f['message'].partition(chr(10))[0]}"
            for f in self.failures[:5]
        ]
        return "\n".join(lines)


def _by_source(units: Sequence[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for row in units:
        counts = found.setdefault(row["source"] or "(all files)", Counter())
        counts.update({k: int(v) for k, v in row.items() if k not in ("stage", "source")})
    return found


def _counts_of(counts: Mapping[str, int]) -> str:
    running = counts.get("running", 0)
    waiting = max(0, counts.get("left", 0) - running)
    done = counts.get("done", 0) + counts.get("skipped", 0)
    return f"{done} done, {running} running, {waiting} waiting, {counts.get('failed', 0)} failed"


def _counts(status: BatchStatus) -> str:
    total: Counter[str] = Counter()
    for counts in _by_source(status.units).values():
        total.update(counts)
    skipped = f" ({total['skipped']} of them before this run)" if total["skipped"] else ""
    return f"units: {_counts_of(total)}{skipped}"


async def inspect_run(shell: Any, record: RunRecord, *, now: float | None = None) -> BatchStatus:
    """Return how a run is; one command.

    Parameters
    ----------
    shell : Connection
    record : RunRecord
    now : float, optional
        The present time, in seconds since 1970.
    """
    mark = f"-{secrets.token_hex(8)}-"
    driver = f"tramway-{record.run_id}-driver"
    folder = shlex.quote(record.folder)
    command = (
        f"if cd {folder} 2>/dev/null; then echo here; fi; echo {mark}; "
        f"{SQUEUE}; echo {mark}; {DOWN}; echo {mark}; "
        f"if cd {folder} 2>/dev/null; then cat status.json 2>/dev/null; echo {mark}; cat driver.ended 2>/dev/null; "
        f"echo {mark}; cat gave-up 2>/dev/null; echo {mark}; cat drivers 2>/dev/null; "
        f"echo {mark}; cat $(ls -tr logs/{driver}-*.log 2>/dev/null) </dev/null | tail -c {LOG_SHOWN}; fi"
    )
    text = (await shell.run(command, check=False, timeout=120)).stdout
    here, queue, down, told, ended, gave_up, drivers, log = [*text.split(f"{mark}\n"), *7 * [""]][:8]
    jobs = [job for job in parse_squeue(queue) if job.name.startswith(f"tramway-{record.run_id}-")]
    return judge(
        record,
        here=bool(here.strip()),
        jobs=jobs,
        down=down.split(),
        told=told,
        ended=ended.strip(),
        gave_up=gave_up.strip(),
        drivers=drivers,
        log=log,
        now=now or time.time(),
    )


def judge(
    record: RunRecord,
    *,
    here: bool,
    jobs: Sequence[Job],
    told: str,
    ended: str,
    log: str,
    now: float,
    gave_up: str = "",
    drivers: str = "",
    down: Sequence[str] = (),
) -> BatchStatus:
    """Return how a run is, from what was found.

    Parameters
    ----------
    record : RunRecord
    here : bool
        Whether the folder of the run exists.
    jobs : sequence of Job
        Of the run, as the queue shows them.
    told : str
        Content of ``status.json``.
    ended : str
        Exit status of the driver, if its job has ended by itself.
    log : str
        End of the driver's log.
    now : float
        Seconds since 1970.
    gave_up : str
        Why no more jobs come, if the driver's job has said it.
    drivers : str
        How many drivers there were.
    down : sequence of str
        Nodes that do not work.
    """
    try:
        said = json.loads(told) if told.strip() else {}
    except ValueError:  # an old file system may show half of it
        said = {}
    status = BatchStatus(record.run_id, "waiting")
    for name in ("units", "failures", "start", "end", "updated"):
        status.__dict__[name] = said.get(name) or status.__dict__[name]
    active = [job for job in jobs if job.state in ACTIVE]
    status.jobs = shown_jobs(active, now)
    driver = _driver(jobs)
    status.drivers = int(drivers.split()[0]) if drivers.strip() else 0
    state = said.get("state")
    if not here and not active:
        status.state, status.why = "gone", f"its folder {record.folder} does not exist any more"
    elif state in ("done", "failed"):
        status.state = state
        status.why = "" if state == "done" else f"{status.count('failed')} units have failed"
        if active:
            status.why = f"{status.why}; its last jobs are ending".lstrip("; ")
    elif driver is not None and driver.state in ACTIVE:
        _going_on(status, driver, said, active, now)
    else:
        _stopped(status, record, driver, said, ended, gave_up, log)
        if active:
            status.why += (
                f"; {len(active)} of its jobs are left in the queue, 'tramway-dask cancel' ends them"
            )
    if not status.over:
        status.notes = lost_nodes(jobs, down)
        status.workers = int(said.get("workers") or 0)
    return status


def _driver(jobs: Sequence[Job]) -> Job | None:
    """Return the job of the driver: that which works, else that which will, else the last one."""
    drivers = [job for job in jobs if job.name.endswith("-driver")]

    def order(job: Job) -> tuple[bool, bool, int]:
        return job.state in ACTIVE and job.state != "PENDING", job.state == "PENDING", int(job.array)

    return max(drivers, key=order, default=None)


def _going_on(
    status: BatchStatus, driver: Job, said: Mapping[str, Any], active: Sequence[Job], now: float
) -> None:
    if driver.state == "PENDING":
        why = str(explain_waiting(driver.reason, start=driver.start, now=now)).removeprefix("waiting: ")
        status.why = f"its driver was lost, the job that takes over waits: {why}" if status.drivers else why
        return
    if status.drivers > 1:
        status.why = f"by driver {status.drivers}, those before were lost"
    status.state = "running" if said.get("state") == "running" else "waiting"
    workers = [job for job in active if job.array != driver.array]
    if status.state == "running":
        return
    if not workers and said.get("state"):
        status.why = "no worker job is in the queue"
    elif any(job.state == "RUNNING" for job in workers):
        status.why = "workers are starting"
    elif workers:
        status.why = "for its worker jobs to start"
    else:
        status.why = "the driver is starting"


def _stopped(
    status: BatchStatus,
    record: RunRecord,
    driver: Job | None,
    said: Mapping[str, Any],
    ended: str,
    gave_up: str,
    log: str,
) -> None:
    status.state = "stopped"
    end = explain_end(driver.state if driver else "", exit_code=f"{ended}:0" if ended else "", log=log)
    if end.kind in ("unknown", "failed"):
        end = explain_log(log) or end
    if gave_up:
        status.why = gave_up
    elif end.kind == "cancelled":
        status.state, status.why = "cancelled", "its driver was cancelled"
    elif said.get("error"):
        known = f" ({end})" if end.kind in ("time limit", "memory limit", "preempted", "node failure") else ""
        status.why = f"{said['error']}{known}"
    elif end.kind == "unknown" and not said.get("state"):
        status.why = f"its driver has left no word; see 'tramway-dask logs {record.run_id}'"
    elif end.kind == "unknown":
        status.why = "its driver was killed, or its node went down"
    else:
        status.why = f"its driver: {end}"
    if status.state == "stopped":
        status.why += f"; 'tramway-dask resume {record.run_id}' does what is missing"


def lost_nodes(jobs: Sequence[Job], down: Iterable[str]) -> list[str]:
    """Say which nodes went down under jobs; Slurm forgets its jobs after some minutes.

    Parameters
    ----------
    jobs : sequence of Job
    down : iterable of str
        Nodes that do not work.
    """
    down = set(down)
    lost = [job for job in jobs if job.nodes in down or job.state in ("NODE_FAIL", "BOOT_FAIL")]
    nodes = ", ".join(sorted({job.nodes for job in lost if job.nodes})) or "a node"
    return [f"{nodes} went down: what ran there is done again elsewhere"] if lost else []


def shown_jobs(active: Sequence[Job], now: float) -> list[dict[str, Any]]:
    """Group jobs of the queue that are in the same state for the same reason."""
    groups: dict[tuple[str, str, str], list[Job]] = {}
    for job in active:
        groups.setdefault((job.name.rpartition("-")[2], job.state, job.reason), []).append(job)
    shown = []
    for (what, state, reason), members in groups.items():
        first = members[0]
        waits = explain_waiting(reason, start=first.start, now=now) if state == "PENDING" else None
        several = f"{len(members)} jobs " if len(members) > 1 else ""
        if what == "driver" and reason == "Dependency":
            told = "in reserve, it takes over if the driver is lost"
        elif waits and waits.kind == "array":
            told = "in reserve, as many as were asked for run"
        else:
            place = f" on {first.nodes}" if not several and first.nodes else ""
            told = str(waits) if waits else f"{state.lower()}{place}"
        shown.append(
            {
                "id": first.array if several else first.id,
                "what": what,
                "count": len(members),
                "state": state,
                "reason": reason if state == "PENDING" else "",
                "expected_start": first.start if state == "PENDING" else None,
                "stuck": bool(waits and waits.stuck),
                "told": f"{several}{told}",
            }
        )
    return shown


async def job_logs(shell: Any, record: RunRecord, *, state: str) -> list[JobLog]:
    """Return excerpts of the logs of jobs that went wrong; the driver's first.

    Parameters
    ----------
    shell : Connection
    record : RunRecord
    state : str
        Of the run.
    """
    mark = f"-{secrets.token_hex(8)}-"
    command = (
        f"cd {shlex.quote(record.folder)}/logs 2>/dev/null && for log in *.log; do "
        f'[ -f "$log" ] && printf "%s%s\\n" {mark} "$log" && tail -c {LOG_SHOWN} "$log"; done'
    )
    text = (await shell.run(command, check=False, timeout=120)).stdout
    found = []
    for part in text.split(mark)[1:]:
        name, _, content = part.partition("\n")
        end = explain_log(content)
        if end is not None and end.kind == "cancelled" and state in OVER and "-driver-" not in name:
            continue  # workers are cancelled when the work is done
        # that connections break at the end is no news
        failed = state == "stopped" and "-driver-" in name
        if end is None and not failed:
            continue
        excerpt = "\n".join(content.strip().splitlines()[-EXCERPT:])
        found.append(JobLog(name, excerpt, str(end) if end else ""))
    return sorted(found, key=lambda entry: "-driver-" not in entry.name)
