"""Which minute, hour, day, week, month, quarter or year is it for this property?

The only file that knows time zones. Pure: `now` is always an argument, nothing is read from the
machine's clock. Instants come in as aware datetimes (or epoch milliseconds, on the hot path) and
leave as UTC; a period is `[start, end)` and is named by its start. Asked by the collector
(`Clock`), the rollups (`floor`, `spans`) and every report, page or API (`parse_range`).

What a period is where clocks jump:

* Periods of one kind partition time: no gap, no overlap, in every zone.
* Minutes and hours follow the wall clock and are cut at the jump, so the second 02:00 hour of an
  autumn night is an hour of its own, and a 30-minute jump leaves one shorter hour.
* A date begins at the first instant that bears it (or a later one, if it was skipped): 01:00 where
  midnight does not exist. A clock put back across midnight does not reopen the day before.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import Any, Final, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

Kind = Literal["minute", "hour", "day", "week", "month", "quarter", "year"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

# What comes round again, each made of periods of a kind: hours 0 to 23, days 1 (Monday) to 7.
Cycle = Literal["hour_of_day", "day_of_week"]
CYCLES: Final[Mapping[Cycle, Kind]] = {"hour_of_day": "hour", "day_of_week": "day"}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_DAY_SECONDS: Final = 86_400
# Wall-clock kinds have a length; the others are counted in dates.
_CLOCK_SECONDS: Final[Mapping[str, int]] = {"minute": 60, "hour": 3600}
# Only for a first guess at how many points a series will have.
_NOMINAL_SECONDS: Final[Mapping[str, int]] = {
    **_CLOCK_SECONDS,
    "day": 86_400,
    "week": 7 * 86_400,
    "month": 30 * 86_400,
    "quarter": 91 * 86_400,
    "year": 365 * 86_400,
}
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2100


class RangeError(ValueError):
    """A range that cannot be understood; `field` is where, the message says what to write."""

    def __init__(self, message: str, field: str = "range") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """`[start, end)`: two instants in UTC. Naive datetimes and a reversed order are refused."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            object.__setattr__(self, name, _aware(getattr(self, name)).astimezone(UTC))
        if self.end < self.start:
            raise ValueError(f"A span ends ({self.end}) before it starts ({self.start}).")

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def overlaps(self, other: Span) -> bool:
        """Whether both share at least one instant."""
        return self.start < other.end and other.start < self.end

    def intersection(self, other: Span) -> Span | None:
        """The shared part, or None."""
        if not self.overlaps(other):
            return None
        return Span(max(self.start, other.start), min(self.end, other.end))


# -- zones -------------------------------------------------------------------------------------


