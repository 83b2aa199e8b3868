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
    """The environment of the operator's commands.

    Settings that the user has for an operator of their own have no say in the demo. Temporary
    files are put beside the kubeconfig: what a killed operator leaves there goes with the demo.
    """
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("CSE_OPERATOR_")
    }
    # The child finds the package also where only this process's import path leads to it.
    path = os.pathsep.join(filter(None, (str(_PACKAGES), os.environ.get("PYTHONPATH"))))
    places = {"KUBECONFIG": str(kubeconfig), "TMPDIR": str(kubeconfig.parent)}
    return {**kept, **places, "PYTHONPATH": path}


def tied(command: Sequence[str]) -> list[str]:
    """The command, made so that it does not outlive this process."""
    return [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *command]


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def operator_flags(namespace: str, vendor: str) -> list[str]:
    """How the demo's operator is set, for one namespace and the URL of a vendor."""
    return [
        f"--namespaces={namespace}",
        f"--cse-endpoint={vendor}",
        f"--iam-endpoint={vendor}",
        "--allow-insecure-endpoint",
        "--poll-interval=0.5",
        "--progress-interval=0",
        # Nothing is called before one outcome grace has passed: half a minute in production.
        "--request-timeout=2",
        "--send-window=0.5",
        "--read-lag=0.5",
        "--clock-tolerance=1",
        "--outcome-grace=4.1",
    ]


class OperatorProcess:
    """`cse-operator run` as a process of its own, begun anew whenever it ends, as by a cluster."""

    def __init__(self, flags: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Prepare it; nothing is started yet.

        Args:
            flags: Of `cse-operator run`, without the address of the probes.
            environment: As from `operator_environment`.
            log: The file that its output is appended to.
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
        """Its process id now."""
        if self._process is None:
            raise DemoError("the operator is not running")
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            DemoError: It ended, or did not get ready; the message ends with its last words.
        """
        self._start()
        deadline = time.monotonic() + _READY_SECONDS
        while not self._is_ready():
            if self._ended() or time.monotonic() > deadline:
                raise DemoError(f"the operator did not get ready:\n{self.last_words()}")
            time.sleep(0.05)

    def keep_running(self) -> bool:
        """Start it again if it has ended; returns whether that was so."""
        if not self._ended():
            return False
        self.restarts += 1
        self._start()
        return True

    def stop(self) -> None:
        """End it as a cluster does: with SIGTERM, and patience for the step in hand."""
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
        """The end of its log."""
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
                start_new_session=True,  # Ctrl-C is for the demo, which ends it in its turn
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
    """Run a command of the operator, such as `crd`, to its end."""
    return subprocess.run(  # noqa: S603 - this very interpreter
        tied([sys.executable, "-m", "cse_operator", *arguments]),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=dict(environment),
        check=False,
    )
