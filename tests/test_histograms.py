"""How numbers of events are spread: bins and the line about them, against Python's own."""

import statistics
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.history import Happening, at, roll_up, write
from tests.people import new_key, new_property, with_key

NUMBERS = st.decimals(-(10**9), 10**9, allow_nan=False, places=3) | st.integers(-50, 50).map(
    Decimal
)


@given(counts=st.dictionaries(NUMBERS, st.integers(1, 9), min_size=1), most=st.integers(2, 100))
@settings(max_examples=60, deadline=None)
def test_bins_hold_every_number_once_and_the_line_is_that_of_statistics(counts, most):
    from reports.histograms import edges, fill, spread

    found = edges(list(counts), most)
    bins = fill(counts, found)
    assert 1 <= len(bins) <= most
    assert len({each.end - each.start for each in bins}) == 1
    for each in bins:
        held = [events for number, events in counts.items() if each.start <= number < each.end]
        assert each.events == sum(held)
    assert sum(each.events for each in bins) == sum(counts.values())
    assert bins[0].events
    assert bins[-1].events

    numbers = [number for number, events in counts.items() for _ in range(events)]
    line = spread(counts, 3)
    assert (line.numbers, line.missing) == (len(numbers), 3)
    assert (line.least, line.most) == (min(numbers), max(numbers))
    assert line.median == statistics.median(numbers)
    exact = sum(map(Fraction, numbers)) / len(numbers)
    assert abs(Fraction(line.mean) - exact) < Fraction(1, 10**60)


def test_bins_are_round():
    from reports.histograms import edges

    def of(*numbers, most=20):
        return [float(edge) for edge in edges([Decimal(number) for number in numbers], most)]

    assert of("1", "4") == [1, 2, 3, 4, 5]
    assert of("7") == [7, 8]
    assert of("0.1", "0.9", most=5) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert of("3", "199", most=10) == [0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200]
    assert of("-7", "7", most=4) == [-10, -5, 0, 5, 10]
    assert of("-1", "1", most=2) == [-2, 0, 2]
    assert edges([], 20) == []


def test_numbers_of_hundreds_of_digits_have_bins_like_others():
    from reports.histograms import edges, fill, parse

    for texts in (
        ("1", "1." + "0" * 150 + "1"),
        ("9e18", "-1e-999"),
        ("0." + "9" * 390 + "e-999",),
    ):
        numbers = [parse(text) for text in texts]
        found = edges(numbers, 20)
        assert sorted(set(found)) == found
        assert sum(each.events for each in fill(dict.fromkeys(numbers, 2), found)) == 2 * len(texts)


def test_what_is_a_number():
    from reports.histograms import parse, spread

    for text in ("12.50", "-3", "+4", "1e3", "0", "007"):
        assert parse(text) == Decimal(text)
    for text in ("", "NaN", "inf", "1_000", "١٢", "12,5", "0x1f", "true", "1e99", "9" * 401, " 1"):
        assert parse(text) is None
    assert spread({}, 2).mean is None


# -- by the API ------------------------------------------------------------------------------------

DAY = "2026-04-14"
NOON = at("2026-04-14T12:00")


def bought(visitor, price, time=NOON, name="buy", **more):
    return Happening(time, visitor, name, props=price if price is None else {"p": price}, **more)


@pytest.fixture
def place(acme):
    place = new_property(acme)
    history = [
        *(bought(1, price) for price in (3, 3.5, "12.50", 19, -4)),
        *(bought(2, nothing) for nothing in ("much", True, [5], None, "")),
        bought(3, 40, name="view"),
        bought(3, 9, time=at("2026-04-13T12:00")),
        bought(-1, 1_000, bot=True),
    ]
    write(place, history)
    roll_up(place, history)
    return place


def ask(place, body, status=200, right="events:view"):
    response = with_key(new_key(place.account, right)[1]).post(
        f"/api/v1/properties/{place.key}/histogram", body, content_type="application/json"
    )
    assert response.status_code == status, response.content
    return response.json()


def test_an_answer_counts_every_event_once_with_filters_bots_and_comparison(place):
    body = {"property": "props:p", "range": DAY, "bins": 5}
    of_buy = body | {"filters": ["is", "event", ["buy"]]}
    answer = ask(place, of_buy | {"compare": "previous"})
    assert answer["bins"] == [
        {"from": -5, "to": 0, "events": 1},
        {"from": 0, "to": 5, "events": 2},
        {"from": 5, "to": 10, "events": 0},
        {"from": 10, "to": 15, "events": 1},
        {"from": 15, "to": 20, "events": 1},
    ]
    line = {name: answer[name] for name in ("numbers", "missing", "min", "max", "mean", "median")}
    assert line == {
        "numbers": 5, "missing": 5, "min": -4, "max": 19, "mean": 6.8, "median": 3.5
    }  # fmt: skip
    assert answer["meta"]["exact"] is True
    assert "bin" in answer["meta"]["definitions"]["histogram"]
    before = answer["compare"]
    assert [each["events"] for each in before["bins"]] == [0, 0, 1, 0, 0]
    assert (before["numbers"], before["missing"], before["mean"]) == (1, 0, 9)

    assert ask(place, body)["max"] == 40
    assert ask(place, of_buy | {"bots": "include"})["max"] == 1000
    assert ask(place, of_buy | {"bots": "only"})["numbers"] == 1
    empty = ask(place, body | {"property": "props:q"})
    assert (empty["bins"], empty["numbers"], empty["missing"]) == ([], 0, 11)
    assert (empty["mean"], empty["median"]) == (None, None)


def test_a_question_that_is_none_says_what_to_write(place):
    for body, field in [
        ({}, "property"),
        ({"property": "page"}, "property"),
        ({"property": "props:"}, "dimensions"),
        ({"property": "props:p", "bins": 1}, "bins"),
        ({"property": "props:p", "bins": True}, "bins"),
        ({"property": "props:p", "metrics": ["visitors"]}, "metrics"),
        ({"property": "props:p", "filters": ["is"]}, "filters"),
    ]:
        assert ask(place, body, 400)["error"]["field"] == field
    assert ask(place, [], 400)["error"]["code"] == "shape"
    ask(place, {"property": "props:p"}, 403, "audience:view")
    body = {"property": "props:p", "filters": ["is", "page", ["/"]]}
    ask(place, body, 403)


def test_more_different_values_than_can_be_counted_are_refused(place, monkeypatch):
    from reports import histograms

    monkeypatch.setattr(histograms, "MOST_DIFFERENT", 3)
    body = {"property": "props:p", "range": DAY}
    assert ask(place, body, 422)["error"]["code"] == "too_many_values"
