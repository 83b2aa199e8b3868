"""Makes Argo CD's files from the Lua scripts and the live manifests.

Argo CD reads its customizations from a ConfigMap, while its repository keeps them as files with
tests. This script makes the ConfigMap's patch from the files, so that each is written once.
"""  # noqa: INP001 - scripts, not a package

from __future__ import annotations

from pathlib import Path
from typing import Any

import live_manifests
import yaml

from cse_operator.api.names import (
    APPROVED_VERSION,
    GROUP,
    KIND,
    RECONCILE_REQUESTED_AT,
    RETRY_REQUESTED_AT,
)

ROOT = Path(__file__).resolve().parents[1]
FOLDER = f"deploy/argocd/{GROUP}/{KIND}"
ACTIONS = ("suspend", "resume", "approve", "retry", "refresh")

HEALTH = {
    "pending": "Progressing",
    "spec-changed": "Progressing",
    "suspended": "Suspended",
    "held-by-a-freeze": "Suspended",
    "approval-required": "Suspended",
    "never-opens": "Degraded",
    "engine-busy": "Suspended",
    "credentials-not-found": "Suspended",
    "cloud-unavailable": "Suspended",
    "submitting": "Progressing",
    "verifying-outcome": "Progressing",
    "upgrading": "Progressing",
    "upgrading-unseen": "Progressing",
    "upgrade-overdue": "Progressing",
    "up-to-date": "Healthy",
    "already-up-to-date": "Healthy",
    "suspended-at-rest": "Healthy",
    "upgrade-failed": "Degraded",
    "upgrade-timed-out": "Degraded",
    "upgrade-rejected": "Degraded",
    "upgrade-forbidden": "Degraded",
    "version-mismatch": "Degraded",
    "outcome-uncertain": "Degraded",
    "downgrade": "Degraded",
    "engine-not-found": "Degraded",
    "look-forbidden": "Degraded",
    "engine-frozen": "Degraded",
    "upgrade-failed-elsewhere": "Degraded",
    "credentials-refused": "Degraded",
    "other-owner": "Degraded",
    "waiting-to-call": "Progressing",
    "observe-only": "Suspended",
    "version-not-comparable": "Degraded",
    "retry-required": "Degraded",
    "unreadable-status": "Degraded",
}
"""The health that Argo CD has to show for each scene."""

RETRIED = {
    "upgrade-failed",
    "upgrade-timed-out",
    "upgrade-rejected",
    "upgrade-forbidden",
    "version-mismatch",
    "outcome-uncertain",
    "upgrade-failed-elsewhere",
    "retry-required",
    "version-not-comparable",
}
"""The scenes in which a requested retry has an effect."""

REQUESTED_AT = "0001-01-01T00:00:00Z"
"""Stands for the moment of an action, which differs from run to run."""

ACTED_ON = {
    "suspend": "up-to-date",
    "resume": "suspended",
    "approve": "approval-required",
    "retry": "upgrade-failed",
    "refresh": "engine-busy",
}
"""The scene on which each action is tried."""


class _Block(str):
    """A text that YAML writes as a block."""

    __slots__ = ()


def _block(dumper: yaml.SafeDumper, text: _Block) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")


yaml.SafeDumper.add_representer(_Block, _block)


def _dump(data: Any) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)


def _script(name: str) -> _Block:
    return _Block((ROOT / FOLDER / name).read_text(encoding="utf-8"))


def health_test() -> str:
    """Return the table of Argo CD's health tests."""
    tests = [
        {
            "healthStatus": {"status": status, "message": _health_message(scene)},
            "inputPath": f"testdata/{scene}.yaml",
        }
        for scene, status in HEALTH.items()
    ]
    return _dump({"tests": tests})


def _health_message(scene: str) -> str:
    if scene == "pending":
        return "waiting for cse-operator to look at it"
    if scene == "spec-changed":
        return "waiting for cse-operator to see the latest change"
    return str(live_manifests.live(scene)["status"]["message"])


