"""The operator's wiring: which events lead to work, what is forgotten, what errors do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from cse_operator.core.failure import FailureKind
from cse_operator.core.states import Stage
from cse_operator.kube import errors
from cse_operator.runtime import app, memory
from cse_operator.runtime.app import FOREIGN_WRITE_DELAY, Operator
from cse_operator.runtime.settings import Settings
from support.fake_vendor import failure, job_view, until_idle
from support.resources import Object, changed, stored

KEY = "payments/orders"
NO_CLUSTER: Any = object()
"""In place of a connection that nobody uses here."""


class Reader:
    """Lists what it is told to, page by page."""

    def __init__(self) -> None:
        self.pages: list[list[Object]] = []
        self.failures: list[Exception] = []

    async def list_pages(self, namespaces: Sequence[str]) -> AsyncIterator[list[Object]]:
        if self.failures:
            raise self.failures.pop(0)
        for page in self.pages:
            yield page


@pytest.fixture
async def operator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Operator]:
    """An operator that is not running; events and news are handed to it."""
    operator = Operator(Settings(listen="", leader_elect=False), NO_CLUSTER)
    operator._reader = Reader()  # type: ignore[assignment]
    yield operator
    if operator._prune_timer is not None:
        operator._prune_timer.cancel()


def reader_of(operator: Operator) -> Reader:
    reader = operator._reader
    assert isinstance(reader, Reader)
    return reader


async def queued(operator: Operator) -> set[str]:
    """What is to be worked on now, taken out of the queue."""
    keys = set()
    while len(operator._queue):
        key = await operator._queue.get()
        operator._queue.done(key)
        keys.add(key)
    return keys


async def test_memory_is_given_back_a_moment_after_the_last_work(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back = asyncio.Event()
    monkeypatch.setattr(memory, "give_back", given_back.set)
    monkeypatch.setattr(app, "REST_DELAY", 0.0)
    operator._on_event("ADDED", stored())
    await queued(operator)
    await asyncio.wait_for(given_back.wait(), 30)


async def test_memory_is_not_given_back_while_there_is_work(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "give_back", lambda: pytest.fail("there is work"))
    operator._queue.add(KEY)
    operator._tidy()
    await operator._queue.get()
    operator._tidy()


# -- events ------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", ["ADDED", "MODIFIED", None])
async def test_an_object_that_is_news_is_worked_on(
    operator: Operator, event_type: str | None
) -> None:
    operator._on_event(event_type, stored())
    assert await queued(operator) == {KEY}


async def test_the_echo_of_what_is_known_is_not_worked_on(operator: Operator) -> None:
    obj = stored()
    operator._on_event("ADDED", obj)
    await queued(operator)
    operator._on_event("MODIFIED", obj)
    operator._on_event("MODIFIED", changed(obj, annotations={"example.com/owner": "alice"}))
    assert await queued(operator) == set()


async def test_a_status_of_somebody_else_is_looked_into_a_while_later(operator: Operator) -> None:
    obj = stored()
    operator._on_event("ADDED", obj)
    await queued(operator)
    operator._on_event("MODIFIED", changed(obj, status={"observedGeneration": 1}))
    assert await queued(operator) == set()
    loop_time = asyncio.get_running_loop().time()
    assert operator._queue._due[KEY] - loop_time == pytest.approx(FOREIGN_WRITE_DELAY, abs=1)


async def test_an_event_during_an_own_write_is_left_to_the_writer(operator: Operator) -> None:
    obj = stored()
    operator._on_event("ADDED", obj)
    await queued(operator)
    tracked = operator._store.get(KEY)
    assert tracked is not None
    tracked.notes.writing = True
    operator._on_event("MODIFIED", changed(obj, version="2.5.0"))
    assert await queued(operator) == set()
    assert tracked.parse().spec.version == "2.5.0"


async def test_a_deleted_resource_is_forgotten_and_its_rival_woken(operator: Operator) -> None:
    older, younger = stored("older", uid="1"), stored("younger", uid="2")
    for obj in (older, younger):
        operator._on_event("ADDED", obj)
    await queued(operator)
    operator._on_event("DELETED", older)
    assert await queued(operator) == {"payments/older", "payments/younger"}
    assert operator._store.get("payments/older") is None


async def test_the_deletion_of_a_predecessor_does_not_touch_the_successor(
    operator: Operator,
) -> None:
    operator._on_event("ADDED", stored(uid="successor"))
    await queued(operator)
    operator._on_event("DELETED", stored(uid="predecessor"))
    assert operator._store.get(KEY) is not None
    assert await queued(operator) == set()


# -- a watch that shows nothing ----------------------------------------------------------------


async def test_a_watch_that_shows_nothing_of_what_is_listed_begins_again(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "SIGHT_INTERVAL", 0.0)
    reader = reader_of(operator)
    reader.failures = [errors.Unavailable("away")]
    reader.pages = [[], [stored()]]
    began_again = asyncio.Event()
    operator._watch.begin_again = began_again.set  # type: ignore[method-assign]
    sight = asyncio.create_task(operator._test_sight())
    await asyncio.wait_for(began_again.wait(), 30)
    sight.cancel()
    assert not operator._stop.is_set()


async def test_a_watch_with_nothing_to_show_is_waited_for_and_one_that_shows_it_is_trusted(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "SIGHT_INTERVAL", 0.0)
    looks = 0

    async def list_pages(namespaces: Sequence[str]) -> AsyncIterator[list[Object]]:
        nonlocal looks
        looks += 1
        if looks < 5:
            return
        if looks == 6:
            operator._on_event("ADDED", stored())
        yield [stored()]

    operator._reader.list_pages = list_pages  # type: ignore[method-assign, assignment]
    await operator._test_sight()
    assert looks == 6
    assert not operator._stop.is_set()


async def test_an_election_that_fails_for_an_unforeseen_reason_ends_the_process(
    operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise ValueError("nobody foresaw this")

    async def wait() -> None:
        await asyncio.Event().wait()

    watch = asyncio.create_task(wait(), name="watch")
    operator._watch.started.set()
    election = asyncio.create_task(fail(), name="election")
    try:
        async with asyncio.timeout(10):
            assert await operator._until_told_to_stop(watch, election)
    finally:
        watch.cancel()
    assert "the election failed" in caplog.text


# -- what a repeated list lacks ----------------------------------------------------------------


async def test_what_a_repeated_list_lacks_is_forgotten_and_its_rival_woken(
    operator: Operator,
) -> None:
    ghost, heir, other = (
        stored("ghost", uid="1"),
        stored("heir", uid="2"),
        stored("other", uid="3", engineId="another"),
    )
    for obj in (ghost, heir, other):
        operator._on_event("ADDED", obj)
    await queued(operator)
    reader_of(operator).pages = [[heir], [other]]
    await operator._prune()
    assert {key for key, _ in operator._store} == {"payments/heir", "payments/other"}
    assert await queued(operator) == {"payments/ghost", "payments/heir"}


async def test_a_resource_made_anew_while_the_watch_was_away_stays(operator: Operator) -> None:
    operator._on_event("ADDED", stored(uid="old"))
    successor = stored(uid="new")
    reader_of(operator).pages = [[successor]]
    operator._on_event(None, successor)
    await operator._prune()
    tracked = operator._store.get(KEY)
    assert tracked is not None
    assert tracked.uid == "new"


async def test_a_resource_that_appears_during_the_list_stays(operator: Operator) -> None:
    operator._on_event("ADDED", stored("first", engineId="1"))

    async def list_pages(namespaces: Sequence[str]) -> AsyncIterator[list[Object]]:
        yield [stored("first", engineId="1")]
        operator._on_event("ADDED", stored("second", engineId="2"))

    reader_of(operator).list_pages = list_pages  # type: ignore[method-assign]
    await operator._prune()
    assert {key for key, _ in operator._store} == {"payments/first", "payments/second"}


async def test_a_list_that_fails_forgets_nothing_and_is_tried_again(operator: Operator) -> None:
    operator._on_event("ADDED", stored())
    reader_of(operator).failures = [errors.Unavailable("the API server is away")]
    await operator._prune()
    assert operator._store.get(KEY) is not None
    assert operator._prune_timer is not None


async def test_a_list_of_the_watch_that_lacks_nothing_is_not_repeated(operator: Operator) -> None:
    for event_type in ("ADDED", None):
        operator._on_event(event_type, stored("first", engineId="1"))
    operator._on_event("ADDED", stored("second", engineId="2"))
    reader_of(operator).failures = [errors.Unavailable("the first who lists gets this")]
    await operator._prune()
    assert reader_of(operator).failures
    assert {key for key, _ in operator._store} == {"payments/first", "payments/second"}


async def test_only_a_repeated_list_leads_to_a_look_for_ghosts(operator: Operator) -> None:
    operator._on_event("ADDED", stored("first"))
    operator._on_event("MODIFIED", stored("second"))
    assert operator._prune_timer is None
    operator._on_event(None, stored("third"))
    assert operator._prune_timer is not None


# -- news of engines and jobs ------------------------------------------------------------------


async def test_a_changed_engine_is_looked_into_unless_its_job_tells_when(
    operator: Operator,
) -> None:
    operator._on_event("ADDED", stored())
    await queued(operator)
    tracked = operator._store.get(KEY)
    assert tracked is not None
    operator._engine_changed(KEY)
    assert await queued(operator) == {KEY}
    tracked.notes.stage = Stage.RUNNING
    operator._engine_changed(KEY)
    assert await queued(operator) == set()


async def test_news_of_a_job_are_noted_and_worked_on(operator: Operator) -> None:
    upgrade = {
        "action": "Upgrade",
        "wantedVersion": "2.4.0",
        "requestedAt": "2026-03-14T02:00:00Z",
        "jobId": 101,
    }
    operator._on_event("ADDED", changed(stored(), status={"upgrade": upgrade}))
    await queued(operator)
    tracked = operator._store.get(KEY)
    assert tracked is not None
    operator._job_news(KEY, 101, job_view(101))
    assert await queued(operator) == {KEY}
    assert tracked.notes.job is not None
    operator._job_news(KEY, 101, failure(FailureKind.TRANSIENT))
    assert tracked.notes.failure is not None


async def test_news_of_what_was_deleted_are_dropped(operator: Operator) -> None:
    operator._job_news(KEY, 101, job_view(101))
    operator._engine_changed(KEY)
    assert await queued(operator) == set()


# -- work --------------------------------------------------------------------------------------


class Steps:
    """Stands in for the reconciler."""

    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}
        self.done: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def reconcile(self, key: str) -> None:
        await self.gate.wait()
        if key in self.errors:
            raise self.errors[key]
        self.done.append(key)

    async def record_answers(self) -> None:
        self.done.append("answers")


def stand_in(operator: Operator) -> Steps:
    steps = Steps()
    operator._reconciler = steps  # type: ignore[assignment]
    operator._leading.set()
    return steps


async def test_an_unforeseen_error_ends_no_worker_and_is_tried_again_later(
    operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    steps = stand_in(operator)
    steps.errors = {"payments/bad": ValueError("nobody foresaw this")}
    worker = asyncio.create_task(operator._work())
    operator._queue.add("payments/bad")
    operator._queue.add("payments/good")
    await until_idle()
    assert steps.done == ["payments/good"]
    assert "payments/bad" in operator._queue._due
    assert "payments/bad: unforeseen error" in caplog.text
    assert "nobody foresaw this" in caplog.text
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_the_pauses_after_unforeseen_errors_grow_and_end_with_a_success(
    operator: Operator,
) -> None:
    steps = stand_in(operator)
    steps.errors = {KEY: ValueError("nobody foresaw this")}
    pauses = []
    for _ in range(12):
        operator._queue.forget(KEY)
        await operator._reconcile(KEY)
        pauses.append(round(operator._queue._due[KEY] - asyncio.get_running_loop().time(), 1))
    assert pauses == sorted(pauses)
    assert pauses[-1] > 100 * pauses[0]
    assert pauses[-1] <= 300
    steps.errors = {}
    await operator._reconcile(KEY)
    assert operator._failures == {}


async def test_nobody_works_before_this_process_leads(operator: Operator) -> None:
    steps = stand_in(operator)
    operator._leading.clear()
    worker = asyncio.create_task(operator._work())
    operator._queue.add(KEY)
    await until_idle()
    assert steps.done == []
    operator._leading.set()
    await until_idle()
    assert steps.done == [KEY]
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_a_stop_ends_the_steps_in_hand_records_answers_and_begins_no_other(
    operator: Operator,
) -> None:
    steps = stand_in(operator)
    steps.gate.clear()
    workers = [asyncio.create_task(operator._work()) for _ in range(2)]
    for name in ("a", "b", "c"):
        operator._queue.add(name)
    await until_idle()
    stopping = asyncio.create_task(operator._drain(workers))
    await until_idle()
    assert not stopping.done()
    assert operator._not_ready() is not None
    steps.gate.set()
    await stopping
    assert steps.done == ["a", "b", "answers"]
    assert all(worker.done() for worker in workers)


async def test_a_stop_does_not_wait_for_ever(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cse_operator.runtime.app.DRAIN_SECONDS", 0.05)
    steps = stand_in(operator)
    steps.gate.clear()
    workers = [asyncio.create_task(operator._work())]
    operator._queue.add(KEY)
    await until_idle()
    await operator._drain(workers)
    assert "steps were cut off" in caplog.text


async def test_it_is_ready_once_all_is_listed_and_watched(operator: Operator) -> None:
    told: list[Any] = [operator._not_ready()]
    reader_of(operator).pages = [[stored("a"), stored("b", engineId="other")], [stored("c")]]
    await operator._sync()
    told.append(operator._not_ready())
    operator._watch.started.set()
    told.append(operator._not_ready())
    assert told == [
        "the resources are not listed yet\n",
        "the watch has not started yet\n",
        None,
    ]
    assert await queued(operator) == {"payments/a", "payments/b", "payments/c"}


async def test_an_operator_can_be_wired_to_stand_for_election() -> None:
    operator = Operator(Settings(listen="", leader_elect=True), NO_CLUSTER)
    assert operator._elector is not None
    assert not operator._elector.is_leader()
