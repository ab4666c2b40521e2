"""What keeps a session alive when its client is gone: a plugin that runs in the Dask scheduler.

Loaded by the scheduler on the cluster (``preload``). Without it, Dask forgets the work of a client
whose connection breaks, and a scheduler waits for ever for a computer that does not come back.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from .runfolder import SESSION, STATUS, STOP
from .slurmunits import format_duration

__all__ = ["HOLDER", "Keeper", "dask_setup"]

logger = logging.getLogger("distributed.scheduler")

# the client, to the scheduler, that wants what others have submitted
HOLDER = "tramway-session"
LOOK_EVERY = 1.0  # s
# a result stays so long after its client is gone: a new client may have asked for it already
GRACE = 20.0  # s


class Keeper(SchedulerPlugin):
    """Holds submitted work while no client is there, for a limited time.

    Work is let go when its client releases it, or when it is done after its client is gone: a copy of the
    result then lies in the folder of the run.

    Parameters
    ----------
    scheduler : distributed.Scheduler
    folder : Path
        Of the run.
    alone_for : float
        Seconds without client after which the scheduler ends, and with it its workers.
    """

    name = "tramway-keeper"

    def __init__(self, scheduler: Any, folder: Path, alone_for: float) -> None:
        self.scheduler = scheduler
        self.folder = folder
        self.alone_for = alone_for
        self.owner = ""
        self.seen = time.monotonic()
        self._held: dict[Any, str] = {}
        self._done: dict[Any, float] = {}
        self._told: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self, scheduler: Any = None) -> None:
        """Take up the work; called by the scheduler."""
        self.scheduler.handlers["tramway_present"] = self.present
        self._task = asyncio.ensure_future(self._look())

    async def close(self) -> None:
        """Stop looking; the scheduler ends."""
        self.tell(ended=True)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def present(self, owner: str, take: bool = False) -> str:
        """Note that a computer is there that looks after the session; return which one does.

        Parameters
        ----------
        owner : str
            Its name.
        take : bool
            Whether it takes over.
        """
        if take or not self.owner:
            self.owner = owner
        if self.owner == owner:
            self.seen = time.monotonic()
        return self.owner

    def update_graph(self, scheduler: Any, *, client: str, keys: Any, **_: Any) -> None:
        """Hold what a client submits."""
        self._held |= dict.fromkeys(keys, client)
        scheduler.client_desires_keys(list(keys), HOLDER)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.let_go()
            heard = [self.scheduler.clients[name].last_seen for name in self.scheduler.client_comms]
            if heard:
                self.seen = max(self.seen, time.monotonic() - max(0.0, time.time() - max(heard)))
            why = ""
            if (self.folder / STOP).exists():
                why = "it was cancelled"
            elif time.monotonic() - self.seen > self.alone_for:
                why = f"it ended by itself after {format_duration(self.alone_for)} without a client"
            if why:
                logger.info("closing: %s", why)
                self.tell(why=why, ended=True)
                self._task = None
                await self.scheduler.close(reason="tramway-alone")
                return
            self.tell()

    def let_go(self) -> None:
        """Release what its client has released, and what is done without one."""
        scheduler, now, released = self.scheduler, time.monotonic(), []
        for key, client in self._held.items():
            task = scheduler.tasks.get(key)
            if task is None:
                released.append(key)
            elif client in scheduler.clients:
                self._done.pop(key, None)
                if scheduler.clients[client] not in (task.who_wants or ()):
                    released.append(key)
            elif task.state in ("memory", "erred") and now - self._done.setdefault(key, now) > GRACE:
                released.append(key)
        for key in released:
            del self._held[key]
            self._done.pop(key, None)
        if released:
            scheduler.client_releases_keys([k for k in released if k in scheduler.tasks], HOLDER)

    def tell(self, *, why: str = "", ended: bool = False) -> None:
        """Write what the scheduler knows of the session, if it has changed."""
        scheduler = self.scheduler
        busy = [
            str(task.key)
            for worker in scheduler.workers.values()
            for task in list(worker.processing)[: worker.nthreads]
        ]
        told = {
            "state": "stopped" if ended else "running",
            "why": why or self._told.get("why", ""),
            "workers": len(scheduler.workers),
            "hosts": sorted({worker.host for worker in scheduler.workers.values()}),
            "clients": len(scheduler.client_comms),
            "busy": sorted(busy),
        }
        if told == self._told:
            return
        self._told = told
        temporary = self.folder / f".{STATUS}.{os.getpid()}"
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as file:
                json.dump({**told, "updated": time.time()}, file)
            os.replace(temporary, self.folder / STATUS)
        except OSError as error:  # the folder is deleted while the scheduler ends
            logger.debug("cannot write %s: %s", STATUS, error)


def dask_setup(scheduler: Any) -> None:
    """Have a scheduler keep its session alive, as the folder of its scheduler file says."""
    folder = Path(scheduler.scheduler_file).parent
    settings = json.loads((folder / SESSION).read_text())
    keeper = Keeper(scheduler, folder, float(settings["alone_for"]))
    scheduler.add_plugin(keeper)
