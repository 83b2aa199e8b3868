"""The vendor's five calls, typed: what the rest of the operator uses of the cloud.

Reads are repeated a little where that is safe; a changing call is sent at most once by anything
below `upgrade` and `retry`, and each of their errors says whether it may have had an effect.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from cse_operator.cloud import wire, wire_jobs
from cse_operator.cloud.clock import boottime
from cse_operator.cloud.credentials import Identity
from cse_operator.cloud.errors import CloudError, failure_of_response
from cse_operator.cloud.judgement import (
    OPERATION,
    Operation,
    parse_http_date,
    says_no_such_api,
)
from cse_operator.cloud.paging import Bounds, Page, collect_pages
from cse_operator.cloud.redaction import Redactor, redact
from cse_operator.cloud.transport import (
    DISPATCH,
    LONGEST_ANSWER,
    USER_AGENT,
    Dispatch,
    FencedClient,
)
from cse_operator.cloud.values import WireError
from cse_operator.core.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import SecretStr

    from cse_operator.cloud.auth import CloudAuth
    from cse_operator.cloud.ratelimit import TokenBucket
    from cse_operator.core.observation import Accepted, EngineView, JobView

_Answer = TypeVar("_Answer")
if TYPE_CHECKING:
    _Parser = Callable[[bytes, datetime | None, Redactor], _Answer]

DEFAULT_PAUSE = 5.0
"""Seconds a project pauses after a 429 that does not say for how long."""
READ_RETRIES = 2
"""How often a read is repeated after a passing failure."""
_READ_BACKOFF = 0.25
_LONGEST_READ_PAUSE = 2.0

_LONGEST_ANSWERS = {
    # A row with all documented fields (SDK model EngineSimpleInfo) has 2.0 kB, and 4.1 kB with
    # each text at its longest and in Chinese; a page has 1,000.
    Operation.LIST_ENGINES: 4 * 1024 * 1024,
    # Steps may bring logs and outputs, of which nothing is documented.
    Operation.SHOW_JOB: 1024 * 1024,
    Operation.LIST_JOBS: 4 * 1024 * 1024,
}
"""Bytes that a successful answer may have where `MAX_RESPONSE_BYTES` are too few."""

MOST_JOBS = 200
"""The newest jobs of an engine that are kept of its list."""
_JOB_PAGES = Bounds(page=50, pages=16, rows=800)
"""A row may have all steps of its job: ours takes 6 kB. The order is not documented."""
ASK_AGAIN_AFTER = 24 * 3600.0
"""Seconds until a site that had no list of jobs is asked for one again."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_ID = re.compile(r"[0-9a-zA-Z]([-0-9a-zA-Z_]{0,62}[0-9a-zA-Z])?")
_VERSION = re.compile(r"[0-9a-zA-Z]([-+._0-9a-zA-Z]{0,22}[0-9a-zA-Z])?")
_TLS_DETAIL = re.compile(r" ssl:(<[^>]*>|\S+)")
_READ = httpx.ByteStream(b"")
_CERTAINLY_NOT_SENT = (httpx.ConnectError, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call before it is made."""

    operation: Operation
    method: str
    path: str
    engine_id: str | None = None
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    dispatch: Dispatch | None = None


class CseClient:
    """Calls the CSE API for one project with one credential.

    Cheap to make: connections, limits and tokens live in `http`, `bucket` and `auth`, which are
    shared. Safe to use from many tasks at once.
    """

    def __init__(  # noqa: PLR0917 - what a client consists of, in the order of a call
        self,
        http: httpx.AsyncClient,
        endpoint: str,
        project_id: str,
        enterprise_project_id: str | None,
        auth: CloudAuth,
        bucket: TokenBucket,
        *,
        request_timeout: float = 20.0,
        on_call: Callable[[str, str, float], None] | None = None,
        clock: Callable[[], float] = boottime,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Make a client.

        Args:
            http: From `build_http_client`; not closed here.
            endpoint: The origin of the region's API, from the administrator's settings.
            project_id: The project of the region.
            enterprise_project_id: Sent as a header where given; without it the vendor assumes
                the default enterprise project.
            auth: How calls prove who makes them.
            bucket: The project's rate limit.
            request_timeout: Seconds for one call, from handing it over to its last byte.
            on_call: Told of each call when it is over: the operation's name, `"Success"` or the
                `FailureKind` (`"Cancelled"` if it was cancelled), and its seconds, waiting for
                the rate limit included.
            clock: The clock that `send_before` is a reading of.
            sleep: Waits for a number of seconds.
            jitter: A random number from 0 to 1.

        Raises:
            CloudError: An id cannot be part of a path (`REJECTED`).
        """
        self._http = http
        self._origin = endpoint.rstrip("/")
        self._netloc = httpx.URL(self._origin).netloc
        self._base = f"/v2/{_checked_id('project', project_id)}/enginemgr/engines"
        self._headers = {
            "Content-Type": "application/json;charset=UTF-8",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
        }
        if enterprise_project_id:
            self._headers["X-Enterprise-Project-ID"] = _checked_id(
                "enterprise project", enterprise_project_id
            )
        self._auth = auth
        self._bucket = bucket
        self._request_timeout = request_timeout
        self._on_call = on_call
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._lists_jobs_from = -math.inf
        """The clock's reading before which the site is not asked for a list of jobs."""
        self._redacted: tuple[SecretStr, ...] = ()
        self._redactor = Redactor()

    async def list_engines(self) -> list[EngineView]:
        """List the project's engines of all types (CSE API Reference, Querying Engines).

        An engine that is missing from the list is not thereby proved to be missing: pages shift
        while they are read, and entries that lack a status or a version are left out.

        Raises:
            CloudError: The list could not be read.
        """

        async def fetch(offset: int, limit: int) -> Page[EngineView]:
            query = (("limit", str(limit)), ("offset", str(offset)), ("type", "ALL"))
            call = _Call(Operation.LIST_ENGINES, "GET", self._base, query=query)
            return await self._read(call, wire.parse_engine_page)

        return await collect_pages(fetch)

    async def show_engine(self, engine_id: str) -> EngineView:
        """Look at one engine (CSE API Reference, Querying Details About an Engine).

        Raises:
            CloudError: `NotFoundError` where there is no such engine; others as they come.
        """
        path = f"{self._base}/{_checked_id('engine', engine_id)}"
        call = _Call(Operation.SHOW_ENGINE, "GET", path, engine_id)
        return await self._read(
            call, lambda body, at, redact: wire.parse_engine(body, engine_id, at, redact)
        )

    async def show_job(self, engine_id: str, job_id: int) -> JobView:
        """Look at one job of an engine (CSE API Reference, Querying Details About a Task).

        Raises:
            CloudError: `NotFoundError` where there is no such job; others as they come.
        """
        path = f"{self._base}/{_checked_id('engine', engine_id)}/jobs/{_checked_job(job_id)}"
        call = _Call(Operation.SHOW_JOB, "GET", path, engine_id)
        return await self._read(
            call, lambda body, at, redact: wire_jobs.parse_job(body, engine_id, job_id, at, redact)
        )

    async def list_jobs(self, engine_id: str) -> tuple[JobView, ...] | None:
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
        path = f"{self._base}/{_checked_id('engine', engine_id)}/jobs"
        if self._clock() < self._lists_jobs_from:
            return None

        async def fetch(offset: int, limit: int) -> Page[JobView]:
            # The format of `from-time` and `to-time` is not documented: without them, all come.
            query = (("limit", str(limit)), ("offset", str(offset)))
            call = _Call(Operation.LIST_JOBS, "GET", path, engine_id, query=query)
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

    async def upgrade(self, engine_id: str, version: str, *, send_before: float) -> Accepted:
        """Start an upgrade (CSE API Reference, Upgrading an Engine). Sent at most once.

        Args:
            engine_id: The engine.
            version: The version to upgrade to, at most 24 characters.
            send_before: The reading of the clock from which on nothing may be sent any more.

        Raises:
            CloudError: `OutcomeUnknownError` where the call was sent and may have had an effect.
                Every other error means that it had none.
            asyncio.CancelledError: The caller was cancelled; the outcome is then unknown, too.
        """
        if not _VERSION.fullmatch(version):
            raise _malformed("The version is not one: at most 24 letters, digits and dots")
        path = f"{self._base}/{_checked_id('engine', engine_id)}/upgrade"
        body = wire.upgrade_body(version)
        return await self._change(Operation.UPGRADE, path, engine_id, body, send_before)

    async def retry(self, engine_id: str, *, send_before: float) -> Accepted:
        """Run an engine's failed job again (CSE API Reference, Retrying an Engine).

        Sent at most once. Whether the job keeps its number is not documented.

        Args:
            engine_id: The engine.
            send_before: The reading of the clock from which on nothing may be sent any more.

        Raises:
            CloudError: As for `upgrade`.
        """
        path = f"{self._base}/{_checked_id('engine', engine_id)}/actions"
        return await self._change(Operation.RETRY, path, engine_id, wire.retry_body(), send_before)

    async def _change(
        self, operation: Operation, path: str, engine_id: str, body: bytes, send_before: float
    ) -> Accepted:
        fenced = isinstance(self._http, FencedClient)
        dispatch = Dispatch(send_before, self._clock, sent=False if fenced else None)
        call = _Call(operation, "PUT", path, engine_id, body=body, dispatch=dispatch)
        return await self._attempt(
            call, lambda answer, _, redact: wire.parse_accepted(answer, engine_id, redact)
        )

    async def _read(self, call: _Call, parse: _Parser[_Answer]) -> _Answer:
        """Make a read, and make it again after a passing failure, within one call's time."""
        started = self._clock()
        for attempt in range(READ_RETRIES):
            try:
                return await self._attempt(call, parse)
            except CloudError as error:
                pause = self._pause_before_repeating(error.failure, attempt)
                if pause is None or self._clock() + pause - started >= self._request_timeout:
                    raise
            await self._sleep(pause)
        return await self._attempt(call, parse)

    def _pause_before_repeating(self, failure: Failure, attempt: int) -> float | None:
        """Seconds to wait before a read is repeated, or `None` if it should not be."""
        if failure.kind is not FailureKind.TRANSIENT:
            return None
        pause = max(self._jitter() * _READ_BACKOFF * 4**attempt, failure.retry_after or 0.0)
        return pause if pause <= _LONGEST_READ_PAUSE else None

    async def _attempt(self, call: _Call, parse: _Parser[_Answer]) -> _Answer:
        """Make one call once, and tell `on_call` what became of it."""
        started = time.monotonic()
        outcome = "Cancelled"
        try:
            answer = await self._exchange(call, parse)
            outcome = "Success"
        except CloudError as error:
            outcome = error.failure.kind.value
            raise
        finally:
            if self._on_call is not None:
                self._on_call(call.operation.value, outcome, time.monotonic() - started)
        return answer

    async def _exchange(self, call: _Call, parse: _Parser[_Answer]) -> _Answer:
        response = await self._send(call)
        if isinstance(response, Failure):
            raise CloudError.of(response)
        if not response.is_success:
            raise CloudError.of(self._refusal(call, response))
        observed_at = parse_http_date(response.headers.get("Date"))
        try:
            return parse(response.content, observed_at, self._current_redactor())
        except WireError as error:
            changes = call.operation.changes
            failure = Failure(
                FailureKind.OUTCOME_UNKNOWN if changes else FailureKind.TRANSIENT,
                f"The answer to {call.operation} cannot be read: {error}",
                http_status=response.status_code,
            )
        # Outside the handlers, here and below: a chained exception would keep the request, and
        # with it the credentials in its headers, in reach of whatever shows a traceback.
        raise CloudError.of(failure)

    def _current_redactor(self) -> Redactor:
        """Takes the credentials out of names; those of users and domains may be parts of them."""
        secrets = self._auth.secrets()
        if secrets != self._redacted:
            hidden = (secret for secret in secrets if not isinstance(secret, Identity))
            self._redacted, self._redactor = secrets, Redactor(hidden)
        return self._redactor

    async def _send(self, call: _Call) -> httpx.Response | Failure:
        """Send a call and wait for its answer, or say why there is none."""
        dispatch = call.dispatch
        request = self._request(call)
        try:
            await self._bucket.acquire(urgent=dispatch is not None)
            if dispatch is not None and dispatch.remaining() <= 0:
                return Failure(
                    FailureKind.NOT_SENT,
                    f"{call.operation} was not sent: its time to be sent is over",
                )
            async with asyncio.timeout(self._request_timeout):
                response = await self._http.send(request, auth=self._auth)
        except TimeoutError:
            seconds = f"no answer within {self._request_timeout:g} s"
            return self._failure_of(call, TimeoutError(seconds))
        except CloudError as error:
            return self._failure_before_sending(call, error.failure)
        except Exception as error:  # noqa: BLE001 - after an intent was recorded, whatever happens
            # has to be told apart by one question only: did the call leave or not?
            return self._failure_of(call, error)
        # httpx ties an answer and its stream to each other, and a listing's megabytes would stay
        # until the collector comes by. The content is read: the stream is not needed any more.
        response.stream = _READ
        return response

    def _request(self, call: _Call) -> httpx.Request:
        """Build the request, and make sure that it goes exactly where it should."""
        query = "&".join(f"{name}={value}" for name, value in call.query)
        target = f"{call.path}?{query}" if query else call.path
        url = httpx.URL(f"{self._origin}{target}")
        if url.raw_path != target.encode() or url.netloc != self._netloc:
            raise _malformed("The ids do not make a path of this API")
        extensions: dict[str, Any] = {
            "timeout": self._http.timeout.as_dict(),
            OPERATION: call.operation,
            DISPATCH: call.dispatch,
        }
        if call.operation in _LONGEST_ANSWERS:
            extensions[LONGEST_ANSWER] = _LONGEST_ANSWERS[call.operation]
        return httpx.Request(
            call.method, url, headers=self._headers, content=call.body, extensions=extensions
        )

    def _refusal(self, call: _Call, response: httpx.Response) -> Failure:
        failure = failure_of_response(
            call.operation,
            response.status_code,
            response.headers,
            response.content,
            call.engine_id,
            self._auth.secrets(),
        )
        if failure.kind is FailureKind.THROTTLED:
            self._bucket.penalize(failure.retry_after or DEFAULT_PAUSE * (1 + self._jitter()))
        if failure.kind is not FailureKind.UNAUTHENTICATED:
            return failure
        # In the words in which all further calls will hear of it.
        refusal = self._auth.gate.refusal()
        if refusal is None and call.dispatch is not None:
            # A token had come to its end, and the next call has a new one.
            return replace(failure, kind=FailureKind.OUTCOME_UNKNOWN)
        return refusal or failure

    def _failure_before_sending(self, call: _Call, failure: Failure) -> Failure:
        """The failure of something a call needs first, such as a token, seen from the call."""
        dispatch = call.dispatch
        if dispatch is None or failure.kind is not FailureKind.TRANSIENT:
            return failure
        kind = FailureKind.OUTCOME_UNKNOWN if dispatch.sent else FailureKind.NOT_SENT
        return replace(failure, kind=kind)

    def _failure_of(self, call: _Call, error: Exception) -> Failure:
        """The failure of a call that got no answer."""
        said = _TLS_DETAIL.sub("", str(error)) or type(error).__name__
        dispatch = call.dispatch
        if dispatch is None:
            kind, what = FailureKind.TRANSIENT, "got no answer"
        elif dispatch.sent is False or isinstance(error, _CERTAINLY_NOT_SENT):
            kind, what = FailureKind.NOT_SENT, "was not sent"
        else:
            kind, what = FailureKind.OUTCOME_UNKNOWN, "was sent and got no answer"
        return Failure(kind, redact(f"{call.operation} {what}: {said}", self._auth.secrets()))


def _checked_id(what: str, value: str) -> str:
    if not _ID.fullmatch(value):
        raise _malformed(f"The {what} id is not one: up to 64 letters, digits, '-' and '_'")
    return value


def _checked_job(job_id: int) -> int:
    if job_id <= 0:
        raise _malformed("The job id is not one: a number above 0")
    return job_id


def _malformed(message: str) -> CloudError:
    return CloudError.of(Failure(FailureKind.REJECTED, message))
