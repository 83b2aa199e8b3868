"""The operator as its own process: one that tests share, and others that a test may kill."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.simulation import Simulation, start_simulator
from support.operator_process import OperatorProcess
from support.scene import Scene
from support.wait import ENGINES

QUICK = (
    "--poll-interval=0.1",
    "--wait-interval=0.3",
    "--slow-interval=0.5",
    "--allowed-regions=cn-north-4,cn-east-3",
    "--log-format=json",
)
"""Shorter intervals than in production, and no resync during a test."""


@pytest.fixture(scope="session")
def shared_simulation() -> Iterator[Simulation]:
    """A vendor for all tests that use only their own engines and projects."""
    with start_simulator(job_seconds=0.4) as simulation:
        yield simulation


@pytest.fixture(scope="session")
def shared_operator(
    control_plane: Cluster,
    shared_simulation: Simulation,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[tuple[OperatorProcess, list[str]]]:
    """An operator for all tests that do not kill it, and those of its namespaces that are unused.

    A test takes a namespace and creates it then: the API server answers a list in a missing
    namespace with no items. No other test takes it again, because what a test left in it would
    reappear.
    """
    suite = secrets.token_hex(4)
    unused = [f"shared-{suite}-{number}" for number in range(_namespaces_to_serve(request.session))]
    operator = OperatorProcess(
        control_plane.kubeconfig,
        tmp_path_factory.mktemp("operator") / "log",
        cse_endpoint=shared_simulation.url,
        namespaces=list(unused),
        flags=QUICK,
    )
    with operator:
        operator.wait_until_it_may_call()
        yield operator, unused
        assert operator.terminate() == 0
    assert_nothing_unforeseen(operator)


def _namespaces_to_serve(session: pytest.Session) -> int:
    """Return how many namespaces this worker's tests take at most: three times its share."""
    takers = [item for item in session.items if "shared_operator" in item.fixturenames]
    needed = sum(name in item.fixturenames for item in takers for name in ("scene", "elsewhere"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return min(needed, 3 * needed // workers + 10)


def assert_nothing_unforeseen(operator: OperatorProcess) -> None:
    """Assert that the operator logged only whole lines of JSON and no bug of its own."""
    for line in operator.output().splitlines():
        message = json.loads(line)["message"]
        for word in ("unforeseen", "never retrieved", "was destroyed", "circles"):
            assert word not in message, line


@pytest.fixture
def scene(
    control_plane: Cluster,
    shared_simulation: Simulation,
    shared_operator: tuple[OperatorProcess, list[str]],
) -> Iterator[Scene]:
    """A namespace that the shared operator serves, with a project at the shared vendor."""
    yield from _taken(control_plane, shared_simulation, shared_operator[1])


@pytest.fixture
def elsewhere(
    control_plane: Cluster,
    shared_simulation: Simulation,
    shared_operator: tuple[OperatorProcess, list[str]],
) -> Iterator[Scene]:
    """A second namespace like that of `scene`, with its own project."""
    yield from _taken(control_plane, shared_simulation, shared_operator[1])


def _taken(cluster: Cluster, simulation: Simulation, unused: list[str]) -> Iterator[Scene]:
    assert unused, "all namespaces are taken: raise the number in _namespaces_to_serve"
    namespace = unused.pop()
    cluster.create_namespace(namespace)
    yield Scene(cluster, namespace, simulation)
    simulation.admin.clear_faults()
    simulation.admin.clear_plans()
    cluster.delete_namespace(namespace, (ENGINES, "api/v1/secrets", "api/v1/events"))


@pytest.fixture
def unserved(control_plane: Cluster, namespace: str, shared_simulation: Simulation) -> Scene:
    """A namespace that no operator serves yet, with a project at the shared vendor."""
    return Scene(control_plane, namespace, shared_simulation)


@pytest.fixture
def unserved_with_own_vendor(
    control_plane: Cluster, namespace: str, simulator: Simulation
) -> Scene:
    """The same, with a vendor whose settings the test may change."""
    return Scene(control_plane, namespace, simulator)


@pytest.fixture
def start_operator(tmp_path: Path) -> Iterator[Callable[..., OperatorProcess]]:
    """Start operators for a scene, with further flags; they stop at the end of the test."""
    started = []
    with ExitStack() as running:

        def start(scene: Scene, *flags: str, name: str = "operator") -> OperatorProcess:
            operator = OperatorProcess(
                scene.cluster.kubeconfig,
                tmp_path / f"{name}.log",
                cse_endpoint=scene.simulation.url,
                namespaces=[scene.namespace],
                flags=[*QUICK, *flags],
            )
            started.append(operator)
            return running.enter_context(operator)

        yield start
    for operator in started:
        assert_nothing_unforeseen(operator)
