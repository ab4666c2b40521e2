"""A plan as Dask graph: read, take rows, run; one task per unit or batch of units.

The source's table is read once per source and only the rows of its regions
travel; the specification of the analysis is one node of the graph.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..component import fingerprint
from ..results.artefacts import folder_of
from ..results.payload import Payload
from ..results.store import Store
from .blockwise import delayed_rows, is_blockwise, kind_of_rows, pick
from .plan import Plan, PlannedUnit
from .work import UnitResult, read_table, run_task, take_rows

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = ["Batch", "Reach", "build_graph", "delayed_units", "make_batches"]

# a task costs the scheduler about 1 ms; this many tasks per worker keep all of them busy to the end
BATCHES_PER_WORKER = 24
LARGEST_BATCH = 64


@dataclass(frozen=True)
class Reach:
    """What the workers can reach.

    Parameters
    ----------
    store : Store, optional
        Results folder, if they can read it.
    paths : mapping of str to str
        Where they find the file of a source, if not under its own path.
    parts : str, optional
        Folder in which they leave a copy of each result.
    """

    store: Store | None = None
    paths: Mapping[str, str] = field(default_factory=dict)
    parts: str | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """Units of one stage and source that run as one task."""

    units: Sequence[PlannedUnit]

    @property
    def source(self) -> Any:
        """Their source; None for the full dataset."""
        return self.units[0].source

    @property
    def stage(self) -> Any:
        """Their stage."""
        return self.units[0].stage

    @property
    def by_region(self) -> bool:
        """Whether each unit is one region."""
        return all(u.task.region for u in self.units)

    @property
    def key(self) -> str:
        """Name of the task: the same units have the same name."""
        digest = fingerprint([[u.task.source, u.task.id, u.task.key] for u in self.units])
        first = self.units[0].task
        return "-".join(p for p in (first.name, digest[:16], first.source, first.region) if p)


def make_batches(
    units: Sequence[PlannedUnit],
    size: int | str = "auto",
    workers: int = 1,
    earlier: Sequence[Sequence[tuple[str, str]]] = (),
) -> list[Batch]:
    """Group units of the same stage and source.

    Parameters
    ----------
    units : sequence of PlannedUnit
    size : int or 'auto'
        Units per task. 'auto' makes at least 24 tasks per worker as long as there are units for it.
    workers : int
    earlier : sequence of sequence of (str, str)
        Sources and keys of units that were one task before: they are again, so that its name is the same.
    """
    per_task = max(1, min(LARGEST_BATCH, len(units) // (BATCHES_PER_WORKER * max(1, workers))))
    if size != "auto":
        per_task = int(size)
    left = {(unit.task.source, unit.task.key): unit for unit in units}
    groups: dict[tuple[int, str], list[PlannedUnit]] = {}
    again = _grouped_again(left, earlier)
    for unit in left.values():
        groups.setdefault((unit.task.stage, unit.task.source), []).append(unit)
    made = [
        Batch(group[i : i + per_task]) for group in groups.values() for i in range(0, len(group), per_task)
    ]
    return sorted([*again, *made], key=lambda batch: batch.units[0].task.stage) if again else made


def _grouped_again(
    left: dict[tuple[str, str], PlannedUnit], earlier: Sequence[Sequence[tuple[str, str]]]
) -> list[Batch]:
    """Take out of the units that are left those that were grouped before, as long as their group is whole."""
    again = []
    for group in earlier:
        if all(unit in left for unit in group):
            again.append(Batch([left.pop(unit) for unit in group]))
    return again


def build_graph(
    batches: Sequence[Batch],
    analyzer: Any,
    reach: Reach,
    *,
    stored: Store | None = None,
    salt: str = "",
) -> dict[Batch, Delayed]:
    """Return one delayed list of `UnitResult` per batch.

    Parameters
    ----------
    batches : sequence of Batch
        In the order of their stages.
    analyzer : RWAnalyzer
        The specification.
    reach : Reach
    stored : Store, optional
        Results folder from which what workers need of it is read here, if they cannot read it.
    salt : str
        Makes the names of tasks differ from those of another run. Without, the same work has the
        same name, so that a second submission joins the first.
    """
    from dask.delayed import delayed

    settings = fingerprint(analyzer.to_dict())[:12]
    specification = delayed(analyzer, name=f"analyzer-{salt}{settings}", traverse=False)
    folder = None
    if reach.store is not None:
        absolute = reach.store.folder.absolute()
        folder = delayed(
            Store(absolute), name=f"store-{salt}{fingerprint(str(absolute))[:12]}", traverse=False
        )
    made: dict[Batch, Delayed] = {}
    task_of: dict[int, Delayed] = {}
    tables: dict[str, Delayed] = {}
    sources: dict[str, Delayed] = {}
    for batch in batches:
        source = batch.source
        given: dict[str, Any] = {"store": folder, "parts": reach.parts}
        light = None
        if source is not None:
            data = f"{salt}{source.name}-{_digest_of_data(batch, reach)}"
            if data not in sources:
                sources[data] = delayed(_travelling(source, reach), name=f"source-{data}", traverse=False)
            light = sources[data]
            given |= _data(batch, light, tables, data, salt, specification)
        if source is None and reach.paths:
            named = f"paths-{salt}{fingerprint(dict(reach.paths))[:12]}"
            given["paths"] = delayed(dict(reach.paths), name=named, traverse=False)
        if source is None and batch.units[0].tables:
            held = {
                s.name: delayed(s, name=f"table-{salt}{s.name}", traverse=False)
                for s in batch.units[0].tables
            }
            given["table"] = {
                name: delayed(read_table)(s, dask_key_name=f"read-{salt}{name}") for name, s in held.items()
            }
        earlier = list({id(u): u for unit in batch.units for u in unit.upstream if id(u) in task_of}.values())
        given["upstream"] = list({task_of[id(u)].key: task_of[id(u)] for u in earlier}.values())
        if batch.by_region and given["upstream"]:
            regions = [u.task.region for u in batch.units]
            given["upstream"] = [
                delayed(_of_regions, name=f"pick-{salt}{batch.key}-{i}")(
                    group, regions, dask_key_name=f"pick-{salt}{batch.key}-{i}"
                )
                for i, group in enumerate(given["upstream"])
            ]
        if reach.store is None and stored is not None:
            # samplings first: the maps below them may come from earlier stages
            given["upstream"] = _from_store(batch, stored) + given["upstream"]
        regions = [u.regions[0] for u in batch.units] if batch.by_region else list(batch.units[0].regions)
        task = delayed(run_task)(
            specification,
            batch.stage,
            light,
            _opaque(regions, f"regions-{salt}{batch.key}"),
            _opaque([u.task for u in batch.units], f"tasks-{salt}{batch.key}"),
            dask_key_name=f"{batch.key}{'-' + salt if salt else ''}",
            **{k: v for k, v in given.items() if v is not None},
        )
        made[batch] = task
        task_of |= {id(u): task for u in batch.units}
    return made


class _Opaque(list):
    """A list that Dask need not look into."""

    pickled_like: str


def _opaque(items: Sequence[Any], name: str) -> Any:
    # named, so that a task that is submitted again depends on the same as before
    import cloudpickle
    from dask.delayed import delayed

    held = _Opaque(items)
    if cloudpickle.list_registry_pickle_by_value():
        # distributed gives to cloudpickle, which alone ships modules, only what names this one
        held.pickled_like = "__main__"
    return delayed(held, name=name, traverse=False)


def _data(
    batch: Batch, light: Delayed, tables: dict[str, Delayed], data: str, salt: str, analyzer: Delayed
) -> dict[str, Any]:
    """Return the rows of a batch's regions, and the source's table where the stage may need it."""
    from dask.delayed import delayed

    source = batch.source

    def table() -> Delayed:
        if data not in tables:
            held = light
            if source.path is None:
                held = delayed(source, name=f"table-{data}", traverse=False)
            tables[data] = delayed(_read)(held, dask_key_name=f"read-{data}")
        return tables[data]

    given: dict[str, Any] = {}
    if batch.by_region and is_blockwise(source, batch.stage, batch.units[0].regions):
        kind = f"{kind_of_rows(batch.stage)}-{data}"
        if kind not in tables:
            tables[kind] = delayed_rows(analyzer, source, light, batch.stage, kind)
        keys = [u.regions[0].key for u in batch.units]
        name = f"take-{salt}{batch.key}"
        given["rows"] = delayed(pick)(tables[kind], keys, dask_key_name=name)
        return given
    if batch.by_region and batch.stage.needs is None:
        regions = _opaque([u.regions[0] for u in batch.units], f"wanted-{salt}{batch.key}")
        name = f"take-{salt}{batch.key}"
        given["rows"] = delayed(take_rows)(table(), light, regions, dask_key_name=name)
    if batch.stage.needs is None and (not batch.by_region or _may_ask(batch)):
        given["table"] = table()
    if batch.by_region and "rows" not in given:
        given["rows"] = [None] * len(batch.units)
    return given


def _digest_of_data(batch: Batch, reach: Reach) -> str:
    """Return what a source's task names must differ by: its content, and how it is read and used."""
    parameters = batch.units[0].task.parameters
    source = batch.source
    about = [parameters.get("data"), source.given_precision, reach.paths.get(source.name), source.path]
    return fingerprint(about)[:12]


