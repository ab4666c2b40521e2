"""Detached runs: two jobs that need nobody, the driver and an array of workers."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import ClusterError
from .jobs import scheduler_script, worker_script
from .overssh import SlurmOverSSH
from .records import RunRecord, plain
from .refusals import explain_refusal
from .runfolder import RunFolder
from .slurm import Slurm
from .slurmunits import parse_duration
from .submission import parse_job_id

__all__ = [
    "MARKER",
    "array_size",
    "cancel_jobs",
    "connected",
    "driver_script",
    "opened",
    "remove_run",
    "submit",
    "workers_script",
]

# a folder without it is never deleted
MARKER = ".tramway-dask-run"

# workers that come before the scheduler wait for it, those that come after it has ended end as well
BEFORE_WORKER = """\
finish() {{ touch {ended}/"${{SLURM_ARRAY_TASK_ID:-0}}"; }}
trap finish EXIT
for i in $(seq {seconds}); do
    if [ -e {over} ]; then exit 0; fi
    if [ -s {scheduler} ]; then break; fi
    sleep 1
done"""

# on the node, outside the container; a signal goes to the driver as well, which is waited for
AROUND_DRIVER = """\
finish() {{
    status=$?
    trap '' TERM EXIT
    echo "$status" > {over}
    scancel --user="$(id -un)" --name={workers} --state=PENDING 2>/dev/null
    sleep 5
    scancel --user="$(id -un)" --name={workers} 2>/dev/null
    rm -rf {keys}
    exit "$status"
}}
trap finish EXIT
trap : TERM
{python} -m tramway_dask.environments.driver {folder}"""


def array_size(env: Slurm) -> tuple[int, int]:
    """Return the number of worker jobs, and how many of them run at once.

    A worker ends with its job, and nobody is there to submit another one: as many jobs more wait in the
    queue as the time of the driver is longer, and some to replace those that die.
    """
    at_once = env.worker_count
    if env.max_jobs is not None:
        at_once = max(1, min(at_once, env.max_jobs - 1))
    at_once = min(at_once, env.max_array)
    driver = parse_duration(env.scheduler_walltime or env.walltime) or 0.0
    worker = parse_duration(env.walltime) or math.inf
    rounds = max(1, math.ceil(driver / worker)) if worker else 1
    total = at_once * rounds + min(at_once, env.max_resubmits)
    if env.max_jobs is not None:
        total = min(total, max(at_once, env.max_jobs - 1))
    return min(total, env.max_array), at_once


def workers_script(run: RunFolder, count: int) -> str:
    """Return the script of the worker jobs."""
    settings = run.settings
    before = BEFORE_WORKER.format(
        ended=run.quoted("ended"),
        over=run.quoted("driver.ended"),
        scheduler=run.quoted("scheduler.json"),
        seconds=settings.death_timeout,
    )
    settings = replace(
        settings, name=f"tramway-{run.run_id}-workers", before_python=[before, *settings.before_python]
    )
    names = [f"{run.run_id}-{k}" for k in range(count)]
    return worker_script(settings, names=names, address=f"--scheduler-file {run.quoted('scheduler.json')}")


def driver_script(run: RunFolder, *, walltime: str | None = None) -> str:
    """Return the script of the job of the driver."""
    command = AROUND_DRIVER.format(
        over=run.quoted("driver.ended"),
        keys=run.quoted("tls"),
        workers=f"tramway-{run.run_id}-workers",
        python=run.settings.python,
        folder=run.quoted(),
    )
    settings = replace(run.settings, name=f"tramway-{run.run_id}-driver")
    return scheduler_script(settings, command, walltime=walltime)


@contextlib.contextmanager
def opened(env: Slurm) -> Iterator[tuple[Slurm, RunFolder]]:
    """Connect and make the folder of a run, with keys and container; disconnect at the end.

    Yields a copy of the environment, so that a cluster that it may have goes on. If something fails, the
    folder of the run is deleted.
    """
    from .loop import LoopThread

    env = copy.copy(env)
    env.job_script()  # wrong options fail here, before anything is started
    env._loop = LoopThread()
    try:
        run = env._loop.call(env._open())
        try:
            yield env, run
        except BaseException:
            with contextlib.suppress(ClusterError):
                env._loop.call(run.remove())
            raise
    finally:
        env._hang_up()


def submit(
    env: Slurm,
    run: RunFolder,
    *,
    package: Path,
    earlier: Path | None,
    settings: Mapping[str, Any],
    record: Mapping[str, Any],
) -> RunRecord:
    """Send what the driver needs and submit the two jobs.

    Parameters
    ----------
    env, run
        As from `opened`.
    package : Path
        The pickled analyzer.
    earlier : Path, optional
        Archive of results that need not be made again.
    settings : mapping
        Of the driver.
    record : mapping
        What else the record shall hold: results, directory, overwrite, collectibles.

    Raises
    ------
    ClusterError
        If a job is refused; nothing is left then.
    """
    count, at_once = array_size(env)
    made = _record(env, run, at_once, record)
    made.save()
    try:
        told = {**settings, "run_id": run.run_id, "interface": env.interface, "jobs": count}
        env._loop.call(_send(run, package, earlier, told))
        made.jobs = env._loop.call(_sbatch(run, env, count, at_once))
        made.save()
    except BaseException:
        with contextlib.suppress(ClusterError):
            env._loop.call(_scancel(run.shell, run.run_id))
        made.forget()
        raise
    return made


def _record(env: Slurm, run: RunFolder, workers: int, record: Mapping[str, Any]) -> RunRecord:
    remote = isinstance(env, SlurmOverSSH)
    parameters = plain({k: v for k, v in ((n, getattr(env, n)) for n in env.parameters()) if v is not None})
    about: dict[str, Any] = {"kind": "ssh" if remote else "local"}
    if isinstance(env, SlurmOverSSH):
        host, username = env.login_node()
        about |= {"host": host, "username": username, "port": env.port, "options": plain(env.ssh_options)}
        parameters.pop("ssh_options", None)
    return RunRecord(
        run_id=run.run_id,
        environment=type(env).__name__,
        folder=run.path,
        parameters=parameters,
        workers=workers,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        **about,
        **record,
    )


async def _send(run: RunFolder, package: Path, earlier: Path | None, settings: Mapping[str, Any]) -> None:
    shell = run.shell
    folders = f"{run.quoted('results')} {run.quoted('ended')}"
    await shell.run(f"umask 077 && mkdir -p {folders}")
    await shell.write(run.inside(MARKER), f"{run.run_id}\n".encode(), mode=0o600)
    await shell.upload(package, run.inside("analyzer.pkl"))
    # nobody else may write what the driver unpickles
    await shell.run(f"chmod 600 {run.quoted('analyzer.pkl')}")
    await shell.write(run.inside("driver.json"), json.dumps(dict(settings)).encode(), mode=0o600)
    if earlier is not None:
        packed = run.inside("tmp", "earlier.tar")
        await shell.upload(earlier, packed)
        there = shlex.quote(packed)
        await shell.run(
            f"umask 077 && tar -C {run.quoted('results')} -xf {there} && rm -f {there}", timeout=3600
        )


async def _sbatch(run: RunFolder, env: Slurm, count: int, at_once: int) -> dict[str, str]:
    driver = await _job(run, "driver", "", driver_script(run, walltime=env.scheduler_walltime))
    options = f"--array=0-{count - 1}%{at_once} --dependency=after:{driver} --kill-on-invalid-dep=yes"
    workers = await _job(run, "workers", options, workers_script(run, count))
    return {"driver": driver, "workers": workers}


async def _job(run: RunFolder, what: str, options: str, script: str) -> str:
    # the log is made with the umask of sbatch
    command = f"umask 077 && sbatch --parsable {options}".strip()
    try:
        done = await run.shell.run(command, input=script, check=False, timeout=120)
    except ClusterError:
        # the answer was lost, maybe not the job
        return await _look_up(run, what)
    if done.status == 0:
        return parse_job_id(done.stdout)
    refusal = explain_refusal(f"{done.stderr}\n{done.stdout}")
    if refusal.maybe_submitted:
        return await _look_up(run, what)
    raise ClusterError(f"no job for the {what}: {refusal}")


async def _look_up(run: RunFolder, what: str) -> str:
    name = f"tramway-{run.run_id}-{what}"
    command = f'squeue --noheader --user="$(id -un)" --name={shlex.quote(name)} --format=%A'
    found = (await run.shell.run(command)).stdout.split()
    if not found:
        raise ClusterError(f"sbatch gave no answer and there is no job {name!r}: nothing was submitted")
    return min(found, key=int)


async def _scancel(shell: Any, run_id: str) -> None:
    for part in ("driver", "workers"):
        name = shlex.quote(f"tramway-{run_id}-{part}")
        await shell.run(f'scancel --user="$(id -un)" --name={name}', check=False)


@contextlib.contextmanager
def connected(record: RunRecord) -> Iterator[tuple[Any, Any]]:
    """Connect to the cluster of a run; yield the loop's `call` and the shell."""
    from .loop import LoopThread
    from .shell import LocalShell

    shell: Any
    with LoopThread() as loop:
        if record.kind == "ssh":
            from .ssh import Connection

            shell = Connection(
                record.host, username=record.username, port=record.port, options=record.options
            )
        else:
            shell = LocalShell()
        loop.call(shell.connect())
        try:
            yield loop.call, shell
        finally:
            with contextlib.suppress(ClusterError):
                loop.call(shell.close(), timeout=10)


