"""A stand-in for the API server, for what the real one does not do on command.

It answers what it is told to, in order, and keeps what it was asked. What the API server
itself does with a request is tested against the real one (tests/integration/test_kube_*.py).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from kubernetes.aio.client import ApiClient

from cse_operator.kube import connection

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class ApiServerStub:
    """Answers in order with what is in `answers`, and with `otherwise` when none is left."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    otherwise: Answer | None = None
    asked: list[Asked] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.asked.append(
            Asked(
                method=request.method,
                path=request.path,
                query=dict(request.query),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=json.loads(text) if text else None,
            )
        )
        answer = self.answers.pop(0) if self.answers else self.otherwise
        assert answer is not None, f"nobody said how to answer {self.asked[-1]}"
        return await answer(request)


OBJECT = {"kind": "It", "metadata": {"resourceVersion": "1"}}
"""The least that an object of the API has."""


def reply(
    status: int = 200,
    body: Any = None,
    *,
    text: str | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """An answer with a JSON body (some object unless another one is given), or with a text."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if text is not None:
            return web.Response(status=status, text=text, headers=headers)
        return web.json_response(
            body if body is not None else OBJECT, status=status, headers=headers
        )

    return answer


def refusal(status: int, reason: str, message: str = "no", **headers: str) -> Answer:
    """An answer with a `Status` object, as the API server refuses things."""
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message}
    return reply(status, body, headers=headers)


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Close the connection without a word."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def silence(until: asyncio.Event) -> Answer:
    """Say nothing until the event is set."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await until.wait()
        return web.json_response(OBJECT)

    return answer


@asynccontextmanager
async def api_server_stub(folder: Path) -> AsyncIterator[tuple[ApiServerStub, ApiClient]]:
    """A running stub and a connection to it, made the way the operator makes its own."""
    app = web.Application()
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    stub = ApiServerStub("")
    app.router.add_route("*", "/{path:.*}", stub.handle)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    stub.url = f"http://{host}:{port}"
    api_client = await connection.connect(kubeconfig=str(write_kubeconfig(folder, stub.url)))
    try:
        yield stub, api_client
    finally:
        await api_client.close()
        await runner.cleanup()


def write_kubeconfig(
    folder: Path, url: str, token: str = "token-of-the-test", **cluster: Any
) -> Path:
    """Write a kubeconfig with one cluster and one bearer token."""
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "stub",
        "clusters": [{"name": "stub", "cluster": {"server": url, **cluster}}],
        "users": [{"name": "stub", "user": {"token": token}}],
        "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path
