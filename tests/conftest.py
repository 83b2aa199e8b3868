"""Shared fixtures: the real API server, started once per session if a test needs it."""

from __future__ import annotations

import gc
import os
import re
import secrets
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import settings

from cse_simulator.control_plane import (
    Cluster,
    ControlPlaneError,
    LocalControlPlane,
    ensure_assets,
)
from cse_simulator.vendor.simulation import Simulation, start_simulator
from support.kubectl import Kubectl
from support.shared_control_plane import AskedControlPlane, SharedControlPlane
from support.wait import ENGINES

SHARED = pytest.StashKey[SharedControlPlane | AskedControlPlane]()
CLUSTER_FIXTURES = {"control_plane", "private_control_plane"}


def pytest_configure(config: pytest.Config) -> None:
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE"):  # what runs CI may set them
        os.environ.pop(variable, None)
    # Hypothesis fails an example that takes 200 ms, and on a busy machine any example may.
    settings.register_profile("busy machines", deadline=None)
    settings.load_profile("busy machines")
    workerinput: dict[str, Any] | None = getattr(config, "workerinput", None)
    if workerinput is None:
        config.stash[SHARED] = SharedControlPlane(lambda line: _report(config, line))
    else:
        config.stash[SHARED] = AskedControlPlane(**workerinput["control_plane"])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker the address of the controller's API server."""
    node.workerinput["control_plane"] = node.config.stash[SHARED].address()


def pytest_unconfigure(config: pytest.Config) -> None:
    shared = config.stash.get(SHARED, None)
    if isinstance(shared, SharedControlPlane):
        shared.close()


def _report(config: pytest.Config, line: str) -> None:
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None:
        terminal.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Search for no garbage during the collection, which makes little: that halves its time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the API server, so that `-m "not cluster"` leaves them out."""
    for item in items:
        if CLUSTER_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.cluster)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the API server before the first test: a build would exceed a test's timeout."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    with suppress(ControlPlaneError):  # the fixture raises it again, where pytest shows it
        if "control_plane" in wanted:
            session.config.stash[SHARED].cluster()
        elif "private_control_plane" in wanted:
            session.config.stash[SHARED].ensure_assets()


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config) -> Cluster:
    """The session's API server with the CRDs; shared, so a test stays in its own `namespace`."""
    return pytestconfig.stash[SHARED].cluster()


@pytest.fixture
def private_control_plane() -> Iterator[LocalControlPlane]:
    """An empty API server of the test alone, which the test may restart and break."""
    with LocalControlPlane(ensure_assets()) as own:
        yield own


@pytest.fixture
def namespace(control_plane: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh namespace for this test, removed afterwards with its engines, Secrets and Events."""
    readable = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")
    name = f"{readable}-{secrets.token_hex(4)}"
    control_plane.create_namespace(name)
    yield name
    control_plane.delete_namespace(name, (ENGINES, "api/v1/secrets", "api/v1/events"))


@pytest.fixture
def kubectl(control_plane: Cluster) -> Kubectl:
    """The real kubectl as the administrator of the session's API server."""
    return Kubectl(control_plane)


@pytest.fixture
def simulator() -> Iterator[Simulation]:
    """A simulated vendor for this test, with jobs of half a second and no engines yet."""
    with start_simulator(job_seconds=0.5) as simulation:
        yield simulation
