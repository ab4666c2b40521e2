"""What would run: the units of each stage, what they depend on, and which are done."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Any

import pandas as pd

from ..cards import badge, card, counts, folded, guarded, items
from ..cards import table as html_table
from ..component import canonical, fingerprint
from ..errors import ClusterError, LabelConflictError, PipelineError, TramwayDaskError
from ..results.artefacts import folder_of
from ..results.store import RESERVED, Store, with_groups
from ..spt_data.analyses import FULL_REGION
from .report import told_units
from .stages import Stage, check_maps_label, relabelled
from .work import Failure, UnitTask

__all__ = ["Plan", "PlannedUnit", "make_plan"]

# part of every key: to be raised when the same parameters no longer give the same numbers
ALGORITHMS = 1
MAX_LABELS = 10_000
# sources that cannot be used, in a summary
SHOWN = 5
FIRST = 20  # units that a notebook shows
COLUMNS = ("stage", "source", "roi", "label", "status", "why", "file")


@dataclass(eq=False)
class PlannedUnit:
    """A unit of work, its place in the plan and its state.

    `tables` are the sources in memory that a stage over the full dataset may ask for.
    """

    task: UnitTask
    stage: Stage
    source: Any = None
    regions: tuple[Any, ...] = ()
    tables: tuple[Any, ...] = ()
    upstream: list[PlannedUnit] = field(default_factory=list)
    status: str = "to do"
    failure: Failure | None = None

    @property
    def place(self) -> tuple[str, str]:
        """Source and region."""
        return self.task.source, self.task.region

    def row(self) -> tuple[str, ...]:
        """Return what a table says of the unit: stage, source, region, label, status, why it failed, and the file."""
        task = self.task
        label = "/".join(str(p) for p in task.outputs[-1][:2] if p) if task.outputs else ""
        file = "" if self.source is None else self.source.where
        place = (task.source or "(all)", task.region or "(all)")
        return task.name, *place, label, self.status, str(self.failure or ""), file


@dataclass(eq=False)
class Plan:
    """Units in the order of their stages.

    Attributes
    ----------
    units : list of PlannedUnit
    stages : list of Stage
        With labels chosen.
    blocks : list of int
        How many stages that run on the analyzer itself stand before each stage.
    units_of_data : dict
        Format and units of each source's file, in words.
    left_out : dict
        Files that matched the pattern of the sources and are none, each with the reason.
    """

    units: list[PlannedUnit]
    stages: list[Stage]
    blocks: list[int] = field(default_factory=list)
    units_of_data: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._by_place: dict[tuple[str, str], list[PlannedUnit]] = {}
        self._outputs: dict[tuple[str, tuple[str, str | None, str]], str] = {}

    def append(self, unit: PlannedUnit) -> None:
        """Add a unit of a later stage, after those that it must wait for."""
        unit.upstream = self.before(unit)
        self.units.append(unit)
        self._by_place.setdefault(unit.place, []).append(unit)
        for output in unit.task.outputs:
            self._outputs[unit.task.source, output[:3]] = output[3]

    def before(self, unit: PlannedUnit) -> list[PlannedUnit]:
        """Return the units of earlier stages that concern the same source and region."""
        source, region = unit.place
        if source and region:
            places = [("", ""), (source, ""), (source, region)]
        else:
            places = [p for p in self._by_place if p[0] in ("", source) or not source]
        return [u for p in places for u in self._by_place.get(p, ()) if u.task.stage < unit.task.stage]

    def together(self, unit: PlannedUnit, stage: int) -> bool:
        """Tell whether no stage that runs on the analyzer itself stands between a unit and a stage."""
        return self.blocks[unit.task.stage] == self.blocks[stage]

    def key_of(self, source: str, output: tuple[str, str | None, str]) -> str | None:
        """Return the key of an output that an earlier stage makes."""
        return self._outputs.get((source, output))

    def __len__(self) -> int:
        return len(self.units)

    def __iter__(self) -> Iterator[PlannedUnit]:
        return iter(self.units)

    @property
    def todo(self) -> list[PlannedUnit]:
        """Units that have to run."""
        return [u for u in self.units if u.status == "to do"]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per unit: stage, source, region, label, status, why it failed, and the file.

        With condition and replicate, if sources have any.
        """
        table = pd.DataFrame([u.row() for u in self.units], columns=list(COLUMNS))
        return with_groups(
            table, {u.task.source: u.source.groups for u in self.units if u.source is not None}
        )

    def summary(self) -> str:
        """Return one line per stage: how many units are to do and done."""
        lines = []
        for i, stage in enumerate(self.stages):
            mine = [u for u in self.units if u.task.stage == i]
            if stage.inert:
                lines.append(f"{stage.name}: nothing to do here")
                continue
            counts = pd.Series([u.status for u in mine]).value_counts().to_dict()
            sources = len({u.task.source for u in mine})
            told = ", ".join(f"{n} {status}" for status, n in counts.items()) or "no unit"
            lines.append(f"{stage.name}: {told} ({len(mine)} units in {sources} sources)")
        far = {u.source.where: u.source.place.name for u in self.units if u.source and u.source.elsewhere}
        for name, count in Counter(far.values()).items():
            lines.append(f"files: {count} on {name}, {len({u.task.source for u in self.units}) - count} here")
        failed = {u.task.source: str(u.failure) for u in self.units if u.failure is not None}
        lines += [f"cannot run: {source}: {why}" for source, why in list(failed.items())[:SHOWN]]
        lines += [f"… and {len(failed) - SHOWN} more sources"] if len(failed) > SHOWN else []
        for why in dict.fromkeys(self.left_out.values()):
            names = [PurePath(path).name for path, reason in self.left_out.items() if reason == why]
            more = f", … ({len(names)} files)" if len(names) > SHOWN else ""
            lines.append(f"left out: {', '.join(names[:SHOWN])}{more}: {why}")
        return "\n".join([*lines, *told_units(self.units_of_data)])

    __repr__ = summary

    @guarded
    def _repr_html_(self) -> str:
        status = Counter(u.status for u in self.units)
        by_stage = Counter((u.task.stage, u.status) for u in self.units)
        kinds = ("to do", "done", "conflict", "failed")
        lines = [
            (stage.name, stage.granularity, *((by_stage[i, kind] or "") for kind in kinds))
            for i, stage in enumerate(self.stages)
        ]
        failed = {u.task.source: str(u.failure) for u in self.units if u.failure is not None}
        first = sorted(self.units, key=lambda u: u.status == "done")[:FIRST]
        return card(
            "Plan",
            counts(
                left=("to do", status["to do"]),
                done=("done before", status["done"]),
                failed=("cannot run", status["failed"]),
                warning=("in conflict", status["conflict"]),
            )
            or badge("note", "no unit"),
            html_table(("stage", "one unit per", *kinds), lines),
            items(f"cannot run: {source}: {why}" for source, why in failed.items()),
            items(told_units(self.units_of_data)),
            folded("units", html_table(COLUMNS, [u.row() for u in first], total=len(self))),
            about=f"{len(self):,} units of {len({u.task.source for u in self.units}):,} sources",
        )


