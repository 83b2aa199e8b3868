"""What the kernel, the API server and the simulator counted."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.admin import AdminClient

_TICKS = os.sysconf("SC_CLK_TCK")
_MEBIBYTE_IN_KIB = 1024
_COUNTED = {"microserviceengines", "secrets", "events"}
_SAMPLE = re.compile(r"apiserver_request_total\{([^}]*)\} (\S+)")
_DONE = {"0", "200", "201"}
_LABEL = re.compile(r'(\w+)="([^"]*)"')

KubeCall = tuple[str, str]
"""Verb, and resource with its subresource, and in brackets the status of a refusal."""


@dataclass(frozen=True)
class Process:
    """A process that is measured."""

    pid: int

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss_mib(self) -> float:
        """Memory in use now."""
        return self._status("VmRSS")

    def peak_rss_mib(self) -> float:
        """The most memory in use since the start or `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Begin a new peak from what is in use now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / _MEBIBYTE_IN_KIB
        raise ProcessLookupError(f"process {self.pid} has ended")


def kube_calls(cluster: Cluster) -> Counter[KubeCall]:
    """What the API server has answered so far, whoever asked."""
    found: Counter[KubeCall] = Counter()
    for line in str(cluster.request("GET", "/metrics")).splitlines():
        sample = _SAMPLE.match(line)
        if sample is None:
            continue
        labels = dict(_LABEL.findall(sample[1]))
        if labels["resource"] in _COUNTED:
            name = "/".join(filter(None, (labels["resource"], labels["subresource"])))
            if labels["code"] not in _DONE:
                name = f"{name} ({labels['code']})"
            found[labels["verb"], name] += int(float(sample[2]))
    return found


@dataclass(frozen=True)
class Snapshot:
    """All counters at one moment."""

    moment: float
    cpu: dict[str, float]
    kube: Counter[KubeCall]
    own_kube: Counter[KubeCall]


class Meter:
    """Takes snapshots and says what happened between two of them."""

    def __init__(
        self,
        cluster: Cluster,
        admin: AdminClient,
        processes: dict[str, Process],
        own_kube: Callable[[], Counter[KubeCall]],
    ) -> None:
        """Make a meter.

        Args:
            cluster: The API server.
            admin: The simulator's counters; reset at each `start`.
            processes: Whose CPU is counted, by name.
            own_kube: The calls that the harness itself made so far.
        """
        self._cluster = cluster
        self._admin = admin
        self._processes = processes
        self._own_kube = own_kube

    async def start(self) -> Snapshot:
        """Begin a phase."""
        self._admin.reset()
        return await self._snapshot()

    async def since(self, before: Snapshot, *, wall: float | None = None) -> dict[str, object]:
        """Everything that was counted since `before`, as plain data.

        Args:
            before: From `start`.
            wall: Seconds that the phase took, where its end was earlier than now.
        """
        now = await self._snapshot()
        kube = now.kube - before.kube
        kube.subtract(now.own_kube - before.own_kube)
        counters = self._admin.counters()
        return {
            "seconds": round(wall if wall is not None else now.moment - before.moment, 3),
            "cpu": {name: round(now.cpu[name] - before.cpu[name], 3) for name in now.cpu},
            "kube": {f"{verb} {name}": n for (verb, name), n in sorted(kube.items()) if n},
            "cloud": counters["received"],
            "throttled": sum(answers.get("429", 0) for answers in counters["statuses"].values()),
            "upgrades_accepted": counters["acceptedUpgrades"],
        }

    async def _snapshot(self) -> Snapshot:
        # CPU before the API server's long page of metrics, which costs all of them some.
        cpu = {name: process.cpu_seconds() for name, process in self._processes.items()}
        own, moment = self._own_kube(), time.monotonic()
        kube = await asyncio.to_thread(kube_calls, self._cluster)
        return Snapshot(moment, cpu, kube, own)


async def until_quiet(process: Process, *, window: float = 1.5, limit: float = 600.0) -> float:
    """Wait until a process has next to no work left.

    Args:
        process: Whose.
        window: Seconds for which it must have used less than a thirtieth of a core.
        limit: Seconds after which it counts as never quiet.

    Returns:
        The monotonic time since when it is quiet.

    Raises:
        TimeoutError: It was never quiet.
    """
    begun = quiet_since = time.monotonic()
    used = process.cpu_seconds()
    while time.monotonic() - quiet_since < window:
        await asyncio.sleep(0.1)
        now = process.cpu_seconds()
        if now - used > window / 30:
            quiet_since, used = time.monotonic(), now
        if quiet_since - begun > limit:
            raise TimeoutError(f"process {process.pid} is still busy after {limit:g} s")
    return quiet_since
