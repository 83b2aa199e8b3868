"""A refused credential is not tried again soon, and never often enough to be locked."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cse_operator.cloud.auth.breaker import CredentialBreaker, RefusalBudget
from cse_operator.cloud.errors import CloudError
from cse_operator.core.failure import Failure, FailureKind
from support.cloud_calls import FakeTime, fails

REFUSAL = Failure(FailureKind.UNAUTHENTICATED, "verify aksk signature fail", 401, "APIGW.0301")


def make_breaker(time: FakeTime, jitter: float = 0.0) -> CredentialBreaker:
    return CredentialBreaker(cooling=300, clock=time, jitter=lambda: jitter)


async def attempt(breaker: CredentialBreaker, *, good: bool) -> bool:
    """Make one call through the breaker; return whether it went out."""
    try:
        async with breaker.attempt():
            if good:
                breaker.accepted()
            else:
                breaker.refused(REFUSAL)
    except CloudError:
        return False
    return True


async def test_after_a_refusal_nothing_goes_out_for_the_cooling_period() -> None:
    time = FakeTime()
    breaker = make_breaker(time)
    assert await attempt(breaker, good=False)
    time.advance(299)
    with fails(FailureKind.UNAUTHENTICATED) as caught:
        async with breaker.attempt():
            pytest.fail("nothing was to go out")
    assert caught.failure.retry_after == pytest.approx(1)
    assert caught.failure.code == "APIGW.0301"
    assert caught.failure.message.startswith("verify aksk signature fail; ")
    time.advance(2)
    assert await attempt(breaker, good=True)
    assert breaker.hold_back == 0


async def test_the_words_do_not_change_while_the_time_runs() -> None:
    time = FakeTime()
    breaker = make_breaker(time)
    await attempt(breaker, good=False)
    messages = set()
    for _ in range(3):
        time.advance(10)
        with fails(FailureKind.UNAUTHENTICATED) as caught:
            async with breaker.attempt():
                pytest.fail("nothing was to go out")
        messages.add(caught.failure.message)
    assert len(messages) == 1


async def test_an_unproven_credential_goes_out_one_call_at_a_time() -> None:
    breaker = make_breaker(FakeTime())
    under_way = 0
    most = 0

    async def call() -> None:
        nonlocal under_way, most
        async with breaker.attempt():
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1

    await asyncio.gather(*(call() for _ in range(10)))
    assert most == 1


async def test_one_refusal_answers_all_that_waited_for_it() -> None:
    breaker = make_breaker(FakeTime())
    sent = 0

    async def call() -> None:
        nonlocal sent
        async with breaker.attempt():
            sent += 1
            await asyncio.sleep(0)
            breaker.refused(REFUSAL)

    results = await asyncio.gather(*(call() for _ in range(50)), return_exceptions=True)
    assert sent == 1
    assert sum(isinstance(result, CloudError) for result in results) == 49


async def test_a_proven_credential_goes_out_without_a_limit() -> None:
    time = FakeTime()
    breaker = make_breaker(time)
    await attempt(breaker, good=True)
    everybody = asyncio.Barrier(10)

    async def call() -> None:
        async with breaker.attempt():
            await everybody.wait()

    await asyncio.gather(*(call() for _ in range(10)))


async def test_a_call_without_a_verdict_lets_the_next_one_try() -> None:
    breaker = make_breaker(FakeTime())
    with pytest.raises(ConnectionError):
        async with breaker.attempt():
            raise ConnectionError
    assert await attempt(breaker, good=True)


async def test_calls_under_way_when_a_credential_goes_bad_count_as_one_refusal() -> None:
    time = FakeTime()
    breaker = make_breaker(time)
    await attempt(breaker, good=True)
    everybody = asyncio.Barrier(10)

    async def call() -> None:
        async with breaker.attempt():
            await everybody.wait()
            breaker.refused(REFUSAL)

    await asyncio.gather(*(call() for _ in range(10)))
    assert breaker.hold_back == pytest.approx(300)


@given(
    steps=st.lists(st.tuples(st.floats(0, 2000), st.integers(1, 20)), max_size=60),
    jitter=st.floats(0, 1),
)
async def test_however_often_a_bad_credential_is_wanted_refusals_stay_rare(
    steps: list[tuple[float, int]], jitter: float
) -> None:
    """There is at most one refusal per cool-down, which doubles up to an hour."""
    time = FakeTime(0)
    breaker = make_breaker(time, jitter)
    refusals: list[float] = []
    for pause, callers in steps:
        time.advance(pause)
        sent = await asyncio.gather(*(attempt(breaker, good=False) for _ in range(callers)))
        refusals += [time.now] * sum(sent)
    gaps = [later - earlier for earlier, later in pairwise(refusals)]
    assert all(gap >= min(300 * 2**number, 3600) for number, gap in enumerate(gaps))


async def test_once_the_clock_is_mended_its_refusal_holds_nothing_back() -> None:
    time, offset = FakeTime(), [1000.0]
    budget = RefusalBudget(clock=time, offset=lambda: offset[0])
    breakers = [
        CredentialBreaker("sk", budget, clock=time, offset=lambda: offset[0]) for _ in range(5)
    ]
    for breaker in breakers[:4]:
        async with breaker.attempt():
            breaker.refused(REFUSAL, clock_at_fault=True)
    for breaker in breakers:
        assert not await attempt(breaker, good=True)
    offset[0] += 1800
    for breaker in breakers:
        assert await attempt(breaker, good=True)


async def test_an_accepted_call_forgives_the_refusals_before_it() -> None:
    time = FakeTime()
    breaker = make_breaker(time)
    for good in (False, False, False, True, False):
        assert await attempt(breaker, good=good)
        time.advance(4000 if not good else 0)
    assert await attempt(breaker, good=True)
