"""How a number, a rate, a duration, a change and a value look to a reader.

Enters: numbers as reports/queries.py gives them (counts as int, rates 0-1, durations in ms, None
where there is nothing) and the unit of their metric. Leaves: short text for pages and cells for
CSV. Pure; called by what makes report pages, the template filters and the CSV download.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from properties.periods import Kind, Range, offset_if_twice, wall
from properties.strangers_text import visible
from reports.metrics import Unit, find_dimension
from tracking.places import country_name

Number = int | float | None

NOTHING = "-"
FEW = 9_950  # milliseconds, below which tenths of a second matter
_SCALES = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))


def short(value: Number, unit: Unit = "count") -> str:
    """As it stands on a page: 1,234, 12.3k, 38 %, 1m 12s; "-" where there is nothing."""
    if value is None:
        return NOTHING
    if unit == "rate":
        return percent(value)
    if unit == "duration_ms":
        return duration(value)
    if unit == "score":
        return f"{value:.2f}"
    return count(value)


def exact(value: Number, unit: Unit = "count") -> str:
    """The same without shortening, for titles: 12,345, 38.2 %, 1m 12s."""
    if value is None:
        return "nothing"
    if unit == "rate":
        return f"{value * 100:.1f} %"
    if unit == "duration_ms":
        return duration(value) if value >= FEW else f"{value:,.0f} ms"
    if unit == "score":
        return f"{value:.4f}"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"


def count(value: int | float) -> str:
    """Digits under 10,000, then three of them: 9,999, 12.3k, 143k, 1.20M; a mean as 2.4."""
    if abs(value) < 10_000:
        return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
    for size, letter in _SCALES:
        # 999,950 would round to 1000k: it is 1.00M already.
        if abs(value) >= size * 0.9995:
            scaled = value / size
            digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{scaled:.{digits}f}{letter}"
    raise AssertionError("unreachable: every number over 9,999 has a scale")


def percent(rate: float) -> str:
    """A rate 0-1 as whole percent; what is not quite 0 or 100 does not pretend to be."""
    if 0 < rate < 0.005:
        return "<1 %"
    if 0.995 <= rate < 1:
        return ">99 %"
    return f"{rate * 100:.0f} %"


def duration(ms: float) -> str:
    """0s, 180ms, 2.4s, 45s, 1m 12s, 2h 05m."""
    if 0 < ms < 999.5:
        return f"{ms:.0f}ms" if ms >= 0.5 else "<1ms"
    if 0 < ms < FEW and round(ms / 100) % 10:
        return f"{ms / 1000:.1f}s"
    seconds = round(ms / 1000)
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m {seconds:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m"


@dataclass(frozen=True)
class Change:
    """From one period to the next: `text` "+12 %", `way` up, down or same, `mood` good, bad
    or even."""

    text: str
    way: str
    mood: str


def change(
    now: Number, before: Number, unit: Unit = "count", more_is_better: bool = True
) -> Change | None:
    """How `now` differs from `before`, rates in points; None if there is nothing to compare."""
    if now is None or before is None:
        return None
    if unit == "rate":
        amount = round((now - before) * 100)
        text = f"{amount:+d} pt"
    elif before == 0:
        return None  # no percentage leads away from nothing
    else:
        amount = round((now - before) / before * 100)
        text = f"{amount:+,d} %" if amount < 1000 else f"{now / before:,.0f}x"
    if amount == 0:
        return Change(text.lstrip("+"), "same", "even")
    up = amount > 0
    return Change(
        text.replace("-", "−"), "up" if up else "down", "good" if up == more_is_better else "bad"
    )


# -- values of dimensions ----------------------------------------------------------------------

_WITHOUT = {"page": "(no page)", "entry_page": "(no page)", "exit_page": "(no page)"}


def name_of(dimension: str, value: object) -> str:
    """The value of a dimension in words: a country's name, "(none)" for an empty one."""
    text = "" if value is None else str(value)
    if text == "":
        found = find_dimension(dimension)
        is_of_a_person = found is not None and found.module == "audience"
        return _WITHOUT.get(dimension, "Unknown" if is_of_a_person else "(none)")
    if dimension == "country":
        text = country_name(text)
    return visible(text.capitalize() if dimension in ("device", "visit") else text)


# -- times -------------------------------------------------------------------------------------


def clock(instant: datetime, shown_in: Range, now: datetime) -> str:
    """14:05 in the range's zone; with the date if that is not today."""
    here, today = wall(instant, shown_in.tz), wall(now, shown_in.tz).date()
    return f"{here:%H:%M}" if here.date() == today else f"{here.day} {here:%b %Y %H:%M}"


def period_name(kind: Kind, start: datetime, shown_in: Range) -> str:
    """A period in full: "Sunday 17 May 2015", "Sun 17 May 2015 13:00", "May 2015"; with the offset
    where the wall shows that time twice: "Sun 25 Oct 2015 02:00 +01:00"."""
    here = wall(start, shown_in.tz)
    if kind in ("minute", "hour"):
        offset = offset_if_twice(kind, start, shown_in.tz)
        return f"{here:%a} {here.day} {here:%b %Y %H:%M} {offset}".rstrip()
    if kind == "day":
        return f"{here:%A} {here.day} {here:%B %Y}"
    if kind == "week":
        return f"Week of {here.day} {here:%B %Y}"
    if kind == "quarter":
        return f"Quarter {(here.month + 2) // 3} of {here.year}"
    return f"{here:%B %Y}" if kind == "month" else f"{here.year}"


def tick_name(kind: Kind, start: datetime, shown_in: Range) -> str:
    """The same as short as an axis needs it: "17 May", "13:00", "May 15"."""
    here = wall(start, shown_in.tz)
    if kind in ("minute", "hour"):
        is_one_day = shown_in.span.length <= timedelta(hours=26)
        return f"{here:%H:%M}" if is_one_day else f"{here.day} {here:%b %H:%M}"
    if kind in ("day", "week"):
        return f"{here.day} {here:%b}"
    if kind == "quarter":
        return f"Q{(here.month + 2) // 3} {here:%y}"
    return f"{here:%b %y}" if kind == "month" else f"{here.year}"


RANGES = {
    "30m": "Last 30 minutes",
    "today": "Today",
    "yesterday": "Yesterday",
    "7d": "Last 7 days",
    "28d": "Last 28 days",
    "30d": "Last 30 days",
    "90d": "Last 90 days",
    "week": "This week",
    "month": "This month",
    "quarter": "This quarter",
    "year": "This year",
    "all": "All time",
}
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def range_name(shown: Range) -> str:
    """ "Last 28 days", "17 May 2015", "17 to 20 May 2015", "28 Dec 2014 to 3 Jan 2015"."""
    if shown.text in RANGES:
        return RANGES[shown.text]
    if shown.text[:-1].isdecimal() and shown.text[-1] in _UNITS:
        return f"Last {shown.text[:-1]} {_UNITS[shown.text[-1]]}"
    if shown.text.isalpha():
        return f"This {shown.text}"
    if shown.first is None or shown.last is None:
        start, end = wall(shown.span.start, shown.tz), wall(shown.span.end, shown.tz)
        return f"{start.day} {start:%b %Y %H:%M} to {end.day} {end:%b %Y %H:%M}"
    first, last = shown.first, shown.last
    end_text = f"{last.day} {last:%b %Y}"
    if first == last:
        return end_text
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {end_text}"
    start_text = (
        f"{first.day} {first:%b}" if first.year == last.year else f"{first.day} {first:%b %Y}"
    )
    return f"{start_text} to {end_text}"
