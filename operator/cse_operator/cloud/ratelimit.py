"""How many calls a project may make: a token bucket, and the vendor's wish for a pause.

One bucket stands for one (endpoint, project, credential). The vendor throttles per API and
project (API Gateway, Request Throttling: 200 calls a second by default), so a pause that it asks
for slows this project and no other.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from cse_operator.cloud.errors import ThrottledError
from cse_operator.core.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


_MOST_URGENT_IN_A_ROW = 3


class TokenBucket:
    """Lets `rate` calls a second through, and `burst` at once after a quiet time.

    Calls wait in two lanes, each first come, first served. Changing calls have their own, and
    go before reads; after three of them a waiting read has its turn.
    """

    def __init__(
        self,
        rate: float,
        burst: float | None = None,
        *,
        max_wait: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Make a full bucket.

        Args:
            rate: Calls per second in the long run.
            burst: Calls at once after a quiet time; `rate` if not given.
            max_wait: A call that would have to wait longer (in seconds) is refused at once, so
                that a throttled project does not occupy the workers of the others.
            clock: Monotonic seconds.
            sleep: Waits for a number of seconds.
        """
        if rate <= 0:
            raise ValueError("a rate must be above 0")
        self._rate = rate
        self._burst = max(burst if burst is not None else rate, 1.0)
        self._max_wait = max_wait
        self._clock = clock
        self._sleep = sleep
        self._tokens = self._burst
        self._filled_at = clock()
        self._paused_from = self._paused_until = self._filled_at
        self._paused_before = 0.0
        self._urgent = asyncio.Lock()
        self._ordinary = asyncio.Lock()
        self._urgent_waiting = 0
        self._urgent_in_a_row = 0
        self._waiting = 0
        self._waited = 0.0

    @property
    def throttled_seconds(self) -> float:
        """Seconds of the vendor's pauses so far, whether or not anybody waited for their end.

        To them are added the seconds that each call waited, or was sent away for, beyond a pause.
        """
        return self._paused_so_far + self._waited

    @property
    def _paused_so_far(self) -> float:
        current = min(self._clock(), self._paused_until) - self._paused_from
        return self._paused_before + current

    @property
    def pause(self) -> float:
        """Seconds left of the pause that the vendor asked for."""
        return max(self._paused_until - self._clock(), 0.0)

    def penalize(self, seconds: float) -> None:
        """Let nothing through for a while; a longer pause already running stays."""
        now = self._clock()
        if now >= self._paused_until:
            self._paused_before = self._paused_so_far
            self._paused_from = self._paused_until = now
        self._paused_until = max(self._paused_until, now + seconds)

    async def acquire(self, *, urgent: bool = False) -> None:
        """Wait for permission to make one call.

        Raises:
            ThrottledError: It would take longer than `max_wait`; the failure says how long.
        """
        self._refuse_if_too_long(self._expected_wait(urgent=urgent))
        self._waiting += 1
        self._urgent_waiting += urgent
        entered, paused_before = self._clock(), self._paused_so_far
        try:
            async with self._urgent if urgent else self._ordinary:
                while (wait := self._wait(urgent=urgent)) > 0:
                    self._refuse_if_too_long(wait)
                    await self._sleep(wait)
                self._tokens -= 1
                self._urgent_in_a_row = self._urgent_in_a_row + 1 if urgent else 0
        finally:
            self._waiting -= 1
            self._urgent_waiting -= urgent
            paused = self._paused_so_far - paused_before
            self._waited += max(self._clock() - entered - paused, 0.0)

    def _refuse_if_too_long(self, wait: float) -> None:
        if wait <= self._max_wait:
            return
        self._waited += wait - self.pause
        raise ThrottledError(
            Failure(
                FailureKind.THROTTLED,
                "The project's calls are held back, because the vendor or the operator's own"
                " limit asks for fewer",
                retry_after=wait,
            )
        )

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now

    def _wait(self, *, urgent: bool) -> float:
        """Seconds until the first in a lane may try again; 0 when it may go."""
        if self.pause > 0:
            return self.pause
        if self._is_the_others_turn(urgent=urgent):
            return 1 / self._rate
        self._fill()
        # A token is a whole one a rounding error early: a wait too short to advance the clock
        # would spin.
        return 0.0 if self._tokens >= 1 - 1e-9 else (1 - self._tokens) / self._rate

    def _is_the_others_turn(self, *, urgent: bool) -> bool:
        reads_turn = self._urgent_in_a_row >= _MOST_URGENT_IN_A_ROW
        if urgent:
            return reads_turn and self._waiting > self._urgent_waiting
        return not reads_turn and self._urgent_waiting > 0

    def _expected_wait(self, *, urgent: bool) -> float:
        self._fill()
        ahead = self._urgent_waiting if urgent else self._waiting
        return self.pause + max(ahead + 1 - self._tokens, 0.0) / self._rate
