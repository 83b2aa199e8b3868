"""A small model of the API server: resources with versions, generations and a status.

The status is kept as JSON. So it loses the same details as a stored status: fractions of a second
and unset fields.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from cse_operator.api.status import Status
from cse_operator.api.status_reader import read_status
from cse_operator.api.upgrade_record import Action, UpgradeRecord


class Dialect:
    """The form in which a newer build writes records, which an older build cannot read."""

    def __init__(self, *, by_word: bool) -> None:
        """Make a dialect.

        Args:
            by_word: Whether records use a new word; else they only require a later reader.
        """
        self._by_word = by_word

    def written(self, status: dict[str, Any]) -> dict[str, Any]:
        """Return a status as the newer build stores it."""
        record = status.get("upgrade")
        if record is None:
            return status
        own = {"action": f"New{record['action']}"} if self._by_word else {"minReader": 2}
        return status | {"upgrade": record | own}


def understood(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status as the newer build reads it, from either build."""
    record = status.get("upgrade")
    if record is None:
        return status
    own = {"action": record["action"].removeprefix("New"), "minReader": 1}
    return status | {"upgrade": record | own}


class ConflictError(Exception):
    """The resource's version differs from the version that the writer saw."""


class GoneError(Exception):
    """The resource no longer exists."""


class UnavailableError(Exception):
    """The writer does not learn the outcome of the write."""


@dataclass(frozen=True)
class StoredResource:
    name: str
    uid: str
    created: float
    version: int
    generation: int
    wanted: str
    suspend: bool
    retry_limit: int
    timeout: timedelta
    retry_request: str | None
    reconcile_request: str | None
    status: dict[str, Any]

    def parse_status(self) -> Status:
        """Return the status, parsed with knowledge of all dialects."""
        return read_status(understood(self.status))

    @property
    def precedence(self) -> tuple[bool, float, str]:
        """The rank as owner, lowest first: an open upgrade wins, then age."""
        record = self.record
        return (record is None or record.result is not None, self.created, self.uid)

    @property
    def record(self) -> UpgradeRecord | None:
        return self.parse_status().upgrade


@dataclass
class Intent:
    """A stored intent; each call needs a separate one."""

    owner: str
    action: Action
    target: str | None
    used: bool = False


@dataclass
class ModelCluster:
    resources: dict[str, StoredResource] = field(default_factory=dict)
    intents: dict[int, Intent] = field(default_factory=dict)
    """The intents, by the resource version that stored them."""
    writes: int = 0
    requests: dict[str, list[float]] = field(default_factory=dict)
    """The times at which a person requested a retry, by the resource's uid."""
    _versions: Any = field(default_factory=lambda: itertools.count(1))

    def create(self, name: str, wanted: str, now: float) -> None:
        version = next(self._versions)
        uid = f"uid-{version}"
        self.requests[uid] = []
        self.resources[name] = StoredResource(
            name=name,
            uid=uid,
            created=now,
            version=version,
            generation=1,
            wanted=wanted,
            suspend=False,
            retry_limit=1,
            timeout=timedelta(hours=2),
            retry_request=None,
            reconcile_request=None,
            status={"observedGeneration": -1, "phase": "Pending"},
        )

    def edit(self, name: str, **changes: Any) -> None:
        """Edit the spec, as a person does."""
        before = self.resources[name]
        after = replace(before, **changes)
        if after != before:
            self.resources[name] = replace(
                after, generation=before.generation + 1, version=next(self._versions)
            )

    def annotate(self, name: str, now: float, **changes: str) -> None:
        before = self.resources[name]
        if "retry_request" in changes:
            self.requests[before.uid].append(now)
        self.resources[name] = replace(before, version=next(self._versions), **changes)

    def write_status(self, seen: StoredResource, status: dict[str, Any]) -> StoredResource:
        current = self.resources.get(seen.name)
        if current is None:
            raise GoneError
        if current.version != seen.version:
            raise ConflictError
        self.writes += 1
        stored = replace(current, version=next(self._versions), status=copy.deepcopy(status))
        self.resources[seen.name] = stored
        record, before = stored.record, current.record
        # Every write of an intent that differs from the stored one announces a call.
        if record is not None and record.unanswered and record != before:
            self.intents[stored.version] = Intent(stored.uid, record.action, record.target_version)
        return stored
