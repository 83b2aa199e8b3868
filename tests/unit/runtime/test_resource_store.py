"""What the store makes of what the API server says: news, echoes, rivals."""

from __future__ import annotations

from typing import Any

import pytest

from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.observation import JobView
from cse_operator.runtime.reconcile import take_news
from cse_operator.runtime.store import InvalidSpecError, News, ResourceStore, Tracked

SPEC = {
    "region": "cn-north-4",
    "projectId": "p1",
    "engineId": "e1",
    "version": "2.4.0",
    "credentialsRef": {"name": "huaweicloud"},
}
UPGRADE = {
    "action": "Upgrade",
    "wantedVersion": "2.4.0",
    "requestedAt": "2026-03-14T02:00:00Z",
    "jobId": 17655,
}


def resource(
    name: str = "orders",
    *,
    version: int = 10,
    uid: str = "uid-1",
    namespace: str = "payments",
    created: str = "2026-03-14T01:00:00Z",
    **parts: Any,
) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": uid,
        "resourceVersion": str(version),
        "generation": parts.pop("generation", 1),
        "creationTimestamp": created,
        "annotations": parts.pop("annotations", {}),
        **parts.pop("metadata", {}),
    }
    return {"metadata": metadata, "spec": {**SPEC, **parts.pop("spec", {})}, **parts}


def stored(*resources: dict[str, Any]) -> ResourceStore:
    store = ResourceStore()
    for one in resources:
        store.put(one)
    return store


def tracked(store: ResourceStore, key: str = "payments/orders") -> Tracked:
    found = store.get(key)
    assert found is not None
    return found


def test_a_new_resource_is_news() -> None:
    assert ResourceStore().put(resource()) == ("payments/orders", News.WISH)


@pytest.mark.parametrize("version", [9, 10])
def test_an_echo_or_an_older_object_is_no_news_and_changes_nothing(version: int) -> None:
    store = stored(resource(version=10))
    old = resource(version=version, spec={"version": "2.3.0"}, generation=7)

    assert store.put(old) == ("payments/orders", News.NOTHING)
    assert tracked(store).parse().spec.version == "2.4.0"


def test_a_label_is_no_news_but_its_version_is_noted() -> None:
    store = stored(resource(version=10))

    assert store.put(resource(version=11, metadata={"labels": {"a": "b"}}))[1] is News.NOTHING
    assert tracked(store).version == 11


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"version": "2.5.0"}, "generation": 2},
        {"annotations": {"cse-operator.io/reconcile-requested-at": "now"}},
        {"annotations": {"cse-operator.io/retry-requested-at": "now"}},
        {"metadata": {"deletionTimestamp": "2026-03-14T03:00:00Z"}},
    ],
)
def test_a_spec_a_request_or_a_deletion_is_news(change: dict[str, Any]) -> None:
    store = stored(resource(version=10))

    assert store.put(resource(version=11, **change))[1] is News.WISH


def test_a_status_that_somebody_else_wrote_is_told_apart() -> None:
    store = stored(resource(version=10))

    assert store.put(resource(version=11, status={"phase": "Failed"}))[1] is News.STATUS


def test_a_resource_made_anew_has_nothing_of_the_old_one() -> None:
    store = stored(resource(version=10))
    tracked(store).notes.failures = 5

    assert store.put(resource(version=20, uid="uid-2"))[1] is News.WISH
    assert tracked(store).notes.failures == 0


def test_the_late_deletion_of_an_old_resource_leaves_the_new_one() -> None:
    store = stored(resource(version=20, uid="uid-2"))

    assert store.remove("payments/orders", uid="uid-1") is None
    assert store.get("payments/orders") is not None


def test_of_two_that_name_one_engine_the_older_drives() -> None:
    store = stored(
        resource("old", created="2026-01-01T00:00:00Z", uid="b"),
        resource("new", created="2026-02-01T00:00:00Z", uid="a"),
    )

    rival = store.rival("payments/new")
    assert rival is not None
    assert (rival.name, rival.upgrading) == ("old", False)
    assert store.rival("payments/old") is None


def test_who_began_an_upgrade_ends_it_also_when_it_is_younger() -> None:
    store = stored(
        resource("old", created="2026-01-01T00:00:00Z", uid="a"),
        resource("new", created="2026-02-01T00:00:00Z", uid="b", status={"upgrade": UPGRADE}),
    )

    rival = store.rival("payments/old")
    assert rival is not None
    assert (rival.name, rival.upgrading) == ("new", True)


def test_a_rival_of_another_namespace_has_no_name() -> None:
    store = stored(
        resource("old", namespace="secret-team", created="2026-01-01T00:00:00Z", uid="a"),
        resource("new", created="2026-02-01T00:00:00Z", uid="b"),
    )

    rival = store.rival("payments/new")
    assert rival is not None
    assert rival.name is None


