"""Helm, with folders of its own, and where the chart is."""

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
    """Helm with folders of its own, so that nothing of this user's configuration counts."""

    def __init__(
        self, folder: Path, cluster: Cluster | None = None, *, kubeconfig: Path | None = None
    ) -> None:
        """Use `folder` for caches; without a cluster, only what needs none works.

        Whose rights it has is told by `kubeconfig`; the administrator's when there is none.
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
