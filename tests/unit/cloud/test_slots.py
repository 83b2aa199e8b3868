"""Connections are shared so that a namespace without one always finds one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from cse_operator.cloud.fairness import Turn
from cse_operator.cloud.slots import Slots


class Calls:
    """Hanging calls, and the slots that they hold."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.tasks: list[asyncio.Task[None]] = []
        self.held: list[tuple[str, str]] = []
        self.end = asyncio.Event()

    async def hang(self, namespace: str, project: str, count: int = 1) -> int:
        """Begin `count` calls; return how many of them got a slot."""
        before = len(self.held)

        async def call() -> None:
            async with self._slots.one(Turn(namespace=namespace), project):
                self.held.append((namespace, project))
                await self.end.wait()

        self.tasks += [asyncio.create_task(call()) for _ in range(count)]
        for _ in range(3):
            await asyncio.sleep(0)
        return len(self.held) - before


@pytest.fixture
async def calls():
    calls = Calls(Slots(128))
    yield calls
    calls.end.set()
    await asyncio.gather(*calls.tasks, return_exceptions=True)
    assert calls._slots._free == 128


async def test_a_project_that_hangs_takes_a_quarter_of_all(calls):
    assert await calls.hang("a", "p", 500) == 32
    for number in range(4):
        assert await calls.hang("a", f"another-{number}", 2) >= 1


async def test_four_hundred_projects_of_one_namespace_take_half_of_all(calls):
    held = sum([await calls.hang("a", f"p{number}", 2) for number in range(400)])
    assert held == 64
    assert await calls.hang("b", "p") == 1


async def test_a_namespace_without_a_slot_finds_one_while_others_hang(calls):
    for namespace in "abcde":
        for number in range(50):
            await calls.hang(namespace, f"p{number}", 3)
    assert await calls.hang("lone", "p") == 1


async def test_a_slot_that_is_given_back_goes_to_the_namespace_whose_turn_it_is(calls):
    slots = Slots(1)
    calls = Calls(slots)
    await calls.hang("a", "p", 3)
    await calls.hang("b", "p", 1)
    calls.end.set()
    await asyncio.gather(*calls.tasks)
    assert calls.held == [("a", "p"), ("a", "p"), ("b", "p"), ("a", "p")]
    assert slots._free == 1
    assert not slots._held
    assert not slots._held_by_namespace


async def test_a_call_that_is_cancelled_while_it_waits_loses_nothing():
    slots = Slots(1)
    calls = Calls(slots)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(slots.one(Turn(), "p"))
        await calls.hang("", "p", 2)
        calls.tasks[0].cancel()
    # If the cancelled call was given the slot, it passes to the other call.
    calls.end.set()
    await asyncio.gather(*calls.tasks, return_exceptions=True)
    assert calls.held == [("", "p")]
    assert slots._free == 1


async def test_idle_is_when_no_call_is_under_way():
    slots = Slots(4)
    calls = Calls(slots)
    await calls.hang("a", "p")
    waiting = asyncio.create_task(slots.until_idle())
    await asyncio.sleep(0)
    assert not waiting.done()
    calls.end.set()
    await waiting
    assert slots._free == 4
