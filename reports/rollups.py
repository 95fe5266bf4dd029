"""Rollups: what hours and days came to. Set, never added to, so that a run may die anywhere.

Enters: marks in `dirty_hours`. Leaves: rows of `rollups` and `bitmaps` for these hours and their
local days. An hour that STARTED and is not DONE crashed, and is done again. Young hours are
counted from Valkey, all others from raw events, sessions always from Postgres (tallies.py).
Called by reports/tasks.py every ten seconds, by `manage.py roll_up` and by rebuilding.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import redis
import structlog
from django.db import DatabaseError, connections
from pyroaring import BitMap

from properties.models import Property
from properties.periods import Span, next_start, spans
from reports import tallies
from reports.models import Grain
from reports.tallies import Forgotten, Hour, Tally
from tracking import faults, keys, ledger
from tracking.keeping import SHORTEST, kept_since
from tracking.models import DirtyHour
from tracking.store import events_client
from tracking.working import (
    WORKER,
    clock_of,
    instant,
    lock,
    mark_dirty,
    transaction_of_worker,
)

# The collector counts events younger than 24 hours; the margin is for clocks that differ.
HORIZON = timedelta(hours=24) - timedelta(minutes=10)
BUDGET = 30.0  # seconds of a tick
MOST_ROUNDS = 100

# Origins of an hour. "~": values beyond the limit of the day were put under "(other)" as they
# came; when the day is past the horizon, they are ranked.
VALKEY, RAW, ROUGH = "valkey", "raw", "~"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Rolled:
    """What a run did: hours set, and days of properties brought up to date."""

    hours: int = 0
    days: int = 0

    def __add__(self, other: "Rolled") -> "Rolled":
        return Rolled(self.hours + other.hours, self.days + other.days)


# -- all properties --------------------------------------------------------------------------


def tick(now: datetime) -> Rolled:
    """What a worker does every ten seconds: copy Valkey's ledger, then roll up what is due."""
    ledger.copy_recent(now)
    return roll_up_due(now)


def roll_up_due(now: datetime, budget: float = BUDGET) -> Rolled:
    """One tick: what is out of date, newest days first, until time is up."""
    deadline = time.monotonic() + budget
    total = Rolled()
    for place in places_due(now):
        try:
            for chunk in chunks_due(place, now):
                if time.monotonic() > deadline:
                    return total
                total += roll_up_day(place, *chunk, now, wait=False)
        except (DatabaseError, psycopg.Error, redis.RedisError) as error:
            _give_up(place, error)
    return total


def roll_up_all(now: datetime) -> Rolled:
    """Until nothing is left, waiting for others who roll up."""
    total = Rolled()
    for place in places_due(now):
        total += roll_up_property(place, now)
    return total


def roll_up_property(place: Property, now: datetime) -> Rolled:
    """Until nothing of this property is left; ends although new events keep coming."""
    total = Rolled()
    for _ in range(MOST_ROUNDS):
        chunks = chunks_due(place, now)
        if not chunks:
            break
        for day, hours in chunks:
            total += roll_up_day(place, day, hours, now, wait=True)
    return total


def _give_up(place: Property, error: Exception) -> None:
    """The marks stay for the next tick; a broken connection is not kept."""
    log.error("rollup failed", property=place.key, error=f"{type(error).__name__}: {error}"[:500])
    connections[WORKER].close_if_unusable_or_obsolete()


# -- what is due -----------------------------------------------------------------------------

# Marked; or crashed; or ready to be ranked.
PLACES = """
SELECT property_id FROM dirty_hours
UNION SELECT property_id FROM rolled_hours WHERE state = 's'
UNION SELECT property_id FROM rolled_hours WHERE left(origin, 1) = '~' AND hour < %(closed)s
"""

