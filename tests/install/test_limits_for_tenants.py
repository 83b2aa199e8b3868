"""Bounds for tenants and for the operator's Pod: policies, quotas, and scanners' rules."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cse_simulator.control_plane import Cluster
from support.chart_tools import BUILD_SECONDS, CHART, Helm
from support.engines import engine_manifest
from support.installation import DEPLOY, kustomization, kustomized, parsed, the
from support.kubectl import Kubectl
from support.repository import ROOT

PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
PROJECT = engine_manifest("any", namespace="any")["spec"]["projectId"]


@pytest.fixture
def policies(kubectl: Kubectl, namespace: str, tmp_path: Path) -> Iterator[str]:
    """The shipped policies, in force in the test's namespace only."""
    suffix = f"-{namespace[-8:]}"
    objects = kustomized(kubectl, DEPLOY / "admission")
    only_here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    for item in objects:
        item["metadata"]["name"] += suffix
        if item["kind"] == "ValidatingAdmissionPolicyBinding":
            item["spec"]["policyName"] += suffix
            item["spec"]["matchResources"] = {"namespaceSelector": only_here}
    text = yaml.safe_dump_all(objects)
    kubectl("apply", "-f", "-", stdin=text)
    _until_refused(kubectl, namespace, annotations={"big": "x" * 40_000})
    _until_refused(kubectl, namespace)
    yield namespace
    kubectl("delete", "-f", "-", stdin=text)


def _tried(
    kubectl: Kubectl, namespace: str, spec: dict[str, Any] | None = None, **metadata: Any
) -> str:
    manifest = engine_manifest("orders", namespace=namespace, **(spec or {}))
    manifest["metadata"] |= metadata
    flags = ("create", "--dry-run=server", "-f", "-")
    ended = kubectl.run(*flags, stdin=yaml.safe_dump(manifest))
    return ended.stdout + ended.stderr


def _until_refused(kubectl: Kubectl, namespace: str, **metadata: Any) -> None:
    """Wait until a policy is in force: a moment after it is stored, without a notice."""
    deadline = time.monotonic() + 60
    while "ValidatingAdmissionPolicy" not in _tried(kubectl, namespace, **metadata):
        assert time.monotonic() < deadline, "the policies are not in force"
        time.sleep(0.2)


def _until(said: str, kubectl: Kubectl, namespace: str, spec: dict[str, Any] | None = None) -> str:
    """Wait until an attempt is answered so, because the policies watch namespaces."""
    deadline = time.monotonic() + 60
    while said not in (answer := _tried(kubectl, namespace, spec)):
        assert time.monotonic() < deadline, answer
        time.sleep(0.2)
    return answer


def _refusal(namespace: str, what: str, annotation: str, now: str) -> str:
    named = f"the annotation cse-operator.io/{annotation} of the namespace {namespace}"
    return f"{what} is not in {named} (now: {now}). A cluster administrator can set it: kubectl "


def _suggested(said: str) -> list[str]:
    """Return the arguments of the kubectl command that a refusal suggests."""
    [command] = re.findall(r"set it: kubectl (annotate --overwrite namespace \S+ \S+)", said)
    return str(command).split()


def test_a_namespace_may_name_the_projects_of_its_annotation_and_no_others(
    kubectl: Kubectl, policies: str
) -> None:
    what = f"the project {PROJECT}"
    assert _refusal(policies, what, "project-ids", "none") in _tried(kubectl, policies)
    annotate = ("annotate", "--overwrite", "namespace", policies)
    kubectl(*annotate, "cse-operator.io/project-ids=other-project")
    refusal = _refusal(policies, what, "project-ids", "other-project")
    kubectl(*_suggested(_until(refusal, kubectl, policies)))
    _until("created", kubectl, policies)


@pytest.mark.parametrize(
    ("provider", "way"),
    [
        ("cce", {"identityProvider": "cce"}),
        (
            "iam::0a1b:identityProvider:cce",
            {
                "trustAgency": {
                    "providerUrn": "iam::0a1b:identityProvider:cce",
                    "agencyUrn": "iam::0a1b:agency:cse",
                }
            },
        ),
    ],
)
def test_a_namespace_may_name_the_identity_providers_of_its_annotation_and_no_others(
    kubectl: Kubectl, policies: str, provider: str, way: dict[str, Any]
) -> None:
    annotate = ("annotate", "--overwrite", "namespace", policies)
    kubectl(*annotate, f"cse-operator.io/project-ids={PROJECT}")
    spec = {"credentialsRef": {"serviceAccount": {"name": "upgrades", **way}}}
    what = f"the identity provider {provider}"
    _until(_refusal(policies, what, "identity-providers", "none"), kubectl, policies, spec)
    assert "created" in _tried(kubectl, policies)  # Secrets still work as before
    kubectl(*annotate, "cse-operator.io/identity-providers=other")
    refusal = _refusal(policies, what, "identity-providers", "other")
    kubectl(*_suggested(_until(refusal, kubectl, policies, spec)))
    _until("created", kubectl, policies, spec)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"labels": {f"label-{n}": "x" for n in range(65)}}, "64 labels at most"),
        ({"annotations": {f"a-{n}": "x" for n in range(65)}}, "64 annotations at most"),
        ({"annotations": {"a": "x" * 32_769}}, "with 32,768 characters each"),
        ({"finalizers": [f"example.com/{n}" for n in range(17)]}, "16 finalizers"),
    ],
    ids=["labels", "annotations", "a long annotation", "finalizers"],
)
def test_no_resource_grows_without_bound(
    kubectl: Kubectl, policies: str, metadata: dict[str, Any], said: str
) -> None:
    kubectl("annotate", "namespace", policies, f"cse-operator.io/project-ids={PROJECT}")
    assert said in _tried(kubectl, policies, **metadata)


