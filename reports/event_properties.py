"""What the properties of one event say: ranked values, and the spread of numbers.

Enters: the page of the events report, filtered to one event (a click on its row does that); the
property is chosen by `prop=` in the address. Leaves: plain values for reports/properties.html.
Which properties there are is discovery.py's to know; values are a ranked table like any other, and
numbers come from histograms.py. A list counts as it was sent; a yes or no, and a date, are texts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from properties.strangers_text import visible
from reports import discovery, histograms, tables
from reports.chips import Filter
from reports.compared import is_measured
from reports.filters import LONGEST_NAME
from reports.formatting import NOTHING, short
from reports.histograms import Bin, Histogram
from reports.metrics import PROPS
from reports.parts import SHARE, Page, Table
from reports.picks import Link
from reports.questions import Question
from reports.tables import Column, Order, Row

OWN = "prop"
ABOUT = (
    "Of one event, chosen by its row: which properties the newest 20,000 of the range have, and of "
    "the chosen one (`prop=` in the address) the values, most frequent first, or the histogram of "
    "its numbers: bins of equal, round width with the least, the most, mean, median and how many "
    "events have no number; beside it the period before. Filters, bots and range are those of "
    "the page; by API `POST .../histogram` and `props:<name>` as a dimension. A list counts as it "
    "was sent; a yes or no, and a date, are texts."
)
ROWS = 12
MOST_ZEROS = -9  # the power of ten below which a numeral would be mostly zeros
_HIGH = 100  # of the drawing, in units of its own; its bins are 10 wide


@dataclass(frozen=True)
class Bar:
    """A bin: `x`, `y` and `height` of its bar, and of the outline of the range before."""

    label: str
    title: str
    events: str
    before: str  # "" without comparison
    x: int
    y: str
    height: str
    before_y: str
    before_height: str


@dataclass(frozen=True)
class Drawing:
    """A histogram as it is laid out; `width` in the units of the bars, `ticks` below them."""

    bars: list[Bar]
    width: int
    ticks: list[str]
    line: list[tuple[str, str, str]]  # label, value, and the value of the range before
    compares: bool
    highest: int  # events of a bar that is as high as the drawing
    definition: str = histograms.DEFINITION


@dataclass(frozen=True)
class Properties:
    """`event` "": none is chosen, or several are. `chosen`: how the property is shown. `trouble`:
    why there is no histogram."""

    event: str = ""
    links: tuple[Link, ...] = ()
    chosen: str = ""
    drawing: Drawing | None = None
    trouble: str = ""
    columns: tuple[Column, ...] = ()
    rows: tuple[Row, ...] = ()
    all_url: str = ""

    @property
    def title(self) -> str:
        """How the event is shown."""
        return visible(self.event)


def make(page: Page) -> Properties:
    """The block of the events report."""
    names = {
        each.value
        for each in page.address.filters
        if isinstance(each, Filter) and (each.dimension, each.operator) == ("event", "is")
    }
    if len(names) != 1:
        return Properties()
    [event] = names
    found = discovery.props(page.place, page.address.range, event)
    kinds = {prop.name.removeprefix(PROPS): prop.kind for prop in found}
    asked = page.address.own.get(OWN, "")
    # What is spread says more than what is always the same.
    opens_with = next((name for name, kind in kinds.items() if kind == "number"), None)
    chosen = asked if 0 < len(asked) <= LONGEST_NAME - len(PROPS) else opens_with
    if chosen is None:
        chosen = next(iter(kinds), "")
    links = tuple(
        Link(
            visible(prop.name.removeprefix(PROPS)),
            page.address.with_own(OWN, prop.name.removeprefix(PROPS)),
            prop.name == PROPS + chosen,
            f"{prop.kind}, in {prop.events:,} of the newest events",
        )
        for prop in found
    )
    shown = Properties(event, links, visible(chosen))
    return _filled(page, shown, chosen, kinds.get(chosen, "mixed")) if chosen else shown


def _filled(page: Page, shown: Properties, chosen: str, kind: str) -> Properties:
    """With the numbers of the chosen property, its values, or both."""
    if kind in ("number", "mixed"):
        try:
            shown = replace(shown, drawing=_drawn(page, chosen))
        except histograms.TooMany as error:
            shown = replace(shown, trouble=str(error.detail))
    if kind == "number" and shown.drawing is not None:
        return shown
    name = PROPS + chosen
    table = Table("values", name, ("events", "visitors", SHARE), label=shown.chosen)
    columns, rows = tables.first_rows(page, table, Order("events"), ROWS)
    return replace(shown, columns=columns, rows=rows, all_url=_all_url(page, name))


def _all_url(page: Page, name: str) -> str:
    """Every value: the table of events, split by the property."""
    address = replace(page.address, own={"by": name})
    return page.url_of("report_table", report="events", table="events") + address.query


def _drawn(page: Page, chosen: str) -> Drawing | None:
    before = page.address.compared
    if before and not is_measured(page.place, before.span.start, before.tz):
        before = None  # as of the curve: less than all of a period is nothing to compare with
    question: Question = replace(
        page.question(("events",), page.report), dimensions=(PROPS + chosen,), compare=before
    )
    found = histograms.ask(page.place, question, page.now)
    return draw(found) if found.bins else None


def draw(found: Histogram) -> Drawing:
    """The layout of a histogram: bars up to the highest of both ranges."""
    before = found.before.bins if found.before else []
    highest = max(each.events for each in [*found.bins, *before])
    bars = [
        _bar(place, each, before[place] if before else None, highest)
        for place, each in enumerate(found.bins)
    ]
    edges = [found.bins[0].start, *(each.end for each in found.bins)]
    middle = len(edges) // 2
    is_short = len(edges) < 5
    ticks = edges if is_short else [edges[0], edges[middle], edges[-1]]
    return Drawing(
        bars=bars,
        width=10 * len(bars),
        ticks=[numeral(edge) for edge in ticks],
        line=_line(found),
        compares=bool(before),
        highest=highest,
    )


def _bar(place: int, each: Bin, before: Bin | None, highest: int) -> Bar:
    label = _label(each)
    title = f"{label}: {each.events:,} events"
    if before is not None:
        title += f", {before.events:,} in the period before"
    y, height = _high(each.events, highest)
    before_y, before_height = _high(before.events if before else 0, highest)
    return Bar(
        label=label,
        title=title,
        events=f"{each.events:,}",
        before=f"{before.events:,}" if before else "",
        x=10 * place,
        y=y,
        height=height,
        before_y=before_y,
        before_height=before_height,
    )


def _high(events: int, highest: int) -> tuple[str, str]:
    height = _HIGH * events / highest if highest else 0
    return f"{_HIGH - height:.2f}", f"{height:.2f}"


def _label(each: Bin) -> str:
    """ "3" for a whole number by itself, else "10 to 20": up to just below the last."""
    is_whole = each.end - each.start == 1 and each.start == each.start.to_integral_value()
    return numeral(each.start) if is_whole else f"{numeral(each.start)} to {numeral(each.end)}"


def _line(found: Histogram) -> list[tuple[str, str, str]]:
    now, before = found.spread, found.before.spread if found.before else None
    parts = [
        ("Least", "least"), ("Median", "median"), ("Mean", "mean"), ("Most", "most"),
        ("With a number", "numbers"), ("Without", "missing"),
    ]  # fmt: skip
    return [
        (label, _told(getattr(now, name)), _told(getattr(before, name)) if before else "")
        for label, name in parts
    ]


def _told(value: Decimal | int | None) -> str:
    return short(value) if isinstance(value, int) else NOTHING if value is None else numeral(value)


def numeral(number: Decimal) -> str:
    """Whole as 1,234; a fraction with two decimals, or three digits where it is below 1; nearly
    nothing as 1.50e-12, for anybody may send numbers with a thousand zeros."""
    if number == number.to_integral_value():
        return f"{number:,.0f}"
    if number.adjusted() < MOST_ZEROS:
        return f"{number:.2e}"
    digits = 2 if abs(number) >= 1 else 2 - number.adjusted()
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
