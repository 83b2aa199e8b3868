"""The workqueue: client-go's rules, and slots that no namespace or project can monopolize."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cse_operator.runtime.workqueue import CHANGES_IN_A_ROW, Group, WorkQueue
from support.cloud_calls import FakeTime
from support.fake_vendor import until_idle


def group_of(key: str) -> Group:
    """Return the group of a `namespace/project-name` key."""
    namespace, _, name = key.partition("/")
    return Group(namespace, name.partition("-")[0])


class Queue(WorkQueue):
    """A queue with a clock and an alarm that the test controls."""

    def __init__(self, slots: int = 8) -> None:
        self.time = FakeTime()
        super().__init__(slots=slots, group_of=group_of, clock=self.time, jitter=lambda: 0.0)

    def take(self) -> str | None:
        """Return the next key, or None."""
        return self._next()

    def take_all(self) -> list[str]:
        """Return all keys that get a slot now."""
        taken = []
        while (key := self._next()) is not None:
            taken.append(key)
        return taken

    def pass_time(self, seconds: float) -> list[str]:
        """Let time pass; return the keys that came due, already done."""
        self.time.advance(seconds)
        self._delays._ring()
        taken = self.take_all()
        for key in taken:
            self.done(key)
        return taken


async def test_keys_of_a_project_are_handed_out_in_the_order_in_which_they_came() -> None:
    queue = Queue()
    for key in ("n/p-a", "n/p-b"):
        queue.add(key)
    assert queue.take_all() == ["n/p-a", "n/p-b"]


async def test_a_key_that_waits_already_is_not_queued_again() -> None:
    queue = Queue()
    queue.add("n/a")
    queue.add("n/a")
    assert len(queue) == 1


async def test_a_key_that_is_worked_on_is_handed_out_again_only_when_the_work_is_over() -> None:
    queue = Queue()
    queue.add("n/a")
    assert queue.take() == "n/a"
    queue.add("n/a")
    queue.add("n/a")
    assert queue.take() is None
    queue.done("n/a")
    assert queue.take() == "n/a"
    queue.done("n/a")
    assert queue.take() is None


async def test_who_waits_gets_the_next_key_and_the_next_free_slot() -> None:
    queue = WorkQueue(slots=1, group_of=group_of)
    waiting = asyncio.create_task(queue.get())
    await until_idle()
    queue.add("n/a")
    queue.add("n/b")
    assert await waiting == "n/a"
    waiting = asyncio.create_task(queue.get())
    await until_idle()
    assert not waiting.done()
    queue.done("n/a")
    assert await waiting == "n/b"


# -- later -------------------------------------------------------------------------------------


async def test_a_key_comes_at_its_time() -> None:
    queue = WorkQueue(slots=8, group_of=group_of)
    queue.add_after("n/late", 0.02)
    queue.add_after("n/early", 0.01)
    assert [await queue.get() for _ in range(2)] == ["n/early", "n/late"]


async def test_the_earliest_of_several_times_counts_and_only_once() -> None:
    queue = Queue()
    for seconds in (10, 5, 20):
        queue.add_after("n/a", seconds)
    assert queue.pass_time(4.9) == []
    assert queue.pass_time(0.2) == ["n/a"]
    assert queue.pass_time(100) == []


async def test_a_step_names_the_next_time_and_the_one_before_it_is_over() -> None:
    queue = Queue()
    queue.add_after("n/a", 5)
    queue.add("n/a")
    assert queue.take() == "n/a"
    queue.add_after("n/a", 60)
    queue.done("n/a")
    assert queue.pass_time(10) == []
    assert queue.pass_time(51) == ["n/a"]


async def test_a_time_that_comes_during_the_work_leads_to_one_more_round() -> None:
    queue = Queue()
    queue.add("n/a")
    assert queue.take() == "n/a"
    queue.add_after("n/a", 1)
    assert queue.pass_time(2) == []
    queue.done("n/a")
    assert queue.take() == "n/a"


async def test_times_that_were_dropped_do_not_pile_up() -> None:
    queue = Queue()
    for _ in range(10_000):
        queue.add_after("n/a", 7200)
        queue._delays.drop("n/a")
    queue.add_after("n/a", 7200)
    assert len(queue._delays._heap) < 100
    assert queue.pass_time(7201) == ["n/a"]


# -- backoff -----------------------------------------------------------------------------------


async def test_the_pauses_of_a_key_that_fails_double_up_to_a_limit_and_begin_anew() -> None:
    queue = Queue()

    def pause() -> float:
        queue.retry("n/a")
        due = queue._delays._due["n/a"][0] - queue.time()
        queue._delays.drop("n/a")
        return due

    pauses = [pause() for _ in range(20)]
    assert pauses[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert pauses[-1] == 150.0
    assert queue.backoff_depth == 1
    queue.forget("n/a")
    assert queue.backoff_depth == 0
    assert pause() == pytest.approx(0.1)


async def test_an_always_failing_key_costs_a_few_steps_a_minute() -> None:
    queue = Queue()
    steps = 0
    queue.retry("n/a")
    for _ in range(6000):
        if queue.pass_time(0.1):
            steps += 1
            queue.retry("n/a")
    assert steps < 20


async def test_retry_after_is_obeyed() -> None:
    queue = Queue()
    queue.retry("n/a", at_least=60.0)
    assert queue.pass_time(59) == []
    assert queue.pass_time(10) == ["n/a"]


# -- fairness ----------------------------------------------------------------------------------


async def test_namespaces_take_turns_and_within_them_projects() -> None:
    queue = Queue(slots=64)
    for number in range(10):
        queue.add(f"many/p-{number}")
    queue.add("many/q-0")
    queue.add("lone/p-0")
    assert [queue.take() for _ in range(4)] == ["many/p-0", "lone/p-0", "many/q-0", "many/p-1"]


async def test_a_namespace_leaves_slots_to_whoever_has_none() -> None:
    queue = Queue(slots=16)
    for project in range(400):
        queue.add(f"hung/{project}-x")
    assert len(queue.take_all()) == 8
    queue.add("lone/p-0")
    assert queue.take() == "lone/p-0"


async def test_several_greedy_namespaces_leave_a_slot_too() -> None:
    queue = Queue(slots=16)
    for namespace in ("a", "b", "c"):
        for project in range(100):
            queue.add(f"{namespace}/{project}-x")
    assert len(queue.take_all()) < 16
    queue.add("lone/p-0")
    assert queue.take() == "lone/p-0"


async def test_a_hung_project_leaves_slots_to_others_of_its_namespace() -> None:
    queue = Queue(slots=16)
    for number in range(100):
        queue.add(f"n/hung-{number}")
    assert len(queue.take_all()) == 4
    queue.add("n/well-0")
    assert queue.take() == "n/well-0"


async def test_changes_go_before_resyncs_and_do_not_starve_them() -> None:
    queue = Queue(slots=64)
    for number in range(5):
        queue.add(f"n/p-{number}", resync=True)
    for number in range(5, 15):
        queue.add(f"m/p-{number}")
    taken = [queue.take() for _ in range(CHANGES_IN_A_ROW + 1)]
    assert taken == [*(f"m/p-{number}" for number in range(5, 9)), "n/p-0"]


async def test_a_resync_that_waits_becomes_a_change_when_something_changes() -> None:
    queue = Queue(slots=64)
    for number in range(3):
        queue.add(f"n/p-{number}", resync=True)
    queue.add("n/p-2")
    assert len(queue) == 3
    assert queue.take_all() == ["n/p-2", "n/p-0", "n/p-1"]


async def test_deleting_what_waits_holds_nobody_up() -> None:
    """A key's group is asked for once, because the resource may be gone at the key's turn."""
    groups = {f"ns{i // 50}/p-{i}": Group(f"ns{i // 50}", "p") for i in range(1000)}
    asked = dict(groups)
    queue = WorkQueue(slots=32, group_of=lambda key: asked.get(key, Group("", None)))
    for key in groups:
        queue.add(key)
    in_hand = [await queue.get() for _ in range(16)]
    for key in list(groups)[:100]:
        del asked[key]
        queue.add(key)
    worked = []
    while in_hand or len(queue):
        while (key := queue._next()) is not None:
            in_hand.append(key)
        worked.append(in_hand.pop(0))
        queue.done(worked[-1])
    assert set(worked) == set(groups)


KEYS = [f"{namespace}/{project}-{n}" for namespace in "ab" for project in "pq" for n in range(4)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "resync", "take", "done"]), st.integers(0, 15))))
def test_no_key_is_lost_or_worked_on_twice(
    deeds: list[tuple[str, int]],
) -> None:
    async def run() -> None:
        queue = Queue(slots=4)
        wanted: set[str] = set()
        in_hand: list[str] = []
        for deed, number in deeds:
            if deed in {"add", "resync"}:
                queue.add(KEYS[number], resync=deed == "resync")
                wanted.add(KEYS[number])
            elif deed == "take":
                key = queue.take()
                if key is not None:
                    assert key not in in_hand
                    in_hand.append(key)
                    wanted.discard(key)
            elif in_hand:
                queue.done(in_hand.pop(number % len(in_hand)))
        while in_hand or wanted:
            key = queue.take()
            if key is None:
                queue.done(in_hand.pop(0))
            else:
                assert key not in in_hand
                in_hand.append(key)
                wanted.discard(key)
        assert queue.take() is None
        assert len(queue) == 0

    asyncio.run(run())


# -- measurements ------------------------------------------------------------------------------


async def test_joining_waits_for_the_work_in_hand_and_not_for_what_is_queued() -> None:
    queue = Queue(slots=1)
    queue.add("n/a")
    queue.add("n/b")
    assert queue.take() == "n/a"
    joined = asyncio.create_task(queue.join_work())
    await until_idle()
    assert not joined.done()
    queue.done("n/a")
    await joined
    assert len(queue) == 1


async def test_it_tells_how_long_keys_waited_and_how_long_the_oldest_work_takes() -> None:
    queue = Queue()
    waited: list[float] = []
    queue.on_wait = waited.append
    queue.add("n/a")
    queue.time.advance(3)
    queue.take()
    assert waited == [3]
    queue.time.advance(4)
    assert queue.oldest_work == pytest.approx(4)
    queue.done("n/a")
    assert queue.oldest_work == 0