def test_the_quota_of_the_sample_counts_engines(
    kubectl: Kubectl, control_plane: Cluster, namespace: str
) -> None:
    sample = yaml.safe_load((DEPLOY / "samples" / "tenants" / "quota.yaml").read_text())
    [counted] = sample["spec"]["hard"]
    sample["metadata"]["namespace"] = namespace
    sample["spec"]["hard"][counted] = "1"
    _quota_in_force(kubectl, control_plane, sample)

    manifests = [engine_manifest(name, namespace=namespace) for name in ("first", "second")]
    kubectl("create", "-f", "-", stdin=yaml.safe_dump(manifests[0]))
    refused = kubectl.run("create", "-f", "-", stdin=yaml.safe_dump(manifests[1]))
    assert "exceeded quota: engines" in refused.stderr


def _quota_in_force(kubectl: Kubectl, cluster: Cluster, quota: dict[str, Any]) -> None:
    """Store a quota, and write its status in place of the controller, which does not run here."""
    name, namespace = quota["metadata"]["name"], quota["metadata"]["namespace"]
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump(quota))
    hard = quota["spec"]["hard"]
    path = f"/api/v1/namespaces/{namespace}/resourcequotas/{name}"
    stored = cluster.request("GET", path)
    stored["status"] = {"hard": hard, "used": dict.fromkeys(hard, "0")}
    cluster.request("PUT", f"{path}/status", stored)


def test_where_a_quota_asks_for_a_cpu_limit_the_patch_of_the_docs_states_one(
    kubectl: Kubectl, control_plane: Cluster, namespace: str, tmp_path: Path
) -> None:
    [block] = [b for b in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "limits/cpu" in b]
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "compute", "namespace": namespace},
        "spec": {"hard": {"limits.cpu": "4"}},
    }
    _quota_in_force(kubectl, control_plane, quota)
    kubectl("-n", namespace, "create", "serviceaccount", "cse-operator")

    def tried(**fields: Any) -> str:
        folder = kustomization(tmp_path / str(len(fields)), namespace=namespace, **fields)
        template = the(kustomized(kubectl, folder), "Deployment")["spec"]["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        pod["metadata"] |= {"name": "cse-operator", "namespace": namespace}
        flags = ("create", "--dry-run=server", "-f", "-")
        ended = kubectl.run(*flags, stdin=yaml.safe_dump(pod))
        return ended.stdout + ended.stderr

    assert "must specify limits.cpu" in tried()
    assert "created" in tried(**yaml.safe_load(block))


@pytest.mark.timeout(BUILD_SECONDS)
def test_both_ways_of_installing_give_a_slow_start_five_minutes_and_answer_scanners_alike(
    kubectl: Kubectl, tmp_path: Path
) -> None:
    ours = the(kustomized(kubectl, DEPLOY / "base"), "Deployment")
    charts = the(parsed(Helm(tmp_path)("template", "cse-operator", str(CHART))), "Deployment")
    answers = []
    for deployment in (ours, charts):
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        probe = container["startupProbe"]
        assert probe["httpGet"] == container["livenessProbe"]["httpGet"]
        assert probe["periodSeconds"] * probe["failureThreshold"] >= 300
        answers.append(deployment["metadata"]["annotations"])
    assert answers[0] == answers[1]
    for answer in answers[0].values():
        check, _, reason = answer.partition("=")
        assert re.fullmatch(r"CKV_K8S_\d+", check)
        assert len(reason.split()) >= 5
        assert f"`{check}`" in PAGE


def test_a_drained_node_waits_for_one_replica_only_where_there_are_two(kubectl: Kubectl) -> None:
    alone = kustomized(kubectl, DEPLOY / "base")
    assert "PodDisruptionBudget" not in {item["kind"] for item in alone}
    two = kustomized(kubectl, DEPLOY / "overlays" / "high-availability")
    budget = the(two, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
