"""kopf in its thread: the events that it hands over, and its end, which ends nothing else."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient

from cse_operator.api.names import GROUP, KIND, PLURAL, VERSION
from cse_operator.kube import kopf_watch
from cse_operator.kube.kopf_watch import KopfWatch, make_settings
from support.api_server_stub import ApiServerStub
from support.resources import Object, changed, stored


class WatchedServer:
    """Answers kopf's discovery, its lists, and its watches with the lines of a script."""

    def __init__(self) -> None:
        self.listed: list[Object] = []
        self.lists: list[dict[str, str]] = []
        self.scripts: list[list[Object]] = []
        """The lines of each next watch, before it falls silent."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path in _DISCOVERY:
            return web.json_response(_DISCOVERY[request.path])
        if request.query.get("watch") == "true":
            return await self._watch(request)
        self.lists.append(dict(request.query))
        return web.json_response(
            {"kind": f"{KIND}List", "metadata": {"resourceVersion": "9"}, "items": self.listed}
        )

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in self.scripts.pop(0) if self.scripts else []:
            await response.write(json.dumps(event).encode() + b"\n")
        await asyncio.Event().wait()
        return response


def _group(name: str, version: str) -> Object:
    served = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [served], "preferredVersion": served}


def _resources(plural: str, kind: str) -> Object:
    verbs = ["get", "list", "watch", "patch"]
    resource = {"name": plural, "singularName": "", "kind": kind, "namespaced": True}
    return {"kind": "APIResourceList", "resources": [{**resource, "verbs": verbs}]}


_DISCOVERY = {
    "/api": {"versions": ["v1"]},
    "/api/v1": _resources("namespaces", "Namespace"),
    "/apis": {"groups": [_group(GROUP, VERSION), _group("apiextensions.k8s.io", "v1")]},
    f"/apis/{GROUP}/{VERSION}": _resources(PLURAL, KIND),
    "/apis/apiextensions.k8s.io/v1": _resources(
        "customresourcedefinitions", "CustomResourceDefinition"
    ),
}


class Seen:
    """The events that were handed over, and their threads."""

    def __init__(self) -> None:
        self.events: list[tuple[str | None, Object]] = []
        self.threads: set[int] = set()
        self._changed = asyncio.Event()

    def __call__(self, event_type: str | None, obj: Mapping[str, Any]) -> None:
        self.events.append((event_type, dict(obj)))
        self.threads.add(threading.get_ident())
        self._changed.set()

    async def until(self, count: int) -> list[str | None]:
        """Wait for `count` events, and return their types."""
        async with asyncio.timeout(20):
            while len(self.events) < count:
                self._changed.clear()
                await self._changed.wait()
        return [event_type for event_type, _ in self.events]


@pytest.fixture
def server(connected: tuple[ApiServerStub, ApiClient]) -> WatchedServer:
    server = WatchedServer()
    connected[0].otherwise = server.answer
    return server


@asynccontextmanager
async def watching(api_client: ApiClient, seen: Seen) -> AsyncIterator[KopfWatch]:
    watch = KopfWatch(api_client, seen, identity="test")
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_lists_and_changes_are_handed_over_in_the_operators_own_thread(
    connected: tuple[ApiServerStub, ApiClient], server: WatchedServer
) -> None:
    first = stored()
    server.listed = [first]
    server.scripts = [[{"type": "MODIFIED", "object": changed(first)}]]
    seen = Seen()
    async with watching(connected[1], seen) as watch:
        assert await seen.until(2) == [None, "MODIFIED"]
        await asyncio.wait_for(watch.started.wait(), 20)
    assert seen.threads == {threading.get_ident()}
    assert server.lists[0]["limit"] == str(kopf_watch.PAGE)


@pytest.mark.parametrize("code", [429, 500])
async def test_a_watch_that_ends_with_an_error_begins_again_and_cancels_no_task_of_ours(
    connected: tuple[ApiServerStub, ApiClient],
    server: WatchedServer,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    monkeypatch.setattr(kopf_watch, "FIRST_PAUSE", 0.01)
    server.listed = [stored()]
    server.scripts = [[{"type": "ERROR", "object": {"code": code, "message": "too much"}}]]
    seen = Seen()
    async with watching(connected[1], seen) as watch:
        await seen.until(1)
        ours = asyncio.create_task(asyncio.Event().wait(), name="a call on its way")
        assert await seen.until(2) == [None, None]
        assert watch.begun == 2
        assert not ours.done()
        ours.cancel()


async def test_a_watch_that_sees_nothing_can_be_begun_again(
    connected: tuple[ApiServerStub, ApiClient], server: WatchedServer
) -> None:
    seen = Seen()
    async with watching(connected[1], seen) as watch:
        await asyncio.wait_for(watch.started.wait(), 20)
        server.listed = [stored()]
        watch.begin_again()
        assert await seen.until(1) == [None]


def test_kopf_never_kills_the_process_and_compares_nothing() -> None:
    settings = make_settings()
    assert settings.process.ultimate_exiting_timeout is None
    storage = settings.persistence.diffbase_storage
    assert storage.fetch(body=None) is None  # type: ignore[arg-type]
    assert storage.build(body=None) == {}  # type: ignore[arg-type]
