"""Stages: functions of an analyzer, applied to each unit of work of a given granularity.

A stage receives the analyzer restricted to its unit: the iterators `spt_data`,
`roi.as_support_regions()` and `time.as_time_segments()` yield that unit only.
What it commits to the analysis trees is the result of the unit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import DataError, PipelineError, SpecificationError, StoreError, suggest
from ..inference.base import Mapper
from ..inference.mapper import from_plugin
from ..results.store import RESERVED
from ..roi.regions import chosen
from ..spt_data.analyses import Label

__all__ = [
    "GRANULARITIES",
    "Stage",
    "granularity",
    "infer",
    "reload",
    "restore_spt_data",
    "tessellate",
    "tessellate_and_infer",
]

GRANULARITIES = ("full dataset", "source", "roi", "time segment")
_SYNONYMS = {
    "full dataset": ("full dataset", "full data", "dataset", "coarsest", "all"),
    "source": ("source", "data", "data source", "spt data", "spt data source", "file"),
    "roi": ("roi", "region", "region of interest", "support region"),
    "time segment": ("time segment", "time", "segment", "finest"),
}


def granularity(name: str | None) -> str:
    """Return the standard name of a granularity; None is the coarsest.

    Raises
    ------
    SpecificationError
        If the name is not known.
    """
    if name is None:
        return GRANULARITIES[0]
    words = " ".join(str(name).lower().removeprefix("min:").replace("_", " ").split())
    for standard, names in _SYNONYMS.items():
        if words in names:
            return standard
    raise SpecificationError(f"granularity: unknown value {name!r}; {suggest(words, GRANULARITIES)}")


@dataclass
class Stage:
    """A function of an analyzer, and how it is distributed.

    Parameters
    ----------
    function : callable
        Called with the restricted analyzer.
    name : str
        For reports.
    granularity : str
        'full dataset', 'source', 'roi' or 'time segment'.
    run_everywhere : bool
        Also run the stage in the user's process, over the full dataset.
    requires_mutability : bool
        Run in the user's process on the analyzer itself, before what follows is planned.
    components : tuple of str
        Attributes of the analyzer that the results depend on.
    outputs : callable, optional
        ``outputs(region label)`` lists the (sampling label, map label) pairs that a unit commits;
        None if only the stage knows.
    needs : callable, optional
        ``needs(region label)`` names the sampling that the stage reads; None if it reads none.
    input_label : str or int, optional
        Label of the maps, below that sampling, that the stage reads.
    inert : bool
        The stage has nothing to do here.
    overwrite : bool
        Replace results that were made with other parameters.
    options : mapping
        Of the environment, such as ``sbatch_options``.
    """

    function: Callable[[Any], Any]
    name: str = ""
    granularity: str = GRANULARITIES[0]
    run_everywhere: bool = False
    requires_mutability: bool = False
    components: tuple[str, ...] = ("tesseller", "sampler", "time", "mapper")
    outputs: Callable[[str], list[tuple[Label, Label | None]]] | None = None
    needs: Callable[[str], Label] | None = None
    input_label: Label | None = None
    inert: bool = False
    overwrite: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise SpecificationError(f"a stage is a function of an analyzer, got {self.function!r}")
        self.name = self.name or getattr(self.function, "__name__", type(self.function).__name__)
        self.granularity = granularity(self.granularity)

    def __call__(self, analyzer: Any) -> Any:
        """Run the stage on an analyzer, as a function."""
        return self.function(analyzer)

    @property
    def is_preset(self) -> bool:
        """Whether what the stage commits is known beforehand."""
        return self.outputs is not None


@dataclass(frozen=True)
class _Filters:
    """Which sources and regions a preset stage processes."""

    source: Any = None
    index: Any = None
    roi_expected: bool = False

    def regions(self, analyzer: Any) -> Any:
        for region in analyzer.roi.as_support_regions(index=self.index, source=self.source):
            if not (self.roi_expected and region.label is None):
                yield region

    def accept(self, region: Any) -> bool:
        """Tell whether `regions` would yield a region."""
        if self.roi_expected and region.label is None:
            return False
        return chosen(self.index, region.index) and region.source.matches(self.source)


def _filters(stage: str, roi_expected: bool, options: dict[str, Any]) -> _Filters:
    known = {"spt_source": "source", "roi_index": "index", "roi_source": "source"}
    for name in options:
        if name not in known:
            raise SpecificationError(f"stages.{stage}: unknown argument {name!r}; {suggest(name, known)}")
    return _Filters(roi_expected=roi_expected, **{known[k]: v for k, v in options.items()})


def _check_label(stage: str, label: Any) -> None:
    if label in RESERVED:
        raise SpecificationError(f"stages.{stage}: the label {label!r} is taken by the results folder")
    if label is not None and not isinstance(label, str | int) and not callable(label):
        raise SpecificationError(f"stages.{stage}: a label is a text or a whole number, got {label!r}")


def _sampling_label(label: Any, region: str) -> Label:
    if label is None:
        return region
    return label(region) if callable(label) else label


def _sample(analyzer: Any, region: Any, discard_static: bool) -> Any:
    if region.reduced is not None:
        return region.reduced
    table = region.crop()
    where = f"source {region.source.name!r}, region {region.key!r}"
    if table.empty:
        raise DataError(f"{where}: no translocation starts there")
    kept = table
    if discard_static:
        kept = region.discard_static_trajectories(table)
        if kept.empty:
            raise DataError(
                f"{where}: all {len(table)} translocations are shorter than the localization precision; "
                "lower it, or pass discard_static=False to the stage"
            )
        kept.attrs = dict(table.attrs)
    sampling = analyzer.sampler.sample(kept)
    sampling.param["discarded"] = len(table) - len(kept)
    return sampling


@dataclass(frozen=True)
class _Tessellate:
    label: Any
    discard_static: bool
    filters: _Filters

    def __call__(self, analyzer: Any) -> None:
        for region in self.filters.regions(analyzer):
            with region.autosaving():
                region.add_sampling(
                    _sample(analyzer, region, self.discard_static), _sampling_label(self.label, region.key)
                )

    def outputs(self, region: str) -> list[tuple[Label, Label | None]]:
        return [(_sampling_label(self.label, region), None)]


@dataclass(frozen=True)
class _Infer:
    map_label: Label | None
    sampling_label: Any
    filters: _Filters
    input_label: Label | None = None
    mapper: Any = None

    def __call__(self, analyzer: Any) -> None:
        mapper = analyzer.mapper if self.mapper is None else copy.copy(self.mapper).bind(analyzer)
        if self.input_label is not None and not mapper.takes_maps:
            raise SpecificationError(
                f"stages.infer: input_label={self.input_label!r}, but {type(mapper).__name__} is inferred from "
                "translocations alone; leave input_label out"
            )
        for region in self.filters.regions(analyzer):
            with region.autosaving():
                given = region.get_sampling(self.sampling_label)
                if self.input_label is not None:
                    given = given.get_child(self.input_label)
                mapper.infer(given).commit_as_analysis(self.map_label)

    def outputs(self, region: str) -> list[tuple[Label, Label | None]]:
        return [(self.needs(region), self.map_label)]

    def needs(self, region: str) -> Label:
        return _sampling_label(self.sampling_label, region)


@dataclass(frozen=True)
class _TessellateAndInfer:
    map_label: Label | None
    sampling_label: Any
    discard_static: bool
    filters: _Filters

    def __call__(self, analyzer: Any) -> None:
        for region in self.filters.regions(analyzer):
            with region.autosaving():
                sampling = _sample(analyzer, region, self.discard_static)
                maps = analyzer.mapper.infer(sampling)
                region.add_sampling(sampling, _sampling_label(self.sampling_label, region.key))
                maps.commit_as_analysis(self.map_label)

    def outputs(self, region: str) -> list[tuple[Label, Label | None]]:
        label = _sampling_label(self.sampling_label, region)
        return [(label, None), (label, self.map_label)]


@dataclass(frozen=True)
class _Nothing:
    """A stage that the shared analysis tree makes unnecessary."""

    def __call__(self, analyzer: Any) -> None:
        return None


def tessellate(
    label: Any = None,
    roi_expected: bool = False,
    spt_data: Any = True,
    tessellation: str = "freeze",
    discard_static: bool = True,
    overwrite: bool = False,
    **filters: Any,
) -> Stage:
    """Return the stage that segments each region.

    Parameters
    ----------
    label : str or int or function of the region's label, optional
        Label of the samplings; default: that of the region.
    roi_expected : bool
        Skip sources without regions of interest.
    spt_data, tessellation
        Accepted; the results folder holds neither whole files nor growth data.
    discard_static : bool
        Drop translocations shorter than the localization precision, if it is known. The mean over
        dimensions of the squared displacement is compared with σ². As any selection on
        displacements, it biases diffusivities upwards where √(2DΔt) is close to σ.
    overwrite : bool
        Replace results made with other parameters under the same label.
    **filters
        ``roi_index``, ``spt_source``: process some regions or sources only.
    """
    _check_label("tessellate", label)
    work = _Tessellate(label, discard_static, _filters("tessellate", roi_expected, filters))
    return Stage(
        work,
        "tessellate",
        "roi",
        components=("tesseller", "sampler", "time"),
        outputs=work.outputs,
        overwrite=overwrite,
    )


def infer(
    map_label: Label | None = None,
    sampling_label: Any = None,
    roi_expected: bool = False,
    overwrite: bool = False,
    single_path: bool = False,
    spt_data: Any = True,
    input_label: Label | None = None,
    mapper: Any = None,
    **filters: Any,
) -> Stage:
    """Return the stage that infers maps from the sampling of each region.

    Parameters
    ----------
    map_label : str or int, optional
        Label of the maps; default: the smallest whole number that is free, or that holds the maps
        of the same data and parameters.
    sampling_label : str or int or function of the region's label, optional
        Which sampling; default: the one labelled after the region.
    roi_expected, overwrite, **filters
        As in `tessellate`.
    single_path, spt_data
        Accepted; every artefact is stored once and alone anyway.
    input_label : str or int, optional
        Infer from the maps of this label, made by an earlier stage from the same sampling, such as
        Bayes factors from signal-to-noise ratios. The new maps are stored beside them.
    mapper : model, name or function, optional
        Model of this stage, as for the attribute `mapper` of the analyzer; default: that of the
        analyzer when the pipeline runs.
    """
    _check_label("infer", map_label)
    _check_label("infer", input_label)
    if isinstance(mapper, type):
        mapper = mapper()
    elif mapper is not None and not isinstance(mapper, Mapper):
        mapper = from_plugin(mapper)
    filtered = _filters("infer", roi_expected, filters)
    work = _Infer(map_label, sampling_label, filtered, input_label, mapper)
    return Stage(
        work,
        "infer",
        "roi",
        components=("mapper",) if mapper is None else (),
        outputs=work.outputs,
        needs=work.needs,
        input_label=input_label,
        overwrite=overwrite,
    )


def tessellate_and_infer(
    map_label: Label | None = None,
    sampling_label: Any = None,
    spt_data: Any = True,
    overwrite: bool = False,
    roi_expected: bool = False,
    load_rwa_files: bool | None = None,
    discard_static: bool = True,
    **filters: Any,
) -> Stage:
    """Return the stage that segments each region and infers maps, in one go.

    The parameters are those of `tessellate` and `infer`; `load_rwa_files` is accepted and has no
    effect, since what the results folder holds is always taken into account.
    """
    _check_label("tessellate_and_infer", map_label)
    _check_label("tessellate_and_infer", sampling_label)
    work = _TessellateAndInfer(
        map_label, sampling_label, discard_static, _filters("tessellate_and_infer", roi_expected, filters)
    )
    return Stage(work, "tessellate_and_infer", "roi", outputs=work.outputs, overwrite=overwrite)


def reload(skip_missing: bool = True) -> Stage:
    """Return a stage that does nothing: later stages see the results of earlier ones anyway."""
    return Stage(_Nothing(), "reload", inert=True)


def restore_spt_data() -> Stage:
    """Return a stage that does nothing: trajectories are never taken out of their files."""
    return Stage(_Nothing(), "restore_spt_data", inert=True)


def relabelled(stage: Stage, map_label: Label) -> Stage:
    """Return a preset stage with its map label chosen."""
    import dataclasses

    work = stage.function
    if not isinstance(work, _Infer | _TessellateAndInfer):
        raise PipelineError(f"stage {stage.name!r} has no map label")
    chosen = dataclasses.replace(work, map_label=map_label)
    needs = chosen.needs if isinstance(chosen, _Infer) else None
    return dataclasses.replace(stage, function=chosen, outputs=chosen.outputs, needs=needs)


def check_maps_label(label: Label) -> str:
    """Return the label of maps as text, as used in the results folder."""
    if str(label) in RESERVED:
        raise StoreError(f"maps cannot be labelled {label!r}: the name is taken by the results folder")
    return str(label)
