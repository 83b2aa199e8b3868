"""The right to act: since when this process holds it, and for how long."""

from __future__ import annotations

from collections.abc import Callable

from cse_operator.clock import boottime

FOREVER = float("inf")


class Authority:
    """Says whether this process may call Upgrade or Retry.

    Not before it has held the right to act for one outcome grace: a call of a dead process, of a
    rival, or for a resource that was deleted and made anew may still be on its way, or its effect
    not be shown yet. Looks, adoption and following need no such wait.

    Args:
        grace: that outcome grace, in seconds.
        observes_only: whether this process calls nothing, however long it has the right to.
        remaining: seconds for which the Lease still gives the right to act.
        clock: seconds, counting those that the machine was suspended.
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
        """This process has the right to act from now on."""
        if self._since is None:
            self._since = self._clock()

    def clock(self) -> float:
        """The clock of the calls' deadlines: all are over once a stop was asked for.

        A call may have waited for its turn or for a connection when the stop came. Who only
        observes sends none at all.
        """
        return FOREVER if self._stopped or self.observes_only else self._clock()

    def stop(self) -> None:
        """Begin no call any more: the process ends."""
        self._stopped = True

    def may_call_in(self) -> float:
        """Seconds until this process may call; 0 if it may now."""
        if self._since is None:
            return self._grace
        return max(0.0, self._since + self._grace - self._clock())

    def remaining(self) -> float:
        """Seconds in which a call may be sent; 0 for who only observes, and after a stop."""
        return 0.0 if self._stopped or self.observes_only else self._remaining()
