"""What the runbook says about the reasons of an engine, its upgrade and its credentials."""

from __future__ import annotations

from typing import Final

from cse_operator.api.reasons import BY_ITSELF, ConditionType, Reason, ReasonFacts

ENGINE_REASONS: Final[dict[Reason, ReasonFacts]] = {
    Reason.UP_TO_DATE: ReasonFacts(
        ConditionType.READY,
        "Normal",
        "The engine is at the wanted version, or at a later patch of it.",
        "It was there before, an upgrade succeeded, or the vendor patched it.",
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
        "The vendor runs the upgrade job; it is followed to its end, and until the engine shows "
        "its result.",
        "The operator's call was accepted, or someone else started an upgrade, in the console "
        "or by the API.",
        BY_ITSELF,
    ),
    Reason.UPGRADE_OVERDUE: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "The job has run for longer than `spec.upgrade.timeout`. It is still followed.",
        "A large engine, a step that hangs at the vendor, or a `timeout` that is too short.",
        "Look at the job in the CSE console; ask the vendor's support with the job id. "
        "The operator records its result whenever it ends.",
    ),
    Reason.VERIFYING_OUTCOME: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "A call was sent and its answer was lost. The operator looks at the engine until it "
        "knows whether the call took effect, before it does anything else.",
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
        "The vendor calls it Unavailable, or by a status that is not known.",
        "Look at the engine in the CSE console. The upgrade starts when it is Available.",
    ),
    Reason.SUSPENDED: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "`spec.suspend` is true: the engine is watched, and nothing is started.",
        "Somebody set it, in Git or by Argo CD's action suspend, and an upgrade is due.",
        "Set `spec.suspend: false`.",
    ),
    Reason.CREDENTIALS_NOT_FOUND: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "The Secret or ServiceAccount that `spec.credentialsRef` names does not exist in this "
        "namespace (yet), or there is none and the operator lends this namespace no identity.",
        "It was not created yet, is in another namespace or under another name, or the "
        "operator may not read the Secret or ask for tokens of the ServiceAccount.",
        "Create the Secret or ServiceAccount, or grant the right. It is looked for again within "
        "seconds at first, and every five minutes later.",
    ),
    Reason.CLOUD_UNAVAILABLE: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "The vendor's API cannot be reached or answers with server errors.",
        "An outage, a wrong endpoint or region, DNS, a proxy, a NetworkPolicy, a certificate "
        "that is not trusted; or the vendor finds the look itself wrong.",
        "None needed when it passes. Otherwise check the endpoint, DNS, proxy and the "
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
        "A version that the vendor does not offer for this engine, or a state of it that the "
        "vendor does not upgrade from.",
        "Change `spec.version` to one the engine offers (`status.latestVersion`), or set the "
        "annotation `cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.UPGRADE_FAILED: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The upgrade job ended with an error.",
        "A step of the job failed at the vendor; its words are in the condition.",
        "Look at the job in the CSE console, fix the cause, then set the annotation "
        "`cse-operator.io/retry-requested-at` to a new value, or change the spec.",
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
        "The job is finished, but the engine reports another version than the wanted one.",
        "The vendor upgraded to another version, rolled back by itself, or still shows the "
        "old one.",
        "Compare with the CSE console. If the engine is fine, set `spec.version` to what it "
        "reports; otherwise ask the vendor's support with the job id.",
    ),
    Reason.OUTCOME_UNCERTAIN: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The answer of a call was lost, and other jobs ran since: whether the call took "
        "effect cannot be known from outside.",
        "Somebody changed the engine while the operator looked for the effect of its call.",
        "Look at the engine's jobs in the CSE console. To have the upgrade called again, set "
        "the annotation `cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.DOWNGRADE_NOT_SUPPORTED: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The engine is at a higher version than the wanted one, and versions cannot go back.",
        "A `git revert`, a typing error, or an upgrade in the console.",
        "Set `spec.version` to the version the engine has (`status.currentVersion`) or higher.",
    ),
    Reason.ENGINE_NOT_FOUND: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The vendor knows no engine with this id in this project and region.",
        "It was deleted, an id or the region is wrong, or the credentials belong to another "
        "project. Of one that was fine it is only said after three looks in a row.",
        "Check `engineId`, `projectId`, `region` and `enterpriseProjectId`. The first three "
        "cannot be changed: delete the resource and create it anew; no engine is touched.",
    ),
    Reason.ENGINE_UNUSABLE: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The engine is frozen, deleted or failed in a way that only its owner can mend.",
        "A bill that is not paid, or a creation, change or upgrade that failed without the "
        "operator.",
        "Look at the engine in the CSE console (payment, failed creation or change). One whose "
        "upgrade failed is retried, where the vendor offers it, when the annotation "
        "`cse-operator.io/retry-requested-at` is set to a new value.",
    ),
    Reason.ENGINE_ALREADY_MANAGED: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "Another resource names the same engine and drives it: the oldest one, or one whose "
        "upgrade is under way.",
        "A copied manifest, or one that moved to another namespace before the old one was pruned.",
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
        "minute. One of another type has to be made anew, with the type `Opaque`.",
    ),
    Reason.CREDENTIALS_REFUSED: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
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
        ConditionType.STALLED,
        "Warning",
        "The credentials are good, but not allowed to do this.",
        "The IAM user or agency lacks a right. Of one that was fine it is only said after "
        "three looks in a row; of the upgrade call, at once.",
        "Grant the IAM actions `cse:engine:get`, `cse:engine:list`, `cse:engine:upgrade` and "
        "`cse:engine:update` for this project, or, where the user has them in one enterprise "
        "project only, name that in `enterpriseProjectId`. Where it was the upgrade call that was "
        "refused, then set the annotation `cse-operator.io/retry-requested-at` to a new value.",
    ),
    Reason.REGION_NOT_ALLOWED: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The operator's settings do not allow this region.",
        "A typing error, or a region that the operator is not meant for, or does not know the site "
        "of. Nothing is started; an upgrade that runs is followed to its end.",
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
        "An upgrade is due, and the operator has started too recently to call it.",
        "The operator was started or took over less than one outcome grace ago. A process that "
        "died, or another operator, may still have a call on its way.",
        BY_ITSELF,
    ),
    Reason.OBSERVE_ONLY: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "A call is due, and the operator only observes: it looks, adopts, follows and reports, and "
        "calls nothing.",
        "The operator's administrator has set `--observe-only`.",
        "Ask the administrator to run the operator without `--observe-only`.",
    ),
    Reason.VERSION_NOT_COMPARABLE: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
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
        ConditionType.STALLED,
        "Warning",
        "The wanted version was called before, that call ended without it, and another job ran "
        "since. It is not called again by itself.",
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
