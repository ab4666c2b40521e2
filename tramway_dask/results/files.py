"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ..errors import StoreError

__all__ = ["from_filename", "locked", "read_json", "to_filename", "write_atomically", "write_json"]

# a lock without a name in it is believed for so long (s)
LOCKING_TIME = 10


def to_filename(label: str | int) -> str:
    """Return a label as the name of a file or folder: reversible, and harmless in every shell."""
    name = quote(str(label), safe=" ()+,;=@[]{}~éèàµ")
    if name.startswith((".", "_")):
        name = "%" + format(ord(name[0]), "02X") + name[1:]
    if not name:
        raise StoreError("a label cannot be empty")
    return name


def from_filename(name: str) -> str:
    """Return the label that a file or folder is named after."""
    return unquote(name)


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file beside its destination, then rename it.

    Parameters
    ----------
    path : Path
        Destination; its folder is made if need be.
    data : bytes
        Content.
    durable : bool
        Wait for the disk. Not needed where a damaged file is recognised and made again.

    Raises
    ------
    StoreError
        If the folder is read-only or full. The former file, if any, is untouched.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise StoreError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _umask() -> int:
    # the only portable way to read it is to set it
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space is left there; free some or choose another results folder, then repeat the run"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "no permission to write there; choose another results folder"
    return error.strerror or str(error)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    write_atomically(path, json.dumps(value, indent=1, default=str).encode())


def read_json(path: Path) -> Any:
    """Read a JSON file; None if there is none.

    Raises
    ------
    StoreError
        If it cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error


@contextlib.contextmanager
def locked(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold a results folder for one run; another run meanwhile is refused.

    Parameters
    ----------
    folder : Path
    patience : float
        How long to wait for a process that is about to let go of it; s.

    Raises
    ------
    StoreError
        If another living process holds it, or the folder cannot be written to.
    """
    path = folder / ".lock"
    mine = f"{socket.gethostname()} {os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ends = time.monotonic() + patience
        while _is_held(path) and time.monotonic() < ends:
            time.sleep(0.2)
        for _ in range(2):
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
                break
            except FileExistsError:
                if not _is_stale(path):
                    raise StoreError(
                        f"another run ({path.read_text().strip()}: host, process) is writing to {folder}; wait for "
                        f"its end, or delete {path} if that process is gone"
                    ) from None
                path.unlink(missing_ok=True)
        else:
            raise StoreError(f"cannot lock {folder}: another run started at the same moment")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(mine)
        except OSError:
            path.unlink(missing_ok=True)
            raise
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"cannot write to the results folder {folder}: {_reason(error)}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if path.read_text() == mine:
                path.unlink()


def _is_held(path: Path) -> bool:
    return path.exists() and not _is_stale(path)


def _is_stale(path: Path) -> bool:
    """Tell whether the process that wrote a lock is known to be gone."""
    try:
        text, age = path.read_text(), time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    if not text:
        # a process that died before its name was in it, unless it is about to write it
        return age > LOCKING_TIME
    host, _, pid = text.partition(" ")
    if not pid.isdecimal():
        return False
    if host != socket.gethostname():
        return False
    if int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
