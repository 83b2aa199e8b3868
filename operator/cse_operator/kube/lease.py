"""Leader election on a Lease: which process may act, and until when.

The official client's `leaderelection` module does not let a leader know by itself when it stops
leading (read in 37.0.2). A renewal sets no time-out (the default is five minutes) and the deadline
is checked only between renewals, so a leader behind a silent API server goes on for minutes.
Deadlines use the wall clock, which steps. Times are local but end in "Z", so other readers of the
Lease take them for UTC. Therefore this module implements leader election itself:

- A leader leads only until `renew_deadline` after it *sent* its last successful renewal. That
  moment is a number, and each call of `is_leader` compares it with the clock, so no task has to
  run for `is_leader` to become False. The clock is `CLOCK_BOOTTIME`, which goes on while the
  process is stopped (SIGSTOP) and while the machine is suspended.
- Other candidates wait until they have seen the Lease unchanged for its own duration, by their
  own clock. No clock is compared with another machine's.
- `renew_deadline` is shorter than `lease_duration`, so that a call which the old leader has just
  sent can still end before a new one leads.
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

# Up to a fifth is added to each wait, so that many candidates do not ask at the same time.
_JITTER: Final = 0.2


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """The times of leader election, in seconds.

    A new leader starts at most `lease_duration` and two `retry_period`s after the old leader's last
    renewal: it has to see that renewal, and to look again after the Lease has expired.
    """

    lease_duration: int = 15
    """How long candidates wait after they saw the last renewal. Kubernetes keeps whole seconds."""
    renew_deadline: float = 10.0
    """How long a leader leads after it sent its last successful renewal."""
    retry_period: float = 2.0
    """The wait between two renewals of a leader, or two looks of a candidate."""

    @classmethod
    def within(cls, lease_duration: int) -> LeaseTimes:
        """Return times in the usual proportions for a lease duration in seconds."""
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
            identity: This process's unique name (a Pod's name and a random part): two processes
                with the same identity would both believe that they lead.
            on_started: Called when this candidate becomes the leader. It must not block, because
                the renewals wait for it.
            on_lost: Called when this candidate loses the Lease.
            times: The times of the election.
            clock: Seconds on a clock that goes on while the process is stopped or the machine is
                suspended.
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
        """Whether this process may act as the leader now."""
        return self.remaining() > 0.0

    def remaining(self) -> float:
        """Return the seconds that this process leads even if no renewal succeeds; 0 if it does not.

        Do not start work that takes longer: it could end after another leader has started.
        """
        if self._leads_until is None:
            return 0.0
        return max(0.0, self._leads_until - self._clock())

    async def run(self) -> None:
        """Acquire the Lease, hold it, and acquire it again after losing it, until cancelled.

        If cancelled while leading, release the Lease so that another candidate can lead at once,
        and do not call `on_lost`. All work of the leader must have ended before.
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
                # The answer may have taken longer than the deadline.
                if self.is_leader():
                    return
            await self._pause()

    async def _hold(self) -> None:
        """Return once the deadline has passed without a renewal, or the Lease is not ours."""
        while True:
            await self._pause()
            sent = self._clock()
            renewed = self.is_leader() and await self._attempt(self._renew)
            # A success after the deadline does not count: is_leader was False in between.
            if not self.is_leader() or self._holder() != self._identity:
                return
            if renewed:
                self._leads_until = sent + self._times.renew_deadline

    async def _attempt(self, attempt: Callable[[], Awaitable[bool]]) -> bool:
        """Run a step that may fail: log its error and return False, and the caller tries again."""
        try:
            # Two attempts fit into a deadline, so that one dead connection does not lose the Lease.
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
        """Take the Lease if it does not exist, is free, or has expired; return whether we did."""
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
        """Renew the Lease if it is still ours; return whether we did."""
        with contextlib.suppress(errors.Conflict, errors.Gone):
            await self._patch(self._terms())
            return True
        # The Lease has changed since we read it. Our own renewal may be the reason, if it was
        # applied but its answer was lost. So read the Lease before deciding.
        if not await self._look():
            self._leads_until = None
            return False
        if self._holder() == self._identity:
            await self._patch(self._terms())
            return True
        return False

    async def _look(self) -> bool:
        """Read the Lease, and note when its content last changed; return whether it exists."""
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
        """Change the Lease, unless another client has changed it since it was last read."""
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
        """Release the Lease if it is still ours, so that the next leader need not wait."""
        was_leader = self.is_leader()
        self._leads_until = None
        if not was_leader:
            return
        # If this fails, the Lease expires by itself.
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
        """Whether this candidate has seen no change for the duration in the Lease."""
        duration = self._spec().get("leaseDurationSeconds") or self._times.lease_duration
        return self._clock() - self._seen_at > duration

    def _complain(self, why: str) -> None:
        """Log a problem once, not at each attempt while it lasts."""
        if why != self._complaint:
            self._complaint = why
            logger.warning("The Lease: %s", why)

    async def _pause(self) -> None:
        await asyncio.sleep(self._times.retry_period * (1 + _JITTER * random.random()))  # noqa: S311


def _now() -> str:
    """Return the current time in the API's format; only for people, no decision uses it."""
    return utc_now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
