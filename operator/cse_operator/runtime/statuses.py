"""Status writes of the reconcile step: fenced, stored in the cache, and announced."""

from __future__ import annotations

from typing import Any

from cse_operator.api.status import Status
from cse_operator.api.status_reader import read_status
from cse_operator.clock import boottime
from cse_operator.core.states import State, state_of
from cse_operator.kube.status_writer import StatusWriter
from cse_operator.runtime.cache import Cache, CachedResource
from cse_operator.runtime.ownership import Ownership
from cse_operator.runtime.recorder import Recorder
from cse_operator.runtime.workqueue import WorkQueue


class Statuses:
    """Writes statuses and informs the parts that depend on them."""

    def __init__(
        self,
        writer: StatusWriter,
        cache: Cache,
        queue: WorkQueue,
        ownership: Ownership,
        recorder: Recorder,
    ) -> None:
        self._writer = writer
        self._cache = cache
        self._queue = queue
        self._ownership = ownership
        self._recorder = recorder

    async def write(
        self,
        resource: CachedResource,
        *,
        decided_on: int,
        before: Status,
        raw: dict[str, Any],
        status: Status,
    ) -> Status | None:
        """Write the status if it changed; return the stored status, or None if nothing was written.

        The precondition is the version that was decided on, not the newest known version: a watch
        event may have come in while the step was looking.

        Raises:
            KubeError: As in `StatusWriter.write`.
        """
        notes = resource.notes
        notes.write_began()
        try:
            written = await self._writer.write(
                resource.reference, str(decided_on), raw, status.to_json()
            )
        finally:
            notes.write_ended()
        if written is None:
            if resource.version > decided_on:
                self._queue.add(resource.key)
            return None
        notes.wrote_status(boottime())
        self._cache.written(written)
        if state_of(status) is State.IDLE:
            self._ownership.nothing_open(resource.key, resource.reference.uid)
        if resource.version > int(written["metadata"]["resourceVersion"]):
            # Somebody wrote right after us, and the watch was faster than our answer.
            self._queue.add(resource.key)
        self._recorder.record(resource.reference, before, status)
        return read_status(written["status"])
