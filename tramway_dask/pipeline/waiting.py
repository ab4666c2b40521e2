"""Waits for the tasks of a cluster: never for ever without saying why."""

from __future__ import annotations

import asyncio
import logging
import queue
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future as Asked
from typing import TYPE_CHECKING, Any

from ..errors import LostClusterError
from .work import Failure, UnitResult

if TYPE_CHECKING:
    from distributed import Client, Future

    from .plan import PlannedUnit

__all__ = ["CHECK_EVERY", "Watch"]

logger = logging.getLogger("tramway_dask")

# seconds between two looks at whether the cluster is still there, while no result arrives
CHECK_EVERY = 2.0
# seconds without a worker, before this is said; then again after so many times as long
TELL_AFTER = 30.0
AGAIN = 4.0


class Watch:
    """Looks after a cluster while results are awaited.

    Parameters
    ----------
    client : distributed.Client
    check : callable
        Raises if there is no hope for more results.
    absent : callable
        Told for how many seconds there was no worker, returns why in words; raises if none will come.
    """

    def __init__(
        self,
        client: Client,
        check: Callable[[], None] = lambda: None,
        absent: Callable[[float], str] = lambda seconds: "",
    ) -> None:
        self.client = client
        self.check = check
        self.absent = absent
        self._since: float | None = None
        self._tell_after = TELL_AFTER

    def look(self) -> None:
        """Look whether results can still come.

        Raises
        ------
        LostClusterError
            If the scheduler can no longer be reached.
        """
        self.check()
        if self.client.status != "running":
            raise LostClusterError("the scheduler can no longer be reached")
        workers = self._workers()
        if workers is None:
            return  # it is busy; that the link is lost shows in the client
        if workers:
            self._since, self._tell_after = None, TELL_AFTER
            return
        now = time.monotonic()
        if self._since is None:
            self._since = now
        waited = now - self._since
        why = self.absent(waited)
        if waited >= self._tell_after:
            self._tell_after = AGAIN * waited
            logger.warning("no worker has been there for %.0f s%s", waited, f": {why}" if why else "")

    def _workers(self) -> int | None:
        """Return the number of workers; None if the scheduler does not answer soon."""
        scheduler: Any = self.client.scheduler
        asked = self._ask(scheduler.identity())
        try:
            return len(asked.result(timeout=CHECK_EVERY)["workers"])
        except (OSError, TimeoutError):
            asked.cancel()
            return None

    def _ask(self, coroutine: Coroutine[Any, Any, Any]) -> Asked[Any]:
        loop: Any = self.client.loop
        return asyncio.run_coroutine_threadsafe(coroutine, loop.asyncio_loop)

    def arrival(self, arrived: queue.Queue[Future]) -> Future:
        """Wait for the next task that has ended."""
        while True:
            try:
                return arrived.get(timeout=CHECK_EVERY)
            except queue.Empty:
                self.look()

    def outcome(self, future: Future) -> tuple[Any, Exception | None]:
        """Wait for the result of a task, or for what it raised.

        If the worker that had the result dies before it is here, the task runs again.

        Raises
        ------
        LostClusterError
            If the scheduler can no longer be reached, or has forgotten the task.
        """
        if self.client.status != "running":
            raise LostClusterError("the scheduler can no longer be reached")
        asked = self._ask(_outcome(future))
        try:
            while True:
                try:
                    found, error = asked.result(timeout=CHECK_EVERY)
                    break
                except TimeoutError:
                    self.look()
        finally:
            asked.cancel()
        if error is not None and future.status == "cancelled":
            raise LostClusterError("the scheduler can no longer be reached: it has forgotten the work")
        return found, error

    def unit(self, future: Future, unit: PlannedUnit) -> UnitResult:
        """Wait for the task of one unit; an exception that leaves the task is a failure of the unit."""
        found, error = self.outcome(future)
        if error is None:
            return found[0] if isinstance(found, list) else found
        failure = Failure.of(error)
        if failure.kind == "KilledWorker":
            text = (
                "the worker process died each time this unit ran: it was killed (out of memory?) or crashed; "
                "see the log of the workers"
            )
            failure = Failure(failure.kind, text, failure.traceback, failure.host)
        return UnitResult(unit.task, failure=failure)


async def _outcome(future: Future) -> tuple[Any, Exception | None]:
    """Return what a task returned or raised: an exception of its own may look like one of the waiting."""
    try:
        return await future, None
    except Exception as error:  # noqa: BLE001 (it is the caller's)
        return None, error
