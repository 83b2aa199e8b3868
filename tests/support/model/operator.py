"""A model of one operator process: the runtime's step, one boundary at a time.

A step is a generator that yields before and after each external action. At these points a test can
let time pass, change the world, run another operator, or kill the process.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cse_operator.api.reasons import Reason
from cse_operator.api.status import Status
from cse_operator.api.status_reader import read_status
from cse_operator.api.upgrade_record import Action, UpgradeRecord
from cse_operator.core.decide import Decision, after_call, decide
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.observation import Desired, Limits, Observation, Owner
from cse_operator.core.permit import ALLOWED, Allowed, Held, Hold
from cse_operator.core.states import Effect, State, state_of
from cse_operator.core.vendor_states import passes_by_itself
from cse_operator.core.views import Accepted, EngineView
from support.model.cluster import (
    ConflictError,
    Dialect,
    GoneError,
    ModelCluster,
    StoredResource,
    UnavailableError,
    understood,
)
from support.model.vendor import EPOCH, REFUSED, Call, ModelVendor, busy

SEND_WINDOW: Final = 5.0
MOST_TURNS: Final = 12
POLL_INTERVAL: Final = 5.0
RESYNC_INTERVAL: Final = 600.0

Steps = Generator[str, None, None]


@dataclass
class Weather:
    """The faults that the next calls meet."""

    lag: float = 0.0
    """The age of the state that the vendor's reads show, in seconds."""
    look: str = "fine"
    jobs: str = "fine"
    """The fault of the list of jobs: it may be absent or fail."""
    put: str = "fine"
    kube: str = "fine"
    late: float = 0.0
    """The time that a late call takes to arrive, in seconds."""


LOOK_FAULTS: Final = {
    "transient": Failure(FailureKind.TRANSIENT, "connection reset"),
    "throttled": Failure(FailureKind.THROTTLED, "throttled", 429, "APIGW.0308", retry_after=5.0),
    "unauthenticated": Failure(FailureKind.UNAUTHENTICATED, "bad token", 401, "APIGW.0301"),
    "forbidden": Failure(FailureKind.FORBIDDEN, "not allowed", 403, "APIGW.0302"),
}

NO_ENGINE = Failure(FailureKind.NOT_FOUND, "no such engine", 400, "SVCSTG.00501116")

UNKNOWN = Failure(FailureKind.OUTCOME_UNKNOWN, "no answer")
SERVER_ERROR = Failure(FailureKind.OUTCOME_UNKNOWN, "internal error", 500, "SVCSTG.00500500")

# The faults of a changing call: the number of its arrivals, whether it arrives late, and the answer
# that the sender gets; None means the vendor's answer.
PUT_FAULTS: Final[dict[str, tuple[int, bool, Failure | None]]] = {
    "fine": (1, False, None),
    "lost before the effect": (0, False, UNKNOWN),
    "lost after the effect": (1, False, UNKNOWN),
    "arrives late": (1, True, UNKNOWN),
    "delivered twice": (2, False, None),
    "500 before the effect": (0, False, SERVER_ERROR),
    "500 after the effect": (1, False, SERVER_ERROR),
    "throttled": (0, False, LOOK_FAULTS["throttled"]),
    "unauthenticated": (0, False, LOOK_FAULTS["unauthenticated"]),
    "forbidden": (0, False, LOOK_FAULTS["forbidden"]),
    "engine not found": (0, False, Failure(FailureKind.NOT_FOUND, "none", 404, "SVCSTG.00501116")),
    "refused": (0, False, REFUSED),
    "busy": (0, False, busy("Available")),
    "throttled after the effect": (1, False, LOOK_FAULTS["throttled"]),
    "unauthenticated after the effect": (1, False, LOOK_FAULTS["unauthenticated"]),
    "never sent": (0, False, Failure(FailureKind.NOT_SENT, "connection refused")),
}


@dataclass
class Notes:
    failures: int = 0
    unsent: int = 0
    ended_since: float | None = None
    not_found_since: float | None = None
    job_missing_since: float | None = None
    passing_looks: int = 0
    state: object = None
    stage_since: float = 0.0
    wrote_intent: bool = False
    status_written: float = float("-inf")


@dataclass
class ModelGate:
    """A policy for both operators, which opens and closes."""

    open: bool = True

    def answer(self) -> Allowed | Held:
        """Return the policy's current permit."""
        return ALLOWED if self.open else Held((Hold(Reason.CHANGE_FREEZE, None),), "a freeze")

    def passed(self) -> None:
        """Check that the gate is open when a call is sent."""
        assert self.open, "a call went out through a closed gate"


