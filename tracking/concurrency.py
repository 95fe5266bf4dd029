"""How many were here at once, kept as history: the one thing that cannot be counted again later.

In: the samples of rounds.py. Out: rows of `concurrency` with the most and the sum over the rounds
of a minute, and hours and days made anew from their minutes and hours; and how many rounds each
minute had. Everything is set, never added, so any of it may die and run again. Called by
tracking/tasks.py; read by reports/concurrency.py and unusual.py.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson

from properties.models import Property
from properties.periods import Kind, span
from tracking import keys, rounds, store
from tracking.drain import chunks
from tracking.models import Concurrency, SampledHour
from tracking.rounds import DIMENSIONS, Counts
from tracking.working import WORKER, clock_of, instant, lock_each, transaction_of_worker

KEPT = 50  # pages, and sources, of a row
AT_ONCE = 200  # properties of a transaction
SETTLED = 10  # seconds after the end of a minute: rounds that began in it have ended
KEPT_AGAIN = 600  # seconds in which a round that was late after all makes the minute anew
MINUTES_LIVE, HOURS_LIVE = timedelta(days=15), timedelta(days=400)

Grain = Concurrency.Grain
_HOUR, _MINUTE = timedelta(hours=1), timedelta(minutes=1)


class Row(NamedTuple):
    """A period (its start in epoch seconds) of a property."""

    place: Property
    grain: str
    start: datetime
    counts: Counts


def keep_across_accounts(now: datetime) -> int:
    """Makes rows of the minutes that are over; how many minutes that were. Safe to repeat."""
    client = store.events_client()
    until = int(now.timestamp()) - 60 - SETTLED
    due = [int(minute) for minute in client.zrangebyscore(keys.MINUTES_DUE, "-inf", until)]
    for minute in due:
        _keep(minute)
        client.expire(keys.rounds(minute), KEPT_AGAIN)
        client.zrem(keys.MINUTES_DUE, str(minute))
    return len(due)


# The minute of an hour; the other minutes of a new row had no round, or their turn is to come.
SET_ROUNDS = """
INSERT INTO sampled_hours (hour, rounds) VALUES (%(hour)s, %(first)s::smallint[])
ON CONFLICT (hour) DO UPDATE SET rounds[%(place)s] = %(count)s
"""


def _keep(minute: int) -> None:
    whole, numbers = rounds.of_minute(minute)
    if not whole:
        return  # kept long ago by a tick that died before it said so: its samples are gone
    places = Property.objects.across_accounts().using(WORKER).filter(pk__in=numbers)
    places = places.order_by("pk")  # whoever locks several does it in the same order
    for chunk in chunks(list(places), AT_ONCE):
        _keep_minute(chunk, minute, whole)
        rounds.let_go(chunk, minute, KEPT_AGAIN)
    at = minute % 3_600 // 60
    first = [len(whole) if place == at else 0 for place in range(60)]
    wanted = {"hour": instant(minute - 60 * at), "first": first}
    with transaction_of_worker() as cursor:
        cursor.execute(SET_ROUNDS, wanted | {"place": at + 1, "count": len(whole)})


def _keep_minute(places: Sequence[Property], minute: int, whole: set[bytes]) -> None:
    # Not shorter before they are rows: a tick may die, and the next be long in coming.
    found = rounds.samples(places, minute, rounds.LIVE)
    with transaction_of_worker() as cursor:
        # Who deletes a property waits for this lock, so that no row is written after it.
        lock_each(cursor, "concurrency", places, wait=True)
        there = Property.objects.across_accounts().using(WORKER)
        rows = []
        for place in there.filter(pk__in=[place.pk for place in places]):
            counts = Counts()
            for moment, packed in found[place.pk].items():
                if moment in whole:
                    counts.add(rounds.unpack(packed))
            start = clock_of(place.timezone).stamps(minute * 1_000)[0]
            rows.append(Row(place, "m", instant(start), counts))
        _write(cursor, rows)
        hours = _rolled(cursor, rows, "hour")
        _write(cursor, hours)
        _write(cursor, _rolled(cursor, hours, "day"))


PARTS = """
SELECT part.property_id, part.numbers, part.pages, part.sources
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[]) AS whole(id, start, stop)
JOIN concurrency AS part ON part.property_id = whole.id AND part.grain = %s
    AND part.starts_at >= whole.start AND part.starts_at < whole.stop
