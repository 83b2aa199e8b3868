"""Keeps bad credentials from being hammered.

More than five refused calls in a row lock an access key for five minutes (Huawei Cloud, API
Request Signing Guide, Error Codes), and a user likewise. So a refusal is remembered, and nothing
is sent with that credential for a while. A changed Secret has another fingerprint, and so a gate
of its own.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cse_operator.cloud.errors import UnauthenticatedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cse_operator.core.failure import Failure


class AuthenticationGate:
    """Keeps one credential from being refused again and again. Share it per fingerprint.

    While the credential has not proved good lately, one call at a time goes out, and the others
    wait to learn what became of it. After a refusal none goes out for the cooling period.
    """

    def __init__(
        self,
        *,
        cooling: float = 300.0,
        long_cooling: float = 3600.0,
        most_refusals: int = 4,
        proven_for: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Make an open gate.

        Args:
            cooling: Seconds without a call after a refusal; up to a fifth is added by chance.
            long_cooling: The same after `most_refusals` in a row. It is much longer than a lock
                lasts, so that refusals never add up to one.
            most_refusals: One below the fifth refusal in a row, after which a key is locked.
            proven_for: Seconds that an accepted call vouches for the credential.
            clock: Monotonic seconds.
            jitter: A random number from 0 to 1.
        """
        self._cooling = cooling
        self._long_cooling = long_cooling
        self._most_refusals = most_refusals
        self._proven_for = proven_for
        self._clock = clock
        self._jitter = jitter
        self._probe = asyncio.Lock()
        self._accepted_at: float | None = None
        self._closed_until: float | None = None
        self._refusals = 0
        self._failure: Failure | None = None

    @property
    def hold_back(self) -> float:
        """Seconds until the credential is tried again; 0 while the gate is open."""
        if self._closed_until is None:
            return 0.0
        return max(self._closed_until - self._clock(), 0.0)

    def refusal(self) -> Failure | None:
        """Why the gate is closed, in the same words as long as it is; `None` while it is open.

        The seconds left are beside the text and not in it: it would change with every look.
        """
        if self._failure is None or self.hold_back <= 0:
            return None
        message = (
            f"{self._failure.message}; these credentials are tried again after a while, or as"
            " soon as the Secret changes"
        )
        return replace(self._failure, message=message, retry_after=self.hold_back)

    def reopen(self) -> None:
        """Try again with the next call, because somebody says that it is worth it."""
        self._closed_until = None

    @property
    def cooling(self) -> float:
        """Seconds for which to leave alone what refused something, a little spread by chance."""
        return self._cooling * (1 + 0.2 * self._jitter())

    def worked(self) -> None:
        """Note that what the credential had bought was good, which says nothing of itself."""
        self._accepted_at = self._clock()

    def accepted(self) -> None:
        """Note that the credential was good."""
        self._accepted_at = self._clock()
        self._closed_until = None
        self._refusals = 0

    def refused(self, failure: Failure) -> None:
        """Note that the credential was refused, and close for a while.

        Calls that were already under way then are refused too: they belong to the same event.
        """
        if self.hold_back > 0:
            return
        self._accepted_at = None
        self._failure = failure
        self._refusals += 1
        pause = self._cooling
        if self._refusals >= self._most_refusals:
            pause = self._long_cooling
            self._refusals = 0
        self._closed_until = self._clock() + pause * (1 + 0.2 * self._jitter())

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[None]:
        """Surround one call with this.

        Raises:
            UnauthenticatedError: The credential was refused lately; nothing was sent.
        """
        self._check_open()
        if self._proven:
            yield
            return
        await self._probe.acquire()
        probing = True
        try:
            self._check_open()
            if self._proven:
                self._probe.release()
                probing = False
            yield
        finally:
            if probing:
                self._probe.release()

    @property
    def _proven(self) -> bool:
        accepted_at = self._accepted_at
        return accepted_at is not None and self._clock() - accepted_at < self._proven_for

    def _check_open(self) -> None:
        refusal = self.refusal()
        if refusal is not None:
            raise UnauthenticatedError(refusal)
