"""Leader election on a Lease: who may act, and until when.

The official client has a `leaderelection` module, and it does not keep the promise that a
leader needs most, to know by itself when it stops being one (read in 37.0.2): a renewal has no
time-out of its own (five minutes by default) and the deadline is looked at only between
renewals, so a leader behind a silent API server goes on for minutes; deadlines are measured
by the wall clock, which steps; and times are local ones with a "Z" behind them, which other
readers of the Lease take for UTC. So this is a small one of our own:

- A leader is one only until `renew_deadline` after it *sent* its last successful renewal. That
  moment is a number, and `is_leader` compares it with the clock each time it is asked: no
  task has to run for it to become False. The clock is `CLOCK_BOOTTIME`, which goes on while
  the process is stopped (SIGSTOP) and while the machine is suspended.
- Others wait until they have themselves seen the Lease unchanged for the duration it names,
  by their own clock. No clock is compared with another machine's.
- `renew_deadline` is shorter than `lease_duration` by a margin in which a call that the old
  leader had just sent can still end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from kubernetes.aio.client import ApiClient

from cse_operator.api.names import FIELD_MANAGER
from cse_operator.clock import boottime, utc_now
from cse_operator.kube import errors
from cse_operator.kube.api_call import MERGE_PATCH, call

logger = logging.getLogger(__name__)

_LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
_LEASE: Final = f"{_LEASES}/{{name}}"
_QUERY: Final = (("fieldManager", FIELD_MANAGER),)

# Up to a fifth is added to each wait, so that many candidates do not ask in step.
_JITTER: Final = 0.2


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How long a leader may lead without a renewal, in seconds.

    A new leader comes at most `lease_duration` and two `retry_period`s after the old one's last
    renewal: it has to see that one, and to look again when it has run out.
    """

    lease_duration: int = 15
    """How long others wait after they saw the last renewal. Kubernetes keeps whole seconds."""
    renew_deadline: float = 10.0
    """How long a leader leads after it sent the last renewal that succeeded."""
    retry_period: float = 2.0
    """How long it waits between two renewals, or two looks at another's Lease."""

    @classmethod
    def within(cls, lease_duration: int) -> LeaseTimes:
        """The usual proportions for a lease of so many seconds."""
        return cls(lease_duration, lease_duration * 2 / 3, lease_duration * 2 / 15)

    def __post_init__(self) -> None:
        if not self.lease_duration > self.renew_deadline > self.retry_period * 2 > 0:
            raise ValueError(
                "leader election needs lease duration > renew deadline > twice the retry period, "
                f"and not {self.lease_duration} s, {self.renew_deadline} s, {self.retry_period} s"
            )


