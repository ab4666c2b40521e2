"""Ports of the remote side, on the loopback interface of this computer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from ..errors import ClusterError
from .link import Link
from .login import import_asyncssh

__all__ = ["Tunnels"]

logger = logging.getLogger(__name__)

PROBE_SECONDS = 2.0


class Tunnels(Link):
    """A link through which ports are forwarded."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._servers: dict[int, asyncio.Server] = {}
        self._relays: set[asyncio.Task[None]] = set()
        self._forwarding_allowed = False

    async def close(self) -> None:
        """Close tunnels and link."""
        servers, self._servers = self._servers, {}
        for server in servers.values():
            server.close()
        for task in self._relays:
            task.cancel()
        await super().close()

    async def forward(self, host: str, port: int, *, local_port: int = 0) -> int:
        """Listen on the loopback interface, and pass what connects on to a port that the host reaches.

        The listener stays when the link breaks; what connects meanwhile waits for the link.

        Parameters
        ----------
        host, port
            Where to connect to, as the remote host sees it.
        local_port : int
            Port to listen on; 0: any that is free.

        Returns
        -------
        int
            The local port.

        Raises
        ------
        ClusterError
            If the host allows no forwarding, or the local port is taken.
        """
        await self._check_forwarding(host, port)

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._relays.add(task)
            try:
                await self._relay(reader, writer, host, port)
            finally:
                self._relays.discard(task)

        try:
            server = await asyncio.start_server(relay, "127.0.0.1", local_port)
        except OSError as error:
            raise ClusterError(
                f"cannot listen on port {local_port} of this computer: {error.strerror}"
            ) from error
        chosen: int = server.sockets[0].getsockname()[1]
        self._servers[chosen] = server
        return chosen

    async def stop_forwarding(self, local_port: int) -> None:
        """Close a listener of `forward`."""
        server = self._servers.pop(local_port, None)
        if server is not None:
            server.close()

    async def _check_forwarding(self, host: str, port: int) -> None:
        asyncssh = import_asyncssh()
        # port 1 first: a probe would leave a complaint in the log of what listens on the port itself
        for tried in (1, port):
            if self._forwarding_allowed:
                return
            link = await self._working_link()
            try:
                _, writer = await asyncio.wait_for(link.open_connection(host, tried), 2)
                writer.close()
            except asyncssh.ChannelOpenError as error:
                if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
                    continue
            except (TimeoutError, asyncssh.Error, OSError):
                pass
            self._forwarding_allowed = True
        if not self._forwarding_allowed:
            raise ClusterError(
                f"{self.host} forbids to forward connections to {host}:{port} (AllowTcpForwarding or PermitOpen in its"
                " sshd_config); ask the site's administrators, or run the analysis on the login node"
            )

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        asyncssh = import_asyncssh()
        try:
            link = await self._working_link()
            far_reader, far_writer = await link.open_connection(host, port)
        except (ClusterError, asyncssh.Error, OSError) as error:
            logger.info("%s: no connection to %s:%s (%s)", self.host, host, port, error)
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        except (asyncssh.Error, OSError):
            writer.transport.abort()
        finally:
            far_writer.close()
            writer.close()


async def _pump(reader: Any, writer: Any) -> None:
    while data := await reader.read(1 << 18):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
