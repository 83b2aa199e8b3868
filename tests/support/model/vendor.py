"""A small model of the vendor, for checking decisions: one engine, its jobs, and lagging reads.

It has no wire format. It models only the facts that the decision core must respect: when a call is
accepted, what a job does to the engine, and what a read may show.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.versions import Comparison, compare
from cse_operator.core.views import Accepted, EngineView, JobView

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ENGINE_ID = "engine-1"

STATUS_OF_OUTCOME = {
    "finish": "Finished",
    "error": "Error",
    "timeout": "Timeout",
    # An unknown word: only `scheduling` shows that the job has ended.
    "odd": "Cancelled",
}


@dataclass(frozen=True)
class EngineState:
    version: str
    status: str
    latest_job_id: int
    actions: tuple[str, ...] = ()


@dataclass
class Run:
    start: float
    end: float
    outcome: str


@dataclass
class Job:
    id: int
    type: str
    target: str | None
    owner: str | None
    """The uid of the resource whose call started the job; None for another person's job."""
    runs: list[Run] = field(default_factory=list)
    taken_over: bool = False
    """Whether another owner retried this failed job."""
    gone_from: float = float("inf")
    """When the vendor forgets the job."""

    @property
    def outcome(self) -> str:
        return self.runs[-1].outcome

    def view(self, moment: float, observed_at: datetime) -> JobView | None:
        begun = [run for run in self.runs if run.start <= moment]
        if not begun or moment >= self.gone_from:
            return None
        run = begun[-1]
        ended = moment >= run.end
        return JobView(
            job_id=self.id,
            engine_id=ENGINE_ID,
            type=self.type,
            status=STATUS_OF_OUTCOME[run.outcome] if ended else "Executing",
            started_at=EPOCH + timedelta(seconds=run.start),
            ended_at=EPOCH + timedelta(seconds=run.end) if ended else None,
            progress=None,
            message=None,
            observed_at=observed_at,
            scheduled=not ended,
        )


@dataclass
class Call:
    """One changing call as it was sent, and all its effects at the vendor."""

    kind: str
    owner: str
    target: str
    intent_version: int
    sent_at: float
    fault: str = "fine"
    """The fault on its way."""
    retried: list[Job] = field(default_factory=list)
    """The failed jobs that it retried."""
    retried_owners: list[str | None] = field(default_factory=list)
    """The owners of these jobs before."""
    effects: list[tuple[float, EngineState, Accepted | Failure]] = field(default_factory=list)
    """For each arrival: its time, the engine's state before it, and the answer."""

    @property
    def accepted(self) -> list[tuple[float, EngineState]]:
        return [(at, state) for at, state, answer in self.effects if isinstance(answer, Accepted)]


