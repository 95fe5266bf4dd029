"""The address bar holds the whole view: query string -> Address -> query string.

Enters: a page's GET parameters, the property and now. Leaves: what the page asks about (range,
comparison, interval, plotted metric, filters, tabs) and, by `Address.but(...)`, the link to any
other view of it. Asks the database only for goals and segments that it names. reports/views.py
reads it; what makes the parts of a page makes links of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, cast
from urllib.parse import urlencode

from django.http import QueryDict

from properties.api import Invalid
from properties.inputs import is_storable
from properties.models import Property
from properties.periods import (
    KINDS,
    Kind,
    Range,
    RangeError,
    Span,
    check_points,
    clamp,
    inside,
    parse_range,
    zone,
)
from reports import chips, filters, segments
from reports.chips import Filter, FilterError, Item, Items
from reports.filters import LONGEST_VALUE
from reports.metrics import PROPS
from reports.queries import BOTS, DEFAULT_RANGE, MOST_POINTS, Bots

DEFAULT_METRIC = "visitors"
# How a shared page looks in a frame of another site, and what each may be.
LOOKS = {"embed": ("1",), "theme": ("light", "dark")}
# A line of more points is a smear on any screen.
READABLE_POINTS = 400
SORT = "-sort"  # `pages-sort=-visitors` orders the card `pages`
Tabs = Mapping[str, Mapping[str, Sequence[str]]]
_EDGES = frozenset({"from", "to"})  # what a range is given by that bears no name
# With what a page compares: the period before or a year before, by date or by weekday.
COMPARISONS = tuple(
    (name, by_weekday) for name in ("previous", "year") for by_weekday in (False, True)
)
_OFFERED: tuple[Kind, ...] = ("minute", "hour", "day", "week", "month")


class AddressError(ValueError):
    """An address that cannot be shown; `field` is the parameter, the message says what to do."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Address:
    """One view of the report page. `interval` "" is the range's own; so is every default.

    `changes`: whether the rows of tables are compared, too, which asks each of them twice.
    `opens_with`: the metric that is plotted unless another is chosen. `tabs` and `sorts`: of a card
    the table that is chosen, and the order of its rows. `own`: what only this page has in its
    address. `window`: the days that may be seen (None: all), on which the page opens, too.
    `meant`: the filters as a question takes them, with goals and segments spelt out.
    """

    range: Range
    compare: str = "previous"
    by_weekday: bool = False
    changes: bool = False
    chosen_interval: Kind | None = None
    metric: str = DEFAULT_METRIC
    opens_with: str = DEFAULT_METRIC
    filters: Items = ()
    meant: list[Any] | None = None
    bots: Bots = "exclude"
    tabs: Mapping[str, str] = field(default_factory=dict)
    sorts: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    window: Range | None = None
    look: tuple[tuple[str, str], ...] = ()  # of a shared page: LOOKS that were asked for

    @property
    def interval(self) -> Kind:
        return self.chosen_interval or self.range.default_interval()

    @cached_property
    def intervals(self) -> list[Kind]:
        """What the series can be cut into and still be read."""
        fitting = [kind for kind in _OFFERED if 2 <= _points(self.range, kind) <= READABLE_POINTS]
        return [kind for kind in KINDS if kind in {*fitting, self.interval}]

    @property
    def compared(self) -> Range | None:
        """The range to compare with; None if that is switched off or cannot be."""
        return self.before(self.compare, self.by_weekday)

    def before(self, compare: str, by_weekday: bool = False) -> Range | None:
        """None if it would begin before calendars do, or not all of it may be seen."""
        if compare == "none":
            return None
        back = self.range.previous if compare == "previous" else self.range.year_before
        try:
            before = back(by_weekday=by_weekday)
        except (RangeError, ValueError, OverflowError):
            return None
        return before if clamp(before, self.window) == before else None

    @property
    def comparisons(self) -> list[tuple[str, bool]]:
        """What can be compared with: each a name, and whether weekdays meet; those that come to
        the same range once."""
        found: dict[Span, tuple[str, bool]] = {}
        for choice in COMPARISONS:
            before = self.before(*choice)
            if before is not None:
                found.setdefault(before.span, choice)
        return list(found.values())

    @property
    def asked_filters(self) -> list[Any] | None:
        return self.meant

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """Only what differs from the default, in a fixed order: equal views, equal addresses."""
        pairs: list[tuple[str, str]] = []
        opens_on = self.window.text if self.window else DEFAULT_RANGE
        if self.range.text != opens_on:
            pairs.append(("range", self.range.text))
        if self.compare != "previous":
            pairs.append(("compare", self.compare))
        if self.by_weekday:
            pairs.append(("align", "weekday"))
        if self.changes:
            pairs.append(("changes", "1"))
        if self.chosen_interval:
            pairs.append(("interval", self.chosen_interval))
        if self.metric != self.opens_with:
            pairs.append(("metric", self.metric))
        pairs += [("filter", text) for text in chips.texts_of(self.filters)]
        if self.bots != "exclude":
            pairs.append(("bots", self.bots))
        sorts = {card + SORT: order for card, order in self.sorts.items()}
        named = sorted([*self.tabs.items(), *sorts.items(), *self.own.items()])
        return [*pairs, *named, *self.look]

    @property
    def query(self) -> str:
        """ "?range=7d&filter=page:is:/pricing", "?" for the default view."""
        return self.query_of(self.parameters)

    @staticmethod
    def query_of(parameters: list[tuple[str, str]]) -> str:
        return "?" + urlencode(parameters, safe="/:()")

    def but(self, **changes: Any) -> str:
        """The query string of this view with something changed."""
        return replace(self, **changes).query

    def with_filter(self, dimension: str, value: str) -> str:
        """The query string with a filter more; a value already asked for is not asked twice."""
        added = Filter(dimension, "is", value)
        return self.but(filters=tuple(dict.fromkeys((*self.filters, added))))

    def without_filter(self, unwanted: Item) -> str:
        return self.but(filters=tuple(each for each in self.filters if each != unwanted))

    def with_own(self, name: str, value: str) -> str:
        return self.but(own={**self.own, name: value})

    def with_tab(self, card: str, table: str) -> str:
        """Another table of a card, in its own order."""
        sorts = {name: order for name, order in self.sorts.items() if name != card}
        return self.but(tabs={**self.tabs, card: table}, sorts=sorts)

    def with_sort(self, card: str, order: str) -> str:
        return self.but(sorts={**self.sorts, card: order})


