"""The one exception of the cloud side; the `Failure` in it says how to proceed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cse_operator.core.failure import Failure, FailureKind


class CloudError(Exception):
    """A call to the vendor failed.

    Every error that the cloud side raises is a `CloudError`. Its text is trimmed and free of
    secrets, so it can be shown.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    @property
    def kind(self) -> FailureKind:
        """Return the meaning of the failure."""
        return self.failure.kind

    def __str__(self) -> str:
        return self.failure.sentence()
