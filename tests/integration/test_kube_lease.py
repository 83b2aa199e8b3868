"""Leader election on the real API server, with a leader that is suspended by SIGSTOP."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cse_operator.kube import connection
from cse_operator.kube.lease import LeaderElector, LeaseTimes
from cse_simulator.control_plane import Cluster
from support import processes

TIMES = LeaseTimes(lease_duration=5, renew_deadline=4.0, retry_period=0.3)

# This leader prints that it leads, and answers SIGCONT before its event loop runs again.
LEADER = """
import asyncio, signal, sys
from cse_operator.kube import connection
from cse_operator.kube.lease import LeaderElector, LeaseTimes

async def main():
    async with await connection.connect(kubeconfig=sys.argv[1]) as client:
        elector = LeaderElector(
            client, namespace="default", name=sys.argv[2], identity="the one that is stopped",
            times=LeaseTimes(lease_duration=5, renew_deadline=4.0, retry_period=0.3),
            on_started=lambda: print("leads", flush=True),
            on_lost=lambda: print("lost", flush=True),
        )
        signal.signal(
            signal.SIGCONT, lambda *_: print("woke", elector.is_leader(), flush=True)
        )
        await elector.run()

asyncio.run(main())
"""


@pytest.fixture
def lease(control_plane: Cluster) -> Iterator[str]:
    """The name of a Lease for this test."""
    name = f"lease-{secrets.token_hex(4)}"
    yield name
    path = f"/apis/coordination.k8s.io/v1/namespaces/default/leases/{name}"
    control_plane.request("DELETE", path)


async def test_a_leader_that_was_stopped_wakes_up_as_none_and_stands_back(
    control_plane: Cluster, lease: str
) -> None:
    stopped = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        LEADER,
        str(control_plane.kubeconfig),
        lease,
        stdout=asyncio.subprocess.PIPE,
        env=processes.python_environment(),
    )
    assert stopped.stdout is not None
    try:
        assert await stopped.stdout.readline() == b"leads\n"
        stopped.send_signal(signal.SIGSTOP)
        started = asyncio.Event()
        async with await connection.connect(kubeconfig=str(control_plane.kubeconfig)) as client:
            successor = LeaderElector(
                client,
                namespace="default",
                name=lease,
                identity="successor",
                times=TIMES,
                on_started=started.set,
            )
            standing = asyncio.create_task(successor.run())
            await started.wait()
            stopped.send_signal(signal.SIGCONT)
            assert await stopped.stdout.readline() == b"woke False\n"
            assert await stopped.stdout.readline() == b"lost\n"
            assert holder(control_plane, lease) == "successor"
            standing.cancel()
            await asyncio.gather(standing, return_exceptions=True)
        assert await stopped.stdout.readline() == b"leads\n"
    finally:
        stopped.kill()
        await stopped.wait()


async def test_a_lease_that_is_given_up_passes_on_at_once_and_reads_well(
    control_plane: Cluster, lease: str, tmp_path: Path
) -> None:
    patient = LeaseTimes(lease_duration=3600, renew_deadline=60.0, retry_period=0.05)
    async with await connection.connect(kubeconfig=str(control_plane.kubeconfig)) as client:
        for transitions, identity in enumerate(("first", "second")):
            started = asyncio.Event()
            elector = LeaderElector(
                client,
                namespace="default",
                name=lease,
                identity=identity,
                times=patient,
                on_started=started.set,
            )
            task = asyncio.create_task(elector.run())
            await started.wait()
            stored = spec(control_plane, lease)
            assert stored["holderIdentity"] == identity
            assert stored["leaseDurationSeconds"] == 3600
            assert stored["leaseTransitions"] == transitions
            assert stored["renewTime"].endswith("Z")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert holder(control_plane, lease) == ""


def spec(cluster: Cluster, name: str) -> dict[str, object]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/default/leases/{name}"
    found: dict[str, object] = cluster.request("GET", path)["spec"]
    return found


def holder(cluster: Cluster, name: str) -> object:
    return spec(cluster, name).get("holderIdentity", "")
