"""Shares the connections of one endpoint among namespaces and projects.

A project whose calls hang cannot occupy all connections: every other project still gets some.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cse_operator.cloud.fairness import FairQueue, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Slots:
    """Permissions to have a call in flight.

    A namespace takes a slot only while it holds fewer slots than are free, and a project only while
    it holds fewer than half of the slots its namespace could still take. So one project takes up to
    a quarter of all slots, one namespace half of them, and a second namespace half of the rest. A
    namespace that holds no slot still finds one while the calls of others hang.
    """

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._held: Counter[tuple[str, str]] = Counter()
        self._held_by_namespace: Counter[str] = Counter()
        self._waiting = FairQueue()
        self._idle = asyncio.Event()
        self._idle.set()

    @asynccontextmanager
    async def one(self, turn: Turn, project: str) -> AsyncIterator[None]:
        """Hold a slot, waiting for it if needed."""
        await self.take(turn, project)
        try:
            yield
        finally:
            self.give_back(turn, project)

    async def take(self, turn: Turn, project: str) -> None:
        """Take a slot, waiting for it if needed; the caller must call `give_back` afterwards."""
        # No admissible call is queued: `give_back` lets go every call that a freed slot admits.
        if self._admits(turn.namespace, project):
            self._count(turn.namespace, project)
        else:
            await self._waiting.wait(turn, project, lambda: self.give_back(turn, project))

    def give_back(self, turn: Turn, project: str) -> None:
        """Free a slot and hand free slots to waiting calls."""
        namespace = turn.namespace
        self._free += 1
        self._held[namespace, project] -= 1
        self._held_by_namespace[namespace] -= 1
        if not self._held[namespace, project]:
            del self._held[namespace, project]
        if not self._held_by_namespace[namespace]:
            del self._held_by_namespace[namespace]
        while (whose := self._waiting.let_go(self._admits)) is not None:
            self._count(*whose)
        if self._free == self._total:
            self._idle.set()

    async def until_idle(self) -> None:
        """Wait until no call is in flight."""
        await self._idle.wait()

    def _admits(self, namespace: str, project: str) -> bool:
        left = self._free - self._held_by_namespace[namespace]
        return 2 * self._held[namespace, project] < left

    def _count(self, namespace: str, project: str) -> None:
        self._free -= 1
        self._held[namespace, project] += 1
        self._held_by_namespace[namespace] += 1
        self._idle.clear()
