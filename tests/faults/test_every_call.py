"""Every call of a whole upgrade fails in every way, and the operator dies around every call.

The list of calls is recorded from an undisturbed run, not written by hand.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.faults import catalogue
from support.faults.matrix import Case, Result, record, run_alone, run_together
from support.faults.proxy import Boundary
from support.faults.stage import World
from support.upgrade_run import RETRY, UPGRADE, Course

pytestmark = pytest.mark.timeout(3600)

Judge = Callable[[str, list[Result]], None]
COURSES = pytest.mark.parametrize("course", [UPGRADE, RETRY], ids=lambda course: course.name)


async def _boundaries(world: World, course: Course) -> list[Boundary]:
    """Return the calls of a course; for the retry, only those from the retry call on."""
    boundaries = await record(world, course)
    calls = [boundary.call for boundary in boundaries]
    return boundaries if course is UPGRADE else boundaries[calls.index("PUT actions") :]


def _is_event(boundary: Boundary) -> bool:
    return boundary.call.startswith("EVENT")


def _parted(boundaries: list[Boundary]) -> tuple[list[Boundary], list[Boundary]]:
    """Split into the calls up to the first watch event, which start the operator, and the rest."""
    first_event = next(n for n, boundary in enumerate(boundaries) if _is_event(boundary))
    return boundaries[:first_event], [b for b in boundaries[first_event:] if not _is_event(b)]


def _faults(boundaries: list[Boundary]) -> list[Case]:
    return [
        Case(boundary, name, behaviour)
        for boundary in boundaries
        for name, behaviour in catalogue.faults_of(boundary)
    ]


@COURSES
async def test_an_operator_killed_around_any_call_goes_on_where_it_was(
    world: World, judge: Judge, course: Course
) -> None:
    cases = []
    for boundary in await _boundaries(world, course):
        after = catalogue.killed_after
        if _is_event(boundary):
            after = catalogue.killed_after_event
        cases.append(Case(boundary, "killed before", catalogue.killed_before))
        cases.append(Case(boundary, "killed after", after))
    judge(f"{course.name}: killed before and after", await run_alone(world, course, cases))


async def test_the_operator_starts_despite_any_fault_in_the_calls_of_its_start(
    world: World, judge: Judge
) -> None:
    start, _ = _parted(await _boundaries(world, UPGRADE))
    judge("start: faults", await run_alone(world, UPGRADE, _faults(start)))


@COURSES
async def test_any_fault_in_any_call_still_leads_to_one_upgrade(
    world: World, judge: Judge, course: Course
) -> None:
    boundaries = await _boundaries(world, course)
    calls = [boundary for boundary in boundaries if not _is_event(boundary)]
    if course is UPGRADE:
        _, calls = _parted(boundaries)
    judge(f"{course.name}: faults", await run_together(world, course, _faults(calls)))


@COURSES
async def test_any_fault_in_a_changing_call_leads_to_one_upgrade_while_reads_lag(
    world: World, lagging_world: World, judge: Judge, course: Course
) -> None:
    changing = [
        boundary
        for boundary in await _boundaries(world, course)
        if boundary.call in {"PUT upgrade", "PUT actions", "PATCH microserviceengines/status"}
    ]
    kills = [
        Case(boundary, name, behaviour)
        for boundary in changing
        for name, behaviour in (
            ("killed before", catalogue.killed_before),
            ("killed after", catalogue.killed_after),
        )
    ]
    results = await run_together(lagging_world, course, _faults(changing))
    results += await run_alone(lagging_world, course, kills)
    judge(f"{course.name}: reads that lag", results)


async def test_any_fault_in_a_watch_event_loses_no_change(world: World, judge: Judge) -> None:
    cases = [
        Case(boundary, name, behaviour)
        for boundary in await _boundaries(world, UPGRADE)
        if _is_event(boundary)
        for name, behaviour in catalogue.faults_of_event()
    ]
    judge("upgrade: faults of the watch", await run_alone(world, UPGRADE, cases))
