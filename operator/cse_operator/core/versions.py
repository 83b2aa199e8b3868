"""Compare engine versions numerically, part by part, and only where that proves an order.

ServiceComb versions are `major.minor.patch`; Nacos versions have four parts. The last part is the
patch, which the vendor rolls out without being asked (Huawei Cloud CSE User Guide, upgrading an
engine). An upgrade cannot be undone, so a version with letters never counts as an older one.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import Final

_PART: Final = r"[0-9]{1,9}"
_NUMERIC: Final = re.compile(rf"{_PART}(\.{_PART})*", re.ASCII)
_NUMERIC_START: Final = re.compile(rf"({_PART}(?:\.{_PART})*)(?![0-9])", re.ASCII)
_FEWEST_PARTS: Final = 3


class Comparison(Enum):
    """How an engine's version compares with the wanted version."""

    SATISFIED = "satisfied"
    """Equal, or the same release with a later patch."""
    BEHIND = "behind"
    """Provably older: both versions are numeric."""
    BEYOND = "beyond"
    """A later release, from which the engine cannot go back."""
    INCOMPARABLE = "incomparable"
    """Different, and at least one of the two is not numeric."""


def parse(version: str) -> tuple[int, ...] | None:
    """Return the parts of a numeric version; None if the version is not numeric."""
    if not _NUMERIC.fullmatch(version):
        return None
    return tuple(int(part) for part in version.split("."))


@lru_cache(maxsize=4096)
def compare(current: str, wanted: str) -> Comparison:
    """Compare the version `current` with the version `wanted`.

    The last part of a wanted version is the patch, and missing parts count as zero: 2.4.1.5 and
    2.4.3 satisfy 2.4.0, 2.5.0 is beyond it, 2.3.9.9 is behind it.
    """
    if current == wanted:
        return Comparison.SATISFIED
    have, want = parse(current), parse(wanted)
    if have is None or want is None:
        return Comparison.INCOMPARABLE
    parts = max(len(want), _FEWEST_PARTS)
    have, want = _fitted(have, parts), _fitted(want, parts)
    if have < want:
        return Comparison.BEHIND
    return Comparison.SATISFIED if have[:-1] == want[:-1] else Comparison.BEYOND


def satisfies(current: str, wanted: str) -> bool:
    """Whether an engine at `current` needs no upgrade to be at `wanted`."""
    return compare(current, wanted) is Comparison.SATISFIED


def is_offered(current: str, wanted: str, latest: str | None) -> bool:
    """Whether the vendor offers exactly the wanted version, and its numbers do not go back.

    A version with letters can be called in this way only. The vendor upgrades to its latest
    version, so that version is above the engine's unless the numbers say otherwise.
    """
    if wanted != latest:
        return False
    have, want = _numbers(current), _numbers(wanted)
    if have is None or want is None:
        return False
    parts = max(len(have), len(want), _FEWEST_PARTS)
    return _fitted(want, parts) >= _fitted(have, parts)


def _numbers(version: str) -> tuple[int, ...] | None:
    """Return the leading numeric parts of a version: (2, 5, 0) of 2.5.0.SPC100."""
    matched = _NUMERIC_START.match(version)
    return parse(matched[1]) if matched else None


def _fitted(parts: tuple[int, ...], length: int) -> tuple[int, ...]:
    return (parts + (0,) * length)[:length]
