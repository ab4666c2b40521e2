"""Submits and cancels jobs in as few commands as possible."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import shlex
from dataclasses import replace
from typing import Any

from ..errors import ClusterError
from .jobs import scheduler_of, worker_script
from .refusals import explain_refusal
from .runfolder import JOBS, RunFolder
from .slurmtext import PLAIN

__all__ = ["Submitter", "job_states", "parse_job_id", "submitted_jobs"]

# what is asked for within this time goes into one array
GATHER = 0.1  # s


def parse_job_id(text: str) -> str:
    """Return the number that ``sbatch --parsable`` has printed, below any banner.

    Raises
    ------
    ClusterError
        If there is none.
    """
    for line in reversed(text.strip().splitlines()):
        found = re.fullmatch(r"(\d+)(;\S+)?", line.strip())
        if found:
            return found.group(1)
    raise ClusterError(f"sbatch did not say the number of the job: {text.strip()[-500:]!r}")


async def job_states(shell: Any, name: str) -> dict[str, tuple[str, str, str]]:
    """Return state, reason and expected start of the jobs whose names begin with `name`, by id."""
    command = f"{PLAIN}squeue --noheader --me --array --format='%i|%j|%T|%r|%S'"
    found = {}
    for line in (await shell.run(command)).stdout.splitlines():
        parts = line.strip().split("|")
        if len(parts) == 5 and parts[1].startswith(name):
            found[parts[0]] = (parts[2], parts[3], parts[4])
    return found


async def submitted_jobs(run: RunFolder) -> tuple[dict[str, str], list[list[str]]]:
    """Return what earlier sessions have submitted.

    Returns
    -------
    dict of str to str
        Number of the job by name of the worker, of those that are in the queue.
    list of list of str
        The workers of each array.
    """
    noted = (await run.shell.run(f"cat {run.quoted(JOBS)} 2>/dev/null", check=False)).stdout.splitlines()
    workers = {name: names for name, *names in (line.split() for line in noted if line.strip())}
    command = f"{PLAIN}squeue --noheader --me --array --format='%i|%j'"
    found = {}
    for line in (await run.shell.run(command)).stdout.splitlines():
        job_id, _, name = line.strip().partition("|")
        task = job_id.rpartition("_")[2]
        if name in workers and task.isdecimal() and int(task) < len(workers[name]):
            found[workers[name][int(task)]] = job_id
    return found, list(workers.values())


class Submitter:
    """Gathers requests for workers into arrays of jobs.

    Parameters
    ----------
    run : RunFolder
    max_array : int
        Largest array that the site allows.
    """

    def __init__(self, run: RunFolder, max_array: int) -> None:
        self.run = run
        self.max_array = max_array
        self.commands = 0
        self.refusal: ClusterError | None = None
        self._number = itertools.count()
        self._wanted: list[tuple[str, asyncio.Future[str]]] = []
        self._unwanted: list[tuple[str, asyncio.Future[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def go_on(self, submitted: int) -> None:
        """Begin to number arrays after those that earlier sessions have submitted."""
        self._number = itertools.count(submitted)

    async def submit(self, name: str) -> str:
        """Return the id of a job that runs a worker of a given name."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._wanted.append((name, future))
        if len(self._wanted) == 1:
            self._later(self._submit_all())
        return await future

    async def cancel(self, job_id: str) -> None:
        """Cancel a job."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unwanted.append((job_id, future))
        if len(self._unwanted) == 1:
            self._later(self._cancel_all())
        await future

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _submit_all(self) -> None:
        await asyncio.sleep(GATHER)
        wanted, self._wanted = self._wanted, []
        for first in range(0, len(wanted), self.max_array):
            part = wanted[first : first + self.max_array]
            try:
                job = await self._sbatch([name for name, _ in part])
            except Exception as error:  # noqa: BLE001 (whatever it is, the workers are told)
                for _, future in part:
                    if not future.done():
                        future.set_exception(error)
                continue
            for k, (_, future) in enumerate(part):
                if not future.done():
                    future.set_result(f"{job}_{k}")

    async def _sbatch(self, names: list[str]) -> str:
        job_name = f"{self.run.settings.name}-{next(self._number)}"
        settings = replace(self.run.settings, name=job_name)
        script = worker_script(settings, names=names, address=scheduler_of(self.run.path))
        self.commands += 1
        # which job is which worker is noted for later sessions; the log is made with the umask of sbatch
        noted = shlex.quote(" ".join([job_name, *names]))
        command = (
            f"{PLAIN}umask 077 && echo {noted} >> {self.run.quoted(JOBS)} && "
            f"sbatch --parsable --array=0-{len(names) - 1}"
        )
        try:
            done = await self.run.shell.run(command, input=script, check=False, timeout=120)
        except ClusterError:
            # the answer was lost, maybe not the job
            return await self._look_up(job_name)
        if done.status:
            refusal = explain_refusal(f"{done.stderr}\n{done.stdout}")
            if refusal.maybe_submitted:
                return await self._look_up(job_name)
            raise ClusterError(f"no workers: {refusal}")
        return parse_job_id(done.stdout)

    async def _look_up(self, job_name: str) -> str:
        command = f"{PLAIN}squeue --noheader --me --name={shlex.quote(job_name)} --format=%A"
        found = (await self.run.shell.run(command)).stdout.split()
        if not found:
            raise ClusterError(
                f"sbatch gave no answer and there is no job {job_name!r}: nothing was submitted"
            )
        return min(found, key=int)

    async def _cancel_all(self) -> None:
        await asyncio.sleep(GATHER)
        unwanted, self._unwanted = self._unwanted, []
        ids = " ".join(shlex.quote(job_id) for job_id, _ in unwanted)
        self.commands += 1
        with contextlib.suppress(ClusterError):
            await self.run.shell.run(f"scancel {ids}", check=False)
        for _, future in unwanted:
            if not future.done():
                future.set_result(None)
