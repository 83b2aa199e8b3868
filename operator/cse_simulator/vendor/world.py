"""The simulated vendor's world: engines, their jobs, and what moves them.

Time moves the world only when somebody looks: `settle` applies every job end that is due, at the
moment it was due, so there is no timer to wait for and no order to lose.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cse_simulator.vendor.answers import EngineRefusal
from cse_simulator.vendor.clock import Clock
from cse_simulator.vendor.engines import Address, Engine, EngineDescription, EngineState
from cse_simulator.vendor.jobs import CREATE_STEPS, Job, JobPlan, Outcome, Run
from cse_simulator.vendor.settings import Settings
from cse_simulator.vendor.versions import LONGEST_VERSION, is_higher, is_numeric

ENGINE_NOT_FOUND = "SVCSTG.00501116"
STATE_FORBIDS = "SVCSTG.00501117"
BAD_JOB_ID = "SVCSTG.00501152"
JOB_NOT_FOUND = "SVCSTG.00501153"
"""Engine-level codes (Huawei Cloud CSE API Reference, error codes)."""

FOREIGN_USER = "another-person"
AGE_AT_START_SECONDS = 24 * 3600.0
"""How old the engines are with which a simulator starts."""


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
        self.plans: list[JobPlan] = []
        self._next_job_id = settings.first_job_id
        self._due: list[tuple[float, int]] = []
        self._any_deleted = False

    # --- time ---------------------------------------------------------------------------------

    def settle(self) -> float:
        """Apply every job end that is due and return the time now (seconds since the epoch)."""
        now = self.clock.now()
        while self._due and self._due[0][0] <= now:
            ends_at, job_id = heapq.heappop(self._due)
            job = self.jobs[job_id]
            run = job.runs[-1]
            # An entry is stale when a person ended the job earlier or Retry ran it again.
            if run.ends_at == ends_at:
                self._conclude(job, run)
        return now

    def seen_at(self) -> float:
        """Settle, and return the moment whose state readers are shown."""
        return self.settle() - self.settings.read_lag_ms / 1000

    def _conclude(self, job: Job, run: Run) -> None:
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

    # --- reading ------------------------------------------------------------------------------

    def visible(self, address: Address) -> tuple[Engine, EngineState]:
        """Return an engine and the state of it that readers are shown.

        Raises:
            EngineRefusal: SVCSTG.00501116, readers see no such engine in the project.
        """
        moment = self.seen_at()
        engine = self._engine_at(address)
        state = engine.state_at(moment)
        if state is None:
            raise self._no_engine(address)
        return engine, state

    def page(
        self, address: Address, engine_type: str, first: int, limit: int
    ) -> tuple[int, list[tuple[Engine, EngineState]]]:
        """Return a part of a project's engines, oldest first, as readers are shown them.

        Args:
            address: The project, and the enterprise project if any.
            engine_type: The type asked for, `ALL` for every one.
            first: How many engines to leave out before the page.
            limit: How many engines to return at most.

        Returns:
            How many engines there are in all, and the page.
        """
        moment = self.seen_at()
        engines = self.projects.get(address.project, [])
        wanted = engine_type.upper()
        settings = self.settings
        if (
            wanted == "ALL"
            and not settings.enforce_enterprise_project
            and not settings.read_lag_ms
            and not self._any_deleted
        ):
            # The common case, on which a listing of ten thousand engines must not dwell.
            page = engines[first : first + limit]
            return len(engines), [(engine, engine.state) for engine in page]
        shown = [
            (engine, state)
            for engine in engines
            if wanted in {"ALL", engine.description.type}
            and self._is_within(engine, address)
            and (state := engine.state_at(moment)) is not None
        ]
        return len(shown), shown[first : first + limit]

    def visible_job(self, address: Address, job_id: str) -> tuple[Job, Run, float]:
        """Return a job, its current run and the moment that readers are shown.

        Raises:
            EngineRefusal: The engine or the job is not to be seen, or the job id is no number.
        """
        self.visible(address)
        if not (job_id.isascii() and job_id.isdigit()):
            raise EngineRefusal(BAD_JOB_ID, "The job ID is invalid.", f"job id {job_id!r}")
        moment = self.seen_at()
        job = self.jobs.get(int(job_id))
        run = job.run_at(moment) if job is not None else None
        if job is None or run is None or job.engine_id != address.engine_id:
            raise EngineRefusal(
                JOB_NOT_FOUND,
                "The job does not exist.",
                f"job {job_id} of engine {address.engine_id}",
                self.settings.missing_job_status,
            )
        return job, run, moment

    def visible_jobs(self, address: Address, lag_seconds: float) -> list[tuple[Job, Run, float]]:
        """Return an engine's jobs as readers are shown them, oldest first.

        Args:
            address: The engine.
            lag_seconds: How much further than other reads this one lags behind.

        Raises:
            EngineRefusal: The engine is not to be seen.
        """
        engine, _ = self.visible(address)
        moment = self.seen_at() - lag_seconds
        shown = [(job, run) for job in engine.jobs if (run := job.run_at(moment)) is not None]
        return [(job, run, moment) for job, run in sorted(shown, key=lambda one: one[1].started_at)]

    # --- the vendor's effects -----------------------------------------------------------------

    def upgrade(self, address: Address, version: str, user: str, *, unchecked: bool = False) -> Job:
        """Start an upgrade, as the PUT does.

        Args:
            address: The engine as the call names it.
            version: The target version.
            user: Who asks.
            unchecked: Take the upgrade even where the vendor's own checks would refuse it.

        Raises:
            EngineRefusal: The engine is unknown, not Available, or the version is not offered.
        """
        now = self.settle()
        engine = self._engine_at(address)
        if not engine.state.exists:
            raise self._no_engine(address)
        if not unchecked:
            self._require_upgradable(engine, version)
        return self._start(engine, version, user, now)

    def retry(self, address: Address, user: str) -> Job:
        """Run a failed upgrade again.

        Raises:
            EngineRefusal: The engine is unknown or does not offer Retry now.
        """
        now = self.settle()
        engine = self._engine_at(address)
        state = engine.state
        if not state.exists:
            raise self._no_engine(address)
        failed = self.jobs[state.latest_job_id]
        if "Retry" not in state.actions:
            raise EngineRefusal(
                STATE_FORBIDS,
                "The engine status does not support this operation.",
                f"engine is {state.status} and offers {list(state.actions)}",
            )
        if self.settings.retry_job_id == "new":
            return self._start(engine, failed.target_version, user, now)
        self._run(engine, failed, now)
        return failed

    def _require_upgradable(self, engine: Engine, version: str) -> None:
        state = engine.state
        if state.status != "Available":
            raise EngineRefusal(
                STATE_FORBIDS,
                "The engine status does not support this operation.",
                f"engine is {state.status}",
            )
        policy = self.settings.upgrade_policy
        offered = (state.latest_version, *engine.description.offered_versions)
        too_long = not version or len(version) > LONGEST_VERSION
        # A version with letters has no order: the vendor takes its own latest, if it is another.
        named = version == state.latest_version != state.version and not is_numeric(version)
        higher = named or is_higher(version, than=state.version)
        not_higher = policy != "any" and not higher
        not_offered = policy == "offered" and version not in offered
        if too_long or not_higher or not_offered:
            raise EngineRefusal(
                self.settings.version_refused_code,
                "The target version is not supported.",
                f"engine is at {state.version}, {version!r} is asked for, {offered} is offered",
            )

    def _start(self, engine: Engine, version: str, user: str, now: float) -> Job:
        job = Job(
            id=self.take_job_id(),
            engine_id=engine.id,
            engine_name=engine.description.name,
            type="Upgrade",
            create_user=user,
            from_version=engine.state.version,
            target_version=version,
        )
        self.jobs[job.id] = job
        engine.jobs.append(job)
        self._run(engine, job, now)
        return job

    def _run(self, engine: Engine, job: Job, now: float) -> None:
        run = Run.planned(now, self.settings.job_seconds, self._take_plan(engine))
        job.runs.append(run)
        engine.become(now, status="Upgrading", latest_job_id=job.id, actions=("Noting",))
        heapq.heappush(self._due, (run.ends_at, job.id))

    def _take_plan(self, engine: Engine) -> JobPlan:
        for plans in (engine.plans, self.plans):
            if plans:
                plan = plans[0]
                if plan.times is None:
                    return plan
                if plan.times > 1:
                    plans[0] = replace(plan, times=plan.times - 1)
                else:
                    del plans[0]
                return plan
        return JobPlan()

    # --- the world moves by itself ------------------------------------------------------------

    def add_engines(
        self, descriptions: Iterable[EngineDescription], age_seconds: float = 0.0
    ) -> list[Engine]:
        """Create engines, each with the finished job that created it.

        Args:
            descriptions: What they are like.
            age_seconds: How long ago they were created; readers with a lag see no younger ones.

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
        self._any_deleted = True

    def change_engine(self, engine_id: str, **changes: Any) -> EngineState:
        """Put an engine into another state: a patch by the vendor, a person at the console.

        Args:
            engine_id: The engine.
            changes: New values of the fields of `EngineState`.

        Raises:
            UnknownNameError: There is no such engine.
        """
        now = self.settle()
        return self.known(engine_id).become(now, **changes)

    def start_foreign_upgrade(self, engine_id: str, version: str, user: str) -> Job:
        """Start an upgrade that no call asked for, as a person at the console would.

        Raises:
            UnknownNameError: There is no such engine.
        """
        now = self.settle()
        return self._start(self.known(engine_id), version, user, now)

    def end_job(self, job_id: int, outcome: Outcome) -> None:
        """End the current run of a job now.

        Raises:
            UnknownNameError: There is no such job.
            ValueError: The job is over already, or the outcome is no end.
        """
        now = self.settle()
        job = self.known_job(job_id)
        if job.runs[-1].has_ended(now):
            raise ValueError(f"job {job_id} is over already")
        if outcome == "never":
            raise ValueError("a job ends as finish, error or timeout")
        job.runs[-1] = job.runs[-1].ended_now(now, outcome)
        self._conclude(job, job.runs[-1])

    def plan_jobs(self, engine_id: str | None, plan: JobPlan) -> None:
        """Say what becomes of the next jobs of one engine, or of any engine without own plans.

        Raises:
            UnknownNameError: There is no such engine.
        """
        plans = self.plans if engine_id is None else self.known(engine_id).plans
        plans.append(plan)

    def clear_plans(self) -> None:
        """Forget every plan; running jobs keep theirs."""
        self.plans.clear()
        for engine in self.engines.values():
            engine.plans.clear()

    def known(self, engine_id: str) -> Engine:
        """Return an existing engine, whatever readers see.

        Raises:
            UnknownNameError: There is no such engine.
        """
        engine = self.engines.get(engine_id)
        if engine is None or not engine.state.exists:
            raise UnknownNameError(f"there is no engine {engine_id}")
        return engine

    def known_job(self, job_id: int) -> Job:
        """Return an existing job, whatever readers see.

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

    def _engine_at(self, address: Address) -> Engine:
        engine = self.engines.get(address.engine_id)
        if (
            engine is None
            or engine.description.project != address.project
            or not self._is_within(engine, address)
        ):
            raise self._no_engine(address)
        return engine

    def _is_within(self, engine: Engine, address: Address) -> bool:
        if not self.settings.enforce_enterprise_project:
            return True
        # Without the header the default enterprise project is meant, whose id is 0.
        return engine.description.enterprise_project_id == (address.enterprise_project or "0")

    def _no_engine(self, address: Address) -> EngineRefusal:
        return EngineRefusal(
            ENGINE_NOT_FOUND,
            "The engine does not exist.",
            f"engine {address.engine_id}",
            self.settings.missing_engine_status,
        )
