"""Keeps bad credentials from being tried again and again.

More than five refused calls in a row lock an access key for five minutes (Huawei Cloud, API
Request Signing Guide, Error Codes), and a user by default for a quarter of an hour after five in
a quarter of an hour (IAM User Guide, Login Authentication Policy). The vendor locks the access key
or user and not the secret that was tried, so:

* a `CredentialBreaker` belongs to what can be refused on its own (one Secret in one project) and
  tries it no more for a while after a refusal;
* a `RefusalBudget` belongs to an access key or user, is shared by all breakers of its secrets, and
  lets no more than four refusals in a row happen in a quarter of an hour. So no more than four
  attempts are under way: they are shared out, and one namespace whose projects do not answer
  leaves some to the others.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cse_operator.clock import boottime, wall_clock_offset
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.fairness import Turn
from cse_operator.cloud.slots import Slots
from cse_operator.core.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

MOST_REFUSALS: Final = 4
"""One below the fifth refusal in a row, after which the vendor may lock."""
WINDOW: Final = 900.0
"""Seconds after which a refusal is forgotten."""
LONGEST_COOLING: Final = 3600.0
"""Seconds that a refused credential is not tried at most; the pauses between become ever longer."""
_CLOCK_WAS_SET: Final = 60.0
"""Seconds by which the wall clock has to move against the steady one to count as set."""

_ANYBODY: Final = Turn()

_OTHERS_WERE_REFUSED = Failure(
    FailureKind.UNAUTHENTICATED,
    "Other secrets of this access key or user were refused lately, and one more might lock it; this"
    " one is tried after a while",
)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """When a secret was refused; `offset` is set where this machine's clock was at fault."""

    secret: str
    moment: float
    offset: float | None = None

    def is_mended(self, offset: float) -> bool:
        """Whether the clock that was at fault has been set since."""
        return self.offset is not None and abs(offset - self.offset) > _CLOCK_WAS_SET


