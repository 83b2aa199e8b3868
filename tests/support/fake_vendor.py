"""A fake of the vendor's reads: a test controls their content and the time of the answer."""

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
    """Return an engine, by default at 2.3.1 with 2.4.0 as latest version."""
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
    """Return a job, by default a running upgrade."""
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
    """Return a failure of a kind."""
    return replace(Failure(kind, "the vendor's words"), **fields)  # type: ignore[arg-type]


async def until_idle() -> None:
    """Let all tasks run until they wait for an answer."""
    for _ in range(50):
        await asyncio.sleep(0)


@dataclass
class FakeReader:
    """Answers from its fields; while `gate` is closed, all calls wait."""

    engines: dict[str, EngineView] = field(default_factory=dict)
    jobs: dict[int, JobView | Exception] = field(default_factory=dict)
    listing_failures: list[Exception] = field(default_factory=list)
    """The errors of the next lists, one each."""
    asked: list[str] = field(default_factory=list)
    """The calls in order of arrival: `list`, `engine X` or `job 7`."""
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
        """Return the calls since the last call of this method."""
        calls, self.asked = self.asked, []
        return calls
