"""The most important promise, on a real socket: a changing call leaves at most once."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import aiohttp
import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

from cse_operator.clock import boottime
from cse_operator.cloud.answers import Operation
from cse_operator.cloud.client import CseClient
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.transport import TransportOptions, build_http_client
from cse_operator.core.failure import FailureKind
from support.cloud_calls import (
    ACCEPTED,
    ENGINE,
    ENGINE_ANSWER,
    fails,
    gateway_error,
    make_client,
    project_limits,
)
from support.raw_vendor import Act, Behaviour, RawRequest, RawVendor, answer

OPTIONS = TransportOptions(allow_local_addresses=True, connect_timeout=5, read_timeout=5)


def reads_well(deed: bytes | Act) -> Behaviour:
    """Answer GETs; give `deed` to PUTs."""

    def behave(request: RawRequest) -> bytes | Act:
        return answer(200, ENGINE_ANSWER) if request.method == "GET" else deed

    return behave


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with build_http_client(OPTIONS) as client:
        yield client


async def upgrade(client: CseClient, seconds: float = 30.0) -> None:
    await client.upgrade(ENGINE, "2.4.0", send_before=boottime() + seconds)


@pytest.mark.parametrize("deed", [Act.CLOSE, Act.RESET])
async def test_a_put_is_sent_once_when_the_reused_connection_dies_under_it(
    http: httpx.AsyncClient, deed: Act
) -> None:
    async with RawVendor(reads_well(deed)) as vendor:
        client = make_client(http, vendor.url)
        await client.show_engine(ENGINE)
        with fails(FailureKind.OUTCOME_UNKNOWN):
            await upgrade(client)
        assert [r.connection for r in vendor.requests] == [1, 1], "the connection was not reused"
        assert len(vendor.puts) == 1


@pytest.mark.parametrize("first", ["GET", "nothing"])
async def test_aiohttp_left_to_itself_would_send_that_put_twice(first: str) -> None:
    """This is why the fence exists; a fresh connection for each PUT would not help."""
    async with RawVendor(reads_well(Act.CLOSE)) as vendor, aiohttp.ClientSession() as session:
        if first == "GET":
            await (await session.get(vendor.url)).read()
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.put(vendor.url, data=b"{}")
        assert len(vendor.puts) == 2


async def test_httpx_aiohttp_left_to_itself_would_call_a_lost_answer_a_failed_connection() -> None:
    """This is why the exception's type does not decide whether a call was sent."""
    async with RawVendor(reads_well(Act.CLOSE)) as vendor:
        async with httpx.AsyncClient(transport=AiohttpTransport(trust_env=False)) as plain:
            with pytest.raises(httpx.ConnectTimeout):
                await plain.put(vendor.url, content=b"{}")
        assert vendor.puts


@pytest.mark.parametrize("deed", [Act.CLOSE, Act.RESET])
async def test_a_put_is_sent_once_when_a_fresh_connection_dies_under_it(
    http: httpx.AsyncClient, deed: Act
) -> None:
    async with RawVendor(reads_well(deed)) as vendor:
        with fails(FailureKind.OUTCOME_UNKNOWN) as caught:
            await upgrade(make_client(http, vendor.url))
        assert len(vendor.puts) == 1
        assert "was sent and got no answer" in caught.failure.message


async def test_a_get_survives_a_reused_connection_that_dies_under_it(
    http: httpx.AsyncClient,
) -> None:
    deeds = iter([answer(200, ENGINE_ANSWER), Act.CLOSE, answer(200, ENGINE_ANSWER)])
    async with RawVendor(lambda _: next(deeds)) as vendor:
        client = make_client(http, vendor.url)
        await client.show_engine(ENGINE)
        assert (await client.show_engine(ENGINE)).version == "2.3.1"
        assert len(vendor.requests) == 3


@pytest.mark.parametrize(
    "deed",
    [
        answer(200, ACCEPTED, length=4096) + b"",
        answer(200, b"<html>fine</html>"),
        answer(200, {"id": ENGINE, "name": "test"}),
        answer(200, {"id": "another-engine", "jobId": 17655}),
        answer(200, {"id": ENGINE, "jobId": 0}),
        answer(500, {"error_code": "SVCSTG.00500400", "error_msg": "internal"}),
        answer(502, gateway_error("APIGW.0201", "Backend unavailable")),
        answer(503, gateway_error("APIGW.0613")),
        answer(504, gateway_error("APIGW.0201", "Backend timeout")),
        answer(408, gateway_error("APIGW.0201")),
        answer(404, b"<html>nginx</html>"),
        answer(307, b"", {"Location": "/elsewhere"}),
        answer(200, ACCEPTED, {"Content-Encoding": "gzip"}),
        b"HTTP/1.1 200 OK\r\nContent-Length: minus one\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
    ],
    ids=lambda deed: deed.splitlines()[0].decode()[:24],
)
async def test_an_answer_that_proves_nothing_leaves_the_outcome_unknown(
    http: httpx.AsyncClient, deed: bytes
) -> None:
    closing = deed.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    async with RawVendor(reads_well(closing)) as vendor:
        with fails(FailureKind.OUTCOME_UNKNOWN):
            await upgrade(make_client(http, vendor.url))
        assert len(vendor.puts) == 1


@pytest.mark.parametrize(
    ("deed", "kind"),
    [
        (answer(400, gateway_error("APIGW.0201")), FailureKind.REJECTED),
        (answer(429, b""), FailureKind.THROTTLED),
        (answer(401, gateway_error("APIGW.0301")), FailureKind.UNAUTHENTICATED),
    ],
)
async def test_an_answer_that_proves_the_refusal_has_no_unknown_outcome(
    http: httpx.AsyncClient, deed: bytes, kind: type[CloudError]
) -> None:
    async with RawVendor(reads_well(deed)) as vendor:
        with fails(kind):
            await upgrade(make_client(http, vendor.url))
        assert len(vendor.puts) == 1


