"""The cache: each resource as it was last watched, listed or written, and its notes.

The cache keeps only the parts of an object that decide (`content.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from cse_operator.api.spec import Spec
from cse_operator.api.status import Status
from cse_operator.api.status_reader import read_status
from cse_operator.core.member import Member, member_of
from cse_operator.core.observation import Desired
from cse_operator.core.states import State, state_of
from cse_operator.kube.references import ObjectReference
from cse_operator.runtime.content import Change, Content
from cse_operator.runtime.notes import Notes
from cse_operator.runtime.ownership import Claim, EngineKey, Ownership
from cse_operator.runtime.summary import Summary, summarize


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource in one version."""

    reference: ObjectReference
    resource_version: str
    generation: int
    spec: Spec
    status: Status
    raw_status: dict[str, Any]
    reconcile_request: str | None
    retry_request: str | None

    @property
    def desired(self) -> Desired:
        """What a person asks for by it."""
        return Desired.of(
            self.spec,
            self.generation,
            reconcile_request=self.reconcile_request,
            retry_request=self.retry_request,
        )


class InvalidSpecError(Exception):
    """The spec in the cluster does not fit the models: the CRD is old or altered."""


@dataclass(slots=True)
class CachedResource:
    """One resource in the cache."""

    key: str
    reference: ObjectReference
    created: str
    version: int
    touched: int
    """When it was last watched, read or written, by the cache's own count."""
    content: Content
    gone: bool = False
    """Whether the cache has removed it."""
    notes: Notes = field(default_factory=Notes)
    _summary: Summary | None = None
    _member: Member | None = None

    @property
    def deleting(self) -> bool:
        """Whether the resource is being deleted."""
        return self.content.deleting

    @property
    def generation(self) -> int:
        """Return the generation of the spec."""
        return self.content.generation

    @property
    def raw_status(self) -> dict[str, Any]:
        """Return the status as plain JSON data."""
        return self.content.status

    def take_in(self, version: int, content: Content, touched: int) -> None:
        """Replace the cached content by another version."""
        self.version, self.content, self.touched = version, content, touched
        self._summary = self._member = None

    @property
    def summary(self) -> Summary:
        """Return the summary for metrics."""
        if self._summary is None:
            self._summary = summarize(self.content.spec, self.content.status)
        return self._summary

    @property
    def member(self) -> Member:
        """Return the engine as policies judge it."""
        if self._member is None:
            content = self.content
            self._member = member_of(
                namespace=self.reference.namespace,
                name=self.reference.name,
                labels=content.labels,
                approved=content.approved,
                retry_request=content.retry,
                generation=content.generation,
                deleting=content.deleting,
                spec=content.spec,
                status=self.parse_status(),
            )
        return self._member

    def parse(self) -> Resource:
        """Return the resource as models; `InvalidSpecError` names the field that does not fit."""
        content = self.content
        try:
            spec = Spec.model_validate(content.spec)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in ("spec", *first["loc"]))
            raise InvalidSpecError(f"{where}: {first['msg']}") from None
        return Resource(
            reference=self.reference,
            resource_version=str(self.version),
            generation=content.generation,
            spec=spec,
            status=self.parse_status(),
            raw_status=content.status,
            reconcile_request=content.reconcile,
            retry_request=content.retry,
        )

    def parse_status(self) -> Status:
        """Return the status alone, whoever wrote it."""
        return read_status(self.content.status)


