"""Closed days, and hours of open ones, as columns: questions with filters need not read their rows.

Enters: days and hours that the rollup has counted (`note`, in its transaction). Leaves: rows of
`columns` for those that are over and have not changed for a while, from raw events and sessions; a
block and its columns become done in one transaction, so a killed run leaves nothing half. Set,
never added to: what changes waits again, and questions read its rows until it is packed anew.
While a day is open, its hours and quarters are packed; when it is packed itself, they go in the
same transaction. A quarter leaves its hours where they are: when one of them changes, the others
are read.
Called by reports/tasks.py after the rollup, by `manage.py roll_up` and by rebuilding.

Why columns: over 30 days of a property with 10 M events a year, joining 800,000 events with their
sessions takes Postgres seconds (docs/performance.md); as columns they are a few megabytes, and
numpy counts them in tens of milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import structlog
from django.db import DatabaseError, connections

from properties.models import Property
from properties.periods import Span, spans, zone
from reports import columns, metrics, postings, summing
from reports.blocks import Block, binary_cursor, dictionary_of, digest_of
from reports.columns import Texts, Unfit
from reports.models import BlockGrain
from reports.rows import every_column, of_rows
from tracking.working import WORKER, lock, transaction_of_worker

OVER = timedelta(hours=2)  # behind the end of a day: the longest gap of a session, and the drain
SETTLED = timedelta(minutes=5)  # unchanged for so long: late events come in flocks
BUDGET = 3.0  # seconds of a tick
FEWEST = 500  # events of a day that is packed
FEWEST_OF_PART = 200  # of an hour or a quarter: so few rows cost a page as much as one more block
QUARTER = 6  # hours; one must have been quiet for so much longer, for packing it costs as much more
MOST_PROPS = 100  # properties of events that get columns, most frequent first
LARGEST = 4_000_000  # bytes of a column of a property: unique texts are no dimension

log = structlog.get_logger(__name__)

# -- what the rollup tells -------------------------------------------------------------------

FORGET = (
    "DELETE FROM columns"
    " WHERE property_id = %(property)s AND grain = %(grain)s AND starts_at = ANY(%(starts)s)",
    "DELETE FROM packed_days"
    " WHERE property_id = %(property)s AND grain = %(grain)s AND starts_at = ANY(%(starts)s)",
)

# What overlaps a change and does not wait for it: days and hours of another zone, hours of a day
# that is over.
STALE = """
SELECT p.starts_at FROM packed_days AS p
WHERE p.property_id = %(property)s AND p.grain = %(grain)s
    AND p.starts_at < %(last)s AND p.ends_at > %(first)s
    AND EXISTS (
        SELECT FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS c(since, until)
        WHERE p.starts_at < c.until AND p.ends_at > c.since
    ) AND NOT EXISTS (
        SELECT FROM unnest(%(waiting)s::timestamptz[], %(until)s::timestamptz[]) AS w(since, until)
        WHERE (p.starts_at, p.ends_at) = (w.since, w.until)
    )
