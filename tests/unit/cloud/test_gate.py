"""A refused credential is not tried again soon, and never often enough to be locked."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.gate import AuthenticationGate
from cse_operator.core.failure import Failure, FailureKind
from support.cloud_calls import FakeTime, fails

REFUSAL = Failure(FailureKind.UNAUTHENTICATED, "verify aksk signature fail", 401, "APIGW.0301")


HERE = "https://cse.here.example.com"
ELSEWHERE = "https://cse.elsewhere.example.com"


def make_gate(time: FakeTime, jitter: float = 0.0) -> AuthenticationGate:
    return AuthenticationGate(cooling=300, clock=time, jitter=lambda: jitter)


async def attempt(gate: AuthenticationGate, *, good: bool) -> bool:
    """One call through the gate; returns whether it went out."""
    try:
        async with gate.attempt(HERE):
            if good:
                gate.accepted()
            else:
                gate.refused(REFUSAL)
    except CloudError:
        return False
    return True


async def test_after_a_refusal_nothing_goes_out_for_the_cooling_period() -> None:
    time = FakeTime()
    gate = make_gate(time)
    assert await attempt(gate, good=False)
    time.advance(299)
    with fails(FailureKind.UNAUTHENTICATED) as caught:
        async with gate.attempt(HERE):
            pytest.fail("the gate was open")
    assert caught.failure.retry_after == pytest.approx(1)
    assert caught.failure.code == "APIGW.0301"
    assert caught.failure.message.startswith("verify aksk signature fail; ")
    time.advance(2)
    assert await attempt(gate, good=True)
    assert gate.hold_back == 0


async def test_the_words_do_not_change_while_the_time_runs() -> None:
    time = FakeTime()
    gate = make_gate(time)
    await attempt(gate, good=False)
    messages = set()
    for _ in range(3):
        time.advance(10)
        with fails(FailureKind.UNAUTHENTICATED) as caught:
            async with gate.attempt(HERE):
                pytest.fail("the gate was open")
        messages.add(caught.failure.message)
    assert len(messages) == 1


async def test_an_unproven_credential_goes_out_one_call_at_a_time() -> None:
    gate = make_gate(FakeTime())
    under_way = 0
    most = 0

    async def call() -> None:
        nonlocal under_way, most
        async with gate.attempt(HERE):
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1

    await asyncio.gather(*(call() for _ in range(10)))
    assert most == 1


async def test_an_endpoint_that_does_not_answer_holds_up_no_other_one() -> None:
    gate = make_gate(FakeTime())
    silent = asyncio.Event()

    async def call_into_the_void() -> None:
        async with gate.attempt(HERE):
            await silent.wait()

    async with asyncio.timeout(10), asyncio.TaskGroup() as calls:
        waiting = [calls.create_task(call_into_the_void()) for _ in range(10)]
        await asyncio.sleep(0)
        async with gate.attempt(ELSEWHERE):
            assert not any(call.done() for call in waiting)
            gate.accepted()
        silent.set()


async def test_a_refusal_at_one_endpoint_closes_the_gate_to_all() -> None:
    gate = make_gate(FakeTime())
    async with gate.attempt(HERE):
        gate.refused(REFUSAL)
    with fails(FailureKind.UNAUTHENTICATED):
        async with gate.attempt(ELSEWHERE):
            pytest.fail("the gate was open")


async def test_one_refusal_answers_all_that_waited_for_it() -> None:
    gate = make_gate(FakeTime())
    sent = 0

    async def call() -> None:
        nonlocal sent
        async with gate.attempt(HERE):
            sent += 1
            await asyncio.sleep(0)
            gate.refused(REFUSAL)

    results = await asyncio.gather(*(call() for _ in range(50)), return_exceptions=True)
    assert sent == 1
    assert sum(isinstance(result, CloudError) for result in results) == 49


async def test_a_proven_credential_goes_out_as_often_as_wished() -> None:
    time = FakeTime()
    gate = make_gate(time)
    await attempt(gate, good=True)
    everybody = asyncio.Barrier(10)

    async def call() -> None:
        async with gate.attempt(HERE):
            await everybody.wait()

    await asyncio.gather(*(call() for _ in range(10)))


async def test_a_call_without_a_verdict_lets_the_next_one_try() -> None:
    gate = make_gate(FakeTime())
    with pytest.raises(ConnectionError):
        async with gate.attempt(HERE):
            raise ConnectionError
    assert await attempt(gate, good=True)


async def test_calls_under_way_when_a_credential_goes_bad_count_as_one_refusal() -> None:
    time = FakeTime()
    gate = make_gate(time)
    await attempt(gate, good=True)
    everybody = asyncio.Barrier(10)

    async def call() -> None:
        async with gate.attempt(HERE):
            await everybody.wait()
            gate.refused(REFUSAL)

    await asyncio.gather(*(call() for _ in range(10)))
    assert gate.hold_back == pytest.approx(300)


@given(
    steps=st.lists(st.tuples(st.floats(0, 2000), st.integers(1, 20)), max_size=60),
    jitter=st.floats(0, 1),
)
async def test_however_often_a_bad_credential_is_wanted_refusals_stay_rare(
    steps: list[tuple[float, int]], jitter: float
) -> None:
    """At most one in a cooling period, and never five without a pause of an hour among them."""
    time = FakeTime(0)
    gate = make_gate(time, jitter)
    refusals: list[float] = []
    for pause, callers in steps:
        time.advance(pause)
        sent = await asyncio.gather(*(attempt(gate, good=False) for _ in range(callers)))
        refusals += [time.now] * sum(sent)
    gaps = [later - earlier for earlier, later in pairwise(refusals)]
    assert all(gap >= 300 for gap in gaps)
    assert all(max(gaps[i : i + 4]) >= 3600 for i in range(len(gaps) - 3))


async def test_an_accepted_call_forgives_the_refusals_before_it() -> None:
    time = FakeTime()
    gate = make_gate(time)
    for good in (False, False, False, True, False):
        assert await attempt(gate, good=good)
        time.advance(400)
    assert await attempt(gate, good=True)
