"""The resource's definition: ours, and as kubebuilder would make it of the same types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

OURS = Path(__file__).resolve().parents[2] / "crds" / "microserviceengines.yaml"
_MARKER = "x-kubernetes-map-type"


def definition(*, ours: bool) -> dict[str, Any]:
    """Read the definition; without `ours`, with no map that is atomic.

    Nobody gets an atomic status from kubebuilder who does not ask for it by a marker, and it saves
    the API server work for each write: who owns which field is noted for the status as a whole.
    """
    found: dict[str, Any] = yaml.safe_load(OURS.read_text())
    if not ours and not _strip(found):
        raise RuntimeError(f"{OURS} has no atomic map any more: both definitions are one")
    return found


def policies() -> list[dict[str, Any]]:
    """Read the definitions of the policies: our operator is not ready without them."""
    kinds = ("upgradepolicies", "clusterupgradepolicies")
    return [yaml.safe_load((OURS.parent / f"{kind}.yaml").read_text()) for kind in kinds]


def _strip(node: Any) -> int:
    """Remove the marker everywhere below; return how often it was there."""
    if isinstance(node, dict):
        own = node.pop(_MARKER, None) is not None
        return own + sum(_strip(child) for child in node.values())
    return sum(_strip(child) for child in node) if isinstance(node, list) else 0
