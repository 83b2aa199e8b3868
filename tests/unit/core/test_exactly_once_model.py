"""Random interleavings of all faults, against a model of the vendor.

One engine, up to two resources that name it, and two operators whose caches may be stale. Between
any two boundaries of a step, the world changes, fails and waits. The promises of
docs/exactly-once.md must hold (`support.model.world`).

`CSE_OPERATOR_MODEL=thorough` searches for longer.
"""

from __future__ import annotations

import os
import random
import traceback
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from support.model.operator import LOOK_FAULTS, PUT_FAULTS, Weather
from support.model.world import MOST_LAG, MOST_LATE, ModelWorld

THOROUGH = os.environ.get("CSE_OPERATOR_MODEL") == "thorough"

# The choices; likely ones appear several times. Hypothesis shrinks towards the first.
NAMES = ["older"] * 5 + ["younger"]
OPERATORS = [0, 0, 0, 1]
LAGS = [0.0, 0.0, 0.5, 4.0, MOST_LAG]
JOBS = ["fine", "fine", "fails"]
LATENESSES = [MOST_LATE, 0.5]
PUTS = ["fine"] * 4 + list(PUT_FAULTS)
LOOKS = ["fine"] * 12 + list(LOOK_FAULTS)
KUBES = ["fine"] * 12 + ["lost before the effect", "lost after the effect"]
SECONDS = [1.0, 0.3, 2.0, 3.0, 6.0, 12.0, 36.0, 36.0, 75.0, 500.0, 10000.0]
OUTCOMES = ["finish", "error", "timeout", "odd"]
DURATIONS = [3.0, 1.0, 3.0, 20.0, 400.0, 10000.0]
WANTED = ["2.4.0", "2.4.0", "2.5.0", "2.3.0", "2.5.0-rc1"]
OFFERED = ["2.3.4", "2.3.4", "2.4.0", "2.4.3", "2.5.0", "2.4.0-sp1", "2.5.0-rc1", "2.4.0.SPC1"]
BUILDS = [("", "")] * 4 + [("word", ""), ("", "word"), ("reader", ""), ("", "reader")]
SITES = ["fine", "fine", "absent"]
PEOPLES_DOINGS = [
    "wants a version",
    "suspends or resumes",
    "edits the options",
    "edits the time-out",
    "requests a retry",
    "requests a retry",
    "requests a look",
    "deletes the resource",
]
WORLDS_DOINGS = [
    "the vendor patches",
    "somebody upgrades in the console",
    "somebody changes the engine",
    "somebody mends the engine",
    "somebody mends the engine",
    "the vendor forgets a job",
    "the gate opens or closes",
    "the gate opens or closes",
    "the vendor offers a version",
    "the engine is deleted",
]

one_of = st.sampled_from


class UpgradingAnEngine(RuleBasedStateMachine):
    """The model driven by Hypothesis, which finds short ways to a broken promise."""

    world: ModelWorld | None = None

    @initialize(
        offset=one_of([-2.0, 0.0, 2.0]),
        same_retry_job=st.booleans(),
        lenient=st.booleans(),
        clock_errors=st.tuples(one_of([0.0, -900.0, 900.0]), one_of([0.0, -900.0, 900.0])),
        job=st.tuples(one_of(OUTCOMES), one_of(DURATIONS)),
        builds=one_of(BUILDS),
        waits=st.booleans(),
        site=one_of(SITES),
        put=one_of(PUTS),
        late=one_of(LATENESSES),
        boundaries=one_of([20, 20, 4, 5, 6]),
    )
    def an_upgrade_begins(
        self,
        *,
        offset,
        same_retry_job,
        lenient,
        clock_errors,
        job,
        builds,
        waits,
        site,
        put,
        late,
        boundaries,
    ):
        self.world = ModelWorld(
            clock_offset=offset,
            same_retry_job=same_retry_job,
            lenient=lenient,
            clock_errors=clock_errors,
            job=job,
            newer_builds=builds,
            waits_at_start=waits,
            lists_jobs=site,
        )
        if waits:
            self.world.vendor.advance(36.0)
        self.world.go_on(0, "older", boundaries, Weather(put=put, late=late))

    @rule(
        which=one_of(OPERATORS),
        name=one_of(NAMES),
        boundaries=st.integers(1, 4),
        lag=one_of(LAGS),
        look=one_of(LOOKS),
        jobs=one_of(JOBS),
        put=one_of(PUTS),
        kube=one_of(KUBES),
        late=one_of(LATENESSES),
    )
    def an_operator_goes_on(self, *, which, name, boundaries, lag, look, jobs, put, kube, late):
        self.world.go_on(which, name, boundaries, Weather(lag, look, jobs, put, kube, late))

    @rule(
        which=one_of(OPERATORS),
        name=one_of(NAMES),
        lag=one_of(LAGS),
        put=one_of(PUTS),
        late=one_of(LATENESSES),
    )
    def an_operator_does_a_whole_step(self, which, name, lag, put, late):
        self.world.whole_step(which, name, Weather(lag=lag, put=put, late=late))

    @rule(which=one_of(OPERATORS))
    def an_operator_learns_what_changed(self, which):
        self.world.learn(which)

    @rule(which=one_of(OPERATORS))
    def an_operator_dies_and_comes_back(self, which):
        self.world.operators[which].crash()

    @rule(seconds=one_of(SECONDS))
    def time_passes(self, seconds):
        self.world.vendor.advance(seconds)

    @rule(
        name=one_of(NAMES),
        doing=one_of(PEOPLES_DOINGS),
        wanted=one_of(WANTED),
        limit=st.integers(0, 2),
    )
    def a_person(self, name, doing, wanted, limit):
        self.world.person(name, doing, wanted, limit)

    @rule(doing=one_of(WORLDS_DOINGS), version=one_of(OFFERED))
    def the_world(self, doing, version):
        self.world.world(doing, version)

    @rule(job=st.tuples(one_of(OUTCOMES), one_of(DURATIONS)))
    def the_next_job_is_another(self, job):
        self.world.vendor.next_job = job

    @invariant()
    def the_promises_hold(self):
        if self.world is not None:
            self.world.check()

    def teardown(self):
        if self.world is not None:
            self.world.settle_and_check()


