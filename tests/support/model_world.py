"""A model of everything: the vendor, the API server, two operators, people; and the promises.

What happens is up to the caller, one doing at a time; what must hold is asked of `check` after
each doing, and of `settle_and_check` at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cse_operator.api.reasons import FACTS, Reason, Standing
from cse_operator.api.resource import HISTORY_LIMIT, Result
from cse_operator.core.observed import Policy
from cse_operator.core.versions import Comparison, compare, satisfies
from support.model_cluster import ModelCluster, StoredResource
from support.model_operator import RESYNC_INTERVAL, SEND_WINDOW, ModelOperator, Weather
from support.model_vendor import Call, Job, ModelVendor

POLICY: Final = Policy()
MOST_LAG: Final = 10.0
MOST_LATE: Final = 7.0
OLDEST_LISTING: Final = 8.0
CLOCKS_APART: Final = 5.0
assert POLICY.grace > SEND_WINDOW + MOST_LATE + MOST_LAG + CLOCKS_APART

UNSEEN: Final = POLICY.look_valid + SEND_WINDOW + MOST_LATE + MOST_LAG
"""So long nobody can know what somebody else did."""


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
    ) -> None:
        """Start with one resource that wants 2.4.0, and an engine at 2.3.0."""
        self.vendor = ModelVendor(
            clock_offset=clock_offset, same_retry_job=same_retry_job, lenient=lenient
        )
        self.vendor.next_job = job
        self.cluster = ModelCluster()
        self.operators = [
            ModelOperator(self.vendor, self.cluster, POLICY, error) for error in clock_errors
        ]
        self.requests = 0
        self.cluster.create("older", "2.4.0", self.vendor.now)
        for operator in self.operators:
            operator.deliver()

    # -- doings -------------------------------------------------------------------------------

    def go_on(self, which: int, name: str, boundaries: int, weather: Weather) -> None:
        """An operator goes on with its step for a resource."""
        operator = self.operators[which]
        operator.weather = weather
        for _ in range(boundaries):
            operator.go_on(name)

    def whole_step(self, which: int, name: str, weather: Weather) -> None:
        """An operator learns what changed and does a step to its end."""
        operator = self.operators[which]
        operator.weather = weather
        operator.deliver()
        operator.poll()
        operator.finish(name)

    def learn(self, which: int, lag: float) -> None:
        """An operator's watch and follower bring what changed."""
        operator = self.operators[which]
        operator.weather = Weather(lag=lag)
        operator.deliver()
        operator.poll()

    def person(self, name: str, doing: str, wanted: str, limit: int) -> None:
        """A person does something to a resource; without one, creates it."""
        resource, now = self.cluster.resources.get(name), self.vendor.now
        if resource is None:
            self.cluster.create(name, wanted, now)
            return
        self.requests += 1
        request = f"request {self.requests}"
        match doing:
            case "wants a version":
                self.cluster.edit(name, now, wanted=wanted)
            case "suspends or resumes":
                self.cluster.edit(name, now, suspend=not resource.suspend)
            case "edits the policy":
                self.cluster.edit(name, now, retry_limit=limit)
            case "requests a retry":
                self.cluster.annotate(name, now, retry_request=request)
            case "requests a look":
                self.cluster.annotate(name, now, reconcile_request=request)
            case _:
                del self.cluster.resources[name]

    def world(self, doing: str, version: str) -> None:
        """Somebody does something to the engine, or the vendor does."""
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
            case _:
                vendor.forget_job()

    # -- the promises -------------------------------------------------------------------------

    def check(self) -> None:
        """Check what must hold at every moment."""
        self.each_call_has_an_intent_of_its_own_stored_before_it()
        self.an_engine_that_is_there_is_not_upgraded_again()
        self.one_wish_leads_to_one_accepted_upgrade()
        self.retries_stay_within_what_was_asked_for()
        self.every_stored_status_is_well_formed()

    def settle_and_check(self) -> None:
        """Let all faults stop, wait until nothing changes, and check what came out."""
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
        arrivals = [(c, at, s) for c in self.vendor.calls for at, s, _ in c.effects]
        for call, at, state in arrivals:
            if call.kind == "Retry" or compare(state.version, call.target) in {
                Comparison.BEHIND,
                Comparison.INCOMPARABLE,
            }:
                continue
            assert self._somebody_else_was_at_it(call.owner, at), (
                f"{call.target} was called on an engine at {state.version}"
            )

    def one_wish_leads_to_one_accepted_upgrade(self):
        last: dict[tuple[str, str], Call] = {}
        for call, _, _ in self._accepted("Upgrade"):
            wish = (call.owner, call.target)
            if wish in last and not self._left_no_trace(last[wish]):
                since = last[wish].sent_at - SEND_WINDOW
                acts = [at for at in self.cluster.acts[call.owner] if since < at <= call.sent_at]
                assert acts, f"{call.target} was called again and nobody asked"
            last[wish] = call

    def retries_stay_within_what_was_asked_for(self):
        for uid, acts in self.cluster.acts.items():
            retries = sum(call.owner == uid for call, _, _ in self._accepted("Retry"))
            assert retries <= 2 * len(acts) + len(acts)

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

    def _accepted(self, kind: str) -> Iterator:
        found = [
            (c, at, state) for c in self.vendor.calls if c.kind == kind for at, state in c.accepted
        ]
        return iter(sorted(found, key=lambda entry: entry[1]))

    def _left_no_trace(self, call: Call) -> bool:
        """The residual risk: refused, as its sender was told, and its job forgotten since."""
        jobs = [job for job in self.vendor.jobs.values() if job.owner == call.owner]
        forgotten = any(job.gone_from < float("inf") for job in jobs)
        return call.fault == "delivered twice" and forgotten

    def _somebody_else_was_at_it(self, owner: str, at: float) -> bool:
        """Whether somebody else's doing was too recent for anybody to know of it."""
        ends = [
            run.end for job in self.vendor.jobs.values() if job.owner != owner for run in job.runs
        ]
        return any(at - UNSEEN < moment <= at for moment in (*self.vendor.foreign_changes, *ends))

    def _settle(self) -> None:
        vendor, cluster = self.vendor, self.cluster
        vendor.next_job = ("finish", 3.0)
        for operator in self.operators:
            operator.weather = Weather()
            for name in list(operator.running):
                operator.finish(name)
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
        idle = vendor.next_event is None
        due = [operator.next_due(follows=idle) for operator in self.operators]
        moments = [moment for moment in (*due, vendor.next_event) if moment is not None]
        vendor.advance(max(min([*moments, at_the_latest]) - vendor.now, 0.01))

    def _do_what_is_due(self) -> None:
        for operator in self.operators:
            operator.poll()
            for name, moment in list(operator.due.items()):
                if moment <= self.vendor.now:
                    operator.finish(name)

    def _check_final(self, resource: StoredResource) -> None:
        status, truth = resource.parse_status(), self.vendor.state
        assert status.observed_generation == resource.generation
        assert status.ready is not None
        reason = Reason(status.ready.reason)
        others = self.cluster.resources.values()
        if resource.precedence != min(other.precedence for other in others):
            assert reason is Reason.ENGINE_ALREADY_MANAGED
            return
        shown = (status.current_version, status.engine and status.engine.status)
        assert shown == (truth.version, truth.status)
        match compare(truth.version, resource.wanted):
            case Comparison.SATISFIED:
                assert reason is Reason.UP_TO_DATE
            case Comparison.BEYOND:
                assert reason is Reason.DOWNGRADE_NOT_SUPPORTED
            case _:
                self._check_reason_for_not_upgrading(resource, reason)
        for job in self.vendor.jobs.values():
            self._check_recorded(resource, job)

    def _check_reason_for_not_upgrading(self, resource: StoredResource, reason: Reason) -> None:
        upgrades = [job for job in self.vendor.jobs.values() if job.type == "Upgrade"]
        outcomes = {run.outcome for job in upgrades for run in job.runs}
        vanished = any(job.gone_from < float("inf") for job in upgrades)
        refused = any(call.owner == resource.uid for call in self.vendor.calls)
        others = any(job.owner != resource.uid for job in self.vendor.jobs.values())
        excuse = {
            Reason.SUSPENDED: resource.suspend,
            Reason.UPGRADE_FAILED: "error" in outcomes or vanished,
            Reason.UPGRADE_TIMED_OUT: "timeout" in outcomes,
            Reason.UPGRADE_REJECTED: refused,
            Reason.PERMISSION_DENIED: refused,
            Reason.ENGINE_UNUSABLE: self.vendor.state.status == "UpgradeFailed",
            Reason.OUTCOME_UNCERTAIN: others or vanished,
            Reason.VERSION_MISMATCH: others or vanished,
        }
        assert excuse.get(reason, False), f"{reason} although an upgrade is due"

    def _check_recorded(self, resource: StoredResource, job: Job) -> None:
        """A job that a call of this resource started has its result in the status."""
        if job.owner != resource.uid or job.gone_from < float("inf") or job.taken_over:
            return
        latest = self.vendor.state.latest_job_id
        status = resource.parse_status()
        recorded = {entry.job_id: entry.result for entry in reversed(status.history)}
        # Nobody can know of a run that nobody saw before another job became the latest.
        unseen = job.id not in recorded or len(job.runs) > 1
        if (unseen and job.id != latest) or len(status.history) >= HISTORY_LIMIT:
            return
        wanted = {"finish": Result.SUCCEEDED, "error": Result.FAILED, "timeout": Result.TIMED_OUT}[
            job.outcome
        ]
        assert recorded.get(job.id) is wanted, f"job {job.id} ended as {job.outcome}: {recorded}"


def check_conditions(resource: StoredResource) -> None:
    """What kstatus and the people who read conditions rely on."""
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
    assert ready == (FACTS[reason].standing is Standing.READY)
    if ready and status.observed_generation == resource.generation:
        assert status.current_version is not None
        assert satisfies(status.current_version, resource.wanted)
