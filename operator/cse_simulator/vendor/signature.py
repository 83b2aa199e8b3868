"""Verification of AK/SK signatures (scheme SDK-HMAC-SHA256).

Written from the published scheme (Huawei Cloud, API Request Signing Guide), not from a client's
code: it rebuilds the canonical request from the received call and compares the HMAC.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote

ALGORITHM = "SDK-HMAC-SHA256"
DATE_FORMAT = "%Y%m%dT%H%M%SZ"


class Authorization(NamedTuple):
    """The parts of an Authorization header in this scheme."""

    access_key: str
    signed_headers: tuple[str, ...]
    signature: str


def parse(header: str) -> Authorization | None:
    """Parse an Authorization header; None if it has another scheme or lacks a part."""
    scheme, _, rest = header.partition(" ")
    if scheme != ALGORITHM:
        return None
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    try:
        names = tuple(parts["SignedHeaders"].split(";"))
        return Authorization(parts["Access"], names, parts["Signature"])
    except KeyError:
        return None


def signed_at(header: str | None) -> float | None:
    """Return the time in X-Sdk-Date (seconds since the epoch); None if it cannot be read."""
    try:
        return datetime.strptime(header or "", DATE_FORMAT).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def is_valid(
    authorization: Authorization,
    secret_key: str,
    *,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
) -> bool:
    """Return whether a signature matches this call and this secret key."""
    if any(name not in headers for name in authorization.signed_headers):
        return False
    canonical = "\n".join(
        (
            method.upper(),
            _canonical_path(path),
            _canonical_query(query),
            "".join(f"{name}:{headers[name].strip()}\n" for name in authorization.signed_headers),
            ";".join(authorization.signed_headers),
            (body and headers.get("X-Sdk-Content-Sha256")) or hashlib.sha256(body).hexdigest(),
        )
    )
    to_sign = "\n".join(
        (
            ALGORITHM,
            headers.get("X-Sdk-Date", ""),
            hashlib.sha256(canonical.encode()).hexdigest(),
        )
    )
    expected = hmac.new(secret_key.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, authorization.signature)


def _canonical_path(path: str) -> str:
    encoded = "/".join(quote(part, safe="~") for part in unquote(path).split("/"))
    return encoded if encoded.endswith("/") else encoded + "/"


def _canonical_query(query: str) -> str:
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
