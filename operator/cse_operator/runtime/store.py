"""What the operator knows of each resource: the watched object, kept small, and its own notes.

Ten thousand resources at rest must fit into a few megabytes, so of the object only what decides
(spec, status and two annotations) is kept, compressed, and unpacked when it is worked on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from pydantic import ValidationError

from cse_operator.api.names import RECONCILE_REQUESTED_AT, RETRY_REQUESTED_AT
from cse_operator.api.resource import Spec, Status
from cse_operator.api.status_reader import read_status
from cse_operator.core.failure import Failure
from cse_operator.core.multimap import Multimap
from cse_operator.core.observation import JobView
from cse_operator.core.observed import Rival
from cse_operator.core.states import Stage, stage_of
from cse_operator.kube.references import ObjectReference
from cse_operator.runtime.packing import pack, unpack

EngineKey = tuple[str, str, str]
"""Endpoint, project and id of an engine: what makes two resources name the same one."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource as it was in one version."""

    reference: ObjectReference
    resource_version: str
    generation: int
    spec: Spec
    engine_id: str
    """As in the spec. It is the store's own text, for those who keep it."""
    status: Status
    raw_status: dict[str, Any]
    reconcile_request: str | None
    retry_request: str | None


class InvalidSpecError(Exception):
    """The spec in the cluster does not fit the models: an old or altered CRD."""


@dataclass(slots=True)
class Notes:
    """What this process alone knows of a resource; gone with a crash, and then not missed."""

    failures: int = 0
    failure: Failure | None = None
    """What the follower met last, if it met a failure."""
    job: JobView | None = None
    job_seen: float = 0.0
    decided: float = 0.0
    """When the last decision was made; looks and the send window are measured from it."""
    missing_job: int | None = None
    ended_since: float | None = None
    stage: Stage | None = None
    stage_mark: object = None
    stage_since: float = 0.0
    wrote_intent: bool = False
    """Whether the open intent is this process's own."""
    writing: bool = False
    """Whether a status write is under way: its echo may come before its answer."""
    status_written: float = 0.0
    unsent: int = 0
    """How many calls in a row never left this process."""
    passing_looks: int = 0
    """How many looks in a row showed a state of the engine that passes by itself."""
    not_found_since: float | None = None
    """Since when every look has said that there is no such engine."""

    @property
    def say_nothing(self) -> bool:
        """Whether they are as good as new ones once the resource is ready."""
        quiet = self.failures == 0 and self.failure is None and not self.writing
        quiet = quiet and self.passing_looks == 0 and self.unsent == 0
        return quiet and self.stage is Stage.IDLE

    def enter(self, status: Status, now: float) -> None:
        """Note the stage that the recorded upgrade is in, and since when.

        What was noted of another stage goes; news of the very job that is entered stays.
        """
        record, stage = status.upgrade, stage_of(status)
        job_id = record.job_id if record is not None else None
        mark = record and (job_id, record.attempts, record.retries, record.requested_at)
        if self.stage is stage and self.stage_mark == mark:
            return
        self.stage, self.stage_mark, self.stage_since = stage, mark, now
        self.wrote_intent = False
        self.failure = None
        if self.job is not None and self.job.job_id != job_id:
            self.job, self.ended_since = None, None
        if self.missing_job != job_id:
            self.missing_job = None


class News(Enum):
    """What an object brings that was not known."""

    NOTHING = "nothing that decides"
    STATUS = "somebody else wrote the status"
    WISH = "the spec, a request, or a deletion"


class Summary(NamedTuple):
    """What metrics show of a resource; texts are shared between resources."""

    wanted: str
    current: str
    latest: str
    phase: str
    reason: str
    conditions: tuple[str, ...]
    """The types of the conditions that are true."""
    not_ready_since: float | None
    """Unix time since when it is not ready."""


