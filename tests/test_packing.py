"""Packed days: columns that hold what the rows hold, and are read only while they do."""

import random
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import numpy as np
import pytest
from django.db import connections
from hypothesis import given
from hypothesis import strategies as st

from tests.history import Happening, at, write
from tests.history import roll_up as roll_up_history
from tests.people import new_property
from tests.streams import NOON, make_event, make_place, minutes
from tests.test_queries import ask
from tests.test_rollups import NOW, drain, roll_up
from tests.test_sessions import some_events

DAY = {"from": "2026-03-11", "to": "2026-03-11"}
BY_SOURCE = {"metrics": ["visitors", "pageviews", "sessions"], "dimensions": ["source"]}


@pytest.fixture(autouse=True)
def small_days_are_packed(monkeypatch):
    from reports import packing

    monkeypatch.setattr(packing, "FEWEST", 1)


def pack(place, now=NOW):
    from reports.packing import pack_all

    return pack_all(now, place)


def states(place):
    from reports.models import PackedDay

    rows = PackedDay.objects.using("worker").filter(property_id=place.pk)
    return {row.starts_at.date().isoformat(): row.state for row in rows}


def columns_of(place):
    from reports.models import Column

    rows = Column.objects.using("worker").filter(property_id=place.pk)
    return {(row.starts_at, row.name): bytes(row.bits) for row in rows}


def packed_place(*events, **fields):
    place = make_place(**fields)
    drain(place, *events)
    roll_up(place)
    pack(place)
    return place


def route(place, **body):
    return ask(place, NOW, **({"range": DAY} | BY_SOURCE | body)).meta["route"]


# -- bytes -----------------------------------------------------------------------------------


@given(st.lists(st.integers(-(2**40), 2**40) | st.integers(0, 9)), st.sampled_from([1, 7, 1000]))
def test_numbers_come_back_as_they_were(numbers, unit):
    from reports.columns import pack_numbers, unpack_numbers

    numbers = [number * unit for number in numbers]
    found = unpack_numbers(pack_numbers(np.array(numbers, dtype=np.int64)))
    assert found.tolist() == numbers


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5)))
def test_texts_come_back_as_they_were(texts):
    from reports.columns import TextsMaker, pack_texts, unpack_texts

    maker = TextsMaker()
    maker.add(texts[:3])
    maker.add(texts[3:])
    found = unpack_texts(pack_texts(maker.done()))
    assert [found.values[code].decode() for code in found.codes] == texts
    assert [found.value(code).decode() for code in found.codes] == texts
    assert all(found.value(found.find(text.encode())) == text.encode() for text in texts)
    assert found.find(b"no such text") is None
    assert len(set(found.values)) == len(found.values)


@given(st.lists(st.sets(st.sampled_from(["", "a", "b", "c", "ö", "\U0001f600"])), max_size=6))
def test_dictionaries_are_merged_by_text(dictionaries):
    from reports.columns import Merged, make_texts

    merged, seen = Merged(), {}
    for values in map(list, dictionaries):
        texts = make_texts(values, np.arange(len(values)))
        numbers = merged.numbers(texts)
        for value, number in zip(texts.values, numbers.tolist(), strict=True):
            assert seen.setdefault(value, number) == number
            assert merged.value(number) == value
    assert len(merged) == len(seen) == len(set(seen.values()))


def test_texts_whose_marks_are_alike_are_not_taken_for_each_other(monkeypatch):
    """Nobody finds two texts with the same 128 bits; with the same first 64, somebody may."""
    from reports import columns

    merged = columns.Merged()
    monkeypatch.setattr(columns, "mark_of", lambda value: b"8 bytes " + value.ljust(8))
    merged.numbers(columns.make_texts(["a"], np.array([0])))
    with pytest.raises(columns.Unfit, match="same mark"):
        merged.numbers(columns.make_texts(["b"], np.array([0])))
    with pytest.raises(columns.Unfit, match="same mark"):
        columns.make_texts(["a", "b"], np.array([0, 1]))


@pytest.mark.parametrize("rows", [1, 300, 70_000])
def test_a_column_of_one_value_costs_no_bytes_a_row(rows):
    from reports.columns import pack_numbers

    assert len(pack_numbers(np.full(rows, 7))) < 40
    assert len(pack_numbers(np.arange(rows) % 200)) < 40 + rows


