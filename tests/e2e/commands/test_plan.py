"""`cse-operator plan` for engines in every state: the prediction comes true after the apply."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from cse_operator.api.names import APPROVED_VERSION, POLICY_PLURAL
from cse_simulator.vendor.admin_answers import EngineSummary
from cse_simulator.vendor.jobs import JobPlan
from support import command, wait
from support.engines import engine_manifest
from support.kubectl import Kubectl
from support.policies import policy_manifest
from support.repository import ROOT
from support.scene import Scene, ready
from support.wait import ENGINES

Object = dict[str, Any]
RETRY, LOOK = "cse-operator.io/retry-requested-at", "cse-operator.io/reconcile-requested-at"


@dataclass
class Fleet:
    """The stored engines and resources, and the manifests that the test will apply."""

    scene: Scene
    manifests: dict[str, Object] = field(default_factory=dict)
    engines: dict[str, EngineSummary] = field(default_factory=dict)

    async def here(
        self,
        name: str,
        reason: str,
        *,
        engine: dict[str, str] | None = None,
        job: JobPlan | None = None,
        **spec: Any,
    ) -> None:
        """Create a resource and wait until it has this reason."""
        summary = self.engines[name] = self.scene.engine(name, **(engine or {}))
        if job is not None:
            self.scene.admin.plan_jobs(job, summary.id)
        self.scene.resource(summary, name, **spec)
        await self.scene.until_reason(name, reason)

    def wanted(
        self,
        name: str,
        *,
        like: str | None = None,
        annotations: Object | None = None,
        labels: Object | None = None,
        **spec: Any,
    ) -> None:
        """Add a manifest that the test will apply."""
        engine = self.engines.get(like or name)
        ids = {"projectId": self.scene.project, "engineId": engine.id if engine else "no-such"}
        manifest = engine_manifest(name, namespace=self.scene.namespace, **{**ids, **spec})
        if annotations:
            manifest["metadata"]["annotations"] = annotations
        if labels:
            manifest["metadata"]["labels"] = labels
        self.manifests[name] = manifest

    def write(self, folder: Path) -> None:
        for name, manifest in self.manifests.items():
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(manifest))

    def calls(self) -> dict[str, int]:
        """Return the number of upgrade and retry calls, by the engine's name."""
        return {
            name: len(self.scene.changing_calls(engine)) for name, engine in self.engines.items()
        }


async def policies_in_force(scene: Scene) -> None:
    """Create two policies, and wait until the operator has written their status."""
    for name, spec in (("closed", {"suspend": True}), ("manual", {"approval": "Manual"})):
        selector = {"matchLabels": {"gate": name}}
        manifest = policy_manifest(scene.namespace, name, selector=selector, **spec)
        scene.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))
        await wait.wait_for_resource(
            scene.cluster,
            scene.namespace,
            name,
            lambda item: item["status"]["conditions"],
            collection=f"{ENGINES.rpartition('/')[0]}/{POLICY_PLURAL}",
        )


