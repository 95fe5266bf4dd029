"""Ranked tables: the first rows on a card, and the whole table in pages and as a file.

Enters: a Page and one of its tables. Leaves: plain values that the templates only lay out, or the
answer that becomes a CSV file. One question a table. Called by reports/views.py inside the tenant
that THE DOOR opened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any
from urllib.parse import quote

from django.http import QueryDict

from reports.address import Address, AddressError
from reports.compared import BEFORE, Other, beside, of_tables
from reports.curves import caption
from reports.formatting import Change, Number, exact, name_of, short
from reports.metrics import DIMENSIONS, METRICS, PROPS, VISITORS, Unit, find_dimension
from reports.parts import SHARE, Card, Page, Table, asked, plural
from reports.picks import Link
from reports.queries import MOST_ROWS, Answer, Question
from tracking.addresses import PATH_LIMIT

ROWS_OF_A_PAGE = 100
PAGES = ("page", "entry_page", "exit_page")
OF_PATHS = "/%:@!$&'()*+,;=~"  # what stands in a path as it is
Numbers = Mapping[str, Any]  # of a row or of everything, by metric


@dataclass(frozen=True)
class Cell:
    """`change`: against the other range, where the reader asked for that."""

    text: str
    title: str
    change: Change | None = None


@dataclass(frozen=True)
class Row:
    """A value of a dimension with its numbers; following `query` filters by it. `by`: the value of
    the second dimension, if there is one. `site_url`: where a page of the site itself is."""

    name: str
    query: str
    width: str  # of the bar behind the text, in percent of the widest
    cells: list[Cell]
    by: Link | None = None
    site_url: str = ""


@dataclass(frozen=True)
class Column:
    name: str
    label: str
    definition: str
    query: str = ""  # sorts a table by it
    order: str = ""  # ascending, descending or neither


@dataclass(frozen=True)
class Order:
    """The metric by which the rows stand."""

    metric: str
    descending: bool = True

    @property
    def text(self) -> str:
        return f"-{self.metric}" if self.descending else self.metric

    def towards(self, metric: str) -> Order:
        """What following a column's head asks for: most first, and turned round the next time."""
        return Order(metric, not (metric == self.metric and self.descending))

    def way(self, metric: str) -> str:
        if metric != self.metric:
            return ""
        return "descending" if self.descending else "ascending"


@dataclass(frozen=True)
class TabMenu:
    """Tabs that stand together behind one word."""

    title: str
    tabs: list[Link]

    @property
    def current(self) -> Link | None:
        return next((tab for tab in self.tabs if tab.is_current), None)


@dataclass(frozen=True)
class FilledCard:
    """`first`, `total`: the rows may go on; `all_url` leads to every one of them."""

    card: Card
    table: Table
    tabs: list[Link]
    menus: list[TabMenu]
    columns: list[Column]
    rows: list[Row]
    totals: list[Cell]
    caption: str
    plural: str
    all_url: str
    csv_url: str


def fill(page: Page, card: Card) -> FilledCard | None:
    """A card with the rows of its chosen tab: one question. None if nothing of it may be viewed."""
    tables = {table.name: table for table in page.shown(card)}
    if not tables:
        return None
    address = page.address
    chosen, order = _chosen(page, card, tables)
    answer = ask_table(page, chosen, order, card.rows)
    groups: dict[str, list[Link]] = defaultdict(list)
    for name, table in tables.items():
        tab = Link(table.heading, address.with_tab(card.name, name), table is chosen)
        groups[table.group].append(tab)
    return FilledCard(
        card=card,
        table=chosen,
        tabs=[tab for title, tabs in groups.items() if not title or len(tabs) == 1 for tab in tabs],
        menus=[TabMenu(title, tabs) for title, tabs in groups.items() if title and len(tabs) > 1],
        columns=[
            _column(chosen, name, order, address.with_sort(card.name, order.towards(name).text))
            for name in chosen.columns
        ],
        rows=_rows(page, chosen, answer, answer.rows),
        totals=_Cells.of(page, chosen, answer).of_totals,
        caption=caption(page.address, answer, page.now),
        plural=_lower(plural(chosen.row_name)),
        all_url=_url(page, chosen) + _sorted(address, order, 1),
        csv_url=_url(page, chosen, "_csv") + _sorted(address, order, 1),
    )


def questions_of(page: Page, card: Card) -> Iterator[Question]:
    """What `fill` will ask."""
    tables = {table.name: table for table in page.shown(card)}
    if tables:
        chosen, order = _chosen(page, card, tables)
        yield question_of(page, chosen, order, card.rows)


def _chosen(page: Page, card: Card, tables: Mapping[str, Table]) -> tuple[Table, Order]:
    """The table of a card's chosen tab, and its order."""
    address = page.address
    chosen = tables.get(address.tabs.get(card.name, ""), next(iter(tables.values())))
    return chosen, _order_of(address.sorts.get(card.name, ""), chosen)


