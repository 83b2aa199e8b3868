"""An operator behind two proxies, and the corners that it serves.

A corner is a namespace, a project, and the traffic for both. A stage with one corner is for runs in
which the operator dies or cannot even start. A stage with many corners is for runs that disturb
only their own calls.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.simulation import Simulation
from support import processes
from support.faults import catalogue
from support.faults.proxy import FaultProxy, Request, Traffic
from support.scene import Scene
from support.supervised_operator import SupervisedOperator
from support.wait import ENGINES

FLAGS = (
    "--request-timeout=1.5",
    "--send-window=1",
    "--read-lag=0.5",
    "--clock-tolerance=1",
    "--outcome-grace=4",
    "--poll-interval=0.3",
    "--wait-interval=0.3",
    "--slow-interval=0.5",
    "--credentials-cooldown=1",
    "--log-format=json",
)
"""As in production, with all waits shortened in proportion."""

LEASE_SECONDS = 6
"""Long enough that a leader on a busy machine keeps the Lease."""

LEASES = "apis/coordination.k8s.io/v1/leases"

SKEWED = Path(__file__).with_name("skewed")

_CORNER = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class World:
    """The parts that all stages share."""

    cluster: Cluster
    simulation: Simulation
    directory: Path


@dataclass
class Corner:
    """One run's part of a stage."""

    scene: Scene
    traffic: Traffic = field(default_factory=Traffic)


class Stage:
    """Runs an operator inside its `async with` block.

    Attributes:
        operators: The replicas that serve all corners, by name; each is restarted when it ends.
        corners: The corners, by id.
        nobodys: The calls that belong to no corner, if there is more than one.
        elections: The calls for the Lease, which never rest.
        proxies: The proxies, by side.
    """

    def __init__(
        self,
        world: World,
        *,
        corners: int = 1,
        elects: bool = False,
        skew_seconds: float = 0.0,
    ) -> None:
        """Prepare a stage.

        Args:
            world: The shared parts.
            corners: The number of served namespaces.
            elects: Whether the replicas elect a leader.
            skew_seconds: How far the operator's clock is ahead. The clock of the next start, of
                another replica or the same one, is as far behind, and so on by turns.
        """
        self.world = world
        self.id = secrets.token_hex(4)
        ids = [secrets.token_hex(16) for _ in range(corners)]
        self.corners = {
            one: Corner(Scene(world.cluster, f"fault-{one}", world.simulation, project=one))
            for one in ids
        }
        self.nobodys = self.corners[ids[0]].traffic if corners == 1 else Traffic()
        self.elections = Traffic()
        self.operators: dict[str, SupervisedOperator] = {}
        self.proxies: dict[str, FaultProxy] = {}
        self._flags = list(FLAGS)
        if elects:
            namespace = f"--lease-namespace=fault-{ids[0]}"
            self._flags += ["--leader-elect", f"--lease-duration={LEASE_SECONDS}", namespace]
            self._flags.append(f"--outcome-grace={LEASE_SECONDS + 2}")
        self._skew_seconds = skew_seconds
        self._exit = AsyncExitStack()

    @property
    def operator(self) -> SupervisedOperator:
        """The replica that the stage itself runs."""
        return self.operators["first"]

    @property
    def ends(self) -> int:
        """How often operators ended so far, by themselves or killed."""
        return sum(operator.ends for operator in self.operators.values())

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for corner in self.corners.values():
                namespace = corner.scene.namespace
                await asyncio.to_thread(self.world.cluster.create_namespace, namespace)
                stack.push_async_callback(self._clean_up, namespace)
            await stack.enter_async_context(self.replica("first"))
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._exit.aclose()

    @asynccontextmanager
    async def replica(self, name: str, *, named: bool = False) -> AsyncIterator[SupervisedOperator]:
        """Run an operator behind its own pair of proxies.

        Args:
            name: The replica's name; the stage itself runs `first`.
            named: Whether its calls are counted separately, with the sides `kube of NAME` and
                `cloud of NAME`. Else they are counted with those of the first replica.
        """
        suffix = f" of {name}" if named else ""
        world = self.world
        async with AsyncExitStack() as stack:
            kube = FaultProxy(
                f"kube{suffix}",
                world.cluster.url,
                catalogue.kube_call,
                self._traffic_of,
                certificate_authority=world.cluster.certificate_authority,
            )
            cloud = FaultProxy(
                f"cloud{suffix}", world.simulation.url, catalogue.cloud_call, self._traffic_of
            )
            for proxy in (kube, cloud):
                await stack.enter_async_context(proxy)
                self.proxies[proxy.side] = proxy
            operator = SupervisedOperator(
                self._kubeconfig(name, kube.url),
                world.directory / f"{self.id}-{name}.log",
                cse_endpoint=cloud.url,
                namespaces=[corner.scene.namespace for corner in self.corners.values()],
                flags=self._flags,
                environment=self._environment(),
            )
            kube.client = cloud.client = self.operators[name] = operator
            yield await stack.enter_async_context(operator)

    async def until_first_leads(self) -> None:
        """Wait until the first replica has the Lease."""
        records = self.elections.records
        await self.elections.until(
            lambda: any(r.boundary.call == "POST leases" and r.status for r in records)
        )

    def _environment(self) -> dict[str, str]:
        if not self._skew_seconds:
            return {}
        sources = processes.python_environment()["PYTHONPATH"]
        return {
            "PYTHONPATH": os.pathsep.join([str(SKEWED), sources]),
            "SKEW_SECONDS": str(self._skew_seconds),
            "SKEW_TURNS_FILE": str(self.world.directory / f"{self.id}.turns"),
        }

    def _traffic_of(self, request: Request) -> Traffic:
        if "/leases" in request.path:
            return self.elections
        for text in (request.path, request.body.decode()):
            for found in _CORNER.findall(text):
                if found in self.corners:
                    return self.corners[found].traffic
        return self.nobodys

    def _kubeconfig(self, name: str, url: str) -> Path:
        cluster = self.world.cluster
        path = self.world.directory / f"{self.id}-{name}.kubeconfig"
        cluster.write_kubeconfig(path, cluster.token)
        document = yaml.safe_load(path.read_text())
        document["clusters"][0]["cluster"] = {"server": url}
        path.write_text(json.dumps(document))
        return path

    async def _clean_up(self, namespace: str) -> None:
        collections = (ENGINES, "api/v1/secrets", "api/v1/events", LEASES)
        await asyncio.to_thread(self.world.cluster.delete_namespace, namespace, collections)
