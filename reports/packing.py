"""Closed days as columns, so that questions with filters need not read their rows.

Enters: days that the rollup has counted (`note`, in its transaction). Leaves: rows of `columns`
for those that are over and have not changed for a while, from raw events and sessions; a day and
its columns become done in one transaction, so a killed run leaves nothing half. Set, never added
to: a day that changes waits again, and questions read its rows until it is packed anew.
Called by reports/tasks.py after the rollup, by `manage.py roll_up` and by rebuilding.

Why columns: over 30 days of a property with 10 M events a year, joining 800,000 events with their
sessions takes Postgres seconds (docs/performance.md); as columns they are a few megabytes, and
numpy counts them in tens of milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import structlog
from django.db import DatabaseError, connections

from properties.models import Property
from properties.periods import Span
from reports import columns, metrics
from reports.blocks import Block, binary_cursor, every_column, of_rows
from reports.columns import Texts, Unfit
from tracking.working import WORKER, lock, transaction_of_worker

OVER = timedelta(hours=2)  # behind the end of a day: the longest gap of a session, and the drain
SETTLED = timedelta(minutes=5)  # unchanged for so long: late events come in flocks
BUDGET = 3.0  # seconds of a tick
FEWEST = 500  # events of a day that is packed
MOST_PROPS = 100  # properties of events that get columns, most frequent first
LARGEST = 4_000_000  # bytes of a column of a property: unique texts are no dimension

log = structlog.get_logger(__name__)

# -- what the rollup tells -------------------------------------------------------------------

FORGET = (
    "DELETE FROM columns WHERE property_id = %(property)s AND starts_at = ANY(%(starts)s)",
    "DELETE FROM packed_days WHERE property_id = %(property)s AND starts_at = ANY(%(starts)s)",
)

# Days of another zone may overlap those of this one.
OVERLAPPING = """
SELECT p.starts_at FROM packed_days AS p
JOIN unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS d(starts_at, ends_at)
    ON p.starts_at < d.ends_at AND p.ends_at > d.starts_at
WHERE p.property_id = %(property)s AND (p.starts_at, p.ends_at) <> (d.starts_at, d.ends_at)
"""

WAIT = """
INSERT INTO packed_days (account_id, property_id, starts_at, ends_at, state, changed_at)
SELECT %(account)s, %(property)s, starts_at, ends_at, 'w', %(now)s
FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS d(starts_at, ends_at)
ON CONFLICT (property_id, starts_at)
DO UPDATE SET state = 'w', ends_at = excluded.ends_at, changed_at = excluded.changed_at
"""


def note(cursor: Any, place: Property, days: Iterable[Span], now: datetime) -> None:
    """These days were counted anew: what is packed of them is out of date."""
    spans = list(days)
    if not spans:
        return
    values: dict[str, Any] = {"account": place.account_id, "property": place.pk, "now": now}
    values |= {"starts": [day.start for day in spans], "ends": [day.end for day in spans]}
    cursor.execute(OVERLAPPING, values)
    forget(cursor, place, [start for (start,) in cursor.fetchall()])
    cursor.execute(WAIT, values)


def forget(cursor: Any, place: Property, starts: Iterable[datetime]) -> None:
    """Drop what is packed of the days that start there: their raw events are gone."""
    gone = {"property": place.pk, "starts": list(starts)}
    if gone["starts"]:
        for statement in FORGET:
            cursor.execute(statement, gone)


def forget_between(cursor: Any, place: Property, since: datetime, until: datetime) -> None:
    """The same for all days that touch `[since, until)`; retention and erasure call it."""
    cursor.execute(
        "SELECT starts_at FROM packed_days"
        " WHERE property_id = %s AND ends_at > %s AND starts_at < %s",
        [place.pk, since, until],
    )
    forget(cursor, place, [start for (start,) in cursor.fetchall()])


# Once for a property: days that were counted before there were columns.
UNLISTED = "SELECT property_id FROM rolled_zones WHERE NOT days_listed ORDER BY property_id"
LIST = """
INSERT INTO packed_days (account_id, property_id, starts_at, ends_at, state, changed_at)
SELECT account_id, property_id, starts_at,
    ((starts_at AT TIME ZONE %(zone)s)::date + 1)::timestamp AT TIME ZONE %(zone)s, 'w', %(now)s
FROM rollups WHERE property_id = %(property)s AND grain = 'd' AND dimension = ''
    AND measure = 'events' AND value = ''
    AND (starts_at AT TIME ZONE %(zone)s)::time = '00:00'
ON CONFLICT DO NOTHING
"""
LISTED = "UPDATE rolled_zones SET days_listed = true WHERE property_id = %(property)s"


def list_old_days(now: datetime) -> None:
    with transaction_of_worker() as cursor:
        cursor.execute(UNLISTED)
        ids = [number for (number,) in cursor.fetchall()]
    for place in Property.objects.across_accounts().using(WORKER).filter(pk__in=ids):
        with transaction_of_worker() as cursor:
            lock(cursor, "roll up", place, wait=True)
            list_days(cursor, place, now)
            cursor.execute(LISTED, {"property": place.pk})


def list_days(cursor: Any, place: Property, now: datetime) -> None:
    """Let every day that has rollups wait to be packed, unless it is listed already."""
    cursor.execute(LIST, {"property": place.pk, "zone": place.timezone, "now": now})


# -- packing ---------------------------------------------------------------------------------

DUE = """
SELECT property_id, starts_at, ends_at FROM packed_days
WHERE state = 'w' AND changed_at <= %(settled)s AND ends_at <= %(over)s
    AND (%(property)s::bigint IS NULL OR property_id = %(property)s)
