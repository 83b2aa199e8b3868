"""A queue of keys: each key at most once in it, and at most one worker at a time on each.

The rules are those of client-go's workqueue: a key that is added while it is worked on is
worked on once more afterwards. A key can also be due later; the earliest time counts.

Keys are in lanes, and of one lane only so many are worked on at once: those of a project whose
calls wait or hang leave workers to the others.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable
from typing import Final

_SMALL: Final = 64


class KeyedQueue:
    """Hands out keys to workers.

    Args:
        clock: monotonic seconds, of the event loop by default.
        lane_of: in which lane a key is now.
        lane_limit: how many keys of one lane are worked on at once.
    """

    def __init__(
        self,
        clock: Callable[[], float] | None = None,
        *,
        lane_of: Callable[[str], Hashable] = lambda _key: None,
        lane_limit: float = float("inf"),
    ) -> None:
        self._clock = clock or asyncio.get_running_loop().time
        self._lane_of = lane_of
        self._lane_limit = lane_limit
        self._lanes: dict[str, Hashable] = {}
        self._in_lane: Counter[Hashable] = Counter()
        self._held_back: defaultdict[Hashable, deque[str]] = defaultdict(deque)
        self._ready: deque[str] = deque()
        self._since: dict[str, float] = {}
        self._working: dict[str, float] = {}
        self._again: set[str] = set()
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._work_over = asyncio.Event()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self.on_wait: Callable[[float], None] = lambda _seconds: None
        """Told how long each key waited in the queue."""
        self.on_rest: Callable[[], None] = lambda: None
        """Told when the last work in hand is done and none waits."""

    def __len__(self) -> int:
        return len(self._since)

    @property
    def oldest_work(self) -> float:
        """Seconds that the longest of the works in hand has taken so far."""
        return self._clock() - min(self._working.values(), default=self._clock())

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is worked on, and nothing waits but for its time."""
        return not self._working and not self._since

    def add(self, key: str) -> None:
        """Have the key worked on as soon as a worker is free."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._since:
            self._since[key] = self._clock()
            self._ready.append(key)
            self._wake_one()

    def add_after(self, key: str, seconds: float) -> None:
        """Have the key worked on later; an earlier time that is already set stays."""
        due = self._clock() + seconds
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        if len(self._heap) > _SMALL + 2 * len(self._due):
            # Times that were dropped or brought forward stay in the heap until they come,
            # which may be hours: take them out before they outnumber the others.
            self._heap = [(moment, other) for other, moment in self._due.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (due, key))
        if self._heap[0][1] == key:
            self._set_timer()

    def forget(self, key: str) -> None:
        """Drop the time that is set for the key."""
        self._due.pop(key, None)

    async def get(self) -> str:
        """The next key; `done` must follow."""
        while (key := self._next()) is None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()
                raise
        now = self._clock()
        self.on_wait(now - self._since.pop(key))
        if not self._since:
            self._since.clear()  # gives back the room of thousands that waited once
        self._working[key] = now
        return key

    def _next(self) -> str | None:
        """The first key whose lane is not full; those before it wait until theirs is not."""
        while self._ready:
            key = self._ready.popleft()
            lane = self._lane_of(key)
            if self._in_lane[lane] < self._lane_limit:
                self._lanes[key] = lane
                self._in_lane[lane] += 1
                return key
            self._held_back[lane].append(key)
        return None

    def _leave_lane(self, key: str) -> None:
        lane = self._lanes.pop(key, None)
        self._in_lane[lane] -= 1
        if not self._in_lane[lane]:
            del self._in_lane[lane]
        if lane in self._held_back:
            self._ready.appendleft(self._held_back[lane].popleft())
            if not self._held_back[lane]:
                del self._held_back[lane]
            self._wake_one()

    async def join_work(self) -> None:
        """Wait until nothing is worked on any more."""
        while self._working:
            self._work_over.clear()
            await self._work_over.wait()

    def done(self, key: str) -> None:
        """The work on the key is over."""
        if self._working.pop(key, None) is not None:
            self._leave_lane(key)
        self._work_over.set()
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        if self.is_at_rest:
            self.on_rest()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay = max(0.0, self._heap[0][0] - self._clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            due, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        if self._heap:
            self._set_timer()