def first_rows(
    page: Page, table: Table, order: Order, limit: int
) -> tuple[tuple[Column, ...], tuple[Row, ...]]:
    """The first rows of a table that stands on no card."""
    answer = ask_table(page, table, order, limit)
    columns = (_column(table, name, order, "") for name in table.columns)
    return tuple(columns), tuple(_rows(page, table, answer, answer.rows))


def _url(page: Page, table: Table, kind: str = "") -> str:
    """Where all of a table is: that of a dimension has an address of its own."""
    if page.report.name != "overview":
        return page.url_of(f"report_table{kind}", report=page.report.name, table=table.name)
    return page.url_of(f"table{kind}", dimension=table.dimension)


def _lower(heading: str) -> str:
    return heading if heading.isupper() else heading[:1].lower() + heading[1:]


def _order_of(text: str, table: Table) -> Order:
    """What stands in the address, or the first column if it is none of this table."""
    metric = text.removeprefix("-")
    if metric not in asked(table.columns):
        return Order(asked(table.columns)[0])
    return Order(metric, text.startswith("-"))


def _column(table: Table, name: str, order: Order, query: str) -> Column:
    label, definition = table.words_of(name)
    if name == SHARE:  # as many as there are visitors
        return Column(name, label, definition)
    return Column(name, label, definition, query, order.way(name))


def siblings(page: Page, shown: Table) -> list[Link]:
    """The tables beside this one, over the same range with the same filters: those of the report,
    or those of the dimensions of the same module."""
    query = page.address.query
    if page.report.name != "overview":
        return [
            Link(table.heading, _url(page, table) + query, table.name == shown.name)
            for card in page.report.cards
            for table in page.shown(card)
        ]
    module = DIMENSIONS[shown.dimension].module
    return [
        Link(plural(each.label), page.url_of("table", dimension=name) + query, name == shown.name)
        for name, each in DIMENSIONS.items()
        if each.module == module
    ]


def _rows(page: Page, table: Table, answer: Answer, rows: list[dict[str, Any]]) -> list[Row]:
    """`rows`: the first of the answer, those that are shown."""
    dimension, first = table.dimension, asked(table.columns)[0]
    cells = _Cells.of(page, table, answer)
    others = answer.compared["rows"] if answer.compared else repeat({})
    widest = max((row[first] or 0 for row in rows), default=0)
    return [
        Row(
            name=name_of(dimension, row[dimension]),
            query=_filtered(page, dimension, row[dimension] or ""),
            width=f"{(row[first] or 0) / widest * 100:.1f}%" if widest else "0%",
            cells=cells.of_row(row, other),
            by=_link(page, table.by, row) if table.by else None,
            site_url=_site_url(page, dimension, row[dimension] or ""),
        )
        for row, other in zip(rows, others, strict=False)
    ]


def _caption(page: Page, answer: Answer) -> str:
    """Up to when it is complete, and with what the rows are compared."""
    parts = [caption(page.address, answer, page.now)]
    if (other := _other(page, answer)) is not None:
        is_told = other.range is not None
        parts.append(f"{'compared with' if is_told else 'no comparison:'} {other.what}")
    return " · ".join(parts)


def _link(page: Page, dimension: str, row: dict[str, Any]) -> Link:
    value = row[dimension]
    return Link(name_of(dimension, value), _filtered(page, dimension, value or ""))


def _site_url(page: Page, dimension: str, value: str) -> str:
    """Where a page can be opened: on the property's own host, whatever a visitor has sent; "" for
    what is no page, was cut, or may be on another host."""
    is_page = dimension in PAGES and value.startswith("/") and len(value) < PATH_LIMIT
    if not is_page or not page.place.site:
        return ""
    return f"https://{page.place.site}{quote(value, safe=OF_PATHS)}"


def _filtered(page: Page, dimension: str, value: str) -> str:
    """The view filtered by a row. A colon ends the name of a property in an address: one with a
    colon in its name is no filter there."""
    if ":" in dimension.removeprefix(PROPS):
        return page.address.query
    return page.address.with_filter(dimension, value)


def _other(page: Page, answer: Answer) -> Other | None:
    """With what the rows of an answer are compared, if the reader asked for that."""
    other = of_tables(page)
    if other is not None and other.range is not None and answer.compared is None:
        return Other(None, f"raw events of {BEFORE[page.address.compare]} have expired")
    return other


