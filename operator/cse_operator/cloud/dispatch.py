"""The permission of a changing call to leave this process: once, and before its deadline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from cse_operator.clock import boottime

if TYPE_CHECKING:
    from collections.abc import Callable

DISPATCH = "cse_operator.dispatch"
"""The request extension under which a changing call's `Dispatch` travels."""


class DepartureRefusedError(aiohttp.ClientError):
    """A changing call may not be sent, now or again. No byte of it was written this time."""


class AnswerLostError(aiohttp.ClientError):
    """The connection died after a changing call had left on it."""


@dataclass(slots=True)
class Dispatch:
    """The permission of one changing call to leave this process once, before its deadline."""

    send_before: float
    """A reading of `clock` from which on the call must not be sent any more."""
    clock: Callable[[], float] = boottime
    sent: bool | None = None
    """Whether the call left; `None` on a transport that does not say (a test's)."""

    def remaining(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.send_before - self.clock()

    def depart(self) -> None:
        """Take the permission: called right before the first byte is written.

        Raises:
            DepartureRefusedError: The call was sent before, or its deadline has passed.
        """
        if self.sent:
            raise DepartureRefusedError("a changing call is never sent twice")
        if self.remaining() <= 0:
            raise DepartureRefusedError("the deadline for sending has passed")
        self.sent = True
