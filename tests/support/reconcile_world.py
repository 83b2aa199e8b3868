"""A reconciler with real queue, cache and decisions, between a fake cluster and a fake cloud.

A test can change both worlds in between: `cluster.before_write` and `cloud.during` run at the
moments at which the real worlds can change.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from cse_operator.api.failure_kind import FailureKind
from cse_operator.cloud.errors import CloudError
from cse_operator.core.observation import Limits
from cse_operator.core.policies import PolicySet
from cse_operator.core.views import Accepted, EngineView, JobView
from cse_operator.kube import errors
from cse_operator.kube.references import ObjectReference
from cse_operator.kube.status_writer import merge_patch
from cse_operator.runtime.authority import Authority
from cse_operator.runtime.cache import Cache, CachedResource
from cse_operator.runtime.calls import Calls
from cse_operator.runtime.gate import Gate
from cse_operator.runtime.metrics import Metrics
from cse_operator.runtime.ownership import Ownership
from cse_operator.runtime.polls import Polls
from cse_operator.runtime.reconcile import Dependencies, Intervals, Reconciler
from cse_operator.runtime.recorder import Recorder
from cse_operator.runtime.statuses import Statuses
from cse_operator.runtime.workqueue import Group, WorkQueue
from support.cloud_calls import FakeTime
from support.fake_vendor import engine_view, failure, job_view
from support.resources import Object, changed

Hook = Callable[[], Awaitable[None] | None]


@dataclass
class FakeCluster:
    """Objects with resource versions; it takes the operator's writes and reads."""

    objects: dict[str, Object] = field(default_factory=dict)
    before_write: list[Hook] = field(default_factory=list)
    """Hooks to run before the next writes, one each."""
    after_write: list[Hook] = field(default_factory=list)
    """Hooks to run after the next writes, before the operator has the answer, one each."""
    refusals: list[Exception] = field(default_factory=list)
    """If there is one, every write fails with the first, without effect."""
    deeds: list[str] = field(default_factory=list)
    """The operator's actions on cluster and cloud, in order."""

    async def write(
        self,
        reference: ObjectReference,
        resource_version: str,
        old_status: Object,
        new_status: Object,
    ) -> Object | None:
        """Do the same as `StatusWriter.write`."""
        patch = merge_patch(old_status, new_status)
        if not patch:
            return None
        if self.refusals:
            self.deeds.append("refused")
            raise self.refusals[0]
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
        self.deeds.append(f"write {after['status'].get('phase', 'the mark')}")
        if self.after_write:
            await _run(self.after_write.pop(0))
        return copy.deepcopy(after)

    async def get(self, reference: ObjectReference) -> Object | None:
        """Do the same as `ResourceReader.get`."""
        found = self.objects.get(f"{reference.namespace}/{reference.name}")
        if found is None or found["metadata"]["uid"] != reference.uid:
            return None
        return copy.deepcopy(found)


def _merged(old: Object, patch: Object) -> Object:
    """Apply a JSON merge patch, and return the result."""
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
    """One project at the vendor: its engines, its jobs, and the outcomes of calls."""

    cluster: FakeCluster
    time: FakeTime
    engines: dict[str, EngineView] = field(default_factory=dict)
    jobs: dict[int, JobView | Exception] = field(default_factory=dict)
    outcomes: list[Exception] = field(default_factory=list)
    """The errors of the next changing calls, which then have no effect."""
    during: dict[str, list[Hook]] = field(default_factory=dict)
    """Hooks to run during the next `look` or `call`, one each."""
    send_before: list[float] = field(default_factory=list)
    attached: set[str] = field(default_factory=set)
    no_access: Exception | None = None
    region_refused: bool = False
    """Whether the region is not allowed: then only running jobs are followed."""
    listed: tuple[JobView, ...] | None = None
    """The vendor's list of jobs; None if the site has no such list."""
    live_reads: int = 0
    rotations: list[object] = field(default_factory=list)
    """The projects after the next live reads of the Secret, one each; an exception is raised."""
    ids: Any = field(default_factory=lambda: itertools.count(101))

    def __post_init__(self) -> None:
        self.project: object = SimpleNamespace(client=self)

    async def _pause(self, what: str) -> None:
        if self.during.get(what):
            await _run(self.during[what].pop(0))

    # --- what the client does -----------------------------------------------------------------

    async def show_engine(self, engine_id: str, **_: object) -> EngineView:
        view = self.engines.get(engine_id)
        self.cluster.deeds.append("look")
        await self._pause("look")
        if view is None:
            raise CloudError(failure())
        return view

    async def upgrade(
        self, engine_id: str, version: str, *, send_before: float, **_: object
    ) -> Accepted:
        return await self._change(engine_id, f"upgrade to {version}", send_before, next(self.ids))

    async def retry(self, engine_id: str, *, send_before: float, **_: object) -> Accepted:
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

    async def list_jobs(self, engine_id: str, **_: object) -> tuple[JobView, ...] | None:
        self.cluster.deeds.append("jobs")
        return self.listed

    async def show_job(self, engine_id: str, job_id: int, **_: object) -> JobView:
        self.cluster.deeds.append(f"job {job_id}")
        if job_id not in self.jobs:
            raise CloudError(failure(FailureKind.NOT_FOUND))
        shown = self.jobs[job_id]
        if isinstance(shown, Exception):
            raise shown
        return shown

    # --- what the access does -----------------------------------------------------------------

    async def project_of(
        self, key: str, resource: object, *, live: bool = False, following: bool = False
    ) -> Any:
        self.live_reads += live
        if self.region_refused and not following:
            raise CloudError(failure(FailureKind.REGION_NOT_ALLOWED))
        if self.no_access is not None:
            raise self.no_access
        if live and self.rotations:
            project = self.rotations.pop(0)
            if isinstance(project, Exception):
                raise project
            self.project = project
        self.attached.add(key)
        return self.project

    def release(self, key: str) -> None:
        self.attached.discard(key)


