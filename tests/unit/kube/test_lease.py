"""Leader election, against a Lease that behaves and an API server that does not.

The clock for deadlines moves only when the test says so; only the short waits between looks are
real.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient

from cse_operator.clock import boottime
from cse_operator.kube.lease import LeaderElector, LeaseTimes
from support.api_server_stub import Answer, ApiServerStub, hang_up, refusal, reply, silence

Connected = tuple[ApiServerStub, ApiClient]
TIMES = LeaseTimes(lease_duration=15, renew_deadline=10.0, retry_period=0.01)


@dataclass
class Clock:
    """A clock that moves only when the test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class LeaseServer:
    """One Lease with the API server's precondition, or with whatever `instead` answers."""

    lease: dict[str, Any] | None = None
    instead: Answer | None = None
    writes: int = 0
    waiting: list[tuple[Callable[[], bool], asyncio.Event]] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        answer = self.instead or await self.regular(request)
        self._tell()
        return await answer(request)

    async def regular(self, request: web.Request) -> Answer:
        body = json.loads(await request.text() or "{}")
        if request.method == "POST":
            if self.lease is not None:
                return refusal(409, "AlreadyExists")
            return self._store(body["spec"], {"name": body["metadata"]["name"]})
        if self.lease is None:
            return refusal(404, "NotFound")
        if request.method == "PATCH":
            wanted = body["metadata"]["resourceVersion"]
            if wanted != self.lease["metadata"]["resourceVersion"]:
                return refusal(409, "Conflict")
            return self._store({**self.lease["spec"], **body["spec"]}, {})
        return reply(body=self.lease)

    def _store(self, spec: dict[str, Any], metadata: dict[str, Any]) -> Answer:
        self.writes += 1
        metadata = {**metadata, "resourceVersion": str(self.writes)}
        self.lease = {"metadata": metadata, "spec": spec}
        return reply(body=self.lease)

    def take(self, holder: str, duration: int = 15) -> None:
        """Give the Lease to another holder, as of now."""
        self._store({"holderIdentity": holder, "leaseDurationSeconds": duration}, {})
        assert self.lease is not None
        self.lease["spec"]["renewTime"] = f"renewal {self.writes}"

    @property
    def holder(self) -> str:
        assert self.lease is not None
        holder: str = self.lease["spec"]["holderIdentity"]
        return holder

    def _tell(self) -> None:
        for holds, event in self.waiting:
            if holds():
                event.set()

    async def requests(self, count: int, server: ApiServerStub) -> None:
        """Wait for `count` more requests."""
        target = len(server.asked) + count
        event = asyncio.Event()
        self.waiting.append((lambda: len(server.asked) >= target, event))
        await event.wait()


@dataclass
class Candidate:
    """An elector with its task and its callbacks' record."""

    elector: LeaderElector
    started: asyncio.Event
    lost: asyncio.Event
    starts: list[float]


@asynccontextmanager
async def candidate(
    client: ApiClient, clock: Clock, identity: str = "me", times: LeaseTimes = TIMES
) -> AsyncIterator[Candidate]:
    """A candidate for the Lease until the block ends."""
    started, lost, starts = asyncio.Event(), asyncio.Event(), list[float]()

    def on_started() -> None:
        starts.append(clock())
        started.set()

    elector = LeaderElector(
        client,
        namespace="cse-system",
        name="cse-operator",
        identity=identity,
        on_started=on_started,
        on_lost=lost.set,
        times=times,
        clock=clock,
    )
    task = asyncio.create_task(elector.run())
    try:
        yield Candidate(elector, started, lost, starts)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def leases(connected: Connected) -> LeaseServer:
    """The Lease behind the stub."""
    server, _ = connected
    server.otherwise = leases = LeaseServer()
    return leases


async def test_the_first_candidate_makes_the_lease_and_leads(
    connected: Connected, leases: LeaseServer
) -> None:
    server, client = connected
    async with candidate(client, Clock()) as me:
        assert not me.elector.is_leader()
        await me.started.wait()
        assert me.elector.is_leader()
    created = next(asked for asked in server.asked if asked.method == "POST")
    assert created.path == "/apis/coordination.k8s.io/v1/namespaces/cse-system/leases"
    assert created.body["metadata"] == {"name": "cse-operator"}
    assert created.body["spec"]["holderIdentity"] == "me"
    assert created.body["spec"]["leaseDurationSeconds"] == 15
    assert created.body["spec"]["leaseTransitions"] == 0


