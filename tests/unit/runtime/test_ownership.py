"""Ownership: one engine, one owner, one call at a time."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from cse_operator.core.observation import Owner
from cse_operator.runtime.ownership import BLIND_AFTER, Claim, EngineKey, Ownership
from support.cloud_calls import FakeTime

ENGINE: EngineKey = ("https://cse.cn-north-4", "project", "engine")
GRACE = 30.0


class World:
    """Named resources that name one engine, and the keys that a change wakes."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.woken: list[str] = []
        self.ownership = Ownership(grace=GRACE, enqueue=self.woken.append, clock=self.time)
        self.claims: dict[str, Claim] = {}

    def claim(self, name: str, *, engine: EngineKey = ENGINE, **fields: object) -> None:
        usual = Claim("payments", name, uid=name, created="2025", seen=True, open=False)
        known = self.claims.get(name, usual)
        self.claims[name] = replace(known, **fields)  # type: ignore[arg-type]
        self.ownership.put(name, engine, self.claims[name])

    def owners(self) -> list[str]:
        """Return the resources that own their engine."""
        return [name for name in self.claims if self.ownership.other_owner(name) is None]

    def take_woken(self) -> set[str]:
        woken, self.woken[:] = set(self.woken), []
        return woken


def test_of_those_that_have_seen_the_engine_the_oldest_owns_it_whatever_the_order() -> None:
    moments = {"a": "12:00:02", "b": "12:00:01", "c": "12:00:03"}
    for order in itertools.permutations(moments):
        world = World()
        for name in order:
            world.claim(name, created=moments[name])
        assert world.owners() == ["b"]
        assert world.ownership.other_owner("a") == Owner("b")


def test_a_resource_that_has_not_seen_the_engine_owns_nothing() -> None:
    world = World()
    world.claim("older", created="1", seen=False)
    world.claim("younger", created="2")
    assert world.owners() == ["younger"]
    world.claim("older", seen=True)
    assert world.owners() == ["older"]
    assert world.take_woken() >= {"older", "younger"}


def test_an_owner_in_another_namespace_is_not_named() -> None:
    world = World()
    world.claim("a", namespace="shipping")
    world.claim("b")
    assert world.ownership.other_owner("b") == Owner(None)


def test_another_endpoint_project_or_id_is_another_engine() -> None:
    world = World()
    world.claim("a")
    for part in range(3):
        other = tuple("x" if n == part else text for n, text in enumerate(ENGINE))
        world.claim(f"b{part}", engine=other)  # type: ignore[arg-type]
    assert len(world.owners()) == 4


def test_an_open_record_goes_before_all_others_until_it_is_over() -> None:
    world = World()
    world.claim("younger", created="2", open=True)
    world.claim("older", created="1")
    assert world.ownership.other_owner("older") == Owner("younger", upgrading=True, older=False)
    world.claim("younger", open=False)
    assert world.owners() == ["older"]


def test_of_two_open_records_the_older_resource_ends_its_own_first() -> None:
    world = World()
    world.claim("younger", created="2", open=True)
    world.claim("older", created="1", open=True)
    assert world.owners() == ["older"]


def test_an_owner_whose_looks_fail_for_long_loses_the_engine_to_one_who_sees_it() -> None:
    world = World()
    world.claim("older", created="1")
    world.claim("younger", created="2")
    world.ownership.looked("older", succeeded=False)
    world.time.advance(BLIND_AFTER - 1)
    world.ownership.looked("older", succeeded=False)
    assert world.owners() == ["older"]
    world.time.advance(1)
    world.ownership.looked("older", succeeded=False)
    assert world.owners() == ["younger"]
    world.ownership.looked("older", succeeded=True)
    assert world.owners() == ["older"]


def test_an_owner_that_is_alone_keeps_the_engine_however_its_looks_fail() -> None:
    world = World()
    world.claim("only")
    world.ownership.looked("only", succeeded=False)
    world.time.advance(2 * BLIND_AFTER)
    world.ownership.looked("only", succeeded=False)
    assert world.owners() == ["only"]


def test_an_owner_stuck_in_deletion_loses_the_engine() -> None:
    world = World()
    world.claim("older", created="1", open=True)
    world.claim("younger", created="2")
    world.claim("older", deleting=True)
    assert "younger" in world.owners()


