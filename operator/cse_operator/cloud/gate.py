"""Keeps bad credentials from being hammered.

More than five refused calls in a row lock an access key for five minutes (Huawei Cloud, API
Request Signing Guide, Error Codes), and a user likewise. So a refusal is remembered, and nothing
is sent with that credential for a while. A changed Secret has another fingerprint, and so a gate
of its own; what all secrets of one access key or user have in common is their `RefusalBudget`.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.refusals import RefusalBudget
from cse_operator.core.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

_OTHERS_WERE_REFUSED = Failure(
    FailureKind.UNAUTHENTICATED,
    "Other secrets of this access key or user were refused lately, and one more might lock it; this"
    " one is tried after a while",
)


class AuthenticationGate:
    """Keeps one credential from being refused again and again. Share it per fingerprint.

    While the credential has not proved good lately, one call at a time goes out to each endpoint,
    and the others wait to learn what became of it: an endpoint that does not answer holds up no
    other one. After a refusal none goes out to any for the cooling period.
    """

    def __init__(
        self,
        budget: RefusalBudget | None = None,
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
            budget: What its identity may still be refused; one of its own if not given.
            cooling: Seconds without a call after a refusal; up to a fifth is added by chance.
            long_cooling: The same after `most_refusals` in a row. It is much longer than a lock
                lasts, so that refusals never add up to one.
            most_refusals: One below the fifth refusal in a row, after which a key is locked.
            proven_for: Seconds that an accepted call vouches for the credential.
            clock: Monotonic seconds.
            jitter: A random number from 0 to 1.
        """
        self._budget = budget or RefusalBudget(clock=clock)
        self._cooling = cooling
        self._long_cooling = long_cooling
        self._most_refusals = most_refusals
        self._proven_for = proven_for
        self._clock = clock
        self._jitter = jitter
        self._probes: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._accepted_at: float | None = None
        self._worked_at: float | None = None
        self._was_proven = False
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
        if self.hold_back <= 0:
            return None
        return replace(self._in_our_words(), retry_after=self.hold_back)

    def _in_our_words(self) -> Failure:
        if self._failure is None:
            return _OTHERS_WERE_REFUSED
        message = (
            f"{self._failure.message}; these credentials are tried again after a while, or as"
            " soon as the Secret changes"
        )
        return replace(self._failure, message=message)

    @property
    def cooling(self) -> float:
        """Seconds for which to leave alone what refused something, a little spread by chance."""
        return self._cooling * (1 + 0.2 * self._jitter())

    def worked(self) -> None:
        """Note that what the credential had bought was good, which says nothing of itself."""
        self._worked_at = self._clock()

    def accepted(self) -> None:
        """Note that the credential was good."""
        self._accepted_at = self._clock()
        self._closed_until = None
        self._refusals = 0
        self._failure = None
        self._budget.accepted()

    def refused(self, failure: Failure) -> None:
        """Note that the credential was refused, and close for a while.

        Calls that were already under way then are refused too: they belong to the same event.
        """
        if self.hold_back > 0:
            if not self._was_proven:
                self._budget.refused()
            return
        self._was_proven = self._is_recent(self._accepted_at)
        self._budget.refused()
        self._accepted_at = self._worked_at = None
        self._failure = failure
        self._refusals += 1
        pause = self._cooling
        if self._refusals >= self._most_refusals:
            pause = self._long_cooling
            self._refusals = 0
        self._closed_until = self._clock() + pause * (1 + 0.2 * self._jitter())

    @asynccontextmanager
    async def passage(self, endpoint: str) -> AsyncIterator[None]:
        """Surround one call with a token, which the vendor does not lock.

        Raises:
            CloudError: The credential was refused lately; nothing was sent.
        """
        async with self._probe("token", endpoint, self._is_proven):
            yield

    @asynccontextmanager
    async def attempt(self, endpoint: str) -> AsyncIterator[None]:
        """Surround one call with a secret key or a password, which the vendor may lock.

        Raises:
            CloudError: The credential was refused lately, or too many others of its
                identity were; nothing was sent.
        """
        async with self._probe("secret", endpoint, self._is_accepted) as proven:
            if proven:
                yield
                return
            async with self._counted_attempt():
                self._check_open()
                yield

    def _counted_attempt(self) -> AbstractAsyncContextManager[None]:
        if self._accepted_at is not None:
            return self._budget.trusted_attempt()
        refused_before = self._failure is not None
        return self._budget.attempt(refused_before=refused_before, otherwise=self._in_our_words())

    @asynccontextmanager
    async def _probe(
        self, what: str, endpoint: str, proven: Callable[[], bool]
    ) -> AsyncIterator[bool]:
        """Let one call at a time through until they are proven good; tells whether they are.

        What is shown and where tell probes apart: a call waits here for the token it needs.
        """
        self._check_open()
        if proven():
            yield True
            return
        async with AsyncExitStack() as probing:
            lock = self._probes.setdefault((what, endpoint), asyncio.Lock())
            await probing.enter_async_context(lock)
            self._check_open()
            if proven():
                await probing.aclose()
            yield proven()

    def _is_accepted(self) -> bool:
        return self._is_recent(self._accepted_at)

    def _is_proven(self) -> bool:
        return self._is_recent(self._accepted_at) or self._is_recent(self._worked_at)

    def _is_recent(self, moment: float | None) -> bool:
        return moment is not None and self._clock() - moment < self._proven_for

    def _check_open(self) -> None:
        refusal = self.refusal()
        if refusal is not None:
            raise CloudError(refusal)
