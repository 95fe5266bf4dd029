"""What an hour came to, counted anew: from Valkey's counters and bits, or from raw rows.

Enters: hours of a property, many at once. Leaves: a Tally, every measure and bitmap of the
registry for these hours. Both sources give the same for the same events. Called by rollups.py,
which decides which of them may be asked.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from psycopg import sql
from pyroaring import BitMap

from properties.models import Property
from reports import metrics
from tracking import keys
from tracking.bits import read_bits
from tracking.store import events_client
from tracking.working import instant

LONGEST_GAP = "60 minutes"  # of a session; properties/models.py


class Hour(NamedTuple):
    """A local hour as epoch seconds, `[start, end)`."""

    start: int
    end: int


Slot = tuple[str, int, str]  # dimension, start of the hour, value


@dataclass
class Tally:
    """Numbers (by measure) and people of each slot."""

    numbers: dict[Slot, dict[str, int]] = field(default_factory=dict)
    people: dict[Slot, BitMap] = field(default_factory=dict)

    def count(self, slot: Slot, measure: str, number: int) -> None:
        self.numbers.setdefault(slot, {})[measure] = number

    def update(self, other: "Tally") -> None:
        """Take over what another counted: other hours, or other measures of the same slots."""
        for slot, numbers in other.numbers.items():
            self.numbers.setdefault(slot, {}).update(numbers)
        self.people.update(other.people)

    def slots(self) -> set[Slot]:
        """Those that were counted, those in which somebody was present, or both."""
        return self.numbers.keys() | self.people.keys()

    def weights(self, dimension: str, hours: set[int]) -> Counter[str]:
        """How often each value of a dimension was counted in these hours, for ranking."""
        found: Counter[str] = Counter()
        measure = "events" if scope_of(dimension) == "event" else "sessions"
        for slot in self.slots():
            if slot[0] == dimension and slot[1] in hours:
                found[slot[2]] += self.numbers.get(slot, {}).get(measure, 0)
        return found

    def fold(self, dimension: str, hours: set[int], kept: set[str]) -> None:
        """Put every other value of the dimension in these hours under "(other)"."""
        for slot in self.slots():
            if slot[0] != dimension or slot[1] not in hours or slot[2] in kept:
                continue
            other = (dimension, slot[1], keys.OTHER)
            for measure, number in self.numbers.pop(slot, {}).items():
                self.count(other, measure, self.numbers.get(other, {}).get(measure, 0) + number)
            if slot in self.people:
                bits = self.people.pop(slot)
                self.people[other] = self.people.get(other, BitMap()) | bits


def dimensions_of(scope: metrics.Scope) -> list[metrics.Dimension]:
    """The rolled dimensions of a scope."""
    every = metrics.DIMENSIONS.values()
    return [dimension for dimension in every if dimension.rolled and dimension.scope == scope]


def scope_of(dimension: str) -> metrics.Scope:
    return metrics.DIMENSIONS[dimension].scope


def measures_of(scope: metrics.Scope) -> list[metrics.Measure]:
    """The rolled measures of a scope."""
    return [m for m in metrics.MEASURES.values() if m.rolled and m.scope == scope]


# -- Valkey ----------------------------------------------------------------------------------


class Forgotten(Exception):
    """Valkey has lost part of what it knew of these hours: count them from raw events."""


def events_in_valkey(place: Property, day: int, hours: Sequence[Hour]) -> Tally:
    """Event measures and bitmaps as the collector counted them. Raises Forgotten."""
    prefix = keys.prefix(place.account_id, place.pk)
    client = events_client()
    pipe = client.pipeline(transaction=False)
    for hour in hours:
        pipe.hgetall(keys.counters(prefix, hour.start))
    # After the counters: whatever they refer to is in the dictionaries by now.
    for dimension in keys.DIMENSIONS:
        pipe.hgetall(keys.dictionary(prefix, day, dimension))
    *counters, events, pages = pipe.execute()
    names = {b"E": _names(events), b"A": _names(pages), b"V": _names(pages)}
    tally = Tally()
    wanted: dict[str, Slot] = {}
    for hour, fields in zip(hours, counters, strict=True):
        for code, number in fields.items():
            _count(tally, hour.start, code, int(number), names)
        for code in fields:
            who, key = _people(hour.start, code, names)
            if who:
                wanted[keys.bits(prefix, keys.HOUR, hour.start, who)] = key
    for key, bits in zip(wanted.values(), read_bits(client, list(wanted)), strict=True):
        if bits:
            tally.people[key] = bits
    return tally


def _names(dictionary: Mapping[bytes, bytes]) -> dict[bytes, str]:
    """Index -> value; index 0 is what the day's dictionary had no room for."""
    return {b"0": keys.OTHER} | {index: value.decode() for value, index in dictionary.items()}


