"""Metrics that are read at each scrape: resources, queue, projects, leader.

Nothing is updated between scrapes, so ten thousand resources at rest cost nothing.

Only the leader shows resources and queue. A standby knows the same resources, which would count
twice, and its queue waits for the Lease.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from cse_operator.kube.references import ObjectReference
from cse_operator.runtime.cache import Cache
from cse_operator.runtime.metrics import Prepared
from cse_operator.runtime.summary import Summary

_RESOURCE: Final = ("engine_namespace", "name")
"""Not `namespace`: that label is the scraped Pod's, and a Prometheus that enforces it renames
ours."""
_LEADER: Final = "(of the leader)"
_EACH: Final = "(of the leader, up to --metrics-resource-limit)"


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of the figures."""

    cache: Cache
    queue_depth: Callable[[], int]
    backoff_depth: Callable[[], int]
    resync_age: Callable[[], float]
    skipped_namespaces: Callable[[], int]
    start_wait: Callable[[], float]
    watch_starts: Callable[[], int]
    tokens_obtained: Callable[[], int]
    throttled_seconds: Callable[[], float]
    events_lost: Callable[[], int]
    leading: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class _Moment:
    """The figures at the moment when a page was begun; a thread renders them."""

    leading: bool
    parts: list[Metric]
    waiting: list[Metric]
    resources: list[tuple[ObjectReference, Summary]]


class ResourceMetrics(Prepared):
    """Shows the resources and the operator's parts as they are now.

    Args:
        sources: the sources of the figures.
        resource_limit: the most resources with series of their own. With more resources none has
            them, because a part of them would mislead.
        now: Unix time.
    """

    def __init__(
        self, sources: Sources, *, resource_limit: int, now: Callable[[], float] = time.time
    ) -> None:
        self._sources = sources
        self._resource_limit = resource_limit
        self._now = now
        self._taken: _Moment | None = None

    def describe(self) -> list[Metric]:
        """Collect nothing when the collector is registered."""
        return []

    def prepare(self) -> None:
        """Copy the present figures; runs in the event loop, which changes them."""
        self._taken = self._moment()

    def collect(self) -> Iterator[Metric]:
        """Yield all figures of the prepared moment, or of this moment."""
        moment, self._taken = self._taken or self._moment(), None
        yield from moment.parts
        if moment.leading:
            yield from moment.waiting
            yield from self._totals(moment.resources)
            if len(moment.resources) <= self._resource_limit:
                yield from self._each(moment.resources)

    def _moment(self) -> _Moment:
        leading = self._sources.leading()
        known = [(one.reference, one.summary) for one in self._sources.cache]
        parts = list(self._parts(leading=leading))
        return _Moment(leading, parts, list(self._waiting()), known)

    def _waiting(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "cse_operator_queue_depth",
            f"Resources that wait for a worker {_LEADER}.",
            value=self._sources.queue_depth(),
        )
        yield GaugeMetricFamily(
            "cse_operator_backoff_depth",
            f"Resources that wait because their last step failed {_LEADER}.",
            value=self._sources.backoff_depth(),
        )

    def _totals(self, resources: list[tuple[ObjectReference, Summary]]) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "cse_operator_resources",
            f"Resources, by phase and by the reason of the condition Ready {_LEADER}.",
            labels=("phase", "reason"),
        )
        counts = Counter((summary.phase, summary.reason) for _, summary in resources)
        for (phase, reason), count in sorted(counts.items()):
            family.add_metric((phase, reason), count)
        yield family

    def _parts(self, *, leading: bool) -> Iterator[Metric]:
        sources = self._sources
        yield CounterMetricFamily(
            "cse_operator_tokens_obtained",
            "Tokens and temporary keys obtained from IAM, STS or CCE.",
            value=sources.tokens_obtained(),
        )
        yield CounterMetricFamily(
            "cse_operator_throttled_seconds",
            "Seconds for which the vendor asked a project's calls to pause.",
            value=sources.throttled_seconds(),
        )
        yield CounterMetricFamily(
            "cse_operator_events_lost",
            "Kubernetes Events that could not be posted.",
            value=sources.events_lost(),
        )
        yield GaugeMetricFamily(
            "cse_operator_leader",
            "1 while this process may act, 0 while it stands by.",
            value=1.0 if leading else 0.0,
        )
        yield from self._loop()

    def _loop(self) -> Iterator[Metric]:
        sources = self._sources
        yield GaugeMetricFamily(
            "cse_operator_resync_age_seconds",
            "Seconds since the last successful list of all resources.",
            value=sources.resync_age(),
        )
        yield GaugeMetricFamily(
            "cse_operator_skipped_namespaces",
            "Namespaces of --namespaces that are skipped because they may not be listed.",
            value=sources.skipped_namespaces(),
        )
        yield GaugeMetricFamily(
            "cse_operator_start_wait_seconds",
            "Seconds until this process may make its first upgrade call, 0 from then on.",
            value=sources.start_wait(),
        )
        yield CounterMetricFamily(
            "cse_operator_watch_starts",
            "Starts of the watch; more than one means that it ended or delivered nothing.",
            value=sources.watch_starts(),
        )

    def _each(self, resources: list[tuple[ObjectReference, Summary]]) -> Iterator[Metric]:
        info = InfoMetricFamily(
            "cse_operator_engine",
            f"The versions and the phase of each resource {_EACH}.",
            labels=_RESOURCE,
        )
        condition = GaugeMetricFamily(
            "cse_operator_condition",
            f"1 for each condition, 0 where it is not true {_EACH}.",
            labels=(*_RESOURCE, "type", "reason"),
        )
        behind = GaugeMetricFamily(
            "cse_operator_not_ready_seconds",
            f"Seconds since the condition Ready became False, 0 if it is not False {_EACH}.",
            labels=_RESOURCE,
        )
        for reference, summary in resources:
            key = (reference.namespace, reference.name)
            versions = {"wanted": summary.wanted, "current": summary.current}
            info.add_metric(key, {**versions, "latest": summary.latest, "phase": summary.phase})
            for type_ in ("Ready", "Reconciling", "Stalled"):
                true = type_ in summary.conditions
                condition.add_metric((*key, type_, summary.reason), 1.0 if true else 0.0)
            since = summary.not_ready_since
            behind.add_metric(key, max(0.0, self._now() - since) if since is not None else 0.0)
        yield from (info, condition, behind)
