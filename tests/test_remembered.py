"""What a process remembers of the texts of packed days: quicker, and never another answer."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest
from django.db import connections
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tests.people import new_key, new_link, new_property, with_key
from tests.streams import NOON, make_event
from tests.test_packing import NOW, ask, drain, pack, packed_place, roll_up
from tests.test_report_page import rows_of

DAY = {"from": "2026-03-11", "to": "2026-03-11"}
BY_PAGE = {"metrics": ["pageviews", "sessions"], "dimensions": ["page"], "range": DAY}

values = st.sets(st.sampled_from(["", "a", "b", "c", "ö", "\U0001f600", "/a/b"]))


@pytest.fixture(autouse=True)
def a_process_that_has_just_started(monkeypatch):
    from reports import packing, remembered

    monkeypatch.setattr(packing, "FEWEST", 1)
    monkeypatch.setattr(packing, "FEWEST_OF_PART", 1)
    remembered.forget_all()


@pytest.fixture
def read(monkeypatch):
    """The names of columns that were read, statement by statement."""
    from reports import blocks

    found = []
    original = blocks._read_columns

    def noting(cursor, place, grain, some, names):
        found.append(set(names))
        return original(cursor, place, grain, some, names)

    monkeypatch.setattr(blocks, "_read_columns", noting)
    return found


def pages(place, **body):
    answer = ask(place, NOW, **(BY_PAGE | body))
    assert answer.meta["route"] == "columns"
    return {row["page"]: row["pageviews"] for row in answer.rows}


def execute(statement, *values):
    with connections["worker"].cursor() as cursor:
        cursor.execute(statement, values)


def a_place(*paths):
    return packed_place(
        *(make_event(NOON, n, source="news", page=path) for n, path in enumerate(paths, 1))
    )


# -- dictionaries ------------------------------------------------------------------------------


def texts_of(some):
    from reports.columns import make_texts

    return make_texts(sorted(some), np.arange(len(some)))


@given(st.lists(values, min_size=1, max_size=4))
def test_a_known_dictionary_says_what_its_texts_say(dictionaries):
    from reports.dictionaries import Lexicon

    lexicon = Lexicon()
    for number, some in enumerate(dictionaries):
        lexicon.learn(str(number).encode(), texts_of(some))
    for number, some in enumerate(dictionaries):
        texts = texts_of(some)
        known = lexicon.recall(str(number).encode()).with_codes(texts.codes)
        codes = range(len(texts))
        assert len(known) == len(texts)
        assert [known.value(code) for code in codes] == [texts.value(code) for code in codes]
        assert known.values_at(texts.codes) == [texts.value(code) for code in texts.codes]
        assert texts.values_at(texts.codes) == known.values_at(texts.codes)
        assert known.marks_at(texts.codes).tolist() == texts.marks_at(texts.codes).tolist()
        for value in (b"", b"a", "ö".encode(), b"no such text"):
            assert known.find(value) == texts.find(value)
            assert known.is_any([value, b"c"]).tolist() == texts.is_any([value, b"c"]).tolist()


@given(st.lists(st.tuples(st.sampled_from(["read", "known", "other"]), values), max_size=8))
def test_dictionaries_are_merged_by_text_wherever_they_come_from(dictionaries):
    from reports.dictionaries import Lexicon, Merged

    merged, seen = Merged(), {}
    lexicons = {"known": Lexicon(), "other": Lexicon()}
    lexicons["other"].learn(b"first", texts_of(["z", "c", "a"]))  # so its numbers are others
    for number, (source, some) in enumerate(dictionaries):
        texts = texts_of(some)
        if source in lexicons:
            texts = lexicons[source].learn(str(number).encode(), texts)
        for code, of_text in enumerate(merged.numbers(texts).tolist()):
            assert seen.setdefault(texts.value(code), of_text) == of_text
            assert merged.value(of_text) == texts.value(code)
            assert merged.find(texts.value(code)) == of_text
        asked = np.array([*seen.values(), *reversed(seen.values())], dtype=np.uint32)
        assert merged.values_at(asked) == [*seen, *reversed(seen)]
    assert len(merged) == len(seen) == len(set(seen.values()))


def test_several_threads_learn_at_the_same_time():
    from reports.dictionaries import Lexicon, Merged

    lexicon = Lexicon()
    parts = [
        [f"/{number}" for number in range(start, start + 400)] for start in range(0, 4_000, 40)
    ]

    def learn(number):
        known = lexicon.learn(str(number).encode(), texts_of(parts[number]))
        merged = Merged()
        numbers = merged.numbers(known)
        return {merged.value(of_text) for of_text in numbers.tolist()}

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(learn, range(len(parts))))
    assert found == [{text.encode() for text in part} for part in parts]
    assert len(lexicon) == len({text for part in parts for text in part})


def test_two_texts_with_the_same_mark_are_not_taken_for_one(monkeypatch):
    from reports import columns, dictionaries

    lexicon = dictionaries.Lexicon()
    monkeypatch.setattr(columns, "mark_of", lambda value: b"8 bytes " + value.ljust(8))
    first = lexicon.learn(b"1", texts_of(["a"]))
    second = lexicon.learn(b"2", texts_of(["b"]))
    assert (first.value(0), second.value(0)) == (b"a", b"b")
    assert lexicon.recall(b"2") is None


def test_what_is_looked_for_is_found_by_its_whole_mark(monkeypatch):
    """Half of it somebody may choose, so that a filter on one page would let another one pass."""
    from reports import columns, dictionaries

    def alike(value):
        return b"8 bytes " + value.ljust(8)

    monkeypatch.setattr(columns, "mark_of", alike)
    merged = dictionaries.Merged()
    merged.numbers(texts_of(["a"]))
    assert (merged.find(b"a"), merged.find(b"b")) == (0, None)
    known = dictionaries.Lexicon().learn(b"1", texts_of(["a"])).with_codes(np.zeros(2, int))
    assert (known.find(b"a"), known.find(b"b")) == (0, None)
    assert known.is_any([b"b"]).tolist() == texts_of(["a"]).at([0, 0]).is_any([b"b"]).tolist()


@pytest.mark.parametrize(("lexicons", "days", "many", "new"), [(200, 3, 2, 1), (1, 9, 3000, 300)])
def test_a_lexicon_says_what_it_weighs(lexicons, days, many, new):
    from reports.columns import pack_dictionary, unpack_dictionary
    from reports.dictionaries import Lexicon

    packed = [
        pack_dictionary(texts_of([f"/shop/article-{number + new * day}" for number in range(many)]))
        for day in range(days)
    ]
    tracemalloc.start()
    try:
        made = [Lexicon() for _ in range(lexicons)]
        for lexicon in made:
            for number, bits in enumerate(packed):
                lexicon.learn(str(number).encode(), unpack_dictionary(bits))
            for number in range(len(lexicon)):
                lexicon.value(number)
            lexicon.marks_at(np.arange(1))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.8 < taken / sum(lexicon.weight for lexicon in made) < 1.2


def test_a_dictionary_that_is_too_large_is_not_held(monkeypatch):
    from reports import dictionaries

    lexicon = dictionaries.Lexicon()
    monkeypatch.setattr(dictionaries, "MOST_OF_ONE", 20_000)
    large = texts_of([f"/{number}" for number in range(1_000)])
    assert lexicon.learn(b"1", large) is large
    assert lexicon.recall(b"1") is None
    assert lexicon.learn(b"2", texts_of(["/a", "/b"])).value(0) in (b"/a", b"/b")
    assert len(lexicon) == len(lexicon.recall(b"2")) == 2


# -- questions ---------------------------------------------------------------------------------


def test_a_dictionary_is_read_once_by_a_process(read):
    place = a_place("/", "/a", "/a")
    assert pages(place) == {"/": 1, "/a": 2}
    assert any("texts:page" in names for names in read)
    read.clear()
    assert pages(place) == {"/": 1, "/a": 2}
    assert pages(place, filters=["is", "source", ["news"]]) == {"/": 1, "/a": 2}
    assert read
    assert not any("texts:page" in names for names in read)


def test_only_what_is_not_known_is_read(read):
    """A page's texts may be known where its title's are not."""
    place = a_place("/", "/a")
    pages(place)
    read.clear()
    for _ in range(2):
        assert pages(place, filters=["is_not", "title", ["x"]]) == {"/": 1, "/a": 1}
    of_texts = [{name for name in names if name.startswith("texts:")} for names in read]
    assert [names for names in of_texts if names] == [{"texts:title"}]


def test_a_segment_reads_it_as_little(read):
    place = a_place("/", "/a", "/a")
    body = {"metrics": ["visitors"], "range": DAY, "filters": ["is", "page", ["/a"]]}
    body["filters"] = ["and", body["filters"], ["is", "source", ["news"]]]
    for _ in range(2):
        assert ask(place, NOW, **body).totals == {"visitors": 2}
    assert len([names for names in read if "texts:page" in names]) == 1


def test_what_is_packed_anew_is_seen_at_once(read):
    place = a_place("/", "/a")
    assert pages(place) == {"/": 1, "/a": 1}
    drain(place, make_event(NOON + timedelta(minutes=1), 7, page="/new"))
    roll_up(place)
    pack(place)
    assert pages(place) == {"/": 1, "/a": 1, "/new": 1}
    execute("DELETE FROM events WHERE property_id = %s AND page = '/a'", place.pk)
    execute("UPDATE packed_days SET state = 'w' WHERE property_id = %s", place.pk)
    pack(place)
    assert pages(place) == {"/": 1, "/new": 1}


def test_what_is_packed_anew_between_two_readings_is_not_put_together(monkeypatch):
    """Which row has which text was read, and the texts are those of another packing."""
    from reports import blocks

    place = a_place("/", "/a")
    original, late = blocks._read_columns, [make_event(NOON + timedelta(minutes=1), 7, page="/new")]

    def packing_before_texts(cursor, of, grain, some, names):
        if "texts:page" in names and late:
            drain(place, late.pop())
            roll_up(place)
            pack(place)
        return original(cursor, of, grain, some, names)

    monkeypatch.setattr(blocks, "_read_columns", packing_before_texts)
    answer = ask(place, NOW, **BY_PAGE)
    assert not late and answer.meta["route"] == "raw"
    assert {row["page"] for row in answer.rows} == {"/", "/a", "/new"}
    assert pages(place) == {"/": 1, "/a": 1, "/new": 1}


def test_who_may_not_see_a_day_gets_nothing_that_is_remembered():
    from accounts.tenancy import tenant
    from reports import blocks
    from reports.columns import Unfit

    place, other = a_place("/secret"), new_property()
    assert pages(place) == {"/secret": 1}
    with tenant(place.account_id), blocks.binary_cursor() as cursor:
        [found] = blocks.all_packed(cursor, place, blocks.Span(NOON, NOON + timedelta(hours=1)))
    block = blocks.Block(found.span)
    with tenant(other.account_id), blocks.binary_cursor() as cursor, pytest.raises(Unfit):
        blocks.read_columns(cursor, place, found.grain, [block], {"event:page"})
    assert not block.data


def test_days_packed_before_there_were_digests_are_read_as_ever(read):
    place = a_place("/", "/a")
    execute("DELETE FROM columns WHERE property_id = %s AND name LIKE 'digest:%%'", place.pk)
    for _ in range(2):
        read.clear()
        assert pages(place) == {"/": 1, "/a": 1}
        assert any("texts:page" in names for names in read)


def test_nothing_is_remembered_for_longer_than_an_hour(monkeypatch, read):
    from reports import remembered

    place = a_place("/")
    remembered.lexicon(0, "texts:page")  # of somebody who does not come back
    pages(place)
    monkeypatch.setattr(remembered, "OLDEST", -1)
    read.clear()
    pages(place)
    assert any("texts:page" in names for names in read)
    assert {key for key, _ in remembered._lexicons} == {place.pk}


def test_lexicons_are_not_more_than_can_be_looked_through(monkeypatch):
    from reports import remembered

    monkeypatch.setattr(remembered, "MOST_LEXICONS", 2)
    for number in (0, 1, 0, 2):
        remembered.lexicon(number, "texts:page")
    assert [*remembered._lexicons] == [(0, "texts:page"), (2, "texts:page")]


def test_what_nobody_has_asked_for_goes_first(monkeypatch):
    from reports import remembered

    for number in range(3):
        remembered.lexicon(number, "texts:page").learn(b"1", texts_of([f"/{number}"]))
    kept = remembered.lexicon(0, "texts:page")
    monkeypatch.setattr(remembered, "MOST", 2 * kept.weight)
    assert remembered.lexicon(2, "texts:page").recall(b"1") is not None
    assert remembered.lexicon(0, "texts:page") is kept
    assert remembered.lexicon(1, "texts:page").recall(b"1") is None


def test_a_lexicon_that_is_full_learns_no_more_and_answers_are_the_same(monkeypatch, read):
    from reports import dictionaries

    monkeypatch.setattr(dictionaries, "MOST_OF_ONE", -1)
    place = a_place("/", "/a")
    for _ in range(2):
        read.clear()
        assert pages(place) == {"/": 1, "/a": 1}
        assert any("texts:page" in names for names in read)


@pytest.mark.parametrize("operator", ["is", "is_not", "contains", "matches", "has_done"])
def test_every_way_tells_the_same_from_memory(operator, read):
    """A page behind a share link, its file and the API; the texts of days of another property are
    the same as here."""
    from reports import remembered

    place, other = a_place("/", "/a", "/a"), a_place("/", "/a", "/a")
    drain(other, make_event(NOON + timedelta(days=1), 9, page="/secret"))
    roll_up(other)
    pack(other)
    modules, day = ("content", "sources"), NOON.date()
    link = new_link(place, *modules, downloads=True, first=day, last=day)
    key = new_key(place.account, "content:view", place=place)
    body = BY_PAGE | {"filters": [operator, "page", ["/a"]], "metrics": ["pageviews"]}

    def told():
        chosen = f"?range=all&filter=page:{operator}:/a&filter=source:is:news"
        page = Client().get(f"/share/{link[1]}/pages/{chosen}").content.decode()
        file = Client().get(f"/share/{link[1]}/pages/pages.csv{chosen}").getvalue()
        url = f"/api/v1/properties/{place.key}/query"
        rows = with_key(key[1]).post(url, body, "application/json").json()["rows"]
        return rows_of(page, "pages"), file, rows

    read.clear()
    cold = told()
    assert any("texts:page" in names for names in read)
    pages(other, range={"from": "2026-03-11", "to": "2026-03-12"})
    assert {of for of, _ in remembered._lexicons} == {place.pk, other.pk}
    assert told() == told() == cold
    assert cold[0] and cold[2]
    assert b"/secret" not in cold[1]


def test_a_file_remembers_nothing(read):
    """It is made in bounded memory."""
    from accounts.tenancy import tenant
    from reports import remembered
    from reports.queries import ask_rows, parse_question

    place = a_place("/", "/a")
    with tenant(place.account_id):
        _, rows = ask_rows(place, parse_question(place, BY_PAGE, NOW))
        assert len(list(rows)) == 2
    assert any("texts:page" in names for names in read)
    assert not remembered._lexicons
