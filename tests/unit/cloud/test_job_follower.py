"""Following a project's jobs: few calls a round, no end missed, no failure contagious."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import pytest

from cse_operator.cloud.directory import EngineDirectory
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.job_follower import LAG_LIMIT, STEPS_PER_ROUND, JobFollower
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.observation import JobProgress, JobView
from support.cloud_calls import FakeTime
from support.fake_vendor import FakeReader, engine_view, failure, job_view, until_idle


class Project:
    """A follower with a reader and a clock in the test's hand."""

    def __init__(self, *, interval: float = 5.0) -> None:
        self.time = FakeTime()
        self.reader = FakeReader()
        self.directory = EngineDirectory(self.reader, lambda _: None, clock=self.time)
        self.news: list[tuple[str, JobView | Failure]] = []
        self.follower = JobFollower(
            self.reader,
            self.directory,
            lambda key, _job, news: self.news.append((key, news)),
            interval=interval,
            clock=self.time,
        )

    def start(self, numbers: Iterable[int]) -> None:
        """Let upgrades run, each by a job of the engine's number, and follow them."""
        for number in numbers:
            self.reader.engines[f"e{number}"] = engine_view(
                f"e{number}", status="Upgrading", latest_job_id=number
            )
            self.reader.jobs[number] = job_view(number, f"e{number}")
            self.follower.follow(f"r{number}", f"e{number}", number)

    def end(self, number: int, status: str = "Finished") -> None:
        """Let one of them end."""
        self.reader.engines[f"e{number}"] = engine_view(f"e{number}", latest_job_id=number)
        self.reader.jobs[number] = job_view(number, f"e{number}", status=status)

    async def round(self) -> list[str]:
        """Go one round, and return the calls it took."""
        self.reader.take_calls()
        self.time.advance(5)
        await self.follower.round()
        return self.reader.take_calls()

    def told(self) -> list[tuple[str, str]]:
        """Whose job was reported as what since this was asked last."""
        news, self.news[:] = list(self.news), []
        return [(k, n.status if isinstance(n, JobView) else n.kind.value) for k, n in news]


MANY = range(101, 131)


async def test_a_few_jobs_are_asked_for_without_a_listing() -> None:
    project = Project()
    project.start(range(101, 104))
    assert await project.round() == ["job 101", "job 102", "job 103"]
    assert project.told() == [(f"r{n}", "Executing") for n in (101, 102, 103)]


async def test_many_jobs_cost_one_listing_and_ten_looks_a_round() -> None:
    project = Project()
    project.start(MANY)
    calls = await project.round()
    assert Counter(call.split()[0] for call in calls) == {"list": 1, "job": STEPS_PER_ROUND}


@pytest.mark.parametrize("seconds", [2, 6])
async def test_a_listing_that_took_long_serves_the_round_after_it_as_well(seconds: float) -> None:
    project = Project()
    project.start(MANY)
    project.reader.gate.clear()
    listing = asyncio.create_task(project.directory.list_now())
    await until_idle()
    project.time.advance(seconds)
    project.reader.gate.set()
    await listing
    assert "list" not in await project.round()
    assert "list" in await project.round()


async def test_the_ten_that_are_looked_at_take_turns() -> None:
    project = Project()
    project.start(MANY)
    seen: Counter[str] = Counter()
    for _ in range(6):
        seen.update(call for call in await project.round() if call != "list")
    assert seen == Counter({f"job {number}": 2 for number in MANY})


async def test_following_again_after_an_end_takes_no_second_place_in_the_turn() -> None:
    project = Project()
    project.start(MANY)
    for _ in range(3):
        project.follower.unfollow("r101")
        project.follower.follow("r101", "e101", 101)
    seen: Counter[str] = Counter()
    for _ in range(3):
        seen.update(call for call in await project.round() if call != "list")
    assert seen == Counter({f"job {number}": 1 for number in MANY})


async def test_an_end_is_found_in_the_next_round_out_of_turn() -> None:
    project = Project()
    project.start(MANY)
    await project.round()
    project.told()
    project.end(130)
    calls = await project.round()
    assert calls.count("job 130") == 1
    assert len(calls) == 1 + STEPS_PER_ROUND + 1
    assert ("r130", "Finished") in project.told()


@pytest.mark.parametrize("status", ["Finished", "Error", "Timeout"])
async def test_an_ended_job_is_reported_once_and_not_asked_for_again(status: str) -> None:
    project = Project()
    project.start([101])
    project.end(101, status)
    await project.round()
    assert await project.round() == []
    assert project.told() == [("r101", status)]


async def test_an_ended_job_takes_no_turn_from_the_running_ones() -> None:
    project = Project()
    project.start(MANY)
    for number in (101, 102, 103):
        project.end(number)
    await project.round()
    calls = await project.round()
    assert len(calls) == 1 + STEPS_PER_ROUND
    assert not {"job 101", "job 102", "job 103"} & set(calls)


async def test_a_job_that_its_engine_does_not_show_yet_is_left_in_peace_for_a_while() -> None:
    project = Project()
    project.start(MANY)
    await project.round()
    lagging = [number for number in MANY if number > 120]
    for number in lagging:
        project.reader.engines[f"e{number}"] = engine_view(f"e{number}", latest_job_id=99)
    calls = await project.round()
    assert Counter(call.split()[0] for call in calls) == {"list": 1, "job": STEPS_PER_ROUND}

    project.time.advance(LAG_LIMIT)
    calls = await project.round()
    assert {f"job {number}" for number in lagging} <= set(calls)


