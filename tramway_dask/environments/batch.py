"""Detached runs: two jobs that need nobody, the driver and an array of workers."""

from __future__ import annotations

import contextlib
import copy
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ClusterError
from .batch_scripts import array_size, driver_script, workers_script
from .jobs import JobSettings
from .overssh import SlurmOverSSH
from .records import RunRecord, make_record
from .refusals import explain_refusal
from .runfolder import MARKER, STATUS, RunFolder, new_security
from .slurm import Slurm
from .slurmtext import PLAIN
from .submission import parse_job_id

__all__ = [
    "cancel_jobs",
    "connected",
    "opened",
    "remove_run",
    "resume_run",
    "submit",
]

# of files in the folder of a run
DRIVER, WORKERS = "driver.job", "workers.job"


@contextlib.contextmanager
def opened(env: Slurm) -> Iterator[tuple[Slurm, RunFolder]]:
    """Connect and make the folder of a run, with keys and container; disconnect at the end.

    Yields a copy of the environment, so that a cluster that it may have goes on. If something fails, the
    folder of the run is deleted.
    """
    from .loop import LoopThread

    given, env = env, copy.copy(env)
    env.job_script()  # wrong options fail here, before anything is started
    linked = given.__dict__.get("_connection") is not None
    if linked:  # one login is enough
        env._connection, env._home = given.connection()
    env._loop = given._loop if linked else LoopThread()
    if isinstance(given, SlurmOverSSH) and isinstance(env, SlurmOverSSH):
        env._files = given.files
    try:
        run = env._loop.call(env._open())
        try:
            yield env, run
        except BaseException:
            with contextlib.suppress(ClusterError):
                env._loop.call(run.remove())
            raise
    finally:
        if not linked:
            env._hang_up()


