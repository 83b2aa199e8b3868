"""Shared fixtures of the contracts with the simulator; each file starts it as `simulation`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cse_simulator.vendor.admin import AdminClient
from cse_simulator.vendor.admin_answers import EngineSummary
from cse_simulator.vendor.simulation import Simulation


@pytest.fixture
def admin(simulation: Simulation) -> Iterator[AdminClient]:
    simulation.admin.reset()
    yield simulation.admin
    simulation.admin.clear_faults()
    simulation.admin.clear_plans()


@pytest.fixture
def engine(admin: AdminClient) -> Iterator[EngineSummary]:
    """An engine that can be upgraded."""
    made = admin.create_engine("orders", version="2.3.1", latest_version="2.4.0")
    yield made
    admin.delete_engine(made.id)
