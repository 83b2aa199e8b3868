"""Says that something changed: an Event and a log line for each transition, and the metrics."""

from __future__ import annotations

import logging
from typing import Final

from cse_operator.api.reasons import FACTS, Reason
from cse_operator.api.resource import Status
from cse_operator.kube.events import EventPoster
from cse_operator.kube.references import ObjectReference
from cse_operator.runtime.metrics import Metrics

logger = logging.getLogger(__name__)

_IN_PASSING: Final = frozenset({Reason.SUBMITTING.value})
"""Followed by another reason within a moment: not worth an Event."""


class Announcer:
    """Announces transitions: a reason that changed, an upgrade that ended."""

    def __init__(self, events: EventPoster, metrics: Metrics) -> None:
        self._events = events
        self._metrics = metrics

    def announce(self, reference: ObjectReference, before: Status, after: Status) -> None:
        """Announce what a status write changed."""
        now = after.ready
        if now is None:
            return
        upgrade = after.upgrade
        if upgrade and upgrade.result and (before.upgrade is None or not before.upgrade.result):
            self._metrics.upgrade_ended(upgrade)
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