def _travelling(source: Any, reach: Reach) -> Any:
    light = source.without_table()
    light.path = reach.paths.get(source.name, light.path)
    return light


def _from_store(batch: Batch, store: Store) -> list[list[UnitResult]]:
    """Return the stored samplings, and maps, that the units of a batch read."""
    results = []
    for unit in batch.units:
        if batch.stage.needs is None:
            continue
        task = unit.task
        folder = folder_of(batch.stage.needs(task.region), task.region)
        todo = [u for u in unit.upstream if u.status == "to do"]
        if any(not u.stage.is_preset for u in todo):
            continue
        made = {output[:3] for u in todo for output in u.task.outputs}
        labels = [None] if batch.stage.input_label is None else [None, str(batch.stage.input_label)]
        records = [
            store.record(folder, label, task.region, task.source)
            for label in labels
            if (folder, label, task.region) not in made
        ]
        if not records:
            continue
        payload = Payload({"id": "stored"}, records).to_bytes()
        results.append(UnitResult(task, payloads={task.source: payload}))
    return [results] if results else []


def _read(source: Any) -> Any:
    # the source stays on the worker for the whole run: it must not keep what was read to make the table
    return read_table(copy.copy(source))


def _may_ask(batch: Batch) -> bool:
    # a file can be read again by a stage that wants more than its region; a table cannot
    return not batch.stage.is_preset and batch.source.path is None


