"""The cache: which differences are a change, which versions are stale, and what a list replaces."""

from __future__ import annotations

from typing import Any

import pytest

from cse_operator.api.names import APPROVED_VERSION
from cse_operator.runtime.cache import Cache, CachedResource, InvalidSpecError
from cse_operator.runtime.content import Change
from cse_operator.runtime.ownership import Ownership
from support.fake_vendor import job_view
from support.resources import Object, changed, deleting, stored

KEY = "payments/orders"


def make() -> Cache:
    return Cache(Ownership(grace=30.0), lambda region: f"https://{region}")


def cached(cache: Cache, key: str = KEY) -> CachedResource:
    found = cache.get(key)
    assert found is not None
    return found


def with_version(obj: Object, version: int) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


def test_a_new_object_is_a_change_and_its_repetition_is_not() -> None:
    cache, obj = make(), stored()
    assert cache.watched(obj) == (KEY, Change.DESIRED)
    assert cache.watched(obj) == (KEY, Change.NOTHING)
    assert len(cache) == 1


def test_an_older_version_than_the_known_one_changes_nothing_when_watched() -> None:
    cache, old = make(), stored(version="2.4.0")
    cache.watched(changed(old, version="2.5.0"))
    assert cache.watched(old)[1] is Change.NOTHING
    assert cached(cache).parse().spec.version == "2.5.0"


def test_versions_are_compared_as_numbers() -> None:
    cache, obj = make(), stored(version="2.4.0")
    cache.watched(with_version(obj, 999))
    assert cache.watched(with_version(changed(obj, version="2.5.0"), 1000))[1] is Change.DESIRED


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ({"version": "2.5.0"}, Change.DESIRED),
        ({"annotations": {"cse-operator.io/reconcile-requested-at": "1"}}, Change.DESIRED),
        ({"annotations": {"cse-operator.io/retry-requested-at": "1"}}, Change.DESIRED),
        ({"status": {"observedGeneration": 1}}, Change.STATUS),
        ({"annotations": {"example.com/owner": "alice"}}, Change.NOTHING),
        ({}, Change.NOTHING),
    ],
)
def test_only_fields_that_affect_a_decision_are_a_change(edit: Object, expected: Change) -> None:
    cache, obj = make(), stored()
    cache.watched(obj)
    assert cache.watched(changed(obj, **edit))[1] is expected


def test_labels_and_a_deletion_are_changes() -> None:
    cache, obj = make(), stored()
    cache.watched(obj)
    labelled = changed(obj)
    labelled["metadata"]["labels"] = {"tier": "production"}
    assert cache.watched(labelled)[1] is Change.DESIRED
    assert cache.watched(deleting(labelled))[1] is Change.DESIRED
    assert cached(cache).deleting


def test_of_too_many_labels_only_a_digest_is_kept_and_a_change_is_noticed() -> None:
    cache, obj = make(), stored()
    few = {f"label-{number}": "x" for number in range(100)}
    cache.watched(with_version(with_labels(obj, few), 2))
    assert cached(cache).member.labels == frozenset(few.items())
    cache.watched(with_version(with_labels(obj, {**few, "one-more": "x"}), 3))
    assert cached(cache).member.labels is None
    other = with_labels(obj, {**few, "one-more": "y"})
    assert cache.watched(with_version(other, 4))[1] is Change.DESIRED


def with_labels(obj: Object, labels: dict[str, str]) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "labels": labels}}


def test_of_a_long_annotation_only_a_digest_is_kept() -> None:
    cache = make()
    cache.watched(stored(annotations={"cse-operator.io/retry-requested-at": "\ud800" * 200_000}))
    request = cached(cache).parse().retry_request
    assert request is not None
    assert request.startswith("sha256:")
    assert len(request) < 100


def test_notes_survive_a_new_version_but_neither_a_new_uid_nor_another_engine() -> None:
    cache, obj = make(), stored(uid="first")
    cache.watched(obj)
    first = cached(cache)
    first.notes.job_shown(job_view(), 0.0)
    cache.watched(changed(obj, version="2.5.0"))
    assert cached(cache) is first
    cache.watched(changed(obj, engineId="another"))
    assert cached(cache).notes.job is None
    cached(cache).notes.job_shown(job_view(), 0.0)
    cache.watched(stored(uid="second"))
    assert cached(cache).notes.job is None