ORDER BY starts_at DESC LIMIT %(most)s
"""

# Locked: the rollup may have set it to waiting again since it was found, and would do so now.
IS_DUE = """
SELECT EXISTS (
    SELECT FROM packed_days WHERE property_id = %(property)s AND starts_at = %(start)s
        AND ends_at = %(end)s AND state = 'w'
) AND NOT EXISTS (
    SELECT FROM dirty_hours WHERE property_id = %(property)s
        AND hour > %(start)s::timestamptz - interval '1 hour' AND hour < %(end)s
)
"""

IS_LARGE = """
SELECT count(*) = %(fewest)s FROM (
    SELECT FROM events WHERE property_id = %(property)s AND time >= %(start)s AND time < %(end)s
        AND NOT bot LIMIT %(fewest)s
) AS found
"""

PROPS = """
SELECT k.name FROM events AS e CROSS JOIN LATERAL jsonb_object_keys(e.props) AS k(name)
WHERE e.property_id = %(property)s AND e.time >= %(start)s AND e.time < %(end)s AND NOT e.bot
    AND jsonb_typeof(e.props) = 'object'
GROUP BY k.name ORDER BY count(*) DESC, k.name LIMIT %(most)s
"""

DONE = """
UPDATE packed_days SET state = %(state)s, props = %(props)s
WHERE property_id = %(property)s AND starts_at = %(start)s
"""

KEEP = """
INSERT INTO columns (account_id, property_id, starts_at, name, bits)
VALUES (%(account)s, %(property)s, %(start)s, %(name)s, %(bits)s)
"""


def pack_due(now: datetime, budget: float = BUDGET) -> int:
    """One tick: days that are over and settled, newest first, until time is up."""
    list_old_days(now)
    deadline = time.monotonic() + budget
    packed = 0
    for place, day in days_due(now, SETTLED):
        if time.monotonic() > deadline:
            break
        try:
            packed += pack(place, day, wait=False)
        except (DatabaseError, psycopg.Error) as error:
            log.error("packing failed", property=place.key, error=f"{error}"[:500])
            connections[WORKER].close_if_unusable_or_obsolete()
    return packed


def pack_all(now: datetime, place: Property | None = None) -> int:
    """Until nothing is left that can be packed, of all properties or of one."""
    packed = 0
    while due := list(days_due(now, timedelta(0), place)):
        done = sum(pack(owner, day, wait=True) for owner, day in due)
        packed += done
        if not done:
            break
    return packed


def days_due(
    now: datetime, settled: timedelta, place: Property | None = None, most: int = 1_000
) -> Iterator[tuple[Property, Span]]:
    wanted = {"settled": now - settled, "over": now - OVER, "most": most}
    with transaction_of_worker() as cursor:
        cursor.execute(DUE, wanted | {"property": place.pk if place else None})
        rows = cursor.fetchall()
    places = Property.objects.across_accounts().using(WORKER).in_bulk({row[0] for row in rows})
    for number, start, end in rows:
        if number in places:
            yield places[number], Span(start, end)


def pack(place: Property, day: Span, *, wait: bool) -> bool:
    """Set the columns of a day; False if it was none of our business any more.

    Holds the rollup's lock, so that no rollup of the property runs meanwhile. An event that the
    drain stores while the rows are read marks its hour dirty in its own transaction: then nobody
    reads the columns, and the rollup will set the day to waiting again.
    """
    wanted: dict[str, Any] = {"account": place.account_id, "property": place.pk}
    wanted |= {"start": day.start, "end": day.end}
    with transaction_of_worker() as cursor:
        if not lock(cursor, "roll up", place, wait=wait):
            return False
        cursor.execute(IS_DUE, wanted)
        if not cursor.fetchone()[0]:
            return False
        cursor.execute(FORGET[0], {"property": place.pk, "starts": [day.start]})
        cursor.execute(IS_LARGE, wanted | {"fewest": FEWEST})
        state, is_whole = "r", False
        if cursor.fetchone()[0]:
            try:
                is_whole = _keep(cursor, place, day, wanted)
                state = "d"
            except Unfit as error:
                log.error("day not packed", property=place.key, day=str(day.start), why=str(error))
        cursor.execute(DONE, wanted | {"state": state, "props": is_whole})
    return True


def _keep(cursor: Any, place: Property, day: Span, wanted: dict[str, Any]) -> bool:
    """Write the columns; returns whether there is one for every property of the events."""
    cursor.execute(PROPS, wanted | {"most": MOST_PROPS + 1})
    names = [name for (name,) in cursor.fetchall()]
    props = [f"event:{metrics.PROPS}{name}" for name in names[:MOST_PROPS] if name]
    with binary_cursor(WORKER) as reader:
        block = of_rows(reader, place, day, [*every_column(), *props])
    left_out = len(names) - len(props)
    rows = []
    for name in block.data:
        bits = _bytes(block, name)
        if name in props and len(bits) > LARGEST:
            left_out += 1
            continue
        rows.append(wanted | {"name": name, "bits": bits})
    cursor.executemany(KEEP, rows)
    return left_out == 0


def _bytes(block: Block, name: str) -> bytes:
    found = block.data[name]
    if isinstance(found, Texts):
        return columns.pack_texts(found)
    return columns.pack_numbers(block.numbers(name))
