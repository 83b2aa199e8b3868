"""The real operator as a child process that a test can kill."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from support import processes

HASTE = (
    "--request-timeout=2",
    "--send-window=2",
    "--read-lag=0.5",
    "--clock-tolerance=1",
    "--outcome-grace=5.6",
)
"""The outcome grace, which must pass before the first call, is short. The send window allows for
two seconds between an intent and its call on a busy machine."""


class OperatorProcess:
    """`python -m cse_operator run …` against a cluster, killed at the end of the `with` block.

    Entering the block starts the operator and waits until it is ready. `log` has its output over
    all restarts; `output()` reads it.
    """

    def __init__(
        self,
        kubeconfig: Path,
        log: Path,
        *,
        flags: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        namespaces: Sequence[str] = (),
        cse_endpoint: str | None = None,
        ready_timeout: float = 60.0,
    ) -> None:
        """Prepare an operator without starting it.

        Args:
            kubeconfig: The kubeconfig, which gives the operator its rights.
            log: The file to append the output to.
            flags: Further flags of `run`; they override `HASTE`.
            environment: Further variables.
            namespaces: The watched namespaces; all when empty.
            cse_endpoint: The simulator's URL, which serves IAM, too, and is plain HTTP.
            ready_timeout: Seconds until `/readyz` must answer 200.
        """
        self.port = processes.free_port()
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self._ready_timeout = ready_timeout
        self._environment = processes.python_environment(
            {"KUBECONFIG": str(kubeconfig), **(environment or {})}
        )
        arguments = [f"--listen=127.0.0.1:{self.port}", *HASTE, *flags]
        if namespaces:
            arguments.append(f"--namespaces={','.join(namespaces)}")
        if cse_endpoint is not None:
            arguments += [f"--{end}-endpoint={cse_endpoint}" for end in ("cse", "iam", "sts")]
            arguments.append("--allow-insecure-endpoint")
        self._command = [sys.executable, "-m", "cse_operator", "run", *arguments]

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start the operator without waiting."""
        assert self.process is None, "it is running already"
        self.process = processes.start(self._command, self.log, self._environment)

    def wait_until_ready(self) -> None:
        """Wait until `/readyz` answers 200; fail if the operator exits or takes too long."""
        deadline = time.monotonic() + self._ready_timeout
        while self.get("/readyz")[0] != 200:
            if self.running().poll() is not None:
                raise AssertionError(f"the operator exited:\n{self.output()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"the operator did not get ready:\n{self.output()}")
            time.sleep(0.05)

    def wait_until_it_may_call(self) -> None:
        """Wait until the operator has held the right to act for one outcome grace."""
        deadline = time.monotonic() + 120
        while not self.may_call():
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.1)

    def wait_until_shown(self, pattern: str) -> None:
        """Wait until a line of the metrics matches; the operator caches the page for a second."""
        deadline = time.monotonic() + 60
        while not re.search(pattern, page := self.get("/metrics")[1], re.MULTILINE):
            assert time.monotonic() < deadline, page
            time.sleep(0.1)

    def may_call(self) -> bool:
        """Return whether the metrics say that the right to act is one outcome grace old."""
        return "\ncse_operator_start_wait_seconds 0.0\n" in self.get("/metrics")[1]

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the body of `/healthz`, `/readyz` or `/metrics`; 0 if refused."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError as error:
            return 0, str(error)
        finally:
            connection.close()

    def running(self) -> subprocess.Popen[bytes]:
        """Return the process; fail if the operator does not run."""
        assert self.process is not None, "it is not running"
        return self.process

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP and SIGCONT."""
        self.running().send_signal(number)

    def terminate(self, timeout: float = 60.0) -> int:
        """Send SIGTERM, wait for the end, and return the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = 60.0) -> int:
        """Wait until the operator ends by itself; return the exit code (negative: the signal)."""
        try:
            code = self.running().wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"the operator did not end:\n{self.output()}") from error
        self.process = None
        return code

    def kill(self) -> None:
        """Kill the operator with SIGKILL if it runs."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Kill the operator if it runs, start it again, and wait until it is ready."""
        self.kill()
        self.start()
        self.wait_until_ready()

    def output(self) -> str:
        """Return the operator's output so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""
