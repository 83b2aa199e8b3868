"""An engine as the policies judge it: from its resource and its status alone.

So a new process judges as the process before it did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from cse_operator.api.reasons import HELD, Reason
from cse_operator.api.status import Status
from cse_operator.api.upgrade_record import Action, Result
from cse_operator.core.states import State, state_of
from cse_operator.core.vendor_states import AVAILABLE, UPGRADE_FAILED, UPGRADING
from cse_operator.core.versions import Comparison, compare
from cse_operator.core.views import EngineView

_RUNS: Final = frozenset({Comparison.SATISFIED, Comparison.BEYOND})
_WAITS_WELL: Final = frozenset(
    {
        *(reason.value for reason in HELD),
        Reason.DOWNGRADE_NOT_SUPPORTED.value,
        Reason.WAITING_TO_CALL.value,
        Reason.OBSERVE_ONLY.value,
        Reason.UPGRADE_REJECTED.value,
        Reason.VERSION_NOT_COMPARABLE.value,
        Reason.RETRY_REQUIRED.value,
    }
)
"""Reasons of an engine that is not Ready only because another version is desired."""

_NOT_SEEN: Final = frozenset({Reason.ENGINE_ALREADY_MANAGED.value, Reason.ENGINE_NOT_FOUND.value})
"""Reasons with which the engine's status is from an earlier look, and is not refreshed."""

_NOTHING_ON_ITS_WAY: Final = frozenset(
    {*(reason.value for reason in HELD), Reason.SUSPENDED.value, Reason.OBSERVE_ONLY.value}
)
"""Reasons after a lost answer with which a person or a policy must first allow the next call."""

_UNWELL: Final = frozenset(
    reason.value
    for reason in (
        Reason.ENGINE_UNAVAILABLE,
        Reason.ENGINE_UNUSABLE,
        Reason.UPGRADE_FAILED,
        Reason.UPGRADE_TIMED_OUT,
        Reason.VERSION_MISMATCH,
    )
)

_BAD: Final = frozenset({Result.FAILED, Result.TIMED_OUT, Result.REJECTED})
_TO_RETRY: Final = _BAD | {Result.UNKNOWN}
"""Results after which a person's retry request asks for another try."""
_ENDED_ELSEWHERE: Final = frozenset({Reason.VERSION_MISMATCH.value, Reason.OUTCOME_UNCERTAIN.value})
"""Reasons of ends that are no failure at the vendor but need a person."""


@dataclass(frozen=True, slots=True)
class Member:
    """One engine of the fleet."""

    namespace: str
    name: str
    labels: frozenset[tuple[str, str]] | None
    """None: too many to be kept, so the policies that select the engine are not known."""
    wanted: str
    priority: int = 0
    suspended: bool = False
    deleting: bool = False
    approved: str | None = None
    retry_requested: bool = False
    type: str | None = None
    """None: no operator has seen it yet."""
    engine_status: str | None = None
    current: str | None = None
    version_since: datetime | None = None
    ready: bool = False
    ready_since: datetime | None = None
    reason: str = ""
    state: State = State.IDLE
    in_flight: bool = False
    """Whether a call for the engine may be at the vendor, or any job of it runs."""
    ends: tuple[tuple[frozenset[str | None], Result], ...] = ()
    """The ended upgrades, newest first: the versions of each, and its result."""
    held_since: datetime | None = None

    @property
    def key(self) -> str:
        """Return the engine's key, `namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def excused(self) -> bool:
        """Whether policies excuse the engine: it is suspended, deleted or has another owner.

        With another owner, the engine counts by the owner's member.
        """
        managed_elsewhere = self.reason == Reason.ENGINE_ALREADY_MANAGED
        return self.suspended or self.deleting or managed_elsewhere

    @property
    def tries_again(self) -> bool:
        """Whether the next call follows a failure at the desired version, or retries on request."""
        if self.failed_at(self.wanted):
            return True
        newest = next((result for versions, result in self.ends if self.wanted in versions), None)
        ended = newest in _TO_RETRY or self.engine_status == UPGRADE_FAILED
        return self.retry_requested and ended

    @property
    def place(self) -> tuple[int, float, str]:
        """Return the engine's place in a line: the lowest goes first."""
        since = self.held_since.timestamp() if self.held_since is not None else float("inf")
        return -self.priority, since, self.key

    def runs(self, target: str) -> bool:
        """Whether the engine runs a version or a later one."""
        return self.current is not None and compare(self.current, target) in _RUNS

    def well_since(self, target: str) -> datetime | None:
        """Return since when the engine has been well at a version or a later one; None if not well.

        An engine that is not Ready only because a later version is desired is well while it is
        Available.
        """
        if not self.runs(target):
            return None
        if self.ready:
            known = [since for since in (self.ready_since, self.version_since) if since is not None]
            return max(known, default=None)
        waits = self.reason in _WAITS_WELL and self.engine_status == AVAILABLE
        return self.version_since if waits and not self.in_flight else None

    def failed_at(self, target: str) -> bool:
        """Whether the upgrade to a version ended badly and the engine is not Ready there since.

        A running retry does not change that.
        """
        if self.ready and self.runs(target):
            return False
        at_it = self.current is not None and compare(self.current, target) is Comparison.SATISFIED
        if at_it and self.reason in _UNWELL:
            return True
        newest = next((result for versions, result in self.ends if target in versions), None)
        if newest in _BAD:
            return True
        wanted = self.wanted == target
        return wanted and newest is not None and self.reason in _ENDED_ELSEWHERE

    def seen_as(self, engine: EngineView) -> Member:
        """Return the same member with the values of a new look at the engine."""
        same = engine.version == self.current
        return replace(
            self,
            type=engine.type,
            engine_status=engine.status,
            current=engine.version or None,
            version_since=self.version_since if same else None,
        )


