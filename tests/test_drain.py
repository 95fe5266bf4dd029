"""The drain: exactly once, whatever comes, in whatever order, however often."""

import os
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest
from django.db import connections, transaction

from tests.streams import (
    NOON,
    make_event,
    make_place,
    minutes,
    send,
    send_conflict,
    stream_of,
    visitor_of,
    waiting,
)


def sum_of(place, column):
    from tracking.models import Ledger

    rows = Ledger.objects.using("worker").filter(property_id=place.pk)
    return sum(rows.values_list(column, flat=True))


def events_of(place):
    from tracking.models import Event

    return Event.objects.using("worker").filter(property_id=place.pk).order_by("time")


def of(model, place):
    return model.objects.using("worker").filter(property_id=place.pk)


def test_an_event_is_stored_as_it_was_sent():
    from tracking.drain import Drained, drain_property

    place = make_place()
    sent = make_event(
        NOON,
        7,
        name="buy",
        title="tab\t, \\N, \\. and\nline",
        source="s",
        tab=uuid4(),
        engaged_ms=1500,
        scroll=80,
        revenue="12.50",
        currency="EUR",
        props=b'{"plan": "a\\\\b\\tc"}',
        user="u-1",
    )
    send(place, sent)
    assert drain_property(place) == Drained(stored=1)
    stored = events_of(place).get()
    assert (stored.event_id, stored.time, stored.visitor) == (sent.event_id, NOON, 7)
    assert (stored.title, stored.tab, stored.scroll) == (sent.title, sent.tab, 80)
    assert (f"{stored.revenue:.2f}", stored.props) == ("12.50", {"plan": "a\\b\tc"})
    assert stored.account_id == place.account_id
    assert waiting(place) == 0
    assert sum_of(place, "stored") == 1
    place.refresh_from_db()
    assert place.first_event_at == NOON


def test_many_entries_leave_in_batches(monkeypatch):
    from tracking import drain

    drain.drain_all()  # what other tests left, which would leave by tens, too
    monkeypatch.setattr(drain, "BATCH", 10)
    place = make_place()
    for n in range(25):
        send(place, make_event(NOON + minutes(n), n % 4 + 1))
    assert drain.drain_all().stored >= 25
    assert waiting(place) == 0
    assert events_of(place).count() == 25


def test_a_tick_leaves_a_property_to_the_worker_that_drains_it():
    from tracking.drain import drain_batch, drain_due

    place = make_place()
    send(place, make_event(NOON))
    other = psycopg.connect(os.environ["DATABASE_WORKER_URL"])
    try:
        name = f"drain {place.pk}"
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])
        assert drain_batch([place], wait=False)[0].stored == 0
        assert waiting(place) == 1
    finally:
        other.close()
    drain_due()
    assert waiting(place) == 0


def test_entries_read_again_after_a_crash_are_nothing_new():
    from tracking.drain import Drained, drain_property

    place = make_place()
    sent = [make_event(NOON + minutes(n)) for n in range(3)]
    for _ in range(2):
        for event in sent:
            send(place, event)
        drained = drain_property(place)
    assert drained == Drained()
    assert events_of(place).count() == sum_of(place, "stored") == 3
    assert sum_of(place, "late_duplicate") == 0


def test_a_retry_that_valkey_had_forgotten_is_a_late_duplicate():
    from tracking.drain import drain_property
    from tracking.models import Conflict, DirtyHour

    place = make_place()
    first = make_event(NOON)
    send(place, first)
    drain_property(place)
    of(DirtyHour, place).delete()
    retry = make_event(
        NOON,
        event_id=first.event_id,
        fingerprint=first.fingerprint,
        received_at=NOON + minutes(60 * 48),
    )
    entry = send(place, retry)
    assert drain_property(place).duplicates == 1
    assert sum_of(place, "stored") == 1
    assert sum_of(place, "late_duplicate") == 1
    assert of(Conflict, place).count() == 0
    assert list(of(DirtyHour, place).values_list("hour", "why")) == [(NOON, "r")]
    # The same entry read again: the worker died after COMMIT.
    from tracking.event import LAYOUT, row
    from tracking.store import events_client

    events_client().delete(stream_of(place))
    events_client().xadd(stream_of(place), {"v": LAYOUT, "n": b"1", "d": row(retry)}, id=entry)
    assert drain_property(place).duplicates == 0
    assert sum_of(place, "late_duplicate") == 1


