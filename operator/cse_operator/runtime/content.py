"""The parts of an object that the cache keeps, and what a later version of it changes.

That is the spec, the status, three annotations and the labels, of which one that has thousands
keeps a digest.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from cse_operator.api.names import APPROVED_VERSION, RECONCILE_REQUESTED_AT, RETRY_REQUESTED_AT
from cse_operator.core.observation import bounded

SHORT: Final = 20
"""Characters of texts that many resources share: versions, words, times."""

MOST_LABELS: Final = 100
"""Labels of a resource that are kept; the API server takes a megabyte of them. With more nobody
knows which policies select it."""


class Change(Enum):
    """What an object brings that was not known."""

    NOTHING = "nothing that decides"
    STATUS = "somebody else wrote the status"
    DESIRED = "the spec, the labels, a request, or a deletion"


class Content(NamedTuple):
    """What decides, of an object as the API server gave it."""

    spec: dict[str, Any]
    status: dict[str, Any]
    reconcile: str | None
    retry: str | None
    labels: dict[str, str] | None
    """None: too many to be kept."""
    labels_digest: int
    approved: str | None
    generation: int
    deleting: bool

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Content:
        """What decides, of an object as it came."""
        metadata = obj["metadata"]
        annotations = metadata.get("annotations") or {}
        labels = metadata.get("labels") or {}
        return cls(
            spec=_shared(obj.get("spec") or {}),
            status=_shared(obj.get("status") or {}),
            reconcile=bounded(annotations.get(RECONCILE_REQUESTED_AT)),
            retry=bounded(annotations.get(RETRY_REQUESTED_AT)),
            labels=_shared(labels) if len(labels) <= MOST_LABELS else None,
            labels_digest=hash(frozenset(labels.items())),
            approved=bounded(annotations.get(APPROVED_VERSION)),
            generation=metadata.get("generation", 1),
            deleting="deletionTimestamp" in metadata,
        )

    def change_since(self, before: Content) -> Change:
        """What has changed since another version."""
        if self == before:
            return Change.NOTHING
        same_desired = self._replace(status=before.status) == before
        return Change.STATUS if same_desired else Change.DESIRED


def _shared(value: Any) -> Any:
    """The same JSON data, in which names and short texts are the same objects in all resources."""
    if isinstance(value, dict):
        return {sys.intern(name): _shared(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shared(item) for item in value]
    if isinstance(value, str) and len(value) <= SHORT:
        return sys.intern(value)
    return value
