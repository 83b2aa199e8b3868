"""Objects as the API server returns them, made without an API server."""

from __future__ import annotations

import copy
import itertools
from typing import Any

from support.engines import engine_manifest

Object = dict[str, Any]

_versions = itertools.count(1000)


def stored(
    name: str = "orders",
    *,
    namespace: str = "payments",
    uid: str | None = None,
    created: str = "2025-06-01T12:00:00Z",
    status: Object | None = None,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> Object:
    """Return a new object, with a later resource version than all before."""
    manifest = engine_manifest(name, namespace=namespace, **spec)
    manifest["metadata"] |= {
        "uid": uid or f"uid-of-{name}",
        "resourceVersion": str(next(_versions)),
        "generation": 1,
        "creationTimestamp": created,
    }
    if annotations is not None:
        manifest["metadata"]["annotations"] = annotations
    manifest["status"] = status if status is not None else {"observedGeneration": -1}
    return manifest


def changed(
    obj: Object, *, status: Object | None = None, annotations: Any = None, **spec: Any
) -> Object:
    """Return the object's next version, with these changes."""
    after = copy.deepcopy(obj)
    after["metadata"]["resourceVersion"] = str(next(_versions))
    if spec:
        after["spec"] |= spec
        after["metadata"]["generation"] += 1
    if status is not None:
        after["status"] = status
    if annotations is not None:
        after["metadata"]["annotations"] = annotations
    return after


def deleting(obj: Object) -> Object:
    """Return the object's next version, in deletion."""
    after = changed(obj)
    after["metadata"]["deletionTimestamp"] = "2025-06-01T13:00:00Z"
    return after
