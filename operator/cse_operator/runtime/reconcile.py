"""The reconcile step: observe, decide, act at most once, write the status if it changed.

Any trigger leads here: a watch event, a timer, news of a job, a changed engine. The step
starts from what is recorded and seen, so it does not matter what triggered it or what
happened while the operator was away.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from cse_operator.api.resource import Action, Status, UpgradeRecord
from cse_operator.cloud.client import CseClient
from cse_operator.cloud.clock import boottime
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.projects import Project
from cse_operator.core.decide import Decision, after_call, decide, invalid_spec
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.observation import Accepted, EngineView, JobView
from cse_operator.core.observed import Observed, Policy, Wish
from cse_operator.core.states import Effect, Situation, Stage, stage_of
from cse_operator.core.vendor_states import passes_by_itself
from cse_operator.kube.errors import Conflict, Gone, KubeError
from cse_operator.kube.resource_reader import ResourceReader
from cse_operator.kube.status_writer import StatusWriter
from cse_operator.runtime.access import Access
from cse_operator.runtime.announce import Announcer
from cse_operator.runtime.metrics import Metrics
from cse_operator.runtime.queue import KeyedQueue
from cse_operator.runtime.store import (
    EngineKey,
    InvalidSpecError,
    Notes,
    Resource,
    ResourceStore,
    Tracked,
)
from cse_operator.runtime.turns import EngineTurns

logger = logging.getLogger(__name__)

MOST_TURNS: Final = 12
"""Looks within one step; more would mean that the decisions go in circles."""

KUBE_RETRY: Final = 2.0
"""Seconds until a step is repeated that the Kubernetes API did not let end."""


SHORTEST_REST: Final = 1.0
"""With less than this left of the Lease, in seconds, nothing new is started."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the step works with."""

    queue: KeyedQueue
    store: ResourceStore
    writer: StatusWriter
    reader: ResourceReader
    access: Access
    announcer: Announcer
    metrics: Metrics
    policy: Policy
    progress_interval: float
    send_window: float
    """Seconds after a decision in which its call may be sent."""
    may_act_for: Callable[[], float] = lambda: float("inf")
    """Seconds for which this process may still start something (the Lease's rest)."""
    is_stopping: Callable[[], bool] = lambda: False
    """Whether this process was told to stop: no call begins after that."""


@dataclass(slots=True)
class _Answer:
    """The outcome of a call that is not recorded yet: it must not be lost."""

    o: Observed
    """What the call was decided on; the spec may not even be readable any more."""
    record: UpgradeRecord
    outcome: Accepted | Failure


@dataclass(frozen=True, slots=True)
class _Work:
    """What one step works on."""

    key: str
    tracked: Tracked
    resource: Resource
    project: Project | None

    @property
    def engine_id(self) -> str:
        return self.resource.engine_id

    @property
    def engine(self) -> EngineKey:
        if self.tracked.engine is None:
            raise AssertionError(f"{self.key}: nothing is worked on without an engine")
        return self.tracked.engine

    @property
    def reachable(self) -> Project:
        """The project, where a decision could only be made because there is one."""
        if self.project is None:
            raise AssertionError(f"{self.key}: nothing can be asked without credentials")
        return self.project


@dataclass(slots=True)
class _Seen:
    """When the looks that one step decides on were taken."""

    job: float
    engine: float = 0.0
    engine_answered: float = 0.0


