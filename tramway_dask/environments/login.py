"""Logging in to a host by SSH, and saying in plain words why it failed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import getpass
import os
import shlex
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ClusterError, MissingDependencyError
from .loop import ask

if TYPE_CHECKING:
    from asyncssh import SSHClient, SSHClientConnection

__all__ = ["CommandTimeoutError", "LinkLostError", "Login", "UnreachableError", "import_asyncssh"]

ANSWER_SECONDS = 30.0
AUTHENTICATION_SECONDS = 120.0
SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"


class UnreachableError(ClusterError):
    """A host does not answer now; it may later."""


class LinkLostError(ClusterError):
    """The link broke while a command ran: whether it was carried out is not known."""


class CommandTimeoutError(LinkLostError):
    """A command did not end in time: whether it was carried out is not known."""


def import_asyncssh() -> Any:
    """Return the module asyncssh."""
    try:
        import asyncssh
    except ImportError as error:
        raise MissingDependencyError(
            "clusters are reached through asyncssh, which is not installed: pip install 'tramway_dask[slurm]'"
        ) from error
    return asyncssh


def can_ask() -> bool:
    """Whether somebody can be asked for a password: in a terminal or a notebook."""
    shell = sys.modules.get("IPython")
    session = shell.get_ipython() if shell is not None else None
    if session is not None and getattr(session, "kernel", None) is not None:
        return True
    with contextlib.suppress(AttributeError, ValueError):
        return sys.stdin.isatty()
    return False


class Login:
    """How to log in to one host, again and again.

    Parameters
    ----------
    host, username, port
        As in ``ssh``; what is None is taken from ``~/.ssh/config``.
    options : mapping
        Further arguments of `asyncssh.connect`.
    keepalive : float
        Seconds between questions whether the host is still there.
    keepalive_count : int
        Unanswered questions after which the link is given up.
    prompt : callable, optional
        ``prompt(text) -> str`` asks the person; default: `getpass.getpass` where somebody can answer.
    """

    def __init__(
        self,
        host: str,
        username: str | None,
        port: int | None,
        options: Mapping[str, Any],
        keepalive: float,
        keepalive_count: int,
        prompt: Callable[[str], str] | None,
    ) -> None:
        self.host, self.username, self.port = host, username, port
        self.given = dict(options)
        self.keepalive = {"keepalive_interval": keepalive, "keepalive_count_max": keepalive_count}
        self.prompt = prompt
        self.passwords: dict[str, str] = {}

    async def __call__(
        self, lost: Callable[[SSHClient, Exception | None], None]
    ) -> tuple[SSHClientConnection, SSHClient]:
        """Log in; return the link, and its client that `lost` is called with.

        Parameters
        ----------
        lost : callable
            Called with the client and the reason when the link breaks later on.

        Raises
        ------
        UnreachableError
            If the host cannot be reached, for now.
        ClusterError
            If it does not let us in, or is not the host that it should be.
        """
        attempt = _Attempt(self, lost)
        try:
            return await attempt.connect()
        except (OSError, ValueError, import_asyncssh().Error, TimeoutError) as error:
            raise attempt.explain(error) from error


class _Attempt:
    """One attempt to log in, and what was learnt from it."""

    def __init__(self, login: Login, lost: Callable[[Any, Exception | None], None]) -> None:
        self.login, self.lost = login, lost
        self.options: Any = None
        self.offered: tuple[str, int, Any] | None = None
        self.authenticating = asyncio.Event()
        self.client: SSHClient | None = None
        self.broken = False
        self.answers: dict[str, str] = {}
        self.rounds: set[str] = set()
        self.nobody_to_ask = False

    async def connect(self) -> tuple[SSHClientConnection, SSHClient]:
        asyncssh = import_asyncssh()
        login = self.login
        given: dict[str, Any] = {
            "config": (),
            "login_timeout": AUTHENTICATION_SECONDS,
            **login.keepalive,
            **login.given,
        }
        for name, value in (("username", login.username), ("port", login.port)):
            if value is not None:
                given[name] = value
        self.options = options = await asyncssh.SSHClientConnectionOptions.construct(
            host=login.host, client_factory=self.make_client, **given
        )
        login.username = options.username
        if not options.known_hosts and "known_hosts" not in login.given:
            given["known_hosts"] = options.known_hosts = _known_hosts()
        if "encryption_algs" not in login.given and not options.config.get("Ciphers"):
            # at least twice as fast as what would be chosen by default
            names = [name.decode() for name in options.encryption_algs]
            given["encryption_algs"] = sorted(
                names, key=lambda name: ("gcm" not in name, "aes128" not in name)
            )
        connecting = asyncio.ensure_future(
            asyncssh.connect(login.host, client_factory=self.make_client, **given)
        )
        begun = asyncio.ensure_future(self.authenticating.wait())
        try:
            await asyncio.wait(
                {connecting, begun}, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if not connecting.done() and not begun.done():
                raise TimeoutError
            connection: SSHClientConnection = await connecting
        finally:
            begun.cancel()
            connecting.cancel()
        login.passwords.update(
            {text: word for text, word in self.answers.items() if "password" in text.lower()}
        )
        if self.client is None or self.broken:
            raise ConnectionError("the link broke just after logging in")
        return connection, self.client

    def make_client(self) -> SSHClient:
        """Return what asyncssh talks to about its connection."""
        self.client = _client_class()(self)
        return self.client

    async def answer(self, text: str) -> str | None:
        """Answer a question of the host, by what is known or by asking once."""
        login = self.login
        if text in login.passwords:
            # refused, it is not tried again
            return login.passwords.pop(text)
        if login.prompt is None and not can_ask():
            self.nobody_to_ask = True
            return None
        prompt = login.prompt or getpass.getpass
        try:
            word = await ask(prompt, f"{self.where}: {text.strip()} ")
        except EOFError:
            self.nobody_to_ask = True
            return None
        self.answers[text] = word
        return word

    @property
    def where(self) -> str:
        name = self.login.username
        return f"{name}@{self.login.host}" if name else self.login.host

    def explain(self, error: BaseException) -> ClusterError:
        """Say in plain words what went wrong."""
        asyncssh = import_asyncssh()
        host, where = self.login.host, self.where
        port = self.options.port if self.options is not None else self.login.port or 22
        if isinstance(error, asyncssh.HostKeyNotVerifiable):
            return self._explain_key(error)
        if isinstance(error, asyncssh.PermissionDenied):
            return self._explain_refusal(error)
        if isinstance(error, socket.gaierror):
            return UnreachableError(
                f"{host}: no host of this name is known; check its spelling, ~/.ssh/config, and whether"
                " a VPN is needed"
            )
        if isinstance(error, ConnectionRefusedError):
            return UnreachableError(
                f"{host}: port {port} refuses connections; is it the right port, and the host up?"
            )
        if isinstance(error, (TimeoutError, OSError)) and not isinstance(
            error, (PermissionError, FileNotFoundError)
        ):
            said = f" ({error})" if str(error) else f" within {ANSWER_SECONDS:g} s"
            return UnreachableError(
                f"{host}: no answer on port {port}{said}; check the network, and whether a VPN is needed"
            )
        if isinstance(error, asyncssh.ConnectionLost):
            return UnreachableError(f"{where}: the host closed the connection while logging in ({error})")
        if isinstance(error, asyncssh.ChannelOpenError):
            return UnreachableError(f"{host} cannot be reached through the jump host: {error.reason}")
        return ClusterError(
            f"cannot log in to {where}: {error}; see whether `ssh {_target(self.login)}` works in a terminal"
        )

    def _explain_refusal(self, error: Exception) -> ClusterError:
        command = f"ssh {_target(self.login)}"
        if self.nobody_to_ask:
            return ClusterError(
                f"{self.where}: the host asks for a password or code, and there is no terminal or notebook to ask for"
                f" it; load a key into the agent (`ssh-add`), or give prompt=, a function that returns the answer"
            )
        return ClusterError(
            f"{self.where}: login refused ({error}); check the user name, and that `{command}` works in a terminal"
            " (keys are taken from the agent, ~/.ssh/config and ~/.ssh)"
        )

    def _explain_key(self, error: Exception) -> ClusterError:
        target = _target(self.login)
        if self.offered is None:
            return ClusterError(
                f"{error}; connect once with `ssh {target}` in a terminal, and check the fingerprint"
            )
        address, port, key = self.offered
        name = self.options.host_key_alias or self.options.host
        entry = name if port == 22 else f"[{name}]:{port}"
        known = self._keys_on_record(name, address, port)
        offered = f"{key.get_algorithm()} {key.get_fingerprint()}"
        if known:
            on_record = ", ".join(f"{k.get_algorithm()} {k.get_fingerprint()}" for k in known)
            return ClusterError(
                f"{entry}: THE HOST KEY HAS CHANGED, connection refused: somebody may be intercepting it.\n"
                f"  known:   {on_record}\n  offered: {offered}\n"
                "Ask the site's administrators. If they confirm the new fingerprint, forget the old key with"
                f" `ssh-keygen -R {shlex.quote(entry)}`, then accept the new one with `ssh {target}`"
            )
        return ClusterError(
            f"{entry}: the host key is not known, connection refused.\n  offered: {offered}\n"
            f"Compare it with the fingerprint that the site publishes, then accept it with `ssh {target}`, or with"
            f" `ssh-keyscan -p {port} {shlex.quote(name)} >> ~/.ssh/known_hosts`"
        )

    def _keys_on_record(self, name: str, address: str, port: int) -> list[Any]:
        match = import_asyncssh().match_known_hosts
        with contextlib.suppress(ValueError, OSError):
            return list(match(self.options.known_hosts, name, address, None if port == 22 else port)[0])
        return []


def _known_hosts() -> list[str] | bytes:
    places = (Path("~/.ssh/known_hosts").expanduser(), Path(SYSTEM_KNOWN_HOSTS))
    # an empty list would mean that every key is accepted
    return [str(path) for path in places if path.is_file() and os.access(path, os.R_OK)] or b"\n"


def _target(login: Login) -> str:
    port = f"-p {login.port} " if login.port not in (None, 22) else ""
    return port + shlex.quote(f"{login.username}@{login.host}" if login.username else login.host)


@functools.cache
def _client_class() -> type:
    asyncssh = import_asyncssh()

    class Client(asyncssh.SSHClient):  # type: ignore[name-defined]
        """Tells one attempt what happens on its connection."""

        def __init__(self, attempt: _Attempt) -> None:
            self.attempt = attempt

        def connection_lost(self, exc: Exception | None) -> None:
            self.attempt.broken = True
            self.attempt.lost(self, exc)

        def begin_auth(self, username: str) -> None:
            self.attempt.authenticating.set()

        def validate_host_public_key(self, host: str, addr: str, port: int, key: Any) -> bool:
            self.attempt.offered = (addr, port, key)
            return False

        async def password_auth_requested(self) -> str | None:
            # each method once: what was refused is not asked for again
            if "password" in self.attempt.rounds:
                return None
            self.attempt.rounds.add("password")
            return await self.attempt.answer("Password:")

        def kbdint_auth_requested(self) -> str | None:
            if "keyboard-interactive" in self.attempt.rounds:
                return None
            self.attempt.rounds.add("keyboard-interactive")
            return ""

        async def kbdint_challenge_received(
            self, name: str, instructions: str, lang: str, prompts: list[tuple[str, bool]]
        ) -> list[str] | None:
            answers = []
            for text, _ in prompts:
                word = await self.attempt.answer(" ".join(filter(None, (name, instructions, text))))
                if word is None:
                    return None
                answers.append(word)
            return answers

    return Client
