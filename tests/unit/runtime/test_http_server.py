"""The server for probes and metrics: limits for unknown clients, and its certificate."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web

from cse_operator.runtime import http_server, probes
from cse_operator.runtime.http_server import (
    LOOK_EVERY,
    MOST_CONNECTIONS,
    ServingCertificate,
    listening,
)
from cse_operator.runtime.metrics import Metrics
from support.processes import free_port


async def ok(_request: web.BaseRequest) -> web.Response:
    return web.Response(text="ok")


Raw = Callable[..., Awaitable[asyncio.StreamReader]]


@pytest.fixture
async def raw() -> AsyncIterator[Raw]:
    """Connect and send; keep the connection open until the server closes it."""
    writers: list[asyncio.StreamWriter] = []

    async def connect(port: int, data: bytes = b"") -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        writer.write(data)
        return reader

    yield connect
    for writer in writers:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what the server sends until it closes the connection."""
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def test_connections_that_say_nothing_are_ended_after_a_while(
    raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "LONGEST_CONNECTION", 0.3)
    port = free_port()
    async with listening(f"127.0.0.1:{port}", ok):
        silent = [
            await raw(port),
            await raw(port, b"GET / HT"),
            await raw(port, b"POST / HTTP/1.1"),
        ]
        for reader in silent:
            assert await ended(reader) == b""


async def test_connections_beyond_the_limit_are_closed_at_once(raw: Raw) -> None:
    port = free_port()
    async with listening(f"127.0.0.1:{port}", ok):
        open_ones = [await raw(port) for _ in range(MOST_CONNECTIONS)]
        assert await ended(await raw(port)) == b""
        assert not any(reader.at_eof() for reader in open_ones)


async def test_a_connection_that_ended_makes_room_for_another_one() -> None:
    port = free_port()
    async with listening(f"127.0.0.1:{port}", ok), aiohttp.ClientSession() as session:
        for _ in range(MOST_CONNECTIONS * 2):
            async with session.get(f"http://127.0.0.1:{port}/") as answer:
                assert await answer.text() == "ok"


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01\x00\xfc", b"\x00" * 100, b"GET\r\n\r\n", b"{}\r\n\r\n"]
)
async def test_garbage_is_answered_or_not_and_logs_nothing(
    raw: Raw, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    with caplog.at_level(logging.INFO):
        async with listening(f"127.0.0.1:{port}", ok):
            reader = await raw(port, garbage)
            async with asyncio.timeout(20):
                await reader.read(1)
    assert caplog.records == []


async def test_an_error_of_our_own_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_request: web.BaseRequest) -> web.Response:
        raise LookupError("ours")

    port = free_port()
    async with (
        listening(f"127.0.0.1:{port}", broken),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/") as answer,
    ):
        assert answer.status == 500
    assert "LookupError: ours" in caplog.text


def _probed(places: probes.Places, metrics: Metrics) -> AbstractAsyncContextManager[None]:
    return probes.serve(places, metrics=metrics, oldest_work=lambda: 0.0, not_ready=lambda: None)


async def test_probes_are_answered_while_the_port_of_the_metrics_is_full(
    raw: Raw,
) -> None:
    metrics_port, probe_port = free_port(), free_port()
    places = probes.Places(f"127.0.0.1:{metrics_port}", f"127.0.0.1:{probe_port}")
    async with _probed(places, Metrics()), aiohttp.ClientSession() as session:
        _full = [await raw(metrics_port) for _ in range(MOST_CONNECTIONS)]
        for path, status in (("/healthz", 200), ("/readyz", 200), ("/metrics", 404)):
            async with session.get(f"http://127.0.0.1:{probe_port}{path}") as answer:
                assert answer.status == status
    async with _probed(places, Metrics()), aiohttp.ClientSession() as session:
        for path, status in (("/healthz", 404), ("/metrics", 200)):
            async with session.get(f"http://127.0.0.1:{metrics_port}{path}") as answer:
                assert answer.status == status


async def test_only_what_reads_is_served() -> None:
    port = free_port()
    places = probes.Places(f"127.0.0.1:{port}")
    async with (
        _probed(places, Metrics()),
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        assert answer.status == 405


def _write_pair(folder: Path, authority: trustme.CA) -> None:
    """Write a Secret's files; replace each in the way of the kubelet."""
    issued = authority.issue_cert("127.0.0.1", "localhost")
    for name, blob in (
        ("tls.crt", issued.cert_chain_pems[0]),
        ("tls.key", issued.private_key_pem),
    ):
        blob.write_to_path(folder / f"{name}.new")
        (folder / f"{name}.new").rename(folder / name)


def _trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_certificate_that_was_renewed_is_shown_without_a_restart(
    tmp_path: Path, host: str
) -> None:
    old, new, now, port = trustme.CA(), trustme.CA(), [0.0], free_port()
    _write_pair(tmp_path, old)
    certificate = ServingCertificate(tmp_path, clock=lambda: now[0])
    url = f"https://{host}:{port}/"
    async with (
        listening(f"127.0.0.1:{port}", ok, certificate),
        aiohttp.ClientSession() as session,
    ):
        async with session.get(url, ssl=_trusting(old)) as answer:
            assert await answer.text() == "ok"
        _write_pair(tmp_path, new)
        now[0] += LOOK_EVERY
        async with session.get(url, ssl=_trusting(new)) as answer:
            assert await answer.text() == "ok"
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(url, ssl=_trusting(old))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "tls.key").unlink(),
        lambda folder: (folder / "tls.crt").write_text("no certificate"),
        lambda folder: trustme.CA().private_key_pem.write_to_path(folder / "tls.key"),
    ],
    ids=["no key", "no certificate", "another key"],
)
async def test_an_unreadable_new_certificate_is_logged_and_the_old_one_stays(
    tmp_path: Path, spoil: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    authority, now, port = trustme.CA(), [0.0], free_port()
    _write_pair(tmp_path, authority)
    certificate = ServingCertificate(tmp_path, clock=lambda: now[0])
    async with (
        listening(f"127.0.0.1:{port}", ok, certificate),
        aiohttp.ClientSession() as session,
    ):
        spoil(tmp_path)
        now[0] += LOOK_EVERY
        async with session.get(f"https://localhost:{port}/", ssl=_trusting(authority)) as answer:
            assert await answer.text() == "ok"
    assert f"the certificate in {tmp_path} cannot be read again" in caplog.text


async def test_one_page_serves_all_who_ask_within_a_second() -> None:
    metrics, made = Metrics(), []

    real = metrics.registry.collect
    metrics.registry.collect = lambda: made.append(1) or real()
    pages = await asyncio.gather(*(metrics.page() for _ in range(50)))
    assert len(made) == 1
    assert len(set(pages)) == 1
    metrics._page_due = 0.0
    await metrics.page()
    assert len(made) == 2
