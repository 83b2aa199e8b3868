"""The clocks of this machine: one to measure with, one to show. The core is given their values."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

if sys.platform == "linux":

    def boottime() -> float:
        """Seconds since the machine started, counting the time it was suspended.

        A deadline such as the end of a Lease passes while a machine sleeps; the ordinary
        monotonic clock of Linux stands still then.
        """
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:

    def boottime() -> float:
        """Seconds on the monotonic clock, where the platform has no boot-time clock."""
        return time.monotonic()


def utc_now() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(UTC)


def wall_clock_offset() -> float:
    """Seconds between the wall clock and the steady one; it changes when the clock is set."""
    return time.time() - boottime()
