"""One call to the vendor, from the rate limit to the answer. This module never repeats a call.

Every failure becomes a `CloudError`. For a changing call, the kind of the failure says whether the
call may have had an effect.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from cse_operator.cloud.answers import OPERATION, Operation, failure_of_response
from cse_operator.cloud.auth.credentials import Identity
from cse_operator.cloud.dispatch import DISPATCH, Dispatch
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.fairness import Turn
from cse_operator.cloud.redaction import Redactor, redact
from cse_operator.cloud.transport import LONGEST_ANSWER, TURN, USER_AGENT, SendOnceClient
from cse_operator.cloud.values import WireError
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.http_time import http_date

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pydantic import SecretStr

    from cse_operator.cloud.auth.flows import CloudAuth
    from cse_operator.cloud.ratelimit import ProjectLimits

Answer = TypeVar("Answer")
if TYPE_CHECKING:
    Parser = Callable[[bytes, datetime | None, Redactor], Answer]
    OnCall = Callable[[str, str, float], None]
    """Called with a call's operation, its outcome (`"Success"`, a `FailureKind` or `"Cancelled"`)
    and its seconds, including the wait for the rate limit."""

DEFAULT_PAUSE = 5.0
"""Seconds of pause, up to twice as many, after a 429 that does not say how long to wait."""

_LONGEST_ANSWERS = {
    # A row with all documented fields (SDK model EngineSimpleInfo) has 2.0 kB, and 4.1 kB with
    # each text at its longest and in Chinese; a page has 1,000 rows.
    Operation.LIST_ENGINES: 4 * 1024 * 1024,
    # Steps may contain logs and outputs, whose size the vendor does not document.
    Operation.SHOW_JOB: 1024 * 1024,
    Operation.LIST_JOBS: 4 * 1024 * 1024,
}
"""Bytes that a successful answer may have if `MAX_RESPONSE_BYTES` is too few."""

_ID = re.compile(r"[0-9a-zA-Z]([-0-9a-zA-Z_]{0,62}[0-9a-zA-Z])?")
_TLS_DETAIL = re.compile(r" ssl:(<[^>]*>|\S+)")
_READ = httpx.ByteStream(b"")
_CERTAINLY_NOT_SENT = (httpx.ConnectError, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_HELD_BACK = frozenset({FailureKind.TRANSIENT, FailureKind.THROTTLED})


@dataclass(frozen=True, slots=True)
class Call:
    """The parts of one call."""

    operation: Operation
    method: str
    path: str
    turn: Turn
    engine_id: str | None = None
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    dispatch: Dispatch | None = None
    """The permission to send a changing call once; `None` for a read."""


class Exchange:
    """Makes calls for one project with one credential.

    An `Exchange` is cheap to make: it shares the connections, tokens and limits in `http`, `auth`
    and `limits`.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        endpoint: str,
        project_id: str,
        *,
        enterprise_project_id: str | None = None,
        auth: CloudAuth,
        limits: ProjectLimits,
        request_timeout: float = 20.0,
        on_call: OnCall | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Make an exchange.

        Args:
            http: From `build_http_client`; the exchange does not close it.
            endpoint: The origin of the region's API, from the administrator's settings.
            project_id: The project of the region.
            enterprise_project_id: Sent as a header; without it the vendor uses the default one.
            auth: Authenticates the calls.
            limits: The project's rate limits.
            request_timeout: Seconds for one call, from handing it to `http` to its last byte.
            on_call: Called at the end of each call, see `OnCall`.
            jitter: A random number from 0 to 1.

        Raises:
            CloudError: An id cannot be part of a request (`REJECTED`).
        """
        self.project_id = checked_id("project", project_id)
        self.request_timeout = request_timeout
        self.tells_departure = isinstance(http, SendOnceClient)
        self._http = http
        self._origin = endpoint.rstrip("/")
        self._netloc = httpx.URL(self._origin).netloc
        self._headers = _headers(enterprise_project_id)
        self._auth = auth
        self._limits = limits
        self._on_call = on_call
        self._jitter = jitter
        self._redacted: tuple[SecretStr, ...] = ()
        self._redactor = Redactor()

    async def attempt(self, call: Call, parse: Parser[Answer]) -> Answer:
        """Make one call once, and report its outcome to `on_call`.

        Raises:
            CloudError: The call failed, or its answer cannot be read.
        """
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

    async def _exchange(self, call: Call, parse: Parser[Answer]) -> Answer:
        response = await self._send(call)
        if isinstance(response, Failure):
            raise CloudError(response)
        if not response.is_success:
            raise CloudError(self._refusal(call, response))
        observed_at = http_date(response.headers.get("Date"))
        try:
            return parse(response.content, observed_at, self._current_redactor())
        except WireError as error:
            changes = call.operation.changes
            failure = Failure(
                FailureKind.OUTCOME_UNKNOWN if changes else FailureKind.TRANSIENT,
                f"The answer to {call.operation} cannot be read: {error}",
                http_status=response.status_code,
            )
        # Raised outside the `except` block, here and below: a chained exception would keep the
        # request and the credentials in its headers reachable for code that shows tracebacks.
        raise CloudError(failure)

    def _current_redactor(self) -> Redactor:
        """Return a redactor for names: it hides the credentials but not users and domains.

        An engine's name may contain the name of a user or a domain.
        """
        secrets = self._auth.secrets()
        if secrets != self._redacted:
            hidden = (secret for secret in secrets if not isinstance(secret, Identity))
            self._redacted, self._redactor = secrets, Redactor(hidden)
        return self._redactor

    async def _send(self, call: Call) -> httpx.Response | Failure:
        """Send a call and return its answer, or the failure if there is none."""
        request = self._request(call)
        try:
            if not await self._waited_its_turn(call):
                return _too_late(call)
            async with asyncio.timeout(self.request_timeout):
                response = await self._http.send(request, auth=self._auth)
        except TimeoutError:
            seconds = f"no answer within {self.request_timeout:g} s"
            return self._failure_of(call, TimeoutError(seconds))
        except CloudError as error:
            return _failure_before_sending(call, error.failure)
        except Exception as error:  # noqa: BLE001 - an intent is recorded: for every error, the
            # only question is whether the call was sent.
            return self._failure_of(call, error)
        # In httpx an answer and its stream refer to each other, so a list's megabytes would stay
        # until the garbage collector runs. The content is read, so drop the stream.
        response.stream = _READ
        return response

    async def _waited_its_turn(self, call: Call) -> bool:
        """Wait for the rate limit; return whether the call may still be sent afterwards.

        Raises:
            CloudError: The credentials are held back; the call did not queue.
        """
        refusal = self._auth.held_back()
        if refusal is not None:
            raise CloudError(refusal)
        if call.dispatch is None:
            await self._limits.acquire(call.operation, call.turn)
            return True
        try:
            async with asyncio.timeout(max(call.dispatch.remaining(), 0.0)):
                await self._limits.acquire(call.operation, call.turn)
        except TimeoutError:
            return False
        return call.dispatch.remaining() > 0

    def _request(self, call: Call) -> httpx.Request:
        """Build the request, and verify that its URL is exactly the intended one."""
        query = "&".join(f"{name}={value}" for name, value in call.query)
        target = f"{call.path}?{query}" if query else call.path
        url = httpx.URL(f"{self._origin}{target}")
        if url.raw_path != target.encode() or url.netloc != self._netloc:
            raise malformed("The ids do not form a path of this API")
        extensions: dict[str, Any] = {
            "timeout": self._http.timeout.as_dict(),
            OPERATION: call.operation,
            DISPATCH: call.dispatch,
            TURN: (call.turn, self.project_id),
        }
        if call.operation in _LONGEST_ANSWERS:
            extensions[LONGEST_ANSWER] = _LONGEST_ANSWERS[call.operation]
        return httpx.Request(
            call.method, url, headers=self._headers, content=call.body, extensions=extensions
        )

    def _refusal(self, call: Call, response: httpx.Response) -> Failure:
        failure = failure_of_response(
            call.operation,
            response.status_code,
            response.headers,
            response.content,
            call.engine_id,
            self._auth.secrets(),
        )
        if failure.kind is FailureKind.THROTTLED:
            pause = failure.retry_after or DEFAULT_PAUSE * (1 + self._jitter())
            self._limits.penalize(call.operation, pause)
        if failure.kind is not FailureKind.UNAUTHENTICATED:
            return failure
        # Return the breaker's failure, so that later calls report the same text.
        refusal = self._auth.held_back()
        if refusal is None and call.dispatch is not None:
            # A token had expired, and the next call gets a new one.
            return replace(failure, kind=FailureKind.OUTCOME_UNKNOWN)
        return refusal or failure

    def _failure_of(self, call: Call, error: Exception) -> Failure:
        """Return the failure of a call that got no answer."""
        said = _TLS_DETAIL.sub("", str(error)) or type(error).__name__
        dispatch = call.dispatch
        if dispatch is None:
            kind, what = FailureKind.TRANSIENT, "got no answer"
        elif dispatch.sent is False or isinstance(error, _CERTAINLY_NOT_SENT):
            kind, what = FailureKind.NOT_SENT, "was not sent"
        else:
            kind, what = FailureKind.OUTCOME_UNKNOWN, "was sent and got no answer"
        return Failure(kind, redact(f"{call.operation} {what}: {said}", self._auth.secrets()))


def checked_id(what: str, value: str) -> str:
    """Return the id if it may become part of a request.

    Raises:
        CloudError: It may not (`REJECTED`).
    """
    if not _ID.fullmatch(value):
        raise malformed(
            f"The {what} id is malformed: it has at most 64 letters, digits, '-' and '_'"
        )
    return value


def _headers(enterprise_project_id: str | None) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json;charset=UTF-8",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": USER_AGENT,
    }
    if enterprise_project_id:
        project = checked_id("enterprise project", enterprise_project_id)
        headers["X-Enterprise-Project-ID"] = project
    return headers


def malformed(message: str) -> CloudError:
    """Return the error for a value that cannot be part of a request; nothing was sent."""
    return CloudError(Failure(FailureKind.REJECTED, message))


def _too_late(call: Call) -> Failure:
    message = f"{call.operation} was not sent: its deadline for sending has passed"
    return Failure(FailureKind.NOT_SENT, message)


def _failure_before_sending(call: Call, failure: Failure) -> Failure:
    """Return the failure of a call after a failed step before it, such as getting a token."""
    dispatch = call.dispatch
    if dispatch is None or failure.kind not in _HELD_BACK:
        return failure
    kind = FailureKind.OUTCOME_UNKNOWN if dispatch.sent else FailureKind.NOT_SENT
    return replace(failure, kind=kind)
