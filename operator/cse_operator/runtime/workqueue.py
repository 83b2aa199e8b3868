"""The workqueue: client-go's rules, with slots that are shared fairly.

A key waits at most once, and at most one task works on it. A key that is added while a task works
on it is worked on once more afterwards. A key may also have a due time; the earliest time wins. A
failed step is retried with exponential backoff per key.

A task keeps its slot while it waits for a slow vendor or a rate limit, so one tenant could take the
slots of the others. The namespace with the fewest slots goes first, and within it the project with
the fewest; among equals, the one that has waited longest. A namespace takes another slot only while
more slots are free than it holds. A project takes another slot only while its namespace may take
more than the project holds. So a slot is always left for a namespace or project without one.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterator
from typing import Final, NamedTuple

from cse_operator.core.backoff import exponential

FIRST_BACKOFF: Final = 0.2
"""Seconds of backoff after the first failed step of a key."""

LONGEST_BACKOFF: Final = 300.0

CHANGES_IN_A_ROW: Final = 4
"""How many changes are handed out before a waiting resync has its turn."""

_SMALL: Final = 64


class Group(NamedTuple):
    """The namespace and the project that a key belongs to."""

    namespace: str
    project: Hashable


class _RoundRobin:
    """Groups with waiting keys, by the number of slots that they hold."""

    def __init__(self) -> None:
        self._held: dict[Hashable, int] = {}
        self._by_held: defaultdict[int, OrderedDict[Hashable, None]] = defaultdict(OrderedDict)

    def __bool__(self) -> bool:
        return bool(self._held)

    def put(self, group: Hashable, held: int) -> None:
        """Add a waiting group; if its number of slots changed, it waits behind its equals."""
        if self._held.get(group) == held:
            return
        self.remove(group)
        self._held[group] = held
        self._by_held[held][group] = None

    def moved(self, group: Hashable, held: int) -> None:
        """Note that a group holds another number of slots now; it may not be waiting."""
        if group in self._held:
            self.put(group, held)

    def remove(self, group: Hashable) -> None:
        """Remove a group that has nothing waiting any more."""
        held = self._held.pop(group, None)
        if held is not None:
            same = self._by_held[held]
            del same[group]
            if not same:
                del self._by_held[held]

    def in_turn(self, room: int) -> Iterator[Hashable]:
        """Yield the groups that hold fewer slots than there is room for, in their turn."""
        for held in range(room):
            yield from self._by_held.get(held, ())


class _Line:
    """Waiting keys, by namespace and project."""

    def __init__(self, held: Counter[Hashable]) -> None:
        self._held = held
        self._keys: dict[Group, OrderedDict[str, None]] = {}
        self._projects: defaultdict[str, _RoundRobin] = defaultdict(_RoundRobin)
        self._namespaces = _RoundRobin()

    def add(self, key: str, group: Group) -> None:
        """Add a key at the end of its project's line."""
        self._keys.setdefault(group, OrderedDict())[key] = None
        self._projects[group.namespace].put(group, self._held[group])
        self._namespaces.put(group.namespace, self._held[group.namespace])

    def remove(self, key: str, group: Group) -> None:
        """Remove a key."""
        waiting = self._keys[group]
        del waiting[key]
        if waiting:
            return
        del self._keys[group]
        projects = self._projects[group.namespace]
        projects.remove(group)
        if not projects:
            del self._projects[group.namespace]
            self._namespaces.remove(group.namespace)

    def holds_changed(self, group: Group) -> None:
        """Note that a group holds another number of slots now."""
        self._namespaces.moved(group.namespace, self._held[group.namespace])
        if group.namespace in self._projects:
            self._projects[group.namespace].moved(group, self._held[group])

    def next(self, free: int, most: int) -> str | None:
        """Return the key whose turn it is.

        Args:
            free: slots that nobody holds.
            most: slots that one namespace may hold.
        """
        for namespace in self._namespaces.in_turn(free):
            assert isinstance(namespace, str)  # noqa: S101 - for the type checker
            # A namespace whose projects are all at their limit holds a quarter of all slots:
            # there are never more than four of them to pass over.
            room = most - self._held[namespace]
            for group in self._projects[namespace].in_turn(room):
                assert isinstance(group, Group)  # noqa: S101 - for the type checker
                return next(iter(self._keys[group]))
        return None


