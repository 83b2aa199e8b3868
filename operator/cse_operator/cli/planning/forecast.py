"""Runs the operator's `decide()` for each resource, and reports the decision without acting on it.

The steps are those of `runtime/reconcile.py`: look, decide, look again if the decision asks for it.
The forecast ends where the operator would call. No code here can make a call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from cse_operator.api.failure_kind import FailureKind
from cse_operator.api.reason_facts import FACTS
from cse_operator.api.reasons import ConditionType, Reason
from cse_operator.api.status import Phase, Status
from cse_operator.cli.planning.looks import Looks, failed
from cse_operator.cli.planning.verdict import Kind, Verdict
from cse_operator.cli.planning.world import World
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.reader import CseReader
from cse_operator.core.decide import Decision, decide
from cse_operator.core.observation import Limits, Observation
from cse_operator.core.permit import ALLOWED, Allowed, Held
from cse_operator.core.states import Effect, State, state_of
from cse_operator.core.vendor_states import RETRY_ACTION, UPGRADE_FAILED
from cse_operator.core.versions import satisfies
from cse_operator.core.views import EngineView
from cse_operator.kubectl.holds import Hold
from cse_operator.runtime.cache import InvalidSpecError, Resource
from cse_operator.runtime.project_resolver import is_followed_despite, project_options
from cse_operator.runtime.settings import Settings

MOST_TURNS: Final = 12
_PROVEN: Final = frozenset(
    {
        FailureKind.NOT_FOUND,
        FailureKind.FORBIDDEN,
        FailureKind.UNAUTHENTICATED,
        FailureKind.CREDENTIALS_MISSING,
        FailureKind.CREDENTIALS_INVALID,
    }
)
"""Failures that the operator would meet too, if the resource's own Secret met them here."""
_BY_SETTINGS: Final = frozenset({FailureKind.REGION_NOT_ALLOWED})
"""Failures that need no credentials: the operator meets them too if it has these settings."""
_MOVES: Final = frozenset({Phase.SUBMITTING, Phase.UPGRADING})
_NOT_SEEN: Final = (
    "the engine has not been looked at yet: --ask-vendor looks, with an access key or the Secret"
)

ReaderOf = Callable[[Resource], Awaitable[CseReader | None]]


