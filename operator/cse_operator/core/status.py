"""The status as people and tools read it, built from the record and the observation."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from cse_operator.api.reason_facts import FACTS
from cse_operator.api.reasons import HELD, ConditionType, Reason
from cse_operator.api.status import Condition, EngineInfo, Phase, Status
from cse_operator.core.held import held_by
from cse_operator.core.intents import handled_retry
from cse_operator.core.machine import Transition
from cse_operator.core.observation import Observation
from cse_operator.core.states import State, state_of

_PHASES: Final = {
    Reason.UP_TO_DATE: Phase.UP_TO_DATE,
    Reason.SUBMITTING: Phase.SUBMITTING,
    Reason.VERIFYING_OUTCOME: Phase.SUBMITTING,
    Reason.UPGRADING: Phase.UPGRADING,
    Reason.UPGRADE_OVERDUE: Phase.UPGRADING,
    **dict.fromkeys(HELD, Phase.WAITING),
}

_MESSAGE_LIMIT: Final = 1024


def concluded(
    o: Observation, status: Status, reason: Reason, message: str, row: Transition | None
) -> Status:
    """Return the status that shows a conclusion.

    Args:
        o: the observation.
        status: the status with its record already changed.
        reason: the reason of the conditions.
        message: the sentence of the conditions.
        row: the row of the table that led here; None if the engine could not be seen.
    """
    message = message[:_MESSAGE_LIMIT]
    held = held_by(o, reason)
    changes: dict[str, object] = {
        "observed_generation": o.desired.generation,
        "phase": phase_of(reason),
        "message": message,
        "conditions": conditions(o.status, reason, message, o.desired.generation, o.now),
        "held": held,
        "held_since": _held_since(o, status, is_held=bool(held)),
    }
    if o.engine is not None and (row is None or row.shows_engine):
        engine = o.engine
        changes["current_version"] = engine.version or None
        changes["version_since"] = _version_since(o, engine.version)
        changes["latest_version"] = engine.latest_version
        changes["engine"] = EngineInfo(name=engine.name, type=engine.type, status=engine.status)
    if o.engine is not None or o.other_owner is not None:
        changes["last_handled_reconcile_at"] = answered_look(o)
    if row is not None and row.answers_retry:
        changes["last_handled_retry_at"] = handled_retry(o)
    return status.model_copy(update=changes)


def _held_since(o: Observation, status: Status, *, is_held: bool) -> datetime | None:
    """Return since when it is held; a call held back after its intent keeps its place in line."""
    if is_held:
        return o.status.held_since or o.now
    return o.status.held_since if state_of(status) is State.UNANSWERED else None


def _version_since(o: Observation, version: str) -> datetime | None:
    """Return since when the engine has been seen at its version; the first such look dates it."""
    if not version:
        return None
    same = o.status.current_version == version
    return (o.status.version_since if same else None) or o.now


def kept(o: Observation) -> Status:
    """Return the same status, with a requested look answered if this step has looked."""
    if o.engine is None:
        return o.status
    return o.status.model_copy(update={"last_handled_reconcile_at": answered_look(o)})


def answered_look(o: Observation) -> str | None:
    """Return the request for a look that this step answers (or the last one answered)."""
    return o.desired.reconcile_request or o.status.last_handled_reconcile_at


def phase_of(reason: Reason) -> Phase:
    """Return the phase of a reason."""
    if reason in _PHASES:
        return _PHASES[reason]
    return Phase.FAILED if FACTS[reason].condition is ConditionType.STALLED else Phase.WAITING


def conditions(
    old: Status, reason: Reason, message: str, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Return the conditions for a reason: Ready, and Reconciling or Stalled while it is true.

    The abnormal condition comes first, because kstatus reads conditions in order. A transition time
    changes only with the condition's status.
    """
    before = {condition.type: condition for condition in old.conditions}
    type_true = FACTS[reason].condition

    def condition(type_: ConditionType, status: str) -> Condition:
        same = before.get(type_.value)
        since = same.last_transition_time if same and same.status == status else now
        return Condition.model_validate(
            {
                "type": type_.value,
                "status": status,
                "observedGeneration": generation,
                "lastTransitionTime": since,
                "reason": reason.value,
                "message": message,
            }
        )

    ready = condition(ConditionType.READY, "True" if type_true is ConditionType.READY else "False")
    if type_true is ConditionType.READY:
        return (ready,)
    return (condition(type_true, "True"), ready)
