"""Where a shown number comes from: every page, export and API answer asks here.

Enters: a Question (which metrics, split by what, over which range) about one property, inside
the tenant that THE DOOR opened. Leaves: an Answer. Three routes lead there and must always agree,
the cheapest first: reports/rolled.py reads rollups and bitmaps, reports/columnar.py the columns
of packed days, reports/raw.py counts events and sessions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, cast

import redis.exceptions
from django.core.exceptions import PermissionDenied
from django.db import connection

from properties import periods
from properties.models import Property
from properties.periods import Range, Span
from reports import columnar, conversions, crowds, filters, metrics, raw, rolled, segments, touches
from reports.columns import Unfit
from reports.kept import Kept
from reports.patience import for_a_file, in_time, patience
from reports.questions import (
    BOTS,
    DEFAULT_LIMIT,
    DEFAULT_RANGE,
    EVERY,
    MOST_POINTS,
    MOST_REACHED,
    MOST_ROWS,
    Answer,
    Base,
    Bots,
    Counted,
    Key,
    Question,
    best,
    joined,
    parse_question,
)
from reports.sheets import Sheet, before, compared
from tracking.keeping import SHORTEST, kept_since
from tracking.lag import complete_until

Number = int | float | None

__all__ = [
    "BOTS",
    "DEFAULT_LIMIT",
    "DEFAULT_RANGE",
    "EVERY",
    "MOST_POINTS",
    "MOST_REACHED",
    "MOST_ROWS",
    "Answer",
    "Bots",
    "Question",
    "ask",
    "ask_rows",
    "ask_rows_compared",
    "best",
    "complete_until_or_none",
    "count",
    "expect",
    "is_known",
    "parse_question",
]


def ask(place: Property, question: Question, now: datetime, kept: Kept | None = None) -> Answer:
    """The answer to a question about a property; call it inside `tenancy.tenant(account)`. `kept`:
    what earlier questions of the same page have read.

    Of days that whoever asks may not see (`place.window`) nothing is counted: the range is cut, and
    a comparison that reaches beyond is left out. Raises RangeError when nothing remains or a series
    would have more than MOST_POINTS periods, and properties.api.Invalid for a filter that cannot be
    understood, and TooSlow.
    """
    question = _meant(place, question)
    kept = kept or Kept()
    counted, route = count(place, question, question.range, kept)
    ordered = _ordered(place, question, counted, question.range, now)
    rows = list(_each_row(question, ordered, question.labels(question.range)))
    raw_from = _raw_from(place, question, question.range, route, now, kept)
    keys = [key for key, _ in ordered]
    return Answer(
        rows=rows,
        totals=_totals(place, question, counted, question.range, now),
        compared=_compared(place, question, keys, now, kept, may_be_rest=route == "rolled"),
        meta=_meta(place, question, rows, _complete_until(place, now, kept), now)
        | {"route": route, "exact": _is_exact(counted, route)}
        | ({"raw_from": _shown(raw_from, question.range), "exact": False} if raw_from else {}),
    )


def ask_rows(place: Property, question: Question) -> tuple[int, Iterator[dict[str, Any]]]:
    """How many rows a ranked table has, and each as it is taken: for files, which are as long as
    the table whatever the question's limit. Everything is counted when this returns, and waits on
    disk (spools.py). Raises what `ask` raises."""
    question = replace(_meant(place, question), limit=EVERY)
    sheet = _counted_for_a_file(place, question, question.range)
    return len(sheet), _each_row(question, sheet.ordered(), {})


def ask_rows_compared(
    place: Property, question: Question, now: datetime
) -> tuple[int, Iterator[tuple[dict[str, Any], dict[str, Any]]]]:
    """The same, each with what its numbers are in the range that the question compares with: None
    where nothing can be known of that."""
    question = replace(_meant(place, question), limit=EVERY)
    within = question.compare
    with _looking(place, question.range, Kept()):
        if within is not None and _is_lost(place, question, within, now):
            within = None
    sheet = _counted_for_a_file(place, question, question.range, within)
    unknown: Base = dict.fromkeys(question.needs)
    nobody = conversions.of_nobody(place, question)
    has_rest = not conversions.names_goals(question) and rolled.can_answer(question, question.range)

    def pairs() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for key, numbers in sheet.ordered():
            earlier = unknown
            if within is not None and not (has_rest and crowds.OTHER in key):
                there = before(question, numbers) or nobody
                earlier = _told(place, question, there, within.span, now)
            [row] = _each_row(question, [(key, numbers)], {})
            yield row, _values(question, earlier)

    return len(sheet), pairs()


def _counted_for_a_file(
    place: Property, question: Question, within: Range, other: Range | None = None
) -> Sheet:
    """Every group; with what it was in the other range, if there is one."""
    seconds = for_a_file(place.account_id)

    def sheet(*, packed: bool) -> Sheet:
        groups = in_time(seconds, _each(place, question, within, packed=packed))
        if other is None:
            return Sheet(question, groups)
        with _looking(place, other, Kept(), seconds):
            earlier = _each(place, question, other, exactly=True, packed=packed)
            return compared(question, groups, in_time(seconds, earlier))

    with _looking(place, within, Kept(), seconds):
        try:
            return sheet(packed=True)
        except Unfit:  # what is packed has changed since its first rows were given
            return sheet(packed=False)


def _is_lost(place: Property, question: Question, within: Range, now: datetime) -> bool:
    """Whether some of what would have to be counted of the range, exactly, has expired."""
    if _raw_from(place, question, within, "raw", now, Kept()) is None:
        return False
    if conversions.names_goals(question) or not rolled.can_answer(question, within):
        return True
    return rolled.each(place, question, within, exactly=True) is None


def _meant(place: Property, question: Question) -> Question:
    """The question about what may be seen, with its goals and segments spelt out."""
    question = _inside(place.window, question)
    if question.filters is None:
        return question
    return replace(question, filters=segments.resolved(place, question.filters))


def _inside(window: Range | None, question: Question) -> Question:
    """The question about what may be seen of its days."""
    if window is None:
        return question
    compare = question.compare
    if compare is not None and periods.clamp(compare, window) != compare:
        compare = None
    return replace(question, range=periods.inside(question.range, window), compare=compare)


def expect(place: Property, questions: Iterable[Question], kept: Kept) -> None:
    """Questions that the page will ask next: what none of them can do without is read once."""
    for question in questions:
        meant = _meant(place, question)
        if conversions.names_goals(meant) or rolled.can_answer(meant, meant.range):
            continue
        if columnar.can_answer(meant):
            columnar.expect(kept, meant)
            if meant.compare is not None and not meant.is_series:
                columnar.expect(kept, replace(meant, range=meant.compare))


def count(
    place: Property, question: Question, within: Range, kept: Kept | None = None
) -> tuple[Counted, str]:
    """Base numbers, and the name of the route that they came by. Raises TooSlow."""
    kept = kept or Kept()
    with _looking(place, within, kept):
        if conversions.names_goals(question):
            exactly = partial(_count_exactly, place, kept)
            return conversions.count(place, question, within, exactly)
        return _count(place, question, within, kept)


@contextmanager
def _looking(
    place: Property, within: Range, kept: Kept, seconds: int | None = None
) -> Iterator[None]:
    """Every number comes by here: whoever forgot to ask for less learns it at once."""
    if periods.clamp(within, place.window) != within:
        raise PermissionDenied("Days were asked for that may not be seen here.")
    with patience(seconds, is_set=kept.is_patient):
        kept.is_patient = True
        yield


def _each(
    place: Property,
    question: Question,
    within: Range,
    *,
    exactly: bool = False,
    packed: bool = True,
) -> Iterator[tuple[Key, Base]]:
    """The groups of `count`, one at a time and in any order, by the same routes; `exactly`:
    without "(other)"; not `packed`: without packed days."""
    if question.dimensions == (metrics.GOAL,):  # few
        return iter(count(place, question, within)[0].groups.items())
    plain = partial(_each_plain, place, packed=packed)
    if conversions.names_goals(question):
        return conversions.each(place, question, within, plain)
    return plain(question, within, exactly=exactly)


def _each_plain(
    place: Property, question: Question, within: Range, *, exactly: bool, packed: bool
) -> Iterator[tuple[Key, Base]]:
    found = None
    if rolled.can_answer(question, within):
        found = rolled.each(place, question, within, exactly=exactly)
    if found is None and packed and columnar.can_answer(question):
        found = columnar.each(place, question, within)
    return raw.each(place, question, within) if found is None else found


def _count(place: Property, question: Question, within: Range, kept: Kept) -> tuple[Counted, str]:
    if rolled.can_answer(question, within):
        counted = rolled.count(place, question, within, kept)
        if counted is not None:
            return counted, "rolled"
    if (parts := _apart(question, within)) is not None:
        counted = rolled.count(place, parts[0], within, kept)
        if counted is not None:
            rest, route = _count_events(place, parts[1], within, kept)
            return joined([counted, rest]), route
    return _count_events(place, question, within, kept)


def _apart(question: Question, within: Range) -> tuple[Question, Question] | None:
    """What rollups hold of a question, and the rest of it; None where they do not hold anything.
    Only where it is split by nothing but time, for ranked tables choose their rows by what both
    say; and only of everybody, for what else is asked, rollups know a few seconds later."""
    if question.filters is not None or (question.dimensions and not question.is_series):
        return None
    plain = replace(question, order_by=())  # whoever puts both together orders them
    held = tuple(
        name
        for name in question.metrics
        if rolled.can_answer(replace(plain, metrics=(name,)), within)
    )
    if not held or held == question.metrics:
        return None
    rest = tuple(name for name in question.metrics if name not in held)
    return replace(plain, metrics=held), replace(plain, metrics=rest)


def _count_exactly(
    place: Property, kept: Kept, question: Question, within: Range
) -> tuple[Counted, str]:
    """Without "(other)": what is put together must mean the same values."""
    counted, route = _count(place, question, within, kept)
    if not _is_exact(counted, route):
        return _count_events(place, question, within, kept)
    return counted, route


def _is_exact(counted: Counted, route: str) -> bool:
    """A row of the rest may have come by its people alone; or it is cut off, where only the best
    are read. Whoever counts events has no rest: "(other)" is a value like any, that is really
    called so. Rollups cannot tell such a value from the rest, and take it for that."""
    if route != "rolled":
        return True
    return counted.is_exact and not any(crowds.OTHER in key for key in counted.groups)


def _count_events(
    place: Property, question: Question, within: Range, kept: Kept
) -> tuple[Counted, str]:
    if columnar.can_answer(question):
        counted = columnar.count(place, question, within, kept)
        if counted is not None:
            return counted, "columns" if counted.from_columns else "raw"
    return raw.count(place, question, within), "raw"


def _raw_from(
    place: Property, question: Question, within: Range, route: str, now: datetime, kept: Kept
) -> datetime | None:
    """Since when the raw events that were counted are all there; None if that is no matter."""
    start = touches.reaches_back_to(question.named, within.span.start)
    if route == "rolled" or (start and start > now - SHORTEST):  # the usual case: not asked
        return None
    if place.pk not in kept.raw_since:
        with connection.cursor() as cursor:
            kept.raw_since[place.pk] = kept_since(cursor, place, now)
    since = kept.raw_since[place.pk]
    return since if since is not None and (start is None or start < since) else None


def _compared(
    place: Property,
    question: Question,
    keys: list[Key],
    now: datetime,
    kept: Kept,
    *,
    may_be_rest: bool,
) -> dict[str, Any] | None:
    """Totals of the other range, and what stands beside each row that is shown; of a plain series
    further periods, if it has any, come behind. `may_be_rest`: whether "(other)" may stand for
    other values there. Nothing where raw events would have to be counted that have expired: what
    is left of them is no number to compare with."""
    if question.compare is None:
        return None
    whole = question if question.is_series else replace(question, dimensions=())
    counted, route = count(place, whole, question.compare, kept)
    if _raw_from(place, whole, question.compare, route, now, kept) is not None:
        return None
    rows = (
        _periods_beside(place, question, counted, question.compare, keys, now)
        if question.is_series
        else _beside(place, question, question.compare, keys, now, kept, may_be_rest)
    )
    return {
        **_edges(question.compare),
        "totals": _totals(place, question, counted, question.compare, now),
        "rows": list(rows),
    }


def _periods_beside(
    place: Property,
    question: Question,
    counted: Counted,
    within: Range,
    keys: list[Key],
    now: datetime,
) -> Iterator[dict[str, Any]]:
    """Each period of a plain series in another range, in the order of those of the same number."""
    groups = _filled(place, question, counted, within, now)
    beyond: Base = dict.fromkeys(question.needs)
    labels = question.labels(within)
    for key in dict.fromkeys([*keys, *groups]):
        named = {question.dimensions[0]: labels.get(cast(int, key[0]))}
        yield named | _values(question, groups.get(key, beyond))


def _beside(
    place: Property,
    question: Question,
    within: Range,
    keys: list[Key],
    now: datetime,
    kept: Kept,
    may_be_rest: bool,
) -> Iterator[dict[str, Any]]:
    """The rows of these keys, one for each, in another range: of nothing but them it is asked. A
    period is that of the same number; what the rest stands for is not the same there."""
    found: Mapping[Key, Base] = {}
    is_lost = False
    if alike := {key for key in keys if not (may_be_rest and crowds.OTHER in key)}:
        same = _narrowed(question, alike)
        counted, route = count(place, same, within, kept.without_totals(same.needs))
        found = counted.groups
        is_lost = _raw_from(place, same, within, route, now, kept) is not None
    unknown: Base = dict.fromkeys(question.needs)
    nobody = conversions.of_nobody(place, question)
    labels = question.labels(within)
    spans = dict(enumerate(question.periods(within), 1)) if question.cycle is None else {}
    for key in keys:
        period = next((part for part in key if isinstance(part, int)), None)
        named = {
            name: labels.get(part) if isinstance(part, int) else part
            for name, part in zip(question.dimensions, key, strict=True)
        }
        numbers = unknown
        if key in alike and not is_lost and (period is None or period in labels):
            span = spans.get(period or 0, within.span)
            numbers = _told(place, question, found.get(key, nobody), span, now)
        yield named | _values(question, numbers)


def _narrowed(question: Question, keys: Iterable[Key]) -> Question:
    """The question about those of its groups that may have these keys, all of them, in no order
    that costs anything."""
    tree, leaves = question.tree, []
    for name, values in zip(question.dimensions, zip(*keys, strict=True), strict=True):
        if name.startswith(metrics.TIME) or metrics.is_made(name):
            continue
        some = tuple(sorted({str(value) for value in values}))
        if isinstance(tree, filters.Leaf) and (tree.operator, tree.dimension) == ("is", name):
            tree = None  # the values pass it, or they would be no rows
        leaves.append(filters.Leaf("is", name, some))
    parts = (*([tree] if tree else []), *leaves)
    narrowed = filters.Branch("and", parts) if len(parts) > 1 else next(iter(parts), None)
    order = ((question.dimensions[0], "asc"),)
    return replace(question, filters=narrowed, compare=None, order_by=order, limit=EVERY, offset=0)


def _ordered(
    place: Property, question: Question, counted: Counted, within: Range, now: datetime
) -> list[tuple[Key, Base]]:
    """What becomes rows."""
    return _wanted(question, _filled(place, question, counted, within, now))


def _filled(
    place: Property, question: Question, counted: Counted, within: Range, now: datetime
) -> Mapping[Key, Base]:
    """The groups; of a plain series every period, 0 where nobody came and nothing where nobody
    counted."""
    if not question.is_series:
        return counted.groups
    spans = dict(enumerate(question.periods(within), 1)) if question.cycle is None else {}
    return {
        (number,): _told(
            place, question, counted.groups.get((number,), {}), spans.get(number, within.span), now
        )
        for number in question.labels(within)
    }


def _totals(
    place: Property, question: Question, counted: Counted, within: Range, now: datetime
) -> dict[str, Number]:
    return _values(question, _told(place, question, counted.total, within.span, now))


def _told(place: Property, question: Question, numbers: Base, span: Span, now: datetime) -> Base:
    """Unknown is not zero: these numbers, or that there are none."""
    if any(numbers.values()) or is_known(place, span, question.range, now):
        return numbers
    return dict.fromkeys(question.needs)


def is_known(place: Property, span: Span, within: Range, now: datetime) -> bool:
    """Whether it can be known what happened then: counting had begun on its last day, and it has
    begun itself."""
    return span.start <= now and span.end > periods.floor("day", place.counted_since, within.tz)


def _wanted(question: Question, groups: Mapping[Key, Base]) -> list[tuple[Key, Base]]:
    ordered = best(question, groups)
    return ordered if question.is_series else ordered[question.offset :]


def _each_row(
    question: Question, ordered: Iterable[tuple[Key, Base]], labels: Mapping[int, str]
) -> Iterator[dict[str, Any]]:
    for key, numbers in ordered:
        named = {
            name: labels[part] if isinstance(part, int) else part
            for name, part in zip(question.dimensions, key, strict=True)
        }
        yield named | _values(question, numbers)


def _values(question: Question, numbers: Base) -> dict[str, Number]:
    return {name: metrics.METRICS[name].value(numbers) for name in question.metrics}


# -- meta --------------------------------------------------------------------------------------


def _meta(
    place: Property,
    question: Question,
    rows: list[dict[str, Any]],
    complete: datetime | None,
    now: datetime,
) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "timezone": place.timezone,
        **_edges(question.range),
        "complete_until": _shown(complete, question.range) if complete else None,
        "definitions": {name: metrics.METRICS[name].definition for name in question.metrics},
        "identity": place.privacy,
        "counted_from": _shown(
            periods.floor("day", place.counted_since, question.range.tz), question.range
        ),
    }
    if question.interval is None:
        return meta
    if question.cycle is not None:
        return meta | {"interval": question.cycle}
    spans = question.periods(question.range)
    meta["interval"] = question.interval
    meta["open_from"] = _open_from(question, spans, complete or now)
    if question.is_series:
        starts = {
            periods.label(question.interval, span.start, question.range.tz): span.start
            for span in spans
        }
        name = question.dimensions[0]
        meta["starts"] = [_shown(starts[row[name]], question.range) for row in rows]
    return meta


def _complete_until(place: Property, now: datetime, kept: Kept) -> datetime | None:
    """Asked once a page."""
    if place.pk not in kept.complete:
        kept.complete[place.pk] = complete_until_or_none(place, now)
    return kept.complete[place.pk]


def complete_until_or_none(place: Property, now: datetime) -> datetime | None:
    """None when Valkey, where events wait for the drain, cannot be asked: the reports of what is
    stored are shown all the same."""
    try:
        return complete_until(place, now)
    except redis.exceptions.RedisError:
        return None


def _edges(within: Range) -> dict[str, str]:
    return {"from": _shown(within.span.start, within), "to": _shown(within.span.end, within)}


def _shown(instant: datetime, within: Range) -> str:
    return periods.wall(instant, within.tz).isoformat()


def _open_from(question: Question, spans: list[Span], complete: datetime) -> str | None:
    first = next((span for span in spans if span.end > complete), None)
    if first is None or question.interval is None:
        return None
    return periods.label(question.interval, first.start, question.range.tz)
