"""The recorder: one Event and one log line for each transition, none for anything else."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from cse_operator.api.reason_facts import FACTS
from cse_operator.api.reasons import Reason
from cse_operator.api.status import Status
from cse_operator.api.upgrade_record import Action, HistoryEntry, Result, UpgradeRecord
from cse_operator.core.status import conditions
from cse_operator.kube.references import ObjectReference
from cse_operator.runtime.metrics import Metrics
from cse_operator.runtime.recorder import Recorder

REFERENCE = ObjectReference("payments", "orders", "uid-1")
NOON = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)


class Posted:
    """Takes the Events in place of a cluster."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def post(self, reference: ObjectReference, type_: str, reason: str, message: str) -> None:
        assert reference == REFERENCE
        self.events.append((type_, reason, message))


class Stage:
    """A recorder, and what it recorded."""

    def __init__(self) -> None:
        self.posted, self.metrics = Posted(), Metrics()
        self.recorder = Recorder(self.posted, self.metrics)  # type: ignore[arg-type]

    def ended(self, result: str) -> float:
        value = self.metrics.registry.get_sample_value(
            "cse_operator_upgrades_total", {"result": result}
        )
        return value or 0.0

    def record(self, before: Status, after: Status) -> list[tuple[str, str, str]]:
        self.posted.events.clear()
        self.recorder.record(REFERENCE, before, after)
        return self.posted.events


def status(reason: Reason, message: str = "a sentence", **fields: Any) -> Status:
    told = conditions(Status(), reason, message, 1, NOON)
    return Status(conditions=told, message=message, **fields)


def ended(reason: Reason, result: Result, **fields: Any) -> Status:
    """Return the status after the end of an upgrade, which heads its history."""
    entry = HistoryEntry(wanted_version="2.4.0", result=result, **fields)
    return status(reason, upgrade=record(result=result, **fields)).with_ended(entry)


def record(**fields: Any) -> UpgradeRecord:
    return UpgradeRecord(
        **({"action": Action.UPGRADE, "wanted_version": "2.4.0", "requested_at": NOON} | fields)
    )


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason != Reason.SUBMITTING])
def test_each_reason_that_is_new_is_posted_with_its_type(reason: Reason) -> None:
    events = Stage().record(Status(), status(reason))
    assert events == [(FACTS[reason].event_type, reason.value, "a sentence")]


def test_a_call_on_its_way_is_not_worth_an_event() -> None:
    assert Stage().record(Status(), status(Reason.SUBMITTING)) == []


def test_another_message_for_the_same_reason_is_no_transition(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    before, after = status(Reason.UPGRADING, "step 1"), status(Reason.UPGRADING, "step 2")
    assert Stage().record(before, after) == []
    assert caplog.records == []


def test_a_transition_is_logged_in_one_line_by_its_weight(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    Stage().record(Status(), status(Reason.UPGRADE_FAILED, "the job failed"))
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert line.getMessage() == "payments/orders: UpgradeFailed: the job failed"


def test_an_upgrade_is_counted_when_it_ends_and_only_then() -> None:
    stage = Stage()
    idle = status(Reason.UP_TO_DATE)
    intent = status(Reason.SUBMITTING, upgrade=record())
    running = status(Reason.UPGRADING, upgrade=record(job_id=7))
    done = ended(Reason.UP_TO_DATE, Result.SUCCEEDED, job_id=7)
    for before, after in ((idle, intent), (intent, running), (running, done), (done, done)):
        stage.record(before, after)
    assert stage.ended("Succeeded") == 1


def test_an_end_that_is_the_recorded_one_again_is_not_counted_again() -> None:
    """A policy takes an intent back, and the upgrade before it is the recorded one again."""
    stage = Stage()
    rejected = ended(Reason.UPGRADE_REJECTED, Result.REJECTED)
    intent = rejected.model_copy(update={"upgrade": record()})
    stage.record(intent, rejected)
    assert stage.ended("Rejected") == 0


def test_an_end_is_counted_although_the_next_call_begins_in_the_same_write() -> None:
    stage = Stage()
    running = status(Reason.UPGRADING, upgrade=record(job_id=7))
    failed = ended(Reason.UPGRADE_FAILED, Result.FAILED, job_id=7, finished_at=NOON)
    retry = status(Reason.SUBMITTING, upgrade=record(), history=failed.history)
    stage.record(running, retry)
    assert stage.ended("Failed") == 1
    took = stage.metrics.registry.get_sample_value("cse_operator_upgrade_seconds_count")
    assert took == 1


def test_an_upgrade_found_and_ended_in_one_step_is_counted_after_another_one() -> None:
    stage = Stage()
    before = ended(Reason.UP_TO_DATE, Result.SUCCEEDED, job_id=7)
    after = ended(Reason.UP_TO_DATE, Result.FAILED, job_id=8)
    stage.record(before, after)
    assert stage.ended("Failed") == 1
