"""One batch of a property's stream entries into Postgres.

Enters: arrivals (the row as the collector built it, with the visitor's number) inside the
drain's transaction. Leaves: what is new of them in `event_ids`, `events`, `visitors`, `sessions`,
`ledger` and `dirty_hours`. Called by drain.py; an error of any statement concerns the whole batch,
which the drain then halves until the row that causes it is alone.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import md5
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql

from properties.models import Property
from tracking import sessions
from tracking.event import COLUMNS
from tracking.models import DirtyHour
from tracking.working import clock_of, mark_dirty


class Arrival(NamedTuple):
    """A stream entry: its id, the visitor's number (0: a bot's) and the row, all as sent."""

    entry: bytes
    number: bytes
    row: bytes


@dataclass(frozen=True)
class Drained:
    """What became of stream entries; `duplicates` leaves out those that were only read again."""

    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0
    conflicts: int = 0

    def __add__(self, other: "Drained") -> "Drained":
        return Drained(
            self.stored + other.stored,
            self.duplicates + other.duplicates,
            self.quarantined + other.quarantined,
            self.conflicts + other.conflicts,
        )


def bot_identity(visitor: UUID) -> UUID:
    """Under which id `visitors` keeps the bot side of a visitor.

    A browser that prefetches pages is both: a person with a number for bitmaps, and a bot with a
    negative one. Which of them is seen first must not matter.
    """
    return UUID(md5(f"bot {visitor}".encode(), usedforsecurity=False).hexdigest())


# -- statements ------------------------------------------------------------------------------

# `who` is bot_identity() in SQL. `fresh` is set on rows whose id was not known.
MAKE_ARRIVALS = """
CREATE TEMP TABLE IF NOT EXISTS arrivals (
    n integer NOT NULL,
    entry text NOT NULL,
    number integer NOT NULL CHECK (number >= 0),
    event_id uuid NOT NULL,
    time timestamptz NOT NULL CHECK (isfinite(time)),
    received_at timestamptz NOT NULL CHECK (isfinite(received_at)),
    fingerprint integer NOT NULL,
    visitor_uuid uuid NOT NULL,
    name text NOT NULL,
    bot boolean NOT NULL,
    sanitized boolean NOT NULL,
    hostname text NOT NULL,
    page text NOT NULL,
    query text NOT NULL,
    title text NOT NULL,
    referrer text NOT NULL,
    source text NOT NULL,
    medium text NOT NULL,
    campaign text NOT NULL,
    term text NOT NULL,
    content text NOT NULL,
    channel text NOT NULL,
    country text NOT NULL,
    device text NOT NULL,
    browser text NOT NULL,
    browser_version text NOT NULL,
    os text NOT NULL,
    language text NOT NULL,
    screen text NOT NULL,
    tab uuid,
    session uuid,
    "user" text NOT NULL,
    engaged_ms integer,
    scroll smallint,
    load_ms integer,
    revenue numeric(18, 6),
    currency text NOT NULL,
    props jsonb,
    who uuid GENERATED ALWAYS AS (
        CASE WHEN bot THEN md5('bot ' || visitor_uuid::text)::uuid ELSE visitor_uuid END
    ) STORED,
    fresh boolean NOT NULL DEFAULT false,
    CHECK (bot OR number > 0)
) ON COMMIT DELETE ROWS
"""

COPY = sql.SQL("COPY arrivals (n, entry, number, {}) FROM STDIN").format(
    sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
)

PARTITIONS = """
SELECT ensure_events_partition(month::date)
FROM (SELECT DISTINCT date_trunc('month', time, 'UTC') AT TIME ZONE 'UTC' FROM arrivals) AS t(month)
"""

# In the order of ids: two transactions that insert the same ids wait, and do not deadlock.
KEEP_IDS = """
WITH first AS (
    SELECT DISTINCT ON (event_id) n, event_id, received_at, fingerprint, time
    FROM arrivals ORDER BY event_id, n
), kept AS (
    INSERT INTO event_ids (account_id, property_id, event_id, received_at, fingerprint, time)
    SELECT %(account)s, %(property)s, event_id, received_at, fingerprint, time
    FROM first ORDER BY event_id
    ON CONFLICT DO NOTHING
    RETURNING event_id
)
UPDATE arrivals AS a SET fresh = true
FROM first JOIN kept USING (event_id) WHERE a.n = first.n
"""

# Not fresh: read again after a crash (the stored row itself, which is nothing new), or a retry
# that Valkey had forgotten. Each retry leaves an id of its own behind, made of the event's and the
# entry's, so that it is counted once even when it is read again.
LATE_DUPLICATES = """
WITH late AS (
    SELECT a.n, a.event_id, a.time, a.received_at, a.bot, a.fingerprint,
        a.fingerprint <> i.fingerprint AS differs,
        md5(a.event_id::text || ' ' || a.entry)::uuid AS trace
    FROM arrivals AS a
    JOIN event_ids AS i ON i.property_id = %(property)s AND i.event_id = a.event_id
    WHERE NOT a.fresh AND (
        (i.received_at, i.fingerprint) <> (a.received_at, a.fingerprint)
        OR EXISTS (SELECT FROM arrivals AS b WHERE b.event_id = a.event_id AND b.n < a.n)
    )
), counted AS (
    INSERT INTO event_ids (account_id, property_id, event_id, received_at, fingerprint, time)
    SELECT %(account)s, %(property)s, trace, received_at, fingerprint, time
    FROM late ORDER BY trace
    ON CONFLICT DO NOTHING
    RETURNING event_id
)
SELECT n, late.event_id, time, received_at, bot, differs
FROM late JOIN counted ON counted.event_id = late.trace
"""

SEEN = """
    SELECT who, bot, min(number) AS number, min(n) AS n, min(time) AS first, max(time) AS last
    FROM arrivals WHERE fresh GROUP BY who, bot