HOURS = """
SELECT hour FROM dirty_hours WHERE property_id = %(property)s
UNION SELECT hour FROM rolled_hours WHERE property_id = %(property)s AND state = 's'
UNION SELECT hour FROM rolled_hours
    WHERE property_id = %(property)s AND left(origin, 1) = '~' AND hour < %(closed)s
"""

# A whole day and the horizon: every hour of the day of such an hour is past it.
CLOSED = timedelta(hours=25) + timedelta(hours=24)


def places_due(now: datetime) -> list[Property]:
    with transaction_of_worker() as cursor:
        cursor.execute(PLACES, {"closed": now - CLOSED})
        numbers = [number for (number,) in cursor.fetchall()]
    places = Property.objects.across_accounts().using(WORKER)
    return list(places.filter(pk__in=numbers).order_by("pk"))


def chunks_due(place: Property, now: datetime) -> list[tuple[int, list[int]]]:
    """(start of a local day, starts of its hours that are due), newest first."""
    with transaction_of_worker() as cursor:
        cursor.execute(HOURS, {"property": place.pk, "closed": now - CLOSED})
        hours = [round(hour.timestamp()) for (hour,) in cursor.fetchall()]
        hours = _in_zone(cursor, place, hours, now)
    days = defaultdict(set)
    clock = clock_of(place.timezone)
    for hour in hours:
        days[clock.stamps(hour * 1000)[2]].add(hour)
    return [(day, sorted(days[day])) for day in sorted(days, reverse=True)]


def _in_zone(cursor: Any, place: Property, hours: list[int], now: datetime) -> list[int]:
    """The hours; those of a zone that the property has left are exchanged for the ones they
    overlap. Workers that had not heard of the change may have marked some."""
    clock = clock_of(place.timezone)
    odd = [hour for hour in hours if clock.stamps(hour * 1000)[1] != hour]
    if not odd:
        return hours
    instead = {clock.stamps(second * 1000)[1] for hour in odd for second in (hour, hour + 3599)}
    mark_dirty(cursor, place, instead, DirtyHour.Why.RAW, now)
    gone = {"property": place.pk, "hours": [instant(hour) for hour in odd]}
    cursor.execute(
        "DELETE FROM dirty_hours WHERE property_id = %(property)s AND hour = ANY(%(hours)s)", gone
    )
    cursor.execute(
        "DELETE FROM rolled_hours WHERE property_id = %(property)s AND hour = ANY(%(hours)s)", gone
    )
    return sorted(set(hours) - set(odd) | instead)


# -- one day of one property -----------------------------------------------------------------


class Mark(NamedTuple):
    hour: datetime
    why: str
    xmin: str


def roll_up_day(
    place: Property, day: int, hours: list[int], now: datetime, *, wait: bool
) -> Rolled:
    """Set these hours of a local day (starts in epoch seconds) and then the day itself.

    Does nothing when another worker rolls up the property and `wait` is not set.
    """
    every = hours_of_day(place, day)
    with transaction_of_worker() as cursor:
        if not lock(cursor, "roll up", place, wait=wait):
            return Rolled()
        _start(cursor, place, hours, now)
    faults.point("started")
    with transaction_of_worker() as cursor:
        if not lock(cursor, "roll up", place, wait=wait):
            return Rolled()
        marks = _marks(cursor, place, hours)
        if _is_beyond_raw(cursor, place, day, now):
            _delete(cursor, place, marks)
            _finish(cursor, place, dict.fromkeys(hours, RAW), now)
            return Rolled()
        count = Counting(cursor, place, day, every, now, marks)
        tally = count.tally([hour for hour in every if hour.start in set(hours)])
        _write(cursor, place, day, every, [hour.start for hour in count.hours], tally)
        _delete(cursor, place, marks)
        _finish(cursor, place, count.origins, now)
        faults.point("before_commit")
    faults.point("after_commit")
    return Rolled(hours=len(count.hours), days=1)


