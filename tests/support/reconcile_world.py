"""A reconciler with real queue, store and decisions, between a cluster and a cloud in the hand.

What happens in between is up to the test: `cluster.before_write` and `cloud.during` run at the
moments at which the real world has time to change.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from cse_operator.cloud.directory import Look
from cse_operator.cloud.errors import CloudError
from cse_operator.core.observation import Accepted, EngineView, JobView
from cse_operator.core.observed import Policy
from cse_operator.kube import errors
from cse_operator.kube.references import ObjectReference
from cse_operator.kube.status_writer import merge_patch
from cse_operator.runtime.announce import Announcer
from cse_operator.runtime.metrics import Metrics
from cse_operator.runtime.queue import KeyedQueue
from cse_operator.runtime.reconcile import Reconciler, Tools
from cse_operator.runtime.store import ResourceStore
from support.cloud_calls import FakeTime
from support.fake_vendor import engine_view, failure, job_view
from support.resources import Object, changed

Hook = Callable[[], Awaitable[None] | None]


@dataclass
class FakeCluster:
    """Objects with resource versions; writes and reads of the operator go here."""

    objects: dict[str, Object] = field(default_factory=dict)
    before_write: list[Hook] = field(default_factory=list)
    """Run before the next writes, one each."""
    after_write: list[Hook] = field(default_factory=list)
    """Run after the next writes, before the operator has their answer, one each."""
    deeds: list[str] = field(default_factory=list)
    """What the operator did to cluster and cloud, in order."""

    async def write(
        self,
        reference: ObjectReference,
        resource_version: str,
        old_status: Object,
        new_status: Object,
    ) -> Object | None:
        """As `StatusWriter.write`."""
        patch = merge_patch(old_status, new_status)
        if not patch:
            return None
        if self.before_write:
            await _run(self.before_write.pop(0))
        key = f"{reference.namespace}/{reference.name}"
        now = self.objects.get(key)
        if now is None or now["metadata"]["uid"] != reference.uid:
            raise errors.Gone("there is no such object")
        if now["metadata"]["resourceVersion"] != resource_version:
            self.deeds.append("conflict")
            raise errors.Conflict("somebody wrote first")
        after = changed(now, status=_merged(now["status"], patch))
        self.objects[key] = after
        self.deeds.append(f"write {after['status']['phase']}")
        if self.after_write:
            await _run(self.after_write.pop(0))
        return copy.deepcopy(after)

    async def get(self, reference: ObjectReference) -> Object | None:
        """As `ResourceReader.get`."""
        found = self.objects.get(f"{reference.namespace}/{reference.name}")
        if found is None or found["metadata"]["uid"] != reference.uid:
            return None
        return copy.deepcopy(found)


def _merged(old: Object, patch: Object) -> Object:
    """A JSON merge patch, applied."""
    merged = dict(old)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            before = merged.get(key)
            merged[key] = _merged(before if isinstance(before, dict) else {}, value)
        else:
            merged[key] = value
    return merged


async def _run(hook: Hook) -> None:
    happening = hook()
    if happening is not None:
        await happening


@dataclass
class FakeCloud:
    """One project of the vendor's: engines, jobs, and what becomes of calls."""

    cluster: FakeCluster
    time: FakeTime
    engines: dict[str, EngineView] = field(default_factory=dict)
    jobs: dict[int, JobView] = field(default_factory=dict)
    outcomes: list[Exception] = field(default_factory=list)
    """What the next changing calls are answered with; they have no effect."""
    during: dict[str, list[Hook]] = field(default_factory=dict)
    """Run during the next `look` or `call`, one each."""
    send_before: list[float] = field(default_factory=list)
    followed: dict[str, int] = field(default_factory=dict)
    refollowed: list[str] = field(default_factory=list)
    attached: set[str] = field(default_factory=set)
    no_access: Exception | None = None
    ids: Any = field(default_factory=lambda: itertools.count(101))

    async def _pause(self, what: str) -> None:
        if self.during.get(what):
            await _run(self.during[what].pop(0))

    # --- what the directory and the client do -------------------------------------------------

    async def look(self, engine_id: str, *, directly: bool = False) -> Look:
        began, view = self.time(), self.engines.get(engine_id)
        self.cluster.deeds.append("look")
        await self._pause("look")
        if view is None:
            raise CloudError(failure())
        return Look(view, began, self.time())

    async def upgrade(self, engine_id: str, version: str, *, send_before: float) -> Accepted:
        return await self._change(engine_id, f"upgrade to {version}", send_before, next(self.ids))

    async def retry(self, engine_id: str, *, send_before: float) -> Accepted:
        latest = self.engines[engine_id].latest_job_id
        assert latest is not None
        return await self._change(engine_id, "retry", send_before, latest)

    async def _change(self, engine_id: str, deed: str, before: float, job_id: int) -> Accepted:
        self.cluster.deeds.append(deed)
        self.send_before.append(before)
        await self._pause("call")
        if self.outcomes:
            raise self.outcomes.pop(0)
        self.engines[engine_id] = engine_view(engine_id, status="Upgrading", latest_job_id=job_id)
        self.jobs[job_id] = job_view(job_id, engine_id)
        return Accepted(engine_id, "orders", job_id)

    async def show_job(self, engine_id: str, job_id: int) -> JobView:
        self.cluster.deeds.append(f"job {job_id}")
        return self.jobs[job_id]

    # --- what the follower does ---------------------------------------------------------------

    def follow(self, key: str, engine_id: str, job_id: int) -> None:
        if key not in self.followed:
            self.refollowed.append(key)
        self.followed[key] = job_id

    def unfollow(self, key: str) -> None:
        self.followed.pop(key, None)

    # --- what the access does -----------------------------------------------------------------

    async def project_of(self, key: str, resource: object) -> Any:
        if self.no_access is not None:
            raise self.no_access
        self.attached.add(key)
        return SimpleNamespace(directory=self, client=self, follower=self)

    def release(self, key: str) -> None:
        self.attached.discard(key)
        self.unfollow(key)