def test_a_late_deletion_of_a_predecessor_does_not_remove_the_successor() -> None:
    cache = make()
    cache.watched(stored(uid="first"))
    cache.watched(stored(uid="second"))
    assert not cache.remove(KEY, uid="first")
    assert cache.remove(KEY, uid="second")
    assert cache.get(KEY) is None


# -- lists -------------------------------------------------------------------------------------


def test_a_list_replaces_what_is_known_also_by_a_lower_version() -> None:
    cache, obj = make(), stored(version="2.5.0")
    cache.watched(with_version(obj, 500))
    restored = with_version(changed(obj, version="2.4.0"), 5)
    assert cache.replace(restored, asked=cache.now()) == (KEY, Change.DESIRED)
    assert cached(cache).parse().spec.version == "2.4.0"
    assert cached(cache).version == 5


def test_a_list_keeps_objects_that_were_watched_or_written_after_its_request() -> None:
    cache, obj = make(), stored()
    cache.watched(obj)
    for take_in in (cache.watched, cache.written):
        asked = cache.now()
        newer = changed(obj, status={"observedGeneration": 1})
        take_in(newer)
        assert cache.replace(obj, asked=asked)[1] is Change.NOTHING
        assert cached(cache).raw_status == {"observedGeneration": 1}
        obj = newer


def test_the_answer_to_a_write_brings_no_deleted_resource_back() -> None:
    cache, obj = make(), stored(uid="first")
    cache.watched(obj)
    cache.remove(KEY, uid="first")
    cache.written(changed(obj))
    assert cache.get(KEY) is None
    cache.watched(stored(uid="second"))
    cache.written(changed(obj))
    assert cached(cache).reference.uid == "second"


# -- reading -----------------------------------------------------------------------------------


def test_a_resource_reads_as_it_was_written() -> None:
    cache = make()
    annotations = {"cse-operator.io/retry-requested-at": "now", "other": "kept out"}
    obj = stored(annotations=annotations, status={"observedGeneration": 1, "message": "größer"})
    cache.watched(obj)
    resource = cached(cache).parse()
    assert resource.spec.engine_id == obj["spec"]["engineId"]
    assert resource.resource_version == obj["metadata"]["resourceVersion"]
    assert (resource.retry_request, resource.reconcile_request) == ("now", None)
    assert resource.raw_status == obj["status"]
    assert resource.status.message == "größer"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2.4.0", "2.4.0"),
        ("2.4.0-rc1", "2.4.0-rc1"),
        ("", None),
        ("x)\n2026-12-01 ERROR payments/prod: deleted\x1b[31m", None),
        ("2.4.0\n", None),
        ("\u202e0.4.2", None),
        ("2" * 25, None),
    ],
)
def test_what_is_no_version_approves_none_and_is_not_repeated(
    written: str, read: str | None
) -> None:
    cache = make()
    cache.watched(stored(annotations={APPROVED_VERSION: written}))
    assert cached(cache).member.approved == read


def test_a_spec_that_does_not_fit_is_named_by_its_field_and_not_shown() -> None:
    cache = make()
    cache.watched(stored(version=["canary"]))
    with pytest.raises(InvalidSpecError, match=r"^spec\.version: ") as error:
        cached(cache).parse()
    assert "canary" not in str(error.value)


def test_a_status_that_cannot_be_read_counts_as_none() -> None:
    cache = make()
    cache.watched(stored(status={"conditions": "mangled"}))
    assert cached(cache).parse().status.observed_generation == -1


@pytest.mark.parametrize("moment", ["0000-01-01T00:00:00Z", "soon", 7])
def test_an_unreadable_transition_time_does_not_break_the_metrics(moment: Any) -> None:
    cache = make()
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": moment}
    cache.watched(stored(status={"conditions": [ready]}))
    assert cached(cache).summary.not_ready_since is None
