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
    WAITING_TO_CALL = "WaitingToCall"
    OBSERVE_ONLY = "ObserveOnly"
    VERSION_NOT_COMPARABLE = "VersionNotComparable"
    RETRY_REQUIRED = "RetryRequired"
    UNREADABLE_STATUS = "UnreadableStatus"
    # Held by a policy; of several, the first of this list is shown.
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


@dataclass(frozen=True, slots=True)
class ReasonFacts:
    """What the runbook says about a reason."""

    standing: Standing
    event_type: Literal["Normal", "Warning"]
    """The type of the Event posted when it becomes so."""
    meaning: str
    cause: str
    """What usually leads to it."""
    way_out: str


_NORMAL: Final = "Normal"
_WARNING: Final = "Warning"
_READY, _MOVING, _STALLED = Standing.READY, Standing.RECONCILING, Standing.STALLED
_BY_ITSELF = "None needed: it goes on by itself."

FACTS: dict[Reason, ReasonFacts] = {
    Reason.UP_TO_DATE: ReasonFacts(
        _READY,
        _NORMAL,
        "The engine is at the wanted version, or at a later patch of it.",
        "It was there before, an upgrade succeeded, or the vendor patched it.",
        "None.",
    ),
    Reason.SUBMITTING: ReasonFacts(
        _MOVING,
        _NORMAL,
        "The intent is recorded and the upgrade call is on its way.",
        "`spec.version` is above the engine's version, or a failed upgrade is tried again.",
        _BY_ITSELF,
    ),
    Reason.UPGRADING: ReasonFacts(
        _MOVING,
        _NORMAL,
        "The vendor runs the upgrade job; it is followed to its end, and until the engine shows "
        "its result.",
        "The operator's call was accepted, or someone else started an upgrade, in the console "
        "or by the API.",
        _BY_ITSELF,
    ),
    Reason.UPGRADE_OVERDUE: ReasonFacts(
        _MOVING,
        _WARNING,
        "The job has run for longer than `spec.upgrade.timeout`. It is still followed.",
        "A large engine, a step that hangs at the vendor, or a `timeout` that is too short.",
        "Look at the job in the CSE console; ask the vendor's support with the job id. "
        "The operator records its result whenever it ends.",
    ),
    Reason.VERIFYING_OUTCOME: ReasonFacts(
        _MOVING,
        _WARNING,
        "A call was sent and its answer was lost. The operator looks at the engine until it "
        "knows whether the call took effect, before it does anything else.",
        "The connection broke after the call, the vendor answered with a server error, or the "
        "operator was stopped before the answer came.",
        _BY_ITSELF,
    ),
    Reason.ENGINE_BUSY: ReasonFacts(
        _MOVING,
        _NORMAL,
        "The engine is being created, changed or upgraded by someone else.",
        "A change in the console or by another program.",
        "None needed: the upgrade starts when the engine is Available again.",
    ),
    Reason.ENGINE_UNAVAILABLE: ReasonFacts(
        _MOVING,
        _WARNING,
        "The engine is in a state in which an upgrade would not be safe.",
        "The vendor calls it Unavailable, or by a status that is not known.",
        "Look at the engine in the CSE console. The upgrade starts when it is Available.",
    ),
    Reason.SUSPENDED: ReasonFacts(
        _MOVING,
        _NORMAL,
        "`spec.suspend` is true: the engine is watched, and nothing is started.",
        "Somebody set it, in Git or by Argo CD's action suspend, and an upgrade is due.",
        "Set `spec.suspend: false`.",
    ),
    Reason.CREDENTIALS_NOT_FOUND: ReasonFacts(
        _MOVING,
        _WARNING,
        "The Secret or ServiceAccount that `spec.credentialsRef` names does not exist in this "
        "namespace (yet), or there is none and the operator lends this namespace no identity.",
        "It was not created yet, is in another namespace or under another name, or the "
        "operator may not read the Secret or ask for tokens of the ServiceAccount.",
        "Create the Secret or ServiceAccount, or grant the right. It is looked for again within "
        "seconds at first, and every five minutes later.",
    ),
    Reason.CLOUD_UNAVAILABLE: ReasonFacts(
        _MOVING,
        _WARNING,
        "The vendor's API cannot be reached or answers with server errors.",
        "An outage, a wrong endpoint or region, DNS, a proxy, a NetworkPolicy, a certificate "
        "that is not trusted; or the vendor finds the look itself wrong.",
        "None needed when it passes. Otherwise check the endpoint, DNS, proxy and the "
        "NetworkPolicy with `cse-operator check`.",
    ),
    Reason.THROTTLED: ReasonFacts(
        _MOVING,
        _WARNING,
        "The vendor asked for fewer calls; the project's calls are held back.",
        "Other programs call with the same project or user, or very many engines are upgraded "
        "at once.",
        "None needed. If it lasts, lower `--calls-per-second`.",
    ),
    Reason.UPGRADE_REJECTED: ReasonFacts(
        _STALLED,
        _WARNING,
        "The vendor refused the upgrade call; its code and message are in the condition.",
        "A version that the vendor does not offer for this engine, or a state of it that the "
        "vendor does not upgrade from.",
        "Change `spec.version` to one the engine offers (`status.latestVersion`), or set the "
        "annotation `cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.UPGRADE_FAILED: ReasonFacts(
        _STALLED,
        _WARNING,
        "The upgrade job ended with an error.",
        "A step of the job failed at the vendor; its words are in the condition.",
        "Look at the job in the CSE console, mend the cause, then set the annotation "
        "`cse-operator.io/retry-requested-at` to a new value, or change the spec.",
    ),
    Reason.UPGRADE_TIMED_OUT: ReasonFacts(
        _STALLED,
        _WARNING,
        "The vendor ended the upgrade job by its own time-out.",
        "A step of the job took longer than the vendor allows.",
        "As for `UpgradeFailed`.",
    ),
    Reason.VERSION_MISMATCH: ReasonFacts(
        _STALLED,
        _WARNING,
        "The job is finished, but the engine reports another version than the wanted one.",
        "The vendor upgraded to another version, rolled back by itself, or still shows the "
        "old one.",
        "Compare with the CSE console. If the engine is fine, set `spec.version` to what it "
        "reports; otherwise ask the vendor's support with the job id.",
    ),
    Reason.OUTCOME_UNCERTAIN: ReasonFacts(
        _STALLED,
        _WARNING,
        "The answer of a call was lost, and other jobs ran since: whether the call took "
        "effect cannot be known from outside.",
        "Somebody changed the engine while the operator looked for the effect of its call.",
        "Look at the engine's jobs in the CSE console. To have the upgrade called again, set "
        "the annotation `cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.DOWNGRADE_NOT_SUPPORTED: ReasonFacts(
        _STALLED,
        _WARNING,
        "The engine is at a higher version than the wanted one, and versions cannot go back.",
        "A `git revert`, a typing error, or an upgrade in the console.",
        "Set `spec.version` to the version the engine has (`status.currentVersion`) or higher.",
    ),
    Reason.ENGINE_NOT_FOUND: ReasonFacts(
        _STALLED,
        _WARNING,
        "The vendor knows no engine with this id in this project and region.",
        "It was deleted, an id or the region is wrong, or the credentials belong to another "
        "project. Of one that was fine it is only said after three looks in a row.",
        "Check `engineId`, `projectId`, `region` and `enterpriseProjectId`. The first three "
        "cannot be changed: delete the resource and create it anew; no engine is touched.",
    ),
    Reason.ENGINE_UNUSABLE: ReasonFacts(
        _STALLED,
        _WARNING,
        "The engine is frozen, deleted or failed in a way that only its owner can mend.",
        "A bill that is not paid, or a creation, change or upgrade that failed without the "
        "operator.",
        "Look at the engine in the CSE console (payment, failed creation or change). One whose "
        "upgrade failed is retried, where the vendor offers it, when the annotation "
        "`cse-operator.io/retry-requested-at` is set to a new value.",
    ),
    Reason.ENGINE_ALREADY_MANAGED: ReasonFacts(
        _STALLED,
        _WARNING,
        "Another resource names the same engine and drives it: the oldest one, or one whose "
        "upgrade is under way.",
        "A copied manifest, or one that moved to another namespace before the old one was pruned.",
        "Delete one of the two resources; no engine is touched by that.",
    ),
    Reason.CREDENTIALS_INVALID: ReasonFacts(
        _STALLED,
        _WARNING,
        "The Secret exists, but its keys are missing, mixed or empty, or its type is one of "
        "Kubernetes' own, such as the token of a service account.",
        "A key is misspelled, or two kinds of credentials are in one Secret.",
        "Put one complete set of keys into the Secret: `accessKey` and `secretKey`, or "
        "`username`, `password` and `domainName`, or `token`. The change is noticed within a "
        "minute. One of another type has to be made anew, with the type `Opaque`.",
    ),
    Reason.CREDENTIALS_REFUSED: ReasonFacts(
        _STALLED,
        _WARNING,
        "The vendor refused the credentials. They are not tried again for a while, because "
        "repeated failures lock a key.",
        "A key was deleted, disabled or mistyped, a token has expired, or this machine's "
        "clock is wrong. Of a ServiceAccount: IAM or STS does not know the identity provider, its "
        "client id, issuer or keys are others than the cluster's, or no rule lets the account in.",
        "Put working credentials into the Secret; the change is noticed within a minute and a "
        "half. Of a ServiceAccount, mend what the message names (docs/keyless.md); it is tried "
        "again when the cool-down is over, or at once when `spec.credentialsRef` changes.",
    ),
    Reason.PERMISSION_DENIED: ReasonFacts(
        _STALLED,
        _WARNING,
        "The credentials are good, but not allowed to do this.",
        "The IAM user or agency lacks a right. Of one that was fine it is only said after "
        "three looks in a row; of the upgrade call, at once.",
        "Grant the IAM actions `cse:engine:get`, `cse:engine:list`, `cse:engine:upgrade` and "
        "`cse:engine:update` for this project, or, where the user has them in one enterprise "
        "project only, name that in `enterpriseProjectId`. Where it was the upgrade call that was "
        "refused, then set the annotation `cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.REGION_NOT_ALLOWED: ReasonFacts(
        _STALLED,
        _WARNING,
        "The operator's settings do not allow this region.",
        "A typing error, or a region that the operator is not meant for, or does not know the site "
        "of. Nothing is started; an upgrade that runs is followed to its end.",
        "Ask the operator's administrator to add it to `--allowed-regions`, or its site to "
        "`--sites`.",
    ),
    Reason.INVALID_SPEC: ReasonFacts(
        _STALLED,
        _WARNING,
        "The spec does not fit the resource's schema (an old CRD in the cluster?).",
        "The CRD in the cluster is older or newer than the operator.",
        "Correct the field that the message names; apply the CRD of this version.",
    ),
    Reason.WAITING_TO_CALL: ReasonFacts(
        _MOVING,
        _NORMAL,
        "An upgrade is due, and the operator has started too recently to call it.",
        "The operator was started or took over less than one outcome grace ago. A process that "
        "died, or another operator, may still have a call on its way.",
        _BY_ITSELF,
    ),
    Reason.OBSERVE_ONLY: ReasonFacts(
        _MOVING,
        _NORMAL,
        "A call is due, and the operator only observes: it looks, adopts, follows and reports, and "
        "calls nothing.",
        "The operator's administrator has set `--observe-only`.",
        "Ask the administrator to run the operator without `--observe-only`.",
    ),
    Reason.VERSION_NOT_COMPARABLE: ReasonFacts(
        _STALLED,
        _WARNING,
        "The engine's version and the wanted one cannot be ordered, so nothing is called: an "
        "upgrade cannot be taken back.",
        "One of them has letters in it, such as 2.4.0-rc1, or the vendor put a version such as "
        "2.5.0.SPC100 there.",
        "Set `spec.version` to what the engine reports (`status.currentVersion`), or to a later "
        "version in numbers only. A version with letters is called only when it is the vendor's "
        "latest (`status.latestVersion`) and newly wanted, or when a retry is requested by the "
        "annotation `cse-operator.io/retry-requested-at`.",
    ),
    Reason.RETRY_REQUIRED: ReasonFacts(
        _STALLED,
        _WARNING,
        "The wanted version was called before, that call ended without it, and another job ran "
        "since. It is not called again by itself.",
        "`spec.version` came back to a version whose upgrade was refused or failed, or somebody "
        "else upgraded the engine meanwhile.",
        "Compare with the CSE console, then set the annotation "
        "`cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.UNREADABLE_STATUS: ReasonFacts(
        _STALLED,
        _WARNING,
        "Another version of the operator recorded an upgrade in words that this one does not "
        "know. Nothing is called and nothing is written over the record; a retry request changes "
        "nothing.",
        "The operator was rolled back, or two versions of it run at once.",
        "Run the newer version again. Otherwise look at the engine's jobs in the CSE console, and "
        "if none runs, remove the record: `kubectl patch microserviceengine NAME "
        '--subresource=status --type=json -p \'[{"op":"remove","path":"/status/upgrade"}]\'`.',
    ),
    Reason.NEVER_OPENS: ReasonFacts(
        _STALLED,
        _WARNING,
        "The times of the policies that select the engine never let it start together within 400 "
        "days.",
        "Two policies whose windows do not meet, or a freeze without a practical end.",
        "Change the windows or freezes of one of the policies in `status.held`.",
    ),
    Reason.POLICIES_UNKNOWN: ReasonFacts(
        _MOVING,
        _WARNING,
        "The policies cannot be read, so nothing starts: one of them may hold the engine.",
        "The operator has just started, its rights to list policies or namespaces are missing, or "
        "the CRDs of the policies are not installed.",
        "Install the CRDs of this version, and grant list and watch on the policies.",
    ),
    Reason.POLICY_INVALID: ReasonFacts(
        _MOVING,
        _WARNING,
        "A policy that selects the engine cannot be evaluated, so nothing starts.",
        "A word, a schedule or a time zone in it that this operator does not know.",
        "Mend the policy: its condition `Valid` names the field.",
    ),
    Reason.POLICY_SUSPENDED: ReasonFacts(
        _MOVING,
        _NORMAL,
        "A policy that selects the engine is suspended: nothing starts.",
        "Somebody set `spec.suspend: true` on the policy.",
        "Set it to false.",
    ),
    Reason.NO_POLICY: ReasonFacts(
        _MOVING,
        _WARNING,
        "No policy selects the engine, and the administrator wants one for each "
        "(`--require-policy`).",
        "A label is missing, or the policy was deleted.",
        "Give the engine the label that a policy selects, or make a policy.",
    ),
    Reason.FAILURES_EXCEEDED: ReasonFacts(
        _MOVING,
        _WARNING,
        "More engines of the policy failed at the wanted version than `maxFailures`: no other "
        "engine starts.",
        "An upgrade that failed; it counts until its engine is Ready at that version.",
        "Mend the failed engines and request their retry; or want another version.",
    ),
    Reason.CHANGE_FREEZE: ReasonFacts(
        _MOVING,
        _NORMAL,
        "A policy has a freeze now: nothing starts.",
        "A freeze in the policy, whose reason the message names.",
        _BY_ITSELF,
    ),
    Reason.APPROVAL_REQUIRED: ReasonFacts(
        _MOVING,
        _NORMAL,
        "A policy asks for an approval of the wanted version.",
        "Nobody has approved this version, or another one was approved.",
        "Set the annotation `cse-operator.io/approved-version` to the wanted version, or name the "
        "version in the policy's `approvedVersions`.",
    ),
    Reason.OUTSIDE_WINDOW: ReasonFacts(
        _MOVING,
        _NORMAL,
        "No window of the policy lets upgrades start now.",
        "It is outside of the windows, or in the `cutoff` at the end of one.",
        "None needed: the message says when it opens.",
    ),
    Reason.WAITING_FOR_WAVE: ReasonFacts(
        _MOVING,
        _NORMAL,
        "Engines of an earlier wave do not run the wanted version, or are not well at it.",
        "The earlier wave goes first, also where nobody has raised its version yet.",
        "Bring the engines that the message names to the version, suspend them, or take them out "
        "of the policy.",
    ),
    Reason.SOAKING: ReasonFacts(
        _MOVING,
        _NORMAL,
        "The engines of an earlier wave run the wanted version, and not for long enough yet.",
        "The `soak` of that wave is not over.",
        _BY_ITSELF,
    ),
    Reason.WAITING_FOR_SLOT: ReasonFacts(
        _MOVING,
        _NORMAL,
        "As many engines of a policy upgrade as `maxConcurrent` allows.",
        "Others go first: by `spec.upgrade.priority`, then by how long they wait.",
        _BY_ITSELF,
    ),
}

HELD: Final = tuple(Reason)[tuple(Reason).index(Reason.NEVER_OPENS) :]
"""The reasons of a policy, the one that is shown first of several first."""