def test_the_others_are_woken_when_the_driver_goes() -> None:
    woken: list[str] = []
    store = ResourceStore(wake=woken.append)
    store.put(resource("old", created="2026-01-01T00:00:00Z", uid="a"))
    store.put(resource("new", created="2026-02-01T00:00:00Z", uid="b"))
    woken.clear()

    store.remove("payments/old")

    assert woken == ["payments/new"]


def test_a_spec_that_does_not_fit_is_named_without_its_value() -> None:
    store = stored(resource(spec={"version": "x" * 25}))

    with pytest.raises(InvalidSpecError, match=r"spec\.version: ") as caught:
        tracked(store).parse()
    assert "x" * 25 not in str(caught.value)


def test_a_status_that_cannot_be_read_counts_as_none() -> None:
    store = stored(resource(status={"observedGeneration": "nonsense"}))

    assert tracked(store).parse_status().observed_generation == -1


def _job(status: str, job_id: int = 17655) -> JobView:
    return JobView(job_id, "e1", "Upgrade", status, None, None, None, None, None)


def test_news_of_a_job_end_a_row_of_failures() -> None:
    one = tracked(stored(resource(status={"upgrade": UPGRADE})))
    take_news(one, 17655, Failure(FailureKind.TRANSIENT, "cut off"))
    take_news(one, 17655, Failure(FailureKind.TRANSIENT, "cut off"))
    assert one.notes.failures == 2

    take_news(one, 17655, _job("Executing"))

    assert (one.notes.failures, one.notes.failure) == (0, None)


def test_a_job_that_is_gone_counts_only_when_it_is_the_recorded_one() -> None:
    one = tracked(stored(resource(status={"upgrade": UPGRADE})))
    gone = Failure(FailureKind.NOT_FOUND, "no such job")

    take_news(one, 11111, gone)
    assert one.notes.missing_job is None

    take_news(one, 17655, gone)
    assert one.notes.missing_job == 17655
    assert one.notes.job_seen > 0


def test_an_object_is_known_until_a_newer_version_of_it_comes() -> None:
    store = ResourceStore()
    assert not store.knows(resource(version=5))
    store.put(resource(version=5))
    assert store.knows(resource(version=5))
    assert store.knows(resource(version=4))
    assert not store.knows(resource(version=6))


def test_what_comes_in_during_a_step_is_there_during_and_after_it() -> None:
    store = ResourceStore()
    store.put(resource(version=1, spec={"version": "2.4.0"}))
    one = tracked(store)
    with one.at_work():
        assert one.parse().spec.version == "2.4.0"
        store.put(resource(version=2, spec={"version": "2.5.0"}))
        assert one.parse().spec.version == "2.5.0"
    assert one.parse().spec.version == "2.5.0"
    assert one.version == 2


def test_notes_of_a_ready_resource_are_dropped_and_those_of_a_troubled_one_stay() -> None:
    store = ResourceStore()
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    store.put(resource(version=1, status=ready))
    one = tracked(store)
    with one.at_work():
        one.notes.enter(one.parse_status(), 7.0)
        one.raw  # noqa: B018 - the step reads it
    assert one.notes.stage is None
    with one.at_work():
        one.notes.enter(one.parse_status(), 7.0)
        one.notes.failures = 2
    assert one.notes.failures == 2


@pytest.mark.parametrize("elsewhere", [{"region": "cn-south-1"}, {"projectId": "p2"}])
def test_the_same_engine_id_elsewhere_is_another_engine(elsewhere: dict[str, str]) -> None:
    store = stored(
        resource("old", uid="uid-1"),
        resource("new", uid="uid-2", spec=elsewhere, created="2026-03-14T02:00:00Z"),
    )
    assert store.rival("payments/new") is None
    store.put(resource("newest", uid="uid-3", spec=elsewhere, created="2026-03-14T03:00:00Z"))
    rival = store.rival("payments/newest")
    assert rival is not None
    assert rival.name == "new"
    store.remove("payments/new")
    assert store.rival("payments/newest") is None


def test_a_step_that_changes_nothing_leaves_what_is_packed_as_it_is() -> None:
    store = stored(resource(version=1))
    one = tracked(store)
    packed = one._packed
    with one.at_work():
        assert one.parse().spec.version == "2.4.0"
    assert one._packed is packed


def test_a_resource_that_comes_to_name_another_engine_is_worked_on_for_that_one() -> None:
    """No CRD of ours lets that happen; an altered one may."""
    store = stored(
        resource("old", uid="uid-1", version=1),
        resource("new", uid="uid-2", version=2, created="2026-03-14T02:00:00Z"),
    )
    tracked(store, "payments/new").notes.failures = 3
    moved = resource("new", uid="uid-2", version=3, created="2026-03-14T02:00:00Z")
    moved["spec"]["engineId"] = "e2"
    assert store.put(moved) == ("payments/new", News.WISH)
    one = tracked(store, "payments/new")
    assert one.parse().engine_id == one.parse().spec.engine_id == "e2"
    assert one.notes.failures == 0
    assert store.rival("payments/new") is None
