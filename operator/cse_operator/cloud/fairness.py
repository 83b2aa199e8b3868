"""Orders waiting calls: by urgency, then round robin over namespaces.

A namespace that queues thousands of reads delays a call of another namespace by one place, not by
thousands.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_IN_A_ROW: Final = 3
"""Calls in a row that may go before waiting less urgent ones; then a less urgent call goes."""


class Urgency(IntEnum):
    """How urgent a call is; the most urgent first."""

    CHANGE = 0
    """A changing call, or a look that a changing call may follow."""
    POLL = 1
    """A look at a running upgrade."""
    RESYNC = 2
    """A look at an engine at rest."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The urgency and the namespace of a call, which decide when its turn comes."""

    urgency: Urgency = Urgency.POLL
    namespace: str = ""


_Line = dict[asyncio.Future[None], None]
_Lines = dict[str, dict[str, _Line]]
"""The waiting calls by namespace and project, oldest first; the next namespace is first."""
_Chosen = tuple[str, str, asyncio.Future[None]]


class FairQueue:
    """Waiting calls, by urgency, then round robin over namespaces and over their projects."""

    def __init__(self) -> None:
        self._levels: dict[Urgency, _Lines] = {urgency: {} for urgency in Urgency}
        self._in_a_row = 0

    def __bool__(self) -> bool:
        return any(self._levels.values())

    async def wait(self, turn: Turn, project: str, give_back: Callable[[], None]) -> None:
        """Wait until `let_go` chooses this call.

        Args:
            turn: The call's urgency and namespace.
            project: The call's project.
            give_back: Called if the caller is cancelled after its call was chosen.

        Raises:
            BaseException: The exception that `refuse_all` made.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lines = self._levels[turn.urgency]
        lines.setdefault(turn.namespace, {}).setdefault(project, {})[future] = None
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                self._remove(lines, turn.namespace, project, future)
            elif future.exception() is None:
                give_back()
            raise

    def let_go(
        self, admits: Callable[[str, str], bool] = lambda *_: True
    ) -> tuple[str, str] | None:
        """Let the next call go; return its namespace and project, or `None` if no call may go.

        Args:
            admits: Whether a call of this namespace and project may go; called with the project
                `""` first, so that a namespace can be skipped as a whole.
        """
        while (chosen := self._choose(admits)) is not None:
            # A cancelled caller may not have run yet: its turn passes to the next call.
            namespace, project, future = chosen
            if not future.cancelled():
                future.set_result(None)
                return namespace, project
        return None

    def refuse_all(self, make: Callable[[], Exception]) -> None:
        """Fail each waiting call with an exception from `make`."""
        for lines in self._levels.values():
            for projects in lines.values():
                for line in projects.values():
                    for future in line:
                        if not future.done():
                            future.set_exception(make())
            lines.clear()

    def _choose(self, admits: Callable[[str, str], bool]) -> _Chosen | None:
        levels = [lines for lines in self._levels.values() if lines]
        less_urgent_first = self._in_a_row >= MOST_IN_A_ROW
        for lines in reversed(levels) if less_urgent_first else levels:
            chosen = self._choose_of(lines, admits)
            if chosen is not None:
                went_before_others = lines is not levels[-1]
                self._in_a_row = self._in_a_row + 1 if went_before_others else 0
                return chosen
        return None

    def _choose_of(self, lines: _Lines, admits: Callable[[str, str], bool]) -> _Chosen | None:
        for namespace, projects in lines.items():
            if not admits(namespace, ""):
                continue
            for project, line in projects.items():
                if admits(namespace, project):
                    chosen = next(iter(line))
                    self._remove(lines, namespace, project, chosen)
                    # Move to the end: the next turns belong to the others.
                    if project in projects:
                        projects[project] = projects.pop(project)
                    if namespace in lines:
                        lines[namespace] = lines.pop(namespace)
                    return namespace, project, chosen
        return None

    def _remove(
        self, lines: _Lines, namespace: str, project: str, future: asyncio.Future[None]
    ) -> None:
        projects = lines.get(namespace, {})
        projects.get(project, {}).pop(future, None)
        if not projects.get(project):
            projects.pop(project, None)
        if not projects:
            lines.pop(namespace, None)
