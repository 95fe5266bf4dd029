"""What a question is, what an answer is, and how a question is read from JSON.

Enters: the body of a query (or the parameters of a page) as plain data. Leaves: a Question, or
Invalid with the field that is wrong and what to write instead. reports/queries.py answers it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, cast, get_args

from properties import periods
from properties.api import Invalid
from properties.models import Property
from properties.periods import Cycle, Kind, Range, RangeError, Span
from reports import filters, metrics, segments

Bots = Literal["exclude", "include", "only"]
BOTS: tuple[Bots, ...] = get_args(Bots)
Key = tuple[str | int, ...]  # a group's values, in the order of the dimensions; a period's place
Base = Mapping[str, int | None]  # base numbers by name; None: a quantile of nothing

DEFAULT_RANGE = "28d"
DEFAULT_LIMIT = 100
MOST_ROWS = 10_000
MOST_REACHED = 1_000_000  # rows of a table, by its pages
EVERY = 1_000_000_000  # rows: more than there are
MOST_POINTS = 2_000
MOST_TURNS = 20_000  # periods that are folded into a cycle: two years of hours
MOST_DIMENSIONS = 4
FIELDS = (
    "metrics", "dimensions", "filters", "range", "compare", "align", "order_by", "limit", "offset",
    "bots",
)  # fmt: skip
COMPARISONS = ("previous", "year")
ALIGNMENTS = ("date", "weekday")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked. Names are those of reports/metrics.py; `time:<kind>` is a dimension, too.

    `filters` is None or a nested list: ["is", "country", ["DE"]], ["and", a, b], ["not", a]; parts
    may be nodes of reports/filters.py.
    `order_by` holds (metric or dimension, "asc" | "desc"); empty: by time, else by the first
    metric, most first. `limit` rows are counted and the first `offset` of them left out; neither
    cuts a plain time series.
    """

    metrics: tuple[str, ...]
    range: Range
    dimensions: tuple[str, ...] = ()
    filters: Any = None
    compare: Range | None = None
    order_by: tuple[tuple[str, str], ...] = ()
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    bots: Bots = "exclude"

    @property
    def needs(self) -> tuple[str, ...]:
        """The base numbers (measures, visitors) of its metrics, each once."""
        names = (name for metric in self.metrics for name in metrics.METRICS[metric].needs)
        return tuple(dict.fromkeys(names))

    @property
    def _time(self) -> str:
        """The kind or cycle that it is split by, "" for none."""
        times = (name for name in self.dimensions if name.startswith(metrics.TIME))
        return next(times, "").removeprefix(metrics.TIME)

    @property
    def cycle(self) -> Cycle | None:
        """The cycle that its periods are folded into, if any."""
        return cast(Cycle, self._time) if self._time in periods.CYCLES else None

    @property
    def interval(self) -> Kind | None:
        """The kind of period that it is split by, if any."""
        if self.cycle:
            return periods.CYCLES[self.cycle]
        return cast(Kind, self._time) if self._time else None

    @property
    def is_series(self) -> bool:
        """Split by time and nothing else: every period is a row, and none is cut off."""
        return self.interval is not None and len(self.dimensions) == 1

    @property
    def order(self) -> tuple[tuple[str, str], ...]:
        """`order_by`, or what stands in for it."""
        if self.order_by:
            return self.order_by
        time = [(name, "asc") for name in self.dimensions if name.startswith(metrics.TIME)]
        return (*time, (self.metrics[0], "desc"))

    def periods(self, within: Range) -> list[Span]:
        """The whole periods that overlap the range; RangeError if they are too many."""
        if self.interval is None:
            return []
        return list(_periods(self.interval, within, MOST_TURNS if self.cycle else MOST_POINTS))

    def places(self, within: Range) -> list[int]:
        """Of each of the periods the row that it belongs to, counted from 1."""
        spans = self.periods(within)
        if self.cycle is None:
            return list(range(1, len(spans) + 1))
        return [periods.turn(self.cycle, span.start, within.tz) for span in spans]

    def labels(self, within: Range) -> dict[int, str]:
        """What the rows are called that periods can belong to."""
        if self.cycle is not None:
            return dict(periods.turns(self.cycle))
        if self.interval is None:
            return {}
        return {
            index: periods.label(self.interval, span.start, within.tz)
            for index, span in enumerate(self.periods(within), 1)
        }

    @property
    def tree(self) -> filters.Node | None:
        """Its filters, checked."""
        return None if self.filters is None else filters.parse(self.filters)

    @property
    def filtered_by(self) -> list[str]:
        """The dimensions that its filters name, those within a "visitor" too."""
        if self.filters is None:
            return []
        return [leaf.dimension for leaf in filters.all_leaves(filters.parse(self.filters))]

    @property
    def named(self) -> list[str]:
        """The dimensions that it splits by or filters by."""
        return [*self.dimensions, *self.filtered_by]

    def modules(self) -> list[str]:
        """The modules of everything that it names, each once; who asks must view them all."""
        named = metrics.modules_of(self.metrics, self.dimensions)
        asked = map(metrics.find_dimension, self.filtered_by)
        return list(dict.fromkeys([*named, *(found.module for found in asked if found)]))


