"""Exports of what an analyzer holds, and of what a results folder remembers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import SpecificationError, StoreError, suggest
from ..export.files import MAP_FORMATS, TRACK_FORMATS, export_maps, export_tracks
from ..export.rwa import write_rwa
from ..pipeline.work import fill_from_store
from ..results.files import to_filename
from ..results.store import Store
from ..spt_data import linkers
from ..spt_data.analyses import Analyses
from ..spt_data.sources import Source
from .tables import known_groups, only_label

__all__ = ["FORMATS", "export", "recorded_sources"]

FORMATS = (*MAP_FORMATS, *TRACK_FORMATS, "rwa")
TABLES = ("parquet", "csv", "zarr")


def export(
    store: Store,
    sources: Sequence[Source],
    format: str,
    path: str | Path | None = None,
    label: str | int | None = None,
    *,
    sampling: str | None = None,
    only: Sequence[str] | None = None,
    pixel_size: float | None = None,
    dt: float | None = None,
) -> list[Path]:
    """Write results or trajectories for other programs; see `RWAnalyzer.export`.

    Parameters
    ----------
    store : Store
    sources : sequence of Source
        Those of the analyzer, or `recorded_sources`.
    format, path, label, sampling, only, pixel_size, dt
        As for `RWAnalyzer.export`.
    """
    if format not in FORMATS:
        raise SpecificationError(f"format: unknown value {format!r}; {suggest(format, FORMATS)}")
    folder = store.folder / "exports"
    if format in MAP_FORMATS:
        _only_for_frames(format, pixel_size, dt)
        label = only_label(store) if label is None else str(label)
        name = f"{to_filename(label)}.{format}" if format in TABLES else to_filename(label)
        groups = known_groups(store, {s.name: s.groups for s in sources})
        target = Path(path) if path is not None else folder / name
        return export_maps(store, format, target, label, sampling=sampling, sources=only, groups=groups)
    if label is not None or sampling is not None:
        raise SpecificationError(
            f"format {format!r} is not that of one label: it holds trajectories or everything"
        )
    for name in only or ():
        if name not in {s.name for s in sources}:
            raise SpecificationError(f"no source {name!r} here; {suggest(name, [s.name for s in sources])}")
    chosen = [s for s in sources if only is None or s.name in only]
    if not chosen:
        raise StoreError(f"{store.folder} remembers no source of trajectories: was it written by a run?")
    target = Path(path) if path is not None else folder / ("trajectories" if format != "rwa" else "rwa")
    if format in TRACK_FORMATS:
        if format in ("trxyt", "tracks"):
            _only_for_frames(format, pixel_size, dt)
        return export_tracks(chosen, format, target, pixel_size=pixel_size, dt=dt)
    _only_for_frames(format, pixel_size, dt)
    return [_rwa(store, source, target / f"{to_filename(source.name)}.rwa") for source in chosen]


def _only_for_frames(format: str, pixel_size: float | None, dt: float | None) -> None:
    for name, value in (("pixel_size", pixel_size), ("dt", dt)):
        if value is not None:
            raise SpecificationError(
                f"{name} is for the formats 'trackpy' and 'napari'; {format!r} is in µm and s"
            )


def _rwa(store: Store, source: Source, path: Path) -> Path:
    tree = Analyses(lambda: source.dataframe)
    fill_from_store(store, source.name, tree)
    write_rwa(path, source.dataframe, tree)
    return path


def recorded_sources(store: Store) -> list[Source]:
    """Return the files of trajectories that the last runs into a results folder have read.

    Tables that were given in memory are not among them.
    """
    made = []
    for name, about in store.read_run().get("sources", {}).items():
        if about.get("path") is None or "host" in about:
            continue
        options: dict[str, Any] = dict(about.get("options") or {})
        if "linker" in options:
            kind, parameters = options["linker"].get("type"), dict(options["linker"])
            del parameters["type"]
            options["linker"] = getattr(linkers, str(kind))(**parameters)
        source = Source(about["path"], reader=about.get("reader"), options=options, alias=name)
        source.condition, source.replicate = about.get("condition"), about.get("replicate")
        made.append(source)
    return made
