"""Rebuilding: the same rows from raw events alone, and only where raw events are."""

import json
import random
from datetime import UTC, date, datetime, timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections

from tests.streams import NOON, make_event, make_place, minutes, send
from tests.test_rollups import NOW, drain, everything, roll_up, rolled, total
from tests.test_sessions import sessions_of, some_events

DAY = date(2026, 3, 11)


def rebuild(place, first=DAY, last=DAY + timedelta(days=2)):
    from reports.rebuilding import rebuild

    return rebuild(place, first, last, NOW)


def execute(statement, place):
    with connections["worker"].cursor() as cursor:
        cursor.execute(statement, {"property": place.pk})


def expire(place, day):
    """As retention does: the events before that day go, and the ledger says so."""
    execute(f"DELETE FROM events WHERE property_id = %(property)s AND time < '{day}'", place)
    execute(
        f"UPDATE ledger SET expired = stored WHERE property_id = %(property)s AND hour < '{day}'",
        place,
    )


def test_rebuilding_gives_the_rows_that_were_there():
    place = make_place(timezone="America/New_York")
    events = some_events(random.Random(5))
    for start in range(0, len(events), 30):
        drain(place, *events[start : start + 30])
        roll_up(place)
    before = sessions_of(place), everything(place)
    rebuild(place, DAY - timedelta(days=1), DAY + timedelta(days=4))
    assert (sessions_of(place), everything(place)) == before


def test_rebuilding_mends_what_was_wrong():
    place = make_place()
    midnight = datetime(2026, 3, 12, tzinfo=UTC)
    events = [make_event(midnight + minutes(20 * n), n % 2 + 1) for n in range(-9, 90)]
    drain(place, *events)
    roll_up(place)
    before = sessions_of(place), everything(place)
    execute("UPDATE sessions SET pageviews = 99, source = 'wrong' WHERE property_id = %(property)s "
            "AND started_at >= '2026-03-12'", place)  # fmt: skip
    execute("UPDATE rollups SET number = 99 WHERE property_id = %(property)s", place)
    execute("DELETE FROM bitmaps WHERE property_id = %(property)s", place)
    rebuild(place)
    assert (sessions_of(place), everything(place)) == before


def test_days_whose_first_events_were_erased_can_be_rebuilt():
    place = make_place()
    drain(place, make_event(NOON), make_event(NOON + minutes(60), 2))
    roll_up(place)
    execute("DELETE FROM events WHERE property_id = %(property)s AND visitor = 1", place)
    rebuild(place)
    assert total(place, "events") == {NOON.replace(hour=0): 1}


def test_sessions_without_events_go():
    place = make_place()
    drain(place, make_event(NOON), make_event(NOON, 2))
    roll_up(place)
    execute("DELETE FROM events WHERE property_id = %(property)s AND visitor = 2", place)
    rebuild(place)
    assert [row["visitor"] for row in sessions_of(place)] == [1]
    assert total(place, "sessions") == {NOON.replace(hour=0): 1}


def test_what_waits_in_the_stream_is_drained_first():
    place = make_place()
    send(place, make_event(NOON))
    rebuild(place)
    assert total(place, "events") == {NOON.replace(hour=0): 1}


def test_days_whose_raw_events_are_gone_are_refused_and_stay():
    place = make_place()
    drain(place, *[make_event(NOON + timedelta(days=n)) for n in range(3)])
    roll_up(place)
    expire(place, "2026-03-12")
    before = everything(place)
    from reports.rebuilding import RawEventsGone

    with pytest.raises(RawEventsGone, match="are kept since 2026-03-13"):
        rebuild(place)
    rebuild(place, DAY + timedelta(days=2), DAY + timedelta(days=2))
    assert everything(place) == before


def test_a_late_event_does_not_undo_days_whose_raw_events_have_expired():
    place = make_place(retention_days=30)
    drain(place, *[make_event(NOON + minutes(n), n % 3 + 1) for n in range(9)])
    roll_up(place)
    before = everything(place)
    expire(place, "2026-03-13")
    drain(place, make_event(NOON - minutes(9)), make_event(NOON + minutes(20)))
    later = NOW + timedelta(days=60)
    roll_up(place, later)
    assert everything(place) == before
    assert roll_up(place, later).days == 0
    from reports.rebuilding import RawEventsGone, rebuild

    with pytest.raises(RawEventsGone, match="are kept since"):
        rebuild(place, DAY, DAY, later)


