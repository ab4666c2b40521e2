"""Files that are on the cluster only: listed, compared and read there, many in one command."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import DataError
from .digests import B2SUM

if TYPE_CHECKING:
    from .overssh import SlurmOverSSH

__all__ = ["RemoteFiles"]

# bytes; larger ones are no files of regions
SMALL = 50_000_000

# Bash that is given one line per question, and answers with lines "<number of the question> <answer>"
FIND = """\
shopt -s nullglob globstar; LC_ALL=C; i=0
while IFS= read -r pattern; do
    if [[ $pattern =~ ^\\$\\{?([A-Za-z_][A-Za-z_0-9]*)\\}?(.*)$ ]]; then
        pattern=${!BASH_REMATCH[1]}${BASH_REMATCH[2]}
    fi
    if [ -f "$pattern" ]; then set -- "$pattern"; else IFS=; set -- $pattern; unset IFS; fi
    for file; do [ ! -f "$file" ] || printf '%s %s\\n' "$i" "$file"; done
    [ $# = 0 ] || readlink -f -- "$@" | sed 's,/[^/]*$,,' | sort -u | sed 's,^,at ,'
    i=$((i + 1))
done"""
SUMS = f"""\
{B2SUM}i=0
while IFS= read -r known && IFS= read -r file; do
    if [ -f "$file" ]; then
        stamp=$(stat -L -c %s-%y -- "$file")
        if [ "$stamp" = "$known" ]; then echo "$i same"
        elif [ -r "$file" ] && sum=$(b2sum < "$file"); then echo "$i ${{sum%% *}} $stamp"; fi
    fi
    i=$((i + 1))
done"""
READ = f"""\
i=0
while IFS= read -r file; do
    if [ -f "$file" ] && [ -r "$file" ] && [ "$(stat -L -c %s -- "$file")" -lt {SMALL} ]; then
        echo "$i $(base64 -w 0 < "$file")"
    fi
    i=$((i + 1))
done"""


# as many bytes as recognising a format looks at, and one that tells whether there are more
HEADS = """\
i=0
while IFS= read -r file; do
    [ ! -f "$file" ] || [ ! -r "$file" ] || echo "$i $(head -c 65537 < "$file" | gzip -1 | base64 -w 0)"
    i=$((i + 1))
done"""


class RemoteFiles:
    """The files of a cluster, through the connection of an environment.

    Parameters
    ----------
    env : SlurmOverSSH

    Attributes
    ----------
    folders : set of str
        Folders of the files that were found, with those that links lead to.
    """

    def __init__(self, env: SlurmOverSSH) -> None:
        self._env = env
        self._digests: dict[str, tuple[str, str]] = {}
        self._contents: dict[str, bytes | None] = {}
        self._heads: dict[str, bytes] = {}
        self.folders: set[str] = set()

    @property
    def name(self) -> str:
        """User and host."""
        host, username = self._env.login_node()
        return f"{username}@{host}" if username else host

    def translated(self, pattern: str) -> str:
        """Return what is looked for there in the place of a local name."""
        if pattern.startswith("$"):
            return pattern
        return self._env.mapped(pattern, self._env.connection()[1])

    def find(self, patterns: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Return the files there that match each pattern; local names are translated."""
        asked = [self.translated(p) for p in patterns]
        found: dict[str, list[str]] = {p: [] for p in patterns}
        for first, rest in self._ask(FIND, asked, timeout=600):
            if first == "at":
                self.folders.add(rest)
            else:
                found[patterns[int(first)]].append(rest)
        self.folders |= {os.path.dirname(path) for paths in found.values() for path in paths}
        return found

    def refresh(self, paths: Sequence[str]) -> None:
        """See which files have changed; forget what was read beside them."""
        self._contents.clear()
        self._heads.clear()
        lines = [line for path in paths for line in (self._digests.get(path, ("", "?"))[1], path)]
        known, self._digests = self._digests, {}
        for first, rest in self._ask(SUMS, lines, timeout=24 * 3600):
            path = paths[int(first)]
            digest, _, stamp = rest.partition(" ")
            self._digests[path] = known[path] if digest == "same" else (digest, stamp)

    def digest(self, path: str) -> str:
        """Return the BLAKE2b checksum of a file."""
        if path not in self._digests:
            raise DataError(f"cannot read {path} on {self.name}: it is gone, or closed to this user")
        return self._digests[path][0]

    def load(self, paths: Sequence[str]) -> None:
        """Read small files, those of them that exist, all at once."""
        self._contents |= dict.fromkeys(paths)
        for first, rest in self._ask(READ, paths, timeout=600):
            self._contents[paths[int(first)]] = base64.b64decode(rest)

    def knows(self, path: str) -> bool:
        """Tell whether `load` was asked for a file."""
        return path in self._contents

    def is_file(self, path: str) -> bool:
        """Tell whether there is a small file of this name."""
        if not self.knows(path):
            self.load([path])
        return self._contents[path] is not None

    def open(self, path: str) -> IO[bytes]:
        """Return the content of a small file."""
        content = self._contents[path] if self.is_file(path) else None
        if content is None:
            raise FileNotFoundError(2, f"no such file on {self.name}", path)
        return io.BytesIO(content)

    def load_heads(self, paths: Sequence[str]) -> None:
        """Read the first 64 kB of files, all at once."""
        for first, rest in self._ask(HEADS, paths, timeout=600):
            self._heads[paths[int(first)]] = gzip.decompress(base64.b64decode(rest))

    def head(self, path: str) -> bytes:
        """Return the first 64 kB of a file and, if there is more, one byte more."""
        if path not in self._heads:
            self.load_heads([path])
        if path not in self._heads:
            raise DataError(f"cannot read {path} on {self.name}: it is gone, or closed to this user")
        return self._heads[path]

    @contextlib.contextmanager
    def fetched(self, path: str) -> Iterator[str]:
        """Return the path of a copy here, which is deleted at the end of the block."""
        connection, _ = self._env.connection()
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / os.path.basename(path)
            self._env.call(connection.download(path, local))
            yield str(local)

    def _ask(self, script: str, lines: Sequence[str], *, timeout: float) -> Iterator[tuple[str, str]]:
        if not lines:
            return
        broken = next((line for line in lines if "\n" in line), None)
        if broken is not None:
            raise DataError(f"the name of a file cannot have several lines: {broken!r}")
        connection, _ = self._env.connection()
        asked = "".join(f"{line}\n" for line in lines)
        done: Any = self._env.call(connection.run(script, input=asked, timeout=timeout, idempotent=True))
        for line in done.stdout.splitlines():
            first, _, rest = line.partition(" ")
            yield first, rest
