"""Erasing a visitor or a person, everywhere, while its events may still be arriving.

Enters: a request (`ask`), kept as a row of `erasures`. Leaves: no row, no bit, no entry of the
subject, and a tombstone that refuses whatever comes later. The order is what makes it exact:

1. The tombstone and a new version of the property are committed, and Valkey is told the version:
   from then on a collector that has not read the tombstone is refused by the Lua call, so nothing
   more of the subject gets into the stream.
2. The stream is drained: what was accepted before stands in Postgres.
3. One transaction, holding drain and rollup off, takes all rows, moves the ledger's columns, marks
   the hours as dirty and notes what Valkey is to forget.
4. The rollups are counted again from raw events; bits of days without raw events are taken out.
5. Valkey forgets. Only then is the request done, and the id itself deleted from it.

Killed anywhere, the next tick begins again at 1: each step finds what is left and no more. Called
by privacy/tasks.py, by `manage.py erase` and by `manage.py reapply_erasures`.
"""

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import redis
import structlog
from django.db import connections
from psycopg import sql
from pyroaring import BitMap

from accounts import audit
from privacy import clearing, payloads, subjects
from privacy.clearing import Traces
from privacy.subjects import Known, Subject
from properties.models import Property
from properties.periods import Span, span
from reports import packing
from reports.rollups import roll_up_property
from reports.writing import serialized
from tracking import faults, sessions, store
from tracking.books import Books, hour_of_receipt
from tracking.drain import drain_property
from tracking.keeping import kept_since
from tracking.models import DirtyHour, Erasure
from tracking.working import WORKER, clock_of, instant, lock, transaction_of_worker

BUDGET = 5.0  # seconds of a tick
BITMAPS_AT_ONCE = 500

log = structlog.get_logger(__name__)

# -- asking ----------------------------------------------------------------------------------------

ASK = """
INSERT INTO erasures (account_id, property_id, kind, digest, target, traces, person, state, counts,
    requested_by, created)
VALUES (%(account)s, %(property)s, %(kind)s, %(digest)s, %(target)s, '{}', %(person)s, 'w', '{}',
    %(by)s, %(now)s)
ON CONFLICT (property_id, kind, digest) DO UPDATE SET target = excluded.target, state = 'w',
    person = coalesce(excluded.person, erasures.person)
RETURNING id
"""

RAISE_VERSION = "UPDATE properties_property SET version = version + 1 WHERE id = %s"


def ask(place: Property, subject: Subject, by: str, now: datetime) -> Erasure:
    """Put the tombstone up; the worker does the rest. Asked again, it is done again."""
    with transaction_of_worker() as cursor:
        number = _ask(cursor, place, subject, by, now)
        cursor.execute(RAISE_VERSION, [place.pk])
    try:
        _publish_version(place)
    except store.Unavailable as error:  # the worker does it first thing
        log.warning("erasure not published", property=place.key, error=str(error))
    return Erasure.objects.using(WORKER).get(pk=number)


def _ask(
    cursor: Any,
    place: Property,
    subject: Subject,
    by: str,
    now: datetime,
    person: int | None = None,
) -> int:
    values = {"account": place.account_id, "property": place.pk, "kind": subject.kind}
    values |= {"digest": subject.digest(place), "target": subject.target}
    cursor.execute(ASK, values | {"by": by[:200], "now": now, "person": person})
    return cursor.fetchone()[0]


def _publish_version(place: Property) -> None:
    version = (
        Property.objects.across_accounts()
        .using(WORKER)
        .values_list("version", flat=True)
        .get(pk=place.pk)
    )
    store.publish_version(place.account_id, place.pk, version)


# -- ticks -----------------------------------------------------------------------------------------


def erase_due(now: datetime, budget: float = BUDGET) -> int:
    """One tick: what is asked for, oldest first, until time is up. How many were done."""
    deadline = time.monotonic() + budget
    waiting = Erasure.objects.using(WORKER).filter(state=Erasure.State.WAITING)
    done = 0
    for erasure in waiting.order_by("created", "pk"):
        if time.monotonic() > deadline:
            break
        try:
            carry_out(erasure, now)
            done += 1
        except Exception as error:  # whatever it is, it keeps nothing of others
            log.error("erasure failed", erasure=erasure.pk, error=f"{error}"[:500])
            connections[WORKER].close_if_unusable_or_obsolete()
    if done:
        _rewrite_log()
    return done


