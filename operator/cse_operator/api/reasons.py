"""The reasons a condition or an Event can carry: one list, for code, documents and alerts.

The runbook's facts about each reason are in `engine_reasons.py` and `policy_reasons.py`.

Tools judge a resource by the conditions that carry the reason: `Ready` is True only for
`UpToDate`; a reason that passes by itself comes with `Reconciling=True` (kstatus: InProgress);
a reason that needs a person comes with `Stalled=True` (kstatus: Failed).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal


class ConditionType(StrEnum):
    """The condition that accompanies `Ready` for a reason."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Reason(StrEnum):
    """The reason of a resource's conditions; also of the Event that reports the change to it."""

    UP_TO_DATE = "UpToDate"
    SUBMITTING = "Submitting"
    UPGRADING = "Upgrading"
    UPGRADE_OVERDUE = "UpgradeOverdue"
    VERIFYING_OUTCOME = "VerifyingOutcome"
    ENGINE_BUSY = "EngineBusy"
    ENGINE_UNAVAILABLE = "EngineUnavailable"
    SUSPENDED = "Suspended"
    CREDENTIALS_NOT_FOUND = "CredentialsNotFound"
    CLOUD_UNAVAILABLE = "CloudUnavailable"
    THROTTLED = "Throttled"
    UPGRADE_REJECTED = "UpgradeRejected"
    UPGRADE_FAILED = "UpgradeFailed"
    UPGRADE_TIMED_OUT = "UpgradeTimedOut"
    VERSION_MISMATCH = "VersionMismatch"
    OUTCOME_UNCERTAIN = "OutcomeUncertain"
    DOWNGRADE_NOT_SUPPORTED = "DowngradeNotSupported"
    ENGINE_NOT_FOUND = "EngineNotFound"
    ENGINE_UNUSABLE = "EngineUnusable"
    ENGINE_ALREADY_MANAGED = "EngineAlreadyManaged"
    CREDENTIALS_INVALID = "CredentialsInvalid"
    CREDENTIALS_REFUSED = "CredentialsRefused"
    PERMISSION_DENIED = "PermissionDenied"
    REGION_NOT_ALLOWED = "RegionNotAllowed"
    INVALID_SPEC = "InvalidSpec"
    WAITING_TO_CALL = "WaitingToCall"
    OBSERVE_ONLY = "ObserveOnly"
    VERSION_NOT_COMPARABLE = "VersionNotComparable"
    RETRY_REQUIRED = "RetryRequired"
    UNREADABLE_STATUS = "UnreadableStatus"
    # Held by a policy: if several of these apply, the first in this list is shown.
    NEVER_OPENS = "NeverOpens"
    POLICIES_UNKNOWN = "PoliciesUnknown"
    POLICY_INVALID = "PolicyInvalid"
    POLICY_SUSPENDED = "PolicySuspended"
    NO_POLICY = "NoPolicy"
    FAILURES_EXCEEDED = "FailuresExceeded"
    CHANGE_FREEZE = "ChangeFreeze"
    APPROVAL_REQUIRED = "ApprovalRequired"
    OUTSIDE_WINDOW = "OutsideWindow"
    WAITING_FOR_WAVE = "WaitingForWave"
    SOAKING = "Soaking"
    WAITING_FOR_SLOT = "WaitingForSlot"


HELD: Final = tuple(Reason)[tuple(Reason).index(Reason.NEVER_OPENS) :]
"""The reasons of holds by policies: if several apply, the first in this order is shown."""


@dataclass(frozen=True, slots=True)
class ReasonFacts:
    """The runbook's facts about a reason."""

    condition: ConditionType
    event_type: Literal["Normal", "Warning"]
    """The type of the Event that reports the change to this reason."""
    meaning: str
    cause: str
    """The usual cause."""
    way_out: str


BY_ITSELF: Final = "None needed: the operator goes on by itself."
"""The way out of a reason that needs no person."""
