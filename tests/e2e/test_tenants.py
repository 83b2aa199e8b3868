"""Tenants are isolated: one namespace neither slows nor endangers another."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.simulation import start_simulator
from support.operator_process import OperatorProcess
from support.scene import Scene, ready
from support.town import QUICK, Town, a_town
from support.wait import ENGINES


@pytest.fixture
def town(control_plane: Cluster, tmp_path: Path) -> Iterator[Town]:
    with a_town(control_plane, tmp_path) as town:
        yield town


async def test_hundreds_of_made_up_projects_at_a_vendor_that_hangs_slow_nobody(
    town: Town,
) -> None:
    town.noisy.secret()
    manifests = []
    for number in range(400):
        project = f"{number:032x}"
        town.noisy.admin.add_fault(Fault(project=project, hang=True, times=None))
        manifests.append(town.manifest(f"made-up-{number}", projectId=project))
    await town.beside(lambda round_: town.fill(manifests) if not round_ else None)


async def test_an_older_resource_without_credentials_does_not_block_an_engine(
    town: Town,
) -> None:
    engine = town.lone.engine()
    town.noisy.resource(engine, "squatter", projectId=town.lone.project)
    await town.noisy.until_reason("squatter", "CredentialsNotFound")
    await asyncio.sleep(1.1)  # creation times have whole seconds; the first must be older
    town.lone.resource(engine)
    item = await town.lone.until_reason("orders", "UpToDate")
    assert item["status"]["result"] == "Succeeded"
    squatter = town.noisy.get("squatter")
    assert ready(squatter)["reason"] == "CredentialsNotFound"
    assert town.lone.namespace not in str(squatter["status"])


async def test_no_upgrade_starts_with_a_cached_secret_that_was_deleted(
    town: Town,
) -> None:
    scene = town.lone
    scene.resource(scene.engine("first"))
    await scene.until_reason("first", "UpToDate")
    scene.cluster.request("DELETE", f"/api/v1/namespaces/{scene.namespace}/secrets/huaweicloud")
    second = scene.engine("second")
    scene.resource(second)
    await scene.until_reason("second", "CredentialsNotFound")
    assert scene.changing_calls(second) == []


async def test_a_namespace_that_is_forbidden_is_skipped_and_served_when_it_is_not(
    control_plane: Cluster, tmp_path: Path
) -> None:
    suite = secrets.token_hex(4)
    allowed, forbidden = (f"town-{suite}-{name}" for name in ("allowed", "forbidden"))
    for name in (allowed, forbidden):
        control_plane.create_namespace(name)
    accounts = f"/api/v1/namespaces/{allowed}/serviceaccounts"
    control_plane.request("POST", accounts, {"metadata": {"name": "operator"}})
    _allow(control_plane, allowed, account=allowed)
    token = control_plane.service_account_token(allowed, "operator")
    kubeconfig = control_plane.write_kubeconfig(tmp_path / "kubeconfig", token)
    with start_simulator(job_seconds=0.3) as simulation:
        here, there = (Scene(control_plane, name, simulation) for name in (allowed, forbidden))
        for scene in (here, there):
            scene.secret()
            scene.resource(scene.engine())
        with OperatorProcess(
            kubeconfig,
            tmp_path / "log",
            cse_endpoint=simulation.url,
            namespaces=[allowed, forbidden],
            flags=[*QUICK, "--resync-interval=1"],
        ) as operator:
            await here.until_reason("orders", "UpToDate")
            assert f"namespace {forbidden} is skipped" in operator.output()
            operator.wait_until_shown("^cse_operator_skipped_namespaces 1.0")
            _allow(control_plane, forbidden, account=allowed)
            await there.until_reason("orders", "UpToDate")
            operator.wait_until_shown("^cse_operator_skipped_namespaces 0.0")
    for name in (allowed, forbidden):
        control_plane.delete_namespace(name, (ENGINES, "api/v1/secrets", "api/v1/events"))


def _allow(cluster: Cluster, namespace: str, *, account: str) -> None:
    """Give the operator's account its rights in a namespace."""
    group = "cse-operator.io"
    rules = [
        (group, "microserviceengines", ["get", "list", "watch"]),
        (group, "microserviceengines/status", ["patch"]),
        (group, "upgradepolicies", ["list", "watch"]),
        ("", "secrets", ["get"]),
        ("", "events", ["create"]),
    ]
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    role = {
        "metadata": {"name": "operator"},
        "rules": [
            {"apiGroups": [group], "resources": [resource], "verbs": verbs}
            for group, resource, verbs in rules
        ],
    }
    cluster.request("POST", f"{path}/roles", role)
    who = {"kind": "ServiceAccount", "name": "operator", "namespace": account}
    binding = {
        "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
        "subjects": [who],
    }
    cluster.request("POST", f"{path}/rolebindings", binding)


async def test_a_key_rotated_while_five_engines_rest_is_noticed_by_all_within_one_resync(
    control_plane: Cluster, namespace: str, tmp_path: Path
) -> None:
    with start_simulator(job_seconds=0.3) as simulation:
        scene = Scene(control_plane, namespace, simulation)
        old, new = {"token": "canary-old"}, {"token": "canary-new"}
        scene.admin.accept_only(tokens={old["token"]: ""})
        scene.secret(**old)
        found = [scene.engine(f"e{number}", version="2.4.0") for number in range(5)]
        with OperatorProcess(
            control_plane.kubeconfig,
            tmp_path / "log",
            cse_endpoint=simulation.url,
            namespaces=[namespace],
            flags=[*QUICK, "--resync-interval=3", "--slow-interval=1"],
        ):
            for engine in found:
                scene.resource(engine)
            for engine in found:
                await scene.until_reason(engine.name, "UpToDate")
            scene.admin.accept_only(tokens={new["token"]: ""})
            scene.change_secret(**new)
            before = {
                engine.id: len(scene.calls("ShowEngine", engine=engine.id)) for engine in found
            }
            for engine in found:
                await scene.admin.wait_for_async(
                    "ShowEngine", before[engine.id] + 1, engine=engine.id, status=200
                )
                await scene.until_reason(engine.name, "UpToDate")