def test_a_late_duplicate_with_another_payload_is_kept():
    from tracking.drain import drain_property
    from tracking.models import Conflict

    place = make_place()
    first = make_event(NOON)
    send(place, first)
    drain_property(place)
    later = NOON + minutes(60 * 48)
    other = make_event(
        NOON, event_id=first.event_id, fingerprint=5, received_at=later, page="/other"
    )
    send(place, other)
    drain_property(place)
    assert of(Conflict, place).get().event_id == first.event_id
    assert events_of(place).get().page == "/"
    assert sum_of(place, "late_duplicate") == 1


def test_two_equal_ids_in_one_batch_are_one_event():
    from tracking.drain import drain_property

    place = make_place()
    event = make_event(NOON)
    send(place, event)
    send(place, event)
    drained = drain_property(place)
    assert (drained.stored, drained.duplicates) == (1, 1)
    assert events_of(place).count() == 1


def test_conflicts_count_nowhere():
    from tracking.drain import Drained, drain_property
    from tracking.models import Conflict

    place = make_place()
    event = make_event(NOON)
    for expected in (1, 0):
        send_conflict(place, event)
        assert drain_property(place) == Drained(conflicts=expected)
    assert of(Conflict, place).get().event_id == event.event_id
    assert sum_of(place, "stored") == sum_of(place, "late_duplicate") == 0
    assert waiting(place) == 0


# -- poison ----------------------------------------------------------------------------------


def poison(place, change):
    from tracking.event import row
    from tracking.store import events_client

    fields = {b"v": b"1", b"n": b"3", b"d": row(make_event(NOON, 3))}
    change(fields)
    return events_client().xadd(stream_of(place), fields)


def swap(column, value):
    def change(fields):
        from tracking.event import COLUMNS

        parts = fields[b"d"].split(b"\t")
        parts[COLUMNS.index(column)] = value
        fields[b"d"] = b"\t".join(parts)

    return change


POISON = {
    "NUL": swap("title", b"a\0b"),
    "octal NUL": swap("title", rb"a\000b"),
    "no UTF-8": swap("page", b"\xff\xfe"),
    "infinite time": swap("time", b"infinity"),
    "no time": swap("time", b"yesterday week"),
    "infinite receipt": swap("received_at", b"-infinity"),
    "no id": swap("event_id", b"\\N"),
    "no JSON": swap("props", b"{"),
    "NUL in JSON": swap("props", rb'{"a": "\\u0000"}'),
    "a number of 20,000 digits": swap("revenue", b"9" * 20_000),
    "an engagement beyond int4": swap("engaged_ms", b"99999999999"),
    "a field too many": lambda fields: fields.update({b"d": fields[b"d"] + b"\tx"}),
    "a field too few": lambda fields: fields.update({b"d": fields[b"d"].rsplit(b"\t", 1)[0]}),
    "two lines": lambda fields: fields.update({b"d": fields[b"d"] + b"\n" + fields[b"d"]}),
    "the end of COPY": lambda fields: fields.update({b"d": b"\\."}),
    "no row": lambda fields: fields.pop(b"d"),
    "no number": lambda fields: fields.pop(b"n"),
    "a negative number": lambda fields: fields.update({b"n": b"-3"}),
    "a number too large": lambda fields: fields.update({b"n": b"4294967296"}),
    "a person without a number": lambda fields: fields.update({b"n": b"0"}),
    "a layout of the future": lambda fields: fields.update({b"v": b"2"}),
}


@pytest.mark.parametrize("name", POISON)
def test_a_poisonous_row_goes_to_quarantine_alone(name):
    from tracking.drain import Drained, drain_property
    from tracking.models import Quarantined

    place = make_place()
    for n in range(5):
        send(place, make_event(NOON + minutes(n)))
    entry = poison(place, POISON[name])
    for n in range(5, 8):
        send(place, make_event(NOON + minutes(n)))
    assert drain_property(place) == Drained(stored=8, quarantined=1)
    kept = of(Quarantined, place).get()
    assert kept.entry == entry.decode()
    assert kept.reason
    assert waiting(place) == 0
    assert sum_of(place, "stored") == 8
    assert sum_of(place, "quarantined") == 1


def test_an_unreadable_time_makes_every_hour_that_valkey_counts_be_counted_anew():
    from tracking.drain import drain_property
    from tracking.models import DirtyHour

    place = make_place()
    poison(place, swap("time", b"no time"))
    drain_property(place)
    hours = set(of(DirtyHour, place).filter(why=DirtyHour.Why.RAW).values_list("hour", flat=True))
    assert {NOON - minutes(60 * back) for back in range(25)} <= hours