def _points(shown: Range, kind: Kind) -> int:
    try:
        return check_points(shown, kind, READABLE_POINTS)
    except RangeError:
        return READABLE_POINTS + 1


def read(
    params: QueryDict,
    place: Property,
    now: datetime,
    *,
    metrics: Sequence[str],
    tabs: Tabs,
    may_view: Callable[[str], bool],
    own: Sequence[str] = (),
) -> Address:
    """The view that GET parameters ask for; AddressError or RangeError says what is wrong.

    `metrics`: those that can be plotted, first the one that the page opens with. `tabs`: card ->
    its tables -> what each can be sorted by. `may_view`: of a module, because a filter tells what
    it filters by. The parameters filter_dimension, filter_operator and filter_value (a form's)
    count as one more filter, and filter_into says where among the others; `from` and `to` count as
    a range, alone or beside range=custom. `own`: further parameters that the page itself
    understands.
    """
    shown = _range(params, place, now)
    items = _filters(params)
    interval = _interval(params.get("interval", ""), shown)
    opens_with = metrics[0] if metrics else ""
    metric = params.get("metric", opens_with)
    if metric != opens_with and metric not in metrics:
        raise AddressError(
            f"There is no curve of {metric[:40]!r}: choose one of {', '.join(metrics)}.", "metric"
        )
    compare = params.get("compare", "previous")
    if compare not in ("previous", "year", "none"):
        raise AddressError(
            f"Unknown comparison {compare[:40]!r}: write 'previous', 'year' or 'none'.", "compare"
        )
    align = params.get("align", "date")
    if align not in ("date", "weekday"):
        raise AddressError(f"Unknown alignment {align[:40]!r}: write 'date' or 'weekday'.", "align")
    return Address(
        range=shown,
        window=place.window,
        compare=compare,
        by_weekday=align == "weekday" and compare != "none",
        changes=_changes(params) and compare != "none",
        chosen_interval=interval,
        metric=metric,
        opens_with=opens_with,
        filters=items,
        meant=_meant(items, place, may_view),
        bots=_bots(params.get("bots", "exclude")),
        tabs=_tabs(params, tabs),
        sorts=_sorts(params, tabs),
        own={name: value for name in own if (value := _own(params, name))},
        look=_look(params),
    )


