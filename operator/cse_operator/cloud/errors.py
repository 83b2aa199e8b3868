"""What can go wrong on the way to the vendor, as one exception: its `Failure` says how to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cse_operator.core.failure import Failure, FailureKind


class CloudError(Exception):
    """A call that did not do what it was asked for.

    Everything that the cloud side raises is one. Its text is fit to be shown: trimmed and without
    secrets.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    @property
    def kind(self) -> FailureKind:
        """What it means."""
        return self.failure.kind

    def __str__(self) -> str:
        return self.failure.sentence()
