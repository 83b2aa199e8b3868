"""The forge's workflows: rules that their linters do not check."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from support.repository import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
RENOVATE = json.loads((ROOT / "renovate.json").read_text(encoding="utf-8"))
RELEASE = (ROOT / ".github" / "workflows" / "release.yaml").read_text(encoding="utf-8")


def test_every_action_is_pinned_by_its_commit_and_says_its_version() -> None:
    used = [line for path in WORKFLOWS for line in path.read_text().splitlines() if "uses:" in line]
    assert used
    for line in used:
        assert re.search(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_the_action_that_a_page_shows_is_the_one_used_here() -> None:
    used = set(re.findall(r"uses: (actions/checkout@\S+ # \S+)", RELEASE))
    page = (ROOT / "docs" / "gitops.md").read_text(encoding="utf-8")
    assert set(re.findall(r"uses: (\S+@\S+ # \S+)", page)) == used


def test_every_other_image_is_named_by_its_digest() -> None:
    images = re.findall(r"(?:generator=|image=| image: )(\S+)", RELEASE)
    assert len(images) == 3, "the emulator, BuildKit and the scanner"
    [base] = re.findall(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for named in (*images, base):
        assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", named)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_each_workflow_tests_the_image_and_on_the_python_of_the_image(workflow: Path) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    [python] = re.findall(r"^ARG BASE=python:(3\.\d+)-", dockerfile, re.MULTILINE)
    project = (ROOT / "pyproject.toml").read_text()
    newest = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)[-1]
    assert python == newest

    for job in yaml.safe_load(workflow.read_text())["jobs"].values():
        steps = job["steps"]
        used = [step.get("uses", "").partition("@")[0] for step in steps]
        assert used[:2] == ["actions/checkout", "actions/setup-python"]
        assert steps[1]["with"] == {"python-version": python}
    tests = next(iter(yaml.safe_load(workflow.read_text())["jobs"].values()))["steps"]
    assert tests[-1]["run"].endswith(" make image-test")


def test_the_first_push_comes_after_everything_that_is_made_beforehand() -> None:
    steps = yaml.safe_load(RELEASE)["jobs"]["publish"]["steps"]
    texts = [str(step) for step in steps]
    [push] = [i for i, step in enumerate(steps) if step.get("with", {}).get("push")]
    [tools] = [i for i, text in enumerate(texts) if "make tools" in text]
    [asked] = [i for i, text in enumerate(texts) if "release.py unpublished" in text]
    [login] = [i for i, text in enumerate(texts) if "docker/login-action" in text]
    assert tools < login < asked < push
    # Docker keeps passwords by host, not by path.
    assert steps[login]["with"]["registry"] == "${{ steps.release.outputs.host }}"


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
    assert RENOVATE["minimumReleaseAge"] == "7 days"
    assert RENOVATE["internalChecksFilter"] == "strict"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [lock] = re.findall(r"^LOCK := .*?[^\\]$", makefile, re.MULTILINE | re.DOTALL)
    assert '--exclude-newer "7 days"' in lock


def test_the_bot_renews_the_lock_files_and_the_images_of_the_workflow() -> None:
    def matches(manager: dict[str, list[str]], path: str) -> bool:
        return any(re.search(text.strip("/"), path) for text in manager["managerFilePatterns"])

    assert all(matches(RENOVATE["pip_requirements"], lock.name) for lock in ROOT.glob("*.lock"))
    [images] = RENOVATE["customManagers"]
    assert matches(images, ".github/workflows/release.yaml")
    [pattern] = images["matchStrings"]
    found = re.findall(pattern.replace("(?<", "(?P<"), RELEASE)
    assert [name for name, _, _ in found] == [
        "tonistiigi/binfmt",
        "moby/buildkit",
        "docker/buildkit-syft-scanner",
    ]
