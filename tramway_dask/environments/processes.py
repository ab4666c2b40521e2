"""Worker processes that are started by command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from typing import Any

from distributed import LocalCluster
from distributed.deploy.spec import SpecCluster
from distributed.deploy.subprocess import SubprocessWorker

__all__ = ["LocalPool", "WorkerProcess"]

logger = logging.getLogger("tramway_dask")

# how often the process of a worker is started again, and the seconds before: by then, one that was to end
# has been told so, and the scheduler has forgotten its name
STARTED_AGAIN = 5
PAUSE = 2.0

# memory that is free goes back to the system, and no task uses more than its thread
DEFAULTS = {
    "DASK_LOGGING__DISTRIBUTED": "error",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


class WorkerProcess(SubprocessWorker):
    """A worker process started by command.

    Python's own way to start processes would run the user's script again in each of them, unless
    it is guarded by ``if __name__ == "__main__":``. A process that ends without being told to is started again.
    """

    def __init__(self, scheduler: str, name: Any = None, **options: Any) -> None:
        plain = ("nthreads", "memory_limit", "local_directory", "host", "dashboard")
        super().__init__(
            scheduler,
            name=name,
            worker_kwargs={"name": name, **{k: v for k, v in options.items() if k in plain}},
        )
        self.started_again = 0
        self.gone: int | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def _start(self) -> None:
        await self._launch()
        self._watcher = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while self.process is not None:
            status = await self.process.wait()
            await asyncio.sleep(PAUSE)
            if self.started_again == STARTED_AGAIN:
                self.gone = status
                logger.error(
                    "worker %s has ended %d times, last with status %s", self.name, STARTED_AGAIN, status
                )
                return
            self.started_again += 1
            logger.warning("worker %s has ended with status %s: it is started again", self.name, status)
            await self._launch()

    async def close(self) -> None:
        """End the process."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        await super().close()

    async def _launch(self) -> None:
        spec = json.dumps({"cls": self.worker_class, "opts": self.worker_kwargs})
        # modules beside the user's script are importable on the workers as well
        path = os.pathsep.join(p or os.getcwd() for p in sys.path)
        # a notebook interrupts, as a terminal does, the whole group of its process: workers would end
        apart: dict[str, Any] = {} if os.name == "nt" else {"process_group": 0}
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "distributed.cli.dask_spec", self.scheduler, "--spec", spec),
            env={**DEFAULTS, **os.environ, "PYTHONPATH": path},
            stdin=asyncio.subprocess.DEVNULL,
            **apart,
        )


class LocalPool(LocalCluster):
    """A local cluster that gives its workers the time that they need to come back.

    A nanny starts a worker process that was killed again. Dask's own clusters end both when this takes
    longer than 15 s, as it does on a busy machine, and then wait for ever for workers that nobody starts.
    """

    def _update_worker_status(self, op: Any, msg: Any) -> None:
        super(SpecCluster, self)._update_worker_status(op, msg)

    def absent(self) -> tuple[str, bool]:
        """Return why there is no worker, and whether there is no hope."""
        if not self.worker_spec:
            return "none was asked for: a.env.scale(n) asks for n", False
        gone = [worker.gone for worker in self.workers.values() if worker.gone is not None]
        if gone and len(gone) == len(self.workers):
            return (
                f"every worker process has ended {STARTED_AGAIN + 1} times, last with status {gone[-1]}; "
                "their messages are above"
            ), True
        again = sum(worker.started_again for worker in self.workers.values())
        told = f", and were started again {again} times" if again else ""
        return f"{len(self.workers)} worker processes are starting{told}", False
