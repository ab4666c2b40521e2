"""Worker processes that are started by command."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from distributed.deploy.subprocess import SubprocessWorker

__all__ = ["WorkerProcess"]

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
    it is guarded by ``if __name__ == "__main__":``.
    """

    def __init__(self, scheduler: str, name: Any = None, **options: Any) -> None:
        plain = ("nthreads", "memory_limit", "local_directory", "host", "dashboard")
        super().__init__(
            scheduler,
            name=name,
            worker_kwargs={"name": name, **{k: v for k, v in options.items() if k in plain}},
        )

    async def _start(self) -> None:
        spec = json.dumps({"cls": self.worker_class, "opts": self.worker_kwargs})
        # modules beside the user's script are importable on the workers as well
        path = os.pathsep.join(p or os.getcwd() for p in sys.path)
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "distributed.cli.dask_spec", self.scheduler, "--spec", spec),
            env={**DEFAULTS, **os.environ, "PYTHONPATH": path},
            stdin=asyncio.subprocess.DEVNULL,
        )
