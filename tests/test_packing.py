"""Packed days: columns that hold what the rows hold, and are read only while they do."""

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
from django.db import connections, transaction
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

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
    monkeypatch.setattr(packing, "FEWEST_OF_PART", 1)


def pack(place, now=NOW):
    from reports.packing import pack_all

    return pack_all(now, place)


def states(place):
    from reports.models import PackedDay

    rows = PackedDay.objects.using("worker").filter(property_id=place.pk)
    return {row.starts_at.date().isoformat(): row.state for row in rows if row.grain == "d"}


def parts(place, grain="h"):
    """When the packed or waiting parts of days begin, and their states."""
    return {f"{row.starts_at:%H:%M}": row.state for row in rows_of(place, grain)}


def rows_of(place, grain):
    from reports.models import PackedDay

    rows = PackedDay.objects.using("worker").filter(property_id=place.pk, grain=grain)
    return list(rows.order_by("starts_at"))


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
    for rows in (range(0, len(numbers), 2), range(len(numbers) - 1, -1, -1), ()):
        some = unpack_numbers(pack_numbers(np.array(numbers, dtype=np.int64)), np.array(rows, int))
        assert some.tolist() == [numbers[row] for row in rows]


@given(st.lists(st.integers(0, 5)), st.data())
def test_sessions_are_found_by_their_events_however_many(lengths, data):
    from reports import blocks

    block = blocks.Block(None, {blocks.LENGTHS: np.array(lengths, dtype=np.uint8)})
    owners = [session for session, length in enumerate(lengths) for _ in range(length)]
    flags = st.lists(st.booleans(), min_size=len(owners), max_size=len(owners))
    rows = data.draw(flags)
    among = data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    wanted = {owner for owner, is_marked in zip(owners, rows, strict=True) if is_marked}
    for cost, each_among in ((0, 0), (10**9, 0), (10**9, 10**9)):
        with (
            patch.object(blocks, "EACH_OF_ROWS", cost),
            patch.object(blocks, "EACH_AMONG", each_among),
            patch.object(blocks, "SLICE", 3),
        ):
            found = block.owning(np.array(rows, bool))
            some = block.owning(np.array(rows, bool), np.array(among, bool))
        assert set(np.flatnonzero(found).tolist()) == wanted
        assert some.tolist() == [n in wanted and is_in for n, is_in in enumerate(among)]


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
    some = np.arange(len(found)) % 2 == 0
    wanted = [found.value(code) for code in np.flatnonzero(some).tolist()]
    assert found.used() is found
    if wanted:
        assert found.joined_of(some) == b"\0".join(wanted)


def test_texts_are_cut_out_of_a_dictionary_in_little_more_memory_than_it_takes():
    """Of a day that a file counts in shares it may be as long as memory allows."""
    import tracemalloc

    from reports.columns import make_texts

    texts = make_texts([f"/a/page/with/a/long/name/{n}" for n in range(30_000)], np.arange(29_999))
    tracemalloc.start()
    used = texts.used()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(used), used.joined.count(b"/name/")) == (29_999, 29_999)
    assert most < 8 * len(texts.joined)


@given(st.lists(st.sets(st.sampled_from(["", "a", "b", "c", "ö", "\U0001f600"])), max_size=6))
def test_dictionaries_are_merged_by_text(dictionaries):
    from reports.columns import make_texts
    from reports.dictionaries import Merged

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
    from reports import columns, dictionaries

    merged = dictionaries.Merged()
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
    from reports.columns import (
        Unfit,
        make_texts,
        pack_codes,
        pack_dictionary,
        pack_numbers,
        pack_texts,
        unpack_codes,
        unpack_dictionary,
        unpack_numbers,
        unpack_texts,
    )

    data = pack_numbers(np.arange(3))
    with pytest.raises(Unfit, match="another version"):
        unpack_numbers(b"?" + data[1:])
    texts = make_texts(["/", "/a"], np.array([0, 1, 1]))
    with pytest.raises(Unfit, match="another version"):
        unpack_texts(pack_codes(texts))  # as a process would that knows of no dictionary apart
    apart = unpack_codes(pack_codes(texts), unpack_dictionary(pack_dictionary(texts)))
    assert [apart.value(code) for code in apart.codes] == [b"/", b"/a", b"/a"]
    with pytest.raises(Unfit, match="another version"):
        unpack_codes(pack_texts(texts), texts)


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


OF_EVENTS = ["pageviews", "time_on_page", "scroll_depth", "scroll_50", "vitals", "events"]
OF_SESSIONS = ["entries", "entry_bounce_rate", "exits", "exit_rate", "sessions", "new_visitors"]


