"""The models: what they accept, and how a status is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from cse_operator.api.spec import Spec
from cse_operator.api.status import Phase, Status
from cse_operator.api.upgrade_record import Action, HistoryEntry, Result, UpgradeRecord

SPEC: dict[str, Any] = {
    "region": "cn-north-4",
    "projectId": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "engineId": "891bf21a-4024-4f47-b38c-bd259ca8f10a",
    "version": "2.4.0",
    "credentialsRef": {"name": "huaweicloud"},
}


def test_a_spec_needs_no_more_than_the_engine_the_version_and_the_credentials():
    spec = Spec.model_validate(SPEC)
    assert (spec.suspend, spec.upgrade.timeout, spec.upgrade.retry_limit) == (False, "2h", 1)
    assert spec.enterprise_project_id is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", ""),
        ("version", "2" * 25),
        ("version", "2.4.0 "),
        ("version", "2.4.0\n"),
        ("version", "-2"),
        ("engineId", "../../v3/evil"),
        ("engineId", ".."),
        ("engineId", "a/b"),
        ("engineId", "a%2fb"),
        ("engineId", "a?b"),
        ("engineId", "e\n"),
        ("engineId", ""),
        ("projectId", "a/../b"),
        ("projectId", "."),
        ("region", "evil.example.com/"),
        ("region", "cn-north-4.evil"),
        ("region", "CN-NORTH-4"),
        ("region", "north"),
        ("enterpriseProjectId", "0\r\nX-Evil: 1"),
        ("credentialsRef", {"name": "../other"}),
        ("credentialsRef", {}),
        ("upgrade", {"timeout": "soon"}),
        ("upgrade", {"retryLimit": -1}),
        ("upgrade", {"retryLimit": 11}),
    ],
)
def test_a_spec_that_could_leave_its_place_is_refused(field, value):
    with pytest.raises(ValidationError, match=field):
        Spec.model_validate(SPEC | {field: value})


@pytest.mark.parametrize("version", ["2.4.0", "2.1.0.16", "2.4.0-rc1", "2.5.0.SPC100", "2.4.0_b+c"])
def test_versions_of_all_known_kinds_are_accepted(version):
    assert Spec.model_validate(SPEC | {"version": version}).version == version


@pytest.mark.parametrize("version", ["v2.4.0", "V2.4.0", "2.4", "2", "latest", "2.4.x", "2.4.0rc1"])
def test_a_version_that_the_vendor_would_not_write_so_is_refused_with_advice(version):
    with pytest.raises(ValidationError, match="no leading v, such as"):
        Spec.model_validate(SPEC | {"version": version})


def test_fields_of_a_later_version_are_not_in_the_way():
    assert Spec.model_validate(SPEC | {"later": {"field": 1}}).version == "2.4.0"


def test_a_status_is_stored_in_whole_seconds_of_utc_without_what_is_not_set():
    moment = datetime(2026, 1, 1, 20, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=8)))
    record = UpgradeRecord(action=Action.UPGRADE, wanted_version="2.4.0", requested_at=moment)
    stored = Status(observed_generation=1, phase=Phase.SUBMITTING, upgrade=record).to_json()
    assert stored == {
        "observedGeneration": 1,
        "phase": "Submitting",
        "upgrade": {
            "minReader": 1,
            "action": "Upgrade",
            "wantedVersion": "2.4.0",
            "requestedAt": "2026-01-01T12:00:00Z",
            "attempts": 1,
            "retries": 0,
        },
    }


@pytest.mark.parametrize("year", [1, 999, 1970, 9998])
def test_a_moment_of_any_year_is_read_back_as_it_was_stored(year):
    moment = datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)
    entry = HistoryEntry(result=Result.SUCCEEDED, finished_at=moment)
    status = Status(history=(entry,))
    assert Status.model_validate(status.to_json()) == status


def test_the_status_of_a_new_resource_is_read_as_nothing_observed():
    status = Status.model_validate({"observedGeneration": -1, "phase": "Pending"})
    assert status.ready is None
    assert status.upgrade is None