def _rewrite_log() -> None:
    """Ask Valkey to write its append-only file anew: the old one names who was erased."""
    try:
        store.events_client().bgrewriteaof()
    except redis.RedisError as error:  # under way already, or not allowed to this user
        log.info("append-only file not rewritten", error=str(error))


def carry_out(erasure: Erasure, now: datetime) -> None:
    """Do one request, from whatever point it was left at."""
    place = (
        Property.objects.across_accounts()
        .using(WORKER)
        .filter(pk=erasure.property_id)
        .select_related("account")
        .first()
    )
    if place is None:  # deleted meanwhile, and everything with it
        erasure.delete(using=WORKER)
        return
    subject = Subject(erasure.kind, erasure.target)
    _publish_version(place)
    drain_property(place)
    parts = _erase_rows(place, erasure, subject, now)
    faults.point("rows_erased")
    for part in parts:
        carry_out(part, now)
    roll_up_property(place, now)
    erasure.refresh_from_db(using=WORKER)
    traces = Traces(**erasure.traces)
    _clear_old_bitmaps(place, traces, now)
    clearing.clear(place, subject, traces, now)
    faults.point("valkey_cleared")
    _finish(place, erasure, subject, now)


FINISH = """
UPDATE erasures SET state = 'd', target = '', traces = '{}', done_at = %(now)s,
    counts = coalesce((
        SELECT jsonb_object_agg(name, number) FROM (
            SELECT key AS name, sum(value::bigint) AS number
            FROM erasures AS e CROSS JOIN LATERAL jsonb_each_text(e.counts)
            WHERE e.id = %(id)s OR e.person = %(id)s GROUP BY key
        ) AS every
    ), '{}')
WHERE id = %(id)s
"""


def _finish(place: Property, erasure: Erasure, subject: Subject, now: datetime) -> None:
    with transaction_of_worker() as cursor:
        cursor.execute(FINISH, {"id": erasure.pk, "now": now})
    erasure.refresh_from_db(using=WORKER)
    audit.record(
        place.account_id,
        "visitor.erased",
        property=place,
        target=f"{subject.name(place)}, erasure {erasure.pk}",
        new=erasure.counts,
    )


# -- rows ------------------------------------------------------------------------------------------

DELETE_EVENTS = sql.SQL("""
WITH found AS MATERIALIZED (
    SELECT time, event_id FROM ({}) AS every
    WHERE %(user)s::text IS NULL OR "user" = %(user)s
)
DELETE FROM events AS e USING found
WHERE e.property_id = %(property)s AND e.time = found.time AND e.event_id = found.event_id
RETURNING e.event_id, e.time, e.received_at, e.bot
""").format(subjects.EVENTS_OF_VISITOR)

# Without them the retry of an erased event would be new; the tombstone refuses it first.
DELETE_IDS = "DELETE FROM event_ids WHERE property_id = %s AND event_id = ANY(%s)"

DELETE_SESSIONS = """
DELETE FROM sessions WHERE property_id = %s AND visitor = %s
RETURNING started_at, ended_at, bot
"""

DELETE_PERSON = """DELETE FROM persons WHERE property_id = %s AND "user" = %s"""

REACH = "INSERT INTO reach VALUES (%s, %s, %s, false)"

# The row stays without a word about who it was: its number is never given out again.
FORGET_VISITOR = """
UPDATE visitors SET visitor = gen_random_uuid(), first_seen = 'epoch', last_seen = 'epoch'
WHERE property_id = %s AND number = %s
"""

KEEP_NOTES = "UPDATE erasures SET traces = %s, counts = %s WHERE id = %s"


