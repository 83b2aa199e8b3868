"""Durations as people write them in manifests: `2h`, `1h30m`, `90s`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

PATTERN: Final = r"^([0-9]{1,6}(h|m|s))+$"
_PART = re.compile(r"([0-9]+)([hms])")
_SECONDS = {"h": 3600, "m": 60, "s": 1}


def parse_duration(text: str) -> timedelta:
    """Read a duration of hours, minutes and seconds.

    Raises:
        ValueError: The text has another form.
    """
    if not re.fullmatch(PATTERN, text):
        raise ValueError(f"{text!r} is not a duration such as 2h, 90m or 1h30m")
    return timedelta(seconds=sum(int(n) * _SECONDS[unit] for n, unit in _PART.findall(text)))


def format_duration(duration: timedelta) -> str:
    """Write a duration in the largest units that fit, without zero parts: `1h30m`."""
    seconds = max(0, int(duration.total_seconds()))
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "m"), (seconds, "s")]
    return "".join(f"{n}{unit}" for n, unit in parts if n) or "0s"