async def fleet_in_every_state(scene: Scene) -> Fleet:
    """Create an engine in every state, and a manifest for each."""
    fleet = Fleet(scene)
    scene.secret()
    old, latest = {"version": "2.3.1"}, {"version": "2.4.0"}
    failing = JobPlan(outcome="error")
    no_retry = {"upgrade": {"retryLimit": 0}}

    await fleet.here("rest", "UpToDate", engine=latest)
    fleet.wanted("rest")
    await fleet.here("patched", "UpToDate", engine={"version": "2.4.3"})
    fleet.wanted("patched")
    await fleet.here("due", "UpToDate", **old)
    fleet.wanted("due")
    await fleet.here("suspended", "UpToDate", **old)
    fleet.wanted("suspended", suspend=True)
    await fleet.here("resumed", "Suspended", suspend=True)
    fleet.wanted("resumed", suspend=False)
    await fleet.here("back", "UpToDate", engine=latest)
    fleet.wanted("back", version="2.3.1")
    await fleet.here("letters", "UpToDate", engine={"version": "2.4.0.B1"}, version="2.4.0.B1")
    fleet.wanted("letters", version="2.5.0")
    await fleet.here("odd", "UpToDate", **old)
    fleet.wanted("odd", version="9.9.9")
    await fleet.here("failed", "UpgradeFailed", job=failing, **no_retry)
    fleet.wanted("failed", **no_retry)
    await fleet.here("again", "UpgradeFailed", job=failing, **no_retry)
    fleet.wanted("again", annotations={RETRY: "once"}, **no_retry)
    await fleet.here("running", "Upgrading", job=JobPlan(outcome="never"))
    fleet.wanted("running")
    await fleet.here("changing", "UpToDate", **old)
    scene.admin.patch_engine(fleet.engines["changing"].id, status="Modifying")
    fleet.wanted("changing")
    await fleet.here("frozen", "UpToDate", **old)
    scene.admin.patch_engine(fleet.engines["frozen"].id, status="Freezed")
    fleet.wanted("frozen")
    await fleet.here("elsewhere", "UpToDate", **old)
    scene.admin.plan_jobs(JobPlan(outcome="never"), fleet.engines["elsewhere"].id)
    scene.admin.start_foreign_upgrade(fleet.engines["elsewhere"].id, "2.4.0")
    fleet.wanted("elsewhere")
    await policies_in_force(scene)
    for name in ("gated", "unapproved", "approved"):
        await fleet.here(name, "UpToDate", **old)
    fleet.wanted("gated", labels={"gate": "closed"})
    fleet.wanted("unapproved", labels={"gate": "manual"})
    approval = {APPROVED_VERSION: "2.4.0"}
    fleet.wanted("approved", labels={"gate": "manual"}, annotations=approval)
    fleet.wanted("second", like="rest")
    fleet.wanted("missing")
    fleet.engines["fresh"] = scene.engine("fresh")
    fleet.wanted("fresh")
    fleet.engines["settled"] = scene.engine("settled", version="2.4.0")
    fleet.wanted("settled")
    fleet.engines["keyless"] = scene.engine("keyless")
    fleet.wanted("keyless", credentialsRef={"name": "not-there"})
    return fleet


EXPECTED = {
    "rest": "nothing",
    "patched": "nothing",
    "due": "upgrade",
    "suspended": "held",
    "resumed": "upgrade",
    "back": "refused",
    "letters": "refused",
    "odd": "upgrade",
    "failed": "refused",
    "again": "upgrade",
    "running": "upgrading",
    "changing": "held",
    "frozen": "refused",
    "elsewhere": "upgrading",
    "gated": "held",
    "unapproved": "held",
    "approved": "upgrade",
    "second": "not the owner",
    "missing": "refused",
    "fresh": "upgrade",
    "settled": "nothing",
    "keyless": "held",
}
NEW = {"second", "missing", "fresh", "settled", "keyless"}


def plan(scene: Scene, folder: Path, *flags: str, code: int = 0, **options: Any) -> str:
    """Plan the folder, and return the output."""
    vendor = None if "--offline" in flags else scene.simulation.url
    result = command.run(
        *("plan", "-f", str(folder), *flags),
        vendor=vendor,
        kubeconfig=scene.cluster.kubeconfig,
        settings={"CSE_OPERATOR_NAMESPACES": scene.namespace},
        **{"access_key": False, **options},
    )
    assert result.returncode == code, result.stderr
    return result.stdout


def verdicts(printed: str) -> dict[str, Object]:
    return {one["name"]: one for one in json.loads(printed)["engines"]}


