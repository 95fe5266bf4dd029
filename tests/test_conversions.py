"""Conversions against the definition, read word for word in Python, by every route."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from unittest.mock import patch

import pytest

from tests.history import Happening, at, roll_up, visits, write
from tests.people import new_property
from tests.test_queries import NOW, ask

NOON = at("2026-04-13T12:00")
DAYS = {"from": "2026-04-12", "to": "2026-04-14"}
RATES = ["conversions", "conversion_rate", "converted_visitors", "visitor_conversion_rate"]
GOALS = [
    {"name": "Sign-up", "kind": "event", "event": "signup"},
    {"name": "Thanks", "kind": "page", "page": "/thanks*"},
    {"name": "Large", "kind": "value", "minimum": 50},
    {"name": "Large sign-up", "kind": "value", "minimum": 20, "event": "signup"},
    {"name": "Never", "kind": "event", "event": "nothing"},
]


def later(**kwargs):
    return NOON + timedelta(**kwargs)


HISTORY = [
    Happening(later(hours=-20), 1, source="Google"),
    Happening(later(hours=-20, minutes=5), 1, "signup", "/join", "Google"),
    Happening(later(hours=-20, minutes=6), 1, "signup", "/join", "Google", revenue="20.00"),
    Happening(later(), 1, page="/thanks/1", source="Direct"),
    Happening(later(), 2, source="Google", texts={"country": "DE"}),
    Happening(later(minutes=5), 2, "purchase", "/pay", "Google", revenue="50"),
    Happening(later(minutes=6), 2, page="/thanks", source="Google"),
    # Over midnight: the session of the 12th is one of the 12th, and so is what it reached.
    Happening(later(hours=-12, minutes=-5), 3, source="news", texts={"country": "FR"}),
    Happening(later(hours=-12, minutes=5), 3, "signup", "/join", "news"),
    Happening(later(hours=2), 4, "conversion", source="news", props={"goal": "Sign-up"}),
    Happening(later(hours=3), 5, source="Google", texts={"country": "DE"}),
    Happening(later(hours=4), 6, "purchase", source="x", revenue="90", texts={"currency": "USD"}),
    Happening(later(days=2), 5, "signup", source="Google"),  # behind the range
    Happening(later(), -1, "signup", source="Google", bot=True),
]


@pytest.fixture(scope="module")
def place(django_db_blocker, django_db_setup):
    from properties.models import Goal
    from reports import packing

    with django_db_blocker.unblock():
        place = new_property()
        for goal in GOALS:
            Goal.objects.create(account=place.account, property=place, **goal)
        write(place, HISTORY)
        roll_up(place, HISTORY)
        with patch.object(packing, "FEWEST", 1):
            packing.pack_all(datetime.now(UTC), place)
        yield place


def reached(event):
    """The goals that an event reaches, by properties/goals.py."""
    from properties.goals import Happened, matches
    from properties.models import Goal

    amount = event.revenue and event.text("currency") in ("", "EUR")
    happened = Happened(
        event.name, event.page, Decimal(event.revenue) if amount else None,
        (event.props or {}).get("goal", ""),
    )  # fmt: skip
    return [goal["name"] for goal in GOALS if matches(Goal(**goal), happened)]


def expected(split, holds=lambda visit: True, bots=False):
    """By value of `split` ("goal", a text of the session, or none), from the definitions."""
    rows = defaultdict(
        lambda: {"sessions": set(), "visitors": set(), "all": set(), "everybody": set()}
    )

    def inside(moment):
        return at("2026-04-12T00:00") <= moment < at("2026-04-15T00:00")

    for number, visit in enumerate(visits(e for e in HISTORY if e.bot == bots)):
        events = [event for event in visit.events if inside(event.time)]
        if not events or not holds(visit):
            continue
        names = [goal["name"] for goal in GOALS]
        keys = names if split == "goal" else [visit.text(split) if split else ""]
        for key in keys:
            row = rows[key]
            row["everybody"].add(visit.visitor)
            if inside(visit.started_at):
                row["all"].add(number)
            if any(reached(e) and (split != "goal" or key in reached(e)) for e in events):
                row["visitors"].add(visit.visitor)
                if inside(visit.started_at):
                    row["sessions"].add(number)
    return {key: numbers(row) for key, row in rows.items()}


def numbers(row):
    sessions, visitors = len(row["sessions"]), len(row["visitors"])
    return {
        "conversions": sessions,
        "conversion_rate": sessions / len(row["all"]) if row["all"] else None,
        "converted_visitors": visitors,
        "visitor_conversion_rate": visitors / len(row["everybody"]),
    }


def in_file(place, split, bots):
    from accounts.tenancy import tenant
    from reports.queries import ask_rows, parse_question

    body = {"metrics": RATES, "dimensions": [split], "range": DAYS, "bots": bots}
    with tenant(place.account_id):
        count, rows = ask_rows(place, parse_question(place, body, NOW))
        found = list(rows)
    assert count == len(found)
    return found


def in_file_compared(place, body):
    from accounts.tenancy import tenant
    from reports.queries import ask_rows_compared, parse_question

    with tenant(place.account_id):
        _, pairs = ask_rows_compared(place, parse_question(place, body, NOW), NOW)
        return list(pairs)


@pytest.mark.parametrize("bots", ["exclude", "only"])
@pytest.mark.parametrize("split", ["source", "country", "entry_page", "goal"])
def test_conversions_are_what_their_definition_says(place, split, bots):
    answer = ask(place, metrics=RATES, dimensions=[split], range=DAYS, bots=bots)
    assert in_file(place, split, bots) == answer.rows
    wanted = expected(split, bots=bots == "only")
    wanted = {key: row for key, row in wanted.items() if key or split not in ("entry_page",)}
    assert {row.pop(split): row for row in answer.rows} == wanted
    assert answer.totals == expected("", bots=bots == "only")[""]
    ranked = [row["conversions"] for row in answer.rows]
    assert ranked == sorted(ranked, reverse=True)


def test_a_filter_narrows_those_asked_and_those_who_did(place):
    answer = ask(place, metrics=RATES, range=DAYS, filters=["is", "country", ["DE"]])
    assert answer.totals == expected("", lambda visit: visit.text("country") == "DE")[""]
    goal = {"metrics": ["sessions", "conversions", "conversion_rate"], "range": DAYS}
    large = ask(place, **goal, filters=["is", "goal", ["Large", "Thanks"]])
    assert large.totals == {"sessions": 2, "conversions": 2, "conversion_rate": 1.0}
    other = ask(place, **goal, filters=["is_not", "goal", ["Sign-up"]])
    assert other.totals["conversions"] == 2


@pytest.mark.parametrize(
    ("minimum", "revenue", "currency", "is_reached"),
    [
        ("50", "50", "EUR", True),
        ("50", "5e1", "EUR", True),
        ("50", "50.000000", "EUR", True),
        ("50", "49.999999", "EUR", False),
        ("50", "50", "USD", False),
        ("50", "-50", "EUR", False),
        ("50", None, "", False),
        ("50", None, "EUR", False),
        ("0", "0", "EUR", True),
        ("0", "-0", "EUR", True),
        ("0", "-0.000001", "EUR", False),
        # As floats, these two amounts are one.
        ("999999999999.9999", "999999999999.999900", "EUR", True),
        ("999999999999.9999", "999999999999.999849", "EUR", False),
    ],
)
def test_what_an_event_brought_is_compared_to_the_last_digit(
    minimum, revenue, currency, is_reached
):
    """From columns that are packed, from rows, and by Postgres; alone and for the visitor."""
    from properties.models import Goal
    from reports import packing

    place = new_property()
    Goal.objects.create(
        account=place.account, property=place, name="Worth", kind="value", minimum=minimum
    )
    event = Happening(NOON, 1, "order", revenue=revenue, texts={"currency": currency})
    write(place, history := [event, Happening(later(days=1), 1), Happening(NOON, 2)])
    roll_up(place, history)
    bots = Happening(NOON, -1, "order", revenue=revenue, texts={"currency": currency}, bot=True)
    write(place, [bots])
    reached = ["is", "goal", ["Worth"]]
    sees = {"metrics": ["visitors"], "range": DAYS}

    def found(**more):
        body = {"metrics": ["events", "sessions"], "range": DAYS, "filters": reached}
        several = [
            ask(place, **body, **more),
            ask(place, **sees, filters=reached, **more),
            ask(place, **sees, filters=["visitor", reached], **more),
        ]
        numbers = [number for answer in several for number in answer.totals.values()]
        return numbers, [answer.meta["route"] for answer in several]

    with patch.object(packing, "FEWEST", 1):
        routes = []
        for _ in range(2):
            numbers, route = found()
            assert numbers == [is_reached] * 4
            routes.append(route)
            packing.pack_all(datetime.now(UTC), place)
    assert routes == [["raw"] * 3, ["columns"] * 3]
    assert found(bots="only") == ([is_reached] * 4, ["raw"] * 3)


def test_where_it_was_reached_and_when(place):
    pages = ask(place, metrics=["conversions"], dimensions=["page"], range=DAYS)
    assert {row["page"]: row["conversions"] for row in pages.rows} == {
        "/join": 2, "/pay": 1, "/thanks": 1, "/thanks/1": 1, "/": 1,
    }  # fmt: skip
    days = ask(
        place, metrics=["conversions", "converted_visitors"], dimensions=["time:day"], range=DAYS,
        compare="previous",
    )  # fmt: skip
    assert [(row["conversions"], row["converted_visitors"]) for row in days.rows] == [
        (2, 1), (3, 4), (0, 0),
    ]  # fmt: skip
    assert days.compared["totals"] == {
        "conversions": None,
        "converted_visitors": None,
    }  # nobody counted


def test_two_dimensions_order_and_limit(place):
    body = {"metrics": ["conversions", "sessions"], "range": DAYS}
    both = ask(place, **body, dimensions=["goal", "source"], order_by=[["source", "desc"]], limit=2)
    assert both.rows == [
        {"goal": "Sign-up", "source": "news", "conversions": 2, "sessions": 2},
        {"goal": "Large", "source": "Google", "conversions": 1, "sessions": 1},
    ]
    least = ask(place, **body, dimensions=["source"], order_by=[["conversions", "asc"]], limit=1)
    assert least.rows == [{"source": "x", "conversions": 0, "sessions": 1}]


def test_without_a_goal_nothing_is_known():
    place = new_property()
    write(place, history := [Happening(NOON, 1)])
    roll_up(place, history)
    body = {"metrics": ["sessions", *RATES], "range": "2026-04-13"}
    assert ask(place, **body).totals == {"sessions": 1} | dict.fromkeys(RATES)
    assert ask(place, **body, dimensions=["goal"]).rows == []
    [day] = ask(place, **body, dimensions=["time:day"]).rows
    assert day == {"time:day": "2026-04-13", "sessions": 1} | dict.fromkeys(RATES)
    # In each row as in the totals, here and in the range compared with, on a page and in a file.
    by_source = body | {
        "dimensions": ["source"],
        "compare": {"from": "2026-04-13", "to": "2026-04-13"},
    }
    answer = ask(place, **by_source)
    unsaid = {"source": "Direct", "sessions": 1} | dict.fromkeys(RATES)
    assert (answer.rows, answer.compared["rows"]) == ([unsaid], [unsaid])
    before = {"compare": {"from": "2026-04-14", "to": "2026-04-14"}}  # nobody came
    nobody = ask(place, **by_source | before).compared["rows"]
    assert nobody == [unsaid | {"sessions": 0}]
    del unsaid["source"]
    for other, sessions in (({}, 1), (before, 0)):
        [(row, beside)] = in_file_compared(place, by_source | other)
        assert row == {"source": "Direct"} | unsaid
        assert beside == unsaid | {"sessions": sessions}


def test_the_module_of_goals_is_needed_and_the_route_of_the_dearest_part_is_named(place):
    from reports import queries

    def asked(**body):
        return queries.parse_question(place, body | {"range": DAYS}, NOW)

    assert asked(metrics=["conversions"], dimensions=["source"]).modules() == ["sources", "events"]
    assert asked(metrics=["sessions"], dimensions=["goal"]).modules() == ["events"]
    assert ask(place, metrics=["conversions"], range=DAYS).meta["route"] == "columns"
    assert ask(place, metrics=["sessions"], range=DAYS).meta["route"] == "rolled"
