"""Writes the operator's bill of materials: `hack/sbom.py OUTPUT` (CycloneDX 1.6, JSON).

It lists the packages that requirements.lock pins, so the same commit gives the same list.
"""  # noqa: INP001 - scripts, not a package

from __future__ import annotations

import json
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import locked

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Write the file and return 0."""
    output = Path(sys.argv[1])
    output.parent.mkdir(parents=True, exist_ok=True)
    document = bill_of_materials(locked.read(ROOT / "requirements.lock"))
    output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {output} with {len(document['components'])} components")
    return 0


def bill_of_materials(packages: list[locked.Package]) -> dict[str, Any]:
    """Return the document, with the licences that the installed packages declare."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = f"pkg:pypi/{project['name']}@{project['version']}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": project["name"],
                "version": project["version"],
                "licenses": [{"expression": project["license"]}],
                "purl": own,
            }
        },
        "components": [_component(package) for package in packages],
    }


def _component(package: locked.Package) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        # A release has a file per platform, and any of them may be the installed one.
        "externalReferences": [
            {
                "type": "distribution",
                "url": f"https://pypi.org/project/{package.name}/{package.version}/",
                "hashes": [{"alg": "SHA-256", "content": value} for value in package.sha256],
            }
        ],
    }
    if package.marker:
        component["scope"] = "optional"
        component["properties"] = [{"name": "python:marker", "value": package.marker}]
    expression = _license(package.name)
    if expression:
        component["licenses"] = [{"expression": expression}]
    return component


def _license(name: str) -> str | None:
    """Return the SPDX expression that the installed package declares."""
    try:
        declared = metadata.metadata(name)
    except metadata.PackageNotFoundError:  # not for this platform
        return None
    return str(declared["License-Expression"]) if "License-Expression" in declared else None


if __name__ == "__main__":
    sys.exit(main())
