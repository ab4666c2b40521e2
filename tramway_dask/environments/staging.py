"""Files of a run on the cluster: found where they are, or uploaded once."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from .digests import B2SUM, file_digest

__all__ = ["Staged", "digest_of", "stage"]

BLOCK = 1 << 20


@dataclass(frozen=True)
class Staged:
    """Where the files are on the cluster, and what had to be sent.

    Attributes
    ----------
    paths : mapping of str to str
        Remote path of each local one.
    sent : int
        Number of files uploaded.
    size : int
        Bytes uploaded.
    """

    paths: Mapping[str, str]
    sent: int = 0
    size: int = 0


def digest_of(path: Path) -> str:
    """Return the checksum of a file."""
    try:
        return file_digest(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


async def stage(
    shell: Any,
    files: Sequence[str],
    *,
    mapped: Callable[[str], str | None],
    folder: str,
    upload: bool = True,
    progress: Callable[[int, int], None] | None = None,
    digests: Mapping[str, str] | None = None,
) -> Staged:
    """Make sure that the cluster has some files.

    A file is used where the mapping says that it is, if it has the same content there. Otherwise it is
    uploaded to a name made of its content, so that it is never sent twice.

    Parameters
    ----------
    shell : Connection
    files : sequence of str
        Local paths.
    mapped : callable
        Returns where a local file would be on the cluster; None if the workers cannot see that place.
    folder : str
        Remote folder for uploads.
    upload : bool
        Whether what is missing is uploaded.
    progress : callable, optional
        Called with bytes sent so far and in total.
    digests : mapping of str to str, optional
        Checksums of local files, as far as they are known.

    Raises
    ------
    DataError
        If files are missing there and `upload` is false.
    """
    local = {path: Path(path).absolute() for path in dict.fromkeys(files)}
    known = digests or {}
    digests = {path: known.get(path) or digest_of(at) for path, at in local.items()}
    uploaded = {path: f"{folder}/{digests[path][:32]}/{at.name}" for path, at in local.items()}
    candidates = {path: [p for p in (mapped(str(at)), uploaded[path]) if p] for path, at in local.items()}
    found = await _digests(shell, [p for places in candidates.values() for p in places], folder)
    paths = {}
    for path, places in candidates.items():
        size = local[path].stat().st_size
        same = [p for p in places if found.get(p) in (digests[path], str(size))]
        if same:
            paths[path] = same[0]
    missing = [path for path in local if path not in paths]
    if missing and not upload:
        looked = candidates[missing[0]][0]
        raise DataError(
            f"{len(missing)} files are not on the cluster with the same content, such as {missing[0]} (looked for "
            f"{looked}); copy them, correct a.env.directory_mapping, or set a.env.stage_data = 'auto'"
        )
    total, before = sum(local[p].stat().st_size for p in missing), 0
    if missing:
        folders = " ".join(shlex.quote(uploaded[p].rpartition("/")[0]) for p in missing)
        await shell.run(f"umask 077 && mkdir -p {folders}")
    for path in missing:
        size = local[path].stat().st_size

        def advanced(sent: int, before: int = before) -> None:
            if progress is not None:
                progress(before + sent, total)

        await shell.upload(local[path], uploaded[path], progress=advanced, digest=digests[path])
        before += size
        paths[path] = uploaded[path]
    return Staged(paths, len(missing), total)


async def _digests(shell: Any, paths: Sequence[str], folder: str) -> dict[str, str]:
    """Return the checksums of those remote files that exist, asked for in one command.

    Those in the folder of uploads are named by their checksums, and were checked when they got there: it is
    their size that is returned.
    """
    if not paths:
        return {}
    broken = next((p for p in paths if "\n" in p), None)
    if broken is not None:
        raise DataError(f"the name of a file cannot have several lines: {broken!r}")
    # answered by number: names come back as they were sent, whatever is in them
    uploads = shlex.quote(folder.rstrip("/") + "/")
    script = (
        f'{B2SUM}look() {{ case $1 in {uploads}*) stat -L -c %s -- "$1";; *) b2sum < "$1";; esac; }}\n'
    ) + (
        "i=0; while IFS= read -r file; do "
        'if [ -f "$file" ] && [ -r "$file" ]; then sum=$(look "$file") && echo "$i ${sum%% *}"; fi; '
        "i=$((i + 1)); done"
    )
    done = await shell.run(script, input="".join(f"{p}\n" for p in paths), timeout=3600)
    answers = (line.split() for line in done.stdout.splitlines())
    return {paths[int(words[0])]: words[1] for words in answers if len(words) == 2}
