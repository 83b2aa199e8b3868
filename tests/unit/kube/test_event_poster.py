"""Posting Events: in the background, within the API's limits, and without delaying a step."""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import UTC, datetime

import pytest
from kubernetes.aio.client import ApiClient

from cse_operator.kube.events import MESSAGE_LIMIT, EventPoster
from cse_operator.kube.references import ObjectReference
from support.api_server_stub import ApiServerStub, hang_up, refusal, reply, silence

Connected = tuple[ApiServerStub, ApiClient]
ORDERS = ObjectReference("payments", "orders", "uid-1")
NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


async def test_an_event_says_what_who_when_and_about_what(connected: Connected) -> None:
    server, client = connected
    server.otherwise = reply(201)
    async with EventPoster(client, instance="cse-operator-abc", now=lambda: NOON) as events:
        events.post(ORDERS, "Warning", "UpgradeRejected", "the vendor said no", action="Upgrade")
    [asked] = server.asked
    assert (asked.method, asked.path) == ("POST", "/api/v1/namespaces/payments/events")
    name = asked.body["metadata"].pop("name")
    assert re.fullmatch(r"orders\.[0-9a-f]{16}", name)
    assert asked.body == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": "payments"},
        "involvedObject": {
            "apiVersion": "cse-operator.io/v1alpha1",
            "kind": "MicroserviceEngine",
            "namespace": "payments",
            "name": "orders",
            "uid": "uid-1",
        },
        "type": "Warning",
        "reason": "UpgradeRejected",
        "action": "Upgrade",
        "message": "the vendor said no",
        "count": 1,
        "firstTimestamp": "2026-03-01T12:00:00Z",
        "lastTimestamp": "2026-03-01T12:00:00Z",
        "eventTime": "2026-03-01T12:00:00.250000Z",
        "source": {"component": "cse-operator"},
        "reportingComponent": "cse-operator.io/cse-operator",
        "reportingInstance": "cse-operator-abc",
    }


@pytest.mark.parametrize("message", ["x" * 5000, "ü" * 1000, "x" + "引擎" * 500, "🙂" * 400])
async def test_a_long_message_is_cut_by_bytes(connected: Connected, message: str) -> None:
    server, client = connected
    server.otherwise = reply(201)
    async with EventPoster(client, instance="i", drain_seconds=60.0) as events:
        events.post(ORDERS, "Normal", "UpToDate", message)
    [asked] = server.asked
    sent = asked.body["message"]
    assert MESSAGE_LIMIT - 4 < len(sent.encode()) <= MESSAGE_LIMIT
    assert sent.endswith("…")
    assert message.startswith(sent[:-1])


async def test_a_message_that_just_fits_is_left_alone(connected: Connected) -> None:
    server, client = connected
    server.otherwise = reply(201)
    async with EventPoster(client, instance="i", drain_seconds=60.0) as events:
        events.post(ORDERS, "Normal", "UpToDate", "x" * MESSAGE_LIMIT)
    assert server.asked[0].body["message"] == "x" * MESSAGE_LIMIT


@pytest.mark.parametrize("name", ["a" * 253, "a" * 235 + "." + "b" * 17])
async def test_the_longest_names_leave_room_for_the_events_own(
    connected: Connected, name: str
) -> None:
    server, client = connected
    server.otherwise = reply(201)
    async with EventPoster(client, instance="i", drain_seconds=60.0) as events:
        events.post(ObjectReference("payments", name, "u"), "Normal", "UpToDate", "m")
    posted = server.asked[0].body["metadata"]["name"]
    assert len(posted) <= 253
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", posted)


async def test_posting_does_not_wait_for_the_api_server(connected: Connected) -> None:
    server, client = connected
    answered = asyncio.Event()
    server.otherwise = silence(answered)
    async with EventPoster(client, instance="i", drain_seconds=60.0) as events:
        for _ in range(100):
            events.post(ORDERS, "Normal", "UpToDate", "m")
        # The event loop has not run since then, so nothing has been sent yet.
        assert server.asked == []
        answered.set()
    assert len(server.asked) == 100
    assert events.lost == 0


async def test_leaving_does_not_wait_for_ever(connected: Connected) -> None:
    server, client = connected
    never = asyncio.Event()
    server.otherwise = silence(never)
    async with EventPoster(client, instance="i", drain_seconds=0.01) as events:
        events.post(ORDERS, "Normal", "UpToDate", "m")
    assert events.lost == 1
    never.set()


async def test_a_refused_event_is_no_failure_and_is_logged_once_a_minute(
    connected: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    server, client = connected
    server.answers = [refusal(403, "Forbidden", "may not"), hang_up, refusal(500, ""), reply(201)]
    now = 100.0
    with caplog.at_level(logging.WARNING, logger="cse_operator.kube.events"):
        async with EventPoster(
            client, instance="i", drain_seconds=60.0, clock=lambda: now
        ) as events:
            for _ in range(4):
                events.post(ORDERS, "Normal", "UpToDate", "m")
        assert len(caplog.messages) == 1
        assert "could not be posted" in caplog.messages[0]
        assert events.lost == 3
        now += 60.0
        server.answers = [refusal(403, "Forbidden", "may not")]
        async with events:
            events.post(ORDERS, "Normal", "UpToDate", "m")
        assert len(caplog.messages) == 2
        assert "POST events payments: may not (4 lost" in caplog.messages[1]


async def test_a_full_queue_drops_what_comes_last_and_counts_it(
    connected: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    server, client = connected
    server.otherwise = reply(201)
    async with EventPoster(client, instance="i", drain_seconds=60.0, queue_limit=2) as events:
        for number in range(5):
            events.post(ORDERS, "Normal", "UpToDate", f"m{number}")
    assert sorted(asked.body["message"] for asked in server.asked) == ["m0", "m1"]
    assert events.lost == 3
    assert "the queue of Events is full" in caplog.text
