"""Jobs, and their progress at a given moment.

A job has no timer. Its whole course is fixed when it starts (or when a person ends it), and its
state at any moment is computed from that course, so that ten thousand running jobs cost nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

Outcome = Literal["finish", "error", "timeout", "never"]

INIT, EXECUTING, FINISHED = "Init", "Executing", "Finished"
FINAL_STATUS = {"finish": FINISHED, "error": "Error", "timeout": "Timeout", "never": EXECUTING}
INIT_SHARE = 0.05
"""The share of a job's duration that it spends in `Init`."""

UPGRADE_STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Check engine", ("check-nodes", "check-versions")),
    ("Back up configuration", ("backup-registry", "backup-config")),
    ("Upgrade standby instance", ("stop-standby", "upgrade-standby", "start-standby")),
    ("Upgrade active instance", ("stop-active", "upgrade-active", "start-active")),
    ("Verify engine", ("verify-health",)),
)
"""Steps of an upgrade: two instances, one after the other. The names are made up, because the
vendor does not document its own."""

CREATE_STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Create engine", ("create-instances", "verify-health")),
)


@dataclass(frozen=True, slots=True)
class JobPlan:
    """The course of the jobs that start while the plan applies.

    Attributes:
        outcome: How the job ends: finished, failed, timed out, or never.
        step: The step (from 1) at which it fails, times out or hangs; the last one by default.
        seconds: The duration of a complete job; the simulator's setting by default.
        vanish_after_seconds: The job can no longer be found this long after its start.
        times: The number of jobs that the plan applies to; None for all.
        first_status: The status before the first step: `Init`, or `PreInit` as in the jobs of
            Nacos engines (seen by the vendor's Terraform provider).
        last_status: The status after the end instead of the documented one, such as
            `UpgradeFailed` or an unknown word. `outcome` still decides what happens to the engine.
    """

    outcome: Outcome = "finish"
    step: int | None = None
    seconds: float | None = None
    vanish_after_seconds: float | None = None
    times: int | None = 1
    first_status: str = INIT
    last_status: str = ""


@dataclass(frozen=True, slots=True)
class StepState:
    """One step at a moment; times are seconds since the epoch, and None until they are reached."""

    name: str
    tasks: tuple[str, ...]
    status: str
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """The course of one run of a job. Times are seconds since the epoch."""

    started_at: float
    seconds: float
    outcome: Outcome
    failing_step: int
    ends_at: float
    vanishes_at: float = math.inf
    steps: tuple[tuple[str, tuple[str, ...]], ...] = UPGRADE_STEPS
    first_status: str = INIT
    last_status: str = ""

    @classmethod
    def planned(cls, started_at: float, default_seconds: float, plan: JobPlan) -> Run:
        """Compute a run from a plan."""
        seconds = default_seconds if plan.seconds is None else plan.seconds
        count = len(UPGRADE_STEPS)
        failing = min(max(plan.step or count, 1), count)
        if plan.outcome == "never":
            ends_at = math.inf
        elif plan.outcome == "finish":
            ends_at = started_at + seconds
        else:
            share = INIT_SHARE + (1 - INIT_SHARE) * failing / count
            ends_at = started_at + seconds * share
        vanishing = plan.vanish_after_seconds
        vanishes_at = math.inf if vanishing is None else started_at + vanishing
        return cls(
            started_at,
            seconds,
            plan.outcome,
            failing,
            ends_at,
            vanishes_at,
            first_status=plan.first_status,
            last_status=plan.last_status,
        )

    def ended_now(self, moment: float, outcome: Outcome) -> Run:
        """Return this run, ended at a moment with an outcome."""
        reached = sum(1 for index in range(len(self.steps)) if self._begins(index) <= moment)
        return replace(self, outcome=outcome, ends_at=moment, failing_step=max(reached, 1))

    def has_ended(self, moment: float) -> bool:
        """Return whether the run has ended at a moment."""
        return moment >= self.ends_at

    def status(self, moment: float) -> str:
        """Return the job's status at a moment."""
        if self.has_ended(moment):
            return self.last_status or FINAL_STATUS[self.outcome]
        return self.first_status if moment < self._begins(0) else EXECUTING

    def step_states(self, moment: float) -> list[StepState]:
        """Return the states of all steps at a moment."""
        return [
            self._step_state(index, name, tasks, moment)
            for index, (name, tasks) in enumerate(self.steps)
        ]

    def next_change(self, moment: float) -> float:
        """Return the time of the job's next visible change; infinity if there is none."""
        changes = [self._begins(index) for index in range(len(self.steps) + 1)]
        later = [change for change in (*changes, self.ends_at) if change > moment]
        return min(later, default=math.inf)

    def _begins(self, index: int) -> float:
        share = INIT_SHARE + (1 - INIT_SHARE) * index / len(self.steps)
        return self.started_at + self.seconds * share

    def _step_state(
        self, index: int, name: str, tasks: tuple[str, ...], moment: float
    ) -> StepState:
        begins, ends = self._begins(index), self._begins(index + 1)
        ended = self.has_ended(moment)
        if ended and self.outcome == "finish":
            started, over = min(begins, self.ends_at), min(ends, self.ends_at)
            return StepState(name, tasks, FINISHED, started, over)
        position = index + 1 - self.failing_step
        if ended and position == 0:
            started = min(begins, self.ends_at)
            return StepState(name, tasks, FINAL_STATUS[self.outcome], started, self.ends_at)
        if (ended or self.outcome != "finish") and position > 0:
            return StepState(name, tasks, INIT)
        if moment < begins:
            return StepState(name, tasks, INIT)
        if moment < ends or (position == 0 and self.outcome != "finish"):
            return StepState(name, tasks, EXECUTING, begins)
        return StepState(name, tasks, FINISHED, begins, ends)


class Rendering(NamedTuple):
    """A job's JSON, valid from `since` (included) until `until` (excluded)."""

    run: Run
    since: float
    until: float
    style: tuple[bool, str]
    body: bytes


@dataclass(slots=True)
class Job:
    """A job of an engine; Retry may run it again under the same id.

    Attributes:
        runs: The job's runs, newest last.
        rendering: The JSON of the last read, so that a thousand readers cost one rendering.
    """

    id: int
    engine_id: str
    engine_name: str
    type: str
    create_user: str
    from_version: str
    target_version: str
    runs: list[Run] = field(default_factory=list)
    rendering: Rendering | None = field(default=None, repr=False)

    def run_at(self, moment: float) -> Run | None:
        """Return the run that a reader sees at a moment, or None if it sees no job."""
        for run in reversed(self.runs):
            if run.started_at <= moment:
                return None if moment >= run.vanishes_at else run
        return None
