"""Tiles and the time series of a report page, and up to when their numbers are complete.

Enters: a Page (a report as somebody looks at it). Leaves: plain values that the templates only lay
out. One question for all tiles and the curve, and one more while the range is not over. Called by
reports/views.py inside the tenant that THE DOOR opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Sum
from django.utils.dateparse import parse_datetime

from properties.models import Property
from properties.periods import Kind, clamp, spans, whole
from reports.address import Address
from reports.annotations import Beside
from reports.compared import BEFORE, other_range
from reports.formatting import Change, Number, change, clock, exact, period_name, short, tick_name
from reports.metrics import METRICS
from reports.parts import Page
from reports.picks import Link
from reports.queries import Answer, Question, complete_until_or_none
from tracking.models import Ledger

FIRST_COUNT = timedelta(minutes=5)  # counting usually takes seconds


@dataclass(frozen=True)
class Tile:
    name: str  # of the metric
    label: str
    definition: str
    text: str
    title: str
    change: Change | None
    query: str
    is_plotted: bool
    unknown: str = ""  # why there is nothing to compare with, where that was asked for


@dataclass(frozen=True)
class Numbers:
    """`answer`: totals and a row for every period; `before`: totals to compare with, in words
    `since_when`; None where nothing is compared, and then `since_when` may say why not."""

    answer: Answer
    before: dict[str, Number] | None
    since_when: str = ""


def ask_numbers(page: Page) -> Numbers:
    """One question for all tiles and the curve, and one more while the range is not over."""
    answer = page.ask(_series_question(page))
    other = other_range(page)
    if other.range is None:
        return Numbers(answer, None, other.words)
    if answer.compared is None:
        return Numbers(answer, None, f"raw events of {BEFORE[page.address.compare]} have expired")
    if other.range == page.address.compared:
        return Numbers(answer, answer.compared["totals"], other.words)
    question = replace(page.question(page.tiles, page.report), range=other.range)
    return Numbers(answer, page.ask(question).totals, other.words)


def _series_question(page: Page) -> Question:
    question = page.question(page.tiles, page.report)
    time = (f"time:{page.address.interval}",)
    return replace(question, dimensions=time, compare=page.address.compared)


def waits_for(place: Property, now: datetime) -> str:
    """What an empty report waits for: `first-event`, `first-count` or, counting, nothing.

    The first event needs not be counted yet when it came lately.
    """
    first = place.first_event_at
    if first is None:
        return "first-event"
    return "first-count" if first <= now < first + FIRST_COUNT else ""


def tiles(page: Page, numbers: Numbers) -> Iterator[Tile]:
    for name in page.tiles:
        metric, value = METRICS[name], numbers.answer.totals[name]
        label, definition = page.report.words_of(name)
        title, difference = f"{label}: {exact(value, metric.unit)}", None
        if numbers.before is not None:
            before = numbers.before[name]
            title += f", {exact(before, metric.unit)} {numbers.since_when}"
            difference = change(value, before, metric.unit, metric.higher_is_better)
        elif numbers.since_when:
            title += f"; {numbers.since_when}"
        yield Tile(
            name=name,
            label=label,
            definition=definition,
            text=short(value, metric.unit),
            title=title,
            change=difference,
            query=page.address.but(metric=name),
            is_plotted=name == page.address.metric,
            unknown=numbers.since_when if numbers.before is None else "",
        )


@dataclass(frozen=True)
class Point:
    """One period of the series, in words (for the table) and in numbers (for the curve)."""

    name: str
    tick: str
    value: Number
    text: str
    before_name: str
    before: Number
    before_text: str
    is_open: bool
    query: str  # the view over this period alone, "" if there is none


def series(page: Page, answer: Answer) -> list[Point]:
    """The plotted metric, period by period; what is unknown (queries.py) has no value."""
    address = page.address
    key, unit = f"time:{address.interval}", METRICS[address.metric].unit
    earlier = answer.compared["rows"] if answer.compared else []
    compared = address.compared
    past = list(spans(address.interval, compared.span, compared.tz)) if compared else []
    points: list[Point] = []
    is_open = False
    for index, row in enumerate(answer.rows):
        start = _instant(answer.meta["starts"][index])
        is_open = is_open or row[key] == answer.meta["open_from"]
        value = row[address.metric]
        before_name, before = "", None
        if index < min(len(earlier), len(past)):
            before_name = period_name(address.interval, past[index].start, address.range)
            before = earlier[index].get(address.metric)
        points.append(
            Point(
                name=period_name(address.interval, start, address.range),
                tick=tick_name(address.interval, start, address.range),
                value=value,
                text=short(value, unit),
                before_name=before_name,
                before=before,
                before_text=short(before, unit),
                is_open=is_open,
                query=_alone(address, start) if len(answer.rows) > 1 else "",
            )
        )
    return points


def _alone(address: Address, start: datetime) -> str:
    """The view over the period of the series that begins then, in that range's own interval."""
    if address.interval in ("minute", "hour"):
        return ""
    shown = clamp(whole(address.interval, start, address.range.tz), address.window)
    return address.but(range=shown, chosen_interval=None) if shown else ""