def _name(code: bytes, names: Mapping[bytes, Mapping[bytes, str]]) -> str:
    try:
        return names[code[:1]][code[1:]]
    except KeyError:
        raise Forgotten(f"Nothing is known of counter {code!r}.") from None


def _count(
    tally: Tally, hour: int, code: bytes, number: int, names: Mapping[bytes, Mapping[bytes, str]]
) -> None:
    if code == b"e":
        tally.count(("", hour, ""), "events", number)
    elif code == b"v":
        tally.count(("", hour, ""), "pageviews", number)
        # One event name is that of all page views, or has found no room.
        name = "pageview" if "pageview" in names[b"E"].values() else keys.OTHER
        tally.count(("event", hour, name), "pageviews", number)
    elif code[:1] == b"E":
        tally.count(("event", hour, _name(code, names)), "events", number)
    elif code[:1] == b"A":
        tally.count(("page", hour, _name(code, names)), "events", number)
    elif code[:1] == b"V":
        tally.count(("page", hour, _name(code, names)), "pageviews", number)


def _people(hour: int, code: bytes, names: Mapping[bytes, Mapping[bytes, str]]) -> tuple[str, Slot]:
    """Whose bits belong to a counter: the name in the bits' key, and where they go."""
    if code == b"e":
        return "a", ("", hour, "")
    if code[:1] == b"E":
        return code.decode(), ("event", hour, _name(code, names))
    if code[:1] == b"A":
        return f"P{code[1:].decode()}", ("page", hour, _name(code, names))
    return "", ("", hour, "")


# -- Postgres --------------------------------------------------------------------------------

# The hours are an array of starts and one of ends: a row's hour (its index, from 1) is found by
# halving, however many there are, and none if it lies in a gap between them. The total has
# dimension "". Events without a page have none; a session's values may be empty.
EVENTS = sql.SQL(
    "SELECT e.hour, d.dimension, d.value, array_agg(e.visitor), {measures} "
    "FROM {hours} CROSS JOIN LATERAL ("
    " SELECT *, width_bucket(time, starts) AS hour FROM events"
    " WHERE property_id = %(property)s AND NOT bot"
    " AND time >= %(first)s AND time < %(last)s OFFSET 0"
    ") AS e CROSS JOIN LATERAL (VALUES ('', ''), {values}) AS d(dimension, value) "
    "WHERE e.time < ends[e.hour] AND (d.dimension = '' OR d.value <> '') "
    "GROUP BY 1, 2, 3"
)

SESSIONS = sql.SQL(
    "SELECT s.hour, d.dimension, d.value, {measures} "
    "FROM {hours} CROSS JOIN LATERAL ("
    " SELECT *, width_bucket(started_at, starts) AS hour FROM sessions"
    " WHERE property_id = %(property)s AND NOT bot"
    " AND started_at >= %(first)s AND started_at < %(last)s OFFSET 0"
    ") AS s CROSS JOIN LATERAL (VALUES ('', ''), {values}) AS d(dimension, value) "
    "WHERE s.started_at < ends[s.hour] "
    "GROUP BY 1, 2, 3"
)

