"""Rollups: what hours and days came to. Set, never added to, so that a run may die anywhere.

Enters: marks in `dirty_hours`. Leaves: rows of `rollups` and `bitmaps` for these hours and their
local days, many days in one transaction. An hour that STARTED and is not DONE crashed, and is done
again. Young hours are counted from Valkey, all others from raw events, sessions always from
Postgres (tallies.py); writing.py sets the rows.
Called by reports/tasks.py every ten seconds, by `manage.py roll_up` and by rebuilding.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

import psycopg
import redis
import structlog
from django.db import DatabaseError, connections

from properties.models import Property
from properties.periods import Span, next_start, spans
from reports import packing, tallies, writing
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
BUDGET = 5.0  # seconds of a tick: with one worker the drain waits for as long
MOST_ROUNDS = 100

# Days that are rolled up together: bounds on the memory and the time of one transaction. A single
# day may have more events.
MOST_EVENTS = 50_000
MOST_DAYS = 400

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
            for days in chunks(place, days_due(place, now)):
                if time.monotonic() > deadline:
                    return total
                total += roll_up_days(place, days, now, wait=False)
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
        due = days_due(place, now)
        if not due:
            break
        for days in chunks(place, due):
            total += roll_up_days(place, days, now, wait=True)
    return total


def _give_up(place: Property, error: Exception) -> None:
    """The marks stay for the next tick; a broken connection is not kept."""
    log.error("rollup failed", property=place.key, error=f"{type(error).__name__}: {error}"[:500])
    connections[WORKER].close_if_unusable_or_obsolete()


# -- what is due -----------------------------------------------------------------------------

# Marked; or crashed; or ready to be ranked. Who has waited longest comes first: when a tick has
# less time than there is to do, nobody is left out for ever.
PLACES = """
SELECT property_id FROM (
    SELECT property_id, marked_at AS since FROM dirty_hours
    UNION ALL SELECT property_id, hour FROM rolled_hours WHERE state = 's'
    UNION ALL SELECT property_id, hour + %(open)s FROM rolled_hours
        WHERE left(origin, 1) = '~' AND hour < %(closed)s
) AS due GROUP BY property_id ORDER BY min(since), property_id
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
    """Properties with something to roll up, in the order of their turns."""
    with transaction_of_worker() as cursor:
        cursor.execute(PLACES, {"closed": now - CLOSED, "open": CLOSED})
        numbers = [number for (number,) in cursor.fetchall()]
    places = Property.objects.across_accounts().using(WORKER).in_bulk(numbers)
    return [places[number] for number in numbers if number in places]


class Due(NamedTuple):
    """A local day (its start in epoch seconds) and the starts of its hours that are due."""

    day: int
    hours: list[int]


def days_due(place: Property, now: datetime) -> list[Due]:
    """The days of a property that are due, newest first."""
    with transaction_of_worker() as cursor:
        cursor.execute(HOURS, {"property": place.pk, "closed": now - CLOSED})
        hours = [round(hour.timestamp()) for (hour,) in cursor.fetchall()]
        hours = _in_zone(cursor, place, hours, now)
    days = defaultdict(set)
    clock = clock_of(place.timezone)
    for hour in hours:
        days[clock.stamps(hour * 1000)[2]].add(hour)
    return [Due(day, sorted(days[day])) for day in sorted(days, reverse=True)]


EDGE = """
SELECT time FROM events
WHERE property_id = %(property)s AND time >= %(first)s AND time < %(last)s
ORDER BY time DESC OFFSET %(most)s LIMIT 1
"""


def chunks(place: Property, days: list[Due]) -> Iterator[list[Due]]:
    """The days in parts, in their order, of MOST_EVENTS and MOST_DAYS or of a single day."""
    while days:
        most = 1 if len(days) == 1 else _days_of_a_chunk(place, days[:MOST_DAYS])
        yield days[:most]
        days = days[most:]


def _days_of_a_chunk(place: Property, days: list[Due]) -> int:
    newest, oldest = instant(days[0].day), instant(days[-1].day)
    end = next_start("day", newest, clock_of(place.timezone).tz)
    with transaction_of_worker() as cursor:
        wanted = {"property": place.pk, "first": oldest, "last": end, "most": MOST_EVENTS}
        cursor.execute(EDGE, wanted)
        found = cursor.fetchone()
    if found is None:
        return len(days)
    return max(1, sum(instant(due.day) > found[0] for due in days))


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


# -- some days of one property ---------------------------------------------------------------


class Mark(NamedTuple):
    hour: datetime
    why: str
    xmin: str


