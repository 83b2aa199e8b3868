"""Generates the CustomResourceDefinition from the models (`cse-operator crd`).

The API server wants a *structural* schema: no `$ref`, no `anyOf` with null, a type on every
node. pydantic's JSON schema is turned into one here, and what a JSON schema cannot say
(immutability, list kinds, printer columns) is added beside it.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from cse_operator.api import names
from cse_operator.api.credentials_reference import ONE_REFERENCE, ONE_TRADE
from cse_operator.api.resource import (
    NEVER_OBSERVED,
    VERSION_ADVICE,
    VERSION_FORM,
    Phase,
    Spec,
    Status,
)

IMMUTABLE_FIELDS: Final = ("region", "projectId", "engineId")

_KEPT = (
    "type",
    "description",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "maxItems",
    "enum",
    "default",
    "required",
)

_KEPT_BY_TOOLS: Final = {
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
    "helm.sh/resource-policy": "keep",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}
"""Whoever removes an operator must not remove everybody's resources, which go with the CRD."""

_COLUMNS: Final = (
    ("Desired", "string", ".spec.version", "The wanted version", 0),
    ("Current", "string", ".status.currentVersion", "The engine's version", 0),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Is it there", 0),
    ("Phase", "string", ".status.phase", "Where it stands", 0),
    ("Job", "integer", ".status.jobId", "Job of the latest upgrade call", 0),
    ("Age", "date", ".metadata.creationTimestamp", "Age of the resource", 0),
    ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why, in a word", 1),
    ("Engine", "string", ".status.engine.name", "The engine's name", 1),
    ("Latest", "string", ".status.latestVersion", "The version the vendor offers", 1),
    ("Message", "string", ".status.message", "Why, in a sentence", 1),
)
"""Those without priority, of the whole cluster, in 80 columns; the long message comes last."""


def _structural(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Turn one node of pydantic's JSON schema into its structural form."""
    if "anyOf" in node:
        others = [option for option in node["anyOf"] if option.get("type") != "null"]
        node = {**node, **others[0]}
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        node = {**target, **{k: v for k, v in node.items() if k not in {"$ref", "anyOf"}}}
    if "const" in node:
        node = {**node, "enum": [node["const"]]}
    out = {key: node[key] for key in _KEPT if key in node and node[key] is not None}
    if "description" in out:
        out["description"] = " ".join(str(out["description"]).split())
    if isinstance(out.get("default"), (dict, list)):
        del out["default"]
    if node.get("type") == "integer":
        out.setdefault("format", "int64")
    if node.get("type") == "object":
        properties = node.get("properties", {})
        out["properties"] = {
            name: _structural(child, definitions) for name, child in properties.items()
        }
    if node.get("type") == "array":
        out["items"] = _structural(node["items"], definitions)
        out["x-kubernetes-list-type"] = "atomic"
    return out


def _schema_of(model: type[Spec] | type[Status]) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(schema, schema.get("$defs", {}))


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
    schema = _schema_of(Spec)
    schema["properties"]["upgrade"]["default"] = {}
    for name in IMMUTABLE_FIELDS:
        schema["properties"][name]["x-kubernetes-validations"] = [
            {
                "rule": "self == oldSelf",
                "message": f"{name} is immutable: to manage another engine, create another "
                "resource (deleting this one touches no engine)",
            }
        ]
    schema["properties"]["version"]["x-kubernetes-validations"] = [_VERSION_RULE]
    reference = schema["properties"]["credentialsRef"]
    reference["x-kubernetes-validations"] = [_ONE_REFERENCE_RULE]
    account = reference["properties"]["serviceAccount"]
    account["x-kubernetes-validations"] = [_ONE_TRADE_RULE]
    return schema


def _status_schema() -> dict[str, Any]:
    schema = _schema_of(Status)
    # One owner, one unit: the API server need not track who owns which field of it (ADR 0010).
    schema["x-kubernetes-map-type"] = "atomic"
    schema["default"] = {"observedGeneration": NEVER_OBSERVED, "phase": Phase.PENDING.value}
    del schema["properties"]["observedGeneration"]["default"]
    conditions = schema["properties"]["conditions"]
    conditions["x-kubernetes-list-type"] = "map"
    conditions["x-kubernetes-list-map-keys"] = ["type"]
    return schema


def definition() -> dict[str, Any]:
    """The CustomResourceDefinition, as a Kubernetes object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}", "annotations": dict(_KEPT_BY_TOOLS)},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT_NAME],
                "categories": [names.CATEGORY],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {
                            "name": name,
                            "type": type_,
                            "jsonPath": path,
                            "description": description,
                            **({"priority": priority} if priority else {}),
                        }
                        for name, type_, path, description, priority in _COLUMNS
                    ],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": "A Huawei Cloud CSE engine (ServiceComb engine, Nacos "
                            "registry or application gateway), kept at the wanted version.",
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": _spec_schema(),
                                "status": _status_schema(),
                            },
                        }
                    },
                }
            ],
        },
    }


def render() -> str:
    """The CustomResourceDefinition as YAML, as it stands in `crds/`."""
    header = "# Generated from the models in operator/cse_operator/api by `make generate`.\n"
    return header + yaml.safe_dump(definition(), sort_keys=False, width=100, allow_unicode=True)
