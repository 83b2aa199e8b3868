"""The meaning of the vendor's refusals, by code and body and not by status alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from cse_operator.cloud.answers import (
    Operation,
    Verdict,
    failure_of_response,
    parse_error,
    verdict_on_credentials,
)
from cse_operator.cloud.errors import CloudError
from cse_operator.core.failure import Failure, FailureKind

READ = Operation.SHOW_ENGINE
CHANGE = Operation.UPGRADE


def judge(
    operation: Operation, status: int, body: Any = b"", headers: dict[str, str] | None = None
) -> Failure:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return failure_of_response(operation, status, headers or {}, content, "engine-1")


def coded(code: str) -> dict[str, str]:
    return {"error_code": code, "error_msg": "the vendor's words"}


@pytest.mark.parametrize("code", ["SVCSTG.00501116", "SVCSTG.00501125", "SVCSTG.00401116"])
@pytest.mark.parametrize("status", [400, 401, 404])
@pytest.mark.parametrize("operation", [READ, CHANGE])
def test_a_missing_engine_is_not_found_whatever_the_status(
    operation: Operation, status: int, code: str
) -> None:
    failure = judge(operation, status, coded(code))
    assert failure.kind is FailureKind.NOT_FOUND
    assert failure.message == "There is no engine engine-1 in this project: the vendor's words"
    assert (failure.http_status, failure.code) == (status, code)


def test_a_401_of_the_engine_service_is_no_refused_authentication() -> None:
    body = json.dumps(coded("SVCSTG.00599999")).encode()
    assert judge(READ, 401, body).kind is FailureKind.NOT_FOUND
    assert verdict_on_credentials(401, body) is Verdict.ACCEPTED


@pytest.mark.parametrize("prefix", ["APIGW", "APIG", "apigw"])
@pytest.mark.parametrize("code", ["0301", "0305", "0307"])
@pytest.mark.parametrize("operation", [READ, CHANGE])
def test_the_gateways_401_is_a_refused_authentication(
    operation: Operation, code: str, prefix: str
) -> None:
    body = json.dumps(coded(f"{prefix}.{code}")).encode()
    assert judge(operation, 401, body).kind is FailureKind.UNAUTHENTICATED
    assert verdict_on_credentials(401, body) is Verdict.REFUSED


@pytest.mark.parametrize("status", [400, 403])
def test_the_gateways_word_for_refused_credentials_closes_the_gate_under_any_status(
    status: int,
) -> None:
    body = json.dumps(coded("APIGW.0301")).encode()
    assert judge(READ, status, body).kind is FailureKind.UNAUTHENTICATED
    assert verdict_on_credentials(status, body) is Verdict.REFUSED


@given(
    st.integers(300, 599),
    st.none() | st.integers(0, 9999).map("APIGW.{:04}".format) | st.just("SVCSTG.00501116"),
)
@example(500, "APIGW.0301")
@example(401, "APIGW.0308")
@example(401, "APIGW.0101")
def test_the_gate_closes_for_exactly_what_a_read_calls_a_refused_authentication(
    status: int, code: str | None
) -> None:
    body = json.dumps(coded(code)).encode() if code else b""
    refused = verdict_on_credentials(status, body) is Verdict.REFUSED
    assert refused == (judge(READ, status, body).kind is FailureKind.UNAUTHENTICATED)


@pytest.mark.parametrize("body", [b"", b"<html>Forbidden by a proxy</html>", b"{}"])
def test_a_403_that_is_not_the_vendors_says_nothing_about_the_credentials(body: bytes) -> None:
    assert verdict_on_credentials(403, body) is Verdict.UNKNOWN


@pytest.mark.parametrize("body", [b"", b"<html>Unauthorized</html>", b"[]"])
def test_a_401_without_a_code_refuses_a_read_and_proves_nothing_about_a_put(body: bytes) -> None:
    assert judge(READ, 401, body).kind is FailureKind.UNAUTHENTICATED
    assert judge(CHANGE, 401, body).kind is FailureKind.OUTCOME_UNKNOWN
    assert verdict_on_credentials(401, body) is Verdict.REFUSED


@pytest.mark.parametrize("code", ["0302", "0306", "0310", "0801", "0802"])
@pytest.mark.parametrize("operation", [READ, CHANGE])
def test_the_gateways_403_is_forbidden(operation: Operation, code: str) -> None:
    assert judge(operation, 403, coded(f"APIGW.{code}")).kind is FailureKind.FORBIDDEN
    body = json.dumps(coded(f"APIGW.{code}")).encode()
    assert verdict_on_credentials(403, body) is Verdict.ACCEPTED


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 503])
def test_an_answer_from_before_the_credential_check_proves_nothing_about_them(
    status: int,
) -> None:
    code = "APIGW.0301" if status >= 429 else "APIGW.0201"
    for body in (b"", b"<html>", json.dumps(coded(code)).encode()):
        assert verdict_on_credentials(status, body) is Verdict.UNKNOWN


@pytest.mark.parametrize("code", ["APIGW.0101", "APIG.0103"])
@pytest.mark.parametrize("operation", [READ, CHANGE])
def test_a_gateway_that_knows_no_such_api_is_a_wrong_endpoint_and_no_missing_engine(
    operation: Operation, code: str
) -> None:
    failure = judge(operation, 404, coded(code))
    assert failure.kind is FailureKind.REJECTED
    assert "endpoint setting is wrong" in failure.message


def test_a_404_that_is_not_the_vendors_is_no_missing_engine() -> None:
    failure = judge(READ, 404, b"<html>404 Not Found</html>")
    assert failure.kind is FailureKind.TRANSIENT
    assert "not the vendor's answer" in failure.message


@pytest.mark.parametrize(
    ("status", "body"),
    [(429, b""), (429, coded("429")), (429, coded("APIGW.0308")), (400, coded("APIG.0308"))],
)
@pytest.mark.parametrize("operation", [READ, CHANGE])
def test_throttling_means_not_executed(operation: Operation, status: int, body: Any) -> None:
    assert judge(operation, status, body).kind is FailureKind.THROTTLED


@pytest.mark.parametrize(
    ("status", "code"),
    [(502, "APIGW.0201"), (504, "APIGW.0201"), (500, "APIGW.0601"), (503, "APIGW.0613")],
)
def test_the_gateways_own_trouble_passes_for_a_read_and_is_unknown_for_a_put(
    status: int, code: str
) -> None:
    assert judge(READ, status, coded(code)).kind is FailureKind.TRANSIENT
    assert judge(CHANGE, status, coded(code)).kind is FailureKind.OUTCOME_UNKNOWN


@pytest.mark.parametrize("status", [400, 413, 414, 494])
@pytest.mark.parametrize("operation", [READ, CHANGE])
def test_a_request_that_the_gateway_finds_malformed_is_rejected(
    operation: Operation, status: int
) -> None:
    assert judge(operation, status, coded("APIGW.0201")).kind is FailureKind.REJECTED


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("SVCSTG.00501117", FailureKind.BUSY),
        ("SVCSTG.00501149", FailureKind.REJECTED),
        ("SVCSTG.00501152", FailureKind.NOT_FOUND),
        ("SVCSTG.00501153", FailureKind.NOT_FOUND),
        ("SVCSTG.00501112", FailureKind.REJECTED),
        ("SVCSTG.12345678", FailureKind.REJECTED),
    ],
)
@pytest.mark.parametrize("operation", [READ, CHANGE])
def test_the_engine_services_codes_have_their_meaning(
    operation: Operation, code: str, kind: FailureKind
) -> None:
    assert judge(operation, 400, coded(code)).kind is kind


@pytest.mark.parametrize("status", [409, 423])
def test_a_conflict_is_busy(status: int) -> None:
    assert judge(CHANGE, status, coded("CSE.1")).kind is FailureKind.BUSY


@given(
    status=st.integers(100, 599).filter(lambda status: not 400 <= status < 500),
    code=st.sampled_from(["SVCSTG.00501117", "SVCSTG.00501116", "APIGW.0301", "APIGW.0302", ""]),
)
def test_only_a_client_error_proves_that_a_put_had_no_effect(status: int, code: str) -> None:
    assert judge(CHANGE, status, coded(code)).kind is FailureKind.OUTCOME_UNKNOWN


@given(operation=st.sampled_from(Operation), status=st.integers(100, 599), body=st.binary())
def test_any_answer_at_all_has_a_meaning(operation: Operation, status: int, body: bytes) -> None:
    failure = judge(operation, status, body)
    assert failure.message
    assert CloudError(failure).kind is failure.kind


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    document=st.dictionaries(
        st.sampled_from(["error_code", "errorCode", "error_msg", "error", "detail", "request_id"]),
        JSON_VALUES,
    )
)
def test_any_types_in_an_error_body_are_borne(document: dict[str, Any]) -> None:
    failure = judge(READ, 400, document)
    for text in (failure.message, failure.code, failure.detail, failure.request_id):
        assert text is None or (text.isprintable() and 0 < len(text) <= 512)


@pytest.mark.parametrize(
    "document",
    [
        {"error_code": "C.1", "error_msg": "words"},
        {"errorCode": "C.1", "errorMessage": "words"},
        {"error_code": "C.1", "error_message": "words"},
        {"error": {"code": "C.1", "message": "words"}},
    ],
)
def test_all_spellings_of_an_error_body_are_read(document: dict[str, Any]) -> None:
    error = parse_error(json.dumps(document).encode())
    assert (error.code, error.message) == ("C.1", "words")


def test_the_detail_and_the_request_id_are_kept() -> None:
    body = {**coded("C.1"), "detail": "more", "request_id": "r-1"}
    failure = judge(READ, 400, body)
    assert (failure.detail, failure.request_id) == ("more", "r-1")
    assert judge(READ, 500, b"", {"X-Request-Id": "r-2"}).request_id == "r-2"


def test_a_known_secret_is_not_repeated_from_the_vendors_words() -> None:
    body = json.dumps({"error_msg": "bad pw hunter22", "detail": "hunter22", "error_code": "C"})
    failure = failure_of_response(READ, 400, {}, body.encode(), None, [SecretStr("hunter22")])
    assert "hunter22" not in repr(failure)


def test_an_error_tells_its_kind_and_its_failure() -> None:
    error = CloudError(Failure(FailureKind.BUSY, "why", 400, "C.1"))
    assert error.kind is FailureKind.BUSY
    assert str(error) == "why (HTTP 400, C.1)"
