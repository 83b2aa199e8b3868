"""One complete upgrade of one engine in a corner of a stage, checked against the promise.

The run's calls are recorded, rules disturb them, and `verdict` checks the end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import yaml

from cse_simulator.vendor.jobs import Outcome
from support.engines import engine_path
from support.faults.proxy import Behaviour, Boundary, Record, Rule
from support.faults.stage import Corner, Stage
from support.scene import ready

Object = dict[str, Any]

NAME = "orders"
PASSWORD = "canary-password-5ca1ab1e"

QUIET_SECONDS = 7.0
"""A run is at rest after this time without a call. It is longer than any wait of the operator."""

WATCHED_SECONDS = 30.0
"""The time for the operator to begin its watch before the resource is created."""

CHANGING = ("PUT upgrade", "PUT actions")

TRUE_REASONS = frozenset({"UpgradeRejected", "PermissionDenied"})
"""The reasons in which a run may come to rest after a call was refused for good."""

MADE_UP = "made up for a test"


@dataclass(frozen=True)
class Course:
    """The course of an undisturbed run.

    Attributes:
        name: The course's name in the matrix.
        job_ends: The outcomes of the jobs, in order.
        calls: The calls that the vendor accepts, in order.
        deadline: Seconds until the run must be at rest, under any fault. It bounds the test on a
            slow machine; the operator's own waits add up to far less.
    """

    name: str
    job_ends: tuple[Outcome, ...]
    calls: tuple[str, ...]
    deadline: float = 150.0


UPGRADE = Course("upgrade", ("finish",), ("Upgrade",))
RETRY = Course("retry", ("error", "finish"), ("Upgrade", "Retry"))


class BrokenPromiseError(AssertionError):
    """A run broke the promise."""


class UpgradeRun:
    """One run."""

    def __init__(self, stage: Stage, corner: Corner, course: Course = UPGRADE) -> None:
        """Prepare a run on an open stage, in an unused corner."""
        self.stage = stage
        self.scene = corner.scene
        self.traffic = corner.traffic
        self.course = course
        self.engine = self.scene.engine(NAME)
        self._jobs_ended: set[str] = set()
        self._calls_before_retry = 0

    def disturb(self, boundary: Boundary, behaviour: Behaviour) -> Rule:
        """Disturb one call of the run."""
        rule = Rule(boundary, behaviour)
        self.traffic.rules.append(rule)
        return rule

    async def settle(self) -> Object:
        """Run the upgrade, and return the resource once it is at rest.

        Raises:
            BrokenPromiseError: The run is not at rest by the course's deadline.
        """
        async with self._bounded("not at rest in time"):
            # Each run has its own user, so that no run is refused because of another.
            credentials = {"username": self.scene.project, "domainName": "tests"}
            await asyncio.to_thread(self.scene.secret, password=PASSWORD, **credentials)
            await self._until_watched()
            await self._until_one_may_call()
            await asyncio.to_thread(self.scene.resource, self.engine, NAME)
            return await self._at_rest()

    async def verdict(self, item: Object) -> str:
        """Check the run against the promise, and return the reason at rest.

        Raises:
            BrokenPromiseError: The run broke the promise.
        """
        reason = str(ready(item)["reason"])
        if reason != "UpToDate":
            await self._check_refusal(item)
            item = await self._ask_for_retry()
        await asyncio.to_thread(self._check_end, item)
        for operator in self.stage.operators.values():
            log = operator.process.output()
            mine = [line for line in log.splitlines() if self.scene.namespace in line]
            unforeseen = [line for line in mine if "unforeseen error" in line]
            self.check(not unforeseen, f"an unforeseen error in the log: {unforeseen}")
            self.check(PASSWORD not in log, "the password is in the log")
        return reason

    # --- the course of events -----------------------------------------------------------------

    @asynccontextmanager
    async def _bounded(self, otherwise: str) -> AsyncIterator[None]:
        """End jobs during the block, and bound its time."""
        jobs = asyncio.create_task(self._end_jobs())
        try:
            async with asyncio.timeout(self.course.deadline):
                yield
        except TimeoutError:
            raise BrokenPromiseError(f"{otherwise}\n{self.told()}") from None
        finally:
            jobs.cancel()
            await asyncio.gather(jobs, return_exceptions=True)

    async def _end_jobs(self) -> None:
        """End each job once the vendor has answered the first poll of it."""
        while len(self._jobs_ended) < len(self.course.job_ends):
            await self.traffic.until(lambda: self._jobs_shown() - self._jobs_ended)
            job = (self._jobs_shown() - self._jobs_ended).pop()
            outcome = self.course.job_ends[len(self._jobs_ended)]
            self._jobs_ended.add(job)
            await asyncio.to_thread(self.scene.admin.end_job, int(job), outcome)

    def _jobs_shown(self) -> set[str]:
        records = [r for r in self.traffic.records if r.boundary.call == "GET job" and r.status]
        return {r.request.path.rsplit("/", 1)[1] for r in records}

    async def _at_rest(self) -> Object:
        while True:
            await self._until_ready()
            ends = self.stage.ends
            await self.traffic.until_quiet(QUIET_SECONDS)
            latest = self.traffic.latest
            await self._until_ready()  # so that no operator is dead or stopped and goes on later
            item = await asyncio.to_thread(self.scene.get, NAME)
            if self.stage.ends > ends or self.traffic.latest > latest:
                continue
            if _settled(item):
                return item
            await self.traffic.until(lambda latest=latest: self.traffic.latest > latest)

    async def _until_watched(self) -> None:
        """Wait until the operator watches; go on after 30 s, as a fault may prevent the watch."""
        watch = "WATCH microserviceengines"
        with suppress(TimeoutError):
            async with asyncio.timeout(WATCHED_SECONDS):
                await self.traffic.until(lambda: self.traffic.count("kube", watch))

    async def _until_one_may_call(self) -> None:
        """Wait until the start's grace is over, so that the intent is the first write.

        With a second operator, or on a busy machine, the grace may be over already. Without this
        wait, the calls would differ from run to run.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(WATCHED_SECONDS):
                while not await asyncio.to_thread(self._one_may_call):  # noqa: ASYNC110 - by HTTP
                    await asyncio.sleep(0.2)

    def _one_may_call(self) -> bool:
        return any(one.process.may_call() for one in list(self.stage.operators.values()))

    async def _until_ready(self) -> None:
        for operator in self.stage.operators.values():
            await operator.until_ready()

    async def _ask_for_retry(self) -> Object:
        """Request a retry, as the message of a refusal advises."""
        async with self._bounded("a requested retry came to nothing"):
            await asyncio.to_thread(self.scene.annotate, NAME, retry_requested_at="now")
            before = self._calls_before_retry
            await self.traffic.until(lambda: self.traffic.count("cloud") > before)
            item = await self._at_rest()
        handled = item["status"].get("lastHandledRetryAt")
        self.check(handled == "now", f"the request for a retry was not noted: {handled}")
        return item

    # --- the promise --------------------------------------------------------------------------

    async def _check_refusal(self, item: Object) -> None:
        """Check that `Stalled` is true: nothing runs, and the message has the vendor's reason."""
        self._calls_before_retry = self.traffic.count("cloud")
        said = ready(item)
        self.check(MADE_UP in said["message"], f"does not say why: {said}")
        engine = await asyncio.to_thread(self.scene.admin.engine, self.engine.id)
        self.check(engine.status != "Upgrading", "came to rest while the engine upgrades")
        self.check(engine.version == "2.3.1", "came to rest although the engine is done")

    def accepted(self) -> tuple[str, ...]:
        """Return the changing calls that took effect, in order."""
        calls = self.scene.changing_calls(self.engine)
        return tuple(call.operation for call in calls if call.status == 200)

    def _check_no_call_in_vain(self) -> None:
        """Check that no changing call was sent after one of its kind took effect.

        The vendor refuses most such calls, but the operator must not rely on that.
        """
        by_kind: dict[str, list[Record]] = {}
        for record in self.traffic.records:
            if record.boundary.call in CHANGING:
                by_kind.setdefault(record.boundary.call, []).append(record)
        for kind, records in by_kind.items():
            done = next((n for n, record in enumerate(records) if record.took_effect), None)
            later = records[done + 1 :] if done is not None else []
            self.check(not later, f"{kind} was called again although it had taken effect: {later}")

    def _check_end(self, item: Object) -> None:
        accepted = self.accepted()
        self.check(accepted == self.course.calls, f"accepted calls: {accepted}")
        self._check_no_call_in_vain()
        engine = self.scene.admin.engine(self.engine.id)
        status = item["status"]
        shown = (status["phase"], status.get("currentVersion"), ready(item)["status"])
        self.check(shown == ("UpToDate", "2.4.0", "True"), f"ended as {shown}")
        result = (status.get("result"), status.get("jobId"))
        self.check(result == ("Succeeded", engine.latest_job_id), f"the result is {result}")
        history = [entry["result"] for entry in reversed(status.get("history", ()))]
        ends = [end for end in history if end != "Rejected"]
        wanted = ["Failed" if end == "error" else "Succeeded" for end in self.course.job_ends]
        self.check(ends == wanted, f"the history is {history}")
        metadata = item["metadata"]
        others = set(metadata.get("annotations", {})) - {"cse-operator.io/retry-requested-at"}
        self.check(not others and "finalizers" not in metadata, "left something on the object")
        self.check(metadata["generation"] == 1, "wrote the spec")

    def check(self, holds: bool, otherwise: str) -> None:
        """Raise an error with all that is known of the run, unless a condition holds."""
        if not holds:
            raise BrokenPromiseError(f"{otherwise}\n{self.told()}")

    def told(self) -> str:
        """Return the statuses, calls and logs of the run, for the search for a cause."""
        namespace = self.scene.namespace
        items = self.scene.cluster.request("GET", engine_path(namespace))["items"]
        begun = self.traffic.records[0].begun if self.traffic.records else 0.0
        calls = [
            f"{record.begun - begun:7.2f} {record.boundary} → {record.status}"
            for record in self.traffic.records
        ]
        status = [yaml.safe_dump(item.get("status")) for item in items]
        logs = [line for name in self.stage.operators for line in self._said_by(name)]
        return "\n".join([*status, *calls, *logs])

    def _said_by(self, name: str) -> list[str]:
        operator = self.stage.operators[name]
        alone = len(self.stage.corners) == 1
        lines = operator.process.output().splitlines()
        ends = f"{name}: exits {operator.exits}, kills {operator.kills}"
        return [ends, *(_short(one) for one in lines if alone or self.scene.namespace in one)]


def _settled(item: Object) -> bool:
    """Return whether the resource is at rest; for other reasons the operator retries by itself."""
    status = item.get("status", {})
    if status.get("observedGeneration") != item["metadata"]["generation"]:
        return False
    return ready(item)["status"] == "True" or ready(item)["reason"] in TRUE_REASONS


def _short(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    return (
        f"{entry['time'][17:23]} {entry['level']}: {entry['message']} {entry.get('exception', '')}"
    )
