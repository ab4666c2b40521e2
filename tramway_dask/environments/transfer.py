"""Files to and from a remote host: resumed after a cut, checked, private."""

from __future__ import annotations

import asyncio
import hashlib
import os
import posixpath
import secrets
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ClusterError, DataError
from .digests import file_digest, sum_command
from .link import Link
from .login import LinkLostError, import_asyncssh

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

__all__ = ["Transfers"]

BLOCK = 1 << 20
# seconds without growth after which another upload of the same file counts as dead
STALE_SECONDS = 60.0
SUM_RATE = 20e6
# attempts in a row without a byte more
FAILURES = 6


class Transfers(Link):
    """A link that files go through; remote paths are absolute, or relative to the remote home."""

    _home: str | None = None

    async def home(self) -> str:
        """Return the remote home folder."""
        if self._home is None:
            self._home = (await self.run('printf %s "$HOME"', idempotent=True)).stdout
        return self._home

    async def absolute(self, path: str | os.PathLike[str]) -> str:
        """Return a remote path as an absolute one."""
        text = os.fspath(path)
        if text == "~" or text.startswith("~/"):
            text = text[2:]
        return text if text.startswith("/") else posixpath.join(await self.home(), text)

    async def _shell(
        self, what: str, script: str, *words: str, input: bytes | None = None, timeout: float | None = 60.0
    ) -> tuple[bytes, str, int]:
        """Run a script that does no harm when repeated, with `words` as its parameters."""
        mark = f"-{secrets.token_hex(12)}-"
        command = shlex.join(["bash", "-c", f"printf %s {mark}; {script}", "bash", *words])
        output, errors, status = await self.execute(
            command, input=input, timeout=timeout, idempotent=True, shown=what
        )
        _, found, data = output.partition(mark.encode())
        said = errors.decode(errors="replace").strip()
        if not found:
            raise ClusterError(f"{self.host}: no Bash could be started: {said or 'it said nothing'}")
        return data, said, status

    async def read(self, path: str | os.PathLike[str], *, timeout: float | None = 60.0) -> bytes:
        """Return the content of a remote file.

        Raises
        ------
        ClusterError
            If it cannot be read.
        """
        name = await self.absolute(path)
        data, said, status = await self._shell(f"read {name}", 'cat -- "$1"', name, timeout=timeout)
        if status != 0:
            raise ClusterError(f"{self.host}: cannot read {name}: {said}")
        return data

    async def write(
        self,
        path: str | os.PathLike[str],
        data: bytes,
        mode: int = 0o600,
        *,
        parents: bool = False,
        timeout: float | None = 60.0,
    ) -> None:
        """Write a remote file: nobody ever sees half of it, nor reads it if `mode` forbids.

        Parameters
        ----------
        path : str
            The file; it is replaced if it exists.
        data : bytes
            Its content.
        mode : int
            Its permissions.
        parents : bool
            Whether missing folders are made, for the user only (0700).
        timeout : float or None
            Seconds.

        Raises
        ------
        ClusterError
            If it cannot be written.
        """
        name = await self.absolute(path)
        folder = posixpath.dirname(name)
        partial = posixpath.join(folder, f".{secrets.token_hex(12)}.part")
        # an input that a broken link cuts short is not taken for the whole
        script = (
            'umask 077; [ -z "$5" ] || mkdir -p -- "$6" || exit 1; '
            'cat > "$1" && [ "$(wc -c < "$1")" -eq "$3" ] && chmod -- "$4" "$1" && mv -fT -- "$1" "$2" '
            '|| { rm -f -- "$1"; exit 1; }'
        )
        words = (partial, name, str(len(data)), f"{mode:o}", "yes" if parents else "", folder)
        _, said, status = await self._shell(f"write {name}", script, *words, input=data, timeout=timeout)
        if status != 0:
            raise ClusterError(f"{self.host}: cannot write {name}: {said or 'its content did not arrive'}")

    async def digest(self, path: str | os.PathLike[str], like: str = "") -> tuple[int, str] | None:
        """Return size and checksum (of the kind of `like`) of a remote file, or None if there is none."""
        name = await self.absolute(path)
        data, said, status = await self._shell(
            f"check {name}", '[ -f "$1" ] || exit 44; stat -L -c %s -- "$1"', name
        )
        if status == 44:
            return None
        if status == 0:
            size = int(data)
            script = f'{sum_command(like)} < "$1"'
            data, said, status = await self._shell(
                f"checksum of {name}", script, name, timeout=60 + size / SUM_RATE
            )
            if status == 0:
                return size, data.split()[0].decode()
        raise ClusterError(f"{self.host}: cannot check {name}: {said}")

    async def upload(
        self,
        local: str | Path,
        remote: str | os.PathLike[str],
        *,
        progress: Callable[[int], None] | None = None,
        digest: str | None = None,
        mode: int = 0o600,
    ) -> bool:
        """Send a file, unless it is there already.

        A transfer that was cut is resumed, by this call or a later one. Of several that send the same
        file to the same place at once, one sends and the others wait.

        Parameters
        ----------
        local : str or Path
            The file.
        remote : str
            Where it goes; missing folders are made, for the user only.
        progress : callable, optional
            Called with the number of bytes that are there so far.
        digest : str, optional
            Its SHA-256 or BLAKE2b in hexadecimal, if known.
        mode : int
            Permissions of the remote file.

        Returns
        -------
        bool
            False if nothing had to be sent.

        Raises
        ------
        ClusterError
            If it cannot be written, or arrives damaged twice.
        """
        local = Path(local)
        try:
            size = local.stat().st_size
            digest = digest.lower() if digest else await asyncio.to_thread(file_digest, local)
        except OSError as error:
            raise DataError(f"cannot read {local}: {error.strerror}") from error
        name = await self.absolute(remote)
        if await self._is_there(name, size, digest):
            return False
        folder = posixpath.dirname(name)
        unique = hashlib.sha256(f"{digest} {name}".encode()).hexdigest()[:32]
        part, lock = (posixpath.join(folder, f".{unique}.{kind}") for kind in ("part", "lock"))
        await self._do(f"cannot make {folder}", 'umask 077; mkdir -p -- "$1"', folder)
        token = secrets.token_hex(12)
        if await self._wait_for_others(lock, part, token, name, size, digest):
            return False
        try:
            await self._send_checked(local, part, size, digest, progress)
            # of two that got here, the second finds the file in its place
            script = 'chmod -- "$3" "$1" && mv -fT -- "$1" "$2" || { [ ! -e "$1" ] && [ -f "$2" ]; }'
            await self._do(f"cannot write {name}", script, part, name, f"{mode:o}")
        finally:
            await self._unlock(lock, token)
        return True

    async def _do(self, what: str, script: str, *words: str) -> bytes:
        data, said, status = await self._shell(script, script, *words)
        if status != 0:
            raise ClusterError(f"{self.host}: {what}: {said or f'status {status}'}")
        return data

    async def _is_there(self, name: str, size: int, digest: str) -> bool:
        data, _, status = await self._shell(f"check {name}", '[ -f "$1" ] && stat -L -c %s -- "$1"', name)
        return status == 0 and int(data) == size and await self.digest(name, digest) == (size, digest)

    async def _wait_for_others(
        self, lock: str, part: str, token: str, name: str, size: int, digest: str
    ) -> bool:
        """Take the lock, and return False; or return True when somebody else has brought the file.

        The lock only saves work: two that send the same content write the same bytes to the same places.
        """
        loop = asyncio.get_running_loop()
        script = (
            'umask 077; if mkdir -- "$1" 2>/dev/null || { [ ! -d "$1" ] && mkdir -- "$1"; }; then : > "$1/$3"; '
            'elif [ ! -d "$1" ]; then exit 1; fi; '
            'if [ -e "$1/$3" ]; then echo mine; else stat -c "%s %Y" -- "$2" 2>/dev/null || echo none; fi'
        )
        seen, since = b"", loop.time()
        while True:
            said = await self._do(f"cannot write beside {name}", script, lock, part, token)
            mine = said.strip() == b"mine"
            if await self._is_there(name, size, digest):
                if mine:
                    await self._unlock(lock, token)
                return True
            if mine:
                return False
            if said != seen:
                seen, since = said, loop.time()
            elif loop.time() - since > STALE_SECONDS:
                await self._do(f"cannot remove {lock}", 'rm -rf -- "$1"', lock)
            await asyncio.sleep(1)

    async def _unlock(self, lock: str, token: str) -> None:
        try:
            await self._shell("unlock", '[ ! -e "$1/$2" ] || rm -rf -- "$1"', lock, token, timeout=10)
        except ClusterError:
            # it goes stale
            return

    async def _send_checked(
        self, local: Path, part: str, size: int, digest: str, progress: Callable[[int], None] | None
    ) -> None:
        for _ in range(2):
            found = await self._send(local, part, size, progress, digest)
            if found == digest or await self.digest(part, digest) in ((size, digest), None):
                return
            await self._do(f"cannot remove {part}", 'rm -f -- "$1"', part)
        raise ClusterError(
            f"{local} arrived damaged at {self.host} twice (its checksum is not {digest}); does it change, or is it"
            " not the file that this checksum belongs to?"
        )

    async def _send(
        self, local: Path, part: str, size: int, progress: Callable[[int], None] | None, like: str
    ) -> str | None:
        """Send what is missing; return the checksum of what arrived, unless nothing had to be sent."""
        found: str | None = None
        script = 'umask 077; : >> "$1" && stat -c %s -- "$1"'
        reached, failures = -1, 0
        while True:
            there = int(await self._do(f"cannot write {part}", script, part))
            if there > size:
                await self._do(f"cannot remove {part}", 'rm -f -- "$1"', part)
                continue
            if progress is not None:
                progress(there)
            if there == size:
                return found
            try:
                found = await self._stream_out(await self._working_link(), local, part, there, progress, like)
            except LinkLostError:
                failures = failures + 1 if there <= reached else 0
                reached = max(reached, there)
                if failures > FAILURES:
                    raise
                await asyncio.sleep(0.1 * 2**failures)

    async def _stream_out(
        self,
        link: SSHClientConnection,
        local: Path,
        part: str,
        start: int,
        progress: Callable[[int], None] | None,
        like: str,
    ) -> str:
        # bytes go to their places in the file: one that a broken link has left behind does no harm;
        # the checksum is made meanwhile, which takes no time
        script = (
            'set -o pipefail; { head -c "$2" -- "$1" >&4 && tee /dev/fd/4 | dd of="$1" bs=1M iflag=fullblock '
            'seek="$2" oflag=seek_bytes conv=notrunc status=none; } 4>&1 >/dev/null '
            f"| {{ {sum_command(like)}; }}"
        )
        command = shlex.join(["bash", "-c", script, "bash", part, str(start)])
        lost = LinkLostError(f"the link to {self.host} broke while {local.name} was sent")
        asyncssh = import_asyncssh()
        try:
            process = await link.create_process(command, encoding=None)
        except (asyncssh.Error, OSError) as error:
            raise lost from error
        try:
            with open(local, "rb") as file:
                file.seek(start)
                while data := await asyncio.to_thread(file.read, BLOCK):
                    process.stdin.write(data)
                    await process.stdin.drain()
                    start += len(data)
                    if progress is not None:
                        progress(start)
            process.stdin.write_eof()
            output, errors = await process.communicate()
        except (asyncssh.Error, OSError) as error:
            if process.exit_status is None:
                raise lost from error
            output, errors = b"", await process.stderr.read()
        finally:
            process.close()
        if process.exit_status is None:
            raise lost
        if process.exit_status != 0:
            said = (errors or b"").decode(errors="replace").strip()
            raise ClusterError(f"{self.host}: cannot write {part}: {said}")
        return (output or b"").decode(errors="replace").rpartition("\n")[0].rpartition("\n")[2].split(" ")[0]

    async def download(
        self,
        remote: str | os.PathLike[str],
        local: str | Path,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> bool:
        """Fetch a file, unless it is here already; a transfer that was cut is resumed.

        Parameters
        ----------
        remote : str
            The file.
        local : str or Path
            Where it goes; missing folders are made.
        progress : callable, optional
            Called with the number of bytes that are here so far.

        Returns
        -------
        bool
            False if nothing had to be fetched.

        Raises
        ------
        ClusterError
            If it is missing, cannot be read, or arrives damaged twice.
        """
        name, local = await self.absolute(remote), Path(local)
        for _ in range(2):
            found = await self.digest(name)
            if found is None:
                raise ClusterError(f"{self.host}: there is no file {name}")
            size, digest = found
            same_size = local.is_file() and local.stat().st_size == size
            if same_size and await asyncio.to_thread(file_digest, local) == digest:
                return False
            local.parent.mkdir(parents=True, exist_ok=True)
            part = local.with_name(f".{digest[:32]}.part")
            await self._fetch(name, part, size, progress)
            if await asyncio.to_thread(file_digest, part) == digest:
                os.replace(part, local)
                return True
            part.unlink()
        raise ClusterError(f"{self.host}: {name} arrived damaged twice; is somebody writing to it?")

    async def _fetch(self, name: str, part: Path, size: int, progress: Callable[[int], None] | None) -> None:
        part.touch(mode=0o600)
        reached, failures = -1, 0
        while True:
            here = part.stat().st_size
            if progress is not None:
                progress(here)
            if here >= size:
                return
            try:
                await self._stream_in(await self._working_link(), name, part, here, progress)
            except LinkLostError:
                failures = failures + 1 if here <= reached else 0
                reached = max(reached, here)
                if failures > FAILURES:
                    raise
                await asyncio.sleep(0.1 * 2**failures)

    async def _stream_in(
        self,
        link: SSHClientConnection,
        name: str,
        part: Path,
        start: int,
        progress: Callable[[int], None] | None,
    ) -> None:
        mark = f"-{secrets.token_hex(12)}-"
        command = (
            f"printf %s {mark}; dd if={shlex.quote(name)} bs=1M skip={start} iflag=skip_bytes status=none"
        )
        lost = LinkLostError(f"the link to {self.host} broke while {posixpath.basename(name)} was fetched")
        asyncssh = import_asyncssh()
        process = None
        try:
            process = await link.create_process(command, encoding=None)
            await process.stdout.readuntil(mark.encode())
            with open(part, "ab") as file:
                while data := await process.stdout.read(BLOCK):
                    file.write(data)
                    start += len(data)
                    if progress is not None:
                        progress(start)
            errors = await process.stderr.read()
            await process.wait_closed()
        except (asyncssh.Error, ConnectionError, asyncio.IncompleteReadError) as error:
            raise lost from error
        finally:
            if process is not None:
                process.close()
        if process.exit_status is None:
            raise lost
        if process.exit_status != 0:
            said = errors.decode(errors="replace").strip()
            raise ClusterError(f"{self.host}: cannot read {name}: {said}")
