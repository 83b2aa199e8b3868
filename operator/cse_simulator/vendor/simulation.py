"""A simulator in a child process, for the duration of a `with` block."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cse_simulator.vendor.admin import AdminClient

_STOP_SECONDS = 10.0


class Simulation:
    """A simulator process that ends with its `with` block, or with the process that started it.

    Attributes:
        url: URL of the simulated vendor's API, which includes IAM's.
        admin: A client of its admin API.
        pid: The process id.
    """

    def __init__(self, *flags: str, certificate: Path | None = None) -> None:
        """Start the process and wait until it listens.

        Args:
            flags: Flags of `python -m cse_simulator serve`.
            certificate: PEM file that the admin client trusts if the flags ask for HTTPS.

        Raises:
            RuntimeError: The process ended at once; its standard error says why.
        """
        # The child must find this package even if only the parent's import path has it.
        package_root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-m", "cse_simulator", "serve", "--exit-with-stdin", *flags]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
        )
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self.stop()
            raise RuntimeError(f"the simulator ended at once: {self._process.returncode}")
        self.url: str = json.loads(line)["url"]
        self.admin = AdminClient(self.url, certificate)
        self.pid = self._process.pid

    def stop(self) -> None:
        """End the process and wait for its end."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def start_simulator(*flags: str, **settings: Any) -> Simulation:
    """Start a simulator process; use it in a `with` block.

    Args:
        flags: Flags of `python -m cse_simulator serve`, as on the command line.
        settings: Flags by their Python names: `job_seconds=0.2` is `--job-seconds 0.2`.
    """
    named = []
    for name, value in settings.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            named.append(flag if value else f"--no-{flag[2:]}")
        else:
            named.extend((flag, str(value)))
    return Simulation(*flags, *named, certificate=settings.get("tls_certificate"))
