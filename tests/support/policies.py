"""Short constructors of policies and fleets."""

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
    """Return the manifest of an UpgradePolicy."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": POLICY_KIND, "metadata": metadata, "spec": spec}


def cluster_policy_manifest(name: str = "cluster", **spec: Any) -> dict[str, Any]:
    """Return the manifest of a ClusterUpgradePolicy."""
    metadata = {"name": name}
    return {
        "apiVersion": API_VERSION,
        "kind": CLUSTER_POLICY_KIND,
        "metadata": metadata,
        "spec": spec,
    }


def policy(namespace: str = "payments", name: str = "production", **spec: Any) -> Policy:
    """Return a policy for evaluation; `spec` is as in a manifest."""
    obj = policy_manifest(namespace, name, **spec)
    obj["metadata"]["uid"] = f"uid-{namespace}-{name}"
    return read_policy(obj)


def cluster_policy(name: str = "cluster", **spec: Any) -> Policy:
    """Return a cluster policy for evaluation."""
    obj = cluster_policy_manifest(name, **spec)
    obj["metadata"]["uid"] = f"uid-{name}"
    return read_policy(obj)


def utc(text: str) -> datetime:
    """Parse a moment such as 2026-12-05T02:00."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


LONG_AGO = utc("2026-01-01T00:00")


def member(name: str = "orders", **changes: Any) -> Member:
    """Return an engine with desired version 2.4.0 that has waited at 2.3.0 for a long time."""
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
    """Return an engine that is Ready at its desired version."""
    usual = {"wanted": version, "current": version, "ready": True, "reason": "UpToDate"}
    return member(name, **(usual | changes))


def failed(name: str = "canary", version: str = "2.4.0", **changes: Any) -> Member:
    """Return an engine whose upgrade to a version failed."""
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
    """Return the reasons that hold an engine; empty if it may start."""
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
    """Return the hold on an engine; fail if there is none."""
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
    """Return a fleet of engines with policies at a moment."""
    return Fleet(members, PolicySet(tuple(policies), **of_the_set), now, reserved)


def most_at_once(simulation: Simulation) -> int:
    """Return the largest number of simultaneous upgrades, from the vendor's records of jobs."""
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
    """Install the CRDs of the policies, which an operator needs to be ready."""
    for definition in (policy_crd.upgrade_policy(), policy_crd.cluster_upgrade_policy()):
        cluster.install_crd(definition)
