"""Ownership: one engine, one owner, one call at a time.

Several resources may name the same engine. A resource may own it once it has seen the engine with
its own credentials; `status.engine` is the mark. The oldest of these resources is the owner, but a
resource with an open upgrade record goes before all others: only its own record can tell what
became of its call. A resource in deletion, and one whose looks have failed for long, leaves the
engine to the next.

If several resources name the engine, the owner has its mark written and waits one outcome grace
before it calls, so that an older resource can show itself. A single resource never waits. A heap
finds the owner, so a change costs the same with four thousand resources that name one engine.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from cse_operator.clock import boottime
from cse_operator.core.observation import Owner

EngineKey = tuple[str, str, str]
"""Endpoint, project and id of an engine: two resources with the same key name the same engine."""

BLIND_AFTER: Final = 600.0
"""Seconds of failed looks after which an owner leaves the engine to a resource that sees it."""

_FOREVER: Final = float("inf")
_FEW: Final = 1024
_Rank = tuple[bool, bool, str, str]


@dataclass(frozen=True, slots=True)
class Claim:
    """One resource that names an engine."""

    namespace: str
    name: str
    uid: str
    created: str
    seen: bool
    """Whether its stored status says that it has seen the engine with its own credentials."""
    open: bool
    """Whether its upgrade is open."""
    deleting: bool = False
    blind: bool = False
    """Whether its own looks have failed for long."""

    @property
    def may_own(self) -> bool:
        """Whether the resource can own the engine if others name it, too."""
        return (self.seen or self.open) and not self.deleting

    @property
    def rank(self) -> _Rank:
        """Return the rank; the lowest rank owns the engine."""
        return (not self.open, self.blind and not self.open, self.created, self.uid)


@dataclass(slots=True)
class _Engine:
    """The resources that name one engine."""

    claims: dict[str, Claim] = field(default_factory=dict)
    ranks: list[tuple[_Rank, str]] = field(default_factory=list)
    """A heap; outdated entries stay in it until they come up."""
    owner: str | None = None
    owned_since: float = 0.0

    def put(self, key: str, claim: Claim) -> None:
        before = self.claims.get(key)
        self.claims[key] = claim
        unchanged = before is not None and before.may_own and before.rank == claim.rank
        if claim.may_own and not unchanged:
            if len(self.ranks) > _FEW + 2 * len(self.claims):
                self.ranks = [(c.rank, k) for k, c in self.claims.items() if c.may_own]
                heapq.heapify(self.ranks)
            else:
                heapq.heappush(self.ranks, (claim.rank, key))

    def first(self) -> str | None:
        """Return the resource with the lowest rank."""
        while self.ranks:
            rank, key = self.ranks[0]
            claim = self.claims.get(key)
            if claim is not None and claim.may_own and claim.rank == rank:
                return key
            heapq.heappop(self.ranks)
        return None


@dataclass(frozen=True, slots=True)
class _Call:
    """The last call on an engine, while it keeps others from calling."""

    uid: str
    until: float
    job_id: int | None = None


class Ownership:
    """Knows the owner of each engine, and who called it last.

    Args:
        grace: the outcome grace, in seconds.
        enqueue: called with the key of a resource that has become the owner, or no longer is.
        clock: seconds, including those for which the machine was suspended.
    """

    def __init__(
        self,
        *,
        grace: float,
        enqueue: Callable[[str], None] = lambda _key: None,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self._grace = grace
        self._enqueue = enqueue
        self._clock = clock
        self._engines: dict[EngineKey, _Engine] = {}
        self._engine_of: dict[str, EngineKey] = {}
        self._failing_since: dict[str, float] = {}
        self._calls: dict[EngineKey, _Call] = {}
        self._many_calls = _FEW

    # -- the claims ------------------------------------------------------------------------------

    def put(self, key: str, engine: EngineKey | None, claim: Claim) -> None:
        """Store the claim of a resource that is new or has changed."""
        if self._engine_of.get(key) != engine:
            self.remove(key)
        if engine is None:
            return
        self._engine_of[key] = engine
        known = self._engines.setdefault(engine, _Engine())
        before = known.claims.get(key)
        if before is not None and before.uid == claim.uid:
            claim = replace(claim, blind=before.blind)
        if before == claim:
            return
        known.put(key, claim)
        self._settle(known)
        if claim.seen and not (before is not None and before.seen) and known.owner != key:
            self._enqueue(key)  # it sees the engine now, so it reports the other owner

    def remove(self, key: str) -> None:
        """Remove the claim of a resource that is gone."""
        self._failing_since.pop(key, None)
        engine = self._engine_of.pop(key, None)
        if engine is None:
            return
        known = self._engines[engine]
        del known.claims[key]
        if known.claims:
            self._settle(known)
        else:
            del self._engines[engine]

    def looked(self, key: str, *, succeeded: bool) -> None:
        """Note whether a resource's look at its engine, with its own credentials, succeeded."""
        if succeeded:
            self._failing_since.pop(key, None)
        else:
            self._failing_since.setdefault(key, self._clock())
        since = self._failing_since.get(key)
        blind = since is not None and self._clock() - since >= BLIND_AFTER
        engine = self._engine_of.get(key)
        if engine is None:
            return
        known = self._engines[engine]
        claim = known.claims[key]
        if claim.blind != blind:
            known.put(key, replace(claim, blind=blind))
            self._settle(known)

    def _settle(self, engine: _Engine) -> None:
        owner = engine.first()
        if owner == engine.owner:
            return
        before, engine.owner, engine.owned_since = engine.owner, owner, self._clock()
        for key in (before, owner):
            if key is not None and key in engine.claims:
                self._enqueue(key)

    # -- the owner -------------------------------------------------------------------------------

    def other_owner(self, key: str, *, sees: bool = False) -> Owner | None:
        """Return the other owner of the resource's engine, if there is one.

        The owner's name is told within its namespace only.

        Args:
            key: the resource.
            sees: whether the resource sees the engine right now, although its mark is not stored
                yet.
        """
        engine = self._engine_of.get(key)
        if engine is None:
            return None
        known = self._engines[engine]
        if known.owner in {None, key}:
            return None
        mine, owner = known.claims[key], known.claims[known.owner or ""]
        if sees and not mine.deleting and mine.rank < owner.rank:
            return None
        name = owner.name if owner.namespace == mine.namespace else None
        newer = (owner.created, owner.uid) > (mine.created, mine.uid)
        return Owner(name, upgrading=owner.open and newer, older=not newer)

    def has_seen(self, key: str) -> bool:
        """Whether the resource's mark is stored."""
        engine = self._engine_of.get(key)
        return engine is not None and self._engines[engine].claims[key].seen

    def may_call_in(self, key: str) -> float:
        """Return the seconds until others that name the engine let this resource call."""
        engine = self._engine_of.get(key)
        if engine is None or len(self._engines[engine].claims) == 1:
            return 0.0
        known = self._engines[engine]
        if known.owner != key or not known.claims[key].seen:
            return self._grace
        return max(0.0, known.owned_since + self._grace - self._clock())

    # -- one call at a time ----------------------------------------------------------------------

    def begin_call(self, key: str, uid: str, *, latest_job_id: int | None) -> bool:
        """Begin a call for a resource; False while another resource's call is not over.

        Between a call and its effect in the vendor's reads, another resource (the successor of a
        deleted one) would see an engine that nobody upgrades, and call a second time.

        Args:
            key: the resource.
            uid: its uid; a resource that is created again under the same name has another uid.
            latest_job_id: the latest job that the engine shows.
        """
        engine = self._engine_of.get(key)
        if engine is None or self.other_owner(key) is not None:
            return False
        call, now = self._calls.get(engine), self._clock()
        if call is not None and call.uid != uid and now < call.until:
            shown = call.job_id is not None and latest_job_id == call.job_id
            if not shown:
                return False
        self._calls[engine] = _Call(uid, _FOREVER)
        if len(self._calls) > self._many_calls:
            # Nobody else removes the calls of resources that went away in between.
            self._calls = {key: kept for key, kept in self._calls.items() if now < kept.until}
            self._many_calls = max(_FEW, 2 * len(self._calls))
        return True

    def call_ended(self, engine: EngineKey, uid: str, *, job_id: int | None) -> None:
        """Note a call's end, answered or not; others wait for its effect, at most one grace.

        Args:
            engine: the engine that was called.
            uid: the uid of the resource.
            job_id: the new job by which the engine shows the effect, if it is known.
        """
        self._calls[engine] = _Call(uid, self._clock() + self._grace, job_id)

    def nothing_open(self, key: str, uid: str) -> None:
        """Note that the resource has no open record: looks show what its call did."""
        engine = self._engine_of.get(key)
        if engine is not None and (call := self._calls.get(engine)) and call.uid == uid:
            del self._calls[engine]

    def engine_of(self, key: str) -> EngineKey | None:
        """Return the engine that a resource names."""
        return self._engine_of.get(key)

    def project_of(self, key: str) -> tuple[str, str] | None:
        """Return the endpoint and the project of that engine, whose calls share a limit."""
        engine = self._engine_of.get(key)
        return engine[:2] if engine is not None else None
