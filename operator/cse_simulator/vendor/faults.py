"""Faults on demand: which calls go wrong, and how."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any, Literal

from cse_simulator.vendor.calls import OPERATIONS, Call


@dataclass(slots=True)
class Fault:
    """A rule that catches some calls and disturbs them.

    The first fields select the calls; a field left out matches all. The other fields say what
    happens to a caught call. Unless `after_effect` is set, a call that is reset, left hanging or
    answered with `status` takes no effect. A call that is only delayed, truncated or altered does.

    Attributes:
        operation: Name of the operation, such as `Upgrade`.
        engine_id: Engine in the path.
        project: Project in the path.
        method: HTTP method.
        skip: Let this many matching calls pass first.
        times: Catch this many calls, then no more; None for all.
        probability: Catch a matching call with this probability.
        seed: The seed of the random numbers for `probability`, so that a run can be repeated.
        delay_ms: Wait before the call takes effect; clearing the rule ends the wait.
        delay_answer_ms: Wait between effect and answer; clearing the rule ends the wait.
        after_effect: The call takes effect before it is reset, hangs or gets `status`.
        reset: Reset the connection instead of answering.
        hang: Never answer, until the faults are cleared.
        status: Answer with this HTTP status.
        body: The body with `status`: JSON, or a string sent as HTML; a gateway error by default.
        headers: The headers with `status`.
        retry_after: Retry-After header: seconds, or `date+5` for an HTTP date 5 s from then.
        truncate_at: Send only this many bytes of the announced body, then close.
        close_unannounced: Answer, then close the connection without announcing it, as a gateway
            does whose idle time-out is shorter than the client's.
        replace: Fields of the answer's JSON to overwrite with values of any type. `data.*.version`
            means the version in every row of `data`, `data.0.version` that in the first row.
        drop: Fields of the answer's JSON to leave out, named in the same way.
        deliver_twice: Deliver the call twice, and return the first or the second answer.
        forced: Let the second delivery take effect even if the vendor's checks would refuse it.
        token: Expire or revoke the caller's token before the call is authenticated.
    """

    operation: str | None = None
    engine_id: str | None = None
    project: str | None = None
    method: str | None = None
    skip: int = 0
    times: int | None = 1
    probability: float = 1.0
    seed: int = 0
    delay_ms: float = 0.0
    delay_answer_ms: float = 0.0
    after_effect: bool = False
    reset: bool = False
    hang: bool = False
    status: int | None = None
    body: Any = None
    headers: dict[str, str] | None = None
    retry_after: int | str | None = None
    truncate_at: int | None = None
    close_unannounced: bool = False
    replace: dict[str, Any] | None = None
    drop: tuple[str, ...] = ()
    deliver_twice: Literal["first", "second"] | None = None
    forced: bool = True
    token: Literal["expired", "revoked"] | None = None

    def __post_init__(self) -> None:
        """Reject a rule whose fields contradict each other."""
        if self.operation is not None and self.operation not in OPERATIONS:
            raise ValueError(f"operation {self.operation!r} is none of {', '.join(OPERATIONS)}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, not {self.probability}")
        if self.status is None and (self.retry_after is not None or self.headers or self.body):
            raise ValueError("headers, body and retryAfter belong to a status: set one")
        if self.answers_itself and (self.replace or self.drop):
            raise ValueError(
                "replace and drop alter the vendor's answer, but this rule replaces that answer"
            )
        if self.deliver_twice and self.answers_itself and not self.after_effect:
            raise ValueError("deliverTwice with reset, hang or status needs afterEffect too")

    def matches(self, call: Call) -> bool:
        """Return whether the rule's selectors match a call."""
        return (
            self.operation in {None, call.operation}
            and self.engine_id in {None, call.engine_id}
            and self.project in {None, call.project}
            and self.method in {None, call.method}
        )

    @property
    def answers_itself(self) -> bool:
        """Whether the rule replaces the whole answer."""
        return self.reset or self.hang or self.status is not None


@dataclass(slots=True)
class ArmedFault:
    """An active rule and its counters.

    Attributes:
        released: Set to release the calls that the rule makes wait.
    """

    id: str
    fault: Fault
    caught: int = 0
    passed: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    dice: random.Random = field(default_factory=random.Random)

    def catches(self, call: Call) -> bool:
        """Return whether the rule catches a call, and count the call."""
        fault = self.fault
        if not fault.matches(call):
            return False
        if fault.times is not None and self.caught >= fault.times:
            return False
        if self.passed < fault.skip:
            self.passed += 1
            return False
        if fault.probability < 1 and self.dice.random() >= fault.probability:
            return False
        self.caught += 1
        return True


class Faults:
    """All active rules; the oldest rule that catches a call is applied to it."""

    def __init__(self) -> None:
        self._armed: dict[str, ArmedFault] = {}
        self._number = 0

    def add(self, fault: Fault) -> ArmedFault:
        """Activate a rule."""
        self._number += 1
        dice = random.Random(fault.seed)  # noqa: S311 - dice, not keys
        armed = ArmedFault(f"fault-{self._number}", fault, dice=dice)
        self._armed[armed.id] = armed
        return armed

    def clear(self, fault_id: str | None = None) -> int:
        """Remove one rule or all, release their waiting calls, and return the number of rules."""
        chosen = [fault_id] if fault_id is not None else list(self._armed)
        removed = [armed for one in chosen if (armed := self._armed.pop(one, None)) is not None]
        for armed in removed:
            armed.released.set()
        return len(removed)

    def all(self) -> list[ArmedFault]:
        """Return the active rules, oldest first."""
        return list(self._armed.values())

    def catching(self, call: Call) -> ArmedFault | None:
        """Return the rule to apply to a call, if any."""
        for armed in self._armed.values():
            if armed.catches(call):
                return armed
        return None
