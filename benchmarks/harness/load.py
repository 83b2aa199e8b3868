"""The users of the benchmark: they create, change and watch resources."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Self

import aiohttp
from pydantic_core import from_json

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.engines import DEFAULT_PROJECT
from harness.measures import KubeCall

PLURAL: Final = "microserviceengines"
NAMESPACE: Final = "default"
SECRET: Final = "cloud"
CONNECTIONS: Final = 40
_PATH = f"/apis/cse-operator.io/v1alpha1/namespaces/{NAMESPACE}/{PLURAL}"
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


def name_of(index: int) -> str:
    """Return the name of a resource."""
    return f"engine-{index:05d}"


class Load:
    """Calls the API server over 40 connections, and counts these calls."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.made: Counter[KubeCall] = Counter()

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cadata=self._cluster.certificate_authority)
        self._session = aiohttp.ClientSession(
            self._cluster.url,
            connector=aiohttp.TCPConnector(ssl=context, limit=CONNECTIONS + 4),
            headers={"Authorization": f"Bearer {self._cluster.token}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_read=None),
            read_bufsize=1 << 20,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def create(self, engine_ids: list[str], version: str) -> None:
        """Create the Secret and a resource for each engine."""
        secret = {"metadata": {"name": SECRET}, "stringData": {"token": "benchmark"}}
        await self._call("POST", f"/api/v1/namespaces/{NAMESPACE}/secrets", secret, "secrets")

        async def one(index: int) -> None:
            await self._call("POST", _PATH, _manifest(index, engine_ids[index], version), PLURAL)

        await _each(range(len(engine_ids)), one)

    async def change(self, indexes: Iterable[int], version: str) -> None:
        """Set another desired version in these resources."""

        async def one(index: int) -> None:
            path = f"{_PATH}/{name_of(index)}"
            await self._call("PATCH", path, {"spec": {"version": version}}, PLURAL)

        await _each(indexes, one)

    async def intent_write_seconds(self, times: int) -> list[float]:
        """Measure the write of an intent alone, as it happens before a lone change.

        The conditions are those of an operator's write: the status has an intent's size, a watch is
        open, and there is a pause before each write.
        """
        name, taken = "measured", []
        manifest = _manifest(0, "00000000-0000-0000-0000-000000000000", "0.0.1")
        manifest["metadata"]["name"] = name
        await self._call("POST", _PATH, manifest, PLURAL)
        async with self.watching():
            for number in range(times):
                await asyncio.sleep(0.2)
                body, begun = {"status": _intent(number)}, time.perf_counter()
                await self._call("PATCH", f"{_PATH}/{name}/status", body, f"{PLURAL}/status")
                taken.append(time.perf_counter() - begun)
        await self._call("DELETE", f"{_PATH}/{name}", {}, PLURAL)
        return taken

    async def _call(self, method: str, path: str, body: dict[str, Any], what: str) -> None:
        headers = _MERGE_PATCH if method == "PATCH" else {"Content-Type": "application/json"}
        data = json.dumps(body).encode()
        async with self._session.request(method, path, data=data, headers=headers) as answer:
            text = await answer.read()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")
        self.made[method, what] += 1

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Onlooker]:
        """Watch all resources while the context is open."""
        self.made["LIST", PLURAL] += 1
        async with self._session.get(_PATH, params={"limit": "1"}) as answer:
            version = (await answer.json())["metadata"]["resourceVersion"]
        onlooker = Onlooker(version)
        task = asyncio.create_task(self._watch(onlooker))
        task.add_done_callback(onlooker.watch_ended)
        try:
            yield onlooker
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self.made["WATCH", PLURAL] += 1

    async def _watch(self, onlooker: Onlooker) -> None:
        query = {"watch": "1", "timeoutSeconds": "3600"}
        while True:
            query["resourceVersion"] = onlooker.version
            async with self._session.get(_PATH, params=query) as answer:
                async for line in answer.content:
                    onlooker.see(line)
            # The API server ends watches when a CRD is installed: resume at the last version.
            self.made["WATCH", PLURAL] += 1


class Onlooker:
    """Sees each version of each resource, and wakes the waiters for it."""

    def __init__(self, version: str) -> None:
        self._waiting: dict[str, list[tuple[Callable[[Any], bool], asyncio.Future[float]]]] = {}
        self.version = version
        """The last seen resource version."""

    def watch_ended(self, task: asyncio.Task[None]) -> None:
        """Pass the watch's failure, if any, to all waiters."""
        error = None if task.cancelled() else task.exception()
        for waiting in self._waiting.values():
            for _, future in waiting:
                if error is not None and not future.done():
                    future.set_exception(error)

    def see(self, line: bytes) -> None:
        """Process one line of the watch."""
        event = from_json(line)
        if event["type"] == "ERROR":
            raise RuntimeError(f"the watch failed: {event['object']}")
        resource = event["object"]
        self.version = resource["metadata"]["resourceVersion"]
        waiting = self._waiting.get(resource["metadata"]["name"])
        if not waiting:
            return
        now = time.time()
        for entry in list(waiting):
            predicate, future = entry
            if predicate(resource):
                waiting.remove(entry)
                if not future.done():
                    future.set_result(now)

    def expect(self, index: int, predicate: Callable[[Any], bool]) -> asyncio.Future[float]:
        """Return a future of the wall-clock time at which the predicate first holds."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name_of(index), []).append((predicate, future))
        return future


def upgraded_to(version: str) -> Callable[[Any], bool]:
    """Return a predicate: the upgrade to a version has succeeded."""

    def predicate(resource: Any) -> bool:
        status = resource.get("status") or {}
        return bool(
            status.get("result") == "Succeeded"
            and status.get("currentVersion") == version
            and status.get("observedGeneration") == resource["metadata"]["generation"]
        )

    return predicate


def has_job_for(version: str) -> Callable[[Any], bool]:
    """Return a predicate: the status has the job of an upgrade that has not ended."""

    def predicate(resource: Any) -> bool:
        status = resource.get("status") or {}
        return bool(
            resource["spec"]["version"] == version
            and status.get("jobId")
            and not status.get("result")
            and status.get("observedGeneration") == resource["metadata"]["generation"]
        )

    return predicate


def settled_at(version: str) -> Callable[[Any], bool]:
    """Return a predicate: the status shows that the engine is at its version already."""

    def predicate(resource: Any) -> bool:
        status = resource.get("status") or {}
        return bool(status.get("phase") == "UpToDate" and status.get("currentVersion") == version)

    return predicate


def _manifest(index: int, engine_id: str, version: str) -> dict[str, Any]:
    return {
        "apiVersion": "cse-operator.io/v1alpha1",
        "kind": "MicroserviceEngine",
        "metadata": {"name": name_of(index), "namespace": NAMESPACE},
        "spec": {
            "region": "cn-north-4",
            "projectId": DEFAULT_PROJECT,
            "engineId": engine_id,
            "version": version,
            "credentialsRef": {"name": SECRET},
        },
    }


def _intent(number: int) -> dict[str, Any]:
    """Return a status with an intent, different for each number."""
    moment = f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z"
    condition = {
        "status": "True",
        "observedGeneration": number,
        "lastTransitionTime": moment,
        "reason": "Submitting",
        "message": "calling Upgrade from 2.3.1 to 2.4.0",
    }
    return {
        "observedGeneration": number,
        "phase": "Submitting",
        "message": condition["message"],
        "currentVersion": "2.3.1",
        "latestVersion": "2.5.0",
        "engine": {"name": "engine-00000", "type": "CSE", "status": "Available"},
        "upgrade": {
            "action": "Upgrade",
            "minReader": 1,
            "wantedVersion": "2.4.0",
            "fromVersion": "2.3.1",
            "targetVersion": "2.4.0",
            "requestedAt": moment,
            "baselineJobId": number,
            "baselineAt": moment,
            "attempts": 1,
            "retries": 0,
        },
        "conditions": [
            {"type": "Reconciling", **condition},
            {"type": "Ready", **condition, "status": "False"},
        ],
    }


async def _each(indexes: Iterable[int], do: Callable[[int], Any]) -> None:
    """Call a function for each index, 40 at a time."""
    left = iter(indexes)

    async def work() -> None:
        for index in left:
            await do(index)

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
