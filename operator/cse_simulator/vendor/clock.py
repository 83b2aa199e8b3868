"""The simulated vendor's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import format_datetime


class Clock:
    """A wall clock that never runs backwards, with a configurable offset from the machine's."""

    def __init__(self, offset_seconds: float = 0.0) -> None:
        self.offset_seconds = offset_seconds
        self._base = time.time() - time.monotonic()

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return self._base + time.monotonic() + self.offset_seconds


def http_date(moment: float) -> str:
    """Return a time (seconds since the epoch) as an HTTP date."""
    return format_datetime(datetime.fromtimestamp(moment, UTC), usegmt=True)


def milliseconds(moment: float) -> int:
    """Convert a time from epoch seconds to epoch milliseconds, which the vendor uses."""
    return int(moment * 1000)