def test_the_command_answers_in_json_and_explains_faults(capsys):
    place = make_place()
    drain(place, make_event(NOON))
    call_command("rebuild", place.key, "2026-03-11", "2026-03-11", "--json")
    answer = json.loads(capsys.readouterr().out)
    assert answer["property"] == place.key
    assert answer["hours"] == 24
    with pytest.raises(CommandError, match="write it as"):
        call_command("rebuild", place.key, "2026-02-30", "2026-03-11")
    with pytest.raises(CommandError, match="exchange"):
        call_command("rebuild", place.key, "2026-03-11", "2026-03-10")
    with pytest.raises(CommandError, match="no property"):
        call_command("rebuild", "AK-NOSUCHKY", "2026-03-11", "2026-03-11")


# -- another zone ----------------------------------------------------------------------------


def change_zone(place, zone):
    from reports.rebuilding import mark_zone_change

    place.timezone = zone
    place.save(update_fields=["timezone"])
    mark_zone_change(place, NOW)


def test_a_new_zone_gives_what_it_would_have_given_from_the_start():
    events = some_events(random.Random(6), 60)
    kolkata, moved = make_place(timezone="Asia/Kolkata"), make_place(timezone="Europe/Berlin")
    for place in (kolkata, moved):
        drain(place, *events)
        roll_up(place)
    assert everything(moved) != everything(kolkata)
    change_zone(moved, "Asia/Kolkata")
    roll_up(moved)
    assert everything(moved) == everything(kolkata)


def test_the_worker_notices_a_changed_zone_by_itself():
    from reports.zones import follow_zones

    place = make_place(timezone="Europe/Berlin")
    drain(place, make_event(NOON, 1))
    roll_up(place)
    follow_zones(NOW)  # a new property is remembered, and nothing is out of date
    before = everything(place)
    assert follow_zones(NOW) == 0
    place.timezone = "Asia/Kolkata"
    place.save()
    assert follow_zones(NOW) >= 1
    roll_up(place)
    assert everything(place) != before
    assert sum(total(place, "events").values()) == 1
    assert follow_zones(NOW) == 0


@pytest.mark.parametrize("days", [(date.min, DAY), (DAY, date.max)])
def test_days_that_no_event_can_have_are_refused_with_a_reason(days):
    with pytest.raises(ValueError, match="between 1970 and 2100"):
        rebuild(make_place(), *days)


def marked(place):
    with connections["worker"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM dirty_hours WHERE property_id = %s", [place.pk])
        return cursor.fetchone()[0]


def test_one_very_old_event_costs_no_more_than_its_day():
    from reports.rebuilding import mark_zone_change

    place = make_place(timezone="Asia/Kolkata")
    drain(place, make_event(datetime(1990, 1, 1, 12, tzinfo=UTC)), make_event(NOON))
    roll_up(place)
    place.timezone = "America/St_Johns"
    place.save()
    mark_zone_change(place, NOW)
    assert marked(place) < 100
    roll_up(place)
    assert set(total(place, "events").values()) == {1}
    before = sessions_of(place), everything(place)
    assert rebuild(place, date(1990, 1, 1), date(2026, 3, 14)).rolled.days < 10
    assert (sessions_of(place), everything(place)) == before


def test_marks_of_the_old_zone_are_exchanged_for_the_new_ones_hours():
    place = make_place(timezone="Europe/Berlin")
    drain(place, make_event(NOON + minutes(10)), make_event(NOON + minutes(40), 2))
    place.timezone = "Asia/Kolkata"  # a worker that had not heard of it marked the hour of Berlin
    roll_up(place)
    assert total(place, "events", "h") == {NOON - minutes(30): 1, NOON + minutes(30): 1}
    assert NOON not in rolled(place)


def test_days_without_raw_events_keep_the_zone_they_were_made_in():
    place = make_place(timezone="UTC")
    drain(place, *[make_event(NOON + timedelta(days=n)) for n in range(3)])
    roll_up(place)
    expire(place, "2026-03-12")
    change_zone(place, "Europe/Berlin")
    roll_up(place)
    assert total(place, "events") == {
        datetime(2026, 3, 11, tzinfo=UTC): 1,
        datetime(2026, 3, 12, tzinfo=UTC): 1,
        datetime(2026, 3, 12, 23, tzinfo=UTC): 1,
    }
