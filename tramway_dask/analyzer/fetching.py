"""What a detached run has finished, brought here: only what is not here yet."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ..environments.digests import file_sha256
from ..results.archive import has_unit, merge, unpack
from ..results.files import from_filename, read_json, write_json
from ..results.store import Store

if TYPE_CHECKING:
    from ..environments.records import RunRecord

__all__ = ["collect", "fetch_results", "forget_fetched"]

# in the results folder: what was merged of each run, and a transfer that was cut
FETCHED = ".fetched"


def fetch_results(
    call: Any, shell: Any, record: RunRecord, store: Store, temporary: Path, *, overwrite: bool, over: bool
) -> int:
    """Merge the results of a run into a results folder; return the number of bytes that were sent.

    Files of the run are known by name and checksum: those that were merged before, and those that the
    results folder has as they are, are not sent.

    Parameters
    ----------
    call : callable
        Runs a coroutine.
    shell : Connection or LocalShell
    record : RunRecord
    store : Store
        Destination.
    temporary : Path
        An empty folder.
    overwrite : bool
        Replace results made with other parameters.
    over : bool
        Whether the run writes no more.
    """
    there = call(_listing(shell, record.folder))
    notes = store.folder / FETCHED / f"{record.run_id}.json"
    before = read_json(notes) or {}
    files, units = before.get("files", {}), before.get("units", {})
    whole = {source for source, names in units.items() if _still_here(store, source, names)}
    folder, sent = temporary / "results", 0
    wanted = _missing(there, files, whole)
    if over:
        # a run that goes on may change a table after its ledger was read
        wanted = [name for name in wanted if not _copied(store.folder / name, there[name], folder / name)]
    notes.parent.mkdir(parents=True, exist_ok=True)
    if wanted:
        # beside the results: a transfer that was cut is resumed
        local = notes.with_suffix(".tar")
        packed = f"{record.folder}/tmp/fetch.tar"
        call(_pack(shell, record.folder, packed, wanted))
        call(shell.download(packed, local))
        sent = local.stat().st_size
        unpack(local, folder)
        local.unlink()
    fresh = Store(folder)
    merge(store, fresh, overwrite=overwrite)
    for source in {_source_of(name) for name in there} - {""}:
        units[source] = sorted({*units.get(source, ()), *fresh.units(source)})
    write_json(notes, {"files": there, "units": units})
    return sent


def forget_fetched(store: Store, run_id: str) -> None:
    """Delete what is noted of a run in a results folder."""
    folder = store.folder / FETCHED
    for path in folder.glob(f"*{run_id}*"):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        shutil.rmtree(folder)


def _source_of(name: str) -> str:
    """Return the source that a file of a results folder is of; empty for what is of all."""
    parts = PurePosixPath(name).parts
    if len(parts) == 3:
        return from_filename(parts[1] if parts[0] == ".parts" else PurePosixPath(parts[2]).stem)
    return from_filename(PurePosixPath(name).stem) if len(parts) == 2 and parts[0] == ".units" else ""


def _still_here(store: Store, source: str, names: Iterable[str]) -> bool:
    known = store.units(source)
    return all(name in known and has_unit(store, source, known[name]) for name in names)


def _missing(there: Mapping[str, str], before: Mapping[str, str], whole: set[str]) -> list[str]:
    """Return the names of files to be sent: of a source whose tables have changed, all tables."""
    changed = {name for name in there if before.get(name) != there[name]}
    part = {name for name in there if name.startswith(".parts/")}
    renewed = {_source_of(name) for name in changed - part}
    wanted = []
    for name in there:
        source = _source_of(name)
        lost = bool(source) and source not in whole
        if name in changed or lost or (source and source in renewed and name not in part):
            wanted.append(name)
    # parts come before ledgers, ledgers before tables: what a ledger lists is in them
    return sorted(wanted)


def _copied(here: Path, digest: str, target: Path) -> bool:
    if not here.is_file() or file_sha256(here) != digest:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(here, target)
    return True


async def _listing(shell: Any, folder: str) -> dict[str, str]:
    """Return the checksums of the files of the results on the cluster."""
    results = shlex.quote(f"{folder}/results")
    command = (
        f"cd {results} 2>/dev/null || exit 0; find . -type f ! -name .lock ! -name '.writing-*' -print0 "
        "| LC_ALL=C sort -z | xargs -0 -r sha256sum 2>/dev/null; true"
    )
    said = (await shell.run(command, timeout=3600)).stdout
    lines = (line.partition("  ./") for line in said.splitlines())
    return {name: digest for digest, _, name in lines}


async def _pack(shell: Any, folder: str, packed: str, names: Iterable[str]) -> None:
    """Pack some results on the cluster; while they change, each file is whole."""
    results, archive = shlex.quote(f"{folder}/results"), shlex.quote(packed)
    command = (
        f"umask 077; LC_ALL=C tar -C {results} --ignore-failed-read --verbatim-files-from "
        f"--files-from=- -cf {archive}; [ $? -le 1 ]"
    )
    await shell.run(command, input="".join(f"./{name}\n" for name in names), timeout=3600)


def collect(call: Any, shell: Any, record: RunRecord, path: str, results: Path) -> bool:
    """Fetch a file that stages have written; a relative path is one in the folder of the run.

    Returns
    -------
    bool
        False if there is no such file (yet).
    """
    remote = path if path.startswith("/") else f"{record.folder}/{path}"
    if call(shell.run(f"[ -f {shlex.quote(remote)} ]", check=False)).status:
        return False
    here = results / "collected" / Path(path).name
    local = here if path.startswith("/") else Path(record.directory) / path
    local.parent.mkdir(parents=True, exist_ok=True)
    call(shell.download(remote, local))
    return True
