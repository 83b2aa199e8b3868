"""The writer of policy statuses: one policy harms neither the others nor the process."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cse_operator.core.fleet import Fleet
from cse_operator.core.policies import PolicySet
from cse_operator.runtime import policy_statuses
from cse_operator.runtime.policy_statuses import PolicyStatuses
from support.policies import done, fleet, member, policy, policy_manifest, utc

NOW = utc("2026-12-05T12:00")


class FakeWriter:
    """Records the names of the policies that are written."""

    def __init__(self) -> None:
        self.written: list[str] = []

    async def write(self, reference: Any, _version: str, raw: Any, new: Any) -> Any:
        if raw == new:
            return None
        self.written.append(reference.name)
        manifest = policy_manifest(reference.namespace, reference.name)
        manifest["metadata"] |= {"uid": reference.uid, "resourceVersion": "2"}
        return manifest | {"status": new}


class Engines(dict[str, Any]):
    """Stands in for the cache."""

    def __iter__(self) -> Any:
        return iter(self.values())


class Stage:
    """Two policies, their stored objects and a writer."""

    def __init__(self) -> None:
        self.time = [0.0]
        self.writer = FakeWriter()
        self.policies = [policy("payments", "first"), policy("payments", "second")]
        objects = {p.key: self._stored(p.name, p.uid) for p in self.policies}
        self.informer: Any = SimpleNamespace(objects=objects)
        self.missed: list[str] = []
        self.posted: list[tuple[str, str]] = []
        self.engines = Engines()
        self.statuses = self.begin()

    def begin(self) -> PolicyStatuses:
        """Return the writer of a new process."""
        writers: Any = {"UpgradePolicy": self.writer}
        cache: Any = self.engines
        events: Any = SimpleNamespace(
            post=lambda reference, _type, reason, _message: self.posted.append(
                (reference.name, reason)
            )
        )
        metrics: Any = SimpleNamespace(
            window_missed=lambda _kind, _namespace, name: self.missed.append(name)
        )
        return PolicyStatuses(
            writers, self.informer, cache, events, metrics, clock=lambda: self.time[0]
        )

    def engine(self, name: str, **held: str) -> None:
        """Add an engine to the cache."""
        reference = SimpleNamespace(namespace="payments", name=name)
        status = {"held": [held]} if held else {}
        self.engines[f"payments/{name}"] = SimpleNamespace(
            key=f"payments/{name}", reference=reference, raw_status=status
        )

    @staticmethod
    def _stored(name: str, uid: str) -> dict[str, Any]:
        manifest = policy_manifest("payments", name)
        manifest["metadata"] |= {"uid": uid, "resourceVersion": "1"}
        return manifest

    def fleet(self) -> Fleet:
        return fleet(member(), policies=self.policies, now=NOW)


async def test_a_policy_whose_status_cannot_be_made_does_not_keep_the_others_from_theirs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One tenant's policy must not end the process, at each start anew."""
    stage = Stage()
    real = policy_statuses.policy_status

    def make(p: Any, *args: Any) -> Any:
        if p.name == "first":
            raise OverflowError("date value out of range")
        return real(p, *args)

    monkeypatch.setattr(policy_statuses, "policy_status", make)
    await stage.statuses.write(stage.fleet())
    assert stage.writer.written == ["second"]
    assert "the status of policy first could not be made" in caplog.text
    first, second = stage.policies
    assert stage.statuses.shown(first) is None
    shown = stage.statuses.shown(second)
    assert shown is not None
    assert shown.selected == 1


async def test_an_unchanged_status_is_not_computed_again_for_the_same_fleet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, made = Stage(), []
    real = policy_statuses.policy_status

    def make(p: Any, *args: Any) -> Any:
        made.append(p.name)
        return real(p, *args)

    monkeypatch.setattr(policy_statuses, "policy_status", make)
    first, later = stage.fleet(), stage.fleet()
    await stage.statuses.write(first)
    stage.time[0] += 10.0
    await stage.statuses.write(later)
    assert made == ["first", "second"] * 2
    assert stage.writer.written == ["first", "second"]
    assert await stage.statuses.write(stage.fleet()) == policy_statuses.BETWEEN_LOOKS
    stage.time[0] += 2.0
    assert await stage.statuses.write(later) == 0.0, "nothing is left to do"
    assert made == ["first", "second"] * 2


