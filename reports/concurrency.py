"""How many were here at once: series and rankings from the history of concurrency.

In: a property, a range and an interval. Out: for each period, or for each page or source, the most
open, active and engaged visitors in one moment and how many there were on average. A period in
which nobody looked, or before there was the property, is unknown, not empty. Written by
tracking/concurrency.py; asked by reports/concurrency_views.py inside the tenant of THE DOOR.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from properties.models import Property
from properties.periods import Kind, Range, Span, clamp, floor, parse_range, spans, zone
from tracking.concurrency import HOURS_LIVE, MINUTES_LIVE, Rounds, read
from tracking.models import Concurrency
from tracking.rounds import DIMENSIONS, Counts, Six, merge

INTERVALS: Final[tuple[Kind, ...]] = ("minute", "hour", "day")
NAMES: Final = tuple(
    f"{state}_{what}" for state in ("open", "active", "engaged") for what in ("peak", "average")
)
STATES: Final = {
    "open": "had a tab open",
    "active": "had it in sight",
    "engaged": "interacted with it in the last 5 seconds",
}
DEFINITIONS: Final = {
    f"{state}_{what}": sentence.format(who)
    for state, who in STATES.items()
    for what, sentence in (
        ("peak", "The most visitors who {} in one moment."),
        ("average", "Visitors who {} in a moment: the mean over all moments that were looked at."),
    )
}
_HOUR: Final = timedelta(hours=1)
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Point:
    """A period; `numbers` are NAMES -> value, None where nobody looked (`samples` is 0)."""

    within: Span
    samples: int
    numbers: Mapping[str, float | None]


def default_interval(asked: Range) -> Kind:
    """The finest that shows the range in some hundreds of points at most."""
    if asked.span.length <= 8 * _HOUR:
        return "minute"
    return "hour" if asked.span.length <= timedelta(days=29) else "day"


def series(
    place: Property,
    asked: Range,
    interval: Kind,
    now: datetime,
    dimension: str = "",
    value: str = "",
) -> list[Point]:
    """Every period of the range, of all visitors or of those of one page or source."""
    periods = list(spans(interval, asked.span, asked.tz))
    rounds, old = _rounds(periods), _old(interval, now)
    found: dict[datetime, Six] = {}
    for start, counts in _rows(place, periods, interval, old):
        six = counts.by[dimension].get(value) if dimension else counts.total
        if six:
            merge(found.setdefault(floor(interval, start, asked.tz), [0] * 6), six)
    points = []
    for period in periods:
        known = period.start >= old
        samples = rounds.between(max(period.start, place.created), period.end) if known else 0
        numbers = _numbers(found.get(period.start, [0] * 6), samples)
        points.append(Point(period, samples, numbers))
    return points


def ranked(
    place: Property, asked: Range, interval: Kind, now: datetime, dimension: str, limit: int
) -> list[tuple[str, Mapping[str, float | None]]]:
    """Pages or sources, those with the most visitors on average first."""
    periods = list(spans(interval, asked.span, asked.tz))
    rounds, old = _rounds(periods), _old(interval, now)
    total = Counts()
    for _, counts in _rows(place, periods, interval, old):
        total.add(counts)
    known = [period for period in periods if period.start >= old]
    samples = rounds.between(max(known[0].start, place.created), known[-1].end) if known else 0
    most = total.most(dimension, limit)
    return [(value, _numbers(six, samples)) for value, six in most.items()]


def week_before(place: Property, within: Span, now: datetime, *of: str) -> list[tuple[int, float]]:
    """What was open on average in the same minutes of the wall a week before: minutes of `within`
    (epoch seconds of their start) and numbers; those that nobody knows are left out, and all
    where a share link does not show that day. `of`: a dimension and its value, as in `series`."""
    tz = zone(place.timezone)
    edges = {"from": within.start.isoformat(), "to": within.end.isoformat()}
    before = parse_range(edges, tz, now).previous(by_weekday=True)
    if clamp(before, place.window) != before:
        return []  # not all of it may be seen
    by = within.start - before.span.start
    return [
        (int((point.within.start + by).timestamp()), average)
        for point in series(place, before, "minute", now, *of)
        if (average := point.numbers["open_average"]) is not None
    ]


def _old(interval: Kind, now: datetime) -> datetime:
    """Periods that began before that are kept no more: nobody knows, and 0 would be wrong."""
    lives = {"minute": MINUTES_LIVE, "hour": HOURS_LIVE}.get(interval)
    return now - lives if lives else NEVER


def _rounds(periods: Sequence[Span]) -> Rounds:
    return Rounds(periods[0].start, periods[-1].end) if periods else Rounds(NEVER, NEVER)


def _rows(
    place: Property, periods: Sequence[Span], interval: Kind, old: datetime
) -> Iterator[tuple[datetime, Counts]]:
    if not periods:
        return
    rows = Concurrency.objects.filter(
        property_id=place.pk,
        grain=interval[0],
        starts_at__gte=max(periods[0].start, old),
        starts_at__lt=periods[-1].end,
    ).order_by("starts_at")
    columns = rows.values_list("starts_at", "numbers", *(f"{name}s" for name in DIMENSIONS))
    for start, *texts in columns:
        yield start, read(*texts)


def _numbers(six: Six, samples: int) -> dict[str, float | None]:
    if not samples:
        return dict.fromkeys(NAMES)
    values: list[float] = []
    for at in range(3):
        values += (six[at], round(six[at + 3] / samples, 3))
    return dict(zip(NAMES, values, strict=True))
