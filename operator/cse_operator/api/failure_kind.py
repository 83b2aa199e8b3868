"""The kinds of failure that the operator tells apart; a record stores the kind too."""

from __future__ import annotations

from enum import StrEnum


class FailureKind(StrEnum):
    """A kind of failure; the operator handles each kind differently."""

    TRANSIENT = "Transient"
    """May pass by itself: retry with jittered backoff."""
    THROTTLED = "Throttled"
    """The vendor asked for fewer calls: slow down the whole project, not one engine."""
    BUSY = "Busy"
    """The engine is busy with another job: wait for its end, then look again."""
    REJECTED = "Rejected"
    """The vendor understood the call and refused it: a person has to change something."""
    UNAUTHENTICATED = "Unauthenticated"
    """The vendor refused the credentials: renew once, then wait long, because bad keys lock."""
    FORBIDDEN = "Forbidden"
    """The credentials are valid but lack the right."""
    NOT_FOUND = "NotFound"
    """There is no such engine or job."""
    OUTCOME_UNKNOWN = "OutcomeUnknown"
    """A changing call was sent and its answer was lost: look at the engine before anything else."""
    NOT_SENT = "NotSent"
    """A changing call was held back or never left this process: it certainly had no effect."""
    CREDENTIALS_MISSING = "CredentialsMissing"
    """The Secret that the resource names does not exist (yet)."""
    CREDENTIALS_INVALID = "CredentialsInvalid"
    """The Secret exists but its keys are missing, mixed or empty, or are for something else."""
    REGION_NOT_ALLOWED = "RegionNotAllowed"
    """The operator's administrator has not allowed this region."""
