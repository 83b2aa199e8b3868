"""A model of one operator process: the step as the runtime does it, one boundary at a time.

A step is a generator that stops before and after everything it does to the outside, so that
a test can let time pass, the world move, another operator run, or the process die there.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from cse_operator.api.resource import Status, UpgradeRecord
from cse_operator.core.decide import Decision, after_call, decide
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.observation import Accepted, EngineView, JobView
from cse_operator.core.observed import Observed, Policy, Rival, Wish
from cse_operator.core.situations import JOB_ENDINGS, stage_of
from cse_operator.core.states import Effect, Stage
from support.model_cluster import (
    ConflictError,
    GoneError,
    ModelCluster,
    StoredResource,
    UnavailableError,
)
from support.model_vendor import EPOCH, REFUSED, Call, ModelVendor, busy

SEND_WINDOW: Final = 5.0
MOST_TURNS: Final = 12
POLL_INTERVAL: Final = 5.0
RESYNC_INTERVAL: Final = 600.0

Steps = Generator[str, None, None]


@dataclass
class Weather:
    """What the next calls meet."""

    lag: float = 0.0
    """How old the state is that the vendor's reads show."""
    listing_age: float = 0.0
    """How old a shared listing is that answers a look that need not be direct."""
    look: str = "fine"
    put: str = "fine"
    kube: str = "fine"
    late: float = 0.0
    """How long a late call is on its way."""


LOOK_FAULTS: Final = {
    "transient": Failure(FailureKind.TRANSIENT, "connection reset"),
    "throttled": Failure(FailureKind.THROTTLED, "throttled", 429, "APIGW.0308", retry_after=5.0),
    "unauthenticated": Failure(FailureKind.UNAUTHENTICATED, "bad token", 401, "APIGW.0301"),
    "forbidden": Failure(FailureKind.FORBIDDEN, "not allowed", 403, "APIGW.0302"),
}

UNKNOWN = Failure(FailureKind.OUTCOME_UNKNOWN, "no answer")
SERVER_ERROR = Failure(FailureKind.OUTCOME_UNKNOWN, "internal error", 500, "SVCSTG.00500500")

# What a changing call can meet: whether it arrives at once, arrives late, and what its sender
# learns; None is the vendor's own answer.
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
    "never sent": (0, False, Failure(FailureKind.NOT_SENT, "connection refused")),
}


@dataclass
class Notes:
    failures: int = 0
    job: JobView | None = None
    job_seen: float = 0.0
    missing_job: int | None = None
    ended_since: float | None = None
    stage: object = None
    stage_since: float = 0.0
    wrote_intent: bool = False
    status_written: float = float("-inf")
    followed: int | None = None


