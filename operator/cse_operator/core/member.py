"""An engine as the policies judge it: what its resource and its status say, and nothing else.

So a process that has just begun judges as the one before it did.
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
"""Reasons of an engine that is not Ready only because it is wanted at another version."""

_NOT_SEEN: Final = frozenset({Reason.ENGINE_ALREADY_MANAGED.value, Reason.ENGINE_NOT_FOUND.value})
"""Reasons under which the engine's status is one of an earlier look, and is not looked at again."""

_NOTHING_ON_ITS_WAY: Final = frozenset(
    {*(reason.value for reason in HELD), Reason.SUSPENDED.value, Reason.OBSERVE_ONLY.value}
)
"""Reasons of a lost answer whose call is made again only when a person or a policy lets it."""

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
"""Ends after which a person's request is one for another try."""
_ENDED_ELSEWHERE: Final = frozenset({Reason.VERSION_MISMATCH.value, Reason.OUTCOME_UNCERTAIN.value})
"""Ends that are no failure of the vendor's, and need a person all the same."""


@dataclass(frozen=True, slots=True)
class Member:
    """One engine of the fleet."""

    namespace: str
    name: str
    labels: frozenset[tuple[str, str]] | None
    """None: more than are kept, so that nobody knows what selects it."""
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
    """Whether a call of it may be at the vendor, or a job of anybody runs."""
    ends: tuple[tuple[frozenset[str | None], Result], ...] = ()
    """The ended upgrades, newest first: the versions that they were for, and their results."""
    held_since: datetime | None = None

    @property
    def key(self) -> str:
        """Its key."""
        return f"{self.namespace}/{self.name}"

    @property
    def excused(self) -> bool:
        """Whether nobody waits for it; an engine that another resource drives counts there."""
        managed_elsewhere = self.reason == Reason.ENGINE_ALREADY_MANAGED
        return self.suspended or self.deleting or managed_elsewhere

    @property
    def tries_again(self) -> bool:
        """Whether its next call follows a bad end: its own, or one that a person asks to repeat."""
        if self.failed_at(self.wanted):
            return True
        newest = next((result for versions, result in self.ends if self.wanted in versions), None)
        ended = newest in _TO_RETRY or self.engine_status == UPGRADE_FAILED
        return self.retry_requested and ended

    @property
    def place(self) -> tuple[int, float, str]:
        """Its place in a line: the lowest goes first."""
        since = self.held_since.timestamp() if self.held_since is not None else float("inf")
        return -self.priority, since, self.key

    def runs(self, target: str) -> bool:
        """Whether it runs a version, or one beyond it."""
        return self.current is not None and compare(self.current, target) in _RUNS

    def well_since(self, target: str) -> datetime | None:
        """Since when it has been well at a version or beyond it; None if it is not.

        One that is not Ready only because it already wants more is well while it is Available.
        """
        if not self.runs(target):
            return None
        if self.ready:
            known = [since for since in (self.ready_since, self.version_since) if since is not None]
            return max(known, default=None)
        waits = self.reason in _WAITS_WELL and self.engine_status == AVAILABLE
        return self.version_since if waits and not self.in_flight else None

    def failed_at(self, target: str) -> bool:
        """Whether its upgrade to a version ended badly and it is not Ready there since.

        A retry that runs does not cure it.
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
        """The same, with what a look at the engine has just shown."""
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
    """The engine of a resource, whoever wrote it."""
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
        retry_requested=retry_request is not None and retry_request != status.last_handled_retry_at,
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


def may_run(status: Status) -> bool:
    """Whether what is recorded may stand for a call or a job.

    Not where none was sent for certain, and not where the whole grace has shown nothing of it and
    only the next call is waited for: such a reason is shown after the grace alone.
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
    """The versions that an upgrade was for; of somebody else's job, where it led to, if known."""
    if end.action is Action.ADOPTED:
        return frozenset({end.target_version, end.wanted_version} - {None})
    return frozenset({end.target_version or end.wanted_version} - {None})