@dataclass
class _Place:
    """A source with what is needed to plan its units."""

    source: Any
    regions: list[Any]
    content: str
    ledger: Mapping[str, Any]
    store: Store
    failure: Failure | None = None

    def __post_init__(self) -> None:
        self._held: dict[tuple[str, str], Any] = {}

    def has(self, output: Sequence[Any]) -> bool:
        """Tell whether the tables of the results folder hold an output."""
        label, map_label, roi = output[:3]
        for name in RESERVED if map_label is None else (map_label,):
            if (label, name) not in self._held:
                self._held[label, name] = self.store.regions(label, name, self.source.name)
            if roi not in self._held[label, name]:
                return False
        return True

    @cached_property
    def known(self) -> dict[tuple[str, str | None, str], tuple[str, Mapping[str, Any], str]]:
        return {
            (label, map_label, roi): (key, unit.get("parameters", {}), unit["id"])
            for unit in self.ledger.values()
            for label, map_label, roi, key in unit.get("outputs", ())
        }


def make_plan(analyzer: Any, stages: Sequence[Stage], store: Store, *, overwrite: bool = False) -> Plan:
    """List the units of the stages and tell which of them the results folder already holds.

    Raises
    ------
    PipelineError
        If there is no stage, or a stage needs a sampling that nothing provides.
    LabelConflictError
        If a label holds results made with other parameters.
    DataError, RegionError
        If no source at all can be used.
    """
    if not stages:
        raise PipelineError("the pipeline has no stage; add one with a.pipeline.append_stage(stages....)")
    if not len(analyzer.spt_data):
        raise PipelineError("there is no data; name them with a.spt_data.from_ascii_files(...)")
    store.check_format()
    analyzer.spt_data.refresh()
    places = [_place(source, store) for source in analyzer.spt_data]
    told = {p.source.name: p.source.described() for p in places if p.failure is None}
    failures = [p.failure for p in places if p.failure is not None]
    if len(failures) == len(places):
        _raise_first(analyzer)
    plan = Plan([], list(stages), [_position(analyzer, s, lambda b: b.requires_mutability) for s in stages])
    plan.units_of_data = {name: words for name, words in told.items() if words}
    plan.left_out = analyzer.spt_data.left_out
    conflicts: list[str] = []
    for i in range(len(stages)):
        _plan_stage(plan, i, analyzer, places, overwrite, conflicts)
    if conflicts:
        shown = "\n  ".join(conflicts[:5]) + ("\n  …" if len(conflicts) > 5 else "")
        raise LabelConflictError(
            f"{len(conflicts)} labels in {store.folder} hold results made with other parameters:\n  {shown}\n"
            "Choose another label or results folder, or pass overwrite=True to replace them."
        )
    return plan