@pytest.mark.timeout(300)
async def test_a_plan_predicts_what_happens_to_engines_in_every_state(scene: Scene, tmp_path: Path):
    fleet = await fleet_in_every_state(scene)
    fleet.write(tmp_path)
    before, objects = fleet.calls(), {name: scene.get(name) for name in EXPECTED.keys() - NEW}

    said = verdicts(plan(scene, tmp_path, "--ask-vendor", "-o", "json"))
    assert {name: one["verdict"] for name, one in said.items()} == EXPECTED
    detailed = ("--ask-vendor", "--detailed-exitcode")
    assert "Plan for 22 engines" in plan(scene, tmp_path, *detailed, code=3)
    from_statuses = verdicts(plan(scene, tmp_path, "-o", "json"))

    # The plan has started nothing and written nothing.
    assert fleet.calls() == before
    assert {name: scene.get(name)["spec"] for name in objects} == {
        name: item["spec"] for name, item in objects.items()
    }

    scene.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(tmp_path))
    for name, one in said.items():
        await assert_it_happens(fleet, name, one, before.get(name, 0))
    # The vendor got only the calls that the plan announced.
    assert fleet.calls() == {
        name: before[name] + (said[name]["verdict"] == "upgrade") for name in fleet.engines
    }

    # Without `--ask-vendor`, the plan says less and nothing different.
    unknown = {name for name, one in from_statuses.items() if one["verdict"] == "unknown"}
    assert unknown == NEW - {"second"} | {"again"}
    # Changes at the vendor that the operator has not seen: it looks every ten minutes at rest.
    lately = {"changing", "frozen", "elsewhere"}
    for name in EXPECTED.keys() - unknown - lately:
        assert from_statuses[name]["verdict"] == EXPECTED[name], name


async def assert_it_happens(fleet: Fleet, name: str, said: Object, calls_before: int) -> None:
    """Assert that the resource does what the plan said."""
    scene = fleet.scene
    if said["verdict"] == "upgrade":
        ends = {"UpgradeRejected"} if said["warnings"] else {"UpToDate"}
        item = await scene.until(name, lambda item: is_seen(item) and ready(item)["reason"] in ends)
        assert len(scene.changing_calls(fleet.engines[name])) == calls_before + 1, name
        if not said["warnings"]:
            assert item["status"]["currentVersion"] == said["to"]
        return
    scene.kubectl(
        *("annotate", "mse", name, "-n", scene.namespace, f"{LOOK}=now", "--overwrite"),
    )
    await scene.until(name, lambda item: is_seen(item) and ready(item)["reason"] == said["reason"])


def is_seen(item: Object) -> bool:
    return bool(item["status"]["observedGeneration"] == item["metadata"]["generation"])


# --- rights ---------------------------------------------------------------------------------------


