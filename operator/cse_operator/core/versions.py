"""Comparing engine versions: numerically, part by part, any number of parts.

ServiceComb versions are `major.minor.patch`, Nacos versions have four parts; the last part
is the patch, which the vendor rolls out on its own (Huawei Cloud CSE User Guide, upgrading
an engine). A version that does not parse is compared for equality only, and the vendor
judges it.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

_NUMERIC: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})*", re.ASCII)
_SHORTEST_WITH_A_PATCH: Final = 3


class Comparison(Enum):
    """How an engine's version stands to the wanted one."""

    SATISFIED = "satisfied"
    """Equal, or the same release with a later patch."""
    BEHIND = "behind"
    BEYOND = "beyond"
    """A later release: it cannot go back."""
    INCOMPARABLE = "incomparable"
    """Different, and at least one of the two is not numeric."""


def parse(version: str) -> tuple[int, ...] | None:
    """The parts of a numeric version, or None when it is not one."""
    if not _NUMERIC.fullmatch(version):
        return None
    return tuple(int(part) for part in version.split("."))


def compare(current: str, wanted: str) -> Comparison:
    """Say how `current` stands to `wanted`; missing parts count as zero."""
    if current == wanted:
        return Comparison.SATISFIED
    left, right = parse(current), parse(wanted)
    if left is None or right is None:
        return Comparison.INCOMPARABLE
    width = max(len(left), len(right), _SHORTEST_WITH_A_PATCH)
    left = left + (0,) * (width - len(left))
    right = right + (0,) * (width - len(right))
    if left < right:
        return Comparison.BEHIND
    if left == right or left[:-1] == right[:-1]:
        return Comparison.SATISFIED
    return Comparison.BEYOND


def satisfies(current: str, wanted: str) -> bool:
    """Whether an engine at `current` needs no upgrade to be at `wanted`."""
    return compare(current, wanted) is Comparison.SATISFIED
