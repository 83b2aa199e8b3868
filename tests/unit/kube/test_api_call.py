"""One call to the API: its request, its repetition, and its result."""

from __future__ import annotations

import asyncio
import traceback
from typing import Literal

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient

from cse_operator.kube import errors
from cse_operator.kube.api_call import MERGE_PATCH, call
from support.api_server_stub import OBJECT, ApiServerStub, hang_up, refusal, reply, silence

Connected = tuple[ApiServerStub, ApiClient]
PATH = "/apis/cse-operator.io/v1alpha1/namespaces/{namespace}/microserviceengines/{name}/status"
NAMES = {"namespace": "payments", "name": "orders"}


async def test_a_patch_carries_the_token_the_media_type_and_the_query(connected: Connected) -> None:
    server, client = connected
    server.answers = [reply(body=OBJECT)]
    answer = await call(
        client,
        "PATCH",
        PATH,
        names=NAMES,
        query=[("fieldManager", "a b")],
        body={"status": {"phase": "Pending"}},
        content_type=MERGE_PATCH,
    )
    assert answer == OBJECT
    [asked] = server.asked
    assert (asked.method, asked.path) == (
        "PATCH",
        "/apis/cse-operator.io/v1alpha1/namespaces/payments/microserviceengines/orders/status",
    )
    assert asked.query == {"fieldManager": "a b"}
    assert asked.headers["content-type"] == "application/merge-patch+json"
    assert asked.headers["authorization"] == "Bearer token-of-the-test"
    assert asked.headers["user-agent"].startswith("cse-operator/")
    assert asked.body == {"status": {"phase": "Pending"}}


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "..%2fb",
        "a%2fb",
        "-a",
        "a-",
        "A",
        "ä",
        "a b",
        "a\n",
        "a\x00",
        "a" * 254,
    ],
)
async def test_what_is_no_name_never_becomes_a_path(connected: Connected, name: str) -> None:
    server, client = connected
    for names in ({"namespace": "payments", "name": name}, {"namespace": name, "name": "orders"}):
        with pytest.raises(errors.Invalid, match="is not a name an object can have"):
            await call(client, "GET", PATH, names=names)
    assert server.asked == []


@pytest.mark.parametrize("method", ["PATCH", "POST"])
async def test_a_changing_call_is_never_sent_twice_on_a_dead_connection(
    connected: Connected, method: Literal["PATCH", "POST"]
) -> None:
    server, client = connected
    server.answers = [reply(), hang_up]  # the first call leaves a connection open for reuse
    await call(client, method, PATH, names=NAMES, body={"status": {}})
    with pytest.raises(errors.Unavailable, match="cannot be reached"):
        await call(client, method, PATH, names=NAMES, body={"status": {}})
    assert [asked.method for asked in server.asked] == [method] * 2


async def test_a_read_on_a_dead_connection_is_sent_again(connected: Connected) -> None:
    server, client = connected
    server.answers = [reply(), hang_up, reply(body=OBJECT)]
    await call(client, "GET", PATH, names=NAMES)
    assert await call(client, "GET", PATH, names=NAMES) == OBJECT
    assert len(server.asked) == 3


@pytest.mark.parametrize("method", ["GET", "PATCH", "POST"])
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_refused_call_is_not_repeated_by_the_client(
    connected: Connected, method: Literal["GET", "PATCH", "POST"], status: int
) -> None:
    server, client = connected
    server.answers = [refusal(status, "", "busy", **{"Retry-After": "3"})]
    with pytest.raises(errors.Unavailable) as caught:
        await call(client, method, PATH, names=NAMES)
    assert len(server.asked) == 1
    assert caught.value.retry_after == 3.0
    assert caught.value.sentence == f"{method} microserviceengines/status payments/orders: busy"


async def test_an_answer_that_does_not_come_ends_in_time(connected: Connected) -> None:
    server, client = connected
    never = asyncio.Event()
    server.answers = [silence(never)]
    with pytest.raises(errors.Unavailable, match="no answer from the API server in time"):
        await call(client, "PATCH", PATH, names=NAMES, body={}, timeout=0.05)
    never.set()


async def test_a_body_that_breaks_off_is_no_answer(connected: Connected) -> None:
    server, client = connected

    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"kind":')
        assert request.transport is not None
        request.transport.close()
        return response

    server.answers = [break_off]
    with pytest.raises(errors.Unavailable, match="cannot be reached"):
        await call(client, "PATCH", PATH, names=NAMES, body={})


@pytest.mark.parametrize(
    "text", ["<html>login</html>", "[]", "", "null", "{}", '{"metadata": {"resourceVersion": 1}}']
)
async def test_an_answer_that_is_no_object_may_pass(connected: Connected, text: str) -> None:
    server, client = connected
    server.answers = [reply(200, text=text)]
    with pytest.raises(errors.Unavailable, match="the answer is not a Kubernetes object"):
        await call(client, "GET", PATH, names=NAMES)


async def test_no_error_holds_the_request_with_its_token(connected: Connected) -> None:
    server, client = connected
    server.otherwise = hang_up
    with pytest.raises(errors.Unavailable) as caught:
        await call(client, "PATCH", PATH, names=NAMES, body={})
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    shown = "".join(traceback.format_exception(caught.value))
    assert "token-of-the-test" not in shown