class WorkQueue:
    """Hands out keys while slots are free.

    Args:
        slots: how many keys are worked on at once.
        group_of: the group of a key, asked when the key begins to wait.
        clock: monotonic seconds, of the event loop by default.
        jitter: a random number in [0, 1).
    """

    def __init__(
        self,
        *,
        slots: int,
        group_of: Callable[[str], Group],
        clock: Callable[[], float] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._slots = slots
        self._group_of = group_of
        self._clock = clock or asyncio.get_running_loop().time
        self._jitter = jitter
        self._held: Counter[Hashable] = Counter()
        self._changes = _Line(self._held)
        self._resyncs = _Line(self._held)
        self._waiting: dict[str, tuple[_Line, Group, float]] = {}
        self._working: dict[str, tuple[Group, float]] = {}
        self._again: dict[str, bool] = {}
        self._changes_in_a_row = 0
        self._failures: dict[str, int] = {}
        self._delays = _Delays(self._clock, self.add)
        self._added = asyncio.Event()
        self._work_over = asyncio.Event()
        self.on_wait: Callable[[float], None] = lambda _seconds: None
        """Called with the seconds that each key waited in the queue."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def oldest_work(self) -> float:
        """Return the seconds that the longest-running task has taken so far."""
        now = self._clock()
        return now - min((since for _, since in self._working.values()), default=now)

    @property
    def backoff_depth(self) -> int:
        """Return how many keys wait for a retry because their last step failed."""
        return len(self._failures)

    def add(self, key: str, *, resync: bool = False) -> None:
        """Queue the key for its turn.

        Args:
            key: the key.
            resync: whether no change is known; changes go first.
        """
        if key in self._working:
            self._again[key] = self._again.get(key, True) and resync
            return
        known = self._waiting.get(key)
        if known is not None:
            line, group, since = known
            if resync or line is self._changes:
                return
            line.remove(key, group)
        else:
            group, since = self._group_of(key), self._clock()
        line = self._resyncs if resync else self._changes
        line.add(key, group)
        self._waiting[key] = (line, group, since)
        self._added.set()

    def add_after(self, key: str, seconds: float, *, resync: bool = False) -> None:
        """Queue the key later; an earlier due time stays."""
        self._delays.set(key, self._clock() + seconds, resync=resync)

    def is_due_later(self, key: str) -> bool:
        """Whether the key has a due time that is not a resync's."""
        return self._delays.is_set(key)

    def retry(self, key: str, *, at_least: float = 0.0, limit: float = LONGEST_BACKOFF) -> None:
        """Queue the key again after a failed step, with backoff.

        Args:
            key: the key.
            at_least: seconds that the server asked the operator to wait.
            limit: the longest backoff, in seconds.
        """
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        backoff = exponential(failures, base=FIRST_BACKOFF, limit=limit, jitter=self._jitter())
        # Spread the keys, so that not all of them come when the server lets them in again.
        self.add_after(key, max(backoff, at_least * (1 + self._jitter() / 10)))

    def forget(self, key: str) -> None:
        """Reset the key's backoff: its step succeeded, or its resource is gone."""
        self._failures.pop(key, None)

    async def get(self) -> str:
        """Return the next key, once there is one and a slot for it; the caller must call `done`."""
        while (key := self._next()) is None:
            self._added.clear()
            await self._added.wait()
        return key

    def shut_down(self) -> None:
        """Hand out no further key."""
        self._slots = 0

    def _next(self) -> str | None:
        free = self._slots - len(self._working)
        most = max(self._slots // 2, 1)
        lines = [self._changes, self._resyncs]
        if self._changes_in_a_row >= CHANGES_IN_A_ROW:
            lines.reverse()
        for line in lines:
            key = line.next(free, most)
            if key is not None:
                changes = line is self._changes
                self._changes_in_a_row = self._changes_in_a_row + 1 if changes else 0
                self._take(key)
                return key
        return None

    def _take(self, key: str) -> None:
        line, group, since = self._waiting.pop(key)
        line.remove(key, group)
        now = self._clock()
        self.on_wait(now - since)
        self._working[key] = (group, now)
        self._delays.drop(key)
        self._hold(group, 1)

    def done(self, key: str) -> None:
        """End the work on the key."""
        group, _ = self._working.pop(key)
        self._hold(group, -1)
        self._work_over.set()
        if key in self._again:
            self.add(key, resync=self._again.pop(key))
        self._added.set()

    def _hold(self, group: Group, change: int) -> None:
        for held in (group, group.namespace):
            self._held[held] += change
            if not self._held[held]:
                del self._held[held]
        for line in (self._changes, self._resyncs):
            line.holds_changed(group)

    async def join_work(self) -> None:
        """Wait until no task works on a key."""
        while self._working:
            self._work_over.clear()
            await self._work_over.wait()


class _Delays:
    """Keys with a due time."""

    def __init__(self, clock: Callable[[], float], add: Callable[..., None]) -> None:
        self._clock = clock
        self._add = add
        self._due: dict[str, tuple[float, bool]] = {}
        self._heap: list[tuple[float, str]] = []
        self._timer: asyncio.TimerHandle | None = None

    def set(self, key: str, due: float, *, resync: bool) -> None:
        """Set a key's due time, unless an earlier one is set."""
        if self._due.get(key, (float("inf"), resync))[0] <= due:
            return
        self._due[key] = (due, resync)
        if len(self._heap) > _SMALL + 2 * len(self._due):
            # Outdated times stay in the heap until they are due, which may be hours: remove
            # them before they outnumber the others.
            self._heap = [(moment, other) for other, (moment, _) in self._due.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (due, key))
        if self._heap[0][1] == key:
            self._set_timer()

    def is_set(self, key: str) -> bool:
        """Whether a key has a due time that is not a resync's."""
        _, resync = self._due.get(key, (0.0, True))
        return not resync

    def drop(self, key: str) -> None:
        """Drop the key's due time, if it has one."""
        self._due.pop(key, None)

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
            known = self._due.get(key)
            if known is not None and known[0] == due:
                del self._due[key]
                self._add(key, resync=known[1])
        if self._heap:
            self._set_timer()
