"""Reading a status that another build or a person wrote."""

from __future__ import annotations

import copy
from enum import StrEnum
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cse_operator.api.failure_kind import FailureKind
from cse_operator.api.status import Condition, Phase, Status
from cse_operator.api.status_reader import read_status
from cse_operator.api.upgrade_record import READER, Action, Result

RECORD: dict[str, Any] = {
    "minReader": 1,
    "action": "Upgrade",
    "wantedVersion": "2.4.0",
    "fromVersion": "2.3.0",
    "targetVersion": "2.4.0",
    "requestedAt": "2026-01-01T11:59:58Z",
    "baselineJobId": 100,
    "attempts": 1,
    "retries": 0,
}
CONDITION: dict[str, Any] = {
    "type": "Ready",
    "status": "False",
    "observedGeneration": 3,
    "lastTransitionTime": "2026-01-01T11:59:58Z",
    "reason": "Submitting",
    "message": "calling Upgrade",
}
STORED: dict[str, Any] = {
    "observedGeneration": 3,
    "phase": "Submitting",
    "conditions": [CONDITION],
    "upgrade": RECORD,
}


def stored(**record: Any) -> dict[str, Any]:
    return copy.deepcopy(STORED) | {"upgrade": RECORD | record}


def test_what_this_build_wrote_is_read_as_it_was():
    status = read_status(STORED)
    assert status.unreadable is None
    assert status.to_json() == STORED


UNREADABLE = {
    "an action that is not known": ({"action": "Rollback"}, "status.upgrade.action is not"),
    "a result that is not known": (
        {"jobId": 101, "result": "Cancelled"},
        "status.upgrade.result is not understood",
    ),
    "a failure that is not known": (
        {"error": {"kind": "Quota", "message": "no"}},
        "status.upgrade.error.kind is not understood",
    ),
    "a reader of a later build": ({"minReader": 2}, "asks for reader 2, and this build is reader"),
    "a reader that is no number": ({"minReader": "new"}, "asks for reader 'new'"),
    "a time that is none": ({"requestedAt": "soon"}, "status.upgrade.requestedAt is not"),
    "no wanted version": ({"wantedVersion": None}, "status.upgrade.wantedVersion is not"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_record_that_is_not_understood_is_unreadable_and_written_back_as_it_came(case):
    changes, why = UNREADABLE[case]
    raw = stored(**changes)
    status = read_status(raw)
    assert status.unreadable is not None
    assert why in status.unreadable
    assert status.to_json() == raw
    moved_on = status.model_copy(update={"phase": Phase.FAILED, "upgrade": None})
    assert moved_on.unreadable == status.unreadable
    assert moved_on.to_json()["upgrade"] == raw["upgrade"]


@pytest.mark.parametrize("record", ["text", [], 7, True])
def test_a_record_that_is_no_object_is_unreadable(record):
    status = read_status(STORED | {"upgrade": record})
    assert status.unreadable == "status.upgrade is not an object"
    assert status.to_json()["upgrade"] == record


@pytest.mark.parametrize("raw", ["text", [], 7])
def test_a_status_that_is_no_object_is_unreadable(raw):
    assert read_status(raw).unreadable == "status is not an object"


def test_no_status_is_nothing_observed():
    assert read_status(None) == read_status({}) == Status()


KEPT = {
    "a field of a newer build": {"schedule": {"window": "sat"}},
    "a phase of a newer build": {"phase": "Paused"},
    "a result at the top of a newer build": {"result": "Cancelled"},
    "a condition of a newer build": {
        "conditions": [CONDITION, CONDITION | {"type": "Degraded", "extra": 1}]
    },
    "a longer history": {
        "history": [{"result": "Succeeded", "jobId": number} for number in range(11)]
    },
    "an ended upgrade of a newer build": {
        "history": [{"result": "Cancelled", "jobId": 7}],
    },
}


@pytest.mark.parametrize("case", KEPT)
def test_anything_else_that_is_not_understood_is_kept_and_ignored(case):
    raw = STORED | KEPT[case]
    status = read_status(copy.deepcopy(raw))
    assert status.unreadable is None
    assert status.upgrade is not None
    assert status.upgrade.unanswered
    assert status.to_json() == raw


def test_a_field_of_a_newer_build_in_the_record_is_kept_when_the_record_moves_on():
    status = read_status(stored(approvedBy="alice"))
    assert status.upgrade is not None
    moved = status.upgrade.model_copy(update={"job_id": 101})
    assert status.model_copy(update={"upgrade": moved}).to_json()["upgrade"] == RECORD | {
        "approvedBy": "alice",
        "jobId": 101,
    }


def test_our_own_condition_in_a_strange_form_is_written_anew_and_not_doubled():
    raw = STORED | {"conditions": [CONDITION | {"status": "Maybe"}]}
    status = read_status(copy.deepcopy(raw))
    fresh = status.model_copy(update={"conditions": (Condition.model_validate(CONDITION),)})
    assert fresh.to_json()["conditions"] == [CONDITION]


@pytest.mark.parametrize("field", ["lastHandledRetryAt", "settledVersions"])
def test_a_field_from_whose_loss_a_call_could_follow_stops_all_calls(field):
    assert read_status(STORED | {field: {"at": "9:00"}}).unreadable is not None


@given(
    raw=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*STORED, "history", "jobId", "x", *RECORD]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_no_status_whatever_it_holds_ends_the_reading(raw):
    status = read_status(raw)
    if isinstance(raw, dict) and raw.get("upgrade") is not None:
        readable = status.upgrade is not None
        assert readable != (status.unreadable is not None)


WORDS_OF_READER_1 = {
    Phase: {"Pending", "Waiting", "Submitting", "Upgrading", "UpToDate", "Failed"},
    Action: {"Upgrade", "Retry", "Adopted"},
    Result: {"Succeeded", "Failed", "TimedOut", "Rejected", "Unknown"},
    FailureKind: {
        "Transient",
        "Throttled",
        "Busy",
        "Rejected",
        "Unauthenticated",
        "Forbidden",
        "NotFound",
        "OutcomeUnknown",
        "NotSent",
        "CredentialsMissing",
        "CredentialsInvalid",
        "RegionNotAllowed",
    },
}
FIELDS_OF_READER_1 = {
    "minReader", "action", "wantedVersion", "answeredVersions", "fromVersion", "targetVersion",
    "requestedAt", "baselineJobId", "baselineAt", "attempts", "retries", "retryDue",
    "retryRequest", "jobId", "ownJob", "jobStatus", "progress", "startedAt", "finishedAt",
    "result", "error",
}  # fmt: skip


@pytest.mark.parametrize("words", WORDS_OF_READER_1, ids=lambda words: words.__name__)
def test_a_new_word_needs_a_new_reader(words: type[StrEnum]):
    """An older build does not know a new word: raise READER, and add a row for the new reader."""
    assert READER == 1
    assert set(words) == WORDS_OF_READER_1[words]


def test_a_new_condition_type_needs_a_new_reader():
    types = get_args(Condition.model_fields["type"].annotation)
    assert READER == 1
    assert set(types) == {"Ready", "Reconciling", "Stalled"}


def test_a_new_fact_in_a_record_is_optional_so_that_its_loss_makes_no_call():
    schema = Status.model_json_schema(by_alias=True)["$defs"]["UpgradeRecord"]
    added = set(schema["properties"]) - FIELDS_OF_READER_1
    assert not added & set(schema["required"]), "a record without it could not be read any more"
    assert set(schema["properties"]) >= FIELDS_OF_READER_1