def action_test() -> str:
    """Return the table of Argo CD's action tests: which actions it offers, and what they change."""
    discovery = [
        {"inputPath": f"../testdata/{scene}.yaml", "result": _offered(scene)} for scene in HEALTH
    ]
    tried = [
        {
            "action": action,
            "inputPath": f"../testdata/{scene}.yaml",
            "expectedOutputPath": f"testdata/{action}.yaml",
        }
        for action, scene in ACTED_ON.items()
    ]
    return _dump({"discoveryTests": discovery, "actionTests": tried})


def _offered(scene: str) -> list[dict[str, Any]]:
    suspended = scene in live_manifests.SUSPENDED
    return [
        {"name": "suspend", "disabled": suspended, "iconClass": "fa fa-pause"},
        {"name": "resume", "disabled": not suspended, "iconClass": "fa fa-play"},
        {"name": "approve", "disabled": scene != "approval-required", "iconClass": "fa fa-check"},
        {"name": "retry", "disabled": scene not in RETRIED, "iconClass": "fa fa-redo"},
        {"name": "refresh", "disabled": False, "iconClass": "fa fa-sync"},
    ]


def acted(action: str) -> str:
    """Return the object of an action's scene after the action."""
    live = live_manifests.live(ACTED_ON[action])
    requests = {"retry": RETRY_REQUESTED_AT, "refresh": RECONCILE_REQUESTED_AT}
    if action == "approve":
        live["metadata"]["annotations"] = {APPROVED_VERSION: live["spec"]["version"]}
    elif action in requests:
        live["metadata"]["annotations"] = {requests[action]: REQUESTED_AT}
    else:
        live["spec"]["suspend"] = action == "suspend"
    return _dump(live)


def _customizations() -> dict[str, _Block]:
    """Return Argo CD's settings: health, actions, and the fields whose changes it ignores."""
    actions = {
        "discovery.lua": _script("actions/discovery.lua"),
        "definitions": [
            {"name": name, "action.lua": _script(f"actions/{name}/action.lua")} for name in ACTIONS
        ],
    }
    quiet = {
        "jsonPointers": [
            "/status/message",
            "/status/upgrade/progress",
            "/status/upgrade/jobStatus",
        ],
        "jqPathExpressions": [".status.conditions[]?.message"],
    }
    name = f"{GROUP}_{KIND}"
    return {
        f"resource.customizations.health.{name}": _script("health.lua"),
        f"resource.customizations.actions.{name}": _Block(_dump(actions)),
        f"resource.customizations.ignoreResourceUpdates.{name}": _Block(_dump(quiet)),
    }


HEADER = "# Generated from the Lua scripts in this folder by `make generate`.\n"


def config_map_patch() -> str:
    """Return the patch of `argocd-cm`, for clusters in which no tool reverts it."""
    return HEADER + _dump(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "argocd-cm", "namespace": "argocd"},
            "data": _customizations(),
        }
    )


def argocd_resource_patch() -> str:
    """Return the patch of the resource `ArgoCD`, whose operator writes `argocd-cm`.

    It patches `extraConfig`, which is a map. The resource also has lists for health and actions,
    but a patch of a list would remove its other entries.
    """
    return HEADER + _dump({"spec": {"extraConfig": _customizations()}})


def helm_values() -> str:
    """Return the settings as values of Argo CD's Helm chart."""
    return HEADER + _dump({"configs": {"cm": _customizations()}})


def files() -> dict[str, Any]:
    """Return the generated files, each with the function that makes it."""
    made: dict[str, Any] = {
        f"{FOLDER}/testdata/{scene}.yaml": (lambda scene=scene: live_manifests.render(scene))
        for scene in live_manifests.SCENES
    }
    made[f"{FOLDER}/health_test.yaml"] = health_test
    made[f"{FOLDER}/actions/action_test.yaml"] = action_test
    for action in ACTIONS:
        made[f"{FOLDER}/actions/testdata/{action}.yaml"] = lambda action=action: acted(action)
    made["deploy/argocd/argocd-cm-patch.yaml"] = config_map_patch
    made["deploy/argocd/argocd-resource-patch.yaml"] = argocd_resource_patch
    made["deploy/argocd/helm-values.yaml"] = helm_values
    return made