def some_happenings(seed):
    """Of two days, with sessions over the midnight between them."""
    chance = random.Random(seed)
    return [
        Happening(
            at("2026-04-13T21:00") + minutes(chance.randrange(7 * 60)),
            1 + chance.randrange(9),
            chance.choice(["pageview", "pageview", "engagement", "signup"]),
            page=chance.choice(["", "/", "/a", "/b", "/c", "/d"]),
            scroll=chance.choice([None, 20, 60, 100]),
            texts={
                "title": chance.choice(["", "A", "B"]),
                "hostname": chance.choice(["shop.example", "www.example"]),
            },
            source=chance.choice(["Direct", "news"]),
        )
        for _ in range(90)
    ]


def counted_place(happenings):
    place = new_property()
    write(place, happenings)
    roll_up_history(place, happenings, now=at("2026-04-20T11:00"))
    return place


@pytest.mark.parametrize("seed", range(4))
def test_a_table_of_all_pages_adds_up_what_each_day_came_to(seed, monkeypatch):
    """With sums, without them (as days were packed before), without who has a page, and from rows:
    the same, also of sessions that go on over midnight and of rows that only the whole table
    shows."""
    from reports import columnar, sums

    place = counted_place(some_happenings(seed))
    summed: list[str] = []
    for name in ("_add_summed", "_add_whole"):
        add = getattr(sums.Sums, name)
        monkeypatch.setattr(
            sums.Sums,
            name,
            lambda self, *seen, add=add: summed.append(self.plan.summed_by) or add(self, *seen),
        )

    def answers():
        of_values = [
            ([*first, *rest], [dimension], limit)
            for dimension in ("page", "title", "hostname", "event")
            for first, *rest in (
                [OF_EVENTS, "visitors"], [["pageviews"], *OF_SESSIONS, "visitors"]
            )
            for limit in (2, 100)
        ]  # fmt: skip
        of_all = [
            (["time_on_page", "scroll_depth", "views_per_session", "entries"], dimensions, 100)
            for dimensions in ([], ["time:day"], ["time:week"], ["time:hour"], ["time:day_of_week"])
        ]
        found = [
            ask(
                place, at("2026-04-20T12:00"), metrics=wanted, dimensions=dimensions, limit=limit,
                range={"from": "2026-04-13", "to": "2026-04-14"},
            )
            for wanted, dimensions, limit in [*of_values, *of_all]
        ]  # fmt: skip
        return [(answer.rows, answer.totals) for answer in found]

    with monkeypatch.context() as without:
        without.setattr(columnar, "can_answer", lambda question: False)
        expected = answers()
    assert not summed
    pack(place, at("2026-04-20T12:00"))
    assert answers() == expected
    assert summed.count("page") == 8
    assert summed.count("title") == summed.count("hostname") == 4
    assert summed.count("") > 6
    for gone in ("marks:%%", "sum:%%"):
        summed.clear()
        execute(f"DELETE FROM columns WHERE name LIKE '{gone}' AND property_id = %s", place)
        assert answers() == expected
        assert "page" not in summed
    assert not summed


@given(
    st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=40),
    st.lists(st.integers(-1, 3), min_size=5, max_size=5),
)
def test_who_has_a_value_stands_beside_each_other(sessions, groups):
    """`sessions`: the texts of the events of each. Their postings, and those of some groups."""
    from reports import postings
    from reports.blocks import LENGTHS, Block
    from reports.columns import make_texts, pack_numbers, unpack_numbers

    codes = np.array([code for codes in sessions for code in codes], dtype=np.uint8)
    lengths = np.array([len(codes) for codes in sessions], dtype=np.uint8)
    texts = make_texts([f"/{number}" for number in range(5)], codes)
    block = Block(None, {LENGTHS: lengths, "event:page": texts})
    block.data |= postings.postings_of(block, "page")
    by_text = {texts.value(code).decode(): group for code, group in enumerate(groups)}
    block.data = {
        name: found if name == "event:page" else unpack_numbers(pack_numbers(found, in_parts=True))
        for name, found in block.data.items()
    }
    of, who = postings.pairs(block, "page", np.array(groups, dtype=np.int64))
    expected = [
        (by_text[f"/{page}"], session)
        for session, pages in enumerate(sessions)
        for page in set(pages)
        if by_text[f"/{page}"] >= 0
    ]
    assert sorted(zip(of.tolist(), who.tolist(), strict=True)) == sorted(expected)


OF_ONE_EVENT = [
    ["is", "page", ["/a"]],
    ["is", "page", ["/a", "/nowhere"]],
    ["contains", "page", ["b"]],
    ["is", "event", ["signup"]],
    ["is", "title", ["A"]],
    ["is_not", "page", ["/a"]],
]


