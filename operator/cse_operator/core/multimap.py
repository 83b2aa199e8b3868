"""Which keys belong to a name, in little memory where nearly every name has one."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

_Name = TypeVar("_Name", bound=Hashable)


class Multimap(Generic[_Name]):
    """The keys of each name, in the order in which they came.

    A single key is kept as it is: ten thousand tuples of one are half a megabyte.
    """

    def __init__(self) -> None:
        self._keys: dict[_Name, str | tuple[str, ...]] = {}

    def __getitem__(self, name: _Name) -> tuple[str, ...]:
        """The keys of a name; none where it has none."""
        keys = self._keys.get(name, ())
        return (keys,) if isinstance(keys, str) else keys

    def add(self, name: _Name, key: str) -> None:
        """Add a key to a name, if it is not there."""
        known = self[name]
        if key not in known:
            self._keys[name] = (*known, key) if known else key

    def remove(self, name: _Name, key: str) -> None:
        """Take a key away from a name, if it is there."""
        left = tuple(other for other in self[name] if other != key)
        if len(left) > 1:
            self._keys[name] = left
        elif left:
            self._keys[name] = left[0]
        else:
            self._keys.pop(name, None)
