"""Many disturbed upgrades, several at once, and a table of their results."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from support.faults.proxy import Behaviour, Boundary
from support.faults.stage import Corner, Stage, World
from support.upgrade_run import BrokenPromiseError, Course, UpgradeRun

logger = logging.getLogger(__name__)

ONLY = os.environ.get("FAULTS_ONLY", "")
"""Run only the cases with this text in their name, to examine a failed case."""

STAGES_AT_ONCE = int(os.environ.get("FAULTS_AT_ONCE", "8"))
"""A start of the operator takes about a second of a core."""

CORNERS = 40
"""The number of runs that share an operator, if no fault kills it."""

SHARED_STAGES_AT_ONCE = 2

DETAILS = 6000

FIRST_LISTS = 2

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """One fault of one call."""

    boundary: Boundary
    fault: str
    behaviour: Behaviour

    def __str__(self) -> str:
        return f"{self.boundary}: {self.fault}"


Beside = Callable[[Stage], AbstractAsyncContextManager[Any]]


def nobody_beside(_: Stage) -> AbstractAsyncContextManager[Any]:
    """Run only the stage's operator."""
    return nullcontext()


@asynccontextmanager
async def twin(stage: Stage) -> AsyncIterator[None]:
    """Run a second operator with the same rights; the calls of both are numbered together."""
    async with stage.replica("twin") as operator:
        await operator.until_ready()
        yield


@asynccontextmanager
async def standby(stage: Stage) -> AsyncIterator[None]:
    """Run a second operator that waits for the first one's Lease."""
    await stage.until_first_leads()
    async with stage.replica("standby", named=True) as operator:
        await operator.until_ready()
        yield


@dataclass(frozen=True)
class Result:
    """The result of a case; `broken` is empty if the promise was kept."""

    case: Case
    broken: str = ""


async def record(world: World, course: Course) -> list[Boundary]:
    """Run an undisturbed upgrade twice, and return the calls that occur in both, in order.

    Other calls depend on the clock or on a busy machine: a fault for such a call might never
    happen.
    """
    first, second = [await _recorded(world, course) for _ in range(2)]
    left_out = (_by_the_clock, _asked_before)
    return [b for b in first if b in second and not any(leaves(b) for leaves in left_out)]


def _asked_before(boundary: Boundary) -> bool:
    """Return whether kopf repeats, for its watch of policies, a discovery call for engines."""
    return boundary.call.startswith("GET /api") and boundary.nth > 1


def _by_the_clock(boundary: Boundary) -> bool:
    """Return whether this list comes after the first ones of the informer and of its watch."""
    return boundary.call.startswith("LIST ") and boundary.nth > FIRST_LISTS


async def _recorded(world: World, course: Course) -> list[Boundary]:
    async with Stage(world) as stage:
        (corner,) = stage.corners.values()
        run = UpgradeRun(stage, corner, course)
        await run.verdict(await run.settle())
        return [entry.boundary for entry in run.traffic.records]


async def run_alone(
    world: World,
    course: Course,
    cases: Iterable[Case],
    *,
    beside: Beside = nobody_beside,
    **arguments: Any,
) -> list[Result]:
    """Run each case with a separate operator process.

    Args:
        world: The world of the stages.
        course: The course without a fault.
        cases: The cases.
        beside: A context for the stage of each case, such as a second operator.
        arguments: The arguments of `Stage`.
    """
    gate = asyncio.Semaphore(_at_once(STAGES_AT_ONCE, beside))

    async def run(case: Case) -> Result:
        async with gate, Stage(world, **arguments) as stage, beside(stage):
            (corner,) = stage.corners.values()
            return await run_case(stage, corner, course, case)

    return await _all(run(case) for case in _chosen(cases))


async def run_together(
    world: World,
    course: Course,
    cases: Iterable[Case],
    *,
    beside: Beside = nobody_beside,
    **arguments: Any,
) -> list[Result]:
    """Run many cases with one operator process, which must stay alive throughout.

    The arguments are those of `run_alone`.
    """
    gate = asyncio.Semaphore(_at_once(SHARED_STAGES_AT_ONCE, beside))

    async def run(part: Sequence[Case]) -> list[Result]:
        async with gate, Stage(world, corners=len(part), **arguments) as stage, beside(stage):
            corners = stage.corners.values()
            runs = (run_case(stage, c, course, case) for c, case in zip(corners, part, strict=True))
            return await _all(runs)

    chosen = _chosen(cases)
    parts = [chosen[begin : begin + CORNERS] for begin in range(0, len(chosen), CORNERS)]
    return list(chain.from_iterable(await _all(run(part) for part in parts)))


def _at_once(stages: int, beside: Beside) -> int:
    """Return the number of stages at once: half with a second operator, for as many processes."""
    return stages if beside is nobody_beside else stages // 2


def _chosen(cases: Iterable[Case]) -> list[Case]:
    return [case for case in cases if ONLY in str(case)]


async def _all(runs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run) for run in runs]
    return [task.result() for task in tasks]


async def run_case(
    stage: Stage, corner: Corner, course: Course, case: Case, *, may_end: bool = False
) -> Result:
    """Run one case in a corner of an open stage, and check the promise.

    Args:
        stage: The stage; if it has only one corner, its operators are stopped at the end.
        corner: An unused corner.
        course: The course without a fault.
        case: The case.
        may_end: Whether an operator that serves several corners may end.
    """
    run = UpgradeRun(stage, corner, course)
    rule = run.disturb(case.boundary, case.behaviour)
    try:
        await run.verdict(await run.settle())
        run.check(rule.met, "the call never came, so nothing was tried")
        if len(stage.corners) == 1:
            for name, operator in stage.operators.items():
                code = await operator.stop()
                run.check(code == 0, f"SIGTERM ended the {name} with {code}")
        else:
            run.check(may_end or not stage.ends, "an operator ended, and took others with it")
    except BrokenPromiseError as error:
        logger.warning("%s: %s", case, str(error).partition("\n")[0])
        return Result(case, str(error))
    logger.info("%s: survived", case)
    return Result(case)


def table(results: Sequence[Result]) -> list[list[Any]]:
    """Return the rows of the matrix: call, cases, survived, failed."""
    rows: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for result in results:
        row = rows[f"{result.case.boundary.side} {result.case.boundary.call}"]
        row[0] += 1
        row[2 if result.broken else 1] += 1
    return [[what, *counts] for what, counts in rows.items()]


def complaint(results: Sequence[Result]) -> str:
    """Describe all failed cases."""
    failed = [result for result in results if result.broken]
    names = [f"  {r.case}: {r.broken.splitlines()[0]}" for r in failed]
    details = [f"=== {r.case}\n{_shortened(r.broken)}" for r in failed]
    return "\n".join(
        [f"{len(failed)} of {len(results)} cases broke the promise:", *names, *details]
    )


def _shortened(text: str) -> str:
    return text if len(text) <= DETAILS else f"{text[:DETAILS]}\n…\n{text[-DETAILS // 4 :]}"
