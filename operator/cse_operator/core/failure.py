"""Failures between the operator and an engine, by meaning.

The cloud and the cluster side translate every error into a `Failure`; the core knows only these
kinds. A status code alone never decides: the vendor answers 401 for a missing engine and 400 for
most errors (`cloud/answers.py` has the codes).
"""

from __future__ import annotations

from dataclasses import dataclass

from cse_operator.api.failure_kind import FailureKind

__all__ = ["Failure", "FailureKind"]


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
    """Seconds that the vendor asked the operator to wait, if it did."""

    def sentence(self) -> str:
        """Return the failure in one line, with the vendor's code and HTTP status where known."""
        facts = [f"HTTP {self.http_status}"] if self.http_status else []
        if self.code:
            facts.append(self.code)
        suffix = f" ({', '.join(facts)})" if facts else ""
        return f"{self.message}{suffix}"
