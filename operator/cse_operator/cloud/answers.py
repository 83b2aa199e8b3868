"""Turns the vendor's error answers into a `Failure`: by meaning, not by status.

The status code alone never decides. The engine service answers 401 for a missing engine and 400
for most errors; the gateway in front of it has its own codes (Huawei Cloud CSE API Reference,
Appendix, Error Codes; API Gateway, Error Codes). A proxy on the way may answer without any code.

For a changing call, one question comes first: does this answer *prove* that nothing was done?
Only a client error (4xx) with a code of the vendor can. Every other answer is `OutcomeUnknown`,
because the vendor's call has no idempotency token: the operator must look at the engine before it
sends again. The core decides which kinds it believes; it does not believe a 401 or a 429.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from cse_operator.cloud.redaction import redact
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.http_time import retry_after

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import SecretStr


class Operation(StrEnum):
    """The vendor's calls, by the names its API reference uses."""

    LIST_ENGINES = "ListEngines"
    SHOW_ENGINE = "ShowEngine"
    SHOW_JOB = "ShowEngineJob"
    LIST_JOBS = "QueryEngineJobList"
    UPGRADE = "UpgradeEngine"
    RETRY = "RetryEngine"
    CREATE_TOKEN = "KeystoneCreateUserTokenByPassword"  # noqa: S105 - the name of a call
    TRADE_ID_TOKEN = "CreateTokenWithIdToken"  # noqa: S105 - the name of a call
    CREATE_TEMPORARY_KEY = "CreateTemporaryAccessKeyByToken"
    ASSUME_AGENCY = "AssumeAgencyWithOidc"
    POD_IDENTITY = "PodIdentity"

    @property
    def changes(self) -> bool:
        """Whether the call has an effect on an engine."""
        return self in {Operation.UPGRADE, Operation.RETRY}


OPERATION = "cse_operator.operation"
"""The request extension that names the call."""

_GATEWAY_CODE = re.compile(r"APIGW?\.(\d{4})", re.IGNORECASE)
_GATEWAY_UNAUTHENTICATED = frozenset({"0301", "0305", "0307"})
_GATEWAY_FORBIDDEN = frozenset({"0302", "0306", "0310", "0801", "0802"})
_GATEWAY_NO_SUCH_API = frozenset({"0101", "0103"})
_GATEWAY_THROTTLED = "0308"

_ENGINE_NOT_FOUND = frozenset({"SVCSTG.00501116", "SVCSTG.00501125", "SVCSTG.00401116"})
_JOB_NOT_FOUND = frozenset({"SVCSTG.00501152", "SVCSTG.00501153"})
_ENGINE_STATE = "SVCSTG.00501117"

_TRANSIENT_CLIENT_ERRORS = frozenset({408, 425})
_CONFLICTS = frozenset({409, 423})


@dataclass(frozen=True, slots=True)
class VendorError:
    """The content of an error body in any of its spellings; `None` for a part that is missing."""

    code: str | None = None
    message: str | None = None
    detail: str | None = None
    request_id: str | None = None

    @property
    def gateway_code(self) -> str | None:
        """Return the four digits of an API gateway code; `None` for any other code."""
        match = _GATEWAY_CODE.fullmatch(self.code or "")
        return match[1] if match else None

    @property
    def from_engine_service(self) -> bool:
        """Whether the engine service itself answered, so the gateway had let the call through."""
        return (self.code or "").upper().startswith("SVCSTG")


def failure_of_response(  # noqa: PLR0917 - the parts of an answer
    operation: Operation,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    engine_id: str | None,
    secrets: Iterable[SecretStr] = (),
) -> Failure:
    """Return the meaning of an answer that is not the expected success.

    Args:
        operation: The call that was answered.
        status: The HTTP status.
        headers: The answer's headers; lookups must ignore case.
        body: The answer's body, of any content.
        engine_id: The engine the call was about, for the message.
        secrets: Values that must not appear in the failure's texts.
    """
    secrets = tuple(secrets)
    error = parse_error(body, secrets)
    kind, lead = _kind_of(operation, status, error)
    message = error.message or f"{operation} got HTTP {status} without an explanation"
    if lead:
        message = f"{lead.format(engine=engine_id or 'given', operation=operation)}: {message}"
    return Failure(
        kind=kind,
        message=redact(message, secrets),
        http_status=status,
        code=error.code,
        detail=error.detail,
        request_id=error.request_id or _request_id(headers, secrets),
        retry_after=retry_after(headers),
    )


def says_no_such_api(failure: Failure) -> bool:
    """Whether the gateway says that it does not have this API (codes 0101 and 0103)."""
    status = failure.http_status or 0
    code = VendorError(failure.code).gateway_code
    return 400 <= status < 500 and code in _GATEWAY_NO_SUCH_API  # noqa: PLR2004


class Verdict(Enum):
    """What an answer says about the credentials of the call."""

    ACCEPTED = "the credentials are good, even if the call failed"
    UNKNOWN = "not known: throttling and server errors can come before the credentials are checked"
    REFUSED = "the credentials are refused"


