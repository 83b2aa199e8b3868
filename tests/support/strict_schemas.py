"""JSON schemas for kubeconform, made from the API server's published OpenAPI.

By default kubeconform downloads schemas. These match exactly the version that the tests run, and
need no network. They reject fields that the API does not know.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cse_simulator.control_plane import Cluster
from support.go_tools import tool

_FILE = "{{ .Group }}_{{ .ResourceKind }}_{{ .ResourceAPIVersion }}.json"


def kubeconform(
    cluster: Cluster,
    folder: Path,
    manifests: Sequence[dict[str, Any]],
    *,
    definitions: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Check manifests with `kubeconform -strict` and return its report.

    Args:
        cluster: The cluster that provides the schemas.
        folder: The folder to write the schemas to.
        manifests: The manifests to check.
        definitions: CRDs of kinds that the cluster does not know.
    """
    groups = {definition["spec"]["group"] for definition in definitions}
    for definition in definitions:
        write_defined_schemas(definition, folder)
    for version in sorted({manifest["apiVersion"] for manifest in manifests}):
        if version.partition("/")[0] not in groups:
            write_schemas(cluster, version, folder)
    command = [str(tool("kubeconform")), "-strict", "-summary", "-output", "json"]
    command += ["-schema-location", f"{folder}/{_FILE}"]
    result = subprocess.run(
        command,
        input=yaml.safe_dump_all(manifests),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def write_schemas(cluster: Cluster, api_version: str, folder: Path) -> None:
    """Write one file per kind of an API version, such as `apps/v1`."""
    group, _, version = api_version.rpartition("/")
    path = f"apis/{api_version}" if group else f"api/{api_version}"
    schemas = cluster.request("GET", f"/openapi/v3/{path}")["components"]["schemas"]
    for schema in schemas.values():
        _make_strict(schema)
    for name, schema in schemas.items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            if (kind["group"], kind["version"]) == (group, version):
                document = {"$ref": f"#/components/schemas/{name}"}
                # kubeconform calls the core group by its version.
                file = folder / f"{group or version}_{kind['kind'].lower()}_{version}.json"
                file.write_text(json.dumps({**document, "components": {"schemas": schemas}}))


def write_defined_schemas(definition: dict[str, Any], folder: Path) -> None:
    """Write one file per version of a CRD."""
    spec = definition["spec"]
    for version in spec["versions"]:
        schema = version["schema"]["openAPIV3Schema"]
        _make_strict(schema)
        name = f"{spec['group']}_{spec['names']['kind'].lower()}_{version['name']}.json"
        (folder / name).write_text(json.dumps(schema))


def _make_strict(node: Any) -> None:
    if isinstance(node, list):
        for child in node:
            _make_strict(child)
    elif isinstance(node, dict):
        tolerant = node.get("x-kubernetes-preserve-unknown-fields", False)
        if isinstance(node.get("properties"), dict) and node.get("type") == "object":
            node.setdefault("additionalProperties", tolerant)
        for child in node.values():
            _make_strict(child)
