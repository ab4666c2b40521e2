"""The Dask scheduler of a session: started on the cluster or found there, reached through tunnels."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import time
from collections.abc import Callable, Coroutine
from typing import Any

from distributed.core import Status
from distributed.deploy.spec import ProcessInterface

from ..errors import ClusterError
from .jobs import scheduler_script
from .refusals import explain_refusal
from .runfolder import ENDED, JOBS, PLACE, RunFolder
from .slurmtext import PLAIN
from .submission import parse_job_id

__all__ = ["RemoteScheduler", "end_scheduler"]

POLL = 0.3  # s

# outside the container: when the scheduler ends, by itself or not, nothing goes on and no key is left
AROUND = """\
echo "$(hostname) $$ {job}" > {place}
finish() {{
    status=$?
    trap '' TERM EXIT
    echo "$status" > {ended}
    names=$(cut -d' ' -f1 {jobs} 2>/dev/null | paste -sd,)
    [ -z "$names" ] || scancel --user="$(id -un)" --name="$names" 2>/dev/null
    rm -rf tls
    exit "$status"
}}
trap finish EXIT
trap : TERM
{command}
"""


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
    found : bool
        It is there already, started by an earlier session.
    meanwhile : callable, optional
        Coroutine that is run while the scheduler starts on the login node.
    """

    def __init__(
        self,
        run: RunFolder,
        python: str,
        place: str = "login",
        walltime: str | None = None,
        idle_timeout: str = "1 hour",
        start_timeout: float = 300.0,
        found: bool = False,
        meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self.run = run
        self.python = python
        self.place = place
        self.walltime = walltime
        self.idle_timeout = idle_timeout
        self.start_timeout = start_timeout
        self.found = found
        self.meanwhile = meanwhile
        self.keep_folder = False
        # whether it goes on when this object is closed
        self.left = False
        self.job_id: str | None = None
        self.pid: str | None = None
        self.dashboard_port: int | None = None
        super().__init__()

    async def start(self) -> None:
        """Start the scheduler or find it, wait for its address, open the tunnels."""
        run = self.run
        if self.found:
            await self._find()
        else:
            await self._launch()
        meanwhile = asyncio.ensure_future(self._meanwhile())
        try:
            identity = await self._identity()
        finally:
            await meanwhile  # what it has begun is known then, and can be undone
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

    async def _meanwhile(self) -> None:
        # a job of a scheduler may wait for hours in the queue, and workers would wait with it
        if self.meanwhile is not None and self.place == "login" and not self.found:
            await self.meanwhile()

    async def _launch(self) -> None:
        run = self.run
        spec = run.scheduler_spec(on_node=self.place == "job", idle_timeout=self.idle_timeout)
        await run.shell.write(run.inside("scheduler.yaml"), spec.encode(), mode=0o600)
        command = AROUND.format(
            command=f"{self.python} -m distributed.cli.dask_spec --spec-file {run.quoted('scheduler.yaml')}",
            job="${SLURM_JOB_ID:-}" if self.place == "job" else "",
            place=PLACE,
            ended=ENDED,
            jobs=JOBS,
        )
        if self.place == "job":
            script = scheduler_script(run.settings, command, walltime=self.walltime)
            done = await run.shell.run(
                f"{PLAIN}umask 077 && sbatch --parsable", input=script, check=False, timeout=120
            )
            if done.status:
                refusal = explain_refusal(f"{done.stderr}\n{done.stdout}")
                raise ClusterError(f"no job for the scheduler: {refusal}")
            self.job_id = parse_job_id(done.stdout)
        else:
            prologue = "\n".join([*run.settings.prologue, *run.settings.before_python])
            script = f"{prologue}\ncd {run.quoted()} || exit 1\n{command}"
            await run.shell.write(run.inside("scheduler.sh"), script.encode(), mode=0o700)
            # its number is also that of its group of processes
            launch = (
                f"umask 077; cd {run.quoted()} || exit 1; setsid nohup bash scheduler.sh </dev/null "
                ">logs/scheduler.log 2>&1 & echo $!"
            )
            self.pid = (await run.shell.run(launch)).stdout.split()[-1]

    async def _find(self) -> None:
        run = self.run
        place = f"cat {run.quoted(PLACE)} && [ ! -e {run.quoted(ENDED)} ]"
        done = await run.shell.run(place, check=False)
        words = done.stdout.split()
        if done.status or len(words) < 2:
            raise ClusterError(f"the scheduler of run {run.run_id} has ended")
        self.pid, self.job_id = (None, words[2]) if len(words) > 2 else (words[1], None)
        self.place = "job" if self.job_id else "login"
        if not await self.is_alive():
            raise ClusterError(f"the scheduler of run {run.run_id} is not there any more")

    async def _identity(self) -> dict[str, Any]:
        """Wait for the file that the scheduler writes."""
        run = self.run
        alive = f"kill -0 {self.pid}" if self.pid else "true"
        if self.job_id:
            alive = f"{PLAIN}squeue --noheader --me --job={self.job_id} | grep -q ."
        command = f"cat {run.quoted('scheduler.json')} 2>/dev/null; {alive} 2>/dev/null || echo GONE"
        ends = time.monotonic() + self.start_timeout
        while time.monotonic() < ends:
            text = (await run.shell.run(command, check=False)).stdout.strip()
            with contextlib.suppress(ValueError):
                return json.loads(text.removesuffix("GONE"))
            if text.endswith("GONE") and self.found:
                raise ClusterError(
                    f"the scheduler of run {run.run_id} has just ended; a.run() starts a new one"
                )
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
            f"kill -0 {self.pid}"
            if self.pid
            else f"{PLAIN}squeue --noheader --me --job={self.job_id} | grep -q ."
        )
        return (await self.run.shell.run(command, check=False)).status == 0

    async def _log(self) -> str:
        done = await self.run.shell.run(
            f"tail -n 25 {self.run.quoted('logs')}/*.log 2>/dev/null", check=False
        )
        return done.stdout.strip() or "(its log is empty)"

    async def close(self) -> None:
        """End the scheduler and delete the keys of the run."""
        if self.status != Status.closed and not self.left:
            with contextlib.suppress(ClusterError):
                await self.run.shell.run(end_scheduler(self.pid, self.job_id), check=False)
                # the client has all results; logs are of use only if something went wrong
                await (self.run.drop_keys() if self.keep_folder else self.run.remove())
        await super().close()


def end_scheduler(pid: str | None, job_id: str | None) -> str:
    """Return the command that ends a scheduler, and waits until what it leaves is tidied up."""
    if job_id:
        return f"scancel {shlex.quote(job_id)}"
    return (
        f"kill -TERM -- -{pid} 2>/dev/null; for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 {pid} 2>/dev/null || exit 0; "
        f"sleep 0.5; done; kill -KILL -- -{pid}"
    )