@lru_cache(maxsize=4)  # a question asks several times; a year of hours takes a tenth of a second
def _periods(kind: Kind, within: Range, most: int) -> tuple[Span, ...]:
    periods.check_points(within, kind, most)
    return tuple(periods.spans(kind, within.span, within.tz))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Numbers: counts as int, rates 0-1 and means of ms as float; None where there is nothing.

    rows: flat, {"page": "/", "pageviews": 572}; a time dimension holds the period's label
    ({"time:day": "2015-05-17", ...}), and a plain series has a row for every period.
    A period that ended before counting began, or that has not begun, is None in every metric.
    totals: {metric: number} over the whole range, computed and never summed from rows.
    compared: None or {"from", "to", "totals": {...}, "rows": [...]}; one for each of `rows`, with
    the names that its periods have there (None beyond their last) and None where nothing is known;
    of a plain series behind them any further periods.
    meta: {"timezone", "from", "to" (ISO instants, half-open), "complete_until" (ISO instant; None
    while Valkey cannot be asked), "exact", "definitions": {metric: text}, "route": "rolled" |
    "columns" | "raw", "identity": how visitors are known
    ("cookies" | "cookieless" | "required"), "counted_from": the day since which there is anything
    to know (ISO instant; None before the first event); where raw events were counted and some of
    the range have expired "raw_from" (ISO instant since which they are all there; not exact); with
    a time dimension also "interval" (its kind), "starts" (ISO instant of each row of a plain
    series) and "open_from" (label of the first period that is not complete yet, None if all are)}.
    """

    rows: list[dict[str, Any]]
    totals: dict[str, int | float | None]
    compared: dict[str, Any] | None = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Counted:
    """What a route hands back: base numbers by group, and those of the range as a whole."""

    groups: Mapping[Key, Base]
    total: Base
    from_columns: bool = False  # whether a packed day was read for it
    is_exact: bool = True  # False: it is by values, of which some stand together as "(other)"


def joined(parts: Iterable[Counted]) -> Counted:
    """The numbers of all parts, by their groups; what a part does not have is nothing there."""
    groups: dict[Key, dict[str, int | None]] = defaultdict(dict)
    total: dict[str, int | None] = {}
    for part in parts:
        for key, numbers in part.groups.items():
            groups[key].update(numbers)
        total.update(part.total)
    return Counted(groups, total)


# -- reading -----------------------------------------------------------------------------------


def parse_question(place: Property, body: Mapping[str, Any], now: datetime) -> Question:
    """The question in a JSON body (or a page's parameters of the same names); raises Invalid."""
    if not isinstance(body, Mapping):
        raise Invalid("shape", "Send one JSON object, such as " + EXAMPLE)
    if unknown := [name for name in body if name not in FIELDS]:
        raise Invalid(
            "unknown_field",
            f"There is no such field. Known: {', '.join(FIELDS)}.",
            _cut(unknown[0]),
        )
    asked = _metrics(body.get("metrics"))
    dimensions = _dimensions(body.get("dimensions", []))
    tree = segments.resolved(place, body.get("filters"))
    if tree is not None:
        filters.parse(tree)
    within = _range(place, body.get("range", DEFAULT_RANGE), "range", now)
    offset = _offset(body.get("offset", 0))
    question = Question(
        metrics=asked,
        dimensions=dimensions,
        filters=cast(Any, tree),
        range=within,
        compare=_compare(place, body.get("compare"), _align(body), within, now),
        order_by=_order_by(body.get("order_by", []), (*asked, *dimensions)),
        limit=_limit(body.get("limit", DEFAULT_LIMIT)) + offset,
        offset=offset,
        bots=_bots(body.get("bots", "exclude")),
    )
    _check_points(question)
    return question


EXAMPLE = '{"metrics": ["visitors"], "dimensions": ["page"], "range": "7d"}.'


def _cut(value: object) -> str:
    return str(value)[:60]


def _names(value: object, name: str, most: int) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise Invalid("shape", f'Write "{name}" as a list of names.', name)
    if len(value) > most:
        raise Invalid("too_many", f'"{name}" takes at most {most} names.', name)
    if len(set(value)) < len(value):
        raise Invalid("twice", f'"{name}" names something twice: leave one out.', name)
    return tuple(value)


def _metrics(value: object) -> tuple[str, ...]:
    if value is None or value == []:
        raise Invalid("required", f"Name at least one metric: {_known(metrics.METRICS)}", "metrics")
    names = _names(value, "metrics", len(metrics.METRICS))
    for name in names:
        if name not in metrics.METRICS:
            message = f"There is no metric {_cut(name)!r}. Known: {_known(metrics.METRICS)}"
            raise Invalid("unknown_metric", message, "metrics")
    return names


def _known(names: Mapping[str, Any]) -> str:
    return ", ".join(names) + "."


def _dimensions(value: object) -> tuple[str, ...]:
    names = _names(value, "dimensions", MOST_DIMENSIONS)
    times = [name for name in names if name.startswith(metrics.TIME)]
    for name in names:
        if name in times:
            _check_time(name)
        else:
            filters.check_dimension(name, "dimensions")
    if len(times) > 1:
        raise Invalid("two_times", "Split by one kind of period, not by two.", "dimensions")
    return names


def _check_time(name: str) -> None:
    every = [*periods.KINDS, *periods.CYCLES]
    if name.removeprefix(metrics.TIME) not in every:
        known = ", ".join(metrics.TIME + kind for kind in every)
        message = f"There is no dimension {_cut(name)!r}. Of time there are {known}."
        raise Invalid("unknown_dimension", message, "dimensions")


def _range(place: Property, value: object, name: str, now: datetime) -> Range:
    if not isinstance(value, str | Mapping):
        raise Invalid("invalid_range", 'Write "7d" or {"from": "...", "to": "..."}.', name)
    try:
        return periods.parse_range(
            value, periods.zone(place.timezone), now, first=place.first_event_at
        )
    except RangeError as error:
        where = f"{name}.{error.field}" if error.field in ("from", "to") else name
        raise Invalid("invalid_range", str(error), where) from error


def _align(body: Mapping[str, Any]) -> str:
    value = body.get("align", "date")
    if not isinstance(value, str) or value not in ALIGNMENTS:
        raise Invalid("invalid_align", 'Write "date" or "weekday".', "align")
    return value


def _compare(
    place: Property, value: object, align: str, within: Range, now: datetime
) -> Range | None:
    if value is None:
        return None
    if isinstance(value, str) and value in COMPARISONS:
        return _before(value, within, by_weekday=align == "weekday")
    if not isinstance(value, Mapping):
        raise Invalid(
            "invalid_range",
            'Compare with "previous", "year" or {"from": "...", "to": "..."}.',
            "compare",
        )
    return _range(place, value, "compare", now)


def _before(name: str, within: Range, by_weekday: bool) -> Range:
    back = within.previous if name == "previous" else within.year_before
    try:
        return back(by_weekday=by_weekday)
    except (ValueError, OverflowError) as error:  # before the first year that there is
        message = "There is no time before this range to compare with: choose a later one."
        raise Invalid("invalid_range", message, "compare") from error


def _order_by(value: object, asked: Sequence[str]) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list | tuple) or len(value) > len(asked):
        raise Invalid("shape", _ORDER, "order_by")
    return tuple(_order(item, asked) for item in value)


