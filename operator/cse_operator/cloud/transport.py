"""The connection to the vendor: httpx over aiohttp, fenced and bounded.

This module does not leave two guarantees to the libraries:

* **A changing call is sent at most once, and the operator knows whether it was sent.** When the
  connection dies, reused or fresh, aiohttp by itself sends a PUT a second time (it counts PUT as
  idempotent), and httpx-aiohttp reports a connection that died *after* the request as
  `ConnectTimeout`. So each changing call carries a `Dispatch`. The request class below asks it for
  permission right before the first byte is written, and the `Dispatch` grants it once. A
  middleware keeps aiohttp from retrying, so that callers see the first attempt's error.
* **No answer can exhaust the process.** Slots in front of the pool bound the calls in flight
  (aiohttp's own waiters would too, but count a waiting call as connecting already), interim
  answers (1xx) are counted, and each body is read here, up to a limit, before other code sees it.
"""

from __future__ import annotations

import asyncio
import functools
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from httpx_aiohttp import AiohttpTransport

from cse_operator import __version__
from cse_operator.cloud.dispatch import DISPATCH, AnswerLostError, Dispatch
from cse_operator.cloud.fairness import Turn
from cse_operator.cloud.proxy import is_without_proxy, proxy_of
from cse_operator.cloud.resolver import NameResolver, current_turn
from cse_operator.cloud.slots import Slots
from cse_operator.cloud.trust import Trust

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp.client_reqrep import ClientResponse
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage
    from aiohttp.streams import StreamReader
    from pydantic import SecretStr

USER_AGENT = f"cse-operator/{__version__}"
MAX_RESPONSE_BYTES = 256 * 1024
"""Bytes of the longest answer that is read; a call may allow more, but only for a success."""

LONGEST_ANSWER = "cse_operator.longest_answer"
"""The request extension that says how many bytes a successful answer may have."""

MOST_INTERIM_ANSWERS = 16
"""Interim answers (1xx) to one request after which the connection is aborted."""
_SWITCHING_PROTOCOLS = 101
_FIRST_FINAL = 200

TURN = "cse_operator.turn"
"""The request extension that holds a call's `Turn` and its project."""
_NOBODY = Turn()

_current_dispatch: ContextVar[Dispatch | None] = ContextVar("dispatch", default=None)


class _SendOnceRequest(aiohttp.ClientRequest):
    """Asks the call's `Dispatch` after the connection is made and before the first byte is sent."""

    async def send(self, conn: Connection) -> ClientResponse:
        dispatch = _current_dispatch.get()
        if dispatch is not None:
            dispatch.depart()
        return await super().send(conn)


class InterimAnswersError(aiohttp.ClientError):
    """The server sent interim answers (1xx) without end."""