def _summarize(raw: Mapping[str, Any]) -> Summary:
    status = raw["status"]
    conditions = status.get("conditions") or []
    ready: Mapping[str, Any] = next((c for c in conditions if c.get("type") == "Ready"), {})
    since = ready.get("lastTransitionTime") if ready.get("status") == "False" else None
    return Summary(
        wanted=sys.intern(str(raw["spec"].get("version", ""))),
        current=sys.intern(str(status.get("currentVersion", ""))),
        latest=sys.intern(str(status.get("latestVersion", ""))),
        phase=sys.intern(str(status.get("phase", ""))),
        reason=sys.intern(str(ready.get("reason", ""))),
        conditions=_true_conditions(status),
        not_ready_since=datetime.fromisoformat(since).timestamp() if since else None,
    )


def _true_conditions(status: Mapping[str, Any]) -> tuple[str, ...]:
    conditions = status.get("conditions") or []
    return tuple(sys.intern(str(c["type"])) for c in conditions if c.get("status") == "True")


@dataclass(slots=True)
class _Open:
    """What a step that works on a resource has read of it."""

    raw: dict[str, Any] | None = None
    spec: Spec | None = None
    status: Status | None = None


@dataclass(slots=True)
class Tracked:
    """One resource in the store: packed small at rest, and kept unpacked while worked on."""

    key: str
    namespace: str
    uid: str
    version: int
    generation: int
    created: str
    deleting: bool
    endpoint: str
    """Of the API in the region that the spec names: two names of one endpoint are one engine."""
    project_id: str
    engine_id: str
    """As in the spec; all three are empty where the spec does not say them."""
    _packed: bytes | None
    """Its content, unless that changed while it is worked on."""
    _notes: Notes | None = None
    _open: _Open | None = None
    _summary: Summary | None = None

    @property
    def engine(self) -> EngineKey | None:
        """The engine that it names."""
        return (self.endpoint, self.project_id, self.engine_id) if self.engine_id else None

    @property
    def name(self) -> str:
        """Its name, which is in the key."""
        return self.key[len(self.namespace) + 1 :]

    @property
    def reference(self) -> ObjectReference:
        """Which resource it is."""
        return ObjectReference(self.namespace, self.name, self.uid)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While a step works on it, what was read of it is not read again."""
        opened = self._open = _Open()
        try:
            yield
        finally:
            if self._is_at_rest(opened.raw):
                self._notes = None
            if self._packed is None:
                self._packed = pack(self.raw)
            self._open = None

    def _is_at_rest(self, raw: Mapping[str, Any] | None) -> bool:
        """Whether nothing is noted that the next step could miss."""
        if raw is None or self._notes is None or not self._notes.say_nothing:
            return False
        return "Ready" in _true_conditions(raw["status"])

    @property
    def notes(self) -> Notes:
        """What this process alone knows of it."""
        if self._notes is None:
            self._notes = Notes()
        return self._notes

    @property
    def is_written(self) -> bool:
        """Whether a status write of this process is under way."""
        return self._notes is not None and self._notes.writing

    @property
    def is_known_to_run(self) -> bool:
        """Whether this process has noted that an upgrade's job runs."""
        return self._notes is not None and self._notes.stage is Stage.RUNNING

    def take_in(self, content: dict[str, Any]) -> None:
        """Take in what decides, as it is now."""
        self._summary = None
        opened = self._open
        if opened is None:
            self._packed = pack(content)
            return
        if opened.raw is None or opened.raw["spec"] != content["spec"]:
            opened.spec = None
        opened.raw, opened.status, self._packed = content, None, None

    @property
    def summary(self) -> Summary:
        """What metrics show of it."""
        if self._summary is None:
            self._summary = _summarize(self.raw)
        return self._summary

    @property
    def upgrading(self) -> bool:
        """Whether an upgrade is open: an intent, a running job, or what cannot be read."""
        status = self.raw["status"]
        upgrade = status.get("upgrade") if isinstance(status, dict) else status
        return bool(upgrade) and stage_of(read_status({"upgrade": upgrade})) is not Stage.IDLE

    @property
    def raw(self) -> dict[str, Any]:
        """Spec, status and requests as plain JSON data."""
        opened = self._open
        if opened is not None and opened.raw is not None:
            return opened.raw
        if self._packed is None:
            raise AssertionError(f"{self.key}: what is not packed is at hand")
        raw = unpack(self._packed)
        if opened is not None:
            opened.raw = raw
        return raw

    def parse(self) -> Resource:
        """The resource, as models.

        Raises:
            InvalidSpecError: when the spec does not fit them; the text names the field.
        """
        raw = self.raw
        spec = self._parse_spec(raw)
        return Resource(
            reference=self.reference,
            resource_version=str(self.version),
            generation=self.generation,
            spec=spec,
            engine_id=self.engine_id,
            status=self.parse_status(),
            raw_status=raw["status"],
            reconcile_request=raw["reconcile"],
            retry_request=raw["retry"],
        )

    def _parse_spec(self, raw: Mapping[str, Any]) -> Spec:
        opened = self._open
        if opened is not None and opened.spec is not None:
            return opened.spec
        try:
            spec = Spec.model_validate(raw["spec"])
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in ("spec", *first["loc"]))
            raise InvalidSpecError(f"{where}: {first['msg']}") from None
        if opened is not None:
            opened.spec = spec
        return spec

    def parse_status(self) -> Status:
        """The status alone, whoever wrote it."""
        opened = self._open
        if opened is not None and opened.status is not None:
            return opened.status
        status = read_status(self.raw["status"])
        if opened is not None:
            opened.status = status
        return status


