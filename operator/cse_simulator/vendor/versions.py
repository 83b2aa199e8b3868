"""Order of engine versions: three parts for ServiceComb, four for Nacos."""

from __future__ import annotations

from itertools import zip_longest

LONGEST_VERSION = 24
"""Characters of the longest version the upgrade call takes (CSE API Reference, upgrade call)."""


def is_higher(version: str, than: str) -> bool:
    """Say whether a version is above another, part by part, missing parts counting as zero.

    A version with a part that is no number is above nothing.
    """
    left, right = _parts(version), _parts(than)
    if left is None or right is None:
        return False
    for mine, other in zip_longest(left, right, fillvalue=0):
        if mine != other:
            return mine > other
    return False


def is_numeric(version: str) -> bool:
    """Say whether all parts of a version are numbers."""
    return _parts(version) is not None


def _parts(version: str) -> list[int] | None:
    parts = version.split(".")
    if not all(part.isascii() and part.isdigit() for part in parts):
        return None
    return [int(part) for part in parts]