@dataclass(frozen=True, slots=True)
class Forecaster:
    """Forecasts what happens to the resources of a world.

    Args:
        world: The cluster as it will be.
        settings: The operator's settings, as far as they are known here.
        reader_of: Returns the reader of a resource's engine; None: its status tells of the engine.
        own_secrets: Whether readers use the Secret that the resource names.
    """

    world: World
    settings: Settings
    reader_of: ReaderOf | None = None
    own_secrets: bool = False

    async def verdict(self, key: str, assumed: str | None = None) -> Verdict:
        """Return what happens to a resource.

        Args:
            key: The resource.
            assumed: The assumed version of an engine that has not been looked at.
        """
        cached = self.world.cache.get(key)
        if cached is None:
            raise AssertionError(f"{key} is not in the world")
        namespace, _, name = key.partition("/")
        try:
            resource = cached.parse()
        except InvalidSpecError as error:
            return Verdict(namespace, name, "", Kind.REFUSED, "InvalidSpec", str(error))
        blank = Verdict(namespace, name, resource.spec.engine_id, Kind.UNKNOWN, "", "")
        if cached.deleting:
            sentence = "it is being deleted: plan again when it is gone"
            return replace(blank, reason="Deleting", sentence=sentence)
        if doubles := self.world.doubles_of(key):
            sentence = (
                f"{', '.join(doubles)} names the same engine and is new too: only one will own it"
            )
            return replace(blank, reason=Reason.ENGINE_ALREADY_MANAGED, sentence=sentence)
        o, decision = await self._decided(key, resource, assumed)
        if decision is None:
            return self._undecided(o, blank)
        return self._told(o, decision, blank)

    async def _decided(
        self, key: str, resource: Resource, assumed: str | None
    ) -> tuple[Observation, Decision | None]:
        """Return the operator's decision; None if it needs a look that cannot be taken here."""
        o = _known(
            resource,
            observes_only=self.world.observes_only or self.settings.observe_only,
            permit=ALLOWED if self.world.policies.gates_nothing else None,
        )
        looks, o = await self._first_look(key, resource, o)
        for _ in range(MOST_TURNS):
            decision = decide(o, self.settings.limits)
            if looks.reader is None and _depends_on_retry(o, decision, self.settings.limits):
                return o, None
            if not decision.effect.is_look:
                return o, decision
            o = replace(o, status=decision.status)
            if decision.effect is Effect.ASK:
                o = replace(o, permit=self.world.permit(key, o.engine))
                continue
            if looks.reader is not None:
                o = await looks.take(o, decision)
                continue
            engine = _engine_of(resource, assumed)
            wants_engine = decision.effect is Effect.LOOK and state_of(o.status) is State.IDLE
            if not wants_engine or engine is None or o.engine is not None:
                return o, None
            o = replace(o, engine=engine)
        raise AssertionError(f"{key}: the decisions go in circles at {state_of(o.status)}")

    async def _first_look(
        self, key: str, resource: Resource, o: Observation
    ) -> tuple[Looks, Observation]:
        """Return the looks that can be taken, and what is known before a decision."""
        try:
            looks = Looks(resource, await self._reader(resource))
        except CloudError as error:
            looks, o = Looks(resource, None), failed(o, error.failure)
        ownership = self.world.ownership
        other_owner = ownership.other_owner(key)
        if other_owner is None or ownership.has_seen(key):
            return looks, replace(o, other_owner=other_owner)
        if looks.reader is not None:
            o = await looks.at_engine(o)
            other_owner = ownership.other_owner(key, sees=True)
        return looks, replace(o, other_owner=other_owner if o.failure is None else None)

    async def _reader(self, resource: Resource) -> CseReader | None:
        """Return the reader of a resource's engine; None if its engine is not looked at here.

        Raises:
            CloudError: The region is not allowed, or the credentials are missing or unusable.
        """
        try:
            project_options(self.settings).endpoints.cse(resource.spec.region)
        except CloudError as error:
            if not is_followed_despite(error.failure, resource.status):
                raise
            return None
        return await self.reader_of(resource) if self.reader_of else None

    def _undecided(self, o: Observation, blank: Verdict) -> Verdict:
        """Return the verdict on a decision that needs a look: only the record is known."""
        upgrade = o.status.upgrade
        if upgrade is None or state_of(o.status) is State.IDLE:
            told = _NOT_SEEN
            if o.engine is not None and o.engine.status == UPGRADE_FAILED:
                told = "its upgrade failed: --ask-vendor looks whether Retry is offered"
            elif o.engine is not None:
                told = f"the engine is {o.engine.status}: --ask-vendor looks at its job"
            return replace(blank, reason="NotSeen", sentence=told)
        goes_on = f"{o.status.message or 'an upgrade is under way'}; it is followed to its end"
        target = upgrade.target_version
        if target is not None and not satisfies(target, o.desired.version):
            goes_on += f", and {o.desired.version} is decided on after it"
        return replace(
            blank,
            kind=Kind.UPGRADING,
            reason=o.status.ready.reason if o.status.ready else Reason.UPGRADING,
            sentence=goes_on,
            from_version=upgrade.from_version,
            to_version=target,
        )

    def _told(self, o: Observation, decision: Decision, blank: Verdict) -> Verdict:
        upgrade, engine = decision.status.upgrade, o.engine
        current = engine.version if engine else o.status.current_version
        if decision.effect.is_call and upgrade is not None:
            return self._call(o, decision, blank)
        proven = _BY_SETTINGS | (_PROVEN if self.own_secrets else frozenset())
        if o.failure is not None and o.other_owner is None and o.failure.kind not in proven:
            return replace(blank, reason=o.failure.kind.value, sentence=o.failure.sentence())
        ready = decision.status.ready
        reason = Reason(ready.reason) if ready else Reason.CLOUD_UNAVAILABLE
        wanted = None if current and satisfies(current, o.desired.version) else o.desired.version
        verdict = replace(
            blank,
            kind=_kind_of(reason, decision.status),
            reason=reason,
            sentence=decision.status.message or "",
            from_version=current,
            to_version=wanted,
        )
        if verdict.kind is not Kind.HELD:
            return verdict
        return replace(verdict, holds=_holds(o) or (Hold(_holder(reason), reason),))

    def _call(self, o: Observation, decision: Decision, blank: Verdict) -> Verdict:
        """Return the verdict that the operator would call now: no policy holds the engine."""
        upgrade = decision.status.upgrade
        assert upgrade is not None  # noqa: S101 - the caller has looked
        target = upgrade.target_version or o.desired.version
        found = replace(
            blank,
            kind=Kind.UPGRADE,
            reason=Reason.SUBMITTING,
            sentence="the upgrade is called at once, and cannot be rolled back"
            if decision.effect is Effect.UPGRADE
            else "the failed upgrade is tried again by Retry",
            from_version=o.engine.version if o.engine else None,
            to_version=target,
        )
        latest = o.engine.latest_version if o.engine else None
        if decision.effect is Effect.UPGRADE and latest is not None and latest != target:
            told = f"the vendor offers {latest} and no other version: expect it to refuse {target}"
            return replace(found, warnings=(told,), will_be_refused=True)
        return found


_HOLDERS: Final = {
    Reason.SUSPENDED: "spec.suspend",
    Reason.OBSERVE_ONLY: "the operator's --observe-only",
    Reason.CREDENTIALS_NOT_FOUND: "its Secret",
}


def _holder(reason: Reason) -> str:
    return _HOLDERS.get(reason, "the engine")


def _holds(o: Observation) -> tuple[Hold, ...]:
    """Return the policies that hold an engine, as the plug-in names them; none if not asked."""
    if not isinstance(o.permit, Held):
        return ()
    return tuple(
        Hold(
            f"{hold.policy.kind} {hold.policy.name}" if hold.policy else "the operator",
            hold.reason,
            f"{hold.until:%Y-%m-%dT%H:%M:%SZ}" if hold.until else None,
        )
        for hold in o.permit.holds
    )


def _kind_of(reason: Reason, status: Status) -> Kind:
    """Return the kind of verdict for a reason, from the condition that comes with the reason."""
    if reason is Reason.ENGINE_ALREADY_MANAGED:
        return Kind.NOT_OWNER
    match FACTS[reason].condition:
        case ConditionType.READY:
            return Kind.NOTHING
        case ConditionType.STALLED:
            return Kind.REFUSED
        case ConditionType.RECONCILING:
            return Kind.UPGRADING if status.phase in _MOVES else Kind.HELD


def _known(resource: Resource, *, observes_only: bool, permit: Allowed | None) -> Observation:
    """Return what is known of a resource before any look.

    The operator may have known an open intent for less time than `known_for` says, and so still
    wait.
    """
    now, upgrade = datetime.now(UTC), resource.status.upgrade
    known_for = (now - upgrade.requested_at).total_seconds() if upgrade else 0.0
    return Observation(
        desired=resource.desired,
        status=resource.status,
        now=now,
        known_for=max(known_for, 0.0),
        observes_only=observes_only,
        permit=permit,
    )


def _engine_of(resource: Resource, assumed: str | None) -> EngineView | None:
    """Return the engine as the operator saw it last, else at the assumed version."""
    status, engine = resource.status, resource.status.engine
    version = status.current_version or assumed
    if version is None:
        return None
    job = status.upgrade.job_id if status.upgrade else None
    return EngineView(
        engine_id=resource.spec.engine_id,
        name=(engine.name if engine else None) or "",
        type=(engine.type if engine else None) or "",
        status=(engine.status if engine else None) or "Available",
        version=version,
        latest_version=status.latest_version,
        latest_job_id=job,
        additional_actions=(),
        observed_at=None,
    )


def _depends_on_retry(o: Observation, decision: Decision, limits: Limits) -> bool:
    """Whether the decision would differ if the vendor offered Retry, which no status records."""
    if o.engine is None or o.engine.status != UPGRADE_FAILED:
        return False
    offered = replace(o.engine, additional_actions=(RETRY_ACTION,))
    return decide(replace(o, engine=offered), limits).situation is not decision.situation
