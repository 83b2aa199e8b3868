"""Looks at a project's engines: fresh ones, shared where many are wanted at once."""

from __future__ import annotations

import asyncio

import pytest

from cse_operator.cloud.directory import LISTING_FROM, EngineDirectory
from cse_operator.cloud.errors import CloudError
from cse_operator.core.failure import FailureKind
from support.cloud_calls import FakeTime, fails
from support.fake_vendor import FakeReader, engine_view, failure, until_idle


class Directory:
    """A directory with a reader and a clock in the test's hand."""

    def __init__(self, *engine_ids: str) -> None:
        self.time = FakeTime()
        self.reader = FakeReader({name: engine_view(name) for name in engine_ids})
        self.changed: list[str] = []
        self.directory = EngineDirectory(self.reader, self.changed.append, clock=self.time)

    def looks(self, names: list[str]) -> list[asyncio.Task[object]]:
        return [asyncio.create_task(self.directory.look(name)) for name in names]


async def test_a_single_look_is_a_single_call_each_time() -> None:
    world = Directory("a", "b")
    first = await world.directory.look("a")
    world.reader.engines["a"] = engine_view("a", version="2.4.0")
    second = await world.directory.look("a")

    assert world.reader.asked == ["engine a", "engine a"]
    assert (first.engine.version, second.engine.version) == ("2.3.1", "2.4.0")


async def test_a_look_says_when_it_began_not_when_it_was_answered() -> None:
    world = Directory("a")
    world.reader.gate.clear()
    began = world.time()
    (look,) = world.looks(["a"])
    await until_idle()
    world.time.advance(7)
    world.reader.gate.set()

    assert (await look).began == began  # type: ignore[attr-defined]


async def test_many_looks_at_once_share_one_listing() -> None:
    names = [f"e{number}" for number in range(50)]
    world = Directory(*names)
    world.reader.gate.clear()
    looks = world.looks(names)
    await until_idle()
    world.reader.gate.set()
    seen = await asyncio.gather(*looks)

    assert [look.engine.engine_id for look in seen] == names  # type: ignore[attr-defined]
    assert world.reader.asked.count("list") == 1
    assert len(world.reader.asked) == LISTING_FROM + 1


async def test_a_listing_counts_as_a_look_for_a_moment_and_no_longer() -> None:
    world = Directory("a")
    await world.directory.list_now()
    began = world.time()
    world.time.advance(0.9)
    assert (await world.directory.look("a")).began == began
    assert world.reader.take_calls() == ["list"]

    world.time.advance(0.2)
    await world.directory.look("a")
    assert world.reader.take_calls() == ["engine a"]


async def test_a_direct_look_never_uses_a_listing() -> None:
    world = Directory("a")
    await world.directory.list_now()
    await world.directory.look("a", directly=True)
    assert world.reader.asked == ["list", "engine a"]


async def test_an_engine_that_a_listing_lacks_is_asked_for_itself() -> None:
    world = Directory(*[f"e{number}" for number in range(20)])
    world.reader.gate.clear()
    looks = world.looks([f"e{number}" for number in range(20)])
    await until_idle()
    absent = asyncio.create_task(world.directory.look("absent"))
    await until_idle()
    world.reader.gate.set()
    await asyncio.gather(*looks)

    with fails(FailureKind.NOT_FOUND):
        await absent
    assert world.reader.asked[-1] == "engine absent"


async def test_a_failed_listing_fails_all_who_wait_for_it_and_the_next_one_works() -> None:
    world = Directory("a")
    world.reader.listing_failures = [CloudError(failure())]
    answers = await asyncio.gather(
        world.directory.list_now(), world.directory.list_now(), return_exceptions=True
    )
    assert [answer.kind for answer in answers] == [FailureKind.TRANSIENT] * 2
    assert world.reader.take_calls() == ["list"]

    assert set(await world.directory.list_now()) == {"a"}


async def test_a_cancelled_caller_does_not_take_the_listing_from_the_others() -> None:
    world = Directory("a")
    world.reader.gate.clear()
    leaving, staying = (asyncio.create_task(world.directory.list_now()) for _ in range(2))
    await until_idle()
    leaving.cancel()
    await until_idle()
    world.reader.gate.set()

    assert set(await staying) == {"a"}
    assert leaving.cancelled()
    assert world.reader.asked == ["list"]