@pytest.mark.parametrize("seed", range(2))
def test_who_has_seen_a_page_is_read_in_parts(seed, monkeypatch):
    """Alone beside what is asked of the session, with another filter on the same event, and where
    it is not worth it: always the same visitors as rows tell."""
    from reports import columnar, postings, reading

    place = counted_place(some_happenings(seed))
    read = []
    who_has = postings.who_has
    monkeypatch.setattr(
        reading.postings, "who_has", lambda *a: read.append(who_has(*a)) or read[-1]
    )
    news = ["is", "source", ["news"]]
    asked = [["and", news, one] for one in OF_ONE_EVENT]
    asked += [
        ["and", news, one, other]
        for one, other in zip(OF_ONE_EVENT[:3], OF_ONE_EVENT[3:], strict=True)
    ]
    asked += [["and", ["visitor", ["and", news, OF_ONE_EVENT[0]]], ["not", ["and", *asked[1][1:]]]]]
    asked += [["or", asked[0], asked[3], ["and", news, ["is", "page", ["/b"]]]]]
    asked += [["and", news, OF_ONE_EVENT[0], OF_ONE_EVENT[0]]]

    def answers():
        return [
            ask(
                place, at("2026-04-20T12:00"), metrics=["visitors"], filters=one,
                range={"from": "2026-04-13", "to": "2026-04-14"},
            )
            for one in asked
        ]  # fmt: skip

    with monkeypatch.context() as without:
        without.setattr(columnar, "can_answer", lambda question: False)
        expected = [answer.totals for answer in answers()]
    assert all(totals["visitors"] for totals in expected)
    assert not read
    pack(place, at("2026-04-20T12:00"))
    found = answers()
    assert [answer.totals for answer in found] == expected
    assert {answer.meta["route"] for answer in found} == {"columns"}
    assert read and None not in read
    with monkeypatch.context() as hardly:
        hardly.setattr(postings, "MOST", 0)
        assert [answer.totals for answer in answers()] == expected
        assert None in read


def test_who_has_seen_a_page_is_read_of_a_few_days_at_a_time(monkeypatch):
    """Its places take memory: of a long range more than there may be."""
    from reports import postings, reading

    days = [timedelta(days=day) for day in range(3)]
    place = packed_place(*(make_event(NOON - day, source="news", page="/a") for day in days))
    read = []
    who_has = postings.who_has
    monkeypatch.setattr(
        reading.postings, "who_has", lambda *a: read.append(len(a[2])) or who_has(*a)
    )
    monkeypatch.setattr(reading, "AT_ONCE", 2)
    answer = ask(place, NOW, **TWO | {"range": {"from": "2026-03-09", "to": "2026-03-11"}})
    assert (answer.totals, answer.meta["route"], read) == ({"visitors": 1}, "columns", [2, 1])


def test_parts_of_a_day_are_found_without_going_through_the_columns_of_all():
    """The planner knows no better than that a property has a single column."""
    from accounts.tenancy import tenant
    from reports import blocks, postings
    from reports.filters import Leaf

    place = packed_place(*(make_event(NOON, n, page=f"/{n}") for n in range(1, 30)))
    with connections["worker"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO columns (account_id, property_id, grain, starts_at, name, bits)"
            " SELECT account_id, property_id, 'd', starts_at - day * interval '1 day', name, ''"
            " FROM columns CROSS JOIN generate_series(1, 60) AS day WHERE property_id = %s",
            [place.pk],
        )
    day = NOON.replace(hour=0, minute=0)
    with tenant(place.account_id), blocks.binary_cursor() as cursor:

        def looked_at():
            cursor.execute(
                "SELECT sum(seq_tup_read + idx_tup_fetch)::bigint"
                " FROM pg_stat_xact_user_tables WHERE relname = 'columns'"
            )
            return cursor.fetchone()[0]

        packed = blocks.all_packed(cursor, place, blocks.Span(day, day + timedelta(days=1)))
        before = looked_at()
        leaf = Leaf("is", "page", ("/3",))
        tests = {leaf: lambda texts: np.arange(len(texts)) == texts.find(b"/3")}
        [having] = postings.who_has(cursor, place, packed, tests).values()
        assert len(having.sessions[leaf]) == 1
        assert 0 < looked_at() - before < 20


def test_a_day_packed_anew_while_its_parts_are_read_is_not_mixed_up(monkeypatch):
    from reports import blocks

    place = packed_place(*(make_event(NOON, n, source="news", page=f"/{n}") for n in range(1, 9)))
    read = blocks.look_at_each

    def pack_anew(*anything):
        execute("UPDATE columns SET bits = bits WHERE property_id = %s", place)
        return read(*anything)

    monkeypatch.setattr(blocks, "look_at_each", pack_anew)
    body = TWO | {"filters": ["and", ["is", "source", ["news"]], ["is", "page", ["/1", "/2"]]]}
    answer = ask(place, NOW, **body)
    assert (answer.totals, answer.meta["route"]) == ({"visitors": 2}, "raw")