TestUpgradingAnEngine = UpgradingAnEngine.TestCase
TestUpgradingAnEngine.settings = settings(
    max_examples=5000 if THOROUGH else 80,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=not THOROUGH,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


# -- random walks: not as clever as Hypothesis, but they go further from the start -------------

Doing = tuple[str, dict[str, Any]]
WALKS = 1000 if THOROUGH else 45
SEED = random.randrange(10**9) if THOROUGH else 0


def random_walk(seed: int, length: int = 40) -> list[Doing]:
    """Return the events of one walk; some have two operators or two resources, some no faults."""
    dice = random.Random(seed)
    one = dice.choice
    two_operators, two_resources = dice.random() < 0.4, dice.random() < 0.25
    meddling, moving = dice.random(), dice.random()
    names = NAMES if two_resources else ["older"]
    begin = {
        "offset": one([-2.0, 0.0, 2.0]),
        "same_retry_job": one([True, False]),
        "lenient": one([True, True, False]),
        "clock_errors": (one([0.0, -900.0, 900.0]), one([0.0, -900.0, 900.0])),
        "job": (one(OUTCOMES), one(DURATIONS)),
        "builds": one(BUILDS) if two_operators else ("", ""),
        "waits": one([True, False, False]),
        "site": one(SITES),
        "put": one(PUTS),
        "late": one(LATENESSES),
        "boundaries": one([20, 4, 5, 6, 1]),
    }
    walk: list[Doing] = [("an_upgrade_begins", begin)]
    for _ in range(length):
        operator = {"which": one(OPERATORS) if two_operators else 0}
        weather = {"lag": one(LAGS), "put": one(PUTS), "late": one(LATENESSES)}
        more = {"look": one(LOOKS), "jobs": one(JOBS), "kube": one(KUBES)}
        name = {"name": one(names)}
        doings: dict[str, tuple[float, dict[str, Any]]] = {
            "an_operator_goes_on": (
                0.30,
                operator | name | weather | more | {"boundaries": dice.randint(1, 4)},
            ),
            "an_operator_does_a_whole_step": (0.20, operator | name | weather),
            "an_operator_learns_what_changed": (0.06, operator),
            "an_operator_dies_and_comes_back": (0.04, operator),
            "time_passes": (0.22, {"seconds": one(SECONDS)}),
            "a_person": (
                0.08 * meddling,
                name
                | {
                    "doing": one(PEOPLES_DOINGS),
                    "wanted": one(WANTED),
                    "limit": dice.randint(0, 2),
                },
            ),
            "the_world": (0.08 * moving, {"doing": one(WORLDS_DOINGS), "version": one(OFFERED)}),
            "the_next_job_is_another": (0.03, {"job": (one(OUTCOMES), one(DURATIONS))}),
        }
        weights = [weight for weight, _ in doings.values()]
        doing = dice.choices(list(doings), weights)[0]
        walk.append((doing, doings[doing][1]))
    return walk


def broken_promise(walk: list[Doing]) -> AssertionError | None:
    machine = UpgradingAnEngine()
    try:
        for doing, values in walk:
            getattr(machine, doing)(**values)
            machine.the_promises_hold()
        machine.teardown()
    except AssertionError as error:
        return error
    return None


def shortened(walk: list[Doing], error: AssertionError) -> list[Doing]:
    """Return the walk without the events that the same broken promise does not need."""
    same = traceback.extract_tb(error.__traceback__)[-1].lineno
    step = len(walk) // 4
    while step:
        at = 1
        while at < len(walk):
            shorter = walk[:at] + walk[at + step :]
            found = broken_promise(shorter)
            if found and traceback.extract_tb(found.__traceback__)[-1].lineno == same:
                walk = shorter
            else:
                at += step
        step //= 2
    return walk


@pytest.mark.timeout(7200 if THOROUGH else 180)
@pytest.mark.parametrize("block", range(8))
def test_the_promises_hold_on_random_walks(block):
    for seed in range(SEED + block * WALKS, SEED + (block + 1) * WALKS):
        walk = random_walk(seed)
        error = broken_promise(walk)
        if error is not None:
            steps = "\n".join(f"  {doing}({values})" for doing, values in shortened(walk, error))
            pytest.fail(f"seed {seed}: {error}\n{steps}")
