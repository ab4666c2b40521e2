"""The link to a host: logged in, watched, repaired; and commands run there."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import secrets
import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from ..errors import ClusterError
from .login import CommandTimeoutError, LinkLostError, Login, UnreachableError, import_asyncssh
from .shell import Completed

if TYPE_CHECKING:
    from asyncssh import SSHClient, SSHClientConnection

__all__ = ["Completed", "Link", "shorten"]

logger = logging.getLogger(__name__)

# sshd refuses more than 10 sessions by default (MaxSessions), and transfers need some as well
CHANNELS = 4
LONGEST_PAUSE = 30.0
SHOWN = 160

Callback = Callable[[], Any]


class _NotStartedError(Exception):
    """The command was not started, for sure."""


class Link:
    """A link that is repaired when it breaks; its parameters are those of `Connection`."""

    def __init__(
        self,
        host: str,
        *,
        username: str | None = None,
        port: int | None = None,
        options: Mapping[str, Any] | None = None,
        keepalive: float = 15.0,
        keepalive_count: int = 3,
        reconnect_for: float = 300.0,
        prompt: Callable[[str], str] | None = None,
    ) -> None:
        self._login = Login(host, username, port, options or {}, keepalive, keepalive_count, prompt)
        self.reconnect_for = reconnect_for
        self._link: SSHClientConnection | None = None
        self._client: SSHClient | None = None
        self._was_lost = False
        self._opening = asyncio.Lock()
        self._channels = asyncio.Semaphore(CHANNELS)
        self._repair: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._problem: ClusterError | None = None
        self._lost_callbacks: list[Callback] = []
        self._restored_callbacks: list[Callback] = []
        self._notes: set[asyncio.Task[None]] = set()

    @property
    def host(self) -> str:
        """The host, as given."""
        return self._login.host

    @property
    def username(self) -> str | None:
        """The user there; before the first connection None, unless given."""
        return self._login.username

    @property
    def connected(self) -> bool:
        """Whether the link is up, as far as is known."""
        return self._link is not None

    def on_lost(self, callback: Callback) -> None:
        """Have a function or coroutine function called, without argument, when the link breaks."""
        self._lost_callbacks.append(callback)

    def on_restored(self, callback: Callback) -> None:
        """Have a function or coroutine function called, without argument, when the link works again."""
        self._restored_callbacks.append(callback)

    async def connect(self) -> None:
        """Log in, unless the link is up.

        Raises
        ------
        UnreachableError
            If the host does not answer.
        ClusterError
            If it lets nobody in under this name, or shows another key than it should.
        """
        async with self._opening:
            if self._link is None:
                self._link, self._client = await self._login(self._broken)
                self._problem = None
                if self._was_lost:
                    self._was_lost = False
                    logger.info("%s: link restored", self.host)
                    self._notify(self._restored_callbacks)

    async def close(self) -> None:
        """Close the link."""
        link, self._link, self._client = self._link, None, None
        repair, self._repair = self._repair, None
        if repair is not None:
            repair.cancel()
        for task in self._notes:
            task.cancel()
        if link is not None:
            link.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(link.wait_closed(), 3)
            link.abort()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _broken(self, client: SSHClient, error: Exception | None) -> None:
        if client is not self._client:
            return
        self._link = self._client = None
        self._was_lost = True
        logger.info("%s: link lost (%s)", self.host, error)
        self._repair = asyncio.get_running_loop().create_task(self._reconnect())
        self._notify(self._lost_callbacks)

    async def _reconnect(self) -> None:
        pause = 0.5
        while True:
            try:
                await self.connect()
            except UnreachableError as error:
                self._problem = error
            except ClusterError as error:
                # asking again would not help, and may lock the account
                self._problem = error
                logger.warning("%s", error)
                return
            else:
                return
            self._hurry.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _notify(self, callbacks: list[Callback]) -> None:
        for callback in callbacks:
            task = asyncio.get_running_loop().create_task(self._call_back(callback))
            self._notes.add(task)
            task.add_done_callback(self._notes.discard)

    async def _call_back(self, callback: Callback) -> None:
        try:
            result = callback()
            if inspect.isawaitable(result):
                await result
        except Exception:  # noqa: BLE001
            logger.exception("%s: a callback of the connection failed", self.host)

    async def _working_link(self) -> SSHClientConnection:
        """Return the link, once it is up."""
        repair = self._repair
        if self._link is None and repair is not None and not repair.done():
            self._hurry.set()
            await asyncio.wait({repair}, timeout=self.reconnect_for)
            if self._link is None and not repair.done():
                raise UnreachableError(
                    f"no link to {self.host} for {self.reconnect_for:g} s, attempts go on. {self._problem or ''}"
                )
        if self._link is None:
            await self.connect()
        if self._link is None:
            raise UnreachableError(f"{self.host}: the link broke just after logging in")
        return self._link

    async def run(
        self,
        command: str,
        *,
        input: str | None = None,
        check: bool = True,
        timeout: float | None = 60.0,
        idempotent: bool = False,
    ) -> Completed:
        """Run a command in a login shell (``bash -lc``), in the home folder.

        Parameters
        ----------
        command : str
            A line, or lines, of Bash; words with special characters are quoted by the caller.
        input : str, optional
            What the command reads; it is started only when all of it has arrived.
        check : bool
            Whether an exit status other than 0 is an error.
        timeout : float or None
            Seconds from the command's start.
        idempotent : bool
            Whether it does no harm to run it twice: it is then repeated when the link breaks meanwhile.

        Raises
        ------
        LinkLostError
            When the link broke, or `timeout` passed, while the command ran: it may have been carried
            out or not.
        UnreachableError
            When the link is not up within `reconnect_for` seconds: the command was not started.
        ClusterError
            When the command failed, with what it said on standard error; or when the input has a NUL
            character, which Bash would lose.
        """
        if input is not None and "\0" in input:
            raise ClusterError(
                f"the input of `{shorten(command)}` has a NUL character, which Bash cannot hold: write it to a file "
                "(Connection.write, Connection.upload)"
            )
        mark = f"-{secrets.token_hex(12)}-"
        stdin = None if input is None else input.encode()
        words = shlex.join(["bash", "-lc", _script(command, mark, stdin)])
        output, errors, status = await self.execute(
            words, input=stdin, timeout=timeout, idempotent=idempotent, shown=command
        )
        before, found, text = output.decode(errors="replace").partition(mark)
        stderr = errors.decode(errors="replace").rpartition(mark)[2].strip()
        if not found:
            raise ClusterError(
                f"{self.host}: the login shell ended before running `{shorten(command)}`; is there Bash, and does"
                f" `ssh {self.host} bash -lc hostname` work? It said: {stderr or before.strip() or 'nothing'}"
            )
        if check and status != 0:
            said = stderr or text.strip() or "it said nothing"
            raise ClusterError(f"{self.host}: `{shorten(command)}` failed (status {status}): {said[-2000:]}")
        return Completed(text, stderr, status)

    async def execute(
        self, words: str, *, input: bytes | None, timeout: float | None, idempotent: bool, shown: str
    ) -> tuple[bytes, bytes, int]:
        """Run a command in the user's own shell; return standard output, standard error and status."""
        refusals = 0
        while True:
            async with self._channels:
                link = await self._working_link()
                try:
                    return await self._attempt(link, words, input, timeout, shown)
                except _NotStartedError as error:
                    refusals += self._link is link
                    if refusals > 5:
                        raise ClusterError(
                            f"{self.host} refuses to run `{shorten(shown)}`: {error}"
                        ) from error
                except CommandTimeoutError:
                    raise
                except LinkLostError:
                    if not idempotent:
                        raise
            await asyncio.sleep(0.1 * 2**refusals)

    async def _attempt(
        self, link: SSHClientConnection, words: str, input: bytes | None, timeout: float | None, shown: str
    ) -> tuple[bytes, bytes, int]:
        asyncssh = import_asyncssh()
        process = None
        try:
            async with asyncio.timeout(timeout):
                process = await link.create_process(words, encoding=None)
                if not input:
                    # asyncssh would leave an empty input open
                    process.stdin.write_eof()
                output, errors = await process.communicate(input)
                await process.wait_closed()
        except asyncssh.ChannelOpenError as error:
            if error.code == asyncssh.OPEN_CONNECT_FAILED or (process is None and self._link is link):
                raise _NotStartedError(error.reason) from error
            raise self._unknown(shown) from error
        except TimeoutError as error:
            raise CommandTimeoutError(
                f"{self.host}: `{shorten(shown)}` has not ended after {timeout:g} s;"
                " it may have been carried out or not"
            ) from error
        except (asyncssh.Error, OSError) as error:
            raise self._unknown(shown) from error
        finally:
            if process is not None and process.exit_status is None:
                with contextlib.suppress(asyncssh.Error, OSError):
                    process.terminate()
                process.close()
        if process.exit_signal is not None:
            return output or b"", errors or b"", 128
        if process.exit_status is None:
            raise self._unknown(shown)
        return output or b"", errors or b"", process.exit_status

    def _unknown(self, shown: str) -> LinkLostError:
        return LinkLostError(
            f"the link to {self.host} broke during `{shorten(shown)}`: it may have been carried out or not"
        )


def _script(command: str, mark: str, stdin: bytes | None) -> str:
    """Bash that says `mark`, then runs the command, reading standard input or nothing.

    A link that breaks ends the input early, which must not look like its end: half a job script would be
    submitted. The command is therefore given its input when it is complete.
    """
    said = f"printf %s {mark}; printf %s {mark} >&2"
    run = f"( eval {shlex.quote(command)} )"
    if stdin is None:
        return f"{said}; {run} </dev/null"
    return (
        f'input="$(cat; printf x)"; input="${{input%x}}"; '
        f'[ "$(LC_ALL=C; printf %s "${{#input}}")" = {len(stdin)} ] || exit 1; '
        f'{said}; printf %s "$input" | {run}'
    )


def shorten(command: str) -> str:
    """Return the first line of a command, or as much of it as a message can show."""
    lines = command.strip().splitlines() or [""]
    line = lines[0]
    return line if len(line) <= SHOWN and len(lines) == 1 else f"{line[:SHOWN]}…"