class World:
    """All of it together, with the watch in the test's hand."""

    def __init__(self, *, time: FakeTime, may_act_for: float = float("inf")) -> None:
        self.time = time
        self.cluster = FakeCluster()
        self.cloud = FakeCloud(self.cluster, self.time)
        self.queue = KeyedQueue(clock=self.time)
        self.store = ResourceStore(wake=self.queue.add)
        self.events: list[str] = []
        poster = SimpleNamespace(post=lambda _ref, _type, reason, _message: self._posted(reason))
        metrics = Metrics()
        self.reconciler = Reconciler(
            Tools(
                queue=self.queue,
                store=self.store,
                writer=self.cluster,  # type: ignore[arg-type]
                reader=self.cluster,  # type: ignore[arg-type]
                access=self.cloud,  # type: ignore[arg-type]
                announcer=Announcer(poster, metrics),  # type: ignore[arg-type]
                metrics=metrics,
                policy=Policy(),
                progress_interval=60.0,
                send_window=5.0,
                may_act_for=lambda: may_act_for,
            )
        )

    def _posted(self, reason: str) -> None:
        self.events.append(reason)

    @property
    def deeds(self) -> list[str]:
        """What the operator did since this was asked last."""
        deeds, self.cluster.deeds = self.cluster.deeds, []
        return deeds

    def apply(self, obj: Object, *, watched: bool = True) -> Object:
        """Store an object in the cluster, and let the watch deliver it."""
        self.cluster.objects[_key(obj)] = obj
        if watched:
            self.watch(_key(obj))
        return obj

    def watch(self, key: str) -> None:
        """Let the watch deliver an object as it is now."""
        self.store.put(copy.deepcopy(self.cluster.objects[key]))

    def delete(self, key: str, *, watched: bool = True) -> None:
        """Delete an object, and let the watch say so."""
        obj = self.cluster.objects.pop(key)
        if watched:
            self.store.remove(key, uid=obj["metadata"]["uid"])

    def status(self, key: str = "payments/orders") -> Object:
        """The status as it is stored."""
        status: Object = self.cluster.objects[key]["status"]
        return status

    def reason(self, key: str = "payments/orders") -> str:
        """The reason of the condition Ready."""
        ready = next(c for c in self.status(key)["conditions"] if c["type"] == "Ready")
        return str(ready["reason"])

    async def step(self, key: str = "payments/orders") -> list[str]:
        """Do one step for a resource, and return what it did."""
        _ = self.deeds
        await self.reconciler.reconcile(key)
        return self.deeds


def _key(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
