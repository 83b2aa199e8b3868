"""The policies as a process knows them: after a list that succeeds, fails or surprises."""

from __future__ import annotations

from typing import Any

import pytest

from cse_operator.kube.errors import KubeError
from cse_operator.runtime import policy_informer
from cse_operator.runtime.policy_informer import PolicyInformer
from support.cloud_calls import FakeTime
from support.policies import cluster_policy_manifest, policy_manifest


class FakeReader:
    """The API server's lists."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = objects
        self.error: KubeError | None = None

    def _of(self, kind: str) -> list[dict[str, Any]]:
        if self.error is not None:
            raise self.error
        return [obj for obj in self.objects if obj["kind"] == kind]

    async def policies(self, _namespace: str | None) -> list[dict[str, Any]]:
        return self._of("UpgradePolicy")

    async def cluster_policies(self) -> list[dict[str, Any]]:
        return self._of("ClusterUpgradePolicy")

    async def namespace_labels(self) -> dict[str, dict[str, str]]:
        return {"payments": {"tier": "gold"}}


def stored(obj: dict[str, Any], generation: int = 1) -> dict[str, Any]:
    obj["metadata"] |= {"uid": f"uid-{obj['metadata']['name']}", "generation": generation}
    return obj


def informer(reader: FakeReader, time: FakeTime | None = None) -> PolicyInformer:
    fake: Any = reader
    return PolicyInformer(fake, namespaces=(), required=False, clock=time or FakeTime())


AWAY = KubeError("the API server could not answer", status=500)


async def test_an_empty_namespace_selector_takes_all_namespaces() -> None:
    """Nobody is held for labels that were never asked for."""
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
    """A cluster that was restored from a backup counts generations twice."""
    reader = FakeReader(stored(policy_manifest("payments", suspend=False)))
    known = informer(reader)
    await known.list_once()
    reader.objects = (stored(policy_manifest("payments", suspend=True)),)
    await known.list_once()
    assert known.policies.policies[0].spec.suspend


async def test_a_policy_that_stirs_and_cannot_be_listed_holds_all_after_five_seconds() -> None:
    """It may be the one that closes the gate."""
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


async def test_a_list_is_believed_for_three_intervals_when_nothing_stirs() -> None:
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
