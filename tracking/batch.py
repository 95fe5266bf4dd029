"""One batch of stream entries, of one property or of many, into Postgres.

Enters: arrivals, inside the drain's transaction. Leaves: what is new of them in `event_ids`,
`events`, `visitors`, `sessions` and `persons`, and what it means for `ledger` and `dirty_hours` as
an Outcome. Called by drain.py; an error of any statement concerns the whole batch, which the drain
then halves until the row that causes it is alone.

Few statements over all rows, each of them once (docs/performance.md has the price of each).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from django.db import transaction

from properties.models import Property
from properties.periods import Span
from tracking import people, sessions, visitors
from tracking.arrivals import Arrival, copy_arrivals, copy_events
from tracking.books import Books, hour_of_receipt
from tracking.models import DirtyHour
from tracking.working import WORKER, clock_of, instant

USER_EVENTS = frozenset(name.encode() for name in people.USER_EVENTS)


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


@dataclass
class Outcome:
    """What became of a batch, and what is to be written about it."""

    drained: Drained = field(default_factory=Drained)
    books: Books = field(default_factory=Books)

    def __iadd__(self, other: "Outcome") -> "Outcome":
        self.drained += other.drained
        self.books += other.books
        return self


# -- statements ------------------------------------------------------------------------------

# By quarters of hours, in which nearly all zones begin their hours: few rows, whatever the batch.
SUMMARY = """
SELECT property_id, bot, extract(epoch FROM quarter)::bigint, hour, count(*),
    min(received_at), min(time)
FROM (
    SELECT property_id, bot, received_at, time,
        date_bin('15 minutes', time, 'epoch') AS quarter,
        date_bin('1 hour', received_at, 'epoch') AS hour
    FROM arrivals
) AS each_one
GROUP BY property_id, bot, quarter, hour
"""

PARTITIONS = "SELECT month, ensure_events_partition(month) FROM unnest(%s::date[]) AS month"

# In the order of ids, which keeps neighbours in the index together.
KEEP_IDS = """
INSERT INTO event_ids (account_id, property_id, event_id, received_at, fingerprint, time)
SELECT account_id, property_id, event_id, received_at, fingerprint, time
FROM arrivals ORDER BY property_id, event_id, n
ON CONFLICT DO NOTHING
"""

# The same, telling what was new: costs a third more, and is seldom needed. Of equal ids the first
# is the event. Answers the others.
FIND_STALE = """
WITH kept AS (
    INSERT INTO event_ids (account_id, property_id, event_id, received_at, fingerprint, time)
    SELECT account_id, property_id, event_id, received_at, fingerprint, time
    FROM arrivals ORDER BY property_id, event_id, n
    ON CONFLICT DO NOTHING
    RETURNING property_id, event_id
), firsts AS (
    SELECT property_id, event_id, min(n) AS n FROM arrivals GROUP BY property_id, event_id
)
SELECT n FROM arrivals EXCEPT SELECT n FROM firsts JOIN kept USING (property_id, event_id)
"""

# Stale: read again after a crash (the stored row itself, which is nothing new), or a retry that
# Valkey had forgotten. Each retry leaves an id of its own behind, made of the event's and the
# entry's, so that it is counted once even when it is read again.
LATE_DUPLICATES = """
WITH firsts AS (
    SELECT property_id, event_id, min(n) AS n FROM arrivals GROUP BY property_id, event_id
), late AS (
    SELECT a.n, a.account_id, a.property_id, a.event_id, a.time, a.received_at, a.bot,
        a.fingerprint, a.fingerprint <> i.fingerprint AS differs,
        md5(a.event_id::text || ' ' || s.entry)::uuid AS trace
    FROM unnest(%s::integer[], %s::text[]) AS s(n, entry) JOIN arrivals AS a USING (n)
        JOIN firsts AS f USING (property_id, event_id)
        CROSS JOIN LATERAL (
            SELECT received_at, fingerprint FROM event_ids
            WHERE property_id = a.property_id AND event_id = a.event_id
            OFFSET 0
        ) AS i
    WHERE (i.received_at, i.fingerprint) <> (a.received_at, a.fingerprint) OR f.n < a.n
), counted AS (
    INSERT INTO event_ids (account_id, property_id, event_id, received_at, fingerprint, time)
    SELECT account_id, property_id, trace, received_at, fingerprint, time
    FROM late ORDER BY property_id, trace
    ON CONFLICT DO NOTHING
    RETURNING property_id, event_id
)
SELECT n, late.event_id, time, received_at, bot, differs
FROM late JOIN counted ON counted.property_id = late.property_id AND counted.event_id = late.trace
"""

FIRST_EVENTS = """
UPDATE properties_property AS p SET first_event_at = first
FROM unnest(%s::bigint[], %s::timestamptz[]) AS found(id, first)
WHERE p.id = found.id AND (first_event_at IS NULL OR first_event_at > first)
"""

KEEP_CONFLICT = """
INSERT INTO conflicts (account_id, property_id, event_id, received_at, payload)
VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


# -- steps, in order -------------------------------------------------------------------------


class Line(NamedTuple):
    """Arrivals of a property in a quarter of an hour (of their time) and an hour of receipt."""

    place: Property
    bot: bool
    quarter: int
    hour: datetime
    events: int
    since: datetime  # received at
    first: datetime  # event time


class Known(Exception):
    """Some of the batch's ids were known before: undo, and find out which."""


