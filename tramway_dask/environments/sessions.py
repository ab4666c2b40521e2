"""What is known of an interactive session from elsewhere: how it is, what it has left, how it is ended."""

from __future__ import annotations

import io
import json
import secrets
import shlex
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ..errors import ClusterError
from .inspection import BatchStatus, lost_nodes, shown_jobs
from .records import RunRecord
from .runfolder import ENDED, MARKER, PLACE, STATUS, STOP
from .slurmtext import DOWN, PLAIN, SQUEUE, Job, parse_squeue
from .slurmwords import ACTIVE

__all__ = [
    "end_session",
    "inspect_session",
    "judge_session",
    "read_failures",
    "read_parts",
    "read_plans",
    "remove_session",
]

# lines of files whose names, without suffix, were read before
WANTED = 'FNR == NR { wanted[$0 ".zip"]; next } $NF in wanted'
# whether the scheduler is there: its job, or its process if this is its host
ALIVE = f"""\
read host pid job < {PLACE}
if [ -e {ENDED} ]; then echo ended
elif [ -n "$job" ]; then squeue --noheader --me --job="$job" 2>/dev/null | grep -q . && echo alive
elif [ "$host" != "$(hostname)" ]; then echo elsewhere
else kill -0 "$pid" && echo alive; fi 2>/dev/null"""


async def inspect_session(shell: Any, record: RunRecord, *, now: float) -> BatchStatus:
    """Return how an interactive session is; one command."""
    mark = f"-{secrets.token_hex(8)}-"
    looks = [
        "echo here",
        f"({SQUEUE})",
        f"({DOWN})",
        f"cat {STATUS} 2>/dev/null",
        f"({PLAIN}{ALIVE})",
        "find parts/.parts -name '*.zip' -printf '%f\\n' 2>/dev/null",
        "cat parts/.failures/*.json 2>/dev/null",
        "cat plans/*.json 2>/dev/null",
    ]
    command = f"cd {shlex.quote(record.folder)} 2>/dev/null || exit 0; " + f"; echo; echo {mark}; ".join(
        looks
    )
    text = (await shell.run(command, check=False, timeout=120)).stdout
    here, queue, down, told, alive, parts, failures, plans = [*text.split(f"{mark}\n"), *[""] * 8][:8]
    jobs = [job for job in parse_squeue(queue) if f"{job.name}-".startswith(f"tramway-{record.run_id}-")]
    return judge_session(
        record,
        here=bool(here.strip()),
        alive=alive.split()[:1] != ["ended"] and bool(alive.strip()),
        jobs=jobs,
        down=down.split(),
        told=_objects(told)[0] if told.strip() else {},
        parts={line.strip().removesuffix(".zip") for line in parts.splitlines()},
        failures=_objects(failures),
        plans=_objects(plans),
        now=now,
    )


