"""Gets a token with a password: builds the request to IAM and parses the answer. No I/O.

Source: Huawei Cloud IAM API Reference, Obtaining a User Token Through Password Authentication. The
token is scoped to one project, comes in a header, and is valid for 24 hours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import SecretStr
from pydantic_core import from_json

from cse_operator.cloud.answers import Operation, failure_of_response
from cse_operator.cloud.transport import USER_AGENT
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.http_time import http_date

if TYPE_CHECKING:
    from cse_operator.cloud.auth.credentials import PasswordToken

_ASSUMED_LIFETIME = timedelta(hours=1)
_SHORTEST_LIFETIME = timedelta(minutes=1)
_LONGEST_LIFETIME = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its life in seconds from its receipt."""

    value: SecretStr
    lifetime: float


def token_request(
    credentials: PasswordToken, iam_endpoint: str, project_id: str, extensions: dict[str, Any]
) -> httpx.Request:
    """Return the request for a token. Its body holds the password."""
    identity = {
        "methods": ["password"],
        "password": {
            "user": {
                "name": credentials.username.get_secret_value(),
                "password": credentials.password.get_secret_value(),
                "domain": {"name": credentials.domain_name.get_secret_value()},
            }
        },
    }
    body = {"auth": {"identity": identity, "scope": {"project": {"id": project_id}}}}
    return httpx.Request(
        "POST",
        f"{iam_endpoint}/v3/auth/tokens?nocatalog=true",
        headers={
            "Content-Type": "application/json;charset=UTF-8",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
        },
        content=json.dumps(body).encode(),
        extensions=extensions,
    )


def read_token(
    response: httpx.Response, now: datetime, secrets: tuple[SecretStr, ...]
) -> Token | Failure:
    """Parse IAM's answer; the caller must have read the response's body.

    Returns:
        The token, or why there is none: `UNAUTHENTICATED` if IAM refused for any reason, so that
        the operator does not ask again soon. Only a 401 is about the user and the password (IAM
        API Reference, Obtaining a User Token Through Password Authentication).
    """
    value = response.headers.get("X-Subject-Token", "").strip()
    if response.is_success and value.isascii() and value.isprintable() and value:
        return Token(SecretStr(value), _lifetime(response, now))
    failure = failure_of_response(
        Operation.CREATE_TOKEN,
        response.status_code,
        response.headers,
        response.content,
        None,
        secrets,
    )
    if response.is_success:
        return replace(failure, message="IAM answered, but without a token")
    message = f"IAM gave no token: {failure.message}"
    if response.is_client_error and failure.kind not in {
        FailureKind.TRANSIENT,
        FailureKind.THROTTLED,
    }:
        message = f"IAM refused the user name, password, domain or project: {failure.message}"
        return replace(failure, kind=FailureKind.UNAUTHENTICATED, message=message)
    return replace(failure, message=message)


def _lifetime(response: httpx.Response, now: datetime) -> float:
    """Return the token's life in seconds, measured from the answer's `Date` if there is one."""
    issued_at = http_date(response.headers.get("Date")) or now
    try:
        document = from_json(response.content)
        expires_at = datetime.fromisoformat(document["token"]["expires_at"])
    except (ValueError, TypeError, KeyError, IndexError):
        return _ASSUMED_LIFETIME.total_seconds()
    if expires_at.tzinfo is None:
        expires_at = expires_at.replace(tzinfo=UTC)
    lifetime = max(min(expires_at - issued_at, _LONGEST_LIFETIME), _SHORTEST_LIFETIME)
    return lifetime.total_seconds()
