"""Keeps shared objects while they are in use or remember something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_SWEEP_FROM = 64


class Remembering(Protocol):
    """An object that tells whether it may be dropped."""

    @property
    def remembers(self) -> bool:
        """Whether a new object in its place would act differently."""


Kept = TypeVar("Kept", bound=Remembering)


class Keeper(Generic[Kept]):
    """Shared objects by name. An object in use is never dropped.

    An unused object stays while it remembers something, such as a refusal: deleting a resource and
    creating it again does not get around the refusal. All other objects are dropped, which bounds
    the memory.
    """

    def __init__(self) -> None:
        self._used: WeakValueDictionary[Hashable, Kept] = WeakValueDictionary()
        self._kept: dict[Hashable, Kept] = {}
        self._sweep_at = _SWEEP_FROM

    def get(self, name: Hashable, make: Callable[[], Kept]) -> Kept:
        """Return the object of this name; make it if there is none."""
        found = self._used.get(name)
        if found is None:
            found = self._used[name] = make()
        if name not in self._kept:
            self._sweep()
            self._kept[name] = found
        return found

    def _sweep(self) -> None:
        """Drop the objects that are not in use and remember nothing."""
        if len(self._kept) < self._sweep_at:
            return
        for name in [name for name, one in self._kept.items() if not one.remembers]:
            del self._kept[name]
            used = self._used.get(name)
            if used is not None:
                self._kept[name] = used
        self._sweep_at = max(2 * len(self._kept), _SWEEP_FROM)
