"""Any Pod may connect to the metrics port, but must not slow probes or upgrades."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

from cse_operator.runtime.http_server import MOST_CONNECTIONS
from support.operator_process import OperatorProcess
from support.processes import free_port
from support.scene import Scene

RESOURCES = 100
CLIENTS = 100
SILENT = 200
KUBELET_WAITS = 5.0
"""The timeout of the kubelet's probes in the manifests, in seconds."""


async def _ask_again_and_again(port: int) -> None:
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                await reader.read()
            finally:
                writer.close()
        await asyncio.sleep(0)


async def _say_nothing(port: int) -> None:
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await reader.read()
            finally:
                writer.close()
        await asyncio.sleep(0.1)


async def _is_bounded(port: int) -> None:
    """Assert that the server keeps the most connections open and closes the others at once."""
    beyond = 10
    opened = [
        await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CONNECTIONS + beyond)
    ]
    try:
        ends = [asyncio.create_task(reader.read()) for reader, _ in opened]
        await asyncio.wait(ends[-beyond:], timeout=20)
        assert [end.done() for end in ends] == [False] * MOST_CONNECTIONS + [True] * beyond
    finally:
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        for _, writer in opened:
            writer.close()


async def test_a_flood_of_metrics_requests_delays_neither_probes_nor_an_upgrade(
    unserved: Scene, tmp_path: Path
) -> None:
    scene, probes = unserved, free_port()
    scene.secret()
    absent = scene.engine("absent")
    for number in range(RESOURCES):
        scene.resource(absent, f"many-{number}", suspend=True)
    operator = OperatorProcess(
        scene.cluster.kubeconfig,
        tmp_path / "log",
        cse_endpoint=scene.simulation.url,
        namespaces=[scene.namespace],
        flags=["--poll-interval=0.1", f"--probe-listen=127.0.0.1:{probes}"],
    )
    metrics, operator.port = operator.port, probes
    with operator:
        await _is_bounded(metrics)
        flood = [
            *(asyncio.create_task(_ask_again_and_again(metrics)) for _ in range(CLIENTS)),
            *(asyncio.create_task(_say_nothing(metrics)) for _ in range(SILENT)),
        ]
        slowest, engine = 0.0, scene.engine()
        scene.resource(engine)
        upgraded = asyncio.create_task(scene.until_reason("orders", "UpToDate"))
        while not upgraded.done():
            begun = time.monotonic()
            assert (await asyncio.to_thread(operator.get, "/healthz"))[0] == 200
            slowest = max(slowest, time.monotonic() - begun)
            await asyncio.wait({upgraded}, timeout=0.1)
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
        await upgraded
        assert "Traceback" not in operator.output()
        assert operator.terminate() == 0
    assert slowest < KUBELET_WAITS
    assert len(scene.changing_calls(engine)) == 1
