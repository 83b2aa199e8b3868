"""Many disturbed upgrades, several at once, and a table of what came of them."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from support.fault_proxy import Behaviour, Boundary
from support.fault_stage import Corner, Stage, World
from support.upgrade_run import BrokenPromiseError, Course, UpgradeRun

ONLY = os.environ.get("FAULTS_ONLY", "")
"""Run only the cases that have this in their name, to look at one that failed."""

STAGES_AT_ONCE = int(os.environ.get("FAULTS_AT_ONCE", "6"))
"""A start of the operator takes about a second of a core."""

CORNERS = 40
"""Runs that share an operator, where it is not to die."""

DETAILS = 6000


@dataclass(frozen=True)
class Case:
    """One thing that happens to one call."""

    boundary: Boundary
    fault: str
    behaviour: Behaviour

    def __str__(self) -> str:
        return f"{self.boundary}: {self.fault}"


@dataclass(frozen=True)
class Result:
    """What came of a case: nothing to say if it kept the promise."""

    case: Case
    broken: str = ""


async def record(world: World, course: Course) -> list[Boundary]:
    """Go through an upgrade undisturbed, and return each call of it in order."""
    async with Stage(world) as stage:
        run = UpgradeRun(stage, *stage.corners.values(), course)
        await run.verdict(await run.settle())
        return [entry.boundary for entry in run.traffic.records]


async def run_alone(world: World, course: Course, cases: Iterable[Case]) -> list[Result]:
    """Run each case with an operator process of its own."""
    gate = asyncio.Semaphore(STAGES_AT_ONCE)

    async def run(case: Case) -> Result:
        async with gate, Stage(world) as stage:
            return await _run(stage, *stage.corners.values(), course, case)

    return await _all(run(case) for case in _chosen(cases))


async def run_together(world: World, course: Course, cases: Iterable[Case]) -> list[Result]:
    """Run many cases with one operator process, which has to stay alive all the time."""
    chosen, results = _chosen(cases), []
    for begin in range(0, len(chosen), CORNERS):
        part = chosen[begin : begin + CORNERS]
        async with Stage(world, corners=len(part)) as stage:
            corners = stage.corners.values()
            runs = (_run(stage, c, course, case) for c, case in zip(corners, part, strict=True))
            results += await _all(runs)
    return results


def _chosen(cases: Iterable[Case]) -> list[Case]:
    return [case for case in cases if ONLY in str(case)]


async def _all(runs: Iterable[Any]) -> list[Result]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run) for run in runs]
    return [task.result() for task in tasks]


async def _run(stage: Stage, corner: Corner, course: Course, case: Case) -> Result:
    run = UpgradeRun(stage, corner, course)
    rule = run.disturb(case.boundary, case.behaviour)
    try:
        await run.verdict(await run.settle())
        run.check(rule.met, "the call never came, so nothing was tried")
        if len(stage.corners) == 1:
            code = await stage.operator.stop()
            run.check(code == 0, f"SIGTERM ended it with {code}")
        else:
            run.check(not stage.operator.ends, "the operator ended, and took others with it")
    except BrokenPromiseError as error:
        return Result(case, str(error))
    return Result(case)


def table(results: Sequence[Result]) -> list[list[Any]]:
    """The rows of the matrix: what, cases, survived, failed."""
    rows: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for result in results:
        row = rows[f"{result.case.boundary.side} {result.case.boundary.call}"]
        row[0] += 1
        row[2 if result.broken else 1] += 1
    return [[what, *counts] for what, counts in rows.items()]


def complaint(results: Sequence[Result]) -> str:
    """All that failed, and how."""
    failed = [result for result in results if result.broken]
    names = [f"  {r.case}: {r.broken.splitlines()[0]}" for r in failed]
    details = [f"=== {r.case}\n{_shortened(r.broken)}" for r in failed]
    return "\n".join(
        [f"{len(failed)} of {len(results)} cases broke the promise:", *names, *details]
    )


def _shortened(text: str) -> str:
    return text if len(text) <= DETAILS else f"{text[:DETAILS]}\n…\n{text[-DETAILS // 4 :]}"
