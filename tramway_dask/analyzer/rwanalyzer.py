"""The analyzer: the specification of an analysis, and the handle of its run and results."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from ..component import Component, count, fingerprint
from ..config import setting_of
from ..errors import SpecificationError, StoreError, UnknownAttributeError, suggest
from ..inference.mapper import from_plugin
from ..pipeline.background import going_on
from ..pipeline.plan import Plan, make_plan
from ..pipeline.report import RunReport
from ..pipeline.stages import Stage
from ..pipeline.work import fill_from_store
from ..results import artefacts
from ..results.files import locked
from ..results.payload import Payload
from ..results.store import Store
from ..roi import Regions
from ..roi.support import IndividualRegion, SupportRegion
from ..segmentation.sampler import BaseSampler, VoronoiSampler
from ..segmentation.tesseller import from_callable
from ..segmentation.time import SlidingWindow, Time
from ..spt_data.collection import SPTData
from ..spt_data.sources import Source
from .attributes import NoMapper, NoTesseller
from .card import analyzer_card, missing
from .dataplots import RegionPlots, SourcePlots
from .detached import RunHandle, attach, run_detached
from .pipeline import Pipeline
from .plots import MapperPlots, TessellerPlots
from .running import run, submit
from .tables import maps_table, of_sampling

if TYPE_CHECKING:
    from ..experiment import Comparison
    from ..pipeline.background import BackgroundRun, Submitted
    from ..spt_data.analyses import Analyses

__all__ = ["RWAnalyzer"]


class RWAnalyzer:
    """An analysis of molecule trajectories: data, regions, segmentation, inference, and where it runs.

    Every attribute can be given to the constructor, by keyword. A class is accepted where an instance
    is expected.

    Parameters
    ----------
    spt_data : SPTData
        Trajectories, such as ``spt_data.from_ascii_files("*.trxyt")``.
    roi : Regions
        Regions of interest; default: the whole field of view of each source.
    tesseller : Tesseller
        How space is cut into cells.
    time : Time
        How time is cut into segments; default: not at all.
    sampler : Sampler
        Which translocations belong to a cell; default: those nearest to its center.
    mapper : Mapper
        What is inferred in the cells.
    stages : Stage or sequence of Stage
        What is done, in which order.
    env : Environment or distributed.Client
        Where the work is done; default: in this process.
    results : str or Path
        Results folder; default: ``results``.
    seed : int
        From which random numbers are derived, per source and region.
    """

    def __init__(
        self,
        spt_data: SPTData | None = None,
        *,
        roi: Regions | None = None,
        tesseller: Any = None,
        time: Any = None,
        sampler: Any = None,
        mapper: Any = None,
        stages: Stage | Sequence[Stage] | None = None,
        env: Any = None,
        results: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        self._spt_data = SPTData()
        self._spt_data.attach(self)
        self._roi = Regions(self)
        self._components: dict[str, Component | None] = {"tesseller": None, "mapper": None}
        self._components |= {"time": Time().bind(self), "sampler": VoronoiSampler().bind(self)}
        self._pipeline = Pipeline()
        self._env: Any = None
        self._results = Store(results if results is not None else setting_of("results"))
        self._seed = 0
        self._logger: Any = None
        self._trees: Any = None
        self._holds_results = False
        given = {"spt_data": spt_data, "roi": roi, "tesseller": tesseller, "time": time}
        given |= {"sampler": sampler, "mapper": mapper, "env": env, "seed": seed}
        for name, value in given.items():
            if value is not None:
                setattr(self, name, value)
        for stage in [stages] if isinstance(stages, Stage) else stages or ():
            self._pipeline.append_stage(stage)

    @property
    def spt_data(self) -> SPTData:
        """The sources of trajectories."""
        return self._spt_data

    @spt_data.setter
    def spt_data(self, data: SPTData) -> None:
        if not isinstance(data, SPTData):
            raise SpecificationError(f"spt_data: expected e.g. spt_data.from_ascii_files(...), got {data!r}")
        data.attach(self)
        self._spt_data = data
        self._roi.drop_files_from(data)

    @property
    def roi(self) -> Regions:
        """Regions of interest of all sources that have none of their own."""
        return self._roi

    @roi.setter
    def roi(self, regions: Regions) -> None:
        self._roi.take(regions)

    def component(self, name: str) -> Component | None:
        """Return the tesseller, time, sampler or mapper; None if not chosen."""
        return self._components[name]

    def replace_component(self, old: Component, new: Component) -> None:
        """Put a component in the place of another one."""
        for name, held in self._components.items():
            if held is old:
                self._components[name] = new.bind(self)

    @property
    def tesseller(self) -> Any:
        """How space is cut into cells."""
        return self._components["tesseller"] or NoTesseller(self)

    @tesseller.setter
    def tesseller(self, value: Any) -> None:
        self._components["tesseller"] = copy.copy(from_callable(value)).bind(self)

    @property
    def time(self) -> Any:
        """How time is cut into segments."""
        return self._components["time"]

    @time.setter
    def time(self, value: Any) -> None:
        value = SlidingWindow(value) if isinstance(value, int | float) else value
        self._components["time"] = _component("time", value, Time, "time.SlidingWindow(duration=60)").bind(
            self
        )

    @property
    def sampler(self) -> Any:
        """Which translocations belong to which cells."""
        return self._components["sampler"]

    @sampler.setter
    def sampler(self, value: Any) -> None:
        self._components["sampler"] = _component("sampler", value, BaseSampler, "sampler.Knn(10)").bind(self)

    @property
    def mapper(self) -> Any:
        """What is inferred in the cells."""
        return self._components["mapper"] or NoMapper(self)

    @mapper.setter
    def mapper(self, value: Any) -> None:
        if not isinstance(value, Component | type):
            value = from_plugin(value)
        self._components["mapper"] = _component("mapper", value, Component, "models.DV()").bind(self)

    @property
    def pipeline(self) -> Pipeline:
        """The stages."""
        return self._pipeline

    @property
    def env(self) -> Any:
        """Where the work is done; None: in this process."""
        return self._env

    @env.setter
    def env(self, value: Any) -> None:
        from ..environments import Environment, GivenClient

        if isinstance(value, type) and issubclass(value, Environment):
            value = value()
        if value is not None and not isinstance(value, Environment):
            from distributed import Client

            if not isinstance(value, Client):
                raise SpecificationError(
                    f"env: expected an environment such as environments.LocalHost, or a dask Client; got {value!r}"
                )
            value = GivenClient(value)
        self._env = value

    def elsewhere(self) -> Any:
        """Return the files of the cluster that is the environment; None if all files are here."""
        return None if self._env is None else self._env.files

    @property
    def results(self) -> Store:
        """The results folder; may be set to a path."""
        return self._results

    @results.setter
    def results(self, folder: str | Path | Store) -> None:
        self._results = folder if isinstance(folder, Store) else Store(Path(folder).expanduser())
        self.refresh()

    @property
    def seed(self) -> int:
        """From which random numbers are derived, per source and region."""
        return self._seed

    @seed.setter
    def seed(self, value: int) -> None:
        self._seed = count("seed", value)

    @property
    def logger(self) -> Any:
        """Logger of the analysis; a handler shows it, as in ``logging.basicConfig(level="INFO")``."""
        return self._logger or logging.getLogger("tramway_dask")

    @overload
    def run(
        self,
        *,
        overwrite: bool = False,
        on_error: str = "record",
        progress: bool = True,
        batch: int | str = "auto",
        detach: Literal[False] = False,
    ) -> RunReport: ...

    @overload
    def run(
        self,
        *,
        overwrite: bool = False,
        on_error: str = "record",
        progress: bool = True,
        batch: int | str = "auto",
        detach: Literal[True],
    ) -> RunHandle: ...

    def run(
        self,
        *,
        overwrite: bool = False,
        on_error: str = "record",
        progress: bool = True,
        batch: int | str = "auto",
        detach: bool = False,
    ) -> RunReport | RunHandle:
        """Run the pipeline: what the results folder holds already is not done again.

        Parameters
        ----------
        overwrite : bool
            Replace results that were made with other parameters under the same labels.
        on_error : {'record', 'raise'}
            Whether a failing unit is recorded and the run goes on, or the run stops.
        progress : bool
            Show a progress bar. When a notebook's cell is interrupted, the work goes on where there are
            workers: run again, or `attach`.
        batch : int or 'auto'
            Units per Dask task.
        detach : bool
            Submit everything as jobs of the cluster, stages that run on the analyzer itself as well, and
            return at once: this computer is not needed any more until the results are fetched.

        Returns
        -------
        RunReport or, if detached, RunHandle

        Raises
        ------
        PipelineError, DataError, RegionError, SpecificationError
            If nothing can be run.
        LabelConflictError
            If a label holds results made with other parameters, unless `overwrite`.
        StoreError
            If the results folder cannot be written to.
        UnitFailedError
            If a unit fails and `on_error` is 'raise'.
        """
        with contextlib.nullcontext() if self.env is None else self.env.ending():
            if detach:
                return run_detached(self, overwrite=overwrite, on_error=on_error, batch=batch)
            try:
                return run(self, overwrite=overwrite, on_error=on_error, progress=progress, batch=batch)
            except KeyboardInterrupt:
                going = going_on(self.results.folder)
                if going is None:
                    raise
                words = going.farewell()
            # a notebook shows where it was interrupted: that is of no interest, and long
            raise KeyboardInterrupt(words)

    def attach(self, run_id: str | None = None) -> RunHandle | BackgroundRun:
        """Return the handle of a run on a cluster, whose results go to the results folder of this analyzer.

        Without `run_id`, that of the run of this process that goes on although nobody waits for it: one whose
        cell was interrupted, or that was submitted.

        An interactive session that goes on, although the process that has started it was killed or cut
        off, is taken up: `env` is then connected to its scheduler and workers, and what they have finished
        is fetched. `run` does the rest, joining the work that is going on.

        Parameters
        ----------
        run_id : str, optional
            Its name, or the beginning or end of it; default: the latest.

        Raises
        ------
        ClusterError
            If no such run is known here, or its cluster cannot be reached.
        """
        from .sessions import SessionHandle, take_up

        if run_id is None:
            found = going_on(self.results.folder) or (self.env.background if self.env is not None else None)
            if found is not None and found.folder.absolute() == self.results.folder.absolute():
                return found
        handle = attach(run_id, self.results)
        if isinstance(handle, SessionHandle):
            take_up(self, handle)
        return handle

    def submit(self, *, overwrite: bool = False) -> Submitted:
        """Submit the pipeline and return at once.

        Returns
        -------
        Submitted
            A dict of (source, region) to distributed.Future, of the last stage that is to be done there; its
            ``as_completed()`` gives them one by one. Results are stored as they complete, while this process
            lives.
        """
        return submit(self, overwrite=overwrite)

    def delayed(self, *, overwrite: bool = False) -> dict[tuple[str, str], Any]:
        """Return the units that are to be done as `dask.delayed` objects.

        Computing them gives a `UnitResult` each; nothing is stored.
        """
        from ..pipeline.graph import Reach, delayed_units

        plan = self.plan(overwrite=overwrite)
        graph = delayed_units(plan, self.specification(), Reach(self.results))
        return {unit.place: task for unit, task in graph.items()}

    def plan(self, *, overwrite: bool = False) -> Plan:
        """Return what `run` would do: one row per unit, printable, as a table with `to_frame`."""
        self.recover()
        stages = [s for s in self.pipeline if not s.requires_mutability]
        return make_plan(self.synchronized(), stages, self.results, overwrite=overwrite)

    def synchronized(self) -> RWAnalyzer:
        """Return the analyzer itself or, where `start_time` is 'sync', a copy with that time."""
        if getattr(self._components["time"], "start_time", None) != "sync":
            return self
        # data, pipeline and components stay those of the analyzer
        synchronized = RWAnalyzer.__new__(RWAnalyzer)
        synchronized.__dict__.update(self.__dict__)
        window = copy.copy(self._components["time"])
        window.bind(self).sync_start_times()  # type: ignore[union-attr]
        synchronized._components = {**self._components, "time": window}
        return synchronized

    def recover(self) -> None:
        """Put what an interrupted run has left into the tables."""
        if self.results.pending():
            # if a run is going on, or nothing can be written there, what is in the tables can be read
            with contextlib.suppress(StoreError), self._locked():
                for source in self.results.pending():
                    self.results.merge(source)

    def maps(self, label: str | int | None = None, *, lazy: bool = False) -> Any:
        """Return all maps of a label as one table.

        Parameters
        ----------
        label : str or int, optional
            May be left out if there is only one.
        lazy : bool
            Return a Dask dataframe instead of a pandas table.

        Returns
        -------
        DataFrame
            One row per (source, roi, segment, cell): place (µm), number of translocations, mapped
            variables and their standard errors (column ``<variable> se``); ``condition`` and
            ``replicate`` if sources have one.
        """
        self.recover()
        return maps_table(self.results, label, lazy=lazy, groups={s.name: s.groups for s in self.spt_data})

    def compare(
        self,
        map_label: str | int | None = None,
        variable: str = "diffusivity",
        *,
        sampling: str | None = None,
        **options: Any,
    ) -> Comparison:
        """Compare the conditions of the sources, with one value per file.

        Parameters
        ----------
        map_label : str or int, optional
            May be left out if there is only one.
        variable : str
            Mapped variable, or a vector (its amplitude).
        sampling : str, optional
            Label of the sampling, if several have such maps.
        **options
            Those of `tramway_dask.experiment.compare`: ``statistic``, ``test``, ``unit``, ``paired``,
            ``reference``, ``confidence``.

        Returns
        -------
        Comparison
            Tables ``files``, ``conditions`` and ``tests``; ``plot()`` draws them.
        """
        from ..experiment import compare

        return compare(of_sampling(self.maps(map_label), sampling), variable, **options)

    def export(
        self,
        format: str,
        path: str | Path | None = None,
        map_label: str | int | None = None,
        *,
        sampling: str | None = None,
        sources: Sequence[str] | None = None,
        pixel_size: float | None = None,
        dt: float | None = None,
    ) -> list[Path]:
        """Write results or trajectories for other programs.

        Parameters
        ----------
        format : str
            Maps with their cells: ``'parquet'``, ``'csv'`` (one file, units beside it), ``'geojson'`` (a folder,
            one file per source), ``'zarr'`` (groups ``<source>/<region>``, for xarray). Trajectories, a folder with
            one file per source: ``'trxyt'``, ``'tracks'`` (parquet), ``'trackpy'`` (csv), ``'napari'`` (npz).
            ``'rwa'``: trajectories, samplings and maps as TRamWAy 0.7 loads them, one file per source.
        path : str or Path, optional
            File or folder; default: in ``exports`` in the results folder.
        map_label : str or int, optional
            Of maps; may be left out if there is only one.
        sampling : str, optional
            Label of the sampling, if several have such maps.
        sources : sequence of str, optional
            Names; default: all.
        pixel_size : float, optional
            µm; lengths in pixels for ``trackpy`` and ``napari``.
        dt : float, optional
            Frame interval (s) for these; default: the median time step.

        Returns
        -------
        list of Path
            What was written; each file whole, or not at all.
        """
        from .exporting import export

        self.recover()
        given = {"sampling": sampling, "only": sources, "pixel_size": pixel_size, "dt": dt}
        return export(self.results, list(self.spt_data), format, path, map_label, **given)  # type: ignore[arg-type]

    def specification(self) -> RWAnalyzer:
        """Return a copy without data, results or environment, to be sent to workers."""
        light = RWAnalyzer(results=self.results.folder, seed=self.seed)
        light.roi.take(self.roi)
        for name, held in self.synchronized()._components.items():
            light._components[name] = None if held is None else copy.copy(held).bind(light)
        sources = []
        for source in self.spt_data:
            travelling = source.without_table()
            if source.path is None:
                travelling.name = source.name
            travelling.roi.take(source.roi)
            sources.append(travelling)
        light._set_sources(sources)
        return light

    def _set_sources(self, sources: Sequence[Source]) -> None:
        self._spt_data = SPTData.of(sources)
        self._spt_data.attach(self)

    def __copy__(self) -> RWAnalyzer:
        twin = self._twin()
        twin._spt_data = copy.copy(self._spt_data)
        twin._spt_data.attach(twin)
        twin._pipeline._stages += self._pipeline._stages
        twin._pipeline.collectibles += self._pipeline.collectibles
        return twin

    def _twin(self) -> RWAnalyzer:
        """Return an analyzer with the same settings, each its own, that has no data yet."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__getstate__(), _spt_data=SPTData())
        twin._components = {
            name: None if held is None else copy.copy(held).bind(twin)
            for name, held in self._components.items()
        }
        twin._roi = Regions(twin)
        twin._roi.take(self.roi)
        return twin

    def restricted(self, sources: Sequence[Source], regions: Sequence[Any] | None, trees: Any) -> RWAnalyzer:
        """Return a copy that sees some sources and regions only; stages are applied to it."""
        unit = self._twin()
        unit._trees = trees
        for source in sources:
            source.start_unit()
        unit._set_sources(sources)
        if regions is not None:
            sources[0].roi.fix(regions)
        return unit

    def load_analyses(self, source: Source, tree: Analyses) -> None:
        """Fill the tree of a source with what the results folder and earlier stages hold."""
        if self._trees is None:
            self.recover()
            fill_from_store(self.results, source.name, tree)
        else:
            self._trees.fill(source, tree, source.roi.fixed_labels())

    def save_analyses(self, source: Source) -> None:
        """Write to the results folder what was set in the tree of a source.

        In a stage there is nothing to do: what it commits is the result of the unit.
        """
        if self._trees is not None or not source.has_analyses or not source.analyses.changed:
            return
        records, gone = artefacts.collect(source.analyses), artefacts.removed(source.analyses)
        with self._locked():
            for record in records:
                # made by hand: no run will take it for its own
                name = f"by hand {record.label} {record.map_label} {record.roi}"
                content = Payload({}, [record]).to_bytes()
                key = fingerprint([name, np.frombuffer(content, dtype=np.uint8)])
                unit = {"id": name, "key": key, "outputs": [[*record.output, key]], "removed": []}
                self.results.add(source.name, [Payload(unit, [record])])
            self.results.add(source.name, [Payload({"id": "by hand", "removed": gone}, [])] if gone else [])
        source.forget_analyses()

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._holds_results else locked(self.results.folder)

    @contextlib.contextmanager
    def holding_results(self) -> Iterator[None]:
        """Tell that the results folder is locked by this analyzer's own run."""
        self._holds_results = True
        try:
            yield
        finally:
            self._holds_results = False

    def refresh(self) -> None:
        """Forget trees that were loaded before a run, so that they are loaded again."""
        for source in self.spt_data:
            source.forget_analyses()

    def plots_of(self, holder: Any) -> Any:
        """Return the plots of an attribute, a source or a region, by TRamWAy's names.

        Raises
        ------
        UnknownAttributeError
            If it has none.
        """
        if isinstance(holder, SPTData | Source):
            return SourcePlots(holder)
        if isinstance(holder, SupportRegion | IndividualRegion):
            return RegionPlots(holder)
        for name, plots in (("tesseller", TessellerPlots), ("mapper", MapperPlots)):
            if self._components[name] is holder:
                return plots()
        raise UnknownAttributeError(
            f"{type(holder).__name__} has no plots: maps over time are `a.mapper.mpl.animate`, cells with their "
            "localizations `a.tesseller.mpl.plot`"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not isinstance(getattr(type(self), name, None), property):
            known = [n for n, v in vars(RWAnalyzer).items() if isinstance(v, property) and v.fset]
            raise UnknownAttributeError(f"RWAnalyzer has no attribute {name!r}; {suggest(name, known)}")
        object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, _env=None, _logger=None, _trees=None, _pipeline=Pipeline())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._spt_data.attach(self)
        for held in self._components.values():
            if held is not None:
                held.bind(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as plain values."""
        return {
            "sources": {
                s.name: {"path": s.path, "condition": s.condition, **s.groups} for s in self.spt_data
            },
            "localization_precision": {s.name: s.localization_precision for s in self.spt_data},
            "roi": repr(self.roi),
            **{n: None if c is None else c.to_dict() for n, c in self._components.items()},
            "stages": [{"name": s.name, "granularity": s.granularity} for s in self.pipeline],
            "env": repr(self._env),
            "seed": self.seed,
        }

    def __repr__(self) -> str:
        lines = [f"spt_data: {self.spt_data!r}", f"roi: {self.roi!r}"]
        lines += [f"{n}: {getattr(self, n)!r}" for n in ("tesseller", "time", "sampler", "mapper")]
        lines += [f"pipeline: {self.pipeline!r}", f"env: {self.env!r}", f"results: {self.results.folder}"]
        lines += [f"missing for a run: {what}" for what in missing(self)]
        return "RWAnalyzer\n  " + "\n  ".join(lines)

    def _repr_html_(self) -> str:
        return analyzer_card(self)


def _component(name: str, value: Any, kind: type, example: str) -> Any:
    if isinstance(value, type) and issubclass(value, kind):
        value = value()
    if not isinstance(value, kind):
        raise SpecificationError(f"{name}: expected e.g. {example}, got {value!r}")
    return copy.copy(value)
