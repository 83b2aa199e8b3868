"""Objects as the API server gives them, made without an API server."""

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
    """A new object; each has a later resource version than the one before."""
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
    """The object in its next version, with these changes."""
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
    """The object in its next version, on its way out."""
    after = changed(obj)
    after["metadata"]["deletionTimestamp"] = "2025-06-01T13:00:00Z"
    return after
