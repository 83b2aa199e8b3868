"""The measured operators and their start, with settings as equal as possible."""

from __future__ import annotations

import asyncio
import http.client
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.measures import Process
from harness.peers import SOURCES
from support import processes

OURS = "ours"
CAREFUL = "careful"
POLL_SECONDS = 1
POLL_SECONDS_WITH_LIMITS = 5
"""The operator's default. With 1 s, a thousand jobs would need five times the vendor's limit."""
READY_SECONDS = 180.0
OUTCOME_GRACE_SECONDS = 10.0
"""As short as the settings below allow. The default is 35; no measured time includes it."""


@dataclass(frozen=True)
class Manner:
    """The conditions under which the contestants run."""

    python: tuple[str, ...] = (sys.executable,)
    """The beginning of the command line of a Python contestant."""
    limits: bool = False
    """Whether the vendor limits calls."""

    @property
    def poll_seconds(self) -> int:
        """The interval between polls of a running job."""
        return POLL_SECONDS_WITH_LIMITS if self.limits else POLL_SECONDS


@dataclass(frozen=True)
class Place:
    """A contestant's cluster, vendor and port, and its conditions."""

    kubeconfig: Path
    cloud: str
    port: int
    manner: Manner


@dataclass(frozen=True)
class Contestant:
    """One operator: its name, its command line and its environment."""

    name: str
    describes: str
    ready_path: str
    command: Callable[[Place], list[str]]
    environment: Callable[[Place], dict[str, str]] = lambda _place: {}
    begins_after: float = 0.0
    """Seconds after it is ready in which it reads engines but calls no Upgrade."""
    our_crd: bool = False
    """Whether the cluster has our CRD; else the CRD is as kubebuilder generates it by default."""


def everyone(go_peers: Path | None) -> dict[str, Contestant]:
    """Return all contestants by name; without the binary, only those in Python."""
    found = [*_in_python(), *(_in_go(go_peers) if go_peers else ())]
    return {contestant.name: contestant for contestant in found}


def _in_go(go_peers: Path) -> tuple[Contestant, ...]:

    def go(mode: str, describes: str, *, our_crd: bool = False) -> Contestant:
        return Contestant(
            f"{mode}-our-crd" if our_crd else mode,
            describes,
            "/readyz",
            lambda place: [
                str(go_peers),
                f"-mode={mode}",
                f"-endpoint={place.cloud}",
                f"-listen=127.0.0.1:{place.port}",
                f"-poll-interval={place.manner.poll_seconds}s",
            ],
            our_crd=our_crd,
        )

    return (
        go(CAREFUL, "controller-runtime, 64 workers, same promise as ours"),
        go(CAREFUL, "the same, on our CRD", our_crd=True),
        go("tuned", "controller-runtime, 64 workers"),
        go("tuned", "the same, on our CRD", our_crd=True),
        go("default", "controller-runtime, defaults"),
    )


def _in_python() -> tuple[Contestant, ...]:
    return (
        Contestant(OURS, "cse-operator", "/readyz", _ours, begins_after=OUTCOME_GRACE_SECONDS + 1),
        Contestant(
            "usual-kopf",
            "kopf, on.create/on.update and a timer, httpx",
            "/healthz",
            _kopf,
            lambda place: {
                "PEER_ENDPOINT": place.cloud,
                "PEER_POLL_SECONDS": str(place.manner.poll_seconds),
            },
        ),
    )


def _ours(place: Place) -> list[str]:
    return [
        *(*place.manner.python, "-m", "cse_operator", "run"),
        f"--listen=127.0.0.1:{place.port}",
        f"--cse-endpoint={place.cloud}",
        f"--iam-endpoint={place.cloud}",
        "--allow-insecure-endpoint",
        f"--poll-interval={place.manner.poll_seconds}",
        # The operator calls no Upgrade until it has held the right to act for one outcome grace.
        # The lone changes and the burst begin after that; the parts of the grace are short here.
        "--request-timeout=5",
        "--send-window=2",
        "--read-lag=1",
        "--clock-tolerance=1",
        f"--outcome-grace={OUTCOME_GRACE_SECONDS:g}",
        # The peers have no client-side limit. If the vendor limits calls, ours has its default.
        *([] if place.manner.limits else ["--calls-per-second=100000"]),
        "--log-level=warning",
    ]


def _kopf(place: Place) -> list[str]:
    return [
        *(*place.manner.python, "-m", "kopf", "run", "--standalone", "--all-namespaces", "--quiet"),
        f"--liveness=http://127.0.0.1:{place.port}/healthz",
        str(SOURCES / "usual_kopf.py"),
    ]


class Running:
    """A contestant's process, killed at the end of the `with` block."""

    def __init__(
        self, contestant: Contestant, manner: Manner, kubeconfig: Path, cloud: str, log: Path
    ) -> None:
        self._contestant = contestant
        self._log = log
        self._place = Place(kubeconfig, cloud, processes.free_port(), manner)
        environment = {"KUBECONFIG": str(kubeconfig), **contestant.environment(self._place)}
        self._environment = processes.python_environment(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Running:
        command = self._contestant.command(self._place)
        self._process = processes.start(command, self._log, self._environment)
        self.process = Process(self._process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    async def until_ready(self) -> None:
        """Wait until the contestant reports that it is ready.

        Raises:
            RuntimeError: The contestant ended, or took too long.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                output = self._log.read_text(errors="replace")[-4000:]
                raise RuntimeError(f"did not get ready:\n{output}")
            await asyncio.sleep(0.02)
        self._begins_at = time.monotonic() + self._contestant.begins_after

    async def until_it_begins(self) -> None:
        """Wait until the contestant no longer delays its upgrade calls after the start."""
        await asyncio.sleep(self._begins_at - time.monotonic())

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._place.port, timeout=5)
        try:
            connection.request("GET", self._contestant.ready_path)
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            connection.close()
