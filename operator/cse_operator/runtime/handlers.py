"""kopf's side: the watch of our resource, and nothing else of kopf.

Only `on.event`: it adds no finalizer and no annotation to the object, so a deletion never
waits for the operator (docs/adr/0002). Its handlers are never retried and their errors are
swallowed, so this one only stores and queues; all that may fail happens in the queue's
workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import kopf
from kubernetes.aio.client import ApiClient

from cse_operator.api.names import GROUP, PLURAL, VERSION
from cse_operator.kube.login import kopf_login

CHUNK: Final = 500


def make_registry(
    api_client: ApiClient, on_event: Callable[[str | None, Mapping[str, Any]], None]
) -> kopf.OperatorRegistry:
    """The handlers, in a registry of their own.

    Args:
        api_client: how to get into the cluster.
        on_event: told of each event: its type (None for those of a list) and its object.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await kopf_login(api_client)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def event(event: kopf.RawEvent, **_: Any) -> None:
        on_event(event["type"], event["object"])

    return registry


def make_settings() -> kopf.OperatorSettings:
    """Set kopf up: no posting, no scanning, no peering, and little kept in memory."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    # A worker per recently seen object is what decides kopf's memory at ten thousand objects.
    settings.queueing.idle_timeout = 0.02
    settings.watching.chunk_size = CHUNK
    settings.networking.trust_env = False
    return settings
