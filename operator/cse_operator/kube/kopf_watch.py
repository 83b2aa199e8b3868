"""The watches of the operator's resources, run by kopf. No other module imports kopf.

kopf runs in its own thread with its own event loop (kopf documentation, Embedding), so it can
neither cancel the operator's tasks nor end the process. It hands over each event and keeps no
state. When its watch ends (the API server sent an ERROR other than 410), this module restarts kopf.

The only handler is `on.event`: it adds no finalizer and no annotation to the object, so a deletion
never waits for the operator (docs/adr/0002). kopf never retries an event handler and swallows its
errors, so ours only hands the event over; all code that may fail runs in the reconcile step.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import kopf
import uvloop
from kubernetes.aio.client import ApiClient

from cse_operator.api.names import GROUP, PLURAL, VERSION
from cse_operator.core.backoff import exponential
from cse_operator.kube.connection import current_credentials, roots_of
from cse_operator.kube.roots import Roots

logger = logging.getLogger(__name__)

OnEvent = Callable[[str | None, Mapping[str, Any]], None]
"""Called with each event's type (None for an object from a list) and object."""

PAGE: Final = 5
"""Resources in one page of kopf's lists. A resource may have 1.5 MiB, and while kopf reads a page,
it holds it as bytes, as text and as objects."""

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 15.0
"""Seconds of the first and of the longest backoff before a watch that ended is restarted."""

HEALTHY_AFTER: Final = 60.0
"""After a watch that lasted this many seconds, the backoff starts from the beginning."""

ENDING: Final = 2.0
"""Seconds that kopf gets to stop; after that its thread is abandoned."""


