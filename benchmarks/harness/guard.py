"""The exact counts of calls and writes that a run must have; CI fails on any other count."""

from __future__ import annotations

from collections.abc import Iterator

from harness import report
from harness.contestants import POLL_SECONDS
from harness.phases import BURST_JOB_SECONDS, LONE_JOB_SECONDS
from harness.report import Result

SIZE = 100
LONE_CHANGES = 5
IDLE_SECONDS = 5.0
LOOKS = 2
"""Reads of the engine for one upgrade: one before the decision, one to see the new version."""
CALLS = 4
"""Vendor calls for one upgrade: two reads, the Upgrade, and the poll that shows the job's end."""


def broken(ours: Result) -> list[str]:
    """Return a sentence for each wrong count in a run of our operator."""
    exact, most = dict(_exact(ours)), dict(_most(ours))
    return [
        *(f"{what}: {got}, and not {due}" for what, (got, due) in exact.items() if got != due),
        *(f"{what}: {got}, more than {cap}" for what, (got, cap) in most.items() if got > cap),
    ]


def _exact(ours: Result) -> Iterator[tuple[str, tuple[int, int]]]:
    size, burst, idle = ours["resources"], ours["burst"], ours["idle"]
    yield "upgrades the vendor accepted in the burst", (burst["upgrades_accepted"], size)
    yield "engines upgraded twice", (burst["upgraded_twice"], 0)
    yield "writes to the API server at the start", (report.api_writes(ours["start"]), 0)
    yield "writes to the API server at rest", (report.api_writes(idle), 0)
    yield "calls to the vendor at rest", (report.cloud_calls(idle), 0)
    for when, phase, upgrades in _upgrades(ours):
        yield f"upgrade calls in {when}", (phase["cloud"].get("Upgrade", 0), upgrades)
        yield f"looks at engines in {when}", (phase["cloud"].get("ShowEngine", 0), LOOKS * upgrades)
        yield f"status writes in {when}", (report.status_writes(phase), 3 * upgrades)
        yield f"other writes of the objects in {when}", (report.other_object_writes(phase), 0)
        yield f"Events of {when}", (report.events(phase), 2 * upgrades)


def _most(ours: Result) -> Iterator[tuple[str, tuple[int, int]]]:
    jobs = {"the burst": BURST_JOB_SECONDS, "the lone changes": LONE_JOB_SECONDS}
    for when, phase, upgrades in _upgrades(ours):
        # A job that takes three intervals is polled three times, and its end may need one more.
        polls = int(jobs[when] / POLL_SECONDS)
        yield (
            f"calls to the vendor in {when}",
            (
                report.cloud_calls(phase),
                (CALLS + polls) * upgrades,
            ),
        )


def _upgrades(ours: Result) -> Iterator[tuple[str, Result, int]]:
    yield "the burst", ours["burst"], ours["resources"]
    yield "the lone changes", ours["lone"], LONE_CHANGES
