"""Goals: which events reach them, and the page and the API that keep them."""

from decimal import Decimal
from typing import Any

import pytest

from tests.people import new_key, new_property, signed_in_as, with_key
from tests.test_access import new_goal, seen

JSON = {"content_type": "application/json"}


# -- which events reach a goal ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "text", "fit"),
    [
        ("/thanks", "/thanks", True),
        ("/thanks", "/thanks/", False),
        ("/thanks*", "/thanks/", True),
        ("/order/*", "/order/7/done", True),
        ("/order/*", "/order", False),
        ("/order/*/done", "/order/7/done", True),
        ("/order/*/done", "/order/done", False),
        ("*", "", True),
        ("**", "/a", True),
        ("*done", "/done/done", True),
        ("*a*b*", "/xaxb", True),
        ("*a*b*", "/xbxa", False),
        ("/a*a", "/a", False),
        ("/ab*ba", "/aba", False),
        ("/a.c", "/abc", False),
        ("/[a]*", "/[a]b", True),
        ("/A", "/a", False),
        ("*a" * 30 + "b", "a" * 5_000, False),
    ],
)
def test_a_star_stands_for_anything(pattern: str, text: str, fit: bool) -> None:
    from properties.goals import fits

    assert fits(text, pattern) is fit


def goal(kind: str, **fields: Any) -> Any:
    from properties.models import Goal

    return Goal(name="Newsletter", kind=kind, **fields)


@pytest.mark.parametrize(
    ("made", "happened", "reached"),
    [
        (("event", {"event": "signup"}), {"name": "signup"}, True),
        (("event", {"event": "signup"}), {"name": "Signup"}, False),
        (("event", {"event": "signup"}), {"name": "conversion", "goal": "Newsletter"}, True),
        (("event", {"event": "signup"}), {"name": "conversion", "goal": "Other"}, False),
        (("event", {"event": "signup"}), {"name": "buy", "goal": "Newsletter"}, False),
        (("event", {"event": ""}), {"name": ""}, False),
        (("page", {"page": "/thanks*"}), {"name": "pageview", "page": "/thanks/1"}, True),
        (("page", {"page": "/thanks*"}), {"name": "click", "page": "/thanks/1"}, False),
        (("page", {"page": "/thanks"}), {"name": "pageview", "page": "/"}, False),
        (("value", {"minimum": Decimal(50)}), {"name": "buy", "amount": Decimal("50.00")}, True),
        (("value", {"minimum": Decimal(50)}), {"name": "buy", "amount": Decimal("49.99")}, False),
        (("value", {"minimum": Decimal(50)}), {"name": "buy"}, False),
        (("value", {"minimum": Decimal(0)}), {"name": "buy", "amount": Decimal(0)}, True),
        (("value", {"minimum": Decimal(0)}), {"name": "buy", "amount": Decimal(-1)}, False),
        (
            ("value", {"minimum": Decimal(5), "event": "purchase"}),
            {"name": "purchase", "amount": Decimal(5)},
            True,
        ),
        (
            ("value", {"minimum": Decimal(5), "event": "purchase"}),
            {"name": "refund", "amount": Decimal(5)},
            False,
        ),
        (
            ("value", {"minimum": Decimal(5), "event": "purchase"}),
            {"name": "conversion", "goal": "Newsletter", "amount": Decimal(5)},
            True,
        ),
    ],
)
def test_what_reaches_a_goal(made: Any, happened: dict[str, Any], reached: bool) -> None:
    from properties.goals import Happened, matches

    kind, fields = made
    assert matches(goal(kind, **fields), Happened(**happened)) is reached


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("/thanks", "/thanks"),
        (" https://example.com/thanks?x=1#y ", "/thanks"),
        ("https://example.com", "/"),
        ("*/done", "*/done"),
        ("/go?to=https://x.example/", "/go"),
        ("", ""),
    ],
)
def test_an_address_becomes_a_page(written: str, kept: str) -> None:
    from properties.inputs import goal_page

    assert goal_page(written) == kept


# -- the page --------------------------------------------------------------------------------------

GOOD = {"name": "Newsletter", "kind": "event", "event": "signup", "page": "", "minimum": ""}


def test_goals_are_added_changed_and_deleted(alice: Any, shop: Any) -> None:
    client = signed_in_as(alice)
    path = f"/p/{shop.key}/goals/"
    assert "No goal yet" in client.get(path).content.decode()
    assert client.post(path, GOOD).status_code == 302
    kept = shop.goals.get()
    page = client.get(path).content.decode()
    assert "Newsletter" in page
    assert "<code>signup</code> happens" in page
    change = GOOD | {"kind": "value", "minimum": "12.50", "page": "/ignored"}
    assert client.post(f"{path}{kept.pk}/", change).status_code == 302
    kept.refresh_from_db()
    assert (kept.kind, kept.event, kept.page, kept.minimum) == ("value", "signup", "", 12.5)
    assert "brings at least 12.50 EUR" in client.get(path).content.decode()
    assert client.post(f"{path}{kept.pk}/delete/").status_code == 302
    assert not shop.goals.exists()