"""

KNOWN_VISITORS = f"""
UPDATE visitors AS v
SET first_seen = least(v.first_seen, s.first), last_seen = greatest(v.last_seen, s.last)
FROM ({SEEN}) AS s WHERE v.property_id = %(property)s AND v.visitor = s.who
"""  # noqa: S608  one constant inside another

# Under the number that Valkey gave out, unless another visitor has it already.
NEW_VISITORS = f"""
INSERT INTO visitors (account_id, property_id, visitor, number, first_seen, last_seen)
SELECT %(account)s, %(property)s, who, number, first, last
FROM ({SEEN}) AS s WHERE NOT bot ORDER BY number, n
ON CONFLICT DO NOTHING
"""  # noqa: S608

# Bots count down. A person whose number is taken (Valkey lost its map) gets one above all others.
OTHER_VISITORS = f"""
INSERT INTO visitors (account_id, property_id, visitor, number, first_seen, last_seen)
SELECT %(account)s, %(property)s, who,
    CASE WHEN bot
        THEN least(0, low) - row_number() OVER (PARTITION BY bot ORDER BY n)
        ELSE greatest(0, high) + row_number() OVER (PARTITION BY bot ORDER BY n)
    END,
    first, last
FROM ({SEEN}) AS s,
    (SELECT min(number) AS low, max(number) AS high
     FROM visitors WHERE property_id = %(property)s) AS given
