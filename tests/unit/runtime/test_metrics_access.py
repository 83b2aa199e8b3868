"""Access to the metrics: Kubernetes decides, and without its answer nobody gets in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cse_operator.runtime.metrics_access import ASKED_AT_ONCE, REMEMBERED, MetricsAccess
from support.api_server_stub import api_server_stub, hang_up, refusal, reply, silence

KNOWN = {"status": {"authenticated": True, "user": {"username": "prometheus", "groups": ["g"]}}}
ALLOWED, DENIED = ({"status": {"allowed": allowed}} for allowed in (True, False))


async def test_whoever_may_get_the_path_is_let_in_and_remembered_for_a_minute(
    tmp_path: Path,
) -> None:
    now = [0.0]
    async with api_server_stub(tmp_path) as (server, client):
        server.answers = [reply(body=KNOWN), reply(body=ALLOWED)]
        access = MetricsAccess(client, clock=lambda: now[0])
        assert await access.refusal("Bearer canary") is None
        assert [one.path.rpartition("/")[2] for one in server.asked] == [
            "tokenreviews",
            "subjectaccessreviews",
        ]
        assert server.asked[0].body["spec"] == {"token": "canary"}
        assert server.asked[1].body["spec"] == {
            "user": "prometheus",
            "groups": ["g"],
            "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
        }
        now[0] = REMEMBERED - 1
        assert await access.refusal("bearer canary") is None
        assert len(server.asked) == 2
        now[0] = REMEMBERED
        server.answers = [reply(body=KNOWN), reply(body=DENIED)]
        assert await access.refusal("Bearer canary") == 403


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "canary"])
async def test_a_request_without_a_token_is_refused_without_a_review(
    tmp_path: Path, header: str | None
) -> None:
    async with api_server_stub(tmp_path) as (server, client):
        assert await MetricsAccess(client).refusal(header) == 401
        assert server.asked == []


@pytest.mark.parametrize(
    "status",
    [{}, {"authenticated": False}, {"authenticated": "true", "user": {"username": "x"}}],
    ids=str,
)
async def test_a_token_that_kubernetes_does_not_know_is_refused(
    tmp_path: Path, status: dict[str, Any]
) -> None:
    async with api_server_stub(tmp_path) as (server, client):
        server.answers = [reply(body={"status": status})]
        assert await MetricsAccess(client).refusal("Bearer canary") == 401


@pytest.mark.parametrize(
    "answers",
    [
        [hang_up],
        [refusal(403, "Forbidden")],
        [reply(body=KNOWN), refusal(500, "InternalError")],
        [reply(text="a proxy")],
    ],
    ids=["no answer", "no right", "half an answer", "no review"],
)
async def test_without_an_answer_of_kubernetes_nobody_is_let_in(
    tmp_path: Path, answers: list[Any]
) -> None:
    async with api_server_stub(tmp_path) as (server, client):
        server.answers, server.otherwise = list(answers), answers[-1]
        assert await MetricsAccess(client).refusal("Bearer canary") == 503


async def test_strangers_take_few_of_the_connections_to_the_api_server(tmp_path: Path) -> None:
    until = asyncio.Event()
    async with api_server_stub(tmp_path) as (server, client):
        server.otherwise = silence(until)
        access = MetricsAccess(client)
        asking = [asyncio.create_task(access.refusal(f"Bearer {n}")) for n in range(20)]
        done, _ = await asyncio.wait(asking, timeout=0.5)
        assert not done
        assert len(server.asked) <= ASKED_AT_ONCE
        until.set()
        assert set(await asyncio.gather(*asking)) == {401}
        assert len(server.asked) == len(asking)
