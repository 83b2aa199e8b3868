"""The parts of an object that the cache keeps, and the change between two versions of them.

The parts are the spec, the status, three annotations, the labels and a digest of them. Of more than
`MOST_LABELS` labels only the digest is kept.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from cse_operator.api.names import APPROVED_VERSION, RECONCILE_REQUESTED_AT, RETRY_REQUESTED_AT
from cse_operator.core.observation import bounded

SHORT: Final = 20
"""The most characters of a text that resources share: versions, words, times."""

VERSION: Final = re.compile(r"[0-9a-zA-Z][-+._0-9a-zA-Z]{0,23}")
"""The letters of a version in `spec.version`: any other text approves none, and is not repeated."""

MOST_LABELS: Final = 100
"""The most labels of a resource that are kept; the API server takes a megabyte of them. With more,
the policies that select the resource are not known."""


class Change(Enum):
    """The change that a new version of an object brings."""

    NOTHING = "nothing on which decisions depend"
    STATUS = "the status, written by somebody else"
    DESIRED = "the spec, the labels, a request, or a deletion"


class Content(NamedTuple):
    """The parts of an object from the API server on which decisions depend."""

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
        """Return the kept parts of an object from the API server."""
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
            approved=_version(annotations.get(APPROVED_VERSION)),
            generation=metadata.get("generation", 1),
            deleting="deletionTimestamp" in metadata,
        )

    def change_since(self, before: Content) -> Change:
        """Return the change from another version to this one."""
        if self == before:
            return Change.NOTHING
        same_desired = self._replace(status=before.status) == before
        return Change.STATUS if same_desired else Change.DESIRED


def _version(text: str | None) -> str | None:
    return text if text and VERSION.fullmatch(text) else None


def _shared(value: Any) -> Any:
    """Return the same JSON data with interned names and short texts, which resources share."""
    if isinstance(value, dict):
        return {sys.intern(name): _shared(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shared(item) for item in value]
    if isinstance(value, str) and len(value) <= SHORT:
        return sys.intern(value)
    return value
