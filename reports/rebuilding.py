"""Sessions and rollups anew from raw events: the same numbers, if nothing was wrong.

Enters: a property and days of it, or a property that has changed its zone. Leaves: sessions and
rollups derived from raw events alone. What rests on raw events that are gone is never touched.
Called by `manage.py rebuild`, and by tracking/signals.py after a change of zone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from properties.models import Property
from properties.periods import Span, days, floor, span, spans, zone
from reports import packing
from reports.rollups import Rolled, roll_up_property
from tracking import sessions
from tracking.drain import drain_property
from tracking.keeping import kept_since, oldest_event
from tracking.models import DirtyHour
from tracking.working import clock_of, instant, lock, mark_dirty, transaction_of_worker


class RawEventsGone(Exception):
    """The range reaches back beyond the raw events that are kept."""


@dataclass(frozen=True)
class Rebuilt:
    """From when to when, and what the rollup then set."""

    span: Span
    rolled: Rolled


def rebuild(place: Property, first: date, last: date, now: datetime) -> Rebuilt:
    """Rebuild these local days, both inclusive. Raises RawEventsGone and ValueError."""
    if last < first:
        raise ValueError(f"The range ends ({last}) before it begins ({first}): exchange them.")
    if first.year < 1970 or last.year > 2100:
        raise ValueError("Events happen between 1970 and 2100: ask for days of these years.")
    drain_property(place)
    asked = days(first, last, zone(place.timezone))
    refuse_if_gone(place, asked.start, now)
    with transaction_of_worker() as cursor:
        busy = _busy_hours(cursor, place, asked)
    clock = clock_of(place.timezone)
    for start in sorted({clock.stamps(hour * 1000)[2] for hour in busy}):
        day = span("day", instant(start), clock.tz)
        with transaction_of_worker() as cursor:
            lock(cursor, "drain", place, wait=True)
            _derive_sessions(cursor, place, day, now)
    return Rebuilt(asked, roll_up_property(place, now))


def refuse_if_gone(place: Property, start: datetime, now: datetime) -> None:
    with transaction_of_worker() as cursor:
        kept = kept_since(cursor, place, now)
    if kept is not None and start < kept:
        shown = kept.astimezone(zone(place.timezone)).date()
        raise RawEventsGone(
            f"Raw events of {place.name} ({place.key}) are kept since {shown}: "
            "begin with that day or a later one. The reports of older days stay as they are."
        )


# -- sessions --------------------------------------------------------------------------------

# Sessions that begin in the span go, whether events stand behind them or not; the windows of the
# span's events bring back those that are real, and the rest of sessions that reach out of it.
TAKE_SESSIONS = """
WITH gone AS (
    DELETE FROM sessions WHERE property_id = %(property)s
        AND started_at >= %(start)s AND started_at < %(end)s
    RETURNING visitor, started_at, ended_at
)
INSERT INTO reach SELECT visitor, started_at, ended_at, true FROM gone
"""

REACH = """
INSERT INTO reach (visitor, first, last, was_session)
SELECT visitor, min(time), max(time), false
FROM (
    SELECT visitor, time, count(*) FILTER (WHERE apart) OVER visits AS turn
    FROM (
        SELECT visitor, time,
            time - lag(time) OVER (PARTITION BY visitor ORDER BY time) > %(gap)s AS apart
        FROM events WHERE property_id = %(property)s AND time >= %(start)s AND time < %(end)s
    ) AS gaps
    WINDOW visits AS (PARTITION BY visitor ORDER BY time)
) AS turns
GROUP BY visitor, turn
"""


def _derive_sessions(cursor: Any, place: Property, day: Span, now: datetime) -> None:
    """Derive the sessions of a day again, and mark its hours and those of changed sessions."""
    wanted = {"property": place.pk, "start": day.start, "end": day.end}
    sessions.prepare(cursor)
    cursor.execute(TAKE_SESSIONS, wanted)
    cursor.execute(REACH, wanted | {"gap": sessions.gap_of(place)})
    cursor.execute("ANALYZE reach")
    changed = sessions.derive(cursor, place)
    hours = sessions.hours_of(changed, clock_of(place.timezone))
    mark_dirty(cursor, place, hours, DirtyHour.Why.SESSIONS, now)
    mark_dirty(cursor, place, _hours_of(place, day), DirtyHour.Why.RAW, now)


def _hours_of(place: Property, within: Span) -> Iterator[int]:
    for hour in spans("hour", within, zone(place.timezone)):
        yield round(hour.start.timestamp())


# Days without anything cost nothing: one event of 1990 must not make the worker count 30 years.
BUSY = """
SELECT floor(extract(epoch FROM time) / 900)::bigint * 900 FROM events
WHERE property_id = %(property)s AND time >= %(start)s AND time < %(end)s
UNION SELECT floor(extract(epoch FROM started_at) / 900)::bigint * 900 FROM sessions
WHERE property_id = %(property)s AND started_at >= %(start)s AND started_at < %(end)s
UNION SELECT extract(epoch FROM hour)::bigint FROM rolled_hours
WHERE property_id = %(property)s AND hour >= %(start)s AND hour < %(end)s
"""


def _busy_hours(cursor: Any, place: Property, within: Span) -> set[int]:
    """The hours (starts in epoch seconds) with events, sessions or a rollup; few others."""
    cursor.execute(BUSY, {"property": place.pk, "start": within.start, "end": within.end})
    clock = clock_of(place.timezone)
    last, first = round(within.end.timestamp()) - 1, round(within.start.timestamp())
    return {
        clock.stamps(min(max(second, first), last) * 1000)[1]
        for (quarter,) in cursor.fetchall()
        for second in (quarter, quarter + 899)  # an hour may begin inside, in some zones
    }


# -- another zone ----------------------------------------------------------------------------

FAR = datetime(2101, 1, 1, tzinfo=UTC)  # behind every event
YOUNG = timedelta(days=3)  # as long as Valkey keeps what it counted

FORGET = (
    "DELETE FROM rollups WHERE property_id = %(property)s AND starts_at >= %(since)s",
    "DELETE FROM bitmaps WHERE property_id = %(property)s AND starts_at >= %(since)s",
    "DELETE FROM rolled_hours WHERE property_id = %(property)s AND hour >= %(since)s",
    "DELETE FROM dirty_hours WHERE property_id = %(property)s AND hour >= %(since)s",
)


def mark_zone_change(place: Property, now: datetime) -> None:
    """The property's hours and days begin elsewhere from now on: count them anew.

    As far back as raw events reach without a hole; what is older keeps the zone it was made in.
    Call it after the change is committed; it writes as the worker.
    """
    tz = zone(place.timezone)
    with transaction_of_worker() as cursor:
        lock(cursor, "roll up", place, wait=True)
        kept = kept_since(cursor, place, now)
        oldest = oldest_event(cursor, place)
        if oldest is None:
            return
        # Without a hole everything goes, so that no day of the old zone stays beside the new.
        since = kept or floor("day", oldest, tz)
        forgotten = kept or oldest - timedelta(days=2)
        for statement in FORGET:
            cursor.execute(statement, {"property": place.pk, "since": forgotten})
        packing.forget_between(cursor, place, forgotten, FAR)
        # Workers and collectors hear of the new zone a moment later: the next hour is counted
        # from raw events, too, and so is what Valkey has counted and nobody drained yet.
        ahead = now + timedelta(hours=1)
        if since < ahead:
            hours = _busy_hours(cursor, place, Span(since, ahead))
            hours.update(_hours_of(place, Span(max(since, now - YOUNG), ahead)))
            mark_dirty(cursor, place, hours, DirtyHour.Why.RAW, now)