def _objects(text: str) -> list[dict[str, Any]]:
    """Return JSON objects that follow each other; what is cut short is left out."""
    found, decoder, at = [], json.JSONDecoder(), 0
    while (at := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError:
            break
        found.append(value)
    return found


def judge_session(
    record: RunRecord,
    *,
    here: bool,
    alive: bool,
    jobs: Sequence[Job],
    down: Sequence[str],
    told: Mapping[str, Any],
    parts: set[str],
    failures: Sequence[Mapping[str, Any]],
    plans: Sequence[Mapping[str, Any]],
    now: float,
) -> BatchStatus:
    """Return how a session is, from what was found.

    Parameters
    ----------
    record : RunRecord
    here, alive : bool
        Whether its folder is there, and its scheduler.
    jobs : sequence of Job
    down : sequence of str
        Nodes that do not work.
    told : mapping
        What the scheduler's keeper has written.
    parts : set of str
        Keys of the units whose results are there.
    failures, plans : sequence of mapping
        What workers and clients have written.
    now : float
        Seconds since 1970.
    """
    status = BatchStatus(record.run_id, "running", start=record.started)
    active = [job for job in jobs if job.state in ACTIVE]
    status.jobs = shown_jobs(active, now)
    status.notes = lost_nodes(jobs, down) if alive else []
    failed = {f["key"]: f for f in failures if f["key"] not in parts}
    status.units = _units(plans, parts, set(failed), set(told.get("busy", ())))
    status.failures = [
        {name: str(f.get(name, "")) for name in ("stage", "source", "roi", "message")}
        for f in failed.values()
    ][:20]
    left = status.count("left")
    if not here:
        status.state, status.why = "gone", f"its folder {record.folder} does not exist any more"
    elif alive:
        status.workers = int(told.get("workers", 0))
        clients = told.get("clients")
        if left and not status.workers:
            status.state = "waiting"
            status.why = "for its worker jobs to start" if active else "no worker job is in the queue"
        elif not left:
            status.why = "nothing is left to be done"
        if clients == 0:
            status.why = ", ".join(
                filter(None, [status.why, "no client is connected: a.attach takes it up again"])
            )
    elif failed:
        status.state, status.why = "failed", f"{len(failed)} units have failed"
    elif status.units and not left:
        status.state = "done"
    else:
        status.state = "stopped"
        status.why = str(told.get("why") or "its scheduler was killed, or its host went down")
        if status.why == "it was cancelled":
            status.state = "cancelled"
    if status.over and status.state != "gone" and active:
        status.why = f"{status.why}; its last jobs are ending".lstrip("; ")
    return status


def _units(
    plans: Sequence[Mapping[str, Any]], parts: set[str], failed: set[str], busy: set[str]
) -> list[dict[str, Any]]:
    counts: dict[tuple[str, str], Counter[str]] = {}
    known: set[tuple[str, str]] = set()
    for plan in plans:
        for task, units in plan["batches"]:
            for stage, source, _, key in units:
                if (source, key) in known:
                    continue
                known.add((source, key))
                row = counts.setdefault((stage, source), Counter())
                what = "done" if key in parts else "failed" if key in failed else "left"
                row[what] += 1
                row["running"] += what == "left" and task in busy
    for plan in plans[:1]:
        for stage, source, number in plan.get("skipped", ()):
            counts.setdefault((stage, source), Counter())["skipped"] += number
    names = ("done", "skipped", "failed", "left", "running")
    return [
        {"stage": stage, "source": source, **{name: row[name] for name in names}}
        for (stage, source), row in counts.items()
    ]


async def read_plans(shell: Any, folder: str) -> list[dict[str, Any]]:
    """Return what clients of a session have announced, in order."""
    return _objects(
        (await shell.run(f"cat {shlex.quote(folder)}/plans/*.json 2>/dev/null", check=False)).stdout
    )


async def read_failures(shell: Any, folder: str) -> list[dict[str, Any]]:
    """Return the failures of units that workers have noted, and that were not mended."""
    place = shlex.quote(f"{folder}/parts")
    command = (
        f"cat {place}/.failures/*.json 2>/dev/null; echo; find {place}/.parts -name '*.zip' -printf '%f\n'"
    )
    text = (await shell.run(command, check=False)).stdout
    return [f for f in _objects(text) if f"\n{f['key']}.zip" not in text]


def read_parts(
    call: Callable[[Any], Any], shell: Any, folder: str, keys: Collection[str]
) -> Iterator[tuple[str, str, bytes]]:
    """Fetch the copies of some results that workers have left: source, key and content."""
    packed = f"{folder}/tmp/parts-{secrets.token_hex(4)}.tar"
    archive = shlex.quote(packed)
    # earlier runs of the same workers have left theirs in the same place; what is written meanwhile is not there
    command = (
        f"umask 077; cd {shlex.quote(folder)}/parts && find . -type f -name '*.zip' > {archive}.names && "
        f"awk -F / '{WANTED}' - {archive}.names | tar -T - --ignore-failed-read -cf {archive}"
    )
    call(shell.run(command, input="".join(f"{key}\n" for key in keys), timeout=3600))
    with tempfile.TemporaryDirectory() as temporary:
        local = Path(temporary) / "parts.tar"
        call(shell.download(packed, local))
        call(shell.run(f"rm -f -- {archive} {archive}.names", check=False))
        with tarfile.open(fileobj=io.BytesIO(local.read_bytes())) as members:
            for member in members:
                name = Path(member.name)
                if member.isfile() and name.suffix == ".zip":
                    content = members.extractfile(member)
                    assert content is not None
                    yield unquote(name.parent.name), name.stem, content.read()


async def end_session(shell: Any, record: RunRecord, *, wait: int = 40) -> None:
    """End scheduler and workers of a session and delete its keys; what is done stays.

    Raises
    ------
    ClusterError
        If jobs are still there after `wait` seconds.
    """
    left = _jobs_of(record)
    command = (
        f"cd {shlex.quote(record.folder)} || exit 0; {PLAIN}touch {STOP}; "
        f'for i in $(seq 20); do [ "$({ALIVE})" = alive ] || break; sleep 0.5; done; '
        f"read host pid job < {PLACE}; "
        f'if [ -z "$job" ] && [ "$host" = "$(hostname)" ] && [ ! -e {ENDED} ]; then kill -KILL -- "-$pid"; fi; '
        f'ids=$({left}); [ -z "$ids" ] || scancel $ids; '
        f'for i in $(seq {wait}); do [ -z "$({left})" ] && break; sleep 1; done; rm -rf tls; {left}'
    )
    done = await shell.run(command, check=False, timeout=wait + 90)
    if done.stdout.strip():
        raise ClusterError(
            f"jobs of session {record.run_id} are still in the queue: {' '.join(done.stdout.split())}"
        )


def _jobs_of(record: RunRecord) -> str:
    """Return the command that lists the jobs of a session."""
    return (
        "squeue --noheader --me --array --format='%i %j' | "
        f"awk '$2 ~ /^tramway-{record.run_id}(-[0-9]+)?$/ {{print $1}}'"
    )


async def remove_session(shell: Any, record: RunRecord) -> None:
    """Delete the folder of a session that has ended.

    Raises
    ------
    ClusterError
        If it goes on, or the folder was not made by this package.
    """
    folder = shlex.quote(record.folder)
    command = (
        f"[ -d {folder} ] && [ ! -L {folder} ] || {{ echo absent; exit; }}; cd {folder}; {PLAIN}"
        f'if [ "$(cat {MARKER} 2>/dev/null)" != {record.run_id} ]; then echo foreign; '
        f'elif [ -n "$({_jobs_of(record)})" ] || [ "$({ALIVE})" = alive ]; then echo busy; '
        f"else cd / && rm -rf -- {folder} && echo removed; fi"
    )
    said = (await shell.run(command, check=False, timeout=600)).stdout.split()
    if "busy" in said:
        raise ClusterError(f"session {record.run_id} goes on, or its jobs are ending; cancel it first")
    if "foreign" in said:
        raise ClusterError(
            f"{record.folder} has no marker of run {record.run_id}: it is not deleted; look what it is"
        )
    if not said or said[-1] not in ("removed", "absent"):
        raise ClusterError(f"{record.folder} could not be deleted")
