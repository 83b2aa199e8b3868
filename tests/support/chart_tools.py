"""Helm and kubeconform, built once per machine from the Go modules in `tests/chart-tools`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from cse_simulator.control_plane import Cluster
from cse_simulator.control_plane.assets import cache_directory
from cse_simulator.control_plane.building import find_go, recipe
from support.repository import ROOT

MODULE = ROOT / "tests" / "chart-tools"
CHART = ROOT / "deploy" / "helm" / "cse-operator"

BUILD_SECONDS = 1800
"""Time-out of the tests that may have to build first: some minutes on two cores."""


def tool(name: str) -> Path:
    """Return the path of `helm` or `kubeconform`, building both unless they are in the cache."""
    inputs = b"".join((MODULE / file).read_bytes() for file in ("go.mod", "go.sum"))
    cache = cache_directory()
    folder = cache / f"chart-tools-{hashlib.sha256(inputs).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "chart-tools.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _build(folder)
    return folder / name


def _build(folder: Path) -> None:
    wanted = recipe()
    assert wanted is not None
    go = find_go(wanted, folder.parent, lambda _line: None)
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # what an interrupted build left
    subprocess.run(
        [str(go), "build", "-mod=readonly", "-trimpath", "-o", f"{partial}/", "tool"],
        cwd=MODULE,
        env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"},
        check=True,
    )
    partial.rename(folder)


class Helm:
    """Helm with folders of its own, so that nothing of this user's configuration counts."""

    def __init__(self, folder: Path, cluster: Cluster | None = None) -> None:
        """Use `folder` for caches; without a cluster, only what needs none works."""
        self._command = [str(tool("helm"))]
        self._environment = {
            "PATH": os.environ["PATH"],
            "HELM_CACHE_HOME": str(folder / "cache"),
            "HELM_CONFIG_HOME": str(folder / "config"),
            "HELM_DATA_HOME": str(folder / "data"),
            "KUBECONFIG": str(cluster.kubeconfig) if cluster else str(folder / "none"),
        }

    def __call__(self, *arguments: str) -> str:
        """Run it and return its standard output; fails with everything it wrote."""
        result = self.run(*arguments)
        assert result.returncode == 0, (
            f"helm {' '.join(arguments)} exited with {result.returncode}:\n"
            f"{result.stdout}{result.stderr}"
        )
        return result.stdout

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it and return whatever came of it."""
        return subprocess.run(
            [*self._command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env=self._environment,
            check=False,
        )