def _changes(params: QueryDict) -> bool:
    if params.get("changes", "1") != "1":
        raise AddressError("Write changes=1 to compare tables, or leave it out.", "changes")
    return "changes" in params


def _own(params: QueryDict, name: str) -> str:
    value = params.get(name, "")
    if len(value) > LONGEST_VALUE or not is_storable(value):
        raise AddressError("That name is too long or holds a NUL: choose one of the list.", name)
    return value


def _look(params: QueryDict) -> tuple[tuple[str, str], ...]:
    for name, words in LOOKS.items():
        if (asked := params.get(name)) is not None and asked not in words:
            raise AddressError(f"Write {name}={' or '.join(words)}, or leave it out.", name)
    return tuple((name, str(params[name])) for name in LOOKS if name in params)


def _tabs(params: QueryDict, tabs: Tabs) -> dict[str, str]:
    """The chosen table of each card; the first is what a card shows anyhow."""
    chosen = {card: params.get(card, "") for card in tabs}
    return {card: name for card, name in chosen.items() if name in list(tabs[card])[1:]}


def _sorts(params: QueryDict, tabs: Tabs) -> dict[str, str]:
    """The order of each card's chosen table, where it is not the table's own."""
    chosen = _tabs(params, tabs)
    found = {}
    for card, tables in tabs.items():
        columns = tables[chosen.get(card, next(iter(tables)))]
        order = params.get(card + SORT, "")
        if order.removeprefix("-") in columns and order != f"-{columns[0]}":
            found[card] = order
    return found


def _interval(asked: str, shown: Range) -> Kind | None:
    """The asked interval, None for the range's own; RangeError if it has no or too many points."""
    if not asked:
        return None
    check_points(shown, cast(Kind, asked), MOST_POINTS)  # refuses what is no kind, too
    return cast(Kind, asked)


def _bots(asked: str) -> Bots:
    if asked not in BOTS:
        raise AddressError(
            f"Unknown choice of bots {asked[:40]!r}: write one of {', '.join(BOTS)}.", "bots"
        )
    return asked


def _range(params: QueryDict, place: Property, now: datetime) -> Range:
    named = params.get("range") or ("custom" if _EDGES & params.keys() else "")
    if not named and place.window is not None:
        return place.window
    asked: str | dict[str, str | None] = named or DEFAULT_RANGE
    if named == "custom":
        asked = {"from": params.get("from"), "to": params.get("to")}
    shown = parse_range(asked, zone(place.timezone), now, first=place.first_event_at)
    return shown if place.window is None else inside(shown, place.window)


def _filters(params: QueryDict) -> Items:
    try:
        items = chips.read(params.getlist("filter"))
        if params.get("filter_dimension"):
            items = chips.put(items, _typed(params), params.get("filter_into", ""))
            items = chips.read(chips.texts_of(items))  # not too many with it
    except FilterError as error:
        raise AddressError(str(error), "filter") from error
    return items


def _typed(params: QueryDict) -> Filter:
    """What stands in the fields of the form."""
    dimension, operator, value = (
        params.get(f"filter_{part}", "").strip() for part in ("dimension", "operator", "value")
    )
    if dimension == PROPS:
        name = params.get("filter_prop", "").strip()
        if not name:
            raise FilterError("Name the property of the event, such as plan.")
        dimension += name
    return Filter.parse(":".join([dimension, operator, value]))


def _meant(items: Items, place: Property, may_view: Callable[[str], bool]) -> list[Any] | None:
    """What a question asks by them; AddressError for what is not there or may not be viewed."""
    if not items:
        return None
    for each in chips.filters_in(items):
        if not may_view(each.of.module):
            raise AddressError(
                f"You may not view {each.of.module} here, so you cannot filter by "
                f"{each.of.label.lower()}. Remove that filter.",
                "filter",
            )
    try:
        meant = segments.resolved(place, chips.joined("and", items))
        filters.parse(meant)
    except Invalid as error:
        raise AddressError(str(error.detail), "filter") from error
    for module in segments.modules_of(meant):
        if not may_view(module):
            raise AddressError(
                f"You may not view {module} here, and a segment or goal that this view is "
                "narrowed to asks for it. Remove that filter.",
                "filter",
            )
    return cast(list[Any], meant)
