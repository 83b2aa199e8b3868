"""The connection to the vendor: httpx over aiohttp's engine, fenced and bounded.

Two things are not left to the libraries:

* **A changing call leaves this process at most once, and it is known whether it left.** aiohttp
  sends a PUT a second time by itself when the connection dies under it, be it reused or fresh
  (it counts PUT among the idempotent methods), and httpx-aiohttp reports a connection that died
  *after* the request as `ConnectTimeout`. So each changing call carries a `Dispatch`; the request
  class below asks it for permission at the last moment before the first byte is written, and it
  grants that once. A middleware keeps aiohttp from trying again, so that the first attempt's
  error is the one seen.
* **No answer can exhaust the process.** A gate in front of the pool bounds the calls in flight
  (aiohttp's own waiters would do, but a call that waits there is already counted as connecting),
  and each body is read here, up to a limit, before anything else sees it.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import ssl
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
import certifi
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from httpx_aiohttp import AiohttpTransport

from cse_operator import __version__
from cse_operator.cloud.clock import boottime
from cse_operator.cloud.fairness import Turn
from cse_operator.cloud.slots import Slots

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from aiohttp.client_reqrep import ClientResponse
    from aiohttp.connector import Connection
    from pydantic import SecretStr

USER_AGENT = f"cse-operator/{__version__}"
MAX_RESPONSE_BYTES = 256 * 1024
"""The longest answer that is read, unless the call says otherwise; an error is never longer."""

LONGEST_ANSWER = "cse_operator.longest_answer"
"""The request extension that says how many bytes a successful answer may have."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_METADATA_SERVICES = frozenset({ipaddress.ip_address("fd00:ec2::254")})
"""Those that are not link-local (Amazon EC2, Instance metadata, IPv6)."""

_HOST = re.compile(r"[^\s%]+")
_LAST_PORT = 2**16 - 1

TURN = "cse_operator.turn"
"""The request extension that says for whom a call is: its `Turn` and its project."""
_NOBODY = Turn()

DISPATCH = "cse_operator.dispatch"
"""The request extension under which a changing call's `Dispatch` travels."""


class DepartureRefusedError(aiohttp.ClientError):
    """A changing call may not be sent, now or again. No byte of it was written this time."""


class AnswerLostError(aiohttp.ClientError):
    """The connection died after a changing call had left on it."""