def _is_beyond_raw(cursor: Any, place: Property, day: int, now: datetime) -> bool:
    """Whether raw events of the day are gone: counting what is left would undo its history."""
    if instant(day) > now - SHORTEST:
        return False  # the usual case, without a question
    kept = kept_since(cursor, place, now)
    return kept is not None and instant(day) < kept


def hours_of_day(place: Property, day: int) -> list[Hour]:
    """The hours of the local day that starts there: 23 to 25 of them."""
    clock = clock_of(place.timezone)
    start = instant(day)
    whole = Span(start, next_start("day", start, clock.tz))
    return [
        Hour(round(span.start.timestamp()), round(span.end.timestamp()))
        for span in spans("hour", whole, clock.tz)
    ]


START = """
INSERT INTO rolled_hours (account_id, property_id, hour, state, origin, started_at)
SELECT %(account)s, %(property)s, to_timestamp(hour), 's', '', %(now)s
FROM unnest(%(hours)s::bigint[]) AS hour ORDER BY hour
ON CONFLICT (property_id, hour) DO UPDATE SET state = 's', started_at = excluded.started_at
"""

FINISH = """
INSERT INTO rolled_hours (account_id, property_id, hour, state, origin, started_at, done_at)
SELECT %(account)s, %(property)s, to_timestamp(hour), 'd', origin, %(now)s, %(now)s
FROM unnest(%(hours)s::bigint[], %(origins)s::text[]) AS t(hour, origin) ORDER BY hour
ON CONFLICT (property_id, hour)
DO UPDATE SET state = 'd', origin = excluded.origin, done_at = excluded.done_at
"""

DELETE_MARKS = """
DELETE FROM dirty_hours AS d
USING unnest(%(hours)s::timestamptz[], %(whys)s::text[], %(xmins)s::text[]) AS m(hour, why, seen)
WHERE d.property_id = %(property)s AND d.hour = m.hour AND d.why = m.why AND d.xmin::text = m.seen
"""


def _start(cursor: Any, place: Property, hours: list[int], now: datetime) -> None:
    values = {"account": place.account_id, "property": place.pk, "hours": hours, "now": now}
    cursor.execute(START, values)


def _finish(cursor: Any, place: Property, origins: dict[int, str], now: datetime) -> None:
    values = {"account": place.account_id, "property": place.pk, "now": now}
    values |= {"hours": list(origins), "origins": list(origins.values())}
    cursor.execute(FINISH, values)


def _marks(cursor: Any, place: Property, hours: Iterable[int]) -> list[Mark]:
    cursor.execute(
        "SELECT hour, why, xmin::text FROM dirty_hours"
        " WHERE property_id = %s AND hour = ANY(%s) ORDER BY hour",
        [place.pk, [instant(hour) for hour in hours]],
    )
    return [Mark(*row) for row in cursor.fetchall()]


def _delete(cursor: Any, place: Property, marks: list[Mark]) -> None:
    """Only marks that nobody has renewed since they were read: a renewed one means new events."""
    columns = {
        "hours": [mark.hour for mark in marks],
        "whys": [mark.why for mark in marks],
        "xmins": [mark.xmin for mark in marks],
    }
    cursor.execute(DELETE_MARKS, columns | {"property": place.pk})


# -- counting --------------------------------------------------------------------------------


