"""kubectl, which the demo uses for everything that a user would do."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from cse_simulator.demo.children import tied
from cse_simulator.demo.errors import DemoError

RESOURCES: Final = "microserviceengines.cse-operator.io"
POLICIES: Final = ("upgradepolicies.cse-operator.io", "clusterupgradepolicies.cse-operator.io")
_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Kubectl:
    """kubectl with one kubeconfig, whose current context names the cluster and the namespace."""

    program: Path
    cache: Path
    """kubectl's cache folder, private to the demo: an old cluster's cache would mislead kubectl."""
    kubeconfig: Path | None = None
    """None for the user's own kubeconfig."""

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl and return its output.

        Raises:
            DemoError: kubectl failed; the message has its error output.
        """
        result = self.attempt(*arguments, stdin=stdin)
        if result.returncode != 0:
            raise DemoError(f"kubectl {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout

    def attempt(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl and return its result, whether it failed or not."""
        try:
            return subprocess.run(  # noqa: S603 - the user's own kubectl
                tied(self._command(*arguments)),
                input=stdin,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DemoError(f"kubectl {' '.join(arguments)}: no answer in {_SECONDS:g} s") from None

    @contextmanager
    def watch(self) -> Iterator[queue.Queue[dict[str, Any] | None]]:
        """Watch the resources; yield a queue of watch events that ends with None."""
        command = self._command(
            "get", RESOURCES, "--watch", "--output-watch-events", "--output=json"
        )
        process = subprocess.Popen(  # noqa: S603 - the user's own kubectl
            tied(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        changes: queue.Queue[dict[str, Any] | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process.stdout, changes), daemon=True)
        reader.start()
        try:
            yield changes
        finally:
            process.kill()
            reader.join()
            with process:  # closes the pipe, and waits
                pass

    def _command(self, *arguments: str) -> list[str]:
        chosen = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        return [str(self.program), f"--cache-dir={self.cache}", *chosen, *arguments]


def _read(stream: IO[str] | None, changes: queue.Queue[dict[str, Any] | None]) -> None:
    """Parse the output of `kubectl get --watch -o json`: objects on one or several lines each."""
    read = ""
    for line in stream or ():
        read += line
        if line.endswith("}\n"):
            with contextlib.suppress(ValueError):  # the end of an inner object
                changes.put(json.loads(read))
                read = ""
    changes.put(None)
