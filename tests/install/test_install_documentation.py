"""docs/install.md: the files that it names exist, and its examples work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from support.chart_tools import BUILD_SECONDS, CHART, Helm
from support.installation import kustomization, kustomized, the
from support.kubectl import Kubectl
from support.repository import ROOT

PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
CHART_README = (CHART / "README.md").read_text(encoding="utf-8")

BLOCKS = re.findall(r"^```(?:sh|yaml)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
HERE_DOCUMENTS = re.findall(r"<<EOF\n(.*?)^EOF$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_file_it_names_is_there() -> None:
    named = {*re.findall(r"\b(?:deploy|crds|docs)/[-\w./]*\w|\bcrds\b", PAGE)}

    assert "deploy/overlays/namespaced" in named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    "text", [block for block in BLOCKS + HERE_DOCUMENTS if block.startswith("apiVersion: kustom")]
)
def test_a_kustomization_it_shows_can_be_applied(
    kubectl: Kubectl, tmp_path: Path, text: str
) -> None:
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "kustomization.yaml").write_text(text)

    objects = kustomized(kubectl, tmp_path / "ours")

    deployment, shown = the(objects, "Deployment"), yaml.safe_load(text)
    assert deployment["metadata"]["namespace"] == shown["namespace"]
    for image in shown.get("images", ()):
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"{image['newName']}:{image['newTag']}"


def test_the_service_account_takes_the_pull_secret_that_it_shows(
    kubectl: Kubectl, namespace: str
) -> None:
    [patch] = re.findall(r"--patch '(\{.*\})'", PAGE)
    kubectl("-n", namespace, "create", "serviceaccount", "cse-operator")

    kubectl("-n", namespace, "patch", "serviceaccount", "cse-operator", "--patch", patch)

    taken = kubectl("-n", namespace, "get", "serviceaccount", "cse-operator", "-o", "yaml")
    assert yaml.safe_load(taken)["imagePullSecrets"] == [{"name": "swr"}]


def test_the_patch_it_shows_adds_a_port_to_the_policy(kubectl: Kubectl, tmp_path: Path) -> None:
    [shown] = [block for block in BLOCKS if "/spec/egress/1/ports/-" in block]

    objects = kustomized(kubectl, kustomization(tmp_path, **yaml.safe_load(shown)))

    ports = the(objects, "NetworkPolicy")["spec"]["egress"][1]["ports"]
    assert {port["port"] for port in ports} >= {443, 16443}


def test_the_labels_it_shows_for_a_prometheus_are_put_on_what_it_selects(
    kubectl: Kubectl, tmp_path: Path
) -> None:
    [shown] = [block for block in BLOCKS if "/metadata/labels/release" in block]

    ours = kustomization(tmp_path, "monitoring", **yaml.safe_load(shown))
    objects = kustomized(kubectl, ours)

    selected = {item["kind"] for item in objects if "release" in item["metadata"]["labels"]}
    assert selected == {"ServiceMonitor", "PrometheusRule"}


def test_the_api_server_takes_the_roles_for_people(kubectl: Kubectl) -> None:
    applied = kubectl("apply", "--dry-run=server", "-k", str(ROOT / "deploy" / "roles"))

    assert len(applied.splitlines()) == 5


def test_the_policy_it_shows_for_cilium_selects_the_operator(kubectl: Kubectl) -> None:
    [policy] = [yaml.safe_load(block) for block in BLOCKS if "CiliumNetworkPolicy" in block]

    ours = the(kustomized(kubectl, ROOT / "deploy" / "base"), "NetworkPolicy")
    assert policy["spec"]["endpointSelector"] == ours["spec"]["podSelector"]
    assert policy["metadata"]["namespace"] == ours["metadata"]["namespace"]


@pytest.mark.timeout(BUILD_SECONDS)
def test_the_chart_knows_every_value_it_sets(tmp_path: Path) -> None:
    helm = Helm(tmp_path)
    shown = re.findall(r"--set '?([\w.\[\]]+=[^\s'`]+)", PAGE + CHART_README)
    shown += re.findall(r"`([a-z]\w*\.[\w.]+=\w+)`", PAGE)

    assert len(shown) > 5
    for value in shown:
        helm("template", "cse-operator", str(CHART), f"--set={value}")
