"""A server that speaks bytes: for what only happens on the wire, such as a dying connection."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any


class Act(Enum):
    """What the server may do instead of answering."""

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
    """An HTTP answer; `length` overrides the truth in Content-Length."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"Content-Length: {len(content) if length < 0 else length}", "", ""]
    return "\r\n".join(lines).encode() + content


class RawVendor:
    """Serves while used as an asynchronous context manager, and keeps what it was sent."""

    def __init__(self, behave: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.requests: list[RawRequest] = []
        self.received = asyncio.Event()
        """Set with each request."""
        self.connections = 0
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def puts(self) -> list[RawRequest]:
        return [request for request in self.requests if request.method == "PUT"]

    async def __aenter__(self) -> RawVendor:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=self._tls, limit=2**20
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        connection = self.connections
        try:
            while (request := await _read(reader, connection)) is not None:
                self.requests.append(request)
                self.received.set()
                deed = self.behave(request)
                if deed is Act.HANG:
                    await asyncio.Event().wait()
                elif deed is Act.RESET:
                    writer.transport.abort()
                    return
                elif isinstance(deed, bytes):
                    writer.write(deed)
                    await writer.drain()
                    if b"\r\nConnection: close\r\n" in deed:
                        return
                else:
                    return
        except ConnectionError:
            return
        finally:
            writer.close()


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