class Reconciler:
    """Reconciles one resource at a time per worker, and never two workers the same one."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._answers: dict[str, _Answer] = {}
        self._turns = EngineTurns()

    async def reconcile(self, key: str) -> None:
        """Do one step for a resource."""
        tracked = self._tools.store.get(key)
        if tracked is None or tracked.deleting:
            self._forget(key)
            return
        try:
            with tracked.at_work():
                if key in self._answers:
                    await self._record_answer(key, tracked)
                    return
                await self._step(key, tracked)
        except (Conflict, Gone):
            # Somebody wrote first: what was decided was decided on an old version. Or it was
            # deleted, which one answer does not prove: a resource that is forgotten by mistake
            # would be looked after by nobody until the next start.
            await self._look_again(key, tracked)
        except KubeError as error:
            logger.warning("%s: the Kubernetes API did not let the step end: %s", key, error)
            self._tools.metrics.reconcile_error("kubernetes")
            self._tools.queue.add_after(key, KUBE_RETRY * (0.5 + random.random()))  # noqa: S311

    async def record_answers(self) -> None:
        """Record the outcomes that are still unrecorded, trying until all are.

        For a stop: whoever calls this bounds the time.
        """
        while self._answers:
            for key in list(self._answers):
                await self.reconcile(key)
            if self._answers:
                await asyncio.sleep(KUBE_RETRY / 4)

    # -- observe and decide -----------------------------------------------------------------

    async def _step(self, key: str, tracked: Tracked) -> None:
        try:
            resource = tracked.parse()
        except InvalidSpecError as error:
            decision = invalid_spec(tracked.parse_status(), tracked.generation, str(error), _now())
            version, raw = str(tracked.version), tracked.raw["status"]
            await self._write(key, tracked, version, raw, decision.status)
            return
        o = self._first_look(key, tracked, resource)
        project = None
        if o.rival is None:
            try:
                project = await self._tools.access.project_of(key, resource)
            except CloudError as error:
                o = _failed(o, error.failure, tracked.notes)
        work = _Work(key, tracked, resource, project)
        seen = _Seen(job=tracked.notes.job_seen)
        for _ in range(MOST_TURNS):
            o = _aged(o, seen, tracked.notes)
            decision = decide(o, self._tools.policy)
            if decision.effect is Effect.NONE:
                await self._conclude(work, decision)
                return
            if decision.effect in {Effect.UPGRADE, Effect.RETRY}:
                await self._act(work, o, decision)
                return
            o = await self._observe(work, o, decision, seen)
        raise AssertionError(f"{key}: the decisions go in circles at {stage_of(o.status)}")

    def _first_look(self, key: str, tracked: Tracked, resource: Resource) -> Observed:
        notes, now = tracked.notes, boottime()
        notes.enter(resource.status, now)
        return Observed(
            wish=Wish.of(
                resource.spec,
                resource.generation,
                reconcile_request=resource.reconcile_request,
                retry_request=resource.retry_request,
            ),
            status=resource.status,
            now=_now(),
            job=notes.job,
            missing_job=notes.missing_job,
            job_failure=notes.failure,
            failures=notes.failures,
            known_for=now - notes.stage_since,
            wrote_intent=notes.wrote_intent,
            ended_for=_since(notes.ended_since, now),
            not_found_for=_since(notes.not_found_since, now),
            progress_due=now - notes.status_written >= self._tools.progress_interval,
            rival=self._tools.store.rival(key),
            jitter=random.random(),  # noqa: S311 - spreads load, guards nothing
        )

    async def _observe(self, work: _Work, o: Observed, decision: Decision, seen: _Seen) -> Observed:
        """Take the look that a decision asks for, and add what it showed."""
        engine_id, notes, project = work.engine_id, work.tracked.notes, work.reachable
        o = replace(o, status=decision.status)
        try:
            if decision.effect is Effect.LOOK:
                directly = o.look_requested or stage_of(o.status) is Stage.UNANSWERED
                look = await project.directory.look(engine_id, directly=directly)
                seen.engine, seen.engine_answered = look.began, look.answered
                return _looked(o, look.engine, notes)
            if decision.effect is Effect.LIST_JOBS:
                return await _with_jobs(o, project.client, engine_id)
            job_id = decision.job_to_show
            if job_id is None:
                raise AssertionError("a job without an id was asked for")
            seen.job = boottime()
            job = await project.client.show_job(engine_id, job_id)
            if o.record is not None and o.record.job_id == job_id:
                notes.job, notes.job_seen = job, seen.job
            return replace(o, job=job, missing_job=None)
        except CloudError as error:
            if decision.effect is not Effect.SHOW_JOB:
                return _failed(o, error.failure, notes)
            if error.failure.kind is FailureKind.NOT_FOUND:
                return replace(o, missing_job=decision.job_to_show)
            notes.failures += 1
            return replace(o, job_failure=error.failure, failures=notes.failures)

    async def _conclude(self, work: _Work, decision: Decision) -> None:
        """Write the status if it changed, and see to it that what comes next is noticed."""
        status, queue = decision.status, self._tools.queue
        await self._write_decided(work, status)
        _follow(work, status, runs=decision.situation is Situation.JOB_RUNS)
        queue.forget(work.key)
        if decision.requeue_after is not None:
            queue.add_after(work.key, decision.requeue_after)
        if _has_unwritten_step(work.tracked, status):
            queue.add_after(work.key, self._tools.progress_interval)

    # -- act --------------------------------------------------------------------------------

    async def _act(self, work: _Work, o: Observed, decision: Decision) -> None:
        """Record the intent, make the call, record the answer: in this order.

        The intent's write is the fence: it fails when anybody wrote since the decision. The
        call is held back when too much time passed since then (the process may have been
        stopped), because another operator may have begun to look for its effect.
        """
        key, tracked = work.key, work.tracked
        rest = self._tools.may_act_for()
        if self._tools.is_stopping() or rest < SHORTEST_REST or not self._is_its_turn(work, o):
            self._tools.queue.add_after(key, SHORTEST_REST)
            return
        # Counted from the moment of the decision, which is also what the intent says.
        send_before = tracked.notes.decided + min(self._tools.send_window, rest)
        try:
            record = await self._write_intent(work, decision.status)
        except Exception:
            self._turns.over(work.engine, tracked.uid)
            raise
        outcome: Accepted | Failure | None = None
        try:
            outcome = await self._call(work, record, send_before=send_before)
        except CloudError as error:
            outcome = error.failure
        finally:
            self._turns.called(
                work.engine,
                tracked.uid,
                until=boottime() + self._tools.policy.grace,
                job_id=_new_job(record, outcome),
            )
        self._answers[key] = _Answer(o, record, outcome)
        await self._record_answer(key, tracked)

    async def _write_intent(self, work: _Work, status: Status) -> UpgradeRecord:
        """Write the intent, and read back what is stored: that, and nothing else, is called."""
        await self._write_decided(work, status)
        stored = work.tracked.parse_status()
        record, decided = stored.upgrade, status.upgrade
        if record is None or decided is None or not record.unanswered:
            raise AssertionError(f"{work.key}: a call without a recorded intent")
        if _as_stored(record) != _as_stored(decided):
            raise AssertionError(f"{work.key}: the stored intent is not the one that was decided")
        work.tracked.notes.enter(stored, boottime())
        work.tracked.notes.wrote_intent = True
        return record

    async def _call(self, work: _Work, record: UpgradeRecord, *, send_before: float) -> Accepted:
        """Make the call that the stored intent names."""
        if self._tools.is_stopping():
            told = "the operator was told to stop before the call went out"
            raise CloudError.of(Failure(FailureKind.NOT_SENT, told))
        client = work.reachable.client
        if record.action is Action.RETRY:
            return await client.retry(work.engine_id, send_before=send_before)
        if record.action is not Action.UPGRADE or record.target_version is None:
            raise AssertionError(f"{work.key}: the intent names no call")
        return await client.upgrade(work.engine_id, record.target_version, send_before=send_before)

    def _is_its_turn(self, work: _Work, o: Observed) -> bool:
        """Whether no other resource that names the engine came in between.

        It may have appeared while this step looked at the engine.
        """
        if self._tools.store.get(work.key) is not work.tracked:
            return False  # deleted meanwhile, or made anew: another one by the same name
        if self._tools.store.rival(work.key) is not None:
            return False
        latest = o.engine.latest_job_id if o.engine is not None else None
        return self._turns.take(work.engine, work.tracked.uid, now=boottime(), latest_job_id=latest)

    async def _record_answer(self, key: str, tracked: Tracked) -> None:
        """Write what became of a call; on a conflict, into the newer version of the resource."""
        answer, status = self._answers[key], tracked.parse_status()
        if status.upgrade != answer.record:
            # The intent is no longer there: another operator has resolved it by looking, or
            # the resource is another one. What was learned here is seen by looking, too.
            logger.warning("%s: the intent was resolved elsewhere, its answer is not needed", key)
            del self._answers[key]
            self._tools.queue.add(key)
            return
        notes = tracked.notes
        notes.unsent = notes.unsent + 1 if _is_unsent(answer.outcome) else 0
        o = replace(answer.o, status=status, now=_now(), failures=notes.unsent)
        decision = after_call(o, answer.outcome, self._tools.policy)
        version, raw = str(tracked.version), tracked.raw["status"]
        await self._write(key, tracked, version, raw, decision.status)
        del self._answers[key]
        notes.enter(decision.status, boottime())
        self._tools.queue.forget(key)
        if decision.requeue_after is not None:
            self._tools.queue.add_after(key, decision.requeue_after)
        await self._follow_what_began(key, tracked, decision)
        if decision.broken is not None:
            raise decision.broken

    async def _follow_what_began(self, key: str, tracked: Tracked, decision: Decision) -> None:
        try:
            resource = tracked.parse()
            project = await self._tools.access.project_of(key, resource)
        except (CloudError, InvalidSpecError):
            # The Secret went away meanwhile, or the spec broke: the next step says so.
            self._tools.queue.add(key)
            return
        # A Retry may run the same job again, and what was seen of it is its last run.
        project.follower.unfollow(key)
        _follow(_Work(key, tracked, resource, project), decision.status, runs=True)

    # -- write ------------------------------------------------------------------------------

    async def _write_decided(self, work: _Work, status: Status) -> None:
        resource = work.resource
        await self._write(
            work.key, work.tracked, resource.resource_version, resource.raw_status, status
        )

    async def _write(
        self,
        key: str,
        tracked: Tracked,
        decided_on: str,
        raw_status: dict[str, Any],
        status: Status,
    ) -> None:
        """Write the status if it changed.

        The precondition is the version that was decided on, not the newest one known: a watch
        event may have come in while the step was looking around.
        """
        before, notes = tracked.parse_status(), tracked.notes
        notes.writing = True
        try:
            written = await self._tools.writer.write(
                tracked.reference, decided_on, raw_status, status.to_json()
            )
        finally:
            notes.writing = False
        if written is None:
            if tracked.version > int(decided_on):
                self._tools.queue.add(key)
            return
        notes.status_written = boottime()
        self._tools.store.put(written)
        if tracked.engine is not None and stage_of(status) is Stage.IDLE:
            self._turns.over(tracked.engine, tracked.uid)
        if tracked.version > int(written["metadata"]["resourceVersion"]):
            # Somebody wrote right after us, and the watch was faster than our answer.
            self._tools.queue.add(key)
        self._tools.announcer.announce(tracked.reference, before, status)

    async def _look_again(self, key: str, tracked: Tracked) -> None:
        """Read the resource past the watch, which may lag behind the write that came first."""
        try:
            current = await self._tools.reader.get(tracked.reference)
        except KubeError as error:
            logger.warning("%s: could not be read again: %s", key, error)
            self._tools.queue.add_after(key, KUBE_RETRY)
            return
        if current is None:
            self._tools.store.remove(key, uid=tracked.uid)
            self._forget(key)
            return
        self._tools.store.put(current)
        self._tools.queue.add(key)

    def _forget(self, key: str) -> None:
        self._answers.pop(key, None)
        self._tools.access.release(key)
        self._tools.queue.forget(key)


def _aged(o: Observed, seen: _Seen, notes: Notes) -> Observed:
    """The observation as it is now: the looks in it have grown older since they were taken."""
    now = notes.decided = boottime()
    job_known = o.job is not None or o.missing_job is not None
    return replace(
        o,
        engine_age=now - seen.engine if o.engine is not None else 0.0,
        engine_since=now - seen.engine_answered if o.engine is not None else 0.0,
        job_age=now - seen.job if job_known else 0.0,
    )


def _new_job(record: UpgradeRecord, outcome: Accepted | Failure | None) -> int | None:
    """The job that a call started, unless it runs an old one again."""
    if not isinstance(outcome, Accepted) or outcome.job_id == record.baseline_job_id:
        return None
    return outcome.job_id


def _follow(work: _Work, status: Status, *, runs: bool) -> None:
    """Have the job followed while it runs, and no longer.

    Args:
        work: with the project that the job is in.
        status: what was decided.
        runs: whether the decision was that the job runs, whatever was seen of it before.
    """
    if work.project is None:
        return
    record, job = status.upgrade, work.tracked.notes.job
    if record is None or record.job_id is None or record.result is not None:
        work.project.follower.unfollow(work.key)
        return
    ended = job is not None and job.job_id == record.job_id and job.has_ended
    if job is None or not ended:
        work.project.follower.follow(work.key, work.engine_id, record.job_id)
    elif runs:
        # A Retry may run the same job again, and what was seen is the end of its last run.
        work.project.follower.unfollow(work.key)
        work.project.follower.follow(work.key, work.engine_id, record.job_id)


def _has_unwritten_step(tracked: Tracked, status: Status) -> bool:
    """Whether a step of the job waits to be written, because the last one is too recent."""
    record, job = status.upgrade, tracked.notes.job
    if record is None or not record.running or job is None or job.progress is None:
        return False
    written = record.progress
    return written is None or (written.completed, written.step) != (
        job.progress.completed,
        job.progress.step,
    )


def take_news(tracked: Tracked, job_id: int, news: JobView | Failure) -> None:
    """Note what the follower reports of a job on behalf of a resource."""
    notes, now = tracked.notes, boottime()
    if isinstance(news, JobView):
        before = notes.job
        notes.job, notes.job_seen, notes.missing_job = news, now, None
        notes.failure, notes.failures = None, 0
        if not (news.has_ended or news.has_stopped):
            notes.ended_since = None
        elif notes.ended_since is None or before is None or before.ended_at != news.ended_at:
            notes.ended_since = now
        return
    status = tracked.parse_status()
    if status.upgrade is None or status.upgrade.job_id != job_id:
        return  # about a job that was followed before, and is not any more
    if news.kind is FailureKind.NOT_FOUND:
        notes.missing_job, notes.job_seen = job_id, now
        notes.job, notes.failure = None, None
    elif stage_of(status) is Stage.RUNNING:
        # Once another operator has recorded the job's end, nothing would take this back.
        notes.failure = news
        notes.failures += 1


def _failed(o: Observed, failure: Failure, notes: Notes) -> Observed:
    notes.failures += 1
    if failure.kind is not FailureKind.NOT_FOUND:
        notes.not_found_since = None
    elif notes.not_found_since is None:
        notes.not_found_since = boottime()
    gone_for = _since(notes.not_found_since, boottime())
    return replace(o, failure=failure, failures=notes.failures, not_found_for=gone_for)


def _looked(o: Observed, engine: EngineView, notes: Notes) -> Observed:
    """The observation with a look at the engine in it."""
    notes.not_found_since = None
    if o.job_failure is None:
        notes.failures = 0
    notes.passing_looks = notes.passing_looks + 1 if passes_by_itself(engine.status) else 0
    return replace(o, engine=engine, failures=notes.failures, passing_looks=notes.passing_looks)


async def _with_jobs(o: Observed, client: CseClient, engine_id: str) -> Observed:
    """The observation with the vendor's list of jobs: none where the site does not have it."""
    try:
        return replace(o, jobs=await client.list_jobs(engine_id) or ())
    except CloudError as error:
        return replace(o, jobs_failure=error.failure)


def _is_unsent(outcome: Accepted | Failure) -> bool:
    return isinstance(outcome, Failure) and outcome.kind is FailureKind.NOT_SENT


def _as_stored(record: UpgradeRecord) -> dict[str, Any]:
    return record.model_dump(mode="json", by_alias=True, exclude_none=True)


def _since(moment: float | None, now: float) -> float:
    return now - moment if moment is not None else 0.0


def _now() -> datetime:
    return datetime.now(UTC)
