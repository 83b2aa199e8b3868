"""Policies: read completely or not at all, and asked which engines they select."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from cse_operator.api.names import CLUSTER_POLICY_KIND
from cse_operator.api.policy import ClusterPolicySpec, PolicySpec, Selector
from cse_operator.core.selectors import matches
from cse_operator.core.windows import (
    NOT_KNOWN,
    Freezes,
    NextOpening,
    Windows,
    next_common_opening,
)

_NO_WINDOWS: Final = Windows(())
_NO_FREEZES: Final = Freezes(())

MOST_REMEMBERED: Final = 10_000
"""The most answers of one kind that a set remembers; the oldest go, because labels change."""

MOST_LOOKS: Final = 4_000
"""The most looks at schedules in ten seconds, a fifth of a second or less, to find next openings.
One search takes at most half of those that are left, so that shorter searches can follow it."""


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A policy. If `invalid` is set, it cannot be evaluated, and holds the engines it selects."""

    kind: str
    namespace: str
    """Empty for a cluster policy."""
    name: str
    uid: str
    generation: int
    spec: PolicySpec
    invalid: str | None = None
    windows: Windows = _NO_WINDOWS
    freezes: Freezes = _NO_FREEZES
    selector: Selector | None = None
    namespace_selector: Selector | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what identifies the policy in the cluster: kind, namespace and name."""
        return self.kind, self.namespace, self.name

    @property
    def max_failures(self) -> int | None:
        """Return how many engines may have failed before no other starts; None: any number."""
        if self.spec.max_failures is None and self.spec.waves:
            return 0
        return self.spec.max_failures

    def wave_of(self, labels: frozenset[tuple[str, str]] | None) -> int:
        """Return the index of the first wave that takes an engine; past the last if none does.

        An engine whose labels are not known may be in any wave, and so counts in the first.
        """
        waves = self.spec.waves
        if not waves or labels is None:
            return 0
        read = dict(labels)
        taken = (index for index, wave in enumerate(waves) if matches(wave.selector, read))
        return next(taken, len(waves))


def read_policy(obj: Mapping[str, Any]) -> Policy:
    """Read a policy from the API server; a policy that is not understood is invalid.

    If the selector cannot be read either, the policy selects all engines in its scope.
    """
    spec = obj.get("spec")
    cluster = obj.get("kind") == CLUSTER_POLICY_KIND
    read = _named(obj)
    try:
        model = (ClusterPolicySpec if cluster else PolicySpec).model_validate(spec)
        times = Windows.of(model.windows or ())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in ("spec", *first["loc"]))
        return _invalid(read, spec, f"{where}: {first['msg']}")
    except ValueError as error:
        return _invalid(read, spec, f"spec.windows: {error}")
    return Policy(
        **read,
        spec=model,
        windows=times,
        freezes=Freezes(model.freezes),
        selector=model.selector,
        namespace_selector=getattr(model, "namespace_selector", None),
    )


def unreadable_policy(obj: Mapping[str, Any], why: str) -> Policy:
    """Return a policy whose reading failed unexpectedly: it holds all engines in its scope."""
    return Policy(**_named(obj), spec=PolicySpec(), invalid=why)


def _named(obj: Mapping[str, Any]) -> dict[str, Any]:
    metadata = obj["metadata"]
    return {
        "kind": obj.get("kind", ""),
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata["uid"],
        "generation": metadata.get("generation", 1),
    }


def _invalid(read: dict[str, Any], spec: object, why: str) -> Policy:
    return Policy(
        **read,
        spec=PolicySpec(),
        invalid=why,
        selector=_selector(spec, "selector"),
        namespace_selector=_selector(spec, "namespaceSelector"),
    )


def _selector(spec: object, name: str) -> Selector | None:
    """Return a selector of an invalid spec; None, which selects all, if it cannot be read."""
    try:
        found = spec.get(name) if isinstance(spec, Mapping) else None
        return None if found is None else Selector.model_validate(found)
    except ValidationError:
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The policies that select an engine; engines with the same policies and waves share one."""

    policies: tuple[Policy, ...]
    unsure: tuple[Policy, ...] = ()
    """Policies that may select it: its labels, or those of its namespace, are not known."""
    waves: Mapping[Policy, int] = field(default_factory=dict)
    """For each of these policies, the index of the engine's wave."""


