"""The manager: the order in which the parts start, what ends the process, and the exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import uuid
from contextlib import AsyncExitStack
from typing import Any, Final

from kubernetes.aio.client import ApiClient

from cse_operator.kube.connection import connect
from cse_operator.runtime import probes
from cse_operator.runtime.http_server import ServingCertificate
from cse_operator.runtime.metrics_access import MetricsAccess
from cse_operator.runtime.parts import Parts
from cse_operator.runtime.settings import Settings

logger = logging.getLogger(__name__)

COLLECT_AFTER: Final = 10_000
"""Garbage is collected after this many new objects, less those that went away."""

DRAIN_SECONDS: Final = 25.0
"""How long a stop waits for running steps: longer than a call may take, shorter than the Pod's
grace period."""


class Manager:
    """The operator in one process."""

    def __init__(self, settings: Settings, api_client: ApiClient) -> None:
        self._settings = settings
        self._api_client = api_client
        identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        self.parts = Parts(
            settings,
            api_client,
            identity=identity,
            on_leading=self._lead,
            on_lease_lost=self._lease_lost,
        )
        self._stop = asyncio.Event()
        self._leading = asyncio.Event()
        self._lost_lease = False

    async def run(self) -> int:
        """Run until a signal (0), or until a failure that a restart mends (1).

        The manager waits for an API server that is away, at the start and later.

        Raises:
            OSError: The probes' address cannot be listened on.
        """
        self._take_signals()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.parts.projects.close)
            await stack.enter_async_context(self.parts.events)
            if self._settings.listen or self._settings.probe_listen:
                await stack.enter_async_context(self._probes())
            failed = await self._run_parts()
        return 1 if failed or self._lost_lease else 0

    async def _run_parts(self) -> bool:
        """Run the parts until told to stop; True if a part fails before that."""
        parts = self.parts
        tasks = [
            asyncio.create_task(self._list_and_watch(), name="informer"),
            asyncio.create_task(parts.policies.run(), name="policies"),
            asyncio.create_task(self._watch_policies(), name="policy watch"),
        ]
        if parts.elector is None:
            self._lead()
        else:
            tasks.append(asyncio.create_task(parts.elector.run(), name="election"))
        working = asyncio.create_task(self._work(), name="workers")
        try:
            return await self._until_told_to_stop([*tasks, working])
        finally:
            self._told_to_stop()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await self._drain()
            # Give the Lease up only after the last answer is recorded.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _list_and_watch(self) -> None:
        await self.parts.informer.first_list()
        _spare_the_collector()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.parts.watch.run(), name="watch")
            group.create_task(self.parts.informer.run(), name="resync")

    async def _watch_policies(self) -> None:
        """Watch the policies where the first list has shown that they may be listed."""
        await self.parts.policies.listed.wait()
        await self.parts.policy_watch.run()

    async def _work(self) -> None:
        """Reconcile once this process leads and knows the policies and all resources."""
        await self._leading.wait()
        await self.parts.informer.wait_until_synced()
        await self.parts.policies.asked.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.parts.workers.run(), name="workers")
            group.create_task(self.parts.gate.run(), name="gate")
            group.create_task(self.parts.policy_statuses.run(), name="policy statuses")

    def _lead(self) -> None:
        self.parts.lead()
        self._leading.set()

    def _lease_lost(self) -> None:
        logger.error("the Lease was lost: stopping, so that a new process can stand for election")
        self._lost_lease = True
        self._told_to_stop()

    def _probes(self) -> Any:
        settings = self._settings
        folder = settings.metrics_tls
        places = probes.Places(
            settings.listen,
            settings.probe_listen,
            None if folder is None else ServingCertificate(folder),
            None if folder is None else MetricsAccess(self._api_client),
        )
        return probes.serve(
            places,
            metrics=self.parts.metrics,
            oldest_work=lambda: self.parts.queue.oldest_work,
            not_ready=self.not_ready,
        )

    def not_ready(self) -> str | None:
        """Return why the operator is not ready; None if it is."""
        if self._stop.is_set():
            return "stopping\n"
        if not self.parts.informer.synced:
            return "the resources are not listed yet\n"
        if not self.parts.watch.started.is_set():
            return "the watch has not started yet\n"
        return self.parts.policies.not_ready()

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._told_to_stop)

    def _told_to_stop(self) -> None:
        """Begin no further call and no further step."""
        self.parts.authority.stop()
        self.parts.queue.shut_down()
        self._stop.set()

    async def _until_told_to_stop(self, tasks: list[asyncio.Task[None]]) -> bool:
        """Wait for a signal or the loss of the Lease; True if a part fails before that."""
        told = asyncio.create_task(self._stop.wait(), name="told to stop")
        await asyncio.wait({*tasks, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        failed = [task for task in tasks if task.done() and not task.cancelled()]
        for task in failed:
            logger.error(
                "the %s failed, stopping for a restart: %s", task.get_name(), task.exception()
            )
        return bool(failed)

    async def _drain(self) -> None:
        """Let the running steps end, so that no answer to a call stays unrecorded."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.parts.queue.join_work()
                await self.parts.reconciler.record_answers()
        except TimeoutError:
            logger.warning("steps were cut off; the next start looks for their outcome")
        await self.parts.workers.cut_off()


def _spare_the_collector() -> None:
    """Collect garbage less often, and do not search the objects that stay for good.

    Hardly any garbage here is cyclic, and the search for it took an eighth of a burst's time
    (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)


async def run(settings: Settings) -> int:
    """Connect to the cluster and run the operator there; return the exit code."""
    api_client = await connect(kubeconfig=os.environ.get("KUBECONFIG"))
    try:
        return await Manager(settings, api_client).run()
    finally:
        await api_client.close()