"""

WAIT = """
INSERT INTO packed_days (account_id, property_id, grain, starts_at, ends_at, state, changed_at)
SELECT %(account)s, %(property)s, %(grain)s, since, until, 'w', %(now)s
FROM unnest(%(waiting)s::timestamptz[], %(until)s::timestamptz[]) AS w(since, until)
ON CONFLICT (property_id, grain, starts_at)
DO UPDATE SET state = 'w', ends_at = excluded.ends_at, changed_at = excluded.changed_at
"""


def note(cursor: Any, place: Property, changed: Mapping[Span, list[Span]], now: datetime) -> None:
    """These days, and these hours of each, were counted anew: what is packed of them is out of
    date. Hours and quarters wait to be packed while their day is open."""
    hours = [hour for some in changed.values() for hour in some]
    of_open = {day: some for day, some in changed.items() if day.end > now - OVER}
    of_hours = [hour for some in of_open.values() for hour in some]
    of_quarters = [
        quarter for day, some in of_open.items() for quarter in quarters(place, day, some)
    ]
    _wait(cursor, place, BlockGrain.DAY, list(changed), list(changed), now)
    _wait(cursor, place, BlockGrain.QUARTER, hours, of_quarters, now)
    _wait(cursor, place, BlockGrain.HOUR, hours, of_hours, now)


def quarters(place: Property, day: Span, hours: Sequence[Span]) -> Iterator[Span]:
    """The quarters of a day in which these hours are; the last is longer or shorter by an hour
    where the clocks change."""
    starts = [hour.start for hour in spans("hour", day, zone(place.timezone))]
    starts = starts[: 3 * QUARTER + 1 : QUARTER]
    for start, end in zip(starts, [*starts[1:], day.end], strict=True):
        quarter = Span(start, end)
        if any(hour.overlaps(quarter) for hour in hours):
            yield quarter


def _wait(
    cursor: Any,
    place: Property,
    grain: BlockGrain,
    changed: Sequence[Span],
    waiting: Sequence[Span],
    now: datetime,
) -> None:
    """Forget what has changed, but for the blocks that wait to be packed again."""
    if not changed:
        return
    values: dict[str, Any] = {"account": place.account_id, "property": place.pk, "now": now}
    values |= {"starts": [span.start for span in changed], "ends": [span.end for span in changed]}
    values |= {"first": min(values["starts"]), "last": max(values["ends"]), "grain": grain}
    values |= {"waiting": [span.start for span in waiting], "until": [span.end for span in waiting]}
    cursor.execute(STALE, values)
    forget(cursor, place, grain, [start for (start,) in cursor.fetchall()])
    if waiting:
        cursor.execute(WAIT, values)


def forget(cursor: Any, place: Property, grain: BlockGrain, starts: Iterable[datetime]) -> None:
    """Drop these blocks and their columns."""
    gone = {"property": place.pk, "grain": grain, "starts": list(starts)}
    if gone["starts"]:
        for statement in FORGET:
            cursor.execute(statement, gone)


def forget_between(cursor: Any, place: Property, since: datetime, until: datetime) -> None:
    """The same for all that touch `[since, until)`, whose raw events are gone; retention and
    erasure call it, too."""
    cursor.execute(
        "SELECT grain, starts_at FROM packed_days"
        " WHERE property_id = %s AND ends_at > %s AND starts_at < %s",
        [place.pk, since, until],
    )
    rows = cursor.fetchall()
    for grain in BlockGrain:
        forget(cursor, place, grain, [start for of, start in rows if of == grain])


# Once for a property: days that were counted before there were columns.
UNLISTED = "SELECT property_id FROM rolled_zones WHERE NOT days_listed ORDER BY property_id"
LIST = """
INSERT INTO packed_days (account_id, property_id, grain, starts_at, ends_at, state, changed_at)
SELECT account_id, property_id, 'd', starts_at,
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

# Parts of a day that is over are not worth it any more: it will be packed itself.
DUE = """
SELECT p.property_id, p.grain, p.starts_at, p.ends_at FROM packed_days AS p
WHERE p.state = 'w' AND p.ends_at <= CASE p.grain WHEN 'd' THEN %(over)s ELSE %(now)s END
    AND p.changed_at <= CASE p.grain WHEN 'q' THEN %(quiet)s ELSE %(settled)s END
    AND (p.grain = 'd' OR NOT EXISTS (
        SELECT FROM packed_days AS d
        WHERE d.property_id = p.property_id AND d.grain = 'd' AND d.starts_at <= p.starts_at
            AND d.ends_at > p.starts_at AND d.ends_at <= %(over)s
    ))
    AND (%(property)s::bigint IS NULL OR p.property_id = %(property)s)
ORDER BY p.ends_at - p.starts_at, p.starts_at DESC LIMIT %(most)s
"""

# Locked: the rollup may have set it to waiting again since it was found, and would do so now.
IS_DUE = """
SELECT EXISTS (
    SELECT FROM packed_days WHERE property_id = %(property)s AND grain = %(grain)s
        AND starts_at = %(start)s AND ends_at = %(end)s AND state = 'w'
) AND NOT EXISTS (
    SELECT FROM dirty_hours WHERE property_id = %(property)s
        AND hour > %(start)s::timestamptz - interval '1 hour' AND hour < %(end)s
)
"""

# When a day is packed: never both, never neither.
PARTS = """
SELECT starts_at FROM packed_days WHERE property_id = %(property)s AND grain = %(part)s
    AND starts_at < %(end)s AND ends_at > %(start)s
"""

