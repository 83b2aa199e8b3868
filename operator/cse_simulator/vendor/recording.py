"""Records of received calls: the newest calls in full, counters of all, and waits on counters."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from cse_simulator.vendor.answers import encode
from cse_simulator.vendor.calls import (
    ASSUME_AGENCY,
    ISSUE_TOKEN,
    TRADE_ID_TOKEN,
    TRADE_TOKEN,
    Call,
    as_json,
)
from cse_simulator.vendor.settings import Settings

CREDENTIAL_HEADERS = frozenset({"authorization", "x-auth-token", "x-security-token"})
PRESENT = "present"

_SECRET_IN = {
    ISSUE_TOKEN: ("auth", "identity", "password", "user", "password"),
    TRADE_ID_TOKEN: ("auth", "id_token", "id"),
    TRADE_TOKEN: ("auth", "identity", "token", "id"),
    ASSUME_AGENCY: ("id_token",),
}
"""The path to the credential in the body of each of these operations."""

Phase = Literal["received", "handled", "accepted"]


@dataclass(slots=True)
class Record:
    """One recorded call.

    Attributes:
        number: Position among all calls since the start, from 1.
        time: The time of arrival, in seconds since the epoch.
        call: The call, with every credential in headers and body replaced.
        status: The HTTP status of the answer, 0 if there was none.
        outcome: answered, reset, hung or truncated; "" while being handled.
        fault: The id of the fault rule that was applied, or "".
    """

    number: int
    time: float
    call: Call
    status: int = 0
    outcome: str = ""
    fault: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the record as the admin API shows it."""
        call = self.call
        return {
            "number": self.number,
            "time": self.time,
            "operation": call.operation,
            "method": call.method,
            "path": call.path,
            "query": call.query,
            "projectId": call.project,
            "engineId": call.engine_id,
            "jobId": call.job_id,
            "requestId": call.request_id,
            "headers": call.headers,
            "body": as_json(call.body),
            "status": self.status,
            "outcome": self.outcome,
            "fault": self.fault,
        }


class Recorder:
    """Records calls and counts them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._calls: deque[Record] = deque(maxlen=settings.record_calls)
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._number = 0
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Forget all calls and counts; numbering goes on."""
        self._calls.clear()
        self.received: Counter[tuple[str, str]] = Counter()
        self.handled: Counter[tuple[str, str, int]] = Counter()
        self.accepted: Counter[tuple[str, str]] = Counter()
        self.retried: Counter[str] = Counter()
        self.most_in_flight = self.in_flight

    def arrive(self, call: Call, moment: float) -> Record:
        """Record a call's arrival."""
        self._number += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.received[call.operation, ""] += 1
        if call.engine_id:
            self.received[call.operation, call.engine_id] += 1
        record = Record(self._number, moment, self._without_credentials(call))
        self._calls.append(record)
        self._wake()
        return record

    def conclude(self, record: Record, status: int, outcome: str = "answered") -> None:
        """Record how a call was answered."""
        record.status, record.outcome = status, outcome
        self.in_flight -= 1
        call = record.call
        self.handled[call.operation, "", 0] += 1
        self.handled[call.operation, "", status] += 1
        if call.engine_id:
            self.handled[call.operation, call.engine_id, 0] += 1
            self.handled[call.operation, call.engine_id, status] += 1
        self._wake()

    @contextmanager
    def hanging(self, record: Record) -> Iterator[None]:
        """Record that a call gets no answer; it counts as in flight until the block ends."""
        self.conclude(record, 0, "hung")
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def accept(self, engine_id: str, version: str) -> None:
        """Record that an upgrade call took effect."""
        self.accepted[engine_id, version] += 1
        self._wake()

    def calls(self, operation: str | None, engine_id: str | None, after: int) -> list[Record]:
        """Return the kept calls that match, oldest first."""
        return [
            record
            for record in self._calls
            if record.number > after
            and operation in {None, record.call.operation}
            and engine_id in {None, record.call.engine_id}
        ]

    def counts(self) -> dict[str, Any]:
        """Return all counters that are not per engine."""
        statuses: dict[str, dict[str, int]] = {}
        for (operation, engine_id, status), count in sorted(self.handled.items()):
            if status and not engine_id:
                statuses.setdefault(operation, {})[str(status)] = count
        return {
            "received": {
                name: count for (name, engine), count in sorted(self.received.items()) if not engine
            },
            "statuses": statuses,
            "acceptedUpgrades": sum(self.accepted.values()),
            "acceptedRetries": sum(self.retried.values()),
            "inFlight": self.in_flight,
            "mostInFlight": self.most_in_flight,
        }

    def count(self, phase: Phase, operation: str, engine_id: str, status: int) -> int:
        """Return one counter; an empty engine id or a zero status counts all."""
        if phase == "accepted":
            return sum(
                count for (engine, _), count in self.accepted.items() if engine_id in {"", engine}
            )
        if phase == "received":
            return self.received[operation, engine_id]
        return self.handled[operation, engine_id, status]

    async def wait(self, reached: Callable[[], bool], timeout: float) -> bool:  # noqa: ASYNC109
        """Wait until a condition on the counters holds.

        Args:
            reached: The condition.
            timeout: The longest wait, in seconds.

        Returns:
            Whether the condition holds.
        """
        if reached():
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (reached, future)
        self._waiters.append(waiter)
        try:
            await asyncio.wait_for(future, timeout)
        except TimeoutError:
            return reached()
        finally:
            self._waiters.remove(waiter)
        return True

    def _wake(self) -> None:
        for reached, future in self._waiters:
            if not future.done() and reached():
                future.set_result(None)

    def _without_credentials(self, call: Call) -> Call:
        path = _SECRET_IN.get(call.operation)
        return Call(
            operation=call.operation,
            method=call.method,
            path=call.path,
            query=call.query,
            headers=self._headers(call),
            body=call.body if path is None else _without_secret(call.body, path),
            project=call.project,
            engine_id=call.engine_id,
            job_id=call.job_id,
            request_id=call.request_id,
        )

    def _headers(self, call: Call) -> dict[str, str]:
        hashed = self._settings.record_credentials == "sha256"
        kept = {}
        for name, value in call.headers.items():
            lower = name.lower()
            if lower in CREDENTIAL_HEADERS:
                kept[lower] = f"{PRESENT} sha256:{fingerprint(value)}" if hashed else PRESENT
            else:
                kept[lower] = value
        return kept


def fingerprint(value: str) -> str:
    """Return a short hash that identifies a credential without revealing it."""
    return hashlib.sha256(value.encode()).hexdigest()[:12]


def _without_secret(body: bytes, path: tuple[str, ...]) -> bytes:
    document = as_json(body)
    try:
        inner = document
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = PRESENT
    except (KeyError, TypeError):
        # A body of another shape may hold its secret anywhere, so nothing of it is kept.
        return encode(PRESENT)
    return encode(document)
