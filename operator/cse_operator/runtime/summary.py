"""What metrics show of a resource, read from its spec and status as they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple


class Summary(NamedTuple):
    """What metrics show of a resource."""

    wanted: str
    current: str
    latest: str
    phase: str
    reason: str
    conditions: tuple[str, ...]
    """The types of the conditions that are true."""
    not_ready_since: float | None
    """Unix time since when it is not ready."""


def summarize(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Summary:
    """The summary of a resource, whoever wrote its status."""
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
    """A stored moment; None for one that cannot be read, which may not cost others their series."""
    try:
        return datetime.fromisoformat(str(moment)).timestamp() if moment else None
    except (ValueError, OverflowError):
        return None
