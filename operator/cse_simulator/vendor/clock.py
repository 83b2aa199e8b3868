"""The simulated vendor's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import format_datetime


class Clock:
    """Wall time that never runs backwards, and may be off from the machine's on purpose."""

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
    """Return a time in seconds since the epoch as the vendor writes it: epoch milliseconds."""
    return int(moment * 1000)
