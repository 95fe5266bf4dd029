"""THE REPORTS: which report pages there are, which question each answers, and what stands on it.

One entry of REPORTS is a page: its routes (`p/<key>/<name>/` and below a share link), its doors,
its place in the navigation, its tiles and curve, its tables with search, order and CSV, and its
page in the documentation all follow from it. reports/urls.py, reports/views.py and
reports/apps.py iterate the list; none of them names a report. What the columns mean stands in
reports/metrics.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from properties.models import Property
from reports import filters
from reports.address import Address
from reports.metrics import METRICS, VISITORS, find_dimension, modules_of, rolled_measures
from reports.questions import Question

MayView = Callable[[str], bool]  # of a module, in the property that is shown
UrlOf = Callable[..., str]  # of a report page: `url("report", report="pages")`

SHARE = "share"  # a column that is no metric: how many of all visitors
_SHARE_WORDS = ("Share", "Visitors of the row, of all visitors in the range.")
MOST_NARROW = 3  # columns that a table may have to stand beside another one
Words = Mapping[str, tuple[str, str]]  # column -> label and definition that say more here


@dataclass(frozen=True)
class Table:
    """A ranked table: one row for each value of a dimension.

    `name` stands in the address and is unique in its report. `columns` are metrics or SHARE; the
    first orders the rows unless another is chosen. `filters` are always asked, beside those of the
    reader. `label` (of a row), `title` (of them all) and `words` replace what the registry calls
    the dimension and the columns.
    """

    name: str
    dimension: str
    columns: tuple[str, ...]
    title: str = ""
    label: str = ""
    filters: list[Any] | None = None
    words: Words = field(default_factory=dict)

    @property
    def row_name(self) -> str:
        found = find_dimension(self.dimension)
        assert found is not None, f"{self.dimension!r} is no dimension"
        return self.label or found.label

    @property
    def heading(self) -> str:
        return self.title or plural(self.row_name)

    @property
    def modules(self) -> list[str]:
        """The modules that whoever sees it must be allowed to view."""
        return modules_of(asked(self.columns), [self.dimension, *dimensions_of(self.filters)])

    def words_of(self, column: str) -> tuple[str, str]:
        """What a column is called, and what it means."""
        if column in self.words:
            return self.words[column]
        if column == SHARE:
            return _SHARE_WORDS
        return METRICS[column].label, METRICS[column].definition


@dataclass(frozen=True)
class Card:
    """Tables of which one is shown, with a tab for each; `name` is its parameter in the address."""

    name: str
    title: str
    tables: tuple[Table, ...]
    rows: int = 9

    @property
    def is_wide(self) -> bool:
        return any(len(table.columns) > MOST_NARROW for table in self.tables)


@dataclass(frozen=True)
class Block:
    """Something else on a page: `make` gives what `template` reads as `block`; None leaves it out.
    `module` must be viewed for it."""

    name: str
    module: str
    template: str
    make: Callable[[Page], Any]


@dataclass(frozen=True)
class Report:
    """A page: tiles with a curve of one of them, blocks, and cards of tables.

    `name` stands in the address, `title` in the navigation: among the tabs, or in the menu behind
    them if it is `in_more`. `module` opens the page; what needs another one is left out for whoever
    may not view that. `filters` narrow tiles and curve; `words` as in Table.
    """

    name: str
    title: str
    question: str
    module: str
    tiles: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    blocks: tuple[Block, ...] = ()
    filters: list[Any] | None = None
    words: Words = field(default_factory=dict)
    in_more: bool = False

    @property
    def tables(self) -> dict[str, Table]:
        return {table.name: table for card in self.cards for table in card.tables}

    def shown_tiles(self, may_view: MayView) -> tuple[str, ...]:
        """The tiles that may be viewed, in order."""
        within = dimensions_of(self.filters)
        return tuple(name for name in self.tiles if all(map(may_view, modules_of([name], within))))

    def words_of(self, metric: str) -> tuple[str, str]:
        return self.words.get(metric) or (METRICS[metric].label, METRICS[metric].definition)


@dataclass(frozen=True)
class Page:
    """A report as somebody looks at it: what every part of the page is made from."""

    place: Property
    report: Report
    address: Address
    now: datetime
    may_view: MayView
    url_of: UrlOf

    @property
    def tiles(self) -> tuple[str, ...]:
        return self.report.shown_tiles(self.may_view)

    def question(self, metrics: tuple[str, ...], own: list[Any] | None = None) -> Question:
        """The question about these metrics over what the address shows, still undivided."""
        return Question(
            metrics=metrics,
            range=self.address.range,
            filters=self.filters(own),
            bots=self.address.bots,
        )

    def filters(self, own: list[Any] | None) -> list[Any] | None:
        """Those of the reader and those that a table or the report always asks."""
        chosen = self.address.asked_filters
        return ["and", own, chosen] if own and chosen else own or chosen

    def shown(self, card: Card) -> list[Table]:
        """The tables of a card that may be viewed."""
        return [table for table in card.tables if all(map(self.may_view, table.modules))]


def asked(columns: tuple[str, ...]) -> tuple[str, ...]:
    """The metrics behind columns; a share is one of visitors."""
    return tuple(dict.fromkeys(VISITORS if name == SHARE else name for name in columns))


def dimensions_of(tree: list[Any] | None) -> list[str]:
    """The dimensions that a filter names."""
    if tree is None:
        return []
    return [leaf.dimension for leaf in filters.leaves(filters.parse(tree))]


def plural(label: str) -> str:
    return f"{label[:-1]}ies" if label.endswith("y") else f"{label}s"


# -- the overview ------------------------------------------------------------------------------


def _tabs(name: str, title: str, columns: tuple[str, ...], **dimensions: tuple[str, ...]) -> Card:
    """A card of the overview: a tab for each dimension, of the card's columns or its own."""
    tables = tuple(Table(each, each, own or columns) for each, own in dimensions.items())
    return Card(name, title, tables)


