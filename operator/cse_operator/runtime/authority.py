"""The right to act: since when this process holds it, and for how long."""

from __future__ import annotations

from collections.abc import Callable

from cse_operator.clock import boottime

FOREVER = float("inf")


class Authority:
    """Says whether this process may call Upgrade or Retry.

    The process must have held the right to act for one outcome grace. Before that, a call may still
    be on its way, or its effect not be shown yet: a call of a dead process, of another owner, or
    for a resource that was deleted and created again. Looks, adoption and following need no such
    wait.

    Args:
        grace: the outcome grace, in seconds.
        observes_only: whether this process never calls, even with the right to act.
        remaining: seconds for which the Lease still gives the right to act.
        clock: seconds, including those for which the machine was suspended.
    """

    def __init__(
        self,
        *,
        grace: float,
        observes_only: bool = False,
        remaining: Callable[[], float] = lambda: FOREVER,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self.observes_only = observes_only
        self._grace = grace
        self._remaining = remaining
        self._clock = clock
        self._since: float | None = None
        self._stopped = False

    def begin(self) -> None:
        """Take the right to act, from now on."""
        if self._since is None:
            self._since = self._clock()

    def clock(self) -> float:
        """Return the clock for the calls' deadlines: past all of them once a stop was requested.

        When the stop comes, a call may still wait for its turn or for a connection. A process that
        only observes sends no call at all.
        """
        return FOREVER if self._stopped or self.observes_only else self._clock()

    def stop(self) -> None:
        """Begin no further call: the process ends."""
        self._stopped = True

    def may_call_in(self) -> float:
        """Return the seconds until this process may call; 0 if it may now."""
        if self._since is None:
            return self._grace
        return max(0.0, self._since + self._grace - self._clock())

    def remaining(self) -> float:
        """Return the seconds in which a call may be sent; 0 after a stop or if it only observes."""
        return 0.0 if self._stopped or self.observes_only else self._remaining()
