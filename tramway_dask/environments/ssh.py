"""One SSH connection to a cluster: commands, files and tunnels, kept working."""

from __future__ import annotations

from .link import Completed
from .login import CommandTimeoutError, LinkLostError, UnreachableError
from .loop import LoopThread
from .transfer import Transfers
from .tunnels import Tunnels

__all__ = [
    "CommandTimeoutError",
    "Completed",
    "Connection",
    "LinkLostError",
    "LoopThread",
    "UnreachableError",
]


class Connection(Tunnels, Transfers):
    """An SSH connection that is repaired when it breaks.

    It lives on one event loop. Every method opens it if it is not open, and waits while it is repaired.

    Parameters
    ----------
    host : str
        Host name, or a name from ``~/.ssh/config``.
    username, port : optional
        Default: those of ``~/.ssh/config``, or the local user's name and 22.
    options : mapping, optional
        Further arguments of `asyncssh.connect`.
    keepalive : float
        Seconds between questions whether the host is still there.
    keepalive_count : int
        Unanswered questions after which the link counts as lost.
    reconnect_for : float
        Seconds that a call waits for a broken link before it fails.
    prompt : callable, optional
        ``prompt(text) -> str`` asks for a password or code; default: `getpass.getpass`, in a terminal
        or a notebook only.
    """