# Most days of a long history are small: all of a property at once, not one transaction for each.
SET_SMALL = """
UPDATE packed_days AS p SET state = 'r', props = false
FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS d(starts_at, ends_at)
WHERE p.property_id = %(property)s AND p.grain = %(grain)s AND p.starts_at = d.starts_at
    AND p.ends_at = d.ends_at AND p.state = 'w'
    AND NOT EXISTS (
        SELECT FROM dirty_hours AS h WHERE h.property_id = %(property)s
            AND h.hour > p.starts_at - interval '1 hour' AND h.hour < p.ends_at
    )
    AND (
        SELECT count(*) FROM (
            SELECT FROM events AS e WHERE e.property_id = %(property)s
                AND e.time >= p.starts_at AND e.time < p.ends_at AND NOT e.bot LIMIT %(fewest)s
        ) AS found
    ) < %(fewest)s
RETURNING p.starts_at, p.ends_at
"""

# When days are packed: never both, never neither.
PARTS_OF_DAYS = """
SELECT p.starts_at FROM packed_days AS p
JOIN unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS d(starts_at, ends_at)
    ON p.starts_at < d.ends_at AND p.ends_at > d.starts_at
WHERE p.property_id = %(property)s AND p.grain = %(part)s
"""

IS_LARGE = """
SELECT count(*) = %(fewest)s FROM (
    SELECT FROM events WHERE property_id = %(property)s AND time >= %(start)s AND time < %(end)s
        AND NOT bot LIMIT %(fewest)s
) AS found
"""

# One without a name cannot be asked for.
PROPS = """
SELECT k.name FROM events AS e CROSS JOIN LATERAL jsonb_object_keys(e.props) AS k(name)
WHERE e.property_id = %(property)s AND e.time >= %(start)s AND e.time < %(end)s AND NOT e.bot
    AND jsonb_typeof(e.props) = 'object' AND k.name <> ''
GROUP BY k.name ORDER BY count(*) DESC, k.name LIMIT %(most)s
"""

DONE = """
UPDATE packed_days SET state = %(state)s, props = %(props)s
WHERE property_id = %(property)s AND grain = %(grain)s AND starts_at = %(start)s
"""

KEEP = """
INSERT INTO columns (account_id, property_id, grain, starts_at, name, bits)
VALUES (%(account)s, %(property)s, %(grain)s, %(start)s, %(name)s, %(bits)s)
"""


class Due(NamedTuple):
    """A day, or a part of one, that can be packed."""

    grain: BlockGrain
    span: Span


def pack_due(now: datetime, budget: float = BUDGET) -> int:
    """One tick: what is over and settled, until time is up: parts of the current days, which are
    asked for most, then days, newest first."""
    list_old_days(now)
    deadline = time.monotonic() + budget
    packed = 0
    for place, due in all_due(now, SETTLED):
        if time.monotonic() > deadline:
            break
        try:
            packed += pack(place, due, wait=False)
        except (DatabaseError, psycopg.Error) as error:
            log.error("packing failed", property=place.key, error=f"{error}"[:500])
            connections[WORKER].close_if_unusable_or_obsolete()
    return packed


def pack_all(now: datetime, place: Property | None = None) -> int:
    """Until nothing is left that can be packed, of all properties or of one."""
    packed = 0
    while found := list(all_due(now, timedelta(0), place)):
        done, left = 0, []
        for owner, waiting in by_place(found):
            small = set_small(owner, waiting, wait=True)
            done += len(small)
            left += [(owner, due) for due in waiting if due not in small]
        done += sum(pack(owner, due, wait=True) for owner, due in left)
        packed += done
        if not done:
            break
    return packed


def all_due(
    now: datetime, settled: timedelta, place: Property | None = None, most: int = 1_000
) -> Iterator[tuple[Property, Due]]:
    wanted: dict[str, Any] = {"settled": now - settled, "quiet": now - QUARTER * settled}
    wanted |= {"over": now - OVER, "now": now, "most": most}
    with transaction_of_worker() as cursor:
        cursor.execute(DUE, wanted | {"property": place.pk if place else None})
        rows = cursor.fetchall()
    places = Property.objects.across_accounts().using(WORKER).in_bulk({row[0] for row in rows})
    for number, grain, start, end in rows:
        if number in places:
            yield places[number], Due(BlockGrain(grain), Span(start, end))


def by_place(found: Iterable[tuple[Property, Due]]) -> list[tuple[Property, list[Due]]]:
    """What is due of each property together, in the order of the first of each."""
    places: dict[int, tuple[Property, list[Due]]] = {}
    for place, due in found:
        places.setdefault(place.pk, (place, []))[1].append(due)
    return list(places.values())


