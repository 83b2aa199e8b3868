"""The operator's metrics, in a registry of their own.

Every metric is declared here, in `resource_metrics.py` or in `policy_metrics.py`;
`docs/reference/metrics.md` is generated from all three. No label has a value that outsiders can
make up without bound: operations, outcomes, results and reasons are enumerations, and
`--metrics-resource-limit` bounds the metrics with a resource in their labels.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import Final, Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.registry import Collector

from cse_operator.api.reasons import Reason
from cse_operator.api.upgrade_record import Result

Cause = Literal["kubernetes", "unforeseen"]
"""Why a reconcile step failed."""

_FAST: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LONG: Final = (1, 10, 60, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800)


PAGE_KEPT: Final = 1.0
"""Seconds for which one page serves all scrapes; longer if the page takes long to make."""
PAGE_REST: Final = 10.0
"""A page is served for this many times the time that it took to make."""


class Prepared(Collector, ABC):
    """A collector that copies in the event loop the figures that it shows in a thread."""

    @abstractmethod
    def prepare(self) -> None:
        """Copy the present figures."""


class Metrics:
    """Counts and measures events as they happen; metric names begin with `cse_operator_`."""

    def __init__(self) -> None:
        # The `_created` series double the number of series, and nobody here uses them.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._cloud_calls = self._histogram(
            "cse_operator_cloud_call_seconds",
            "Calls to the vendor's API, by operation and outcome (Success or the kind of failure).",
            ("operation", "outcome"),
        )
        self._reconciles = self._histogram("cse_operator_reconcile_seconds", "Reconcile steps.")
        self._reconcile_errors = self._counter(
            "cse_operator_reconcile_errors",
            "Reconcile steps that failed, by cause.",
            ("cause",),
        )
        self._queue_wait = self._histogram(
            "cse_operator_queue_wait_seconds", "Time that resources waited for a worker."
        )
        self._transitions = self._counter(
            "cse_operator_transitions",
            "Changes of the reason of the condition Ready, by the new reason.",
            ("reason",),
        )
        self._upgrades = self._counter(
            "cse_operator_upgrades", "Upgrades that ended, by result.", ("result",)
        )
        self._upgrade_seconds = self._histogram(
            "cse_operator_upgrade_seconds",
            "Upgrades from their intent to their end.",
            buckets=_LONG,
        )
        self._windows_missed = self._counter(
            "cse_operator_window_missed",
            "Engines that were due before a policy's window and did not start in it.",
            ("kind", "policy_namespace", "policy"),
        )
        self._collectors: list[Prepared] = []
        self._page, self._page_due = b"", 0.0
        self._making = asyncio.Lock()
        self._begin_at_zero()

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(
        self,
        name: str,
        text: str,
        labels: tuple[str, ...] = (),
        *,
        buckets: tuple[float, ...] = _FAST,
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def _begin_at_zero(self) -> None:
        """Show 0 for events that have not happened yet, so that the first one is an increase.

        Calls to the vendor are left out: each operation with each outcome would be more than a
        thousand series, and no alert asks for their increase.
        """
        for cause in get_args(Cause):
            self._reconcile_errors.labels(cause)
        for reason in Reason:
            self._transitions.labels(reason.value)
        for result in Result:
            self._upgrades.labels(result.value)

    def add(self, collector: Prepared) -> None:
        """Show the figures of another collector at each scrape."""
        self.registry.register(collector)
        self._collectors.append(collector)

    def cloud_call(self, operation: str, outcome: str, seconds: float) -> None:
        """Note a call to the vendor."""
        self._cloud_calls.labels(operation, outcome).observe(seconds)

    def reconciled(self, seconds: float) -> None:
        """Note a reconcile step."""
        self._reconciles.observe(seconds)

    def reconcile_error(self, cause: Cause) -> None:
        """Note a step that failed."""
        self._reconcile_errors.labels(cause).inc()

    def queue_wait(self, seconds: float) -> None:
        """Note how long a resource waited for a worker."""
        self._queue_wait.observe(seconds)

    def transition(self, reason: str) -> None:
        """Note that a resource has a new reason."""
        self._transitions.labels(reason).inc()

    def window_missed(self, kind: str, namespace: str, policy: str) -> None:
        """Note that an engine did not start in a window of a policy."""
        self._windows_missed.labels(kind, namespace, policy).inc()

    def upgrade_ended(self, result: Result, seconds: float | None) -> None:
        """Note an upgrade's end, and the seconds from its intent to its end if they are known."""
        self._upgrades.labels(result.value).inc()
        if seconds is not None:
            self._upgrade_seconds.observe(max(0.0, seconds))

    async def page(self) -> bytes:
        """Return all metrics as Prometheus text, made in a thread and kept for a moment."""
        async with self._making:
            began = time.monotonic()
            if began >= self._page_due:
                for collector in self._collectors:
                    collector.prepare()
                self._page = await asyncio.to_thread(generate_latest, self.registry)
                took = time.monotonic() - began
                self._page_due = time.monotonic() + max(PAGE_KEPT, PAGE_REST * took)
            return self._page