@dataclass
class ModelOperator:
    """One process; a crash loses all its memory."""

    vendor: ModelVendor
    cluster: ModelCluster
    limits: Limits
    wall_clock_error: float
    dialect: Dialect | None = None
    """The dialect of a newer build's records; a newer build reads both dialects."""
    waits_at_start: bool = False
    """Whether it makes no call until it has held the right to act for one outcome grace."""
    began: float = 0.0
    gate: ModelGate = field(default_factory=ModelGate)
    weather: Weather = field(default_factory=Weather)
    cache: dict[str, StoredResource] = field(default_factory=dict)
    notes: dict[str, Notes] = field(default_factory=dict)
    answers: dict[str, tuple[Observation, UpgradeRecord, Accepted | Failure | Held]] = field(
        default_factory=dict
    )
    due: dict[str, float] = field(default_factory=dict)
    running: dict[str, Steps] = field(default_factory=dict)
    requests_honoured: list[tuple[str, str]] = field(default_factory=list)

    # -- triggers -----------------------------------------------------------------------------

    def crash(self) -> None:
        """Crash and restart, with only the state in the API server."""
        for step in self.running.values():
            step.close()
        for forgotten in (self.cache, self.notes, self.answers, self.due, self.running):
            forgotten.clear()
        self.began = self.vendor.now
        self.deliver()

    def deliver(self) -> None:
        """Deliver all changes by the watch."""
        for name in list(self.cache):
            if name not in self.cluster.resources:
                del self.cache[name]
                self._forget(name)
        for stored in self.cluster.resources.values():
            self._take_in(stored)

    def _take_in(self, stored: StoredResource) -> None:
        before = self.cache.get(stored.name)
        if before is not None and before.version >= stored.version:
            return
        if before is not None and before.uid != stored.uid:
            self._forget(stored.name)
        self.cache[stored.name] = stored
        if before is None or replace(before, version=stored.version) != stored:
            self._add(stored.name, 0.0)

    def go_on(self, name: str) -> str:
        """Continue a resource's step to its next boundary; start a step if none is open."""
        if name not in self.running:
            self.due.pop(name, None)
            self.running[name] = self._reconcile(name)
        try:
            return next(self.running[name])
        except StopIteration:
            self.running.pop(name, None)
            return "the end of the step"

    def finish(self, name: str) -> None:
        while self.go_on(name) != "the end of the step":
            pass

    def next_due(self) -> float | None:
        """Return the time of the next due step."""
        return min(self.due.values(), default=None)

    def _add(self, name: str, seconds: float) -> None:
        moment = self.vendor.now + seconds
        self.due[name] = min(self.due.get(name, moment), moment)

    def _forget(self, name: str) -> None:
        self.answers.pop(name, None)
        self.notes.pop(name, None)
        self.due.pop(name, None)

    # -- the step -----------------------------------------------------------------------------

    def _reconcile(self, name: str) -> Steps:
        resource = self.cache.get(name)
        if resource is None:
            self._forget(name)
            return
        try:
            if name in self.answers:
                yield from self._record_answer(name)
            else:
                yield from self._step(name, resource)
        except ConflictError:
            yield "before reading again"
            current = self.cluster.resources.get(name)
            if current is None:
                self.cache.pop(name, None)
                self._forget(name)
                return
            self._take_in(current)
            self._add(name, 0.0)
        except GoneError:
            self.cache.pop(name, None)
            self._forget(name)
        except UnavailableError:
            self._add(name, 2.0)

    def _step(self, name: str, resource: StoredResource) -> Steps:
        o = self._first_look(resource)
        notes = self.notes[resource.name]
        engine_seen = engine_answered = job_seen = 0.0
        for _ in range(MOST_TURNS):
            decided_at = now = self.vendor.now
            o = replace(
                o,
                engine_age=now - engine_seen,
                engine_since=now - engine_answered,
                job_age=now - job_seen,
                may_call_in=self._may_call_in(),
            )
            decision = decide(o, self.limits)
            o = replace(o, status=decision.status) if decision.effect.is_look else o
            match decision.effect:
                case Effect.NONE:
                    yield from self._conclude(resource, decision)
                    return
                case Effect.UPGRADE | Effect.RETRY:
                    yield from self._act(resource, o, decision, decided_at)
                    return
                case Effect.LOOK:
                    yield "before looking at the engine"
                    engine_seen = self.vendor.now
                    # The call may wait for the rate limit before it arrives.
                    yield "before the look arrives"
                    o = self._look(o, notes)
                    engine_answered = self.vendor.now
                    yield "after looking at the engine"
                case Effect.SHOW_JOB:
                    yield "before looking at the job"
                    job_seen, o = self.vendor.now, self._show_job(o, decision, notes)
                    yield "after looking at the job"
                case Effect.ASK:
                    yield "before asking the policies"
                    o = replace(o, permit=self.gate.answer())
                case Effect.LIST_JOBS:
                    yield "before looking at the list of jobs"
                    o = self._list_jobs(o)
                    yield "after looking at the list of jobs"
        raise AssertionError(f"the decisions go in circles at {decision.situation}")

    def _may_call_in(self) -> float:
        if not self.waits_at_start:
            return 0.0
        return max(self.limits.grace - (self.vendor.now - self.began), 0.0)

    def read(self, resource: StoredResource) -> Status:
        """Return the status as this build reads it."""
        stored = resource.status
        return read_status(understood(stored) if self.dialect is not None else stored)

    def _first_look(self, resource: StoredResource) -> Observation:
        notes = self.notes.setdefault(resource.name, Notes())
        now, status = self.vendor.now, self.read(resource)
        state = _state_and_mark(status)
        if notes.state != state:
            notes.state, notes.stage_since, notes.wrote_intent = state, now, False
            notes.ended_since = notes.job_missing_since = None
        return Observation(
            desired=Desired(
                generation=resource.generation,
                version=resource.wanted,
                suspend=resource.suspend,
                timeout=resource.timeout,
                retry_limit=resource.retry_limit,
                reconcile_request=resource.reconcile_request,
                retry_request=resource.retry_request,
            ),
            status=status,
            now=self.wall_clock(),
            failures=notes.failures,
            known_for=now - notes.stage_since,
            wrote_intent=notes.wrote_intent,
            ended_for=now - notes.ended_since if notes.ended_since is not None else 0.0,
            not_found_for=now - notes.not_found_since if notes.not_found_since else 0.0,
            poll_interval=POLL_INTERVAL,
            progress_due=now - notes.status_written >= 60.0,
            other_owner=self._other_owner(resource),
            permit=None,
        )

    def wall_clock(self) -> datetime:
        return EPOCH + timedelta(seconds=self.vendor.now + self.wall_clock_error)

    def _other_owner(self, mine: StoredResource) -> Owner | None:
        first = min((mine, *self.cache.values()), key=self._precedence)
        return Owner(first.name) if first.uid != mine.uid else None

    def _precedence(self, resource: StoredResource) -> tuple[bool, float, str]:
        """Return the rank as owner, lowest first: an open upgrade wins, then age."""
        idle = state_of(self.read(resource)) is State.IDLE
        return (idle, resource.created, resource.uid)

    def _look(self, o: Observation, notes: Notes) -> Observation:
        failure = self._look_failure()
        if failure is not None:
            return self._failed(o, failure, notes)
        notes.not_found_since = None
        if o.job_failure is None:
            notes.failures = 0
        engine: EngineView = self.vendor.show_engine(self.weather.lag)
        passes = passes_by_itself(engine.status)
        notes.passing_looks = notes.passing_looks + 1 if passes else 0
        return replace(o, engine=engine, failures=notes.failures, passing_looks=notes.passing_looks)

    def _look_failure(self) -> Failure | None:
        if self.weather.look == "fine":
            return NO_ENGINE if self.vendor.state.status == "Deleted" else None
        return LOOK_FAULTS[self.weather.look]

    def _failed(self, o: Observation, failure: Failure, notes: Notes) -> Observation:
        notes.failures += 1
        if failure.kind is not FailureKind.NOT_FOUND:
            notes.not_found_since = None
        elif notes.not_found_since is None:
            notes.not_found_since = self.vendor.now
        since = notes.not_found_since
        gone = self.vendor.now - since if since is not None else 0.0
        return replace(o, failure=failure, failures=notes.failures, not_found_for=gone)

    def _show_job(self, o: Observation, decision: Decision, notes: Notes) -> Observation:
        assert decision.job_to_show is not None
        failure = self._look_failure()
        if failure is not None:
            # For a job of a deleted engine, the vendor's answer is not readable.
            gone = failure is NO_ENGINE
            notes.failures += 1
            notes.job_missing_since = None
            unseen = LOOK_FAULTS["transient"] if gone else failure
            return replace(o, job_failure=unseen, failures=notes.failures)
        job = self.vendor.show_job(decision.job_to_show, self.weather.lag)
        if job is None:
            if o.record is None or o.record.job_id != decision.job_to_show:
                return replace(o, missing_job=decision.job_to_show)
            if notes.job_missing_since is None:
                notes.job_missing_since = self.vendor.now
            gone_for = self.vendor.now - notes.job_missing_since
            return replace(o, missing_job=decision.job_to_show, job_missing_for=gone_for)
        notes.job_missing_since = None
        if o.record is not None and o.record.job_id == job.job_id:
            over = job.has_ended or job.has_stopped
            since = notes.ended_since if notes.ended_since is not None else self.vendor.now
            notes.ended_since = since if over else None
            o = replace(o, ended_for=self.vendor.now - since if over else 0.0)
        return replace(o, job=job, missing_job=None)

    def _list_jobs(self, o: Observation) -> Observation:
        match self.weather.jobs:
            case "absent":
                return replace(o, jobs=())
            case "fails":
                return replace(o, jobs_failure=LOOK_FAULTS["transient"])
            case _:
                return replace(o, jobs=self.vendor.list_jobs(self.weather.lag))

    def _conclude(self, resource: StoredResource, decision: Decision) -> Steps:
        yield from self._write(resource, decision.status)
        if decision.requeue_after is not None:
            assert decision.requeue_after > 0
            self._add(resource.name, decision.requeue_after)

    def _write(
        self, resource: StoredResource, status: Status
    ) -> Generator[str, None, StoredResource | None]:
        new = status.to_json()
        if status.unreadable is not None:
            assert new["upgrade"] == resource.status["upgrade"], "written over what is unreadable"
        elif self.dialect is not None:
            new = self.dialect.written(new)
        if _known(new) == _known(resource.status):
            return None
        yield "before writing the status"
        if self.weather.kube == "lost before the effect":
            raise UnavailableError
        stored = self.cluster.write_status(resource, new)
        if self.weather.kube == "lost after the effect":
            raise UnavailableError
        yield "after writing the status"
        self.notes.setdefault(resource.name, Notes()).status_written = self.vendor.now
        self._take_in(stored)
        return stored

    # -- act ----------------------------------------------------------------------------------

    def _act(
        self, resource: StoredResource, o: Observation, decision: Decision, decided_at: float
    ) -> Steps:
        name = resource.name
        stored = yield from self._write(resource, decision.status)
        assert stored is not None, "a call without an intent stored before it"
        read = self.read(stored)
        record = read.upgrade
        assert record is not None
        assert record.unanswered
        notes = self.notes.setdefault(name, Notes())
        notes.state = _state_and_mark(read)
        notes.stage_since, notes.wrote_intent = self.vendor.now, True
        outcome: Accepted | Failure | Held
        permit = self.gate.answer()
        if isinstance(permit, Held):
            outcome = permit
        elif self.vendor.now - decided_at > SEND_WINDOW:
            outcome = Failure(FailureKind.NOT_SENT, "the window to send it has passed")
        else:
            kind = "Retry" if record.action is Action.RETRY else "Upgrade"
            target = record.target_version or ""
            call = Call(kind, resource.uid, target, stored.version, self.vendor.now)
            call.fault = self.weather.put
            self.gate.passed()
            outcome = self._send(call)
            yield "after the call's effect"
        yield "after the call's answer"
        self.answers[name] = (o, record, outcome)
        if name in self.cache:
            yield from self._record_answer(name)

    def _send(self, call: Call) -> Accepted | Failure:
        arrivals, late, said = PUT_FAULTS[self.weather.put]
        self.vendor.calls.append(call)
        answer: Accepted | Failure | None = None
        for _ in range(arrivals):
            if late:
                self.vendor.at(
                    self.vendor.now + self.weather.late, lambda: _arrive(self.vendor, call)
                )
            else:
                answer = self.vendor.arrive(call)
        outcome = said if said is not None else answer
        assert outcome is not None
        return outcome

    def _record_answer(self, name: str) -> Steps:
        o, record, outcome = self.answers[name]
        resource = self.cache[name]
        status = self.read(resource)
        if status.upgrade != record:
            del self.answers[name]
            self._add(name, 0.0)
            return
        notes = self.notes.setdefault(name, Notes())
        unsent = isinstance(outcome, Failure) and outcome.kind is FailureKind.NOT_SENT
        notes.unsent = notes.unsent + 1 if unsent else 0
        o = replace(o, status=status, failures=notes.unsent, poll_interval=POLL_INTERVAL)
        decision = after_call(o, outcome, self.limits)
        assert decision.broken is None
        yield from self._write(resource, decision.status)
        self.answers.pop(name, None)
        notes.state = None
        if decision.requeue_after is not None:
            self._add(name, decision.requeue_after)


def _state_and_mark(status: Status) -> object:
    record = status.upgrade
    mark = record and (record.job_id, record.attempts, record.requested_at)
    return state_of(status), mark


def _arrive(vendor: ModelVendor, call: Call) -> None:
    vendor.arrive(call)


def _known(status: dict[str, Any]) -> dict[str, Any]:
    """Return the status as a merge patch compares it: without keys that are null."""
    return {key: value for key, value in status.items() if value is not None}
