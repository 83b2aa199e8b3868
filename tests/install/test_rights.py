"""The operator under the rights of an installation: it needs each of them.

tests/install/test_install*.py show that these are all its rights, and that they suffice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cse_simulator.control_plane import ApiError, Cluster
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.simulation import Simulation
from support.installation import (
    WHERE_IT_SERVES,
    Manifest,
    Right,
    kustomization,
    kustomized,
    operator_of,
    rights_in,
    rights_once_granted,
    the,
    until_it_says,
    where_it_runs,
)
from support.operator_process import OperatorProcess
from support.policies import policy_manifest
from support.scene import Scene

ALL = WHERE_IT_SERVES | where_it_runs()
LEASE = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/cse-operator"


@dataclass
class Bench:
    """An operator with some rights in a namespace, not started yet, and a resource for it."""

    scene: Scene
    operator: OperatorProcess

    def ends_by_itself(self) -> None:
        """Assert that the operator ends with an error: the kubelet would show CrashLoopBackOff."""
        self.operator.start()
        assert self.operator.wait() == 1

    def nothing_was_begun(self) -> None:
        assert self.scene.changing_calls() == []


@pytest.fixture
def scene(control_plane: Cluster, namespace: str, simulator: Simulation) -> Scene:
    return Scene(control_plane, namespace, simulator)


def prepared(scene: Scene, folder: Path, undo: ExitStack, *, without: Right | None) -> Bench:
    """Install the namespaced variant's rights with leader election, except one, and a resource."""
    folder = kustomization(
        folder / "k", "namespaced", "high-availability", namespace=scene.namespace
    )
    objects = kustomized(scene.kubectl, folder)
    kinds = {"ServiceAccount", "Role", "RoleBinding"}
    installed = [_reduced(item, without) for item in objects if item["kind"] in kinds]
    scene.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(installed))
    granted = rights_in(installed)
    assert granted == ALL - {without}
    token = scene.cluster.service_account_token(scene.namespace, "cse-operator")
    assert rights_once_granted(scene.cluster, token, scene.namespace, granted) >= granted

    engine = scene.engine()
    scene.secret()
    scene.resource(engine)
    operator = operator_of(
        the(objects, "Deployment"),
        scene.cluster,
        folder,
        cse_endpoint=scene.simulation.url,
        flags=["--poll-interval=0.2", "--lease-duration=3", "--log-format=text"],
    )
    undo.callback(operator.kill)
    return Bench(scene, operator)


def _reduced(manifest: Manifest, without: Right | None) -> Manifest:
    if without is None or manifest["kind"] != "Role":
        return manifest
    group, resource, name, verb = without

    def remaining(rule: dict[str, Any]) -> list[str]:
        meant = (group, resource) == (rule["apiGroups"][0], rule["resources"][0])
        named = rule.get("resourceNames", ["*"]) == [name]
        return [v for v in rule["verbs"] if not (meant and named and v == verb)]

    rules = [{**rule, "verbs": remaining(rule)} for rule in manifest["rules"]]
    return {**manifest, "rules": [rule for rule in rules if rule["verbs"]]}


# --- results of a missing right -----------------------------------------------------------------


async def it_does_not_get_ready(bench: Bench) -> None:
    bench.operator.start()
    await until_it_says(bench.operator, 'cannot list resource "microserviceengines"')
    assert bench.operator.get("/readyz")[0] != 200
    bench.nothing_was_begun()


async def later_changes_are_not_seen(bench: Bench) -> None:
    bench.operator.start()
    await until_it_says(bench.operator, 'cannot watch resource "microserviceengines"')


async def a_change_in_mid_step_is_not_looked_at_again(bench: Bench) -> None:
    scene = bench.scene
    look = scene.admin.add_fault(Fault(operation="ShowEngine", delay_ms=60_000))
    bench.operator.start()
    await scene.admin.wait_for_async("ShowEngine", phase="received", timeout=60)
    scene.annotate("orders", noticed="by-nobody")
    scene.admin.clear_faults(look)

    told = "the step failed at the Kubernetes API: GET microserviceengines"
    await until_it_says(bench.operator, told)
    assert 'cannot get resource "microserviceengines"' in bench.operator.output()


async def nothing_is_begun_for_it_could_not_be_recorded(bench: Bench) -> None:
    bench.operator.start()
    await until_it_says(bench.operator, 'cannot patch resource "microserviceengines/status"')
    bench.nothing_was_begun()


