"""GitOps tools' view of a resource in every phase, computed by their own libraries."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from cse_operator.api.names import API_VERSION, APPROVED_VERSION, KIND
from cse_operator.api.reason_facts import FACTS
from cse_operator.api.reasons import HELD as held_reasons  # noqa: N811 - beside the scenes of HELD
from cse_operator.api.reasons import ConditionType
from support.judge import Judge
from support.repository import ROOT

ARGO = ROOT / "deploy" / "argocd" / "cse-operator.io"
FLUX = ROOT / "deploy" / "samples" / "gitops" / "flux" / "engines.yaml"
FOLDER = ARGO / "MicroserviceEngine"
SCENES = sorted(path.stem for path in (FOLDER / "testdata").glob("*.yaml"))

IN_PROGRESS = {
    "pending",
    "spec-changed",
    "suspended",
    "waiting-to-call",
    "engine-busy",
    "credentials-not-found",
    "cloud-unavailable",
    "submitting",
    "verifying-outcome",
    "upgrading",
    "upgrading-unseen",
    "upgrade-overdue",
    "observe-only",
    "held-by-a-freeze",
    "approval-required",
}
CURRENT = {"up-to-date", "already-up-to-date", "suspended-at-rest"}


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    asked = Judge()
    yield asked
    asked.close()


def manifest(scene: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "testdata" / f"{scene}.yaml").read_text())
    return loaded


def script(name: str) -> str:
    return (FOLDER / name).read_text()


@pytest.mark.parametrize("scene", SCENES)
def test_kstatus_sees_a_wait_as_in_progress_and_a_person_s_turn_as_failed(judge, scene):
    expected = "Failed"
    if scene in IN_PROGRESS:
        expected = "InProgress"
    elif scene in CURRENT:
        expected = "Current"

    assert judge.kstatus(manifest(scene)) == expected


@pytest.mark.parametrize("scene", SCENES)
def test_the_expressions_for_flux_say_what_kstatus_says(judge, scene):
    live = manifest(scene)

    for expressions in health_checks():
        assert judge.flux(expressions, live) == judge.kstatus(live)


def health_checks() -> list[dict[str, str]]:
    """Return the expressions of the sample repository, one for each rollout stage."""
    samples = yaml.safe_load_all(FLUX.read_text())
    stages = [sample["spec"] for sample in samples if sample["kind"] == "Kustomization"]
    checks = [check for stage in stages for check in stage["healthCheckExprs"]]
    assert {(check["apiVersion"], check["kind"]) for check in checks} == {(API_VERSION, KIND)}
    return checks


HELD = {"held-by-a-freeze", "approval-required"}


@pytest.mark.parametrize("scene", SCENES)
def test_with_the_other_expressions_flux_takes_what_a_policy_holds_for_current(judge, scene):
    page = (ROOT / "docs" / "policies" / "gitops.md").read_text(encoding="utf-8")
    block = page.split("```yaml\n")[1].split("```")[0]
    [check] = yaml.safe_load(block)["healthCheckExprs"]
    live = manifest(scene)

    assert judge.flux(check, live) == ("Current" if scene in HELD else judge.kstatus(live))


def test_those_expressions_name_each_reason_of_a_policy_that_passes():
    page = (ROOT / "docs" / "policies" / "gitops.md").read_text(encoding="utf-8")
    for reason in held_reasons:
        stalled = FACTS[reason].condition is ConditionType.STALLED
        assert (f"'{reason}'" in page) is not stalled


@pytest.mark.parametrize(
    ("hold", "said"),
    [
        (("inProgress", "failed", "current"), "InProgress"),
        (("failed", "current"), "Failed"),
        (("current",), "Current"),
        ((), "InProgress"),
    ],
)
def test_an_expression_that_holds_counts_before_those_after_it(judge, hold, said):
    expressions = dict.fromkeys(("inProgress", "failed", "current"), "false")

    assert judge.flux(expressions | dict.fromkeys(hold, "true"), manifest("up-to-date")) == said


def test_every_scene_of_the_test_data_is_judged():
    assert set(SCENES) > IN_PROGRESS | CURRENT


def test_argo_cd_shows_the_health_that_its_table_says(judge):
    cases = yaml.safe_load((FOLDER / "health_test.yaml").read_text())["tests"]

    assert {Path(case["inputPath"]).stem for case in cases} == set(SCENES)
    for case in cases:
        live = yaml.safe_load((FOLDER / case["inputPath"]).read_text())
        assert judge.lua(script("health.lua"), live) == case["healthStatus"], case["inputPath"]


@pytest.mark.parametrize("scene", sorted(IN_PROGRESS))
def test_argo_cd_never_shows_what_passes_by_itself_as_degraded(judge, scene):
    assert judge.lua(script("health.lua"), manifest(scene))["status"] != "Degraded"


def test_argo_cd_shows_an_upgrade_that_nobody_can_look_at_as_going_on(judge):
    unseen = manifest("upgrading-unseen")

    assert unseen["status"]["phase"] == "Waiting"
    assert judge.lua(script("health.lua"), unseen)["status"] == "Progressing"


def test_a_changed_spec_leaves_the_whole_status_as_it_was_made_for_the_last_one():
    live = manifest("spec-changed")

    seen = {condition["observedGeneration"] for condition in live["status"]["conditions"]}
    assert seen == {live["status"]["observedGeneration"]} == {live["metadata"]["generation"] - 1}


def test_argo_cd_survives_an_object_without_any_status(judge):
    live = manifest("up-to-date")
    del live["status"]

    assert judge.lua(script("health.lua"), live)["status"] == "Progressing"


def _action_tests() -> dict[str, list[dict[str, Any]]]:
    loaded: dict[str, list[dict[str, Any]]]
    loaded = yaml.safe_load((FOLDER / "actions" / "action_test.yaml").read_text())
    return loaded


def at_some_time(item: dict[str, Any]) -> dict[str, Any]:
    """Return the object with the time of an action replaced, as upstream's test normalizes it."""
    item = copy.deepcopy(item)
    for name, value in item["metadata"].get("annotations", {}).items():
        if name == APPROVED_VERSION:
            continue
        assert datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        item["metadata"]["annotations"][name] = "at some time"
    return item


