"""How often running jobs are looked at: rarer, the more of them run in a project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Final

SHARE: Final = 0.22
"""The share of a project's limit for ShowEngineJob that polls take: a quarter, jitter included."""


class Polls:
    """Knows how many jobs run in each project.

    Args:
        interval: seconds between looks at a job, where few run.
        limit: calls a second that a project allows for this call.
    """

    def __init__(self, *, interval: float, limit: float) -> None:
        self._interval = interval
        self._limit = limit
        self._project_of: dict[str, Hashable] = {}
        self._running: Counter[Hashable] = Counter()

    def runs(self, key: str, project: Hashable) -> None:
        """A job of this resource runs in a project."""
        if self._project_of.get(key) == project:
            return
        self.ended(key)
        self._project_of[key] = project
        self._running[project] += 1

    def ended(self, key: str) -> None:
        """No job of this resource runs."""
        project = self._project_of.pop(key, None)
        if project is not None:
            self._running[project] -= 1
            if not self._running[project]:
                del self._running[project]

    def interval(self, project: Hashable) -> float:
        """Seconds between looks at a job in a project."""
        return max(self._interval, self._running[project] / (self._limit * SHARE))
