"""What our client sends is what the vendor's SDK sends, seen by a server that speaks bytes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcse import v1 as sdk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from cse_operator.cloud.auth import AccessKeyAuth
from cse_operator.cloud.client import CseClient
from cse_operator.cloud.clock import boottime
from cse_operator.cloud.credentials import AccessKey
from cse_operator.cloud.transport import TransportOptions, build_http_client
from support.cloud_calls import (
    ACCEPTED,
    ENGINE,
    ENGINE_ANSWER,
    JOB_ANSWER,
    PROJECT,
    make_client,
)
from support.raw_vendor import RawRequest, RawVendor, answer

# The SDK's signer calls datetime.utcnow, which Python 3.12 and later complain about.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:datetime\.datetime\.utcnow:DeprecationWarning:huaweicloudsdkcore"
)

AK, SK, ST = "AKCONTRACT", "sk-contract", "st-contract"


def behave(request: RawRequest) -> bytes:
    if request.method == "PUT":
        return answer(200, ACCEPTED)
    if "/jobs/" in request.target:
        return answer(200, JOB_ANSWER)
    if "?" in request.target:
        return answer(200, {"total": 1, "data": [ENGINE_ANSWER]})
    return answer(200, ENGINE_ANSWER)


@pytest.fixture
async def vendor(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RawVendor]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with RawVendor(behave) as vendor:
        yield vendor


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with build_http_client(TransportOptions(allow_local_addresses=True)) as http:
        yield http


def our_client(
    http: httpx.AsyncClient, url: str, enterprise: str | None = None, token: str | None = None
) -> CseClient:
    key = AccessKey(
        access_key=SecretStr(AK),
        secret_key=SecretStr(SK),
        security_token=None if token is None else SecretStr(token),
    )
    auth = AccessKeyAuth(key, PROJECT)
    return make_client(http, url, auth=auth, enterprise_project_id=enterprise)


def theirs(url: str, call: Callable[[Any], Any], token: str | None = None) -> None:
    """Make one call with the SDK, in this thread."""
    credentials = BasicCredentials(AK, SK, PROJECT)
    if token is not None:
        credentials.with_security_token(token)
    builder = sdk.CseClient.new_builder().with_http_config(HttpConfig(timeout=(5, 20)))
    client = builder.with_credentials(credentials).with_endpoint(url).build()
    try:
        call(client)
    finally:
        client.close()


Ours = Callable[[CseClient], Awaitable[Any]]


def upgrade_by_sdk(client: Any, version: str, enterprise: str | None) -> None:
    body = sdk.EngineUpdateReq(version=version)
    client.upgrade_engine(
        sdk.UpgradeEngineRequest(x_enterprise_project_id=enterprise, engine_id=ENGINE, body=body)
    )


def retry_by_sdk(client: Any, enterprise: str | None) -> None:
    body = sdk.EngineAdditionalActionReq(action="Retry")
    client.retry_engine(
        sdk.RetryEngineRequest(x_enterprise_project_id=enterprise, engine_id=ENGINE, body=body)
    )


CALLS: dict[str, tuple[Ours, Callable[[Any], Any]]] = {
    "list": (
        lambda ours: ours.list_engines(),
        lambda client: client.list_engines(
            sdk.ListEnginesRequest(offset=0, limit="1000", type="ALL")
        ),
    ),
    "show": (
        lambda ours: ours.show_engine(ENGINE),
        lambda client: client.show_engine(sdk.ShowEngineRequest(engine_id=ENGINE)),
    ),
    "job": (
        lambda ours: ours.show_job(ENGINE, 17655),
        lambda client: client.show_engine_job(
            sdk.ShowEngineJobRequest(engine_id=ENGINE, job_id="17655")
        ),
    ),
    "upgrade": (
        lambda ours: ours.upgrade(ENGINE, "2.4.0", send_before=boottime() + 30),
        lambda client: upgrade_by_sdk(client, "2.4.0", None),
    ),
    "retry": (
        lambda ours: ours.retry(ENGINE, send_before=boottime() + 30),
        lambda client: retry_by_sdk(client, None),
    ),
}


def compared(request: RawRequest) -> dict[str, Any]:
    """What has to be equal; the time, the signature and the agent's name cannot be."""
    url = urlsplit(request.target)
    names = ("host", "x-project-id", "x-enterprise-project-id", "x-security-token")
    return {
        "method": request.method,
        "path": url.path,
        "query": sorted(parse_qsl(url.query, keep_blank_values=True)),
        "body": json.loads(request.body) if request.body else None,
        "media type": request.headers["content-type"].partition(";")[0],
        "headers": {name: request.headers.get(name) for name in names},
    }