@pytest.mark.parametrize("case", _action_tests()["discoveryTests"], ids=lambda c: c["inputPath"])
def test_argo_cd_offers_the_actions_that_its_table_says(judge, case):
    live = yaml.safe_load((FOLDER / "actions" / case["inputPath"]).read_text())

    offered = judge.lua(script("actions/discovery.lua"), live)

    expected = {
        action["name"]: {key: value for key, value in action.items() if key != "name"}
        for action in case["result"]
    }
    assert offered == expected


@pytest.mark.parametrize("case", _action_tests()["actionTests"], ids=lambda c: c["action"])
def test_an_action_of_argo_cd_makes_the_object_that_its_table_says(judge, case):
    actions = FOLDER / "actions"
    live = yaml.safe_load((actions / case["inputPath"]).read_text())

    changed = judge.lua(script(f"actions/{case['action']}/action.lua"), live)

    expected = yaml.safe_load((actions / case["expectedOutputPath"]).read_text())
    assert at_some_time(changed) == at_some_time(expected)
    assert at_some_time(changed) != live


def test_every_action_and_every_scene_is_in_the_table_of_actions():
    tables = _action_tests()

    there = {path.parent.name for path in (FOLDER / "actions").glob("*/action.lua")}
    assert {case["action"] for case in tables["actionTests"]} == there
    assert {Path(case["inputPath"]).stem for case in tables["discoveryTests"]} == set(SCENES)


def test_the_page_about_gitops_names_every_action_and_says_how_an_outage_is_shown(judge):
    page = (ROOT / "docs" / "gitops.md").read_text(encoding="utf-8")
    [listed] = re.findall(r"^\* \*Actions\*: ([\w, ]+)\.", page, re.MULTILINE)
    there = {path.parent.name for path in (FOLDER / "actions").glob("*/action.lua")}
    assert set(re.split(r", | and ", listed)) == there

    health = {
        scene: judge.lua(script("health.lua"), manifest(scene))["status"]
        for scene in ("cloud-unavailable", "upgrading-unseen")
    }
    assert health == {"cloud-unavailable": "Suspended", "upgrading-unseen": "Progressing"}
    plain = " ".join(page.split())
    assert "also if the vendor cannot be reached meanwhile. Without an upgrade" in plain
    assert "it is Suspended while it waits" in plain


def test_each_form_for_argo_cd_brings_the_same() -> None:
    def loaded(name: str) -> Any:
        return yaml.safe_load((ROOT / "deploy" / "argocd" / name).read_text())

    customizations = loaded("argocd-cm-patch.yaml")["data"]
    assert len(customizations) == 3
    assert loaded("argocd-resource-patch.yaml") == {"spec": {"extraConfig": customizations}}
    assert loaded("helm-values.yaml") == {"configs": {"cm": customizations}}
