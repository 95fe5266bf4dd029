"""Rollups: set and never added, the same from Valkey and from raw events, in any order."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from pyroaring import BitMap

from tests.streams import NOON, make_event, make_place, minutes, send
from tests.test_sessions import some_events

NOW = NOON + timedelta(days=3)


def drain(place, *events):
    from tracking.drain import drain_property

    for event in events:
        send(place, event)
    return drain_property(place)


def roll_up(place, now=NOW):
    from reports.rollups import roll_up_property

    return roll_up_property(place, now)


def numbers_of(place, **where):
    from reports.models import Rollup

    rows = Rollup.objects.using("worker").filter(property_id=place.pk, **where)
    names = ("grain", "dimension", "starts_at", "measure", "value", "number")
    return sorted(rows.values_list(*names))


def people_of(place, **where):
    from reports.models import Bitmap

    rows = Bitmap.objects.using("worker").filter(property_id=place.pk, **where)
    names = ("grain", "dimension", "starts_at", "value", "bits")
    return sorted((*row[:4], bytes(row[4])) for row in rows.values_list(*names))


def everything(place):
    return numbers_of(place), people_of(place)


def total(place, measure, grain="d"):
    rows = numbers_of(place, grain=grain, dimension="", measure=measure)
    return {starts_at: number for _, _, starts_at, _, _, number in rows}


def who(place, grain="d", dimension="", value=""):
    rows = people_of(place, grain=grain, dimension=dimension, value=value)
    return {row[2]: list(BitMap.deserialize(row[4])) for row in rows}


def rolled(place):
    from reports.models import RolledHour

    rows = RolledHour.objects.using("worker").filter(property_id=place.pk)
    return {row.hour: (row.state, row.origin) for row in rows}


def dirty(place):
    from tracking.models import DirtyHour

    return DirtyHour.objects.using("worker").filter(property_id=place.pk)


def test_hours_and_days_of_a_visit():
    place = make_place()
    drain(
        place,
        make_event(NOON + minutes(50), page="/a", source="news"),
        make_event(NOON + minutes(65), page="/b", source="other"),
        make_event(NOON + minutes(66), name="engagement", page="/b", engaged_ms=20_000),
        make_event(NOON + minutes(70), 2, page="/b", source="news"),
        make_event(NOON, 9, bot=True),
    )
    roll_up(place)
    day, later = NOON.replace(hour=0), NOON + minutes(60)
    assert total(place, "events", "h") == {NOON: 1, later: 3}
    assert total(place, "pageviews") == {day: 3}
    assert total(place, "sessions", "h") == {NOON: 1, later: 1}
    assert total(place, "bounces") == {day: 1}
    assert total(place, "engaged_ms") == {day: 20_000}
    assert total(place, "duration_ms", "h") == {NOON: 16 * 60_000}
    assert who(place, "h") == {NOON: [1], later: [1, 2]}
    assert who(place) == {day: [1, 2]}
    assert who(place, dimension="page", value="/b") == {day: [1, 2]}
    assert who(place, dimension="page", value="/a") == {day: [1]}
    # The whole session has the source of its first event, also in the hour after.
    assert who(place, "h", "source", "news") == {NOON: [1], later: [1, 2]}
    assert who(place, "h", "source", "other") == {}
    assert numbers_of(place, grain="d", dimension="source", measure="sessions") == [
        ("d", "source", day, "sessions", "news", 2)
    ]
    assert not dirty(place).exists()
    assert set(rolled(place).values()) == {("d", "raw")}


def test_running_again_changes_nothing():
    place = make_place()
    drain(place, *some_events(random.Random(1)))
    roll_up(place)
    before = everything(place)
    mark_every_hour(place)
    roll_up(place)
    assert everything(place) == before
    assert roll_up(place).hours == 0


def mark_every_hour(place, why="r"):
    from tracking.models import DirtyHour
    from tracking.working import mark_dirty, transaction_of_worker

    with transaction_of_worker() as cursor:
        hours = [round(hour.timestamp()) for hour in rolled(place)]
        mark_dirty(cursor, place, hours, DirtyHour.Why(why), NOW)


def test_what_is_no_more_disappears():
    from django.db import connections

    place = make_place()
    drain(place, make_event(NOON, page="/a"), make_event(NOON, 2, page="/b"))
    roll_up(place)
    with connections["worker"].cursor() as cursor:
        for table in ("events", "sessions"):
            cursor.execute(
                f"DELETE FROM {table} WHERE property_id = %s AND visitor = 1", [place.pk]
            )
    mark_every_hour(place)
    roll_up(place)
    assert who(place) == {NOON.replace(hour=0): [2]}
    assert not any("/a" in row for rows in everything(place) for row in rows)


def test_twenty_orders_of_arrival_give_identical_rollups():
    chance = random.Random(20260312)
    events = some_events(chance, 90)
    seen = []
    for turn in range(20):
        place = make_place(timezone="Europe/Berlin")
        chance.shuffle(events)
        middle = chance.randrange(len(events)) if turn % 4 else 0
        for part in (events[:middle], events[middle:]):
            drain(place, *part)
            if turn % 3:
                roll_up(place)
        roll_up(place)
        seen.append(everything(place))
    assert all(rows == seen[0] for rows in seen)
    assert sum(total(place, "events").values()) == len(events)


def test_a_late_event_changes_its_own_day_only():
    place = make_place()
    drain(place, make_event(NOON), make_event(NOON - timedelta(days=2)))
    roll_up(place)
    drain(place, make_event(NOON - timedelta(days=6), 2, received_at=NOON))
    assert roll_up(place).days == 1
    assert total(place, "events") == {
        (NOON - timedelta(days=back)).replace(hour=0): 1 for back in (6, 2, 0)
    }


def test_days_apart_that_change_together_leave_those_between_alone():
    place = make_place()
    days = [NOON - timedelta(days=back) for back in (2, 1, 0)]
    drain(place, *(make_event(day, visitor) for visitor, day in enumerate(days, 1)))
    roll_up(place)
    drain(place, make_event(days[0] + minutes(1), 4), make_event(days[2] + minutes(1), 5))
    assert roll_up(place).days == 2
    starts = [day.replace(hour=0) for day in days]
    assert total(place, "events") == dict(zip(starts, (2, 1, 2), strict=True))
    assert total(place, "sessions") == dict(zip(starts, (2, 1, 2), strict=True))
    assert who(place) == dict(zip(starts, ([1, 4], [2], [3, 5]), strict=True))


@pytest.mark.parametrize("limit", [2, 10_000])
def test_days_together_give_what_each_of_them_alone_gives(monkeypatch, limit):
    """Around a change of clocks, with gaps between the days and between their hours."""
    from reports import rollups

    monkeypatch.setattr(rollups, "LIMIT", limit)
    chance = random.Random(limit)
    start = datetime(2026, 3, 27, tzinfo=UTC)
    days = [start + timedelta(days=n) for n in (0, 1, 2, 3, 6)]
    events = [
        make_event(day + minutes(chance.randrange(1440)), chance.randrange(1, 6), page=f"/{n % 5}")
        for day in days
        for n in range(40)
    ]
    now = start + timedelta(days=9)
    seen = {}
    for most in (400, 2, 1):
        monkeypatch.setattr(rollups, "MOST_DAYS", most)
        place = make_place(timezone="Europe/Berlin")
        drain(place, *events[::2])
        roll_up(place, now)
        drain(place, *events[1::2])
        due = rollups.days_due(place, now)
        parts = list(rollups.chunks(place, due))
        assert [day for part in parts for day in part] == due
        assert max(map(len, parts)) == min(most, len(due))
        assert roll_up(place, now).days == len(due)
        seen[most] = everything(place)
    assert seen[400] == seen[2] == seen[1]
    assert sum(total(place, "events").values()) == len(events)


def test_a_chunk_ends_where_it_has_enough_events(monkeypatch):
    from reports import rollups

    place = make_place()
    counts = [1, 5, 1, 1, 2]  # by day, newest first
    for back, count in enumerate(counts):
        drain(place, *[make_event(NOON - timedelta(days=back), n + 1) for n in range(count)])
    monkeypatch.setattr(rollups, "MOST_EVENTS", 3)
    parts = rollups.chunks(place, rollups.days_due(place, NOW))
    assert [len(part) for part in parts] == [1, 1, 2, 1]


# -- zones -----------------------------------------------------------------------------------

NIGHTS = {
    "spring": ("Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC), 23),
    "autumn": ("Europe/Berlin", datetime(2026, 10, 24, 22, tzinfo=UTC), 25),
    "29 February": ("UTC", datetime(2028, 2, 29, tzinfo=UTC), 24),
    "half an hour": ("Asia/Kolkata", datetime(2026, 3, 10, 18, 30, tzinfo=UTC), 24),
    "a jump of half an hour": ("Australia/Lord_Howe", datetime(2026, 4, 4, 13, tzinfo=UTC), 25),
}


@pytest.mark.parametrize("night", NIGHTS)
def test_a_day_has_the_hours_it_has(night):
    zone, day, hours = NIGHTS[night]
    place = make_place(timezone=zone)
    drain(place, *[make_event(day + minutes(20 * n), n % 5 + 1) for n in range(-3, 3 * 26)])
    roll_up(place, day + timedelta(days=9))
    in_day = [start for start in total(place, "events", "h") if 0 <= (start - day).days < 1]
    assert day in total(place, "events")
    from reports.rollups import hours_of_day

    starts = [
        datetime.fromtimestamp(hour.start, UTC) for hour in hours_of_day(place, day.timestamp())
    ]
    assert len(starts) == hours
    rolled_up = total(place, "events", "h")
    assert total(place, "events")[day] == sum(rolled_up[start] for start in starts)
    assert set(in_day) <= set(rolled_up)


def test_a_session_over_midnight_counts_where_it_starts_and_is_present_in_both():
    place = make_place()
    midnight = datetime(2026, 3, 12, tzinfo=UTC)
    drain(
        place,
        make_event(midnight - minutes(10), country="DE"),
        make_event(midnight + minutes(10), country="FR"),
    )
    roll_up(place)
    yesterday = midnight - timedelta(days=1)
    assert total(place, "sessions") == {yesterday: 1}
    assert who(place, dimension="country", value="DE") == {yesterday: [1], midnight: [1]}


# -- bookkeeping -----------------------------------------------------------------------------


def test_an_hour_that_started_and_was_not_done_is_done_again():
    from django.db import connections

    place = make_place()
    drain(place, make_event(NOON))
    roll_up(place)
    with connections["worker"].cursor() as cursor:
        cursor.execute("UPDATE rolled_hours SET state = 's' WHERE property_id = %s", [place.pk])
        cursor.execute("UPDATE rollups SET number = 77 WHERE property_id = %s", [place.pk])
    from reports.rollups import roll_up_all

    roll_up_all(NOW)
    assert total(place, "events") == {NOON.replace(hour=0): 1}
    assert rolled(place) == {NOON: ("d", "raw")}


def test_a_mark_renewed_meanwhile_is_kept(monkeypatch):
    from reports import rollups

    place = make_place()
    drain(place, make_event(NOON))
    count = rollups.Counting.tally

    def slowly(self, hours):
        tally = count(self, hours)
        if place.pk not in renewed:  # another worker drains an event into the same hour
            renewed.append(place.pk)
            in_another_process(place, NOON)
        return tally

    renewed = []
    monkeypatch.setattr(rollups.Counting, "tally", slowly)
    day = round(NOON.replace(hour=0).timestamp())
    due = rollups.Due(day, [round(NOON.timestamp())])
    rollups.roll_up_days(place, [due], NOW, wait=True)
    assert dirty(place).filter(hour=NOON).exists()
    roll_up(place)
    assert not dirty(place).exists()


def in_another_process(place, hour):
    import os

    import psycopg

    with psycopg.connect(os.environ["DATABASE_WORKER_URL"]) as other:
        other.execute(
            "INSERT INTO dirty_hours VALUES (%s, %s, %s, 'e', now()) "
            "ON CONFLICT (property_id, hour, why) DO UPDATE SET marked_at = dirty_hours.marked_at",
            [place.account_id, place.pk, hour],
        )


# -- at most so many values ------------------------------------------------------------------


def pages_of(place):
    rows = numbers_of(place, grain="d", dimension="page", measure="events")
    return {row[4]: row[5] for row in rows}


def test_values_beyond_the_limit_are_ranked_over_the_whole_day(monkeypatch):
    from reports import rollups

    monkeypatch.setattr(rollups, "LIMIT", 2)
    place = make_place()
    drain(place, *[make_event(NOON + minutes(n), page=f"/{n}") for n in range(4)])
    roll_up(place)
    assert pages_of(place) == {"/0": 1, "/1": 1, "(other)": 2}
    drain(place, *[make_event(NOON + minutes(60 * n), 2, page="/3") for n in range(3)])
    roll_up(place)
    assert pages_of(place) == {"/3": 4, "/0": 1, "(other)": 2}
    before = everything(place)
    mark_every_hour(place)
    roll_up(place)
    assert everything(place) == before
    assert sum(pages_of(place).values()) == total(place, "events")[NOON.replace(hour=0)]


def test_an_open_day_keeps_what_it_has_and_is_ranked_when_it_closes(monkeypatch):
    from reports import rollups

    monkeypatch.setattr(rollups, "LIMIT", 2)
    place = make_place()
    now = NOON + minutes(90)
    for number in range(3):
        drain(place, make_event(NOON + minutes(number), page=f"/{number}"))
        roll_up(place, now)
    drain(place, *[make_event(NOON + minutes(n), 2, page="/2") for n in (61, 62)])
    roll_up(place, now)
    assert pages_of(place) == {"/0": 1, "/1": 1, "(other)": 3}
    assert {origin for _, origin in rolled(place).values()} == {"~raw"}
    roll_up(place, now + timedelta(days=3))
    assert pages_of(place) == {"/2": 3, "/0": 1, "(other)": 1}
    assert {origin for _, origin in rolled(place).values()} == {"raw"}
    assert roll_up(place, now + timedelta(days=3)).hours == 0
