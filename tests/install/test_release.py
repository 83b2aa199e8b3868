"""The files of a release name the released image, and only by its digest."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from support.chart_tools import BUILD_SECONDS, Helm
from support.repository import ROOT

DIGEST = f"sha256:{'5a' * 32}"
CHANGES = "### Added\n- Something new,\n  on two lines.\n### Security\n- Something safe."
NAME = "registry.example.net:5000/team/cse-operator"


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "hack"))
    monkeypatch.delitem(sys.modules, "release", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return importlib.import_module("release")


@pytest.mark.timeout(BUILD_SECONDS)
def test_all_files_of_a_release_name_its_image_by_digest(
    release: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(release, "changes", lambda _: CHANGES)
    output, notes = tmp_path / "dist", tmp_path / "notes.md"

    release.files(f"{NAME}@{DIGEST}", "https://git.example.org/ours", output, notes)

    chart = f"cse-operator-{release.version()}.tgz"
    wheel = f"cse_operator-{release.version()}-py3-none-any.whl"
    assert {path.name for path in output.iterdir()} == {
        "crds.yaml",
        "cse.yaml",
        "install.yaml",
        "kubectl-cse.tar.gz",
        "sbom.cdx.json",
        chart,
        wheel,
    }
    objects = list(yaml.safe_load_all((output / "install.yaml").read_text()))
    kinds = {item["kind"] for item in objects}
    assert "Deployment" in kinds
    assert kinds.isdisjoint({"CustomResourceDefinition", "Namespace"}), "a delete -f takes them too"
    crds = list(yaml.safe_load_all((output / "crds.yaml").read_text()))
    assert {item["kind"] for item in crds} == {"CustomResourceDefinition"}
    helm = Helm(tmp_path / "helm")
    rendered = helm("template", "--namespace=cse-system", str(output / chart))
    for manifests in (objects, yaml.safe_load_all(rendered)):
        [image] = [
            item["spec"]["template"]["spec"]["containers"][0]["image"]
            for item in manifests
            if item and item["kind"] == "Deployment"
        ]
        assert image == f"{NAME}@{DIGEST}"
    assert zipfile.is_zipfile(output / wheel)
    krew = yaml.safe_load((output / "cse.yaml").read_text())
    [platform] = krew["spec"]["platforms"]
    archive = (output / "kubectl-cse.tar.gz").read_bytes()
    assert platform["sha256"] == hashlib.sha256(archive).hexdigest()
    tag = f"v{release.version()}"
    assert (
        platform["uri"]
        == f"https://git.example.org/ours/releases/download/{tag}/kubectl-cse.tar.gz"
    )
    assert notes.read_text() == f"The image: `{NAME}@{DIGEST}`\n\n{CHANGES}\n"
    about = yaml.safe_load(helm("show", "chart", str(output / chart)))
    assert about["sources"] == ["https://git.example.org/ours"]
    assert about["icon"].startswith("https://git.example.org/ours/")
    assert yaml.safe_load(about["annotations"]["artifacthub.io/changes"]) == [
        {"kind": "added", "description": "Something new, on two lines."},
        {"kind": "security", "description": "Something safe."},
    ]
    assert list((ROOT / "deploy").glob(".release-*")) == []


@pytest.mark.parametrize("image", ["cse-operator", f"cse-operator@{DIGEST}", f"{NAME}:0.1.0", NAME])
def test_an_image_that_could_become_another_one_is_refused(
    release: ModuleType, capsys: pytest.CaptureFixture[str], image: str
) -> None:
    assert release.main(["files", image, "https://git.example.org/ours"]) == 1
    assert "is not REGISTRY/PATH@sha256:" in capsys.readouterr().err


def test_a_tag_that_is_not_the_version_is_refused(
    release: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.main(["check", "v99.0.0"]) == 1
    assert "v99.0.0 is not v" in capsys.readouterr().err


def test_no_page_denies_the_release(
    release: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text("## 1.2.3 (2026-11-27)\n- y\n")
    (tmp_path / "docs" / "install.md").write_text("Install it. There is no\nrelease yet.\n")
    monkeypatch.setattr(release, "ROOT", tmp_path)

    assert release.main(["check", "v1.2.3"]) == 1
    told = "take 'There is no release yet' out of docs/install.md before this release\n"
    assert capsys.readouterr().err == told
    (tmp_path / "docs" / "install.md").write_text("Install it.\n")
    assert release.main(["check", "v1.2.3"]) == 0


def test_the_pages_say_that_there_is_no_release_until_there_is_one(release: ModuleType) -> None:
    released = re.search(r"^## \d", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    pages = [] if released else ["README.md", "SECURITY.md", "docs/install.md"]
    assert release.pages_without_a_release() == pages


@pytest.mark.parametrize(
    ("code", "printed", "refused"),
    [
        (0, "Name: it", "is published already, and a tag never moves: make a new version"),
        (1, "ERROR: registry.example.net/it:1: not found", ""),
        (1, "ERROR: dial tcp: i/o timeout", "could not be asked:\nERROR: dial tcp"),
        (1, "ERROR: 401 Unauthorized", "could not be asked:\nERROR: 401"),
    ],
)
def test_no_version_is_published_twice(  # noqa: PLR0917 - three of them are the case
    release: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    code: int,
    printed: str,
    refused: str,
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\necho "$@" >"{tmp_path}/asked"\necho "{printed}" >&2\nexit {code}\n'
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(release.ReleaseError, match=refused) if refused else nullcontext():
        release.unpublished(NAME)

    asked = (tmp_path / "asked").read_text()
    assert asked == f"buildx imagetools inspect {NAME}:{release.version()}\n"


def test_a_version_that_the_changelog_does_not_have_is_refused(
    release: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "CHANGELOG.md").write_text(
        "## Unreleased\n- x\n## 1.2.3 (2026-11-27)\n- y\n## 1.2\n"
    )
    monkeypatch.setattr(release, "ROOT", tmp_path)
    assert release.changes("1.2.3") == "- y"
    with pytest.raises(release.ReleaseError, match=r"no section '## 1\.2\.4'"):
        release.changes("1.2.4")
