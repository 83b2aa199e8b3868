"""Upgrade and Retry: record the intent, make the call, record the answer, in this order."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Final

from cse_operator.api.failure_kind import FailureKind
from cse_operator.api.reasons import Reason
from cse_operator.api.status import Status
from cse_operator.api.upgrade_record import Action, UpgradeRecord
from cse_operator.clock import boottime, utc_now
from cse_operator.cloud.errors import CloudError
from cse_operator.core.decide import Decision, after_call, decide
from cse_operator.core.failure import Failure
from cse_operator.core.observation import Limits, Observation
from cse_operator.core.permit import Held, Hold
from cse_operator.core.views import Accepted
from cse_operator.runtime.authority import Authority
from cse_operator.runtime.cache import CachedResource
from cse_operator.runtime.ownership import Ownership
from cse_operator.runtime.project_resolver import ProjectResolver
from cse_operator.runtime.statuses import Statuses
from cse_operator.runtime.work import Work
from cse_operator.runtime.workqueue import WorkQueue

logger = logging.getLogger(__name__)

SHORTEST_REST: Final = 1.0
"""Seconds that must be left of the Lease for a call to start."""


_WITHDRAWN: Final = Held(
    (Hold(Reason.WAITING_TO_CALL, None),),
    "the resource was changed or deleted before the call went out",
)


@dataclass(slots=True)
class _Answer:
    """The outcome of a call that is not recorded yet: it must not be lost."""

    record: UpgradeRecord
    outcome: Accepted | Failure | Held
    seen: Observation
    """The observation behind the decision. The spec may be unreadable by the time of the
    recording."""


class Calls:
    """Makes the changing calls, one at a time for each engine.

    Args:
        queue: takes back a resource that may not call yet.
        resolver: finds the project, with a live read of the Secret.
        ownership: knows who owns the engine.
        authority: says whether this process may call.
        statuses: writes statuses.
        limits: how patient the decisions are.
        send_window: seconds after a decision during which its call may be sent.
    """

    def __init__(
        self,
        *,
        queue: WorkQueue,
        resolver: ProjectResolver,
        ownership: Ownership,
        authority: Authority,
        statuses: Statuses,
        limits: Limits,
        send_window: float,
    ) -> None:
        self._queue = queue
        self._project_resolver = resolver
        self._ownership = ownership
        self._authority = authority
        self._statuses = statuses
        self._limits = limits
        self._send_window = send_window
        self._answers: dict[str, _Answer] = {}

    # -- the call --------------------------------------------------------------------------------

    async def make(self, work: Work, o: Observation, decision: Decision) -> Decision | None:
        """Make the decided call, unless something stands in its way.

        The write of the intent is the fence: it fails if anybody wrote since the decision. The call
        is held back if too much time has passed since then (the process may have been stopped),
        because another operator may have begun to look for its effect.

        Returns:
            What follows from the answer, or from the reason for no call; None if the resource waits
            in the queue.
        """
        rest = self._authority.remaining()
        if rest < SHORTEST_REST or self._ownership.may_call_in(work.key) > 0:
            self._queue.add_after(work.key, SHORTEST_REST)
            return None
        # Counted from the moment of the decision, which is also the intent's moment.
        send_before = work.decided + min(self._send_window, rest)
        try:
            project = await self._project_resolver.project_of(work.key, work.resource, live=True)
        except CloudError as error:
            held = decide(work.failed(o, error.failure), self._limits)
            await self._write(work, held.status)
            return held
        if project is not work.project:
            self._queue.add(work.key)  # the credentials changed: look and decide again
            return None
        latest = o.engine.latest_job_id if o.engine is not None else None
        if not self._ownership.begin_call(
            work.key, work.cached.reference.uid, latest_job_id=latest
        ):
            self._queue.add_after(work.key, SHORTEST_REST)
            return None
        await self._call(work, o, decision.status, send_before)
        return await self.record(work.cached)

    async def _call(self, work: Work, o: Observation, intent: Status, send_before: float) -> None:
        uid = work.cached.reference.uid
        engine = self._ownership.engine_of(work.key)
        assert engine is not None  # noqa: S101 - its turn was taken
        try:
            written = await self._write(work, intent)
            record = _stored_intent(work.key, written, intent)
        except BaseException:
            self._ownership.nothing_open(work.key, uid)
            raise
        work.cached.notes.intent_written(written or intent, boottime())
        outcome: Accepted | Failure | Held | None = None
        try:
            outcome = await self._send_if_allowed(work, o, record, send_before)
        except CloudError as error:
            outcome = error.failure
        finally:
            self._ownership.call_ended(engine, uid, job_id=_new_job(record, outcome))
        self._answers[work.key] = _Answer(record, outcome, o)

    async def _send_if_allowed(
        self, work: Work, o: Observation, record: UpgradeRecord, send_before: float
    ) -> Accepted | Held:
        """Make the call, unless a person or a policy has taken it back since the decision.

        Returns:
            The answer, or why nothing was called.

        Raises:
            CloudError: The call failed, or was not sent.
        """
        if work.withdrawn:
            self._queue.add(work.key)
            return _WITHDRAWN
        permit = work.gate.ask_again(work.key, o.engine)
        if isinstance(permit, Held):
            return permit
        # The call may wait for its turn, and must not go out once a window has closed.
        closes = boottime() + work.gate.open_for(work.key)
        return await self._send(work, record, min(send_before, closes))

    async def _send(self, work: Work, record: UpgradeRecord, send_before: float) -> Accepted:
        """Make the call that the stored intent names."""
        if self._authority.remaining() <= 0:
            told = "the operator was told to stop, or lost its Lease, before the call went out"
            raise CloudError(Failure(FailureKind.NOT_SENT, told))
        client, namespace = work.reachable.client, work.resource.reference.namespace
        if record.action is Action.RETRY:
            return await client.retry(work.engine_id, send_before=send_before, namespace=namespace)
        if record.action is not Action.UPGRADE or record.target_version is None:
            raise AssertionError(f"{work.key}: the intent names no call")
        return await client.upgrade(
            work.engine_id, record.target_version, send_before=send_before, namespace=namespace
        )

    async def _write(self, work: Work, status: Status) -> Status | None:
        return await self._statuses.write(
            work.cached,
            decided_on=int(work.resource.resource_version),
            before=work.resource.status,
            raw=work.resource.raw_status,
            status=status,
        )

    # -- the answer ------------------------------------------------------------------------------

    def is_unrecorded(self, key: str) -> bool:
        """Whether the answer to a resource's call is not recorded yet."""
        return key in self._answers

    def drop(self, key: str) -> None:
        """Drop the answer for a resource that is gone: nothing can be recorded there."""
        self._answers.pop(key, None)

    async def record(self, cached: CachedResource) -> Decision | None:
        """Write the outcome of a call; after a conflict, the next step writes to the newer version.

        Returns:
            What follows from the answer; None if the intent was resolved elsewhere.

        Raises:
            KubeError: The write failed; the answer is kept.
            BrokenRowError: The answer is recorded, and led to a state other than its row's.
        """
        answer = self._answers[cached.key]
        status = cached.parse_status()
        if status.upgrade != answer.record:
            # Another operator has resolved the intent by looking, or this is another resource.
            # A look shows what this answer says.
            logger.warning("%s: its intent was resolved elsewhere", cached.key)
            self.drop(cached.key)
            self._queue.add(cached.key)
            return None
        notes = cached.notes
        notes.call_answered(sent=not _never_left(answer.outcome))
        o = replace(answer.seen, status=status, now=utc_now(), failures=notes.unsent)
        decision = after_call(o, answer.outcome, self._limits)
        await self._statuses.write(
            cached,
            decided_on=cached.version,
            before=status,
            raw=cached.raw_status,
            status=decision.status,
        )
        self.drop(cached.key)
        notes.enter(decision.status, boottime())
        notes.job_started_again()
        if decision.broken is not None:
            raise decision.broken
        return decision

    @property
    def unrecorded(self) -> list[str]:
        """Return the resources whose answers are not recorded yet."""
        return list(self._answers)


def _stored_intent(key: str, written: Status | None, intent: Status) -> UpgradeRecord:
    """Return the intent as the API server has stored it: exactly that is called."""
    record, decided = written.upgrade if written is not None else None, intent.upgrade
    if record is None or decided is None or not record.unanswered:
        raise AssertionError(f"{key}: a call without a recorded intent")
    if _as_stored(record) != _as_stored(decided):
        raise AssertionError(f"{key}: the stored intent is not the one that was decided on")
    return record


def _never_left(outcome: Accepted | Failure | Held) -> bool:
    if isinstance(outcome, Held):
        return True
    return isinstance(outcome, Failure) and outcome.kind is FailureKind.NOT_SENT


def _as_stored(record: UpgradeRecord) -> dict[str, Any]:
    return record.model_dump(mode="json", by_alias=True, exclude_none=True)


def _new_job(record: UpgradeRecord, outcome: Accepted | Failure | Held | None) -> int | None:
    """Return the job that a call started; None if the call runs an old job again."""
    if not isinstance(outcome, Accepted) or outcome.job_id == record.baseline_job_id:
        return None
    return outcome.job_id
