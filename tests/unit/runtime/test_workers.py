"""Workers: one task for each key, and no error that ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cse_operator.runtime.metrics import Metrics
from cse_operator.runtime.workers import Workers
from cse_operator.runtime.workqueue import Group, WorkQueue
from support.fake_vendor import until_idle


class Steps:
    """Stands in for the reconcile step."""

    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}
        self.begun: list[str] = []
        self.done: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, key: str) -> None:
        self.begun.append(key)
        await self.gate.wait()
        if key in self.errors:
            raise self.errors[key]
        self.done.append(key)


@asynccontextmanager
async def working(steps: Steps, slots: int = 8) -> AsyncIterator[tuple[WorkQueue, Workers]]:
    queue = WorkQueue(slots=slots, group_of=lambda key: Group(key, None))
    workers = Workers(queue, steps, Metrics())
    task = asyncio.create_task(workers.run())
    yield queue, workers
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await workers.cut_off()


async def test_an_unforeseen_error_ends_nothing_and_is_tried_again_with_backoff(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps = Steps()
    steps.errors = {"bad": ValueError("nobody foresaw this")}
    async with working(steps) as (queue, _):
        queue.add("bad")
        queue.add("good")
        await until_idle()
        assert steps.done == ["good"]
        assert queue.backoff_depth == 1
        assert "bad" in queue._delays._due
    assert "bad: unforeseen error" in caplog.text
    assert "nobody foresaw this" in caplog.text


async def test_no_more_steps_than_slots_run_at_once() -> None:
    steps = Steps()
    steps.gate.clear()
    async with working(steps, slots=2) as (queue, _):
        for key in ("a", "b", "c"):
            queue.add(key)
        await until_idle()
        assert steps.begun == ["a", "b"]
        steps.gate.set()
        await until_idle()
        assert steps.done == ["a", "b", "c"]


async def test_what_is_cut_off_leaves_its_slot() -> None:
    steps = Steps()
    steps.gate.clear()
    async with working(steps) as (queue, workers):
        queue.add("a")
        await until_idle()
        await workers.cut_off()
        await asyncio.wait_for(queue.join_work(), 30)
        assert steps.done == []
