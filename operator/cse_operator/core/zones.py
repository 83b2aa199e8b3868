"""Time zones from the pinned tzdata package, not from the machine.

A machine's zone files are as old as its image, and two machines may differ. So this module empties
the search path once, and every zone comes from the package (PEP 615).
"""

from __future__ import annotations

import zoneinfo
from functools import cache
from importlib import metadata
from typing import Final
from zoneinfo import ZoneInfo

zoneinfo.reset_tzpath(to=())

TZDATA: Final = metadata.version("tzdata")
"""The version of the package, for messages."""


@cache
def _names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def zone(name: str) -> ZoneInfo:
    """Return a time zone by its name in the IANA database.

    Raises:
        ValueError: The package has no such zone; the text names its version.
    """
    if name not in _names():
        raise ValueError(f"time zone {name} is not known to tzdata {TZDATA} of this operator")
    return ZoneInfo(name)
