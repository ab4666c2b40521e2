"""A shell on this machine, with the interface of a connection to another one."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..errors import ClusterError

__all__ = ["Completed", "LocalShell"]


class Completed(NamedTuple):
    """What a command has said.

    Attributes
    ----------
    stdout, stderr : str
        Its output; of a remote one, without what the login shell said before it.
    status : int
        Its exit status.
    """

    stdout: str
    stderr: str
    status: int


class LocalShell:
    """Commands and files of the submit host that this process runs on."""

    host = "localhost"
    username = None
    connected = True

    async def connect(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Ignore: there is nothing to lose."""

    def on_restored(self, callback: Callable[[], None]) -> None:
        """Ignore: there is nothing to lose."""

    async def run(
        self, command: str, *, input: str | None = None, check: bool = True, timeout: float = 60.0
    ) -> Completed:
        """Run a command in a login shell.

        Raises
        ------
        ClusterError
            If it fails and `check` is true, or takes longer than `timeout` seconds.
        """
        process = await asyncio.create_subprocess_exec(
            *("bash", "-lc", command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate((input or "").encode()), timeout=timeout)
        except TimeoutError:
            process.kill()
            raise ClusterError(f"no answer within {timeout:g} s from: {command[:200]}") from None
        done = Completed(out.decode(errors="replace"), err.decode(errors="replace"), process.returncode or 0)
        if check and done.status:
            raise ClusterError(f"failed with status {done.status}: {command[:200]}\n{done.stderr.strip()}")
        return done

    async def home(self) -> str:
        """Return the home folder."""
        return str(Path.home())

    async def read(self, path: str) -> bytes:
        """Return the content of a file."""
        return Path(path).read_bytes()

    async def write(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Write a file, whole or not at all."""
        temporary = Path(f"{path}.{os.getpid()}.tmp")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.replace(path)

    async def upload(
        self,
        local: Path,
        remote: str,
        *,
        progress: Callable[[int], None] | None = None,
        digest: str | None = None,
    ) -> bool:
        """Copy a file unless it is there already."""
        target = Path(remote)
        if target.exists() and target.stat().st_size == local.stat().st_size:
            return False
        await asyncio.to_thread(shutil.copyfile, local, target)
        if progress is not None:
            progress(local.stat().st_size)
        return True

    async def download(
        self, remote: str, local: Path, *, progress: Callable[[int], None] | None = None
    ) -> bool:
        """Copy a file."""
        await asyncio.to_thread(shutil.copyfile, remote, local)
        if progress is not None:
            progress(local.stat().st_size)
        return True

    async def forward(self, host: str, port: int, *, local_port: int = 0) -> int:
        """Return the port itself: the host is reached directly."""
        return port
