"""What a report page is made of: tables on cards, blocks, and how somebody looks at it.

No report is named here: the list of them is reports/catalogue.py. What fills a part of a page
(reports/curves.py, reports/tables.py, the blocks) takes a Page and imports this file only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from xml.etree.ElementTree import Element

from properties.models import Property
from reports import filters, queries
from reports.address import Address
from reports.kept import Kept
from reports.metrics import (
    CONVERSIONS,
    GOAL,
    METRICS,
    VISITORS,
    find_dimension,
    modules_of,
    rolled_measures,
)
from reports.questions import Answer, Bots, Question

MayView = Callable[[str], bool]  # of a module, in the property that is shown
UrlOf = Callable[..., str]  # of a report page: `url("report", report="pages")`

SHARE = "share"  # a column that is no metric: how many of all visitors
_SHARE_WORDS = ("Share", "Visitors of the row, of all visitors in the range.")
MOST_NARROW = 3  # columns that a table may have to stand beside another one
Words = Mapping[str, tuple[str, str]]  # column -> label and definition that say more here


WORTH = ("conversions", "conversion_rate")  # what a visit is worth, behind what it is like


@dataclass(frozen=True)
class Table:
    """A ranked table: one row for each value of a dimension.

    `name` stands in the address and is unique in its report. `columns` are metrics or SHARE; the
    first orders the rows unless another is chosen. `extra` columns stand behind them for whoever
    may view them; conversions, where the property has a goal. `by`: each value is split by this
    dimension, too. `filters` are always asked, beside those of the reader. `label` (of a row),
    `by_label`, `title` (of them all) and `words` replace what the registry calls dimensions and
    columns. `bots`: not what the reader chooses, but this.
    """

    name: str
    dimension: str
    columns: tuple[str, ...]
    title: str = ""
    label: str = ""
    filters: list[Any] | None = None
    words: Words = field(default_factory=dict)
    bots: Bots | None = None
    extra: tuple[str, ...] = ()
    by: str = ""
    by_label: str = ""

    @property
    def dimensions(self) -> tuple[str, ...]:
        return (self.dimension, self.by) if self.by else (self.dimension,)

    @property
    def by_name(self) -> str:
        found = find_dimension(self.by)
        return self.by_label or (found.label if found else "")

    @property
    def group(self) -> str:
        """What its tab stands behind where several tables do: those of a touch."""
        found = find_dimension(self.dimension)
        return f"{found.touch.capitalize()} touch" if found and found.touch else ""

    @property
    def row_name(self) -> str:
        found = find_dimension(self.dimension)
        assert found is not None, f"{self.dimension!r} is no dimension"
        return self.label or found.label

    @property
    def heading(self) -> str:
        if self.by and not self.title:
            return f"{plural(self.row_name)} by {self.by_name.lower()}"
        return self.title or plural(self.row_name)

    @property
    def modules(self) -> list[str]:
        """The modules that whoever sees it must be allowed to view."""
        return modules_of(asked(self.columns), [*self.dimensions, *dimensions_of(self.filters)])

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
    `module` must be viewed for it; `about` tells in the documentation what it shows. `picture`
    draws what `make` gave, and a pictures.Source: as a file beside it."""

    name: str
    module: str
    template: str
    make: Callable[[Page], Any]
    about: str = ""
    picture: Callable[[Any, Any], Element] | None = None

    @property
    def file_name(self) -> str:
        """In the address of its picture."""
        return self.name.replace(" ", "-")


