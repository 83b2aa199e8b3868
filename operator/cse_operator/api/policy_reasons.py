"""What the runbook says about the reasons of a policy that holds an engine."""

from __future__ import annotations

from typing import Final

from cse_operator.api.reasons import BY_ITSELF, ConditionType, Reason, ReasonFacts

POLICY_REASONS: Final[dict[Reason, ReasonFacts]] = {
    Reason.NEVER_OPENS: ReasonFacts(
        ConditionType.STALLED,
        "Warning",
        "The times of the policies that select the engine never let it start together within 400 "
        "days.",
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
        "A word, a schedule or a time zone in it that this operator does not know.",
        "Mend the policy: its condition `Valid` names the field.",
    ),
    Reason.POLICY_SUSPENDED: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "A policy that selects the engine is suspended: nothing starts.",
        "Somebody set `spec.suspend: true` on the policy.",
        "Set it to false.",
    ),
    Reason.NO_POLICY: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "No policy selects the engine, and the administrator wants one for each "
        "(`--require-policy`).",
        "A label is missing, or the policy was deleted.",
        "Give the engine the label that a policy selects, or make a policy.",
    ),
    Reason.FAILURES_EXCEEDED: ReasonFacts(
        ConditionType.RECONCILING,
        "Warning",
        "More engines of the policy failed at the wanted version than `maxFailures`: no other "
        "engine starts.",
        "An upgrade that failed; it counts until its engine is Ready at that version.",
        "Mend the failed engines and request their retry; or want another version.",
    ),
    Reason.CHANGE_FREEZE: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "A policy has a freeze now: nothing starts.",
        "A freeze in the policy, whose reason the message names.",
        BY_ITSELF,
    ),
    Reason.APPROVAL_REQUIRED: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "A policy asks for an approval of the wanted version.",
        "Nobody has approved this version, or another one was approved.",
        "Set the annotation `cse-operator.io/approved-version` to the wanted version, or name the "
        "version in the policy's `approvedVersions`.",
    ),
    Reason.OUTSIDE_WINDOW: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "No window of the policy lets upgrades start now.",
        "It is outside of the windows, or in the `cutoff` at the end of one.",
        "None needed: the message says when it opens.",
    ),
    Reason.WAITING_FOR_WAVE: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "Engines of an earlier wave do not run the wanted version, or are not well at it.",
        "The earlier wave goes first, also where nobody has raised its version yet.",
        "Bring the engines that the message names to the version, suspend them, or take them out "
        "of the policy.",
    ),
    Reason.SOAKING: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "The engines of an earlier wave run the wanted version, and not for long enough yet.",
        "The `soak` of that wave is not over.",
        BY_ITSELF,
    ),
    Reason.WAITING_FOR_SLOT: ReasonFacts(
        ConditionType.RECONCILING,
        "Normal",
        "As many engines of a policy upgrade as `maxConcurrent` allows.",
        "Others go first: by `spec.upgrade.priority`, then by how long they wait.",
        BY_ITSELF,
    ),
}
