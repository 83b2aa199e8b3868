"""How often one identity may still be refused: an access key or a user, with whatever secret.

The vendor locks the identity and not the secret that was tried: an access key for five minutes
after more than five failures in a row (Huawei Cloud, API Request Signing Guide, Error Codes), a
user by default for a quarter of an hour after five in a quarter of an hour (IAM User Guide, Login
Authentication Policy). Secrets of many namespaces may name the same one, each with another typing
error, so they share a budget.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cse_operator.cloud.errors import CloudError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cse_operator.core.failure import Failure


class RefusalBudget:
    """Counts the refusals of one identity in a row. Share it among the gates of its secrets."""

    def __init__(
        self,
        *,
        most: int = 4,
        window: float = 900.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an unused budget.

        Args:
            most: Refusals within `window`, calls under way counted as such; one below the fifth.
            window: Seconds after which a refusal is forgotten; a success has all forgotten.
            clock: Monotonic seconds.
        """
        self._most = most
        self._window = window
        self._clock = clock
        self._refusals: list[float] = []
        self._under_way = 0
        self._ended = asyncio.Event()

    def refused(self) -> None:
        """Note that the vendor refused a secret of this identity."""
        self._forget_old_ones()
        self._refusals.append(self._clock())

    def accepted(self) -> None:
        """Note that the vendor took a secret of this identity, and so counts anew."""
        self._refusals.clear()

    @asynccontextmanager
    async def attempt(self, *, refused_before: bool, otherwise: Failure) -> AsyncIterator[None]:
        """Surround one call with a secret that has never been taken, or was refused since.

        Args:
            refused_before: Whether this very secret was. Such ones leave the last attempt to a
                new one: who puts the right one into a Secret need not wait for the wrong ones.
            otherwise: Why nothing was sent if the budget is used up; the seconds are added.

        Raises:
            CloudError: The budget is used up; nothing was sent.
        """
        most = self._most - refused_before
        self._forget_old_ones()
        while len(self._refusals) + self._under_way >= most:
            if len(self._refusals) >= most:
                free_at = self._refusals[-most] + self._window
                raise CloudError(replace(otherwise, retry_after=max(free_at - self._clock(), 0.0)))
            await self._ended.wait()
            self._forget_old_ones()
        async with self._counted():
            yield

    @asynccontextmanager
    async def trusted_attempt(self) -> AsyncIterator[None]:
        """Surround one call with a secret that was taken when it was last tried.

        What others were refused does not stop it, so naming somebody's access key with a wrong
        secret does not keep the right one out. It may have been withdrawn meanwhile, so that no
        more such calls are under way at once than may be refused.
        """
        while self._under_way >= self._most:
            await self._ended.wait()
        async with self._counted():
            yield

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._ended.set()
            self._ended = asyncio.Event()

    def _forget_old_ones(self) -> None:
        oldest = self._clock() - self._window
        self._refusals = [moment for moment in self._refusals if moment > oldest]