def verdict_on_credentials(status: int, body: bytes) -> Verdict:
    """Return what an answer means for the credentials.

    `REFUSED` is exactly a failure that is `UNAUTHENTICATED` for a read; a 401 of the engine service
    is not, because it means a missing engine. `ACCEPTED` needs proof that the call passed the
    gateway's check: a 403 without a gateway code may come from a proxy.
    """
    error = parse_error(body) if status >= 400 else VendorError()  # noqa: PLR2004
    if 200 <= status < 300 or error.from_engine_service:  # noqa: PLR2004
        return Verdict.ACCEPTED
    kind, _ = _kind_of(Operation.SHOW_ENGINE, status, error)
    if kind is FailureKind.UNAUTHENTICATED:
        return Verdict.REFUSED
    forbidden = kind is FailureKind.FORBIDDEN and error.gateway_code in _GATEWAY_FORBIDDEN
    return Verdict.ACCEPTED if forbidden else Verdict.UNKNOWN


def _kind_of(operation: Operation, status: int, error: VendorError) -> tuple[FailureKind, str]:
    """Return the kind, and the text to put before the vendor's message."""
    if status == 429 or error.gateway_code == _GATEWAY_THROTTLED:  # noqa: PLR2004
        return FailureKind.THROTTLED, ""
    if operation.changes and not _proves_refusal(status, error):
        return FailureKind.OUTCOME_UNKNOWN, "The answer does not say whether {operation} was done"
    if error.gateway_code is not None:
        return _kind_of_gateway_error(status, error.gateway_code)
    if error.from_engine_service:
        return _kind_of_engine_error(status, (error.code or "").upper())
    return _kind_of_status(status, known=error.code is not None)


def _proves_refusal(status: int, error: VendorError) -> bool:
    return 400 <= status < 500 and status not in _TRANSIENT_CLIENT_ERRORS and error.code is not None  # noqa: PLR2004


def _kind_of_gateway_error(status: int, code: str) -> tuple[FailureKind, str]:
    if not 400 <= status < 500:  # noqa: PLR2004
        return _kind_of_status(status, known=True)
    if code in _GATEWAY_UNAUTHENTICATED:
        return FailureKind.UNAUTHENTICATED, ""
    if code in _GATEWAY_FORBIDDEN:
        return FailureKind.FORBIDDEN, ""
    if code in _GATEWAY_NO_SUCH_API:
        return (
            FailureKind.REJECTED,
            "The gateway knows no CSE API here: the region or the endpoint setting is wrong",
        )
    # 0201 means a bad request (400, 413, 414, 494) or a backend that is down or slow (502, 504);
    # 0601 and 0613 are internal errors of the gateway.
    return _kind_of_status(status, known=True)


def _kind_of_engine_error(status: int, code: str) -> tuple[FailureKind, str]:
    if code in _ENGINE_NOT_FOUND:
        return FailureKind.NOT_FOUND, "There is no engine {engine} in this project"
    if code in _JOB_NOT_FOUND:
        return FailureKind.NOT_FOUND, ""
    if code == _ENGINE_STATE:
        return FailureKind.BUSY, ""
    if status in {401, 404}:  # the engine service answers both for a missing engine
        return FailureKind.NOT_FOUND, "There is no engine {engine} in this project"
    # SVCSTG.00501149, an abnormal node, has no case of its own: waiting does not help, an
    # administrator has to repair the node, so it counts as rejected and not as busy.
    return _kind_of_status(status, known=True)


def _kind_of_status(status: int, *, known: bool) -> tuple[FailureKind, str]:
    """Return the kind by the status alone; `known` means that the body has a code."""
    by_status = {
        401: (FailureKind.UNAUTHENTICATED, ""),
        403: (FailureKind.FORBIDDEN, ""),
        404: (FailureKind.NOT_FOUND, "")
        if known
        else (
            FailureKind.TRANSIENT,
            "This is not the vendor's answer: check the endpoint setting",
        ),
    }
    if status in by_status:
        return by_status[status]
    if status in _CONFLICTS and known:
        return FailureKind.BUSY, ""
    if 300 <= status < 400:  # noqa: PLR2004
        return FailureKind.TRANSIENT, "The endpoint redirects; the operator follows no redirects"
    if 400 <= status < 500 and status not in _TRANSIENT_CLIENT_ERRORS:  # noqa: PLR2004
        return FailureKind.REJECTED, ""
    return FailureKind.TRANSIENT, ""


def parse_error(body: bytes, secrets: Iterable[SecretStr] = ()) -> VendorError:
    """Read an error body in any of its documented spellings; another body gives no code.

    The gateway and the engine service share only `error_code` and `error_msg`; older engine
    answers use `errorCode` with `errorMessage` or `error_message`; IAM nests them in `error`.
    """
    try:
        document = from_json(body)
    except ValueError:
        return VendorError()
    if not isinstance(document, dict):
        return VendorError()
    nested = document.get("error")
    if isinstance(nested, dict):
        document = {**nested, **document}

    def text(*names: str) -> str | None:
        for name in names:
            value: Any = document.get(name)
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                shown = redact(str(value), secrets)
                if shown:
                    return shown
        return None

    return VendorError(
        code=text("error_code", "errorCode", "code"),
        message=text("error_msg", "errorMessage", "error_message", "message"),
        detail=text("detail", "details"),
        request_id=text("request_id", "requestId"),
    )


def _request_id(headers: Mapping[str, str], secrets: Iterable[SecretStr]) -> str | None:
    value = headers.get("X-Request-Id")
    return redact(value, secrets, limit=128) or None if value else None
