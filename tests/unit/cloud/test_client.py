"""The five calls: their requests, their answers, and which of them are repeated."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from cse_operator import __version__
from cse_operator.cloud.answers import Operation
from cse_operator.cloud.auth.credentials import parse_secret
from cse_operator.cloud.client import CseClient
from cse_operator.cloud.errors import CloudError
from cse_operator.core.failure import FailureKind
from support.cloud_calls import (
    ACCEPTED,
    ENDPOINT,
    ENGINE,
    ENGINE_ANSWER,
    JOB_ANSWER,
    NOW,
    PROJECT,
    FakeTime,
    body_of,
    fails,
    gateway_error,
    make_client,
    mock_http,
    project_limits,
    static_auth,
)

BASE = f"{ENDPOINT}/v2/{PROJECT}/enginemgr/engines"


class Recorder:
    """Answers from a list, and then always with the last answer."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(
            answer.status_code, headers=dict(answer.headers), content=answer.content
        )


def ok(body: Any, **headers: str) -> httpx.Response:
    return httpx.Response(200, json=body, headers=headers)


def client_of(recorder: Recorder, **options: Any) -> CseClient:
    return make_client(mock_http(recorder), **options)


def send_before(client: CseClient) -> float:
    return client._clock() + 30


async def test_each_call_goes_where_the_documents_say() -> None:
    recorder = Recorder(
        ok({"total": 1, "data": [ENGINE_ANSWER]}), ok(ENGINE_ANSWER), ok(JOB_ANSWER), ok(ACCEPTED)
    )
    client = client_of(recorder)
    assert [view.engine_id for view in await client.list_engines()] == [ENGINE]
    assert (await client.show_engine(ENGINE)).name == "test"
    assert (await client.show_job(ENGINE, 17655)).status == "Executing"
    assert (await client.upgrade(ENGINE, "2.4.0", send_before=send_before(client))).job_id == 17655
    assert (await client.retry(ENGINE, send_before=send_before(client))).job_id == 17655
    assert [(request.method, str(request.url)) for request in recorder.requests] == [
        ("GET", f"{BASE}?limit=1000&offset=0&type=ALL"),
        ("GET", f"{BASE}/{ENGINE}"),
        ("GET", f"{BASE}/{ENGINE}/jobs/17655"),
        ("PUT", f"{BASE}/{ENGINE}/upgrade"),
        ("PUT", f"{BASE}/{ENGINE}/actions"),
    ]
    bodies = [request.content for request in recorder.requests]
    assert bodies[:3] == [b"", b"", b""]
    assert [json.loads(body) for body in bodies[3:]] == [{"version": "2.4.0"}, {"action": "Retry"}]


async def test_an_answer_that_was_read_does_not_wait_for_the_collector() -> None:
    answers: list[weakref.ref[httpx.Response]] = []

    def answer(_: httpx.Request) -> httpx.Response:
        response = ok({"total": 1, "data": [ENGINE_ANSWER]})
        answers.append(weakref.ref(response))
        return response

    client = make_client(mock_http(answer))
    gc.collect()
    gc.disable()
    try:
        await client.list_engines()
        assert [reference() for reference in answers] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize("enterprise", [None, "", "0", "0a-1b"])
async def test_the_headers_are_the_documented_ones_and_no_others(enterprise: str | None) -> None:
    recorder = Recorder(ok(ACCEPTED))
    client = client_of(recorder, enterprise_project_id=enterprise)
    await client.upgrade(ENGINE, "2.4.0", send_before=send_before(client))
    expected = {
        "host": "cse.cn-north-4.example.com",
        "content-type": "application/json;charset=UTF-8",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"cse-operator/{__version__}",
        "content-length": "20",
        "x-auth-token": recorder.requests[0].headers["x-auth-token"],
    }
    if enterprise:
        expected["x-enterprise-project-id"] = enterprise
    assert dict(recorder.requests[0].headers) == expected