class LeaderElector:
    """One candidate for a Lease. `run` it beside the work that only the leader may do."""

    def __init__(
        self,
        api_client: ApiClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        on_started: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
        times: LeaseTimes | None = None,
        clock: Callable[[], float] = boottime,
    ) -> None:
        """Make a candidate.

        Args:
            api_client: The connection to the cluster.
            namespace: The Lease's namespace.
            name: The Lease's name.
            identity: Who this is: unique per process (a Pod's name and a random part), because
                two holders of one identity would both believe themselves to be the leader.
            on_started: Called when this candidate becomes the leader. It must not block: renewing
                waits for it.
            on_lost: Called when it stops being the leader against its will.
            times: How long a leader leads without a renewal.
            clock: Seconds that go on while the process is stopped or the machine asleep.
        """
        self._api_client = api_client
        self._names = {"namespace": namespace, "name": name}
        self._identity = identity
        self._on_started = on_started
        self._on_lost = on_lost
        self._times = times or LeaseTimes()
        self._clock = clock
        self._leads_until: float | None = None
        self._lease: dict[str, Any] = {}
        self._seen_spec: dict[str, Any] | None = None
        self._seen_at = 0.0
        self._complaint = ""

    def is_leader(self) -> bool:
        """Whether this process may act as the leader at this very moment."""
        return self.remaining() > 0.0

    def remaining(self) -> float:
        """Seconds for which this process is the leader even if no renewal succeeds; 0 if not.

        Something that takes longer than this should not be begun: it could end under another
        leader.
        """
        if self._leads_until is None:
            return 0.0
        return max(0.0, self._leads_until - self._clock())

    async def run(self) -> None:
        """Stand for the Lease, hold it, and stand again when it was lost, until cancelled.

        Cancelled while it leads, it gives the Lease up so that another can lead at once: what
        only the leader may do must have ended before. `on_lost` is not called then.
        """
        try:
            while True:
                await self._acquire()
                logger.info("This operator (%s) leads now.", self._identity)
                self._on_started()
                await self._hold()
                self._leads_until = None
                logger.warning("This operator (%s) no longer leads.", self._identity)
                self._on_lost()
        finally:
            await self._release()

    async def _acquire(self) -> None:
        """Return once the Lease is ours."""
        while True:
            sent = self._clock()
            if await self._attempt(self._take):
                self._leads_until = sent + self._times.renew_deadline
                # The answer may have taken so long that the term is over before it began.
                if self.is_leader():
                    return
            await self._pause()

    async def _hold(self) -> None:
        """Return once the deadline has passed without a renewal, or the Lease is not ours."""
        while True:
            await self._pause()
            sent = self._clock()
            renewed = self.is_leader() and await self._attempt(self._renew)
            # A success that comes too late is none: is_leader has said False in between.
            if not self.is_leader() or self._holder() != self._identity:
                return
            if renewed:
                self._leads_until = sent + self._times.renew_deadline

    async def _attempt(self, attempt: Callable[[], Awaitable[bool]]) -> bool:
        """Try something that may fail by itself: the next attempt comes anyway."""
        try:
            # Two attempts fit into a deadline, so that one dead connection is no lost Lease.
            async with asyncio.timeout(self._times.renew_deadline / 4):
                succeeded = await attempt()
        except TimeoutError:
            self._complain("no answer from the API server in time")
        except errors.KubeError as error:
            self._complain(error.sentence)
        else:
            self._complaint = ""
            return succeeded
        return False

    async def _take(self) -> bool:
        """Make the Lease ours if it is free, or if its holder has let it run out."""
        if not await self._look():
            await self._create()
            return True
        if self._holder() not in ("", self._identity) and not self._ran_out():
            return False
        transitions = self._spec().get("leaseTransitions") or 0
        await self._patch(
            {**self._terms(), "acquireTime": _now(), "leaseTransitions": transitions + 1}
        )
        return True

    async def _renew(self) -> bool:
        """Say that we are still here, if the Lease is still ours."""
        with contextlib.suppress(errors.Conflict, errors.Gone):
            await self._patch(self._terms())
            return True
        # It was changed under our hands, which a renewal that was applied but not answered
        # does too. Whoever holds it now, it is looked at before anything else.
        if not await self._look():
            self._leads_until = None
            return False
        if self._holder() == self._identity:
            await self._patch(self._terms())
            return True
        return False

    async def _look(self) -> bool:
        """Read the Lease, and remember since when it has been as it is. False: there is none."""
        try:
            self._lease = await call(self._api_client, "GET", _LEASE, names=self._names)
        except errors.Gone:
            return False
        if self._spec() != self._seen_spec:
            self._seen_spec = self._spec()
            self._seen_at = self._clock()
        return True

    async def _create(self) -> None:
        self._lease = await call(
            self._api_client,
            "POST",
            _LEASES,
            names={"namespace": self._names["namespace"]},
            query=_QUERY,
            body={
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._names["name"]},
                "spec": {**self._terms(), "acquireTime": _now(), "leaseTransitions": 0},
            },
        )

    async def _patch(self, spec: dict[str, Any]) -> None:
        """Change the Lease if nobody has since it was last seen here."""
        self._lease = await call(
            self._api_client,
            "PATCH",
            _LEASE,
            names=self._names,
            query=_QUERY,
            body={
                "metadata": {"resourceVersion": self._lease["metadata"]["resourceVersion"]},
                "spec": spec,
            },
            content_type=MERGE_PATCH,
        )

    async def _release(self) -> None:
        """Give the Lease up, if it is still ours; the next leader need not wait then."""
        was_leader = self.is_leader()
        self._leads_until = None
        if not was_leader:
            return
        # Where this fails, the Lease runs out by itself.
        with contextlib.suppress(errors.KubeError, TimeoutError):
            async with asyncio.timeout(self._times.retry_period):
                await self._patch(
                    {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
                )

    def _terms(self) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._times.lease_duration,
            "renewTime": _now(),
        }

    def _spec(self) -> dict[str, Any]:
        return self._lease.get("spec") or {}

    def _holder(self) -> str:
        return self._spec().get("holderIdentity") or ""

    def _ran_out(self) -> bool:
        """Whether this candidate itself saw no change for the duration the Lease names."""
        duration = self._spec().get("leaseDurationSeconds") or self._times.lease_duration
        return self._clock() - self._seen_at > duration

    def _complain(self, why: str) -> None:
        """Say once what is wrong, not every few seconds for as long as it is."""
        if why != self._complaint:
            self._complaint = why
            logger.warning("The Lease: %s", why)

    async def _pause(self) -> None:
        await asyncio.sleep(self._times.retry_period * (1 + _JITTER * random.random()))  # noqa: S311


def _now() -> str:
    """The time as the API writes it; for people to read, nothing here is decided by it."""
    return utc_now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
