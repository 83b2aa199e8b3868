"""Looks at one resource's engine for a forecast, as `runtime/work.py` does for the operator."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cse_operator.api.failure_kind import FailureKind
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.reader import CseReader
from cse_operator.core.decide import Decision
from cse_operator.core.failure import Failure
from cse_operator.core.observation import Observation
from cse_operator.core.states import Effect
from cse_operator.runtime.cache import Resource


@dataclass(frozen=True, slots=True)
class Looks:
    """Looks at one resource's engine."""

    resource: Resource
    reader: CseReader | None

    async def take(self, o: Observation, decision: Decision) -> Observation:
        """Take the look that a decision asks for, and return the observation with its result."""
        if decision.effect is Effect.LOOK:
            return await self.at_engine(o)
        if decision.effect is Effect.LIST_JOBS:
            return await self._at_jobs(o)
        if decision.job_to_show is None:
            raise AssertionError("the decision asks for a job without its id")
        return await self._at_job(o, decision.job_to_show)

    async def at_engine(self, o: Observation) -> Observation:
        """Look at the engine, and return the observation with its result."""
        try:
            engine = await self._reader.show_engine(self.resource.spec.engine_id)
        except CloudError as error:
            return failed(o, error.failure)
        return replace(o, engine=engine)

    async def _at_job(self, o: Observation, job_id: int) -> Observation:
        try:
            job = await self._reader.show_job(self.resource.spec.engine_id, job_id)
        except CloudError as error:
            if error.failure.kind is FailureKind.NOT_FOUND:
                # As after a whole grace, which a plan does not wait for.
                return replace(o, missing_job=job_id, job_missing_for=float("inf"))
            return failed(o, error.failure)
        return replace(o, job=job)

    async def _at_jobs(self, o: Observation) -> Observation:
        try:
            jobs = await self._reader.list_jobs(self.resource.spec.engine_id)
        except CloudError as error:
            return replace(o, jobs_failure=error.failure)
        return replace(o, jobs=jobs or ())

    @property
    def _reader(self) -> CseReader:
        if self.reader is None:
            raise AssertionError("a look needs a reader")
        return self.reader


def failed(o: Observation, failure: Failure) -> Observation:
    """Return the observation after a failure that the operator would believe."""
    return replace(o, failure=failure, failures=3)