async def cancel_jobs(shell: Any, record: RunRecord, *, wait: int = 40) -> None:
    """Cancel the jobs of a run, and wait until they have ended."""
    names = ",".join(f"tramway-{record.run_id}-{part}" for part in ("driver", "workers"))
    left = f'squeue --noheader --user="$(id -un)" --name={names} --format=%i'
    await _scancel(shell, record.run_id)
    # without driver nobody works for long, and with it all that is done is in its tables
    done = await shell.run(
        f'for i in $(seq {wait}); do [ -z "$({left})" ] && break; sleep 1; done; {left}',
        check=False,
        timeout=wait + 60,
    )
    if done.stdout.strip():
        raise ClusterError(
            f"jobs of run {record.run_id} are still in the queue after {wait} s: {' '.join(done.stdout.split())}"
        )
    # a driver that was killed has left them
    await shell.run(f"rm -rf -- {shlex.quote(record.folder + '/tls')}", check=False)


async def remove_run(shell: Any, record: RunRecord) -> bool:
    """Delete the folder of a run; False if there is none.

    Raises
    ------
    ClusterError
        If jobs of the run are in the queue, or the folder was not made by this package.
    """
    names = ",".join(f"tramway-{record.run_id}-{part}" for part in ("driver", "workers"))
    folder, run_id = shlex.quote(record.folder), shlex.quote(record.run_id)
    command = (
        f'if [ -n "$(squeue --noheader --user="$(id -un)" --name={names} --format=%i)" ]; then echo busy; '
        f"elif [ ! -d {folder} ] || [ -L {folder} ]; then echo absent; "
        f'elif [ "$(cat {folder}/{MARKER} 2>/dev/null)" != {run_id} ]; then echo foreign; '
        f"else rm -rf -- {folder} && echo removed; fi"
    )
    said = (await shell.run(command, check=False, timeout=600)).stdout.split()
    if "busy" in said:
        raise ClusterError(f"jobs of run {record.run_id} are still in the queue; cancel it first")
    if "foreign" in said:
        raise ClusterError(
            f"{record.folder} has no marker of run {record.run_id}: it is not deleted; look what it is"
        )
    if "removed" not in said and "absent" not in said:
        raise ClusterError(f"{record.folder} could not be deleted")
    return "removed" in said
