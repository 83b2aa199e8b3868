"""Turns on an engine: who called last keeps others from calling until its effect shows."""

from __future__ import annotations

from cse_operator.runtime.turns import EngineTurns

ENGINE = ("cn-north-4", "project", "engine")


def take(turns: EngineTurns, uid: str, *, now: float = 0.0, latest: int | None = 100) -> bool:
    return turns.take(ENGINE, uid, now=now, latest_job_id=latest)


def test_during_a_call_no_other_resource_gets_a_turn() -> None:
    turns = EngineTurns()
    assert take(turns, "a")
    assert not take(turns, "b", now=1e9)
    assert take(turns, "a")


def test_other_engines_are_not_concerned() -> None:
    turns = EngineTurns()
    assert take(turns, "a")
    assert turns.take(("cn-north-4", "project", "other"), "b", now=0.0, latest_job_id=None)


def test_after_a_call_others_wait_until_its_effect_must_show() -> None:
    turns = EngineTurns()
    take(turns, "a")
    turns.called(ENGINE, "a", until=30.0, job_id=None)
    assert not take(turns, "b", now=29.9, latest=101)
    assert take(turns, "b", now=30.0)


def test_after_a_call_others_wait_only_until_the_engine_shows_its_job() -> None:
    turns = EngineTurns()
    take(turns, "a")
    turns.called(ENGINE, "a", until=30.0, job_id=101)
    assert not take(turns, "b", latest=100)
    assert not take(turns, "b", latest=None)
    assert take(turns, "b", latest=101)


def test_once_nothing_is_open_others_need_not_wait() -> None:
    turns = EngineTurns()
    take(turns, "a")
    turns.called(ENGINE, "a", until=30.0, job_id=None)
    turns.over(ENGINE, "b")
    assert not take(turns, "b")
    turns.over(ENGINE, "a")
    assert take(turns, "b")


def test_turns_whose_time_is_over_do_not_pile_up() -> None:
    turns = EngineTurns()
    for number in range(5000):
        engine = ("cn-north-4", "project", f"engine-{number}")
        assert turns.take(engine, "a", now=float(number), latest_job_id=None)
        turns.called(engine, "a", until=number + 30.0, job_id=None)
    assert len(turns._turns) < 1200


def test_another_job_than_the_call_s_does_not_show_it_whatever_its_number() -> None:
    turns = EngineTurns()
    assert turns.take(ENGINE, "a", now=0, latest_job_id=100)
    turns.called(ENGINE, "a", until=30, job_id=50)
    assert not turns.take(ENGINE, "b", now=1, latest_job_id=100)
    assert turns.take(ENGINE, "b", now=2, latest_job_id=50)
