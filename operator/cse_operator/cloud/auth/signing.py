"""Signs a request with an access key: the vendor's SDK-HMAC-SHA256, as a pure function.

The result equals that of the vendor's own SDK byte for byte (Huawei Cloud, API Request Signing
Guide, Algorithm); a contract test compares them over generated requests.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import httpx

    from cse_operator.cloud.auth.credentials import AccessKey

ALGORITHM = "SDK-HMAC-SHA256"
DATE_HEADER = "X-Sdk-Date"
_DATE_FORMAT = "%Y%m%dT%H%M%SZ"


def sign(  # noqa: PLR0917 - the parts of a request
    method: str,
    url: httpx.URL,
    headers: Mapping[str, str],
    body: bytes,
    credentials: AccessKey,
    when: datetime,
) -> dict[str, str]:
    """Compute the headers that authenticate a request.

    Args:
        method: The HTTP method.
        url: The request's URL; its host is signed as the `Host` header.
        headers: The headers to sign. Names with an underscore stay unsigned, because gateways
            drop such headers.
        body: The request's body; it must be JSON, or empty.
        credentials: The access key.
        when: The current time in UTC. The vendor accepts a difference of 15 minutes.

    Returns:
        The headers to add: the date, the security token of a temporary key, the signature.
    """
    added = {DATE_HEADER: when.strftime(_DATE_FORMAT)}
    if credentials.security_token is not None:
        added["X-Security-Token"] = credentials.security_token.get_secret_value()
    host = {"Host": url.netloc.decode("ascii")}
    signed = {
        name.lower(): value.strip()
        for name, value in {**host, **headers, **added}.items()
        if "_" not in name
    }
    digest = hashlib.sha256(_canonical_request(method, url, signed, body).encode()).hexdigest()
    to_sign = f"{ALGORITHM}\n{added[DATE_HEADER]}\n{digest}"
    key = credentials.secret_key.get_secret_value().encode()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    access = credentials.access_key.get_secret_value()
    names = ";".join(sorted(signed))
    added["Authorization"] = (
        f"{ALGORITHM} Access={access}, SignedHeaders={names}, Signature={signature}"
    )
    return added


def sign_request(
    request: httpx.Request, credentials: AccessKey, project_id: str, now: datetime
) -> None:
    """Sign a request with an access key; replace an earlier signature."""
    request.headers["X-Project-Id"] = project_id
    # Leave the other headers unsigned: a proxy may change them and break the signature.
    signed = {
        name: value
        for name, value in request.headers.items()
        if name == "content-type" or name.startswith("x-")
    }
    request.headers.update(
        sign(request.method, request.url, signed, request.content, credentials, now)
    )


def _canonical_request(method: str, url: httpx.URL, signed: Mapping[str, str], body: bytes) -> str:
    names = sorted(signed)
    return "\n".join(
        [
            method.upper(),
            _canonical_path(url),
            _canonical_query(url),
            *(f"{name}:{signed[name]}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        ]
    )


def _canonical_path(url: httpx.URL) -> str:
    """Return the path with each segment encoded once, and a slash at its end."""
    raw = url.raw_path.partition(b"?")[0].decode("ascii")
    path = "/".join(quote(segment, safe="~") for segment in unquote(raw).split("/"))
    return path if path.endswith("/") else f"{path}/"


def _canonical_query(url: httpx.URL) -> str:
    """Return the query sorted by name and then by value."""
    pairs = sorted(url.params.multi_items())
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
