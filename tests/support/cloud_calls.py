"""Shared by the tests of the cloud side: a client with its usual parts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from cse_operator.cloud.auth.credentials import StaticToken
from cse_operator.cloud.auth.flows import CloudAuth, StaticTokenAuth
from cse_operator.cloud.client import CseClient
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.exchange import Exchange
from cse_operator.cloud.ratelimit import ProjectLimits, RateLimit
from cse_operator.core.failure import Failure, FailureKind

PROJECT = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
ENGINE = "891bf21a-4024-4f47-b38c-bd259ca8f10a"
ENDPOINT = "https://cse.cn-north-4.example.com"
TOKEN = "canary-token-5f1d"
NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)

ENGINE_ANSWER: dict[str, Any] = {
    "id": ENGINE,
    "name": "test",
    "type": "CSE",
    "status": "Available",
    "version": "2.3.1",
    "latestVersion": "2.3.4",
    "latestJobId": 12339,
    "engineAdditionalActions": ["Noting"],
}
ACCEPTED: dict[str, Any] = {"id": ENGINE, "name": "test", "jobId": 17655}
JOB_ANSWER: dict[str, Any] = {
    "id": 17655,
    "engineId": ENGINE,
    "type": "Upgrade",
    "status": "Executing",
    "startTime": 1635576800332,
    "tasks": [],
}


class FakeTime:
    """A clock that `sleep` advances, and that records the sleeps."""

    def __init__(self, start: float = 1000.0) -> None:
        self.now = start
        self.sleeps: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Advance the clock at once, then call back as an event loop does."""
        self.now += seconds
        asyncio.get_running_loop().call_soon(callback)


def project_limits(rate: float = 1000, time: FakeTime | None = None) -> ProjectLimits:
    """Return the limits of one project, with the given clock if there is one."""
    return ProjectLimits(
        (lambda: RateLimit(rate))
        if time is None
        else lambda: RateLimit(rate, clock=time, call_later=time.call_later)
    )


def static_auth(token: str = TOKEN) -> StaticTokenAuth:
    return StaticTokenAuth(StaticToken(token=SecretStr(token)))


def make_client(
    http: httpx.AsyncClient,
    endpoint: str = ENDPOINT,
    *,
    auth: CloudAuth | None = None,
    limits: ProjectLimits | None = None,
    project_id: str = PROJECT,
    enterprise_project_id: str | None = None,
    **others: Any,
) -> CseClient:
    """Return a client of `http`, by default with a static token."""
    timing = {name: others.pop(name) for name in ("clock", "sleep", "jitter") if name in others}
    if "jitter" in timing:
        others["jitter"] = timing["jitter"]
    exchange = Exchange(
        http,
        endpoint,
        project_id,
        enterprise_project_id=enterprise_project_id,
        auth=auth or static_auth(),
        limits=limits or project_limits(),
        **others,
    )
    return CseClient(exchange, **timing)


def mock_http(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(handler), trust_env=False)


def gateway_error(code: str, message: str = "the gateway's words") -> dict[str, str]:
    return {"error_code": code, "error_msg": message, "request_id": "req-1"}


def body_of(value: Any) -> bytes:
    return json.dumps(value).encode()


class Caught:
    """The failure that a block raised."""

    failure: Failure
    error: CloudError


@contextmanager
def fails(kind: FailureKind) -> Iterator[Caught]:
    """Require that the block raises a cloud error of exactly this kind."""
    caught = Caught()
    with pytest.raises(CloudError) as info:
        yield caught
    assert info.value.kind is kind, info.value
    caught.error = info.value
    caught.failure = info.value.failure