@dataclass(frozen=True)
class _Cells:
    """The numbers of a table's rows, each beside its own in the `other` range, if there is one."""

    table: Table
    totals: Numbers
    other: Other | None
    totals_before: Numbers

    @classmethod
    def of(cls, page: Page, table: Table, answer: Answer) -> _Cells:
        before = answer.compared["totals"] if answer.compared else {}
        return cls(table, answer.totals, _other(page, answer), before)

    @property
    def of_totals(self) -> list[Cell]:
        return self.of_row(self.totals, self.totals_before)

    def of_row(self, row: Numbers, before: Numbers) -> list[Cell]:
        return [self._cell(column, row, before) for column in self.table.columns]

    def _cell(self, column: str, row: Numbers, before: Numbers) -> Cell:
        now = _number(column, row, self.totals)
        unit: Unit = "rate" if column == SHARE else METRICS[column].unit
        label, _ = self.table.words_of(column)
        title = f"{label}: {exact(now, unit)}"
        if column == SHARE:
            everybody, some = self.totals.get(VISITORS), row[VISITORS]
            title = exact(None) if now is None else f"{some:,} of {everybody:,} visitors"
        if self.other is None:
            return Cell(short(now, unit), title)
        then = _number(column, before, self.totals_before)
        title += self.other.told(then, unit)
        if self.other.range is None:  # the caption says why, too: a dash below each would only tire
            return Cell(short(now, unit), title)
        is_better = column == SHARE or METRICS[column].higher_is_better
        return Cell(short(now, unit), title, beside(now, then, unit, is_better))


def _number(column: str, row: Numbers, totals: Numbers) -> Number:
    if column != SHARE:
        return row.get(column)
    everybody, some = totals.get(VISITORS), row.get(VISITORS)
    return some / everybody if everybody and some is not None else None


# -- a whole table -----------------------------------------------------------------------------


@dataclass(frozen=True)
class WholeTable:
    table: Table
    columns: list[Column]
    rows: list[Row]
    totals: list[Cell]
    splits: list[tuple[str, str]]  # dimensions that the rows may be split by: name and label
    caption: str
    first: int  # number of the first row shown
    previous_query: str
    next_query: str
    csv_url: str


def ask_table(page: Page, table: Table, order: Order, limit: int, offset: int = 0) -> Answer:
    """The first `limit` rows of a table in its order, but for those before `offset`."""
    question = question_of(page, table, order, min(limit, MOST_ROWS))
    return page.ask(replace(question, offset=offset))


def question_of(page: Page, table: Table, order: Order, limit: int) -> Question:
    other = of_tables(page)
    return replace(
        page.question(asked(table.columns), table),
        dimensions=table.dimensions,
        compare=other.range if other else None,
        order_by=((order.metric, "desc" if order.descending else "asc"),),
        limit=limit,
    )


def split(page: Page, table: Table) -> Table:
    """The table split by what the address says (`by=device`); AddressError if that is nothing to
    split by. Whether it may be viewed stands in `modules` of what comes back."""
    by = page.address.own.get("by", "")
    if not by or by == table.dimension:
        return table
    if find_dimension(by) is None:
        raise AddressError(
            f"Nothing can be split by {by[:40]!r}: choose one of {', '.join(DIMENSIONS)}.", "by"
        )
    return replace(table, by=by, by_label=table.by_label if by == table.by else "")


def _splits(page: Page, table: Table) -> list[tuple[str, str]]:
    """What can be chosen to split by: the registry's dimensions, and what is chosen already."""
    found = {
        name: each.label
        for name, each in DIMENSIONS.items()
        if name != table.dimension and page.may_view(each.module)
    }
    return list((found | ({table.by: table.by_name} if table.by else {})).items())


def whole_table(page: Page, plain: Table, order: Order, number: int) -> WholeTable:
    """One page of the rows of a table."""
    table = split(page, plain)
    address, first = page.address, (number - 1) * ROWS_OF_A_PAGE
    # One row more than shown tells whether there is a next page.
    answer = ask_table(page, table, order, first + ROWS_OF_A_PAGE + 1, first)
    shown = answer.rows[:ROWS_OF_A_PAGE]
    more = len(answer.rows) > ROWS_OF_A_PAGE
    return WholeTable(
        table=table,
        columns=[
            _column(table, name, order, _sorted(address, order.towards(name), 1))
            for name in table.columns
        ],
        rows=_rows(page, table, answer, shown),
        totals=_Cells.of(page, table, answer).of_totals,
        splits=_splits(page, table),
        caption=_caption(page, answer),
        first=first + 1,
        previous_query=_sorted(address, order, number - 1) if number > 1 else "",
        next_query=_sorted(address, order, number + 1) if more else "",
        csv_url=_url(page, plain, "_csv") + _sorted(address, order, 1),
    )


def _sorted(address: Address, order: Order, number: int) -> str:
    pairs = [*address.parameters, ("sort", order.text)]
    return Address.query_of([*pairs, ("page", str(number))] if number > 1 else pairs)


def read_order(params: QueryDict, table: Table) -> tuple[Order, int]:
    """`sort=-visitors` (minus: most first) and `page=2`; AddressError says what is wrong."""
    columns = asked(table.columns)
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
            "narrow it down with a filter, or download it.",
            "page",
        )
    return Order(metric, sort.startswith("-")), int(page)
