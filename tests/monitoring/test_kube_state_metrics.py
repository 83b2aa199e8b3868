"""The real kube-state-metrics' output for resources in each phase, with our configuration."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from cse_simulator.vendor.jobs import JobPlan
from cse_simulator.vendor.simulation import start_simulator
from support import processes
from support.go_tools import BUILD_SECONDS, module_tool
from support.operator_process import OperatorProcess
from support.repository import ROOT
from support.scene import Scene

CONFIGURATION = ROOT / "deploy" / "monitoring" / "kube-state-metrics.yaml"
READY_SECONDS = 60
RBAC = "/apis/rbac.authorization.k8s.io/v1"

CLUSTER_ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "rules": [
        {
            "apiGroups": ["apiextensions.k8s.io"],
            "resources": ["customresourcedefinitions"],
            "verbs": ["list", "watch"],
        },
        {
            "apiGroups": ["cse-operator.io"],
            "resources": ["microserviceengines"],
            "verbs": ["list", "watch"],
        },
    ],
}
"""The rights that the documentation names."""


@pytest.mark.timeout(BUILD_SECONDS)
async def test_kube_state_metrics_shows_versions_phases_and_conditions(
    control_plane, namespace, tmp_path
):
    binary = module_tool("kube-state-metrics", "kube-state-metrics")
    with start_simulator(job_seconds=0.3) as simulation:
        scene = Scene(control_plane, namespace, simulation)
        await come_to_rest(scene, tmp_path)
    with KubeStateMetrics(binary, scene, tmp_path) as metrics:
        samples = metrics.until_complete({"current", "moving", "rejected", "waiting"})

    info = {labels["name"]: labels for labels, _ in samples["cse_engine_info"]}
    assert versions_and_phase(info["current"]) == ("2.4.0", "2.4.0", "2.4.0", "UpToDate")
    assert versions_and_phase(info["moving"]) == ("2.4.0", "2.3.1", "2.4.0", "Upgrading")
    assert versions_and_phase(info["rejected"]) == ("9.9.9", "2.3.1", "2.4.0", "Failed")
    assert versions_and_phase(info["waiting"]) == ("2.4.0", None, None, "Waiting")
    assert {labels["engine_namespace"] for labels in info.values()} == {namespace}

    conditions = {
        (labels["name"], labels["type"], labels["reason"]): value
        for labels, value in samples["cse_engine_condition"]
    }
    assert conditions == {
        ("current", "Ready", "UpToDate"): 1,
        ("moving", "Ready", "Upgrading"): 0,
        ("moving", "Reconciling", "Upgrading"): 1,
        ("rejected", "Ready", "UpgradeRejected"): 0,
        ("rejected", "Stalled", "UpgradeRejected"): 1,
        ("waiting", "Ready", "CredentialsNotFound"): 0,
        ("waiting", "Reconciling", "CredentialsNotFound"): 1,
    }


async def come_to_rest(scene, folder):
    """Bring resources to rest in four phases; the operator has ended then."""
    scene.secret()
    moving = scene.engine("moving")
    scene.admin.plan_jobs(JobPlan(outcome="never"), moving.id)
    scene.resource(moving)
    scene.resource(scene.engine("current"))
    scene.resource(scene.engine("rejected"), version="9.9.9")
    scene.resource(scene.engine("waiting"), credentialsRef={"name": "none"})
    expected = [
        ("current", "UpToDate"),
        ("moving", "Upgrading"),
        ("rejected", "UpgradeRejected"),
        ("waiting", "CredentialsNotFound"),
    ]
    operator = OperatorProcess(
        scene.cluster.kubeconfig,
        folder / "operator.log",
        cse_endpoint=scene.simulation.url,
        namespaces=[scene.namespace],
        flags=["--poll-interval=0.1"],
    )
    with operator:
        for name, reason in expected:
            await scene.until_reason(name, reason)
        assert operator.terminate() == 0


def versions_and_phase(labels):
    return tuple(labels.get(label) for label in ("wanted", "current", "latest", "phase"))


class KubeStateMetrics:
    """A real kube-state-metrics with our configuration, and only the rights that it needs."""

    def __init__(self, binary: Path, scene: Scene, folder: Path) -> None:
        self.port = processes.free_port()
        self.log = folder / "kube-state-metrics.log"
        self._cluster, self._account = scene.cluster, account_of(scene)
        self._process = processes.start(
            [
                str(binary),
                f"--kubeconfig={least_rights(scene, folder)}",
                "--custom-resource-state-only",
                f"--custom-resource-state-config-file={CONFIGURATION}",
                f"--namespaces={scene.namespace}",
                *("--host=127.0.0.1", f"--port={self.port}"),
                *("--telemetry-host=127.0.0.1", f"--telemetry-port={processes.free_port()}"),
            ],
            self.log,
            processes.python_environment(),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(30)
        for kind in ("clusterrolebindings", "clusterroles"):
            self._cluster.request("DELETE", f"{RBAC}/{kind}/{self._account}")

    def until_complete(self, names):
        """Wait until it shows these resources; return labels and values by series."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            samples = self._samples()
            if names == {labels["name"] for labels, _ in samples.get("cse_engine_info", [])}:
                return samples
            assert self._process.poll() is None, self.log.read_text()
            time.sleep(0.2)  # kube-state-metrics offers no event for a sample
        raise AssertionError(self.log.read_text())

    def _samples(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found


def account_of(scene: Scene) -> str:
    return f"kube-state-metrics-{scene.namespace}"


def least_rights(scene: Scene, folder: Path) -> Path:
    """Return a kubeconfig of an account with only the documented rights."""
    cluster, name = scene.cluster, account_of(scene)
    accounts = f"/api/v1/namespaces/{scene.namespace}/serviceaccounts"
    cluster.request("POST", accounts, {"metadata": {"name": name}})
    cluster.request("POST", f"{RBAC}/clusterroles", {**CLUSTER_ROLE, "metadata": {"name": name}})
    account = {"kind": "ServiceAccount", "name": name, "namespace": scene.namespace}
    cluster.request(
        "POST",
        f"{RBAC}/clusterrolebindings",
        {
            "metadata": {"name": name},
            "subjects": [account],
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": name,
            },
        },
    )
    token = cluster.service_account_token(scene.namespace, name)
    return cluster.write_kubeconfig(folder / "kube-state-metrics.kubeconfig", token)


def test_the_rights_that_the_configuration_names_are_those_it_was_tried_with():
    comment = "\n".join(
        line.removeprefix("#").removeprefix(" ")
        for line in CONFIGURATION.read_text().splitlines()
        if line.startswith("#")
    )
    rules = yaml.safe_load(comment[comment.index("rules:") :])["rules"]
    assert rules == CLUSTER_ROLE["rules"]
