"""Argo CD's files that are made from the Lua scripts and the live manifests.

Argo CD reads its customizations from a ConfigMap; upstream keeps them as files, with tests
beside them. The scripts are written once, as files, and the ConfigMap's patch is made of them.
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
    "rival": "Degraded",
    "waiting-to-call": "Progressing",
    "observe-only": "Suspended",
    "version-not-comparable": "Degraded",
    "retry-required": "Degraded",
    "unreadable-status": "Degraded",
}
"""What Argo CD shall make of each scene."""

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
"""The scenes in which a requested retry does something."""

REQUESTED_AT = "0001-01-01T00:00:00Z"
"""Stands for the moment of an action, which differs from run to run."""

ACTED_ON = {
    "suspend": "up-to-date",
    "resume": "suspended",
    "approve": "approval-required",
    "retry": "upgrade-failed",
    "refresh": "engine-busy",
}
"""The scene that each action is tried on."""


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
    """The table of upstream's health tests."""
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
    """The table of upstream's tests of actions: which are offered, and what they change."""
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
    """The object that an action makes of its scene."""
    live = live_manifests.live(ACTED_ON[action])
    requests = {"retry": RETRY_REQUESTED_AT, "refresh": RECONCILE_REQUESTED_AT}
    if action == "approve":
        live["metadata"]["annotations"] = {APPROVED_VERSION: live["spec"]["version"]}
    elif action in requests:
        live["metadata"]["annotations"] = {requests[action]: REQUESTED_AT}
    else:
        live["spec"]["suspend"] = action == "suspend"
    return _dump(live)


def config_map_patch() -> str:
    """The patch of `argocd-cm` with health, actions and what is no reason for a refresh."""
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
    header = "# Generated from the scripts beside it by `make generate`.\n"
    return header + _dump(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "argocd-cm", "namespace": "argocd"},
            "data": {
                f"resource.customizations.health.{name}": _script("health.lua"),
                f"resource.customizations.actions.{name}": _Block(_dump(actions)),
                f"resource.customizations.ignoreResourceUpdates.{name}": _Block(_dump(quiet)),
            },
        }
    )


def files() -> dict[str, Any]:
    """The generated files and what makes each of them."""
    made: dict[str, Any] = {
        f"{FOLDER}/testdata/{scene}.yaml": (lambda scene=scene: live_manifests.render(scene))
        for scene in live_manifests.SCENES
    }
    made[f"{FOLDER}/health_test.yaml"] = health_test
    made[f"{FOLDER}/actions/action_test.yaml"] = action_test
    for action in ACTIONS:
        made[f"{FOLDER}/actions/testdata/{action}.yaml"] = lambda action=action: acted(action)
    made["deploy/argocd/argocd-cm-patch.yaml"] = config_map_patch
    return made