@dataclass
class Work:
    """What the transaction found, and what it means for the books."""

    place: Property
    now: datetime
    books: Books = field(default_factory=Books)
    counts: Counter[str] = field(default_factory=Counter)
    numbers: set[int] = field(default_factory=set)
    event_ids: set[str] = field(default_factory=set)
    hours: set[int] = field(default_factory=set)
    since: datetime | None = None

    def events(self, cursor: Any, known: Known, user: str | None) -> list[datetime]:
        """Delete a visitor's events, all or those that name the user. Their times."""
        cursor.execute(DELETE_EVENTS, subjects.window_of(self.place, known) | {"user": user})
        rows = cursor.fetchall()
        if not rows:
            return []
        ids = [row[0] for row in rows]
        cursor.execute(DELETE_IDS, [self.place.pk, ids])
        self.counts["conflicts"] += payloads.delete_conflicts_of(cursor, self.place, ids)
        self.counts["events"] += len(rows)
        clock = clock_of(self.place.timezone)
        marks: set[int] = set()
        for event_id, moment, received_at, bot in rows:
            self.books.add(self.place, "erased", hour_of_receipt(received_at.astimezone(UTC)))
            if received_at > self.now - clearing.IDS_LAST:
                self.event_ids.add(str(event_id))
            if not bot:
                marks.add(clock.stamps(sessions.epoch_ms(moment))[1])
        self.books.mark(self.place, marks, DirtyHour.Why.RAW, self.now)
        self.hours |= {hour for hour in marks if instant(hour) > self.now - clearing.BITS_LAST}
        times = [row[1] for row in rows]
        self._forget_packed(cursor, min(times), max(times))
        return times

    def sessions_of(self, cursor: Any, known: Known) -> None:
        cursor.execute(DELETE_SESSIONS, [self.place.pk, known.number])
        rows = cursor.fetchall()
        self.counts["sessions"] += len(rows)
        spans = [Span(start, end) for start, end, bot in rows if not bot]
        self._changed(cursor, spans)

    def sessions_around(self, cursor: Any, known: Known, times: list[datetime]) -> None:
        """Derive the sessions anew from which events were taken."""
        if not times:
            return
        sessions.prepare(cursor)
        for first, last in _windows(times, sessions.gap_of(self.place)):
            cursor.execute(REACH, [known.number, first, last])
        self._changed(cursor, sessions.derive(cursor, self.place))

    def _changed(self, cursor: Any, spans: list[Any]) -> None:
        hours = sessions.hours_of(spans, clock_of(self.place.timezone))
        self.books.mark(self.place, hours, DirtyHour.Why.RAW, self.now)
        if spans:
            self._forget_packed(
                cursor, min(span.start for span in spans), max(span.end for span in spans)
            )

    def visitor(self, cursor: Any, known: Known) -> None:
        cursor.execute(FORGET_VISITOR, [self.place.pk, known.number])
        self.counts["visitors"] += cursor.rowcount
        if known.number > 0:
            self.numbers.add(known.number)
            self.since = min(self.since or known.first, known.first)

    def _forget_packed(self, cursor: Any, first: datetime, last: datetime) -> None:
        """The days' columns hold what is erased; the rollup has them packed anew."""
        tz = clock_of(self.place.timezone).tz
        packing.forget_between(
            cursor, self.place, span("day", first, tz).start, span("day", last, tz).end
        )

    def write(self, cursor: Any, erasure: Erasure) -> None:
        self.books.write(cursor)
        cursor.execute("SELECT traces, counts FROM erasures WHERE id = %s FOR UPDATE", [erasure.pk])
        before, counts = map(_json, cursor.fetchone())
        known, since = Traces(**before), self.since.isoformat() if self.since else ""
        traces = Traces(
            sorted({*known.numbers, *self.numbers}),
            sorted({*known.hours, *self.hours}),
            sorted({*known.event_ids, *self.event_ids}),
            min((moment for moment in (known.since, since) if moment), default=""),
        )
        counted = Counter(counts) + self.counts
        notes = [orjson.dumps(asdict(traces)).decode(), orjson.dumps(counted).decode()]
        cursor.execute(KEEP_NOTES, [*notes, erasure.pk])


def _json(value: Any) -> Any:
    return orjson.loads(value) if isinstance(value, str | bytes) else value


