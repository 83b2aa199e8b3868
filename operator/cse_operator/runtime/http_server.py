"""The HTTP server of probes and metrics: it bounds the number and the age of connections.

Without a NetworkPolicy any Pod can connect, so a connection must cost little and must end.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from aiohttp import web

from cse_operator.clock import boottime

if TYPE_CHECKING:
    from aiohttp.web_protocol import RequestHandler

logger = logging.getLogger(__name__)

Answer = Callable[[web.BaseRequest], Awaitable[web.Response]]

MOST_CONNECTIONS: Final = 64
"""Connections to one port at once; further connections are ended at once."""
LONGEST_CONNECTION: Final = 30.0
"""Seconds after which a connection is ended, whether busy or idle."""
HANDSHAKE: Final = 5.0
"""Seconds for a TLS handshake."""
LOOK_EVERY: Final = 60.0
"""Seconds between rereads of the certificate's files."""

_NO_IPV6: Final = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


class _Refused(asyncio.Protocol):
    """Ends its connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """End the connection."""
        cast("asyncio.Transport", transport).abort()  # uvloop's have no asyncio class


class _BoundedServer(web.Server):
    """Ends connections that are too many or too old."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer, access_log=None, logger=logger)
        self._ends: dict[RequestHandler, asyncio.TimerHandle] = {}

    def protocol(self) -> asyncio.Protocol:
        """Return the protocol for the next connection: one that serves it, or one that ends it."""
        return _Refused() if len(self._ends) >= MOST_CONNECTIONS else self()

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Serve a connection for a limited time."""
        super().connection_made(handler, transport)
        loop = asyncio.get_running_loop()
        self._ends[handler] = loop.call_later(LONGEST_CONNECTION, transport.abort)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection."""
        super().connection_lost(handler, exc)
        end = self._ends.pop(handler, None)
        if end is not None:
            end.cancel()


class ServingCertificate:
    """The certificate in a folder with `tls.crt` and `tls.key`, reread about once a minute.

    Kubernetes mounts a TLS Secret as such a folder.

    Args:
        folder: the folder.
        clock: seconds on a steady clock.

    Raises:
        OSError: The files cannot be read (`ssl.SSLError` if they are not a pair).
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = boottime) -> None:
        self._folder = folder
        self._clock = clock
        self._current = _context_of(folder)
        self._due = clock() + LOOK_EVERY
        self.context = _context_of(folder)
        """The context to make a server with; each handshake uses the newest files."""
        self.context.sni_callback = self._take_the_current_one

    def _take_the_current_one(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        if self._clock() >= self._due:
            self._due = self._clock() + LOOK_EVERY
            try:
                self._current = _context_of(self._folder)
            except OSError as error:
                logger.warning(
                    "the certificate in %s cannot be read again, keeping the one in use: %s",
                    self._folder,
                    error.strerror or error,
                )
        connection.context = self._current


def _context_of(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


@asynccontextmanager
async def listening(
    address: str, answer: Answer, certificate: ServingCertificate | None = None
) -> AsyncIterator[None]:
    """Serve while the context is open.

    Args:
        address: `address:port`; without an address, all IPv4 and IPv6 addresses.
        answer: answers a request.
        certificate: serves over TLS with it.

    Raises:
        OSError: The address cannot be listened on.
    """
    server, loop = _BoundedServer(answer), asyncio.get_running_loop()
    tls = None if certificate is None else certificate.context
    handshake = None if certificate is None else HANDSHAKE
    host, _, port = address.rpartition(":")
    if host:
        listener = await loop.create_server(
            server.protocol, host.strip("[]"), int(port), ssl=tls, ssl_handshake_timeout=handshake
        )
    else:
        sock = _on_all_addresses(int(port))
        listener = await loop.create_server(
            server.protocol, sock=sock, ssl=tls, ssl_handshake_timeout=handshake
        )
    try:
        yield
    finally:
        listener.close()
        await server.shutdown(timeout=1.0)


def _on_all_addresses(port: int) -> socket.socket:
    """Return a socket for both families, or for IPv4 on a node without IPv6."""
    try:
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except (ValueError, OSError) as error:  # ValueError: this system cannot do both with one
        if isinstance(error, OSError) and error.errno not in _NO_IPV6:
            raise
        return socket.create_server(("", port))
