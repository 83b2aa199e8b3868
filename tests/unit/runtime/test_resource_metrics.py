"""The resources in a scrape: each appears once, however many replicas there are."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from cse_operator.runtime.cache import Cache
from cse_operator.runtime.ownership import Ownership
from cse_operator.runtime.resource_metrics import ResourceMetrics, Sources
from support.resources import stored

OF_THE_LEADER = {
    "cse_operator_resources",
    "cse_operator_queue_depth",
    "cse_operator_backoff_depth",
    "cse_operator_engine",
    "cse_operator_condition",
    "cse_operator_not_ready_seconds",
}


def shown(*, leading: bool, resource_limit: int = 10) -> dict[str, list[float]]:
    """Return each metric's values for an operator with two resources, one of them queued."""
    cache = Cache(Ownership(grace=30.0), lambda region: region)
    for name in ("orders", "payments"):
        cache.watched(stored(name))
    sources = Sources(
        cache=cache,
        queue_depth=lambda: 1,
        backoff_depth=lambda: 5,
        resync_age=lambda: 6.0,
        skipped_namespaces=lambda: 7,
        start_wait=lambda: 8.0,
        watch_starts=lambda: 9,
        tokens_obtained=lambda: 2,
        throttled_seconds=lambda: 3.0,
        events_lost=lambda: 4,
        leading=lambda: leading,
    )
    registry = CollectorRegistry()
    registry.register(ResourceMetrics(sources, resource_limit=resource_limit))
    return {
        family.name: [sample.value for sample in family.samples] for family in registry.collect()
    }


def test_a_standby_shows_neither_resources_nor_a_queue() -> None:
    leader, standby = shown(leading=True), shown(leading=False)

    assert leader.keys() - standby.keys() == OF_THE_LEADER
    assert leader["cse_operator_queue_depth"] == [1]
    assert (leader["cse_operator_leader"], standby["cse_operator_leader"]) == ([1], [0])


def test_a_standby_shows_what_it_has_done_itself() -> None:
    standby = shown(leading=False)

    assert standby["cse_operator_tokens_obtained"] == [2]
    assert standby["cse_operator_throttled_seconds"] == [3]
    assert standby["cse_operator_events_lost"] == [4]
    assert standby["cse_operator_resync_age_seconds"] == [6]
    assert standby["cse_operator_skipped_namespaces"] == [7]
    assert standby["cse_operator_start_wait_seconds"] == [8]
    assert standby["cse_operator_watch_starts"] == [9]


def test_of_more_resources_than_the_limit_none_is_shown_but_all_are_counted() -> None:
    few = shown(leading=True, resource_limit=2)
    many = shown(leading=True, resource_limit=1)

    assert few["cse_operator_engine"] == [1, 1]
    assert few.keys() - many.keys() == {
        "cse_operator_engine",
        "cse_operator_condition",
        "cse_operator_not_ready_seconds",
    }
    assert many["cse_operator_resources"] == [2]