HOSTILE = [
    *("", ".", "..", "a/b", "a\\b", "..%2f", "%2e%2e", "a?b", "a#b", "a b", "a\n", "\u0430bc"),
    *("a;b", "@evil", "a" * 65, "-a", "a-", "../../../v3/evil", "a\x00", "\uff0e\uff0e", "{x}"),
]


@pytest.mark.parametrize("engine_id", HOSTILE)
async def test_a_hostile_engine_id_never_becomes_a_path(engine_id: str) -> None:
    recorder = Recorder(ok(ENGINE_ANSWER))
    client = client_of(recorder)
    calls: list[Callable[[], Any]] = [
        lambda: client.show_engine(engine_id),
        lambda: client.show_job(engine_id, 1),
        lambda: client.upgrade(engine_id, "2.4.0", send_before=send_before(client)),
        lambda: client.retry(engine_id, send_before=send_before(client)),
    ]
    for call in calls:
        with fails(FailureKind.REJECTED):
            await call()
    assert recorder.requests == []


@pytest.mark.parametrize("project_id", HOSTILE)
def test_a_hostile_project_id_makes_no_client(project_id: str) -> None:
    http = mock_http(Recorder(ok({})))
    with fails(FailureKind.REJECTED):
        make_client(http, project_id=project_id)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "\u0430", "a b"])
def test_a_hostile_enterprise_project_makes_no_client(value: str) -> None:
    with fails(FailureKind.REJECTED):
        client_of(Recorder(ok({})), enterprise_project_id=value)


@given(st.text(max_size=80))
async def test_any_engine_id_leads_to_its_own_path_or_nowhere(engine_id: str) -> None:
    recorder = Recorder(ok({**ENGINE_ANSWER, "id": engine_id}))
    try:
        await client_of(recorder).show_engine(engine_id)
    except CloudError:
        assert recorder.requests == []
    else:
        assert recorder.requests[0].url.raw_path.decode() == (
            f"/v2/{PROJECT}/enginemgr/engines/{engine_id}"
        )


@pytest.mark.parametrize("version", ["", "2.4.0\n", "2 4", "x" * 25, '2"', "../2", "\uff12.4"])
async def test_a_malformed_version_is_not_sent(version: str) -> None:
    recorder = Recorder(ok(ACCEPTED))
    client = client_of(recorder)
    with fails(FailureKind.REJECTED):
        await client.upgrade(ENGINE, version, send_before=send_before(client))
    assert recorder.requests == []


@pytest.mark.parametrize("job_id", [0, -1])
async def test_a_malformed_job_id_is_not_sent(job_id: int) -> None:
    with fails(FailureKind.REJECTED):
        await client_of(Recorder(ok({}))).show_job(ENGINE, job_id)


async def test_a_name_of_a_user_or_domain_may_be_a_part_of_an_engines_name() -> None:
    values = {"username": "orders-admin", "password": "hunter2hunter2", "domainName": "acme"}
    credentials = parse_secret({key: SecretStr(value) for key, value in values.items()})
    auth = static_auth()
    auth.secrets = lambda: (*credentials.secrets(),)  # type: ignore[method-assign]
    named = {**ENGINE_ANSWER, "name": "acme-orders-admin of hunter2hunter2"}
    view = await client_of(Recorder(ok(named)), auth=auth).show_engine(ENGINE)
    assert view.name == "acme-orders-admin of [redacted]"


async def test_an_answer_is_dated_by_the_vendors_own_clock() -> None:
    date = "Sun, 01 Jun 2025 12:00:00 GMT"
    dated = await client_of(Recorder(ok(ENGINE_ANSWER, Date=date))).show_engine(ENGINE)
    assert dated.observed_at == NOW
    undated = await client_of(Recorder(ok(ENGINE_ANSWER, Date="yesterday"))).show_engine(ENGINE)
    assert undated.observed_at is None


