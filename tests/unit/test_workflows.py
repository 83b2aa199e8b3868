"""The forge's workflows: rules that their linters do not check."""

from __future__ import annotations

import json
import re

import yaml

from support.repository import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
RELEASE = (ROOT / ".github" / "workflows" / "release.yaml").read_text(encoding="utf-8")


def test_every_action_is_pinned_by_its_commit_and_says_its_version() -> None:
    used = [line for path in WORKFLOWS for line in path.read_text().splitlines() if "uses:" in line]
    assert used
    for line in used:
        assert re.search(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_every_other_image_is_named_by_its_digest() -> None:
    for named in re.findall(r"generator=(\S+)", RELEASE):
        assert re.search(r"@sha256:[0-9a-f]{64}$", named)
    [base] = re.findall(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base)


def test_nothing_is_published_before_everything_was_tested() -> None:
    jobs = yaml.safe_load(RELEASE)["jobs"]
    [(_, test)] = [(name, job) for name, job in jobs.items() if "needs" not in job]
    assert test["permissions"] == {"contents": "read"}
    steps = {step.get("run") for step in test["steps"]}
    assert steps >= {"make test commands-test demo-test install-test", "make check workflows"}
    assert all(job["needs"] == "test" for job in jobs.values() if job is not test)


def test_the_image_is_made_for_both_kinds_of_nodes() -> None:
    assert "platforms: linux/amd64,linux/arm64\n" in RELEASE


def test_new_versions_are_not_taken_at_once() -> None:
    configured = json.loads((ROOT / "renovate.json").read_text())
    assert configured["minimumReleaseAge"] == "7 days"
    assert configured["internalChecksFilter"] == "strict"