"""


# Where a property has changed its zone, a period of the old one may begin within one of the new,
# which is made of the same parts: beside it, they would count twice.
OUTDATED = """
DELETE FROM concurrency AS old
USING unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[]) AS whole(id, start, stop)
WHERE old.property_id = whole.id AND old.grain = %s
    AND old.starts_at > whole.start AND old.starts_at < whole.stop
"""


def _rolled(cursor: Any, parts: Sequence[Row], kind: Kind) -> list[Row]:
    """The hours of these minutes, or the days of these hours, from all their parts."""
    if not parts:
        return []
    made: dict[int, Row] = {}
    ends = []
    for place, _, start, _ in parts:
        within = span(kind, start, clock_of(place.timezone).tz)
        made[place.pk] = Row(place, kind[0], within.start, Counts())
        ends.append(within.end)
    starts = [row.start for row in made.values()]
    cursor.execute(OUTDATED, [list(made), starts, ends, kind[0]])
    cursor.execute(PARTS, [list(made), starts, ends, parts[0].grain])
    for number, *texts in cursor.fetchall():
        made[number].counts.add(read(*map(orjson.loads, texts)))
    return list(made.values())


def read(numbers: list[int], pages: Any, sources: Any) -> Counts:
    """The columns of a row."""
    return Counts(numbers, dict(zip(DIMENSIONS, (pages, sources), strict=True)))


SET = """
INSERT INTO concurrency (account_id, property_id, grain, starts_at, numbers, pages, sources)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[], %s::jsonb[],
    %s::jsonb[], %s::jsonb[])
ON CONFLICT (property_id, grain, starts_at) DO UPDATE
SET numbers = excluded.numbers, pages = excluded.pages, sources = excluded.sources
"""


def _write(cursor: Any, rows: Iterable[Row]) -> None:
    columns = [
        (
            row.place.account_id,
            row.place.pk,
            row.grain,
            row.start,
            orjson.dumps(row.counts.total).decode(),
            *(orjson.dumps(row.counts.most(name, KEPT)).decode() for name in DIMENSIONS),
        )
        for row in rows
        if row.counts.total[3]  # zeros are not stored
    ]
    if columns:
        cursor.execute(SET, [list(column) for column in zip(*columns, strict=True)])


def forget(now: datetime) -> int:
    """Let go of minutes and hours that are too old; how many rows that were. Days stay."""
    gone = 0
    for grain, lives in ((Grain.MINUTE, MINUTES_LIVE), (Grain.HOUR, HOURS_LIVE)):
        old = Concurrency.objects.using(WORKER).filter(grain=grain, starts_at__lt=now - lives)
        gone += old.delete()[0]
    return gone


# -- what readers need to know ---------------------------------------------------------------------


class Rounds:
    """How many rounds of sampling there were: what a sum is divided by."""

    def __init__(self, start: datetime, end: datetime) -> None:
        known = SampledHour.objects.filter(hour__gt=start - _HOUR, hour__lt=end)
        self._hours: dict[datetime, list[int]] = dict(known.values_list("hour", "rounds"))
        self._whole = Counter({hour: sum(minutes) for hour, minutes in self._hours.items()})

    def between(self, start: datetime, end: datetime) -> int:
        """Of the minutes that begin in [start, end)."""
        total = 0
        hour = start.replace(minute=0, second=0, microsecond=0)
        while hour < end:
            if hour >= start and hour + _HOUR <= end:
                total += self._whole[hour]
            else:
                minutes: list[Any] = self._hours.get(hour, [])
                first = -((hour - start) // _MINUTE) if start > hour else 0
                last = -(-(end - hour) // _MINUTE)
                total += sum(minutes[max(0, first) : last])
            hour += _HOUR
        return total