async def test_a_status_is_shown_as_long_as_there_is_its_policy() -> None:
    stage = Stage()
    await stage.statuses.write(stage.fleet())
    first, second = stage.policies
    changed = policy("payments", "first", suspend=True)
    assert stage.statuses.shown(changed) is not None, "an alert that waits must not begin anew"
    stage.policies = [second]
    await stage.statuses.write(stage.fleet())
    assert stage.statuses.shown(first) is None


async def test_a_thousand_engines_that_wait_under_fifty_policies_cost_no_write() -> None:
    """Each status is written once, and not again while only the clock changes."""
    stage = Stage()
    night = [{"name": "w", "schedule": "0 2 * * *", "duration": "4h"}]
    waves = [{"name": "first", "selector": {"matchLabels": {"wave": "a"}}}, {"name": "rest"}]
    more = {"windows": night, "waves": waves, "maxConcurrent": 5}
    stage.policies = [policy("payments", f"p{n}", **more) for n in range(50)]
    stage.informer.objects = {p.key: stage._stored(p.name, p.uid) for p in stage.policies}
    line = [
        member(f"e{n}", held_since=NOW, labels={"wave": "ab"[n % 2], "app": f"e{n}"})
        for n in range(1000)
    ]
    policies = PolicySet(tuple(stage.policies))
    for minutes in range(0, 30, 10):
        stage.time[0] += 600.0
        await stage.statuses.write(Fleet(line, policies, NOW + timedelta(minutes=minutes)))
        assert len(stage.writer.written) == 50


async def test_others_go_on_between_the_statuses_of_two_policies() -> None:
    stage, seen = Stage(), []
    writing = asyncio.create_task(stage.statuses.write(stage.fleet()))
    while not writing.done():
        seen.append(len(stage.writer.written))
        await asyncio.sleep(0)
    assert 1 in seen


async def test_operator_down_all_window() -> None:
    """WindowMissed is posted once, also across a restart."""
    stage = Stage()
    night = [{"name": "w", "schedule": "0 2 * * *", "duration": "4h"}]
    stage.policies = [policy("payments", "first", windows=night)]
    stage.engine("orders")
    waits = member(held_since=utc("2026-12-04T00:00"))
    for _ in range(2):
        for _ in range(3):
            stage.time[0] += 10.0
            await stage.statuses.write(fleet(waits, policies=stage.policies, now=NOW))
        stage.statuses = stage.begin()
    assert stage.posted == [("orders", "WindowMissed")]
    assert stage.missed == ["first"]


def test_policy_deleted_midway() -> None:
    """The held engines get an Event: somebody may have relied on the policy that is gone."""
    stage = Stage()
    stage.engine("mine", kind="UpgradePolicy", policy="first", reason="PolicySuspended")
    stage.engine("other", kind="UpgradePolicy", policy="second", reason="PolicySuspended")
    stage.engine("runs")
    before = PolicySet(tuple(stage.policies))
    stage.informer.policies = PolicySet((stage.policies[1],))
    stage.statuses.policies_changed(before)
    assert stage.posted == [("mine", "PolicyReleased")]


async def test_thousand_wait_one_finishes() -> None:
    """There is one write for the policy, however many engines wait."""
    stage = Stage()
    stage.policies = [policy("payments", "first", maxConcurrent=1)]
    line = [member(f"e{n}", held_since=NOW) for n in range(1000)]
    runs = member("runs", in_flight=True, reason="Upgrading")
    await stage.statuses.write(fleet(runs, *line, policies=stage.policies, now=NOW))
    stage.writer.written.clear()
    stage.time[0] += 10.0
    await stage.statuses.write(fleet(done("runs"), *line, policies=stage.policies, now=NOW))
    assert stage.writer.written == ["first"]
    stage.time[0] += 10.0
    await stage.statuses.write(fleet(done("runs"), *line, policies=stage.policies, now=NOW))
    assert stage.writer.written == ["first"], "nothing changed, so nothing is written"
