"""Identities without a stored key: when they trade tokens, and when the vendor refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from cse_operator.cloud.auth.breaker import CredentialBreaker
from cse_operator.cloud.auth.identities import (
    Agency,
    Federation,
    Places,
    PodIdentity,
    ProjectedIdentity,
    ServiceAccountIdentity,
)
from cse_operator.cloud.auth.keyless import KeylessAuth
from cse_operator.cloud.auth.sessions import IdentitySession, Terms
from cse_operator.cloud.errors import CloudError
from cse_operator.core.failure import Failure, FailureKind
from support.cloud_calls import (
    ACCEPTED,
    ENGINE,
    ENGINE_ANSWER,
    NOW,
    PROJECT,
    FakeTime,
    gateway_error,
    make_client,
)

PLACES = Places(iam="https://iam.cn-north-4.example.com", sts="https://sts.cn-north-4.example.com")
NEEDED, SENDING = 60.0, 15.0
"""Seconds that a key must still live: at the decision for a call, and at each request."""
LIFE = 3600.0


class World:
    """A cluster that issues tokens, a vendor that trades them for keys, and a clock."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.asked: list[tuple[str, str]] = []
        self.trades: list[httpx.Request] = []
        self.trade_answer: Callable[[int], httpx.Response] | None = None
        self.held: asyncio.Event | None = None
        self.good: set[str] = set()
        self.calls = 0
        self.counted = 0
        self.under_way: set[asyncio.Task[None]] = set()
        self.life = LIFE
        self.http = httpx.AsyncClient(
            transport=httpx.MockTransport(self.answer_soon), trust_env=False
        )

    async def id_token(self, namespace: str, name: str) -> SecretStr:
        self.asked.append((namespace, name))
        return SecretStr(f"canary-id-token-{len(self.asked)}")

    def session(
        self, way: Federation | Agency | PodIdentity | ProjectedIdentity | None = None
    ) -> IdentitySession:
        way = way or Federation("cce")
        identity = (
            way
            if isinstance(way, PodIdentity | ProjectedIdentity)
            else ServiceAccountIdentity("payments", "upgrades", way, self.id_token)
        )
        terms = Terms(
            NEEDED, SENDING, self._count, self.under_way, clock=self.time, jitter=lambda: 0.5
        )
        return IdentitySession(identity, PLACES, self.breaker(), terms)

    def breaker(self) -> CredentialBreaker:
        return CredentialBreaker(
            cooling=300.0,
            clock=self.time,
            offset=lambda: 0.0,
            jitter=lambda: 0.0,
            mended_by="spec.credentialsRef changes",
        )

    def auth(self, session: IdentitySession, project: str = PROJECT) -> KeylessAuth:
        return KeylessAuth(session, self.http, project, self.breaker(), now=lambda: NOW)

    def _count(self) -> None:
        self.counted += 1

    async def answer_soon(self, request: httpx.Request) -> httpx.Response:
        if self.held is not None and "cse" not in request.url.host:
            await self.held.wait()
        return self.answer(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if "cse" in request.url.host:
            return self._engine(request)
        self.trades.append(request)
        if self.trade_answer is not None:
            return self.trade_answer(len(self.trades))
        if request.url.path.endswith("id-token/tokens"):
            return httpx.Response(201, json={}, headers={"X-Subject-Token": "canary-unscoped"})
        key = f"canary-ak-{len(self.trades)}"
        self.good.add(key)
        ends_at = (NOW + timedelta(seconds=self.life)).isoformat().replace("+00:00", "Z")
        parts = {"access": key, "secret": "canary-sk", "securitytoken": "canary-st"}
        body = {"credential": {**parts, "expires_at": ends_at}}
        return httpx.Response(201, json=body, headers={"Date": format_datetime(NOW, usegmt=True)})

    def _engine(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        key = request.headers["Authorization"].partition("Access=")[2].partition(",")[0]
        assert request.headers["X-Security-Token"] == "canary-st"
        if key not in self.good:
            return httpx.Response(401, json=gateway_error("APIGW.0301"))
        return httpx.Response(200, json=ENGINE_ANSWER if request.method == "GET" else ACCEPTED)


@pytest.fixture
def world() -> World:
    return World()


def refused(status: int, message: str) -> Callable[[int], httpx.Response]:
    body = {"error": {"code": status, "message": message, "title": "x"}}
    return lambda _: httpx.Response(status, json=body)


async def test_one_trade_serves_all_projects_and_all_who_ask_at_once(world: World) -> None:
    session = world.session()
    clients = [make_client(world.http, auth=world.auth(session, f"p{n}")) for n in range(5)]
    await asyncio.gather(*(client.show_engine(ENGINE) for client in clients))
    assert [request.url.path for request in world.trades] == [
        "/v3.0/OS-AUTH/id-token/tokens",
        "/v3.0/OS-CREDENTIAL/securitytokens",
    ]
    assert (world.asked, world.counted) == ([("payments", "upgrades")], 1)


async def test_a_caller_that_goes_away_does_not_take_the_key_from_the_others(world: World) -> None:
    session, world.held = world.session(), asyncio.Event()
    first = asyncio.create_task(session.key(world.http))
    second = asyncio.create_task(session.key(world.http))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    world.held.set()
    key, fresh = await second
    assert fresh
    assert key.value.access_key.get_secret_value() in world.good


async def test_a_key_is_renewed_early_behind_the_calls_that_go_on_with_it(world: World) -> None:
    session = world.session()
    old, _ = await session.key(world.http)
    world.time.advance(LIFE * 0.74)
    assert (await session.key(world.http))[0] is old
    assert world.counted == 1
    world.time.advance(LIFE * 0.02)
    world.held = asyncio.Event()
    assert (await session.key(world.http))[0] is old  # no call waits for the renewal
    world.held.set()
    assert session._trading is not None
    await session._trading
    new, fresh = await session.key(world.http)
    assert new is not old
    assert not fresh
    assert world.counted == 2


async def test_a_key_that_would_end_before_a_call_does_is_no_key(world: World) -> None:
    session = world.session()
    auth = world.auth(session)
    await auth.prepare()
    world.trade_answer = refused(503, "busy")
    world.time.advance(LIFE - NEEDED - 1)
    await auth.prepare()  # the old key outlives a call, although IAM is away
    world.time.advance(2)
    with pytest.raises(CloudError) as caught:
        await auth.prepare()
    assert caught.value.kind is FailureKind.TRANSIENT
    # Calls that have begun use the old key, and looks continue until it ends.
    assert auth.held_back() is None
    await session.key(world.http)
    world.time.advance(NEEDED - SENDING)
    with pytest.raises(CloudError):
        await session.key(world.http)
    assert auth.held_back() is not None


async def test_a_refused_identity_is_left_alone_until_the_cool_down_is_over(world: World) -> None:
    world.trade_answer = refused(403, "No conversion rule of the mapping fits.")
    session = world.session()
    auth = world.auth(session)
    for _ in range(5):
        with pytest.raises(CloudError) as caught:
            await auth.prepare()
        assert caught.value.kind is FailureKind.UNAUTHENTICATED
        world.time.advance(20)
    said = caught.value.failure.message
    assert "the rule must name system:serviceaccount:" in said
    assert "or as soon as spec.credentialsRef changes" in said
    assert len(world.trades) == 1
    world.trade_answer = None
    world.time.advance(300)
    await auth.prepare()
    assert auth.held_back() is None


async def test_a_throttled_iam_is_asked_again_when_it_said(world: World) -> None:
    world.trade_answer = lambda _: httpx.Response(
        429, json=gateway_error("APIGW.0308"), headers={"Retry-After": "40"}
    )
    auth = world.auth(world.session())
    for _ in range(3):
        with pytest.raises(CloudError) as caught:
            await auth.prepare()
        assert caught.value.kind is FailureKind.THROTTLED
        world.time.advance(13)
    assert len(world.trades) == 1
    world.trade_answer = None
    world.time.advance(5)
    await auth.prepare()


async def test_a_refused_key_is_traded_anew_once_and_the_read_made_again(world: World) -> None:
    client = make_client(world.http, auth=world.auth(world.session()))
    await client.show_engine(ENGINE)
    world.good.clear()
    assert (await client.show_engine(ENGINE)).engine_id == ENGINE
    assert (world.counted, world.calls) == (2, 3)


async def test_a_new_key_that_is_refused_is_the_trouble_of_its_project_alone(world: World) -> None:
    session = world.session()
    client = make_client(world.http, auth=world.auth(session))
    await client.show_engine(ENGINE)
    world.good = set()
    world._engine = lambda _: httpx.Response(401, json=gateway_error("APIGW.0301"))  # type: ignore[method-assign]
    for _ in range(3):
        with pytest.raises(CloudError) as caught:
            await client.show_engine(ENGINE)
        assert caught.value.kind is FailureKind.UNAUTHENTICATED
    assert world.counted == 2
    assert world.auth(session, "another").held_back() is None


async def test_a_changing_call_is_not_sent_again_with_a_new_key(world: World) -> None:
    auth = world.auth(world.session())
    client = make_client(world.http, auth=auth)
    await client.show_engine(ENGINE)
    world.good.clear()
    calls = world.calls
    with pytest.raises(CloudError) as caught:
        await client.upgrade(ENGINE, "2.4.0", send_before=float("inf"), namespace="payments")
    assert caught.value.kind is FailureKind.OUTCOME_UNKNOWN
    assert world.calls == calls + 1


async def test_no_text_holds_a_secret_of_a_trade_whatever_the_vendor_repeats(world: World) -> None:
    def repeating(_: int) -> httpx.Response:
        sent = json.loads(world.trades[-1].content)
        return httpx.Response(401, json={"error": {"message": f"not {sent['auth']}", "code": 401}})

    world.trade_answer = repeating
    session = world.session()
    with pytest.raises(CloudError) as caught:
        await session.key(world.http)
    assert "canary" not in str(caught.value)
    assert "canary" not in repr(session.identity)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(201, json={}),
        httpx.Response(201, text="<html>", headers={"X-Subject-Token": "t"}),
        httpx.Response(201, json=[1], headers={"X-Subject-Token": "t"}),
        httpx.Response(
            201,
            json={"credential": {"access": "a", "secret": "b", "securitytoken": "c"}},
            headers={"X-Subject-Token": "t"},
        ),
        httpx.Response(
            201,
            json={"credential": {"access": "a\n", "secret": "", "securitytoken": 1}},
            headers={"X-Subject-Token": "t"},
        ),
    ],
)
async def test_an_answer_without_a_whole_key_is_no_key_and_no_refusal(
    world: World, answer: httpx.Response
) -> None:
    world.trade_answer = lambda _: httpx.Response(
        answer.status_code, content=answer.content, headers=answer.headers
    )
    with pytest.raises(CloudError) as caught:
        await world.session().key(world.http)
    assert caught.value.kind is FailureKind.TRANSIENT