@cache
def zone_names() -> frozenset[str]:
    """The zones a property may choose; the machine's own "localtime" is none of them."""
    return frozenset(available_timezones() - {"localtime", "Factory", "posixrules"})


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The zone of that exact name; ValueError with a suggestion otherwise."""
    if isinstance(name, str) and name in zone_names():
        return ZoneInfo(name)
    raise ValueError(
        f"Unknown time zone {str(name)[:64]!r}: {_suggestion(str(name)[:64])}"
        " Write a name of the IANA list, such as 'Europe/Berlin' or 'UTC'."
    )


def _suggestion(name: str) -> str:
    folded = {known.casefold(): known for known in zone_names()}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.8)
    return f"did you mean {folded[near[0]]!r}?" if near else "it is not in the list of zones."


def wall(instant: datetime, tz: ZoneInfo) -> datetime:
    """What the clock on the wall shows in the zone at that instant (aware)."""
    return _aware(instant).astimezone(tz)


def from_wall(shown: datetime, tz: ZoneInfo) -> datetime:
    """The instant at which the clock on the wall shows it (naive); the first of two in autumn, and
    what a spring night skips as if the clock had not been moved yet."""
    return shown.replace(tzinfo=tz).astimezone(UTC)


def local_date(instant: datetime, tz: ZoneInfo) -> date:
    """The date of the day that contains the instant (the day that `floor("day", ...)` starts)."""
    return wall(floor("day", instant, tz), tz).date()


# -- periods -----------------------------------------------------------------------------------


def floor(kind: Kind, instant: datetime, tz: ZoneInfo) -> datetime:
    """Start (UTC) of the period that contains the instant."""
    return _instant(_bounds(kind, _seconds(instant), tz)[0])


def next_start(kind: Kind, instant: datetime, tz: ZoneInfo) -> datetime:
    """Start (UTC) of the period after the one that starts at, or contains, the instant."""
    return _instant(_bounds(kind, _seconds(instant), tz)[1])


def span(kind: Kind, instant: datetime, tz: ZoneInfo) -> Span:
    """The whole period that contains the instant."""
    start, end = _bounds(kind, _seconds(instant), tz)
    return Span(_instant(start), _instant(end))


def spans(kind: Kind, within: Span, tz: ZoneInfo) -> Iterator[Span]:
    """Every period that overlaps `within`, whole (not cut to it), in order."""
    if within.start == within.end:
        return
    if kind in _CLOCK_SECONDS:
        yield from _clock_spans(_CLOCK_SECONDS[kind], within, tz)
        return
    current = span(kind, within.start, tz)
    while current.start < within.end:
        yield current
        current = span(kind, current.end, tz)


def day_start(day: date, tz: ZoneInfo) -> datetime:
    """The first instant (UTC) of that date in the zone; of the next one if it was skipped."""
    return _instant(_date_start(day, tz))


def days(first: date, last: date, tz: ZoneInfo) -> Span:
    """From the start of `first` to the end of `last`, both inclusive."""
    return Span(day_start(first, tz), day_start(last + _DAY, tz))


def label(kind: Kind, start: datetime, tz: ZoneInfo) -> str:
    """The period's name, unique in its zone: 2015-05-17T13:05, 2015-05-17T13, 2015-05-17,
    2015-W20, 2015-05, 2015-Q2, 2015.

    A minute or hour that the wall clock shows twice bears its UTC offset: 2015-10-25T02+01:00.
    """
    shown = wall(start, tz)
    if kind == "minute":
        return shown.strftime("%Y-%m-%dT%H:%M") + offset_if_twice(kind, start, tz)
    if kind == "hour":
        return shown.strftime("%Y-%m-%dT%H") + offset_if_twice(kind, start, tz)
    if kind == "day":
        return shown.date().isoformat()
    if kind == "week":
        year, week, _ = shown.isocalendar()
        return f"{year:04d}-W{week:02d}"
    if kind == "month":
        return shown.strftime("%Y-%m")
    if kind == "quarter":
        return f"{shown.year:04d}-Q{(shown.month + 2) // 3}"
    if kind == "year":
        return f"{shown.year:04d}"
    raise _unknown_kind(kind)


def turn(cycle: Cycle, start: datetime, tz: ZoneInfo) -> int:
    """Which part of a cycle the period is that starts there, counted from 1: hour 0 is 1."""
    shown = wall(start, tz)
    return shown.hour + 1 if cycle == "hour_of_day" else shown.isoweekday()


def turns(cycle: Cycle) -> Mapping[int, str]:
    """The parts of a cycle and their names: "00" to "23", or "1" (Monday) to "7"."""
    if cycle == "hour_of_day":
        return {hour + 1: f"{hour:02d}" for hour in range(24)}
    return {day: str(day) for day in range(1, 8)}


def offset_if_twice(kind: Kind, start: datetime, tz: ZoneInfo) -> str:
    """The offset "+01:00" if some wall time of the minute or hour that begins there comes twice,
    else ""."""
    shown = wall(start, tz)
    first = shown.replace(second=0, microsecond=0)
    last = first.replace(second=59)
    if kind == "hour":
        first, last = first.replace(minute=0), last.replace(minute=59)
    if not (_is_twice(first) or _is_twice(last)):
        return ""
    sign_and_digits = shown.strftime("%z")
    return f"{sign_and_digits[:3]}:{sign_and_digits[3:5]}"


def _is_twice(shown: datetime) -> bool:
    early, late = shown.replace(fold=0).utcoffset(), shown.replace(fold=1).utcoffset()
    assert early is not None and late is not None
    return early > late  # smaller would be a gap: a wall time that never comes


# Inside, instants are whole epoch seconds: every boundary is one, and integers are exact and fast.


def _bounds(kind: str, second: int, tz: ZoneInfo) -> tuple[int, int]:
    if kind in _CLOCK_SECONDS:
        return _clock_bounds(_CLOCK_SECONDS[kind], second, tz)
    if kind in KINDS:
        return _date_bounds(kind, second, tz)
    raise _unknown_kind(kind)


def _clock_bounds(size: int, second: int, tz: ZoneInfo) -> tuple[int, int]:
    offset = _offset(second, tz)
    start = second - (second + offset) % size
    end = start + size
    if _offset(start, tz) != offset:
        start = _transition(start, second, tz)
    if _offset(end - 1, tz) != offset:
        end = _transition(second, end - 1, tz)
    return start, end


def _clock_spans(size: int, within: Span, tz: ZoneInfo) -> Iterator[Span]:
    """A year has nine thousand hours: what lies in a day at whose ends the offset is the same is
    counted off. No zone has changed its offset twice in a day (tests/test_periods.py)."""
    start, end = _clock_bounds(size, _seconds(within.start), tz)
    even = end  # from here on periods may be cut by a change of the offset
    begins, until = _instant(start), within.end
    while begins < until:
        ends = _instant(end)
        yield Span(begins, ends)
        if end + size > even:
            offset = _offset(end, tz)
            whole = (end + offset) % size == 0 and _offset(end + _DAY_SECONDS, tz) == offset
            even = end + _DAY_SECONDS if whole else end
        start, end = (end, end + size) if end + size <= even else _clock_bounds(size, end, tz)
        begins = ends


def _date_bounds(kind: str, second: int, tz: ZoneInfo) -> tuple[int, int]:
    first = _first_date(kind, datetime.fromtimestamp(second, tz).date())
    following = _following_date(kind, first)
    start, end = _date_start(first, tz), _date_start(following, tz)
    while end <= second:  # the clock was put back across midnight: the new day goes on
        following = _following_date(kind, following)
        start, end = end, _date_start(following, tz)
    return start, end


def _first_date(kind: str, day: date) -> date:
    if kind == "day":
        return day
    if kind == "week":
        return day - timedelta(days=day.weekday())
    if kind == "month":
        return day.replace(day=1)
    if kind == "quarter":
        return date(day.year, day.month - (day.month - 1) % 3, 1)
    return date(day.year, 1, 1)


def _following_date(kind: str, first: date) -> date:
    if kind == "day":
        return first + _DAY
    if kind == "week":
        return first + timedelta(days=7)
    if kind == "year":
        return date(first.year + 1, 1, 1)
    months = first.year * 12 + first.month - 1 + (1 if kind == "month" else 3)
    return date(months // 12, months % 12 + 1, 1)


@lru_cache(maxsize=16_384)
def _date_start(day: date, tz: ZoneInfo) -> int:
    midnight = datetime.combine(day, time(), tzinfo=tz)
    second = _seconds(midnight)
    if datetime.fromtimestamp(second, tz).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return second
    # Midnight lies in a gap: the day begins where the clock jumped over it.
    return _transition(_seconds(midnight.replace(fold=1)), second, tz)


def _transition(before: int, after: int, tz: ZoneInfo) -> int:
    """The second in (before, after] at which the offset changes from that of `before`."""
    old = _offset(before, tz)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, tz) == old:
            before = middle
        else:
            after = middle
    return after


def _offset(second: int, tz: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(second, tz).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _seconds(instant: datetime) -> int:
    return (_aware(instant) - _EPOCH) // _SECOND


def _instant(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _aware(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone: pass an aware datetime.")
    return instant


def _unknown_kind(kind: object) -> ValueError:
    return ValueError(f"Unknown kind of period {kind!r}: use one of {', '.join(KINDS)}.")


# -- the hot path ------------------------------------------------------------------------------


class Clock:
    """Minute, hour and day of an event for one zone, in epoch seconds, without datetimes.

    Remembers one answer per quarter of an hour (in UTC). A quarter with a jump or a boundary
    inside, which only zones off the 15-minute grid have, is answered second by second.
    """

    SLOT = 900
    # 48 h of quarters for live traffic, and room for an import that walks through years.
    LIMIT = 4096

    def __init__(self, tz_name: str) -> None:
        self.tz = zone(tz_name)
        self._slots: dict[int, tuple[int, int, int] | None] = {}
        self._odd: dict[int, tuple[int, int, int]] = {}

    def stamps(self, epoch_ms: int) -> tuple[int, int, int]:
        """(minute, hour, day) that contain the moment, each as its start in epoch seconds."""
        second = epoch_ms // 1000
        try:
            slot = self._slots[second // 900]
        except KeyError:
            slot = self._learn(second // 900)
        if slot is None:
            return self._stamps_of_second(second)
        phase, hour, day = slot
        return second - (second - phase) % 60, hour, day

    def _learn(self, number: int) -> tuple[int, int, int] | None:
        """(a minute's start, hour, day) if they hold for all of the slot, else None."""
        if len(self._slots) >= self.LIMIT:
            self._slots.clear()
        first, last = number * self.SLOT, number * self.SLOT + self.SLOT - 1
        at_first, at_last = self._exact(first), self._exact(last)
        is_even = (
            at_first[1:] == at_last[1:]
            and _offset(first, self.tz) == _offset(last, self.tz)
            and (at_last[0] - at_first[0]) % 60 == 0  # else the first minute is cut
        )
        slot = at_first if is_even else None
        self._slots[number] = slot
        return slot

    def _stamps_of_second(self, second: int) -> tuple[int, int, int]:
        known = self._odd.get(second)
        if known is None:
            if len(self._odd) >= self.LIMIT:
                self._odd.clear()
            known = self._odd[second] = self._exact(second)
        return known

    def _exact(self, second: int) -> tuple[int, int, int]:
        return (
            _bounds("minute", second, self.tz)[0],
            _bounds("hour", second, self.tz)[0],
            _bounds("day", second, self.tz)[0],
        )


# -- ranges: what a reader asks for ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Range:
    """What a reader asked for. `first` and `last` are set when it is whole days (inclusive)."""

    span: Span
    tz: ZoneInfo
    text: str
    first: date | None = None
    last: date | None = None

    @property
    def kind_of_days(self) -> bool:
        """Whether it is whole local days, and not instants."""
        return self.first is not None

    @property
    def day_count(self) -> int:
        """Number of dates, 0 for a range of instants."""
        if self.first is None or self.last is None:
            return 0
        return (self.last - self.first).days + 1

    def previous(self, *, by_weekday: bool = False) -> Range:
        """As much time just before: for whole days as many dates, else as many seconds. By
        weekday: whole weeks back, as few as leave no overlap, so that Mondays meet Mondays."""
        if by_weekday:
            days_long = self.day_count or -(-self.span.length // _DAY)
            return self._back(-(-days_long // 7) * 7)
        if self.first is None or self.last is None:
            start = self.span.start - self.span.length
            return _of_instants(Span(start, self.span.start), self.tz)
        first, last = self.first - timedelta(days=self.day_count), self.first - _DAY
        while _is_skipped(first, last, self.tz):
            first -= _DAY  # a date that the zone skipped cannot be compared with
        return _of_days(first, last, self.tz)

    def beside(self, way: Literal[-1, 1]) -> Range:
        """What a reader turns the page to, back (-1) or on (1): the day, week, month, quarter or
        year beside this one, if it is one; else as many dates or seconds."""
        for kind in KINDS:
            if self.kind_of_days and span(kind, self.span.start, self.tz) == self.span:
                edge = self.span.end if way == 1 else self.span.start - _SECOND
                return whole(kind, edge, self.tz)
        if way == -1:
            return self.previous()
        if self.first is None or self.last is None:
            return _of_instants(Span(self.span.end, self.span.end + self.span.length), self.tz)
        return _of_days(self.last + _DAY, self.last + timedelta(days=self.day_count), self.tz)

    def year_before(self, *, by_weekday: bool = False) -> Range:
        """The same dates (28 February for the 29th, the day before for one that the zone skipped)
        and times of the year before; by weekday: 52 weeks back."""
        if by_weekday:
            return self._back(364)
        if self.first is None or self.last is None:
            shown = wall(self.span.start, self.tz)
            return self._back((shown.date() - _year_back(shown.date())).days)
        first, last = _year_back(self.first), _year_back(self.last)
        while _is_skipped(first, last, self.tz):
            first, last = first - _DAY, last - _DAY
        return _of_days(first, last, self.tz)

    def as_far(self, other: Range, now: datetime) -> Range:
        """The part of another range that is over where this one is as far as the end of the hour
        of `now`: for whole days the same hours on the wall, else as many seconds."""
        end = next_start("hour", now, self.tz)
        if self.first is None or other.first is None:
            until = other.span.start + (end - self.span.start)
        else:
            # The last second of the hour: the end may be a midnight that does not exist.
            shown = wall(end - _SECOND, self.tz).replace(tzinfo=None) + _SECOND
            until = from_wall(shown - (self.first - other.first), self.tz)
        until = min(max(until, other.span.start), other.span.end)
        return Range(Span(other.span.start, until), self.tz, "")

    def _back(self, count: int) -> Range:
        """So many days back, at the same times on the wall, and as long; a week more where the
        zone skipped the only date there."""
        by = timedelta(days=count)
        if self.first is None or self.last is None:
            start = (wall(self.span.start, self.tz) - by).astimezone(UTC)
            return _of_instants(Span(start, start + self.span.length), self.tz)
        while _is_skipped(self.first - by, self.last - by, self.tz):
            by += 7 * _DAY
        return _of_days(self.first - by, self.last - by, self.tz)

    def default_interval(self) -> Kind:
        """The interval that shows this range in some 20 to 120 points."""
        slack = timedelta(hours=2)  # three days may have 73 hours
        if self.span.length <= timedelta(hours=2):
            return "minute"
        if self.span.length <= 3 * _DAY + slack:
            return "hour"
        if self.span.length <= 120 * _DAY + slack:
            return "day"
        if self.span.length <= 731 * _DAY + slack:
            return "week"
        return "month"


def _is_skipped(first: date, last: date, tz: ZoneInfo) -> bool:
    """Whether none of these dates ever was in the zone."""
    return _date_start(first, tz) == _date_start(last + _DAY, tz)


def _year_back(day: date) -> date:
    try:
        return day.replace(year=day.year - 1)
    except ValueError:  # the 29th of February
        return day.replace(year=day.year - 1, day=28)


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DATETIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)(Z|[+-]\d{2}:\d{2})?", re.ASCII
)
_LAST_N = re.compile(r"([0-9]{1,6})([mhd])", re.ASCII)
_LAST_N_LIMITS: Final = {"m": 44_640, "h": 8_784, "d": 50_000}
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_CURRENT: Final[Mapping[str, Kind]] = {
    "week": "week",
    "month": "month",
    "quarter": "quarter",
    "year": "year",
}
_EXAMPLES: Final = (
    "write 'today', 'yesterday', '30m', '24h', '28d', 'week', 'month', 'quarter', 'year', 'all', "
    '\'2015-05-17..2015-05-20\' or {"from": "2015-05-17", "to": "2015-05-20"}.'
)


def parse_range(
    asked: str | Mapping[str, Any],
    tz: ZoneInfo,
    now: datetime,
    *,
    first: datetime | None = None,
) -> Range:
    """The range that a page or the API asks for, in the property's zone; RangeError if unclear.

    `Nm` and `Nh` end with the current minute or hour, `Nd` are N days ending today, `week` to
    `year` the current ones to their end, `all` begins on the day of `first` (the property's
    first event; without one it is today). {"from", "to"}, or "from..to" in one word: dates are
    inclusive days, date-times half-open and local unless they bear an offset.
    """
    if isinstance(asked, Mapping):
        return _from_to(asked.get("from"), asked.get("to"), tz, extra=set(asked) - {"from", "to"})
    if not isinstance(asked, str):
        raise RangeError(f"A range is a word or an object: {_EXAMPLES}")
    text = asked.strip()
    if ".." in text:
        start, _, end = text.partition("..")
        return _from_to(start, end, tz)
    if _DATE.fullmatch(text):
        return _from_to(text, text, tz)
    return _named(text, tz, now, first)


def whole(kind: Kind, instant: datetime, tz: ZoneInfo) -> Range:
    """The dates of the whole day, week, month, quarter or year that contains the instant."""
    found = span(kind, instant, tz)
    return _of_days(local_date(found.start, tz), local_date(found.end - _SECOND, tz), tz)


def clamp(asked: Range, window: Range | None) -> Range | None:
    """The part of a range that lies in a window of whole days; None if nothing of it does. Without
    a window, or if all of it does, the range itself."""
    if window is None:
        return asked
    both = asked.span.intersection(window.span)
    if both is None or both == asked.span:
        return asked if both else None
    if both == window.span:
        return window
    if asked.first is None or asked.last is None or window.first is None or window.last is None:
        return _of_instants(both, asked.tz)
    return _of_days(max(asked.first, window.first), min(asked.last, window.last), asked.tz)


def inside(asked: Range, window: Range) -> Range:
    """As `clamp`, but RangeError where nothing may be seen."""
    shown = clamp(asked, window)
    if shown is None:
        days = (
            f"{window.first}" if window.first == window.last else f"{window.first} to {window.last}"
        )
        raise RangeError(f"Only {days} can be seen here: choose days of these.")
    return shown


def _named(text: str, tz: ZoneInfo, now: datetime, first: datetime | None) -> Range:
    today = local_date(now, tz)
    if text == "today":
        return _of_days(today, today, tz, text)
    if text == "yesterday":
        yesterday = local_date(floor("day", now, tz) - _SECOND, tz)
        return _of_days(yesterday, yesterday, tz, text)
    if text == "all":
        start = min(today, local_date(first, tz)) if first else today
        return _of_days(start, today, tz, text)
    if text in _CURRENT:
        start = _first_date(text, today)
        return _of_days(start, _following_date(text, start) - _DAY, tz, text)
    if match := _LAST_N.fullmatch(text):
        return _last_n(int(match[1]), match[2], tz, now)
    raise RangeError(f"Unknown range {text[:40]!r}: {_EXAMPLES}")


def _last_n(count: int, unit: str, tz: ZoneInfo, now: datetime) -> Range:
    if not 1 <= count <= _LAST_N_LIMITS[unit]:
        raise RangeError(
            f"A range of {count} {_UNITS[unit]} is not possible: "
            f"write a number from 1 to {_LAST_N_LIMITS[unit]}, such as '30{unit}'."
        )
    if unit == "d":
        today = local_date(now, tz)
        start = today - timedelta(days=count - 1)
        _check_year(start.year, "range")
        return _of_days(start, today, tz, "today" if count == 1 else f"{count}d")
    kind: Kind = "minute" if unit == "m" else "hour"
    current = span(kind, now, tz)
    back = current.start
    for _ in range(count - 1):
        back = floor(kind, back - _SECOND, tz)
    _check_year(back.year, "range")
    return Range(Span(back, current.end), tz, f"{count}{unit}")


def _from_to(start: object, end: object, tz: ZoneInfo, extra: set[str] | None = None) -> Range:
    if extra:
        raise RangeError(
            f'A range has no {sorted(map(str, extra))[0][:40]!r}: give "from" and "to" only.'
        )
    first, last = _moment(start, "from", tz), _moment(end, "to", tz)
    if not isinstance(first, datetime) and not isinstance(last, datetime):
        if last < first:
            raise _reversed(start, end)
        if _is_skipped(first, last, tz):
            raise RangeError(f"{first} was skipped in {tz.key}: choose the day after.", "from")
        return _of_days(first, last, tz)
    begin = first if isinstance(first, datetime) else day_start(first, tz)
    finish = last if isinstance(last, datetime) else day_start(last + _DAY, tz)
    if finish <= begin:
        raise _reversed(start, end)
    return _of_instants(Span(begin, finish), tz)


def _reversed(start: object, end: object) -> RangeError:
    return RangeError(
        f'The range ends ({end}) before it begins ({start}): exchange "from" and "to".', "from"
    )


def _moment(value: object, field: str, tz: ZoneInfo) -> date | datetime:
    """A date, or an instant in UTC. A local time in a gap counts as if the clock had not jumped,
    one that comes twice is the first."""
    if value is None or value == "":
        raise RangeError(f'"{field}" is missing: {_MOMENT_EXAMPLES}', field)
    text = value.strip() if isinstance(value, str) else ""
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text)
            _check_year(day.year, field)
            return day
        if match := _DATETIME.fullmatch(text):
            return _parsed_instant(match, field, tz)
    except RangeError:
        raise
    except (ValueError, OverflowError):
        pass  # looks right and is no date: 31 February, 25 o'clock
    raise RangeError(f"{str(value)[:40]!r} is no date: {_MOMENT_EXAMPLES}", field)


_MOMENT_EXAMPLES: Final = "write it as 2015-05-17, 2015-05-17T13:00 or 2015-05-17T13:00Z."


def _parsed_instant(match: re.Match[str], field: str, tz: ZoneInfo) -> datetime:
    instant = datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3] or ''}")
    _check_year(instant.year, field)
    return (instant if instant.tzinfo else instant.replace(tzinfo=tz)).astimezone(UTC)


