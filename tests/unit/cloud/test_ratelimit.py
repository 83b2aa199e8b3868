"""The project's limit, with a clock that moves only when somebody sleeps."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cse_operator.cloud.errors import ThrottledError
from cse_operator.cloud.ratelimit import TokenBucket
from support.cloud_calls import FakeTime, fails


def make_bucket(time: FakeTime, rate: float = 10, **options: float) -> TokenBucket:
    return TokenBucket(rate, clock=time, sleep=time.sleep, **options)


async def test_a_burst_goes_at_once_and_then_the_rate_holds() -> None:
    time = FakeTime(0)
    bucket = make_bucket(time, rate=10, burst=5)
    for _ in range(5):
        await bucket.acquire()
    assert time.now == 0
    for _ in range(20):
        await bucket.acquire()
    assert time.now == pytest.approx(2.0)


@given(
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=40),
    rate=st.floats(0.5, 50),
    burst=st.floats(1, 20),
)
async def test_no_stretch_of_time_lets_more_through_than_it_may(
    gaps: list[float], rate: float, burst: float
) -> None:
    time = FakeTime(0)
    bucket = make_bucket(time, rate, burst=burst, max_wait=1e9)
    passed: list[float] = []
    for gap in gaps:
        time.advance(gap)
        await bucket.acquire()
        passed.append(time.now)
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            allowed = burst + (passed[last] - start) * rate
            assert last - first + 1 <= allowed + 1e-6 * rate + 1e-6


async def test_a_pause_holds_everything_back_and_then_it_goes_on() -> None:
    time = FakeTime(0)
    bucket = make_bucket(time)
    bucket.penalize(3)
    bucket.penalize(1)
    assert bucket.pause == 3
    await bucket.acquire()
    assert time.now == pytest.approx(3)
    assert bucket.throttled_seconds == pytest.approx(3)


async def test_a_pause_that_is_too_long_refuses_at_once_and_says_for_how_long() -> None:
    time = FakeTime(0)
    bucket = make_bucket(time, max_wait=10)
    bucket.penalize(60)
    with fails(ThrottledError) as caught:
        await bucket.acquire()
    assert caught.failure.retry_after == pytest.approx(60)
    assert time.now == 0


async def test_a_pause_that_begins_while_one_waits_refuses_as_well() -> None:
    time = FakeTime(0)

    async def sleep(seconds: float) -> None:
        await time.sleep(seconds)
        bucket.penalize(60)

    bucket = TokenBucket(1, burst=1, max_wait=10, clock=time, sleep=sleep)
    await bucket.acquire()
    with fails(ThrottledError):
        await bucket.acquire()


class Turnstile:
    """Sleeps that end when the test says so, to look at who waits."""

    def __init__(self, time: FakeTime) -> None:
        self._time = time
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self._sleepers.append((self._time.now + seconds, event))
        await event.wait()

    async def advance(self, seconds: float) -> None:
        """Move the clock, and let everybody do what they then can."""
        self._time.advance(seconds)
        due = [event for until, event in self._sleepers if until <= self._time.now + 1e-9]
        self._sleepers = [pair for pair in self._sleepers if pair[1] not in due]
        for event in due:
            event.set()
        for _ in range(20):
            await asyncio.sleep(0)


async def test_changing_calls_go_before_reads_that_came_earlier() -> None:
    time = FakeTime(0)
    turnstile = Turnstile(time)
    bucket = TokenBucket(1, burst=1, max_wait=100, clock=time, sleep=turnstile.sleep)
    await bucket.acquire()
    order: list[str] = []

    async def call(name: str, *, urgent: bool) -> None:
        await bucket.acquire(urgent=urgent)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(call("read 1", urgent=False))
        group.create_task(call("read 2", urgent=False))
        await asyncio.sleep(0)
        group.create_task(call("put 1", urgent=True))
        group.create_task(call("put 2", urgent=True))
        await asyncio.sleep(0)
        while len(order) < 4:
            await turnstile.advance(0.5)
    assert order == ["put 1", "put 2", "read 1", "read 2"]


async def test_reads_have_their_turn_among_many_changing_calls() -> None:
    time = FakeTime(0)
    turnstile = Turnstile(time)
    bucket = TokenBucket(1, burst=1, max_wait=100, clock=time, sleep=turnstile.sleep)
    await bucket.acquire()
    order: list[str] = []

    async def call(name: str, *, urgent: bool) -> None:
        await bucket.acquire(urgent=urgent)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(call("read", urgent=False))
        for _ in range(8):
            group.create_task(call("put", urgent=True))
        await asyncio.sleep(0)
        while len(order) < 10:
            await turnstile.advance(0.5)
    assert order == ["put"] * 3 + ["read"] + ["put"] * 3 + ["read"] + ["put"] * 2


async def test_a_call_that_gives_up_leaves_its_place_to_the_others() -> None:
    time = FakeTime(0)
    turnstile = Turnstile(time)
    bucket = TokenBucket(1, burst=1, max_wait=100, clock=time, sleep=turnstile.sleep)
    await bucket.acquire()
    leaving = asyncio.create_task(bucket.acquire(urgent=True))
    staying = asyncio.create_task(bucket.acquire())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    for _ in range(4):
        await turnstile.advance(1)
    assert staying.done()


async def test_a_long_pause_counts_as_it_passes_however_many_calls_it_sends_away() -> None:
    time = FakeTime(0)
    bucket = make_bucket(time)
    bucket.penalize(60)
    for _ in range(10):
        with fails(ThrottledError):
            await bucket.acquire()
        time.advance(3)
    assert bucket.throttled_seconds == pytest.approx(30)
    time.advance(300)
    assert bucket.throttled_seconds == pytest.approx(60)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=20))
async def test_pauses_that_overlap_count_once(pauses: list[tuple[float, float]]) -> None:
    time = FakeTime(0)
    bucket = make_bucket(time)
    end = paused = 0.0
    for gap, seconds in pauses:
        paused += min(gap, max(end - time.now, 0.0))
        time.advance(gap)
        bucket.penalize(seconds)
        end = max(end, time.now + seconds)
        assert bucket.throttled_seconds == pytest.approx(paused)


async def test_calls_that_wait_for_the_same_pause_do_not_count_it_again() -> None:
    time = FakeTime(0)
    bucket = make_bucket(time, rate=10)
    bucket.penalize(5)
    await asyncio.gather(*(bucket.acquire() for _ in range(3)))
    assert bucket.throttled_seconds == pytest.approx(5)


async def test_calls_that_our_own_limit_sends_away_count_as_held_back() -> None:
    time = FakeTime(0)
    turnstile = Turnstile(time)
    bucket = TokenBucket(1, burst=1, max_wait=2, clock=time, sleep=turnstile.sleep)
    await bucket.acquire()
    waiting = [asyncio.create_task(bucket.acquire()) for _ in range(2)]
    await asyncio.sleep(0)
    with fails(ThrottledError):
        await bucket.acquire()
    assert bucket.throttled_seconds == pytest.approx(3)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_two_projects_do_not_slow_each_other() -> None:
    time = FakeTime(0)
    slow, other = make_bucket(time), make_bucket(time)
    slow.penalize(60)
    await other.acquire()
    assert time.now == 0
    assert other.throttled_seconds == 0


def test_a_rate_has_to_be_above_zero() -> None:
    with pytest.raises(ValueError, match="rate"):
        TokenBucket(0)
