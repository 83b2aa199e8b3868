"""The simulated vendor's world: its engines and their jobs.

The world has no timers; it changes when it is read. `settle` applies every job end that is due, in
order, and dates it at the moment it was due.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

from cse_simulator.vendor.answers import EngineRefusal
from cse_simulator.vendor.clock import Clock
from cse_simulator.vendor.engines import Address, Engine, EngineDescription, EngineState
from cse_simulator.vendor.jobs import CREATE_STEPS, Job, Run
from cse_simulator.vendor.settings import Settings
from cse_simulator.vendor.versions import is_higher

ENGINE_NOT_FOUND = "SVCSTG.00501116"
"""An engine-level code (Huawei Cloud CSE API Reference, error codes)."""

AGE_AT_START_SECONDS = 24 * 3600.0
"""Age of the engines that a simulator starts with."""


class UnknownNameError(LookupError):
    """An administrator named an engine or a job that does not exist."""


class World:
    """All engines and jobs of one simulated vendor."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.engines: dict[str, Engine] = {}
        self.projects: dict[str, list[Engine]] = {}
        self.jobs: dict[int, Job] = {}
        self._next_job_id = settings.first_job_id
        self._due: list[tuple[float, int]] = []
        self.any_deleted = False

    # --- time ---------------------------------------------------------------------------------

    def settle(self) -> float:
        """Apply every job end that is due and return the time now (seconds since the epoch)."""
        now = self.clock.now()
        while self._due and self._due[0][0] <= now:
            ends_at, job_id = heapq.heappop(self._due)
            job = self.jobs[job_id]
            # An entry is stale when a person ended the job earlier or Retry ran it again.
            if job.runs[-1].ends_at == ends_at:
                self.conclude(job)
        return now

    def conclude(self, job: Job) -> None:
        """Apply the end of a job's current run to its engine, unless a newer job is the latest."""
        run = job.runs[-1]
        engine = self.engines[job.engine_id]
        state = engine.state
        if state.latest_job_id != job.id or not state.exists:
            return
        if run.outcome == "finish":
            # The vendor may have patched the engine past the target meanwhile.
            moved = state.version != job.from_version
            patched = moved and is_higher(state.version, than=job.target_version)
            version = state.version if patched else job.target_version
            engine.become(run.ends_at, status="Available", version=version, actions=("Noting",))
        else:
            engine.become(run.ends_at, status="UpgradeFailed", actions=("Retry",))

    def ends(self, job: Job) -> None:
        """Schedule the end of a job's current run."""
        heapq.heappush(self._due, (job.runs[-1].ends_at, job.id))

    # --- engines come, change and go ----------------------------------------------------------

    def add_engines(
        self, descriptions: Iterable[EngineDescription], age_seconds: float = 0.0
    ) -> list[Engine]:
        """Create engines, each with the finished job that created it.

        Args:
            descriptions: The engines to create.
            age_seconds: The engines' age; readers whose lag is longer do not see them.

        Raises:
            ValueError: An engine with this id exists.
        """
        created_at = self.settle() - age_seconds
        return [self._add(description, created_at) for description in descriptions]

    def _add(self, description: EngineDescription, created_at: float) -> Engine:
        known = self.engines.get(description.id)
        if known is not None and known.state.exists:
            raise ValueError(f"there is an engine {description.id} already")
        job = Job(
            id=self.take_job_id(),
            engine_id=description.id,
            engine_name=description.name,
            type="Create",
            create_user=description.create_user,
            from_version="",
            target_version=description.version,
        )
        job.runs.append(Run(created_at, 0.0, "finish", 1, created_at, steps=CREATE_STEPS))
        self.jobs[job.id] = job
        engine = Engine.create(description, created_at, job.id, len(self.engines))
        engine.jobs.append(job)
        siblings = self.projects.setdefault(description.project, [])
        if known is not None:
            siblings.remove(known)
        siblings.append(engine)
        self.engines[engine.id] = engine
        return engine

    def delete_engine(self, engine_id: str) -> None:
        """Delete an engine at once.

        Raises:
            UnknownNameError: There is no such engine.
        """
        self.known(engine_id).become(self.settle(), status="Deleted", exists=False)
        self.any_deleted = True

    def change_engine(self, engine_id: str, **changes: Any) -> EngineState:
        """Put an engine into another state, as a vendor's patch or a person at the console does.

        Args:
            engine_id: The engine.
            changes: New values of the fields of `EngineState`.

        Raises:
            UnknownNameError: There is no such engine.
        """
        now = self.settle()
        return self.known(engine_id).become(now, **changes)

    def known(self, engine_id: str) -> Engine:
        """Return an existing engine, without read lag.

        Raises:
            UnknownNameError: There is no such engine.
        """
        engine = self.engines.get(engine_id)
        if engine is None or not engine.state.exists:
            raise UnknownNameError(f"there is no engine {engine_id}")
        return engine

    def known_job(self, job_id: int) -> Job:
        """Return an existing job, without read lag.

        Raises:
            UnknownNameError: There is no such job.
        """
        job = self.jobs.get(job_id)
        if job is None:
            raise UnknownNameError(f"there is no job {job_id}")
        return job

    def take_job_id(self) -> int:
        """Return the next job id."""
        self._next_job_id += 1
        return self._next_job_id - 1

    # --- lookup -------------------------------------------------------------------------------

    def engine_at(self, address: Address) -> Engine:
        """Return the engine that a call names, deleted or not.

        Raises:
            EngineRefusal: SVCSTG.00501116, the project never had such an engine.
        """
        engine = self.engines.get(address.engine_id)
        if (
            engine is None
            or engine.description.project != address.project
            or not self.is_within(engine, address)
        ):
            raise self.no_engine(address)
        return engine

    def is_within(self, engine: Engine, address: Address) -> bool:
        """Return whether an engine is in the enterprise project that a call names."""
        if not self.settings.enforce_enterprise_project:
            return True
        # A call without the header means the default enterprise project, whose id is 0.
        return engine.description.enterprise_project_id == (address.enterprise_project or "0")

    def no_engine(self, address: Address) -> EngineRefusal:
        """Return the refusal of a call whose engine does not exist."""
        return EngineRefusal(
            ENGINE_NOT_FOUND,
            "The engine does not exist.",
            f"engine {address.engine_id}",
            self.settings.missing_engine_status,
        )
