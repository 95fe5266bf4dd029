"""What stands on a report page: tiles, one time series, cards of ranked rows, whole tables.

Enters: a property, an Address and who asks. Leaves: plain values that the templates only lay
out. Every number comes from reports/queries.py `ask`; a page asks once for tiles and series and
once for each card. Called by reports/views.py inside the tenant that THE DOOR opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Sum
from django.http import QueryDict
from django.utils.dateparse import parse_datetime

from properties.models import Property
from properties.periods import Kind, Range, Span, clamp, floor, next_start, parse_range, spans
from reports.address import Address, AddressError
from reports.annotations import Beside
from reports.formatting import (
    RANGES,
    Change,
    Number,
    change,
    clock,
    exact,
    name_of,
    percent,
    period_name,
    range_name,
    short,
    tick_name,
)
from reports.metrics import (
    DIMENSIONS,
    METRICS,
    VISITORS,
    Dimension,
    Metric,
    modules_of,
    rolled_measures,
)
from reports.queries import MOST_ROWS, Answer, Bots, Question, ask
from tracking.models import Ledger

MayView = Callable[[str], bool]  # of a module, in the property that is shown
UrlOf = Callable[..., str]  # of a report page ("overview", "table" and its dimension)

# Bots are events like others, kept and countable; who asks for none gets people.
WITH_BOTS: dict[Bots, str] = {"exclude": "No bots", "include": "With bots", "only": "Bots only"}
TILES = ("visitors", "sessions", "pageviews", "bounce_rate", "engaged_time", "visit_duration")
FIRST_COUNT = timedelta(minutes=5)  # counting usually takes seconds
ROWS_OF_A_CARD = 9
ROWS_OF_A_PAGE = 100
SHARE = "share"  # a column that is no metric: how many of all visitors


@dataclass(frozen=True)
class Card:
    """A ranked table with one tab for each dimension; `name` is its parameter in the address."""

    name: str
    title: str
    dimensions: tuple[str, ...]
    columns: tuple[str, ...]

    def columns_of(self, dimension: str) -> tuple[str, ...]:
        return _COLUMNS.get(dimension, self.columns)


CARDS = (
    Card("sources", "Sources", ("source", "channel", "campaign"), ("visitors", "bounce_rate")),
    Card("pages", "Pages", ("page", "entry_page", "exit_page"), ("pageviews", "visitors")),
    Card("places", "Countries", ("country",), ("visitors", SHARE)),
    Card("technology", "Devices", ("device", "browser", "os"), ("visitors", SHARE)),
    Card("events", "Events", ("event",), ("events", "visitors", SHARE)),
)
_COLUMNS = {
    "entry_page": ("sessions", "bounce_rate"),
    "exit_page": ("sessions",),
}
TABS = {card.name: card.dimensions for card in CARDS}
PLOTTED = {name: METRICS[name] for name in TILES}


def cards_for(may_view: MayView) -> list[Card]:
    """The cards whose module may be viewed."""
    return [card for card in CARDS if may_view(DIMENSIONS[card.dimensions[0]].module)]


# -- the bar -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Link:
    text: str
    query: str
    is_current: bool = False
    title: str = ""


def bar(address: Address, now: datetime) -> dict[str, Any]:
    """Range picker, comparison switch and chips: links to the neighbouring views."""
    shown = address.range
    tz = address.range.tz
    return {
        "range_name": range_name(shown),
        "ranges": [
            Link(text, _with_range(address, word), shown.text == word)
            for word, text in _ranges(address, now).items()
        ],
        "window": address.window,
        "from": shown.first or shown.span.start.astimezone(tz).date(),
        "to": shown.last or shown.span.end.astimezone(tz).date(),
        "compare": [
            Link("vs previous", address.but(compares=True), address.compares),
            Link("no comparison", address.but(compares=False), not address.compares),
        ]
        if address.window is None or address.before is not None
        else [],
        "bots": [
            Link(text, address.but(bots=choice), address.bots == choice)
            for choice, text in WITH_BOTS.items()
        ],
        "chips": [
            {"filter": each, "without": address.without_filter(each)} for each in address.filters
        ],
        # What the forms of the bar carry along beside their own fields.
        "kept": address.parameters,
        "kept_without_range": [
            pair for pair in address.parameters if pair[0] not in ("range", "interval")
        ],
    }


def _ranges(address: Address, now: datetime) -> dict[str, str]:
    """Word -> name: the usual ranges; where not every day may be seen, all that may, and those
    of the usual ones that lie within."""
    window = address.window
    if window is None:
        return RANGES
    usual = {word: text for word, text in RANGES.items() if word != "all"}
    within = [
        word for word in usual for asked in [parse_range(word, window.tz, now)]
        if clamp(asked, window) == asked and asked.span != window.span
    ]  # fmt: skip
    return {window.text: range_name(window)} | {word: usual[word] for word in within}


def _with_range(address: Address, word: str) -> str:
    """The view over another range, in that range's own interval."""
    wanted = [pair for pair in address.parameters if pair[0] not in ("range", "interval")]
    return Address.query_of([("range", word), *wanted])


