"""The cluster as it will be after the manifests are applied, in the operator's own cache. Pure.

The operator's own rules of ownership decide which resource owns an engine.
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
from cse_operator.core.permit import Allowed, Held, permit
from cse_operator.core.policies import PolicySet
from cse_operator.core.views import EngineView
from cse_operator.kubectl.managers import states
from cse_operator.runtime.cache import Cache, key_of
from cse_operator.runtime.ownership import EngineKey, Ownership

Object = dict[str, Any]

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_YOUNGEST: Final = "9999-12-31T23:59:59Z"
"""The creation time of a resource that does not exist yet: after all others."""


@dataclass(slots=True)
class World:
    """The cluster's resources, with the manifests applied to them."""

    cache: Cache
    ownership: Ownership
    here: dict[str, Object] = field(default_factory=dict)
    """The cluster's resources before any manifest is applied, by their keys."""
    new: dict[EngineKey, list[str]] = field(default_factory=dict)
    """The resources that do not exist yet, by the engine that they name."""
    policies: PolicySet = field(default_factory=PolicySet)
    let_go: set[str] = field(default_factory=set)
    """The keys of the resources to which this plan gave a policy's slot."""
    observes_only: bool = False
    """Whether any resource's status says that the operator runs with --observe-only."""

    def take_in(self, objects: Iterable[Object]) -> None:
        """Add resources of the cluster as they are now."""
        for obj in objects:
            self.here[key_of(obj)] = obj
            self.cache.watched(obj)
            conditions = (obj.get("status") or {}).get("conditions") or ()
            self.observes_only |= any(one.get("reason") == "ObserveOnly" for one in conditions)

    def remove(self, key: str) -> None:
        """Remove a resource."""
        obj = self.here.get(key)
        if obj is not None:
            self.cache.remove(key, uid=obj["metadata"]["uid"])

    def apply(self, key: str, manifest: Manifest, before: Mapping[str, Any]) -> None:
        """Apply a manifest to its resource.

        Args:
            key: The resource.
            manifest: The manifest to apply.
            before: The spec in the base revision; fields that only this spec states are removed.
        """
        there = self.here.get(key)
        obj = _merged(there, manifest, before) if there else _new(key, manifest)
        self.cache.replace(obj, asked=self.cache.now())
        engine = self.ownership.engine_of(key)
        if there is None and engine is not None:
            self.new.setdefault(engine, []).append(key)

    def permit(self, key: str, engine: EngineView | None) -> Allowed | Held:
        """Ask the policies for a start; a yes takes a slot, as in the operator's gate."""
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
        """Return the other new resources that name the same engine, if it has no owner yet."""
        engine = self.ownership.engine_of(key)
        others = self.new.get(engine, []) if engine is not None else []
        if key not in others or self.ownership.other_owner(key) is not None:
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
    """Return a resource after an apply: fields no longer stated are removed, the others stay."""
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
    """Return the spec that `kubectl apply` applied last; empty if there is none."""
    annotations = there["metadata"].get("annotations") or {}
    try:
        spec = json.loads(annotations.get(_LAST_APPLIED, "{}")).get("spec")
    except (ValueError, AttributeError):
        return {}
    return spec if isinstance(spec, dict) else {}
