"""Sessions by event time: the same ones in any order of arrival, one by one or together."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from tests.history import AUTOMATIC
from tests.streams import NOON, make_event, make_place, minutes, send

GAP = minutes(30)


def sessions_of(place):
    from tracking.models import Session

    fields = [field.name for field in Session._meta.fields if field.name not in SKIPPED]
    rows = Session.objects.using("worker").filter(property_id=place.pk)
    return list(rows.order_by("visitor", "started_at").values(*fields))


SKIPPED = ("pk", "account_id", "property_id")


def spans_of(place):
    return [(row["started_at"], row["ended_at"]) for row in sessions_of(place)]


def drain(place, *events):
    from tracking.drain import drain_property

    for event in events:
        send(place, event)
    return drain_property(place)


def dirty(place, why):
    from tracking.models import DirtyHour

    rows = DirtyHour.objects.using("worker").filter(property_id=place.pk, why=why)
    return sorted(rows.values_list("hour", flat=True))


@pytest.mark.parametrize(
    ("name", "does"), [*((name, False) for name in AUTOMATIC), ("element", True), ("buy", True)]
)
def test_what_a_tracker_sends_by_itself_is_no_interaction(name, does):
    place = make_place()
    drain(place, make_event(NOON, page="/"), make_event(NOON + minutes(1), name=name, page="/"))
    (session,) = sessions_of(place)
    assert (session["events"], session["interactions"]) == (2, int(does))


def test_a_session_is_what_its_events_say():
    place = make_place()
    drain(
        place,
        make_event(NOON, name="login", page="", source="news", country="DE", device="desktop"),
        make_event(NOON + minutes(1), page="/a", source="other", engaged_ms=None),
        make_event(NOON + minutes(2), name="engagement", page="/a", engaged_ms=5_000),
        make_event(NOON + minutes(3), page="/b"),
        make_event(NOON + minutes(4), name="buy", page="", engaged_ms=70),
    )
    (session,) = sessions_of(place)
    assert session["visitor"] == 1
    assert (session["started_at"], session["ended_at"]) == (NOON, NOON + minutes(4))
    assert (session["events"], session["pageviews"], session["interactions"]) == (5, 2, 2)
    assert session["engaged_ms"] == 5_070
    assert (session["entry_page"], session["exit_page"]) == ("/a", "/b")
    assert (session["source"], session["country"], session["device"]) == ("news", "DE", "desktop")
    assert session["bot"] is False


def test_a_gap_of_exactly_the_limit_stays_one_session():
    place = make_place()
    drain(place, make_event(NOON), make_event(NOON + GAP))
    assert spans_of(place) == [(NOON, NOON + GAP)]


def test_a_gap_over_the_limit_begins_another():
    place = make_place()
    late = NOON + GAP + timedelta(milliseconds=1)
    drain(place, make_event(NOON), make_event(late))
    assert spans_of(place) == [(NOON, NOON), (late, late)]


def test_the_property_chooses_its_gap():
    place = make_place(session_gap_minutes=60)
    drain(place, make_event(NOON), make_event(NOON + minutes(60)))
    assert len(spans_of(place)) == 1


def test_an_event_that_arrives_late_joins_two_sessions():
    place = make_place()
    drain(place, make_event(NOON), make_event(NOON + minutes(50)))
    assert len(spans_of(place)) == 2
    drain(place, make_event(NOON + minutes(25)))
    assert spans_of(place) == [(NOON, NOON + minutes(50))]


def test_an_event_that_arrives_late_may_be_the_first():
    place = make_place()
    drain(place, make_event(NOON, page="/b", source="b"))
    drain(place, make_event(NOON - minutes(5), page="/a", source="a"))
    (session,) = sessions_of(place)
    assert (session["entry_page"], session["exit_page"], session["source"]) == ("/a", "/b", "a")


def test_sessions_of_others_and_other_days_stay_as_they_are():
    from django.db import connections

    place = make_place()
    drain(place, make_event(NOON), make_event(NOON + minutes(600)), make_event(NOON, 2))
    with connections["worker"].cursor() as cursor:  # a trace that deriving again would remove
        cursor.execute("UPDATE sessions SET term = 'kept' WHERE property_id = %s", [place.pk])
    drain(place, make_event(NOON - minutes(5)))
    assert [row["term"] for row in sessions_of(place)] == ["", "kept", "kept"]


def test_a_session_that_only_grows_is_not_read_again():
    from django.db import connections

    place = make_place()
    drain(place, make_event(NOON, page=""))
    with connections["worker"].cursor() as cursor:
        cursor.execute("UPDATE sessions SET term = 'kept' WHERE property_id = %s", [place.pk])
    drain(
        place,
        make_event(NOON + minutes(9), name="engagement", page="/b", engaged_ms=30),
        make_event(NOON + minutes(5), page="/a"),
        make_event(NOON + minutes(90), page="/c"),
    )
    first, second = sessions_of(place)
    assert (first["term"], second["term"]) == ("kept", "")
    assert (first["events"], first["pageviews"], first["engaged_ms"]) == (3, 2, 30)
    assert (first["entry_page"], first["exit_page"]) == ("/a", "/b")
    assert (first["ended_at"], second["started_at"]) == (NOON + minutes(9), NOON + minutes(90))


def test_people_and_bots_have_sessions_apart():
    place = make_place()
    drain(place, make_event(NOON), make_event(NOON + minutes(1), bot=True))
    assert [(row["visitor"], row["bot"]) for row in sessions_of(place)] == [(-1, True), (1, False)]
    assert dirty(place, "e") == [NOON]
    assert dirty(place, "s") == [NOON]


def test_every_hour_of_a_changed_session_is_marked_before_and_after():
    place = make_place()
    drain(place, *[make_event(NOON + minutes(20 * n)) for n in range(10)])
    every_hour = [NOON + timedelta(hours=n) for n in range(4)]
    assert dirty(place, "e") == every_hour
    assert dirty(place, "s") == every_hour


def test_hours_are_those_of_the_property():
    place = make_place(timezone="Asia/Kolkata")  # half an hour off
    drain(place, make_event(NOON), make_event(NOON + minutes(40), 2))
    assert dirty(place, "e") == [NOON - minutes(30), NOON + minutes(30)]


def test_both_hours_of_an_autumn_night_are_marked_apart():
    place = make_place(timezone="Europe/Berlin")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 summer time
    drain(place, make_event(first, 1), make_event(first + minutes(60), 2))
    assert dirty(place, "e") == [first - minutes(30), first + minutes(30)]


def some_events(chance, count=120):
    """Three visitors over two days, with gaps about the limit and equal times."""
    events = []
    for visitor in (1, 2, 3):
        at = NOON
        for _ in range(count // 3):
            at += minutes(chance.choice([0, 1, 7, 29, 30, 31, 90]))
            name = chance.choice(["pageview", "pageview", "engagement", "buy"])
            events.append(
                make_event(
                    at,
                    visitor,
                    name=name,
                    page=chance.choice(["", "/a", "/b", "/c"]),
                    source=chance.choice(["x", "y"]),
                    engaged_ms=chance.randrange(20_000) if name == "engagement" else None,
                )
            )
    return events


def test_twenty_orders_of_arrival_give_identical_sessions(monkeypatch):
    chance = random.Random(20260311)
    events = some_events(chance)
    seen = []
    for turn in range(20):
        place = make_place()
        chance.shuffle(events)
        if turn % 4 == 1:
            events.sort(key=lambda event: event.time)  # as they happen: sessions only grow
        step = (1_000, 40, 9)[turn % 3]
        for start in range(0, len(events), step):
            drain(place, *events[start : start + step])
        seen.append(sessions_of(place))
    assert seen[0] == sessions_by_hand(events)
    assert all(sessions == seen[0] for sessions in seen)


def sessions_by_hand(events):
    """The definition, in the plainest Python."""
    groups = []
    by_visitor = sorted(events, key=lambda e: (e.visitor_uuid.int & 0xFF, e.time, e.event_id))
    for event in by_visitor:
        last = groups[-1][-1] if groups else None
        is_same = last and last.visitor_uuid == event.visitor_uuid
        if is_same and event.time - last.time <= 30 * 60_000:
            groups[-1].append(event)
        else:
            groups.append([event])
    return [_session(group) for group in groups]


def _session(group):
    first, pages = group[0], [event.page for event in group if event.page]
    texts = (
        "hostname referrer source medium campaign term content channel country device browser os"
        " language screen"
    )
    return {
        "visitor": first.visitor_uuid.int & 0xFF,
        "started_at": datetime.fromtimestamp(first.time / 1000, UTC),
        "ended_at": datetime.fromtimestamp(group[-1].time / 1000, UTC),
        "bot": False,
        "pageviews": sum(event.name == "pageview" for event in group),
        "events": len(group),
        "interactions": sum(event.name not in AUTOMATIC for event in group),
        "engaged_ms": sum(event.engaged_ms or 0 for event in group),
        "entry_page": pages[0] if pages else "",
        "exit_page": pages[-1] if pages else "",
    } | {name: getattr(first, name) for name in texts.split()}
