"""Our small files for other tools, read by those tools' own code."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from typing import Any

import pytest
import yaml

from cse_operator.kubectl.flags import VERBS
from cse_operator.kubectl.flags import parser as plugin_parser
from support import go_tools
from support.go_tools import BUILD_SECONDS
from support.repository import ROOT

NOTIFICATIONS = ROOT / "deploy" / "notifications"
K9S = "github.com/derailed/k9s"

pytestmark = pytest.mark.timeout(BUILD_SECONDS)


def ask(**request: Any) -> dict[str, Any]:
    """Ask the program in `tests/tools/people-tools`, which contains the tools' own code."""
    command = [str(go_tools.module_tool("people-tools", "people-tools"))]
    asked = json.dumps(request)
    result = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


# --- Argo CD --------------------------------------------------------------------------------------

ENGINE = {"kind": "MicroserviceEngine", "namespace": "payments", "name": "orders"}
DEGRADED = {"status": "Degraded", "message": "the upgrade to 2.4.0 failed"}


def application(health: str, *resources: dict[str, Any], phase: str = "Succeeded") -> Any:
    return {
        "metadata": {"name": "engines"},
        "status": {
            "health": {"status": health, "lastTransitionTime": "2026-11-27T12:00:00Z"},
            "resources": list(resources),
            "operationState": {"phase": phase, "syncResult": {"revision": "abc123"}},
        },
    }


def notified(trigger: str, app: Any) -> dict[str, Any]:
    config = yaml.safe_load((NOTIFICATIONS / "argocd-notifications-cm.yaml").read_text())
    return ask(configMap=config, trigger=trigger, application=app)


def test_argo_cd_tells_of_the_engine_that_needs_a_person_and_once_for_each_time():
    healthy = {**ENGINE, "name": "fine", "health": {"status": "Healthy"}}
    app = application("Degraded", {**ENGINE, "health": DEGRADED}, healthy, {"kind": "Secret"})
    told = notified("on-engine-degraded", app)
    assert (told["triggered"], told["oncePer"]) == (True, "2026-11-27T12:00:00Z")
    assert told["messages"][0].split("\n")[:3] == [
        "engines has engines that need a person:",
        "kubectl cse status orders -n payments: the upgrade to 2.4.0 failed",
        "https://argocd/applications/engines",
    ]


def test_without_the_health_of_resources_it_names_them_all():
    other = {**ENGINE, "name": "ledger"}
    told = notified("on-engine-degraded", application("Degraded", ENGINE, other))
    [message] = told["messages"]
    assert re.findall(r"kubectl cse status (\w+)", message) == ["orders", "ledger"]


@pytest.mark.parametrize(
    ("trigger", "app"),
    [
        ("on-engine-degraded", application("Degraded", {"kind": "Deployment"})),
        ("on-engine-degraded", application("Degraded")),
        ("on-engine-degraded", application("Healthy", ENGINE)),
        ("on-engines-upgraded", application("Healthy", ENGINE, phase="Running")),
        ("on-engines-upgraded", application("Healthy", {"kind": "Deployment"})),
    ],
)
def test_argo_cd_tells_only_of_engines_and_only_what_is_true(trigger, app):
    assert notified(trigger, app)["triggered"] is False


def test_argo_cd_tells_of_engines_that_are_upgraded():
    told = notified("on-engines-upgraded", application("Healthy", ENGINE))
    assert (told["triggered"], told["oncePer"]) == (True, "abc123")
    assert told["messages"] == ["The engines of engines are at the versions of abc123.\n"]


# --- Flux -----------------------------------------------------------------------------------------


def test_flux_reads_every_field_of_the_alert_and_its_provider():
    objects = list(yaml.safe_load_all((NOTIFICATIONS / "flux-alert.yaml").read_text()))
    for item in objects:
        assert item["apiVersion"] == "notification.toolkit.fluxcd.io/v1beta3"
        assert ask(**{item["kind"].lower(): item})["problems"] is None
    alert = {**objects[1], "spec": {**objects[1]["spec"], "eventSource": []}}
    assert "eventSource" in ask(alert=alert)["problems"][0]


def test_the_alert_is_about_the_kustomizations_of_the_sample():
    sample = yaml.safe_load_all((ROOT / "deploy/samples/gitops/flux/engines.yaml").read_text())
    there = {one["metadata"]["name"] for one in sample if one["kind"] == "Kustomization"}
    _, alert = yaml.safe_load_all((NOTIFICATIONS / "flux-alert.yaml").read_text())
    assert {one["name"] for one in alert["spec"]["eventSources"]} == there


# --- k9s ------------------------------------------------------------------------------------------


def k9s_problems(plugins: Any) -> Any:
    folder = go_tools.files("k9s", K9S, "internal/config/json/schemas")
    return ask(document=plugins, schema=str(folder / "plugins.json"))["problems"]


def test_k9s_takes_its_commands():
    plugins = yaml.safe_load((ROOT / "deploy/monitoring/k9s-plugins.yaml").read_text())
    assert k9s_problems(plugins) is None
    keys = [one["shortCut"] for one in plugins["plugins"].values()]
    assert len(keys) == len(set(keys))
    broken = {"plugins": {"cse": {"shortCut": "Shift-S", "command": "kubectl"}}}
    assert k9s_problems(broken)


def test_what_k9s_calls_is_there():
    plugins = yaml.safe_load((ROOT / "deploy/monitoring/k9s-plugins.yaml").read_text())["plugins"]
    for one in plugins.values():
        line = (
            " ".join(one["args"])
            if one["command"] == "sh"
            else f"kubectl {shlex.join(one['args'])}"
        )
        [arguments] = re.findall(r"kubectl cse ([^|]+)", line)
        words = shlex.split(arguments)
        assert words[0] in VERBS
        plugin_parser("0").parse_args(words)


# --- Renovate -------------------------------------------------------------------------------------


def test_the_configuration_for_renovate_reads_what_our_command_writes():
    config = json.loads((ROOT / "deploy/samples/gitops/renovate.json").read_text())
    datasource = config["customDatasources"]["cse"]
    assert datasource["defaultRegistryUrlTemplate"] == "file://.cse/versions.json"
    [manager] = config["customManagers"]
    pattern = manager["versioningTemplate"].removeprefix("regex:").replace("(?<", "(?P<")
    for version in ("2.4.0", "2.1.0.16"):
        assert re.fullmatch(pattern, version)
    [rule] = config["packageRules"]
    assert rule["automerge"] is False
