"""Ghosts: the slots of resources that were deleted while a call or a job of theirs was under way.

`kubectl replace --force` and a prune may delete a resource in the middle of its upgrade, but the
vendor's job goes on. So the slot stays taken until another resource has looked at the same engine,
or until the time-out of the upgrade has passed. A new process knows no ghosts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cse_operator.api.duration import parse_duration
from cse_operator.api.reasons import Reason
from cse_operator.core.member import Member
from cse_operator.runtime.cache import Cache, CachedResource, InvalidSpecError
from cse_operator.runtime.ownership import EngineKey

DEFAULT_STAY: Final = timedelta(hours=2)
"""How long a slot stays taken if the time-out of the spec cannot be read."""


@dataclass(frozen=True, slots=True)
class _Ghost:
    member: Member
    engine: EngineKey | None
    until: datetime


class Ghosts:
    """The ghosts of one process.

    Args:
        cache: the resources; one of them may have looked at a ghost's engine meanwhile.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._ghosts: dict[str, _Ghost] = {}

    def add(self, resource: CachedResource, engine: EngineKey | None, now: datetime) -> None:
        """Add a deleted resource whose call or job may be at the vendor."""
        member = replace(resource.member, in_flight=True, deleting=True)
        self._ghosts[resource.reference.uid] = _Ghost(member, engine, now + _stay(resource))

    def at(self, now: datetime) -> list[Member]:
        """Return the ghosts at a moment, and drop those that are over."""
        if not self._ghosts:
            return []
        seen = set(self._seen())
        self._ghosts = {
            uid: ghost
            for uid, ghost in self._ghosts.items()
            if now < ghost.until and (ghost.engine is None or ghost.engine not in seen)
        }
        return [ghost.member for ghost in self._ghosts.values()]

    def _seen(self) -> Iterator[EngineKey | None]:
        """Yield the engines that a resource drives and has seen: its own status counts for them."""
        for resource in self._cache:
            member = resource.member
            looked = member.engine_status is not None and not member.deleting
            if looked and member.reason != Reason.ENGINE_ALREADY_MANAGED:
                yield self._cache.engine_of(resource.key)


def _stay(resource: CachedResource) -> timedelta:
    try:
        return parse_duration(resource.parse().spec.upgrade.timeout)
    except InvalidSpecError:
        return DEFAULT_STAY
