"""Fixtures of the fault suites, and the matrix at the end of the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.jobs import JobPlan
from cse_simulator.vendor.simulation import Simulation, start_simulator
from support.faults.matrix import ONLY, Result, complaint, table
from support.faults.stage import World

MATRIX = "fault matrix"
NEIGHBOURS = "neighbours"


@pytest.fixture(scope="session")
def vendor() -> Iterator[Simulation]:
    """A vendor whose jobs end when a test ends them."""
    with start_simulator(record_calls=1_000_000) as simulation:
        simulation.admin.plan_jobs(JobPlan(outcome="never", times=None))
        yield simulation


@pytest.fixture(scope="session")
def lagging_vendor() -> Iterator[Simulation]:
    """Such a vendor with reads that are always a second behind."""
    with start_simulator(record_calls=1_000_000, read_lag_ms=1000) as simulation:
        simulation.admin.plan_jobs(JobPlan(outcome="never", times=None))
        yield simulation


@pytest.fixture
def lagging_world(control_plane: Cluster, lagging_vendor: Simulation, tmp_path: Path) -> World:
    """The API server and the lagging vendor."""
    return World(control_plane, lagging_vendor, tmp_path)


@pytest.fixture
def world(control_plane: Cluster, vendor: Simulation, tmp_path: Path) -> World:
    """The API server and the vendor of all runs."""
    return World(control_plane, vendor, tmp_path)


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Callable[[str, list[Result]], None]:
    """Add results to the matrix; fail the test for results that broke the promise."""

    def judged(title: str, results: list[Result]) -> None:
        if ONLY and not results:
            pytest.skip(f"no case has {ONLY!r} in its name")
        assert results, "not a single case"
        request.node.user_properties.append((MATRIX, [title, table(results)]))
        if any(result.broken for result in results):
            pytest.fail(complaint(results), pytrace=False)

    return judged


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the measurements of neighbours, the matrix of all workers' tests, and the totals."""
    reports = [r for group in ("passed", "failed") for r in terminalreporter.getreports(group)]
    properties = [one for report in reports for one in report.user_properties]
    lines = sorted(value for name, value in properties if name == NEIGHBOURS)
    if lines:
        terminalreporter.section("neighbours: until the call, in the median")
    for line in lines:
        terminalreporter.write_line(line)
    parts = [value for name, value in properties if name == MATRIX]
    if not parts:
        return
    terminalreporter.section(MATRIX)
    total = [0, 0, 0]
    for title, rows in sorted(parts):
        terminalreporter.write_line(f"{title:<52} cases  survived  failed")
        for what, *counts in rows:
            terminalreporter.write_line("  {:<50} {:>5} {:>9} {:>7}".format(what, *counts))
            total = [a + b for a, b in zip(total, counts, strict=True)]
    terminalreporter.write_line("{} cases, {} survived, {} failed".format(*total))