def test_a_page_may_be_read_for_any_number_of_milliseconds():
    """Fifty events with a day each, the most that one may say, are more than four bytes hold."""
    day = 24 * 3_600 * 1_000
    place = packed_place(
        *(make_event(NOON, n, name="engagement", page="/a", engaged_ms=day) for n in range(1, 52)),
        make_event(NOON, page="/a"),
        make_event(NOON, page="/b", engaged_ms=1),
        make_event(NOON, page="/c"),
    )
    answer = ask(place, NOW, range=DAY, metrics=["time_on_page"], dimensions=["page"])
    assert answer.meta["route"] == "columns"
    assert [row["time_on_page"] for row in answer.rows] == [51 * day, 1, 0]


TWO = {
    "metrics": ["visitors"],
    "filters": ["and", ["is", "source", ["news"]], ["is", "page", ["/a"]]],
    "range": {"from": "2026-03-10", "to": "2026-03-11"},
}


def test_who_a_filter_means_is_counted_without_keeping_a_day(monkeypatch):
    """Each of two days is read by one statement, and forgotten before the next."""
    from reports import reading

    place = packed_place(
        *(make_event(NOON - timedelta(days=day), n, source="news", page="/a")
          for day in (0, 1) for n in (1, 2 + day)),
        make_event(NOON, 7, source="other", page="/a"),
    )  # fmt: skip
    made = []
    real = reading.Reader._of_packed
    monkeypatch.setattr(reading.Reader, "_of_packed", lambda *a: made.append(a) or real(*a))
    answer = ask(place, NOW, **TWO)
    assert (answer.totals, answer.meta["route"], made) == ({"visitors": 3}, "columns", [])
    with_events = ask(place, NOW, **TWO | {"metrics": ["visitors", "events"]})
    assert (with_events.totals, len(made)) == ({"visitors": 3, "events": 4}, 2)


def test_a_day_that_cannot_be_read_lets_rows_answer():
    """Also when it is not the last one: the statement that reads it has to come to its end."""
    place = packed_place(
        *(make_event(NOON - timedelta(days=day), source="news", page="/a") for day in (0, 1))
    )
    with connections["worker"].cursor() as cursor:
        cursor.execute(
            "UPDATE columns SET bits = %s WHERE property_id = %s AND name = 'session:source'"
            " AND starts_at = (SELECT min(starts_at) FROM columns WHERE property_id = %s)",
            [b"?", place.pk, place.pk],
        )
    answer = ask(place, NOW, **TWO)
    assert (answer.totals, answer.meta["route"]) == ({"visitors": 1}, "raw")
    with connections["worker"].cursor() as cursor:
        cursor.execute("DELETE FROM columns WHERE property_id = %s", [place.pk])
    answer = ask(place, NOW, **TWO)
    assert (answer.totals, answer.meta["route"]) == ({"visitors": 1}, "raw")


def test_a_day_that_was_packed_without_what_events_are_worth_is_read_from_rows():
    """As before there was a column of it; the worker packs such days again."""
    from accounts.tenancy import tenant
    from properties.models import Goal
    from reports.queries import ask_rows, parse_question

    place = packed_place(
        make_event(NOON, name="order", source="news", revenue="50", currency="EUR"),
        make_event(NOON, 2, name="order", source="news", revenue="49", currency="EUR"),
        make_event(NOON, 3, name="order", source="other", revenue="50", currency="USD"),
    )
    Goal.objects.create(
        account=place.account, property=place, name="Large", kind="value", minimum=50
    )
    reached = ["is", "goal", ["Large"]]
    bodies = [
        {"metrics": ["conversions", "conversion_rate"], "dimensions": ["source"], "range": DAY},
        {"metrics": ["visitors"], "range": DAY, "filters": reached},
        {"metrics": ["events"], "range": DAY, "filters": ["visitor", reached]},
    ]

    def found():
        answers = [ask(place, NOW, **body) for body in bodies]
        with tenant(place.account_id):
            _, rows = ask_rows(place, parse_question(place, bodies[0], NOW))
            in_file = list(rows)
        assert in_file == answers[0].rows == [
            {"source": "news", "conversions": 1, "conversion_rate": 0.5},
            {"source": "other", "conversions": 0, "conversion_rate": 0.0},
        ]  # fmt: skip
        assert [answer.totals for answer in answers[1:]] == [{"visitors": 1}, {"events": 1}]
        return {answer.meta["route"] for answer in answers}

    assert found() == {"columns"}
    execute("DELETE FROM columns WHERE name = 'event:worth' AND property_id = %s", place)
    assert found() == {"raw"}
    execute("UPDATE packed_days SET state = 'w' WHERE property_id = %s", place)
    pack(place)
    assert found() == {"columns"}


