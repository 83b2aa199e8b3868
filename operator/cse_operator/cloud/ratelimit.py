"""Rate limits: one for each of the vendor's APIs in each project; calls wait for their turn.

The vendor throttles per API and project (API Gateway, Request Throttling: 200 calls a second by
default). So each API has its own limit in each project, shared by all callers, and a pause that the
vendor asks for slows only this API in this project.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from cse_operator.cloud.answers import Operation
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.fairness import FairQueue, Turn
from cse_operator.core.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

    CallLater = Callable[[float, Callable[[], None]], object]

LONGEST_PAUSE_WAITED_FOR: Final = 10.0
"""Seconds of a vendor's pause that a call waits for. For a longer pause the call fails and its
caller retries later, so that one project's pause does not hold resources that others need."""


class RateLimit:
    """The limit of one of the vendor's APIs in one project: a token bucket with a fair queue.

    Our own limit never refuses a call. A cancelled caller leaves the queue, and a token that it was
    given goes to the next caller.
    """

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater | None = None,
    ) -> None:
        """Make a full bucket.

        Args:
            rate: Calls per second in the long run, and the burst after a quiet time.
            clock: Monotonic seconds.
            call_later: Calls a function after a number of seconds; by default the event loop's.
        """
        if rate <= 0:
            raise ValueError("a rate must be above 0")
        self._rate = rate
        self._clock = clock
        self._call_later = call_later
        self._tokens = self._most = max(rate, 1.0)
        self._filled_at = self._paused_until = clock()
        self._waiting = FairQueue()
        self._is_timed = False

    @property
    def pause(self) -> float:
        """Return the seconds left of the pause that the vendor asked for."""
        return max(self._paused_until - self._clock(), 0.0)

    def penalize(self, seconds: float) -> float:
        """Let no call through for a while; a longer pause that already runs stays.

        Returns:
            The seconds by which the pause became longer.
        """
        begun = max(self._paused_until, self._clock())
        self._paused_until = max(begun, self._clock() + seconds)
        if self._must_not_be_waited_for():
            self._waiting.refuse_all(self._refusal)
        return self._paused_until - begun

    async def acquire(self, turn: Turn) -> None:
        """Wait for permission to make one call.

        Raises:
            CloudError: The vendor asked for a pause that is longer than a call waits for
                (`THROTTLED`, with the seconds left).
        """
        if self._must_not_be_waited_for():
            raise self._refusal()
        if not self._waiting and self._seconds_to_next() <= 0:
            self._tokens -= 1
            return
        self._set_timer()
        await self._waiting.wait(turn, "", self._give_back)

    def _must_not_be_waited_for(self) -> bool:
        return self.pause > LONGEST_PAUSE_WAITED_FOR

    def _refusal(self) -> CloudError:
        message = "The vendor asked for a pause of this call in this project"
        return CloudError(Failure(FailureKind.THROTTLED, message, retry_after=self.pause))

    def _give_back(self) -> None:
        self._tokens += 1
        self._let_go()

    def _seconds_to_next(self) -> float:
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self.pause > 0:
            return self.pause
        # Accept a token that lacks only a rounding error: a wait too short to advance the clock
        # would spin.
        return 0.0 if self._tokens >= 1 - 1e-9 else (1 - self._tokens) / self._rate

    def _let_go(self) -> None:
        """Let waiting calls go while there are tokens, and set a timer for the next token."""
        while self._seconds_to_next() <= 0 and self._waiting.let_go():
            self._tokens -= 1
        if self._waiting:
            self._set_timer()

    def _set_timer(self) -> None:
        if not self._is_timed:
            self._is_timed = True
            later = self._call_later or asyncio.get_running_loop().call_later
            later(self._seconds_to_next(), self._on_timer)

    def _on_timer(self) -> None:
        self._is_timed = False
        self._let_go()


class ProjectLimits:
    """The limits of all APIs in one project, shared by all callers."""

    def __init__(
        self, make: Callable[[], RateLimit], on_pause: Callable[[float], None] | None = None
    ) -> None:
        """Prepare a limit for each API.

        Args:
            make: Makes one limit.
            on_pause: Called with the seconds by which the vendor lengthened a pause.
        """
        self._limits: defaultdict[Operation, RateLimit] = defaultdict(make)
        self._on_pause = on_pause

    @property
    def remembers(self) -> bool:
        """Whether a pause that the vendor asked for still lasts."""
        return any(limit.pause > 0 for limit in self._limits.values())

    async def acquire(self, operation: Operation, turn: Turn) -> None:
        """Wait for permission to make one call.

        Raises:
            CloudError: As for `RateLimit.acquire`.
        """
        await self._limits[operation].acquire(turn)

    def penalize(self, operation: Operation, seconds: float) -> None:
        """Pause one API as the vendor asked."""
        longer = self._limits[operation].penalize(seconds)
        if self._on_pause is not None:
            self._on_pause(longer)

    def pause(self, operation: Operation) -> float:
        """Return the seconds left of the pause of one API."""
        return self._limits[operation].pause
