"""A model of everything: the vendor, the API server, two operators, people; and the promises.

The caller chooses the events, one at a time. `check` checks the promises after each event, and
`settle_and_check` at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from cse_operator.api.reason_facts import FACTS
from cse_operator.api.reasons import ConditionType, Reason
from cse_operator.api.upgrade_record import HISTORY_LIMIT, Result
from cse_operator.core.member import may_run
from cse_operator.core.observation import Limits
from cse_operator.core.states import State, state_of
from cse_operator.core.versions import Comparison, compare, is_offered, satisfies
from support.model.cluster import Dialect, ModelCluster, StoredResource
from support.model.operator import RESYNC_INTERVAL, SEND_WINDOW, ModelGate, ModelOperator, Weather
from support.model.vendor import Call, EngineState, Job, ModelVendor

LIMITS: Final = Limits()
MOST_LAG: Final = LIMITS.lag
MOST_LATE: Final = 15.0
"""Longest time that a call may take to arrive: the time-out of a request."""
assert LIMITS.grace >= SEND_WINDOW + MOST_LATE + MOST_LAG + LIMITS.clocks

UNSEEN: Final = LIMITS.look_valid + SEND_WINDOW + MOST_LATE + MOST_LAG
"""How long an operator may not know of another's action."""


class ModelWorld:
    """One engine, up to two resources that name it, and two operators."""

    def __init__(
        self,
        *,
        clock_offset: float,
        same_retry_job: bool,
        lenient: bool,
        clock_errors: tuple[float, float],
        job: tuple[str, float],
        newer_builds: tuple[str, str] = ("", ""),
        waits_at_start: bool = False,
        lists_jobs: str = "fine",
    ) -> None:
        """Start with one resource that wants 2.4.0, and an engine at 2.3.0.

        Args:
            clock_offset: How far the gateway's clock is ahead of the engine manager's.
            same_retry_job: Whether Retry runs the failed job again instead of a new one.
            lenient: Whether the vendor accepts an upgrade to the engine's current version.
            clock_errors: The errors of the operators' wall clocks, in seconds.
            job: The outcome of the next job, and its duration in seconds.
            newer_builds: For each operator, its difference to an older build: a new "word", a
                later "reader", or "" if it is not newer.
            waits_at_start: Whether an operator makes no call for one grace after its start.
            lists_jobs: Whether the site has the list of jobs ("fine") or not ("absent").
        """
        self.vendor = ModelVendor(
            clock_offset=clock_offset, same_retry_job=same_retry_job, lenient=lenient
        )
        self.vendor.next_job = job
        self.cluster = ModelCluster()
        self.gate = ModelGate()
        self.operators = [
            ModelOperator(
                self.vendor,
                self.cluster,
                LIMITS,
                error,
                dialect=Dialect(by_word=newer == "word") if newer else None,
                waits_at_start=waits_at_start,
                began=self.vendor.now,
                gate=self.gate,
            )
            for error, newer in zip(clock_errors, newer_builds, strict=True)
        ]
        self.differ = newer_builds[0] != newer_builds[1]
        self.lists_jobs = lists_jobs
        self.requests = 0
        self.offered = [self.vendor.latest_version]
        self.cluster.create("older", "2.4.0", self.vendor.now)
        for operator in self.operators:
            operator.deliver()

    # -- events -------------------------------------------------------------------------------

    def go_on(self, which: int, name: str, boundaries: int, weather: Weather) -> None:
        """Let an operator continue its step for a resource."""
        operator = self._in(weather, which)
        for _ in range(boundaries):
            operator.go_on(name)

    def whole_step(self, which: int, name: str, weather: Weather) -> None:
        """Deliver all changes to an operator, and let it finish a step."""
        operator = self._in(weather, which)
        operator.deliver()
        operator.finish(name)

    def learn(self, which: int) -> None:
        """Deliver all changes to an operator by its watch."""
        self.operators[which].deliver()

    def _in(self, weather: Weather, which: int) -> ModelOperator:
        operator = self.operators[which]
        if self.lists_jobs == "absent":
            weather.jobs = "absent"
        operator.weather = weather
        return operator

    def person(self, name: str, doing: str, wanted: str, limit: int) -> None:
        """Let a person change a resource, or create it if it does not exist."""
        resource, now = self.cluster.resources.get(name), self.vendor.now
        if resource is None:
            self.cluster.create(name, wanted, now)
            return
        self.requests += 1
        request = f"request {self.requests}"
        match doing:
            case "wants a version":
                self.cluster.edit(name, wanted=wanted)
            case "suspends or resumes":
                self.cluster.edit(name, suspend=not resource.suspend)
            case "edits the options":
                self.cluster.edit(name, retry_limit=limit)
            case "edits the time-out":
                self.cluster.edit(name, timeout=timedelta(hours=1 + limit))
            case "requests a retry":
                self.cluster.annotate(name, now, retry_request=request)
            case "requests a look":
                self.cluster.annotate(name, now, reconcile_request=request)
            case _:
                del self.cluster.resources[name]

    def world(self, doing: str, version: str) -> None:
        """Let another person or the vendor change the engine or the gate."""
        vendor = self.vendor
        match doing:
            case "the vendor patches":
                vendor.patch(version)
            case "somebody upgrades in the console":
                if compare(version, vendor.state.version) is Comparison.BEYOND:
                    vendor.console_upgrade(version)
            case "somebody changes the engine":
                vendor.console_modify()
            case "somebody mends the engine":
                vendor.console_mend()
            case "the vendor offers a version":
                vendor.latest_version = version
                self.offered.append(version)
            case "the gate opens or closes":
                self.gate.open = not self.gate.open
            case "the engine is deleted":
                vendor.become(status="Deleted")
            case _:
                vendor.forget_job()

    # -- the promises -------------------------------------------------------------------------

    def check(self) -> None:
        """Check the promises that hold at every moment."""
        self.each_call_has_an_intent_of_its_own_stored_before_it()
        self.only_what_is_provably_behind_is_called()
        self.only_own_jobs_are_retried_unless_a_person_asked()
        self.an_engine_that_is_there_is_not_upgraded_again()
        self.one_desired_version_leads_to_one_accepted_upgrade()
        self.retries_stay_within_what_was_asked_for()
        self.every_stored_status_is_well_formed()

    def settle_and_check(self) -> None:
        """Stop all faults, wait until nothing changes, and check the final state."""
        self._settle()
        self.check()
        for resource in self.cluster.resources.values():
            self._check_final(resource)

    def each_call_has_an_intent_of_its_own_stored_before_it(self):
        versions = [call.intent_version for call in self.vendor.calls]
        assert len(versions) == len(set(versions)), "an intent was used for two calls"
        for call in self.vendor.calls:
            intent = self.cluster.intents[call.intent_version]
            assert intent.owner == call.owner
            assert intent.action.value == call.kind
            if call.kind == "Upgrade":
                assert intent.target == call.target

    def an_engine_that_is_there_is_not_upgraded_again(self):
        for call, at, state in self._arrivals("Upgrade"):
            if compare(state.version, call.target) in {
                Comparison.BEHIND,
                Comparison.INCOMPARABLE,
            }:
                continue
            assert self._somebody_else_was_at_it(call.owner, at), (
                f"{call.target} was called on an engine at {state.version}"
            )

    def only_what_is_provably_behind_is_called(self):
        for call, at, state in self._arrivals("Upgrade"):
            if compare(state.version, call.target) is not Comparison.INCOMPARABLE:
                continue
            offered = any(is_offered(state.version, call.target, latest) for latest in self._offers)
            assert offered or self._somebody_else_was_at_it(call.owner, at), (
                f"{call.target} was called on an engine at {state.version}"
            )

    def one_desired_version_leads_to_one_accepted_upgrade(self):
        """Check that only a requested retry or another target version leads to another upgrade."""
        last: dict[str, Call] = {}
        for call, _, _ in self._accepted("Upgrade"):
            before = last.get(call.owner)
            last[call.owner] = call
            if before is None or before.target != call.target or self._left_no_trace(before):
                continue
            since = before.sent_at - SEND_WINDOW
            requests = self.cluster.requests[call.owner]
            others = [
                other.sent_at
                for other in self.vendor.calls
                if other.owner == call.owner and other.target != call.target
            ]
            asked = [at for at in (*requests, *others) if since < at <= call.sent_at]
            assert asked, f"{call.target} was called again without a request"

    def retries_stay_within_what_was_asked_for(self):
        for uid, requests in self.cluster.requests.items():
            upgrades = sum(call.owner == uid for call, _, _ in self._accepted("Upgrade"))
            retries = sum(call.owner == uid for call, _, _ in self._accepted("Retry"))
            # Each job that was started, by a call or by a requested Retry, may be retried twice.
            assert retries <= 2 * (upgrades + len(requests)) + len(requests)

    def only_own_jobs_are_retried_unless_a_person_asked(self):
        for call, at, _ in self._accepted("Retry"):
            if self.cluster.requests[call.owner]:
                continue
            for job, owner in zip(call.retried, call.retried_owners, strict=True):
                known = owner == call.owner or self._somebody_else_was_at_it(owner, at)
                assert known, f"job {job.id} of {owner} was retried by {call.owner}"

    def every_stored_status_is_well_formed(self):
        for resource in self.cluster.resources.values():
            check_conditions(resource)
            ended = [
                (entry.job_id, entry.finished_at)
                for entry in resource.parse_status().history
                if entry.job_id is not None
            ]
            assert len(ended) == len(set(ended)), f"one job was recorded twice: {ended}"

    # -- helpers ------------------------------------------------------------------------------

    @property
    def _offers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.offered, self.vendor.latest_version)))

    def _arrivals(self, kind: str) -> list[tuple[Call, float, EngineState]]:
        calls = [call for call in self.vendor.calls if call.kind == kind]
        return [(call, at, state) for call in calls for at, state, _ in call.effects]

    def _accepted(self, kind: str) -> Iterator:
        found = [
            (c, at, state) for c in self.vendor.calls if c.kind == kind for at, state in c.accepted
        ]
        return iter(sorted(found, key=lambda entry: entry[1]))

    def _left_no_trace(self, call: Call) -> bool:
        """Return whether the residual risk applies: the sender saw a refusal, the job is gone."""
        jobs = [job for job in self.vendor.jobs.values() if job.owner == call.owner]
        forgotten = any(job.gone_from < float("inf") for job in jobs)
        return call.fault == "delivered twice" and forgotten

    def _somebody_else_was_at_it(self, owner: str | None, at: float) -> bool:
        """Return whether others changed the engine too recently for the owner to know."""
        ends = [
            run.end for job in self.vendor.jobs.values() if job.owner != owner for run in job.runs
        ]
        return any(at - UNSEEN < moment <= at for moment in (*self.vendor.foreign_changes, *ends))

    def _settle(self) -> None:
        vendor, cluster = self.vendor, self.cluster
        vendor.next_job = ("finish", 3.0)
        for operator in self.operators:
            operator.weather = Weather(jobs="absent" if self.lists_jobs == "absent" else "fine")
            for name in list(operator.running):
                operator.finish(name)
        if self.differ:
            # Two builds do not run in parallel for ever: one of them becomes the leader.
            self.operators = self.operators[:1]
        quiet_since, next_resync = vendor.now, vendor.now + RESYNC_INTERVAL
        for _ in range(3000):
            if vendor.next_event is None and vendor.now - quiet_since > 2.5 * RESYNC_INTERVAL:
                return
            before = (cluster.writes, len(vendor.calls), vendor.state)
            self._wait_for_something_due(next_resync)
            if vendor.now >= next_resync:
                next_resync += RESYNC_INTERVAL
                for operator in self.operators:
                    operator.due.update(dict.fromkeys(cluster.resources, vendor.now))
            self._do_what_is_due()
            if (cluster.writes, len(vendor.calls), vendor.state) != before:
                quiet_since = vendor.now
        raise AssertionError("it does not settle")

    def _wait_for_something_due(self, at_the_latest: float) -> None:
        vendor = self.vendor
        for operator in self.operators:
            operator.deliver()
        due = [operator.next_due() for operator in self.operators]
        moments = [moment for moment in (*due, vendor.next_event) if moment is not None]
        vendor.advance(max(min([*moments, at_the_latest]) - vendor.now, 0.01))

    def _do_what_is_due(self) -> None:
        for operator in self.operators:
            for name, moment in list(operator.due.items()):
                if moment <= self.vendor.now:
                    operator.finish(name)

    def _check_final(self, resource: StoredResource) -> None:
        status, truth = resource.parse_status(), self.vendor.state
        assert status.observed_generation == resource.generation
        assert status.ready is not None
        reason = Reason(status.ready.reason)
        reader = self.operators[0]
        others = list(self.cluster.resources.values())
        if state_of(reader.read(resource)) is State.UNREADABLE:
            assert reason is Reason.UNREADABLE_STATUS
            return
        if any(state_of(reader.read(other)) is State.UNREADABLE for other in others):
            return
        if resource.precedence != min(other.precedence for other in others):
            assert reason is Reason.ENGINE_ALREADY_MANAGED
            return
        if truth.status == "Deleted":
            assert reason is Reason.ENGINE_NOT_FOUND
            assert state_of(status) is State.IDLE, "the record of a deleted engine stays open"
            return
        if reason is Reason.CHANGE_FREEZE:
            assert not may_run(status), "what is held holds a slot"
            assert status.held
        shown = (status.current_version, status.engine and status.engine.status)
        assert shown == (truth.version, truth.status)
        standing = compare(truth.version, resource.wanted)
        if standing is Comparison.SATISFIED and truth.status == "Available":
            assert reason is Reason.UP_TO_DATE
        elif standing is Comparison.BEYOND:
            assert reason is Reason.DOWNGRADE_NOT_SUPPORTED
        else:
            self._check_reason_for_not_upgrading(resource, reason)
        for job in self.vendor.jobs.values():
            self._check_recorded(resource, job)

    def _check_reason_for_not_upgrading(self, resource: StoredResource, reason: Reason) -> None:
        upgrades = [job for job in self.vendor.jobs.values() if job.type == "Upgrade"]
        outcomes = {run.outcome for job in upgrades for run in job.runs}
        vanished = any(job.gone_from < float("inf") for job in upgrades)
        refused = any(call.owner == resource.uid for call in self.vendor.calls)
        others = any(job.owner != resource.uid for job in self.vendor.jobs.values())
        intended = any(intent.owner == resource.uid for intent in self.cluster.intents.values())
        incomparable = compare(self.vendor.state.version, resource.wanted)
        excuse = {
            Reason.SUSPENDED: resource.suspend,
            Reason.CHANGE_FREEZE: not self.gate.open,
            Reason.UPGRADE_FAILED: bool(outcomes & {"error", "odd"}) or vanished,
            Reason.UPGRADE_TIMED_OUT: "timeout" in outcomes,
            Reason.UPGRADE_REJECTED: refused,
            Reason.PERMISSION_DENIED: refused,
            Reason.ENGINE_UNUSABLE: self.vendor.state.status == "UpgradeFailed",
            Reason.OUTCOME_UNCERTAIN: intended,
            Reason.RETRY_REQUIRED: refused or bool(outcomes & {"error", "odd", "timeout"}),
            Reason.VERSION_MISMATCH: others or vanished or self._was_patched,
            Reason.VERSION_NOT_COMPARABLE: incomparable is Comparison.INCOMPARABLE,
        }
        assert excuse.get(reason, False), f"{reason} although an upgrade is due"

    @property
    def _was_patched(self) -> bool:
        """Whether others changed the engine, even to its old version."""
        return bool(self.vendor.foreign_changes)

    def _check_recorded(self, resource: StoredResource, job: Job) -> None:
        """Check that the status has the result of each job that this resource started."""
        if job.owner != resource.uid or job.gone_from < float("inf") or job.taken_over:
            return
        latest = self.vendor.state.latest_job_id
        status = resource.parse_status()
        recorded = {entry.job_id: entry.result for entry in reversed(status.history)}
        # An operator cannot know of a run that it did not see before another job was the latest.
        unseen = job.id not in recorded or len(job.runs) > 1
        if (unseen and job.id != latest) or len(status.history) >= HISTORY_LIMIT:
            return
        wanted = {
            "finish": Result.SUCCEEDED,
            "error": Result.FAILED,
            "odd": Result.FAILED,
            "timeout": Result.TIMED_OUT,
        }[job.outcome]
        assert recorded.get(job.id) is wanted, f"job {job.id} ended as {job.outcome}: {recorded}"


def check_conditions(resource: StoredResource) -> None:
    """Check the rules of conditions that kstatus and people rely on."""
    status = resource.parse_status()
    if not status.conditions:
        return
    types = [condition.type for condition in status.conditions]
    assert types in (["Ready"], ["Reconciling", "Ready"], ["Stalled", "Ready"])
    for condition in status.conditions:
        assert condition.observed_generation == status.observed_generation
        assert condition.reason in set(Reason)
        assert condition.message == status.message
    reason = Reason(status.conditions[-1].reason)
    ready = status.conditions[-1].status == "True"
    assert ready == (FACTS[reason].condition is ConditionType.READY)
    if ready and status.observed_generation == resource.generation:
        assert status.current_version is not None
        assert satisfies(status.current_version, resource.wanted)
