"""Many secrets for one access key or user together stay below the vendor's lock."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cse_operator.cloud.auth.breaker import CredentialBreaker, RefusalBudget
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.fairness import Turn
from cse_operator.core.failure import Failure, FailureKind
from support.cloud_calls import FakeTime

REFUSAL = Failure(FailureKind.UNAUTHENTICATED, "verify aksk signature fail", 401, "APIGW.0301")
MOST = 4
WINDOW = 900


class Identity:
    """An access key, its secrets, and the refusals that the vendor counted."""

    def __init__(self, time: FakeTime) -> None:
        self.time = time
        self.budget = RefusalBudget(clock=time)
        self.refused_at: list[float] = []
        self._numbers = itertools.count()

    def secret(self, cooling: float = 300.0, secret: str = "") -> CredentialBreaker:
        """Return the breaker of one more secret, or of a known secret in another project."""
        return CredentialBreaker(
            secret or f"secret-{next(self._numbers)}",
            self.budget,
            cooling=cooling,
            clock=self.time,
            jitter=lambda: 0.0,
        )

    async def call(self, breaker: CredentialBreaker, *, good: bool = False) -> Failure | None:
        """Make a call with one of the secrets; return why it was not sent."""
        try:
            async with breaker.attempt():
                await asyncio.sleep(0)
                if good:
                    self.refused_at.clear()
                    breaker.accepted()
                else:
                    self.refused_at.append(self.time.now)
                    breaker.refused(REFUSAL)
        except CloudError as error:
            return error.failure
        return None


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def identity(time: FakeTime) -> Identity:
    return Identity(time)


async def test_many_wrong_secrets_of_one_key_are_no_more_refusals_than_it_survives(
    identity: Identity, time: FakeTime
) -> None:
    told = await asyncio.gather(*(identity.call(identity.secret()) for _ in range(20)))
    assert len(identity.refused_at) == MOST
    held_back = [failure for failure in told if failure is not None]
    assert len(held_back) == 16
    for failure in held_back:
        assert failure.kind is FailureKind.UNAUTHENTICATED
        assert "one more refusal might lock it" in failure.message
        assert "aksk" not in failure.message, "another tenant's refusal was told"
        assert failure.retry_after == pytest.approx(WINDOW)
    time.advance(WINDOW)
    await asyncio.gather(*(identity.call(identity.secret()) for _ in range(20)))
    assert len(identity.refused_at) == 2 * MOST


async def test_a_new_secret_is_tried_in_no_more_projects_at_once_than_it_survives(
    identity: Identity,
) -> None:
    projects = [identity.secret(secret="new") for _ in range(8)]
    await asyncio.gather(*(identity.call(project) for project in projects))
    assert len(identity.refused_at) == MOST


async def test_a_new_secret_is_tried_although_old_ones_go_on_being_refused(
    identity: Identity, time: FakeTime
) -> None:
    old = [identity.secret(cooling=1) for _ in range(2)]
    for _ in range(50):
        for breaker in old:
            await identity.call(breaker)
        time.advance(2)
    assert len(identity.refused_at) == MOST - 1
    assert await identity.call(identity.secret(), good=True) is None


async def test_a_refused_secret_that_waits_for_the_others_says_so_in_the_vendors_words(
    identity: Identity, time: FakeTime
) -> None:
    breaker = identity.secret(cooling=1)
    messages = set()
    for _ in range(20):
        failure = await identity.call(breaker)
        if failure is not None:
            messages.add(failure.message)
        time.advance(0.5)
    [message] = messages
    assert message.startswith("verify aksk signature fail; ")


async def test_wrong_secrets_do_not_keep_out_the_right_one(
    identity: Identity, time: FakeTime
) -> None:
    right = identity.secret()
    assert await identity.call(right, good=True) is None
    for _ in range(10):
        time.advance(120)
        await asyncio.gather(*(identity.call(identity.secret()) for _ in range(10)))
        assert len(identity.refused_at) == MOST
        assert await identity.call(right, good=True) is None


async def test_a_success_has_the_refusals_before_it_forgotten(identity: Identity) -> None:
    for _ in range(MOST - 1):
        await identity.call(identity.secret())
    await identity.call(identity.secret(), good=True)
    for _ in range(MOST):
        assert await identity.call(identity.secret()) is None
    assert await identity.call(identity.secret()) is not None


async def test_a_secret_that_was_withdrawn_is_not_tried_everywhere_at_once(
    identity: Identity, time: FakeTime
) -> None:
    projects = [identity.secret(secret="good") for _ in range(8)]
    for project in projects:
        await identity.call(project, good=True)
    time.advance(3600)
    await asyncio.gather(*(identity.call(project) for project in projects))
    assert len(identity.refused_at) == MOST


async def test_a_call_without_a_verdict_gives_its_attempt_back(identity: Identity) -> None:
    for _ in range(2 * MOST):
        with pytest.raises(ConnectionError):
            async with identity.secret().attempt():
                raise ConnectionError
    assert await identity.call(identity.secret()) is None


async def test_two_identities_have_nothing_to_do_with_each_other(time: FakeTime) -> None:
    one, other = Identity(time), Identity(time)
    for _ in range(2 * MOST):
        await one.call(one.secret())
    assert await other.call(other.secret()) is None


async def test_a_namespace_whose_projects_do_not_answer_leaves_an_attempt_to_another_one(
    identity: Identity,
) -> None:
    begun = []

    async def call_that_hangs(project: str) -> None:
        async with identity.secret(secret="shared").attempt(Turn(namespace="noisy"), project):
            begun.append(project)
            await asyncio.Event().wait()

    hung = [asyncio.create_task(call_that_hangs(f"project-{number}")) for number in range(400)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        async with identity.secret(secret="shared").attempt(Turn(namespace="lone"), "project"):
            assert begun == ["project-0", "project-1"]
    for task in hung:
        task.cancel()
    await asyncio.gather(*hung, return_exceptions=True)
    assert begun == ["project-0", "project-1"], "one was tried although it was cancelled"


async def test_another_secret_waits_for_the_verdict_on_those_under_way(identity: Identity) -> None:
    verdict = asyncio.Event()

    async def slow_call() -> None:
        async with identity.secret().attempt():
            await verdict.wait()

    async with asyncio.timeout(10), asyncio.TaskGroup() as calls:
        for _ in range(MOST):
            calls.create_task(slow_call())
        await asyncio.sleep(0)
        late = calls.create_task(identity.call(identity.secret()))
        for _ in range(3):
            await asyncio.sleep(0)
        assert identity.refused_at == []
        verdict.set()
    assert late.result() is None


@given(
    steps=st.lists(st.tuples(st.floats(0, 600), st.lists(st.integers(0, 7), max_size=8))),
    good=st.sets(st.integers(0, 7), max_size=1),
)
async def test_whatever_is_tried_refusals_in_a_row_stay_below_the_lock(
    steps: list[tuple[float, list[int]]], good: set[int]
) -> None:
    time = FakeTime(0)
    identity = Identity(time)
    secrets = [identity.secret() for _ in range(8)]
    for pause, tried in steps:
        time.advance(pause)
        await asyncio.gather(
            *(identity.call(secrets[number], good=number in good) for number in tried)
        )
        lately = [moment for moment in identity.refused_at if moment > time.now - WINDOW]
        assert len(lately) <= MOST


async def test_a_wrong_project_with_a_good_key_closes_nothing_for_the_others(
    identity: Identity,
) -> None:
    mistyped, right, another = (identity.secret(secret="good") for _ in range(3))
    assert await identity.call(mistyped) is None
    assert await identity.call(mistyped) is not None
    for _ in range(3):
        assert await identity.call(right, good=True) is None
        assert await identity.call(another, good=True) is None
        assert await identity.call(mistyped) is not None


async def test_a_secret_that_works_is_tried_in_a_new_project_beside_wrong_ones(
    identity: Identity,
) -> None:
    assert await identity.call(identity.secret(secret="good"), good=True) is None
    for _ in range(MOST):
        await identity.call(identity.secret())
    assert await identity.call(identity.secret()) is not None
    assert await identity.call(identity.secret(secret="good"), good=True) is None


async def test_a_quiet_quarter_of_an_hour_leaves_nothing_to_remember(
    identity: Identity, time: FakeTime
) -> None:
    breaker = identity.secret()
    await identity.call(breaker)
    assert breaker.remembers
    assert identity.budget.remembers
    time.advance(WINDOW)
    assert not breaker.remembers
    assert not identity.budget.remembers
