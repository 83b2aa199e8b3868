"""The recorder: an Event, a log line and metrics for each transition."""

from __future__ import annotations

import logging
from itertools import takewhile
from typing import Final

from cse_operator.api.reason_facts import FACTS
from cse_operator.api.reasons import Reason
from cse_operator.api.status import Status
from cse_operator.api.upgrade_record import HistoryEntry
from cse_operator.kube.events import EventPoster
from cse_operator.kube.references import ObjectReference
from cse_operator.runtime.metrics import Metrics

logger = logging.getLogger(__name__)

_IN_PASSING: Final = frozenset({Reason.SUBMITTING.value})
"""Another reason follows within a moment, so these get no Event."""


class Recorder:
    """Records transitions: a changed reason, an ended upgrade."""

    def __init__(self, events: EventPoster, metrics: Metrics) -> None:
        self._events = events
        self._metrics = metrics

    def record(self, reference: ObjectReference, before: Status, after: Status) -> None:
        """Record the transition that a status write made."""
        now = after.ready
        if now is None:
            return
        for entry in _new_ends(before, after):
            self._metrics.upgrade_ended(entry.result, _taken(entry, before, after))
        if before.ready is not None and before.ready.reason == now.reason:
            return
        reason = Reason(now.reason)
        self._metrics.transition(reason.value)
        warning = FACTS[reason].event_type == "Warning"
        level = logging.WARNING if warning else logging.INFO
        where = f"{reference.namespace}/{reference.name}"
        logger.log(level, "%s: %s: %s", where, reason.value, now.message)
        if reason.value not in _IN_PASSING:
            self._events.post(reference, FACTS[reason].event_type, reason.value, now.message)


def _new_ends(before: Status, after: Status) -> list[HistoryEntry]:
    """Return the ends that the write added to the history.

    A record with a result and no new entry is an earlier one, which an undone intent had replaced.
    And an end may have no record any more, if the next call begins in the same write.
    """
    known = before.history[:1]
    return list(takewhile(lambda entry: (entry,) != known, after.history))


def _taken(entry: HistoryEntry, before: Status, after: Status) -> float | None:
    """Return the seconds from the intent of an upgrade to its end, if its record tells them."""
    records = (after.upgrade, before.upgrade)
    own = next((one for one in records if one is not None and one.job_id == entry.job_id), None)
    if own is None or entry.finished_at is None:
        return None
    return (entry.finished_at - own.requested_at).total_seconds()
