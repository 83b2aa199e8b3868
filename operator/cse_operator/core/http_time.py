"""Times in HTTP headers: `Retry-After` and dates (RFC 9110, 5.6.7, 10.2.3).

The vendor's and Kubernetes' answers share this one parser.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER: Final = 900.0
"""The longest `Retry-After` that is believed, in seconds."""
_LONGEST_DATE: Final = 64
"""Characters; every HTTP date has fewer."""


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that the server asks to wait, at most `MAX_RETRY_AFTER`.

    The header may hold seconds (also with decimals) or an HTTP date. A date is compared with the
    answer's own `Date` if there is one, so that a wrong local clock does not matter. Any other
    value counts as absent.

    Args:
        headers: The answer's headers; the mapping ignores case.
        now: Stands in for a missing `Date`; the present by default.
    """
    value = (headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"\d{1,15}(\.\d{1,15})?", value, re.ASCII):
        return min(float(value), MAX_RETRY_AFTER)
    when = http_date(value)
    if when is None:
        return None
    reference = http_date(headers.get("Date")) or now or datetime.now(UTC)
    return min(max((when - reference).total_seconds(), 0.0), MAX_RETRY_AFTER)


def http_date(value: str | None) -> datetime | None:
    """Read an HTTP date; `None` if it is missing or cannot be read."""
    if not value or len(value) > _LONGEST_DATE:
        return None
    try:
        when = parsedate_to_datetime(value)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, IndexError, OverflowError):
        return None