class RefusalBudget:
    """Counts the refusals in a row of one access key or user, with whatever secrets."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = boottime,
        offset: Callable[[], float] = wall_clock_offset,
    ) -> None:
        """Make an unused one.

        Args:
            clock: Seconds on a steady clock.
            offset: Seconds between the wall clock and a steady one.
        """
        self._clock = clock
        self._offset = offset
        self._refusals: list[_Refusal] = []
        self._taken: set[str] = set()
        self._slots = Slots(MOST_REFUSALS)
        self._under_way = 0
        self._ended = asyncio.Event()

    @property
    def remembers(self) -> bool:
        """Whether there are refusals that count."""
        self._forget()
        return bool(self._refusals)

    def trusts(self, secret: str) -> bool:
        """Whether the vendor took this secret when it was last tried, anywhere."""
        return secret in self._taken

    def refused(self, refusal: _Refusal) -> None:
        """Note that the vendor refused a secret."""
        self._taken.discard(refusal.secret)
        self._forget()
        self._refusals.append(refusal)

    def accepted(self, secret: str) -> None:
        """Note that the vendor took a secret, and so counts anew."""
        self._taken.add(secret)
        self._refusals.clear()

    @asynccontextmanager
    async def attempt(
        self,
        secret: str,
        turn: Turn,
        project: str,
        *,
        trusted: bool,
        refused_before: bool,
        otherwise: Failure,
    ) -> AsyncIterator[None]:
        """Surround one call whose secret may be refused.

        Args:
            secret: The secret.
            turn: For whom the call is.
            project: The project that it is for.
            trusted: Whether it was taken when it was last tried. Then only its own refusals count:
                who names somebody's access key with a wrong secret does not keep the right one
                out.
            refused_before: Whether this very secret was refused. Such ones leave the last attempt
                to a new one: who puts the right one into a Secret need not wait for wrong ones.
            otherwise: Why nothing was sent if the budget is used up; the seconds are added.

        Raises:
            CloudError: The budget is used up; nothing was sent.
        """
        most = MOST_REFUSALS - refused_before
        own = secret if trusted else None
        async with self._slots.one(turn, project):
            while self._under_way + len(refusals := self._counted(own)) >= most:
                if len(refusals) >= most:
                    free_in = max(refusals[-most].moment + WINDOW - self._clock(), 0.0)
                    raise CloudError(replace(otherwise, retry_after=free_in))
                await self._ended.wait()
            self._under_way += 1
            try:
                yield
            finally:
                self._under_way -= 1
                self._ended.set()
                self._ended = asyncio.Event()

    def _counted(self, own: str | None) -> list[_Refusal]:
        """The refusals that count, of one secret or of all."""
        self._forget()
        return [one for one in self._refusals if own in {None, one.secret}]

    def _forget(self) -> None:
        oldest, offset = self._clock() - WINDOW, self._offset()
        self._refusals = [
            one for one in self._refusals if one.moment > oldest and not one.is_mended(offset)
        ]


class CredentialBreaker:
    """Decides when one Secret's credential may be tried where it can be refused on its own.

    While the credential has not proved good lately, one call at a time goes out, and the others
    wait to learn what became of it. After a refusal none goes out until the cool-down is over;
    a changed Secret has a breaker of its own.
    """

    def __init__(
        self,
        secret: str = "",
        budget: RefusalBudget | None = None,
        *,
        cooling: float = 300.0,
        proven_for: float = 60.0,
        clock: Callable[[], float] = boottime,
        offset: Callable[[], float] = wall_clock_offset,
        jitter: Callable[[], float] = random.random,
        mended_by: str = "the Secret changes",
    ) -> None:
        """Make a closed circuit: calls go out.

        Args:
            secret: The fingerprint of the credential's values.
            budget: What its access key or user may still be refused; one of its own if not given.
            cooling: Seconds without a call after a refusal; twice as many after the next one, up
                to `LONGEST_COOLING`. Up to a fifth is added by chance.
            proven_for: Seconds that an accepted call vouches for the credential.
            clock: Seconds on a steady clock.
            offset: Seconds between the wall clock and a steady one.
            jitter: A random number from 0 to 1.
            mended_by: What ends the cool-down early, for the message.
        """
        self._secret = secret
        self._mended_by = mended_by
        self._budget = budget or RefusalBudget(clock=clock, offset=offset)
        self._cooling = cooling
        self._proven_for = proven_for
        self._clock = clock
        self._offset = offset
        self._jitter = jitter
        self._probe = asyncio.Lock()
        self._accepted_at: float | None = None
        self._refusal: _Refusal | None = None
        self._failure: Failure | None = None
        self._open_until = 0.0
        self._in_a_row = 0

    @property
    def remembers(self) -> bool:
        """Whether a new one in its place would try what this one does not."""
        return self.hold_back > 0

    @property
    def hold_back(self) -> float:
        """Seconds until the credential is tried again; 0 if it may be tried now."""
        if self._refusal is None or self._refusal.is_mended(self._offset()):
            return 0.0
        return max(self._open_until - self._clock(), 0.0)

    @property
    def cooling(self) -> float:
        """Seconds for which to leave alone what refused something, a little spread by chance."""
        return self._cooling * (1 + 0.2 * self._jitter())

    def refusal(self) -> Failure | None:
        """Why nothing goes out, in the same words as long as it holds; `None` if calls may go.

        The seconds left are beside the text and not in it: it would change with every look.
        """
        if self.hold_back <= 0:
            return None
        return replace(self._in_our_words(), retry_after=self.hold_back)

    def accepted(self) -> None:
        """Note that the credential was good."""
        self._accepted_at = self._clock()
        self._refusal = self._failure = None
        self._in_a_row = 0
        self._budget.accepted(self._secret)

    def refused(self, failure: Failure, *, clock_at_fault: bool = False) -> None:
        """Note that the credential was refused, and try it no more for a while.

        Calls that were already under way then are refused too: they belong to the same event.

        Args:
            failure: The vendor's words.
            clock_at_fault: Whether this machine's clock was: the cool-down ends when it is set.
        """
        if self.hold_back > 0:
            return
        offset = self._offset() if clock_at_fault else None
        self._refusal = _Refusal(self._secret, self._clock(), offset)
        self._budget.refused(self._refusal)
        self._accepted_at = None
        self._failure = failure
        pause = min(self._cooling * 2**self._in_a_row, max(LONGEST_COOLING, self._cooling))
        self._in_a_row += 1
        self._open_until = self._clock() + pause * (1 + 0.2 * self._jitter())

    @asynccontextmanager
    async def attempt(self, turn: Turn = _ANYBODY, project: str = "") -> AsyncIterator[None]:
        """Surround one call with the credential.

        Args:
            turn: For whom the call is.
            project: The project that it is for.

        Raises:
            CloudError: It was refused lately, or too many secrets of its access key or user were
                (`UNAUTHENTICATED`); nothing was sent.
        """
        async with AsyncExitStack() as held:
            self._check()
            if not self._is_proven():
                await held.enter_async_context(self._probe)
                self._check()
                if self._is_proven():
                    await held.aclose()
                else:
                    await held.enter_async_context(self._counted(turn, project))
                    self._check()
            yield

    def _counted(self, turn: Turn, project: str) -> AbstractAsyncContextManager[None]:
        trusted = self._accepted_at is not None or self._budget.trusts(self._secret)
        refused_before = self._failure is not None
        return self._budget.attempt(
            self._secret,
            turn,
            project,
            trusted=trusted,
            refused_before=refused_before,
            otherwise=self._in_our_words(),
        )

    def _check(self) -> None:
        refusal = self.refusal()
        if refusal is not None:
            raise CloudError(refusal)

    def _is_proven(self) -> bool:
        accepted_at = self._accepted_at
        return accepted_at is not None and self._clock() - accepted_at < self._proven_for

    def _in_our_words(self) -> Failure:
        if self._failure is None:
            return _OTHERS_WERE_REFUSED
        by_clock = self._refusal is not None and self._refusal.offset is not None
        message = (
            f"{self._failure.message}; these credentials are tried again after a while, or as"
            f" soon as {'the clock is set' if by_clock else self._mended_by}"
        )
        return replace(self._failure, message=message)
