"""The informer: stores the objects of the watch and the lists in the cache, and queues changes.

The watch brings changes at once and may miss some. A list is a consistent read that comes every few
minutes and replaces the cache's content. So missed events, unseen deletions, restored backups and a
watch that delivers nothing heal by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from cse_operator.api.names import KIND
from cse_operator.core.backoff import exponential
from cse_operator.kube.errors import Denied, KubeError
from cse_operator.kube.resource_reader import ResourceReader
from cse_operator.runtime.cache import Cache
from cse_operator.runtime.content import Change
from cse_operator.runtime.workqueue import WorkQueue

logger = logging.getLogger(__name__)

FOREIGN_WRITE_DELAY: Final = 5.0
"""Seconds from somebody else's write of a status to the step for it."""

UNPROVEN_INTERVAL: Final = 10.0
"""Seconds between lists until the watch has delivered anything."""

WATCH_LAG: Final = 10.0
"""Seconds within which the watch must deliver what a list has shown."""

FIRST_WATCH_LIST: Final = 60.0
"""Seconds within which the objects that the watch lists belong to its first list."""

RELIST_DELAY: Final = 2.0
"""Seconds from a repeated list of the watch to our own list, which finds deletions."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 15.0
"""Seconds until a failed list is tried again, at first and at most."""


class Informer:
    """Keeps the cache equal to the resources at the API server.

    Args:
        reader: lists and reads resources.
        cache: holds the resources.
        queue: takes the keys of changed resources.
        namespaces: the namespaces to serve; none means all.
        interval: seconds between lists.
        keeps: whether a resource must stay cached because the answer to its call is not recorded.
    """

    def __init__(
        self,
        reader: ResourceReader,
        cache: Cache,
        queue: WorkQueue,
        *,
        namespaces: Sequence[str],
        interval: float,
        keeps: Callable[[str], bool],
    ) -> None:
        self._reader = reader
        self._cache = cache
        self._queue = queue
        self._namespaces = tuple(dict.fromkeys(namespaces))
        self._interval = interval
        self._keeps = keeps
        self._unseen: dict[str, int] = {}
        self._watch_works = False
        self._watch_listed_at: float | None = None
        self._soon = asyncio.Event()
        self._listed_at: float | None = None
        self._asked_at: float | None = None
        self._synced = asyncio.Event()
        self.skipped: dict[str, str] = {}
        """The namespaces that may not be listed, and why."""
        self.begin_watch_again: Callable[[], None] = lambda: None
        """Called when the watch seems to deliver nothing, or the namespaces to watch change."""

    @property
    def synced(self) -> bool:
        """Whether all resources were listed once."""
        return self._synced.is_set()

    async def wait_until_synced(self) -> None:
        """Wait until all resources were listed once."""
        await self._synced.wait()

    @property
    def age(self) -> float:
        """Return the seconds since the last successful list."""
        now = asyncio.get_running_loop().time()
        return now - self._listed_at if self._listed_at is not None else 0.0

    def list_soon(self) -> None:
        """List all resources again, within seconds."""
        self._soon.set()

    @property
    def listed_at(self) -> float | None:
        """Return when the last successful list was requested, by the event loop's clock."""
        return self._asked_at

    def served(self) -> tuple[str, ...]:
        """Return the namespaces to watch; none means all."""
        served = tuple(name for name in self._namespaces if name not in self.skipped)
        return served or self._namespaces

    # -- the watch -------------------------------------------------------------------------------

    def on_event(self, event_type: str | None, obj: Mapping[str, Any]) -> None:
        """Store an event of the watch, and queue its key if something changed."""
        self._watch_works = True
        metadata = obj["metadata"]
        if event_type == "DELETED":
            key = f"{metadata['namespace']}/{metadata['name']}"
            self._unseen.pop(key, None)
            if self._keeps(key):
                self._queue.add(key)  # its step finds the deletion, and drops the answer
            elif self._cache.remove(key, uid=metadata["uid"]):
                self._queue.add(key)
            return
        if event_type is None:
            self._watch_lists()
        key, change = self._cache.watched(obj)
        if self._unseen.get(key, 0) <= int(metadata["resourceVersion"]):
            self._unseen.pop(key, None)
        self._enqueue(key, change)

    def _watch_lists(self) -> None:
        """List soon if the watch lists again, because its list brings no DELETED."""
        now = asyncio.get_running_loop().time()
        if self._watch_listed_at is None:
            self._watch_listed_at = now
        elif now - self._watch_listed_at > FIRST_WATCH_LIST:
            self._soon.set()

    def _enqueue(self, key: str, change: Change) -> None:
        if change is Change.DESIRED:
            self._queue.add(key)
        elif change is Change.STATUS:
            resource = self._cache.get(key)
            # During an own write this event is most likely its echo; the writer checks that.
            # Without the delay, two operators that see the cloud differently would write in
            # turns as fast as they can.
            if resource is not None and not resource.notes.writing:
                self._queue.add_after(key, FOREIGN_WRITE_DELAY)

    # -- the lists -------------------------------------------------------------------------------

    async def first_list(self) -> None:
        """List all resources; wait for an API server that is away."""
        await self._list_until_it_succeeds()
        logger.info("%d resources of kind %s found", len(self._cache), KIND)
        for resource in self._cache:
            self._queue.add(resource.key, resync=True)
        self._synced.set()

    async def run(self) -> None:
        """List repeatedly, until cancelled."""
        while True:
            interval = self._interval
            if not self._watch_works:
                interval = min(interval, UNPROVEN_INTERVAL)
            with suppress(TimeoutError):
                jitter = 0.9 + random.random() / 5  # noqa: S311 - spreads load, guards nothing
                # Not wait_for: before Python 3.12 it swallows a cancellation that comes with
                # the event, and the process would not end.
                async with asyncio.timeout(interval * jitter):
                    await self._soon.wait()
                await asyncio.sleep(RELIST_DELAY)
            self._soon.clear()
            await self._list_until_it_succeeds()
            if self._unseen:
                asyncio.get_running_loop().call_later(
                    WATCH_LAG, self._test_the_watch, dict(self._unseen)
                )

    def _test_the_watch(self, missed: dict[str, int]) -> None:
        """Restart the watch if it still has not delivered what a list has shown."""
        if any(self._unseen.get(key) == version for key, version in missed.items()):
            logger.warning("the watch does not deliver what a list shows, restarting it")
            self._unseen.clear()
            self._watch_works = False
            self.begin_watch_again()

    async def _list_until_it_succeeds(self) -> None:
        failures = 0
        while True:
            asked_at = asyncio.get_running_loop().time()
            try:
                await self.resync()
            except KubeError as error:
                failures += 1
                logger.warning("listing the resources failed, retrying soon: %s", error)
                pause = exponential(
                    failures,
                    base=FIRST_PAUSE,
                    limit=LONGEST_PAUSE,
                    jitter=random.random(),  # noqa: S311 - spreads load, guards nothing
                )
                await asyncio.sleep(max(pause, min(error.retry_after or 0.0, LONGEST_PAUSE)))
            else:
                self._asked_at, self._listed_at = asked_at, asyncio.get_running_loop().time()
                return

    async def resync(self) -> None:
        """List once, replace the cache's content, and reread the resources that the list lacks.

        Raises:
            KubeError: The API server failed during the list, or no namespace can be listed.
        """
        asked, present, listed = self._cache.now(), set[str](), set[str]()
        refusal: Denied | None = None
        for namespace in self._namespaces or ("",):
            try:
                await self._list(namespace, asked, present)
            except Denied as error:
                refusal = error
                self._skip(namespace, error)
            else:
                listed.add(namespace)
                self._serve(namespace)
        if refusal is not None and not listed:
            raise refusal
        for resource in self._cache:
            served = not self._namespaces or resource.reference.namespace in listed
            if served and resource.key not in present and resource.touched < asked:
                await self._look_for_missing(resource.key)

    async def _list(self, namespace: str, asked: int, present: set[str]) -> None:
        async for page in self._reader.list_pages((namespace,) if namespace else ()):
            while page:  # pop: each raw object is freed before the next is stored
                key, change = self._cache.replace(page.pop(), asked=asked)
                present.add(key)
                if self.synced and change is not Change.NOTHING:
                    self._missed(key, change)

    def _missed(self, key: str, change: Change) -> None:
        """Queue a change that the watch has not delivered yet."""
        resource = self._cache.get(key)
        if resource is not None:
            self._unseen[key] = resource.version
        self._enqueue(key, change)

    async def _look_for_missing(self, key: str) -> None:
        """Remove a resource that a list lacks, once a read confirms that it is gone."""
        resource = self._cache.get(key)
        if resource is None or self._keeps(key):
            return
        asked = self._cache.now()
        found = await self._reader.get(resource.reference)
        if found is not None:
            self._enqueue(*self._cache.replace(found, asked=asked))
        elif not self._keeps(key) and self._cache.remove(key, uid=resource.reference.uid):
            self._queue.add(key)

    def _skip(self, namespace: str, error: Denied) -> None:
        if namespace and namespace not in self.skipped:
            logger.warning("namespace %s is skipped, it may not be listed: %s", namespace, error)
            self.skipped[namespace] = error.sentence
            self.begin_watch_again()

    def _serve(self, namespace: str) -> None:
        if self.skipped.pop(namespace, None) is not None:
            logger.info("namespace %s is served again, it can be listed", namespace)
            self.begin_watch_again()
