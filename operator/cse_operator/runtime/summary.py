"""The summary of a resource for metrics, read from its stored spec and status."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple


class Summary(NamedTuple):
    """The values that metrics show of a resource."""

    wanted: str
    current: str
    latest: str
    phase: str
    reason: str
    conditions: tuple[str, ...]
    """The types of the conditions that are true."""
    not_ready_since: float | None
    """Unix time at which Ready became False; None if it is not False."""


def summarize(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Summary:
    """Return the summary of a resource, whoever wrote its status."""
    conditions = status.get("conditions") or []
    ready: Mapping[str, Any] = next((c for c in conditions if c.get("type") == "Ready"), {})
    since = ready.get("lastTransitionTime") if ready.get("status") == "False" else None
    return Summary(
        wanted=str(spec.get("version", "")),
        current=str(status.get("currentVersion", "")),
        latest=str(status.get("latestVersion", "")),
        phase=str(status.get("phase", "")),
        reason=str(ready.get("reason", "")),
        conditions=tuple(str(c["type"]) for c in conditions if c.get("status") == "True"),
        not_ready_since=_unix_time(since),
    )


def _unix_time(moment: object) -> float | None:
    """Return a stored moment as Unix time; None if it cannot be read.

    An unreadable moment of one resource must not cost the others their series.
    """
    try:
        return datetime.fromisoformat(str(moment)).timestamp() if moment else None
    except (ValueError, OverflowError):
        return None
