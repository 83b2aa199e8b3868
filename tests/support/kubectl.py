"""The real kubectl, as people use it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cse_simulator.control_plane import Cluster
from support import processes


class Kubectl:
    """kubectl with one kubeconfig."""

    def __init__(self, cluster: Cluster, kubeconfig: Path | None = None) -> None:
        """Use the administrator's kubeconfig unless another one is given."""
        assert cluster.kubectl is not None, "no kubectl beside kube-apiserver nor in PATH"
        self._command = [str(cluster.kubectl), f"--kubeconfig={kubeconfig or cluster.kubeconfig}"]
        self._cache = cluster.directory / "kubectl-cache"

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 60.0) -> str:
        """Run kubectl and return its standard output; if it fails, show all its output."""
        result = self.run(*arguments, stdin=stdin, timeout=timeout)
        assert result.returncode == 0, (
            f"kubectl {' '.join(arguments)} exited with {result.returncode}:\n"
            f"{result.stdout}{result.stderr}"
        )
        return result.stdout

    def run(
        self, *arguments: str, stdin: str | None = None, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return its result, whether it failed or not."""
        return subprocess.run(
            [*self._command, f"--cache-dir={self._cache}", *arguments],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            env=processes.python_environment(),
            check=False,
        )

    @asynccontextmanager
    async def lines(self, *arguments: str) -> AsyncIterator[AsyncIterator[str]]:
        """Run kubectl for the `async with` block; yield its output line by line (`--watch`)."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            f"--cache-dir={self._cache}",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            env=processes.python_environment(),
        )
        assert process.stdout is not None
        try:
            yield (line.decode().rstrip() async for line in process.stdout)
        finally:
            process.kill()
            await process.wait()

    def json(self, *arguments: str) -> Any:
        """Run kubectl with `-o json` and return the parsed output."""
        return json.loads(self(*arguments, "-o", "json"))
