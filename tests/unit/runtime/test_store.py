"""The store: stale objects are no news, a new uid is a new resource, one engine has one driver."""

from __future__ import annotations

import itertools

import pytest

from cse_operator.core.observed import Rival
from cse_operator.runtime.store import InvalidSpecError, News, ResourceStore
from support.fake_vendor import job_view
from support.resources import Object, changed, deleting, stored

KEY = "payments/orders"

INTENT = {
    "action": "Upgrade",
    "wantedVersion": "2.4.0",
    "requestedAt": "2025-06-01T12:00:00Z",
    "attempts": 1,
    "retries": 0,
}
OPEN = {"observedGeneration": 1, "upgrade": INTENT}
ENDED = {"observedGeneration": 1, "upgrade": {**INTENT, "jobId": 7, "result": "Succeeded"}}


def test_a_new_object_is_news_and_its_repetition_is_not() -> None:
    store = ResourceStore()
    obj = stored()
    assert store.put(obj) == (KEY, News.WISH)
    assert store.put(obj) == (KEY, News.NOTHING)
    assert len(store) == 1


def test_an_older_version_than_the_known_one_changes_nothing() -> None:
    store = ResourceStore()
    old = stored(version="2.4.0")
    new = changed(old, version="2.5.0")
    store.put(new)
    assert store.put(old)[1] is News.NOTHING
    tracked = store.get(KEY)
    assert tracked is not None
    assert tracked.parse().spec.version == "2.5.0"


def test_versions_are_compared_as_numbers() -> None:
    store = ResourceStore()
    old, new = stored(version="2.4.0"), stored(version="2.5.0")
    old["metadata"]["resourceVersion"], new["metadata"]["resourceVersion"] = "999", "1000"
    store.put(old)
    assert store.put(new)[1] is News.WISH


@pytest.mark.parametrize(
    ("change", "news"),
    [
        ({"version": "2.5.0"}, News.WISH),
        ({"annotations": {"cse-operator.io/reconcile-requested-at": "1"}}, News.WISH),
        ({"annotations": {"cse-operator.io/retry-requested-at": "1"}}, News.WISH),
        ({"status": {"observedGeneration": 1}}, News.STATUS),
        ({"annotations": {"example.com/owner": "alice"}}, News.NOTHING),
        ({}, News.NOTHING),
    ],
)
def test_only_what_decides_is_news(change: Object, news: News) -> None:
    store = ResourceStore()
    obj = stored()
    store.put(obj)
    assert store.put(changed(obj, **change))[1] is news


def test_a_deletion_that_was_asked_for_is_news() -> None:
    store = ResourceStore()
    obj = stored()
    store.put(obj)
    assert store.put(deleting(obj))[1] is News.WISH
    tracked = store.get(KEY)
    assert tracked is not None
    assert tracked.deleting


def test_what_is_noted_survives_a_new_version_and_not_a_new_uid() -> None:
    store = ResourceStore()
    obj = stored(uid="first")
    store.put(obj)
    tracked = store.get(KEY)
    assert tracked is not None
    tracked.notes.job = job_view()
    store.put(changed(obj, version="2.5.0"))
    assert store.get(KEY) is tracked
    assert tracked.notes.job is not None

    store.put(stored(uid="second"))
    successor = store.get(KEY)
    assert successor is not None
    assert successor is not tracked
    assert successor.notes.job is None


def test_a_late_deletion_of_a_predecessor_does_not_remove_the_successor() -> None:
    store = ResourceStore()
    store.put(stored(uid="first"))
    store.put(stored(uid="second"))
    assert store.remove(KEY, uid="first") is None
    assert store.get(KEY) is not None
    assert store.remove(KEY, uid="second") is not None
    assert store.get(KEY) is None


def test_a_resource_reads_as_it_was_written() -> None:
    store = ResourceStore()
    annotations = {"cse-operator.io/retry-requested-at": "now", "other": "kept out"}
    obj = stored(annotations=annotations, status={"observedGeneration": 1, "message": "größer"})
    store.put(obj)
    tracked = store.get(KEY)
    assert tracked is not None
    resource = tracked.parse()
    assert resource.spec.engine_id == obj["spec"]["engineId"]
    assert resource.resource_version == obj["metadata"]["resourceVersion"]
    assert (resource.retry_request, resource.reconcile_request) == ("now", None)
    assert resource.raw_status == obj["status"]
    assert resource.status.message == "größer"