WHERE NOT EXISTS (
    SELECT FROM visitors AS v WHERE v.property_id = %(property)s AND v.visitor = s.who
)
"""  # noqa: S608

_KEPT = [column for column in COLUMNS if column not in ("fingerprint", "visitor_uuid")]

KEEP_EVENTS = sql.SQL(
    "INSERT INTO events (account_id, property_id, visitor, {columns}) "
    "SELECT %(account)s, %(property)s, v.number, {values} "
    "FROM arrivals AS a JOIN visitors AS v ON v.property_id = %(property)s AND v.visitor = a.who "
    "WHERE a.fresh"
).format(
    columns=sql.SQL(", ").join(map(sql.Identifier, _KEPT)),
    values=sql.SQL(", ").join(sql.Identifier("a", column) for column in _KEPT),
)

STORED_BY_HOUR = """
SELECT date_trunc('hour', received_at, 'UTC'), count(*) FROM arrivals WHERE fresh GROUP BY 1
"""

# Where Valkey counted somebody under a number that is not the visitor's, only raw events are right.
SECONDS_OF_PEOPLE = """
SELECT floor(extract(epoch FROM a.time))::bigint, bool_or(a.number <> v.number)
FROM arrivals AS a JOIN visitors AS v ON v.property_id = %(property)s AND v.visitor = a.who
WHERE a.fresh AND NOT a.bot GROUP BY 1
"""

REACH = """
INSERT INTO reach (visitor, first, last, was_session)
SELECT visitor, min(time), max(time), false
FROM (
    SELECT visitor, time, count(*) FILTER (WHERE apart) OVER visits AS turn
    FROM (
        SELECT v.number AS visitor, a.time,
            a.time - lag(a.time) OVER (PARTITION BY v.number ORDER BY a.time) > %(gap)s AS apart
        FROM arrivals AS a
        JOIN visitors AS v ON v.property_id = %(property)s AND v.visitor = a.who
        WHERE a.fresh
    ) AS gaps
    WINDOW visits AS (PARTITION BY visitor ORDER BY time)
) AS turns
GROUP BY visitor, turn
"""

# The bounds of this batch: received since when, and the oldest time among new events.
BOUNDS = "SELECT min(received_at), min(time) FILTER (WHERE fresh) FROM arrivals"

FIRST_EVENT = """
UPDATE properties_property SET first_event_at = %(first)s
WHERE id = %(property)s AND (first_event_at IS NULL OR first_event_at > %(first)s)
"""

KEEP_CONFLICT = """
INSERT INTO conflicts (account_id, property_id, event_id, received_at, payload)
VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


# -- steps, in order -------------------------------------------------------------------------


# Below, any plan is quick. Above, a planner without statistics compares all rows with all rows.
FEW = 50


def store(cursor: Any, place: Property, arrivals: Sequence[Arrival]) -> Drained:
    """Store what is new of these arrivals. Raises the database's error for the whole batch."""
    wanted = {"account": place.account_id, "property": place.pk}
    _copy(cursor, arrivals)
    cursor.execute(BOUNDS)
    since, _ = cursor.fetchone()
    cursor.execute(PARTITIONS)
    cursor.execute(KEEP_IDS, wanted)
    stored = cursor.rowcount
    duplicates = 0
    if stored < len(arrivals):
        duplicates = _count_late_duplicates(cursor, place, arrivals, since)
    if stored:
        for statement in (KNOWN_VISITORS, NEW_VISITORS, OTHER_VISITORS, KEEP_EVENTS):
            cursor.execute(statement, wanted)
        _mark_events(cursor, place, since)
        _derive_sessions(cursor, place, since)
        _tell_first_event(cursor, place)
        cursor.execute(STORED_BY_HOUR)
        add_to_ledger(cursor, place, "stored", Counter(dict(cursor.fetchall())))
    return Drained(stored=stored, duplicates=duplicates)


def _copy(cursor: Any, arrivals: Sequence[Arrival]) -> None:
    cursor.execute(MAKE_ARRIVALS)
    cursor.execute("DELETE FROM arrivals")  # the other half of a batch with a bad row
    with cursor.copy(COPY) as copy:
        copy.write(
            b"".join(
                b"%d\t%s\t%s\t%s\n" % (n, arrival.entry, arrival.number, arrival.row)
                for n, arrival in enumerate(arrivals)
            )
        )
    if len(arrivals) > FEW:
        cursor.execute("ANALYZE arrivals (n, event_id, time, received_at, bot, who, fresh)")


