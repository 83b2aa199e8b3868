"""The runbook's facts about the reasons of an engine, its upgrade and its credentials."""

from __future__ import annotations

from typing import Final

from cse_operator.api.reasons import BY_ITSELF, ConditionType, Reason, ReasonFacts

ENGINE_REASONS: Final[dict[Reason, ReasonFacts]] = {
    Reason.UP_TO_DATE: ReasonFacts(
        ConditionType.READY,
        "Normal",
        "The engine is at the desired version, or at a later patch of it.",
        "The engine had that version before, an upgrade succeeded, or the vendor patched it.",
        "None.",
    ),
    Reason.SUBMITTING: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "The intent is recorded and the upgrade call is on its way.",
        "`spec.version` is above the engine's version, or a failed upgrade is tried again.",
        BY_ITSELF,
    ),
    Reason.UPGRADING: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "The vendor runs the upgrade job. The operator follows it until the job has ended and the "
        "engine shows its result.",
        "The operator's call was accepted, or someone else started an upgrade, in the console "
        "or by the API.",
        BY_ITSELF,
    ),
    Reason.UPGRADE_OVERDUE: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "The job has run for longer than `spec.upgrade.timeout`. The operator still follows it.",
        "A large engine, a step that hangs at the vendor, or a `timeout` that is too short.",
        "Look at the job in the CSE console; ask the vendor's support with the job id. "
        "The operator records its result whenever it ends.",
    ),
    Reason.VERIFYING_OUTCOME: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "A call was sent and its answer was lost. Before anything else, the operator looks at the "
        "engine until it knows whether the call took effect.",
        "The connection broke after the call, the vendor answered with a server error, or the "
        "operator was stopped before the answer came.",
        BY_ITSELF,
    ),
    Reason.ENGINE_BUSY: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "The engine is being created, changed or upgraded by someone else.",
        "A change in the console or by another program.",
        "None needed: the upgrade starts when the engine is Available again.",
    ),
    Reason.ENGINE_UNAVAILABLE: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "The engine is in a state in which an upgrade would not be safe.",
        "The vendor reports the status Unavailable, or one that the operator does not know.",
        "Look at the engine in the CSE console. The upgrade starts when it is Available.",
    ),
    Reason.SUSPENDED: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "`spec.suspend` is true: the operator observes the engine and starts nothing.",
        "Somebody suspended the resource, in Git or by Argo CD's action suspend, and an upgrade is "
        "due.",
        "Set `spec.suspend: false`.",
    ),
    Reason.CREDENTIALS_NOT_FOUND: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "The Secret or ServiceAccount that `spec.credentialsRef` names does not exist in this "
        "namespace (yet), or `spec.credentialsRef` is absent and the operator lends this namespace "
        "no identity.",
        "The object was not created yet, is in another namespace or has another name, or the "
        "operator may not read the Secret or ask for tokens of the ServiceAccount.",
        "Create the Secret or ServiceAccount, or grant the right. The operator looks again within "
        "seconds at first, and every five minutes later.",
    ),
    Reason.CLOUD_UNAVAILABLE: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "The vendor's API cannot be reached or answers with server errors.",
        "An outage, a wrong endpoint or region, DNS, a proxy, a NetworkPolicy, a certificate "
        "that is not trusted; or the vendor rejects the operator's request itself.",
        "None needed if it passes. Otherwise check the endpoint, DNS, proxy and the "
        "NetworkPolicy with `cse-operator check`.",
    ),
    Reason.THROTTLED: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "The vendor asked for fewer calls; the project's calls are held back.",
        "Other programs call with the same project or user, or very many engines are upgraded "
        "at once.",
        "None needed. If it lasts, lower `--calls-per-second`.",
    ),
    Reason.UPGRADE_REJECTED: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The vendor refused the upgrade call; its code and message are in the condition.",
        "The vendor does not offer this version for the engine, or does not upgrade an engine in "
        "this state.",
        "Change `spec.version` to a version that the vendor offers (`status.latestVersion`), or "
        "set the annotation `cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.UPGRADE_FAILED: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The upgrade job ended with an error.",
        "A step of the job failed at the vendor; the vendor's message is in the condition.",
        "Look at the job in the CSE console, fix the cause, then set the annotation "
        "`cse-operator.io/retry-requested-at` to a new value, or change `spec.version`.",
    ),
    Reason.UPGRADE_TIMED_OUT: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The vendor ended the upgrade job by its own time-out.",
        "A step of the job took longer than the vendor allows.",
        "As for `UpgradeFailed`.",
    ),
    Reason.VERSION_MISMATCH: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The job is finished, but the engine does not report the desired version.",
        "The vendor upgraded to another version, rolled back by itself, or still shows the "
        "old one.",
        "Compare with the CSE console. If the engine is fine, set `spec.version` to the version "
        "that it reports; otherwise ask the vendor's support with the job id.",
    ),
    Reason.OUTCOME_UNCERTAIN: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The answer of a call was lost, and the operator cannot know whether the call took effect: "
        "other jobs ran since, no job tells, or no effect of the last allowed call was seen.",
        "Somebody changed the engine while the operator looked for the effect of its call, or the "
        "network lost every call.",
        "Look at the engine's jobs in the CSE console. To have the upgrade called again, set "
        "the annotation `cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.DOWNGRADE_NOT_SUPPORTED: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The engine's version is above the desired version, and versions cannot go back.",
        "A `git revert`, a typing error, or an upgrade in the console.",
        "Set `spec.version` to the version the engine has (`status.currentVersion`) or higher.",
    ),
    Reason.ENGINE_NOT_FOUND: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The vendor knows no engine with this id in this project and region.",
        "The engine was deleted, an id or the region is wrong, or the credentials belong to "
        "another project. A resource that was fine shows this reason only after three looks in a "
        "row.",
        "Check `engineId`, `projectId`, `region` and `enterpriseProjectId`. The first three "
        "cannot be changed: delete the resource and create it anew; no engine is touched.",
    ),
    Reason.ENGINE_UNUSABLE: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The engine is frozen, deleted or failed, and only its owner can repair it.",
        "A bill that is not paid, or a creation, change or upgrade that failed without the "
        "operator.",
        "Look at the engine in the CSE console (payment, failed creation or change). To retry a "
        "failed upgrade, where the vendor offers that, set the annotation "
        "`cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.ENGINE_ALREADY_MANAGED: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "Another resource names the same engine and drives it: the oldest one, or one whose "
        "upgrade is under way.",
        "A manifest was copied, or moved to another namespace before the old resource was pruned.",
        "Delete one of the two resources; no engine is touched by that.",
    ),
    Reason.CREDENTIALS_INVALID: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The Secret exists, but its keys are missing, mixed or empty, or its type is one of "
        "Kubernetes' own, such as the token of a service account.",
        "A key is misspelled, or two kinds of credentials are in one Secret.",
        "Put one complete set of keys into the Secret: `accessKey` and `secretKey`, or "
        "`username`, `password` and `domainName`, or `token`. The change is noticed within a "
        "minute. A Secret of another type has to be made anew with the type `Opaque`.",
    ),
    Reason.CREDENTIALS_REFUSED: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The vendor refused the credentials. They are not tried again for a while, because "
        "repeated failures lock a key.",
        "A key was deleted, disabled or mistyped, a token has expired, or this machine's "
        "clock is wrong. For a ServiceAccount: IAM or STS does not know the identity provider, its "
        "client id, issuer or keys differ from the cluster's, or no rule lets the account in.",
        "Put working credentials into the Secret; the change is noticed within a minute and a "
        "half. For a ServiceAccount, fix what the message names (docs/keyless.md); the operator "
        "tries again when the cool-down is over, or at once when `spec.credentialsRef` changes.",
    ),
    Reason.PERMISSION_DENIED: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The credentials are valid but lack a right.",
        "The IAM user or agency lacks a right. A resource that was fine shows this reason only "
        "after three looks in a row; after a refused upgrade call, at once.",
        "Grant the IAM actions `cse:engine:get`, `cse:engine:list`, `cse:engine:upgrade` and "
        "`cse:engine:update` for this project, or, where the user has them in one enterprise "
        "project only, name that in `enterpriseProjectId`. If the upgrade call was refused, then "
        "set the annotation `cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.REGION_NOT_ALLOWED: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The operator's settings do not allow this region.",
        "A typing error, a region that the operator is not meant for, or a region whose site it "
        "does not know. Nothing is started; a running upgrade is followed to its end.",
        "Ask the operator's administrator to add it to `--allowed-regions`, or its site to "
        "`--sites`.",
    ),
    Reason.INVALID_SPEC: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The spec does not fit the resource's schema (an old CRD in the cluster?).",
        "The CRD in the cluster is older or newer than the operator.",
        "Correct the field that the message names; apply the CRD of this version.",
    ),
    Reason.WAITING_TO_CALL: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "An upgrade is due, but the operator may not call it yet.",
        "The operator was started or took over less than one outcome grace ago. A process that "
        "died, or another operator, may still have a call on its way. Or somebody changed the "
        "resource right before the call, and the operator decides again.",
        BY_ITSELF,
    ),
    Reason.OBSERVE_ONLY: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "A call is due, but the operator only observes: it looks, adopts, follows and reports, and "
        "calls nothing.",
        "The operator's administrator has set `--observe-only`.",
        "Ask the administrator to run the operator without `--observe-only`.",
    ),
    Reason.VERSION_NOT_COMPARABLE: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The engine's version and the desired version cannot be ordered, so nothing is called: an "
        "upgrade cannot be taken back.",
        "One of the two contains letters, such as 2.4.0-rc1, or the vendor installed a version "
        "such as 2.5.0.SPC100.",
        "Set `spec.version` to the engine's version (`status.currentVersion`), or to a later "
        "version in numbers only. A version with letters is called only if it is the vendor's "
        "latest (`status.latestVersion`) and newly desired, or if a retry is requested by the "
        "annotation `cse-operator.io/retry-requested-at`.",
    ),
    Reason.RETRY_REQUIRED: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The upgrade to the desired version was called before and ended without reaching it, and "
        "another job ran since. The operator does not call it again by itself.",
        "`spec.version` came back to a version whose upgrade was refused or failed, or somebody "
        "else upgraded the engine meanwhile.",
        "Compare with the CSE console, then set the annotation "
        "`cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.UNREADABLE_STATUS: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "Another version of the operator recorded an upgrade in words that this one does not "
        "know. Nothing is called and nothing is written over the record; a retry request changes "
        "nothing.",
        "The operator was rolled back, or two versions of it run at once.",
        "Run the newer version again. Otherwise look at the engine's jobs in the CSE console, and "
        "if none runs, remove the record: `kubectl patch microserviceengine NAME "
        '--subresource=status --type=json -p \'[{"op":"remove","path":"/status/upgrade"}]\'`.',
    ),
}
