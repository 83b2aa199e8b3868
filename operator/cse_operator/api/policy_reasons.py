"""The runbook's facts about the reasons with which a policy holds an engine."""

from __future__ import annotations

from typing import Final

from cse_operator.api.reasons import BY_ITSELF, ConditionType, Reason, ReasonFacts

POLICY_REASONS: Final[dict[Reason, ReasonFacts]] = {
    Reason.NEVER_OPENS: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The windows and freezes of the policies that select the engine leave no common time "
        "within 400 days.",
        "Two policies whose windows do not meet, or a freeze without a practical end.",
        "Change the windows or freezes of one of the policies in `status.held`.",
    ),
    Reason.POLICIES_UNKNOWN: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "The policies cannot be read, so nothing starts: one of them may hold the engine.",
        "The operator has just started, its rights to list policies or namespaces are missing, or "
        "the CRDs of the policies are not installed.",
        "Install the CRDs of this version, and grant list and watch on the policies.",
    ),
    Reason.POLICY_INVALID: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "A policy that selects the engine cannot be evaluated, so nothing starts.",
        "The policy contains a word, a schedule or a time zone that this operator does not know.",
        "Mend the policy: its condition `Valid` names the field.",
    ),
    Reason.POLICY_SUSPENDED: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "A policy that selects the engine is suspended: nothing starts.",
        "Somebody set `spec.suspend: true` on the policy.",
        "Set `spec.suspend: false` on the policy.",
    ),
    Reason.NO_POLICY: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "No policy selects the engine, and the administrator requires one for each engine "
        "(`--require-policy`).",
        "A label is missing, or the policy was deleted.",
        "Give the engine the label that a policy selects, or make a policy.",
    ),
    Reason.FAILURES_EXCEEDED: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "More engines of the policy than `maxFailures` failed at the desired version, so no other "
        "engine starts.",
        "Upgrades failed. Each counts until its engine is Ready at that version.",
        "Mend the failed engines and request their retry, or set another `spec.version`.",
    ),
    Reason.CHANGE_FREEZE: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "A freeze of a policy is in force: nothing starts.",
        "The policy contains a freeze; the message shows its reason.",
        BY_ITSELF,
    ),
    Reason.APPROVAL_REQUIRED: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "A policy asks for an approval of the desired version.",
        "Nobody has approved this version, or another one was approved.",
        "Set the annotation `cse-operator.io/approved-version` to the desired version, or name the "
        "version in the policy's `approvedVersions`.",
    ),
    Reason.OUTSIDE_WINDOW: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "No window of the policy lets upgrades start now.",
        "The current time is outside the windows, or in the `cutoff` at the end of one.",
        "None needed: the message says when the policy opens.",
    ),
    Reason.WAITING_FOR_WAVE: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "Engines of an earlier wave do not run the desired version, or are not healthy at it.",
        "The earlier wave goes first, even if nobody has raised its engines' versions yet.",
        "Bring the engines that the message names to the version, suspend them, or take them out "
        "of the policy.",
    ),
    Reason.SOAKING: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "The engines of an earlier wave run the desired version, but not for long enough yet.",
        "The `soak` of that wave is not over.",
        BY_ITSELF,
    ),
    Reason.WAITING_FOR_SLOT: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "As many engines of a policy are upgrading as `maxConcurrent` allows.",
        "Other engines go first: by `spec.upgrade.priority`, then by how long they have waited.",
        BY_ITSELF,
    ),
}