def set_small(place: Property, waiting: Iterable[Due], *, wait: bool) -> set[Due]:
    """Those of these days that have too few events for columns, which are done now.

    As for `pack`: under the rollup's lock, and not of days that wait for the rollup again.
    """
    days = [due.span for due in waiting if due.grain == BlockGrain.DAY]
    if not days:
        return set()
    wanted: dict[str, Any] = {"property": place.pk, "grain": BlockGrain.DAY, "fewest": FEWEST}
    wanted |= {"starts": [day.start for day in days], "ends": [day.end for day in days]}
    with transaction_of_worker() as cursor:
        if not lock(cursor, "roll up", place, wait=wait):
            return set()
        cursor.execute(SET_SMALL, wanted)
        small = [Span(start, end) for start, end in cursor.fetchall()]
        wanted |= {"starts": [day.start for day in small], "ends": [day.end for day in small]}
        cursor.execute(FORGET[0], wanted)
        for part in (BlockGrain.QUARTER, BlockGrain.HOUR):
            cursor.execute(PARTS_OF_DAYS, wanted | {"part": part})
            forget(cursor, place, part, [start for (start,) in cursor.fetchall()])
    return {Due(BlockGrain.DAY, day) for day in small}


def pack(place: Property, due: Due, *, wait: bool) -> bool:
    """Set the columns of a block; False if it was none of our business any more.

    Holds the rollup's lock, so that no rollup of the property runs meanwhile. An event that the
    drain stores while the rows are read marks its hour dirty in its own transaction: then nobody
    reads the columns, and the rollup will set the block to waiting again.
    """
    grain, span = due
    wanted: dict[str, Any] = {"account": place.account_id, "property": place.pk, "grain": grain}
    wanted |= {"start": span.start, "end": span.end}
    with transaction_of_worker() as cursor:
        if not lock(cursor, "roll up", place, wait=wait):
            return False
        cursor.execute(IS_DUE, wanted)
        if not cursor.fetchone()[0]:
            return False
        cursor.execute(FORGET[0], wanted | {"starts": [span.start]})
        fewest = FEWEST if grain == BlockGrain.DAY else FEWEST_OF_PART
        cursor.execute(IS_LARGE, wanted | {"fewest": fewest})
        state, is_whole = "r", False
        if cursor.fetchone()[0]:
            try:
                is_whole = _keep(cursor, place, span, wanted)
                state = "d"
            except Unfit as error:
                log.error("not packed", property=place.key, since=str(span.start), why=str(error))
        cursor.execute(DONE, wanted | {"state": state, "props": is_whole})
        if grain == BlockGrain.DAY:
            for part in (BlockGrain.QUARTER, BlockGrain.HOUR):
                cursor.execute(PARTS, wanted | {"part": part})
                forget(cursor, place, part, [start for (start,) in cursor.fetchall()])
    return True


def _keep(cursor: Any, place: Property, span: Span, wanted: dict[str, Any]) -> bool:
    """Write the columns; returns whether there is one for every property of the events."""
    cursor.execute(PROPS, wanted | {"most": MOST_PROPS + 1})
    names = [name for (name,) in cursor.fetchall()]
    props = [f"event:{metrics.PROPS}{name}" for name in names[:MOST_PROPS]]
    with binary_cursor(WORKER) as reader:
        block = of_rows(reader, place, span, [*every_column(), *props])
    block.data |= summing.make(block) | postings.make(block)
    left_out = len(names) - len(props)
    rows = []
    for name, bits in packed(block):
        if name in props and len(bits) > LARGEST:
            left_out += 1
            continue
        rows.append(wanted | {"name": name, "bits": bits})
    cursor.executemany(KEEP, rows)
    return left_out == 0


def packed(block: Block) -> Iterator[tuple[str, bytes]]:
    """The columns of a block as they are stored."""
    for name, found in block.data.items():
        if not isinstance(found, Texts):
            in_parts = name.startswith(postings.IN_PARTS)
            yield name, columns.pack_numbers(block.numbers(name), in_parts=in_parts)
        elif apart := dictionary_of(name):
            texts = columns.pack_dictionary(found)
            yield apart, texts
            yield digest_of(apart), columns.mark_of(texts)
            yield name, columns.pack_codes(found)
        else:
            yield name, columns.pack_texts(found)