def starts(answer: Answer) -> list[datetime]:
    """Where the periods of a series begin."""
    return [_instant(text) for text in answer.meta["starts"]]


def curve(page: Page, points: list[Point], notes: Beside | None = None) -> dict[str, Any]:
    """What chart.js draws; every text in it is shown as text."""
    address = page.address
    label, _ = page.report.words_of(address.metric)
    return {
        "label": label,
        "unit": METRICS[address.metric].unit,
        "ticks": [point.tick for point in points],
        "names": [point.name for point in points],
        "values": [point.value for point in points],
        "texts": [point.text for point in points],
        "before": [point.before for point in points] if address.compared else [],
        "beforeLabel": BEFORE[address.compare][4:].capitalize() if address.compared else "",
        "beforeNames": [point.before_name for point in points],
        "beforeTexts": [point.before_text for point in points],
        "flags": [
            {"at": flag.period, "text": flag.text, "when": flag.when}
            for flag in (notes.flags if notes else ())
        ],
        "openFrom": next((at for at, point in enumerate(points) if point.is_open), None),
    }


def interval_links(address: Address) -> list[Link]:
    if len(address.intervals) == 1:
        return []  # nothing to choose
    return [
        Link(kind.capitalize(), address.but(chosen_interval=_chosen(address, kind)), is_current)
        for kind in address.intervals
        for is_current in [kind == address.interval]
    ]


def _chosen(address: Address, kind: Kind) -> Kind | None:
    return None if kind == address.range.default_interval() else kind


def caption(address: Address, answer: Answer, now: datetime) -> str:
    """Up to when the numbers are complete, in the property's time; and what else to know."""
    parts = []
    complete = answer.meta["complete_until"]
    if complete is None:
        parts.append("newest events may be missing")
    elif _instant(complete) < address.range.span.end:
        parts.append(f"complete until {clock(_instant(complete), address.range, now)}")
    parts.append(str(answer.meta["timezone"]))
    if since := answer.meta.get("raw_from"):
        day = clock(_instant(since), address.range, now)
        parts.append(f"counted from raw events, which are kept since {day}: older days are missing")
    elif not answer.meta.get("exact", True):
        parts.append("rare values are grouped as (other)")
    return " · ".join(parts)


def caption_of(page: Page) -> str:
    """The same of a page of which no answer is at hand."""
    complete = complete_until_or_none(page.place, page.now)
    meta = {"complete_until": complete, "timezone": page.place.timezone}
    return caption(page.address, Answer(rows=[], totals={}, meta=meta), page.now)


def bots_apart(page: Page) -> int:
    """Events of bots received in the hours of the range; 0 where the page counts or filters them.

    From the ledger, which has one row an hour: counting them in the raw events would cost more
    than the page.
    """
    address = page.address
    asks_all = page.report.filters is None and page.report.bots is None
    if address.bots != "exclude" or address.asked_filters or not asks_all:
        return 0
    span = address.range.span
    hours = Ledger.objects.filter(
        property_id=page.place.pk, hour__gte=span.start, hour__lt=span.end, bots__gt=0
    )
    return hours.aggregate(count=Sum("bots"))["count"] or 0


def _instant(text: str | datetime) -> datetime:
    instant = parse_datetime(text) if isinstance(text, str) else text
    assert instant is not None, f"{text!r} is no instant"
    return instant
