"""The informer: what it queues, what a list repairs, and what it must not forget too early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from cse_operator.kube import errors
from cse_operator.kube.references import ObjectReference
from cse_operator.runtime import informer as module
from cse_operator.runtime.cache import Cache
from cse_operator.runtime.informer import FOREIGN_WRITE_DELAY, Informer
from cse_operator.runtime.ownership import Ownership
from cse_operator.runtime.workqueue import Group, WorkQueue
from support.resources import Object, changed, stored

KEY = "payments/orders"


class World:
    """A cluster that is listed and read, and the queue and cache that result."""

    def __init__(self, namespaces: Sequence[str] = ()) -> None:
        self.objects: dict[str, Object] = {}
        self.failures: list[Exception] = []
        self.forbidden: set[str] = set()
        self.while_listing: Callable[[], object] = lambda: None
        self.lists = 0
        self.reads: list[str] = []
        self.kept: set[str] = set()
        self.begun_again = 0
        self.queue = WorkQueue(slots=64, group_of=lambda key: Group(key, None))
        self.cache = Cache(Ownership(grace=30.0, enqueue=self.queue.add), lambda region: region)
        self.informer = Informer(
            self,  # type: ignore[arg-type]
            self.cache,
            self.queue,
            namespaces=namespaces,
            interval=600.0,
            keeps=self.kept.__contains__,
        )
        self.informer.begin_watch_again = self._begin_again

    def _begin_again(self) -> None:
        self.begun_again += 1

    async def list_pages(self, namespaces: Sequence[str]) -> AsyncIterator[list[Object]]:
        self.lists += 1
        if self.failures:
            raise self.failures.pop(0)
        if self.forbidden.intersection(namespaces):
            raise errors.Denied("may not list")
        found = [
            obj
            for obj in self.objects.values()
            if not namespaces or obj["metadata"]["namespace"] in namespaces
        ]
        self.while_listing()
        for obj in found:
            yield [obj]

    async def get(self, reference: ObjectReference) -> Object | None:
        key = f"{reference.namespace}/{reference.name}"
        self.reads.append(key)
        found = self.objects.get(key)
        return found if found and found["metadata"]["uid"] == reference.uid else None

    def put(self, obj: Object) -> Object:
        self.objects[f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"] = obj
        return obj

    def queued(self) -> set[str]:
        """Take all due keys out of the queue, and return them."""
        keys = set()
        while (key := self.queue._next()) is not None:
            self.queue.done(key)
            keys.add(key)
        return keys


@asynccontextmanager
async def synced(*objects: Object, namespaces: Sequence[str] = ()) -> AsyncIterator[World]:
    """A world after the first list of these objects, with an empty queue."""
    world = World(namespaces)
    for obj in objects:
        world.put(obj)
    await world.informer.first_list()
    world.queued()
    yield world


# -- the watch ---------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", ["ADDED", "MODIFIED", None])
async def test_an_object_that_changed_is_worked_on(event_type: str | None) -> None:
    async with synced() as world:
        world.informer.on_event(event_type, stored())
        assert world.queued() == {KEY}


async def test_the_echo_of_a_known_object_is_not_queued() -> None:
    obj = stored()
    async with synced(obj) as world:
        world.informer.on_event("MODIFIED", obj)
        world.informer.on_event("MODIFIED", changed(obj, annotations={"example.com/a": "b"}))
        assert world.queued() == set()


async def test_a_status_of_somebody_else_is_looked_into_a_while_later() -> None:
    obj = stored()
    async with synced(obj) as world:
        world.informer.on_event("MODIFIED", changed(obj, status={"observedGeneration": 1}))
        assert world.queued() == set()
        due, _ = world.queue._delays._due[KEY]
        now = asyncio.get_running_loop().time()
        assert due - now == pytest.approx(FOREIGN_WRITE_DELAY, abs=1)


async def test_the_echo_of_an_own_write_under_way_is_left_to_the_writer() -> None:
    obj = stored()
    async with synced(obj) as world:
        cached = world.cache.get(KEY)
        assert cached is not None
        cached.notes.write_began()
        world.informer.on_event("MODIFIED", changed(obj, status={"observedGeneration": 1}))
        assert world.queue._delays._due == {}
        assert cached.raw_status == {"observedGeneration": 1}


async def test_a_deleted_resource_is_forgotten_and_the_next_owner_woken() -> None:
    seen = {"observedGeneration": 1, "engine": {"name": "orders"}}
    older, younger = (stored(name, uid=name, status=seen) for name in ("older", "younger"))
    async with synced(older, younger) as world:
        world.informer.on_event("DELETED", older)
        assert world.queued() == {"payments/older", "payments/younger"}
        assert world.cache.get("payments/older") is None


async def test_a_deletion_seen_while_an_answer_is_unrecorded_is_left_to_the_step() -> None:
    obj = stored()
    async with synced(obj) as world:
        world.kept.add(KEY)
        world.informer.on_event("DELETED", obj)
        assert world.cache.get(KEY) is not None
        assert world.queued() == {KEY}


async def test_the_deletion_of_a_predecessor_does_not_touch_the_successor() -> None:
    async with synced(stored(uid="successor")) as world:
        world.informer.on_event("DELETED", stored(uid="predecessor"))
        assert world.cache.get(KEY) is not None
        assert world.queued() == set()


# -- lists -------------------------------------------------------------------------------------


async def test_the_first_list_queues_everything_and_waits_for_an_api_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    world = World()
    world.failures = [errors.Unavailable("away"), errors.Denied("not yet"), errors.Expired("gone")]
    world.put(stored())
    await world.informer.first_list()
    assert world.lists == 4
    assert world.informer.synced
    assert world.queued() == {KEY}


async def test_a_restored_backup_is_healed_by_a_list() -> None:
    obj = stored(version="2.5.0")
    async with synced(obj) as world:
        restored = changed(obj, version="2.4.0")
        restored["metadata"]["resourceVersion"] = "5"
        world.put(restored)
        await world.informer.resync()
        cached = world.cache.get(KEY)
        assert cached is not None
        assert cached.parse().spec.version == "2.4.0"
        assert world.queued() == {KEY}


async def test_a_change_that_the_watch_missed_is_worked_on() -> None:
    obj = stored()
    async with synced(obj) as world:
        world.put(changed(obj, version="2.5.0"))
        await world.informer.resync()
        assert world.queued() == {KEY}


async def test_a_resource_missing_from_a_list_is_forgotten_once_a_read_confirms_it() -> None:
    async with synced(stored("gone"), stored("there", uid="2")) as world:
        there = world.objects["payments/there"]
        world.objects.clear()
        world.while_listing = lambda: world.put(there)
        await world.informer.resync()
        assert sorted(world.reads) == ["payments/gone", "payments/there"]
        assert [cached.key for cached in world.cache] == ["payments/there"]
        assert world.queued() == {"payments/gone"}


async def test_nothing_is_forgotten_while_an_answer_is_unrecorded() -> None:
    async with synced(stored()) as world:
        world.kept.add(KEY)
        world.objects.clear()
        await world.informer.resync()
        assert world.cache.get(KEY) is not None
        world.kept.clear()
        await world.informer.resync()
        assert world.cache.get(KEY) is None


async def test_what_appears_while_a_list_is_read_stays() -> None:
    async with synced() as world:
        obj = stored()
        world.while_listing = lambda: world.informer.on_event("ADDED", obj)
        await world.informer.resync()
        assert world.cache.get(KEY) is not None
        assert world.reads == []


async def test_a_resource_made_anew_unseen_takes_the_place_of_the_old_one() -> None:
    async with synced(stored(uid="old")) as world:
        world.put(stored(uid="new"))
        await world.informer.resync()
        cached = world.cache.get(KEY)
        assert cached is not None
        assert cached.reference.uid == "new"
        assert world.queued() == {KEY}


async def test_a_watch_that_does_not_show_what_a_list_has_shown_is_begun_again() -> None:
    obj = stored()
    async with synced(obj) as world:
        world.put(changed(obj, version="2.5.0"))
        await world.informer.resync()
        world.informer._test_the_watch(dict(world.informer._unseen))
        assert world.begun_again == 1


async def test_a_watch_that_shows_it_a_moment_later_is_trusted() -> None:
    obj = stored()
    async with synced(obj) as world:
        newer = world.put(changed(obj, version="2.5.0"))
        await world.informer.resync()
        missed = dict(world.informer._unseen)
        world.informer.on_event("MODIFIED", newer)
        world.informer._test_the_watch(missed)
        assert world.begun_again == 0


# -- namespaces --------------------------------------------------------------------------------


async def test_a_namespace_that_may_not_be_listed_is_skipped_and_served_when_it_may(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    world = World(("payments", "shipping"))
    world.put(stored())
    world.put(stored("parcels", namespace="shipping", uid="2", engineId="other"))
    world.forbidden = {"shipping"}
    await world.informer.first_list()
    assert world.queued() == {KEY}
    assert world.informer.served() == ("payments",)
    assert world.informer.skipped.keys() == {"shipping"}
    assert "shipping is skipped" in caplog.text

    world.forbidden.clear()
    await world.informer.resync()
    assert world.queued() == {"shipping/parcels"}
    assert world.informer.skipped == {}
    assert world.begun_again == 2


async def test_resources_of_a_namespace_that_cannot_be_listed_for_a_while_are_kept() -> None:
    parcels = stored("parcels", namespace="shipping", uid="2", engineId="other")
    async with synced(stored(), parcels, namespaces=("payments", "shipping")) as world:
        world.forbidden = {"shipping"}
        await world.informer.resync()
        assert world.cache.get("shipping/parcels") is not None
        assert world.reads == []
