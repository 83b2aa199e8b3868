"""The message for a failed request to the vendor, with the way out."""

from __future__ import annotations

from cse_operator.api.failure_kind import FailureKind
from cse_operator.core.failure import Failure


def why_not_seen(failure: Failure) -> str:
    """Return why the engine cannot be seen or the call cannot be made."""
    said = failure.sentence()
    if failure.kind is FailureKind.NOT_FOUND:
        return f"{said}; check engineId, projectId, region and enterpriseProjectId"
    if failure.kind is FailureKind.UNAUTHENTICATED:
        return (
            f"the vendor refused the credentials: {said}; put working credentials into the Secret "
            "(the operator notices the change), or without a Secret, correct what the message names"
        )
    if failure.kind is FailureKind.FORBIDDEN:
        return (
            f"the credentials may not do this: {said}; grant cse:engine:get, list, upgrade and "
            "update, or set enterpriseProjectId where these are granted in one enterprise project "
            "only"
        )
    if failure.kind is FailureKind.THROTTLED:
        return f"the vendor throttles this project's calls: {said}; the operator slows down"
    if failure.kind in {FailureKind.TRANSIENT, FailureKind.OUTCOME_UNKNOWN, FailureKind.NOT_SENT}:
        return f"cannot reach the vendor's API: {said}; trying again"
    return said
