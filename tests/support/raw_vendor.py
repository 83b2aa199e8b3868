"""A server at the level of bytes, for faults on the wire such as a broken connection."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Act(Enum):
    """An action of the server instead of an answer."""

    CLOSE = "end the connection in good order, without a word"
    RESET = "end it with a reset"
    HANG = "say nothing and keep it open"


@dataclass(frozen=True)
class RawRequest:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


Behaviour = Callable[[RawRequest], bytes | Act]


def answer(
    status: int = 200, body: Any = b"", headers: dict[str, str] | None = None, *, length: int = -1
) -> bytes:
    """Return an HTTP answer; `length` overrides the true Content-Length."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"Content-Length: {len(content) if length < 0 else length}", "", ""]
    return "\r\n".join(lines).encode() + content


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve connections on a free port, and yield the port; at the end, close all connections."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
            writer.close()
        except (ConnectionError, asyncio.CancelledError):
            # The client left, or the test ended; neither is an error. asyncio's streams would
            # report a cancelled handler as one.
            writer.transport.abort()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls, limit=2**20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        # The loop needs a few more turns to drop closed and aborted connections.
        for _ in range(5):
            await asyncio.sleep(0)


class RawVendor:
    """Serves inside its `async with` block, and records the requests."""

    def __init__(self, behave: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.requests: list[RawRequest] = []
        self.received = asyncio.Event()
        """Set with each request."""
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def puts(self) -> list[RawRequest]:
        return [request for request in self.requests if request.method == "PUT"]

    async def __aenter__(self) -> RawVendor:
        self.port = await self._stack.enter_async_context(serving(self._serve, self._tls))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        while (request := await _read(reader, connection)) is not None:
            self.requests.append(request)
            self.received.set()
            deed = self.behave(request)
            if deed is Act.HANG:
                await asyncio.Event().wait()
            elif isinstance(deed, bytes):
                writer.write(deed)
                await writer.drain()
            if deed is Act.RESET:
                writer.transport.abort()
            if not isinstance(deed, bytes) or b"\r\nConnection: close\r\n" in deed:
                return


async def _read(reader: asyncio.StreamReader, connection: int) -> RawRequest | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    match = re.fullmatch(r"(\S+) (\S+) HTTP/1\.1", first)
    assert match, first
    return RawRequest(match[1], match[2], headers, body, connection)