@dataclass
class ModelOperator:
    """One process; a crash forgets everything but `world`."""

    vendor: ModelVendor
    cluster: ModelCluster
    policy: Policy
    wall_clock_error: float
    weather: Weather = field(default_factory=Weather)
    cache: dict[str, StoredResource] = field(default_factory=dict)
    notes: dict[str, Notes] = field(default_factory=dict)
    answers: dict[str, tuple[UpgradeRecord, Accepted | Failure]] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)
    running: dict[str, Steps] = field(default_factory=dict)
    requests_honoured: list[tuple[str, str]] = field(default_factory=list)

    # -- triggers -----------------------------------------------------------------------------

    def crash(self) -> None:
        """Die, and be started again with nothing but what the API server has."""
        for step in self.running.values():
            step.close()
        for forgotten in (self.cache, self.notes, self.answers, self.due, self.running):
            forgotten.clear()
        self.deliver()

    def deliver(self) -> None:
        """The watch brings everything that changed."""
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

    def poll(self) -> None:
        """One round of the follower: news of the followed jobs."""
        now = self.vendor.now
        for name, notes in self.notes.items():
            if notes.followed is None or name not in self.cache:
                continue
            job = self.vendor.show_job(notes.followed, self.weather.lag)
            before = (notes.job and replace(notes.job, observed_at=None), notes.missing_job)
            if job is None:
                notes.missing_job, notes.job, notes.job_seen = notes.followed, None, now
            else:
                notes.job, notes.job_seen, notes.missing_job = job, now, None
                if job.status in JOB_ENDINGS and notes.ended_since is None:
                    notes.ended_since = self.vendor.now
            if (notes.job and replace(notes.job, observed_at=None), notes.missing_job) != before:
                self._add(name, 0.0)

    def go_on(self, name: str) -> str:
        """Go on with the step of a resource to its next boundary; start one if none is open."""
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

    def next_due(self, *, follows: bool) -> float | None:
        """When a step or, if it is to be counted, a round of the follower is due."""
        times = list(self.due.values())
        if follows and any(notes.followed is not None for notes in self.notes.values()):
            times.append(self.vendor.now + POLL_INTERVAL)
        return min(times, default=None)

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
        # Of this step's own: news of the job may come in while it looks around.
        engine_seen = engine_answered = 0.0
        job_seen = notes.job_seen
        for _ in range(MOST_TURNS):
            decided_at = now = self.vendor.now
            o = replace(
                o,
                engine_age=now - engine_seen,
                engine_since=now - engine_answered,
                job_age=now - job_seen,
            )
            decision = decide(o, self.policy)
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
                    # Waiting for a limit or for earlier pages, before the vendor sees it.
                    yield "before the look arrives"
                    age, o = self._look(o, notes)
                    engine_seen = min(engine_seen, self.vendor.now - age)
                    engine_answered = self.vendor.now - age
                    yield "after looking at the engine"
                case Effect.SHOW_JOB:
                    yield "before looking at the job"
                    job_seen, o = self.vendor.now, self._show_job(o, decision, notes)
                    yield "after looking at the job"
        raise AssertionError(f"the decisions go in circles at {decision.situation}")

    def _first_look(self, resource: StoredResource) -> Observed:
        notes = self.notes.setdefault(resource.name, Notes())
        now, record = self.vendor.now, resource.record
        stage = _stage_and_mark(record)
        if notes.stage != stage:
            notes.stage, notes.stage_since, notes.wrote_intent = stage, now, False
            notes.job, notes.missing_job, notes.ended_since = None, None, None
        return Observed(
            wish=Wish(
                generation=resource.generation,
                version=resource.wanted,
                suspend=resource.suspend,
                timeout=resource.timeout,
                retry_limit=resource.retry_limit,
                reconcile_request=resource.reconcile_request,
                retry_request=resource.retry_request,
            ),
            status=resource.parse_status(),
            now=self.wall_clock(),
            job=notes.job,
            missing_job=notes.missing_job,
            failures=notes.failures,
            known_for=now - notes.stage_since,
            wrote_intent=notes.wrote_intent,
            ended_for=now - notes.ended_since if notes.ended_since is not None else 0.0,
            progress_due=now - notes.status_written >= 60.0,
            rival=self._rival(resource),
        )

    def wall_clock(self) -> datetime:
        return EPOCH + timedelta(seconds=self.vendor.now + self.wall_clock_error)

    def _rival(self, mine: StoredResource) -> Rival | None:
        first = min((mine, *self.cache.values()), key=lambda resource: resource.precedence)
        return Rival(first.name) if first.uid != mine.uid else None

    def _look(self, o: Observed, notes: Notes) -> tuple[float, Observed]:
        weather = self.weather
        if weather.look != "fine":
            notes.failures += 1
            failure = LOOK_FAULTS[weather.look]
            return 0.0, replace(o, failure=failure, failures=notes.failures)
        notes.failures = 0
        directly = o.look_requested or stage_of(o.record) is Stage.UNANSWERED
        age = 0.0 if directly else weather.listing_age
        engine: EngineView = self.vendor.show_engine(weather.lag + age)
        assert engine.observed_at is not None
        listed = replace(engine, observed_at=engine.observed_at - timedelta(seconds=age))
        looked = replace(o, engine=listed, engine_is_fresh=True, failures=0)
        return age, looked

    def _show_job(self, o: Observed, decision: Decision, notes: Notes) -> Observed:
        assert decision.job_to_show is not None
        if self.weather.look != "fine":
            notes.failures += 1
            failure = LOOK_FAULTS[self.weather.look]
            return replace(o, failure=failure, failures=notes.failures)
        job = self.vendor.show_job(decision.job_to_show, self.weather.lag)
        if job is None:
            return replace(o, missing_job=decision.job_to_show)
        return replace(o, job=job, missing_job=None)

    def _conclude(self, resource: StoredResource, decision: Decision) -> Steps:
        yield from self._write(resource, decision.status)
        self._follow(resource.name, decision.status)
        if decision.requeue_after is not None:
            assert decision.requeue_after > 0
            self._add(resource.name, decision.requeue_after)

    def _follow(self, name: str, status: Status) -> None:
        notes, record = self.notes.setdefault(name, Notes()), status.upgrade
        if record is None or not record.running:
            notes.followed = None
            return
        job = notes.job
        ended = job is not None and job.job_id == record.job_id and job.status in JOB_ENDINGS
        if not ended:
            notes.followed = record.job_id

    def _write(
        self, resource: StoredResource, status: Status
    ) -> Generator[str, None, StoredResource | None]:
        new = status.to_json()
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
        self, resource: StoredResource, o: Observed, decision: Decision, decided_at: float
    ) -> Steps:
        name = resource.name
        stored = yield from self._write(resource, decision.status)
        assert stored is not None, "a call without an intent stored before it"
        record = stored.record
        assert record is not None
        assert record.unanswered
        notes = self.notes.setdefault(name, Notes())
        notes.stage = _stage_and_mark(record)
        notes.stage_since, notes.wrote_intent = self.vendor.now, True
        outcome: Accepted | Failure
        if self.vendor.now - decided_at > SEND_WINDOW:
            outcome = Failure(FailureKind.NOT_SENT, "the window to send it has passed")
        else:
            kind = "Upgrade" if decision.effect is Effect.UPGRADE else "Retry"
            call = Call(kind, resource.uid, resource.wanted, stored.version, self.vendor.now)
            call.fault = self.weather.put
            outcome = self._send(call)
            yield "after the call's effect"
        yield "after the call's answer"
        self.answers[name] = (record, outcome)
        if name in self.cache:
            yield from self._record_answer(name, o)

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

    def _record_answer(self, name: str, o: Observed | None = None) -> Steps:
        record, outcome = self.answers[name]
        resource = self.cache[name]
        if resource.record != record:
            del self.answers[name]
            self._add(name, 0.0)
            return
        if o is None:
            o = self._first_look(resource)
        notes = self.notes.setdefault(name, Notes())
        notes.failures = 0 if isinstance(outcome, Accepted) else notes.failures + 1
        o = replace(o, status=resource.parse_status(), failure=None, failures=notes.failures)
        decision = after_call(o, outcome, self.policy)
        yield from self._write(resource, decision.status)
        self.answers.pop(name, None)
        notes.stage = None
        if decision.requeue_after is not None:
            self._add(name, decision.requeue_after)
        self._follow(name, decision.status)


def _stage_and_mark(record: UpgradeRecord | None) -> object:
    return stage_of(record), record and (record.job_id, record.attempts, record.requested_at)


def _arrive(vendor: ModelVendor, call: Call) -> None:
    vendor.arrive(call)


def _known(status: dict[str, Any]) -> dict[str, Any]:
    """What a merge patch compares: a key with null is a key that is not there."""
    return {key: value for key, value in status.items() if value is not None}