def member_of(
    *,
    namespace: str,
    name: str,
    labels: Mapping[str, str] | None,
    approved: str | None,
    retry_request: str | None,
    generation: int,
    deleting: bool,
    spec: Mapping[str, Any],
    status: Status,
) -> Member:
    """Return the engine of a resource; its spec may be invalid."""
    ready, engine = status.ready, status.engine
    upgrade = spec.get("upgrade")
    priority = upgrade.get("priority", 0) if isinstance(upgrade, dict) else 0
    present = status.observed_generation == generation
    reason = ready.reason if ready is not None else ""
    upgrades = engine is not None and engine.status == UPGRADING and reason not in _NOT_SEEN
    return Member(
        namespace=namespace,
        name=name,
        labels=None if labels is None else frozenset(labels.items()),
        wanted=str(spec.get("version", "")),
        priority=priority if isinstance(priority, int) else 0,
        suspended=spec.get("suspend") is True,
        deleting=deleting,
        approved=approved,
        retry_requested=_retry_requested(retry_request, status),
        type=engine.type if engine is not None else None,
        engine_status=engine.status if engine is not None else None,
        current=status.current_version,
        version_since=status.version_since,
        ready=present and ready is not None and ready.status == "True",
        ready_since=ready.last_transition_time if ready is not None else None,
        reason=reason,
        state=state_of(status),
        in_flight=may_run(status) or upgrades,
        ends=_ends(status),
        held_since=status.held_since if status.held else None,
    )


def _retry_requested(request: str | None, status: Status) -> bool:
    """Whether a person's retry request is open, or an intent without an answer acts on it.

    Otherwise the intent itself would end what the request excuses, and its call would be held.
    """
    if request is None:
        return False
    record = status.upgrade
    acts_on = record is not None and record.unanswered and record.retry_request == request
    return acts_on or request != status.last_handled_retry_at


def may_run(status: Status) -> bool:
    """Whether a recorded call or its job may be at the vendor.

    False if certainly no call was sent. False also if the whole outcome grace showed no effect and
    only the next call is waited for: the reasons of `_NOTHING_ON_ITS_WAY` are shown only after the
    grace.
    """
    state, record = state_of(status), status.upgrade
    if state is not State.UNANSWERED or record is None:
        return state is not State.IDLE
    waits = status.ready is not None and status.ready.reason in _NOTHING_ON_ITS_WAY
    return record.attempts > 0 and not waits


def _ends(status: Status) -> tuple[tuple[frozenset[str | None], Result], ...]:
    found = []
    if status.upgrade is not None and status.upgrade.result is not None:
        found.append((_versions(status.upgrade), status.upgrade.result))
    found += [(_versions(entry), entry.result) for entry in status.history]
    return tuple(found)


def _versions(end: Any) -> frozenset[str | None]:
    """Return the version an upgrade was for; for an adopted job, also the desired version."""
    if end.action is Action.ADOPTED:
        return frozenset({end.target_version, end.wanted_version} - {None})
    return frozenset({end.target_version or end.wanted_version} - {None})
