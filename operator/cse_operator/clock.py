"""The clocks of this machine: a steady one to measure durations, the wall clock to show times."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

if sys.platform == "linux":

    def boottime() -> float:
        """Return the seconds since the machine started, including the time it was suspended.

        A deadline such as the end of a Lease also passes while a machine sleeps, but the ordinary
        monotonic clock of Linux stops then.
        """
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:

    def boottime() -> float:
        """Return the monotonic clock's seconds: this platform has no boot-time clock."""
        return time.monotonic()


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def wall_clock_offset() -> float:
    """Return wall clock minus steady clock, in seconds; it changes when the wall clock is set."""
    return time.time() - boottime()
