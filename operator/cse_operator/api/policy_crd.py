"""The CustomResourceDefinitions of `UpgradePolicy` and `ClusterUpgradePolicy`."""

from __future__ import annotations

from typing import Any, Final

from cse_operator.api import names
from cse_operator.api.crd import Column, Names, as_yaml, custom_resource
from cse_operator.api.policy import ClusterPolicySpec, PolicySpec, PolicyStatus
from cse_operator.api.schema import structural
from cse_operator.api.status import NEVER_OBSERVED

_COLUMNS: Final[tuple[Column, ...]] = (
    ("Gate", "string", ".status.gate", "Do its times let engines start", 0),
    ("Selected", "integer", ".status.selected", "Engines that it selects", 0),
    ("Reached", "integer", ".status.reached", "Engines at the version that they want", 0),
    ("In Flight", "integer", ".status.inFlight", "Engines that upgrade", 0),
    ("Failed", "integer", ".status.failed", "Engines that failed", 0),
    ("Next Open", "date", ".status.nextOpen", "When it opens next", 0),
    ("Waiting", "integer", ".status.waiting", "Engines that are held", 1),
    (
        "Valid",
        "string",
        '.status.conditions[?(@.type=="Valid")].status',
        "Can the operator evaluate it",
        1,
    ),
    ("Age", "date", ".metadata.creationTimestamp", "Age of the policy", 1),
)


def upgrade_policy() -> dict[str, Any]:
    """The definition of the policy of one namespace."""
    return custom_resource(
        Names(names.POLICY_KIND, names.POLICY_PLURAL, "upgradepolicy", "upol"),
        description="Says when the engines of its namespace may start to upgrade. It only ever "
        "says: not yet.",
        columns=_COLUMNS,
        spec=structural(PolicySpec),
        status=_status(),
    )


def cluster_upgrade_policy() -> dict[str, Any]:
    """The definition of the policy of the cluster."""
    return custom_resource(
        Names(
            names.CLUSTER_POLICY_KIND,
            names.CLUSTER_POLICY_PLURAL,
            "clusterupgradepolicy",
            "cupol",
            scope="Cluster",
        ),
        description="Says when the engines of the namespaces that it selects may start to upgrade. "
        "It only ever says: not yet.",
        columns=_COLUMNS,
        spec=structural(ClusterPolicySpec),
        status=_status(),
    )


def render_policy() -> str:
    """The definition of UpgradePolicy as it stands in `crds/`."""
    return as_yaml(upgrade_policy())


def render_cluster_policy() -> str:
    """The definition of ClusterUpgradePolicy as it stands in `crds/`."""
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
