"""The reading half of the vendor's API, held in the hand: what it shows, and when it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from cse_operator.cloud.errors import CloudError
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.views import EngineView, JobProgress, JobView

NOON = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)


def engine_view(engine_id: str = "engine", **fields: object) -> EngineView:
    """An engine at 2.3.1 that offers 2.4.0, unless told otherwise."""
    usual = EngineView(
        engine_id=engine_id,
        name="orders",
        type="CSE",
        status="Available",
        version="2.3.1",
        latest_version="2.4.0",
        latest_job_id=100,
        additional_actions=(),
        observed_at=NOON,
    )
    return replace(usual, **fields)  # type: ignore[arg-type]


def job_view(job_id: int = 101, engine_id: str = "engine", **fields: object) -> JobView:
    """An upgrade job that runs, unless told otherwise."""
    usual = JobView(
        job_id=job_id,
        engine_id=engine_id,
        type="Upgrade",
        status="Executing",
        started_at=NOON,
        ended_at=None,
        progress=JobProgress(1, 5, "Back up configuration"),
        message=None,
        observed_at=NOON,
    )
    return replace(usual, **fields)  # type: ignore[arg-type]


def failure(kind: FailureKind = FailureKind.TRANSIENT, **fields: object) -> Failure:
    """A failure of a kind."""
    return replace(Failure(kind, "the vendor's words"), **fields)  # type: ignore[arg-type]


async def until_idle() -> None:
    """Let everything run that can run while nobody answers."""
    for _ in range(50):
        await asyncio.sleep(0)


@dataclass
class FakeReader:
    """Answers with what it is given; while `gate` is closed, it keeps everybody waiting."""

    engines: dict[str, EngineView] = field(default_factory=dict)
    jobs: dict[int, JobView | Exception] = field(default_factory=dict)
    listing_failures: list[Exception] = field(default_factory=list)
    """What the next listings fail with, one each."""
    asked: list[str] = field(default_factory=list)
    """The calls in the order in which they came: `list`, `engine X` or `job 7`."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def list_engines(self) -> Sequence[EngineView]:
        self.asked.append("list")
        await self.gate.wait()
        if self.listing_failures:
            raise self.listing_failures.pop(0)
        return list(self.engines.values())

    async def show_engine(self, engine_id: str) -> EngineView:
        self.asked.append(f"engine {engine_id}")
        await self.gate.wait()
        if engine_id not in self.engines:
            raise CloudError(failure(FailureKind.NOT_FOUND))
        return self.engines[engine_id]

    async def show_job(self, engine_id: str, job_id: int) -> JobView:
        self.asked.append(f"job {job_id}")
        await self.gate.wait()
        answer = self.jobs.get(job_id) or CloudError(failure(FailureKind.NOT_FOUND))
        if isinstance(answer, Exception):
            raise answer
        assert answer.engine_id == engine_id
        return answer

    def take_calls(self) -> list[str]:
        """The calls since this was asked last."""
        calls, self.asked = self.asked, []
        return calls
