"""Order of engine versions: three parts for ServiceComb, four for Nacos."""

from __future__ import annotations

from itertools import zip_longest

LONGEST_VERSION = 24
"""Longest version that the upgrade call accepts, in characters (CSE API Reference)."""


def is_higher(version: str, than: str) -> bool:
    """Return whether a version is higher than another, part by part; missing parts are zero.

    False if a part of either version is not a number.
    """
    left, right = _parts(version), _parts(than)
    if left is None or right is None:
        return False
    for mine, other in zip_longest(left, right, fillvalue=0):
        if mine != other:
            return mine > other
    return False


def is_numeric(version: str) -> bool:
    """Return whether all parts of a version are numbers."""
    return _parts(version) is not None


def _parts(version: str) -> list[int] | None:
    parts = version.split(".")
    if not all(part.isascii() and part.isdigit() for part in parts):
        return None
    return [int(part) for part in parts]
