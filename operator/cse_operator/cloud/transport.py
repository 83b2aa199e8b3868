"""The connection to the vendor: httpx over aiohttp's engine, fenced and bounded.

Two things are not left to the libraries:

* **A changing call leaves this process at most once, and it is known whether it left.** aiohttp
  sends a PUT a second time by itself when the connection dies under it, be it reused or fresh
  (it counts PUT among the idempotent methods), and httpx-aiohttp reports a connection that died
  *after* the request as `ConnectTimeout`. So each changing call carries a `Dispatch`; the request
  class below asks it for permission at the last moment before the first byte is written, and it
  grants that once. A middleware keeps aiohttp from trying again, so that the first attempt's
  error is the one seen.
* **No answer can exhaust the process.** Slots in front of the pool bound the calls in flight
  (aiohttp's own waiters would do, but a call that waits there is already counted as connecting),
  interim answers (1xx) are counted, and each body is read here, up to a limit, before anything
  else sees it.
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
"""The longest answer that is read, unless the call says otherwise; an error is never longer."""

LONGEST_ANSWER = "cse_operator.longest_answer"
"""The request extension that says how many bytes a successful answer may have."""

MOST_INTERIM_ANSWERS = 16
"""Interim answers (1xx) to one request after which its connection is ended."""
_SWITCHING_PROTOCOLS = 101
_FIRST_FINAL = 200

TURN = "cse_operator.turn"
"""The request extension that says for whom a call is: its `Turn` and its project."""
_NOBODY = Turn()

_current_dispatch: ContextVar[Dispatch | None] = ContextVar("dispatch", default=None)


class _FencedRequest(aiohttp.ClientRequest):
    """Asks the call's `Dispatch` once the connection stands and before anything is written."""

    async def send(self, conn: Connection) -> ClientResponse:
        dispatch = _current_dispatch.get()
        if dispatch is not None:
            dispatch.depart()
        return await super().send(conn)


class InterimAnswersError(aiohttp.ClientError):
    """The server went on and on announcing an answer (1xx)."""


class _BoundedHandler(ResponseHandler):
    """Reads a connection, and ends it where interim answers do not end.

    aiohttp keeps those that nobody has read yet, and reads on: an endless row of them takes memory
    without bound, and the loop's time, so that not even a time-out comes in time.
    """

    _interim = 0

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Take an answer's head in; an interim one is only counted."""
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
    """Turn what aiohttp would answer with a second attempt into an error it passes on."""
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
    """Connections per endpoint, and calls in flight on it; one project takes a quarter of them."""
    connect_timeout: float = 10.0
    """Seconds to wait for a free connection and to establish it."""
    read_timeout: float = 20.0
    """Seconds without a byte of the answer."""
    proxy: SecretStr | None = field(default=None, repr=False)
    """URL of an HTTP or HTTPS proxy; it may hold a user and a password."""
    no_proxy: tuple[str, ...] = ()
    """Domains and addresses that are reached without the proxy."""
    ca_bundle: Path | None = None
    """PEM file of the certificate authorities to trust *instead of* the public ones."""
    allow_local_addresses: bool = False
    """Let names resolve to loopback and link-local addresses (a simulator, not the vendor)."""
    max_response_bytes: int = MAX_RESPONSE_BYTES
    """The longest answer to a call that does not say otherwise by `LONGEST_ANSWER`."""

    def timeout(self) -> httpx.Timeout:
        """The time-outs in httpx's terms; the total per call is the client's to bound."""
        return httpx.Timeout(
            connect=self.connect_timeout,
            read=self.read_timeout,
            write=self.read_timeout,
            pool=self.connect_timeout,
        )


class FencedTransport(httpx.AsyncBaseTransport):
    """Sends requests through aiohttp: gated, fenced, and with bounded answers."""

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
            # Idle connections are dropped well before a gateway drops them, so that a call
            # seldom meets one that is just being closed.
            keepalive_timeout=15.0,
            resolver=self._resolver,
        )
        handler: Any = functools.partial(_BoundedHandler, loop=asyncio.get_running_loop())
        connector._factory = handler  # noqa: SLF001 - there is no other way
        return aiohttp.ClientSession(
            connector=connector,
            request_class=_FencedRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            middlewares=(self._trust_as_of_now, _lose_the_answer),
        )

    async def _trust_as_of_now(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Connect by the certificates of now: a connection serves its own context's requests."""
        request._ssl = self._trust.context  # noqa: SLF001 - httpx's transport hands none on
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
        """Do not spend longer on connecting than the call may wait anyway."""
        longest = max(min(self._options.connect_timeout, dispatch.remaining()), 0.001)
        timeout = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {**timeout, "connect": longest, "pool": longest}

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        direct = is_without_proxy(request.url.host, self._options.no_proxy)
        # It is read before anything is waited for, and so only by this request.
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

        Compressed ones are refused: none was asked for, and a small one can become endless.
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
        """Wait until no call is under way."""
        await self._slots.until_idle()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


class _NoCookies(httpx.Cookies):
    """No cookies, without a look at each answer for some, which is a fiftieth of what it costs."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Take none."""


class FencedClient(httpx.AsyncClient):
    """An HTTP client over a `FencedTransport`: its users know whether a call left.

    No redirect is followed, nothing is taken from the environment (proxies, `.netrc`), and no
    cookie is kept: the client may serve several credentials.
    """

    def __init__(self, transport: FencedTransport, timeout: httpx.Timeout) -> None:
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
        """None, whatever an answer wants to set."""
        return self._no_cookies

    @cookies.setter
    def cookies(self, cookies: object) -> None:  # noqa: ARG002 - the setter that the base has
        raise AttributeError("this client has no cookies")

    async def close_when_idle(self) -> None:
        """Let the calls under way end, and close."""
        await self._fenced.drain()
        await self.aclose()


def build_resolver(options: TransportOptions) -> NameResolver:
    """Make the resolver for all endpoints of a process."""
    # A proxy may well be local.
    proxy = frozenset() if options.proxy is None else frozenset({proxy_of(options.proxy).url.host})
    return NameResolver(allow_local_addresses=options.allow_local_addresses, local_names=proxy)


def build_http_client(
    options: TransportOptions,
    trust: Trust | None = None,
    resolver: NameResolver | None = None,
) -> FencedClient:
    """Make the HTTP client for one endpoint; whoever made it closes it with `aclose()`.

    Args:
        options: How to connect.
        trust: To share it: it holds all certificate authorities, which is half a megabyte, and
            takes a while to make.
        resolver: From `build_resolver`, to share it: what did not resolve is remembered once.

    Raises:
        OSError: The CA bundle cannot be read (`ssl.SSLError` where it holds no certificate).
    """
    trust = trust or Trust(options.ca_bundle)
    transport = FencedTransport(options, trust, resolver or build_resolver(options))
    return FencedClient(transport, options.timeout())
