"""Windows and freezes: whether upgrades may start at a moment, and until when that stays so.

A window is a cron start and a duration. It is open at t if some start s has s <= t < s + duration,
less its cutoff. Starts follow Debian's cron where clocks change (a start in the gap comes right
after it, a repeated one once), and durations are real time: everything is compared in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from cse_operator.api.duration import parse_duration
from cse_operator.api.policy import Freeze, Window
from cse_operator.core.zones import zone

_AROUND_A_CHANGE: Final = timedelta(hours=3)
"""cronsim forgets which of two equal wall times it was given. Beginning further away than any
clock changes, and leaving out what is on the wrong side, is right on both."""

_LONGEST: Final = timedelta(hours=168)

_ALWAYS: Final = timedelta(days=15)
"""What stays open for so long has no end worth telling: twice the longest window, and a day."""

_MOST_JOINED: Final = 40
"""Windows that are joined to tell one end. With more of them the end is told in parts, which
costs nothing but another look at that moment."""

FURTHEST: Final = timedelta(days=400)
"""How far an opening is looked for."""

MOST_A_DAY: Final = 24
"""Starts of one window in a day: windows are not made of minutes."""

_MOST_LOOKS: Final = 8_000
"""Looks at schedules in one search for a common opening: a second or less. Beyond it, when the
gates are open together is not known: windows that never meet must not keep the process busy."""


@dataclass(frozen=True, slots=True)
class Period:
    """How a gate stands, and until when."""

    open: bool
    until: datetime | None
    """None: no end is known."""


@dataclass(frozen=True, slots=True)
class NextOpening:
    """When gates are open together next."""

    at: datetime | None
    """None: not known, or never."""
    never: bool = False
    """Whether it is known that there is none in 400 days."""


NOT_KNOWN: Final = NextOpening(None)
"""It would take too long to find out."""


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
        """For how long upgrades may start after it has opened."""
        if not timedelta(0) < self.length <= self.duration <= _LONGEST:
            raise ValueError(f"window {self.name}: duration and cutoff leave no time, or too much")
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
        """The last start at a moment or before it, in UTC."""
        away = (moment + _AROUND_A_CHANGE).astimezone(self.zone)
        starts = (start.astimezone(UTC) for start in CronSim(self._schedule, away, reverse=True))
        return next((start for start in starts if start <= moment), None)

    def next_start(self, moment: datetime) -> datetime | None:
        """The first start after a moment, in UTC."""
        away = (moment - _AROUND_A_CHANGE).astimezone(self.zone)
        starts = (start.astimezone(UTC) for start in CronSim(self._schedule, away))
        return next((start for start in starts if start > moment), None)

    def end_at(self, moment: datetime) -> datetime | None:
        """When it closes, if it is open at a moment."""
        start = self.last_start(moment)
        if start is None or moment >= start + self.length:
            return None
        return start + self.length


@dataclass(slots=True, eq=False)
class Windows:
    """The windows of a policy, as one gate; none means always open."""

    openings: tuple[Opening, ...]
    _known: tuple[datetime, Period] | None = field(default=None, repr=False)
    """The last answer and the moment it was for: it holds until its end."""

    @classmethod
    def of(cls, windows: Sequence[Window]) -> Windows:
        """The windows of a spec.

        Raises:
            ValueError: One of them cannot be evaluated.
        """
        return cls(tuple(Opening(window) for window in windows))

    def at(self, moment: datetime) -> Period:
        """How the gate stands at a moment."""
        if not self.openings:
            return Period(open=True, until=None)
        if self._known is not None:
            since, period = self._known
            # What has no end in sight is looked at again now and then.
            if since <= moment < (period.until or since + _ALWAYS / 2):
                return period
        period = self._period(moment)
        self._known = (moment, period)
        return period

    def ahead(self, moment: datetime) -> Period:
        """Whether it is open at a moment far ahead, and if not, until when: no more is asked."""
        if not self.openings or self._end_at(moment) is not None:
            return Period(open=True, until=None)
        return self._period(moment)

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
        """Start and end of the window that closed last before a moment at which none is open."""
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
        """The zone of the window that opens at a moment: the one that people wrote."""
        for opening in self.openings:
            if opening.last_start(start) == start:
                return opening.zone
        return zone("UTC")


@dataclass(frozen=True, slots=True)
class Freezes:
    """The freezes of a policy, as one gate: from their first moment on, without their last."""

    freezes: tuple[Freeze, ...]

    def at(self, moment: datetime) -> Period:
        """How the gate stands at a moment; overlapping freezes are one."""
        end = self._end_at(moment)
        if end is None:
            starts = [freeze.start for freeze in self.freezes if freeze.start > moment]
            return Period(open=True, until=min(starts, default=None))
        while (later := self._end_at(end)) is not None:
            end = later
        return Period(open=False, until=end)

    def ahead(self, moment: datetime) -> Period:
        """How the gate stands at a moment far ahead."""
        return self.at(moment)

    def reason_at(self, moment: datetime) -> str:
        """Why nothing starts, in the words of the freeze that began last."""
        now = [freeze for freeze in self.freezes if freeze.start <= moment < freeze.end]
        return max(now, key=lambda freeze: freeze.start).reason if now else ""

    def _end_at(self, moment: datetime) -> datetime | None:
        ends = [freeze.end for freeze in self.freezes if freeze.start <= moment < freeze.end]
        return max(ends, default=None)


def next_common_opening(gates: Sequence[Windows | Freezes], moment: datetime) -> NextOpening:
    """The first moment from now on at which all gates are open.

    From one end of what is closed to the next, never minute by minute, and with a bound.
    """
    at, last = moment, moment + FURTHEST
    windows = sum(len(gate.openings) for gate in gates if isinstance(gate, Windows))
    for _ in range(_MOST_LOOKS // (windows + 1)):
        if at > last:
            return NextOpening(None, never=True)
        closed = [period.until for gate in gates if not (period := gate.ahead(at)).open]
        if not closed:
            return NextOpening(at)
        ends = [until for until in closed if until is not None]
        if len(ends) < len(closed):
            return NextOpening(None, never=True)
        at = max(ends)
    return NOT_KNOWN


def _most_hours(hours: str) -> int:
    """Hours of a day that a schedule names, at the most."""
    spans = (part.split("-") for part in hours.split(","))
    named = sum((int(span[-1]) - int(span[0])) % 24 + 1 for span in spans)
    return min(named, 24)
