"""Who comes next where calls have to wait: by urgency, then round robin over namespaces.

One namespace that queues thousands of looks delays a call of another namespace by one place, not
by thousands.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_IN_A_ROW: Final = 3
"""Calls that go before less urgent ones that wait; the next one is less urgent."""


class Urgency(IntEnum):
    """How urgent a call is; the most urgent first."""

    CHANGE = 0
    """A changing call, or a look that one may follow."""
    POLL = 1
    """A look at what runs."""
    RESYNC = 2
    """A look at what is at rest."""


@dataclass(frozen=True, slots=True)
class Turn:
    """For whom a call is made, which decides when its turn comes."""

    urgency: Urgency = Urgency.POLL
    namespace: str = ""


_Line = dict[asyncio.Future[None], None]
_Lines = dict[str, dict[str, _Line]]
"""Those that wait, oldest first, by namespace and project; the next namespace first."""
_Chosen = tuple[str, str, asyncio.Future[None]]


class FairQueue:
    """Calls that wait: by urgency, then round robin over namespaces and over their projects."""

    def __init__(self) -> None:
        self._levels: dict[Urgency, _Lines] = {urgency: {} for urgency in Urgency}
        self._in_a_row = 0

    def __bool__(self) -> bool:
        return any(self._levels.values())

    async def wait(self, turn: Turn, project: str, give_back: Callable[[], None]) -> None:
        """Wait until `let_go` chooses this call.

        Args:
            turn: For whom it is.
            project: The project that it is about.
            give_back: Called if the caller is cancelled after it was chosen.

        Raises:
            BaseException: What `refuse_all` was given.
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
        """Choose the next call; its namespace and project, or `None` if there is none.

        Args:
            admits: Whether a call of this namespace and project may go; asked with the project
                `""` first, so that a namespace can be passed over as a whole.
        """
        while (chosen := self._choose(admits)) is not None:
            # Cancelled ones may not have noticed it yet: their turn is the next one's.
            namespace, project, future = chosen
            if not future.cancelled():
                future.set_result(None)
                return namespace, project
        return None

    def refuse_all(self, make: Callable[[], Exception]) -> None:
        """Let each call that waits fail."""
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
                    # Popped and put in again: the next turns are those of the others.
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
