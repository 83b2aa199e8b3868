"""The reconcile step: observe, decide, act at most once, write the status if it changed.

Every trigger leads here: a watch event, a list, a due time. The step starts from what is recorded
and seen, so it does not matter what triggered it or what happened while the operator was away.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, replace
from typing import Final

from cse_operator.clock import boottime, utc_now
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.sessions import ProjectSession
from cse_operator.core.decide import Decision, decide, invalid_spec
from cse_operator.core.member import may_run
from cse_operator.core.observation import Limits, Observation
from cse_operator.core.permit import ALLOWED
from cse_operator.core.states import Effect, Situation, state_of
from cse_operator.kube.errors import Conflict, Gone, KubeError, Unavailable
from cse_operator.kube.resource_reader import ResourceReader
from cse_operator.runtime.authority import Authority
from cse_operator.runtime.cache import Cache, CachedResource, InvalidSpecError
from cse_operator.runtime.calls import Calls
from cse_operator.runtime.gate import Gate
from cse_operator.runtime.metrics import Metrics
from cse_operator.runtime.ownership import Ownership
from cse_operator.runtime.polls import Polls
from cse_operator.runtime.project_resolver import ProjectResolver, is_followed_despite
from cse_operator.runtime.statuses import Statuses
from cse_operator.runtime.work import Work
from cse_operator.runtime.workqueue import LONGEST_BACKOFF, WorkQueue

logger = logging.getLogger(__name__)

MOST_TURNS: Final = 12
"""Looks within one step; more would mean that the decisions go in circles."""

LONGEST_KUBE_PAUSE: Final = 30.0
"""Longest backoff while the API server does not answer: back at work soon when it does."""

RECORD_PAUSE: Final = 0.5
"""Seconds between attempts to record the last answers at a stop."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds between actions that need no trigger."""

    progress: float
    """Between two written steps of a job."""
    resync: float
    """Between looks at engines at rest."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The parts that the step works with."""

    queue: WorkQueue
    cache: Cache
    reader: ResourceReader
    resolver: ProjectResolver
    ownership: Ownership
    gate: Gate
    authority: Authority
    statuses: Statuses
    calls: Calls
    polls: Polls
    metrics: Metrics
    limits: Limits
    intervals: Intervals


def _is_over(cached: CachedResource) -> bool:
    """Whether a resource is being deleted and no call or job of it is left to look at."""
    return cached.deleting and not may_run(cached.parse_status())


