"""The course of a job, as readers see it over time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cse_simulator.vendor.jobs import UPGRADE_STEPS, Job, JobPlan, Run

START = 1_800_000_000.0
STEPS = len(UPGRADE_STEPS)


def run(plan: JobPlan, seconds: float = 100.0) -> Run:
    return Run.planned(START, seconds, plan)


def statuses(course: Run, after: float) -> list[str]:
    return [step.status for step in course.step_states(START + after)]


@pytest.mark.parametrize(
    ("after", "status", "steps"),
    [
        (0, "Init", ["Init"] * 5),
        (4.9, "Init", ["Init"] * 5),
        (5, "Executing", ["Executing", "Init", "Init", "Init", "Init"]),
        (24.1, "Executing", ["Finished", "Executing", "Init", "Init", "Init"]),
        (99.9, "Executing", ["Finished"] * 4 + ["Executing"]),
        (100, "Finished", ["Finished"] * 5),
    ],
)
def test_a_job_goes_from_init_through_its_steps_to_finished(after, status, steps):
    course = run(JobPlan())
    assert course.status(START + after) == status
    assert statuses(course, after) == steps


@pytest.mark.parametrize(("outcome", "status"), [("error", "Error"), ("timeout", "Timeout")])
def test_a_failing_job_stops_at_its_step_and_leaves_the_rest_undone(outcome, status):
    course = run(JobPlan(outcome, step=2))
    assert course.ends_at == pytest.approx(START + 43)
    assert course.status(course.ends_at) == status
    assert statuses(course, 43.1) == ["Finished", status, "Init", "Init", "Init"]


def test_a_job_may_begin_and_end_with_words_that_the_newer_lists_have():
    course = run(JobPlan("error", step=1, first_status="PreInit", last_status="UpgradeFailed"))
    assert course.status(START) == "PreInit"
    assert course.status(START + 5) == "Executing"
    assert course.status(course.ends_at) == "UpgradeFailed"


def test_a_job_that_never_ends_hangs_in_its_step():
    course = run(JobPlan("never", step=3))
    assert course.ends_at == math.inf
    assert course.status(START + 1e6) == "Executing"
    assert statuses(course, 1e6) == ["Finished", "Finished", "Executing", "Init", "Init"]


def test_a_job_ended_by_hand_fails_in_the_step_it_had_reached():
    course = run(JobPlan()).ended_now(START + 30, "error")
    assert course.status(START + 29) == "Executing"
    assert statuses(course, 30) == ["Finished", "Error", "Init", "Init", "Init"]


def test_a_job_ended_by_hand_before_its_first_step_fails_in_that_step():
    first, *rest = run(JobPlan()).ended_now(START + 1, "timeout").step_states(START + 1)
    assert (first.status, first.started_at, first.ended_at) == ("Timeout", START + 1, START + 1)
    assert {step.status for step in rest} == {"Init"}


def test_a_job_finished_by_hand_has_no_step_that_ends_after_it():
    course = run(JobPlan()).ended_now(START + 30, "finish")
    assert all(step.ended_at <= START + 30 for step in course.step_states(START + 31))


def test_a_vanishing_job_is_seen_until_its_time_and_not_after():
    job = Job(1, "engine", "orders", "Upgrade", "me", "2.3.1", "2.4.0")
    job.runs.append(run(JobPlan(vanish_after_seconds=10)))
    assert job.run_at(START - 0.001) is None
    assert job.run_at(START + 9.9) is job.runs[0]
    assert job.run_at(START + 10) is None


plans = st.builds(
    JobPlan,
    outcome=st.sampled_from(["finish", "error", "timeout", "never"]),
    step=st.none() | st.integers(min_value=1, max_value=STEPS),
)


@given(plans, st.floats(0.001, 1e5), st.lists(st.floats(0, 2), min_size=2, max_size=6))
def test_no_step_ever_goes_back(plan, seconds, shares):
    course = run(plan, seconds)
    rank = {"Init": 0, "Executing": 1, "Finished": 2, "Error": 2, "Timeout": 2}
    before = [0] * STEPS
    for share in sorted(shares):
        now = [rank[step.status] for step in course.step_states(START + seconds * share)]
        assert all(new >= old for new, old in zip(now, before, strict=True))
        assert now == sorted(now, reverse=True)
        before = now


@given(plans, st.floats(0.01, 1e5), st.floats(0, 2), st.floats(0, 1))
def test_a_job_looks_the_same_until_its_next_change(plan, seconds, share, part):
    course = run(plan, seconds)
    moment = START + seconds * share
    until = course.next_change(moment)
    later = moment + 1e6 if until == math.inf else moment + (until - moment) * part
    if later < until:
        assert course.status(later) == course.status(moment)
        assert course.step_states(later) == course.step_states(moment)
