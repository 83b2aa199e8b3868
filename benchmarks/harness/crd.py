"""The CRD of the resource: ours, and as kubebuilder generates it from the same types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

OURS = Path(__file__).resolve().parents[2] / "crds" / "microserviceengines.yaml"
_MARKER = "x-kubernetes-map-type"


def definition(*, ours: bool) -> dict[str, Any]:
    """Read our CRD; without `ours`, remove the markers of atomic maps.

    kubebuilder makes the status atomic only if a marker asks for it. An atomic status saves the API
    server work on each write, because it tracks the owner of the status as a whole, not per field.
    """
    found: dict[str, Any] = yaml.safe_load(OURS.read_text())
    if not ours and not _strip(found):
        raise RuntimeError(f"{OURS} has no atomic map any more: both definitions are one")
    return found


def policies() -> list[dict[str, Any]]:
    """Read the CRDs of the policies: our operator is not ready without them."""
    kinds = ("upgradepolicies", "clusterupgradepolicies")
    return [yaml.safe_load((OURS.parent / f"{kind}.yaml").read_text()) for kind in kinds]


def _strip(node: Any) -> int:
    """Remove the marker from a tree, and return how often it was there."""
    if isinstance(node, dict):
        own = node.pop(_MARKER, None) is not None
        return own + sum(_strip(child) for child in node.values())
    return sum(_strip(child) for child in node) if isinstance(node, list) else 0
