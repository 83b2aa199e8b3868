"""kopf's side: the watch of our resource, and nothing else of kopf.

Only `on.event`: it adds no finalizer and no annotation to the object, so a deletion never
waits for the operator (docs/adr/0002). Its handlers are never retried and their errors are
swallowed, so this one only stores and queues; all that may fail happens in the queue's
workers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

import kopf
from kubernetes.aio.client import ApiClient

from cse_operator.api.names import GROUP, PLURAL, VERSION
from cse_operator.kube.watch import IsKnown, WatchLogin

CHUNK: Final = 100
"""Resources in one page of kopf's lists: larger ones leave more holes in the memory."""


def make_registry(
    api_client: ApiClient,
    on_event: Callable[[str | None, Mapping[str, Any]], None],
    is_known: IsKnown,
) -> kopf.OperatorRegistry:
    """The handlers, in a registry of their own.

    Args:
        api_client: how to get into the cluster.
        on_event: told of each event: its type (None for those of a list) and its object.
        is_known: whether an object brings nothing; nobody is told of its change then. Asked as
            early as can be, and once more when kopf has come to the event: most changes are the
            operator's own, and the answer to its write may come after the watch has shown it.
    """
    registry = kopf.OperatorRegistry()
    log_in = WatchLogin(api_client, is_known)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return await log_in()

    def is_news(event: kopf.RawEvent, **_: Any) -> bool:
        return event["type"] != "MODIFIED" or not is_known(event["object"])

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, when=is_news)
    async def event(event: kopf.RawEvent, **_: Any) -> None:
        on_event(event["type"], event["object"])

    return registry


class _NothingCompared(kopf.DiffBaseStorage):
    """Spares kopf the comparison of each object with its last state, which nobody asks for.

    For it kopf copies every object of every event, deeply: a third of what an event costs it.
    """

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("only handlers that compare have something to store")


def make_memories() -> Any:
    """Have kopf remember nothing of each resource between its events.

    It would keep two kilobytes of each, for handlers of kinds that are not used here; ours is the
    `ResourceStore`. kopf's own flag for memories that are not to be kept is used, and its class
    is found where the public signature names it. A kopf whose signature no longer does is one
    that remembers.
    """
    named = inspect.get_annotations(kopf.operator, eval_str=True).get("memories")
    found = next((kind for kind in get_args(named) if hasattr(kind, "recall")), None)
    if found is None:
        return None
    base: Any = found

    class Forgetful(base):  # type: ignore[misc]
        async def recall(self, raw_body: Any, **kwargs: Any) -> Any:
            return await super().recall(raw_body, **{**kwargs, "ephemeral": True})

    return Forgetful()


def make_settings() -> kopf.OperatorSettings:
    """Set kopf up: no posting, no scanning, no peering, and little kept in memory."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = _NothingCompared()
    settings.persistence.progress_storage = kopf.StatusProgressStorage()
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    # A worker per recently seen object is what decides kopf's memory at ten thousand objects.
    settings.queueing.idle_timeout = 0.02
    settings.watching.chunk_size = CHUNK
    settings.networking.trust_env = False
    return settings
