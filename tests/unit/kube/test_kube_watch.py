"""What kopf is told of a watch, and by which session it reads it."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.aio.client import ApiClient

from cse_operator.kube.watch import NewsOnly, WatchLogin
from support.api_server_stub import ApiServerStub, reply

RESOURCES = "/apis/cse-operator.io/v1alpha1/microserviceengines"


def line(kind: str, version: int, **more: Any) -> bytes:
    """A line of a watch."""
    metadata = {"name": "orders", "namespace": "shop", "resourceVersion": str(version)}
    return json.dumps({"type": kind, "object": {"metadata": metadata, **more}}).encode()


def up_to(version: int) -> Any:
    """Knows a resource up to this version."""
    return lambda obj: int(obj["metadata"]["resourceVersion"]) <= version


class Content:
    """A content that comes in these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        assert size == 1024
        for piece in self._pieces:
            yield piece


async def told(pieces: list[bytes], is_known: Any) -> list[bytes]:
    """The lines that kopf gets to see of a watch."""
    news = NewsOnly(cast("aiohttp.StreamReader", Content(*pieces)), is_known)
    chunks = [chunk async for chunk in news.iter_chunked(1024)]
    assert b"" not in chunks, "kopf would take it for the end"
    return b"".join(chunks).splitlines()


async def test_a_change_to_what_is_known_is_not_told() -> None:
    lines = [line("MODIFIED", 5), line("MODIFIED", 6), line("MODIFIED", 7)]
    assert await told([b"\n".join([*lines, b""])], up_to(6)) == [line("MODIFIED", 7)]


@pytest.mark.parametrize("kind", ["ADDED", "DELETED", "BOOKMARK", "ERROR", "SOMETHING"])
async def test_all_but_changes_is_told_whatever_is_known(kind: str) -> None:
    assert await told([line(kind, 5) + b"\n"], up_to(9)) == [line(kind, 5)]


@pytest.mark.parametrize(
    "text",
    [
        b"not JSON",
        b"null",
        b"[]",
        b'{"type": "MODIFIED"}',
        b'{"type": "MODIFIED", "object": null}',
        b'{"type": "MODIFIED", "object": {"metadata": {"resourceVersion": "x"}}}',
        b"\xff\xfe",
    ],
)
async def test_what_makes_no_sense_is_left_to_kopf(text: bytes) -> None:
    assert await told([text + b"\n" + line("ADDED", 1) + b"\n"], up_to(9)) == [
        text,
        line("ADDED", 1),
    ]


async def test_the_end_of_a_watch_that_was_cut_is_left_to_kopf() -> None:
    cut = line("MODIFIED", 5)[:-7]
    assert await told([line("ADDED", 1) + b"\n" + cut], up_to(9)) == [line("ADDED", 1), cut]


@given(
    versions=st.lists(st.integers(1, 9), max_size=12),
    text=st.text(max_size=8),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
)
async def test_the_same_is_told_however_the_watch_is_cut_into_pieces(
    versions: list[int], text: str, cuts: list[int]
) -> None:
    lines = [line("MODIFIED", version, spec={"text": text}) for version in versions]
    whole = b"".join(each + b"\n" for each in lines)
    bounds = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[a:b] for a, b in itertools.pairwise(bounds)]
    expected = [each for each, version in zip(lines, versions, strict=True) if version > 4]
    assert await told(pieces, up_to(4)) == expected


async def watched(api_client: ApiClient, path: str, is_known: Any) -> list[bytes]:
    """What kopf would read of a path."""
    session = await WatchLogin(api_client, is_known)()
    async with (
        session.aiohttp_session as http,
        http.get(f"{session.server}{path}") as response,
    ):
        return b"".join([chunk async for chunk in response.content.iter_chunked(1024)]).split(b"\n")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (f"{RESOURCES}?watch=true", [b""]),
        (RESOURCES, [line("MODIFIED", 5), b""]),
        ("/apis/apiextensions.k8s.io/v1/crds?watch=true", [line("MODIFIED", 5), b""]),
    ],
)
async def test_only_of_the_watch_of_our_resources_something_is_left_out(
    connected: tuple[ApiServerStub, ApiClient], path: str, shown: list[bytes]
) -> None:
    stub, api_client = connected
    stub.otherwise = reply(text=line("MODIFIED", 5).decode() + "\n")
    assert await watched(api_client, path, up_to(9)) == shown


async def test_a_refusal_is_left_as_it_is(connected: tuple[ApiServerStub, ApiClient]) -> None:
    stub, api_client = connected
    stub.otherwise = reply(410, text=line("MODIFIED", 5).decode() + "\n")
    found = await watched(api_client, f"{RESOURCES}?watch=true", up_to(9))
    assert found == [line("MODIFIED", 5), b""]