def test_whoever_is_meant_may_have_any_number():
    """A day of few visitors keeps their numbers in one or two bytes; who has done it elsewhere in
    the range may have a larger one."""
    happenings = [
        Happening(at("2026-04-13T10:00"), 70_000, "signup"),
        Happening(at("2026-04-13T11:00"), 300, "signup"),
        *(Happening(at("2026-04-14T10:00"), visitor) for visitor in (1, 2, 300)),
        *(Happening(at("2026-04-15T10:00"), visitor) for visitor in (300, 4_000)),
    ]
    place = new_property()
    write(place, happenings)
    roll_up_history(place, happenings, now=at("2026-04-20T11:00"))
    pack(place, at("2026-04-20T12:00"))
    answer = ask(
        place, at("2026-04-20T12:00"), metrics=["pageviews", "sessions"], dimensions=["time:day"],
        filters=["has_done", "event", ["signup"]],
        range={"from": "2026-04-13", "to": "2026-04-15"},
    )  # fmt: skip
    assert answer.meta["route"] == "columns"
    assert [(row["pageviews"], row["sessions"]) for row in answer.rows] == [(0, 2), (1, 1), (1, 1)]


def test_what_rollups_hold_is_not_read_from_columns():
    place = packed_place(make_event(NOON))
    assert route(place, metrics=["visitors"]) == "rolled"
    assert route(place, bots="include") == "raw"


def test_a_day_is_packed_when_it_is_over_and_has_settled():
    from reports.packing import SETTLED, all_due

    place = make_place()
    drain(place, make_event(NOON))
    roll_up(place, NOON + minutes(5))
    pack(place, NOON + minutes(60))
    assert states(place) == {"2026-03-11": "w"}
    pack(place, NOON + timedelta(hours=13))  # an hour behind midnight
    assert states(place) == {"2026-03-11": "w"}
    soon = NOON + timedelta(hours=15)
    drain(place, make_event(NOON, 2))
    roll_up(place, soon)
    assert list(all_due(soon + minutes(4), SETTLED, place)) == []
    assert len(list(all_due(soon + minutes(6), SETTLED, place))) == 1


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


def test_many_small_days_take_as_many_statements_as_one(monkeypatch):
    """A history of thirteen years has thousands of them."""
    from django.test.utils import CaptureQueriesContext

    from reports import packing

    monkeypatch.setattr(packing, "FEWEST", 3)
    taken = []
    for days in (1, 9):
        place = make_place()
        drain(place, *(make_event(NOON - timedelta(days=back)) for back in range(days)))
        drain(place, *(make_event(NOON - timedelta(days=20), number) for number in range(4)))
        roll_up(place)
        with CaptureQueriesContext(connections["worker"]) as queries:
            assert pack(place) == days + 1
        taken.append(len(queries))
        assert sorted(states(place).values()) == ["d", *["r"] * days]
    assert taken[0] == taken[1]


def test_a_small_day_that_was_large_loses_its_columns(monkeypatch):
    from reports import packing

    place = packed_place(make_event(NOON))
    assert columns_of(place)
    monkeypatch.setattr(packing, "FEWEST", 3)
    execute("UPDATE packed_days SET state = 'w' WHERE property_id = %s", place)
    assert pack(place) == 1
    assert (states(place), columns_of(place)) == ({"2026-03-11": "r"}, {})


def test_a_small_day_that_is_being_counted_waits(monkeypatch):
    from reports import packing

    monkeypatch.setattr(packing, "FEWEST", 9)
    place = make_place()
    drain(place, make_event(NOON))
    roll_up(place)
    drain(place, make_event(NOON, 2))
    assert pack(place) == 0
    assert states(place) == {"2026-03-11": "w"}


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


# -- parts of a day that is open --------------------------------------------------------------

EIGHT = NOON - timedelta(hours=4)


def open_place(*events, at, **fields):
    """A property at that moment, the worker's ticks having done what they could."""
    place = make_place(**fields)
    arrive(place, *events, at=at)
    return place


def arrive(place, *events, at):
    drain(place, *events)
    roll_up(place, at)
    pack(place, at)


def answer_of(place, **body):
    """The answer of packed columns and rows, which is the one of rows alone; and what was read."""
    from reports import columnar, rows

    read = []

    def of_rows(cursor, place, span, *args, **kwargs):
        read.append(span.start)
        return really_of_rows(cursor, place, span, *args, **kwargs)

    really_of_rows = rows.of_rows
    with patch.object(rows, "of_rows", of_rows):
        answer = ask(place, NOW, **({"range": DAY} | BY_SOURCE | body))
    with patch.object(columnar, "can_answer", lambda question: False):
        raw = ask(place, NOW, **({"range": DAY} | BY_SOURCE | body))
    assert raw.meta["route"] in ("raw", "rolled")
    assert (answer.rows, answer.totals) == (raw.rows, raw.totals)
    return answer, read


def test_closed_hours_of_an_open_day_are_packed_and_only_the_others_read_from_rows():
    events = [make_event(EIGHT + minutes(60 * n), n + 1, source=f"s{n % 3}") for n in range(4)]
    place = open_place(*events, at=NOON - minutes(10))
    assert states(place) == {"2026-03-11": "w"}
    assert parts(place) == {"08:00": "d", "09:00": "d", "10:00": "d", "11:00": "w"}
    assert parts(place, "q") == {"06:00": "w"}
    answer, read = answer_of(place)
    assert (answer.meta["route"], answer.totals["visitors"]) == ("columns", 4)
    assert read == [EIGHT.replace(hour=0), NOON - minutes(60)]


