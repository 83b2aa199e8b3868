"""The vendor's six calls, typed: what the rest of the operator uses of the cloud.

Reads are repeated a little where that is safe; a changing call is sent at most once by anything
below `upgrade` and `retry`, and each of their errors says whether it may have had an effect.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cse_operator.cloud import wire, wire_jobs
from cse_operator.cloud.answers import Operation, says_no_such_api
from cse_operator.cloud.clock import boottime
from cse_operator.cloud.dispatch import Dispatch
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.exchange import Answer, Call, Exchange, checked_id, malformed
from cse_operator.cloud.fairness import Turn, Urgency
from cse_operator.cloud.paging import Bounds, Page, collect_pages
from cse_operator.core.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cse_operator.cloud.exchange import Parser
    from cse_operator.core.observation import Accepted, EngineView, JobView

READ_RETRIES = 2
"""How often a read is repeated after a passing failure."""
_READ_BACKOFF = 0.25
_LONGEST_READ_PAUSE = 2.0

MOST_JOBS = 200
"""The newest jobs of an engine that are kept of its list."""
_JOB_PAGES = Bounds(page=50, pages=16, rows=800)
"""A row may have all steps of its job: ours takes 6 kB. The order is not documented."""
ASK_AGAIN_AFTER = 24 * 3600.0
"""Seconds until a site that had no list of jobs is asked for one again."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION = re.compile(r"[0-9a-zA-Z]([-+._0-9a-zA-Z]{0,22}[0-9a-zA-Z])?")
_ANYBODY: Final = Turn()


class CseClient:
    """Calls the CSE API for one project with one credential. Safe to use from many tasks."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        clock: Callable[[], float] = boottime,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Make a client.

        Args:
            exchange: Makes the calls.
            clock: The clock that `send_before` is a reading of.
            sleep: Waits for a number of seconds.
            jitter: A random number from 0 to 1.
        """
        self._exchange = exchange
        self._base = f"/v2/{exchange.project_id}/enginemgr/engines"
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._lists_jobs_from = -math.inf
        """The clock's reading before which the site is not asked for a list of jobs."""

    async def list_engines(self) -> list[EngineView]:
        """List the project's engines of all types (CSE API Reference, Querying Engines).

        An engine that is missing from the list is not thereby proved to be missing: pages shift
        while they are read, and entries that lack a status or a version are left out.

        Raises:
            CloudError: The list could not be read.
        """

        async def fetch(offset: int, limit: int) -> Page[EngineView]:
            query = (("limit", str(limit)), ("offset", str(offset)), ("type", "ALL"))
            call = Call(Operation.LIST_ENGINES, "GET", self._base, _ANYBODY, query=query)
            return await self._read(call, wire.parse_engine_page)

        return await collect_pages(fetch)

    async def show_engine(self, engine_id: str, *, turn: Turn = _ANYBODY) -> EngineView:
        """Look at one engine (CSE API Reference, Querying Details About an Engine).

        Args:
            engine_id: The engine.
            turn: For whom it is, which decides what goes first; so in all that follow.

        Raises:
            CloudError: `NOT_FOUND` where there is no such engine; others as they come.
        """
        path = f"{self._base}/{checked_id('engine', engine_id)}"
        call = Call(Operation.SHOW_ENGINE, "GET", path, turn, engine_id)
        return await self._read(
            call, lambda body, at, redact: wire.parse_engine(body, engine_id, at, redact)
        )

    async def show_job(self, engine_id: str, job_id: int, *, turn: Turn = _ANYBODY) -> JobView:
        """Look at one job of an engine (CSE API Reference, Querying Details About a Task).

        Raises:
            CloudError: `NOT_FOUND` where there is no such job; others as they come.
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

        At most `MOST_JOBS`, by the time of their start and then by their number. A job that is
        missing from the list is not thereby proved to be missing: reads lag, pages shift while
        they are read, and rows without a status are left out.

        Returns:
            The jobs; `None` where the site does not have this call, which is no answer at all
            and is remembered for `ASK_AGAIN_AFTER`. Only the gateway's 0101 and 0103 say that.

        Raises:
            CloudError: The list could not be read: nothing is known about the jobs.
        """
        path = f"{self._base}/{checked_id('engine', engine_id)}/jobs"
        if self._clock() < self._lists_jobs_from:
            return None

        async def fetch(offset: int, limit: int) -> Page[JobView]:
            # The format of `from-time` and `to-time` is not documented: without them, all come.
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

    async def upgrade(
        self, engine_id: str, version: str, *, send_before: float, namespace: str = ""
    ) -> Accepted:
        """Start an upgrade (CSE API Reference, Upgrading an Engine). Sent at most once.

        Args:
            engine_id: The engine.
            version: The version to upgrade to, at most 24 characters.
            send_before: The reading of the clock from which on nothing may be sent any more.
            namespace: For whose resource it is; so in `retry`.

        Raises:
            CloudError: `OUTCOME_UNKNOWN` where the call was sent and may have had an effect.
                The core also gives every other answer that is no plain refusal the full
                outcome grace (`core/situations/__init__.py`).
            asyncio.CancelledError: The caller was cancelled; the outcome is then unknown, too.
        """
        if not _VERSION.fullmatch(version):
            raise malformed("The version is not one: at most 24 letters, digits and dots")
        path = f"{self._base}/{checked_id('engine', engine_id)}/upgrade"
        body = wire.upgrade_body(version)
        return await self._change(Operation.UPGRADE, path, engine_id, body, send_before, namespace)

    async def retry(self, engine_id: str, *, send_before: float, namespace: str = "") -> Accepted:
        """Run an engine's failed job again (CSE API Reference, Retrying an Engine).

        Sent at most once. Whether the job keeps its number is not documented.

        Args:
            engine_id: The engine.
            send_before: As for `upgrade`.
            namespace: Likewise.

        Raises:
            CloudError: As for `upgrade`.
        """
        path = f"{self._base}/{checked_id('engine', engine_id)}/actions"
        body = wire.retry_body()
        return await self._change(Operation.RETRY, path, engine_id, body, send_before, namespace)

    async def _change(  # noqa: PLR0917 - what a changing call consists of
        self,
        operation: Operation,
        path: str,
        engine_id: str,
        body: bytes,
        send_before: float,
        namespace: str,
    ) -> Accepted:
        turn = Turn(Urgency.CHANGE, namespace)
        sent = False if self._exchange.tells_departure else None
        dispatch = Dispatch(send_before, self._clock, sent=sent)
        call = Call(operation, "PUT", path, turn, engine_id, body=body, dispatch=dispatch)
        return await self._exchange.attempt(
            call, lambda answer, _, redact: wire.parse_accepted(answer, engine_id, redact)
        )

    async def _read(self, call: Call, parse: Parser[Answer]) -> Answer:
        """Make a read, and make it again after a passing failure, within one call's time."""
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
        """Seconds to wait before a read is repeated, or `None` if it should not be."""
        if failure.kind is not FailureKind.TRANSIENT:
            return None
        pause = max(self._jitter() * _READ_BACKOFF * 4**attempt, failure.retry_after or 0.0)
        return pause if pause <= _LONGEST_READ_PAUSE else None


def _checked_job(job_id: int) -> int:
    if job_id <= 0:
        raise malformed("The job id is not one: a number above 0")
    return job_id