class Counting:
    """Decides for each hour where its numbers come from, and keeps the day's values bounded.

    After `tally`, `hours` are those that were counted, which may be more than were asked for, and
    `origins` says from where.
    """

    def __init__(
        self,
        cursor: Any,
        place: Property,
        day: int,
        every: list[Hour],
        now: datetime,
        marks: list[Mark],
    ) -> None:
        self.cursor, self.place, self.day, self.every = cursor, place, day, every
        self.now = now
        self.forced = {
            round(mark.hour.timestamp()) for mark in marks if mark.why == DirtyHour.Why.RAW
        }
        self.hours: list[Hour] = []
        self.origins: dict[int, str] = {}

    @property
    def is_closed(self) -> bool:
        """Past the horizon: nothing is counted by Valkey any more, so values can be ranked."""
        return instant(self.every[-1].end) <= self.now - HORIZON

    def tally(self, hours: list[Hour]) -> Tally:
        tally = self._count(hours)
        overflowing = [name for name in ROLLED if self._overflows(tally, name)]
        if overflowing and self.is_closed and len(hours) < len(self.every):
            tally = self._count(self.every)
            overflowing = [name for name in ROLLED if len(tally.weights(name)) > LIMIT]
        for dimension in overflowing:
            self._bound(tally, dimension)
        self._tell_rough(tally)
        return tally

    def _count(self, hours: list[Hour]) -> Tally:
        self.hours = hours
        young = self._young(hours)
        tally = Tally()
        if young:
            try:
                tally.update(tallies.events_in_valkey(self.place, self.day, young))
            except Forgotten:
                young = []
        old = [hour for hour in hours if hour not in young]
        if old:
            tally.update(tallies.events_in_postgres(self.cursor, self.place, old))
        tally.update(tallies.sessions_in_postgres(self.cursor, self.place, hours))
        self.origins = {hour.start: VALKEY if hour in young else RAW for hour in hours}
        return tally

    def _young(self, hours: list[Hour]) -> list[Hour]:
        """Hours whose events Valkey knows, all of them and under the right visitors.

        Once raw, always raw: what made it so (a renumbered visitor, a duplicate that Valkey had
        forgotten) stays in its counters.
        """
        oldest = (self.now - HORIZON).timestamp()
        hours = [hour for hour in hours if hour.start >= oldest and hour.start not in self.forced]
        since = _memory_since(self.place) if hours else None
        if since is None:
            return []
        raw = self._raw_before()
        return [hour for hour in hours if hour.start * 1000 >= since and hour.start not in raw]

    def _raw_before(self) -> set[int]:
        self.cursor.execute(
            "SELECT hour FROM rolled_hours"
            " WHERE property_id = %s AND hour = ANY(%s) AND ltrim(origin, '~') = 'raw'",
            [self.place.pk, [instant(hour.start) for hour in self.every]],
        )
        return {round(hour.timestamp()) for (hour,) in self.cursor.fetchall()}

    # -- at most so many values of a dimension per day --

    def _overflows(self, tally: Tally, dimension: str) -> bool:
        values = set(tally.weights(dimension))
        if keys.OTHER in values:
            return True
        if len(values) + self._count_known(dimension) <= LIMIT:
            return False
        known = self._known(dimension)
        return keys.OTHER in known or len(values | known) > LIMIT

    def _bound(self, tally: Tally, dimension: str) -> None:
        """Keep the values with most events; on an open day, first those that have rows already."""
        weights = tally.weights(dimension)
        known = set() if self.is_closed else self._known(dimension) - {keys.OTHER}
        values = sorted(weights, key=lambda value: (value not in known, -weights[value], value))
        ranked = [value for value in values if value != keys.OTHER]
        room = max(0, LIMIT - len(known - set(weights)))
        tally.fold(dimension, set(ranked[:room]))

    def _count_known(self, dimension: str) -> int:
        self.cursor.execute(KNOWN_COUNT, self._of_day(dimension))
        return self.cursor.fetchone()[0]

    def _known(self, dimension: str) -> set[str]:
        self.cursor.execute(KNOWN, self._of_day(dimension))
        return {value for (value,) in self.cursor.fetchall()}

    def _of_day(self, dimension: str) -> dict[str, Any]:
        return {"property": self.place.pk, "dimension": dimension, "day": instant(self.day)}

    def _tell_rough(self, tally: Tally) -> None:
        if self.is_closed:
            return
        rough = {key[1] for key in tally.people if key[2] == keys.OTHER}
        rough |= {key[1] for key in tally.numbers if key[3] == keys.OTHER}
        for hour in rough:
            self.origins[hour] = ROUGH + self.origins[hour][: 6 - len(ROUGH)]