def _of_regions(results: Sequence[UnitResult], regions: Sequence[str]) -> list[UnitResult]:
    """Keep of earlier results what concerns some regions, so that only this travels."""
    wanted = set(regions)
    kept = []
    for result in results:
        if result.task.region and result.task.region not in wanted:
            continue
        payloads: Mapping[str, bytes] = result.payloads
        if not result.task.region:
            payloads = {
                name: Payload(p.unit, [r for r in p.records if r.roi in wanted]).to_bytes()
                for name, p in ((n, Payload.from_bytes(b)) for n, b in result.payloads.items())
            }
        kept.append(replace(result, payloads=dict(payloads), returned=None))
    return kept


def delayed_units(
    plan: Plan, analyzer: Any, reach: Reach, *, stored: Store | None = None
) -> dict[PlannedUnit, Delayed]:
    """Return one delayed `UnitResult` per unit that is to be done."""
    from dask.delayed import delayed

    batches = [Batch([unit]) for unit in plan.todo]
    graph = build_graph(batches, analyzer, reach, stored=stored)
    return {
        batch.units[0]: delayed(_only)(task, dask_key_name=f"unit-{batch.key}")
        for batch, task in graph.items()
    }


def _only(results: Sequence[UnitResult]) -> UnitResult:
    (result,) = results
    return result
