"""Helm with private folders, and the path of the chart."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from cse_simulator.control_plane import Cluster
from support.go_tools import BUILD_SECONDS, tool
from support.repository import ROOT

__all__ = ["BUILD_SECONDS", "CHART", "Helm"]

CHART = ROOT / "deploy" / "helm" / "cse-operator"


class Helm:
    """Helm with private folders, so that this user's configuration has no effect."""

    def __init__(
        self, folder: Path, cluster: Cluster | None = None, *, kubeconfig: Path | None = None
    ) -> None:
        """Use `folder` for caches; without a cluster, only commands that need none work.

        Helm has the rights of `kubeconfig`, by default the administrator's.
        """
        own = cluster.kubeconfig if cluster else folder / "none"
        self._command = [str(tool("helm"))]
        self._environment = {
            "PATH": os.environ["PATH"],
            "HELM_CACHE_HOME": str(folder / "cache"),
            "HELM_CONFIG_HOME": str(folder / "config"),
            "HELM_DATA_HOME": str(folder / "data"),
            "KUBECONFIG": str(kubeconfig or own),
        }

    def __call__(self, *arguments: str) -> str:
        """Run Helm and return its standard output; if it fails, show all its output."""
        result = self.run(*arguments)
        assert result.returncode == 0, (
            f"helm {' '.join(arguments)} exited with {result.returncode}:\n"
            f"{result.stdout}{result.stderr}"
        )
        return result.stdout

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Helm and return its result, whether it failed or not."""
        return subprocess.run(
            [*self._command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env=self._environment,
            check=False,
        )
