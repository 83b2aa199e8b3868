"""The fleet at one moment: each policy's engines, the engines in flight, the engines in line.

A change leads to a new fleet. Its values are computed on demand, and once for all engines that
share them: a policy's rollout of a version, the holds of engines alike.
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
        reserved: keys of engines that this process has let start, until their intent is seen.
        stumbled: keys of engines whose last step failed: they stand in no line until one succeeds.
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
        """The results of `permit` that engines alike share."""

    def selection(self, member: Member) -> Selection:
        """Return the policies that select an engine."""
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
        """Return the engines that a policy selects."""
        return self._selected[policy.key]

    @cached_property
    def _perhaps_selected(self) -> dict[tuple[str, str, str], list[Member]]:
        found: dict[tuple[str, str, str], list[Member]] = {}
        for member in self.members:
            for policy in self.selection(member).unsure:
                found.setdefault(policy.key, []).append(member)
        return found

    def wave_of(self, policy: Policy, member: Member) -> int:
        """Return the index of the policy's wave that takes an engine."""
        return self.selection(member).waves[policy]

    def rollout(self, policy: Policy, type_: str | None, target: str) -> Rollout:
        """Return the progress of a version among the engines that a policy selects or may select.

        Only engines of one type count, and engines whose type is not known.
        """
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
        """Whether an engine's call or job may be at the vendor, or is about to be."""
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
        """Return the keys of the engines in flight that a policy selects or may select."""
        return self._in_flight[policy.key]

    def holders(self, policy: Policy) -> list[Member]:
        """Return the engines that hold a policy's slots."""
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
        """Return the engines that were held when they last asked, in the order of their start."""
        return self._line
