"""How many calls a project may make: a limit for each of the vendor's calls, waited for.

The vendor throttles per API and project (API Gateway, Request Throttling: 200 calls a second by
default). So a call has a limit of its own in each project, whoever makes it, and a pause that the
vendor asks for slows this call of this project and no other.
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
"""Seconds of a vendor's pause that a call waits for; for the end of a longer one its caller comes
again, so that one project's pause does not occupy what others need."""


class RateLimit:
    """The limit of one of the vendor's calls in one project: a token bucket with a fair queue.

    Our own limit never refuses a call. A caller that is cancelled leaves its place, and what it
    was given goes to the next.
    """

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater | None = None,
    ) -> None:
        """Make a full one.

        Args:
            rate: Calls per second in the long run; as many may go at once after a quiet time.
            clock: Monotonic seconds.
            call_later: Calls back after a number of seconds; the loop's by default.
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
        """Seconds left of the pause that the vendor asked for."""
        return max(self._paused_until - self._clock(), 0.0)

    def penalize(self, seconds: float) -> float:
        """Let nothing through for a while; a longer pause already running stays.

        Returns:
            By how many seconds that makes the pause longer.
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
        # A token is a whole one a rounding error early: a wait too short to advance the clock
        # would spin.
        return 0.0 if self._tokens >= 1 - 1e-9 else (1 - self._tokens) / self._rate

    def _let_go(self) -> None:
        """Let those go that may, and come again when the next one may."""
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
    """The limits of all calls of one project, whoever makes them."""

    def __init__(
        self, make: Callable[[], RateLimit], on_pause: Callable[[float], None] | None = None
    ) -> None:
        """Make a limit for each call.

        Args:
            make: Makes one.
            on_pause: Told by how many seconds the vendor made a call pause for longer.
        """
        self._limits: defaultdict[Operation, RateLimit] = defaultdict(make)
        self._on_pause = on_pause

    @property
    def remembers(self) -> bool:
        """Whether the vendor's pause of one of the calls is not over."""
        return any(limit.pause > 0 for limit in self._limits.values())

    async def acquire(self, operation: Operation, turn: Turn) -> None:
        """Wait for permission to make one call.

        Raises:
            CloudError: As for `RateLimit.acquire`.
        """
        await self._limits[operation].acquire(turn)

    def penalize(self, operation: Operation, seconds: float) -> None:
        """Obey the vendor's wish for a pause of one call."""
        longer = self._limits[operation].penalize(seconds)
        if self._on_pause is not None:
            self._on_pause(longer)

    def pause(self, operation: Operation) -> float:
        """Seconds left of the pause of a call."""
        return self._limits[operation].pause
