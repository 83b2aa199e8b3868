"""Waits for a state of the cluster by a watch."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import aiohttp
import yaml

from cse_simulator.control_plane import Cluster

ENGINES = "apis/cse-operator.io/v1alpha1/microserviceengines"
EVENTS = "api/v1/events"
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
RECONNECT_SECONDS = 0.2

Object = dict[str, Any]


async def watch(
    cluster: Cluster, collection: str, namespace: str | None, name: str | None = None
) -> AsyncGenerator[dict[str, Object], None]:
    """Yield the objects by name, first the current ones and then after every change, without end.

    After a disconnect, such as a restart of the API server, go on with the then current state.

    Args:
        cluster: The cluster, watched as its administrator.
        collection: The resource, such as `ENGINES` or `api/v1/events`.
        namespace: The namespace; None for all, or for a resource without namespaces.
        name: The name of a single object; by default the whole collection is watched.
    """
    base, _, plural = collection.rpartition("/")
    scope = f"{base}/namespaces/{namespace}" if namespace is not None else base
    url = f"{cluster.url}/{scope}/{plural}"
    query = {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
    }
    if name is not None:
        query["fieldSelector"] = f"metadata.name={name}"
    tls = ssl.create_default_context(cadata=cluster.certificate_authority)
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {cluster.token}"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        read_bufsize=2**22,  # an event is one line
    ) as session:
        while True:
            try:
                async with session.get(url, params=query, ssl=tls) as response:
                    try:
                        async for objects in _states(response):
                            yield objects
                    finally:
                        await _drop(response)
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                await asyncio.sleep(RECONNECT_SECONDS)


async def _drop(response: aiohttp.ClientResponse) -> None:
    """Close the connection without TLS's closing messages, for which the loop may end too soon."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()
        await asyncio.sleep(0)  # the loop closes the socket in its next round


async def _states(response: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Object], None]:
    if response.status in {429, 500, 503}:  # the API server is starting or stopping
        await asyncio.sleep(RECONNECT_SECONDS)
        return
    assert response.status == 200, f"the watch was refused: {await response.text()}"
    objects: dict[str, Object] = {}
    complete = False
    async for line in response.content:
        event = json.loads(line)
        changed = event["object"]
        match event["type"]:
            case "ADDED" | "MODIFIED":
                objects[changed["metadata"]["name"]] = changed
            case "DELETED":
                objects.pop(changed["metadata"]["name"], None)
            case "BOOKMARK":
                complete = complete or INITIAL_EVENTS_END in changed["metadata"]["annotations"]
            case _:  # ERROR, such as 410: start over
                return
        if complete:
            yield dict(objects)


def wait_for_resource(
    cluster: Cluster,
    namespace: str | None,
    name: str,
    predicate: Callable[[Object], object],
    *,
    timeout: float = 60.0,
    collection: str = ENGINES,
) -> Awaitable[Object]:
    """Wait until the object exists and the predicate holds for it, and return it.

    A KeyError or IndexError in the predicate counts as "not yet", so that the predicate may use
    status fields that do not exist yet.

    Raises:
        AssertionError: It did not happen within `timeout` seconds; the message shows the object.
    """

    async def wait() -> Object:
        expectation = Expectation(
            f"{namespace or collection}/{name}", lambda items: _one_of(items, predicate), timeout
        )
        return (await _fulfilled(expectation, watch(cluster, collection, namespace, name)))[0]

    return wait()


def wait_until_gone(
    cluster: Cluster,
    namespace: str | None,
    name: str,
    *,
    timeout: float = 60.0,
    collection: str = ENGINES,
) -> Awaitable[None]:
    """Wait until the object does not exist."""

    async def wait() -> None:
        expectation = Expectation(
            f"the end of {name}", lambda items: None if items else [], timeout
        )
        await _fulfilled(expectation, watch(cluster, collection, namespace, name))

    return wait()


def wait_for_any(
    cluster: Cluster,
    collection: str,
    namespace: str | None,
    predicate: Callable[[Object], object],
    *,
    timeout: float = 60.0,
) -> Awaitable[Object]:
    """Wait until the predicate holds for any object of the collection, such as an Event."""

    async def wait() -> Object:
        expectation = Expectation(
            f"one of {collection}", lambda items: _one_of(items, predicate), timeout
        )
        return (await _fulfilled(expectation, watch(cluster, collection, namespace)))[0]

    return wait()


def wait_for_all(
    cluster: Cluster,
    namespace: str | None,
    count: int,
    predicate: Callable[[Object], object],
    *,
    timeout: float = 60.0,
    collection: str = ENGINES,
) -> Awaitable[list[Object]]:
    """Wait until there are `count` objects and the predicate holds for all of them."""

    def all_of_them(items: list[Object]) -> list[Object] | None:
        whole = len(items) == count and all(_holds(predicate, item) for item in items)
        return items if whole else None

    expectation = Expectation(f"all {count} of {collection}", all_of_them, timeout)
    return _fulfilled(expectation, watch(cluster, collection, namespace))


@dataclass(frozen=True)
class Expectation:
    """A condition to wait for, with a time-out in seconds."""

    what: str
    found_in: Callable[[list[Object]], list[Object] | None]
    timeout: float


async def _fulfilled(
    expectation: Expectation, states: AsyncGenerator[dict[str, Object], None]
) -> list[Object]:
    latest: list[Object] = []
    try:
        async with asyncio.timeout(expectation.timeout), aclosing(states):
            async for objects in states:
                latest = list(objects.values())
                found = expectation.found_in(latest)
                if found is not None:
                    return found
    except TimeoutError:
        shown = yaml.safe_dump([_shown(item) for item in latest[:5]], sort_keys=False)
        waited = f"waited {expectation.timeout:g} s for {expectation.what}"
        message = f"{waited}; {len(latest)} there:\n{shown}"
        raise AssertionError(message) from None
    raise AssertionError("a watch without an end ended")


def _one_of(items: list[Object], predicate: Callable[[Object], object]) -> list[Object] | None:
    return [item for item in items if _holds(predicate, item)] or None


def _holds(predicate: Callable[[Object], object], item: Object) -> bool:
    try:
        return bool(predicate(item))
    except (KeyError, IndexError):
        return False


def _shown(item: Object) -> Object:
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    return {**item, "metadata": metadata}