def _content(obj: Mapping[str, Any]) -> dict[str, Any]:
    """What decides, of an object as the API server gave it."""
    annotations = obj["metadata"].get("annotations") or {}
    return {
        "spec": obj.get("spec") or {},
        "status": obj.get("status") or {},
        "reconcile": annotations.get(RECONCILE_REQUESTED_AT),
        "retry": annotations.get(RETRY_REQUESTED_AT),
    }


def _news(before: Tracked, generation: int, new: Mapping[str, Any], *, deleting: bool) -> News:
    if (before.generation, before.deleting) != (generation, deleting):
        return News.WISH
    old = before.raw
    if old == new:
        return News.NOTHING
    same_wish = all(old[part] == new[part] for part in ("spec", "reconcile", "retry"))
    return News.STATUS if same_wish else News.WISH


def _engine_of(obj: Mapping[str, Any]) -> EngineKey:
    spec = obj.get("spec") or {}
    region, project, engine = (spec.get(part) for part in ("region", "projectId", "engineId"))
    if isinstance(region, str) and isinstance(project, str) and isinstance(engine, str):
        return sys.intern(region), sys.intern(project), engine
    return "", "", ""


class ResourceStore:
    """All resources that are served, by `namespace/name`.

    Args:
        wake: called with the key of each resource that may no longer have the rival it had,
            or has a new one, because another resource that names its engine changed.
        endpoint_of: the endpoint of a region, by which engines are told apart.
    """

    def __init__(
        self,
        wake: Callable[[str], None] = lambda _key: None,
        endpoint_of: Callable[[str], str] = lambda region: region,
    ) -> None:
        self._wake = wake
        self._endpoint_of = endpoint_of
        self._tracked: dict[str, Tracked] = {}
        # By the id alone, which next to always says which engine it is: a key of three for each
        # resource would be a megabyte of ten thousand.
        self._by_engine_id: Multimap[str] = Multimap()

    def __len__(self) -> int:
        return len(self._tracked)

    def __iter__(self) -> Iterator[tuple[str, Tracked]]:
        return iter(list(self._tracked.items()))

    def get(self, key: str) -> Tracked | None:
        """What is known of a resource."""
        return self._tracked.get(key)

    def knows(self, obj: Mapping[str, Any]) -> bool:
        """Whether an object is the known one, or an older one."""
        metadata = obj["metadata"]
        tracked = self._tracked.get(f"{metadata['namespace']}/{metadata['name']}")
        return tracked is not None and int(metadata["resourceVersion"]) <= tracked.version

    def put(self, obj: Mapping[str, Any]) -> tuple[str, News]:
        """Take in an object as the API server gave it.

        Returns:
            Its key, and what that decides is news. In an object older than the known one (a
            stale list, the late echo of an own write) nothing is: resource versions of one
            resource can be compared as numbers (Kubernetes API Concepts, resource versions).
        """
        metadata = obj["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        version = int(metadata["resourceVersion"])
        before = self._tracked.get(key)
        if before is not None and version <= before.version:
            return key, News.NOTHING
        content, deleting = _content(obj), "deletionTimestamp" in metadata
        region, project_id, engine_id = _engine_of(obj)
        endpoint = sys.intern(self._endpoint_of(region)) if region else ""
        named = (endpoint, project_id, engine_id) if engine_id else None
        if before is not None and (before.uid, before.engine) == (metadata["uid"], named):
            news = _news(before, metadata.get("generation", 1), content, deleting=deleting)
            others = self._others(key)
            upgrading = bool(others) and before.upgrading
            before.version, before.deleting = version, deleting
            before.take_in(content)
            before.generation = metadata.get("generation", 1)
            if others and before.upgrading != upgrading:
                self._wake_all((*others, key))
            return key, news
        # Also where the engine is another one, which a CRD of ours does not allow: what was noted
        # is about the one before.
        self.remove(key)
        self._tracked[key] = Tracked(
            key=key,
            namespace=sys.intern(metadata["namespace"]),
            uid=metadata["uid"],
            version=version,
            generation=metadata.get("generation", 1),
            created=sys.intern(metadata.get("creationTimestamp") or ""),
            deleting=deleting,
            endpoint=endpoint,
            project_id=project_id,
            engine_id=engine_id,
            _packed=pack(content),
        )
        if engine_id:
            self._by_engine_id.add(engine_id, key)
        self._wake_all(self._others(key))
        return key, News.WISH

    def remove(self, key: str, *, uid: str | None = None) -> Tracked | None:
        """Forget a resource (only the one with this uid, if it is given)."""
        tracked = self._tracked.get(key)
        if tracked is None or (uid is not None and tracked.uid != uid):
            return None
        others = self._others(key)
        del self._tracked[key]
        self._by_engine_id.remove(tracked.engine_id, key)
        self._wake_all(others)
        return tracked

    def rival(self, key: str) -> Rival | None:
        """The resource that drives the same engine in this one's place, if there is one.

        The oldest drives (creation time, then uid), except that an upgrade that another one
        has begun is ended by it: what became of its call, only its own record can tell. The
        driver's name is told within its namespace only.
        """
        others = self._others(key)
        if not others:
            return None
        mine = self._tracked[key]
        first = min((mine, *(self._tracked[other] for other in others)), key=_precedence)
        if first is mine:
            return None
        name = first.name if first.namespace == mine.namespace else None
        return Rival(name, upgrading=(first.created, first.uid) > (mine.created, mine.uid))

    def _others(self, key: str) -> tuple[str, ...]:
        """The keys of the other resources that name the same engine."""
        mine = self._tracked[key]
        named = self._by_engine_id[mine.engine_id]
        if len(named) < 2:  # noqa: PLR2004
            return ()
        return tuple(
            other for other in named if other != key and self._tracked[other].engine == mine.engine
        )

    def _wake_all(self, keys: tuple[str, ...]) -> None:
        for key in keys:
            self._wake(key)


def _precedence(tracked: Tracked) -> tuple[bool, str, str]:
    return (not tracked.upgrading, tracked.created, tracked.uid)
