"""Our signatures equal the vendor's byte for byte, over generated requests."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from cse_operator.cloud.auth.credentials import AccessKey
from cse_operator.cloud.auth.signing import sign

FORMAT = "%Y%m%dT%H%M%SZ"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
TAKEN = {"host", "content-type", "x-project-id", "x-security-token", "authorization"}
HEADER_NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,15}", fullmatch=True).filter(
    lambda name: name.lower() not in TAKEN and not name.lower().startswith("x-sdk-")
)
HEADER_VALUES = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20).map(
    lambda value: f" {value} "
)


def vendors_headers(  # noqa: PLR0917 - the parts of a request
    method: str,
    url: httpx.URL,
    query: list[tuple[str, str]],
    headers: dict[str, str],
    body: bytes,
    key: AccessKey,
    when: datetime,
) -> dict[str, str]:
    """Return the headers that the SDK adds to the same request."""
    token = key.security_token
    credentials = BasicCredentials(
        key.access_key.get_secret_value(), key.secret_key.get_secret_value(), "project-1"
    )
    if token is not None:
        credentials.with_security_token(token.get_secret_value())
    request = SdkRequest(
        method=method,
        schema=url.scheme,
        host=url.netloc.decode(),
        resource_path=url.raw_path.partition(b"?")[0].decode(),
        query_params=list(query),
        header_params={**headers, "X-Sdk-Date": when.strftime(FORMAT)},
        body=body,
    )
    signed: dict[str, str] = credentials.sign_request(request).header_params
    names = ("X-Sdk-Date", "X-Security-Token", "Authorization")
    return {name: signed[name] for name in names if name in signed}


@settings(max_examples=500, deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "put"]),
    host=st.sampled_from(["cse.cn-north-4.myhuaweicloud.com", "127.0.0.1:8080", "[::1]:8443"]),
    segments=st.lists(TEXT, max_size=6),
    query=st.lists(st.tuples(TEXT, TEXT), max_size=5),
    headers=st.dictionaries(HEADER_NAMES, HEADER_VALUES, max_size=5),
    body=st.one_of(
        st.just(b""), TEXT.map(lambda text: json.dumps({"version": text}).encode()), st.binary()
    ),
    access_key=VISIBLE,
    secret_key=st.one_of(VISIBLE, TEXT.filter(bool)),
    security_token=st.none() | VISIBLE,
    when=st.integers(10**9, 6 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
)
@example(
    method="PUT",
    host="cse.cn-north-4.myhuaweicloud.com",
    segments=["v2", "0a1b", "enginemgr", "engines", "891bf21a", "upgrade"],
    query=[],
    headers={"X-Enterprise-Project-ID": "0"},
    body=b'{"version": "2.4.0"}',
    access_key="AK",
    secret_key="SK",
    security_token=None,
    when=datetime(2025, 6, 1, 12, 0, tzinfo=UTC),
)
@example(
    method="GET",
    host="127.0.0.1:8080",
    segments=["a b", "%2F", "~", "..", "ü", "+"],
    query=[("b", "2"), ("a", "~ +%"), ("b", "1"), ("", ""), ("ü", "ß")],
    headers={"X-Under_score": "not signed", "X-Value": "ß"},
    body=b"",
    access_key="AK",
    secret_key="密钥",
    security_token="ST",
    when=datetime(2025, 6, 1, 12, 0, tzinfo=UTC),
)
def test_the_signature_is_the_sdks_byte_for_byte(  # noqa: PLR0917
    method: str,
    host: str,
    segments: list[str],
    query: list[tuple[str, str]],
    headers: dict[str, str],
    body: bytes,
    access_key: str,
    secret_key: str,
    security_token: str | None,
    when: datetime,
) -> None:
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    url = httpx.URL(f"https://{host}{path}").copy_with(params=query or None)
    unique = {name.lower(): (name, value) for name, value in headers.items()}
    sent = {"Content-Type": "application/json;charset=UTF-8", "X-Project-Id": "project-1"}
    sent.update(unique.values())
    key = AccessKey(
        access_key=SecretStr(access_key),
        secret_key=SecretStr(secret_key),
        security_token=None if security_token is None else SecretStr(security_token),
    )
    expected = vendors_headers(method, url, query, sent, body, key, when)
    assert sign(method, url, sent, body, key, when) == expected


@pytest.mark.parametrize("changed", ["method", "path", "query", "header", "body", "time", "secret"])
def test_everything_that_matters_is_signed(changed: str) -> None:
    usual: dict[str, Any] = {
        "method": "PUT",
        "url": httpx.URL("https://cse.example.com/v2/p/engines?a=1"),
        "headers": {"X-Project-Id": "p"},
        "body": b"{}",
        "credentials": AccessKey(access_key=SecretStr("a"), secret_key=SecretStr("s")),
        "when": datetime(2025, 6, 1, tzinfo=UTC),
    }
    other = {
        "method": {"method": "GET"},
        "path": {"url": httpx.URL("https://cse.example.com/v2/q/engines?a=1")},
        "query": {"url": httpx.URL("https://cse.example.com/v2/p/engines?a=2")},
        "header": {"headers": {"X-Project-Id": "q"}},
        "body": {"body": b"{ }"},
        "time": {"when": datetime(2025, 6, 2, tzinfo=UTC)},
        "secret": {"credentials": AccessKey(access_key=SecretStr("a"), secret_key=SecretStr("t"))},
    }
    assert sign(**usual)["Authorization"] != sign(**{**usual, **other[changed]})["Authorization"]