class World:
    """The reconciler with its fakes; the test controls the watch."""

    def __init__(
        self,
        *,
        time: FakeTime,
        may_act_for: float = float("inf"),
        start_grace: float = 0.0,
        observes_only: bool = False,
    ) -> None:
        self.time = time
        self.cluster = FakeCluster()
        self.cloud = FakeCloud(self.cluster, self.time)
        self.queue = WorkQueue(
            slots=64,
            group_of=lambda key: Group(key.partition("/")[0], None),
            clock=self.time,
            jitter=lambda: 0.0,
        )
        limits = Limits()
        self.ownership = Ownership(grace=limits.grace, enqueue=self.queue.add, clock=self.time)
        self.cache = Cache(self.ownership, lambda region: region)
        self.authority = Authority(
            grace=start_grace,
            observes_only=observes_only,
            remaining=lambda: may_act_for,
            clock=self.time,
        )
        self.authority.begin()
        self.policies = PolicySet()
        self.wall = [datetime(2026, 12, 5, 12, tzinfo=UTC)]
        self.gate = Gate(self.cache, self.queue, lambda: self.policies, clock=lambda: self.wall[0])
        self.cache.on_change = self.gate.changed
        self.cache.on_remove = self.gate.removed
        self.events: list[str] = []
        poster = SimpleNamespace(post=lambda _ref, _type, reason, _message: self._posted(reason))
        metrics = Metrics()
        resolver: Any = self.cloud
        cluster: Any = self.cluster
        recorder = Recorder(poster, metrics)  # type: ignore[arg-type]
        statuses = Statuses(cluster, self.cache, self.queue, self.ownership, recorder)
        self.calls = Calls(
            queue=self.queue,
            resolver=resolver,
            ownership=self.ownership,
            authority=self.authority,
            statuses=statuses,
            limits=limits,
            send_window=5.0,
        )
        self.reconciler = Reconciler(
            Dependencies(
                queue=self.queue,
                cache=self.cache,
                reader=cluster,
                resolver=resolver,
                ownership=self.ownership,
                gate=self.gate,
                authority=self.authority,
                statuses=statuses,
                calls=self.calls,
                polls=Polls(interval=5.0, limit=100.0),
                metrics=metrics,
                limits=limits,
                intervals=Intervals(progress=60.0, resync=600.0),
            )
        )

    def _posted(self, reason: str) -> None:
        self.events.append(reason)

    @property
    def deeds(self) -> list[str]:
        """The operator's actions since the last read of this property."""
        deeds, self.cluster.deeds = self.cluster.deeds, []
        return deeds

    def apply(self, obj: Object, *, watched: bool = True) -> Object:
        """Store an object in the cluster, and deliver it by the watch."""
        self.cluster.objects[_key(obj)] = obj
        if watched:
            self.watch(_key(obj))
        return obj

    def watch(self, key: str) -> None:
        """Deliver the newest version of an object by the watch."""
        self.cache.watched(copy.deepcopy(self.cluster.objects[key]))

    def delete(self, key: str, *, watched: bool = True) -> None:
        """Delete an object, and deliver that by the watch."""
        obj = self.cluster.objects.pop(key)
        if watched:
            self.cache.remove(key, uid=obj["metadata"]["uid"])

    def status(self, key: str = "payments/orders") -> Object:
        """Return the stored status."""
        status: Object = self.cluster.objects[key]["status"]
        return status

    def reason(self, key: str = "payments/orders") -> str:
        """Return the reason of the condition Ready."""
        ready = next(c for c in self.status(key)["conditions"] if c["type"] == "Ready")
        return str(ready["reason"])

    def cached(self, key: str = "payments/orders") -> CachedResource:
        """Return a resource from the operator's cache."""
        found = self.cache.get(key)
        assert found is not None
        return found

    def due_in(self, key: str = "payments/orders") -> float:
        """Return the seconds until the resource is requeued."""
        return self.queue._delays._due[key][0] - self.time()

    async def step(self, key: str = "payments/orders") -> list[str]:
        """Reconcile a resource once, and return the actions."""
        _ = self.deeds
        self.queue._delays.drop(key)
        await self.reconciler.reconcile(key)
        return self.deeds

    async def run(self, seconds: float) -> int:
        """Reconcile all that is due in the next seconds; return the number of reconciles."""
        end, steps = self.time() + seconds, 0
        while True:
            while (key := self.queue._next()) is not None:
                await self.reconciler.reconcile(key)
                self.queue.done(key)
                steps += 1
            due = min((moment for moment, _ in self.queue._delays._due.values()), default=end)
            if due >= end:
                self.time.now = end
                return steps
            self.time.now = max(due, self.time.now)
            self.queue._delays._ring()


def _key(obj: Object) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
