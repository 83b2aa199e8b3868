"""Parsing the vendor's answers, in every documented form and in invalid ones."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from cse_operator.cloud import values, wire, wire_jobs
from cse_operator.cloud.redaction import Redactor
from cse_operator.core.views import JobProgress
from support.cloud_calls import ENGINE, ENGINE_ANSWER, NOW, body_of


def engine(**changes: Any) -> Any:
    return wire.parse_engine(body_of({**ENGINE_ANSWER, **changes}), ENGINE, NOW)


def job(**fields: Any) -> Any:
    document = {"id": 7, "engineId": ENGINE, "type": "Upgrade", "status": "Executing", **fields}
    return wire_jobs.parse_job(body_of(document), ENGINE, 7, NOW)


def test_an_engine_is_read_as_it_is_documented() -> None:
    view = engine()
    assert view.engine_id == ENGINE
    assert (view.name, view.type, view.status) == ("test", "CSE", "Available")
    assert (view.version, view.latest_version, view.latest_job_id) == ("2.3.1", "2.3.4", 12339)
    assert view.additional_actions == ("Noting",)
    assert view.observed_at == NOW


def test_unknown_enumeration_values_pass_through_as_they_came() -> None:
    view = engine(status="Dreaming", type="CSE9", engineAdditionalActions=["Noting", "Dance"])
    assert (view.status, view.type) == ("Dreaming", "CSE9")
    assert view.additional_actions == ("Noting", "Dance")


def test_numbers_as_text_and_text_as_numbers_are_accepted() -> None:
    assert engine(latestJobId="12340").latest_job_id == 12340
    assert engine(latestJobId=12340.0).latest_job_id == 12340
    assert engine(version=2.4).version == "2.4"
    assert wire.parse_accepted(body_of({"jobId": " 17655 "}), ENGINE).job_id == 17655


@pytest.mark.parametrize("nothing", [None, 0, -1, "", "none", True, [], {}, 2**70, 1.5, "9" * 30])
def test_a_job_id_that_is_none_means_no_job(nothing: Any) -> None:
    assert engine(latestJobId=nothing).latest_job_id is None


def test_missing_and_null_optional_fields_do_not_matter() -> None:
    least = {"id": ENGINE, "status": "Available", "version": "2.3.1"}
    view = wire.parse_engine(body_of({**least, "engineAdditionalActions": None}), ENGINE, NOW)
    assert (view.name, view.type, view.latest_version, view.latest_job_id) == ("", "", None, None)
    assert view.additional_actions == ()


def test_a_text_of_the_vendor_cannot_smuggle_control_characters() -> None:
    assert engine(name="a\nb\x1b\u202ec" + "xx " * 999).name.startswith("a bcxx xx")
    assert len(engine(name="xx, " * 999).name) == 128


@pytest.mark.parametrize("field", ["status", "version"])
@pytest.mark.parametrize("value", [None, "", [], {}])
def test_an_engine_that_does_not_say_what_matters_is_refused(field: str, value: Any) -> None:
    with pytest.raises(values.WireError, match=field):
        engine(**{field: value})


def test_an_answer_about_another_engine_is_refused() -> None:
    with pytest.raises(values.WireError):
        engine(id="another")


def test_a_page_leaves_out_what_cannot_be_used_and_counts_it() -> None:
    lines = [ENGINE_ANSWER, {"id": "vague"}, {"name": "no id"}, None, 7]
    page = wire.parse_engine_page(body_of({"total": "5", "data": lines}), NOW)
    assert page.rows == {ENGINE: engine(), "vague": None}
    assert (page.lines, page.total) == (5, 5)


@pytest.mark.parametrize("value", ["[]", '{"":0}', "0", '"a"'])
def test_an_answer_of_too_many_values_is_refused_before_they_take_memory(value: str) -> None:
    body = f'{{"data": [{",".join([value] * 300_001)}]}}'.encode()
    tracemalloc.start()
    try:
        with pytest.raises(values.WireError, match="more than 300000 values"):
            wire.parse_engine_page(body, NOW)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_page_of_far_more_engines_than_asked_for_is_read_in_part() -> None:
    lines = [{**ENGINE_ANSWER, "id": f"e{number}"} for number in range(6_000)]
    page = wire.parse_engine_page(body_of({"data": lines}), NOW)
    assert (len(page.rows), page.lines) == (5_000, 5_000)


JOB_ROW = {"id": 7, "engineId": ENGINE, "type": "Upgrade", "status": "Executing"}


@pytest.mark.parametrize(
    "wrap", [lambda page: page, lambda page: {"OK": [page]}, lambda page: {"OK": page}]
)
def test_a_page_of_jobs_is_read_as_it_is_and_wrapped(wrap: Any) -> None:
    rows = [
        {**JOB_ROW, "scheduling": 1, "createUser": "somebody"},
        {**JOB_ROW, "id": "8", "scheduling": 0},
        {**JOB_ROW, "id": 9, "engineId": "another"},
        {"id": 10},
        {"status": "Finished"},
        None,
    ]
    body = body_of(wrap({"total": 6, "data": rows}))
    page = wire_jobs.parse_job_page(body, ENGINE, NOW)
    assert (page.lines, page.total) == (6, 6)
    assert list(page.rows) == ["7", "8", "10"]
    first, second = page.rows["7"], page.rows["8"]
    assert first is not None
    assert second is not None
    assert (first.job_id, first.scheduled, first.created_by) == (7, True, "somebody")
    assert (second.job_id, second.scheduled, second.created_by) == (8, False, "")
    assert page.rows["10"] is None


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[]", b'{"OK": []}', b'{"OK": [{}]}', b'{"OK": 1}', b'{"data": {}}', b'{"data": "x"}'],
)
def test_what_is_no_page_of_jobs_is_refused(body: bytes) -> None:
    with pytest.raises(values.WireError):
        wire_jobs.parse_job_page(body, ENGINE, NOW)


def test_what_is_kept_of_an_engine_is_short() -> None:
    long = "\U0001f600" * 1000
    texts = dict.fromkeys(("name", "type", "status", "version", "latestVersion"), long)
    view = engine(**texts, engineAdditionalActions=[f"{number}{long}" for number in range(1000)])
    terms = (view.type, view.status, view.version, view.latest_version, *view.additional_actions)
    assert len(view.name) == 128
    assert {len(term) for term in terms} == {32}
    assert len(view.additional_actions) == 8


def test_a_page_without_engines_may_be_null() -> None:
    page = wire.parse_engine_page(b'{"total": 0, "data": null}', NOW)
    assert (page.rows, page.lines, page.total) == ({}, 0, 0)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"data": {}}', b"{", b"\xff", b"null"])
def test_what_is_no_page_is_refused(body: bytes) -> None:
    with pytest.raises(values.WireError):
        wire.parse_engine_page(body, NOW)


def test_a_job_is_read_as_it_is_documented() -> None:
    view = job(startTime=1635576800332, endTime="1635576900332")
    assert (view.job_id, view.engine_id, view.type, view.status) == (
        7,
        ENGINE,
        "Upgrade",
        "Executing",
    )
    assert view.started_at == datetime(2021, 10, 30, 6, 53, 20, 332000, tzinfo=UTC)
    assert view.ended_at == datetime(2021, 10, 30, 6, 55, 0, 332000, tzinfo=UTC)
    assert view.progress is None
    assert view.message is None


@pytest.mark.parametrize("time", [0, -1, None, "", "soon", 10**30, True, 1e400])
def test_a_time_that_is_none_means_not_yet(time: Any) -> None:
    document = json.dumps({"status": "Executing", "endTime": time})
    if time == 1e400:
        with pytest.raises(values.WireError):
            wire_jobs.parse_job(document.encode(), ENGINE, 7, NOW)
    else:
        assert wire_jobs.parse_job(document.encode(), ENGINE, 7, NOW).ended_at is None


@pytest.mark.parametrize(
    "fields", [{"status": None}, {"id": 8}, {"id": "x"}, {"engineId": "another"}]
)
def test_an_answer_about_another_job_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(values.WireError):
        job(**fields)


def test_progress_counts_the_finished_steps_and_names_the_next() -> None:
    steps = [
        {"taskName": "Backup", "status": "Finished"},
        {"taskName": "Upgrade node 1", "status": "Executing"},
        {"taskName": "Upgrade node 2", "status": "Init"},
    ]
    assert job(tasks=steps).progress == JobProgress(1, 3, "Upgrade node 1")


def test_a_step_without_a_status_is_finished_when_its_inner_tasks_are() -> None:
    steps = [
        {"taskNames": ["Backup"], "tasks": [{"status": "Finished"}, {"status": "Finished"}]},
        {"taskNames": ["Restart"], "tasks": [{"status": "Finished"}, {"status": "Init"}]},
        {"taskName": "Empty"},
    ]
    assert job(tasks=steps).progress == JobProgress(1, 3, "Restart")


def test_a_finished_job_has_finished_all_its_steps() -> None:
    """The vendor's own example shows a finished job with an inner task still in Init."""
    steps = [{"taskName": "Upgrade", "status": "Executing", "tasks": [{"status": "Init"}]}]
    assert job(status="Finished", tasks=steps).progress == JobProgress(1, 1, None)


