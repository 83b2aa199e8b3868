"""Starts and ends of upgrades: by calls, by another person, and by job plans."""

from __future__ import annotations

from dataclasses import replace

from cse_simulator.vendor.answers import EngineRefusal
from cse_simulator.vendor.engines import Address, Engine
from cse_simulator.vendor.jobs import Job, JobPlan, Outcome, Run
from cse_simulator.vendor.versions import LONGEST_VERSION, is_higher, is_numeric
from cse_simulator.vendor.world import World

STATE_FORBIDS = "SVCSTG.00501117"
"""An engine-level code (Huawei Cloud CSE API Reference, error codes)."""

FOREIGN_USER = "another-person"


class Upgrades:
    """The upgrades of one world's engines."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._plans: list[JobPlan] = []

    def upgrade(self, address: Address, version: str, user: str, *, unchecked: bool = False) -> Job:
        """Start an upgrade, as the PUT call does.

        Args:
            address: The engine as the call names it.
            version: The target version.
            user: The caller's name.
            unchecked: Accept the upgrade even if the vendor's checks would refuse it.

        Raises:
            EngineRefusal: The engine is unknown, not Available, or the version is not offered.
        """
        now = self._world.settle()
        engine = self._world.engine_at(address)
        if not engine.state.exists:
            raise self._world.no_engine(address)
        if not unchecked:
            self._require_upgradable(engine, version)
        return self._start(engine, version, user, now)

    def retry(self, address: Address, user: str) -> Job:
        """Run a failed upgrade again.

        Raises:
            EngineRefusal: The engine is unknown or does not offer Retry now.
        """
        now = self._world.settle()
        engine = self._world.engine_at(address)
        state = engine.state
        if not state.exists:
            raise self._world.no_engine(address)
        failed = self._world.jobs[state.latest_job_id]
        if "Retry" not in state.actions:
            raise EngineRefusal(
                STATE_FORBIDS,
                "The engine status does not support this operation.",
                f"engine is {state.status} and offers {list(state.actions)}",
            )
        if self._world.settings.retry_job_id == "new":
            return self._start(engine, failed.target_version, user, now)
        self._run(engine, failed, now)
        return failed

    def start_foreign_upgrade(self, engine_id: str, version: str, user: str) -> Job:
        """Start an upgrade that no call asked for, as a person at the console would.

        Raises:
            UnknownNameError: There is no such engine.
        """
        now = self._world.settle()
        return self._start(self._world.known(engine_id), version, user, now)

    def end_job(self, job_id: int, outcome: Outcome) -> None:
        """End the current run of a job now.

        Raises:
            UnknownNameError: There is no such job.
            ValueError: The job has ended already, or the outcome is `never`.
        """
        now = self._world.settle()
        job = self._world.known_job(job_id)
        if job.runs[-1].has_ended(now):
            raise ValueError(f"job {job_id} has ended already")
        if outcome == "never":
            raise ValueError("a job ends as finish, error or timeout")
        job.runs[-1] = job.runs[-1].ended_now(now, outcome)
        self._world.conclude(job)

    def plan_jobs(self, engine_id: str | None, plan: JobPlan) -> None:
        """Plan the next jobs of one engine, or of all engines that have no plans.

        Raises:
            UnknownNameError: There is no such engine.
        """
        plans = self._plans if engine_id is None else self._world.known(engine_id).plans
        plans.append(plan)

    def clear_plans(self) -> None:
        """Forget all plans; running jobs keep their course."""
        self._plans.clear()
        for engine in self._world.engines.values():
            engine.plans.clear()

    def _require_upgradable(self, engine: Engine, version: str) -> None:
        state = engine.state
        if state.status != "Available":
            raise EngineRefusal(
                STATE_FORBIDS,
                "The engine status does not support this operation.",
                f"engine is {state.status}",
            )
        policy = self._world.settings.upgrade_policy
        offered = (state.latest_version, *engine.description.offered_versions)
        too_long = not version or len(version) > LONGEST_VERSION
        # Versions with letters have no order: the vendor accepts only its latest, if it differs.
        named = version == state.latest_version != state.version and not is_numeric(version)
        higher = named or is_higher(version, than=state.version)
        not_higher = policy != "any" and not higher
        not_offered = policy == "offered" and version not in offered
        if too_long or not_higher or not_offered:
            raise EngineRefusal(
                self._world.settings.version_refused_code,
                "The target version is not supported.",
                f"engine is at {state.version}, {version!r} is asked for, {offered} is offered",
            )

    def _start(self, engine: Engine, version: str, user: str, now: float) -> Job:
        job = Job(
            id=self._world.take_job_id(),
            engine_id=engine.id,
            engine_name=engine.description.name,
            type="Upgrade",
            create_user=user,
            from_version=engine.state.version,
            target_version=version,
        )
        self._world.jobs[job.id] = job
        engine.jobs.append(job)
        self._run(engine, job, now)
        return job

    def _run(self, engine: Engine, job: Job, now: float) -> None:
        run = Run.planned(now, self._world.settings.job_seconds, self._take_plan(engine))
        job.runs.append(run)
        engine.become(now, status="Upgrading", latest_job_id=job.id, actions=("Noting",))
        self._world.ends(job)

    def _take_plan(self, engine: Engine) -> JobPlan:
        for plans in (engine.plans, self._plans):
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
