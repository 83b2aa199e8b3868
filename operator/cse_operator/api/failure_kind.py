"""The kinds of failure that the operator tells apart; also what a record stores of one."""

from __future__ import annotations

from enum import StrEnum


class FailureKind(StrEnum):
    """The kinds of failure the operator tells apart, each with its own way on."""

    TRANSIENT = "Transient"
    """Might pass by itself: retried with jittered backoff."""
    THROTTLED = "Throttled"
    """The vendor asked for fewer calls: slows the whole project, not one engine."""
    BUSY = "Busy"
    """The engine is doing something else: wait for it, then look again."""
    REJECTED = "Rejected"
    """The vendor understood the call and refused it: a person has to change something."""
    UNAUTHENTICATED = "Unauthenticated"
    """The credentials were refused: renewed once, then a long wait, because bad keys lock."""
    FORBIDDEN = "Forbidden"
    """The credentials are good but not allowed to do this."""
    NOT_FOUND = "NotFound"
    """There is no such engine or job."""
    OUTCOME_UNKNOWN = "OutcomeUnknown"
    """A changing call was sent and its answer never came: look before anything else."""
    NOT_SENT = "NotSent"
    """A changing call was held back or never left this process: it certainly had no effect."""
    CREDENTIALS_MISSING = "CredentialsMissing"
    """The Secret that the resource names does not exist (yet)."""
    CREDENTIALS_INVALID = "CredentialsInvalid"
    """The Secret exists but its keys are missing, mixed or empty, or are for something else."""
    REGION_NOT_ALLOWED = "RegionNotAllowed"
    """The operator's administrator has not allowed this region."""