def _place(source: Any, store: Store) -> _Place:
    ledger = store.units(source.name)
    try:
        source.check_readable()
        regions = source.roi.support_regions()
        return _Place(source, regions, source.content_fingerprint(), ledger, store)
    except ClusterError:
        raise
    except TramwayDaskError as error:
        return _Place(source, [], "", ledger, store, Failure.of(error))


def _raise_first(analyzer: Any) -> None:
    for source in analyzer.spt_data:
        source.check_readable()
        source.roi.support_regions()
        source.content_fingerprint()


def _plan_stage(
    plan: Plan,
    i: int,
    analyzer: Any,
    places: Sequence[_Place],
    overwrite: bool,
    conflicts: list[str],
) -> None:
    stage = plan.stages[i]
    if stage.inert:
        return
    overwrite = overwrite or stage.overwrite
    if _needs_label(stage):
        stage = plan.stages[i] = _choose_label(plan, i, analyzer, places)
    by_source = {p.source.name: p for p in places}
    for unit in _units_of(plan, i, stage, analyzer, places):
        if unit.failure is None:
            unit.status = _status(unit, by_source.get(unit.task.source), overwrite, conflicts)
        else:
            unit.status = "failed"
        plan.append(unit)


def _needs_label(stage: Stage) -> bool:
    return stage.is_preset and getattr(stage.function, "map_label", "") is None


