"""Makes the page of metrics from the metrics that the operator exposes."""  # noqa: INP001

from __future__ import annotations

import live_manifests

from cse_operator.api.policy import PolicyStatus
from cse_operator.api.upgrade_record import Result
from cse_operator.core.fleet import Fleet as PolicyFleet
from cse_operator.core.policies import PolicySet
from cse_operator.core.policy_status import policy_status
from cse_operator.runtime.cache import Cache
from cse_operator.runtime.metrics import Metrics
from cse_operator.runtime.ownership import Ownership
from cse_operator.runtime.policy_metrics import PolicyMetrics
from cse_operator.runtime.resource_metrics import ResourceMetrics, Sources

HEAD = """\
<!-- Generated from the code by `make generate`. -->
# Metrics

The operator serves them on `/metrics` of the address `--listen`. No label can grow without bound:
operations, outcomes, results and reasons are enumerations, and series with a resource's name exist
only up to `--metrics-resource-limit` resources (1,000 by default). Beyond the limit none of these
series is shown, because a part of them would mislead. Of several replicas, only the leader shows
the resources and the queue. A standby shows its own work and `cse_operator_leader 0`, so sums count
no resource twice. `deploy/monitoring` has alerts and a dashboard for the metrics.

| metric | type | labels | meaning |
|---|---|---|---|
"""
_HIDDEN = {"le"}
_SUFFIX = {"counter": "_total", "info": "_info"}


def render() -> str:
    """Return the page."""
    rows = []
    for family in sorted(_exposed().registry.collect(), key=lambda family: family.name):
        labels = {label for sample in family.samples for label in sample.labels} - _HIDDEN
        names = ", ".join(f"`{label}`" for label in sorted(labels))
        name = family.name + _SUFFIX.get(family.type, "")
        rows.append(f"| `{name}` | {family.type} | {names} | {family.documentation} |")
    return HEAD + "\n".join(rows) + "\n"


def _exposed() -> Metrics:
    """Return metrics in which each event has happened once, so that all labels exist."""
    metrics, cache = Metrics(), Cache(Ownership(grace=35.0), lambda region: region)
    cache.watched(live_manifests.live("upgrading"))
    metrics.cloud_call("ShowEngine", "Success", 0.1)
    metrics.reconciled(0.1)
    metrics.reconcile_error("kubernetes")
    metrics.queue_wait(0.1)
    metrics.transition("Upgrading")
    metrics.upgrade_ended(Result.SUCCEEDED, 1.0)
    sources = Sources(
        cache=cache,
        queue_depth=lambda: 0,
        backoff_depth=lambda: 0,
        resync_age=lambda: 0.0,
        skipped_namespaces=lambda: 0,
        start_wait=lambda: 0.0,
        watch_starts=lambda: 1,
        tokens_obtained=lambda: 0,
        throttled_seconds=lambda: 0.0,
        events_lost=lambda: 0,
        leading=lambda: True,
    )
    metrics.add(ResourceMetrics(sources, resource_limit=1))
    metrics.window_missed("UpgradePolicy", "payments", "production")
    metrics.add(_of_policies())
    return metrics


def _of_policies() -> PolicyMetrics:
    """Return the metrics of a frozen policy that holds an engine."""
    cache = Cache(Ownership(grace=35.0), lambda region: region)
    cache.watched(live_manifests.live("held-by-a-freeze"))
    policies = PolicySet((live_manifests.FROZEN,))

    members = [resource.member for resource in cache]
    fleet = PolicyFleet(members, policies, live_manifests.NOW)
    return PolicyMetrics(
        lambda: policies,
        lambda policy: policy_status(policy, fleet, PolicyStatus()),
        cache,
        lambda: True,
        resource_limit=1,
        clock=lambda: live_manifests.NOW,
    )
