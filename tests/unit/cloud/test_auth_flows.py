"""Authentication of calls, with each kind of credentials."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from cse_operator.clock import boottime, utc_now
from cse_operator.cloud.auth.breaker import CredentialBreaker, RefusalBudget
from cse_operator.cloud.auth.credentials import AccessKey, PasswordToken, StaticToken
from cse_operator.cloud.auth.flows import AccessKeyAuth, StaticTokenAuth
from cse_operator.cloud.auth.kinds import auth_for
from cse_operator.cloud.auth.password import PasswordTokenAuth
from cse_operator.cloud.client import CseClient
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.transport import TransportOptions, build_http_client
from cse_operator.core.failure import FailureKind
from support.cloud_calls import (
    ACCEPTED,
    ENDPOINT,
    ENGINE,
    ENGINE_ANSWER,
    NOW,
    PROJECT,
    TOKEN,
    FakeTime,
    fails,
    gateway_error,
    make_client,
    mock_http,
)
from support.raw_vendor import Act, RawRequest, RawVendor, answer

IAM = "https://iam.cn-north-4.example.com"
USER = PasswordToken(
    username=SecretStr("canary-user"),
    password=SecretStr("canary-pass"),
    domain_name=SecretStr("canary-domain"),
)
KEY = AccessKey(access_key=SecretStr("canary-ak"), secret_key=SecretStr("canary-sk"))


class Vendor:
    """IAM and the engine service behind one mock transport."""

    def __init__(self) -> None:
        self.now = NOW
        self.good_tokens: set[str] = set()
        self.obtained = 0
        self.iam_answer: Callable[[], httpx.Response] = self.sell
        self.calls: list[httpx.Request] = []
        self.token_requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host.startswith("iam."):
            self.token_requests.append(request)
            return self.iam_answer()
        self.calls.append(request)
        if request.headers["X-Auth-Token"] not in self.good_tokens:
            return httpx.Response(401, json=gateway_error("APIGW.0307", "token expires"))
        return httpx.Response(200, json=ACCEPTED if request.method == "PUT" else ENGINE_ANSWER)

    def sell(self, *, hours: float = 24) -> httpx.Response:
        self.obtained += 1
        token = f"token-{self.obtained}"
        self.good_tokens.add(token)
        expires_at = (self.now + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        headers = {"X-Subject-Token": token, "Date": format_datetime(self.now, usegmt=True)}
        return httpx.Response(201, json={"token": {"expires_at": expires_at}}, headers=headers)

    def refuse(self) -> httpx.Response:
        body = {"error": {"code": 401, "message": "The username or password is wrong."}}
        return httpx.Response(401, json=body)

    def tokens_used(self) -> list[str]:
        return [request.headers["X-Auth-Token"] for request in self.calls]


def password_auth(time: FakeTime, breaker: CredentialBreaker | None = None) -> PasswordTokenAuth:
    breaker = breaker or CredentialBreaker(clock=time, jitter=lambda: 0.0)
    return PasswordTokenAuth(
        USER, PROJECT, IAM, breaker, clock=time, now=lambda: NOW, jitter=lambda: 0.5
    )


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


def client_of(vendor: Vendor, auth: Any) -> CseClient:
    return make_client(mock_http(vendor), auth=auth, sleep=FakeTime().sleep)


async def upgrade(client: CseClient) -> None:
    await client.upgrade(ENGINE, "2.4.0", send_before=boottime() + 30)


async def test_a_static_token_is_sent_as_it_is() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=ENGINE_ANSWER)

    await make_client(mock_http(handle)).show_engine(ENGINE)
    assert seen[0].headers["X-Auth-Token"] == TOKEN
    assert "Authorization" not in seen[0].headers


async def test_an_access_key_signs_what_no_proxy_may_change() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=ENGINE_ANSWER)

    key = KEY.model_copy(update={"security_token": SecretStr("canary-st")})
    auth = AccessKeyAuth(key, PROJECT, now=lambda: NOW)
    client = make_client(mock_http(handle), auth=auth, enterprise_project_id="0")
    await client.show_engine(ENGINE)
    headers = seen[0].headers
    assert headers["X-Sdk-Date"] == "20250601T120000Z"
    assert headers["X-Project-Id"] == PROJECT
    assert headers["X-Security-Token"] == "canary-st"
    assert headers["Authorization"].startswith(
        "SDK-HMAC-SHA256 Access=canary-ak, SignedHeaders=content-type;host;"
        "x-enterprise-project-id;x-project-id;x-sdk-date;x-security-token, Signature="
    )
    assert "X-Auth-Token" not in headers


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (StaticTokenAuth(StaticToken(token=SecretStr("bad"))), "X-Auth-Token"),
        (AccessKeyAuth(KEY, PROJECT), "Authorization"),
    ],
)
async def test_a_refused_credential_is_sent_once_and_then_held_back(auth: Any, header: str) -> None:
    sent: list[str] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers[header])
        return httpx.Response(401, json=gateway_error("APIGW.0301", "verify aksk signature fail"))

    client = make_client(mock_http(refuse), auth=auth)
    results = await asyncio.gather(
        *(client.show_engine(ENGINE) for _ in range(20)), return_exceptions=True
    )
    assert {result.kind for result in results} == {FailureKind.UNAUTHENTICATED}
    assert len({str(result) for result in results}) == 1
    with fails(FailureKind.UNAUTHENTICATED):
        await upgrade(client)
    assert len(sent) == 1


@pytest.mark.parametrize("credentials", [KEY, USER])
async def test_a_region_that_does_not_answer_holds_up_no_other_one(credentials: Any) -> None:
    reached, silent = asyncio.Event(), asyncio.Event()

    async def answer_in_one_region(request: httpx.Request) -> httpx.Response:
        if request.url.host == "cse.silent.example.com":
            reached.set()
            await silent.wait()
        headers = {"X-Subject-Token": "token"}
        return httpx.Response(200, json=ENGINE_ANSWER, headers=headers)

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer_in_one_region), trust_env=False)
    budget = RefusalBudget()
    of_all_regions = CredentialBreaker("secret", budget, proven_for=0)

    def client_in(region: str) -> CseClient:
        # Keys and tokens can be refused in one region only; IAM here serves all regions.
        own = CredentialBreaker("secret", budget, proven_for=0)
        breaker = own if credentials is KEY else of_all_regions
        auth = auth_for(credentials, breaker, project_id=PROJECT, iam_endpoint=IAM)
        return make_client(http, f"https://cse.{region}.example.com", auth=auth)

    async with asyncio.timeout(10), asyncio.TaskGroup() as calls:
        waiting = calls.create_task(client_in("silent").show_engine(ENGINE))
        await reached.wait()
        await client_in("lively").show_engine(ENGINE)
        assert not waiting.done()
        silent.set()


async def test_a_missing_engine_proves_the_credential_good() -> None:
    def missing(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"error_code": "SVCSTG.00501116", "error_msg": "none"})

    auth = StaticTokenAuth(StaticToken(token=SecretStr("good")))
    client = make_client(mock_http(missing), auth=auth)
    for _ in range(3):
        with fails(FailureKind.NOT_FOUND):
            await client.show_engine(ENGINE)
    assert auth.breaker.hold_back == 0


async def test_missing_rights_do_not_close_the_gate() -> None:
    def forbid(request: httpx.Request) -> httpx.Response:
        return httpx.Response(403, json=gateway_error("APIGW.0302"))

    auth = StaticTokenAuth(StaticToken(token=SecretStr("good")))
    client = make_client(mock_http(forbid), auth=auth)
    for _ in range(2):
        with fails(FailureKind.FORBIDDEN):
            await client.show_engine(ENGINE)


async def test_a_wrong_clock_is_mentioned_where_a_signature_is_refused() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        date = {"Date": "Sun, 01 Jun 2014 12:00:00 GMT"}
        return httpx.Response(401, json=gateway_error("APIGW.0301"), headers=date)

    client = make_client(mock_http(refuse), auth=AccessKeyAuth(KEY, PROJECT))
    with fails(FailureKind.UNAUTHENTICATED) as caught:
        await client.show_engine(ENGINE)
    assert "clock differs" in caught.failure.message


EXPIRED = "Incorrect IAM authentication information: signature expired, server time 20250601T1200Z"


@pytest.mark.parametrize(
    ("words", "date"),
    [
        (EXPIRED, "now"),
        ("verify aksk signature fail", "Sun, 01 Jun 2014 12:00:00 GMT"),
    ],
    ids=["the gateway says so", "only the date tells"],
)
async def test_a_clock_that_is_mended_is_not_punished_by_a_cool_down(words: str, date: str) -> None:
    offset, answers = [-1200.0], [(401, gateway_error("APIGW.0301", words))]

    def respond(request: httpx.Request) -> httpx.Response:
        status, body = answers.pop(0) if answers else (200, ENGINE_ANSWER)
        shown = format_datetime(utc_now(), usegmt=True) if date == "now" else date
        return httpx.Response(status, json=body, headers={"Date": shown})

    breaker = CredentialBreaker(clock=FakeTime(), offset=lambda: offset[0])
    client = make_client(mock_http(respond), auth=AccessKeyAuth(KEY, PROJECT, breaker))
    for _ in range(2):
        with fails(FailureKind.UNAUTHENTICATED) as caught:
            await client.show_engine(ENGINE)
        assert "this machine's clock differs from the vendor's" in caught.failure.message
        assert "tried again after a while, or as soon as the clock is set" in caught.failure.message
    offset[0] = 0.0
    assert (await client.show_engine(ENGINE)).version == "2.3.1"


async def test_a_token_is_bought_as_documented_and_used_for_all_calls(
    vendor: Vendor, time: FakeTime
) -> None:
    client = client_of(vendor, password_auth(time))
    await asyncio.gather(*(client.show_engine(ENGINE) for _ in range(10)))
    assert vendor.tokens_used() == ["token-1"] * 10
    [request] = vendor.token_requests
    assert request.method == "POST"
    assert str(request.url) == f"{IAM}/v3/auth/tokens?nocatalog=true"
    assert request.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert json.loads(request.content) == {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {
                    "user": {
                        "name": "canary-user",
                        "password": "canary-pass",
                        "domain": {"name": "canary-domain"},
                    }
                },
            },
            "scope": {"project": {"id": PROJECT}},
        }
    }


async def test_a_token_is_renewed_before_it_expires(vendor: Vendor, time: FakeTime) -> None:
    client = client_of(vendor, password_auth(time))
    await client.show_engine(ENGINE)
    time.advance(20 * 3600)
    await client.show_engine(ENGINE)
    time.advance(2 * 3600)
    await client.show_engine(ENGINE)
    assert vendor.tokens_used() == ["token-1", "token-1", "token-2"]


async def test_a_token_serves_to_its_end_while_iam_is_out_of_order(
    vendor: Vendor, time: FakeTime
) -> None:
    client = client_of(vendor, password_auth(time))
    await client.show_engine(ENGINE)
    vendor.iam_answer = lambda: httpx.Response(503, json=gateway_error("APIGW.0613"))
    time.advance(22 * 3600)
    await client.show_engine(ENGINE)
    await client.show_engine(ENGINE)
    assert len(vendor.token_requests) == 2, "IAM was asked again at once"
    time.advance(3 * 3600)
    with fails(FailureKind.TRANSIENT):
        await client.show_engine(ENGINE)


async def test_a_token_serves_to_its_end_while_iam_is_out_of_reach(
    vendor: Vendor, time: FakeTime
) -> None:
    def out_of_reach() -> httpx.Response:
        time.advance(30)
        raise httpx.ConnectTimeout("no route to host")

    client = client_of(vendor, password_auth(time))
    await client.show_engine(ENGINE)
    vendor.iam_answer = out_of_reach
    time.advance(22 * 3600)
    for _ in range(3):
        await client.show_engine(ENGINE)
    await upgrade(client)
    assert len(vendor.token_requests) == 2, "IAM was asked again at once"
    time.advance(3 * 3600)
    with fails(FailureKind.TRANSIENT):
        await client.show_engine(ENGINE)


async def test_nobody_waits_for_a_new_token_while_the_old_one_is_valid(
    vendor: Vendor, time: FakeTime
) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slow_iam(request: httpx.Request) -> httpx.Response:
        if vendor.obtained and request.url.host.startswith("iam."):
            asked.set()
            await answered.wait()
        return vendor(request)

    http = httpx.AsyncClient(transport=httpx.MockTransport(slow_iam), trust_env=False)
    breaker = CredentialBreaker(proven_for=24 * 3600, clock=time)
    client = make_client(http, auth=password_auth(time, breaker))
    await client.show_engine(ENGINE)
    time.advance(22 * 3600)
    async with asyncio.timeout(10), asyncio.TaskGroup() as calls:
        renewing = calls.create_task(client.show_engine(ENGINE))
        await asked.wait()
        await client.show_engine(ENGINE)
        assert not renewing.done()
        answered.set()
    assert vendor.tokens_used() == ["token-1", "token-1", "token-2"]


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_a_project_that_iam_refuses_is_not_the_other_projects_trouble(
    vendor: Vendor, time: FakeTime, status: int
) -> None:
    breaker = CredentialBreaker(clock=time, jitter=lambda: 0.0)
    mistyped = client_of(vendor, password_auth(time, breaker))
    vendor.iam_answer = lambda: httpx.Response(status, json=gateway_error("IAM.0011"))
    for _ in range(3):
        with fails(FailureKind.UNAUTHENTICATED):
            await mistyped.show_engine(ENGINE)
    assert len(vendor.token_requests) == 1

    vendor.iam_answer = vendor.sell
    await client_of(vendor, password_auth(time, breaker)).show_engine(ENGINE)
    with fails(FailureKind.UNAUTHENTICATED):
        await mistyped.show_engine(ENGINE)
    time.advance(breaker.cooling)
    await mistyped.show_engine(ENGINE)


async def test_a_good_token_does_not_vouch_for_the_password_that_bought_it_long_ago(
    vendor: Vendor, time: FakeTime
) -> None:
    breaker = CredentialBreaker(clock=time, cooling=300, jitter=lambda: 0.0)
    old, new = (client_of(vendor, password_auth(time, breaker)) for _ in range(2))
    await old.show_engine(ENGINE)
    vendor.iam_answer = vendor.refuse
    for _ in range(4):
        with fails(FailureKind.UNAUTHENTICATED):
            await new.show_engine(ENGINE)
        time.advance(300)
        if breaker.hold_back <= 0:
            await old.show_engine(ENGINE)
    assert breaker.hold_back == 900, "the third cool-down is four times the first"


async def test_a_changed_password_is_refused_once_however_many_projects_need_a_token(
    vendor: Vendor, time: FakeTime
) -> None:
    async def answer_later(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        return vendor(request)

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer_later), trust_env=False)
    breaker = CredentialBreaker(clock=time, jitter=lambda: 0.0)
    clients = [make_client(http, auth=password_auth(time, breaker)) for _ in range(10)]
    for _ in range(2):
        for client in clients:
            await client.show_engine(ENGINE)
        time.advance(3600)
    await clients[0].show_engine(ENGINE)
    vendor.token_requests.clear()
    vendor.good_tokens.clear()
    vendor.iam_answer = vendor.refuse
    results = await asyncio.gather(
        *(client.show_engine(ENGINE) for client in clients), return_exceptions=True
    )
    assert {result.kind for result in results} == {FailureKind.UNAUTHENTICATED}
    assert len(vendor.token_requests) == 1


async def test_a_refused_token_is_renewed_once_and_the_call_made_again(
    vendor: Vendor, time: FakeTime
) -> None:
    client = client_of(vendor, password_auth(time))
    await client.show_engine(ENGINE)
    vendor.good_tokens.clear()
    await asyncio.gather(*(client.show_engine(ENGINE) for _ in range(5)))
    assert vendor.obtained == 2
    assert vendor.tokens_used()[-5:] == ["token-2"] * 5


async def test_a_token_is_not_shown_when_it_is_no_longer_the_current_one(
    vendor: Vendor, time: FakeTime
) -> None:
    def echo(request: httpx.Request) -> httpx.Response:
        if request.method != "PUT":
            return vendor(request)
        return httpx.Response(401, json={"error_msg": f"bad {request.headers['X-Auth-Token']}"})

    auth = password_auth(time)
    client = make_client(mock_http(echo), auth=auth)
    await client.show_engine(ENGINE)
    with fails(FailureKind.OUTCOME_UNKNOWN) as caught:
        await upgrade(client)
    assert "bad" in caught.failure.message
    assert "token-1" not in repr(caught.error)


async def test_tokens_that_are_refused_as_soon_as_bought_end_in_a_long_wait(
    vendor: Vendor, time: FakeTime
) -> None:
    client = client_of(vendor, password_auth(time))
    await client.show_engine(ENGINE)

    def sell_bad() -> httpx.Response:
        sold = vendor.sell()
        vendor.good_tokens.clear()
        return sold

    vendor.good_tokens.clear()
    vendor.iam_answer = sell_bad
    for _ in range(5):
        with fails(FailureKind.UNAUTHENTICATED):
            await client.show_engine(ENGINE)
    assert vendor.obtained == 2
    assert len(vendor.calls) == 3


async def test_a_wrong_password_is_tried_once_in_a_cooling_period(
    vendor: Vendor, time: FakeTime
) -> None:
    vendor.iam_answer = vendor.refuse
    client = client_of(vendor, password_auth(time))
    for _ in range(10):
        with fails(FailureKind.UNAUTHENTICATED) as caught:
            await client.show_engine(ENGINE)
        time.advance(10)
    assert len(vendor.token_requests) == 1
    assert "The username or password is wrong." in caught.failure.message
    time.advance(300)
    vendor.iam_answer = vendor.sell
    await client.show_engine(ENGINE)


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (httpx.Response(429, headers={"Retry-After": "30"}), FailureKind.THROTTLED),
        (httpx.Response(500), FailureKind.TRANSIENT),
        (httpx.Response(201), FailureKind.TRANSIENT),
        (httpx.Response(201, headers={"X-Subject-Token": "  "}), FailureKind.TRANSIENT),
        (httpx.Response(404, json=gateway_error("IAM.0404")), FailureKind.UNAUTHENTICATED),
        (httpx.Response(403, json=gateway_error("IAM.0403")), FailureKind.UNAUTHENTICATED),
    ],
)
async def test_what_iam_says_instead_of_a_token_is_told_apart(
    vendor: Vendor, time: FakeTime, response: httpx.Response, kind: type[CloudError]
) -> None:
    vendor.iam_answer = lambda: response
    client = client_of(vendor, password_auth(time))
    for _ in range(3):
        with fails(kind):
            await client.show_engine(ENGINE)
    assert len(vendor.token_requests) == 1
    assert vendor.calls == []


async def test_without_a_readable_expiry_a_token_is_kept_an_hour(
    vendor: Vendor, time: FakeTime
) -> None:
    def sell() -> httpx.Response:
        sold = vendor.sell()
        return httpx.Response(201, headers=sold.headers, content=b"[]")

    vendor.iam_answer = sell
    client = client_of(vendor, password_auth(time))
    await client.show_engine(ENGINE)
    time.advance(2000)
    await client.show_engine(ENGINE)
    time.advance(2000)
    await client.show_engine(ENGINE)
    assert vendor.obtained == 2


async def test_a_put_whose_token_cannot_be_bought_was_not_sent(
    vendor: Vendor, time: FakeTime
) -> None:
    vendor.iam_answer = lambda: httpx.Response(503)
    with fails(FailureKind.NOT_SENT):
        await upgrade(client_of(vendor, password_auth(time)))
    assert vendor.calls == []


def test_each_kind_of_credentials_has_its_authentication() -> None:
    kinds = {
        StaticToken(token=SecretStr("t")): StaticTokenAuth,
        KEY: AccessKeyAuth,
        USER: PasswordTokenAuth,
    }
    for credentials, kind in kinds.items():
        breaker = CredentialBreaker()
        auth = auth_for(credentials, breaker, project_id=PROJECT, iam_endpoint=IAM)
        assert type(auth) is kind
        assert auth.breaker is breaker
        assert set(auth.secrets()) == set(credentials.secrets())


def test_the_flows_refuse_a_synchronous_client() -> None:
    auth = StaticTokenAuth(StaticToken(token=SecretStr("t")))
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    with httpx.Client(transport=transport) as client, pytest.raises(RuntimeError):
        client.get(ENDPOINT, auth=auth)


# On a real socket: the fence and the renewal together.


def on_the_wire(put_deeds: list[bytes | Act]) -> Callable[[RawRequest], bytes | Act]:
    obtained = iter(range(1, 100))
    deeds = iter(put_deeds)

    def behave(request: RawRequest) -> bytes | Act:
        if request.method == "POST":
            return answer(201, b"{}", {"X-Subject-Token": f"token-{next(obtained)}"})
        return next(deeds) if request.method == "PUT" else answer(200, ENGINE_ANSWER)

    return behave


REFUSED = answer(401, gateway_error("APIGW.0301", "decrypt token fail"))


@pytest.mark.parametrize(
    ("deed", "kind"),
    [
        (REFUSED, FailureKind.OUTCOME_UNKNOWN),
        (answer(401, b"<html>proxy</html>"), FailureKind.OUTCOME_UNKNOWN),
        (answer(401, {"error_code": "SVCSTG.00501116"}), FailureKind.NOT_FOUND),
        (answer(401, gateway_error("APIGW.9999")), FailureKind.OUTCOME_UNKNOWN),
    ],
)
async def test_a_put_whose_token_is_refused_is_not_sent_again_and_the_next_call_has_a_new_one(
    deed: bytes, kind: type[CloudError]
) -> None:
    options = TransportOptions(allow_local_addresses=True)
    async with RawVendor(on_the_wire([deed])) as raw, build_http_client(options) as http:
        client = make_client(http, raw.url, auth=PasswordTokenAuth(USER, PROJECT, raw.url))
        await client.show_engine(ENGINE)
        with fails(kind):
            await upgrade(client)
        await client.show_engine(ENGINE)
        calls = [r for r in raw.requests if r.method != "POST"]
        assert [r.method for r in calls] == ["GET", "PUT", "GET"]
        last = "token-1" if kind is FailureKind.NOT_FOUND else "token-2"
        assert [r.headers["x-auth-token"] for r in calls] == ["token-1", "token-1", last]


async def test_a_put_whose_iam_cannot_be_reached_was_not_sent() -> None:
    options = TransportOptions(allow_local_addresses=True)
    async with RawVendor(on_the_wire([])) as raw, build_http_client(options) as http:
        auth = PasswordTokenAuth(USER, PROJECT, "http://127.0.0.1:1")
        with fails(FailureKind.NOT_SENT):
            await upgrade(make_client(http, raw.url, auth=auth))
        assert raw.requests == []