def test_columns_of_another_version_are_not_read():
    from reports.columns import Unfit, pack_numbers, unpack_numbers

    data = pack_numbers(np.arange(3))
    with pytest.raises(Unfit, match="another version"):
        unpack_numbers(b"?" + data[1:])


# -- when columns are read -------------------------------------------------------------------


def test_closed_days_are_packed_and_read():
    place = packed_place(make_event(NOON, source="news"), make_event(NOON, 2, source="other"))
    assert states(place) == {"2026-03-11": "d"}
    answer = ask(place, NOW, range=DAY, **BY_SOURCE)
    assert answer.meta["route"] == "columns"
    assert answer.rows == [
        {"source": "news", "visitors": 1, "pageviews": 1, "sessions": 1},
        {"source": "other", "visitors": 1, "pageviews": 1, "sessions": 1},
    ]


def test_what_rollups_hold_is_not_read_from_columns():
    place = packed_place(make_event(NOON))
    assert route(place, metrics=["visitors"]) == "rolled"
    assert route(place, bots="include") == "raw"


def test_an_open_day_is_not_packed_and_a_closed_one_only_when_it_has_settled():
    from reports.packing import SETTLED, days_due

    place = make_place()
    drain(place, make_event(NOON))
    roll_up(place, NOON + minutes(5))
    assert pack(place, NOON + minutes(60)) == 0
    assert pack(place, NOON + timedelta(hours=13)) == 0  # an hour behind midnight
    soon = NOON + timedelta(hours=15)
    drain(place, make_event(NOON, 2))
    roll_up(place, soon)
    assert list(days_due(soon + minutes(4), SETTLED, place)) == []
    assert len(list(days_due(soon + minutes(6), SETTLED, place))) == 1


def test_a_changed_day_is_read_from_its_rows_until_it_is_packed_again():
    place = packed_place(make_event(NOON), make_event(NOON - timedelta(days=1)))
    two = {"from": "2026-03-10", "to": "2026-03-11"}
    drain(place, make_event(NOON, 2, source="late"))
    for state in ("dirty", "w", "d"):
        answer = ask(place, NOW, range=two, **BY_SOURCE)
        assert answer.meta["route"] == "columns"  # of the other day
        assert sum(row["visitors"] for row in answer.rows) == 2
        if state == "dirty":
            assert route(place) == "raw"
            roll_up(place)
            assert states(place)["2026-03-11"] == "w"
        elif state == "w":
            assert route(place) == "raw"
            pack(place)
    assert route(place) == "columns"


def test_packing_again_gives_the_same_bytes():
    place = packed_place(*some_events(random.Random(3)))
    before = columns_of(place)
    assert before
    execute("UPDATE packed_days SET state = 'w' WHERE property_id = %s", place)
    pack(place)
    assert columns_of(place).keys() == before.keys()
    texts = {key for key in before if "visitor" in key[1] or "start" in key[1]}
    assert all(columns_of(place)[key] == before[key] for key in texts)


def execute(statement, place):
    with connections["worker"].cursor() as cursor:
        cursor.execute(statement, [place.pk])


def test_an_event_stored_while_its_day_is_packed_is_not_overlooked(monkeypatch):
    """Its rows are read before the event is there; its mark says that the columns are stale."""
    from reports import packing
    from tests.test_rollups import in_another_process

    place = make_place()
    drain(place, make_event(NOON))
    roll_up(place)
    read = packing.of_rows

    def slowly(*args):
        block = read(*args)
        in_another_process(place, NOON)  # the drain's mark, in its own transaction
        return block

    monkeypatch.setattr(packing, "of_rows", slowly)
    pack(place)
    assert states(place) == {"2026-03-11": "d"}
    assert route(place) == "raw"
    roll_up(place)
    assert states(place) == {"2026-03-11": "w"}


def test_a_day_that_is_being_counted_is_not_packed():
    place = make_place()
    drain(place, make_event(NOON))
    roll_up(place)
    drain(place, make_event(NOON, 2))
    assert pack(place) == 0
    assert states(place) == {"2026-03-11": "w"}


def test_a_small_day_is_left_in_rows(monkeypatch):
    from reports import packing

    monkeypatch.setattr(packing, "FEWEST", 3)
    place = packed_place(make_event(NOON), make_event(NOON, 2), make_event(NOON, 3, bot=True))
    assert states(place) == {"2026-03-11": "r"}
    assert columns_of(place) == {}
    assert route(place) == "raw"


