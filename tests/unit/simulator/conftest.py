"""A simulated vendor in the test's own process, with a clock that the test moves by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from multidict import CIMultiDict

from cse_simulator.vendor.calls import Call
from cse_simulator.vendor.clock import Clock
from cse_simulator.vendor.engines import DEFAULT_PROJECT, Engine, EngineDescription
from cse_simulator.vendor.server import Simulator
from cse_simulator.vendor.settings import Settings

TOKEN = {"X-Auth-Token": "some-token"}


class HandClock(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.moment = 1_800_000_000.0

    def now(self) -> float:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += seconds


class Reply(NamedTuple):
    status: int
    json: Any
    headers: dict[str, str]


class Vendor:
    def __init__(self, **settings: Any) -> None:
        self.clock = HandClock()
        self.simulator = Simulator(Settings(**settings), self.clock)
        self.world = self.simulator.world
        self.upgrades = self.simulator.upgrades
        self.engines = f"/v2/{DEFAULT_PROJECT}/enginemgr/engines"

    def engine(self, name: str = "orders", **described: Any) -> Engine:
        [engine] = self.world.add_engines([EngineDescription(name, **described)], age_seconds=60)
        return engine

    def call(
        self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Reply:
        sent = CIMultiDict(TOKEN if headers is None else headers)
        content = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json;charset=UTF-8")
        call = Call.received(method, target, sent, content, "request-1")
        record = self.simulator.recorder.arrive(call, self.clock.now())
        answer = self.simulator.vendor.answer(call)
        self.simulator.recorder.conclude(record, answer.status)
        return Reply(int(answer.status), json.loads(answer.body), answer.headers)

    def show(self, engine: Engine) -> Reply:
        return self.call("GET", f"{self.engines}/{engine.id}")

    def list(self, query: str = "") -> Reply:
        return self.call("GET", self.engines + query)

    def job(self, engine: Engine, job_id: int | str) -> Reply:
        return self.call("GET", f"{self.engines}/{engine.id}/jobs/{job_id}")

    def upgrade(self, engine: Engine, version: Any = "2.4.0") -> Reply:
        return self.call("PUT", f"{self.engines}/{engine.id}/upgrade", {"version": version})

    def retry(self, engine: Engine, action: str = "Retry") -> Reply:
        return self.call("PUT", f"{self.engines}/{engine.id}/actions", {"action": action})


@pytest.fixture
def vendor() -> Callable[..., Vendor]:
    """Return a function that makes a vendor with the given settings."""
    return Vendor
