"""What GitOps tools make of a resource in every phase, judged by the tools' own libraries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.judge import Judge

ARGO = Path(__file__).resolve().parents[2] / "deploy" / "argocd" / "cse-operator.io"
FOLDER = ARGO / "MicroserviceEngine"
SCENES = sorted(path.stem for path in (FOLDER / "testdata").glob("*.yaml"))

IN_PROGRESS = {
    "pending",
    "spec-changed",
    "suspended",
    "engine-busy",
    "credentials-not-found",
    "cloud-unavailable",
    "submitting",
    "verifying-outcome",
    "upgrading",
    "upgrading-unseen",
    "upgrade-overdue",
}
CURRENT = {"up-to-date", "already-up-to-date"}


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


def test_suspend_and_resume_change_the_one_field_of_the_spec(judge):
    live = manifest("up-to-date")

    suspended = judge.lua(script("actions/suspend/action.lua"), live)
    resumed = judge.lua(script("actions/resume/action.lua"), suspended)

    assert suspended["spec"] == {**live["spec"], "suspend": True}
    assert resumed["spec"] == {**live["spec"], "suspend": False}


@pytest.mark.parametrize(
    ("action", "annotation"),
    [("retry", "retry-requested-at"), ("refresh", "reconcile-requested-at")],
)
def test_retry_and_refresh_set_their_annotation_to_the_time(judge, action, annotation):
    live = manifest("upgrade-failed")

    changed = judge.lua(script(f"actions/{action}/action.lua"), live)

    assert changed["metadata"]["annotations"][f"cse-operator.io/{annotation}"].endswith("Z")
    assert changed["spec"] == live["spec"]


def test_actions_that_make_no_sense_now_are_disabled(judge):
    def disabled(scene: str) -> set[str]:
        offered = judge.lua(script("actions/discovery.lua"), manifest(scene))
        return {name for name, action in offered.items() if action["disabled"]}

    assert disabled("up-to-date") == {"resume", "retry"}
    assert disabled("suspended") == {"suspend", "retry"}
    assert disabled("upgrade-failed") == {"resume"}
