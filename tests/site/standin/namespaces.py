"""Linux namespaces and mounts, through the C library.

Used by the hosts of the test site and by the stand-in for Singularity.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 2

AT_FDCWD = -100
AT_RECURSIVE = 0x8000
MOUNT_ATTR_RDONLY = 0x1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _bytes(text: str | os.PathLike[str] | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones."""
    _check(_libc.unshare(flags), "unshare")


def mount(
    source: str | os.PathLike[str] | None,
    target: str | os.PathLike[str],
    kind: str | None = None,
    flags: int = 0,
    data: str | None = None,
) -> None:
    """mount(2)."""
    _check(
        _libc.mount(_bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(flags), _bytes(data)),
        f"mounting {source or kind} on {target}",
    )


def unmount(target: str | os.PathLike[str]) -> None:
    """Detach the mount at `target`."""
    _check(_libc.umount2(_bytes(target), MNT_DETACH), f"unmounting {target}")


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def make_readonly(target: str | os.PathLike[str], *, below: bool = True) -> None:
    """Make the mount at `target` read-only, and all mounts below it unless told otherwise."""
    attributes = _MountAttributes(attr_set=MOUNT_ATTR_RDONLY)
    _check(
        _libc.mount_setattr(
            AT_FDCWD,
            _bytes(target),
            AT_RECURSIVE if below else 0,
            ctypes.byref(attributes),
            ctypes.sizeof(attributes),
        ),
        f"making {target} read-only",
    )


def make_private() -> None:
    """Keep every later mount from the namespace that this one was copied from."""
    mount(None, "/", flags=MS_REC | MS_PRIVATE)


def bind(source: str | os.PathLike[str], target: str | os.PathLike[str], *, readonly: bool = False) -> None:
    """Show `source`, and what is mounted below it, at `target`, which is made if missing."""
    make_mount_point(source, target)
    mount(source, target, flags=MS_BIND | MS_REC)
    if readonly:
        make_readonly(target)


def make_mount_point(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """An empty folder or file at `target`, of the same sort as `source`."""
    target = Path(target)
    if target.exists():
        return
    if os.path.isdir(source):
        target.mkdir(parents=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


def enter_root(root: str | os.PathLike[str]) -> None:
    """Make the mount at `root` the root of this mount namespace; forget the old one."""
    os.chdir(root)
    _check(_libc.pivot_root(b".", b"."), f"changing root to {root}")
    unmount(".")
    os.chdir("/")


def become_own_user() -> None:
    """Enter a user namespace in which this user keeps the same number."""
    user, group = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER | CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
