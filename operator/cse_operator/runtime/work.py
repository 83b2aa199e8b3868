"""One reconcile step: the resource that it works on, and its looks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cse_operator.api.failure_kind import FailureKind
from cse_operator.clock import boottime
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.fairness import Turn, Urgency
from cse_operator.cloud.sessions import ProjectSession
from cse_operator.core.decide import Decision
from cse_operator.core.failure import Failure
from cse_operator.core.observation import Observation
from cse_operator.core.states import Effect, State, state_of
from cse_operator.runtime.authority import Authority
from cse_operator.runtime.cache import CachedResource, Resource
from cse_operator.runtime.gate import Gate
from cse_operator.runtime.ownership import Ownership


@dataclass(slots=True)
class Work:
    """One step: a resource in the version that the step decides on, and the times of its looks."""

    cached: CachedResource
    resource: Resource
    ownership: Ownership
    authority: Authority
    gate: Gate
    project: ProjectSession | None = None
    refused: Failure | None = None
    """Why the step may look but not call: the region is not allowed."""
    engine_asked: float = 0.0
    engine_answered: float = 0.0
    job_asked: float = 0.0
    decided: float = 0.0
    """When the last decision was made; the send window begins then."""

    @property
    def key(self) -> str:
        """Return the key of the resource."""
        return self.cached.key

    @property
    def engine_id(self) -> str:
        """Return the engine's id."""
        return self.resource.spec.engine_id

    @property
    def reachable(self) -> ProjectSession:
        """Return the project, for decisions that are only made once it is known."""
        if self.project is None:
            raise AssertionError(f"{self.key}: nothing can be asked without credentials")
        return self.project

    @property
    def turn(self) -> Turn:
        """Return the urgency and the namespace of the looks, which order calls that wait."""
        resource, status = self.resource, self.resource.status
        state = state_of(status)
        asked = resource.retry_request not in {None, status.last_handled_retry_at}
        asked |= resource.reconcile_request not in {None, status.last_handled_reconcile_at}
        if state is State.RUNNING:
            urgency = Urgency.POLL
        elif status.observed_generation != resource.generation or asked:
            urgency = Urgency.CHANGE
        else:
            urgency = Urgency.RESYNC if state is State.IDLE else Urgency.CHANGE
        return Turn(urgency, resource.reference.namespace)

    @property
    def withdrawn(self) -> bool:
        """Whether a person has changed or deleted the resource since the step read it."""
        cached = self.cached
        changed = cached.generation != self.resource.generation
        return cached.gone or cached.deleting or changed

    @property
    def _calls_nothing(self) -> bool:
        """Whether the step only looks: an administrator, the region or a deletion forbids calls."""
        return self.authority.observes_only or self.refused is not None or self.cached.deleting

    def aged(self, o: Observation) -> Observation:
        """Return the observation as it is now: the looks in it have grown older."""
        at = self.decided = boottime()
        job_known = o.job is not None or o.missing_job is not None
        waits = (
            self.authority.may_call_in(),
            self.ownership.may_call_in(self.key),
            self.gate.may_call_in(),
        )
        return replace(
            o,
            engine_age=at - self.engine_asked if o.engine is not None else 0.0,
            engine_since=at - self.engine_answered if o.engine is not None else 0.0,
            job_age=at - self.job_asked if job_known else 0.0,
            ended_for=_since(self.cached.notes.ended_since, at),
            may_call_in=max(waits),
            observes_only=self._calls_nothing,
            deleting=self.cached.deleting,
        )

    # -- looks ---------------------------------------------------------------------------------

    async def look(self, o: Observation, decision: Decision) -> Observation:
        """Take the look that a decision asks for, and add its result."""
        o = replace(o, status=decision.status)
        if decision.effect is Effect.LOOK:
            return await self.look_at_engine(o)
        if decision.effect is Effect.ASK:
            return replace(o, permit=self.gate.ask(self.key, o.engine))
        if decision.effect is Effect.LIST_JOBS:
            return await self._list_jobs(o)
        if decision.job_to_show is None:
            raise AssertionError(f"{self.key}: a job without an id was asked for")
        return await self._look_at_job(o, decision.job_to_show)

    async def look_at_engine(self, o: Observation) -> Observation:
        """Look at the engine; a resource that sees its engine may own it."""
        self.engine_asked = boottime()
        try:
            engine = await self.reachable.client.show_engine(self.engine_id, turn=self.turn)
        except CloudError as error:
            return self.failed(o, error.failure)
        self.engine_answered = boottime()
        self.ownership.looked(self.key, succeeded=True)
        notes = self.cached.notes
        notes.engine_shown(engine, all_seen=o.job_failure is None)
        return replace(o, engine=engine, failures=notes.failures, passing_looks=notes.passing_looks)

    async def _look_at_job(self, o: Observation, job_id: int) -> Observation:
        notes, self.job_asked = self.cached.notes, boottime()
        followed = o.record is not None and o.record.job_id == job_id
        try:
            job = await self.reachable.client.show_job(self.engine_id, job_id, turn=self.turn)
        except CloudError as error:
            if error.failure.kind is not FailureKind.NOT_FOUND:
                self.ownership.looked(self.key, succeeded=False)
                notes.job_look_failed()
                return replace(o, job_failure=error.failure, failures=notes.failures)
            if not followed:
                return replace(o, job=None, missing_job=job_id)
            notes.job_missing(boottime())
            missing_for = max(_since(notes.job_missing_since, self.job_asked), 0.0)
            return replace(o, job=None, missing_job=job_id, job_missing_for=missing_for)
        if followed:
            notes.job_shown(job, self.job_asked)
        return replace(o, job=job, missing_job=None, failures=notes.failures)

    async def _list_jobs(self, o: Observation) -> Observation:
        """Ask for the vendor's list of jobs; empty if the site does not offer it."""
        try:
            jobs = await self.reachable.client.list_jobs(self.engine_id, turn=self.turn)
            return replace(o, jobs=jobs or ())
        except CloudError as error:
            return replace(o, jobs_failure=error.failure)

    def failed(self, o: Observation, failure: Failure) -> Observation:
        """Return the observation with a failed look."""
        notes, at = self.cached.notes, boottime()
        self.ownership.looked(self.key, succeeded=False)
        notes.look_failed(not_found=failure.kind is FailureKind.NOT_FOUND, now=at)
        gone_for = _since(notes.not_found_since, at)
        return replace(o, failure=failure, failures=notes.failures, not_found_for=gone_for)


def _since(moment: float | None, at: float) -> float:
    return at - moment if moment is not None else 0.0
