"""Keeps the operator from trying refused credentials again and again.

More than five refused calls in a row lock an access key for five minutes (Huawei Cloud, API
Request Signing Guide, Error Codes). Five refusals in a quarter of an hour lock a user, by default
for a quarter of an hour (IAM User Guide, Login Authentication Policy). The vendor locks the access
key or user, not the secret that was tried, so:

* a `CredentialBreaker` belongs to one Secret in one project, which can be refused independently,
  and stops trying it for a while after a refusal;
* a `RefusalBudget` belongs to an access key or user, is shared by all breakers of its secrets, and
  allows at most four refusals in a row in a quarter of an hour. So at most four attempts run at
  once, shared among namespaces: one namespace whose projects do not answer leaves some to others.
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
"""Refusals in a row that are allowed; after the fifth the vendor may lock."""
WINDOW: Final = 900.0
"""Seconds after which a refusal is forgotten."""
LONGEST_COOLING: Final = 3600.0
"""The longest cool-down after a refusal, in seconds; it doubles with each refusal up to this."""
_CLOCK_WAS_SET: Final = 60.0
"""Seconds by which the wall clock must move against the steady clock to count as set."""

_ANYBODY: Final = Turn()

_OTHERS_WERE_REFUSED = Failure(
    FailureKind.UNAUTHENTICATED,
    "Other secrets of this access key or user were refused lately, and one more refusal might lock"
    " it; this secret is tried after a while",
)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """When a secret was refused; `offset` is set if this machine's clock was the cause."""

    secret: str
    moment: float
    offset: float | None = None

    def is_mended(self, offset: float) -> bool:
        """Whether the clock was the cause and has been set since."""
        return self.offset is not None and abs(offset - self.offset) > _CLOCK_WAS_SET


class RefusalBudget:
    """Counts the refusals in a row of one access key or user, over all its secrets."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = boottime,
        offset: Callable[[], float] = wall_clock_offset,
    ) -> None:
        """Make an unused budget.

        Args:
            clock: Seconds on a steady clock.
            offset: Wall clock minus steady clock, in seconds.
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
        """Whether there are refusals that still count."""
        self._forget()
        return bool(self._refusals)

    def trusts(self, secret: str) -> bool:
        """Whether the vendor accepted this secret when it was last tried, in any project."""
        return secret in self._taken

    def refused(self, refusal: _Refusal) -> None:
        """Note that the vendor refused a secret."""
        self._taken.discard(refusal.secret)
        self._forget()
        self._refusals.append(refusal)

    def accepted(self, secret: str) -> None:
        """Note that the vendor accepted a secret, and start the count of refusals again."""
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
        """Wrap one call whose secret may be refused.

        Args:
            secret: The secret.
            turn: The call's urgency and namespace.
            project: The call's project.
            trusted: Whether the secret was accepted when it was last tried. Then only its own
                refusals count: a tenant that names another tenant's access key with a wrong secret
                must not block the right one.
            refused_before: Whether this same secret was refused before. Such a secret leaves the
                last attempt to a new one, so that a corrected Secret need not wait for wrong ones.
            otherwise: The failure to raise if the budget is used up; `retry_after` is added.

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
        """Return the refusals that still count, of one secret or, with `None`, of all."""
        self._forget()
        return [one for one in self._refusals if own in {None, one.secret}]

    def _forget(self) -> None:
        oldest, offset = self._clock() - WINDOW, self._offset()
        self._refusals = [
            one for one in self._refusals if one.moment > oldest and not one.is_mended(offset)
        ]


class CredentialBreaker:
    """Decides when one Secret's credential may be tried in one project.

    Unless the credential was accepted lately, one call at a time goes out and the others wait for
    its result. After a refusal no call goes out until the cool-down is over; a changed Secret gets
    its own breaker.
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
            budget: The budget of its access key or user; by default an unshared one.
            cooling: Seconds without a call after a refusal; twice as many after the next refusal,
                up to `LONGEST_COOLING`. Up to a fifth is added at random.
            proven_for: Seconds for which an accepted call proves the credential good.
            clock: Seconds on a steady clock.
            offset: Wall clock minus steady clock, in seconds.
            jitter: A random number from 0 to 1.
            mended_by: The event that ends the cool-down early, for the message.
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
        """Whether the cool-down lasts, so that a new breaker would call where this one does not."""
        return self.hold_back > 0

    @property
    def hold_back(self) -> float:
        """Return the seconds until the credential is tried again; 0 if it may be tried now."""
        if self._refusal is None or self._refusal.is_mended(self._offset()):
            return 0.0
        return max(self._open_until - self._clock(), 0.0)

    @property
    def cooling(self) -> float:
        """Return the base cool-down in seconds, with up to a fifth added at random."""
        return self._cooling * (1 + 0.2 * self._jitter())

    def refusal(self) -> Failure | None:
        """Return why no call goes out, in a text that stays the same; `None` if calls may go.

        The seconds left are in `retry_after` and not in the text, which would otherwise change
        with every look.
        """
        if self.hold_back <= 0:
            return None
        return replace(self._in_our_words(), retry_after=self.hold_back)

    def accepted(self) -> None:
        """Note that the vendor accepted the credential."""
        self._accepted_at = self._clock()
        self._refusal = self._failure = None
        self._in_a_row = 0
        self._budget.accepted(self._secret)

    def refused(self, failure: Failure, *, clock_at_fault: bool = False) -> None:
        """Note that the vendor refused the credential, and start the cool-down.

        A refusal during the cool-down is ignored: its call was in flight and belongs to the same
        event.

        Args:
            failure: The vendor's answer.
            clock_at_fault: Whether this machine's clock was the cause; then setting the clock ends
                the cool-down.
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
        """Wrap one call with the credential.

        Args:
            turn: The call's urgency and namespace.
            project: The call's project.

        Raises:
            CloudError: The credential, or too many secrets of its access key or user, were refused
                lately (`UNAUTHENTICATED`); nothing was sent.
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