def test_when_the_owner_goes_the_next_one_is_woken() -> None:
    world = World()
    for name in ("a", "b", "c"):
        world.claim(name)
    world.take_woken()
    world.ownership.remove("a")
    assert world.take_woken() == {"b"}


def test_a_change_wakes_the_owners_before_and_after_it_and_nobody_else() -> None:
    world = World()
    for number in range(4000):
        world.claim(f"c{number:04}", created=f"{number:04}")
    world.take_woken()
    world.claim("c3999", open=True)
    assert world.take_woken() == {"c0000", "c3999"}
    world.claim("c2000", created="9999")
    assert world.take_woken() == set()


def test_a_resource_that_sees_an_owned_engine_is_woken() -> None:
    world = World()
    world.claim("older", created="1")
    world.claim("younger", created="2", seen=False)
    world.take_woken()
    world.claim("younger", seen=True)
    assert world.take_woken() == {"younger"}


# -- when it may call --------------------------------------------------------------------------


def test_a_single_resource_never_waits() -> None:
    world = World()
    world.claim("only", seen=False)
    assert world.ownership.may_call_in("only") == 0


def test_where_several_name_the_engine_its_owner_waits_one_grace_from_its_mark() -> None:
    world = World()
    world.claim("older", created="1", seen=False)
    world.claim("younger", created="2", seen=False)
    assert world.ownership.may_call_in("older") == GRACE
    world.claim("younger", seen=True)
    world.time.advance(GRACE - 1)
    assert world.ownership.may_call_in("younger") == 1
    world.claim("older", seen=True)
    assert world.ownership.may_call_in("younger") == GRACE
    assert world.ownership.may_call_in("older") == GRACE
    world.time.advance(GRACE)
    assert world.ownership.may_call_in("older") == 0


def test_an_owner_of_old_waits_for_no_newcomer() -> None:
    world = World()
    world.claim("older", created="1")
    world.time.advance(GRACE)
    world.claim("younger", created="2")
    assert world.ownership.may_call_in("older") == 0


# -- one call at a time ------------------------------------------------------------------------


@pytest.fixture
def successor() -> World:
    """A world after a call for a resource whose successor has the same key."""
    world = World()
    world.claim("a")
    assert world.ownership.begin_call("a", "a", latest_job_id=100)
    return world


def begin(world: World, uid: str, latest: int | None = 100) -> bool:
    return world.ownership.begin_call("a", uid, latest_job_id=latest)


def test_during_a_call_no_other_resource_may_begin_one(successor: World) -> None:
    successor.time.advance(1e9)
    assert not begin(successor, "b")
    assert begin(successor, "a")


def test_after_a_call_others_wait_until_its_effect_must_show(successor: World) -> None:
    successor.ownership.call_ended(ENGINE, "a", job_id=None)
    successor.time.advance(GRACE - 0.1)
    assert not begin(successor, "b", latest=101)
    successor.time.advance(0.1)
    assert begin(successor, "b")


def test_after_a_call_others_wait_only_until_the_engine_shows_its_job(successor: World) -> None:
    successor.ownership.call_ended(ENGINE, "a", job_id=101)
    assert not begin(successor, "b", latest=100)
    assert not begin(successor, "b", latest=None)
    assert begin(successor, "b", latest=101)


def test_once_nothing_is_open_others_need_not_wait(successor: World) -> None:
    successor.ownership.call_ended(ENGINE, "a", job_id=None)
    successor.ownership.nothing_open("a", "b")
    assert not begin(successor, "b")
    successor.ownership.nothing_open("a", "a")
    assert begin(successor, "b")


def test_who_does_not_own_the_engine_begins_no_call() -> None:
    world = World()
    world.claim("older", created="1")
    world.claim("younger", created="2")
    assert not world.ownership.begin_call("younger", "younger", latest_job_id=None)


def test_calls_whose_time_is_over_do_not_pile_up() -> None:
    world = World()
    for number in range(5000):
        engine = ("https://cse", "project", f"engine-{number}")
        world.claim("a", engine=engine)
        world.time.advance(1)
        assert begin(world, "a")
        world.ownership.call_ended(engine, "a", job_id=None)
    assert len(world.ownership._calls) < 1200
