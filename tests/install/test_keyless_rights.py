"""The right to request tokens: only with the component, and only for the named accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cse_operator.kube import errors
from cse_operator.kube.connection import connect
from cse_operator.kube.tokens import service_account_token
from cse_simulator.control_plane import Cluster
from support.installation import (
    WHERE_IT_SERVES,
    Right,
    kustomization,
    kustomized,
    rights_in,
    rights_once_granted,
    where_it_runs,
)
from support.kubectl import Kubectl

MINT: Right = ("", "serviceaccounts/token", "cse-upgrades", "create")


def installed(
    cluster: Cluster, kubectl: Kubectl, namespace: str, folder: Path, *components: str
) -> Path:
    """Install the rights in one namespace, and write a kubeconfig to use them."""
    objects = kustomized(kubectl, kustomization(folder / "k", *components, namespace=namespace))
    kinds = {"ServiceAccount", "Role", "RoleBinding"}
    kept = [item for item in objects if item["kind"] in kinds]
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(kept))
    token = cluster.service_account_token(namespace, "cse-operator")
    granted = rights_in(kept)
    assert granted <= rights_once_granted(cluster, token, namespace, granted)
    return cluster.write_kubeconfig(folder / "kubeconfig", token)


@pytest.mark.parametrize("order", [("namespaced", "keyless"), ("keyless", "namespaced")])
def test_the_component_adds_one_right_for_one_name_in_any_order(
    kubectl: Kubectl, tmp_path: Path, order: tuple[str, ...]
) -> None:
    objects = kustomized(kubectl, kustomization(tmp_path, *order))
    assert rights_in(objects) == WHERE_IT_SERVES | where_it_runs() | {MINT}


def test_without_the_component_there_is_no_such_right(kubectl: Kubectl, tmp_path: Path) -> None:
    resources = {right[1] for right in rights_in(kustomized(kubectl, kustomization(tmp_path)))}
    assert "serviceaccounts/token" not in resources


async def _asked(kubeconfig: Path, namespace: str, name: str) -> Any:
    client = await connect(kubeconfig=str(kubeconfig))
    try:
        return await service_account_token(client, namespace, name, "cse-operator")
    finally:
        await client.close()


async def test_without_the_component_the_operator_cannot_mint_a_token(
    control_plane: Cluster, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    kubectl("create", "serviceaccount", "cse-upgrades", "-n", namespace)
    kubeconfig = installed(control_plane, kubectl, namespace, tmp_path, "namespaced")
    with pytest.raises(errors.Denied, match="serviceaccounts"):
        await _asked(kubeconfig, namespace, "cse-upgrades")


async def test_with_it_only_tokens_of_that_name_and_namespace_and_for_no_api_server(
    control_plane: Cluster, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    for name in ("cse-upgrades", "somebody"):
        kubectl("create", "serviceaccount", name, "-n", namespace)
    kubeconfig = installed(control_plane, kubectl, namespace, tmp_path, "keyless", "namespaced")
    token = (await _asked(kubeconfig, namespace, "cse-upgrades")).get_secret_value()
    assert token.count(".") == 2
    with pytest.raises(errors.Denied, match="somebody"):
        await _asked(kubeconfig, namespace, "somebody")
    with pytest.raises(errors.Denied):
        await _asked(kubeconfig, "default", "cse-upgrades")
    refused = kubectl.run("auth", "whoami", "--token", token)
    assert "Unauthorized" in refused.stderr or "must be logged in" in refused.stderr
