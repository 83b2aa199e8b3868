"""Wires the parts together and runs them until a signal or a failure ends them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import kopf
from kubernetes.aio.client import ApiClient

from cse_operator.api.names import KIND
from cse_operator.cloud.auth.credentials import SECRET_KEYS
from cse_operator.cloud.endpoints import EndpointPolicy
from cse_operator.cloud.projects import Listeners, ProjectOptions, Projects
from cse_operator.cloud.transport import TransportOptions
from cse_operator.core.backoff import exponential
from cse_operator.core.failure import Failure
from cse_operator.core.observation import JobView
from cse_operator.kube.errors import KubeError
from cse_operator.kube.events import EventPoster
from cse_operator.kube.lease import LeaderElector, LeaseTimes
from cse_operator.kube.login import connect
from cse_operator.kube.resource_reader import ResourceReader
from cse_operator.kube.secrets import SecretReader
from cse_operator.kube.status_writer import StatusWriter
from cse_operator.runtime import handlers, memory, probes
from cse_operator.runtime.access import Access
from cse_operator.runtime.announce import Announcer
from cse_operator.runtime.fleet import Fleet, Sources
from cse_operator.runtime.metrics import Metrics
from cse_operator.runtime.queue import KeyedQueue
from cse_operator.runtime.reconcile import Reconciler, Tools, take_news
from cse_operator.runtime.settings import PROJECTS_AT_ONCE, Settings
from cse_operator.runtime.store import News, ResourceStore

logger = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 25.0
"""How long a stop waits for steps in hand: longer than a call may take, shorter than the
Pod's grace period."""

SIGHT_INTERVAL: Final = 10.0
"""Seconds between looks for what the watch should have shown, until it has shown anything."""

FOREIGN_WRITE_DELAY: Final = 5.0
"""Seconds until a status that somebody else wrote is looked into."""

REST_DELAY: Final = 1.0
"""Seconds from the end of the last work until memory is given back, if none has come until then."""

PRUNE_DELAY: Final = 2.0
"""Seconds after the last event of a repeated list until what it lacked is looked for."""