@pytest.mark.parametrize(
    "passing",
    [
        httpx.Response(500),
        httpx.Response(503, headers={"Retry-After": "1"}),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, json={}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("garbled"),
        httpx.DecodingError("garbled"),
    ],
)
async def test_a_read_is_repeated_after_a_passing_failure(
    passing: httpx.Response | Exception,
) -> None:
    time = FakeTime()
    recorder = Recorder(passing, passing, ok(ENGINE_ANSWER))
    client = client_of(recorder, clock=time, sleep=time.sleep)
    assert (await client.show_engine(ENGINE)).version == "2.3.1"
    assert len(recorder.requests) == 3


async def test_a_read_is_repeated_twice_at_most() -> None:
    time = FakeTime()
    recorder = Recorder(httpx.Response(500))
    with fails(FailureKind.TRANSIENT):
        await client_of(recorder, clock=time, sleep=time.sleep).show_engine(ENGINE)
    assert len(recorder.requests) == 3


async def test_the_pauses_between_reads_are_jittered_and_bounded() -> None:
    pauses = []
    for jitter in (0.0, 1.0):
        time = FakeTime()
        client = client_of(
            Recorder(httpx.Response(500)), clock=time, sleep=time.sleep, jitter=lambda j=jitter: j
        )
        with fails(FailureKind.TRANSIENT):
            await client.show_engine(ENGINE)
        pauses.append(time.sleeps)
    assert pauses == [[0.0, 0.0], [0.25, 1.0]]


async def test_a_read_is_not_repeated_beyond_the_time_of_one_call() -> None:
    time = FakeTime()

    def slow(request: httpx.Request) -> httpx.Response:
        time.advance(19.9)
        return httpx.Response(500)

    client = make_client(mock_http(slow), clock=time, sleep=time.sleep, jitter=lambda: 1.0)
    with fails(FailureKind.TRANSIENT):
        await client.show_engine(ENGINE)
    assert time.sleeps == []


async def test_a_read_that_is_asked_to_wait_long_leaves_that_to_its_caller() -> None:
    recorder = Recorder(httpx.Response(503, headers={"Retry-After": "60"}))
    with fails(FailureKind.TRANSIENT) as caught:
        await client_of(recorder).show_engine(ENGINE)
    assert caught.failure.retry_after == 60
    assert len(recorder.requests) == 1


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (httpx.Response(400, json={"error_code": "SVCSTG.00501116"}), FailureKind.NOT_FOUND),
        (httpx.Response(400, json={"error_code": "SVCSTG.00501117"}), FailureKind.BUSY),
        (httpx.Response(429), FailureKind.THROTTLED),
    ],
)
async def test_a_read_is_not_repeated_after_a_lasting_failure(
    refusal: httpx.Response, kind: type[CloudError]
) -> None:
    recorder = Recorder(refusal)
    with fails(kind):
        await client_of(recorder).show_engine(ENGINE)
    assert len(recorder.requests) == 1


@pytest.mark.parametrize(
    ("headers", "pause"), [({"Retry-After": "17"}, 17.0), ({}, 7.5), ({"Retry-After": "0"}, 7.5)]
)
async def test_throttling_pauses_this_call_of_the_project_and_no_other(
    headers: dict[str, str], pause: float
) -> None:
    time = FakeTime()
    limits = project_limits(10, time)
    recorder = Recorder(httpx.Response(429, headers=headers, json=gateway_error("APIGW.0308")))
    client = client_of(recorder, limits=limits, jitter=lambda: 0.5)
    with fails(FailureKind.THROTTLED):
        await client.upgrade(ENGINE, "2.4.0", send_before=send_before(client))
    assert limits.pause(Operation.UPGRADE) == pytest.approx(pause)
    assert limits.pause(Operation.SHOW_ENGINE) == 0


async def test_an_engine_that_is_missing_is_named() -> None:
    gone = httpx.Response(401, json={"error_code": "SVCSTG.00501116", "error_msg": "no"})
    with fails(FailureKind.NOT_FOUND) as caught:
        await client_of(Recorder(gone)).show_engine(ENGINE)
    assert ENGINE in caught.failure.message


