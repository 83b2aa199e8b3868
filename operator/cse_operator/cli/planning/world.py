"""The cluster as it will be once the manifests are applied, in the operator's own cache. Pure.

The cache and the rules of ownership are the operator's: who owns an engine is decided by them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from cse_operator.cli.manifests import Manifest
from cse_operator.core.fleet import Fleet
from cse_operator.core.observation import EngineView
from cse_operator.core.permit import Allowed, Held, permit
from cse_operator.core.policies import PolicySet
from cse_operator.kubectl.managers import states
from cse_operator.runtime.cache import Cache, key_of
from cse_operator.runtime.ownership import EngineKey, Ownership

Object = dict[str, Any]

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_YOUNGEST: Final = "9999-12-31T23:59:59Z"
"""When a resource that is not there yet was created: after all others."""


@dataclass(slots=True)
class World:
    """What is there, and what the manifests make of it."""

    cache: Cache
    ownership: Ownership
    here: dict[str, Object] = field(default_factory=dict)
    """The cluster's resources as they are, by their keys."""
    new: dict[EngineKey, list[str]] = field(default_factory=dict)
    """The resources that are not there yet, by the engine that they name."""
    policies: PolicySet = field(default_factory=PolicySet)
    let_go: set[str] = field(default_factory=set)
    """Those to which a policy's slot was given by this plan."""
    observes_only: bool = False
    """Whether the operator says of any resource that it calls nothing at all."""

    def take_in(self, objects: Iterable[Object]) -> None:
        """Take in resources of the cluster, as they are."""
        for obj in objects:
            self.here[key_of(obj)] = obj
            self.cache.watched(obj)
            conditions = (obj.get("status") or {}).get("conditions") or ()
            self.observes_only |= any(one.get("reason") == "ObserveOnly" for one in conditions)

    def remove(self, key: str) -> None:
        """A resource will not be there any more."""
        obj = self.here.get(key)
        if obj is not None:
            self.cache.remove(key, uid=obj["metadata"]["uid"])

    def apply(self, key: str, manifest: Manifest, before: Mapping[str, Any]) -> None:
        """Make of a resource what a manifest says of it.

        Args:
            key: The resource.
            manifest: What is applied.
            before: The spec in the revision before: what it states and the manifest does not, goes.
        """
        there = self.here.get(key)
        obj = _merged(there, manifest, before) if there else _new(key, manifest)
        self.cache.replace(obj, asked=self.cache.now())
        engine = self.ownership.engine_of(key)
        if there is None and engine is not None:
            self.new.setdefault(engine, []).append(key)

    def permit(self, key: str, engine: EngineView | None) -> Allowed | Held:
        """What the policies say of a start; a yes takes a slot, as the operator's gate does."""
        cached = self.cache.get(key)
        if cached is None:
            raise AssertionError(f"{key} is not in the world")
        members = [resource.member for resource in self.cache]
        fleet = Fleet(members, self.policies, datetime.now(UTC), self.let_go)
        answer = permit(cached.member if engine is None else cached.member.seen_as(engine), fleet)
        if isinstance(answer, Allowed):
            self.let_go.add(key)
        return answer

    def doubles_of(self, key: str) -> list[str]:
        """Other new resources that name the same engine, while nobody owns it yet."""
        engine = self.ownership.engine_of(key)
        others = self.new.get(engine, []) if engine is not None else []
        if key not in others or self.ownership.rival(key) is not None:
            return []
        return [other for other in others if other != key]


def _new(key: str, manifest: Manifest) -> Object:
    namespace, _, name = key.partition("/")
    return {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": f"the new {key}",
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": _YOUNGEST,
            "annotations": manifest.metadata.get("annotations") or {},
            "labels": manifest.metadata.get("labels") or {},
        },
        "spec": manifest.spec,
        "status": {"observedGeneration": -1},
    }


def _merged(there: Object, manifest: Manifest, before: Mapping[str, Any]) -> Object:
    """A resource after an apply: what was stated and is no more goes, the rest stays."""
    obj = copy.deepcopy(there)
    metadata, spec = obj["metadata"], dict(obj["spec"])
    for name in list(spec):
        stated = name in before or name in _last_applied(there) or states(there, name)
        if stated and name not in manifest.spec:
            del spec[name]
    for name, value in manifest.spec.items():
        old = spec.get(name)
        spec[name] = {**old, **value} if isinstance(old, dict) else value
    if spec != obj["spec"]:
        metadata["generation"] = metadata.get("generation", 1) + 1
    obj["spec"] = spec
    for part in ("annotations", "labels"):
        metadata[part] = {**(metadata.get(part) or {}), **(manifest.metadata.get(part) or {})}
    return obj


def _last_applied(there: Object) -> Mapping[str, Any]:
    """The spec that `kubectl apply` applied last, if it was that."""
    annotations = there["metadata"].get("annotations") or {}
    try:
        spec = json.loads(annotations.get(_LAST_APPLIED, "{}")).get("spec")
    except (ValueError, AttributeError):
        return {}
    return spec if isinstance(spec, dict) else {}