async def test_a_failed_listing_that_nobody_waits_for_any_more_ends_quietly() -> None:
    world = Directory("a")
    world.reader.gate.clear()
    world.reader.listing_failures = [CloudError(failure())]
    alone = asyncio.create_task(world.directory.list_now())
    await until_idle()
    alone.cancel()
    world.reader.gate.set()
    await until_idle()

    assert set(await world.directory.list_now()) == {"a"}


async def test_what_a_look_learned_from_a_listing_is_no_change_to_the_next_one() -> None:
    world = Directory("a", "b")
    await world.directory.list_now()
    for name in ("a", "b"):
        world.directory.attach(name)
        await world.directory.look(name)
    assert world.reader.asked == ["list"]

    world.reader.engines["b"] = engine_view("b", version="2.3.2")
    await world.directory.list_now()
    assert world.changed == ["b"]


async def test_a_listing_reports_what_changed_of_the_attached_engines_only() -> None:
    world = Directory("a", "b", "c")
    for name in ("a", "b"):
        world.directory.attach(name)
        await world.directory.look(name)
    await world.directory.list_now()
    assert world.changed == []

    world.reader.engines["a"] = engine_view("a", version="2.3.2")
    world.reader.engines["c"] = engine_view("c", version="2.3.2")
    await world.directory.list_now()
    await world.directory.list_now()
    assert world.changed == ["a"]


@pytest.mark.parametrize(
    "fields",
    [
        {"version": "2.4.0"},
        {"status": "Upgrading"},
        {"latest_job_id": 101},
        {"latest_version": "2.5.0"},
        {"additional_actions": ("Retry",)},
        {"name": "renamed"},
    ],
)
async def test_whatever_decides_or_is_shown_counts_as_a_change(fields: dict[str, object]) -> None:
    world = Directory("a")
    world.directory.attach("a")
    await world.directory.list_now()
    world.changed.clear()
    world.reader.engines["a"] = engine_view("a", **fields)
    await world.directory.list_now()
    assert world.changed == ["a"]


async def test_an_engine_that_vanishes_from_the_list_is_reported_once() -> None:
    world = Directory("a")
    world.directory.attach("a")
    await world.directory.look("a")
    del world.reader.engines["a"]
    await world.directory.list_now()
    await world.directory.list_now()
    assert world.changed == ["a"]


async def test_a_detached_engine_is_not_reported() -> None:
    world = Directory("a")
    world.directory.attach("a")
    await world.directory.look("a")
    world.directory.detach("a")
    world.reader.engines["a"] = engine_view("a", version="2.4.0")
    await world.directory.list_now()
    assert world.changed == []
    assert world.directory.attached == 0


async def test_where_a_listing_takes_many_calls_single_looks_stay_cheaper_for_longer() -> None:
    names = [f"e{number}" for number in range(20_000)]
    world = Directory(*names)
    await world.directory.list_now()
    assert world.directory.listing_calls == 20
    world.time.advance(10)
    world.reader.take_calls()
    world.reader.gate.clear()
    looks = world.looks(names[:19])
    await until_idle()
    world.reader.gate.set()
    await asyncio.gather(*looks)
    assert "list" not in world.reader.asked


async def test_a_listing_that_is_recent_enough_is_shared() -> None:
    world = Directory("a", "b")
    first = await world.directory.list_now()
    world.time.advance(0.4)
    assert await world.directory.list_now(at_most_old=0.5) is first
    world.time.advance(0.2)
    assert await world.directory.list_now(at_most_old=0.5) is not first


@pytest.mark.parametrize(("engines", "seconds"), [(1_000, 0.0), (10_000, 4.5), (60_000, 8.0)])
async def test_a_listing_of_many_calls_is_shared_for_half_a_second_for_each_more_up_to_a_limit(
    engines: int, seconds: float
) -> None:
    names = [f"e{number}" for number in range(engines)]
    world = Directory(*names)
    await world.directory.list_now()
    assert world.directory.shared_for == seconds

    world.time.advance(seconds + 0.9)
    await world.directory.look("e7")
    assert world.reader.take_calls() == ["list"]
    world.time.advance(0.2)
    await world.directory.look("e7")
    assert world.reader.take_calls() == ["engine e7"]