LIMIT = keys.VALUES_PER_DAY
ROLLED = [
    dimension.name for scope in ("event", "session") for dimension in tallies.dimensions_of(scope)
]
KNOWN = """
SELECT DISTINCT value FROM bitmaps WHERE property_id = %(property)s AND grain = 'd'
    AND dimension = %(dimension)s AND starts_at = %(day)s
"""
KNOWN_COUNT = """
SELECT count(*) FROM bitmaps WHERE property_id = %(property)s AND grain = 'd'
    AND dimension = %(dimension)s AND starts_at = %(day)s
"""


def _memory_since(place: Property) -> int | None:
    """Since when (ms) Valkey's counters of a property are complete; None when it has none."""
    meta = keys.meta(keys.prefix(place.account_id, place.pk))
    since = events_client().hget(meta, "since")
    return int(since) if since is not None else None


# -- writing ---------------------------------------------------------------------------------

MAKE_FRESH = """
CREATE TEMP TABLE IF NOT EXISTS fresh_numbers (
    dimension text, starts_at timestamptz, measure text, value text, number bigint
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS fresh_people (
    dimension text, starts_at timestamptz, value text, bits bytea
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS changed (
    dimension text, value text, UNIQUE (dimension, value)
) ON COMMIT DELETE ROWS
"""

# Set: what is not fresh goes, what differs is written, what is as it was costs nothing. `changed`
# remembers the values whose day has to follow.
SET_NUMBERS = """
WITH gone AS (
    DELETE FROM rollups AS r
    WHERE r.property_id = %(property)s AND r.grain = %(grain)s
        AND r.dimension = ANY(%(dimensions)s) AND r.starts_at = ANY(%(starts)s)
        AND (%(whole)s OR (r.dimension, r.value) IN (SELECT dimension, value FROM changed))
        AND NOT EXISTS (
            SELECT FROM fresh_numbers AS f WHERE f.dimension = r.dimension
                AND f.starts_at = r.starts_at AND f.measure = r.measure AND f.value = r.value
        )
    RETURNING r.dimension, r.value
), written AS (
    INSERT INTO rollups (
        account_id, property_id, grain, dimension, starts_at, measure, value, number
    )
    SELECT %(account)s, %(property)s, %(grain)s, dimension, starts_at, measure, value, number
    FROM fresh_numbers ORDER BY dimension, starts_at, measure, value
    ON CONFLICT (property_id, grain, dimension, starts_at, measure, value)
    DO UPDATE SET number = excluded.number WHERE rollups.number <> excluded.number
    RETURNING dimension, value
)
INSERT INTO changed SELECT dimension, value FROM gone UNION SELECT dimension, value FROM written
ON CONFLICT DO NOTHING
"""

SET_PEOPLE = """
WITH gone AS (
    DELETE FROM bitmaps AS b
    WHERE b.property_id = %(property)s AND b.grain = %(grain)s
        AND b.dimension = ANY(%(dimensions)s) AND b.starts_at = ANY(%(starts)s)
        AND (%(whole)s OR (b.dimension, b.value) IN (SELECT dimension, value FROM changed))
        AND NOT EXISTS (
            SELECT FROM fresh_people AS f WHERE f.dimension = b.dimension
                AND f.starts_at = b.starts_at AND f.value = b.value
        )
    RETURNING b.dimension, b.value
), written AS (
    INSERT INTO bitmaps (account_id, property_id, grain, dimension, starts_at, value, bits)
    SELECT %(account)s, %(property)s, %(grain)s, dimension, starts_at, value, bits
    FROM fresh_people ORDER BY dimension, starts_at, value
    ON CONFLICT (property_id, grain, dimension, starts_at, value)
    DO UPDATE SET bits = excluded.bits WHERE bitmaps.bits <> excluded.bits
    RETURNING dimension, value
)
INSERT INTO changed SELECT dimension, value FROM gone UNION SELECT dimension, value FROM written
ON CONFLICT DO NOTHING
"""

