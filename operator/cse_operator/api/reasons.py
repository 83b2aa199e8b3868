"""The reasons a condition or an Event can carry: one list, for code, documents and alerts.

A reason says what is going on in a word. Where it stands decides what tools make of it:
`Ready` is True only for `UpToDate`; a reason that heals by itself comes with
`Reconciling=True` (kstatus: InProgress); one that only a person can mend comes with
`Stalled=True` (kstatus: Failed).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal


class Standing(StrEnum):
    """Which condition accompanies `Ready` for a reason."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Reason(StrEnum):
    """Why a resource is as it is; also the reason of the Event posted when it becomes so."""

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


@dataclass(frozen=True, slots=True)
class ReasonFacts:
    """What the runbook says about a reason."""

    standing: Standing
    event_type: Literal["Normal", "Warning"]
    """The type of the Event posted when it becomes so."""
    meaning: str
    way_out: str


_NORMAL: Final = "Normal"
_WARNING: Final = "Warning"
_READY, _MOVING, _STALLED = Standing.READY, Standing.RECONCILING, Standing.STALLED
_BY_ITSELF = "None needed: it goes on by itself."

FACTS: dict[Reason, ReasonFacts] = {
    Reason.UP_TO_DATE: ReasonFacts(
        _READY, _NORMAL, "The engine is at the wanted version, or at a later patch of it.", "None."
    ),
    Reason.SUBMITTING: ReasonFacts(
        _MOVING,
        _NORMAL,
        "The intent is recorded and the upgrade call is on its way.",
        _BY_ITSELF,
    ),
    Reason.UPGRADING: ReasonFacts(
        _MOVING,
        _NORMAL,
        "The vendor runs the upgrade job; it is followed to its end, and until the engine shows "
        "its result.",
        _BY_ITSELF,
    ),
    Reason.UPGRADE_OVERDUE: ReasonFacts(
        _MOVING,
        _WARNING,
        "The job has run for longer than `spec.upgrade.timeout`. It is still followed.",
        "Look at the job in the CSE console; ask the vendor's support with the job id. "
        "The operator records its result whenever it ends.",
    ),
    Reason.VERIFYING_OUTCOME: ReasonFacts(
        _MOVING,
        _WARNING,
        "A call was sent and its answer was lost. The operator looks at the engine until it "
        "knows whether the call took effect, before it does anything else.",
        _BY_ITSELF,
    ),
    Reason.ENGINE_BUSY: ReasonFacts(
        _MOVING,
        _NORMAL,
        "The engine is being created, changed or upgraded by someone else.",
        "None needed: the upgrade starts when the engine is Available again.",
    ),
    Reason.ENGINE_UNAVAILABLE: ReasonFacts(
        _MOVING,
        _WARNING,
        "The engine is in a state in which an upgrade would not be safe.",
        "Look at the engine in the CSE console. The upgrade starts when it is Available.",
    ),
    Reason.SUSPENDED: ReasonFacts(
        _MOVING,
        _NORMAL,
        "`spec.suspend` is true: the engine is watched, and nothing is started.",
        "Set `spec.suspend: false`.",
    ),
    Reason.CREDENTIALS_NOT_FOUND: ReasonFacts(
        _MOVING,
        _WARNING,
        "The Secret that `spec.credentialsRef` names does not exist in this namespace (yet).",
        "Create the Secret. It is looked for again every minute.",
    ),
    Reason.CLOUD_UNAVAILABLE: ReasonFacts(
        _MOVING,
        _WARNING,
        "The vendor's API cannot be reached or answers with server errors.",
        "None needed when it passes. Otherwise check the endpoint, DNS, proxy and the "
        "NetworkPolicy with `cse-operator check`.",
    ),
    Reason.THROTTLED: ReasonFacts(
        _MOVING,
        _WARNING,
        "The vendor asked for fewer calls; the project's calls are held back.",
        "None needed. If it lasts, lower `--calls-per-second`.",
    ),
    Reason.UPGRADE_REJECTED: ReasonFacts(
        _STALLED,
        _WARNING,
        "The vendor refused the upgrade call; its code and message are in the condition.",
        "Change `spec.version` to one the engine offers (`status.latestVersion`), or set the "
        "annotation `cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.UPGRADE_FAILED: ReasonFacts(
        _STALLED,
        _WARNING,
        "The upgrade job ended with an error.",
        "Look at the job in the CSE console, mend the cause, then set the annotation "
        "`cse-operator.io/retry-requested-at` to a new value, or change the spec.",
    ),
    Reason.UPGRADE_TIMED_OUT: ReasonFacts(
        _STALLED,
        _WARNING,
        "The vendor ended the upgrade job by its own time-out.",
        "As for `UpgradeFailed`.",
    ),
    Reason.VERSION_MISMATCH: ReasonFacts(
        _STALLED,
        _WARNING,
        "The job is finished, but the engine reports another version than the wanted one.",
        "Compare with the CSE console. If the engine is fine, set `spec.version` to what it "
        "reports; otherwise ask the vendor's support with the job id.",
    ),
    Reason.OUTCOME_UNCERTAIN: ReasonFacts(
        _STALLED,
        _WARNING,
        "The answer of a call was lost, and other jobs ran since: whether the call took "
        "effect cannot be known from outside.",
        "Look at the engine's jobs in the CSE console. To have the upgrade called again, set "
        "the annotation `cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.DOWNGRADE_NOT_SUPPORTED: ReasonFacts(
        _STALLED,
        _WARNING,
        "The engine is at a higher version than the wanted one, and versions cannot go back.",
        "Set `spec.version` to the version the engine has (`status.currentVersion`) or higher.",
    ),
    Reason.ENGINE_NOT_FOUND: ReasonFacts(
        _STALLED,
        _WARNING,
        "The vendor knows no engine with this id in this project and region.",
        "Check `engineId`, `projectId`, `region` and `enterpriseProjectId`. The first three "
        "cannot be changed: delete the resource and create it anew; no engine is touched.",
    ),
    Reason.ENGINE_UNUSABLE: ReasonFacts(
        _STALLED,
        _WARNING,
        "The engine is frozen, deleted or failed in a way that only its owner can mend.",
        "Look at the engine in the CSE console (payment, failed creation or change).",
    ),
    Reason.ENGINE_ALREADY_MANAGED: ReasonFacts(
        _STALLED,
        _WARNING,
        "Another resource names the same engine and drives it: the oldest one, or one whose "
        "upgrade is under way.",
        "Delete one of the two resources; no engine is touched by that.",
    ),
    Reason.CREDENTIALS_INVALID: ReasonFacts(
        _STALLED,
        _WARNING,
        "The Secret exists, but its keys are missing, mixed or empty, or its type is one of "
        "Kubernetes' own, such as the token of a service account.",
        "Put one complete set of keys into the Secret: `accessKey` and `secretKey`, or "
        "`username`, `password` and `domainName`, or `token`. One of another type has to be made "
        "anew, with the type `Opaque`.",
    ),
    Reason.CREDENTIALS_REFUSED: ReasonFacts(
        _STALLED,
        _WARNING,
        "The vendor refused the credentials. They are not tried again for a while, because "
        "repeated failures lock a key.",
        "Put working credentials into the Secret; the change is noticed within a minute.",
    ),
    Reason.PERMISSION_DENIED: ReasonFacts(
        _STALLED,
        _WARNING,
        "The credentials are good, but not allowed to do this.",
        "Grant the IAM actions `cse:engine:get`, `cse:engine:list`, `cse:engine:upgrade` and "
        "`cse:engine:update` for this project. Where it was the upgrade call that was refused, "
        "then set the annotation `cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.REGION_NOT_ALLOWED: ReasonFacts(
        _STALLED,
        _WARNING,
        "The operator's settings do not allow this region.",
        "Ask the operator's administrator to add it to `--allowed-regions`.",
    ),
    Reason.INVALID_SPEC: ReasonFacts(
        _STALLED,
        _WARNING,
        "The spec does not fit the resource's schema (an old CRD in the cluster?).",
        "Correct the field that the message names; apply the CRD of this version.",
    ),
}