class _BoundedHandler(ResponseHandler):
    """Reads a connection, and aborts it after too many interim answers.

    aiohttp queues unread interim answers and keeps reading: an endless row of them takes unbounded
    memory, and so much of the event loop's time that even a time-out fires late.
    """

    _interim = 0

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Pass on the head of a final answer; only count an interim one."""
        if data[0].code >= _FIRST_FINAL or data[0].code == _SWITCHING_PROTOCOLS:
            self._interim = 0
            super().feed_data(data, size)
            return
        self._interim += 1
        if self._interim == MOST_INTERIM_ANSWERS:
            self.set_exception(InterimAnswersError("interim answers (1xx) without end"))
            if self.transport is not None:
                self.transport.abort()


async def _lose_the_answer(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Replace the errors after which aiohttp would send again by an error that it passes on."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        dispatch = _current_dispatch.get()
        if dispatch is None or not dispatch.sent:
            raise
        raise AnswerLostError(str(error) or type(error).__name__) from error


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """How to connect; the same for all endpoints of a process."""

    connections: int = 128
    """Connections and calls in flight per endpoint; one project takes at most a quarter of them."""
    connect_timeout: float = 10.0
    """Seconds to wait for a free connection, and seconds to establish one."""
    read_timeout: float = 20.0
    """Seconds without a byte of the answer before the call fails."""
    proxy: SecretStr | None = field(default=None, repr=False)
    """URL of an HTTP or HTTPS proxy; it may hold a user and a password."""
    no_proxy: tuple[str, ...] = ()
    """Domains and addresses to reach without the proxy."""
    ca_bundle: Path | None = None
    """PEM file of the certificate authorities to trust *instead of* the public ones."""
    allow_local_addresses: bool = False
    """Let names resolve to loopback and link-local addresses (for a simulator)."""
    max_response_bytes: int = MAX_RESPONSE_BYTES
    """Bytes of the longest answer to a call without the extension `LONGEST_ANSWER`."""

    def timeout(self) -> httpx.Timeout:
        """Return the time-outs as httpx takes them; `Exchange` bounds the total time of a call."""
        return httpx.Timeout(
            connect=self.connect_timeout,
            read=self.read_timeout,
            write=self.read_timeout,
            pool=self.connect_timeout,
        )


class SendOnceTransport(httpx.AsyncBaseTransport):
    """Sends requests through aiohttp: limited in number, fenced, and with bounded answers."""

    def __init__(self, options: TransportOptions, trust: Trust, resolver: NameResolver) -> None:
        self._options = options
        self._trust = trust
        self._resolver = resolver
        self._slots = Slots(options.connections)
        self._proxy = None if options.proxy is None else proxy_of(options.proxy)
        self._inner = AiohttpTransport(
            verify=trust.context,
            trust_env=False,
            client=self._session,
        )

    def _session(self) -> aiohttp.ClientSession:
        options = self._options
        connector = aiohttp.TCPConnector(
            limit=options.connections,
            # Drop idle connections well before a gateway does, so that a call seldom uses a
            # connection that is just being closed.
            keepalive_timeout=15.0,
            resolver=self._resolver,
        )
        handler: Any = functools.partial(_BoundedHandler, loop=asyncio.get_running_loop())
        connector._factory = handler  # noqa: SLF001 - aiohttp has no public option
        return aiohttp.ClientSession(
            connector=connector,
            request_class=_SendOnceRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            middlewares=(self._trust_as_of_now, _lose_the_answer),
        )

    async def _trust_as_of_now(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Give the request the current TLS context; aiohttp reuses connections per context."""
        request._ssl = self._trust.context  # noqa: SLF001 - httpx's transport passes none on
        return await handler(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read its whole answer."""
        dispatch: Dispatch | None = request.extensions.get(DISPATCH)
        turn, project = request.extensions.get(TURN, (_NOBODY, ""))
        async with self._slots.one(turn, project):
            if dispatch is not None:
                self._bound_connecting(request, dispatch)
            tokens = _current_dispatch.set(dispatch), current_turn.set(turn)
            try:
                return await self._exchange(request)
            finally:
                _current_dispatch.reset(tokens[0])
                current_turn.reset(tokens[1])

    def _bound_connecting(self, request: httpx.Request, dispatch: Dispatch) -> None:
        """Bound the time for connecting by the time that is left for sending the call."""
        longest = max(min(self._options.connect_timeout, dispatch.remaining()), 0.001)
        timeout = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {**timeout, "connect": longest, "pool": longest}

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        direct = is_without_proxy(request.url.host, self._options.no_proxy)
        # The inner transport reads `proxy` before its first await, so only this request sees it.
        self._inner.proxy = None if direct else self._proxy
        response = await self._inner.handle_async_request(request)
        try:
            body = await self._body_of(response, self._longest(request, response))
        finally:
            await response.aclose()
        return httpx.Response(
            status_code=response.status_code,
            headers=response.headers,
            content=body,
            request=request,
            extensions=response.extensions,
        )

    def _longest(self, request: httpx.Request, response: httpx.Response) -> int:
        usual = self._options.max_response_bytes
        longest: int = request.extensions.get(LONGEST_ANSWER, usual)
        return longest if response.is_success else usual

    async def _body_of(self, response: httpx.Response, limit: int) -> bytes:
        """Read the body, up to the limit.

        Refuse a compressed body: the request did not ask for one, and a small one can expand
        without bound.
        """
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise httpx.DecodingError("the answer is compressed although that was not asked for")
        received = bytearray()
        async for chunk in response.aiter_raw():
            received += chunk
            if len(received) > limit:
                raise httpx.ReadError(f"the answer is longer than {limit} bytes")
        return bytes(received)

    async def drain(self) -> None:
        """Wait until no call is in flight."""
        await self._slots.until_idle()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


class _NoCookies(httpx.Cookies):
    """No cookies. Searching each answer for cookies would be a fiftieth of the answer's cost."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Ignore the answer's cookies."""


class SendOnceClient(httpx.AsyncClient):
    """An HTTP client over a `SendOnceTransport`, which tells whether a call was sent.

    The client follows no redirect, reads nothing from the environment (proxies, `.netrc`), and
    keeps no cookie, because it may serve several credentials.
    """

    def __init__(self, transport: SendOnceTransport, timeout: httpx.Timeout) -> None:
        super().__init__(
            transport=transport,
            timeout=timeout,
            trust_env=False,
            follow_redirects=False,
            headers={"Accept-Encoding": "identity"},
        )
        self._fenced = transport
        self._no_cookies = _NoCookies()

    @property
    def cookies(self) -> httpx.Cookies:
        """Return an always empty jar, whatever cookies an answer sets."""
        return self._no_cookies

    @cookies.setter
    def cookies(self, cookies: object) -> None:  # noqa: ARG002 - the base class has this setter
        raise AttributeError("this client has no cookies")

    async def close_when_idle(self) -> None:
        """Wait until no call is in flight, then close."""
        await self._fenced.drain()
        await self.aclose()


def build_resolver(options: TransportOptions) -> NameResolver:
    """Make the resolver for all endpoints of a process."""
    # A proxy may be on a local address.
    proxy = frozenset() if options.proxy is None else frozenset({proxy_of(options.proxy).url.host})
    return NameResolver(allow_local_addresses=options.allow_local_addresses, local_names=proxy)


def build_http_client(
    options: TransportOptions,
    trust: Trust | None = None,
    resolver: NameResolver | None = None,
) -> SendOnceClient:
    """Make the HTTP client for one endpoint; the caller closes it with `aclose()`.

    Args:
        options: How to connect.
        trust: A `Trust` to share: it holds all certificate authorities, which take half a
            megabyte and a while to load.
        resolver: A resolver from `build_resolver` to share, so that a name that did not resolve
            is remembered once for all clients.

    Raises:
        OSError: The CA bundle cannot be read (`ssl.SSLError` if it holds no certificate).
    """
    trust = trust or Trust(options.ca_bundle)
    transport = SendOnceTransport(options, trust, resolver or build_resolver(options))
    return SendOnceClient(transport, options.timeout())
