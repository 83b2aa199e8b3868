"""The fleet at one moment: which engines each policy selects, who is in flight, who stands in line.

Made anew whenever anything changed, and lazily: what nobody asks for is not computed. What many
engines have in common (a policy's rollout of a version, the holds of engines alike) is computed
once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from cse_operator.core.member import Member
from cse_operator.core.policies import Policy, PolicySet, Selection
from cse_operator.core.waves import Rollout, rollout


class Fleet:
    """All engines and policies at one moment.

    Args:
        members: the engines.
        policies: the policies.
        now: the moment, in UTC.
        reserved: keys of engines that this process has let go and whose intent is not seen yet.
        stumbled: keys of engines whose last step did not end: they stand in no line until one does.
    """

    def __init__(
        self,
        members: Sequence[Member],
        policies: PolicySet,
        now: datetime,
        reserved: Collection[str] = (),
        stumbled: Collection[str] = (),
    ) -> None:
        self.members = members
        self.policies = policies
        self.now = now
        self._reserved = frozenset(reserved)
        self._stumbled = frozenset(stumbled)
        self._rollouts: dict[Any, Rollout] = {}
        self.memo: dict[Any, Any] = {}
        """What `permit` remembers of engines alike."""

    def selection(self, member: Member) -> Selection:
        """The policies that select an engine."""
        return self.policies.selecting(member.namespace, member.labels)

    @cached_property
    def _selected(self) -> dict[tuple[str, str, str], list[Member]]:
        found: dict[tuple[str, str, str], list[Member]] = {
            p.key: [] for p in self.policies.policies
        }
        for member in self.members:
            for policy in self.selection(member).policies:
                found[policy.key].append(member)
        return found

    def selected(self, policy: Policy) -> Sequence[Member]:
        """The engines that a policy selects."""
        return self._selected[policy.key]

    @cached_property
    def _perhaps_selected(self) -> dict[tuple[str, str, str], list[Member]]:
        found: dict[tuple[str, str, str], list[Member]] = {}
        for member in self.members:
            for policy in self.selection(member).unsure:
                found.setdefault(policy.key, []).append(member)
        return found

    def wave_of(self, policy: Policy, member: Member) -> int:
        """The index of the wave of a policy that takes one of its engines."""
        return self.selection(member).waves[policy]

    def rollout(self, policy: Policy, type_: str | None, target: str) -> Rollout:
        """How far a version is with a policy's engines of one type, and those that may be its."""
        key = (policy.key, type_, target)
        if key not in self._rollouts:
            members = [
                (member, self.wave_of(policy, member))
                for found in (self.selected(policy), self._perhaps_selected.get(policy.key, ()))
                for member in found
            ]
            self._rollouts[key] = rollout(policy, members, type_, target, self.now)
        return self._rollouts[key]

    # -- slots -----------------------------------------------------------------------------------

    def is_in_flight(self, member: Member) -> bool:
        """Whether a call or a job of an engine may be at the vendor, or is about to be."""
        return member.in_flight or member.key in self._reserved

    @cached_property
    def _in_flight(self) -> dict[tuple[str, str, str], set[str]]:
        found: dict[tuple[str, str, str], set[str]] = {p.key: set() for p in self.policies.policies}
        for member in self.members:
            if self.is_in_flight(member):
                selection = self.selection(member)
                for policy in (*selection.policies, *selection.unsure):
                    found[policy.key].add(member.key)
        return found

    def in_flight(self, policy: Policy) -> set[str]:
        """The keys of a policy's engines that are in flight, with those that may be its own."""
        return self._in_flight[policy.key]

    def holders(self, policy: Policy) -> list[Member]:
        """The engines that hold a policy's slots."""
        flying = self.in_flight(policy)
        return [member for member in self.members if member.key in flying]

    @cached_property
    def _line(self) -> list[Member]:
        waiting = (
            m
            for m in self.members
            if m.held_since is not None
            and m.key not in self._stumbled
            and not (m.excused or self.is_in_flight(m))
        )
        return sorted(waiting, key=lambda m: m.place)

    def in_line(self) -> Sequence[Member]:
        """The engines that were held when they asked last, in the order in which they go."""
        return self._line
