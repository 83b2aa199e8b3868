"""The vendor's reading calls, typed, for commands that must not change anything.

A `CseReader` has no method that changes an engine. The operator's `CseClient` adds those.
"""

from __future__ import annotations

import asyncio
import math
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cse_operator.clock import boottime
from cse_operator.cloud import wire, wire_jobs
from cse_operator.cloud.answers import Operation, says_no_such_api
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.exchange import Answer, Call, Exchange, checked_id, malformed
from cse_operator.cloud.fairness import Turn
from cse_operator.cloud.paging import Bounds, Page, collect_pages, collect_rows
from cse_operator.core.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cse_operator.cloud.exchange import Parser
    from cse_operator.core.views import EngineView, JobView

READ_RETRIES = 2
"""How often a read is repeated after a transient failure."""
_READ_BACKOFF = 0.25
_LONGEST_READ_PAUSE = 2.0

MOST_JOBS = 200
"""How many of an engine's jobs are kept: the newest ones."""
_JOB_PAGES = Bounds(page=50, pages=16, rows=800)
"""A row may contain all steps of its job: ours takes 6 kB. The vendor documents no order."""
ASK_AGAIN_AFTER = 24 * 3600.0
"""Seconds until a site that had no job list call is asked again."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_ANYBODY: Final = Turn()


class CseReader:
    """Reads the CSE API for one project with one credential. Safe to use from many tasks."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        clock: Callable[[], float] = boottime,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Make a reader.

        Args:
            exchange: Makes the calls.
            clock: Seconds on a steady clock; `send_before` is a reading of it.
            sleep: Waits for a number of seconds.
            jitter: A random number from 0 to 1.
        """
        self._exchange = exchange
        self._base = f"/v2/{exchange.project_id}/enginemgr/engines"
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._lists_jobs_from = -math.inf
        """The clock reading from which on the site is asked for a list of jobs."""

    async def list_engines(self) -> list[EngineView]:
        """List the project's engines of all types (CSE API Reference, Querying Engines).

        An engine missing from the list may still exist: pages shift while they are read, and
        entries without a status or a version are left out.

        Raises:
            CloudError: The list could not be read.
        """
        rows = await self.list_engines_by_id()
        return [engine for engine in rows.values() if engine is not None]

    async def list_engines_by_id(self) -> dict[str, EngineView | None]:
        """List the project's engines by id; `None` for an entry without a status or a version.

        Raises:
            CloudError: The list could not be read.
        """

        async def fetch(offset: int, limit: int) -> Page[EngineView]:
            query = (("limit", str(limit)), ("offset", str(offset)), ("type", "ALL"))
            call = Call(Operation.LIST_ENGINES, "GET", self._base, _ANYBODY, query=query)
            return await self._read(call, wire.parse_engine_page)

        return await collect_rows(fetch)

    async def show_engine(self, engine_id: str, *, turn: Turn = _ANYBODY) -> EngineView:
        """Look at one engine (CSE API Reference, Querying Details About an Engine).

        Args:
            engine_id: The engine.
            turn: Decides when the call's turn comes.

        Raises:
            CloudError: The call failed; `NOT_FOUND` if there is no such engine.
        """
        path = f"{self._base}/{checked_id('engine', engine_id)}"
        call = Call(Operation.SHOW_ENGINE, "GET", path, turn, engine_id)
        return await self._read(
            call, lambda body, at, redact: wire.parse_engine(body, engine_id, at, redact)
        )

    async def show_job(self, engine_id: str, job_id: int, *, turn: Turn = _ANYBODY) -> JobView:
        """Look at one job of an engine (CSE API Reference, Querying Details About a Task).

        Raises:
            CloudError: The call failed; `NOT_FOUND` if there is no such job.
        """
        path = f"{self._base}/{checked_id('engine', engine_id)}/jobs/{_checked_job(job_id)}"
        call = Call(Operation.SHOW_JOB, "GET", path, turn, engine_id)
        return await self._read(
            call, lambda body, at, redact: wire_jobs.parse_job(body, engine_id, job_id, at, redact)
        )

    async def list_jobs(
        self, engine_id: str, *, turn: Turn = _ANYBODY
    ) -> tuple[JobView, ...] | None:
        """List an engine's newest jobs, oldest first (CSE API Reference, cse_06_00115).

        At most `MOST_JOBS`, sorted by start time and then by number. A job missing from the list
        may still exist: reads lag, pages shift while they are read, and rows without a status are
        left out.

        Returns:
            The jobs; `None` if the site does not have this call, which says nothing about the jobs
            and is remembered for `ASK_AGAIN_AFTER`. Only the gateway codes 0101 and 0103 mean this.

        Raises:
            CloudError: The list could not be read, so nothing is known about the jobs.
        """
        path = f"{self._base}/{checked_id('engine', engine_id)}/jobs"
        if self._clock() < self._lists_jobs_from:
            return None

        async def fetch(offset: int, limit: int) -> Page[JobView]:
            # Ask for all jobs: the format of `from-time` and `to-time` is not documented.
            query = (("limit", str(limit)), ("offset", str(offset)))
            call = Call(Operation.LIST_JOBS, "GET", path, turn, engine_id, query=query)
            return await self._read(
                call, lambda body, at, redact: wire_jobs.parse_job_page(body, engine_id, at, redact)
            )

        try:
            jobs = await collect_pages(fetch, _JOB_PAGES)
        except CloudError as error:
            if not says_no_such_api(error.failure):
                raise
            self._lists_jobs_from = self._clock() + ASK_AGAIN_AFTER
            return None
        jobs.sort(key=lambda job: (job.started_at or _LONG_AGO, job.job_id))
        return tuple(jobs[-MOST_JOBS:])

    async def _read(self, call: Call, parse: Parser[Answer]) -> Answer:
        """Make a read; repeat it after a transient failure, within the time of one call."""
        until = self._clock() + self._exchange.request_timeout
        for attempt in range(READ_RETRIES):
            try:
                return await self._exchange.attempt(call, parse)
            except CloudError as error:
                pause = self._pause_before_repeating(error.failure, attempt)
                if pause is None or self._clock() + pause >= until:
                    raise
            await self._sleep(pause)
        return await self._exchange.attempt(call, parse)

    def _pause_before_repeating(self, failure: Failure, attempt: int) -> float | None:
        """Return the seconds to wait before repeating a read; `None` if it must not be repeated."""
        if failure.kind is not FailureKind.TRANSIENT:
            return None
        pause = max(self._jitter() * _READ_BACKOFF * 4**attempt, failure.retry_after or 0.0)
        return pause if pause <= _LONGEST_READ_PAUSE else None


def _checked_job(job_id: int) -> int:
    if job_id <= 0:
        raise malformed("The job id is malformed: it is a number above 0")
    return job_id
