"""Makes the generated parts of the Helm chart: its CRDs, its README, and its values' schema.

The meaning of a value is written only in its comment in `values.yaml`, and the meaning of a setting
only in the operator's settings. The schema of the other values is written by hand; this script adds
the descriptions.
"""  # noqa: INP001 - scripts, not a package

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic.alias_generators import to_camel

import monitoring
from cse_operator.api import crd, names, policy_crd
from cse_operator.runtime.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
CHART = "deploy/helm/cse-operator"
README_SOURCE = Path(__file__).with_name("helm_readme.md")

OWNED = {
    "ca_bundle",
    "leader_elect",
    "lease_name",
    "lease_namespace",
    "listen",
    "metrics_tls",
    "namespaces",
    "probe_listen",
}
"""Settings that other values of the chart set."""


def custom_resource_definition() -> str:
    """Return the engines' CRD as a template, so that `helm upgrade` updates it too."""
    return _as_template(crd.render(), names.PLURAL)


def policy_definitions() -> str:
    """Return the CRDs of the policies as a template."""
    return _as_template(policy_crd.render_policy(), names.POLICY_PLURAL) + _as_template(
        policy_crd.render_cluster_policy(), names.CLUSTER_POLICY_PLURAL
    )


def _as_template(rendered: str, plural: str) -> str:
    text = re.sub(r"\A(#.*\n)+", "", rendered)
    # Braces in the schema's descriptions are text, not Helm's syntax.
    text = re.sub(r"\{\{|\}\}", lambda braces: f'{{{{ "{braces[0]}" }}}}', text)
    metadata = 'metadata:\n  labels:\n    {{- include "cse-operator.crdLabels" . | nindent 4 }}\n'
    before, heading, after = text.partition("metadata:\n")
    if not heading:
        raise ValueError("the CRD has no metadata")
    name = f"{plural}.{names.GROUP}"
    return (
        "{{- /* Generated from the models in operator/cse_operator/api by `make generate`. */ -}}\n"
        f'{{{{- if eq "true" (include "cse-operator.bringsCrd" (list . "{name}")) }}}}\n---\n'
        + before
        + metadata
        + after
        + "{{- end }}\n"
    )


@dataclass(frozen=True)
class Value:
    """One value of the chart."""

    path: tuple[str, ...]
    default: Any
    comment: str


def documented_values() -> list[Value]:
    """Return the values in the order of `values.yaml`, each with the comment above it.

    Raises:
        ValueError: A value has no comment.
    """
    text = (ROOT / CHART / "values.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        raise TypeError("values.yaml is not a mapping")
    return list(_values(node, (), yaml.safe_load(text), lines))


def _values(
    node: yaml.MappingNode, path: tuple[str, ...], data: Any, lines: list[str]
) -> Iterator[Value]:
    for key, child in node.value:
        inner = (*path, key.value)
        comment = _comment_above(lines, key.start_mark.line)
        if comment:
            yield Value(inner, data[key.value], comment)
        elif isinstance(child, yaml.MappingNode) and child.value:
            yield from _values(child, inner, data[key.value], lines)
        else:
            raise ValueError(f"values.yaml: {'.'.join(inner)} has no comment")


def _comment_above(lines: list[str], line: int) -> str:
    found: list[str] = []
    while line > 0 and (comment := re.fullmatch(r"\s*# ?(.*)", lines[line - 1])):
        found.insert(0, comment[1])
        line -= 1
    return " ".join(found)


def settings_schema() -> dict[str, Any]:
    """Return the JSON schema of the operator's settings, by the names of their values."""
    properties = Settings.model_json_schema(mode="validation")["properties"]
    return {
        to_camel(name): _without_title(schema)
        for name, schema in properties.items()
        if name not in OWNED
    }


def _without_title(schema: dict[str, Any]) -> dict[str, Any]:
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    merged = {**(options[0] if options else {}), **schema}
    return {key: merged[key] for key in merged if key not in {"title", "anyOf"}}


def values_schema() -> str:
    """Return the values' schema with the settings and the comments of `values.yaml` added."""
    path = ROOT / CHART / "values.schema.json"
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for value in documented_values():
        _property(schema, value.path)["description"] = value.comment
    schema["properties"]["settings"]["properties"] = settings_schema()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _property(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        schema = schema["properties"][name]
    return schema


def readme() -> str:
    """Return the chart's README: how to use it, its values, and the operator's settings."""
    values = [
        f"| `{'.'.join(value.path)}` | {_shown(value.default)} | {_cell(value.comment)} |"
        for value in documented_values()
    ]
    settings = [
        f"| `{name}` | {_shown(schema.get('default'))} | {_cell(schema['description'])} |"
        for name, schema in settings_schema().items()
    ]
    text = README_SOURCE.read_text(encoding="utf-8")
    for mark, rows in (("<!-- values -->", values), ("<!-- settings -->", settings)):
        if mark not in text:
            raise ValueError(f"{README_SOURCE.name} has no place for {mark}")
        table = "\n".join(("| name | default | meaning |", "|---|---|---|", *rows))
        text = text.replace(mark, table)
    return "<!-- Generated from values.yaml and the settings by `make generate`. -->\n" + text


def _shown(default: Any) -> str:
    if default is None or default in ("", [], {}):
        return ""
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def alert_rules() -> str:
    """Return a copy of the alert rules: a chart cannot read files outside its folder."""
    return (ROOT / "deploy/monitoring/rules.yaml").read_text(encoding="utf-8")


def files() -> dict[str, Callable[[], str]]:
    """Return the generated files, each with the function that makes it."""
    return {
        f"{CHART}/templates/crd.yaml": custom_resource_definition,
        f"{CHART}/templates/crd-policies.yaml": policy_definitions,
        f"{CHART}/values.schema.json": values_schema,
        f"{CHART}/README.md": readme,
        f"{CHART}/files/rules.yaml": alert_rules,
        f"{CHART}/files/dashboard.json": monitoring.dashboard,
    }
