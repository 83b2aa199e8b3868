"""The probes: healthy while the event loop runs and no step hangs, ready once the watch runs."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from cse_operator.runtime import probes
from cse_operator.runtime.metrics import Metrics
from support.processes import free_port

Get = Callable[[str], "aiohttp.client._RequestContextManager"]


@asynccontextmanager
async def served(
    *, oldest_work: float = 0.0, not_ready: str | None = None, metrics: Metrics | None = None
) -> AsyncIterator[Get]:
    """Serve the probes, and call them."""
    address = f"127.0.0.1:{free_port()}"
    async with (
        probes.serve(
            probes.Places(address),
            metrics=metrics or Metrics(),
            oldest_work=lambda: oldest_work,
            not_ready=lambda: not_ready,
        ),
        aiohttp.ClientSession(f"http://{address}") as session,
    ):
        yield session.get


async def test_it_is_alive_and_ready_when_nothing_speaks_against_it() -> None:
    async with served() as get:
        for path in ("/healthz", "/readyz"):
            async with get(path) as answer:
                assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_why_it_is_not_ready_is_said() -> None:
    async with served(not_ready="stopping\n") as get:
        async with get("/readyz") as answer:
            assert (answer.status, await answer.text()) == (503, "stopping\n")
        async with get("/healthz") as answer:
            assert answer.status == 200


async def test_a_step_that_hangs_makes_it_unhealthy() -> None:
    async with served(oldest_work=probes.STUCK_AFTER) as get, get("/healthz") as answer:
        assert answer.status == 200
    async with served(oldest_work=probes.STUCK_AFTER + 1) as get, get("/healthz") as answer:
        assert answer.status == 500
        assert await answer.text() == "a step hangs for 301 s\n"


async def test_the_metrics_are_prometheus_text() -> None:
    metrics = Metrics()
    metrics.cloud_call("ShowEngine", "Success", 0.1)
    async with served(metrics=metrics) as get, get("/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = await answer.text()
    wanted = 'cse_operator_cloud_call_seconds_count{operation="ShowEngine",outcome="Success"} 1.0'
    assert wanted in text


async def test_nothing_else_is_served() -> None:
    async with served() as get, get("/") as answer:
        assert answer.status == 404


async def _health(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/healthz") as answer:
        return answer.status


@asynccontextmanager
async def _served_on_all_addresses() -> AsyncIterator[int]:
    port = free_port()
    tools = {"metrics": Metrics(), "oldest_work": lambda: 0.0, "not_ready": lambda: None}
    async with probes.serve(probes.Places(f":{port}"), **tools):  # type: ignore[arg-type]
        yield port


async def test_without_an_address_it_answers_by_ipv4_and_by_ipv6() -> None:
    async with _served_on_all_addresses() as port:
        assert await _health(f"http://127.0.0.1:{port}") == 200
        assert await _health(f"http://[::1]:{port}") == 200


@pytest.mark.parametrize(
    "error", [OSError(errno.EADDRNOTAVAIL, "no address"), ValueError("dualstack_ipv6")], ids=repr
)
async def test_on_a_node_without_ipv6_it_answers_by_ipv4(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    real = socket.create_server

    def without_ipv6(address: tuple[str, int], **options: object) -> socket.socket:
        if options:
            raise error
        return real(address)

    monkeypatch.setattr(socket, "create_server", without_ipv6)
    async with _served_on_all_addresses() as port:
        assert await _health(f"http://127.0.0.1:{port}") == 200


async def test_an_address_that_is_taken_is_an_error_and_not_ignored() -> None:
    address = f"127.0.0.1:{free_port()}"
    tools = {"metrics": Metrics(), "oldest_work": lambda: 0.0, "not_ready": lambda: None}
    async with probes.serve(probes.Places(address), **tools):  # type: ignore[arg-type]
        with pytest.raises(OSError, match="address already in use"):
            async with probes.serve(probes.Places(address), **tools):  # type: ignore[arg-type]
                pass
