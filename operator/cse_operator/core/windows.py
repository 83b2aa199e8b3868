"""Windows and freezes: whether upgrades may start at a moment, and how long that stays so.

A window is a cron start and a duration. It is open at t if a start s has
s <= t < s + duration - cutoff. Where clocks change, starts follow Debian's cron: a start in the
gap comes right after it, a repeated start comes once. Durations are elapsed time: everything is
compared in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from cse_operator.api.duration import parse_duration
from cse_operator.api.policy import Freeze, Window
from cse_operator.core.zones import zone

_AROUND_A_CHANGE: Final = timedelta(hours=3)
"""cronsim forgets which of two equal wall times it was given. So a search begins further away than
any clock changes, and skips starts on the wrong side of the moment."""

_LONGEST: Final = timedelta(hours=168)

_ALWAYS: Final = timedelta(days=15)
"""A gate that stays open for longer counts as always open: twice the longest window, and a day."""

_MOST_JOINED: Final = 40
"""How many adjoining windows are joined to find one end. With more, an earlier end is returned,
which costs only another look at that moment."""

FURTHEST: Final = timedelta(days=400)
"""How far ahead an opening is looked for."""

MOST_A_DAY: Final = 24
"""The most starts of one window in a day: a window is not a matter of minutes."""


@dataclass(frozen=True, slots=True)
class Period:
    """Whether a gate is open, and until when that stays so."""

    open: bool
    until: datetime | None
    """None: no end is known."""


@dataclass(frozen=True, slots=True)
class NextOpening:
    """When several gates are next open together."""

    at: datetime | None
    """None: not known, or never."""
    never: bool = False
    """Whether the search found no opening within 400 days."""


NOT_KNOWN: Final = NextOpening(None)
"""The search would take too long."""


class Opening:
    """One window of a policy.

    Raises:
        ValueError: The schedule or the zone cannot be evaluated; the text says why.
    """

    def __init__(self, window: Window) -> None:
        self.name = window.name
        self.zone: ZoneInfo = zone(window.time_zone)
        self.duration = parse_duration(window.duration)
        self.length = self.duration - parse_duration(window.cutoff)
        """How long upgrades may start after the window opens."""
        if not timedelta(0) < self.length <= self.duration <= _LONGEST:
            raise ValueError(f"window {self.name}: duration and cutoff leave no time, or too much")
        self._known: tuple[datetime, datetime] | None = None
        """The moment of the last answer of `next_start`, and the answer."""
        self._schedule = window.schedule
        minutes, hours, day, _, weekday = self._schedule.split()
        if "*" not in day and "*" not in weekday:
            raise ValueError(f"window {self.name}: give the day of month or of week, not both")
        if minutes.count(",") + 1 > MOST_A_DAY // _most_hours(hours):
            raise ValueError(f"window {self.name}: it opens more than {MOST_A_DAY} times a day")
        try:
            next(CronSim(self._schedule, datetime(2026, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration) as error:
            why = str(error) or "it never opens"
            raise ValueError(f"window {self.name}: schedule {self._schedule!r}: {why}") from None

    def last_start(self, moment: datetime) -> datetime | None:
        """Return the last start at a moment or before it, in UTC."""
        away = (moment + _AROUND_A_CHANGE).astimezone(self.zone)
        starts = (start.astimezone(UTC) for start in CronSim(self._schedule, away, reverse=True))
        return next((start for start in starts if start <= moment), None)

    def next_start(self, moment: datetime) -> datetime | None:
        """Return the first start after a moment, in UTC."""
        if self._known is not None and self._known[0] <= moment < self._known[1]:
            return self._known[1]
        away = (moment - _AROUND_A_CHANGE).astimezone(self.zone)
        starts = (start.astimezone(UTC) for start in CronSim(self._schedule, away))
        found = next((start for start in starts if start > moment), None)
        self._known = None if found is None else (moment, found)
        return found

    def opens_at(self, moment: datetime) -> datetime | None:
        """Return the first moment, from the given one on, at which the window is open."""
        start = self.next_start(moment - self.length)
        return None if start is None else max(start, moment)

    def end_at(self, moment: datetime) -> datetime | None:
        """Return when the window closes if it is open at a moment; None if it is closed."""
        start = self.last_start(moment)
        if start is None or moment >= start + self.length:
            return None
        return start + self.length


@dataclass(slots=True, eq=False)
class Windows:
    """The windows of a policy as one gate; without windows, it is always open."""

    openings: tuple[Opening, ...]
    _known: tuple[datetime, Period] | None = field(default=None, repr=False)
    """The moment of the last answer, and the answer, which is valid until its end."""

    @classmethod
    def of(cls, windows: Sequence[Window]) -> Windows:
        """Return the windows of a spec.

        Raises:
            ValueError: A window cannot be evaluated.
        """
        return cls(tuple(Opening(window) for window in windows))

    def at(self, moment: datetime) -> Period:
        """Return whether the gate is open at a moment, and until when."""
        if not self.openings:
            return Period(open=True, until=None)
        if self._known is not None:
            since, period = self._known
            # An answer without an end is computed again now and then.
            if since <= moment < (period.until or since + _ALWAYS / 2):
                return period
        period = self._period(moment)
        self._known = (moment, period)
        return period

    @property
    def looks(self) -> int:
        """How many schedules `opens_at` looks at."""
        return len(self.openings)

    def opens_at(self, moment: datetime) -> datetime | None:
        """Return the first moment, from the given one on, at which a window is open."""
        moments = [opening.opens_at(moment) for opening in self.openings]
        return min((at for at in moments if at is not None), default=None)

    def _period(self, moment: datetime) -> Period:
        end = self._end_at(moment)
        if end is None:
            starts = [opening.next_start(moment) for opening in self.openings]
            return Period(open=False, until=min((s for s in starts if s is not None), default=None))
        for _ in range(_MOST_JOINED):
            if end - moment > _ALWAYS:
                return Period(open=True, until=None)
            later = self._end_at(end)
            if later is None:
                break
            end = later
        return Period(open=True, until=end)

    def _end_at(self, moment: datetime) -> datetime | None:
        ends = [opening.end_at(moment) for opening in self.openings]
        return max((end for end in ends if end is not None), default=None)

    def last_closed(self, moment: datetime) -> tuple[datetime, datetime] | None:
        """Return start and end of the window that closed last; None while a window is open."""
        spans = []
        for opening in self.openings:
            start = opening.last_start(moment)
            if start is not None and start + opening.length <= moment:
                spans.append((start + opening.length, start))
        if not spans or self.at(moment).open:
            return None
        end, start = max(spans)
        return start, end

    def zone_of(self, start: datetime) -> ZoneInfo:
        """Return the time zone of the window that opens at a moment; UTC if none does."""
        for opening in self.openings:
            if opening.last_start(start) == start:
                return opening.zone
        return zone("UTC")


@dataclass(frozen=True, slots=True)
class Freezes:
    """The freezes of a policy as one gate, closed from each `from` to right before its `to`."""

    freezes: tuple[Freeze, ...]

    def at(self, moment: datetime) -> Period:
        """Return whether the gate is open at a moment, and until when; join adjoining freezes."""
        end = self._end_at(moment)
        if end is None:
            starts = [freeze.start for freeze in self.freezes if freeze.start > moment]
            return Period(open=True, until=min(starts, default=None))
        while (later := self._end_at(end)) is not None:
            end = later
        return Period(open=False, until=end)

    @property
    def looks(self) -> int:
        """Return what `opens_at` counts for in a search: little, but not nothing."""
        return min(len(self.freezes), 1)

    def opens_at(self, moment: datetime) -> datetime | None:
        """Return the first moment, from the given one on, that is in no freeze."""
        period = self.at(moment)
        return moment if period.open else period.until

    def reason_at(self, moment: datetime) -> str:
        """Return the reason of the freeze that began last, in one line; empty without a freeze."""
        now = [freeze for freeze in self.freezes if freeze.start <= moment < freeze.end]
        reason = max(now, key=lambda freeze: freeze.start).reason if now else ""
        return "".join(letter if letter.isprintable() else " " for letter in reason)

    def _end_at(self, moment: datetime) -> datetime | None:
        ends = [freeze.end for freeze in self.freezes if freeze.start <= moment < freeze.end]
        return max(ends, default=None)


def next_common_opening(
    gates: Sequence[Windows | Freezes], moment: datetime, most: int
) -> tuple[NextOpening, int]:
    """Return the first moment, from the given one on, at which all gates are open.

    The search goes from gate to gate, and each time to the moment at which that gate opens, until
    it has found all gates open at one moment.

    Args:
        gates: the gates.
        moment: the moment.
        most: the most looks at schedules. A longer search ends with `NOT_KNOWN`, because windows
            that never meet must not keep the process busy.

    Returns:
        The opening, and how many looks the search took.
    """
    gates = [gate for gate in gates if gate.looks]
    at, last = moment, moment + FURTHEST
    looks = open_gates = 0
    for gate in cycle(gates):
        if looks + gate.looks > most:
            return NOT_KNOWN, looks
        looks += gate.looks
        opens = gate.opens_at(at)
        if opens is None or opens > last:
            return NextOpening(None, never=True), looks
        open_gates = open_gates + 1 if opens == at else 1
        at = opens
        if open_gates == len(gates):
            break
    return NextOpening(at), looks


def _most_hours(hours: str) -> int:
    """Return an upper bound of the hours of a day that a schedule names."""
    spans = (part.split("-") for part in hours.split(","))
    named = sum((int(span[-1]) - int(span[0])) % 24 + 1 for span in spans)
    return min(named, 24)
