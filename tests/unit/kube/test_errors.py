"""The meaning of the API server's answers."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime

import pytest

from cse_operator.kube import errors

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def status_body(reason: str, message: str = "it said no") -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": message}).encode()


@pytest.mark.parametrize(
    ("status", "reason", "meaning"),
    [
        (400, "BadRequest", errors.Invalid),
        (401, "Unauthorized", errors.Denied),
        (403, "Forbidden", errors.Denied),
        (404, "NotFound", errors.Gone),
        (405, "MethodNotAllowed", errors.Invalid),
        (408, "Timeout", errors.Unavailable),
        (409, "Conflict", errors.Conflict),
        (409, "AlreadyExists", errors.Conflict),
        (410, "Expired", errors.Expired),
        (413, "RequestEntityTooLarge", errors.Invalid),
        (415, "UnsupportedMediaType", errors.Invalid),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.Unavailable),
        (500, "InternalError", errors.Unavailable),
        (503, "ServiceUnavailable", errors.Unavailable),
        (504, "Timeout", errors.Unavailable),
        (304, "", errors.Unavailable),
    ],
)
def test_each_status_has_one_meaning(
    status: int, reason: str, meaning: type[errors.KubeError]
) -> None:
    error = errors.from_response("GET it", status, {}, status_body(reason))
    assert type(error) is meaning
    assert error.status == status
    assert str(error) == error.sentence == "GET it: it said no"


def test_an_unknown_path_says_nothing_about_the_object() -> None:
    error = errors.from_response("GET it", 404, {}, b"404 page not found\n")
    assert type(error) is errors.Unavailable
    assert "is the CRD installed?" in error.sentence


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"text"', b"\xff", b'{"kind":"Pod"}'])
def test_a_body_from_something_in_between_is_not_shown(body: bytes) -> None:
    assert errors.from_response("GET it", 502, {}, body).sentence == "GET it: HTTP 502"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90.0),
        ("Sun, 01 Mar 2026 12:01:30 -0000", 90.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        ("²", None),
    ],
)
def test_retry_after_is_read_as_seconds_and_as_a_date(
    header: str | None, seconds: float | None
) -> None:
    headers = {} if header is None else {"Retry-After": header}
    error = errors.from_response("GET it", 429, headers, b"", now=NOW)
    assert error.retry_after == seconds


def test_a_long_message_keeps_its_end_where_the_cause_stands() -> None:
    message = f'patch: Invalid value: "{"x" * 5000}": strict decoding error: unknown field "a"'
    sentence = errors.from_response("PATCH it", 422, {}, status_body("Invalid", message)).sentence
    assert sentence.startswith("PATCH it: patch: Invalid value:")
    assert sentence.endswith('strict decoding error: unknown field "a"')
    assert len(sentence) < 600


def test_a_message_of_many_lines_becomes_one() -> None:
    sentence = errors.from_response("GET it", 500, {}, status_body("", "a\n\tb  c")).sentence
    assert sentence == "GET it: a b c"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "no answer from the API server in time"),
        (ConnectionResetError("reset\nby peer"), "cannot be reached (reset by peer)"),
        (ssl.SSLError(1, "wrong version"), "cannot be reached ("),
        (ConnectionResetError(), "cannot be reached (ConnectionResetError)"),
    ],
)
def test_what_brings_no_answer_may_pass(error: Exception, words: str) -> None:
    meant = errors.from_transport("GET it", error)
    assert type(meant) is errors.Unavailable
    assert words in meant.sentence
    assert meant.status is None
