"""The patterns of texts: regions, and a policy's schedules, zones, spans, names and labels."""

from __future__ import annotations

from typing import Final

_NUMBERS: Final = {
    "minute": r"[0-5]?[0-9]",
    "hour": r"(1?[0-9]|2[0-3])",
    "day": r"([1-9]|[12][0-9]|3[01])",
    "month": r"([1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)",
    "weekday": r"([0-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(#[1-5]|L)?",
}


def _list_of(item: str) -> str:
    return f"{item}(,{item})*"


def _cron_pattern() -> str:
    """Return the pattern of five fields.

    Minutes and hours refuse `*`: people write it by accident, and it would mean "always".
    """
    n = _NUMBERS
    hour, day = f"{n['hour']}(-{n['hour']})?", f"{n['day']}(-{n['day']})?"
    month, weekday = f"{n['month']}(-{n['month']})?", f"{n['weekday']}(-{n['weekday']})?"
    return (
        f"^{_list_of(n['minute'])} {_list_of(hour)} ([*]|L|{_list_of(day)}) "
        f"([*]|{_list_of(month)}) ([*]|{_list_of(weekday)})$"
    )


REGION_PATTERN: Final = r"^[a-z]{2,}(-[a-z0-9]+)+$"
CRON_PATTERN: Final = _cron_pattern()
ZONE_PATTERN: Final = r"^(UTC|[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){1,2})$"
SPAN_PATTERN: Final = r"^([0-9]{1,5}h)?([0-9]{1,5}m)?$"
NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
LABEL_KEY_PATTERN: Final = r"^([-a-z0-9.]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
LABEL_VALUE_PATTERN: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
