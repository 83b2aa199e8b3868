"""The manager: the order of the start, and what a stop waits for."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from cse_operator.core.policies import PolicySet
from cse_operator.kube import errors
from cse_operator.runtime import informer, manager
from cse_operator.runtime.authority import Authority
from cse_operator.runtime.manager import Manager
from cse_operator.runtime.settings import Settings
from support.cloud_calls import FakeTime
from support.fake_vendor import until_idle
from support.resources import Object, stored

KEY = "payments/orders"
NO_CLUSTER: Any = object()
"""In place of a connection, which no test here uses."""


class Steps:
    """Stand in for the reconciler."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def reconcile(self, key: str) -> None:
        await self.gate.wait()
        self.done.append(key)

    async def record_answers(self) -> None:
        self.done.append("answers")


class World:
    """A manager with an API server and steps that the test controls."""

    def __init__(self, *, leader_elect: bool = False) -> None:
        self.manager = Manager(Settings(listen="", leader_elect=leader_elect), NO_CLUSTER)
        self.parts = self.manager.parts
        self.steps = Steps()
        self.parts.reconciler = self.steps  # type: ignore[assignment]
        self.parts.workers._reconcile = self.steps.reconcile
        self.failures: list[Exception] = []
        self.parts.reader.list_pages = self._list_pages  # type: ignore[method-assign, assignment]
        self.watching = asyncio.Event()
        self.parts.watch.run = self._watch  # type: ignore[method-assign]
        self.parts.policy_watch.run = self._for_ever  # type: ignore[method-assign]
        self.parts.policies.run = self._for_ever  # type: ignore[method-assign]
        self.parts.policies.policies = PolicySet()
        self.parts.policies.asked.set()
        self.objects = [stored()]

    async def _list_pages(self, namespaces: Sequence[str]) -> AsyncIterator[list[Object]]:
        if self.failures:
            raise self.failures.pop(0)
        yield list(self.objects)

    async def _for_ever(self) -> None:
        await asyncio.Event().wait()

    async def _watch(self) -> None:
        self.watching.set()
        await asyncio.Event().wait()


async def test_the_watch_and_the_work_begin_when_all_is_listed_and_an_api_server_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(informer, "FIRST_PAUSE", 0.001)
    world = World()
    world.failures = [errors.Unavailable("away")] * 3
    assert world.manager.not_ready() == "the resources are not listed yet\n"
    running = asyncio.create_task(world.manager.run())
    await asyncio.wait_for(world.watching.wait(), 30)
    assert world.manager.not_ready() == "the watch has not started yet\n"
    world.parts.watch.started.set()
    assert world.manager.not_ready() is None
    await until_idle()
    assert world.steps.done == [KEY]
    world.manager._told_to_stop()
    assert await running == 0


async def test_the_watch_of_the_policies_begins_once_they_could_be_listed() -> None:
    """A list that is forbidden, or whose CRD is missing, leads to no vain watch."""
    world, begun = World(), asyncio.Event()

    async def watch() -> None:
        begun.set()
        await asyncio.Event().wait()

    world.parts.policy_watch.run = watch  # type: ignore[method-assign]
    running = asyncio.create_task(world.manager.run())
    await asyncio.wait_for(world.watching.wait(), 30)
    await until_idle()
    assert not begun.is_set()
    world.parts.policies.listed.set()
    await asyncio.wait_for(begun.wait(), 30)
    world.manager._told_to_stop()
    assert await running == 0


async def test_nobody_works_before_this_process_leads() -> None:
    world = World(leader_elect=True)
    leads = asyncio.Event()

    async def stand() -> None:
        await leads.wait()
        world.manager._lead()
        await asyncio.Event().wait()

    assert world.parts.elector is not None
    world.parts.elector.run = stand  # type: ignore[method-assign]
    running = asyncio.create_task(world.manager.run())
    await asyncio.wait_for(world.watching.wait(), 30)
    await until_idle()
    assert world.steps.done == []
    assert not world.parts.policies._soon.is_set()
    released: list[object] = []
    world.parts.policy_statuses.policies_changed = released.append  # type: ignore[method-assign]
    world.parts.policies.on_change(PolicySet())
    assert released == [], "only the leader tells that a policy is gone"
    leads.set()
    await until_idle()
    assert world.steps.done == [KEY]
    assert world.parts.policies._soon.is_set(), (
        "policies that changed before it led are listed first"
    )
    assert world.parts.gate.may_call_in() > 0
    world.manager._told_to_stop()
    assert await running == 0


async def test_a_stop_lets_steps_in_hand_end_records_answers_and_begins_nothing() -> None:
    world = World()
    world.steps.gate.clear()
    running = asyncio.create_task(world.manager.run())
    await asyncio.wait_for(world.watching.wait(), 30)
    await until_idle()
    world.manager._told_to_stop()
    world.parts.queue.add("payments/another")
    await until_idle()
    assert not running.done()
    assert world.parts.authority.remaining() == 0
    assert world.manager.not_ready() == "stopping\n"
    world.steps.gate.set()
    assert await running == 0
    assert world.steps.done == [KEY, "answers"]


async def test_a_stop_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(manager, "DRAIN_SECONDS", 0.05)
    world = World()
    world.steps.gate.clear()
    running = asyncio.create_task(world.manager.run())
    await asyncio.wait_for(world.watching.wait(), 30)
    await until_idle()
    world.manager._told_to_stop()
    assert await running == 0
    assert "steps were cut off" in caplog.text


async def test_a_part_that_fails_for_an_unforeseen_reason_ends_the_process_for_a_restart(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(leader_elect=True)

    async def fail() -> None:
        raise ValueError("nobody foresaw this")

    assert world.parts.elector is not None
    world.parts.elector.run = fail  # type: ignore[method-assign]
    async with asyncio.timeout(30):
        assert await world.manager.run() == 1
    assert "the election failed" in caplog.text


async def test_a_lost_lease_ends_the_process_for_a_restart() -> None:
    world = World(leader_elect=True)

    async def lose() -> None:
        world.manager._lease_lost()
        await asyncio.Event().wait()

    assert world.parts.elector is not None
    world.parts.elector.run = lose  # type: ignore[method-assign]
    async with asyncio.timeout(30):
        assert await world.manager.run() == 1


# -- the right to act --------------------------------------------------------------------------


def test_the_right_to_call_comes_one_grace_after_the_right_to_act_and_once() -> None:
    time = FakeTime()
    authority = Authority(grace=35.0, clock=time)
    assert authority.may_call_in() == 35
    time.advance(100)
    assert authority.may_call_in() == 35
    authority.begin()
    waits = []
    for seconds in itertools.repeat(20, 3):
        waits.append(authority.may_call_in())
        time.advance(seconds)
        authority.begin()
    assert waits == [35, 15, 0]


def test_a_lease_gives_the_right_to_act_until_a_stop_takes_it() -> None:
    authority = Authority(grace=0.0, remaining=lambda: 7.0)
    assert authority.remaining() == 7
    authority.stop()
    assert authority.remaining() == 0


def test_observe_only_has_the_right_to_act_and_never_to_call() -> None:
    time = FakeTime()
    authority = Authority(grace=0.0, observes_only=True, clock=time)
    authority.begin()
    time.advance(100)
    assert authority.remaining() == 0
    assert time() + 5.0 - authority.clock() < 0


def test_at_a_stop_the_deadline_of_every_call_that_waits_is_over() -> None:
    authority = Authority(grace=0.0, clock=FakeTime())
    send_before = authority.clock() + 5.0
    assert send_before - authority.clock() == 5
    authority.stop()
    assert send_before - authority.clock() < 0
