"""The client's side of the live page: it tells what runs, and answers what the page asks."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any, Protocol

__all__ = ["Shown", "Watch", "page_address"]

logger = logging.getLogger("tramway_dask")

RUNS = 8


class Shown(Protocol):
    """What the live page needs of a run; everything that it returns can be a message of Dask."""

    name: str

    def begin(self) -> dict[str, Any]:
        """Return what is to be done, and what was done before."""
        ...

    def changes(self, since: int) -> dict[str, Any]:
        """Return what has changed since a version."""
        ...

    def maps(self, units: list[int], segment: int) -> dict[int, str]:
        """Return the maps of units, as JSON."""
        ...


def page_address(dashboard_link: str | None) -> str:
    """Return the address of the live page beside that of the dashboard; empty if there is none.

    Examples
    --------
    >>> page_address("http://127.0.0.1:8787/status")
    'http://127.0.0.1:8787/tramway'
    """
    return f"{dashboard_link.rpartition('/')[0]}/tramway" if dashboard_link else ""


class Watch:
    """Shows the runs of a client.

    Parameters
    ----------
    client : distributed.Client

    Attributes
    ----------
    shown : bool
        Whether the scheduler has a dashboard.
    """

    def __init__(self, client: Any) -> None:
        from .plugin import LivePage

        self.client = client
        self.topic = f"tramway-live-{client.id}"
        self._runs: dict[str, Shown] = {}
        self._answers: set[asyncio.Future[None]] = set()
        self._guard = threading.Lock()
        self.client.register_plugin(LivePage())
        self.shown = bool(self.client.sync(self.client.scheduler.tramway_live))
        if self.shown:
            self.client.subscribe_topic(self.topic, self._asked)

    def begin(self, run: Shown) -> None:
        """Show a run from now on."""
        with self._guard:
            self._runs[run.name] = run
            for name in list(self._runs)[:-RUNS]:
                del self._runs[name]
        about = {**run.begin(), "run": run.name, "topic": self.topic, "client": self.client.id}
        self.client.sync(self.client.scheduler.tramway_live, begin=about)

    def end(self, run: Shown) -> None:
        """Tell the end of a run, which may be looked at when this process has gone."""
        if self.client.status == "running":
            self.client.loop.add_callback(self._asked, (0.0, {"run": run.name, "since": -1, "question": 0}))

    def _asked(self, event: Any) -> None:
        # results wait until this returns: maps are read elsewhere
        answer = asyncio.ensure_future(self._answer(event[1]))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    async def _answer(self, asked: dict[str, Any]) -> None:
        run = self._runs.get(asked["run"])
        if run is None:
            return
        told: dict[str, Any] = {"run": run.name, "question": asked["question"]}
        try:
            units = asked.get("units")
            if units:
                segment = int(asked["segment"])
                told |= {"maps": await asyncio.to_thread(run.maps, list(units), segment), "segment": segment}
            told |= run.changes(asked["since"])
            await self.client.scheduler.tramway_live(**told)
        except Exception as error:  # a page that does not answer must not end a run
            logger.debug("live page: %s: %s", type(error).__name__, error)
