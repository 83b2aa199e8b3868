"""The merge patch that turns one status into another."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cse_operator.kube.status_writer import merge_patch

SCALARS = st.booleans() | st.integers() | st.text("xyz", max_size=3)
NO_TIMING = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
WITH_NULLS_IN_LISTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner | st.none(), max_size=3)
        | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), WITH_NULLS_IN_LISTS, max_size=4)


def applied(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = applied(result.get(name), value)
    return result


@NO_TIMING
@given(old=OBJECTS, new=OBJECTS)
def test_applied_to_the_old_status_it_gives_the_new_one(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    assert applied(old, merge_patch(old, new)) == new


@NO_TIMING
@given(status=OBJECTS)
def test_nothing_changed_is_an_empty_patch(status: dict[str, Any]) -> None:
    assert merge_patch(status, status) == {}


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({}, {"phase": "Pending"}, {"phase": "Pending"}),
        ({"jobId": 1, "phase": "Upgrading"}, {"phase": "Upgrading"}, {"jobId": None}),
        ({"upgrade": {"a": 1, "b": 2}}, {"upgrade": {"a": 1, "b": 3}}, {"upgrade": {"b": 3}}),
        ({"upgrade": {"a": 1}}, {"upgrade": {}}, {"upgrade": {"a": None}}),
        ({}, {"engine": {}}, {"engine": {}}),
        ({"history": [1, 2]}, {"history": [3, 1, 2]}, {"history": [3, 1, 2]}),
        ({"engine": 1}, {"engine": {"name": "a"}}, {"engine": {"name": "a"}}),
        ({"a": 1}, {"a": None}, {"a": None}),
        ({}, {"a": None}, {}),
    ],
)
def test_it_says_only_what_changed(
    old: dict[str, Any], new: dict[str, Any], patch: dict[str, Any]
) -> None:
    assert merge_patch(old, new) == patch
