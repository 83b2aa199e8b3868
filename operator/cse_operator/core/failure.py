"""What can go wrong between the operator and an engine, by meaning.

The cloud and the cluster side translate whatever they met into a `Failure`; the decision
core knows only these kinds. A status code alone never decides: the vendor answers 401 for
a missing engine and 400 for most things (`cloud/answers.py` has the codes).
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure, ready to be shown: the vendor's own words, trimmed and free of secrets."""

    kind: FailureKind
    message: str
    http_status: int | None = None
    code: str | None = None
    detail: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    """Seconds the vendor asked us to wait, if it did."""

    def sentence(self) -> str:
        """The failure in one line, with the vendor's code and HTTP status where known."""
        facts = [f"HTTP {self.http_status}"] if self.http_status else []
        if self.code:
            facts.append(self.code)
        suffix = f" ({', '.join(facts)})" if facts else ""
        return f"{self.message}{suffix}"