def test_a_spec_that_does_not_fit_is_named_by_its_field_and_not_shown() -> None:
    store = ResourceStore()
    store.put(stored(version=["canary"]))
    tracked = store.get(KEY)
    assert tracked is not None
    with pytest.raises(InvalidSpecError, match=r"^spec\.version: ") as error:
        tracked.parse()
    assert "canary" not in str(error.value)


def test_a_status_that_cannot_be_read_counts_as_none() -> None:
    store = ResourceStore()
    store.put(stored(status={"conditions": "mangled"}))
    tracked = store.get(KEY)
    assert tracked is not None
    assert tracked.parse().status.observed_generation == -1


# -- one engine, several resources -----------------------------------------------------------


class Engine:
    """A store with resources of one engine, and whom it woke."""

    def __init__(self) -> None:
        self.woken: list[str] = []
        self.store = ResourceStore(wake=self.woken.append)

    def put(self, obj: Object) -> Object:
        self.store.put(obj)
        return obj

    def take_woken(self) -> set[str]:
        woken, self.woken[:] = set(self.woken), []
        return woken


def test_the_oldest_drives_whatever_the_order_of_arrival() -> None:
    moments = {
        "a": "2025-06-01T12:00:02Z",
        "b": "2025-06-01T12:00:01Z",
        "c": "2025-06-01T12:00:03Z",
    }
    for order in itertools.permutations(moments):
        engine = Engine()
        for name in order:
            engine.put(stored(name, created=moments[name]))
        rivals = {name: engine.store.rival(f"payments/{name}") for name in moments}
        assert rivals["b"] is None
        assert rivals["a"] == rivals["c"] == Rival("b")


def test_of_two_made_in_the_same_second_the_uid_decides() -> None:
    engine = Engine()
    engine.put(stored("a", uid="2"))
    engine.put(stored("b", uid="1"))
    assert engine.store.rival("payments/a") == Rival("b")
    assert engine.store.rival("payments/b") is None


def test_a_driver_in_another_namespace_is_not_named() -> None:
    engine = Engine()
    engine.put(stored("a", namespace="shipping", uid="1"))
    engine.put(stored("b", namespace="payments", uid="2"))
    assert engine.store.rival("payments/b") == Rival(None)


@pytest.mark.parametrize("field", ["region", "projectId", "engineId"])
def test_resources_of_different_engines_are_no_rivals(field: str) -> None:
    engine = Engine()
    engine.put(stored("a", uid="1"))
    other = stored("b", uid="2")
    other["spec"][field] = "eu-west-0"
    engine.put(other)
    assert engine.store.rival("payments/b") is None
    assert engine.take_woken() == set()


def test_who_has_begun_an_upgrade_drives_until_it_is_over() -> None:
    engine = Engine()
    younger = engine.put(stored("younger", uid="2", status=OPEN))
    engine.put(stored("older", uid="1"))
    assert engine.store.rival("payments/younger") is None
    rival = engine.store.rival("payments/older")
    assert rival is not None
    assert (rival.name, rival.upgrading) == ("younger", True)

    engine.put(changed(younger, status=ENDED))
    assert engine.store.rival("payments/older") is None
    assert engine.store.rival("payments/younger") == Rival("older")


def test_of_two_open_upgrades_the_older_resource_ends_its_own_first() -> None:
    engine = Engine()
    engine.put(stored("younger", uid="2", status=OPEN))
    engine.put(stored("older", uid="1", status=OPEN))
    assert engine.store.rival("payments/older") is None
    assert engine.store.rival("payments/younger") == Rival("older")


def test_whoever_may_have_another_rival_now_is_woken() -> None:
    engine = Engine()
    first = engine.put(stored("first", uid="1"))
    assert engine.take_woken() == set()
    second = engine.put(stored("second", uid="2"))
    assert engine.take_woken() == {"payments/first"}

    first = engine.put(changed(first, version="2.5.0"))
    assert engine.take_woken() == set()
    first = engine.put(changed(first, status=OPEN))
    assert engine.take_woken() == {"payments/first", "payments/second"}
    engine.put(changed(first, status=ENDED))
    assert engine.take_woken() == {"payments/first", "payments/second"}

    engine.store.remove("payments/first")
    assert engine.take_woken() == {"payments/second"}
    engine.put(changed(second, status=OPEN))
    assert engine.take_woken() == set()
    assert engine.store.rival("payments/second") is None