def _count_late_duplicates(
    cursor: Any, place: Property, arrivals: Sequence[Arrival], since: datetime
) -> int:
    cursor.execute(LATE_DUPLICATES, {"account": place.account_id, "property": place.pk})
    rows = cursor.fetchall()
    clock = clock_of(place.timezone)
    hours: Counter[datetime] = Counter()
    counted_by_valkey: set[int] = set()
    for n, event_id, time, received_at, bot, differs in rows:
        hours[hour_of_receipt(received_at)] += 1
        if not bot:
            counted_by_valkey.add(clock.stamps(sessions.epoch_ms(time))[1])
        if differs:
            keep_conflict(cursor, place, event_id, received_at, arrivals[n].row)
    add_to_ledger(cursor, place, "late_duplicate", hours)
    mark_dirty(cursor, place, counted_by_valkey, DirtyHour.Why.RAW, since)
    return len(rows)


def _mark_events(cursor: Any, place: Property, since: datetime) -> None:
    cursor.execute(SECONDS_OF_PEOPLE, {"property": place.pk})
    clock = clock_of(place.timezone)
    hours: set[int] = set()
    renumbered: set[int] = set()
    for second, has_other_number in cursor.fetchall():
        hour = clock.stamps(second * 1000)[1]
        (renumbered if has_other_number else hours).add(hour)
    mark_dirty(cursor, place, hours, DirtyHour.Why.EVENTS, since)
    mark_dirty(cursor, place, renumbered, DirtyHour.Why.RAW, since)


def _derive_sessions(cursor: Any, place: Property, since: datetime) -> None:
    sessions.prepare(cursor)
    cursor.execute(REACH, {"property": place.pk, "gap": sessions.gap_of(place)})
    if cursor.rowcount > FEW:
        cursor.execute("ANALYZE reach")
    spans = sessions.derive(cursor, place, append=True)
    hours = sessions.hours_of(spans, clock_of(place.timezone))
    mark_dirty(cursor, place, hours, DirtyHour.Why.SESSIONS, since)


def _tell_first_event(cursor: Any, place: Property) -> None:
    cursor.execute(BOUNDS)
    _, first = cursor.fetchone()
    if place.first_event_at is None or first < place.first_event_at:
        cursor.execute(FIRST_EVENT, {"property": place.pk, "first": first})
        place.first_event_at = first


# -- what quarantine and conflicts need, too -------------------------------------------------


def keep_conflict(
    cursor: Any, place: Property, event_id: Any, received_at: datetime, payload: bytes
) -> bool:
    """Keep a payload that differs from the event stored under its id; False if it is known."""
    values = [place.account_id, place.pk, event_id, received_at, payload]
    cursor.execute(KEEP_CONFLICT, values)
    return cursor.rowcount == 1


ADD_TO_LEDGER = sql.SQL(
    "INSERT INTO ledger (account_id, property_id, hour, accepted, duplicate, pings, bots, refused,"
    " stored, quarantined, late_duplicate, erased, expired) "
    "SELECT %(account)s, %(property)s, hour, 0, 0, 0, 0, '{{}}', {stored}, {quarantined},"
    " {late_duplicate}, 0, 0 FROM unnest(%(hours)s::timestamptz[], %(counts)s::bigint[])"
    " AS added(hour, count) ORDER BY hour "
    "ON CONFLICT (property_id, hour) DO UPDATE SET {column} = ledger.{column} + excluded.{column}"
)
_DRAINED_COLUMNS = ("stored", "quarantined", "late_duplicate")


def add_to_ledger(cursor: Any, place: Property, column: str, hours: Counter[datetime]) -> None:
    """Add to a column of the drain's, by UTC hour of receipt."""
    if not hours:
        return
    added = {name: sql.SQL("count" if name == column else "0") for name in _DRAINED_COLUMNS}
    statement = ADD_TO_LEDGER.format(column=sql.Identifier(column), **added)
    values = {"account": place.account_id, "property": place.pk}
    cursor.execute(statement, values | {"hours": list(hours), "counts": list(hours.values())})


def hour_of_receipt(moment: datetime) -> datetime:
    """The ledger's hour (UTC) of a moment in UTC."""
    return moment.replace(minute=0, second=0, microsecond=0)
