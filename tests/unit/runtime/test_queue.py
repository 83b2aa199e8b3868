"""The queue: each key once in it, one worker at a time on it, and its earliest time counts."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cse_operator.runtime.queue import KeyedQueue
from support.cloud_calls import FakeTime
from support.fake_vendor import until_idle


async def test_keys_are_handed_out_in_the_order_in_which_they_came() -> None:
    queue = KeyedQueue()
    for key in ("a", "b", "c"):
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]


async def test_a_key_that_waits_already_is_not_queued_again() -> None:
    queue = KeyedQueue()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 1


async def test_a_key_that_is_worked_on_is_handed_out_again_only_when_the_work_is_over() -> None:
    queue = KeyedQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert len(queue) == 1
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_never_two_workers_on_one_key() -> None:
    queue = KeyedQueue()
    at_work: set[str] = set()
    worked: list[str] = []

    async def work() -> None:
        while True:
            key = await queue.get()
            assert key not in at_work
            at_work.add(key)
            await asyncio.sleep(0)
            at_work.discard(key)
            worked.append(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(4)]
    for number in range(60):
        queue.add(f"key {number % 3}")
        await asyncio.sleep(0)
    await until_idle()
    for worker in workers:
        worker.cancel()
    results = await asyncio.gather(*workers, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert set(worked) == {"key 0", "key 1", "key 2"}


async def test_workers_that_wait_get_a_key_each() -> None:
    queue = KeyedQueue()
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await until_idle()
    for key in ("a", "b", "c"):
        queue.add(key)
    assert await asyncio.gather(*workers) == ["a", "b", "c"]


async def test_a_worker_that_is_cancelled_takes_no_key_with_it() -> None:
    queue = KeyedQueue()
    leaving, staying = (asyncio.create_task(queue.get()) for _ in range(2))
    await until_idle()
    queue.add("a")
    leaving.cancel()
    assert await staying == "a"
    assert leaving.cancelled()


async def test_a_key_comes_at_its_time() -> None:
    queue = KeyedQueue()
    queue.add_after("late", 0.02)
    queue.add_after("early", 0.01)
    assert [await queue.get() for _ in range(2)] == ["early", "late"]


class Timed(KeyedQueue):
    """A queue whose clock and alarm are in the test's hand."""

    def __init__(self) -> None:
        self.time = FakeTime()
        super().__init__(clock=self.time)

    def pass_time(self, seconds: float) -> list[str]:
        """Let time pass, and return what came by it."""
        self.time.advance(seconds)
        self._ring()
        ready = list(self._ready)
        for key in ready:
            self._ready.remove(key)
            del self._since[key]
        return ready


async def test_the_earliest_of_several_times_counts_and_only_once() -> None:
    queue = Timed()
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    assert queue.pass_time(4.9) == []
    assert queue.pass_time(0.2) == ["a"]
    assert queue.pass_time(100) == []


async def test_a_forgotten_time_does_not_come() -> None:
    queue = Timed()
    queue.add_after("a", 5)
    queue.add_after("b", 5)
    queue.forget("a")
    assert queue.pass_time(10) == ["b"]


async def test_a_time_set_after_one_was_forgotten_counts() -> None:
    queue = Timed()
    queue.add_after("a", 5)
    queue.forget("a")
    queue.add_after("a", 8)
    assert queue.pass_time(6) == []
    assert queue.pass_time(3) == ["a"]


async def test_a_time_that_comes_during_the_work_leads_to_one_more_round() -> None:
    queue = Timed()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add_after("a", 1)
    assert queue.pass_time(2) == []
    queue.done("a")
    assert await queue.get() == "a"


async def test_times_that_were_dropped_do_not_pile_up() -> None:
    queue = Timed()
    for _ in range(10_000):
        queue.add_after("a", 7200)
        queue.forget("a")
    queue.add_after("a", 7200)
    assert len(queue._heap) < 100
    assert queue.pass_time(7201) == ["a"]


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("after"), st.sampled_from("abc"), st.integers(1, 50)),
            st.tuples(st.just("forget"), st.sampled_from("abc"), st.just(0)),
            st.tuples(st.just("pass"), st.just(""), st.integers(1, 20)),
        ),
        max_size=60,
    )
)
def test_whatever_is_set_and_dropped_each_key_comes_exactly_when_it_is_due(
    deeds: list[tuple[str, str, int]],
) -> None:
    async def run() -> None:
        queue = Timed()
        due: dict[str, float] = {}
        for deed, key, amount in deeds:
            if deed == "after":
                queue.add_after(key, amount)
                due[key] = min(due.get(key, float("inf")), queue.time.now + amount)
            elif deed == "forget":
                queue.forget(key)
                due.pop(key, None)
            else:
                come = queue.pass_time(amount)
                expected = {key for key, moment in due.items() if moment <= queue.time.now}
                assert set(come) == expected
                assert len(come) == len(expected)
                due = {key: moment for key, moment in due.items() if key not in expected}

    asyncio.run(run())


async def test_joining_waits_for_the_work_in_hand_and_not_for_what_is_queued() -> None:
    queue = KeyedQueue()
    queue.add("a")
    queue.add("b")
    await queue.get()
    joined = asyncio.create_task(queue.join_work())
    await until_idle()
    assert not joined.done()
    queue.done("a")
    await joined
    assert len(queue) == 1


async def test_it_tells_how_long_keys_waited_and_how_long_the_oldest_work_takes() -> None:
    queue = Timed()
    waited: list[float] = []
    queue.on_wait = waited.append
    queue.add("a")
    queue.time.advance(3)
    await queue.get()
    assert waited == [3]
    queue.time.advance(4)
    assert queue.oldest_work == pytest.approx(4)
    queue.done("a")
    assert queue.oldest_work == 0


async def test_of_one_lane_only_so_many_are_handed_out_and_others_pass_them() -> None:
    queue = KeyedQueue(lane_of=lambda key: key[0], lane_limit=2)
    for key in ("a1", "a2", "a3", "a4", "b1"):
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == ["a1", "a2", "b1"]
    assert len(queue) == 2
    queue.add("a3")
    assert len(queue) == 2

    waiting = asyncio.create_task(queue.get())
    await until_idle()
    assert not waiting.done()
    queue.done("a1")
    assert await waiting == "a3"
    queue.done("b1")
    queue.done("a2")
    assert await queue.get() == "a4"
    assert len(queue) == 0


async def test_workers_that_come_and_go_get_every_key_whatever_its_lane() -> None:
    queue = KeyedQueue(lane_of=lambda key: key[0], lane_limit=2)
    in_hand: Counter[str] = Counter()
    worked: list[str] = []

    async def work() -> None:
        while True:
            key = await queue.get()
            in_hand[key[0]] += 1
            assert in_hand[key[0]] <= 2
            await asyncio.sleep(0)
            worked.append(key)
            in_hand[key[0]] -= 1
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(5)]
    keys = [f"{lane}{number}" for number in range(20) for lane in "aab"]
    for key in keys:
        queue.add(key)
    await until_idle()
    assert set(worked) == set(keys)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def test_it_tells_when_the_last_work_is_done_and_none_waits() -> None:
    queue, rests = KeyedQueue(), []
    queue.on_rest = lambda: rests.append(len(queue))
    queue.add("a")
    queue.add("b")
    queue.add_after("later", 3600)
    for key in (await queue.get(), await queue.get()):
        assert not queue.is_at_rest
        if key == "b":
            queue.add("b")  # once more
        queue.done(key)
    assert rests == []
    queue.done(await queue.get())
    assert queue.is_at_rest
    assert rests == [0]
