"""Events about resources, as `kubectl describe` and `kubectl get events` show them.

The operator posts them through `v1`, not `events.k8s.io/v1`. The API server stores both as the same
object, but only `v1` lets the writer fill in both generations of fields: `firstTimestamp`,
`lastTimestamp`, `count` and `source`, by which older tools sort and group and which
`events.k8s.io/v1` leaves empty, and `eventTime`, `reportingComponent` and `action`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, Self

from kubernetes.aio.client import ApiClient

from cse_operator.api.names import API_VERSION, FIELD_MANAGER, KIND
from cse_operator.clock import utc_now
from cse_operator.kube.api_call import DEFAULT_TIMEOUT, call
from cse_operator.kube.errors import KubeError
from cse_operator.kube.references import ObjectReference

logger = logging.getLogger(__name__)

REPORTING_COMPONENT: Final = "cse-operator.io/cse-operator"
"""The reporting component: a qualified name, as the API requires."""

MESSAGE_LIMIT: Final = 1024
"""The most bytes of an Event's message that the API server accepts ("characters", it says)."""

_INSTANCE_LIMIT: Final = 128
_NAME_LIMIT: Final = 253
_PATH: Final = "/api/v1/namespaces/{namespace}/events"

# Enough for three transitions of each of a thousand resources at once; about 1 KB each.
_QUEUE_LIMIT: Final = 4096

# Events must not crowd status writes out of the connections they share.
_WORKERS: Final = 4

_COMPLAINT_PERIOD: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Event:
    reference: ObjectReference
    event_type: Literal["Normal", "Warning"]
    reason: str
    message: str
    action: str
    moment: datetime


class EventPoster:
    """Posts Events in the background, without a guarantee.

    The resource's conditions say the same as its Events, so a lost Event does no harm. Posting an
    Event never waits, never fails and never delays a reconcile step. Use the poster as an async
    context manager: on exit, it posts queued Events for at most `drain_seconds`.
    """

    def __init__(
        self,
        api_client: ApiClient,
        *,
        instance: str,
        drain_seconds: float = 5.0,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
        queue_limit: int = _QUEUE_LIMIT,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """Make a poster.

        Args:
            api_client: The connection to the cluster.
            instance: The name of this operator, such as its Pod's name.
            drain_seconds: Seconds that the exit waits for queued Events.
            now: Returns the time that an Event carries.
            clock: Seconds on the clock that spaces the warnings about lost Events.
            queue_limit: The most Events in the queue; further ones are dropped and counted.
            timeout: Seconds for one call.
        """
        self._api_client = api_client
        self._instance = instance[:_INSTANCE_LIMIT]
        self._drain_seconds = drain_seconds
        self._now = now
        self._clock = clock
        self._timeout = timeout
        self._queue: asyncio.Queue[_Event] = asyncio.Queue(queue_limit)
        self._workers: list[asyncio.Task[None]] = []
        self._unfinished = 0
        self._lost = 0
        self._next_complaint: float | None = None

    @property
    def lost(self) -> int:
        """Return how many Events were not posted: refused, failed, over the limit, left at exit."""
        return self._lost

    async def __aenter__(self) -> Self:
        self._workers = [asyncio.create_task(self._work()) for _ in range(_WORKERS)]
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain_seconds):
                await self._queue.join()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._unfinished:
            self._complain("the operator is stopping", lost=self._unfinished)
            self._unfinished = 0

    def post(
        self,
        reference: ObjectReference,
        event_type: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        action: str = "Reconcile",
    ) -> None:
        """Queue an Event about a resource, in the resource's own namespace.

        Args:
            reference: The resource.
            event_type: `Normal` or `Warning`.
            reason: The reason in one word, the same as that of the condition it belongs to.
            message: What happened, in one sentence; cut at 1,024 bytes.
            action: What the operator did or tried.
        """
        event = _Event(reference, event_type, reason, message, action, self._now())
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._complain("the queue of Events is full")
        else:
            self._unfinished += 1

    async def _work(self) -> None:
        while True:
            event = await self._queue.get()
            try:
                await call(
                    self._api_client,
                    "POST",
                    _PATH,
                    names={"namespace": event.reference.namespace},
                    query=(("fieldManager", FIELD_MANAGER),),
                    body=self._manifest(event),
                    timeout=self._timeout,
                )
            except KubeError as error:
                self._complain(error.sentence)
            self._unfinished -= 1
            self._queue.task_done()

    def _manifest(self, event: _Event) -> dict[str, Any]:
        seconds = event.moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        microseconds = event.moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": event.reference.namespace, "name": _name(event.reference)},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "namespace": event.reference.namespace,
                "name": event.reference.name,
                "uid": event.reference.uid,
            },
            "type": event.event_type,
            "reason": event.reason,
            "action": event.action,
            "message": _cut(event.message),
            "count": 1,
            "firstTimestamp": seconds,
            "lastTimestamp": seconds,
            "eventTime": microseconds,
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": REPORTING_COMPONENT,
            "reportingInstance": self._instance,
        }

    def _complain(self, why: str, *, lost: int = 1) -> None:
        """Count lost Events, and warn at most once a minute: one cause often hits many Events."""
        self._lost += lost
        now = self._clock()
        if self._next_complaint is not None and now < self._next_complaint:
            return
        self._next_complaint = now + _COMPLAINT_PERIOD
        logger.warning(
            "An Event could not be posted: %s (%d lost since the start; logged once a minute).",
            why,
            self._lost,
        )


def _name(reference: ObjectReference) -> str:
    """Return a unique Event name: the resource's name and a suffix, as other components do."""
    unique = f"{random.getrandbits(64):016x}"
    stem = reference.name[: _NAME_LIMIT - len(unique) - 1].rstrip("-.")
    return f"{stem}.{unique}"


def _cut(message: str) -> str:
    encoded = message.encode()
    if len(encoded) <= MESSAGE_LIMIT:
        return message
    return encoded[: MESSAGE_LIMIT - len("…".encode())].decode(errors="ignore") + "…"
