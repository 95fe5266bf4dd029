"""What an hour came to, counted anew: from Valkey's counters and bits, or from raw rows.

Enters: hours of one local day of a property. Leaves: a Tally, every measure and bitmap of the
registry for these hours. Both sources give the same for the same events. Called by rollups.py,
which decides which of them may be asked.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from psycopg import sql
from pyroaring import BitMap

from properties.models import Property
from reports import metrics
from tracking import keys
from tracking.bits import read_bits
from tracking.store import events_client

LONGEST_GAP = "60 minutes"  # of a session; properties/models.py


class Hour(NamedTuple):
    """A local hour as epoch seconds, `[start, end)`."""

    start: int
    end: int


@dataclass
class Tally:
    """numbers: (dimension, hour's start, measure, value) -> number; people: without measure."""

    numbers: dict[tuple[str, int, str, str], int] = field(default_factory=dict)
    people: dict[tuple[str, int, str], BitMap] = field(default_factory=dict)

    def update(self, other: "Tally") -> None:
        self.numbers.update(other.numbers)
        self.people.update(other.people)

    def weights(self, dimension: str) -> Counter[str]:
        """How often each value of a dimension was counted, for ranking."""
        found: Counter[str] = Counter()
        measure = "events" if scope_of(dimension) == "event" else "sessions"
        for name, _, value in self.people:  # also who was present and counted elsewhere
            if name == dimension:
                found[value] += 0
        for (name, _, counted, value), number in self.numbers.items():
            if name == dimension:
                found[value] += number if counted == measure else 0
        return found

    def fold(self, dimension: str, kept: set[str]) -> None:
        """Put every other value of the dimension under "(other)"."""
        for key in [key for key in self.numbers if key[0] == dimension and key[3] not in kept]:
            _, hour, measure, _ = key
            number = self.numbers.pop(key)
            into = (dimension, hour, measure, keys.OTHER)
            self.numbers[into] = self.numbers.get(into, 0) + number
        for name in [key for key in self.people if key[0] == dimension and key[2] not in kept]:
            bits = self.people.pop(name)
            other = (dimension, name[1], keys.OTHER)
            self.people[other] = self.people.get(other, BitMap()) | bits


def dimensions_of(scope: metrics.Scope) -> list[metrics.Dimension]:
    """The rolled dimensions of a scope."""
    every = metrics.DIMENSIONS.values()
    return [dimension for dimension in every if dimension.rolled and dimension.scope == scope]


def scope_of(dimension: str) -> metrics.Scope:
    return metrics.DIMENSIONS[dimension].scope


def measures_of(scope: metrics.Scope) -> list[metrics.Measure]:
    return [measure for measure in metrics.MEASURES.values() if measure.scope == scope]


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
    wanted: dict[str, tuple[str, int, str]] = {}
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
    numbers = tally.numbers
    if code == b"e":
        numbers["", hour, "events", ""] = number
    elif code == b"v":
        numbers["", hour, "pageviews", ""] = number
        # One event name is that of all page views, or has found no room.
        name = "pageview" if "pageview" in names[b"E"].values() else keys.OTHER
        numbers["event", hour, "pageviews", name] = number
    elif code[:1] == b"E":
        numbers["event", hour, "events", _name(code, names)] = number
    elif code[:1] == b"A":
        numbers["page", hour, "events", _name(code, names)] = number
    elif code[:1] == b"V":
        numbers["page", hour, "pageviews", _name(code, names)] = number


def _people(
    hour: int, code: bytes, names: Mapping[bytes, Mapping[bytes, str]]
) -> tuple[str, tuple[str, int, str]]:
    """Whose bits belong to a counter: the name in the bits' key, and where they go."""
    if code == b"e":
        return "a", ("", hour, "")
    if code[:1] == b"E":
        return code.decode(), ("event", hour, _name(code, names))
    if code[:1] == b"A":
        return f"P{code[1:].decode()}", ("page", hour, _name(code, names))
    return "", ("", hour, "")


# -- Postgres --------------------------------------------------------------------------------

_HOURS = sql.SQL("unnest(%(starts)s::bigint[], %(ends)s::bigint[]) AS h(opens, closes)")

# The total has dimension "". Events without a page have none; a session's values may be empty.
EVENTS = sql.SQL(
    "SELECT h.opens, d.dimension, d.value, array_agg(DISTINCT e.visitor), {measures} "
    "FROM {hours} JOIN events AS e "
    "ON e.time >= to_timestamp(h.opens) AND e.time < to_timestamp(h.closes) "
    "CROSS JOIN LATERAL (VALUES ('', ''), {values}) AS d(dimension, value) "
    "WHERE e.property_id = %(property)s AND NOT e.bot"
    " AND e.time >= to_timestamp(%(first)s) AND e.time < to_timestamp(%(last)s)"
    " AND (d.dimension = '' OR d.value <> '') "
    "GROUP BY h.opens, d.dimension, d.value"
)

SESSIONS = sql.SQL(
    "SELECT h.opens, d.dimension, d.value, {measures} "
    "FROM {hours} JOIN sessions AS s "
    "ON s.started_at >= to_timestamp(h.opens) AND s.started_at < to_timestamp(h.closes) "
    "CROSS JOIN LATERAL (VALUES ('', ''), {values}) AS d(dimension, value) "
    "WHERE s.property_id = %(property)s AND NOT s.bot"
    " AND s.started_at >= to_timestamp(%(first)s) AND s.started_at < to_timestamp(%(last)s) "
    "GROUP BY h.opens, d.dimension, d.value"
)

# Sessions under way when the first hour opens have an event within a gap of it: that finds their
# visitors by an index, where their end would not.
PRESENT = sql.SQL(
    "WITH under_way AS ("
    " SELECT s.* FROM ("
    "  SELECT DISTINCT visitor FROM events WHERE property_id = %(property)s AND NOT bot"
    "  AND time >= to_timestamp(%(first)s)"
    "  AND time < to_timestamp(%(first)s) + {gap}::interval"
    " ) AS v CROSS JOIN LATERAL ("
    "  SELECT * FROM sessions WHERE property_id = %(property)s AND visitor = v.visitor"
    "  AND started_at < to_timestamp(%(first)s) ORDER BY started_at DESC LIMIT 1"
    " ) AS s WHERE s.ended_at >= to_timestamp(%(first)s)"
    "), present AS ("
    " SELECT * FROM under_way UNION ALL"
    " SELECT * FROM sessions WHERE property_id = %(property)s AND NOT bot"
    " AND started_at >= to_timestamp(%(first)s) AND started_at < to_timestamp(%(last)s)"
    ") SELECT h.opens, d.dimension, d.value, array_agg(DISTINCT s.visitor) "
    "FROM {hours} JOIN present AS s "
    "ON s.started_at < to_timestamp(h.closes) AND s.ended_at >= to_timestamp(h.opens) "
    "CROSS JOIN LATERAL (VALUES {values}) AS d(dimension, value) "
    "GROUP BY h.opens, d.dimension, d.value"
)


def events_in_postgres(cursor: Any, place: Property, hours: Sequence[Hour]) -> Tally:
    """Event measures and bitmaps, counted from raw events."""
    tally = Tally()
    names = [measure.name for measure in measures_of("event")]
    for hour, dimension, value, visitors, *numbers in _rows(
        cursor, EVENTS, "event", "e", place, hours
    ):
        tally.people[dimension, hour, value] = BitMap(visitors)
        _keep(tally, dimension, hour, value, zip(names, numbers, strict=True))
    return tally


def sessions_in_postgres(cursor: Any, place: Property, hours: Sequence[Hour]) -> Tally:
    """Session measures of sessions that start in these hours; bitmaps of those present in them."""
    tally = Tally()
    names = [measure.name for measure in measures_of("session")]
    for hour, dimension, value, *numbers in _rows(cursor, SESSIONS, "session", "s", place, hours):
        _keep(tally, dimension, hour, value, zip(names, numbers, strict=True))
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
    measures = [sql.SQL(f"({measure.sql})::bigint") for measure in measures_of(scope)]
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
    starts, ends = [hour.start for hour in hours], [hour.end for hour in hours]
    wanted = {"starts": starts, "ends": ends, "first": min(starts), "last": max(ends)}
    cursor.execute(text, wanted | {"property": place.pk})
    yield from cursor


def _keep(
    tally: Tally, dimension: str, hour: int, value: str, numbers: Iterable[tuple[str, int | None]]
) -> None:
    for measure, number in numbers:
        if number:  # zeros are not stored
            tally.numbers[dimension, hour, measure, value] = number