async def the_resource_says_that_its_secret_cannot_be_read(bench: Bench) -> None:
    bench.operator.start()
    item = await bench.scene.until_reason("orders", "CredentialsNotFound")
    assert 'cannot get resource "secrets"' in item["status"]["message"]
    bench.nothing_was_begun()


async def the_upgrade_is_made_without_an_event(bench: Bench) -> None:
    bench.operator.start()
    await bench.scene.until_reason("orders", "UpToDate")
    assert bench.operator.terminate() == 0
    assert 'cannot create resource "events"' in bench.operator.output()
    path = f"/api/v1/namespaces/{bench.scene.namespace}/events"
    assert bench.scene.cluster.request("GET", path)["items"] == []


async def nothing_is_begun_and_it_is_not_ready(bench: Bench) -> None:
    bench.operator.start()
    item = await bench.scene.until_reason("orders", "PoliciesUnknown")
    assert 'cannot list resource "upgradepolicies"' in item["status"]["message"]
    status, body = bench.operator.get("/readyz")
    assert status != 200
    assert "the policies cannot be read" in body
    bench.nothing_was_begun()


async def later_policies_are_seen_late(bench: Bench) -> None:
    bench.operator.start()
    await until_it_says(bench.operator, 'cannot watch resource "upgradepolicies"')
    await bench.scene.until_reason("orders", "UpToDate")


async def a_policy_shows_nothing(bench: Bench) -> None:
    manifest = yaml.safe_dump(policy_manifest(bench.scene.namespace))
    bench.scene.kubectl("create", "-f", "-", stdin=manifest)
    bench.operator.start()
    await until_it_says(bench.operator, 'cannot patch resource "upgradepolicies/status"')
    await bench.scene.until_reason("orders", "UpToDate")


async def it_never_leads(bench: Bench) -> None:
    bench.operator.start()
    await until_it_says(bench.operator, 'resource "leases"')
    with pytest.raises(ApiError) as missing:
        bench.scene.cluster.request("GET", LEASE.format(bench.scene.namespace))
    assert missing.value.status == 404
    bench.nothing_was_begun()


async def it_cannot_stay_the_leader(bench: Bench) -> None:
    bench.ends_by_itself()
    assert 'cannot patch resource "leases"' in bench.operator.output()
    assert "the Lease was lost" in bench.operator.output()


CONSEQUENCES: dict[tuple[str, str], Callable[[Bench], Awaitable[None]]] = {
    ("microserviceengines", "list"): it_does_not_get_ready,
    ("microserviceengines", "watch"): later_changes_are_not_seen,
    ("microserviceengines", "get"): a_change_in_mid_step_is_not_looked_at_again,
    ("microserviceengines/status", "patch"): nothing_is_begun_for_it_could_not_be_recorded,
    ("secrets", "get"): the_resource_says_that_its_secret_cannot_be_read,
    ("events", "create"): the_upgrade_is_made_without_an_event,
    ("upgradepolicies", "list"): nothing_is_begun_and_it_is_not_ready,
    ("upgradepolicies", "watch"): later_policies_are_seen_late,
    ("upgradepolicies/status", "patch"): a_policy_shows_nothing,
    ("leases", "create"): it_never_leads,
    ("leases", "get"): it_never_leads,
    ("leases", "patch"): it_cannot_stay_the_leader,
}


@pytest.mark.parametrize("right", sorted(ALL), ids=lambda right: f"{right[3]} {right[1]}")
async def test_without_any_one_of_its_rights_something_is_missing_and_says_so(
    scene: Scene, tmp_path: Path, right: Right
) -> None:
    _, resource, _, verb = right
    with ExitStack() as undo:
        bench = prepared(scene, tmp_path, undo, without=right)
        await CONSEQUENCES[resource, verb](bench)


async def test_with_all_of_them_nothing_is_missing(scene: Scene, tmp_path: Path) -> None:
    with ExitStack() as undo:
        bench = prepared(scene, tmp_path, undo, without=None)
        look = scene.admin.add_fault(Fault(operation="ShowEngine", delay_ms=60_000))
        bench.operator.start()
        await scene.admin.wait_for_async("ShowEngine", phase="received", timeout=60)
        scene.annotate("orders", noticed="by-nobody")
        scene.admin.clear_faults(look)

        await scene.until_reason("orders", "UpToDate")
        await scene.event("orders", "UpToDate")
        assert bench.operator.terminate() == 0
        assert "forbidden" not in bench.operator.output()
        assert len(scene.changing_calls()) == 1