class Operator:
    """The operator in one process."""

    def __init__(self, settings: Settings, api_client: ApiClient) -> None:
        self._settings = settings
        self._api_client = api_client
        self._identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        self._metrics = Metrics()
        self._queue = KeyedQueue(lane_of=self._project_of, lane_limit=settings.workers)
        self._store = ResourceStore(wake=self._queue.add)
        self._queue.on_wait = self._metrics.queue_wait
        self._queue.on_rest = self._rest
        self._reader = ResourceReader(api_client)
        self._projects = Projects(
            _project_options(settings),
            Listeners(self._engine_changed, self._job_news, self._metrics.cloud_call),
        )
        self._access = Access(SecretReader(api_client, keys=SECRET_KEYS), self._projects)
        self._events = EventPoster(api_client, instance=self._identity)
        self._metrics.add(self._fleet())
        self._stop = asyncio.Event()
        self._end_watch = asyncio.Event()
        self._leading = asyncio.Event()
        self._watching = asyncio.Event()
        self._elector = self._make_elector() if settings.leader_elect else None
        self._reconciler = Reconciler(self._tools())
        self._failures: dict[str, int] = {}
        self._synced = False
        self._lost_lease = False
        self._sees = False
        self._blind = False
        self._stopping = False
        self._prune_timer: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None
        self._met: set[str] = set()
        self._prunes: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Run until a signal (0), or until something fails that a restart mends (1).

        Raises:
            KubeError: when the resources cannot be listed at the start.
            OSError: when the probes' address cannot be listened on.
        """
        self._take_signals()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._projects.close)
            await stack.enter_async_context(self._events)
            if self._settings.listen:
                await stack.enter_async_context(self._probes())
            if not await self._synced_before_a_stop():
                return 0
            watch = asyncio.create_task(self._watch(), name="watch")
            election = self._start_election()
            workers = [
                asyncio.create_task(self._work(), name=f"worker {n}")
                for n in range(self._settings.workers * PROJECTS_AT_ONCE)
            ]
            failed = await self._until_told_to_stop(watch, election)
            await self._drain(workers)
            if election is not None:
                election.cancel()
                await asyncio.gather(election, return_exceptions=True)
            # kopf comes last: when it ends, it waits five seconds for whatever else was begun
            # in this event loop since its start, and then cancels that.
            await stack.aclose()
            self._end_watch.set()
            await asyncio.wait({watch})
        return 1 if failed or self._lost_lease or self._blind else 0

    # -- the parts ---------------------------------------------------------------------------

    def _tools(self) -> Tools:
        elector = self._elector
        return Tools(
            queue=self._queue,
            store=self._store,
            writer=StatusWriter(self._api_client),
            reader=self._reader,
            access=self._access,
            announcer=Announcer(self._events, self._metrics),
            metrics=self._metrics,
            policy=self._settings.policy,
            progress_interval=self._settings.progress_interval,
            send_window=self._settings.send_window,
            may_act_for=elector.remaining if elector is not None else lambda: float("inf"),
        )

    def _fleet(self) -> Fleet:
        sources = Sources(
            store=self._store,
            queue_depth=lambda: len(self._queue),
            tokens_bought=lambda: self._projects.tokens_bought,
            throttled_seconds=lambda: self._projects.throttled_seconds,
            events_lost=lambda: self._events.lost,
            leading=lambda: self._elector is None or self._elector.is_leader(),
        )
        return Fleet(sources, resource_limit=self._settings.metrics_resource_limit)

    def _make_elector(self) -> LeaderElector:
        return LeaderElector(
            self._api_client,
            namespace=self._settings.lease_namespace,
            name=self._settings.lease_name,
            identity=self._identity,
            on_started=self._leading.set,
            on_lost=self._lease_lost,
            times=LeaseTimes.within(self._settings.lease_duration),
        )

    def _start_election(self) -> asyncio.Task[None] | None:
        if self._elector is None:
            self._leading.set()
            return None
        return asyncio.create_task(self._elector.run(), name="election")

    def _lease_lost(self) -> None:
        logger.error("the Lease was lost: stopping, so that a fresh process stands for it")
        self._lost_lease = True
        self._stop.set()

    def _probes(self) -> Any:
        return probes.serve(
            self._settings.listen,
            metrics=self._metrics,
            oldest_work=lambda: self._queue.oldest_work,
            not_ready=self._not_ready,
        )

    def _not_ready(self) -> str | None:
        if not self._synced:
            return "the resources are not listed yet\n"
        if not self._watching.is_set():
            return "the watch has not started yet\n"
        return "stopping\n" if self._stopping else None

    # -- the watch ---------------------------------------------------------------------------

    async def _synced_before_a_stop(self) -> bool:
        """List all resources; False if told to stop before that, as an API server may be slow."""
        told = asyncio.create_task(self._stop.wait(), name="told to stop")
        sync = asyncio.create_task(self._sync(), name="first list")
        await asyncio.wait({told, sync}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not sync.done():
            sync.cancel()
            await asyncio.gather(sync, return_exceptions=True)
            return False
        await sync
        return True

    async def _sync(self) -> None:
        """List all resources before anything is done, so that the oldest of two is known."""
        async for page in self._reader.list_pages(self._settings.namespaces):
            while page:
                # Taken out one by one, so that what is kept of one comes to lie where another one
                # was, and not between those that go all at once.
                self._store.put(page.pop())
        self._synced = True
        logger.info("%d resources of kind %s found", len(self._store), KIND)
        for key, _ in self._store:
            self._queue.add(key)
        memory.spare_the_collector()

    async def _watch(self) -> None:
        await kopf.operator(
            registry=handlers.make_registry(self._api_client, self._on_event, self._store.knows),
            settings=handlers.make_settings(),
            clusterwide=not self._settings.namespaces,
            namespaces=self._settings.namespaces,
            standalone=True,
            # Else kopf asks for the name of the user, and a container's may have none.
            identity=self._identity,  # type: ignore[arg-type]
            memories=handlers.make_memories(),
            stop_flag=self._end_watch,
            ready_flag=self._watching,
        )

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)

    async def _until_told_to_stop(
        self, watch: asyncio.Task[None], election: asyncio.Task[None] | None
    ) -> bool:
        """Wait for a signal or the loss of the Lease; True if a part fails before that."""
        started = asyncio.create_task(self._watching.wait(), name="watch has started")
        told = asyncio.create_task(self._stop.wait(), name="told to stop")
        sight = asyncio.create_task(self._test_sight(), name="test of the watch's sight")
        await asyncio.wait({watch, started}, return_when=asyncio.FIRST_COMPLETED)
        self._take_signals()  # kopf took them for itself, and would stop watching before the rest
        parts = {watch} if election is None else {watch, election}
        await asyncio.wait({*parts, told}, return_when=asyncio.FIRST_COMPLETED)
        for task in (started, told, sight):
            task.cancel()
        failed = [part for part in parts if part.done() and not part.cancelled()]
        errors = [(part, error) for part in failed if (error := part.exception()) is not None]
        for part, error in errors:
            logger.error("the %s failed, a restart begins it anew: %s", part.get_name(), error)
        return bool(errors)

    async def _test_sight(self) -> None:
        """Have the process end if the watch has shown nothing for long, though there is something.

        kopf asks once, at its start, which kinds there are. Where an answer lacks ours, or that of
        namespaces, as it may from an API server that has just come up, kopf waits for ever.
        """
        missed: set[str] = set()
        while not self._sees:
            await asyncio.sleep(SIGHT_INTERVAL)
            present = await self._some_uids()
            if missed & present and not self._sees:
                logger.error("the watch shows nothing of what there is: stopping, to begin it anew")
                self._blind = True
                self._stop.set()
                return
            missed = present

    async def _some_uids(self) -> set[str]:
        """The uids of some of the resources there are; none where that cannot be found out."""
        with suppress(KubeError):
            async for page in self._reader.list_pages(self._settings.namespaces):
                if page:
                    return {obj["metadata"]["uid"] for obj in page}
        return set()

    def _on_event(self, event_type: str | None, obj: Mapping[str, Any]) -> None:
        self._sees = True
        metadata = obj["metadata"]
        if event_type == "DELETED":
            self._removed(f"{metadata['namespace']}/{metadata['name']}", metadata["uid"])
            return
        key, news = self._store.put(obj)
        tracked = self._store.get(key)
        # While our own write is under way, the event is most likely its echo; the writer
        # looks whether it was.
        if tracked is not None and not tracked.is_written:
            self._heed(key, news)
        if event_type is None:
            self._prune_soon()
        if tracked is not None and self._prune_timer is not None:
            self._met.add(tracked.uid)

    def _heed(self, key: str, news: News) -> None:
        if news is News.WISH:
            self._queue.add(key)
        elif news is News.STATUS:
            # Another operator at work. Two that see the cloud differently, because one is cut
            # off, would otherwise write in turns as fast as they can.
            self._queue.add_after(key, FOREIGN_WRITE_DELAY)

    def _removed(self, key: str, uid: str) -> None:
        if self._store.remove(key, uid=uid) is not None:
            self._queue.add(key)

    def _prune_soon(self) -> None:
        """After a list of the watch, forget what was deleted while the watch was away.

        A list brings no DELETED for what it lacks, and a deleted resource that is still
        remembered would stand in the way of another that names the same engine.
        """
        loop = asyncio.get_running_loop()
        if self._prune_timer is not None:
            self._prune_timer.cancel()
        self._prune_timer = loop.call_later(PRUNE_DELAY, self._start_prune)

    def _start_prune(self) -> None:
        self._prune_timer = None
        task = asyncio.create_task(self._prune(), name="prune")
        self._prunes.add(task)
        task.add_done_callback(self._prunes.discard)

    async def _prune(self) -> None:
        met, self._met = self._met, set()
        known = {key: tracked.uid for key, tracked in self._store if tracked.uid not in met}
        if not known:
            return
        try:
            async for page in self._reader.list_pages(self._settings.namespaces):
                for obj in page:
                    metadata = obj["metadata"]
                    key = f"{metadata['namespace']}/{metadata['name']}"
                    if known.get(key) == metadata["uid"]:
                        del known[key]
        except KubeError as error:
            logger.warning("deleted resources could not be looked for, again soon: %s", error)
            self._prune_soon()
            return
        for key, uid in known.items():
            self._removed(key, uid)

    # -- the work ----------------------------------------------------------------------------

    def _engine_changed(self, key: str) -> None:
        tracked = self._store.get(key)
        # The engine of a running upgrade changes all the time; its job says when it matters.
        if tracked is not None and not tracked.is_known_to_run:
            self._queue.add(key)

    def _job_news(self, key: str, job_id: int, news: JobView | Failure) -> None:
        tracked = self._store.get(key)
        if tracked is not None:
            take_news(tracked, job_id, news)
            self._queue.add(key)

    def _project_of(self, key: str) -> tuple[str, ...]:
        """The region and project whose calls the work on a resource may wait for."""
        tracked = self._store.get(key)
        return tracked.engine[:2] if tracked is not None and tracked.engine is not None else ()

    async def _work(self) -> None:
        await self._leading.wait()
        while not self._stopping:
            key = await self._queue.get()
            try:
                if not self._stopping:
                    await self._reconcile(key)
            finally:
                self._queue.done(key)

    def _rest(self) -> None:
        """There is no more work: if it stays so for a moment, give back what it took."""
        if self._rest_timer is None:
            loop = asyncio.get_running_loop()
            self._rest_timer = loop.call_later(REST_DELAY, self._tidy)

    def _tidy(self) -> None:
        self._rest_timer = None
        if self._queue.is_at_rest:
            memory.give_back()

    async def _reconcile(self, key: str) -> None:
        started = asyncio.get_running_loop().time()
        try:
            await self._reconciler.reconcile(key)
        except Exception:
            # The last resort: an error that nobody foresaw must not end the worker, nor may
            # the resource be forgotten. It is logged whole and tried again.
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            logger.exception("%s: unforeseen error, trying again", key)
            self._metrics.reconcile_error("unforeseen")
            seconds = exponential(failures, base=1.0, limit=300.0, jitter=0.5)
            self._queue.add_after(key, seconds)
        else:
            self._failures.pop(key, None)
        finally:
            self._metrics.reconciled(asyncio.get_running_loop().time() - started)

    async def _drain(self, workers: list[asyncio.Task[None]]) -> None:
        """Let the steps in hand end, so that no answer of a call stays unrecorded."""
        self._stopping = True
        if self._prune_timer is not None:
            self._prune_timer.cancel()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._queue.join_work()
                await self._reconciler.record_answers()
        except TimeoutError:
            logger.warning("steps were cut off; the next start finds out by looking")
        for task in (*workers, *self._prunes):
            task.cancel()
        await asyncio.gather(*workers, *self._prunes, return_exceptions=True)


def _project_options(settings: Settings) -> ProjectOptions:
    return ProjectOptions(
        endpoints=EndpointPolicy(
            cse_template=settings.cse_endpoint,
            iam_template=settings.iam_endpoint,
            allowed_regions=settings.allowed_regions,
            allow_insecure=settings.allow_insecure_endpoint,
        ),
        transport=TransportOptions(
            connections=settings.cloud_connections * PROJECTS_AT_ONCE,
            read_timeout=settings.request_timeout,
            connect_timeout=min(10.0, settings.request_timeout),
            proxy=settings.https_proxy,
            ca_bundle=settings.ca_bundle,
            allow_local_addresses=settings.allow_insecure_endpoint,
        ),
        calls_per_second=settings.calls_per_second,
        poll_interval=settings.poll_interval,
        resync_interval=settings.resync_interval,
        credentials_cooldown=settings.credentials_cooldown,
        request_timeout=settings.request_timeout,
    )


async def run(settings: Settings) -> int:
    """Connect to the cluster and run the operator there; returns the exit code."""
    api_client = await connect(kubeconfig=os.environ.get("KUBECONFIG"))
    try:
        return await Operator(settings, api_client).run()
    finally:
        await api_client.close()