def roll_up_days(place: Property, days: list[Due], now: datetime, *, wait: bool) -> Rolled:
    """Set the hours of these local days that are due, and then the days themselves.

    Does nothing when another worker rolls up the property and `wait` is not set.
    """
    hours = [hour for due in days for hour in due.hours]
    with transaction_of_worker() as cursor:
        if not lock(cursor, "roll up", place, wait=wait):
            return Rolled()
        _start(cursor, place, hours, now)
    faults.point("started")
    with transaction_of_worker() as cursor:
        if not lock(cursor, "roll up", place, wait=wait):
            return Rolled()
        marks = _marks(cursor, place, hours)
        kept = _with_raw_events(cursor, place, days, now)
        origins = dict.fromkeys(hours, RAW)
        rolled, changed = Rolled(), dict[Span, list[Span]]()
        if kept:
            count = Counting(cursor, place, kept, now, marks)
            tally = count.tally([hour for due in kept for hour in due.hours])
            writing.write(cursor, place, count.days, count.hours, tally)
            origins |= count.origins
            rolled = Rolled(hours=len(count.hours), days=len(kept))
            changed = count.changed(kept)
        packing.note(cursor, place, changed, now)
        _forget_days(cursor, place, {due.day for due in days} - {due.day for due in kept})
        _delete(cursor, place, marks)
        _finish(cursor, place, origins, now)
        faults.point("before_commit")
    faults.point("after_commit")
    return rolled


def _with_raw_events(cursor: Any, place: Property, days: list[Due], now: datetime) -> list[Due]:
    """The days whose raw events are there: counting what is left of others would undo their
    history."""
    if min(instant(due.day) for due in days) > now - SHORTEST:
        return days  # the usual case, without a question
    kept = kept_since(cursor, place, now)
    return [due for due in days if kept is None or instant(due.day) >= kept]


