"""Workers: one task per key that the workqueue hands out, and the handling of its errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cse_operator.runtime.metrics import Metrics
from cse_operator.runtime.workqueue import WorkQueue

logger = logging.getLogger(__name__)


class Workers:
    """Runs the reconcile step for each key of the queue.

    Args:
        queue: hands out the keys.
        reconcile: the step; it handles the errors that it can foresee.
        metrics: told of each step.
    """

    def __init__(
        self, queue: WorkQueue, reconcile: Callable[[str], Awaitable[None]], metrics: Metrics
    ) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Begin a task for each key, until cancelled; running tasks then go on."""
        while True:
            key = await self._queue.get()
            task = asyncio.create_task(self._work(key), name=key)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def cut_off(self) -> None:
        """Cancel the running tasks."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, key: str) -> None:
        started = asyncio.get_running_loop().time()
        try:
            await self._reconcile(key)
        except Exception:
            # The last resort: log an unforeseen error with its traceback, and retry the key with
            # backoff.
            logger.exception("%s: unforeseen error, retrying", key)
            self._metrics.reconcile_error("unforeseen")
            self._queue.retry(key)
        finally:
            self._metrics.reconciled(asyncio.get_running_loop().time() - started)
            self._queue.done(key)
