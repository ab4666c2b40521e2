"""A Dask cluster whose scheduler and workers run elsewhere: on a login node, and as jobs of Slurm."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import shlex
import time
from typing import Any

from distributed.core import Status
from distributed.deploy.spec import ProcessInterface, SpecCluster

from ..errors import ClusterError
from .jobs import scheduler_script
from .refusals import explain_refusal
from .runfolder import RunFolder
from .slurmunits import parse_duration
from .submission import Submitter, job_states, parse_job_id

__all__ = ["RemoteScheduler", "SlurmPool", "WorkerJob"]

logger = logging.getLogger("tramway_dask")

POLL = 0.3  # s


class RemoteScheduler(ProcessInterface):
    """A scheduler started on the cluster, reached through a tunnel.

    Parameters
    ----------
    run : RunFolder
    python : str
        Shell words that start Python there.
    place : {'login', 'job'}
        On the login node, or in a job of its own.
    walltime : str, optional
        Of that job.
    idle_timeout : str
        The scheduler ends by itself when it had nothing to do for that long.
    start_timeout : float
        Seconds to wait for it.
    """

    def __init__(
        self,
        run: RunFolder,
        python: str,
        place: str = "login",
        walltime: str | None = None,
        idle_timeout: str = "1 hour",
        start_timeout: float = 300.0,
    ) -> None:
        self.run = run
        self.python = python
        self.place = place
        self.walltime = walltime
        self.idle_timeout = idle_timeout
        self.start_timeout = start_timeout
        self.keep_folder = False
        self.job_id: str | None = None
        self.pid: str | None = None
        self.dashboard_port: int | None = None
        super().__init__()

    async def start(self) -> None:
        """Start the scheduler, wait for its address, open the tunnels."""
        run = self.run
        spec = run.scheduler_spec(on_node=self.place == "job", idle_timeout=self.idle_timeout)
        await run.shell.write(run.inside("scheduler.yaml"), spec.encode(), mode=0o600)
        command = f"{self.python} -m distributed.cli.dask_spec --spec-file {run.quoted('scheduler.yaml')}"
        if self.place == "job":
            script = scheduler_script(run.settings, f"exec {command}", walltime=self.walltime)
            done = await run.shell.run(
                "umask 077 && sbatch --parsable", input=script, check=False, timeout=120
            )
            if done.status:
                refusal = explain_refusal(f"{done.stderr}\n{done.stdout}")
                raise ClusterError(f"no job for the scheduler: {refusal}")
            self.job_id = parse_job_id(done.stdout)
        else:
            prologue = "\n".join([*run.settings.prologue, *run.settings.before_python])
            script = f"{prologue}\ncd {run.quoted()} || exit 1\nexec {command}\n"
            await run.shell.write(run.inside("scheduler.sh"), script.encode(), mode=0o700)
            launch = (
                f"umask 077; cd {run.quoted()} || exit 1; setsid nohup bash scheduler.sh </dev/null "
                ">logs/scheduler.log 2>&1 & echo $!"
            )
            self.pid = (await run.shell.run(launch)).stdout.split()[-1]
        identity = await self._identity()
        host, port = identity["address"].removeprefix("tls://").rsplit(":", 1)
        local = await run.shell.forward(host, int(port))
        self.address = self.contact_address = identity["address"]
        reach = host if getattr(run.shell, "username", None) is None and local == int(port) else "127.0.0.1"
        self.external_address = f"tls://{reach}:{local}"
        dashboard = identity.get("services", {}).get("dashboard")
        if dashboard:
            dashboard_host = host if self.place == "job" else "127.0.0.1"
            self.dashboard_port = await run.shell.forward(dashboard_host, int(dashboard))
        await super().start()

    async def _identity(self) -> dict[str, Any]:
        """Wait for the file that the scheduler writes."""
        run = self.run
        alive = f"kill -0 {self.pid}" if self.pid else "true"
        if self.job_id:
            alive = f"squeue --noheader --me --job={self.job_id} | grep -q ."
        command = f"cat {run.quoted('scheduler.json')} 2>/dev/null; {alive} 2>/dev/null || echo GONE"
        ends = time.monotonic() + self.start_timeout
        while time.monotonic() < ends:
            text = (await run.shell.run(command, check=False)).stdout.strip()
            with contextlib.suppress(ValueError):
                return json.loads(text.removesuffix("GONE"))
            if text.endswith("GONE"):
                raise ClusterError(f"the scheduler has ended at once:\n{await self._log()}")
            await asyncio.sleep(POLL)
        raise ClusterError(
            f"the scheduler did not answer within {self.start_timeout:g} s"
            + (f"; its job {self.job_id} may still be waiting" if self.job_id else f":\n{await self._log()}")
        )

    async def is_alive(self) -> bool:
        """Tell whether the process or job of the scheduler is there."""
        command = (
            f"kill -0 {self.pid}" if self.pid else f"squeue --noheader --me --job={self.job_id} | grep -q ."
        )
        return (await self.run.shell.run(command, check=False)).status == 0

    async def _log(self) -> str:
        done = await self.run.shell.run(
            f"tail -n 25 {self.run.quoted('logs')}/*.log 2>/dev/null", check=False
        )
        return done.stdout.strip() or "(its log is empty)"

    async def close(self) -> None:
        """End the scheduler and delete the keys of the run."""
        if self.status != Status.closed:
            with contextlib.suppress(ClusterError):
                if self.pid:
                    await self.run.shell.run(
                        f"kill {self.pid} 2>/dev/null; for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 {self.pid} "
                        f"2>/dev/null || exit 0; sleep 0.5; done; kill -9 {self.pid}",
                        check=False,
                    )
                if self.job_id:
                    await self.run.shell.run(f"scancel {shlex.quote(self.job_id)}", check=False)
                # the client has all results; logs are of use only if something went wrong
                await (self.run.drop_keys() if self.keep_folder else self.run.remove())
        await super().close()


class WorkerJob(ProcessInterface):
    """A worker that is a job of an array."""

    def __init__(self, scheduler: str, submitter: Submitter, name: str) -> None:
        self.submitter = submitter
        self.name = name
        self.job_id: str | None = None
        self.since = time.monotonic()
        super().__init__(scheduler=scheduler, name=name)

    async def start(self) -> None:
        """Submit the job."""
        try:
            self.job_id = await self.submitter.submit(self.name)
        except ClusterError as error:
            # the pool looks there: raised here, it would reach the event loop once per worker
            self.submitter.refusal = error
        self.since = time.monotonic()
        await super().start()

    async def close(self) -> None:
        """Cancel the job."""
        if self.job_id is not None and self.status != Status.closed:
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
        self._submitter: Submitter | None = None
        self._seen: dict[str, float] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._serial = 0
        super().__init__(
            scheduler={"cls": RemoteScheduler, "options": {"run": run, **scheduler}},
            worker={"cls": WorkerJob, "options": {}},
            security=run.security,
            name=f"tramway-{run.run_id}",
            loop=loop,
            asynchronous=asynchronous,
        )

    async def _start(self) -> None:
        await super()._start()
        address = self.scheduler.address
        self._submitter = Submitter(self.run, address, self.max_array)
        self.new_spec = {"cls": WorkerJob, "options": {"submitter": self._submitter}}
        self._watcher = asyncio.ensure_future(self._watch())

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
        if self._submitter is not None and self._submitter.refusal is not None:
            self._give_up(str(self._submitter.refusal))

    async def _let_go(self, names: list[str]) -> None:
        """Cancel jobs whose workers are not wanted; their finished results move to other workers before."""
        if not names:
            return
        if self.scheduler.status == Status.running:
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
            except (ClusterError, OSError) as error:
                logger.debug("the queue could not be read: %s", error)

    async def _reconcile(self) -> None:
        self.states = await job_states(self.run.shell, self.run.settings.name)
        identity = await self.scheduler_comm.identity()
        registered = {str(w["name"]) for w in identity["workers"].values()}
        self._seen = dict.fromkeys(registered, time.monotonic()) | self._seen
        dead = []
        for name, job in list(self.workers.items()):
            settled = time.monotonic() - job.since > 2 * self.interval
            if settled and job.job_id not in self.states and name not in registered:
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
