"""Keyless callers: the endpoints of IAM, STS and CCE that trade tokens for temporary keys.

Requests and answers are those of the vendor's SDK (`huaweicloudsdkcore` 3.1.219,
`auth/internal.py`). The texts of the refusals are made up, because the vendor does not document
its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any

from cse_simulator.vendor.answers import Answer, encode, ok
from cse_simulator.vendor.calls import Call, as_json
from cse_simulator.vendor.clock import Clock
from cse_simulator.vendor.id_tokens import IdTokenRefusedError, Trust, subject_of
from cse_simulator.vendor.settings import Settings


@dataclass(frozen=True, slots=True)
class TemporaryKey:
    """An issued key; `expires_at` is in seconds since the epoch."""

    whose: str
    secret: str
    security_token: str
    expires_at: float


class _RefusedError(Exception):
    """IAM or STS refuses a request with a status."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Federation:
    """Trades tokens of clusters and Pods for temporary keys."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._tokens: dict[str, str] = {}
        self._number = 0
        self.keys: dict[str, TemporaryKey] = {}
        """The issued keys, by access key."""

    def trade_id_token(self, call: Call) -> Answer:
        """Answer POST /v3.0/OS-AUTH/id-token/tokens with an IAM token that has no project scope."""
        try:
            id_token = _inside(call, "auth", "id_token", "id")
            subject = self._subject(call.headers.get("X-Idp-Id", ""), id_token, agency="")
        except _RefusedError as refusal:
            return _iam_refusal(refusal)
        token = f"UNSCOPED-{self._random(subject)}"
        self._tokens[token] = subject
        body = {"token": {"methods": ["mapped"], "user": {"name": subject}}}
        return ok(body, HTTPStatus.CREATED, {"X-Subject-Token": token})

    def trade_token(self, call: Call) -> Answer:
        """Answer POST /v3.0/OS-CREDENTIAL/securitytokens with the method `token`."""
        try:
            token = _inside(call, "auth", "identity", "token", "id")
            seconds = _seconds(_inside(call, "auth", "identity", "token", "duration_seconds"))
            whose = self._whose(token)
        except _RefusedError as refusal:
            return _iam_refusal(refusal)
        access, key = self._hand_out(whose, seconds)
        credential = {
            "access": access,
            "secret": key.secret,
            "securitytoken": key.security_token,
            "expires_at": _moment(key.expires_at),
        }
        return ok({"credential": credential}, HTTPStatus.CREATED)

    def assume_agency(self, call: Call) -> Answer:
        """Answer POST /v5/agencies/assume-with-oidc."""
        try:
            agency = _inside(call, "agency_urn")
            provider, id_token = _inside(call, "provider_urn"), _inside(call, "id_token")
            subject = self._subject(provider, id_token, agency=agency)
            seconds = _seconds(_inside(call, "duration_seconds"))
        except _RefusedError as refusal:
            body = {"error_code": f"STS5.{refusal.status.value}", "error_msg": str(refusal)}
            return Answer(refusal.status, encode(body | {"request_id": call.request_id}))
        access, key = self._hand_out(subject, seconds)
        credentials = {
            "access_key_id": access,
            "secret_access_key": key.secret,
            "security_token": key.security_token,
            "expiration": _moment(key.expires_at),
        }
        return ok({"credentials": credentials})

    def pod_identity(self, call: Call) -> Answer:
        """Answer a Pod's POST to its node's agent; CCE chooses the path and tells the Pod."""
        whose = self._settings.pod_identities.get(call.headers.get("Authorization", ""))
        if whose is None:
            body = {"error_msg": "The token of the Pod is invalid."}
            return Answer(HTTPStatus.UNAUTHORIZED, encode(body))
        access, key = self._hand_out(whose, self._settings.temporary_key_seconds)
        answer = {
            "accessKeyId": access,
            "secretAccessKey": key.secret,
            "securityToken": key.security_token,
            "expiration": _moment(key.expires_at),
        }
        return ok(answer)

    def _subject(self, name: str, id_token: str, *, agency: str) -> str:
        """Return the token's subject if the named provider and one of its rules accept it."""
        named = [one for one in self._settings.identity_providers if one["name"] == name]
        if not named:
            message = f"Could not find identity provider: {name}."
            raise _RefusedError(HTTPStatus.NOT_FOUND, message)
        provider = named[0]
        trust = Trust(provider["issuer"], provider["audience"], provider["jwks"])
        try:
            subject = subject_of(id_token, trust, self._clock.now())
        except IdTokenRefusedError as wrong:
            raise _RefusedError(HTTPStatus.UNAUTHORIZED, str(wrong)) from None
        patterns = provider["subjects"]
        if not any(fnmatchcase(subject, pattern) for pattern in patterns):
            message = f"No conversion rule of the mapping fits {subject}."
            raise _RefusedError(HTTPStatus.FORBIDDEN, message)
        if agency != provider.get("agency", ""):
            message = f"The trust policy of {agency} does not let the provider assume it."
            raise _RefusedError(HTTPStatus.FORBIDDEN, message)
        return subject

    def _whose(self, token: str) -> str:
        if token not in self._tokens:
            raise _RefusedError(HTTPStatus.UNAUTHORIZED, "The token is invalid.")
        return self._tokens[token]

    def _hand_out(self, whose: str, seconds: float) -> tuple[str, TemporaryKey]:
        lifetime = min(seconds, self._settings.temporary_key_seconds)
        access = f"TEMPORARY-{self._random(whose)[:20]}"
        key = TemporaryKey(
            whose, self._random(whose), self._random(whose), self._clock.now() + lifetime
        )
        self.keys[access] = key
        return access, key

    def _random(self, whose: str) -> str:
        """Return a text that differs on each call and repeats on every run."""
        self._number += 1
        return hashlib.sha256(f"{self._number}/{whose}".encode()).hexdigest()


def _inside(call: Call, *names: str) -> Any:
    found = as_json(call.body)
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, str | int) or not found:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, f"The request body lacks {'.'.join(names)}.")
    return found


def _seconds(value: Any) -> float:
    if isinstance(value, int) and 900 <= value <= 24 * 3600:  # noqa: PLR2004 - IAM API Reference
        return float(value)
    raise _RefusedError(HTTPStatus.BAD_REQUEST, "duration_seconds has to be from 900 to 86400.")


def _iam_refusal(refusal: _RefusedError) -> Answer:
    status = refusal.status
    error = {"code": status.value, "message": str(refusal), "title": status.phrase}
    return Answer(status, encode({"error": error}))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