def store(cursor: Any, arrivals: Sequence[Arrival]) -> Outcome:
    """Store what is new of these arrivals. Raises the database's error for the whole batch."""
    places = {arrival.place.pk: arrival.place for arrival in arrivals}
    of_users = copy_arrivals(cursor, arrivals, USER_EVENTS)
    lines = _summary(cursor, places)
    since = _oldest(lines)
    partitions = _make_partitions(cursor, lines)
    stale = _keep_ids(cursor, len(arrivals))
    outcome = Outcome(Drained(stored=len(arrivals) - len(stale)))
    if stale:
        outcome += _set_apart(cursor, arrivals, stale, since)
        lines = _summary(cursor, places)
    if not lines:
        return outcome
    renumbered = visitors.keep(cursor)
    numbers = {found.n: found.visitor for found in renumbered}
    copy_events(cursor, arrivals, partitions, stale, numbers)
    for found in renumbered:
        # Only raw events have a person under the right number there.
        if found.visitor > 0:
            place = places[found.property_id]
            hour = clock_of(place.timezone).stamps(found.second * 1000)[1]
            outcome.books.mark(place, [hour], DirtyHour.Why.RAW, since[place.pk])
    # Their hours tell new visitors from those who came again.
    for number, first, last in visitors.no_longer_first(cursor):
        place = places[number]
        hours = sessions.hours_of([Span(first, last)], clock_of(place.timezone))
        outcome.books.mark(place, hours, DirtyHour.Why.SESSIONS, since[place.pk])
    for place, hours in sessions.keep(cursor, places):
        outcome.books.mark(place, hours, DirtyHour.Why.SESSIONS, since[place.pk])
    for line in lines:
        outcome.books.add(line.place, "stored", line.hour, line.events)
        if not line.bot:
            hours = _hours_of(line.place, line.quarter)
            outcome.books.mark(line.place, hours, DirtyHour.Why.EVENTS, since[line.place.pk])
    _tell_first_events(cursor, lines)
    people.tell(WORKER, people.told_by(arrivals[n] for n in of_users if n not in stale))
    return outcome


def _summary(cursor: Any, places: Mapping[int, Property]) -> list[Line]:
    cursor.execute(SUMMARY)
    return [Line(places[number], *rest) for number, *rest in cursor.fetchall()]


def _oldest(lines: Iterable[Line]) -> dict[int, datetime]:
    """Since when each property's arrivals have been waiting."""
    since: dict[int, datetime] = {}
    for line in lines:
        since[line.place.pk] = min(line.since, since.get(line.place.pk, line.since))
    return since


def _make_partitions(cursor: Any, lines: Iterable[Line]) -> dict[date, str]:
    """The partitions of `events` by month, made where they are missing."""
    months = {instant(line.quarter).date().replace(day=1) for line in lines}
    cursor.execute(PARTITIONS, [sorted(months)])
    return dict(cursor.fetchall())


def _keep_ids(cursor: Any, count: int) -> set[int]:
    """Keep the ids of the batch; returns the arrivals whose ids were known."""
    try:
        with transaction.atomic(using=WORKER):
            cursor.execute(KEEP_IDS)
            if cursor.rowcount == count:
                return set()
            raise Known
    except Known:
        cursor.execute("ANALYZE arrivals (n, property_id, event_id)")
        cursor.execute(FIND_STALE)
        return {n for (n,) in cursor.fetchall()}


def _set_apart(
    cursor: Any, arrivals: Sequence[Arrival], stale: set[int], since: Mapping[int, datetime]
) -> Outcome:
    """Count those whose ids are known, and leave in the table what is new."""
    numbers = sorted(stale)
    entries = [arrivals[n].entry.decode() for n in numbers]
    cursor.execute(LATE_DUPLICATES, [numbers, entries])
    outcome = Outcome()
    for n, event_id, time, received_at, bot, differs in cursor.fetchall():
        place = arrivals[n].place
        outcome.drained += Drained(duplicates=1)
        outcome.books.add(place, "late_duplicate", hour_of_receipt(received_at))
        if not bot:  # Valkey has counted it
            hour = clock_of(place.timezone).stamps(sessions.epoch_ms(time))[1]
            outcome.books.mark(place, [hour], DirtyHour.Why.RAW, since[place.pk])
        if differs:
            keep_conflict(cursor, place, event_id, received_at, arrivals[n].row)
    cursor.execute("DELETE FROM arrivals WHERE n = ANY(%s)", [numbers])
    return outcome


def _hours_of(place: Property, quarter: int) -> set[int]:
    """The local hours of a quarter: one, or two in a zone whose hours begin elsewhere."""
    clock = clock_of(place.timezone)
    return {clock.stamps(second * 1000)[1] for second in (quarter, quarter + 899)}


def _tell_first_events(cursor: Any, lines: Iterable[Line]) -> None:
    first: dict[int, datetime] = {}
    for line in lines:
        known = line.place.first_event_at
        if known is None or line.first < known:
            first[line.place.pk] = min(line.first, first.get(line.place.pk, line.first))
    if first:
        cursor.execute(FIRST_EVENTS, [list(first), list(first.values())])


# -- what quarantine and conflicts need, too -------------------------------------------------


def keep_conflict(
    cursor: Any, place: Property, event_id: Any, received_at: datetime, payload: bytes
) -> bool:
    """Keep a payload that differs from the event stored under its id; False if it is known."""
    values = [place.account_id, place.pk, event_id, received_at, payload]
    cursor.execute(KEEP_CONFLICT, values)
    return cursor.rowcount == 1
