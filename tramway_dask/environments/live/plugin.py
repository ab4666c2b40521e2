"""What serves the live page: a plugin that runs in the Dask scheduler."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from .state import Maps, Run

__all__ = ["PATH", "LivePage"]

logger = logging.getLogger("distributed.scheduler")

PATH = "tramway"
# runs that are remembered
RUNS = 8
# s; how long an answer of the client is waited for, and how often it is asked at most
PATIENCE = 1.5
ASK_EVERY = 0.4


class LivePage(SchedulerPlugin):
    """Shows runs at ``/tramway``, if the scheduler has a dashboard.

    The state of tasks is looked up here, when somebody looks at the page; what came out of them is asked for
    then, by an event that the client has subscribed to.
    """

    name = "tramway-live-page"
    idempotent = True

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.scheduler: Any = None
        self.shown = False

    async def start(self, scheduler: Any) -> None:
        """Add the page to the dashboard; called by the scheduler."""
        from .routes import add_page

        self.scheduler = scheduler
        self.maps = Maps()
        self._numbers = itertools.count(1)
        self._awaited: dict[int, asyncio.Future[None]] = {}
        self._asking: dict[str, asyncio.Future[None]] = {}
        self._asked: dict[str, float] = {}
        scheduler.handlers["tramway_live"] = self.hear
        self.shown = add_page(self, scheduler)

    async def hear(
        self,
        begin: Mapping[str, Any] | None = None,
        run: str = "",
        version: int = 0,
        changes: Sequence[Sequence[Any]] = (),
        elapsed: float = 0.0,
        ended: float | None = None,
        how: str = "",
        maps: Mapping[int, str] | None = None,
        segment: int = 0,
        question: int = 0,
    ) -> bool:
        """Note what a client tells; return whether there is a page to show it.

        Parameters
        ----------
        begin : mapping, optional
            A new run; see `Run`.
        run : str
            The run that the rest is about.
        version, changes, elapsed, ended, how
            See `Run.take`.
        maps : mapping of int to str, optional
            Maps of units, as JSON.
        segment : int
            The time segment that they show.
        question : int
            What this is the answer to.
        """
        if begin is not None and self.shown:
            new = Run(begin)
            self.runs[new.name] = new
            # the client does so as well, but this may come first
            self.scheduler.subscribe_topic(new.topic, new.client)
            for name in list(self.runs)[:-RUNS]:
                del self.runs[name]
                self.maps.drop(name)
        known = self.runs.get(run)
        if known is not None:
            known.take(version, changes, elapsed, ended, how)
            self.maps.put(run, segment, maps or {})
        answered = self._awaited.pop(question, None)
        if answered is not None and not answered.done():
            answered.set_result(None)
        return self.shown

    def latest(self, name: str = "") -> Run | None:
        """Return a run by its name, else the last that has begun."""
        return self.runs.get(name) or (list(self.runs.values())[-1] if self.runs else None)

    def connected(self, run: Run) -> bool:
        """Tell whether the process that has started a run is there."""
        return run.client in self.scheduler.clients

    async def refresh(self, run: Run) -> None:
        """Ask the client of a run what is new; however many look, once in a while."""
        # one that was stopped may go on
        if run.how == "finished" or not self.connected(run):
            return
        if run.name in self._asking:
            await asyncio.shield(self._asking[run.name])
            return
        if time.monotonic() - self._asked.get(run.name, 0.0) < ASK_EVERY:
            return
        self._asked[run.name] = time.monotonic()
        self._asking[run.name] = asyncio.ensure_future(self._ask(run))
        try:
            await asyncio.shield(self._asking[run.name])
        finally:
            self._asking.pop(run.name, None)

    async def fetch(self, run: Run, units: Sequence[int], segment: int) -> dict[int, str]:
        """Return the maps of units as JSON; those that are not here are asked for."""
        missing = [unit for unit in units if self.maps.get(run.name, unit, segment) is None]
        if missing and self.connected(run):
            await self._ask(run, missing, segment)
        found = {unit: self.maps.get(run.name, unit, segment) for unit in units}
        return {unit: text for unit, text in found.items() if text is not None}

    async def _ask(self, run: Run, units: Sequence[int] = (), segment: int = 0) -> None:
        question = next(self._numbers)
        answered = self._awaited[question] = asyncio.get_running_loop().create_future()
        asked = {"run": run.name, "since": run.version, "question": question}
        if units:
            asked |= {"units": list(units), "segment": segment}
        self.scheduler.log_event(run.topic, asked)
        try:
            await asyncio.wait_for(answered, PATIENCE)
        except TimeoutError:
            logger.debug("live page: no answer of the client of run %s", run.name)
        finally:
            self._awaited.pop(question, None)
