"""Metrics of policies and of held engines; only the leader shows them.

A scrape reuses the results of the policies' statuses, so it computes nothing again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from cse_operator.api.policy import PolicyStatus
from cse_operator.clock import utc_now
from cse_operator.core.policies import Policy, PolicySet
from cse_operator.runtime.cache import Cache
from cse_operator.runtime.metrics import Prepared

_POLICY: Final = ("kind", "policy_namespace", "policy")
_LEADER: Final = "(of the leader)"
_EACH: Final = "(of the leader, up to --metrics-resource-limit)"


class PolicyMetrics(Prepared):
    """Collects the metrics of the current policies.

    Args:
        policies: returns the current policies.
        shown: returns the latest status of a policy.
        cache: the engines.
        leading: whether this process is the leader.
        resource_limit: with more engines, no engine has its own series, as in `Fleet`.
        clock: now, in UTC.
    """

    def __init__(
        self,
        policies: Callable[[], PolicySet],
        shown: Callable[[Policy], PolicyStatus | None],
        cache: Cache,
        leading: Callable[[], bool],
        *,
        resource_limit: int,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._policies = policies
        self._shown = shown
        self._clock = clock
        self._cache = cache
        self._leading = leading
        self._resource_limit = resource_limit
        self._prepared: list[Metric] = []

    def prepare(self) -> None:
        """Compute all metrics of this moment."""
        self._prepared = list(self._figures())

    def describe(self) -> list[Metric]:
        """Return nothing, so that registration collects no metrics."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the prepared metrics."""
        yield from self._prepared

    def _figures(self) -> Iterator[Metric]:
        if not self._leading():
            return
        yield from self._of_policies(self._clock())
        if len(self._cache) <= self._resource_limit:
            yield self._held()

    def _of_policies(self, now: datetime) -> Iterator[Metric]:
        gauges = {
            name: GaugeMetricFamily(f"cse_operator_policy_{name}", text, labels=labels)
            for name, (text, labels) in _GAUGES.items()
        }
        for policy in self._policies().policies:
            status = self._shown(policy)
            if status is None:
                continue
            for name, value in _values(policy, status, now).items():
                if value is not None:
                    gauges[name].add_metric(policy.key, value)
            for state in ("selected", "reached", "failed", "waiting"):
                gauges["engines"].add_metric((*policy.key, state), getattr(status, state))
        yield from gauges.values()

    def _held(self) -> Metric:
        family = GaugeMetricFamily(
            "cse_operator_held_since_timestamp_seconds",
            f"Since when policies have held an engine, by the reason that is shown {_EACH}.",
            labels=("engine_namespace", "name", "reason", "policy"),
        )
        for resource in self._cache:
            member, held = resource.member, resource.raw_status.get("held") or ()
            if member.held_since is not None and held:
                first = held[0]
                labels = (first.get("reason", ""), first.get("policy") or "")
                since = member.held_since.timestamp()
                family.add_metric((member.namespace, member.name, *labels), since)
        return family


_GAUGES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "gate_open": (f"1 while a policy's times let engines start, else 0 {_LEADER}.", _POLICY),
    "valid": (f"1 while the operator can evaluate a policy, else 0 {_LEADER}.", _POLICY),
    "next_open_timestamp_seconds": (f"When a closed policy opens next {_LEADER}.", _POLICY),
    "never_opens": (f"1 while a policy does not open within 400 days {_LEADER}.", _POLICY),
    "freeze_ends_timestamp_seconds": (f"When the freeze of a policy is over {_LEADER}.", _POLICY),
    "in_flight": (f"Engines of a policy that are in flight {_LEADER}.", _POLICY),
    "limit": (f"The maxConcurrent of a policy {_LEADER}.", _POLICY),
    "failures_exceeded": (
        f"1 while more engines failed than the policy's maxFailures, else 0 {_LEADER}.",
        _POLICY,
    ),
    "engines": (f"Engines of a policy by state {_LEADER}.", (*_POLICY, "state")),
}


def _values(policy: Policy, status: PolicyStatus, now: datetime) -> dict[str, float | None]:
    told = {condition.type: condition.status for condition in status.conditions}
    exceeded = policy.max_failures is not None and status.failed > policy.max_failures
    freeze = policy.freezes.at(now)
    frozen = None if freeze.open else freeze.until
    return {
        "gate_open": float(status.gate == "Open"),
        "valid": float(told.get("Valid") == "True"),
        "next_open_timestamp_seconds": _timestamp(status.next_open),
        "never_opens": float("NeverOpens" in told),
        "freeze_ends_timestamp_seconds": _timestamp(frozen),
        "in_flight": status.in_flight,
        "limit": policy.spec.max_concurrent,
        "failures_exceeded": float(exceeded),
    }


def _timestamp(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None