@dataclass(frozen=True)
class Report:
    """A page: tiles with a curve of one of them, blocks, and cards of tables.

    `name` stands in the address, `title` in the navigation: among the tabs, or in the menu behind
    them if it is `in_more`. `module` opens the page; what needs another one is left out for whoever
    may not view that. `filters` narrow tiles and curve; `words` and `bots` as in Table. `switches`
    are those of properties/capture.py without which there is nothing to report. `own`: what only
    its blocks have in the address.
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
    bots: Bots | None = None
    switches: tuple[str, ...] = ()
    in_more: bool = False
    own: tuple[str, ...] = ()

    @property
    def tables(self) -> dict[str, Table]:
        return {table.name: table for card in self.cards for table in card.tables}

    def shown_tiles(self, may_view: MayView, has_goals: bool) -> tuple[str, ...]:
        """The tiles that may be viewed, in order; those of conversions where there is a goal."""
        within = dimensions_of(self.filters)
        return tuple(
            name
            for name in self.tiles
            if (has_goals or not is_of_goals(name))
            and all(map(may_view, modules_of([name], within)))
        )

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
    has_goals: bool = False
    kept: Kept = field(default_factory=Kept)

    def ask(self, question: Question) -> Answer:
        """The answer to one of the questions of the page."""
        return queries.ask(self.place, question, self.now, self.kept)

    def expect(self, questions: Iterable[Question]) -> None:
        """Say what will be asked, before the first of it is."""
        queries.expect(self.place, questions, self.kept)

    @property
    def tiles(self) -> tuple[str, ...]:
        return self.report.shown_tiles(self.may_view, self.has_goals)

    def question(self, metrics: tuple[str, ...], of: Report | Table) -> Question:
        """The question about these metrics over what the address shows, still undivided."""
        return Question(
            metrics=metrics,
            range=self.address.range,
            filters=self.filters(of.filters),
            bots=of.bots or self.address.bots,
        )

    def filters(self, own: list[Any] | None) -> list[Any] | filters.Node | None:
        """Those of the reader and those that a table or the report always asks. Put together they
        are nodes: those of the reader alone are measured by how deep and how many they may be."""
        chosen = self.address.asked_filters
        if own and chosen:
            return filters.Branch("and", (filters.parse(own), filters.parse(chosen)))
        return own or chosen

    def shown(self, card: Card) -> list[Table]:
        """The tables of a card that may be viewed; of goals, where there is one."""
        return [
            self.fitted(table)
            for table in card.tables
            if all(map(self.may_view, table.modules))
            and (self.has_goals or table.dimension != GOAL)
        ]

    def fitted(self, table: Table) -> Table:
        """The table with those of its extra columns that there are for the reader."""
        extra = [
            name
            for name in table.extra
            if (self.has_goals or not is_of_goals(name))
            and all(map(self.may_view, modules_of([name], [table.dimension])))
        ]
        return replace(table, columns=(*table.columns, *extra), extra=()) if extra else table


def is_of_goals(metric: str) -> bool:
    return metric in METRICS and bool(CONVERSIONS.keys() & set(METRICS[metric].needs))


def asked(columns: tuple[str, ...]) -> tuple[str, ...]:
    """The metrics behind columns; a share is one of visitors."""
    return tuple(dict.fromkeys(VISITORS if name == SHARE else name for name in columns))


def dimensions_of(tree: list[Any] | None) -> list[str]:
    """The dimensions that a filter names."""
    if tree is None:
        return []
    return [leaf.dimension for leaf in filters.leaves(filters.parse(tree))]


def plural(label: str) -> str:
    if label.lower().endswith("medium"):
        return f"{label[:-2]}a"
    return f"{label[:-1]}ies" if label.endswith("y") else f"{label}s"


def whole(dimension: str, may_view: MayView) -> Table:
    """The table of a dimension with every metric that rollups keep by it and that may be viewed."""
    kept = {VISITORS, *(measure.name for measure in rolled_measures(dimension))}
    columns = tuple(
        name
        for name, metric in METRICS.items()
        if kept.issuperset(metric.needs) and all(map(may_view, modules_of([name], [dimension])))
    )
    if dimension == GOAL:
        return Table(GOAL, GOAL, tuple(filter(is_of_goals, METRICS)))
    return Table(dimension, dimension, columns, extra=WORTH)