@pytest.mark.parametrize(
    "engine",
    [
        engine_view("e130", status="Upgrading", latest_job_id=999),
        engine_view("e130", status="UpgradeFailed", latest_job_id=130),
        engine_view("e130", status="Upgrading", latest_job_id=None),
        None,
    ],
)
async def test_whatever_the_list_does_not_explain_is_looked_at(engine: object) -> None:
    project = Project()
    project.start(MANY)
    await project.round()
    if engine is None:
        del project.reader.engines["e130"]
    else:
        project.reader.engines["e130"] = engine  # type: ignore[assignment]
    assert "job 130" in await project.round()


async def test_nothing_is_reported_twice() -> None:
    project = Project()
    project.start([101])
    await project.round()
    await project.round()
    assert project.told() == [("r101", "Executing")]


async def test_a_step_is_reported_when_it_changes() -> None:
    project = Project()
    project.start([101])
    await project.round()
    project.reader.jobs[101] = job_view(101, "e101", progress=JobProgress(2, 5, "Upgrade"))
    await project.round()
    steps = [news.progress.step for _, news in project.news if isinstance(news, JobView)]  # type: ignore[union-attr]
    assert steps == ["Back up configuration", "Upgrade"]


async def test_a_failed_look_is_reported_each_time_and_then_the_recovery() -> None:
    project = Project()
    project.start([101])
    await project.round()
    project.reader.jobs[101] = CloudError(failure())
    await project.round()
    await project.round()
    project.reader.jobs[101] = job_view(101, "e101")
    await project.round()
    assert project.told() == [
        ("r101", "Executing"),
        ("r101", "Transient"),
        ("r101", "Transient"),
        ("r101", "Executing"),
    ]


async def test_a_failed_listing_is_reported_to_all_whose_jobs_run_and_to_no_others() -> None:
    project = Project()
    project.start(MANY)
    project.end(101)
    await project.round()
    project.told()
    project.reader.listing_failures = [CloudError(failure(FailureKind.THROTTLED))]
    await project.round()
    assert sorted(project.told()) == [(f"r{n}", "Throttled") for n in MANY if n != 101]


async def test_one_job_that_fails_hides_no_other() -> None:
    project = Project()
    project.start([101, 102, 103])
    project.reader.jobs[102] = ValueError("nobody foresaw this")
    await project.round()
    assert sorted(project.told()) == [
        ("r101", "Executing"),
        ("r102", "Transient"),
        ("r103", "Executing"),
    ]


async def test_a_job_that_nobody_follows_any_more_is_not_reported() -> None:
    project = Project()
    project.start([101])
    project.reader.gate.clear()
    under_way = asyncio.create_task(project.follower.round())
    await until_idle()
    project.follower.unfollow("r101")
    project.reader.gate.set()
    await under_way
    assert project.reader.asked == ["job 101"]
    assert project.told() == []


async def test_an_answer_about_the_job_before_is_not_taken_for_the_new_one() -> None:
    project = Project()
    project.start([101])
    project.reader.gate.clear()
    under_way = asyncio.create_task(project.follower.round())
    await until_idle()
    project.reader.jobs[102] = job_view(102, "e101")
    project.follower.follow("r101", "e101", 102)
    project.reader.gate.set()
    await under_way
    assert project.told() == []
    await project.round()
    assert [news.job_id for _, news in project.news if isinstance(news, JobView)] == [102]


async def test_following_the_same_job_again_changes_nothing() -> None:
    project = Project()
    project.start([101])
    await project.round()
    project.follower.follow("r101", "e101", 101)
    await project.round()
    assert project.told() == [("r101", "Executing")]
    assert len(project.follower) == 1


async def test_with_nothing_to_follow_no_round_is_made() -> None:
    project = Project(interval=0)
    rounds = []

    async def count() -> None:
        rounds.append(1)

    project.follower.round = count  # type: ignore[method-assign]
    running = asyncio.create_task(project.follower.run())
    await until_idle()
    assert rounds == []
    project.follower.follow("r101", "e101", 101)
    await until_idle()
    assert len(rounds) > 1
    project.follower.unfollow("r101")
    await until_idle()
    made = len(rounds)
    await until_idle()
    assert len(rounds) == made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_round_that_fails_for_an_unforeseen_reason_is_followed_by_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    project = Project(interval=0)
    project.start(MANY)
    project.reader.listing_failures = [ValueError("nobody foresaw this")]
    running = asyncio.create_task(project.follower.run())
    await until_idle()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert ("r101", "Executing") in project.told()
    assert "nobody foresaw this" in caplog.text


async def test_rounds_begin_an_interval_apart_and_a_long_one_is_followed_by_a_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = Project(interval=10)
    project.start([101])
    rests: list[float] = []
    lasting = iter([0.0, 3.0, 9.0, 25.0])

    async def last() -> None:
        project.time.advance(next(lasting))

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) > 4:
            raise asyncio.CancelledError

    project.follower.round = last  # type: ignore[method-assign]
    monkeypatch.setattr(asyncio, "sleep", rest)
    with pytest.raises(asyncio.CancelledError):
        await project.follower.run()
    assert rests == [10, 10, 7, 5, 5]