@pytest.mark.parametrize("token", [None, ST])
@pytest.mark.parametrize("call", CALLS)
async def test_each_call_is_the_sdks(
    vendor: RawVendor, http: httpx.AsyncClient, call: str, token: str | None
) -> None:
    ours, by_sdk = CALLS[call]
    await ours(our_client(http, vendor.url, token=token))
    await asyncio.to_thread(theirs, vendor.url, by_sdk, token)
    our_request, sdk_request = vendor.requests
    assert compared(our_request) == compared(sdk_request)


@pytest.mark.parametrize("enterprise", [None, "0", "2a7c-1"])
async def test_the_enterprise_project_travels_as_the_sdk_sends_it(
    vendor: RawVendor, http: httpx.AsyncClient, enterprise: str | None
) -> None:
    ours = our_client(http, vendor.url, enterprise)
    await ours.upgrade(ENGINE, "2.4.0", send_before=boottime() + 30)
    await ours.retry(ENGINE, send_before=boottime() + 30)
    await asyncio.to_thread(
        theirs, vendor.url, lambda client: upgrade_by_sdk(client, "2.4.0", enterprise)
    )
    await asyncio.to_thread(theirs, vendor.url, lambda client: retry_by_sdk(client, enterprise))
    requests = [compared(request) for request in vendor.requests]
    assert requests[:2] == requests[2:]
    assert requests[0]["headers"]["x-enterprise-project-id"] == enterprise


@settings(max_examples=25, deadline=None)
@given(version=st.from_regex(r"[0-9a-zA-Z]([-+._0-9a-zA-Z]{0,22}[0-9a-zA-Z])?", fullmatch=True))
async def test_each_version_is_written_as_the_sdk_writes_it(version: str) -> None:
    async with RawVendor(behave) as vendor:
        options = TransportOptions(allow_local_addresses=True)
        async with build_http_client(options) as http:
            ours = our_client(http, vendor.url)
            await ours.upgrade(ENGINE, version, send_before=boottime() + 30)
        body = sdk.EngineUpdateReq(version=version)
        assert vendor.puts[0].body.decode() == json.dumps(body.to_dict())


@pytest.mark.parametrize("token", [None, ST])
@pytest.mark.parametrize("call", CALLS)
async def test_the_signature_on_the_wire_is_the_one_the_sdk_would_put_there(
    vendor: RawVendor, http: httpx.AsyncClient, call: str, token: str | None
) -> None:
    """As the gateway checks it: from the bytes that arrived, and the key."""
    await CALLS[call][0](our_client(http, vendor.url, "0", token))
    [request] = vendor.requests
    authorization = request.headers["authorization"]
    match = re.search(r"SignedHeaders=([^,]+),", authorization)
    assert match
    signed = match[1].split(";")
    assert {"host", "x-sdk-date", "content-type", "x-project-id"} <= set(signed)
    url = urlsplit(request.target)
    again = SdkRequest(
        method=request.method,
        schema="http",
        host=request.headers["host"],
        resource_path=url.path,
        query_params=parse_qsl(url.query, keep_blank_values=True),
        header_params={name: request.headers[name] for name in signed},
        body=request.body,
    )
    BasicCredentials(AK, SK).sign_request(again)
    assert again.header_params["Authorization"] == authorization


@pytest.mark.parametrize("call", CALLS)
async def test_the_documented_headers_are_there_as_documented(
    vendor: RawVendor, http: httpx.AsyncClient, call: str
) -> None:
    """CSE API Reference, Upgrading an Engine, Request Parameters."""
    client = make_client(http, vendor.url, enterprise_project_id="0")
    await CALLS[call][0](client)
    [request] = vendor.requests
    assert request.headers["content-type"] == "application/json;charset=UTF-8"
    assert request.headers["accept"] == "application/json"
    assert request.headers["x-enterprise-project-id"] == "0"
    assert request.headers["x-auth-token"]
