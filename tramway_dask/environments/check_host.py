"""Tests of the way to a login node: name, answer, key, login, shell, forwarding."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from ..errors import ClusterError
from .check import FailedError, Step, Visit, split_advice
from .login import import_asyncssh

__all__ = ["host_steps", "shell_step"]

ANSWER_SECONDS = 15.0
SPELLING = "check its spelling, ~/.ssh/config, and whether a VPN is needed"


def host_steps() -> list[Step]:
    """Return the tests of what comes before a shell, in their order."""
    return [
        Step("host name", _name),
        Step("answer", _answer, ("host name",)),
        Step("host key", _key, ("answer",)),
        Step("login", _login, ("host key",)),
        Step("forwarding", _forwarding, ("login",)),
    ]


def shell_step() -> Step:
    """Return the test of the shell, over SSH or on this host."""
    return Step("shell", _shell, ("login",))


async def _options(visit: Visit) -> Any:
    """Return what the user's SSH configuration says of the host."""
    asyncssh = import_asyncssh()
    host, username = visit.env.login_node()
    given = {"config": (), **visit.env.ssh_options}
    given.update({k: v for k, v in (("username", username), ("port", visit.env.port)) if v is not None})
    try:
        return await asyncssh.SSHClientConnectionOptions.construct(host=host, **given)
    except (ValueError, OSError, asyncssh.Error) as error:
        raise FailedError(
            f"the SSH configuration of {host} cannot be used: {error}", "see ~/.ssh/config"
        ) from error


def _way(options: Any) -> str:
    """Return what stands between here and the host."""
    if options.tunnel:
        return f"through the jump host {options.tunnel}"
    return "through a proxy command" if options.proxy_command else ""


async def _name(visit: Visit) -> str:
    options = visit.settled["ssh"] = await _options(visit)
    given = visit.env.login_node()[0]
    alias = "" if options.host == given else f" (for {given} in ~/.ssh/config)"
    if _way(options):
        return f"{options.host}{alias}, reached {_way(options)}"
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise FailedError(f"no host of the name {options.host}{alias} is known", SPELLING) from error
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    return f"{options.host}{alias} is {', '.join(addresses)}"


async def _answer(visit: Visit) -> str:
    options = visit.settled["ssh"]
    if _way(options):
        return f"will be seen when logging in {_way(options)}"
    where = f"port {options.port} of {options.host}"
    writer = None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(options.host, options.port)
            line = (await reader.readline()).decode(errors="replace").strip()
    except TimeoutError as error:
        raise FailedError(
            f"{where}: no answer within {ANSWER_SECONDS:g} s",
            "check the network, and whether a VPN is needed",
        ) from error
    except ConnectionRefusedError as error:
        raise FailedError(f"{where} refuses connections", "is it the right port, and the host up?") from error
    except OSError as error:
        raise FailedError(f"{where}: {error.strerror or error}", "check the network, and the VPN") from error
    finally:
        if writer is not None:
            writer.close()
    if not line.startswith("SSH-"):
        raise FailedError(f"{where} says {line[:80]!r}, which is not SSH", "set the right port: a.env.port")
    return f"{line} on {where}"


async def _key(visit: Visit) -> str:
    asyncssh = import_asyncssh()
    try:
        await visit.shell.connect()
    except ClusterError as error:
        cause = error.__cause__
        if isinstance(cause, asyncssh.PermissionDenied):
            visit.settled["login"] = error
            return "as in known_hosts"
        if isinstance(cause, asyncssh.HostKeyNotVerifiable):
            raise FailedError(*split_advice(str(error))) from error
        raise
    key = (await visit.shell._working_link()).get_server_host_key()
    seen = f"{key.get_algorithm()} {key.get_fingerprint()}" if key is not None else "the key"
    if visit.env.ssh_options.get("known_hosts", ()) is None:
        return f"{seen}; NOT VERIFIED, since ssh_options has known_hosts=None"
    return f"{seen}, as in known_hosts"


async def _login(visit: Visit) -> str:
    error = visit.settled.get("login")
    if error is not None:
        raise FailedError(*split_advice(str(error)))
    if not visit.env.login_node()[1]:
        # scratch folders are named after the user, and a user of ~/.ssh/config is known only now
        visit.env.username = visit.shell.username
    return f"as {visit.shell.username}"


async def _shell(visit: Visit) -> str:
    done = await visit.shell.run("hostname; echo $BASH_VERSION")
    host, _, version = done.stdout.strip().rpartition("\n")
    visit.home = await visit.shell.home()
    return f"Bash {version} on {host}, home folder {visit.home}"


async def _forwarding(visit: Visit) -> str:
    port = await visit.shell.forward("127.0.0.1", visit.settled["ssh"].port)
    with contextlib.suppress(ClusterError):
        await visit.shell.stop_forwarding(port)
    return "the login node lets connections through"
