"""Policies, in few words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cse_operator.api import policy_crd
from cse_operator.api.names import API_VERSION, CLUSTER_POLICY_KIND, POLICY_KIND
from cse_operator.api.upgrade_record import Result
from cse_operator.core.fleet import Fleet
from cse_operator.core.member import Member
from cse_operator.core.permit import Held, permit
from cse_operator.core.policies import Policy, PolicySet, read_policy
from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.simulation import Simulation


def policy_manifest(namespace: str, name: str = "production", **spec: Any) -> dict[str, Any]:
    """An UpgradePolicy."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": POLICY_KIND, "metadata": metadata, "spec": spec}


def cluster_policy_manifest(name: str = "cluster", **spec: Any) -> dict[str, Any]:
    """A ClusterUpgradePolicy."""
    metadata = {"name": name}
    return {
        "apiVersion": API_VERSION,
        "kind": CLUSTER_POLICY_KIND,
        "metadata": metadata,
        "spec": spec,
    }


def policy(namespace: str = "payments", name: str = "production", **spec: Any) -> Policy:
    """A policy as it is evaluated; its spec as in a manifest."""
    obj = policy_manifest(namespace, name, **spec)
    obj["metadata"]["uid"] = f"uid-{namespace}-{name}"
    return read_policy(obj)


def cluster_policy(name: str = "cluster", **spec: Any) -> Policy:
    """A policy of the cluster as it is evaluated."""
    obj = cluster_policy_manifest(name, **spec)
    obj["metadata"]["uid"] = f"uid-{name}"
    return read_policy(obj)


def utc(text: str) -> datetime:
    """A moment such as 2026-12-05T02:00."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


LONG_AGO = utc("2026-01-01T00:00")


def member(name: str = "orders", **changes: Any) -> Member:
    """An engine that is wanted at 2.4.0 and waits at 2.3.0, since long ago."""
    usual: dict[str, Any] = {
        "namespace": "payments",
        "name": name,
        "labels": {},
        "wanted": "2.4.0",
        "type": "CSE",
        "engine_status": "Available",
        "current": "2.3.0",
        "version_since": LONG_AGO,
        "ready_since": LONG_AGO,
        "reason": "WaitingForSlot",
    }
    merged = usual | changes
    labels = merged["labels"]
    return Member(**{**merged, "labels": None if labels is None else frozenset(labels.items())})


def done(name: str = "canary", version: str = "2.4.0", **changes: Any) -> Member:
    """An engine that is Ready at the version that it wants."""
    usual = {"wanted": version, "current": version, "ready": True, "reason": "UpToDate"}
    return member(name, **(usual | changes))


def failed(name: str = "canary", version: str = "2.4.0", **changes: Any) -> Member:
    """An engine whose upgrade to a version failed."""
    usual = {
        "wanted": version,
        "reason": "UpgradeFailed",
        "engine_status": "UpgradeFailed",
        "ends": ((frozenset({version}), Result.FAILED),),
    }
    return member(name, **(usual | changes))


def ask(
    engine: Member,
    *policies: Policy,
    now: datetime,
    others: Sequence[Member] = (),
    reserved: Sequence[str] = (),
    **of_the_set: Any,
) -> list[str]:
    """The reasons for which an engine may not start; none if it may."""
    answer = permit(
        engine, fleet(engine, *others, policies=policies, now=now, reserved=reserved, **of_the_set)
    )
    return [hold.reason.value for hold in answer.holds] if isinstance(answer, Held) else []


def held(
    engine: Member,
    *policies: Policy,
    now: datetime,
    others: Sequence[Member] = (),
    **of_the_set: Any,
) -> Held:
    """How an engine is held; fails if it is not."""
    answer = permit(engine, fleet(engine, *others, policies=policies, now=now, **of_the_set))
    assert isinstance(answer, Held)
    return answer


def fleet(
    *members: Member,
    policies: Sequence[Policy],
    now: datetime,
    reserved: Sequence[str] = (),
    **of_the_set: Any,
) -> Fleet:
    """Engines and policies at a moment."""
    return Fleet(members, PolicySet(tuple(policies), **of_the_set), now, reserved)


def most_at_once(simulation: Simulation) -> int:
    """How many upgrades the vendor had at once at most, by its own record of their jobs."""
    moments: list[tuple[str, int]] = []
    for engine in simulation.admin.engines():
        if engine.latest_job_id:
            job = simulation.admin.job(engine.latest_job_id)
            if job["type"] == "Upgrade":
                moments.append((job["startTime"], 1))
                if job.get("endTime"):
                    moments.append((job["endTime"], -1))
    running = most = 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    return most


def install_policy_crds(cluster: Cluster) -> None:
    """Install the CRDs of the policies, without which an operator is not ready."""
    for definition in (policy_crd.upgrade_policy(), policy_crd.cluster_upgrade_policy()):
        cluster.install_crd(definition)
