"""The gate: asks the policies for each start, reserves slots, and wakes engines that may start.

A slot is reserved from the answer "yes" until the end of the step, when the intent is in the cache
or there is none. Reservations and intents both count, so two simultaneous steps never take the same
slot. Nothing else is remembered: after each change, and when a window or freeze opens or closes, a
sweep over the cache finds the engines that may start. Held engines get no step, and the vendor no
request for them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from cse_operator.api.reasons import Reason
from cse_operator.clock import utc_now
from cse_operator.core.fleet import Fleet
from cse_operator.core.permit import (
    ALLOWED,
    Allowed,
    Held,
    Hold,
    closes_at,
    gates_change_at,
    holds_of,
    let_go,
    permit,
)
from cse_operator.core.policies import PolicySet
from cse_operator.core.views import EngineView
from cse_operator.runtime.cache import Cache, CachedResource
from cse_operator.runtime.ghosts import Ghosts
from cse_operator.runtime.ownership import EngineKey
from cse_operator.runtime.workqueue import WorkQueue

logger = logging.getLogger(__name__)

LONGEST_SLEEP: Final = 600.0
"""The most seconds between sweeps: wall clocks step, and machines sleep."""

BETWEEN_SWEEPS: Final = 0.25
"""The least seconds between sweeps, however often engines change."""

SWEEP_REST: Final = 3.0
"""The pause after a sweep, as a multiple of its duration: the event loop has other work."""

UNLISTED: Final = 15.0
"""Seconds until a start is tried again that waits for the list of all engines."""

SOON: Final = 1.0
"""Seconds until a start is tried again that waits for the list of the policies."""

FRESH: Final = timedelta(seconds=0.5)
"""The greatest age of a fleet for a first question. Right before a call, a new fleet is made."""


class Gate:
    """Lets engines of one process start, or holds them.

    Args:
        cache: all served engines.
        queue: takes the engines that may start.
        policies: returns the current policies.
        listed: whether all engines were listed since this process became the leader: before that,
            an intent of the previous leader may not be in the cache.
        policies_listed: the same for the policies: before that, a policy may have closed unseen.
        clock: now, in UTC.
    """

    def __init__(
        self,
        cache: Cache,
        queue: WorkQueue,
        policies: Callable[[], PolicySet],
        *,
        listed: Callable[[], bool] = lambda: True,
        policies_listed: Callable[[], bool] = lambda: True,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._policies = policies
        self._listed = listed
        self._policies_listed = policies_listed
        self._clock = clock
        self._reserved: set[str] = set()
        self._stumbled: set[str] = set()
        self._ghosts = Ghosts(cache)
        self._fleet: Fleet | None = None
        self._changed = asyncio.Event()
        self.on_sweep: Callable[[Fleet], None] = lambda _fleet: None
        """Called with the fleet of each sweep."""

    @property
    def in_force(self) -> bool:
        """Whether any engine can be held."""
        return not self._policies().gates_nothing

    def changed(self) -> None:
        """Sweep soon with a new fleet: engines or policies have changed."""
        self._fleet = None
        self._changed.set()

    def may_call_in(self) -> float:
        """Return the seconds until this process may start an engine, as far as lists decide that.

        No limit is exact before this process has listed all engines as the leader. The list begins
        with the leadership, and ends long before the outcome grace of the start is over.
        """
        if not self._policies_listed():
            return SOON
        return 0.0 if self._listed() or not self.in_force else UNLISTED

    def policies_changed(self) -> None:
        """Take new policies: requeue held engines whose shown reason is now another.

        People change policies seldom, so this is no load. Reasons that change by engines or by time
        are shown at the next look.
        """
        self.changed()
        fleet = self.fleet()
        if fleet.policies.unknown is not None:
            return
        for member in fleet.in_line():
            holds = holds_of(member, fleet)
            if holds and holds[0].reason.value != member.reason:
                self._queue.add(member.key, resync=True)

    def ask(self, key: str, engine: EngineView | None) -> Allowed | Held:
        """Ask for a start with the engine as this step saw it; a yes reserves a slot."""
        now = self._clock()
        if self._fleet is None or not timedelta(0) <= now - self._fleet.now < FRESH:
            self._fleet = self.fleet()
        answer = self._answer(key, engine, self._fleet)
        if isinstance(answer, Allowed) and key not in self._reserved:
            self._reserved.add(key)
            self._fleet = None
        return answer

    def ask_again(self, key: str, engine: EngineView | None) -> Allowed | Held:
        """Ask once more, right before the call, with a new fleet."""
        if not self.in_force:
            return ALLOWED
        return self._answer(key, engine, self.fleet())

    def open_for(self, key: str) -> float:
        """Return for how many seconds the windows and freezes still let an engine's call go out."""
        cached = self._cache.get(key)
        fleet = self.fleet()
        closes = closes_at(cached.member, fleet) if cached is not None else None
        return (closes - fleet.now).total_seconds() if closes is not None else float("inf")

    def release(self, key: str) -> None:
        """Free a reserved slot after the step: its result is in the cache."""
        if key in self._reserved:
            self._reserved.discard(key)
            self.changed()

    def removed(self, resource: CachedResource, engine: EngineKey | None) -> None:
        """Keep the slot of a deleted resource whose call or job may be at the vendor."""
        if resource.member.in_flight or resource.key in self._reserved:
            self._ghosts.add(resource, engine, self._clock())

    def stumbled(self, key: str) -> None:
        """Take an engine whose step failed out of all lines until a step succeeds.

        It blocks no other engine meanwhile, and its next step asks again.
        """
        self._stumbled.add(key)
        self.changed()

    def steady(self, key: str) -> None:
        """Let an engine stand in line again: its step succeeded, or its resource is gone."""
        if key in self._stumbled:
            self._stumbled.discard(key)
            self.changed()

    def _answer(self, key: str, engine: EngineView | None, fleet: Fleet) -> Allowed | Held:
        cached = self._cache.get(key)
        if cached is None:
            return _unknown("the resource is gone")
        member = cached.member if engine is None else cached.member.seen_as(engine)
        return permit(member, fleet)

    def fleet(self) -> Fleet:
        """Return the fleet as it is now."""
        now = self._clock()
        members = [resource.member for resource in self._cache] + self._ghosts.at(now)
        return Fleet(members, self._policies(), now, self._reserved, self._stumbled)

    # -- sweeps ----------------------------------------------------------------------------------

    def sweep(self) -> float:
        """Queue the engines that may start now.

        Returns:
            Seconds until the next sweep, if nothing changes before.
        """
        fleet = self.fleet()
        winners, until = let_go(fleet)
        for member in winners:
            # An engine that was let start but may not call yet has a due time already.
            if not self._queue.is_due_later(member.key):
                self._queue.add(member.key)
        self.on_sweep(fleet)
        moments = [at for at in (until, gates_change_at(fleet)) if at is not None]
        if not moments:
            return LONGEST_SLEEP
        return min(max((min(moments) - self._clock()).total_seconds(), 0.0), LONGEST_SLEEP)

    async def run(self) -> None:
        """Sweep after each change, and when a gate opens or closes, until cancelled."""
        while True:
            self._changed.clear()
            began = time.monotonic()
            due = self.sweep()
            took = time.monotonic() - began
            await asyncio.sleep(max(BETWEEN_SWEEPS, SWEEP_REST * took))
            with suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it swallows a cancellation that comes with
                # the event, and the process would not end.
                async with asyncio.timeout(due):
                    await self._changed.wait()


def _unknown(why: str) -> Held:
    return Held((Hold(Reason.POLICIES_UNKNOWN, None),), why)
