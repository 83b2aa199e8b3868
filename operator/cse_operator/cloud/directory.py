"""Looks at a project's engines, with as few calls as the looks allow.

One look is one ShowEngine. When many are wanted at once, one ListEngines answers them all:
a row of the list has all that a decision needs, the `latestJobId` included (Huawei Cloud
CSE API Reference, ListEngines; checked against the vendor's SDK model EngineSimpleInfo).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from cse_operator.cloud.clock import boottime
from cse_operator.core.observation import EngineView, JobView

LISTING_FROM: Final = 8
"""So many looks under way at once make a listing cheaper than one more single look."""

ENGINES_PER_PAGE: Final = 1000
"""What one call of a listing is taken to bring, when listings and looks are weighed."""

SHARED_TIMES: Final = 4
"""A listing is shared for so many times as long as it took: a large project, whose pages take a
while to read, would else be listed without end in a burst."""

SECONDS_PER_CALL: Final = 0.5
"""A listing is shared for so many seconds for each of its calls after the first: large projects
are not listed by more than two calls a second, however fast they are answered."""

LONG_SHARED: Final = 8.0
"""Seconds, about half of what a decision may be old (`Policy.look_valid`), above which a listing is
shared for no longer than it took once more."""


class Look(NamedTuple):
    """A look at an engine, and when it began and was answered (by the directory's clock)."""

    engine: EngineView
    began: float
    answered: float


class EngineReader(Protocol):
    """The reading half of the vendor's API, for one project and one credential."""

    async def list_engines(self) -> Sequence[EngineView]:
        """All engines of the project."""

    async def show_engine(self, engine_id: str) -> EngineView:
        """One engine."""

    async def show_job(self, engine_id: str, job_id: int) -> JobView:
        """One job of an engine."""


class EngineDirectory:
    """What is known of the engines of one project that somebody is attached to.

    Args:
        reader: the vendor's API.
        on_change: called with an engine's id when a listing shows it otherwise than it was
            known, for engines that are attached.
        fresh_for: seconds after its start for which a listing still counts as a fresh look.
            Far shorter than what the vendor's own reads may lag.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        reader: EngineReader,
        on_change: Callable[[str], None],
        *,
        fresh_for: float = 1.0,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self._reader = reader
        self._on_change = on_change
        self._fresh_for = fresh_for
        self._clock = clock
        self._known: dict[str, int | None] = {}
        self._snapshot: Mapping[str, EngineView] = {}
        self._engines = 0
        self._snapshot_started = float("-inf")
        self._snapshot_seconds = 0.0
        self._listing: asyncio.Task[Mapping[str, EngineView]] | None = None
        self._looking = 0

    @property
    def listing_calls(self) -> int:
        """How many calls a listing takes, as far as the last one tells."""
        return max(1, -(-self._engines // ENGINES_PER_PAGE))

    @property
    def shared_for(self) -> float:
        """Seconds for which a listing is shared because of what it cost, from its start."""
        took, more_calls = self._snapshot_seconds, self.listing_calls - 1
        wanted = max(SHARED_TIMES * took, SECONDS_PER_CALL * more_calls)
        return max(2 * took, min(wanted, LONG_SHARED))

    @property
    def attached(self) -> int:
        """How many engines somebody is attached to."""
        return len(self._known)

    def attach(self, engine_id: str) -> None:
        """Keep what is seen of this engine, and report when it changes."""
        self._known.setdefault(engine_id, None)

    def detach(self, engine_id: str) -> None:
        """Forget this engine."""
        self._known.pop(engine_id, None)

    async def look(self, engine_id: str, *, directly: bool = False) -> Look:
        """Look at an engine now.

        Args:
            engine_id: the engine.
            directly: never answer from a listing that began before this call.

        Raises:
            CloudError: when the vendor does not answer, or knows no such engine.
        """
        if directly:
            return await self._show(engine_id)
        if engine_id in self._snapshot and self._is_fresh():
            return self._listed(self._snapshot[engine_id])
        if self._listing is None and self._looking < max(LISTING_FROM, self.listing_calls):
            self._looking += 1
            try:
                return await self._show(engine_id)
            finally:
                self._looking -= 1
        listed = (await self.list_now()).get(engine_id)
        return self._listed(listed) if listed else await self._show(engine_id)

    def _listed(self, view: EngineView) -> Look:
        """A look that the last listing answers; what it shows is no news to who looks."""
        self._note(view.engine_id, view)
        return Look(view, self._snapshot_started, self._snapshot_started + self._snapshot_seconds)

    def _note(self, engine_id: str, view: EngineView) -> None:
        if engine_id in self._known:
            self._known[engine_id] = _digest(view)

    async def _show(self, engine_id: str) -> Look:
        began = self._clock()
        view = await self._reader.show_engine(engine_id)
        self._note(engine_id, view)
        return Look(view, began, self._clock())

    async def list_now(self, *, at_most_old: float = 0.0) -> Mapping[str, EngineView]:
        """List all engines; callers that come while a listing runs share it.

        Args:
            at_most_old: a listing that began so many seconds ago, or later, will do.

        Raises:
            CloudError: when the vendor does not answer.
        """
        if self._snapshot and self._clock() - self._snapshot_started < at_most_old:
            return self._snapshot
        if self._listing is None:
            self._listing = asyncio.create_task(self._list())
            self._listing.add_done_callback(self._listing_done)
        return await asyncio.shield(self._listing)

    def _listing_done(self, task: asyncio.Task[Mapping[str, EngineView]]) -> None:
        self._listing = None
        if not task.cancelled():
            # Retrieved here, so that a listing nobody waits for any more ends quietly;
            # those who wait get the exception from their own await.
            task.exception()

    async def _list(self) -> Mapping[str, EngineView]:
        started = self._clock()
        engines = {view.engine_id: view for view in await self._reader.list_engines()}
        self._snapshot, self._snapshot_started = engines, started
        self._snapshot_seconds = self._clock() - started
        self._engines = len(engines)
        asyncio.get_running_loop().call_later(self._valid_for() + 0.5, self._drop_if_stale)
        for engine_id, before in list(self._known.items()):
            now = _digest(engines.get(engine_id))
            if now != before:
                self._known[engine_id] = now
                self._on_change(engine_id)
        return engines

    def _drop_if_stale(self) -> None:
        """Ten thousand engines at rest must not stay in memory for a look that never comes."""
        if not self._is_fresh():
            self._snapshot = {}

    def _is_fresh(self) -> bool:
        return self._clock() - self._snapshot_started <= self._valid_for()

    def _valid_for(self) -> float:
        return self._fresh_for + self.shared_for


def _digest(engine: EngineView | None) -> int | None:
    """Tells whether an engine changed in what decides or is shown, in a few bytes.

    In thirty bits: one change in a billion goes unseen by a listing, until there is another one
    or somebody looks at the engine itself.
    """
    if engine is None:
        return None
    shown = (
        engine.version,
        engine.status,
        engine.latest_job_id,
        engine.latest_version,
        engine.additional_actions,
        engine.name,
    )
    return hash(shown) & (2**30 - 1)
