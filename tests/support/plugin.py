"""`kubectl cse` as users run it: the zip file in PATH, called by the real kubectl."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cse_simulator.control_plane import Cluster
from support import processes
from support.repository import ROOT


def build(folder: Path) -> Path:
    """Build the plug-in and its completion in a folder for PATH."""
    subprocess.run([sys.executable, str(ROOT / "hack" / "kubectl_cse.py"), str(folder)], check=True)
    (folder / "kubectl_complete-cse").symlink_to(folder / "kubectl-cse")
    return folder


class Plugin:
    """kubectl with the plug-in, for one user."""

    def __init__(self, cluster: Cluster, folder: Path, kubeconfig: Path | None = None) -> None:
        assert cluster.kubectl is not None
        (folder / "kubectl").unlink(missing_ok=True)
        (folder / "kubectl").symlink_to(cluster.kubectl)
        self.kubectl = cluster.kubectl
        path = f"{folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = processes.python_environment(
            {
                "PATH": path,
                "KUBECONFIG": str(kubeconfig or cluster.kubeconfig),
                "KUBECACHEDIR": str(cluster.directory / "kubectl-cache"),
                "COLUMNS": "80",
            }
        )

    def run(self, *arguments: str, verb: str = "cse") -> subprocess.CompletedProcess[str]:
        """Run `kubectl cse …` and return its result."""
        return subprocess.run(
            [str(self.kubectl), verb, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
        )

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run `kubectl cse …`, check its exit code, and return all its output."""
        result = self.run(*arguments)
        said = result.stdout + result.stderr
        assert result.returncode == code, f"{arguments}: {result.returncode}\n{said}"
        return said
