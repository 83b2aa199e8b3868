"""The informer of policies: lists all of them, and lists again after each watch event.

There are few policies, so a watch event is not applied to the cache: it only makes a list due. A
refused list holds all engines; the last known policies stay, so that the other reasons stay true. A
list that fails for another reason does so once the last list is too old, because a changed policy
must not be overlooked while lists fail.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from cse_operator.core.backoff import exponential
from cse_operator.core.hold_words import name_of
from cse_operator.core.policies import Policy, PolicySet, read_policy, unreadable_policy
from cse_operator.kube.errors import KubeError
from cse_operator.kube.policy_reader import PolicyReader

logger = logging.getLogger(__name__)

INTERVAL: Final = 60.0
"""Seconds between lists while the watch delivers no event."""

SETTLE: Final = 0.1
"""Seconds from an event to its list: one commit may change several policies."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 15.0

_Mark = tuple[str, int | None, Any]
"""What identifies a version of a policy: its uid, its generation and its spec."""

OUTDATED_AFTER: Final = 5.0
"""Seconds after an event until a list from before the event is too old."""

OLDEST: Final = 3 * INTERVAL
"""Seconds until a list is too old while the watch delivers no event."""

MOST_IN_A_NAMESPACE: Final = 100
"""With more policies in a namespace, none of them is evaluated, and its engines are held."""

OUTDATED: Final = "they cannot be listed, and the last list of them is too old"
NOT_LISTED: Final = "they are not listed yet"
_REFUSALS: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})