async def test_a_put_without_an_answer_in_time_has_an_unknown_outcome(
    http: httpx.AsyncClient,
) -> None:
    async with RawVendor(reads_well(Act.HANG)) as vendor:
        with fails(FailureKind.OUTCOME_UNKNOWN):
            await upgrade(make_client(http, vendor.url, request_timeout=0.2))
        assert len(vendor.puts) == 1


async def test_a_put_that_finds_nobody_listening_was_not_sent(http: httpx.AsyncClient) -> None:
    async with RawVendor(reads_well(Act.CLOSE)) as vendor:
        url = vendor.url
    with fails(FailureKind.NOT_SENT):
        await upgrade(make_client(http, url))


async def test_a_put_to_a_name_that_does_not_resolve_was_not_sent(
    http: httpx.AsyncClient,
) -> None:
    with fails(FailureKind.NOT_SENT):
        await upgrade(make_client(http, "http://no-such-host.invalid"))


async def test_a_put_to_a_server_without_a_trusted_certificate_was_not_sent(
    http: httpx.AsyncClient, self_signed: ssl.SSLContext
) -> None:
    async with RawVendor(reads_well(answer(200, ACCEPTED)), tls=self_signed) as vendor:
        with fails(FailureKind.NOT_SENT) as caught:
            await upgrade(make_client(http, vendor.url))
        assert vendor.requests == []
        assert "certificate" in caught.failure.message.lower()


async def test_a_put_that_gets_no_connection_in_time_was_not_sent() -> None:
    options = TransportOptions(connections=1, allow_local_addresses=True)
    async with RawVendor(lambda _: Act.HANG) as vendor, build_http_client(options) as narrow:
        client = make_client(narrow, vendor.url)
        occupying = asyncio.create_task(client.show_engine(ENGINE))
        await vendor.received.wait()
        hurried = make_client(narrow, vendor.url, request_timeout=0.1)
        with fails(FailureKind.NOT_SENT):
            await upgrade(hurried)
        occupying.cancel()
        await asyncio.gather(occupying, return_exceptions=True)
        assert vendor.puts == []


async def test_a_put_whose_deadline_passed_in_the_queue_is_not_sent(
    http: httpx.AsyncClient,
) -> None:
    async with RawVendor(reads_well(answer(200, ACCEPTED))) as vendor:
        with fails(FailureKind.NOT_SENT):
            await upgrade(make_client(http, vendor.url), seconds=-1)
        assert vendor.requests == []


async def test_a_deadline_that_passes_while_connecting_is_seen_before_the_first_byte(
    http: httpx.AsyncClient,
) -> None:
    readings = iter([0.0] * 3)  # in time for the limit, the client and the transport …

    def clock() -> float:
        return next(readings, 100.0)  # … and too late once the connection stands

    async with RawVendor(reads_well(answer(200, ACCEPTED))) as vendor:
        client = make_client(http, vendor.url, clock=clock)
        with fails(FailureKind.NOT_SENT):
            await client.upgrade(ENGINE, "2.4.0", send_before=10.0)
        assert vendor.connections == 1
        assert vendor.requests == []


async def test_a_put_in_a_pause_that_the_vendor_asked_for_is_not_sent(
    http: httpx.AsyncClient,
) -> None:
    limits = project_limits()
    limits.penalize(Operation.UPGRADE, 3600)
    async with RawVendor(reads_well(answer(200, ACCEPTED))) as vendor:
        with fails(FailureKind.NOT_SENT) as caught:
            await upgrade(make_client(http, vendor.url, limits=limits))
        assert vendor.requests == []
        assert caught.failure.retry_after == pytest.approx(3600, abs=5)


async def test_a_put_waits_for_its_turn_no_longer_than_it_may_be_sent(
    http: httpx.AsyncClient,
) -> None:
    limits = project_limits(0.001)
    async with RawVendor(reads_well(answer(200, ACCEPTED))) as vendor:
        client = make_client(http, vendor.url, limits=limits)
        await upgrade(client)
        with fails(FailureKind.NOT_SENT):
            await client.upgrade(ENGINE, "2.4.0", send_before=boottime() + 0.05)
        assert len(vendor.puts) == 1


async def test_a_retry_is_sent_once_as_well(http: httpx.AsyncClient) -> None:
    async with RawVendor(reads_well(Act.CLOSE)) as vendor:
        client = make_client(http, vendor.url)
        await client.show_engine(ENGINE)
        with fails(FailureKind.OUTCOME_UNKNOWN):
            await client.retry(ENGINE, send_before=boottime() + 30)
        assert len(vendor.puts) == 1
        assert vendor.puts[0].target.endswith("/actions")


async def test_an_accepted_put_names_its_job(http: httpx.AsyncClient) -> None:
    async with RawVendor(reads_well(answer(200, ACCEPTED))) as vendor:
        client = make_client(http, vendor.url)
        accepted = await client.upgrade(ENGINE, "2.4.0", send_before=boottime() + 30)
        assert (accepted.job_id, accepted.engine_name) == (17655, "test")
        assert len(vendor.puts) == 1


async def test_on_a_transport_that_does_not_say_a_lost_put_counts_as_sent() -> None:
    def lose(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("maybe")

    async with httpx.AsyncClient(transport=httpx.MockTransport(lose)) as unfenced:
        with fails(FailureKind.OUTCOME_UNKNOWN):
            await upgrade(make_client(unfenced))
