"""Reading Secrets: one read for concurrent callers, and no value in any text."""

from __future__ import annotations

import asyncio
import base64
import traceback
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient

from cse_operator.kube import errors
from cse_operator.kube.secrets import SecretReader
from support.api_server_stub import ApiServerStub, refusal, reply

Connected = tuple[ApiServerStub, ApiClient]


class Clock:
    """A clock that moves only when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def secret(version: str = "1", **values: bytes) -> dict[str, Any]:
    return {
        "kind": "Secret",
        "metadata": {"resourceVersion": version},
        "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
    }


async def test_values_are_text_without_a_trailing_line_break(connected: Connected) -> None:
    server, client = connected
    server.answers = [
        reply(body=secret("7", unix=b"a\n", dos=b"b\r\n", inner=b"c\nd", blank=b" e ", empty=b""))
    ]
    content = await SecretReader(client).read("payments", "huaweicloud")
    assert content.resource_version == "7"
    assert {key: value.get_secret_value() for key, value in content.data.items()} == {
        "unix": "a",
        "dos": "b",
        "inner": "c\nd",
        "blank": " e ",
        "empty": "",
    }
    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("GET", "/api/v1/namespaces/payments/secrets/huaweicloud")
    ]


async def test_a_secret_without_data_has_no_values(connected: Connected) -> None:
    server, client = connected
    server.answers = [reply(body={"metadata": {"resourceVersion": "1"}})]
    assert (await SecretReader(client).read("payments", "huaweicloud")).data == {}


async def test_no_value_shows_itself(connected: Connected) -> None:
    server, client = connected
    server.answers = [reply(body=secret(secretKey=b"canary"))]
    content = await SecretReader(client).read("payments", "huaweicloud")
    assert "canary" not in repr(content)
    assert "canary" not in str(content.data["secretKey"])


async def test_a_value_that_is_not_text_is_named_by_its_key_and_not_shown(
    connected: Connected,
) -> None:
    server, client = connected
    server.answers = [reply(body=secret(good=b"a", keystore=b"canary\xff"))]
    with pytest.raises(errors.SecretInvalid) as caught:
        await SecretReader(client).read("payments", "huaweicloud")
    assert caught.value.sentence == (
        "The key keystore of the Secret huaweicloud in the namespace payments is not UTF-8 text"
    )
    # A UnicodeDecodeError holds the bytes that it could not decode.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "canary" not in "".join(traceback.format_exception(caught.value))


async def test_what_is_not_asked_for_is_left_alone(connected: Connected) -> None:
    server, client = connected
    server.answers = [reply(body=secret(token=b"t", keystore=b"\xfe\xed", note=b"n"))]
    reader = SecretReader(client, keys=("token", "password"))
    assert set((await reader.read("payments", "huaweicloud")).data) == {"token"}


async def test_a_secret_that_was_just_read_is_not_read_again(connected: Connected) -> None:
    server, client = connected
    server.answers = [reply(body=secret("1")), reply(body=secret("2"))]
    clock = Clock()
    reader = SecretReader(client, time_to_live=30.0, clock=clock)
    assert (await reader.read("payments", "huaweicloud")).resource_version == "1"
    clock.now += 29.9
    assert (await reader.read("payments", "huaweicloud")).resource_version == "1"
    clock.now += 0.2
    assert (await reader.read("payments", "huaweicloud")).resource_version == "2"


async def test_a_namespace_never_gets_the_secret_of_another(connected: Connected) -> None:
    server, client = connected
    server.answers = [reply(body=secret("1")), reply(body=secret("2"))]
    reader = SecretReader(client)
    assert (await reader.read("payments", "huaweicloud")).resource_version == "1"
    assert (await reader.read("billing", "huaweicloud")).resource_version == "2"
    assert server.asked[1].path == "/api/v1/namespaces/billing/secrets/huaweicloud"


async def test_all_who_ask_at_once_share_one_read(connected: Connected) -> None:
    server, client = connected
    server.answers = [reply(body=secret("1"))]
    reader = SecretReader(client)
    contents = await asyncio.gather(*(reader.read("payments", "huaweicloud") for _ in range(50)))
    assert {content.resource_version for content in contents} == {"1"}
    assert len(server.asked) == 1


async def test_all_who_ask_at_once_share_one_failure(connected: Connected) -> None:
    server, client = connected
    server.answers = [refusal(403, "Forbidden")]
    reader = SecretReader(client)
    results = await asyncio.gather(
        *(reader.read("payments", "huaweicloud") for _ in range(5)), return_exceptions=True
    )
    assert [type(result) for result in results] == [errors.Denied] * 5
    assert len(server.asked) == 1


async def test_who_gives_up_takes_nothing_from_the_others(connected: Connected) -> None:
    server, client = connected
    answered = asyncio.Event()
    asked = asyncio.Event()

    async def late(request: Any) -> Any:
        asked.set()
        await answered.wait()
        return await reply(body=secret("1"))(request)

    server.answers = [late]
    reader = SecretReader(client)
    impatient = asyncio.create_task(reader.read("payments", "huaweicloud"))
    patient = asyncio.create_task(reader.read("payments", "huaweicloud"))
    await asked.wait()
    impatient.cancel()
    answered.set()
    assert (await patient).resource_version == "1"
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_what_is_forgotten_is_read_anew(connected: Connected) -> None:
    server, client = connected
    server.answers = [reply(body=secret("1")), reply(body=secret("2"))]
    reader = SecretReader(client)
    await reader.read("payments", "huaweicloud")
    reader.forget("payments", "huaweicloud")
    assert (await reader.read("payments", "huaweicloud")).resource_version == "2"


async def test_what_is_forgotten_while_it_is_read_is_not_remembered(connected: Connected) -> None:
    server, client = connected
    answered = asyncio.Event()
    asked = asyncio.Event()

    async def late(request: Any) -> Any:
        asked.set()
        await answered.wait()
        return await reply(body=secret("1"))(request)

    server.answers = [late, reply(body=secret("2"))]
    reader = SecretReader(client)
    early = asyncio.create_task(reader.read("payments", "huaweicloud"))
    await asked.wait()
    reader.forget("payments", "huaweicloud")
    assert (await reader.read("payments", "huaweicloud")).resource_version == "2"
    answered.set()
    assert (await early).resource_version == "1"
    assert (await reader.read("payments", "huaweicloud")).resource_version == "2"


async def test_a_secret_that_is_missing_is_looked_for_once_for_all_who_ask(
    connected: Connected,
) -> None:
    server, client = connected
    clock = Clock()
    reader = SecretReader(client, clock=clock)
    server.answers = [
        refusal(404, "NotFound"),
        refusal(404, "NotFound"),
        reply(body=secret(a=b"b")),
    ]
    for _ in range(3):
        with pytest.raises(errors.SecretNotFound, match="no Secret huaweicloud in the namespace"):
            await reader.read("payments", "huaweicloud")
    assert len(server.asked) == 1
    clock.now += 2
    with pytest.raises(errors.SecretNotFound):
        await reader.read("payments", "huaweicloud")
    reader.forget("payments", "huaweicloud")
    assert (await reader.read("payments", "huaweicloud")).data.keys() == {"a"}
