"""A tenant with thousands of resources, or very large ones, harms no neighbour and not the Pod."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.simulation import Simulation, start_simulator
from support import engines
from support.operator_process import OperatorProcess
from support.scene import Scene
from support.town import QUICK, Town, a_town

POD_LIMIT = 256 * 1024 * 1024

pytestmark = pytest.mark.timeout(420)


async def test_thousands_that_name_one_engine_without_a_secret_slow_nobody(
    control_plane: Cluster, tmp_path: Path
) -> None:
    with a_town(control_plane, tmp_path) as town:
        engine = town.noisy.engine("contested")
        names = [f"claim-{number:04}" for number in range(4000)]
        spec = {"projectId": town.noisy.project, "engineId": engine.id}
        await asyncio.to_thread(town.fill, [town.manifest(name, **spec) for name in names])
        await asyncio.to_thread(_until_all_are_handled, town)

        def one_more_and_one_less(number: int) -> None:
            town.fill([town.manifest(f"one-more-{number}", **spec)])
            town.noisy.delete(names[number])

        await town.beside(one_more_and_one_less)


async def test_hundreds_of_made_up_regions_slow_nobody(
    control_plane: Cluster, tmp_path: Path
) -> None:
    regions = [f"made-up-{number}" for number in range(200)]
    sites = ["near-by=localhost", *(f"{region}={region}.invalid" for region in regions)]

    def host_of_the_region(simulation: Simulation) -> str:
        return simulation.url.replace("127.0.0.1", "{domain}")

    flags = (f"--sites={','.join(sites)}",)
    with a_town(control_plane, tmp_path, host_of_the_region, *flags) as town:
        town.noisy.secret()
        town.region_of_the_lone = {"region": "near-by"}
        manifests = [town.manifest(region, region=region) for region in regions]
        await town.beside(lambda round_: town.fill(manifests) if not round_ else None)


def _until_all_are_handled(town: Town) -> None:
    """Wait until each of the noisy namespace's thousands of resources has conditions."""
    deadline = time.monotonic() + 240
    while any("conditions" not in item["status"] for item in _items(town.noisy)):
        assert time.monotonic() < deadline
        time.sleep(2)


def _items(scene: Scene) -> list[dict[str, Any]]:
    path = engines.engine_path(scene.namespace)
    items: list[dict[str, Any]] = scene.cluster.request("GET", path)["items"]
    return items


async def test_large_objects_stay_below_the_limit_of_the_pod(
    control_plane: Cluster, namespace: str, tmp_path: Path
) -> None:
    with start_simulator() as simulation:
        scene = Scene(control_plane, namespace, simulation)
        for number in range(65):
            manifest = engines.engine_manifest(f"large-{number}", namespace=namespace)
            labels = {f"label-{n:05}": "x" * 60 for n in range(14_000)}
            manifest["metadata"]["labels"] = labels
            control_plane.request("POST", engines.engine_path(namespace), manifest)
        with OperatorProcess(
            control_plane.kubeconfig,
            tmp_path / "log",
            cse_endpoint=simulation.url,
            namespaces=[namespace],
            flags=QUICK,
        ) as operator:
            await asyncio.sleep(5)  # all is listed and ready; now the watch lists once more
            most = _most_memory(operator.running().pid)
        for number in range(65):
            scene.delete(f"large-{number}")
        assert most < POD_LIMIT


def _most_memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")