@pytest.mark.parametrize("key", ["taskExecutorBrief", "taskexEcutorBrief"])
def test_a_failed_job_says_which_step_failed_and_why_in_either_spelling(key: str) -> None:
    inner = {"taskName": "Start", "status": "Error", key: {"description": "disk is full"}}
    steps = [
        {"taskName": "Backup", "status": "Finished"},
        {"taskName": "Upgrade", "status": "Error", "tasks": [{"status": "Finished"}, inner]},
    ]
    assert job(status="Error", tasks=steps).message == "Start: disk is full"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"tasks": [{"taskName": "Up", "status": "Timeout", "output": "too slow"}]},
            "Up: too slow",
        ),
        ({"tasks": [{"taskName": "Up", "status": "Error"}]}, "Up failed"),
        ({"tasks": [{"status": "Error"}], "description": "sorry"}, "a step: sorry"),
        ({"tasks": None, "description": "sorry"}, "sorry"),
        ({"tasks": [{"status": "Finished"}], "description": 5}, None),
    ],
)
def test_a_failed_job_says_as_much_as_it_can(fields: dict[str, Any], message: str | None) -> None:
    assert job(status="Timeout", **fields).message == message


def test_a_failed_jobs_words_are_trimmed_and_free_of_secrets() -> None:
    words = "password=hunter2 " + "log line\n" * 500
    message = job(status="Error", tasks=[{"status": "Error", "log": words}]).message
    assert message is not None
    assert "hunter2" not in message
    assert len(message) <= 512


