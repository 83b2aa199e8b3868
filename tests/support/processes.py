"""Child processes that cannot outlive the test run."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import cse_simulator

_BELOW_CONNECTIONS = (10_000, 32_000)
"""Linux uses the ports from 32,768 on for outgoing connections (ip_local_port_range)."""

LAUNCHER = Path(__file__).with_name("die_with_parent.py")


def python_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment for a Python child that imports the same packages as this process.

    It leaves out variables that would change the operator's behaviour: its settings, a kubeconfig,
    and proxies (everything here is on 127.0.0.1). The child writes bytecode even where the
    environment forbids it: without it, each start would take three times as long.
    """
    unwanted = (
        *("CSE_OPERATOR_", "KUBERNETES_", "KUBECONFIG", "PYTEST_", "COV_"),
        "PYTHONDONTWRITEBYTECODE",
    )
    proxies = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(unwanted) and name.lower() not in proxies
    }
    sources = Path(cse_simulator.__file__).parents[1]
    return {**environment, "PYTHONPATH": str(sources), **(extra or {})}


def start(
    command: Sequence[str], log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a command that dies with this process; append its output to `log`."""
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*launcher, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
        )


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now.

    It is below the kernel's range for outgoing connections: other tests open many connections, and
    one of them could take the port before the intended process does.
    """
    while True:
        port = random.randint(*_BELOW_CONNECTIONS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