def test_a_killed_packing_leaves_nothing_behind(monkeypatch):
    from reports import packing

    place = make_place()
    drain(place, make_event(NOON))
    roll_up(place)
    with monkeypatch.context() as broken:
        broken.setattr(packing, "DONE", "SELECT 1 / 0")
        with pytest.raises(Exception, match="division by zero"):
            pack(place)
    assert states(place) == {"2026-03-11": "w"}
    assert columns_of(place) == {}
    assert pack(place) == 1
    assert route(place) == "columns"


def test_days_whose_raw_events_have_expired_lose_their_columns():
    from tests.test_rebuild import expire

    place = packed_place(make_event(NOON), make_event(NOON, 2), retention_days=30)
    expire(place, "2026-03-13")
    drain(place, make_event(NOON - minutes(9)))
    roll_up(place, NOW + timedelta(days=60))
    assert columns_of(place) == {}
    assert states(place) == {}


def test_another_zone_makes_other_days():
    from reports.rebuilding import mark_zone_change

    place = packed_place(make_event(NOON), timezone="Europe/Berlin")
    place.timezone = "Asia/Kolkata"
    place.save(update_fields=["timezone"])
    mark_zone_change(place, NOW)
    assert columns_of(place) == {}
    roll_up(place)
    pack(place)
    assert {start.hour for start, _ in columns_of(place)} == {18}
    assert route(place) == "columns"


def test_days_that_overlap_are_never_counted_twice():
    from reports.models import PackedDay

    place = packed_place(make_event(NOON), make_event(NOON + timedelta(days=1)))
    two = {"from": "2026-03-11", "to": "2026-03-12"}
    assert route(place, range=two) == "columns"
    day = PackedDay.objects.using("worker").filter(property_id=place.pk)
    day.filter(starts_at__day=11).update(ends_at=NOON + timedelta(days=1))
    answer = ask(place, NOW, range=two, **BY_SOURCE)
    assert (answer.meta["route"], answer.totals["pageviews"]) == ("raw", 2)


def test_days_counted_before_there_were_columns_are_listed_once():
    from reports.packing import list_old_days
    from reports.zones import follow_zones

    place = make_place(timezone="Europe/Berlin")
    drain(place, make_event(NOON), make_event(NOON - timedelta(days=2)))
    follow_zones(NOW)
    roll_up(place)
    execute("DELETE FROM packed_days WHERE property_id = %s", place)
    list_old_days(NOW)
    assert len(states(place)) == 2
    assert pack(place) == 2
    list_old_days(NOW)
    assert set(states(place).values()) == {"d"}


# -- what is in them -------------------------------------------------------------------------


def test_properties_of_events_have_columns(monkeypatch):
    from reports import packing

    place = packed_place(
        make_event(NOON, props=b'{"plan": "pro", "n": 1}'),
        make_event(NOON, 2, props=b'{"plan": null}'),
        make_event(NOON, 3),
    )
    body = {"metrics": ["events"], "range": DAY}
    by_plan = ask(place, NOW, **body, dimensions=["props:plan"])
    assert (by_plan.meta["route"], by_plan.rows) == (
        "columns", [{"props:plan": "pro", "events": 1}],
    )  # fmt: skip
    other = ask(place, NOW, **body, filters=["is_not", "props:nothing", ["x"]])
    assert (other.meta["route"], other.totals) == ("columns", {"events": 3})
    # Where not all of them have columns, an unknown one may be anything.
    monkeypatch.setattr(packing, "MOST_PROPS", 1)
    execute("UPDATE packed_days SET state = 'w' WHERE property_id = %s", place)
    pack(place)
    assert route(place, dimensions=["props:plan"]) == "columns"
    assert route(place, dimensions=["props:n"]) == "raw"


def test_a_tenant_reads_no_columns_of_another():
    from accounts.tenancy import tenant
    from reports import blocks

    place, stranger = packed_place(make_event(NOON)), new_property()
    for account, seen in ((place.account_id, 1), (stranger.account_id, 0)):
        with tenant(account), blocks.binary_cursor() as cursor:
            for table in ("packed_days", "columns"):
                cursor.execute(f"SELECT count(*) > 0 FROM {table} WHERE property_id = {place.pk}")
                assert cursor.fetchone()[0] == bool(seen)


