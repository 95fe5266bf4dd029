"""How many were here at once: series and rankings from the history of concurrency.

In: a property, a range and an interval. Out: for each period, or for each page or source, the most
open, active and engaged visitors in one moment and how many there were on average. A period in
which nobody looked is unknown, not empty. tracking/concurrency.py writes what is read here; asked
by the page and the API (reports/concurrent.py) inside the tenant that THE DOOR opened.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from properties.models import Property
from properties.periods import Kind, Range, Span, floor, spans
from tracking.concurrency import Rounds, read
from tracking.models import Concurrency
from tracking.rounds import DIMENSIONS, Counts, Six

INTERVALS: Final[tuple[Kind, ...]] = ("minute", "hour", "day")
NAMES: Final = tuple(
    f"{state}_{what}" for state in ("open", "active", "engaged") for what in ("peak", "average")
)
STATES: Final = {
    "open": "a tab is open",
    "active": "it can be seen",
    "engaged": "its visitor has just interacted with it",
}
DEFINITIONS: Final = {
    f"{state}_peak": f"The most visitors in one moment of whom {says}."
    for state, says in STATES.items()
} | {
    f"{state}_average": f"Visitors of whom {says}: the mean over all moments that were looked at."
    for state, says in STATES.items()
}
_HOUR: Final = timedelta(hours=1)


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
    return "hour" if asked.span.length <= timedelta(days=15) else "day"


def series(
    place: Property, asked: Range, interval: Kind, dimension: str = "", value: str = ""
) -> list[Point]:
    """Every period of the range, of all visitors or of those of one page or source."""
    periods = list(spans(interval, asked.span, asked.tz))
    rounds = Rounds(periods[0].start, periods[-1].end) if periods else None
    found: dict[datetime, Six] = {}
    for start, counts in _rows(place, asked, interval):
        six = counts.by[dimension].get(value) if dimension else counts.total
        if six:
            mine = found.setdefault(floor(interval, start, asked.tz), [0] * 6)
            mine[:] = _merged(mine, six)
    return [_point(period, rounds, found.get(period.start), place) for period in periods if rounds]


def ranked(
    place: Property, asked: Range, interval: Kind, dimension: str, limit: int
) -> list[tuple[str, Mapping[str, float | None]]]:
    """Pages or sources, those with the most visitors on average first."""
    periods = list(spans(interval, asked.span, asked.tz))
    if not periods:
        return []
    total = Counts()
    for _, counts in _rows(place, asked, interval):
        total.add(counts)
    samples = Rounds(periods[0].start, periods[-1].end).between(
        max(periods[0].start, place.created), periods[-1].end
    )
    most = total.most(dimension, limit)
    return [(value, _numbers(six, samples)) for value, six in most.items()]


def _rows(place: Property, asked: Range, interval: Kind) -> Iterator[tuple[datetime, Counts]]:
    periods = list(spans(interval, asked.span, asked.tz))
    if not periods:
        return
    rows = Concurrency.objects.filter(
        property_id=place.pk,
        grain=Concurrency.Grain(interval[0]),
        starts_at__gte=periods[0].start,
        starts_at__lt=periods[-1].end,
    ).order_by("starts_at")
    columns = rows.values_list("starts_at", "numbers", *(f"{name}s" for name in DIMENSIONS))
    for start, *texts in columns:
        yield start, read(*texts)


def _merged(one: Six, other: Six) -> Six:
    peaks = [max(pair) for pair in zip(one[:3], other[:3], strict=True)]
    return peaks + [a + b for a, b in zip(one[3:], other[3:], strict=True)]


def _point(period: Span, rounds: Rounds, six: Six | None, place: Property) -> Point:
    """Before there was the property, nobody looked for its visitors."""
    seen = period.intersection(Span(min(place.created, period.end), period.end))
    samples = rounds.between(seen.start, seen.end) if seen else 0
    return Point(period, samples, _numbers(six or [0] * 6, samples))


def _numbers(six: Six, samples: int) -> dict[str, float | None]:
    if not samples:
        return dict.fromkeys(NAMES)
    values: list[float] = []
    for at in range(3):
        values += (six[at], round(six[at + 3] / samples, 3))
    return dict(zip(NAMES, values, strict=True))