def _windows(times: list[datetime], gap: timedelta) -> list[tuple[datetime, datetime]]:
    """Times with no gap between them, as (first, last)."""
    found: list[tuple[datetime, datetime]] = []
    for moment in sorted(times):
        if found and moment - found[-1][1] <= gap:
            found[-1] = (found[-1][0], moment)
        else:
            found.append((moment, moment))
    return found


def _erase_rows(
    place: Property, erasure: Erasure, subject: Subject, now: datetime
) -> list[Erasure]:
    """Take every row of the subject. Returns the erasures of visitors that are a person's."""
    with transaction_of_worker() as cursor:
        lock(cursor, "drain", place, wait=True)
        lock(cursor, "roll up", place, wait=True)
        work = Work(place, now)
        is_person = subject.kind == Erasure.Kind.USER
        for known in subjects.visitors_of(cursor, place, subject):
            if is_person and known.is_whole:
                part = Subject(Erasure.Kind.VISITOR.value, str(known.uuid))
                _ask(cursor, place, part, erasure.requested_by, now, erasure.pk)
            elif is_person:
                times = work.events(cursor, known, subject.target)
                work.sessions_around(cursor, known, times)
            else:
                work.events(cursor, known, None)
                work.sessions_of(cursor, known)
                work.visitor(cursor, known)
        if is_person:
            cursor.execute(DELETE_PERSON, [place.pk, subject.target])
            work.counts["persons"] += cursor.rowcount
        payloads.erase(cursor, work.books, work.counts, place, subject)
        if is_person:
            cursor.execute(RAISE_VERSION, [place.pk])
        work.write(cursor, erasure)
        faults.point("before_commit")
    parts = Erasure.objects.using(WORKER).filter(person=erasure.pk, state=Erasure.State.WAITING)
    return list(parts.order_by("pk"))


# -- bits of days whose raw events are gone --------------------------------------------------------

OLD_BITMAPS = """
SELECT grain, dimension, starts_at, value, bits FROM bitmaps
WHERE property_id = %(property)s AND starts_at >= %(since)s AND starts_at < %(until)s
    AND (grain, dimension, starts_at, value) > (%(grain)s, %(dimension)s, %(at)s, %(value)s)
ORDER BY grain, dimension, starts_at, value LIMIT %(most)s
"""

SET_BITMAP = """
UPDATE bitmaps SET bits = %(bits)s WHERE property_id = %(property)s AND grain = %(grain)s
    AND dimension = %(dimension)s AND starts_at = %(at)s AND value = %(value)s
"""

DELETE_BITMAP = """
DELETE FROM bitmaps WHERE property_id = %(property)s AND grain = %(grain)s
    AND dimension = %(dimension)s AND starts_at = %(at)s AND value = %(value)s
"""


def _clear_old_bitmaps(place: Property, traces: Traces, now: datetime) -> None:
    """Nothing can be counted anew there: the bit itself is taken out."""
    with transaction_of_worker() as cursor:
        until = kept_since(cursor, place, now)
    if until is None or not traces.since or not traces.numbers:
        return
    since = datetime.fromisoformat(traces.since) - timedelta(hours=26)
    gone = BitMap(traces.numbers)
    at = {"grain": "", "dimension": "", "at": since, "value": ""}
    wanted = {"property": place.pk, "since": since, "until": until, "most": BITMAPS_AT_ONCE}
    while True:
        with transaction_of_worker() as cursor:
            lock(cursor, "roll up", place, wait=True)
            cursor.execute(OLD_BITMAPS, wanted | at)
            rows = cursor.fetchall()
            for *names, packed in rows:
                at = dict(zip(("grain", "dimension", "at", "value"), names, strict=True))
                _take_out(cursor, place, at, BitMap.deserialize(bytes(packed)), gone)
        if len(rows) < BITMAPS_AT_ONCE:
            return


def _take_out(cursor: Any, place: Property, at: dict[str, Any], bits: BitMap, gone: BitMap) -> None:
    left = bits - gone
    if len(left) < len(bits):
        values = at | {"property": place.pk, "bits": serialized(left)}
        cursor.execute(SET_BITMAP if left else DELETE_BITMAP, values)