class ModelVendor:
    """The engine's true states over time; reads may show older ones."""

    def __init__(self, *, clock_offset: float, same_retry_job: bool, lenient: bool) -> None:
        """Start with one Available engine at 2.3.0.

        Args:
            clock_offset: How far the gateway's clock (Date) is ahead of the engine manager's.
            same_retry_job: Whether Retry runs the failed job again instead of a new one.
            lenient: Whether the vendor accepts an upgrade to the engine's current version.
        """
        self.now = 1000.0
        self.clock_offset = clock_offset
        self.same_retry_job = same_retry_job
        self.lenient = lenient
        self.jobs: dict[int, Job] = {}
        self.calls: list[Call] = []
        self.foreign_changes: list[float] = []
        """The times at which others changed the version or ran a job."""
        self._ids = itertools.count(101)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        create = Job(next(self._ids), "Create", None, None, [Run(0.0, 1.0, "finish")])
        self.jobs[create.id] = create
        self.states: list[tuple[float, EngineState]] = [
            (1.0, EngineState("2.3.0", "Available", create.id))
        ]
        self.next_job: tuple[str, float] = ("finish", 3.0)
        self.latest_version = "2.5.0"

    # -- time ---------------------------------------------------------------------------------

    @property
    def state(self) -> EngineState:
        return self.states[-1][1]

    def at(self, moment: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._order), action))

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            moment, _, action = heapq.heappop(self._events)
            self.now = max(self.now, moment)
            action()
        self.now = until

    @property
    def next_event(self) -> float | None:
        return self._events[0][0] if self._events else None

    def date(self) -> datetime:
        """Return the gateway's Date header, in whole seconds."""
        return (EPOCH + timedelta(seconds=self.now + self.clock_offset)).replace(microsecond=0)

    # -- reads --------------------------------------------------------------------------------

    def show_engine(self, lag: float) -> EngineView:
        moment = self.now - lag
        shown = next((s for at, s in reversed(self.states) if at <= moment), self.states[0][1])
        return EngineView(
            engine_id=ENGINE_ID,
            name="test",
            type="CSE",
            status=shown.status,
            version=shown.version,
            latest_version=self.latest_version,
            latest_job_id=shown.latest_job_id,
            additional_actions=shown.actions,
            observed_at=self.date(),
        )

    def show_job(self, job_id: int, lag: float) -> JobView | None:
        job = self.jobs.get(job_id)
        return job.view(self.now - lag, self.date()) if job else None

    def list_jobs(self, lag: float) -> tuple[JobView, ...]:
        views = [job.view(self.now - lag, self.date()) for job in self.jobs.values()]
        return tuple(view for view in views if view is not None)

    # -- changing calls -----------------------------------------------------------------------

    def arrive(self, call: Call) -> Accepted | Failure:
        """Let a call arrive at the engine manager now, and return the answer."""
        before = self.state
        answer = self._upgrade(call) if call.kind == "Upgrade" else self._retry(call)
        call.effects.append((self.now, before, answer))
        return answer

    def _upgrade(self, call: Call) -> Accepted | Failure:
        if self.state.status != "Available":
            return busy(self.state.status)
        standing = compare(self.state.version, call.target)
        if standing is Comparison.BEYOND or (standing is Comparison.SATISFIED and not self.lenient):
            return REFUSED
        return self._accepted(self.start("Upgrade", call.target, call.owner))

    def _retry(self, call: Call) -> Accepted | Failure:
        if "Retry" not in self.state.actions:
            return busy(self.state.status)
        failed = self.jobs[self.state.latest_job_id]
        call.retried.append(failed)
        call.retried_owners.append(failed.owner)
        if not self.same_retry_job:
            return self._accepted(self.start("Upgrade", failed.target, call.owner))
        failed.taken_over = failed.taken_over or failed.owner != call.owner
        failed.owner = call.owner
        self._run(failed)
        return self._accepted(failed)

    @staticmethod
    def _accepted(job: Job) -> Accepted:
        return Accepted(engine_id=ENGINE_ID, engine_name="test", job_id=job.id)

    def start(self, type_: str, target: str | None, owner: str | None) -> Job:
        job = Job(next(self._ids), type_, target, owner)
        self.jobs[job.id] = job
        self._run(job)
        return job

    def _run(self, job: Job) -> None:
        outcome, seconds = self.next_job
        run = Run(self.now, self.now + seconds, outcome)
        job.runs.append(run)
        status = "Upgrading" if job.type == "Upgrade" else "Modifying"
        self.become(status=status, latest_job_id=job.id, actions=())
        self.at(run.end, lambda: self._conclude(job, run))

    def _conclude(self, job: Job, run: Run) -> None:
        if job.owner is None:
            self.foreign_changes.append(self.now)
        if job.type != "Upgrade":
            self.become(status="Available")
        elif run.outcome == "finish":
            assert job.target is not None
            # This includes versions with letters: the vendor carries out what it accepted.
            backward = compare(self.state.version, job.target) in _THERE
            version = self.state.version if backward else job.target
            self.become(status="Available", version=version, actions=())
        else:
            self.become(status="UpgradeFailed", actions=("Retry",))

    # -- the world moves by itself ----------------------------------------------------------------

    def become(self, **changes: Any) -> None:
        """Change the engine's state; a deleted engine stays deleted."""
        if self.state.status == "Deleted":
            return
        self.states.append((self.now, replace(self.state, **changes)))

    def patch(self, version: str) -> None:
        """Let the vendor roll out a version without a job."""
        if compare(self.state.version, version) is not Comparison.BEYOND:
            self.become(version=version)
            self.foreign_changes.append(self.now)

    def console_upgrade(self, version: str) -> None:
        if self.state.status == "Available":
            self.foreign_changes.append(self.now)
            self.start("Upgrade", version, None)

    def console_modify(self) -> None:
        if self.state.status == "Available":
            self.foreign_changes.append(self.now)
            self.start("Modify", None, None)

    def console_mend(self) -> None:
        """Let the engine's owner repair a failed engine: Available at its old version."""
        if self.state.status == "UpgradeFailed":
            self.foreign_changes.append(self.now)
            self.become(status="Available", actions=())

    def forget_job(self) -> None:
        """Let the vendor forget the engine's latest job."""
        self.jobs[self.state.latest_job_id].gone_from = self.now


_THERE = {Comparison.SATISFIED, Comparison.BEYOND}

REFUSED = Failure(
    FailureKind.REJECTED, "The target version is not supported.", 400, "SVCSTG.00501999"
)


def busy(status: str) -> Failure:
    """Return the vendor's refusal of a call in this engine status."""
    return Failure(FailureKind.BUSY, f"engine is {status}", 400, "SVCSTG.00501117")