# -- tiles and the series ----------------------------------------------------------------------


@dataclass(frozen=True)
class Tile:
    metric: Metric
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


def ask_numbers(place: Property, address: Address, now: datetime) -> Numbers:
    """One question for all tiles and the curve, and one more while the range is not over."""
    answer = _ask_series(place, address, now)
    compared, shown = address.compared, address.range.span
    if compared is None:
        return Numbers(answer, None)
    if answer.compared is None:
        return Numbers(answer, None, "raw events of the period before have expired")
    if not is_measured(place, compared.span.start, compared.tz):
        return Numbers(answer, None, "nothing was counted yet in part of the period before")
    if now >= shown.end or now < shown.start:
        return Numbers(answer, answer.compared["totals"], "in the period before")
    # Half a day against a whole one would always look like a loss: compare the same hours.
    until = compared.span.start + (next_start("hour", now, compared.tz) - shown.start)
    cut = Range(Span(compared.span.start, min(until, compared.span.end)), compared.tz, "")
    question = Question(metrics=TILES, range=cut, filters=address.asked_filters, bots=address.bots)
    words = f"in the period before, until {clock(cut.span.end, cut, now)}"
    return Numbers(answer, ask(place, question, now).totals, words)


def is_measured(place: Property, start: datetime, tz: ZoneInfo) -> bool:
    """Whether counting had begun by that day: before it the numbers are unknown, not 0."""
    first = place.first_event_at
    return first is not None and floor("day", first, tz) <= start


def is_new(place: Property, now: datetime) -> bool:
    """Whether the first event came so lately that it need not be counted yet."""
    first = place.first_event_at
    return first is not None and first <= now < first + FIRST_COUNT


def _ask_series(place: Property, address: Address, now: datetime) -> Answer:
    question = Question(
        metrics=TILES,
        range=address.range,
        dimensions=(f"time:{address.interval}",),
        filters=address.asked_filters,
        bots=address.bots,
        compare=address.compared,
    )
    return ask(place, question, now)


def tiles(address: Address, numbers: Numbers) -> Iterator[Tile]:
    for name in TILES:
        metric, value = METRICS[name], numbers.answer.totals[name]
        title, difference = f"{metric.label}: {exact(value, metric.unit)}", None
        if numbers.before is not None:
            before = numbers.before[name]
            title += f", {exact(before, metric.unit)} {numbers.since_when}"
            difference = change(value, before, metric.unit, metric.higher_is_better)
        elif numbers.since_when:
            title += f"; {numbers.since_when}"
        yield Tile(
            metric=metric,
            text=short(value, metric.unit),
            title=title,
            change=difference,
            query=address.but(metric=name),
            is_plotted=name == address.metric,
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


def series(place: Property, address: Address, answer: Answer, now: datetime) -> list[Point]:
    """The plotted metric, period by period. What has not begun yet, and what was before counting
    began, has no value, not 0."""
    key, unit = f"time:{address.interval}", METRICS[address.metric].unit
    earlier = answer.compared["rows"] if answer.compared else []
    compared = address.compared
    past = list(spans(address.interval, compared.span, compared.tz)) if compared else []
    points: list[Point] = []
    is_open = False
    for index, row in enumerate(answer.rows):
        start = _instant(answer.meta["starts"][index])
        is_open = is_open or row[key] == answer.meta["open_from"]
        known = start <= now and is_measured(place, start, address.range.tz)
        value = row[address.metric] if known else None
        before_name, before = "", None
        if index < min(len(earlier), len(past)):
            began = past[index].start
            before_name = period_name(address.interval, began, address.range)
            if is_measured(place, began, address.range.tz):
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
            )
        )
    return points


