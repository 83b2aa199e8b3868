"""The rounds of the benchmark: each is one contestant with one plan."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from harness import guard
from harness.contestants import CAREFUL, OURS
from harness.phases import Plan

TINY, SMALL, LARGE, HUGE = 100, 1_000, 10_000, 50_000
IN_FULL = {
    TINY: (OURS,),
    SMALL: (OURS, CAREFUL, "careful-our-crd", "tuned", "tuned-our-crd", "default", "usual-kopf"),
    # At this size, the other two would take a quarter of an hour and some gigabytes.
    LARGE: (OURS, CAREFUL, "careful-our-crd", "tuned", "tuned-our-crd"),
    # Only start and memory, to see how they grow.
    HUGE: (OURS,),
}
IN_BRIEF = {SMALL: (OURS, CAREFUL, "careful-our-crd", "tuned", "default", "usual-kopf")}
WITH_LIMITS = (OURS, CAREFUL)
SECONDS = {TINY: 300.0, SMALL: 600.0, LARGE: 1800.0, HUGE: 1800.0}
SECONDS_IN_BRIEF = 300.0
"""The time limit of a contestant: usual-kopf is known to hang for a quarter of an hour."""


def rounds(options: argparse.Namespace) -> Iterator[tuple[str, Plan]]:
    """Yield the contestants with their plans, in order."""
    sizes = _sizes(options)
    for size in (size for size in sizes if size <= SMALL):
        for name in sizes[size]:
            yield name, _plan(size, options)
    # The large sizes take most of an hour: a run that is stopped in them still has these.
    if not options.guard and (options.limits or not options.resources):
        for name in WITH_LIMITS:
            yield name, _with_limits(options)
    for size in (size for size in sizes if size > SMALL):
        for name in sizes[size]:
            yield name, _plan(size, options)


def _sizes(options: argparse.Namespace) -> dict[int, tuple[str, ...]]:
    if options.guard:
        return {guard.SIZE: (OURS,)}
    if options.limits:
        return {}
    if options.resources:
        return {options.resources: tuple(options.only or (OURS, CAREFUL))}
    return IN_BRIEF if options.quick else IN_FULL


def _plan(size: int, options: argparse.Namespace) -> Plan:
    seconds = SECONDS_IN_BRIEF if options.quick else SECONDS.get(size, SECONDS[HUGE])
    seconds = options.seconds or seconds
    if size == HUGE:
        return Plan(size, lone_changes=0, idle_seconds=10.0, burst=False, seconds=seconds)
    lone, idle = (20, 10.0) if options.quick else (50, 60.0)
    if options.guard:
        lone, idle = guard.LONE_CHANGES, guard.IDLE_SECONDS
    return Plan(
        resources=size,
        lone_changes=min(size, options.lone if options.lone is not None else lone),
        idle_seconds=options.idle if options.idle is not None else idle,
        burst=not options.no_burst,
        seconds=seconds,
    )


def _with_limits(options: argparse.Namespace) -> Plan:
    return Plan(
        resources=options.resources or SMALL,
        lone_changes=0,
        idle_seconds=5.0,
        limits=True,
        seconds=options.seconds or SECONDS[SMALL],
    )
