"""Deleting or pruning an operator removes nothing of others, on the real API server.

The administrator of one namespace can install an operator there without further rights.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from cse_simulator.control_plane import Cluster, LocalControlPlane
from support.chart_tools import BUILD_SECONDS, CHART, Helm
from support.engines import engine_path
from support.installation import CRD, DEPLOY, SYSTEM, await_crd, install_steps_before, kustomization
from support.kubectl import Kubectl
from support.repository import ROOT

ENGINE = DEPLOY / "samples" / "servicecomb-engine.yaml"
LABELS = ("app.kubernetes.io/part-of=cse-operator", "app.kubernetes.io/name=cse-operator")
EVERYTHING = [
    f"--prune-allowlist={kind}"
    for kind in (
        *("core/v1/Namespace", "core/v1/ServiceAccount", "core/v1/Service", "apps/v1/Deployment"),
        "apiextensions.k8s.io/v1/CustomResourceDefinition",
        "rbac.authorization.k8s.io/v1/ClusterRole",
    )
]


def _an_engine_of(cluster: Cluster, namespace: str) -> None:
    Kubectl(cluster)("apply", "-n", namespace, "-f", str(ENGINE))


def _it_is_still_there(cluster: Cluster, namespace: str) -> None:
    name = yaml.safe_load(ENGINE.read_text())["metadata"]["name"]
    engine = cluster.request("GET", engine_path(namespace, name))
    assert "deletionTimestamp" not in engine["metadata"]


def test_deleting_an_installation_leaves_the_namespace_that_it_was_put_into(
    private_control_plane: LocalControlPlane, tmp_path: Path
) -> None:
    cluster, kubectl = private_control_plane.cluster, Kubectl(private_control_plane.cluster)
    cluster.create_namespace("platform")
    before = kubectl.json("get", "namespace", "platform")
    kubectl("apply", "-k", str(ROOT / "crds"))
    await_crd(cluster, kubectl)
    _an_engine_of(cluster, "platform")
    ours = str(kustomization(tmp_path, namespace="platform"))

    kubectl("apply", "-k", ours)
    assert kubectl.json("get", "namespace", "platform") == before
    kubectl("delete", "-k", ours)

    assert kubectl.json("get", "namespace", "platform") == before
    _it_is_still_there(cluster, "platform")


def test_one_team_s_uninstall_leaves_the_engines_of_the_other(
    private_control_plane: LocalControlPlane, tmp_path: Path
) -> None:
    cluster, kubectl = private_control_plane.cluster, Kubectl(private_control_plane.cluster)
    kubectl("apply", "-k", str(ROOT / "crds"))
    await_crd(cluster, kubectl)
    folders = {}
    for team in ("payments", "shipping"):
        cluster.create_namespace(team)
        folders[team] = str(kustomization(tmp_path / team, "namespaced", namespace=team))
        kubectl("apply", "-k", folders[team])
        _an_engine_of(cluster, team)

    kubectl("delete", "-k", folders["payments"])

    for team in folders:
        _it_is_still_there(cluster, team)
    kubectl("get", "deployment", "cse-operator", "-n", "shipping")


@pytest.mark.parametrize("label", LABELS)
def test_a_prune_of_all_that_is_ours_leaves_the_namespace_and_the_crd(
    private_control_plane: LocalControlPlane, tmp_path: Path, label: str
) -> None:
    cluster, kubectl = private_control_plane.cluster, Kubectl(private_control_plane.cluster)
    install_steps_before(kubectl)
    kubectl("apply", "-k", str(DEPLOY / "roles"))
    await_crd(cluster, kubectl)
    kubectl("apply", "-k", str(DEPLOY / "base"))
    _an_engine_of(cluster, SYSTEM)
    one = tmp_path / "one.yaml"
    account = {"name": "left", "namespace": SYSTEM, "labels": dict([label.split("=")])}
    one.write_text(
        yaml.safe_dump({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    )

    pruned = kubectl("apply", "--prune", "-l", label, "-f", str(one), *EVERYTHING)

    assert "deployment.apps/cse-operator pruned" in pruned
    assert "clusterrole.rbac.authorization.k8s.io/cse-operator pruned" in pruned
    gone = [line.split()[0] for line in pruned.splitlines() if line.endswith(" pruned")]
    assert not [name for name in gone if name.startswith(("namespace/", "customresource"))]
    assert not [name for name in gone if "cse-engines" in name]
    _it_is_still_there(cluster, SYSTEM)


@pytest.mark.parametrize("folder", [ROOT / "crds", DEPLOY / "namespace"], ids=lambda p: p.name)
def test_no_tool_prunes_what_the_steps_before_make(kubectl: Kubectl, folder: Path) -> None:
    for item in yaml.safe_load_all(kubectl("kustomize", str(folder))):
        annotations = item["metadata"]["annotations"]
        assert annotations["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
        assert annotations["kustomize.toolkit.fluxcd.io/prune"] == "disabled"
        assert annotations["helm.sh/resource-policy"] == "keep"


# --- the administrator of a namespace -------------------------------------------------------------


def _administrator(cluster: Cluster, namespace: str, folder: Path) -> Path:
    """Return the kubeconfig of a person with the role `admin`, and what `deploy/roles` adds to it.

    The controller that aggregates roles does not run, so each part is bound separately.
    """
    kubectl = Kubectl(cluster)
    kubectl("apply", "-k", str(DEPLOY / "roles"))
    kubectl("create", "serviceaccount", "person", "-n", namespace)
    roles = [f"system:aggregate-to-{role}" for role in ("admin", "edit", "view")]
    roles += [f"cse-engines-{role}" for role in ("admin", "edit", "view")]
    roles.append("cse-policies-admin")
    for role in roles:
        kubectl(
            *("create", "rolebinding", role.replace(":", "-"), "-n", namespace),
            *(f"--clusterrole={role}", f"--serviceaccount={namespace}:person"),
        )
    token = cluster.service_account_token(namespace, "person")
    return cluster.write_kubeconfig(folder / "person.kubeconfig", token, namespace)


def _with_crds_and_payments(control_plane: LocalControlPlane) -> Cluster:
    cluster = control_plane.cluster
    cluster.create_namespace("payments")
    Kubectl(cluster)("apply", "-k", str(ROOT / "crds"))
    await_crd(cluster, Kubectl(cluster))
    return cluster


def test_the_administrator_of_a_namespace_installs_and_removes_one_by_kustomize(
    private_control_plane: LocalControlPlane, tmp_path: Path
) -> None:
    cluster = _with_crds_and_payments(private_control_plane)
    person = Kubectl(cluster, _administrator(cluster, "payments", tmp_path))
    ours = str(
        kustomization(tmp_path / "k", "namespaced", "high-availability", namespace="payments")
    )

    installed = person("apply", "-k", ours)
    assert "deployment.apps/cse-operator created" in installed
    refused = person.run("get", "crd", CRD)
    assert "forbidden" in refused.stderr

    person("delete", "-k", ours)
    assert json.loads(person("get", "deployments", "-o", "json"))["items"] == []


@pytest.mark.timeout(BUILD_SECONDS)
def test_the_administrator_of_a_namespace_installs_and_removes_one_by_helm(
    private_control_plane: LocalControlPlane, tmp_path: Path
) -> None:
    cluster = _with_crds_and_payments(private_control_plane)
    helm = Helm(
        tmp_path / "helm", cluster, kubeconfig=_administrator(cluster, "payments", tmp_path)
    )
    home = "--namespace=payments"

    helm(
        *("install", "ours", str(CHART), home),
        *("--set=namespaces={payments}", "--set=crds.install=false"),
    )
    helm("upgrade", "ours", str(CHART), home, "--reuse-values", "--set=replicas=0")
    helm("uninstall", "ours", home)


# --- two releases ---------------------------------------------------------------------------------


@pytest.mark.timeout(BUILD_SECONDS)
@pytest.mark.parametrize("crd_comes_by", ["the first release", "kustomize"])
def test_a_second_release_serves_other_namespaces_and_neither_takes_the_crd_along(
    private_control_plane: LocalControlPlane, tmp_path: Path, crd_comes_by: str
) -> None:
    cluster, kubectl = private_control_plane.cluster, Kubectl(private_control_plane.cluster)
    helm = Helm(tmp_path / "helm", cluster)
    if crd_comes_by == "kustomize":
        kubectl("apply", "-k", str(ROOT / "crds"))
    teams = {"a": "payments", "b": "shipping"}
    for release, team in teams.items():
        cluster.create_namespace(team)
        helm(
            *("install", release, str(CHART), f"--namespace={team}"),
            f"--set=namespaces={{{team}}}",
        )
    await_crd(cluster, kubectl)
    for release, team in teams.items():
        _an_engine_of(cluster, team)
        helm("upgrade", release, str(CHART), f"--namespace={team}", "--reuse-values")
    for release, team in teams.items():
        helm("uninstall", release, f"--namespace={team}")
    for team in teams.values():
        _it_is_still_there(cluster, team)
