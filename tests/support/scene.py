"""One test's part of the world: a namespace, a cloud project, and the cluster and simulator.

Tests that share an operator and a simulator do not see each other: each has another namespace
and another project id, and reads only the calls for its own engines.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.admin_answers import EngineSummary, ReceivedCall
from cse_simulator.vendor.simulation import Simulation
from support import engines, wait
from support.kubectl import Kubectl

Object = dict[str, Any]

SECRET = "huaweicloud"
TOKEN = "canary-token-7c0ffee"
JOB_CHANGING_CALLS = ("Upgrade", "Retry")


@dataclass
class Scene:
    """The tools of an end-to-end test."""

    cluster: Cluster
    namespace: str
    simulation: Simulation
    project: str = field(default_factory=lambda: secrets.token_hex(16))

    def __post_init__(self) -> None:
        self.admin = self.simulation.admin
        self.kubectl = Kubectl(self.cluster)

    # --- the cloud ----------------------------------------------------------------------------

    def engine(self, name: str = "orders", **fields: str) -> EngineSummary:
        """Create an engine, by default at 2.3.1 with 2.4.0 as latest version."""
        usual = {"version": "2.3.1", "latest_version": "2.4.0", "project": self.project}
        return self.admin.create_engine(name, **{**usual, **fields})

    def calls(self, operation: str | None = None, **filters: Any) -> list[ReceivedCall]:
        """Return the calls for this test's project."""
        received = self.admin.calls(operation, **filters)
        return [call for call in received if call.project_id == self.project]

    def changing_calls(self, engine: EngineSummary | None = None) -> list[ReceivedCall]:
        """Return the calls that start jobs, for one engine or for the whole project."""
        filters = {"engine": engine.id} if engine else {}
        return [c for c in self.calls(**filters) if c.operation in JOB_CHANGING_CALLS]

    def accepted(self, engine: EngineSummary) -> dict[str, int]:
        """Return how often an upgrade call took effect on an engine, per target version."""
        upgrades = self.admin.accepted_upgrades()
        return {version: n for (id_, version), n in upgrades.items() if id_ == engine.id}

    # --- the cluster --------------------------------------------------------------------------

    def secret(self, name: str = SECRET, **values: str) -> None:
        """Create the Secret with the credentials, by default a token."""
        engines.create_secret(
            self.cluster, name, namespace=self.namespace, **(values or {"token": TOKEN})
        )

    def change_secret(self, name: str = SECRET, **values: str) -> None:
        """Replace the content of a Secret."""
        path = f"/api/v1/namespaces/{self.namespace}/secrets/{name}"
        self.cluster.request("PUT", path, {"metadata": {"name": name}, "stringData": values})

    def resource(self, engine: EngineSummary, name: str | None = None, **spec: Any) -> str:
        """Create an engine's resource, by default with desired version 2.4.0; return its name."""
        name = name or engine.name
        wanted = {"projectId": self.project, "engineId": engine.id, **spec}
        engines.create_engine(self.cluster, name, namespace=self.namespace, **wanted)
        return name

    def patch(self, name: str, **spec: Any) -> Object:
        """Change fields of a resource's spec."""
        return engines.patch_engine(self.cluster, name, {"spec": spec}, namespace=self.namespace)

    def annotate(self, name: str, **annotations: str) -> Object:
        """Set annotations of the operator's group: `retry_requested_at="1"` and the like."""
        named = {
            f"cse-operator.io/{key.replace('_', '-')}": value for key, value in annotations.items()
        }
        patch = {"metadata": {"annotations": named}}
        return engines.patch_engine(self.cluster, name, patch, namespace=self.namespace)

    def get(self, name: str) -> Object:
        """Return the current resource."""
        found: Object = self.cluster.request("GET", engines.engine_path(self.namespace, name))
        return found

    def delete(self, name: str) -> None:
        """Delete a resource."""
        self.cluster.request("DELETE", engines.engine_path(self.namespace, name))

    async def until(self, name: str, predicate: Callable[[Object], object]) -> Object:
        """Wait until the predicate holds for the resource, and return it."""
        return await wait.wait_for_resource(self.cluster, self.namespace, name, predicate)

    async def until_reason(self, name: str, reason: str) -> Object:
        """Wait until Ready has this reason for the current generation."""
        return await self.until(
            name,
            lambda item: (
                ready(item)["reason"] == reason
                and item["status"]["observedGeneration"] == item["metadata"]["generation"]
            ),
        )

    async def event(self, name: str, reason: str) -> Object:
        """Wait for an Event about a resource and return it."""
        return await wait.wait_for_any(
            self.cluster,
            wait.EVENTS,
            self.namespace,
            lambda item: item["involvedObject"]["name"] == name and item["reason"] == reason,
        )

    @asynccontextmanager
    async def versions_of(self, name: str) -> AsyncIterator[list[Object]]:
        """Collect every version of a resource, oldest first, without gaps."""
        seen: list[Object] = []
        begun, changed = asyncio.Event(), asyncio.Event()

        async def collect() -> None:
            states = wait.watch(self.cluster, wait.ENGINES, self.namespace, name)
            async with aclosing(states):
                async for items in states:
                    if name in items:
                        seen.append(items[name])
                    begun.set()
                    changed.set()

        task = asyncio.create_task(collect())
        try:
            async with asyncio.timeout(60):
                await begun.wait()
                yield seen
                last = self.get(name)["metadata"]["resourceVersion"]
                while not seen or int(seen[-1]["metadata"]["resourceVersion"]) < int(last):
                    changed.clear()
                    await changed.wait()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def ready(item: Object) -> Object:
    """Return the condition `Ready`; raise KeyError if there is none."""
    conditions: dict[str, Object] = {c["type"]: c for c in item["status"]["conditions"]}
    return conditions["Ready"]


def condition_types(item: Object) -> dict[str, str]:
    """Return the conditions' statuses by type."""
    return {c["type"]: c["status"] for c in item["status"]["conditions"]}


def status_writes(versions: list[Object]) -> list[Object]:
    """Return the versions of a resource whose status differs from the version before."""
    return [
        after for before, after in pairwise(versions) if before.get("status") != after.get("status")
    ]
