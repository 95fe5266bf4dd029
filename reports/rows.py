"""A stretch of time as a Block, from rows of `events` and `sessions`: what is packed of a day, and
what a question reads where nothing is packed yet.

Enters: a property, a stretch and the names of columns. Leaves: a Block with these, bots left out;
every column is read as one array, so no row and no number becomes an object. Called by
reports/packing.py and by reports/reading.py.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, get_args

import numpy as np
import psycopg
from psycopg import pq, sql
from psycopg.adapt import Transformer

from properties.models import Property
from properties.periods import Span
from reports import metrics, touches
from reports.blocks import CROSSES, LENGTHS, START, TIME, VISITOR, Block, is_text, microseconds
from reports.columns import Numbers, Texts, TextsMaker, Unfit
from reports.filters import WORTHS, Bound, column
from reports.tallies import LONGEST_GAP

AT_ONCE = 100_000  # rows of a packed block turned into columns at a time
SHORTEST = timedelta(seconds=1)  # in which there are never so many
TEXTS = 1009  # what Postgres calls the type of arrays of texts

EVENTS = sql.SQL(
    "SELECT e.visitor, {time}, {columns} FROM events AS e"
    " WHERE e.property_id = %(property)s AND NOT e.bot"
    " AND e.time >= %(start)s AND e.time < %(end)s LIMIT %(most)s"
)

# Sessions under way when the stretch opens have an event within a gap of its start.
SESSIONS = sql.SQL(
    "SELECT s.visitor, {time}, (s.ended_at >= %(end)s)::int, {columns} FROM ("
    " SELECT * FROM sessions WHERE property_id = %(property)s AND NOT bot"
    " AND started_at >= %(start)s AND started_at < %(end)s"
    " UNION ALL SELECT u.* FROM ("
    "  SELECT DISTINCT visitor FROM events WHERE property_id = %(property)s AND NOT bot"
    "  AND time >= %(start)s AND time < least(%(start)s::timestamptz + {gap}::interval, %(end)s)"
    " ) AS v CROSS JOIN LATERAL ("
    "  SELECT * FROM sessions WHERE property_id = %(property)s AND visitor = v.visitor"
    "  AND started_at < %(start)s ORDER BY started_at DESC LIMIT 1"
    " ) AS u WHERE u.ended_at >= %(start)s"
    ") AS s{touches}"
)


def of_rows(
    cursor: psycopg.Cursor,
    place: Property,
    span: Span,
    names: Iterable[str],
    most: int | None = None,
) -> Block:
    """The stretch with these columns, from rows. Raises Unfit for more than `most` events."""
    wanted = set(names) | {VISITOR, START, LENGTHS}
    block = Block(span)
    events = _read(cursor, EVENTS, "event", place, span, wanted, most)
    sessions = _read(cursor, SESSIONS, "session", place, span, wanted, None)
    if most is not None and len(events.numbers[0]) >= most:
        raise Unfit(f"More than {most:,} events.")
    visitor, start, over = sessions.numbers[:3]
    owners = _owners(visitor, start, *events.numbers[:2])
    lengths = np.bincount(owners, minlength=len(visitor))
    block.data = {VISITOR: visitor, START: start, CROSSES: (start < 0) + 2 * over}
    block.data |= sessions.named
    block.data[LENGTHS] = lengths
    order = np.argsort(owners, kind="stable")
    for name in events.named:
        found = events.named[name]
        block.data[name] = found.at(order) if isinstance(found, Texts) else found[order]
    block.data[TIME] = events.numbers[1][order]
    for measure in _numbers_of("event"):
        if f"visit:{measure.name}" in wanted - {LENGTHS}:
            added = block.numbers(f"event:{measure.name}").astype(np.int64)
            sums = np.concatenate([[0], np.cumsum(added)])
            ends = np.cumsum(lengths)
            block.data[f"visit:{measure.name}"] = sums[ends] - sums[ends - lengths]
    return block


def _owners(visitor: Numbers, start: Numbers, of: Numbers, time: Numbers) -> Numbers:
    """Of each event (its visitor and time) the place of its session: the visitor's last one that
    began before it."""
    everything = np.lexsort(
        (
            np.concatenate([np.zeros(len(start), dtype=int), np.ones(len(time), dtype=int)]),
            np.concatenate([start, time]),
            np.concatenate([visitor, of]),
        )
    )
    is_session = everything < len(start)
    places = np.maximum.accumulate(np.where(is_session, np.arange(len(everything)), -1))
    found = np.empty(len(time), dtype=np.int64)
    rows = everything[~is_session] - len(start)
    last = places[~is_session]
    if len(last) and last.min() < 0:
        raise Unfit("An event has no session.")
    found[rows] = everything[last]
    if len(found) and not np.array_equal(visitor[found], of):
        raise Unfit("An event has no session.")
    return found


@dataclass
class _Read:
    """What was read: the first numbers of every row, and columns by name."""

    numbers: list[Numbers]
    named: dict[str, Texts | Numbers]


def _read(
    cursor: psycopg.Cursor,
    statement: sql.SQL,
    scope: metrics.Scope,
    place: Property,
    span: Span,
    wanted: set[str],
    most: int | None,
) -> _Read:
    bound = Bound(property=place.pk, start=span.start, end=span.end, most=most)
    alias = scope[0]
    dimensions = sorted(name for name in wanted if name.startswith(f"{scope}:") and is_text(name))
    asked = (wanted - {LENGTHS}) if scope == "event" else wanted
    measures = [m for m in _numbers_of(scope) if asked & {f"{scope}:{m.name}", f"visit:{m.name}"}]
    found = [column(name.partition(":")[2], bound) for name in dimensions]
    found += [sql.SQL(f"({measure.sql})::bigint") for measure in measures]
    moment = sql.Identifier(alias, "time" if scope == "event" else "started_at")
    text = statement.format(
        time=sql.SQL("(extract(epoch FROM {}) * 1000000)::bigint").format(moment),
        columns=sql.SQL(", ").join([*found, sql.SQL("0")]),
        gap=sql.Literal(LONGEST_GAP),
        touches=touches.joins(name.partition(":")[2] for name in dimensions),
    )
    fixed = 2 if scope == "event" else 3
    kinds = [int] * fixed + [str] * len(dimensions) + [int] * len(measures)
    parts: list[list[Numbers]] = []
    texts = [TextsMaker() for _ in dimensions]
    is_whole = scope == "session" or most is not None
    read = _arrays if is_whole else partial(_in_parts, span=span)
    for rows in read(cursor, text, bound.values, kinds):
        for maker, values in zip(texts, rows.texts, strict=True):
            maker.add(values)
        parts.append(rows.numbers)
    numbers = [np.concatenate(part) for part in zip(*parts, strict=True)]
    numbers[1] -= microseconds(span.start)
    named: dict[str, Texts | Numbers] = dict(
        zip(dimensions, (maker.done() for maker in texts), strict=True)
    )
    for measure, added in zip(measures, numbers[fixed:], strict=True):
        named[f"{scope}:{measure.name}"] = added
    return _Read(numbers[:fixed], named)


@dataclass
class _Rows:
    """The columns of some rows, numbers and texts each in their order."""

    numbers: list[Numbers]
    texts: list[list[str]]


# An array in Postgres' binary format: dimensions, whether there is NULL in it, the type of its
# elements; how many they are, and from where they are counted; then each behind its length.
_HEAD = struct.Struct(">iiIii")
_ELEMENT = np.dtype([("length", ">i4"), ("number", ">i8")])


def _arrays(
    cursor: psycopg.Cursor, text: sql.Composed, values: Mapping[str, Any], kinds: Sequence[type]
) -> Iterator[_Rows]:
    """All rows of a statement, with each column as an array: so a number is no object in Python,
    and no row is."""
    names = [sql.Identifier(f"c{place}") for place in range(len(kinds))]
    types = {int: sql.SQL("array_agg({}::bigint)"), str: sql.SQL("array_agg({}::text)")}
    arrays = [types[kind].format(name) for name, kind in zip(names, kinds, strict=True)]
    statement = sql.SQL("SELECT {arrays} FROM ({rows}) AS r({names})").format(
        arrays=sql.SQL(", ").join(arrays),
        rows=text,
        names=sql.SQL(", ").join([*names, sql.Identifier("last")]),
    )
    cursor.execute(statement, values)
    result = cursor.pgresult
    assert result is not None
    load = Transformer(cursor).get_loader(TEXTS, pq.Format.BINARY).load
    found = [(kind, result.get_value(0, place)) for place, kind in enumerate(kinds)]
    yield _Rows(
        [_numbers_in(data) for kind, data in found if kind is int],
        [load(data) if data else [] for kind, data in found if kind is str],
    )


def _numbers_in(data: bytes | None) -> Numbers:
    """The numbers of an array; None is that of no rows."""
    if data is None:
        return np.zeros(0, dtype=np.int64)
    if _HEAD.unpack_from(data)[1]:
        raise Unfit("A number of a row is unknown.")
    return np.frombuffer(data, _ELEMENT, offset=_HEAD.size)["number"].astype(np.int64)


def _in_parts(
    cursor: psycopg.Cursor,
    text: sql.Composed,
    values: Mapping[str, Any],
    kinds: Sequence[type],
    span: Span,
) -> Iterator[_Rows]:
    """The same in parts of the span with AT_ONCE rows at most: Postgres has them in memory."""
    most = AT_ONCE if span.length > SHORTEST else None
    within = {"start": span.start, "end": span.end, "most": most}
    [rows] = _arrays(cursor, text, {**values, **within}, kinds)
    if most is None or len(rows.numbers[0]) < most:
        yield rows
        return
    del rows
    middle = span.start + span.length / 2
    for half in (Span(span.start, middle), Span(middle, span.end)):
        yield from _in_parts(cursor, text, values, kinds, half)


def _numbers_of(scope: metrics.Scope) -> list[metrics.Measure | metrics.Sample]:
    """The numbers that each row of a scope has: its measures, and samples of events."""
    found: list[metrics.Measure | metrics.Sample] = [
        measure for measure in metrics.MEASURES.values() if measure.scope == scope
    ]
    return [*found, *metrics.SAMPLES.values()] if scope == "event" else found


def every_column() -> list[str]:
    """What is packed of a day, properties of events apart."""
    found = [VISITOR, START, CROSSES, TIME, WORTHS]
    for scope in get_args(metrics.Scope):
        every = (d for d in metrics.DIMENSIONS.values() if d.scope == scope and not d.is_made)
        found += [f"{scope}:{dimension.name}" for dimension in every]
        found += [f"{scope}:{number.name}" for number in _numbers_of(scope)]
    measures = metrics.MEASURES.values()
    found += [f"visit:{measure.name}" for measure in measures if measure.scope == "event"]
    return found
