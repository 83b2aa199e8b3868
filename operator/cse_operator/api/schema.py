"""Turns models into the schemas of CustomResourceDefinitions.

The API server wants a *structural* schema: no `$ref`, no `anyOf` with null, a type on every
node. This module makes one from pydantic's JSON schema. Rules and list types, for which pydantic
has no word, stand in a field's `json_schema_extra` under the API server's own keys, and are kept.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from cse_operator.api.advice import ADVICE

_KEPT = (
    "type",
    "description",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
    "enum",
    "default",
    "required",
)
_RULES = "x-kubernetes-validations"
_LONGEST_SHOWN = 100
"""The API server shows a pattern that does not match. A longer one hides the rule's sentence."""


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a model."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(schema, schema.get("$defs", {}))


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
    out |= {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}
    _advise(out)
    if isinstance(out.get("default"), (dict, list)):
        del out["default"]
    if node.get("type") == "integer":
        out.setdefault("format", "int64")
    _children(node, out, definitions)
    return out


def _advise(out: dict[str, Any]) -> None:
    """Add a rule with a sentence that says what to write, where the pattern says it badly."""
    pattern = out.get("pattern", "")
    if pattern not in ADVICE:
        return
    rule = {"rule": f"self.matches('{pattern}')", "message": ADVICE[pattern]}
    out[_RULES] = [rule, *out.get(_RULES, ())]
    if len(pattern) > _LONGEST_SHOWN:
        del out["pattern"]


def _children(node: dict[str, Any], out: dict[str, Any], definitions: dict[str, Any]) -> None:
    if node.get("type") == "object":
        properties = node.get("properties", {})
        if properties:
            out["properties"] = {
                name: _structural(child, definitions) for name, child in properties.items()
            }
        if isinstance(values := node.get("additionalProperties"), dict):
            out["additionalProperties"] = _structural(values, definitions)
    if node.get("type") == "array":
        out["items"] = _structural(node["items"], definitions)
        out.setdefault("x-kubernetes-list-type", "atomic")
