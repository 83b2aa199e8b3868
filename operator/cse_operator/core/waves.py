"""Waves and failures of one policy, for the engines of one type and one desired version.

A wave is judged by the versions that its engines run, not by their desired versions, so the order
in which the events of one commit arrive does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cse_operator.api.duration import parse_duration
from cse_operator.core.member import Member
from cse_operator.core.policies import Policy


@dataclass(frozen=True, slots=True)
class Wave:
    """The state of a wave."""

    name: str
    engines: int
    blockers: tuple[Member, ...]
    """Engines that do not run the version, or are not well at it."""
    soaks_until: datetime | None
    """When the last of the other engines has been well for long enough; None if all have."""

    @property
    def passed(self) -> bool:
        """Whether the next wave may go."""
        return not self.blockers and self.soaks_until is None


@dataclass(frozen=True, slots=True)
class Rollout:
    """The progress of a version among the engines of one type that a policy selects."""

    waves: tuple[Wave, ...]
    failed: tuple[Member, ...]

    def before(self, wave: int) -> Wave | None:
        """Return the first wave before the given one that has not passed; None if all have."""
        return next((before for before in self.waves[:wave] if not before.passed), None)


def rollout(
    policy: Policy,
    members: Sequence[tuple[Member, int]],
    type_: str | None,
    target: str,
    now: datetime,
) -> Rollout:
    """Return the waves and failures of a version, from engines and the indexes of their waves.

    An engine that no operator has seen yet may be of any type, and so counts for each type.
    """
    counted = [(m, wave) for m, wave in members if not m.excused and m.type in {type_, None}]
    by_wave: dict[int, list[Member]] = {}
    for member, wave in counted:
        by_wave.setdefault(wave, []).append(member)
    waves = tuple(
        _wave(one.name, by_wave.get(index, []), parse_duration(one.soak), target, now)
        for index, one in enumerate(policy.spec.waves)
    )
    return Rollout(waves, tuple(m for m, _ in counted if m.failed_at(target)))


def _wave(
    name: str, members: Sequence[Member], soak: timedelta, target: str, now: datetime
) -> Wave:
    blockers, ends = [], []
    for member in members:
        since = member.well_since(target)
        if since is None:
            blockers.append(member)
        elif since + soak > now:
            ends.append(since + soak)
    return Wave(name, len(members), tuple(blockers), max(ends, default=None))