def test_six_hours_become_one_block_and_fall_back_to_hours_when_one_of_them_changes():
    from reports import blocks

    events = [make_event(EIGHT + minutes(60 * n), n + 1) for n in range(4)]
    place = open_place(*events, at=NOON)
    assert parts(place, "q") == {"06:00": "d"}
    assert parts(place) == {"08:00": "d", "09:00": "d", "10:00": "d", "11:00": "d"}

    def packed():
        from accounts.tenancy import tenant

        day = EIGHT.replace(hour=0)
        with tenant(place.account_id), blocks.binary_cursor() as cursor:
            within = blocks.Span(day, day + timedelta(days=1))
            return [p.span.start.hour for p in blocks.all_packed(cursor, place, within)]

    assert packed() == [6]
    drain(place, make_event(EIGHT + minutes(65), 9))
    assert packed() == [8, 10, 11]
    roll_up(place, NOON)
    assert packed() == [8, 10, 11]
    answer, _ = answer_of(place)
    assert answer.totals["visitors"] == 5
    pack(place, NOON)
    assert packed() == [6]


def test_a_part_of_a_day_is_packed_when_it_is_over_and_has_settled():
    from reports.packing import SETTLED, all_due

    def due(at):
        return [(found.grain, found.span.start.hour) for _, found in all_due(at, SETTLED, place)]

    place = make_place()
    drain(place, make_event(NOON - minutes(1)))
    roll_up(place, NOON - minutes(1))
    assert due(NOON - minutes(1)) == []
    assert due(NOON + minutes(3)) == []
    assert due(NOON + minutes(4)) == [("h", 11)]
    assert due(NOON + minutes(29)) == [("h", 11), ("q", 6)]  # it costs more to pack it again
    assert due(NOON + timedelta(hours=14)) == [("d", 0)]


def test_the_parts_go_when_their_day_is_packed(monkeypatch):
    from reports import packing

    place = open_place(make_event(EIGHT), make_event(EIGHT + minutes(70), 2), at=NOON)
    with monkeypatch.context() as broken:
        broken.setattr(packing, "PARTS", "SELECT 1 / 0")
        with pytest.raises(Exception, match="division by zero"):
            pack(place)
    assert states(place) == {"2026-03-11": "w"}  # a killed packing leaves them
    assert parts(place) == {"08:00": "d", "09:00": "d"}
    pack(place)
    assert states(place) == {"2026-03-11": "d"}
    assert parts(place) == parts(place, "q") == {}
    assert {start for start, _ in columns_of(place)} == {EIGHT.replace(hour=0)}
    answer, read = answer_of(place)
    assert (answer.totals["visitors"], read) == (2, [])


def test_a_day_with_too_few_events_leaves_no_parts(monkeypatch):
    from reports import packing

    place = open_place(make_event(EIGHT), at=NOON)
    monkeypatch.setattr(packing, "FEWEST", 2)
    pack(place)
    assert states(place) == {"2026-03-11": "r"}
    assert (parts(place), columns_of(place)) == ({}, {})


def test_small_parts_are_left_in_rows(monkeypatch):
    from reports import packing

    monkeypatch.setattr(packing, "FEWEST_OF_PART", 2)
    place = open_place(make_event(EIGHT), make_event(EIGHT + minutes(70), 2), at=NOON)
    assert parts(place) == {"08:00": "r", "09:00": "r"}
    assert parts(place, "q") == {"06:00": "d"}
    answer, _ = answer_of(place)
    assert (answer.meta["route"], answer.totals["visitors"]) == ("columns", 2)


def test_a_late_event_of_a_day_that_is_over_and_not_packed_is_counted():
    """Its hour is not packed any more: what was packed of it must not stay."""
    place = open_place(make_event(EIGHT), make_event(EIGHT + minutes(70), 2), at=NOON)
    over = NOON + timedelta(hours=14)
    for late, hour in enumerate((8, 9), 3):
        drain(place, make_event(EIGHT.replace(hour=hour, minute=30), late))
        answer, _ = answer_of(place)
        assert answer.totals["visitors"] == late
        roll_up(place, over)
        assert f"{hour:02}:00" not in parts(place)
        answer, _ = answer_of(place)
        assert answer.totals["visitors"] == late
    pack(place, over)
    assert states(place) == {"2026-03-11": "d"}


def test_a_late_event_of_an_old_day_lets_no_hours_wait():
    place = make_place()
    drain(place, make_event(EIGHT))
    roll_up(place, NOON + timedelta(days=2))
    assert parts(place) == parts(place, "q") == {}


