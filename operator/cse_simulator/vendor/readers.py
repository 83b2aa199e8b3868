"""The vendor's reads, which may lag behind the world."""

from __future__ import annotations

from cse_simulator.vendor.answers import EngineRefusal
from cse_simulator.vendor.engines import Address, Engine, EngineState
from cse_simulator.vendor.jobs import Job, Run
from cse_simulator.vendor.world import World

BAD_JOB_ID = "SVCSTG.00501152"
JOB_NOT_FOUND = "SVCSTG.00501153"
"""Engine-level codes (Huawei Cloud CSE API Reference, error codes)."""


class Readers:
    """Reads one world as the vendor's clients see it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _seen_at(self) -> float:
        """Settle the world, and return the moment whose state readers see."""
        return self._world.settle() - self._world.settings.read_lag_ms / 1000

    def visible(self, address: Address) -> tuple[Engine, EngineState]:
        """Return an engine and the state that readers see.

        Raises:
            EngineRefusal: SVCSTG.00501116, readers see no such engine in the project.
        """
        moment = self._seen_at()
        engine = self._world.engine_at(address)
        state = engine.state_at(moment)
        if state is None:
            raise self._world.no_engine(address)
        return engine, state

    def page(
        self, address: Address, engine_type: str, first: int, limit: int
    ) -> tuple[int, list[tuple[Engine, EngineState]]]:
        """Return a page of a project's engines as readers see them, oldest first.

        Args:
            address: The project, and the enterprise project if any.
            engine_type: The requested type, or `ALL`.
            first: The number of engines to skip.
            limit: The largest number of engines to return.

        Returns:
            The total number of engines, and the page.
        """
        moment = self._seen_at()
        engines = self._world.projects.get(address.project, [])
        wanted = engine_type.upper()
        settings = self._world.settings
        if (
            wanted == "ALL"
            and not settings.enforce_enterprise_project
            and not settings.read_lag_ms
            and not self._world.any_deleted
        ):
            # The common case has a short cut, so that a list of ten thousand engines is cheap.
            page = engines[first : first + limit]
            return len(engines), [(engine, engine.state) for engine in page]
        shown = [
            (engine, state)
            for engine in engines
            if wanted in {"ALL", engine.description.type}
            and self._world.is_within(engine, address)
            and (state := engine.state_at(moment)) is not None
        ]
        return len(shown), shown[first : first + limit]

    def visible_job(self, address: Address, job_id: str) -> tuple[Job, Run, float]:
        """Return a job, its current run, and the moment that readers see.

        Raises:
            EngineRefusal: Readers see no such engine or job, or the job id is not a number.
        """
        self.visible(address)
        if not (job_id.isascii() and job_id.isdigit()):
            raise EngineRefusal(BAD_JOB_ID, "The job ID is invalid.", f"job id {job_id!r}")
        moment = self._seen_at()
        job = self._world.jobs.get(int(job_id))
        run = job.run_at(moment) if job is not None else None
        if job is None or run is None or job.engine_id != address.engine_id:
            raise EngineRefusal(
                JOB_NOT_FOUND,
                "The job does not exist.",
                f"job {job_id} of engine {address.engine_id}",
                self._world.settings.missing_job_status,
            )
        return job, run, moment

    def visible_jobs(self, address: Address, lag_seconds: float) -> list[tuple[Job, Run, float]]:
        """Return an engine's jobs as readers see them, oldest first.

        Args:
            address: The engine.
            lag_seconds: The lag of this read in addition to that of other reads.

        Raises:
            EngineRefusal: Readers see no such engine.
        """
        engine, _ = self.visible(address)
        moment = self._seen_at() - lag_seconds
        shown = [(job, run) for job in engine.jobs if (run := job.run_at(moment)) is not None]
        return [(job, run, moment) for job, run in sorted(shown, key=lambda one: one[1].started_at)]
