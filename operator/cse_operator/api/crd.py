"""Generates the CustomResourceDefinition from the models (`cse-operator crd`).

Adds what pydantic's JSON schema has no word for: immutability, list types, printer columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from cse_operator.api import names
from cse_operator.api.credentials_reference import ONE_REFERENCE, ONE_TRADE
from cse_operator.api.schema import structural
from cse_operator.api.spec import VERSION_ADVICE, VERSION_FORM, Spec
from cse_operator.api.status import NEVER_OBSERVED, Phase, Status

IMMUTABLE_FIELDS: Final = ("region", "projectId", "engineId")

_KEPT_BY_TOOLS: Final = {
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
    "helm.sh/resource-policy": "keep",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}
"""Tools keep the CRD when they remove the operator: deleting it would delete all resources."""

Column = tuple[str, str, str, str, int]
"""Name, type, path, description and priority of a printer column."""

_COLUMNS: Final[tuple[Column, ...]] = (
    ("Desired", "string", ".spec.version", "The desired version", 0),
    ("Current", "string", ".status.currentVersion", "The engine's version", 0),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "The status of Ready", 0),
    ("Phase", "string", ".status.phase", "The state in one word", 0),
    ("Job", "integer", ".status.jobId", "Job of the latest upgrade call", 0),
    ("Age", "date", ".metadata.creationTimestamp", "Age of the resource", 0),
    ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "The reason", 1),
    ("Engine", "string", ".status.engine.name", "The engine's name", 1),
    ("Latest", "string", ".status.latestVersion", "The version the vendor offers", 1),
    ("Message", "string", ".status.message", "The reason in a sentence", 1),
)
"""The columns of priority 0 fit into 80 characters with `-A`; the long message comes last."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a kind."""

    kind: str
    plural: str
    singular: str
    short: str
    scope: str = "Namespaced"

    def accepted(self) -> dict[str, Any]:
        """Return all names under which the API server knows the kind."""
        return {
            "kind": self.kind,
            "listKind": f"{self.kind}List",
            "plural": self.plural,
            "singular": self.singular,
            "shortNames": [self.short],
            "categories": [names.CATEGORY],
        }


def custom_resource(
    called: Names,
    *,
    description: str,
    columns: Sequence[Column],
    spec: dict[str, Any],
    status: dict[str, Any],
) -> dict[str, Any]:
    """Return a CustomResourceDefinition with one version and a status subresource."""
    properties = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
        "status": status,
    }
    schema = {
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": properties,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{called.plural}.{names.GROUP}",
            "annotations": dict(_KEPT_BY_TOOLS),
        },
        "spec": {
            "group": names.GROUP,
            "scope": called.scope,
            "names": called.accepted(),
            "versions": [_version(columns, schema)],
        },
    }


def _version(columns: Sequence[Column], schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(*column) for column in columns],
        "schema": {"openAPIV3Schema": schema},
    }


def _column(name: str, type_: str, path: str, description: str, priority: int) -> dict[str, Any]:
    column = {"name": name, "type": type_, "jsonPath": path, "description": description}
    return {**column, **({"priority": priority} if priority else {})}


_VERSION_RULE: Final = {
    "rule": f"self.matches('{VERSION_FORM}')",
    "message": VERSION_ADVICE,
}

_ONE_REFERENCE_RULE: Final = {
    "rule": "has(self.name) != has(self.serviceAccount)",
    "message": ONE_REFERENCE,
}
_ONE_TRADE_RULE: Final = {
    "rule": "has(self.identityProvider) != has(self.trustAgency)",
    "message": ONE_TRADE,
}


def _spec_schema() -> dict[str, Any]:
    schema = structural(Spec)
    schema["properties"]["upgrade"]["default"] = {}
    for name in IMMUTABLE_FIELDS:
        schema["properties"][name].setdefault("x-kubernetes-validations", []).append(
            {
                "rule": "self == oldSelf",
                "message": f"{name} is immutable: to manage another engine, create another "
                "resource (deleting this one touches no engine)",
            }
        )
    schema["properties"]["version"]["x-kubernetes-validations"] = [_VERSION_RULE]
    reference = schema["properties"]["credentialsRef"]
    reference["x-kubernetes-validations"] = [_ONE_REFERENCE_RULE]
    account = reference["properties"]["serviceAccount"]
    account["x-kubernetes-validations"] = [_ONE_TRADE_RULE]
    return schema


def _status_schema() -> dict[str, Any]:
    schema = structural(Status)
    # One writer, one unit: the API server need not track an owner of each field (ADR 0010).
    schema["x-kubernetes-map-type"] = "atomic"
    schema["default"] = {"observedGeneration": NEVER_OBSERVED, "phase": Phase.PENDING.value}
    del schema["properties"]["observedGeneration"]["default"]
    conditions = schema["properties"]["conditions"]
    conditions["x-kubernetes-list-type"] = "map"
    conditions["x-kubernetes-list-map-keys"] = ["type"]
    return schema


def definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition of MicroserviceEngine as a Kubernetes object."""
    return custom_resource(
        Names(names.KIND, names.PLURAL, names.SINGULAR, names.SHORT_NAME),
        description="A Huawei Cloud CSE engine (ServiceComb engine, Nacos registry or application "
        "gateway), kept at the desired version.",
        columns=_COLUMNS,
        spec=_spec_schema(),
        status=_status_schema(),
    )


def render() -> str:
    """Return the CustomResourceDefinition of MicroserviceEngine as YAML, as in `crds/`."""
    return as_yaml(definition())


def as_yaml(obj: dict[str, Any]) -> str:
    """Return a definition as YAML, as in `crds/`."""
    header = "# Generated from the models in operator/cse_operator/api by `make generate`.\n"
    return header + yaml.safe_dump(obj, sort_keys=False, width=100, allow_unicode=True)
