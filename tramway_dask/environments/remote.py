"""A Dask cluster whose scheduler and workers run elsewhere: on a login node, and as jobs of Slurm."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import secrets
import socket
import time
from collections import Counter
from typing import Any

from distributed.core import Status
from distributed.deploy.spec import ProcessInterface, SpecCluster

from ..errors import ClusterError
from .runfolder import RunFolder
from .schedulers import RemoteScheduler
from .slurmunits import parse_duration
from .slurmwords import explain_waiting
from .submission import Submitter, job_states, submitted_jobs

__all__ = ["SlurmPool", "WorkerJob"]

logger = logging.getLogger("tramway_dask")

# s; a worker that was there and is not seen again within this time has lost its job, whatever Slurm says:
# its nanny may well start its process again, which takes time on a busy node
COMES_BACK = 120.0


class WorkerJob(ProcessInterface):
    """A worker that is a job of an array."""

    def __init__(self, scheduler: str, submitter: Submitter, name: str, job_id: str | None = None) -> None:
        self.submitter = submitter
        self.name = name
        self.job_id = job_id
        # whether it goes on when this object is closed
        self.left = False
        self.since = time.monotonic()
        super().__init__(scheduler=scheduler, name=name)

    async def start(self) -> None:
        """Submit the job, unless there is one."""
        try:
            if self.job_id is None:
                self.job_id = await self.submitter.submit(self.name)
        except ClusterError as error:
            # the pool looks there: raised here, it would reach the event loop once per worker
            self.submitter.refusal = error
        self.since = time.monotonic()
        await super().start()

    async def close(self) -> None:
        """Cancel the job."""
        if self.job_id is not None and self.status != Status.closed and not self.left:
            await self.submitter.cancel(self.job_id)
        await super().close()


class SlurmPool(SpecCluster):
    """Workers as jobs of Slurm: as many as asked for, dead ones replaced up to a budget.

    Parameters
    ----------
    run : RunFolder
    scheduler : dict
        Options of `RemoteScheduler`.
    max_array, max_jobs : int
        Limits of the site.
    max_resubmits : int
        How many dead jobs are replaced before the pool gives up.
    interval : float
        Seconds between two looks at the queue.
    at_once : int
        Workers whose jobs are submitted while the scheduler starts: they wait for it.
    """

    def __init__(
        self,
        run: RunFolder,
        scheduler: dict[str, Any],
        *,
        max_array: int = 1000,
        max_jobs: int | None = None,
        max_resubmits: int = 20,
        interval: float = 15.0,
        at_once: int = 0,
        loop: Any = None,
        asynchronous: bool = False,
    ) -> None:
        self.run = run
        self.max_array = max_array
        self.max_jobs = max_jobs or math.inf
        self.max_resubmits = max_resubmits
        self.interval = interval
        self.scheduler: Any
        self.scheduler_comm: Any
        self.resubmitted = 0
        self.problem: str | None = None
        self.states: dict[str, tuple[str, str, str]] = {}
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._taken = False
        self._submitter = Submitter(run, max_array)
        self._first = int(min(at_once, self.max_jobs))
        self._early: dict[str, str] = {}
        self._seen: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._unreadable = ""
        self._watcher: asyncio.Task[None] | None = None
        self._serial = 0
        super().__init__(
            scheduler={
                "cls": RemoteScheduler,
                "options": {"run": run, "meanwhile": self._submit_first, **scheduler},
            },
            worker={"cls": WorkerJob, "options": {}},
            security=run.security,
            name=f"tramway-{run.run_id}",
            loop=loop,
            asynchronous=asynchronous,
        )

    async def _start(self) -> None:
        try:
            await super()._start()
        except BaseException:
            await asyncio.gather(*map(self._submitter.cancel, self._early.values()))
            raise
        found = self._early
        if self.scheduler.found:
            found, before = await submitted_jobs(self.run)
            self._submitter.go_on(len(before))
            names = [name for array in before for name in array]
            self._serial = max((int(name.rpartition("-")[2]) for name in names), default=0)
        self.new_spec = {"cls": WorkerJob, "options": {"submitter": self._submitter}}
        for name, job_id in found.items():
            options = {"submitter": self._submitter, "job_id": job_id}
            self.worker_spec[name] = {"cls": WorkerJob, "options": options}
        await self._present()
        self._watcher = asyncio.ensure_future(self._watch())

    async def _submit_first(self) -> None:
        names = [self._new_worker_name(0) for _ in range(self._first)]
        found = await asyncio.gather(*map(self._submitter.submit, names), return_exceptions=True)
        # what is refused is asked for again as usual, and the refusal told
        self._early = {name: job for name, job in zip(names, found, strict=True) if isinstance(job, str)}

    async def _present(self) -> None:
        """Tell the scheduler that this process looks after it."""
        owner = await self.scheduler_comm.tramway_present(owner=self._owner, take=not self._taken)
        self._taken = True
        if owner != self._owner:
            host, pid, _ = owner.split(":")
            self._give_up(
                f"run {self.run.run_id} was taken over by process {pid} of {host}, which has attached to it"
            )
            self.leave_alone()

    def leave_alone(self) -> None:
        """Have scheduler and jobs go on when this object is closed."""
        self.shutdown_on_close = self.shutdown_scheduler = False
        self.scheduler.left = True
        for job in self.workers.values():
            job.left = True

    @property
    def is_left(self) -> bool:
        """Whether scheduler and jobs go on when this object is closed."""
        return not self.shutdown_scheduler

    def _new_worker_name(self, worker_number: int) -> str:
        # never used twice: a scheduler refuses a second worker of a name that it remembers
        self._serial += 1
        return f"{self.run.run_id}-{self._serial}"

    @property
    def dashboard_link(self) -> str:
        """Address of the dashboard on this computer."""
        port = getattr(self.scheduler, "dashboard_port", None)
        return f"http://127.0.0.1:{port}/{self.run.secret}/status" if port else ""

    def scale(self, n: int = 0, memory: Any = None, cores: Any = None) -> Any:
        """Ask for `n` workers, within the site's limit of jobs."""
        if n > self.max_jobs:
            logger.warning("%d workers asked for, the site allows %d jobs", n, self.max_jobs)
        return super().scale(int(min(n, self.max_jobs)), memory=memory, cores=cores)

    async def _correct_state_internal(self) -> None:
        async with self._lock:
            await self._let_go(sorted(set(self.workers) - set(self.worker_spec)))
        await super()._correct_state_internal()
        if self._submitter.refusal is not None:
            self._give_up(str(self._submitter.refusal))

    async def _let_go(self, names: list[str]) -> None:
        """Cancel jobs whose workers are not wanted; their finished results move to other workers before."""
        if not names:
            return
        if self.scheduler.status == Status.running and not self.is_left:
            with contextlib.suppress(OSError):  # a scheduler that has ended keeps no results
                await self.scheduler_comm.retire_workers(names=names)
        await asyncio.gather(*(self.workers[name].close() for name in names))
        for name in names:
            self.workers.pop(name, None)

    def _give_up(self, reason: str) -> None:
        if self.problem is None:
            self.problem = reason
            self.scheduler.keep_folder = True
            logger.error("%s", reason)

    async def _watch(self) -> None:
        """Replace jobs that have ended although their worker is wanted."""
        while self.status in (Status.starting, Status.running, Status.created):
            await asyncio.sleep(self.interval)
            try:
                await self._reconcile()
                self._unreadable = ""
            except Exception as error:  # noqa: BLE001 (whatever it is, the next look may be better)
                if not isinstance(error, ClusterError | OSError):
                    logger.warning("could not look after the workers: %r", error)
                self._unreadable = str(error) or type(error).__name__

    async def _reconcile(self) -> None:
        await self._present()
        if self.is_left:
            return
        self.states = await job_states(self.run.shell, self.run.settings.name)
        identity = await self.scheduler_comm.identity()
        registered = {str(w["name"]) for w in identity["workers"].values()}
        now = time.monotonic()
        self._seen = dict.fromkeys(registered, now) | self._seen
        self._last |= dict.fromkeys(registered, now)
        dead = []
        for name, job in list(self.workers.items()):
            settled = now - job.since > 2 * self.interval
            ended = settled and job.job_id not in self.states
            if name not in registered and (ended or now - self._last.get(name, now) > COMES_BACK):
                dead.append(name)
        dead += [name for name in self.worker_spec if name not in self.workers and name in self._seen]
        if not dead or self.problem is not None:
            return
        self.resubmitted += sum(not self._served(name) for name in dead)
        if self.resubmitted > self.max_resubmits:
            self._give_up(
                f"{self.resubmitted} worker jobs have ended before their time; the last log says:\n"
                + await self._last_log()
            )
            return
        logger.warning("replacing %d worker jobs that have ended", len(dead))
        for name in dead:
            self.worker_spec.pop(name, None)
            job = self.workers.pop(name, None)
            if job is not None:
                await job.close()
            self.worker_spec.update(self.new_worker_spec())
        await self._correct_state()

    def _update_worker_status(self, op: Any, msg: Any) -> None:
        # Dask would cancel the job of a worker that does not come back within 15 s; see `_reconcile`
        super(SpecCluster, self)._update_worker_status(op, msg)

    def absent(self) -> tuple[str, bool]:
        """Return why there is no worker, in words, and whether there is no hope."""
        if not self.worker_spec:
            return "none was asked for: a.env.scale(n) asks for n", False
        told: Counter[str] = Counter()
        hopeless = bool(self.workers)
        for job in self.workers.values():
            state, reason, _ = self.states.get(job.job_id or "", ("", "", ""))
            waits = explain_waiting(reason) if state == "PENDING" else None
            hopeless &= waits is not None and waits.kind == "impossible"
            if waits is not None:
                told[str(waits)] += 1
            elif state == "RUNNING":
                told[f"running, its worker is not connected (its log is in {self.run.inside('logs')})"] += 1
            else:
                told[state.lower() or "not in the queue"] += 1
        words = [f"{n} worker jobs {text}" if n > 1 else f"a worker job {text}" for text, n in told.items()]
        if self._unreadable:
            words.append(f"the queue could not be read: {self._unreadable}")
        return "; ".join(words) or "no worker job was submitted yet", hopeless

    def _served(self, name: str) -> bool:
        """Tell whether a worker lived for most of its job's time: that it has ended is no failure."""
        allowed = parse_duration(self.run.settings.walltime or "") or math.inf
        return name in self._seen and time.monotonic() - self._seen[name] > allowed / 2

    async def find_again(self) -> bool:
        """Wait for the link; tell whether the scheduler still answers, and listen to it again."""
        await self.run.shell.run("true", timeout=600)
        if not await self.scheduler.is_alive():
            return False
        comm = await self.scheduler_comm.live_comm()
        await comm.write({"op": "subscribe_worker_status"})
        self.scheduler_info = await comm.read()
        self._watch_worker_status_comm = comm
        self._watch_worker_status_task = asyncio.ensure_future(self._watch_worker_status(comm))
        return True

    async def _last_log(self) -> str:
        done = await self.run.shell.run(
            f"ls -t {self.run.quoted('logs')}/*.log 2>/dev/null | head -n 1 | xargs -r -d '\\n' tail -n 15",
            check=False,
        )
        return done.stdout.strip() or "(no log)"

    async def _close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
        await super()._close()
        if self.is_left:
            await self.scheduler.close()
