"""The rate limit of one call in one project: calls queue in an order that starves none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cse_operator.cloud.answers import Operation
from cse_operator.cloud.fairness import Turn, Urgency
from cse_operator.cloud.ratelimit import LONGEST_PAUSE_WAITED_FOR, RateLimit
from cse_operator.core.failure import FailureKind
from support.cloud_calls import FakeTime, fails, project_limits

LOOK = Turn(Urgency.POLL, "a")


class Loop:
    """A clock and a `call_later` that obeys it; both move only when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, Callable[[], None]]] = []

    def __call__(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._due.append((self.now + seconds, callback))

    async def advance(self, seconds: float) -> None:
        """Move the clock step by step, and let all tasks run after each step."""
        end = self.now + seconds
        await settle()
        while self._due and min(self._due)[0] <= end + 1e-9:
            self._due.sort(key=lambda due: due[0])
            self.now, callback = self._due.pop(0)
            callback()
            await settle()
        self.now = end


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def limit(loop: Loop) -> RateLimit:
    """A limit of one call per second, with the first call already gone."""
    limit = RateLimit(1, clock=loop, call_later=loop.call_later)
    limit._tokens = 0.0
    return limit


class Callers:
    """Calls that wait for a limit, and the order in which they left."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self.went: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, name: str, turn: Turn, count: int = 1) -> asyncio.Task[None]:
        async def call() -> None:
            await self._limit.acquire(turn)
            self.went.append(name)

        tasks = [asyncio.create_task(call()) for _ in range(count)]
        self.tasks += tasks
        await settle()
        return tasks[-1]


@pytest.fixture
def callers(limit: RateLimit) -> Callers:
    return Callers(limit)


async def test_a_burst_goes_at_once_and_then_the_rate_holds() -> None:
    time = FakeTime(0)
    limit = RateLimit(10, clock=time, call_later=time.call_later)
    for _ in range(10):
        await limit.acquire(LOOK)
    assert time.now == 0
    for _ in range(20):
        await limit.acquire(LOOK)
    assert time.now == pytest.approx(2.0)


@given(gaps=st.lists(st.floats(0, 3), min_size=1, max_size=40), rate=st.floats(0.5, 50))
async def test_no_stretch_of_time_lets_more_through_than_it_may(
    gaps: list[float], rate: float
) -> None:
    time = FakeTime(0)
    limit = RateLimit(rate, clock=time, call_later=time.call_later)
    passed: list[float] = []
    for gap in gaps:
        time.advance(gap)
        await limit.acquire(LOOK)
        passed.append(time.now)
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            allowed = max(rate, 1) + (passed[last] - start) * rate
            assert last - first + 1 <= allowed + 1e-6 * rate + 1e-6


async def test_five_thousand_calls_take_their_time_and_none_is_refused(
    loop: Loop,
) -> None:
    limit = RateLimit(100, clock=loop, call_later=loop.call_later)
    callers = Callers(limit)
    await callers.come("look", LOOK, 5_000)
    await loop.advance(49.1)
    assert len(callers.went) == 5_000


async def test_changes_go_before_polls_and_polls_before_what_is_at_rest(
    loop: Loop, callers: Callers
) -> None:
    await callers.come("resync", Turn(Urgency.RESYNC))
    await callers.come("poll", Turn(Urgency.POLL))
    await callers.come("change", Turn(Urgency.CHANGE))
    await loop.advance(3)
    assert callers.went == ["change", "poll", "resync"]


async def test_what_is_at_rest_has_its_turn_among_very_many_changes(
    loop: Loop, callers: Callers
) -> None:
    await callers.come("change", Turn(Urgency.CHANGE), 8)
    await callers.come("resync", Turn(Urgency.RESYNC), 2)
    await loop.advance(10)
    assert (
        callers.went == ["change"] * 3 + ["resync"] + ["change"] * 3 + ["resync"] + ["change"] * 2
    )


async def test_one_call_of_another_namespace_goes_after_one_of_thousands(
    loop: Loop, callers: Callers
) -> None:
    await callers.come("crowd", Turn(Urgency.CHANGE, "crowded"), 2_000)
    await callers.come("lone", Turn(Urgency.CHANGE, "quiet"))
    await loop.advance(2)
    assert callers.went == ["crowd", "lone"]
    for task in callers.tasks:
        task.cancel()
    await asyncio.gather(*callers.tasks, return_exceptions=True)


async def test_a_call_that_gives_up_leaves_its_place_to_the_others(
    loop: Loop, limit: RateLimit, callers: Callers
) -> None:
    leaving = await callers.come("leaving", LOOK)
    await callers.come("staying", LOOK)
    leaving.cancel()
    await loop.advance(1)
    assert callers.went == ["staying"]
    assert not limit._waiting


async def test_what_was_given_to_a_call_that_is_cancelled_then_goes_to_the_next(
    loop: Loop, limit: RateLimit, callers: Callers
) -> None:
    leaving = await callers.come("leaving", LOOK)
    await callers.come("staying", LOOK)
    loop.now = 1.0
    limit._let_go()  # the call is chosen, and cancelled before it can notice
    leaving.cancel()
    await settle()
    assert callers.went == ["staying"]


async def test_a_pause_holds_a_call_back_and_then_it_goes_on(
    loop: Loop, limit: RateLimit, callers: Callers
) -> None:
    limit.penalize(5)
    limit.penalize(1)
    assert limit.pause == 5
    await callers.come("look", LOOK)
    await loop.advance(4.9)
    assert callers.went == []
    await loop.advance(0.2)
    assert callers.went == ["look"]


async def test_a_long_pause_is_not_waited_for_but_said(
    loop: Loop, limit: RateLimit, callers: Callers
) -> None:
    waiting = await callers.come("look", LOOK)
    limit.penalize(60)
    with fails(FailureKind.THROTTLED) as caught:
        await waiting
    assert caught.failure.retry_after == pytest.approx(60)
    with fails(FailureKind.THROTTLED):
        await limit.acquire(LOOK)
    await loop.advance(60 - LONGEST_PAUSE_WAITED_FOR)
    await callers.come("later", LOOK)
    await loop.advance(LONGEST_PAUSE_WAITED_FOR)
    assert callers.went == ["later"]


async def test_each_call_of_a_project_has_a_limit_and_a_pause_of_its_own() -> None:
    limits = project_limits(1)
    limits.penalize(Operation.SHOW_ENGINE, 60)
    await limits.acquire(Operation.UPGRADE, LOOK)
    await limits.acquire(Operation.SHOW_JOB, LOOK)
    with fails(FailureKind.THROTTLED):
        await limits.acquire(Operation.SHOW_ENGINE, LOOK)


def test_a_rate_has_to_be_above_zero() -> None:
    with pytest.raises(ValueError, match="rate"):
        RateLimit(0)
