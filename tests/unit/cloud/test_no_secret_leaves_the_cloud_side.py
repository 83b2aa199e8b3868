"""Whatever fails, no secret shows in logs, texts, tracebacks or attached errors."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from cse_operator.clock import boottime
from cse_operator.cloud.auth.breaker import CredentialBreaker
from cse_operator.cloud.auth.credentials import Credentials, parse_secret
from cse_operator.cloud.auth.kinds import auth_for
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.transport import TransportOptions, build_http_client
from support.cloud_calls import ACCEPTED, ENGINE, ENGINE_ANSWER, PROJECT, FakeTime, make_client
from support.raw_vendor import Act, RawRequest, RawVendor, answer

CANARY = "kanarienvogel"
"""A part of each secret value, too short to be redacted as a suspicious run of characters."""

SECRETS: dict[str, dict[str, str]] = {
    "token": {"token": f"{CANARY}-1"},
    "access key": {"accessKey": f"{CANARY}-2", "secretKey": f"{CANARY}-3"},
    "temporary key": {
        "accessKey": f"{CANARY}-2",
        "secretKey": f"{CANARY}-3",
        "securityToken": f"{CANARY}-4",
    },
    "password": {
        "username": f"{CANARY}-5",
        "password": f"{CANARY} 6",
        "domainName": f"{CANARY}-7",
    },
}
OBTAINED = f"{CANARY}-8"


def echo(request: RawRequest) -> str:
    """Return what a careless server may say: everything it was told."""
    words = " ".join(f"{name}={value}" for name, value in request.headers.items())
    return f"{words} {request.body.decode(errors='replace')}"


def named(request: RawRequest) -> dict[str, Any]:
    """Return an engine and a job whose names, states and steps repeat the credentials."""
    tokens = (request.headers.get(name, "") for name in ("x-auth-token", "x-security-token"))
    keys = f"{CANARY}-2 {CANARY}-3" if "authorization" in request.headers else ""
    said = " ".join((*tokens, keys))
    words = dict.fromkeys(("name", "type", "version", "latestVersion", "description"), said)
    return {**words, "status": said, "tasks": [{"taskName": said, "status": "Executing"}]}


Deed = Callable[[RawRequest], bytes | Act]
FAILURES: dict[str, Deed] = {
    "success": lambda r: answer(200, ACCEPTED if r.method == "PUT" else ENGINE_ANSWER),
    "names": lambda r: answer(200, {**ENGINE_ANSWER, **ACCEPTED, **named(r)}),
    "refused": lambda r: answer(401, {"error_code": "APIGW.0301", "error_msg": echo(r)}),
    "rejected": lambda r: answer(
        400, {"error_code": echo(r), "error_msg": echo(r), "detail": echo(r), "request_id": echo(r)}
    ),
    "server error": lambda r: answer(500, {"errorMessage": echo(r)}, {"X-Request-Id": "x"}),
    "no JSON": lambda r: answer(200, f"<html>{echo(r)}</html>".encode()),
    "wrong types": lambda r: answer(200, {"id": [echo(r)], "jobId": echo(r)}),
    "no HTTP": lambda r: f"{echo(r)}\r\n\r\n".encode(),
    "a bad header": lambda r: f"HTTP/1.1 200 OK\r\n{echo(r)}\r\n\r\n".encode(),
    "a redirect": lambda _: answer(302, b"", {"Location": f"/{CANARY}"}),
    "truncated": lambda r: answer(200, echo(r).encode(), {"Connection": "close"}, length=99999),
    "closed": lambda _: Act.CLOSE,
    "reset": lambda _: Act.RESET,
    "hanging": lambda _: Act.HANG,
}


class Everything(logging.Handler):
    """Keeps all log records, formatted with their tracebacks, and their raw contents."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts += [self.format(record), repr(vars(record)), repr(record.args)]


@pytest.fixture
def logged() -> Iterator[list[str]]:
    handler = Everything()
    names = ("", "httpx", "httpcore", "aiohttp", "aiohttp.client", "asyncio", "cse_operator")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield handler.texts
    logging.getLogger().removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def within_reach(error: BaseException) -> Iterator[str]:
    """Yield all texts of an error and of the errors attached to it."""
    seen: set[int] = set()
    queue: list[BaseException] = [error]
    while queue:
        current = queue.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield from (repr(current), str(current), repr(vars(current)), repr(current.args))
        queue += [e for e in (current.__cause__, current.__context__) if e is not None]
    yield "".join(traceback.format_exception(error))


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("kind", SECRETS)
async def test_no_secret_shows_whatever_the_vendor_does(
    kind: str, failure: str, logged: list[str]
) -> None:
    deed = FAILURES[failure]
    asyncio.get_running_loop().set_debug(True)

    def behave(request: RawRequest) -> bytes | Act:
        if request.method == "POST":
            return answer(201, {"token": {"issued": CANARY}}, {"X-Subject-Token": OBTAINED})
        return deed(request)

    texts = await talk(SECRETS[kind], behave)
    assert texts
    shown = [text for text in (*texts, *logged) if CANARY in text.replace("\\", "")]
    assert shown == []


@pytest.mark.parametrize("failure", FAILURES)
async def test_no_password_shows_whatever_iam_does(failure: str, logged: list[str]) -> None:
    texts = await talk(SECRETS["password"], FAILURES[failure])
    assert [text for text in (*texts, *logged) if CANARY in text] == []


async def talk(secret: dict[str, str], behave: Deed) -> list[str]:
    """Make each call through each failure; return all resulting texts."""
    values = {key: SecretStr(value) for key, value in secret.items()}
    credentials: Credentials = parse_secret(values)
    options = TransportOptions(allow_local_addresses=True)
    texts: list[str] = []
    async with RawVendor(behave) as vendor, build_http_client(options) as http:
        breaker = CredentialBreaker(cooling=0.0)
        auth = auth_for(credentials, breaker, project_id=PROJECT, iam_endpoint=vendor.url)
        time = FakeTime()
        client = make_client(
            http,
            vendor.url,
            auth=auth,
            request_timeout=0.2,
            sleep=time.sleep,
            on_call=lambda *call: texts.append(repr(call)),
        )
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: client.show_engine(ENGINE),
            lambda: client.show_job(ENGINE, 5),
            client.list_engines,
            lambda: client.upgrade(ENGINE, "2.4.0", send_before=boottime() + 30),
            lambda: client.retry(ENGINE, send_before=boottime() + 30),
        ]
        for call in calls:
            try:
                texts.append(repr(await call()))
            except CloudError as error:
                texts += within_reach(error)
        holders = (client, auth, breaker, http, options, credentials)
        texts += [repr(holder) for holder in holders]
        texts += [repr(vars(holder)) for holder in (client, auth, breaker, credentials)]
    return texts


async def test_a_request_shows_no_secret_in_its_own_text() -> None:
    """httpx masks only `Authorization` in a repr of headers, so no code may make such a repr."""
    request = httpx.Request("GET", "https://example.com", headers={"X-Auth-Token": CANARY})
    assert CANARY not in repr(request)
    assert CANARY in repr(request.headers)
