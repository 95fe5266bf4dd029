"""Is it unusual for this hour, how many are here now? A rule, and the history it looks at.

In: how many have a tab open, and when. Out: "normal", "spike", "drop" or "unknown", with what is
usual. The rule is that of the modified z-score (Iglewicz and Hoaglin, How to Detect and Handle
Outliers, 1993): so many times the median absolute deviation from the median, which neither one
strange week nor a holiday among eight can shift. A count that comes and goes by chance spreads by
the root of its mean, and no history of a few numbers can promise less, so that is the least spread
taken; a tenth of the median is another floor, for sites so steady that a handful would alarm.

    spread = max(1.4826 * MAD, sqrt(median), share * median)     share: 0.1 of weeks, 0.25 of hours
    reach = max(3.5 * spread, 10)
    spike: now > median + reach          drop: now < median - reach

History is the same hour of the same weekday, on the wall of the property, in the last eight weeks;
while fewer than four of these are known, the last six hours, more carefully, for mornings rise.
With less than three of them nothing is said. Asked by the live page and its API.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from math import sqrt
from statistics import median
from typing import Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from accounts.tenancy import tenant
from properties.models import Property
from properties.periods import Span, floor, span, wall, zone
from tracking.concurrency import Rounds
from tracking.models import Concurrency

Verdict = Literal["normal", "spike", "drop", "unknown"]
Basis = Literal["weeks", "hours"]

WEEKS, ENOUGH_WEEKS = 8, 4
HOURS, ENOUGH_HOURS = 6, 3
TIMES: Final = 3.5
AS_SIGMA: Final = 1.4826  # of a normal distribution, per median absolute deviation
SHARE: Final = {"weeks": 0.1, "hours": 0.25}
WORDS: Final = {"spike": "Unusually many", "drop": "Unusually few"}
LEAST: Final = 10  # visitors more or fewer; below, nobody would look
ROUNDS: Final = 60  # five minutes of sampling: with fewer, an hour is unknown
_HOUR: Final = timedelta(hours=1)
# Where clocks jump, the same hour lies up to an hour beside; in one zone, half an hour.
_BESIDE: Final = tuple(timedelta(minutes=minutes) for minutes in (-60, -30, 0, 30, 60))


class Usual(NamedTuple):
    """What is usual in this hour: from `low` to `high`, by so many hours of history."""

    median: float
    low: float
    high: float
    basis: Basis
    hours: int


# -- the rule --------------------------------------------------------------------------------------


def usual(weeks: Sequence[float], hours: Sequence[float]) -> Usual | None:
    """Of the averages of the same hour in weeks past, or of the hours just past; None: too few."""
    if len(weeks) >= ENOUGH_WEEKS:
        return _around(weeks, "weeks")
    if len(hours) >= ENOUGH_HOURS:
        return _around(hours, "hours")
    return None


def _around(history: Sequence[float], basis: Basis) -> Usual:
    middle = median(history)
    deviation = median(abs(value - middle) for value in history)
    spread = max(AS_SIGMA * deviation, sqrt(middle), SHARE[basis] * middle)
    reach = max(TIMES * spread, LEAST)
    return Usual(middle, max(0.0, middle - reach), middle + reach, basis, len(history))


def judge(count: int, expected: Usual | None) -> Verdict:
    """`count` visitors, where that is usual."""
    if expected is None:
        return "unknown"
    if count > expected.high:
        return "spike"
    return "drop" if count < expected.low else "normal"


# -- its history -----------------------------------------------------------------------------------


def same_hours(now: datetime, tz: ZoneInfo, weeks: int = WEEKS) -> list[Span]:
    """The hours of the weeks past that the wall called as it calls this one, newest first: none
    in a week whose clocks jumped over it, two where they were put back into it."""
    current = floor("hour", now, tz)
    called = wall(current, tz)
    found = []
    for week in range(1, weeks + 1):
        around = {floor("hour", current - timedelta(weeks=week) + by, tz) for by in _BESIDE}
        for start in sorted(around, reverse=True):
            shown = wall(start, tz)
            if (shown.hour, shown.weekday()) == (called.hour, called.weekday()):
                found.append(span("hour", start, tz))
    return found


def last_hours(now: datetime, tz: ZoneInfo, count: int = HOURS) -> list[Span]:
    """The hours that ended last, newest first."""
    found: list[Span] = []
    end = floor("hour", now, tz)
    for _ in range(count):
        found.append(span("hour", end - timedelta(seconds=1), tz))
        end = found[-1].start
    return found


def _averages(place: Property, hours: Sequence[Span]) -> list[float]:
    """Of the open visitors in those of the hours that are known and that the property was there."""
    since = place.counted_since
    sums: dict[datetime, list[int]] = dict(
        Concurrency.objects.filter(
            property_id=place.pk, grain="h", starts_at__in=[hour.start for hour in hours]
        ).values_list("starts_at", "numbers")
    )
    averages = []
    for hour in hours:
        rounds = Rounds(hour.start, hour.end).between(hour.start, hour.end)
        if rounds >= ROUNDS and hour.start >= since:
            averages.append(sums[hour.start][3] / rounds if hour.start in sums else 0.0)
    return averages


@lru_cache(maxsize=4_096)
def _usual(place: "_Place", hour: datetime) -> Usual | None:
    tz = zone(place.of.timezone)
    with tenant(place.of.account_id):
        weeks = _averages(place.of, same_hours(hour, tz))
        enough = len(weeks) >= ENOUGH_WEEKS
        return usual(weeks, [] if enough else _averages(place.of, last_hours(hour, tz)))


class _Place:
    """A property as what is remembered of it: another zone is another history."""

    def __init__(self, of: Property) -> None:
        self.of = of
        self._key = of.pk, of.timezone

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Place) and self._key == other._key


def now(place: Property, count: int, moment: datetime) -> dict[str, Any]:
    """{"verdict", "text", "median", "low", "high", "basis", "hours"} for `count` open visitors; the
    numbers are None while it is unknown. Asks Postgres once an hour and process."""
    expected = _usual(_Place(place), floor("hour", moment, zone(place.timezone)))
    verdict = judge(count, expected)
    shown: dict[str, Any] = dict.fromkeys(Usual._fields)
    if expected:
        shown = expected._asdict()
    return {"verdict": verdict, "text": in_words(verdict, expected), **shown}


def in_words(verdict: Verdict, expected: Usual | None) -> str:
    """A sentence for the reader where there is something to say; else ""."""
    if expected is None or verdict not in WORDS:
        return ""
    return f"{WORDS[verdict]} for this hour: {expected.low:,.0f} to {expected.high:,.0f} are usual."