def _choose_label(plan: Plan, i: int, analyzer: Any, places: Sequence[_Place]) -> Stage:
    """Give maps the smallest number that is free, or holds the maps of the same data and parameters."""
    by_source = {p.source.name: p for p in places}
    for number in range(MAX_LABELS):
        stage = relabelled(plan.stages[i], number)
        units = _units_of(plan, i, stage, analyzer, places)
        free = True
        for unit in units:
            known = by_source[unit.task.source].known
            for output in unit.task.outputs:
                if output[1] is None:
                    continue
                found = known.get(output[:3])
                same = found is not None and found[0] == output[3]
                free &= found is None or same
                free &= plan.key_of(unit.task.source, output[:3]) is None
        if free:
            return stage
    raise PipelineError("no free label for maps; give one: map_label=...")


def _units_of(plan: Plan, i: int, stage: Stage, analyzer: Any, places: Sequence[_Place]) -> list[PlannedUnit]:
    if stage.granularity == "full dataset":
        parts = [
            _unit(plan, i, stage, analyzer, place, tuple(place.regions), True).task.key for place in places
        ]
        name = f"{stage.name}#{_ordinal(analyzer, stage)}"
        unit = PlannedUnit(UnitTask(name, fingerprint([name, parts]), i, stage.name), stage)
        unit.tables = tuple(p.source for p in places if p.source.path is None)
        return [unit]
    units = []
    for place in places:
        whole = stage.granularity == "source"
        filters = getattr(stage.function, "filters", None)
        kept = [r for r in place.regions if filters is None or filters.accept(r)]
        groups = [tuple(kept)] if whole else [(r,) for r in kept]
        if place.failure is not None:
            groups = [()]
        for regions in groups:
            units.append(_unit(plan, i, stage, analyzer, place, regions, whole))
    return units


def _position(analyzer: Any, stage: Stage, counts: Callable[[Stage], bool]) -> int:
    """Count stages before this one in the whole pipeline."""
    return sum(map(counts, itertools.takewhile(lambda s: s is not stage, analyzer.pipeline)))


def _ordinal(analyzer: Any, stage: Stage) -> int:
    return _position(analyzer, stage, lambda s: s.name == stage.name)


def _unit(
    plan: Plan,
    i: int,
    stage: Stage,
    analyzer: Any,
    place: _Place,
    regions: tuple[Any, ...],
    whole: bool,
) -> PlannedUnit:
    region = "" if whole or not regions else regions[0].key
    source = place.source
    failure = place.failure
    parameters: dict[str, Any] = {
        "data": place.content,
        "localization_precision": source.given_precision,
        "regions": [canonical([[b.lower, b.upper] for b in r.boxes]) for r in regions],
        "seed": analyzer.seed,
        "algorithms": ALGORITHMS,
    }
    for name in stage.components:
        parameters[name] = canonical(analyzer.component(name))
    if not stage.is_preset:
        parameters["stage"] = canonical(stage.function)
        probe = PlannedUnit(UnitTask("", "", i, "", source.name, region), stage)
        parameters["earlier"] = [u.task.key for u in plan.before(probe) if plan.together(u, i)]
    else:
        parameters["discard_static"] = getattr(stage.function, "discard_static", None)
    if getattr(stage.function, "mapper", None) is not None:
        parameters["mapper"] = canonical(stage.function.mapper)  # type: ignore[attr-defined]
    if stage.needs is not None and failure is None:
        try:
            parameters["sampling"] = _key_of_input(plan, i, place, stage, region, None)
            if stage.input_label is not None:
                parameters["maps"] = _key_of_input(plan, i, place, stage, region, str(stage.input_label))
        except PipelineError as error:
            failure = Failure.of(error)
    outputs: list[tuple[str, str | None, str, str]] = []
    if stage.outputs is not None and regions:
        for label, map_label in stage.outputs(region):
            folder = folder_of(label, region)
            if map_label is None and len(stage.outputs(region)) > 1:
                # the sampling of a combined stage does not depend on the mapper
                about = {k: v for k, v in parameters.items() if k != "mapper"}
            else:
                about = parameters
            named = None if map_label is None else check_maps_label(map_label)
            outputs.append((folder, named, region, fingerprint(about)))
    # a stage that commits what it wants is known by its name: later ones of the same name are numbered
    number = _ordinal(analyzer, stage)
    place_in_folder = "/".join(str(p) for p in outputs[-1][:2] if p) if outputs else str(number)
    # the label is part of it: the same maps under two labels are two results
    unit_id = f"{stage.name} {place_in_folder} {region}".strip()
    task = UnitTask(
        id=unit_id,
        key=fingerprint([unit_id, parameters]),
        stage=i,
        name=stage.name,
        source=source.name,
        region=region,
        index=regions[0].index if regions else 0,
        outputs=tuple(outputs),
        parameters=parameters,
    )
    return PlannedUnit(task, stage, source, regions, failure=failure)


