"""The permission to send a changing call: once, and before its deadline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from cse_operator.clock import boottime

if TYPE_CHECKING:
    from collections.abc import Callable

DISPATCH = "cse_operator.dispatch"
"""The request extension that carries a changing call's `Dispatch`."""


class DepartureRefusedError(aiohttp.ClientError):
    """A changing call must not be sent, or not again. This attempt wrote no byte of it."""


class AnswerLostError(aiohttp.ClientError):
    """The connection died after a changing call was sent on it."""


@dataclass(slots=True)
class Dispatch:
    """The permission to send one changing call once, before its deadline."""

    send_before: float
    """The reading of `clock` from which on the call must not be sent."""
    clock: Callable[[], float] = boottime
    sent: bool | None = None
    """Whether the call was sent; `None` if the transport does not tell (in tests)."""

    def remaining(self) -> float:
        """Return the seconds until the deadline; negative after it."""
        return self.send_before - self.clock()

    def depart(self) -> None:
        """Use up the permission. Call this right before the first byte is written.

        Raises:
            DepartureRefusedError: The call was sent before, or its deadline has passed.
        """
        if self.sent:
            raise DepartureRefusedError("a changing call is never sent twice")
        if self.remaining() <= 0:
            raise DepartureRefusedError("the deadline for sending has passed")
        self.sent = True
