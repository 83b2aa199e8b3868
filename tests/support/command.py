"""Runs the commands of `cse-operator` as processes, with a vendor and a cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support import processes

ACCESS_KEY = {"HUAWEICLOUD_SDK_AK": "AKDEMODEMODEMODEMO01", "HUAWEICLOUD_SDK_SK": "sk-3f1b7d2c9e"}


def run(
    *arguments: str,
    vendor: str | None = None,
    kubeconfig: Path | None = None,
    access_key: bool = True,
    folder: Path | None = None,
    stdin: str = "",
    settings: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command and return its result.

    Args:
        arguments: The command and its flags.
        vendor: The simulator's URL.
        kubeconfig: The cluster's kubeconfig; by default there is no cluster.
        access_key: Whether the environment has an access key.
        folder: The working directory.
        stdin: The standard input.
        settings: Environment variables of the operator's settings.
    """
    endpoint = (
        [f"--cse-endpoint={vendor}", f"--iam-endpoint={vendor}", "--allow-insecure-endpoint"]
        if vendor
        else []
    )
    environment = {"KUBECONFIG": str(kubeconfig or "/nowhere/kubeconfig"), **(settings or {})}
    return subprocess.run(
        [sys.executable, "-m", "cse_operator", *arguments, *endpoint],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=processes.python_environment(environment | (ACCESS_KEY if access_key else {})),
    )