@pytest.mark.parametrize(
    ("fault", "field", "says"),
    [
        ({"name": "\u200b"}, "name", "Write a name"),
        ({"event": ""}, "event", "Name the event"),
        ({"kind": "page", "page": ""}, "page", "Name the page"),
        ({"kind": "page", "page": "thanks"}, "page", "is no page"),
        ({"kind": "value"}, "minimum", "from how much"),
        ({"kind": "value", "minimum": "-1"}, "minimum", "Write 0 or more"),
        ({"kind": "value", "minimum": "NaN"}, "minimum", "Enter a number"),
        ({"kind": "dream"}, "kind", "Select a valid choice"),
        ({"name": "Taken"}, "name", "Another goal has this name"),
    ],
)
def test_a_fault_is_said_and_what_was_typed_stays(
    fault: dict[str, str], field: str, says: str, alice: Any, shop: Any
) -> None:
    client = signed_in_as(alice)
    path = f"/p/{shop.key}/goals/"
    assert client.post(path, GOOD | {"name": "Taken"}).status_code == 302
    page = client.post(path, GOOD | fault)
    assert page.status_code == 200
    assert says in str(page.context["form"].errors[field])
    for name, typed in (GOOD | fault).items():
        assert page.context["form"][name].value() == typed
    assert shop.goals.count() == 1


def test_another_property_may_have_a_goal_of_the_same_name_and_none_sees_it(
    alice: Any, shop: Any, blog: Any
) -> None:
    client = signed_in_as(alice)
    for place in (shop, blog):
        assert client.post(f"/p/{place.key}/goals/", GOOD).status_code == 302
    theirs = blog.goals.get().pk
    path = f"/p/{shop.key}/goals/"
    assert seen(client.get(f"{path}{theirs}/")) == seen(client.get(f"{path}{2**62}/"))
    assert client.post(f"{path}{theirs}/", GOOD).status_code == 404
    assert client.post(f"{path}{theirs}/delete/").status_code == 404
    assert client.get(f"{path}{10**30}/").status_code == 404
    assert blog.goals.exists()


def test_a_property_has_a_hundred_goals_at_most(alice: Any, shop: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("properties.goals.MOST", 1)
    client = signed_in_as(alice)
    path = f"/p/{shop.key}/goals/"
    assert client.post(path, GOOD).status_code == 302
    page = client.post(path, GOOD | {"name": "Second"})
    assert "1 goals are the most" in str(page.context["form"].non_field_errors())
    assert client.post(f"{path}{shop.goals.get().pk}/", GOOD).status_code == 302


# -- the API ---------------------------------------------------------------------------------------


@pytest.fixture
def program(acme: Any) -> Any:
    _, secret = new_key(acme, "property:manage")
    return with_key(secret)


def test_the_api_keeps_goals_by_the_same_rules(program: Any, shop: Any) -> None:
    path = f"/api/v1/properties/{shop.key}/goals"
    made = program.post(path, {"name": "Thanks", "kind": "page", "page": "/thanks"}, **JSON)
    assert made.status_code == 201
    one = f"{path}/{made.json()['id']}"
    assert program.get(one).json() == made.json()
    assert program.get(path).json()["results"] == [made.json()]
    changed = program.patch(one, {"kind": "value", "minimum": "5"}, **JSON)
    assert changed.status_code == 200
    assert (changed.json()["minimum"], changed.json()["page"]) == ("5.0000", "")
    assert changed.json() == program.get(one).json()
    assert program.delete(one).status_code == 204
    assert program.get(one).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "A"}, "kind"),
        ({"name": "A", "kind": "event"}, "event"),
        ({"name": "A", "kind": "page", "page": "a b"}, "page"),
        ({"name": "A", "kind": "page", "page": "/\x00"}, "page"),
        ({"name": "A", "kind": "value", "minimum": -1}, "minimum"),
        ({"name": "A", "kind": "value", "minimum": "Infinity"}, "minimum"),
        ({"name": "A", "kind": "event", "event": "x", "property": 5}, "property"),
        ({"name": "A", "kind": "event", "event": "x", "id": 5}, "id"),
        ({"name": "Taken", "kind": "event", "event": "x"}, "name"),
    ],
    ids=str,
)
def test_a_fault_names_its_field(body: dict[str, Any], field: str, program: Any, shop: Any) -> None:
    path = f"/api/v1/properties/{shop.key}/goals"
    assert program.post(path, {"name": "Taken", "kind": "event", "event": "x"}, **JSON).status_code
    answer = program.post(path, body, **JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field
    assert shop.goals.count() == 1


def test_a_goal_of_another_property_or_account_is_nothing(
    program: Any, shop: Any, blog: Any
) -> None:
    elsewhere = new_property()
    ids = [new_goal(place).pk for place in (blog, elsewhere)]
    path = f"/api/v1/properties/{shop.key}/goals"
    for method in ("get", "delete"):
        answers = [seen(getattr(program, method)(f"{path}/{pk}")) for pk in (*ids, 2**62)]
        assert answers[0] == answers[1] == answers[2]
        assert answers[0][0] == 404
    assert blog.goals.exists()
    assert elsewhere.goals.exists()
