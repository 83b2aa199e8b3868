"""The real API server's watch, as kopf gets to see it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from cse_operator.kube import login
from cse_operator.kube.watch import WatchLogin
from cse_simulator.control_plane import Cluster
from support.engines import create_engine, engine_path, patch_engine


@pytest.mark.timeout(60)
async def test_of_changes_kopf_sees_those_alone_that_are_not_known(
    control_plane: Cluster, namespace: str
) -> None:
    engine = create_engine(control_plane, "orders", namespace=namespace)
    known = set()

    def is_known(obj: Mapping[str, Any]) -> bool:
        return obj["metadata"]["resourceVersion"] in known

    versions = []
    for number in range(3):
        wish = {"spec": {"version": f"2.5.{number}"}}
        changed = await asyncio.to_thread(
            patch_engine, control_plane, "orders", wish, namespace=namespace
        )
        versions.append(changed["metadata"]["resourceVersion"])
    known.update(versions[:2])
    await asyncio.to_thread(control_plane.request, "DELETE", engine_path(namespace, "orders"))
    path = engine_path(namespace)
    query = {"watch": "true", "resourceVersion": engine["metadata"]["resourceVersion"]}
    async with await login.connect(kubeconfig=str(control_plane.kubeconfig)) as client:
        session = await WatchLogin(client, is_known)()
        async with (
            session.aiohttp_session as http,
            http.get(f"{session.server}{path}", params=query) as response,
        ):
            seen = await _lines_until_deleted(response)
    assert [event["type"] for event in seen] == ["MODIFIED", "DELETED"]
    assert seen[0]["object"]["metadata"]["resourceVersion"] == versions[2]


async def _lines_until_deleted(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    text = b""
    async for chunk in response.content.iter_chunked(1024):
        text += chunk
        if b'"DELETED"' in text:
            break
    return [json.loads(each) for each in text.splitlines()]
