"""A merge that changes policies affects engines whose own manifests it does not change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from cse_operator.cli.manifests import Manifest, read_text
from cse_operator.cli.planning import command
from cse_operator.cli.planning.forecast import Forecaster
from cse_operator.cli.planning.merge import Merge, verdicts
from cse_operator.cli.planning.policies import Stored, Written, policies_of
from cse_operator.cli.planning.world import World
from cse_operator.core.policies import PolicySet
from cse_operator.runtime.cache import Cache
from cse_operator.runtime.ownership import Ownership
from cse_operator.runtime.settings import Settings
from support.engines import engine_manifest
from support.policies import cluster_policy_manifest, policy_manifest
from support.resources import Object, deleting, stored

Told = dict[str, tuple[str, str]]
DUE: Object = {
    "observedGeneration": 1,
    "phase": "Waiting",
    "currentVersion": "2.3.1",
    "latestVersion": "2.4.0",
    "engine": {"name": "orders", "type": "CSE", "status": "Available"},
}
RUNNING = {
    **DUE,
    "phase": "Upgrading",
    "upgrade": {
        "action": "Upgrade",
        "wantedVersion": "2.4.0",
        "fromVersion": "2.3.1",
        "targetVersion": "2.4.0",
        "requestedAt": "2025-06-01T12:00:00Z",
        "jobId": 101,
    },
}


def due(name: str = "orders", status: Object = DUE, **metadata: Any) -> Object:
    """Return a stored engine at 2.3.1 that asks for 2.4.0."""
    obj = stored(name, engineId=name, status=status)
    obj["metadata"] |= metadata
    return obj


def engine(name: str = "orders", **spec: Any) -> Object:
    return engine_manifest(name, namespace="payments", **{"engineId": name, **spec})


def shut(name: str = "closed", **spec: Any) -> Object:
    return policy_manifest("payments", name, **{"suspend": True, **spec})


def read(manifests: Sequence[Object]) -> list[Manifest]:
    return read_text(yaml.safe_dump_all(manifests))


async def merged(
    there: Sequence[Object],
    *,
    base: Sequence[Object] = (),
    head: Sequence[Object] = (),
    compared: bool = True,
    policies: Sequence[Object] = (),
    unknown: str | None = None,
) -> Told:
    """Return the plan of a merge from `base` to `head` in a cluster with these objects."""
    found = policies_of(
        Stored(policies, unknown=unknown),
        Settings(),
        Written.of(read(head), "default"),
        Written.of(read(base), "default"),
    )
    merge = Merge(engines(head), engines(base), compared=compared)

    def forecaster(policies: PolicySet) -> Forecaster:
        ownership = Ownership(grace=35.0)
        world = World(Cache(ownership, lambda region: region), ownership, policies=policies)
        world.take_in(there)
        return Forecaster(world, Settings())

    before, after = forecaster(found.before), forecaster(found.after)
    Merge(merge.base, {}, compared=False).apply(before.world)
    refused = merge.apply(after.world)
    told = await verdicts(merge, before, after, refused, found.changed)
    return {one.name: (one.kind.value, one.reason) for one in told}


def engines(manifests: Sequence[Object]) -> dict[str, Manifest]:
    ours = (one for one in read(manifests) if one.kind == "MicroserviceEngine")
    return {f"payments/{one.name}": one for one in ours}


UPGRADED = {"orders": ("upgrade", "Submitting")}


async def test_a_merge_that_lifts_a_hold_tells_of_the_engine_that_it_lets_go():
    base, head = [engine(), shut()], [engine(), shut(suspend=False)]
    assert await merged([due()], base=base, head=head) == UPGRADED


async def test_a_merge_that_deletes_a_policy_tells_of_the_engine_that_it_lets_go():
    in_the_cluster = [_as_stored(shut())]
    base, head = [engine(), shut()], [engine()]
    assert await merged([due()], base=base, head=head, policies=in_the_cluster) == UPGRADED


async def test_a_policy_that_is_in_the_cluster_only_stays():
    there = [_as_stored(shut("elsewhere"))]
    assert await merged([due()], base=[engine(), shut()], head=[engine()], policies=there) == {
        "orders": ("held", "PolicySuspended")
    }


async def test_engines_without_a_manifest_are_listed_if_a_policy_moves_them():
    base, head = [shut()], [shut(suspend=False)]
    assert await merged([due()], base=base, head=head) == UPGRADED
    there = [_as_stored(shut())]
    assert await merged([due()], head=head, compared=False, policies=there) == UPGRADED


async def test_an_engine_that_gets_the_slot_of_a_held_engine_is_listed_too():
    one_by_one = _as_stored(policy_manifest("payments", "slots", maxConcurrent=1))
    first = due("first", labels={"tier": "first"})
    head = [shut(selector={"matchLabels": {"tier": "first"}})]
    assert await merged([first, due("second")], head=head, policies=[one_by_one]) == {
        "first": ("held", "PolicySuspended"),
        "second": ("upgrade", "Submitting"),
    }


async def test_what_no_changed_policy_moves_is_left_out():
    running, unseen = due("running", RUNNING), due("unseen", {})
    leaving = deleting(due("leaving"))
    elsewhere = {"matchLabels": {"tier": "none"}}
    head = [engine(), shut(selector=elsewhere)]
    there = [due(), running, unseen, leaving]
    assert await merged(there, base=[engine()], head=head) == {}


async def test_an_unknown_engine_is_listed_if_a_changed_policy_selects_it():
    unseen, leaving = due("unseen", {}), deleting(due("leaving"))
    found = await merged([unseen, leaving], base=[shut()], head=[shut(suspend=False)])
    assert found == {"unseen": ("unknown", "NotSeen")}
    refused = await merged([due()], base=[engine(), shut()], head=[engine()], unknown="forbidden")
    assert refused == {"orders": ("held", "PoliciesUnknown")}


async def test_a_policy_that_the_api_server_refuses_leaves_the_one_that_is_there():
    base, head = [engine(), shut()], [engine(), shut(suspend=False, maxConcurent=1)]
    assert await merged([due()], base=base, head=head) == {}


def test_the_namespaces_of_what_a_merge_takes_away_are_read_too():
    merge = Merge(engines([engine()]), {}, compared=True)
    gone = [policy_manifest("search"), cluster_policy_manifest(suspend=True)]
    written, was = Written.of([], "default"), Written.of(read(gone), "default")
    assert command._places(merge, written, was) == ["payments", "search"]


def _as_stored(manifest: Object) -> Object:
    return {**manifest, "metadata": {**manifest["metadata"], "uid": manifest["metadata"]["name"]}}