async def test_each_call_is_told_of_with_its_outcome_and_its_seconds() -> None:
    told: list[tuple[str, str, float]] = []
    recorder = Recorder(
        ok(ENGINE_ANSWER), httpx.Response(400, json={"error_code": "SVCSTG.00501116"})
    )
    client = client_of(recorder, on_call=lambda *call: told.append(call))
    await client.show_engine(ENGINE)
    with fails(FailureKind.NOT_FOUND):
        await client.show_job(ENGINE, 5)
    assert [(name, outcome) for name, outcome, _ in told] == [
        ("ShowEngine", "Success"),
        ("ShowEngineJob", "NotFound"),
    ]
    assert all(seconds >= 0 for _, _, seconds in told)


async def test_a_cancelled_call_stays_cancelled_and_is_told_of() -> None:
    told: list[str] = []
    started = asyncio.Event()

    async def hang(request: httpx.Request) -> httpx.Response:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    http = httpx.AsyncClient(transport=httpx.MockTransport(hang))
    client = make_client(http, on_call=lambda *call: told.append(call[1]))
    task = asyncio.create_task(client.show_engine(ENGINE))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["Cancelled"]


async def test_an_unforeseen_error_below_is_a_typed_one_above() -> None:
    with fails(FailureKind.TRANSIENT) as caught:
        await client_of(Recorder(ZeroDivisionError("surprise"))).show_engine(ENGINE)
    assert "surprise" in caught.failure.message


async def test_an_error_keeps_no_request_within_reach() -> None:
    """A chained exception would carry the request and its headers into a traceback."""
    for answer in (httpx.ConnectError("no"), httpx.Response(500), httpx.Response(200)):
        time = FakeTime()
        with fails(FailureKind.TRANSIENT) as caught:
            client = client_of(Recorder(answer), clock=time, sleep=time.sleep)
            await client.show_engine(ENGINE)
        assert caught.error.__cause__ is None
        assert caught.error.__context__ is None or isinstance(caught.error.__context__, CloudError)


HEADERS = st.fixed_dictionaries(
    {},
    optional={
        name: st.binary(max_size=40) | st.sampled_from(likely)
        for name, likely in {
            "Date": [
                b"Sun, 01 Jun 2025 12:00:00 GMT",
                b"Fri, 31 Dec 9999 23:59:59 -1200",
                b"Mon, 01 Jan 0001 00:00:00 +1200",
            ],
            "Retry-After": [b"1", b"-1", b"1e9", b"9" * 15, b"Fri, 31 Dec 9999 23:59:59 -1200"],
            "X-Request-Id": [b"req-1"],
            "Content-Type": [b"application/json", b"text/html; charset=none"],
        }.items()
    },
)


@given(
    body=st.binary() | st.sampled_from([body_of(ENGINE_ANSWER), body_of(ACCEPTED)]),
    status=st.integers(200, 599),
    headers=HEADERS,
)
async def test_any_answer_gives_a_value_or_a_typed_error(
    body: bytes, status: int, headers: dict[str, bytes]
) -> None:
    sent = [(name.encode(), value) for name, value in headers.items()]

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=sent, content=body)

    time = FakeTime()
    limits = project_limits(1000, time)
    client = make_client(mock_http(handle), limits=limits, clock=time, sleep=time.sleep)
    calls: list[Callable[[], Any]] = [
        client.list_engines,
        lambda: client.show_engine(ENGINE),
        lambda: client.show_job(ENGINE, 5),
        lambda: client.list_jobs(ENGINE),
        lambda: client.retry(ENGINE, send_before=send_before(client)),
    ]
    for call in calls:
        with suppress(CloudError):
            str(await call()).encode()


async def test_an_impossible_date_does_not_lose_the_job_of_an_accepted_call() -> None:
    date = "Fri, 31 Dec 9999 23:59:59 -1200"
    client = client_of(Recorder(ok(ACCEPTED, Date=date)))
    assert (await client.upgrade(ENGINE, "2.4.0", send_before=send_before(client))).job_id == 17655