@pytest.fixture
def planner(scene: Scene, tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig of an account with only the role for plans, in the whole cluster."""
    role = next(
        one
        for one in yaml.safe_load_all((ROOT / "deploy/roles/roles.yaml").read_text())
        if one["metadata"]["name"] == "cse-engines-plan"
    )
    name = f"planner-{scene.namespace}"
    account = f"/api/v1/namespaces/{scene.namespace}/serviceaccounts"
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    scene.cluster.request("POST", account, {"metadata": {"name": "planner"}})
    role["metadata"] = {"name": name}
    scene.cluster.request("POST", f"{rbac}/clusterroles", role)
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "planner", "namespace": scene.namespace}],
    }
    scene.cluster.request("POST", f"{rbac}/clusterrolebindings", binding)
    token = scene.cluster.service_account_token(scene.namespace, "planner")
    yield scene.cluster.write_kubeconfig(tmp_path / "planner.kubeconfig", token)
    for kind in ("clusterrolebindings", "clusterroles"):
        scene.cluster.request("DELETE", f"{rbac}/{kind}/{name}")


async def test_the_role_for_plans_suffices_and_changes_nothing(
    scene: Scene, planner: Path, tmp_path: Path
):
    scene.secret()
    engine = scene.engine("orders")
    scene.resource(engine, version="2.3.1")
    await scene.until_reason("orders", "UpToDate")
    folder = tmp_path / "manifests"
    folder.mkdir()
    ids = {"projectId": scene.project, "engineId": engine.id}
    manifest = engine_manifest("orders", namespace=scene.namespace, **ids)
    (folder / "orders.yaml").write_text(yaml.safe_dump(manifest))
    result = command.run(
        *("plan", "-f", str(folder), "--ask-vendor"),
        vendor=scene.simulation.url,
        kubeconfig=planner,
    )
    assert result.returncode == 0, result.stderr
    assert f"► {scene.namespace}/orders  upgrade  2.3.1 → 2.4.0" in result.stdout

    kubectl = Kubectl(scene.cluster, planner)
    for verb in ("create", "update", "patch", "delete", "watch", "get"):
        asked = kubectl.run("auth", "can-i", verb, "microserviceengines.cse-operator.io", "-A")
        assert asked.stdout.strip() == "no", verb
    for verb, what in (("get", "secrets"), ("patch", "microserviceengines/status")):
        assert kubectl.run("auth", "can-i", verb, what, "-A").stdout.strip() == "no"
    refused = kubectl.run("apply", "-f", str(folder))
    assert "forbidden" in refused.stderr.lower()
    assert scene.changing_calls() == []


def test_the_role_for_plans_suffices_for_an_import_with_an_access_key(scene: Scene, planner: Path):
    """docs/install.md names this role, and the right to get the Secret if there is no key."""
    engine = scene.engine("orders")
    scene.secret()

    def imported(*, access_key: bool) -> CompletedProcess[str]:
        ids = ("--region=cn-north-4", f"--project={scene.project}", f"-n={scene.namespace}")
        return command.run(
            *("import", *ids),
            vendor=scene.simulation.url,
            kubeconfig=planner,
            access_key=access_key,
        )

    with_key = imported(access_key=True)
    assert with_key.returncode == 0, with_key.stderr
    assert engine.id in with_key.stdout
    without = imported(access_key=False)
    assert without.returncode == 1
    assert "huaweicloud" in without.stderr
    assert "forbidden" in without.stderr.lower()


# --- refusals by the API server -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "v2.4.0"}, "spec.version: write at least three numeric parts"),
        ({"version": "2.4"}, "spec.version: write at least three numeric parts"),
        ({"version": 2.4}, "spec.version: Input should be a valid string: quote it"),
        ({"verison": "2.4.0"}, "there is no field spec.verison"),
        ({"upgrade": {"retries": 1}}, "there is no field spec.upgrade.retries"),
        (
            {"upgrade": {"timeout": "1d"}},
            "spec.upgrade.timeout: write hours, minutes and seconds, such as 90m or 24h",
        ),
        ({"engineId": "another"}, "spec.engineId is immutable"),
        ({"region": "Nowhere"}, "spec.region: write a region such as cn-north-4"),
        ({"suspend": "yes"}, "spec.suspend"),
    ],
)
def test_what_a_plan_refuses_the_api_server_refuses(
    unserved: Scene, tmp_path: Path, change: Object, said: str
):
    scene = unserved
    scene.resource(scene.engine("orders"))
    stored = scene.get("orders")
    manifest = engine_manifest("orders", namespace=scene.namespace, **{**stored["spec"], **change})
    (tmp_path / "orders.yaml").write_text(yaml.safe_dump(manifest))
    [one] = verdicts(plan(scene, tmp_path, "-o", "json")).values()
    assert one["verdict"] == "refused"
    assert one["message"].startswith(said)
    assert one["line"] == 1 + manifest_line(tmp_path / "orders.yaml")
    applied = scene.kubectl.run("apply", "--server-side", "--validate=strict", "-f", str(tmp_path))
    assert applied.returncode == 1
    assert scene.get("orders")["spec"] == stored["spec"]


def manifest_line(file: Path) -> int:
    """Return the line of the version in the manifest."""
    lines = file.read_text().splitlines()
    return next(number for number, line in enumerate(lines) if line.startswith("  version:"))