def _check_year(year: int, field: str) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise RangeError(
            f"The year {year} is out of reach: choose one from {FIRST_YEAR} to {LAST_YEAR}.", field
        )


def _of_days(first: date, last: date, tz: ZoneInfo, text: str = "") -> Range:
    return Range(days(first, last, tz), tz, text or f"{first}..{last}", first, last)


def _of_instants(within: Span, tz: ZoneInfo) -> Range:
    start, end = (edge.isoformat().replace("+00:00", "Z") for edge in (within.start, within.end))
    return Range(within, tz, f"{start}..{end}")


def check_points(asked: Range, interval: Kind, limit: int = 2000) -> int:
    """How many points a series has; RangeError ("interval") if they are over the limit."""
    if interval not in KINDS:
        raise RangeError(
            f"Unknown interval {str(interval)[:40]!r}: use one of {', '.join(KINDS)}.", "interval"
        )
    points = _count(asked, interval, limit)
    if points <= limit:
        return points
    fitting = [kind for kind in KINDS if _count(asked, kind, limit) <= limit]
    advice = f"choose {fitting[0]!r} or a shorter range" if fitting else "choose a shorter range"
    raise RangeError(
        f"Too many points: about {points:,} {interval}s, and {limit:,} is the limit; {advice}.",
        "interval",
    )


def _count(asked: Range, interval: Kind, limit: int) -> int:
    guess = int(asked.span.length.total_seconds() // _NOMINAL_SECONDS[interval])
    if guess > limit + 50:  # far beyond: walking through years of minutes would take too long
        return guess
    return sum(1 for _ in spans(interval, asked.span, asked.tz))
