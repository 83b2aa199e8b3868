"""The counters of the kernel, the API server and the simulator."""

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
"""Verb, and resource with subresource; a refusal has its status in brackets."""


@dataclass(frozen=True)
class Process:
    """A measured process."""

    pid: int

    def cpu_seconds(self) -> float:
        """Return the user and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss_mib(self) -> float:
        """Return the memory in use."""
        return self._status("VmRSS")

    def peak_rss_mib(self) -> float:
        """Return the peak memory since the start or the last `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Reset the peak to the memory in use."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / _MEBIBYTE_IN_KIB
        raise ProcessLookupError(f"process {self.pid} has ended")


def kube_calls(cluster: Cluster) -> Counter[KubeCall]:
    """Return the API server's count of requests from all clients so far."""
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
    """Takes snapshots, and returns the difference between two of them."""

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
            processes: The processes whose CPU is counted, by name.
            own_kube: Returns the calls that the harness itself made so far.
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
        """Return all counts since `before`, as plain data.

        Args:
            before: The snapshot from `start`.
            wall: The phase's duration in seconds, if it ended before this call.
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
        # Read CPU before the API server's metrics: that long page costs every process some CPU.
        cpu = {name: process.cpu_seconds() for name, process in self._processes.items()}
        own, moment = self._own_kube(), time.monotonic()
        kube = await asyncio.to_thread(kube_calls, self._cluster)
        return Snapshot(moment, cpu, kube, own)


async def until_quiet(process: Process, *, window: float = 1.5, limit: float = 600.0) -> float:
    """Wait until a process is nearly idle.

    Args:
        process: The process.
        window: Seconds in which it must use less than a thirtieth of a core.
        limit: Seconds after which to give up.

    Returns:
        The monotonic time at which the quiet window began.

    Raises:
        TimeoutError: The process did not become quiet.
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
