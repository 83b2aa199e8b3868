"""The policies that a process knows, after a list that succeeds, fails or surprises."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from cse_operator.kube.errors import KubeError
from cse_operator.runtime import policy_informer
from cse_operator.runtime.policy_informer import PolicyInformer
from support.cloud_calls import FakeTime
from support.policies import cluster_policy_manifest, policy_manifest


class FakeReader:
    """Stands in for the API server's lists."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = objects
        self.error: KubeError | None = None
        self.errors_in: dict[str, KubeError] = {}
        self.lists = 0

    def _of(self, kind: str) -> list[dict[str, Any]]:
        if self.error is not None:
            raise self.error
        return [obj for obj in self.objects if obj["kind"] == kind]

    async def policies(self, namespace: str | None) -> list[dict[str, Any]]:
        self.lists += 1
        if namespace in self.errors_in:
            raise self.errors_in[namespace]
        found = self._of("UpgradePolicy")
        return [obj for obj in found if namespace in {None, obj["metadata"]["namespace"]}]

    async def cluster_policies(self) -> list[dict[str, Any]]:
        return self._of("ClusterUpgradePolicy")

    async def namespace_labels(self) -> dict[str, dict[str, str]]:
        return {"payments": {"tier": "gold"}}


def stored(obj: dict[str, Any], generation: int = 1) -> dict[str, Any]:
    obj["metadata"] |= {"uid": f"uid-{obj['metadata']['name']}", "generation": generation}
    return obj


def informer(
    reader: FakeReader, time: FakeTime | None = None, namespaces: Sequence[str] = ()
) -> PolicyInformer:
    fake: Any = reader
    return PolicyInformer(fake, namespaces=namespaces, required=False, clock=time or FakeTime())


AWAY = KubeError("the API server could not answer", status=500)
FORBIDDEN = KubeError("the operator may not list upgradepolicies", status=403)
NOT_THERE = KubeError("there is no upgradepolicies", status=404)


async def test_first_list_pending() -> None:
    """It is unknown whether a policy exists, so nothing may start and no watch begins."""
    known = informer(FakeReader())
    assert known.policies.why_unknown("payments") == policy_informer.NOT_LISTED
    assert "no upgrade starts" in (known.not_ready() or "")
    assert not known.asked.is_set()
    assert not known.listed.is_set()
    assert await known.list_once()
    assert known.policies.unknown is None
    assert known.policies.gates_nothing
    assert known.not_ready() is None
    assert known.asked.is_set()
    assert known.listed.is_set()


async def test_a_first_list_that_fails_is_pending_still() -> None:
    reader = FakeReader()
    reader.error = AWAY
    known = informer(reader)
    assert not await known.list_once()
    assert known.policies.unknown == policy_informer.NOT_LISTED
    assert known.listed_at is None
    assert not known.listed.is_set()


@pytest.mark.parametrize(
    "refusal",
    [pytest.param(FORBIDDEN, id="policies_403"), pytest.param(NOT_THERE, id="policies_404")],
)
async def test_policies_that_are_refused_hold_all_and_are_not_watched_until_there_is_a_list(
    refusal: KubeError,
) -> None:
    reader = FakeReader(stored(policy_manifest("payments")))
    reader.error = refusal
    known = informer(reader)
    begun: list[bool] = []
    known.begin_watch_again = lambda: begun.append(known.listed.is_set())
    assert not await known.list_once()
    assert known.policies.why_unknown("payments") == refusal.sentence
    assert known.asked.is_set(), "steps may begin, and say why nothing starts"
    assert not known.listed.is_set()
    reader.error = None
    assert await known.list_once()
    assert known.listed.is_set()
    assert begun == [True], "the watch begins once there is a list"
    reader.error = refusal
    assert not await known.list_once()
    assert known.policies.why_unknown("payments") == refusal.sentence
    assert [p.name for p in known.policies.policies] == ["production"], "the known policies stay"


async def test_dependents_are_told_when_the_policies_change() -> None:
    reader = FakeReader(stored(policy_manifest("payments")))
    known = informer(reader)
    told: list[list[str]] = []
    known.on_change = lambda before: told.append([p.name for p in before.policies])
    await known.list_once()
    [same] = known.policies.policies
    reader.objects = (stored(policy_manifest("payments")),)
    await known.list_once()
    assert known.policies.policies == (same,), "the policy keeps its caches"
    reader.objects = ()
    await known.list_once()
    assert told == [[], ["production"]]
    assert known.objects == {}


async def test_a_policy_that_cannot_be_read_is_kept_as_invalid() -> None:
    known = informer(FakeReader(stored(policy_manifest("payments", approval="FourEyes"))))
    assert await known.list_once()
    [read] = known.policies.policies
    assert (read.invalid or "").startswith("spec.approval")


async def test_namespaces_that_may_not_be_listed_are_skipped_and_hold_their_own_engines() -> None:
    reader = FakeReader(
        stored(policy_manifest("payments")),
        stored(policy_manifest("billing", "theirs")),
        stored(cluster_policy_manifest()),
    )
    reader.errors_in["billing"] = FORBIDDEN
    known = informer(reader, namespaces=("payments", "billing"))
    begun: list[tuple[str, ...]] = []
    known.begin_watch_again = lambda: begun.append(known.served())
    assert not await known.list_once(), "it is listed again soon"
    assert known.policies.why_unknown("billing") == FORBIDDEN.sentence
    assert known.policies.why_unknown("payments") is None
    assert known.not_ready() is None
    assert [p.name for p in known.policies.policies] == ["production"], "none of the cluster"
    reader.errors_in.clear()
    assert await known.list_once()
    assert known.policies.why_unknown("billing") is None
    assert begun == [("payments",), ("payments", "billing")]


