"""What a notebook shows of an analyzer: what is chosen, and what is missing for a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..cards import badge, card, folded, guarded, items, rows

if TYPE_CHECKING:
    from .rwanalyzer import RWAnalyzer

__all__ = ["analyzer_card", "missing"]

COMPONENTS = ("tesseller", "time", "sampler", "mapper")
EXAMPLES = {"tesseller": "a.tesseller = tessellers.Hexagons", "mapper": "a.mapper = models.DV()"}


def missing(analyzer: RWAnalyzer) -> list[str]:
    """Return what must still be said before `run`, one sentence each; no file is looked at."""
    wanted = []
    if not analyzer.spt_data.initialized:
        wanted.append("trajectories, as in a.spt_data.from_files(...)")
    stages = [stage for stage in analyzer.pipeline if not stage.inert]
    if not stages:
        wanted.append("a stage, as in a.pipeline.append_stage(stages.tessellate_and_infer(map_label='maps'))")
    presets = [stage for stage in stages if stage.is_preset]
    for name, example in EXAMPLES.items():
        if analyzer.component(name) is None and any(name in stage.components for stage in presets):
            wanted.append(f"a {name}, as in {example}")
    return wanted


@guarded
def analyzer_card(analyzer: RWAnalyzer) -> str:
    """Return the HTML representation of an analyzer; nothing is read or computed for it."""
    wanted = missing(analyzer)
    ready = badge("done", "ready to run") if not wanted else badge("warning", "not ready to run")
    about: list[tuple[str, Any]] = [("spt_data", _data(analyzer)), ("roi", repr(analyzer.roi))]
    about += [(name, _component(analyzer, name)) for name in COMPONENTS]
    about += [("stages", _stages(analyzer)), ("env", _env(analyzer)), ("results", _results(analyzer))]
    about += [("seed", str(analyzer.seed) if analyzer.seed else None)]
    details = []
    for name in COMPONENTS:
        held = analyzer.component(name)
        if held is not None:
            chosen = set(held.chosen())
            details += [
                (f"{name}.{p}", f"{getattr(held, p)!r}{'' if p in chosen else ' (default)'}")
                for p in held.to_dict()
                if p != "type"
            ]
    return card(
        type(analyzer).__name__,
        ready,
        items(f"missing: {line}" for line in wanted),
        rows(about),
        folded("all parameters", rows(details)),
    )


def _data(analyzer: RWAnalyzer) -> str:
    data = analyzer.spt_data
    if not data.initialized:
        return "none yet"
    given = {source.given_precision for source in data.held}
    sigma = "localization precision not given"
    if given != {None}:
        first = next(iter(given))
        same = len(given) == 1 and first is not None
        sigma = f"localization precision {first:g} µm" if same else "localization precisions differ"
    return f"{data!r}, {sigma}"


def _component(analyzer: RWAnalyzer, name: str) -> str:
    held = analyzer.component(name)
    return "not chosen" if held is None else repr(held)


def _stages(analyzer: RWAnalyzer) -> Any:
    lines = [f"{stage.name}, one unit per {stage.granularity}" for stage in analyzer.pipeline]
    return items(lines) or "none yet"


def _env(analyzer: RWAnalyzer) -> str:
    env = analyzer.env
    return "in this process" if env is None else f"{env!r}, {env.state()}"


def _results(analyzer: RWAnalyzer) -> str:
    store = analyzer.results
    labels = store.labels()
    maps = sorted({label for held in labels.values() for label in held})
    told = [f"samplings {', '.join(labels)}"] if labels else []
    told += [f"maps {', '.join(maps)}"] if maps else []
    return f"{store.folder} ({'; '.join(told) or 'nothing yet'})"
