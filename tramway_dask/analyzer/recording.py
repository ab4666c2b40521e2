"""What a results folder keeps of a run: its record in ``run.json``, and its log."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from ..pipeline.plan import Plan
from ..pipeline.report import RunReport
from ..results.artefacts import plain
from ..results.store import FORMAT

if TYPE_CHECKING:
    from .rwanalyzer import RWAnalyzer

__all__ = ["logged", "recorded"]

PACKAGES = ("tramway_dask", "dask", "distributed", "numpy", "scipy", "pandas", "pyarrow")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout that is not installed
        return "unknown"


@contextlib.contextmanager
def logged(analyzer: RWAnalyzer) -> Iterator[None]:
    """Write the log of a run to the results folder as well."""
    package = logging.getLogger("tramway_dask")
    try:
        handler = logging.FileHandler(analyzer.results.folder / "log", delay=True)
    except OSError as error:
        raise StoreError(f"cannot write the log in {analyzer.results.folder}: {error}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    # who has asked for no log sees warnings nevertheless, as without this file
    shown = None if package.hasHandlers() else logging.lastResort
    package.addHandler(handler)
    if shown is not None:
        package.addHandler(shown)
    try:
        yield
    finally:
        package.removeHandler(handler)
        if shown is not None:
            package.removeHandler(shown)
        handler.close()


@contextlib.contextmanager
def recorded(analyzer: RWAnalyzer, report: RunReport, planned: Plan | None) -> Iterator[None]:
    """Keep the record of the run in ``run.json``."""
    store = analyzer.results
    record = store.read_run()
    entry: dict[str, Any] = {
        "start": datetime.now(UTC).isoformat(timespec="seconds"),
        "end": None,
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "specification": analyzer.to_dict(),
    }
    record["format"] = FORMAT
    record.setdefault("runs", []).append(entry)
    sources = record.setdefault("sources", {})
    regions: dict[str, dict[str, None]] = {}
    for unit in planned.units if planned is not None else ():
        regions.setdefault(unit.task.source, {})[unit.task.region] = None
    for source in analyzer.spt_data:
        about = source.record()
        if words := source.described():
            about["read_as"] = words
        if source.path is not None and not source.elsewhere:
            with contextlib.suppress(OSError):
                about["bytes"] = os.path.getsize(source.path)
        # what was to be done can be compared with what was done, also after a run that was stopped
        about["regions"] = [region for region in regions.get(source.name, ()) if region]
        sources[source.name] = plain(about)
    store.write_run(record)
    analyzer.logger.info("run started on %s, process %s", entry["host"], entry["python"])
    try:
        yield
    except BaseException as error:
        entry["stopped_by"] = f"{type(error).__name__}: {error}".split("\n")[0]
        raise
    finally:
        entry["end"] = datetime.now(UTC).isoformat(timespec="seconds")
        entry["units"] = {"done": report.done, "skipped": report.skipped, "failed": report.failed}
        with contextlib.suppress(StoreError):
            store.write_run(record)
