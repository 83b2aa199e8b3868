"""What every run must have cost, to the call: CI fails when it cost more, or less than it must."""

from __future__ import annotations

from harness import report
from harness.report import Result

SIZE = 100
LONE_CHANGES = 5
IDLE_SECONDS = 5.0
LOOKS_ALONE = SIZE
"""Of the two looks that each upgrade takes, listings answer at least one."""
POLLS_A_ROUND = 11
"""One listing, and the steps of ten jobs."""


def broken(ours: Result) -> list[str]:
    """The counts of a run of our operator that are not what they must be, in sentences."""
    size, burst, idle, lone = ours["resources"], ours["burst"], ours["idle"], ours["lone"]
    exact = {
        "upgrade calls in the burst": (burst["cloud"].get("Upgrade", 0), size),
        "upgrades the vendor accepted in the burst": (burst["upgrades_accepted"], size),
        "engines upgraded twice": (burst["upgraded_twice"], 0),
        "status writes in the burst": (report.status_writes(burst), 3 * size),
        "other writes of the objects in the burst": (report.other_object_writes(burst), 0),
        "Events of the burst": (report.events(burst), 2 * size),
        "writes to the API server at rest": (report.api_writes(idle), 0),
        "calls to the vendor at rest": (report.cloud_calls(idle), 0),
        "upgrade calls for the lone changes": (lone["cloud"].get("Upgrade", 0), LONE_CHANGES),
        "status writes for the lone changes": (report.status_writes(lone), 3 * LONE_CHANGES),
        # One to decide on, and one to see the new version.
        "looks at engines for the lone changes": (
            lone["cloud"].get("ShowEngine", 0),
            2 * LONE_CHANGES,
        ),
    }
    rounds = max(burst["seconds"], 1.0)
    most = {
        "looks at running jobs in the burst": (
            report.running_job_polls(burst, size),
            round((rounds + 1) * POLLS_A_ROUND),
        ),
        "looks at single engines in the burst": (burst["cloud"].get("ShowEngine", 0), LOOKS_ALONE),
    }
    return [
        *(f"{what}: {got}, and not {due}" for what, (got, due) in exact.items() if got != due),
        *(f"{what}: {got}, more than {cap}" for what, (got, cap) in most.items() if got > cap),
    ]
