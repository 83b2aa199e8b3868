"""How often running jobs are looked at: less often, the more of them run in a project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Final

SHARE: Final = 0.22
"""The share of a project's limit for ShowEngineJob that polls use: a quarter, jitter included."""


class Polls:
    """Knows how many jobs run in each project.

    Args:
        interval: seconds between looks at a job while few jobs run.
        limit: calls per second that a project allows for ShowEngineJob.
    """

    def __init__(self, *, interval: float, limit: float) -> None:
        self._interval = interval
        self._limit = limit
        self._project_of: dict[str, Hashable] = {}
        self._running: Counter[Hashable] = Counter()

    def runs(self, key: str, project: Hashable) -> None:
        """Note that a job of this resource runs in a project."""
        if self._project_of.get(key) == project:
            return
        self.ended(key)
        self._project_of[key] = project
        self._running[project] += 1

    def ended(self, key: str) -> None:
        """Note that no job of this resource runs."""
        project = self._project_of.pop(key, None)
        if project is not None:
            self._running[project] -= 1
            if not self._running[project]:
                del self._running[project]

    def interval(self, project: Hashable) -> float:
        """Return the seconds between looks at a job in a project."""
        return max(self._interval, self._running[project] / (self._limit * SHARE))
