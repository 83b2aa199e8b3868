"""The HTTP server below probes and metrics: bounded in connections and in their time.

Any Pod may come here where no NetworkPolicy is enforced, so a connection costs little and ends.
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
"""Connections to one port at once; those beyond are ended at once."""
LONGEST_CONNECTION: Final = 30.0
"""Seconds after which a connection is ended, whatever it does or does not do."""
HANDSHAKE: Final = 5.0
"""Seconds for a TLS handshake."""
LOOK_EVERY: Final = 60.0
"""Seconds between looks at the certificate's files."""

_NO_IPV6: Final = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


class _Refused(asyncio.Protocol):
    """Ends its connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """End it."""
        cast("asyncio.Transport", transport).abort()  # uvloop's are of no class of asyncio's


class _BoundedServer(web.Server):
    """Ends connections that are too many or too old."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer, access_log=None, logger=logger)
        self._ends: dict[RequestHandler, asyncio.TimerHandle] = {}

    def protocol(self) -> asyncio.Protocol:
        """What serves the next connection, or ends it at once."""
        return _Refused() if len(self._ends) >= MOST_CONNECTIONS else self()

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection in, for a while."""
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
    """A folder with `tls.crt` and `tls.key`, as a Secret of that type is mounted; read again.

    Args:
        folder: the folder.
        clock: seconds on a steady clock.

    Raises:
        OSError: the files cannot be read (`ssl.SSLError` where they are no pair).
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = boottime) -> None:
        self._folder = folder
        self._clock = clock
        self._current = _context_of(folder)
        self._due = clock() + LOOK_EVERY
        self.context = _context_of(folder)
        """What a server is made with; each handshake goes on with the files of now."""
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
                    "the certificate in %s cannot be read again, the one in use is kept: %s",
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
        address: `address:port`; without an address, all of IPv4 and IPv6 that there are.
        answer: answers a request.
        certificate: to serve by TLS.

    Raises:
        OSError: when the address cannot be listened on.
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
    """A socket for both families, or for IPv4 where a node has only that."""
    try:
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except (ValueError, OSError) as error:  # ValueError: this system cannot do both with one
        if isinstance(error, OSError) and error.errno not in _NO_IPV6:
            raise
        return socket.create_server(("", port))
