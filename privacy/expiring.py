"""Retention: raw events older than the property keeps them go; what was counted from them stays.

Enters: a property and the time. Leaves: no raw event, event id, session, column, quarantined
payload or conflict from before the edge, a ledger that calls them `expired`, and rollups and
bitmaps as they were. Days that are partly gone are never counted anew (tracking/keeping.py). Months
of which nothing is left are dropped as a whole.

An event's age runs from its receipt: an imported history is kept as long as if it had happened on
the day of its import. Works in small transactions, each complete in itself, so that drain and
rollup wait for moments only and a killed run has done what it has done. Called by privacy/tasks.py
every ten minutes and by `manage.py expire`.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import redis
import structlog
from django.db import DatabaseError, connections

from privacy import payloads
from properties.models import Property
from reports import packing
from reports.rollups import roll_up_property
from tracking.books import Books
from tracking.visitor_map import KNOWN_DAYS
from tracking.working import WORKER, lock, transaction_of_worker

AT_ONCE = 5_000  # events of a transaction
BUDGET = 10.0  # seconds of a tick
YOUNG = timedelta(days=40)  # months that ended later are not looked at: retention is longer

log = structlog.get_logger(__name__)


@dataclass
class Expired:
    """Rows that went, or would go."""

    events: int = 0
    sessions: int = 0
    quarantined: int = 0
    conflicts: int = 0
    visitors: int = 0

    def __iadd__(self, other: "Expired") -> "Expired":
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))
        return self

    @property
    def is_nothing(self) -> bool:
        return not any(asdict(self).values())


def edge_of(place: Property, now: datetime) -> datetime:
    """What was received before that is not kept."""
    return now - timedelta(days=place.retention_days)


# -- ticks -----------------------------------------------------------------------------------------

# By the hours of receipt in the ledger: few rows, where the events themselves are many.
DUE = """
SELECT p.id FROM properties_property AS p CROSS JOIN LATERAL (
    SELECT %(now)s - p.retention_days * interval '1 day' AS edge
) AS kept
WHERE EXISTS (
    SELECT FROM ledger WHERE property_id = p.id AND hour < edge
        AND (stored > erased + expired OR quarantined > 0)
) ORDER BY p.id
"""


def expire_due(now: datetime, budget: float = BUDGET) -> Expired:
    """One tick: what is too old, until time is up; the rest is the next one's."""
    deadline = time.monotonic() + budget
    total = Expired()
    with transaction_of_worker() as cursor:
        cursor.execute(DUE, {"now": now})
        numbers = [number for (number,) in cursor.fetchall()]
    for place in Property.objects.across_accounts().using(WORKER).filter(pk__in=numbers):
        try:
            total += expire(place, now, deadline)
        except (DatabaseError, psycopg.Error, redis.RedisError) as error:
            log.error("retention failed", property=place.key, error=f"{error}"[:500])
            connections[WORKER].close_if_unusable_or_obsolete()
        if time.monotonic() > deadline:
            break
    drop_empty_months(now)
    return total


# -- one property ----------------------------------------------------------------------------------

UNCOUNTED = "SELECT EXISTS (SELECT FROM dirty_hours WHERE property_id = %s AND hour < %s)"

NEXT = """
SELECT time FROM events WHERE property_id = %(property)s AND time > %(since)s AND time < %(edge)s
ORDER BY time OFFSET %(most)s LIMIT 1
"""

DELETE_EVENTS = """
WITH gone AS (
    DELETE FROM events WHERE property_id = %(property)s AND time > %(since)s AND time <= %(until)s
        AND received_at < %(edge)s
    RETURNING event_id, time, received_at
), ids AS (
    DELETE FROM event_ids AS i USING gone
    WHERE i.property_id = %(property)s AND i.event_id = gone.event_id
)
SELECT date_bin('1 hour', received_at, 'epoch'), count(*), min(time), max(time)
FROM gone GROUP BY 1
"""


def expire(place: Property, now: datetime, deadline: float | None = None) -> Expired:
    """Let go what is too old, until `deadline` (of time.monotonic). Safe to repeat."""
    edge = edge_of(place, now)
    with transaction_of_worker() as cursor:
        cursor.execute(UNCOUNTED, [place.pk, edge])
        is_uncounted = cursor.fetchone()[0]
    if is_uncounted:  # an import whose days nobody has counted yet
        roll_up_property(place, now)
    total = Expired()
    for count in _expire_events(place, edge):
        total.events += count
        if deadline is not None and time.monotonic() > deadline:
            return total
    total += _expire_the_rest(place, edge, now)
    return total


def _expire_events(place: Property, edge: datetime) -> Iterator[int]:
    since: datetime | None = datetime(1900, 1, 1, tzinfo=UTC)
    while since is not None:
        with transaction_of_worker() as cursor:
            lock(cursor, "drain", place, wait=True)
            lock(cursor, "roll up", place, wait=True)
            wanted = {"property": place.pk, "since": since, "edge": edge, "most": AT_ONCE}
            cursor.execute(NEXT, wanted)
            found = cursor.fetchone()
            cursor.execute(DELETE_EVENTS, wanted | {"until": found[0] if found else edge})
            books, count = Books(), 0
            for hour, number, first, last in cursor.fetchall():
                books.add(place, "expired", hour.astimezone(UTC), number)
                packing.forget_between(cursor, place, first, last + timedelta(microseconds=1))
                count += number
            books.write(cursor)
        yield count
        since = found[0] if found else None