def starts(answer: Answer) -> list[datetime]:
    """Where the periods of a series begin."""
    return [_instant(text) for text in answer.meta["starts"]]


def curve(address: Address, points: list[Point], notes: Beside | None = None) -> dict[str, Any]:
    """What chart.js draws; every text in it is shown as text."""
    metric = METRICS[address.metric]
    return {
        "label": metric.label,
        "unit": metric.unit,
        "ticks": [point.tick for point in points],
        "names": [point.name for point in points],
        "values": [point.value for point in points],
        "texts": [point.text for point in points],
        "before": [point.before for point in points] if address.compares else [],
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


def bots_apart(place: Property, address: Address) -> int:
    """Events of bots received in the hours of the range; 0 where the page counts or filters them.

    From the ledger, which has one row an hour: counting them in the raw events would cost more
    than the page.
    """
    if address.bots != "exclude" or address.asked_filters:
        return 0
    span = address.range.span
    hours = Ledger.objects.filter(
        property_id=place.pk, hour__gte=span.start, hour__lt=span.end, bots__gt=0
    )
    return hours.aggregate(count=Sum("bots"))["count"] or 0


def _instant(text: str | datetime) -> datetime:
    instant = parse_datetime(text) if isinstance(text, str) else text
    assert instant is not None, f"{text!r} is no instant"
    return instant


# -- ranked rows -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    text: str
    title: str


@dataclass(frozen=True)
class Row:
    """A value of a dimension with its numbers; following `query` filters by it."""

    name: str
    query: str
    width: str  # of the bar behind the text, in percent of the widest
    cells: list[Cell]


@dataclass(frozen=True)
class Column:
    name: str
    label: str
    definition: str
    query: str = ""  # sorts a table by it
    order: str = ""  # ascending, descending or neither


@dataclass(frozen=True)
class FilledCard:
    card: Card
    dimension: Dimension
    tabs: list[Link]
    columns: list[Column]
    rows: list[Row]
    plural: str
    all_url: str


def fill(place: Property, address: Address, card: Card, now: datetime, url_of: UrlOf) -> FilledCard:
    """A card with the rows of its chosen tab: one question."""
    name = address.tabs.get(card.name, card.dimensions[0])
    names = card.columns_of(name)
    question = Question(
        metrics=_asked(names),
        range=address.range,
        dimensions=(name,),
        filters=address.asked_filters,
        bots=address.bots,
        limit=ROWS_OF_A_CARD,
    )
    answer = ask(place, question, now)
    return FilledCard(
        card=card,
        dimension=DIMENSIONS[name],
        tabs=[
            Link(plural(each), address.with_tab(card.name, each), each == name)
            for each in card.dimensions
        ],
        columns=[_column(each) for each in names],
        rows=_rows(address, name, names, answer.rows, answer.totals),
        plural=plural(name).lower(),
        all_url=url_of("table", name) + address.query,
    )


def _asked(columns: tuple[str, ...]) -> tuple[str, ...]:
    """The metrics behind columns; a share is one of visitors."""
    return tuple(dict.fromkeys(VISITORS if name == SHARE else name for name in columns))


def _column(name: str) -> Column:
    if name == SHARE:
        return Column(SHARE, "Share", "Visitors of the row, of all visitors in the range.")
    return Column(name, METRICS[name].label, METRICS[name].definition)


def siblings(address: Address, dimension: str, url_of: UrlOf) -> list[Link]:
    """The tables of the same module, over the same range with the same filters."""
    module = DIMENSIONS[dimension].module
    return [
        Link(plural(name), url_of("table", name) + address.query, name == dimension)
        for name, each in DIMENSIONS.items()
        if each.module == module
    ]


def plural(dimension: str) -> str:
    label = DIMENSIONS[dimension].label
    return f"{label[:-1]}ies" if label.endswith("y") else f"{label}s"


def _rows(
    address: Address,
    dimension: str,
    columns: tuple[str, ...],
    rows: list[dict[str, Any]],
    totals: dict[str, Number],
) -> list[Row]:
    widest = max((row[columns[0]] or 0 for row in rows), default=0)
    return [
        Row(
            name=name_of(dimension, row[dimension]),
            query=address.with_filter(dimension, row[dimension] or ""),
            width=f"{(row[columns[0]] or 0) / widest * 100:.1f}%" if widest else "0%",
            cells=[_cell(name, row, totals) for name in columns],
        )
        for row in rows
    ]


def _cell(column: str, row: dict[str, Any], totals: dict[str, Number]) -> Cell:
    if column == SHARE:
        everybody, some = totals.get(VISITORS), row[VISITORS]
        if not everybody or some is None:
            return Cell(short(None), exact(None))
        return Cell(percent(some / everybody), f"{some:,} of {everybody:,} visitors")
    metric, value = METRICS[column], row[column]
    return Cell(short(value, metric.unit), f"{metric.label}: {exact(value, metric.unit)}")


# -- a whole table -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """The columns of a table, the one it is sorted by, and the page that is shown (from 1)."""

    columns: tuple[str, ...]
    metric: str
    descending: bool = True
    page: int = 1


@dataclass(frozen=True)
class Table:
    dimension: Dimension
    title: str
    columns: list[Column]
    rows: list[Row]
    totals: list[Cell]
    caption: str
    first: int  # number of the first row shown
    previous_query: str
    next_query: str
    csv_query: str


def metrics_of(dimension: str, may_view: MayView) -> tuple[str, ...]:
    """Every metric kept by the dimension that may be viewed by it, in the registry's order."""
    kept = {VISITORS, *(measure.name for measure in rolled_measures(dimension))}
    return tuple(
        name
        for name, metric in METRICS.items()
        if kept.issuperset(metric.needs) and all(map(may_view, modules_of([name], [dimension])))
    )


def ask_table(
    place: Property, address: Address, dimension: str, order: Order, limit: int, now: datetime
) -> Answer:
    """The first `limit` rows of a table in its order: one question."""
    question = Question(
        metrics=order.columns,
        range=address.range,
        dimensions=(dimension,),
        filters=address.asked_filters,
        bots=address.bots,
        order_by=((order.metric, "desc" if order.descending else "asc"),),
        limit=min(limit, MOST_ROWS),
    )
    return ask(place, question, now)


def table(place: Property, address: Address, dimension: str, order: Order, now: datetime) -> Table:
    """One page of the table of a dimension, with every metric."""
    names = order.columns
    first = (order.page - 1) * ROWS_OF_A_PAGE
    # One row more than shown tells whether there is a next page.
    answer = ask_table(place, address, dimension, order, first + ROWS_OF_A_PAGE + 1, now)
    more = len(answer.rows) > first + ROWS_OF_A_PAGE
    return Table(
        dimension=DIMENSIONS[dimension],
        title=plural(dimension),
        columns=[_sortable(address, name, order) for name in names],
        rows=_rows(
            address, dimension, names, answer.rows[first : first + ROWS_OF_A_PAGE], answer.totals
        ),
        totals=[_cell(name, answer.totals, answer.totals) for name in names],
        caption=caption(address, answer, now),
        first=first + 1,
        previous_query=_page_query(address, order, order.page - 1) if order.page > 1 else "",
        next_query=_page_query(address, order, order.page + 1) if more else "",
        csv_query=_page_query(address, order, 1),
    )


def _sortable(address: Address, name: str, order: Order) -> Column:
    plain = _column(name)
    is_current = name == order.metric
    towards = replace(order, metric=name, descending=not (is_current and order.descending))
    way = ("descending" if order.descending else "ascending") if is_current else ""
    return Column(name, plain.label, plain.definition, _page_query(address, towards, 1), way)


def _page_query(address: Address, order: Order, page: int) -> str:
    pairs = [*address.parameters, ("sort", f"{'-' if order.descending else ''}{order.metric}")]
    return Address.query_of([*pairs, ("page", str(page))] if page > 1 else pairs)


def read_order(params: QueryDict, dimension: str, may_view: MayView) -> Order:
    """`sort=-visitors` (minus: most first) and `page=2`; AddressError says what is wrong."""
    columns = metrics_of(dimension, may_view)
    sort = params.get("sort") or f"-{columns[0]}"
    metric = sort.removeprefix("-")
    if metric not in columns:
        raise AddressError(
            f"This table has no column {metric[:40]!r}: sort by one of {', '.join(columns)}.",
            "sort",
        )
    page = params.get("page") or "1"
    last = MOST_ROWS // ROWS_OF_A_PAGE
    if not (page.isascii() and page.isdecimal() and 1 <= int(page[:6]) <= last):
        raise AddressError(
            f"There is no page {page[:20]!r}: a table has the pages 1 to {last}; "
            "narrow it down with a filter, or ask the API.",
            "page",
        )
    return Order(columns, metric, sort.startswith("-"), int(page))
