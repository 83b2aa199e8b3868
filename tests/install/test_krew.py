"""krew accepts the plug-in's archive and manifest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cse_simulator.control_plane import ensure_assets
from support import go_tools
from support.go_tools import BUILD_SECONDS
from support.repository import ROOT

REPOSITORY = "https://git.example.org/ours"

pytestmark = pytest.mark.timeout(BUILD_SECONDS)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    command = [sys.executable, str(ROOT / "hack/kubectl_cse.py"), str(folder), REPOSITORY]
    subprocess.run(command, check=True)
    return folder


def validated(manifest: Path) -> subprocess.CompletedProcess[str]:
    judge = go_tools.module_tool("krew", "validate-krew-manifest")
    command = [str(judge), "-skip-install", f"-manifest={manifest}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_krew_takes_the_manifest(published: Path):
    result = validated(published / "cse.yaml")
    assert result.returncode == 0, result.stderr


def test_krews_judge_refuses_what_its_index_would(published: Path):
    manifest = yaml.safe_load((published / "cse.yaml").read_text())
    manifest["spec"]["platforms"][0]["sha256"] = "unknown"
    (published / "cse.yaml").write_text(yaml.safe_dump(manifest))
    assert validated(published / "cse.yaml").returncode != 0


def test_krew_installs_the_archive_and_kubectl_runs_it(published: Path, tmp_path: Path):
    kubectl = ensure_assets().kubectl
    assert kubectl is not None
    root = tmp_path / "krew"
    path = os.pathsep.join([str(root / "bin"), str(kubectl.parent), os.environ["PATH"]])
    environment = {**os.environ, "KREW_ROOT": str(root), "PATH": path, "HOME": str(tmp_path)}
    krew = go_tools.module_tool("krew", "krew")
    manifest, archive = published / "cse.yaml", published / "kubectl-cse.tar.gz"
    install = [str(krew), "install", f"--manifest={manifest}", f"--archive={archive}"]
    subprocess.run(install, env=environment, check=True, capture_output=True)
    command = [str(kubectl), "cse", "--version"]
    shown = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert shown.stdout.startswith("kubectl-cse ")
    assert list((root / "store" / "cse").glob("*/LICENSE"))