async def test_a_key_that_is_born_too_short_lived_is_told_and_not_traded_in_a_loop(
    world: World,
) -> None:
    world.life = NEEDED - 1
    session = world.session()
    for _ in range(3):
        with pytest.raises(CloudError, match="expires before a call could end"):
            await session.key(world.http, for_a_call=True)
    assert world.counted == 1


async def test_a_lack_of_a_token_is_told_as_it_is(world: World) -> None:
    async def none(namespace: str, name: str) -> SecretStr:
        raise CloudError(Failure(FailureKind.CREDENTIALS_MISSING, "There is no ServiceAccount"))

    world.id_token = none  # type: ignore[method-assign]
    with pytest.raises(CloudError) as caught:
        await world.session().key(world.http)
    assert caught.value.kind is FailureKind.CREDENTIALS_MISSING
    assert world.trades == []


async def test_an_address_that_is_none_is_told_and_breaks_nothing(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("canary")
    session = world.session(PodIdentity("http://[::", tmp_path / "token"))
    with pytest.raises(CloudError) as caught:
        await session.key(world.http)
    assert caught.value.kind is FailureKind.TRANSIENT
    assert world.under_way == set()


async def test_an_agency_is_assumed_at_sts_in_the_name_of_the_account(world: World) -> None:
    await world.session(Agency("provider-urn", "agency-urn")).key(world.http)
    (request,) = world.trades
    assert str(request.url) == f"{PLACES.sts}/v5/agencies/assume-with-oidc"
    body: dict[str, Any] = json.loads(request.content)
    assert body["agency_session_name"] == "payments.upgrades"


async def test_the_operators_projected_token_is_traded_as_it_is_at_the_moment(
    world: World, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    session = world.session(ProjectedIdentity(Federation("cce"), token))
    for text in ("canary-first", "canary-second"):
        token.write_text(f"{text}\n")
        world.time.advance(LIFE)
        await session.key(world.http)
    sent = [json.loads(one.content)["auth"].get("id_token") for one in world.trades]
    assert sent == [{"id": "canary-first"}, None, {"id": "canary-second"}, None]


async def test_the_pods_token_is_read_anew_for_each_trade(world: World, tmp_path: Path) -> None:
    token = tmp_path / "token"
    session = world.session(PodIdentity("http://169.254.169.250/v1/credentials", token))
    with pytest.raises(CloudError) as caught:
        await session.key(world.http)
    assert caught.value.kind is FailureKind.CREDENTIALS_MISSING
    for text in ("first", "second"):
        token.write_text(f"{text}\n")
        world.time.advance(LIFE)
        await session.key(world.http)
    assert [one.headers["Authorization"] for one in world.trades] == ["first", "second"]