def test_sessions_over_several_blocks_count_once():
    """A long session, its days packed or not, split by pages that it sees on each of them."""
    place = new_property()
    start = at("2026-04-11T20:00")
    history = [
        Happening(start + timedelta(minutes=25 * n), 1, page=f"/{n % 2}") for n in range(120)
    ]
    write(place, history)
    from tests.history import roll_up as roll_up_history

    roll_up_history(place, history)
    pack(place, datetime.now(UTC))
    question = {
        "metrics": ["sessions", "visitors", "pageviews", "visit_duration"],
        "dimensions": ["page"],
        "range": {"from": "2026-04-11", "to": "2026-04-14"},
    }
    wanted = ask(place, **question, bots="include")
    assert wanted.meta["route"] == "raw"
    assert [row["sessions"] for row in wanted.rows] == [1, 1]
    for day in ("none", "2026-04-12", "2026-04-13"):
        if day != "none":
            execute(
                "UPDATE packed_days SET state = 'w' WHERE property_id = %s"
                f" AND starts_at::date = '{day}'", place,
            )  # fmt: skip
        answer = ask(place, **question)
        assert answer.meta["route"] == "columns"
        assert (answer.rows, answer.totals) == (wanted.rows, wanted.totals)


def test_too_many_rows_between_packed_days_are_left_to_postgres():
    from reports import reading

    place = packed_place(make_event(NOON), make_event(NOON + timedelta(days=1)))
    execute("UPDATE packed_days SET state = 'w' WHERE property_id = %s"
            " AND starts_at::date = '2026-03-12'", place)  # fmt: skip
    two = {"from": "2026-03-11", "to": "2026-03-12"}
    assert route(place, range=two) == "columns"
    with patch.object(reading, "MOST_ROWS", 1):
        assert route(place, range=two) == "raw"


# -- sessions and pages -----------------------------------------------------------------------


def test_a_session_over_midnight_enters_and_leaves_once():
    place = new_property()
    midnight = datetime(2026, 3, 11, tzinfo=UTC)
    history = [
        Happening(midnight - timedelta(minutes=5), 1, page="/a"),
        Happening(midnight - timedelta(minutes=4), 1, page="/b"),
        Happening(midnight + timedelta(minutes=5), 1, page="/a"),
        Happening(midnight + timedelta(hours=5), 1, page="/b"),
    ]
    write(place, history)
    roll_up_history(place, history)
    pack(place, datetime.now(UTC))
    question = {
        "metrics": ["sessions", "entries", "exits"],
        "range": {"from": "2026-03-10", "to": "2026-03-11"},
    }
    answer = ask(place, NOW, dimensions=["page"], **question)
    assert answer.meta["route"] == "columns"
    assert answer.rows == [
        {"page": "/b", "sessions": 2, "entries": 1, "exits": 1},
        {"page": "/a", "sessions": 1, "entries": 1, "exits": 1},
    ]
    assert answer.totals == {"sessions": 2, "entries": 2, "exits": 2}


def test_an_older_event_that_comes_late_makes_a_new_visitor_one_who_returned():
    late = NOON - timedelta(days=2)
    place = packed_place(make_event(NOON), make_event(NOON + minutes(40)))
    question = {
        "metrics": ["visitors", "new_visitors"],
        "dimensions": ["visit"],
        "range": {"from": "2026-03-09", "to": "2026-03-11"},
    }
    new, returning = {"visit": "new"}, {"visit": "returning"}
    answer = ask(place, NOW, **question)
    assert answer.meta["route"] == "columns"
    assert answer.rows == [
        new | {"visitors": 1, "new_visitors": 1},
        returning | {"visitors": 1, "new_visitors": 0},
    ]
    drain(place, make_event(late))
    place.refresh_from_db()  # of which it is the first event now
    for _ in range(2):
        answer = ask(place, NOW, **question)
        assert sorted(answer.rows, key=str) == [
            new | {"visitors": 1, "new_visitors": 1},
            returning | {"visitors": 1, "new_visitors": 0},
        ]
        days = ask(place, NOW, **(question | {"dimensions": ["time:day"]})).rows
        assert [row["new_visitors"] for row in days] == [1, 0, 0]
        roll_up(place)
        pack(place)