async def test_a_leader_leads_no_longer_than_the_deadline_after_its_last_renewal(
    connected: Connected, leases: LeaseServer
) -> None:
    _, client = connected
    clock = Clock()
    async with candidate(client, clock) as me:
        await me.started.wait()
        leases.instead = refusal(503, "ServiceUnavailable")
        assert me.elector.remaining() == 10.0
        clock.now += 9.999
        assert me.elector.is_leader()
        clock.now += 0.001
        # No task could run in between.
        assert not me.elector.is_leader()
        assert me.elector.remaining() == 0.0
        await me.lost.wait()


async def test_a_renewal_extends_the_term_from_when_it_was_sent(
    connected: Connected, leases: LeaseServer
) -> None:
    server, client = connected
    clock = Clock()
    never = asyncio.Event()
    async with candidate(client, clock) as me:
        await me.started.wait()
        answered = asyncio.Event()
        asked = asyncio.Event()

        async def slow(request: web.Request) -> web.StreamResponse:
            asked.set()
            await answered.wait()
            leases.instead = silence(never)  # for the next renewal
            return await (await leases.regular(request))(request)

        clock.now += 5.0
        leases.instead = slow
        await asked.wait()
        clock.now += 3.0  # the renewal takes that long
        answered.set()
        await leases.requests(1, server)
        # Sent at 5 s, answered at 8 s: the term ends at 15 s, not at 18 s.
        assert me.elector.remaining() == 7.0
        assert len(me.starts) == 1
    never.set()


async def test_a_renewal_that_succeeds_after_the_deadline_is_none(
    connected: Connected, leases: LeaseServer
) -> None:
    _, client = connected
    clock = Clock()
    async with candidate(client, clock) as me:
        await me.started.wait()
        me.started.clear()
        answered = asyncio.Event()
        asked = asyncio.Event()

        async def late(request: web.Request) -> web.StreamResponse:
            asked.set()
            await answered.wait()
            leases.instead = None
            return await leases(request)

        leases.instead = late
        await asked.wait()
        clock.now += 10.0
        assert not me.elector.is_leader()
        answered.set()
        await me.lost.wait()
        # The candidate still holds the Lease, so it may lead again; the new term is announced.
        await me.started.wait()
        assert me.starts == [1000.0, 1010.0]


async def test_a_process_that_was_stopped_is_no_leader_when_it_wakes(
    connected: Connected, leases: LeaseServer
) -> None:
    _, client = connected
    clock = Clock()
    async with candidate(client, clock) as me:
        await me.started.wait()
        clock.now += 3600.0
        leases.take("another")
        assert not me.elector.is_leader()
        await me.lost.wait()
        assert leases.holder == "another"


async def test_a_silent_api_server_costs_the_lead_and_not_the_candidate(
    connected: Connected, leases: LeaseServer
) -> None:
    server, client = connected
    clock = Clock()
    never = asyncio.Event()
    times = LeaseTimes(lease_duration=1, renew_deadline=0.4, retry_period=0.01)
    async with candidate(client, clock, times=times) as me:
        await me.started.wait()
        me.started.clear()
        leases.instead = silence(never)
        await leases.requests(2, server)  # the second renewal: the first was given up
        clock.now += 0.4
        await me.lost.wait()
        leases.instead = None
        await me.started.wait()
        assert me.elector.is_leader()
    never.set()


async def test_a_failed_renewal_is_tried_again_before_the_deadline(
    connected: Connected, leases: LeaseServer
) -> None:
    server, client = connected
    clock = Clock()
    async with candidate(client, clock) as me:
        await me.started.wait()
        for trouble in (refusal(500, ""), hang_up, refusal(429, "TooManyRequests")):
            leases.instead = trouble
            await leases.requests(2, server)
        leases.instead = None
        clock.now += 9.0
        await leases.requests(3, server)
        assert me.elector.remaining() == 10.0
        assert not me.lost.is_set()


async def test_another_holder_is_left_alone_until_it_was_seen_idle_for_its_duration(
    connected: Connected, leases: LeaseServer
) -> None:
    server, client = connected
    clock = Clock()
    leases.take("another", duration=20)
    async with candidate(client, clock) as me:
        await leases.requests(2, server)
        clock.now += 19.0
        await leases.requests(2, server)
        leases.take("another", duration=20)  # a sign of life: the wait starts again
        await leases.requests(2, server)
        clock.now += 19.0
        await leases.requests(2, server)
        assert not me.elector.is_leader()
        assert leases.holder == "another"
        clock.now += 1.1
        await me.started.wait()
        assert leases.holder == "me"
        assert leases.lease is not None
        assert leases.lease["spec"]["leaseTransitions"] == 1


