"""Packs what is kept of a resource at rest: JSON, compressed with what all of them share.

Resources differ in names, ids and moments; the rest is the same in all of them. With that rest
as zlib's dictionary one takes a quarter of what it takes compressed by itself, and less time.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json, to_json

_LEVEL: Final = 3

_WINDOW: Final = -13
"""Eight kilobytes, which is more than one with all its history has. Negative: without a header and
a checksum, which are ten bytes; nothing else ever reads it."""

_MEMORY: Final = 4
"""With the usual window and a `memLevel` of 8, zlib takes a quarter of a megabyte from the system
each time it is used, which takes longer than all the rest of packing one of these."""

_MOMENT: Final = "2026-01-01T00:00:00Z"
_TYPICAL: Final[Mapping[str, Any]] = {
    "spec": {
        "credentialsRef": {"name": "huaweicloud"},
        "engineId": "",
        "projectId": "",
        "region": "cn-north-4",
        "suspend": False,
        "upgrade": {"retryLimit": 1, "timeout": "2h"},
        "version": "2.4.0",
    },
    "status": {
        "conditions": [
            {
                "lastTransitionTime": _MOMENT,
                "message": "engine is at 2.4.0",
                "observedGeneration": 1,
                "reason": "UpToDate",
                "status": "True",
                "type": "Ready",
            }
        ],
        "currentVersion": "2.4.0",
        "engine": {"name": "", "status": "Available", "type": "CSE"},
        "history": [
            {
                "finishedAt": _MOMENT,
                "fromVersion": "2.3.1",
                "jobId": 1,
                "result": "Succeeded",
                "startedAt": _MOMENT,
                "targetVersion": "2.4.0",
            }
        ],
        "jobId": 1,
        "latestVersion": "2.4.0",
        "message": "engine is at 2.4.0",
        "observedGeneration": 1,
        "phase": "UpToDate",
        "result": "Succeeded",
        "upgrade": {
            "action": "Upgrade",
            "attempts": 1,
            "baselineAt": _MOMENT,
            "baselineJobId": 1,
            "finishedAt": _MOMENT,
            "fromVersion": "2.3.1",
            "generation": 1,
            "jobId": 1,
            "jobStatus": "Finished",
            "progress": {"completed": 5, "step": "Verify engine", "total": 5},
            "requestedAt": _MOMENT,
            "result": "Succeeded",
            "retries": 0,
            "startedAt": _MOMENT,
            "targetVersion": "2.4.0",
        },
    },
    "reconcile": None,
    "retry": None,
}
"""In the order of the API server, which sorts keys. Only its size in memory depends on it: what
differs is packed all the same."""

_SHARED: Final = to_json(_TYPICAL)


def pack(content: Mapping[str, Any]) -> bytes:
    """Plain JSON data in as few bytes as can be."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zdict=_SHARED)
    return packer.compress(to_json(content)) + packer.flush()


def unpack(packed: bytes) -> dict[str, Any]:
    """What was packed in this process."""
    unpacker = zlib.decompressobj(wbits=_WINDOW, zdict=_SHARED)
    text = unpacker.decompress(packed) + unpacker.flush()
    data: dict[str, Any] = from_json(text, cache_strings="keys")
    return data