OVERVIEW = Report(
    "overview",
    "Overview",
    "",
    "audience",
    tiles=("visitors", "sessions", "pageviews", "bounce_rate", "engaged_time", "visit_duration"),
    cards=(
        _tabs(
            "sources", "Sources", ("visitors", "bounce_rate"), source=(), channel=(), campaign=()
        ),
        _tabs(
            "pages",
            "Pages",
            ("pageviews", "visitors"),
            page=(),
            entry_page=("sessions", "bounce_rate"),
            exit_page=("sessions",),
        ),
        _tabs("places", "Countries", ("visitors", SHARE), country=()),
        _tabs("technology", "Devices", ("visitors", SHARE), device=(), browser=(), os=()),
        _tabs("events", "Events", ("events", "visitors", SHARE), event=()),
    ),
)


# -- the pages ---------------------------------------------------------------------------------

_VISITS = ("visitors", "sessions", "bounce_rate", "engaged_time", "views_per_session")

PAGES = Report(
    "pages",
    "Pages",
    "Which pages are seen, where do visits begin and end?",
    "content",
    tiles=("pageviews", "visitors"),
    cards=(
        Card("pages", "Pages", (Table("pages", "page", ("pageviews", "visitors")),)),
        Card(
            "ends",
            "Entry and exit pages",
            (
                Table("entry-pages", "entry_page", ("sessions", "visitors", "bounce_rate")),
                Table("exit-pages", "exit_page", ("sessions", "visitors")),
            ),
        ),
    ),
)

SOURCES = Report(
    "sources",
    "Sources",
    "Where do visitors come from, and which sources bring visits that last?",
    "sources",
    tiles=OVERVIEW.tiles,
    cards=(
        Card(
            "sources",
            "Sources",
            (
                Table("sources", "source", _VISITS),
                Table("channels", "channel", _VISITS),
                Table("referrers", "referrer", _VISITS),
            ),
        ),
        Card(
            "campaigns",
            "Campaigns",
            (Table("campaigns", "campaign", _VISITS), Table("media", "medium", _VISITS, "Media")),
        ),
    ),
)

AUDIENCE = Report(
    "audience",
    "Audience",
    "Who comes: from which countries, with which devices?",
    "audience",
    tiles=OVERVIEW.tiles,
    cards=(
        Card("countries", "Countries", (Table("countries", "country", _VISITS),)),
        Card(
            "technology",
            "Technology",
            (
                Table("devices", "device", ("visitors", SHARE, "bounce_rate")),
                Table("browsers", "browser", ("visitors", SHARE, "bounce_rate")),
                Table("systems", "os", ("visitors", SHARE, "bounce_rate")),
            ),
        ),
    ),
)

EVENTS = Report(
    "events",
    "Events",
    "What do visitors do?",
    "events",
    tiles=("events", "visitors"),
    cards=(Card("events", "Events", (Table("events", "event", ("events", "visitors", SHARE)),)),),
)

# In the order of the navigation: tabs first, then the menu behind them.
REPORTS = {report.name: report for report in (PAGES, SOURCES, AUDIENCE, EVENTS)}


def find(name: str) -> Report:
    return OVERVIEW if name == OVERVIEW.name else REPORTS[name]


def whole(dimension: str, may_view: MayView) -> Table:
    """The table of a dimension with every metric that rollups keep by it and that may be viewed."""
    kept = {VISITORS, *(measure.name for measure in rolled_measures(dimension))}
    columns = tuple(
        name
        for name, metric in METRICS.items()
        if kept.issuperset(metric.needs) and all(map(may_view, modules_of([name], [dimension])))
    )
    return Table(dimension, dimension, columns)