async def test_the_holders_clock_does_not_matter(connected: Connected, leases: LeaseServer) -> None:
    server, client = connected
    clock = Clock()
    leases.take("another")
    assert leases.lease is not None
    leases.lease["spec"]["renewTime"] = "1999-01-01T00:00:00.000000Z"
    async with candidate(client, clock) as me:
        await leases.requests(3, server)
        assert not me.elector.is_leader()


async def test_a_lease_that_was_given_up_is_taken_at_once(
    connected: Connected, leases: LeaseServer
) -> None:
    _, client = connected
    leases.take("")
    async with candidate(client, Clock()) as me:
        await me.started.wait()
        assert leases.holder == "me"


async def test_stopping_gives_the_lease_up(connected: Connected, leases: LeaseServer) -> None:
    _, client = connected
    clock = Clock()
    # Giving it up may take one retry period, and 0.01 s is too short on a busy machine.
    async with candidate(client, clock, times=LeaseTimes()) as me:
        await me.started.wait()
    assert not me.elector.is_leader()
    assert leases.holder == ""
    assert not me.lost.is_set()
    async with candidate(client, clock, identity="successor") as successor:
        await successor.started.wait()
        assert leases.holder == "successor"


async def test_stopping_does_not_take_the_lease_from_another(
    connected: Connected, leases: LeaseServer
) -> None:
    server, client = connected
    clock = Clock()
    leases.take("another")
    async with candidate(client, clock) as me:
        await leases.requests(2, server)
    assert leases.holder == "another"
    assert not me.started.is_set()


async def test_of_two_candidates_at_once_one_leads(
    connected: Connected, leases: LeaseServer
) -> None:
    server, client = connected
    clock = Clock()
    async with candidate(client, clock, "a") as a, candidate(client, clock, "b") as b:
        starts = [asyncio.create_task(each.started.wait()) for each in (a, b)]
        await asyncio.wait(starts, return_when=asyncio.FIRST_COMPLETED)
        await leases.requests(4, server)
        assert [a.elector.is_leader(), b.elector.is_leader()].count(True) == 1
        first, second = (a, b) if a.elector.is_leader() else (b, a)
        clock.now += 9.0
        await leases.requests(8, server)
        assert first.elector.is_leader()
        assert not second.started.is_set()
        for start in starts:
            start.cancel()


async def test_a_leader_whose_lease_was_taken_or_deleted_stops_at_once(
    connected: Connected, leases: LeaseServer
) -> None:
    _, client = connected
    clock = Clock()
    async with candidate(client, clock) as me:
        await me.started.wait()
        leases.take("another")
        await me.lost.wait()
        assert not me.elector.is_leader()
        assert leases.holder == "another"
    leases.take("")
    async with candidate(client, clock) as me:
        await me.started.wait()
        leases.lease = None
        await me.lost.wait()


async def test_a_change_by_someone_who_does_not_take_it_is_no_reason_to_stop(
    connected: Connected, leases: LeaseServer
) -> None:
    server, client = connected
    async with candidate(client, Clock()) as me:
        await me.started.wait()
        assert leases.lease is not None
        leases.lease["metadata"]["resourceVersion"] = "999"
        await leases.requests(6, server)
        assert me.elector.is_leader()
        assert not me.lost.is_set()


async def test_what_is_wrong_is_said_once(
    connected: Connected, leases: LeaseServer, caplog: pytest.LogCaptureFixture
) -> None:
    server, client = connected
    leases.instead = refusal(403, "Forbidden", "may not get leases")
    with caplog.at_level(logging.WARNING, logger="cse_operator.kube.lease"):
        async with candidate(client, Clock()) as me:
            await leases.requests(5, server)
            assert not me.elector.is_leader()
    assert caplog.messages == ["The Lease: GET leases cse-system/cse-operator: may not get leases"]


@pytest.mark.parametrize(("duration", "deadline", "period"), [(10, 10, 2), (15, 4, 2), (15, 10, 0)])
def test_times_that_promise_nothing_are_refused(
    duration: int, deadline: float, period: float
) -> None:
    with pytest.raises(ValueError, match="lease duration > renew deadline > twice the retry"):
        LeaseTimes(lease_duration=duration, renew_deadline=deadline, retry_period=period)


def test_the_clock_goes_on() -> None:
    assert boottime() <= boottime()
