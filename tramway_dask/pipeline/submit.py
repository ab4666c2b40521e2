"""Submit the units of a plan and store their results as they complete, while the caller goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..results.store import Store
from .background import BackgroundRun, Submitted
from .execute import Recorder
from .graph import Batch, Reach, delayed_units
from .plan import Plan

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["submit_units"]


def submit_units(
    plan: Plan,
    analyzer: Any,
    store: Store,
    recorder: Recorder,
    client: Client,
    *,
    reach: Reach | None = None,
    announce: Callable[[Sequence[Batch]], None] = lambda batches: None,
    env: Any = None,
) -> Submitted:
    """Submit every unit as a task of its own; results are stored by the client as they complete.

    `announce` is told the tasks before they are submitted.
    """
    reach = Reach(store) if reach is None else reach
    announce([Batch([unit]) for unit in plan.todo])
    tasks = delayed_units(plan, analyzer.specification(), reach, stored=store)
    futures = dict(zip(tasks, client.compute(list(tasks.values())), strict=True))
    background = BackgroundRun(recorder, client, env)
    background.watch({future: [unit] for unit, future in futures.items()}, blame=True)
    return Submitted({unit.place: future for unit, future in futures.items()}, background)
