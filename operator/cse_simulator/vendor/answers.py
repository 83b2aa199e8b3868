"""The simulated vendor's answers, and the two shapes of its errors.

The engine manager (codes SVCSTG.*) and the API gateway in front of it (codes APIGW.*) write
different bodies; they share no field beyond `error_code` and `error_msg` (Huawei Cloud CSE API
Reference, error codes).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

ErrorKeys = Literal["error_msg", "error_message", "errorMessage"]
ERROR_KEYS: dict[ErrorKeys, tuple[str, str]] = {
    "error_msg": ("error_code", "error_msg"),
    "error_message": ("error_code", "error_message"),
    "errorMessage": ("errorCode", "errorMessage"),
}
"""Keys of code and message in engine-level errors: the documented ones, and two seen elsewhere."""


class Answer(NamedTuple):
    """An HTTP answer before it is sent."""

    status: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


@dataclass(eq=False)
class EngineRefusal(Exception):  # noqa: N818 - a refusal is an answer, not an error here
    """The engine manager refuses a call."""

    code: str
    message: str
    detail: str = ""
    status: int = HTTPStatus.BAD_REQUEST


@dataclass(eq=False)
class GatewayRefusal(Exception):  # noqa: N818 - see EngineRefusal
    """The API gateway refuses a call before the engine manager sees it."""

    status: int
    code: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)


def ok(value: Any, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Answer:
    """Return a successful JSON answer."""
    return Answer(status, encode(value), headers or {})


def encode(value: Any) -> bytes:
    """Return a value as compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def engine_error(refusal: EngineRefusal, keys: ErrorKeys) -> Answer:
    """Return the engine manager's error body; its versions differ in the `keys`."""
    code, message = ERROR_KEYS[keys]
    body = {
        code: refusal.code,
        message: refusal.message,
        "detail": refusal.detail or refusal.message,
    }
    return Answer(int(refusal.status), encode(body))


def gateway_error(refusal: GatewayRefusal, request_id: str) -> Answer:
    """Return the API gateway's error body."""
    body = {
        "error_msg": refusal.message,
        "error_code": refusal.code,
        "request_id": request_id,
    }
    return Answer(int(refusal.status), encode(body), refusal.headers)


def unauthenticated(reason: str, code: str = "APIGW.0301") -> GatewayRefusal:
    """Return the gateway's 401: a fixed text, followed by the reason."""
    message = f"Incorrect IAM authentication information: {reason}"
    return GatewayRefusal(HTTPStatus.UNAUTHORIZED, code, message)
