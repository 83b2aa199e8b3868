"""Follows all running jobs of one project together.

A round asks ListEngines once, however many jobs run, and ShowEngineJob only where the list
shows that something changed, and for ten jobs in turn, whose steps people like to see. Only
a job's own top-level status ends it: an engine that is not `Upgrading` may be one whose
reads lag behind the call (Huawei Cloud CSE API Reference, ShowEngineJob).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cse_operator.cloud.clock import boottime
from cse_operator.cloud.directory import EngineDirectory, EngineReader
from cse_operator.cloud.errors import CloudError
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.observation import EngineView, JobView
from cse_operator.core.vendor_states import JOB_ENDINGS

logger = logging.getLogger(__name__)

STEPS_PER_ROUND: Final = 10
"""So many jobs are looked at in each round for their steps; with no more than these, no
listing is needed."""

CONCURRENT_LOOKS: Final = 16

SHARED_FOR: Final = 1.0
"""Seconds for which a listing that others asked for serves a round as well; at most half of the
time between rounds."""

LAG_LIMIT: Final = 30.0
"""Seconds for which an engine that still shows an older job is taken to lag."""

UPGRADING: Final = "Upgrading"


@dataclass(slots=True)
class _Followed:
    engine_id: str
    job_id: int
    since: float
    shown: JobView | Failure | None = None

    @property
    def ended(self) -> bool:
        """Whether the job's end was reported: there is nothing more to ask."""
        return isinstance(self.shown, JobView) and self.shown.status in JOB_ENDINGS


class JobFollower:
    """Reports each change of each followed job, until it is no longer followed.

    Args:
        reader: the vendor's API.
        directory: shares its listings with the looks at engines.
        on_news: called with the key of the one who follows, the job's id, and the job or why
            it cannot be seen. Only called when that differs from what was reported last.
        interval: seconds from the beginning of a round to that of the next.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        reader: EngineReader,
        directory: EngineDirectory,
        on_news: Callable[[str, int, JobView | Failure], None],
        *,
        interval: float,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self._reader = reader
        self._directory = directory
        self._on_news = on_news
        self._interval = interval
        self._clock = clock
        self._followed: dict[str, _Followed] = {}
        self._something_to_follow = asyncio.Event()

    def __len__(self) -> int:
        return len(self._followed)

    def follow(self, key: str, engine_id: str, job_id: int) -> None:
        """Follow a job on behalf of `key`; following it already changes nothing."""
        known = self._followed.get(key)
        if known is not None and known.job_id == job_id:
            return
        self._followed[key] = _Followed(engine_id, job_id, since=self._clock())
        self._something_to_follow.set()

    def unfollow(self, key: str) -> None:
        """Stop following for `key`, if it does."""
        if self._followed.pop(key, None) is not None and not self._followed:
            self._something_to_follow.clear()

    async def run(self) -> None:
        """Go round after round while there is something to follow; ends by cancellation."""
        pause = self._interval
        while True:
            await self._something_to_follow.wait()
            await asyncio.sleep(pause)
            began = self._clock()
            try:
                await self.round()
            except Exception:
                # Nobody foresaw it, and nobody else would go on following.
                logger.exception("a round of looks at running jobs failed; the next one follows")
            # Rounds begin an interval apart, and there is a rest after one that takes long.
            pause = max(self._interval - (self._clock() - began), self._interval / 2)

    async def round(self) -> None:
        """Ask once about everything that is followed."""
        try:
            asked = await self._whom_to_ask()
        except CloudError as error:
            for key in [key for key, followed in self._followed.items() if not followed.ended]:
                self._report(key, error.failure)
            return
        gate = asyncio.Semaphore(CONCURRENT_LOOKS)
        async with asyncio.TaskGroup() as group:
            for key in asked:
                followed = self._followed.get(key)
                if followed is not None:
                    group.create_task(self._ask(key, followed, gate))

    async def _whom_to_ask(self) -> list[str]:
        running = [key for key, followed in self._followed.items() if not followed.ended]
        if len(running) <= STEPS_PER_ROUND:
            return running
        shared_for = max(min(self._interval / 2, SHARED_FOR), self._directory.shared_for)
        engines = await self._directory.list_now(at_most_old=shared_for)
        asked = dict.fromkeys(self._next_in_turn())
        asked.update(
            (key, None) for key in running if self._moved(self._followed.get(key), engines)
        )
        return list(asked)

    def _next_in_turn(self) -> list[str]:
        running = (key for key, followed in self._followed.items() if not followed.ended)
        chosen = list(itertools.islice(running, STEPS_PER_ROUND))
        for key in chosen:
            self._followed[key] = self._followed.pop(key)  # to the end of the turn
        return chosen

    def _moved(self, followed: _Followed | None, engines: Mapping[str, EngineView]) -> bool:
        """Whether the list shows a reason to look at this job itself."""
        if followed is None:
            return False  # no longer followed: somebody unfollowed it while the list was read
        if isinstance(followed.shown, Failure):
            return True
        engine = engines.get(followed.engine_id)
        if engine is None or engine.latest_job_id is None:
            return True
        if engine.latest_job_id < followed.job_id:
            return self._clock() - followed.since > LAG_LIMIT
        return engine.latest_job_id > followed.job_id or engine.status != UPGRADING

    async def _ask(self, key: str, followed: _Followed, gate: asyncio.Semaphore) -> None:
        async with gate:
            try:
                news: JobView | Failure = await self._reader.show_job(
                    followed.engine_id, followed.job_id
                )
            except CloudError as error:
                news = error.failure
            except Exception:
                # One job that nobody can make sense of must not hide the others.
                logger.exception("job %d could not be looked at", followed.job_id)
                news = Failure(FailureKind.TRANSIENT, "the job could not be looked at")
        if self._followed.get(key) is followed:
            self._report(key, news)

    def _report(self, key: str, news: JobView | Failure) -> None:
        followed = self._followed[key]
        before, followed.shown = followed.shown, news
        if _is_news(before, news):
            self._on_news(key, followed.job_id, news)


def _is_news(before: JobView | Failure | None, now: JobView | Failure) -> bool:
    """Whether a report says something that the last one did not.

    A failure is news each time, because patience is counted in failures.
    """
    if before is None or isinstance(now, Failure) or isinstance(before, Failure):
        return True
    return before.status != now.status or before.progress != now.progress