async def test_one_namespace_that_fails_otherwise_changes_nothing() -> None:
    reader, time = FakeReader(stored(policy_manifest("payments"))), FakeTime()
    known = informer(reader, time, namespaces=("payments", "billing"))
    await known.list_once()
    before = known.policies
    reader.errors_in["billing"] = AWAY
    reader.objects = ()
    assert not await known.list_once()
    assert known.policies is before
    reader.errors_in = {"payments": FORBIDDEN, "billing": FORBIDDEN}
    await known.list_once()
    assert known.policies.unknown == FORBIDDEN.sentence
    assert known.served() == ("payments", "billing")


async def test_a_watch_event_has_the_policies_listed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(policy_informer, "SETTLE", 0.0)
    reader = FakeReader()
    known = informer(reader)
    listing = asyncio.create_task(known.run())
    try:
        await known.listed.wait()
        reader.objects = (stored(policy_manifest("payments", suspend=True)),)
        changed = asyncio.Event()
        known.on_change = lambda _before: changed.set()
        known.on_event("ADDED", {})
        async with asyncio.timeout(policy_informer.INTERVAL / 2):
            await changed.wait()
        assert [p.spec.suspend for p in known.policies.policies] == [True]
        assert reader.lists == 2
    finally:
        listing.cancel()
        await asyncio.wait({listing})


async def test_an_empty_namespace_selector_takes_all_namespaces() -> None:
    """No engine is held for namespace labels that the selector does not use."""
    known = informer(FakeReader(stored(cluster_policy_manifest(namespaceSelector={}))))
    assert await known.list_once()
    selection = known.policies.selecting("payments", frozenset())
    assert ([p.name for p in selection.policies], selection.unsure) == (["cluster"], ())


async def test_one_policy_whose_reading_breaks_holds_its_scope_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(obj: dict[str, Any]) -> Any:
        if obj["metadata"]["name"] == "broken":
            raise OverflowError("date value out of range")
        return real(obj)

    real = policy_informer.read_policy
    monkeypatch.setattr(policy_informer, "read_policy", read)
    broken = stored(policy_manifest("payments", "broken"))
    known = informer(FakeReader(broken, stored(policy_manifest("billing", "fine"))))
    assert await known.list_once()
    [one] = known.policies.selecting("payments", frozenset()).policies
    assert one.invalid == "the operator cannot read it: OverflowError"
    [other] = known.policies.selecting("billing", frozenset()).policies
    assert other.invalid is None


async def test_another_spec_of_one_generation_is_read_again() -> None:
    """In a cluster restored from a backup, a generation comes twice."""
    reader = FakeReader(stored(policy_manifest("payments", suspend=False)))
    known = informer(reader)
    await known.list_once()
    reader.objects = (stored(policy_manifest("payments", suspend=True)),)
    await known.list_once()
    assert known.policies.policies[0].spec.suspend


async def test_an_event_without_a_list_holds_all_engines_after_five_seconds() -> None:
    """The event may belong to a policy that closes the gate."""
    reader, time = FakeReader(), FakeTime()
    known = informer(reader, time)
    await known.list_once()
    known.on_event("ADDED", {})
    reader.error = AWAY
    time.advance(5.0)
    await known.list_once()
    assert known.policies.unknown is None
    time.advance(0.1)
    await known.list_once()
    assert known.policies.unknown == policy_informer.OUTDATED
    assert "no upgrade starts" in (known.not_ready() or "")
    reader.error = None
    await known.list_once()
    assert known.policies.unknown is None
    reader.error = AWAY
    time.advance(6.0)
    await known.list_once()
    assert known.policies.unknown is None, "the event was answered by the list after it"


async def test_without_events_a_list_counts_for_three_intervals() -> None:
    reader, time = FakeReader(), FakeTime()
    known = informer(reader, time)
    await known.list_once()
    reader.error = AWAY
    time.advance(180.0)
    await known.list_once()
    assert known.policies.unknown is None
    time.advance(0.1)
    await known.list_once()
    assert known.policies.unknown == policy_informer.OUTDATED


async def test_an_event_during_a_list_is_not_answered_by_it() -> None:
    reader, time = FakeReader(), FakeTime()
    known = informer(reader, time)
    real = reader.cluster_policies

    async def meanwhile() -> list[dict[str, Any]]:
        known.on_event("ADDED", {})
        return await real()

    reader.cluster_policies = meanwhile  # type: ignore[method-assign] # something happens in it
    await known.list_once()
    reader.cluster_policies = real  # type: ignore[method-assign]
    reader.error = AWAY
    time.advance(5.1)
    await known.list_once()
    assert known.policies.unknown == policy_informer.OUTDATED


async def test_a_namespace_with_too_many_policies_holds_itself_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(policy_informer, "MOST_IN_A_NAMESPACE", 2)
    many = [stored(policy_manifest("payments", f"p{n}")) for n in range(3)]
    few = [stored(policy_manifest("billing", f"p{n}")) for n in range(2)]
    known = informer(FakeReader(*many, *few))
    assert await known.list_once()
    assert "more than 2 in this namespace" in (known.policies.why_unknown("payments") or "")
    assert known.policies.why_unknown("billing") is None
    assert {p.namespace for p in known.policies.policies} == {"billing"}
    assert known.not_ready() is None
