"""A stub of the API server, for answers that the real one does not give on command.

The stub gives configured answers in order, and records the requests. How the API server handles
a request is tested against the real one (tests/integration/test_kube_*.py).
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
    """Gives the `answers` in order, then `otherwise`."""

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
        assert answer is not None, f"the test set no answer to {self.asked[-1]}"
        return await answer(request)


OBJECT = {"kind": "It", "metadata": {"resourceVersion": "1"}}
"""A minimal API object."""


def reply(
    status: int = 200,
    body: Any = None,
    *,
    text: str | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Return an answer with a JSON body (by default a minimal object) or with a text."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if text is not None:
            return web.Response(status=status, text=text, headers=headers)
        return web.json_response(
            body if body is not None else OBJECT, status=status, headers=headers
        )

    return answer


def refusal(status: int, reason: str, message: str = "no", **headers: str) -> Answer:
    """Return a refusal with a `Status` object, as the API server sends it."""
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message}
    return reply(status, body, headers=headers)


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def silence(until: asyncio.Event) -> Answer:
    """Return an answer that waits until the event is set."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await until.wait()
        return web.json_response(OBJECT)

    return answer


@asynccontextmanager
async def api_server_stub(folder: Path) -> AsyncIterator[tuple[ApiServerStub, ApiClient]]:
    """Run a stub, and connect to it in the same way as the operator."""
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
