"""A proxy between an HTTP client and a server, which can disturb any of the client's calls.

One proxy is in front of the API server, one in front of the vendor's API. Each call has a name
(`PATCH microserviceengines/status`) and a number, so that the third call of a kind in one run is
the third in the next. Each event of a watch counts as a call. A rule selects one call and passes it
to a behaviour (`catalogue`) instead of the upstream.

The proxy speaks plain HTTP to the client, whatever the upstream speaks.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

LINE_LIMIT = 2**24  # a watch sends each object in one line


@dataclass(frozen=True)
class Request:
    """A received request."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclass(frozen=True)
class Answer:
    """A complete answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def of(cls, status: int, body: bytes, content_type: str, **headers: str) -> Answer:
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return cls(status, (("Content-Type", content_type), *named), body)


@dataclass(frozen=True)
class Boundary:
    """One call of a run: the n-th of its kind, counted from 1."""

    side: str
    call: str
    nth: int

    def __str__(self) -> str:
        return f"{self.side} {self.call} #{self.nth}"


@dataclass
class Record:
    """One recorded call, with the status of the upstream's answer (0: none)."""

    boundary: Boundary
    request: Request
    begun: float
    status: int = 0
    line: bytes = b""
    """The line of a watch event; else empty."""
    took_effect: bool = False
    """Whether the upstream answered with success, whatever answer the client got."""


Behaviour = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Rule:
    """The behaviour for one call; `met` once the call came."""

    boundary: Boundary
    behaviour: Behaviour
    met: bool = False


