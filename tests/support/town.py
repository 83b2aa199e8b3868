"""Two namespaces with one operator, to measure how trouble in one affects the other."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.simulation import Simulation, start_simulator
from support import engines
from support.operator_process import OperatorProcess
from support.scene import Scene
from support.wait import ENGINES

QUICK = ("--poll-interval=0.2", "--log-format=json")
MOST_SECONDS = 2.0
"""Longest time from a neighbour's spec to its call; without trouble it takes a tenth of that."""
HELD_UP = 20.0
"""Seconds that a busy machine alone cannot explain."""
ROUNDS = 5


class Town:
    """Two namespaces, each with a project, with one vendor and one operator."""

    def __init__(self, noisy: Scene, lone: Scene, operator: OperatorProcess) -> None:
        self.noisy = noisy
        self.lone = lone
        self.operator = operator
        self.slowest_probe = 0.0
        self.region_of_the_lone: dict[str, str] = {}
        """Further spec fields of the lone resource, such as another region."""

    def fill(self, manifests: list[dict[str, Any]]) -> None:
        """Create many resources in the noisy namespace, several at once."""
        path = engines.engine_path(self.noisy.namespace)

        def create(manifest: dict[str, Any]) -> None:
            self.noisy.cluster.request("POST", path, manifest)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(create, manifests))

    def manifest(self, name: str, **spec: str) -> dict[str, Any]:
        return engines.engine_manifest(name, namespace=self.noisy.namespace, **spec)

    async def lone_upgrade(self, name: str) -> float:
        """Upgrade an engine in the lone namespace; return the seconds until the upgrade call."""
        engine = self.lone.engine(name)
        begun = time.time()
        await asyncio.to_thread(self.lone.resource, engine, **self.region_of_the_lone)
        await self.lone.until_reason(name, "UpToDate")
        (call,) = self.lone.changing_calls(engine)
        return call.time - begun

    async def probe(self) -> None:
        """Call `/healthz` again and again, and record the slowest answer."""
        while True:
            begun = time.monotonic()
            status, _ = await asyncio.to_thread(self.operator.get, "/healthz")
            assert status == 200
            self.slowest_probe = max(self.slowest_probe, time.monotonic() - begun)
            await asyncio.sleep(0.1)

    async def beside(self, trouble: Callable[[int], object]) -> None:
        """Check that during trouble, probes answer within a second and a neighbour is in time.

        One good round of `ROUNDS` is enough: a busy machine is late now and then, but real trouble
        is late in every round.
        """
        measured = []
        for number in range(ROUNDS):
            self.slowest_probe = 0.0
            probing = asyncio.create_task(self.probe())
            await asyncio.to_thread(trouble, number)
            took = await self.lone_upgrade(f"beside-{number}")
            probing.cancel()
            if took < MOST_SECONDS and self.slowest_probe < 1.0:
                return
            measured.append((took, self.slowest_probe))
            assert took < HELD_UP, measured
        raise AssertionError(f"seconds until the call, and of the slowest probe: {measured}")


@contextmanager
def a_town(
    control_plane: Cluster,
    folder: Path,
    endpoint: Callable[[Simulation], str] = lambda simulation: simulation.url,
    *flags: str,
) -> Iterator[Town]:
    """Run a town whose operator may already call; the operator's log is in the folder."""
    suite = secrets.token_hex(4)
    namespaces = [f"town-{suite}-{name}" for name in ("noisy", "lone")]
    for namespace in namespaces:
        control_plane.create_namespace(namespace)
    with start_simulator(job_seconds=0.3) as simulation:
        noisy, lone = (Scene(control_plane, name, simulation) for name in namespaces)
        lone.secret()
        with OperatorProcess(
            control_plane.kubeconfig,
            folder / "log",
            cse_endpoint=endpoint(simulation),
            namespaces=namespaces,
            flags=(*QUICK, *flags),
        ) as operator:
            operator.wait_until_it_may_call()
            yield Town(noisy, lone, operator)
            assert operator.terminate() == 0
    for namespace in namespaces:
        control_plane.delete_namespace(namespace, (ENGINES, "api/v1/secrets", "api/v1/events"))