_ORDER = 'Write "order_by" as pairs, such as [["visitors", "desc"], ["page", "asc"]].'


def _order(item: object, asked: Sequence[str]) -> tuple[str, str]:
    if not isinstance(item, list | tuple) or len(item) != 2:
        raise Invalid("shape", _ORDER, "order_by")
    name, direction = item
    if not isinstance(name, str) or direction not in ("asc", "desc"):
        raise Invalid("shape", _ORDER, "order_by")
    if name not in asked:
        message = f"Order by a metric or dimension of the question: {', '.join(asked)}."
        raise Invalid("unknown_order", message, "order_by")
    return name, direction


def _limit(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_ROWS:
        raise Invalid("invalid_limit", f"Write a whole number from 1 to {MOST_ROWS:,}.", "limit")
    return value


def _offset(value: object) -> int:
    most = MOST_REACHED - MOST_ROWS
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise Invalid("invalid_offset", f"Write a whole number from 0 to {most:,}.", "offset")
    return value


def _bots(value: object) -> Bots:
    if not isinstance(value, str) or value not in BOTS:
        raise Invalid("invalid_bots", 'Write "exclude", "include" or "only".', "bots")
    return value


def _check_points(question: Question) -> None:
    for within in (question.range, question.compare):
        if question.interval is not None and within is not None:
            try:
                question.periods(within)
            except RangeError as error:
                raise Invalid("too_many_points", str(error), "dimensions") from error


# -- ordering ----------------------------------------------------------------------------------


def best(question: Question, groups: Mapping[Key, Base]) -> list[tuple[Key, Base]]:
    """The groups as the question orders and cuts them; ties by its dimensions, None last."""
    ordered = sorted(groups.items(), key=lambda group: group[0])
    for name, way in reversed(question.order):
        ordered.sort(key=lambda group: _sort_key(question, name, way, *group))
    return ordered if question.is_series else ordered[: question.limit]


def _sort_key(question: Question, name: str, way: str, key: Key, numbers: Base) -> tuple[bool, Any]:
    if name in metrics.METRICS:
        number = metrics.METRICS[name].value(numbers)
        if number is None:
            return True, 0
        return False, -number if way == "desc" else number
    value = key[question.dimensions.index(name)]
    if isinstance(value, int):
        return False, -value if way == "desc" else value
    return False, _Backwards(value) if way == "desc" else value


class _Backwards:
    """A text that sorts the other way round, so that a stable sort keeps the ties' order."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __lt__(self, other: _Backwards) -> bool:
        return other.text < self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Backwards) and other.text == self.text
