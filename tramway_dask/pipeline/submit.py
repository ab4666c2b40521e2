"""Submit the units of a plan and store their results as they complete, while the caller goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from ..results.store import Store
from .execute import Recorder, result_of
from .graph import Batch, Reach, delayed_units
from .plan import Plan, PlannedUnit

if TYPE_CHECKING:
    from distributed import Client, Future

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
    finished: Callable[[], None] = lambda: None,
) -> dict[PlannedUnit, Future]:
    """Submit every unit as a task of its own; results are stored by the client as they complete.

    `announce` is told the tasks before they are submitted; `finished` is called when nothing more will be stored.
    """
    reach = Reach(store) if reach is None else reach
    announce([Batch([unit]) for unit in plan.todo])
    tasks = delayed_units(plan, analyzer.specification(), reach, stored=store)
    futures = dict(zip(tasks, client.compute(list(tasks.values())), strict=True))
    left = iter(range(len(futures), 0, -1))

    def arrived(unit: PlannedUnit) -> Callable[[Future], None]:
        def store_it(future: Future) -> None:
            try:
                if future.status not in ("cancelled", "lost"):
                    recorder.take(result_of(future, unit))
            finally:
                if next(left) == 1:
                    with contextlib.suppress(StoreError):
                        recorder.close()
                    finished()

        return store_it

    if not futures:
        finished()
    for unit, future in futures.items():
        future.add_done_callback(arrived(unit))
    return futures