class PolicyInformer:
    """Keeps the set of policies current.

    Args:
        reader: lists the policies.
        namespaces: the namespaces to serve; none means all of them, and the cluster policies.
        required: whether an engine that no policy selects is held.
        clock: monotonic seconds, of the event loop by default.
    """

    def __init__(
        self,
        reader: PolicyReader,
        *,
        namespaces: Sequence[str],
        required: bool,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._reader = reader
        self._clock = clock or asyncio.get_running_loop().time
        self._stirred_at: float | None = None
        self.listed_at: float | None = None
        """When the last successful list began, by the event loop's clock."""
        self._namespaces = tuple(dict.fromkeys(namespaces))
        self._soon = asyncio.Event()
        self._known: dict[tuple[str, str, str], tuple[_Mark, Policy]] = {}
        self._required = required
        self._refused_in: dict[str, str] = {}
        self.objects: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        """The policies of the last list, by kind, namespace and name."""
        self.policies = PolicySet(unknown=NOT_LISTED, required=required)
        self.on_change: Callable[[PolicySet], None] = lambda _before: None
        """Called with the previous set when a new one replaces it."""
        self.asked = asyncio.Event()
        """Set once the API server has answered: with the policies, or with a refusal."""
        self.listed = asyncio.Event()
        """Set after the first successful list. The watch waits for it: without the right or the
        CRD, there is nothing to watch."""
        self.begin_watch_again: Callable[[], None] = lambda: None
        """Called when policies can be listed again: the watch may have begun without them."""

    def served(self) -> tuple[str, ...]:
        """Return the namespaces to watch; none means all."""
        served = tuple(n for n in self._namespaces if n not in self._refused_in)
        return served or self._namespaces

    def not_ready(self) -> str | None:
        """Return why engines are held although no policy holds them; None if none is held so."""
        unknown = self.policies.unknown
        if unknown is None:
            return None
        return f"the policies cannot be read, so no upgrade starts: {unknown}\n"

    def on_event(self, _type: str | None, _obj: Mapping[str, Any]) -> None:
        """Make a list due: the watch has delivered an event."""
        self._stirred_at = self._stirred_at or self._clock()
        self._soon.set()

    def list_soon(self) -> None:
        """Make a list due now."""
        self._soon.set()

    async def run(self) -> None:
        """List after each event and interval, until cancelled."""
        if self._namespaces:
            logger.info(
                "serving only the UpgradePolicies of %s; a ClusterUpgradePolicy needs an operator "
                "without --namespaces",
                ", ".join(self._namespaces),
            )
        failures = 0
        while True:
            failures = 0 if await self.list_once() else failures + 1
            pause = INTERVAL * (0.9 + random.random() / 5)  # noqa: S311 - spreads load
            if failures:
                jitter = random.random()  # noqa: S311 - spreads load
                limit = LONGEST_PAUSE if self._stirred_at is None else OUTDATED_AFTER
                pause = exponential(failures, base=FIRST_PAUSE, limit=limit, jitter=jitter)
            with suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it swallows a cancellation that comes with
                # the event, and the process would not end.
                async with asyncio.timeout(pause):
                    await self._soon.wait()
                await asyncio.sleep(SETTLE)
            self._soon.clear()

    async def list_once(self) -> bool:
        """List all policies, replace the known ones; False if a list failed or was refused."""
        began, stirred = self._clock(), self._stirred_at
        self._stirred_at = None
        try:
            objects, refused_in = await self._objects()
            cluster = [] if self._namespaces else await self._reader.cluster_policies()
            selects = any(_selects_namespaces(obj) for obj in cluster)
            labels = await self._reader.namespace_labels() if selects else {}
        except KubeError as error:
            self._stirred_at = stirred or self._stirred_at
            self._failed(error)
            return False
        self.listed_at = began
        self._refused_in = refused_in
        crowded = _crowded(objects)
        objects = [obj for obj in objects if obj["metadata"]["namespace"] not in crowded]
        self.objects = {_key(obj): obj for obj in (*objects, *cluster)}
        unknown_in = refused_in | crowded
        self._replace(PolicySet(self._read(), labels, None, unknown_in, required=self._required))
        return not refused_in

    async def _objects(self) -> tuple[list[dict[str, Any]], dict[str, str]]:
        if not self._namespaces:
            return await self._reader.policies(None), {}
        found: list[dict[str, Any]] = []
        unknown: dict[str, str] = {}
        for namespace in self._namespaces:
            try:
                found += await self._reader.policies(namespace)
            except KubeError as error:
                if not _is_refusal(error):
                    raise
                unknown[namespace] = error.sentence
        if len(unknown) == len(self._namespaces):
            raise KubeError(next(iter(unknown.values())), status=HTTPStatus.FORBIDDEN)
        return found, unknown

    def _read(self) -> tuple[Policy, ...]:
        """Read the policies; an unchanged one stays the same object and keeps its memory."""
        read: dict[tuple[str, str, str], tuple[_Mark, Policy]] = {}
        for key, obj in self.objects.items():
            metadata = obj["metadata"]
            # After a restore of etcd, two specs may have the same generation.
            mark = (metadata["uid"], metadata.get("generation"), obj.get("spec"))
            known = self._known.get(key)
            read[key] = known if known and known[0] == mark else (mark, _read_one(obj))
        self._known = read
        return tuple(read[key][1] for key in sorted(read))

    def _failed(self, error: KubeError) -> None:
        logger.warning("the policies could not be listed; trying again soon: %s", error)
        before = self.policies
        if _is_refusal(error):
            why = error.sentence
        elif before.unknown is None and self._is_outdated():
            why = OUTDATED
        else:
            return
        self._replace(PolicySet(before.policies, before.namespaces, why, required=self._required))

    def _is_outdated(self) -> bool:
        """Whether the last list is too old: since an event, or because later lists failed."""
        now = self._clock()
        stirred = self._stirred_at is not None and now - self._stirred_at > OUTDATED_AFTER
        return stirred or self.listed_at is None or now - self.listed_at > OLDEST

    def _replace(self, after: PolicySet) -> None:
        before = self.policies
        if after.unknown != NOT_LISTED:
            self.asked.set()
        if after.unknown is None:
            self.listed.set()
        if _same(before, after):
            return
        after.remember(before)
        self.policies = after
        known_again = before.unknown not in {None, NOT_LISTED, OUTDATED} and after.unknown is None
        if known_again or before.unknown_in != after.unknown_in:
            self.begin_watch_again()
        self.on_change(before)


def _read_one(obj: Mapping[str, Any]) -> Policy:
    """Read a policy; none can stop the process or the reading of the others, whatever it holds."""
    try:
        return read_policy(obj)
    except Exception as error:
        policy = unreadable_policy(obj, f"the operator cannot read it: {type(error).__name__}")
        logger.exception("%s cannot be read, and holds all engines in its scope", name_of(policy))
        return policy


def _selects_namespaces(obj: Mapping[str, Any]) -> bool:
    """Whether a policy has a namespace selector; an empty selector takes all namespaces."""
    return (obj.get("spec") or {}).get("namespaceSelector") is not None


def _crowded(objects: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the namespaces with too many policies: one tenant must not block the others."""
    numbers = Counter(obj["metadata"]["namespace"] for obj in objects)
    told = f"there are more than {MOST_IN_A_NAMESPACE} in this namespace"
    return {name: told for name, number in numbers.items() if number > MOST_IN_A_NAMESPACE}


def _key(obj: Mapping[str, Any]) -> tuple[str, str, str]:
    return obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _is_refusal(error: KubeError) -> bool:
    """Whether the API server refused the list: no right, or no CRD."""
    return error.status in _REFUSALS


def _same(before: PolicySet, after: PolicySet) -> bool:
    known = (before.unknown, before.unknown_in, before.namespaces)
    if known != (after.unknown, after.unknown_in, after.namespaces):
        return False
    return [id(p) for p in before.policies] == [id(p) for p in after.policies]