@pytest.mark.parametrize("gap", [30, 120])
def test_a_session_over_several_hours_counts_once_while_it_goes_on(gap):
    """Each of its events changes what the hours before know of it: where it ends and how long."""
    place = make_place(session_gap_minutes=gap)
    question = {
        "metrics": ["sessions", "visitors", "pageviews", "visit_duration", "exits"],
        "dimensions": ["page"],
    }
    for n in range(7):
        moment = EIGHT + minutes((gap - 1) * n)
        arrive(place, make_event(moment, page=f"/{n % 3}"), at=moment + minutes(1))
        answer, _ = answer_of(place, **question)
        assert answer.totals["sessions"] == 1
        by_exit, _ = answer_of(place, metrics=["sessions", "events"], dimensions=["exit_page"])
        assert by_exit.rows == [{"exit_page": f"/{n % 3}", "sessions": 1, "events": n + 1}]
    assert "d" in parts(place).values()


@pytest.mark.parametrize(
    ("zone", "date", "hours", "first"),
    [
        ("UTC", "2026-03-11", 24, "00:00"),
        ("Asia/Kolkata", "2026-03-11", 24, "18:30"),
        ("Europe/Berlin", "2026-03-29", 23, "23:00"),
        ("Europe/Berlin", "2026-10-25", 25, "22:00"),
        ("Australia/Lord_Howe", "2026-04-05", 25, "13:00"),
    ],
)
def test_hours_of_any_length_make_up_the_day(zone, date, hours, first):
    from properties.periods import day_start, next_start
    from properties.periods import zone as zone_of

    tz = zone_of(zone)
    start = day_start(datetime.fromisoformat(date).date(), tz)
    end = next_start("day", start, tz)
    halves = int((end - start) / minutes(30))
    events = [make_event(start + minutes(30 * n + 7), n % 9 + 1) for n in range(halves)]
    place = open_place(*events, at=end, timezone=zone)
    for grain, many in (("h", hours), ("q", 4)):
        rows = rows_of(place, grain)
        assert (len(rows), {row.state for row in rows}) == (many, {"d"})
        assert f"{rows[0].starts_at:%H:%M}" == first
        assert all(one.ends_at == two.starts_at for one, two in pairwise(rows))
        assert (rows[0].starts_at, rows[-1].ends_at) == (start, end)
    within = {"from": date, "to": date}
    for dimensions in (["source"], ["page", "time:hour"], ["exit_page"]):
        answer, read = answer_of(place, range=within, dimensions=dimensions)
        assert (answer.meta["route"], read) == ("columns", [])
        assert answer.totals["pageviews"] == halves


def test_parts_of_another_zone_go():
    from reports.rebuilding import mark_zone_change

    place = open_place(make_event(EIGHT), at=NOON)
    place.timezone = "Asia/Kolkata"
    place.save(update_fields=["timezone"])
    mark_zone_change(place, NOON)
    assert parts(place) == parts(place, "q") == columns_of(place) == {}
    roll_up(place, NOON)
    pack(place, NOON)
    assert parts(place)["07:30"] == "d"
    answer, _ = answer_of(place)
    assert (answer.meta["route"], answer.totals["visitors"]) == ("columns", 1)


def test_parts_whose_raw_events_are_erased_go():
    from reports.packing import forget_between
    from tracking.working import transaction_of_worker

    place = open_place(make_event(EIGHT), make_event(EIGHT + minutes(120), 2), at=NOON)
    with transaction_of_worker() as cursor:
        forget_between(cursor, place, EIGHT + minutes(10), EIGHT + minutes(11))
    assert parts(place) == {"10:00": "d"}
    assert parts(place, "q") == {}
    assert {start.hour for start, _ in columns_of(place)} == {10}


def test_a_block_that_is_packed_anew_while_a_page_reads_it_is_not_mixed_up():
    """Some of its columns are those of before, and have other lengths."""
    from accounts.tenancy import tenant
    from reports import blocks
    from reports.columns import Unfit

    place = open_place(make_event(EIGHT), at=NOON)
    day = EIGHT.replace(hour=0)
    with tenant(place.account_id), blocks.binary_cursor() as cursor:
        [found] = blocks.all_packed(cursor, place, blocks.Span(day, day + timedelta(days=1)))
        block = blocks.Block(found.span)
        blocks.read_columns(cursor, place, found.grain, [block], {blocks.LENGTHS})
        arrive(place, make_event(EIGHT + minutes(1), 2), at=NOON)
        with pytest.raises(Unfit, match="packed anew"):
            blocks.read_columns(cursor, place, found.grain, [block], {blocks.VISITOR})


