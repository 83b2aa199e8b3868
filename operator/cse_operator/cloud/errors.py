"""What can go wrong on the way to the vendor, as exceptions by meaning.

    CloudError                      carries the `Failure`, the form the rest of the operator knows
    ├── TransientError              might pass by itself
    ├── ThrottledError              the vendor, or our own limit, asks for fewer calls
    ├── BusyError                   the engine is doing something else
    ├── RejectedError               understood and refused: a person has to change something
    ├── UnauthenticatedError        the credentials were refused
    ├── ForbiddenError              the credentials are good, but not for this
    ├── NotFoundError               no such engine or job
    ├── OutcomeUnknownError         a changing call was sent, its answer never came
    ├── NotSentError                a changing call certainly never left this process
    ├── CredentialsInvalidError     the Secret's keys are missing, mixed or empty
    └── RegionNotAllowedError       the administrator did not allow this region

Everything that `CseClient` raises is one of these. Their text is fit to be shown: trimmed and
without secrets.
"""

from __future__ import annotations

from typing import ClassVar

from cse_operator.cloud.judgement import failure_of_response
from cse_operator.core.failure import Failure, FailureKind

__all__ = [
    "BusyError",
    "CloudError",
    "CredentialsInvalidError",
    "ForbiddenError",
    "NotFoundError",
    "NotSentError",
    "OutcomeUnknownError",
    "RegionNotAllowedError",
    "RejectedError",
    "ThrottledError",
    "TransientError",
    "UnauthenticatedError",
    "failure_of_response",
]


class CloudError(Exception):
    """A call that did not do what it was asked for. `failure` says how to go on."""

    kind: ClassVar[FailureKind | None] = None

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return self.failure.sentence()

    @staticmethod
    def of(failure: Failure) -> CloudError:
        """The exception of the class that belongs to the failure's kind."""
        return _CLASSES.get(failure.kind, CloudError)(failure)


class TransientError(CloudError):
    """Might pass by itself: try again later."""

    kind = FailureKind.TRANSIENT


class ThrottledError(CloudError):
    """Fewer calls are asked for. The call had no effect."""

    kind = FailureKind.THROTTLED


class BusyError(CloudError):
    """The engine is doing something else. The call had no effect."""

    kind = FailureKind.BUSY


class RejectedError(CloudError):
    """The vendor understood the call and refused it."""

    kind = FailureKind.REJECTED


class UnauthenticatedError(CloudError):
    """The credentials were refused, or are held back because they were. No effect."""

    kind = FailureKind.UNAUTHENTICATED


class ForbiddenError(CloudError):
    """The credentials may not do this."""

    kind = FailureKind.FORBIDDEN


class NotFoundError(CloudError):
    """There is no such engine or job."""

    kind = FailureKind.NOT_FOUND


class OutcomeUnknownError(CloudError):
    """A changing call was sent and nobody can say what became of it."""

    kind = FailureKind.OUTCOME_UNKNOWN


class NotSentError(CloudError):
    """A changing call certainly had no effect: it never left this process."""

    kind = FailureKind.NOT_SENT


class CredentialsInvalidError(CloudError):
    """The Secret does not hold one complete kind of credentials."""

    kind = FailureKind.CREDENTIALS_INVALID


class RegionNotAllowedError(CloudError):
    """The operator's administrator has not allowed this region."""

    kind = FailureKind.REGION_NOT_ALLOWED


_CLASSES: dict[FailureKind, type[CloudError]] = {
    cls.kind: cls for cls in CloudError.__subclasses__() if cls.kind is not None
}