# Sessions under way when the first hour opens have an event within a gap of it: that finds their
# visitors by an index, where their end would not.
PRESENT = sql.SQL(
    "WITH under_way AS ("
    " SELECT s.* FROM ("
    "  SELECT DISTINCT visitor FROM events WHERE property_id = %(property)s AND NOT bot"
    "  AND time >= %(first)s AND time < %(first)s::timestamptz + {gap}::interval"
    " ) AS v CROSS JOIN LATERAL ("
    "  SELECT * FROM sessions WHERE property_id = %(property)s AND visitor = v.visitor"
    "  AND started_at < %(first)s ORDER BY started_at DESC LIMIT 1"
    " ) AS s WHERE s.ended_at >= %(first)s"
    "), present AS ("
    " SELECT * FROM under_way UNION ALL"
    " SELECT * FROM sessions WHERE property_id = %(property)s AND NOT bot"
    " AND started_at >= %(first)s AND started_at < %(last)s"
    ") SELECT hour, d.dimension, d.value, array_agg(s.visitor) "
    "FROM {hours} CROSS JOIN present AS s CROSS JOIN LATERAL generate_series("
    " greatest(width_bucket(s.started_at, starts), 1), width_bucket(s.ended_at, starts)"
    ") AS hour CROSS JOIN LATERAL (VALUES {values}) AS d(dimension, value) "
    "WHERE s.started_at < ends[hour] "
    "GROUP BY 1, 2, 3"
)

_HOURS = sql.SQL(
    "(SELECT %(starts)s::timestamptz[] AS starts, %(ends)s::timestamptz[] AS ends) AS h"
)


def events_in_postgres(cursor: Any, place: Property, hours: Sequence[Hour]) -> Tally:
    """Event measures and bitmaps of these hours (in order), counted from raw events."""
    tally = Tally()
    names = [measure.name for measure in measures_of("event")]
    for hour, dimension, value, visitors, *numbers in _rows(
        cursor, EVENTS, "event", "e", place, hours
    ):
        slot = dimension, hour, value
        tally.people[slot] = BitMap(visitors)
        _keep(tally, slot, names, numbers)
    return tally


def sessions_in_postgres(cursor: Any, place: Property, hours: Sequence[Hour]) -> Tally:
    """Session measures of sessions that start in these hours (in order); bitmaps of those
    present in them."""
    tally = Tally()
    names = [measure.name for measure in measures_of("session")]
    for hour, dimension, value, *numbers in _rows(cursor, SESSIONS, "session", "s", place, hours):
        _keep(tally, (dimension, hour, value), names, numbers)
    for hour, dimension, value, visitors in _rows(cursor, PRESENT, "session", "s", place, hours):
        tally.people[dimension, hour, value] = BitMap(visitors)
    return tally


def _rows(
    cursor: Any,
    statement: sql.SQL,
    scope: metrics.Scope,
    table: str,
    place: Property,
    hours: Sequence[Hour],
) -> Iterator[tuple[Any, ...]]:
    """The statement's rows, with the start of the hour in place of its index."""
    measures = [sql.SQL(f"sum({measure.sql})::bigint") for measure in measures_of(scope)]
    values = [
        sql.SQL("({}, {})").format(
            sql.Literal(dimension.name), sql.Identifier(table, dimension.column)
        )
        for dimension in dimensions_of(scope)
    ]
    text = statement.format(
        hours=_HOURS,
        measures=sql.SQL(", ").join(measures),
        values=sql.SQL(", ").join(values),
        gap=sql.Literal(LONGEST_GAP),
    )
    starts, ends = [instant(hour.start) for hour in hours], [instant(hour.end) for hour in hours]
    wanted = {"starts": starts, "ends": ends, "first": starts[0], "last": ends[-1]}
    cursor.execute(text, wanted | {"property": place.pk})
    for index, *row in cursor:
        yield hours[index - 1].start, *row


def _keep(tally: Tally, slot: Slot, names: Sequence[str], numbers: Sequence[int | None]) -> None:
    found = {name: number for name, number in zip(names, numbers, strict=True) if number}
    if found:  # zeros are not stored
        tally.numbers[slot] = found