class Reconciler:
    """Reconciles one resource per task; two tasks never work on the same resource."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def reconcile(self, key: str) -> None:
        """Do one step for a resource; failures are retried with backoff."""
        dependencies = self._dependencies
        cached = dependencies.cache.get(key)
        unrecorded = dependencies.calls.is_unrecorded(key)
        if cached is None or (_is_over(cached) and not unrecorded):
            self._forget(key)
            return
        try:
            if unrecorded:
                await self._record(cached)
            else:
                await self._step(cached)
        except (Conflict, Gone) as error:
            # Somebody wrote first, so the decision was about an old version. Or the resource
            # was deleted, which one answer does not prove.
            logger.info("%s: %s", key, error)
            await self._read_again(cached)
        except KubeError as error:
            dependencies.gate.stumbled(key)
            self._kube_failed(key, error)
        except Exception:
            dependencies.gate.stumbled(key)
            raise
        else:
            dependencies.gate.steady(key)
            dependencies.queue.forget(key)
        finally:
            dependencies.gate.release(key)

    async def record_answers(self) -> None:
        """Record the outcomes that are still unrecorded, trying until all are.

        For a stop: the caller bounds the time.
        """
        while keys := self._dependencies.calls.unrecorded:
            for key in keys:
                await self.reconcile(key)
            if self._dependencies.calls.unrecorded:
                await asyncio.sleep(RECORD_PAUSE)

    def _kube_failed(self, key: str, error: KubeError) -> None:
        logger.warning("%s: the step failed at the Kubernetes API: %s", key, error)
        self._dependencies.metrics.reconcile_error("kubernetes")
        away = isinstance(error, Unavailable)
        self._dependencies.queue.retry(
            key,
            at_least=error.retry_after or 0.0,
            limit=LONGEST_KUBE_PAUSE if away else LONGEST_BACKOFF,
        )

    async def _read_again(self, cached: CachedResource) -> None:
        """Reread the resource past the watch, which may lag behind the write that came first."""
        dependencies, asked = self._dependencies, self._dependencies.cache.now()
        try:
            current = await dependencies.reader.get(cached.reference)
        except KubeError as error:
            self._kube_failed(cached.key, error)
            return
        if current is None:
            dependencies.cache.remove(cached.key, uid=cached.reference.uid)
            dependencies.calls.drop(cached.key)
            self._forget(cached.key)
            return
        dependencies.cache.replace(current, asked=asked)
        dependencies.queue.retry(cached.key)

    def _forget(self, key: str) -> None:
        self._dependencies.calls.drop(key)
        self._dependencies.resolver.release(key)
        self._dependencies.polls.ended(key)
        self._dependencies.queue.forget(key)

    # -- observe and decide -----------------------------------------------------------------

    async def _step(self, cached: CachedResource) -> None:
        try:
            resource = cached.parse()
        except InvalidSpecError as error:
            status = cached.parse_status()
            decision = invalid_spec(status, cached.generation, str(error), utc_now())
            await self._dependencies.statuses.write(
                cached,
                decided_on=cached.version,
                before=status,
                raw=cached.raw_status,
                status=decision.status,
            )
            self._requeue(cached, decision)
            return
        cached.notes.enter(resource.status, boottime())
        work = Work(
            cached,
            resource,
            self._dependencies.ownership,
            self._dependencies.authority,
            self._dependencies.gate,
        )
        o = await self._first_look(work)
        for _ in range(MOST_TURNS):
            o = work.aged(o)
            decision = decide(o, self._dependencies.limits)
            if work.refused is not None and decision.situation is Situation.OBSERVE_ONLY:
                o = replace(o, status=decision.status, failure=work.refused)
                decision = decide(o, self._dependencies.limits)
            match decision.effect:
                case Effect.NONE:
                    await self._conclude(work, decision)
                    return
                case Effect.UPGRADE | Effect.RETRY:
                    await self._call(work, o, decision)
                    return
                case _:
                    o = await work.look(o, decision)
        raise AssertionError(f"{cached.key}: the decisions go in circles at {state_of(o.status)}")

    async def _first_look(self, work: Work) -> Observation:
        """Return the known facts, after the look that must come before any decision.

        A resource whose engine has another owner looks at the engine once with its own credentials:
        only a resource that has seen an engine may own it, or is told of the other owner.
        """
        dependencies, key = self._dependencies, work.key
        o = self._known(work)
        # A resource in deletion only follows its job, whoever owns the engine now.
        other_owner = dependencies.ownership.other_owner(key) if not work.cached.deleting else None
        if other_owner is not None and dependencies.ownership.has_seen(key):
            return replace(o, other_owner=other_owner)
        try:
            work.project = await self._project_of(work)
        except CloudError as error:
            return work.failed(o, error.failure)
        if other_owner is not None:
            o = await work.look_at_engine(o)
            if o.failure is None:
                o = replace(o, other_owner=dependencies.ownership.other_owner(key, sees=True))
            return o
        return o

    async def _project_of(self, work: Work) -> ProjectSession:
        """Return the project; where the region is not allowed, only to follow an open record.

        Raises:
            CloudError: The Secret is missing or unusable, or the region is not allowed and no
                record is open.
        """
        resolver, key, resource = self._dependencies.resolver, work.key, work.resource
        try:
            return await resolver.project_of(key, resource)
        except CloudError as error:
            if not is_followed_despite(error.failure, resource.status):
                raise
            work.refused = error.failure
        return await resolver.project_of(key, resource, following=True)

    def _known(self, work: Work) -> Observation:
        notes, resource, at = work.cached.notes, work.resource, boottime()
        dependencies = self._dependencies
        return Observation(
            desired=resource.desired,
            status=resource.status,
            now=utc_now(),
            failures=notes.failures,
            known_for=at - notes.state_since,
            wrote_intent=notes.wrote_intent,
            poll_interval=dependencies.polls.interval(dependencies.ownership.project_of(work.key)),
            progress_due=at - notes.status_written >= dependencies.intervals.progress,
            permit=None if dependencies.gate.in_force else ALLOWED,
            jitter=random.random(),  # noqa: S311 - spreads load, guards nothing
        )

    # -- act and conclude ---------------------------------------------------------------------

    async def _call(self, work: Work, o: Observation, decision: Decision) -> None:
        follows = await self._dependencies.calls.make(work, o, decision)
        if follows is not None:
            self._requeue(work.cached, follows)

    async def _record(self, cached: CachedResource) -> None:
        decision = await self._dependencies.calls.record(cached)
        if decision is not None:
            self._requeue(cached, decision)

    async def _conclude(self, work: Work, decision: Decision) -> None:
        """Write the status if it changed, and queue the resource for its next step."""
        await self._dependencies.statuses.write(
            work.cached,
            decided_on=int(work.resource.resource_version),
            before=work.resource.status,
            raw=work.resource.raw_status,
            status=decision.status,
        )
        self._requeue(work.cached, decision)

    def _requeue(self, cached: CachedResource, decision: Decision) -> None:
        dependencies, record = self._dependencies, decision.status.upgrade
        seconds = decision.requeue_after
        if record is not None and record.running:
            dependencies.polls.runs(cached.key, dependencies.ownership.project_of(cached.key))
        else:
            dependencies.polls.ended(cached.key)
        jitter = 0.9 + random.random() / 5  # noqa: S311 - spreads load, guards nothing
        rest = dependencies.intervals.resync * jitter
        if seconds is None or seconds > rest:
            dependencies.queue.add_after(cached.key, rest, resync=True)
        else:
            dependencies.queue.add_after(cached.key, seconds)