class Cache:
    """All resources that this process serves, by `namespace/name`.

    Args:
        ownership: told of each resource and of its engine.
        endpoint_of: the endpoint of a region's calls; the region itself if it has none.
    """

    def __init__(self, ownership: Ownership, endpoint_of: Callable[[str], str]) -> None:
        self._ownership, self.engine_of = ownership, ownership.engine_of
        self._endpoint_of = endpoint_of
        self._resources: dict[str, CachedResource] = {}
        self._count = itertools.count(1)
        self.on_change: Callable[[], None] = lambda: None
        """Called when a resource was added, removed or changed."""
        self.on_remove: Callable[[CachedResource, EngineKey | None], None] = lambda _r, _e: None
        """Called with a removed resource and with its engine, before `on_change`."""

    def __len__(self) -> int:
        return len(self._resources)

    def __iter__(self) -> Iterator[CachedResource]:
        return iter(list(self._resources.values()))

    def get(self, key: str) -> CachedResource | None:
        """Return the cached resource, if there is one."""
        return self._resources.get(key)

    def now(self) -> int:
        """Return the present moment by the cache's own count, for `replace`."""
        return next(self._count)

    def watched(self, obj: Mapping[str, Any]) -> tuple[str, Change]:
        """Store an object that the watch showed, unless a later version is cached.

        Returns:
            Its key, and what changed in it.
        """
        key = key_of(obj)
        known = self._resources.get(key)
        same = known is not None and known.reference.uid == obj["metadata"]["uid"]
        if known is not None and same and version_of(obj) <= known.version:
            return key, Change.NOTHING
        return key, self._put(key, obj)

    def written(self, obj: Mapping[str, Any]) -> None:
        """Store the answer to an own write, unless the resource is gone or was changed since."""
        known = self._resources.get(key_of(obj))
        if known is None or known.reference.uid != obj["metadata"]["uid"]:
            return
        if version_of(obj) > known.version:
            self._put(known.key, obj)

    def replace(self, obj: Mapping[str, Any], *, asked: int) -> tuple[str, Change]:
        """Store an object that a list or a read showed, even if its version is lower.

        A restored backup has lower versions. Only content that was watched or written after the
        request stays.

        Args:
            obj: the object.
            asked: the moment of the request, from `now`.
        """
        key = key_of(obj)
        known = self._resources.get(key)
        if known is not None and known.touched > asked:
            return key, Change.NOTHING
        return key, self._put(key, obj)

    def remove(self, key: str, *, uid: str) -> bool:
        """Remove the resource with this uid; False if there is none."""
        known = self._resources.get(key)
        if known is None or known.reference.uid != uid:
            return False
        del self._resources[key]
        known.gone = True
        self.on_remove(known, self.engine_of(key))
        self._ownership.remove(key)
        self.on_change()
        return True

    def _put(self, key: str, obj: Mapping[str, Any]) -> Change:
        metadata, content = obj["metadata"], Content.of(obj)
        known, engine = self._resources.get(key), self._engine_of(content)
        # If the engine has changed, which our CRD does not allow, the notes are about the old
        # engine.
        same = known is not None and known.reference.uid == metadata["uid"]
        if known is not None and same and self._ownership.engine_of(key) == engine:
            change = content.change_since(known.content)
            known.take_in(version_of(obj), content, self.now())
        else:
            change = Change.DESIRED
            if known is not None:
                self.remove(key, uid=known.reference.uid)
            known = self._resources[key] = CachedResource(
                key=key,
                reference=ObjectReference(metadata["namespace"], metadata["name"], metadata["uid"]),
                created=metadata.get("creationTimestamp") or "",
                version=version_of(obj),
                touched=self.now(),
                content=content,
            )
        if change is not Change.NOTHING:
            self._ownership.put(key, engine, _claim(known))
            self.on_change()
        return change

    def _engine_of(self, content: Content) -> EngineKey | None:
        spec = content.spec
        region, project, engine = (spec.get(part) for part in ("region", "projectId", "engineId"))
        if isinstance(region, str) and isinstance(project, str) and isinstance(engine, str):
            return self._endpoint_of(region), project, engine
        return None


def key_of(obj: Mapping[str, Any]) -> str:
    """Return the key of an object."""
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def version_of(obj: Mapping[str, Any]) -> int:
    """Return the version of an object, as a number.

    Versions of one resource can be compared as numbers (Kubernetes API Concepts, resource
    versions), unless a backup is restored.
    """
    return int(obj["metadata"]["resourceVersion"])


def _claim(resource: CachedResource) -> Claim:
    status = resource.content.status
    upgrade = status.get("upgrade")
    # An unreadable record may be open, too.
    is_open = bool(upgrade) and state_of(read_status({"upgrade": upgrade})) is not State.IDLE
    return Claim(
        namespace=resource.reference.namespace,
        name=resource.reference.name,
        uid=resource.reference.uid,
        created=resource.created,
        seen=bool(status.get("engine")),
        open=is_open,
        deleting=resource.deleting,
    )