SUM_DAY = """
INSERT INTO fresh_numbers
SELECT r.dimension, %(day)s, r.measure, r.value, sum(r.number)
FROM changed AS c JOIN rollups AS r ON r.dimension = c.dimension AND r.value = c.value
WHERE r.property_id = %(property)s AND r.grain = 'h' AND r.dimension = ANY(%(dimensions)s)
    AND r.starts_at >= %(day)s AND r.starts_at < %(end)s
GROUP BY r.dimension, r.measure, r.value
"""

PEOPLE_OF_DAY = """
SELECT b.dimension, b.value, b.bits
FROM changed AS c JOIN bitmaps AS b ON b.dimension = c.dimension AND b.value = c.value
WHERE b.property_id = %(property)s AND b.grain = 'h' AND b.dimension = ANY(%(dimensions)s)
    AND b.starts_at >= %(day)s AND b.starts_at < %(end)s
"""


def _write(
    cursor: Any, place: Property, day: int, every: list[Hour], hours: list[int], tally: Tally
) -> None:
    values = {
        "account": place.account_id,
        "property": place.pk,
        "dimensions": ["", *ROLLED],
        "day": instant(day),
        "end": instant(every[-1].end),
    }
    of_hours = {"grain": Grain.HOUR.value, "starts": [instant(hour) for hour in hours]}
    of_day = {"grain": Grain.DAY.value, "starts": [instant(day)]}
    cursor.execute(MAKE_FRESH)
    _fill(cursor, _number_rows(tally), _people_rows(tally))
    cursor.execute(SET_NUMBERS, values | of_hours | {"whole": True})
    cursor.execute(SET_PEOPLE, values | of_hours | {"whole": True})
    cursor.execute("DELETE FROM fresh_numbers")
    cursor.execute("DELETE FROM fresh_people")
    cursor.execute(SUM_DAY, values)
    cursor.execute(PEOPLE_OF_DAY, values)
    _fill(cursor, [], _day_rows(day, cursor.fetchall()))
    cursor.execute(SET_NUMBERS, values | of_day | {"whole": False})
    cursor.execute(SET_PEOPLE, values | of_day | {"whole": False})


def _fill(cursor: Any, numbers: Iterable[tuple], people: Iterable[tuple]) -> None:
    with cursor.copy("COPY fresh_numbers FROM STDIN") as copy:
        for row in numbers:
            copy.write_row(row)
    with cursor.copy("COPY fresh_people FROM STDIN") as copy:
        for row in people:
            copy.write_row(row)
    cursor.execute("ANALYZE fresh_numbers (dimension, value)")
    cursor.execute("ANALYZE fresh_people (dimension, value)")


def _number_rows(tally: Tally) -> Iterator[tuple]:
    for (dimension, hour, measure, value), number in tally.numbers.items():
        yield dimension, instant(hour), measure, value, number


def _people_rows(tally: Tally) -> Iterator[tuple]:
    for (dimension, hour, value), bits in tally.people.items():
        yield dimension, instant(hour), value, serialized(bits)


def _day_rows(day: int, rows: Iterable[tuple[str, str, bytes]]) -> Iterator[tuple]:
    """A day's bitmap is the OR of its hours: the same people, each once."""
    found: dict[tuple[str, str], list[BitMap]] = defaultdict(list)
    for dimension, value, bits in rows:
        found[dimension, value].append(BitMap.deserialize(bytes(bits)))
    for (dimension, value), hours in found.items():
        yield dimension, instant(day), value, serialized(BitMap.union(*hours))


def serialized(bits: BitMap) -> bytes:
    """The same bytes for the same people, whatever operations led to them."""
    bits = BitMap(bits)
    bits.run_optimize()
    return bits.serialize()