def submit(
    env: Slurm,
    run: RunFolder,
    *,
    package: Path,
    earlier: Path | None,
    settings: Mapping[str, Any],
    record: Mapping[str, Any],
    units: Sequence[Mapping[str, Any]] = (),
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
    units : sequence of mapping
        What is to be done, as the status shows it before the driver does.

    Raises
    ------
    ClusterError
        If a job is refused; nothing is left then.
    """
    count, at_once = array_size(env)
    made = make_record(env, run.run_id, run.path, workers=at_once, **record)
    made.save()
    try:
        told = {**settings, "run_id": run.run_id, "interface": env.interface}
        env._loop.call(_send(run, package, earlier, told, units))
        env._loop.call(_write_scripts(run, env))
        made.jobs = env._loop.call(_sbatch(run, count, at_once))
        made.save()
    except BaseException:
        with contextlib.suppress(ClusterError):
            env._loop.call(_scancel(run.shell, made))
        made.forget()
        raise
    return made


async def _send(
    run: RunFolder,
    package: Path,
    earlier: Path | None,
    settings: Mapping[str, Any],
    units: Sequence[Mapping[str, Any]],
) -> None:
    shell = run.shell
    folders = f"{run.quoted('results')} {run.quoted('ended')}"
    await shell.run(f"umask 077 && mkdir -p {folders}")
    await shell.upload(package, run.inside("analyzer.pkl"))
    # nobody else may write what the driver unpickles
    await shell.run(f"chmod 600 {run.quoted('analyzer.pkl')}")
    await shell.write(run.inside("driver.json"), json.dumps(dict(settings)).encode(), mode=0o600)
    await shell.write(run.inside(STATUS), json.dumps({"units": list(units)}).encode(), mode=0o600)
    if earlier is not None:
        packed = run.inside("tmp", "earlier.tar")
        await shell.upload(earlier, packed)
        there = shlex.quote(packed)
        await shell.run(
            f"umask 077 && tar -C {run.quoted('results')} -xf {there} && rm -f {there}", timeout=3600
        )


async def _write_scripts(run: RunFolder, env: Slurm) -> None:
    """Leave the scripts where the job of the driver finds them as well."""
    shell = run.shell
    await shell.write(run.inside(DRIVER), driver_script(run, env).encode(), mode=0o600)
    await shell.write(run.inside(WORKERS), workers_script(run).encode(), mode=0o600)


async def _sbatch(run: RunFolder, count: int, at_once: int) -> dict[str, str]:
    await run.shell.run(f'umask 077 && echo "{count} $(date +%s)" > {run.quoted("submitted")}')
    driver = await _job(run, "driver", "", DRIVER)
    options = f"--array=0-{count - 1}%{at_once} --dependency=after:{driver} --kill-on-invalid-dep=yes"
    workers = await _job(run, "workers", options, WORKERS)
    return {"driver": driver, "workers": workers}


async def _job(run: RunFolder, what: str, options: str, script: str) -> str:
    # the log is made with the umask of sbatch
    command = f"{PLAIN}umask 077 && sbatch --parsable {options} {run.quoted(script)} </dev/null"
    try:
        done = await run.shell.run(command, check=False, timeout=120)
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
    command = f'{PLAIN}squeue --noheader --user="$(id -un)" --name={shlex.quote(name)} --format=%A'
    found = (await run.shell.run(command)).stdout.split()
    if not found:
        raise ClusterError(f"sbatch gave no answer and there is no job {name!r}: nothing was submitted")
    return min(found, key=int)


async def _scancel(shell: Any, record: RunRecord) -> None:
    # a driver that would take over sees it, if it starts before it is cancelled
    folder = shlex.quote(record.folder)
    await shell.run(f"[ ! -d {folder} ] || touch {folder}/cancelled", check=False)
    for part in ("driver", "workers"):
        name = shlex.quote(f"tramway-{record.run_id}-{part}")
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


async def resume_run(shell: Any, record: RunRecord) -> dict[str, str]:
    """Submit the jobs of a run that has stopped again; return their numbers.

    Raises
    ------
    ClusterError
        If jobs of the run are in the queue, its folder is gone, or a job is refused.
    """
    nameless = JobSettings(f"tramway-{record.run_id}", record.folder, "")  # the scripts are there
    run = RunFolder(shell, record.run_id, record.folder, nameless, new_security())
    if (await shell.run(_queued(record), check=False)).stdout.strip():
        raise ClusterError(
            f"jobs of run {record.run_id} are in the queue: it goes on, or is ending; see its status"
        )
    stale = (
        "driver.ended",
        "driver.next",
        "cancelled",
        "gave-up",
        "drivers",
        "scheduler.json",
        "results/.lock",
    )
    done = await shell.run(
        f"[ -s {run.quoted(DRIVER)} ] && [ -s {run.quoted('analyzer.pkl')} ] && cd {run.quoted()} && "
        f"rm -rf ended {' '.join(stale)} && umask 077 && mkdir -p ended",
        check=False,
    )
    if done.status:
        raise ClusterError(
            f"{record.folder} has not got what the driver needs: run again instead, what was fetched is not done again"
        )
    await run.make()
    try:
        return await _sbatch(run, record.workers, record.workers)
    except ClusterError:
        await _scancel(shell, record)
        await run.drop_keys()
        raise


def _queued(record: RunRecord) -> str:
    names = ",".join(f"tramway-{record.run_id}-{part}" for part in ("driver", "workers"))
    return f'{PLAIN}squeue --noheader --user="$(id -un)" --name={names} --format=%i'


async def cancel_jobs(shell: Any, record: RunRecord, *, wait: int = 40) -> None:
    """Cancel the jobs of a run, and wait until they have ended."""
    left = _queued(record)
    await _scancel(shell, record)
    # without driver nobody works for long, and with it all that is done is in its tables
    done = await shell.run(
        f'{PLAIN}for i in $(seq {wait}); do [ -z "$({left})" ] && break; sleep 1; done; {left}',
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
    folder, run_id = shlex.quote(record.folder), shlex.quote(record.run_id)
    command = (
        f'{PLAIN}if [ -n "$({_queued(record)})" ]; then echo busy; '
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
