"""The CustomResourceDefinitions of `UpgradePolicy` and `ClusterUpgradePolicy`."""

from __future__ import annotations

from typing import Any, Final

from cse_operator.api import names
from cse_operator.api.crd import Column, Names, as_yaml, custom_resource
from cse_operator.api.policy import ClusterPolicySpec, PolicySpec, PolicyStatus
from cse_operator.api.schema import structural
from cse_operator.api.status import NEVER_OBSERVED

_COLUMNS: Final[tuple[Column, ...]] = (
    ("Window", "string", ".status.gate", "Whether its windows, freezes and suspend are open", 0),
    ("Selected", "integer", ".status.selected", "Engines that the policy selects", 0),
    ("Reached", "integer", ".status.reached", "Engines at their desired version", 0),
    ("In Flight", "integer", ".status.inFlight", "Engines that upgrade", 0),
    ("Failed", "integer", ".status.failed", "Engines that failed", 0),
    ("Next Open", "date", ".status.nextOpen", "When the gate opens next", 0),
    ("Waiting", "integer", ".status.waiting", "Engines that are held", 1),
    (
        "Valid",
        "string",
        '.status.conditions[?(@.type=="Valid")].status',
        "Whether the operator can evaluate it",
        1,
    ),
    ("Age", "date", ".metadata.creationTimestamp", "Age of the policy", 1),
)


def upgrade_policy() -> dict[str, Any]:
    """Return the definition of UpgradePolicy, the policy of one namespace."""
    return custom_resource(
        Names(names.POLICY_KIND, names.POLICY_PLURAL, "upgradepolicy", "upol"),
        description="Says when the engines of its namespace may start to upgrade. A policy can "
        "only delay an upgrade.",
        columns=_COLUMNS,
        spec=structural(PolicySpec),
        status=_status(),
    )


def cluster_upgrade_policy() -> dict[str, Any]:
    """Return the definition of ClusterUpgradePolicy, the policy of the cluster."""
    return custom_resource(
        Names(
            names.CLUSTER_POLICY_KIND,
            names.CLUSTER_POLICY_PLURAL,
            "clusterupgradepolicy",
            "cupol",
            scope="Cluster",
        ),
        description="Says when the engines of the namespaces that it selects may start to upgrade. "
        "A policy can only delay an upgrade.",
        columns=_COLUMNS,
        spec=structural(ClusterPolicySpec),
        status=_status(),
    )


def render_policy() -> str:
    """Return the definition of UpgradePolicy as YAML, as in `crds/`."""
    return as_yaml(upgrade_policy())


def render_cluster_policy() -> str:
    """Return the definition of ClusterUpgradePolicy as YAML, as in `crds/`."""
    return as_yaml(cluster_upgrade_policy())


def _status() -> dict[str, Any]:
    schema = structural(PolicyStatus)
    schema["x-kubernetes-map-type"] = "atomic"
    schema["default"] = {"observedGeneration": NEVER_OBSERVED}
    for field in schema["properties"].values():
        field.pop("default", None)
    conditions = schema["properties"]["conditions"]
    conditions["x-kubernetes-list-type"] = "map"
    conditions["x-kubernetes-list-map-keys"] = ["type"]
    return schema
