"""What this computer remembers of runs on clusters: one small JSON file per run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..config import setting_of
from ..errors import ClusterError, suggest

__all__ = ["RunRecord", "find_record", "make_record", "plain", "read_records", "runs_folder"]

RUN_ID = re.compile(r"\d{6}-\d{6}-[0-9a-f]{6}")


@dataclass
class RunRecord:
    """Where a run is, and how it is reached.

    Attributes
    ----------
    run_id : str
    environment : str
        Name of the class, or of the site.
    parameters : dict
        Of the environment, as far as JSON can hold them.
    kind : {'ssh', 'local'}
        Whether the cluster is reached over SSH or from this host.
    host, username, port, options
        Of the connection; no password is kept.
    folder : str
        Of the run, on the cluster.
    jobs : dict of str to str
        Numbers of the jobs ``driver`` and ``workers``.
    workers : int
        Workers wanted at once.
    results : str
        Results folder on this computer.
    directory : str
        Folder in which the run was started.
    overwrite : bool
        Whether results made with other parameters are replaced.
    collectibles : list of str
    mode : {'detached', 'interactive'}
        Whether it needs nobody, or is a session that this computer leads.
    started, fetched : str
        Dates; empty if it has not happened.
    """

    run_id: str
    environment: str
    kind: str
    folder: str
    results: str
    host: str = "localhost"
    username: str | None = None
    port: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    workers: int = 1
    directory: str = ""
    overwrite: bool = False
    collectibles: list[str] = field(default_factory=list)
    mode: str = "detached"
    started: str = ""
    fetched: str = ""

    @property
    def path(self) -> Path:
        """File of the record."""
        return runs_folder() / f"{self.run_id}.json"

    def save(self) -> None:
        """Write the record, readable by its owner alone.

        Raises
        ------
        ClusterError
            If it cannot be written.
        """
        path = self.path
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as file:
                json.dump(asdict(self), file, indent=1)
            os.replace(temporary, path)
        except OSError as error:
            raise ClusterError(
                f"cannot write the record of run {self.run_id} to {path}: {error.strerror}; "
                "set tramway.runs-folder in Dask's configuration to another folder"
            ) from error

    def forget(self) -> None:
        """Delete the record."""
        self.path.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """Read a record.

        Raises
        ------
        ClusterError
            If it is damaged.
        """
        try:
            content = json.loads(path.read_text())
            known = {f.name for f in fields(cls)}
            record = cls(**{k: v for k, v in content.items() if k in known})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ClusterError(f"{path} is no record of a run: {error}") from error
        if record.run_id != path.stem or not RUN_ID.fullmatch(record.run_id):
            raise ClusterError(f"{path} is no record of a run: it calls itself {record.run_id!r}")
        return record


def make_record(env: Any, run_id: str, folder: str, **about: Any) -> RunRecord:
    """Return the record of a run that starts now.

    Parameters
    ----------
    env : Slurm
    run_id, folder : str
    **about
        Further attributes of the record.
    """
    from .sites import sites

    connection = env.connection_record()
    given = {name: getattr(env, name) for name in env.parameters() if name != "ssh_options"}
    return RunRecord(
        run_id=run_id,
        environment=sites.name_of(type(env)) or type(env).__name__,
        folder=folder,
        parameters=plain({name: value for name, value in given.items() if value is not None}),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        **{"results": "", **connection, **about},
    )


def runs_folder() -> Path:
    """Return the folder of records on this computer."""
    return Path(os.path.expandvars(os.path.expanduser(str(setting_of("runs-folder")))))


def read_records() -> list[RunRecord]:
    """Return all records, the latest run last; what is no record is passed over."""
    found = []
    folder = runs_folder()
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        if RUN_ID.fullmatch(path.stem):
            try:
                found.append(RunRecord.read(path))
            except ClusterError:
                continue
    return found


def find_record(run_id: str | None = None) -> RunRecord:
    """Return the record of a run.

    Parameters
    ----------
    run_id : str, optional
        The beginning or the end of it is enough, if it is that of one run only; default: the latest run.

    Raises
    ------
    ClusterError
        If there is none, or several.
    """
    if run_id is not None and RUN_ID.fullmatch(run_id):
        path = runs_folder() / f"{run_id}.json"
        if path.exists():
            return RunRecord.read(path)
    records = read_records()
    if not records:
        raise ClusterError(f"no run is known here: {runs_folder()} has no record")
    if run_id is None:
        return records[-1]
    same = [r for r in records if run_id and (r.run_id.startswith(run_id) or r.run_id.endswith(run_id))]
    if len(same) != 1:
        what = "several runs" if same else "no run"
        raise ClusterError(
            f"there is {what} {run_id!r}; {suggest(run_id, [r.run_id for r in same or records])}"
        )
    return same[0]


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what JSON can hold and is no secret."""
    kept = {}
    for name, value in values.items():
        if re.search(r"passw|passphrase|secret|token", name, re.I):
            continue
        value = str(value) if isinstance(value, Path) else value
        try:
            kept[name] = json.loads(json.dumps(value))
        except (TypeError, ValueError):
            continue
    return kept