class Traffic:
    """One client's calls through one or more proxies, in order, and the rules for them."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.rules: list[Rule] = []
        self.latest = time.monotonic()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._changed = asyncio.Event()

    def begin(self, side: str, call: str, request: Request) -> Record:
        self._counts[side, call] += 1
        record = Record(Boundary(side, call, self._counts[side, call]), request, time.monotonic())
        self.records.append(record)
        self.touch()
        return record

    def touch(self) -> None:
        """Record that something happened now."""
        self.latest = time.monotonic()
        self._changed.set()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until a condition on the records holds, without a time-out."""
        while not holds():
            self._changed.clear()
            await self._changed.wait()

    async def until_quiet(self, seconds: float) -> None:
        """Wait until no call has begun or ended for this time."""
        while (rest := self.latest + seconds - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(rest)

    def count(self, side: str, call: str = "") -> int:
        """Return the number of calls on a side, of all kinds or of one."""
        return sum(n for (s, c), n in self._counts.items() if s == side and call in {"", c})


class ClientGone(Exception):  # noqa: N818 - named for what happened
    """The client or the proxy closed the connection."""


class Exchange:
    """One call under a behaviour, which asks the upstream, answers the client, both or neither."""

    def __init__(self, connection: _Connection, record: Record, traffic: Traffic) -> None:
        self._connection = connection
        self.proxy = connection.proxy
        self.traffic = traffic
        self.record = record
        self.request = record.request

    async def ask(self) -> Answer:
        """Send the request to the upstream and return the whole answer; each use sends it again."""
        answer = await self._connection.upstream.ask(self.request)
        self.record.status = answer.status
        self.record.took_effect |= answer.status < 300
        self.traffic.touch()
        return answer

    async def tell(self, answer: Answer, *, only: int | None = None) -> None:
        """Answer the client; with `only`, send that many bytes of the body and hang up."""
        await self._connection.write(_encoded(answer, only))
        if only is not None:
            self.hang_up()

    def hang_up(self) -> None:
        """Reset the client's connection."""
        self._connection.reset()
        raise ClientGone

    async def kill(self) -> None:
        """Kill the client's process, and hang up."""
        await self.proxy.client.kill()
        self.hang_up()

    async def pass_on(self) -> None:
        """Ask the upstream and answer the client, as a plain proxy does."""
        await self.tell(await self.ask())


class Watch(Exchange):
    """The opening of a watch; if passed on, its events follow until either side hangs up."""

    async def pass_on(self) -> None:
        async with asyncio.TaskGroup() as group:
            guard = group.create_task(self._connection.until_client_leaves())
            head, lines = await self._connection.upstream.stream(self.request)
            self.record.status = head.status
            self.traffic.touch()
            await self._connection.write(_stream_head(head))
            async for line in lines:
                await self.handle_event(line)
            await self._connection.write(b"0\r\n\r\n")
            guard.cancel()

    async def handle_event(self, line: bytes) -> None:
        """Pass an event on, or apply its rule."""
        name = f"EVENT {self.record.boundary.call.split(' ', 1)[1]}"
        record = self.traffic.begin(self.proxy.side, name, self.request)
        record.line = line
        await handle(WatchEvent(self._connection, record, self.traffic))


class WatchEvent(Exchange):
    """One event of a watch."""

    async def pass_on(self) -> None:
        await self.send(self.record.line)

    async def send(self, line: bytes) -> None:
        """Send a line to the client."""
        await self._connection.write(b"%x\r\n%s\r\n" % (len(line), line))

    async def end(self) -> None:
        """End the stream regularly."""
        await self._connection.write(b"0\r\n\r\n")
        self._connection.close()
        raise ClientGone


async def handle(exchange: Exchange) -> None:
    """Apply the rule for a call, or pass the call on."""
    boundary, rules = exchange.record.boundary, exchange.traffic.rules
    rule = next((rule for rule in rules if rule.boundary == boundary), None)
    if rule is None:
        await exchange.pass_on()
        return
    rule.met = True
    exchange.traffic.touch()
    await rule.behaviour(exchange)


class Client(Protocol):
    """The process that makes the calls, for behaviours that kill or signal it."""

    async def kill(self) -> None: ...

    def signal(self, number: signal.Signals) -> None: ...


class _Nobody:
    async def kill(self) -> None:
        raise AssertionError("a rule kills, but the proxy has no client process")

    def signal(self, number: signal.Signals) -> None:
        raise AssertionError(f"a rule sends {number.name}, but the proxy has no client process")


class FaultProxy:
    """Listens on a free port of 127.0.0.1 while its `async with` block is open."""

    def __init__(
        self,
        side: str,
        upstream: str,
        name_of: Callable[[Request], str],
        traffic_of: Callable[[Request], Traffic],
        *,
        certificate_authority: str | None = None,
    ) -> None:
        """Prepare a proxy.

        Args:
            side: The side of its boundaries: `kube` or `cloud`.
            upstream: URL of the server behind it, without a path.
            name_of: Returns the kind of a request; the kind of a watch starts with WATCH.
            traffic_of: Returns the traffic that a request belongs to; it takes the record and may
                have a rule for the request.
            certificate_authority: The CA certificate of an https upstream, in PEM.
        """
        self.side = side
        self.name_of = name_of
        self.traffic_of = traffic_of
        self.client: Client = _Nobody()
        address = urlsplit(upstream)
        self.upstream_host = address.hostname or ""
        self.upstream_port = address.port or 0
        self.tls = (
            ssl.create_default_context(cadata=certificate_authority)
            if address.scheme == "https"
            else None
        )
        self._connections: set[asyncio.Task[None]] = set()
        self._whole = asyncio.Event()
        self._whole.set()
        self._silent = False
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", 0, limit=LINE_LIMIT, backlog=512
        )
        port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
            await asyncio.sleep(0)  # lets connections that were just accepted appear in the set
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def cut(self, *, silently: bool) -> None:
        """Pass nothing until `mend`.

        Args:
            silently: Keep connections open but silent; else reset them.
        """
        self._whole.clear()
        self._silent = silently
        if not silently:
            for task in self._connections:
                task.cancel()

    def mend(self) -> None:
        """Pass calls again; the calls in flight at the cut are lost."""
        for task in self._connections:
            task.cancel()
        self._whole.set()

    async def pass_cut(self) -> None:
        """Do nothing unless the proxy is cut; then wait for ever if it is silent, else hang up."""
        if self._whole.is_set():
            return
        if not self._silent:
            raise ClientGone
        await asyncio.Event().wait()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        try:
            with suppress(*_GONE):
                await connection.serve()
        except* _GONE:
            pass
        except* asyncio.CancelledError:
            connection.reset()
        finally:
            connection.close()