def test_quarantine_knows_an_entry_that_is_read_again():
    from tracking.drain import drain_property
    from tracking.models import Quarantined
    from tracking.store import events_client

    place = make_place()
    fields = {b"v": b"1", b"n": b"3", b"d": b"no row"}
    for _ in range(2):
        events_client().xadd(stream_of(place), fields, id="1700000000000-1")
        drain_property(place)
        events_client().delete(stream_of(place))
    assert of(Quarantined, place).count() == 1
    assert sum_of(place, "quarantined") == 1
    assert of(Quarantined, place).get().received_at == datetime(
        2023, 11, 14, 22, 13, 20, tzinfo=UTC
    )


def test_an_unreadable_conflict_is_quarantined_and_counts_nowhere():
    from tracking.drain import Drained, drain_property
    from tracking.models import Quarantined
    from tracking.store import events_client

    place = make_place()
    events_client().xadd(stream_of(place), {"v": b"1", "k": b"conflict", "d": b"x" + b"\t" * 34})
    assert drain_property(place) == Drained()
    assert of(Quarantined, place).count() == 1
    assert sum_of(place, "quarantined") == 0


def test_a_lock_is_no_poison():
    from django.db import OperationalError

    from tracking import working
    from tracking.drain import drain_property
    from tracking.models import Quarantined

    place = make_place()
    send(place, make_event(NOON))
    monkey = pytest.MonkeyPatch()
    monkey.setattr(working, "LOCK_TIMEOUT", "100ms")
    try:
        with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
            cursor.execute("LOCK TABLE visitors IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(OperationalError):
                drain_property(place)
    finally:
        monkey.undo()
    assert waiting(place) == 1
    assert of(Quarantined, place).count() == 0
    assert drain_property(place).stored == 1


# -- many properties together ----------------------------------------------------------------


def test_properties_share_a_transaction_and_nothing_else():
    from tracking.drain import Drained, drain_batch
    from tracking.models import DirtyHour, Quarantined

    places = [make_place(timezone=zone) for zone in ("UTC", "Asia/Kolkata", "UTC")]
    event = make_event(NOON, 1)
    for minute, place in enumerate(places):  # one id, and one visitor with another number in each
        send(place, event, number=minute + 1)
        send(place, make_event(NOON + minutes(minute + 1), 1), number=minute + 1)
        send(place, make_event(NOON, 1, bot=True))
    poison(places[1], swap("props", b"{"))
    send_conflict(places[2], event)
    drained, going_on = drain_batch(places, wait=False)
    assert drained == Drained(stored=9, quarantined=1, conflicts=1)
    assert going_on == []
    for minute, place in enumerate(places):
        place.refresh_from_db()
        assert waiting(place) == 0
        assert place.first_event_at == NOON
        assert sum_of(place, "stored") == 3
        assert {stored.account_id for stored in events_of(place)} == {place.account_id}
        assert [stored.visitor for stored in events_of(place).filter(bot=False)] == [minute + 1] * 2
        assert list(events_of(place).filter(bot=True).values_list("visitor")) == [(-1,)]
        assert of(Quarantined, place).count() == (place is places[1])
        hour = NOON - minutes(30) if minute == 1 else NOON
        assert set(of(DirtyHour, place).values_list("hour", flat=True)) == {hour}


def test_a_tick_takes_small_properties_together(monkeypatch):
    from tracking import drain

    monkeypatch.setattr(drain, "BATCH", 4)
    monkeypatch.setattr(drain, "TOGETHER", 3)
    small = [make_place() for _ in range(5)]
    large = make_place()
    assert list(drain._bundles([(small[0], 2), (small[1], 2), (large, 9), (small[2], 1)])) == [
        small[:2],
        [large],
        [small[2]],
    ]
    assert list(drain._bundles([(place, 1) for place in small])) == [small[:3], small[3:]]
    for place in small:
        send(place, make_event(NOON))
    for minute in range(9):
        send(large, make_event(NOON + minutes(minute)))
    drain.drain_due()
    assert [events_of(place).count() for place in (*small, large)] == [1] * 5 + [9]
    assert [waiting(place) for place in (*small, large)] == [0] * 6


def test_a_property_that_fails_holds_up_no_other(monkeypatch):
    from django.db import OperationalError

    from tracking import drain

    places = [make_place() for _ in range(3)]
    for place in places:
        send(place, make_event(NOON))
    store = drain.store

    def fail(cursor, arrivals):
        if any(arrival.place.pk == places[1].pk for arrival in arrivals):
            raise OperationalError("a lock was not to be had")
        return store(cursor, arrivals)

    monkeypatch.setattr(drain, "store", fail)
    drain.drain_due()
    assert [waiting(place) for place in places] == [0, 1, 0]
    assert [sum_of(place, "stored") for place in places] == [1, 0, 1]
    monkeypatch.undo()
    drain.drain_due()
    assert [events_of(place).count() for place in places] == [1, 1, 1]


def test_a_batch_may_hold_events_of_several_months():
    from tracking.drain import Drained, drain_property

    place = make_place()
    moments = [NOON, NOON.replace(year=2021), NOON.replace(month=1), NOON + minutes(1)]
    events = [make_event(moment) for moment in moments]
    for event in [*events, events[1]]:
        send(place, event)
    assert drain_property(place) == Drained(stored=4, duplicates=1)
    assert [event.time for event in events_of(place)] == sorted(moments)


def test_a_partition_that_the_owner_made_is_written_by_the_worker():
    from tracking.drain import drain_property

    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT ensure_events_partition('2019-07-01')")
        cursor.execute("REVOKE ALL ON events_2019_07 FROM PUBLIC, aktivat_worker")
    place = make_place()
    send(place, make_event(NOON.replace(year=2019, month=7)))
    assert drain_property(place).stored == 1


# -- visitors --------------------------------------------------------------------------------


def numbers_of(place):
    from tracking.models import Visitor

    return dict(of(Visitor, place).values_list("visitor", "number"))


def test_visitors_keep_their_first_and_last_event():
    from tracking.drain import drain_property
    from tracking.models import Visitor

    place = make_place()
    for minute in (5, 1, 9):
        send(place, make_event(NOON + minutes(minute), 4))
        drain_property(place)
    visitor = of(Visitor, place).get()
    assert visitor.number == 4
    assert (visitor.first_seen, visitor.last_seen) == (NOON + minutes(1), NOON + minutes(9))


def test_bots_count_down_and_are_not_mixed_up_with_people():
    from tracking.drain import drain_property
    from tracking.visitors import bot_identity

    place = make_place()
    person = visitor_of(1)
    send(place, make_event(NOON, person, bot=True))  # it prefetches a page, then opens it
    send(place, make_event(NOON + minutes(1), person))
    send(place, make_event(NOON + minutes(2), 9, bot=True))
    drain_property(place)
    send(place, make_event(NOON + minutes(3), 9, bot=True))
    send(place, make_event(NOON + minutes(4), 8, bot=True))
    drain_property(place)
    assert numbers_of(place) == {
        person: 1,
        bot_identity(person): -1,
        bot_identity(visitor_of(9)): -2,
        bot_identity(visitor_of(8)): -3,
    }
    assert [event.visitor for event in events_of(place)] == [-1, 1, -2, -2, -3]


def test_postgres_number_of_a_visitor_wins_over_valkeys():
    from tracking.drain import drain_property
    from tracking.models import DirtyHour

    place = make_place()
    send(place, make_event(NOON, 1), number=10)
    drain_property(place)
    of(DirtyHour, place).delete()
    send(place, make_event(NOON + minutes(60), 1), number=77)
    drain_property(place)
    assert numbers_of(place) == {visitor_of(1): 10}
    assert [event.visitor for event in events_of(place)] == [10, 10]
    assert ("r",) in of(DirtyHour, place).filter(hour=NOON + minutes(60)).values_list("why")


def test_no_number_is_given_to_two_visitors():
    from tracking.drain import drain_property

    place = make_place()
    send(place, make_event(NOON, 1), number=10)
    drain_property(place)
    send(place, make_event(NOON + minutes(1), 2), number=10)  # taken in Postgres
    send(place, make_event(NOON + minutes(2), 3), number=11)
    send(place, make_event(NOON + minutes(3), 4), number=11)  # taken in this batch
    drain_property(place)
    numbers = numbers_of(place)
    assert numbers[visitor_of(1)] == 10
    assert numbers[visitor_of(3)] == 11
    assert len(set(numbers.values())) == 4
    assert [event.visitor for event in events_of(place)] == [
        numbers[visitor_of(n)] for n in (1, 2, 3, 4)
    ]


# -- the command -----------------------------------------------------------------------------


def test_the_command_answers_in_json(capsys):
    import json

    from django.core.management import call_command

    place = make_place()
    send(place, make_event(NOON))
    call_command("drain", "--json")
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"stored", "duplicates", "quarantined", "conflicts"}
    assert answer["stored"] >= 1
    assert waiting(place) == 0
