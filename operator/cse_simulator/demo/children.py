"""The processes that the demo starts: the operator's commands, and kubectl."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cse_simulator.demo.errors import DemoError

_LAUNCHER: Final = Path(__file__).with_name("launcher.py")
_PACKAGES: Final = Path(__file__).resolve().parents[2]
_READY_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0
_LOG_LINES: Final = 20


def operator_environment(kubeconfig: Path) -> dict[str, str]:
    """Return the environment of the operator's commands.

    It leaves out the user's settings for another operator. Temporary files go beside the
    kubeconfig, so that the demo also removes the files of a killed operator.
    """
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("CSE_OPERATOR_")
    }
    # The child must find the package even if only this process's import path has it.
    path = os.pathsep.join(filter(None, (str(_PACKAGES), os.environ.get("PYTHONPATH"))))
    places = {"KUBECONFIG": str(kubeconfig), "TMPDIR": str(kubeconfig.parent)}
    return {**kept, **places, "PYTHONPATH": path}


def tied(command: Sequence[str]) -> list[str]:
    """Return a command line whose process dies with this one."""
    return [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *command]


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def operator_flags(namespace: str, vendor: str) -> list[str]:
    """Return the flags of the demo's operator for one namespace and the vendor's URL."""
    return [
        f"--namespaces={namespace}",
        f"--cse-endpoint={vendor}",
        f"--iam-endpoint={vendor}",
        "--allow-insecure-endpoint",
        "--poll-interval=0.5",
        "--progress-interval=0",
        # The operator calls nothing for the first outcome grace, which is 35 s by default.
        "--request-timeout=2",
        "--send-window=0.5",
        "--read-lag=0.5",
        "--clock-tolerance=1",
        "--outcome-grace=4.1",
    ]


class OperatorProcess:
    """`cse-operator run` as a child process, restarted whenever it ends, as in a cluster."""

    def __init__(self, flags: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Prepare the process without starting it.

        Args:
            flags: Flags of `cse-operator run`, without the address of the probes.
            environment: The result of `operator_environment`.
            log: The file to append the output to.
        """
        self.log = log
        self.restarts = 0
        self._port = free_port()
        listen = f"--listen=127.0.0.1:{self._port}"
        self._command = tied([sys.executable, "-m", "cse_operator", "run", listen, *flags])
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The current process id."""
        if self._process is None:
            raise DemoError("the operator is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the operator and wait until it is ready.

        Raises:
            DemoError: The operator ended or did not get ready; the message has the end of its log.
        """
        self._start()
        deadline = time.monotonic() + _READY_SECONDS
        while not self._is_ready():
            if self._ended() or time.monotonic() > deadline:
                raise DemoError(f"the operator did not get ready:\n{self.last_words()}")
            time.sleep(0.05)

    def keep_running(self) -> bool:
        """Start the operator again if it has ended; return whether it had."""
        if not self._ended():
            return False
        self.restarts += 1
        self._start()
        return True

    def stop(self) -> None:
        """Stop the operator as a cluster does: SIGTERM, then time to finish the current step."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def last_words(self) -> str:
        """Return the last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-_LOG_LINES:])

    def _start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,  # Ctrl-C goes to the demo, which stops the operator
            )

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def run_operator_command(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command of the operator, such as `crd`, and return its result."""
    return subprocess.run(  # noqa: S603 - this very interpreter
        tied([sys.executable, "-m", "cse_operator", *arguments]),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=dict(environment),
        check=False,
    )
