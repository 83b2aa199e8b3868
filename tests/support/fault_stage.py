"""An operator behind proxies on both of its sides, and the corners of the world it serves.

A corner is a namespace, a project and what happens between them: its traffic. A stage with one
corner is for runs in which the operator dies or cannot even start; one with many is for runs
that disturb nothing but what is their own.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from cse_simulator.admin import Simulation
from cse_simulator.control_plane import Cluster
from support import fault_catalogue
from support.fault_proxy import FaultProxy, Request, Traffic
from support.scene import Scene
from support.supervised_operator import SupervisedOperator
from support.wait import ENGINES

FLAGS = (
    "--request-timeout=1.5",
    "--send-window=1",
    "--unknown-outcome-grace=4",
    "--poll-interval=0.3",
    "--wait-interval=0.3",
    "--slow-interval=0.5",
    "--credentials-cooldown=1",
    "--log-format=json",
)
"""As in production, with all that is waited for shortened alike."""

_CORNER = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class World:
    """What all stages have in common."""

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
        operator: The replica that serves all corners, started again when it ends.
        corners: By their ids.
        nobodys: The calls that belong to no corner, where there is more than one.
    """

    def __init__(self, world: World, *flags: str, corners: int = 1) -> None:
        """Prepare one.

        Args:
            world: Where.
            flags: Further flags of the operator.
            corners: How many namespaces it serves.
        """
        self.world = world
        self.id = secrets.token_hex(4)
        ids = [secrets.token_hex(16) for _ in range(corners)]
        self.corners = {
            one: Corner(Scene(world.cluster, f"fault-{one}", world.simulation, project=one))
            for one in ids
        }
        self.nobodys = self.corners[ids[0]].traffic if corners == 1 else Traffic()
        self.kube = FaultProxy(
            "kube",
            world.cluster.url,
            fault_catalogue.kube_call,
            self._traffic_of,
            certificate_authority=world.cluster.certificate_authority,
        )
        self.cloud = FaultProxy(
            "cloud", world.simulation.url, fault_catalogue.cloud_call, self._traffic_of
        )
        self._flags = [*FLAGS, *flags]
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for corner in self.corners.values():
                namespace = corner.scene.namespace
                await asyncio.to_thread(self.world.cluster.create_namespace, namespace)
                stack.push_async_callback(self._clean_up, namespace)
            await stack.enter_async_context(self.kube)
            await stack.enter_async_context(self.cloud)
            self.operator = self.make_operator(self.id)
            self.kube.kill = self.cloud.kill = self.operator.kill
            await stack.enter_async_context(self.operator)
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._exit.aclose()

    def make_operator(self, name: str, *flags: str) -> SupervisedOperator:
        """Make a replica behind the proxies; the first one is made by the stage itself."""
        return SupervisedOperator(
            self._kubeconfig(),
            self.world.directory / f"{name}.log",
            cse_endpoint=self.cloud.url,
            namespaces=[corner.scene.namespace for corner in self.corners.values()],
            flags=[*self._flags, *flags],
        )

    def _traffic_of(self, request: Request) -> Traffic:
        for text in (request.path, request.body.decode()):
            for found in _CORNER.findall(text):
                if found in self.corners:
                    return self.corners[found].traffic
        return self.nobodys

    def _kubeconfig(self) -> Path:
        cluster = self.world.cluster
        path = self.world.directory / f"{self.id}.kubeconfig"
        cluster.write_kubeconfig(path, cluster.token)
        document = yaml.safe_load(path.read_text())
        document["clusters"][0]["cluster"] = {"server": self.kube.url}
        path.write_text(json.dumps(document))
        return path

    async def _clean_up(self, namespace: str) -> None:
        collections = (ENGINES, "api/v1/secrets", "api/v1/events")
        await asyncio.to_thread(self.world.cluster.delete_namespace, namespace, collections)
