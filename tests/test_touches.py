"""First and last touch: what they are, and that they follow whatever comes late.

That every route agrees on them is tested with all other dimensions in tests/test_queries.py.
"""

from datetime import UTC, datetime, timedelta

import pytest

from tests.history import Happening, at, write
from tests.history import roll_up as roll_up_history
from tests.people import new_property
from tests.streams import NOON, make_event
from tests.test_packing import pack, packed_place
from tests.test_queries import ask
from tests.test_rollups import NOW, drain, roll_up

MONTH = timedelta(days=30)
VISITS = (  # days before, source, channel, and what the touches of that visit are
    (40, "news", "Email", "news", "news"),
    (10, "Direct", "Direct", "news", "news"),  # exactly a month after it
    (5, "Direct", "Direct", "news", "Direct"),  # and later: forgotten
    (3, "Google", "Organic Search", "news", "Google"),
    (1, "", "", "news", "Google"),  # no channel says nothing either
)


@pytest.fixture(scope="module")
def touched():
    place, history = new_property(), []
    for ago, source, channel, _, _ in VISITS:
        moment = at("2026-04-14T12:00") - timedelta(days=ago)
        history.append(Happening(moment, 1, source=source, channel=channel))
    write(place, history)
    roll_up_history(place, history)
    return place


@pytest.mark.parametrize("bots", ["exclude", "include"])  # from columns, and by Postgres
def test_the_first_touch_is_kept_and_the_last_is_remembered_for_a_month(touched, bots):
    for ago, source, _, first, last in VISITS:
        day = f"{at('2026-04-14T12:00') - timedelta(days=ago):%Y-%m-%d}"
        answer = ask(
            touched,
            metrics=["sessions"],
            dimensions=["source", "first_source", "last_source"],
            range=day,
            bots=bots,
        )
        assert answer.rows == [
            {"source": source, "first_source": first, "last_source": last, "sessions": 1}
        ]


@pytest.mark.parametrize("bots", ["exclude", "include"])  # from columns, and by Postgres
def test_every_part_of_the_source_has_its_touches(bots):
    from reports.metrics import DIMENSIONS

    place, history = new_property(), []
    parts = ["source", "medium", "campaign", "term", "content", "channel", "referrer"]
    visits = [(20, "newsletter"), (5, "search"), (1, "")]
    for ago, word in visits:
        texts = {name: word and f"{name} of {word}" for name in parts}
        source, channel = texts.pop("source"), texts.pop("channel")
        moment = at("2026-04-14T12:00") - timedelta(days=ago)
        history.append(Happening(moment, 1, source=source, channel=channel, texts=texts))
    write(place, history)
    assert parts == [name.removeprefix("first_") for name in DIMENSIONS if name[:6] == "first_"]
    for part in parts:
        answer = ask(
            place,
            metrics=["sessions"],
            dimensions=[f"first_{part}", f"last_{part}"],
            range="2026-04-13",
            bots=bots,
        )
        assert answer.rows == [
            {
                f"first_{part}": f"{part} of newsletter",
                f"last_{part}": f"{part} of search",
                "sessions": 1,
            }
        ]


def test_a_touch_filters_like_any_dimension(touched):
    body = {
        "metrics": ["sessions", "visitors"],
        "range": {"from": "2026-03-01", "to": "2026-04-14"},
    }
    by_last = ask(touched, **body, filters=["is", "last_source", ["Google"]])
    assert by_last.totals == {"sessions": 2, "visitors": 1}
    both = ["and", ["is", "first_channel", ["Email"]], ["is_not", "last_channel", ["Email"]]]
    assert ask(touched, **body, filters=both).totals == {"sessions": 3, "visitors": 1}


def test_a_visit_that_comes_late_is_seen_in_all_that_follow(monkeypatch):
    from reports import packing

    monkeypatch.setattr(packing, "FEWEST", 1)
    place = packed_place(
        make_event(NOON, channel="Direct", source="Direct"),
        make_event(NOON - timedelta(days=3), channel="Direct", source="Direct"),
    )
    question = {
        "metrics": ["sessions"],
        "dimensions": ["time:day", "first_source", "last_source"],
        "range": {"from": "2026-03-11", "to": "2026-03-11"},
    }

    def touches():
        answer = ask(place, NOW, **question)
        return [(row["first_source"], row["last_source"]) for row in answer.rows]

    assert ask(place, NOW, **question).meta["route"] == "columns"
    assert touches() == [("Direct", "Direct")]
    for days, source, found in (
        (2, "Google", ("Direct", "Google")),  # between the two: the last one
        (9, "news", ("news", "Google")),  # before both: the first one
        (5, "late", ("news", "Google")),  # neither
    ):
        drain(place, make_event(NOON - timedelta(days=days), source=source, channel="Referral"))
        assert touches() == [found]
        roll_up(place)
        pack(place)
        assert ask(place, NOW, **question).meta["route"] == "columns"
        assert touches() == [found]


def test_days_beyond_the_look_back_are_left_alone_by_what_is_not_the_first_visit():
    from tracking.models import DirtyHour

    place = packed_place(make_event(NOON), make_event(NOON - timedelta(days=50)))
    drain(place, make_event(NOON - timedelta(days=45), source="x", channel="Referral"))
    marked = DirtyHour.objects.using("worker").filter(property_id=place.pk)
    assert {row.hour.date() for row in marked} == {(NOON - timedelta(days=45)).date()}


def test_an_answer_about_visits_whose_forerunners_may_have_expired_is_not_exact():
    from tracking.models import Ledger

    now = datetime(2026, 4, 15, tzinfo=UTC)
    place = new_property(retention_days=30)
    write(place, [Happening(at("2026-04-14T12:00"), 1), Happening(at("2026-03-20T12:00"), 1)])
    body = {"metrics": ["sessions"], "range": "2026-04-14"}
    assert ask(place, now, **body, dimensions=["last_source"]).meta["exact"] is True
    Ledger.objects.using("worker").create(
        account_id=place.account_id, property_id=place.pk, hour=at("2026-03-01T12:00"), expired=1
    )
    for touch, exact in (("source", True), ("first_source", False), ("last_source", False)):
        meta = ask(place, now, **body, dimensions=[touch], bots="include").meta
        assert (meta["exact"], "raw_from" in meta) == (exact, not exact)