@dataclass(frozen=True, slots=True)
class PolicySet:
    """One version of all served policies.

    Args:
        policies: the policies.
        namespaces: the labels of each namespace that is known.
        unknown: why the policies are not known; then nothing starts.
        unknown_in: the same for single namespaces, by their names.
        required: whether an engine that no policy selects is held.
    """

    policies: tuple[Policy, ...] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unknown: str | None = None
    unknown_in: Mapping[str, str] = field(default_factory=dict)
    required: bool = False
    _looks: dict[datetime, int] = field(default_factory=dict, repr=False)
    """How many looks are left in the ten seconds of the last search, by their begin."""
    _selections: dict[Any, Selection] = field(default_factory=dict, repr=False)
    _alike: dict[Any, Selection] = field(default_factory=dict, repr=False)
    _openings: dict[tuple[Policy, ...], tuple[datetime, NextOpening]] = field(
        default_factory=dict, repr=False
    )

    @property
    def gates_nothing(self) -> bool:
        """Whether no engine can be held: the policies are known, and there is and need be none."""
        known = self.unknown is None and not self.unknown_in
        return known and not self.policies and not self.required

    def why_unknown(self, namespace: str) -> str | None:
        """Return why the policies of a namespace are not known; None if they are."""
        return self.unknown or self.unknown_in.get(namespace)

    def selecting(self, namespace: str, labels: frozenset[tuple[str, str]] | None) -> Selection:
        """Return the policies that select an engine; its labels are None if not known."""
        known = self._selections.get((namespace, labels))
        if known is None:
            known = self._select_by(namespace, labels)
            _forget_the_oldest(self._selections)
            self._selections[namespace, labels] = known
        return known

    def _select_by(self, namespace: str, labels: frozenset[tuple[str, str]] | None) -> Selection:
        sure: list[Policy] = []
        if labels is None:
            unsure = [policy for policy in self.policies if self._may_hold(policy, namespace)]
        else:
            sure, unsure = self._select(namespace, dict(labels))
        waves = [(policy, policy.wave_of(labels)) for policy in (*sure, *unsure)]
        alike = len(sure), tuple(waves)
        if alike not in self._alike:
            _forget_the_oldest(self._alike)
            self._alike[alike] = Selection(tuple(sure), tuple(unsure), dict(waves))
        return self._alike[alike]

    def _may_hold(self, policy: Policy, namespace: str) -> bool:
        """Whether a policy may select engines of a namespace, also one with unknown labels."""
        if policy.namespace or policy.namespace_selector is None:
            return policy.namespace in {"", namespace}
        known = self.namespaces.get(namespace)
        return known is None or matches(policy.namespace_selector, known)

    def _select(
        self, namespace: str, labels: Mapping[str, str]
    ) -> tuple[list[Policy], list[Policy]]:
        """Return the policies that select an engine, and the policies that may."""
        sure, unsure = [], []
        for policy in self.policies:
            if policy.namespace and policy.namespace != namespace:
                continue
            if not matches(policy.selector, labels):
                continue
            if policy.namespace or policy.namespace_selector is None:
                sure.append(policy)
            elif namespace not in self.namespaces:
                unsure.append(policy)
            elif matches(policy.namespace_selector, self.namespaces[namespace]):
                sure.append(policy)
        return sure, unsure

    def opens_at(self, policies: Sequence[Policy], now: datetime) -> NextOpening:
        """Return when the windows and freezes of all these policies are next open together.

        A known opening is kept until it comes; without one, the search is repeated each day. A
        search that began with fewer looks than others, and found nothing, is repeated soon.
        """
        key = tuple(policies)
        if key in self._openings:
            since, known = self._openings[key]
            until = known.at if known.at is not None else since + timedelta(days=1)
            if since <= now < until:
                return known
        begin = now.replace(second=now.second // 10 * 10, microsecond=0)
        left = self._looks.get(begin, MOST_LOOKS)
        gates = [gate for policy in policies for gate in (policy.windows, policy.freezes)]
        found, looks = next_common_opening(gates, now, left // 2)
        self._looks.clear()
        self._looks[begin] = left - looks
        if found != NOT_KNOWN or left == MOST_LOOKS:
            _forget_the_oldest(self._openings)
            self._openings[key] = (now, found)
        return found

    def remember(self, before: PolicySet) -> None:
        """Take over what the previous set found for policies that are in both, and the looks left.

        Otherwise each change of a policy would allow new long searches.
        """
        same = frozenset(self.policies)
        kept = {key: known for key, known in before._openings.items() if same.issuperset(key)}
        self._openings.update(kept)
        self._looks.update(before._looks)


def _forget_the_oldest(answers: dict[Any, Any]) -> None:
    if len(answers) >= MOST_REMEMBERED:
        del answers[next(iter(answers))]
