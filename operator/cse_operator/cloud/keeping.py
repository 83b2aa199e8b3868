"""Keeps what is shared while somebody uses it, and as long as it remembers something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_SWEEP_FROM = 64


class Remembering(Protocol):
    """Something that may not be forgotten yet."""

    @property
    def remembers(self) -> bool:
        """Whether a new one in its place would act in another way."""


Kept = TypeVar("Kept", bound=Remembering)


class Keeper(Generic[Kept]):
    """Shared objects by name. One that is in use is never evicted.

    What nobody uses any more stays as long as it remembers something, such as a refusal: a
    resource that is deleted and made again does not get around it. Bounded thereby.
    """

    def __init__(self) -> None:
        self._used: WeakValueDictionary[Hashable, Kept] = WeakValueDictionary()
        self._kept: dict[Hashable, Kept] = {}
        self._sweep_at = _SWEEP_FROM

    def get(self, name: Hashable, make: Callable[[], Kept]) -> Kept:
        """The object of this name, made if there is none."""
        found = self._used.get(name)
        if found is None:
            found = self._used[name] = make()
        if name not in self._kept:
            self._sweep()
            self._kept[name] = found
        return found

    def _sweep(self) -> None:
        """Forget what nobody uses and what remembers nothing."""
        if len(self._kept) < self._sweep_at:
            return
        for name in [name for name, one in self._kept.items() if not one.remembers]:
            del self._kept[name]
            used = self._used.get(name)
            if used is not None:
                self._kept[name] = used
        self._sweep_at = max(2 * len(self._kept), _SWEEP_FROM)