def _key_of_input(plan: Plan, i: int, place: _Place, stage: Stage, region: str, map_label: str | None) -> str:
    """Return the key of the sampling, or of the maps, that a stage reads."""
    assert stage.needs is not None
    source = place.source.name
    label = stage.needs(region)
    wanted = (folder_of(label, region), map_label, region)
    planned = plan.key_of(source, wanted)
    if planned is not None:
        return planned
    probe = PlannedUnit(UnitTask("", "", i, "", source, region), stage)
    unknown = {
        u.task.id: u.task.key for u in plan.before(probe) if not u.stage.is_preset and plan.together(u, i)
    }
    found = place.known.get(wanted)
    if found is not None and found[2] not in unknown and place.has(wanted):
        return found[0]
    if unknown or plan.blocks[i]:  # a stage of the user's may commit it
        return fingerprint(list(unknown.values()))
    what = f"sampling {label!r}" if map_label is None else f"maps {map_label!r} of sampling {label!r}"
    raise PipelineError(
        f"source {place.source.name!r}, region {region or FULL_REGION!r}: stage {stage.name!r} needs the {what}, "
        f"which no earlier stage makes and {place.store.folder} does not hold; "
        f"add stages.{'tessellate' if map_label is None else 'infer'}() before it"
    )


def _status(unit: PlannedUnit, place: _Place | None, overwrite: bool, conflicts: list[str]) -> str:
    if place is None:
        return "to do"
    task, source = unit.task, unit.task.source
    known = place.known
    if unit.stage.is_preset:
        outputs = task.outputs
        found = {o[:3]: known.get(o[:3]) for o in outputs}
        for output in outputs:
            entry = found[output[:3]]
            if entry is not None and entry[0] != output[3] and not overwrite:
                conflicts.append(_conflict(source, output, entry[1], task.parameters))
                return "conflict"
        same = all(found[o[:3]] is not None and found[o[:3]][0] == o[3] for o in outputs)  # type: ignore[index]
        return "done" if same and outputs and all(place.has(o) for o in outputs) else "to do"
    former = place.ledger.get(task.id)
    if former is None or not former.get("outputs"):
        return "to do"
    if former["key"] != task.key:
        if not overwrite:
            conflicts.append(
                _conflict(source, (task.name, None, task.region), former["parameters"], task.parameters)
            )
            return "conflict"
        return "to do"
    return "done" if all(place.has(o) for o in former["outputs"]) else "to do"


def _conflict(source: str, output: Sequence[Any], before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    label = "/".join(str(p) for p in output[:2] if p is not None)
    changes = list(_differences(before, now))
    told = "; ".join(changes[:4]) + ("; …" if len(changes) > 4 else "")
    return f"{label} of source {source!r}, region {output[2] or FULL_REGION!r}: {told or 'other stages'}"


def _differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in sorted({*before, *now}):
            # what only one of the two stages depends on is no change of a parameter
            if path or (name in before and name in now):
                yield from _differences(before.get(name), now.get(name), f"{path}.{name}" if path else name)
    elif before != now:
        if path in ("data", "sampling", "maps", "earlier") or path.endswith(".code"):
            yield f"{path} changed"
        else:
            yield f"{path}: {before!r} → {now!r}"