def test_every_word_of_the_vendors_that_is_shown_is_free_of_secrets() -> None:
    redact = Redactor([SecretStr("hunter2")])
    said = "hun\u200bter2 eyJhbGciOiJIUzI1NiJ9"
    texts = dict.fromkeys(("name", "type", "status", "version", "latestVersion"), said)
    document = body_of({**ENGINE_ANSWER, **texts, "engineAdditionalActions": [said]})
    steps = [{"taskName": "first", "status": "Finished"}, {"taskName": said, "status": said}]
    failed = [{"taskName": said, "status": "Error", "output": said}]
    jobs = [
        body_of({"status": said, "type": said, "tasks": steps}),
        body_of({"status": "Error", "tasks": failed, "description": said}),
        body_of({"status": "Error", "description": said}),
    ]
    shown = [
        *wire.parse_engine_page(b'{"data": [' + document + b"]}", NOW, redact).rows.values(),
        wire.parse_engine(document, ENGINE, NOW, redact),
        *(wire_jobs.parse_job(job, ENGINE, 7, NOW, redact) for job in jobs),
        wire.parse_accepted(body_of({"jobId": 7, "name": said}), ENGINE, redact),
    ]
    for answer in shown:
        assert "[redacted]" in repr(answer)
        assert "hunter2" not in repr(answer)
        assert "eyJ" not in repr(answer)


def test_an_accepted_call_names_its_job() -> None:
    accepted = wire.parse_accepted(body_of({"id": ENGINE, "name": "n", "jobId": 5}), ENGINE)
    assert (accepted.engine_id, accepted.engine_name, accepted.job_id) == (ENGINE, "n", 5)
    assert wire.parse_accepted(b'{"jobId": 5}', ENGINE).engine_name is None


@pytest.mark.parametrize("body", [b"{}", b'{"jobId": 0}', b'{"jobId": null}', b'{"jobId": "x"}'])
def test_an_accepted_call_without_a_job_is_refused(body: bytes) -> None:
    with pytest.raises(values.WireError):
        wire.parse_accepted(body, ENGINE)


def test_the_request_bodies_are_the_documented_ones() -> None:
    assert json.loads(wire.upgrade_body("2.4.0")) == {"version": "2.4.0"}
    assert json.loads(wire.retry_body()) == {"action": "Retry"}


def parse_all(body: bytes) -> None:
    """Run all parsers: each must return a value or raise `WireError`."""
    parsers = (
        lambda: wire.parse_engine(body, ENGINE, NOW),
        lambda: wire.parse_engine_page(body, NOW),
        lambda: wire_jobs.parse_job(body, ENGINE, 7, NOW),
        lambda: wire_jobs.parse_job_page(body, ENGINE, NOW),
        lambda: wire.parse_accepted(body, ENGINE),
    )
    for parse in parsers:
        with suppress(values.WireError):
            str(parse()).encode()


@given(st.binary())
@example(b"[" * 100_000)
@example(b'{"data":' * 10_000)
@example(b'{"data": [NaN]}')
@example(b"\xef\xbb\xbf{}")
@example(b'{"jobId": 1' + b"0" * 10_000 + b"}")
def test_arbitrary_bytes_are_borne(body: bytes) -> None:
    parse_all(body)


KEYS = [
    *("id", "engineId", "name", "type", "status", "version", "latestVersion", "latestJobId"),
    *("engineAdditionalActions", "data", "total", "jobId", "tasks", "taskName", "taskNames"),
    *("startTime", "endTime", "description", "output", "log"),
    *("taskExecutorBrief", "taskexEcutorBrief"),
]
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([ENGINE, 7, "Error", "Finished", "Available"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=8)
    ),
    max_leaves=25,
)


@given(ANY_JSON)
def test_arbitrary_json_is_borne(document: Any) -> None:
    parse_all(json.dumps(document).encode())


@given(st.dictionaries(st.sampled_from(KEYS), ANY_JSON))
def test_arbitrary_types_in_known_fields_are_borne(document: dict[str, Any]) -> None:
    parse_all(body_of({"id": ENGINE, "status": "Error", "version": "1", **document}))