class KopfWatch:
    """Watches the resources with kopf, and restarts kopf whenever its watch ends.

    Args:
        api_client: The connection to the cluster.
        on_event: Called for each event, in the event loop that `run` runs in.
        identity: The name of the watcher; without it kopf asks for the user's name, and a
            container's user may have none.
        namespaces: Returns the namespaces to watch, called at each start; none means all.
        plurals: The plurals of the kinds to watch.
    """

    def __init__(
        self,
        api_client: ApiClient,
        on_event: OnEvent,
        *,
        identity: str,
        plurals: Sequence[str] = (PLURAL,),
        namespaces: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._api_client = api_client
        self._on_event = on_event
        self._identity = identity
        self._namespaces = namespaces
        self._plurals = tuple(plurals)
        self._kopf: _Thread | None = None
        self._again = asyncio.Event()
        self.started = asyncio.Event()
        """Set once kopf has started for the first time."""
        self.begun = 0
        """How often the watch was started."""

    async def run(self) -> None:
        """Watch until cancelled."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            self._again.clear()
            began = loop.time()
            self.begun += 1
            error = await self._watch_once()
            if error is None:
                failures = 0
                continue
            failures = 1 if loop.time() - began > HEALTHY_AFTER else failures + 1
            pause = exponential(
                failures,
                base=FIRST_PAUSE,
                limit=LONGEST_PAUSE,
                jitter=random.random(),  # noqa: S311 - spreads load, guards nothing
            )
            logger.warning("the watch ended and restarts in %.1f s: %s", pause, error)
            await asyncio.sleep(pause)

    def begin_again(self) -> None:
        """Stop the running watch and start a new one: the old one seems to deliver no events."""
        self._again.set()

    async def _watch_once(self) -> str | None:
        """Watch until kopf ends (return why) or until `begin_again` is called (return None)."""
        thread = _Thread(
            self._api_client, self._on_event, self.started.set, self._identity, self._plurals
        )
        ended = asyncio.create_task(thread.run(tuple(self._namespaces())), name="kopf")
        again = asyncio.create_task(self._again.wait(), name="begin again")
        try:
            await asyncio.wait({ended, again}, return_when=asyncio.FIRST_COMPLETED)
            return ended.result() if ended.done() else None
        finally:
            again.cancel()
            thread.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(ended), ENDING)


class _Thread:
    """One run of kopf, in its own thread."""

    def __init__(
        self,
        api_client: ApiClient,
        on_event: OnEvent,
        on_start: Callable[[], None],
        identity: str,
        plurals: Sequence[str],
    ) -> None:
        self._plurals = plurals
        self._api_client = api_client
        self._on_event = on_event
        self._on_start = on_start
        self._identity = identity
        self._ours = asyncio.get_running_loop()
        self._stop: Callable[[], object] | None = None
        self._closed = threading.Event()

    async def run(self, namespaces: Sequence[str]) -> str:
        """Run kopf until it ends; return the reason."""
        over: asyncio.Future[str] = self._ours.create_future()

        def main() -> None:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(self._watch(namespaces))
                why = "it ended without a reason"
            except BaseException as error:  # noqa: BLE001 - kopf is restarted after any error
                why = str(error) or type(error).__name__
            self._call(_settle, over, why)

        threading.Thread(target=main, name="kopf", daemon=True).start()
        return await over

    def close(self) -> None:
        """Stop kopf; no event is handed over from now on."""
        self._closed.set()
        if self._stop is not None:
            with suppress(RuntimeError):  # its event loop is closed already
                self._stop()

    async def _watch(self, namespaces: Sequence[str]) -> None:
        stop, ready = asyncio.Event(), asyncio.Event()
        theirs = asyncio.get_running_loop()
        self._stop = lambda: theirs.call_soon_threadsafe(stop.set)
        if self._closed.is_set():
            return
        telling = asyncio.create_task(self._tell_of_the_start(ready), name="tell of the start")
        try:
            await kopf.operator(
                registry=self._registry(),
                settings=make_settings(),
                clusterwide=not namespaces,
                namespaces=namespaces,
                standalone=True,
                identity=self._identity,  # type: ignore[arg-type]
                stop_flag=stop,
                ready_flag=ready,
            )
        finally:
            telling.cancel()

    async def _tell_of_the_start(self, ready: asyncio.Event) -> None:
        await ready.wait()
        self._call(self._on_start)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            # Read the credentials in the operator's loop, where the official client renews them.
            asked = asyncio.run_coroutine_threadsafe(connection_to(self._api_client), self._ours)
            return await asyncio.wrap_future(asked)

        async def event(event: kopf.RawEvent, **_: Any) -> None:
            self._call(self._deliver, event["type"], event["object"])

        for plural in self._plurals:
            kopf.on.event(GROUP, VERSION, plural, registry=registry)(event)

        return registry

    def _deliver(self, event_type: str | None, obj: Mapping[str, Any]) -> None:
        if not self._closed.is_set():
            self._on_event(event_type, obj)

    def _call(self, callback: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the operator's own loop is closed: the process ends
            self._ours.call_soon_threadsafe(callback, *arguments)


def _settle(future: asyncio.Future[str], why: str) -> None:
    if not future.done():
        future.set_result(why)


class _NothingCompared(kopf.DiffBaseStorage):
    """Keeps kopf from comparing each object with its last state, which no handler uses.

    For the comparison kopf deep-copies the object of every event, a third of an event's cost.
    """

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("kopf stores a state only for handlers that compare")


def make_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: no posting, no scanning, no peering, and little memory."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = _NothingCompared()
    settings.persistence.progress_storage = kopf.StatusProgressStorage()
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    # kopf keeps a worker per recently seen object, which decides its memory at 10,000 objects.
    settings.queueing.idle_timeout = 0.02
    settings.watching.chunk_size = PAGE
    settings.networking.trust_env = False
    # By default kopf kills the process ten minutes after its watch ended.
    settings.process.ultimate_exiting_timeout = None
    return settings


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class _Connection(kopf.ConnectionInfo):
    """kopf's connection, with the certificate checks of `connect` and a repr without secrets."""

    roots: Roots

    def as_ssl_context(self) -> ssl.SSLContext:
        """Make kopf's TLS context without the extra checks of Python 3.13 (see `connect`)."""
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self.roots.keep_fresh(context)
        return context

    def __repr__(self) -> str:
        return f"{type(self).__name__}(server={self.server!r})"


async def connection_to(api_client: ApiClient) -> kopf.ConnectionInfo:
    """Return the connection for kopf, which asks for it at its start and after a 401."""
    credentials = await current_credentials(api_client)
    fields = {
        field.name: getattr(credentials, field.name) for field in dataclasses.fields(credentials)
    }
    return _Connection(**fields, trust_env=False, roots=roots_of(api_client))
