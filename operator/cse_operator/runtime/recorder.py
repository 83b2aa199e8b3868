"""The recorder: an Event, a log line and metrics for each transition."""

from __future__ import annotations

import logging
from typing import Final

from cse_operator.api.reason_facts import FACTS
from cse_operator.api.reasons import Reason
from cse_operator.api.status import Status
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
        if after.upgrade is not None and after.upgrade.result and _has_ended(before, after):
            self._metrics.upgrade_ended(after.upgrade)
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


def _has_ended(before: Status, after: Status) -> bool:
    """Whether the write recorded an end: it then heads the history.

    A record without a new entry is an earlier one, which an undone intent had replaced.
    """
    return after.history[:1] != before.history[:1]
