"""Policies, in few words."""

from __future__ import annotations

from typing import Any

from cse_operator.api.names import API_VERSION, CLUSTER_POLICY_KIND, POLICY_KIND


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