def test_what_a_block_had_that_is_gone_meanwhile_is_not_taken_for_zero():
    """An hour goes when its day is packed, also between two questions of a page; the second one
    asks for other sums of the same values."""
    from accounts.tenancy import tenant
    from reports import queries
    from reports.kept import Kept

    place = packed_place(make_event(NOON, name="engagement", page="/a", scroll=60))
    with tenant(place.account_id):
        kept = Kept()
        for metric in ("time_on_page", "scroll_depth"):
            body = {"range": DAY, "metrics": [metric], "dimensions": ["page"]}
            question = queries.parse_question(place, body, NOW)
            answer = queries.ask(place, question, NOW, kept)
            execute("DELETE FROM columns WHERE property_id = %s", place)
    assert (answer.rows, answer.meta["route"]) == ([{"page": "/a", "scroll_depth": 0.6}], "raw")


def test_a_day_packed_between_two_questions_of_a_page_is_read_by_itself():
    """Its rows, which the first one has read, are in no order that packed columns have."""
    from accounts.tenancy import tenant
    from reports.kept import Kept
    from reports.queries import ask, parse_question

    place = make_place()
    drain(place, *(make_event(NOON, n, page=f"/{n % 2}", source="news") for n in range(1, 6)))
    roll_up(place)
    kept, by_both = Kept(), {"metrics": ["visitors"], "dimensions": ["page", "source"]}
    with tenant(place.account_id):
        ask(place, parse_question(place, by_both | {"range": DAY}, NOW), NOW, kept)
    assert not kept.blocks
    pack(place)
    within = {"from": "2026-03-10", "to": "2026-03-11"}
    with tenant(place.account_id):
        answer = ask(place, parse_question(place, by_both | {"range": within}, NOW), NOW, kept)
    assert sorted(row["visitors"] for row in answer.rows) == [2, 3]
    assert [block.version > 0 for block in kept.blocks.values()] == [True]


def test_the_hours_of_an_open_day_leave_a_month_short():
    """All blocks of a page's range are kept between its questions, also those of the open day."""
    from accounts.tenancy import tenant
    from reports import queries
    from reports.kept import Kept
    from reports.plans import Plan
    from reports.reading import Reader

    start = EIGHT.replace(hour=0)
    events = [make_event(start + timedelta(days=-n), 1) for n in range(1, 31)]
    events += [make_event(start + minutes(60 * n), 2) for n in range(23)]
    place = open_place(*events, at=start + minutes(23 * 60))
    with tenant(place.account_id):
        body = BY_SOURCE | {"range": {"from": "2026-02-09", "to": "2026-03-11"}}
        question = queries.parse_question(place, body, NOW)
        reader = Reader(place, Plan(question, question.range), set(), Kept())
    assert len(reader.packed) == 30 + 3 + 5  # days, quarters, hours
    assert reader.is_short


# -- what is in them -------------------------------------------------------------------------


def test_properties_of_events_have_columns(monkeypatch):
    from reports import packing

    place = packed_place(
        make_event(NOON, props=b'{"plan": "pro", "n": 1}'),
        make_event(NOON, 2, props=b'{"plan": null}'),
        make_event(NOON, 3, props=b'{"": "of no name"}'),
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


HOSTILE = ["", "NULL", "{NULL}", '"', "'", "\\", ",", "a\nb", "\x01\x7f", " ö ", "\U0001f600" * 50]


def test_texts_of_any_kind_come_back_from_rows_and_from_columns():
    place = make_place()
    drain(
        place, *(make_event(EIGHT, n + 1, page=text, device="tv") for n, text in enumerate(HOSTILE))
    )
    body = {"metrics": ["pageviews"], "dimensions": ["page", "device"], "limit": 100}
    for _ in range(2):
        answer, _ = answer_of(place, **body, filters=["is_not", "title", ["x"]])
        assert {row["page"] for row in answer.rows} == {text for text in HOSTILE if text}
        arrive(place, at=NOW)
    assert route(place) == "columns"


def test_many_rows_are_packed_in_parts(monkeypatch):
    """Also where more happened in a second than are taken at a time."""
    from reports import rows

    monkeypatch.setattr(rows, "AT_ONCE", 3)
    events = [make_event(EIGHT, n, page=f"/{n}") for n in range(1, 6)]
    events += [make_event(EIGHT + minutes(97 * n), 9, page=f"/{n % 4}") for n in range(9)]
    place = packed_place(*events)
    for dimensions in (["page"], ["exit_page"], ["page", "time:hour"]):
        answer, read = answer_of(place, dimensions=dimensions)
        assert (answer.meta["route"], read) == ("columns", [])
    assert answer.totals["pageviews"] == 14


def test_a_number_that_is_unknown_is_not_taken_for_another():
    from reports.blocks import binary_cursor
    from reports.columns import Unfit
    from reports.rows import _arrays

    text = sql.SQL("SELECT n, 0 FROM unnest(ARRAY[1, NULL, 3]) AS n")
    with transaction.atomic(), binary_cursor() as cursor, pytest.raises(Unfit, match="unknown"):
        list(_arrays(cursor, text, {}, [int]))


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