@dataclass(slots=True)
class Dispatch:
    """The permission of one changing call to leave this process once, before its deadline."""

    send_before: float
    """A reading of `clock` from which on the call must not be sent any more."""
    clock: Callable[[], float] = boottime
    sent: bool | None = None
    """Whether the call left; `None` on a transport that does not say (a test's)."""

    def remaining(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.send_before - self.clock()

    def depart(self) -> None:
        """Take the permission: called right before the first byte is written.

        Raises:
            DepartureRefusedError: The call was sent before, or its deadline has passed.
        """
        if self.sent:
            raise DepartureRefusedError("a changing call is never sent twice")
        if self.remaining() <= 0:
            raise DepartureRefusedError("the deadline for sending has passed")
        self.sent = True


_current_dispatch: ContextVar[Dispatch | None] = ContextVar("dispatch", default=None)


class _FencedRequest(aiohttp.ClientRequest):
    """Asks the call's `Dispatch` once the connection stands and before anything is written."""

    async def send(self, conn: Connection) -> ClientResponse:
        dispatch = _current_dispatch.get()
        if dispatch is not None:
            dispatch.depart()
        return await super().send(conn)


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


class _PublicAddressesOnly(AbstractResolver):
    """Resolves names, but never to this machine or its link-local neighbours.

    The metadata service of clouds answers on a link-local address: a name must not lead there.
    """

    def __init__(self) -> None:
        self._inner = DefaultResolver()

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = 0,  # type: ignore[assignment]
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        allowed = [result for result in found if not is_local_address(result["host"])]
        if not allowed:
            raise OSError(None, f"{host} resolves only to loopback or link-local addresses")
        return allowed

    async def close(self) -> None:
        await self._inner.close()


def is_local_address(text: str) -> bool:
    """Whether an IP address is this machine's own, link-local, or no place to connect to."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or _behind_nat64(address) or address
    return (
        address in _METADATA_SERVICES
        or address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
    )


def _behind_nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a translator would connect to, or `None` (RFC 6052, section 2.1)."""
    return ipaddress.IPv4Address(address.packed[-4:]) if address in _NAT64 else None


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """How to connect; the same for all endpoints of a process."""

    connections: int = 128
    """Connections per endpoint, and calls in flight on it; one project takes a third of them."""
    connect_timeout: float = 10.0
    """Seconds to wait for a free connection and to establish it."""
    read_timeout: float = 20.0
    """Seconds without a byte of the answer."""
    proxy: SecretStr | None = field(default=None, repr=False)
    """URL of an HTTP or HTTPS proxy; it may hold a user and a password."""
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

    def __init__(self, options: TransportOptions, context: ssl.SSLContext) -> None:
        self._options = options
        self._slots = Slots(options.connections)
        self._inner = AiohttpTransport(
            verify=context,
            trust_env=False,
            proxy=None if options.proxy is None else proxy_of(options.proxy),
            client=lambda: self._session(context),
        )

    def _session(self, context: ssl.SSLContext) -> aiohttp.ClientSession:
        options = self._options
        # With a proxy the only name resolved here is the proxy's, which may well be local.
        guarded = options.proxy is None and not options.allow_local_addresses
        connector = aiohttp.TCPConnector(
            ssl=context,
            limit=options.connections,
            # Idle connections are dropped well before a gateway drops them, so that a call
            # seldom meets one that is just being closed.
            keepalive_timeout=15.0,
            resolver=_PublicAddressesOnly() if guarded else None,
        )
        return aiohttp.ClientSession(
            connector=connector,
            request_class=_FencedRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            middlewares=(_lose_the_answer,),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read its whole answer."""
        dispatch: Dispatch | None = request.extensions.get(DISPATCH)
        turn, project = request.extensions.get(TURN, (_NOBODY, ""))
        async with self._slots.one(turn, project):
            if dispatch is not None:
                self._bound_connecting(request, dispatch)
            token = _current_dispatch.set(dispatch)
            try:
                return await self._exchange(request)
            finally:
                _current_dispatch.reset(token)

    def _bound_connecting(self, request: httpx.Request, dispatch: Dispatch) -> None:
        """Do not spend longer on connecting than the call may wait anyway."""
        longest = max(min(self._options.connect_timeout, dispatch.remaining()), 0.001)
        timeout = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {**timeout, "connect": longest, "pool": longest}

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
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


def build_http_client(
    options: TransportOptions, context: ssl.SSLContext | None = None
) -> FencedClient:
    """Make the HTTP client for one endpoint; whoever made it closes it with `aclose()`.

    Args:
        options: How to connect.
        context: From `tls_context`, to share it: it holds all certificate authorities, which is
            half a megabyte, and takes a while to make.

    Raises:
        OSError: The CA bundle cannot be read (`ssl.SSLError` where it holds no certificate).
    """
    transport = FencedTransport(options, context or tls_context(options.ca_bundle))
    return FencedClient(transport, options.timeout())


def tls_context(ca_bundle: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer, certificate and host name always verified."""
    context = ssl.create_default_context(cafile=str(ca_bundle) if ca_bundle else certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def proxy_of(url: SecretStr) -> httpx.Proxy:
    """The proxy, with its user and password as a header: aiohttp has deprecated the other way.

    Raises:
        ValueError: No call could go through it. The sentence holds nothing of the URL: what a
            library complains of may be a part of the password, such as "Invalid port: 'pa'".
    """
    parsed = _origin(url.get_secret_value())
    if parsed is None:
        raise ValueError(
            "this is not the URL of a proxy, such as http://user:password@proxy:3128 (special "
            "characters of a password are percent-encoded: %2F stands for /)"
        )
    proxy = httpx.Proxy(parsed)
    if proxy.auth is None:
        return proxy
    user, password = proxy.auth
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    return httpx.Proxy(proxy.url, headers={"Proxy-Authorization": f"Basic {basic}"})


def _origin(text: str) -> httpx.URL | None:
    """Scheme, host and port. More than these is a password that holds a `/`, `?` or `#`."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return None
    bare = url.path == "/" and not url.query and not url.fragment
    whole = url.scheme in {"http", "https"} and _HOST.fullmatch(url.host) is not None
    there = url.port is None or 0 < url.port <= _LAST_PORT
    return url if bare and whole and there else None