# A session is known by its first event, a visitor by the last: each is at its own moment.
DELETE_SESSIONS = """
DELETE FROM sessions WHERE property_id = %(property)s AND ctid = ANY(ARRAY(
    SELECT s.ctid FROM sessions AS s
    WHERE s.property_id = %(property)s AND s.started_at < %(edge)s AND s.ended_at < %(edge)s
        AND NOT EXISTS (
            SELECT FROM events AS e WHERE e.property_id = s.property_id AND e.visitor = s.visitor
                AND date_bin('1 hour', e.time, 'epoch') = date_bin('1 hour', s.started_at, 'epoch')
                AND e.time = s.started_at
        )
    LIMIT %(most)s
))
"""

# Whom Valkey no longer knows would come back as somebody new. The highest number stays, so that
# none is given out again, and the lowest of the bots.
DELETE_VISITORS = """
DELETE FROM visitors WHERE property_id = %(property)s AND ctid = ANY(ARRAY(
    SELECT v.ctid FROM visitors AS v
    WHERE v.property_id = %(property)s AND v.last_seen < %(edge)s AND v.last_seen < %(unknown)s
        AND number <> (SELECT max(number) FROM visitors WHERE property_id = %(property)s)
        AND number <> (SELECT least(0, min(number)) FROM visitors WHERE property_id = %(property)s)
        AND NOT EXISTS (
            SELECT FROM events AS e WHERE e.property_id = v.property_id AND e.visitor = v.number
                AND date_bin('1 hour', e.time, 'epoch') = date_bin('1 hour', v.last_seen, 'epoch')
                AND e.time = v.last_seen
        )
    LIMIT %(most)s
))
"""

# Ids of retries that came late: they have no event of their own.
DELETE_TRACES = """
DELETE FROM event_ids WHERE property_id = %(property)s AND time < %(edge)s
    AND received_at < %(edge)s
    AND EXISTS (SELECT FROM ledger WHERE property_id = %(property)s AND late_duplicate > 0)
"""

DELETE_CONFLICTS = """
DELETE FROM conflicts WHERE property_id = %(property)s AND received_at < %(edge)s
"""

DELETE_QUARANTINED = """
DELETE FROM quarantined WHERE property_id = %(property)s AND received_at < %(edge)s
RETURNING received_at, payload
"""


def _expire_the_rest(place: Property, edge: datetime, now: datetime) -> Expired:
    known = now - timedelta(days=KNOWN_DAYS + 1)
    wanted = {"property": place.pk, "edge": edge, "unknown": known, "most": AT_ONCE}
    found = Expired(
        sessions=_in_steps(place, DELETE_SESSIONS, wanted),
        visitors=_in_steps(place, DELETE_VISITORS, wanted),
    )
    with transaction_of_worker() as cursor:
        lock(cursor, "drain", place, wait=True)
        cursor.execute(DELETE_CONFLICTS, wanted)
        found.conflicts = cursor.rowcount
        cursor.execute(DELETE_TRACES, wanted)
        cursor.execute(DELETE_QUARANTINED, wanted)
        rows = [(moment, bytes(payload)) for moment, payload in cursor.fetchall()]
        found.quarantined = len(rows)
        books = Books()
        payloads.move(books, place, rows, "expired")
        books.write(cursor)
    return found


def _in_steps(place: Property, statement: str, wanted: dict[str, Any]) -> int:
    """Run it until it finds fewer rows than it may take at once; how many there were."""
    total = 0
    while True:
        with transaction_of_worker() as cursor:
            lock(cursor, "drain", place, wait=True)  # nobody else writes sessions and visitors
            cursor.execute(statement, wanted)
            total += cursor.rowcount
            if cursor.rowcount < AT_ONCE:
                return total


# -- a dry run -------------------------------------------------------------------------------------

FORESEEN = {
    "events": "SELECT count(*) FROM events"
    " WHERE property_id = %(property)s AND time < %(edge)s AND received_at < %(edge)s",
    "sessions": """
        SELECT count(*) FROM sessions AS s
        WHERE s.property_id = %(property)s AND s.started_at < %(edge)s AND s.ended_at < %(edge)s
        AND NOT EXISTS (
            SELECT FROM events AS e WHERE e.property_id = s.property_id AND e.visitor = s.visitor
                AND date_bin('1 hour', e.time, 'epoch') = date_bin('1 hour', s.started_at, 'epoch')
                AND e.time = s.started_at AND e.received_at >= %(edge)s
        )""",
    "quarantined": "SELECT count(*) FROM quarantined"
    " WHERE property_id = %(property)s AND received_at < %(edge)s",
    "conflicts": "SELECT count(*) FROM conflicts"
    " WHERE property_id = %(property)s AND received_at < %(edge)s",
}


def foresee(cursor: Any, place: Property, edge: datetime) -> Expired:
    """What an expiry at that edge would take; changes nothing. Visitors are not foreseen: who goes
    with the last event is known once it is gone."""
    found: Counter[str] = Counter()
    for name, statement in FORESEEN.items():
        cursor.execute(statement, {"property": place.pk, "edge": edge})
        found[name] = cursor.fetchone()[0]
    return Expired(**found)


# -- months ----------------------------------------------------------------------------------------

MONTHS = """
SELECT to_date(right(relname, 7), 'YYYY_MM') FROM pg_inherits
JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'public.events'::regclass AND relname ~ '^events_[0-9]{4}_[0-9]{2}$'
ORDER BY relname
"""


def drop_empty_months(now: datetime) -> list[date]:
    """Drop the partitions of months that ended long ago and hold nothing any more."""
    dropped = []
    with transaction_of_worker() as cursor:
        cursor.execute(MONTHS)
        months = [month for (month,) in cursor.fetchall()]
    for month in months:
        if month + timedelta(days=31) >= (now - YOUNG).date():
            continue
        with transaction_of_worker() as cursor:
            cursor.execute("SELECT drop_events_partition(%s)", [month])
            if cursor.fetchone()[0]:
                dropped.append(month)
    return dropped
