"""Writes what hours came to, and makes their days follow: the rows of `rollups` and `bitmaps`.

Enters: a tally of hours (tallies.py) inside the rollup's transaction. Leaves: rows that are what
was counted; rows that were so already are compared and left alone. Called by rollups.py.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from psycopg import sql
from pyroaring import BitMap

from properties.models import Property
from reports import tallies
from reports.models import Grain
from reports.tallies import Hour, Tally
from tracking.working import instant

ROLLED = [
    dimension.name for scope in ("event", "session") for dimension in tallies.dimensions_of(scope)
]

# `counted` has a line for each slot: copying costs by the line.
MAKE_TABLES = """
CREATE TEMP TABLE IF NOT EXISTS counted (
    dimension text, starts_at bigint, value text, measures text[], numbers bigint[], bits bytea
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS odd_numbers (
    dimension text, starts_at timestamptz, measure text, value text, number bigint, was bigint
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS odd_people (
    dimension text, starts_at timestamptz, value text, bits bytea, was_there boolean
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS changed (
    day timestamptz, dimension text, value text
) ON COMMIT DELETE ROWS
"""

# Set: what is there and no more counted goes, what differs is exchanged, and what is as it was
# costs nothing but the comparison.
COMPARE_NUMBERS = sql.SQL("""
INSERT INTO odd_numbers
SELECT dimension, starts_at, measure, value, f.number, r.number
FROM ({fresh}) AS f FULL JOIN (
    SELECT dimension, starts_at, measure, value, number FROM rollups
    WHERE property_id = %(property)s AND grain = %(grain)s AND dimension = ANY(%(dimensions)s)
        AND starts_at BETWEEN %(first)s AND %(last)s AND starts_at = ANY(%(starts)s) AND {among}
) AS r USING (dimension, starts_at, measure, value)
WHERE f.number IS DISTINCT FROM r.number
""")

COMPARE_PEOPLE = sql.SQL("""
INSERT INTO odd_people
SELECT dimension, starts_at, value, f.bits, b.bits IS NOT NULL
FROM (
    SELECT dimension, to_timestamp(starts_at) AS starts_at, value, bits
    FROM counted WHERE bits IS NOT NULL
) AS f FULL JOIN (
    SELECT dimension, starts_at, value, bits FROM bitmaps
    WHERE property_id = %(property)s AND grain = %(grain)s AND dimension = ANY(%(dimensions)s)
        AND starts_at BETWEEN %(first)s AND %(last)s AND starts_at = ANY(%(starts)s) AND {among}
) AS b USING (dimension, starts_at, value)
WHERE f.bits IS DISTINCT FROM b.bits
""")

REPLACE = (
    """
DELETE FROM rollups AS r USING odd_numbers AS o
WHERE r.property_id = %(property)s AND r.grain = %(grain)s AND o.was IS NOT NULL
    AND r.dimension = o.dimension AND r.starts_at = o.starts_at AND r.measure = o.measure
    AND r.value = o.value
""",
    """
INSERT INTO rollups (account_id, property_id, grain, dimension, starts_at, measure, value, number)
SELECT %(account)s, %(property)s, %(grain)s, dimension, starts_at, measure, value, number
FROM odd_numbers WHERE number IS NOT NULL ORDER BY dimension, starts_at, measure, value
""",
    """
DELETE FROM bitmaps AS b USING odd_people AS o
WHERE b.property_id = %(property)s AND b.grain = %(grain)s AND o.was_there
    AND b.dimension = o.dimension AND b.starts_at = o.starts_at AND b.value = o.value
""",
    """
INSERT INTO bitmaps (account_id, property_id, grain, dimension, starts_at, value, bits)
SELECT %(account)s, %(property)s, %(grain)s, dimension, starts_at, value, bits
FROM odd_people WHERE bits IS NOT NULL ORDER BY dimension, starts_at, value
""",
)

ALL = sql.SQL("true")
FRESH_HOURS = sql.SQL("""
SELECT c.dimension, to_timestamp(c.starts_at) AS starts_at, m.measure, c.value, m.number
FROM counted AS c CROSS JOIN LATERAL unnest(c.measures, c.numbers) AS m(measure, number)
""")

# A day follows its hours, value by value: only those that have changed are added up again. Days
# between these are none of them: their hours end up in no day.
CHANGED = """
INSERT INTO changed
SELECT (%(days)s::timestamptz[])[width_bucket(starts_at, %(days)s::timestamptz[])], dimension, value
FROM (
    SELECT starts_at, dimension, value FROM odd_numbers
    UNION SELECT starts_at, dimension, value FROM odd_people
) AS odd GROUP BY 1, 2, 3
"""

AMONG_CHANGED = sql.SQL("(starts_at, dimension, value) IN (SELECT * FROM changed)")
FRESH_DAYS = sql.SQL("""
SELECT dimension, day AS starts_at, measure, value, sum(number)::bigint AS number
FROM (
    SELECT *, (%(days)s::timestamptz[])[width_bucket(starts_at, %(days)s::timestamptz[])] AS day
    FROM rollups WHERE property_id = %(property)s AND grain = 'h'
        AND dimension = ANY(%(dimensions)s) AND starts_at >= %(first)s AND starts_at < %(end)s
        AND starts_at < (%(ends)s::timestamptz[])[width_bucket(starts_at, %(days)s::timestamptz[])]
) AS r JOIN changed USING (day, dimension, value)
GROUP BY day, dimension, measure, value
""")

PEOPLE_OF_DAYS = """
SELECT dimension, extract(epoch FROM day)::bigint, value, bits
FROM (
    SELECT *, (%(days)s::timestamptz[])[width_bucket(starts_at, %(days)s::timestamptz[])] AS day
    FROM bitmaps WHERE property_id = %(property)s AND grain = 'h'
        AND dimension = ANY(%(dimensions)s) AND starts_at >= %(first)s AND starts_at < %(end)s
        AND starts_at < (%(ends)s::timestamptz[])[width_bucket(starts_at, %(days)s::timestamptz[])]
) AS b JOIN changed USING (day, dimension, value)
"""


def write(
    cursor: Any, place: Property, days: dict[int, list[Hour]], hours: list[Hour], tally: Tally
) -> None:
    """Set these hours to the tally, and the days (all hours of each, by its start) to their sum."""
    starts_of_days = [instant(day) for day in sorted(days)]
    values: dict[str, Any] = {
        "account": place.account_id,
        "property": place.pk,
        "dimensions": ["", *ROLLED],
        "days": starts_of_days,
        "end": instant(max(every[-1].end for every in days.values())),
        "ends": [instant(days[day][-1].end) for day in sorted(days)],
    }
    cursor.execute(MAKE_TABLES)
    _fill(cursor, _rows_of_hours(tally))
    of_hours = _starts(Grain.HOUR, [instant(hour.start) for hour in hours])
    _set(cursor, FRESH_HOURS, ALL, values | of_hours)
    cursor.execute(CHANGED, values)
    for table in ("counted", "odd_numbers", "odd_people"):
        cursor.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
    of_days = _starts(Grain.DAY, starts_of_days)
    cursor.execute("ANALYZE changed")
    cursor.execute(PEOPLE_OF_DAYS, values | of_days)
    _fill(cursor, _rows_of_days(cursor.fetchall()))
    _set(cursor, FRESH_DAYS, AMONG_CHANGED, values | of_days)


def _starts(grain: Grain, starts: list[datetime]) -> dict[str, Any]:
    return {"grain": grain.value, "starts": starts, "first": starts[0], "last": starts[-1]}


def _set(cursor: Any, fresh: sql.SQL, among: sql.SQL, values: dict[str, Any]) -> None:
    """Make the rows of a grain at these starts what was counted."""
    cursor.execute(COMPARE_NUMBERS.format(fresh=fresh, among=among), values)
    cursor.execute(COMPARE_PEOPLE.format(among=among), values)
    for statement in REPLACE:
        cursor.execute(statement, values)


def _fill(cursor: Any, rows: Iterable[tuple]) -> None:
    with cursor.copy("COPY counted FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    cursor.execute("ANALYZE counted (dimension, starts_at, value)")


def _rows_of_hours(tally: Tally) -> Iterator[tuple]:
    for slot in tally.slots():
        numbers = tally.numbers.get(slot, {})
        bits = tally.people.get(slot)
        yield (
            *slot,
            _array(numbers),
            _array(numbers.values()),
            serialized(bits) if bits is not None else None,
        )


def _array(items: Iterable[str | int]) -> str:
    """As Postgres writes an array; names of measures and numbers need no quotes."""
    return "{" + ",".join(map(str, items)) + "}"


def _rows_of_days(rows: Iterable[tuple[str, int, str, bytes]]) -> Iterator[tuple]:
    """A day's bitmap is the OR of its hours: the same people, each once."""
    found: dict[tuple[str, int, str], list[bytes]] = defaultdict(list)
    for dimension, day, value, bits in rows:
        found[dimension, day, value].append(bytes(bits))
    for (dimension, day, value), several in found.items():
        bits = several[0]
        if len(several) > 1:
            bits = serialized(BitMap.union(*map(BitMap.deserialize, several)))
        yield dimension, day, value, "{}", "{}", bits


def serialized(bits: BitMap) -> bytes:
    """The same bytes for the same people, whatever operations led to them."""
    bits = BitMap(bits)
    bits.run_optimize()
    return bits.serialize()
