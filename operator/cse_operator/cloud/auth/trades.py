"""Trades a token for a temporary key: builds the requests and parses the answers. No I/O.

Three ways lead to a temporary access key (read from the vendor's SDK `huaweicloudsdkcore` 3.1.219,
`auth/internal.py`; a contract test compares these requests with the SDK's):

* federation: IAM trades the token of a ServiceAccount for an IAM token, and that for a key;
* trust agency: STS trades the token of a ServiceAccount for a key of the agency;
* pod identity: the node's agent of CCE trades the token that it gave the Pod.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import httpx
from pydantic import SecretStr
from pydantic_core import from_json

from cse_operator.cloud.answers import OPERATION, Operation, failure_of_response
from cse_operator.cloud.auth.credentials import AccessKey
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.transport import USER_AGENT
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.http_time import http_date

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY_SECONDS: Final = 3600
"""Requested life of a temporary key in seconds; a revoked identity can use its key until then."""

_LONGEST_LIFETIME: Final = 24 * 3600.0
_NAMES: Final = {
    "access_key": ("access", "accessKeyId", "access_key_id"),
    "secret_key": ("secret", "secretAccessKey", "secret_access_key"),
    "security_token": ("securitytoken", "securityToken", "security_token"),
}
"""The names of a key's parts in the answers."""

_WAYS_OUT: Final = (
    ("expired|not yet valid|issued in the future|clock", "check the clocks of the cluster's nodes"),
    ("audience|client.?id", "the client id of the identity provider must equal --token-audience"),
    ("signature|signing|jwks|issuer", "give the identity provider the cluster's issuer and keys"),
    ("mapping|conversion|rule|trust polic|assume", "the rule must name system:serviceaccount:"),
    ("provider|idp", "check the identity provider that the resource names"),
)
"""Advice for the user by words in IAM's message. It decides nothing; the HTTP status does."""


@dataclass(frozen=True, slots=True)
class TemporaryKey:
    """An access key with its security token, and its life in seconds from its receipt."""

    value: AccessKey
    lifetime: float


def id_token_request(iam_endpoint: str, provider: str, id_token: SecretStr) -> httpx.Request:
    """Return the request to IAM that trades a ServiceAccount's token for an unscoped IAM token."""
    body = {"auth": {"id_token": {"id": id_token.get_secret_value()}}}
    url = f"{iam_endpoint}/v3.0/OS-AUTH/id-token/tokens"
    return _post(Operation.TRADE_ID_TOKEN, url, body, {"X-Idp-Id": provider})


def key_request(
    iam_endpoint: str, token: SecretStr, *, seconds: int = KEY_SECONDS
) -> httpx.Request:
    """Return the request to IAM that trades an IAM token for a temporary key."""
    token_part = {"id": token.get_secret_value(), "duration_seconds": seconds}
    body = {"auth": {"identity": {"methods": ["token"], "token": token_part}}}
    url = f"{iam_endpoint}/v3.0/OS-CREDENTIAL/securitytokens"
    return _post(Operation.CREATE_TEMPORARY_KEY, url, body)


def agency_request(
    sts_endpoint: str,
    *,
    provider_urn: str,
    agency_urn: str,
    session: str,
    id_token: SecretStr,
    seconds: int = KEY_SECONDS,
) -> httpx.Request:
    """Return the request to STS that trades a ServiceAccount's token for a trust agency's key."""
    body = {
        "provider_urn": provider_urn,
        "agency_urn": agency_urn,
        "agency_session_name": session,
        "id_token": id_token.get_secret_value(),
        "duration_seconds": seconds,
    }
    return _post(Operation.ASSUME_AGENCY, f"{sts_endpoint}/v5/agencies/assume-with-oidc", body)


def pod_request(url: str, authorization: SecretStr) -> httpx.Request:
    """Return the request to the agent of CCE that returns the key of a Pod's agency."""
    headers = {
        "Authorization": authorization.get_secret_value(),
        "Content-Type": "application/json",
    }
    return _post(Operation.POD_IDENTITY, url, {}, headers)


def _post(
    operation: Operation, url: str, body: dict[str, Any], headers: dict[str, str] | None = None
) -> httpx.Request:
    usual = {
        "Content-Type": "application/json;charset=UTF-8",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": USER_AGENT,
    }
    return httpx.Request(
        "POST",
        url,
        headers={**usual, **(headers or {})},
        content=json.dumps(body).encode(),
        extensions={OPERATION: operation},
    )


def read_token(response: httpx.Response, secrets: Iterable[SecretStr]) -> SecretStr:
    """Return the token in IAM's answer; the caller must have read the response's body.

    Raises:
        CloudError: The answer holds no token.
    """
    value = response.headers.get("X-Subject-Token", "").strip()
    if response.is_success and value and value.isascii() and value.isprintable():
        return SecretStr(value)
    raise CloudError(_refusal(response, secrets))


def read_key(response: httpx.Response, now: datetime, secrets: Iterable[SecretStr]) -> TemporaryKey:
    """Return the temporary key in an answer; the caller must have read the response's body.

    Its life is measured from the answer's `Date`, if there is one, so by the server's clock.

    Raises:
        CloudError: The answer holds no key, or does not say when the key expires.
    """
    if not response.is_success:
        raise CloudError(_refusal(response, secrets))
    found = _credential(response.content)
    values = {field: _text(found, names) for field, names in _NAMES.items()}
    ends_at = _moment(_text(found, ("expires_at", "expiration")))
    if ends_at is None or not all(values.values()):
        raise CloudError(_refusal(response, secrets))
    issued_at = http_date(response.headers.get("Date")) or now
    lifetime = min((ends_at - issued_at).total_seconds(), _LONGEST_LIFETIME)
    key = AccessKey(**{field: SecretStr(value) for field, value in values.items()})
    return TemporaryKey(key, lifetime)


def _credential(content: bytes) -> dict[str, Any]:
    try:
        document = from_json(content)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    inner = document.get("credential") or document.get("credentials") or document
    return inner if isinstance(inner, dict) else {}


def _text(found: dict[str, Any], names: Iterable[str]) -> str:
    """Return the first usable value under one of these names: it may become part of a header."""
    for name in names:
        value = found.get(name)
        if isinstance(value, str) and value.isascii() and value.isprintable() and value.strip():
            return value.strip()
    return ""


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _refusal(response: httpx.Response, secrets: Iterable[SecretStr]) -> Failure:
    """Return why there is no key: `UNAUTHENTICATED` if the vendor refused for any reason."""
    operation: Operation = response.request.extensions[OPERATION]
    failure = failure_of_response(
        operation, response.status_code, response.headers, response.content, None, secrets
    )
    if response.is_success:
        message = f"The answer to {operation} holds no usable token or key"
        return replace(failure, kind=FailureKind.TRANSIENT, message=message)
    passing = failure.kind in {FailureKind.TRANSIENT, FailureKind.THROTTLED}
    if passing or not response.is_client_error:
        return replace(failure, message=f"No temporary key from {operation}: {failure.message}")
    message = f"{operation} refused the identity: {failure.message}{_way_out(failure.message)}"
    return replace(failure, kind=FailureKind.UNAUTHENTICATED, message=message)


def _way_out(said: str) -> str:
    for words, advice in _WAYS_OUT:
        if re.search(words, said, re.IGNORECASE):
            return f" ({advice})"
    return ""