_GONE = (ClientGone, asyncio.IncompleteReadError, ConnectionError, ssl.SSLError)


class _Connection:
    """One connection of the client, with one connection to the upstream."""

    def __init__(
        self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.proxy = proxy
        self.upstream = _Upstream(proxy)
        self._reader = reader
        self._writer = writer

    async def serve(self) -> None:
        """Handle the calls in sequence."""
        while True:
            request = await _read_request(self._reader)
            await self.proxy.pass_cut()
            name, traffic = self.proxy.name_of(request), self.proxy.traffic_of(request)
            record = traffic.begin(self.proxy.side, name, request)
            kind = Watch if name.startswith("WATCH") else Exchange
            try:
                await handle(kind(self, record, traffic))
            finally:
                traffic.touch()

    async def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        await self.proxy.pass_cut()
        self._writer.write(data)
        await self._writer.drain()

    async def until_client_leaves(self) -> None:
        """Raise when the client hangs up; it sends nothing during a watch."""
        if not await self._reader.read(1):
            raise ClientGone

    def reset(self) -> None:
        """Reset the client's connection."""
        connection = self._writer.get_extra_info("socket")
        if connection is not None and not self._writer.is_closing():
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    def close(self) -> None:
        """Close both sides."""
        self._writer.close()
        self.upstream.close()


class _Upstream:
    """The connection to the server behind the proxy, opened on demand."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: Request) -> Answer:
        """Send a request and read the whole answer."""
        reader, status, headers = await self._begin(request)
        body = b"".join([part async for part in _body(reader, headers)])
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, _end_to_end(headers), body)

    async def stream(self, request: Request) -> tuple[Answer, AsyncIterator[bytes]]:
        """Send a request, and return the head of its answer and an iterator of the body's lines."""
        reader, status, headers = await self._begin(request)
        return Answer(status, _end_to_end(headers), b""), _lines(_body(reader, headers))

    async def _begin(self, request: Request) -> tuple[asyncio.StreamReader, int, dict[str, str]]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                self._proxy.upstream_host,
                self._proxy.upstream_port,
                ssl=self._proxy.tls,
                limit=LINE_LIMIT,
            )
        reader, writer = self._streams
        lines = [f"{request.method} {request.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in _forwarded(request.headers)]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + request.body)
        await writer.drain()
        start, headers = await _read_head(reader)
        return reader, int(start.split(" ", 2)[1]), headers

    def close(self) -> None:
        """Hang up; the next request opens a new connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


def _forwarded(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Return the request's headers without Accept-Encoding, so that answers are not compressed."""
    return [(name, value) for name, value in headers if name.lower() != "accept-encoding"]


def _end_to_end(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    hop_by_hop = {"connection", "transfer-encoding", "content-length", "keep-alive"}
    return tuple((name, value) for name, value in headers.items() if name not in hop_by_hop)


def _encoded(answer: Answer, only: int | None) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} Answered", f"Content-Length: {len(answer.body)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head + (answer.body if only is None else answer.body[:only])


def _stream_head(head: Answer) -> bytes:
    lines = [f"HTTP/1.1 {head.status} Answered", "Transfer-Encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in head.headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def _read_request(reader: asyncio.StreamReader) -> Request:
    start, headers = await _read_head(reader)
    method, target, _ = start.split(" ", 2)
    assert "transfer-encoding" not in headers, "a request with a chunked body"
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, tuple(headers.items()), body)


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """Read the first line and the headers; convert the headers' names to lower case."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    pairs = (line.split(":", 1) for line in lines)
    return start, {name.strip().lower(): value.strip() for name, value in pairs}


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
    if "chunked" in headers.get("transfer-encoding", ""):
        while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
    elif "content-length" in headers:
        yield await reader.readexactly(int(headers["content-length"]))
    else:
        while part := await reader.read(2**16):
            yield part


async def _lines(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest
