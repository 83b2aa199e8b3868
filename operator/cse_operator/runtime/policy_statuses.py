"""Writes the policies' statuses, each at most once in ten seconds, and posts policies' Events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from cse_operator.api.policy import PolicyStatus
from cse_operator.clock import boottime
from cse_operator.core.fleet import Fleet
from cse_operator.core.hold_words import name_of
from cse_operator.core.member import Member
from cse_operator.core.policies import Policy, PolicySet
from cse_operator.core.policy_status import missed_window, policy_status
from cse_operator.kube.errors import Conflict, Gone, KubeError
from cse_operator.kube.events import EventPoster
from cse_operator.kube.references import ObjectReference
from cse_operator.kube.status_writer import StatusWriter
from cse_operator.runtime.cache import Cache
from cse_operator.runtime.metrics import Metrics
from cse_operator.runtime.policy_informer import PolicyInformer

logger = logging.getLogger(__name__)

BETWEEN_WRITES: Final = 10.0
"""The least seconds between two writes of one policy's status."""

BETWEEN_LOOKS: Final = 2.0
"""The least seconds until a policy's status is computed again after it did not change."""

Key = tuple[str, str, str]


class PolicyStatuses:
    """The only writer of policies' statuses.

    Args:
        writers: a writer for each kind of policy.
        informer: the policies as they were listed.
        cache: the engines, for the Events about them.
        events: where Events go.
        metrics: counts missed windows.
        clock: steady seconds.
    """

    def __init__(
        self,
        writers: Mapping[str, StatusWriter],
        informer: PolicyInformer,
        cache: Cache,
        events: EventPoster,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self._writers = writers
        self._informer = informer
        self._cache = cache
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._due: dict[Key, float] = {}
        self._judged: dict[Key, Fleet] = {}
        """The fleet from which each policy's latest status was computed."""
        self._shown: dict[Key, PolicyStatus] = {}
        self._fleet: Fleet | None = None
        self._swept = asyncio.Event()

    def swept(self, fleet: Fleet) -> None:
        """Take the fleet of a sweep, to write the statuses from it."""
        self._fleet = fleet
        self._swept.set()

    def shown(self, policy: Policy) -> PolicyStatus | None:
        """Return the latest status of a policy; None if there is none."""
        return self._shown.get(policy.key)

    async def run(self) -> None:
        """Write the due statuses after each sweep, until cancelled."""
        while True:
            await self._swept.wait()
            self._swept.clear()
            if self._fleet is not None:
                due = await self.write(self._fleet)
                if due > 0:
                    asyncio.get_running_loop().call_later(due, self._swept.set)

    async def write(self, fleet: Fleet) -> float:
        """Write the changed statuses that are due.

        Returns:
            Seconds until all statuses that are not due yet are due; 0 if all were due.
        """
        left = [0.0]
        known = {policy.key for policy in fleet.policies.policies}
        self._due = {key: at for key, at in self._due.items() if key in known}
        self._judged = {key: of for key, of in self._judged.items() if key in known}
        self._shown = {key: status for key, status in self._shown.items() if key in known}
        for policy in fleet.policies.policies:
            if self._judged.get(policy.key) is fleet:
                continue
            wait = self._due.get(policy.key, float("-inf")) - self._clock()
            if wait > 0:
                left.append(wait)
                continue
            await asyncio.sleep(0)  # there may be many: let other tasks run between them
            self._due[policy.key] = self._clock() + BETWEEN_LOOKS
            try:
                await self._write(policy, fleet)
                self._judged[policy.key] = fleet
            except (Conflict, Gone):
                continue  # changed or deleted meanwhile: the next list brings it
            except KubeError as error:
                self._due[policy.key] = self._clock() + BETWEEN_WRITES
                logger.warning("the status of %s could not be written: %s", name_of(policy), error)
            except Exception:
                # One unforeseen policy must not end the process again at every start.
                self._due[policy.key] = self._clock() + BETWEEN_WRITES
                logger.exception("the status of %s could not be made", name_of(policy))
        return max(left)

    async def _write(self, policy: Policy, fleet: Fleet) -> None:
        stored = self._informer.objects.get(policy.key)
        if stored is None or stored["metadata"]["uid"] != policy.uid:
            return
        raw = stored.get("status") or {}
        old = _parsed(raw)
        status = self._shown[policy.key] = policy_status(policy, fleet, old)
        reference = ObjectReference(policy.namespace, policy.name, policy.uid)
        version = stored["metadata"]["resourceVersion"]
        written = await self._writers[policy.kind].write(reference, version, raw, _as_json(status))
        if written is None:
            return
        self._due[policy.key] = self._clock() + BETWEEN_WRITES
        self._informer.objects[policy.key] = {**written, "kind": policy.kind}
        if status.window_missed != old.window_missed:
            missed = missed_window(policy, fleet.selected(policy), fleet.now)
            for member in missed[1] if missed else ():
                self._missed(policy, member)

    def _missed(self, policy: Policy, member: Member) -> None:
        """Report an engine that was due but did not start in a window that has passed."""
        self._metrics.window_missed(policy.kind, policy.namespace, policy.name)
        told = f"a window of {name_of(policy)} passed, and the upgrade did not start in it"
        self._post(member.key, "WindowMissed", told)

    def policies_changed(self, before: PolicySet) -> None:
        """Post an Event about each engine that a deleted policy held."""
        kept = {policy.key for policy in self._informer.policies.policies}
        for policy in before.policies:
            if policy.key in kept:
                continue
            told = f"{name_of(policy)} was deleted and no longer holds this engine"
            for resource in self._cache:
                held = resource.raw_status.get("held") or ()
                scope = policy.namespace in {"", resource.reference.namespace}
                mine = (policy.kind, policy.name)
                if scope and any((h.get("kind"), h.get("policy")) == mine for h in held):
                    self._post(resource.key, "PolicyReleased", told)

    def _post(self, key: str, reason: str, message: str) -> None:
        logger.warning("%s: %s: %s", key, reason, message)
        resource = self._cache.get(key)
        if resource is not None:
            self._events.post(resource.reference, "Warning", reason, message)


def _parsed(raw: Mapping[str, Any]) -> PolicyStatus:
    """Read a stored status; if that fails, return an empty one: all of it is made anew."""
    try:
        return PolicyStatus.model_validate(raw)
    except ValidationError:
        return PolicyStatus()


def _as_json(status: PolicyStatus) -> dict[str, Any]:
    data = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {name: value for name, value in data.items() if value != []}