def _forget_days(cursor: Any, place: Property, days: set[int]) -> None:
    """What is packed of days that no longer have their raw events."""
    for day in days:
        start = instant(day)
        packing.forget_between(
            cursor, place, start, next_start("day", start, clock_of(place.timezone).tz)
        )


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
    """Decides for each hour where its numbers come from, and keeps each day's values bounded.

    `days` are all hours of each day, by its start. After `tally`, `hours` are those that were
    counted, which may be more than were asked for, and `origins` says from where.
    """

    def __init__(
        self, cursor: Any, place: Property, days: list[Due], now: datetime, marks: list[Mark]
    ) -> None:
        self.cursor, self.place, self.now = cursor, place, now
        self.days = {due.day: hours_of_day(place, due.day) for due in days}
        self.day_of = {hour.start: day for day, hours in self.days.items() for hour in hours}
        self.forced = {
            round(mark.hour.timestamp()) for mark in marks if mark.why == DirtyHour.Why.RAW
        }
        self.hours: list[Hour] = []
        self.origins: dict[int, str] = {}

    def changed(self, days: list[Due]) -> dict[Span, list[Span]]:
        """The days, and the hours of each that are due."""
        found = {}
        for due in days:
            hours, starts = self.days[due.day], set(due.hours)
            found[Span(instant(hours[0].start), instant(hours[-1].end))] = [
                Span(instant(hour.start), instant(hour.end))
                for hour in hours
                if hour.start in starts
            ]
        return found

    def is_closed(self, day: int) -> bool:
        """Past the horizon: nothing is counted by Valkey any more, so values can be ranked."""
        return instant(self.days[day][-1].end) <= self.now - HORIZON

    def tally(self, hours: Iterable[int]) -> Tally:
        """Count the hours that start there."""
        due = set(hours)
        tally = self._count(due)
        overflowing = self._overflowing(tally)
        closed = {day for day, _ in overflowing if self.is_closed(day)}
        whole = {hour.start for day in closed for hour in self.days[day]}
        if whole - due:
            tally = self._count(due | whole)
            overflowing = self._overflowing(tally)
        for day, dimension in overflowing:
            self._bound(tally, day, dimension)
        self._tell_rough(tally)
        return tally

    def _count(self, starts: set[int]) -> Tally:
        every = [hour for day in sorted(self.days) for hour in self.days[day]]
        self.hours = hours = [hour for hour in every if hour.start in starts]
        tally = Tally()
        young = self._count_young(tally, hours)
        old = [hour for hour in hours if hour.start not in young]
        if old:
            tally.update(tallies.events_in_postgres(self.cursor, self.place, old))
        tally.update(tallies.sessions_in_postgres(self.cursor, self.place, hours))
        self.origins = {hour.start: VALKEY if hour.start in young else RAW for hour in hours}
        return tally

    def _count_young(self, tally: Tally, hours: list[Hour]) -> set[int]:
        """Count the hours that Valkey knows; returns their starts."""
        counted = set()
        by_day = defaultdict(list)
        for hour in self._young(hours):
            by_day[self.day_of[hour.start]].append(hour)
        for day, young in by_day.items():
            try:
                tally.update(tallies.events_in_valkey(self.place, day, young))
            except Forgotten:
                continue
            counted |= {hour.start for hour in young}
        return counted

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
        raw = self._raw_before(hours)
        return [hour for hour in hours if hour.start * 1000 >= since and hour.start not in raw]

    def _raw_before(self, hours: list[Hour]) -> set[int]:
        self.cursor.execute(
            "SELECT hour FROM rolled_hours"
            " WHERE property_id = %s AND hour = ANY(%s) AND ltrim(origin, '~') = 'raw'",
            [self.place.pk, [instant(hour.start) for hour in hours]],
        )
        return {round(hour.timestamp()) for (hour,) in self.cursor.fetchall()}

    # -- at most so many values of a dimension per day --

    def _overflowing(self, tally: Tally) -> list[tuple[int, str]]:
        """(day, dimension) with more values than may be kept."""
        values: dict[tuple[int, str], set[str]] = defaultdict(set)
        for dimension, hour, value in tally.slots():
            values[self.day_of[hour], dimension].add(value)
        return [slot for slot, found in values.items() if self._overflows(*slot, found)]

    def _overflows(self, day: int, dimension: str, values: set[str]) -> bool:
        if keys.OTHER in values:
            return True
        if self._is_whole(day):
            return len(values) > LIMIT
        if len(values) + self._known_counts.get((day, dimension), 0) <= LIMIT:
            return False
        known = self._known(day, dimension)
        return keys.OTHER in known or len(values | known) > LIMIT

    def _is_whole(self, day: int) -> bool:
        """Whether every hour of the day was counted: then its rows of before play no part."""
        return all(hour.start in self.origins for hour in self.days[day])

    def _bound(self, tally: Tally, day: int, dimension: str) -> None:
        """Keep the values with most events; on an open day, first those that have rows already."""
        hours = {hour.start for hour in self.days[day]}
        weights = tally.weights(dimension, hours)
        known = set() if self.is_closed(day) else self._known(day, dimension) - {keys.OTHER}
        values = sorted(weights, key=lambda value: (value not in known, -weights[value], value))
        ranked = [value for value in values if value != keys.OTHER]
        room = max(0, LIMIT - len(known - set(weights)))
        tally.fold(dimension, hours, set(ranked[:room]))

    @cached_property
    def _known_counts(self) -> dict[tuple[int, str], int]:
        """How many values of a dimension have rows of a day."""
        days = [instant(day) for day in self.days]
        self.cursor.execute(KNOWN_COUNTS, {"property": self.place.pk, "days": days})
        return {
            (round(day.timestamp()), dimension): number
            for day, dimension, number in self.cursor.fetchall()
        }

    def _known(self, day: int, dimension: str) -> set[str]:
        wanted = {"property": self.place.pk, "dimension": dimension, "day": instant(day)}
        self.cursor.execute(KNOWN, wanted)
        return {value for (value,) in self.cursor.fetchall()}

    def _tell_rough(self, tally: Tally) -> None:
        rough = {hour for _, hour, value in tally.slots() if value == keys.OTHER}
        for hour in rough:
            if not self.is_closed(self.day_of[hour]):
                self.origins[hour] = ROUGH + self.origins[hour][: 6 - len(ROUGH)]


LIMIT = keys.VALUES_PER_DAY
KNOWN = """
SELECT DISTINCT value FROM bitmaps WHERE property_id = %(property)s AND grain = 'd'
    AND dimension = %(dimension)s AND starts_at = %(day)s
"""
KNOWN_COUNTS = """
SELECT starts_at, dimension, count(*) FROM bitmaps
WHERE property_id = %(property)s AND grain = 'd' AND starts_at = ANY(%(days)s)
GROUP BY starts_at, dimension
"""


def _memory_since(place: Property) -> int | None:
    """Since when (ms) Valkey's counters of a property are complete; None when it has none."""
    meta = keys.meta(keys.prefix(place.account_id, place.pk))
    since = events_client().hget(meta, "since")
    return int(since) if since is not None else None
